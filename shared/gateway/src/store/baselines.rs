//! Baselines, as they are kept.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::ports::{Database, PortError, Statement, row, rows};

/// A baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// What it goes by.
    pub name: String,
    /// What it is for.
    pub note: String,
    /// The start of its period.
    pub from_ms: i64,
    /// Its end.
    pub to_ms: i64,
    /// Which dimensions it tells apart.
    pub by: Vec<String>,
    /// What it was taken from only.
    pub only: Map<String, Value>,
    /// Merged rows.
    pub series: Vec<Value>,
    /// When it was taken.
    pub created_ms: i64,
}

impl Stored {
    /// All but the series.
    pub fn summary(&self) -> Value {
        json!({
            "name": self.name, "note": self.note, "from_ms": self.from_ms, "to_ms": self.to_ms,
            "by": self.by, "only": self.only, "created_ms": self.created_ms,
        })
    }
}

/// Keeps one, in place of one with its name.
pub async fn put(db: &impl Database, stored: &Stored) -> Result<(), PortError> {
    let sql = "
        INSERT OR REPLACE INTO baselines (name, note, from_ms, to_ms, by, only_of, series, created_ms)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let text = |value: Value| json!(value.to_string());
    let params = [
        json!(stored.name),
        json!(stored.note),
        json!(stored.from_ms),
        json!(stored.to_ms),
        text(json!(stored.by)),
        text(json!(stored.only)),
        text(json!(stored.series)),
        json!(stored.created_ms),
    ];
    db.batch(vec![Statement::new(sql, params)]).await?;
    Ok(())
}

/// All of them by name, without their series.
pub async fn list(db: &impl Database) -> Result<Vec<Stored>, PortError> {
    let sql = "
        SELECT name, note, from_ms, to_ms, by, only_of, '[]' AS series, created_ms FROM baselines ORDER BY name";
    rows(db, Statement::new(sql, [])).await?.into_iter().map(read).collect()
}

/// One of them.
pub async fn find(db: &impl Database, name: &str) -> Result<Option<Stored>, PortError> {
    let sql = "SELECT * FROM baselines WHERE name = ?1";
    row(db, Statement::new(sql, [json!(name)])).await?.map(read).transpose()
}

/// Forgets one; `false` if there was none.
pub async fn delete(db: &impl Database, name: &str) -> Result<bool, PortError> {
    let sql = "DELETE FROM baselines WHERE name = ?1 RETURNING name";
    Ok(row::<Value>(db, Statement::new(sql, [json!(name)])).await?.is_some())
}

#[derive(Deserialize)]
struct Row {
    name: String,
    note: String,
    from_ms: i64,
    to_ms: i64,
    by: String,
    only_of: String,
    series: String,
    created_ms: i64,
}

fn read(row: Row) -> Result<Stored, PortError> {
    let unreadable = |error| PortError::new("database", format!("unexpected baseline: {error}"));
    Ok(Stored {
        by: serde_json::from_str(&row.by).map_err(unreadable)?,
        only: serde_json::from_str(&row.only_of).map_err(unreadable)?,
        series: serde_json::from_str(&row.series).map_err(unreadable)?,
        name: row.name,
        note: row.note,
        from_ms: row.from_ms,
        to_ms: row.to_ms,
        created_ms: row.created_ms,
    })
}
