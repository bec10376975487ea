//! `POST /v1/chat/completions`, through the front door.

use gateway::{
    ports::FetchError,
    record::{Outcome, Record},
};
use llm::UpstreamError;
use serde_json::{Value, json};
use tests::{ANTHROPIC, Answer, Answered, Fault, Gateway, OPENAI, block_on};

fn ask(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }] })
}

fn ask_streamed(model: &str) -> Value {
    let mut body = ask(model);
    body["stream"] = json!(true);
    body
}

fn openai_answer() -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4.1-2025-04-14", "zebra": 1,
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hello" }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
                   "prompt_tokens_details": { "cached_tokens": 400 } },
    })
}

fn rate_limited() -> Answer {
    let body =
        json!({ "error": { "message": "Slow down.", "type": "requests", "code": "rate_limit_exceeded" } });
    Answer::json(429, &body).header("retry-after", "7").header("x-ratelimit-remaining-requests", "0")
}

fn overloaded() -> Answer {
    Answer::json(503, &json!({ "error": { "message": "Busy." } }))
}

const CHUNKS: [&str; 4] = [
    "data: {\"model\":\"gpt-4.1-2025-04-14\",\"choices\":[{\"delta\":{\"content\":\"Hel\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n",
    "data: [DONE]\n\n",
];

fn record(answered: &Answered) -> &Record {
    answered.record.as_ref().expect("a call is recorded")
}

/// `provider/model status-or-error` of each attempt.
fn attempts(answered: &Answered) -> String {
    let attempt = |attempt: &gateway::record::Attempt| {
        let result = attempt.error_type.clone().unwrap_or_else(|| "ok".to_owned());
        format!("{}/{} {result}", attempt.provider, attempt.model)
    };
    record(answered).attempts.iter().map(attempt).collect::<Vec<_>>().join(", ")
}

fn code(answered: &Answered) -> String {
    let body = answered.json();
    let error = &body["error"];
    assert!(error["message"].as_str().is_some_and(|message| message.len() > 20), "{body}");
    assert!(error["request_id"].as_str().is_some_and(|id| id.starts_with("call_")), "{body}");
    assert!(error["type"].is_string(), "{body}");
    format!("{} {}", answered.status.as_u16(), error["code"].as_str().unwrap_or("none"))
}

// --- same protocol in and out ---

#[test]
fn forwards_the_callers_bytes_with_the_model_and_the_key_changed() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &openai_answer()));
    let body = r#"{ "model": "openai/gpt-4.1", "messages": [ {"role":"user","content":"Hi"} ], "unknown_field": {"a": 1.50} }"#;
    let answered = gateway.chat_with(&gateway.key, &[], body);
    let sent = &gateway.host.upstream.sent()[0];
    assert_eq!(sent.body, body.replace("openai/gpt-4.1", "gpt-4.1"));
    assert_eq!(sent.header("authorization"), "Bearer sk-openai");
    assert_eq!(answered.text(), openai_answer().to_string());
    assert_eq!(answered.headers["x-hypergate-provider"], "openai");
    assert_eq!(answered.headers["content-type"], "application/json");
}

#[test]
fn passes_the_chunks_of_a_stream_as_they_come() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("POST", OPENAI, Answer::stream(CHUNKS));
    let mut body = ask_streamed("openai/gpt-4.1");
    body["stream_options"] = json!({ "include_usage": true });
    let answered = gateway.chat(&body);
    assert_eq!(answered.chunks, CHUNKS);
    assert_eq!(record(&answered).output_tokens, Some(2));
}

#[test]
fn c1_usage_is_always_asked_for_and_its_own_chunk_shown_only_to_callers_who_asked() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("POST", OPENAI, Answer::stream(CHUNKS));
    let answered = gateway.chat(&ask_streamed("openai/gpt-4.1"));
    let sent = gateway.host.upstream.sent()[0].json();
    assert_eq!(sent["stream_options"]["include_usage"], true);
    assert!(!answered.text().contains("prompt_tokens"), "{}", answered.text());
    assert!(answered.text().ends_with("data: [DONE]\n\n"));
    assert_eq!((record(&answered).input_tokens, record(&answered).output_tokens), (Some(3), Some(2)));
    assert_eq!(record(&answered).outcome, Outcome::Ok);
}

#[test]
fn c1_usage_in_a_chunk_that_has_choices_is_counted_and_passed_on() {
    let gateway = Gateway::default();
    let with_choices =
        CHUNKS[1].replace("\"usage\":null", "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}");
    gateway.host.upstream.expect(
        "POST",
        OPENAI,
        Answer::stream([CHUNKS[0].to_owned(), with_choices.clone(), CHUNKS[3].to_owned()]),
    );
    let answered = gateway.chat(&ask_streamed("openai/gpt-4.1"));
    assert_eq!(record(&answered).output_tokens, Some(2));
    assert!(answered.text().contains(&with_choices));
}

#[test]
fn c2_cached_tokens_are_part_of_the_input_and_priced_once() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &openai_answer()));
    let answered = gateway.chat(&ask("openai/gpt-4.1"));
    let record = record(&answered);
    assert_eq!((record.input_tokens, record.cache_read_input_tokens), (Some(1000), Some(400)));
    // 600 at 2 dollars, 400 at 0.5 and 100 at 8 dollars a million.
    assert_eq!(record.cost_microusd, Some(1200 + 200 + 800));
    assert_eq!(record.price_version, llm::price::VERSION);
}

