//! Alerts: what a deployment changed about the rules, how far each rule was evaluated, where its series
//! stand, and the episodes there were.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    outbox,
    rules::{self, StoredRule},
};
use crate::ports::{Database, PortError, Statement, read_all, rows};

/// What a deployment changed about a rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StoredOverride {
    /// Which rule.
    pub rule_id: String,
    /// JSON object of the changed settings.
    pub settings: String,
    /// Unix milliseconds.
    pub updated_ms: i64,
}

/// Every override.
pub async fn overrides(db: &impl Database) -> Result<Vec<StoredOverride>, PortError> {
    rows(db, Statement::new(ALL_OVERRIDES, [])).await
}

/// Sets what is changed about a rule, in place of what was.
pub async fn put_override(
    db: &impl Database,
    rule_id: &str,
    settings: &str,
    now_ms: i64,
) -> Result<(), PortError> {
    let sql = "
        INSERT INTO rule_overrides (rule_id, settings, updated_ms) VALUES (?1, ?2, ?3)
        ON CONFLICT (rule_id) DO UPDATE SET settings = excluded.settings, updated_ms = excluded.updated_ms";
    db.batch(vec![Statement::new(sql, [json!(rule_id), json!(settings), json!(now_ms)])]).await?;
    Ok(())
}

/// Where one series of a rule stands. An inactive one has no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Hash of the rule's id and the labels.
    pub fingerprint: String,
    /// Which rule.
    pub rule_id: String,
    /// Whose calls; empty for the gateway as a whole.
    pub tenant_id: String,
    /// Which route; empty for the gateway as a whole.
    pub route: String,
    /// `pending` or `firing`.
    pub state: String,
    /// The state machine's own memory, JSON.
    pub memory: String,
}

/// How far a rule was evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Evaluated {
    /// Which rule.
    pub rule_id: String,
    /// The newest minute.
    pub minute_ms: i64,
}

/// What evaluation begins with.
#[derive(Debug)]
pub struct Standing {
    /// What is changed about the shipped rules.
    pub overrides: Vec<StoredOverride>,
    /// The rules of one's own.
    pub rules: Vec<StoredRule>,
    /// How far each rule was evaluated; one that never was is not there.
    pub evaluated: Vec<Evaluated>,
    /// Where the series stand that are not inactive.
    pub alerts: Vec<Alert>,
}

/// Reads what evaluation begins with, all of one moment.
pub async fn standing(db: &impl Database) -> Result<Standing, PortError> {
    let sql =
        [ALL_OVERRIDES, rules::ALL, "SELECT rule_id, minute_ms FROM evaluations", "SELECT * FROM alerts"];
    let results = db.batch(sql.map(|sql| Statement::new(sql, [])).into()).await?;
    let [overrides, rules, evaluated, alerts] =
        results.try_into().map_err(|_| PortError::new("database", "a statement without a result"))?;
    Ok(Standing {
        overrides: read_all(overrides)?,
        rules: read_all(rules)?,
        evaluated: read_all(evaluated)?,
        alerts: read_all(alerts)?,
    })
}

/// What evaluation came to. Takes effect for each rule only if the rule still stands where it stood when
/// evaluation began, so that of two evaluations at once one counts.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    /// From where to where each rule was evaluated.
    pub rules: Vec<Advance>,
    /// Where series stand now.
    pub alerts: Vec<Alert>,
    /// Fingerprints of series that became inactive, with their rule.
    pub inactive: Vec<Inactive>,
    /// Episodes that opened.
    pub opened: Vec<Opened>,
    /// Episodes that closed.
    pub closed: Vec<Closed>,
}

/// A rule was evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advance {
    /// Which rule.
    pub rule_id: String,
    /// The minute it stood at.
    pub from_ms: i64,
    /// The minute it stands at now.
    pub to_ms: i64,
}

/// A series became inactive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inactive {
    /// Which series.
    pub fingerprint: String,
    /// Of which rule.
    pub rule_id: String,
}

/// An episode opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// The episode's id.
    pub id: String,
    /// The series.
    pub fingerprint: String,
    /// The rule.
    pub rule_id: String,
    /// Whose calls; empty for the gateway as a whole.
    pub tenant_id: String,
    /// Which route.
    pub route: String,
    /// `page` or `ticket`.
    pub severity: String,
    /// One sentence.
    pub summary: String,
    /// The minute.
    pub opened_ms: i64,
    /// The notice that says so, JSON.
    pub notice: String,
}

