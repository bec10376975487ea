//! Rules: those of one's own beside the shipped ones, what they would have told, and how well they do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use gateway::{
    ports::Clock as _,
    rules::{self, Preview},
};
use hypercare::{
    histogram,
    rule::{Override, Rule, shipped},
    time::MINUTE_MS,
};
use serde_json::{Value, json};
use tests::{Gateway, Watch, block_on, host::NEW_YEAR_MS};

//  calls: s all is well  e errors  w slow  l a record is lost  _ none

#[test]
fn a_rule_of_each_kind_fires_and_resolves() {
    for (rule, calls, expected) in [
        (json!({ "measure": "p95(wait)", "threshold": 500 }), "2s 2w 3s", "2-4"),
        (json!({ "measure": "p95(wait)", "threshold": 500, "for_minutes": 1 }), "2s 2w 3s", "3-4"),
        (json!({ "measure": "mean_duration", "threshold": 700 }), "_ s _ _ 10_", "1-11"),
        (json!({ "measure": "calls", "threshold": 1 }), "_ s 9_", "1-"),
        (json!({ "measure": "calls", "threshold": 1, "no_data": "zero" }), "_ s _", "1-2"),
        (json!({ "measure": "cost_microusd", "threshold": 9 }), "_ s", "1-"),
        (json!({ "measure": "output_tokens/calls", "threshold": 30, "side": "below" }), "_ s", "1-"),
        // One of two calls is an error in the first of two minutes, one of four in the second.
        (json!({ "measure": "error_share", "threshold": 0.3, "window_minutes": 2 }), "e s s", "0-1"),
        (
            json!({ "measure": "calls", "method": "drop", "threshold": 0.5, "window_minutes": 5, "min_count": 60 }),
            // Four calls in five minutes are fewer than half of ten.
            "60s 9_ 5s",
            "62-71",
        ),
        (
            json!({ "measure": "error_share", "method": { "kind": "burn_rate", "objective": 0.99 }, "threshold": 1 }),
            // Every five minutes; an hour whose first half had no calls is no hour. Then five clean minutes.
            "38e 20s",
            "30-45",
        ),
        (json!({ "measure": "lost", "threshold": 0, "window_minutes": 1 }), "s l s", "1-2"),
        (json!({ "measure": "silence", "threshold": 0.05, "window_minutes": 5 }), "4s 6_ 2s", "8-10"),
    ] {
        let mut watch = quiet();
        let id = create(&watch, &rule);
        watch.play(calls);
        assert_eq!(told(&watch, &id), expected, "{rule}: {calls}");
    }
}

#[test]
fn rules_that_look_back_for_days_see_the_hours_and_days_there_were() {
    // The year is five minutes old when the last hour and the last day are looked at.
    let hours = |value: &dyn Fn(i64) -> i64| (1..=28 * 24).map(|ago| (ago, value(ago))).collect::<Vec<_>>();
    let days = |value: &dyn Fn(i64) -> i64| (1..=30).map(|ago| (ago, value(ago))).collect::<Vec<_>>();
    for (rule, grain, waits, expected) in [
        ("anomaly", "hour", hours(&|ago| if ago == 1 { 900 } else { 300 + ago % 7 }), "5-"),
        ("anomaly", "hour", hours(&|ago| 300 + ago % 7), ""),
        // What is usual on Wednesdays at eleven in the evening is nothing to talk about.
        ("anomaly", "hour", hours(&|ago| if ago % 168 == 1 { 900 } else { 300 + ago % 7 }), ""),
        ("shift", "hour", hours(&|ago| if ago <= 20 { 340 } else { 300 + ago % 7 * 10 }), ""),
        ("shift", "hour", hours(&|ago| if ago <= 20 { 380 } else { 300 + ago % 7 * 10 }), "5-"),
        ("trend", "day", days(&|ago| 490 - 6 * ago), "5-"),
        ("trend", "day", days(&|ago| 400 - 6 * ago), ""),
        ("trend", "day", days(&|ago| 490 - ago % 3), ""),
        // The last day's waits against those of the week before it.
        (
            "drift",
            "hour",
            hours(&|ago| if ago <= 24 { 600 + ago % 7 * 50 } else { 300 + ago % 7 * 50 }),
            "5-",
        ),
        ("drift", "hour", hours(&|ago| 300 + ago % 7 * 50), ""),
    ] {
        let mut watch = quiet();
        for (ago, wait_ms) in waits {
            rollup(&watch, grain, ago, 100, wait_ms);
        }
        let (method, threshold) = match rule {
            "trend" => (json!({ "kind": "trend", "limit": 500 }), 7.0),
            "drift" => (json!("drift"), 0.25),
            other => (json!(other), 5.0),
        };
        let measure = if rule == "drift" { "p50(wait)" } else { "mean_wait" };
        let rule = json!({ "measure": measure, "method": method, "threshold": threshold });
        let id = create(&watch, &rule);
        watch.play("7s");
        assert_eq!(told(&watch, &id), expected, "{rule} {grain}");
    }
}

