//! /v1/files and /v1/batches: what a provider keeps, and whose it is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use functions::BodyError;
use gateway::{ports::FetchError, record::Outcome};
use llm::UpstreamError;
use serde_json::{Value, json};
use tests::{Answer, Answered, Gateway};

const FILES: &str = "https://api.openai.com/v1/files";
const BATCHES: &str = "https://api.openai.com/v1/batches";

fn form(purpose: &str, content: &str) -> String {
    format!(
        "--XyZ\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n--XyZ\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{content}\r\n--XyZ--\r\n"
    )
}

fn pieces(form: &str, size: usize) -> Vec<Result<Bytes, BodyError>> {
    form.as_bytes().chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

fn line(model: &str) -> String {
    format!(
        r#"{{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{{"model":"{model}","messages":[]}}}}"#
    )
}

fn file(id: &str, purpose: &str) -> Value {
    json!({ "id": id, "object": "file", "bytes": 9, "created_at": 1, "filename": "a.jsonl", "purpose": purpose })
}

fn batch(id: &str, status: &str, more: Value) -> Value {
    let mut batch = json!({ "id": id, "object": "batch", "status": status, "input_file_id": "file-in" });
    batch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    batch
}

fn upload(gateway: &Gateway, id: &str, purpose: &str, content: &str) -> Answered {
    gateway.host.upstream.expect("POST", FILES, Answer::json(200, &file(id, purpose)));
    gateway.upload("/v1/files", &[], pieces(&form(purpose, content), 50))
}

/// A gateway with a file for a batch.
fn with_file() -> Gateway {
    let gateway = Gateway::with(&[("GROQ_API_KEY", "sk-groq")]);
    assert_eq!(upload(&gateway, "file-in", "batch", &line("openai/gpt-5-mini")).status, 200);
    gateway
}

fn ask(gateway: &Gateway, key: &str, method: &str, path: &str, body: &str) -> Answered {
    gateway.request(method, path, &[("authorization", &format!("Bearer {key}"))], body.to_owned())
}

fn own(gateway: &Gateway, method: &str, path: &str, body: &str) -> Answered {
    ask(gateway, &gateway.key, method, path, body)
}

/// A key of another tenant.
fn stranger(gateway: &Gateway) -> String {
    let tenant = gateway.admin("POST", "tenants", &json!({ "name": "other" })).json();
    let path = format!("tenants/{}/keys", tenant["id"].as_str().unwrap());
    let made = gateway.admin("POST", &path, &json!({ "name": "theirs" })).json();
    made["key"].as_str().unwrap().to_owned()
}

fn create(gateway: &Gateway, key: &str, file: &str) -> Answered {
    let body =
        json!({ "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h" });
    ask(gateway, key, "POST", "/v1/batches", &body.to_string())
}

fn ids(list: &Answered) -> Vec<String> {
    let list = list.json();
    assert_eq!(list["object"], "list");
    list["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_file_goes_on_byte_for_byte_and_is_its_tenants() {
    let gateway = Gateway::default();
    for (size, length) in [(50, 10), (65_536, 3_000_000)] {
        let form = form("user_data", &"x".repeat(length));
        gateway.host.upstream.expect("POST", FILES, Answer::json(200, &file("file-a", "user_data")));
        let answered =
            gateway.upload("/v1/files", &[("content-length", &form.len().to_string())], pieces(&form, size));
        assert_eq!((answered.status.as_u16(), answered.json()), (200, file("file-a", "user_data")));
        assert_eq!(answered.headers["x-hypergate-provider"], "openai");
        let sent = gateway.host.upstream.sent_to(FILES).pop().unwrap();
        assert_eq!(
            (sent.body, sent.headers["authorization"].to_str().unwrap()),
            (form.into(), "Bearer sk-openai")
        );
        let record = answered.record.unwrap();
        assert_eq!((record.operation.as_str(), record.provider_name.as_str()), ("create_file", "openai"));
        assert_eq!((record.outcome, record.tenant_id), (Outcome::Ok, gateway.tenant_id.clone()));
    }
    gateway.host.upstream.expect(
        "GET",
        &format!("{FILES}/file-a"),
        Answer::json(200, &file("file-a", "user_data")),
    );
    assert_eq!(own(&gateway, "GET", "/v1/files/file-a", "").json(), file("file-a", "user_data"));

    let url = format!("{FILES}/file-a/content");
    gateway.host.upstream.expect("GET", &url, Answer::stream(["one", "two"]));
    let answered = own(&gateway, "GET", "/v1/files/file-a/content", "");
    assert_eq!(answered.chunks, ["one", "two"], "as it comes");
    let record = answered.record.unwrap();
    assert_eq!(
        (record.operation.as_str(), record.outcome, record.stream),
        ("file_content", Outcome::Ok, false)
    );
    gateway.host.upstream.expect("GET", &url, Answer::stream(["one"]).breaks(UpstreamError::truncated()));
    let record = own(&gateway, "GET", "/v1/files/file-a/content", "").record.unwrap();
    assert_eq!((record.outcome, record.error_type.as_deref()), (Outcome::Error, Some("upstream_truncated")));

    let gone = json!({ "id": "file-a", "object": "file", "deleted": true });
    gateway.host.upstream.expect("DELETE", &format!("{FILES}/file-a"), Answer::json(200, &gone));
    assert_eq!(own(&gateway, "DELETE", "/v1/files/file-a", "").json(), gone);
    assert_eq!(own(&gateway, "GET", "/v1/files/file-a", "").status, 404);
    gateway.host.upstream.assert_done();
}

#[test]
fn another_tenants_file_batch_and_output_are_not_there() {
    let gateway = with_file();
    let theirs = stranger(&gateway);
    gateway.host.upstream.expect(
        "POST",
        BATCHES,
        Answer::json(200, &batch("batch_1", "validating", json!({}))),
    );
    assert_eq!(create(&gateway, &gateway.key, "file-in").status, 200);
    let done =
        batch("batch_1", "completed", json!({ "output_file_id": "file-out", "error_file_id": "file-err" }));
    gateway.host.upstream.expect("GET", &format!("{BATCHES}/batch_1"), Answer::json(200, &done));
    for id in ["file-out", "file-err"] {
        let url = format!("{FILES}/{id}");
        gateway.host.upstream.expect("GET", &url, Answer::json(200, &file(id, "batch_output")));
    }
    assert_eq!(own(&gateway, "GET", "/v1/batches/batch_1", "").json(), done);
    let before = gateway.host.upstream.sent().len();

    for (method, path) in [
        ("GET", "/v1/files/file-in"),
        ("GET", "/v1/files/file-in/content"),
        ("DELETE", "/v1/files/file-in"),
        ("GET", "/v1/files/file-out"),
        ("GET", "/v1/files/file-out/content"),
        ("GET", "/v1/files/file-err/content"),
        ("GET", "/v1/batches/batch_1"),
        ("POST", "/v1/batches/batch_1/cancel"),
        // Of the tenant's own, but of the other kind.
        ("GET", "/v1/batches/file-in"),
        ("GET", "/v1/files/nobodys"),
    ] {
        let answered = ask(&gateway, &theirs, method, path, "");
        assert_eq!(answered.status, 404, "{method} {path}: {}", answered.text());
        assert_eq!(answered.json()["error"]["code"], "not_found");
    }
    assert_eq!(create(&gateway, &theirs, "file-in").status, 404);
    assert_eq!(gateway.host.upstream.sent().len(), before, "the provider was not even asked");
    assert!(ids(&ask(&gateway, &theirs, "GET", "/v1/files", "")).is_empty());
    assert!(ids(&ask(&gateway, &theirs, "GET", "/v1/batches", "")).is_empty());

    assert_eq!(ids(&own(&gateway, "GET", "/v1/batches", "")), ["batch_1"]);
    let mut files = ids(&own(&gateway, "GET", "/v1/files", ""));
    files.sort();
    assert_eq!(files, ["file-err", "file-in", "file-out"]);
    gateway.host.upstream.expect("GET", &format!("{FILES}/file-out/content"), Answer::stream(["{}"]));
    assert_eq!(own(&gateway, "GET", "/v1/files/file-out/content", "").text(), "{}");
    gateway.host.upstream.assert_done();
}

#[test]
fn a_call_refers_to_the_tenants_own_files_only() {
    let gateway = with_file();
    let theirs = stranger(&gateway);
    let call = |key: &str, id: &str| {
        let file = json!({ "type": "input_file", "file_id": id });
        let body = json!({ "model": "openai/gpt-5", "store": false, "input": [{ "role": "user", "content": [file] }] });
        ask(&gateway, key, "POST", "/v1/responses", &body.to_string())
    };
    for (key, id) in [(theirs.as_str(), "file-in"), (&gateway.key, "file-theirs")] {
        let answered = call(key, id);
        assert_eq!(
            (answered.status.as_u16(), answered.json()["error"]["code"].as_str()),
            (404, Some("not_found"))
        );
    }
    let refusal = json!({ "error": { "message": "It was asked." } });
    gateway.host.upstream.expect("POST", "https://api.openai.com/v1/responses", Answer::json(400, &refusal));
    assert!(call(&gateway.key, "file-in").text().contains("It was asked."));
}

#[test]
fn a_list_has_pages() {
    let gateway = Gateway::default();
    for number in 1..=5 {
        gateway.host.advance(10);
        let purpose = if number == 3 { "vision" } else { "user_data" };
        assert_eq!(upload(&gateway, &format!("file-{number}"), purpose, "x").status, 200);
    }
    let cases = [
        ("", "file-5 file-4 file-3 file-2 file-1", false),
        ("?limit=2", "file-5 file-4", true),
        ("?limit=2&after=file-4", "file-3 file-2", true),
        ("?limit=2&after=file-2", "file-1", false),
        ("?order=asc&limit=2&after=file-1", "file-2 file-3", true),
        ("?purpose=vision", "file-3", false),
        ("?after=nobodys", "", false),
    ];
    for (query, expected, has_more) in cases {
        let list = own(&gateway, "GET", &format!("/v1/files{query}"), "");
        assert_eq!(
            (ids(&list).join(" "), list.json()["has_more"].as_bool()),
            (expected.to_owned(), Some(has_more)),
            "{query}"
        );
    }
    assert_eq!(own(&gateway, "GET", "/v1/files?limit=0", "").status, 400);
    assert_eq!(own(&gateway, "PUT", "/v1/files", "").status, 405);
    assert_eq!(own(&gateway, "GET", "/v1/filesystem", "").status, 404);
}

#[test]
fn the_models_of_a_batchs_lines_become_the_providers_however_they_are_cut() {
    let gateway = Gateway::default();
    let alias = json!({ "targets": ["groq/llama", "openai/gpt-5-mini"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/fast", gateway.tenant_id), &alias);
    let content = [line("openai/gpt-5"), String::new(), line("fast"), line("openai\\/gpt-5")].join("\r\n");
    let expected = [line("gpt-5"), String::new(), line("gpt-5-mini"), line("gpt-5")].join("\r\n");
    let long = format!("{}\n", line("openai/gpt-5")).repeat(20_000);
    let cases = [
        (content.clone(), expected.clone()),
        (content + "\n", expected + "\n"),
        (long.clone(), long.replace("openai/gpt-5", "gpt-5")),
    ];
    for (content, expected) in cases {
        for size in [7, 1_000, 65_536] {
            if content.len() / size > 100_000 {
                continue;
            }
            let form_sent = form("batch", &content);
            gateway.host.upstream.expect("POST", FILES, Answer::json(200, &file("file-in", "batch")));
            let length = form_sent.len().to_string();
            let answered =
                gateway.upload("/v1/files", &[("content-length", &length)], pieces(&form_sent, size));
            assert_eq!(answered.status, 200, "{}", answered.text());
            let sent = gateway.host.upstream.sent_to(FILES).pop().unwrap();
            assert!(sent.body == form("batch", &expected), "in pieces of {size}");
            let told = sent.header("content-length");
            assert!(told.is_empty() || told == sent.body.len().to_string());
        }
    }
}

#[test]
fn a_key_does_not_get_around_its_models_through_a_batch() {
    let mut gateway = Gateway::with(&[("GROQ_API_KEY", "sk-groq")]);
    let all = gateway.key.clone();
    assert_eq!(upload(&gateway, "file-large", "batch", &line("openai/gpt-5")).status, 200);
    let draws = r#""tools":[{"type":"image_generation","model":"gpt-image-2"}],"messages""#;
    let draws = line("openai/gpt-5-mini").replace("\"messages\"", draws);
    assert_eq!(upload(&gateway, "file-draws", "batch", &draws).status, 200);
    gateway.key =
        gateway.new_key(&json!({ "name": "small", "models": ["openai/gpt-5-mini", "openai/gpt-5-nano"] }));
    let before = gateway.host.upstream.sent().len();

    let mini = line("openai/gpt-5-mini");
    let many = format!("{mini}\n").repeat(20_000);
    for (content, status, message) in [
        (line("openai/gpt-5"), 403, "may not use the model `openai/gpt-5`"),
        (format!("{mini}\n{}", line("openai/gpt-5")), 403, "`openai/gpt-5`"),
        // Far behind what is held.
        (format!("{many}{}", line("openai/gpt-5")), 403, "`openai/gpt-5`"),
        (format!("{mini}\n{}", line("gpt-5-mini")), 404, "There is no model `gpt-5-mini`"),
        (format!("{mini}\nnot json"), 400, "Line 2"),
        (format!("{mini}\n{{\"body\":{{}}}}"), 400, "Line 2: Its `body` has no `model`"),
        (mini.replace("\"messages\"", "\"model\":\"gpt-5\",\"messages\""), 400, "`model` occurs twice"),
        (mini.replace("\"messages\"", "\"Model\":\"gpt-5\",\"messages\""), 400, "in another spelling"),
    ] {
        let form = form("batch", &content);
        let answered = gateway.upload(
            "/v1/files",
            &[("content-length", &form.len().to_string())],
            pieces(&form, 65_536),
        );
        assert_eq!(answered.status, status, "{}", answered.text());
        assert!(answered.text().contains(message), "{}", answered.text());
    }
    // A file of another key of the tenant's, and one that was never looked through.
    let answered = create(&gateway, &gateway.key, "file-large");
    assert_eq!(
        (answered.status.as_u16(), answered.json()["error"]["code"].as_str()),
        (403, Some("model_not_allowed"))
    );
    let answered = create(&gateway, &gateway.key, "file-draws");
    assert!(answered.text().contains("`openai/gpt-image-2`"), "{}", answered.text());
    assert_eq!(gateway.host.upstream.sent().len(), before, "no whole request went out");
    assert_eq!(upload(&gateway, "file-unread", "user_data", &line("openai/gpt-5")).status, 200);
    assert_eq!(create(&gateway, &gateway.key, "file-unread").status, 400);

    // Nor does it put anything where it may use nothing.
    let form = form("user_data", "x");
    let answered = gateway.upload("/v1/files", &[("x-hypergate-provider", "groq")], pieces(&form, 50));
    assert_eq!(answered.status, 403, "{}", answered.text());
    gateway.host.upstream.expect(
        "POST",
        BATCHES,
        Answer::json(200, &batch("batch_1", "validating", json!({}))),
    );
    assert_eq!(create(&gateway, &all, "file-large").status, 200);
}

#[test]
fn a_header_names_the_provider_and_everything_else_follows_the_file() {
    let gateway = Gateway::with(&[("GROQ_API_KEY", "sk-groq")]);
    let groq = "https://api.groq.com/openai/v1";
    gateway.host.upstream.expect(
        "POST",
        &format!("{groq}/files"),
        Answer::json(200, &file("file_groq", "batch")),
    );
    let header = [("x-hypergate-provider", "groq")];
    let lines = pieces(&form("batch", &line("groq/llama-3.1-8b-instant")), 50);
    let answered = gateway.upload("/v1/files", &header, lines);
    assert_eq!(answered.status, 200, "{}", answered.text());
    let answer = batch("batch_groq", "validating", json!({}));
    gateway.host.upstream.expect("POST", &format!("{groq}/batches"), Answer::json(200, &answer));
    assert_eq!(create(&gateway, &gateway.key, "file_groq").status, 200);
    gateway.host.upstream.expect(
        "POST",
        &format!("{groq}/batches/batch_groq/cancel"),
        Answer::json(200, &answer),
    );
    assert_eq!(own(&gateway, "POST", "/v1/batches/batch_groq/cancel", "").status, 200);

    let elsewhere = pieces(&form("batch", &line("openai/gpt-5-mini")), 50);
    let answered = gateway.upload("/v1/files", &header, elsewhere);
    assert_eq!(answered.status, 400);
    assert!(answered.text().contains("is none of `groq`, which gets this file"), "{}", answered.text());
    let answered =
        gateway.upload("/v1/files", &[("x-hypergate-provider", "anthropic")], pieces(&form("x", "x"), 50));
    assert_eq!(answered.status, 400);
    assert!(answered.text().contains("azure, groq, openai"), "{}", answered.text());
    let answered =
        gateway.upload("/v1/files", &[("x-hypergate-provider", "azure")], pieces(&form("x", "x"), 50));
    assert_eq!(answered.json()["error"]["code"], "provider_not_configured");
}

#[test]
fn what_a_batch_used_is_recorded_once() {
    let gateway = with_file();
    gateway.host.upstream.expect(
        "POST",
        BATCHES,
        Answer::json(200, &batch("batch_1", "validating", json!({}))),
    );
    let created = create(&gateway, &gateway.key, "file-in").record.unwrap();
    assert_eq!(
        (created.operation.as_str(), created.request_model.as_str()),
        ("create_batch", "openai/gpt-5-mini")
    );
    assert_eq!((created.input_tokens, created.cost_microusd), (None, None));

    let usage = json!({ "input_tokens": 1_000_000, "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": 1_000, "output_tokens_details": { "reasoning_tokens": 10 }, "total_tokens": 1_001_000 });
    let more = json!({ "model": "gpt-5-mini-2025-08-07", "usage": usage });
    let url = format!("{BATCHES}/batch_1");
    for (status, more, is_recorded) in [
        ("in_progress", json!({}), false),
        ("completed", more.clone(), true),
        ("completed", more.clone(), true),
        ("completed", more.clone(), false),
    ] {
        gateway.host.upstream.expect("GET", &url, Answer::json(200, &batch("batch_1", status, more)));
        let answered = own(&gateway, "GET", "/v1/batches/batch_1", "");
        assert_eq!(answered.status, 200);
        assert_eq!(answered.record.is_some(), is_recorded, "{status}");
        gateway.host.advance(if is_recorded { 400_000 } else { 0 });
    }
    let calls = gateway.admin("GET", "calls?limit=50", &Value::Null).json();
    let batches: Vec<&Value> =
        calls["data"].as_array().unwrap().iter().filter(|call| call["operation"] == "batch").collect();
    assert_eq!(batches.len(), 1);
    let call = batches[0];
    assert_eq!((&call["id"], &call["tenant_id"]), (&json!("batch_batch_1"), &json!(gateway.tenant_id)));
    assert_eq!((&call["input_tokens"], &call["output_tokens"]), (&json!(1_000_000), &json!(1_000)));
    assert_eq!(call["response_model"], "gpt-5-mini-2025-08-07");
    // Half of what the same tokens cost at once.
    assert_eq!((&call["service_tier"], &call["cost_microusd"]), (&json!("batch"), &json!(126_000)));
}

#[test]
fn a_providers_refusal_passes_if_it_is_about_what_was_asked() {
    let gateway = with_file();
    let refusal = json!({ "error": { "message": "Too many.", "type": "invalid_request_error", "param": null, "code": null } });
    let url = format!("{FILES}/file-in");
    for (answer, status, shown) in [
        (Answer::json(404, &refusal), 404, "Too many."),
        (Answer::json(400, &refusal), 400, "Too many."),
        (Answer::json(401, &refusal), 502, "credential"),
        (Answer::json(500, &json!({ "error": { "message": "Oops." } })), 502, "openai: Oops."),
        (Answer::text(404, "<html>"), 404, "openai"),
        (Answer::json(200, &json!("no object")), 502, "not JSON"),
        (Answer::unreachable(), 502, "could not be reached"),
    ] {
        gateway.host.upstream.expect("GET", &url, answer);
        let answered = own(&gateway, "GET", "/v1/files/file-in", "");
        assert_eq!(answered.status, status, "{}", answered.text());
        assert!(answered.text().contains(shown), "{}", answered.text());
    }
    gateway.host.upstream.expect("POST", BATCHES, Answer::json(400, &refusal));
    let answered = create(&gateway, &gateway.key, "file-in");
    assert_eq!((answered.status.as_u16(), answered.json()), (400, refusal.clone()));
    assert_eq!(answered.record.unwrap().outcome, Outcome::ClientError);
    // Deleted at the provider already: gone here too.
    gateway.host.upstream.expect("DELETE", &url, Answer::json(404, &refusal));
    assert_eq!(own(&gateway, "DELETE", "/v1/files/file-in", "").status, 404);
    assert!(ids(&own(&gateway, "GET", "/v1/files", "")).is_empty());
}

#[test]
fn a_batch_costs_what_was_set_for_the_model_that_was_asked_for() {
    let gateway = Gateway::default();
    let alias = json!({ "targets": ["groq/llama", "openai/gpt-5-mini"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/fast", gateway.tenant_id), &alias);
    let rates = json!({ "input_tokens": 14_000_000, "output_tokens": 0 });
    let price = json!({ "microusd_per_million": rates, "service_tier_percent": { "batch": 50 } });
    let path = format!("tenants/{}/prices/openai/gpt-5-mini", gateway.tenant_id);
    assert_eq!(gateway.admin("PUT", &path, &price).status, 200);
    let usage = json!({ "input_tokens": 100, "output_tokens": 10, "total_tokens": 110 });
    let more = json!({ "model": "gpt-5-mini-2025-08-07", "usage": usage });
    for (number, asked) in ["openai/gpt-5-mini", "fast"].into_iter().enumerate() {
        let (file, id) = (format!("file-{number}"), format!("batch_{number}"));
        assert_eq!(upload(&gateway, &file, "batch", &line(asked)).status, 200);
        gateway.host.upstream.expect(
            "POST",
            BATCHES,
            Answer::json(200, &batch(&id, "validating", json!({}))),
        );
        assert_eq!(create(&gateway, &gateway.key, &file).status, 200);
        // Its file may be gone by then, and whoever looks may be another key.
        gateway.host.upstream.expect("DELETE", &format!("{FILES}/{file}"), Answer::json(200, &json!({})));
        own(&gateway, "DELETE", &format!("/v1/files/{file}"), "");
        let other = gateway.new_key(&json!({ "name": "other", "models": ["demo/*"] }));
        let done = Answer::json(200, &batch(&id, "completed", more.clone()));
        gateway.host.upstream.expect("GET", &format!("{BATCHES}/{id}"), done);
        let record = ask(&gateway, &other, "GET", &format!("/v1/batches/{id}"), "").record.unwrap();
        assert_eq!((record.request_model.as_str(), record.target_model.as_str()), (asked, "gpt-5-mini"));
        assert_eq!(record.response_model.as_deref(), Some("gpt-5-mini-2025-08-07"));
        assert_eq!(record.cost_microusd, Some(700));
        assert!(record.price_version.starts_with("tenant:"), "{}", record.price_version);
    }
}

#[test]
fn a_download_that_fails_is_on_record() {
    let gateway = with_file();
    let url = format!("{FILES}/file-in/content");
    let refusal = json!({ "error": { "message": "Gone.", "type": "invalid_request_error" } });
    let oops = json!({ "error": { "message": "Oops." } });
    for (answer, status, error_type, upstream) in [
        (Answer::json(404, &refusal), 404, "invalid_request", Some(404)),
        (Answer::json(500, &oops), 502, "upstream_error", Some(500)),
        (Answer::json(401, &oops), 502, "upstream_auth", Some(401)),
        (Answer::error(FetchError::Timeout), 504, "upstream_timeout", None),
        (Answer::unreachable(), 502, "upstream_unreachable", None),
        (Answer::error(FetchError::HungUp), 499, "caller_hung_up", None),
    ] {
        gateway.host.upstream.expect("GET", &url, answer);
        let answered = own(&gateway, "GET", "/v1/files/file-in/content", "");
        assert_eq!(answered.status, status, "{}", answered.text());
        assert!(answered.headers.contains_key("x-hypergate-call-id"));
        let record = answered.record.unwrap();
        assert_eq!((record.operation.as_str(), record.status), ("file_content", status));
        assert_eq!(record.error_type.as_deref(), Some(error_type));
        assert_eq!(record.tenant_id, gateway.tenant_id);
        assert_eq!(record.attempts[0].status, upstream, "{error_type}");
    }
    let record = own(&gateway, "GET", "/v1/files/file-theirs/content", "").record.unwrap();
    assert_eq!((record.status, record.error_type.as_deref()), (404, Some("not_found")));
    // Nothing is in it, and that is no failure.
    gateway.host.upstream.expect("GET", &url, Answer::text(200, ""));
    let answered = own(&gateway, "GET", "/v1/files/file-in/content", "");
    assert_eq!((answered.status.as_u16(), answered.text().as_str()), (200, ""));
    assert_eq!(answered.record.unwrap().outcome, Outcome::Ok);
}

#[test]
fn a_batch_is_not_made_from_storage_nobody_has_looked_through() {
    let gateway = with_file();
    let body =
        json!({ "input_file_id": "file-in", "input_blob": "https://e.blob.core.windows.net/c/a.jsonl" });
    let answered = own(&gateway, "POST", "/v1/batches", &body.to_string());
    assert_eq!((answered.status.as_u16(), &answered.json()["error"]["param"]), (400, &json!("input_blob")));
}
