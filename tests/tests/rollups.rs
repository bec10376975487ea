//! Rollups are what a recount of the calls gives, however and whenever the calls arrived.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::collections::BTreeMap;

use gateway::{
    journal,
    metrics::{self, Dimension, Grain, Point, Query},
    prometheus,
    record::{Outcome, Record},
    store::{calls, retention, rollups},
};
use hypercare::histogram::Histogram;
use serde_json::{Value, json};
use tests::{
    MemoryHost, block_on,
    host::NEW_YEAR_MS,
    watch::{ROUTE, record},
};

#[test]
fn every_row_is_what_a_recount_gives() {
    let host = MemoryHost::new();
    let records = mixed_calls(NEW_YEAR_MS, 400);
    store(&host, &records);
    count_all(&host, NEW_YEAR_MS + DAY_MS);
    for grain in ["minute", "hour", "day"] {
        let expected = recount(&records, grain);
        let sql = "SELECT * FROM rollups WHERE grain = ?1";
        let found: BTreeMap<Key, Value> =
            host.db.sql(sql, &[json!(grain)]).into_iter().map(|row| (key_of(&row), counts_of(row))).collect();
        assert_eq!(found.len(), expected.len(), "{grain}");
        for (key, row) in expected {
            assert_eq!(found.get(&key), Some(&row), "{grain} {key:?}");
        }
    }
}

#[test]
fn the_order_and_the_batches_in_which_calls_arrive_make_no_difference() {
    let records = mixed_calls(NEW_YEAR_MS, 120);
    let now_ms = NEW_YEAR_MS + DAY_MS;
    let at_once = MemoryHost::new();
    store(&at_once, &records);
    count_all(&at_once, now_ms);

    let reversed: Vec<Record> = records.iter().rev().cloned().collect();
    for batch in [1, 7, 50] {
        let host = MemoryHost::new();
        for records in reversed.chunks(batch) {
            store(&host, records);
            // A queue delivers at least once.
            store(&host, &records[..1]);
            count_all(&host, now_ms);
        }
        assert_eq!(dump(&host), dump(&at_once), "batches of {batch}");
    }
}

#[test]
fn counting_again_changes_nothing() {
    let host = MemoryHost::new();
    store(&host, &mixed_calls(NEW_YEAR_MS, 100));
    count_all(&host, NEW_YEAR_MS + DAY_MS);
    let once = dump(&host);
    mark_all_dirty(&host);
    count_all(&host, NEW_YEAR_MS + DAY_MS);
    assert_eq!(dump(&host), once);
}

#[test]
fn rollups_can_be_made_anew_from_the_calls() {
    let host = MemoryHost::new();
    store(&host, &mixed_calls(NEW_YEAR_MS, 100));
    count_all(&host, NEW_YEAR_MS + DAY_MS);
    let once = dump(&host);
    host.db.sql("DELETE FROM rollups", &[]);
    mark_all_dirty(&host);
    count_all(&host, NEW_YEAR_MS + DAY_MS);
    assert_eq!(dump(&host), once);
}

#[test]
fn a_call_that_arrives_while_its_minute_is_counted_is_not_lost() {
    // Before each batch of the tick in turn: reading what is dirty, and counting it.
    for n in 0..2 {
        let host = std::rc::Rc::new(MemoryHost::new());
        store(&host, &[record("tn_a", NEW_YEAR_MS)]);
        let other = host.clone();
        host.db.before_batch(n, move || store(&other, &[record("tn_a", NEW_YEAR_MS + 1_000)]));
        count_once(&host, NEW_YEAR_MS + 60_000);
        count_once(&host, NEW_YEAR_MS + 60_000);
        let rows = host.db.sql("SELECT grain, calls FROM rollups ORDER BY grain", &[]);
        let expected = ["day", "hour", "minute"].map(|grain| json!({ "grain": grain, "calls": 2 }));
        assert_eq!(rows, expected, "before batch {n}");
    }
}

