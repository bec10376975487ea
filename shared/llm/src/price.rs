//! What a call costs, by the providers' list prices. An unknown price is `None`, never zero.
//!
//! The table in `data/` is made by `cargo xtask prices` and searched where it lies: nothing is parsed at the start or
//! allocated at a look-up. Both files hold a line a rule, of a provider, what the model is called, and the prices:
//!
//! ```text
//! ids.txt        openai gpt-4.1 i2 o8 r0.5                          sorted; found by halving
//! patterns.txt   gemini gemini-3.6-flash* i0.75;@2027-01-01 i1.5    tried in order; * any text, # a digit, | or
//!                vertex * =gemini                                   go on with that provider
//! ```
//!
//! Prices are USD per million tokens, each behind the letter of its kind: `i` input, `o` output, `r` cache read, `w`
//! cache write, `h` cache write for an hour, `t` thinking, `a` audio in, `b` audio out; `q` is USD per request.
//! `i3/6 >200000` costs 6 once the whole input is longer than 200,000 tokens. Of segments split by `;` the last that
//! applies holds: `@` is from a day on, `~16:30-00:30` between two times of each day, all UTC. A line without prices
//! is a model known not to be sold by the token, or at several prices that usage does not tell apart.

use std::cmp::Ordering;
use std::{iter, mem};

use crate::usage::Usage;

/// The day the table was made. Kept with each cost, so that an old sum can be explained.
pub const VERSION: &str = include_str!("../data/version.txt").trim_ascii();

/// What a model costs at one moment. Public, so that a deployment can bring a price of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Price {
    /// The rates by kind of token.
    pub rates: Rates,
    /// The rates of the whole call, output too, when its input is longer than this many tokens.
    pub long_context: Option<(u64, Rates)>,
    /// A fee on top, per call.
    pub request_microusd: u64,
}

/// Millionths of a USD per million tokens. A kind without a rate of its own costs what the total it is part of costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Input that is nothing below.
    pub input: Option<u64>,
    /// Input read from a cache.
    pub cache_read: Option<u64>,
    /// Input written to a cache for five minutes; for an hour too, if that has no rate.
    pub cache_write_5m: Option<u64>,
    /// Input written to a cache for an hour.
    pub cache_write_1h: Option<u64>,
    /// Sound in the input.
    pub audio_input: Option<u64>,
    /// Output that is nothing below.
    pub output: Option<u64>,
    /// Reasoning in the output.
    pub reasoning: Option<u64>,
    /// Sound in the output.
    pub audio_output: Option<u64>,
}

/// The price of a provider's model at a time. Names are read without regard to case. `provider` is our name for it or
/// OpenTelemetry's; `model` is the provider's own name for the model.
pub fn find(provider: &str, model: &str, at_ms: i64) -> Option<Price> {
    let (mut provider_name, mut model_name, mut dashed_name) = (Name::EMPTY, Name::EMPTY, Name::EMPTY);
    let provider = provider_name.lowercase(provider)?;
    let model = model_name.lowercase(model)?;
    let prices =
        prices(provider, model).or_else(|| prices(provider, dashed_name.with_dashed_date(model)?))?;
    parse(prices, at_ms)
}

/// The models of a provider that are priced by name, sorted.
pub fn models(provider: &str) -> impl Iterator<Item = &'static str> {
    let ids = &IDS[lower_bound(IDS, |found, _| found.cmp(provider.as_bytes()))..];
    let lines = pieces(ids, b'\n').map(columns).take_while(move |(found, ..)| *found == provider.as_bytes());
    lines.filter(|(.., prices)| !prices.is_empty()).filter_map(|(_, id, _)| std::str::from_utf8(id).ok())
}

/// How many models and patterns of models the table prices.
pub fn count() -> usize {
    let lines = pieces(IDS, b'\n').chain(pieces(PATTERNS, b'\n'));
    lines.map(columns).filter(|(_, _, prices)| !matches!(prices.first(), None | Some(b'='))).count()
}

impl Price {
    /// The cost of a call, rounded half up. `None` if a kind of token was used that has no price.
    ///
    /// Cached sound is charged as cached text, since usage does not tell the two apart. Parts that are together more
    /// than their total are cut off at it.
    pub fn cost_microusd(&self, usage: &Usage) -> Option<i64> {
        let rates = match &self.long_context {
            Some((start, rates)) if usage.input_tokens > *start => rates,
            _ => &self.rates,
        };
        let input = shared_out(
            usage.input_tokens,
            rates.input,
            &[
                (usage.cache_read_input_tokens, rates.cache_read),
                (usage.cache_write_5m_input_tokens, rates.cache_write_5m),
                (usage.cache_write_1h_input_tokens, rates.cache_write_1h.or(rates.cache_write_5m)),
                (usage.audio_input_tokens, rates.audio_input),
            ],
        )?;
        let output = shared_out(
            usage.output_tokens,
            rates.output,
            &[
                (usage.reasoning_output_tokens, rates.reasoning),
                (usage.audio_output_tokens, rates.audio_output),
            ],
        )?;
        let microusd = (input + output + MILLION / 2) / MILLION + u128::from(self.request_microusd);
        i64::try_from(microusd).ok()
    }
}

