//! Keys and networks that are refused for a while, and those that were.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ports::{Database, PortError, Statement, read_all, rows};

/// Somebody is refused until a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// `blk_…`
    pub id: String,
    /// `key` or `source`.
    pub kind: String,
    /// Whose key, or for whose calls; empty: for everybody's.
    pub tenant_id: String,
    /// The key's id, or the network as calls have it.
    pub subject: String,
    /// Why, in one sentence.
    pub reason: String,
    /// The rule that did it.
    pub rule_id: Option<String>,
    /// The episode it did it in.
    pub episode_id: Option<String>,
    /// Who did it by hand.
    pub actor: Option<String>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Until when, unix milliseconds.
    pub until_ms: i64,
    /// When it was lifted before that, unix milliseconds.
    pub lifted_ms: Option<i64>,
    /// Who lifted it.
    pub lifted_by: Option<String>,
}

/// Which blocks to list, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this tenant.
    pub tenant_id: Option<String>,
    /// Only those in force at this moment.
    pub in_force_ms: Option<i64>,
    /// Where the last page ended: its last block's `created_ms` and `id`.
    pub after: Option<(i64, String)>,
    /// How many.
    pub limit: i64,
}

/// The blocks that match.
pub async fn list(db: &impl Database, filter: &Filter) -> Result<Vec<Block>, PortError> {
    let sql = "
        SELECT * FROM blocks
        WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR (until_ms > ?2 AND lifted_ms IS NULL))
          AND (?3 IS NULL OR (created_ms, id) < (?3, ?4))
        ORDER BY created_ms DESC, id DESC LIMIT ?5";
    let (after_ms, after_id) = filter.after.clone().unzip();
    let params = [
        json!(filter.tenant_id),
        json!(filter.in_force_ms),
        json!(after_ms),
        json!(after_id),
        json!(filter.limit),
    ];
    rows(db, Statement::new(sql, params)).await
}

/// Puts a block in force.
pub async fn create(db: &impl Database, block: &Block) -> Result<(), PortError> {
    let sql = CREATE.replace("FROM items", "FROM (SELECT ?1 AS value) AS item");
    db.batch(vec![Statement::new(sql, [json!(json!(block).to_string())])]).await?;
    Ok(())
}

/// Lifts a block that is in force and notes it with the episode it was made in. Returns it, if there is one.
pub async fn lift(db: &impl Database, id: &str, by: &str, now_ms: i64) -> Result<Option<Block>, PortError> {
    let lift = "
        UPDATE blocks SET lifted_ms = ?2, lifted_by = ?3
        WHERE id = ?1 AND lifted_ms IS NULL AND until_ms > ?2 RETURNING *";
    let note = "
        INSERT OR IGNORE INTO episode_events (id, episode_id, at_ms, kind, actor, detail)
        SELECT episode_id || '/unblocked', episode_id, lifted_ms, 'unblocked', lifted_by,
               'the ' || iif(kind = 'key', 'key ', 'network ') || subject || ' is served again'
        FROM blocks WHERE id = ?1 AND lifted_ms IS NOT NULL AND episode_id IS NOT NULL";
    let lift = Statement::new(lift, [json!(id), json!(now_ms), json!(by)]);
    let results = db.batch(vec![lift, Statement::new(note, [json!(id)])]).await?;
    Ok(read_all(results.into_iter().next().unwrap_or_default())?.into_iter().next())
}

/// Writes the blocks of `items`.
pub(super) const CREATE: &str = "
    INSERT OR IGNORE INTO blocks
        (id, kind, tenant_id, subject, reason, rule_id, episode_id, actor, created_ms, until_ms)
    SELECT item.value ->> 'id', item.value ->> 'kind', item.value ->> 'tenant_id', item.value ->> 'subject',
           item.value ->> 'reason', item.value ->> 'rule_id', item.value ->> 'episode_id', item.value ->> 'actor',
           item.value ->> 'created_ms', item.value ->> 'until_ms'
    FROM items";

/// Notes them with the episodes they were made in.
pub(super) const NOTE: &str = "
    INSERT OR IGNORE INTO episode_events (id, episode_id, at_ms, kind, detail)
    SELECT item.value ->> 'episode_id' || '/blocked', item.value ->> 'episode_id', item.value ->> 'created_ms', 'blocked',
           item.value ->> 'note'
    FROM items";
