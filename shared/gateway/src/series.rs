//! What was counted, as the series that `/metrics` shows, but at any moment that rollups are kept for: for queries in
//! Prometheus's language.
//!
//! A window of time is the sum of the minutes in it, so growth is exact where Prometheus would guess between two scrapes.
//! What began more than two days ago is told in hours, and more than ninety in days; windows there are as wide as
//! these at least. A window ends with the last whole minute (hour, day) before the moment asked for.

use std::collections::{BTreeMap, BTreeSet};

use hypercare::promql::{Answer, Labels, Pattern, Query, QueryError, Selector, Source, Vector};
use serde_json::{Map, Value};

use crate::{
    Error, Host,
    metrics::SPREADS,
    ports::{Database, PortError},
    prometheus::{COUNTERS, HISTOGRAMS, LABELS, TOKENS, bounds},
    store::{
        self,
        retention::{HOURS_MS, MINUTES_MS},
        rollups::{self, Grain},
        series::{Pieces, Sum},
    },
};

/// Moments that are asked for: from the first to the last, a step apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moments {
    /// The first.
    pub from_ms: i64,
    /// None is later.
    pub to_ms: i64,
    /// From one to the next.
    pub step_ms: i64,
}

impl Moments {
    /// A single one.
    pub fn at(ms: i64) -> Self {
        Self { from_ms: ms, to_ms: ms, step_ms: Grain::Day.width_ms() }
    }

    /// Each of them.
    pub fn each(self) -> impl Iterator<Item = i64> {
        (self.from_ms..=self.to_ms).step_by(self.step_ms.max(1) as usize)
    }
}

/// What a query comes to at each of these moments.
pub async fn query<H: Host>(host: &H, query: &Query, moments: Moments) -> Result<Vec<(i64, Answer)>, Error> {
    let now_ms = host.now_ms();
    let mut counted = Counted::default();
    let mut coarse_is_counted = false;
    for selector in &query.selectors {
        let window = Window::of(selector, moments, now_ms);
        if window.grain != Grain::Minute && !coarse_is_counted {
            coarse_is_counted = true;
            rollups::count_coarse(host, now_ms).await?;
        }
        let series = match metric(&selector.name) {
            Some(metric) => fetch(host, selector, &metric, &window).await?,
            None => Vec::new(),
        };
        counted.0.push((window, series));
    }
    let answer = |at_ms: i64| Ok((at_ms, query.eval(&counted, at_ms).map_err(refusal)?));
    moments.each().map(answer).collect()
}

/// A query that cannot be answered.
pub fn refusal(error: QueryError) -> Error {
    Error::Field { param: "query".to_owned(), message: format!("{error}.") }
}

/// Every metric: name, type, and what it is.
pub fn metrics() -> Vec<(String, &'static str, &'static str)> {
    let mut all = vec![
        (CALLS.to_owned(), "counter", "Calls by how they ended"),
        (TOKENS_TOTAL.to_owned(), "counter", "Tokens by type"),
        (COST.to_owned(), "counter", "Cost of the calls whose price is known"),
    ];
    all.extend(COUNTERS.map(|(name, about, _)| (name.to_owned(), "counter", about)));
    for (name, about, _) in HISTOGRAMS {
        all.extend(PARTS.map(|part| (format!("{name}{part}"), "histogram", about)));
    }
    all.sort();
    all
}

/// The labels of all series that calls of a time have, metric by metric.
pub async fn series<H: Host>(
    host: &H,
    selectors: &[Selector],
    moments: Moments,
) -> Result<Vec<Labels>, Error> {
    let columns = [&LABELS[..], &["outcome"]].concat();
    let hour_ms = Grain::Hour.width_ms();
    // Hours are counted once an hour.
    let fresh_ms = moments.from_ms.max(host.now_ms() - 2 * hour_ms);
    let (from_ms, to_ms) = (moments.from_ms - hour_ms, moments.to_ms);
    let found = store::series::labels(host, &columns, from_ms, to_ms, fresh_ms, MOST_ROWS).await?;
    let mut all = BTreeSet::new();
    for selector in selectors {
        let Some(metric) = metric(&selector.name) else { continue };
        for row in &found {
            let mut base = labels_of(row, LABELS.iter().copied());
            if metric == Metric::Calls {
                base.extend(labels_of(row, ["outcome"].into_iter()));
            }
            for (name, values) in metric.own_labels() {
                let with = |value: &String| {
                    let mut labels = base.clone();
                    labels.insert(name.to_owned(), value.clone());
                    labels
                };
                all.extend(values.iter().map(with).filter(|labels| selector.matches(labels)).map(
                    |mut labels| {
                        labels.insert(NAME.to_owned(), selector.name.clone());
                        labels
                    },
                ));
            }
            if metric.own_labels().is_empty() && selector.matches(&base) {
                base.insert(NAME.to_owned(), selector.name.clone());
                all.insert(base);
            }
        }
        if all.len() > MOST_ROWS {
            return Err(too_much());
        }
    }
    Ok(all.into_iter().collect())
}

