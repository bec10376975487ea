//! How far a distribution has moved: the population stability index. From 0.1 on people look, from 0.25
//! on they act; with many values any test would call any difference significant.

use crate::histogram::Histogram;

/// The index of counts in the same bins; none if either side counted nothing. A bin without a count
/// counts for one in ten thousand.
pub fn psi(before: &[f64], now: &[f64]) -> Option<f64> {
    let (total_before, total_now): (f64, f64) = (before.iter().sum(), now.iter().sum());
    if total_before <= 0.0 || total_now <= 0.0 {
        return None;
    }
    let share = |count: f64, total: f64| if count > 0.0 { count / total } else { EMPTY };
    let bins = before.iter().zip(now).map(|(b, n)| (share(*b, total_before), share(*n, total_now)));
    Some(bins.map(|(before, now)| (now - before) * (now / before).ln()).sum())
}

/// Both histograms in at most `bins` bins that are as full as each other before.
pub fn binned(before: &Histogram, now: &Histogram, bins: usize) -> (Vec<f64>, Vec<f64>) {
    let full = before.count() as f64 / bins.max(1) as f64;
    let mut counts_before = Vec::with_capacity(bins);
    let mut uppers: Vec<u16> = Vec::with_capacity(bins);
    let mut filling = 0.0;
    for (bucket, count) in before.buckets() {
        filling += count as f64;
        if filling >= full {
            counts_before.push(filling);
            uppers.push(bucket);
            filling = 0.0;
        }
    }
    // What is left over belongs to the last bin, and so does what lies above all that was seen before.
    match counts_before.last_mut() {
        Some(last) if filling < full / 2.0 => {
            *last += filling;
            uppers.pop();
        }
        _ => counts_before.push(filling),
    }
    let mut counts_now = vec![0.0; counts_before.len()];
    for (bucket, count) in now.buckets() {
        counts_now[uppers.partition_point(|upper| *upper < bucket)] += count as f64;
    }
    (counts_before, counts_now)
}

const EMPTY: f64 = 1e-4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_as_full_as_each_other_before() {
        let histogram = |buckets: &[(u16, u64)]| {
            let mut histogram = Histogram::default();
            for (bucket, count) in buckets {
                histogram.add(*bucket, *count);
            }
            histogram
        };
        let before = histogram(&[(10, 3), (11, 2), (12, 5), (13, 4), (14, 5), (15, 1)]);
        let now = histogram(&[(5, 1), (11, 1), (12, 7), (15, 2), (90, 3)]);
        // What was seen before comes in bins of five and more, the last one with what is left over.
        assert_eq!(binned(&before, &now, 4), (vec![5.0, 5.0, 10.0], vec![2.0, 7.0, 5.0]));
        let half = histogram(&[(10, 5), (11, 5), (12, 5), (13, 5), (14, 4)]);
        assert_eq!(binned(&half, &now, 5).0, [5.0, 5.0, 5.0, 5.0, 4.0]);
        assert_eq!(binned(&Histogram::default(), &now, 4), (vec![0.0], vec![14.0]));
    }
}
