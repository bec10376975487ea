//! Counting tokens without an answer: what goes to the provider, what comes back, what is on record.

use gateway::record::Outcome;
use serde_json::{Value, json};
use tests::{Answer, Answered, Gateway};

const CLAUDE: &str = "https://api.anthropic.com/v1/messages/count_tokens";
const GEMINI: &str = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:countTokens";
const NOVA: &str =
    "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-pro-v1%3A0/count-tokens";
const GPT: &str = "https://api.openai.com/v1/responses/input_tokens";

/// A provider: its model, where it counts, and how it answers 14.
const PROVIDERS: [(&str, &str, &str); 4] = [
    ("anthropic/claude-haiku-4-5", CLAUDE, r#"{"input_tokens":14}"#),
    ("gemini/gemini-2.5-flash", GEMINI, r#"{"totalTokens":14,"promptTokensDetails":[]}"#),
    ("bedrock/amazon.nova-pro-v1:0", NOVA, r#"{"inputTokens":14}"#),
    ("openai/gpt-4o", GPT, r#"{"object":"response.input_tokens","input_tokens":14}"#),
];

/// A caller's way to ask, its body for a model, and the field of the answer.
type Door = (fn(&str) -> String, fn(&str) -> Value, &'static str);

const DOORS: [Door; 5] = [
    (|_| "/v1/messages/count_tokens".to_owned(), claude, "input_tokens"),
    (|model| format!("/v1beta/models/{model}:countTokens"), |_| gemini(), "totalTokens"),
    (
        |model| format!("/v1/models/{}:countTokens", model.replace('/', "%2F")),
        |_| {
            let mut inner = gemini();
            inner["model"] = "models/whatever".into();
            json!({ "generateContentRequest": inner })
        },
        "totalTokens",
    ),
    (|model| format!("/model/{}/count-tokens", model.replace('/', "%2F")), |_| converse(), "inputTokens"),
    (|_| "/v1/responses/input_tokens".to_owned(), responses, "input_tokens"),
];

fn claude(model: &str) -> Value {
    let tool = json!({ "name": "weather", "input_schema": { "type": "object" } });
    json!({
        "model": model, "system": "Be brief.", "messages": [{ "role": "user", "content": "Hi" }], "tools": [tool],
    })
}

fn gemini() -> Value {
    json!({ "contents": [{ "role": "user", "parts": [{ "text": "Hi" }] }] })
}

fn converse() -> Value {
    json!({ "input": { "converse": { "messages": [{ "role": "user", "content": [{ "text": "Hi" }] }] } } })
}

fn responses(model: &str) -> Value {
    json!({ "model": model, "input": "Hi" })
}

fn gateway() -> Gateway {
    Gateway::with(&[
        ("GEMINI_API_KEY", "gemini-key"),
        ("BEDROCK_API_KEY", "bedrock-key"),
        ("GROQ_API_KEY", "gsk"),
    ])
}

fn post(gateway: &Gateway, path: &str, body: &Value) -> Answered {
    gateway.request("POST", path, &[("authorization", &format!("Bearer {}", gateway.key))], body.to_string())
}

#[test]
fn every_caller_has_every_providers_own_count() {
    for (path, body, field) in DOORS {
        for (model, url, counted) in PROVIDERS {
            let gateway = gateway();
            let counted: Value = serde_json::from_str(counted).unwrap();
            gateway.host.upstream.expect("POST", url, Answer::json(200, &counted));
            let answered = post(&gateway, &path(model), &body(model));
            let case = format!("{} of {model}", path(model));
            assert_eq!((answered.status.as_u16(), &answered.json()[field]), (200, &json!(14)), "{case}");
            let record = answered.record.unwrap();
            assert_eq!((record.operation.as_str(), record.outcome), ("count_tokens", Outcome::Ok), "{case}");
            assert_eq!((record.cost_microusd, record.input_tokens), (None, None), "{case}");
            // No way of counting takes a bound of the answer.
            let sent = gateway.host.upstream.sent()[0].json().to_string();
            for word in
                ["max_tokens", "maxTokens", "max_output_tokens", "inferenceConfig", "whatever", "\"store\""]
            {
                assert!(!sent.contains(word), "{case}: {sent}");
            }
        }
    }
}

#[test]
fn a_request_is_asked_in_the_providers_words() {
    let said = "Hi";
    for (model, url, expected) in [
        (
            "anthropic/claude-haiku-4-5",
            CLAUDE,
            json!({ "model": "claude-haiku-4-5", "system": "Be brief.",
                "messages": [{ "role": "user", "content": said }],
                "tools": [{ "name": "weather", "input_schema": { "type": "object" } }] }),
        ),
        (
            "gemini/gemini-2.5-flash",
            GEMINI,
            json!({ "generateContentRequest": { "model": "models/gemini-2.5-flash",
                "contents": [{ "role": "user", "parts": [{ "text": said }] }],
                "systemInstruction": { "parts": [{ "text": "Be brief." }] },
                "tools": [{ "functionDeclarations": [
                    { "name": "weather", "parametersJsonSchema": { "type": "object" } }] }] } }),
        ),
    ] {
        let gateway = gateway();
        gateway.host.upstream.expect("POST", url, Answer::json(400, &json!({})));
        post(&gateway, "/v1/messages/count_tokens", &claude(model));
        let mut sent = gateway.host.upstream.sent()[0].json();
        if let Some(request) = sent.get_mut("generateContentRequest").and_then(Value::as_object_mut) {
            request.retain(|field, _| field != "generationConfig" && field != "toolConfig");
        }
        assert_eq!(sent, expected, "{model}");
    }
}

#[test]
fn who_cannot_count_is_not_guessed_for() {
    let gateway = gateway();
    for (path, body, _) in DOORS {
        for model in ["groq/llama-3.3-70b-versatile", "demo/echo"] {
            let answered = post(&gateway, &path(model), &body(model));
            let text = answered.json().to_string();
            assert_eq!(answered.status, 400, "{text}");
            for words in ["count_tokens", "anthropic", "bedrock", "gemini", "openai"] {
                assert!(text.contains(words), "{text}");
            }
        }
    }
    assert!(gateway.host.upstream.sent().is_empty());
}

#[test]
fn an_alias_goes_on_to_a_target_that_counts() {
    let gateway = gateway();
    let path = format!("tenants/{}/aliases/fast", gateway.tenant_id);
    let targets = ["groq/llama-3.3-70b-versatile", "openai/gpt-4o", "anthropic/claude-haiku-4-5"];
    gateway.admin("PUT", &path, &json!({ "targets": targets }));
    gateway.host.upstream.expect("POST", GPT, Answer::json(503, &json!({})));
    gateway.host.upstream.expect("POST", CLAUDE, Answer::json(200, &json!({ "input_tokens": 14 })));
    let answered = post(&gateway, "/v1/messages/count_tokens", &claude("fast"));
    assert_eq!((answered.status.as_u16(), answered.json()), (200, json!({ "input_tokens": 14 })));
    assert_eq!(answered.record.unwrap().attempts.len(), 2);
}

#[test]
fn a_refusal_or_a_failure_is_in_the_callers_shape() {
    let narrow = gateway();
    let key = narrow.new_key(&json!({ "name": "narrow", "models": ["groq/*"] }));
    let bearer = format!("Bearer {key}");
    let body = claude("anthropic/claude-haiku-4-5").to_string();
    let refused = narrow.request("POST", "/v1/messages/count_tokens", &[("authorization", &bearer)], body);
    assert_eq!((refused.status.as_u16(), &refused.json()["type"]), (403, &json!("error")));

    let failing = gateway();
    let error = json!({ "type": "error", "error": { "type": "invalid_request_error", "message": "No." } });
    failing.host.upstream.expect("POST", CLAUDE, Answer::json(400, &error));
    let answered = post(&failing, "/v1beta/models/anthropic/claude-haiku-4-5:countTokens", &gemini());
    assert_eq!(
        (answered.status.as_u16(), &answered.json()["error"]["status"]),
        (400, &json!("INVALID_ARGUMENT"))
    );

    let garbled = gateway();
    garbled.host.upstream.always("POST", CLAUDE, Answer::json(200, &json!({ "tokens": 14 })));
    assert_eq!(
        post(&garbled, "/v1/messages/count_tokens", &claude("anthropic/claude-haiku-4-5")).status,
        502
    );
    let kept = json!({ "model": "openai/gpt-4o", "input": "Hi", "previous_response_id": "resp_1" });
    assert_eq!(post(&garbled, "/v1/responses/input_tokens", &kept).status, 400);
    for path in ["/v1beta/models/:countTokens", "/model//count-tokens"] {
        assert_eq!(post(&garbled, path, &gemini()).status, 400, "{path}");
    }
}

/// Google takes a field's name in camel case and in snake case, and letters as escapes.
#[test]
fn a_request_within_a_request_is_seen_in_every_spelling() {
    let gateway = gateway();
    let narrow = gateway.new_key(&json!({ "name": "narrow", "models": ["gemini/gemini-2.5-flash"] }));
    let ask = |body: &str| {
        let path = "/v1beta/models/gemini/gemini-2.5-flash:countTokens";
        gateway.request("POST", path, &[("x-goog-api-key", &narrow)], body.to_owned())
    };
    let contents = r#""contents":[{"parts":[{"text":"Hi"}]}]"#;
    let expected =
        json!({ "model": "models/gemini-2.5-flash", "contents": [{ "parts": [{ "text": "Hi" }] }] });
    for name in ["generateContentRequest", "generate_content_request", r"generateContent\u0052equest"] {
        for model in ["model", "Model", r"m\u006fdel"] {
            gateway.host.upstream.expect("POST", GEMINI, Answer::json(200, &json!({ "totalTokens": 14 })));
            let body = format!(r#"{{"{name}":{{"{model}":"models/gemini-3-pro",{contents}}}}}"#);
            let answered = ask(&body);
            assert_eq!(answered.status, 200, "{body}: {}", answered.text());
            let sent = gateway.host.upstream.sent().pop().unwrap().json();
            assert_eq!(sent, json!({ "generateContentRequest": expected }), "{body}");
        }
        let other =
            r#"{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/theirs"}}"#;
        let body = format!(r#"{{"{name}":{{"contents":[{{"parts":[{other}]}}]}}}}"#);
        assert!(ask(&body).text().contains("cannot be referred to"), "{body}");
        let body = format!(r#"{{"{name}":{{"cached_content":"cachedContents/theirs",{contents}}}}}"#);
        assert!(ask(&body).text().contains("cannot be referred to"), "{body}");
    }
    let before = gateway.host.upstream.sent().len();
    let inner = format!("{{{contents}}}");
    for body in [
        format!(r#"{{"generateContentRequest":{inner},"generate_content_request":{inner}}}"#),
        format!(r#"{{"generateContentRequest":{inner},"generateContent\u0052equest":{inner}}}"#),
        format!(r#"{{"generateContentRequest":{inner},"GenerateContentRequest":{inner}}}"#),
        format!(r#"{{"generate_content_request":"x",{contents}}}"#),
        format!(r#"{{"model":"models/gemini-3-pro",{contents}}}"#),
    ] {
        assert_eq!(ask(&body).status, 400, "{body}");
    }
    assert_eq!(gateway.host.upstream.sent().len(), before, "the provider was not asked");
}
