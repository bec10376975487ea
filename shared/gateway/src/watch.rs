//! The rules, evaluated: minute after minute, from the rollups to alerts, episodes and notices.
//!
//! A minute is looked at once its calls had half a minute to arrive. Missed minutes are looked at later,
//! in order, up to a quarter of an hour of them. Everything that evaluation came to is written in one
//! transaction, for each rule only if it still stands at the minute where evaluation began.

use std::collections::{BTreeMap, BTreeSet};

use hypercare::{
    alert::{
        BROKEN_MINUTES, Change, Fired, How, MOST_TURNS, Reason, Resolved, State, episode_id, fingerprint,
        step,
    },
    detect::{Level, Observation},
    notice::{Kind, Notice, Subject},
    rule::{Measure, NoData, Rule, Scope, Severity},
    time::{MINUTE_MS, minute_of, rfc3339},
};
use serde_json::json;

pub use crate::rules::{RuleView, list as rules, put_override};
use crate::{
    Error, Host, blocks,
    ports::Database,
    rules::in_force,
    sight::{Key, Look, SYSTEM, Sight},
    store::{
        alerts::{self, Advance, Alert, Closed, Inactive, NewBlock, Opened, Outcome, Standing, Worsened},
        blocks::Block,
        identity,
        schedule::CLOCK_ERROR_MS,
    },
};

/// What evaluation did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Minutes looked at.
    pub minutes: usize,
    /// Minutes that were missed for too long.
    pub skipped: usize,
    /// Episodes that opened.
    pub fired: usize,
    /// Episodes that closed.
    pub resolved: usize,
}

/// What there is to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Whether the newest minutes are counted.
    pub minutes: bool,
    /// Whether the hours that are over are.
    pub hours: bool,
}

/// Evaluates every rule for every minute that is complete and was not evaluated yet. If the newest minutes
/// are not counted, the rules on calls stay where they are; if hours are not, those that look once an hour or a day do.
pub async fn evaluate<H: Host>(host: &H, now_ms: i64, counted: Counted) -> Result<Evaluation, Error> {
    let Standing { overrides, rules: own, evaluated, alerts } = alerts::standing(host).await?;
    let (rules, unreadable) = in_force(&overrides, &own);
    for (rule_id, error) in unreadable {
        host.log(&format!("rule {rule_id}: it cannot be read and stays where it is: {error}"));
    }
    let to_ms = minute_of(now_ms - SETTLE_MS) - MINUTE_MS;
    let oldest_ms = to_ms - (MOST_MINUTES - 1) * MINUTE_MS;
    let due: Vec<Due<'_>> = rules
        .iter()
        .filter(|rule| counted.minutes || rule.scope == Scope::System)
        .filter(|rule| counted.hours || !rule.looks_back())
        .filter_map(|rule| {
            let stood = evaluated.iter().find(|evaluated| evaluated.rule_id == rule.id);
            let from_ms = stood.map_or(to_ms - MINUTE_MS, |stood| stood.minute_ms);
            // It stands far ahead: a clock went wrong. It goes on from here.
            let is_ahead = from_ms > to_ms + CLOCK_ERROR_MS;
            let first_ms = if is_ahead { to_ms } else { (from_ms + MINUTE_MS).max(oldest_ms) };
            (first_ms <= to_ms).then_some(Due { rule, from_ms, first_ms, to_ms })
        })
        .collect();
    if due.is_empty() {
        return Ok(Evaluation::default());
    }
    let looks: Vec<Look<'_>> = due
        .iter()
        .map(|Due { rule, first_ms, to_ms, .. }| Look { rule, first_ms: *first_ms, to_ms: *to_ms })
        .collect();
    let seen = Sight::read(host, &looks).await?;

    // Nobody calls as a tenant that is shut out; what was open about it ends.
    let shut_out: BTreeSet<String> = match alerts.is_empty() {
        true => BTreeSet::new(),
        false => identity::tenants(host)
            .await?
            .into_iter()
            .filter_map(|tenant| tenant.disabled_ms.map(|_| tenant.id))
            .collect(),
    };
    let mut changes = Vec::new();
    let mut outcome = Outcome::default();
    for due in &due {
        outcome.rules.push(Advance {
            rule_id: due.rule.id.to_string(),
            from_ms: due.from_ms,
            to_ms: due.to_ms,
        });
        let stored = alerts.iter().filter(|alert| alert.rule_id == due.rule.id);
        for broken in evaluate_rule(due, stored, &seen, &shut_out, &mut outcome, &mut changes) {
            host.log(&format!("rule {}: {broken}", due.rule.id));
        }
    }
    tell(host, &changes, &seen, now_ms, &mut outcome).await?;
    let advanced = alerts::write(host, &outcome, now_ms).await?;
    if !outcome.blocks.is_empty() {
        let made: Vec<Block> = outcome.blocks.iter().map(|made| made.block.clone()).collect();
        blocks::make_seen(host, &made).await;
    }

    let counts = |rule_id: &String| advanced.contains(rule_id);
    let looked_at = due.iter().filter(|due| counts(&due.rule.id.to_string()));
    let evaluation = Evaluation {
        minutes: looked_at.clone().map(|due| (due.to_ms - due.first_ms) / MINUTE_MS + 1).max().unwrap_or(0)
            as usize,
        skipped: looked_at.map(|due| (due.first_ms - due.from_ms) / MINUTE_MS - 1).max().unwrap_or(0).max(0)
            as usize,
        fired: outcome.opened.iter().filter(|opened| counts(&opened.rule_id)).count(),
        resolved: outcome.closed.iter().filter(|closed| counts(&closed.rule_id)).count(),
    };
    if evaluation.skipped > 0 {
        host.log(&format!("rules: {} minutes were missed for too long and are skipped", evaluation.skipped));
    }
    Ok(evaluation)
}

