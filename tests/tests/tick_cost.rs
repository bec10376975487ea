//! What a tick costs: few statements, none of which looks through history, and work that grows with what is active.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::collections::BTreeMap;

use gateway::{
    journal,
    metrics::{self, Dimension, Grain, Query, Series},
    prometheus,
    record::Record,
    store::rollups,
    tick::{Report, tick},
};
use serde_json::json;
use tests::{MemoryHost, block_on, database::Seen, host::NEW_YEAR_MS, watch::varied};

#[test]
fn fifty_calls_a_second_in_forty_series_stay_within_the_free_plan() {
    let host = MemoryHost::new();
    let mut most = 0;
    // The third of these ticks counts the hour and the day; what has its turn every five minutes has it in one of them.
    for minute in 0..5 {
        let at_ms = NEW_YEAR_MS + (62 + minute) * MINUTE_MS;
        play(&host, at_ms, 3_000);
        host.db.look();
        ticked(&host, at_ms + MINUTE_MS + 30_000);
        most = most.max(runs(&host.db.look()));
    }
    let sql = "SELECT count(*) AS n FROM rollups WHERE grain = 'minute' AND bucket_ms = ?1";
    assert_eq!(host.db.sql(sql, &[json!(NEW_YEAR_MS + 64 * MINUTE_MS)]), [json!({ "n": 40 })]);
    assert!(most <= 50, "{most} statements");
}

#[test]
fn what_is_looked_at_once_an_hour_is_a_statement_for_each_kind() {
    let host = MemoryHost::new();
    let mut ran = Vec::new();
    for minute in 58..=72 {
        let at_ms = NEW_YEAR_MS + minute * MINUTE_MS;
        play(&host, at_ms, 300);
        host.db.look();
        ticked(&host, at_ms + MINUTE_MS + 30_000);
        let seen = host.db.look();
        let reads = |table: &str| {
            let from = format!("FROM {table}");
            seen.iter().filter(|(sql, _)| sql.contains(&from)).map(|(_, seen)| seen.runs).sum::<usize>()
        };
        let parts = seen.iter().filter(|(sql, _)| sql.contains("'provider=' ||")).count();
        ran.push((
            minute + 1,
            reads("traits AS n"),
            reads("faults WHERE hour_ms BETWEEN"),
            parts,
            runs(&seen),
        ));
    }
    // The minute that is looked at is the one before; these are told from hours that were counted at :05 and :06.
    for (minute, news, faults, parts, all) in &ran {
        let is_hourly = usize::from(*minute == 70);
        assert_eq!((*news, *faults, *parts), (is_hourly, is_hourly, is_hourly), "{minute}");
        assert!(*all <= 50, "{minute}: {all}");
    }
}

#[test]
fn no_statement_looks_through_history() {
    let host = MemoryHost::new();
    play(&host, NEW_YEAR_MS + 8 * MINUTE_MS, 60);
    host.db.look();
    for minute in [9, 10, 11, 12, 13, 14, 65, 66, 70] {
        ticked(&host, NEW_YEAR_MS + minute * MINUTE_MS + 30_000);
    }
    block_on(prometheus::render(&host, NEW_YEAR_MS + HOUR_MS)).unwrap();
    for by in [vec![], vec![Dimension::Model, Dimension::Tenant], vec![Dimension::Key]] {
        let series = Series { by, only: vec![(Dimension::Tenant, "tn_1".to_owned())] };
        for grain in [Grain::Minute, Grain::Hour, Grain::Day] {
            let query =
                Query { from_ms: NEW_YEAR_MS, to_ms: NEW_YEAR_MS + HOUR_MS, grain, series: series.clone() };
            block_on(metrics::query(&host, &query)).unwrap();
        }
    }
    // A late call, whose minute is gone.
    play(&host, NEW_YEAR_MS - 5 * DAY_MS, 3);
    ticked(&host, NEW_YEAR_MS + 125 * MINUTE_MS);
    let seen = host.db.look();
    assert!(seen.len() > 30, "{}", seen.len());
    for (sql, Seen { plan, .. }) in seen {
        for step in &plan {
            let is_scan = HISTORY.iter().any(|table| step.starts_with(&format!("SCAN {table}")));
            // Of the episodes that are open.
            assert!(
                !is_scan
                    || step.ends_with("USING INDEX episodes_open")
                    || step.ends_with("USING INDEX episodes_live"),
                "{step}\n{sql}\n{}",
                plan.join("\n")
            );
        }
    }
}

