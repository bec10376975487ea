//! Which minute's tick has claimed the work, and which has finished it.

use serde::Deserialize;
use serde_json::json;

use crate::ports::{Database, PortError, Statement, row};

/// A minute that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Claim {
    /// The newest minute before it whose work was done, all of it.
    pub finished_ms: Option<i64>,
    /// The oldest hour that is to be counted.
    pub oldest_hour_ms: Option<i64>,
}

/// Claims the work of a minute. `None` if a tick of this minute or a later one has it already. A claim
/// far ahead was made by a clock that went wrong, and does not count.
pub async fn claim(db: &impl Database, minute_ms: i64) -> Result<Option<Claim>, PortError> {
    let sql = "
        UPDATE schedule SET claimed_ms = ?1
        WHERE name = 'tick' AND (claimed_ms < ?1 OR claimed_ms > ?2)
        RETURNING finished_ms, (SELECT min(bucket_ms) FROM dirty_buckets WHERE grain = 'hour') AS oldest_hour_ms";
    let farthest_ms = minute_ms + CLOCK_ERROR_MS;
    row(db, Statement::new(sql, [json!(minute_ms), json!(farthest_ms)])).await
}

/// How far two clocks that go right may be apart.
pub const CLOCK_ERROR_MS: i64 = 10 * 60_000;

/// Notes that the work of a minute was done, all of it.
pub async fn finish(db: &impl Database, minute_ms: i64) -> Result<(), PortError> {
    let sql = "UPDATE schedule SET finished_ms = max(coalesce(finished_ms, ?1), ?1) WHERE name = 'tick'";
    db.batch(vec![Statement::new(sql, [json!(minute_ms)])]).await?;
    Ok(())
}

/// The newest minute whose work was done, all of it.
pub async fn last_tick_ms(db: &impl Database) -> Result<Option<i64>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        finished_ms: Option<i64>,
    }
    let sql = "SELECT finished_ms FROM schedule WHERE name = 'tick'";
    Ok(row::<Row>(db, Statement::new(sql, [])).await?.and_then(|row| row.finished_ms))
}