/// The cost of a total, in millionths of a micro-USD: each part at its own rate, what is left at the total's.
fn shared_out(total: u64, rate: Option<u64>, parts: &[(u64, Option<u64>)]) -> Option<u128> {
    let (mut left, mut cost) = (total, 0);
    for &(tokens, rate) in parts {
        let Some(rate) = rate else { continue };
        let tokens = tokens.min(left);
        left -= tokens;
        cost += u128::from(tokens) * u128::from(rate);
    }
    if left == 0 { Some(cost) } else { Some(cost + u128::from(left) * u128::from(rate?)) }
}

/// The prices column for a model, found by its name or by the first pattern that fits.
fn prices(provider: &[u8], model: &[u8]) -> Option<&'static [u8]> {
    let ids = &IDS[lower_bound(IDS, |found, id| (found, id).cmp(&(provider, model)))..];
    let (found, id, prices) = columns(first_line(ids));
    if (found, id) == (provider, model) {
        return Some(prices);
    }

    let patterns = &PATTERNS[lower_bound(PATTERNS, |found, _| found.cmp(provider))..];
    let rules = pieces(patterns, b'\n').map(columns).take_while(|(found, ..)| *found == provider);
    for (_, globs, found) in rules {
        if !pieces(globs, b'|').any(|glob| matches(glob, model)) {
            continue;
        }
        match found.strip_prefix(b"=") {
            None => return Some(found),
            Some(next) => {
                if let Some(found) = self::prices(next, model) {
                    return Some(found);
                }
            }
        }
    }
    None
}

/// Where the first line begins that is not below what is looked for.
fn lower_bound(table: &[u8], compare: impl Fn(&[u8], &[u8]) -> Ordering) -> usize {
    let (mut low, mut high) = (0, table.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = memchr::memrchr(b'\n', &table[low..middle]).map_or(low, |at| low + at + 1);
        let line = first_line(&table[start..]);
        let (provider, id, _) = columns(line);
        if compare(provider, id) == Ordering::Less {
            low = start + line.len() + 1;
        } else {
            high = start;
        }
    }
    low
}

fn first_line(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(b'\n', text).unwrap_or(text.len())]
}

/// Provider, model and prices; the last may be empty, and itself contains spaces.
fn columns(line: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (provider, rest) = cut(line, b' ');
    let (model, prices) = cut(rest, b' ');
    (provider, model, prices)
}

fn pieces(mut text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let (piece, rest) = cut(text, separator);
        (!mem::replace(&mut text, rest).is_empty()).then_some(piece)
    })
}

