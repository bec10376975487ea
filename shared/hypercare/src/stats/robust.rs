//! What is usual at this hour, and how unusual a value is. The median and the median distance from it
//! stay where they are however wild a few hours were.

use super::median;

/// What is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// The median.
    pub median: f64,
    /// What a standard deviation would be if the values were normal, at least the floor.
    pub spread: f64,
    /// How many values this was taken from.
    pub count: usize,
}

/// The least spread there is: without it a value that never moved would alarm at the first tremor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// In the unit of the values.
    pub absolute: f64,
    /// As a share of the median.
    pub relative: f64,
}

/// What these values say is usual. Sorts them, and moves them.
pub fn usual(values: &mut [f64], floor: Floor) -> Option<Usual> {
    let middle = median(values)?;
    for value in values.iter_mut() {
        *value = (*value - middle).abs();
    }
    let spread = NORMAL * median(values)?;
    let floor = floor.absolute.max(floor.relative * middle.abs());
    Some(Usual { median: middle, spread: spread.max(floor), count: values.len() })
}

impl Usual {
    /// How many spreads above the median a value lies; below it is less than zero.
    pub fn score(&self, value: f64) -> f64 {
        if self.spread > 0.0 {
            (value - self.median) / self.spread
        } else if value == self.median {
            0.0
        } else {
            f64::INFINITY.copysign(value - self.median)
        }
    }
}

/// With which hours an hour is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Season {
    /// All there are.
    All,
    /// Those about the same time of day.
    Day,
    /// Those about the same time of the week.
    Week,
}

impl Season {
    /// The season a history of so many hours shows more than once.
    pub fn of(hours: usize) -> Season {
        match hours {
            TWO_WEEKS.. => Season::Week,
            THREE_DAYS.. => Season::Day,
            _ => Season::All,
        }
    }

    fn hours(self) -> usize {
        match self {
            Season::All => 1,
            Season::Day => 24,
            Season::Week => 168,
        }
    }
}

/// The values to compare an hour with: those of the same hour in the seasons before, and of the hours
/// next to it. `hours` are the hours before, the oldest first; an hour without a value is none.
pub fn comparable(hours: &[Option<f64>]) -> (Season, Vec<f64>) {
    let first = hours.iter().position(Option::is_some).unwrap_or(hours.len());
    let history = &hours[first..];
    let season = Season::of(history.len());
    let width = season.hours();
    let is_near = |ago: usize| width == 1 || (ago + 1) % width <= 2;
    let ago = (1..=history.len()).rev();
    let values = history.iter().zip(ago).filter(|(_, ago)| is_near(*ago));
    (season, values.filter_map(|(value, _)| *value).collect())
}

/// By this much the median distance of normal values falls short of their standard deviation.
const NORMAL: f64 = 1.482_602_218_505_602;

const TWO_WEEKS: usize = 336;
const THREE_DAYS: usize = 72;
