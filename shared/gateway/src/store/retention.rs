//! How long things are kept, and their deletion once that is over: oldest first, a thousand rows a
//! statement, so that no deletion holds up the database or is cut off by its limits.

use hypercare::time::MINUTE_MS;
use serde_json::{Value, json};

use crate::ports::{Database, PortError, Statement};

/// Deletes what is too old, as much as a tick should; returns how many rows that were.
pub async fn delete_old(db: &impl Database, now_ms: i64) -> Result<usize, PortError> {
    let mut deleted = 0;
    // A tick has a bounded number of statements, and what is kept for a year can wait for an hour.
    let is_seldom = now_ms.div_euclid(MINUTE_MS).rem_euclid(60) == SELDOM_MINUTE;
    let mut due: Vec<&(&str, i64)> =
        if is_seldom { SELDOM.iter().collect() } else { DELETIONS.iter().collect() };
    for _ in 0..ROUNDS {
        let statement =
            |(sql, kept_ms): &&(&str, i64)| Statement::new(*sql, [json!(now_ms - kept_ms), json!(CHUNK)]);
        let results = db.batch(due.iter().map(statement).collect()).await?;
        deleted += results.iter().map(Vec::len).sum::<usize>();
        // What came back full has more.
        let full = |rows: &Vec<Value>| rows.len() as i64 == CHUNK;
        due = due
            .into_iter()
            .zip(&results)
            .filter(|(_, rows)| full(rows))
            .map(|(deletion, _)| deletion)
            .collect();
        if due.is_empty() {
            break;
        }
    }
    Ok(deleted)
}

/// Calls, without their content.
pub const CALLS_MS: i64 = 14 * DAY_MS;
/// Rollups by hour.
pub const HOURS_MS: i64 = 90 * DAY_MS;
/// Rollups by minute.
pub const MINUTES_MS: i64 = 2 * DAY_MS;
/// Rollups by day.
const DAYS_MS: i64 = 400 * DAY_MS;
/// The content of calls.
const PAYLOADS_MS: i64 = 3 * DAY_MS;
/// Notices that are no longer on their way, and attempts. Those of an episode stay until all of it is told: they say who
/// must hear its end.
const NOTICES_MS: i64 = 30 * DAY_MS;
/// Episodes that are over.
const EPISODES_MS: i64 = 400 * DAY_MS;
/// Reports of lost records.
const LOSSES_MS: i64 = 30 * DAY_MS;

const DAY_MS: i64 = 86_400_000;
const CHUNK: i64 = 1_000;
const ROUNDS: usize = 5;

/// Each with how long it is kept. ?1 is the moment before which things are too old, ?2 how many go.
const DELETIONS: [(&str, i64); 9] = [
    (
        "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE started_ms < ?1 ORDER BY started_ms LIMIT ?2)
         RETURNING 1 AS gone",
        CALLS_MS,
    ),
    (
        "DELETE FROM call_payloads WHERE call_id IN
             (SELECT call_id FROM call_payloads WHERE started_ms < ?1 ORDER BY started_ms LIMIT ?2)
         RETURNING 1 AS gone",
        PAYLOADS_MS,
    ),
    (
        "DELETE FROM rollups WHERE (grain, bucket_ms, tenant_id, route, provider_name, model, outcome) IN
             (SELECT grain, bucket_ms, tenant_id, route, provider_name, model, outcome FROM rollups
              WHERE grain = 'minute' AND bucket_ms < ?1 ORDER BY bucket_ms LIMIT ?2)
         RETURNING 1 AS gone",
        MINUTES_MS,
    ),
    (
        "DELETE FROM rollups WHERE (grain, bucket_ms, tenant_id, route, provider_name, model, outcome) IN
             (SELECT grain, bucket_ms, tenant_id, route, provider_name, model, outcome FROM rollups
              WHERE grain = 'hour' AND bucket_ms < ?1 ORDER BY bucket_ms LIMIT ?2)
         RETURNING 1 AS gone",
        HOURS_MS,
    ),
    (
        "DELETE FROM rollups WHERE (grain, bucket_ms, tenant_id, route, provider_name, model, outcome) IN
             (SELECT grain, bucket_ms, tenant_id, route, provider_name, model, outcome FROM rollups
              WHERE grain = 'day' AND bucket_ms < ?1 ORDER BY bucket_ms LIMIT ?2)
         RETURNING 1 AS gone",
        DAYS_MS,
    ),
    (
        "DELETE FROM outbox WHERE id IN
             (SELECT id FROM outbox WHERE status <> 'pending' AND created_ms < ?1
              AND episode_id NOT IN (SELECT id FROM episodes WHERE resolved_ms IS NULL
                                     UNION SELECT episode_id FROM outbox WHERE status = 'pending')
              ORDER BY created_ms LIMIT ?2)
         RETURNING 1 AS gone",
        NOTICES_MS,
    ),
    (
        "DELETE FROM attempts WHERE (delivery_id, number) IN
             (SELECT delivery_id, number FROM attempts WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)
         RETURNING 1 AS gone",
        NOTICES_MS,
    ),
    (
        "DELETE FROM episodes WHERE id IN
             (SELECT id FROM episodes WHERE opened_ms < ?1 AND resolved_ms IS NOT NULL ORDER BY opened_ms LIMIT ?2)
         RETURNING 1 AS gone",
        EPISODES_MS,
    ),
    (
        "DELETE FROM journal_losses WHERE id IN
             (SELECT id FROM journal_losses WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)
         RETURNING 1 AS gone",
        LOSSES_MS,
    ),
];

/// The minute of the hour that is for what is deleted seldom.
const SELDOM_MINUTE: i64 = 59;

/// The same, once an hour.
const SELDOM: [(&str, i64); 5] = [
    (
        "DELETE FROM episode_events WHERE id IN
             (SELECT id FROM episode_events WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)
         RETURNING 1 AS gone",
        EPISODES_MS,
    ),
    (
        "DELETE FROM notice_group_members WHERE (episode_id, group_id) IN
             (SELECT m.episode_id, m.group_id FROM notice_groups AS g
              JOIN notice_group_members AS m ON m.group_id = g.id
              WHERE g.opened_ms < ?1 ORDER BY g.opened_ms LIMIT ?2)
         RETURNING 1 AS gone",
        EPISODES_MS,
    ),
    (
        "DELETE FROM notice_groups WHERE id IN
             (SELECT id FROM notice_groups WHERE opened_ms < ?1
              AND id NOT IN (SELECT group_id FROM notice_group_members) ORDER BY opened_ms LIMIT ?2)
         RETURNING 1 AS gone",
        EPISODES_MS,
    ),
    (
        "DELETE FROM changes WHERE id IN (SELECT id FROM changes WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)
         RETURNING 1 AS gone",
        EPISODES_MS,
    ),
    (
        "DELETE FROM silences WHERE id IN
             (SELECT id FROM silences WHERE coalesce(ended_ms, iif(every_ms IS NULL, ends_ms, ?1)) < ?1 LIMIT ?2)
         RETURNING 1 AS gone",
        EPISODES_MS,
    ),
];
