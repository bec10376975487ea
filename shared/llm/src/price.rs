//! What a call costs, by the providers' list prices. An unknown price is `None`, never zero.
//!
//! `cargo xtask prices` makes the table, in two forms that say the same. `data/prices.txt` is to be read: a line a rule,
//! of a provider, what the model is called, and the prices. By provider come first the whole names, sorted, then the
//! patterns, tried in order.
//!
//! ```text
//! openai gpt-4.1 i2 o8 r0.5 s10000 k2500 %b0.5 %p1.75
//! gemini gemini-3.6-flash* i0.75 o3.75;@2027-01-01 i1.5 o7.5     * any text, # a digit, | or
//! vertex * =gemini                                               go on with that provider
//! gemini models/* <gemini                                        and with what the last * stands for
//! ```
//!
//! Prices are USD per million, each behind the letter of what is counted. Of input tokens: `i` all, `r` read from a cache,
//! `w` written to one, `h` for an hour, `a` sound, `p` pictures, `v` film, `c` sound and `d` pictures read from a cache.
//! Of output tokens: `o` all, `t` thinking, `b` sound, `g` pictures, `f` film. Of pieces: `n` pictures made, `x`
//! characters spoken, `m` seconds of sound, `u` units of a reranker, `s` searches of the web, `k` of files, `q` requests.
//! `i3/6 >200000` is 6 once the whole input is longer than 200,000 tokens; there may be more steps. `%b0.5` makes every
//! token cost half in a batch, save those whose rates follow; so do `%f` for flex and `%p` for priority. Of segments
//! split by `;` the last that applies holds: `@` is from a day on, `~16:30-00:30` between two times of each day, all
//! UTC; `+` is added to whichever holds. A line without prices is a model known not to be sold by anything counted.
//!
//! `data/prices.bin` is searched where it lies: nothing is read at the start or allocated at a look-up. It holds six
//! lengths, and so many bytes each, of: the directory (a provider, and where its part of the next ones begins); the
//! names (how much of the one before stays, with the highest bit, and the rest); the low and the high
//! bytes of which prices are theirs; the patterns, a line each, with which prices; where every 16th prices begin; and
//! last the prices, a line each.

use std::iter;

use crate::usage::{ServiceTier, Usage};

/// The day the table was made. Kept with each cost, so that an old sum can be explained.
pub const VERSION: &str = include_str!("../data/version.txt").trim_ascii();

/// What a model costs at one moment, in the table's notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price<'a> {
    segment: &'a [u8],
    /// What holds at every time.
    common: &'a [u8],
}

/// The price of a provider's model at a time. Names are read without regard to case. `provider` is our name for it or
/// OpenTelemetry's; `model` is the provider's own name for the model.
pub fn find(provider: &str, model: &str, at_ms: i64) -> Option<Price<'static>> {
    let (mut provider_name, mut model_name, mut dashed_name) = (Name::EMPTY, Name::EMPTY, Name::EMPTY);
    let provider = provider_name.lowercase(provider)?;
    let model = model_name.lowercase(model)?;
    let prices =
        prices(provider, model).or_else(|| prices(provider, dashed_name.with_dashed_date(model)?))?;
    Price::read(prices, at_ms)
}

/// The models of a provider that are priced by name, sorted.
pub fn models(provider: &str) -> Vec<String> {
    let Some(part) = TABLE.part(provider.as_bytes()) else { return Vec::new() };
    let (mut models, mut name) = (Vec::new(), String::new());
    for (index, (common, suffix)) in (part.first..).zip(names(part.ids)) {
        name.truncate(common);
        name.extend(suffix.iter().copied().map(char::from));
        if TABLE.reference(index) != 0 {
            models.push(name.clone());
        }
    }
    models
}

impl<'a> Price<'a> {
    /// Reads prices in the table's notation, as they are at a time. `None` if there are none.
    pub fn read(prices: &'a [u8], at_ms: i64) -> Option<Self> {
        let segments = || prices.rsplit(|byte| *byte == b';');
        // The first one has no condition.
        let segment =
            segments().find(|segment| holds(segment, at_ms)).filter(|segment| !segment.is_empty())?;
        let common = segments().find(|segment| segment.first() == Some(&b'+')).unwrap_or_default();
        Some(Self { segment, common })
    }

    /// Millionths of a USD per million of what the letter stands for, as long as the input is short.
    pub fn rate(&self, letter: u8) -> Option<u64> {
        self.rates(ServiceTier::Standard, 0)?.of(letter)
    }

