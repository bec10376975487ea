//! What a receiver is told, before it is put in the words of any receiver.
//!
//! A notice says what was measured and against what. It never names a cause: the gateway saw numbers,
//! not reasons.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::alert::{Fired, Reason, Resolved};
use crate::measure::Unit;
use crate::rule::{BASELINE_MINUTES, Measure, Method, Rule, Scope, Severity, Side};
use crate::time::MINUTE_MS;

/// One message to people or their tools. Stored as JSON until it is delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What it tells.
    pub kind: Kind,
    /// The episode it is about; notices of one episode belong together. Empty for a test.
    pub episode_id: String,
    /// The rule that opened it. Empty for a test.
    pub rule_id: String,
    /// Whom it concerns.
    pub severity: Severity,
    /// A few words for a heading.
    pub title: String,
    /// One sentence that can stand alone.
    pub summary: String,
    /// Names and values worth reading at a glance.
    pub facts: Vec<(String, String)>,
    /// Names and values worth filtering by.
    pub labels: Vec<(String, String)>,
    /// The first minute of the breach.
    pub started_ms: i64,
    /// The minute the episode was closed.
    pub ended_ms: Option<i64>,
    /// When what the notice tells happened.
    pub occurred_ms: i64,
}

/// What a notice tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody looks after an alert that fired.
    Acknowledged,
    /// Something was changed: a setting, a release, a campaign.
    Change,
    /// An alert fired and resolved before anybody could be told: both in one.
    Combined,
    /// An alert fired.
    Firing,
    /// Something about the watch itself wants looking after.
    Health,
    /// What a day or a week was like.
    Report,
    /// It resolved.
    Resolved,
    /// Nothing happened; somebody wants to see whether notices arrive.
    Test,
}

/// Whose calls a notice is about. Alerts on the gateway as a whole have none.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The tenant's id.
    pub tenant_id: &'a str,
    /// The tenant's name.
    pub tenant_name: &'a str,
    /// The route; of a rule on something else, what that is called.
    pub route: &'a str,
    /// What people call it.
    pub name: &'a str,
}

impl Subject<'_> {
    /// Where in a sentence: ` on /v1/chat/completions`, ` of provider openai`.
    pub fn place(&self, scope: Scope) -> String {
        let word = match scope {
            Scope::Fault => " for the error",
            Scope::Key => " by key",
            Scope::Part => " for",
            Scope::Provider => " of provider",
            Scope::Route | Scope::System => " on",
            Scope::Source => " from network",
            Scope::Trait => ":",
        };
        format!("{word} {}", plain(self.name))
    }

    /// With whom a sentence begins.
    pub fn whose(&self, scope: Scope) -> String {
        if scope.has_tenant() { plain(self.tenant_name) + ": " } else { String::new() }
    }
}

/// What is known of what a rule saw beside its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// The end of a sentence.
    pub text: String,
    /// Names and values worth reading at a glance.
    pub facts: Vec<(String, String)>,
}

impl Detail {
    /// A fact as well.
    pub fn fact(mut self, name: &str, value: impl ToString) -> Detail {
        self.facts.push((name.to_owned(), value.to_string()));
        self
    }
}

