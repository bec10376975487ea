//! What rules see: the past they ask for, read at once for all of them, and what each makes of it.

use std::collections::{BTreeMap, BTreeSet};

use hypercare::{
    detect::{
        Minute, Observation,
        ahead::{age, withdrawn},
        change::changed,
        errors::surge,
        history::{Point, anomaly, burn_rate, drift, shift, slow_trend},
        load::{Segment, load_knee, segment, worse_segments},
        observe, observe_quantile, series,
    },
    histogram::Histogram,
    measure::{Column, Measure, Timing},
    notice::Detail,
    rule::{Method, Past, RECENT_HOURS, Rule, Scope},
    stats::surge::WEEK,
    time::{MINUTE_MS, parse_rfc3339},
};
use llm::{capability, provider::PROVIDERS};

use crate::{
    ports::{Database, PortError},
    store::{
        rollups::Grain,
        watched::{self, Counts, Model, News, Part, Wanted},
    },
};

/// Whose calls, and to which route.
pub(crate) type Key = (String, String);

/// The series of a rule on the gateway as a whole.
pub(crate) const SYSTEM: Key = (String::new(), String::new());

/// A rule and the minutes it is to look at, the first and the last.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) first_ms: i64,
    pub(crate) to_ms: i64,
}

/// Counts by bucket.
type Buckets = BTreeMap<i64, Minute>;

/// The past that was asked for.
#[derive(Default)]
pub(crate) struct Sight {
    minutes: BTreeMap<Key, Buckets>,
    hours: BTreeMap<Key, Buckets>,
    days: BTreeMap<Key, Buckets>,
    activity: BTreeMap<Key, Buckets>,
    losses: BTreeMap<Key, Buckets>,
    histograms: BTreeMap<(Timing, Key), BTreeMap<(i64, i64), Histogram>>,
    models: BTreeMap<Key, Vec<Model>>,
    /// Which of the series of counts are providers.
    providers: BTreeSet<Key>,
    /// Parts of the calls of a tenant in an hour.
    parts: BTreeMap<(i64, String), Vec<Part>>,
    /// Errors by the hour.
    faults: BTreeMap<Key, BTreeMap<i64, i64>>,
    news: BTreeMap<Key, News>,
}

