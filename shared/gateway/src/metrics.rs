//! Metrics over a range of time, merged from what was counted.

use std::borrow::Cow;

use hypercare::{FieldError, histogram::Histogram};
use serde_json::{Map, Value, json};

use crate::{
    Error,
    ports::{Database, PortError},
    store::rollups::{self, Merged, Selection},
    tags,
};

pub use crate::store::rollups::Grain;

/// What results may be told apart by, and taken from only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    /// The country the call came from.
    Country,
    /// The stable code of what went wrong.
    Error,
    /// The key that was called with.
    Key,
    /// The model asked of the provider.
    Model,
    /// How the call ended.
    Outcome,
    /// The version of its prompt, as the caller says.
    PromptVersion,
    /// The provider, by OpenTelemetry's name.
    Provider,
    /// The data centre.
    Region,
    /// What was deployed.
    Release,
    /// The path called.
    Route,
    /// A tag of the caller's, by name.
    Tag(String),
    /// Whose call.
    Tenant,
}

impl Dimension {
    /// The dimension this word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        if let Some(name) = word.strip_prefix("tag.") {
            return tags::is_name(name).then(|| Self::Tag(name.to_owned()));
        }
        NAMED.iter().find(|(known, ..)| *known == word).map(|(.., dimension)| dimension.clone())
    }

    /// The word for it.
    pub fn word(&self) -> Cow<'static, str> {
        let named = NAMED.iter().find(|(.., dimension)| dimension == self);
        named.map_or_else(|| self.label(), |(word, ..)| Cow::Borrowed(word))
    }

    /// As a field of a result: its name as a column.
    fn label(&self) -> Cow<'static, str> {
        match self {
            Self::Tag(name) => Cow::Owned(format!("tag.{name}")),
            _ => NAMED
                .iter()
                .find(|(.., dimension)| dimension == self)
                .map_or(Cow::Borrowed(""), |(_, column, _)| Cow::Borrowed(column)),
        }
    }

    /// Whether calls are counted by this one by one.
    fn is_apart(&self) -> bool {
        use Dimension::{Model, Outcome, Provider, Route, Tenant};
        !matches!(self, Model | Outcome | Provider | Route | Tenant)
    }
}

/// Words and columns.
const NAMED: [(&str, &str, Dimension); 11] = [
    ("country", "country", Dimension::Country),
    ("error", "error_type", Dimension::Error),
    ("key", "key_id", Dimension::Key),
    ("model", "model", Dimension::Model),
    ("outcome", "outcome", Dimension::Outcome),
    ("prompt_version", "prompt_version", Dimension::PromptVersion),
    ("provider", "provider_name", Dimension::Provider),
    ("region", "region", Dimension::Region),
    ("release", "release", Dimension::Release),
    ("route", "route", Dimension::Route),
    ("tenant", "tenant_id", Dimension::Tenant),
];

/// The words, for whoever used none of them.
pub fn dimension_words() -> String {
    let words = NAMED.iter().map(|(word, ..)| format!("`{word}`"));
    format!("{}, `tag.` and the name of a tag", words.collect::<Vec<_>>().join(", "))
}

/// Which metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The bucket this lies in is the first.
    pub from_ms: i64,
    /// Buckets begin before this.
    pub to_ms: i64,
    /// The size of the buckets.
    pub grain: Grain,
    /// Which calls, and how they are told apart.
    pub series: Series,
}

/// Which calls, and how they are told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    /// What results are told apart by.
    pub by: Vec<Dimension>,
    /// Only calls with these values.
    pub only: Vec<(Dimension, String)>,
}

