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

/// What is usual at an hour, given the hours before it, the oldest first; an hour without a value is none.
///
/// The median is that of the same hour in the seasons before. These are few, so how far values lie from
/// their medians is taken from the hours next to it as well.
pub fn usual_at(hours: &[Option<f64>], floor: Floor) -> Option<(Season, Usual)> {
    let first = hours.iter().position(Option::is_some).unwrap_or(hours.len());
    let history = &hours[first..];
    let season = Season::of(history.len());
    let width = season.hours();
    // How many hours after a season began: that of the hour itself, of the one before, of the one after.
    let mut phases = vec![0, 1 % width, (width - 1) % width];
    phases.dedup();
    let mut middle = None;
    let mut distances = Vec::new();
    for phase in phases {
        let ago = (1..=history.len()).rev();
        let values = history.iter().zip(ago).filter(|(_, ago)| ago % width == phase);
        let mut values: Vec<f64> = values.filter_map(|(value, _)| *value).collect();
        let of_phase = median(&mut values);
        if phase == 0 {
            middle = of_phase;
        }
        let of_phase = of_phase.unwrap_or_default();
        distances.extend(values.into_iter().map(|value| (value - of_phase).abs()));
    }
    let (middle, spread) = (middle?, NORMAL * median(&mut distances)?);
    let floor = floor.absolute.max(floor.relative * middle.abs());
    Some((season, Usual { median: middle, spread: spread.max(floor), count: distances.len() }))
}

/// By this much the median distance of normal values falls short of their standard deviation.
const NORMAL: f64 = 1.482_602_218_505_602;

const TWO_WEEKS: usize = 336;
const THREE_DAYS: usize = 72;
