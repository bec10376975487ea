//! Alert rules: what is measured, when that is a breach, and for how long it must last.
//!
//! Some are shipped and switched on; their numbers may be overridden, each within limits. Others are a deployment's own.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::FieldError;
pub use crate::measure::Measure;
use crate::measure::{Column, Timing, Unit};
use crate::stats::{burn::SEVEN_DAYS, surge::WEEK};
use crate::time::MINUTE_MS;

/// One alert rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    /// Stable name, part of every fingerprint.
    pub id: Cow<'static, str>,
    /// What a notice is headed with.
    pub title: Cow<'static, str>,
    /// Whether the rule is evaluated at all.
    pub enabled: bool,
    /// What is measured.
    pub measure: Measure,
    /// How that is judged.
    pub method: Method,
    /// The measure is breached beyond this; `Measure::Silence` says how it differs.
    pub threshold: f64,
    /// Beyond this, and not beyond the threshold, the breach is a warning; nothing means that none is.
    pub warning_threshold: Option<f64>,
    /// A firing alert is healthy unless it is beyond this; nothing means the lowest of the thresholds.
    pub resolve_threshold: Option<f64>,
    /// On which side of its thresholds the measure is beyond them.
    pub side: Side,
    /// Fewer calls than this in the window do not open an alert. They may keep one open.
    pub min_count: i64,
    /// How many minutes are measured together.
    pub window_minutes: i64,
    /// How many evaluated minutes a breach must have lasted; 0 fires at the first.
    pub for_minutes: i64,
    /// How many evaluated minutes must have been healthy before an alert resolves; 0 resolves at the first.
    pub keep_firing_minutes: i64,
    /// What a minute means that has too few calls to say.
    pub no_data: NoData,
    /// Whom it concerns.
    pub severity: Severity,
    /// What has a state of its own.
    pub scope: Scope,
    /// Only this tenant's calls; nothing means everybody's.
    pub tenant_id: Option<String>,
    /// Only calls to this route; nothing means all.
    pub route: Option<String>,
    /// For how long what it fires on, a key or a network, is refused; nothing means not at all.
    pub block_minutes: Option<i64>,
}

/// How a rule judges what it measures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Method {
    /// Against what is usual at this hour of the week: thresholds are in spreads, above or below it.
    Anomaly,
    /// How fast the budget burns that the objective leaves, over the pairs of windows of
    /// `stats::burn::SEVEN_DAYS`: thresholds are in multiples of a pair's rate.
    BurnRate {
        /// The share of calls that are to be good. The measure is the share that is bad.
        objective: f64,
    },
    /// Whether durations are spread as they were in the week before the day judged: thresholds are
    /// population stability indices.
    Drift,
    /// By its share of what the hour before the window would make of it.
    Drop,
    /// How near an hour's load is to that from which on, in the week before, the measure grew faster: thresholds are in
    /// multiples of that load.
    Knee,
    /// By how much it is greater in a part of the calls (of one model, key, region, release, tag) than in all others of
    /// the tenant, in an hour; differences that chance makes are left out.
    Segments,
    /// Whether small differences from what is usual add up (CUSUM): thresholds are in spreads.
    Shift,
    /// Against the limit that a count of the week before sets for an hour: thresholds are in multiples of it.
    Surge,
    /// Against the thresholds themselves.
    Threshold,
    /// When a lasting trend of days reaches a limit: thresholds are in days from now.
    Trend {
        /// The limit, in the unit of the measure.
        limit: f64,
    },
}

/// On which side of a threshold a measure is beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Greater values are worse.
    Above,
    /// Smaller values are worse.
    Below,
}

impl Side {
    /// Whether a value is beyond a threshold. A value at it is not.
    pub fn is_beyond(self, value: f64, threshold: f64) -> bool {
        match self {
            Side::Above => value > threshold,
            Side::Below => value < threshold,
        }
    }

    /// The worse of two values.
    pub fn worse(self, a: f64, b: f64) -> f64 {
        match self {
            Side::Above => a.max(b),
            Side::Below => a.min(b),
        }
    }
}

/// What a minute means that has too few calls to say. Stored and sent as `zero`, `last`, `show`, or
/// `{"notify":10}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    /// What the minute before meant.
    Last,
    /// That this many of them in a row are an alert.
    Notify(i64),
    /// Nothing; it is shown as it is. Enough of them end an alert.
    Show,
    /// That the measure is zero.
    Zero,
}

/// Whether somebody should get up, or look at it in the morning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Now.
    Page,
    /// In working hours.
    Ticket,
}

/// What a rule watches one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Each error that is the same one, whoever meets it.
    Fault,
    /// Each part of each tenant's calls.
    Part,
    /// Each provider, whoever calls it.
    Provider,
    /// Each key.
    Key,
    /// Each tenant's calls to each route.
    Route,
    /// Each network that a tenant's calls come from.
    Source,
    /// The gateway as a whole; alerts carry no tenant.
    System,
    /// Each way in which a provider answers.
    Trait,
}

impl Scope {
    /// What a series is called, as a label.
    pub fn label(self) -> &'static str {
        match self {
            Scope::Fault => "error",
            Scope::Key => "key",
            Scope::Part => "part",
            Scope::Provider => "provider",
            Scope::Route | Scope::System => "route",
            Scope::Source => "source",
            Scope::Trait => "change",
        }
    }

    /// The same to people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Scope::Fault => "Error",
            Scope::Key => "Key",
            Scope::Part => "Part",
            Scope::Provider => "Provider",
            Scope::Route | Scope::System => "Route",
            Scope::Source => "Network",
            Scope::Trait => "Answers",
        }
    }

    /// Whether a series is one tenant's.
    pub fn has_tenant(self) -> bool {
        matches!(self, Scope::Key | Scope::Part | Scope::Route | Scope::Source)
    }

    /// The provider that a series is about.
    pub(crate) fn provider_of(self, series: &str) -> Option<&str> {
        match self {
            Scope::Provider => Some(series),
            Scope::Fault | Scope::Trait => series.split(' ').next().filter(|name| *name != "gateway"),
            Scope::Part => match series.split_once('=')? {
                ("model", model) => model.split('/').next(),
                ("provider", provider) => Some(provider),
                _ => None,
            },
            Scope::Key | Scope::Route | Scope::Source | Scope::System => None,
        }
    }
}

