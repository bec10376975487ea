//! Records on their way out of the gateway: as lines of JSON, and as OpenTelemetry's traces and metrics.
//!
//! Each outlet has a mark in the order in which calls were stored, so one that is stored late is not passed over. A tick
//! claims an outlet, sends what lies behind its mark, and moves the mark once it was accepted, all on condition that
//! the claim still holds. A tick that dies between the two leaves the same records to be sent once more: spans and lines
//! have the same ids again, and sums of metrics are the same sums. Nothing else is sent twice, and nothing is left out but
//! what the other side refuses for good, which is counted.

use std::pin::pin;

use bytes::Bytes;
use futures::future::{Either, join_all, select};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use hypercare::notify::retry_after_ms;
use sha2::{Digest, Sha256};

use crate::{
    Error, Host,
    otlp::{self, Sums},
    ports::{Body, FetchError, Limits},
    secret::hex,
    store::{
        calls::Call,
        outlets::{self, Claimed, MOST_AT_ONCE, Settled},
    },
};

/// Where records go besides the database.
#[derive(Debug, Clone, Default)]
pub struct Outlets {
    outlets: Vec<Outlet>,
    /// What is said of the gateway itself to an OpenTelemetry collector.
    resource: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
struct Outlet {
    kind: Kind,
    url: String,
    headers: HeaderMap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lines,
    Metrics { is_delta: bool },
    Traces,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Metrics { .. } => "metrics",
            Self::Traces => "traces",
        }
    }
}

impl Outlets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.outlets.is_empty()
    }

    /// Reads the settings, as OpenTelemetry names them where it does.
    pub fn read(lookup: impl Fn(&str) -> Option<String>, release: &str) -> Result<Self, String> {
        let address = |name: &str, path: &str| match lookup(name) {
            None => Ok(None),
            Some(url) => {
                let url = format!("{}{path}", if path.is_empty() { &url } else { url.trim_end_matches('/') });
                let parsed = url.parse::<Uri>().ok();
                let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
                match parsed.filter(|uri| is_web(uri) && uri.host().is_some()) {
                    Some(_) => Ok(Some(url)),
                    None => Err(format!("{name} must be a URL")),
                }
            }
        };
        let mut found = Self::default();
        let mut add = |kind: Kind, url: Option<String>, headers: &HeaderMap| {
            found.outlets.extend(url.map(|url| Outlet { kind, url, headers: headers.clone() }));
        };
        let temporality = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        let is_delta = match lookup(temporality).map(|word| word.to_ascii_lowercase()).as_deref() {
            None | Some("cumulative") => false,
            Some("delta") => true,
            Some(_) => return Err(format!("{temporality} must be `cumulative` or `delta`")),
        };
        let headers = headers(&lookup, "OTEL_EXPORTER_OTLP_HEADERS")?;
        for (kind, own, path) in [
            (Kind::Traces, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/v1/traces"),
            (Kind::Metrics { is_delta }, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "/v1/metrics"),
        ] {
            add(kind, address(own, "")?.or(address("OTEL_EXPORTER_OTLP_ENDPOINT", path)?), &headers);
        }
        add(Kind::Lines, address("RECORDS_URL", "")?, &line_headers(&lookup)?);
        found.resource = vec![
            (
                "service.name".to_owned(),
                lookup("OTEL_SERVICE_NAME").unwrap_or_else(|| "hypergate".to_owned()),
            ),
            ("service.version".to_owned(), release.to_owned()),
        ];
        for (name, value) in pairs(&lookup, "OTEL_RESOURCE_ATTRIBUTES")? {
            if !found.resource.iter().any(|(known, _)| *known == name) {
                found.resource.push((name, value));
            }
        }
        Ok(found)
    }
}

fn line_headers(lookup: impl Fn(&str) -> Option<String>) -> Result<HeaderMap, String> {
    let mut all = headers(&lookup, "RECORDS_HEADERS")?;
    if let Some(token) = lookup("RECORDS_TOKEN") {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        all.insert(header::AUTHORIZATION, value.map_err(|_| "RECORDS_TOKEN cannot be a header".to_owned())?);
    }
    Ok(all)
}

