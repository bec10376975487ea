//! Between an alert and those who are told of it: what there is to attend to, and what came of it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ports::{Database, PortError, Statement, read_all};

/// An episode that is open, or that nobody was told of yet, or that was held back until now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Live {
    /// `ep_…`
    pub id: String,
    /// The rule.
    pub rule_id: String,
    /// Whose calls; empty for the gateway as a whole.
    pub tenant_id: String,
    /// Which route.
    pub route: String,
    /// `page` or `ticket`.
    pub severity: String,
    /// JSON object.
    pub labels: String,
    /// Unix milliseconds; likewise the others.
    pub opened_ms: i64,
    /// When it closed.
    pub resolved_ms: Option<i64>,
    /// Since when those concerned are told.
    pub told_ms: Option<i64>,
    /// Why nobody is.
    pub muted: Option<String>,
    /// Until when it is snoozed.
    pub snoozed_ms: Option<i64>,
    /// When somebody took it.
    pub acknowledged_ms: Option<i64>,
    /// How many steps of its escalation are done.
    pub escalated: i64,
    /// The notice that says it fired, JSON.
    pub notice: Option<String>,
    /// The one that says it is over.
    pub end_notice: Option<String>,
}

/// A notice that was held back until now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// About which episode.
    pub episode_id: String,
    /// For whom.
    pub receiver_id: String,
}

/// A group all of whose episodes are over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ended {
    /// `grp_…`
    pub id: String,
    /// Who was told.
    pub receiver_id: String,
    /// What each episode's end was told with.
    pub notices: Vec<Value>,
}

/// What there is to attend to.
#[derive(Debug)]
pub struct Pending {
    /// Where attention stands.
    pub stand: i64,
    /// Episodes.
    pub live: Vec<Live>,
    /// Groups that are over.
    pub ended: Vec<Ended>,
    /// What was held back until now.
    pub held: Vec<Held>,
    /// Whether notices of ends are on their way.
    pub has_ends: bool,
}

/// Reads what there is to attend to, all of one moment.
pub async fn pending(db: &impl Database, now_ms: i64) -> Result<Pending, PortError> {
    #[derive(Deserialize)]
    struct Stand {
        claimed_ms: i64,
        ended: String,
        held: String,
        ends: i64,
    }
    let live = "
        SELECT id, rule_id, tenant_id, route, severity, labels, opened_ms, resolved_ms, told_ms, muted, snoozed_ms,
               acknowledged_ms, escalated, notice, end_notice
        FROM episodes
        WHERE id IN (SELECT id FROM episodes WHERE resolved_ms IS NULL OR told_ms IS NULL
                     UNION SELECT episode_id FROM held_notices WHERE due_ms <= ?1)
        ORDER BY told_ms IS NOT NULL, opened_ms, id LIMIT 500";
    // All in one row: a tick has few statements.
    let stand = "
        SELECT claimed_ms, EXISTS (SELECT 1 FROM outbox WHERE status = 'pending' AND kind = 'resolved') AS ends,
               (SELECT json_group_array(json_object('episode_id', episode_id, 'receiver_id', receiver_id))
                FROM (SELECT * FROM held_notices WHERE due_ms <= ?1 LIMIT 500)) AS held,
               (SELECT json_group_array(json_object('id', id, 'receiver_id', receiver_id, 'notices',
                    (SELECT json_group_array(json(coalesce(e.end_notice, 'null'))) FROM notice_group_members AS m
                     JOIN episodes AS e ON e.id = m.episode_id WHERE m.group_id = ended.id)))
                FROM (SELECT * FROM notice_groups
                      WHERE resolved_ms IS NULL AND NOT EXISTS (
                          SELECT 1 FROM notice_group_members AS m JOIN episodes AS e ON e.id = m.episode_id
                          WHERE m.group_id = notice_groups.id AND e.resolved_ms IS NULL)
                      LIMIT 50) AS ended) AS ended
        FROM schedule WHERE name = 'attend'";
    let results =
        db.batch(vec![Statement::new(stand, [json!(now_ms)]), Statement::new(live, [json!(now_ms)])]).await?;
    let missing = || PortError::new("database", "a statement without a result");
    let [stand, live] = results.try_into().map_err(|_| missing())?;
    let Stand { claimed_ms, ended, held, ends } =
        read_all::<Stand>(stand)?.into_iter().next().ok_or_else(missing)?;
    let unexpected = |error| PortError::new("database", format!("unexpected attention: {error}"));
    Ok(Pending {
        stand: claimed_ms,
        has_ends: ends != 0,
        live: read_all(live)?,
        ended: serde_json::from_str(&ended).map_err(unexpected)?,
        held: serde_json::from_str(&held).map_err(unexpected)?,
    })
}

