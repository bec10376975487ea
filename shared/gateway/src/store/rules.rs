//! Alert rules of one's own, and how well all of them do.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ports::{Database, PortError, Statement, rows};

/// A rule as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StoredRule {
    /// `ru_…`
    pub id: String,
    /// JSON object, as it was sent.
    pub definition: String,
    /// Unix milliseconds.
    pub updated_ms: i64,
    /// Unix milliseconds, if it was deleted and may still have open alerts.
    pub deleted_ms: Option<i64>,
}

/// Every rule, the oldest first.
pub async fn all(db: &impl Database) -> Result<Vec<StoredRule>, PortError> {
    rows(db, Statement::new(ALL, [])).await
}

/// Adds a rule unless there are `most` already; returns whether it did.
pub async fn add(
    db: &impl Database,
    id: &str,
    definition: &str,
    now_ms: i64,
    most: i64,
) -> Result<bool, PortError> {
    #[derive(Deserialize)]
    struct Added {}
    let sql = "
        INSERT INTO rules (id, definition, created_ms, updated_ms)
        SELECT ?1, ?2, ?3, ?3 WHERE (SELECT count(*) FROM rules WHERE deleted_ms IS NULL) < ?4
        RETURNING id";
    let added: Vec<Added> =
        rows(db, Statement::new(sql, [json!(id), json!(definition), json!(now_ms), json!(most)])).await?;
    Ok(!added.is_empty())
}

/// Puts a definition in place of what there was; returns whether there is such a rule.
pub async fn change(db: &impl Database, id: &str, definition: &str, now_ms: i64) -> Result<bool, PortError> {
    #[derive(Deserialize)]
    struct Changed {}
    let sql = "
        UPDATE rules SET definition = ?2, updated_ms = ?3 WHERE id = ?1 AND deleted_ms IS NULL RETURNING id";
    let changed: Vec<Changed> =
        rows(db, Statement::new(sql, [json!(id), json!(definition), json!(now_ms)])).await?;
    Ok(!changed.is_empty())
}

/// Marks a rule as deleted; returns whether there was one. What was deleted before and has no alert left
/// goes for good.
pub async fn delete(db: &impl Database, id: &str, now_ms: i64) -> Result<bool, PortError> {
    let gone = "
        rules.deleted_ms IS NOT NULL AND NOT EXISTS (SELECT 1 FROM alerts WHERE alerts.rule_id = rules.id)";
    let results = db
        .batch(vec![
            Statement::new(
                "UPDATE rules SET deleted_ms = ?2 WHERE id = ?1 AND deleted_ms IS NULL RETURNING id",
                [json!(id), json!(now_ms)],
            ),
            Statement::new(
                format!("DELETE FROM evaluations WHERE rule_id IN (SELECT id FROM rules WHERE {gone} AND id <> ?1)"),
                [json!(id)],
            ),
            Statement::new(format!("DELETE FROM rules WHERE {gone} AND id <> ?1"), [json!(id)]),
        ])
        .await?;
    Ok(results.first().is_some_and(|rows| !rows.is_empty()))
}

/// How a rule did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Which rule.
    pub rule_id: String,
    /// Episodes that opened.
    pub fires: i64,
    /// Those of them that opened within an hour after the one before on the same series was resolved.
    pub flaps: i64,
    /// Those that somebody took.
    pub acknowledged: i64,
    /// Those that are open.
    pub open: i64,
    /// How long those that are over lasted on average, in minutes.
    pub mean_minutes: Option<f64>,
    /// When the newest opened, unix milliseconds.
    pub last_ms: i64,
}

/// How each rule did that fired since then.
pub async fn records(db: &impl Database, since_ms: i64) -> Result<Vec<Record>, PortError> {
    let sql = "
        SELECT rule_id, count(*) AS fires,
               sum(opened_ms - before_ms BETWEEN 0 AND 3600000) AS flaps, sum(resolved_ms IS NULL) AS open,
               sum(acknowledged_ms IS NOT NULL) AS acknowledged,
               avg(resolved_ms - opened_ms) / 60000 AS mean_minutes, max(opened_ms) AS last_ms
        FROM (SELECT rule_id, opened_ms, resolved_ms, acknowledged_ms,
                     coalesce(lag(resolved_ms) OVER (PARTITION BY fingerprint ORDER BY opened_ms), -3600001) AS before_ms
              FROM episodes WHERE opened_ms >= ?1)
        GROUP BY rule_id ORDER BY rule_id";
    rows(db, Statement::new(sql, [json!(since_ms)])).await
}

pub(super) const ALL: &str =
    "SELECT id, definition, updated_ms, deleted_ms FROM rules ORDER BY created_ms, id";
