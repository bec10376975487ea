//! Providers that want more than a key: signatures, tokens, addresses made of settings.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use gateway::{Host as _, ports::FetchError, record::Outcome};
use serde_json::{Value, json};
use tests::{Answer, Answered, Gateway, host::NEW_YEAR_MS};

const ACCOUNT: &str = include_str!("../fixtures/keys/service_account.json");
const TOKENS: &str = "https://oauth2.googleapis.com/token";
const GLOBAL: &str = "https://aiplatform.googleapis.com/v1/projects/acme-1/locations/global/publishers";
const ENTRA: [(&str, &str); 4] = [
    ("AZURE_BASE_URL", "https://acme.openai.azure.com/openai/v1"),
    ("AZURE_TENANT_ID", "tenant-1"),
    ("AZURE_CLIENT_ID", "client-1"),
    ("AZURE_CLIENT_SECRET", "s3cret&="),
];
const ENTRA_TOKENS: &str = "https://login.microsoftonline.com/tenant-1/oauth2/v2.0/token";

/// A setting and its value.
type Setting<'a> = (&'a str, &'a str);

fn token(value: &str) -> Answer {
    Answer::json(200, &json!({ "access_token": value, "expires_in": 3599, "token_type": "Bearer" }))
}

fn chat(gateway: &Gateway, model: &str) -> Answered {
    gateway.chat(&json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }] }))
}

fn messages(gateway: &Gateway, model: &str, stream: bool, headers: &[(&str, &str)]) -> Answered {
    let body = json!({ "model": model, "max_tokens": 9, "messages": [{ "role": "user", "content": "Hi" }], "stream": stream, "later": 1.5 });
    let headers: Vec<_> =
        [("x-api-key", gateway.key.as_str())].into_iter().chain(headers.iter().copied()).collect();
    gateway.request("POST", "/v1/messages", &headers, body.to_string())
}

fn completion(model: &str) -> Answer {
    Answer::json(
        200,
        &json!({ "id": "1", "object": "chat.completion", "model": model,
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hello" }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000 } }),
    )
}

fn converse() -> Answer {
    Answer::json(
        200,
        &json!({ "output": { "message": { "role": "assistant", "content": [{ "text": "Hello" }] } },
            "stopReason": "end_turn", "usage": { "inputTokens": 3, "outputTokens": 2, "totalTokens": 5 } }),
    )
}

fn gemini() -> Answer {
    Answer::json(
        200,
        &json!({ "candidates": [{ "content": { "role": "model", "parts": [{ "text": "Hello" }] }, "finishReason": "STOP" }],
            "usageMetadata": { "promptTokenCount": 3, "candidatesTokenCount": 2 }, "modelVersion": "gemini-2.5-flash" }),
    )
}

fn claude() -> Answer {
    Answer::json(
        200,
        &json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6",
            "content": [{ "type": "text", "text": "Hello" }], "stop_reason": "end_turn",
            "usage": { "input_tokens": 3, "output_tokens": 2 }, "later": 1.5 }),
    )
}

