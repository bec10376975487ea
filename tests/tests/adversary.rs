//! What a hostile reading found. Each test fails as long as its finding stands.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use gateway::{
    journal,
    payload::{Capture, Mode},
    record::Record,
};
use http::HeaderMap;
use serde_json::{Value, json};
use tests::{Answer, Fault, Gateway, MemoryHost, OPENAI, Watch, block_on, watch};

/// Records of one message, the first of which the database refuses.
fn with_a_bad_one(count: i64) -> Vec<Record> {
    let mut records: Vec<Record> =
        (0..count).map(|at| watch::record("tn_a", 1_767_225_600_000 + at * 1_000)).collect();
    records[0].input_tokens = Some(u64::MAX);
    records
}

fn stored(host: &MemoryHost) -> i64 {
    host.db.sql("SELECT count(*) AS n FROM calls", &[])[0]["n"].as_i64().unwrap()
}

#[test]
fn a_hiccup_while_a_batch_is_looked_through_loses_nothing() {
    for hiccup in 0..12 {
        let host = MemoryHost::new();
        let messages = journal::messages(&with_a_bad_one(4), 0, "loss_1");
        host.db.fail_batch(hiccup, Fault::BeforeBegin);
        // As a queue does: again, until it is taken.
        let mut tries = 0;
        while block_on(journal::consume(&host, &messages)).is_err() {
            tries += 1;
            assert!(tries < 5, "batch {hiccup} fails: never taken");
        }
        assert_eq!(stored(&host), 3, "batch {hiccup} fails");
    }
}

#[test]
fn a_database_that_goes_away_in_the_middle_loses_nothing() {
    for moment in 0..12 {
        let host = MemoryHost::new();
        let messages = journal::messages(&with_a_bad_one(4), 0, "loss_1");
        host.db.die_at_batch(moment, Fault::BeforeBegin);
        if block_on(journal::consume(&host, &messages)).is_err() {
            host.db.revive();
            block_on(journal::consume(&host, &messages)).unwrap();
        }
        host.db.revive();
        assert_eq!(stored(&host), 3, "dead from batch {moment} on");
    }
}

#[test]
fn a_callers_headers_cannot_make_a_record_too_large_to_keep() {
    let mut headers = HeaderMap::new();
    for at in 0..3 {
        let name = format!("x-{at}-{}", "a".repeat(60_000));
        headers.insert(name.parse::<http::HeaderName>().unwrap(), "1".parse().unwrap());
    }
    let mut record = watch::record("tn_a", 1_767_225_600_000);
    record.payload = Capture::begin(Mode::Full, 32_768, &headers, b"{}").map(Capture::finish);
    let messages = journal::messages(&[record], 0, "loss_1");
    let message: Value = serde_json::from_str(&messages[0]).unwrap();
    assert_eq!((&message["lost"], message["entries"].as_array().unwrap().len()), (&json!(0), 1));
}

#[test]
fn a_caller_cannot_make_metrics_of_models_nobody_confirmed() {
    let gateway = Gateway::default();
    let bad =
        json!({ "error": { "message": "Invalid model.", "type": "invalid_request_error", "code": null } });
    gateway.host.upstream.always("POST", OPENAI, Answer::json(400, &bad));
    for model in ["groq/made-up-1", "openai/made-up-2", "anthropic/made-up-3"] {
        // Anthropic: refused while it is translated, before anybody saw the name.
        gateway.chat(&json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }], "n": 2 }));
    }
    gateway.host.advance(120_000);
    gateway.request("POST", "/internal/tick", &[("authorization", "Bearer tick-token")], "");
    let rows = gateway.host.db.sql("SELECT DISTINCT model FROM rollups WHERE model LIKE 'made-up%'", &[]);
    assert_eq!(rows, Vec::<Value>::new());
}

#[test]
fn a_caller_cannot_raise_the_error_share_by_naming_a_provider_that_is_not_set_up() {
    let gateway = Gateway::default();
    let answered =
        gateway.chat(&json!({ "model": "groq/x", "messages": [{ "role": "user", "content": "Hi" }] }));
    let record = answered.record.unwrap();
    assert_ne!(record.outcome, gateway::record::Outcome::Error, "{}", record.status);
}