    /// The cost of a call, rounded half up. `None` if something was used that has no price, or in a service tier that
    /// has none.
    ///
    /// A kind of token without a rate of its own costs what the total costs that it is part of. Parts that are together
    /// more than their total are cut off at it. What is sold by the piece is not charged by the token as well.
    pub fn cost_microusd(&self, usage: &Usage) -> Option<i64> {
        let rates = self.rates(usage.tier, usage.input_tokens)?;
        let pieces = [
            (usage.images * PER_UNIT, b'n'),
            (usage.characters * PER_UNIT, b'x'),
            (usage.audio_ms, b'm'),
            (usage.search_units * PER_UNIT, b'u'),
        ];
        let counted = pieces.into_iter().filter(|(count, _)| *count > 0);
        let by_piece = counted.clone().filter_map(|(count, letter)| Some((count, rates.of(letter)?)));
        let has_tokens = usage.input_tokens + usage.output_tokens > 0;
        let is_by_piece = by_piece.clone().next().is_some();
        if !has_tokens && !is_by_piece && counted.clone().next().is_some() {
            return None;
        }

        let mut sum = by_piece.map(|(count, rate)| product(count, rate)).sum::<u128>() / u128::from(PER_UNIT);
        if !is_by_piece || rates.of(b'i').or(rates.of(b'o')).is_some() {
            sum += rates.input(usage)? + rates.output(usage)?;
        }
        for (count, letter) in [(usage.searches, b's'), (usage.file_searches, b'k')] {
            if count > 0 {
                sum += product(count, rates.of(letter)?);
            }
        }
        sum += rates.of(b'q').map_or(0, u128::from);
        i64::try_from((sum + MILLION / 2) / MILLION).ok()
    }

    fn rates(&self, tier: ServiceTier, input_tokens: u64) -> Option<Rates> {
        let wanted = match tier {
            ServiceTier::Batch => b'b',
            ServiceTier::Flex => b'f',
            ServiceTier::Priority => b'p',
            ServiceTier::Standard => 0,
        };
        let words = || pieces(self.segment, b' ').chain(pieces(self.common, b' '));
        // How many of the steps the input is beyond.
        let starts = words().find_map(|word| word.strip_prefix(b">")).unwrap_or_default();
        let step = pieces(starts, b'/').filter(|start| input_tokens > whole(start)).count();
        let mut rates = Rates([None; 26]);
        let (mut applies, mut is_sold) = (true, wanted == 0);
        for word in words() {
            match word {
                [] | [b'@' | b'~' | b'+' | b'>', ..] => {}
                [b'%', tier, factor @ ..] => {
                    applies = *tier == wanted;
                    if applies {
                        is_sold = true;
                        rates.scale(millionths(factor));
                    }
                }
                [letter, steps @ ..] if applies => {
                    let rate = pieces(steps, b'/').take(step + 1).last()?;
                    *rates.0.get_mut(usize::from(letter.wrapping_sub(b'a')))? = Some(millionths(rate));
                }
                _ => {}
            }
        }
        is_sold.then_some(rates)
    }
}

/// Millionths of a USD per million, by letter.
struct Rates([Option<u64>; 26]);

impl Rates {
    fn of(&self, letter: u8) -> Option<u64> {
        self.0.get(usize::from(letter.wrapping_sub(b'a'))).copied().flatten()
    }

    fn scale(&mut self, factor: u64) {
        for letter in TOKENS {
            if let Some(rate) = &mut self.0[usize::from(letter - b'a')] {
                *rate = u64::try_from(product(*rate, factor) / MILLION).unwrap_or(u64::MAX);
            }
        }
    }

    fn input(&self, usage: &Usage) -> Option<u128> {
        let mut read = usage.cache_read_input_tokens;
        // What is read from a cache and has its modality's price there is neither the one nor the other.
        let mut apart = |total: u64, cached: u64, letter: u8| {
            let cached = cached.min(read).min(total);
            match (self.of(letter), self.of(b'r')) {
                (Some(_), _) => {
                    read -= cached;
                    (total - cached, cached)
                }
                (None, Some(_)) => (total - cached, 0),
                (None, None) => (total, 0),
            }
        };
        let (audio, cached_audio) =
            apart(usage.audio_input_tokens, usage.cache_read_audio_input_tokens, b'c');
        let (image, cached_image) =
            apart(usage.image_input_tokens, usage.cache_read_image_input_tokens, b'd');
        let hour = self.of(b'h').map_or(b'w', |_| b'h');
        self.shared_out(
            usage.input_tokens,
            b'i',
            &[
                (cached_audio, b'c'),
                (cached_image, b'd'),
                (read, b'r'),
                (usage.cache_write_5m_input_tokens, b'w'),
                (usage.cache_write_1h_input_tokens, hour),
                (audio, b'a'),
                (image, b'p'),
                (usage.video_input_tokens, b'v'),
            ],
        )
    }

