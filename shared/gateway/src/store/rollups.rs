//! Rollups: calls counted by minute, hour and day.
//!
//! A bucket is counted again as a whole whenever a call was added to it, and written over what was there;
//! so the order in which calls arrive, and how often a bucket is counted, make no difference. Calls do
//! not change and do not leave while their bucket can be counted again. A row that comes out as it was is not
//! written again.
//!
//! An hour is counted from its minutes and a day from its hours, where retention has kept all of them.
//! An hour whose minutes are gone is counted from its calls, as long as these are there; after that
//! nothing can be added to it. So a call that arrives late never makes an hour or a day smaller.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    counting::{self, BREAKDOWNS, ROLLUPS},
    retention::{CALLS_MS, HOURS_MS, MINUTES_MS},
};
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
    /// Minutes that were counted.
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

/// Counts these minutes and marks their hours for [`count_coarse`], in one transaction: a call that is stored
/// meanwhile is either counted or marks its minute again.
pub async fn count(db: &impl Database, minutes: &[i64], now_ms: i64) -> Result<Counted, PortError> {
    let hours: BTreeSet<i64> = minutes.iter().map(|minute| Grain::Hour.bucket_of(*minute)).collect();
    let days: BTreeSet<i64> = hours.iter().map(|hour| Grain::Day.bucket_of(*hour)).collect();
    let Kept { fresh, late, lost } = Kept::of(&hours, now_ms);
    let lost_days = days.iter().filter(|day| !is_kept(**day, HOURS_MS, now_ms)).count();
    // A minute that retention would take at once is not written: its hour comes from the calls.
    let is_fresh = |minute: &i64| fresh.contains(&Grain::Hour.bucket_of(*minute));
    let fresh_minutes: Vec<i64> = minutes.iter().copied().filter(is_fresh).collect();

    let mut statements = Vec::new();
    for family in [&ROLLUPS, &BREAKDOWNS] {
        run(&mut statements, family.count_calls(Grain::Minute), &fresh_minutes);
    }
    if !fresh_minutes.is_empty() {
        statements.push(Statement::new(NOTE_RELEASES, [list(&fresh_minutes)]));
        statements.push(Statement::new(KEEP_RELEASES, [list(&fresh_minutes)]));
    }
    let marked: Vec<i64> = fresh.iter().chain(&late).copied().collect();
    statements.push(Statement::new(MARK_HOURS, [list(&marked)]));
    statements.push(Statement::new(clean(Grain::Minute), [list(minutes)]));
    db.batch(statements).await?;
    Ok(Counted { buckets: minutes.len(), too_old: lost.len() + lost_days })
}

/// Counts hours whose minutes were counted, and their days, in one transaction: some of them, the newest first, so that
/// a backlog does not hide what goes on. Returns how many buckets that were. An hour is sixty minutes' rows to read, too
/// many for every tick on D1's free plan; so it is done now and then, and before somebody looks.
pub async fn count_coarse(db: &impl Database, now_ms: i64) -> Result<usize, PortError> {
    #[derive(Deserialize)]
    struct Row {
        bucket_ms: i64,
    }
    let sql = "SELECT bucket_ms FROM dirty_buckets WHERE grain = 'hour' ORDER BY bucket_ms DESC LIMIT ?1";
    let found: Vec<Row> = rows(db, Statement::new(sql, [json!(HOURS_AT_ONCE)])).await?;
    let hours: BTreeSet<i64> = found.into_iter().map(|row| row.bucket_ms).collect();
    let days: BTreeSet<i64> = hours.iter().map(|hour| Grain::Day.bucket_of(*hour)).collect();
    if hours.is_empty() {
        return Ok(0);
    }
    let Kept { fresh, late, .. } = Kept::of(&hours, now_ms);
    let fresh_days: Vec<i64> = days.iter().copied().filter(|day| is_kept(*day, HOURS_MS, now_ms)).collect();
    let mut statements = Vec::new();
    for family in [&ROLLUPS, &BREAKDOWNS] {
        run(&mut statements, family.count_calls(Grain::Hour), &late);
        run(&mut statements, family.count_finer(Grain::Hour, Grain::Minute), &fresh);
        run(&mut statements, family.count_finer(Grain::Day, Grain::Hour), &fresh_days);
    }
    let hours: Vec<i64> = hours.into_iter().collect();
    statements.push(Statement::new(clean(Grain::Hour), [list(&hours)]));
    db.batch(statements).await?;
    Ok(hours.len() + days.len())
}

