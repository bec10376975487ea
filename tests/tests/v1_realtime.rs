//! GET /v1/realtime: who may talk to what, and what is on record. The sockets themselves are the hosts'.

use functions::{Incoming, Reply, handle};
use gateway::{
    live::Live,
    ports::FetchError,
    record::{Outcome, Record},
};
use http::Request;
use serde_json::{Value, json};
use tests::{Answer, Answered, Gateway, block_on};

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

fn said_by_provider() -> Vec<Value> {
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
    gateway.host.upstream.expect("GET", URL, socket(&said_by_provider()).gaps(2_000));
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
    gateway.host.upstream.expect("GET", URL, socket(&said_by_provider()));
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
        gateway.host.upstream.expect("GET", xai, socket(&said_by_provider()));
        let answered = with_key(&gateway, "/v1/realtime?model=voice");
        assert_eq!(answered.status, 101, "{}", answered.text());
        assert_eq!(record(answered).attempts.len(), 2);
    }
    assert_eq!(gateway.request("POST", "/v1/realtime", &[], "").status, 405);
}

/// A session that has been opened with this key, for its caller to talk.
fn open(gateway: &Gateway, key: &str, model: &str) -> Live {
    gateway.host.upstream.expect("GET", URL, socket(&[]));
    let request = Request::get(format!("/v1/realtime?model={model}"))
        .header("upgrade", "websocket")
        .header("authorization", format!("Bearer {key}"));
    let incoming: Incoming = request.body(Ok(bytes::Bytes::new())).expect("a request");
    match block_on(handle(&incoming, &gateway.host)) {
        Reply::Stream(streaming) => streaming.live,
        Reply::Whole { response, .. } => panic!("{:?}", response.body()),
    }
}

/// What becomes of a message: it goes on as it is (`.`) or as something else, or this is the refusal's code.
fn said(live: &mut Live, message: &str) -> String {
    match live.said(message.as_bytes()) {
        Ok(None) => ".".to_owned(),
        Ok(Some(instead)) => instead,
        Err(answer) => {
            let event: Value = serde_json::from_str(&answer).expect("an event");
            assert_eq!((event["type"].as_str(), event["event_id"].is_string()), (Some("error"), true));
            assert_eq!(event["error"]["event_id"], "mine", "{event}");
            event["error"]["code"].as_str().expect("a code").to_owned()
        }
    }
}

#[test]
fn a_session_is_not_given_a_model_that_the_key_may_not_use() {
    let gateway = Gateway::default();
    let alias = json!({ "targets": ["openai/gpt-4o-transcribe"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/ears", gateway.tenant_id), &alias);
    let alias = json!({ "targets": ["openai/gpt-realtime"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/voice", gateway.tenant_id), &alias);
    let models = json!(["voice", "ears", "openai/whisper-1"]);
    let narrow = gateway.new_key(&json!({ "name": "narrow", "models": models }));
    let ga = |model: &str| {
        json!({ "event_id": "mine", "type": "session.update", "session": {
            "type": "realtime", "audio": { "input": { "transcription": { "model": model } } } } })
    };
    let beta = |model: &str| {
        json!({ "event_id": "mine", "type": "transcription_session.update", "session": {
            "input_audio_transcription": { "model": model } } })
    };
    let model =
        |model: &str| json!({ "event_id": "mine", "type": "session.update", "session": { "model": model } });
    for message in [ga, beta, model] {
        let mut live = open(&gateway, &narrow, "voice");
        for (named, expected) in [
            ("whisper-1", ".".to_owned()),
            ("openai/whisper-1", message("whisper-1").to_string()),
            ("ears", message("gpt-4o-transcribe").to_string()),
            // What the session was opened with, as the provider calls it.
            ("gpt-realtime", ".".to_owned()),
            ("gpt-4o-transcribe", "model_not_allowed".to_owned()),
            ("openai/gpt-4o-mini-transcribe", "model_not_allowed".to_owned()),
            ("gpt-4o-mini-transcribe", "model_not_allowed".to_owned()),
            ("groq/whisper-large-v3", "model_not_allowed".to_owned()),
        ] {
            let message = message(named).to_string();
            assert_eq!(said(&mut live, &message), expected, "{message}");
            let escaped = message.replace("\"model\"", r#""m\u006fdel""#);
            let refused = expected == "model_not_allowed";
            assert_eq!(said(&mut live, &escaped) == "model_not_allowed", refused, "{escaped}");
        }
    }
    // A key that may use everything.
    let mut live = open(&gateway, &gateway.key, "openai/gpt-realtime");
    assert_eq!(said(&mut live, &ga("gpt-4o-mini-transcribe").to_string()), ".");
    assert_eq!(said(&mut live, &ga("groq/whisper-large-v3").to_string()), "unsupported_by_provider");
    let kept =
        json!({ "event_id": "mine", "type": "session.update", "session": { "prompt": { "id": "pmpt_1" } } });
    assert_eq!(said(&mut live, &kept.to_string()), "unsupported_by_provider");
    let record = live.hang_up(gateway.host.upstream.sent()[0].at_ms);
    assert_eq!(record.operation, "realtime");
}

#[test]
fn azure_is_asked_at_the_address_of_its_version() {
    let settings = [
        ("AZURE_API_KEY", "az"),
        ("AZURE_BASE_URL", "https://acme.openai.azure.com/openai/v1"),
        ("AZURE_API_VERSION", ""),
    ];
    let dated = [settings[0], settings[1], ("AZURE_API_VERSION", "2025-04-01-preview")];
    for (settings, url) in [
        (settings, "https://acme.openai.azure.com/openai/v1/realtime?model=prod%20talk"),
        (
            dated,
            "https://acme.openai.azure.com/openai/realtime?deployment=prod%20talk&api-version=2025-04-01-preview",
        ),
    ] {
        let gateway = Gateway::with(&settings);
        gateway.host.upstream.expect("GET", url, socket(&said_by_provider()));
        let answered = with_key(&gateway, "/v1/realtime?model=azure/prod%20talk");
        assert_eq!(answered.status, 101, "{}", answered.text());
        assert_eq!(gateway.host.upstream.sent()[0].header("api-key"), "az");
    }
}

#[test]
fn a_beta_goes_on_to_a_provider_that_takes_it_and_is_named_elsewhere() {
    let gateway = Gateway::with(&[("XAI_API_KEY", "sk-xai")]);
    let xai = "https://api.x.ai/v1/realtime?model=gpt-realtime";
    for (model, url, sent, dropped) in [
        ("openai/gpt-realtime", URL, "realtime=v1", ""),
        ("xai/gpt-realtime", xai, "", "openai-beta:realtime=v1"),
    ] {
        gateway.host.upstream.expect("GET", url, socket(&said_by_provider()));
        let bearer = format!("Bearer {}", gateway.key);
        let headers = [("authorization", bearer.as_str()), ("openai-beta", "realtime=v1")];
        let answered = connect(&gateway, &format!("/v1/realtime?model={model}"), &headers);
        let named =
            answered.headers.get("x-hypergate-dropped").map_or("", |name| name.to_str().unwrap_or(""));
        assert_eq!(named, dropped);
        assert_eq!(gateway.host.upstream.sent_to(url)[0].header("openai-beta"), sent);
    }
}
