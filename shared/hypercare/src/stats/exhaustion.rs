//! When something that grows will be used up: a straight line by least squares, and how far its slope
//! is known.

use super::normal;

/// When a limit is reached, in the unit of the points' times, counted from the newest point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exhaustion {
    /// At the slope there is.
    pub expected: f64,
    /// At the steepest slope that 95 in 100 samples would allow.
    pub earliest: f64,
    /// At the flattest; none if that would never reach it.
    pub latest: Option<f64>,
    /// The slope.
    pub slope: f64,
}

/// When the line through points of time and use reaches `limit`; none if it does not rise, and if there
/// are fewer than six points. What is past its limit is used up now.
pub fn exhaustion(points: &[(f64, f64)], limit: f64) -> Option<Exhaustion> {
    let n = points.len() as f64;
    let error_of_slope = normal::student_95(points.len().checked_sub(2)?)?;
    let newest = points.iter().map(|(x, _)| *x).fold(f64::NEG_INFINITY, f64::max);
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let xx: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let xy: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let slope = xy / xx;
    if slope.is_nan() || slope <= 0.0 {
        return None;
    }
    let left: f64 = points.iter().map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum();
    let margin = error_of_slope * (left / (n - 2.0) / xx).sqrt();
    let at = |slope: f64| ((limit - mean_y) / slope + mean_x - newest).max(0.0);
    let latest = (slope > margin).then(|| at(slope - margin));
    Some(Exhaustion { expected: at(slope), earliest: at(slope + margin), latest, slope })
}