impl Notice {
    /// An alert fired.
    pub fn firing(rule: &Rule, episode_id: &str, subject: Option<&Subject<'_>>, fired: &Fired) -> Notice {
        let mut notice = about(rule, Kind::Firing, episode_id, subject, fired.since_ms, fired.opened_ms);
        let Fired { value, count, .. } = *fired;
        let (window, on) = (rule.window_minutes, on(rule, subject));
        let (shown, threshold) = shown(rule, value);
        let label = rule.measure.label();
        notice.summary += &match rule.measure {
            _ if rule.method != Method::Threshold => {
                format!("{label} {} {shown}{on} (limit {threshold}, {count} calls)", judged(rule))
            }
            Measure::ModelDaysLeft => format!("{label}{on} is {shown} ({count} calls within a day)"),
            Measure::Faults => format!("{label} {shown}{on} ({count} calls)"),
            Measure::News => format!("not seen before{on} ({count} calls)"),
            Measure::DatabaseDaysLeft => format!("{label} is {shown}, by {count} days"),
            Measure::KeyVolume => format!("{label} {shown} > {threshold}{on} ({count} calls)"),
            Measure::NewCountries | Measure::NewNetworks => {
                let new = match (rule.measure, value <= 1.0) {
                    (Measure::NewCountries, true) => "a new country".to_owned(),
                    (_, true) => "a new network".to_owned(),
                    _ => format!("{shown} {label}"),
                };
                format!("calls from {new}{on} ({count} calls)")
            }
            Measure::PriceTableAge => format!("{label} is {shown}, more than {threshold}"),
            Measure::SourceDenied => format!("{label} {shown} > {threshold}{on} ({window} min)"),
            Measure::SourceTargets => {
                format!("{label} {shown} > {threshold}{on} ({window} min, {count} calls)")
            }
            Measure::ErrorShare => {
                format!("5xx share {shown} > {threshold}{on} ({window} min, {count} calls)")
            }
            Measure::Quantile(..) | Measure::Ratio(..) | Measure::Sum(_) => {
                let sign = if rule.side == Side::Above { '>' } else { '<' };
                format!("{label} {shown} {sign} {threshold}{on} ({window} min, {count} calls)")
            }
            Measure::Lost => format!("call records lost: {shown} ({window} min)"),
            Measure::MeanWait => format!("mean wait {shown} > {threshold}{on} ({window} min, {count} calls)"),
            Measure::Silence => {
                let busy = (value * BASELINE_MINUTES as f64).round();
                format!(
                    "no calls for {window} min{on} (calls in {busy} of the {BASELINE_MINUTES} minutes before)"
                )
            }
        };
        let mut fact = |name: &str, value: String| notice.facts.push((name.to_owned(), value));
        fact(&name_of(rule.measure), shown);
        fact("Threshold", threshold);
        match rule.measure {
            _ if rule.method != Method::Threshold => fact("Calls", count.to_string()),
            Measure::KeyVolume
            | Measure::ModelDaysLeft
            | Measure::NewCountries
            | Measure::NewNetworks
            | Measure::News => {
                fact("Calls", count.to_string());
            }
            Measure::DatabaseDaysLeft => fact("Days seen", count.to_string()),
            Measure::Lost | Measure::PriceTableAge | Measure::Silence => {}
            _ => fact("Calls", format!("{count} in {window} min")),
        }
        notice
    }

    /// The notice with what the value was compared with, where that is not the threshold.
    pub fn with_baseline(mut self, rule: &Rule, baseline: f64) -> Notice {
        let name = match (rule.method, rule.measure) {
            (Method::Anomaly | Method::Shift, _) => "Usual",
            (Method::BurnRate { .. }, _) => "Rate allowed",
            (Method::Drop, _) => "Expected",
            (Method::Knee, _) => "Load at the bend",
            (Method::Segments, _) => "All other calls",
            (Method::Surge, _) => "Limit of the hour",
            (Method::Trend { .. }, _) => "Now",
            (Method::Threshold, Measure::KeyVolume) => "Middle day",
            (Method::Threshold, Measure::NewCountries | Measure::NewNetworks) => "Known before",
            (Method::Drift | Method::Threshold, _) => return self,
        };
        let unit = match rule.method {
            Method::BurnRate { .. } => Unit::Times,
            Method::Knee | Method::Threshold => Unit::Count,
            _ => rule.measure.unit(),
        };
        self.facts.push((name.to_owned(), write(unit, baseline, 1)));
        self
    }

    /// The notice with what else is known: the end of its sentence, and facts. Texts of others are made plain.
    pub fn with_detail(mut self, detail: &Detail) -> Notice {
        if !detail.text.is_empty() {
            self.summary = format!("{}: {}", self.summary, plain(&detail.text));
        }
        self.facts.extend(detail.facts.iter().map(|(name, value)| (name.clone(), plain(value))));
        self
    }

    /// An alert resolved, told to those who know it fired.
    pub fn resolved(
        rule: &Rule,
        episode_id: &str,
        subject: Option<&Subject<'_>>,
        resolved: &Resolved,
    ) -> Notice {
        closed(rule, Kind::Resolved, episode_id, subject, resolved)
    }