/// What of the rollups a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Past {
    /// In how many minutes of these there were calls, whatever calls.
    Activity(i64),
    /// What was counted on these days, today left out.
    Days(i64),
    /// What was refused, network by network, in these minutes.
    Denied(i64),
    /// The histograms of the day that is over and of the week before it.
    Distribution(Timing),
    /// Errors that were the same one, in these hours.
    Faults(i64),
    /// The histogram of these minutes.
    Histogram(Timing, i64),
    /// What was counted in these hours, the one that goes on among them.
    Hours(i64),
    /// How often each key was called: in the day that is over, hour by hour, and on these days before it.
    Keys(i64),
    /// The records lost in these minutes.
    Losses(i64),
    /// What was counted in these minutes.
    Minutes(i64),
    /// Which models were called within a day.
    Models,
    /// What was seen of providers for the first time in the hour that is over.
    News,
    /// The parts of the calls of the hour that is over.
    Parts,
    /// How large the database was, day by day.
    Sizes,
    /// Where keys are called from.
    Sources(Origin),
}

/// By what a place is told from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The country.
    Country,
    /// The network.
    Network,
}

impl Origin {
    /// As stored.
    pub fn word(self) -> &'static str {
        match self {
            Origin::Country => "country",
            Origin::Network => "network",
        }
    }
}

/// A rule to begin with.
fn common() -> Rule {
    Rule {
        id: "".into(),
        title: "".into(),
        enabled: true,
        measure: Measure::ErrorShare,
        method: Method::Threshold,
        threshold: 0.0,
        warning_threshold: None,
        resolve_threshold: None,
        side: Side::Above,
        min_count: 1,
        window_minutes: 5,
        for_minutes: 0,
        keep_firing_minutes: 5,
        no_data: NoData::Show,
        severity: Severity::Page,
        scope: Scope::Route,
        tenant_id: None,
        route: None,
        block_minutes: None,
    }
}

/// A rule on the share of errors, to compare parts of the calls by.
pub fn on_errors() -> Rule {
    common()
}

/// The shipped rules.
pub fn default_pack() -> Vec<Rule> {
    let common = common();
    vec![
        Rule {
            id: "error-share".into(),
            title: "High 5xx share".into(),
            measure: Measure::ErrorShare,
            threshold: 0.01,
            min_count: 50,
            for_minutes: 5,
            severity: Severity::Ticket,
            ..common.clone()
        },
        Rule {
            id: "no-calls".into(),
            title: "Calls have stopped".into(),
            measure: Measure::Silence,
            threshold: 0.5,
            window_minutes: 10,
            // As long as the window, so that one stray call does not count as calls being back.
            keep_firing_minutes: 10,
            ..common.clone()
        },
        Rule {
            id: "records-lost".into(),
            title: "Call records were lost".into(),
            measure: Measure::Lost,
            scope: Scope::System,
            ..common.clone()
        },
        Rule {
            id: "slow-response".into(),
            title: "Slow responses".into(),
            measure: Measure::MeanWait,
            threshold: 500.0,
            // Four a minute: below that, the mean is the story of single calls.
            min_count: 20,
            for_minutes: 10,
            ..common.clone()
        },
        Rule {
            id: "slow-tail".into(),
            title: "Slow responses for some".into(),
            measure: Measure::Quantile(Timing::Wait, 950),
            threshold: 3_000.0,
            min_count: 50,
            for_minutes: 10,
            severity: Severity::Ticket,
            ..common.clone()
        },
        Rule {
            id: "error-budget".into(),
            title: "The error budget burns".into(),
            measure: Measure::ErrorShare,
            method: Method::BurnRate { objective: 0.99 },
            threshold: 1.0,
            min_count: 100,
            // Looked at every five minutes.
            keep_firing_minutes: 1,
            ..common.clone()
        },
        Rule {
            id: "rate-limited".into(),
            title: "Calls are refused for their number".into(),
            measure: Measure::Ratio(Column::RATE_LIMITED, Column::CALLS),
            threshold: 0.05,
            min_count: 50,
            for_minutes: 5,
            severity: Severity::Ticket,
            ..common.clone()
        },
        Rule {
            id: "stream-without-usage".into(),
            title: "Streams do not tell their tokens".into(),
            measure: Measure::Ratio(Column::WITHOUT_USAGE, Column::STREAMS),
            threshold: 0.05,
            min_count: 50,
            window_minutes: 15,
            for_minutes: 5,
            severity: Severity::Ticket,
            ..common.clone()
        },
        Rule {
            id: "gateway-overhead".into(),
            title: "The gateway itself is slow".into(),
            measure: Measure::Ratio(Column::OVERHEAD_SUM_MS, Column::CALLS),
            threshold: 50.0,
            min_count: 50,
            window_minutes: 15,
            for_minutes: 10,
            severity: Severity::Ticket,
            scope: Scope::System,
            ..common.clone()
        },
        Rule {
            id: "model-ends".into(),
            title: "A model in use will be switched off".into(),
            measure: Measure::ModelDaysLeft,
            side: Side::Below,
            threshold: 30.0,
            // Looked at once a day.
            keep_firing_minutes: 0,
            severity: Severity::Ticket,
            ..common.clone()
        },
        Rule {
            id: "price-table-old".into(),
            title: "The price table is old".into(),
            measure: Measure::PriceTableAge,
            threshold: 90.0,
            keep_firing_minutes: 0,
            severity: Severity::Ticket,
            scope: Scope::System,
            ..common.clone()
        },
        Rule {
            id: "provider-outage".into(),
            title: "A provider fails".into(),
            threshold: 0.5,
            min_count: 20,
            for_minutes: 2,
            // What it silences must be over first.
            keep_firing_minutes: 15,
            scope: Scope::Provider,
            ..common.clone()
        },
        Rule {
            id: "fallback-share".into(),
            title: "Fallbacks are at work".into(),
            measure: Measure::Ratio(Column::FALLBACKS, Column::CALLS),
            threshold: 0.1,
            min_count: 50,
            window_minutes: 10,
            for_minutes: 5,
            // The callers get their answers.
            severity: Severity::Ticket,
            ..common.clone()
        },
        Rule {
            id: "retries".into(),
            title: "Calls take more than one try".into(),
            measure: Measure::Ratio(Column::RETRIES, Column::CALLS),
            threshold: 0.25,
            min_count: 50,
            window_minutes: 10,
            for_minutes: 5,
            severity: Severity::Ticket,
            ..common.clone()
        },
        Rule {
            id: "error-surge".into(),
            title: "A known error has become frequent".into(),
            measure: Measure::Faults,
            method: Method::Surge,
            threshold: 1.0,
            min_count: 20,
            // Looked at once an hour.
            keep_firing_minutes: 1,
            severity: Severity::Ticket,
            scope: Scope::Fault,
            ..common.clone()
        },
        Rule {
            id: "part-worse".into(),
            title: "Part of the calls fails more than the others".into(),
            method: Method::Segments,
            threshold: 0.05,
            min_count: 100,
            keep_firing_minutes: 0,
            severity: Severity::Ticket,
            scope: Scope::Part,
            ..common.clone()
        },
        Rule {
            id: "provider-change".into(),
            title: "A provider answers differently".into(),
            measure: Measure::News,
            min_count: 3,
            keep_firing_minutes: 0,
            severity: Severity::Ticket,
            scope: Scope::Trait,
            ..common.clone()
        },
        Rule {
            id: "denied-burst".into(),
            title: "Many refused calls from one network".into(),
            measure: Measure::SourceDenied,
            threshold: 100.0,
            window_minutes: 10,
            // Looked at every five minutes.
            keep_firing_minutes: 2,
            severity: Severity::Ticket,
            scope: Scope::Source,
            ..common.clone()
        },
        Rule {
            id: "denied-spray".into(),
            title: "One network tries many keys".into(),
            measure: Measure::SourceTargets,
            threshold: 20.0,
            window_minutes: 10,
            keep_firing_minutes: 2,
            severity: Severity::Ticket,
            scope: Scope::Source,
            ..common.clone()
        },
        Rule {
            id: "key-new-country".into(),
            title: "A key is used from a new country".into(),
            measure: Measure::NewCountries,
            keep_firing_minutes: 0,
            severity: Severity::Ticket,
            scope: Scope::Key,
            ..common.clone()
        },
        Rule {
            id: "key-volume".into(),
            title: "A key is used far more than usual".into(),
            measure: Measure::KeyVolume,
            threshold: 10.0,
            min_count: 1_000,
            // Looked at once an hour.
            keep_firing_minutes: 1,
            severity: Severity::Ticket,
            scope: Scope::Key,
            ..common.clone()
        },
        Rule {
            id: "database-full".into(),
            title: "The database will be full".into(),
            measure: Measure::DatabaseDaysLeft,
            side: Side::Below,
            threshold: 14.0,
            keep_firing_minutes: 0,
            severity: Severity::Ticket,
            scope: Scope::System,
            ..common
        },
    ]
}

