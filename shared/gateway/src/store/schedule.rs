//! Which minute's tick has claimed the work, and which has finished it; and when each chore was begun and done.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::ports::{Database, PortError, Statement, row};

/// When a chore was begun last, and done.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Begun {
    /// Which chore.
    pub name: String,
    /// The minute of the newest tick that began it.
    pub claimed_ms: i64,
    /// Of the newest that did it.
    pub finished_ms: Option<i64>,
}

/// Claims the work of a minute, and reads when its chores were begun. `None` if a tick of this minute or a later one
/// has it already. A claim far ahead was made by a clock that went wrong, and does not count.
pub async fn claim(db: &impl Database, minute_ms: i64) -> Result<Option<Vec<Begun>>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        chores: String,
    }
    let sql = "
        UPDATE schedule SET claimed_ms = ?1
        WHERE name = 'tick' AND (claimed_ms < ?1 OR claimed_ms > ?2)
        RETURNING (SELECT json_group_array(json_object('name', substr(name, 7), 'claimed_ms', claimed_ms, 'finished_ms', finished_ms))
                   FROM schedule WHERE name GLOB 'chore/*') AS chores";
    let farthest_ms = minute_ms + CLOCK_ERROR_MS;
    let claimed: Option<Row> = row(db, Statement::new(sql, [json!(minute_ms), json!(farthest_ms)])).await?;
    let unexpected = |error| PortError::new("database", format!("unexpected chores: {error}"));
    claimed.map(|claimed| serde_json::from_str(&claimed.chores).map_err(unexpected)).transpose()
}

/// Claims a chore that was begun last at `before_ms`, or never. `false` if somebody else has begun it since.
pub async fn begin(
    db: &impl Database,
    chore: &str,
    before_ms: Option<i64>,
    minute_ms: i64,
) -> Result<bool, PortError> {
    let sql = "
        INSERT INTO schedule (name, claimed_ms) VALUES ('chore/' || ?1, ?2)
        ON CONFLICT (name) DO UPDATE SET claimed_ms = ?2 WHERE claimed_ms IS ?3 RETURNING claimed_ms";
    let params = [json!(chore), json!(minute_ms), json!(before_ms)];
    Ok(row::<Value>(db, Statement::new(sql, params)).await?.is_some())
}

/// How far two clocks that go right may be apart.
pub const CLOCK_ERROR_MS: i64 = 10 * 60_000;

/// Notes which chores were done, and whether the work of the minute was, all of it.
pub async fn finish(
    db: &impl Database,
    chores: &[&str],
    is_all_done: bool,
    minute_ms: i64,
) -> Result<(), PortError> {
    let sql = "
        UPDATE schedule SET finished_ms = max(coalesce(finished_ms, ?1), ?1)
        WHERE name = iif(?2, 'tick', '') OR name IN (SELECT 'chore/' || value FROM json_each(?3))";
    let params = [json!(minute_ms), json!(i64::from(is_all_done)), json!(json!(chores).to_string())];
    db.batch(vec![Statement::new(sql, params)]).await?;
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