    fn output(&self, usage: &Usage) -> Option<u128> {
        self.shared_out(
            usage.output_tokens,
            b'o',
            &[
                (usage.reasoning_output_tokens, b't'),
                (usage.audio_output_tokens, b'b'),
                (usage.image_output_tokens, b'g'),
                (usage.video_output_tokens, b'f'),
            ],
        )
    }

    /// The cost of a total, in millionths of a micro-USD: each part at its own rate, what is left at the total's.
    fn shared_out(&self, total: u64, letter: u8, parts: &[(u64, u8)]) -> Option<u128> {
        let (mut left, mut cost) = (total, 0);
        for &(tokens, letter) in parts {
            let Some(rate) = self.of(letter) else { continue };
            let tokens = tokens.min(left);
            left -= tokens;
            cost += product(tokens, rate);
        }
        if left == 0 { Some(cost) } else { Some(cost + product(left, self.of(letter)?)) }
    }
}

fn product(count: u64, rate: u64) -> u128 {
    u128::from(count) * u128::from(rate)
}

/// The prices for a model, found by its name or by the first pattern that fits.
fn prices(provider: &[u8], model: &[u8]) -> Option<&'static [u8]> {
    let part = TABLE.part(provider)?;
    if let Some(index) = position(part.ids, model) {
        return Some(TABLE.prices(TABLE.reference(part.first + index)));
    }
    for (globs, reference) in rules(part.patterns) {
        let Some(glob) = pieces(globs, b'|').find(|glob| matches(glob, model)) else { continue };
        let found = TABLE.prices(reference);
        let next = match found {
            [b'=', next @ ..] => prices(next, model),
            [b'<', next @ ..] => prices(next, stood_for(glob, model)),
            _ => return Some(found),
        };
        if next.is_some() {
            return next;
        }
    }
    None
}

/// What the last `*` of a glob stands for in a name that fits.
fn stood_for<'a>(glob: &[u8], model: &'a [u8]) -> &'a [u8] {
    let star = memchr::memrchr(b'*', glob).unwrap_or(glob.len());
    let end = model.len() - glob.len().saturating_sub(star + 1);
    let start = (0..=end).rev().find(|at| matches(&glob[..star], &model[..*at]));
    &model[start.unwrap_or(end)..end]
}

/// Which of the names it is. They are sorted, so what stays of the one before tells most of them apart unread.
fn position(ids: &[u8], model: &[u8]) -> Option<usize> {
    let mut equal = 0;
    for (index, (common, suffix)) in names(ids).enumerate() {
        if common > equal {
            continue;
        }
        if common < equal {
            return None;
        }
        equal += suffix.iter().zip(&model[equal..]).take_while(|(a, b)| a == b).count();
        match (suffix.get(equal - common), model.get(equal)) {
            (None, None) => return Some(index),
            (Some(found), Some(wanted)) if found > wanted => return None,
            (Some(_), None) => return None,
            _ => {}
        }
    }
    None
}

/// Names: how much stays of the one before, and the rest.
fn names(mut ids: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    iter::from_fn(move || {
        let (head, rest) = ids.split_first()?;
        let end = before_head(rest);
        let (suffix, next) = rest.split_at(end);
        ids = next;
        Some((usize::from(head & !HEAD), suffix))
    })
}

/// How many bytes lie before the next name. Eight at a time, for this is what a look-up spends its time on.
fn before_head(bytes: &[u8]) -> usize {
    let (eights, last) = bytes.as_chunks();
    for (at, eight) in eights.iter().enumerate() {
        let heads = u64::from_le_bytes(*eight) & u64::from_le_bytes([HEAD; 8]);
        if heads != 0 {
            return at * 8 + heads.trailing_zeros() as usize / 8;
        }
    }
    eights.len() * 8 + last.iter().position(|byte| byte & HEAD != 0).unwrap_or(last.len())
}

