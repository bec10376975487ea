//! Alerts: what a deployment changed about the rules, how far each rule was evaluated, where its series
//! stand, and the episodes there were.

use hypercare::notice::acknowledgement;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    attention,
    blocks::{self, Block},
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
    /// Episodes that became worse.
    pub worsened: Vec<Worsened>,
    /// Episodes that closed.
    pub closed: Vec<Closed>,
    /// Who is refused because of those that opened.
    pub blocks: Vec<NewBlock>,
}

/// A block a rule makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewBlock {
    /// The block.
    #[serde(flatten)]
    pub block: Block,
    /// What its episode says of it.
    pub note: String,
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
    /// What it is about, JSON object.
    pub labels: String,
    /// 1: it is held open because it changed sides too often.
    pub flapping: i64,
    /// The minute.
    pub opened_ms: i64,
    /// The notice that says so, JSON.
    pub notice: String,
}

/// An episode became worse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Worsened {
    /// The episode's id.
    pub id: String,
    /// The rule.
    pub rule_id: String,
    /// `page` or `ticket`, from now on.
    pub severity: String,
    /// One sentence.
    pub summary: String,
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

/// Writes what evaluation came to, in one transaction, with the notices of what those who were told of the
/// beginning must hear. Whom to tell of a beginning is for whoever attends to the episodes. Returns the rules for
/// which it took effect.
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
    add(standing_still(WORSEN_EPISODES), json!(outcome.worsened), &[]);
    add(standing_still(NOTE_WORSE), json!(outcome.worsened), &[json!(now_ms)]);
    add(standing_still(TELL_WORSE), json!(outcome.worsened), &[json!(now_ms)]);
    add(standing_still(CLOSE_EPISODES), json!(outcome.closed), &[]);
    add(standing_still(outbox::RESOLVED), json!(outcome.closed), &[json!(now_ms)]);
    add(standing_still(outbox::DROP_AGAIN), json!(outcome.closed), &[]);
    add(standing_still(blocks::CREATE), json!(outcome.blocks), &[]);
    add(standing_still(blocks::NOTE), json!(outcome.blocks), &[]);
    if !(outcome.opened.is_empty() && outcome.closed.is_empty() && outcome.worsened.is_empty()) {
        statements.push(Statement::new(attention::STIR, []));
    }
    // Last, because the statements before depend on it.
    statements.push(Statement::new(ADVANCE_EVALUATIONS, [rules.clone()]));
    let results = db.batch(statements).await?;
    let advanced: Vec<Row> = read_all(results.into_iter().next_back().unwrap_or_default())?;
    Ok(advanced.into_iter().map(|row| row.rule_id).collect())
}

/// Which episodes to list: what needs somebody first. Open before over, told before muted, urgent before not,
/// nobody's before somebody's, new before old.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpisodeFilter {
    /// Only this one.
    pub id: Option<String>,
    /// Only this tenant's.
    pub tenant_id: Option<String>,
    /// Only those that are open.
    pub open: bool,
    /// Where the last page ended: its last episode's `place` and `id`.
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
    /// `gateway`, or who else sent it.
    pub source: String,
    /// What it is about.
    pub labels: Value,
    /// Whether it is held open because it changed sides too often.
    pub flapping: bool,
    /// Why nobody is told of it, if so.
    pub muted: Option<String>,
    /// Until when it is snoozed, unix milliseconds.
    pub snoozed_ms: Option<i64>,
    /// When somebody took it, unix milliseconds.
    pub acknowledged_ms: Option<i64>,
    /// Who.
    pub acknowledged_by: Option<String>,
    /// Who is told of it.
    pub notices: Vec<NoticeStatus>,
    /// Where it stands in the list.
    #[serde(skip)]
    pub place: i64,
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

