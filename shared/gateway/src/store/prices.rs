//! Prices of one's own.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::ports::{Database, PortError, Statement, row, rows};

/// Prices of some models from some time on.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// `provider/model`, or the beginning of such names with a `*` behind.
    pub model: String,
    /// Unix milliseconds.
    pub from_ms: i64,
    /// In the notation of [`llm::price`].
    pub prices: String,
    /// As they were set.
    pub settings: Value,
    /// Unix milliseconds.
    pub updated_ms: i64,
}

/// Sets prices in place of those of the same models from the same time on. An empty tenant is every one.
pub async fn put(db: &impl Database, tenant_id: &str, prices: &Prices) -> Result<(), PortError> {
    let sql = "
        INSERT INTO prices (tenant_id, model, from_ms, prices, settings, updated_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (tenant_id, model, from_ms) DO UPDATE
        SET prices = excluded.prices, settings = excluded.settings, updated_ms = excluded.updated_ms";
    let Prices { model, from_ms, prices, settings, updated_ms } = prices;
    let params = [
        json!(tenant_id),
        json!(model),
        json!(from_ms),
        json!(prices),
        json!(settings.to_string()),
        json!(updated_ms),
    ];
    db.batch(vec![Statement::new(sql, params)]).await?;
    Ok(())
}

/// The prices of a tenant, or of every one, by model and time.
pub async fn list(db: &impl Database, tenant_id: &str) -> Result<Vec<Prices>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        model: String,
        from_ms: i64,
        prices: String,
        settings: String,
        updated_ms: i64,
    }
    let sql = "
        SELECT model, from_ms, prices, settings, updated_ms FROM prices
        WHERE tenant_id = ?1 ORDER BY model, from_ms";
    let found: Vec<Row> = rows(db, Statement::new(sql, [json!(tenant_id)])).await?;
    let read = |row: Row| {
        let settings = serde_json::from_str(&row.settings);
        let settings =
            settings.map_err(|error| PortError::new("database", format!("unreadable prices: {error}")))?;
        Ok(Prices {
            model: row.model,
            from_ms: row.from_ms,
            prices: row.prices,
            settings,
            updated_ms: row.updated_ms,
        })
    };
    found.into_iter().map(read).collect()
}

/// Removes the prices of a model, of every time. `false` if there were none.
pub async fn delete(db: &impl Database, tenant_id: &str, model: &str) -> Result<bool, PortError> {
    let sql = "DELETE FROM prices WHERE tenant_id = ?1 AND model = ?2 RETURNING model";
    Ok(row::<Value>(db, Statement::new(sql, [json!(tenant_id), json!(model)])).await?.is_some())
}
