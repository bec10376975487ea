//! From a notice to an HTTP request, and from the answer to what happens next.
//!
//! A receiver's URL and secret let anybody post in its name: they are not logged, and no error here
//! repeats them. Redirects are not to be followed, as they would lead around `check_url`.

use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::time::{self, MINUTE_MS};

mod address;
pub mod slack;
pub mod webhook;

pub use address::check_url;

/// What a receiver speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverKind {
    /// A Slack incoming webhook, or what takes the same messages.
    Slack,
    /// Standard Webhooks 1.0.
    Webhook,
}

impl ReceiverKind {
    /// As stored and sent.
    pub fn word(self) -> &'static str {
        match self {
            ReceiverKind::Slack => "slack",
            ReceiverKind::Webhook => "webhook",
        }
    }

    /// The kind this word stands for.
    pub fn parse(word: &str) -> Option<ReceiverKind> {
        [ReceiverKind::Slack, ReceiverKind::Webhook].into_iter().find(|kind| kind.word() == word)
    }
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
    match status.as_u16() {
        // Slack says 200 to some things it does not post, and why in the body.
        200..=299 if kind == ReceiverKind::Slack && body.trim_ascii() != b"ok" => Outcome::Failed,
        200..=299 => Outcome::Accepted,
        410 => Outcome::Disable,
        408 | 425 | 429 | 500..=599 => Outcome::Retry { after_ms: retry_after_ms(headers, now_ms) },
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

fn retry_after_ms(headers: &HeaderMap, now_ms: i64) -> Option<i64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let after_ms = match text.parse::<u32>() {
        Ok(seconds) => i64::from(seconds) * 1000,
        Err(_) => time::parse_http_date(text)? - now_ms,
    };
    Some(after_ms.clamp(0, LONGEST_WISH_MS))
}

const USER_AGENT: &str = "hypergate";
const HOUR_MS: i64 = 60 * MINUTE_MS;
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
        for kind in [ReceiverKind::Slack, ReceiverKind::Webhook] {
            assert_eq!(ReceiverKind::parse(kind.word()), Some(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("{:?}", kind.word()));
        }
        assert_eq!(ReceiverKind::parse("teams"), None);
    }
}
