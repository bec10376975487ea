//! `/admin/v1/prices` and `/admin/v1/tenants/{tenant}/prices`: what models cost here.

use gateway::auth;
use serde_json::{Value, json};
use tests::{Answer, Answered, Gateway, OPENAI};

/// What a call of 1,000 tokens, 400 of them cached, and an answer of 100 cost, and by which prices.
fn cost(gateway: &Gateway, model: &str, usage: &Value) -> String {
    let answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4.1-2025-04-14",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hi" }, "finish_reason": "stop" }],
        "usage": usage,
    });
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &answer));
    let answered =
        gateway.chat(&json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }] }));
    let record = answered.record.as_ref().expect("a record");
    let cost = record.cost_microusd.map_or("null".to_owned(), |cost| cost.to_string());
    format!("{cost} {}", record.price_version)
}

fn usage() -> Value {
    json!({ "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
            "prompt_tokens_details": { "cached_tokens": 400 } })
}

fn rates(input: i64, output: i64) -> Value {
    json!({ "microusd_per_million": { "input_tokens": input, "output_tokens": output } })
}

#[test]
fn a_tenants_price_goes_before_everybodys_and_that_before_the_list() {
    let gateway = Gateway::default();
    let own = format!("tenants/{}/prices", gateway.tenant_id);
    let model = "openai/gpt-4.1";
    let listed = format!("2200 {}", llm::price::VERSION);
    assert_eq!(cost(&gateway, model, &usage()), listed);

    gateway.admin("PUT", "prices/openai/gpt-*", &rates(1_000_000, 1_000_000));
    gateway.host.advance(auth::MEMORY_MS + auth::CACHE_MS);
    assert_eq!(cost(&gateway, model, &usage()), "1100 global:2026-01-01");
    let set = gateway.admin("PUT", &format!("{own}/openai%2Fgpt-4.1"), &rates(3_000_000, 10_000_000)).json();
    assert_eq!((&set["model"], &set["from_ms"]), (&json!(model), &json!(0)));
    assert_eq!(set["microusd_per_million"]["output_tokens"], 10_000_000);
    assert_eq!(cost(&gateway, model, &usage()), "4000 tenant:2026-01-01");

    assert_eq!(gateway.admin("GET", &own, &Value::Null).json()["data"], json!([set]));
    assert_eq!(gateway.admin("GET", &format!("{own}/{model}"), &Value::Null).json()["data"], json!([set]));
    let other = gateway.admin("POST", "tenants", &json!({ "name": "other" })).json();
    let theirs = format!("tenants/{}/prices", other["id"].as_str().expect("an id"));
    assert_eq!(gateway.admin("GET", &theirs, &Value::Null).json()["data"], json!([]));

    assert_eq!(gateway.admin("DELETE", &format!("{own}/{model}"), &Value::Null).json()["deleted"], true);
    assert_eq!(cost(&gateway, model, &usage()), "1100 global:2026-01-01");
    gateway.admin("DELETE", "prices/openai%2Fgpt-*", &Value::Null);
    gateway.host.advance(auth::MEMORY_MS + auth::CACHE_MS);
    assert_eq!(cost(&gateway, model, &usage()), listed);
}

#[test]
fn a_price_holds_from_its_time_on_and_a_free_model_costs_nothing() {
    let gateway = Gateway::default();
    let price = format!("tenants/{}/prices/openai/gpt-4.1", gateway.tenant_id);
    let with = |from: &str, mut prices: Value| {
        prices["from"] = json!(from);
        assert_eq!(gateway.admin("PUT", &price, &prices).status, 200);
    };
    with("2100-01-01T00:00:00Z", rates(9_000_000, 9_000_000));
    assert_eq!(cost(&gateway, "openai/gpt-4.1", &usage()), format!("2200 {}", llm::price::VERSION));
    with("2020-01-01T00:00:00Z", rates(0, 0));
    assert_eq!(cost(&gateway, "openai/gpt-4.1", &usage()), "0 tenant:2026-01-01");
    with("2021-01-01T00:00:00Z", rates(1_000_000, 0));
    assert_eq!(cost(&gateway, "openai/gpt-4.1", &usage()), "1000 tenant:2026-01-01");
    // What has no price here is not looked for in the list.
    with("2022-01-01T00:00:00Z", json!({ "microusd_per_million": { "input_tokens": 1_000_000 } }));
    assert_eq!(cost(&gateway, "openai/gpt-4.1", &usage()), "null tenant:2026-01-01");
    assert_eq!(gateway.admin("GET", &price, &Value::Null).json()["data"].as_array().map(Vec::len), Some(4));
}

