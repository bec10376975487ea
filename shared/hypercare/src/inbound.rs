//! Alerts of others: what an Alertmanager posts, and a plainer form for everybody else.

use serde_json::{Map, Value};

use crate::FieldError;
use crate::alert::fingerprint;
use crate::notice::{Kind, Notice, plain};
use crate::rule::Severity;
use crate::silence::Labels;
use crate::time::{MINUTE_MS, parse_rfc3339};

/// An alert somebody else raised or lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// Of the sender and the labels: what tells alerts apart.
    pub fingerprint: String,
    /// Who sent it.
    pub source: String,
    /// What stands for the rule.
    pub rule_id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub labels: Labels,
    /// A few words.
    pub title: String,
    /// One sentence.
    pub summary: String,
    /// Where there is more to read.
    pub url: Option<String>,
    /// Since when, unix milliseconds.
    pub starts_ms: Option<i64>,
    /// When it ended, if it has.
    pub ended_ms: Option<i64>,
    /// Until when it fires at most, as its sender says.
    pub ends_ms: Option<i64>,
}

/// Reads the body an Alertmanager posts, version 4 of it.
pub fn alertmanager(body: &[u8], now_ms: i64) -> Result<Vec<Inbound>, FieldError> {
    let root = object(body)?;
    if root.get("version").and_then(Value::as_str) != Some("4") {
        return Err(FieldError::new("version", "must be \"4\""));
    }
    let read = |alert: &Map<String, Value>| {
        let annotations = strings(alert.get("annotations"));
        let said = |names: &[&str]| names.iter().find_map(|name| annotations.get(*name).cloned());
        Raw {
            labels: strings(alert.get("labels")),
            title: None,
            summary: said(&["summary", "description", "message"]),
            url: said(&["runbook_url"]).or_else(|| text(alert.get("generatorURL"))),
            is_over: alert.get("status").and_then(Value::as_str) == Some("resolved"),
            starts_ms: time(alert.get("startsAt")),
            ends_ms: time(alert.get("endsAt")),
            severity: None,
            source: None,
        }
    };
    each(&root, read)?.into_iter().map(|raw| raw.finish("alertmanager", "alertname", now_ms)).collect()
}

/// Reads the plain form: one alert, or a list of them as `alerts`.
pub fn generic(body: &[u8], now_ms: i64) -> Result<Vec<Inbound>, FieldError> {
    let root = object(body)?;
    let read = |alert: &Map<String, Value>| {
        let mut labels = strings(alert.get("labels"));
        for name in ["name", "tenant_id", "provider", "model", "route"] {
            if let Some(value) = text(alert.get(name)) {
                labels.insert(name.to_owned(), value);
            }
        }
        Raw {
            labels,
            title: text(alert.get("title")),
            summary: text(alert.get("summary")),
            url: text(alert.get("url")),
            is_over: alert.get("status").and_then(Value::as_str) == Some("resolved"),
            starts_ms: time(alert.get("starts_at")),
            ends_ms: time(alert.get("ends_at")),
            severity: text(alert.get("severity")),
            source: text(alert.get("source")),
        }
    };
    let alerts = if root.contains_key("alerts") { each(&root, read)? } else { vec![read(&root)] };
    alerts.into_iter().map(|raw| raw.finish("external", "name", now_ms)).collect()
}

impl Inbound {
    /// The notice that it fires, for the episode of this name.
    pub fn firing(&self, episode_id: &str, started_ms: i64) -> Notice {
        let mut notice = Notice::test("", started_ms);
        notice.kind = Kind::Firing;
        notice.episode_id = episode_id.to_owned();
        notice.rule_id.clone_from(&self.rule_id);
        notice.severity = self.severity;
        notice.title = plain(&self.title);
        notice.summary = plain(&self.summary);
        notice.facts = vec![("From".to_owned(), plain(&self.source))];
        notice.facts.extend(self.url.as_ref().map(|url| ("More".to_owned(), url.clone())));
        notice.labels = self.labels.iter().map(|(name, value)| (plain(name), plain(value))).collect();
        notice
    }

    /// When it is over unless it is repeated: at the end its sender names, or after this long.
    pub fn expires_ms(&self, now_ms: i64, resolve_minutes: i64) -> i64 {
        self.ends_ms.unwrap_or(now_ms + resolve_minutes * MINUTE_MS)
    }