#[test]
fn an_unknown_price_is_null_and_not_zero() {
    let gateway = Gateway::default();
    let mut answer = openai_answer();
    answer["model"] = json!("gpt-nobody-knows");
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &answer));
    let answered = gateway.chat(&ask("openai/gpt-nobody-knows"));
    assert_eq!((record(&answered).cost_microusd, record(&answered).input_tokens), (None, Some(1000)));
}

// --- streams that go wrong ---

#[test]
fn c5_a_stream_the_upstream_cut_is_an_error_event_and_never_a_clean_end() {
    for (name, answer) in [
        ("closed early", Answer::stream([CHUNKS[0]])),
        ("broken", Answer::stream([CHUNKS[0]]).breaks(UpstreamError::truncated())),
        ("half an event", Answer::stream([CHUNKS[0], &CHUNKS[1][..20]])),
    ] {
        let gateway = Gateway::default();
        gateway.host.upstream.expect("POST", OPENAI, answer);
        let answered = gateway.chat(&ask_streamed("openai/gpt-4.1"));
        let text = answered.text();
        assert!(text.starts_with(CHUNKS[0]), "{name}: {text}");
        let last = text.trim_end().rsplit("data: ").next().expect("an event");
        let event: Value =
            serde_json::from_str(last).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
        assert_eq!(event["error"]["code"], "upstream_truncated", "{name}");
        assert!(!text.contains("[DONE]"), "{name}");
        let record = record(&answered);
        assert_eq!((record.status, record.outcome), (200, Outcome::Error), "{name}");
        assert_eq!(record.error_type.as_deref(), Some("upstream_truncated"), "{name}");
    }
}

#[test]
fn c5_one_of_two_answers_is_not_the_whole() {
    let piece = |choice: u64, text: &str, finish: Value| {
        let choice = json!({ "index": choice, "delta": { "content": text }, "finish_reason": finish });
        format!("data: {}\n\n", json!({ "id": "1", "object": "chat.completion.chunk", "choices": [choice] }))
    };
    let begun =
        [piece(0, "a", Value::Null), piece(1, "b", Value::Null), piece(0, "", json!("stop"))].concat();
    let whole = begun.clone() + &piece(1, "", json!("stop"));
    for (text, outcome) in [(begun, Outcome::Error), (whole, Outcome::Ok)] {
        let gateway = Gateway::default();
        gateway.host.upstream.expect("POST", OPENAI, Answer::stream([&*text.leak()]));
        let mut body = ask_streamed("openai/gpt-4.1");
        body["n"] = json!(2);
        let answered = gateway.chat(&body);
        assert_eq!(record(&answered).outcome, outcome, "{}", answered.text());
    }
}