#[test]
fn headers_that_give_access_are_not_kept_whatever_their_name() {
    let mut headers = HeaderMap::new();
    for name in [
        "cf-access-jwt-assertion",
        "x-goog-iap-jwt-assertion",
        "x-amzn-oidc-data",
        "x-forwarded-client-cert",
        "x-ms-client-principal",
        "dpop",
    ] {
        headers.insert(name, "opens-doors".parse().unwrap());
    }
    let payload = Capture::begin(Mode::Full, 1_000, &headers, b"{}").unwrap().finish();
    assert!(!payload.request_headers.contains("opens-doors"), "{}", payload.request_headers);
}

#[test]
fn redacted_keeps_no_words_of_metadata() {
    let request = json!({
        "model": "fast", "messages": [{ "role": "user", "name": "ann@example.org", "content": "Hi" }],
        "metadata": { "name": "Ann Smith", "id": "AT61 1904 3002 3457 3201", "code": "4711", "detail": "diabetes" },
    });
    let kept = Capture::begin(Mode::Redacted, 10_000, &HeaderMap::new(), request.to_string().as_bytes())
        .unwrap()
        .finish();
    for word in ["Ann Smith", "AT61", "4711", "diabetes", "ann@"] {
        assert!(!kept.request.contains(word), "{word} in {}", kept.request);
    }
}

#[test]
fn a_model_cannot_be_named_twice_by_writing_it_in_capitals() {
    let gateway = Gateway::with(&[("OLLAMA_BASE_URL", "http://localhost:11434/v1")]);
    let key = gateway.new_key(&json!({ "name": "narrow", "models": ["ollama/allowed"] }));
    let url = "http://localhost:11434/v1/chat/completions";
    gateway.host.upstream.always("POST", url, Answer::json(404, &json!({})));
    let body = r#"{"model":"ollama/allowed","messages":[],"MODEL":"forbidden"}"#;
    gateway.chat_with(&key, &[], body);
    let sent = gateway.host.upstream.sent_to(url);
    assert!(
        sent.iter().all(|sent| !sent.json().to_string().contains("forbidden")),
        "it reached the provider"
    );
}

#[test]
fn an_alert_of_silence_ends_when_its_tenant_is_shut_out() {
    let mut watch = Watch::as_shipped();
    watch.play("60s 10_");
    let open = "SELECT id FROM episodes WHERE resolved_ms IS NULL AND rule_id = 'no-calls'";
    assert_eq!(watch.host.db.sql(open, &[]).len(), 1);
    watch.host.db.sql("UPDATE tenants SET disabled_ms = 1 WHERE id = 'tn_a'", &[]);
    watch.play("3_");
    assert_eq!(watch.host.db.sql(open, &[]).len(), 0);
}

#[test]
fn a_clock_that_was_ahead_once_does_not_stop_the_watch() {
    let mut watch = Watch::as_shipped();
    watch.play("2s");
    let ahead_ms = watch.minute_ms() + 400 * 86_400_000;
    block_on(gateway::tick::tick(&*watch.host, ahead_ms)).unwrap();
    let reports = watch.play("3s");
    assert!(reports.iter().any(|report| report.evaluated_minutes > 0), "{reports:?}");
}

/// A host that remembers nothing between requests has no other bound: there each is the first stranger it sees.
#[test]
fn strangers_do_not_fill_the_database_of_a_host_that_remembers_nothing() {
    let host = MemoryHost::new();
    let noon = 1_767_225_600_000;
    let store = |tenant_id: &str, count: i64, from_ms: i64| {
        for at in 0..count {
            let mut record = watch::record(tenant_id, from_ms + at);
            record.id = format!("call_{tenant_id}_{from_ms}_{at}");
            block_on(journal::write(&host, &[record])).unwrap();
        }
    };
    store("", 700, noon);
    assert_eq!(stored(&host), 600);
    // Others are none of it, and the next minute is another.
    store("tn_a", 50, noon);
    store("", 10, noon + 61_000);
    assert_eq!(stored(&host), 660);
}

