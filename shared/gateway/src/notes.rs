//! What is written down now and then because no rollup says it, for rules that look back.

use crate::{
    Error, Host,
    store::{notes, rollups::Grain},
};

/// Writes down where keys are called from.
pub(crate) async fn sources<H: Host>(host: &H, now_ms: i64) -> Result<usize, Error> {
    notes::sources(host, now_ms - SETTLE_MS).await?;
    Ok(1)
}

/// Writes down how large the database is.
pub(crate) async fn size<H: Host>(host: &H, now_ms: i64) -> Result<usize, Error> {
    match host.size_bytes().await {
        Ok(bytes) => notes::size(host, Grain::Day.bucket_of(now_ms), bytes).await?,
        // Not every server of SQLite says it, and nothing else depends on it.
        Err(error) => host.log(&format!("the database's size is not known: {error}")),
    }
    Ok(1)
}

/// Statements at most.
pub(crate) const SOURCES_STATEMENTS: usize = 3;
pub(crate) const SIZE_STATEMENTS: usize = 3;

/// How long records may take to arrive.
const SETTLE_MS: i64 = 90_000;