    /// An alert fired and resolved, told to those who could not be told that it fired.
    pub fn combined(
        rule: &Rule,
        episode_id: &str,
        subject: Option<&Subject<'_>>,
        resolved: &Resolved,
    ) -> Notice {
        let mut notice = closed(rule, Kind::Combined, episode_id, subject, resolved);
        notice.summary += ". That it fired could not be delivered at the time";
        notice
    }

    /// A test of a receiver.
    pub fn test(receiver_name: &str, now_ms: i64) -> Notice {
        let name = plain(receiver_name);
        Notice {
            kind: Kind::Test,
            episode_id: String::new(),
            rule_id: String::new(),
            severity: Severity::Ticket,
            title: "Test notice".to_owned(),
            summary: format!("notices to {name} arrive here"),
            facts: vec![("Receiver".to_owned(), name)],
            labels: Vec::new(),
            started_ms: now_ms,
            ended_ms: None,
            occurred_ms: now_ms,
        }
    }

    /// A receiver was switched off; told to others.
    pub fn receiver_disabled(receiver_name: &str, why: &str, now_ms: i64) -> Notice {
        let name = plain(receiver_name);
        Notice {
            kind: Kind::Health,
            title: "Receiver switched off".to_owned(),
            summary: format!("the receiver {name} was switched off and hears no more: {why}"),
            facts: vec![("Receiver".to_owned(), name), ("Reason".to_owned(), why.to_owned())],
            ..Notice::test("", now_ms)
        }
    }

    /// Several notices as one, for people whom a storm of single ones would tell less.
    pub fn together(notices: &[Notice]) -> Notice {
        let count = |wanted: &[Kind]| notices.iter().filter(|notice| wanted.contains(&notice.kind)).count();
        let (fired, resolved) = (count(&[Kind::Firing]), count(&[Kind::Combined, Kind::Resolved]));
        let others = notices.len() - fired - resolved;
        let told = [(fired, "fired"), (resolved, "resolved"), (others, "other")];
        let told = told.into_iter().filter(|(count, _)| *count > 0);
        let told: Vec<String> = told.map(|(count, word)| format!("{count} {word}")).collect();
        let paged = notices.iter().any(|notice| notice.severity == Severity::Page);
        Notice {
            kind: if fired > 0 { Kind::Firing } else { Kind::Resolved },
            episode_id: String::new(),
            rule_id: String::new(),
            severity: if paged { Severity::Page } else { Severity::Ticket },
            title: format!("{} notices", notices.len()),
            summary: told.join(", "),
            facts: notices.iter().map(|notice| (notice.heading(), notice.summary.clone())).collect(),
            labels: Vec::new(),
            started_ms: notices.iter().map(|notice| notice.started_ms).min().unwrap_or_default(),
            ended_ms: None,
            occurred_ms: notices.iter().map(|notice| notice.occurred_ms).max().unwrap_or_default(),
        }
    }

    /// What a heading begins with: `FIRING page`, `RESOLVED`.
    pub fn heading(&self) -> String {
        let word = match self.kind {
            Kind::Combined => "FIRED AND RESOLVED".to_owned(),
            kind => kind.word().to_uppercase(),
        };
        if self.kind == Kind::Firing { format!("{word} {}", self.severity.word()) } else { word }
    }
}

impl Kind {
    /// As stored and sent.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Acknowledged => "acknowledged",
            Kind::Change => "change",
            Kind::Combined => "combined",
            Kind::Firing => "firing",
            Kind::Health => "health",
            Kind::Report => "report",
            Kind::Resolved => "resolved",
            Kind::Test => "test",
        }
    }
}

/// What the summary of an acknowledged alert begins with.
pub fn acknowledgement(actor: &str) -> String {
    format!("{} looks after it: ", plain(actor))
}

/// Text of somebody else, to stand in a sentence of ours: what is written from right to left does not turn
/// what stands around it.
pub(crate) fn plain(text: &str) -> String {
    let plain = line(text);
    if plain.chars().any(is_right_to_left) { format!("{ISOLATE}{plain}{ISOLATE_END}") } else { plain }
}