/// The parts of `prices.bin`.
struct Table {
    directory: &'static [u8],
    ids: &'static [u8],
    low: &'static [u8],
    high: &'static [u8],
    patterns: &'static [u8],
    starts: &'static [u8],
    prices: &'static [u8],
}

/// What the table has of one provider.
struct Part {
    ids: &'static [u8],
    /// The place of the first name among all.
    first: usize,
    patterns: &'static [u8],
}

impl Table {
    const fn of(packed: &'static [u8]) -> Self {
        let (lengths, rest) = packed.split_at(12);
        let (directory, rest) = rest.split_at(short(lengths, 0));
        let (ids, rest) = rest.split_at(short(lengths, 2));
        let (low, rest) = rest.split_at(short(lengths, 4));
        let (high, rest) = rest.split_at(short(lengths, 6));
        let (patterns, rest) = rest.split_at(short(lengths, 8));
        let (starts, prices) = rest.split_at(short(lengths, 10));
        Self { directory, ids, low, high, patterns, starts, prices }
    }

    fn part(&self, provider: &[u8]) -> Option<Part> {
        let mut rest = self.directory;
        loop {
            let (length, tail) = rest.split_first()?;
            let (name, tail) = tail.split_at(usize::from(*length));
            let next = tail.get(6..).filter(|next| !next.is_empty())?;
            if name == provider {
                // The next one's begin where these end.
                let ends = &next[1 + usize::from(next[0])..];
                return Some(Part {
                    ids: &self.ids[short(tail, 0)..short(ends, 0)],
                    first: short(tail, 2),
                    patterns: &self.patterns[short(tail, 4)..short(ends, 4)],
                });
            }
            rest = next;
        }
    }

    fn reference(&self, index: usize) -> usize {
        usize::from(self.low[index]) | usize::from(self.high[index]) << 8
    }

    fn prices(&self, reference: usize) -> &'static [u8] {
        let mut rest = &self.prices[short(self.starts, reference / STRIDE * 2)..];
        for _ in 0..reference % STRIDE {
            rest = cut(rest, b'\n').1;
        }
        cut(rest, b'\n').0
    }
}

/// What patterns say, in order: globs, and which prices, or where to go on.
fn rules(mut patterns: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    iter::from_fn(move || {
        let (globs, rest) = cut(patterns, b'\n');
        let (reference, rest) = rest.split_at_checked(2)?;
        patterns = rest;
        Some((globs, short(reference, 0)))
    })
}

const fn short(bytes: &[u8], at: usize) -> usize {
    bytes[at] as usize | (bytes[at + 1] as usize) << 8
}

fn pieces(mut text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let (piece, rest) = cut(text, separator);
        (!std::mem::replace(&mut text, rest).is_empty()).then_some(piece)
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
        [b'+', ..] => false,
        _ => true,
    }
}

/// Of `2026-03-13`. Howard Hinnant's `days_from_civil`, for years after 1600.
pub(crate) fn days_since_1970(date: &[u8]) -> i64 {
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

/// What can be priced, by the names of [`Usage`], and its letter. Sound is priced by the second.
pub const KINDS: &[(&str, char)] = &[
    ("audio_input_tokens", 'a'),
    ("audio_output_tokens", 'b'),
    ("audio_seconds", 'm'),
    ("cache_read_audio_input_tokens", 'c'),
    ("cache_read_image_input_tokens", 'd'),
    ("cache_read_input_tokens", 'r'),
    ("cache_write_1h_input_tokens", 'h'),
    ("cache_write_5m_input_tokens", 'w'),
    ("characters", 'x'),
    ("file_searches", 'k'),
    ("image_input_tokens", 'p'),
    ("image_output_tokens", 'g'),
    ("images", 'n'),
    ("input_tokens", 'i'),
    ("output_tokens", 'o'),
    ("reasoning_output_tokens", 't'),
    ("requests", 'q'),
    ("search_units", 'u'),
    ("searches", 's'),
    ("video_input_tokens", 'v'),
    ("video_output_tokens", 'f'),
];

static TABLE: Table = Table::of(include_bytes!("../data/prices.bin"));

/// The letters of what is counted in tokens.
const TOKENS: &[u8] = b"iorwhtapvcdbgf";

/// Pieces are counted in thousandths, as sound is in milliseconds.
const PER_UNIT: u64 = 1_000;

/// On the first byte of a name, which no letter has.
const HEAD: u8 = 0x80;
const STRIDE: usize = 16;
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
