//! Metrics over a range of time, merged from the rollups.

use hypercare::{FieldError, histogram::Histogram};
use serde::Serialize;

use crate::{
    Error,
    ports::{Database, PortError},
    store::rollups::{self, Merged, Selection},
};

pub use crate::store::rollups::Grain;

/// What results may be told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// The model asked of the provider.
    Model,
    /// How the call ended.
    Outcome,
    /// The provider, by OpenTelemetry's name.
    Provider,
    /// The path called.
    Route,
    /// Whose call.
    Tenant,
}

impl Dimension {
    /// The dimension this word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "model" => Self::Model,
            "outcome" => Self::Outcome,
            "provider" => Self::Provider,
            "route" => Self::Route,
            "tenant" => Self::Tenant,
            _ => return None,
        })
    }

    fn column(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Outcome => "outcome",
            Self::Provider => "provider_name",
            Self::Route => "route",
            Self::Tenant => "tenant_id",
        }
    }
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
    /// What results are told apart by, beside the bucket.
    pub by: Vec<Dimension>,
    /// Only this tenant's.
    pub tenant_id: Option<String>,
}

/// The calls of one bucket, or those of them that have the dimensions named.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Start of the bucket, unix milliseconds.
    pub bucket_ms: i64,
    /// Whose calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The path called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The provider that answered, or the last one tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_name: Option<String>,
    /// The model asked of it; empty where none was asked, or none the provider knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How the calls ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Calls.
    pub calls: i64,
    /// Calls that ended in an error: the gateway or a provider failed, or a stream broke off.
    pub errors: i64,
    /// Their share, from 0 to 1.
    pub error_share: f64,
    /// Streamed calls.
    pub streams: i64,
    /// Streams that ended well without saying their tokens.
    pub without_usage: i64,
    /// From the first byte in to the last byte out.
    pub duration: Spread,
    /// What callers waited for an answer to begin, where that means something.
    pub wait: Spread,
    /// What of the duration was the gateway's own, on average.
    pub overhead_mean_ms: f64,
    /// All input tokens, cached ones included.
    pub input_tokens: i64,
    /// Read from a provider's cache.
    pub cache_read_input_tokens: i64,
    /// Written to a provider's cache.
    pub cache_write_input_tokens: i64,
    /// All output tokens, reasoning included.
    pub output_tokens: i64,
    /// Spent on thinking.
    pub reasoning_output_tokens: i64,
    /// Millionths of a US dollar, of the calls whose price is known.
    pub cost_microusd: i64,
    /// The other calls.
    pub without_cost: i64,
}

/// How a duration is spread. Percentiles are exact to two per cent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: i64,
    /// Mean; none if there are none.
    pub mean_ms: Option<f64>,
    /// Half are shorter.
    pub p50_ms: Option<f64>,
    /// 95 of a hundred are shorter.
    pub p95_ms: Option<f64>,
    /// 99 of a hundred are shorter.
    pub p99_ms: Option<f64>,
}

/// The metrics asked for, bucket by bucket. A bucket without calls has no point.
pub async fn query(db: &impl Database, query: &Query) -> Result<Vec<Point>, Error> {
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
    let by: Vec<&'static str> = query.by.iter().map(|dimension| dimension.column()).collect();
    if by.iter().enumerate().any(|(at, column)| by[..at].contains(column)) {
        return Err(field("by", "must not name a dimension twice"));
    }
    let selection = Selection {
        grain: query.grain,
        from_ms,
        to_ms: query.to_ms,
        tenant_id: query.tenant_id.as_deref(),
        by: &by,
        limit: MOST_POINTS + 1,
    };
    let merged = rollups::merged(db, &selection).await?;
    if merged.len() as i64 > MOST_POINTS {
        return Err(field(
            "by",
            format!("gives more than {MOST_POINTS} points; ask for fewer dimensions or less time"),
        ));
    }
    Ok(merged.into_iter().map(point).collect::<Result<_, _>>()?)
}

fn point(row: Merged) -> Result<Point, PortError> {
    let duration = spread(row.calls, row.duration_sum_ms, &row.duration_histogram)?;
    let wait = spread(row.wait_count, row.wait_sum_ms, &row.wait_histogram)?;
    Ok(Point {
        bucket_ms: row.bucket_ms,
        tenant_id: row.tenant_id,
        route: row.route,
        provider_name: row.provider_name,
        model: row.model,
        outcome: row.outcome,
        calls: row.calls,
        errors: row.errors,
        error_share: ratio(row.errors, row.calls),
        streams: row.streams,
        without_usage: row.without_usage,
        duration,
        wait,
        overhead_mean_ms: tenths(ratio(row.overhead_sum_ms, row.calls)),
        input_tokens: row.input_tokens,
        cache_read_input_tokens: row.cache_read_input_tokens,
        cache_write_input_tokens: row.cache_write_input_tokens,
        output_tokens: row.output_tokens,
        reasoning_output_tokens: row.reasoning_output_tokens,
        cost_microusd: row.cost_microusd,
        without_cost: row.without_cost,
    })
}

fn spread(count: i64, sum_ms: i64, histogram: &str) -> Result<Spread, PortError> {
    let histogram = Histogram::from_json(histogram).map_err(|error| PortError::new("database", error))?;
    let quantile = |q| histogram.quantile(q).map(tenths);
    Ok(Spread {
        count,
        mean_ms: (count > 0).then(|| tenths(ratio(sum_ms, count))),
        p50_ms: quantile(0.5),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
    })
}

fn ratio(part: i64, whole: i64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn tenths(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

fn field(field: &'static str, message: impl Into<String>) -> Error {
    FieldError { field, message: message.into() }.into()
}

/// A day of minutes, two months of hours, four years of days.
const MOST_BUCKETS: i64 = 1_500;
/// Some megabytes of answer.
const MOST_POINTS: i64 = 10_000;
