//! Receivers of notices. Their addresses and secrets are stored sealed.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::outbox::DROP_OF_RECEIVERS;
use crate::ports::{Database, PortError, Statement, row, rows};

/// A receiver, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// `rcv_…`
    pub id: String,
    /// Whose alerts it hears of; none: everybody's.
    pub tenant_id: Option<String>,
    /// What it is called.
    pub name: String,
    /// What it speaks.
    pub kind: String,
    /// Where it is.
    pub sealed_url: String,
    /// What opens it, or signs what is sent to it.
    pub sealed_secret: Option<String>,
    /// JSON object: what else its kind wants to know.
    pub settings: String,
    /// How many requests a minute it bears.
    pub per_minute: i64,
    /// Deliveries in a row that failed for good.
    pub failures: i64,
    /// Unix milliseconds; it is left alone until then.
    pub wait_until_ms: Option<i64>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds; it hears nothing since.
    pub disabled_ms: Option<i64>,
    /// Why.
    pub disabled_reason: Option<String>,
}

/// Adds a receiver, or puts it in the place of the one with its id. `false` if its tenant does not exist.
pub async fn put(db: &impl Database, receiver: &Stored) -> Result<bool, PortError> {
    let sql = "
        INSERT OR REPLACE INTO receivers (id, tenant_id, name, kind, sealed_url, sealed_secret, settings, per_minute, failures,
                                          wait_until_ms, created_ms, disabled_ms, disabled_reason)
        SELECT ?1 ->> 'id', ?1 ->> 'tenant_id', ?1 ->> 'name', ?1 ->> 'kind', ?1 ->> 'sealed_url', ?1 ->> 'sealed_secret',
               ?1 ->> 'settings', ?1 ->> 'per_minute', ?1 ->> 'failures', ?1 ->> 'wait_until_ms', ?1 ->> 'created_ms',
               ?1 ->> 'disabled_ms', ?1 ->> 'disabled_reason'
        WHERE ?1 ->> 'tenant_id' IS NULL OR EXISTS (SELECT 1 FROM tenants WHERE id = ?1 ->> 'tenant_id')
        RETURNING id";
    let receiver = json!(json!(receiver).to_string());
    Ok(row::<Value>(db, Statement::new(sql, [receiver])).await?.is_some())
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
            Statement::new("DELETE FROM reports WHERE receiver_id = ?1", [json!(id)]),
        ])
        .await?;
    Ok(results.first().is_some_and(|rows| !rows.is_empty()))
}
