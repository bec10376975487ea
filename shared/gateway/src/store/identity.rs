//! Tenants, API keys and aliases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    auth::Caller,
    payload,
    ports::{Database, PortError, Statement, row, rows},
};

/// A tenant, as the admin API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// `tn_…`
    pub id: String,
    /// Unique.
    pub name: String,
    /// Whether calls keep their content.
    pub payload_mode: payload::Mode,
    /// How much of it.
    pub payload_cap_bytes: i64,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds; its keys open nothing since.
    pub disabled_ms: Option<i64>,
}

/// An API key, as the admin API shows it: without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    /// `key_…`
    pub id: String,
    /// Its tenant.
    pub tenant_id: String,
    /// What its owner calls it.
    pub name: String,
    /// The last four characters.
    pub hint: String,
    /// Model names and patterns; `None` is all.
    pub models: Option<Vec<String>>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds.
    pub expires_ms: Option<i64>,
    /// Unix milliseconds.
    pub revoked_ms: Option<i64>,
}

/// The caller behind a key's hash, unless the key was revoked or its tenant disabled.
pub async fn find_caller(db: &impl Database, hash: &str, now_ms: i64) -> Result<Option<Caller>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        tenant_id: String,
        key_id: String,
        models: Option<String>,
        expires_ms: Option<i64>,
        payload_mode: payload::Mode,
        payload_cap_bytes: usize,
        aliases: String,
        prices: String,
        blocked_ms: Option<i64>,
        blocked_sources: String,
    }
    let sql = "
        SELECT k.tenant_id, k.id AS key_id, k.models, k.expires_ms, t.payload_mode, t.payload_cap_bytes,
               (SELECT json_group_object(a.name, json(a.targets)) FROM aliases a WHERE a.tenant_id = t.id) AS aliases,
               (SELECT json_group_array(json_array(p.model, p.from_ms, p.prices, iif(p.tenant_id = '', 'global:', 'tenant:')
                       || date(p.updated_ms / 1000, 'unixepoch')))
                FROM prices p WHERE p.tenant_id IN (t.id, '')) AS prices,
               (SELECT max(b.until_ms) FROM blocks b
                WHERE b.kind = 'key' AND b.until_ms > ?2 AND b.lifted_ms IS NULL AND b.subject = k.id) AS blocked_ms,
               (SELECT json_group_array(json_array(subject, until_ms)) FROM
                    (SELECT b.subject, b.until_ms FROM blocks b
                     WHERE b.kind = 'source' AND b.until_ms > ?2 AND b.lifted_ms IS NULL AND b.tenant_id IN (t.id, '')
                     ORDER BY b.until_ms DESC LIMIT 100)) AS blocked_sources
        FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
        WHERE k.hash = ?1 AND k.revoked_ms IS NULL AND t.disabled_ms IS NULL";
    let Some(found) = row::<Row>(db, Statement::new(sql, [json!(hash), json!(now_ms)])).await? else {
        return Ok(None);
    };
    Ok(Some(Caller {
        tenant_id: found.tenant_id,
        key_id: found.key_id,
        models: found.models.map(|models| list(&models)).transpose()?,
        expires_ms: found.expires_ms,
        aliases: serde_json::from_str::<BTreeMap<_, _>>(&found.aliases).map_err(unreadable)?,
        payload_mode: found.payload_mode,
        payload_cap_bytes: found.payload_cap_bytes,
        prices: serde_json::from_str(&found.prices).map_err(unreadable)?,
        blocked_ms: found.blocked_ms,
        blocked_sources: serde_json::from_str(&found.blocked_sources).map_err(unreadable)?,
    }))
}

/// Adds a tenant. `false` if the name is taken.
pub async fn create_tenant(db: &impl Database, tenant: &Tenant) -> Result<bool, PortError> {
    let sql = "
        INSERT INTO tenants (id, name, payload_mode, payload_cap_bytes, created_ms)
        VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO NOTHING RETURNING id";
    let Tenant { id, name, payload_mode, payload_cap_bytes, created_ms, .. } = tenant;
    let params =
        [json!(id), json!(name), json!(payload_mode.as_str()), json!(payload_cap_bytes), json!(created_ms)];
    Ok(row::<Value>(db, Statement::new(sql, params)).await?.is_some())
}

