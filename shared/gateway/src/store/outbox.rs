//! Notices on their way to receivers.
//!
//! An attempt claims its row: it counts itself, takes the newest result away and moves `next_ms` ahead,
//! all in one statement, so that of two ticks one sends. A row whose attempt never came back, because
//! the gateway went down under it, is due again once that time is over; the receiver may then hear the
//! notice twice, under the same id.
//!
//! ```text
//! pending, attempts = 0                          waits for its first attempt
//! pending, attempts > 0, last_result             waits for its next attempt
//! pending, attempts > 0, no last_result          an attempt is under way, until next_ms
//! delivered, dead, superseded                    over
//! ```
//!
//! The end of an episode is told to those who were told of its beginning, or are being told. The notice
//! of resolving waits until that of firing is delivered. If that one turns out undelivered, and no attempt
//! is under way that might still deliver it, it is superseded, and the notice of resolving becomes a
//! combined one. If it was refused for good, the notice of resolving is dropped.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ports::{Database, PortError, Statement, row, rows};

/// A notice whose next attempt is ours to make.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claimed {
    /// The row's id, the same on every attempt.
    pub id: String,
    /// To whom.
    pub receiver_id: String,
    /// `combined`, `firing`, `resolved`, or `test`.
    pub kind: String,
    /// The notice, JSON.
    pub notice: String,
    /// This attempt is number …
    pub attempts: i64,
    /// What the receiver speaks; none if it is gone or disabled.
    pub receiver_kind: Option<String>,
    /// Where it is.
    pub sealed_url: Option<String>,
    /// What signs notices to it.
    pub sealed_secret: Option<String>,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// The row.
    pub id: String,
    /// The attempt's number. If there was another since, this one came too late to say anything but that
    /// the notice was delivered.
    pub attempts: i64,
    /// `pending`, `delivered`, or `dead`.
    pub status: &'static str,
    /// In a few words.
    pub last_result: String,
    /// When the next attempt is due.
    pub next_ms: i64,
    /// When it was delivered.
    pub delivered_ms: Option<i64>,
}

/// Brings together what was overtaken: an end whose beginning could not be told yet is told with it.
pub async fn combine(db: &impl Database, now_ms: i64) -> Result<(), PortError> {
    let statements = [
        Statement::new(SUPERSEDE_FIRING, [json!(now_ms)]),
        Statement::new(COMBINE_RESOLVED, []),
        Statement::new(DROP_RESOLVED, []),
    ];
    db.batch(statements.into()).await?;
    Ok(())
}