/// A silence, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StoredSilence {
    /// `sil_…`
    pub id: String,
    /// JSON list.
    pub matchers: String,
    /// From here.
    pub starts_ms: i64,
    /// To here.
    pub ends_ms: i64,
    /// It comes back after this long.
    pub every_ms: Option<i64>,
}

/// A row of the matrix, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StoredPolicy {
    /// `esc_…`
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Of which rules.
    pub rule: Option<String>,
    /// Of which severity.
    pub severity: Option<String>,
    /// JSON list.
    pub steps: String,
    /// How often it is repeated.
    pub repeats: i64,
    /// After how long.
    pub repeat_after_minutes: i64,
    /// Unix milliseconds.
    pub created_ms: i64,
}

/// A receiver that is not disabled, with its habits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listener {
    /// `rcv_…`
    pub id: String,
    /// Whose alerts it hears of.
    pub tenant_id: Option<String>,
    /// JSON list; none without habits of its own, likewise the next.
    pub group_by: Option<String>,
    /// How often its digest comes.
    pub digest_minutes: Option<i64>,
    /// When its quiet hours begin.
    pub quiet_from: Option<i64>,
    /// When they end.
    pub quiet_to: Option<i64>,
    /// By which clock.
    pub zone: Option<String>,
}

/// How much of a series' trouble is one provider's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Share {
    /// Whose calls.
    pub tenant_id: String,
    /// Which route.
    pub route: String,
    /// Which provider.
    pub provider_name: String,
    /// Its calls.
    pub calls: i64,
    /// Those that failed.
    pub errors: i64,
}

/// What decides about episodes.
#[derive(Debug, Default)]
pub struct Circumstances {
    /// Silences that are not over.
    pub silences: Vec<StoredSilence>,
    /// The matrix.
    pub policies: Vec<StoredPolicy>,
    /// Who can hear.
    pub listeners: Vec<Listener>,
    /// What depends on what, since a moment.
    pub shares: Vec<Share>,
}

/// Reads what decides about episodes; what depends on providers only if asked, since `shares_since_ms`.
pub async fn circumstances(
    db: &impl Database,
    now_ms: i64,
    shares_since_ms: Option<i64>,
) -> Result<Circumstances, PortError> {
    let silences = "
        SELECT id, matchers, starts_ms, ends_ms, every_ms FROM silences
        WHERE ended_ms IS NULL AND starts_ms <= ?1 AND (ends_ms > ?1 OR every_ms IS NOT NULL) ORDER BY id";
    let listeners = "
        SELECT r.id, r.tenant_id, h.group_by, h.digest_minutes, h.quiet_from, h.quiet_to, h.zone
        FROM receivers AS r LEFT JOIN receiver_habits AS h ON h.receiver_id = r.id
        WHERE r.disabled_ms IS NULL ORDER BY r.created_ms, r.id";
    let shares = "
        SELECT tenant_id, route, provider_name, sum(calls) AS calls,
               sum(CASE outcome WHEN 'error' THEN calls ELSE 0 END) AS errors
        FROM rollups WHERE grain = 'minute' AND bucket_ms >= ?1
        GROUP BY tenant_id, route, provider_name";
    let mut statements = vec![
        Statement::new(silences, [json!(now_ms)]),
        Statement::new(ALL_POLICIES, []),
        Statement::new(listeners, []),
    ];
    statements.extend(shares_since_ms.map(|since_ms| Statement::new(shares, [json!(since_ms)])));
    let mut results = db.batch(statements).await?.into_iter();
    let mut next = || results.next().unwrap_or_default();
    Ok(Circumstances {
        silences: read_all(next())?,
        policies: read_all(next())?,
        listeners: read_all(next())?,
        shares: read_all(next())?,
    })
}