/// Whether what is kept this long is sure to be there. Retention deletes what is older; a tick that began a little
/// earlier must not find a gap.
fn is_kept(bucket_ms: i64, kept_ms: i64, now_ms: i64) -> bool {
    bucket_ms >= now_ms - kept_ms + MARGIN_MS
}

/// Hours, by what they can be counted from.
struct Kept {
    /// Their minutes.
    fresh: Vec<i64>,
    /// The calls.
    late: Vec<i64>,
    /// Nothing any more.
    lost: Vec<i64>,
}

impl Kept {
    fn of(hours: &BTreeSet<i64>, now_ms: i64) -> Self {
        let (fresh, older): (Vec<i64>, Vec<i64>) =
            hours.iter().partition(|hour| is_kept(**hour, MINUTES_MS, now_ms));
        let (late, lost) = older.into_iter().partition(|hour| is_kept(*hour, CALLS_MS, now_ms));
        Self { fresh, late, lost }
    }
}

fn run(statements: &mut Vec<Statement>, sql: [String; 2], buckets: &[i64]) {
    if !buckets.is_empty() {
        statements.extend(sql.map(|sql| Statement::new(sql, [list(buckets)])));
    }
}

fn clean(grain: Grain) -> String {
    let grain = grain.word();
    format!(
        "DELETE FROM dirty_buckets WHERE grain = '{grain}' AND bucket_ms IN (SELECT value FROM json_each(?1))"
    )
}

/// Rows, merged: what tells the result apart, and every count by its column's name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Merged(pub Map<String, Value>);

impl Merged {
    /// A count, or the bucket.
    pub fn int(&self, column: &str) -> i64 {
        self.0.get(column).and_then(Value::as_i64).unwrap_or_else(|| panic!("a merged row has {column}"))
    }

    /// No calls in this bucket.
    pub fn nothing(bucket_ms: i64) -> Self {
        let mut counts = counting::nothing();
        counts.insert("bucket_ms".to_owned(), json!(bucket_ms));
        Self(counts)
    }

    /// A text.
    pub fn text(&self, column: &str) -> &str {
        self.0.get(column).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Which rows to merge.
#[derive(Debug, Clone)]
pub struct Selection<'a> {
    /// The size of the buckets.
    pub grain: Grain,
    /// The first one's start.
    pub from_ms: i64,
    /// Before this.
    pub to_ms: i64,
    /// Whether all buckets are merged into one.
    pub whole: bool,
    /// What breaks calls down, in place of route, provider, model and outcome.
    pub dimension: Option<&'a str>,
    /// Columns that tell results apart, beside the bucket.
    pub by: &'a [&'static str],
    /// Only rows with these values in these columns.
    pub only: &'a [(&'static str, &'a str)],
    /// How many results at most.
    pub limit: i64,
}

