//! Who tries to get in, and who got in from where nobody expected.

use std::collections::{BTreeMap, BTreeSet};

use super::{Observation, enough, judge, nothing};
use crate::rule::Rule;
use crate::stats::median;

/// Refusals with a 401 or 403 in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied<'a> {
    /// Where from: a network, or a country.
    pub source: &'a str,
    /// What was tried: the beginning of a key, a route.
    pub target: &'a str,
    /// How often.
    pub count: i64,
}

/// The sources that were refused more often than the threshold. The value is how often.
pub fn bursts(rule: &Rule, denied: &[Denied<'_>]) -> Vec<(String, Observation)> {
    let mut sources = BTreeMap::<&str, i64>::new();
    for one in denied {
        *sources.entry(one.source).or_default() += one.count;
    }
    let seen =
        sources.into_iter().map(|(source, count)| (source, enough(rule, count as f64, count, None, false)));
    breached(seen)
}

/// The sources that tried more different targets than the threshold, however rarely each. The value is how
/// many.
pub fn sprays(rule: &Rule, denied: &[Denied<'_>]) -> Vec<(String, Observation)> {
    let mut sources = BTreeMap::<&str, (BTreeSet<&str>, i64)>::new();
    for one in denied {
        let (targets, count) = sources.entry(one.source).or_default();
        targets.insert(one.target);
        *count += one.count;
    }
    let seen = sources
        .into_iter()
        .map(|(source, (targets, count))| (source, enough(rule, targets.len() as f64, count, None, false)));
    breached(seen)
}

/// The sources a key was used from that it was not used from before. A key must have been known for
/// `WARM_UP_DAYS`, or every source of it is new. The value is the calls from there, the baseline is how
/// many sources were known.
pub fn new_sources(
    rule: &Rule,
    known: &BTreeSet<&str>,
    known_days: i64,
    seen: &[(&str, i64)],
) -> Vec<(String, Observation)> {
    if known_days < WARM_UP_DAYS {
        return Vec::new();
    }
    let baseline = Some(known.len() as f64);
    let new = seen.iter().filter(|(source, _)| !known.contains(source));
    breached(new.map(|(source, count)| (*source, enough(rule, *count as f64, *count, baseline, false))))
}

/// How many times as much a key is used as on its middle day; the baseline is that day. Days without use
/// are not among `days`.
pub fn volume_jump(rule: &Rule, days: &[f64], today: i64, firing: bool) -> Observation {
    let mut days = days.to_vec();
    let is_known = days.len() as i64 >= WARM_UP_DAYS;
    match median(&mut days).filter(|usual| is_known && *usual > 0.0) {
        Some(usual) if today >= rule.min_count => {
            judge(rule, today as f64 / usual, today, Some(usual), firing)
        }
        // Little use is known well enough to be no jump.
        Some(usual) => judge(rule, 0.0, today, Some(usual), firing),
        None => nothing(rule, today, firing),
    }
}

fn breached<'a>(seen: impl Iterator<Item = (&'a str, Observation)>) -> Vec<(String, Observation)> {
    seen.filter(|(_, seen)| matches!(seen, Observation::Breached { .. }))
        .map(|(source, seen)| (source.to_owned(), seen))
        .collect()
}

const WARM_UP_DAYS: i64 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::tests::{rule, timeline};
    use crate::rule::NoData;

    fn denied(text: &'static str) -> Vec<Denied<'static>> {
        let one = |part: &'static str| {
            let [source, target, count] = part.split(' ').collect::<Vec<_>>()[..] else { panic!("{part}") };
            Denied { source, target, count: count.parse().unwrap() }
        };
        text.split(", ").map(one).collect()
    }

    fn names(found: &[(String, Observation)]) -> Vec<&str> {
        found.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_burst_is_many_refusals_of_one_source_and_a_spray_many_targets() {
        let judged = Rule { threshold: 10.0, ..rule() };
        let seen = denied("AS1 hg_a 8, AS1 hg_b 3, AS2 hg_a 10, AS3 hg_a 1");
        assert_eq!(names(&bursts(&judged, &seen)), ["AS1"]);
        let few = Rule { threshold: 1.0, ..judged.clone() };
        assert_eq!(names(&sprays(&few, &seen)), ["AS1"]);
        assert!(sprays(&judged, &seen).is_empty());
        let Observation::Breached { value, count, .. } = sprays(&few, &seen)[0].1 else {
            panic!("no breach")
        };
        assert_eq!((value, count), (2.0, 11));
        assert!(bursts(&judged, &[]).is_empty());
        assert!(names(&bursts(&Rule { min_count: 12, ..judged }, &seen)).is_empty());
    }

    #[test]
    fn a_source_is_new_for_a_key_that_was_known_for_a_week() {
        let judged = Rule { threshold: 0.0, min_count: 2, ..rule() };
        let known = BTreeSet::from(["DE", "FR"]);
        let seen = [("DE", 100), ("BR", 2), ("KE", 1)];
        assert_eq!(names(&new_sources(&judged, &known, 7, &seen)), ["BR"]);
        assert!(new_sources(&judged, &known, 6, &seen).is_empty());
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
        // Ten times next to nothing is next to nothing.
        assert_eq!(play(&[1.0; 7], &[50], NoData::Show), ".");
    }
}
