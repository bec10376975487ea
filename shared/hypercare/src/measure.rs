//! What can be measured of calls: any count over a window, any count by another, any quantile.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

/// What a rule measures over its window. Written as a word where it has one (`error_share`), and otherwise
/// as `cost_microusd`, `output_tokens/calls` or `p95(wait)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// In how many days the database reaches its limit, at the trend of its days.
    DatabaseDaysLeft,
    /// The share of calls that ended in an error: a 5xx, or a stream cut short.
    ErrorShare,
    /// The calls of an hour that ended in the same error.
    Faults,
    /// How many times as much a key is called in a day as on its middle day.
    KeyVolume,
    /// The number of records known to be lost. No calls are no reason to doubt a zero.
    Lost,
    /// The mean wait in milliseconds; `detect::wait_ms` says what counts as wait.
    MeanWait,
    /// In how many days the first of the models in use is switched off by its provider.
    ModelDaysLeft,
    /// How many calls were answered by a provider in a way that was not seen before.
    News,
    /// How many countries a key is called from that it was not called from before.
    NewCountries,
    /// How many networks.
    NewNetworks,
    /// How many days old the price table is.
    PriceTableAge,
    /// So many in a thousand took no longer, in milliseconds.
    Quantile(Timing, u16),
    /// One count by another.
    Ratio(Column, Column),
    /// No calls in the window, where there used to be: breached if at least the threshold's share of
    /// the `BASELINE_MINUTES` before the window had calls. Calls, and nothing else, end it.
    Silence,
    /// How many calls from one network were refused for their key or for what it may do.
    SourceDenied,
    /// How many different keys, or things a key may not do, these tried.
    SourceTargets,
    /// A count.
    Sum(Column),
}

/// What is counted of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column(u8);

/// A duration of which more is known than the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timing {
    /// How long calls lasted.
    Duration,
    /// How long their callers waited.
    Wait,
}

/// In what a measure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Days.
    Days,
    /// Millionths of a dollar, written as dollars.
    Microusd,
    /// Milliseconds.
    Milliseconds,
    /// A number without a unit.
    Plain,
    /// A share of one, written in per cent.
    Share,
    /// Usual distances from what is usual.
    Spreads,
    /// So many times something.
    Times,
}

impl Measure {
    /// Reads what `name` writes.
    pub fn parse(text: &str) -> Option<Measure> {
        if let Some((_, measure, _)) = NAMED.iter().find(|(name, ..)| *name == text) {
            return Some(*measure);
        }
        let measure = if let Some((over, under)) = text.split_once('/') {
            Measure::Ratio(Column::parse(over)?, Column::parse(under)?)
        } else if let Some(rest) = text.strip_prefix('p')
            && let Some((rank, of)) = rest.split_once('(')
        {
            let timing = Timing::parse(of.strip_suffix(')')?)?;
            let share: f64 = rank.parse().ok().filter(|share| (1.0..=99.9).contains(share))?;
            Measure::Quantile(timing, (share * 10.0).round() as u16)
        } else {
            Measure::Sum(Column::parse(text)?)
        };
        // By its word, if it has one: a measure is written in one way.
        let is_same = |named: &Measure| named.parts() == measure.parts() && measure.parts().is_some();
        Some(NAMED.iter().map(|(_, named, _)| *named).find(is_same).unwrap_or(measure))
    }

