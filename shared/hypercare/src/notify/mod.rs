//! From notices to an HTTP request, and from the answer to what happens next.
//!
//! A receiver's URL and secret let anybody post in its name: they are not logged, and no error here
//! repeats them. Redirects are not to be followed, as they would lead around [`check_url`].

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::FieldError;
use crate::notice::{Kind, Notice};
use crate::time::{self, HOUR_MS, MINUTE_MS};

mod address;
mod chat;
mod email;
mod pager;
mod text;
pub mod webhook;

pub use address::{Allowed, check_url, is_public};

/// What a receiver speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverKind {
    /// The body of Alertmanager's webhooks, version 4.
    Alertmanager,
    /// A Discord webhook.
    Discord,
    /// Mail, through an HTTP API.
    Email,
    /// A Google Chat webhook.
    GoogleChat,
    /// An HTTP alert source of incident.io.
    IncidentIo,
    /// Opsgenie or Jira Service Management.
    Opsgenie,
    /// PagerDuty's Events API v2.
    Pagerduty,
    /// A Slack incoming webhook, or what takes the same messages.
    Slack,
    /// A Microsoft Teams workflow.
    Teams,
    /// A Telegram bot.
    Telegram,
    /// Standard Webhooks 1.0.
    Webhook,
}

/// What is particular about a kind.
struct Row {
    kind: ReceiverKind,
    word: &'static str,
    /// Where it is unless a URL is given; without one, a URL must be.
    url: Option<&'static str>,
    secret: Need,
    /// Settings there may be.
    settings: &'static [&'static str],
    /// Whether several notices may come as one.
    bundles: bool,
    /// How many requests a minute it bears, unless it is set otherwise: below what is documented, as others
    /// may write there too.
    per_minute: i64,
    /// Kinds of notices that mean nothing there.
    deaf_to: &'static [Kind],
    /// Statuses beside 410 that say there is nobody there any more.
    gone: &'static [u16],
    request: fn(&Letter<'_>) -> Result<Wire, Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Signs what is sent; made here where there is none.
    Made,
    /// The URL says it all.
    None,
    Optional,
    Required,
}

const ROWS: [Row; 11] = {
    use ReceiverKind::*;
    // Of no other kind: a bare webhook in a chat.
    const CHAT: Row = Row {
        kind: Slack,
        word: "slack",
        url: None,
        secret: Need::None,
        settings: &[],
        bundles: true,
        per_minute: 20,
        deaf_to: &[],
        gone: &[],
        request: chat::slack,
    };
    const PAGER: Row = Row { secret: Need::Required, bundles: false, per_minute: 60, ..CHAT };
    [
        Row {
            kind: Alertmanager,
            word: "alertmanager",
            secret: Need::Optional,
            bundles: true,
            deaf_to: &[Kind::Acknowledged, Kind::Change],
            request: pager::alertmanager,
            ..PAGER
        },
        Row {
            kind: Discord,
            word: "discord",
            settings: &["thread_id"],
            // Who goes on in spite of these is shut out with everybody who shares the address.
            gone: &[401, 403, 404],
            request: chat::discord,
            ..CHAT
        },
        Row {
            kind: Email,
            word: "email",
            secret: Need::Required,
            settings: &["from", "provider", "template", "to"],
            per_minute: 10,
            request: email::request,
            ..CHAT
        },
        Row { kind: GoogleChat, word: "google_chat", request: chat::google_chat, ..CHAT },
        Row {
            kind: IncidentIo,
            word: "incident_io",
            deaf_to: &[Kind::Acknowledged, Kind::Change],
            request: pager::incident_io,
            ..PAGER
        },
        Row {
            kind: Opsgenie,
            word: "opsgenie",
            url: Some("https://api.opsgenie.com"),
            deaf_to: &[Kind::Change],
            request: pager::opsgenie,
            ..PAGER
        },
        Row {
            kind: Pagerduty,
            word: "pagerduty",
            url: Some("https://events.pagerduty.com"),
            request: pager::pagerduty,
            ..PAGER
        },
        CHAT,
        Row { kind: Teams, word: "teams", request: chat::teams, ..CHAT },
        Row {
            kind: Telegram,
            word: "telegram",
            url: Some("https://api.telegram.org"),
            secret: Need::Required,
            settings: &["chat_id", "message_thread_id"],
            per_minute: 15,
            // The bot was thrown out.
            gone: &[403],
            request: chat::telegram,
            ..CHAT
        },
        Row {
            kind: Webhook,
            word: "webhook",
            secret: Need::Made,
            per_minute: 120,
            request: webhook::wire,
            ..PAGER
        },
    ]
};