/// The episodes that match, those that need somebody first.
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
        source: String,
        labels: String,
        flapping: i64,
        muted: Option<String>,
        snoozed_ms: Option<i64>,
        acknowledged_ms: Option<i64>,
        acknowledged_by: Option<String>,
        place: i64,
        notices: String,
    }
    let sql = format!(
        "
        WITH placed AS (SELECT *, {PLACE} AS place FROM episodes),
             page AS (SELECT * FROM placed
                      WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 = 0 OR resolved_ms IS NULL)
                        AND (?3 IS NULL OR (place, id) > (?3, ?4)) AND (?6 IS NULL OR id = ?6)
                      ORDER BY place, id LIMIT ?5)
        SELECT id, rule_id, tenant_id, route, severity, summary, opened_ms, resolved_ms, source, labels, flapping, muted,
               snoozed_ms, acknowledged_ms, acknowledged_by, place,
               (SELECT json_group_array(json_object(
                    'receiver_id', receiver_id, 'kind', kind, 'status', status, 'attempts', attempts,
                    'last_result', last_result, 'created_ms', created_ms,
                    'next_ms', iif(status = 'pending', next_ms, NULL), 'delivered_ms', delivered_ms))
                FROM (SELECT * FROM outbox
                      WHERE outbox.episode_id = page.id
                         OR outbox.episode_id IN (SELECT group_id FROM notice_group_members WHERE episode_id = page.id)
                         OR (outbox.episode_id > page.id || '/' AND outbox.episode_id < page.id || '0')
                      ORDER BY created_ms, receiver_id, kind)
               ) AS notices
        FROM page ORDER BY place, id"
    );
    let (after_place, after_id) = filter.after.as_ref().map(|(place, id)| (*place, id.as_str())).unzip();
    let params = [
        json!(filter.tenant_id),
        json!(i64::from(filter.open)),
        json!(after_place),
        json!(after_id),
        json!(filter.limit),
        json!(filter.id),
    ];
    let found: Vec<Row> = rows(db, Statement::new(sql, params)).await?;
    let episode = |row: Row| {
        let unexpected =
            |what: &str, error| PortError::new("database", format!("unexpected {what}: {error}"));
        let notices = serde_json::from_str(&row.notices).map_err(|error| unexpected("notices", error))?;
        let labels = serde_json::from_str(&row.labels).map_err(|error| unexpected("labels", error))?;
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
            source: row.source,
            labels,
            flapping: row.flapping != 0,
            muted: row.muted.filter(|_| row.resolved_ms.is_none()),
            snoozed_ms: row.snoozed_ms,
            acknowledged_ms: row.acknowledged_ms,
            acknowledged_by: row.acknowledged_by,
            notices,
            place: row.place,
        })
    };
    found.into_iter().map(episode).collect()
}

/// What somebody does about an episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Takes it; nobody else need be told.
    Acknowledge,
    /// Says something.
    Note,
    /// Ends it, where the gateway cannot see by itself that it is over.
    Resolve,
    /// Has it be quiet until then.
    Snooze(i64),
    /// Gives it back.
    Unacknowledge,
}

/// Does something about an episode and notes who did. `false` if there is no such episode that is open.
pub async fn act(db: &impl Database, action: &Action, event: &attention::Event) -> Result<bool, PortError> {
    let id = json!(event.episode_id);
    let at = || json!(event.at_ms);
    let (change, params) = match action {
        Action::Acknowledge => (
            "acknowledged_ms = coalesce(acknowledged_ms, ?2), acknowledged_by = coalesce(acknowledged_by, ?3)",
            vec![id, at(), json!(event.actor)],
        ),
        Action::Note => ("id = id", vec![id]),
        Action::Resolve => (
            "resolved_ms = ?2, end_notice = json_set(end_notice, '$.ended_ms', ?2, '$.occurred_ms', ?2,
                 '$.combined.ended_ms', ?2, '$.combined.occurred_ms', ?2)",
            vec![id, at()],
        ),
        Action::Snooze(until_ms) => ("snoozed_ms = ?2", vec![id, json!(until_ms)]),
        Action::Unacknowledge => ("acknowledged_ms = NULL, acknowledged_by = NULL", vec![id]),
    };
    // A note may be made afterwards, too; what the gateway sees by itself ends by itself.
    let which = match action {
        Action::Note => "",
        Action::Resolve => "AND resolved_ms IS NULL AND source <> 'gateway'",
        _ => "AND resolved_ms IS NULL",
    };
    let note = format!(
        "
        INSERT INTO episode_events (id, episode_id, at_ms, kind, actor, detail)
        SELECT value ->> 'id', value ->> 'episode_id', value ->> 'at_ms', value ->> 'kind', value ->> 'actor',
               value ->> 'detail'
        FROM (SELECT ?1 AS value)
        WHERE EXISTS (SELECT 1 FROM episodes WHERE id = value ->> 'episode_id' {which})"
    );
    let mut statements = vec![
        Statement::new(note, [json!(json!(event).to_string())]),
        Statement::new(format!("UPDATE episodes SET {change} WHERE id = ?1 {which} RETURNING id"), params),
        Statement::new(attention::STIR, []),
    ];
    match action {
        Action::Acknowledge => {
            let words = acknowledgement(event.actor.as_deref().unwrap_or_default());
            statements.push(Statement::new(ACKNOWLEDGED, [json!(event.episode_id), at(), json!(words)]));
        }
        Action::Resolve => statements.extend(ends_of(&json!([event.episode_id]), "e.id", event.at_ms)),
        Action::Unacknowledge => {
            statements.push(Statement::new(DROP_ACKNOWLEDGED, [json!(event.episode_id)]));
        }
        Action::Note | Action::Snooze(_) => {}
    }
    let results = db.batch(statements).await?;
    Ok(results.get(1).is_some_and(|rows| !rows.is_empty()))
}