/// The shipped rule of this name.
pub fn shipped(id: &str) -> Option<Rule> {
    default_pack().into_iter().find(|rule| rule.id == id)
}

impl Rule {
    /// The rule with somebody's numbers. Together with the threshold goes the resolve threshold, which
    /// was chosen for the old one.
    pub fn with(&self, overrides: &Override) -> Result<Rule, FieldError> {
        let silence = self.measure == Measure::Silence;
        let counts = !matches!(
            self.measure,
            Measure::DatabaseDaysLeft | Measure::Lost | Measure::PriceTableAge | Measure::Silence
        );
        let (lowest, highest) = self.limits();
        let mut rule = self.clone();
        if let Some(enabled) = overrides.enabled {
            rule.enabled = enabled;
        }
        if let Some(threshold) = overrides.threshold {
            if !(lowest..=highest).contains(&threshold) {
                return Err(FieldError::new("threshold", format!("must be from {lowest} to {highest}")));
            }
            rule.threshold = threshold;
            rule.warning_threshold = None;
            rule.resolve_threshold = None;
        }
        for (field, chosen, place) in [
            ("warning_threshold", overrides.warning_threshold, &mut rule.warning_threshold),
            ("resolve_threshold", overrides.resolve_threshold, &mut rule.resolve_threshold),
        ] {
            let Some(chosen) = chosen else { continue };
            if silence {
                return Err(FieldError::new(field, "does not apply to this rule"));
            }
            // Neither is further out than what fires, or an alert would resolve while it is breached.
            if !(lowest..=highest).contains(&chosen) || rule.side.is_beyond(chosen, rule.threshold) {
                return Err(FieldError::new(
                    field,
                    format!("must be from {lowest} to {highest} and not beyond the threshold"),
                ));
            }
            *place = Some(chosen);
        }
        if let Some(min_count) = overrides.min_count {
            let limits = if counts { Some((1, 1_000_000)) } else { None };
            rule.min_count = within("min_count", min_count, limits)?;
        }
        if let Some(minutes) = overrides.window_minutes {
            rule.window_minutes = within("window_minutes", minutes, Some((1, 60)))?;
            if silence {
                rule.keep_firing_minutes = rule.window_minutes;
            }
        }
        if let Some(minutes) = overrides.for_minutes {
            // How long a silence must last is its window; meanwhile the habit would be forgotten.
            let limits = if silence { None } else { Some((0, 240)) };
            rule.for_minutes = within("for_minutes", minutes, limits)?;
        }
        if let Some(minutes) = overrides.keep_firing_minutes {
            rule.keep_firing_minutes = within("keep_firing_minutes", minutes, Some((0, 240)))?;
        }
        if let Some(no_data) = overrides.no_data {
            // A silence is itself what no data means, and no lost records are a zero.
            if !counts {
                return Err(FieldError::new("no_data", "does not apply to this rule"));
            }
            if let NoData::Notify(minutes) = no_data {
                within("no_data", minutes, Some((1, 1440)))?;
            }
            rule.no_data = no_data;
        }
        if let Some(minutes) = overrides.block_minutes {
            let limits = matches!(self.scope, Scope::Key | Scope::Source).then_some((1, LONGEST_BLOCK));
            rule.block_minutes = Some(within("block_minutes", minutes, limits)?);
        }
        Ok(rule)
    }