#[test]
fn bedrock_is_asked_with_a_signature_or_with_a_key() {
    let keys = [("BEDROCK_ACCESS_KEY_ID", "AKID"), ("BEDROCK_SECRET_ACCESS_KEY", "secret")];
    let temporary = [keys[0], keys[1], ("BEDROCK_SESSION_TOKEN", "tok"), ("BEDROCK_REGION", "eu-west-1")];
    let elsewhere =
        [keys[0], keys[1], ("BEDROCK_BASE_URL", "https://bedrock-runtime.eu-north-1.amazonaws.com")];
    let profile = "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-pro-v1:0";
    let sent_profile = "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.amazon.nova-pro-v1%3A0";
    let signed = |region: &str, headers: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKID/20260101/{region}/bedrock/aws4_request, SignedHeaders={headers}, "
        )
    };
    let cases: [(&[Setting<'_>], &str, String); 4] = [
        (&[("BEDROCK_API_KEY", "bk"), keys[0], keys[1]], "us-east-1", "Bearer bk".to_owned()),
        (&keys, "us-east-1", signed("us-east-1", "content-type;host;x-amz-date")),
        (&temporary, "eu-west-1", signed("eu-west-1", "content-type;host;x-amz-date;x-amz-security-token")),
        (&elsewhere, "eu-north-1", signed("eu-north-1", "content-type;host;x-amz-date")),
    ];
    for (settings, region, authorization) in cases {
        let gateway = Gateway::with(settings);
        let url = format!("https://bedrock-runtime.{region}.amazonaws.com/model/{sent_profile}/converse");
        gateway.host.upstream.expect("POST", &url, converse());
        let answered = chat(&gateway, &format!("bedrock/{profile}"));
        assert_eq!(answered.status, 200, "{}", answered.text());
        let sent = gateway.host.upstream.sent();
        assert!(
            sent[0].header("authorization").starts_with(&authorization),
            "{}",
            sent[0].header("authorization")
        );
        let is_signed = authorization.starts_with("AWS4");
        assert_eq!(sent[0].header("x-amz-date"), if is_signed { "20260101T000000Z" } else { "" });
    }
}

#[test]
fn an_endpoint_of_ones_own_is_signed_for_its_region() {
    for (host, region) in [
        ("vpce-0abc-xyz.bedrock-runtime.eu-west-3.vpce.amazonaws.com", "eu-west-3"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ] {
        let base_url = format!("https://{host}");
        let gateway = Gateway::with(&[
            ("BEDROCK_ACCESS_KEY_ID", "AKID"),
            ("BEDROCK_SECRET_ACCESS_KEY", "secret"),
            ("BEDROCK_BASE_URL", &base_url),
        ]);
        let url = format!("{base_url}/model/amazon.nova-pro-v1%3A0/converse");
        gateway.host.upstream.expect("POST", &url, converse());
        assert_eq!(chat(&gateway, "bedrock/amazon.nova-pro-v1:0").status, 200);
        let sent = gateway.host.upstream.sent()[0].header("authorization").to_owned();
        assert!(sent.contains(&format!("/20260101/{region}/bedrock/")), "{sent}");
    }
    // Without one the region says where.
    let gateway = Gateway::with(&[("BEDROCK_API_KEY", "bk"), ("BEDROCK_REGION", "cn-north-1")]);
    let url = "https://bedrock-runtime.cn-north-1.amazonaws.com.cn/model/m/converse";
    gateway.host.upstream.expect("POST", url, converse());
    assert_eq!(chat(&gateway, "bedrock/m").status, 200);
}

#[test]
fn a_caller_who_hangs_up_while_a_token_is_asked_for_is_no_failure_of_the_provider() {
    let gateway = Gateway::with(&ENTRA);
    let alias = json!({ "targets": ["azure/prod", "openai/gpt-5-mini"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/fast", gateway.tenant_id), &alias);
    for model in ["azure/prod", "fast"] {
        gateway.host.upstream.expect("POST", ENTRA_TOKENS, Answer::error(FetchError::HungUp));
        let record = chat(&gateway, model).record.unwrap();
        assert_eq!((record.status, record.outcome), (499, Outcome::Aborted));
        assert_eq!(record.error_type.as_deref(), Some("caller_hung_up"));
    }
    assert_eq!(gateway.host.upstream.sent().len(), 2, "nobody else was asked");
}

#[test]
fn callers_of_messages_reach_claude_on_bedrock_with_their_own_bytes() {
    let gateway = Gateway::with(&[("BEDROCK_API_KEY", "bk")]);
    let model = "us.anthropic.claude-sonnet-4-6-v1:0";
    let base = "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic.claude-sonnet-4-6-v1%3A0";
    gateway.host.upstream.expect("POST", &format!("{base}/invoke"), claude());
    let betas = ("anthropic-beta", "context-1m-2025-08-07,files-api-2025-04-14");
    let answered = messages(&gateway, &format!("bedrock/{model}"), false, &[betas]);
    assert_eq!(answered.json()["later"], 1.5);
    assert_eq!(answered.headers["x-hypergate-dropped"], "anthropic-beta:files-api-2025-04-14");
    assert_eq!(
        gateway.host.upstream.sent()[0].json(),
        json!({ "anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["context-1m-2025-08-07"],
            "max_tokens": 9, "messages": [{ "role": "user", "content": "Hi" }], "later": 1.5 })
    );
    let error = json!({ "message": "Input is too long for requested model." });
    let refusal = Answer::json(400, &error).header("x-amzn-errortype", "ValidationException:http://x");
    gateway.host.upstream.expect("POST", &format!("{base}/invoke"), refusal);
    let answered = messages(&gateway, &format!("bedrock/{model}"), false, &[]);
    assert_eq!(answered.record.unwrap().error_type.as_deref(), Some("context_length_exceeded"));
}

#[test]
fn claudes_stream_on_bedrock_reaches_callers_of_messages_as_claudes_events() {
    let gateway = Gateway::with(&[("BEDROCK_API_KEY", "bk")]);
    let base = "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-sonnet-4-6";
    let events = [
        r#"{"type":"message_start","message":{"id":"msg_1","model":"claude-sonnet-4-6","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#,
        r#"{"type":"message_stop","later":1.50}"#,
    ];
    let frames = events.map(|event| {
        let headers = [(":event-type", "chunk"), (":message-type", "event")];
        let mut frame = Vec::new();
        let payload = json!({ "bytes": BASE64_STANDARD.encode(event) }).to_string();
        llm::eventstream::write(&headers, payload.as_bytes(), &mut frame);
        frame
    });
    let stream = Answer::stream(frames).header("content-type", "application/vnd.amazon.eventstream");
    gateway.host.upstream.expect("POST", &format!("{base}/invoke-with-response-stream"), stream);
    let answered = messages(&gateway, "bedrock/anthropic.claude-sonnet-4-6", true, &[]);
    let kinds = ["message_start", "message_delta", "message_stop"];
    let expected: Vec<String> =
        kinds.iter().zip(events).map(|(kind, event)| format!("event: {kind}\ndata: {event}\n\n")).collect();
    assert_eq!(answered.text(), expected.concat());
    assert_eq!(answered.headers["content-type"], "text/event-stream; charset=utf-8");
    let record = answered.record.unwrap();
    assert_eq!((record.input_tokens, record.output_tokens), (Some(3), Some(2)));
}

#[test]
fn a_beta_nobody_there_knows_is_named_and_no_failure() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("POST", tests::OPENAI, completion("gpt-5-mini"));
    let answered = messages(&gateway, "openai/gpt-5-mini", false, &[("anthropic-beta", "skills-2025-10-02")]);
    let dropped = answered.headers["x-hypergate-dropped"].to_str().unwrap();
    assert!(dropped.contains("anthropic-beta:skills-2025-10-02"), "{dropped}");
    assert_eq!(gateway.host.upstream.sent()[0].header("anthropic-beta"), "");
}

#[test]
fn beside_chat_a_beta_is_passed_on_or_named() {
    let gateway = Gateway::with(&[("VOYAGE_API_KEY", "vk")]);
    let vectors = json!({ "object": "list", "model": "m", "usage": { "total_tokens": 1 },
        "data": [{ "object": "embedding", "index": 0, "embedding": [0.5] }] });
    let bearer = format!("Bearer {}", gateway.key);
    let betas = [
        ("authorization", bearer.as_str()),
        ("openai-beta", "x=v1"),
        ("anthropic-beta", "skills-2025-10-02"),
    ];
    for (model, url, sent, dropped) in [
        ("openai/embed", "https://api.openai.com/v1/embeddings", "x=v1", "anthropic-beta:skills-2025-10-02"),
        (
            "voyage/embed",
            "https://api.voyageai.com/v1/embeddings",
            "",
            "user,anthropic-beta:skills-2025-10-02,openai-beta:x=v1",
        ),
    ] {
        gateway.host.upstream.expect("POST", url, Answer::json(200, &vectors));
        let body = json!({ "model": model, "input": "Hi", "user": "ann" }).to_string();
        let answered = gateway.request("POST", "/v1/embeddings", &betas, body);
        assert_eq!(answered.status, 200, "{}", answered.text());
        assert_eq!(answered.headers["x-hypergate-dropped"], dropped);
        let request = &gateway.host.upstream.sent_to(url)[0];
        assert_eq!((request.header("openai-beta"), request.header("anthropic-beta")), (sent, ""));
    }
    let speech = "https://api.openai.com/v1/audio/speech";
    gateway.host.upstream.expect(
        "POST",
        speech,
        Answer::stream(["sound"]).header("content-type", "audio/mpeg"),
    );
    let body = json!({ "model": "openai/tts-1", "input": "Hi", "voice": "ash" }).to_string();
    let answered = gateway.request("POST", "/v1/audio/speech", &betas, body);
    assert_eq!(answered.headers["x-hypergate-dropped"], "anthropic-beta:skills-2025-10-02");
    assert_eq!(gateway.host.upstream.sent_to(speech)[0].header("openai-beta"), "x=v1");
}

#[test]
fn a_service_account_is_given_one_token_for_many_calls_and_a_new_one_in_time() {
    let gateway = Gateway::with(&[("VERTEX_SERVICE_ACCOUNT", ACCOUNT)]);
    let url = format!("{GLOBAL}/google/models/gemini-2.5-flash:generateContent");
    gateway.host.upstream.always("POST", &url, gemini());
    let upstream = &gateway.host.upstream;
    upstream.expect("POST", TOKENS, token("ya29.first"));
    let bearers = |from: usize| -> Vec<String> {
        upstream.sent_to(&url)[from..].iter().map(|sent| sent.header("authorization").to_owned()).collect()
    };
    for _ in 0..3 {
        let answered = chat(&gateway, "vertex/gemini-2.5-flash");
        assert_eq!(answered.status, 200, "{}", answered.text());
    }
    assert_eq!(bearers(0), ["Bearer ya29.first"; 3]);
    assert_eq!(upstream.sent_to(TOKENS).len(), 1);
    // Shortly before its end it is renewed; if that fails it serves to its end, and no longer.
    gateway.host.set_now(NEW_YEAR_MS + 3_300_000);
    upstream.expect("POST", TOKENS, Answer::json(503, &json!({})));
    assert_eq!(chat(&gateway, "vertex/gemini-2.5-flash").status, 200);
    assert_eq!(bearers(3), ["Bearer ya29.first"]);
    upstream.expect("POST", TOKENS, token("ya29.second"));
    assert_eq!(chat(&gateway, "vertex/gemini-2.5-flash").status, 200);
    assert_eq!(bearers(4), ["Bearer ya29.second"]);

    // What was signed is what Google asks for.
    let form = String::from_utf8(upstream.sent_to(TOKENS)[0].body.to_vec()).unwrap();
    let assertion =
        form.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
    let parts: Vec<&str> = assertion.unwrap().split('.').collect();
    let read = |part: &str| -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(read(parts[0]), json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" }));
    assert_eq!(
        read(parts[1]),
        json!({ "iss": "gateway@acme-1.iam.gserviceaccount.com", "aud": TOKENS, "iat": 1_767_225_600,
            "scope": "https://www.googleapis.com/auth/cloud-platform", "exp": 1_767_229_200 })
    );
}

#[test]
fn every_request_to_bedrock_is_signed_whatever_is_asked() {
    let gateway =
        Gateway::with(&[("BEDROCK_ACCESS_KEY_ID", "AKID"), ("BEDROCK_SECRET_ACCESS_KEY", "secret")]);
    let upstream = &gateway.host.upstream;
    let model = |name: &str, call: &str| {
        format!("https://bedrock-runtime.us-east-1.amazonaws.com/model/{name}%3A0/{call}")
    };
    let bearer = format!("Bearer {}", gateway.key);
    let ask = |path: &str, body: &Value| {
        let answered = gateway.request("POST", path, &[("authorization", &bearer)], body.to_string());
        assert_eq!(answered.status, 200, "{}", answered.text());
    };
    // One text a request: a call of three is signed three times.
    for text in 0..3 {
        let vector = json!({ "embedding": [text], "inputTextTokenCount": 3 });
        upstream.expect("POST", &model("amazon.titan-embed-text-v2", "invoke"), Answer::json(200, &vector));
    }
    ask(
        "/v1/embeddings",
        &json!({ "model": "bedrock/amazon.titan-embed-text-v2:0", "input": ["a", "b", "c"] }),
    );
    let ranked = json!({ "results": [{ "index": 0, "relevance_score": 0.9 }] });
    upstream.expect("POST", &model("cohere.rerank-v3-5", "invoke"), Answer::json(200, &ranked));
    ask("/v1/rerank", &json!({ "model": "bedrock/cohere.rerank-v3-5:0", "query": "q", "documents": ["a"] }));
    let count = Answer::json(200, &json!({ "inputTokens": 14 }));
    upstream.expect("POST", &model("amazon.nova-pro-v1", "count-tokens"), count);
    ask(
        "/v1/messages/count_tokens",
        &json!({ "model": "bedrock/amazon.nova-pro-v1:0", "messages": [{ "role": "user", "content": "Hi" }] }),
    );
    upstream.assert_done();
    let signatures: std::collections::BTreeSet<String> =
        upstream.sent().iter().map(|sent| sent.header("authorization").to_owned()).collect();
    assert_eq!(signatures.len(), 5, "each body has its own");
    assert!(signatures.iter().all(|signature| signature.starts_with("AWS4-HMAC-SHA256 Credential=AKID/")));
}

#[test]
fn azure_is_given_its_token_and_version_whatever_is_asked() {
    let dated = [ENTRA.as_slice(), &[("AZURE_API_VERSION", "2024-10-21")]].concat();
    let acme = "https://acme.openai.azure.com/openai";
    let cases = [
        (ENTRA.as_slice(), format!("{acme}/v1"), format!("{acme}/v1"), ""),
        (&dated, format!("{acme}/deployments/prod"), acme.to_owned(), "?api-version=2024-10-21"),
    ];
    for (settings, model, account, version) in cases {
        let gateway = Gateway::with(settings);
        let upstream = &gateway.host.upstream;
        upstream.expect("POST", ENTRA_TOKENS, token("eyJ.first"));
        let bearer = format!("Bearer {}", gateway.key);
        let ask = |method: &str, path: &str, body: &str| {
            let answered = gateway.request(method, path, &[("authorization", &bearer)], body.to_owned());
            assert_eq!(answered.status, 200, "{}", answered.text());
        };
        let vectors = json!({ "object": "list", "model": "m", "usage": { "prompt_tokens": 1, "total_tokens": 1 },
            "data": [{ "object": "embedding", "index": 0, "embedding": [0.5] }] });
        upstream.expect("POST", &format!("{model}/embeddings{version}"), Answer::json(200, &vectors));
        ask("POST", "/v1/embeddings", r#"{"model":"azure/prod","input":"Hi"}"#);
        let completed = json!({ "object": "text_completion", "choices": [{ "index": 0, "text": "Hello", "finish_reason": "stop" }] });
        upstream.expect("POST", &format!("{model}/completions{version}"), Answer::json(200, &completed));
        ask("POST", "/v1/completions", r#"{"model":"azure/prod","prompt":"Hi"}"#);

        // A form that is still coming is larger than what is held of it.
        let sound = "sound-".repeat(400_000);
        let form = |name: &str, value: &str| {
            format!(
                "--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--XyZ\r\n\
                 Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n{sound}\r\n--XyZ--\r\n"
            )
        };
        let upload = |path: &str, form: &str| {
            let pieces = form.as_bytes().chunks(65_536).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece)));
            let answered = gateway.upload(path, &[("x-hypergate-provider", "azure")], pieces);
            assert_eq!(answered.status, 200, "{}", answered.text());
        };
        let heard = Answer::json(200, &json!({ "text": "Hello." }));
        upstream.expect("POST", &format!("{model}/audio/transcriptions{version}"), heard);
        upload("/v1/audio/transcriptions", &form("model", "azure/prod"));
        let file = json!({ "id": "file-1", "object": "file", "purpose": "assistants" });
        upstream.expect("POST", &format!("{account}/files{version}"), Answer::json(200, &file));
        upload("/v1/files", &form("purpose", "assistants"));
        upstream.expect("GET", &format!("{account}/files/file-1{version}"), Answer::json(200, &file));
        ask("GET", "/v1/files/file-1", "");

        upstream.assert_done();
        let sent = upstream.sent();
        assert_eq!(sent.len(), 6);
        for sent in &sent[1..] {
            assert_eq!(sent.header("authorization"), "Bearer eyJ.first");
        }
    }
}

#[test]
fn a_beta_is_named_by_a_count_of_tokens_too() {
    let gateway = Gateway::with(&[("ANTHROPIC_API_KEY", "ak"), ("BEDROCK_API_KEY", "bk")]);
    let bedrock = "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-pro-v1%3A0/count-tokens";
    let anthropic = "https://api.anthropic.com/v1/messages/count_tokens";
    gateway.host.upstream.expect("POST", bedrock, Answer::json(200, &json!({ "inputTokens": 14 })));
    gateway.host.upstream.expect("POST", anthropic, Answer::json(200, &json!({ "input_tokens": 14 })));
    let cases = [
        ("bedrock/amazon.nova-pro-v1:0", "anthropic-beta:skills-2025-10-02,openai-beta:x=v1"),
        ("anthropic/claude-haiku-4-5", "openai-beta:x=v1"),
    ];
    for (model, dropped) in cases {
        let body = json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }] });
        let headers = [
            ("x-api-key", gateway.key.as_str()),
            ("anthropic-beta", "skills-2025-10-02"),
            ("openai-beta", "x=v1"),
        ];
        let answered = gateway.request("POST", "/v1/messages/count_tokens", &headers, body.to_string());
        assert_eq!(answered.status, 200, "{}", answered.text());
        assert_eq!(answered.headers["x-hypergate-dropped"], dropped);
    }
    assert_eq!(gateway.host.upstream.sent_to(anthropic)[0].header("anthropic-beta"), "skills-2025-10-02");
}