/// What attending came to. Takes effect only if nobody attended, and no episode opened or closed, meanwhile.
#[derive(Debug, Default, Serialize)]
pub struct Attended {
    /// How episodes are marked from now on.
    pub marks: Vec<Marked>,
    /// Notices for the outbox.
    pub notices: Vec<NewNotice>,
    /// Groups they are about, and groups that are over.
    pub groups: Vec<Group>,
    /// Which episodes are in which group.
    pub members: Vec<Member>,
    /// What is held back.
    pub holds: Vec<Hold>,
    /// What no longer is.
    pub released: Vec<Held>,
    /// For the timelines.
    pub events: Vec<Event>,
}

/// How an episode is marked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Marked {
    /// Which.
    pub id: String,
    /// Since when those concerned are told.
    pub told_ms: Option<i64>,
    /// Why nobody is.
    pub muted: Option<String>,
    /// Until when it is snoozed.
    pub snoozed_ms: Option<i64>,
    /// How many steps are done.
    pub escalated: i64,
    /// Its notice, with what is added to it; none: as it is.
    pub notice: Option<String>,
}

/// A notice for the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewNotice {
    /// The row.
    pub id: String,
    /// An episode, a group, or either with what makes it another time.
    pub episode_id: String,
    /// To whom.
    pub receiver_id: String,
    /// `firing`, `combined`, or `resolved`.
    pub kind: &'static str,
    /// The notice, JSON.
    pub notice: String,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// `grp_…`
    pub id: String,
    /// To whom.
    pub receiver_id: String,
    /// When all of it was over.
    pub resolved_ms: Option<i64>,
}

/// An episode in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The episode.
    pub episode_id: String,
    /// The group.
    pub group_id: String,
}

/// A notice that is held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// About which episode.
    pub episode_id: String,
    /// For whom.
    pub receiver_id: String,
    /// Until when.
    pub due_ms: i64,
}

/// Something in a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The row: of the same event always the same.
    pub id: String,
    /// Which episode.
    pub episode_id: String,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// A word.
    pub kind: String,
    /// Who; none: the gateway.
    pub actor: Option<String>,
    /// One sentence.
    pub detail: String,
}

/// Writes what attending came to, in one transaction. `false` if it came too late.
pub async fn write(
    db: &impl Database,
    stand: i64,
    attended: &Attended,
    now_ms: i64,
) -> Result<bool, PortError> {
    let mut statements = Vec::new();
    let mut add = |sql: &str, rows: Value, more: &[Value]| {
        if rows.as_array().is_some_and(|rows| !rows.is_empty()) {
            let params = [&[json!(rows.to_string()), json!(stand)], more].concat();
            statements.push(Statement::new(sql, params));
        }
    };
    add(MARK, json!(attended.marks), &[]);
    add(PUT_GROUPS, json!(attended.groups), &[json!(now_ms)]);
    add(PUT_MEMBERS, json!(attended.members), &[]);
    add(PUT_NOTICES, json!(attended.notices), &[json!(now_ms)]);
    add(HOLD, json!(attended.holds), &[]);
    add(RELEASE, json!(attended.released), &[]);
    add(PUT_EVENTS, json!(attended.events), &[]);
    if statements.is_empty() {
        return Ok(true);
    }
    // Last, because the statements before depend on it.
    statements.push(Statement::new(
        "UPDATE schedule SET claimed_ms = ?1 + 1 WHERE name = 'attend' AND claimed_ms = ?1 RETURNING name",
        [json!(stand)],
    ));
    let results = db.batch(statements).await?;
    Ok(results.last().is_some_and(|rows| !rows.is_empty()))
}

