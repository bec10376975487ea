//! What of a caller's headers a provider sees: versions and betas that are on its list, and nothing else.

use http::StatusCode;
use serde_json::json;
use tests::{Answer, Gateway};

/// What official clients send unasked, what would choose an account or a project, and what is nobody's business.
const OTHERS: [(&str, &str); 13] = [
    ("openai-organization", "org-callers"),
    ("openai-project", "proj-callers"),
    ("openai-beta", "assistants=v2, realtime=v1"),
    ("anthropic-version", "2026-10-21"),
    ("anthropic-beta", "context-1m-2025-08-07,files-api-2025-04-14"),
    ("anthropic-dangerous-direct-browser-access", "true"),
    ("x-goog-user-project", "callers"),
    ("x-goog-api-client", "google-genai-sdk/3.1.0 gl-node/22"),
    ("x-goog-request-params", "model=x"),
    ("x-amzn-bedrock-guardrailidentifier", "g-1"),
    ("x-stainless-lang", "js"),
    ("cookie", "session=1"),
    ("http-referer", "https://caller.example"),
];

const SETTINGS: [(&str, &str); 8] = [
    ("AZURE_API_KEY", "az"),
    ("AZURE_BASE_URL", "https://acme.openai.azure.com/openai/v1"),
    ("BEDROCK_API_KEY", "bk"),
    ("COHERE_API_KEY", "co"),
    ("GEMINI_API_KEY", "gk"),
    ("GROQ_API_KEY", "gq"),
    ("MISTRAL_API_KEY", "mi"),
    ("VERTEX_API_KEY", "vk"),
];

#[test]
fn of_a_callers_headers_a_provider_sees_what_is_on_its_list() {
    let said = json!([{ "role": "user", "content": "Hi" }]);
    let chat = |model: &str| ("/v1/chat/completions".to_owned(), json!({ "model": model, "messages": said }));
    let messages = |model: &str| {
        ("/v1/messages".to_owned(), json!({ "model": model, "max_tokens": 9, "messages": said }))
    };
    let gemini = |model: &str| {
        let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "Hi" }] }] });
        (format!("/v1beta/models/{model}:generateContent"), body)
    };
    let converse = |model: &str| {
        let body = json!({ "messages": [{ "role": "user", "content": [{ "text": "Hi" }] }] });
        (format!("/model/{}/converse", model.replace('/', "%2F")), body)
    };
    let claudes = "anthropic-beta: context-1m-2025-08-07,files-api-2025-04-14";
    let openais = "openai-beta: assistants=v2,realtime=v1";
    let cohere = ("/v2/chat".to_owned(), json!({ "model": "cohere/command-a", "messages": said }));
    // What is asked; the gateway's own credential; the betas that go along.
    let cases = [
        (chat("openai/gpt-5-mini"), "authorization: Bearer sk-openai", openais),
        (chat("azure/prod"), "api-key: az", ""),
        (chat("groq/llama"), "authorization: Bearer gq", ""),
        (chat("mistral/mistral-small-latest"), "authorization: Bearer mi", ""),
        (messages("anthropic/claude-haiku-4-5"), "x-api-key: sk-anthropic", claudes),
        (chat("anthropic/claude-haiku-4-5"), "x-api-key: sk-anthropic", ""),
        // Version and betas are in the body there.
        (messages("bedrock/anthropic.claude-haiku-4-5"), "authorization: Bearer bk", ""),
        (converse("bedrock/amazon.nova-lite-v1:0"), "authorization: Bearer bk", ""),
        (gemini("gemini/gemini-2.5-flash"), "x-goog-api-key: gk", ""),
        (gemini("vertex/gemini-2.5-flash"), "x-goog-api-key: vk", ""),
        (cohere, "authorization: Bearer co", ""),
        (messages("openai/gpt-5-mini"), "authorization: Bearer sk-openai", ""),
    ];
    for ((path, body), credential, betas) in cases {
        let gateway = Gateway::with(&SETTINGS);
        // Any answer will do, and one that is a refusal is the same for all.
        gateway.host.upstream.anything(Answer::json(400, &json!({ "error": { "message": "No." } })));
        let bearer = format!("Bearer {}", gateway.key);
        let headers: Vec<_> = [("authorization", bearer.as_str())].into_iter().chain(OTHERS).collect();
        let answered = gateway.request("POST", &path, &headers, body.to_string());
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{path} {body}: {}", answered.text());
        let sent = gateway.host.upstream.sent().remove(0);
        // The gateway says who it is, and by what name to find the call again.
        let is_ours = |name: &&http::HeaderName| !["traceparent", "user-agent"].contains(&name.as_str());
        let names = sent.headers.keys().filter(is_ours);
        let mut lines: Vec<String> =
            names.map(|name| format!("{name}: {}", sent.header(name.as_str()))).collect();
        assert_eq!(sent.header("user-agent"), "hypergate/0.1.0");
        lines.sort();
        // Anthropic requires a version: the caller's, where the caller speaks its protocol.
        let version = match (credential, betas) {
            ("x-api-key: sk-anthropic", "") => "anthropic-version: 2023-06-01",
            ("x-api-key: sk-anthropic", _) => "anthropic-version: 2026-10-21",
            _ => "",
        };
        let mut expected: Vec<_> = ["content-type: application/json", credential, betas, version]
            .into_iter()
            .filter(|line| !line.is_empty())
            .collect();
        expected.sort_unstable();
        assert_eq!(lines, expected, "{path} {body}");
    }
}

/// A socket's opening is a request like any other.
#[test]
fn a_conversation_is_opened_with_the_betas_of_its_provider() {
    for (settings, model, url, betas) in [
        (
            &[][..],
            "openai/gpt-realtime",
            "https://api.openai.com/v1/realtime?model=gpt-realtime",
            "realtime=v1",
        ),
        (&[("XAI_API_KEY", "xk")][..], "xai/grok-voice", "https://api.x.ai/v1/realtime?model=grok-voice", ""),
    ] {
        let gateway = Gateway::with(settings);
        let created = json!({ "type": "session.created", "session": { "model": "x" } }).to_string();
        gateway.host.upstream.expect("GET", url, Answer::stream([String::new(), created]).status(101));
        let bearer = format!("Bearer {}", gateway.key);
        let headers = [
            ("authorization", bearer.as_str()),
            ("upgrade", "websocket"),
            ("openai-beta", "realtime=v1"),
            ("openai-organization", "org-callers"),
        ];
        let answered = gateway.request("GET", &format!("/v1/realtime?model={model}"), &headers, "");
        assert_eq!(answered.status, 101, "{}", answered.text());
        let sent = gateway.host.upstream.sent().remove(0);
        assert_eq!((sent.header("openai-beta"), sent.header("openai-organization")), (betas, ""), "{model}");
    }
}