#[test]
fn a_host_that_remembers_nothing_finds_the_token_encrypted_in_the_cache() {
    let gateway = Gateway::with(&ENTRA);
    let url = "https://acme.openai.azure.com/openai/v1/chat/completions";
    gateway.host.upstream.always("POST", url, completion("gpt-4o"));
    gateway.host.upstream.expect("POST", ENTRA_TOKENS, token("eyJ.first"));
    for _ in 0..2 {
        assert_eq!(chat(&gateway, "azure/prod").status, 200);
        gateway.host.memory().forget_tokens();
    }
    let sent = gateway.host.upstream.sent_to(ENTRA_TOKENS);
    assert_eq!(sent.len(), 1);
    assert_eq!(
        String::from_utf8_lossy(&sent[0].body),
        "grant_type=client_credentials&client_id=client-1&client_secret=s3cret%26%3D\
         &scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default"
    );
    for sent in gateway.host.upstream.sent_to(url) {
        assert_eq!((sent.header("authorization"), sent.header("api-key")), ("Bearer eyJ.first", ""));
    }
    assert!(!gateway.host.kv.dump().contains("eyJ.first"));
}

#[test]
fn a_refused_credential_is_an_upstream_error_that_tells_nobody_of_it() {
    let refused =
        json!({ "error": "invalid_client", "error_description": "secret s3cret is wrong for client-1" });
    for (answer, code) in [
        (Answer::json(401, &refused), "upstream_auth"),
        (Answer::json(500, &refused), "upstream_error"),
        (Answer::text(200, "<html>s3cret</html>"), "upstream_garbled"),
        (Answer::unreachable(), "upstream_unreachable"),
    ] {
        let gateway = Gateway::with(&ENTRA);
        gateway.host.upstream.always("POST", ENTRA_TOKENS, answer);
        let answered = chat(&gateway, "azure/prod");
        let text = answered.text();
        assert_eq!(answered.status, 502, "{text}");
        let record = answered.record.unwrap();
        assert_eq!(record.error_type.as_deref(), Some(code));
        let everything = format!("{text}{record:?}{:?}", gateway.host.logs());
        assert!(!everything.contains("s3cret") && !everything.contains("secret host"), "{everything}");
    }
}

