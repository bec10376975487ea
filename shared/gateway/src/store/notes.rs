//! What rules will want to know that no rollup says: where keys are called from, and how the database grows.

use hypercare::{
    detect::access::MOST_SOURCES,
    time::{DAY_MS, HOUR_MS},
};
use serde_json::json;

use crate::ports::{Database, PortError, Statement};

/// Notes where keys were called from since this was done before, up to `to_ms`, and an hour back at most. Counts go up by
/// what is new, so what was looked at is marked in the same transaction. Three statements.
pub async fn sources(db: &impl Database, to_ms: i64) -> Result<(), PortError> {
    let add = format!(
        "WITH seen AS MATERIALIZED (
             SELECT tenant_id, key_id, country, source, min(started_ms) AS first_ms, max(started_ms) AS last_ms,
                    count(*) AS calls
             FROM calls
             WHERE started_ms >= max((SELECT claimed_ms FROM schedule WHERE name = 'sources-until'), ?1 - {HOUR_MS})
               AND started_ms < ?1 AND key_id <> '' AND error_type IS NOT 'blocked'
             GROUP BY tenant_id, key_id, country, source),
         told AS (
             SELECT tenant_id, key_id, 'country' AS kind, country AS name, first_ms, last_ms, calls FROM seen
             UNION ALL
             SELECT tenant_id, key_id, 'network', source, first_ms, last_ms, calls FROM seen),
         ranked AS (
             SELECT tenant_id, key_id, kind, name, min(first_ms) AS first_ms, max(last_ms) AS last_ms,
                    sum(calls) AS calls,
                    row_number() OVER (PARTITION BY tenant_id, key_id, kind ORDER BY sum(calls) DESC, name) AS place
             FROM told WHERE name IS NOT NULL GROUP BY tenant_id, key_id, kind, name)
         INSERT INTO key_sources (tenant_id, key_id, kind, source, first_ms, last_ms, calls)
         SELECT tenant_id, key_id, kind, name, first_ms, last_ms, calls FROM ranked
         WHERE place <= {MOST_SOURCES} AND (
             (SELECT count(*) FROM key_sources AS known
              WHERE known.tenant_id = ranked.tenant_id AND known.key_id = ranked.key_id AND known.kind = ranked.kind)
             < {MOST_SOURCES}
             OR EXISTS (SELECT 1 FROM key_sources AS known
                        WHERE known.tenant_id = ranked.tenant_id AND known.key_id = ranked.key_id
                          AND known.kind = ranked.kind AND known.source = ranked.name))
         ON CONFLICT (tenant_id, key_id, kind, source) DO UPDATE
         SET first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms),
             calls = calls + excluded.calls"
    );
    // A clock that went wrong does not stop it for good.
    let mark = format!(
        "UPDATE schedule SET claimed_ms = ?1
         WHERE name = 'sources-until' AND (claimed_ms < ?1 OR claimed_ms > ?1 + {HOUR_MS})"
    );
    let forget = "
        DELETE FROM key_sources WHERE (tenant_id, key_id, kind, source) IN
            (SELECT tenant_id, key_id, kind, source FROM key_sources WHERE last_ms < ?1 ORDER BY last_ms LIMIT 1000)";
    db.batch(vec![
        Statement::new(add, [json!(to_ms)]),
        Statement::new(mark, [json!(to_ms)]),
        Statement::new(forget, [json!(to_ms - SOURCES_MS)]),
    ])
    .await?;
    Ok(())
}

/// Notes how large the database is, in place of what was noted that day, and forgets blocks of long ago. Two statements.
pub async fn size(db: &impl Database, day_ms: i64, bytes: i64) -> Result<(), PortError> {
    let note = "
        INSERT INTO database_sizes (day_ms, bytes) VALUES (?1, ?2)
        ON CONFLICT (day_ms) DO UPDATE SET bytes = excluded.bytes";
    let forget = "
        DELETE FROM blocks WHERE id IN
            (SELECT id FROM blocks WHERE created_ms < ?1 AND until_ms < ?1 ORDER BY created_ms LIMIT 1000)";
    db.batch(vec![
        Statement::new(note, [json!(day_ms), json!(bytes)]),
        Statement::new(forget, [json!(day_ms - BLOCKS_MS)]),
    ])
    .await?;
    Ok(())
}

/// How long a source that a key is no longer called from is one that it was called from before.
const SOURCES_MS: i64 = 90 * DAY_MS;
/// As long as episodes are kept.
const BLOCKS_MS: i64 = 400 * DAY_MS;
