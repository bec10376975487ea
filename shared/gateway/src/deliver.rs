//! Deliveries: notices that are due go out, a few at once, and what came of it is written down.
//!
//! Neither what is stored of an attempt nor what is logged says where it went: the address of a chat
//! webhook is a password.

use std::pin::pin;

use bytes::Bytes;
use futures::future::{Either, join_all, select};
use http::{HeaderMap, Request, StatusCode};
use hypercare::{
    notice::Notice,
    notify::{self, ReceiverKind, accepted, check_url, next_attempt_ms, slack, webhook},
};
use serde::Serialize;

use crate::{
    Error, Host,
    ports::{Body, FetchError, Limits},
    receiver,
    store::{
        outbox::{self, Claimed, Settled},
        receivers,
    },
};

/// How many attempts delivered, and how many did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Delivered.
    pub delivered: usize,
    /// Refused, or to be tried again.
    pub undelivered: usize,
}

/// Makes the attempts that are due, as many as a tick should.
pub async fn deliver_due<H: Host>(host: &H) -> Result<Deliveries, Error> {
    let mut deliveries = Deliveries::default();
    let mut left = MOST_ATTEMPTS;
    while left > 0 {
        let claimed = outbox::claim(host, left.min(AT_ONCE), host.now_ms(), LEASE_MS).await?;
        if claimed.is_empty() {
            break;
        }
        left -= claimed.len();
        let settled = attempt_all(host, &claimed).await?;
        let delivered = settled.iter().filter(|settled| settled.delivered_ms.is_some()).count();
        deliveries.delivered += delivered;
        deliveries.undelivered += settled.len() - delivered;
    }
    Ok(deliveries)
}

/// What a test of a receiver came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// The notice's id, as the receiver saw it.
    pub id: String,
    /// `delivered`, or `dead`: a test is not repeated.
    pub status: &'static str,
    /// In a few words.
    pub result: String,
}

/// Sends a test notice to a receiver, at once.
pub async fn test<H: Host>(host: &H, receiver_id: &str, now_ms: i64) -> Result<TestResult, Error> {
    let unknown = || Error::NotFound(format!("receiver {receiver_id} that is not disabled"));
    let receiver = receivers::find(host, receiver_id).await?.ok_or_else(unknown)?;
    let id = host.memory().new_id("test_", now_ms, host);
    let notice = serde_json::to_string(&Notice::test(&receiver.name, now_ms)).expect("a notice is JSON");
    let claimed =
        outbox::claim_test(host, &id, receiver_id, &notice, now_ms, LEASE_MS).await?.ok_or_else(unknown)?;
    let settled = attempt_all(host, &[claimed]).await?;
    let settled = settled.into_iter().next().expect("one attempt has one result");
    Ok(TestResult { id, status: settled.status, result: settled.last_result })
}

/// Makes these attempts at once and writes down what they came to.
async fn attempt_all<H: Host>(host: &H, claimed: &[Claimed]) -> Result<Vec<Settled>, Error> {
    let answers = join_all(claimed.iter().map(|claimed| attempt(host, claimed))).await;
    let now_ms = host.now_ms();
    let mut gone = Vec::new();
    let mut settled = Vec::new();
    for (claimed, Answer { outcome, words }) in claimed.iter().zip(answers) {
        let attempts = u32::try_from(claimed.attempts).unwrap_or(u32::MAX);
        let next_ms = match outcome {
            notify::Outcome::Retry { after_ms } if claimed.kind != "test" => {
                next_attempt_ms(attempts, now_ms, after_ms, &claimed.id)
            }
            _ => None,
        };
        let delivered = outcome == notify::Outcome::Accepted;
        let status = match next_ms {
            _ if delivered => "delivered",
            Some(_) => "pending",
            None => "dead",
        };
        if !delivered {
            let Claimed { id, receiver_id, .. } = claimed;
            host.log(&format!("notice {id} to {receiver_id}: attempt {attempts}: {words}; it is {status}"));
        }
        if outcome == notify::Outcome::Disable {
            gone.push(claimed.receiver_id.as_str());
        }
        settled.push(Settled {
            id: claimed.id.clone(),
            attempts: claimed.attempts,
            status,
            last_result: words,
            next_ms: next_ms.unwrap_or(now_ms),
            delivered_ms: delivered.then_some(now_ms),
        });
    }
    outbox::settle(host, &settled, &gone, now_ms).await?;
    Ok(settled)
}

