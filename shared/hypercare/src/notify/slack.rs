//! A notice as a Slack message: incoming webhook, Block Kit.
//!
//! Text is cut so that everything together stays below the 8,000 characters Slack takes without doubt;
//! the published limit of a single field is far above what it takes in sum.

use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::{Value, json};

use super::Error;
use crate::notice::{Kind, Notice, plain_char};
use crate::rule::Severity;
use crate::time::rfc3339;

/// The request that posts the notice.
pub fn request(notice: &Notice, url: &str) -> Result<Request<Bytes>, Error> {
    let body = Bytes::from(message(notice).to_string());
    Ok(Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, super::USER_AGENT)
        .body(body)?)
}

fn message(notice: &Notice) -> Value {
    let (word, color) = match (notice.kind, notice.severity) {
        (Kind::Combined, _) => ("FIRED AND RESOLVED", GREEN),
        (Kind::Firing, Severity::Page) => ("FIRING", RED),
        (Kind::Firing, Severity::Ticket) => ("FIRING", AMBER),
        (Kind::Resolved, _) => ("RESOLVED", GREEN),
        (Kind::Test, _) => ("TEST", GREY),
    };
    let heading = match notice.kind {
        Kind::Firing => format!("{word} {}", notice.severity.word()),
        Kind::Combined | Kind::Resolved | Kind::Test => word.to_owned(),
    };
    // Shown where blocks are not: in notifications, and to those who have it read out.
    let text = escape(&format!("[{heading}] {}", notice.summary), 2_000);
    let title = escape(&format!("[{heading}] {}", notice.title), 150);
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": title, "emoji": false}}),
        json!({"type": "section", "text": {"type": "mrkdwn", "text": escape(&notice.summary, 2_000)}}),
        json!({"type": "section", "fields": fields(notice)}),
    ];
    if !notice.episode_id.is_empty() {
        let context = escape(&format!("{} · {}", notice.rule_id, notice.episode_id), 200);
        blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": context}]}));
    }
    json!({"text": text, "attachments": [{"color": color, "blocks": blocks}]})
}

fn fields(notice: &Notice) -> Vec<Value> {
    let started = ("Since", Some(notice.started_ms));
    let ended = ("Until", notice.ended_ms);
    let dates = [started, ended].into_iter().filter_map(|(name, ms)| Some((name.to_owned(), date(ms?))));
    let facts = notice.facts.iter().map(|(name, value)| (escape(name, 60), escape(value, 220)));
    let fields = facts.take(MOST_FIELDS - 2).chain(dates);
    fields.map(|(name, value)| json!({"type": "mrkdwn", "text": format!("*{name}*\n{value}")})).collect()
}

/// A time that each reader sees in their own zone.
fn date(ms: i64) -> String {
    format!("<!date^{}^{{date_short_pretty}} {{time}}|{}>", ms.div_euclid(1000), rfc3339(ms))
}

/// Text that Slack shows as it is, in at most this many characters, escapes included. Nothing in it
/// notifies anybody.
fn escape(text: &str, limit: usize) -> String {
    let mut escaped = String::new();
    let mut length = 0;
    let mut rest = text.chars().filter_map(plain_char).peekable();
    while let Some(c) = rest.next() {
        let mut buffer = [0; 4];
        let unit = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            // A space without width, or @channel might call the channel.
            '@' => "@\u{200b}",
            c => c.encode_utf8(&mut buffer),
        };
        let unit_length = unit.chars().count();
        let room = if rest.peek().is_some() { limit - 1 } else { limit };
        if length + unit_length > room {
            escaped.push('…');
            break;
        }
        escaped.push_str(unit);
        length += unit_length;
    }
    escaped
}

