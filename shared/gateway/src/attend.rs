//! Attention: who is told of the episodes there are. Between an alert and its notices lie silences, groups,
//! escalations and the habits of receivers; `hypercare::attention` decides, and this reads and writes.

use hypercare::{
    attention::{self, Decision, Episode, Habits, Receiver, Situation, Telling, decide},
    change::{self, Change, Numbers, WINDOW_MS},
    detect::load::{Segment, words, worse_segments},
    escalation::Policy,
    group,
    hours::Zone,
    inhibit::Dependence,
    measure::Measure,
    notice::{Kind, Notice, name_of},
    rule::{self, Rule, Severity},
    silence::{Silence, parse_matchers},
    time::{MINUTE_MS, minute_of},
};
use serde_json::Value;

use crate::{
    Error, Host,
    ports::Database,
    store::{
        attention::{
            self as store, Attended, Circumstances, Ended, Event, Group, Hold, Listener, Live, Marked,
            Member, NewNotice, Share, StoredPolicy, StoredSilence,
        },
        changes::{self, Compared, Side},
        watched,
    },
};

/// Attends to every episode that somebody may have to be told of. Whether notices of ends are on their way.
pub async fn attend<H: Host>(host: &H, now_ms: i64) -> Result<bool, Error> {
    let pending = store::pending(host, now_ms).await?;
    if pending.live.is_empty() && pending.ended.is_empty() && pending.held.is_empty() {
        return Ok(pending.has_ends);
    }
    let episodes: Vec<Episode> = pending.live.iter().map(episode).collect();
    let may_depend = episodes.iter().any(|episode| {
        !episode.is_over && episode.severity == Severity::Page && episode.labels.contains_key("provider")
    });
    let since_ms = may_depend.then_some(now_ms - DEPENDENCE_MS);
    let Circumstances { silences, policies, listeners, shares } =
        store::circumstances(host, now_ms, since_ms).await?;
    let silences: Vec<Silence> = silences.iter().filter_map(silence).collect();
    let policies: Vec<Policy> = policies.iter().filter_map(policy).collect();
    let receivers: Vec<Receiver> = listeners.into_iter().map(receiver).collect();
    let held: Vec<attention::Held> = pending
        .held
        .iter()
        .map(|held| attention::Held {
            episode_id: held.episode_id.clone(),
            receiver_id: held.receiver_id.clone(),
        })
        .collect();
    let decision = decide(&Situation {
        now_ms,
        episodes: &episodes,
        silences: &silences,
        policies: &policies,
        receivers: &receivers,
        dependence: &dependence(&shares),
        held: &held,
    });
    let mut live = pending.live;
    let noted = associate(host, &decision, &mut live, now_ms).await?;
    let mut attended = written(&decision, &live, now_ms);
    for mark in &mut attended.marks {
        mark.notice = noted.iter().find(|(id, _)| *id == mark.id).map(|(_, notice)| notice.clone());
    }
    for group in &pending.ended {
        end(group, &mut attended, now_ms);
    }
    store::write(host, pending.stand, &attended, now_ms).await?;
    Ok(pending.has_ends || !pending.ended.is_empty())
}

/// Adds to the notices of episodes that are told of for the first time what was changed before them. Returns
/// those that became different.
async fn associate<H: Host>(
    host: &H,
    decision: &Decision,
    live: &mut [Live],
    now_ms: i64,
) -> Result<Vec<(String, String)>, Error> {
    let is_first = |live: &&mut Live| {
        let mut marks = decision.marks.iter();
        live.told_ms.is_none() && marks.any(|mark| mark.episode_id == live.id && mark.told_ms.is_some())
    };
    let mut first: Vec<&mut Live> = live.iter_mut().filter(is_first).collect();
    let Some(oldest_ms) = first.iter().map(|live| live.opened_ms).min() else { return Ok(Vec::new()) };
    let changes = changes::between(host, oldest_ms - WINDOW_MS, now_ms, MOST_CHANGES).await?;
    let found: Vec<Found> = first
        .iter()
        .map(|live| Found::of(&changes, &live.id, &live.tenant_id, &live.route, live.opened_ms))
        .collect();
    let compared = compare(host, &found).await?;
    let parts = worse_parts(host, &first).await?;
    let mut noted = Vec::new();
    for (live, found) in first.iter_mut().zip(&found) {
        let mut facts = found.facts(&compared);
        let worse = parts.iter().filter(|(id, _)| *id == live.id);
        facts.extend(worse.map(|(_, words)| ("Associated with".to_owned(), words.clone())));
        let added = |text: &mut Option<String>, place: &str| {
            let mut notice: Value = serde_json::from_str(text.as_deref()?).ok()?;
            let list = notice.pointer_mut(place)?.as_array_mut()?;
            list.extend(facts.iter().map(|(name, value)| serde_json::json!([name, value])));
            *text = Some(notice.to_string());
            text.clone()
        };
        if !facts.is_empty() {
            // Of one that is over already, the end is told in one with the beginning.
            added(&mut live.end_notice, "/combined/facts");
            noted.extend(added(&mut live.notice, "/facts").map(|notice| (live.id.clone(), notice)));
        }
    }
    Ok(noted)
}

