//! What is too old goes, a little with every tick, and nothing else does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use gateway::store::retention::{MOST_STATEMENTS, TURNS, delete_calls, delete_old, delete_turn};
use serde_json::json;
use tests::{MemoryHost, Watch, block_on, host::NEW_YEAR_MS};

#[test]
fn each_thing_is_kept_as_long_as_it_should_be() {
    for (table, days, insert) in [
        ("calls", 14.0, CALL),
        ("call_payloads", 3.0, "INSERT INTO call_payloads VALUES (?1, 'tn_a', ?2, 'full', '', '', '', 0)"),
        ("rollups", 2.0, &rollup("rollups", "minute")),
        ("rollups", 90.0, &rollup("rollups", "hour")),
        ("rollups", 400.0, &rollup("rollups", "day")),
        ("breakdowns", 2.0, &rollup("breakdowns", "minute")),
        ("breakdowns", 90.0, &rollup("breakdowns", "hour")),
        ("breakdowns", 400.0, &rollup("breakdowns", "day")),
        (
            "outbox",
            30.0,
            "INSERT INTO outbox (id, episode_id, receiver_id, kind, notice, status, attempts, next_ms, last_result, created_ms, delivered_ms) VALUES (?1, ?1, 'rcv_1', 'firing', '{}', 'delivered', 1, 0, '', ?2, ?2)",
        ),
        (
            "outbox",
            30.0,
            "INSERT INTO outbox (id, episode_id, receiver_id, kind, notice, status, attempts, next_ms, last_result, created_ms, delivered_ms) VALUES (?1, ?1, 'rcv_1', 'firing', '{}', 'dead', 1, 0, '', ?2, NULL)",
        ),
        (
            "outbox",
            f64::MAX,
            "INSERT INTO outbox (id, episode_id, receiver_id, kind, notice, status, attempts, next_ms, last_result, created_ms, delivered_ms) VALUES (?1, ?1, 'rcv_1', 'firing', '{}', 'pending', 1, 0, '', ?2, NULL)",
        ),
        (
            "episodes",
            400.0,
            "INSERT INTO episodes (id, fingerprint, rule_id, tenant_id, route, severity, summary, opened_ms, resolved_ms) VALUES (?1, 'f', 'r', 't', 'x', 'page', '', ?2, ?2)",
        ),
        (
            "episodes",
            f64::MAX,
            "INSERT INTO episodes (id, fingerprint, rule_id, tenant_id, route, severity, summary, opened_ms, resolved_ms) VALUES (?1, 'f', 'r', 't', 'x', 'page', '', ?2, NULL)",
        ),
        ("attempts", 30.0, "INSERT INTO attempts VALUES (?1, 1, 'rcv_1', ?2, 0, 200, 'HTTP 200', 0)"),
        ("journal_losses", 400.0, "INSERT INTO journal_losses VALUES (?1, ?2, 1, '')"),
    ] {
        let host = MemoryHost::new();
        host.db.sql(insert, &[json!("1"), json!(NEW_YEAR_MS)]);
        let rows = || host.db.sql(&format!("SELECT * FROM {table}"), &[]).len();
        let over_ms = NEW_YEAR_MS.saturating_add((days * 86_400_000.0) as i64).min(i64::MAX / 2);
        assert_eq!(block_on(delete_old(&host, over_ms)).unwrap(), 0, "{insert}");
        assert_eq!(rows(), 1, "{insert}");
        let gone = usize::from(days < f64::MAX);
        assert_eq!(block_on(delete_old(&host, over_ms + 1)).unwrap(), gone, "{insert}");
        assert_eq!(rows(), 1 - gone, "{insert}");
    }
}

#[test]
fn the_notices_of_an_episode_stay_to_say_who_must_hear_its_end() {
    let host = MemoryHost::new();
    host.db.sql("INSERT INTO episodes (id, fingerprint, rule_id, tenant_id, route, severity, summary, opened_ms, resolved_ms) VALUES ('ep_1', 'f', 'r', 't', 'x', 'page', '', 0, NULL)", &[]);
    host.db.sql(
        "INSERT INTO outbox (id, episode_id, receiver_id, kind, notice, status, attempts, next_ms, last_result, created_ms, delivered_ms) VALUES ('n', 'ep_1', 'rcv_1', 'firing', '{}', 'delivered', 1, 0, '', 0, 0)",
        &[],
    );
    assert_eq!(block_on(delete_old(&host, NEW_YEAR_MS)).unwrap(), 0);
    host.db.sql("UPDATE episodes SET resolved_ms = ?1", &[json!(NEW_YEAR_MS)]);
    host.db.sql("UPDATE episodes SET opened_ms = ?1", &[json!(NEW_YEAR_MS)]);
    // While that is on its way, too.
    let sql = "INSERT INTO outbox (id, episode_id, receiver_id, kind, notice, status, attempts, next_ms, last_result, created_ms, delivered_ms) VALUES ('m', 'ep_1', 'rcv_1', 'resolved', '{}', 'pending', 1, 0, '', 0, 0)";
    host.db.sql(sql, &[]);
    assert_eq!(block_on(delete_old(&host, NEW_YEAR_MS)).unwrap(), 0);
    host.db.sql("UPDATE outbox SET status = 'delivered'", &[]);
    assert_eq!(block_on(delete_old(&host, NEW_YEAR_MS)).unwrap(), 2);
}