#[test]
fn the_work_grows_with_what_is_active_and_not_with_history() {
    let work = |history: bool, calls: i64| {
        let host = MemoryHost::new();
        let now_ms = NEW_YEAR_MS + 10 * HOUR_MS;
        if history {
            // What one minute left, as if each minute of two days, hour of ninety, and day of four hundred had been so.
            play(&host, now_ms, 120);
            ticked(&host, now_ms + MINUTE_MS + 30_000);
            block_on(rollups::count_coarse(&host, now_ms + 2 * MINUTE_MS)).unwrap();
            for (table, at, every_ms, count) in [
                ("rollups", "minute", MINUTE_MS, 2_800),
                ("breakdowns", "minute", MINUTE_MS, 600),
                ("rollups", "hour", HOUR_MS, 2_000),
                ("rollups", "day", DAY_MS, 390),
            ] {
                copy(&host, table, at, every_ms, count);
            }
            // Nothing of it is in the hour or the day that goes on.
            for table in ["rollups", "breakdowns"] {
                host.db.sql(&format!("DELETE FROM {table} WHERE bucket_ms >= ?1"), &[json!(now_ms)]);
            }
            host.db.sql("DELETE FROM calls", &[]);
            host.db.sql("DELETE FROM dirty_buckets", &[]);
            host.db
                .sql("DELETE FROM rollups WHERE grain = 'hour' AND bucket_ms >= ?1", &[json!(NEW_YEAR_MS)]);
            host.db.sql("DELETE FROM rollups WHERE grain = 'day' AND bucket_ms >= ?1", &[json!(NEW_YEAR_MS)]);
        }
        let later_ms = now_ms + HOUR_MS;
        ticked(&host, later_ms - MINUTE_MS);
        play(&host, later_ms, calls);
        host.db.look();
        ticked(&host, later_ms + MINUTE_MS + 30_000);
        // This one counts the hour and the day.
        ticked(&host, later_ms + 5 * MINUTE_MS);
        host.db.look().values().map(|seen| seen.steps).sum::<i64>()
    };
    let (young, old) = (work(false, 600), work(true, 600));
    assert!(old < young + young / 10, "{young} steps without history, {old} with it");
    assert!(work(false, 1_200) < 3 * young, "twice the calls");
}

/// A minute of calls: forty series of tenants, providers and models, with keys, regions and tags.
fn play(host: &MemoryHost, at_ms: i64, calls: i64) {
    let call = |n: i64| {
        let mut record = varied(&format!("tn_{}", n % 8), at_ms + n * MINUTE_MS / calls, n);
        record.id = format!("call_{at_ms}_{n}");
        record.overhead_ms = n % 9;
        record
    };
    let records: Vec<Record> = (0..calls).map(call).collect();
    for batch in records.chunks(100) {
        block_on(journal::write(host, batch)).unwrap();
    }
}

/// Copies the rows of a grain into buckets before them.
fn copy(host: &MemoryHost, table: &str, grain: &str, every_ms: i64, count: i64) {
    let columns = host.db.sql("SELECT name FROM pragma_table_info(?1)", &[json!(table)]);
    let columns: Vec<&str> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    let moved: Vec<String> = columns
        .iter()
        .map(|column| match *column {
            "bucket_ms" => format!("bucket_ms - ago * {every_ms}"),
            column => column.to_owned(),
        })
        .collect();
    let sql = format!(
        "WITH RECURSIVE n (ago) AS (SELECT 1 UNION ALL SELECT ago + 1 FROM n WHERE ago < {count})
         INSERT INTO {table} SELECT {} FROM n, {table} WHERE grain = '{grain}'",
        moved.join(", ")
    );
    host.db.sql(&sql, &[]);
}

fn ticked(host: &MemoryHost, now_ms: i64) -> Report {
    host.set_now(now_ms);
    let report = block_on(tick(host, now_ms)).unwrap();
    assert_eq!(report.failed_steps, [""; 0]);
    report
}

fn runs(seen: &BTreeMap<String, Seen>) -> usize {
    seen.values().map(|seen| seen.runs).sum()
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What grows with time.
const HISTORY: [&str; 8] =
    ["breakdowns", "call_payloads", "calls", "episodes", "faults", "journal_losses", "rollups", "traits"];