/// Text of somebody else, on one line and of bearable length: no control characters, and none of those
/// that turn the direction of writing.
pub(crate) fn line(text: &str) -> String {
    let characters = text.chars().filter_map(plain_char).filter(|c| !matches!(*c, ISOLATE | ISOLATE_END));
    let mut plain: String = characters.take(LONGEST_TEXT + 1).collect();
    if let Some((cut, _)) = plain.char_indices().nth(LONGEST_TEXT) {
        plain.truncate(cut);
        plain.push('…');
    }
    plain
}

/// The character, a space for a line break, or nothing. The marks [`plain`] sets stay.
pub(crate) fn plain_char(c: char) -> Option<char> {
    match c {
        '\n' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'
        | '\u{2067}'
        | '\u{feff}' => None,
        c if c.is_control() => None,
        c => Some(c),
    }
}

fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// Begins a stretch whose direction of writing is its own.
pub(crate) const ISOLATE: char = '\u{2068}';
/// Ends it.
pub(crate) const ISOLATE_END: char = '\u{2069}';

fn closed(
    rule: &Rule,
    kind: Kind,
    episode_id: &str,
    subject: Option<&Subject<'_>>,
    resolved: &Resolved,
) -> Notice {
    let mut notice = about(rule, kind, episode_id, subject, resolved.since_ms, resolved.resolved_ms);
    notice.ended_ms = Some(resolved.resolved_ms);
    let on = on(rule, subject);
    let lasted = (resolved.resolved_ms - resolved.since_ms) / MINUTE_MS;
    let (now, threshold) = shown(rule, resolved.value.unwrap_or_default());
    let (worst, _) = shown(rule, resolved.worst);
    notice.summary += &match (resolved.reason, rule.measure) {
        (Reason::StillSilent, _) => format!("no calls{on} for a day, which is no longer news"),
        (Reason::DataAgain, _) => format!("data again{on} after {lasted} min without"),
        (Reason::NoCalls, measure) => {
            format!("no calls to measure any more{on}; {} was up to {worst}", measure.label())
        }
        (Reason::Recovered, _) if rule.method != Method::Threshold => {
            let label = rule.measure.label();
            format!(
                "{label} {} {now} again{on} after {lasted} min (limit {threshold}, worst {worst})",
                judged(rule)
            )
        }
        (Reason::Recovered, Measure::News) => format!("known by now{on}"),
        (Reason::Recovered, Measure::Lost) => {
            format!("no call records lost any more, {lasted} min after the first")
        }
        (Reason::Recovered, Measure::Silence) => format!("calls again{on}"),
        (Reason::Recovered, measure) => {
            let label = measure.label();
            format!("{label} back to {now}{on} after {lasted} min (limit {threshold}, worst {worst})")
        }
    };
    let mut fact = |name: &str, value: String| notice.facts.push((name.to_owned(), value));
    if rule.measure != Measure::Silence {
        fact("Worst", worst);
    }
    fact("Lasted", format!("{lasted} min"));
    notice
}

/// The parts all notices about an alert share; the summary starts with the tenant.
fn about(
    rule: &Rule,
    kind: Kind,
    episode_id: &str,
    subject: Option<&Subject<'_>>,
    started_ms: i64,
    occurred_ms: i64,
) -> Notice {
    let pair = |name: &str, value: &str| (name.to_owned(), plain(value));
    let label = |name: &str, value: &str| (name.to_owned(), line(value));
    let has_tenant = rule.scope.has_tenant();
    Notice {
        kind,
        episode_id: episode_id.to_owned(),
        rule_id: rule.id.to_string(),
        severity: rule.severity,
        title: rule.title.to_string(),
        summary: subject.map(|subject| subject.whose(rule.scope)).unwrap_or_default(),
        facts: subject.map_or(Vec::new(), |subject| {
            let tenant = has_tenant.then(|| pair("Tenant", subject.tenant_name));
            tenant.into_iter().chain([pair(rule.scope.title(), subject.name)]).collect()
        }),
        labels: subject.map_or(Vec::new(), |subject| {
            let tenant = has_tenant.then(|| label("tenant_id", subject.tenant_id));
            let provider = rule.scope.provider_of(subject.route).filter(|_| rule.scope != Scope::Provider);
            let provider = provider.map(|provider| label("provider", provider));
            let series = label(rule.scope.label(), subject.route);
            tenant.into_iter().chain([series]).chain(provider).collect()
        }),
        started_ms,
        ended_ms: None,
        occurred_ms,
    }
}

