//! Why answers end: in OpenAI's words and in the provider's own, on record and in the admin API.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use tests::{Answer, Answered, Gateway};

/// A provider's model, its address, and a whole answer of it.
type Case = (&'static str, &'static str, Value, &'static str, &'static str);

fn cases() -> [Case; 6] {
    let completion = |reason: Value| {
        let mut choice = json!({ "index": 0, "message": { "role": "assistant", "content": "Hello" } });
        choice.as_object_mut().unwrap().extend(reason.as_object().unwrap().clone());
        json!({ "id": "1", "object": "chat.completion", "model": "m", "choices": [choice] })
    };
    [
        ("openai/gpt-5", tests::OPENAI, completion(json!({ "finish_reason": "length" })), "length", "length"),
        (
            "openrouter/m",
            "https://openrouter.ai/api/v1/chat/completions",
            completion(json!({ "finish_reason": "stop", "native_finish_reason": "end_turn" })),
            "stop",
            "end_turn",
        ),
        (
            "together/m",
            "https://api.together.ai/v1/chat/completions",
            completion(json!({ "finish_reason": "eos" })),
            "stop",
            "eos",
        ),
        (
            "anthropic/claude-haiku-4-5",
            tests::ANTHROPIC,
            json!({ "id": "1", "type": "message", "role": "assistant", "model": "c",
                "content": [{ "type": "text", "text": "Hello" }], "stop_reason": "stop_sequence", "stop_sequence": ".",
                "usage": { "input_tokens": 1, "output_tokens": 1 } }),
            "stop",
            "stop_sequence",
        ),
        (
            "gemini/gemini-2.5-flash",
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent",
            json!({ "candidates": [{ "content": { "role": "model", "parts": [{ "text": "Hello" }] },
                "finishReason": "MAX_TOKENS" }] }),
            "length",
            "MAX_TOKENS",
        ),
        (
            "bedrock/m",
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse",
            json!({ "output": { "message": { "role": "assistant", "content": [{ "text": "Hello" }] } },
                "stopReason": "guardrail_intervened", "usage": { "inputTokens": 1, "outputTokens": 1 } }),
            "content_filter",
            "guardrail_intervened",
        ),
    ]
}

fn ask(gateway: &Gateway, path: &str, body: &Value) -> Answered {
    gateway.request("POST", path, &[("authorization", &format!("Bearer {}", gateway.key))], body.to_string())
}

#[test]
fn the_record_keeps_the_providers_own_word_beside_openais() {
    let keys = ["OPENROUTER_API_KEY", "TOGETHER_API_KEY", "GEMINI_API_KEY", "BEDROCK_API_KEY"];
    let gateway = Gateway::with(&keys.map(|name| (name, "key")));
    let turn = json!([{ "role": "user", "content": "Hi" }]);
    for (model, url, answer, reason, native) in cases() {
        let converse = json!({ "messages": [{ "role": "user", "content": [{ "text": "Hi" }] }] });
        let gemini = json!({ "contents": [{ "parts": [{ "text": "Hi" }] }] });
        for (path, body) in [
            ("/v1/chat/completions".to_owned(), json!({ "model": model, "messages": turn })),
            ("/v1/messages".to_owned(), json!({ "model": model, "max_tokens": 9, "messages": turn })),
            (format!("/v1beta/models/{model}:generateContent"), gemini),
            (format!("/model/{}/converse", model.replace('/', "%2F")), converse),
        ] {
            gateway.host.upstream.expect("POST", url, Answer::json(200, &answer));
            let answered = ask(&gateway, &path, &body);
            assert_eq!(answered.status, 200, "{model} at {path}: {}", answered.text());
            let record = answered.record.unwrap();
            let words = (record.finish_reason.as_deref(), record.native_finish_reason.as_deref());
            assert_eq!(words, (Some(reason), Some(native)), "{model} at {path}");
            let shown = gateway.admin("GET", &format!("calls/{}", record.id), &Value::Null).json();
            assert_eq!(
                (&shown["finish_reason"], &shown["native_finish_reason"]),
                (&json!(reason), &json!(native)),
                "{shown}"
            );
        }
    }
}

#[test]
fn a_stream_tells_it_too_and_what_has_no_end_is_null() {
    let gateway = Gateway::with(&[("OPENROUTER_API_KEY", "key")]);
    let url = "https://openrouter.ai/api/v1/chat/completions";
    let chunk =
        |choice: Value| format!("data: {}\n\n", json!({ "id": "1", "model": "m", "choices": [choice] }));
    let text = chunk(json!({ "index": 0, "delta": { "content": "Hello" }, "finish_reason": null }));
    let end = chunk(
        json!({ "index": 0, "delta": {}, "finish_reason": "stop", "native_finish_reason": "end_turn" }),
    );
    let body =
        json!({ "model": "openrouter/m", "stream": true, "messages": [{ "role": "user", "content": "Hi" }] });
    for path in ["/v1/chat/completions", "/v1/responses"] {
        let body = match path {
            "/v1/responses" => json!({ "model": "openrouter/m", "stream": true, "input": "Hi" }),
            _ => body.clone(),
        };
        for (chunks, reason, native) in [
            (vec![text.clone(), end.clone(), "data: [DONE]\n\n".to_owned()], Some("stop"), Some("end_turn")),
            (vec![text.clone()], None, None),
        ] {
            gateway.host.upstream.expect("POST", url, Answer::stream(chunks));
            let record = ask(&gateway, path, &body).record.unwrap();
            let words = (record.finish_reason.as_deref(), record.native_finish_reason.as_deref());
            assert_eq!(words, (reason, native), "{path}");
        }
    }
}
