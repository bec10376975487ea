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

//!
//! Who hears is asked fairly: each receiver's first notice before anybody's second. One whose newest attempt
//! failed is asked with a single request, once its wait is over; none is asked more often in a minute than it
//! bears. Where more than a few notices wait for a receiver that takes them together, they are claimed together.

use hypercare::notify::ReceiverKind;
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
    /// As the notice's.
    pub kind: String,
    /// The notice, JSON.
    pub notice: String,
    /// This attempt is number …
    pub attempts: i64,
    /// … of which so many were made before the ladder of waits was begun anew.
    pub ladder_from: i64,
    /// The receiver as a JSON object: kind, name, sealed_url, sealed_secret, settings, failures,
    /// wait_until_ms; none if it is gone or disabled.
    pub receiver: Option<String>,
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
    /// The attempt, for the record; none where nothing was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
}

/// An attempt, for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Whom it asked.
    pub receiver_id: String,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// How long it took.
    pub duration_ms: i64,
    /// HTTP; none without an answer.
    pub status: Option<u16>,
    /// Its place among the notices that went in one request.
    pub place: usize,
}

/// What attempts said about a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Which receiver.
    pub id: String,
    /// Whether something was delivered: what was wrong before is over.
    pub well: bool,
    /// Requests that failed for good.
    pub failures: i64,
    /// Until when it is left alone; none if all is well.
    pub wait_until_ms: Option<i64>,
    /// Its new number, where it moved.
    pub chat_id: Option<i64>,
    /// Why it hears no more; none: it does.
    pub gone: Option<String>,
    /// The notice of that for others, JSON; empty where there is none.
    pub notice: String,
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