/// Every tenant, the oldest first.
pub async fn tenants(db: &impl Database) -> Result<Vec<Tenant>, PortError> {
    rows(db, Statement::new("SELECT * FROM tenants ORDER BY created_ms, id", [])).await
}

/// The tenant with this id.
pub async fn tenant(db: &impl Database, id: &str) -> Result<Option<Tenant>, PortError> {
    row(db, Statement::new("SELECT * FROM tenants WHERE id = ?1", [json!(id)])).await
}

/// Changes what a tenant keeps of its calls; returns it, if there is one.
pub async fn set_payload(
    db: &impl Database,
    id: &str,
    mode: Option<payload::Mode>,
    cap_bytes: Option<i64>,
) -> Result<Option<Tenant>, PortError> {
    let sql = "
        UPDATE tenants SET payload_mode = coalesce(?2, payload_mode), payload_cap_bytes = coalesce(?3, payload_cap_bytes)
        WHERE id = ?1 RETURNING *";
    row(db, Statement::new(sql, [json!(id), json!(mode.map(payload::Mode::as_str)), json!(cap_bytes)])).await
}

/// Closes a tenant for good; returns it, if there is one.
pub async fn disable_tenant(db: &impl Database, id: &str, now_ms: i64) -> Result<Option<Tenant>, PortError> {
    let sql = "UPDATE tenants SET disabled_ms = coalesce(disabled_ms, ?2) WHERE id = ?1 RETURNING *";
    row(db, Statement::new(sql, [json!(id), json!(now_ms)])).await
}

/// The hashes of a tenant's keys, to drop them from the cache.
pub async fn key_hashes(db: &impl Database, tenant_id: &str) -> Result<Vec<String>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        hash: String,
    }
    let sql = "SELECT hash FROM api_keys WHERE tenant_id = ?1 AND revoked_ms IS NULL";
    let found: Vec<Row> = rows(db, Statement::new(sql, [json!(tenant_id)])).await?;
    Ok(found.into_iter().map(|row| row.hash).collect())
}

/// The names of these keys, by id.
pub async fn key_names(db: &impl Database, ids: &[&str]) -> Result<BTreeMap<String, String>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        name: String,
    }
    let sql = "SELECT id, name FROM api_keys WHERE id IN (SELECT value FROM json_each(?1))";
    let found: Vec<Row> = rows(db, Statement::new(sql, [json!(json!(ids).to_string())])).await?;
    Ok(found.into_iter().map(|row| (row.id, row.name)).collect())
}

/// Whose key this is.
pub async fn key_owner(db: &impl Database, id: &str) -> Result<Option<String>, PortError> {
    let sql = "SELECT tenant_id FROM api_keys WHERE id = ?1";
    let found: Option<Value> = row(db, Statement::new(sql, [json!(id)])).await?;
    Ok(found.and_then(|row| Some(row["tenant_id"].as_str()?.to_owned())))
}

/// The hashes of these keys, to drop them from the cache.
pub async fn hashes_of(db: &impl Database, ids: &[&str]) -> Result<Vec<String>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        hash: String,
    }
    let sql = "SELECT hash FROM api_keys WHERE id IN (SELECT value FROM json_each(?1))";
    let found: Vec<Row> = rows(db, Statement::new(sql, [json!(json!(ids).to_string())])).await?;
    Ok(found.into_iter().map(|row| row.hash).collect())
}

/// Adds a key under its hash. `false` if there is no such tenant, or it is disabled.
pub async fn create_key(db: &impl Database, hash: &str, key: &ApiKey) -> Result<bool, PortError> {
    let sql = "
        INSERT INTO api_keys (hash, id, tenant_id, name, hint, models, created_ms, expires_ms)
        SELECT ?1, ?2, id, ?4, ?5, ?6, ?7, ?8 FROM tenants WHERE id = ?3 AND disabled_ms IS NULL
        RETURNING id";
    let models = key.models.as_ref().map(|models| json!(models).to_string());
    let params = [
        json!(hash),
        json!(key.id),
        json!(key.tenant_id),
        json!(key.name),
        json!(key.hint),
        json!(models),
        json!(key.created_ms),
        json!(key.expires_ms),
    ];
    Ok(row::<Value>(db, Statement::new(sql, params)).await?.is_some())
}

