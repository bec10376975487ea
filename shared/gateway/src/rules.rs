//! The rules that hold here: the shipped ones with what was changed about them, and those of one's own.
//! What a rule would have told in the past, and how well each did.

use hypercare::{
    FieldError,
    alert::{Change, State, step},
    detect::Observation,
    rule::{Override, Rule, Side, default_pack, shipped},
    time::{MINUTE_MS, minute_of},
};
use serde::Serialize;

use crate::{
    Error, Host,
    ports::Database,
    sight::{Key, Look, SYSTEM, Sight},
    store::{
        alerts::{self, StoredOverride},
        rules::{self, Record, StoredRule},
    },
};

/// A rule as it holds here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleView {
    /// The rule; a shipped one with the deployment's changes.
    #[serde(flatten)]
    pub rule: Rule,
    /// Whether it is one of the shipped ones.
    pub shipped: bool,
    /// What was changed about a shipped rule; none: it is as shipped.
    pub overrides: Option<Override>,
    /// When it was changed, or made, unix milliseconds.
    pub updated_ms: Option<i64>,
}

/// Every rule as it holds here.
pub async fn list(db: &impl Database) -> Result<Vec<RuleView>, Error> {
    let stored = alerts::overrides(db).await?;
    let view = |rule: Rule| {
        let stored = stored.iter().find(|stored| stored.rule_id == rule.id);
        match merged(&rule, stored).zip(stored) {
            Some(((rule, overrides), stored)) => RuleView {
                rule,
                shipped: true,
                overrides: Some(overrides),
                updated_ms: Some(stored.updated_ms),
            },
            None => RuleView { rule, shipped: true, overrides: None, updated_ms: None },
        }
    };
    let mut views: Vec<RuleView> = default_pack().into_iter().map(view).collect();
    let own = rules::all(db).await?;
    // One that this release cannot read is not evaluated either; the tick says so.
    views.extend(own.iter().filter(|stored| stored.deleted_ms.is_none()).filter_map(|stored| {
        Some(own_view(Rule::parse(&stored.id, stored.definition.as_bytes()).ok()?, stored.updated_ms))
    }));
    Ok(views)
}

/// Adds a rule of one's own.
pub async fn create<H: Host>(host: &H, definition: &[u8]) -> Result<RuleView, Error> {
    let now_ms = host.now_ms();
    let id = host.memory().new_id("ru_", now_ms, host);
    let rule = Rule::parse(&id, definition)?;
    if !rules::add(host, &id, &String::from_utf8_lossy(definition), now_ms, MOST_RULES).await? {
        return Err(FieldError {
            field: "body",
            message: format!("cannot be added: there are {MOST_RULES} rules already"),
        }
        .into());
    }
    Ok(own_view(rule, now_ms))
}

/// Changes a rule: a shipped one in place of what was changed about it before, one of one's own as a
/// whole. Episodes of a rule that is switched off are closed by the next tick.
pub async fn put(db: &impl Database, rule_id: &str, json: &[u8], now_ms: i64) -> Result<RuleView, Error> {
    if shipped(rule_id).is_some() {
        return put_override(db, rule_id, &Override::parse(json)?, now_ms).await;
    }
    let stored = rules::all(db).await?;
    if !stored.iter().any(|stored| stored.id == rule_id && stored.deleted_ms.is_none()) {
        return Err(unknown(rule_id));
    }
    let rule = Rule::parse(rule_id, json)?;
    if !rules::change(db, rule_id, &String::from_utf8_lossy(json), now_ms).await? {
        return Err(unknown(rule_id));
    }
    Ok(own_view(rule, now_ms))
}

/// Changes a shipped rule, in place of what was changed about it before.
pub async fn put_override(
    db: &impl Database,
    rule_id: &str,
    settings: &Override,
    now_ms: i64,
) -> Result<RuleView, Error> {
    let rule = shipped(rule_id).ok_or_else(|| unknown(rule_id))?.with(settings)?;
    let json = serde_json::to_string(settings).expect("an override is JSON");
    alerts::put_override(db, rule_id, &json, now_ms).await?;
    Ok(RuleView { rule, shipped: true, overrides: Some(settings.clone()), updated_ms: Some(now_ms) })
}

