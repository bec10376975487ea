//! OpenAI Chat Completions: what callers speak, and most providers too.
//!
//! Where both do, [`forward`] passes the caller's bytes on. Where the provider speaks something else,
//! [`request`] reads the caller's body, [`answer`] writes the answer, and [`translate`] leads a stream
//! from one to the other. [`error`] is the error object both ways.

pub mod answer;
pub mod error;
pub mod forward;
pub mod request;
pub mod translate;
