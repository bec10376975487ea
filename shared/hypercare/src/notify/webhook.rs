//! A notice as a signed event: Standard Webhooks 1.0.
//!
//! The id is the same on every attempt, for the receiver to know a repetition by; the timestamp and with
//! it the signature are of this attempt.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use super::{
    Error, Letter, Wire,
    text::{Style, json_bytes, literal},
};
use crate::FieldError;
use crate::notice::{Kind, Notice};
use crate::time::rfc3339;

/// The key a receiver checks signatures with. It is shown when it is made and not printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Reads a secret somebody chose: `whsec_` and the base64 of 24 to 64 bytes.
    pub fn parse(text: &str) -> Result<Secret, FieldError> {
        let key = text.strip_prefix(PREFIX).and_then(|key| STANDARD.decode(key).ok());
        match key {
            Some(key) if (24..=64).contains(&key.len()) => Ok(Secret(key)),
            _ => Err(FieldError::new("secret", "must be whsec_ and the base64 of 24 to 64 bytes")),
        }
    }

    /// A new secret from random bytes.
    pub fn from_random(bytes: [u8; 32]) -> Secret {
        Secret(bytes.to_vec())
    }

    /// The secret as text, for its owner.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length will do");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// The request that delivers the notice, signed for this attempt.
pub(super) fn wire(letter: &Letter<'_>) -> Result<Wire, Error> {
    let id = letter.id;
    if id.is_empty() || id.contains('.') {
        return Err(Error::Id);
    }
    let secret = Secret::parse(letter.secret).map_err(|_| Error::Secret)?;
    let body = body(letter.notice);
    let timestamp = letter.attempt_ms.div_euclid(1000);
    let headers = vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", secret.sign(id, timestamp, &body)),
    ];
    Ok(Wire { url: letter.url.to_owned(), content_type: "application/json", headers, body })
}

#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    /// Differs from the type where an alert fired and resolved before anybody could be told.
    kind: Kind,
    #[serde(skip_serializing_if = "str::is_empty")]
    episode_id: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    rule_id: String,
    severity: &'static str,
    title: String,
    summary: String,
    facts: Vec<Fact>,
    labels: BTreeMap<String, String>,
    started_at: String,
    ended_at: Option<String>,
}

#[derive(Serialize)]
struct Fact {
    name: String,
    value: String,
}

fn body(notice: &Notice) -> Vec<u8> {
    let event = Event {
        r#type: match notice.kind {
            Kind::Acknowledged => "alert.acknowledged",
            Kind::Change => "change.detected",
            Kind::Combined | Kind::Resolved => "alert.resolved",
            Kind::Firing => "alert.firing",
            Kind::Health => "watch.health",
            Kind::Report => "report.created",
            Kind::Test => "receiver.test",
        },
        timestamp: rfc3339(notice.occurred_ms),
        data: Data {
            kind: notice.kind,
            episode_id: &notice.episode_id,
            rule_id: STYLE.fit(&notice.rule_id, 200),
            severity: notice.severity.word(),
            title: STYLE.fit(&notice.title, 500),
            summary: STYLE.fit(&notice.summary, 2_000),
            facts: STYLE
                .facts(notice, STYLE.most, STYLE.room)
                .into_iter()
                .map(|(name, value)| Fact { name, value })
                .collect(),
            labels: notice.labels.iter().take(20).map(label).collect(),
            started_at: rfc3339(notice.started_ms),
            ended_at: notice.ended_ms.map(rfc3339),
        },
    };
    serde_json::to_vec(&event).expect("text always has a JSON form")
}

fn label((name, value): &(String, String)) -> (String, String) {
    (STYLE.fit(name, 100), STYLE.fit(value, 250))
}

/// Twenty kilobytes are recommended, for all of it.
const STYLE: Style = Style {
    units: json_bytes,
    escape: literal,
    date: rfc3339,
    most: 60,
    name: 100,
    value: 1_000,
    room: 6_000,
};
const PREFIX: &str = "whsec_";

#[cfg(test)]
mod tests {
    use std::slice;

    use bytes::Bytes;
    use http::{Method, Request};

    use super::super::{Address, ReceiverKind};
    use super::*;
    use crate::alert::{Fired, Reason, Resolved};
    use crate::notice::Subject;
    use crate::rule::shipped;