#[test]
fn strangers_do_not_fill_the_database_with_one_statement() {
    let noon = 1_767_225_600_000;
    let strangers = |name: &str, count: i64, from_ms: i64, step_ms: i64| -> Vec<Record> {
        let one = |at| {
            let record = watch::record("", from_ms + at * step_ms);
            Record { id: format!("call_{name}_{at}"), ..record }
        };
        (0..count).map(one).collect()
    };
    // All at once, or over three minutes; others come late.
    for step_ms in [0, 100] {
        let host = MemoryHost::new();
        let mut records = strangers("a", 2_000, noon, step_ms);
        records.push(watch::record("tn_a", noon));
        block_on(journal::write(&host, &records)).unwrap();
        let most = "SELECT max(n) AS n FROM (SELECT (SELECT count(*) FROM calls AS other WHERE other.tenant_id = ''
             AND other.started_ms > calls.started_ms - 60000 AND other.started_ms <= calls.started_ms) AS n FROM calls)";
        block_on(journal::write(&host, &strangers("b", 700, noon - 30_000, 10))).unwrap();
        assert_eq!(host.db.sql(most, &[])[0]["n"], json!(600), "{step_ms}");
        let known = "SELECT count(*) AS n FROM calls WHERE tenant_id = 'tn_a'";
        assert_eq!(host.db.sql(known, &[])[0]["n"], json!(1));
    }
}

#[test]
fn a_tool_or_a_fallback_cannot_bring_in_a_model_that_the_key_may_not_use() {
    let gateway = Gateway::default();
    let narrow = gateway
        .new_key(&json!({ "name": "narrow", "models": ["openai/gpt-5", "anthropic/claude-haiku-4-5"] }));
    let drawing = json!([{ "type": "image_generation", "model": "gpt-image-2" }]);
    let advisor = json!([{ "type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-6" }]);
    let turn = json!([{ "role": "user", "content": "Hi" }]);
    for (path, body) in [
        ("/v1/responses", json!({ "model": "openai/gpt-5", "input": "Hi", "tools": drawing })),
        (
            "/v1/responses",
            json!({ "model": "openai/gpt-5", "input": "Hi", "moderation": { "model": "omni" } }),
        ),
        (
            "/v1/messages",
            json!({ "model": "anthropic/claude-haiku-4-5", "max_tokens": 9, "messages": turn, "tools": advisor }),
        ),
        (
            "/v1/messages",
            json!({ "model": "anthropic/claude-haiku-4-5", "max_tokens": 9, "messages": turn,
                "fallbacks": [{ "model": "claude-opus-4-6" }] }),
        ),
    ] {
        let ask = |key: &str| {
            gateway.request("POST", path, &[("authorization", &format!("Bearer {key}"))], body.to_string())
        };
        let answered = ask(&narrow);
        assert_eq!(answered.status, 403, "{body}: {}", answered.text());
        assert_eq!(answered.record.unwrap().error_type.as_deref(), Some("model_not_allowed"));
        // A key that may use everything may use these.
        gateway
            .host
            .upstream
            .anything(Answer::json(400, &json!({ "error": { "message": "It was asked." } })));
        assert!(ask(&gateway.key).text().contains("It was asked."), "{body}");
    }
}

