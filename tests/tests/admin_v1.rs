//! The admin API, and the routes beside it.

use gateway::ports::Clock as _;
use serde_json::{Value, json};
use tests::{Answered, Gateway, block_on};

/// `status code param` of a refusal.
fn refusal(answered: &Answered) -> String {
    let body = answered.json();
    let error = &body["error"];
    assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{body}");
    let word = |field: &str| error[field].as_str().unwrap_or("-").to_owned();
    format!("{} {} {}", answered.status.as_u16(), word("code"), word("param"))
}

#[test]
fn nothing_opens_without_the_right_token() {
    let gateway = Gateway::default();
    let bearer = format!("Bearer {}", gateway.key);
    for headers in [
        vec![],
        vec![("authorization", "Bearer wrong")],
        vec![("authorization", "admin-token")],
        vec![("authorization", bearer.as_str())],
    ] {
        for (method, path) in functions::ROUTES {
            if path.starts_with("/admin/") || *path == "/metrics" || *path == "/internal/tick" {
                let answered = gateway.request(method, path, &headers, "{}");
                assert_eq!(refusal(&answered), "401 invalid_token -", "{method} {path}");
            }
        }
    }
    // The tokens are not each other's.
    assert_eq!(
        gateway.request("POST", "/internal/tick", &[("authorization", "Bearer admin-token")], "").status,
        401
    );
    assert_eq!(
        gateway.request("GET", "/admin/v1/tenants", &[("authorization", "Bearer tick-token")], "").status,
        401
    );
}

#[test]
fn a_deployment_without_a_token_has_no_open_door() {
    let gateway = Gateway::default();
    let bare = tests::MemoryHost::with(&[("ADMIN_TOKEN", ""), ("TICK_TOKEN", "")]);
    let gateway = Gateway { host: bare, ..gateway };
    for (method, path) in [("GET", "/admin/v1/tenants"), ("GET", "/metrics"), ("POST", "/internal/tick")] {
        for token in ["Bearer ", "Bearer x"] {
            let answered = gateway.request(method, path, &[("authorization", token)], "");
            assert_eq!(refusal(&answered), "503 not_configured -", "{path}");
        }
    }
}

#[test]
fn every_listed_route_is_there_and_knows_its_method() {
    let gateway = Gateway::default();
    for (method, template) in functions::ROUTES {
        let path = template.replace(['{', '}'], "");
        let token = if *template == "/internal/tick" {
            "Bearer tick-token".to_owned()
        } else {
            "Bearer admin-token".to_owned()
        };
        let token = if template.starts_with("/v1/") { format!("Bearer {}", gateway.key) } else { token };
        let answered = gateway.request(method, &path, &[("authorization", &token)], "{}");
        let text = answered.text();
        assert!(!text.contains("There is no route") && answered.status != 405, "{method} {path}: {text}");
        let other = gateway.request("TRACE", &path, &[("authorization", &token)], "{}");
        assert_eq!(other.status, 405, "TRACE {path}: {}", other.text());
    }
    let token = [("authorization", "Bearer admin-token")];
    for path in ["/", "/v1", "/v1/nothing", "/admin/v1/nothing", "/admin/v1/tenants/"] {
        assert_eq!(gateway.request("GET", path, &token, "").status, 404, "{path}");
    }
}

#[test]
fn a_key_is_shown_once_and_only_its_end_after_that() {
    let gateway = Gateway::default();
    let path = format!("tenants/{}/keys", gateway.tenant_id);
    gateway.admin(
        "PUT",
        &format!("tenants/{}/aliases/fast", gateway.tenant_id),
        &json!({ "targets": ["openai/gpt-4.1"] }),
    );
    let made = gateway.admin(
        "POST",
        &path,
        &json!({ "name": "ci", "models": ["openai/*", "fast"], "expires_at": "2027-01-01T00:00:00Z" }),
    );
    assert_eq!(made.status, 201);
    let made = made.json();
    let key = made["key"].as_str().expect("the key");
    assert_eq!(made["expires_ms"], 1_798_761_600_000_i64);
    let listed = gateway.admin("GET", &path, &Value::Null);
    assert!(!listed.text().contains(key), "{}", listed.text());
    let listed = listed.json();
    let listed = listed["data"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|found| found["id"] == made["id"])
        .expect("it is listed")
        .clone();
    assert_eq!(listed["models"], json!(["openai/*", "fast"]));
    assert!(key.ends_with(listed["hint"].as_str().expect("a hint")));
    let revoked = gateway
        .admin("DELETE", &format!("keys/{}", made["id"].as_str().expect("an id")), &Value::Null)
        .json();
    assert!(revoked["revoked_ms"].is_i64() && revoked.get("key").is_none());
}

