//! The call: from a caller's bytes to the provider's and back, with the record kept and the watch fed.
//!
//! This is the only crate that awaits. What it needs of the world is in [`ports`]; what it decides is in
//! small modules that take values and return them.

pub mod attend;
pub mod auth;
pub mod baseline;
pub mod blocks;
pub mod call;
pub mod config;
pub mod credential;
pub mod deliver;
pub mod episode;
pub mod error;
pub mod form;
pub mod guard;
pub mod heartbeat;
pub mod journal;
pub mod lines;
pub mod live;
pub mod memory;
pub mod metrics;
mod notes;
pub mod objects;
pub mod origin;
pub mod otlp;
pub mod outlet;
pub mod payload;
pub mod plan;
pub mod ports;
pub mod price;
pub mod prometheus;
pub mod receiver;
pub mod record;
pub mod report;
mod resolve;
pub mod rules;
pub mod secret;
pub mod series;
mod sight;
pub mod store;
pub mod tags;
pub mod tick;
pub mod trace;
pub mod watch;

pub use error::Error;
pub use ports::Host;
