//! The routes of every caller's protocol: where the key is, what a refusal looks like, what is on record.

use gateway::record::Outcome;
use serde_json::{Value, json};
use tests::{Answer, Answered, Gateway, OPENAI};

/// A way in: where, with what body for a model, and where the protocol's clients put the key.
struct Door {
    path: fn(&str) -> String,
    route: &'static str,
    body: fn(&str) -> Value,
    key: (&'static str, &'static str),
    /// Where an answer has its text, and a refusal its sentence.
    text: &'static str,
    message: &'static str,
}

const DOORS: [Door; 8] = [
    Door {
        path: |_| "/v1/chat/completions".to_owned(),
        route: "/v1/chat/completions",
        body: |model| json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }] }),
        key: ("authorization", "Bearer "),
        text: "/choices/0/message/content",
        message: "/error/message",
    },
    Door {
        path: |_| "/v1/responses".to_owned(),
        route: "/v1/responses",
        body: |model| json!({ "model": model, "input": "Hi" }),
        key: ("authorization", "Bearer "),
        text: "/output/0/content/0/text",
        message: "/error/message",
    },
    Door {
        path: |_| "/v1/messages".to_owned(),
        route: "/v1/messages",
        body: |model| json!({ "model": model, "max_tokens": 9, "messages": [{ "role": "user", "content": "Hi" }] }),
        key: ("x-api-key", ""),
        text: "/content/0/text",
        message: "/error/message",
    },
    Door {
        path: |model| format!("/v1beta/models/{model}:generateContent"),
        route: "/v1beta/models/{model}:generateContent",
        body: |_| json!({ "contents": [{ "parts": [{ "text": "Hi" }] }] }),
        key: ("x-goog-api-key", ""),
        text: "/candidates/0/content/parts/0/text",
        message: "/error/message",
    },
    Door {
        path: |model| format!("/v1/models/{}:generateContent", model.replace('/', "%2F")),
        route: "/v1beta/models/{model}:generateContent",
        body: |_| json!({ "contents": [{ "parts": [{ "text": "Hi" }] }] }),
        key: ("x-goog-api-key", ""),
        text: "/candidates/0/content/parts/0/text",
        message: "/error/message",
    },
    Door {
        path: |model| format!("/model/{}/converse", model.replace('/', "%2F")),
        route: "/model/{model}/converse",
        body: |_| json!({ "messages": [{ "role": "user", "content": [{ "text": "Hi" }] }] }),
        key: ("authorization", "Bearer "),
        text: "/output/message/content/0/text",
        message: "/message",
    },
    Door {
        path: |_| "/v2/chat".to_owned(),
        route: "/v2/chat",
        body: |model| json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }] }),
        key: ("authorization", "Bearer "),
        text: "/message/content/0/text",
        message: "/message",
    },
    // Where Groq's and Azure's clients look.
    Door {
        path: |_| "/openai/v1/chat/completions".to_owned(),
        route: "/v1/chat/completions",
        body: |model| json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }] }),
        key: ("authorization", "Bearer "),
        text: "/choices/0/message/content",
        message: "/error/message",
    },
];

impl Door {
    fn knock(&self, gateway: &Gateway, key: &str, model: &str, body: impl Into<bytes::Bytes>) -> Answered {
        let (header, scheme) = self.key;
        gateway.request("POST", &(self.path)(model), &[(header, &format!("{scheme}{key}"))], body)
    }

    fn ask(&self, gateway: &Gateway, model: &str) -> Answered {
        self.knock(gateway, &gateway.key, model, (self.body)(model).to_string())
    }
}

fn at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

#[test]
fn every_protocols_clients_are_let_in_and_answered_in_it() {
    let gateway = Gateway::default();
    for door in &DOORS {
        let answered = door.ask(&gateway, "demo/echo");
        assert_eq!(answered.status, 200, "{}: {}", door.route, answered.text());
        assert_eq!(at(&answered.json(), door.text), "Hi", "{}", door.route);
        let record = answered.record.as_ref().unwrap();
        // Under the template, so that there are not as many routes as models.
        assert_eq!(record.route, door.route);
        assert_eq!((&*record.request_model, record.outcome), ("demo/echo", Outcome::Ok));
    }
}

#[test]
fn google_clients_may_put_the_key_into_the_address() {
    let gateway = Gateway::default();
    let path = format!("/v1beta/models/demo/echo:generateContent?key={}", gateway.key);
    let body = json!({ "contents": [{ "parts": [{ "text": "Hi" }] }] }).to_string();
    let answered = gateway.request("POST", &path, &[], body);
    assert_eq!(answered.status, 200, "{}", answered.text());
    // And it stays out of the record.
    assert!(!serde_json::to_string(answered.record.as_ref().unwrap()).unwrap().contains(&gateway.key));
}

