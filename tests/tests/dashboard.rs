//! The dashboard that is shipped asks for nothing that is not there.

use std::{fs, path::Path};

use gateway::{journal, record::Attempt};
use serde_json::Value;
use tests::{Gateway, block_on, host::NEW_YEAR_MS, watch::record};

#[test]
fn every_query_of_the_dashboard_is_answered_with_something() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let gateway = Gateway::default();
    // A stream that fell back after a refusal, and a failure.
    let mut good = record("tn_a", NEW_YEAR_MS);
    let attempt = |status| Attempt {
        provider: "demo".to_owned(),
        model: "echo".to_owned(),
        status: Some(status),
        error_type: None,
        duration_ms: 5,
    };
    good.attempts = vec![attempt(429), attempt(200)];
    let mut bad = record("tn_a", NEW_YEAR_MS + 1);
    bad.outcome = gateway::record::Outcome::Error;
    let mut limited = record("tn_a", NEW_YEAR_MS + 2);
    limited.outcome = gateway::record::Outcome::RateLimited;
    block_on(journal::write(&gateway.host, &[good, bad, limited])).unwrap();
    gateway.host.set_now(NEW_YEAR_MS + 90_000);
    block_on(gateway::tick::tick(&gateway.host, NEW_YEAR_MS + 90_000)).unwrap();

    let escape = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let ask = |path: String| {
        let answered = gateway.admin("GET", &format!("prometheus/api/v1/{path}"), &Value::Null).json();
        assert_eq!(answered["status"], "success", "{path}: {answered}");
        answered["data"].clone()
    };
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let filled = ["$tenant", "$provider", "$model"]
                .iter()
                .fold(query.to_owned(), |query, variable| query.replace(variable, ".*"));
            let filled = filled.replace("$__rate_interval", "5m").replace("$__range", "21600s");
            assert!(!filled.contains('$'), "{query}");
            let data = ask(format!("query?query={}", escape(&filled)));
            let found = data["result"].as_array().unwrap();
            assert!(!found.is_empty(), "{}: {filled}", panel["title"]);
            assert!(found.iter().all(|series| series["value"][1] != "NaN"), "{}: {data}", panel["title"]);
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(definition) = variable["definition"].as_str() else { continue };
        let inner = definition.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
        let (metric, label) = inner.split_once(", ").unwrap();
        let data = ask(format!("label/{label}/values?match[]={metric}"));
        assert_eq!(data.as_array().unwrap().len(), 1, "{definition}");
    }
}
