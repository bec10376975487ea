//! What a rule sees when it looks at the minutes of one series.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::measure::{COLUMNS, Column};
use crate::rule::{BASELINE_MINUTES, Measure, Method, NoData, Rule, Side};
use crate::time::MINUTE_MS;

pub mod access;
pub mod ahead;
pub mod change;
pub mod errors;
pub mod history;
pub mod load;

/// One whole minute of a series. A minute without a row is a minute of zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Calls that ended in this minute.
    pub calls: i64,
    /// Those of them that ended in an error: a 5xx, or a stream cut short.
    pub errors: i64,
    /// Those of them whose wait is known.
    pub wait_count: i64,
    /// The sum of these waits.
    pub wait_sum_ms: i64,
    /// Records reported lost in this minute.
    pub lost: i64,
    /// What else was counted, for `get` and `add`.
    pub more: [i64; COLUMNS.len() - 5],
}

impl Minute {
    /// A count.
    pub fn get(&self, column: Column) -> i64 {
        match column.index() {
            0 => self.calls,
            1 => self.errors,
            2 => self.wait_count,
            3 => self.wait_sum_ms,
            4 => self.lost,
            other => self.more[other - 5],
        }
    }

    /// Adds to a count.
    pub fn add(&mut self, column: Column, count: i64) {
        *match column.index() {
            0 => &mut self.calls,
            1 => &mut self.errors,
            2 => &mut self.wait_count,
            3 => &mut self.wait_sum_ms,
            4 => &mut self.lost,
            other => &mut self.more[other - 5],
        } += count;
    }
}

/// How a call answers, which decides what its caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// In one piece and at once: a list of models, an embedding.
    Quick,
    /// Piece by piece, as the model writes.
    Streamed,
    /// In one piece, once the model has written all of it.
    Whole,
}

/// How long the caller waited for a sign of life. A whole answer lasts seconds by nature, longer if
/// there is more to say, so it tells nothing; nor does a stream that broke before its first chunk.
pub fn wait_ms(pace: Pace, time_to_first_chunk_ms: Option<i64>, duration_ms: i64) -> Option<i64> {
    match pace {
        Pace::Quick => Some(duration_ms),
        Pace::Streamed => time_to_first_chunk_ms,
        Pace::Whole => None,
    }
}

/// The last `minutes` minutes up to and including `minute_ms`, oldest first, from the rows there are.
/// Rows of the same minute add up; rows outside are left out.
pub fn series(rows: impl IntoIterator<Item = (i64, Minute)>, minute_ms: i64, minutes: i64) -> Vec<Minute> {
    let mut found = BTreeMap::<i64, Minute>::new();
    for (at_ms, row) in rows {
        let sum = found.entry(at_ms).or_default();
        for column in Column::ALL {
            sum.add(column, row.get(column));
        }
    }
    (0..minutes).rev().map(|ago| found.remove(&(minute_ms - ago * MINUTE_MS)).unwrap_or_default()).collect()
}

/// What a rule saw at one minute.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// The measure is beyond a threshold.
    Breached {
        /// The measure.
        value: f64,
        /// The calls it was taken from.
        count: i64,
        /// What it is compared with, where that is not the threshold: what is usual here.
        baseline: Option<f64>,
        /// Which threshold.
        level: Level,
    },
    /// The measure is not beyond a threshold.
    Healthy {
        /// The measure.
        value: f64,
        /// The calls it was taken from.
        count: i64,
        /// What it is compared with.
        baseline: Option<f64>,
    },
    /// Too few calls to say, and the rule does not take that for a zero.
    NoData {
        /// The calls there were.
        count: i64,
    },
    /// The rule could not look. That says nothing about the calls: an alert neither opens nor closes.
    Broken {
        /// Why, as a sentence.
        message: String,
    },
}

/// How far beyond its thresholds a measure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Beyond the warning threshold.
    Warning,
    /// Beyond the threshold.
    Critical,
}