/// Deletes a rule of one's own. Its episodes are closed by the next tick.
pub async fn delete(db: &impl Database, rule_id: &str, now_ms: i64) -> Result<(), Error> {
    if shipped(rule_id).is_some() {
        let message = "is shipped: it can be switched off, not deleted".to_owned();
        return Err(FieldError { field: "rule", message }.into());
    }
    if rules::delete(db, rule_id, now_ms).await? { Ok(()) } else { Err(unknown(rule_id)) }
}

/// The rules to evaluate. Those that were deleted are among them, switched off, so that what is open of
/// them ends. Returns those as well that cannot be read, and why.
pub(crate) fn in_force(
    overrides: &[StoredOverride],
    own: &[StoredRule],
) -> (Vec<Rule>, Vec<(String, FieldError)>) {
    let shipped = default_pack().into_iter().map(|rule| {
        let stored = overrides.iter().find(|stored| stored.rule_id == rule.id);
        merged(&rule, stored).map_or(rule, |(rule, _)| rule)
    });
    let mut rules: Vec<Rule> = shipped.collect();
    let mut unreadable = Vec::new();
    for stored in own {
        match Rule::parse(&stored.id, stored.definition.as_bytes()) {
            Ok(rule) => {
                let enabled = rule.enabled && stored.deleted_ms.is_none();
                rules.push(Rule { enabled, ..rule });
            }
            Err(error) => unreadable.push((stored.id.clone(), error)),
        }
    }
    (rules, unreadable)
}

/// What a rule would have told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// The rule.
    pub rule: Rule,
    /// The first minute looked at, unix milliseconds.
    pub from_ms: i64,
    /// The last.
    pub to_ms: i64,
    /// How many series it looked at.
    pub series: usize,
    /// How often it looked and had enough calls to say.
    pub looks: usize,
    /// The alerts there would have been, in order.
    pub episodes: Vec<Told>,
    /// The threshold that one look in a thousand would have been beyond; none if it never had enough calls.
    pub suggested_threshold: Option<f64>,
}

/// An alert there would have been.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// Whose calls; none if it is no one tenant's.
    pub tenant_id: Option<String>,
    /// Which route, or what else the rule looks at one by one; none for the gateway as a whole.
    pub route: Option<String>,
    /// When it would have fired, unix milliseconds.
    pub fired_ms: i64,
    /// When it would have been resolved; none if it never was.
    pub resolved_ms: Option<i64>,
    /// The measure when it fired.
    pub value: f64,
    /// The calls it was taken from.
    pub count: i64,
    /// The worst measure; none while it is open.
    pub worst: Option<f64>,
}

/// Runs a rule over the minutes from `from_ms` to `to_ms`, which must not be more than a day.
pub async fn preview<H: Host>(host: &H, rule: &Rule, from_ms: i64, to_ms: i64) -> Result<Preview, Error> {
    let (first_ms, to_ms) = (minute_of(from_ms), minute_of(to_ms));
    if to_ms < first_ms || to_ms - first_ms > MOST_PREVIEW_MS {
        return Err(
            FieldError { field: "from", message: "must be at most a day before to".to_owned() }.into()
        );
    }
    let rule = Rule { enabled: true, ..rule.clone() };
    let sight = Sight::read(host, &[Look { rule: &rule, first_ms, to_ms }]).await?;
    let keys = sight.keys(&rule);
    let mut preview = Preview {
        rule: rule.clone(),
        from_ms: first_ms,
        to_ms,
        series: keys.len(),
        looks: 0,
        episodes: Vec::new(),
        suggested_threshold: None,
    };
    let mut values = Vec::new();
    for key in &keys {
        replay(&rule, &sight, key, &mut preview, &mut values);
    }
    preview.looks = values.len();
    preview.episodes.sort_by_key(|told| told.fired_ms);
    preview.suggested_threshold = suggested(&mut values, rule.side);
    Ok(preview)
}

