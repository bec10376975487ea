//! What routes answer is what the OpenAPI document says they do, field by field.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::fs;

use gateway::ports::Clock as _;
use serde_json::{Value, json};
use tests::{Gateway, block_on};

fn document() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// What of the value the schema does not say, or says otherwise. A field that is not listed is wrong, whatever the
/// schema says of others: a client can use only what it is told of.
fn wrong(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.strip_prefix('#').unwrap()).unwrap();
        return wrong(document, schema, value, at, found);
    }
    if let Some(any) = schema["oneOf"].as_array() {
        let fits = |schema: &Value| {
            let mut found = Vec::new();
            wrong(document, schema, value, at, &mut found);
            found.is_empty()
        };
        if !any.iter().any(fits) {
            found.push(format!("{at} is {value}, which is none of what it may be"));
        }
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |word: &&str| match *word {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        other => panic!("{at}: a type {other}"),
    };
    if !types.is_empty() && !types.iter().any(is) {
        found.push(format!("{at} is {value}, not {types:?}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{at} is {value}, none of {words:?}"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        wrong(document, &schema["items"], item, &format!("{at}[{index}]"), found);
    }
    let Some(fields) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap()) {
            found.push(format!("{at} has no {name}"));
        }
    }
    let Some(known) = schema["properties"].as_object() else { return };
    for (name, value) in fields {
        match known.get(name) {
            Some(schema) => wrong(document, schema, value, &format!("{at}.{name}"), found),
            None => found.push(format!("{at}.{name} is not listed")),
        }
    }
}

#[test]
fn what_is_answered_is_what_the_document_says() {
    let document = document();
    let gateway = Gateway::default();
    let (tenant, hook) = (&gateway.tenant_id, "https://hooks.example/x");
    let ask = |model: &str| json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }] });
    let answered = gateway.chat(&ask("demo/echo"));
    gateway.chat(&ask("demo/fail"));
    gateway.chat_with("hg_nobody", &[], ask("demo/echo").to_string());
    block_on(functions::tick(gateway.host.now_ms(), &gateway.host)).unwrap();
    gateway.host.upstream.always("POST", hook, tests::Answer::text(200, "ok"));
    let slack = json!({ "name": "team", "kind": "slack", "url": hook });
    let made = gateway.admin("POST", "receivers", &slack).json();
    let receiver = made["id"].as_str().unwrap().to_owned();
    let call = answered.record.as_ref().unwrap().id.clone();
    let key = format!("/tenants/{tenant}/keys");
    let aliases = format!("/tenants/{tenant}/aliases");
    let routes = [
        (
            "PUT",
            "/tenants/{tenant}/aliases/{alias}",
            format!("{aliases}/fast"),
            json!({ "targets": ["demo/echo"] }),
        ),
        ("GET", "/tenants/{tenant}/aliases", aliases, Value::Null),
        ("GET", "/tenants", "/tenants".to_owned(), Value::Null),
        ("GET", "/tenants/{tenant}", format!("/tenants/{tenant}"), Value::Null),
        ("GET", "/tenants/{tenant}/keys", key, Value::Null),
        ("GET", "/calls", "/calls".to_owned(), Value::Null),
        ("GET", "/calls/{call}", format!("/calls/{call}"), Value::Null),
        ("GET", "/metrics", "/metrics".to_owned(), Value::Null),
        (
            "GET",
            "/metrics",
            "/metrics?grain=hour&by=tenant,route,provider,model,outcome".to_owned(),
            Value::Null,
        ),
        ("GET", "/metrics", "/metrics?grain=day&by=error,tenant".to_owned(), Value::Null),
        ("GET", "/metrics", "/metrics?by=key".to_owned(), Value::Null),
        ("GET", "/metrics", "/metrics?by=release".to_owned(), Value::Null),
        ("POST", "/receivers/{receiver}/test", format!("/receivers/{receiver}/test"), Value::Null),
        ("PATCH", "/receivers/{receiver}", format!("/receivers/{receiver}"), json!({ "enabled": false })),
        ("GET", "/receivers", "/receivers".to_owned(), Value::Null),
        ("GET", "/receivers/{receiver}/deliveries", format!("/receivers/{receiver}/deliveries"), Value::Null),
        ("GET", "/rules", "/rules".to_owned(), Value::Null),
        ("GET", "/alerts", "/alerts".to_owned(), Value::Null),
        ("GET", "/prices", "/prices".to_owned(), Value::Null),
    ];
    for (method, template, path, body) in routes {
        let answered = gateway.admin(method, path.trim_start_matches('/'), &body);
        assert!(answered.status.is_success(), "{method} {path}: {}", answered.text());
        let operation = &document["paths"][format!("/admin/v1{template}")][method.to_lowercase()];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {template}");
        let mut found = Vec::new();
        wrong(&document, schema, &answered.json(), "answer", &mut found);
        found.sort();
        found.dedup();
        assert!(found.is_empty(), "{method} {path}: {found:#?}");
    }
}

#[test]
fn a_key_may_come_wherever_the_document_says() {
    let document = document();
    let gateway = Gateway::default();
    let body =
        json!({ "model": "demo/echo", "max_tokens": 9, "messages": [{ "role": "user", "content": "Hi" }] });
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/embeddings", "/v2/chat"] {
        for scheme in document["paths"][path]["post"]["security"].as_array().unwrap() {
            let name = scheme.as_object().unwrap().keys().next().unwrap();
            let scheme = &document["components"]["securitySchemes"][name];
            let (header, value, path) = match (&scheme["in"], &scheme["name"]) {
                (Value::String(place), Value::String(name)) if place == "query" => {
                    ("x-unused", String::new(), format!("{path}?{name}={}", gateway.key))
                }
                (Value::String(_), Value::String(name)) => {
                    (name.as_str(), gateway.key.clone(), path.to_owned())
                }
                _ => ("authorization", format!("Bearer {}", gateway.key), path.to_owned()),
            };
            let answered = gateway.request("POST", &path, &[(header, &value)], body.to_string());
            assert_ne!(answered.status, 401, "{path} {header}");
        }
    }
}
