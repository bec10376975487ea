//! How long things are kept, and their deletion once that is over: oldest first, a thousand rows a
//! statement, so that no deletion holds up the database or is cut off by its limits.

use hypercare::time::DAY_MS;
use serde_json::{Value, json};

use crate::ports::{Database, PortError, Statement};

/// Deletes what is too old, as much as at once should be; returns how many rows that were.
pub async fn delete_old(db: &impl Database, now_ms: i64) -> Result<usize, PortError> {
    delete(db, DELETIONS.iter().collect(), DELETIONS.len() + MOST_STATEMENTS, now_ms).await
}

/// The same of what grows with each call, in at most [`MOST_STATEMENTS`].
pub async fn delete_calls(db: &impl Database, now_ms: i64) -> Result<usize, PortError> {
    delete(db, DELETIONS.iter().take(BY_CALL).collect(), MOST_STATEMENTS, now_ms).await
}

/// The same of one part of the rest, of [`TURNS`]: a tick has few statements.
pub async fn delete_turn(db: &impl Database, turn: usize, now_ms: i64) -> Result<usize, PortError> {
    let due = DELETIONS.iter().skip(BY_CALL + turn).step_by(TURNS);
    delete(db, due.collect(), MOST_STATEMENTS, now_ms).await
}

async fn delete(
    db: &impl Database,
    mut due: Vec<&(&str, i64)>,
    mut left: usize,
    now_ms: i64,
) -> Result<usize, PortError> {
    let mut deleted = 0;
    while !due.is_empty() && due.len() <= left {
        left -= due.len();
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
const LOSSES_MS: i64 = DAYS_MS;
/// Errors by the hour: a week is what an hour is compared with.
const FAULTS_MS: i64 = 9 * DAY_MS;
/// What answers were like, after it was seen for the last time.
const TRAITS_MS: i64 = HOURS_MS;

const CHUNK: i64 = 1_000;
/// How many statements delete at once what is of a few kinds.
pub const MOST_STATEMENTS: usize = 6;
/// How many parts there are beside what grows with each call.
pub const TURNS: usize = 5;
/// How many kinds grow with each call.
const BY_CALL: usize = 2;

/// Each with how long it is kept, first what grows with each call. ?1 is the moment before which things are too old,
/// ?2 how many go.
const DELETIONS: [(&str, i64); 21] = [
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
        "DELETE FROM breakdowns WHERE (grain, bucket_ms, dimension, tenant_id, label) IN
             (SELECT grain, bucket_ms, dimension, tenant_id, label FROM breakdowns
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
        "DELETE FROM breakdowns WHERE (grain, bucket_ms, dimension, tenant_id, label) IN
             (SELECT grain, bucket_ms, dimension, tenant_id, label FROM breakdowns
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
        "DELETE FROM breakdowns WHERE (grain, bucket_ms, dimension, tenant_id, label) IN
             (SELECT grain, bucket_ms, dimension, tenant_id, label FROM breakdowns
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
    (
        "DELETE FROM faults WHERE (fault, hour_ms) IN
             (SELECT fault, hour_ms FROM faults WHERE hour_ms < ?1 ORDER BY hour_ms LIMIT ?2)
         RETURNING 1 AS gone",
        FAULTS_MS,
    ),
    (
        "DELETE FROM traits WHERE (provider_name, model, kind, value) IN
             (SELECT provider_name, model, kind, value FROM traits WHERE last_ms < ?1 ORDER BY last_ms LIMIT ?2)
         RETURNING 1 AS gone",
        TRAITS_MS,
    ),
    // Nobody waits for it, or nobody can get it any more.
    (
        "DELETE FROM stored_calls WHERE seq IN
             (SELECT seq FROM (SELECT seq, call_id FROM stored_calls ORDER BY seq LIMIT ?2) AS oldest
              WHERE seq <= (SELECT coalesce(min(mark), ?1) FROM outlets)
                    OR NOT EXISTS (SELECT 1 FROM calls WHERE id = oldest.call_id))
         RETURNING 1 AS gone",
        0,
    ),
    ("DELETE FROM outlets WHERE wanted_ms < ?1 AND ?2 > 0 RETURNING 1 AS gone", CALLS_MS),
];