#[test]
fn a_surge_is_more_errors_in_an_hour_than_the_week_before_allows() {
    for (newest, before, expected) in [(100, 20, ""), (130, 20, "5-"), (30, 0, "")] {
        let mut watch = quiet();
        rollup(&watch, "hour", 1, newest, 10);
        if before > 0 {
            (2..=170).for_each(|ago| rollup(&watch, "hour", ago, before, 10));
        }
        let id = create(&watch, &json!({ "measure": "errors", "method": "surge", "threshold": 1 }));
        watch.play("7s");
        assert_eq!(told(&watch, &id), expected, "{newest} after {before}");
    }
}

#[test]
fn what_ends_on_a_day_that_is_known_is_told_ahead() {
    for (days, expected) in [(40, ""), (50, "5-")] {
        let mut watch = quiet();
        // The model is switched off 46 days after the year began.
        rollup(&watch, "hour", 3, 10, 10);
        let id = create(&watch, &json!({ "measure": "model_days_left", "threshold": days }));
        watch.play("7s");
        assert_eq!(told(&watch, &id), expected, "{days}");
    }
}

#[test]
fn an_old_price_table_is_told_once_a_day() {
    let dated_ms = hypercare::time::parse_rfc3339(&format!("{}T00:00:00Z", llm::price::VERSION)).unwrap();
    let rule = shipped("price-table-old").unwrap();
    for (days, expected) in [(89, 0), (91, 1)] {
        let watch = quiet();
        let from_ms = dated_ms + days * 24 * 60 * MINUTE_MS;
        let preview =
            block_on(rules::preview(&*watch.host, &rule, from_ms, from_ms + 9 * MINUTE_MS)).unwrap();
        assert_eq!((preview.looks, preview.episodes.len()), (1, expected), "{days}");
        assert!(preview.episodes.iter().all(|told| told.tenant_id.is_none()));
    }
}