/// The metrics asked for, bucket by bucket. A bucket without calls has no point, but where records were lost.
pub async fn query(db: &impl Database, query: &Query) -> Result<Vec<Value>, Error> {
    let merged = merged(db, query, false, MOST_POINTS).await?;
    let mut points = Vec::with_capacity(merged.len());
    for row in &merged {
        let mut point = labels(row, &query.series);
        point.insert("bucket_ms".to_owned(), json!(row.int("bucket_ms")));
        point.extend(measures(row)?);
        points.push(point);
    }
    if query.series == Series::default() {
        let from_ms = query.grain.bucket_of(query.from_ms);
        let lost = rollups::lost(db, query.grain, from_ms, query.to_ms).await?;
        for point in &mut points {
            point.insert("records_lost".to_owned(), json!(0));
        }
        for (bucket_ms, records) in lost {
            let at = points.partition_point(|point| point["bucket_ms"].as_i64() < Some(bucket_ms));
            if points.get(at).is_none_or(|point| point["bucket_ms"] != bucket_ms) {
                let mut point = measures(&Merged::nothing(bucket_ms))?;
                point.insert("bucket_ms".to_owned(), json!(bucket_ms));
                points.insert(at, point);
            }
            points[at].insert("records_lost".to_owned(), json!(records));
        }
    }
    Ok(points.into_iter().map(Value::Object).collect())
}

/// The rows asked for: of each bucket, or all of it together.
pub(crate) async fn merged(
    db: &impl Database,
    query: &Query,
    whole: bool,
    most: usize,
) -> Result<Vec<Merged>, Error> {
    let from_ms = query.grain.bucket_of(query.from_ms);
    if query.to_ms <= query.from_ms {
        return Err(field("to", "must be later than from"));
    }
    if query.to_ms.saturating_sub(from_ms) > MOST_BUCKETS * query.grain.width_ms() {
        let word = query.grain.word();
        return Err(field(
            "from",
            format!("must be at most {MOST_BUCKETS} buckets before to, with grain {word}"),
        ));
    }
    let columns = columns(&query.series)?;
    let selection = Selection {
        grain: query.grain,
        from_ms,
        to_ms: query.to_ms,
        whole,
        dimension: columns.dimension.as_deref(),
        by: &columns.by,
        only: &columns.only,
        limit: most as i64 + 1,
    };
    let merged = rollups::merged(db, &selection).await?;
    if merged.len() > most {
        let less = "ask for fewer dimensions or less time";
        return Err(field("by", format!("gives more than {most} points; {less}")));
    }
    Ok(merged)
}

/// Where a series is found.
struct Columns<'a> {
    dimension: Option<Cow<'static, str>>,
    by: Vec<&'static str>,
    only: Vec<(&'static str, &'a str)>,
}

fn columns(series: &Series) -> Result<Columns<'_>, Error> {
    let mut columns = Columns { dimension: None, by: Vec::new(), only: Vec::new() };
    let all = || series.by.iter().chain(series.only.iter().map(|(dimension, _)| dimension));
    if let Some(apart) = all().find(|dimension| dimension.is_apart()) {
        if let Some(other) = all().find(|other| **other != Dimension::Tenant && *other != apart) {
            let (apart, other) = (apart.word(), other.word());
            let message = format!("cannot name {other} beside {apart}, which goes with tenant only");
            return Err(field("by", message));
        }
        columns.dimension = Some(apart.label());
    }
    let column = |dimension: &Dimension| {
        let named = NAMED.iter().find(|(.., named)| named == dimension && !dimension.is_apart());
        named.map_or("label", |(_, column, _)| *column)
    };
    for dimension in &series.by {
        if columns.by.contains(&column(dimension)) {
            return Err(field("by", "must not name a dimension twice"));
        }
        columns.by.push(column(dimension));
    }
    columns.only = series.only.iter().map(|(dimension, value)| (column(dimension), value.as_str())).collect();
    Ok(columns)
}

/// The columns that tell a row of this series apart, beside its bucket.
pub(crate) fn row_keys(series: &Series) -> Result<Vec<&'static str>, Error> {
    Ok(columns(series)?.by)
}

/// What tells a row apart, as it is shown.
pub(crate) fn labels(row: &Merged, series: &Series) -> Map<String, Value> {
    let value = |dimension: &Dimension| {
        let label = dimension.label();
        let text = row.text(if dimension.is_apart() { "label" } else { &label });
        (label.into_owned(), json!(text))
    };
    series.by.iter().map(value).collect()
}

