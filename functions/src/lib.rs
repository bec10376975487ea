//! The doors. A host turns what it receives into one of three calls: a request to [`handle`], a batch
//! of queue messages to [`consume`], a clock's stroke to [`tick()`].

mod admin;
mod host;
mod models;
mod route;

use gateway::{
    Host, journal,
    ports::PortError,
    tick::{self, Report},
};

pub use gateway::call::{BodyError, Incoming, Reply, Streaming};
pub use route::{ROUTES, handle, is_call};

/// Stores the records a queue delivers. On an error the batch is to be delivered again.
pub async fn consume<H: Host>(messages: &[String], host: &H) -> Result<(), PortError> {
    journal::consume(host, messages).await
}

/// Does the work that is due. May be called twice, late, or not at all without harm.
pub async fn tick<H: Host>(now_ms: i64, host: &H) -> Result<Report, gateway::Error> {
    tick::tick(host, now_ms).await
}