/// What the rule sees at the last of these minutes (`series` of `Rule::history_minutes`).
///
/// An open alert is judged differently: by the resolve threshold, and by however few calls there are,
/// because the doubt is now on the other side.
pub fn observe(rule: &Rule, minutes: &[Minute], firing: bool) -> Observation {
    let window_minutes = usize::try_from(rule.window_minutes).unwrap_or(0);
    let (before, window) = minutes.split_at(minutes.len().saturating_sub(window_minutes));
    let sum = |column: Column| window.iter().map(|minute| minute.get(column)).sum::<i64>();
    let calls = sum(Column::CALLS);
    let baseline = || before.iter().rev().take(BASELINE_MINUTES as usize);
    match (rule.measure, rule.measure.parts()) {
        (Measure::Lost, _) => judge(rule, sum(Column::LOST) as f64, calls, None, firing),
        (Measure::Silence, _) => {
            let busy = baseline().filter(|minute| minute.calls > 0).count();
            let value = busy as f64 / BASELINE_MINUTES as f64;
            let baseline = Some(value);
            if calls > 0 {
                Observation::Healthy { value, count: calls, baseline }
            } else if firing || value >= rule.threshold {
                Observation::Breached { value, count: 0, baseline, level: Level::Critical }
            } else {
                Observation::NoData { count: 0 }
            }
        }
        (_, Some((column, None))) if rule.method == Method::Drop => {
            let hour: i64 = baseline().map(|minute| minute.get(column)).sum();
            let expected = hour as f64 * rule.window_minutes as f64 / BASELINE_MINUTES as f64;
            // What matters is how many there used to be, not how few there are.
            let count = baseline().map(|minute| minute.calls).sum();
            if expected <= 0.0 {
                return nothing(rule, count, firing);
            }
            enough(rule, sum(column) as f64 / expected, count, Some(expected), firing)
        }
        (_, Some((column, None))) => enough(rule, sum(column) as f64, calls, None, firing),
        (_, Some((over, Some(under)))) => match sum(under) {
            0 => nothing(rule, 0, firing),
            count => enough(rule, sum(over) as f64 / count as f64, count, None, firing),
        },
        (_, None) => Observation::Broken { message: format!("{} is no count", rule.measure.name()) },
    }
}

/// What a rule on a quantile sees in the durations of its window.
pub fn observe_quantile(rule: &Rule, durations: &Histogram, firing: bool) -> Observation {
    let Measure::Quantile(_, rank) = rule.measure else {
        return Observation::Broken { message: format!("{} is no quantile", rule.measure.name()) };
    };
    let count = i64::try_from(durations.count()).unwrap_or(i64::MAX);
    match durations.quantile(f64::from(rank) / 1000.0) {
        Some(value) => enough(rule, value, count, None, firing),
        None => nothing(rule, 0, firing),
    }
}

/// The value against the rule's thresholds, if enough was counted.
fn enough(rule: &Rule, value: f64, count: i64, baseline: Option<f64>, firing: bool) -> Observation {
    let least = if firing { 1 } else { rule.min_count.max(1) };
    if count >= least { judge(rule, value, count, baseline, firing) } else { nothing(rule, count, firing) }
}

/// Too little was counted to say.
fn nothing(rule: &Rule, count: i64, firing: bool) -> Observation {
    if rule.no_data == NoData::Zero {
        judge(rule, 0.0, count, None, firing)
    } else {
        Observation::NoData { count }
    }
}

/// The value against the rule's thresholds.
fn judge(rule: &Rule, value: f64, count: i64, baseline: Option<f64>, firing: bool) -> Observation {
    let is_beyond = |threshold| rule.side.is_beyond(value, threshold);
    let lowest = rule.warning_threshold.unwrap_or(rule.threshold);
    let limit = rule.resolve_threshold.filter(|_| firing).unwrap_or(lowest);
    if !is_beyond(limit) {
        return Observation::Healthy { value, count, baseline };
    }
    let is_warning = rule.warning_threshold.is_some() && !is_beyond(rule.threshold);
    let level = if is_warning { Level::Warning } else { Level::Critical };
    Observation::Breached { value, count, baseline, level }
}