/// What is shown of the calls of a row.
pub(crate) fn measures(row: &Merged) -> Result<Map<String, Value>, PortError> {
    let mut shown: Map<String, Value> =
        COUNTS.iter().map(|column| ((*column).to_owned(), json!(row.int(column)))).collect();
    let calls = row.int("calls");
    let mut show = |name: &str, value: Value| {
        shown.insert(name.to_owned(), value);
    };
    show("error_share", json!(ratio(row.int("errors"), calls)));
    show("overhead_mean_ms", json!(tenths(ratio(row.int("overhead_sum_ms"), calls))));
    for (name, count, sum, histogram) in SPREADS {
        let count = row.int(count);
        let histogram = histogram_of(row, histogram)?;
        let mut spread = Map::new();
        spread.insert("count".to_owned(), json!(count));
        let mean = (count > 0).then(|| tenths(ratio(row.int(sum), count)));
        spread.insert("mean_ms".to_owned(), json!(mean));
        for (name, q) in QUANTILES {
            spread.insert(format!("{name}_ms"), json!(histogram.quantile(q).map(tenths)));
        }
        show(name, Value::Object(spread));
    }
    let rates = histogram_of(row, "rate_histogram")?;
    let ms = row.int("rated_ms");
    let mut speed = Map::new();
    speed.insert("count".to_owned(), json!(rates.count()));
    let mean = (ms > 0).then(|| tenths(row.int("rated_tokens") as f64 * 1000.0 / ms as f64));
    speed.insert("mean".to_owned(), json!(mean));
    // The slow ones matter here.
    for (name, q) in [("p1", 0.01), ("p5", 0.05), ("p50", 0.5), ("p95", 0.95)] {
        speed.insert(name.to_owned(), json!(rates.quantile(q).map(|rate| tenths(rate / 100.0))));
    }
    show("tokens_per_second", Value::Object(speed));
    Ok(shown)
}

pub(crate) fn histogram_of(row: &Merged, column: &str) -> Result<Histogram, PortError> {
    Histogram::from_json(row.text(column)).map_err(|error| PortError::new("database", error))
}

fn ratio(part: i64, whole: i64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn tenths(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

pub(crate) fn field(field: &'static str, message: impl Into<String>) -> Error {
    FieldError { field, message: message.into() }.into()
}

/// Counts that are shown as they are.
const COUNTS: [&str; 26] = [
    "aborted",
    "audio_input_tokens",
    "audio_output_tokens",
    "cache_hits",
    "cache_misses",
    "cache_read_input_tokens",
    "cache_write_1h_input_tokens",
    "cache_write_input_tokens",
    "calls",
    "client_errors",
    "cost_microusd",
    "denied",
    "errors",
    "fallbacks",
    "image_input_tokens",
    "image_output_tokens",
    "input_tokens",
    "limited_here",
    "limited_tries",
    "output_tokens",
    "rate_limited",
    "reasoning_output_tokens",
    "retries",
    "streams",
    "without_cost",
    "without_usage",
];

/// Durations: as they are shown, their number, their sum, and how they are spread.
pub(crate) const SPREADS: [(&str, &str, &str, &str); 5] = [
    ("duration", "calls", "duration_sum_ms", "duration_histogram"),
    ("overhead", "calls", "overhead_sum_ms", "overhead_histogram"),
    ("time_to_first_chunk", "first_chunk_count", "first_chunk_sum_ms", "first_chunk_histogram"),
    ("upstream", "upstream_count", "upstream_sum_ms", "upstream_histogram"),
    ("wait", "wait_count", "wait_sum_ms", "wait_histogram"),
];
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)];

/// A day of minutes, two months of hours, four years of days.
pub(crate) const MOST_BUCKETS: i64 = 1_500;
/// Some megabytes of answer.
const MOST_POINTS: usize = 10_000;
