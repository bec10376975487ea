//! Who gets which report and when, and what is in it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ports::{Database, PortError, Statement, read_all, row, rows};

/// A report that comes by the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// Who gets it.
    pub receiver_id: String,
    /// `daily` or `weekly`.
    pub cadence: String,
    /// Whose calls; empty: of all whom the receiver hears of.
    pub tenant_id: String,
    /// The hour of the day.
    pub hour: i64,
    /// 0 is Monday; none of a daily one.
    pub weekday: Option<i64>,
    /// By this clock.
    pub zone: String,
    /// When the next one is due.
    pub next_ms: i64,
}

/// Sets a report. `false` if the receiver does not exist, or does not hear of the tenant.
pub async fn put(db: &impl Database, report: &Scheduled, now_ms: i64) -> Result<bool, PortError> {
    let sql = "
        INSERT OR REPLACE INTO reports (receiver_id, cadence, tenant_id, hour, weekday, zone, next_ms, updated_ms)
        SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM receivers
        WHERE id = ?1 AND (?3 = '' OR coalesce(tenant_id, ?3) = ?3 AND EXISTS (SELECT 1 FROM tenants WHERE id = ?3))
        RETURNING receiver_id";
    let Scheduled { receiver_id, cadence, tenant_id, hour, weekday, zone, next_ms } = report;
    let params = [
        json!(receiver_id),
        json!(cadence),
        json!(tenant_id),
        json!(hour),
        json!(weekday),
        json!(zone),
        json!(next_ms),
        json!(now_ms),
    ];
    Ok(row::<Value>(db, Statement::new(sql, params)).await?.is_some())
}

/// The reports of a receiver.
pub async fn of_receiver(db: &impl Database, receiver_id: &str) -> Result<Vec<Scheduled>, PortError> {
    let sql = "
        SELECT receiver_id, cadence, tenant_id, hour, weekday, zone, next_ms FROM reports
        WHERE receiver_id = ?1 ORDER BY cadence";
    rows(db, Statement::new(sql, [json!(receiver_id)])).await
}

/// Has a report come no more. `false` if there was none.
pub async fn delete(db: &impl Database, receiver_id: &str, cadence: &str) -> Result<bool, PortError> {
    let sql = "DELETE FROM reports WHERE receiver_id = ?1 AND cadence = ?2 RETURNING cadence";
    let params = [json!(receiver_id), json!(cadence)];
    Ok(row::<Value>(db, Statement::new(sql, params)).await?.is_some())
}

/// Reports that are due, to receivers that hear, the one that has waited longest first. Each with the tenant whose
/// calls it is about.
pub async fn due(db: &impl Database, now_ms: i64) -> Result<Vec<Scheduled>, PortError> {
    let sql = "
        SELECT p.receiver_id, p.cadence, iif(p.tenant_id = '', coalesce(r.tenant_id, ''), p.tenant_id) AS tenant_id, p.hour,
               p.weekday, p.zone, p.next_ms
        FROM reports AS p JOIN receivers AS r ON r.id = p.receiver_id AND r.disabled_ms IS NULL
        WHERE p.next_ms <= ?1 ORDER BY p.next_ms LIMIT 100";
    rows(db, Statement::new(sql, [json!(now_ms)])).await
}

/// Whether hours of this time have yet to be counted.
pub async fn is_uncounted(db: &impl Database, from_ms: i64, to_ms: i64) -> Result<bool, PortError> {
    let sql = "
        SELECT 1 AS found FROM dirty_buckets WHERE grain IN ('hour', 'minute') AND bucket_ms >= ?1 AND bucket_ms < ?2 LIMIT 1";
    Ok(row::<Value>(db, Statement::new(sql, [json!(from_ms), json!(to_ms)])).await?.is_some())
}

/// Some calls of a time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sums {
    /// Which part of the period; or whose calls.
    #[serde(default)]
    pub slot: i64,
    /// Whose calls.
    #[serde(default)]
    pub tenant_name: String,
    /// Which provider they went to.
    #[serde(default)]
    pub provider_name: String,
    /// Which model.
    #[serde(default)]
    pub model: String,
    /// Whether they are of the period, not of the one before.
    #[serde(default)]
    pub is_now: i64,
    /// How many.
    pub calls: i64,
    /// Those that failed.
    pub errors: i64,
    /// What is known of their cost.
    pub cost_microusd: i64,
    /// Those whose cost is not known.
    pub without_cost: i64,
}

/// The alerts of a period.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Alerts {
    /// Those that fired.
    pub fired: i64,
    /// Those of them that are over.
    pub over: i64,
    /// Those that are open now.
    pub open: i64,
    /// What some of these say, JSON list.
    pub summaries: String,
    /// The tenant's name.
    pub tenant_name: Option<String>,
}