#[test]
fn c5_an_error_in_the_first_chunk_falls_back_because_nothing_went_out_yet() {
    let gateway = Gateway::default();
    let targets = json!({ "targets": ["openai/gpt-4.1", "openai/gpt-4.1-mini"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/fast", gateway.tenant_id), &targets);
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n";
    gateway.host.upstream.expect("POST", OPENAI, Answer::stream([error]));
    gateway.host.upstream.expect("POST", OPENAI, Answer::stream(CHUNKS));
    let answered = gateway.chat(&ask_streamed("fast"));
    assert_eq!(answered.status, 200);
    assert!(!answered.text().contains("error"), "{}", answered.text());
    assert_eq!(record(&answered).attempts.len(), 2);
    assert_eq!(answered.headers["x-hypergate-attempts"], "2");
}

#[test]
fn c5_a_slow_goodbye_after_the_end_is_no_error() {
    for leaves in [false, true] {
        let gateway = Gateway::default();
        let silent = UpstreamError::new(llm::ErrorClass::Timeout, "the provider said nothing for 30000 ms");
        let answer = Answer::stream(CHUNKS);
        let answer = if leaves { answer.left_by_caller() } else { answer.breaks(silent) };
        gateway.host.upstream.expect("POST", OPENAI, answer);
        let answered = gateway.chat(&ask_streamed("openai/gpt-4.1"));
        assert!(answered.text().ends_with("data: [DONE]\n\n"));
        assert_eq!((record(&answered).status, record(&answered).outcome), (200, Outcome::Ok));
    }
}

#[test]
fn odd_numbers_in_usage_do_not_make_a_good_answer_bad() {
    for usage in [
        "null",
        "7",
        "{\"prompt_tokens\":null}",
        "{\"prompt_tokens\":-1,\"completion_tokens\":\"many\"}",
        "[]",
    ] {
        let gateway = Gateway::default();
        let body =
            format!("{{\"model\":5,\"choices\":[null,{{\"finish_reason\":\"stop\"}}],\"usage\":{usage}}}");
        gateway.host.upstream.expect("POST", OPENAI, Answer::whole(200, "application/json", body.clone()));
        let answered = gateway.chat(&ask("openai/gpt-4.1"));
        assert_eq!((answered.status.as_u16(), answered.text()), (200, body));
        let record = record(&answered);
        assert_eq!(
            (record.input_tokens, record.cost_microusd, record.finish_reason.as_deref()),
            (None, None, Some("stop"))
        );
    }
}

#[test]
fn c4_a_hang_up_is_recorded_with_what_was_received() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect(
        "POST",
        OPENAI,
        Answer::stream([CHUNKS[0], CHUNKS[2], CHUNKS[0]]).gaps(500).left_by_caller(),
    );
    let answered = gateway.chat(&ask_streamed("openai/gpt-4.1"));
    let record = record(&answered);
    assert_eq!((record.status, record.outcome), (499, Outcome::Aborted));
    assert_eq!((record.output_tokens, record.duration_ms), (Some(2), 1_000));
}

#[test]
fn silence_in_mid_stream_is_a_timeout_for_the_caller() {
    let gateway = Gateway::default();
    let silent = UpstreamError::new(llm::ErrorClass::Timeout, "the provider said nothing for 30000 ms");
    gateway.host.upstream.expect("POST", OPENAI, Answer::stream([CHUNKS[0]]).breaks(silent));
    let answered = gateway.chat(&ask_streamed("openai/gpt-4.1"));
    assert!(answered.text().contains("upstream_timeout"), "{}", answered.text());
    assert_eq!(record(&answered).outcome, Outcome::Error);
}

// --- fallbacks and retries ---

#[test]
fn an_alias_tries_its_targets_in_order_and_lists_every_attempt() {
    let gateway = Gateway::default();
    let targets = json!({ "targets": ["openai/gpt-4.1", "anthropic/claude-haiku-4-5"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/fast", gateway.tenant_id), &targets);
    gateway.host.upstream.expect("POST", OPENAI, overloaded());
    let answer = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5",
        "content": [{ "type": "text", "text": "Hello" }], "stop_reason": "end_turn",
        "usage": { "input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 90 },
    });
    gateway.host.upstream.expect("POST", ANTHROPIC, Answer::json(200, &answer).header("request-id", "req_9"));
    let answered = gateway.chat(&ask("fast"));
    assert_eq!(attempts(&answered), "openai/gpt-4.1 upstream_overloaded, anthropic/claude-haiku-4-5 ok");
    assert_eq!(answered.json()["choices"][0]["message"]["content"], "Hello");
    assert_eq!(answered.headers["x-request-id"], "req_9");
    let record = record(&answered);
    assert_eq!((record.provider_name.as_str(), record.request_model.as_str()), ("anthropic", "fast"));
    assert_eq!((record.input_tokens, record.cache_read_input_tokens), (Some(100), Some(90)));
    assert!(gateway.host.waits().is_empty(), "a fallback does not wait");
}

#[test]
fn a_lone_target_is_tried_again_no_earlier_than_it_asks() {
    let gateway = Gateway::default();
    let busy = Answer::json(503, &json!({ "error": { "message": "Busy." } })).header("retry-after-ms", "900");
    gateway.host.upstream.expect("POST", OPENAI, busy);
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &openai_answer()));
    let answered = gateway.chat(&ask("openai/gpt-4.1"));
    assert_eq!(answered.status, 200);
    assert_eq!(gateway.host.waits(), [900]);
    assert_eq!(attempts(&answered), "openai/gpt-4.1 upstream_overloaded, openai/gpt-4.1 ok");
    assert_eq!(record(&answered).overhead_ms, 0, "waiting for a provider is not the gateway's work");
}

#[test]
fn c9_retry_after_and_rate_limit_headers_come_through_and_are_not_ignored() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("POST", OPENAI, rate_limited());
    let answered = gateway.chat(&ask("openai/gpt-4.1"));
    assert_eq!(code(&answered), "429 rate_limit_exceeded");
    assert_eq!(answered.headers["retry-after"], "7");
    assert_eq!(answered.headers["x-ratelimit-remaining-requests"], "0");
    assert_eq!(gateway.host.upstream.sent().len(), 1, "seven seconds are too long to wait");
    assert_eq!(record(&answered).outcome, Outcome::RateLimited);
}

#[test]
fn a_retry_after_may_be_a_date() {
    let gateway = Gateway::default();
    let busy = || Answer::json(503, &json!({ "error": { "message": "Busy." } }));
    gateway.host.upstream.expect(
        "POST",
        OPENAI,
        busy().header("retry-after", "Thu, 01 Jan 2026 00:00:01 GMT"),
    );
    gateway.host.upstream.expect(
        "POST",
        OPENAI,
        busy().header("retry-after", "Thu, 01 Jan 2026 01:00:00 GMT"),
    );
    assert_eq!(code(&gateway.chat(&ask("openai/gpt-4.1"))), "503 upstream_overloaded");
    assert_eq!(gateway.host.waits(), [1_000]);
}

#[test]
fn a_request_that_is_wrong_is_not_tried_elsewhere() {
    let gateway = Gateway::default();
    let targets = json!({ "targets": ["openai/gpt-4.1", "openai/gpt-4.1-mini"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/fast", gateway.tenant_id), &targets);
    let wrong = json!({ "error": { "message": "temperature is too high", "type": "invalid_request_error",
                                   "param": "temperature", "code": "invalid_value" } });
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(400, &wrong));
    let answered = gateway.chat(&ask("fast"));
    assert_eq!(code(&answered), "400 invalid_value");
    assert_eq!(answered.json()["error"]["param"], "temperature");
    assert_eq!(record(&answered).attempts.len(), 1);
}

#[test]
fn a_target_that_is_not_set_up_is_passed_over() {
    let gateway = Gateway::default();
    let targets = json!({ "targets": ["groq/llama", "openai/gpt-4.1"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/fast", gateway.tenant_id), &targets);
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &openai_answer()));
    let answered = gateway.chat(&ask("fast"));
    assert_eq!(attempts(&answered), "groq/llama provider_not_configured, openai/gpt-4.1 ok");
    let alone = gateway.chat(&ask("groq/llama"));
    assert_eq!(code(&alone), "404 provider_not_configured");
    assert!(alone.text().contains("GROQ_API_KEY"));
}

// --- bad answers ---

#[test]
fn whatever_the_upstream_answers_the_caller_gets_a_clear_error_and_there_is_a_record() {
    let html = || Answer::whole(200, "text/html", "<html>Welcome</html>");
    let cases: [(&str, bool, Answer, &str); 12] = [
        ("html", false, html(), "502 upstream_garbled"),
        ("html for a stream", true, html(), "502 upstream_garbled"),
        ("nothing", false, Answer::whole(200, "application/json", ""), "502 upstream_garbled"),
        ("half", false, Answer::whole(200, "application/json", "{\"choices\":[{"), "502 upstream_garbled"),
        ("a list", false, Answer::whole(200, "application/json", "[]"), "502 upstream_garbled"),
        ("a stream nobody asked for", false, Answer::stream(CHUNKS), "502 upstream_garbled"),
        ("an empty stream", true, Answer::stream([""]), "502 upstream_truncated"),
        ("html error", false, Answer::whole(500, "text/html", "<html>Oops</html>"), "502 upstream_error"),
        ("silence", false, Answer::error(FetchError::Timeout), "504 upstream_timeout"),
        ("too much", false, Answer::error(FetchError::TooLarge), "502 upstream_garbled"),
        ("unreachable", false, Answer::unreachable(), "502 upstream_unreachable"),
        (
            "our key refused",
            false,
            Answer::json(401, &json!({ "error": { "message": "Bad key sk-open***" } })),
            "502 upstream_auth",
        ),
    ];
    for (name, stream, answer, expected) in cases {
        let gateway = Gateway::default();
        gateway.host.upstream.always("POST", OPENAI, answer);
        let answered =
            gateway.chat(&if stream { ask_streamed("openai/gpt-4.1") } else { ask("openai/gpt-4.1") });
        assert_eq!(code(&answered), expected, "{name}");
        assert!(!answered.text().contains("<html>") && !answered.text().contains("sk-open"), "{name}");
        assert!(!answered.text().contains("secret host"), "{name}");
        assert_eq!(record(&answered).outcome, Outcome::Error, "{name}");
        assert_eq!(
            expected.split_once(' ').map(|(_, code)| code),
            record(&answered).error_type.as_deref(),
            "{name}"
        );
    }
}

// --- bad requests ---

#[test]
fn a_request_that_cannot_be_read_is_told_what_is_wrong_and_recorded() {
    let cases: [(&str, &str, Option<&str>); 9] = [
        ("", "400 invalid_request", None),
        ("{\"model\":", "400 invalid_request", None),
        ("[]", "400 invalid_request", None),
        (r#"{"messages":[]}"#, "400 invalid_request", Some("model")),
        (r#"{"model":"openai/gpt-5"}"#, "400 invalid_request", Some("messages")),
        (r#"{"model":"openai/gpt-5","messages":[],"stream":1}"#, "400 invalid_request", Some("stream")),
        (r#"{"model":"nobody/gpt-5","messages":[]}"#, "404 model_not_found", Some("model")),
        (r#"{"model":"gpt-5","messages":[]}"#, "404 model_not_found", Some("model")),
        (
            r#"{"model":"anthropic/claude-haiku-4-5","messages":[{"role":"user","content":"Hi"}],"n":2}"#,
            "400 unsupported_by_provider",
            Some("n"),
        ),
    ];
    let gateway = Gateway::default();
    for (body, expected, param) in cases {
        let answered = gateway.chat_with(&gateway.key, &[], body);
        assert_eq!(code(&answered), expected, "{body}");
        assert_eq!(answered.json()["error"]["param"].as_str(), param, "{body}");
        assert_eq!(record(&answered).outcome, Outcome::ClientError, "{body}");
    }
    assert!(gateway.host.upstream.sent().is_empty());
}

#[test]
fn a_body_that_is_too_large_or_broken_is_refused() {
    let gateway = Gateway::default();
    let bearer = format!("Bearer {}", gateway.key);
    let headers = [("authorization", bearer.as_str())];
    for (error, expected) in [
        (functions::BodyError::TooLarge, "413 body_too_large"),
        (functions::BodyError::Broken, "400 body_broken"),
    ] {
        let answered = gateway.incoming("POST", "/v1/chat/completions", &headers, Err(error));
        assert_eq!(code(&answered), expected);
        assert_eq!(record(&answered).tenant_id, gateway.tenant_id);
    }
}

#[test]
fn arbitrary_bytes_never_panic_and_are_always_recorded() {
    let gateway = Gateway::default();
    let valid = ask_streamed("anthropic/claude-haiku-4-5").to_string();
    let mut seed = 7_u64;
    for round in 0..2_000 {
        let mut bytes = valid.clone().into_bytes();
        for _ in 0..=round % 4 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) as usize % bytes.len();
            bytes[at] = (seed >> 24) as u8;
        }
        // What still is a good request goes to an upstream that is never there.
        gateway.host.upstream.always("POST", ANTHROPIC, Answer::unreachable());
        let answered = gateway.chat_with(&gateway.key, &[], bytes);
        assert!(answered.status.as_u16() >= 400 && answered.record.is_some());
        gateway.host.upstream.forget(ANTHROPIC);
    }
}

// --- who may call ---

#[test]
fn only_a_good_key_opens_the_door() {
    let gateway = Gateway::default();
    let expired = gateway.new_key(&json!({ "name": "old", "expires_at": "2026-01-01T00:00:01Z" }));
    let narrow = gateway.new_key(&json!({ "name": "narrow", "models": ["anthropic/*"] }));
    gateway.host.advance(1_000);
    let unknown = format!("hg_{}", "A".repeat(54));
    for (key, expected) in [
        ("", "401 invalid_api_key"),
        ("sk-something", "401 invalid_api_key"),
        (unknown.as_str(), "401 invalid_api_key"),
        (expired.as_str(), "401 expired_api_key"),
        (narrow.as_str(), "403 model_not_allowed"),
    ] {
        let answered = gateway.chat_with(key, &[], ask("openai/gpt-4.1").to_string());
        assert_eq!(code(&answered), expected);
        assert_eq!(record(&answered).outcome, Outcome::ClientError);
    }
    assert!(gateway.host.upstream.sent().is_empty());
}

#[test]
fn a_made_up_key_costs_no_look_up_and_no_flood_of_records() {
    let gateway = Gateway::default();
    let made_up = |number: usize| format!("hg_{number:054}");
    let before = gateway.host.db.statements();
    let refused: Vec<Answered> = (0..200)
        .map(|number| gateway.chat_with(&made_up(number), &[], ask("openai/gpt-4.1").to_string()))
        .collect();
    assert!(refused.iter().all(|answered| answered.status == 401));
    assert_eq!(refused.iter().filter(|answered| answered.record.is_some()).count(), 60);
    // Two statements write a record that keeps no content; nothing else was asked of the database.
    assert_eq!(gateway.host.db.statements() - before, 60 * 2);
    gateway.host.advance(60_000);
    assert!(gateway.chat_with(&made_up(1), &[], "{}").record.is_some(), "every minute anew");
}

#[test]
fn a_revoked_key_is_refused_at_once_here() {
    let gateway = Gateway::default();
    gateway.host.upstream.always("POST", OPENAI, Answer::json(200, &openai_answer()));
    assert_eq!(gateway.chat(&ask("openai/gpt-4.1")).status, 200);
    let keys = gateway.admin("GET", &format!("tenants/{}/keys", gateway.tenant_id), &Value::Null).json();
    let id = keys["data"][0]["id"].as_str().expect("an id");
    assert_eq!(gateway.admin("DELETE", &format!("keys/{id}"), &Value::Null).status, 200);
    assert_eq!(code(&gateway.chat(&ask("openai/gpt-4.1"))), "401 invalid_api_key");
}

#[test]
fn a_disabled_tenants_keys_open_nothing() {
    let gateway = Gateway::default();
    gateway.host.upstream.always("POST", OPENAI, Answer::json(200, &openai_answer()));
    assert_eq!(gateway.chat(&ask("openai/gpt-4.1")).status, 200);
    gateway.admin("DELETE", &format!("tenants/{}", gateway.tenant_id), &Value::Null);
    assert_eq!(code(&gateway.chat(&ask("openai/gpt-4.1"))), "401 invalid_api_key");
}

#[test]
fn a_key_is_looked_up_in_memory_then_in_the_cache_then_in_the_database() {
    let gateway = Gateway::default();
    gateway.host.upstream.always("POST", OPENAI, Answer::json(200, &openai_answer()));
    let reads = || {
        let before = gateway.host.db.batches();
        assert_eq!(gateway.chat(&ask("openai/gpt-4.1")).status, 200);
        // One batch writes the record.
        gateway.host.db.batches() - before - 1
    };
    assert_eq!(reads(), 1, "first from the database");
    assert_eq!(reads(), 0, "then from memory");
    gateway.host.advance(gateway::auth::MEMORY_MS);
    assert_eq!(reads(), 0, "then from the cache");
    gateway.host.advance(gateway::auth::CACHE_MS);
    assert_eq!(reads(), 1, "at last from the database again");
}

#[test]
fn a_database_that_fails_means_503_and_never_a_free_call() {
    let gateway = Gateway::default();
    gateway.host.db.fail_batch(0, Fault::BeforeBegin);
    let incoming =
        gateway.request("GET", "/v1/models", &[("authorization", &format!("Bearer {}", gateway.key))], "");
    assert_eq!(incoming.status, 503);
    assert_eq!(incoming.json()["error"]["code"], "identity_unavailable");
    assert!(gateway.host.upstream.sent().is_empty());
}

#[test]
fn a_cache_that_fails_is_passed_over() {
    let gateway = Gateway::default();
    gateway.host.kv.fail(true);
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &openai_answer()));
    assert_eq!(gateway.chat(&ask("openai/gpt-4.1")).status, 200);
}

#[test]
fn no_key_is_ever_stored_or_logged() {
    let gateway = Gateway::default();
    gateway.host.upstream.always("POST", OPENAI, Answer::json(200, &openai_answer()));
    gateway.chat(&ask("openai/gpt-4.1"));
    gateway.chat_with("hg_wrong", &[], ask("openai/gpt-4.1").to_string());
    for table in ["api_keys", "calls", "tenants"] {
        let dump = gateway.host.db.dump(table, "1");
        assert!(!dump.contains(&gateway.key[3..]) && !dump.contains("sk-openai"), "{dump}");
    }
    assert!(!gateway.host.logs().join("\n").contains(&gateway.key[3..]));
}

// --- the record ---

#[test]
fn a_call_is_recorded_with_who_what_when_and_how_much() {
    let gateway = Gateway::default();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    gateway.host.upstream.expect("POST", OPENAI, Answer::stream(CHUNKS).after(120).gaps(30));
    let mut body = ask_streamed("openai/gpt-4.1");
    body["user"] = json!("ann@example.com");
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let answered = gateway.chat_with(&gateway.key, &[("traceparent", &parent)], body.to_string());
    let sent = &gateway.host.upstream.sent()[0];
    assert!(sent.header("traceparent").starts_with(&format!("00-{trace}-")));
    assert_ne!(sent.header("traceparent"), parent, "a request of our own has a span of its own");

    let record = record(&answered);
    assert_eq!(answered.headers["x-hypergate-call-id"], record.id.as_str());
    let stored = gateway.admin("GET", &format!("calls/{}", record.id), &Value::Null).json();
    let expected = json!({
        "tenant_id": gateway.tenant_id, "operation": "chat", "route": "/v1/chat/completions",
        "request_model": "openai/gpt-4.1", "response_model": "gpt-4.1-2025-04-14", "provider_name": "openai",
        "target_model": "gpt-4.1", "status": 200, "outcome": "ok", "error_type": null, "duration_ms": 210,
        "upstream_first_byte_ms": 120, "time_to_first_chunk_ms": 120, "overhead_ms": 0, "wait_ms": 120,
        "input_tokens": 3, "cache_read_input_tokens": 0, "output_tokens": 2, "reasoning_output_tokens": 0,
        "usage_estimated": false, "cost_microusd": 22, "finish_reason": "stop", "stream": true,
        "images": null, "searches": null, "service_tier": null, "price_version": llm::price::VERSION,
        "cache_status": "none", "region": "TST", "release": "test", "trace_id": trace, "payload": null,
    });
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&stored[field], value, "{field}");
    }
    assert_eq!(stored["attempts"][0]["duration_ms"], 120);
    let end_user = stored["end_user_hash"].as_str().expect("a hash");
    assert!(end_user.len() == 32 && !end_user.contains("ann"));
}

#[test]
fn a_whole_answer_has_no_wait_for_it_lasts_seconds_by_nature() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &openai_answer()).after(4_000));
    let answered = gateway.chat(&ask("openai/gpt-4.1"));
    assert_eq!((record(&answered).wait_ms, record(&answered).duration_ms), (None, 4_000));
}

