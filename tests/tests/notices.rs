//! Notices as each receiver gets them: written down, and within what each service takes, whatever they say.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::{fmt::Write as _, slice};

use hypercare::{
    notice::{Kind, Notice, Subject},
    notify::{self, Address, Allowed, ReceiverKind},
};
use serde_json::{Value, json};
use tests::notices::{DEMO, HOSTILE, NOW_MS, firing, firing_for, resolved, sent, storm, told};

#[test]
fn notices_go_out_as_written_down() {
    for kind in ReceiverKind::all() {
        let mut text = String::new();
        for (name, notices) in told() {
            if notices.iter().all(|notice| kind.hears(notice.kind)) && (notices.len() == 1 || kind.bundles())
            {
                write!(text, "### {name}\n\n{}\n\n", written(kind, &notices)).unwrap();
            }
        }
        insta::with_settings!({ snapshot_path => "../snapshots/notices", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(kind.word(), text);
        });
    }
}

#[test]
fn mails_go_out_as_their_provider_wants_them() {
    let mut text = String::new();
    for provider in ["json", "mailgun", "postmark", "resend", "sendgrid"] {
        let url = ["json", "mailgun"].contains(&provider).then_some("https://mail.example/send");
        let mut settings = json!({"provider": provider, "from": "Gateway <gateway@example.com>", "to": ["ops@example.com", "On Call <call@example.com>"]});
        if provider == "json" {
            settings["template"] = json!({"mail": {"to": "{{to}}", "cc": "{{from}} {{nothing}} {{", "title": "{{subject}}", "body": ["{{text}}"]}, "n": 1});
        }
        let settings = settings.as_object().unwrap().clone();
        let address =
            Address::check(ReceiverKind::Email, url, Some("key"), settings, &Allowed::Nothing, [0; 32])
                .unwrap();
        let notice = Notice { summary: "what it says: {{text}} & <b>".to_owned(), ..firing() };
        let sent =
            notify::request(ReceiverKind::Email, &address, "team", &[notice], "out_1", NOW_MS).unwrap();
        write!(text, "### {provider}\n\n{}\n\n", text_of(&sent)).unwrap();
    }
    insta::with_settings!({ snapshot_path => "../snapshots/notices", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("email-providers", text);
    });
}

