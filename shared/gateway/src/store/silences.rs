//! Silences and maintenance windows.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ports::{Database, PortError, Statement, row, rows};

/// A silence, as the admin API makes and shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// `sil_…`
    pub id: String,
    /// `silence`, or `maintenance`.
    pub kind: String,
    /// JSON list of conditions.
    pub matchers: String,
    /// From here, unix milliseconds.
    pub starts_ms: i64,
    /// To here.
    pub ends_ms: i64,
    /// It comes back after this long.
    pub every_ms: Option<i64>,
    /// Who made it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When it was made.
    pub created_ms: i64,
    /// When it was ended before its time.
    pub ended_ms: Option<i64>,
}

/// Adds a silence.
pub async fn create(db: &impl Database, silence: &Silence) -> Result<(), PortError> {
    let sql = "
        INSERT INTO silences (id, kind, matchers, starts_ms, ends_ms, every_ms, author, reason, created_ms)
        SELECT value ->> 'id', value ->> 'kind', value ->> 'matchers', value ->> 'starts_ms', value ->> 'ends_ms',
               value ->> 'every_ms', value ->> 'author', value ->> 'reason', value ->> 'created_ms'
        FROM (SELECT ?1 AS value)";
    db.batch(vec![Statement::new(sql, [json!(json!(silence).to_string())])]).await?;
    Ok(())
}

/// Every silence there is a record of, the newest first.
pub async fn all(db: &impl Database) -> Result<Vec<Silence>, PortError> {
    rows(db, Statement::new("SELECT * FROM silences ORDER BY created_ms DESC, id DESC LIMIT 500", [])).await
}

/// Ends a silence. `false` if there is none that goes on.
pub async fn end(db: &impl Database, id: &str, now_ms: i64) -> Result<bool, PortError> {
    let sql = "
        UPDATE silences SET ended_ms = ?2
        WHERE id = ?1 AND ended_ms IS NULL AND (ends_ms > ?2 OR every_ms IS NOT NULL) RETURNING id";
    Ok(row::<Value>(db, Statement::new(sql, [json!(id), json!(now_ms)])).await?.is_some())
}
