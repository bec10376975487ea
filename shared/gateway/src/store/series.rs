//! Rollups as series: sums by piece of time, and which labels there are.

use serde_json::{Map, Value, json};

use super::rollups::Grain;
use crate::ports::{Database, PortError, Statement, rows};

/// Which sums to read.
#[derive(Debug)]
pub struct Pieces<'a> {
    /// The size of the buckets that are summed.
    pub grain: Grain,
    /// Buckets begin at this or later.
    pub from_ms: i64,
    /// And before this.
    pub to_ms: i64,
    /// A piece of time is so long, and begins at this and its multiples.
    pub piece_ms: i64,
    /// Plus this.
    pub piece_from_ms: i64,
    /// Columns that tell sums apart.
    pub by: &'a [&'static str],
    /// Only rows with these values in these columns.
    pub only: &'a [(&'static str, &'a str)],
    /// What is summed.
    pub sum: Sum,
    /// How many rows at most.
    pub limit: usize,
}

/// What is summed.
#[derive(Debug)]
pub enum Sum {
    /// Columns: `v0`, `v1`, ….
    Columns(Vec<String>),
    /// What a histogram's column counts up to each of these buckets and not the one before, and beyond all: the number
    /// of it is `class`, its count `v0`.
    Classes(&'static str, Vec<u16>),
}

/// Reads them, the earliest piece of time first; it begins `at`.
pub async fn pieces(db: &impl Database, of: &Pieces<'_>) -> Result<Vec<Map<String, Value>>, PortError> {
    let mut params = vec![
        json!(of.from_ms),
        json!(of.to_ms),
        json!(of.piece_ms),
        json!(of.piece_from_ms),
        json!(of.limit),
    ];
    let mut only = String::new();
    for (column, value) in of.only {
        params.push(json!(value));
        only += &format!(" AND {column} = ?{}", params.len());
    }
    let (values, from, class) = match &of.sum {
        Sum::Columns(columns) => {
            let sums = columns.iter().enumerate().map(|(at, column)| format!("sum({column}) AS v{at}"));
            (sums.collect::<Vec<_>>().join(", "), "rollups".to_owned(), "")
        }
        Sum::Classes(column, buckets) => {
            let classes = buckets
                .iter()
                .enumerate()
                .map(|(at, bucket)| format!("WHEN CAST(counted.key AS INTEGER) <= {bucket} THEN {at}"));
            let classes = classes.collect::<Vec<_>>().join(" ");
            let values =
                format!("CASE {classes} ELSE {} END AS class, sum(counted.value) AS v0", buckets.len());
            (values, format!("rollups CROSS JOIN json_each({column}) AS counted"), ", class")
        }
    };
    let by: String = of.by.iter().map(|column| format!(", {column}")).collect();
    let sql = format!(
        "SELECT bucket_ms - (bucket_ms - ?4) % ?3 AS at{by}, {values} FROM {from}
         WHERE grain = '{}' AND bucket_ms >= ?1 AND bucket_ms < ?2{only}
         GROUP BY at{by}{class} ORDER BY at LIMIT ?5",
        of.grain.word()
    );
    rows(db, Statement::new(sql, params)).await
}

/// Which values of these columns there are together, in hours and, as these are counted late, in minutes from
/// `fresh_ms` on.
pub async fn labels(
    db: &impl Database,
    columns: &[&str],
    from_ms: i64,
    to_ms: i64,
    fresh_ms: i64,
    limit: usize,
) -> Result<Vec<Map<String, Value>>, PortError> {
    let columns = columns.join(", ");
    let sql = format!(
        "SELECT DISTINCT {columns} FROM rollups WHERE grain = 'hour' AND bucket_ms >= ?1 AND bucket_ms <= ?2
         UNION SELECT DISTINCT {columns} FROM rollups WHERE grain = 'minute' AND bucket_ms >= ?3 AND bucket_ms <= ?2
         LIMIT ?4"
    );
    rows(db, Statement::new(sql, [json!(from_ms), json!(to_ms), json!(fresh_ms), json!(limit)])).await
}