    /// As stored and sent.
    pub fn name(self) -> Cow<'static, str> {
        match (NAMED.iter().find(|(_, measure, _)| *measure == self), self) {
            (Some((name, ..)), _) => Cow::Borrowed(name),
            (None, Measure::Ratio(over, under)) => format!("{}/{}", over.name(), under.name()).into(),
            (None, Measure::Quantile(timing, rank)) => {
                format!("p{}({})", f64::from(rank) / 10.0, timing.name()).into()
            }
            (None, Measure::Sum(column)) => Cow::Borrowed(column.name()),
            (None, _) => Cow::Borrowed(""),
        }
    }

    /// In the words of a notice.
    pub fn label(self) -> Cow<'static, str> {
        match (NAMED.iter().find(|(_, measure, _)| *measure == self), self) {
            (Some((_, _, label)), _) => Cow::Borrowed(label),
            (None, Measure::Ratio(over, under)) => format!("{} by {}", over.label(), under.label()).into(),
            (None, Measure::Quantile(timing, rank)) => {
                format!("p{} {}", f64::from(rank) / 10.0, timing.name()).into()
            }
            (None, Measure::Sum(column)) => column.label().into(),
            (None, _) => Cow::Borrowed(""),
        }
    }

    /// In what it is written.
    pub fn unit(self) -> Unit {
        let of = |column: Column| match column.name() {
            name if name.ends_with("_ms") => Unit::Milliseconds,
            name if name.ends_with("_microusd") => Unit::Microusd,
            _ => Unit::Count,
        };
        match self {
            Measure::ErrorShare | Measure::Silence => Unit::Share,
            Measure::Faults
            | Measure::Lost
            | Measure::News
            | Measure::NewCountries
            | Measure::NewNetworks
            | Measure::SourceDenied
            | Measure::SourceTargets => Unit::Count,
            Measure::DatabaseDaysLeft | Measure::ModelDaysLeft | Measure::PriceTableAge => Unit::Days,
            Measure::KeyVolume => Unit::Times,
            Measure::MeanWait | Measure::Quantile(..) => Unit::Milliseconds,
            Measure::Sum(column) => of(column),
            // Of calls, or tokens, of one kind among those of all.
            Measure::Ratio(over, under) if over.is_part_of(under) => Unit::Share,
            // Less than one, as a rule.
            Measure::Ratio(Column::RETRIES, _) => Unit::Plain,
            Measure::Ratio(over, _) => of(over),
        }
    }

    /// The counts it takes; the second is what the first is divided by.
    pub fn parts(self) -> Option<(Column, Option<Column>)> {
        match self {
            Measure::ErrorShare => Some((Column::ERRORS, Some(Column::CALLS))),
            Measure::Lost => Some((Column::LOST, None)),
            Measure::MeanWait => Some((Column::WAIT_SUM_MS, Some(Column::WAIT_COUNT))),
            Measure::Ratio(over, under) => Some((over, Some(under))),
            Measure::Sum(column) => Some((column, None)),
            _ => None,
        }
    }
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl Column {
    /// All calls.
    pub const CALLS: Column = Column(0);
    /// Those that ended in an error.
    pub const ERRORS: Column = Column(1);
    /// Those whose wait is known.
    pub const WAIT_COUNT: Column = Column(2);
    /// The sum of these waits.
    pub const WAIT_SUM_MS: Column = Column(3);
    /// Records lost.
    pub const LOST: Column = Column(4);
    /// Those refused because there were too many.
    pub const RATE_LIMITED: Column = Column(7);
    /// Streamed calls.
    pub const STREAMS: Column = Column(8);
    /// Streams that ended well without saying their tokens.
    pub const WITHOUT_USAGE: Column = Column(9);
    /// What of the durations was the gateway's.
    pub const OVERHEAD_SUM_MS: Column = Column(12);
    /// Calls whose tries went to more than one target.
    pub const FALLBACKS: Column = named("fallbacks");
    /// Tries after the first.
    pub const RETRIES: Column = named("retries");
    /// Every column there is.
    pub const ALL: [Column; COLUMNS.len()] = {
        let mut all = [Column(0); COLUMNS.len()];
        let mut at = 0;
        while at < all.len() {
            all[at] = Column(at as u8);
            at += 1;
        }
        all
    };

    /// The column of this name.
    pub fn parse(name: &str) -> Option<Column> {
        Column::ALL.into_iter().find(|column| column.name() == name)
    }

    /// The column's name.
    pub fn name(self) -> &'static str {
        COLUMNS[usize::from(self.0)]
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    fn label(self) -> String {
        self.name().trim_end_matches("_ms").trim_end_matches("_microusd").replace('_', " ")
    }

    /// Whether it counts calls by how they ended.
    pub(crate) fn is_outcome(self) -> bool {
        matches!(self.name(), "aborted" | "client_errors" | "errors" | "rate_limited")
    }

    fn is_part_of(self, whole: Column) -> bool {
        let name = self.name();
        match whole.name() {
            "calls" => PARTS_OF_CALLS.contains(&name),
            "streams" => name == "without_usage",
            "input_tokens" => name.ends_with("_input_tokens"),
            "output_tokens" => name.ends_with("_output_tokens"),
            _ => false,
        }
    }
}