    /// Between which numbers its thresholds make sense.
    fn limits(&self) -> (f64, f64) {
        match (self.method, self.measure) {
            (Method::Anomaly | Method::Shift, _) => (-1_000.0, 1_000.0),
            (Method::BurnRate { .. }, _) => (0.1, 100.0),
            (Method::Drift, _) => (0.01, 10.0),
            (Method::Drop, _) => (0.0, 1.0),
            (Method::Knee | Method::Surge, _) => (0.1, 100.0),
            (Method::Segments, _) => (0.0, 1.0),
            (Method::Trend { .. }, _) => (0.0, 365.0),
            // A series without a single call never had a habit to break.
            (Method::Threshold, Measure::Silence) => (0.01, 1.0),
            (Method::Threshold, Measure::Lost) => (0.0, 1_000_000.0),
            (Method::Threshold, measure) => match measure.unit() {
                Unit::Days => (0.0, 3_650.0),
                Unit::Milliseconds if measure.parts().is_none_or(|(_, under)| under.is_some()) => {
                    (1.0, 600_000.0)
                }
                Unit::Share => (0.0, 1.0),
                _ => (0.0, 1e15),
            },
        }
    }

    /// How many minutes of a series the rule needs to see, the evaluated one included.
    pub fn history_minutes(&self) -> i64 {
        match (self.measure, self.method) {
            (Measure::Silence, _) | (_, Method::Drop) => self.window_minutes + BASELINE_MINUTES,
            (_, Method::BurnRate { .. }) => SEVEN_DAYS[0].long_minutes,
            _ => self.window_minutes,
        }
    }

    /// What of the rollups it looks at.
    pub fn past(&self) -> Vec<Past> {
        let minutes = self.history_minutes();
        match (self.method, self.measure) {
            (Method::Anomaly, _) => vec![Past::Hours(ANOMALY_HOURS)],
            (Method::Drift, Measure::Quantile(timing, _)) => vec![Past::Distribution(timing)],
            (Method::Segments, _) => vec![Past::Parts],
            (_, Measure::Faults) => vec![Past::Faults(SURGE_HOURS)],
            (_, Measure::News) => vec![Past::News],
            (Method::Shift, _) => vec![Past::Hours(SHIFT_HOURS)],
            (Method::Knee | Method::Surge, _) => vec![Past::Hours(SURGE_HOURS)],
            (Method::BurnRate { .. }, _) => vec![Past::Minutes(minutes), Past::Hours(BURN_HOURS)],
            (Method::Trend { .. }, _) => vec![Past::Days(TREND_DAYS)],
            (_, Measure::DatabaseDaysLeft) => vec![Past::Sizes],
            (_, Measure::KeyVolume) => vec![Past::Keys(KEY_DAYS)],
            (_, Measure::NewCountries) => vec![Past::Sources(Origin::Country)],
            (_, Measure::NewNetworks) => vec![Past::Sources(Origin::Network)],
            (_, Measure::Silence) => vec![Past::Activity(minutes)],
            (_, Measure::SourceDenied | Measure::SourceTargets) => vec![Past::Denied(minutes)],
            (_, Measure::Lost) => vec![Past::Losses(minutes)],
            (_, Measure::ModelDaysLeft) => vec![Past::Models],
            (_, Measure::PriceTableAge) => Vec::new(),
            (_, Measure::Quantile(timing, _)) => vec![Past::Histogram(timing, minutes)],
            _ => vec![Past::Minutes(minutes)],
        }
    }

    /// Whether the rule looks at this minute. What is counted in hours and days is looked at once they are
    /// over, five minutes later; what is counted in minutes, at every one, and budgets at every fifth. So are keys and
    /// networks, each kind in a minute of its own: what they need is read for them alone. Durations of such a rule are in times that it looked.
    pub fn looks_at(&self, minute_ms: i64) -> bool {
        let (every, offset) = self.rhythm();
        minute_ms.div_euclid(MINUTE_MS).rem_euclid(every) == offset
    }

    /// Whether it looks at hours or days that are over.
    pub fn looks_back(&self) -> bool {
        self.rhythm().0 >= 60
    }

    /// Every how many minutes it looks, and in which of them.
    fn rhythm(&self) -> (i64, i64) {
        match (self.method, self.measure) {
            (_, Measure::SourceDenied | Measure::SourceTargets) => (5, 3),
            (_, Measure::NewCountries | Measure::NewNetworks) => (5, 2),
            (_, Measure::KeyVolume) => (60, 8),
            (_, Measure::DatabaseDaysLeft) => (24 * 60, 36),
            (Method::Trend { .. }, _) | (_, Measure::ModelDaysLeft | Measure::PriceTableAge) => (24 * 60, 5),
            // Once these were counted as well.
            (Method::Knee | Method::Segments, _) | (_, Measure::Faults | Measure::News) => (60, 9),
            (Method::Drop | Method::Threshold, _) => (1, 0),
            (Method::BurnRate { .. }, _) => (5, 0),
            (Method::Anomaly | Method::Drift | Method::Shift | Method::Surge, _) => (60, 5),
        }
    }

    /// In what its value and its thresholds are written.
    pub fn unit(&self) -> Unit {
        match self.method {
            Method::Anomaly | Method::Shift => Unit::Spreads,
            Method::BurnRate { .. } | Method::Knee | Method::Surge => Unit::Times,
            Method::Drift => Unit::Plain,
            Method::Drop | Method::Segments => Unit::Share,
            Method::Threshold => self.measure.unit(),
            Method::Trend { .. } => Unit::Days,
        }
    }

    /// Whether it looks at this series.
    pub fn concerns(&self, tenant_id: &str, route: &str) -> bool {
        self.tenant_id.as_deref().is_none_or(|only| only == tenant_id)
            && self.route.as_deref().is_none_or(|only| only == route)
    }

