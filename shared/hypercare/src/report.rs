//! Reports that come by the clock: what a day or a week was like, beside the one before it.
//!
//! What is not known is not nothing: a cost covers the calls whose cost is known, and says of how many it is not. That
//! errors are more or fewer is said where chance alone would seldom do that, of others where they moved by a tenth.

use serde::Serialize;

use crate::hours::Zone;
use crate::notice::{Kind, Notice, plain};
use crate::stats::share::{compare, discoveries};
use crate::time::{HOUR_MS, MINUTE_MS, rfc3339};

/// How much time a report tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cadence {
    /// A day.
    Daily,
    /// Seven days.
    Weekly,
}

impl Cadence {
    /// As stored and sent.
    pub fn word(self) -> &'static str {
        match self {
            Cadence::Daily => "daily",
            Cadence::Weekly => "weekly",
        }
    }

    /// The cadence this word stands for.
    pub fn parse(word: &str) -> Option<Cadence> {
        [Cadence::Daily, Cadence::Weekly].into_iter().find(|cadence| cadence.word() == word)
    }

    fn days(self) -> i64 {
        match self {
            Cadence::Daily => 1,
            Cadence::Weekly => 7,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Cadence::Daily => "day",
            Cadence::Weekly => "week",
        }
    }

    /// The parts of the period its charts show: hours or days.
    pub fn slot_ms(self) -> i64 {
        match self {
            Cadence::Daily => HOUR_MS,
            Cadence::Weekly => 24 * HOUR_MS,
        }
    }
}

/// When a report comes, by a clock on a wall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timetable {
    /// How often.
    pub cadence: Cadence,
    /// The hour of the day.
    pub hour: i64,
    /// Of a weekly one; 0 is Monday.
    pub weekday: i64,
    /// By whose clock.
    pub zone: Zone,
}

impl Timetable {
    /// When the next one is due: some minutes past the hour, when what was before it is counted.
    pub fn next_ms(&self, now_ms: i64) -> i64 {
        let today_ms = self.zone.day_start(now_ms);
        let is_day = |start_ms: &i64| {
            let local_ms = start_ms + self.zone.offset_minutes(*start_ms) * MINUTE_MS;
            // 1970 began on a Thursday.
            let weekday = (local_ms.div_euclid(24 * HOUR_MS) + 3).rem_euclid(7);
            self.cadence == Cadence::Daily || weekday == self.weekday
        };
        (0..=8)
            .map(|days| self.zone.later(today_ms, days * DAY_MINUTES))
            .filter(is_day)
            .map(|start_ms| self.zone.later(start_ms, self.hour * 60) + READY_MS)
            .find(|due_ms| *due_ms > now_ms)
            .expect("each weekday comes within eight days")
    }

    /// The period a report of this moment tells of, whole days that are over, and the one before: three moments.
    /// They are whole hours, as calls are counted; where the clocks stand between, half an hour early.
    pub fn period(&self, now_ms: i64) -> [i64; 3] {
        let to_ms = self.zone.day_start(now_ms);
        let days = self.cadence.days() * DAY_MINUTES;
        let whole = |ms: i64| ms - ms.rem_euclid(HOUR_MS);
        [self.zone.later(to_ms, -2 * days), self.zone.later(to_ms, -days), to_ms].map(whole)
    }
}

/// Some calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Numbers {
    /// How many.
    pub calls: i64,
    /// Those that failed.
    pub errors: i64,
    /// What those cost whose cost is known.
    pub cost_microusd: i64,
    /// Those whose cost is not.
    pub without_cost: i64,
    /// What nineteen of twenty callers waited at most.
    pub p95_ms: Option<f64>,
}

/// A part of the calls, now and in the period before.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it goes by.
    pub name: String,
    /// In the period.
    pub now: Numbers,
    /// Before it.
    pub before: Numbers,
}

/// The alerts of a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alerts {
    /// How many fired.
    pub fired: i64,
    /// How many of these are over.
    pub over: i64,
    /// How many are open now, whenever they fired.
    pub open: i64,
    /// What some of those that are open say.
    pub summaries: Vec<String>,
}