#[test]
fn a_late_call_never_makes_a_bucket_smaller() {
    //   how old the call is, when it arrives          calls in (minute, hour, day) before and after
    for (age, late_ms, before, after) in [
        ("an hour", HOUR_MS, (1, 2, 2), (2, 3, 3)),
        ("two days: of two minutes of the hour one is gone", 2 * DAY_MS + 30_000, (0, 2, 2), (0, 3, 3)),
        ("a little more: both are", 2 * DAY_MS + 2 * HOUR_MS, (0, 2, 2), (0, 3, 3)),
        ("two weeks: the calls are gone as well", 14 * DAY_MS + 2 * HOUR_MS, (0, 2, 2), (0, 2, 2)),
        ("a hundred days: the hours too", 100 * DAY_MS, (0, 0, 2), (0, 0, 2)),
    ] {
        let host = MemoryHost::new();
        // Two minutes of one hour.
        let first_ms = NEW_YEAR_MS + 5 * HOUR_MS;
        store(&host, &[record("tn_a", first_ms), record("tn_a", first_ms + 60_000)]);
        count_all(&host, first_ms + 120_000);
        let now_ms = first_ms + late_ms;
        while block_on(retention::delete_old(&host, now_ms)).unwrap() > 0 {}
        let calls = || {
            let sql =
                "SELECT coalesce(sum(calls), 0) AS calls FROM rollups WHERE grain = ?1 AND bucket_ms = ?2";
            let of = |grain: &str, at_ms: i64| {
                host.db.sql(sql, &[json!(grain), json!(at_ms)])[0]["calls"].as_i64().unwrap()
            };
            (of("minute", first_ms), of("hour", first_ms), of("day", NEW_YEAR_MS))
        };
        assert_eq!(calls(), before, "before; {age}");
        store(&host, &[record("tn_a", first_ms + 10)]);
        let too_old = count_all(&host, now_ms);
        assert_eq!(calls(), after, "after; {age}");
        assert_eq!(too_old > 0, late_ms > 13 * DAY_MS, "{age}");
        assert_eq!(host.db.sql("SELECT * FROM dirty_buckets", &[]), [] as [Value; 0], "{age}");
    }
}

#[test]
fn a_day_whose_hours_are_going_is_left_as_it_is() {
    let host = MemoryHost::new();
    let [morning_ms, evening_ms] = [5, 20].map(|hour| NEW_YEAR_MS + hour * HOUR_MS);
    store(&host, &[record("tn_a", morning_ms), record("tn_a", evening_ms)]);
    count_all(&host, NEW_YEAR_MS + DAY_MS);
    // Retention has taken the morning, not yet the evening.
    let now_ms = NEW_YEAR_MS + 90 * DAY_MS + 10 * HOUR_MS;
    while block_on(retention::delete_old(&host, now_ms)).unwrap() > 0 {}
    let rows = || host.db.sql("SELECT grain, calls FROM rollups ORDER BY grain", &[]);
    let before = [json!({ "grain": "day", "calls": 2 }), json!({ "grain": "hour", "calls": 1 })];
    assert_eq!(rows(), before);
    store(&host, &[record("tn_a", evening_ms + 1)]);
    assert_eq!(count_all(&host, now_ms), 2);
    assert_eq!(rows(), before);
}

#[test]
fn a_backlog_is_counted_from_both_ends() {
    let host = MemoryHost::new();
    let records: Vec<Record> = (0..200).map(|minute| record("tn_a", NEW_YEAR_MS + minute * 60_000)).collect();
    store(&host, &records);
    let dirty = block_on(rollups::dirty_minutes(&host)).unwrap();
    let minutes: Vec<i64> = dirty.iter().map(|ms| (ms - NEW_YEAR_MS) / 60_000).collect();
    let expected: Vec<i64> = (180..200).rev().chain((0..60).rev()).collect();
    assert_eq!(minutes, expected);
    count_all(&host, NEW_YEAR_MS + DAY_MS);
    let rows = host.db.sql("SELECT sum(calls) AS calls FROM rollups GROUP BY grain", &[]);
    assert_eq!(rows, [json!({ "calls": 200 }), json!({ "calls": 200 }), json!({ "calls": 200 })]);
}

#[test]
fn a_model_its_provider_does_not_know_makes_no_row_of_its_own() {
    let host = MemoryHost::new();
    let made_up = |n: i64| {
        let mut record = record("tn_a", NEW_YEAR_MS + n);
        record.target_model = format!("made-up-{n}");
        record.response_model = None;
        record.status = if n % 2 == 0 { 404 } else { 400 };
        record.outcome = Outcome::ClientError;
        record
    };
    store(&host, &(0..10).map(made_up).collect::<Vec<_>>());
    count_all(&host, NEW_YEAR_MS + 60_000);
    let rows = host.db.sql("SELECT model, calls FROM rollups WHERE grain = 'minute'", &[]);
    assert_eq!(rows, [json!({ "model": "", "calls": 10 })]);
}