/// Merges the rows of every bucket, in order.
pub async fn merged(db: &impl Database, selection: &Selection<'_>) -> Result<Vec<Merged>, PortError> {
    let Selection { grain, from_ms, to_ms, whole, dimension, by, only, limit } = selection;
    let mut params = vec![json!(limit)];
    let mut param = |value: Value| {
        params.push(value);
        params.len()
    };
    let bucket = match whole {
        true => format!("CAST(?{} AS INTEGER)", param(json!(from_ms))),
        false => "bucket_ms".to_owned(),
    };
    let (family, from) = match dimension {
        None => {
            let (from, to, grain) = (param(json!(from_ms)), param(json!(to_ms)), grain.word());
            let from =
                format!("rollups WHERE grain = '{grain}' AND bucket_ms >= ?{from} AND bucket_ms < ?{to}");
            (&ROLLUPS, from)
        }
        // Bucket by bucket, since a bucket has rows of other dimensions as well.
        Some(dimension) => {
            let buckets: Vec<i64> = (*from_ms..*to_ms).step_by(grain.width_ms() as usize).collect();
            let (buckets, dimension) = (param(list(&buckets)), param(json!(dimension)));
            let grain = grain.word();
            let from = format!(
                "json_each(?{buckets}) AS bucket CROSS JOIN breakdowns ON grain = '{grain}' AND bucket_ms = bucket.value
                 AND dimension = ?{dimension}"
            );
            (&BREAKDOWNS, from)
        }
    };
    let only: String =
        only.iter().map(|(column, value)| format!(" AND {column} = ?{}", param(json!(value)))).collect();
    let keys = ["bucket_ms"].iter().chain(*by).copied().collect::<Vec<_>>().join(", ");
    let source = format!("SELECT {bucket} AS bucket_ms, {} FROM {from}{only}", family.columns());
    let sql = format!("SELECT * FROM ({}) ORDER BY {keys} LIMIT ?1", family.merge(&source, &keys));
    rows(db, Statement::new(sql, params)).await
}

/// How many records were lost, by bucket, where some were.
pub async fn lost(
    db: &impl Database,
    grain: Grain,
    from_ms: i64,
    to_ms: i64,
) -> Result<Vec<(i64, i64)>, PortError> {
    #[derive(Deserialize)]
    struct Row {
        bucket_ms: i64,
        lost: i64,
    }
    let sql = format!(
        "SELECT at_ms - at_ms % {} AS bucket_ms, sum(count) AS lost FROM journal_losses
         WHERE at_ms >= ?1 AND at_ms < ?2 GROUP BY bucket_ms ORDER BY bucket_ms",
        grain.width_ms()
    );
    let found: Vec<Row> = rows(db, Statement::new(sql, [json!(from_ms), json!(to_ms)])).await?;
    Ok(found.into_iter().map(|row| (row.bucket_ms, row.lost)).collect())
}

fn list(buckets: &[i64]) -> Value {
    json!(json!(buckets).to_string())
}

const MARK_HOURS: &str =
    "INSERT OR IGNORE INTO dirty_buckets (grain, bucket_ms) SELECT 'hour', value FROM json_each(?1)";

/// A release that has calls for the first time is a change, unless it is the first of all.
const NOTE_RELEASES: &str = "
    INSERT OR IGNORE INTO changes (id, at_ms, kind, title, tenant_id, provider, model)
    SELECT 'chg_release_' || label, min(bucket_ms), 'release', 'release ' || label || ' of the gateway', '', '', ''
    FROM json_each(?1) AS minute CROSS JOIN breakdowns
         ON grain = 'minute' AND bucket_ms = minute.value AND dimension = 'release'
    WHERE label <> 'other' AND label NOT IN (SELECT name FROM releases) AND EXISTS (SELECT 1 FROM releases)
    GROUP BY label";

const KEEP_RELEASES: &str = "
    INSERT OR IGNORE INTO releases (name, first_ms)
    SELECT label, min(bucket_ms)
    FROM json_each(?1) AS minute CROSS JOIN breakdowns
         ON grain = 'minute' AND bucket_ms = minute.value AND dimension = 'release'
    WHERE label <> 'other' GROUP BY label";

/// More than a tick sees in ordinary times, and more than are evaluated at once.
const NEWEST_MINUTES: i64 = 20;
const OLDEST_MINUTES: i64 = 20;
/// How many statements [`count_coarse`] takes at most.
pub const COARSE_STATEMENTS: usize = 14;
/// An hour may be a second's work or two.
const HOURS_AT_ONCE: i64 = 6;

/// Longer than any tick.
const MARGIN_MS: i64 = 3_600_000;