/// All there is to report.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How much time.
    pub cadence: Cadence,
    /// Whose calls; none: everybody's.
    pub whose: Option<String>,
    /// The period before, the period, and its end: unix milliseconds.
    pub period: [i64; 3],
    /// By whose clock its days are named.
    pub zone: Zone,
    /// The calls of the period.
    pub now: Numbers,
    /// Those of the one before.
    pub before: Numbers,
    /// The calls of its parts, in order.
    pub slots: Vec<Numbers>,
    /// The calls by what they went to, and by whose they are.
    pub parts: Vec<Part>,
    /// Its alerts.
    pub alerts: Alerts,
}

impl Report {
    /// The report as a notice.
    pub fn notice(&self) -> Notice {
        let [_, from_ms, to_ms] = self.period;
        let whose = self.whose.as_ref().map(|name| format!("{}: ", plain(name))).unwrap_or_default();
        let (better, worse) = self.differences();
        let mut notice = Notice {
            kind: Kind::Report,
            title: format!("{whose}{} report, {}", capital(self.cadence.word()), self.days()),
            summary: format!("{whose}{}", self.summary()),
            facts: Vec::new(),
            started_ms: from_ms,
            ended_ms: Some(to_ms),
            occurred_ms: to_ms,
            ..Notice::test("", to_ms)
        };
        let mut fact = |name: &str, value: String| notice.facts.push((name.to_owned(), value));
        fact("Health", self.health(!worse.is_empty()));
        let chart =
            |of: fn(&Numbers) -> Option<f64>| sparkline(&self.slots.iter().map(of).collect::<Vec<_>>());
        let (now, before) = (&self.now, &self.before);
        if now.calls > 0 || before.calls > 0 {
            let calls = chart(|slot| Some(slot.calls as f64));
            fact("Calls", format!("{}{} {calls}", number(now.calls), against(now.calls, before.calls)));
        }
        if now.calls > 0 {
            let was =
                percent(before.errors, before.calls).map(|was| format!(", {was} before")).unwrap_or_default();
            let share = percent(now.errors, now.calls).unwrap_or_default();
            let errors = chart(|slot| (slot.calls > 0).then(|| slot.errors as f64 / slot.calls as f64));
            fact("Errors", format!("{share} ({}){was} {errors}", number(now.errors)));
            if let Some(p95_ms) = now.p95_ms {
                let was = before.p95_ms.map(|was| format!(", {} before", wait(was))).unwrap_or_default();
                fact("p95 wait", format!("{}{was}", wait(p95_ms)));
            }
            let cost = chart(|slot| (slot.calls > slot.without_cost).then_some(slot.cost_microusd as f64));
            let cost = if is_known(now) { format!(" {cost}") } else { String::new() };
            fact("Cost", format!("{}{cost}", self.cost()));
        }
        for part in self.movers() {
            fact("Moved", moved(part));
        }
        for (name, lines) in [("Improved", better), ("Worse", worse)] {
            for line in lines.into_iter().take(MOST_LINES) {
                fact(name, line);
            }
        }
        let Alerts { fired, over, open, summaries } = &self.alerts;
        fact("Alerts", format!("{fired} fired, {over} of them over; {open} open now"));
        for summary in summaries.iter().take(MOST_LINES) {
            fact("Open", summary.clone());
        }
        notice
    }

    fn days(&self) -> String {
        let [_, from_ms, to_ms] = self.period;
        // The middle of a day, so that no turn of the clocks makes it another.
        let day = |ms: i64| rfc3339(ms + self.zone.offset_minutes(ms) * MINUTE_MS)[..10].to_owned();
        let (first, last) = (day(from_ms + 12 * HOUR_MS), day(to_ms - 12 * HOUR_MS));
        if first == last { first } else { format!("{first} to {last}") }
    }

    fn summary(&self) -> String {
        let open = match self.alerts.open {
            0 => "no alert is open".to_owned(),
            1 => "1 alert is open".to_owned(),
            open => format!("{open} alerts are open"),
        };
        let Numbers { calls, errors, p95_ms, .. } = self.now;
        if calls == 0 {
            return format!("no calls in this {}; {open}", self.cadence.noun());
        }
        let p95 = p95_ms.map(|ms| format!(", p95 {}", wait(ms))).unwrap_or_default();
        format!(
            "{} calls{}, {} errors{p95}, {}; {open}",
            number(calls),
            against(calls, self.before.calls),
            percent(errors, calls).unwrap_or_default(),
            self.cost(),
        )
    }