#[test]
fn a_record_that_arrives_twice_is_stored_once() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &openai_answer()));
    let answered = gateway.chat(&ask("openai/gpt-4.1"));
    let records = [record(&answered).clone()];
    let before = gateway.host.db.dump("calls", "id");
    block_on(gateway::journal::write(&gateway.host, &records)).expect("a second delivery is harmless");
    assert_eq!(gateway.host.db.dump("calls", "id"), before);
}

#[test]
fn the_journal_carries_records_in_messages_a_queue_takes() {
    let gateway = Gateway::default();
    gateway.host.upstream.always("POST", OPENAI, Answer::json(200, &openai_answer()));
    let one = record(&gateway.chat(&ask("openai/gpt-4.1"))).clone();
    let many: Vec<Record> =
        (0..500).map(|number| Record { id: format!("call_{number:04}"), ..one.clone() }).collect();
    let messages = gateway::journal::messages(&many, 3, "loss_1");
    assert!(messages.len() > 1 && messages.iter().all(|message| message.len() < 128_000));
    for _ in 0..2 {
        block_on(functions::consume(&messages, &gateway.host)).expect("a batch may come twice");
    }
    assert_eq!(
        gateway
            .host
            .db
            .sql("SELECT count(*) AS n FROM calls WHERE id LIKE 'call_0%' AND length(id) = 9", &[])[0]["n"],
        500
    );
    assert_eq!(gateway.host.db.sql("SELECT sum(count) AS n FROM journal_losses", &[])[0]["n"], 3);
    block_on(functions::consume(&["no message".to_owned()], &gateway.host))
        .expect("it is dropped, and counted");
    assert_eq!(gateway.host.db.sql("SELECT sum(count) AS n FROM journal_losses", &[])[0]["n"], 4);
}