/// Claims up to `limit` notices that are due, for `lease_ms`.
pub async fn claim(
    db: &impl Database,
    limit: usize,
    now_ms: i64,
    lease_ms: i64,
) -> Result<Vec<Claimed>, PortError> {
    let sql = format!("
        UPDATE outbox SET attempts = attempts + 1, last_result = NULL, next_ms = ?1 + ?2
        WHERE status = 'pending' AND id IN (
            SELECT o.id FROM outbox AS o
            WHERE o.status = 'pending' AND o.next_ms <= ?1 AND (o.kind <> 'resolved' OR EXISTS (
                SELECT 1 FROM outbox AS f
                WHERE f.episode_id = o.episode_id AND f.receiver_id = o.receiver_id AND f.kind = 'firing' AND f.status = 'delivered'))
            ORDER BY o.next_ms, o.id LIMIT ?3)
        RETURNING {CLAIMED}");
    rows(db, Statement::new(sql, [json!(now_ms), json!(lease_ms), json!(limit)])).await
}

/// Puts a test notice into the outbox and claims it, in one. `None` if there is no such receiver, or it
/// is disabled.
pub async fn claim_test(
    db: &impl Database,
    id: &str,
    receiver_id: &str,
    notice: &str,
    now_ms: i64,
    lease_ms: i64,
) -> Result<Option<Claimed>, PortError> {
    let sql = format!("
        INSERT INTO outbox (id, episode_id, receiver_id, kind, notice, status, attempts, next_ms, created_ms)
        SELECT ?1, ?1, id, 'test', ?3, 'pending', 1, ?4 + ?5, ?4 FROM receivers WHERE id = ?2 AND disabled_ms IS NULL
        RETURNING {CLAIMED}");
    let params = [json!(id), json!(receiver_id), json!(notice), json!(now_ms), json!(lease_ms)];
    row(db, Statement::new(sql, params)).await
}

/// Writes down what attempts came to, and disables the receivers that are gone.
pub async fn settle(
    db: &impl Database,
    settled: &[Settled],
    gone: &[&str],
    now_ms: i64,
) -> Result<(), PortError> {
    let list = |values: Value| json!(values.to_string());
    let sql = "
        UPDATE outbox SET status = attempt.value ->> 'status', last_result = attempt.value ->> 'last_result',
               next_ms = attempt.value ->> 'next_ms', delivered_ms = attempt.value ->> 'delivered_ms'
        FROM json_each(?1) AS attempt
        WHERE outbox.id = attempt.value ->> 'id' AND outbox.status = 'pending'
          AND (outbox.attempts = attempt.value ->> 'attempts' OR attempt.value ->> 'status' = 'delivered')";
    let mut statements = vec![Statement::new(sql, [list(json!(settled))])];
    if !gone.is_empty() {
        let disable = "UPDATE receivers SET disabled_ms = coalesce(disabled_ms, ?2) WHERE id IN (SELECT value FROM json_each(?1))";
        statements.push(Statement::new(disable, [list(json!(gone)), json!(now_ms)]));
        statements
            .push(Statement::new(DROP_OF_RECEIVERS, [list(json!(gone)), json!("the receiver is gone")]));
    }
    db.batch(statements).await?;
    Ok(())
}

/// Ends what is on its way to receivers (?1, JSON list) that will not hear of it (?2, why).
pub const DROP_OF_RECEIVERS: &str = "
    UPDATE outbox SET status = 'dead', last_result = ?2
    WHERE status = 'pending' AND receiver_id IN (SELECT value FROM json_each(?1))";

/// Notices of the episodes that closed, to those told, or being told, that they opened.
pub const RESOLVED: &str = "
    INSERT OR IGNORE INTO outbox (id, episode_id, receiver_id, kind, notice, status, next_ms, created_ms)
    SELECT item.value ->> 'id' || '_' || receivers.id || '_resolved', item.value ->> 'id', receivers.id, 'resolved',
           item.value ->> 'notice', 'pending', ?3, ?3
    FROM items
         JOIN outbox AS firing ON firing.episode_id = item.value ->> 'id' AND firing.kind = 'firing'
              AND firing.status IN ('delivered', 'pending')
         JOIN receivers ON receivers.id = firing.receiver_id AND receivers.disabled_ms IS NULL";

/// What was to be said again about episodes that closed, and was not tried yet.
pub const DROP_AGAIN: &str = "
    UPDATE outbox SET status = 'superseded'
    WHERE status = 'pending' AND attempts = 0 AND instr(episode_id, '/') > 0
      AND substr(episode_id, 1, instr(episode_id, '/') - 1) IN (SELECT item.value ->> 'id' FROM items)";

const CLAIMED: &str = "id, receiver_id, kind, notice, attempts,
    (SELECT r.kind FROM receivers AS r WHERE r.id = receiver_id AND r.disabled_ms IS NULL) AS receiver_kind,
    (SELECT r.sealed_url FROM receivers AS r WHERE r.id = receiver_id) AS sealed_url,
    (SELECT r.sealed_secret FROM receivers AS r WHERE r.id = receiver_id) AS sealed_secret";

const SUPERSEDE_FIRING: &str = "
    UPDATE outbox AS f SET status = 'superseded'
    WHERE f.kind = 'firing' AND f.status = 'pending'
      AND NOT (f.attempts > 0 AND f.last_result IS NULL AND f.next_ms > ?1)
      AND EXISTS (SELECT 1 FROM outbox AS r
                  WHERE r.episode_id = f.episode_id AND r.receiver_id = f.receiver_id AND r.kind = 'resolved' AND r.status = 'pending')";

const COMBINE_RESOLVED: &str = "
    UPDATE outbox AS r SET kind = 'combined', notice = coalesce(r.notice -> 'combined', r.notice)
    WHERE r.kind = 'resolved' AND r.status = 'pending'
      AND EXISTS (SELECT 1 FROM outbox AS f
                  WHERE f.episode_id = r.episode_id AND f.receiver_id = r.receiver_id AND f.kind = 'firing' AND f.status = 'superseded')";

const DROP_RESOLVED: &str = "
    UPDATE outbox AS r SET status = 'dead', last_result = 'that it fired was never delivered'
    WHERE r.kind = 'resolved' AND r.status = 'pending'
      AND EXISTS (SELECT 1 FROM outbox AS f
                  WHERE f.episode_id = r.episode_id AND f.receiver_id = r.receiver_id AND f.kind = 'firing' AND f.status = 'dead')";