    fn health(&self, is_worse: bool) -> String {
        let word = match () {
            () if self.now.calls == 0 => return "no calls, so nothing is known of it".to_owned(),
            () if self.alerts.open > 0 => "alerts are open",
            () if is_worse => "worse than before",
            () => "well",
        };
        let good = percent(self.now.calls - self.now.errors, self.now.calls).unwrap_or_default();
        format!("{word}; {good} of the calls did not fail")
    }

    /// What is known of the cost, and of how many calls it is not.
    fn cost(&self) -> String {
        let (now, before) = (&self.now, &self.before);
        if !is_known(now) {
            return "cost not known".to_owned();
        }
        let all_known = now.without_cost == 0 && before.without_cost == 0;
        let change = match () {
            () if !is_known(before) => String::new(),
            () if all_known => against(now.cost_microusd, before.cost_microusd),
            // Two sums over different shares of the calls.
            () => format!(" ({} before)", money(before.cost_microusd)),
        };
        let unknown = match percent(now.without_cost, now.calls) {
            Some(share) if now.without_cost > 0 => {
                format!(" without {share} of the calls, whose cost is not known")
            }
            _ => String::new(),
        };
        format!("{}{change}{unknown}", money(now.cost_microusd))
    }

    /// What changed most: in cost, where that is known, otherwise in calls.
    fn movers(&self) -> Vec<&Part> {
        let by_cost = self.parts.iter().all(|part| part.now.without_cost + part.before.without_cost == 0);
        let by = |part: &&Part| match by_cost {
            true => (part.now.cost_microusd - part.before.cost_microusd).abs(),
            false => (part.now.calls - part.before.calls).abs(),
        };
        let mut movers: Vec<&Part> = self.parts.iter().filter(|part| by(part) > 0).collect();
        movers.sort_by_key(|part| (-by(part), &part.name));
        movers.truncate(MOST_LINES);
        movers
    }

    /// What is better and what is worse than before: more than chance does, and enough to matter.
    fn differences(&self) -> (Vec<String>, Vec<String>) {
        let all = [("all calls", &self.now, &self.before)];
        let parts = self.parts.iter().map(|part| (part.name.as_str(), &part.now, &part.before));
        let rows: Vec<(&str, &Numbers, &Numbers)> = all.into_iter().chain(parts).collect();
        let compared = |(_, now, before): &(&str, &Numbers, &Numbers)| {
            let enough = now.calls >= ENOUGH && before.calls >= ENOUGH;
            compare((now.errors, now.calls), (before.errors, before.calls)).filter(|_| enough)
        };
        let p: Vec<f64> = rows.iter().map(|row| compared(row).map_or(1.0, |found| found.p)).collect();
        let believed = discoveries(&p, FALSE_SHARE);
        let (mut better, mut worse) = (Vec::new(), Vec::new());
        let mut say = |is_better: bool, line: String| {
            if is_better { better.push(line) } else { worse.push(line) }
        };
        for (row, believed) in rows.iter().zip(believed) {
            let (name, now, before) = row;
            let name = plain(name);
            if believed && let Some(found) = compared(row) {
                let [was, is] = [before, now].map(|n| percent(n.errors, n.calls).unwrap_or_default());
                say(found.difference < 0.0, format!("{name}: errors {was} → {is}"));
            }
            if let Some((was, is)) = before.p95_ms.zip(now.p95_ms)
                && now.calls.min(before.calls) >= ENOUGH_FOR_P95
                && is_much(was, is)
            {
                say(is < was, format!("{name}: p95 wait {} → {}", wait(was), wait(is)));
            }
            let each = |n: &Numbers| {
                (n.calls >= ENOUGH && n.without_cost == 0).then(|| n.cost_microusd as f64 / n.calls as f64)
            };
            if let Some((was, is)) = each(before).zip(each(now))
                && is_much(was, is)
            {
                let [was_shown, is_shown] = [was, is].map(|each| money((each * 1_000.0) as i64));
                say(is < was, format!("{name}: cost of 1,000 calls {was_shown} → {is_shown}"));
            }
        }
        (better, worse)
    }
}

fn is_known(numbers: &Numbers) -> bool {
    numbers.calls > numbers.without_cost
}

fn is_much(was: f64, is: f64) -> bool {
    was > 0.0 && ((is - was) / was).abs() >= MUCH
}

fn moved(part: &Part) -> String {
    let Part { name, now, before } = part;
    let name = plain(name);
    let calls = format!("{name}: {} → {} calls", number(before.calls), number(now.calls));
    let known = now.without_cost + before.without_cost == 0;
    match known && now.cost_microusd + before.cost_microusd > 0 {
        true => format!("{calls}, {} → {}", money(before.cost_microusd), money(now.cost_microusd)),
        false => calls,
    }
}