/// A value for the worse side of a rule, of one known for either side.
fn signed(rule: &Rule, above: f64, below: f64) -> f64 {
    match rule.side {
        Side::Above => above,
        Side::Below => -below,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rule::shipped;

    /// A rule to change.
    pub(crate) fn rule() -> Rule {
        Rule { min_count: 1, for_minutes: 0, ..shipped("error-share").unwrap() }
    }

    /// What is seen, look by look: `.` healthy, `w` a warning, `!` critical, `?` no data, `x` broken. Each
    /// look is told whether the one before saw a breach.
    pub(crate) fn timeline<F: Fn(bool) -> Observation>(looks: impl IntoIterator<Item = F>) -> String {
        let mut firing = false;
        looks
            .into_iter()
            .map(|look| {
                let seen = look(firing);
                firing = matches!(seen, Observation::Breached { .. });
                match seen {
                    Observation::Breached { level: Level::Warning, .. } => 'w',
                    Observation::Breached { .. } => '!',
                    Observation::Healthy { .. } => '.',
                    Observation::NoData { .. } => '?',
                    Observation::Broken { .. } => 'x',
                }
            })
            .collect()
    }

    #[test]
    fn the_error_share_is_taken_over_the_window() {
        //      errors of calls, minute by minute; the window is five minutes
        for (minutes, expected) in [
            ("0/100 0/100 0/100 0/100 5/100", "healthy 0.01 of 500"),
            ("0/100 0/100 0/100 0/100 6/100", "breached 0.012 of 500"),
            ("9/100 0/100 0/100 0/100 0/100 5/100", "healthy 0.01 of 500"),
            ("0/0 0/0 0/0 0/0 1/49", "no data of 49"),
            ("0/0 0/0 0/0 0/0 1/50", "breached 0.02 of 50"),
            ("50/50", "breached 1 of 50"),
            ("", "no data of 0"),
        ] {
            assert_eq!(seen("error-share", &errors(minutes), false), expected, "{minutes}");
        }
    }

    #[test]
    fn an_open_alert_is_judged_by_however_few_calls_there_are() {
        for (minutes, expected) in [
            ("0/0 0/0 0/0 0/0 1/1", "breached 1 of 1"),
            ("0/0 0/0 0/0 0/0 0/1", "healthy 0 of 1"),
            ("0/0 0/0 0/0 0/0 0/0", "no data of 0"),
        ] {
            assert_eq!(seen("error-share", &errors(minutes), true), expected, "{minutes}");
        }
    }

    #[test]
    fn an_open_alert_is_judged_by_the_resolve_threshold() {
        let rule = Rule { resolve_threshold: Some(400.0), ..shipped("slow-response").unwrap() };
        let at = |wait_ms: i64, firing| {
            let minute = Minute { calls: 30, wait_count: 30, wait_sum_ms: 30 * wait_ms, ..Minute::default() };
            text(observe(&rule, &[minute], firing))
        };
        assert_eq!(at(450, false), "healthy 450 of 30");
        assert_eq!(at(450, true), "breached 450 of 30");
        assert_eq!(at(400, true), "healthy 400 of 30");
    }

    #[test]
    fn between_the_thresholds_lies_a_warning() {
        let rule = Rule {
            warning_threshold: Some(300.0),
            resolve_threshold: Some(200.0),
            ..shipped("slow-response").unwrap()
        };
        let at = |rule: &Rule, wait_ms: i64, firing| {
            let minute = Minute { calls: 30, wait_count: 30, wait_sum_ms: 30 * wait_ms, ..Minute::default() };
            text(observe(rule, &[minute], firing))
        };
        for (wait_ms, firing, expected) in [
            (300, false, "healthy 300 of 30"),
            (301, false, "warning 301 of 30"),
            (500, false, "warning 500 of 30"),
            (501, false, "breached 501 of 30"),
            (250, true, "warning 250 of 30"),
            (200, true, "healthy 200 of 30"),
        ] {
            assert_eq!(at(&rule, wait_ms, firing), expected);
        }
        let below = Rule {
            threshold: 100.0,
            warning_threshold: Some(200.0),
            resolve_threshold: None,
            side: Side::Below,
            ..rule
        };
        for (wait_ms, expected) in
            [(99, "breached 99 of 30"), (100, "warning 100 of 30"), (200, "healthy 200 of 30")]
        {
            assert_eq!(at(&below, wait_ms, false), expected);
        }
    }

    #[test]
    fn too_few_calls_are_a_zero_only_where_the_rule_says_so() {
        let few = errors("9/10");
        for (no_data, expected) in [
            (NoData::Last, "no data of 10"),
            (NoData::Notify(10), "no data of 10"),
            (NoData::Show, "no data of 10"),
            (NoData::Zero, "healthy 0 of 10"),
        ] {
            let rule = Rule { no_data, ..shipped("error-share").unwrap() };
            assert_eq!(text(observe(&rule, &few, false)), expected);
        }
    }

    #[test]
    fn the_mean_wait_counts_the_calls_whose_wait_is_known() {
        let minute =
            |wait_count, wait_sum_ms| Minute { calls: 900, wait_count, wait_sum_ms, ..Minute::default() };
        for (minutes, expected) in [
            ([minute(10, 4_000), minute(10, 7_000)], "breached 550 of 20"),
            ([minute(10, 4_000), minute(10, 6_000)], "healthy 500 of 20"),
            ([minute(0, 0), minute(19, 190_000)], "no data of 19"),
        ] {
            assert_eq!(seen("slow-response", &minutes, false), expected);
        }
    }

    #[test]
    fn what_a_caller_waits_for_depends_on_how_the_call_answers() {
        assert_eq!(wait_ms(Pace::Quick, None, 80), Some(80));
        assert_eq!(wait_ms(Pace::Streamed, Some(300), 9_000), Some(300));
        assert_eq!(wait_ms(Pace::Streamed, None, 9_000), None);
        assert_eq!(wait_ms(Pace::Whole, None, 9_000), None);
    }

    #[test]
    fn one_lost_record_is_a_breach_and_no_calls_are_no_reason_to_doubt_a_zero() {
        let lost = |lost| Minute { lost, ..Minute::default() };
        let zero = Minute::default();
        assert_eq!(seen("records-lost", &[lost(1), zero, zero, zero, zero], false), "breached 1 of 0");
        assert_eq!(seen("records-lost", &[lost(1), zero, zero, zero, zero, zero], false), "healthy 0 of 0");
        assert_eq!(seen("records-lost", &[], true), "healthy 0 of 0");
    }

    #[test]
    fn a_silence_is_a_breach_where_half_of_the_hour_before_had_calls() {
        for (before, silent, expected) in [
            ("x".repeat(60), 10, "breached 1 of 0"),
            ("x".repeat(61), 9, "healthy 1 of 7"),
            ("x.".repeat(30), 10, "breached 0.5 of 0"),
            ("x".repeat(30) + &".".repeat(30), 10, "breached 0.5 of 0"),
            ("x".repeat(29) + &".".repeat(31), 10, "no data of 0"),
            // Calls before that hour do not count.
            ("x".repeat(40) + &".".repeat(60), 10, "no data of 0"),
            ("x".repeat(29), 10, "no data of 0"),
            (String::new(), 0, "no data of 0"),
        ] {
            let minutes = before + &".".repeat(silent);
            assert_eq!(seen("no-calls", &calls(&minutes), false), expected, "{minutes}");
        }
    }

    #[test]
    fn a_silence_lasts_until_a_call_comes() {
        assert_eq!(seen("no-calls", &calls(&".".repeat(70)), true), "breached 0 of 0");
        assert_eq!(seen("no-calls", &calls(&(".".repeat(69) + "x")), true), "healthy 0 of 7");
    }

    #[test]
    fn a_series_has_a_minute_for_every_gap() {
        let row = |calls| Minute { calls, ..Minute::default() };
        let rows = [(180_000, row(3)), (60_000, row(1)), (180_000, row(4)), (0, row(9)), (240_000, row(9))];
        let calls: Vec<i64> = series(rows, 180_000, 3).iter().map(|minute| minute.calls).collect();
        assert_eq!(calls, [1, 0, 7]);
        assert_eq!(series([], 180_000, 2), [Minute::default(); 2]);
    }

    fn seen(rule: &str, minutes: &[Minute], firing: bool) -> String {
        text(observe(&shipped(rule).unwrap(), minutes, firing))
    }

    fn text(observation: Observation) -> String {
        match observation {
            Observation::Breached { value, count, level: Level::Warning, .. } => {
                format!("warning {value} of {count}")
            }
            Observation::Breached { value, count, .. } => format!("breached {value} of {count}"),
            Observation::Healthy { value, count, .. } => format!("healthy {value} of {count}"),
            Observation::NoData { count } => format!("no data of {count}"),
            Observation::Broken { message } => message,
        }
    }

    fn errors(text: &str) -> Vec<Minute> {
        let minute = |part: &str| {
            let (errors, calls) = part.split_once('/').unwrap();
            Minute { calls: calls.parse().unwrap(), errors: errors.parse().unwrap(), ..Minute::default() }
        };
        text.split_whitespace().map(minute).collect()
    }

    /// A minute for each character: `x` has seven calls.
    fn calls(text: &str) -> Vec<Minute> {
        text.chars().map(|c| Minute { calls: if c == 'x' { 7 } else { 0 }, ..Minute::default() }).collect()
    }
}