#[test]
fn claude_and_gemini_on_vertex_are_each_asked_in_their_own_protocol() {
    let region = "https://europe-west1-aiplatform.googleapis.com/v1/projects/other/locations/europe-west1";
    let us = "https://aiplatform.us.rep.googleapis.com/v1/projects/acme-1/locations/us/publishers";
    let elsewhere = [("VERTEX_LOCATION", "europe-west1"), ("VERTEX_PROJECT", "other")];
    let cases: [(&[Setting<'_>], String); 3] = [
        (&[], GLOBAL.to_owned()),
        (&elsewhere, format!("{region}/publishers")),
        (&[("VERTEX_LOCATION", "us")], us.to_owned()),
    ];
    for (settings, base) in cases {
        let settings: Vec<_> =
            [("VERTEX_SERVICE_ACCOUNT", ACCOUNT)].into_iter().chain(settings.iter().copied()).collect();
        let gateway = Gateway::with(&settings);
        let upstream = &gateway.host.upstream;
        upstream.expect("POST", TOKENS, token("ya29.first"));
        let url = format!("{base}/anthropic/models/claude-sonnet-4-6:rawPredict");
        upstream.always("POST", &url, claude());
        let answered = messages(&gateway, "vertex/claude-sonnet-4-6", false, &[]);
        assert_eq!(answered.json()["later"], 1.5, "{}", answered.text());
        let expected = r#"{"anthropic_version":"vertex-2023-10-16","max_tokens":9,"messages":[{"role":"user","content":"Hi"}],"stream":false,"later":1.5}"#;
        let mut sent = upstream.sent_to(&url).remove(0).json();
        assert_eq!(sent, serde_json::from_str::<Value>(expected).unwrap());
        // Others are translated to Messages.
        assert_eq!(
            chat(&gateway, "vertex/claude-sonnet-4-6").json()["choices"][0]["message"]["content"],
            "Hello"
        );
        sent = upstream.sent_to(&url).remove(1).json();
        assert_eq!((&sent["model"], &sent["anthropic_version"]), (&Value::Null, &json!("vertex-2023-10-16")));

        let url = format!("{base}/google/models/gemini-2.5-flash:generateContent");
        upstream.expect("POST", &url, gemini());
        let body = r#"{ "contents": [{"parts": [{"text": "Hi"}]}], "later": 1.50 }"#;
        let path = "/v1beta/models/vertex/gemini-2.5-flash:generateContent";
        let answered = gateway.request("POST", path, &[("x-goog-api-key", &gateway.key)], body);
        assert_eq!(answered.status, 200, "{}", answered.text());
        assert_eq!(String::from_utf8_lossy(&upstream.sent_to(&url)[0].body), body);
    }
}

#[test]
fn a_key_of_vertexs_is_for_gemini_and_says_its_project_itself() {
    let key = ("VERTEX_API_KEY", "vk");
    let (location, project) = (("VERTEX_LOCATION", "europe-west1"), ("VERTEX_PROJECT", "other"));
    let model = "google/models/gemini-2.5-flash:generateContent";
    let regional = "https://europe-west1-aiplatform.googleapis.com/v1/projects/other/locations/europe-west1";
    let cases: [(&[Setting<'_>], String); 3] = [
        (&[key], format!("https://aiplatform.googleapis.com/v1/publishers/{model}")),
        // There is no place in such an address, so there is one address.
        (&[key, location], format!("https://aiplatform.googleapis.com/v1/publishers/{model}")),
        (&[key, location, project], format!("{regional}/publishers/{model}")),
    ];
    for (settings, url) in cases {
        let gateway = Gateway::with(settings);
        gateway.host.upstream.expect("POST", &url, gemini());
        assert_eq!(chat(&gateway, "vertex/gemini-2.5-flash").status, 200);
        let sent = gateway.host.upstream.sent().remove(0);
        assert_eq!((sent.header("x-goog-api-key"), sent.header("authorization")), ("vk", ""));
        // Claude is not to be had for a key.
        let answered = chat(&gateway, "vertex/claude-sonnet-4-6");
        assert_eq!(answered.status, 404, "{}", answered.text());
        assert!(answered.text().contains("set VERTEX_SERVICE_ACCOUNT."), "{}", answered.text());
    }
    // Who has both gets Claude with the account.
    let gateway = Gateway::with(&[key, ("VERTEX_SERVICE_ACCOUNT", ACCOUNT)]);
    gateway.host.upstream.expect("POST", TOKENS, token("ya29.first"));
    gateway.host.upstream.expect(
        "POST",
        &format!("{GLOBAL}/anthropic/models/claude-sonnet-4-6:rawPredict"),
        claude(),
    );
    assert_eq!(chat(&gateway, "vertex/claude-sonnet-4-6").status, 200);
    assert_eq!(gateway.host.upstream.sent()[1].header("x-goog-api-key"), "");
}

#[test]
fn azures_older_addresses_name_the_deployment() {
    let settings = [
        ("AZURE_API_KEY", "az"),
        ("AZURE_BASE_URL", "https://acme.openai.azure.com/openai/v1"),
        ("AZURE_API_VERSION", "2024-10-21"),
    ];
    let gateway = Gateway::with(&settings);
    let url = "https://acme.openai.azure.com/openai/deployments/prod%20chat/chat/completions?api-version=2024-10-21";
    gateway.host.upstream.always("POST", url, completion("gpt-4o-2024-08-06"));
    assert_eq!(chat(&gateway, "azure/prod chat").status, 200);
    // There are no Responses at these addresses.
    let body = json!({ "model": "azure/prod chat", "input": "Hi" }).to_string();
    let bearer = format!("Bearer {}", gateway.key);
    assert_eq!(gateway.request("POST", "/v1/responses", &[("authorization", &bearer)], body).status, 200);
    for sent in gateway.host.upstream.sent() {
        assert_eq!((sent.header("api-key"), sent.header("authorization")), ("az", ""));
    }
}

#[test]
fn azure_speaks_at_a_deployments_address_too() {
    let settings = [
        ("AZURE_API_KEY", "az"),
        ("AZURE_BASE_URL", "https://acme.openai.azure.com"),
        ("AZURE_API_VERSION", "2025-04-01-preview"),
    ];
    let gateway = Gateway::with(&settings);
    let url =
        "https://acme.openai.azure.com/openai/deployments/voice/audio/speech?api-version=2025-04-01-preview";
    gateway.host.upstream.expect("POST", url, Answer::stream(["sound"]).header("content-type", "audio/mpeg"));
    let bearer = format!("Bearer {}", gateway.key);
    let body = json!({ "model": "azure/voice", "input": "Hi", "voice": "alloy" }).to_string();
    let answered = gateway.request("POST", "/v1/audio/speech", &[("authorization", &bearer)], body);
    assert_eq!((answered.status.as_u16(), answered.text().as_str()), (200, "sound"));
}

#[test]
fn azure_costs_what_the_model_behind_the_deployment_costs() {
    let gateway = Gateway::with(&[
        ("AZURE_API_KEY", "az"),
        ("AZURE_BASE_URL", "https://acme.openai.azure.com/openai/v1"),
    ]);
    let url = "https://acme.openai.azure.com/openai/v1/chat/completions";
    gateway.host.upstream.expect("POST", url, completion("gpt-4o-2024-08-06"));
    let record = chat(&gateway, "azure/prod").record.unwrap();
    assert_eq!((&*record.target_model, record.cost_microusd), ("prod", Some(12_500)));
}

#[test]
fn azures_prompt_filter_results_come_before_the_first_choice() {
    let gateway = Gateway::with(&[
        ("AZURE_API_KEY", "az"),
        ("AZURE_BASE_URL", "https://acme.openai.azure.com/openai/v1"),
    ]);
    let url = "https://acme.openai.azure.com/openai/v1/chat/completions";
    let filter = r#"data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}"#;
    let text = r#"data: {"id":"1","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"},"finish_reason":null}]}"#;
    let end = r#"data: {"id":"1","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let cut = r#"data: {"error":{"message":"The response was filtered.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{}}}}"#;
    let stream = |last: &str| [filter, text, last].map(|event| format!("{event}\n\n"));
    let ask = |last: &[&str]| {
        let chunks: Vec<String> =
            stream(last[0]).into_iter().chain(last[1..].iter().map(|event| format!("{event}\n\n"))).collect();
        gateway.host.upstream.expect("POST", url, Answer::stream(chunks.clone()));
        gateway.host.upstream.expect("POST", url, Answer::stream(chunks.clone()));
        let body = json!({ "model": "azure/prod", "stream": true, "messages": [{ "role": "user", "content": "Hi" }] });
        (gateway.chat(&body), messages(&gateway, "azure/prod", true, &[]), chunks.concat())
    };
    let (forwarded, translated, sent) = ask(&[end, "data: [DONE]"]);
    assert_eq!(forwarded.text(), sent);
    assert!(translated.text().contains(r#""text":"Hello""#) && translated.text().contains("message_stop"));
    assert_eq!(translated.record.unwrap().response_model.as_deref(), Some("gpt-4o-2024-08-06"));
    // A content filter's error inside a stream that was a 200.
    let (forwarded, translated, _) = ask(&[cut]);
    for answered in [forwarded, translated] {
        assert_eq!(answered.status, 200);
        assert_eq!(answered.record.unwrap().error_type.as_deref(), Some("content_filter"));
    }
}

#[test]
fn azures_content_filter_and_its_wait_in_milliseconds_are_understood() {
    let gateway = Gateway::with(&[
        ("AZURE_API_KEY", "az"),
        ("AZURE_BASE_URL", "https://acme.openai.azure.com/openai/v1"),
    ]);
    let url = "https://acme.openai.azure.com/openai/v1/chat/completions";
    let filtered = json!({ "error": { "message": "The prompt triggered the content management policy.", "type": null,
        "param": "prompt", "code": "content_filter", "status": 400, "innererror": {
            "code": "ResponsibleAIPolicyViolation", "content_filter_result": { "hate": { "filtered": true } } } } });
    gateway.host.upstream.expect("POST", url, Answer::json(400, &filtered));
    let answered = chat(&gateway, "azure/prod");
    assert_eq!(
        (answered.status.as_u16(), answered.json()["error"]["code"].clone()),
        (400, json!("content_filter"))
    );
    let busy = json!({ "error": { "code": "429", "message": "Slow down." } });
    gateway.host.upstream.expect("POST", url, Answer::json(429, &busy).header("retry-after-ms", "700"));
    gateway.host.upstream.expect("POST", url, completion("gpt-4o"));
    assert_eq!(chat(&gateway, "azure/prod").status, 200);
    assert_eq!(gateway.host.waits(), [700]);
}

#[test]
fn the_setting_that_is_missing_is_named() {
    let base = ("AZURE_BASE_URL", "https://acme.openai.azure.com/openai/v1");
    let cases: [(&[Setting<'_>], &str, &str); 9] = [
        (&[], "groq/x", "GROQ_API_KEY"),
        (&[], "bedrock/x", "BEDROCK_API_KEY (or BEDROCK_ACCESS_KEY_ID and BEDROCK_SECRET_ACCESS_KEY)"),
        (&[("BEDROCK_ACCESS_KEY_ID", "a")], "bedrock/x", "set BEDROCK_SECRET_ACCESS_KEY."),
        (&[("BEDROCK_SECRET_ACCESS_KEY", "a")], "bedrock/x", "set BEDROCK_ACCESS_KEY_ID."),
        (&[], "azure/x", "set AZURE_BASE_URL."),
        (&[base], "azure/x", "AZURE_API_KEY (or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET)"),
        (&[base, ("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")], "azure/x", "set AZURE_CLIENT_SECRET."),
        (&[], "vertex/gemini-2.5-flash", "VERTEX_API_KEY (or VERTEX_SERVICE_ACCOUNT)"),
        (&[("WORKERS_AI_API_KEY", "k")], "workers-ai/x", "set WORKERS_AI_BASE_URL."),
    ];
    for (settings, model, setting) in cases {
        let answered = chat(&Gateway::with(settings), model);
        assert_eq!(answered.status, 404, "{model}");
        assert!(answered.text().contains(setting), "{model}: {}", answered.text());
    }
    // A key file that is none is the operator's to correct, and is not quoted.
    let answered = chat(
        &Gateway::with(&[("VERTEX_SERVICE_ACCOUNT", "{\"private_key\": 7}")]),
        "vertex/gemini-2.5-flash",
    );
    assert_eq!((answered.status.as_u16(), answered.text().contains("VERTEX_SERVICE_ACCOUNT")), (500, true));
}

#[test]
fn an_alias_names_what_is_missing_for_all_of_its_targets() {
    let gateway = Gateway::default();
    let alias = |targets: &[&str]| {
        gateway.admin(
            "PUT",
            &format!("tenants/{}/aliases/fast", gateway.tenant_id),
            &json!({ "targets": targets }),
        )
    };
    alias(&["groq/a", "bedrock/b", "xai/c"]);
    let text = chat(&gateway, "fast").text();
    for setting in ["GROQ_API_KEY", "BEDROCK_API_KEY", "XAI_API_KEY"] {
        assert!(text.contains(setting), "{text}");
    }
    // What a target that is set up said is more to the point.
    alias(&["openai/a", "groq/b"]);
    gateway.host.upstream.expect(
        "POST",
        tests::OPENAI,
        Answer::json(500, &json!({ "error": { "message": "Ouch." } })),
    );
    let answered = chat(&gateway, "fast");
    assert_eq!(
        (answered.status.as_u16(), answered.text().contains("Ouch.")),
        (502, true),
        "{}",
        answered.text()
    );
}

#[test]
fn a_local_provider_that_is_not_there_is_told_with_the_setting_that_says_where() {
    let gateway = Gateway::default();
    gateway.host.upstream.always("POST", "http://localhost:11434/v1/chat/completions", Answer::unreachable());
    let text = chat(&gateway, "ollama/llama3").text();
    assert!(text.contains("at `localhost:11434`") && text.contains("OLLAMA_BASE_URL"), "{text}");
    // Nothing but host and port: the rest may be secret.
    let url = "http://ann:swordfish@vllm.internal:8000/secret";
    let gateway = Gateway::with(&[("VLLM_BASE_URL", url)]);
    gateway.host.upstream.always("POST", &format!("{url}/chat/completions"), Answer::unreachable());
    let text = chat(&gateway, "vllm/llama3").text();
    assert!(text.contains("at `vllm.internal:8000`") && text.contains("VLLM_BASE_URL"), "{text}");
    assert!(!text.contains("swordfish") && !text.contains("secret"), "{text}");
}

#[test]
fn ollama_answers_callers_of_other_protocols_in_lines_of_json() {
    let gateway = Gateway::default();
    let lines = [
        r#"{"model":"qwen3","message":{"role":"assistant","content":"","thinking":"Hm"},"done":false}"#,
        r#"{"model":"qwen3","message":{"role":"assistant","content":"Hello"},"done":false}"#,
        r#"{"model":"qwen3","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":2}"#,
    ];
    let stream = Answer::stream(lines.map(|line| format!("{line}\n")));
    gateway.host.upstream.expect("POST", "http://localhost:11434/api/chat", stream);
    let answered = messages(&gateway, "ollama/qwen3", true, &[]);
    let text = answered.text();
    for piece in [r#""thinking":"Hm""#, r#""text":"Hello""#, "message_stop"] {
        assert!(text.contains(piece), "{piece}: {text}");
    }
    let record = answered.record.unwrap();
    assert_eq!((record.input_tokens, record.output_tokens), (Some(3), Some(2)));
}