/// Values as little columns, the highest eight eighths high; a dot where there is nothing to show.
pub fn sparkline(values: &[Option<f64>]) -> String {
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let column = |value: &Option<f64>| match value {
        None => '·',
        Some(value) if most > 0.0 => COLUMNS[((value / most * 7.0).round() as usize).min(7)],
        Some(_) => COLUMNS[0],
    };
    values.iter().map(column).collect()
}

/// `12,345`
fn number(count: i64) -> String {
    let digits = count.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if count < 0 { format!("-{text}") } else { text }
}

/// `, +12 %` against what was; nothing where there was nothing.
fn against(is: i64, was: i64) -> String {
    if was <= 0 {
        return String::new();
    }
    let change = (is - was) as f64 / was as f64 * 100.0;
    if change >= 1_000.0 {
        return format!(", {} times as many", number((is as f64 / was as f64).round() as i64));
    }
    format!(", {change:+.0} %")
}

/// A share, none of nothing.
fn percent(part: i64, whole: i64) -> Option<String> {
    (whole > 0).then(|| {
        let share = part as f64 / whole as f64 * 100.0;
        let digits = if share > 0.0 && share < 0.1 { 2 } else { 1 };
        let text = format!("{share:.digits$}");
        let short = text.trim_end_matches('0').trim_end_matches('.');
        match short {
            // Not nothing, and not all.
            "0" if part > 0 => "<0.01 %".to_owned(),
            "100" if part < whole => ">99.9 %".to_owned(),
            _ => format!("{short} %"),
        }
    })
}

fn wait(ms: f64) -> String {
    if ms < 1_000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1_000.0) }
}

fn money(microusd: i64) -> String {
    let dollars = microusd as f64 / 1e6;
    match microusd {
        0 => "$0".to_owned(),
        1..100 => "<$0.0001".to_owned(),
        100..10_000 => format!("${dollars:.4}"),
        _ => {
            let cents = (microusd + 5_000) / 10_000;
            format!("${}.{:02}", number(cents / 100), cents % 100)
        }
    }
}