impl Sight {
    /// Reads the past of all these rules at once.
    pub(crate) async fn read(db: &impl Database, looks: &[Look<'_>]) -> Result<Sight, PortError> {
        let wanted = wanted(looks);
        let found = watched::read(db, &wanted).await?;
        let mut sight = Sight::default();
        for ((grain, from_ms, _), rows) in wanted.counts.iter().zip(found.counts) {
            let counted = read_counts(*grain, *from_ms, &wanted.columns, rows)?;
            *sight.counts_mut(*grain) = counted;
        }
        for row in found.activity {
            let from_ms = wanted.activity.map_or(0, |(from_ms, _)| from_ms);
            let minutes: Vec<i64> = serde_json::from_str(&row.minutes).map_err(unexpected)?;
            let called = Minute { calls: 1, ..Minute::default() };
            let minutes = minutes.into_iter().map(|minute| (from_ms + minute * MINUTE_MS, called)).collect();
            sight.activity.insert((row.tenant_id, row.route), minutes);
        }
        // One series, there or not.
        let lost = |row: watched::LossMinute| (row.minute_ms, Minute { lost: row.lost, ..Minute::default() });
        sight.losses.insert(SYSTEM, found.losses.into_iter().map(lost).collect());
        for row in found.models {
            sight.models.entry((row.tenant_id.clone(), row.route.clone())).or_default().push(row);
        }
        for ((timing, _, spans), rows) in wanted.histograms.iter().zip(found.histograms) {
            for row in rows {
                let histogram = Histogram::from_json(&row.histogram).map_err(unexpected)?;
                let Some(span) = usize::try_from(row.span).ok().and_then(|at| spans.get(at)) else {
                    continue;
                };
                let key = (row.tenant_id, row.route);
                sight.histograms.entry((*timing, key)).or_default().insert(*span, histogram);
            }
        }
        if looks.iter().any(|look| {
            look.rule.scope == Scope::System
                && !matches!(look.rule.measure, Measure::Lost | Measure::PriceTableAge)
        }) {
            sight.add_the_whole();
        }
        for ((grain, from_ms, _), rows) in wanted.providers.iter().zip(found.providers) {
            let counted = read_counts(*grain, *from_ms, &wanted.columns, rows)?;
            sight.providers.extend(counted.keys().cloned());
            sight.counts_mut(*grain).extend(counted);
        }
        for part in found.parts {
            let hour_ms = part.side.parse().map_err(unexpected)?;
            sight.parts.entry((hour_ms, part.tenant_id.clone())).or_default().push(part);
        }
        for fault in found.faults {
            let hours: Vec<(i64, i64)> = serde_json::from_str(&fault.hours).map_err(unexpected)?;
            sight.faults.insert((String::new(), fault.fault), hours.into_iter().collect());
        }
        for news in found.news {
            sight.news.insert((String::new(), news.news.clone()), news);
        }
        Ok(sight)
    }

    /// The series the rule sees.
    pub(crate) fn keys(&self, rule: &Rule) -> BTreeSet<Key> {
        if rule.scope == Scope::System {
            return BTreeSet::from([SYSTEM]);
        }
        let of = |buckets: &BTreeMap<Key, Buckets>| buckets.keys().cloned().collect::<BTreeSet<Key>>();
        let mut keys = match (rule.method, rule.measure) {
            (Method::Segments, _) => self.worse_parts(rule),
            (_, Measure::Faults) => self.faults.keys().cloned().collect(),
            (_, Measure::News) => self.news.keys().cloned().collect(),
            (Method::Anomaly | Method::Knee | Method::Shift | Method::Surge, _) => of(&self.hours),
            (Method::Trend { .. }, _) => of(&self.days),
            (_, Measure::ModelDaysLeft) => self.models.keys().cloned().collect(),
            (_, Measure::Silence) => of(&self.activity),
            (_, Measure::Quantile(timing, _)) => {
                let those = self.histograms.keys().filter(|(of, _)| *of == timing);
                those.map(|(_, key)| key.clone()).collect()
            }
            _ => of(&self.minutes),
        };
        let is_of_scope = |key: &Key| self.providers.contains(key) == (rule.scope == Scope::Provider);
        keys.retain(|key| *key != SYSTEM && is_of_scope(key) && rule.concerns(&key.0, &key.1));
        keys
    }

    /// What the rule sees of a series at a minute.
    pub(crate) fn observe(&self, rule: &Rule, key: &Key, minute_ms: i64, firing: bool) -> Observation {
        match (rule.method, rule.measure) {
            (Method::Anomaly, measure) => {
                let hour_ms = Grain::Hour.bucket_of(minute_ms) - HOUR_MS;
                let points = self.points(&self.hours, key, measure, hour_ms, HOUR_MS);
                let (now, before) =
                    points.split_last().map_or((Point::default(), &[][..]), |(now, before)| (*now, before));
                let before: Vec<Option<f64>> = before.iter().map(|point| point.value).collect();
                anomaly(rule, &before, now, firing)
            }
            (Method::Shift, measure) => {
                let hour_ms = Grain::Hour.bucket_of(minute_ms) - HOUR_MS;
                let points = self.points(&self.hours, key, measure, hour_ms, HOUR_MS);
                let (before, recent) = points.split_at(points.len().saturating_sub(RECENT_HOURS as usize));
                let before: Vec<Option<f64>> = before.iter().map(|point| point.value).collect();
                shift(rule, &before, recent, firing)
            }
            (Method::Segments, measure) => {
                let hour_ms = Grain::Hour.bucket_of(minute_ms) - HOUR_MS;
                let (segments, all) = self.segments(measure, hour_ms, &key.0);
                let found = segments.iter().find(|segment| segment.name == key.1);
                segment(rule, &worse_segments(rule, &segments, all), found, all, firing)
            }
            (Method::Knee, measure) => {
                let hour_ms = Grain::Hour.bucket_of(minute_ms) - HOUR_MS;
                let loads = self.points(&self.hours, key, Measure::Sum(Column::CALLS), hour_ms, HOUR_MS);
                let values = self.points(&self.hours, key, measure, hour_ms, HOUR_MS);
                let load = loads.last().map_or(0, |point| point.count);
                let mut points: Vec<(f64, f64)> = loads
                    .iter()
                    .zip(&values)
                    .filter_map(|(load, value)| Some((load.value?, value.value?)))
                    .collect();
                points.pop();
                load_knee(rule, &points, load as f64, load, firing)
            }
            (Method::Surge, Measure::Faults) => {
                let hour = Grain::Hour.bucket_of(minute_ms) / HOUR_MS - 1;
                let hours = self.faults.get(key);
                let count = |hour: i64| hours.and_then(|hours| hours.get(&hour)).copied().unwrap_or(0);
                let known = hours.and_then(|hours| hours.keys().next()).map_or(hour, |first| *first);
                let first = known.max(hour - WEEK as i64);
                let before: Vec<f64> = (first..hour).map(|hour| count(hour) as f64).collect();
                surge(rule, first, &before, hour, count(hour), firing)
            }
            (Method::Surge, measure) => {
                let hour_ms = Grain::Hour.bucket_of(minute_ms) - HOUR_MS;
                let points = self.points(&self.hours, key, measure, hour_ms, HOUR_MS);
                let counts: Vec<f64> = points.iter().filter_map(|point| point.value).collect();
                let (now, before) =
                    counts.split_last().map_or((0.0, &[][..]), |(now, before)| (*now, before));
                let before = &before[before.len().saturating_sub(WEEK)..];
                let hour = hour_ms / HOUR_MS;
                surge(rule, hour - before.len() as i64, before, hour, now as i64, firing)
            }
            (Method::Drift, Measure::Quantile(timing, _)) => {
                let spans = self.histograms.get(&(timing, key.clone()));
                let nothing = Histogram::default();
                let [now, before] = day_and_week_before(minute_ms)
                    .map(|span| spans.and_then(|spans| spans.get(&span)).unwrap_or(&nothing));
                drift(rule, before, now, firing)
            }
            (Method::Drift, measure) => {
                Observation::Broken { message: format!("{} has no distribution", measure.name()) }
            }
            (Method::Trend { limit }, measure) => {
                let day_ms = Grain::Day.bucket_of(minute_ms) - DAY_MS;
                let points = self.points(&self.days, key, measure, day_ms, DAY_MS);
                let count = points.iter().map(|point| point.count).sum();
                let days: Vec<(f64, f64)> = (0..)
                    .map(f64::from)
                    .zip(&points)
                    .filter_map(|(day, point)| point.value.map(|value| (day, value)))
                    .collect();
                slow_trend(rule, limit, &days, count, firing)
            }
            (Method::BurnRate { objective }, measure) => match measure.parts() {
                Some((over, Some(under))) => {
                    let window = |minutes: i64| {
                        let sum = self.window(key, minute_ms, minutes);
                        (sum.get(over), sum.get(under))
                    };
                    burn_rate(rule, objective, window, firing)
                }
                _ => Observation::Broken { message: format!("{} is no share", measure.name()) },
            },
            (Method::Drop | Method::Threshold, Measure::News) => {
                let hour_ms = Grain::Hour.bucket_of(minute_ms) - HOUR_MS;
                let news = self.news.get(key).filter(|news| news.first_ms == hour_ms);
                let calls = news.map_or(0, |news| news.calls);
                changed(rule, calls, firing)
            }
            (Method::Drop | Method::Threshold, Measure::PriceTableAge) => match price_table_ms() {
                Some(dated_ms) => age(rule, dated_ms, minute_ms, firing),
                None => Observation::Broken { message: "the price table has no date".to_owned() },
            },
            (Method::Drop | Method::Threshold, Measure::ModelDaysLeft) => {
                let models = self.models.get(key).map_or(&[][..], Vec::as_slice);
                let ends = |model: &Model| {
                    // Records name providers as telemetry does, which is not the name of each of ours.
                    let providers =
                        PROVIDERS.iter().filter(|ours| ours.telemetry_name == model.provider_name);
                    let days = providers
                        .filter_map(|ours| capability::find(ours.name, &model.model).retires_soon(minute_ms));
                    Some((days.filter_map(start_of).min()?, model.calls))
                };
                let all = models.iter().map(|model| model.calls).sum();
                match models.iter().filter_map(ends).min() {
                    Some((ends_ms, calls)) => withdrawn(rule, Some(ends_ms), minute_ms, calls, firing),
                    None => withdrawn(rule, None, minute_ms, all, firing),
                }
            }
            (Method::Drop | Method::Threshold, Measure::Quantile(timing, _)) => {
                let span = (minute_ms - (rule.window_minutes - 1) * MINUTE_MS, minute_ms);
                let spans = self.histograms.get(&(timing, key.clone()));
                match spans.and_then(|spans| spans.get(&span)) {
                    Some(histogram) => observe_quantile(rule, histogram, firing),
                    None => observe_quantile(rule, &Histogram::default(), firing),
                }
            }
            (Method::Drop | Method::Threshold, measure) => {
                let seen = match measure {
                    Measure::Lost => &self.losses,
                    Measure::Silence => &self.activity,
                    _ => &self.minutes,
                };
                let minutes = rule.history_minutes();
                let from_ms = minute_ms - (minutes - 1) * MINUTE_MS;
                let rows = seen.get(key).into_iter().flat_map(|buckets| buckets.range(from_ms..=minute_ms));
                let history = series(rows.map(|(at_ms, minute)| (*at_ms, *minute)), minute_ms, minutes);
                observe(rule, &history, firing)
            }
        }
    }

    /// What else is to be said of what the rule saw of a series.
    pub(crate) fn detail(&self, rule: &Rule, key: &Key) -> Detail {
        match (rule.measure, self.news.get(key)) {
            (Measure::News, Some(news)) => Detail::default().fact("Known before", &news.known),
            _ => Detail::default(),
        }
    }

    /// The parts of a tenant's calls in an hour, and all of its calls.
    fn segments(&self, measure: Measure, hour_ms: i64, tenant_id: &str) -> (Vec<Segment>, (i64, i64)) {
        let bad = measure.parts().map_or(Column::ERRORS, |(over, _)| over);
        let parts = self.parts.get(&(hour_ms, tenant_id.to_owned())).into_iter().flatten();
        let (mut segments, mut all) = (Vec::new(), (0, 0));
        for part in parts {
            match part.part.as_str() {
                "" => all = (part.ended(bad), part.calls),
                name => {
                    segments.push(Segment { name: name.to_owned(), bad: part.ended(bad), calls: part.calls });
                }
            }
        }
        (segments, all)
    }

    fn worse_parts(&self, rule: &Rule) -> BTreeSet<Key> {
        let worse = |(hour_ms, tenant_id): &(i64, String)| {
            let (segments, all) = self.segments(rule.measure, *hour_ms, tenant_id);
            let worse = worse_segments(rule, &segments, all).into_iter();
            worse.map(|(name, _)| (tenant_id.clone(), name)).collect::<Vec<Key>>()
        };
        self.parts.keys().flat_map(worse).collect()
    }

    /// The measure of every bucket from the first that is known to `last_ms`.
    fn points(
        &self,
        seen: &BTreeMap<Key, Buckets>,
        key: &Key,
        measure: Measure,
        last_ms: i64,
        width_ms: i64,
    ) -> Vec<Point> {
        let (Some(buckets), Some((over, under))) = (seen.get(key), measure.parts()) else {
            return Vec::new();
        };
        let Some((first_ms, _)) = buckets.first_key_value() else { return Vec::new() };
        let point = |at_ms: i64| {
            let counted = buckets.get(&at_ms).copied().unwrap_or_default();
            match under {
                None => Point { value: Some(counted.get(over) as f64), count: counted.get(Column::CALLS) },
                Some(under) => {
                    let count = counted.get(under);
                    Point { value: (count > 0).then(|| counted.get(over) as f64 / count as f64), count }
                }
            }
        };
        (*first_ms..=last_ms).step_by(width_ms as usize).map(point).collect()
    }

    /// What was counted in so many minutes up to and including this one: up to an hour in minutes, longer
    /// in hours, the one that goes on for a whole one.
    fn window(&self, key: &Key, minute_ms: i64, minutes: i64) -> Minute {
        let (seen, from_ms) = if minutes <= 60 {
            (&self.minutes, minute_ms - (minutes - 1) * MINUTE_MS)
        } else {
            (&self.hours, Grain::Hour.bucket_of(minute_ms) - (minutes / 60 - 1) * HOUR_MS)
        };
        let buckets = seen.get(key).into_iter().flat_map(|buckets| buckets.range(from_ms..=minute_ms));
        buckets.fold(Minute::default(), |sum, (_, counted)| plus(sum, counted))
    }

    /// Adds the sum of all series.
    fn add_the_whole(&mut self) {
        for seen in [&mut self.minutes, &mut self.hours, &mut self.days] {
            let mut whole = Buckets::new();
            for (at_ms, counted) in seen.values().flatten() {
                let sum = whole.entry(*at_ms).or_default();
                *sum = plus(*sum, counted);
            }
            seen.insert(SYSTEM, whole);
        }
        let mut whole = BTreeMap::<Timing, BTreeMap<(i64, i64), Histogram>>::new();
        for ((timing, _), spans) in &self.histograms {
            for (span, histogram) in spans {
                whole.entry(*timing).or_default().entry(*span).or_default().merge(histogram);
            }
        }
        self.histograms.extend(whole.into_iter().map(|(timing, spans)| ((timing, SYSTEM), spans)));
    }

    fn counts_mut(&mut self, grain: Grain) -> &mut BTreeMap<Key, Buckets> {
        match grain {
            Grain::Day => &mut self.days,
            Grain::Hour => &mut self.hours,
            Grain::Minute => &mut self.minutes,
        }
    }
}

/// What all these rules need, taken together.
fn wanted(looks: &[Look<'_>]) -> Wanted {
    let mut wanted = Wanted { columns: vec![Column::CALLS], ..Wanted::default() };
    let mut counts = BTreeMap::<(bool, &str), (Grain, i64, i64)>::new();
    let mut parts = BTreeSet::new();
    let mut spans = BTreeMap::<(Timing, &str), (Grain, BTreeSet<(i64, i64)>)>::new();
    let wider = |range: Option<(i64, i64)>, from_ms: i64, to_ms: i64| {
        Some(range.map_or((from_ms, to_ms), |(from, to)| (from.min(from_ms), to.max(to_ms))))
    };
    for Look { rule, first_ms, to_ms } in looks {
        let (first_ms, to_ms) = (*first_ms, *to_ms);
        let minutes = (first_ms..=to_ms).step_by(MINUTE_MS as usize);
        let looked_at: Vec<i64> = minutes.filter(|minute_ms| rule.looks_at(*minute_ms)).collect();
        if !rule.enabled || looked_at.is_empty() {
            continue;
        }
        let (over, under) = rule.measure.parts().map_or((None, None), |(over, under)| (Some(over), under));
        for column in [over, under].into_iter().flatten() {
            if !wanted.columns.contains(&column) {
                wanted.columns.push(column);
            }
        }
        let mut count = |grain: Grain, buckets: i64| {
            let from_ms = grain.bucket_of(first_ms) - (buckets - 1) * grain.width_ms();
            let by_provider = rule.scope == Scope::Provider;
            let range = counts.entry((by_provider, grain.word())).or_insert((grain, from_ms, to_ms));
            *range = (grain, range.1.min(from_ms), range.2.max(to_ms));
        };
        for past in rule.past() {
            match past {
                Past::Activity(minutes) => {
                    wanted.activity = wider(wanted.activity, first_ms - (minutes - 1) * MINUTE_MS, to_ms);
                }
                Past::Days(days) => count(Grain::Day, days + 1),
                Past::Histogram(timing, minutes) => {
                    let (_, spans) = spans
                        .entry((timing, Grain::Minute.word()))
                        .or_insert_with(|| (Grain::Minute, BTreeSet::new()));
                    spans.extend(looked_at.iter().map(|at_ms| (at_ms - (minutes - 1) * MINUTE_MS, *at_ms)));
                }
                Past::Distribution(timing) => {
                    let (_, spans) = spans
                        .entry((timing, Grain::Hour.word()))
                        .or_insert_with(|| (Grain::Hour, BTreeSet::new()));
                    spans.extend(looked_at.iter().flat_map(|at_ms| day_and_week_before(*at_ms)));
                }
                Past::Faults(hours) => {
                    let since_ms = Grain::Hour.bucket_of(first_ms) - HOUR_MS;
                    let from_ms = since_ms - (hours - 1) * HOUR_MS;
                    let (from_ms, to_ms, since_ms) =
                        wanted.faults.map_or((from_ms, to_ms, since_ms), |(from, to, since)| {
                            (from_ms.min(from), to_ms.max(to), since_ms.min(since))
                        });
                    wanted.faults = Some((from_ms, to_ms, since_ms));
                }
                Past::News => {
                    wanted.news = wider(wanted.news, Grain::Hour.bucket_of(first_ms) - HOUR_MS, to_ms);
                }
                Past::Parts => {
                    let hours = looked_at.iter().map(|at_ms| Grain::Hour.bucket_of(*at_ms) - HOUR_MS);
                    parts.extend(hours);
                }
                Past::Hours(hours) => count(Grain::Hour, hours),
                Past::Losses(minutes) => {
                    wanted.losses = wider(wanted.losses, first_ms - (minutes - 1) * MINUTE_MS, to_ms);
                }
                Past::Minutes(minutes) => count(Grain::Minute, minutes),
                Past::Models => {
                    let from_ms = Grain::Hour.bucket_of(first_ms) - 24 * HOUR_MS;
                    wanted.models = wider(wanted.models, from_ms, to_ms);
                }
            }
        }
    }
    wanted.parts = parts.into_iter().collect();
    for ((by_provider, _), range) in counts {
        if by_provider { wanted.providers.push(range) } else { wanted.counts.push(range) }
    }
    wanted.histograms = spans
        .into_iter()
        .map(|((timing, _), (grain, spans))| (timing, grain, spans.into_iter().collect()))
        .collect();
    wanted
}

/// The hours of the day that is over, the first and the last, and those of the week before it.
fn day_and_week_before(minute_ms: i64) -> [(i64, i64); 2] {
    let last_ms = Grain::Hour.bucket_of(minute_ms) - HOUR_MS;
    let before_ms = last_ms - DAY_MS;
    [(before_ms + HOUR_MS, last_ms), (before_ms + HOUR_MS - 7 * DAY_MS, before_ms)]
}

fn price_table_ms() -> Option<i64> {
    start_of(llm::price::VERSION)
}

fn start_of(day: &str) -> Option<i64> {
    parse_rfc3339(&format!("{day}T00:00:00Z"))
}

fn read_counts(
    grain: Grain,
    from_ms: i64,
    columns: &[Column],
    rows: Vec<Counts>,
) -> Result<BTreeMap<Key, Buckets>, PortError> {
    let mut counts = BTreeMap::new();
    for row in rows {
        let buckets: Vec<Vec<i64>> = serde_json::from_str(&row.buckets).map_err(unexpected)?;
        let mut read = Buckets::new();
        for bucket in buckets {
            let Some((at, sums)) = bucket.split_first() else { continue };
            let counted = read.entry(from_ms + at * grain.width_ms()).or_default();
            for (column, sum) in columns.iter().zip(sums) {
                Minute::add(counted, *column, *sum);
            }
        }
        counts.insert((row.tenant_id, row.route), read);
    }
    Ok(counts)
}

fn plus(mut sum: Minute, counted: &Minute) -> Minute {
    for column in Column::ALL {
        sum.add(column, counted.get(column));
    }
    sum
}

fn unexpected(error: impl std::fmt::Display) -> PortError {
    PortError::new("database", format!("unexpected counts: {error}"))
}

const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