#[test]
fn a_message_of_another_release_is_stored_or_counted_as_lost() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &openai_answer()));
    let one = record(&gateway.chat(&ask("openai/gpt-4.1"))).clone();
    let message = |id: &str, change: &dyn Fn(&mut Value)| {
        let record = Record { id: id.to_owned(), ..one.clone() };
        let text = gateway::journal::messages(&[record], 0, "loss_1").remove(0);
        let mut message: Value = serde_json::from_str(&text).unwrap();
        change(&mut message["entries"][0]["call"]);
        message.to_string()
    };
    let messages = [
        message("call_newer", &|call| call["a_later_column"] = json!(1)),
        message("call_older", &|call| call["finish_reason"] = Value::Null),
        message("call_wrong", &|call| drop(call.as_object_mut().unwrap().remove("route"))),
    ];
    block_on(functions::consume(&messages, &gateway.host)).expect("all but one are stored");
    let count = |sql: &str| gateway.host.db.sql(sql, &[])[0]["n"].clone();
    assert_eq!(count("SELECT count(*) AS n FROM calls WHERE id IN ('call_newer', 'call_older')"), 2);
    assert_eq!(count("SELECT sum(count) AS n FROM journal_losses"), 1);
}

#[test]
fn a_record_never_outgrows_a_queue_message() {
    let gateway = Gateway::default();
    let settings = json!({ "payload_mode": "full", "payload_cap_bytes": 32_768 });
    gateway.admin("PATCH", &format!("tenants/{}", gateway.tenant_id), &settings);
    // A control character takes six bytes where it is escaped.
    let mut answer = openai_answer();
    answer["model"] = json!("m".repeat(200_000));
    answer["choices"][0]["finish_reason"] = json!("f".repeat(200_000));
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &answer));
    let mut body = ask(&format!("openai/{}", "g".repeat(200_000)));
    body["messages"][0]["content"] = json!("\u{1}".repeat(30_000));
    let long = "x".repeat(60_000);
    let answered = gateway.chat_with(&gateway.key, &[("x-long", &long)], body.to_string());
    let refused = gateway.chat_with(&gateway.key, &[("x-long", &long)], "\u{1}".repeat(40_000));
    for answered in [answered, refused] {
        let records = [record(&answered).clone()];
        assert!(records[0].payload.as_ref().is_some_and(|payload| payload.truncated));
        let messages = gateway::journal::messages(&records, 0, "loss_1");
        assert!(messages.len() == 1 && messages[0].len() < 120_000, "{} bytes", messages[0].len());
        assert!(messages[0].contains("\"lost\":0"));
    }
}