/// An alert of somebody else, as it goes into the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// The episode it would open.
    pub id: String,
    /// What tells it apart.
    pub fingerprint: String,
    /// What stands for the rule.
    pub rule_id: String,
    /// Whose calls; empty for nobody's in particular.
    pub tenant_id: String,
    /// Which route.
    pub route: String,
    /// `page` or `ticket`.
    pub severity: String,
    /// One sentence.
    pub summary: String,
    /// JSON object.
    pub labels: String,
    /// Who sent it.
    pub source: String,
    /// Since when.
    pub opened_ms: i64,
    /// When it ended, if it has.
    pub ended_ms: Option<i64>,
    /// When it is over unless it is repeated.
    pub expires_ms: i64,
    /// The notice that says it fires, JSON.
    pub notice: String,
    /// The one that it is over.
    pub end_notice: String,
}

/// Takes alerts of others in: an alert that is open already stays as it is, one that is over is closed.
pub async fn receive(db: &impl Database, received: &[Received], now_ms: i64) -> Result<(), PortError> {
    let list = json!(json!(received).to_string());
    let open = "
        INSERT OR IGNORE INTO episodes (id, fingerprint, rule_id, tenant_id, route, severity, summary, labels, source,
                                        opened_ms, seen_ms, expires_ms, notice, end_notice)
        SELECT value ->> 'id', value ->> 'fingerprint', value ->> 'rule_id', value ->> 'tenant_id', value ->> 'route',
               value ->> 'severity', value ->> 'summary', value ->> 'labels', value ->> 'source',
               value ->> 'opened_ms', ?2, value ->> 'expires_ms', value ->> 'notice', value ->> 'end_notice'
        FROM json_each(?1)
        WHERE value ->> 'ended_ms' IS NULL AND NOT EXISTS (
            SELECT 1 FROM episodes WHERE fingerprint = value ->> 'fingerprint' AND resolved_ms IS NULL)";
    let seen = "
        UPDATE episodes SET seen_ms = ?2, expires_ms = item.value ->> 'expires_ms' FROM json_each(?1) AS item
        WHERE episodes.fingerprint = item.value ->> 'fingerprint' AND episodes.resolved_ms IS NULL";
    let close = "
        UPDATE episodes SET resolved_ms = max(opened_ms, item.value ->> 'ended_ms'),
               end_notice = json_set(end_notice, '$.ended_ms', item.value ->> 'ended_ms',
                   '$.occurred_ms', item.value ->> 'ended_ms', '$.combined.ended_ms', item.value ->> 'ended_ms',
                   '$.combined.occurred_ms', item.value ->> 'ended_ms')
        FROM json_each(?1) AS item
        WHERE episodes.fingerprint = item.value ->> 'fingerprint' AND episodes.resolved_ms IS NULL
          AND item.value ->> 'ended_ms' IS NOT NULL";
    let over: Vec<&String> =
        received.iter().filter(|one| one.ended_ms.is_some()).map(|one| &one.fingerprint).collect();
    let mut statements = vec![
        Statement::new(open, [list.clone(), json!(now_ms)]),
        Statement::new(seen, [list.clone(), json!(now_ms)]),
        Statement::new(close, [list]),
    ];
    statements.extend(ends_of(&json!(over), "e.fingerprint", now_ms));
    db.batch(statements).await?;
    Ok(())
}