#[test]
fn refusals_come_in_the_callers_protocol_and_are_on_record() {
    let gateway = Gateway::default();
    let narrow = gateway.new_key(&json!({ "name": "narrow", "models": ["anthropic/*"] }));
    for door in &DOORS {
        let body = (door.body)("demo/echo").to_string();
        for (answered, status, says) in [
            (door.knock(&gateway, "hg_nobody", "demo/echo", body.clone()), 401, "API key"),
            (door.knock(&gateway, &narrow, "demo/echo", body.clone()), 403, "may not use"),
            (door.ask(&gateway, "nobody/nothing"), 404, "no model"),
            (door.knock(&gateway, &gateway.key, "demo/echo", "{"), 400, "JSON"),
            (door.knock(&gateway, &gateway.key, "demo/echo", ""), 400, ""),
            (door.ask(&gateway, "demo/fail"), 502, "always fails"),
        ] {
            assert_eq!(answered.status, status, "{}: {}", door.route, answered.text());
            assert!(at(&answered.json(), door.message).contains(says), "{}: {}", door.route, answered.text());
            assert_eq!(answered.record.as_ref().unwrap().status, status, "{}", door.route);
        }
    }
}

#[test]
fn kept_answers_of_a_shared_account_are_nobodys() {
    let gateway = Gateway::default();
    // A provider that speaks Responses itself would know the id, whoever it belongs to.
    for field in ["previous_response_id", "conversation"] {
        let body = json!({ "model": "openai/gpt-5-mini", "input": "Hi", field: "resp_1" }).to_string();
        let bearer = format!("Bearer {}", gateway.key);
        let answered = gateway.request("POST", "/v1/responses", &[("authorization", &bearer)], body);
        assert_eq!(answered.status, 400);
        assert_eq!(at(&answered.json(), "/error/param"), field);
    }
    assert!(gateway.host.upstream.sent().is_empty());
}

