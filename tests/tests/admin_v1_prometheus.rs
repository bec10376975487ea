//! Queries in Prometheus's language, as Grafana asks them: what `/metrics` shows, at any moment.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::collections::BTreeMap;

use gateway::{
    journal,
    record::{Outcome, Record},
    tick::tick,
};
use serde_json::{Value, json};
use tests::{Answered, Gateway, block_on, host::NEW_YEAR_MS, watch::record};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Ten calls a minute for half an hour before three o'clock: of model `a` eight, two of them errors; of `b.c` two,
/// slow ones.
fn busy() -> Gateway {
    let gateway = Gateway::default();
    let three_ms = NEW_YEAR_MS + 3 * HOUR_MS;
    let mut records = Vec::new();
    for minute in 0..30 {
        for n in 0..10 {
            records.push(call(three_ms - (30 - minute) * MINUTE_MS + n * 1_000, n));
        }
    }
    block_on(journal::write(&gateway.host, &records)).unwrap();
    gateway.host.set_now(three_ms + 30_000);
    for _ in 0..3 {
        gateway.host.db.sql("UPDATE schedule SET claimed_ms = 0", &[]);
        block_on(tick(&gateway.host, three_ms + 30_000)).unwrap();
    }
    gateway
}

fn call(started_ms: i64, n: i64) -> Record {
    let mut record = record("tn_a", started_ms);
    record.target_model = if n < 8 { "a" } else { "b.c" }.to_owned();
    record.outcome = if n < 2 { Outcome::Error } else { Outcome::Ok };
    record.duration_ms = if n < 8 { 400 } else { 4_000 };
    record
}

fn ask(gateway: &Gateway, path: &str, params: &[(&str, &str)]) -> Answered {
    let escape = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let form: Vec<String> = params.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    gateway.admin("GET", &format!("prometheus/api/v1/{path}?{}", form.join("&")), &Value::Null)
}

/// The result of a query at three o'clock, series by series.
fn now(gateway: &Gateway, query: &str) -> BTreeMap<String, String> {
    let at = ((NEW_YEAR_MS + 3 * HOUR_MS) / 1000).to_string();
    let answered = ask(gateway, "query", &[("query", query), ("time", &at)]).json();
    assert_eq!(answered["status"], "success", "{query}: {answered}");
    let shown = |series: &Value| {
        let mut labels: Vec<String> = series["metric"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap()))
            .collect();
        labels.sort();
        (labels.join(","), series["value"][1].as_str().unwrap().to_owned())
    };
    answered["data"]["result"].as_array().unwrap().iter().map(shown).collect()
}

fn one(gateway: &Gateway, query: &str) -> String {
    let found = now(gateway, query);
    assert_eq!(found.len(), 1, "{query}: {found:?}");
    found.into_values().next().unwrap()
}