    /// Reads a rule of one's own, as somebody sent it or as it was stored: what it measures, and how it
    /// differs from a rule that tells of a breach at once, as a ticket.
    pub fn parse(id: &str, json: &[u8]) -> Result<Rule, FieldError> {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(json) else {
            return Err(FieldError::new("body", "must be a JSON object"));
        };
        let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_null());
        let text = |field: &'static str, value: Option<Value>| match value {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() && text.len() <= LONGEST_TEXT => {
                Ok(Some(text))
            }
            Some(_) => Err(FieldError::new(field, "must be a text of up to 200 bytes")),
        };
        let title = text("title", take("title"))?.ok_or_else(|| FieldError::new("title", "is missing"))?;
        let measure = text("measure", take("measure"))?
            .ok_or_else(|| FieldError::new("measure", "is missing"))
            .and_then(|name| {
                Measure::parse(&name).ok_or_else(|| FieldError::new("measure", "is not known"))
            })?;
        let method = match take("method") {
            None => Method::Threshold,
            Some(method) => Method::parse(&method)?,
        };
        let severity = match text("severity", take("severity"))?.as_deref() {
            None | Some("ticket") => Severity::Ticket,
            Some("page") => Severity::Page,
            Some(_) => return Err(FieldError::new("severity", "must be `page` or `ticket`")),
        };
        let side = match text("side", take("side"))?.as_deref() {
            None if matches!(measure, Measure::DatabaseDaysLeft | Measure::ModelDaysLeft) => Side::Below,
            None => method.side(),
            Some("above") => Side::Above,
            Some("below") => Side::Below,
            Some(_) => return Err(FieldError::new("side", "must be `above` or `below`")),
        };
        let only = if method == Method::Segments { Some(Scope::Part) } else { measure.scope() };
        let scope = match text("scope", take("scope"))?.as_deref() {
            None => only.unwrap_or(Scope::Route),
            Some("key") => Scope::Key,
            Some("provider") => Scope::Provider,
            Some("route") => Scope::Route,
            Some("source") => Scope::Source,
            Some("system") => Scope::System,
            Some(_) => {
                let words = "must be `key`, `provider`, `route`, `source` or `system`";
                return Err(FieldError::new("scope", words));
            }
        };
        let rule = Rule {
            id: id.to_owned().into(),
            title: title.into(),
            measure,
            method,
            side,
            severity,
            scope,
            tenant_id: text("tenant_id", take("tenant_id"))?,
            route: text("route", take("route"))?,
            ..common()
        };
        let is_choice = match scope {
            Scope::Route | Scope::System => true,
            Scope::Provider => measure.parts().is_some(),
            _ => false,
        };
        if only.map_or(!is_choice, |only| only != scope) {
            return Err(FieldError::new("scope", "does not go with this measure"));
        }
        if scope == Scope::System && (rule.tenant_id.is_some() || rule.route.is_some()) {
            return Err(FieldError::new("scope", "of the gateway as a whole has no tenant and no route"));
        }
        for (field, chosen, applies) in [
            ("tenant_id", &rule.tenant_id, scope.has_tenant()),
            ("route", &rule.route, scope == Scope::Route),
        ] {
            if chosen.is_some() && !applies {
                return Err(FieldError::new(field, "does not apply to this rule"));
            }
        }
        let fits = match method {
            Method::Threshold => measure != Measure::Faults,
            Method::Surge if measure == Measure::Faults => true,
            Method::Knee => matches!(measure.parts(), Some((_, Some(_)))),
            Method::Segments => {
                matches!(measure.parts(), Some((over, Some(Column::CALLS))) if over.is_outcome())
            }
            Method::Drift => matches!(measure, Measure::Quantile(..)),
            Method::Drop | Method::Surge => {
                matches!(measure.parts(), Some((_, None))) && measure != Measure::Lost
            }
            Method::BurnRate { .. } => measure.unit() == Unit::Share && measure.parts().is_some(),
            Method::Anomaly | Method::Shift | Method::Trend { .. } => {
                measure.parts().is_some() && measure != Measure::Lost
            }
        };
        if !fits {
            return Err(FieldError::new("method", "does not go with this measure"));
        }
        // What is left is what may be changed about a shipped rule.
        let overrides = Override::of(&fields)?;
        if overrides.threshold.is_none() {
            return Err(FieldError::new("threshold", "is missing"));
        }
        rule.with(&overrides)
    }
}

impl Measure {
    /// What it is measured of, where that is not for a rule to choose.
    fn scope(self) -> Option<Scope> {
        match self {
            Measure::Faults => Some(Scope::Fault),
            Measure::News => Some(Scope::Trait),
            Measure::DatabaseDaysLeft | Measure::Lost | Measure::PriceTableAge => Some(Scope::System),
            Measure::KeyVolume | Measure::NewCountries | Measure::NewNetworks => Some(Scope::Key),
            Measure::ModelDaysLeft | Measure::Silence => Some(Scope::Route),
            Measure::SourceDenied | Measure::SourceTargets => Some(Scope::Source),
            _ => None,
        }
    }
}

impl Method {
    /// Reads what somebody sent: `{"kind":"burn_rate","objective":0.99}`, or the kind alone.
    fn parse(json: &Value) -> Result<Method, FieldError> {
        let kind = json.as_str().or_else(|| json.get("kind").and_then(Value::as_str)).unwrap_or_default();
        let number = |name: &str| json.get(name).and_then(Value::as_f64);
        let known = match kind {
            "burn_rate" => &["kind", "objective"][..],
            "trend" => &["kind", "limit"],
            _ => &["kind"],
        };
        if json.as_object().is_some_and(|fields| fields.keys().any(|name| !known.contains(&name.as_str()))) {
            return Err(FieldError::new("method", "has an unknown field"));
        }
        match kind {
            "anomaly" => Ok(Method::Anomaly),
            "burn_rate" => match number("objective").filter(|objective| (0.5..=0.9999).contains(objective)) {
                Some(objective) => Ok(Method::BurnRate { objective }),
                None => Err(FieldError::new("method", "needs an `objective` from 0.5 to 0.9999")),
            },
            "drift" => Ok(Method::Drift),
            "drop" => Ok(Method::Drop),
            "knee" => Ok(Method::Knee),
            "segments" => Ok(Method::Segments),
            "shift" => Ok(Method::Shift),
            "surge" => Ok(Method::Surge),
            "threshold" => Ok(Method::Threshold),
            "trend" => match number("limit") {
                Some(limit) => Ok(Method::Trend { limit }),
                None => Err(FieldError::new("method", "needs a `limit`")),
            },
            _ => Err(FieldError::new(
                "method",
                "must be `anomaly`, `burn_rate`, `drift`, `drop`, `knee`, `segments`, `shift`, `surge`, `threshold` or `trend`",
            )),
        }
    }