/// A tenant's keys, revoked ones too, the oldest first.
pub async fn keys(db: &impl Database, tenant_id: &str) -> Result<Vec<ApiKey>, PortError> {
    let sql = "SELECT * FROM api_keys WHERE tenant_id = ?1 ORDER BY created_ms, id";
    let found: Vec<KeyRow> = rows(db, Statement::new(sql, [json!(tenant_id)])).await?;
    found.into_iter().map(|row| row.key().map(|(_, key)| key)).collect()
}

/// Revokes a key for good; returns it with its hash, if there is one.
pub async fn revoke_key(
    db: &impl Database,
    id: &str,
    now_ms: i64,
) -> Result<Option<(String, ApiKey)>, PortError> {
    let sql = "UPDATE api_keys SET revoked_ms = coalesce(revoked_ms, ?2) WHERE id = ?1 RETURNING *";
    let found: Option<KeyRow> = row(db, Statement::new(sql, [json!(id), json!(now_ms)])).await?;
    found.map(KeyRow::key).transpose()
}

#[derive(Deserialize)]
struct KeyRow {
    hash: String,
    id: String,
    tenant_id: String,
    name: String,
    hint: String,
    models: Option<String>,
    created_ms: i64,
    expires_ms: Option<i64>,
    revoked_ms: Option<i64>,
}

impl KeyRow {
    fn key(self) -> Result<(String, ApiKey), PortError> {
        let models = self.models.map(|models| list(&models)).transpose()?;
        let Self { hash, id, tenant_id, name, hint, created_ms, expires_ms, revoked_ms, .. } = self;
        Ok((hash, ApiKey { id, tenant_id, name, hint, models, created_ms, expires_ms, revoked_ms }))
    }
}

/// A tenant's name for targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alias {
    /// What callers put in `model`.
    pub name: String,
    /// `provider/model`, tried in order.
    pub targets: Vec<String>,
    /// Unix milliseconds.
    pub updated_ms: i64,
}

/// Sets an alias. `false` if there is no such tenant.
pub async fn put_alias(db: &impl Database, tenant_id: &str, alias: &Alias) -> Result<bool, PortError> {
    let sql = "
        INSERT INTO aliases (tenant_id, name, targets, updated_ms)
        SELECT id, ?2, ?3, ?4 FROM tenants WHERE id = ?1
        ON CONFLICT (tenant_id, name) DO UPDATE SET targets = excluded.targets, updated_ms = excluded.updated_ms
        RETURNING name";
    let params = [
        json!(tenant_id),
        json!(alias.name),
        json!(json!(alias.targets).to_string()),
        json!(alias.updated_ms),
    ];
    Ok(row::<Value>(db, Statement::new(sql, params)).await?.is_some())
}

/// A tenant's aliases by name.
pub async fn aliases(db: &impl Database, tenant_id: &str) -> Result<Vec<Alias>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        name: String,
        targets: String,
        updated_ms: i64,
    }
    let sql = "SELECT name, targets, updated_ms FROM aliases WHERE tenant_id = ?1 ORDER BY name";
    let found: Vec<Row> = rows(db, Statement::new(sql, [json!(tenant_id)])).await?;
    let alias =
        |row: Row| Ok(Alias { name: row.name, targets: list(&row.targets)?, updated_ms: row.updated_ms });
    found.into_iter().map(alias).collect()
}

/// Removes an alias. `false` if there was none.
pub async fn delete_alias(db: &impl Database, tenant_id: &str, name: &str) -> Result<bool, PortError> {
    let sql = "DELETE FROM aliases WHERE tenant_id = ?1 AND name = ?2 RETURNING name";
    Ok(row::<Value>(db, Statement::new(sql, [json!(tenant_id), json!(name)])).await?.is_some())
}

fn list(text: &str) -> Result<Vec<String>, PortError> {
    serde_json::from_str(text).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> PortError {
    PortError::new("database", format!("unreadable list: {error}"))
}
