//! Rules that look at more than one series of calls: providers, parts of the calls, errors that are the same one, ways to
//! answer, load.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use gateway::{
    journal,
    record::{Attempt, Outcome, Record},
    rules,
};
use hypercare::{histogram, time::MINUTE_MS};
use serde_json::{Value, json};
use tests::{
    Watch, block_on,
    host::NEW_YEAR_MS,
    watch::{ROUTE, record},
};

#[test]
fn a_provider_that_is_out_is_told_once_and_what_depends_on_it_is_quiet() {
    let mut watch = only(&["provider-outage", "error-share"]);
    watch.webhook(None, HOOK);
    let mut minutes = |count: usize, is_out: bool| {
        for _ in 0..count {
            calls(&watch, watch.minute_ms(), 20, |n, record| {
                record.route = if n % 2 == 0 { ROUTE } else { "/v1/embeddings" }.to_owned();
                if n % 2 == 1 {
                    record.provider_name = "anthropic".to_owned();
                    record.target_model = "claude".to_owned();
                } else if is_out {
                    failed(record);
                }
            });
            watch.tick();
        }
    };
    minutes(6, false);
    minutes(14, true);
    minutes(35, false);
    let told = notices(&watch);
    assert_eq!(
        told,
        [
            "firing: 5xx share 100 % > 50 % of provider demo (5 min, 50 calls)",
            "resolved: 5xx share back to 0 % of provider demo after 29 min (limit 50 %, worst 100 %)",
        ]
    );
    let facts = fact(&watch, 0, "Associated with");
    assert_eq!(
        facts,
        [
            "model=demo/echo: 45.5 % of 110 calls failed, 0 % of the 110 others",
            "provider=demo: 45.5 % of 110 calls failed, 0 % of the 110 others"
        ]
    );
    let episodes = watch.host.db.sql("SELECT rule_id, muted, labels FROM episodes ORDER BY opened_ms", &[]);
    assert_eq!(episodes.len(), 2, "{episodes:?}");
    assert_eq!(episodes[0]["labels"], r#"{"provider":"demo","rule":"provider-outage","severity":"page"}"#);
    assert_eq!(episodes[1]["rule_id"], "error-share");
    assert!(episodes[1]["muted"].as_str().unwrap().starts_with("inhibited by ep_"), "{episodes:?}");
}

#[test]
fn an_alert_on_errors_names_the_parts_that_fail_more_than_the_others() {
    let mut watch = only(&["error-share"]);
    watch.webhook(None, HOOK);
    for _ in 0..8 {
        calls(&watch, watch.minute_ms(), 40, |n, record| {
            record.key_id = format!("key_{}", n % 4);
            record.region = Some(if n % 2 == 0 { "eu" } else { "us" }.to_owned());
            if n % 4 == 3 && n % 8 == 3 {
                failed(record);
            }
        });
        watch.tick();
    }
    let found = fact(&watch, 0, "Associated with");
    // Every key of the region that is worse is not: one is.
    assert_eq!(found[0], "key=key_3: 50 % of 70 calls failed, 0 % of the 210 others");
    assert_eq!(found[1], "region=us: 25 % of 140 calls failed, 0 % of the 140 others");
    assert_eq!(found.len(), 2);
}

#[test]
fn a_part_of_the_calls_that_fails_more_than_the_others_is_told() {
    let mut watch = only(&["part-worse"]);
    watch.webhook(None, HOOK);
    calls(&watch, NEW_YEAR_MS - 30 * MINUTE_MS, 600, |n, record| {
        record.key_id = format!("key_{}", n % 5);
        record.release = if n % 2 == 0 { "a" } else { "b" }.to_owned();
        // Of one key a third; of the others three in a hundred.
        if (n % 5 == 4 && n % 3 == 0) || (n % 5 != 4 && n % 31 == 0) {
            failed(record);
        }
    });
    watch.play("12_");
    assert_eq!(
        notices(&watch),
        ["firing: Ann: 5xx share less that of all other calls is 30 % for key=key_4 (limit 5 %, 120 calls)"]
    );
    assert_eq!(fact(&watch, 0, "All other calls"), ["3.3 %"]);
    assert_eq!(fact(&watch, 0, "Part"), ["key=key_4"]);
    // A preview sees the same.
    let rule = hypercare::rule::shipped("part-worse").unwrap();
    let (from_ms, to_ms) = (NEW_YEAR_MS, NEW_YEAR_MS + 10 * MINUTE_MS);
    let preview = block_on(rules::preview(&*watch.host, &rule, from_ms, to_ms)).unwrap();
    let told: Vec<_> =
        preview.episodes.iter().map(|told| (told.tenant_id.as_deref(), told.route.as_deref())).collect();
    assert_eq!(told, [(Some("tn_a"), Some("key=key_4"))]);
}

#[test]
fn a_known_error_that_becomes_frequent_is_told() {
    let mut watch = only(&["error-surge"]);
    watch.webhook(None, HOOK);
    let fault = "demo 503 overloaded: the model is overloaded, request <id>";
    for hour in 2..=170 {
        let hour_ms = NEW_YEAR_MS - hour * 60 * MINUTE_MS;
        let sql = "INSERT INTO faults (fault, hour_ms, calls) VALUES (?1, ?2, 4)";
        watch.host.db.sql(sql, &[json!(fault), json!(hour_ms)]);
    }
    calls(&watch, NEW_YEAR_MS - 30 * MINUTE_MS, 120, |n, record| match n % 3 {
        0 => {
            failed(record);
            record.status = 503;
            record.error_type = Some("overloaded".to_owned());
            record.error_template = Some("the model is overloaded, request <id>".to_owned());
        }
        // Never seen before: there is nothing to compare it with.
        1 => {
            failed(record);
            record.status = 502;
            record.error_type = Some("network".to_owned());
        }
        _ => {}
    });
    watch.play("11_");
    let told = notices(&watch);
    let expected = format!(
        "firing: calls with the same error in an hour against what the week before allows: 1.7 times for the error {fault} \
         (limit 1 times, 40 calls)"
    );
    assert_eq!(told, [expected]);
    assert_eq!(fact(&watch, 0, "Limit of the hour"), ["24"]);
    let labels = &watch.host.upstream.sent_to(HOOK)[0].json()["data"]["labels"];
    assert!(labels.to_string().contains("demo"), "{labels}");
    // The other one is known from now on.
    let known = watch.host.db.sql("SELECT count(DISTINCT fault) AS n FROM faults", &[]);
    assert_eq!(known, [json!({ "n": 2 })]);
}

#[test]
fn a_provider_that_answers_differently_is_told_once() {
    let mut watch = only(&["provider-change"]);
    watch.webhook(None, HOOK);
    for (model, kind, value, days) in [
        ("echo", "served_model", "echo-1", 20),
        ("echo", "finish_reason", "stop", 20),
        ("", "error", "503 overloaded", 20),
        // Known for too short a time.
        ("young", "served_model", "young-1", 2),
    ] {
        let sql = "INSERT INTO traits (provider_name, model, kind, value, first_ms, last_ms, calls)
                   VALUES ('demo', ?1, ?2, ?3, ?4, ?4, 9)";
        let at_ms = NEW_YEAR_MS - days * 24 * 60 * MINUTE_MS;
        watch.host.db.sql(sql, &[json!(model), json!(kind), json!(value), json!(at_ms)]);
    }
    calls(&watch, NEW_YEAR_MS - 30 * MINUTE_MS, 60, |n, record| {
        let model = if n % 2 == 0 { "echo" } else { "young" };
        record.target_model = model.to_owned();
        record.response_model = Some(format!("{model}-{}", if n < 50 { 1 } else { 2 }));
        record.native_finish_reason = Some(if n == 0 { "length" } else { "stop" }.to_owned());
        if n % 12 == 2 {
            failed(record);
            record.error_type = Some("garbled".to_owned());
            record.status = 502;
        }
    });
    watch.play("72_");
    assert_eq!(
        notices(&watch),
        [
            "firing: 2 alerts: not seen before: demo fails with 502 garbled (5 calls)",
            "resolved: all 2 alerts are over: known by now: demo fails with 502 garbled",
        ]
    );
    let sql = "SELECT summary, notice FROM episodes WHERE resolved_ms IS NOT NULL ORDER BY summary";
    let episodes = watch.host.db.sql(sql, &[]);
    let told: Vec<&str> = episodes.iter().map(|episode| episode["summary"].as_str().unwrap()).collect();
    // One answer that ended in another way is not enough; what the young model does is no news.
    assert_eq!(
        told,
        [
            "not seen before: demo echo served as echo-2 (5 calls)",
            "not seen before: demo fails with 502 garbled (5 calls)",
        ]
    );
    for (episode, known) in episodes.iter().zip(["echo-1", "503 overloaded"]) {
        let fact = format!(r#"["Known before","{known}"]"#);
        assert!(episode["notice"].as_str().unwrap().contains(&fact), "{episode}");
    }
}

#[test]
fn fallbacks_and_retries_are_told_and_so_is_a_slow_gateway() {
    let attempt = |provider: &str| Attempt {
        provider: provider.to_owned(),
        model: "m".to_owned(),
        status: Some(200),
        error_type: None,
        duration_ms: 5,
    };
    for (rule, every, change, expected) in [
        (
            "fallback-share",
            8,
            &(|record: &mut Record| record.attempts = vec![attempt("openai"), attempt("anthropic")])
                as &dyn Fn(&mut Record),
            "firing: Ann: fallback share 15 % > 10 % on /v1/chat/completions (10 min, 160 calls)",
        ),
        (
            "retries",
            3,
            &|record| record.attempts = vec![attempt("openai"), attempt("openai")],
            "firing: Ann: retries by calls 0.35 > 0.25 on /v1/chat/completions (10 min, 160 calls)",
        ),
        (
            "gateway-overhead",
            1,
            &|record| record.overhead_ms = 60,
            "firing: mean gateway overhead 60 ms > 50 ms (15 min, 260 calls)",
        ),
    ] {
        let mut watch = only(&[rule]);
        watch.webhook(None, HOOK);
        for _ in 0..13 {
            calls(&watch, watch.minute_ms(), 20, |n, record| {
                if n % every == 0 {
                    change(record);
                }
            });
            watch.tick();
        }
        assert_eq!(notices(&watch), [expected], "{rule}");
        // It resolves once all is well.
        watch.calls_a_minute = 20;
        watch.play("30s");
        assert_eq!(notices(&watch).len(), 2, "{rule}");
    }
}

#[test]
fn a_load_from_which_on_calls_wait_longer_is_told() {
    let rule = json!({ "title": "t", "measure": "mean_wait", "method": "knee", "threshold": 1 });
    for (newest, expected) in [(260, "beyond"), (150, "")] {
        let mut watch = only(&[]);
        watch.webhook(None, HOOK);
        block_on(rules::create(&*watch.host, rule.to_string().as_bytes())).unwrap();
        for ago in 1..=168 {
            let calls = if ago == 1 { newest } else { 10 * (1 + ago % 30) };
            hour(&watch, ago, calls, 200 + calls / 10 + (calls - 200).max(0) * 5);
        }
        watch.play("11_");
        let told = notices(&watch).join("\n");
        assert!(told.contains(expected) && told.is_empty() == expected.is_empty(), "{newest}: {told}");
        if newest > 200 {
            assert_eq!(
                told,
                "firing: Ann: mean wait grows faster beyond a certain load, of which an hour had 1.3 times on \
                 /v1/chat/completions (limit 1 times, 260 calls)"
            );
            assert_eq!(fact(&watch, 0, "Load at the bend"), ["200"]);
        }
    }
}

#[test]
fn rules_of_ones_own_may_look_at_providers_parts_and_loads() {
    let watch = only(&[]);
    for (rule, expected) in [
        (json!({ "measure": "mean_wait", "threshold": 900, "scope": "provider" }), ""),
        (json!({ "measure": "client_error_share", "method": "segments", "threshold": 0.1 }), ""),
        (json!({ "measure": "fault_calls", "method": "surge", "threshold": 2 }), ""),
        (json!({ "measure": "news", "threshold": 0 }), ""),
        (json!({ "measure": "mean_duration", "method": "knee", "threshold": 0.9 }), ""),
        (json!({ "measure": "silence", "threshold": 0.5, "scope": "provider" }), "scope"),
        (json!({ "measure": "news", "threshold": 0, "scope": "route" }), "scope"),
        (json!({ "measure": "news", "threshold": 0, "tenant_id": "tn_a" }), "tenant_id"),
        (json!({ "measure": "mean_wait", "threshold": 1, "scope": "provider", "route": "/v1" }), "route"),
        (json!({ "measure": "fault_calls", "threshold": 5 }), "method"),
        (json!({ "measure": "calls", "method": "knee", "threshold": 1 }), "method"),
        (json!({ "measure": "mean_wait", "method": "segments", "threshold": 0.1 }), "method"),
    ] {
        let mut definition = rule.clone();
        definition["title"] = json!("t");
        let definition = definition.to_string();
        let field = match block_on(rules::create(&*watch.host, definition.as_bytes())) {
            Ok(_) => String::new(),
            Err(error) => error.to_string().split(' ').next().unwrap().replace('`', ""),
        };
        assert_eq!(field, expected, "{rule}");
    }
}

/// A deployment with these rules, as shipped, and no others.
fn only(shipped: &[&str]) -> Watch {
    let watch = Watch::as_shipped();
    for rule in hypercare::rule::default_pack() {
        if !shipped.contains(&&*rule.id) {
            watch.set_rule(&rule.id, r#"{"enabled":false}"#);
        }
    }
    watch
}

/// Calls of `tn_a` within a minute or, if there are many, half an hour.
fn calls(watch: &Watch, from_ms: i64, count: i64, change: impl Fn(i64, &mut Record)) {
    let made = |n: i64| {
        let mut record = record("tn_a", from_ms + n * 1_000);
        record.id = format!("call_{from_ms}_{n}");
        change(n, &mut record);
        record
    };
    let records: Vec<Record> = (0..count).map(made).collect();
    for batch in records.chunks(100) {
        block_on(journal::write(&*watch.host, batch)).unwrap();
    }
}

fn failed(record: &mut Record) {
    record.outcome = Outcome::Error;
    record.status = 500;
    record.error_type = Some("upstream_error".to_owned());
}

/// An hour of calls that all waited this long.
fn hour(watch: &Watch, ago: i64, calls: i64, wait_ms: i64) {
    let sql = "
        INSERT INTO rollups (grain, bucket_ms, tenant_id, route, provider_name, model, outcome, calls, streams,
            without_usage, duration_sum_ms, wait_count, wait_sum_ms, overhead_sum_ms, duration_histogram,
            wait_histogram, input_tokens, cache_read_input_tokens, cache_write_input_tokens, output_tokens,
            reasoning_output_tokens, cost_microusd, without_cost)
        VALUES ('hour', ?1, 'tn_a', ?2, 'demo', 'echo', 'ok', ?3, 0, 0, 0, ?3, ?4, 0, '{}', ?5, 0, 0, 0, 0, 0, 0, 0)";
    let waits = json!({ histogram::bucket(wait_ms).to_string(): calls }).to_string();
    let hour_ms = NEW_YEAR_MS - ago * 60 * MINUTE_MS;
    let params = [json!(hour_ms), json!(ROUTE), json!(calls), json!(calls * wait_ms), json!(waits)];
    watch.host.db.sql(sql, &params);
}

/// What was told: kind and summary.
fn notices(watch: &Watch) -> Vec<String> {
    let sent = watch.host.upstream.sent_to(HOOK);
    let told = |sent: &tests::Sent| {
        let data = &sent.json()["data"];
        format!("{}: {}", data["kind"].as_str().unwrap(), data["summary"].as_str().unwrap())
    };
    sent.iter().map(told).collect()
}

/// The values of a fact of a notice.
fn fact(watch: &Watch, at: usize, name: &str) -> Vec<String> {
    let data = watch.host.upstream.sent_to(HOOK)[at].json()["data"].clone();
    let facts = data["facts"].as_array().unwrap().clone();
    let named = facts.iter().filter(|fact| fact["name"] == name);
    named.map(|fact: &Value| fact["value"].as_str().unwrap().to_owned()).collect()
}

const HOOK: &str = "https://hook.example/a";
