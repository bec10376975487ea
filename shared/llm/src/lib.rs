//! The wire: model protocols, providers and prices. Bytes in, values out.
//!
//! This crate knows how model APIs look on the wire and nothing else: no network, no clock, no
//! database, no tenant. A caller's body becomes a [`chat::Request`], a [`dialect::Dialect`] turns that
//! into a provider's HTTP request, and the provider's bytes come back as [`chat::Event`]s, whole or
//! chunk by chunk. A [`front::Front`] is the callers' side of a protocol. Where both ends speak the
//! same one, the bytes are passed on and only read in passing. An [`operation::Operation`] is what is
//! asked for: chat over any two protocols, or something beside it.

pub mod capability;
pub mod chat;
pub mod demo;
pub mod dialect;
pub mod error;
pub mod eventstream;
mod fields;
pub mod front;
pub mod kept;
pub mod multipart;
pub mod ndjson;
pub mod operation;
mod peek;
pub mod price;
pub mod provider;
pub mod relay;
pub mod sigv4;
pub mod sse;
pub mod translate;
pub mod usage;

pub use error::{Error, ErrorClass, UpstreamError};
pub use provider::{Provider, Target};
pub use usage::{ServiceTier, Usage};