/// A rule with minutes to evaluate.
struct Due<'a> {
    rule: &'a Rule,
    /// The minute it stands at.
    from_ms: i64,
    /// The first minute to evaluate.
    first_ms: i64,
    /// The last.
    to_ms: i64,
}

impl Due<'_> {
    fn minutes(&self) -> impl Iterator<Item = i64> + use<> {
        (self.first_ms..=self.to_ms).step_by(MINUTE_MS as usize)
    }
}

/// What happened to one series at one minute.
struct Changed<'a> {
    rule: &'a Rule,
    key: (String, String),
    fingerprint: String,
    what: What,
}

enum What {
    Fired(Fired, How),
    /// Also: at which minute.
    Worsened(Fired, How, i64),
    Resolved(Resolved),
    /// The rule could not look, and why.
    Broken(Fired, String),
    /// It can again.
    Mended(Resolved),
    /// The rule was switched off, or its tenant shut out, while the alert was open.
    SwitchedOff {
        opened_ms: i64,
        at_ms: i64,
    },
}

/// Steps every series of a rule through its minutes. Returns why it could not look at some of them.
fn evaluate_rule<'a>(
    due: &Due<'a>,
    stored: impl Iterator<Item = &'a Alert>,
    seen: &Sight,
    shut_out: &BTreeSet<String>,
    outcome: &mut Outcome,
    changes: &mut Vec<Changed<'a>>,
) -> BTreeSet<String> {
    let rule = due.rule;
    let mut stored: BTreeMap<(String, String), &Alert> =
        stored.map(|alert| ((alert.tenant_id.clone(), alert.route.clone()), alert)).collect();
    let health = stored.remove(&itself());
    // Series with calls, and those with a state, which must go on even if there is nothing to see.
    let mut keys = if rule.enabled { seen.keys(rule) } else { BTreeSet::new() };
    keys.extend(stored.keys().cloned());
    let mut broken = BTreeMap::<i64, String>::new();
    for key in &keys {
        let alert = stored.get(key).copied();
        let mut state = match alert.map(|alert| serde_json::from_str::<State>(&alert.memory)) {
            None => State::default(),
            Some(Ok(state)) => state,
            // A rule that is switched off forgets it.
            Some(Err(_)) if rule.enabled => {
                let of = alert.map(|alert| alert.fingerprint.as_str()).unwrap_or_default();
                for minute_ms in due.minutes() {
                    broken.insert(
                        minute_ms,
                        format!("the stored state of alert {of} cannot be read; it stays as it is"),
                    );
                }
                continue;
            }
            Some(Err(_)) => State::default(),
        };
        let fingerprint = alert.map_or_else(|| fingerprint_of(rule, key), |alert| alert.fingerprint.clone());
        let mut changed = |what| {
            changes.push(Changed { rule, key: key.clone(), fingerprint: fingerprint.clone(), what });
        };
        if rule.enabled && !shut_out.contains(&key.0) && is_concerned(rule, key) {
            for minute_ms in due.minutes().filter(|minute_ms| rule.looks_at(*minute_ms)) {
                let observation = seen.observe(rule, key, minute_ms, state.is_firing());
                if let Observation::Broken { message } = &observation {
                    broken.insert(minute_ms, message.clone());
                }
                let (next, change) = step(rule, state, observation, minute_ms);
                state = next;
                match change {
                    None => {}
                    Some(Change::Fired(fired, how)) => changed(What::Fired(fired, how)),
                    Some(Change::Worsened(fired, how)) => changed(What::Worsened(fired, how, minute_ms)),
                    Some(Change::Resolved(resolved)) => changed(What::Resolved(resolved)),
                }
            }
        } else {
            if let Some(opened_ms) = state.opened_ms() {
                changed(What::SwitchedOff { opened_ms, at_ms: due.to_ms });
            }
            state = State::default();
        }
        remember(rule, key, fingerprint, &state, alert.is_some(), outcome);
    }
    if health.is_some() || !broken.is_empty() {
        look_at_itself(due, health, &broken, outcome, changes);
    }
    broken.into_values().collect()
}

