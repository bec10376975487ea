//! The rules, evaluated: minute after minute, from the rollups to alerts, episodes and notices.
//!
//! A minute is looked at once its calls had half a minute to arrive. Missed minutes are looked at later,
//! in order, up to a quarter of an hour of them. Everything that evaluation came to is written in one
//! transaction, for each rule only if it still stands at the minute where evaluation began.

use std::collections::{BTreeMap, BTreeSet};

use hypercare::{
    alert::{Change, Fired, Resolved, State, episode_id, fingerprint, step},
    detect::{Minute, observe, series},
    notice::{Kind, Notice, Subject},
    rule::{Measure, Override, Rule, Scope, default_pack, shipped},
    time::{MINUTE_MS, minute_of},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    Error, Host,
    ports::Database,
    store::{
        alerts::{self, Advance, Alert, Closed, Inactive, Opened, Outcome, Standing, StoredOverride},
        identity,
        rollups::{self, Watched},
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

/// Evaluates every rule for every minute that is complete and was not evaluated yet. If the newest minutes
/// are not `counted`, the rules on calls stay where they are.
pub async fn evaluate<H: Host>(host: &H, now_ms: i64, counted: bool) -> Result<Evaluation, Error> {
    let Standing { overrides, evaluated, alerts } = alerts::standing(host).await?;
    let rules: Vec<Rule> = default_pack()
        .into_iter()
        .map(|rule| {
            let stored = overrides.iter().find(|stored| stored.rule_id == rule.id);
            merged(&rule, stored).map_or(rule, |(rule, _)| rule)
        })
        .collect();
    let to_ms = minute_of(now_ms - SETTLE_MS) - MINUTE_MS;
    let oldest_ms = to_ms - (MOST_MINUTES - 1) * MINUTE_MS;
    let due: Vec<Due<'_>> = rules
        .iter()
        .filter(|rule| counted || rule.scope == Scope::System)
        .filter_map(|rule| {
            let stood = evaluated.iter().find(|evaluated| evaluated.rule_id == rule.id);
            let from_ms = stood.map_or(to_ms - MINUTE_MS, |stood| stood.minute_ms);
            // It stands far ahead: a clock went wrong. It goes on from here.
            let is_ahead = from_ms > to_ms + CLOCK_ERROR_MS;
            let first_ms = if is_ahead { to_ms } else { (from_ms + MINUTE_MS).max(oldest_ms) };
            (first_ms <= to_ms).then_some(Due { rule, from_ms, first_ms, to_ms })
        })
        .collect();
    let Some(first_ms) = due.iter().map(|due| due.first_ms).min() else { return Ok(Evaluation::default()) };

    let minutes_seen = |silence: bool| {
        let seen =
            due.iter().filter(|due| due.rule.enabled && (due.rule.measure == Measure::Silence) == silence);
        seen.map(|due| due.rule.history_minutes()).max().unwrap_or(1)
    };
    let since_ms = |minutes: i64| first_ms - (minutes - 1) * MINUTE_MS;
    let activity_ms = since_ms(minutes_seen(true));
    let watched = rollups::watched(host, since_ms(minutes_seen(false)), activity_ms, to_ms).await?;
    let seen = Seen::of(watched, activity_ms)?;

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
        for unreadable in evaluate_rule(due, stored, &seen, &shut_out, &mut outcome, &mut changes) {
            host.log(&format!("alert {unreadable}: its stored state cannot be read; it stays as it is"));
        }
    }
    tell(host, &changes, &mut outcome).await?;
    let advanced = alerts::write(host, &outcome, now_ms).await?;

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

/// A rule as it holds here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleView {
    /// The shipped rule with the deployment's changes.
    #[serde(flatten)]
    pub rule: Rule,
    /// The changes; none: it is as shipped.
    pub overrides: Option<Override>,
    /// When they were made, unix milliseconds.
    pub updated_ms: Option<i64>,
}

/// Every rule as it holds here.
pub async fn rules(db: &impl Database) -> Result<Vec<RuleView>, Error> {
    let stored = alerts::overrides(db).await?;
    let view = |rule: Rule| {
        let stored = stored.iter().find(|stored| stored.rule_id == rule.id);
        match merged(&rule, stored).zip(stored) {
            Some(((rule, overrides), stored)) => {
                RuleView { rule, overrides: Some(overrides), updated_ms: Some(stored.updated_ms) }
            }
            None => RuleView { rule, overrides: None, updated_ms: None },
        }
    };
    Ok(default_pack().into_iter().map(view).collect())
}

/// Changes a rule, in place of what was changed about it before. Episodes of a rule that is switched off
/// are closed by the next tick.
pub async fn put_override(
    db: &impl Database,
    rule_id: &str,
    settings: &Override,
    now_ms: i64,
) -> Result<RuleView, Error> {
    let shipped = shipped(rule_id).ok_or_else(|| Error::NotFound(format!("rule {rule_id}")))?;
    let rule = shipped.with(settings)?;
    let json = serde_json::to_string(settings).expect("an override is JSON");
    alerts::put_override(db, rule_id, &json, now_ms).await?;
    Ok(RuleView { rule, overrides: Some(settings.clone()), updated_ms: Some(now_ms) })
}

/// The rule with what is stored about it. What this release cannot read, or would not allow, is left out.
fn merged(rule: &Rule, stored: Option<&StoredOverride>) -> Option<(Rule, Override)> {
    let overrides = Override::parse(stored?.settings.as_bytes()).ok()?;
    Some((rule.with(&overrides).ok()?, overrides))
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

/// Minutes by tenant and route.
type SeriesMinutes = BTreeMap<(String, String), Vec<(i64, Minute)>>;

/// What there is to see.
#[derive(Default)]
struct Seen {
    calls: SeriesMinutes,
    activity: SeriesMinutes,
    losses: SeriesMinutes,
}

impl Seen {
    fn of(watched: Watched, activity_ms: i64) -> Result<Self, Error> {
        let mut seen = Self::default();
        for row in watched.series {
            let minute = Minute {
                calls: row.calls,
                errors: row.errors,
                wait_count: row.wait_count,
                wait_sum_ms: row.wait_sum_ms,
                ..Minute::default()
            };
            seen.calls.entry((row.tenant_id, row.route)).or_default().push((row.bucket_ms, minute));
        }
        for row in watched.activity {
            let minutes: Vec<i64> = serde_json::from_str(&row.minutes).map_err(|error| {
                crate::ports::PortError::new("database", format!("unexpected activity: {error}"))
            })?;
            let called = Minute { calls: 1, ..Minute::default() };
            let minutes =
                minutes.into_iter().map(|minute| (activity_ms + minute * MINUTE_MS, called)).collect();
            seen.activity.insert((row.tenant_id, row.route), minutes);
        }
        let losses = watched
            .losses
            .into_iter()
            .map(|row| (row.minute_ms, Minute { lost: row.lost, ..Minute::default() }));
        // One series, there or not.
        seen.losses.insert(SYSTEM, losses.collect());
        Ok(seen)
    }

    fn by(&self, rule: &Rule) -> &SeriesMinutes {
        match (rule.scope, rule.measure) {
            (Scope::System, _) => &self.losses,
            (Scope::Route, Measure::Silence) => &self.activity,
            (Scope::Route, _) => &self.calls,
        }
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
    Fired(Fired),
    Resolved(Resolved),
    /// The rule was switched off, or its tenant shut out, while the alert was open.
    SwitchedOff {
        opened_ms: i64,
        at_ms: i64,
    },
}

/// Steps every series of a rule through its minutes. Returns the fingerprints of those whose stored state
/// cannot be read.
fn evaluate_rule<'a>(
    due: &Due<'a>,
    stored: impl Iterator<Item = &'a Alert>,
    seen: &Seen,
    shut_out: &BTreeSet<String>,
    outcome: &mut Outcome,
    changes: &mut Vec<Changed<'a>>,
) -> Vec<&'a str> {
    let rule = due.rule;
    let stored: BTreeMap<(String, String), &Alert> =
        stored.map(|alert| ((alert.tenant_id.clone(), alert.route.clone()), alert)).collect();
    let seen = seen.by(rule);
    // Series with calls, and those with a state, which must go on even if there is nothing to see.
    let keys: BTreeSet<&(String, String)> =
        if rule.enabled { seen.keys().chain(stored.keys()).collect() } else { stored.keys().collect() };
    let mut unreadable = Vec::new();
    for key in keys {
        let alert = stored.get(key).copied();
        let mut state = match alert.map(|alert| serde_json::from_str::<State>(&alert.memory)) {
            None => State::default(),
            Some(Ok(state)) => state,
            Some(Err(_)) => {
                unreadable.extend(alert.map(|alert| alert.fingerprint.as_str()));
                continue;
            }
        };
        let fingerprint = alert.map_or_else(|| fingerprint_of(rule, key), |alert| alert.fingerprint.clone());
        let mut changed = |what| {
            changes.push(Changed { rule, key: key.clone(), fingerprint: fingerprint.clone(), what });
        };
        if rule.enabled && !shut_out.contains(&key.0) {
            let minutes = seen.get(key).map_or(&[][..], Vec::as_slice);
            for minute_ms in (due.first_ms..=due.to_ms).step_by(MINUTE_MS as usize) {
                let history = series(minutes.iter().copied(), minute_ms, rule.history_minutes());
                let observation = observe(rule, &history, state.is_firing());
                let (next, change) = step(rule, state, observation, minute_ms);
                state = next;
                match change {
                    None => {}
                    Some(Change::Fired(fired)) => changed(What::Fired(fired)),
                    Some(Change::Resolved(resolved)) => changed(What::Resolved(resolved)),
                }
            }
        } else {
            if let Some(opened_ms) = state.opened_ms() {
                changed(What::SwitchedOff { opened_ms, at_ms: due.to_ms });
            }
            state = State::default();
        }
        let rule_id = rule.id.to_string();
        if !state.is_inactive() {
            let memory = serde_json::to_string(&state).expect("a state is JSON");
            let (tenant_id, route) = key.clone();
            outcome.alerts.push(Alert {
                fingerprint,
                rule_id,
                tenant_id,
                route,
                state: state.word().to_owned(),
                memory,
            });
        } else if alert.is_some() {
            outcome.inactive.push(Inactive { fingerprint, rule_id });
        }
    }
    unreadable
}

/// Puts changes into words.
async fn tell(db: &impl Database, changes: &[Changed<'_>], outcome: &mut Outcome) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let names: BTreeMap<String, String> =
        identity::tenants(db).await?.into_iter().map(|tenant| (tenant.id, tenant.name)).collect();
    for Changed { rule, key, fingerprint, what } in changes {
        let (tenant_id, route) = key;
        let tenant_name = match tenant_id.as_str() {
            "" => "callers without a key",
            id => names.get(id).map_or(id, String::as_str),
        };
        let subject = Subject { tenant_id, tenant_name, route };
        let subject = (*key != SYSTEM).then_some(&subject);
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
        match what {
            What::Fired(fired) => {
                let id = episode_id(fingerprint, fired.opened_ms);
                let notice = Notice::firing(rule, &id, subject, fired);
                outcome.opened.push(Opened {
                    id,
                    fingerprint: fingerprint.clone(),
                    rule_id: rule.id.to_string(),
                    tenant_id: tenant_id.clone(),
                    route: route.clone(),
                    severity: rule.severity.word().to_owned(),
                    summary: notice.summary.clone(),
                    opened_ms: fired.opened_ms,
                    notice: json!(notice).to_string(),
                });
            }
            What::Resolved(resolved) => {
                let id = episode_id(fingerprint, resolved.opened_ms);
                let told = Notice::resolved(rule, &id, subject, resolved);
                close(&id, resolved.resolved_ms, &told, &Notice::combined(rule, &id, subject, resolved));
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

/// An alert ended because its rule did.
fn switched_off(rule: &Rule, id: &str, subject: Option<&Subject<'_>>, opened_ms: i64, at_ms: i64) -> Notice {
    // For the labels and the heading; what was measured is of no interest any more.
    let fired = Fired { since_ms: opened_ms, opened_ms, value: 0.0, count: 0 };
    let mut notice = Notice::firing(rule, id, subject, &fired);
    notice.facts.truncate(if subject.is_some() { 2 } else { 0 });
    let whose = subject.map(|subject| format!("{}: ", subject.tenant_name)).unwrap_or_default();
    let on = subject.map(|subject| format!(" on {}", subject.route)).unwrap_or_default();
    Notice {
        kind: Kind::Resolved,
        summary: format!("{whose}the rule {} was switched off while its alert{on} was open", rule.id),
        ended_ms: Some(at_ms),
        occurred_ms: at_ms,
        ..notice
    }
}

fn fingerprint_of(rule: &Rule, (tenant_id, route): &(String, String)) -> String {
    match rule.scope {
        Scope::Route => fingerprint(&rule.id, &[("tenant_id", tenant_id), ("route", route)]),
        Scope::System => fingerprint(&rule.id, &[]),
    }
}

/// The series of a rule on the gateway as a whole.
const SYSTEM: (String, String) = (String::new(), String::new());

/// How long the records of a minute may take to arrive.
const SETTLE_MS: i64 = 30_000;

/// How many missed minutes are caught up with.
const MOST_MINUTES: i64 = 15;
