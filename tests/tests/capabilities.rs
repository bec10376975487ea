//! What a model is known not to do is refused before any provider is asked, in the caller's protocol.

use serde_json::{Value, json};
use tests::{Answer, Gateway, OPENAI};

const GPT: &str = "openai/gpt-4o";
/// No tools, no schemas.
const DEEP: &str = "openai/o3-deep-research";
/// No pictures.
const BLIND: &str = "openai/o3-mini";

fn ask(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }] })
}

fn with_tools(model: &str) -> Value {
    let mut body = ask(model);
    body["tools"] = json!([{ "type": "function", "function": { "name": "weather" } }]);
    body
}

fn with_picture(model: &str) -> Value {
    let picture = json!({ "type": "image_url", "image_url": { "url": "https://example.com/a.png" } });
    json!({ "model": model, "messages": [{ "role": "user", "content": [picture] }] })
}

fn answer() -> Value {
    json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hi" }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 },
    })
}

#[test]
fn nobody_is_asked_for_what_a_model_cannot_do() {
    let claude = |model: &str| {
        let tool = json!({ "name": "weather", "input_schema": { "type": "object" } });
        let said = json!([{ "role": "user", "content": "Hi" }]);
        json!({ "model": model, "max_tokens": 9, "messages": said, "tools": [tool] })
    };
    for (path, body, message, says) in [
        ("/v1/chat/completions", with_tools(DEEP), "/error/message", "cannot call tools (`tools`)"),
        (
            "/v1/chat/completions",
            with_picture(BLIND),
            "/error/message",
            "cannot see pictures (`messages[0]`)",
        ),
        ("/v1/messages", claude(DEEP), "/error/message", "cannot call tools (`tools`)"),
        (
            "/v1/chat/completions",
            ask("openai/text-embedding-3-small"),
            "/error/message",
            "an embedding model",
        ),
        (
            "/v1/embeddings",
            json!({ "model": GPT, "input": "Hi" }),
            "/error/message",
            "is a chat model, and this route needs an embedding model",
        ),
    ] {
        let gateway = Gateway::default();
        let bearer = format!("Bearer {}", gateway.key);
        let answered = gateway.request("POST", path, &[("authorization", &bearer)], body.to_string());
        let refusal = answered.json();
        assert_eq!(answered.status, 400, "{path}: {refusal}");
        let sentence = refusal.pointer(message).and_then(Value::as_str).unwrap_or_default();
        let model = body["model"].as_str().unwrap_or_default();
        assert!(sentence.contains(says) && sentence.contains(model), "{path}: {sentence}");
        assert!(gateway.host.upstream.sent().is_empty(), "{path}: somebody was asked");
        let record = answered.record.expect("a record");
        assert_eq!(record.attempts.len(), 1, "{path}");
        assert_eq!(record.error_type.as_deref(), Some("unsupported_by_provider"), "{path}");
    }
}

#[test]
fn a_target_that_cannot_is_passed_over_and_on_record() {
    let gateway = Gateway::default();
    let path = format!("tenants/{}/aliases/able", gateway.tenant_id);
    gateway.admin("PUT", &path, &json!({ "targets": [DEEP, GPT] }));
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &answer()));
    let answered = gateway.chat(&with_tools("able"));
    assert_eq!(answered.status, 200);
    assert_eq!(gateway.host.upstream.sent().len(), 1);
    let attempts = answered.record.expect("a record").attempts;
    let tried: Vec<_> =
        attempts.iter().map(|attempt| (attempt.model.as_str(), attempt.error_type.as_deref())).collect();
    assert_eq!(tried, [("o3-deep-research", Some("unsupported_by_provider")), ("gpt-4o", None)]);
}

#[test]
fn what_is_not_known_goes_to_the_provider() {
    for (model, body) in [
        ("of-tomorrow", with_tools("openai/of-tomorrow")),
        ("gpt-3.5-turbo", with_picture("openai/gpt-3.5-turbo")),
    ] {
        let gateway = Gateway::default();
        gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &answer()));
        assert_eq!(gateway.chat(&body).status, 200, "{model}");
        assert_eq!(gateway.host.upstream.sent()[0].json()["model"], model);
    }
}

#[test]
fn a_model_that_openai_serves_by_responses_alone_is_asked_there_for_every_caller() {
    let gateway = Gateway::default();
    let output = json!([{ "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
        "content": [{ "type": "output_text", "text": "Hi", "annotations": [] }] }]);
    let answer = json!({ "id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": output,
        "usage": { "input_tokens": 3, "output_tokens": 1 } });
    gateway.host.upstream.expect("POST", "https://api.openai.com/v1/responses", Answer::json(200, &answer));
    let answered = gateway.chat(&ask(DEEP));
    assert_eq!(answered.status, 200);
    assert_eq!(answered.json()["choices"][0]["message"]["content"], "Hi");
    let sent = gateway.host.upstream.sent()[0].json();
    assert_eq!((&sent["model"], &sent["store"]), (&json!("o3-deep-research"), &json!(false)));
}

#[test]
fn more_output_than_a_model_gives_is_cut_where_the_request_is_translated_and_said() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &answer()));
    let bearer = format!("Bearer {}", gateway.key);
    let said = json!([{ "role": "user", "content": "Hi" }]);
    let body = json!({ "model": GPT, "max_tokens": 64_000, "messages": said });
    let answered = gateway.request("POST", "/v1/messages", &[("authorization", &bearer)], body.to_string());
    assert_eq!(answered.headers["x-hypergate-dropped"], "max_tokens: beyond 16384");
    assert_eq!(gateway.host.upstream.sent()[0].json()["max_completion_tokens"], 16_384);
}

#[test]
fn who_calls_a_model_that_is_about_to_end_is_told_and_answered() {
    let gateway = Gateway::default();
    // 2026-11-24; the model's day is 2026-10-23.
    for (now_ms, told) in [(1_767_225_600_000, None), (1_795_478_400_000, Some("2026-10-23"))] {
        gateway.host.set_now(now_ms);
        gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &answer()));
        let answered = gateway.chat(&ask(BLIND));
        assert_eq!(answered.status, 200);
        let header = answered.headers.get("x-hypergate-model-retires").map(|day| day.to_str().unwrap_or("?"));
        assert_eq!(header, told);
    }
}

#[test]
fn what_no_credential_would_help_is_said_before_that_there_is_none() {
    let gateway = Gateway::default();
    for (path, body, says) in [
        ("/v1/chat/completions", ask("cohere/embed-v4.0"), "is an embedding model"),
        ("/v1/embeddings", json!({ "model": "demo/echo", "input": "Hi" }), "does not serve `embeddings`"),
        ("/v1/chat/completions", ask("cohere/command-a-03-2025"), "COHERE_API_KEY"),
    ] {
        let bearer = format!("Bearer {}", gateway.key);
        let answered = gateway.request("POST", path, &[("authorization", &bearer)], body.to_string());
        assert!(answered.text().contains(says), "{path} {body}: {}", answered.text());
    }
}
