//! The load from which on things get worse: two straight lines that meet, fitted by least squares.

/// Where the lines meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knee {
    /// The load at which they do.
    pub load: f64,
    /// The slope before.
    pub before: f64,
    /// The slope after.
    pub after: f64,
    /// How much of what one line leaves unexplained two lines explain.
    pub gain: f64,
}

/// The knee of points of load and value, in any order, if two lines fit them at all; it takes
/// `LEAST_POINTS`. The load of each but the two lowest and the two highest points is tried.
pub fn knee(points: &[(f64, f64)]) -> Option<Knee> {
    if points.len() < LEAST_POINTS {
        return None;
    }
    let mut points = points.to_vec();
    points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let n = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let sum = |term: &dyn Fn(f64, f64) -> f64| {
        points.iter().map(|(x, y)| term(x - mean_x, y - mean_y)).sum::<f64>()
    };
    let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
    let unexplained = yy - xy * xy / xx;
    let mut best: Option<Knee> = None;
    for (load, _) in &points[2..points.len() - 2] {
        let beyond = |x: f64| (x + mean_x - load).max(0.0);
        let mean_h = sum(&|x, _| beyond(x)) / n;
        let (hh, hx, hy) = (
            sum(&|x, _| (beyond(x) - mean_h).powi(2)),
            sum(&|x, _| (beyond(x) - mean_h) * x),
            sum(&|x, y| (beyond(x) - mean_h) * y),
        );
        let determinant = xx * hh - hx * hx;
        let before = (xy * hh - hy * hx) / determinant;
        let bend = (hy * xx - xy * hx) / determinant;
        let left = yy - before * xy - bend * hy;
        let gain = 1.0 - left / unexplained;
        // Not a number where all loads are one, or where a line already goes through every point.
        if gain.is_finite() && best.is_none_or(|best| gain > best.gain) {
            best = Some(Knee { load: *load, before, after: before + bend, gain });
        }
    }
    best
}

/// Fewer points fit any two lines.
pub const LEAST_POINTS: usize = 8;
