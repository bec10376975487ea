//! Rules that look further back than an hour: at hours of weeks, and at days.

use super::{Level, Observation, enough, nothing, signed};
use crate::histogram::Histogram;
use crate::rule::{Rule, Severity};
use crate::stats::{
    burn::{SEVEN_DAYS, rate},
    drift::{binned, psi},
    robust::{Floor, Usual, usual, usual_at},
    shift::Cusum,
    trend::trend,
};

/// The measure of one hour, and the calls it was taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// The measure; none if there was nothing to measure.
    pub value: Option<f64>,
    /// The calls.
    pub count: i64,
}

/// The newest hour against what is usual at this hour of the week, or while there are less than two
/// weeks of history, of the day, or at all. The value is in spreads, the baseline is the usual value.
pub fn anomaly(rule: &Rule, before: &[Option<f64>], now: Point, firing: bool) -> Observation {
    let usual = usual_at(before, FLOOR).filter(|(_, usual)| usual.count >= LEAST_VALUES);
    match (now.value, usual) {
        (Some(value), Some((_, usual))) => {
            enough(rule, finite(usual.score(value)), now.count, Some(usual.median), firing)
        }
        _ => nothing(rule, now.count, firing),
    }
}

/// Whether hours differ from what was usual before them by little, but for long. The value is the sum of
/// what exceeds half a spread, in spreads.
pub fn shift(rule: &Rule, before: &[Option<f64>], recent: &[Point], firing: bool) -> Observation {
    let count = recent.iter().map(|point| point.count).sum();
    let mut values: Vec<f64> = before.iter().flatten().copied().collect();
    let Some(Usual { median, spread, .. }) = usual_of(&mut values) else {
        return nothing(rule, count, firing);
    };
    if spread <= 0.0 || recent.iter().all(|point| point.value.is_none()) {
        return nothing(rule, count, firing);
    }
    let sums = Cusum::over(recent.iter().filter_map(|point| point.value), median, spread);
    enough(rule, signed(rule, sums.high, sums.low), count, Some(median), firing)
}

/// When a trend of days, if there is one, reaches the limit. `days` are day and measure, in order; the
/// value is in days from the newest, the baseline is the newest measure.
pub fn slow_trend(rule: &Rule, limit: f64, days: &[(f64, f64)], count: i64, firing: bool) -> Observation {
    let (Some((newest, measure)), Some(found)) = (days.last(), trend(days)) else {
        return nothing(rule, count, firing);
    };
    if days.len() < LEAST_DAYS {
        return nothing(rule, count, firing);
    }
    // It went past the limit on one of these days. What always was past it is for a threshold to tell.
    let is_below = |day: f64| found.intercept + found.slope * day < limit;
    let has_passed = is_below(days[0].0) != is_below(*newest);
    let wait = match found.reaches(limit, *newest) {
        _ if found.p >= CERTAIN => NEVER_DAYS,
        _ if has_passed => 0.0,
        wait => wait.unwrap_or(NEVER_DAYS).min(NEVER_DAYS),
    };
    enough(rule, wait, count, Some(*measure), firing)
}

/// Whether the error budget burns too fast. `window` gives the bad calls and all calls of so many minutes.
/// A window that had no calls in its first half is no such window yet, and says nothing. The value is in multiples of the rate that a pair of windows allows; the baseline is that rate.
pub fn burn_rate(
    rule: &Rule,
    objective: f64,
    window: impl Fn(i64) -> (i64, i64),
    firing: bool,
) -> Observation {
    let mut worst = Observation::NoData { count: 0 };
    for pair in SEVEN_DAYS {
        let (long, short) = (window(pair.long_minutes), window(pair.short_minutes));
        if window(pair.long_minutes / 2).1 == long.1 {
            continue;
        }
        let rates = rate(long.0, long.1, objective).zip(rate(short.0, short.1, objective));
        let multiple = rates.map(|(long, short)| long.min(short) / pair.rate);
        let mut seen = match multiple {
            Some(multiple) => enough(rule, multiple, long.1, Some(pair.rate), firing),
            None => nothing(rule, long.1, firing),
        };
        if let Observation::Breached { level, .. } = &mut seen
            && pair.severity == Severity::Ticket
        {
            *level = Level::Warning;
        }
        if rank(&seen) > rank(&worst) {
            worst = seen;
        }
    }
    worst
}

