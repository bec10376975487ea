//! `/admin/v1/metrics` and `/admin/v1/baselines`, and the tags that calls are told apart by.

use gateway::tags::MOST_TAGS;
use serde_json::{Value, json};
use tests::{Answer, Gateway, gateway::OPENAI};

#[test]
fn what_a_caller_says_a_call_is_for_is_recorded_and_goes_no_further() {
    let gateway = Gateway::default();
    gateway.host.upstream.always("POST", OPENAI, Answer::text(200, ANSWER));
    let tags = [
        ("x-hypergate-prompt-version", "v7"),
        ("X-Hypergate-Tag-Feature", "search"),
        ("x-hypergate-tag-plan", "pro"),
        ("x-hypergate-tag-team", "red"),
        ("x-hypergate-tag-cohort", "b"),
        ("x-hypergate-tag-zone", "one too many"),
        ("x-hypergate-tag-not.one", "x"),
    ];
    let answered = gateway.chat_with(&gateway.key, &tags, body("openai/gpt-4.1"));
    assert_eq!(answered.status, 200);
    let sent = gateway.host.upstream.sent_to(OPENAI);
    assert!(sent[0].headers.keys().all(|name| !name.as_str().contains("hypergate")), "{:?}", sent[0].headers);

    let call = &gateway.admin("GET", "calls", &Value::Null).json()["data"][0];
    let recorded = json!({ "cohort": "b", "feature": "search", "plan": "pro", "team": "red" });
    assert_eq!(recorded.as_object().unwrap().len(), MOST_TAGS);
    assert_eq!((&call["prompt_version"], &call["tags"]), (&json!("v7"), &recorded));
    assert!(call["upstream_ms"].is_i64() && call.get("rate_bucket").is_none() && call.get("tries").is_none());
    gateway.chat_with(&gateway.key, &[], body("demo/echo"));
    let found = |query: &str| {
        gateway.admin("GET", &format!("calls?{query}"), &Value::Null).json()["data"].as_array().unwrap().len()
    };
    for (query, calls) in [
        ("", 2),
        ("tag.feature=search", 1),
        ("tag.feature=search&tag.plan=pro&prompt_version=v7", 1),
        ("tag.feature=browse", 0),
        ("prompt_version=v8", 0),
    ] {
        assert_eq!(found(query), calls, "{query}");
    }
}

#[test]
fn metrics_are_told_apart_by_any_dimension() {
    let gateway = Gateway::default();
    for (feature, version) in [("search", "v1"), ("search", "v2"), ("browse", "v2")] {
        gateway.host.advance(1);
        let tags = [("x-hypergate-tag-feature", feature), ("x-hypergate-prompt-version", version)];
        gateway.chat_with(&gateway.key, &tags, body("demo/echo"));
    }
    gateway.chat(&json!({ "model": "demo/fail", "messages": [{ "role": "user", "content": "Hi" }] }));
    tick(&gateway);
    let key_id = gateway.admin("GET", "calls", &Value::Null).json()["data"][0]["key_id"].clone();
    let tenant = json!(gateway.tenant_id);
    let asked = |query: &str, label: &str| -> Vec<(Value, i64)> {
        let points = gateway.admin("GET", &format!("metrics?{query}"), &Value::Null).json();
        let points = points["data"].as_array().unwrap_or_else(|| panic!("{query}: {points}")).clone();
        points.iter().map(|point| (point[label].clone(), point["calls"].as_i64().unwrap())).collect()
    };
    for (query, label, expected) in [
        ("", "none", vec![(Value::Null, 4)]),
        ("by=tag.feature", "tag.feature", vec![(json!("browse"), 1), (json!("search"), 2)]),
        ("by=prompt_version", "prompt_version", vec![(json!("v1"), 1), (json!("v2"), 2)]),
        ("by=prompt_version&prompt_version=v2", "prompt_version", vec![(json!("v2"), 2)]),
        ("tag.feature=search", "none", vec![(Value::Null, 2)]),
        ("by=key", "key_id", vec![(key_id, 4)]),
        ("by=release", "release", vec![(json!("test"), 4)]),
        ("by=error", "error_type", vec![(json!("upstream_error"), 1)]),
        ("by=tenant,tag.feature&tag.feature=browse", "tenant_id", vec![(tenant.clone(), 1)]),
        ("by=outcome", "outcome", vec![(json!("error"), 1), (json!("ok"), 3)]),
        ("by=model&outcome=ok&provider=hypergate.demo", "model", vec![(json!("echo"), 3)]),
        ("route=/v1/chat/completions&model=fail", "none", vec![(Value::Null, 1)]),
        ("region=nowhere", "none", vec![]),
    ] {
        assert_eq!(asked(query, label), expected, "{query}");
    }
    for (query, refused) in [
        ("by=key,route", "by"),
        ("by=tag.No", "by"),
        ("tag.a%20b=x", "tag.a b"),
        ("by=release&region=x", "by"),
        ("color=red", "color"),
    ] {
        let answered = gateway.admin("GET", &format!("metrics?{query}"), &Value::Null);
        assert_eq!(
            (answered.status.as_u16(), &answered.json()["error"]["param"]),
            (400, &json!(refused)),
            "{query}"
        );
    }
}