/// Ends alerts of others that nobody has repeated in time; returns how many. It takes [`EXPIRE_STATEMENTS`] at most.
pub async fn expire(db: &impl Database, now_ms: i64) -> Result<usize, PortError> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
    }
    let due =
        "SELECT id FROM episodes WHERE resolved_ms IS NULL AND expires_ms <= ?1 ORDER BY opened_ms LIMIT 200";
    let due: Vec<Row> = rows(db, Statement::new(due, [json!(now_ms)])).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let due = json!(due.into_iter().map(|row| row.id).collect::<Vec<_>>());
    // Unless it was repeated meanwhile.
    let note = "
        INSERT OR IGNORE INTO episode_events (id, episode_id, at_ms, kind, detail)
        SELECT id || '/expired', id, ?2, 'expired', 'nobody has repeated it' FROM episodes
        WHERE id IN (SELECT value FROM json_each(?1)) AND resolved_ms IS NULL AND expires_ms <= ?2";
    let close = "
        UPDATE episodes SET resolved_ms = max(opened_ms, expires_ms),
               end_notice = json_set(end_notice, '$.ended_ms', expires_ms, '$.occurred_ms', expires_ms,
                   '$.summary', (end_notice ->> '$.summary') || ' (nobody has repeated it)',
                   '$.combined.ended_ms', expires_ms, '$.combined.occurred_ms', expires_ms,
                   '$.combined.summary', (end_notice ->> '$.combined.summary') || ' (nobody has repeated it)')
        WHERE id IN (SELECT value FROM json_each(?1)) AND resolved_ms IS NULL AND expires_ms <= ?2
        RETURNING id";
    let params = || [json!(due.to_string()), json!(now_ms)];
    let mut statements = vec![Statement::new(note, params()), Statement::new(close, params())];
    statements.extend(ends_of(&due, "e.id", now_ms));
    let results = db.batch(statements).await?;
    Ok(results.get(1).map_or(0, Vec::len))
}

/// What [`expire`] takes.
pub const EXPIRE_STATEMENTS: usize = 6;

/// The notices of the ends of these episodes, to those who know of the beginnings.
fn ends_of(values: &Value, column: &str, now_ms: i64) -> Vec<Statement> {
    let items = format!(
        "FROM json_each((SELECT json_group_array(json_object('id', e.id, 'notice', e.end_notice)) FROM episodes AS e
                         WHERE {column} IN (SELECT value FROM json_each(?1)) AND e.resolved_ms IS NOT NULL
                           AND e.source <> 'gateway')) AS item"
    );
    let now = |sql: &str| sql.replace("FROM items", &items).replace("?3", "?2");
    let values = json!(values.to_string());
    vec![
        Statement::new(now(outbox::RESOLVED), [values.clone(), json!(now_ms)]),
        Statement::new(now(outbox::DROP_AGAIN), [values]),
        Statement::new(attention::STIR, []),
    ]
}

/// What is noted of an episode, in order, and the notice it fired with.
pub async fn timeline(
    db: &impl Database,
    episode_id: &str,
) -> Result<(Vec<attention::Event>, Option<String>, Option<String>), PortError> {
    #[derive(Deserialize)]
    struct Row {
        notice: Option<String>,
        end_notice: Option<String>,
    }
    let events = "SELECT * FROM episode_events WHERE episode_id = ?1 ORDER BY at_ms, id";
    let notices = "SELECT notice, end_notice FROM episodes WHERE id = ?1";
    let id = json!(episode_id);
    let results = db.batch(vec![Statement::new(events, [id.clone()]), Statement::new(notices, [id])]).await?;
    let [events, notices] =
        results.try_into().map_err(|_| PortError::new("database", "a statement without a result"))?;
    let row = read_all::<Row>(notices)?.into_iter().next();
    let (notice, end_notice) = row.map_or((None, None), |row| (row.notice, row.end_notice));
    Ok((read_all(events)?, notice, end_notice))
}

