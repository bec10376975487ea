//! Durations as counts in buckets that grow by a fixed ratio (the idea of DDSketch).
//!
//! Bucket `i` holds the values in `(γ^(i-1), γ^i]` milliseconds, so any quantile is known to within two
//! per cent of itself. Merging adds counts: exact, and in any order the same, which is why a rollup may
//! be computed again from any grain below it. Bucket 0 holds everything up to a millisecond, the last
//! bucket everything from about an hour.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The bucket of the longest durations, `LONGEST_MS` and above.
pub const MAX_BUCKET: u16 = 378;

/// The bucket a duration is counted in. Negative durations, which only a clock set back can give, count
/// as none at all.
pub fn bucket(ms: i64) -> u16 {
    if ms <= 1 {
        return 0;
    }
    // At most MAX_BUCKET, as the logarithm of the longest duration is.
    ((ms.min(LONGEST_MS) as f64).ln() / gamma().ln()).ceil() as u16
}

/// The longest duration counted in this bucket, in milliseconds: `le` to Prometheus.
pub fn bound_ms(bucket: u16) -> f64 {
    gamma().powi(i32::from(bucket))
}

/// How many durations fell in each bucket. Buckets without any are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: BTreeMap<u16, u64>,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, ms: i64) {
        self.add(bucket(ms), 1);
    }

    /// Counts durations whose bucket is known. What lies beyond the last bucket is counted in it.
    pub fn add(&mut self, bucket: u16, count: u64) {
        if count > 0 {
            let sum = self.counts.entry(bucket.min(MAX_BUCKET)).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Counts everything the other histogram counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (bucket, count) in other.buckets() {
            self.add(bucket, count);
        }
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The buckets that hold something, from the shortest durations up.
    pub fn buckets(&self) -> impl Iterator<Item = (u16, u64)> {
        self.counts.iter().map(|(bucket, count)| (*bucket, *count))
    }

    /// The duration in milliseconds below which the share `q` of all durations lies, within two per cent;
    /// none if nothing was counted. Durations of less than a millisecond read as one.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = (q.clamp(0.0, 1.0) * self.count().checked_sub(1)? as f64) as u64;
        let mut below = 0_u64;
        let at = self.buckets().find(|(_, count)| {
            below = below.saturating_add(*count);
            below > rank
        });
        // Rounding a rank beyond 2^53 can overshoot the last value.
        let (bucket, _) = at.or_else(|| self.buckets().last())?;
        // The point with the same relative error to either end of the bucket.
        Some(if bucket == 0 { 1.0 } else { bound_ms(bucket) * 2.0 / (gamma() + 1.0) })
    }

    /// As stored: an object from bucket to count, `{"57":3}`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers always have a JSON form")
    }

    /// The histogram stored so. A bucket out of range, named twice or without a count is an error: what
    /// was not written by us is not counted.
    pub fn from_json(json: &str) -> Result<Histogram, HistogramError> {
        Ok(serde_json::from_str(json)?)
    }
}

/// A stored histogram that cannot be one.
#[derive(Debug, thiserror::Error)]
#[error("a stored histogram cannot be read")]
pub struct HistogramError(#[from] serde_json::Error);

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.counts)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Histogram, D::Error> {
        deserializer.deserialize_map(Counts)
    }
}

struct Counts;

impl<'de> Visitor<'de> for Counts {
    type Value = Histogram;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object from bucket to count")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Histogram, A::Error> {
        let mut counts = BTreeMap::new();
        while let Some((name, count)) = map.next_entry::<String, u64>()? {
            let bucket =
                name.parse().ok().filter(|bucket: &u16| *bucket <= MAX_BUCKET && bucket.to_string() == name);
            match (bucket.map(|bucket| counts.entry(bucket)), count) {
                (Some(Entry::Vacant(entry)), 1..) => entry.insert(count),
                _ => return Err(A::Error::custom(format!("bucket {name:?} cannot hold {count}"))),
            };
        }
        Ok(Histogram { counts })
    }
}

/// The ratio between neighbouring bounds that keeps the error at `ALPHA`.
fn gamma() -> f64 {
    (1.0 + ALPHA) / (1.0 - ALPHA)
}