/// Claims notices that are due, for `lease_ms`: as many as up to `limit` requests carry.
///
/// The plus in `PARTITION BY` keeps the database from walking the receivers' index, through all that is over.
pub async fn claim(
    db: &impl Database,
    limit: usize,
    now_ms: i64,
    lease_ms: i64,
) -> Result<Vec<Claimed>, PortError> {
    let kinds = ReceiverKind::all().filter(|kind| kind.bundles()).map(|kind| format!("'{}'", kind.word()));
    let bundling = kinds.collect::<Vec<_>>().join(", ");
    let sql = format!("
        WITH sent AS (
            SELECT receiver_id, count(*) AS requests FROM attempts WHERE at_ms > ?1 - 60000 AND place = 0 GROUP BY receiver_id),
        due AS (
            SELECT o.id, o.receiver_id, r.wait_until_ms IS NOT NULL AS careful, r.per_minute - coalesce(sent.requests, 0) AS budget,
                   coalesce(r.kind IN ({bundling}), 0) AND count(*) OVER mine > {MOST_ALONE} AS bundled,
                   row_number() OVER (mine ORDER BY o.next_ms, o.created_ms, o.id) - 1 AS place, min(o.next_ms) OVER mine AS since_ms
            FROM outbox AS o
                 LEFT JOIN receivers AS r ON r.id = o.receiver_id AND r.disabled_ms IS NULL
                 LEFT JOIN sent ON sent.receiver_id = o.receiver_id
            WHERE o.status = 'pending' AND o.next_ms <= ?1 AND coalesce(r.wait_until_ms, 0) <= ?1
              AND (o.kind <> 'resolved' OR EXISTS (
                SELECT 1 FROM outbox AS f
                WHERE f.episode_id = o.episode_id AND f.receiver_id = o.receiver_id AND f.kind = 'firing' AND f.status = 'delivered'))
              AND (o.kind <> 'acknowledged' OR NOT EXISTS (
                SELECT 1 FROM outbox AS f
                WHERE f.episode_id = substr(o.episode_id, 1, instr(o.episode_id, '/') - 1) AND f.receiver_id = o.receiver_id
                  AND f.kind = 'firing' AND f.status = 'pending'))
            WINDOW mine AS (PARTITION BY +o.receiver_id)),
        slots AS (SELECT *, iif(bundled, place / {MOST_TOGETHER}, place) AS slot FROM due),
        chosen AS (
            SELECT id, dense_rank() OVER (ORDER BY slot, since_ms, receiver_id) AS request FROM slots
            WHERE slot < coalesce(budget, slot + 1) AND (slot = 0 OR NOT (bundled OR careful)))
        UPDATE outbox SET attempts = attempts + 1, last_result = NULL, next_ms = ?1 + ?2
        WHERE status = 'pending' AND id IN (SELECT id FROM chosen WHERE request <= ?3)
        RETURNING {CLAIMED}");
    rows(db, Statement::new(sql, [json!(now_ms), json!(lease_ms), json!(limit)])).await
}

/// Claims a notice that is over, to be told once more. `None` if there is none, or its receiver is disabled.
pub async fn claim_again(
    db: &impl Database,
    id: &str,
    receiver_id: &str,
    now_ms: i64,
    lease_ms: i64,
) -> Result<Option<Claimed>, PortError> {
    let sql = format!("
        UPDATE outbox SET status = 'pending', attempts = attempts + 1, ladder_from = attempts, last_result = NULL,
               next_ms = ?3 + ?4, delivered_ms = NULL
        WHERE id = ?1 AND receiver_id = ?2 AND status IN ('dead', 'delivered')
          AND EXISTS (SELECT 1 FROM receivers WHERE id = ?2 AND disabled_ms IS NULL)
        RETURNING {CLAIMED}");
    let params = [json!(id), json!(receiver_id), json!(now_ms), json!(lease_ms)];
    row(db, Statement::new(sql, params)).await
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

/// Writes down what attempts came to, for the notices and for the receivers.
pub async fn settle(
    db: &impl Database,
    settled: &[Settled],
    verdicts: &[Verdict],
    now_ms: i64,
) -> Result<(), PortError> {
    let list = |values: Value| json!(values.to_string());
    let settled = list(json!(settled));
    let mut statements =
        vec![Statement::new(SETTLE, [settled.clone()]), Statement::new(KEEP_ATTEMPTS, [settled])];
    if !verdicts.is_empty() {
        statements.push(Statement::new(JUDGE, [list(json!(verdicts))]));
    }
    let gone: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.gone.is_some()).collect();
    if !gone.is_empty() {
        let ids: Vec<&str> = gone.iter().map(|verdict| verdict.id.as_str()).collect();
        let gone = list(json!(gone));
        statements.push(Statement::new(DISABLE, [gone.clone(), json!(now_ms)]));
        statements.push(Statement::new(
            DROP_OF_RECEIVERS,
            [list(json!(ids)), json!("the receiver was switched off")],
        ));
        statements.push(Statement::new(TELL_OTHERS, [gone, json!(now_ms)]));
    }
    db.batch(statements).await?;
    Ok(())
}

/// Which notices to a receiver to list. Newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// To whom.
    pub receiver_id: String,
    /// Only those that stand so.
    pub status: Option<String>,
    /// Where the last page ended: its last notice's `created_ms` and `id`.
    pub after: Option<(i64, String)>,
    /// How many.
    pub limit: i64,
}

/// The notices that match, each with its attempts.
pub async fn deliveries(db: &impl Database, filter: &DeliveryFilter) -> Result<Vec<Value>, PortError> {
    let sql = "
        SELECT id, iif(kind = 'test', NULL, episode_id) AS episode_id, kind, notice ->> 'summary' AS summary, status, attempts,
               last_result, created_ms, iif(status = 'pending', next_ms, NULL) AS next_ms, delivered_ms,
               (SELECT json_group_array(json_object('number', number, 'at_ms', at_ms, 'duration_ms', duration_ms, 'status', status,
                                                    'result', result))
                FROM (SELECT * FROM attempts WHERE delivery_id = outbox.id ORDER BY number)) AS log
        FROM outbox
        WHERE receiver_id = ?1 AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR (created_ms, id) < (?3, ?4))
        ORDER BY created_ms DESC, id DESC LIMIT ?5";
    let (after_ms, after_id) = filter.after.as_ref().map(|(ms, id)| (*ms, id.as_str())).unzip();
    let params = [
        json!(filter.receiver_id),
        json!(filter.status),
        json!(after_ms),
        json!(after_id),
        json!(filter.limit),
    ];
    let mut found: Vec<Value> = rows(db, Statement::new(sql, params)).await?;
    for delivery in &mut found {
        let log = delivery["log"].as_str().unwrap_or_default();
        delivery["log"] = serde_json::from_str(log)
            .map_err(|error| PortError::new("database", format!("unexpected attempts: {error}")))?;
    }
    Ok(found)
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

const CLAIMED: &str = "id, receiver_id, kind, notice, attempts, ladder_from,
    (SELECT json_object('kind', r.kind, 'name', r.name, 'sealed_url', r.sealed_url, 'sealed_secret', r.sealed_secret,
                        'settings', r.settings, 'failures', r.failures, 'wait_until_ms', r.wait_until_ms)
     FROM receivers AS r WHERE r.id = receiver_id AND r.disabled_ms IS NULL) AS receiver";

const SETTLE: &str = "
    UPDATE outbox SET status = attempt.value ->> 'status', last_result = attempt.value ->> 'last_result',
           next_ms = attempt.value ->> 'next_ms', delivered_ms = attempt.value ->> 'delivered_ms'
    FROM json_each(?1) AS attempt
    WHERE outbox.id = attempt.value ->> 'id' AND outbox.status = 'pending'
      AND (outbox.attempts = attempt.value ->> 'attempts' OR attempt.value ->> 'status' = 'delivered')";

const KEEP_ATTEMPTS: &str = "
    INSERT OR REPLACE INTO attempts (delivery_id, number, receiver_id, at_ms, duration_ms, status, result, place)
    SELECT value ->> 'id', value ->> 'attempts', value ->> '$.attempt.receiver_id', value ->> '$.attempt.at_ms',
           value ->> '$.attempt.duration_ms', value ->> '$.attempt.status', value ->> 'last_result', value ->> '$.attempt.place'
    FROM json_each(?1) WHERE value -> 'attempt' IS NOT NULL";

const JUDGE: &str = "
    UPDATE receivers SET wait_until_ms = verdict.value ->> 'wait_until_ms',
           failures = iif(verdict.value ->> 'well', 0, failures + (verdict.value ->> 'failures')),
           settings = iif(verdict.value ->> 'chat_id' IS NULL, settings, json_set(settings, '$.chat_id', verdict.value ->> 'chat_id'))
    FROM json_each(?1) AS verdict WHERE receivers.id = verdict.value ->> 'id'";

const DISABLE: &str = "
    UPDATE receivers SET disabled_ms = ?2, disabled_reason = verdict.value ->> 'gone'
    FROM json_each(?1) AS verdict WHERE receivers.id = verdict.value ->> 'id' AND disabled_ms IS NULL";

/// Who hears of the same tenant, or of all, hears that a receiver was switched off just now.
const TELL_OTHERS: &str = "
    INSERT OR IGNORE INTO outbox (id, episode_id, receiver_id, kind, notice, status, next_ms, created_ms)
    SELECT 'off_' || gone.id || '_' || ?2 || '_' || other.id, 'off_' || gone.id || '_' || ?2, other.id, 'health',
           verdict.value ->> 'notice', 'pending', ?2, ?2
    FROM json_each(?1) AS verdict
         JOIN receivers AS gone ON gone.id = verdict.value ->> 'id' AND gone.disabled_ms = ?2
         JOIN receivers AS other ON other.disabled_ms IS NULL AND (other.tenant_id IS NULL OR other.tenant_id = gone.tenant_id)";

/// More than these are told together.
pub const MOST_ALONE: usize = 3;
/// But not more than these.
const MOST_TOGETHER: usize = 50;

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
