//! Deliveries: notices that are due go out, a few at once, and what came of it is written down.
//!
//! Neither what is stored of an attempt nor what is logged says where it went: the address of a chat
//! webhook is a password.

use std::{collections::BTreeMap, pin::pin};

use bytes::Bytes;
use futures::future::{Either, join_all, select};
use http::{HeaderMap, Request, StatusCode};
use hypercare::{
    notice::Notice,
    notify::{self, Address, ReceiverKind, accepted, check_url, next_attempt_ms},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Error, Host,
    ports::{Body, FetchError, Limits},
    receiver,
    resolve::{self, Place},
    store::{
        outbox::{self, Attempt, Claimed, Settled, Verdict},
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
    /// Requests for it.
    pub requests: usize,
}

/// Makes the attempts that are due, as many as a tick should and as few as keep to `statements`; but some.
pub async fn deliver_due<H: Host>(host: &H, statements: usize) -> Result<Deliveries, Error> {
    let mut deliveries = Deliveries::default();
    let before = host.statements();
    let (mut left, each) = match host.config().receiver_dns {
        Some(_) => (MOST_WITH_LOOKUPS, 3),
        None => (MOST_ATTEMPTS, 1),
    };
    while left > 0 && (deliveries.requests == 0 || host.statements() - before + STATEMENTS <= statements) {
        let claimed = outbox::claim(host, left.min(AT_ONCE), host.now_ms(), LEASE_MS).await?;
        if claimed.is_empty() {
            break;
        }
        let requests = requests(&claimed);
        left -= requests.len().min(left);
        deliveries.requests += each * requests.len();
        let settled = attempt_all(host, &requests).await?;
        let delivered = settled.iter().filter(|settled| settled.delivered_ms.is_some()).count();
        deliveries.delivered += delivered;
        deliveries.undelivered += settled.len() - delivered;
    }
    Ok(deliveries)
}

/// What an attempt by hand came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// The notice's id, as the receiver saw it.
    pub id: String,
    /// `delivered`, `dead` (a test is not repeated), or `pending`.
    pub status: &'static str,
    /// In a few words.
    pub result: String,
}

/// Sends a test notice to a receiver, at once.
pub async fn test<H: Host>(host: &H, receiver_id: &str, now_ms: i64) -> Result<TestResult, Error> {
    let unknown = || Error::NotFound(format!("receiver {receiver_id}"));
    let receiver = receivers::find(host, receiver_id).await?.ok_or_else(unknown)?;
    send_once(host, &receiver, &Notice::test(&receiver.name, now_ms), now_ms).await
}

/// Sends a receiver what somebody wants to see arrive, at once and once.
pub async fn send_once<H: Host>(
    host: &H,
    receiver: &receivers::Stored,
    notice: &Notice,
    now_ms: i64,
) -> Result<TestResult, Error> {
    let receiver_id = &receiver.id;
    let unknown = || Error::NotFound(format!("receiver {receiver_id}"));
    check_enabled(receiver)?;
    let id = host.memory().new_id("test_", now_ms, host);
    let notice = serde_json::to_string(notice).expect("a notice is JSON");
    let claimed =
        outbox::claim_test(host, &id, receiver_id, &notice, now_ms, LEASE_MS).await?.ok_or_else(unknown)?;
    attempt_one(host, &claimed).await
}

/// Sends a notice that is over once more, at once; if that fails, its ladder begins anew.
pub async fn redeliver<H: Host>(
    host: &H,
    receiver_id: &str,
    id: &str,
    now_ms: i64,
) -> Result<TestResult, Error> {
    let receiver = receivers::find(host, receiver_id).await?;
    check_enabled(&receiver.ok_or_else(|| Error::NotFound(format!("receiver {receiver_id}")))?)?;
    let unknown = || Error::NotFound(format!("delivery {id} to receiver {receiver_id} that is over"));
    let claimed = outbox::claim_again(host, id, receiver_id, now_ms, LEASE_MS).await?.ok_or_else(unknown)?;
    attempt_one(host, &claimed).await
}

fn check_enabled(receiver: &receivers::Stored) -> Result<(), Error> {
    match receiver.disabled_ms {
        None => Ok(()),
        Some(_) => Err(Error::Conflict(format!(
            "Receiver {} is switched off. Switch it on first: PATCH it with `{{\"enabled\": true}}`.",
            receiver.id
        ))),
    }
}

