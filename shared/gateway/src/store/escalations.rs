//! The escalation matrix, and the habits of receivers.

use serde::Serialize;
use serde_json::{Value, json};

use super::attention::{ALL_POLICIES, StoredPolicy};
use crate::ports::{Database, PortError, Statement, row, rows};

/// Adds a row to the matrix. `false` if a receiver it names does not exist.
pub async fn create(
    db: &impl Database,
    policy: &StoredPolicy,
    receivers: &[String],
) -> Result<bool, PortError> {
    let sql = "
        INSERT INTO escalations (id, name, rule, severity, steps, repeats, repeat_after_minutes, created_ms)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
        WHERE NOT EXISTS (SELECT 1 FROM json_each(?9) WHERE value NOT IN (SELECT id FROM receivers))
        RETURNING id";
    let params = [
        json!(policy.id),
        json!(policy.name),
        json!(policy.rule),
        json!(policy.severity),
        json!(policy.steps),
        json!(policy.repeats),
        json!(policy.repeat_after_minutes),
        json!(policy.created_ms),
        json!(json!(receivers).to_string()),
    ];
    Ok(row::<Value>(db, Statement::new(sql, params)).await?.is_some())
}

/// The matrix, the oldest row first.
pub async fn all(db: &impl Database) -> Result<Vec<StoredPolicy>, PortError> {
    rows(db, Statement::new(ALL_POLICIES, [])).await
}

/// Removes a row. `false` if there was none.
pub async fn delete(db: &impl Database, id: &str) -> Result<bool, PortError> {
    let sql = "DELETE FROM escalations WHERE id = ?1 RETURNING id";
    Ok(row::<Value>(db, Statement::new(sql, [json!(id)])).await?.is_some())
}

/// When and how a receiver wants to hear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Habits {
    /// Alerts that agree in these labels come in one notice.
    pub group_by: Vec<String>,
    /// Tickets come together, this often.
    pub digest_minutes: Option<i64>,
    /// Tickets wait from this minute of the day …
    pub quiet_from: Option<i64>,
    /// … to this one.
    pub quiet_to: Option<i64>,
    /// By this clock.
    pub zone: String,
}

/// Sets the habits of a receiver. `false` if there is no such receiver.
pub async fn put_habits(
    db: &impl Database,
    receiver_id: &str,
    habits: &Habits,
    now_ms: i64,
) -> Result<bool, PortError> {
    let sql = "
        INSERT INTO receiver_habits (receiver_id, group_by, digest_minutes, quiet_from, quiet_to, zone, updated_ms)
        SELECT id, ?2, ?3, ?4, ?5, ?6, ?7 FROM receivers WHERE id = ?1
        ON CONFLICT (receiver_id) DO UPDATE SET group_by = excluded.group_by, digest_minutes = excluded.digest_minutes,
            quiet_from = excluded.quiet_from, quiet_to = excluded.quiet_to, zone = excluded.zone,
            updated_ms = excluded.updated_ms
        RETURNING receiver_id";
    let params = [
        json!(receiver_id),
        json!(json!(habits.group_by).to_string()),
        json!(habits.digest_minutes),
        json!(habits.quiet_from),
        json!(habits.quiet_to),
        json!(habits.zone),
        json!(now_ms),
    ];
    Ok(row::<Value>(db, Statement::new(sql, params)).await?.is_some())
}
