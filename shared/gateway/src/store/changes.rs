//! What somebody changed, here or elsewhere.

use hypercare::change::{Change, Numbers};
use serde::Deserialize;
use serde_json::json;

use crate::ports::{Database, PortError, Statement, rows};

/// Notes a change.
pub async fn create(db: &impl Database, change: &Change) -> Result<(), PortError> {
    let sql = "
        INSERT OR IGNORE INTO changes (id, at_ms, kind, title, tenant_id, provider, model, actor, url)
        SELECT value ->> 'id', value ->> 'at_ms', value ->> 'kind', value ->> 'title', value ->> 'tenant_id',
               value ->> 'provider', value ->> 'model', value ->> 'actor', value ->> 'url'
        FROM (SELECT ?1 AS value)";
    db.batch(vec![Statement::new(sql, [json!(json!(change).to_string())])]).await?;
    Ok(())
}

/// The changes of some time, the newest first.
pub async fn between(
    db: &impl Database,
    from_ms: i64,
    to_ms: i64,
    limit: i64,
) -> Result<Vec<Change>, PortError> {
    let sql = "SELECT * FROM changes WHERE at_ms BETWEEN ?1 AND ?2 ORDER BY at_ms DESC, id DESC LIMIT ?3";
    rows(db, Statement::new(sql, [json!(from_ms), json!(to_ms), json!(limit)])).await
}

/// A series, a moment, and how long before and after it to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// What for.
    pub key: String,
    /// Whose calls.
    pub tenant_id: String,
    /// Which route.
    pub route: String,
    /// From here, to the moment.
    pub from_ms: i64,
    /// The minute of the change.
    pub at_ms: i64,
    /// To here, from the moment on.
    pub to_ms: i64,
}

/// What a series was like before and after a moment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Compared {
    /// What for.
    pub key: String,
    /// Whether this is after.
    pub is_after: i64,
    /// The numbers.
    #[serde(flatten)]
    pub numbers: Numbers,
}

/// Compares before and after, for several series and moments at once.
pub async fn compare(db: &impl Database, sides: &[Side]) -> Result<Vec<Compared>, PortError> {
    let list: Vec<_> = sides
        .iter()
        .map(|side| json!([side.key, side.tenant_id, side.route, side.from_ms, side.at_ms, side.to_ms]))
        .collect();
    let sql = "
        SELECT side.value ->> 0 AS key, r.bucket_ms >= side.value ->> 4 AS is_after, sum(r.calls) AS calls,
               sum(CASE r.outcome WHEN 'error' THEN r.calls ELSE 0 END) AS errors,
               sum(r.wait_count) AS wait_count, sum(r.wait_sum_ms) AS wait_sum_ms
        FROM json_each(?1) AS side
             JOIN rollups AS r ON r.grain = 'minute' AND r.bucket_ms BETWEEN side.value ->> 3 AND side.value ->> 5
                  AND r.tenant_id = side.value ->> 1 AND r.route = side.value ->> 2
        GROUP BY key, is_after";
    rows(db, Statement::new(sql, [json!(json!(list).to_string())])).await
}