#[test]
fn metrics_tell_apart_what_they_are_asked_to() {
    let host = MemoryHost::new();
    let records = mixed_calls(NEW_YEAR_MS, 300);
    store(&host, &records);
    count_all(&host, NEW_YEAR_MS + DAY_MS);
    let ask = |by: &[Dimension], tenant_id: Option<&str>| {
        let query = Query {
            from_ms: NEW_YEAR_MS + 5,
            to_ms: NEW_YEAR_MS + DAY_MS,
            grain: Grain::Day,
            by: by.to_vec(),
            tenant_id: tenant_id.map(str::to_owned),
        };
        block_on(metrics::query(&host, &query)).unwrap()
    };
    let [all] = &ask(&[], None)[..] else { panic!("one day, one point") };
    let errors = records.iter().filter(|record| record.outcome == Outcome::Error).count() as i64;
    assert_eq!((all.calls, all.errors, all.error_share), (300, errors, errors as f64 / 300.0));
    assert_eq!(all.duration, spread(records.iter().map(|record| record.duration_ms)));
    assert_eq!(all.wait, spread(records.iter().filter_map(|record| record.wait_ms)));
    assert_eq!(all.input_tokens, records.iter().filter_map(|record| record.input_tokens).sum::<u64>() as i64);
    assert_eq!(all.cost_microusd, records.iter().filter_map(|record| record.cost_microusd).sum::<i64>());
    assert_eq!(
        all.without_cost,
        records.iter().filter(|record| record.cost_microusd.is_none()).count() as i64
    );

    let parts = ask(&[Dimension::Tenant, Dimension::Outcome], None);
    assert_eq!(parts.iter().map(|point| point.calls).sum::<i64>(), 300);
    let of = |point: &&Point| {
        point.tenant_id.as_deref() == Some("tn_a") && point.outcome.as_deref() == Some("error")
    };
    let expected = records
        .iter()
        .filter(|record| record.tenant_id == "tn_a" && record.outcome == Outcome::Error)
        .count();
    assert_eq!(parts.iter().find(of).unwrap().calls, expected as i64);
    assert_eq!(parts.iter().find(of).unwrap().error_share, 1.0);
    assert_eq!(
        ask(&[], Some("tn_b"))[0].calls,
        records.iter().filter(|record| record.tenant_id == "tn_b").count() as i64
    );
    // What was not asked for is not there.
    let json = serde_json::to_value(&ask(&[Dimension::Model], None)[0]).unwrap();
    assert!(
        json.get("model").is_some() && json.get("tenant_id").is_none() && json.get("outcome").is_none(),
        "{json}"
    );
}

#[test]
fn a_query_that_asks_too_much_is_refused_by_field() {
    let host = MemoryHost::new();
    let day = Query { from_ms: 0, to_ms: DAY_MS, grain: Grain::Minute, by: vec![], tenant_id: None };
    for (query, message) in [
        (Query { to_ms: 0, ..day.clone() }, "to must be later than from"),
        (
            Query { to_ms: 2 * DAY_MS, ..day.clone() },
            "from must be at most 1500 buckets before to, with grain minute",
        ),
        (Query { by: vec![Dimension::Model; 2], ..day.clone() }, "by must not name a dimension twice"),
    ] {
        let error = block_on(metrics::query(&host, &query)).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.param(), message.split(' ').next());
    }
    assert!(block_on(metrics::query(&host, &day)).unwrap().is_empty());
}

