//! Errors that are the same one, counted by the hour, and what answers of providers are like: the model that served, the
//! word an answer ended with, and the kinds of errors. Both are made of calls as they are recorded, so a call pays
//! nothing for them.

use serde_json::json;

use super::rollups::Grain;
use crate::ports::{Database, PortError, Statement};

/// Counts the errors of the two hours that are over, and notes what the answers of the newest were like.
pub async fn count(db: &impl Database, now_ms: i64) -> Result<(), PortError> {
    let hour_ms = Grain::Hour.bucket_of(now_ms) - Grain::Hour.width_ms();
    let before_ms = hour_ms - Grain::Hour.width_ms();
    db.batch(vec![
        Statement::new(COUNT_FAULTS, [json!(before_ms)]),
        Statement::new(COUNT_FAULTS, [json!(hour_ms)]),
        Statement::new(NOTE_TRAITS, [json!(hour_ms)]),
    ])
    .await?;
    Ok(())
}

/// What [`count`] takes.
pub const STATEMENTS: usize = 3;

/// Those of callers who are not known are left out: they say what they like.
const COUNT_FAULTS: &str = "
    INSERT INTO faults (fault, hour_ms, calls)
    SELECT fault, ?1, calls FROM (
        SELECT iif(provider_name = '', 'gateway', provider_name) || ' ' || status || ' ' || error_type
               || coalesce(': ' || error_template, '') AS fault, count(*) AS calls
        FROM calls INDEXED BY calls_with_error
        WHERE error_type IS NOT NULL AND started_ms >= ?1 AND started_ms < ?1 + 3600000
              AND outcome <> 'aborted' AND tenant_id <> ''
        GROUP BY fault ORDER BY calls DESC, fault LIMIT 200)
    WHERE true
    ON CONFLICT (fault, hour_ms) DO UPDATE SET calls = excluded.calls WHERE calls <> excluded.calls";

/// The newest calls stand for all: what lasts is among them.
const NOTE_TRAITS: &str = "
    WITH some AS MATERIALIZED (
        SELECT provider_name, target_model, response_model, native_finish_reason, status, error_type, outcome
        FROM calls
        WHERE started_ms >= ?1 AND started_ms < ?1 + 3600000 AND provider_name <> '' AND tenant_id <> ''
        ORDER BY started_ms DESC LIMIT 5000),
    found AS (
        SELECT provider_name, target_model AS model, 'served_model' AS kind, response_model AS value FROM some
        WHERE response_model IS NOT NULL
        UNION ALL
        SELECT provider_name, target_model, 'finish_reason', native_finish_reason FROM some
        WHERE native_finish_reason IS NOT NULL
        UNION ALL
        SELECT provider_name, '', 'error', status || ' ' || error_type FROM some
        WHERE error_type IS NOT NULL AND outcome <> 'aborted')
    INSERT INTO traits (provider_name, model, kind, value, first_ms, last_ms, calls)
    SELECT provider_name, model, kind, value, ?1, ?1, count(*) FROM found
    GROUP BY provider_name, model, kind, value ORDER BY count(*) DESC LIMIT 500
    ON CONFLICT (provider_name, model, kind, value) DO UPDATE
    SET first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms),
        calls = excluded.calls";