#[test]
fn a_name_that_is_no_header_does_not_hide_what_was_dropped() {
    let gateway = Gateway::default();
    let ask = |more: Value| {
        let answer = json!({ "id": "1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
            "content": [{ "type": "text", "text": "Hello" }], "usage": { "input_tokens": 1, "output_tokens": 1 } });
        gateway.host.upstream.expect("POST", tests::ANTHROPIC, Answer::json(200, &answer));
        let mut body = json!({ "model": "anthropic/claude-haiku-4-5", "messages": [{ "role": "user", "content": "Hi" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answered = gateway.chat(&body);
        assert_eq!(answered.status, 200, "{}", answered.text());
        answered.headers["x-hypergate-dropped"].to_str().unwrap().to_owned()
    };
    let named = ask(json!({ "gr\u{f6}\u{df}e\n": 1, "later": 2 }));
    assert!(named == "gr??e?,later" || named == "later,gr??e?", "{named}");
    let many: serde_json::Map<String, Value> = (0..500).map(|at| (format!("field-{at}"), json!(1))).collect();
    let named = ask(Value::Object(many));
    assert!(named.len() < 2_200 && named.starts_with("field-") && named.ends_with(",..."), "{named}");
}

/// What each protocol calls a file in a bucket, and where its callers ask.
fn cloud_bodies(google: &str, amazon: &str) -> Vec<(&'static str, &'static str, Value)> {
    let file = json!({ "contents": [{ "role": "user", "parts": [{ "text": "Hi" },
        { "fileData": { "mimeType": "application/pdf", "fileUri": google } }] }] });
    let snake = json!({ "contents": [{ "role": "user", "parts": [{ "text": "Hi" },
        { "file_data": { "mime_type": "application/pdf", "file_uri": google } }] }] });
    let converse = json!({ "messages": [{ "role": "user", "content": [{ "text": "Hi" },
        { "document": { "format": "pdf", "name": "a", "source": { "s3Location": { "uri": amazon } } } }] }] });
    let counted = json!({ "input": { "converse": converse } });
    vec![
        ("x-goog-api-key", "/v1beta/models/vertex/gemini-2.5-flash:generateContent", file.clone()),
        ("x-goog-api-key", "/v1beta/models/vertex/gemini-2.5-flash:streamGenerateContent", snake.clone()),
        (
            "x-goog-api-key",
            "/v1beta/models/gemini/gemini-2.5-flash:countTokens",
            json!({ "generateContentRequest": file }),
        ),
        ("authorization", "/model/bedrock%2Fus.amazon.nova-pro-v1:0/converse", converse.clone()),
        ("authorization", "/model/bedrock%2Fus.amazon.nova-pro-v1:0/converse-stream", converse),
        ("authorization", "/model/bedrock%2Fanthropic.claude-sonnet-4-6/count-tokens", counted),
    ]
}

fn clouds(files: &str) -> Gateway {
    let settings = [
        ("VERTEX_API_KEY", "test-key"),
        ("VERTEX_PROJECT", "p"),
        ("BEDROCK_API_KEY", "test-key"),
        ("GEMINI_API_KEY", "test-key"),
        ("CLOUD_FILES", files),
    ];
    let set: Vec<(&str, &str)> = settings.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    Gateway::with(&set)
}

fn ask_for(gateway: &Gateway, header: &str, path: &str, body: &Value) -> tests::Answered {
    let key = match header {
        "authorization" => format!("Bearer {}", gateway.key),
        _ => gateway.key.clone(),
    };
    gateway.request("POST", path, &[(header, &key)], body.to_string())
}

#[test]
fn nobody_reads_the_operators_buckets_unless_the_operator_opens_them() {
    let refused = |gateway: &Gateway, google: &str, amazon: &str| {
        for (header, path, body) in cloud_bodies(google, amazon) {
            let answered = ask_for(gateway, header, path, &body);
            // Nothing is expected of any provider, so the host would fail a request to one.
            assert_eq!(answered.status, 400, "{path} {body}: {}", answered.text());
            assert!(answered.text().contains("CLOUD_FILES"), "{path}: {}", answered.text());
            let answer: Value = answered.json();
            let is_own = if header == "authorization" {
                answer["message"].is_string()
            } else {
                answer["error"]["status"] == "INVALID_ARGUMENT"
            };
            assert!(is_own, "in the caller's protocol: {answer}");
        }
    };
    refused(&clouds(""), "gs://bucket/a.pdf", "s3://bucket/a.pdf");
    let open = clouds("gs://bucket/open/, s3://bucket/open/");
    refused(&open, "gs://bucket/open/../a.pdf", "s3://bucket/opened/a.pdf");
    refused(&open, "GS://bucket/open/a.pdf", "s3://Bucket/open/a.pdf");
    for (header, path, body) in cloud_bodies("gs://bucket/open/a.pdf", "s3://bucket/open/a.pdf") {
        open.host.upstream.anything(Answer::json(
            400,
            &json!({ "error": { "message": "It was asked." }, "message": "It was asked." }),
        ));
        let answered = ask_for(&open, header, path, &body);
        assert!(answered.text().contains("It was asked."), "{path}: {}", answered.text());
    }
    // What anybody can fetch.
    open.host.upstream.anything(Answer::json(400, &json!({ "error": { "message": "It was asked." } })));
    let (header, path, body) = cloud_bodies("https://example.com/a.pdf", "").swap_remove(0);
    assert!(ask_for(&open, header, path, &body).text().contains("It was asked."));
}

#[test]
fn nobody_searches_the_operators_stores_unless_the_operator_opens_them() {
    let stores = json!([
        { "retrieval": { "vertexAiSearch": { "datastore": "projects/p/locations/l/collections/c/dataStores/d" } } },
        { "retrieval": { "vertex_rag_store": { "rag_resources": [{ "rag_corpus": "projects/p/locations/l/ragCorpora/1" }] } } },
        { "retrieval": { "externalApi": { "endpoint": "https://e.com", "authConfig": { "googleServiceAccountConfig": {} } } } },
    ]);
    let open = "projects/p/locations/l, https://e.com";
    for tool in stores.as_array().unwrap() {
        let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "Hi" }] }], "tools": [tool] });
        let path = "/v1beta/models/vertex/gemini-2.5-flash:generateContent";
        let answered = ask_for(&clouds(""), "x-goog-api-key", path, &body);
        assert_eq!(answered.status, 400, "{tool}: {}", answered.text());
        let gateway = clouds(open);
        gateway
            .host
            .upstream
            .anything(Answer::json(400, &json!({ "error": { "message": "It was asked." } })));
        let answered = ask_for(&gateway, "x-goog-api-key", path, &body);
        assert!(answered.text().contains("It was asked."), "{tool}: {}", answered.text());
    }
}