/// Which parts of the calls fail more than the others, for alerts on errors: the episode, and a few words.
async fn worse_parts(host: &impl Database, first: &[&mut Live]) -> Result<Vec<(String, String)>, Error> {
    let is_about_errors = |live: &&&mut Live| {
        let notice = live.notice.as_deref().or(live.end_notice.as_deref());
        let notice: Option<Value> = notice.and_then(|notice| serde_json::from_str(notice).ok());
        let facts = notice.as_ref().and_then(|notice| notice.get("facts")?.as_array());
        let name = name_of(Measure::ErrorShare);
        !live.labels.contains("\"part\"")
            && facts.is_some_and(|facts| facts.iter().any(|fact| fact[0].as_str() == Some(&*name)))
    };
    let times: Vec<_> = first
        .iter()
        .filter(is_about_errors)
        .map(|live| (live.id.clone(), live.tenant_id.clone(), live.opened_ms - PARTS_MS, live.opened_ms))
        .collect();
    if times.is_empty() {
        return Ok(Vec::new());
    }
    let found = watched::parts_of(host, times.iter().cloned()).await?;
    let rule = Rule { threshold: LEAST_DIFFERENCE, min_count: LEAST_CALLS, ..rule::on_errors() };
    let mut worse = Vec::new();
    for (id, ..) in times {
        let (mut segments, mut all) = (Vec::<Segment>::new(), (0, 0));
        for part in found.iter().filter(|part| part.side == id) {
            if part.part.is_empty() {
                all = (all.0 + part.errors, all.1 + part.calls);
                continue;
            }
            // Of everybody's, if the alert is nobody's.
            match segments.iter_mut().find(|segment| segment.name == part.part) {
                Some(known) => (known.bad, known.calls) = (known.bad + part.errors, known.calls + part.calls),
                None => {
                    segments.push(Segment { name: part.part.clone(), bad: part.errors, calls: part.calls });
                }
            }
        }
        let named = worse_segments(&rule, &segments, all);
        let named = named.iter().take(MOST_PARTS).filter_map(|(name, _)| {
            let segment = segments.iter().find(|segment| segment.name == *name)?;
            Some((id.clone(), words(segment, all)))
        });
        worse.extend(named);
    }
    Ok(worse)
}

/// The changes an episode is associated with.
pub(crate) struct Found {
    episode_id: String,
    opened_ms: i64,
    /// Each with what to compare, if there are calls to compare.
    pub(crate) changes: Vec<(Change, Option<Side>)>,
}

impl Found {
    /// Those of `changes`.
    pub(crate) fn of(
        changes: &[Change],
        episode_id: &str,
        tenant_id: &str,
        route: &str,
        opened_ms: i64,
    ) -> Self {
        let side = |change: &Change| Side {
            key: format!("{episode_id} {}", change.id),
            tenant_id: tenant_id.to_owned(),
            route: route.to_owned(),
            from_ms: minute_of(change.at_ms) - COMPARED_MS,
            at_ms: minute_of(change.at_ms),
            to_ms: opened_ms,
        };
        let changes = change::associated(changes, tenant_id, opened_ms)
            .into_iter()
            .map(|change| (change.clone(), (!route.is_empty()).then(|| side(change))))
            .collect();
        Self { episode_id: episode_id.to_owned(), opened_ms, changes }
    }

    /// What there was before and after a change.
    pub(crate) fn sides(&self, change: &Change, compared: &[Compared]) -> Option<(Numbers, Numbers)> {
        let key = format!("{} {}", self.episode_id, change.id);
        let at = |is_after: i64| {
            let found = compared.iter().find(|row| row.key == key && row.is_after == is_after);
            found.map(|row| row.numbers)
        };
        at(0).zip(at(1))
    }

    fn facts(&self, compared: &[Compared]) -> Vec<(String, String)> {
        let fact = |(change, _): &(Change, Option<Side>)| {
            let words = change::words(change, self.opened_ms, self.sides(change, compared));
            ("Associated with".to_owned(), words)
        };
        self.changes.iter().map(fact).collect()
    }
}

