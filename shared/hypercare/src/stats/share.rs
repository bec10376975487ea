//! Shares of calls: whether two differ, how far one is known, and which of many differences are real.

use super::normal;

/// How two shares differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The first share less the second.
    pub difference: f64,
    /// The same in its standard errors, if both were one.
    pub z: f64,
    /// How likely equal shares are to look at least this different.
    pub p: f64,
}

/// Compares `a.0` of `a.1` with `b.0` of `b.1`.
pub fn compare(a: (i64, i64), b: (i64, i64)) -> Option<Difference> {
    if a.1 <= 0 || b.1 <= 0 {
        return None;
    }
    let [part_a, all_a, part_b, all_b] = [a.0, a.1, b.0, b.1].map(|count| count as f64);
    let difference = part_a / all_a - part_b / all_b;
    let pooled = (part_a + part_b) / (all_a + all_b);
    let variance = pooled * (1.0 - pooled) * (1.0 / all_a + 1.0 / all_b);
    let z = if variance > 0.0 { difference / variance.sqrt() } else { 0.0 };
    Some(Difference { difference, z, p: normal::two_sided(z) })
}

/// Which of these probabilities to believe, so that of those believed at most the share `q` is chance
/// (Benjamini and Hochberg).
pub fn discoveries(p: &[f64], q: f64) -> Vec<bool> {
    let mut sorted = p.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let step = q / p.len().max(1) as f64;
    let limit = sorted.iter().enumerate().rev().find(|(rank, p)| **p <= step * (rank + 1) as f64);
    p.iter().map(|p| limit.is_some_and(|(_, limit)| p <= limit)).collect()
}

/// Between which shares the true one lies in 95 of 100 cases (Wilson), given `part` of `all`.
pub fn interval(part: i64, all: i64) -> Option<(f64, f64)> {
    if all <= 0 {
        return None;
    }
    let (n, share, z) = (all as f64, part as f64 / all as f64, normal::Z_95);
    let middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    Some(((middle - half).max(0.0), (middle + half).min(1.0)))
}