#[test]
fn a_backlog_goes_in_chunks_the_oldest_first() {
    let host = MemoryHost::new();
    let count = 7_500;
    let sql = "
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO journal_losses SELECT 'l' || n, n, 1, '' FROM n";
    host.db.sql(sql, &[json!(count)]);
    let before = host.db.batches();
    assert_eq!(block_on(delete_old(&host, NEW_YEAR_MS)).unwrap(), 7_000);
    assert_eq!(host.db.batches() - before, 7);
    let left = host.db.sql("SELECT min(at_ms) AS oldest, count(*) AS n FROM journal_losses", &[]);
    assert_eq!(left, [json!({ "oldest": 7_001, "n": 500 })]);
    assert_eq!(block_on(delete_old(&host, NEW_YEAR_MS)).unwrap(), 500);
}

#[test]
fn everything_has_its_turn_within_five_minutes_and_calls_have_every_turn() {
    let host = MemoryHost::new();
    for grain in ["minute", "hour", "day"] {
        for table in ["rollups", "breakdowns"] {
            host.db.sql(&rollup(table, grain), &[json!("1"), json!(0)]);
        }
    }
    host.db.sql("INSERT INTO journal_losses VALUES ('l', 0, 1, '')", &[]);
    let turns: usize = (0..TURNS).map(|turn| block_on(delete_turn(&host, turn, NEW_YEAR_MS)).unwrap()).sum();
    assert_eq!(turns, 6 + 1);

    let mut watch = Watch::new();
    watch.play("s");
    for minute in 0..5 {
        watch.host.db.sql(CALL, &[json!(format!("call_{minute}")), json!(0)]);
        watch.host.db.sql(&rollup("rollups", "hour"), &[json!(minute.to_string()), json!(0)]);
        watch.play("s");
        assert!(
            watch.host.db.sql("SELECT 1 FROM calls WHERE started_ms = 0", &[]).is_empty(),
            "minute {minute}"
        );
    }
    assert!(watch.host.db.sql("SELECT 1 FROM rollups WHERE bucket_ms = 0", &[]).len() < 5);
}

#[test]
fn what_is_deleted_at_once_keeps_to_a_ticks_statements() {
    let host = MemoryHost::new();
    for n in 0..8 {
        let sql = "
            WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
            INSERT INTO call_payloads SELECT ?1 || '_' || n, 'tn_a', 0, 'full', '', '', '', 0 FROM n";
        host.db.sql(sql, &[json!(n.to_string())]);
    }
    let before = host.db.statements();
    assert_eq!(block_on(delete_calls(&host, NEW_YEAR_MS)).unwrap(), 5_000);
    assert_eq!(host.db.statements() - before, MOST_STATEMENTS);
}

#[test]
fn a_tick_clears_out_and_says_how_much() {
    let mut watch = Watch::new();
    watch.play("s");
    watch.host.db.sql(CALL, &[json!("old"), json!(0)]);
    assert_eq!(watch.play("s")[0].deleted, 1);
}

const CALL: &str = "
    INSERT INTO calls (id, tenant_id, key_id, operation, route, request_model, provider_name, target_model, attempts,
                       status, outcome, started_ms, duration_ms, overhead_ms, duration_bucket, usage_estimated,
                       price_version, stream, cache_status, release, trace_id)
    VALUES (?1, '', '', '', '', '', '', '', '[]', 200, 'ok', ?2, 0, 0, 0, 0, '', 0, '', '', '')";

/// A row of zeros.
fn rollup(table: &str, grain: &str) -> String {
    let columns = MemoryHost::new().db.sql("SELECT name, type FROM pragma_table_info(?1)", &[json!(table)]);
    let value = |column: &serde_json::Value| match (column["name"].as_str().unwrap(), column["type"].as_str())
    {
        ("grain", _) => format!("'{grain}'"),
        ("bucket_ms", _) => "?2".to_owned(),
        ("tenant_id", _) => "?1".to_owned(),
        (_, Some("INTEGER")) => "0".to_owned(),
        _ => "''".to_owned(),
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    format!("INSERT INTO {table} VALUES ({})", values.join(", "))
}