/// A documented limit: of which receiver, where in its body (`*` is each), in which unit, how much.
struct Limit(ReceiverKind, &'static str, Unit, usize);

#[derive(Debug, Clone, Copy)]
enum Unit {
    /// Bytes of the JSON.
    Bytes,
    /// Characters of all texts together.
    Characters,
    /// Elements of a list.
    Items,
    /// UTF-16 code units of a text: no service counts more.
    Utf16,
}

/// Where they are documented:
/// Slack: "Reference: blocks" and "Reference: composition objects"; 8,000 in all is half of where messages are
/// known to be refused as `msg_blocks_too_long`.
/// Teams: "Microsoft Teams connector", known limits, 28 KB; and as UTF-16, as bots are counted.
/// Discord: "Message resource", embed limits; "Webhook resource".
/// Google Chat: `spaces.messages.create`, 32,000 bytes; "Card message limits", 100 widgets a section.
/// Telegram: Bot API, `sendMessage`.
/// PagerDuty: Events API v2, "Send an alert event": 512 KB, 1,024, 255.
/// Opsgenie: "Alert API", create alert.
/// Standard Webhooks 1.0: payload size, 20 KB recommended; others: what Alertmanager sends them, 512 KB.
const LIMITS: &[Limit] = &[
    Limit(ReceiverKind::Slack, "/attachments/*/blocks", Unit::Items, 50),
    Limit(ReceiverKind::Slack, "/attachments/*/blocks/0/text/text", Unit::Utf16, 150),
    Limit(ReceiverKind::Slack, "/attachments/*/blocks/1/text/text", Unit::Utf16, 3_000),
    Limit(ReceiverKind::Slack, "/attachments/*/blocks/2/text/text", Unit::Utf16, 3_000),
    Limit(ReceiverKind::Slack, "/attachments/*/blocks/*/fields", Unit::Items, 10),
    Limit(ReceiverKind::Slack, "/attachments/*/blocks/*/fields/*/text", Unit::Utf16, 2_000),
    Limit(ReceiverKind::Slack, "/attachments/*/blocks/*/elements", Unit::Items, 10),
    Limit(ReceiverKind::Slack, "", Unit::Characters, 8_000),
    Limit(ReceiverKind::Teams, "", Unit::Bytes, 28_000),
    Limit(ReceiverKind::Teams, "", Unit::Utf16, 14_000),
    Limit(ReceiverKind::Discord, "/embeds", Unit::Items, 10),
    Limit(ReceiverKind::Discord, "/embeds/*/title", Unit::Utf16, 256),
    Limit(ReceiverKind::Discord, "/embeds/*/description", Unit::Utf16, 4_096),
    Limit(ReceiverKind::Discord, "/embeds/*/fields", Unit::Items, 25),
    Limit(ReceiverKind::Discord, "/embeds/*/fields/*/name", Unit::Utf16, 256),
    Limit(ReceiverKind::Discord, "/embeds/*/fields/*/value", Unit::Utf16, 1_024),
    Limit(ReceiverKind::Discord, "/embeds/*/footer/text", Unit::Utf16, 2_048),
    Limit(ReceiverKind::Discord, "", Unit::Characters, 6_000),
    Limit(ReceiverKind::GoogleChat, "", Unit::Bytes, 32_000),
    Limit(ReceiverKind::GoogleChat, "/cardsV2/*/card/sections/*/widgets", Unit::Items, 100),
    Limit(ReceiverKind::Telegram, "/text", Unit::Utf16, 4_096),
    Limit(ReceiverKind::Pagerduty, "", Unit::Bytes, 512_000),
    Limit(ReceiverKind::Pagerduty, "/payload/summary", Unit::Utf16, 1_024),
    Limit(ReceiverKind::Pagerduty, "/dedup_key", Unit::Utf16, 255),
    Limit(ReceiverKind::Opsgenie, "/message", Unit::Utf16, 130),
    Limit(ReceiverKind::Opsgenie, "/alias", Unit::Utf16, 512),
    Limit(ReceiverKind::Opsgenie, "/description", Unit::Utf16, 15_000),
    Limit(ReceiverKind::Opsgenie, "/details", Unit::Characters, 8_000),
    Limit(ReceiverKind::Opsgenie, "/entity", Unit::Utf16, 512),
    Limit(ReceiverKind::Opsgenie, "/source", Unit::Utf16, 100),
    Limit(ReceiverKind::Opsgenie, "/tags", Unit::Items, 20),
    Limit(ReceiverKind::Opsgenie, "/tags/*", Unit::Utf16, 50),
    Limit(ReceiverKind::Opsgenie, "/note", Unit::Utf16, 25_000),
    Limit(ReceiverKind::IncidentIo, "", Unit::Bytes, 512_000),
    Limit(ReceiverKind::Alertmanager, "", Unit::Bytes, 512_000),
    Limit(ReceiverKind::Email, "/subject", Unit::Utf16, 998),
    Limit(ReceiverKind::Webhook, "", Unit::Bytes, 20_000),
];

#[test]
fn no_notice_is_longer_than_its_receiver_takes() {
    for unit in ["a", "&", "@", "é", "😀", "*", "\\", "\"", "ש", "{{", "\u{2068}"] {
        let long = unit.repeat(5_000);
        let alone = Notice {
            title: long.clone(),
            summary: long.clone(),
            rule_id: long.clone(),
            episode_id: format!("ep_{}", "1".repeat(300)),
            facts: vec![(long.clone(), long.clone()); 40],
            labels: vec![("route".to_owned(), long.clone()), ("tenant_id".to_owned(), long.clone())],
            ended_ms: Some(NOW_MS),
            ..firing()
        };
        let few = Notice { facts: alone.facts[..8].to_vec(), ..alone.clone() };
        for (_, told) in told() {
            let notices: Vec<Notice> = match told.len() {
                1 => vec![Notice { kind: told[0].kind, ..alone.clone() }],
                _ => vec![Notice { facts: Vec::new(), ..alone.clone() }; 50],
            };
            keeps_limits(&notices, unit);
        }
        keeps_limits(&[few], unit);
    }
}

#[test]
fn five_hundred_alerts_are_one_message_that_says_how_many() {
    let storm = storm(500);
    keeps_limits(&storm, "a storm");
    use ReceiverKind::*;
    let shown = [Slack, Discord, Telegram, Teams, GoogleChat, Email].map(|kind| {
        let text = body_of(kind, &storm).to_string();
        assert!(text.contains("500 notices") && text.contains("500 fired"), "{kind:?}: {text}");
        let more = text.split_once("… (+").and_then(|(_, rest)| rest.split_once(" more)")).unwrap().0;
        let shown = 500 - more.parse::<usize>().unwrap();
        assert!(text.contains(&format!("tenant {}:", shown - 1)), "{kind:?}");
        assert!(!text.contains(&format!("tenant {shown}:")), "{kind:?}");
        shown
    });
    assert_eq!(shown, [26, 23, 21, 30, 48, 58]);
    assert_eq!(body_of(Alertmanager, &storm[..50])["alerts"].as_array().unwrap().len(), 50);
}

#[test]
fn text_of_others_means_nothing_to_any_service() {
    let subject = Subject { tenant_name: HOSTILE, ..DEMO };
    let notice = firing_for(&subject, "error-share");
    for kind in ReceiverKind::all() {
        let text = texts(&body_of(kind, slice::from_ref(&notice))).join("\n");
        let all = written(kind, slice::from_ref(&notice));
        assert!(text.contains("שלום") && text.contains('😀'), "{kind:?}: {text}");
        for never in ['\u{0}', '\u{1b}', '\u{202e}'] {
            assert!(!text.contains(never) && !all.contains(never), "{kind:?}: {never:?} in {text}");
        }
        let live: &[&str] = match kind {
            ReceiverKind::Slack => &["<!channel", "<@", "@everyone", "&amp; \\"],
            ReceiverKind::Teams => &["{{", "@everyone"],
            ReceiverKind::Discord => &[" <@", " @everyone", " **b", " `c", " [x"],
            ReceiverKind::GoogleChat => &["<users/all> @", "<script>"],
            ReceiverKind::Telegram => &["<script", "<at>", "@everyone", "&amp; \\"],
            ReceiverKind::Email => &["<td><script", "\n<script"],
            _ => &[],
        };
        let shown = match kind {
            // Titles and notifications show text as it is.
            ReceiverKind::GoogleChat => {
                body_of(kind, slice::from_ref(&notice))["cardsV2"][0]["card"]["sections"].to_string()
            }
            ReceiverKind::Email => {
                body_of(kind, slice::from_ref(&notice))["html"].as_str().unwrap().to_owned()
            }
            ReceiverKind::Discord => {
                body_of(kind, slice::from_ref(&notice))["embeds"][0]["fields"].to_string()
            }
            _ => text.clone(),
        };
        for live in live {
            assert!(!shown.contains(live), "{kind:?}: {live} in {shown}");
        }
        // What is written from right to left does not turn what follows it.
        assert_eq!(text.matches('\u{2068}').count(), text.matches('\u{2069}').count(), "{kind:?}");
    }
    assert_eq!(
        body_of(ReceiverKind::Discord, slice::from_ref(&notice))["allowed_mentions"],
        json!({"parse": []})
    );
}

#[test]
fn a_notice_of_resolving_has_the_key_of_that_of_firing() {
    let resolved = resolved(Kind::Resolved);
    for (kind, pointer) in [
        (ReceiverKind::Pagerduty, "/dedup_key"),
        (ReceiverKind::IncidentIo, "/deduplication_key"),
        (ReceiverKind::GoogleChat, "/thread/threadKey"),
        (ReceiverKind::Alertmanager, "/alerts/0/fingerprint"),
        (ReceiverKind::Email, "/headers/References"),
    ] {
        let [fired, over] = [&firing(), &resolved]
            .map(|notice| body_of(kind, slice::from_ref(notice)).pointer(pointer).cloned());
        assert!(fired.is_some() && fired == over, "{kind:?}: {fired:?} {over:?}");
    }
    let fired = body_of(ReceiverKind::Opsgenie, &[firing()]);
    let over = sent(ReceiverKind::Opsgenie, &[resolved]).uri().to_string();
    assert_eq!(fired["alias"], "ep_1");
    assert!(over.ends_with("/v2/alerts/ep_1/close?identifierType=alias"), "{over}");
}

fn keeps_limits(notices: &[Notice], what: &str) {
    for kind in ReceiverKind::all()
        .filter(|kind| kind.hears(notices[0].kind) && (notices.len() == 1 || kind.bundles()))
    {
        // As many as are claimed together.
        let notices =
            if kind == ReceiverKind::Alertmanager { &notices[..notices.len().min(50)] } else { notices };
        let body = body_of(kind, notices);
        for Limit(_, pointer, unit, limit) in LIMITS.iter().filter(|limit| limit.0 == kind) {
            for found in at(&body, pointer) {
                let length = match unit {
                    Unit::Bytes => found.to_string().len(),
                    Unit::Characters => texts(found).iter().map(|text| text.encode_utf16().count()).sum(),
                    Unit::Items => found.as_array().unwrap().len(),
                    Unit::Utf16 => match found {
                        Value::String(text) => text.encode_utf16().count(),
                        other => other.to_string().encode_utf16().count(),
                    },
                };
                assert!(length <= *limit, "{what}: {kind:?} {pointer}: {length} of {limit} {unit:?}");
                // An empty text is refused by most.
                assert!(length > 0, "{what}: {kind:?} {pointer} is empty");
            }
        }
    }
}

fn body_of(kind: ReceiverKind, notices: &[Notice]) -> Value {
    serde_json::from_slice(sent(kind, notices).body()).unwrap()
}

fn written(kind: ReceiverKind, notices: &[Notice]) -> String {
    text_of(&sent(kind, notices))
}

/// A request as one would write it down.
fn text_of(request: &http::Request<bytes::Bytes>) -> String {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
    }
    let body = match serde_json::from_slice::<Value>(request.body()) {
        Ok(json) => serde_json::to_string_pretty(&json).unwrap(),
        Err(_) => String::from_utf8(request.body().to_vec()).unwrap().replace('&', "\n&"),
    };
    format!("{text}\n{body}")
}

fn at<'a>(value: &'a Value, pointer: &str) -> Vec<&'a Value> {
    let mut found = vec![value];
    for part in pointer.split('/').skip(1) {
        found = match part {
            "*" => found.into_iter().filter_map(Value::as_array).flatten().collect(),
            part => found.into_iter().filter_map(|value| value.pointer(&format!("/{part}"))).collect(),
        };
    }
    found
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(values) => values.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
