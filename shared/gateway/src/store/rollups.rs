//! Rollups: calls counted by minute, hour and day.
//!
//! A bucket is counted again as a whole whenever a call was added to it, and written over what was there;
//! so the order in which calls arrive, and how often a bucket is counted, make no difference. Calls do
//! not change and do not leave while their bucket can be counted again, so a bucket only gains rows, and
//! a row with as many calls as before is the same row and is not written again.
//!
//! An hour is counted from its minutes and a day from its hours, where retention has kept all of them.
//! An hour whose minutes are gone is counted from its calls, as long as these are there; after that
//! nothing can be added to it. So a call that arrives late never makes an hour or a day smaller.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::retention::{CALLS_MS, HOURS_MS, MINUTES_MS};
use crate::ports::{Database, PortError, Statement, rows};

/// The size of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grain {
    /// From midnight to midnight, UTC.
    Day,
    /// From hour to hour.
    Hour,
    /// From minute to minute.
    Minute,
}

impl Grain {
    /// The grain this word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Day, Self::Hour, Self::Minute].into_iter().find(|grain| grain.word() == word)
    }

    /// As stored.
    pub fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
        }
    }

    /// How long a bucket is.
    pub fn width_ms(self) -> i64 {
        match self {
            Self::Day => 86_400_000,
            Self::Hour => 3_600_000,
            Self::Minute => 60_000,
        }
    }

    /// The start of the bucket a moment lies in.
    pub fn bucket_of(self, ms: i64) -> i64 {
        ms - ms.rem_euclid(self.width_ms())
    }
}

/// What there was to count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Minutes that were counted, and the hours and days they lie in.
    pub buckets: usize,
    /// Hours and days that are too old for anything to be added to them.
    pub too_old: usize,
}

/// Minutes that changed since they were counted, the newest first: some of the newest, because alerts
/// wait for them, and some of the oldest, so that none waits for ever.
pub async fn dirty_minutes(db: &impl Database) -> Result<Vec<i64>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        bucket_ms: i64,
    }
    let sql = "
        SELECT * FROM (SELECT bucket_ms FROM dirty_buckets WHERE grain = 'minute' ORDER BY bucket_ms DESC LIMIT ?1)
        UNION
        SELECT * FROM (SELECT bucket_ms FROM dirty_buckets WHERE grain = 'minute' ORDER BY bucket_ms LIMIT ?2)
        ORDER BY bucket_ms DESC";
    let found: Vec<Row> =
        rows(db, Statement::new(sql, [json!(NEWEST_MINUTES), json!(OLDEST_MINUTES)])).await?;
    Ok(found.into_iter().map(|row| row.bucket_ms).collect())
}

/// Counts these minutes and the hours and days they lie in, in one transaction: a call that is stored
/// meanwhile is either counted or marks its minute again.
pub async fn count(db: &impl Database, minutes: &[i64], now_ms: i64) -> Result<Counted, PortError> {
    let hours: BTreeSet<i64> = minutes.iter().map(|minute| Grain::Hour.bucket_of(*minute)).collect();
    let days: BTreeSet<i64> = hours.iter().map(|hour| Grain::Day.bucket_of(*hour)).collect();
    // Retention deletes what is older; a tick that began a little earlier must not find a gap.
    let is_kept = |bucket_ms: i64, kept_ms: i64| bucket_ms >= now_ms - kept_ms + MARGIN_MS;
    let (fresh_hours, older_hours): (Vec<i64>, Vec<i64>) =
        hours.iter().partition(|hour| is_kept(**hour, MINUTES_MS));
    let (late_hours, lost_hours): (Vec<i64>, Vec<i64>) =
        older_hours.into_iter().partition(|hour| is_kept(*hour, CALLS_MS));
    let (fresh_days, lost_days): (Vec<i64>, Vec<i64>) = days.iter().partition(|day| is_kept(**day, HOURS_MS));
    // A minute that retention would take at once is not written: its hour comes from the calls.
    let is_fresh = |minute: &i64| fresh_hours.contains(&Grain::Hour.bucket_of(*minute));
    let fresh_minutes: Vec<i64> = minutes.iter().copied().filter(is_fresh).collect();

    let mut statements = Vec::new();
    for (sql, buckets) in [
        (count_calls(Grain::Minute), &fresh_minutes),
        (count_calls(Grain::Hour), &late_hours),
        (count_rollups(Grain::Hour, Grain::Minute), &fresh_hours),
        (count_rollups(Grain::Day, Grain::Hour), &fresh_days),
    ] {
        if !buckets.is_empty() {
            statements.push(Statement::new(sql, [list(buckets)]));
        }
    }
    let clean =
        "DELETE FROM dirty_buckets WHERE grain = 'minute' AND bucket_ms IN (SELECT value FROM json_each(?1))";
    statements.push(Statement::new(clean, [list(minutes)]));
    db.batch(statements).await?;
    let buckets = minutes.len() + hours.len() + days.len();
    Ok(Counted { buckets, too_old: lost_hours.len() + lost_days.len() })
}

