//! GET /v1/realtime: who may talk to what, and what is on record. The sockets themselves are the hosts'.

use gateway::{
    ports::FetchError,
    record::{Outcome, Record},
};
use serde_json::{Value, json};
use tests::{Answer, Answered, Gateway};

const URL: &str = "https://api.openai.com/v1/realtime?model=gpt-realtime";

fn connect(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answered {
    let headers: Vec<_> = [("upgrade", "websocket")].into_iter().chain(headers.iter().copied()).collect();
    gateway.request("GET", path, &headers, "")
}

fn with_key(gateway: &Gateway, path: &str) -> Answered {
    connect(gateway, path, &[("authorization", &format!("Bearer {}", gateway.key))])
}

/// A socket on which the provider says this, and closes it.
fn socket(messages: &[Value]) -> Answer {
    let opening = std::iter::once(String::new());
    Answer::stream(opening.chain(messages.iter().map(Value::to_string))).status(101)
}

fn said() -> Vec<Value> {
    let usage = json!({ "total_tokens": 30, "input_tokens": 20, "output_tokens": 10 });
    vec![
        json!({ "type": "session.created", "session": { "model": "gpt-realtime-2025-08-28" } }),
        json!({ "type": "response.done", "response": { "usage": usage } }),
        json!({ "type": "response.done", "response": { "usage": usage } }),
    ]
}

fn record(answered: Answered) -> Record {
    answered.record.expect("a session is recorded")
}

#[test]
fn a_session_is_recorded_when_it_ends_with_what_it_used() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("GET", URL, socket(&said()).gaps(2_000));
    let answered = with_key(&gateway, "/v1/realtime?model=openai%2Fgpt-realtime");
    assert_eq!(answered.status, 101, "{}", answered.text());
    assert_eq!(answered.chunks.len(), 3, "messages pass as they are");
    let sent = gateway.host.upstream.sent_to(URL).pop().expect("a connection");
    assert_eq!((sent.header("authorization"), sent.header("upgrade")), ("Bearer sk-openai", "websocket"));
    let record = record(answered);
    assert_eq!((record.operation.as_str(), record.route.as_str()), ("realtime", "/v1/realtime"));
    assert_eq!((record.status, record.outcome, record.stream), (101, Outcome::Ok, true));
    assert_eq!((record.input_tokens, record.output_tokens), (Some(40), Some(20)));
    assert_eq!(record.request_model, "openai/gpt-realtime");
    assert_eq!(record.response_model.as_deref(), Some("gpt-realtime-2025-08-28"));
    assert_eq!(record.duration_ms, 6_000);
}

#[test]
fn a_browsers_key_comes_as_a_subprotocol() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("GET", URL, socket(&said()));
    let offered = format!("realtime, openai-insecure-api-key.{}", gateway.key);
    let answered =
        connect(&gateway, "/v1/realtime?model=openai/gpt-realtime", &[("sec-websocket-protocol", &offered)]);
    assert_eq!(answered.status, 101, "{}", answered.text());
    assert_eq!(answered.headers["sec-websocket-protocol"], "realtime");
    let sent = gateway.host.upstream.sent_to(URL).pop().expect("a connection");
    assert!(!format!("{:?}", sent.headers).contains("hg_"), "the caller's key stays here");
}

#[test]
fn a_refusal_is_an_answer_and_another_target_may_take_the_call() {
    let gateway = Gateway::with(&[("XAI_API_KEY", "sk-xai")]);
    let limited = gateway.new_key(&json!({ "name": "limited", "models": ["openai/gpt-realtime-mini"] }));
    for (key, path, status, code) in [
        ("hg_nobody", "/v1/realtime?model=openai/gpt-realtime", 401, "invalid_api_key"),
        (&limited, "/v1/realtime?model=openai/gpt-realtime", 403, "model_not_allowed"),
        (&gateway.key, "/v1/realtime?model=groq/llama", 400, "unsupported_by_provider"),
        (&gateway.key, "/v1/realtime", 400, "invalid_request"),
        (&gateway.key, "/v1/realtime?model=openai/gpt-realtime&call_id=rtc_theirs", 400, "invalid_request"),
    ] {
        let answered = connect(&gateway, path, &[("authorization", &format!("Bearer {key}"))]);
        assert_eq!(answered.status, status, "{}", answered.text());
        assert_eq!(answered.json()["error"]["code"], code);
    }
    let alias = json!({ "targets": ["openai/gpt-realtime", "xai/grok-voice"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/voice", gateway.tenant_id), &alias);
    for failure in
        [Answer::json(503, &json!({})), Answer::error(FetchError::Timeout), Answer::json(200, &json!({}))]
    {
        gateway.host.upstream.expect("GET", URL, failure);
        let xai = "https://api.x.ai/v1/realtime?model=grok-voice";
        gateway.host.upstream.expect("GET", xai, socket(&said()));
        let answered = with_key(&gateway, "/v1/realtime?model=voice");
        assert_eq!(answered.status, 101, "{}", answered.text());
        assert_eq!(record(answered).attempts.len(), 2);
    }
    assert_eq!(gateway.request("POST", "/v1/realtime", &[], "").status, 405);
}
