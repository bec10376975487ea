//! Records go out to collectors: none is skipped, and none goes twice but where nobody can know better.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::{collections::BTreeMap, rc::Rc};

use gateway::{
    journal,
    outlet::send_waiting,
    ports::{Clock as _, FetchError},
    record::{Attempt, Outcome, Record},
    store::{outlets, retention},
    tick::tick,
};
use serde_json::{Value, json};
use tests::{Answer, Fault, MemoryHost, block_on, host::NEW_YEAR_MS, watch::record};

const LINES: &str = "https://lines.example/in";
const TRACES: &str = "https://otel.example/v1/traces";
const METRICS: &str = "https://otel.example/v1/metrics";
const MINUTE_MS: i64 = 60_000;

struct Out {
    host: Rc<MemoryHost>,
    stored: i64,
}

impl Out {
    /// A deployment with these outlets, which have heard of it, and accept everything unless a test says otherwise.
    fn new(settings: &[(&str, &str)]) -> Self {
        let out = Self { host: Rc::new(MemoryHost::with(settings)), stored: 0 };
        for url in [LINES, TRACES, METRICS] {
            out.host.upstream.always("POST", url, Answer::text(200, "{}"));
        }
        out.go(0);
        out
    }

    fn lines() -> Self {
        Self::new(&[("RECORDS_URL", LINES), ("RECORDS_TOKEN", "t")])
    }