async fn attempt_one<H: Host>(host: &H, claimed: &Claimed) -> Result<TestResult, Error> {
    let settled = attempt_all(host, &[vec![claimed]]).await?;
    let settled = settled.into_iter().next().expect("one attempt has one result");
    Ok(TestResult { id: settled.id, status: settled.status, result: settled.last_result })
}

/// Notices as they go out: alone, or together to a receiver that has many and takes them so.
fn requests(claimed: &[Claimed]) -> Vec<Vec<&Claimed>> {
    let mut by_receiver: BTreeMap<&str, Vec<&Claimed>> = BTreeMap::new();
    for claimed in claimed {
        by_receiver.entry(&claimed.receiver_id).or_default().push(claimed);
    }
    let bundles = |claimed: &&Claimed| Receiver::of(claimed).is_some_and(|receiver| receiver.kind.bundles());
    let groups = by_receiver.into_values().map(|notices| match notices.first() {
        // So many were claimed to go together.
        Some(first) if notices.len() > outbox::MOST_ALONE && bundles(first) => vec![notices],
        _ => notices.into_iter().map(|notice| vec![notice]).collect(),
    });
    groups.flatten().collect()
}

/// Makes these attempts at once and writes down what they came to.
async fn attempt_all<H: Host>(host: &H, requests: &[Vec<&Claimed>]) -> Result<Vec<Settled>, Error> {
    let answers = join_all(requests.iter().map(|claimed| attempt(host, claimed))).await;
    let now_ms = host.now_ms();
    let mut settled = Vec::new();
    let mut verdicts: BTreeMap<&str, Verdict> = BTreeMap::new();
    for (request, answer) in requests.iter().zip(answers) {
        let mut died = false;
        for (place, claimed) in request.iter().enumerate() {
            let next = settle_one(host, claimed, place, &answer, now_ms);
            died |= next.status == "dead";
            settled.push(next);
        }
        if let Some(claimed) = request.first()
            && let Some(receiver) = Receiver::of(claimed)
        {
            let verdict = verdicts.entry(&claimed.receiver_id).or_insert_with(|| Verdict {
                id: claimed.receiver_id.clone(),
                well: false,
                failures: 0,
                wait_until_ms: None,
                chat_id: None,
                gone: None,
                notice: String::new(),
            });
            judge(verdict, &answer, died && claimed.kind != TEST, &receiver, now_ms);
            if !verdict.well && receiver.failures + verdict.failures >= MOST_FAILURES {
                verdict.gone.get_or_insert_with(|| {
                    format!("{MOST_FAILURES} deliveries in a row failed: {}", answer.words)
                });
            }
            if let Some(why) = &verdict.gone {
                let notice = Notice::receiver_disabled(&receiver.name, why, now_ms);
                verdict.notice = serde_json::to_string(&notice).expect("a notice is JSON");
                host.log(&format!("receiver {} is switched off: {why}", claimed.receiver_id));
            }
        }
    }
    // Most of the time there is nothing to say.
    let verdicts: Vec<Verdict> = verdicts
        .into_values()
        .filter(|verdict| {
            let said = |claimed: &&&Claimed| claimed.receiver_id == verdict.id;
            let before = requests.iter().flatten().find(said).and_then(|claimed| Receiver::of(claimed));
            let was_well = before.is_none_or(|receiver| receiver.failures == 0 && !receiver.waits);
            !(verdict.well && was_well && verdict.wait_until_ms.is_none() && verdict.gone.is_none())
        })
        .collect();
    outbox::settle(host, &settled, &verdicts, now_ms).await?;
    Ok(settled)
}