/// What a fact with the measure is called.
pub fn name_of(measure: Measure) -> Cow<'static, str> {
    match measure {
        Measure::ErrorShare => "5xx share".into(),
        Measure::Lost => "Records lost".into(),
        Measure::MeanWait => "Mean wait".into(),
        Measure::Silence => "Minutes with calls before".into(),
        other => other.label(),
    }
}

fn on(rule: &Rule, subject: Option<&Subject<'_>>) -> String {
    subject.map(|subject| subject.place(rule.scope)).unwrap_or_default()
}

/// The measure and the rule's threshold in the measure's unit, with as many decimals as it takes to
/// tell them apart.
fn shown(rule: &Rule, value: f64) -> (String, String) {
    let unit = rule.unit();
    let least = match unit {
        Unit::Plain => 2,
        Unit::Share | Unit::Spreads | Unit::Times => 1,
        Unit::Count | Unit::Days | Unit::Microusd | Unit::Milliseconds => 0,
    };
    let pair = |decimals| (write(unit, value, decimals), write(unit, rule.threshold, decimals));
    (least..5).map(pair).find(|(value, threshold)| value != threshold).unwrap_or_else(|| pair(5))
}

fn write(unit: Unit, number: f64, decimals: usize) -> String {
    let (scale, unit) = match unit {
        Unit::Count | Unit::Plain => (1.0, ""),
        Unit::Days => (1.0, " days"),
        Unit::Microusd => (1e-6, " $"),
        Unit::Milliseconds => (1.0, " ms"),
        Unit::Share => (100.0, " %"),
        Unit::Spreads => (1.0, " spreads"),
        Unit::Times => (1.0, " times"),
    };
    let digits = format!("{:.decimals$}", number * scale);
    let short = if decimals == 0 { &digits } else { digits.trim_end_matches('0').trim_end_matches('.') };
    format!("{short}{unit}")
}

/// What stands between the measure and its value.
fn judged(rule: &Rule) -> String {
    match rule.method {
        Method::Anomaly => "differs from what is usual at this hour by".to_owned(),
        Method::BurnRate { objective } => {
            format!("spends the budget that {} leaves, by a window's rate", write(Unit::Share, objective, 2))
        }
        Method::Drift => "is spread differently from the week before, by an index of".to_owned(),
        Method::Drop => "against the hour before:".to_owned(),
        Method::Knee => "grows faster beyond a certain load, of which an hour had".to_owned(),
        Method::Segments => "less that of all other calls is".to_owned(),
        Method::Shift => "differs little but steadily from what was usual, in sum".to_owned(),
        Method::Surge => "in an hour against what the week before allows:".to_owned(),
        Method::Threshold => "is".to_owned(),
        Method::Trend { limit } => format!("will reach {} in", write(rule.measure.unit(), limit, 1)),
    }
}