impl ReceiverKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = ReceiverKind> {
        ROWS.iter().map(|row| row.kind)
    }

    /// As stored and sent.
    pub fn word(self) -> &'static str {
        self.row().word
    }

    /// The kind this word stands for.
    pub fn parse(word: &str) -> Option<ReceiverKind> {
        ROWS.iter().find(|row| row.word == word).map(|row| row.kind)
    }

    /// Whether several notices may come as one.
    pub fn bundles(self) -> bool {
        self.row().bundles
    }

    /// How many requests a minute it bears, unless it is set otherwise.
    pub fn per_minute(self) -> i64 {
        self.row().per_minute
    }

    /// Whether it has a word for this kind of notice.
    pub fn hears(self, kind: Kind) -> bool {
        !self.row().deaf_to.contains(&kind)
    }

    fn row(self) -> &'static Row {
        ROWS.iter().find(|row| row.kind == self).expect("every kind has a row")
    }
}

/// How to reach a receiver.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Where it is.
    pub url: String,
    /// What opens it or signs for it; none where the URL does.
    pub secret: Option<String>,
    /// What else its kind wants to know, an object.
    pub settings: Value,
}

impl Address {
    /// Checks what somebody entered. `random` becomes the secret of a kind that needs one made.
    pub fn check(
        kind: ReceiverKind,
        url: Option<&str>,
        secret: Option<&str>,
        settings: Map<String, Value>,
        allowed: &Allowed,
        random: [u8; 32],
    ) -> Result<Address, FieldError> {
        let row = kind.row();
        let known = |name: &&String| row.settings.contains(&name.as_str());
        if let Some(unknown) = settings.keys().find(|name| !known(name)) {
            let message =
                format!("of a receiver of kind {} have no `{}`", row.word, crate::notice::line(unknown));
            return Err(FieldError::new("settings", message));
        }
        match kind {
            ReceiverKind::Discord => check_id(&settings, "thread_id", false)?,
            ReceiverKind::Email => email::check(&settings)?,
            ReceiverKind::Telegram => {
                check_id(&settings, "chat_id", true)?;
                let thread = settings.get("message_thread_id");
                if thread.is_some_and(|thread| !thread.is_i64()) {
                    return Err(FieldError::new(
                        "settings",
                        "must have a whole number as `message_thread_id`",
                    ));
                }
            }
            _ => {}
        }
        let default = if kind == ReceiverKind::Email { email::url_of(&settings) } else { row.url };
        let url = url.or(default).ok_or_else(|| FieldError::new("url", "is required"))?;
        check_url(url, allowed)?;
        let secret = match (row.secret, secret) {
            (Need::None, None) | (Need::Optional, None) => None,
            (Need::None, Some(_)) => {
                let message = format!("does not apply to a receiver of kind {}", row.word);
                return Err(FieldError::new("secret", message));
            }
            (Need::Made, Some(secret)) => Some(webhook::Secret::parse(secret)?.expose()),
            (Need::Made, None) => Some(webhook::Secret::from_random(random).expose()),
            (Need::Required, None) => return Err(FieldError::new("secret", "is required")),
            (Need::Optional | Need::Required, Some(secret)) => {
                check_secret(kind, secret)?;
                Some(secret.to_owned())
            }
        };
        Ok(Address { url: url.to_owned(), secret, settings: Value::Object(settings) })
    }
}

fn check_secret(kind: ReceiverKind, secret: &str) -> Result<(), FieldError> {
    let is_good = match kind {
        // It becomes part of a path.
        ReceiverKind::Telegram => secret.split_once(':').is_some_and(|(bot, key)| {
            let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
            !bot.is_empty()
                && bot.bytes().all(|c| c.is_ascii_digit())
                && !key.is_empty()
                && key.bytes().all(is_plain)
        }),
        ReceiverKind::Pagerduty => secret.len() == 32 && secret.bytes().all(|c| c.is_ascii_alphanumeric()),
        _ => !secret.is_empty() && secret.bytes().all(|c| c.is_ascii_graphic()),
    };
    let message = match kind {
        ReceiverKind::Telegram => "must be a bot's token: `123456:ABC…`",
        ReceiverKind::Pagerduty => "must be an integration key: 32 letters and digits",
        _ => "must be visible ASCII characters",
    };
    if is_good { Ok(()) } else { Err(FieldError::new("secret", message)) }
}