#[test]
fn a_model_that_a_body_does_not_name_needs_a_key_for_all_that_it_may_be() {
    let gateway = Gateway::with(&[
        ("OPENROUTER_API_KEY", "test-key"),
        ("GROQ_API_KEY", "test-key"),
        ("OPENAI_API_KEY", "test-key"),
    ]);
    let turn = json!([{ "role": "user", "content": "Hi" }]);
    let drawing = json!([{ "type": "image_generation" }]);
    for (models, path, body, expected) in [
        (
            json!(["openai/gpt-5"]),
            "/v1/responses",
            json!({ "model": "openai/gpt-5", "input": "Hi", "tools": drawing }),
            403,
        ),
        (
            json!(["openai/gpt-5", "openai/gpt-image-*"]),
            "/v1/responses",
            json!({ "model": "openai/gpt-5", "input": "Hi", "tools": drawing }),
            400,
        ),
        (
            json!(["openrouter/a/b"]),
            "/v1/chat/completions",
            json!({ "model": "openrouter/a/b", "messages": turn, "preset": "x" }),
            403,
        ),
        (
            json!(["openrouter/a/*"]),
            "/v1/chat/completions",
            json!({ "model": "openrouter/a/b@preset/x", "messages": turn }),
            403,
        ),
        (
            json!(["openrouter/a/b"]),
            "/v1/chat/completions",
            json!({ "model": "openrouter/a/b", "messages": turn, "plugins": [{ "id": "auto-router" }] }),
            403,
        ),
        (
            json!(["openrouter/a/b"]),
            "/v1/chat/completions",
            json!({ "model": "openrouter/a/b", "messages": turn, "plugins": [{ "id": "web" }] }),
            400,
        ),
        (
            json!(["openrouter/*"]),
            "/v1/chat/completions",
            json!({ "model": "openrouter/a/b", "messages": turn, "preset": "x" }),
            400,
        ),
        (
            json!(["groq/groq/compound"]),
            "/v1/chat/completions",
            json!({ "model": "groq/groq/compound", "messages": turn, "compound_custom": { "models": { "reasoning_model": "x" } } }),
            403,
        ),
        (
            json!(["groq/groq/compound", "groq/x"]),
            "/v1/chat/completions",
            json!({ "model": "groq/groq/compound", "messages": turn, "compound_custom": { "models": { "reasoning_model": "x" } } }),
            400,
        ),
    ] {
        let key = gateway.new_key(&json!({ "name": "narrow", "models": models }));
        gateway
            .host
            .upstream
            .anything(Answer::json(400, &json!({ "error": { "message": "It was asked." } })));
        let answered =
            gateway.request("POST", path, &[("authorization", &format!("Bearer {key}"))], body.to_string());
        assert_eq!(answered.status, expected, "{models} {body}: {}", answered.text());
        assert_eq!(answered.text().contains("It was asked."), expected == 400, "{body}");
    }
}