/// What a report shows beside the whole: its calls by part of the period, by what they went to, and its alerts. In
/// three statements.
pub async fn parts(
    db: &impl Database,
    tenant_id: &str,
    [before_ms, from_ms, to_ms]: [i64; 3],
    slot_ms: i64,
) -> Result<(Vec<Sums>, Vec<Sums>, Alerts), PortError> {
    const SUMS: &str = "
        sum(calls) AS calls, sum(iif(outcome = 'error', calls, 0)) AS errors, sum(cost_microusd) AS cost_microusd,
        sum(without_cost) AS without_cost";
    let slots = format!(
        "SELECT (bucket_ms - ?1) / ?3 AS slot, {SUMS} FROM rollups
         WHERE grain = 'hour' AND bucket_ms >= ?1 AND bucket_ms < ?2 AND (?4 = '' OR tenant_id = ?4) GROUP BY slot"
    );
    let parts = format!(
        "SELECT coalesce((SELECT name FROM tenants WHERE tenants.id = tenant_id), tenant_id) AS tenant_name, provider_name, model,
                bucket_ms >= ?2 AS is_now, {SUMS}
         FROM rollups WHERE grain = 'hour' AND bucket_ms >= ?1 AND bucket_ms < ?3 AND (?4 = '' OR tenant_id = ?4)
         GROUP BY tenant_id, provider_name, model, is_now ORDER BY calls DESC LIMIT {MOST_PARTS}"
    );
    let alerts = "
        SELECT (SELECT count(*) FROM episodes WHERE opened_ms >= ?1 AND opened_ms < ?2 AND (?3 = '' OR tenant_id = ?3)) AS fired,
               (SELECT count(*) FROM episodes
                WHERE opened_ms >= ?1 AND opened_ms < ?2 AND (?3 = '' OR tenant_id = ?3) AND resolved_ms IS NOT NULL) AS over,
               (SELECT count(*) FROM episodes WHERE resolved_ms IS NULL AND (?3 = '' OR tenant_id = ?3)) AS open,
               (SELECT json_group_array(summary) FROM (
                    SELECT summary FROM episodes WHERE resolved_ms IS NULL AND (?3 = '' OR tenant_id = ?3)
                    ORDER BY severity <> 'page', opened_ms DESC LIMIT 3)) AS summaries,
               (SELECT name FROM tenants WHERE id = ?3) AS tenant_name";
    let tenant_id = json!(tenant_id);
    let results = db
        .batch(vec![
            Statement::new(slots, [json!(from_ms), json!(to_ms), json!(slot_ms), tenant_id.clone()]),
            Statement::new(parts, [json!(before_ms), json!(from_ms), json!(to_ms), tenant_id.clone()]),
            Statement::new(alerts, [json!(from_ms), json!(to_ms), tenant_id]),
        ])
        .await?;
    let missing = || PortError::new("database", "a statement without a result");
    let [slots, parts, alerts] = results.try_into().map_err(|_| missing())?;
    let alerts = read_all(alerts)?.into_iter().next().ok_or_else(missing)?;
    Ok((read_all(slots)?, read_all(parts)?, alerts))
}

/// A report for one of those who get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written<'a> {
    /// Who.
    pub receiver_id: &'a str,
    /// `daily` or `weekly`.
    pub cadence: &'a str,
    /// What it goes by: of the same period, the same.
    pub key: &'a str,
    /// When it was due.
    pub due_ms: i64,
    /// When the next one is.
    pub next_ms: i64,
}

/// Puts a report (a notice, JSON) into the outbox for everybody who gets it and has not got it, in one transaction with
/// when the next one is due.
pub async fn write(
    db: &impl Database,
    written: &[Written<'_>],
    notice: &str,
    now_ms: i64,
) -> Result<usize, PortError> {
    let list = json!(json!(written).to_string());
    let tell = "
        INSERT OR IGNORE INTO outbox (id, episode_id, receiver_id, kind, notice, status, next_ms, created_ms)
        SELECT item.value ->> 'key' || '_' || p.receiver_id, item.value ->> 'key', p.receiver_id, 'report', ?2, 'pending', ?3, ?3
        FROM json_each(?1) AS item
             JOIN reports AS p ON p.receiver_id = item.value ->> 'receiver_id' AND p.cadence = item.value ->> 'cadence'
                  AND p.next_ms = item.value ->> 'due_ms'
        RETURNING id";
    let advance = "
        UPDATE reports SET next_ms = item.value ->> 'next_ms' FROM json_each(?1) AS item
        WHERE reports.receiver_id = item.value ->> 'receiver_id' AND reports.cadence = item.value ->> 'cadence'
          AND reports.next_ms = item.value ->> 'due_ms'";
    let results = db
        .batch(vec![
            Statement::new(tell, [list.clone(), json!(notice), json!(now_ms)]),
            Statement::new(advance, [list]),
        ])
        .await?;
    Ok(results.first().map_or(0, Vec::len))
}

/// Of the largest, each of the period and of the one before.
const MOST_PARTS: usize = 400;