/// A number, or a short text that is one or a name.
fn check_id(settings: &Map<String, Value>, name: &str, required: bool) -> Result<(), FieldError> {
    let is_good = match settings.get(name) {
        None => !required,
        Some(Value::String(text)) => {
            let is_plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'@' | b'_' | b'-');
            (1..=64).contains(&text.len()) && text.bytes().all(is_plain)
        }
        Some(value) => value.is_i64(),
    };
    let message = || format!("must have a number or a name as `{name}`");
    if is_good { Ok(()) } else { Err(FieldError::new("settings", message())) }
}

/// What is sent, and to whom.
struct Letter<'a> {
    /// What to tell: the notice, or all of them together.
    notice: &'a Notice,
    /// One by one.
    notices: &'a [Notice],
    /// Of the first, the same on every attempt.
    id: &'a str,
    attempt_ms: i64,
    /// The receiver's name.
    name: &'a str,
    url: &'a str,
    /// Empty where there is none.
    secret: &'a str,
    settings: &'a Value,
}

impl Letter<'_> {
    /// What notices about the same have in common.
    fn key(&self) -> String {
        let id = if self.notice.episode_id.is_empty() { self.id } else { &self.notice.episode_id };
        id.chars().take(200).collect()
    }

    /// The URL of an API, whose paths are ours.
    fn base(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    /// A setting, a number or a text.
    fn setting(&self, name: &str) -> Option<String> {
        match self.settings.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// A request that has yet to be put together.
struct Wire {
    url: String,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Wire {
    fn json(url: &str, body: &Value) -> Wire {
        let body = body.to_string().into_bytes();
        Wire { url: url.to_owned(), content_type: "application/json", headers: Vec::new(), body }
    }
}

/// The request that delivers notices to a receiver: one, or several to a kind that takes them together. The
/// id is that of the first, and the same on every attempt.
pub fn request(
    kind: ReceiverKind,
    address: &Address,
    name: &str,
    notices: &[Notice],
    id: &str,
    attempt_ms: i64,
) -> Result<Request<Bytes>, Error> {
    let together;
    let notice = match notices {
        [notice] => notice,
        _ => {
            together = Notice::together(notices);
            &together
        }
    };
    let letter = Letter {
        notice,
        notices,
        id,
        attempt_ms,
        name,
        url: &address.url,
        secret: address.secret.as_deref().unwrap_or_default(),
        settings: &address.settings,
    };
    let wire = (kind.row().request)(&letter)?;
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(wire.url)
        .header(header::CONTENT_TYPE, wire.content_type)
        .header(header::USER_AGENT, USER_AGENT);
    for (name, value) in wire.headers {
        request = request.header(name, value);
    }
    Ok(request.body(Bytes::from(wire.body))?)
}

/// A notice that cannot be made into a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The id would make the signed text ambiguous.
    #[error("a webhook id must not be empty or contain a dot")]
    Id,
    /// The URL or a header is malformed.
    #[error("the receiver cannot be addressed")]
    Request(#[from] http::Error),
    /// The secret is not of the kind's form.
    #[error("the receiver's secret is none")]
    Secret,
    /// The stored settings lack what the kind needs.
    #[error("the receiver's settings are incomplete")]
    Settings,
}

/// What an answer means for the delivery. No answer in time is `Retry` without a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Delivered.
    Accepted,
    /// The receiver is gone and wants no more.
    Disable,
    /// Refused for good; sending it again would change nothing.
    Failed,
    /// The chat has a new number, to be asked next.
    Moved {
        /// The number.
        chat_id: i64,
    },
    /// Not now.
    Retry {
        /// How long the receiver asked to be left alone, at most an hour.
        after_ms: Option<i64>,
    },
}

/// What a receiver's answer means. A redirect counts as refused.
pub fn accepted(
    kind: ReceiverKind,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now_ms: i64,
) -> Outcome {
    let says = || serde_json::from_slice::<Value>(body).unwrap_or_default();
    match status.as_u16() {
        // Some say 2xx to what they do not send on, and why in the body.
        200..=299 => match kind {
            ReceiverKind::Slack if body.trim_ascii() != b"ok" => Outcome::Failed,
            ReceiverKind::Telegram if says()["ok"] != true => Outcome::Failed,
            _ => Outcome::Accepted,
        },
        400 if kind == ReceiverKind::Telegram => match says()["parameters"]["migrate_to_chat_id"].as_i64() {
            Some(chat_id) => Outcome::Moved { chat_id },
            None => Outcome::Failed,
        },
        410 => Outcome::Disable,
        status if kind.row().gone.contains(&status) => Outcome::Disable,
        408 | 425 | 429 | 500..=599 => {
            let wish = retry_after_ms(headers, now_ms).or_else(|| {
                let says = says();
                // Discord says it in seconds with a fraction, Telegram a level deeper.
                let seconds = [&says["retry_after"], &says["parameters"]["retry_after"]];
                let seconds = seconds.into_iter().find_map(Value::as_f64)?;
                Some(((seconds * 1000.0).ceil() as i64).clamp(0, LONGEST_WISH_MS))
            });
            Outcome::Retry { after_ms: wish }
        }
        _ => Outcome::Failed,
    }
}

/// When to try again after this many attempts, the last of them now; never, once the ladder is climbed.
///
/// Up to a tenth is added, drawn from the delivery's id, so that what failed together does not come back
/// together. A receiver may ask for more time, not for less.
pub fn next_attempt_ms(attempts: u32, now_ms: i64, retry_after_ms: Option<i64>, id: &str) -> Option<i64> {
    let wait_ms = *LADDER_MS.get(usize::try_from(attempts.checked_sub(1)?).ok()?)?;
    let draw = Sha256::new().chain_update(attempts.to_be_bytes()).chain_update(id).finalize()[0];
    let jitter_ms = wait_ms / 10 * i64::from(draw) / 255;
    let asked_ms = retry_after_ms.unwrap_or(0).clamp(0, LONGEST_WISH_MS);
    Some(now_ms + wait_ms.max(asked_ms) + jitter_ms)
}

/// How long an answer asks to wait, at most an hour.
pub fn retry_after_ms(headers: &HeaderMap, now_ms: i64) -> Option<i64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let after_ms = match text.parse::<u32>() {
        Ok(seconds) => i64::from(seconds) * 1000,
        Err(_) => time::parse_http_date(text)? - now_ms,
    };
    Some(after_ms.clamp(0, LONGEST_WISH_MS))
}

/// Text as it stands in a query or a form.
fn form_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

const USER_AGENT: &str = "hypergate";
const LONGEST_WISH_MS: i64 = HOUR_MS;
/// The schedule Standard Webhooks recommends: three days and a half, then never.
const LADDER_MS: [i64; 9] = [
    5_000,
    5 * MINUTE_MS,
    30 * MINUTE_MS,
    2 * HOUR_MS,
    5 * HOUR_MS,
    10 * HOUR_MS,
    14 * HOUR_MS,
    20 * HOUR_MS,
    24 * HOUR_MS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_decides_what_happens_to_the_delivery() {
        let retry = Outcome::Retry { after_ms: None };
        for (status, body, slack, webhook) in [
            (200, "ok", Outcome::Accepted, Outcome::Accepted),
            (200, "ok\n", Outcome::Accepted, Outcome::Accepted),
            (200, "invalid_payload", Outcome::Failed, Outcome::Accepted),
            (204, "", Outcome::Failed, Outcome::Accepted),
            (301, "ok", Outcome::Failed, Outcome::Failed),
            (304, "ok", Outcome::Failed, Outcome::Failed),
            (400, "ok", Outcome::Failed, Outcome::Failed),
            (401, "", Outcome::Failed, Outcome::Failed),
            (404, "no_service", Outcome::Failed, Outcome::Failed),
            (408, "", retry, retry),
            (410, "channel_is_archived", Outcome::Disable, Outcome::Disable),
            (425, "", retry, retry),
            (429, "", retry, retry),
            (500, "", retry, retry),
            (503, "ok", retry, retry),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let outcome = |kind| accepted(kind, status, &HeaderMap::new(), body.as_bytes(), 0);
            assert_eq!(outcome(ReceiverKind::Slack), slack, "{status} {body}");
            assert_eq!(outcome(ReceiverKind::Webhook), webhook, "{status} {body}");
        }
    }

    #[test]
    fn a_receiver_may_ask_for_up_to_an_hour() {
        for (text, after_ms) in [
            ("30", Some(30_000)),
            ("0", Some(0)),
            ("7200", Some(3_600_000)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37_000)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(3_600_000)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            let now_ms = time::parse_rfc3339("1994-11-06T08:49:00Z").unwrap();
            let status = StatusCode::TOO_MANY_REQUESTS;
            let outcome = accepted(ReceiverKind::Webhook, status, &headers, b"", now_ms);
            assert_eq!(outcome, Outcome::Retry { after_ms }, "{text}");
        }
    }

    #[test]
    fn attempts_follow_the_ladder_and_end() {
        let now_ms = 1_767_225_600_000;
        let mut waited_ms = Vec::new();
        for attempts in 1..=9 {
            let wait_ms = next_attempt_ms(attempts, now_ms, None, "out_1").unwrap() - now_ms;
            let least_ms = LADDER_MS[attempts as usize - 1];
            assert!((least_ms..=least_ms / 10 * 11).contains(&wait_ms), "{attempts}: {wait_ms}");
            waited_ms.push(wait_ms);
        }
        assert_eq!(next_attempt_ms(10, now_ms, None, "out_1"), None);
        assert_eq!(next_attempt_ms(10, now_ms, Some(1_000), "out_1"), None);
        assert!(waited_ms.is_sorted());
    }

    #[test]
    fn jitter_is_the_same_for_one_delivery_and_spreads_many() {
        let at = |id: &str| next_attempt_ms(2, 0, None, id).unwrap();
        assert_eq!(at("out_1"), at("out_1"));
        let distinct: std::collections::BTreeSet<_> = (0..100).map(|id| at(&format!("out_{id}"))).collect();
        assert!(distinct.len() > 50, "{distinct:?}");
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_less() {
        let at = |asked_ms| next_attempt_ms(1, 0, asked_ms, "out_1").unwrap();
        assert!((60_000..61_000).contains(&at(Some(60_000))));
        assert_eq!(at(Some(1_000)), at(None));
        assert!(at(Some(i64::MAX)) < 3_601_000);
        assert_eq!(at(Some(-1)), at(None));
    }

    #[test]
    fn a_kind_is_a_word() {
        assert_eq!(ReceiverKind::all().count(), 11);
        for kind in ReceiverKind::all() {
            assert_eq!(ReceiverKind::parse(kind.word()), Some(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("{:?}", kind.word()));
        }
        assert_eq!(ReceiverKind::parse("pigeon"), None);
    }

    #[test]
    fn each_service_says_in_its_own_way_what_became_of_a_notice() {
        use ReceiverKind::*;
        let retry = |after_ms| Outcome::Retry { after_ms };
        for (kind, status, body, outcome) in [
            (Discord, 204, "", Outcome::Accepted),
            (
                Discord,
                429,
                r#"{"message":"You are being rate limited.","retry_after":64.57,"global":false}"#,
                retry(Some(64_570)),
            ),
            (Discord, 404, r#"{"code":10015}"#, Outcome::Disable),
            (Discord, 401, "", Outcome::Disable),
            (Discord, 400, "", Outcome::Failed),
            (Email, 202, "", Outcome::Accepted),
            (Email, 422, "", Outcome::Failed),
            (GoogleChat, 404, "", Outcome::Failed),
            (Opsgenie, 202, "{}", Outcome::Accepted),
            (Pagerduty, 202, r#"{"status":"success"}"#, Outcome::Accepted),
            (Pagerduty, 400, r#"{"status":"invalid event"}"#, Outcome::Failed),
            (Teams, 202, "", Outcome::Accepted),
            (Telegram, 200, r#"{"ok":true}"#, Outcome::Accepted),
            (Telegram, 200, "<html>", Outcome::Failed),
            (Telegram, 403, r#"{"ok":false}"#, Outcome::Disable),
            (Telegram, 429, r#"{"ok":false,"parameters":{"retry_after":34}}"#, retry(Some(34_000))),
            (Telegram, 429, r#"{"ok":false,"parameters":{"retry_after":1e300}}"#, retry(Some(3_600_000))),
            (
                Telegram,
                400,
                r#"{"ok":false,"parameters":{"migrate_to_chat_id":-1001}}"#,
                Outcome::Moved { chat_id: -1001 },
            ),
            (Telegram, 400, r#"{"ok":false}"#, Outcome::Failed),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                accepted(kind, status, &HeaderMap::new(), body.as_bytes(), 0),
                outcome,
                "{kind:?} {status} {body}"
            );
        }
    }

    #[test]
    fn what_a_kind_asks_for_is_asked_for() {
        let check = |kind: &str, url: Option<&str>, secret: Option<&str>, settings: &str| {
            let settings = serde_json::from_str(settings).unwrap();
            let kind = ReceiverKind::parse(kind).unwrap();
            let checked = Address::check(kind, url, secret, settings, &Allowed::Nothing, [7; 32]);
            checked.map(|address| address.url).map_err(|error| error.field)
        };
        let url = Some("https://example.com/x");
        let (key, token) = (Some("0123456789abcdef0123456789ABCDEF"), Some("123456:ABC-def_1"));
        let mail = r#"{"provider":"resend","from":"Gateway <g@example.com>","to":["ops@example.com"]}"#;
        for (kind, url, secret, settings, expected) in [
            ("slack", url, None, "{}", Ok("https://example.com/x")),
            ("slack", None, None, "{}", Err("url")),
            ("slack", url, Some("x"), "{}", Err("secret")),
            ("slack", url, None, r#"{"chat_id":1}"#, Err("settings")),
            ("teams", Some("http://example.com"), None, "{}", Err("url")),
            ("discord", url, None, r#"{"thread_id":"123"}"#, Ok("https://example.com/x")),
            ("discord", url, None, r#"{"thread_id":"1&x=2"}"#, Err("settings")),
            ("pagerduty", None, key, "{}", Ok("https://events.pagerduty.com")),
            (
                "pagerduty",
                Some("https://events.eu.pagerduty.com"),
                key,
                "{}",
                Ok("https://events.eu.pagerduty.com"),
            ),
            ("pagerduty", None, Some("short"), "{}", Err("secret")),
            ("pagerduty", None, None, "{}", Err("secret")),
            ("opsgenie", None, Some("key"), "{}", Ok("https://api.opsgenie.com")),
            ("opsgenie", None, Some("two words"), "{}", Err("secret")),
            ("incident_io", None, Some("key"), "{}", Err("url")),
            ("telegram", None, token, r#"{"chat_id":-100}"#, Ok("https://api.telegram.org")),
            (
                "telegram",
                None,
                token,
                r#"{"chat_id":"@ops","message_thread_id":7}"#,
                Ok("https://api.telegram.org"),
            ),
            ("telegram", None, token, "{}", Err("settings")),
            ("telegram", None, token, r#"{"chat_id":1,"message_thread_id":"7"}"#, Err("settings")),
            ("telegram", None, Some("123/../x:y"), r#"{"chat_id":1}"#, Err("secret")),
            ("alertmanager", url, None, "{}", Ok("https://example.com/x")),
            ("alertmanager", url, Some("token"), "{}", Ok("https://example.com/x")),
            ("email", None, Some("key"), mail, Ok("https://api.resend.com/emails")),
            ("email", None, None, mail, Err("secret")),
            ("email", None, Some("key"), &mail.replace("resend", "mailgun"), Err("url")),
            ("email", url, Some("key"), &mail.replace("resend", "mailgun"), Ok("https://example.com/x")),
            ("email", None, Some("key"), &mail.replace("resend", "pigeon"), Err("settings")),
            ("email", url, Some("key"), &mail.replace("resend", "json"), Err("settings")),
            (
                "email",
                None,
                Some("key"),
                &mail.replace("g@example.com", "g@example.com, x@example.com"),
                Err("settings"),
            ),
            (
                "email",
                None,
                Some("key"),
                &mail.replace("ops@example.com", "ops@example.com\\nBcc: x@y.z"),
                Err("settings"),
            ),
            ("email", None, Some("key"), &mail.replace(r#"["ops@example.com"]"#, "[]"), Err("settings")),
        ] {
            let checked = check(kind, url, secret, settings);
            assert_eq!(
                checked.as_deref().map_err(|field| *field),
                expected,
                "{kind} {url:?} {secret:?} {settings}"
            );
        }
    }
}
