//! What Prometheus scrapes: text format 0.0.4.
//!
//! Nothing here counts by itself: an isolate sees a few calls and is gone. The counters are the rollups
//! of the day so far, so they start again from zero at midnight UTC, which Prometheus takes for a restart.
//! It misses what came between its last scrape and midnight, and a record that arrives after midnight for
//! the day before; the metrics API has both. A counter may be a minute or two behind.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
};

use hypercare::histogram::{self, Histogram};

use crate::{
    Error, Host,
    metrics::{SPREADS, histogram_of},
    ports::PortError,
    store::{
        health,
        rollups::{self, Grain, Merged, Selection},
    },
};

/// What the text is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text, as of now.
pub async fn render<H: Host>(host: &H, now_ms: i64) -> Result<String, Error> {
    let today_ms = Grain::Day.bucket_of(now_ms);
    let selection = Selection {
        grain: Grain::Day,
        from_ms: today_ms,
        to_ms: today_ms + Grain::Day.width_ms(),
        whole: false,
        dimension: None,
        only: &[],
        by: &["tenant_id", "route", "provider_name", "model", "outcome"],
        limit: MOST_SERIES as i64 + 1,
    };
    rollups::count_coarse(host, now_ms).await?;
    let mut today = rollups::merged(host, &selection).await?;
    let is_cut = today.len() > MOST_SERIES;
    today.truncate(MOST_SERIES);
    let health = health::read(host, today_ms).await?;
    let mut page = Page::default();

    page.family("hypergate_info", "gauge", "What is deployed. Always 1.");
    page.sample("hypergate_info", &[("release", &host.config().release)], 1);
    if let Some(ms) = health.backlog.last_tick_ms {
        let help = "The newest minute whose scheduled work was all done. If it stops, so do alerts.";
        page.family("hypergate_last_tick_timestamp_seconds", "gauge", help);
        page.sample("hypergate_last_tick_timestamp_seconds", &[], ms / 1000);
    }
    let help =
        "1 where there are more series of calls today than these, so that sums over them are too small.";
    page.family("hypergate_series_cut", "gauge", help);
    page.sample("hypergate_series_cut", &[], i64::from(is_cut));
    page.family(
        "hypergate_uncounted_buckets",
        "gauge",
        "Minutes with calls that are not in these numbers yet.",
    );
    page.sample("hypergate_uncounted_buckets", &[], health.backlog.dirty_minutes);
    page.family("hypergate_alerts_firing", "gauge", "Open alert episodes.");
    for firing in &health.firing {
        let labels = [("rule_id", firing.rule_id.as_str()), ("severity", &firing.severity)];
        page.sample("hypergate_alerts_firing", &labels, firing.episodes);
    }
    let help = "Notices of the last 30 days, by what became of them.";
    page.family("hypergate_notices", "gauge", help);
    for status in ["dead", "delivered", "pending", "superseded"] {
        let found = health.notices.iter().find(|notices| notices.status == status);
        page.sample("hypergate_notices", &[("status", status)], found.map_or(0, |found| found.notices));
    }
    page.counter("hypergate_records_lost_total", "Call records known to be lost");
    page.sample("hypergate_records_lost_total", &[], health.backlog.lost);

    page.counter("hypergate_calls_total", "Calls by how they ended");
    for row in &today {
        page.sample(
            "hypergate_calls_total",
            &labels(row, &[("outcome", row.text("outcome"))]),
            row.int("calls"),
        );
    }
    // The rest is not told apart by outcome.
    let by_series = sum_up(&today)?;
    for (at, (name, help, _)) in COUNTERS.into_iter().enumerate() {
        page.counter(name, help);
        for (key, series) in &by_series {
            page.sample(name, &key.labels(), series.counters[at]);
        }
    }
    page.counter(
        "hypergate_tokens_total",
        "Tokens by type; those of caches, sound and pictures are part of the input or output, reasoning of the output",
    );
    for (key, series) in &by_series {
        for (kind, tokens) in TOKENS.iter().zip(series.tokens) {
            let mut labels = key.labels();
            labels.push(("type", kind));
            page.sample("hypergate_tokens_total", &labels, tokens);
        }
    }
    page.counter("hypergate_cost_usd_total", "Cost of the calls whose price is known");
    for (key, series) in &by_series {
        page.sample("hypergate_cost_usd_total", &key.labels(), micro(series.cost_microusd));
    }
    for (at, (name, help, _)) in HISTOGRAMS.into_iter().enumerate() {
        page.family(name, "histogram", &format!("{help}. {SINCE_MIDNIGHT}"));
        for (key, series) in by_series.iter().filter(|(_, series)| !series.spreads[at].histogram.is_empty()) {
            page.histogram(name, &key.labels(), &series.spreads[at]);
        }
    }
    Ok(page.text)
}

/// What series are told apart by, beside the outcome.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a>([&'a str; 4]);

impl<'a> Key<'a> {
    fn labels(&self) -> Vec<(&'static str, &'a str)> {
        LABELS.into_iter().zip(self.0).collect()
    }
}

/// Sums and histograms of one series, in the order in which they are shown.
#[derive(Debug, Default)]
struct Series {
    counters: [i64; COUNTERS.len()],
    tokens: [i64; TOKENS.len()],
    cost_microusd: i64,
    spreads: [Spread; HISTOGRAMS.len()],
}

#[derive(Debug, Default)]
struct Spread {
    histogram: Histogram,
    sum_ms: i64,
}