#[test]
fn bad_input_gets_a_400_that_names_the_field() {
    let gateway = Gateway::default();
    let tenant = &gateway.tenant_id;
    let (keys, alias) = (format!("tenants/{tenant}/keys"), format!("tenants/{tenant}/aliases/fast"));
    let receiver = |url: &str| json!({ "name": "team", "kind": "slack", "url": url });
    let cases = [
        ("POST", "tenants", json!([]), "400 invalid_field -"),
        ("POST", "tenants", json!({}), "400 invalid_field name"),
        ("POST", "tenants", json!({ "name": "acme" }), "400 invalid_field name"),
        ("POST", "tenants", json!({ "name": "a\nb" }), "400 invalid_field name"),
        ("POST", "tenants", json!({ "name": "b", "payload_mode": "all" }), "400 invalid_field payload_mode"),
        (
            "POST",
            "tenants",
            json!({ "name": "b", "payload_cap_bytes": 1_000_000 }),
            "400 invalid_field payload_cap_bytes",
        ),
        ("POST", "tenants", json!({ "name": "b", "paylod_mode": "none" }), "400 invalid_field paylod_mode"),
        ("POST", &keys, json!({ "name": "k", "expires_at": "tomorrow" }), "400 invalid_field expires_at"),
        (
            "POST",
            &keys,
            json!({ "name": "k", "expires_at": "2020-01-01T00:00:00Z" }),
            "400 invalid_field expires_at",
        ),
        ("POST", &keys, json!({ "name": "k", "models": "openai/*" }), "400 invalid_field models"),
        (
            "POST",
            &keys,
            json!({ "name": "k", "models": ["openai/*", "gpt-5"] }),
            "400 invalid_field models[1]",
        ),
        ("POST", &keys, json!({ "name": "k", "models": ["nobody/*"] }), "400 invalid_field models[0]"),
        ("PUT", &alias, json!({ "targets": ["demo/nope"] }), "400 invalid_field targets[0]"),
        ("POST", "tenants/nobody/keys", json!({ "name": "k" }), "404 not_found -"),
        ("PUT", &alias, json!({}), "400 invalid_field targets"),
        ("PUT", &alias, json!({ "targets": ["openai/gpt-5", "gpt-5"] }), "400 invalid_field targets[1]"),
        (
            "PUT",
            &format!("tenants/{tenant}/aliases/a%2Fb"),
            json!({ "targets": ["openai/gpt-5"] }),
            "400 invalid_field name",
        ),
        ("PUT", "tenants/nobody/aliases/fast", json!({ "targets": ["openai/gpt-5"] }), "404 not_found -"),
        (
            "POST",
            "receivers",
            json!({ "name": "team", "kind": "pigeon", "url": "https://x.example" }),
            "400 invalid_field kind",
        ),
        ("POST", "receivers", json!({ "name": "team", "kind": "slack" }), "400 invalid_field url"),
        ("POST", "receivers", receiver("http://hooks.example/x"), "400 invalid_field url"),
        ("POST", "receivers", receiver("https://127.0.0.1/x"), "400 invalid_field url"),
        ("POST", "receivers", receiver("https://169.254.169.254/latest"), "400 invalid_field url"),
        (
            "POST",
            "receivers",
            json!({ "name": "team", "kind": "telegram", "secret": "1:a" }),
            "400 invalid_field settings",
        ),
        (
            "POST",
            "receivers",
            json!({ "name": "team", "kind": "slack", "url": "https://x.example", "per_minute": 0 }),
            "400 invalid_field per_minute",
        ),
        ("PATCH", "receivers/nothing", json!({ "enabled": "yes" }), "400 invalid_field enabled"),
        ("PATCH", "receivers/nothing", json!({ "enabled": false }), "404 not_found -"),
        ("GET", "receivers/nothing/deliveries", Value::Null, "404 not_found -"),
        ("GET", "receivers/nothing/deliveries?status=lost", Value::Null, "400 invalid_field status"),
        ("POST", "receivers/nothing/deliveries/nothing/redeliver", Value::Null, "404 not_found -"),
        ("PUT", "rules/error-share", json!({ "threshold": "low" }), "400 invalid_field threshold"),
        ("PUT", "rules/nothing", json!({ "enabled": false }), "404 not_found -"),
        ("GET", "calls?outcome=bad", Value::Null, "400 invalid_field outcome"),
        ("GET", "calls?provider=nobody", Value::Null, "400 invalid_field provider"),
        ("GET", "metrics?outcome=bad", Value::Null, "400 invalid_field outcome"),
        ("GET", "metrics?provider=nobody", Value::Null, "400 invalid_field provider"),
        ("GET", "metrics?route=/v1/nothing", Value::Null, "400 invalid_field route"),
        ("GET", "calls?limit=0", Value::Null, "400 invalid_field limit"),
        ("GET", "calls?from=yesterday", Value::Null, "400 invalid_field from"),
        ("GET", "calls?colour=red", Value::Null, "400 invalid_field colour"),
        ("GET", "calls?cursor=x", Value::Null, "400 invalid_field cursor"),
        ("GET", "calls/nothing", Value::Null, "404 not_found -"),
        ("GET", "metrics?grain=second", Value::Null, "400 invalid_field grain"),
        ("GET", "metrics?by=colour", Value::Null, "400 invalid_field by"),
        (
            "GET",
            "metrics?from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
            Value::Null,
            "400 invalid_field from",
        ),
        ("GET", "alerts?state=odd", Value::Null, "400 invalid_field state"),
    ];
    for (method, path, body, expected) in cases {
        let answered = gateway.admin(method, path, &body);
        assert_eq!(refusal(&answered), expected, "{method} {path} {body}: {}", answered.text());
    }
}

