//! Statistics that fit a scheduled job: a few numbers in, a few numbers out.
//!
//! `tests/statistics_oracle.py` computes the same with SciPy, statsmodels and pymannkendall; what it wrote is
//! what `tests/statistics.rs` compares with.

pub mod burn;
pub mod drift;
pub mod exhaustion;
pub mod knee;
pub mod normal;
pub mod robust;
pub mod share;
pub mod shift;
pub mod surge;
pub mod trend;

/// The value in the middle; between the two in the middle of an even number. Sorts the values.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values.get(middle).copied(),
        _ => Some((values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0),
    }
}

/// The mean.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation of a sample; it takes two values to have one.
pub fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}
