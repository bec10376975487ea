//! What will happen on a day that can be named: something is used up, withdrawn, or too old.

use super::history::{CERTAIN, NEVER_DAYS};
use super::{Observation, enough, judge, nothing};
use crate::rule::Rule;
use crate::stats::trend::trend;

/// In how many days a budget, a quota or a database is used up, by the median growth of its days if they certainly
/// grow. `points` are day and use, in order; the value is in days from the newest, the baseline is the newest use.
pub fn used_up(rule: &Rule, limit: f64, points: &[(f64, f64)], firing: bool) -> Observation {
    let count = points.len() as i64;
    let Some((_, used)) = points.last() else { return nothing(rule, 0, firing) };
    let days = if *used >= limit {
        0.0
    } else if points.len() < LEAST_POINTS {
        return nothing(rule, count, firing);
    } else {
        match trend(points) {
            Some(found) if found.p < CERTAIN && found.slope > 0.0 => {
                ((limit - used) / found.slope).min(NEVER_DAYS)
            }
            _ => NEVER_DAYS,
        }
    };
    enough(rule, days, count, Some(*used), firing)
}

/// In how many days a model or a version ends. What is not going to end is healthy.
pub fn withdrawn(rule: &Rule, ends_ms: Option<i64>, now_ms: i64, calls: i64, firing: bool) -> Observation {
    let days = ends_ms.map_or(NEVER_DAYS, |ends_ms| (ends_ms - now_ms) as f64 / DAY_MS);
    enough(rule, days.clamp(-NEVER_DAYS, NEVER_DAYS), calls, None, firing)
}

/// How many days old something is that should be renewed: the price table, a certificate's issue.
pub fn age(rule: &Rule, dated_ms: i64, now_ms: i64, firing: bool) -> Observation {
    judge(rule, (now_ms - dated_ms) as f64 / DAY_MS, 0, None, firing)
}

const DAY_MS: f64 = 86_400_000.0;
const LEAST_POINTS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::tests::{rule, timeline};
    use crate::rule::{NoData, Side};

    fn days_left() -> Rule {
        Rule { side: Side::Below, threshold: 7.0, warning_threshold: Some(30.0), ..rule() }
    }

    #[test]
    fn what_grows_is_used_up_some_day() {
        let play = |used: Vec<f64>, no_data| {
            let points: Vec<(f64, f64)> = (0..).map(f64::from).zip(used).collect();
            timeline((0..=points.len()).map(|to| {
                let (judged, points) = (Rule { no_data, ..days_left() }, points[..to].to_vec());
                move |firing| used_up(&judged, 100.0, &points, firing)
            }))
        };
        let grows = (0..60).map(|day| f64::from(day) * 2.0).collect::<Vec<_>>();
        // Two a day: a month before the hundredth, a week before, and after.
        assert_eq!(
            play(grows.clone(), NoData::Show),
            format!("??????{}{}{}", ".".repeat(16), "w".repeat(23), "!".repeat(16))
        );
        assert_eq!(play(vec![40.0; 10], NoData::Show), "??????.....");
        // Up and down is no growth.
        assert_eq!(
            play((0..12).map(|day| f64::from(day % 3) + 40.0).collect(), NoData::Show),
            "??????......."
        );
        assert_eq!(play(vec![200.0], NoData::Show), "?!");
        assert_eq!(play(grows[..3].to_vec(), NoData::Zero), "!!!!");
    }

    #[test]
    fn what_ends_soon_is_told_ahead_if_anybody_uses_it() {
        let seen = |days: Option<i64>, calls| {
            let ends_ms = days.map(|days| days * 86_400_000);
            timeline([move |firing| withdrawn(&days_left(), ends_ms, 0, calls, firing)])
        };
        let told = [Some(31), Some(29), Some(6), Some(-3), None].map(|days| seen(days, 10));
        assert_eq!(told.concat(), ".w!!.");
        assert_eq!(seen(Some(6), 0), "?");
    }

    #[test]
    fn what_is_old_is_told_from_an_age_on() {
        let judged = Rule { threshold: 180.0, warning_threshold: Some(90.0), ..rule() };
        let play = timeline([10, 90, 91, 180, 181].map(|days: i64| {
            let judged = judged.clone();
            move |firing| age(&judged, 0, days * 86_400_000, firing)
        }));
        assert_eq!(play, "..ww!");
    }
}