#[test]
fn a_record_the_database_refuses_does_not_take_others_with_it() {
    let gateway = Gateway::default();
    gateway.host.upstream.always("POST", OPENAI, Answer::json(200, &openai_answer()));
    let one = record(&gateway.chat(&ask("openai/gpt-4.1"))).clone();
    let mut many: Vec<Record> =
        (0..20).map(|number| Record { id: format!("call_{number:04}"), ..one.clone() }).collect();
    many[7].input_tokens = Some(u64::MAX);
    let messages = gateway::journal::messages(&many, 0, "loss_1");
    block_on(functions::consume(&messages, &gateway.host)).expect("all but one are stored");
    let count = |sql: &str| gateway.host.db.sql(sql, &[])[0]["n"].clone();
    assert_eq!(count("SELECT count(*) AS n FROM calls WHERE length(id) = 9"), 19);
    assert_eq!(count("SELECT sum(count) AS n FROM journal_losses"), 1);
    // A database that is away loses nothing: the batch comes again.
    for batches in 0..2 {
        gateway.host.db.die_at_batch(batches, Fault::BeforeBegin);
        assert!(block_on(functions::consume(&messages, &gateway.host)).is_err() || batches > 0);
        gateway.host.db.revive();
    }
    assert_eq!(count("SELECT sum(count) AS n FROM journal_losses"), 1);
}

