//! The lists of models: three protocols' shapes, by caller.

use serde_json::{Value, json};
use tests::Gateway;

const ANTHROPIC: (&str, &str) = ("x-api-key", "");
const GOOGLE: (&str, &str) = ("x-goog-api-key", "");
const OPENAI: (&str, &str) = ("authorization", "Bearer ");

fn get(gateway: &Gateway, path: &str, (header, prefix): (&str, &str)) -> (u16, Value) {
    let answered = gateway.request("GET", path, &[(header, &format!("{prefix}{}", gateway.key))], "");
    (answered.status.as_u16(), answered.json())
}

fn gateway() -> Gateway {
    let keys = ["BEDROCK", "GEMINI", "GROQ", "VERTEX"].map(|name| format!("{name}_API_KEY"));
    let gateway = Gateway::with(&keys.each_ref().map(|name| (name.as_str(), "test-key")));
    let path = format!("tenants/{}/aliases/fast", gateway.tenant_id);
    gateway.admin("PUT", &path, &json!({ "targets": ["openai/gpt-4o", "openai/o3-mini"] }));
    gateway
}

#[test]
fn a_model_is_described_in_the_callers_words() {
    let gateway = gateway();
    for (path, key, expected) in [
        (
            "/v1/models/openai%2Fgpt-4o",
            OPENAI,
            json!({
                "id": "openai/gpt-4o", "object": "model", "created": 0, "owned_by": "openai", "kind": "chat",
                "context_window": 128_000, "max_output_tokens": 16_384,
                "supports": ["tools", "json_schema", "image_input", "file_input"],
            }),
        ),
        (
            "/v1/models/fast",
            OPENAI,
            json!({
                "id": "fast", "object": "model", "created": 0, "owned_by": "hypergate", "kind": "chat",
                "context_window": 128_000, "max_output_tokens": 16_384, "supports": ["tools", "json_schema"],
            }),
        ),
        (
            "/v1/models/openai/of-tomorrow",
            OPENAI,
            json!({ "id": "openai/of-tomorrow", "object": "model", "created": 0, "owned_by": "openai" }),
        ),
        (
            "/v1/models/openai/o3-mini",
            ANTHROPIC,
            json!({
                "type": "model", "id": "openai/o3-mini", "display_name": "openai/o3-mini",
                "created_at": "1970-01-01T00:00:00Z", "max_input_tokens": 200_000, "max_tokens": 100_000,
                "capabilities": null, "line": null, "deprecated_at": null, "lifecycle": "active",
                "retires_at": "2026-10-23T00:00:00Z",
            }),
        ),
        (
            "/v1beta/models/gemini/gemini-2.5-flash",
            GOOGLE,
            json!({
                "name": "models/gemini/gemini-2.5-flash", "displayName": "gemini/gemini-2.5-flash",
                "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
            }),
        ),
    ] {
        assert_eq!(get(&gateway, path, key), (200, expected), "{path}");
    }
}

#[test]
fn only_who_counts_tokens_is_said_to() {
    let gateway = gateway();
    let alias = format!("tenants/{}/aliases/either", gateway.tenant_id);
    gateway.admin("PUT", &alias, &json!({ "targets": ["groq/llama-3.3-70b-versatile", "openai/gpt-4o"] }));
    let both = json!(["generateContent", "countTokens"]);
    for (name, expected) in [
        ("gemini/gemini-2.5-flash", &both),
        ("anthropic/claude-haiku-4-5", &both),
        ("openai/gpt-4o", &both),
        ("either", &both),
        ("bedrock/us.anthropic.claude-sonnet-4-6", &both),
        ("bedrock/amazon.nova-pro-v1:0", &json!(["generateContent"])),
        ("vertex/gemini-2.5-flash", &json!(["generateContent"])),
        ("groq/llama-3.3-70b-versatile", &json!(["generateContent"])),
        ("demo/echo", &json!(["generateContent"])),
        ("openai/text-embedding-3-small", &json!([])),
    ] {
        let (status, body) = get(&gateway, &format!("/v1beta/models/{name}"), GOOGLE);
        assert_eq!((status, &body["supportedGenerationMethods"]), (200, expected), "{name}");
    }
}

