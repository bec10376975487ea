//! The gateway's view of itself, in one round trip.

use serde::Deserialize;
use serde_json::json;

use crate::ports::{Database, PortError, Statement, read_all};

/// How the watch itself does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How much is left to do.
    pub backlog: Backlog,
    /// Open episodes by rule.
    pub firing: Vec<Firing>,
    /// Notices by what became of them.
    pub notices: Vec<Notices>,
}

/// How much is left to do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Backlog {
    /// The newest minute whose tick did all its work.
    pub last_tick_ms: Option<i64>,
    /// Minutes to be counted.
    pub dirty_minutes: i64,
    /// Records reported lost since the time asked for.
    pub lost: i64,
}

/// Open episodes of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Firing {
    /// The rule.
    pub rule_id: String,
    /// `page` or `ticket`.
    pub severity: String,
    /// How many.
    pub episodes: i64,
}

/// Notices of one status.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Notices {
    /// `pending`, `delivered`, `dead`, or `superseded`.
    pub status: String,
    /// How many.
    pub notices: i64,
}

/// Reads it; what happened is counted from `since_ms` on.
pub async fn read(db: &impl Database, since_ms: i64) -> Result<Health, PortError> {
    let backlog = "
        SELECT (SELECT finished_ms FROM schedule WHERE name = 'tick') AS last_tick_ms,
               (SELECT count(*) FROM dirty_buckets WHERE grain = 'minute') AS dirty_minutes,
               (SELECT coalesce(sum(count), 0) FROM journal_losses WHERE at_ms >= ?1) AS lost";
    let firing = "
        SELECT rule_id, severity, count(*) AS episodes FROM episodes WHERE resolved_ms IS NULL
        GROUP BY rule_id, severity ORDER BY rule_id, severity";
    let notices = "SELECT status, count(*) AS notices FROM outbox GROUP BY status ORDER BY status";
    let results = db
        .batch(vec![
            Statement::new(backlog, [json!(since_ms)]),
            Statement::new(firing, []),
            Statement::new(notices, []),
        ])
        .await?;
    let missing = || PortError::new("database", "a statement without a result");
    let [backlog, firing, notices] = results.try_into().map_err(|_| missing())?;
    let backlog = read_all(backlog)?.into_iter().next().ok_or_else(missing)?;
    Ok(Health { backlog, firing: read_all(firing)?, notices: read_all(notices)? })
}