/// Compares before and after for all of them at once.
pub(crate) async fn compare(host: &impl Database, found: &[Found]) -> Result<Vec<Compared>, Error> {
    let sides: Vec<Side> =
        found.iter().flat_map(|found| &found.changes).filter_map(|(_, side)| side.clone()).collect();
    if sides.is_empty() {
        return Ok(Vec::new());
    }
    Ok(changes::compare(host, &sides).await?)
}

/// A row of the matrix as it is stored, if this release can read it.
pub(crate) fn policy(stored: &StoredPolicy) -> Option<Policy> {
    Some(Policy {
        id: stored.id.clone(),
        rule: stored.rule.clone(),
        severity: stored.severity.as_deref().map(severity),
        steps: serde_json::from_str(&stored.steps).ok()?,
        repeats: stored.repeats,
        repeat_after_minutes: stored.repeat_after_minutes,
    })
}

/// A severity, as stored.
pub(crate) fn severity(word: &str) -> Severity {
    if word == Severity::Page.word() { Severity::Page } else { Severity::Ticket }
}

fn episode(live: &Live) -> Episode {
    Episode {
        id: live.id.clone(),
        rule_id: live.rule_id.clone(),
        tenant_id: live.tenant_id.clone(),
        severity: severity(&live.severity),
        labels: serde_json::from_str(&live.labels).unwrap_or_default(),
        is_over: live.resolved_ms.is_some(),
        told_ms: live.told_ms,
        muted: live.muted.clone(),
        snoozed_ms: live.snoozed_ms,
        is_acknowledged: live.acknowledged_ms.is_some(),
        escalated: live.escalated,
    }
}

fn silence(stored: &StoredSilence) -> Option<Silence> {
    let texts: Vec<String> = serde_json::from_str(&stored.matchers).ok()?;
    let StoredSilence { id, starts_ms, ends_ms, every_ms, .. } = stored;
    let matchers = parse_matchers(&texts).ok()?;
    Some(Silence { id: id.clone(), matchers, starts_ms: *starts_ms, ends_ms: *ends_ms, every_ms: *every_ms })
}

fn receiver(listener: Listener) -> Receiver {
    let group_by = listener.group_by.and_then(|list| serde_json::from_str(&list).ok());
    let utc = || Zone::parse("UTC").expect("everybody knows UTC");
    let habits = Habits {
        group_by: group_by.unwrap_or_else(|| vec!["rule".to_owned()]),
        digest_minutes: listener.digest_minutes.filter(|minutes| *minutes > 0),
        quiet: listener.quiet_from.zip(listener.quiet_to),
        zone: listener.zone.and_then(|zone| Zone::parse(&zone)).unwrap_or_else(utc),
    };
    Receiver { id: listener.id, tenant_id: listener.tenant_id, habits }
}

/// Each provider's share of what failed, or of all if nothing did.
fn dependence(shares: &[Share]) -> Vec<Dependence> {
    let of_series = |share: &Share| {
        let same = shares
            .iter()
            .filter(|other| (&other.tenant_id, &other.route) == (&share.tenant_id, &share.route));
        same.fold((0, 0), |(calls, errors), other| (calls + other.calls, errors + other.errors))
    };
    let known = |share: &Share| {
        let (calls, errors) = of_series(share);
        let (part, whole) = if errors > 0 { (share.errors, errors) } else { (share.calls, calls) };
        Dependence {
            tenant_id: share.tenant_id.clone(),
            route: share.route.clone(),
            provider: share.provider_name.clone(),
            share: part as f64 / whole.max(1) as f64,
        }
    };
    shares.iter().map(known).collect()
}

/// The decision, as rows.
fn written(decision: &Decision, live: &[Live], now_ms: i64) -> Attended {
    let mut attended = Attended::default();
    for mark in &decision.marks {
        attended.marks.push(Marked {
            id: mark.episode_id.clone(),
            told_ms: mark.told_ms,
            muted: mark.muted.clone(),
            snoozed_ms: mark.snoozed_ms,
            escalated: mark.escalated,
            notice: None,
        });
    }
    for (episode_id, receiver_id, due_ms) in &decision.holds {
        let (episode_id, receiver_id) = (episode_id.clone(), receiver_id.clone());
        attended.holds.push(Hold { episode_id, receiver_id, due_ms: *due_ms });
    }
    for held in &decision.released {
        let (episode_id, receiver_id) = (held.episode_id.clone(), held.receiver_id.clone());
        attended.released.push(store::Held { episode_id, receiver_id });
    }
    for (number, event) in decision.events.iter().enumerate() {
        attended.events.push(Event {
            id: format!("{}/{}/{now_ms}/{number}", event.episode_id, event.kind),
            episode_id: event.episode_id.clone(),
            at_ms: now_ms,
            kind: event.kind.to_owned(),
            actor: None,
            detail: event.detail.clone(),
        });
    }
    for telling in &decision.tellings {
        tell(telling, live, &mut attended, now_ms);
    }
    attended
}