#[test]
fn a_file_that_a_provider_keeps_is_nobodys_in_a_text_and_in_a_form() {
    let gateway = Gateway::with(&[
        ("DASHSCOPE_API_KEY", "test-key"),
        ("MISTRAL_API_KEY", "test-key"),
        ("OPENAI_API_KEY", "test-key"),
    ]);
    let ask = |model: &str| {
        let messages = json!([{ "role": "system", "content": "fileid://file-fe-1" }, { "role": "user", "content": "Hi" }]);
        gateway
            .host
            .upstream
            .anything(Answer::json(400, &json!({ "error": { "message": "It was asked." } })));
        gateway.chat(&json!({ "model": model, "messages": messages }))
    };
    assert_eq!(ask("dashscope/qwen-long").status, 404);
    assert!(ask("openai/gpt-5").text().contains("It was asked."));
    let form = "--XyZ\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nmistral/voxtral-mini-latest\r\n--XyZ\r\n\
        Content-Disposition: form-data; name=\"file_id\"\r\n\r\nfile-1\r\n--XyZ--\r\n";
    let headers = [
        ("authorization", &*format!("Bearer {}", gateway.key)),
        ("content-type", "multipart/form-data; boundary=XyZ"),
    ];
    let answered = gateway.request("POST", "/v1/audio/transcriptions", &headers, form);
    assert_eq!(answered.status, 400, "{}", answered.text());
    assert!(answered.text().contains("Send the file itself."), "{}", answered.text());
}

#[test]
fn thought_of_which_a_caller_has_only_the_id_is_looked_for_nowhere() {
    let gateway = Gateway::default();
    let url = "https://api.openai.com/v1/responses";
    gateway.host.upstream.always(
        "POST",
        url,
        Answer::json(400, &json!({ "error": { "message": "It was asked." } })),
    );
    let input = json!([
        { "role": "user", "content": "Hi" },
        { "type": "reasoning", "id": "rs_theirs", "summary": [] },
        { "type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c", "output": "1" },
    ]);
    for path in ["/v1/responses", "/v1/responses/input_tokens"] {
        gateway.host.upstream.always(
            "POST",
            &format!("{url}/input_tokens"),
            Answer::json(400, &json!({ "error": { "message": "It was asked." } })),
        );
        let body = json!({ "model": "openai/gpt-5", "input": input });
        let key = format!("Bearer {}", gateway.key);
        gateway.request("POST", path, &[("authorization", &key)], body.to_string());
    }
    for url in [url, &format!("{url}/input_tokens")] {
        let sent = gateway.host.upstream.sent_to(url);
        assert_eq!(sent.len(), 1, "{url}");
        let sent = sent[0].json().to_string();
        assert!(
            !sent.contains("rs_theirs") && !sent.contains("fc_1") && sent.contains("\"call_id\":\"c\""),
            "{sent}"
        );
    }
}

#[test]
fn what_a_request_is_filed_under_is_named_as_the_caller_called_it() {
    let gateway = clouds("");
    let answer = json!({ "id": "1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
        "content": [{ "type": "text", "text": "Hello" }], "usage": { "input_tokens": 1, "output_tokens": 1 } });
    for (header, path, body, expected) in [
        (
            "x-goog-api-key",
            "/v1beta/models/anthropic/claude-haiku-4-5:generateContent",
            json!({ "contents": [{ "parts": [{ "text": "Hi" }] }], "labels": { "team": "a" } }),
            "labels",
        ),
        (
            "authorization",
            "/model/anthropic%2Fclaude-haiku-4-5/converse",
            json!({ "messages": [{ "role": "user", "content": [{ "text": "Hi" }] }], "requestMetadata": { "team": "a" } }),
            "requestMetadata",
        ),
        (
            "authorization",
            "/v1/chat/completions",
            json!({ "model": "anthropic/claude-haiku-4-5", "messages": [{ "role": "user", "content": "Hi" }], "metadata": { "team": "a" } }),
            "metadata",
        ),
    ] {
        gateway.host.upstream.expect("POST", tests::ANTHROPIC, Answer::json(200, &answer));
        let answered = ask_for(&gateway, header, path, &body);
        assert_eq!(answered.status, 200, "{path}: {}", answered.text());
        assert_eq!(answered.headers["x-hypergate-dropped"], expected, "{path}");
    }
}
