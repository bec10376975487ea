//! The doors. A host turns what it receives into one of three calls: a request to [`handle`], a batch
//! of queue messages to [`consume`], a clock's stroke to [`tick()`].
//!
//! The features `calls` and `watch` are the two modules that are deployed: an instance that serves calls does not
//! carry, or start, what watches them.

#[cfg(feature = "watch")]
mod admin;
#[cfg(feature = "calls")]
mod calls;
mod host;
#[cfg(feature = "calls")]
mod models;
mod route;
#[cfg(feature = "watch")]
mod watch;

use gateway::{
    Host, journal,
    ports::PortError,
    tick::{self, Report},
};

pub use gateway::call::{BodyError, Incoming, Reply, Streaming};
pub use route::{ROUTES, handle};

/// Stores the records a queue delivers. On an error the batch is to be delivered again.
pub async fn consume<H: Host>(messages: &[String], host: &H) -> Result<(), PortError> {
    journal::consume(host, messages).await
}

/// Does the work that is due. May be called twice, late, or not at all without harm.
pub async fn tick<H: Host>(now_ms: i64, host: &H) -> Result<Report, gateway::Error> {
    tick::tick(host, now_ms).await
}