fn headers(lookup: impl Fn(&str) -> Option<String>, setting: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(lookup, setting)? {
        let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        // Not which: it may be a password.
        let (name, mut value) = header.ok_or_else(|| format!("{setting} has something that is no header"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// `name=value,name=value`, with escapes as in a URL.
fn pairs(lookup: impl Fn(&str) -> Option<String>, setting: &str) -> Result<Vec<(String, String)>, String> {
    let text = lookup(setting).unwrap_or_default();
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((unescape(name.trim())?, unescape(value.trim())?))
    });
    let pairs: Option<Vec<_>> = pairs.collect();
    pairs.ok_or_else(|| format!("{setting} must be `name=value,name=value`"))
}

fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

/// Sends what waits, as much as a tick should: see [`MOST_STATEMENTS`] and [`MOST_REQUESTS`]. Returns how many records
/// were accepted, once for each outlet.
pub async fn send_waiting<H: Host>(host: &H) -> Result<usize, Error> {
    let config = host.config();
    let Outlets { outlets: configured, resource } = &config.outlets;
    if config.outlets.is_empty() {
        return Ok(0);
    }
    let lease = hex(&host.memory().unique(host).to_be_bytes());
    let names: Vec<&str> = configured.iter().map(|outlet| outlet.kind.name()).collect();
    let now_ms = host.now_ms();
    let claimed = outlets::claim(host, &names, &lease, now_ms, now_ms + LEASE_MS).await?;
    if claimed.is_empty() {
        return Ok(0);
    }
    let mut at_work: Vec<(&Outlet, Claimed)> = Vec::new();
    for claim in claimed {
        at_work
            .extend(configured.iter().find(|outlet| outlet.kind.name() == claim.name).map(|at| (at, claim)));
    }
    let mut accepted = 0;
    for round in 1..=ROUNDS {
        // Those that have come as far as each other read together; the others have their turn.
        let Some(mark) = at_work.first().map(|(_, claim)| claim.mark) else { break };
        let limit =
            at_work.iter().filter(|(_, claim)| claim.mark == mark).map(|(_, claim)| claim.batch).max();
        let stored = outlets::stored_after(host, mark, limit.unwrap_or(MOST_AT_ONCE)).await?;
        let (mut due, others): (Vec<_>, Vec<_>) =
            at_work.into_iter().partition(|(_, claim)| claim.mark == mark);
        at_work = others;
        let sent =
            join_all(due.iter().map(|(outlet, claim)| send(host, outlet, claim, &stored, resource))).await;
        let mut settled = Vec::new();
        for ((_, claim), mut next) in due.iter_mut().zip(sent) {
            accepted += next.sent as usize;
            let has_more =
                stored.len() as i64 >= claim.batch || stored.last().is_some_and(|(seq, _)| next.mark < *seq);
            next.done = round == ROUNDS || !has_more || next.next_ms > host.now_ms();
            claim.mark = next.mark;
            claim.batch = next.batch;
            claim.failures = next.failures;
            if let Some(state) = &next.state {
                claim.state.clone_from(state);
            }
            settled.push(next);
        }
        // The last round gives everything back.
        if round == ROUNDS {
            settled.extend(at_work.iter().map(|(_, claim)| Settled { done: true, ..unchanged(claim) }));
        }
        let held = outlets::settle(host, &lease, &settled).await?;
        let goes_on = |name: &str| {
            let done = settled.iter().any(|settled| settled.name == name && settled.done);
            !done && held.iter().any(|held| held == name)
        };
        at_work.extend(due.into_iter().filter(|(_, claim)| goes_on(&claim.name)));
        if at_work.is_empty() {
            break;
        }
    }
    outlets::forget_passed(host).await?;
    Ok(accepted)
}

fn unchanged(claim: &Claimed) -> Settled {
    Settled {
        name: claim.name.clone(),
        mark: claim.mark,
        state: None,
        failures: claim.failures,
        batch: claim.batch,
        next_ms: 0,
        sent: 0,
        refused: 0,
        accepted_ms: None,
        last_result: None,
        done: false,
    }
}

/// Sends one outlet its next records.
async fn send<H: Host>(
    host: &H,
    outlet: &Outlet,
    claim: &Claimed,
    stored: &[(i64, Option<Call>)],
    resource: &[(String, String)],
) -> Settled {
    let stored = &stored[..stored.len().min(claim.batch as usize)];
    let calls: Vec<&Call> = stored.iter().filter_map(|(_, call)| call.as_ref()).collect();
    let passed = stored.last().map_or(claim.mark, |(seq, _)| *seq);
    let name = outlet.kind.name();
    let count = calls.len() as i64;
    let before = unchanged(claim);
    let (body, state) = body(outlet.kind, claim, &calls, host.now_ms(), resource);
    let answer = match body {
        Some(body) => ask(host, outlet, body).await,
        // Nothing of these concerns it.
        None => Answer::Accepted { refused: 0, words: "nothing to send".to_owned() },
    };
    let now_ms = host.now_ms();
    match answer {
        Answer::Accepted { refused, words } => {
            if refused > 0 {
                host.log(&format!("outlet {name}: {refused} of {count} calls' parts are refused: {words}"));
            }
            Settled {
                mark: passed,
                state,
                failures: 0,
                batch: (claim.batch * 2).min(MOST_AT_ONCE),
                sent: count,
                refused,
                accepted_ms: Some(now_ms),
                last_result: Some(words),
                ..before
            }
        }
        Answer::Later { after_ms, words } => {
            host.log(&format!("outlet {name}: {words}; {count} calls wait"));
            let next_ms = now_ms + after_ms.unwrap_or_default().max(wait_ms(claim.failures, name));
            Settled { failures: claim.failures + 1, next_ms, last_result: Some(words), ..before }
        }
        Answer::Refused { words } if count > 1 => {
            host.log(&format!("outlet {name}: {words}; {count} calls are sent in two halves"));
            Settled { batch: (stored.len() as i64 / 2).max(1), last_result: Some(words), ..before }
        }
        Answer::Refused { words } => {
            let id = calls.first().and_then(|call| call.position()).map_or("", |(_, id)| id);
            host.log(&format!("outlet {name}: {words}; {id} is given up"));
            Settled {
                mark: passed,
                failures: claim.failures + 1,
                next_ms: now_ms + wait_ms(claim.failures, name),
                batch: claim.batch.max(2),
                refused: 1,
                last_result: Some(words),
                ..before
            }
        }
    }
}

/// What is sent, and the state once it is accepted.
fn body(
    kind: Kind,
    claim: &Claimed,
    calls: &[&Call],
    now_ms: i64,
    resource: &[(String, String)],
) -> (Option<String>, Option<String>) {
    if calls.is_empty() {
        return (None, None);
    }
    match kind {
        Kind::Lines => {
            let lines = calls.iter().map(|call| serde_json::to_string(call).expect("a call is JSON") + "\n");
            (Some(lines.collect()), None)
        }
        Kind::Traces => (Some(otlp::traces(calls, resource)), None),
        Kind::Metrics { is_delta } => {
            let first_ms = calls.iter().filter_map(|call| call.position()).map(|(ms, _)| ms).min();
            let begins = Sums::since(first_ms.unwrap_or(now_ms));
            let mut sums = Sums::parse(&claim.state).unwrap_or(begins);
            for call in calls {
                sums.count(call);
            }
            let text = sums.request(now_ms, is_delta, resource);
            let state = if is_delta { Sums::since(now_ms).to_text() } else { sums.to_text() };
            if sums.is_empty() { (None, None) } else { (Some(text), Some(state)) }
        }
    }
}

/// What the other side says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Accepted { refused: i64, words: String },
    Later { after_ms: Option<i64>, words: String },
    Refused { words: String },
}

async fn ask<H: Host>(host: &H, outlet: &Outlet, body: String) -> Answer {
    let later = |words: &str| Answer::Later { after_ms: None, words: words.to_owned() };
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = http::Method::POST;
    let Ok(uri) = outlet.url.parse() else { return later("the address is none") };
    *request.uri_mut() = uri;
    request.headers_mut().clone_from(&outlet.headers);
    let media = if outlet.kind == Kind::Lines { "application/x-ndjson" } else { "application/json" };
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("hypergate"));
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
            judge(outlet.kind, fetched.head.status(), fetched.head.headers(), body, host.now_ms())
        }
        // It has heard us, and would say as much again.
        Err(FetchError::TooLarge) => Answer::Accepted { refused: 0, words: "a long answer".to_owned() },
        Err(FetchError::Timeout) => later("timed out"),
        Err(FetchError::HungUp | FetchError::Unreachable(_)) => later("no connection"),
    }
}

