//! Baselines keep what a time was like, and say how another one differs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use gateway::{
    baseline::{self, New},
    journal,
    metrics::{Dimension, Series},
    record::{Outcome, Record},
    store::{retention, rollups},
};
use serde_json::{Value, json};
use tests::{MemoryHost, block_on, host::NEW_YEAR_MS, watch::record};

#[test]
fn a_baseline_outlives_what_it_was_taken_from() {
    let host = MemoryHost::new();
    play(&host, NEW_YEAR_MS, 10, 300);
    let put = block_on(baseline::put(&host, new("load-test", 10), NEW_YEAR_MS + 20 * MINUTE_MS)).unwrap();
    let summary = json!({
        "name": "load-test", "note": "a test", "by": ["model"], "only": { "tenant": "tn_a" },
        "from_ms": NEW_YEAR_MS, "to_ms": NEW_YEAR_MS + 10 * MINUTE_MS, "created_ms": NEW_YEAR_MS + 20 * MINUTE_MS,
    });
    assert_eq!(put, summary);
    assert_eq!(block_on(baseline::list(&host)).unwrap(), [summary]);
    let kept = block_on(baseline::find(&host, "load-test")).unwrap();
    assert_eq!(
        (kept["series"][0]["model"].as_str(), kept["series"][0]["calls"].as_i64()),
        (Some("echo"), Some(40))
    );

    // A year later nothing else is left of it.
    let later_ms = NEW_YEAR_MS + 400 * DAY_MS;
    while block_on(retention::delete_old(&host, later_ms + DAY_MS)).unwrap() > 0 {}
    play(&host, later_ms, 5, 450);
    let (from_ms, to_ms) = (Some(later_ms), Some(later_ms + 5 * MINUTE_MS));
    let compared =
        block_on(baseline::compare(&host, "load-test", from_ms, to_ms, later_ms + 6 * MINUTE_MS)).unwrap();
    let series = &compared["series"][0];
    assert_eq!(series["model"], "echo");
    assert_eq!((&series["baseline"]["calls"], &series["current"]["calls"]), (&json!(40), &json!(20)));
    assert_eq!(series["change"]["calls_per_minute"], 0.0);
    let slower = series["change"]["duration.p50_ms"].as_f64().unwrap();
    assert!((slower - 0.5).abs() < 0.05, "{slower}");
    assert_eq!(series["change"]["error_share"], 0.0);
    // Without a period: the newest one as long.
    let newest =
        block_on(baseline::compare(&host, "load-test", None, None, later_ms + 10 * MINUTE_MS)).unwrap();
    assert_eq!((&newest["from_ms"], &newest["to_ms"]), (&json!(later_ms), &json!(later_ms + 10 * MINUTE_MS)));

    block_on(baseline::delete(&host, "load-test")).unwrap();
    for gone in [
        block_on(baseline::find(&host, "load-test")).map(drop),
        block_on(baseline::delete(&host, "load-test")),
    ] {
        assert_eq!(gone.unwrap_err().to_string(), "There is no baseline load-test.");
    }
}

#[test]
fn a_series_that_only_one_side_has_is_there_all_the_same() {
    let host = MemoryHost::new();
    play(&host, NEW_YEAR_MS, 2, 300);
    let now_ms = NEW_YEAR_MS + 10 * MINUTE_MS;
    block_on(baseline::put(&host, new("before", 2), now_ms)).unwrap();
    let mut other = record("tn_a", NEW_YEAR_MS + 5 * MINUTE_MS);
    other.target_model = "other-model".to_owned();
    store(&host, &[other]);
    let (from_ms, to_ms) = (Some(NEW_YEAR_MS + 5 * MINUTE_MS), Some(NEW_YEAR_MS + 6 * MINUTE_MS));
    let compared = block_on(baseline::compare(&host, "before", from_ms, to_ms, now_ms)).unwrap();
    let sides = |series: &Value| {
        let calls = |side: &str| series[side]["calls"].as_i64();
        (
            series["model"].as_str().unwrap().to_owned(),
            calls("baseline"),
            calls("current"),
            series["change"].clone(),
        )
    };
    let found: Vec<_> = compared["series"].as_array().unwrap().iter().map(sides).collect();
    assert_eq!(found[0], ("echo".to_owned(), Some(8), None, Value::Null));
    assert_eq!(found[1], ("other-model".to_owned(), None, Some(1), Value::Null));
}