impl Timing {
    /// The timing of this name.
    pub fn parse(name: &str) -> Option<Timing> {
        [Timing::Duration, Timing::Wait].into_iter().find(|timing| timing.name() == name)
    }

    /// As stored and sent.
    pub fn name(self) -> &'static str {
        match self {
            Timing::Duration => "duration",
            Timing::Wait => "wait",
        }
    }
}

const fn share_of_calls(column: u8) -> Measure {
    Measure::Ratio(Column(column), Column::CALLS)
}

/// Measures that have a word, and what a notice calls them.
const NAMED: [(&str, Measure, &str); 24] = [
    ("aborted_share", share_of_calls(5), "aborted share"),
    ("calls", Measure::Sum(Column::CALLS), "calls"),
    ("client_error_share", share_of_calls(6), "4xx share"),
    ("database_days_left", Measure::DatabaseDaysLeft, "time until the database is full"),
    ("denied_share", share_of_calls(19), "401 and 403 share"),
    ("error_share", Measure::ErrorShare, "5xx share"),
    ("fallback_share", Measure::Ratio(Column::FALLBACKS, Column::CALLS), "fallback share"),
    ("fault_calls", Measure::Faults, "calls with the same error"),
    ("key_volume", Measure::KeyVolume, "calls of a day against the middle day"),
    ("lost", Measure::Lost, "call records lost"),
    ("mean_duration", share_of_calls(11), "mean duration"),
    ("mean_overhead", share_of_calls(12), "mean gateway overhead"),
    ("mean_wait", Measure::MeanWait, "mean wait"),
    ("model_days_left", Measure::ModelDaysLeft, "time until a model in use is switched off"),
    ("news", Measure::News, "calls answered in a way not seen before"),
    ("new_countries", Measure::NewCountries, "new countries"),
    ("new_networks", Measure::NewNetworks, "new networks"),
    ("price_table_age", Measure::PriceTableAge, "age of the price table"),
    ("rate_limited_share", share_of_calls(7), "429 share"),
    ("silence", Measure::Silence, "silence"),
    ("source_denied", Measure::SourceDenied, "calls refused with 401 or 403"),
    ("source_targets", Measure::SourceTargets, "different keys or models refused"),
    ("without_cost_share", share_of_calls(10), "share of calls without a price"),
    ("without_usage_share", Measure::Ratio(Column(9), Column(8)), "share of streams without usage"),
];

/// In the order of `Column`.
pub(crate) const COLUMNS: [&str; 22] = [
    "calls",
    "errors",
    "wait_count",
    "wait_sum_ms",
    "lost",
    "aborted",
    "client_errors",
    "rate_limited",
    "streams",
    "without_usage",
    "without_cost",
    "duration_sum_ms",
    "overhead_sum_ms",
    "input_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
    "cost_microusd",
    "denied",
    "fallbacks",
    "retries",
];

