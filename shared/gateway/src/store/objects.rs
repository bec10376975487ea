//! Files and batches that providers keep, by the tenant that made them.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::ports::{Database, PortError, Rows, Statement, row, rows};

/// What a provider keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A batch of calls.
    Batch,
    /// A file.
    File,
}

impl Kind {
    /// As the database and callers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::File => "file",
        }
    }
}

/// Something a tenant has made, or was made for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Owned {
    /// The provider's id.
    pub id: String,
    /// As in `provider/model`.
    pub provider: String,
    /// Whose it is.
    pub tenant_id: String,
    /// The key it was made with.
    pub key_id: String,
    /// As the provider last described it, in JSON.
    pub object: String,
    /// What the lines of a batch or of its file ask for, a JSON list.
    pub models: Option<String>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// When a batch was first seen with its usage, unix milliseconds.
    pub settled_ms: Option<i64>,
}

/// Notes what a tenant has made. What is known already stays whose it was.
pub async fn create(db: &impl Database, kind: Kind, owned: &[Owned]) -> Result<(), PortError> {
    let sql = "
        INSERT OR IGNORE INTO owned_objects (id, provider, kind, tenant_id, key_id, object, models, created_ms)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let statement = |owned: &Owned| {
        let params = [
            json!(owned.id),
            json!(owned.provider),
            json!(kind.as_str()),
            json!(owned.tenant_id),
            json!(owned.key_id),
            json!(owned.object),
            json!(owned.models),
            json!(owned.created_ms),
        ];
        Statement::new(sql, params)
    };
    db.batch(owned.iter().map(statement).collect()).await.map(drop)
}

/// What this tenant calls by this id.
pub async fn find(
    db: &impl Database,
    kind: Kind,
    tenant_id: &str,
    id: &str,
) -> Result<Option<Owned>, PortError> {
    let sql = "SELECT * FROM owned_objects WHERE id = ?1 AND kind = ?2 AND tenant_id = ?3";
    row(db, Statement::new(sql, [json!(id), json!(kind.as_str()), json!(tenant_id)])).await
}

/// Which of these ids are not known yet.
pub async fn unknown(db: &impl Database, provider: &str, ids: &[String]) -> Result<Vec<String>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
    }
    let sql = "
        SELECT value AS id FROM json_each(?1)
        WHERE value NOT IN (SELECT id FROM owned_objects WHERE provider = ?2 AND id IN (SELECT value FROM json_each(?1)))";
    let found: Vec<Row> =
        rows(db, Statement::new(sql, [json!(json!(ids).to_string()), json!(provider)])).await?;
    Ok(found.into_iter().map(|row| row.id).collect())
}

/// The first of these files that is none of the tenant's.
pub async fn foreign(
    db: &impl Database,
    tenant_id: &str,
    ids: &[String],
) -> Result<Option<String>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
    }
    let sql = "
        SELECT value AS id FROM json_each(?1)
        WHERE value NOT IN (SELECT id FROM owned_objects
                            WHERE tenant_id = ?2 AND kind = 'file' AND id IN (SELECT value FROM json_each(?1)))
        LIMIT 1";
    let found: Option<Row> =
        row(db, Statement::new(sql, [json!(json!(ids).to_string()), json!(tenant_id)])).await?;
    Ok(found.map(|row| row.id))
}

/// Keeps the provider's latest description, and since when a batch's usage is known.
pub async fn update(
    db: &impl Database,
    owned: &Owned,
    object: &str,
    settled_ms: Option<i64>,
) -> Result<(), PortError> {
    let sql = "UPDATE owned_objects SET object = ?3, settled_ms = coalesce(settled_ms, ?4) WHERE id = ?1 AND provider = ?2";
    let params = [json!(owned.id), json!(owned.provider), json!(object), json!(settled_ms)];
    db.batch(vec![Statement::new(sql, params)]).await.map(drop)
}

/// Forgets what its owner has deleted.
pub async fn delete(db: &impl Database, owned: &Owned) -> Result<(), PortError> {
    let sql = "DELETE FROM owned_objects WHERE id = ?1 AND provider = ?2";
    db.batch(vec![Statement::new(sql, [json!(owned.id), json!(owned.provider)])]).await.map(drop)
}

/// A page of what a tenant has: the newest first, or the oldest.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Whose.
    pub tenant_id: &'a str,
    /// What.
    pub kind: Kind,
    /// Only what this provider keeps.
    pub provider: Option<&'a str>,
    /// Only files for this.
    pub purpose: Option<&'a str>,
    /// What follows this id.
    pub after: Option<&'a str>,
    /// The oldest first.
    pub is_ascending: bool,
    /// At most so many.
    pub limit: usize,
}

/// Their ids and descriptions.
pub async fn list(db: &impl Database, page: Page<'_>) -> Result<Rows, PortError> {
    let (compared, order) = if page.is_ascending { (">", "ASC") } else { ("<", "DESC") };
    let sql = format!(
        "SELECT id, object FROM owned_objects
         WHERE tenant_id = ?1 AND kind = ?2 AND (?3 IS NULL OR provider = ?3)
           AND (?4 IS NULL OR json_extract(object, '$.purpose') = ?4)
           AND (?5 IS NULL OR (created_ms, id) {compared}
                (SELECT created_ms, id FROM owned_objects WHERE tenant_id = ?1 AND kind = ?2 AND id = ?5))
         ORDER BY created_ms {order}, id {order} LIMIT ?6"
    );
    let params: [Value; 6] = [
        json!(page.tenant_id),
        json!(page.kind.as_str()),
        json!(page.provider),
        json!(page.purpose),
        json!(page.after),
        json!(page.limit),
    ];
    let mut results = db.batch(vec![Statement::new(sql, params)]).await?;
    Ok(results.pop().unwrap_or_default())
}
