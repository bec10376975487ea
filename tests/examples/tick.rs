//! What a tick costs on SQLite: statements, requests, the database's time and our own. `cargo xtask bench tick` runs it.
//!
//! Fifty calls a second, minute by minute, with a tick after each; first on an empty database, with more series, with
//! series that have gone quiet, and then behind as many records as are asked for.

#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use gateway::{journal, receiver, record::Record, rules, store::rollups, tick::tick};
use hypercare::notify::ReceiverKind;
use serde_json::json;
use tests::{
    Answer, MemoryDatabase, MemoryHost, block_on,
    watch::{receiver_at, varied},
};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [records, folder] = &words[..] else { panic!("how many records, and a folder for the database") };
    let records: i64 = records.parse().unwrap();
    let folder = PathBuf::from(folder);
    println!(
        "| | statements, most | requests, most | database ms, median | most | own ms, median | most | arrives, ms a minute |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    measure("20 active series", 20, 0, 0, &folder);
    measure("40 active series", 40, 0, 0, &folder);
    measure("80 active series", 80, 0, 0, &folder);
    measure("40 active series, 400 that are quiet", 40, 400, 0, &folder);
    if records > 0 {
        measure(&format!("40 active series, {records} records"), 40, 0, records, &folder);
    }
}

/// Plays an hour and a few minutes, and prints a line of a table.
fn measure(name: &str, series: i64, quiet: i64, records: i64, folder: &Path) {
    let file = folder.join("tick.sqlite");
    let _ = fs::remove_file(&file);
    let host = MemoryHost::on(MemoryDatabase::file(&file), &[("ALLOW_LOCAL_RECEIVERS", "true")]);
    host.set_now(START_MS);
    host.upstream.listen(|_| Answer::text(200, ""));
    set_up(&host, START_MS);
    for n in 0..3 {
        store(&host, &minute(START_MS - (26 + n) * HOUR_MS, quiet, 3 * quiet));
    }
    if records > 0 {
        remember(&host, series, records, START_MS);
        println!("<!-- {:.1} GB -->", fs::metadata(&file).unwrap().len() as f64 / 1e9);
    }
    while !block_on(rollups::dirty_minutes(&host)).unwrap().is_empty() {
        let dirty = block_on(rollups::dirty_minutes(&host)).unwrap();
        block_on(rollups::count(&host, &dirty, START_MS)).unwrap();
    }
    while block_on(rollups::count_coarse(&host, START_MS)).unwrap() > 0 {}

    let (mut ticks, mut arrivals) = (Vec::new(), Vec::new());
    for n in 0..MINUTES {
        let at_ms = START_MS + n * MINUTE_MS;
        let calls = minute(at_ms, series, CALLS);
        let began = Instant::now();
        store(&host, &calls);
        arrivals.push(began.elapsed());
        let now_ms = at_ms + MINUTE_MS + 35_000;
        host.set_now(now_ms);
        let before = (host.db.statements(), host.upstream.sent().len(), host.db.spent());
        let began = Instant::now();
        let report = block_on(tick(&host, now_ms)).unwrap();
        let took = began.elapsed();
        assert!(report.failed_steps.is_empty(), "{:?} {:?}", report.failed_steps, host.logs());
        let database = host.db.spent() - before.2;
        ticks.push((
            host.db.statements() - before.0,
            host.upstream.sent().len() - before.1,
            database,
            took - database,
        ));
    }
    let ms = |durations: Vec<Duration>| {
        let mut ms: Vec<f64> = durations.iter().map(|one| one.as_secs_f64() * 1_000.0).collect();
        ms.sort_unstable_by(f64::total_cmp);
        (ms[ms.len() / 2], ms[ms.len() - 1])
    };
    let database = ms(ticks.iter().map(|tick| tick.2).collect());
    let own = ms(ticks.iter().map(|tick| tick.3).collect());
    println!(
        "| {name} | {} | {} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0} |",
        ticks.iter().map(|tick| tick.0).max().unwrap(),
        ticks.iter().map(|tick| tick.1).max().unwrap(),
        database.0,
        database.1,
        own.0,
        own.1,
        ms(arrivals).0,
    );
    drop(host);
    fs::remove_file(&file).unwrap();
}