#[test]
fn a_baseline_is_kept_compared_with_and_forgotten() {
    let gateway = Gateway::default();
    gateway.chat_with(&gateway.key, &[], body("demo/echo"));
    tick(&gateway);
    let from = gateway.admin("GET", "metrics", &Value::Null).json()["data"][0]["bucket_ms"].as_i64().unwrap();
    let asked = json!({
        "note": "before the launch", "from": from, "to": from + 60_000, "by": ["model"], "only": { "tenant": gateway.tenant_id },
    });
    let put = gateway.admin("PUT", "baselines/before", &asked);
    assert_eq!((put.status.as_u16(), &put.json()["name"]), (200, &json!("before")));
    assert_eq!(
        gateway.admin("GET", "baselines", &Value::Null).json()["data"][0]["note"],
        "before the launch"
    );
    assert_eq!(gateway.admin("GET", "baselines/before", &Value::Null).json()["series"][0]["calls"], 1);
    let compared = gateway
        .admin("GET", &format!("baselines/before/comparison?from={from}&to={}", from + 60_000), &Value::Null)
        .json();
    assert_eq!(compared["series"][0]["change"]["duration.p50_ms"], 0.0);
    for (method, path, body, refused) in [
        ("PUT", "baselines/x", json!({ "from": from }), "to"),
        ("PUT", "baselines/x", json!({ "from": from, "to": from + 1, "by": ["colour"] }), "by"),
        ("PUT", "baselines/x", json!({ "from": from, "to": from + 1, "only": { "model": 1 } }), "only"),
        ("PUT", "baselines/x", json!({ "from": from, "to": from + 1, "series": {} }), "series"),
        ("PUT", "baselines/x", json!({ "from": from, "to": from + 1, "until": 1 }), "until"),
        ("GET", "baselines/before/comparison?since=1", Value::Null, "since"),
    ] {
        let answered = gateway.admin(method, path, &body);
        assert_eq!(
            (answered.status.as_u16(), &answered.json()["error"]["param"]),
            (400, &json!(refused)),
            "{method} {path} {body}"
        );
    }
    assert_eq!(gateway.admin("DELETE", "baselines/before", &Value::Null).json()["deleted"], true);
    for (method, path) in
        [("GET", "baselines/before"), ("DELETE", "baselines/before"), ("GET", "baselines/before/comparison")]
    {
        assert_eq!(gateway.admin(method, path, &Value::Null).status, 404, "{method} {path}");
    }
}

#[test]
fn lists_come_as_csv() {
    let gateway = Gateway::default();
    for _ in 0..3 {
        gateway.chat_with(&gateway.key, &[("x-hypergate-tag-feature", "=1+1")], body("demo/echo"));
    }
    let token = ("authorization", "Bearer admin-token");
    let csv = |path: &str, more: &[(&str, &str)]| {
        let headers = [&[token], more].concat();
        let answered = gateway.request("GET", &format!("/admin/v1/{path}"), &headers, "");
        assert_eq!(answered.headers["content-type"], "text/csv; charset=utf-8", "{path}");
        answered
    };
    let calls = csv("calls?limit=2&format=csv", &[]);
    let text = String::from_utf8(calls.body().to_vec()).unwrap();
    let (head, rows) = text.split_once("\r\n").unwrap();
    assert!(head.starts_with("attempts,audio_input_tokens,") && head.contains(",tags.feature,"), "{head}");
    assert_eq!((rows.matches("\r\n").count(), rows.matches(",'=1+1,").count()), (2, 2), "{rows}");
    let next = calls.headers["x-hypergate-next-cursor"].to_str().unwrap();
    let rest = csv(&format!("calls?limit=2&cursor={next}"), &[("accept", "text/csv")]);
    assert_eq!(String::from_utf8(rest.body().to_vec()).unwrap().lines().count(), 2);
    for list in ["alerts", "baselines", "metrics", "prices", "receivers", "rules", "tenants"] {
        csv(&format!("{list}?format=csv"), &[]);
    }
    assert_eq!(gateway.admin("GET", "calls?format=json", &Value::Null).json()["object"], "list");
    let refused = gateway.admin("GET", "calls?format=xml", &Value::Null);
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["param"]), (400, &json!("format")));
}

fn body(model: &str) -> String {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }] }).to_string()
}

/// A tick in a minute in which breakdowns are not waited for.
fn tick(gateway: &Gateway) {
    let ticked =
        gateway.request("POST", "/internal/tick", &[("authorization", "Bearer tick-token")], "").json();
    assert_eq!(ticked["failed_steps"], json!([]));
}

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4.1-2026-04-14","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}"#;