#[test]
fn long_contexts_and_caches_may_have_prices_of_their_own() {
    let gateway = Gateway::default();
    let price = format!("tenants/{}/prices/openai/*", gateway.tenant_id);
    let prices = json!({
        "microusd_per_million": { "input_tokens": 1_000_000, "cache_read_input_tokens": 100_000, "output_tokens": 2_500_000, "requests": 7_000_000 },
        "long_context_above_tokens": 999,
        "long_context_microusd_per_million": { "input_tokens": 2_000_000 },
        "service_tier_percent": { "batch": 50 },
    });
    let set = gateway.admin("PUT", &price, &prices).json();
    assert_eq!(set["service_tier_percent"], json!({ "batch": 50 }));
    assert_eq!(cost(&gateway, "openai/gpt-4.1", &usage()), "1497 tenant:2026-01-01");
}

#[test]
fn a_wrong_price_is_refused_by_the_field() {
    let gateway = Gateway::default();
    let own = |model: &str| format!("tenants/{}/prices/{model}", gateway.tenant_id);
    let of = |field: &str, value: Value| {
        let mut body = rates(1, 1);
        body[field] = value;
        body
    };
    let model = own("openai/gpt-5");
    for (path, body, expected) in [
        (&model, json!({}), "400 microusd_per_million"),
        (&model, json!([]), "400 -"),
        (&model, json!({ "microusd_per_million": 3 }), "400 microusd_per_million"),
        (&model, json!({ "microusd_per_million": {} }), "400 microusd_per_million"),
        (&model, json!({ "microusd_per_million": { "input": 3 } }), "400 microusd_per_million.input"),
        (&model, json!({ "microusd_per_million": { "images": 0.5 } }), "400 microusd_per_million.images"),
        (&model, json!({ "microusd_per_million": { "images": -1 } }), "400 microusd_per_million.images"),
        (&model, of("from", json!("soon")), "400 from"),
        (&model, of("form", json!(1)), "400 form"),
        (&model, of("long_context_above_tokens", json!(1000)), "400 long_context_above_tokens"),
        (&model, of("service_tier_percent", json!({ "fast": 50 })), "400 service_tier_percent.fast"),
        (&model, of("service_tier_percent", json!({ "batch": 0 })), "400 service_tier_percent.batch"),
        (&own("gpt-5"), rates(1, 1), "400 model"),
        (&own("nobody/gpt-5"), rates(1, 1), "400 model"),
        (&own("openai/"), rates(1, 1), "400 model"),
        (&own("openai/g*t"), rates(1, 1), "400 model"),
        (&"tenants/nobody/prices/openai/gpt-5".to_owned(), rates(1, 1), "404 -"),
    ] {
        let answered = gateway.admin("PUT", path, &body);
        assert_eq!(refusal(&answered), expected, "{path} {body}: {}", answered.text());
    }
    assert_eq!(gateway.admin("DELETE", &model, &Value::Null).status, 404);
    assert_eq!(gateway.admin("GET", &model, &Value::Null).status, 404);
    assert_eq!(gateway.admin("POST", &own("openai%2Fgpt-5"), &rates(1, 1)).status, 405);
    for number in 0..100 {
        assert_eq!(gateway.admin("PUT", &own(&format!("openai/m{number}")), &rates(1, 1)).status, 200);
    }
    assert_eq!(refusal(&gateway.admin("PUT", &model, &rates(1, 1))), "400 model", "there is a bound");
    assert_eq!(
        gateway.admin("PUT", &own("openai/m7"), &rates(2, 2)).status,
        200,
        "a known one can be changed"
    );
}

fn refusal(answered: &Answered) -> String {
    let param = answered.json()["error"]["param"].as_str().unwrap_or("-").to_owned();
    format!("{} {param}", answered.status.as_u16())
}
