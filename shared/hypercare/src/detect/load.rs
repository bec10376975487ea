//! Rules that compare calls with each other: parts of them, and quiet times with busy ones.

use super::{Level, Observation, enough, nothing};
use crate::rule::Rule;
use crate::stats::{
    knee::knee,
    share::{compare, discoveries},
};

/// A part of all calls: those to one model, from one region, of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What they have in common, `model=gpt-5`.
    pub name: String,
    /// Bad ones.
    pub bad: i64,
    /// All of them.
    pub calls: i64,
}

/// Which segments are worse than all other calls, the worst first. The value is by how much the share of
/// bad calls is greater than among the others, the baseline is the others' share.
///
/// With many segments some always look bad: those named are, up to one in twenty, not there by chance.
pub fn worse_segments(rule: &Rule, segments: &[Segment], all: (i64, i64)) -> Vec<(String, Observation)> {
    let least = rule.min_count.max(1);
    let compared: Vec<_> = segments
        .iter()
        .filter(|segment| segment.calls >= least && segment.bad >= LEAST_BAD)
        .filter_map(|segment| {
            let others = (all.0 - segment.bad, all.1 - segment.calls);
            let found = compare((segment.bad, segment.calls), others)?;
            (others.1 >= least).then_some((segment, others, found))
        })
        .collect();
    let p: Vec<f64> = compared.iter().map(|(.., found)| found.p).collect();
    let mut worse: Vec<(String, Observation)> = compared
        .iter()
        .zip(discoveries(&p, FALSE_SHARE))
        .filter(|((.., found), is_real)| *is_real && found.difference > rule.threshold)
        .map(|((segment, others, found), _)| {
            let seen = Observation::Breached {
                value: found.difference,
                count: segment.calls,
                baseline: Some(others.0 as f64 / others.1 as f64),
                level: Level::Critical,
            };
            (segment.name.clone(), seen)
        })
        .collect();
    let value = |seen: &Observation| match seen {
        Observation::Breached { value, .. } => *value,
        _ => 0.0,
    };
    worse.sort_by(|a, b| value(&b.1).total_cmp(&value(&a.1)));
    worse
}

/// What a rule sees of one segment, given those that are worse. One that is not worse is healthy, by however much it
/// differs.
pub fn segment(
    rule: &Rule,
    worse: &[(String, Observation)],
    segment: Option<&Segment>,
    all: (i64, i64),
    firing: bool,
) -> Observation {
    let Some(segment) = segment.filter(|segment| segment.calls > 0) else { return nothing(rule, 0, firing) };
    if let Some((_, seen)) = worse.iter().find(|(name, _)| *name == segment.name) {
        return seen.clone();
    }
    let others = (all.0 - segment.bad, all.1 - segment.calls);
    match compare((segment.bad, segment.calls), others) {
        Some(found) => Observation::Healthy {
            value: found.difference,
            count: segment.calls,
            baseline: Some(others.0 as f64 / others.1 as f64),
        },
        // There are no others.
        None => nothing(rule, segment.calls, firing),
    }
}

/// One line of what an alert is associated with: a segment that fares worse than the others.
pub fn words(segment: &Segment, all: (i64, i64)) -> String {
    let Segment { name, bad, calls } = segment;
    let percent =
        |part: i64, whole: i64| format!("{} %", (part as f64 / whole as f64 * 1_000.0).round() / 10.0);
    let others = (all.0 - bad, all.1 - calls);
    format!(
        "{name}: {} of {calls} calls failed, {} of the {} others",
        percent(*bad, *calls),
        percent(others.0, others.1),
        others.1
    )
}

/// How near the load is to where things get worse. `points` are load and latency of like times; the value
/// is the share of the knee's load, the baseline is that load.
pub fn load_knee(rule: &Rule, points: &[(f64, f64)], load: f64, count: i64, firing: bool) -> Observation {
    match knee(points) {
        Some(found)
            if found.gain >= LEAST_GAIN
                && found.after >= STEEPER * found.before.max(0.0)
                && found.load > 0.0 =>
        {
            enough(rule, load / found.load, count, Some(found.load), firing)
        }
        // One line fits as well: things do not get worse with load, as far as was seen.
        Some(_) => enough(rule, 0.0, count, None, firing),
        None => nothing(rule, count, firing),
    }
}

const LEAST_BAD: i64 = 5;
const FALSE_SHARE: f64 = 0.05;
/// How much better two lines must fit than one.
const LEAST_GAIN: f64 = 0.5;
/// How much steeper the second must be.
const STEEPER: f64 = 3.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::tests::{rule, timeline};
    use crate::rule::NoData;

    #[test]
    fn a_segment_that_is_worse_is_found_among_many_that_are_not() {
        let judged = Rule { threshold: 0.01, min_count: 100, ..rule() };
        let segment = |name: &str, bad, calls| Segment { name: name.to_owned(), bad, calls };
        let mut segments: Vec<Segment> =
            (0..30).map(|at| segment(&format!("model=m{at}"), 10 + at % 7, 1_000)).collect();
        segments.push(segment("model=bad", 60, 1_000));
        segments.push(segment("region=few", 9, 20));
        segments.push(segment("region=little", 4, 150));
        let all = segments.iter().fold((0, 0), |(bad, calls), s| (bad + s.bad, calls + s.calls));
        let found = worse_segments(&judged, &segments, all);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["model=bad"]);
        let Observation::Breached { value, count, baseline, .. } = found[0].1 else { panic!("{found:?}") };
        let others = (all.0 - 60) as f64 / (all.1 - 1_000) as f64;
        assert_eq!((value, count, baseline), (0.06 - others, 1_000, Some(others)));
        // The worst comes first, and a difference too small to matter is not named however certain.
        segments.push(segment("model=worse", 90, 1_000));
        let all = (all.0 + 90, all.1 + 1_000);
        let names = |threshold| {
            let found = worse_segments(&Rule { threshold, ..judged.clone() }, &segments, all);
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(0.01), ["model=worse", "model=bad"]);
        assert_eq!(names(0.06), ["model=worse"]);
        assert!(names(0.2).is_empty());
    }

    #[test]
    fn a_load_is_near_the_knee_or_it_is_not() {
        let judged = Rule { threshold: 1.0, warning_threshold: Some(0.8), min_count: 10, ..rule() };
        let bent: Vec<(f64, f64)> = (1..=30)
            .map(|at| f64::from(at) * 10.0)
            .map(|load| (load, 200.0 + 0.1 * load + (load - 200.0).max(0.0) * 5.0))
            .collect();
        let straight: Vec<(f64, f64)> =
            bent.iter().map(|(load, _)| (*load, 200.0 + load + load % 3.0)).collect();
        let play = |points: &[(f64, f64)], loads: &[i64], count| {
            timeline(loads.iter().map(|load| {
                let (judged, points, load) = (judged.clone(), points.to_vec(), *load as f64);
                move |firing| load_knee(&judged, &points, load, count, firing)
            }))
        };
        assert_eq!(play(&bent, &[50, 150, 160, 170, 200, 210, 150], 100), "...ww!.");
        assert_eq!(play(&straight, &[50, 200, 400], 100), "...");
        assert_eq!(play(&bent[..7], &[50, 400], 100), "??");
        assert_eq!(play(&bent, &[50, 400], 9), "??");
        let zero = Rule { no_data: NoData::Zero, ..judged.clone() };
        assert_eq!(timeline([move |firing| load_knee(&zero, &[], 400.0, 100, firing)]), ".");
    }
}