/// An episode closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Closed {
    /// The episode's id.
    pub id: String,
    /// The rule.
    pub rule_id: String,
    /// The minute.
    pub resolved_ms: i64,
    /// The notice for those who know it fired, JSON. In it, as `combined`, the one for those who do not.
    pub notice: String,
}

/// Writes what evaluation came to, with the notices it calls for, in one transaction. Returns the rules
/// for which it took effect.
pub async fn write(db: &impl Database, outcome: &Outcome, now_ms: i64) -> Result<Vec<String>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        rule_id: String,
    }
    let list = |rows: Value| json!(rows.to_string());
    let rules = list(json!(outcome.rules));
    let mut statements = vec![Statement::new(BEGIN_EVALUATIONS, [rules.clone()])];
    let mut add = |sql: String, rows: Value, more: &[Value]| {
        if rows.as_array().is_some_and(|rows| !rows.is_empty()) {
            statements.push(Statement::new(sql, [&[rules.clone(), list(rows)], more].concat()));
        }
    };
    add(standing_still(PUT_ALERTS), json!(outcome.alerts), &[]);
    add(standing_still(DELETE_ALERTS), json!(outcome.inactive), &[]);
    add(standing_still(OPEN_EPISODES), json!(outcome.opened), &[]);
    add(standing_still(outbox::FIRING), json!(outcome.opened), &[json!(now_ms)]);
    // After the notices of firing, for an episode that opened and closed between two ticks.
    add(standing_still(CLOSE_EPISODES), json!(outcome.closed), &[]);
    add(standing_still(outbox::RESOLVED), json!(outcome.closed), &[json!(now_ms)]);
    // Last, because the statements before depend on it.
    statements.push(Statement::new(ADVANCE_EVALUATIONS, [rules.clone()]));
    let results = db.batch(statements).await?;
    let advanced: Vec<Row> = read_all(results.into_iter().next_back().unwrap_or_default())?;
    Ok(advanced.into_iter().map(|row| row.rule_id).collect())
}

/// Which episodes to list. Newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpisodeFilter {
    /// Only this tenant's.
    pub tenant_id: Option<String>,
    /// Only those that are open.
    pub open: bool,
    /// Where the last page ended: its last episode's `opened_ms` and `id`.
    pub after: Option<(i64, String)>,
    /// How many.
    pub limit: i64,
}

/// An episode, as the admin API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Episode {
    /// `ep_…`
    pub id: String,
    /// Which rule.
    pub rule_id: String,
    /// Whose calls; none for the gateway as a whole.
    pub tenant_id: Option<String>,
    /// Which route; none for the gateway as a whole.
    pub route: Option<String>,
    /// `page` or `ticket`.
    pub severity: String,
    /// `firing` or `resolved`.
    pub state: &'static str,
    /// One sentence.
    pub summary: String,
    /// Unix milliseconds.
    pub opened_ms: i64,
    /// Unix milliseconds.
    pub resolved_ms: Option<i64>,
    /// Who is told of it.
    pub notices: Vec<NoticeStatus>,
}

/// A notice on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeStatus {
    /// To whom.
    pub receiver_id: String,
    /// `firing`, `resolved`, or `combined`.
    pub kind: String,
    /// `pending`, `delivered`, `dead`, or `superseded`.
    pub status: String,
    /// How often it was tried.
    pub attempts: i64,
    /// What the newest attempt came to.
    pub last_result: Option<String>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// When it is tried next, unix milliseconds.
    pub next_ms: Option<i64>,
    /// Unix milliseconds.
    pub delivered_ms: Option<i64>,
}

