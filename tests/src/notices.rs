//! Notices to be sent: each kind there is, and the request that each receiver would get for them.

use hypercare::{
    alert::{Fired, Reason, Resolved},
    hours::Zone,
    notice::{Kind, Notice, Subject},
    notify::{self, Address, Allowed, ReceiverKind},
    report::{Alerts, Cadence, Numbers, Part, Report},
    rule::{Severity, shipped},
};

use crate::watch::receiver_at;

/// Every kind of notice there is.
pub fn told() -> Vec<(&'static str, Vec<Notice>)> {
    let page = firing_for(&DEMO, "slow-response");
    let health = Notice::receiver_disabled("ops <team>", "5 deliveries in a row failed: HTTP 404", NOW_MS);
    let acknowledged =
        Notice { kind: Kind::Acknowledged, summary: "Ann looks after it".to_owned(), ..firing() };
    let change = Notice {
        kind: Kind::Change,
        title: "Release 1.2".to_owned(),
        summary: "release 1.2 is out".to_owned(),
        rule_id: String::new(),
        episode_id: String::new(),
        facts: vec![("Release".to_owned(), "1.2".to_owned())],
        ..firing()
    };
    vec![
        ("firing", vec![firing()]),
        ("firing page", vec![page.clone()]),
        ("resolved", vec![resolved(Kind::Resolved)]),
        ("combined", vec![resolved(Kind::Combined)]),
        ("acknowledged", vec![acknowledged]),
        ("change", vec![change]),
        ("report", vec![report()]),
        ("health", vec![health.clone()]),
        ("test", vec![Notice::test("team", NOW_MS)]),
        ("hostile", vec![firing_for(&Subject { tenant_name: HOSTILE, ..DEMO }, "error-share")]),
        ("together", vec![firing(), page, resolved(Kind::Resolved), health]),
    ]
}

/// What a day was like, somebody's names in it.
pub fn report() -> Notice {
    let numbers = |calls, errors, cost_microusd| Numbers {
        calls,
        errors,
        cost_microusd,
        p95_ms: Some(1_240.0),
        ..Numbers::default()
    };
    let slot = |hour: i64| numbers(hour * 40, hour % 5, hour * 40_000);
    let part = Part {
        name: format!("openai/{HOSTILE}"),
        now: numbers(2_000, 10, 2_000_000),
        before: numbers(9_000, 180, 14_000_000),
    };
    let report = Report {
        cadence: Cadence::Daily,
        whose: Some(HOSTILE.to_owned()),
        period: [NOW_MS - 2 * 86_400_000, NOW_MS - 86_400_000, NOW_MS],
        zone: Zone::parse("UTC").unwrap(),
        now: numbers(11_040, 46, 11_040_000),
        before: Numbers { p95_ms: Some(2_000.0), ..numbers(10_000, 200, 15_000_000) },
        slots: (0..24).map(slot).collect(),
        parts: vec![part],
        alerts: Alerts { fired: 3, over: 2, open: 1, summaries: vec![firing().summary] },
    };
    report.notice()
}

/// As many alerts as there are tenants.
pub fn storm(alerts: usize) -> Vec<Notice> {
    let alert = |n: usize| Notice {
        summary: format!("tenant {n}: 5xx share {n} % > 1 % on /v1/chat/completions (5 min, 412 calls)"),
        episode_id: format!("ep_{n}"),
        ..firing()
    };
    (0..alerts).map(alert).collect()
}

/// A ticket.
pub fn firing() -> Notice {
    firing_for(&DEMO, "error-share")
}

/// An alert of somebody's.
pub fn firing_for(subject: &Subject<'_>, rule: &str) -> Notice {
    let rule = shipped(rule).unwrap();
    let value = if rule.severity == Severity::Page { 640.0 } else { 0.032 };
    let fired = Fired { since_ms: NOW_MS - 300_000, opened_ms: NOW_MS, value, count: 412 };
    Notice::firing(&rule, "ep_1", Some(subject), &fired)
}

/// The end of it.
pub fn resolved(kind: Kind) -> Notice {
    let resolved = Resolved {
        since_ms: NOW_MS - 300_000,
        opened_ms: NOW_MS,
        resolved_ms: NOW_MS + 600_000,
        value: Some(0.004),
        worst: 0.124,
        reason: Reason::Recovered,
    };
    let make = if kind == Kind::Combined { Notice::combined } else { Notice::resolved };
    make(&shipped("error-share").unwrap(), "ep_1", Some(&DEMO), &resolved)
}

/// The request a receiver of this kind gets.
pub fn sent(kind: ReceiverKind, notices: &[Notice]) -> http::Request<bytes::Bytes> {
    let url = match kind {
        ReceiverKind::Email => "https://api.resend.com/emails".to_owned(),
        _ => format!("https://{}.example/hook?key=k", kind.word().replace('_', "-")),
    };
    let url = if receiver_has_own_paths(kind) { url.replace("/hook?key=k", "") } else { url };
    let new = receiver_at(kind, &url);
    let (url, secret) = (new.url.as_deref(), new.secret.as_deref());
    let address = Address::check(kind, url, secret, new.settings, &Allowed::Nothing, [7; 32]).unwrap();
    notify::request(kind, &address, "team", notices, "out_1", NOW_MS).unwrap()
}

fn receiver_has_own_paths(kind: ReceiverKind) -> bool {
    matches!(kind, ReceiverKind::Opsgenie | ReceiverKind::Pagerduty | ReceiverKind::Telegram)
}

/// A name of a tenant that would like to be more.
pub const HOSTILE: &str = "<!channel> <@U1> @everyone <at>all</at> <users/all> **b** _i_ `c` [x](https://evil.example) \
    {{DATE(2026-01-01T00:00:00Z)}} <script>alert(1)</script> \u{202e}\u{0}\u{1b}[31m שלום 😀 &amp; \\ \"";

/// Whose it is.
pub const DEMO: Subject<'_> = Subject {
    tenant_id: "tn_1",
    tenant_name: "demo",
    route: "/v1/chat/completions",
    name: "/v1/chat/completions",
};
/// When it is: 2026-01-01T00:05:00Z.
pub const NOW_MS: i64 = 1_767_225_900_000;