/// OTLP's rules, with one exception: what is wrong with the address or the credential is not wrong with the records, so
/// these wait until somebody has put it right.
fn judge(kind: Kind, status: StatusCode, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Answer {
    let words = format!("HTTP {}", status.as_u16());
    match status.as_u16() {
        200..=299 => match otlp::partial(body).filter(|_| kind != Kind::Lines) {
            Some((refused, why)) => Answer::Accepted { refused, words: format!("{words}: {why}") },
            None => Answer::Accepted { refused: 0, words },
        },
        400 | 413 | 422 => Answer::Refused { words },
        429 | 502 | 503 | 504 => Answer::Later { after_ms: retry_after_ms(headers, now_ms), words },
        500..=599 if kind != Kind::Lines => Answer::Refused { words },
        _ => Answer::Later { after_ms: retry_after_ms(headers, now_ms), words },
    }
}

/// Half a minute, twice as long each time, ten minutes at most; and up to a tenth more, so that what failed together
/// does not come back together.
fn wait_ms(failures: i64, name: &str) -> i64 {
    let wait_ms = (30_000 << failures.clamp(0, 10)).min(LONGEST_WAIT_MS);
    let draw = Sha256::new().chain_update(failures.to_be_bytes()).chain_update(name).finalize()[0];
    wait_ms + wait_ms / 10 * i64::from(draw) / 255
}

/// How many statements it takes at most: a claim, a look and a mark each round, and to forget what all have.
pub const MOST_STATEMENTS: usize = 1 + 2 * ROUNDS + 1;
/// How many requests: to each outlet each round.
pub const MOST_REQUESTS: usize = 3 * ROUNDS;
const ROUNDS: usize = 4;
const LONGEST_WAIT_MS: i64 = 600_000;
/// Longer than all rounds with all their limits.
const LEASE_MS: i64 = 120_000;
const LIMITS: Limits =
    Limits { first_byte_ms: 10_000, idle_ms: 10_000, max_bytes: 65_536, any_stream: false };

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Outlets, String> {
        let find = |name: &str| settings.iter().find(|(known, _)| *known == name);
        Outlets::read(|name| find(name).map(|(_, value)| (*value).to_owned()), "r1")
    }

    #[test]
    fn settings_are_read_as_opentelemetry_says() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c.example/otlp/");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t.example:4318/x/");
        let lines = ("RECORDS_URL", "https://l.example/in?key=1");
        for (settings, expected) in [
            (&[][..], vec![]),
            (
                &[base],
                vec!["traces https://c.example/otlp/v1/traces", "metrics https://c.example/otlp/v1/metrics"],
            ),
            (
                &[base, own],
                vec!["traces http://t.example:4318/x/", "metrics https://c.example/otlp/v1/metrics"],
            ),
            (&[own], vec!["traces http://t.example:4318/x/"]),
            (&[lines], vec!["lines https://l.example/in?key=1"]),
        ] {
            let found = read(settings).expect("settings");
            let shown: Vec<String> =
                found.outlets.iter().map(|outlet| format!("{} {}", outlet.kind.name(), outlet.url)).collect();
            assert_eq!(shown, expected);
        }
        let found = read(&[
            base,
            lines,
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20YTpi, x-scope=7"),
            ("RECORDS_TOKEN", "secret"),
            ("OTEL_SERVICE_NAME", "edge"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=not-this,deployment.environment.name=a%2Cb"),
        ])
        .expect("settings");
        let header =
            |at: usize, name: &str| found.outlets[at].headers[name].to_str().expect("text").to_owned();
        assert_eq!(
            (header(0, "authorization"), header(1, "x-scope")),
            ("Basic YTpi".to_owned(), "7".to_owned())
        );
        assert_eq!(header(2, "authorization"), "Bearer secret");
        let resource: Vec<String> =
            found.resource.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(resource, ["service.name=edge", "service.version=r1", "deployment.environment.name=a,b"]);
    }

    #[test]
    fn a_wrong_setting_is_named_without_its_value() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x=secret%0A"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x=secret%f"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "secret"),
            ("OTEL_RESOURCE_ATTRIBUTES", "secret"),
            ("RECORDS_URL", "/secret"),
            ("RECORDS_TOKEN", "secret\n"),
        ] {
            let message = read(&[(name, value)]).expect_err(value);
            assert!(message.contains(name) && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn answers_are_judged_as_the_protocol_says() {
        let later = |after_ms| Answer::Later { after_ms, words: String::new() };
        let refused = Answer::Refused { words: String::new() };
        let partly = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
        for (kind, status, wait, body, expected) in [
            (Kind::Traces, 200, "", &b"{}"[..], Answer::Accepted { refused: 0, words: String::new() }),
            (Kind::Traces, 200, "", partly, Answer::Accepted { refused: 3, words: String::new() }),
            (Kind::Lines, 202, "", partly, Answer::Accepted { refused: 0, words: String::new() }),
            (Kind::Traces, 429, "7", b"", later(Some(7_000))),
            (Kind::Traces, 503, "Thu, 01 Jan 2026 00:01:00 GMT", b"", later(Some(60_000))),
            (Kind::Metrics { is_delta: false }, 502, "", b"", later(None)),
            (Kind::Traces, 504, "", b"", later(None)),
            (Kind::Traces, 400, "", b"", refused.clone()),
            (Kind::Traces, 413, "", b"", refused.clone()),
            (Kind::Traces, 500, "", b"", refused.clone()),
            (Kind::Lines, 422, "", b"", refused),
            (Kind::Lines, 500, "", b"", later(None)),
            (Kind::Traces, 401, "", b"", later(None)),
            (Kind::Traces, 404, "", b"", later(None)),
            (Kind::Lines, 301, "", b"", later(None)),
        ] {
            let mut headers = HeaderMap::new();
            if !wait.is_empty() {
                headers.insert(header::RETRY_AFTER, wait.parse().expect("a header value"));
            }
            let status = StatusCode::from_u16(status).expect("a status");
            let wordless = match judge(kind, status, &headers, body, 1_767_225_600_000) {
                Answer::Accepted { refused, .. } => Answer::Accepted { refused, words: String::new() },
                Answer::Later { after_ms, .. } => Answer::Later { after_ms, words: String::new() },
                Answer::Refused { .. } => Answer::Refused { words: String::new() },
            };
            assert_eq!(wordless, expected, "{kind:?} {status}");
        }
    }

    #[test]
    fn waits_grow_up_to_ten_minutes() {
        let waits: Vec<i64> = (0..12).map(|failures| wait_ms(failures, "traces") / 30_000).collect();
        assert_eq!(waits[..5], [1, 2, 4, 8, 16]);
        assert!(waits[5..].iter().all(|wait| (20..=22).contains(wait)), "{waits:?}");
    }
}
