//! What rules see: the past they ask for, read at once for all of them, and what each makes of it.

use std::collections::{BTreeMap, BTreeSet};

use hypercare::{
    detect::{
        Minute, Observation,
        access::{Denied, Source, WARM_UP_DAYS, denied, new_sources, told_apart, volume_jump},
        ahead::{age, used_up, withdrawn},
        change::changed,
        errors::surge,
        history::{Point, anomaly, burn_rate, drift, shift, slow_trend},
        load::{Segment, load_knee, segment, worse_segments},
        observe, observe_quantile, series,
    },
    histogram::Histogram,
    measure::{Column, Measure, Timing},
    notice::Detail,
    rule::{Method, Origin, Past, RECENT_HOURS, Rule, Scope},
    stats::{surge::WEEK, trend::trend},
    time::{DAY_MS, HOUR_MS, MINUTE_MS, parse_rfc3339, rfc3339},
};
use llm::{capability, provider::PROVIDERS};

use crate::{
    Host,
    ports::PortError,
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

/// Where a key is called from, when first, and how often.
type Place = (String, i64, i64);

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
    denied: BTreeMap<(i64, i64), BTreeMap<Key, watched::Denied>>,
    sources: BTreeMap<(Origin, Key), Vec<Place>>,
    /// Hours, then days.
    uses: BTreeMap<Key, [BTreeMap<i64, i64>; 2]>,
    sizes: Vec<watched::Size>,
    /// How large the database may become.
    limit_bytes: Option<i64>,
}