    /// The side that is bad if nobody says.
    fn side(self) -> Side {
        match self {
            Method::Drop | Method::Trend { .. } => Side::Below,
            _ => Side::Above,
        }
    }
}

/// What somebody wants different about a shipped rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Override {
    /// Whether the rule is evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// `Rule::threshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// `Rule::min_count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_count: Option<i64>,
    /// `Rule::window_minutes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_minutes: Option<i64>,
    /// `Rule::for_minutes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_minutes: Option<i64>,
    /// `Rule::warning_threshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning_threshold: Option<f64>,
    /// `Rule::resolve_threshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolve_threshold: Option<f64>,
    /// `Rule::keep_firing_minutes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_firing_minutes: Option<i64>,
    /// `Rule::no_data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_data: Option<NoData>,
    /// `Rule::block_minutes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_minutes: Option<i64>,
}

impl Override {
    /// Reads an override as somebody sent it, or as it was stored. A field left out or null keeps the
    /// rule's own value; whether a number makes sense is for `Rule::with` to say.
    pub fn parse(json: &[u8]) -> Result<Override, FieldError> {
        match serde_json::from_slice(json) {
            Ok(Value::Object(fields)) => Override::of(&fields),
            _ => Err(FieldError::new("body", "must be a JSON object")),
        }
    }

    fn of(fields: &Map<String, Value>) -> Result<Override, FieldError> {
        let known = [
            "enabled",
            "threshold",
            "min_count",
            "window_minutes",
            "for_minutes",
            "warning_threshold",
            "resolve_threshold",
            "keep_firing_minutes",
            "no_data",
            "block_minutes",
        ];
        if let Some(unknown) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(FieldError::new("body", format!("has an unknown field {unknown:?}")));
        }
        let field = |name| fields.get(name).filter(|value| !value.is_null());
        let whole = |name| read(name, field(name), Value::as_i64, "must be a whole number");
        let number = |name| read(name, field(name), Value::as_f64, "must be a number");
        Ok(Override {
            enabled: read("enabled", field("enabled"), Value::as_bool, "must be true or false")?,
            threshold: number("threshold")?,
            min_count: whole("min_count")?,
            window_minutes: whole("window_minutes")?,
            for_minutes: whole("for_minutes")?,
            warning_threshold: number("warning_threshold")?,
            resolve_threshold: number("resolve_threshold")?,
            keep_firing_minutes: whole("keep_firing_minutes")?,
            no_data: read(
                "no_data",
                field("no_data"),
                NoData::parse,
                r#"must be "last", "show", "zero" or {"notify": minutes}"#,
            )?,
            block_minutes: whole("block_minutes")?,
        })
    }
}

fn read<T>(
    field: &'static str,
    value: Option<&Value>,
    convert: impl Fn(&Value) -> Option<T>,
    otherwise: &str,
) -> Result<Option<T>, FieldError> {
    value.map(|value| convert(value).ok_or_else(|| FieldError::new(field, otherwise))).transpose()
}

/// The number, if the limits allow it; without limits it has no meaning for this rule.
fn within(field: &'static str, number: i64, limits: Option<(i64, i64)>) -> Result<i64, FieldError> {
    let Some((lowest, highest)) = limits else {
        return Err(FieldError::new(field, "does not apply to this rule"));
    };
    if (lowest..=highest).contains(&number) {
        Ok(number)
    } else {
        Err(FieldError::new(field, format!("must be from {lowest} to {highest}")))
    }
}

impl NoData {
    /// Reads what somebody sent, or what was stored.
    pub fn parse(json: &Value) -> Option<NoData> {
        NoData::deserialize(json).ok()
    }
}

impl Severity {
    /// As stored and sent.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Page => "page",
            Severity::Ticket => "ticket",
        }
    }
}

/// How many minutes show whether a series normally has calls.
pub const BASELINE_MINUTES: i64 = 60;

/// Four weeks, and the hour judged.
const ANOMALY_HOURS: i64 = 4 * WEEK as i64 + 2;
/// A day that is judged, the week before it, and the hour that goes on.
const SHIFT_HOURS: i64 = RECENT_HOURS + WEEK as i64 + 1;
/// How many hours a shift is looked for in.
pub const RECENT_HOURS: i64 = 24;
/// The hour judged, the week before it, and the hour that goes on.
const SURGE_HOURS: i64 = WEEK as i64 + 2;
/// The longest window of `SEVEN_DAYS`, and the hour that goes on.
const BURN_HOURS: i64 = 73;
const TREND_DAYS: i64 = 30;
/// The days of which the middle one is what is usual for a key.
const KEY_DAYS: i64 = 28;
/// A week: whoever is to be refused for longer should have no key.
const LONGEST_BLOCK: i64 = 7 * 24 * 60;