const ALPHA: f64 = 0.02;
const LONGEST_MS: i64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_within_the_bounds_of_its_bucket() {
        for ms in 2..=LONGEST_MS {
            let bucket = bucket(ms);
            assert!(bound_ms(bucket - 1) < ms as f64 && ms as f64 <= bound_ms(bucket), "{ms} in {bucket}");
        }
    }

    // Logarithms may differ in the last bit between hosts, and a bucket must not.
    #[test]
    fn no_duration_is_so_near_a_bound_that_hosts_could_disagree() {
        let nearest = (2..=LONGEST_MS)
            .map(|ms| (ms as f64).ln() / gamma().ln())
            .map(|exact| (exact - exact.round()).abs())
            .fold(f64::MAX, f64::min);
        assert!(nearest > 1e-9, "{nearest}");
    }

    #[test]
    fn durations_at_the_ends_fall_in_the_outer_buckets() {
        let buckets = [i64::MIN, -1, 0, 1, 2, LONGEST_MS, i64::MAX].map(bucket);
        assert_eq!(buckets, [0, 0, 0, 0, 18, MAX_BUCKET, MAX_BUCKET]);
    }

    #[test]
    fn quantiles_lie_within_two_per_cent_of_the_exact_ones() {
        for shape in [uniform, heavy_tail, two_humps] {
            for size in [1, 2, 10, 999, 100_000] {
                let mut values: Vec<i64> = noise(size).map(shape).collect();
                let histogram = of(&values);
                values.sort_unstable();
                for q in [0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0] {
                    let exact = values[(q * (size - 1) as f64) as usize] as f64;
                    let found = histogram.quantile(q).unwrap();
                    assert!(
                        (found - exact).abs() <= exact * 0.020_000_1,
                        "p{q} of {size}: {found}, not {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn parts_merged_in_any_way_are_within_two_per_cent_too() {
        let mut numbers = noise(200_000);
        for round in 0..200 {
            let mut next = || numbers.next().unwrap();
            let shape = [uniform, heavy_tail, two_humps][round % 3];
            let scale = 10_f64.powf(next() * 3.0);
            let size = 1 + (next() * 900.0) as usize;
            let mut values: Vec<i64> =
                (0..size).map(|_| ((shape(next()) as f64 / scale) as i64).max(1)).collect();
            let mut merged = Histogram::default();
            // Stored and read on the way, as in a rollup.
            for part in values.chunks(1 + (next() * size as f64) as usize) {
                let stored = of(part).to_json();
                merged.merge(&Histogram::from_json(&stored).unwrap());
            }
            assert_eq!(merged, of(&values));
            values.sort_unstable();
            for q in [0.5, 0.9, 0.95, 0.99, 0.999] {
                let exact = values[(q * (size - 1) as f64) as usize] as f64;
                let found = merged.quantile(q).unwrap();
                assert!((found - exact).abs() <= exact * 0.020_000_1, "p{q} of {size}: {found}, not {exact}");
            }
        }
    }

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn merging_parts_in_any_order_gives_the_whole() {
        let values: Vec<i64> = noise(3_000).map(heavy_tail).collect();
        let [a, b, c] = [&values[..10], &values[10..700], &values[700..]].map(of);
        let merged = |parts: [&Histogram; 3]| {
            let mut sum = Histogram::default();
            parts.into_iter().for_each(|part| sum.merge(part));
            sum
        };
        for order in [[&a, &b, &c], [&c, &a, &b], [&b, &c, &a], [&c, &b, &a]] {
            assert_eq!(merged(order), of(&values));
        }
        let mut nested = b.clone();
        nested.merge(&c);
        assert_eq!(merged([&a, &nested, &Histogram::default()]), of(&values));
    }

    #[test]
    fn the_stored_form_is_an_object_from_bucket_to_count() {
        let histogram = of(&[9, 9, 9, 0, 500]);
        assert_eq!(histogram.to_json(), r#"{"0":1,"55":3,"156":1}"#);
        assert_eq!(Histogram::from_json(&histogram.to_json()).unwrap(), histogram);
        assert_eq!(Histogram::from_json("{}").unwrap(), Histogram::default());
    }

    #[test]
    fn anything_else_is_not_a_histogram() {
        for json in [
            "",
            "[]",
            "null",
            r#"{"57":3"#,
            r#"{"57":3}x"#,
            r#"{"57":"3"}"#,
            r#"{"57":3.5}"#,
            r#"{"57":-3}"#,
            r#"{"57":0}"#,
            r#"{"57":null}"#,
            r#"{"57":1,"57":2}"#,
            r#"{"057":1}"#,
            r#"{"+57":1}"#,
            r#"{"-1":1}"#,
            r#"{"379":1}"#,
            r#"{"99999":1}"#,
            r#"{"":1}"#,
        ] {
            assert!(Histogram::from_json(json).is_err(), "{json}");
        }
    }

    fn of(values: &[i64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|ms| histogram.record(*ms));
        histogram
    }

    /// Numbers from 0 to 1, the same in every run (a linear congruential generator).
    fn noise(size: usize) -> impl Iterator<Item = f64> {
        let mut state = 42_u64;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        })
        .take(size)
    }

    fn uniform(x: f64) -> i64 {
        1 + (x * 2_000.0) as i64
    }

    fn heavy_tail(x: f64) -> i64 {
        ((20.0 / (1.0 - x).powf(0.8)) as i64).min(LONGEST_MS)
    }

    fn two_humps(x: f64) -> i64 {
        if x < 0.7 { 30 + (x * 50.0) as i64 } else { 8_000 + (x * 60_000.0) as i64 }
    }
}