/// Puts down where a series stands, if there is something to remember.
fn remember(
    rule: &Rule,
    (tenant_id, route): &(String, String),
    fingerprint: String,
    state: &State,
    is_stored: bool,
    outcome: &mut Outcome,
) {
    let rule_id = rule.id.to_string();
    if !state.is_inactive() {
        let memory = serde_json::to_string(state).expect("a state is JSON");
        let (tenant_id, route, state) = (tenant_id.clone(), route.clone(), state.word().to_owned());
        outcome.alerts.push(Alert { fingerprint, rule_id, tenant_id, route, state, memory });
    } else if is_stored {
        outcome.inactive.push(Inactive { fingerprint, rule_id });
    }
}

/// Whether the rule itself is in order: an alert of its own, which fires when the rule could not look for some
/// minutes in a row.
fn look_at_itself<'a>(
    due: &Due<'a>,
    stored: Option<&Alert>,
    broken: &BTreeMap<i64, String>,
    outcome: &mut Outcome,
    changes: &mut Vec<Changed<'a>>,
) {
    let rule = due.rule;
    let watched = Rule {
        for_minutes: BROKEN_MINUTES - 1,
        keep_firing_minutes: 0,
        no_data: NoData::Show,
        measure: Measure::Lost,
        ..rule.clone()
    };
    let fingerprint = fingerprint(&rule.id, &[("watch", "rule")]);
    let mut state =
        stored.and_then(|alert| serde_json::from_str::<State>(&alert.memory).ok()).unwrap_or_default();
    let mut changed =
        |what| changes.push(Changed { rule, key: itself(), fingerprint: fingerprint.clone(), what });
    if rule.enabled {
        for minute_ms in due.minutes().filter(|minute_ms| rule.looks_at(*minute_ms)) {
            let message = broken.get(&minute_ms);
            let seen = match message {
                Some(_) => {
                    Observation::Breached { value: 1.0, count: 0, baseline: None, level: Level::Critical }
                }
                None => Observation::Healthy { value: 0.0, count: 0, baseline: None },
            };
            let (next, change) = step(&watched, state, seen, minute_ms);
            state = next;
            match change {
                Some(Change::Fired(fired, _)) => {
                    changed(What::Broken(fired, message.cloned().unwrap_or_default()));
                }
                Some(Change::Resolved(resolved)) => changed(What::Mended(resolved)),
                Some(Change::Worsened(..)) | None => {}
            }
        }
    } else {
        if let Some(opened_ms) = state.opened_ms() {
            changed(What::SwitchedOff { opened_ms, at_ms: due.to_ms });
        }
        state = State::default();
    }
    remember(rule, &itself(), fingerprint, &state, stored.is_some(), outcome);
}

/// Whether a rule still looks at a series that has a state.
fn is_concerned(rule: &Rule, key: &Key) -> bool {
    match rule.scope {
        Scope::System => *key == SYSTEM,
        _ => *key != SYSTEM && rule.concerns(&key.0, &key.1),
    }
}

