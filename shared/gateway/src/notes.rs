//! What is written down now and then because no rollup says it, for rules that look back.

use hypercare::time::MINUTE_MS;

use crate::{
    Error, Host,
    store::{notes, rollups::Grain},
};

/// Writes down what is due in this minute: where keys are called from, every five minutes, or how large the database is,
/// every hour. At most three statements.
pub(crate) async fn take<H: Host>(host: &H, now_ms: i64) -> Result<(), Error> {
    match now_ms.div_euclid(MINUTE_MS).rem_euclid(60) {
        SIZE_MINUTE => match host.size_bytes().await {
            Ok(bytes) => notes::size(host, Grain::Day.bucket_of(now_ms), bytes).await?,
            // Not every server of SQLite says it, and nothing else depends on it.
            Err(error) => host.log(&format!("the database's size is not known: {error}")),
        },
        minute if minute % 5 == SOURCES_MINUTE => notes::sources(host, now_ms - SETTLE_MS).await?,
        _ => {}
    }
    Ok(())
}

/// How long records may take to arrive.
const SETTLE_MS: i64 = 90_000;
/// Of five; the tick after looks at it.
const SOURCES_MINUTE: i64 = 2;
const SIZE_MINUTE: i64 = 34;
