//! The tables. Workers applies the files with wrangler when it is deployed; a host without a deploy step
//! applies them itself.

use serde::Deserialize;
use serde_json::json;

use crate::ports::{Database, PortError, Statement, rows};

/// Every migration, in order: name and SQL.
pub const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_create_identity", include_str!("../../migrations/0001_create_identity.sql")),
    ("0002_create_calls", include_str!("../../migrations/0002_create_calls.sql")),
    ("0003_create_rollups", include_str!("../../migrations/0003_create_rollups.sql")),
    ("0004_create_alerts", include_str!("../../migrations/0004_create_alerts.sql")),
    ("0005_create_owned_objects", include_str!("../../migrations/0005_create_owned_objects.sql")),
    ("0006_create_prices", include_str!("../../migrations/0006_create_prices.sql")),
    ("0007_add_native_finish_reason", include_str!("../../migrations/0007_add_native_finish_reason.sql")),
    ("0010_widen_receivers", include_str!("../../migrations/0010_widen_receivers.sql")),
    ("0011_add_own_rules", include_str!("../../migrations/0011_add_own_rules.sql")),
    ("0012_add_breakdowns", include_str!("../../migrations/0012_add_breakdowns.sql")),
    ("0013_widen_alerts", include_str!("../../migrations/0013_widen_alerts.sql")),
    ("0015_watch_access", include_str!("../../migrations/0015_watch_access.sql")),
    ("0016_watch_errors_and_traits", include_str!("../../migrations/0016_watch_errors_and_traits.sql")),
    ("0017_add_outlets", include_str!("../../migrations/0017_add_outlets.sql")),
    ("0018_add_reports", include_str!("../../migrations/0018_add_reports.sql")),
];

/// Applies what is missing; returns how many that were. Each takes effect as a whole.
pub async fn apply(db: &impl Database, now_ms: i64) -> Result<usize, PortError> {
    #[derive(Deserialize)]
    struct Row {
        name: String,
    }
    let made =
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_ms INTEGER NOT NULL) STRICT";
    let known = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'";
    if rows::<Row>(db, Statement::new(known, [])).await?.is_empty() {
        db.batch(vec![Statement::new(made, [])]).await?;
    }
    let applied: Vec<Row> = rows(db, Statement::new("SELECT name FROM migrations", [])).await?;
    let missing = MIGRATIONS.iter().filter(|(name, _)| !applied.iter().any(|row| row.name == *name));
    let mut count = 0;
    for (name, sql) in missing {
        let mut batch: Vec<Statement> = statements(sql).map(|sql| Statement::new(sql, [])).collect();
        // First: of two that apply it at once, the second fails here and changes nothing.
        let note = Statement::new(
            "INSERT INTO migrations (name, applied_ms) VALUES (?1, ?2)",
            [json!(name), json!(now_ms)],
        );
        batch.insert(0, note);
        db.batch(batch).await?;
        count += 1;
    }
    Ok(count)
}

/// The statements of a file. None of ours has a semicolon at the end of a line but to end a statement.
pub fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(";\n").map(str::trim).filter(|statement| {
        statement.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--"))
    })
}