#[test]
fn a_provider_that_speaks_two_protocols_is_asked_in_the_callers() {
    let gateway = Gateway::default();
    let url = OPENAI.replace("/chat/completions", "/responses");
    let answer = json!({ "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5-mini",
        "output": [{ "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{ "type": "output_text", "text": "Hello", "annotations": [] }] }],
        "usage": { "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 }, "a_later_field": 1 });
    gateway.host.upstream.expect("POST", &url, Answer::json(200, &answer));
    let answered = DOORS[1].ask(&gateway, "openai/gpt-5-mini");
    assert_eq!(answered.json(), answer);
    assert_eq!(answered.record.as_ref().unwrap().output_tokens, Some(2));
}

/// The gateway's call id is an answer's `x-request-id`, unless the provider gave it one.
#[test]
fn answers_have_the_headers_the_protocols_own_clients_look_for() {
    let gateway = Gateway::default();
    for door in &DOORS {
        let body = (door.body)("demo/echo").to_string();
        for (answered, kind) in [
            (door.ask(&gateway, "demo/echo"), None),
            (door.knock(&gateway, "hg_nobody", "demo/echo", body.clone()), Some("AccessDeniedException")),
            (door.knock(&gateway, &gateway.key, "demo/echo", "{"), Some("ValidationException")),
            (door.ask(&gateway, "nobody/nothing"), Some("ResourceNotFoundException")),
            (door.ask(&gateway, "demo/fail"), Some("InternalServerException")),
        ] {
            let header =
                |name: &str| answered.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            let id = header("x-hypergate-call-id");
            assert!(id.is_some() && header("x-request-id") == id, "{}", door.route);
            let anthropic = door.route == "/v1/messages";
            let amazon = door.route == "/model/{model}/converse";
            assert_eq!(header("request-id"), id.clone().filter(|_| anthropic), "{}", door.route);
            assert_eq!(header("x-amzn-requestid"), id.filter(|_| amazon), "{}", door.route);
            assert_eq!(header("x-amzn-errortype").as_deref(), kind.filter(|_| amazon), "{}", door.route);
        }
    }
}

#[test]
fn a_blocked_prompt_is_passed_on_to_who_speaks_gemini_and_on_record_as_filtered() {
    let gateway = Gateway::with(&[("GEMINI_API_KEY", "test-key")]);
    let url = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent";
    let answer = json!({ "promptFeedback": { "blockReason": "PROHIBITED_CONTENT" },
        "usageMetadata": { "promptTokenCount": 7, "totalTokenCount": 7 }, "modelVersion": "gemini-2.5-flash" });
    gateway.host.upstream.expect("POST", url, Answer::json(200, &answer));
    let answered = DOORS[3].ask(&gateway, "gemini/gemini-2.5-flash");
    assert_eq!((answered.status.as_u16(), answered.json()), (200, answer.clone()));
    let record = answered.record.as_ref().unwrap();
    assert_eq!((record.outcome, record.finish_reason.as_deref()), (Outcome::Ok, Some("content_filter")));
    assert_eq!(record.input_tokens, Some(7));
    // Others are told in their own way.
    gateway.host.upstream.expect("POST", url, Answer::json(200, &answer));
    let answered = DOORS[0].ask(&gateway, "gemini/gemini-2.5-flash");
    assert_eq!(
        (answered.status.as_u16(), &answered.json()["error"]["code"]),
        (400, &json!("content_filter"))
    );
}

#[test]
fn a_schema_is_kept_by_a_forced_tool_where_the_provider_has_nothing_else() {
    let gateway = Gateway::with(&[("BEDROCK_API_KEY", "test-key")]);
    let url = "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-pro-v1%3A0/converse";
    let answer = json!({ "output": { "message": { "role": "assistant", "content": [
            { "toolUse": { "toolUseId": "t1", "name": "city", "input": { "name": "Oslo" } } }] } },
        "stopReason": "tool_use", "usage": { "inputTokens": 5, "outputTokens": 4, "totalTokens": 9 } });
    gateway.host.upstream.expect("POST", url, Answer::json(200, &answer));
    let body = json!({ "model": "bedrock/amazon.nova-pro-v1:0", "messages": [{ "role": "user", "content": "Where?" }],
        "response_format": { "type": "json_schema", "json_schema": { "name": "city", "schema": { "type": "object" } } } });
    let answered = DOORS[0].knock(&gateway, &gateway.key, "", body.to_string());
    let choice = &answered.json()["choices"][0];
    assert_eq!(choice["message"]["content"], r#"{"name":"Oslo"}"#);
    assert_eq!((&choice["finish_reason"], choice["message"].get("tool_calls")), (&json!("stop"), None));
    let sent: Value = gateway.host.upstream.sent()[0].json();
    assert_eq!(sent["toolConfig"]["toolChoice"], json!({ "tool": { "name": "city" } }));
    assert_eq!(answered.record.as_ref().unwrap().finish_reason.as_deref(), Some("stop"));
}

#[test]
fn a_tools_name_that_the_provider_refuses_comes_back_as_the_callers() {
    let gateway = Gateway::with(&[("BEDROCK_API_KEY", "test-key")]);
    let long = "mcp__".to_owned() + &"x".repeat(80);
    let tool =
        json!({ "type": "function", "function": { "name": long, "parameters": { "type": "object" } } });
    let mut body = (DOORS[0].body)("bedrock/anthropic.claude-sonnet-4-6");
    body["tools"] = json!([tool]);
    let url = "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-sonnet-4-6/converse";
    // The name as it goes out is known once it has gone out.
    gateway.host.upstream.expect("POST", url, Answer::json(400, &json!({ "message": "no" })));
    DOORS[0].knock(&gateway, &gateway.key, "", body.to_string());
    let sent: Value = gateway.host.upstream.sent()[0].json();
    let name = at(&sent, "/toolConfig/tools/0/toolSpec/name").to_owned();
    assert!(name.len() <= 64 && name.starts_with("mcp__x"), "{name}");
    let answer = json!({ "output": { "message": { "role": "assistant", "content": [
            { "toolUse": { "toolUseId": "t1", "name": name, "input": {} } }] } }, "stopReason": "tool_use" });
    gateway.host.upstream.expect("POST", url, Answer::json(200, &answer));
    let answered = DOORS[0].knock(&gateway, &gateway.key, "", body.to_string());
    assert_eq!(at(&answered.json(), "/choices/0/message/tool_calls/0/function/name"), long);
}

#[test]
fn a_caller_without_a_key_is_told_where_its_client_puts_one() {
    let gateway = Gateway::default();
    for door in &DOORS {
        let answered = door.knock(&gateway, "hg_nobody", "demo/echo", (door.body)("demo/echo").to_string());
        let place = match door.key {
            ("authorization", _) => "`authorization: Bearer hg_".to_owned(),
            (header, _) => format!("`{header}: hg_"),
        };
        assert!(answered.text().contains(&place), "{}: {}", door.route, answered.text());
    }
}

#[test]
fn a_path_that_is_none_is_answered_in_its_clients_protocol_with_the_base_url_it_needs() {
    let gateway = Gateway::default();
    for (path, message, says) in [
        ("/chat/completions", "/error/message", "base URL ends in `/v1`"),
        ("/v1/nothing", "/error/message", "base URL ends in `/v1`"),
        ("/v1/v1/messages", "/error/message", "address, without a path"),
        ("/v1/v1beta/models/demo/echo:generateContent", "/error/message", "address, without a path"),
        ("/v1beta/nothing", "/error/message", "address, without a path"),
        ("/v1/model/demo%2Fecho/converse", "/message", "address, without a path"),
        ("/v2/nothing", "/message", "address, without a path"),
        ("/internal/nothing", "/error/message", "openapi.json"),
    ] {
        let answered = gateway.request("POST", path, &[], "{}");
        assert_eq!(answered.status, 404, "{path}");
        let body = answered.json();
        let sentence = at(&body, message);
        assert!(sentence.contains(says) && sentence.contains("openapi.json"), "{path}: {body}");
        assert_eq!(sentence.contains("base URL"), !path.starts_with("/internal/"), "{path}: {body}");
        let own = match path {
            "/v1/v1/messages" => body["type"] == "error",
            path if path.contains("v1beta") => body["error"]["status"] == "NOT_FOUND",
            path if message == "/message" => body["message"].is_string() && !path.is_empty(),
            _ => body["error"]["code"] == "not_found",
        };
        assert!(own, "{path}: {body}");
    }
}