#[test]
fn a_receiver_is_made_tested_changed_and_looked_through() {
    let gateway = Gateway::default();
    let url = "https://events.example/v2/enqueue";
    let made = gateway.admin(
        "POST",
        "receivers",
        &json!({ "name": "pager", "kind": "pagerduty", "url": "https://events.example", "secret": "0123456789abcdef0123456789abcdef" }),
    );
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(!made.text().contains("0123456789abcdef"), "{}", made.text());
    let made = made.json();
    let path = |rest: &str| format!("receivers/{}{rest}", made["id"].as_str().expect("an id"));
    for status in [202, 400, 400] {
        gateway.host.upstream.expect("POST", url, tests::Answer::text(status, "{}"));
        gateway.host.advance(1_000);
        assert_eq!(gateway.admin("POST", &path("/test"), &Value::Null).status, 200);
    }
    let changed = gateway.admin("PATCH", &path(""), &json!({ "name": "crew", "per_minute": 5 })).json();
    assert_eq!(
        (&changed["name"], &changed["per_minute"], &changed["failures"]),
        (&"crew".into(), &5.into(), &0.into())
    );
    let page =
        |query: &str| gateway.admin("GET", &path(&format!("/deliveries?{query}")), &Value::Null).json();
    let first = page("limit=2");
    let second = page(&format!("limit=2&cursor={}", first["next_cursor"].as_str().expect("more")));
    let results = |page: &Value| -> Vec<String> {
        let list = page["data"].as_array().expect("a list");
        list.iter()
            .map(|delivery| format!("{} {}", delivery["status"], delivery["log"][0]["result"]))
            .collect()
    };
    assert_eq!(results(&first), [r#""dead" "HTTP 400""#, r#""dead" "HTTP 400""#]);
    assert_eq!(
        (results(&second), &second["next_cursor"]),
        (vec![r#""delivered" "HTTP 202""#.to_owned()], &Value::Null)
    );
    assert_eq!(page("status=delivered")["data"].as_array().expect("a list").len(), 1);
    gateway.host.upstream.expect("POST", url, tests::Answer::text(202, "{}"));
    let dead = first["data"][0]["id"].as_str().expect("an id");
    let again = gateway.admin("POST", &path(&format!("/deliveries/{dead}/redeliver")), &Value::Null).json();
    assert_eq!(again, json!({ "id": dead, "status": "delivered", "result": "HTTP 202" }));
}

#[test]
fn calls_are_filtered_and_paged_without_gaps_or_repeats() {
    let gateway = Gateway::default();
    for number in 0..7 {
        gateway.host.advance(if number % 2 == 0 { 1 } else { 0 });
        let model = if number == 3 { "demo/fail" } else { "demo/echo" };
        let stream = number % 2 == 0;
        gateway.chat(
            &json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": "Hi" }] }),
        );
    }
    let ids = |query: &str| -> (Vec<String>, Value) {
        let page = gateway.admin("GET", &format!("calls?{query}"), &Value::Null).json();
        let id = |call: &Value| call["id"].as_str().expect("an id").to_owned();
        (page["data"].as_array().expect("a list").iter().map(id).collect(), page["next_cursor"].clone())
    };
    let (all, end) = ids("limit=50");
    assert_eq!((all.len(), end), (7, Value::Null));
    let mut paged = Vec::new();
    let mut query = "limit=2".to_owned();
    loop {
        let (page, next) = ids(&query);
        paged.extend(page);
        let Some(next) = next.as_str() else { break };
        query = format!("limit=2&cursor={next}");
    }
    assert_eq!(paged, all);
    assert_eq!(ids("outcome=error").0.len(), 1);
    for model in ["demo/echo", "echo"] {
        assert_eq!(
            ids(&format!("status=200&model={model}")).0.len(),
            6,
            "by the caller's name or the provider's"
        );
    }
    // By the name in `provider/model`, and by the one in records.
    assert_eq!((ids("provider=demo").0.len(), ids("provider=hypergate.demo").0.len()), (7, 7));
    assert_eq!(ids("provider=bedrock").0.len(), 0);
    block_on(functions::tick(gateway.host.now_ms(), &gateway.host)).expect("a tick");
    for provider in ["demo", "hypergate.demo"] {
        let path = format!("metrics?grain=hour&provider={provider}");
        let points = gateway.admin("GET", &path, &Value::Null).json();
        assert_eq!(points["data"][0]["calls"], 7, "{points}");
        // An echo costs nothing, and its words are nobody's tokens.
        assert_eq!(
            (&points["data"][0]["without_cost"], &points["data"][0]["without_usage"]),
            (&json!(0), &json!(0))
        );
    }
    assert_eq!(ids("tenant=nobody").0.len(), 0);
    assert_eq!(ids(&format!("tenant={}&to=2026-01-01T00:00:00Z", gateway.tenant_id)).0.len(), 0);
}

#[test]
fn models_are_the_tenants_aliases_and_what_is_set_up() {
    let gateway = Gateway::default();
    gateway.admin(
        "PUT",
        &format!("tenants/{}/aliases/fast", gateway.tenant_id),
        &json!({ "targets": ["openai/gpt-4.1"] }),
    );
    let names = |key: &str| -> Vec<String> {
        let list =
            gateway.request("GET", "/v1/models", &[("authorization", &format!("Bearer {key}"))], "").json();
        assert_eq!(list["object"], "list");
        list["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|model| model["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    let all = names(&gateway.key);
    for name in ["fast", "demo/echo", "openai/gpt-4.1", "anthropic/claude-haiku-4-5"] {
        assert!(all.iter().any(|known| known == name), "{name}");
    }
    assert!(!all.iter().any(|name| name.starts_with("groq/")), "groq has no key here");
    let narrow = gateway.new_key(&json!({ "name": "narrow", "models": ["demo/*"] }));
    assert_eq!(names(&narrow), ["demo/echo", "demo/fail"]);
    let one = gateway.request(
        "GET",
        "/v1/models/openai%2Fgpt-4.1",
        &[("authorization", &format!("Bearer {}", gateway.key))],
        "",
    );
    assert_eq!(one.json()["id"], "openai/gpt-4.1");
}

#[test]
fn a_new_alias_is_seen_at_once_here() {
    let gateway = Gateway::default();
    let call =
        || gateway.chat(&json!({ "model": "say", "messages": [{ "role": "user", "content": "Hi" }] })).status;
    assert_eq!(call(), 404);
    let path = format!("tenants/{}/aliases/say", gateway.tenant_id);
    gateway.admin("PUT", &path, &json!({ "targets": ["demo/echo"] }));
    assert_eq!(call(), 200);
    gateway.admin("DELETE", &path, &Value::Null);
    assert_eq!(call(), 404);
}

#[test]
fn a_tenant_sees_nothing_of_another() {
    let gateway = Gateway::default();
    let other = gateway.admin("POST", "tenants", &json!({ "name": "other" })).json();
    let other_id = other["id"].as_str().expect("an id");
    gateway.admin("PUT", &format!("tenants/{other_id}/aliases/secret"), &json!({ "targets": ["demo/echo"] }));
    let answered =
        gateway.chat(&json!({ "model": "secret", "messages": [{ "role": "user", "content": "Hi" }] }));
    assert_eq!(answered.status, 404);
}

#[test]
fn health_tells_of_the_database_and_the_last_tick() {
    let gateway = Gateway::default();
    let health = || gateway.request("GET", "/healthz", &[], "");
    let reason = "no tick has done all its work yet: is there a schedule?";
    assert_eq!(
        health().json(),
        json!({ "status": "degraded", "reason": reason, "release": "test", "last_tick_ms": null })
    );
    let ticked =
        gateway.request("POST", "/internal/tick", &[("authorization", "Bearer tick-token")], "").json();
    assert_eq!(ticked["did"], "work");
    let minute_ms = tests::host::NEW_YEAR_MS;
    for (ms, status) in [(0, "ok"), (300_000, "ok"), (301_000, "degraded"), (7_200_000, "degraded")] {
        gateway.host.set_now(minute_ms + ms);
        let answered = health();
        // Calls are answered: nobody should send them elsewhere.
        assert_eq!((answered.status.as_u16(), &answered.json()["status"]), (200, &json!(status)), "{ms}");
        assert_eq!(answered.json()["last_tick_ms"], minute_ms);
    }
    assert_eq!(health().json()["reason"], "the last tick that did all its work was 120 minutes ago");
    gateway.host.db.fail_batch(0, tests::Fault::BeforeBegin);
    assert_eq!(gateway.request("GET", "/healthz", &[], "").status, 503);
}

#[test]
fn every_list_comes_as_csv_too() {
    let gateway = Gateway::default();
    let receiver = gateway
        .admin(
            "POST",
            "receivers",
            &json!({ "name": "team", "kind": "webhook", "url": "https://hooks.example/x" }),
        )
        .json();
    let mut lists = 0;
    for (method, template) in functions::ROUTES {
        let Some(path) = template.strip_prefix("/admin/v1/").filter(|_| *method == "GET") else { continue };
        let path = path
            .replace("{tenant}", &gateway.tenant_id)
            .replace("{receiver}", receiver["id"].as_str().expect("an id"));
        let answered = gateway.admin("GET", &path, &Value::Null);
        // Nothing is known under the names that are left.
        if answered.status != 200 || answered.json()["object"] != "list" {
            continue;
        }
        for (path, accept) in [(format!("{path}?format=csv"), "*/*"), (path, "text/csv")] {
            let headers = [("authorization", "Bearer admin-token"), ("accept", accept)];
            let answered = gateway.request("GET", &format!("/admin/v1/{path}"), &headers, "");
            assert_eq!(answered.headers["content-type"], "text/csv; charset=utf-8", "{path}");
            assert!(answered.text().ends_with("\r\n"), "{path}");
        }
        lists += 1;
    }
    assert!(lists >= 16, "{lists}");
}

#[test]
fn a_refusal_says_what_would_do() {
    let gateway = Gateway::default();
    let receiver = |kind: Value, url: &str| json!({ "name": "team", "kind": kind, "url": url });
    let url = "https://hooks.example/x";
    let keys = format!("tenants/{}/keys", gateway.tenant_id);
    for (path, body, says) in [
        ("receivers", receiver(json!("pigeon"), url), "`kind` must be one of `alertmanager`, "),
        ("receivers", receiver(Value::Null, url), "`kind` is required: one of `alertmanager`, "),
        ("receivers", receiver(json!("slack"), "https://10.0.0.1/x"), "ALLOW_LOCAL_RECEIVERS"),
        ("receivers", receiver(json!("slack"), "https://hooks.slack.com/services/…"), "the whole URL"),
        (
            &keys,
            json!({ "name": "k", "models": ["gpt-5"] }),
            "neither `provider/model`, `provider/*` nor an alias",
        ),
    ] {
        let answered = gateway.admin("POST", path, &body);
        assert!(answered.status == 400 && answered.text().contains(says), "{body}: {}", answered.text());
    }
    let answered = gateway.admin("GET", "calls?outcome=bad", &Value::Null).text();
    assert!(answered.contains("`aborted`, `client_error`, `error`, `ok`, `rate_limited`"), "{answered}");
    let made = gateway.admin("POST", "receivers", &receiver(json!("slack"), url)).json();
    let path = format!("receivers/{}", made["id"].as_str().expect("an id"));
    assert_eq!(made["enabled"], true);
    assert_eq!(gateway.admin("PATCH", &path, &json!({ "enabled": false })).json()["enabled"], false);
    let answered = gateway.admin("POST", &format!("{path}/test"), &Value::Null);
    assert_eq!(refusal(&answered), "409 conflict -");
    assert!(answered.text().contains("is switched off"), "{}", answered.text());
}
