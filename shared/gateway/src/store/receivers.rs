//! Receivers of notices. Their addresses and secrets are stored sealed.

use serde::Deserialize;
use serde_json::{Value, json};

use super::outbox::DROP_OF_RECEIVERS;
use crate::ports::{Database, PortError, Statement, row, rows};

/// A receiver, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Stored {
    /// `rcv_…`
    pub id: String,
    /// Whose alerts it hears of; none: everybody's.
    pub tenant_id: Option<String>,
    /// What it is called.
    pub name: String,
    /// `slack` or `webhook`.
    pub kind: String,
    /// Where it is.
    pub sealed_url: String,
    /// What signs notices to it.
    pub sealed_secret: Option<String>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds; it hears nothing since.
    pub disabled_ms: Option<i64>,
}

/// Adds a receiver. `false` if its tenant does not exist.
pub async fn create(db: &impl Database, receiver: &Stored) -> Result<bool, PortError> {
    let sql = "
        INSERT INTO receivers (id, tenant_id, name, kind, sealed_url, sealed_secret, created_ms)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE ?2 IS NULL OR EXISTS (SELECT 1 FROM tenants WHERE id = ?2)
        RETURNING id";
    let params = [
        json!(receiver.id),
        json!(receiver.tenant_id),
        json!(receiver.name),
        json!(receiver.kind),
        json!(receiver.sealed_url),
        json!(receiver.sealed_secret),
        json!(receiver.created_ms),
    ];
    Ok(row::<Value>(db, Statement::new(sql, params)).await?.is_some())
}

/// Every receiver, the oldest first.
pub async fn all(db: &impl Database) -> Result<Vec<Stored>, PortError> {
    rows(db, Statement::new("SELECT * FROM receivers ORDER BY created_ms, id", [])).await
}

/// The receiver with this id.
pub async fn find(db: &impl Database, id: &str) -> Result<Option<Stored>, PortError> {
    row(db, Statement::new("SELECT * FROM receivers WHERE id = ?1", [json!(id)])).await
}

/// Removes a receiver and what is on its way to it. `false` if there was none.
pub async fn delete(db: &impl Database, id: &str) -> Result<bool, PortError> {
    let results = db
        .batch(vec![
            Statement::new("DELETE FROM receivers WHERE id = ?1 RETURNING id", [json!(id)]),
            Statement::new(
                DROP_OF_RECEIVERS,
                [json!(json!([id]).to_string()), json!("the receiver was deleted")],
            ),
        ])
        .await?;
    Ok(results.first().is_some_and(|rows| !rows.is_empty()))
}