/// The column of this name, which there is.
const fn named(name: &str) -> Column {
    let name = name.as_bytes();
    let mut at = 0;
    while at < COLUMNS.len() {
        let column = COLUMNS[at].as_bytes();
        let mut same = 0;
        while same < name.len() && same < column.len() && name[same] == column[same] {
            same += 1;
        }
        if same == name.len() && same == column.len() {
            return Column(at as u8);
        }
        at += 1;
    }
    panic!("no such column")
}

const PARTS_OF_CALLS: [&str; 10] = [
    "aborted",
    "client_errors",
    "denied",
    "errors",
    "fallbacks",
    "rate_limited",
    "streams",
    "wait_count",
    "without_cost",
    "without_usage",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_is_written_in_one_way() {
        for (text, name, label, unit) in [
            ("error_share", "error_share", "5xx share", Unit::Share),
            ("errors/calls", "error_share", "5xx share", Unit::Share),
            ("wait_sum_ms/wait_count", "mean_wait", "mean wait", Unit::Milliseconds),
            ("mean_overhead", "mean_overhead", "mean gateway overhead", Unit::Milliseconds),
            ("without_usage/streams", "without_usage_share", "share of streams without usage", Unit::Share),
            ("lost", "lost", "call records lost", Unit::Count),
            ("silence", "silence", "silence", Unit::Share),
            ("price_table_age", "price_table_age", "age of the price table", Unit::Days),
            ("denied/calls", "denied_share", "401 and 403 share", Unit::Share),
            ("source_denied", "source_denied", "calls refused with 401 or 403", Unit::Count),
            ("key_volume", "key_volume", "calls of a day against the middle day", Unit::Times),
            ("calls", "calls", "calls", Unit::Count),
            ("cost_microusd", "cost_microusd", "cost", Unit::Microusd),
            ("cost_microusd/calls", "cost_microusd/calls", "cost by calls", Unit::Microusd),
            ("output_tokens/calls", "output_tokens/calls", "output tokens by calls", Unit::Count),
            (
                "cache_read_input_tokens/input_tokens",
                "cache_read_input_tokens/input_tokens",
                "cache read input tokens by input tokens",
                Unit::Share,
            ),
            ("fallbacks/calls", "fallback_share", "fallback share", Unit::Share),
            ("retries/calls", "retries/calls", "retries by calls", Unit::Plain),
            ("fault_calls", "fault_calls", "calls with the same error", Unit::Count),
            ("news", "news", "calls answered in a way not seen before", Unit::Count),
            ("p95(wait)", "p95(wait)", "p95 wait", Unit::Milliseconds),
            ("p99.9(duration)", "p99.9(duration)", "p99.9 duration", Unit::Milliseconds),
        ] {
            let measure = Measure::parse(text).unwrap();
            assert_eq!((&*measure.name(), &*measure.label(), measure.unit()), (name, label, unit), "{text}");
            assert_eq!(Measure::parse(&measure.name()), Some(measure));
        }
        for wrong in
            ["", "error", "errors/", "/calls", "p0(wait)", "p100(wait)", "p95(lost)", "p95(wait", "pwait"]
        {
            assert_eq!(Measure::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_column_reads_back_and_the_named_ones_are_where_they_belong() {
        for column in Column::ALL {
            assert_eq!(Column::parse(column.name()), Some(column));
        }
        let named = [Column::CALLS, Column::ERRORS, Column::WAIT_COUNT, Column::WAIT_SUM_MS, Column::LOST]
            .map(Column::name);
        assert_eq!(named, ["calls", "errors", "wait_count", "wait_sum_ms", "lost"]);
        let (over, under) = Measure::parse("mean_overhead").unwrap().parts().unwrap();
        assert_eq!((over.name(), under.map(Column::name)), ("overhead_sum_ms", Some("calls")));
        let (over, _) = Measure::parse("mean_duration").unwrap().parts().unwrap();
        assert_eq!(over.name(), "duration_sum_ms");
        let (over, _) = Measure::parse("denied_share").unwrap().parts().unwrap();
        assert_eq!(over.name(), "denied");
    }
}