#[test]
fn a_notice_carries_what_its_value_was_compared_with() {
    let mut watch = quiet();
    watch.webhook(None, HOOK);
    create(&watch, &json!({ "measure": "calls", "method": "drop", "threshold": 0.5, "window_minutes": 5 }));
    watch.play("60s 4_");
    let told = watch.host.upstream.sent_to(HOOK)[0].json();
    let summary =
        "Ann: calls against the hour before: 41.4 % on /v1/chat/completions (limit 50 %, 116 calls)";
    assert_eq!(told["data"]["summary"], summary);
    assert!(told.to_string().contains(r#"{"name":"Expected","value":"9.7"}"#), "{told}");
}

#[test]
fn a_rule_may_look_at_one_tenant_one_route_or_everything() {
    let one = json!({ "measure": "error_share", "threshold": 0.1, "tenant_id": "tn_b" });
    let route = json!({ "measure": "error_share", "threshold": 0.1, "route": "/v1/embeddings" });
    let whole = json!({ "measure": "error_share", "threshold": 0.3, "scope": "system" });
    let mut watch = quiet();
    let [one, route, whole] = [one, route, whole].map(|rule| create(&watch, &rule));
    // A quarter of all calls are errors, half of one tenant's; then half of all.
    for letters in ["es", "ee", "ss"] {
        for (tenant, letter) in ["tn_b", "tn_a"].into_iter().zip(letters.chars()) {
            watch.calls(tenant, letter);
        }
        watch.tick();
    }
    assert_eq!(told(&watch, &one), "0-2");
    assert_eq!(told(&watch, &route), "");
    assert_eq!(told(&watch, &whole), "1-2");
    let sql = "SELECT tenant_id, route FROM episodes WHERE rule_id = ?1";
    let of = |id: &str| watch.host.db.sql(sql, &[json!(id)])[0]["tenant_id"].as_str().unwrap().to_owned();
    assert_eq!((of(&one), of(&whole)), ("tn_b".to_owned(), String::new()));
}

#[test]
fn a_rule_that_is_changed_or_deleted_ends_what_it_told() {
    let mut watch = quiet();
    let rule = json!({ "title": "t", "measure": "calls", "threshold": 1, "window_minutes": 1 });
    let [changed, deleted] = [(); 2].map(|()| create(&watch, &rule));
    watch.play("s");
    assert_eq!((told(&watch, &changed), told(&watch, &deleted)), ("0-".to_owned(), "0-".to_owned()));
    let mut other = rule.clone();
    other["tenant_id"] = json!("tn_b");
    let other = other.to_string();
    let put = rules::put(&*watch.host, &changed, other.as_bytes(), watch.host.now_ms());
    assert_eq!(block_on(put).unwrap().rule.tenant_id.as_deref(), Some("tn_b"));
    block_on(rules::delete(&*watch.host, &deleted, watch.host.now_ms())).unwrap();
    let ids = |watch: &Watch| {
        let own = block_on(rules::list(&*watch.host)).unwrap().into_iter().filter(|view| !view.shipped);
        own.map(|view| view.rule.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&watch), [changed.as_str()]);
    watch.play("2s");
    assert_eq!((told(&watch, &changed), told(&watch, &deleted)), ("0-1".to_owned(), "0-1".to_owned()));
    for gone in [deleted.as_str(), "ru_never"] {
        assert!(block_on(rules::delete(&*watch.host, gone, 0)).is_err());
        assert!(block_on(rules::put(&*watch.host, gone, rule.to_string().as_bytes(), 0)).is_err());
    }
    // The next that is deleted takes those along that have nothing open any more.
    block_on(rules::delete(&*watch.host, &changed, 1)).unwrap();
    let left = watch.host.db.sql("SELECT id FROM rules", &[]);
    assert_eq!(left, [json!({ "id": changed })]);
    assert!(watch.host.db.sql("SELECT * FROM evaluations WHERE rule_id = ?1", &[json!(deleted)]).is_empty());
}

#[test]
fn a_stored_rule_this_release_does_not_understand_stops_no_other() {
    let mut watch = quiet();
    let id = create(&watch, &json!({ "measure": "calls", "threshold": 1 }));
    let sql = "INSERT INTO rules (id, definition, created_ms, updated_ms) VALUES ('ru_new', ?1, 0, 0)";
    watch.host.db.sql(sql, &[json!(r#"{"title":"t","measure":"joy","threshold":1}"#)]);
    watch.play("s");
    assert_eq!(told(&watch, &id), "0-");
    let log = "rule ru_new: it cannot be read and stays where it is: `measure` is not known.";
    assert!(watch.host.logs().iter().any(|line| line == log), "{:?}", watch.host.logs());
}

#[test]
fn rules_that_need_the_same_past_cost_no_more_than_one() {
    let statements = |rules: usize| {
        let mut watch = Watch::as_shipped();
        for _ in 0..rules {
            for (measure, threshold) in [
                ("calls", 1_000_000),
                ("error_share", 1),
                ("mean_duration", 600_000),
                ("p99(wait)", 600_000),
                ("output_tokens/calls", 1_000_000),
            ] {
                create(&watch, &json!({ "measure": measure, "threshold": threshold }));
            }
        }
        watch.play("2s");
        let before = watch.host.db.statements();
        watch.tick();
        watch.host.db.statements() - before
    };
    assert_eq!(statements(0), statements(1));
    assert_eq!(statements(0), statements(10));
    assert!(statements(10) < 40, "{}", statements(10));
}

#[test]
fn there_are_at_most_fifty_rules() {
    let watch = quiet();
    let rule = json!({ "title": "t", "measure": "calls", "threshold": 1 }).to_string();
    for _ in 0..50 {
        block_on(rules::create(&*watch.host, rule.as_bytes())).unwrap();
    }
    let error = block_on(rules::create(&*watch.host, rule.as_bytes())).unwrap_err();
    assert_eq!(error.to_string(), "`body` cannot be added: there are 50 rules already.");
}

#[test]
fn a_preview_says_what_the_tick_told() {
    let mut watch = Watch::new();
    watch.calls_a_minute = 20;
    watch.play("5s 2e 4s 3e 9s 2w 8s e");
    let preview = |rule: &Rule| {
        let to_ms = watch.minute_ms() - MINUTE_MS;
        block_on(rules::preview(&*watch.host, rule, NEW_YEAR_MS, to_ms)).unwrap()
    };
    let text = |preview: &Preview| {
        let minute = |ms: i64| (ms - NEW_YEAR_MS) / MINUTE_MS;
        let one = |told: &rules::Told| {
            let resolved = told.resolved_ms.map(minute).map_or(String::new(), |minute| minute.to_string());
            format!("{}-{resolved}", minute(told.fired_ms))
        };
        preview.episodes.iter().map(one).collect::<Vec<_>>().join(" ")
    };
    let holds = block_on(rules::list(&*watch.host)).unwrap();
    for id in ["error-share", "slow-response"] {
        let rule = &holds.iter().find(|view| view.rule.id == id).unwrap().rule;
        assert_eq!(text(&preview(rule)), told(&watch, id), "{id}");
    }
    let error_share = &holds[0].rule;
    let seen = preview(error_share);
    assert_eq!((seen.series, seen.looks), (1, 34));
    assert_eq!((seen.episodes[0].value, seen.episodes[0].count), (0.05, 20));
    assert_eq!(seen.episodes[0].tenant_id.as_deref(), Some("tn_a"));
    assert_eq!(seen.suggested_threshold, Some(0.05));
    // As it is suggested, it would not have fired.
    let settings = Override { threshold: seen.suggested_threshold, ..Override::default() };
    assert_eq!(text(&preview(&error_share.with(&settings).unwrap())), "");
    // A rule that is switched off is previewed all the same.
    let off = Rule { enabled: false, ..error_share.clone() };
    assert_eq!(preview(&off).episodes.len(), seen.episodes.len());
    let day = 24 * 60 * MINUTE_MS;
    for (from_ms, to_ms) in [(0, day + MINUTE_MS), (MINUTE_MS, 0)] {
        assert!(block_on(rules::preview(&*watch.host, error_share, from_ms, to_ms)).is_err());
    }
}

#[test]
fn a_rules_quality_is_how_often_it_fired_and_how_often_in_vain() {
    let mut watch = Watch::new();
    watch.set_rule(
        "error-share",
        r#"{"min_count":1,"window_minutes":1,"for_minutes":0,"keep_firing_minutes":0}"#,
    );
    watch.play("e s e s e s s e");
    let quality = block_on(rules::quality(&*watch.host, NEW_YEAR_MS)).unwrap();
    let of = |id: &str| quality.iter().find(|quality| quality.rule_id == id).unwrap().clone();
    let errors = of("error-share");
    // The third time it is held open.
    assert_eq!((errors.fires, errors.flaps, errors.open, errors.acknowledged), (3, 2, 1, 0));
    assert_eq!((errors.mean_minutes, errors.advice), (Some(1.0), Some("flaps")));
    assert_eq!(errors.last_fired_ms, Some(NEW_YEAR_MS + 4 * MINUTE_MS));
    let silence = of("no-calls");
    assert_eq!((silence.fires, silence.advice, silence.last_fired_ms), (0, Some("never_fired"), None));
    assert_eq!(of("error-budget").advice, None);
    let later = block_on(rules::quality(&*watch.host, NEW_YEAR_MS + 10 * MINUTE_MS)).unwrap();
    assert!(later.iter().all(|quality| quality.fires == 0));
}

#[test]
fn rules_are_managed_over_the_admin_api() {
    let gateway = Gateway::default();
    let rule =
        json!({ "title": "Ann's tail", "measure": "p99(wait)", "threshold": 5000, "severity": "page" });
    let created = gateway.admin("POST", "rules", &rule);
    assert_eq!(created.status, 201);
    let created = created.json();
    let id = created["id"].as_str().unwrap();
    assert_eq!(
        (&created["measure"], &created["method"], &created["shipped"], &created["no_data"]),
        (&json!("p99(wait)"), &json!({ "kind": "threshold" }), &json!(false), &json!("show"))
    );
    let listed = gateway.admin("GET", "rules", &Value::Null).json();
    assert_eq!(listed["data"].as_array().unwrap().last(), Some(&created));
    assert_eq!(listed["data"][0]["shipped"], json!(true));
    let mut changed = rule.clone();
    changed["threshold"] = json!(6000);
    assert_eq!(gateway.admin("PUT", &format!("rules/{id}"), &changed).json()["threshold"], json!(6000.0));
    let preview =
        gateway.admin("POST", "rules/preview", &json!({ "rule": id, "settings": { "threshold": 9 } }));
    assert_eq!((preview.status.as_u16(), &preview.json()["rule"]["threshold"]), (200, &json!(9.0)));
    let preview = gateway.admin("POST", "rules/preview", &json!({ "definition": rule })).json();
    assert_eq!((&preview["episodes"], &preview["suggested_threshold"]), (&json!([]), &Value::Null));
    let quality = gateway.admin("GET", "rules/quality?days=7", &Value::Null).json();
    assert_eq!(quality["data"].as_array().unwrap().last().unwrap()["rule_id"], json!(id));
    let deleted = gateway.admin("DELETE", &format!("rules/{id}"), &Value::Null);
    assert_eq!(deleted.json(), json!({ "id": id, "deleted": true }));

    for (method, path, body, expected) in [
        ("POST", "rules", json!({ "title": "t", "measure": "joy", "threshold": 1 }), "400 measure"),
        ("PUT", &*format!("rules/{id}"), rule.clone(), "404 -"),
        ("DELETE", &*format!("rules/{id}"), Value::Null, "404 -"),
        ("DELETE", "rules/error-share", Value::Null, "400 rule"),
        ("POST", "rules/preview", json!({}), "400 rule"),
        ("POST", "rules/preview", json!({ "rule": "error-share", "definition": rule }), "400 rule"),
        ("POST", "rules/preview", json!({ "rule": "nothing" }), "404 -"),
        ("POST", "rules/preview", json!({ "rule": "error-share", "from": 0 }), "400 from"),
        (
            "POST",
            "rules/preview",
            json!({ "rule": "error-share", "settings": { "threshold": 2 } }),
            "400 threshold",
        ),
        ("GET", "rules/quality?days=0", Value::Null, "400 days"),
    ] {
        let answered = gateway.admin(method, path, &body);
        let param = answered.json()["error"]["param"].as_str().unwrap_or("-").to_owned();
        assert_eq!(format!("{} {param}", answered.status.as_u16()), expected, "{method} {path} {body}");
    }
    assert!(shipped(id).is_none());
}

const HOOK: &str = "https://hooks.example/team";

/// A deployment whose shipped rules are switched off.
fn quiet() -> Watch {
    let watch = Watch::new();
    for rule in hypercare::rule::default_pack() {
        watch.set_rule(&rule.id, r#"{"enabled":false}"#);
    }
    watch
}

/// Adds a rule that judges one minute by one call, and resolves at once, unless it says otherwise.
fn create(watch: &Watch, rule: &Value) -> String {
    let mut definition = json!({ "title": "A rule", "window_minutes": 1, "keep_firing_minutes": 0 });
    if rule["measure"] == "silence" {
        definition["window_minutes"] = rule["window_minutes"].clone();
    }
    for (name, value) in rule.as_object().unwrap() {
        definition[name] = value.clone();
    }
    block_on(rules::create(&*watch.host, definition.to_string().as_bytes())).unwrap().rule.id.to_string()
}

/// From which minute to which there were episodes of a rule: `2-4 7-`.
fn told(watch: &Watch, rule_id: &str) -> String {
    let sql = "
        SELECT ((opened_ms - ?2) / 60000) || '-' || coalesce((resolved_ms - ?2) / 60000, '') AS told
        FROM episodes WHERE rule_id = ?1 ORDER BY opened_ms";
    let rows = watch.host.db.sql(sql, &[json!(rule_id), json!(NEW_YEAR_MS)]);
    rows.iter().map(|row| row["told"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// A bucket of calls that all waited this long, so many buckets before the year began.
fn rollup(watch: &Watch, grain: &str, ago: i64, calls: i64, wait_ms: i64) {
    let width_ms = if grain == "day" { 86_400_000 } else { 3_600_000 };
    let sql = "
        INSERT INTO rollups (grain, bucket_ms, tenant_id, route, provider_name, model, outcome, calls, streams,
            without_usage, duration_sum_ms, wait_count, wait_sum_ms, overhead_sum_ms, duration_histogram,
            wait_histogram, input_tokens, cache_read_input_tokens, cache_write_input_tokens, output_tokens,
            reasoning_output_tokens, cost_microusd, without_cost)
        VALUES (?1, ?2, 'tn_a', ?3, 'cerebras', 'llama-3.3-70b', 'error', ?4, 0, 0, 0, ?4, ?5, 0, '{}', ?6,
            0, 0, 0, 0, 0, 0, 0)";
    let waits = json!({ histogram::bucket(wait_ms).to_string(): calls }).to_string();
    let params = [
        json!(grain),
        json!(NEW_YEAR_MS - ago * width_ms),
        json!(tests::watch::ROUTE),
        json!(calls),
        json!(calls * wait_ms),
        json!(waits),
    ];
    watch.host.db.sql(sql, &params);
}