    #[test]
    fn the_published_example_has_the_published_signature() {
        let signature =
            secret().sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_request_is_signed_over_what_it_sends() {
        let request = request(&firing(), URL, "out_1", 1_767_226_000_999).unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), URL);
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("webhook-id"), "out_1");
        assert_eq!(header("webhook-timestamp"), "1767226000");
        assert_eq!(header("webhook-signature"), secret().sign("out_1", 1_767_226_000, request.body()));
    }

    #[test]
    fn an_attempt_changes_the_timestamp_and_nothing_else() {
        let attempt = |attempt_ms| request(&firing(), URL, "out_1", attempt_ms).unwrap();
        let (first, second) = (attempt(0), attempt(5_000));
        assert_eq!(first.body(), second.body());
        assert_eq!(first.headers()["webhook-id"], second.headers()["webhook-id"]);
        assert_ne!(first.headers()["webhook-timestamp"], second.headers()["webhook-timestamp"]);
        assert_ne!(first.headers()["webhook-signature"], second.headers()["webhook-signature"]);
    }

    #[test]
    fn a_firing_alert_is_an_event() {
        let expected = concat!(
            r#"{"type":"alert.firing","timestamp":"2026-01-01T00:05:00Z","data":{"kind":"firing","episode_id":"ep_1","#,
            r#""rule_id":"error-share","severity":"ticket","title":"High 5xx share","#,
            r#""summary":"demo: 5xx share 3.2 % > 1 % on /v1/chat/completions (5 min, 412 calls)","#,
            r#""facts":[{"name":"Tenant","value":"demo"},{"name":"Route","value":"/v1/chat/completions"},"#,
            r#"{"name":"5xx share","value":"3.2 %"},{"name":"Threshold","value":"1 %"},"#,
            r#"{"name":"Calls","value":"412 in 5 min"}],"#,
            r#""labels":{"route":"/v1/chat/completions","tenant_id":"tn_1"},"#,
            r#""started_at":"2026-01-01T00:00:00Z","ended_at":null}}"#,
        );
        assert_eq!(body(&firing()), expected.as_bytes());
    }

    #[test]
    fn a_resolved_alert_ends_when_it_happened() {
        let resolved = Resolved {
            since_ms: 0,
            opened_ms: 300_000,
            resolved_ms: 900_000,
            value: Some(0.0),
            worst: 0.5,
            reason: Reason::Recovered,
        };
        let rule = shipped("error-share").unwrap();
        for (notice, kind) in [
            (Notice::resolved(&rule, "ep_1", None, &resolved), "resolved"),
            (Notice::combined(&rule, "ep_1", None, &resolved), "combined"),
        ] {
            let event: serde_json::Value = serde_json::from_slice(&body(&notice)).unwrap();
            assert_eq!(event["type"], "alert.resolved");
            assert_eq!(event["timestamp"], "1970-01-01T00:15:00Z");
            assert_eq!(event["data"]["ended_at"], "1970-01-01T00:15:00Z");
            assert_eq!(event["data"]["kind"], kind);
        }
    }

    #[test]
    fn a_test_is_an_event_about_no_alert() {
        let event: serde_json::Value = serde_json::from_slice(&body(&Notice::test("team", 0))).unwrap();
        assert_eq!(event["type"], "receiver.test");
        assert_eq!(event["data"].get("episode_id"), None);
    }

    #[test]
    fn a_secret_is_a_prefix_and_24_to_64_bytes() {
        let made = Secret::from_random([7; 32]);
        assert_eq!(made.expose(), "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
        assert_eq!(Secret::parse(&made.expose()), Ok(made));
        let of = |length: usize| Secret::parse(&format!("whsec_{}", STANDARD.encode(vec![1; length])));
        for (length, good) in [(0, false), (23, false), (24, true), (64, true), (65, false)] {
            assert_eq!(of(length).is_ok(), good, "{length}");
        }
        for text in
            ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not/base64!not/base64!not/base64!"]
        {
            assert_eq!(Secret::parse(text).unwrap_err().field, "secret", "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_printed_by_accident() {
        assert_eq!(format!("{:?}", secret()), "Secret(…)");
    }

    #[test]
    fn an_id_that_would_blur_what_is_signed_is_refused() {
        for id in ["", "a.b"] {
            assert!(matches!(request(&firing(), URL, id, 0), Err(Error::Id)), "{id}");
        }
        assert!(matches!(request(&firing(), URL, "a\nb", 0), Err(Error::Request(_))));
        assert!(matches!(request(&firing(), "no url", "out_1", 0), Err(Error::Request(_))));
    }

    const URL: &str = "https://example.com/hook";

    fn secret() -> Secret {
        Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()
    }

    fn request(notice: &Notice, url: &str, id: &str, attempt_ms: i64) -> Result<Request<Bytes>, Error> {
        let address = Address {
            url: url.to_owned(),
            secret: Some(secret().expose()),
            settings: serde_json::Value::Null,
        };
        super::super::request(
            ReceiverKind::Webhook,
            &address,
            "team",
            slice::from_ref(notice),
            id,
            attempt_ms,
        )
    }

    fn firing() -> Notice {
        let subject = Subject {
            tenant_id: "tn_1",
            tenant_name: "demo",
            route: "/v1/chat/completions",
            name: "/v1/chat/completions",
        };
        let since_ms = 1_767_225_600_000;
        let fired = Fired { since_ms, opened_ms: since_ms + 300_000, value: 0.032, count: 412 };
        Notice::firing(&shipped("error-share").unwrap(), "ep_1", Some(&subject), &fired)
    }
}
