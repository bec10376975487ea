//! Who tries to get in, and who got in from where nobody expected.

use super::{Observation, judge, nothing};
use crate::measure::Measure;
use crate::rule::Rule;
use crate::stats::median;
use crate::time::DAY_MS;

/// What was refused of one network in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    /// How many calls.
    pub calls: i64,
    /// How many different keys, or things a key may not do, they tried.
    pub targets: i64,
}

/// Whether one network was refused too often, or tried too many different things, however rarely each. One that was
/// not refused is healthy.
pub fn denied(rule: &Rule, seen: Denied, firing: bool) -> Observation {
    let value = if rule.measure == Measure::SourceTargets { seen.targets } else { seen.calls };
    let is_enough = firing || seen.calls >= rule.min_count;
    judge(rule, if is_enough { value as f64 } else { 0.0 }, seen.calls, None, firing)
}

/// Where a key was called from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// The country, or the network.
    pub name: &'a str,
    /// When it was first called from there.
    pub first_ms: i64,
    /// How many calls came from there.
    pub calls: i64,
}

/// The sources of a key that are new within a day, and those that are not. There are neither before the key was known
/// for `WARM_UP_DAYS`, or every source of it would be new.
pub fn told_apart<'a>(sources: &[Source<'a>], now_ms: i64) -> Option<(Vec<Source<'a>>, Vec<Source<'a>>)> {
    let seen = sources.iter().copied().filter(|source| source.first_ms <= now_ms);
    let (new, known): (Vec<Source<'_>>, Vec<Source<'_>>) =
        seen.partition(|source| source.first_ms > now_ms - DAY_MS);
    let first_ms = known.iter().map(|source| source.first_ms).min()?;
    (first_ms <= now_ms - WARM_UP_DAYS * DAY_MS).then_some((new, known))
}