fn settle_one<H: Host>(host: &H, claimed: &Claimed, place: usize, answer: &Answer, now_ms: i64) -> Settled {
    let Claimed { id, receiver_id, attempts, .. } = claimed;
    let delivered = answer.outcome == notify::Outcome::Accepted;
    let next_ms = match answer.outcome {
        // Whoever asked for a test is there to ask again.
        _ if claimed.kind == TEST => None,
        notify::Outcome::Moved { .. } => Some(now_ms),
        notify::Outcome::Retry { after_ms } => {
            let climbed = u32::try_from(attempts - claimed.ladder_from).unwrap_or(u32::MAX);
            next_attempt_ms(climbed, now_ms, after_ms, id)
        }
        _ => None,
    };
    let status = match next_ms {
        _ if delivered => "delivered",
        Some(_) => "pending",
        None => "dead",
    };
    if !delivered {
        host.log(&format!(
            "notice {id} to {receiver_id}: attempt {attempts}: {}; it is {status}",
            answer.words
        ));
    }
    let attempt = answer.sent.as_ref().map(|sent| Attempt {
        receiver_id: receiver_id.clone(),
        at_ms: sent.at_ms,
        duration_ms: sent.duration_ms,
        status: sent.status,
        place,
    });
    Settled {
        id: id.clone(),
        attempts: *attempts,
        status,
        last_result: answer.words.clone(),
        next_ms: next_ms.unwrap_or(now_ms),
        delivered_ms: delivered.then_some(now_ms),
        attempt,
    }
}

/// What an answer says about its receiver.
fn judge(verdict: &mut Verdict, answer: &Answer, died: bool, receiver: &Receiver, now_ms: i64) {
    verdict.failures += i64::from(died);
    match answer.outcome {
        notify::Outcome::Accepted if answer.sent.is_some() => {
            verdict.well = true;
            verdict.failures = 0;
        }
        notify::Outcome::Accepted | notify::Outcome::Failed => {}
        notify::Outcome::Disable => verdict.gone = Some(answer.words.clone()),
        notify::Outcome::Moved { chat_id } => verdict.chat_id = Some(chat_id),
        notify::Outcome::Retry { after_ms } => {
            let until_ms = now_ms + after_ms.unwrap_or_default().max(LEAST_WAIT_MS);
            verdict.wait_until_ms = verdict.wait_until_ms.max(Some(until_ms));
        }
    }
    // What it asked for before holds until something arrives.
    if !verdict.well && receiver.waits {
        verdict.wait_until_ms = verdict.wait_until_ms.max(Some(now_ms));
    }
}

/// A receiver, as claimed with a notice.
struct Receiver {
    kind: ReceiverKind,
    name: String,
    sealed_url: String,
    sealed_secret: Option<String>,
    settings: Value,
    failures: i64,
    waits: bool,
}

impl Receiver {
    fn of(claimed: &Claimed) -> Option<Receiver> {
        let row: Value = serde_json::from_str(claimed.receiver.as_deref()?).ok()?;
        let text = |name: &str| row[name].as_str().map(str::to_owned);
        Some(Receiver {
            kind: ReceiverKind::parse(row["kind"].as_str()?)?,
            name: text("name")?,
            sealed_url: text("sealed_url")?,
            sealed_secret: text("sealed_secret"),
            settings: serde_json::from_str(row["settings"].as_str()?).ok()?,
            failures: row["failures"].as_i64()?,
            waits: !row["wait_until_ms"].is_null(),
        })
    }
}

/// What an attempt came to.
struct Answer {
    outcome: notify::Outcome,
    words: String,
    /// None where there was nothing to ask.
    sent: Option<Sent>,
}

struct Sent {
    at_ms: i64,
    duration_ms: i64,
    status: Option<u16>,
}

impl Answer {
    fn new(outcome: notify::Outcome, words: impl Into<String>) -> Self {
        Self { outcome, words: words.into(), sent: None }
    }

    fn refused(words: impl Into<String>) -> Self {
        Self::new(notify::Outcome::Failed, words)
    }

    fn retry(words: impl Into<String>) -> Self {
        Self::new(notify::Outcome::Retry { after_ms: None }, words)
    }
}