/// Counts buckets of this grain from their calls. A call is a rollup of one.
fn count_calls(grain: Grain) -> String {
    let width_ms = grain.width_ms();
    overwrite(grain, &format!("
        SELECT bucket.value AS bucket_ms, tenant_id, route, provider_name,
               -- A model no provider has been seen to know is any text a caller made up.
               CASE WHEN outcome IN ('ok', 'error', 'rate_limited') OR response_model IS NOT NULL THEN target_model ELSE '' END AS model, outcome, 1 AS calls, stream AS streams,
               stream = 1 AND outcome = 'ok' AND (output_tokens IS NULL OR usage_estimated = 1) AS without_usage,
               duration_ms AS duration_sum_ms, wait_ms IS NOT NULL AS wait_count, coalesce(wait_ms, 0) AS wait_sum_ms,
               overhead_ms AS overhead_sum_ms, '{{\"' || duration_bucket || '\":1}}' AS duration_histogram,
               coalesce('{{\"' || wait_bucket || '\":1}}', '{{}}') AS wait_histogram,
               coalesce(input_tokens, 0) AS input_tokens,
               coalesce(cache_read_input_tokens, 0) AS cache_read_input_tokens,
               coalesce(cache_write_input_tokens, 0) AS cache_write_input_tokens,
               coalesce(output_tokens, 0) AS output_tokens,
               coalesce(reasoning_output_tokens, 0) AS reasoning_output_tokens,
               coalesce(cost_microusd, 0) AS cost_microusd, cost_microusd IS NULL AS without_cost
        FROM json_each(?1) AS bucket CROSS JOIN calls
             ON calls.started_ms >= bucket.value AND calls.started_ms < bucket.value + {width_ms}"))
}

/// Counts buckets of this grain from those of the next finer one.
fn count_rollups(grain: Grain, finer: Grain) -> String {
    let (width_ms, finer) = (grain.width_ms(), finer.word());
    overwrite(grain, &format!("
        SELECT bucket.value AS bucket_ms, tenant_id, route, provider_name, model, outcome, calls, streams, without_usage,
               duration_sum_ms, wait_count, wait_sum_ms, overhead_sum_ms, duration_histogram, wait_histogram,
               input_tokens, cache_read_input_tokens, cache_write_input_tokens, output_tokens,
               reasoning_output_tokens, cost_microusd, without_cost
        FROM json_each(?1) AS bucket CROSS JOIN rollups
             ON grain = '{finer}' AND rollups.bucket_ms >= bucket.value AND rollups.bucket_ms < bucket.value + {width_ms}"))
}

/// Writes merged rollups over those of their grain.
fn overwrite(grain: Grain, source: &str) -> String {
    let merged = merge(source, "bucket_ms, tenant_id, route, provider_name, model, outcome");
    let set: Vec<String> = COUNTS.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    format!(
        "INSERT INTO rollups (grain, bucket_ms, tenant_id, route, provider_name, model, outcome, {counts})
         SELECT '{grain}', bucket_ms, tenant_id, route, provider_name, model, outcome, {counts} FROM ({merged}) WHERE true
         ON CONFLICT (grain, bucket_ms, tenant_id, route, provider_name, model, outcome)
         DO UPDATE SET {set} WHERE rollups.calls <> excluded.calls",
        counts = COUNTS.join(", "),
        grain = grain.word(),
        set = set.join(", "),
    )
}

/// Rollups, merged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Merged {
    /// Start of the bucket.
    pub bucket_ms: i64,
    /// Whose calls, if they were told apart by it; likewise the next four.
    pub tenant_id: Option<String>,
    /// Which route.
    pub route: Option<String>,
    /// Which provider.
    pub provider_name: Option<String>,
    /// Which model; empty where none was asked.
    pub model: Option<String>,
    /// How they ended.
    pub outcome: Option<String>,
    /// Calls.
    pub calls: i64,
    /// Calls that ended in an error.
    pub errors: i64,
    /// Streamed calls.
    pub streams: i64,
    /// Streams that ended well without saying their tokens.
    pub without_usage: i64,
    /// Sum of their durations.
    pub duration_sum_ms: i64,
    /// Calls whose wait is known.
    pub wait_count: i64,
    /// The sum of these waits.
    pub wait_sum_ms: i64,
    /// What of the durations was the gateway's.
    pub overhead_sum_ms: i64,
    /// JSON, durations.
    pub duration_histogram: String,
    /// JSON, waits.
    pub wait_histogram: String,
    /// All input tokens.
    pub input_tokens: i64,
    /// Read from a cache.
    pub cache_read_input_tokens: i64,
    /// Written to a cache.
    pub cache_write_input_tokens: i64,
    /// All output tokens.
    pub output_tokens: i64,
    /// Spent on thinking.
    pub reasoning_output_tokens: i64,
    /// Of the calls whose price is known.
    pub cost_microusd: i64,
    /// The other calls.
    pub without_cost: i64,
}

/// Which rollups to merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection<'a> {
    /// The size of the buckets.
    pub grain: Grain,
    /// The first one's start, at the earliest.
    pub from_ms: i64,
    /// Before this.
    pub to_ms: i64,
    /// Only this tenant's.
    pub tenant_id: Option<&'a str>,
    /// Columns that tell results apart, beside the bucket.
    pub by: &'a [&'static str],
    /// How many results at most.
    pub limit: i64,
}

/// Merges the rollups of every bucket, in order.
pub async fn merged(db: &impl Database, selection: &Selection<'_>) -> Result<Vec<Merged>, PortError> {
    let keys = ["bucket_ms"].iter().chain(selection.by).copied().collect::<Vec<_>>().join(", ");
    let source = "
        SELECT * FROM rollups
        WHERE grain = ?1 AND bucket_ms >= ?2 AND bucket_ms < ?3 AND (?4 IS NULL OR tenant_id = ?4)";
    let sql = format!("SELECT * FROM ({}) ORDER BY {keys} LIMIT ?5", merge(source, &keys));
    let Selection { grain, from_ms, to_ms, tenant_id, limit, .. } = selection;
    let params = [json!(grain.word()), json!(from_ms), json!(to_ms), json!(tenant_id), json!(limit)];
    rows(db, Statement::new(sql, params)).await
}

/// Merges rollups. `source` selects rollup rows; the columns `keys` tell the results apart.
fn merge(source: &str, keys: &str) -> String {
    let merged = |histogram: &str| {
        // Ordered, so that counting again gives the same bytes.
        format!(
            "SELECT {keys}, json_group_object(bar, n) AS {histogram} FROM (
                 SELECT {keys}, CAST(bars.key AS INTEGER) AS bar, sum(bars.value) AS n
                 FROM source CROSS JOIN json_each(source.{histogram}) AS bars
                 GROUP BY {keys}, bar ORDER BY {keys}, bar)
             GROUP BY {keys}"
        )
    };
    let is_histogram = |column: &&&str| HISTOGRAMS.contains(*column);
    let sums: Vec<String> = COUNTS
        .iter()
        .filter(|column| !is_histogram(column))
        .map(|column| format!("sum({column}) AS {column}"))
        .collect();
    format!(
        "WITH source AS MATERIALIZED ({source}),
         sums AS (SELECT {keys}, {sums}, sum(CASE outcome WHEN 'error' THEN calls ELSE 0 END) AS errors
                  FROM source GROUP BY {keys}),
         durations AS ({durations}),
         waits AS ({waits})
         SELECT sums.*, duration_histogram, coalesce(wait_histogram, '{{}}') AS wait_histogram
         FROM sums JOIN durations USING ({keys}) LEFT JOIN waits USING ({keys})",
        sums = sums.join(", "),
        durations = merged("duration_histogram"),
        waits = merged("wait_histogram"),
    )
}

fn list(buckets: &[i64]) -> Value {
    json!(json!(buckets).to_string())
}

/// What is counted, as the columns are named.
const COUNTS: [&str; 16] = [
    "calls",
    "streams",
    "without_usage",
    "duration_sum_ms",
    "wait_count",
    "wait_sum_ms",
    "overhead_sum_ms",
    "duration_histogram",
    "wait_histogram",
    "input_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "cost_microusd",
    "without_cost",
];
const HISTOGRAMS: [&str; 2] = ["duration_histogram", "wait_histogram"];

/// More than a tick sees in ordinary times, and more than are evaluated at once.
const NEWEST_MINUTES: i64 = 20;
const OLDEST_MINUTES: i64 = 60;

/// Longer than any tick.
const MARGIN_MS: i64 = 3_600_000;