#[test]
fn another_deployment_takes_a_baseline_over() {
    let staging = MemoryHost::new();
    play(&staging, NEW_YEAR_MS, 3, 300);
    let now_ms = NEW_YEAR_MS + 10 * MINUTE_MS;
    block_on(baseline::put(&staging, new("staging", 3), now_ms)).unwrap();
    let told = block_on(baseline::find(&staging, "staging")).unwrap()["series"].as_array().unwrap().clone();

    let production = MemoryHost::new();
    let taken = New { told: Some(told.clone()), ..new("staging", 3) };
    block_on(baseline::put(&production, taken, now_ms)).unwrap();
    assert_eq!(
        block_on(baseline::find(&production, "staging")).unwrap(),
        block_on(baseline::find(&staging, "staging")).unwrap()
    );
    for (name, value) in [
        ("calls", json!(-1)),
        ("calls", json!("7")),
        ("duration_histogram", json!("{\"9999\":1}")),
        ("model", json!(7)),
        ("unknown", json!(7)),
    ] {
        let mut told = told.clone();
        told[0][name] = value;
        let error = block_on(baseline::put(&production, New { told: Some(told), ..new("x", 3) }, now_ms))
            .unwrap_err();
        assert_eq!(error.to_string(), format!("`series` has a row whose {name} cannot be read."));
    }
}

#[test]
fn what_cannot_be_a_baseline_is_refused() {
    let host = MemoryHost::new();
    play(&host, NEW_YEAR_MS, 2, 300);
    for (change, message) in [
        (
            (|new| new.name = "Last week".to_owned()) as fn(&mut New),
            "`name` must be 1 to 64 of a-z, 0-9, `.`, `_` and `-`.",
        ),
        (|new| new.to_ms = new.from_ms, "`to` must be later than from."),
        (
            |new| new.series.by = vec![Dimension::Key, Dimension::Model],
            "`by` cannot name model beside key, which goes with tenant only.",
        ),
        (
            |new| new.series.only = vec![(Dimension::Tenant, "tn_x".to_owned())],
            "`from` has no calls between it and to.",
        ),
    ] {
        let mut asked = new("x", 2);
        change(&mut asked);
        let error = block_on(baseline::put(&host, asked, NEW_YEAR_MS + HOUR_MS)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

fn new(name: &str, minutes: i64) -> New {
    New {
        name: name.to_owned(),
        note: "a test".to_owned(),
        from_ms: NEW_YEAR_MS,
        to_ms: NEW_YEAR_MS + minutes * MINUTE_MS,
        series: Series { by: vec![Dimension::Model], only: vec![(Dimension::Tenant, "tn_a".to_owned())] },
        told: None,
    }
}

/// Four calls of two tenants a minute, one of four an error.
fn play(host: &MemoryHost, from_ms: i64, minutes: i64, duration_ms: i64) {
    let call = |n: i64, tenant_id: &str| {
        let mut record = record(tenant_id, from_ms + n * MINUTE_MS / 4);
        record.duration_ms = duration_ms + n % 4;
        record.outcome = if n % 4 == 0 { Outcome::Error } else { Outcome::Ok };
        record
    };
    let records: Vec<Record> =
        (0..4 * minutes).flat_map(|n| ["tn_a", "tn_b"].map(|tenant| call(n, tenant))).collect();
    store(host, &records);
}

fn store(host: &MemoryHost, records: &[Record]) {
    block_on(journal::write(host, records)).unwrap();
    let newest_ms = records.iter().map(|record| record.started_ms).max().unwrap();
    loop {
        let dirty = block_on(rollups::dirty_minutes(host)).unwrap();
        if dirty.is_empty() {
            break;
        }
        block_on(rollups::count(host, &dirty, newest_ms)).unwrap();
    }
}