/// That somebody (?3, in words) looks after an episode (?1), once to each who was told of it. Of a group, once somebody
/// looks after all of it that is open.
const ACKNOWLEDGED: &str = "
    INSERT OR IGNORE INTO outbox (id, episode_id, receiver_id, kind, notice, status, next_ms, created_ms)
    SELECT told.episode_id || '_' || told.receiver_id || '_acknowledged', told.episode_id || '/acknowledged', told.receiver_id,
           'acknowledged',
           json_set(told.notice, '$.kind', 'acknowledged', '$.summary', ?3 || (told.notice ->> '$.summary'), '$.occurred_ms', ?2),
           'pending', ?2, ?2
    FROM outbox AS told
         JOIN episodes AS e ON e.id = ?1 AND e.acknowledged_ms IS NOT NULL AND e.resolved_ms IS NULL
         JOIN receivers AS r ON r.id = told.receiver_id AND r.disabled_ms IS NULL
    WHERE told.kind = 'firing' AND told.status IN ('delivered', 'pending')
      AND (told.episode_id = ?1
           OR told.episode_id IN (
               SELECT mine.group_id FROM notice_group_members AS mine
               WHERE mine.episode_id = ?1 AND NOT EXISTS (
                   SELECT 1 FROM notice_group_members AS m JOIN episodes AS other ON other.id = m.episode_id
                   WHERE m.group_id = mine.group_id AND other.resolved_ms IS NULL AND other.acknowledged_ms IS NULL)))";

/// Nobody looks after it any more, and nobody was told that somebody did.
const DROP_ACKNOWLEDGED: &str = "
    DELETE FROM outbox
    WHERE status = 'pending' AND attempts = 0 AND kind = 'acknowledged'
      AND (episode_id = ?1 || '/acknowledged'
           OR episode_id IN (SELECT group_id || '/acknowledged' FROM notice_group_members WHERE episode_id = ?1))";

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

/// Where an episode stands in the list, as one number: its rank, and within that the newest first.
const PLACE: &str = "
    ((resolved_ms IS NOT NULL) * 8 + (muted IS NOT NULL AND resolved_ms IS NULL) * 4 + (severity <> 'page') * 2
     + (acknowledged_ms IS NOT NULL)) * 100000000000000 + 100000000000000 - opened_ms";

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
    INSERT OR IGNORE INTO episodes
        (id, fingerprint, rule_id, tenant_id, route, severity, summary, labels, flapping, opened_ms, notice)
    SELECT item.value ->> 'id', item.value ->> 'fingerprint', item.value ->> 'rule_id', item.value ->> 'tenant_id',
           item.value ->> 'route', item.value ->> 'severity', item.value ->> 'summary', item.value ->> 'labels',
           item.value ->> 'flapping', item.value ->> 'opened_ms', item.value ->> 'notice'
    FROM items";

/// It goes through the escalation of what it is now.
const WORSEN_EPISODES: &str = "
    UPDATE episodes SET severity = worse.severity, summary = worse.summary, notice = worse.notice, escalated = 0,
           labels = json_set(labels, '$.severity', worse.severity)
    FROM (SELECT item.value ->> 'id' AS id, item.value ->> 'severity' AS severity, item.value ->> 'summary' AS summary,
                 item.value ->> 'notice' AS notice FROM items) AS worse
    WHERE episodes.id = worse.id";

const NOTE_WORSE: &str = "
    INSERT OR IGNORE INTO episode_events (id, episode_id, at_ms, kind, detail)
    SELECT item.value ->> 'id' || '/worse', item.value ->> 'id', ?3, 'worsened', item.value ->> 'summary' FROM items";

/// To those who know that it fired.
const TELL_WORSE: &str = "
    INSERT OR IGNORE INTO outbox (id, episode_id, receiver_id, kind, notice, status, next_ms, created_ms)
    SELECT item.value ->> 'id' || '_' || told.receiver_id || '_worse', item.value ->> 'id' || '/worse', told.receiver_id,
           'firing', item.value ->> 'notice', 'pending', ?3, ?3
    FROM items
         JOIN episodes ON episodes.id = item.value ->> 'id' AND episodes.muted IS NULL
         JOIN outbox AS told ON told.kind = 'firing' AND told.status IN ('delivered', 'pending')
              AND (told.episode_id = episodes.id
                   OR told.episode_id IN (SELECT group_id FROM notice_group_members WHERE episode_id = episodes.id))";

const CLOSE_EPISODES: &str = "
    UPDATE episodes SET resolved_ms = ended.resolved_ms, end_notice = ended.notice
    FROM (SELECT item.value ->> 'id' AS id, item.value ->> 'resolved_ms' AS resolved_ms,
                 item.value ->> 'notice' AS notice FROM items) AS ended
    WHERE episodes.id = ended.id";