/// Makes one attempt.
async fn attempt<H: Host>(host: &H, claimed: &[&Claimed]) -> Answer {
    let Some(receiver) = claimed.first().and_then(|claimed| Receiver::of(claimed)) else {
        return Answer::refused("the receiver is gone");
    };
    let at_ms = host.now_ms();
    // Nobody was asked, but it is an attempt all the same.
    let unsent = |answer: Answer| {
        let sent = Sent { at_ms, duration_ms: host.now_ms() - at_ms, status: None };
        Answer { sent: Some(sent), ..answer }
    };
    let request = match request(host, &receiver, claimed) {
        Ok(request) => request,
        Err(answer) if answer.outcome == notify::Outcome::Accepted => return answer,
        Err(answer) => return unsent(answer),
    };
    match resolve::place_of(host, &request.uri().to_string()).await {
        Place::Public => {}
        Place::Private => return unsent(Answer::refused("the address's name leads inside")),
        Place::Unknown => return unsent(Answer::retry("the address's name cannot be looked up")),
    }
    let fetch = pin!(host.fetch(request, LIMITS));
    // The limits are for silences; this one is for all of it.
    let fetched = match select(fetch, pin!(host.sleep(LIMITS.first_byte_ms))).await {
        Either::Left((fetched, _)) => fetched,
        Either::Right(_) => Err(FetchError::Timeout),
    };
    let (answer, status) = match fetched {
        Ok(fetched) => {
            let body = match &fetched.body {
                Body::Whole(body) => body,
                Body::Stream { first, .. } => first,
            };
            let (status, headers) = (fetched.head.status(), fetched.head.headers());
            (answered(receiver.kind, status, headers, body, host.now_ms()), Some(status.as_u16()))
        }
        // It heard the notice, and would say as much again.
        Err(FetchError::TooLarge) => (Answer::refused("the answer is too large"), None),
        Err(FetchError::Timeout) => (Answer::retry("timed out"), None),
        Err(FetchError::HungUp | FetchError::Unreachable(_)) => (Answer::retry("no connection"), None),
    };
    Answer { sent: Some(Sent { at_ms, duration_ms: host.now_ms() - at_ms, status }), ..answer }
}

fn answered(kind: ReceiverKind, status: StatusCode, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Answer {
    let outcome = accepted(kind, status, headers, body, now_ms);
    let words = match outcome {
        notify::Outcome::Failed if status.is_success() => {
            format!("HTTP {}, but not accepted", status.as_u16())
        }
        _ => format!("HTTP {}", status.as_u16()),
    };
    Answer::new(outcome, words)
}

/// The request of an attempt, or why there is none.
fn request<H: Host>(host: &H, receiver: &Receiver, claimed: &[&Claimed]) -> Result<Request<Bytes>, Answer> {
    let [first, ..] = claimed else { return Err(Answer::refused("there is no notice")) };
    let mut notices = Vec::new();
    for claimed in claimed {
        let notice: Notice = serde_json::from_str(&claimed.notice)
            .map_err(|_| Answer::refused("the stored notice cannot be read"))?;
        notices.push(notice);
    }
    notices.retain(|notice| receiver.kind.hears(notice.kind));
    if notices.is_empty() {
        return Err(Answer::new(notify::Outcome::Accepted, "nothing to a receiver of this kind"));
    }
    let config = host.config();
    // Somebody may put the right secret back.
    let sealed = || Answer::retry("the receiver's address cannot be opened with this HYPERGATE_SECRET");
    let secrets = config.secrets.as_ref().ok_or_else(sealed)?;
    let open = |text: &str, context: String| secrets.open(text, &context).ok_or_else(sealed);
    let url = open(&receiver.sealed_url, receiver::url_context(&first.receiver_id))?;
    let secret = match &receiver.sealed_secret {
        Some(secret) => Some(open(secret, receiver::secret_context(&first.receiver_id))?),
        None => None,
    };
    // What may be a receiver can have become narrower since.
    check_url(&url, &config.allowed_receivers).map_err(|_| Answer::refused("the address is not allowed"))?;
    let address = Address { url, secret, settings: receiver.settings.clone() };
    notify::request(receiver.kind, &address, &receiver.name, &notices, &first.id, host.now_ms()).map_err(
        |error| match error {
            // Its text may be the address.
            notify::Error::Request(_) => Answer::refused("the receiver cannot be addressed"),
            error => Answer::refused(error.to_string()),
        },
    )
}

const TEST: &str = "test";
/// A receiver that fails as often is switched off.
const MOST_FAILURES: i64 = 5;
/// How long a receiver is left alone after an attempt that failed.
const LEAST_WAIT_MS: i64 = 5_000;
/// An invocation on Cloudflare's free plan has 50 requests and 50 statements.
const MOST_ATTEMPTS: usize = 18;
/// Each then takes three requests.
const MOST_WITH_LOOKUPS: usize = 12;
/// What claiming and settling a few attempts takes at most.
pub const STATEMENTS: usize = 7;
/// An isolate has six open connections.
const AT_ONCE: usize = 6;
/// Longer than an attempt with all its limits.
const LEASE_MS: i64 = 120_000;
const LIMITS: Limits =
    Limits { first_byte_ms: 15_000, idle_ms: 15_000, max_bytes: 65_536, any_stream: false };