/// What an attempt came to.
struct Answer {
    outcome: notify::Outcome,
    words: String,
}

impl Answer {
    fn refused(words: impl Into<String>) -> Self {
        Self { outcome: notify::Outcome::Failed, words: words.into() }
    }

    fn retry(words: impl Into<String>) -> Self {
        Self { outcome: notify::Outcome::Retry { after_ms: None }, words: words.into() }
    }
}

/// Makes one attempt.
async fn attempt<H: Host>(host: &H, claimed: &Claimed) -> Answer {
    let Some(kind) = claimed.receiver_kind.as_deref().and_then(ReceiverKind::parse) else {
        return Answer::refused("the receiver is gone");
    };
    let request = match request(host, kind, claimed) {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    let fetch = pin!(host.fetch(request, LIMITS));
    // The limits are for silences; this one is for all of it.
    let fetched = match select(fetch, pin!(host.sleep(LIMITS.first_byte_ms))).await {
        Either::Left((fetched, _)) => fetched,
        Either::Right(_) => Err(FetchError::Timeout),
    };
    match fetched {
        Ok(fetched) => {
            let body = match &fetched.body {
                Body::Whole(body) => body,
                Body::Stream { first, .. } => first,
            };
            answered(kind, fetched.head.status(), fetched.head.headers(), body, host.now_ms())
        }
        // It heard the notice, and would say as much again.
        Err(FetchError::TooLarge) => Answer::refused("the answer is too large"),
        Err(FetchError::Timeout) => Answer::retry("timed out"),
        Err(FetchError::HungUp | FetchError::Unreachable(_)) => Answer::retry("no connection"),
    }
}

fn answered(kind: ReceiverKind, status: StatusCode, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Answer {
    let outcome = accepted(kind, status, headers, body, now_ms);
    let words = match outcome {
        notify::Outcome::Failed if status.is_success() => {
            format!("HTTP {}, but not accepted", status.as_u16())
        }
        _ => format!("HTTP {}", status.as_u16()),
    };
    Answer { outcome, words }
}

/// The request of an attempt, or why there can be none.
fn request<H: Host>(host: &H, kind: ReceiverKind, claimed: &Claimed) -> Result<Request<Bytes>, Answer> {
    let config = host.config();
    // Somebody may put the right secret back.
    let sealed = || Answer::retry("the receiver's address cannot be opened with this HYPERGATE_SECRET");
    let secrets = config.secrets.as_ref().ok_or_else(sealed)?;
    let open = |text: &Option<String>, context: String| secrets.open(text.as_deref()?, &context);
    let url = open(&claimed.sealed_url, receiver::url_context(&claimed.receiver_id)).ok_or_else(sealed)?;
    // What may be a receiver can have become narrower since.
    check_url(&url, config.allow_local_receivers)
        .map_err(|_| Answer::refused("the address is not allowed"))?;
    let notice: Notice = serde_json::from_str(&claimed.notice)
        .map_err(|_| Answer::refused("the stored notice cannot be read"))?;
    let request = match kind {
        ReceiverKind::Slack => slack::request(&notice, &url),
        ReceiverKind::Webhook => {
            let secret = open(&claimed.sealed_secret, receiver::secret_context(&claimed.receiver_id))
                .ok_or_else(sealed)?;
            let secret =
                webhook::Secret::parse(&secret).map_err(|_| Answer::refused("the signing secret is none"))?;
            webhook::request(&notice, &url, &secret, &claimed.id, host.now_ms())
        }
    };
    request.map_err(|_| Answer::refused("the receiver cannot be addressed"))
}

/// An invocation on Cloudflare's free plan has 50 requests and 50 statements.
const MOST_ATTEMPTS: usize = 20;
/// An isolate has six open connections.
const AT_ONCE: usize = 6;
/// Longer than an attempt with all its limits.
const LEASE_MS: i64 = 120_000;
const LIMITS: Limits =
    Limits { first_byte_ms: 15_000, idle_ms: 15_000, max_bytes: 65_536, any_stream: false };