const MOST_FIELDS: usize = 10;
const AMBER: &str = "#fd7e14";
const GREEN: &str = "#198754";
const GREY: &str = "#6c757d";
const RED: &str = "#dc3545";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Fired, Reason, Resolved};
    use crate::notice::Subject;
    use crate::rule::shipped;

    #[test]
    fn a_firing_notice_is_a_message_with_a_color() {
        let request = request(&firing(), "https://hooks.slack.com/services/T0/B0/x").unwrap();
        assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/services/T0/B0/x"));
        assert_eq!(request.headers()[header::CONTENT_TYPE], "application/json");
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let field = |text: &str| json!({"type": "mrkdwn", "text": text});
        let expected = json!({
            "text": "[FIRING ticket] demo: 5xx share 3.2 % &gt; 1 % on /v1/chat/completions (5 min, 412 calls)",
            "attachments": [{
                "color": "#fd7e14",
                "blocks": [
                    {"type": "header", "text": {"type": "plain_text", "text": "[FIRING ticket] High 5xx share", "emoji": false}},
                    {"type": "section", "text": {
                        "type": "mrkdwn",
                        "text": "demo: 5xx share 3.2 % &gt; 1 % on /v1/chat/completions (5 min, 412 calls)",
                    }},
                    {"type": "section", "fields": [
                        field("*Tenant*\ndemo"),
                        field("*Route*\n/v1/chat/completions"),
                        field("*5xx share*\n3.2 %"),
                        field("*Threshold*\n1 %"),
                        field("*Calls*\n412 in 5 min"),
                        field("*Since*\n<!date^1767225600^{date_short_pretty} {time}|2026-01-01T00:00:00Z>"),
                    ]},
                    {"type": "context", "elements": [field("error-share · ep_1")]},
                ],
            }],
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn each_kind_has_its_words_and_color() {
        let page = Notice { severity: Severity::Page, ..firing() };
        let with = |kind| Notice { kind, ..page.clone() };
        for (notice, start, color) in [
            (&page, "[FIRING page] ", RED),
            (&with(Kind::Resolved), "[RESOLVED] ", GREEN),
            (&with(Kind::Combined), "[FIRED AND RESOLVED] ", GREEN),
            (&with(Kind::Test), "[TEST] ", GREY),
        ] {
            let message = message(notice);
            assert!(message["text"].as_str().unwrap().starts_with(start), "{message}");
            assert_eq!(message["attachments"][0]["color"], color);
        }
    }

    #[test]
    fn a_resolved_notice_says_until_when() {
        let resolved = Resolved {
            since_ms: 0,
            opened_ms: 0,
            resolved_ms: 60_000,
            value: None,
            worst: 0.5,
            reason: Reason::NoCalls,
        };
        let notice = Notice::resolved(&shipped("error-share").unwrap(), "ep_1", None, &resolved);
        let text = message(&notice).to_string();
        assert!(
            text.contains(r"*Until*\n<!date^60^{date_short_pretty} {time}|1970-01-01T00:01:00Z>"),
            "{text}"
        );
    }

    #[test]
    fn a_test_notice_has_no_episode_to_name() {
        let message = message(&Notice::test("team", 0));
        assert_eq!(message["text"], "[TEST] notices to team arrive here");
        let blocks = message["attachments"][0]["blocks"].as_array().unwrap();
        assert!(blocks.iter().all(|block| block["type"] != "context"));
    }

    #[test]
    fn text_of_others_cannot_call_or_link() {
        for (text, escaped) in [
            ("a & b", "a &amp; b"),
            ("<!channel> <@U1> <https://x|y>", "&lt;!channel&gt; &lt;@\u{200b}U1&gt; &lt;https://x|y&gt;"),
            ("@here @channel", "@\u{200b}here @\u{200b}channel"),
            ("a\nb\u{0}\u{1b}[1m\u{202e}", "a b[1m"),
            ("&amp;", "&amp;amp;"),
        ] {
            assert_eq!(escape(text, 100), escaped);
        }
    }

    #[test]
    fn a_cut_never_parts_an_escape() {
        assert_eq!(escape("abc", 3), "abc");
        assert_eq!(escape("abcd", 3), "ab…");
        assert_eq!(escape("a<", 5), "a&lt;");
        assert_eq!(escape("a<", 4), "a…");
        assert_eq!(escape("a<b", 5), "a…");
        assert_eq!(escape("éé\u{0}", 2), "éé");
        for limit in 1..60 {
            let cut = escape("a<b>&c@d é€😀 <!here>", limit);
            assert!(cut.chars().count() <= limit, "{limit}: {cut}");
        }
    }

    #[test]
    fn the_longest_notice_stays_below_what_slack_takes() {
        for unit in ["&", "@", "é", "😀", "a"] {
            let long = unit.repeat(20_000);
            let notice = Notice {
                title: long.clone(),
                summary: long.clone(),
                rule_id: long.clone(),
                episode_id: long.clone(),
                facts: vec![(long.clone(), long.clone()); 40],
                ended_ms: Some(1_767_225_660_123),
                ..firing()
            };
            let message = message(&notice);
            let blocks = message["attachments"][0]["blocks"].as_array().unwrap();
            assert_eq!(blocks[2]["fields"].as_array().unwrap().len(), MOST_FIELDS);
            assert!(blocks[0]["text"]["text"].as_str().unwrap().chars().count() <= 150);
            assert!(characters(&message) <= 8_000, "{}", characters(&message));
        }
    }

    fn characters(value: &Value) -> usize {
        match value {
            Value::String(text) => text.chars().count(),
            Value::Array(values) => values.iter().map(characters).sum(),
            Value::Object(values) => values.values().map(characters).sum(),
            _ => 0,
        }
    }

    fn firing() -> Notice {
        let subject = Subject { tenant_id: "tn_1", tenant_name: "demo", route: "/v1/chat/completions" };
        let since_ms = 1_767_225_600_000;
        let fired = Fired { since_ms, opened_ms: since_ms + 300_000, value: 0.032, count: 412 };
        Notice::firing(&shipped("error-share").unwrap(), "ep_1", Some(&subject), &fired)
    }
}