/// The episodes that match, newest first.
pub async fn episodes(db: &impl Database, filter: &EpisodeFilter) -> Result<Vec<Episode>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        rule_id: String,
        tenant_id: String,
        route: String,
        severity: String,
        summary: String,
        opened_ms: i64,
        resolved_ms: Option<i64>,
        notices: String,
    }
    let sql = "
        SELECT id, rule_id, tenant_id, route, severity, summary, opened_ms, resolved_ms,
               (SELECT json_group_array(json_object(
                    'receiver_id', receiver_id, 'kind', kind, 'status', status, 'attempts', attempts,
                    'last_result', last_result, 'created_ms', created_ms,
                    'next_ms', iif(status = 'pending', next_ms, NULL), 'delivered_ms', delivered_ms))
                FROM (SELECT * FROM outbox WHERE outbox.episode_id = episodes.id ORDER BY created_ms, receiver_id, kind)
               ) AS notices
        FROM episodes
        WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 = 0 OR resolved_ms IS NULL)
          AND (?3 IS NULL OR (opened_ms, id) < (?3, ?4))
        ORDER BY opened_ms DESC, id DESC LIMIT ?5";
    let (after_ms, after_id) = filter.after.as_ref().map(|(ms, id)| (*ms, id.as_str())).unzip();
    let params = [
        json!(filter.tenant_id),
        json!(i64::from(filter.open)),
        json!(after_ms),
        json!(after_id),
        json!(filter.limit),
    ];
    let found: Vec<Row> = rows(db, Statement::new(sql, params)).await?;
    let episode = |row: Row| {
        let notices = serde_json::from_str(&row.notices)
            .map_err(|error| PortError::new("database", format!("unexpected notices: {error}")))?;
        Ok(Episode {
            id: row.id,
            rule_id: row.rule_id,
            tenant_id: Some(row.tenant_id).filter(|id| !id.is_empty()),
            route: Some(row.route).filter(|route| !route.is_empty()),
            severity: row.severity,
            state: if row.resolved_ms.is_some() { "resolved" } else { "firing" },
            summary: row.summary,
            opened_ms: row.opened_ms,
            resolved_ms: row.resolved_ms,
            notices,
        })
    };
    found.into_iter().map(episode).collect()
}

/// A statement over the rows `item` of ?2, those whose rule still stands where evaluation began.
fn standing_still(sql: &str) -> String {
    sql.replace(
        "FROM items",
        "FROM json_each(?2) AS item
              JOIN json_each(?1) AS rule ON rule.value ->> 'rule_id' = item.value ->> 'rule_id'
              JOIN evaluations AS stand ON stand.rule_id = rule.value ->> 'rule_id'
                   AND stand.minute_ms = rule.value ->> 'from_ms'",
    )
}

const ALL_OVERRIDES: &str = "SELECT rule_id, settings, updated_ms FROM rule_overrides ORDER BY rule_id";

/// A rule that was never evaluated gets a place to stand.
const BEGIN_EVALUATIONS: &str = "
    INSERT OR IGNORE INTO evaluations (rule_id, minute_ms)
    SELECT value ->> 'rule_id', value ->> 'from_ms' FROM json_each(?1)";

const ADVANCE_EVALUATIONS: &str = "
    UPDATE evaluations SET minute_ms = rule.value ->> 'to_ms' FROM json_each(?1) AS rule
    WHERE evaluations.rule_id = rule.value ->> 'rule_id' AND evaluations.minute_ms = rule.value ->> 'from_ms'
    RETURNING rule_id";

const PUT_ALERTS: &str = "
    INSERT OR REPLACE INTO alerts (fingerprint, rule_id, tenant_id, route, state, memory)
    SELECT item.value ->> 'fingerprint', item.value ->> 'rule_id', item.value ->> 'tenant_id', item.value ->> 'route',
           item.value ->> 'state', item.value ->> 'memory'
    FROM items";

const DELETE_ALERTS: &str = "
    DELETE FROM alerts WHERE fingerprint IN (SELECT item.value ->> 'fingerprint' FROM items)";

const OPEN_EPISODES: &str = "
    INSERT OR IGNORE INTO episodes (id, fingerprint, rule_id, tenant_id, route, severity, summary, opened_ms)
    SELECT item.value ->> 'id', item.value ->> 'fingerprint', item.value ->> 'rule_id', item.value ->> 'tenant_id',
           item.value ->> 'route', item.value ->> 'severity', item.value ->> 'summary', item.value ->> 'opened_ms'
    FROM items";

const CLOSE_EPISODES: &str = "
    UPDATE episodes SET resolved_ms = ended.resolved_ms
    FROM (SELECT item.value ->> 'id' AS id, item.value ->> 'resolved_ms' AS resolved_ms FROM items) AS ended
    WHERE episodes.id = ended.id";