#[test]
fn prometheus_counts_since_midnight() {
    let host = MemoryHost::new();
    let now_ms = NEW_YEAR_MS + 3_600_000;
    host.set_now(now_ms);
    let mut yesterday = record("tn_a", NEW_YEAR_MS - 1);
    yesterday.target_model = "old".to_owned();
    let mut failed = record("tn_a", NEW_YEAR_MS + 2);
    failed.outcome = Outcome::Error;
    failed.cost_microusd = None;
    store(&host, &[yesterday, record("tn_a", NEW_YEAR_MS), record("tn_a", NEW_YEAR_MS + 1), failed]);
    block_on(calls::report_loss(&host, "l1", NEW_YEAR_MS, 7, "a test")).unwrap();
    block_on(gateway::tick::tick(&host, now_ms)).unwrap();
    let text = block_on(prometheus::render(&host, now_ms)).unwrap();
    let series = r#"tenant_id="tn_a",route="/v1/chat/completions",provider_name="demo",model="echo""#;
    for line in [
        "hypergate_info{release=\"test\"} 1".to_owned(),
        format!("hypergate_last_tick_timestamp_seconds {}", now_ms / 1000),
        "hypergate_uncounted_minutes 0".to_owned(),
        "hypergate_records_lost_total 7".to_owned(),
        "hypergate_notices{status=\"pending\"} 0".to_owned(),
        format!("hypergate_calls_total{{{series},outcome=\"ok\"}} 2"),
        format!("hypergate_calls_total{{{series},outcome=\"error\"}} 1"),
        format!("hypergate_tokens_total{{{series},type=\"output\"}} 60"),
        format!("hypergate_cost_usd_total{{{series}}} 0.000010"),
        format!("hypergate_calls_without_cost_total{{{series}}} 1"),
        format!("hypergate_call_duration_seconds_sum{{{series}}} 2.4"),
        format!("hypergate_call_duration_seconds_count{{{series}}} 3"),
        format!("hypergate_call_wait_seconds_bucket{{{series},le=\"+Inf\"}} 3"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("old"), "yesterday's calls are not today's");
    assert_exposition(&text);
}

/// Every sample belongs to the family before it, every family is there once and says what it is.
fn assert_exposition(text: &str) {
    let mut families = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            families.push(rest.split(' ').next().unwrap());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(families.last(), Some(&name));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let family = families.last().unwrap();
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(series.starts_with(family), "{line} in {family}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(series), "twice: {series}");
        }
    }
    let distinct: std::collections::BTreeSet<_> = families.iter().collect();
    assert_eq!(distinct.len(), families.len());
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// Calls over some minutes and hours, of all sorts; the same ones every time.
fn mixed_calls(from_ms: i64, count: i64) -> Vec<Record> {
    let outcomes = [
        Outcome::Ok,
        Outcome::Ok,
        Outcome::Error,
        Outcome::ClientError,
        Outcome::RateLimited,
        Outcome::Aborted,
    ];
    let call = |n: i64| {
        // Mixed until no two columns go together.
        let draw = |of: i64, salt: u64| {
            let mut bits = (n as u64 * 31 + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            bits = (bits ^ (bits >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((bits >> 33) % of as u64) as i64
        };
        let mut record = record(["tn_a", "tn_b"][draw(2, 1) as usize], from_ms + draw(5 * HOUR_MS, 2));
        record.id = format!("call_{n:05}");
        record.outcome = outcomes[draw(6, 3) as usize];
        record.target_model = ["echo", "large", ""][draw(3, 4) as usize].to_owned();
        record.response_model = (draw(2, 15) == 0).then(|| "echo-2026".to_owned());
        record.stream = draw(2, 5) == 0;
        record.duration_ms = draw(5_000, 6);
        record.wait_ms = (draw(3, 7) > 0).then(|| draw(900, 8));
        record.overhead_ms = draw(9, 9);
        record.output_tokens = (draw(4, 10) > 0).then(|| draw(800, 11) as u64);
        record.reasoning_output_tokens = record.output_tokens.map(|tokens| tokens / 2);
        record.cost_microusd = (draw(5, 12) > 0).then(|| draw(90_000, 13));
        record.usage_estimated = draw(7, 14) == 0;
        record
    };
    (0..count).map(call).collect()
}

type Key = (i64, String, String, String, String, String);

/// Counts the calls without any SQL.
fn recount(records: &[Record], grain: &str) -> BTreeMap<Key, Value> {
    #[derive(Default)]
    struct Sums {
        ints: BTreeMap<&'static str, i64>,
        durations: Histogram,
        waits: Histogram,
    }
    let width_ms = Grain::parse(grain).unwrap().width_ms();
    let mut sums: BTreeMap<Key, Sums> = BTreeMap::new();
    for record in records {
        let outcome = serde_json::to_value(record.outcome).unwrap().as_str().unwrap().to_owned();
        let is_known = record.response_model.is_some()
            || matches!(record.outcome, Outcome::Error | Outcome::Ok | Outcome::RateLimited);
        let key = (
            record.started_ms - record.started_ms % width_ms,
            record.tenant_id.clone(),
            record.route.clone(),
            record.provider_name.clone(),
            if is_known { record.target_model.clone() } else { String::new() },
            outcome,
        );
        let sum = sums.entry(key).or_default();
        let said_nothing = record.output_tokens.is_none() || record.usage_estimated;
        let tokens = |count: Option<u64>| count.unwrap_or(0) as i64;
        for (column, value) in [
            ("calls", 1),
            ("streams", i64::from(record.stream)),
            ("without_usage", i64::from(record.stream && record.outcome == Outcome::Ok && said_nothing)),
            ("duration_sum_ms", record.duration_ms),
            ("wait_count", i64::from(record.wait_ms.is_some())),
            ("wait_sum_ms", record.wait_ms.unwrap_or(0)),
            ("overhead_sum_ms", record.overhead_ms),
            ("input_tokens", tokens(record.input_tokens)),
            ("cache_read_input_tokens", tokens(record.cache_read_input_tokens)),
            ("cache_write_input_tokens", tokens(record.cache_write_input_tokens)),
            ("output_tokens", tokens(record.output_tokens)),
            ("reasoning_output_tokens", tokens(record.reasoning_output_tokens)),
            ("cost_microusd", record.cost_microusd.unwrap_or(0)),
            ("without_cost", i64::from(record.cost_microusd.is_none())),
        ] {
            *sum.ints.entry(column).or_default() += value;
        }
        sum.durations.record(record.duration_ms);
        if let Some(wait_ms) = record.wait_ms {
            sum.waits.record(wait_ms);
        }
    }
    let row = |sums: Sums| {
        let mut row = json!(sums.ints);
        // As stored, to the byte.
        row["duration_histogram"] = json!(sums.durations.to_json());
        row["wait_histogram"] = json!(sums.waits.to_json());
        row
    };
    sums.into_iter().map(|(key, sums)| (key, row(sums))).collect()
}

fn key_of(row: &Value) -> Key {
    let text = |column: &str| row[column].as_str().unwrap().to_owned();
    assert_eq!(text("route"), ROUTE);
    (
        row["bucket_ms"].as_i64().unwrap(),
        text("tenant_id"),
        text("route"),
        text("provider_name"),
        text("model"),
        text("outcome"),
    )
}

fn counts_of(mut row: Value) -> Value {
    let columns = row.as_object_mut().unwrap();
    columns.retain(|name, _| {
        !["grain", "bucket_ms", "tenant_id", "route", "provider_name", "model", "outcome"]
            .contains(&name.as_str())
    });
    row
}

fn spread(values: impl Iterator<Item = i64>) -> metrics::Spread {
    let values: Vec<i64> = values.collect();
    let mut histogram = Histogram::default();
    values.iter().for_each(|ms| histogram.record(*ms));
    let tenths = |ms: f64| (ms * 10.0).round() / 10.0;
    let quantile = |q| histogram.quantile(q).map(tenths);
    metrics::Spread {
        count: values.len() as i64,
        mean_ms: Some(tenths(values.iter().sum::<i64>() as f64 / values.len() as f64)),
        p50_ms: quantile(0.5),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
    }
}

#[test]
fn more_series_than_are_shown_are_told() {
    for (models, cut) in [(5_000, 0), (5_001, 1)] {
        let host = MemoryHost::new();
        let records: Vec<Record> = (0..models)
            .map(|number| Record {
                id: format!("call_{number}"),
                target_model: format!("model-{number}"),
                ..record("tn_a", NEW_YEAR_MS)
            })
            .collect();
        store(&host, &records);
        count_all(&host, NEW_YEAR_MS + 120_000);
        let text = block_on(prometheus::render(&host, NEW_YEAR_MS + 120_000)).unwrap();
        assert!(text.contains(&format!("\nhypergate_series_cut {cut}\n")), "{models}");
        assert_eq!(text.matches("\nhypergate_calls_total{").count(), 5_000);
    }
}

fn store(host: &MemoryHost, records: &[Record]) {
    block_on(journal::write(host, records)).unwrap();
}

fn count_once(host: &MemoryHost, now_ms: i64) -> usize {
    let dirty = block_on(rollups::dirty_minutes(host)).unwrap();
    block_on(rollups::count(host, &dirty, now_ms)).unwrap().too_old
}

/// Counts until nothing is left; returns how many hours and days were too old.
fn count_all(host: &MemoryHost, now_ms: i64) -> usize {
    let mut too_old = 0;
    while !block_on(rollups::dirty_minutes(host)).unwrap().is_empty() {
        too_old += count_once(host, now_ms);
    }
    too_old
}

fn mark_all_dirty(host: &MemoryHost) {
    let sql =
        "INSERT INTO dirty_buckets SELECT DISTINCT 'minute', started_ms - started_ms % 60000 FROM calls";
    host.db.sql(sql, &[]);
}

fn dump(host: &MemoryHost) -> String {
    host.db.dump("rollups", "grain, bucket_ms, tenant_id, route, provider_name, model, outcome")
}
