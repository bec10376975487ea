//! Baselines: what a load test, another deployment or last week was like, kept under a name to compare with.

use hypercare::histogram::Histogram;
use serde_json::{Map, Value, json};

use crate::{
    Error,
    metrics::{self, Dimension, Grain, MOST_BUCKETS, Query, Series, field, labels, measures},
    ports::Database,
    store::{
        baselines::{self, Stored},
        retention::{HOURS_MS, MINUTES_MS},
        rollups::Merged,
    },
};

/// What a baseline is to be of.
#[derive(Debug, Clone, PartialEq)]
pub struct New {
    /// What it goes by: `a-z`, `0-9`, `.`, `_` and `-`.
    pub name: String,
    /// What it is for.
    pub note: String,
    /// The period's first bucket lies here.
    pub from_ms: i64,
    /// The period ends before this.
    pub to_ms: i64,
    /// Which calls, and how they are told apart.
    pub series: Series,
    /// What another deployment shows of its baseline; none takes it from the metrics here.
    pub told: Option<Vec<Value>>,
}

/// Keeps a baseline, in place of one with its name.
pub async fn put(db: &impl Database, new: New, now_ms: i64) -> Result<Value, Error> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if !(1..=64).contains(&new.name.len()) || !new.name.bytes().all(is_plain) {
        return Err(field("name", "must be 1 to 64 of a-z, 0-9, `.`, `_` and `-`"));
    }
    let query = period(new.from_ms, new.to_ms, new.series, now_ms)?;
    let series = match new.told {
        None => metrics::merged(db, &query, true, MOST_SERIES).await?,
        Some(told) if told.len() > MOST_SERIES => {
            return Err(field("series", format!("must be at most {MOST_SERIES}")));
        }
        Some(told) => told.into_iter().map(|row| told_row(row, &query.series)).collect::<Result<_, _>>()?,
    };
    if series.is_empty() {
        return Err(field("from", "has no calls between it and to"));
    }
    let stored = Stored {
        name: new.name,
        note: new.note,
        from_ms: query.from_ms,
        to_ms: query.to_ms,
        by: query.series.by.iter().map(|dimension| dimension.word().into_owned()).collect(),
        only: query
            .series
            .only
            .iter()
            .map(|(dimension, value)| (dimension.word().into_owned(), json!(value)))
            .collect(),
        series: series.into_iter().map(|row| Value::Object(row.0)).collect(),
        created_ms: now_ms,
    };
    baselines::put(db, &stored).await?;
    Ok(stored.summary())
}

/// The baselines there are, without their series.
pub async fn list(db: &impl Database) -> Result<Vec<Value>, Error> {
    Ok(baselines::list(db).await?.iter().map(Stored::summary).collect())
}

/// One of them, as another deployment takes it.
pub async fn find(db: &impl Database, name: &str) -> Result<Value, Error> {
    let stored = stored(db, name).await?;
    let mut shown = stored.summary();
    shown["series"] = json!(stored.series);
    Ok(shown)
}

/// Forgets a baseline.
pub async fn delete(db: &impl Database, name: &str) -> Result<(), Error> {
    match baselines::delete(db, name).await? {
        true => Ok(()),
        false => Err(unknown(name)),
    }
}

