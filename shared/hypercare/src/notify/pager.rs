//! Pagers and what keeps alerts: told that something fired and, under the same key, that it is over.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    Error, Letter, Wire, form_encode,
    text::{Style, literal, utf16},
};
use crate::notice::{Kind, Notice};
use crate::rule::Severity;
use crate::time::rfc3339;

/// PagerDuty: Events API v2. What is no alert is a change event, which wakes nobody.
///
/// An alert that nobody could be told of in time is resolved all the same: an attempt that seemed to fail may
/// have arrived, and resolving what is not there does nothing.
pub(super) fn pagerduty(letter: &Letter<'_>) -> Result<Wire, Error> {
    let notice = letter.notice;
    let (path, action) = match notice.kind {
        Kind::Acknowledged => ("enqueue", "acknowledge"),
        Kind::Change | Kind::Report => ("change/enqueue", ""),
        Kind::Combined | Kind::Resolved => ("enqueue", "resolve"),
        Kind::Firing | Kind::Health | Kind::Test => ("enqueue", "trigger"),
    };
    let mut event = json!({"routing_key": letter.secret});
    if !action.is_empty() {
        event["event_action"] = json!(action);
        event["dedup_key"] = json!(letter.key());
    }
    if matches!(action, "" | "trigger") {
        let mut payload = json!({
            "summary": PLAIN.fit(&notice.summary, 1_024),
            "source": SOURCE,
            "timestamp": rfc3339(notice.occurred_ms),
            "custom_details": details(notice),
        });
        if action == "trigger" {
            event["client"] = json!(SOURCE);
            payload["severity"] = json!(match (notice.kind, notice.severity) {
                (Kind::Test, _) => "info",
                (_, Severity::Page) => "critical",
                (_, Severity::Ticket) => "warning",
            });
            payload["class"] = json!(PLAIN.fit(notice_class(notice), 200));
            if let Some(route) = label(notice, "route") {
                payload["component"] = json!(PLAIN.fit(route, 200));
            }
        }
        event["payload"] = payload;
    }
    Ok(Wire::json(&format!("{}/v2/{path}", letter.base()), &event))
}

/// Opsgenie, and Jira Service Management, which took over its API.
pub(super) fn opsgenie(letter: &Letter<'_>) -> Result<Wire, Error> {
    let notice = letter.notice;
    let key = letter.key();
    let alerts = format!("{}/v2/alerts", letter.base());
    let action = match notice.kind {
        Kind::Acknowledged => "acknowledge",
        Kind::Combined | Kind::Resolved => "close",
        Kind::Change | Kind::Firing | Kind::Health | Kind::Report | Kind::Test => "",
    };
    let mut wire = if action.is_empty() {
        let body = json!({
            "message": PLAIN.fit(&notice.summary, 130),
            "alias": key,
            "description": PLAIN.fit(&notice.summary, 2_000),
            "details": details(notice),
            "entity": PLAIN.fit(label(notice, "route").unwrap_or(SOURCE), 500),
            "source": SOURCE,
            "tags": [PLAIN.fit(notice_class(notice), 50)],
            "priority": match (notice.kind, notice.severity) {
                (Kind::Report | Kind::Test, _) => "P5",
                (_, Severity::Page) => "P1",
                (_, Severity::Ticket) => "P3",
            },
        });
        Wire::json(&alerts, &body)
    } else {
        let url = format!("{alerts}/{}/{action}?identifierType=alias", form_encode(&key));
        Wire::json(&url, &json!({"source": SOURCE, "note": PLAIN.fit(&notice.summary, 2_000)}))
    };
    wire.headers.push(("authorization", format!("GenieKey {}", letter.secret)));
    Ok(wire)
}

/// incident.io: an alert source of the kind HTTP.
pub(super) fn incident_io(letter: &Letter<'_>) -> Result<Wire, Error> {
    let notice = letter.notice;
    // A report is nothing to look after.
    let resolved = matches!(notice.kind, Kind::Combined | Kind::Report | Kind::Resolved);
    let mut metadata = details(notice);
    metadata.insert("severity".to_owned(), json!(notice.severity.word()));
    let event = json!({
        "title": PLAIN.fit(&notice.title, 200),
        "description": PLAIN.fit(&notice.summary, 2_000),
        "deduplication_key": letter.key(),
        "status": if resolved { "resolved" } else { "firing" },
        "metadata": metadata,
    });
    let mut wire = Wire::json(letter.url, &event);
    wire.headers.push(("authorization", format!("Bearer {}", letter.secret)));
    Ok(wire)
}