/// Steps one series through the minutes.
fn replay(rule: &Rule, sight: &Sight, key: &Key, preview: &mut Preview, values: &mut Vec<f64>) {
    let name = |name: &String| (*key != SYSTEM).then(|| name.clone());
    let mut state = State::default();
    let mut open: Option<Told> = None;
    let minutes = (preview.from_ms..=preview.to_ms).step_by(MINUTE_MS as usize);
    for minute_ms in minutes.filter(|minute_ms| rule.looks_at(*minute_ms)) {
        let seen = sight.observe(rule, key, minute_ms, state.is_firing());
        if let Observation::Breached { value, .. } | Observation::Healthy { value, .. } = seen {
            values.push(value);
        }
        let (next, change) = step(rule, state, seen, minute_ms);
        state = next;
        match change {
            Some(Change::Fired(fired, ..)) => {
                open = Some(Told {
                    tenant_id: name(&key.0).filter(|_| rule.scope.has_tenant()),
                    route: name(&key.1),
                    fired_ms: fired.opened_ms,
                    resolved_ms: None,
                    value: fired.value,
                    count: fired.count,
                    worst: None,
                });
            }
            Some(Change::Resolved(resolved)) => {
                preview.episodes.extend(open.take().map(|told| Told {
                    resolved_ms: Some(resolved.resolved_ms),
                    worst: Some(resolved.worst),
                    ..told
                }));
            }
            _ => {}
        }
    }
    preview.episodes.extend(open);
}

/// The value that one in a thousand is worse than.
fn suggested(values: &mut [f64], side: Side) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    if side == Side::Below {
        values.reverse();
    }
    let last = values.len().checked_sub(1)?;
    values.get(last - values.len() / 1_000).copied()
}

/// How well a rule does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    /// Which rule.
    pub rule_id: String,
    /// Whether it is evaluated.
    pub enabled: bool,
    /// Episodes that opened.
    pub fires: i64,
    /// Those of them that opened within an hour after the one before on the same series was resolved.
    pub flaps: i64,
    /// Those that somebody took.
    pub acknowledged: i64,
    /// Those that are open.
    pub open: i64,
    /// How long those that are over lasted on average, in minutes.
    pub mean_minutes: Option<f64>,
    /// When the newest opened, unix milliseconds.
    pub last_fired_ms: Option<i64>,
    /// `never_fired`: a preview with a lower threshold shows what it misses. `flaps`: a resolve threshold or
    /// more minutes of keep-firing make one episode of many. None: nothing to say.
    pub advice: Option<&'static str>,
}

/// How well each rule did since then.
pub async fn quality(db: &impl Database, since_ms: i64) -> Result<Vec<Quality>, Error> {
    let records = rules::records(db, since_ms).await?;
    let quality = |view: RuleView| {
        let record = records.iter().find(|record| record.rule_id == view.rule.id);
        let of = |count: fn(&Record) -> i64| record.map_or(0, count);
        let (fires, flaps) = (of(|record| record.fires), of(|record| record.flaps));
        let advice = match (view.rule.enabled, fires) {
            (true, 0) => Some("never_fired"),
            // More than three in a burst are held together.
            (true, 3..) if flaps * 2 > fires => Some("flaps"),
            _ => None,
        };
        Quality {
            rule_id: view.rule.id.to_string(),
            enabled: view.rule.enabled,
            fires,
            flaps,
            acknowledged: of(|record| record.acknowledged),
            open: of(|record| record.open),
            mean_minutes: record.and_then(|record| record.mean_minutes),
            last_fired_ms: record.map(|record| record.last_ms),
            advice,
        }
    };
    Ok(list(db).await?.into_iter().map(quality).collect())
}

/// The rule with what is stored about it. What this release cannot read, or would not allow, is left out.
fn merged(rule: &Rule, stored: Option<&StoredOverride>) -> Option<(Rule, Override)> {
    let overrides = Override::parse(stored?.settings.as_bytes()).ok()?;
    Some((rule.with(&overrides).ok()?, overrides))
}

fn own_view(rule: Rule, updated_ms: i64) -> RuleView {
    RuleView { rule, shipped: false, overrides: None, updated_ms: Some(updated_ms) }
}

fn unknown(rule_id: &str) -> Error {
    Error::NotFound(format!("rule {rule_id}"))
}

/// Each is looked at every minute.
const MOST_RULES: i64 = 50;
const MOST_PREVIEW_MS: i64 = 24 * 60 * MINUTE_MS;