fn cut(text: &[u8], separator: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(separator, text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

fn matches(glob: &[u8], model: &[u8]) -> bool {
    match glob {
        [] => model.is_empty(),
        [b'*'] => true,
        // What follows a `*` is a letter of the name, which is quick to look for.
        [b'*', letter, rest @ ..] => {
            memchr::memchr_iter(*letter, model).any(|at| matches(rest, &model[at + 1..]))
        }
        [expected, rest @ ..] => model.split_first().is_some_and(|(byte, model)| {
            (byte == expected || *expected == b'#' && byte.is_ascii_digit()) && matches(rest, model)
        }),
    }
}

/// Reads the segment that holds at a time. The first one has no condition.
fn parse(prices: &[u8], at_ms: i64) -> Option<Price> {
    let segment = prices.rsplit(|byte| *byte == b';').find(|segment| holds(segment, at_ms))?;
    let mut price = Price::default();
    let (mut start, mut long) = (None, Rates::default());
    for word in pieces(segment, b' ') {
        match word {
            [] | [b'@' | b'~', ..] => {}
            [b'>', tokens @ ..] => start = Some(whole(tokens)),
            [b'q', fee @ ..] => price.request_microusd = millionths(fee),
            [kind, rates @ ..] => {
                let (base, beyond) = cut(rates, b'/');
                *price.rates.of(*kind)? = Some(millionths(base));
                *long.of(*kind)? = Some(millionths(if beyond.is_empty() { base } else { beyond }));
            }
        }
    }
    price.long_context = start.map(|start| (start, long));
    (price.rates != Rates::default()).then_some(price)
}

impl Rates {
    fn of(&mut self, kind: u8) -> Option<&mut Option<u64>> {
        Some(match kind {
            b'i' => &mut self.input,
            b'o' => &mut self.output,
            b'r' => &mut self.cache_read,
            b'w' => &mut self.cache_write_5m,
            b'h' => &mut self.cache_write_1h,
            b't' => &mut self.reasoning,
            b'a' => &mut self.audio_input,
            b'b' => &mut self.audio_output,
            _ => return None,
        })
    }
}

/// Whether a segment's condition is met: a day it begins on, or a window of every day.
fn holds(segment: &[u8], at_ms: i64) -> bool {
    let condition = cut(segment, b' ').0;
    match condition {
        [b'@', day @ ..] => at_ms.div_euclid(DAY_MS) >= days_since_1970(day),
        [b'~', window @ ..] => {
            let (from, to) = cut(window, b'-');
            let (from, to) = (minutes(from) * MINUTE_MS, minutes(to) * MINUTE_MS);
            let now = at_ms.rem_euclid(DAY_MS);
            if from <= to { (from..to).contains(&now) } else { now >= from || now < to }
        }
        _ => true,
    }
}

/// Of `2026-03-13`. Howard Hinnant's `days_from_civil`, for years after 1600.
fn days_since_1970(date: &[u8]) -> i64 {
    let (year, rest) = cut(date, b'-');
    let (month, day) = cut(rest, b'-');
    let (month, day) = (whole(month) as i64, whole(day) as i64);
    // The year begins in March, so that the leap day is its last.
    let year = whole(year) as i64 - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// Of `16:30`.
fn minutes(time: &[u8]) -> i64 {
    let (hours, minutes) = cut(time, b':');
    (whole(hours) * 60 + whole(minutes)) as i64
}

fn whole(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// Of a decimal with at most six places.
fn millionths(decimal: &[u8]) -> u64 {
    let (units, fraction) = cut(decimal, b'.');
    whole(units) * 1_000_000 + whole(fraction) * 10_u64.pow(6 - fraction.len() as u32)
}

/// Room for a name, so that looking one up does not allocate. Longer than any name in the table, and than an ARN.
struct Name([u8; 256]);

impl Name {
    const EMPTY: Self = Self([0; 256]);

    fn lowercase(&mut self, text: &str) -> Option<&[u8]> {
        let text = text.trim().as_bytes();
        let room = self.0.get_mut(..text.len())?;
        room.copy_from_slice(text);
        room.make_ascii_lowercase();
        Some(room)
    }

    /// `…-20241120` as `…-2024-11-20`: some providers write a snapshot one way, some the other.
    fn with_dashed_date(&mut self, model: &[u8]) -> Option<&[u8]> {
        let at = (0..model.len()).find(|&at| {
            let Some(([b'-', date @ ..], rest)) = model[at..].split_at_checked(9) else { return false };
            matches(b"20######", date)
                && (1..=12).contains(&whole(&date[4..6]))
                && (1..=31).contains(&whole(&date[6..]))
                && matches!(rest, [] | [b'-' | b':', ..])
        })?;
        let (year, month) = (at + 5, at + 7);
        let mut length = 0;
        for part in [&model[..year], b"-", &model[year..month], b"-", &model[month..]] {
            self.0.get_mut(length..length + part.len())?.copy_from_slice(part);
            length += part.len();
        }
        Some(&self.0[..length])
    }
}

static IDS: &[u8] = include_bytes!("../data/ids.txt");
static PATTERNS: &[u8] = include_bytes!("../data/patterns.txt");

const MILLION: u128 = 1_000_000;
const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_holds_from_its_day_on_or_between_its_times() {
        for (segment, begins_ms, ends_ms) in [
            ("@1970-01-01 i1", 0, i64::MAX),
            ("@2000-02-29 i1", 951_782_400_000, i64::MAX),
            ("@2000-03-01 i1", 951_868_800_000, i64::MAX),
            ("@2026-02-28 i1", 1_772_236_800_000, i64::MAX),
            ("@2027-01-01 i1", 1_798_761_600_000, i64::MAX),
            ("~00:30-16:30 i1", 30 * MINUTE_MS, 990 * MINUTE_MS),
            // Over midnight.
            ("~16:30-00:30 i1", 990 * MINUTE_MS, DAY_MS + 30 * MINUTE_MS),
        ] {
            let holds = |at_ms| holds(segment.as_bytes(), at_ms);
            assert_eq!([holds(begins_ms - 1), holds(begins_ms)], [false, true], "{segment} begins");
            if ends_ms < i64::MAX {
                assert_eq!([holds(ends_ms - 1), holds(ends_ms)], [true, false], "{segment} ends");
            }
        }
        assert!(holds(b"i1", 0));
    }
}
