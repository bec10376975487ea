//! Rollups are what a recount of the calls gives, however and whenever the calls arrived.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::collections::BTreeMap;

use gateway::{
    journal,
    metrics::{self, Dimension, Grain, Query, Series},
    prometheus,
    record::{Attempt, Outcome, Record},
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
    for table in ["rollups", "breakdowns"] {
        for grain in ["minute", "hour", "day"] {
            let expected = recount(&records, table, grain);
            let sql = format!("SELECT * FROM {table} WHERE grain = ?1");
            let rows = host.db.sql(&sql, &[json!(grain)]);
            let found: BTreeMap<String, Value> =
                rows.into_iter().map(|row| (key_of(table, &row), counts_of(row))).collect();
            assert_eq!(found.len(), expected.len(), "{table} {grain}");
            for (key, row) in expected {
                assert_eq!(found.get(&key), Some(&row), "{table} {grain} {key:?}");
            }
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
    host.db.sql("DELETE FROM breakdowns", &[]);
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
        count_all(&host, NEW_YEAR_MS + 60_000);
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
    let expected: Vec<i64> = (180..200).rev().chain((0..20).rev()).collect();
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
fn what_is_over_the_bound_is_counted_as_other_and_nothing_is_lost() {
    let host = MemoryHost::new();
    // A hundred and twenty keys, tags and models; the later ones have more calls.
    let all: Vec<Record> = (0..120).flat_map(|n| (0..=n / 40).map(move |call| of_many(n, call))).collect();
    let (first, late) = all.split_at(90);
    store(&host, first);
    count_all(&host, NEW_YEAR_MS + 60_000);
    let labels = |table: &str, label: &str, grain: &str| {
        let of = if table == "breakdowns" { " AND dimension = 'key_id'" } else { "" };
        let sql = format!(
            "SELECT {label} AS label, sum(calls) AS calls FROM {table} WHERE grain = ?1{of} GROUP BY 1"
        );
        let rows = host.db.sql(&sql, &[json!(grain)]);
        let pair = |row: &Value| (row["label"].as_str().unwrap().to_owned(), row["calls"].as_i64().unwrap());
        rows.iter().map(pair).collect::<BTreeMap<_, _>>()
    };
    for (table, label) in [("breakdowns", "label"), ("rollups", "model")] {
        assert!(!labels(table, label, "minute").contains_key("other"), "{table}");
    }
    store(&host, late);
    count_all(&host, NEW_YEAR_MS + 60_000);
    for (table, label) in [("breakdowns", "label"), ("rollups", "model")] {
        for grain in ["minute", "hour", "day"] {
            let found = labels(table, label, grain);
            assert_eq!(found.len(), 101, "{table} {grain}");
            assert_eq!(found.values().sum::<i64>(), all.len() as i64, "{table} {grain}");
            // Those with one call, the last by name.
            assert_eq!(found["other"], 20, "{table} {grain}: {found:?}");
            assert!(found.iter().all(|(label, calls)| *calls == 1 || !label.ends_with("000")), "{found:?}");
        }
    }
    // It makes no difference that there were fewer at first.
    let at_once = MemoryHost::new();
    store(&at_once, &all);
    count_all(&at_once, NEW_YEAR_MS + 60_000);
    assert_eq!(dump(&host), dump(&at_once));
    // What one tenant makes of it does not touch another.
    store(&host, &[record("tn_b", NEW_YEAR_MS)]);
    count_all(&host, NEW_YEAR_MS + 60_000);
    let sql =
        "SELECT label FROM breakdowns WHERE grain = 'day' AND tenant_id = 'tn_b' AND dimension = 'key_id'";
    assert_eq!(host.db.sql(sql, &[]), [json!({ "label": "key_1" })]);
}

fn of_many(n: i64, call: i64) -> Record {
    let mut record = record("tn_a", NEW_YEAR_MS + n * 10 + call);
    record.key_id = format!("key_{n:03}");
    record.target_model = format!("model-{n:03}");
    record.tags = Some([("feature".to_owned(), format!("f{n}"))].into());
    record
}

#[test]
fn a_day_counted_anew_from_its_records_is_the_same_to_the_byte() {
    // More keys in some minutes than are told apart, and calls that come hours late.
    let mut records = mixed_calls(NEW_YEAR_MS, 300);
    records.extend((0..150).map(|n| of_many(n, 0)));
    let day_after_ms = NEW_YEAR_MS + DAY_MS;
    let lived = MemoryHost::new();
    for (n, batch) in records.chunks(45).enumerate() {
        store(&lived, batch);
        let now_ms = NEW_YEAR_MS + (n as i64 + 1) * HOUR_MS + 5_000;
        lived.set_now(now_ms);
        block_on(gateway::tick::tick(&lived, now_ms)).unwrap();
    }
    count_all(&lived, day_after_ms);
    let as_lived = dump(&lived);

    let replayed = MemoryHost::new();
    store(&replayed, &records);
    count_all(&replayed, day_after_ms);
    assert_eq!(dump(&replayed), as_lived);

    // A week later only calls are left to count from, and they give the same hours.
    let hours = |host: &MemoryHost| {
        ["rollups", "breakdowns"]
            .map(|table| host.db.sql(&format!("SELECT * FROM {table} WHERE grain = 'hour'"), &[]))
    };
    let week_after_ms = NEW_YEAR_MS + 7 * DAY_MS;
    let late = MemoryHost::new();
    store(&late, &records);
    count_all(&late, week_after_ms);
    assert_eq!(hours(&late), hours(&lived));
    let sql = "SELECT (SELECT count(*) FROM rollups WHERE grain = 'minute') + (SELECT count(*) FROM breakdowns WHERE grain = 'minute') AS n";
    assert_eq!(late.db.sql(sql, &[]), [json!({ "n": 0 })]);
}

#[test]
fn percentiles_merged_by_the_database_are_within_two_per_cent() {
    let host = MemoryHost::new();
    let mut random = 7_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 11) as f64 / (1_u64 << 53) as f64
    };
    // From milliseconds to minutes, over two days, two tenants and three models.
    let records: Vec<Record> = (0..3_000)
        .map(|n| {
            let at_ms = NEW_YEAR_MS + (next() * 2.0 * DAY_MS as f64) as i64;
            let mut record = record(["tn_a", "tn_b"][n % 2], at_ms);
            record.id = format!("call_{n}");
            record.target_model = format!("model-{}", n % 3);
            record.duration_ms = (2.0 / (1.0 - next()).powf(1.5)) as i64 + 2;
            record.wait_ms = Some((next() * 700.0) as i64 + 1);
            record
        })
        .collect();
    store(&host, &records);
    count_all(&host, NEW_YEAR_MS + 2 * DAY_MS);
    let query = |grain| Query {
        from_ms: NEW_YEAR_MS,
        to_ms: NEW_YEAR_MS + 2 * DAY_MS,
        grain,
        series: series("", &[]),
    };
    let [first, second] = &block_on(metrics::query(&host, &query(Grain::Day))).unwrap()[..] else {
        panic!("two days");
    };
    for (day, point) in [first, second].into_iter().enumerate() {
        let of_day =
            |record: &&Record| Grain::Day.bucket_of(record.started_ms) == NEW_YEAR_MS + day as i64 * DAY_MS;
        let durations: Vec<i64> = records.iter().filter(of_day).map(|record| record.duration_ms).collect();
        let waits: Vec<i64> = records.iter().filter(of_day).filter_map(|record| record.wait_ms).collect();
        for (name, q) in
            [("p50_ms", 0.5), ("p90_ms", 0.9), ("p95_ms", 0.95), ("p99_ms", 0.99), ("p999_ms", 0.999)]
        {
            for (measure, values) in [("duration", &durations), ("wait", &waits)] {
                let (found, exact) = (point[measure][name].as_f64().unwrap(), quantile(values, q));
                // They are shown to a tenth.
                assert!(
                    (found - exact).abs() <= exact * 0.02 + 0.05,
                    "{measure} {name}: {found}, not {exact}"
                );
            }
        }
    }
}

#[test]
fn metrics_tell_apart_what_they_are_asked_to() {
    let host = MemoryHost::new();
    let records = mixed_calls(NEW_YEAR_MS, 300);
    store(&host, &records);
    block_on(calls::report_loss(&host, "l1", NEW_YEAR_MS + 9, 3, "a test")).unwrap();
    block_on(calls::report_loss(&host, "l2", NEW_YEAR_MS + DAY_MS, 2, "a test")).unwrap();
    count_all(&host, NEW_YEAR_MS + DAY_MS);
    let ask = |by: &str, only: &[(&str, &str)]| ask(&host, by, only).unwrap();
    let points = ask("", &[]);
    let [all, lost] = &points[..] else { panic!("one day with calls, one where records were lost") };
    let sum = |of: &dyn Fn(&Record) -> i64| json!(records.iter().map(of).sum::<i64>());
    let errors = records.iter().filter(|record| record.outcome == Outcome::Error).count();
    assert_eq!(all["calls"], 300);
    assert_eq!(all["errors"], errors);
    assert_eq!(all["error_share"], errors as f64 / 300.0);
    assert_eq!(all["duration"], spread(records.iter().map(|record| record.duration_ms)));
    assert_eq!(all["wait"], spread(records.iter().filter_map(|record| record.wait_ms)));
    assert_eq!(all["upstream"], spread(records.iter().filter_map(|record| record.upstream_ms)));
    assert_eq!(all["overhead"], spread(records.iter().map(|record| record.overhead_ms)));
    let first_chunks = records.iter().filter_map(|record| record.time_to_first_chunk_ms);
    assert_eq!(all["time_to_first_chunk"], spread(first_chunks));
    assert_eq!(all["input_tokens"], sum(&|record| record.input_tokens.unwrap_or(0) as i64));
    assert_eq!(all["audio_output_tokens"], sum(&|record| record.audio_output_tokens.unwrap_or(0) as i64));
    assert_eq!(all["cost_microusd"], sum(&|record| record.cost_microusd.unwrap_or(0)));
    assert_eq!(all["without_cost"], sum(&|record| i64::from(lacks_cost(record))));
    assert_eq!(
        all["cache_hits"],
        sum(&|record| i64::from(["hit", "stale"].contains(&record.cache_status.as_str())))
    );
    assert_eq!(all["limited_tries"], sum(&|record| (record.attempts.len() / 2) as i64));
    assert_eq!((&all["records_lost"], &lost["records_lost"]), (&json!(3), &json!(2)));
    assert_eq!((&lost["calls"], &lost["duration"]["p50_ms"]), (&json!(0), &Value::Null));

    let rates: Vec<i64> = records.iter().filter_map(Record::rate).collect();
    assert_eq!(all["tokens_per_second"]["count"], rates.len());
    let (slow, exact) = (&all["tokens_per_second"]["p5"], quantile(&rates, 0.05) / 100.0);
    assert!((slow.as_f64().unwrap() - exact).abs() <= exact * 0.02 + 0.05, "{slow} {exact}");

    let is = |outcome: &'static str| move |record: &&Record| word(record.outcome) == outcome;
    let parts = ask("tenant,outcome", &[]);
    assert_eq!(parts.iter().map(|point| point["calls"].as_i64().unwrap()).sum::<i64>(), 300);
    let found =
        parts.iter().find(|point| point["tenant_id"] == "tn_a" && point["outcome"] == "error").unwrap();
    let of_a = || records.iter().filter(|record| record.tenant_id == "tn_a");
    assert_eq!(found["calls"], of_a().filter(is("error")).count());
    assert_eq!(found["error_share"], 1.0);
    assert_eq!(ask("", &[("tenant", "tn_a")])[0]["calls"], of_a().count());
    let large = of_a().filter(is("ok")).filter(|record| record.target_model == "large").count();
    let only = [("tenant", "tn_a"), ("model", "large"), ("outcome", "ok")];
    assert_eq!(ask("", &only)[0]["calls"], large);
    // What was not asked for is not there.
    let json = &ask("model", &[])[0];
    assert!(json.get("model").is_some() && json.get("tenant_id").is_none() && json.get("outcome").is_none());

    // One thing at a time, or of one tenant.
    type Of = fn(&Record) -> Option<String>;
    let dimensions: [(&str, &str, Of); 7] = [
        ("country", "country", |record| record.country.clone()),
        ("key", "key_id", |record| Some(record.key_id.clone())),
        ("release", "release", |record| Some(record.release.clone())),
        ("region", "region", |record| record.region.clone()),
        ("prompt_version", "prompt_version", |record| record.prompt_version.clone()),
        ("error", "error_type", |record| record.error_type.clone()),
        ("tag.feature", "tag.feature", |record| record.tags.as_ref()?.get("feature").cloned()),
    ];
    for (by, label, of) in dimensions {
        let expected = |records: &mut dyn Iterator<Item = &Record>| {
            let mut counts: BTreeMap<String, (i64, i64)> = BTreeMap::new();
            for record in records {
                let Some(value) = of(record).filter(|value| !value.is_empty()) else { continue };
                let count = counts.entry(value).or_default();
                count.0 += 1;
                count.1 += i64::from(record.outcome == Outcome::Error);
            }
            counts
        };
        let found = |points: &[Value]| {
            let int = |point: &Value, name: &str| point[name].as_i64().unwrap();
            let text = |point: &Value| point[label].as_str().unwrap().to_owned();
            let pair = |point: &Value| (text(point), (int(point, "calls"), int(point, "errors")));
            points.iter().map(pair).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(found(&ask(by, &[])), expected(&mut records.iter()), "{by}");
        assert!(!expected(&mut records.iter()).is_empty(), "{by}");
        assert_eq!(found(&ask(by, &[("tenant", "tn_a")])), expected(&mut of_a()), "{by} of a tenant");
        let (value, (calls, _)) = expected(&mut records.iter()).pop_first().unwrap();
        assert_eq!(ask("", &[(by, &value)])[0]["calls"], calls, "only {by} {value}");
        let tenants = ask(&format!("tenant,{by}"), &[]);
        assert!(
            tenants.iter().all(|point| point["tenant_id"].is_string() && point[label].is_string()),
            "{by}"
        );
    }
}

#[test]
fn a_query_that_asks_too_much_is_refused_by_field() {
    let host = MemoryHost::new();
    let day = Query { from_ms: 0, to_ms: DAY_MS, grain: Grain::Minute, series: series("", &[]) };
    let by = |by: &str, only: &[(&str, &str)]| Query { series: series(by, only), ..day.clone() };
    for (query, message) in [
        (Query { to_ms: 0, ..day.clone() }, "`to` must be later than from."),
        (
            Query { to_ms: 2 * DAY_MS, ..day.clone() },
            "`from` must be at most 1500 buckets before to, with grain minute.",
        ),
        (by("model,model", &[]), "`by` must not name a dimension twice."),
        (by("key,model", &[]), "`by` cannot name model beside key, which goes with tenant only."),
        (by("key", &[("region", "x")]), "`by` cannot name region beside key, which goes with tenant only."),
        (by("tag.a,tag.b", &[]), "`by` cannot name tag.b beside tag.a, which goes with tenant only."),
    ] {
        let error = block_on(metrics::query(&host, &query)).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.param(), message.split('`').nth(1));
    }
    assert!(block_on(metrics::query(&host, &day)).unwrap().is_empty());
    assert!(
        block_on(metrics::query(&host, &by("tenant,key", &[("key", "x"), ("tenant", "y")])))
            .unwrap()
            .is_empty()
    );
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
    // It broke off.
    failed.time_to_first_chunk_ms = Some(200);
    failed.cost_microusd = None;
    store(&host, &[yesterday, record("tn_a", NEW_YEAR_MS), record("tn_a", NEW_YEAR_MS + 1), failed]);
    block_on(calls::report_loss(&host, "l1", NEW_YEAR_MS, 7, "a test")).unwrap();
    block_on(gateway::tick::tick(&host, now_ms)).unwrap();
    let text = block_on(prometheus::render(&host, now_ms)).unwrap();
    let series = r#"tenant_id="tn_a",route="/v1/chat/completions",provider_name="demo",model="echo""#;
    for line in [
        "hypergate_info{release=\"test\"} 1".to_owned(),
        format!("hypergate_last_tick_timestamp_seconds {}", now_ms / 1000),
        "hypergate_uncounted_buckets 0".to_owned(),
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
        format!("hypergate_call_time_to_first_chunk_seconds_count{{{series}}} 3"),
        format!("hypergate_call_overhead_seconds_count{{{series}}} 3"),
        format!("hypergate_fallbacks_total{{{series}}} 0"),
        format!("hypergate_tokens_total{{{series},type=\"audio_input\"}} 0"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("old"), "yesterday's calls are not today's");
    assert!(!text.contains("hypergate_call_upstream_seconds_"), "nothing is known of it");
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
        record.key_id = ["", "key_1", "key_2"][draw(3, 16) as usize].to_owned();
        record.release = ["1.0", "1.1"][draw(2, 17) as usize].to_owned();
        record.region = (draw(2, 18) == 0).then(|| "fra".to_owned());
        record.prompt_version = (draw(3, 19) == 0).then(|| format!("v{}", draw(3, 20)));
        record.error_type = (record.outcome != Outcome::Ok).then(|| format!("e{}", draw(3, 21)));
        let tag = |name: &str, salt: u64| (name.to_owned(), format!("{name}-{}", draw(4, salt)));
        record.tags = (draw(2, 22) == 0).then(|| [tag("feature", 23), tag("plan", 24)].into());
        record.time_to_first_chunk_ms = record.stream.then(|| draw(record.duration_ms + 1, 25));
        record.attempts = (0..draw(4, 26))
            .map(|n| Attempt {
                provider: ["demo", "other"][draw(2, 27 + n as u64) as usize].to_owned(),
                model: "echo".to_owned(),
                status: (n % 2 == 1).then_some(429),
                error_type: None,
                duration_ms: 1,
            })
            .collect();
        record.upstream_ms = (!record.attempts.is_empty()).then(|| draw(700, 31));
        record.audio_output_tokens = (draw(5, 32) == 0).then(|| draw(90, 33) as u64);
        record.cache_status = ["none", "hit", "miss", "stale"][draw(4, 34) as usize].to_owned();
        record.country = (draw(3, 35) > 0).then(|| ["BR", "DE"][draw(2, 36) as usize].to_owned());
        record.status = [200, 401, 403, 500][draw(4, 37) as usize];
        record
    };
    (0..count).map(call).collect()
}

/// Counts the calls without any SQL.
fn recount(records: &[Record], table: &str, grain: &str) -> BTreeMap<String, Value> {
    #[derive(Default)]
    struct Sums {
        ints: BTreeMap<&'static str, i64>,
        histograms: BTreeMap<&'static str, Histogram>,
    }
    let width_ms = Grain::parse(grain).unwrap().width_ms();
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    for record in records {
        let is_known = record.response_model.is_some()
            || matches!(record.outcome, Outcome::Error | Outcome::Ok | Outcome::RateLimited);
        let tenant = &record.tenant_id;
        let model = if is_known { record.target_model.as_str() } else { "" };
        let keys = if table == "rollups" {
            vec![[tenant, &record.route, &record.provider_name, model, &word(record.outcome)].join("|")]
        } else {
            let tags = record.tags.iter().flatten().map(|(name, value)| (format!("tag.{name}"), Some(value)));
            let named = [
                ("country", record.country.as_ref()),
                ("error_type", record.error_type.as_ref()),
                ("key_id", Some(&record.key_id)),
                ("prompt_version", record.prompt_version.as_ref()),
                ("region", record.region.as_ref()),
                ("release", Some(&record.release)),
            ];
            let named = named.into_iter().map(|(name, value)| (name.to_owned(), value));
            let known =
                named.chain(tags).filter_map(|(name, value)| Some((name, value.filter(|v| !v.is_empty())?)));
            known.map(|(name, value)| [&name, tenant.as_str(), value].join("|")).collect()
        };
        let said_nothing = record.output_tokens.is_none() || record.usage_estimated;
        let tokens = |count: Option<u64>| count.unwrap_or(0) as i64;
        let is = |outcome| i64::from(record.outcome == outcome);
        let rate = record.rate();
        let targets: Vec<&str> = record.attempts.iter().map(|attempt| attempt.provider.as_str()).collect();
        let mut ints = vec![
            ("calls", 1),
            ("streams", i64::from(record.stream)),
            (
                "without_usage",
                i64::from(record.stream && record.outcome == Outcome::Ok && is_asked(record) && said_nothing),
            ),
            ("duration_sum_ms", record.duration_ms),
            ("wait_count", i64::from(record.wait_ms.is_some())),
            ("wait_sum_ms", record.wait_ms.unwrap_or(0)),
            ("overhead_sum_ms", record.overhead_ms),
            ("first_chunk_count", i64::from(record.time_to_first_chunk_ms.is_some())),
            ("first_chunk_sum_ms", record.time_to_first_chunk_ms.unwrap_or(0)),
            ("upstream_count", i64::from(record.upstream_ms.is_some())),
            ("upstream_sum_ms", record.upstream_ms.unwrap_or(0)),
            ("rated_tokens", rate.map_or(0, |_| tokens(record.output_tokens))),
            ("rated_ms", rate.map_or(0, |_| record.duration_ms - record.time_to_first_chunk_ms.unwrap())),
            ("input_tokens", tokens(record.input_tokens)),
            ("cache_read_input_tokens", tokens(record.cache_read_input_tokens)),
            ("cache_write_input_tokens", tokens(record.cache_write_input_tokens)),
            ("cache_write_1h_input_tokens", tokens(record.cache_write_1h_input_tokens)),
            ("audio_input_tokens", tokens(record.audio_input_tokens)),
            ("image_input_tokens", tokens(record.image_input_tokens)),
            ("output_tokens", tokens(record.output_tokens)),
            ("reasoning_output_tokens", tokens(record.reasoning_output_tokens)),
            ("audio_output_tokens", tokens(record.audio_output_tokens)),
            ("image_output_tokens", tokens(record.image_output_tokens)),
            ("cost_microusd", record.cost_microusd.unwrap_or(0)),
            ("without_cost", i64::from(lacks_cost(record))),
            ("cache_hits", i64::from(["hit", "stale"].contains(&record.cache_status.as_str()))),
            ("cache_misses", i64::from(record.cache_status == "miss")),
            ("limited_here", is(Outcome::RateLimited) * i64::from(record.provider_name.is_empty())),
            ("limited_tries", targets.len() as i64 / 2),
            ("retries", (targets.len() as i64 - 1).max(0)),
            ("fallbacks", i64::from(targets.windows(2).any(|pair| pair[0] != pair[1]))),
            ("denied", i64::from(matches!(record.status, 401 | 403) && record.provider_name.is_empty())),
        ];
        if table == "breakdowns" {
            ints.extend([
                ("errors", is(Outcome::Error)),
                ("client_errors", is(Outcome::ClientError)),
                ("rate_limited", is(Outcome::RateLimited)),
                ("aborted", is(Outcome::Aborted)),
            ]);
        }
        for key in keys {
            let bucket_ms = record.started_ms - record.started_ms % width_ms;
            let sum = sums.entry(format!("{bucket_ms}|{key}")).or_default();
            for (column, value) in &ints {
                *sum.ints.entry(column).or_default() += value;
            }
            for (column, value) in [
                ("duration_histogram", Some(record.duration_ms)),
                ("wait_histogram", record.wait_ms),
                ("first_chunk_histogram", record.time_to_first_chunk_ms),
                ("upstream_histogram", record.upstream_ms),
                ("overhead_histogram", Some(record.overhead_ms)),
                ("rate_histogram", rate),
            ] {
                let histogram = sum.histograms.entry(column).or_default();
                value.into_iter().for_each(|value| histogram.record(value));
            }
        }
    }
    let row = |sums: Sums| {
        let mut row = json!(sums.ints);
        for (column, histogram) in sums.histograms {
            // As stored, to the byte.
            row[column] = json!(histogram.to_json());
        }
        row
    };
    sums.into_iter().map(|(key, sums)| (key, row(sums))).collect()
}

fn word(outcome: Outcome) -> String {
    serde_json::to_value(outcome).unwrap().as_str().unwrap().to_owned()
}

const KEYS: [&str; 8] =
    ["bucket_ms", "dimension", "tenant_id", "label", "route", "provider_name", "model", "outcome"];

fn key_of(table: &str, row: &Value) -> String {
    let of = |column: &&str| match &row[column] {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        number => Some(number.to_string()),
    };
    if table == "rollups" {
        assert_eq!(row["route"], ROUTE);
    }
    KEYS.iter().filter_map(of).collect::<Vec<_>>().join("|")
}

fn counts_of(mut row: Value) -> Value {
    row.as_object_mut().unwrap().retain(|name, _| name != "grain" && !KEYS.contains(&name.as_str()));
    row
}

fn series(by: &str, only: &[(&str, &str)]) -> Series {
    let dimension = |word: &str| Dimension::parse(word).unwrap();
    Series {
        by: by.split(',').filter(|word| !word.is_empty()).map(dimension).collect(),
        only: only.iter().map(|(word, value)| (dimension(word), (*value).to_owned())).collect(),
    }
}

/// By days.
fn ask(host: &MemoryHost, by: &str, only: &[(&str, &str)]) -> Result<Vec<Value>, gateway::Error> {
    let query = Query {
        from_ms: NEW_YEAR_MS + 5,
        to_ms: NEW_YEAR_MS + 2 * DAY_MS,
        grain: Grain::Day,
        series: series(by, only),
    };
    block_on(metrics::query(host, &query))
}

/// The exact one.
fn quantile(values: &[i64], q: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[(q * (values.len() - 1) as f64) as usize] as f64
}

fn spread(values: impl Iterator<Item = i64>) -> Value {
    let values: Vec<i64> = values.collect();
    let mut histogram = Histogram::default();
    values.iter().for_each(|ms| histogram.record(*ms));
    let tenths = |ms: f64| (ms * 10.0).round() / 10.0;
    let quantile = |q| histogram.quantile(q).map(tenths);
    json!({
        "count": values.len(),
        "mean_ms": tenths(values.iter().sum::<i64>() as f64 / values.len() as f64),
        "p50_ms": quantile(0.5),
        "p90_ms": quantile(0.9),
        "p95_ms": quantile(0.95),
        "p99_ms": quantile(0.99),
        "p999_ms": quantile(0.999),
    })
}

#[test]
fn more_series_than_are_shown_are_told() {
    for (models, cut) in [(2_000, 0), (2_001, 1)] {
        let host = MemoryHost::new();
        // A tenant has a hundred models at most.
        let records: Vec<Record> = (0..models)
            .map(|number| Record {
                id: format!("call_{number}"),
                target_model: format!("model-{number}"),
                ..record(&format!("tn_{}", number / 50), NEW_YEAR_MS)
            })
            .collect();
        store(&host, &records);
        count_all(&host, NEW_YEAR_MS + 120_000);
        let text = block_on(prometheus::render(&host, NEW_YEAR_MS + 120_000)).unwrap();
        assert!(text.contains(&format!("\nhypergate_series_cut {cut}\n")), "{models}");
        assert_eq!(text.matches("\nhypergate_calls_total{").count(), 2_000);
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
    while block_on(rollups::count_coarse(host, now_ms)).unwrap() > 0 {}
    too_old
}

fn mark_all_dirty(host: &MemoryHost) {
    let sql =
        "INSERT INTO dirty_buckets SELECT DISTINCT 'minute', started_ms - started_ms % 60000 FROM calls";
    host.db.sql(sql, &[]);
}

fn dump(host: &MemoryHost) -> String {
    let rollups =
        host.db.dump("rollups", "grain, bucket_ms, tenant_id, route, provider_name, model, outcome");
    rollups + &host.db.dump("breakdowns", "grain, bucket_ms, dimension, tenant_id, label")
}

/// Whether a provider was asked, and not the built-in one.
fn is_asked(record: &Record) -> bool {
    !["", "hypergate.demo"].contains(&record.provider_name.as_str())
}

/// Whether something is paid for that nobody knows the price of.
fn lacks_cost(record: &Record) -> bool {
    let is_free =
        ["count_tokens", "create_batch", "create_file", "file_content"].contains(&record.operation.as_str());
    let has_begun = record.outcome == Outcome::Ok || record.time_to_first_chunk_ms.is_some();
    record.cost_microusd.is_none() && is_asked(record) && !is_free && has_begun
}