fn sum_up(rows: &[Merged]) -> Result<BTreeMap<Key<'_>, Series>, PortError> {
    let mut by_series: BTreeMap<Key<'_>, Series> = BTreeMap::new();
    for row in rows {
        let series = by_series.entry(Key(LABELS.map(|label| row.text(label)))).or_default();
        for (sum, (.., column)) in series.counters.iter_mut().zip(COUNTERS) {
            *sum += row.int(column);
        }
        for (sum, kind) in series.tokens.iter_mut().zip(TOKENS) {
            *sum += row.int(&format!("{kind}_tokens"));
        }
        series.cost_microusd += row.int("cost_microusd");
        for (spread, (.., of)) in series.spreads.iter_mut().zip(HISTOGRAMS) {
            let (.., sum, histogram) = SPREADS[of];
            spread.histogram.merge(&histogram_of(row, histogram)?);
            spread.sum_ms += row.int(sum);
        }
    }
    Ok(by_series)
}

fn labels<'a>(row: &'a Merged, more: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
    LABELS.into_iter().map(|label| (label, row.text(label))).chain(more.iter().copied()).collect()
}

/// Millionths, as a decimal number without rounding.
fn micro(microusd: i64) -> String {
    format!("{}.{:06}", microusd / 1_000_000, microusd % 1_000_000)
}

/// The text in the making.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// The head of what follows. Help texts are ours and need no escaping.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn counter(&mut self, name: &str, help: &str) {
        self.family(name, "counter", &format!("{help}. {SINCE_MIDNIGHT}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("{name}{labels} {value}"));
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], spread: &Spread) {
        let bucket_name = format!("{name}_bucket");
        for (bucket, le) in bounds() {
            let below: u64 = spread
                .histogram
                .buckets()
                .filter(|(other, _)| *other <= bucket)
                .map(|(_, count)| count)
                .sum();
            self.sample(&bucket_name, &[labels, &[("le", &le)]].concat(), below);
        }
        let count = spread.histogram.count();
        self.sample(&bucket_name, &[labels, &[("le", "+Inf")]].concat(), count);
        self.sample(&format!("{name}_sum"), labels, spread.sum_ms as f64 / 1000.0);
        self.sample(&format!("{name}_count"), labels, count);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a text takes a line");
    }
}

/// The buckets up to which a histogram is shown, each with its bound: that of the bucket a round number lies in, so that
/// the count is exact.
pub(crate) fn bounds() -> impl Iterator<Item = (u16, String)> {
    BOUNDS_MS.into_iter().map(|ms| {
        let bucket = histogram::bucket(ms);
        (bucket, format!("{:.4}", histogram::bound_ms(bucket) / 1000.0))
    })
}

/// A label's value, as the format wants it.
fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

/// Counters: their names, what they are, and the counts they show.
pub(crate) const COUNTERS: [(&str, &str, &str); 9] = [
    ("hypergate_streams_total", "Streamed calls", "streams"),
    (
        "hypergate_streams_without_usage_total",
        "Streams that ended well without saying their tokens",
        "without_usage",
    ),
    ("hypergate_calls_without_cost_total", "Calls whose price is not known", "without_cost"),
    ("hypergate_cache_hits_total", "Calls answered from the cache", "cache_hits"),
    ("hypergate_cache_misses_total", "Calls looked up in the cache in vain", "cache_misses"),
    ("hypergate_limited_calls_total", "Calls refused here because there were too many", "limited_here"),
    (
        "hypergate_limited_tries_total",
        "Tries that providers refused because there were too many",
        "limited_tries",
    ),
    ("hypergate_retries_total", "Tries after a call's first", "retries"),
    ("hypergate_fallbacks_total", "Calls whose tries went to more than one target", "fallbacks"),
];
/// Histograms: their names, what they are, and which of the spreads they show.
pub(crate) const HISTOGRAMS: [(&str, &str, usize); 5] = [
    ("hypergate_call_duration_seconds", "From the first byte in to the last byte out", 0),
    ("hypergate_call_overhead_seconds", "What of that was not spent waiting for providers", 1),
    ("hypergate_call_time_to_first_chunk_seconds", "Until the first bytes of a stream went out", 2),
    ("hypergate_call_upstream_seconds", "Spent waiting for providers, and between tries", 3),
    (
        "hypergate_call_wait_seconds",
        "What callers waited for an answer to begin, where that means something",
        4,
    ),
];
const SINCE_MIDNIGHT: &str = "Since midnight UTC.";
pub(crate) const LABELS: [&str; 4] = ["tenant_id", "route", "provider_name", "model"];
pub(crate) const TOKENS: [&str; 10] = [
    "input",
    "cache_read_input",
    "cache_write_input",
    "cache_write_1h_input",
    "audio_input",
    "image_input",
    "output",
    "reasoning_output",
    "audio_output",
    "image_output",
];
const BOUNDS_MS: [i64; 12] = [25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000];
/// Some twenty megabytes, and more than Prometheus should be sent.
const MOST_SERIES: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.sample("x_total", &[("model", "a\\b\"c\nd"), ("route", "é")], 1);
        page.sample("y", &[], 2);
        assert_eq!(page.text, "x_total{model=\"a\\\\b\\\"c\\nd\",route=\"é\"} 1\ny 2\n");
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound_and_ends_with_all() {
        let mut spread = Spread::default();
        for ms in [10, 40, 40, 700, 4_000_000] {
            spread.histogram.record(ms);
            spread.sum_ms += ms;
        }
        let mut page = Page::default();
        page.histogram("t", &[], &spread);
        let counts: Vec<&str> = page.text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(counts, ["1", "3", "3", "3", "3", "4", "4", "4", "4", "4", "4", "4", "5", "4000.79", "5"]);
    }

    #[test]
    fn money_is_not_rounded() {
        assert_eq!(micro(0), "0.000000");
        assert_eq!(micro(12_000_345), "12.000345");
    }
}