    /// The notice that it is over.
    pub fn resolved(&self, episode_id: &str, started_ms: i64, ended_ms: i64) -> Notice {
        let firing = self.firing(episode_id, started_ms);
        Notice {
            kind: Kind::Resolved,
            summary: format!("over: {}", firing.summary),
            ended_ms: Some(ended_ms),
            occurred_ms: ended_ms,
            ..firing
        }
    }
}

/// An alert as it was sent.
struct Raw {
    labels: Labels,
    title: Option<String>,
    summary: Option<String>,
    url: Option<String>,
    is_over: bool,
    starts_ms: Option<i64>,
    ends_ms: Option<i64>,
    severity: Option<String>,
    source: Option<String>,
}

impl Raw {
    fn finish(mut self, source: &str, name_label: &str, now_ms: i64) -> Result<Inbound, FieldError> {
        let Some(name) = self.labels.get(name_label).cloned() else {
            return Err(FieldError::new("labels", format!("must name the alert as `{name_label}`")));
        };
        let source = self.source.unwrap_or_else(|| source.to_owned());
        let pairs: Vec<(&str, &str)> =
            self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let fingerprint = fingerprint(&format!("from/{source}"), &pairs);
        let word = self.severity.or_else(|| self.labels.get("severity").cloned()).unwrap_or_default();
        let is_page =
            matches!(word.to_ascii_lowercase().as_str(), "page" | "critical" | "error" | "crit" | "p1");
        let severity = if is_page { Severity::Page } else { Severity::Ticket };
        let rule_id = format!("{source}/{name}");
        self.labels.insert("rule".to_owned(), rule_id.clone());
        self.labels.insert("severity".to_owned(), severity.word().to_owned());
        // What ends in the future has not ended.
        let ended_ms = self.is_over.then(|| self.ends_ms.filter(|ms| *ms <= now_ms).unwrap_or(now_ms));
        Ok(Inbound {
            fingerprint,
            source,
            rule_id,
            severity,
            labels: self.labels,
            title: self.title.unwrap_or_else(|| name.clone()),
            summary: self.summary.unwrap_or(name),
            url: self.url.filter(|url| url.starts_with("https://") || url.starts_with("http://")),
            starts_ms: self.starts_ms.filter(|ms| *ms <= now_ms),
            ended_ms,
            ends_ms: self.ends_ms.filter(|ms| *ms > now_ms),
        })
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, FieldError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(FieldError::new("body", "must be a JSON object")),
    }
}

fn each(
    root: &Map<String, Value>,
    read: impl Fn(&Map<String, Value>) -> Raw,
) -> Result<Vec<Raw>, FieldError> {
    let wrong = || FieldError::new("alerts", format!("must be a list of at most {MOST_ALERTS} objects"));
    let alerts = root.get("alerts").and_then(Value::as_array).filter(|alerts| alerts.len() <= MOST_ALERTS);
    alerts.ok_or_else(wrong)?.iter().map(|alert| alert.as_object().map(&read).ok_or_else(wrong)).collect()
}

fn strings(value: Option<&Value>) -> Labels {
    let pairs = value.and_then(Value::as_object).into_iter().flatten();
    pairs.take(MOST_LABELS).filter_map(|(name, value)| Some((plain(name), plain(value.as_str()?)))).collect()
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty() && text.len() <= 2_000).map(str::to_owned)
}

fn time(value: Option<&Value>) -> Option<i64> {
    let ms = value?.as_str().map_or_else(|| value?.as_i64(), parse_rfc3339)?;
    // An Alertmanager writes the year 1 for none.
    (ms > 0).then_some(ms)
}