/// The body Alertmanager's webhooks have, version 4, for tools that read it. It takes several alerts.
pub(super) fn alertmanager(letter: &Letter<'_>) -> Result<Wire, Error> {
    let alerts: Vec<(BTreeMap<String, String>, Value)> = letter.notices.iter().map(alert).collect();
    let mut common = alerts.first().map(|(labels, _)| labels.clone()).unwrap_or_default();
    common.retain(|name, value| alerts.iter().all(|(labels, _)| labels.get(name) == Some(value)));
    let firing = alerts.iter().any(|(_, alert)| alert["status"] == "firing");
    let body = json!({
        "version": "4",
        "groupKey": format!("{{}}:{{receiver={:?}}}", letter.name),
        "truncatedAlerts": 0,
        "status": if firing { "firing" } else { "resolved" },
        "receiver": letter.name,
        "groupLabels": {},
        "commonLabels": common,
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": alerts.into_iter().map(|(_, alert)| alert).collect::<Vec<_>>(),
    });
    let mut wire = Wire::json(letter.url, &body);
    if !letter.secret.is_empty() {
        wire.headers.push(("authorization", format!("Bearer {}", letter.secret)));
    }
    Ok(wire)
}

fn alert(notice: &Notice) -> (BTreeMap<String, String>, Value) {
    let mut labels: BTreeMap<String, String> =
        notice.labels.iter().map(|(name, value)| (label_name(name), PLAIN.fit(value, 500))).collect();
    labels.insert("alertname".to_owned(), PLAIN.fit(notice_class(notice), 200));
    labels.insert("severity".to_owned(), notice.severity.word().to_owned());
    // What tells this alert from others: its labels, as in Alertmanager.
    let hash = Sha256::digest(json!(labels).to_string());
    let fingerprint: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let resolved = matches!(notice.kind, Kind::Combined | Kind::Report | Kind::Resolved);
    let ends_ms = if resolved { notice.ended_ms.unwrap_or(notice.occurred_ms) } else { NEVER_MS };
    let mut alert = json!({
        "status": if resolved { "resolved" } else { "firing" },
        "labels": labels,
        "annotations": {
            "title": PLAIN.fit(&notice.title, 500),
            "summary": PLAIN.fit(&notice.summary, 2_000),
            "episode_id": notice.episode_id,
        },
        "startsAt": rfc3339(notice.started_ms),
        "endsAt": rfc3339(ends_ms),
        "generatorURL": "",
        "fingerprint": fingerprint,
    });
    if notice.kind == Kind::Report {
        let lines: Vec<String> = DETAILS
            .facts(notice, DETAILS.most, DETAILS.room)
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        alert["annotations"]["description"] = json!(lines.join("\n"));
    }
    (labels, alert)
}

/// Prometheus wants letters, digits and underscores.
fn label_name(name: &str) -> String {
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name: String = name.chars().map(|c| if is_good(c) { c } else { '_' }).take(100).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Facts by name; of two with one name the later one has a number. What there is no room for is counted.
fn details(notice: &Notice) -> Map<String, Value> {
    let mut details = Map::new();
    for (name, value) in DETAILS.pairs(notice) {
        let name = if name.is_empty() { "more".to_owned() } else { name };
        let numbers = (2..).map(|number| format!("{name} {number}"));
        let free = [name.clone()].into_iter().chain(numbers).find(|name| !details.contains_key(name));
        details.insert(free.unwrap_or_default(), json!(value));
    }
    for (name, value) in [("Rule", &notice.rule_id), ("Episode", &notice.episode_id)] {
        if !value.is_empty() {
            details.insert(name.to_owned(), json!(PLAIN.fit(value, 200)));
        }
    }
    details
}

fn notice_class(notice: &Notice) -> &str {
    if notice.rule_id.is_empty() { notice.kind.word() } else { &notice.rule_id }
}

fn label<'a>(notice: &'a Notice, wanted: &str) -> Option<&'a str> {
    notice.labels.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

const SOURCE: &str = "hypergate";
/// As Go writes the end of what has none: the first moment of the year 1.
const NEVER_MS: i64 = -62_135_596_800_000;

const PLAIN: Style =
    Style { units: utf16, escape: literal, date: rfc3339, most: 0, name: 0, value: 0, room: 0 };
/// Opsgenie takes 8,000 characters of details; nobody else takes less.
const DETAILS: Style = Style { most: 60, name: 100, value: 500, room: 6_000, ..PLAIN };
