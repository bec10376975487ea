//! Whether values go up or down, how fast, and when they would get somewhere: Mann and Kendall's test,
//! and the median slope of Theil and Sen, which one wild day does not turn.

use super::{median, normal};

/// Where values go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Pairs that go up less pairs that go down.
    pub s: i64,
    /// `s` in its standard deviations, one pair nearer to zero.
    pub z: f64,
    /// How likely values without a trend are to look at least like this.
    pub p: f64,
    /// The median slope.
    pub slope: f64,
    /// Where the line of that slope through the medians starts.
    pub intercept: f64,
}

/// The trend of points in order of time; it takes three.
pub fn trend(points: &[(f64, f64)]) -> Option<Trend> {
    let n = points.len();
    if n < 3 {
        return None;
    }
    let mut s = 0;
    let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
    for (at, (x, y)) in points.iter().enumerate() {
        for (later_x, later_y) in &points[at + 1..] {
            s += i64::from(later_y > y) - i64::from(later_y < y);
            if later_x > x {
                slopes.push((later_y - y) / (later_x - x));
            }
        }
    }
    let mut ys: Vec<f64> = points.iter().map(|(_, y)| *y).collect();
    let mut xs: Vec<f64> = points.iter().map(|(x, _)| *x).collect();
    let slope = median(&mut slopes)?;
    let intercept = median(&mut ys)? - slope * median(&mut xs)?;
    let pairs = |n: usize| (n * (n - 1) * (2 * n + 5)) as f64;
    // The values are sorted now, the tied ones side by side.
    let ties: f64 = ys.chunk_by(|a, b| a == b).map(|tied| pairs(tied.len())).sum();
    let variance = (pairs(n) - ties) / 18.0;
    let z = if variance > 0.0 { (s - s.signum()) as f64 / variance.sqrt() } else { 0.0 };
    Some(Trend { s, z, p: normal::two_sided(z), slope, intercept })
}

impl Trend {
    /// How long after `x` the line reaches `limit`; never, if it goes away from it, and not again, if it
    /// is already past it.
    pub fn reaches(&self, limit: f64, x: f64) -> Option<f64> {
        let wait = (limit - self.intercept) / self.slope - x;
        (wait.is_finite() && wait >= 0.0).then_some(wait)
    }
}