const LONGEST_TEXT: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_rules_are_on_and_have_names_of_their_own() {
        let pack = default_pack();
        let ids: Vec<&str> = pack.iter().map(|rule| &*rule.id).collect();
        let expected = [
            "error-share",
            "no-calls",
            "records-lost",
            "slow-response",
            "slow-tail",
            "error-budget",
            "rate-limited",
            "stream-without-usage",
            "gateway-overhead",
            "model-ends",
            "price-table-old",
            "provider-outage",
            "fallback-share",
            "retries",
            "error-surge",
            "part-worse",
            "provider-change",
            "denied-burst",
            "denied-spray",
            "key-new-country",
            "key-volume",
            "database-full",
        ];
        assert_eq!(ids, expected);
        for rule in &pack {
            assert!(rule.enabled && !rule.title.is_empty(), "{}", rule.id);
            assert_eq!(shipped(&rule.id).as_ref(), Some(rule));
        }
        assert_eq!(shipped("error"), None);
    }

    #[test]
    fn the_shipped_numbers_would_pass_as_overrides() {
        for rule in default_pack() {
            let counted =
                !["database-full", "no-calls", "price-table-old", "records-lost"].contains(&&*rule.id);
            let same = Override {
                enabled: Some(true),
                threshold: Some(rule.threshold),
                min_count: counted.then_some(rule.min_count),
                window_minutes: Some(rule.window_minutes),
                for_minutes: (rule.id != "no-calls").then_some(rule.for_minutes),
                keep_firing_minutes: Some(rule.keep_firing_minutes),
                no_data: counted.then_some(rule.no_data),
                ..Override::default()
            };
            assert_eq!(rule.with(&same), Ok(rule));
        }
    }

    #[test]
    fn a_rule_sees_its_window_and_silence_also_the_hour_before() {
        let minutes: Vec<i64> = default_pack().iter().map(Rule::history_minutes).collect();
        assert_eq!(minutes, [5, 70, 5, 5, 5, 60, 5, 15, 15, 5, 5, 5, 10, 10, 5, 5, 5, 10, 10, 5, 5, 5]);
    }

    #[test]
    fn an_override_changes_what_it_names() {
        let json =
            br#"{"enabled":false,"threshold":0.05,"min_count":200,"window_minutes":10,"for_minutes":0,
                 "warning_threshold":0.02,"resolve_threshold":0.01,"keep_firing_minutes":7,"no_data":{"notify":9}}"#;
        let rule = shipped("error-share").unwrap();
        let changed = rule.with(&Override::parse(json).unwrap()).unwrap();
        let expected = Rule {
            enabled: false,
            threshold: 0.05,
            min_count: 200,
            window_minutes: 10,
            for_minutes: 0,
            warning_threshold: Some(0.02),
            resolve_threshold: Some(0.01),
            keep_firing_minutes: 7,
            no_data: NoData::Notify(9),
            ..rule.clone()
        };
        assert_eq!(changed, expected);
        assert_eq!(rule.with(&Override::parse(br#"{"threshold":null}"#).unwrap()), Ok(rule));
    }

    #[test]
    fn a_new_threshold_takes_the_place_of_all() {
        let rule = Rule {
            warning_threshold: Some(450.0),
            resolve_threshold: Some(400.0),
            ..shipped("slow-response").unwrap()
        };
        let changed = rule.with(&Override { threshold: Some(300.0), ..Override::default() }).unwrap();
        let thresholds = (changed.threshold, changed.warning_threshold, changed.resolve_threshold);
        assert_eq!(thresholds, (300.0, None, None));
    }

    #[test]
    fn what_is_stored_reads_back() {
        let stored = Override { threshold: Some(0.02), for_minutes: Some(3), ..Override::default() };
        let json = serde_json::to_string(&stored).unwrap();
        assert_eq!(json, r#"{"threshold":0.02,"for_minutes":3}"#);
        assert_eq!(Override::parse(json.as_bytes()), Ok(stored));
    }

    #[test]
    fn an_error_names_the_field() {
        for (rule, json, message) in [
            ("error-share", r#"{"threshold":1.5}"#, "`threshold` must be from 0 to 1."),
            ("error-share", r#"{"threshold":-0.1}"#, "`threshold` must be from 0 to 1."),
            ("error-share", r#"{"threshold":"1 %"}"#, "`threshold` must be a number."),
            ("slow-response", r#"{"threshold":0.5}"#, "`threshold` must be from 1 to 600000."),
            ("no-calls", r#"{"threshold":0}"#, "`threshold` must be from 0.01 to 1."),
            ("error-share", r#"{"min_count":0}"#, "`min_count` must be from 1 to 1000000."),
            ("error-share", r#"{"min_count":1.5}"#, "`min_count` must be a whole number."),
            ("no-calls", r#"{"min_count":5}"#, "`min_count` does not apply to this rule."),
            ("records-lost", r#"{"min_count":5}"#, "`min_count` does not apply to this rule."),
            ("error-share", r#"{"window_minutes":0}"#, "`window_minutes` must be from 1 to 60."),
            ("error-share", r#"{"window_minutes":61}"#, "`window_minutes` must be from 1 to 60."),
            ("error-share", r#"{"for_minutes":-1}"#, "`for_minutes` must be from 0 to 240."),
            ("no-calls", r#"{"for_minutes":5}"#, "`for_minutes` does not apply to this rule."),
            (
                "error-share",
                r#"{"warning_threshold":0.02}"#,
                "`warning_threshold` must be from 0 to 1 and not beyond the threshold.",
            ),
            (
                "error-share",
                r#"{"threshold":0.1,"resolve_threshold":0.2}"#,
                "`resolve_threshold` must be from 0 to 1 and not beyond the threshold.",
            ),
            ("no-calls", r#"{"resolve_threshold":0.2}"#, "`resolve_threshold` does not apply to this rule."),
            ("error-share", r#"{"keep_firing_minutes":241}"#, "`keep_firing_minutes` must be from 0 to 240."),
            (
                "error-share",
                r#"{"no_data":"none"}"#,
                r#"`no_data` must be "last", "show", "zero" or {"notify": minutes}."#,
            ),
            ("error-share", r#"{"no_data":{"notify":0}}"#, "`no_data` must be from 1 to 1440."),
            ("no-calls", r#"{"no_data":"zero"}"#, "`no_data` does not apply to this rule."),
            ("error-share", r#"{"enabled":1}"#, "`enabled` must be true or false."),
            ("error-share", r#"{"block_minutes":60}"#, "`block_minutes` does not apply to this rule."),
            ("key-volume", r#"{"block_minutes":10081}"#, "`block_minutes` must be from 1 to 10080."),
            ("database-full", r#"{"min_count":9}"#, "`min_count` does not apply to this rule."),
            ("error-share", r#"{"treshold":1}"#, r#"`body` has an unknown field "treshold"."#),
            ("error-share", "[]", "`body` must be a JSON object."),
            ("error-share", "", "`body` must be a JSON object."),
        ] {
            let applied =
                Override::parse(json.as_bytes()).and_then(|over| shipped(rule).unwrap().with(&over));
            assert_eq!(applied.unwrap_err().to_string(), message, "{json}");
        }
    }

    #[test]
    fn a_rule_of_ones_own_is_what_it_says() {
        let rule = Rule::parse(
            "ru_1",
            br#"{"title":"Ann's tail","measure":"p99(duration)","threshold":9000,"warning_threshold":5000,
                "severity":"page","tenant_id":"tn_a","route":"/v1/chat/completions","min_count":30,
                "for_minutes":3,"no_data":"last"}"#,
        );
        let expected = Rule {
            id: "ru_1".into(),
            title: "Ann's tail".into(),
            measure: Measure::Quantile(Timing::Duration, 990),
            threshold: 9_000.0,
            warning_threshold: Some(5_000.0),
            min_count: 30,
            for_minutes: 3,
            no_data: NoData::Last,
            tenant_id: Some("tn_a".to_owned()),
            route: Some("/v1/chat/completions".to_owned()),
            ..common()
        };
        assert_eq!(rule, Ok(expected));
        let spray = Rule::parse(
            "ru_1",
            br#"{"title":"t","measure":"source_targets","threshold":9,"block_minutes":30}"#,
        )
        .unwrap();
        assert_eq!((spray.scope, spray.block_minutes), (Scope::Source, Some(30)));
        let side = |json: &str| Rule::parse("ru_1", json.as_bytes()).unwrap().side;
        assert_eq!(side(r#"{"title":"t","measure":"calls","method":"drop","threshold":0.5}"#), Side::Below);
        assert_eq!(side(r#"{"title":"t","measure":"calls","side":"below","threshold":5}"#), Side::Below);
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_refused() {
        for (json, message) in [
            (r#"{"measure":"calls","threshold":1}"#, "`title` is missing."),
            (r#"{"title":"t","threshold":1}"#, "`measure` is missing."),
            (r#"{"title":"t","measure":"joy","threshold":1}"#, "`measure` is not known."),
            (r#"{"title":"t","measure":"calls"}"#, "`threshold` is missing."),
            (r#"{"title":"t","measure":"error_share","threshold":2}"#, "`threshold` must be from 0 to 1."),
            (
                r#"{"title":"t","measure":"calls","threshold":1,"colour":1}"#,
                r#"`body` has an unknown field "colour"."#,
            ),
            (
                r#"{"title":" ","measure":"calls","threshold":1}"#,
                "`title` must be a text of up to 200 bytes.",
            ),
            (
                r#"{"title":"t","measure":"calls","threshold":1,"side":"left"}"#,
                "`side` must be `above` or `below`.",
            ),
            (
                r#"{"title":"t","measure":"lost","threshold":1,"scope":"route"}"#,
                "`scope` does not go with this measure.",
            ),
            (
                r#"{"title":"t","measure":"silence","threshold":1,"scope":"system"}"#,
                "`scope` does not go with this measure.",
            ),
            (
                r#"{"title":"t","measure":"calls","threshold":1,"scope":"key"}"#,
                "`scope` does not go with this measure.",
            ),
            (
                r#"{"title":"t","measure":"new_networks","threshold":0,"scope":"route"}"#,
                "`scope` does not go with this measure.",
            ),
            (
                r#"{"title":"t","measure":"key_volume","threshold":5,"route":"/v1"}"#,
                "`route` does not apply to this rule.",
            ),
            (
                r#"{"title":"t","measure":"source_denied","method":"surge","threshold":5}"#,
                "`method` does not go with this measure.",
            ),
            (
                r#"{"title":"t","measure":"calls","threshold":1,"scope":"system","route":"/v1"}"#,
                "`scope` of the gateway as a whole has no tenant and no route.",
            ),
            (
                r#"{"title":"t","measure":"error_share","method":"drop","threshold":1}"#,
                "`method` does not go with this measure.",
            ),
            (
                r#"{"title":"t","measure":"error_share","method":"burn_rate","threshold":1}"#,
                "`method` needs an `objective` from 0.5 to 0.9999.",
            ),
            (
                r#"{"title":"t","measure":"calls","method":"magic","threshold":1}"#,
                "`method` must be `anomaly`, `burn_rate`, `drift`, `drop`, `knee`, `segments`, `shift`, `surge`, `threshold` or `trend`.",
            ),
            (
                r#"{"title":"t","measure":"calls","method":{"kind":"shift","limit":3},"threshold":1}"#,
                "`method` has an unknown field.",
            ),
            ("[]", "`body` must be a JSON object."),
        ] {
            assert_eq!(Rule::parse("ru_1", json.as_bytes()).unwrap_err().to_string(), message, "{json}");
        }
    }

    #[test]
    fn a_rule_looks_when_there_is_something_new_to_see() {
        let looks = |method| {
            let rule = Rule { method, ..common() };
            (0..3_000).filter(|minute| rule.looks_at(minute * MINUTE_MS)).take(3).collect::<Vec<i64>>()
        };
        assert_eq!(looks(Method::Threshold), [0, 1, 2]);
        assert_eq!(looks(Method::BurnRate { objective: 0.99 }), [0, 5, 10]);
        assert_eq!(looks(Method::Anomaly), [5, 65, 125]);
        let daily = Rule { measure: Measure::PriceTableAge, ..common() };
        assert_eq!((0..1_440).filter(|minute| daily.looks_at(minute * MINUTE_MS)).collect::<Vec<_>>(), [5]);
        assert_eq!(looks(Method::Trend { limit: 1.0 }), [5, 1_445, 2_885]);
        let first = |id: &str| {
            let rule = shipped(id).unwrap();
            (0..3_000).filter(|minute| rule.looks_at(minute * MINUTE_MS)).take(2).collect::<Vec<i64>>()
        };
        assert_eq!(first("denied-spray"), [3, 8]);
        assert_eq!(first("key-new-country"), [2, 7]);
        assert_eq!(first("key-volume"), [8, 68]);
        assert_eq!(first("database-full"), [36, 1_476]);
    }

    #[test]
    fn a_threshold_that_is_no_number_is_refused() {
        for threshold in [f64::NAN, f64::INFINITY] {
            let overrides = Override { threshold: Some(threshold), ..Override::default() };
            assert_eq!(shipped("error-share").unwrap().with(&overrides).unwrap_err().field, "threshold");
        }
    }
}
