//! Outlets: who waits for records, how far each has come, and the records it waits for.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::calls::{self, Call};
use crate::ports::{Database, PortError, Statement, rows};

/// An outlet that is ours to send to, for a while.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claimed {
    /// Which.
    pub name: String,
    /// Everything up to this number was accepted, or given up.
    pub mark: i64,
    /// Sums so far, of those that send sums.
    pub state: String,
    /// Attempts in a row that came to nothing.
    pub failures: i64,
    /// How many records go at once.
    pub batch: i64,
    /// Whose claim it is.
    lease: String,
}

/// Notes that these are configured, and claims those whose turn it is and for whom something waits. One that is new
/// waits for what is stored from now on.
pub async fn claim(
    db: &impl Database,
    names: &[&str],
    lease: &str,
    now_ms: i64,
    until_ms: i64,
) -> Result<Vec<Claimed>, PortError> {
    let due =
        "next_ms <= ?3 AND leased_until_ms <= ?3 AND mark < (SELECT coalesce(max(seq), 0) FROM stored_calls)";
    let sql = format!(
        "INSERT INTO outlets (name, mark, state, wanted_ms, lease, leased_until_ms, failures, next_ms, batch, sent, refused)
         SELECT value, coalesce((SELECT max(seq) FROM stored_calls), 0), '', ?3, '', 0, 0, 0, {MOST_AT_ONCE}, 0, 0
         FROM json_each(?1) WHERE true
         ON CONFLICT (name) DO UPDATE SET wanted_ms = ?3,
             lease = iif({due}, ?2, lease), leased_until_ms = iif({due}, ?4, leased_until_ms)
         RETURNING name, mark, state, failures, batch, lease"
    );
    let params = [json!(json!(names).to_string()), json!(lease), json!(now_ms), json!(until_ms)];
    let mut claimed: Vec<Claimed> = rows(db, Statement::new(sql, params)).await?;
    claimed.retain(|outlet| outlet.lease == lease);
    Ok(claimed)
}

/// The calls stored after this number, in that order, each with its own; no call where it is gone already.
pub async fn stored_after(
    db: &impl Database,
    mark: i64,
    limit: i64,
) -> Result<Vec<(i64, Option<Call>)>, PortError> {
    let sql = "
        SELECT waiting.seq, c.* FROM (SELECT seq, call_id FROM stored_calls WHERE seq > ?1 ORDER BY seq LIMIT ?2) AS waiting
        LEFT JOIN calls AS c ON c.id = waiting.call_id ORDER BY waiting.seq";
    let found: Vec<Value> = rows(db, Statement::new(sql, [json!(mark), json!(limit)])).await?;
    let entry = |mut row: Value| {
        let seq = row.as_object_mut().and_then(|columns| columns.remove("seq")?.as_i64());
        let seq = seq.ok_or_else(|| PortError::new("database", "a stored call has no number"))?;
        Ok((seq, if row["id"].is_null() { None } else { Some(calls::shown(row)?) }))
    };
    found.into_iter().map(entry).collect()
}

/// What sending came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// Which.
    pub name: String,
    /// See [`Claimed`].
    pub mark: i64,
    /// See [`Claimed`]; none where it is as it was.
    pub state: Option<String>,
    /// See [`Claimed`].
    pub failures: i64,
    /// See [`Claimed`].
    pub batch: i64,
    /// Not before.
    pub next_ms: i64,
    /// How many more were accepted.
    pub sent: i64,
    /// How many more were refused for good.
    pub refused: i64,
    /// When they were accepted.
    pub accepted_ms: Option<i64>,
    /// In a few words; none where nobody was asked.
    pub last_result: Option<String>,
    /// Whether the claim is given back.
    pub done: bool,
}

/// Writes it down, where the claim still holds; returns for whom it does.
pub async fn settle(db: &impl Database, lease: &str, settled: &[Settled]) -> Result<Vec<String>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        name: String,
    }
    let sql = "
        UPDATE outlets SET mark = item.value ->> 'mark', state = coalesce(item.value ->> 'state', state),
            failures = item.value ->> 'failures', batch = item.value ->> 'batch', next_ms = item.value ->> 'next_ms',
            sent = sent + (item.value ->> 'sent'), refused = refused + (item.value ->> 'refused'),
            accepted_ms = coalesce(item.value ->> 'accepted_ms', accepted_ms),
            last_result = coalesce(item.value ->> 'last_result', last_result),
            lease = iif(item.value ->> 'done', '', lease),
            leased_until_ms = iif(item.value ->> 'done', 0, leased_until_ms)
        FROM json_each(?1) AS item
        WHERE name = item.value ->> 'name' AND lease = ?2
        RETURNING name";
    let list = serde_json::to_string(settled).expect("what was settled is JSON");
    let held: Vec<Row> = rows(db, Statement::new(sql, [json!(list), json!(lease)])).await?;
    Ok(held.into_iter().map(|row| row.name).collect())
}

/// Forgets the order of what everybody has.
pub async fn forget_passed(db: &impl Database) -> Result<(), PortError> {
    let sql = "DELETE FROM stored_calls WHERE seq <= (SELECT min(mark) FROM outlets)
               AND seq <= (SELECT min(seq) FROM stored_calls) + ?1";
    db.batch(vec![Statement::new(sql, [json!(MOST_FORGOTTEN)])]).await?;
    Ok(())
}

/// An outlet, as the admin API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// `lines`, `metrics` or `traces`.
    pub name: String,
    /// How many records it has yet to get.
    pub waiting: i64,
    /// How many it accepted since it was first configured.
    pub sent: i64,
    /// How many it refused for good.
    pub refused: i64,
    /// Attempts in a row that came to nothing.
    pub failures: i64,
    /// When it is tried again, where it failed.
    pub next_ms: Option<i64>,
    /// When it last accepted something.
    pub accepted_ms: Option<i64>,
    /// What the last attempt came to.
    pub last_result: Option<String>,
    /// The newest tick that found it configured.
    pub wanted_ms: i64,
}

/// All of them.
pub async fn list(db: &impl Database) -> Result<Vec<Shown>, PortError> {
    let sql = "
        SELECT name, (SELECT count(*) FROM stored_calls WHERE seq > mark) AS waiting, sent, refused, failures,
               iif(failures > 0, next_ms, NULL) AS next_ms, accepted_ms, last_result, wanted_ms
        FROM outlets ORDER BY name";
    rows(db, Statement::new(sql, [])).await
}

/// A call is some two kilobytes as a span.
pub const MOST_AT_ONCE: i64 = 1_000;
/// More than a tick sends.
const MOST_FORGOTTEN: i64 = 10_000;