#[test]
fn growth_over_a_window_is_what_was_counted_in_it() {
    let gateway = busy();
    for (query, expected) in [
        ("sum(increase(hypergate_calls_total[5m]))", "50"),
        ("sum(rate(hypergate_calls_total[10m])) * 60", "10"),
        ("sum(increase(hypergate_calls_total[1h]))", "300"),
        ("sum(increase(hypergate_calls_total[5m] offset 1h))", ""),
        ("sum(increase(hypergate_calls_total[10m] offset 25m))", "50"),
        (
            r#"sum(increase(hypergate_calls_total{outcome="error"}[5m])) / sum(increase(hypergate_calls_total[5m]))"#,
            "0.2",
        ),
        (r#"sum(increase(hypergate_calls_total{model=~"b.+",outcome!="error"}[5m]))"#, "10"),
        (r#"sum(increase(hypergate_tokens_total{type="output"}[5m]))"#, "1000"),
        ("sum(increase(hypergate_cost_usd_total[5m]))", "0.00025"),
        ("sum(increase(hypergate_streams_total[5m]))", "50"),
        ("sum(increase(hypergate_call_duration_seconds_count[5m]))", "50"),
        ("sum(increase(hypergate_call_duration_seconds_sum[5m]))", "56"),
        (r#"sum(increase(hypergate_call_duration_seconds_bucket{le="+Inf"}[5m]))"#, "50"),
        ("1 + 1", ""),
    ] {
        match expected {
            "" => {
                assert!(ask(&gateway, "query", &[("query", query)]).json()["status"] == "success", "{query}")
            }
            expected => assert_eq!(one(&gateway, query), expected, "{query}"),
        }
    }
    let by_model = now(&gateway, "sum by (model) (increase(hypergate_calls_total[5m]))");
    assert_eq!(
        by_model,
        BTreeMap::from([("model=a".into(), "40".into()), ("model=b.c".into(), "10".into())])
    );
    let p50: f64 = one(
        &gateway,
        "histogram_quantile(0.5, sum by (le) (rate(hypergate_call_duration_seconds_bucket[5m])))",
    )
    .parse()
    .unwrap();
    assert!((0.25..0.51).contains(&p50), "{p50}");
    let slow = now(
        &gateway,
        "histogram_quantile(0.99, sum by (le, model) (rate(hypergate_call_duration_seconds_bucket[5m]))) > 1",
    );
    assert_eq!(slow.keys().collect::<Vec<_>>(), ["model=b.c"]);
}

#[test]
fn series_without_a_window_are_those_of_a_scrape() {
    let gateway = busy();
    let page = gateway.request("GET", "/metrics", &[("authorization", "Bearer admin-token")], "").text();
    let mut compared = 0;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        // Of itself the gateway tells the present only.
        if !series.contains("tenant_id=") {
            continue;
        }
        let found = now(&gateway, series);
        assert_eq!(found.len(), 1, "{series}: {found:?}");
        let found: f64 = found.into_values().next().unwrap().parse().unwrap();
        assert!((found - value.parse::<f64>().unwrap()).abs() < 1e-9, "{series}: {found}, not {value}");
        compared += 1;
    }
    assert!(compared > 150, "{compared}");
    let named = now(&gateway, r#"hypergate_calls_total{outcome="error"}"#);
    assert_eq!(
        named.keys().collect::<Vec<_>>(),
        [
            "__name__=hypergate_calls_total,model=a,outcome=error,provider_name=demo,route=/v1/chat/completions,tenant_id=tn_a"
        ]
    );
}

#[test]
fn a_range_is_asked_step_by_step() {
    let gateway = busy();
    let three = (NEW_YEAR_MS + 3 * HOUR_MS) / 1000;
    for (start, step, window, expected) in [
        (three - 300, "60", "5m", vec!["50"; 6]),
        (three - 2_400, "10m", "10m", vec!["0", "0", "100", "100", "100"]),
        // Steps that are no minutes: each window ends with the last whole minute.
        (three - 30, "15", "1m", vec!["10", "10", "10"]),
        (three - 3_600, "30m", "30m", vec!["0", "0", "300"]),
    ] {
        let query = format!("sum(increase(hypergate_calls_total[{window}]))");
        let end = three;
        let params = [
            ("query", query.as_str()),
            ("start", &start.to_string()),
            ("end", &end.to_string()),
            ("step", step),
        ];
        let answered = ask(&gateway, "query_range", &params).json();
        let values =
            answered["data"]["result"][0]["values"].as_array().unwrap_or_else(|| panic!("{answered}"));
        let values: Vec<&str> = values.iter().map(|value| value[1].as_str().unwrap()).collect();
        assert_eq!(values, expected, "{start} {step}");
        assert_eq!(answered["data"]["resultType"], "matrix");
    }
    let params = [("query", "1"), ("start", "0"), ("end", "120"), ("step", "60s")];
    let answered = ask(&gateway, "query_range", &params).json();
    assert_eq!(answered["data"]["result"][0]["values"], json!([[0.0, "1"], [60.0, "1"], [120.0, "1"]]));
}

#[test]
fn what_is_older_is_told_in_hours_and_in_days() {
    let gateway = Gateway::default();
    let records: Vec<Record> =
        (0..48).map(|hour| call(NEW_YEAR_MS + hour * HOUR_MS + MINUTE_MS, 5)).collect();
    block_on(journal::write(&gateway.host, &records)).unwrap();
    // All of it is counted while its minutes are there, and asked for when they are gone, and when hours are.
    gateway.host.set_now(NEW_YEAR_MS + 2 * DAY_MS);
    block_on(tick(&gateway.host, NEW_YEAR_MS + 2 * DAY_MS)).unwrap();
    let mut counted = 0;
    for _ in 0..20 {
        counted += block_on(gateway::store::rollups::count(
            &gateway.host,
            &block_on(gateway::store::rollups::dirty_minutes(&gateway.host)).unwrap(),
            NEW_YEAR_MS + 2 * DAY_MS,
        ))
        .unwrap()
        .buckets;
        block_on(gateway::store::rollups::count_coarse(&gateway.host, NEW_YEAR_MS + 2 * DAY_MS)).unwrap();
    }
    assert!(counted > 0);
    let at = ((NEW_YEAR_MS + DAY_MS) / 1000).to_string();
    for (days, window, expected) in [
        (2, "6h", "6"),
        (10, "6h", "6"),
        (10, "5m", "0.08333333333333333"),
        (100, "24h", "24"),
        (100, "6h", "6"),
    ] {
        gateway.host.set_now(NEW_YEAR_MS + days * DAY_MS);
        let query = format!("sum(increase(hypergate_calls_total[{window}]))");
        let answered = ask(&gateway, "query", &[("query", &query), ("time", &at)]).json();
        assert_eq!(answered["data"]["result"][0]["value"][1], expected, "{days} {window}: {answered}");
    }
}

#[test]
fn grafana_finds_metrics_labels_and_their_values() {
    let gateway = busy();
    let three = ((NEW_YEAR_MS + 3 * HOUR_MS) / 1000).to_string();
    let data = |path: &str, params: &[(&str, &str)]| {
        let all = [&[("end", three.as_str())], params].concat();
        let answered = ask(&gateway, path, &all);
        assert_eq!(answered.status, 200, "{path}: {}", answered.text());
        answered.json()["data"].clone()
    };
    assert_eq!(data("label/model/values", &[]), json!(["a", "b.c"]));
    let matched = ("match[]", r#"hypergate_calls_total{model="b.c"}"#);
    assert_eq!(data("label/outcome/values", &[matched]), json!(["ok"]));
    assert_eq!(data("label/tenant_id/values", &[]), json!(["tn_a"]));
    assert_eq!(data("label/nothing/values", &[]), json!([]));
    let names = data("label/__name__/values", &[]);
    assert!(names.as_array().unwrap().contains(&json!("hypergate_call_wait_seconds_bucket")), "{names}");
    assert!(data("labels", &[]).as_array().unwrap().contains(&json!("provider_name")));
    assert_eq!(data("series", &[matched]).as_array().unwrap().len(), 1);
    assert_eq!(data("metadata", &[])["hypergate_call_wait_seconds"][0]["type"], "histogram");
    assert!(data("status/buildinfo", &[])["version"].is_string());
    // As forms, too, and they are no change of the configuration.
    let changes = gateway.host.db.sql("SELECT * FROM changes", &[]).len();
    let form = "query=sum(increase(hypergate_calls_total%5B5m%5D))&time=".to_owned() + &three;
    let headers =
        [("authorization", "Bearer admin-token"), ("content-type", "application/x-www-form-urlencoded")];
    let answered = gateway.request("POST", "/admin/v1/prometheus/api/v1/query", &headers, form);
    assert_eq!(answered.json()["data"]["result"][0]["value"][1], "50");
    assert_eq!(gateway.host.db.sql("SELECT * FROM changes", &[]).len(), changes);
}

#[test]
fn what_cannot_be_answered_is_refused_in_prometheus_words() {
    let gateway = busy();
    for (path, params, says) in [
        ("query", vec![], "`query` is required"),
        ("query", vec![("query", "irate(hypergate_calls_total[5m])")], "`irate` is not known here"),
        ("query", vec![("query", "1"), ("time", "soon")], "unix seconds"),
        ("query_range", vec![("query", "1"), ("start", "0"), ("end", "9")], "`step` is required"),
        ("query_range", vec![("query", "1"), ("start", "0"), ("end", "90000"), ("step", "1")], "11000 steps"),
        ("query_range", vec![("query", "1"), ("start", "9"), ("end", "0"), ("step", "1")], "must be after"),
        ("series", vec![], "`match[]` is required"),
    ] {
        let answered = ask(&gateway, path, &params);
        let body = answered.json();
        assert_eq!(
            (answered.status.as_u16(), &body["errorType"]),
            (400, &json!("bad_data")),
            "{path} {params:?}"
        );
        assert!(body["error"].as_str().unwrap().contains(says), "{body}");
    }
    let answered = gateway.request("GET", "/admin/v1/prometheus/api/v1/query?query=1", &[], "");
    assert_eq!(answered.status, 401);
}