impl Sight {
    /// Reads the past of all these rules at once.
    pub(crate) async fn read<H: Host>(host: &H, looks: &[Look<'_>]) -> Result<Sight, PortError> {
        let wanted = wanted(looks);
        let found = watched::read(host, &wanted).await?;
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
        for row in found.denied {
            let span = usize::try_from(row.span).ok().and_then(|at| wanted.denied.get(at));
            let Some(span) = span else { continue };
            let key = (row.tenant_id.clone(), row.source.clone());
            sight.denied.entry(*span).or_default().insert(key, row);
        }
        for row in found.sources {
            let origin = if row.kind == Origin::Country.word() { Origin::Country } else { Origin::Network };
            let sources = serde_json::from_str(&row.sources).map_err(unexpected)?;
            sight.sources.insert((origin, (row.tenant_id, row.key_id)), sources);
        }
        for row in found.keys {
            let buckets: Vec<(i64, i64, i64)> = serde_json::from_str(&row.buckets).map_err(unexpected)?;
            let uses = sight.uses.entry((row.tenant_id, row.key_id)).or_default();
            for (is_hour, bucket_ms, calls) in buckets {
                uses[usize::from(is_hour == 0)].insert(bucket_ms, calls);
            }
        }
        let newest = found.sizes.last().map_or(0, |size| size.bytes);
        sight.sizes = found.sizes;
        // Who has outgrown one plan is on the next.
        let of_plans = H::DATABASE_LIMITS_MB.iter().copied().find(|mb| newest <= mb * MB);
        sight.limit_bytes = host.config().database_limit_mb.or(of_plans).map(|mb| mb * MB);
        let is_counted =
            |measure| !matches!(measure, Measure::DatabaseDaysLeft | Measure::Lost | Measure::PriceTableAge);
        if looks.iter().any(|look| look.rule.scope == Scope::System && is_counted(look.rule.measure)) {
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
            (_, Measure::KeyVolume) => self.uses.keys().cloned().collect(),
            (_, Measure::ModelDaysLeft) => self.models.keys().cloned().collect(),
            (_, Measure::NewCountries) => self.keys_called_from(Origin::Country),
            (_, Measure::NewNetworks) => self.keys_called_from(Origin::Network),
            (_, Measure::SourceDenied | Measure::SourceTargets) => {
                self.denied.values().flat_map(|networks| networks.keys().cloned()).collect()
            }
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
            (Method::Drop | Method::Threshold, Measure::DatabaseDaysLeft) => match self.limit_bytes {
                Some(limit) => used_up(rule, limit as f64, &self.sizes_until(minute_ms), firing),
                // There is none that we know of.
                None => Observation::NoData { count: 0 },
            },
            (Method::Drop | Method::Threshold, Measure::KeyVolume) => {
                let [hours, days] = self.uses.get(key).map_or_else(Default::default, Clone::clone);
                let (from_ms, to_ms) = day_over(minute_ms);
                let today = hours.range(from_ms..to_ms).map(|(_, calls)| calls).sum();
                let days = days.range(..Grain::Day.bucket_of(from_ms)).map(|(_, calls)| *calls as f64);
                volume_jump(rule, &days.collect::<Vec<f64>>(), today, firing)
            }
            (Method::Drop | Method::Threshold, Measure::NewCountries | Measure::NewNetworks) => {
                new_sources(rule, &self.sources_of(rule, key), minute_ms, firing)
            }
            (Method::Drop | Method::Threshold, Measure::SourceDenied | Measure::SourceTargets) => {
                let found = self.denied_at(rule, key, minute_ms);
                let found = found.map(|found| Denied { calls: found.calls, targets: found.targets });
                denied(rule, found.unwrap_or_default(), firing)
            }
            (Method::Drop | Method::Threshold, Measure::PriceTableAge) => match price_table_ms() {
                Some(dated_ms) => age(rule, dated_ms, minute_ms, firing),
                None => Observation::Broken { message: "the price table has no date".to_owned() },
            },
            (Method::Drop | Method::Threshold, Measure::ModelDaysLeft) => {
                let models = self.models.get(key).map_or(&[][..], Vec::as_slice);
                let all = models.iter().map(|model| model.calls).sum();
                match self.next_end(key, minute_ms) {
                    Some((ends_ms, calls, _)) => withdrawn(rule, Some(ends_ms), minute_ms, calls, firing),
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

    /// What else is to be said of what the rule saw of a series at a minute.
    pub(crate) fn detail(&self, rule: &Rule, key: &Key, minute_ms: i64) -> Detail {
        let day = |ms: i64| rfc3339(ms).chars().take(10).collect::<String>();
        let said = |text: String| Detail { text, ..Detail::default() };
        match rule.measure {
            Measure::News => match self.news.get(key) {
                Some(news) => Detail::default().fact("Known before", &news.known),
                None => Detail::default(),
            },
            Measure::DatabaseDaysLeft => {
                let points = self.sizes_until(minute_ms);
                let (Some(limit), Some((_, used))) = (self.limit_bytes, points.last()) else {
                    return Detail::default();
                };
                let mb = |bytes: f64| format!("{:.1} MB", bytes / MB as f64);
                let size = format!("{} of {}", mb(*used), mb(limit as f64));
                let growth = trend(&points).map_or(0.0, |found| found.slope);
                if growth <= 0.0 {
                    return said(size.clone()).fact("Size", size);
                }
                let left_ms = ((limit as f64 - used) / growth * DAY_MS as f64).max(0.0);
                let full = day(minute_ms.saturating_add(left_ms as i64));
                said(format!("{size}, {} more a day, full on {full}", mb(growth)))
                    .fact("Size", size)
                    .fact("Growth a day", mb(growth))
                    .fact("Full on", full)
            }
            Measure::ModelDaysLeft => match self.next_end(key, minute_ms) {
                Some((ends_ms, _, model)) => {
                    let ends = day(ends_ms);
                    said(format!("{model} on {ends}")).fact("Model", model).fact("Ends on", ends)
                }
                None => Detail::default(),
            },
            Measure::NewCountries | Measure::NewNetworks => {
                let sources = self.sources_of(rule, key);
                let Some((new, known)) = told_apart(&sources, minute_ms) else { return Detail::default() };
                let names = |sources: &[Source<'_>]| {
                    let mut sources = sources.to_vec();
                    sources.sort_by_key(|source| std::cmp::Reverse(source.calls));
                    let named = sources.iter().take(MOST_NAMED);
                    let named = named.map(|source| format!("{} ({} calls)", source.name, source.calls));
                    let more = (sources.len() > MOST_NAMED).then(|| "…".to_owned());
                    named.chain(more).collect::<Vec<_>>().join(", ")
                };
                said(names(&new)).fact("New", names(&new)).fact("Known", names(&known))
            }
            Measure::SourceDenied | Measure::SourceTargets => {
                let Some(found) = self.denied_at(rule, key, minute_ms) else { return Detail::default() };
                let most = format!("{} ({} times)", found.target, found.most);
                let detail = said(format!("most often {most}"))
                    .fact("Refused most", most)
                    .fact("Different ones", found.targets);
                match &found.country {
                    Some(country) => detail.fact("Country", country),
                    None => detail,
                }
            }
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

    fn keys_called_from(&self, origin: Origin) -> BTreeSet<Key> {
        self.sources.keys().filter(|(of, _)| *of == origin).map(|(_, key)| key.clone()).collect()
    }

    fn sources_of(&self, rule: &Rule, key: &Key) -> Vec<Source<'_>> {
        let country = rule.measure == Measure::NewCountries;
        let origin = if country { Origin::Country } else { Origin::Network };
        let sources = self.sources.get(&(origin, key.clone())).into_iter().flatten();
        sources.map(|(name, first_ms, calls)| Source { name, first_ms: *first_ms, calls: *calls }).collect()
    }

    fn denied_at(&self, rule: &Rule, key: &Key, minute_ms: i64) -> Option<&watched::Denied> {
        self.denied.get(&window_of(minute_ms, rule.window_minutes))?.get(key)
    }

    /// The newest days there are, in days and bytes.
    fn sizes_until(&self, minute_ms: i64) -> Vec<(f64, f64)> {
        let days = minute_ms - SIZE_DAYS * DAY_MS..=minute_ms;
        let sizes = self.sizes.iter().filter(|size| days.contains(&size.day_ms));
        sizes.map(|size| ((size.day_ms / DAY_MS) as f64, size.bytes as f64)).collect()
    }

    /// When the first of the models in use ends, how often it was called, and which one it is.
    fn next_end(&self, key: &Key, minute_ms: i64) -> Option<(i64, i64, String)> {
        let ends = |model: &Model| {
            // Records name providers as telemetry does, which is not the name of each of ours.
            let providers = PROVIDERS.iter().filter(|ours| ours.telemetry_name == model.provider_name);
            let ends = providers.filter_map(|ours| {
                let day = capability::find(ours.name, &model.model).retires_soon(minute_ms)?;
                Some((start_of(day)?, model.calls, format!("{}/{}", ours.name, model.model)))
            });
            ends.min()
        };
        self.models.get(key)?.iter().filter_map(ends).min()
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
                Past::Denied(minutes) => {
                    let spans = looked_at.iter().map(|at_ms| window_of(*at_ms, minutes));
                    for span in spans.filter(|span| !wanted.denied.contains(span)).collect::<Vec<_>>() {
                        wanted.denied.push(span);
                    }
                }
                Past::Keys(days) => {
                    let (hours, before, least) =
                        wanted.keys.get_or_insert_with(|| (Vec::new(), Vec::new(), i64::MAX));
                    for at_ms in &looked_at {
                        let (from_ms, to_ms) = day_over(*at_ms);
                        hours.extend((from_ms..to_ms).step_by(HOUR_MS as usize));
                        let day_ms = Grain::Day.bucket_of(from_ms);
                        before.extend((1..=days).map(|ago| day_ms - ago * DAY_MS));
                    }
                    for buckets in [hours, before] {
                        buckets.sort_unstable();
                        buckets.dedup();
                    }
                    *least = rule.min_count.min(*least);
                }
                Past::Sizes => wanted.sizes = Some(first_ms - (SIZE_DAYS + 1) * DAY_MS),
                Past::Sources(origin) => {
                    let (first_ms, last_ms) = (looked_at[0], looked_at[looked_at.len() - 1]);
                    let (kinds, since_ms, known_ms) =
                        wanted.sources.get_or_insert_with(|| (Vec::new(), i64::MAX, i64::MIN));
                    if !kinds.contains(&origin.word()) {
                        kinds.push(origin.word());
                    }
                    *since_ms = (first_ms - DAY_MS).min(*since_ms);
                    *known_ms = (last_ms - WARM_UP_DAYS * DAY_MS).max(*known_ms);
                }
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

/// The minutes that are looked at together, from the first to before the one after the last.
fn window_of(minute_ms: i64, minutes: i64) -> (i64, i64) {
    (minute_ms - (minutes - 1) * MINUTE_MS, minute_ms + MINUTE_MS)
}

/// The day whose hours are over, from its first to before the one that goes on.
fn day_over(minute_ms: i64) -> (i64, i64) {
    let hour_ms = Grain::Hour.bucket_of(minute_ms);
    (hour_ms - DAY_MS, hour_ms)
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

const MB: i64 = 1_000_000;
/// As long as calls are kept: after that a database that grew with them does not any more.
const SIZE_DAYS: i64 = 14;
const MOST_NAMED: usize = 5;
