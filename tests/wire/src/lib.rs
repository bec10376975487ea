//! Every protocol from both sides, the recorded answers of providers, and what must hold for any bytes.
//!
//! Small enough to be compiled with a fuzzer's instruments; see `tests/fuzz`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

pub mod beside;
pub mod hold;
pub mod mutate;
pub mod protocol;
pub mod recorded;

pub use protocol::{HEAD, PROTOCOLS, PROVIDERS_ONLY, Protocol, Spoken, decode, peek, pumped};
pub use recorded::{Recorded, recorded};