/// Puts changes into words.
async fn tell(
    db: &impl Database,
    changes: &[Changed<'_>],
    seen: &Sight,
    now_ms: i64,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let keys: BTreeSet<&str> = changes
        .iter()
        .filter(|changed| changed.rule.scope == Scope::Key && changed.key != itself())
        .map(|changed| changed.key.1.as_str())
        .collect();
    let keys: Vec<&str> = keys.into_iter().collect();
    let key_names = if keys.is_empty() { BTreeMap::new() } else { identity::key_names(db, &keys).await? };
    let names: BTreeMap<String, String> =
        identity::tenants(db).await?.into_iter().map(|tenant| (tenant.id, tenant.name)).collect();
    for Changed { rule, key, fingerprint, what } in changes {
        let (tenant_id, route) = key;
        let name = match rule.scope {
            Scope::Key => {
                key_names.get(route).map_or_else(|| route.clone(), |name| format!("{name} ({route})"))
            }
            _ => route.clone(),
        };
        let tenant_name = match tenant_id.as_str() {
            "" => "callers without a key",
            id => names.get(id).map_or(id, String::as_str),
        };
        let subject = Subject { tenant_id, tenant_name, route, name: &name };
        let subject = (*key != SYSTEM && *key != itself()).then_some(&subject);
        let mut close = |id: &str, resolved_ms: i64, told: &Notice, untold: &Notice| {
            let mut notice = json!(told);
            notice["combined"] = json!(untold);
            let rule_id = rule.id.to_string();
            outcome.closed.push(Closed {
                id: id.to_owned(),
                rule_id,
                resolved_ms,
                notice: notice.to_string(),
            });
        };
        let mut open = |notice: Notice, opened_ms: i64, is_flapping: bool| {
            let mut labels: BTreeMap<&str, &str> =
                notice.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            labels.insert("rule", &rule.id);
            labels.insert("severity", notice.severity.word());
            outcome.opened.push(Opened {
                id: notice.episode_id.clone(),
                fingerprint: fingerprint.clone(),
                rule_id: rule.id.to_string(),
                tenant_id: tenant_id.clone(),
                // What else a series can be is in the labels.
                route: if matches!(rule.scope, Scope::Route | Scope::System) {
                    route.clone()
                } else {
                    String::new()
                },
                severity: notice.severity.word().to_owned(),
                summary: notice.summary.clone(),
                labels: json!(labels).to_string(),
                flapping: i64::from(is_flapping),
                opened_ms,
                notice: json!(notice).to_string(),
            });
        };
        match what {
            What::Fired(fired, how) => {
                let id = episode_id(fingerprint, fired.opened_ms);
                let mut notice = firing(rule, &id, subject, fired, how);
                if !how.absent {
                    notice = notice.with_detail(&seen.detail(rule, key, fired.opened_ms));
                }
                if let Some(made) = block(rule, key, &notice, now_ms).filter(|_| !how.absent) {
                    notice.summary += &format!(". {}", made.note);
                    notice.facts.push(("Blocked until".to_owned(), rfc3339(made.block.until_ms)));
                    outcome.blocks.push(made);
                }
                open(notice, fired.opened_ms, how.flapping);
            }
            What::Broken(fired, message) => {
                let id = episode_id(fingerprint, fired.opened_ms);
                let notice = broken(rule, &id, fired, message);
                open(notice, fired.opened_ms, false);
            }
            What::Worsened(fired, how, at_ms) => {
                let id = episode_id(fingerprint, fired.opened_ms);
                let notice =
                    firing(rule, &id, subject, fired, how).with_detail(&seen.detail(rule, key, *at_ms));
                outcome.worsened.push(Worsened {
                    id,
                    rule_id: rule.id.to_string(),
                    severity: notice.severity.word().to_owned(),
                    summary: notice.summary.clone(),
                    notice: json!(notice).to_string(),
                });
            }
            What::Resolved(resolved) => {
                let id = episode_id(fingerprint, resolved.opened_ms);
                let mut told = Notice::resolved(rule, &id, subject, resolved);
                let mut untold = Notice::combined(rule, &id, subject, resolved);
                if resolved.reason == Reason::DataAgain {
                    for notice in [&mut told, &mut untold] {
                        notice.facts.retain(|(name, _)| name != "Worst");
                    }
                }
                close(&id, resolved.resolved_ms, &told, &untold);
            }
            What::Mended(resolved) => {
                let id = episode_id(fingerprint, resolved.opened_ms);
                let told = mended(rule, &id, resolved);
                close(&id, resolved.resolved_ms, &told, &Notice { kind: Kind::Combined, ..told.clone() });
            }
            What::SwitchedOff { opened_ms, at_ms } => {
                let id = episode_id(fingerprint, *opened_ms);
                let told = switched_off(rule, &id, subject, *opened_ms, *at_ms);
                let untold = Notice { kind: Kind::Combined, ..told.clone() };
                close(&id, *at_ms, &told, &untold);
            }
        }
    }
    Ok(())
}

/// An alert fired, with all there is to say of how.
fn firing(rule: &Rule, id: &str, subject: Option<&Subject<'_>>, fired: &Fired, how: &How) -> Notice {
    let is_warning = how.level == Level::Warning;
    let rule = Rule {
        threshold: rule.warning_threshold.filter(|_| is_warning).unwrap_or(rule.threshold),
        severity: if is_warning { Severity::Ticket } else { rule.severity },
        ..rule.clone()
    };
    let mut notice = Notice::firing(&rule, id, subject, fired);
    if let Some(baseline) = how.baseline {
        notice = notice.with_baseline(&rule, baseline);
    }
    if how.absent {
        let whose = subject.map(|subject| subject.whose(rule.scope)).unwrap_or_default();
        let on = subject.map(|subject| subject.place(rule.scope)).unwrap_or_default();
        notice.summary = format!("{whose}no data for {} min{on}, which {} needs", fired.value, rule.id);
        notice.facts.truncate(leading(&rule, subject));
        notice.facts.push(("Without data".to_owned(), format!("{} min", fired.value)));
    }
    if how.flapping {
        notice.summary += ". It changes sides so often that it is held open until it is calm";
        notice.facts.push(("Flapping".to_owned(), format!("more than {MOST_TURNS} changes within an hour")));
    }
    notice
}

/// A rule could not look.
fn broken(rule: &Rule, id: &str, fired: &Fired, message: &str) -> Notice {
    let mut notice = Notice::firing(rule, id, None, fired);
    notice.severity = Severity::Ticket;
    notice.title = "A rule cannot be evaluated".to_owned();
    notice.summary =
        format!("the rule {} cannot be evaluated, for {BROKEN_MINUTES} minutes now: {message}", rule.id);
    notice.facts = vec![("Rule".to_owned(), rule.id.to_string())];
    notice.labels = vec![("watch".to_owned(), "rule".to_owned())];
    notice
}

/// A rule can look again.
fn mended(rule: &Rule, id: &str, resolved: &Resolved) -> Notice {
    let fired = Fired { since_ms: resolved.since_ms, opened_ms: resolved.opened_ms, value: 0.0, count: 0 };
    Notice {
        kind: Kind::Resolved,
        summary: format!("the rule {} can be evaluated again", rule.id),
        ended_ms: Some(resolved.resolved_ms),
        occurred_ms: resolved.resolved_ms,
        ..broken(rule, id, &fired, "")
    }
}

/// An alert ended because its rule did.
fn switched_off(rule: &Rule, id: &str, subject: Option<&Subject<'_>>, opened_ms: i64, at_ms: i64) -> Notice {
    // For the labels and the heading; what was measured is of no interest any more.
    let fired = Fired { since_ms: opened_ms, opened_ms, value: 0.0, count: 0 };
    let mut notice = Notice::firing(rule, id, subject, &fired);
    notice.facts.truncate(leading(rule, subject));
    let whose = subject.map(|subject| subject.whose(rule.scope)).unwrap_or_default();
    let on = subject.map(|subject| subject.place(rule.scope)).unwrap_or_default();
    Notice {
        kind: Kind::Resolved,
        summary: format!("{whose}the rule {} was switched off while its alert{on} was open", rule.id),
        ended_ms: Some(at_ms),
        occurred_ms: at_ms,
        ..notice
    }
}

/// How many facts say what a notice is about, before those that say what was seen.
fn leading(rule: &Rule, subject: Option<&Subject<'_>>) -> usize {
    subject.map_or(0, |_| 1 + usize::from(rule.scope.has_tenant()))
}

/// Whom the rule refuses, if it refuses anybody.
fn block(rule: &Rule, (tenant_id, subject): &Key, notice: &Notice, now_ms: i64) -> Option<NewBlock> {
    let minutes = rule.block_minutes?;
    let (kind, what) = match rule.scope {
        Scope::Key => ("key", "key"),
        Scope::Source => ("source", "network"),
        _ => return None,
    };
    let until_ms = now_ms + minutes * MINUTE_MS;
    let block = Block {
        id: format!("blk_{}", notice.episode_id.trim_start_matches("ep_")),
        kind: kind.to_owned(),
        tenant_id: tenant_id.clone(),
        subject: subject.clone(),
        reason: notice.summary.clone(),
        rule_id: Some(rule.id.to_string()),
        episode_id: Some(notice.episode_id.clone()),
        actor: None,
        created_ms: now_ms,
        until_ms,
        lifted_ms: None,
        lifted_by: None,
    };
    Some(NewBlock { block, note: format!("The {what} {subject} is refused until {}", rfc3339(until_ms)) })
}

fn fingerprint_of(rule: &Rule, (tenant_id, route): &(String, String)) -> String {
    match rule.scope {
        Scope::System => fingerprint(&rule.id, &[]),
        scope => fingerprint(&rule.id, &[("tenant_id", tenant_id), (scope.label(), route)]),
    }
}

/// The series of the rule itself.
fn itself() -> Key {
    (String::new(), "(the rule itself)".to_owned())
}

/// How long the records of a minute may take to arrive.
const SETTLE_MS: i64 = 30_000;

/// How many missed minutes are caught up with.
const MOST_MINUTES: i64 = 15;