#[test]
fn pages_follow_each_other_to_the_end() {
    let gateway = gateway();
    let (mut by_anthropic, mut by_google) = (Vec::new(), Vec::new());
    let mut path = "/v1/models?limit=7".to_owned();
    loop {
        let (status, page) = get(&gateway, &path, ANTHROPIC);
        assert_eq!(status, 200, "{page}");
        let ids: Vec<String> =
            page["data"].as_array().expect("a list").iter().map(|model| word(&model["id"])).collect();
        assert_eq!((&page["first_id"], &page["last_id"]), (&json!(ids.first()), &json!(ids.last())));
        by_anthropic.extend(ids);
        if page["has_more"] == false {
            break;
        }
        path = format!("/v1/models?limit=7&after_id={}", word(&page["last_id"]).replace('/', "%2F"));
    }
    path = "/v1beta/models?pageSize=7".to_owned();
    loop {
        let (status, page) = get(&gateway, &path, GOOGLE);
        assert_eq!(status, 200, "{page}");
        let models = page["models"].as_array().expect("a list");
        by_google.extend(models.iter().map(|model| word(&model["name"]).replacen("models/", "", 1)));
        let Some(token) = page["nextPageToken"].as_str() else { break };
        path = format!("/v1beta/models?pageSize=7&pageToken={token}");
    }
    assert!(by_anthropic.len() > 100, "{}", by_anthropic.len());
    assert_eq!(by_anthropic, by_google);
    for name in ["fast", "demo/echo", "openai/gpt-4o", "anthropic/claude-haiku-4-5"] {
        assert!(by_google.iter().any(|known| known == name), "{name}");
    }
    for name in ["openai/text-embedding-3-small", "openai/whisper-1"] {
        assert!(!by_google.iter().any(|known| known == name), "{name} cannot chat");
    }
    let before = format!("/v1/models?limit=2&before_id={}", by_anthropic[3].replace('/', "%2F"));
    let (_, page) = get(&gateway, &before, ANTHROPIC);
    assert_eq!(
        [&page["first_id"], &page["last_id"], &page["has_more"]],
        [&json!(by_anthropic[1]), &json!(by_anthropic[2]), &json!(true)]
    );
}

fn word(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

#[test]
fn a_refusal_is_in_the_callers_shape() {
    let gateway = gateway();
    for (path, key, status, message, says) in [
        ("/v1/models/nobody/nothing", OPENAI, 404, "/error/message", "nobody/nothing"),
        ("/v1/models/nobody/nothing", ANTHROPIC, 404, "/error/message", "nobody/nothing"),
        ("/v1beta/models/nobody/nothing", GOOGLE, 404, "/error/message", "nobody/nothing"),
        ("/v1/models?limit=0", ANTHROPIC, 400, "/error/message", "`limit` must be"),
        ("/v1/models?after_id=nobody", ANTHROPIC, 400, "/error/message", "`after_id` must be"),
        ("/v1beta/models?pageSize=many", GOOGLE, 400, "/error/message", "`pageSize` must be"),
        ("/v1beta/models?pageToken=99999999", GOOGLE, 400, "/error/message", "`pageToken` must be"),
    ] {
        let (found, body) = get(&gateway, path, key);
        assert_eq!(found, status, "{path}: {body}");
        assert!(body.pointer(message).is_some_and(|text| word(text).contains(says)), "{path}: {body}");
        let own = match key {
            ANTHROPIC => body["type"] == "error",
            GOOGLE => body["error"]["status"].is_string(),
            _ => body["error"]["code"].is_string(),
        };
        assert!(own, "{path}: {body}");
    }
}

#[test]
fn what_cannot_be_called_is_not_there() {
    let gateway = Gateway::default();
    for (alias, target) in [("lost", "groq/llama-3.3-70b-versatile"), ("here", "ollama/llama3")] {
        let path = format!("tenants/{}/aliases/{alias}", gateway.tenant_id);
        gateway.admin("PUT", &path, &json!({ "targets": [target] }));
    }
    let (_, listed) = get(&gateway, "/v1/models", OPENAI);
    let names: Vec<String> =
        listed["data"].as_array().expect("a list").iter().map(|model| word(&model["id"])).collect();
    for (name, status) in [
        ("here", 200),
        ("openai/gpt-4o", 200),
        ("demo/echo", 200),
        ("lost", 404),
        ("groq/llama-3.3-70b-versatile", 404),
        ("gemini/gemini-2.5-flash", 404),
        ("bedrock/amazon.nova-pro-v1:0", 404),
        ("azure/gpt-4o", 404),
        ("demo/nope", 404),
    ] {
        let (found, body) = get(&gateway, &format!("/v1/models/{name}"), OPENAI);
        assert_eq!(found, status, "{name}: {body}");
        assert_eq!(names.iter().any(|known| known == name), status == 200, "{name}");
    }
    // An access key is as good as a key.
    let aws = Gateway::with(&[("BEDROCK_ACCESS_KEY_ID", "AKIA"), ("BEDROCK_SECRET_ACCESS_KEY", "secret")]);
    assert_eq!(get(&aws, "/v1/models/bedrock/amazon.nova-pro-v1:0", OPENAI).0, 200);
    // A key of Vertex is for Gemini alone.
    let vertex = Gateway::with(&[("VERTEX_API_KEY", "test-key")]);
    assert_eq!(get(&vertex, "/v1/models/vertex/gemini-2.5-flash", OPENAI).0, 200);
    assert_eq!(get(&vertex, "/v1/models/vertex/claude-sonnet-4-6", OPENAI).0, 404);
}

#[test]
fn models_are_where_the_clients_of_groq_and_azure_look() {
    let gateway = gateway();
    assert_eq!(get(&gateway, "/openai/v1/models", OPENAI), get(&gateway, "/v1/models", OPENAI));
    assert_eq!(get(&gateway, "/openai/v1/models/openai/gpt-4o", OPENAI).1["id"], "openai/gpt-4o");
}