/// Every label there is.
pub const ALL_LABELS: [&str; 8] =
    [NAME, "le", "model", "outcome", "provider_name", "route", "tenant_id", "type"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Metric {
    Calls,
    Counter(&'static str),
    Tokens,
    Cost,
    Buckets(&'static str),
    Sum(&'static str),
    Count(&'static str),
}

impl Metric {
    /// Labels that series of a row have one after another.
    fn own_labels(&self) -> Vec<(&'static str, Vec<String>)> {
        match self {
            Self::Tokens => vec![("type", TOKENS.map(str::to_owned).to_vec())],
            Self::Buckets(_) => {
                vec![("le", bounds().map(|(_, le)| le).chain([INFINITE.to_owned()]).collect())]
            }
            _ => Vec::new(),
        }
    }
}

fn metric(name: &str) -> Option<Metric> {
    match name {
        CALLS => return Some(Metric::Calls),
        TOKENS_TOTAL => return Some(Metric::Tokens),
        COST => return Some(Metric::Cost),
        _ => {}
    }
    if let Some((.., column)) = COUNTERS.iter().find(|(known, ..)| *known == name) {
        return Some(Metric::Counter(column));
    }
    let (part, of) = HISTOGRAMS.iter().find_map(|(known, _, of)| Some((name.strip_prefix(known)?, *of)))?;
    let (_, count, sum, histogram) = SPREADS[of];
    match part {
        "_bucket" => Some(Metric::Buckets(histogram)),
        "_count" => Some(Metric::Count(count)),
        "_sum" => Some(Metric::Sum(sum)),
        _ => None,
    }
}

/// Of what time, and in which pieces, a selector's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    grain: Grain,
    /// As wide as it is in fact; none where it begins at midnight.
    width_ms: Option<i64>,
    offset_ms: i64,
    from_ms: i64,
    to_ms: i64,
    /// Pieces are so wide, and one of them begins here.
    piece_ms: i64,
    piece_from_ms: i64,
}

impl Window {
    fn of(selector: &Selector, moments: Moments, now_ms: i64) -> Self {
        let first_ms = moments.from_ms - selector.offset_ms;
        let midnight_ms = Grain::Day.bucket_of(first_ms);
        let begins_ms = selector.range_ms.map_or(midnight_ms, |range_ms| first_ms - range_ms);
        let is_kept = |kept_ms: i64| begins_ms >= now_ms - kept_ms + Grain::Hour.width_ms();
        let grain = match () {
            () if is_kept(MINUTES_MS) => Grain::Minute,
            () if is_kept(HOURS_MS) => Grain::Hour,
            () => Grain::Day,
        };
        let grain_ms = grain.width_ms();
        let width_ms = selector.range_ms.map(|range_ms| (range_ms + grain_ms - 1) / grain_ms * grain_ms);
        let first_ms = grain.bucket_of(first_ms);
        let last_ms = grain.bucket_of(moments.to_ms - selector.offset_ms);
        let is_single = moments.from_ms == moments.to_ms;
        // The edges of all windows are multiples of this, counted from one of them.
        let (piece_ms, piece_from_ms) = match width_ms {
            Some(width_ms) if is_single => (width_ms, first_ms),
            None if is_single => ((first_ms - midnight_ms).max(grain_ms), midnight_ms),
            _ if moments.step_ms % grain_ms != 0 => (grain_ms, 0),
            Some(width_ms) => (gcd(moments.step_ms, width_ms), first_ms),
            None => (gcd(gcd(moments.step_ms, Grain::Day.width_ms()), first_ms), 0),
        };
        let from_ms = width_ms.map_or(Grain::Day.bucket_of(first_ms), |width_ms| first_ms - width_ms);
        Self {
            grain,
            width_ms,
            offset_ms: selector.offset_ms,
            from_ms,
            to_ms: last_ms,
            piece_ms,
            piece_from_ms: piece_from_ms.rem_euclid(piece_ms),
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A series: how much it had grown by the beginning of each piece of time, and by its end.
type Growth = (Labels, Vec<(i64, f64)>);

/// Reads the rows of a selector.
async fn fetch(
    db: &impl Database,
    selector: &Selector,
    metric: &Metric,
    window: &Window,
) -> Result<Vec<Growth>, Error> {
    let outcome: &[&str] = if *metric == Metric::Calls { &["outcome"] } else { &[] };
    let mut columns = Vec::new();
    let mut only = Vec::new();
    for column in LABELS.iter().chain(outcome) {
        let mut is_looked_at = selector.needed.as_ref().is_none_or(|needed| needed.contains(*column));
        for matcher in selector.matchers.iter().filter(|matcher| matcher.label == *column) {
            if let (Pattern::Is(value), false) = (&matcher.value, matcher.is_not) {
                only.push((*column, value.as_str()));
            }
            is_looked_at = true;
        }
        if is_looked_at {
            columns.push(*column);
        }
    }
    let one = |column: &str| Sum::Columns(vec![column.to_owned()]);
    let pieces = Pieces {
        grain: window.grain,
        from_ms: window.from_ms,
        to_ms: window.to_ms,
        piece_ms: window.piece_ms,
        piece_from_ms: window.piece_from_ms,
        by: &columns,
        only: &only,
        sum: match metric {
            Metric::Calls => one("calls"),
            Metric::Counter(column) | Metric::Sum(column) | Metric::Count(column) => one(column),
            Metric::Cost => one("cost_microusd"),
            Metric::Tokens => Sum::Columns(TOKENS.iter().map(|kind| format!("{kind}_tokens")).collect()),
            Metric::Buckets(column) => Sum::Classes(column, bounds().map(|(bucket, _)| bucket).collect()),
        },
        limit: MOST_ROWS + 1,
    };
    let found = store::series::pieces(db, &pieces).await?;
    if found.len() > MOST_ROWS {
        return Err(too_much());
    }
    let mut grown: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
    let les: Vec<String> = bounds().map(|(_, le)| le).chain([INFINITE.to_owned()]).collect();
    for row in &found {
        let int = |column: &str| row.get(column).and_then(Value::as_i64);
        let at =
            int("at").ok_or_else(|| PortError::new("database", "a piece of time without a beginning"))?;
        let base = labels_of(row, columns.iter().copied());
        let mut add = |label: Option<(&str, &str)>, value: f64| {
            let mut labels = base.clone();
            labels.extend(label.map(|(name, value)| (name.to_owned(), value.to_owned())));
            if !selector.matches(&labels) {
                return;
            }
            let pieces = grown.entry(labels).or_default();
            match pieces.last_mut() {
                Some((last, sum)) if *last == at => *sum += value,
                _ => pieces.push((at, value)),
            }
        };
        let value = int("v0").unwrap_or_default() as f64;
        match metric {
            Metric::Tokens => {
                for (number, kind) in TOKENS.iter().enumerate() {
                    let tokens = int(&format!("v{number}")).unwrap_or_default();
                    add(Some(("type", kind)), tokens as f64);
                }
            }
            Metric::Buckets(_) => {
                let class = int("class").unwrap_or_default() as usize;
                for le in les.iter().skip(class) {
                    add(Some(("le", le)), value);
                }
                // Those below are there as well, and stand still.
                for le in les.iter().take(class) {
                    add(Some(("le", le)), 0.0);
                }
            }
            Metric::Cost => add(None, value / 1e6),
            Metric::Sum(_) => add(None, value / 1e3),
            _ => add(None, value),
        }
    }
    Ok(grown.into_iter().collect())
}

fn labels_of<'a>(row: &Map<String, Value>, columns: impl Iterator<Item = &'a str>) -> Labels {
    let text = |column: &str| row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned();
    columns.map(|column| (column.to_owned(), text(column))).filter(|(_, value)| !value.is_empty()).collect()
}

fn too_much() -> Error {
    let message = "The query looks at too much: sum over fewer labels, name some, or ask for less time.";
    Error::Field { param: "query".to_owned(), message: message.to_owned() }
}

/// What was read, selector by selector.
#[derive(Default)]
struct Counted(Vec<(Window, Vec<Growth>)>);

impl Counted {
    fn grown(&self, selector: usize, at_ms: i64) -> (f64, Vector) {
        let (window, series) = &self.0[selector];
        let to_ms = window.grain.bucket_of(at_ms - window.offset_ms);
        let from_ms = window.width_ms.map_or(Grain::Day.bucket_of(to_ms), |width_ms| to_ms - width_ms);
        let grown = |pieces: &[(i64, f64)]| {
            let begin = pieces.partition_point(|(at, _)| *at < from_ms);
            let end = pieces.partition_point(|(at, _)| *at < to_ms);
            pieces[begin..end.max(begin)].iter().fold(0.0, |sum, (_, value)| sum + value)
        };
        let seconds = (to_ms - from_ms) as f64 / 1000.0;
        (seconds, series.iter().map(|(labels, pieces)| (labels.clone(), grown(pieces))).collect())
    }
}

impl Source for Counted {
    fn rate(&self, selector: usize, at_ms: i64) -> Vector {
        let (seconds, mut grown) = self.grown(selector, at_ms);
        grown.iter_mut().for_each(|(_, value)| *value /= seconds);
        grown
    }

    fn total(&self, selector: usize, at_ms: i64) -> Vector {
        self.grown(selector, at_ms).1
    }
}

const NAME: &str = "__name__";
const CALLS: &str = "hypergate_calls_total";
const TOKENS_TOTAL: &str = "hypergate_tokens_total";
const COST: &str = "hypergate_cost_usd_total";
const PARTS: [&str; 3] = ["_bucket", "_count", "_sum"];
const INFINITE: &str = "+Inf";
/// A second's work, and some megabytes.
const MOST_ROWS: usize = 20_000;