const LONGEST_TEXT: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::shipped;

    #[test]
    fn a_firing_notice_says_what_was_measured_and_against_what() {
        for (rule, value, count, summary) in [
            (
                "error-share",
                0.032_038_8,
                412,
                "demo: 5xx share 3.2 % > 1 % on /v1/chat/completions (5 min, 412 calls)",
            ),
            (
                "slow-response",
                640.4,
                1234,
                "demo: mean wait 640 ms > 500 ms on /v1/chat/completions (5 min, 1234 calls)",
            ),
            (
                "no-calls",
                58.0 / 60.0,
                0,
                "demo: no calls for 10 min on /v1/chat/completions (calls in 58 of the 60 minutes before)",
            ),
        ] {
            assert_eq!(firing(rule, value, count).summary, summary);
        }
        let lost = Notice::firing(&shipped("records-lost").unwrap(), "ep_1", None, &fired(3.0, 0));
        assert_eq!(lost.summary, "call records lost: 3 (5 min)");
        assert_eq!((lost.labels, lost.facts), (vec![], pairs(&[("Records lost", "3"), ("Threshold", "0")])));
    }

    #[test]
    fn a_notice_of_each_method_reads_as_a_sentence() {
        let own = |json: &str| Rule::parse("ru_1", json.as_bytes()).unwrap();
        for (rule, value, baseline, summary, fact) in [
            (
                r#"{"title":"t","measure":"p95(wait)","threshold":3000}"#,
                3_400.0,
                None,
                "demo: p95 wait 3400 ms > 3000 ms on /v1/chat/completions (5 min, 412 calls)",
                ("Calls", "412 in 5 min"),
            ),
            (
                r#"{"title":"t","measure":"cost_microusd","threshold":5000000}"#,
                7_250_000.0,
                None,
                "demo: cost 7 $ > 5 $ on /v1/chat/completions (5 min, 412 calls)",
                ("Calls", "412 in 5 min"),
            ),
            (
                r#"{"title":"t","measure":"mean_wait","method":"anomaly","threshold":5}"#,
                7.25,
                Some(312.0),
                "demo: mean wait differs from what is usual at this hour by 7.2 spreads on /v1/chat/completions (limit 5 spreads, 412 calls)",
                ("Usual", "312 ms"),
            ),
            (
                r#"{"title":"t","measure":"error_share","method":{"kind":"burn_rate","objective":0.99},"threshold":1}"#,
                1.5,
                Some(13.44),
                "demo: 5xx share spends the budget that 99 % leaves, by a window's rate 1.5 times on /v1/chat/completions (limit 1 times, 412 calls)",
                ("Rate allowed", "13.4 times"),
            ),
            (
                r#"{"title":"t","measure":"calls","method":"drop","threshold":0.5}"#,
                0.2,
                Some(600.0),
                "demo: calls against the hour before: 20 % on /v1/chat/completions (limit 50 %, 412 calls)",
                ("Expected", "600"),
            ),
            (
                r#"{"title":"t","measure":"mean_wait","method":{"kind":"trend","limit":500},"threshold":7}"#,
                4.2,
                Some(470.0),
                "demo: mean wait will reach 500 ms in 4 days on /v1/chat/completions (limit 7 days, 412 calls)",
                ("Now", "470 ms"),
            ),
            (
                r#"{"title":"t","measure":"errors","method":"surge","threshold":1}"#,
                3.0,
                Some(120.0),
                "demo: errors in an hour against what the week before allows: 3 times on /v1/chat/completions (limit 1 times, 412 calls)",
                ("Limit of the hour", "120"),
            ),
            (
                r#"{"title":"t","measure":"p50(wait)","method":"drift","threshold":0.25}"#,
                0.31,
                None,
                "demo: p50 wait is spread differently from the week before, by an index of 0.31 on /v1/chat/completions (limit 0.25, 412 calls)",
                ("Calls", "412"),
            ),
            (
                r#"{"title":"t","measure":"model_days_left","threshold":30}"#,
                12.0,
                None,
                "demo: time until a model in use is switched off on /v1/chat/completions is 12 days (412 calls within a day)",
                ("Calls", "412"),
            ),
            (
                r#"{"title":"t","measure":"source_denied","threshold":100}"#,
                412.0,
                None,
                "demo: calls refused with 401 or 403 412 > 100 from network /v1/chat/completions (5 min)",
                ("Calls", "412 in 5 min"),
            ),
            (
                r#"{"title":"t","measure":"source_targets","threshold":20}"#,
                35.0,
                None,
                "demo: different keys or models refused 35 > 20 from network /v1/chat/completions (5 min, 412 calls)",
                ("Calls", "412 in 5 min"),
            ),
            (
                r#"{"title":"t","measure":"new_countries","threshold":0}"#,
                2.0,
                Some(3.0),
                "demo: calls from 2 new countries by key /v1/chat/completions (412 calls)",
                ("Known before", "3"),
            ),
            (
                r#"{"title":"t","measure":"key_volume","threshold":10}"#,
                20.6,
                Some(20.0),
                "demo: calls of a day against the middle day 20.6 times > 10 times by key /v1/chat/completions (412 calls)",
                ("Middle day", "20"),
            ),
            (
                r#"{"title":"t","measure":"database_days_left","threshold":14}"#,
                9.0,
                None,
                "demo: time until the database is full is 9 days, by 412 days",
                ("Days seen", "412"),
            ),
        ] {
            let rule = own(rule);
            let mut notice = Notice::firing(&rule, "ep_1", Some(&DEMO), &fired(value, 412));
            if let Some(baseline) = baseline {
                notice = notice.with_baseline(&rule, baseline);
            }
            assert_eq!(notice.summary, summary);
            let (name, value) = notice.facts.last().unwrap();
            assert_eq!((name.as_str(), value.as_str()), fact);
        }
    }

    #[test]
    fn what_else_is_known_ends_the_sentence() {
        let rule = shipped("key-new-country").unwrap();
        let detail = Detail { text: "BR".to_owned(), ..Detail::default() }.fact("New", "BR\u{202e}");
        let key = Subject { route: "key_1", name: "laptop", ..DEMO };
        let notice = Notice::firing(&rule, "ep_1", Some(&key), &fired(1.0, 12)).with_detail(&detail);
        assert_eq!(notice.summary, "demo: calls from a new country by key laptop (12 calls): BR");
        assert_eq!(notice.facts[1], ("Key".to_owned(), "laptop".to_owned()));
        assert_eq!(notice.facts.last(), Some(&("New".to_owned(), "BR".to_owned())));
        assert_eq!(notice.labels, pairs(&[("tenant_id", "tn_1"), ("key", "key_1")]));
    }

    #[test]
    fn a_measure_just_beyond_its_threshold_does_not_read_as_equal() {
        for (value, shown) in
            [(0.0101, "1.01 % > 1 %"), (0.010_000_4, "1.00004 % > 1 %"), (0.1, "10 % > 1 %")]
        {
            assert!(firing("error-share", value, 50).summary.contains(shown), "{value}");
        }
        assert!(firing("slow-response", 500.25, 50).summary.contains("500.2 ms > 500 ms"));
    }

    #[test]
    fn a_notice_carries_what_there_is_to_know() {
        let notice = firing("error-share", 0.5, 60);
        let expected = Notice {
            kind: Kind::Firing,
            episode_id: "ep_1".to_owned(),
            rule_id: "error-share".to_owned(),
            severity: Severity::Ticket,
            title: "High 5xx share".to_owned(),
            summary: "demo: 5xx share 50 % > 1 % on /v1/chat/completions (5 min, 60 calls)".to_owned(),
            facts: pairs(&[
                ("Tenant", "demo"),
                ("Route", "/v1/chat/completions"),
                ("5xx share", "50 %"),
                ("Threshold", "1 %"),
                ("Calls", "60 in 5 min"),
            ]),
            labels: pairs(&[("tenant_id", "tn_1"), ("route", "/v1/chat/completions")]),
            started_ms: MINUTE_MS,
            ended_ms: None,
            occurred_ms: 6 * MINUTE_MS,
        };
        assert_eq!(notice, expected);
        let stored = serde_json::to_string(&notice).unwrap();
        assert_eq!(serde_json::from_str::<Notice>(&stored).unwrap(), notice);
    }

    #[test]
    fn a_resolved_notice_says_how_it_ended() {
        use Reason::{NoCalls, Recovered, StillSilent};
        for (rule, value, worst, reason, summary) in [
            (
                "error-share",
                Some(0.004),
                0.124,
                Recovered,
                "demo: 5xx share back to 0.4 % on /v1/chat/completions after 14 min (limit 1 %, worst 12.4 %)",
            ),
            (
                "error-share",
                None,
                0.124,
                NoCalls,
                "demo: no calls to measure any more on /v1/chat/completions; 5xx share was up to 12.4 %",
            ),
            (
                "slow-response",
                Some(310.0),
                2_100.0,
                Recovered,
                "demo: mean wait back to 310 ms on /v1/chat/completions after 14 min (limit 500 ms, worst 2100 ms)",
            ),
            (
                "slow-response",
                None,
                2_100.0,
                NoCalls,
                "demo: no calls to measure any more on /v1/chat/completions; mean wait was up to 2100 ms",
            ),
            ("no-calls", Some(0.0), 1.0, Recovered, "demo: calls again on /v1/chat/completions"),
            (
                "no-calls",
                Some(0.0),
                1.0,
                StillSilent,
                "demo: no calls on /v1/chat/completions for a day, which is no longer news",
            ),
        ] {
            let notice = Notice::resolved(
                &shipped(rule).unwrap(),
                "ep_1",
                Some(&DEMO),
                &resolved(value, worst, reason),
            );
            assert_eq!(notice.summary, summary);
            assert_eq!((notice.kind, notice.ended_ms), (Kind::Resolved, Some(15 * MINUTE_MS)));
        }
        let rule = shipped("records-lost").unwrap();
        let notice = Notice::resolved(&rule, "ep_1", None, &resolved(Some(0.0), 3.0, Recovered));
        assert_eq!(notice.summary, "no call records lost any more, 14 min after the first");
    }

    #[test]
    fn a_combined_notice_tells_both_sides_at_once() {
        let rule = shipped("error-share").unwrap();
        let notice =
            Notice::combined(&rule, "ep_1", Some(&DEMO), &resolved(Some(0.0), 0.02, Reason::Recovered));
        assert_eq!(notice.kind, Kind::Combined);
        assert_eq!(
            notice.summary,
            "demo: 5xx share back to 0 % on /v1/chat/completions after 14 min (limit 1 %, worst 2 %). \
             That it fired could not be delivered at the time"
        );
    }

    #[test]
    fn names_of_tenants_are_one_line_of_bearable_length() {
        assert_eq!(plain("a\nb\u{7}\u{202e}c\u{0}"), "a bc");
        assert_eq!(plain("a\u{2069}\u{2066}b\u{feff}\u{61c}"), "ab");
        assert_eq!(plain("שלום\u{2069}"), "\u{2068}שלום\u{2069}");
        assert_eq!(plain(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(plain(&"é".repeat(201)), "é".repeat(200) + "…");
        let subject = Subject { tenant_name: "evil\r\n\u{1b}[31m", ..DEMO };
        let notice =
            Notice::firing(&shipped("error-share").unwrap(), "ep_1", Some(&subject), &fired(1.0, 50));
        assert!(notice.summary.starts_with("evil [31m: 5xx share 100 %"), "{}", notice.summary);
        assert_eq!(notice.facts[0].1, "evil [31m");
    }

    #[test]
    fn several_notices_read_as_one() {
        let page = Notice { severity: Severity::Page, ..firing("error-share", 0.5, 60) };
        let resolved = Notice { kind: Kind::Resolved, ..firing("error-share", 0.5, 60) };
        let health = Notice::receiver_disabled("ops", "HTTP 410", 0);
        let together = Notice::together(&[page.clone(), page.clone(), resolved.clone(), health.clone()]);
        assert_eq!(
            (together.title.as_str(), together.summary.as_str()),
            ("4 notices", "2 fired, 1 resolved, 1 other")
        );
        assert_eq!((together.kind, together.heading().as_str()), (Kind::Firing, "FIRING page"));
        let facts: Vec<&str> = together.facts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(facts, ["FIRING page", "FIRING page", "RESOLVED", "HEALTH"]);
        assert_eq!(together.facts[3].1, "the receiver ops was switched off and hears no more: HTTP 410");
        assert_eq!(Notice::together(&[resolved.clone(), resolved]).kind, Kind::Resolved);
    }

    const DEMO: Subject<'_> = Subject {
        tenant_id: "tn_1",
        tenant_name: "demo",
        route: "/v1/chat/completions",
        name: "/v1/chat/completions",
    };

    fn firing(rule: &str, value: f64, count: i64) -> Notice {
        Notice::firing(&shipped(rule).unwrap(), "ep_1", Some(&DEMO), &fired(value, count))
    }

    fn fired(value: f64, count: i64) -> Fired {
        Fired { since_ms: MINUTE_MS, opened_ms: 6 * MINUTE_MS, value, count }
    }

    fn resolved(value: Option<f64>, worst: f64, reason: Reason) -> Resolved {
        let resolved_ms = 15 * MINUTE_MS;
        Resolved { since_ms: MINUTE_MS, opened_ms: 6 * MINUTE_MS, resolved_ms, value, worst, reason }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}