/// How far a distribution has moved from what it was: the population stability index, over ten bins that
/// were as full as each other before.
pub fn drift(rule: &Rule, before: &Histogram, now: &Histogram, firing: bool) -> Observation {
    let count_of = |histogram: &Histogram| i64::try_from(histogram.count()).unwrap_or(i64::MAX);
    let (bins_before, bins_now) = binned(before, now, BINS);
    match psi(&bins_before, &bins_now) {
        // Both sides must have enough to have a shape.
        Some(index) if count_of(before) >= rule.min_count => enough(rule, index, count_of(now), None, firing),
        _ => nothing(rule, count_of(now), firing),
    }
}

fn usual_of(values: &mut [f64]) -> Option<Usual> {
    if values.len() < LEAST_VALUES { None } else { usual(values, FLOOR) }
}

/// Worse is more.
fn rank(seen: &Observation) -> (u8, f64) {
    match seen {
        Observation::Breached { value, level: Level::Critical, .. } => (3, *value),
        Observation::Breached { value, .. } => (2, *value),
        Observation::Healthy { value, .. } => (1, *value),
        Observation::NoData { .. } | Observation::Broken { .. } => (0, 0.0),
    }
}

/// What is stored as JSON must be a number.
fn finite(score: f64) -> f64 {
    score.clamp(-MOST_SPREADS, MOST_SPREADS)
}