#[test]
fn implausible_token_counts_are_bounded() {
    let gateway = Gateway::default();
    let answer = openai_answer().to_string().replace("1000,", "18446744073709551615,");
    gateway.host.upstream.expect("POST", OPENAI, Answer::whole(200, "application/json", answer));
    let answered = gateway.chat(&ask("openai/gpt-4.1"));
    assert_eq!(record(&answered).input_tokens, Some(1 << 32));
}

#[test]
fn content_is_kept_only_as_the_tenant_says() {
    let secret = "4111 1111 1111 1111";
    for (mode, request_kept) in [("none", None), ("redacted", Some(false)), ("full", Some(true))] {
        let gateway = Gateway::default();
        gateway.admin("PATCH", &format!("tenants/{}", gateway.tenant_id), &json!({ "payload_mode": mode }));
        gateway.host.upstream.expect("POST", OPENAI, Answer::stream(CHUNKS));
        let mut body = ask_streamed("openai/gpt-4.1");
        body["messages"][0]["content"] = json!(secret);
        let answered = gateway.chat(&body);
        let payload =
            gateway.admin("GET", &format!("calls/{}", record(&answered).id), &Value::Null).json()["payload"]
                .clone();
        assert_eq!(
            payload["request"].as_str().map(|text| text.contains(secret)),
            request_kept,
            "{mode}: {payload}"
        );
        assert_eq!(payload["response"].as_str().map(|text| text.contains("Hel")), request_kept, "{mode}");
        assert!(!payload.to_string().contains(&gateway.key), "{mode}");
    }
}

