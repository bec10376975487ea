//! When a known error has become a surge: the limit Sentry uses to call an issue escalating, from the
//! hourly counts of a week. A steady error may multiply less than one that came in bursts before.

use super::{deviation, mean};

/// The count an hour must exceed. `counts` are the hours before it, the oldest first, `first_hour` is
/// the oldest in hours since the epoch and `hour` the one judged. An error known for less than a week
/// must exceed ten times its worst hour. Without any count before there is no limit.
pub fn limit(first_hour: i64, counts: &[f64], hour: i64) -> Option<f64> {
    let most = counts.iter().copied().fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    if counts.len() < WEEK {
        return Some(10.0 * most);
    }
    let (mean, deviation) = (mean(counts)?, deviation(counts)?);
    let bursts = most * (5.0 * (-0.65 * deviation / mean).exp()).clamp(2.0, 5.0);
    let times = ((mean + 5.0 * deviation) / mean).clamp(5.0, 8.0);
    // The same day of the week counts twice.
    let is_same_day = |at: i64| (at.div_euclid(24) - hour.div_euclid(24)).rem_euclid(7) == 0;
    let weights = (first_hour..).take(counts.len()).map(|at| if is_same_day(at) { 2.0 } else { 1.0 });
    let (sum, weight) = counts
        .iter()
        .zip(weights)
        .fold((0.0, 0.0), |(sum, all), (count, weight)| (sum + count * weight, all + weight));
    Some((sum / weight + times * mean).max(bursts).floor())
}

/// Hours.
pub const WEEK: usize = 168;