/// A receiver, and as many rules as there are thirteen of beside the shipped ones.
fn set_up(host: &MemoryHost, now_ms: i64) {
    block_on(receiver::create(host, &receiver_at(ReceiverKind::Webhook, "https://hooks.example/x"), now_ms))
        .unwrap();
    for (n, (measure, method)) in [
        ("p99(duration)", json!("threshold")),
        ("mean_duration", json!("threshold")),
        ("calls", json!("drop")),
        ("input_tokens", json!("drop")),
        ("calls", json!("surge")),
        ("error_share", json!("anomaly")),
        ("mean_wait", json!("anomaly")),
        ("mean_duration", json!("shift")),
        ("error_share", json!("shift")),
        ("p50(duration)", json!("drift")),
        ("mean_duration", json!({ "kind": "trend", "limit": 9_000 })),
        ("cost_microusd", json!("threshold")),
        ("error_share", json!({ "kind": "burn_rate", "objective": 0.999 })),
    ]
    .into_iter()
    .enumerate()
    {
        let threshold = if method == "drop" {
            0.1
        } else if method == "threshold" {
            500_000.0
        } else {
            10.0
        };
        let rule = json!({ "title": format!("rule {n}"), "measure": measure, "method": method, "threshold": threshold });
        block_on(rules::create(host, rule.to_string().as_bytes()))
            .unwrap_or_else(|error| panic!("{rule}: {error}"));
    }
}

/// As many records as are asked for, up to `end_ms`: copies of one minute, counted as it was.
fn remember(host: &MemoryHost, series: i64, records: i64, end_ms: i64) {
    let minutes = records / CALLS;
    store(host, &minute(end_ms - MINUTE_MS, series, CALLS));
    let dirty = block_on(rollups::dirty_minutes(host)).unwrap();
    block_on(rollups::count(host, &dirty, end_ms)).unwrap();
    let chosen = |table: &str, change: &dyn Fn(&str) -> String| {
        let columns = host.db.sql("SELECT name FROM pragma_table_info(?1)", &[json!(table)]);
        columns.iter().map(|column| change(column["name"].as_str().unwrap())).collect::<Vec<_>>().join(", ")
    };
    let calls = chosen("calls", &|column| match column {
        "id" => "printf('%05d', ?2 - ago) || substr(calls.id, 6)".to_owned(),
        "started_ms" => format!("started_ms - ago * {MINUTE_MS}"),
        "trace_id" => "'0'".to_owned(),
        column => column.to_owned(),
    });
    let ago = "WITH RECURSIVE n (ago) AS (SELECT ?1 UNION ALL SELECT ago - 1 FROM n WHERE ago > ?3)";
    let mut oldest = minutes;
    while oldest > 0 {
        let newest = (oldest - 60).max(0) + 1;
        let sql = format!(
            "{ago} INSERT INTO calls SELECT {calls} FROM n CROSS JOIN calls WHERE started_ms >= {}",
            end_ms - MINUTE_MS
        );
        host.db.sql(&sql, &[json!(oldest), json!(90_000), json!(newest)]);
        oldest = newest - 1;
    }
    for table in ["rollups", "breakdowns"] {
        let columns = chosen(table, &|column| match column {
            "bucket_ms" => format!("bucket_ms - ago * {MINUTE_MS}"),
            column => column.to_owned(),
        });
        let sql = format!(
            "WITH RECURSIVE n (ago) AS (SELECT ?1 UNION ALL SELECT ago - 1 FROM n WHERE ago > 1)
             INSERT INTO {table} SELECT {columns} FROM n CROSS JOIN {table} WHERE grain = 'minute' AND bucket_ms = {}",
            end_ms - MINUTE_MS
        );
        host.db.sql(&sql, &[json!(minutes.min(46 * 60))]);
    }
    for hour in 0..minutes.min(46 * 60) / 60 {
        let sql = "INSERT OR IGNORE INTO dirty_buckets (grain, bucket_ms) VALUES ('hour', ?1)";
        host.db.sql(sql, &[json!(end_ms - (hour + 1) * HOUR_MS)]);
    }
}

/// A minute of calls of tenants, providers and models, with keys, regions and tags.
fn minute(at_ms: i64, series: i64, calls: i64) -> Vec<Record> {
    let call = |n: i64| {
        let tenant = (n / 5) % (series / 5).max(1);
        let mut record = varied(&format!("tn_{series}_{tenant}"), at_ms + n * MINUTE_MS / calls, n);
        record.id = format!("call__{at_ms}_{n}");
        record
    };
    (0..calls).map(call).collect()
}

fn store(host: &MemoryHost, records: &[Record]) {
    for batch in records.chunks(100) {
        block_on(journal::write(host, batch)).unwrap();
    }
}

/// An hour, its count, and some minutes around.
const MINUTES: i64 = 68;
/// Fifty a second.
const CALLS: i64 = 3_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// 2026-01-05T10:00:00Z, a Monday.
const START_MS: i64 = 1_767_607_200_000;