/// A tenth of the usual value is never unusual.
const FLOOR: Floor = Floor { absolute: 0.0, relative: 0.1 };
/// Fewer values do not say what is usual.
const LEAST_VALUES: usize = 5;
const MOST_SPREADS: f64 = 1_000.0;
/// How likely a trend may be to be none.
pub(super) const CERTAIN: f64 = 0.01;
/// Fewer days have no trend that could be certain.
const LEAST_DAYS: usize = 7;
/// Ten years.
pub const NEVER_DAYS: f64 = 3_650.0;
const BINS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::tests::{rule, timeline};
    use crate::rule::{NoData, Side};

    //  . healthy  w warning  ! critical  ? no data

    #[test]
    fn an_anomaly_is_what_is_not_usual_at_this_hour() {
        // Nights are quiet and days are busy; Sundays have no day.
        let usual = |hour: usize| match (hour / 24 % 7, hour % 24) {
            (6, _) | (_, 0..8 | 20..) => 20.0,
            _ => 400.0 + (hour % 5) as f64,
        };
        let judged = Rule { threshold: 5.0, min_count: 10, ..rule() };
        let at = |weeks: usize, hour: usize, value: f64| {
            let history: Vec<_> = (0..weeks * 168 + hour).map(|hour| Some(usual(hour))).collect();
            let judged = judged.clone();
            move |firing| anomaly(&judged, &history, Point { value: Some(value), count: 500 }, firing)
        };
        for (weeks, hour, value, expected) in [
            (4, 12, 402.0, '.'),
            (4, 12, 640.0, '!'),
            // What is little by day is much by night, and on a Sunday.
            (4, 3, 400.0, '!'),
            (4, 6 * 24 + 12, 402.0, '!'),
            // With a week of history, the hours of the day are compared, and Sunday looks like any day.
            (1, 12, 402.0, '.'),
            (1, 12, 640.0, '!'),
            // With two days, all hours.
            (0, 40, 402.0, '.'),
            (0, 4, 20.0, '?'),
        ] {
            assert_eq!(timeline([at(weeks, hour, value)]), expected.to_string(), "{weeks} {hour} {value}");
        }
    }

    #[test]
    fn an_anomaly_is_judged_by_enough_calls_on_the_side_that_is_bad() {
        let history = vec![Some(100.0); 400];
        let below = Rule { threshold: -5.0, side: Side::Below, min_count: 10, ..rule() };
        let seen = |rule: Rule, value: Option<f64>, count| {
            let history = history.clone();
            timeline([move |firing| anomaly(&rule, &history, Point { value, count }, firing)])
        };
        assert_eq!(seen(below.clone(), Some(40.0), 10), "!");
        assert_eq!(seen(below.clone(), Some(60.0), 10), ".");
        assert_eq!(seen(below.clone(), Some(400.0), 10), ".");
        assert_eq!(seen(below.clone(), Some(40.0), 9), "?");
        assert_eq!(seen(below.clone(), None, 0), "?");
        assert_eq!(seen(Rule { no_data: NoData::Zero, ..below }, None, 0), ".");
    }

    #[test]
    fn a_finding_carries_its_baseline() {
        let history = vec![Some(100.0); 400];
        let judged = Rule { threshold: 5.0, ..rule() };
        let seen = anomaly(&judged, &history, Point { value: Some(170.0), count: 30 }, false);
        let expected =
            Observation::Breached { value: 7.0, count: 30, baseline: Some(100.0), level: Level::Critical };
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_small_shift_is_found_once_it_has_lasted() {
        let usual: Vec<Option<f64>> = (0..100).map(|hour| Some(100.0 + f64::from(hour % 5) * 10.0)).collect();
        let judged = Rule { threshold: 5.0, min_count: 10, ..rule() };
        // The usual value is 120, its spread 14.8; the shift of 15 is found after ten hours.
        let values = |later: f64| (0..16).map(move |hour| if hour < 3 { 120.0 } else { later });
        let play = |rule: &Rule, later: f64| {
            let points: Vec<Point> =
                values(later).map(|value| Point { value: Some(value), count: 50 }).collect();
            timeline((1..=points.len()).map(|to| {
                let (rule, usual, points) = (rule.clone(), usual.clone(), points[..to].to_vec());
                move |firing| shift(&rule, &usual, &points, firing)
            }))
        };
        assert_eq!(play(&judged, 135.0), "............!!!!");
        assert_eq!(play(&judged, 125.0), "................");
        assert_eq!(
            play(&Rule { threshold: -5.0, side: Side::Below, ..judged.clone() }, 105.0),
            "............!!!!"
        );
        assert_eq!(play(&Rule { min_count: 200, ..judged }, 160.0), "???..!!!!!!!!!!!");
    }

    #[test]
    fn one_wild_hour_is_no_shift() {
        let usual: Vec<Option<f64>> = (0..100).map(|hour| Some(100.0 + f64::from(hour % 5) * 10.0)).collect();
        let judged = Rule { threshold: 5.0, ..rule() };
        let mut points = vec![Point { value: Some(120.0), count: 50 }; 12];
        points[3].value = Some(190.0);
        assert!(matches!(shift(&judged, &usual, &points, false), Observation::Healthy { .. }));
        let nothing = vec![Point::default(); 12];
        assert_eq!(shift(&judged, &usual, &nothing, false), Observation::NoData { count: 0 });
    }

    #[test]
    fn a_trend_alarms_when_its_limit_is_near() {
        // Days until the limit of 500, of a p95 that grows by ten a day.
        let judged = Rule {
            side: Side::Below,
            threshold: 7.0,
            warning_threshold: Some(14.0),
            min_count: 10,
            ..rule()
        };
        let days = |values: &[f64]| (0..).map(f64::from).zip(values.iter().copied()).collect::<Vec<_>>();
        let grows: Vec<f64> = (0..40).map(|day| 200.0 + 10.0 * f64::from(day) + f64::from(day % 2)).collect();
        let play = |values: Vec<f64>, limit: f64| {
            let judged = judged.clone();
            let days = days(&values);
            timeline((1..=days.len()).map(move |to| {
                let (judged, days) = (judged.clone(), days[..to].to_vec());
                move |firing| slow_trend(&judged, limit, &days, 1_000, firing)
            }))
        };
        // From the day on that the line reaches it in less than two weeks, in less than one, and past it.
        assert_eq!(play(grows[..35].to_vec(), 500.0), "??????...........wwwwww!!!!!!!!!!!!");
        assert_eq!(play(grows.iter().rev().copied().collect(), 700.0), format!("??????{}", ".".repeat(34)));
        let noise: Vec<f64> = (0..30).map(|day| 400.0 + f64::from(day * 7919 % 50)).collect();
        assert_eq!(play(noise, 450.0), format!("??????{}", ".".repeat(24)));
    }

    #[test]
    fn a_budget_burns_in_the_long_and_the_short_window() {
        // 1 % of calls may fail. Minutes of a hundred calls, with so many errors.
        let judged = Rule { threshold: 1.0, min_count: 100, ..rule() };
        let seen = |bad: &dyn Fn(i64) -> i64, minutes: i64| {
            let window = |long: i64| {
                let long = long.min(minutes);
                ((0..long).map(bad).sum::<i64>(), long * 100)
            };
            burn_rate(&judged, 0.99, window, false)
        };
        let word = |seen: &Observation| match seen {
            Observation::Breached { baseline, level, .. } => format!("{level:?} {:.2}", baseline.unwrap()),
            Observation::Healthy { .. } => "healthy".to_owned(),
            other => format!("{other:?}"),
        };
        for (errors, expected) in [
            // Ago in minutes → errors of a hundred.
            ((|_| 1) as fn(i64) -> i64, "Warning 0.98"),
            (|_| 0, "healthy"),
            (|ago| if ago < 60 { 14 } else { 0 }, "Critical 13.44"),
            (|ago| if ago < 360 { 4 } else { 0 }, "Critical 3.50"),
            (|ago| if ago < 1_440 { 2 } else { 0 }, "Warning 1.40"),
            // It is over: the short window is clean.
            (|ago| if (5..65).contains(&ago) { 20 } else { 0 }, "healthy"),
            // It has just begun: the long window has not seen enough.
            (|ago| if ago < 5 { 30 } else { 0 }, "healthy"),
        ] {
            assert_eq!(word(&seen(&errors, 4_320)), expected);
        }
        // A deployment of twenty minutes does not have an hour to judge.
        assert_eq!(seen(&|_| 50, 20), Observation::NoData { count: 0 });
        assert_eq!(word(&seen(&|_| 50, 40)), "Critical 13.44");
        assert_eq!(seen(&|_| 50, 0), Observation::NoData { count: 0 });
        let few = burn_rate(&judged, 0.99, |minutes| (50, 39 + minutes.min(60)), false);
        assert_eq!(few, Observation::NoData { count: 0 });
    }

    #[test]
    fn a_distribution_drifts_when_its_shape_changes() {
        let judged = Rule { threshold: 0.25, warning_threshold: Some(0.1), min_count: 500, ..rule() };
        let shape = |count: i64, factor: f64| {
            let mut histogram = Histogram::default();
            for at in 0..count {
                histogram.record(((100 + at * 900 / count) as f64 * factor) as i64);
            }
            histogram
        };
        let seen = |before: Histogram, now: Histogram, no_data| {
            let judged = Rule { no_data, ..judged.clone() };
            timeline([move |firing| drift(&judged, &before, &now, firing)])
        };
        for (before, now, expected) in [
            (shape(2_000, 1.0), shape(700, 1.0), "."),
            (shape(2_000, 1.0), shape(700, 1.2), "w"),
            (shape(2_000, 1.0), shape(700, 1.6), "!"),
            (shape(2_000, 1.0), shape(400, 1.6), "?"),
            (shape(400, 1.0), shape(2_000, 1.6), "?"),
            (Histogram::default(), shape(2_000, 1.0), "?"),
        ] {
            assert_eq!(seen(before, now, NoData::Show), expected);
        }
        assert_eq!(seen(shape(2_000, 1.0), Histogram::default(), NoData::Zero), ".");
    }
}