/// What a period was like beside the baseline: a comparison for each series that either has. Without a period it is
/// the newest one of the baseline's length.
pub async fn compare(
    db: &impl Database,
    name: &str,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
    now_ms: i64,
) -> Result<Value, Error> {
    let stored = stored(db, name).await?;
    let series = read_series(&stored)?;
    let to_ms = to_ms.unwrap_or_else(|| Grain::Minute.bucket_of(now_ms));
    let from_ms = from_ms.unwrap_or(to_ms - (stored.to_ms - stored.from_ms));
    let query = period(from_ms, to_ms, series, now_ms)?;
    let now = metrics::merged(db, &query, true, MOST_SERIES).await?;
    let then: Vec<Merged> =
        stored.series.iter().filter_map(|row| Some(Merged(row.as_object()?.clone()))).collect();
    let series = &query.series;
    let mut keys: Vec<Map<String, Value>> = Vec::new();
    for row in then.iter().chain(&now) {
        let key = labels(row, series);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let side = |rows: &[Merged], key: &Map<String, Value>, length_ms: i64| -> Result<Option<Value>, Error> {
        let Some(row) = rows.iter().find(|row| labels(row, series) == *key) else { return Ok(None) };
        let mut shown = measures(row)?;
        let calls = row.int("calls") as f64;
        let each = |column: &str| json!(row.int(column) as f64 / calls.max(1.0));
        let minutes = (length_ms as f64 / Grain::Minute.width_ms() as f64).max(1.0);
        shown.insert("calls_per_minute".to_owned(), json!(calls / minutes));
        for (name, column) in PER_CALL {
            shown.insert(name.to_owned(), each(column));
        }
        Ok(Some(Value::Object(shown)))
    };
    let mut compared = Vec::with_capacity(keys.len());
    for key in keys {
        let then = side(&then, &key, stored.to_ms - stored.from_ms)?;
        let now = side(&now, &key, query.to_ms - query.from_ms)?;
        let change = then.as_ref().zip(now.as_ref()).map(|(then, now)| change(then, now));
        let mut row = key;
        row.insert("baseline".to_owned(), json!(then));
        row.insert("current".to_owned(), json!(now));
        row.insert("change".to_owned(), json!(change));
        compared.push(Value::Object(row));
    }
    Ok(json!({
        "baseline": stored.summary(), "from_ms": query.from_ms, "to_ms": query.to_ms, "series": compared,
    }))
}

/// By which share of what it was each measure changed; null where it was nothing, or is not known.
fn change(then: &Value, now: &Value) -> Value {
    let compared = COMPARED.iter().map(|pointer| {
        let of = |side: &Value| side.pointer(pointer).and_then(Value::as_f64);
        let change =
            of(then).zip(of(now)).filter(|(then, _)| *then != 0.0).map(|(then, now)| now / then - 1.0);
        let name = pointer[1..].replace('/', ".");
        (name, json!(change.map(|change| (change * 10_000.0).round() / 10_000.0)))
    });
    Value::Object(compared.collect())
}

/// The period, from bucket to bucket of the finest grain that is kept as long.
fn period(from_ms: i64, to_ms: i64, series: Series, now_ms: i64) -> Result<Query, Error> {
    if to_ms <= from_ms {
        return Err(field("to", "must be later than from"));
    }
    let fits = |grain: Grain, kept_ms: i64| {
        let is_short = (to_ms - from_ms) / grain.width_ms() < MOST_BUCKETS;
        // Retention may take the oldest bucket any moment.
        is_short && from_ms >= now_ms - kept_ms + Grain::Hour.width_ms()
    };
    let grain = match () {
        () if fits(Grain::Minute, MINUTES_MS) => Grain::Minute,
        () if fits(Grain::Hour, HOURS_MS) => Grain::Hour,
        () => Grain::Day,
    };
    let to_ms = grain.bucket_of(to_ms + grain.width_ms() - 1);
    Ok(Query { from_ms: grain.bucket_of(from_ms), to_ms, grain, series })
}

/// A row as another deployment tells it. It must have every count and no more.
fn told_row(row: Value, series: &Series) -> Result<Merged, Error> {
    let wrong = |name: &str| field("series", format!("has a row whose {name} cannot be read"));
    let Value::Object(row) = row else { return Err(field("series", "must be objects")) };
    let nothing = Merged::nothing(0).0;
    for (name, like) in &nothing {
        let is_right = match (like, row.get(name)) {
            (Value::String(_), Some(Value::String(text))) => Histogram::from_json(text).is_ok(),
            (Value::Number(_), Some(number)) => number.as_i64().is_some_and(|number| number >= 0),
            _ => false,
        };
        if !is_right {
            return Err(wrong(name));
        }
    }
    let keys = metrics::row_keys(series)?;
    let is_known = |name: &String| nothing.contains_key(name) || keys.contains(&name.as_str());
    if let Some(name) = row.keys().find(|name| !is_known(name)) {
        return Err(wrong(name));
    }
    match keys.iter().find(|key| !row.get(**key).is_some_and(Value::is_string)) {
        Some(key) => Err(wrong(key)),
        None => Ok(Merged(row)),
    }
}

fn read_series(stored: &Stored) -> Result<Series, Error> {
    let read = |word: &str| {
        let unreadable = || crate::ports::PortError::new("database", format!("a baseline by {word}"));
        Dimension::parse(word).ok_or_else(unreadable)
    };
    let by = stored.by.iter().map(|word| read(word)).collect::<Result<_, _>>()?;
    let only = stored
        .only
        .iter()
        .map(|(word, value)| Ok((read(word)?, value.as_str().unwrap_or_default().to_owned())))
        .collect::<Result<_, Error>>()?;
    Ok(Series { by, only })
}

async fn stored(db: &impl Database, name: &str) -> Result<Stored, Error> {
    baselines::find(db, name).await?.ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Error {
    Error::NotFound(format!("baseline {name}"))
}

/// Each with a thousand numbers: half a megabyte.
const MOST_SERIES: usize = 200;

/// Means over the calls of a period.
const PER_CALL: [(&str, &str); 5] = [
    ("cost_microusd_per_call", "cost_microusd"),
    ("fallbacks_per_call", "fallbacks"),
    ("input_tokens_per_call", "input_tokens"),
    ("output_tokens_per_call", "output_tokens"),
    ("retries_per_call", "retries"),
];

/// What is compared.
const COMPARED: [&str; 21] = [
    "/calls_per_minute",
    "/cost_microusd_per_call",
    "/duration/mean_ms",
    "/duration/p50_ms",
    "/duration/p95_ms",
    "/duration/p99_ms",
    "/error_share",
    "/fallbacks_per_call",
    "/input_tokens_per_call",
    "/output_tokens_per_call",
    "/overhead/p50_ms",
    "/overhead/p95_ms",
    "/retries_per_call",
    "/time_to_first_chunk/p50_ms",
    "/time_to_first_chunk/p95_ms",
    "/tokens_per_second/p5",
    "/tokens_per_second/p50",
    "/upstream/p50_ms",
    "/upstream/p95_ms",
    "/wait/p50_ms",
    "/wait/p95_ms",
];