/// Whoever has read what there is to attend to has read something old.
pub const STIR: &str = "UPDATE schedule SET claimed_ms = claimed_ms + 1 WHERE name = 'attend'";

/// The matrix, the oldest row first.
pub const ALL_POLICIES: &str = "SELECT * FROM escalations ORDER BY created_ms, id";

const MARK: &str = "
    UPDATE episodes SET told_ms = mark.value ->> 'told_ms', muted = mark.value ->> 'muted',
           snoozed_ms = mark.value ->> 'snoozed_ms', escalated = mark.value ->> 'escalated',
           notice = coalesce(mark.value ->> 'notice', notice)
    FROM json_each(?1) AS mark
    WHERE episodes.id = mark.value ->> 'id'
      AND EXISTS (SELECT 1 FROM schedule WHERE name = 'attend' AND claimed_ms = ?2)";

const PUT_GROUPS: &str = "
    INSERT INTO notice_groups (id, receiver_id, opened_ms, resolved_ms)
    SELECT value ->> 'id', value ->> 'receiver_id', ?3, value ->> 'resolved_ms' FROM json_each(?1)
    WHERE EXISTS (SELECT 1 FROM schedule WHERE name = 'attend' AND claimed_ms = ?2)
    ON CONFLICT (id) DO UPDATE SET resolved_ms = excluded.resolved_ms";

const PUT_MEMBERS: &str = "
    INSERT OR IGNORE INTO notice_group_members (episode_id, group_id)
    SELECT value ->> 'episode_id', value ->> 'group_id' FROM json_each(?1)
    WHERE EXISTS (SELECT 1 FROM schedule WHERE name = 'attend' AND claimed_ms = ?2)";

/// Whom a group told is not told again, and the end is told to those who were told of the beginning.
const PUT_NOTICES: &str = "
    INSERT OR IGNORE INTO outbox (id, episode_id, receiver_id, kind, notice, status, next_ms, created_ms)
    SELECT item.value ->> 'id', item.value ->> 'episode_id', receivers.id, item.value ->> 'kind',
           item.value ->> 'notice', 'pending', ?3, ?3
    FROM json_each(?1) AS item
         JOIN receivers ON receivers.id = item.value ->> 'receiver_id' AND receivers.disabled_ms IS NULL
    WHERE EXISTS (SELECT 1 FROM schedule WHERE name = 'attend' AND claimed_ms = ?2)
      AND NOT EXISTS (SELECT 1 FROM notice_group_members AS m JOIN notice_groups AS g ON g.id = m.group_id
                      WHERE m.episode_id = item.value ->> 'episode_id' AND g.receiver_id = receivers.id)
      AND (item.value ->> 'kind' <> 'resolved' OR EXISTS (
          SELECT 1 FROM outbox AS told
          WHERE told.episode_id = item.value ->> 'episode_id' AND told.receiver_id = receivers.id
            AND told.kind = 'firing' AND told.status IN ('delivered', 'pending')))";

const HOLD: &str = "
    INSERT OR IGNORE INTO held_notices (episode_id, receiver_id, due_ms)
    SELECT value ->> 'episode_id', value ->> 'receiver_id', value ->> 'due_ms' FROM json_each(?1)
    WHERE EXISTS (SELECT 1 FROM schedule WHERE name = 'attend' AND claimed_ms = ?2)";

const RELEASE: &str = "
    DELETE FROM held_notices WHERE (episode_id, receiver_id) IN
        (SELECT value ->> 'episode_id', value ->> 'receiver_id' FROM json_each(?1))
      AND EXISTS (SELECT 1 FROM schedule WHERE name = 'attend' AND claimed_ms = ?2)";

const PUT_EVENTS: &str = "
    INSERT OR IGNORE INTO episode_events (id, episode_id, at_ms, kind, actor, detail)
    SELECT value ->> 'id', value ->> 'episode_id', value ->> 'at_ms', value ->> 'kind', value ->> 'actor',
           value ->> 'detail'
    FROM json_each(?1) WHERE EXISTS (SELECT 1 FROM schedule WHERE name = 'attend' AND claimed_ms = ?2)";