/// A notice of one episode, or of a group.
fn tell(telling: &Telling, live: &[Live], attended: &mut Attended, now_ms: i64) {
    let Telling { receiver_id, episode_ids, is_digest, again } = telling;
    let told: Vec<(&Live, Notice)> = episode_ids
        .iter()
        .filter_map(|id| live.iter().find(|live| live.id == *id))
        .filter_map(|live| Some((live, notice_of(live)?)))
        .collect();
    let suffix = again.as_ref().map(|again| format!("/{again}")).unwrap_or_default();
    let (id, notice) = match &told[..] {
        [] => return,
        [(live, notice)] => (live.id.clone(), notice.clone()),
        several => {
            let ids: Vec<&str> = several.iter().map(|(live, _)| live.id.as_str()).collect();
            let id = group::id(receiver_id, &ids);
            let notices: Vec<Notice> = several.iter().map(|(_, notice)| notice.clone()).collect();
            let Some(notice) = group::joined(&id, &notices, *is_digest) else { return };
            let is_over = notice.kind != Kind::Firing;
            let resolved_ms = is_over.then_some(now_ms);
            attended.groups.push(Group { id: id.clone(), receiver_id: receiver_id.clone(), resolved_ms });
            let member =
                |episode_id: &str| Member { episode_id: episode_id.to_owned(), group_id: id.clone() };
            attended.members.extend(ids.into_iter().map(member));
            (id, notice)
        }
    };
    let kind = notice.kind.word();
    attended.notices.push(NewNotice {
        id: format!("{id}_{receiver_id}_{}", again.as_deref().unwrap_or(kind)),
        episode_id: format!("{id}{suffix}"),
        receiver_id: receiver_id.clone(),
        kind,
        notice: serde_json::to_string(&notice).expect("a notice is JSON"),
    });
}

/// What there is to say of an episode to somebody who knows nothing of it.
fn notice_of(live: &Live) -> Option<Notice> {
    if live.resolved_ms.is_none() {
        return serde_json::from_str(live.notice.as_deref()?).ok();
    }
    let mut end: Value = serde_json::from_str(live.end_notice.as_deref()?).ok()?;
    serde_json::from_value(end.get_mut("combined")?.take()).ok()
}

/// All of a group is over.
fn end(group: &Ended, attended: &mut Attended, now_ms: i64) {
    let Ended { id, receiver_id, notices } = group;
    attended.groups.push(Group {
        id: id.clone(),
        receiver_id: receiver_id.clone(),
        resolved_ms: Some(now_ms),
    });
    let notices: Vec<Notice> =
        notices.iter().filter_map(|notice| serde_json::from_value(notice.clone()).ok()).collect();
    let Some(told) = group::ended(id, &notices) else { return };
    let mut untold = told.clone();
    untold.kind = Kind::Combined;
    untold.summary += ". That they fired could not be delivered at the time";
    let mut notice = serde_json::to_value(&told).expect("a notice is JSON");
    notice["combined"] = serde_json::to_value(&untold).expect("a notice is JSON");
    attended.notices.push(NewNotice {
        id: format!("{id}_{receiver_id}_resolved"),
        episode_id: id.clone(),
        receiver_id: receiver_id.clone(),
        kind: Kind::Resolved.word(),
        notice: notice.to_string(),
    });
}

/// How much before a change it is compared with what came after.
const COMPARED_MS: i64 = 30 * MINUTE_MS;
/// Over how long before an alert its calls are compared with each other.
const PARTS_MS: i64 = 15 * MINUTE_MS;
/// Of how many of them it takes notice, by how much they must differ, and how many are named.
const LEAST_CALLS: i64 = 20;
const LEAST_DIFFERENCE: f64 = 0.02;
const MOST_PARTS: usize = 3;
/// How many changes of an hour are considered.
const MOST_CHANGES: i64 = 100;
/// How long back it is looked for what depends on which provider.
const DEPENDENCE_MS: i64 = 15 * MINUTE_MS;