// --- the demo models ---

#[test]
fn the_demo_answers_without_any_provider() {
    let gateway = Gateway::default();
    let whole = gateway.chat(&ask("demo/echo"));
    assert_eq!(whole.json()["choices"][0]["message"]["content"], "Hi");
    assert!(record(&whole).usage_estimated);
    let streamed = gateway.chat(&json!({ "model": "demo/echo", "stream": true, "messages": [{ "role": "user", "content": "one two three" }] }));
    assert!(streamed.chunks.len() >= 4 && streamed.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(code(&gateway.chat(&ask("demo/fail"))), "502 upstream_error");
    assert_eq!(code(&gateway.chat(&ask("demo/other"))), "404 model_not_found");
}

#[test]
fn the_demo_does_what_it_can_names_what_it_drops_and_refuses_the_rest() {
    let gateway = Gateway::default();
    let with = |more: Value| {
        let mut body =
            json!({ "model": "demo/echo", "messages": [{ "role": "user", "content": "one two three" }] });
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        gateway.chat_with(&gateway.key, &[("openai-beta", "assistants=v2")], body.to_string())
    };
    for (more, said, reason, dropped) in [
        (json!({ "max_tokens": 2 }), "one two ", "length", "openai-beta:assistants=v2"),
        (json!({ "max_completion_tokens": 3 }), "one two three", "stop", "openai-beta:assistants=v2"),
        (json!({ "stop": ["three", "two"] }), "one ", "stop", "openai-beta:assistants=v2"),
        (
            json!({ "top_k": 4, "temperature": 0.5, "user": "ann", "store": true, "n": 1 }),
            "one two three",
            "stop",
            "store,temperature,top_k,user,openai-beta:assistants=v2",
        ),
    ] {
        let answered = with(more.clone());
        let choice = &answered.json()["choices"][0];
        assert_eq!(
            (&choice["message"]["content"], &choice["finish_reason"]),
            (&json!(said), &json!(reason)),
            "{more}"
        );
        assert_eq!(answered.headers["x-hypergate-dropped"], dropped, "{more}");
    }
    let schema =
        json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": { "type": "object" } } });
    let tool = json!({ "type": "function", "function": { "name": "weather" } });
    for (more, param) in [
        (json!({ "n": 2 }), "n"),
        (json!({ "response_format": schema }), "response_format"),
        (json!({ "response_format": { "type": "json_object" } }), "response_format"),
        (json!({ "tools": [tool] }), "tools"),
        (json!({ "logprobs": true }), "logprobs"),
    ] {
        let answered = with(more);
        assert_eq!(code(&answered), "400 unsupported_by_provider");
        assert_eq!(answered.json()["error"]["param"], param);
    }
}

#[test]
fn a_failure_says_which_provider_was_asked_and_how_often() {
    let gateway = Gateway::default();
    gateway.admin(
        "PUT",
        &format!("tenants/{}/aliases/both", gateway.tenant_id),
        &json!({ "targets": ["openai/gpt-4.1", "groq/llama"] }),
    );
    gateway.host.upstream.always("POST", OPENAI, Answer::json(401, &json!({ "error": { "message": "no" } })));
    for (model, expected) in [
        ("demo/fail", Some("demo 2")),
        ("openai/gpt-4.1", Some("openai 1")),
        // The second is not set up.
        ("both", Some("openai 2")),
        ("groq/llama", None),
        ("openai/text-embedding-3-small", None),
        ("nobody/nothing", None),
    ] {
        let answered = gateway.chat(&ask(model));
        assert!(answered.status.as_u16() >= 400, "{model}");
        let header = |name: &str| answered.headers.get(name).and_then(|value| value.to_str().ok());
        let told = header("x-hypergate-provider").zip(header("x-hypergate-attempts"));
        assert_eq!(
            told.map(|(provider, tries)| format!("{provider} {tries}")).as_deref(),
            expected,
            "{model}"
        );
    }
}

#[test]
fn a_call_without_a_valid_key_is_on_record_with_what_it_asked_for() {
    let gateway = Gateway::default();
    let asked = gateway.chat_with("hg_nobody", &[], ask("openai/gpt-4.1").to_string());
    let long =
        gateway.chat_with("hg_nobody", &[], format!("{}{}", " ".repeat(70_000), ask("openai/gpt-4.1")));
    let broken = gateway.chat_with("hg_nobody", &[], "{");
    for (answered, model) in [(asked, json!("openai/gpt-4.1")), (long, Value::Null), (broken, Value::Null)] {
        assert_eq!(code(&answered), "401 invalid_api_key");
        let shown = gateway.admin("GET", &format!("calls/{}", record(&answered).id), &Value::Null).json();
        assert_eq!(shown["request_model"], model);
        for field in ["tenant_id", "key_id", "provider_name", "target_model"] {
            assert_eq!(shown[field], Value::Null, "{field}");
        }
    }
}
