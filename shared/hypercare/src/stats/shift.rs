//! A small shift that stays: the cumulative sum of what exceeds half a standard deviation (CUSUM). One
//! wild value counts for a few, a small shift adds up.

use serde::{Deserialize, Serialize};

/// The two sums, in standard deviations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    /// Of what lies above.
    pub high: f64,
    /// Of what lies below.
    pub low: f64,
}

impl Cusum {
    /// The sums with one more value, of which `mean` and `deviation` are known from before.
    pub fn with(self, value: f64, mean: f64, deviation: f64) -> Cusum {
        let z = (value - mean) / deviation;
        Cusum { high: (self.high + z - SLACK).max(0.0), low: (self.low - z - SLACK).max(0.0) }
    }

    /// The sums over values, from zero.
    pub fn over(values: impl IntoIterator<Item = f64>, mean: f64, deviation: f64) -> Cusum {
        values.into_iter().fold(Cusum::default(), |sums, value| sums.with(value, mean, deviation))
    }

    /// The greater sum. Five is where it is usual to speak of a shift.
    pub fn worst(self) -> f64 {
        self.high.max(self.low)
    }
}

/// Half the shift that is found soonest, one standard deviation.
const SLACK: f64 = 0.5;