    fn otlp() -> Self {
        Self::new(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otel.example")])
    }

    /// Calls that are stored now, and began so long ago.
    fn store(&mut self, count: i64, ago_ms: i64) {
        let record = |n: i64| call(self.stored + n, self.host.now_ms() - ago_ms);
        let records: Vec<Record> = (0..count).map(record).collect();
        self.stored += count;
        block_on(journal::write(&*self.host, &records)).unwrap();
    }

    /// Time passes, and what waits is sent.
    fn go(&self, ms: i64) -> usize {
        self.host.advance(ms);
        block_on(send_waiting(&*self.host)).unwrap()
    }

    /// How often each call arrived.
    fn arrived(&self) -> BTreeMap<String, usize> {
        let mut arrived = BTreeMap::new();
        let sent = self.host.upstream.sent_to(LINES).into_iter().filter(|sent| sent.status == Some(200));
        for sent in sent {
            let text = String::from_utf8(sent.body.to_vec()).unwrap();
            for line in text.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                *arrived.entry(line["id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        arrived
    }

    fn shown(&self, name: &str) -> outlets::Shown {
        block_on(outlets::list(&*self.host)).unwrap().into_iter().find(|shown| shown.name == name).unwrap()
    }
}

fn call(n: i64, started_ms: i64) -> Record {
    let mut record = record("tn_a", started_ms);
    record.id = format!("call_{n}");
    record.trace_id = format!("{:032x}", 0xABC0_0000 + n);
    record
}

fn once(calls: impl IntoIterator<Item = i64>) -> BTreeMap<String, usize> {
    calls.into_iter().map(|n| (format!("call_{n}"), 1)).collect()
}

#[test]
fn nothing_is_noted_or_sent_where_nobody_waits() {
    let mut out = Out::new(&[]);
    out.store(3, 0);
    let before = out.host.db.statements();
    assert_eq!(out.go(MINUTE_MS), 0);
    assert_eq!(out.host.db.statements(), before);
    assert_eq!(out.host.db.sql("SELECT * FROM stored_calls", &[]), [] as [Value; 0]);
}

#[test]
fn a_tick_sends_what_was_stored_since_and_nothing_twice() {
    let mut out = Out::lines();
    out.store(3, 0);
    out.host.set_now(NEW_YEAR_MS + MINUTE_MS);
    assert_eq!(block_on(tick(&*out.host, out.host.now_ms())).unwrap().sent_out, 3);
    let sent = out.host.upstream.sent_to(LINES);
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].header("content-type"), sent[0].header("authorization")),
        ("application/x-ndjson", "Bearer t")
    );
    let line: Value =
        serde_json::from_slice(sent[0].body.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    // As the admin API shows it.
    assert_eq!(
        (&line["id"], &line["stream"], &line["attempts"]),
        (&json!("call_0"), &json!(true), &json!([]))
    );
    assert!(line.get("seq").is_none() && line.get("duration_bucket").is_none());

    assert_eq!(out.go(MINUTE_MS), 0);
    // The same calls come again, late ones come, and calls come.
    out.stored = 0;
    out.store(3, 0);
    out.store(2, 13 * 86_400_000);
    out.store(1, 0);
    assert_eq!(out.go(MINUTE_MS), 3);
    assert_eq!(out.arrived(), once(0..6));
    assert_eq!(out.host.db.sql("SELECT * FROM stored_calls", &[]), [] as [Value; 0]);
}

#[test]
fn no_number_comes_twice_whatever_is_deleted() {
    let mut out = Out::lines();
    out.store(2, 0);
    // The newest of all is too old to be kept, and nothing else is there any more.
    out.store(1, 15 * 86_400_000);
    out.go(MINUTE_MS);
    out.host.db.sql("DELETE FROM calls", &[]);
    out.store(2, 0);
    out.go(MINUTE_MS);
    assert_eq!(out.arrived(), once(0..5));
}

#[test]
fn ticks_that_overlap_send_once() {
    for n in 0..4 {
        let mut out = Out::lines();
        out.store(5, 0);
        out.host.advance(MINUTE_MS);
        let other = out.host.clone();
        out.host.db.before_batch(n, move || {
            block_on(send_waiting(&*other)).unwrap();
        });
        out.go(0);
        assert_eq!(out.arrived(), once(0..5), "before batch {n}");
    }
    // And while the request is on its way.
    let mut out = Out::lines();
    out.store(5, 0);
    let other = out.host.clone();
    out.host.upstream.expect(
        "POST",
        LINES,
        Answer::text(200, "").meanwhile(move || {
            other.advance(MINUTE_MS);
            assert_eq!(block_on(send_waiting(&*other)).unwrap(), 0);
        }),
    );
    assert_eq!(out.go(MINUTE_MS), 5);
    assert_eq!(out.arrived(), once(0..5));
}

#[test]
fn whoever_lost_the_claim_does_not_move_the_mark() {
    let mut out = Out::lines();
    out.store(2, 0);
    let other = out.host.clone();
    // The claim runs out, and another tick does the work, and what came since.
    out.host.upstream.expect(
        "POST",
        LINES,
        Answer::text(200, "").meanwhile(move || {
            other.advance(3 * MINUTE_MS);
            let late = call(2, NEW_YEAR_MS);
            block_on(journal::write(&*other, &[late])).unwrap();
            assert_eq!(block_on(send_waiting(&*other)).unwrap(), 3);
        }),
    );
    out.go(MINUTE_MS);
    out.stored = 3;
    out.store(1, 0);
    assert_eq!(out.go(5 * MINUTE_MS), 1);
    let arrived = out.arrived();
    assert_eq!((arrived["call_2"], arrived["call_3"]), (1, 1));
}

#[test]
fn a_tick_that_dies_anywhere_skips_nothing() {
    let run = |die: Option<(usize, Fault)>| {
        let mut out = Out::lines();
        if let Some((n, fault)) = die {
            out.host.db.die_at_batch(n, fault);
        }
        let before = out.host.db.batches();
        for _ in 0..6 {
            // The journal tries again as well.
            let n = out.stored;
            let records: Vec<Record> = (n..n + 3).map(|n| call(n, out.host.now_ms())).collect();
            out.stored += 3;
            if block_on(journal::write(&*out.host, &records)).is_err() {
                out.host.db.revive();
                block_on(journal::write(&*out.host, &records)).unwrap();
            }
            out.host.advance(MINUTE_MS);
            let _ = block_on(send_waiting(&*out.host));
            out.host.db.revive();
        }
        for _ in 0..2 {
            out.host.advance(5 * MINUTE_MS);
            let _ = block_on(send_waiting(&*out.host));
            out.host.db.revive();
        }
        (out.arrived(), out.host.db.batches() - before)
    };
    let (arrived, batches) = run(None);
    assert_eq!(arrived, once(0..18));
    for fault in [Fault::BeforeBegin, Fault::AfterCommit] {
        for n in 0..batches {
            let (arrived, _) = run(Some((n, fault)));
            let calls: Vec<&String> = arrived.keys().collect();
            assert_eq!(calls, once(0..18).keys().collect::<Vec<_>>(), "{fault:?} {n}");
            // What was sent before the tick died is sent once more.
            assert!(arrived.values().all(|times| *times <= 2), "{fault:?} {n}: {arrived:?}");
            assert!(arrived.values().filter(|times| **times == 2).count() <= 3, "{fault:?} {n}: {arrived:?}");
        }
    }
}

#[test]
fn a_collector_that_is_away_or_asks_to_wait_gets_everything_later() {
    for answer in [
        Answer::unreachable(),
        Answer::error(FetchError::Timeout),
        Answer::text(503, ""),
        Answer::text(401, ""),
        Answer::text(200, "").after(60_000),
    ] {
        let mut out = Out::lines();
        out.store(2, 0);
        out.host.upstream.expect("POST", LINES, answer);
        assert_eq!(out.go(MINUTE_MS), 0);
        assert_eq!(out.shown("lines").failures, 1);
        // Not at once.
        assert_eq!(out.go(20_000), 0);
        out.store(1, 0);
        assert_eq!(out.go(MINUTE_MS), 3);
        assert_eq!(out.arrived().keys().count(), 3);
        let shown = out.shown("lines");
        assert_eq!((shown.failures, shown.waiting, shown.next_ms), (0, 0, None));
    }
    let mut out = Out::lines();
    out.store(1, 0);
    out.host.upstream.expect("POST", LINES, Answer::text(429, "").header("retry-after", "600"));
    assert_eq!((out.go(0), out.go(9 * MINUTE_MS), out.go(MINUTE_MS)), (0, 0, 1));
}

#[test]
fn what_a_collector_refuses_is_found_and_given_up_and_the_rest_goes_on() {
    let mut out = Out::lines();
    out.store(5, 0);
    // All five, 0 and 1, all others, 2, the others, 3, and 4 alone.
    for status in [400, 200, 413, 200, 400, 200, 422] {
        out.host.upstream.expect("POST", LINES, Answer::text(status, ""));
    }
    let sent: usize = (0..6).map(|_| out.go(10 * MINUTE_MS)).sum();
    assert_eq!((sent, out.arrived()), (4, once(0..4)));
    let shown = out.shown("lines");
    assert_eq!((shown.sent, shown.refused, shown.waiting), (4, 1, 0));
    assert!(out.host.logs().iter().any(|line| line.contains("call_4 is given up")), "{:?}", out.host.logs());
    out.store(3, 0);
    assert_eq!(out.go(20 * MINUTE_MS), 3);
}

#[test]
fn a_backlog_is_sent_in_pieces_within_what_a_tick_has() {
    let mut out = Out::lines();
    out.store(5_500, 0);
    let before = out.host.db.statements();
    assert_eq!(out.go(MINUTE_MS), 4_000);
    assert_eq!(out.host.db.statements() - before, 10);
    assert_eq!(out.shown("lines").waiting, 1_500);
    assert_eq!(out.go(MINUTE_MS), 1_500);
    assert_eq!(out.arrived().len(), 5_500);
    // Where nothing waits, it costs a look.
    let before = out.host.db.statements();
    out.go(MINUTE_MS);
    assert_eq!(out.host.db.statements() - before, 1);
}

#[test]
fn outlets_do_not_wait_for_each_other() {
    let mut out =
        Out::new(&[("RECORDS_URL", LINES), ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otel.example")]);
    out.store(4, 0);
    out.host.upstream.expect("POST", LINES, Answer::text(503, "").header("retry-after", "3600"));
    assert_eq!(out.go(MINUTE_MS), 8);
    out.store(2, 0);
    assert_eq!(out.go(MINUTE_MS), 4);
    assert_eq!(out.go(60 * MINUTE_MS), 6);
    // It goes on from where it was, and the others are not told again.
    assert_eq!(out.arrived(), once(0..6));
    let spans: usize = out.host.upstream.sent_to(TRACES).iter().map(|sent| spans(&sent.json()).len()).sum();
    assert_eq!(spans, 6);
    let before = out.host.db.statements();
    out.store(1, 0);
    let stored = out.host.db.statements();
    assert_eq!(out.go(MINUTE_MS), 3);
    // Together they read once and write once.
    assert_eq!((stored - before, out.host.db.statements() - stored), (2, 4));
}

#[test]
fn an_outlet_that_nobody_wants_any_more_is_forgotten_with_what_waits_for_it() {
    let mut out = Out::lines();
    out.store(3, 0);
    let days = |days: i64| NEW_YEAR_MS + days * 86_400_000;
    let rows = |table: &str| out.host.db.sql(&format!("SELECT * FROM {table}"), &[]).len();
    block_on(retention::delete_old(&*out.host, days(13))).unwrap();
    assert_eq!((rows("outlets"), rows("stored_calls")), (1, 3));
    for _ in 0..2 {
        block_on(retention::delete_old(&*out.host, days(15))).unwrap();
    }
    assert_eq!((rows("outlets"), rows("stored_calls")), (0, 0));
    // One that never answers keeps no more than there are calls.
    let mut out = Out::lines();
    out.store(3, 0);
    out.host.db.sql("DELETE FROM calls", &[]);
    block_on(retention::delete_old(&*out.host, days(1))).unwrap();
    assert_eq!(out.host.db.sql("SELECT * FROM stored_calls", &[]).len(), 0);
}

// --- what goes out

fn spans(request: &Value) -> Vec<Value> {
    request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
}

/// `name=value` of each attribute.
fn attributes(of: &Value) -> Vec<String> {
    let shown = |attribute: &Value| {
        let (kind, value) = attribute["value"].as_object().unwrap().iter().next().unwrap();
        let value = match kind.as_str() {
            "stringValue" | "intValue" => value.as_str().unwrap().to_owned(),
            "arrayValue" => value["values"][0]["stringValue"].as_str().unwrap().to_owned(),
            _ => value.to_string(),
        };
        format!("{}={value}", attribute["key"].as_str().unwrap())
    };
    of["attributes"].as_array().unwrap().iter().map(shown).collect()
}

fn tried(provider: &str, status: u16, error_type: Option<&str>, duration_ms: i64) -> Attempt {
    Attempt {
        provider: provider.to_owned(),
        model: "m-1".to_owned(),
        status: Some(status),
        error_type: error_type.map(str::to_owned),
        duration_ms,
    }
}

/// A stream that took two tries.
fn fallen_back() -> Record {
    let mut record = call(0, NEW_YEAR_MS);
    record.attempts =
        vec![tried("mistral", 503, Some("upstream_error"), 100), tried("openai", 200, None, 150)];
    record.provider_name = "openai".to_owned();
    record.target_model = "m-1".to_owned();
    record.request_model = "fast".to_owned();
    record.response_model = Some("m-1-2026".to_owned());
    record.parent_span_id = Some("00f067aa0ba902b7".to_owned());
    record.finish_reason = Some("stop".to_owned());
    record.cache_read_input_tokens = Some(4);
    record.upstream_ms = Some(250);
    record.time_to_first_chunk_ms = Some(260);
    record.tags = Some(BTreeMap::from([("feature".to_owned(), "search".to_owned())]));
    record
}

#[test]
fn a_call_is_a_span_with_one_for_each_try() {
    let out = Out::otlp();
    block_on(journal::write(&*out.host, &[fallen_back()])).unwrap();
    out.go(MINUTE_MS);
    let sent = out.host.upstream.sent_to(TRACES).remove(0);
    assert_eq!(sent.header("content-type"), "application/json");
    let request = sent.json();
    assert_eq!(
        attributes(&request["resourceSpans"][0]["resource"]),
        ["service.name=hypergate", "service.version=test"]
    );
    let [server, first, second]: [Value; 3] = spans(&request).try_into().unwrap();
    let at = |span: &Value| {
        let ms = |name: &str| span[name].as_str().unwrap().parse::<i64>().unwrap() / 1_000_000 - NEW_YEAR_MS;
        (ms("startTimeUnixNano"), ms("endTimeUnixNano"))
    };
    assert_eq!([at(&server), at(&first), at(&second)], [(0, 800), (0, 100), (110, 800)]);
    assert_eq!(server["name"], "POST /v1/chat/completions");
    assert_eq!(
        (&server["kind"], &first["kind"], &second["name"]),
        (&json!(2), &json!(3), &json!("chat m-1"))
    );
    assert_eq!(server["parentSpanId"], "00f067aa0ba902b7");
    assert!([&first, &second].iter().all(|span| span["parentSpanId"] == server["spanId"]));
    assert!(
        [&server, &first, &second].iter().all(|span| span["traceId"] == format!("{:032x}", 0xABC0_0000_u32))
    );
    assert_eq!(first["status"], json!({ "code": 2, "message": "upstream_error" }));
    assert_eq!((&server["status"], &second["status"]), (&json!({}), &json!({})));
    assert_eq!(
        attributes(&first),
        [
            "gen_ai.operation.name=chat",
            "gen_ai.provider.name=mistral_ai",
            "gen_ai.request.model=m-1",
            "http.response.status_code=503",
            "error.type=upstream_error",
            "gen_ai.request.stream=true",
        ]
    );
    assert_eq!(
        attributes(&second),
        [
            "gen_ai.operation.name=chat",
            "gen_ai.provider.name=openai",
            "gen_ai.request.model=m-1",
            "http.response.status_code=200",
            "gen_ai.request.stream=true",
            "gen_ai.response.model=m-1-2026",
            "gen_ai.response.finish_reasons=stop",
            "gen_ai.response.time_to_first_chunk=0.15",
            "gen_ai.usage.input_tokens=10",
            "gen_ai.usage.output_tokens=20",
            "gen_ai.usage.cache_read.input_tokens=4",
        ]
    );
    let server = attributes(&server);
    for expected in [
        "http.request.method=POST",
        "http.route=/v1/chat/completions",
        "http.response.status_code=200",
        "hypergate.call.id=call_0",
        "hypergate.tenant.id=tn_a",
        "hypergate.model=fast",
        "hypergate.tag.feature=search",
        "hypergate.cost_microusd=5",
    ] {
        assert!(server.iter().any(|shown| shown == expected), "{expected} of {server:?}");
    }
}

#[test]
fn spans_that_go_twice_are_the_same_and_refused_calls_have_one() {
    let mut out = Out::otlp();
    let mut refused = call(7, NEW_YEAR_MS);
    refused.attempts.clear();
    refused.outcome = Outcome::ClientError;
    let mut broken = fallen_back();
    broken.id = "call_8".to_owned();
    broken.outcome = Outcome::Error;
    broken.error_type = Some("stream_interrupted".to_owned());
    block_on(journal::write(&*out.host, &[fallen_back(), refused, broken])).unwrap();
    // It accepts them, but nobody hears so.
    out.host.upstream.expect("POST", TRACES, Answer::error(FetchError::Timeout));
    out.go(MINUTE_MS);
    out.stored = 9;
    out.store(1, 0);
    out.go(MINUTE_MS);
    let [first, second]: [Vec<Value>; 2] = out
        .host
        .upstream
        .sent_to(TRACES)
        .iter()
        .map(|sent| spans(&sent.json()))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert_eq!(first.len(), 3 + 1 + 3);
    assert_eq!(second[..first.len()], first);
    // What broke off after the try had succeeded.
    let status = json!({ "code": 2, "message": "stream_interrupted" });
    assert_eq!((&first[4]["status"], &first[6]["status"]), (&status, &status));
    assert_eq!(first[3]["status"], json!({}));
}

fn points(request: &Value, metric: &str) -> Vec<Value> {
    let metrics = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let found = metrics.iter().find(|found| found["name"] == metric);
    found.map_or_else(Vec::new, |found| found["histogram"]["dataPoints"].as_array().unwrap().clone())
}

fn in_buckets(point: &Value) -> Vec<(String, String)> {
    let bounds =
        point["explicitBounds"].as_array().unwrap().iter().map(Value::to_string).chain(["inf".to_owned()]);
    let counts =
        point["bucketCounts"].as_array().unwrap().iter().map(|count| count.as_str().unwrap().to_owned());
    bounds.zip(counts).filter(|(_, count)| count != "0").collect()
}

#[test]
fn metrics_are_sums_that_a_repeated_request_does_not_change() {
    let out = Out::otlp();
    block_on(journal::write(&*out.host, &[fallen_back()])).unwrap();
    out.go(MINUTE_MS);
    let mut next = fallen_back();
    next.id = "call_1".to_owned();
    next.duration_ms = 1_280;
    block_on(journal::write(&*out.host, &[next])).unwrap();
    for answer in [Answer::error(FetchError::Timeout), Answer::text(200, "{}")] {
        out.host.upstream.expect("POST", METRICS, answer);
        out.go(2 * MINUTE_MS);
    }
    let sent: Vec<Value> = out.host.upstream.sent_to(METRICS).iter().map(tests::Sent::json).collect();
    assert_eq!(sent.len(), 3);
    let server = |at: usize| points(&sent[at], "gen_ai.server.request.duration").remove(0);
    assert_eq!(in_buckets(&server(0)), [("1.28".to_owned(), "1".to_owned())]);
    // A bound ends its bucket.
    assert_eq!(in_buckets(&server(1)), [("1.28".to_owned(), "2".to_owned())]);
    assert_eq!(in_buckets(&server(2)), in_buckets(&server(1)));
    assert_eq!((&server(2)["sum"], &server(2)["count"]), (&json!(2.08), &json!("2")));
    assert_eq!(server(2)["startTimeUnixNano"], format!("{NEW_YEAR_MS}000000"));
    assert_eq!(
        attributes(&server(0)),
        [
            "gen_ai.operation.name=chat",
            "gen_ai.provider.name=openai",
            "gen_ai.request.model=m-1",
            "gen_ai.response.model=m-1-2026"
        ]
    );
    let tokens = points(&sent[0], "gen_ai.client.token.usage");
    let types: Vec<String> = tokens.iter().map(|point| attributes(point).pop().unwrap()).collect();
    assert_eq!(types, ["gen_ai.token.type=input", "gen_ai.token.type=output"]);
    for (metric, sum) in [
        ("gen_ai.client.operation.duration", 0.25),
        ("gen_ai.client.operation.time_to_first_chunk", 0.15),
        ("gen_ai.server.time_to_first_token", 0.26),
        // 540 ms for 19 tokens.
        ("gen_ai.server.time_per_output_token", 0.028421),
    ] {
        assert_eq!(points(&sent[0], metric)[0]["sum"], json!(sum), "{metric}");
    }
}

#[test]
fn with_delta_each_request_has_its_own() {
    let mut out = Out::new(&[
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", METRICS),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
    ]);
    let metric = "gen_ai.server.request.duration";
    let store = |n: i64, tries: usize| {
        let mut record = fallen_back();
        record.id = format!("call_{n}");
        record.attempts.truncate(tries);
        block_on(journal::write(&*out.host, &[record])).unwrap();
    };
    for n in 0..3 {
        store(n, 2);
        out.go(MINUTE_MS);
    }
    // Who was refused before a model was asked is none of these metrics' business.
    store(3, 0);
    out.go(MINUTE_MS);
    let sent: Vec<Value> = out.host.upstream.sent_to(METRICS).iter().map(tests::Sent::json).collect();
    let all: Vec<Value> = sent.iter().flat_map(|request| points(request, metric)).collect();
    assert_eq!(all.iter().map(|point| &point["count"]).collect::<Vec<_>>(), ["1", "1", "1"]);
    // One interval begins where the other ended.
    assert_eq!(all[1]["startTimeUnixNano"], all[0]["timeUnixNano"]);
    assert_eq!(all[2]["startTimeUnixNano"], all[1]["timeUnixNano"]);
    out.stored = 9;
    assert_eq!(out.shown("metrics").waiting, 0);
}

#[test]
fn models_that_callers_name_do_not_make_series_without_end() {
    let out = Out::new(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", METRICS)]);
    let records: Vec<Record> = (0..900)
        .map(|n| {
            let mut record = fallen_back();
            record.id = format!("call_{n}");
            record.target_model = format!("made-up-{n}");
            record
        })
        .collect();
    block_on(journal::write(&*out.host, &records)).unwrap();
    out.go(MINUTE_MS);
    let sent = out.host.upstream.sent_to(METRICS).remove(0).json();
    let all = points(&sent, "gen_ai.server.request.duration");
    assert!(all.len() < 200, "{}", all.len());
    let counts = all.iter().map(|point| point["count"].as_str().unwrap().parse::<i64>().unwrap());
    assert_eq!(counts.sum::<i64>(), 900);
    assert!(all.iter().any(|point| attributes(point).contains(&"gen_ai.request.model=_other".to_owned())));
}

#[test]
fn what_a_collector_rejects_of_a_request_it_accepts_is_counted_and_not_sent_again() {
    let mut out = Out::otlp();
    out.store(3, 0);
    let partly = json!({ "partialSuccess": { "rejectedSpans": "2", "errorMessage": "too old" } });
    out.host.upstream.expect("POST", TRACES, Answer::json(200, &partly));
    out.go(MINUTE_MS);
    out.go(MINUTE_MS);
    assert_eq!(out.host.upstream.sent_to(TRACES).len(), 1);
    let shown = out.shown("traces");
    assert_eq!((shown.refused, shown.last_result.as_deref()), (2, Some("HTTP 200: too old")));
}