fn capital(word: &str) -> String {
    let mut rest = word.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

const COLUMNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const DAY_MINUTES: i64 = 24 * 60;
/// Hours are counted five minutes past.
const READY_MS: i64 = 10 * MINUTE_MS;
/// Of each kind of line.
const MOST_LINES: usize = 3;
/// With fewer calls nothing is compared.
const ENOUGH: i64 = 50;
/// Ten of so many are above it.
const ENOUGH_FOR_P95: i64 = 200;
/// How far a number that has no test of its own has to move.
const MUCH: f64 = 0.1;
/// How many of the differences in errors that are told may be chance.
const FALSE_SHARE: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::parse_rfc3339;

    #[test]
    fn a_report_comes_by_the_clock_on_the_wall() {
        for (cadence, hour, zone, now, next) in [
            (Cadence::Daily, 8, "UTC", "2026-01-01T00:00:00Z", "2026-01-01T08:10:00Z"),
            (Cadence::Daily, 8, "UTC", "2026-01-01T08:10:00Z", "2026-01-02T08:10:00Z"),
            (Cadence::Daily, 0, "UTC", "2026-01-01T00:05:00Z", "2026-01-01T00:10:00Z"),
            // The clocks are turned in the night before.
            (Cadence::Daily, 8, "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T06:10:00Z"),
            (Cadence::Daily, 8, "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T07:10:00Z"),
            // There is no such hour that day: it comes at the one before.
            (Cadence::Daily, 2, "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T00:10:00Z"),
            (Cadence::Daily, 9, "+05:30", "2026-01-01T00:00:00Z", "2026-01-01T03:40:00Z"),
            // A Monday, there.
            (Cadence::Weekly, 8, "UTC", "2026-01-01T00:00:00Z", "2026-01-05T08:10:00Z"),
            (Cadence::Weekly, 8, "UTC", "2026-01-05T08:10:00Z", "2026-01-12T08:10:00Z"),
            (Cadence::Weekly, 1, "+14:00", "2026-01-04T08:00:00Z", "2026-01-04T11:10:00Z"),
        ] {
            let timetable = Timetable { cadence, hour, weekday: 0, zone: Zone::parse(zone).unwrap() };
            assert_eq!(rfc3339(timetable.next_ms(at(now))), next, "{zone} {now}");
        }
    }

    #[test]
    fn it_tells_of_whole_days_that_are_over() {
        for (cadence, zone, now, expected) in [
            (
                Cadence::Daily,
                "UTC",
                "2026-01-03T08:10:00Z",
                ["2026-01-01T00", "2026-01-02T00", "2026-01-03T00"],
            ),
            (
                Cadence::Weekly,
                "UTC",
                "2026-01-19T08:10:00Z",
                ["2026-01-05T00", "2026-01-12T00", "2026-01-19T00"],
            ),
            // A day of 23 hours.
            (
                Cadence::Daily,
                "Europe/Berlin",
                "2026-03-30T06:10:00Z",
                ["2026-03-27T23", "2026-03-28T23", "2026-03-29T22"],
            ),
            (
                Cadence::Daily,
                "+05:30",
                "2026-01-03T03:40:00Z",
                ["2025-12-31T18", "2026-01-01T18", "2026-01-02T18"],
            ),
        ] {
            let timetable = Timetable { cadence, hour: 8, weekday: 0, zone: Zone::parse(zone).unwrap() };
            let period = timetable.period(at(now)).map(|ms| rfc3339(ms)[..13].to_owned());
            assert_eq!(period, expected, "{zone} {now}");
        }
    }

    #[test]
    fn a_report_reads_at_a_glance() {
        let notice = busy().notice();
        assert_eq!(notice.title, "Ann: Daily report, 2026-01-01");
        assert_eq!(
            notice.summary,
            "Ann: 12,000 calls, +20 %, 0.5 % errors, p95 1.2 s, $12.35, -18 %; 1 alert is open"
        );
        let facts: Vec<String> =
            notice.facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            facts,
            [
                "Health: alerts are open; 99.5 % of the calls did not fail",
                "Calls: 12,000, +20 % ▁▅█▁▁",
                "Errors: 0.5 % (60), 2 % before ·▁█··",
                "p95 wait: 1.2 s, 800 ms before",
                "Cost: $12.35, -18 % ·▄█··",
                "Moved: openai/gpt-5: 9,000 → 2,000 calls, $14.00 → $2.00",
                "Moved: openai/gpt-5-mini: 1,000 → 10,000 calls, $1.00 → $10.35",
                "Improved: all calls: errors 2 % → 0.5 %",
                "Improved: all calls: cost of 1,000 calls $1.50 → $1.03",
                "Improved: openai/gpt-5: errors 2 % → 0.5 %",
                "Worse: all calls: p95 wait 800 ms → 1.2 s",
                "Alerts: 3 fired, 2 of them over; 1 open now",
                "Open: Ann: 5xx share 3 %",
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_not_nothing() {
        let numbers = |calls, cost_microusd, without_cost| Numbers {
            calls,
            cost_microusd,
            without_cost,
            ..Numbers::default()
        };
        for (now, before, expected) in [
            (numbers(100, 0, 100), numbers(100, 5_000_000, 0), "cost not known"),
            (
                numbers(100, 1_000_000, 30),
                numbers(100, 2_000_000, 0),
                "$1.00 ($2.00 before) without 30 % of the calls, whose cost is not known",
            ),
            (numbers(100, 1_000_000, 0), numbers(100, 2_000_000, 100), "$1.00"),
            (numbers(100, 1_000_000, 0), numbers(100, 2_000_000, 0), "$1.00, -50 %"),
            (numbers(100, 0, 0), numbers(100, 0, 0), "$0"),
        ] {
            let report = Report { now, before, ..empty() };
            assert_eq!(report.cost(), expected);
        }
        // Nor is what moved told by a cost that is only partly known.
        let part = Part { name: "m".to_owned(), now: numbers(80, 1, 80), before: numbers(20, 9, 0) };
        assert_eq!(moved(&part), "m: 20 → 80 calls");
    }

    #[test]
    fn an_empty_week_says_so() {
        let report =
            Report { cadence: Cadence::Weekly, period: [0, 7 * 24 * HOUR_MS, 14 * 24 * HOUR_MS], ..empty() };
        let notice = report.notice();
        assert_eq!(notice.title, "Weekly report, 1970-01-08 to 1970-01-14");
        assert_eq!(notice.summary, "no calls in this week; no alert is open");
        assert_eq!(
            notice.facts,
            [
                ("Health", "no calls, so nothing is known of it"),
                ("Alerts", "0 fired, 0 of them over; 0 open now")
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn chance_is_not_told_as_better_or_worse() {
        let numbers = |calls, errors, p95| Numbers { calls, errors, p95_ms: Some(p95), ..Numbers::default() };
        for (now, before, better, worse) in [
            (numbers(1_000, 10, 100.0), numbers(1_000, 14, 100.0), 0, 0),
            (numbers(1_000, 10, 100.0), numbers(1_000, 40, 100.0), 1, 0),
            (numbers(1_000, 40, 100.0), numbers(1_000, 10, 100.0), 0, 1),
            (numbers(1_000, 10, 109.0), numbers(1_000, 10, 100.0), 0, 0),
            (numbers(1_000, 10, 89.0), numbers(1_000, 10, 100.0), 1, 0),
            // Few calls say little.
            (numbers(40, 20, 900.0), numbers(40, 0, 100.0), 0, 0),
            (numbers(150, 0, 900.0), numbers(150, 0, 100.0), 0, 0),
        ] {
            // A cost is known, and stays what it is.
            let report = Report { now, before, ..empty() };
            let (is_better, is_worse) = report.differences();
            assert_eq!((is_better.len(), is_worse.len()), (better, worse), "{now:?} {before:?}");
        }
    }

    #[test]
    fn numbers_are_short_and_charts_have_a_column_each() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 42, 9_999, 10_000, 1_234_567_890].map(money),
            ["$0", "<$0.0001", "$0.0100", "$0.01", "$1,234.57"]
        );
        for (part, whole, expected) in [
            (0, 10, Some("0 %")),
            (10, 10, Some("100 %")),
            (1, 3, Some("33.3 %")),
            (1, 2_000, Some("0.05 %")),
            (1, 1_000_000, Some("<0.01 %")),
            (999_999, 1_000_000, Some(">99.9 %")),
            (0, 0, None),
        ] {
            assert_eq!(percent(part, whole).as_deref(), expected);
        }
        assert_eq!(
            [(12, 10), (10, 0), (5_000, 10), (10, 10)].map(|(is, was)| against(is, was)),
            [", +20 %", "", ", 500 times as many", ", +0 %"]
        );
        for (values, expected) in [
            (&[Some(0.0), Some(1.0), None, Some(8.0)][..], "▁▂·█"),
            (&[Some(0.0), Some(0.0)], "▁▁"),
            (&[None], "·"),
            (&[], ""),
        ] {
            assert_eq!(sparkline(values), expected);
        }
    }

    fn busy() -> Report {
        let numbers =
            |calls, errors, cost_microusd| Numbers { calls, errors, cost_microusd, ..Numbers::default() };
        let part = |name: &str, now, before| Part { name: name.to_owned(), now, before };
        Report {
            whose: Some("Ann".to_owned()),
            now: Numbers { p95_ms: Some(1_240.0), ..numbers(12_000, 60, 12_345_678) },
            before: Numbers { p95_ms: Some(800.0), ..numbers(10_000, 200, 15_000_000) },
            slots: vec![
                numbers(0, 0, 0),
                numbers(4_000, 0, 4_000_000),
                numbers(8_000, 60, 8_345_678),
                numbers(0, 0, 0),
                numbers(0, 0, 0),
            ],
            parts: vec![
                part("openai/gpt-5", numbers(2_000, 10, 2_000_000), numbers(9_000, 180, 14_000_000)),
                part("openai/gpt-5-mini", numbers(10_000, 50, 10_345_678), numbers(1_000, 3, 1_000_000)),
            ],
            alerts: Alerts { fired: 3, over: 2, open: 1, summaries: vec!["Ann: 5xx share 3 %".to_owned()] },
            ..empty()
        }
    }

    fn empty() -> Report {
        let day = |day: i64| at("2026-01-01T00:00:00Z") + day * 24 * HOUR_MS;
        Report {
            cadence: Cadence::Daily,
            whose: None,
            period: [day(-1), day(0), day(1)],
            zone: Zone::parse("UTC").unwrap(),
            now: Numbers::default(),
            before: Numbers::default(),
            slots: Vec::new(),
            parts: Vec::new(),
            alerts: Alerts::default(),
        }
    }

    fn at(text: &str) -> i64 {
        parse_rfc3339(text).unwrap()
    }
}