/// How long an alert holds that its sender does not repeat and names no end of: three times as long as an Alertmanager
/// takes to repeat one by default (`repeat_interval`, four hours), so that one repetition may get lost.
pub const RESOLVE_MINUTES: i64 = 720;
const MOST_ALERTS: usize = 500;
const MOST_LABELS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alertmanagers_alerts_are_read() {
        let body = br#"{"version":"4","groupKey":"{}:{alertname=\"HighLoad\"}","truncatedAlerts":0,"status":"firing",
            "receiver":"hypergate","groupLabels":{"alertname":"HighLoad"},"commonLabels":{},"commonAnnotations":{},
            "externalURL":"http://am.example","alerts":[
            {"status":"firing","labels":{"alertname":"HighLoad","severity":"critical","instance":"a:9100"},
             "annotations":{"summary":"Load is 12","runbook_url":"https://runbooks.example/load"},
             "startsAt":"2026-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z",
             "generatorURL":"http://prometheus.example/graph","fingerprint":"f1"},
            {"status":"resolved","labels":{"alertname":"HighLoad","severity":"warning","instance":"b:9100"},
             "annotations":{},"startsAt":"2026-01-01T00:00:00Z","endsAt":"2026-01-01T00:05:00Z",
             "generatorURL":"javascript:alert(1)"}]}"#;
        let now_ms = parse_rfc3339("2026-01-01T01:00:00Z").unwrap();
        let alerts = alertmanager(body, now_ms).unwrap();
        let [one, other] = &alerts[..] else { panic!("{alerts:?}") };
        assert_eq!(
            (one.rule_id.as_str(), one.severity, one.ended_ms),
            ("alertmanager/HighLoad", Severity::Page, None)
        );
        assert_eq!((one.title.as_str(), one.summary.as_str()), ("HighLoad", "Load is 12"));
        assert_eq!(one.url.as_deref(), Some("https://runbooks.example/load"));
        assert_eq!(one.starts_ms, parse_rfc3339("2026-01-01T00:00:00Z"));
        assert_eq!(one.labels["instance"], "a:9100");
        assert_eq!(
            (other.severity, other.summary.as_str(), other.url.as_deref()),
            (Severity::Ticket, "HighLoad", None)
        );
        assert_eq!(other.ended_ms, parse_rfc3339("2026-01-01T00:05:00Z"));
        assert_ne!(one.fingerprint, other.fingerprint);
    }

    #[test]
    fn the_plain_form_is_one_alert_or_several() {
        let one = generic(
            br#"{"name":"status","provider":"openai","severity":"page","summary":"Elevated errors"}"#,
            9,
        )
        .unwrap();
        assert_eq!(one.len(), 1);
        assert_eq!((one[0].rule_id.as_str(), one[0].severity), ("external/status", Severity::Page));
        assert_eq!(one[0].labels["provider"], "openai");
        let two = generic(br#"{"alerts":[{"name":"a","source":"statuspage"},{"name":"b","status":"resolved","ends_at":7}]}"#, 9).unwrap();
        assert_eq!((two[0].rule_id.as_str(), two[0].ended_ms), ("statuspage/a", None));
        assert_eq!((two[1].summary.as_str(), two[1].ended_ms), ("b", Some(7)));
        // Who says the same twice means the same alert.
        let again =
            generic(br#"{"severity":"page","provider":"openai","name":"status","status":"resolved"}"#, 9)
                .unwrap();
        assert_eq!((&again[0].fingerprint, again[0].ended_ms), (&one[0].fingerprint, Some(9)));
    }

    #[test]
    fn an_alert_that_is_not_repeated_ends_when_its_sender_says_or_after_a_while() {
        for (body, expected) in [
            (r#"{"name":"a"}"#, 10 + 30 * MINUTE_MS),
            (r#"{"name":"a","ends_at":99}"#, 99),
            // Over already, but it is said to fire.
            (r#"{"name":"a","ends_at":9}"#, 10 + 30 * MINUTE_MS),
        ] {
            assert_eq!(generic(body.as_bytes(), 10).unwrap()[0].expires_ms(10, 30), expected, "{body}");
        }
    }

    #[test]
    fn what_is_no_alert_is_refused_by_field() {
        for (result, field) in [
            (alertmanager(b"[]", 0), "body"),
            (alertmanager(br#"{"version":"3","alerts":[]}"#, 0), "version"),
            (alertmanager(br#"{"version":"4"}"#, 0), "alerts"),
            (alertmanager(br#"{"version":"4","alerts":[1]}"#, 0), "alerts"),
            (alertmanager(br#"{"version":"4","alerts":[{"labels":{}}]}"#, 0), "labels"),
            (generic(b"{}", 0), "labels"),
            (generic(br#"{"alerts":7}"#, 0), "alerts"),
        ] {
            assert_eq!(result.unwrap_err().field, field);
        }
    }

    #[test]
    fn its_notices_name_who_sent_it() {
        let alerts =
            generic(br#"{"name":"s\u202ex","summary":"a\nb","url":"https://x.example"}"#, 9).unwrap();
        let firing = alerts[0].firing("ep_1", 5);
        assert_eq!((firing.kind, firing.summary.as_str(), firing.started_ms), (Kind::Firing, "a b", 5));
        assert_eq!(firing.facts[0], ("From".to_owned(), "external".to_owned()));
        let resolved = alerts[0].resolved("ep_1", 5, 8);
        assert_eq!(
            (resolved.kind, resolved.ended_ms, resolved.summary.as_str()),
            (Kind::Resolved, Some(8), "over: a b")
        );
    }
}