/// From how many sources a key is called that it was not called from before. The count is the calls from there, the
/// baseline is how many were known. A key that is called from everywhere has no new ones.
pub fn new_sources(rule: &Rule, sources: &[Source<'_>], now_ms: i64, firing: bool) -> Observation {
    if sources.is_empty() {
        // Keys without anything new are not looked at.
        return judge(rule, 0.0, 0, None, firing);
    }
    let Some((new, known)) = told_apart(sources, now_ms) else { return nothing(rule, 0, firing) };
    let least = if firing { 1 } else { rule.min_count };
    let new: Vec<i64> = new.iter().map(|source| source.calls).filter(|calls| *calls >= least).collect();
    let value = if known.len() < MOST_SOURCES { new.len() as f64 } else { 0.0 };
    judge(rule, value, new.iter().sum(), Some(known.len() as f64), firing)
}

/// How many times as much a key is called as on its middle day; the baseline is that day. Days without calls
/// are not among `days`.
pub fn volume_jump(rule: &Rule, days: &[f64], today: i64, firing: bool) -> Observation {
    let mut days = days.to_vec();
    let is_known = days.len() as i64 >= WARM_UP_DAYS;
    match median(&mut days).filter(|usual| is_known && *usual > 0.0) {
        Some(usual) if today >= rule.min_count => {
            judge(rule, today as f64 / usual, today, Some(usual), firing)
        }
        // Little use is known well enough to be no jump.
        usual if today < rule.min_count => judge(rule, 0.0, today, usual, firing),
        _ => nothing(rule, today, firing),
    }
}

/// Of how many sources of a key more are not told apart.
pub const MOST_SOURCES: usize = 100;

/// How long a key must be known.
pub const WARM_UP_DAYS: i64 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::tests::{rule, timeline};
    use crate::rule::NoData;

    #[test]
    fn a_burst_is_many_refusals_of_one_network_and_a_spray_many_targets() {
        let play = |measure, threshold, min_count, seen: &[(i64, i64)]| {
            let judged = Rule { measure, threshold, min_count, ..rule() };
            timeline(seen.iter().map(|(calls, targets)| {
                let (judged, seen) = (judged.clone(), Denied { calls: *calls, targets: *targets });
                move |firing| denied(&judged, seen, firing)
            }))
        };
        let seen = [(0, 0), (10, 10), (11, 1), (50, 11), (40, 2), (0, 0)];
        assert_eq!(play(Measure::SourceDenied, 10.0, 1, &seen), "..!!!.");
        assert_eq!(play(Measure::SourceTargets, 10.0, 1, &seen), "...!..");
        // So few that it is no burst, whatever was tried; once it is one, it goes on.
        assert_eq!(play(Measure::SourceTargets, 2.0, 20, &[(19, 19), (20, 20), (19, 19), (0, 0)]), ".!!.");
    }

    #[test]
    fn a_source_is_new_for_a_day_if_its_key_was_known_for_a_week() {
        let day = |days: f64| (days * DAY_MS as f64) as i64;
        let known = [("DE", 0.0, 100), ("FR", 5.0, 9)];
        let play = |more: &[(&'static str, f64, i64)], days: &[f64], no_data| {
            let judged = Rule { threshold: 0.0, min_count: 2, no_data, ..rule() };
            let sources: Vec<Source<'_>> = known
                .iter()
                .chain(more)
                .map(|(name, first, calls)| Source { name, first_ms: day(*first), calls: *calls })
                .collect();
            timeline(days.iter().map(|days| {
                let (judged, sources, now_ms) = (judged.clone(), sources.clone(), day(*days));
                move |firing| new_sources(&judged, &sources, now_ms, firing)
            }))
        };
        let days = [5.5, 6.9, 8.9, 9.1, 9.9, 10.1];
        assert_eq!(play(&[("BR", 9.0, 2)], &days, NoData::Show), "??.!!.");
        assert_eq!(play(&[("BR", 9.0, 2)], &days, NoData::Zero), "...!!.");
        // One call from there is no use.
        assert_eq!(play(&[("KE", 9.0, 1)], &days, NoData::Show), "??....");
        let many: Vec<(&str, f64, i64)> = (0..100).map(|_| ("XX", 1.0, 5)).chain([("BR", 9.0, 2)]).collect();
        assert_eq!(play(&many, &days[2..], NoData::Show), "....");
    }

    #[test]
    fn what_is_new_says_how_much_and_beside_what() {
        let judged = Rule { threshold: 0.0, ..rule() };
        let source = |name, first_ms, calls| Source { name, first_ms, calls };
        let sources = [source("DE", 0, 900), source("BR", 8 * DAY_MS, 12), source("KE", 8 * DAY_MS, 3)];
        let Observation::Breached { value, count, baseline, .. } =
            new_sources(&judged, &sources, 8 * DAY_MS, false)
        else {
            panic!("no breach")
        };
        assert_eq!((value, count, baseline), (2.0, 15, Some(1.0)));
    }

    #[test]
    fn a_jump_is_many_times_the_middle_day() {
        let judged = Rule { threshold: 10.0, min_count: 1_000, ..rule() };
        let play = |days: &[f64], today: &[i64], no_data| {
            timeline(today.iter().map(|today| {
                let (judged, days, today) = (Rule { no_data, ..judged.clone() }, days.to_vec(), *today);
                move |firing| volume_jump(&judged, &days, today, firing)
            }))
        };
        let week = [90.0, 100.0, 110.0, 100.0, 100.0, 100.0, 9_000.0];
        assert_eq!(play(&week, &[50, 999, 1_000, 1_001, 5_000, 90], NoData::Show), "...!!.");
        assert_eq!(play(&week[..6], &[5_000], NoData::Show), "?");
        assert_eq!(play(&week[..6], &[5_000], NoData::Zero), ".");
        assert_eq!(play(&[], &[0, 999, 1_000], NoData::Show), "..?");
        // Ten times next to nothing is next to nothing.
        assert_eq!(play(&[1.0; 7], &[50], NoData::Show), ".");
    }
}
