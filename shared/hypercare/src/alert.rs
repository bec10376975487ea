//! Where an alert stands, minute by minute.
//!
//! ```text
//! unknown ─ healthy ─▶ ok ─ breached ─▶ pending ─ lasted `for` ─▶ firing ◀─ breached ─┐
//!    │                 ▲ ▲                 │                        │               │
//!    └─ breached ──────│─│─▶ pending       │                        ├─ healthy ─▶ recovering
//!                      │ └─ healthy, quiet ┘                        │               │
//!                      └──────────── healthy for `keep_firing`, or quiet for long ──┘
//! ```
//!
//! Durations are counted in evaluated minutes. A minute that was missed is evaluated later, in order, so
//! what happens when depends on the calls and never on when somebody looked.
//!
//! - A rule that is *broken*, that could not look, moves nothing: no alert opens, closes or comes nearer to it.
//!   After [`BROKEN_MINUTES`] of it the rule itself is news ([`State::is_broken`]).
//! - A minute *without data* is what the rule says: see [`NoData`].
//! - An alert that changed sides more than [`MOST_TURNS`] times within [`TURNS_MS`] is *flapping*: it is held
//!   open until it would have changed sides no more often than that.
//!
//! Whether anybody is told is not a matter of states: an alert that is silenced, inhibited, snoozed or
//! acknowledged fires all the same.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::detect::{Level, Observation};
use crate::rule::{Measure, NoData, Rule};

/// Where the alert of one rule and series stands. Stored as JSON, if there is something to remember.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The last minute evaluated.
    minute_ms: Option<i64>,
    phase: Phase,
    /// When the alert changed sides of late.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    turns: Vec<i64>,
    /// For how many minutes in a row the rule could not look.
    #[serde(default, skip_serializing_if = "is_zero")]
    broken: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    #[default]
    #[serde(alias = "inactive")]
    Unknown,
    Ok,
    Pending {
        since_ms: i64,
        breached: i64,
    },
    /// No episode is open, and there is no data. What is only shown is not counted.
    NoData {
        since_ms: i64,
        quiet: i64,
    },
    Firing(Firing),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Firing {
    since_ms: i64,
    opened_ms: i64,
    worst: f64,
    /// Healthy minutes since the last breach.
    healthy: i64,
    /// Minutes without data since the last one with.
    quiet: i64,
    #[serde(default = "critical", skip_serializing_if = "is_critical")]
    level: Level,
    /// It was opened because there was no data.
    #[serde(default, skip_serializing_if = "is_false")]
    absent: bool,
    /// It is held open.
    #[serde(default, skip_serializing_if = "is_false")]
    flapping: bool,
    /// It is held open, and would have been resolved if it were not.
    #[serde(default, skip_serializing_if = "is_false")]
    let_go: bool,
}

impl State {
    /// The state as a word: `unknown`, `ok`, `pending`, `firing`, `recovering`, `no_data` or `error`. A rule
    /// that is switched off is `paused`, and its series have no state.
    pub fn word(&self) -> &'static str {
        match &self.phase {
            Phase::Firing(firing) if firing.quiet > 0 => "no_data",
            Phase::Firing(firing) if firing.healthy > 0 => "recovering",
            Phase::Firing(_) => "firing",
            _ if self.is_broken() => "error",
            Phase::Unknown => "unknown",
            Phase::Ok => "ok",
            Phase::Pending { .. } => "pending",
            Phase::NoData { .. } => "no_data",
        }
    }

    /// Whether there is nothing to remember.
    pub fn is_inactive(&self) -> bool {
        let is_idle = matches!(self.phase, Phase::Unknown | Phase::Ok | Phase::NoData { quiet: 0, .. });
        is_idle && self.turns.is_empty() && self.broken == 0
    }

    /// Whether an episode is open.
    pub fn is_firing(&self) -> bool {
        self.opened_ms().is_some()
    }

    /// When the open episode was opened.
    pub fn opened_ms(&self) -> Option<i64> {
        match &self.phase {
            Phase::Firing(firing) => Some(firing.opened_ms),
            _ => None,
        }
    }

    /// How bad the open episode has been.
    pub fn level(&self) -> Option<Level> {
        match &self.phase {
            Phase::Firing(firing) => Some(firing.level),
            _ => None,
        }
    }

    /// Whether the rule could not look for so long that this is news.
    pub fn is_broken(&self) -> bool {
        self.broken >= BROKEN_MINUTES
    }
}

/// An alert changed sides, or became worse.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An episode was opened.
    Fired(Fired, How),
    /// What was a warning is none any more. The numbers are those of this minute; the episode stays the same.
    Worsened(Fired, How),
    /// It was closed.
    Resolved(Resolved),
}

/// How an episode opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fired {
    /// The first minute of the breach.
    pub since_ms: i64,
    /// The minute the breach had lasted long enough.
    pub opened_ms: i64,
    /// The measure at that minute. Without data it is how many minutes there was none.
    pub value: f64,
    /// The calls it was taken from.
    pub count: i64,
}

/// What there is to know of it beside the numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct How {
    /// What the measure was compared with, where that is not the threshold.
    pub baseline: Option<f64>,
    /// Beyond which threshold it was.
    pub level: Level,
    /// There was nothing to measure, and the rule says that this is an alert.
    pub absent: bool,
    /// It changed sides so often that it is held open from now on.
    pub flapping: bool,
}

/// How an episode closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The first minute of the breach.
    pub since_ms: i64,
    /// The minute the episode was opened.
    pub opened_ms: i64,
    /// The minute it was closed.
    pub resolved_ms: i64,
    /// The measure at that minute, if it could be taken.
    pub value: Option<f64>,
    /// The worst measure since the episode was opened.
    pub worst: f64,
    /// Why it was closed.
    pub reason: Reason,
}

/// Why an episode was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There is data again, which is all that was missing.
    DataAgain,
    /// There were no calls to measure any more, which says nothing about how the next one would fare.
    NoCalls,
    /// The measure was healthy for long enough.
    Recovered,
    /// A silence lasted so long that it is no longer news.
    StillSilent,
}

/// The next state after a minute was evaluated, and what changed.
///
/// A minute that was already counted changes nothing, so a tick may run twice.
pub fn step(rule: &Rule, state: State, seen: Observation, minute_ms: i64) -> (State, Option<Change>) {
    if state.minute_ms.is_some_and(|last_ms| minute_ms <= last_ms) {
        return (state, None);
    }
    let State { phase, mut turns, broken, .. } = state;
    turns.retain(|at_ms| minute_ms - at_ms < TURNS_MS);
    let minute_ms_seen = Some(minute_ms);
    let seen = match seen {
        Observation::Broken { .. } => {
            return (State { minute_ms: minute_ms_seen, phase, turns, broken: broken + 1 }, None);
        }
        Observation::NoData { .. } if rule.no_data == NoData::Last => {
            return (State { minute_ms: minute_ms_seen, phase, turns, broken: 0 }, None);
        }
        Observation::NoData { count } if rule.no_data == NoData::Zero => {
            Observation::Healthy { value: 0.0, count, baseline: None }
        }
        seen => seen,
    };
    let minute = Minute { rule, minute_ms, turns: &mut turns };
    let (phase, change) = match (phase, seen) {
        (Phase::Firing(firing), seen) => minute.still(firing, &seen),
        (Phase::Pending { since_ms, breached }, seen @ Observation::Breached { .. }) => {
            minute.breached(since_ms, breached + 1, &seen)
        }
        (_, seen @ Observation::Breached { .. }) => minute.breached(minute_ms, 1, &seen),
        (phase, Observation::NoData { count }) => minute.quiet(&phase, count),
        (_, _) => (Phase::Ok, None),
    };
    (State { minute_ms: minute_ms_seen, phase, turns, broken: 0 }, change)
}

/// A minute being evaluated.
struct Minute<'a> {
    rule: &'a Rule,
    minute_ms: i64,
    turns: &'a mut Vec<i64>,
}

type Next = (Phase, Option<Change>);

impl Minute<'_> {
    fn breached(self, since_ms: i64, minutes: i64, seen: &Observation) -> Next {
        let Observation::Breached { value, count, baseline, level } = *seen else { return (Phase::Ok, None) };
        if minutes <= self.rule.for_minutes {
            return (Phase::Pending { since_ms, breached: minutes }, None);
        }
        let fired = Fired { since_ms, opened_ms: self.minute_ms, value, count };
        self.open(fired, How { baseline, level, absent: false, flapping: false })
    }

    /// No episode is open, and there are too few calls to say.
    fn quiet(self, phase: &Phase, count: i64) -> Next {
        let NoData::Notify(after) = self.rule.no_data else {
            return (Phase::NoData { since_ms: self.minute_ms, quiet: 0 }, None);
        };
        let (since_ms, quiet) = match *phase {
            Phase::NoData { since_ms, quiet } => (since_ms, quiet + 1),
            _ => (self.minute_ms, 1),
        };
        if quiet < after {
            return (Phase::NoData { since_ms, quiet }, None);
        }
        let fired = Fired { since_ms, opened_ms: self.minute_ms, value: quiet as f64, count };
        self.open(fired, How { baseline: None, level: Level::Critical, absent: true, flapping: false })
    }

    fn open(self, fired: Fired, how: How) -> Next {
        self.turns.push(self.minute_ms);
        let how = How { flapping: self.turns.len() > MOST_TURNS, ..how };
        let Fired { since_ms, opened_ms, value, .. } = fired;
        let How { level, absent, flapping, .. } = how;
        let firing = Firing {
            since_ms,
            opened_ms,
            worst: value,
            healthy: 0,
            quiet: 0,
            level,
            absent,
            flapping,
            let_go: false,
        };
        (Phase::Firing(firing), Some(Change::Fired(fired, how)))
    }

    fn still(self, firing: Firing, seen: &Observation) -> Next {
        let Minute { rule, minute_ms, turns } = self;
        let mut next = firing.clone();
        let mut change = None;
        let mut value = None;
        match *seen {
            // What was missing is there, whatever it says.
            Observation::Breached { value: now, .. } | Observation::Healthy { value: now, .. }
                if firing.absent =>
            {
                (next.healthy, next.quiet, value) = (firing.healthy + 1, 0, Some(now));
            }
            Observation::NoData { count: _ } if firing.absent => {
                next.healthy = 0;
                next.worst += 1.0;
            }
            Observation::Breached { value: now, count, baseline, level } => {
                (next.healthy, next.quiet, value) = (0, 0, Some(now));
                next.worst = rule.side.worse(firing.worst, now);
                next.level = firing.level.max(level);
                if next.level > firing.level {
                    let Firing { since_ms, opened_ms, flapping, .. } = firing;
                    let fired = Fired { since_ms, opened_ms, value: now, count };
                    let how = How { baseline, level, absent: false, flapping };
                    change = Some(Change::Worsened(fired, how));
                }
                if firing.let_go {
                    next.let_go = false;
                    turns.push(minute_ms);
                }
            }
            Observation::Healthy { value: now, .. } => {
                (next.healthy, next.quiet, value) = (firing.healthy + 1, 0, Some(now));
            }
            Observation::NoData { .. } => next.quiet += 1,
            Observation::Broken { .. } => {}
        }
        let age_ms = minute_ms - firing.opened_ms;
        let reason = if next.healthy > rule.keep_firing_minutes {
            if firing.absent { Reason::DataAgain } else { Reason::Recovered }
        } else if next.quiet >= QUIET_MINUTES {
            Reason::NoCalls
        } else if (rule.measure == Measure::Silence || firing.absent) && age_ms >= SILENCE_MS {
            Reason::StillSilent
        } else {
            return (Phase::Firing(next), change);
        };
        if !next.let_go {
            turns.push(minute_ms);
        }
        if next.flapping && turns.len() > MOST_TURNS {
            next.let_go = true;
            return (Phase::Firing(next), change);
        }
        let Firing { since_ms, opened_ms, .. } = firing;
        let resolved =
            Resolved { since_ms, opened_ms, resolved_ms: minute_ms, value, worst: next.worst, reason };
        (Phase::Ok, Some(Change::Resolved(resolved)))
    }
}

/// What tells the alerts of one rule apart: a hash of the rule and the labels, in whatever order.
pub fn fingerprint(rule_id: &str, labels: &[(&str, &str)]) -> String {
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    let mut hash = Sha256::new();
    // A length before each part, so that no two lists of parts give the same bytes.
    for part in std::iter::once(rule_id).chain(labels.into_iter().flat_map(|(name, value)| [name, value])) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}

/// The name of one episode of an alert. It stays the same however often the minute is evaluated.
pub fn episode_id(fingerprint: &str, opened_ms: i64) -> String {
    format!("ep_{fingerprint}_{opened_ms}")
}

fn critical() -> Level {
    Level::Critical
}

fn is_critical(level: &Level) -> bool {
    *level == Level::Critical
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// After how many minutes in a row a rule that cannot look is news.
pub const BROKEN_MINUTES: i64 = 3;
/// How often an alert may change sides within [`TURNS_MS`].
pub const MOST_TURNS: usize = 4;
/// How long a change of sides is remembered.
pub const TURNS_MS: i64 = 60 * crate::time::MINUTE_MS;
/// How many minutes without calls end an episode that needs calls to be judged.
const QUIET_MINUTES: i64 = 10;
/// How long a silence is news.
const SILENCE_MS: i64 = 24 * 60 * crate::time::MINUTE_MS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Level, Minute, observe, series};
    use crate::rule::shipped;
    use crate::time::MINUTE_MS;

    //  seen:    . healthy   w warning  ! breached  ? no data  x the rule is broken
    //  stands:  - inactive  p pending  F fired     f firing   W worsened  R resolved
    //  in `words` also:     . ok       r recovering           n no data   e error      u unknown

    #[test]
    fn fires_once_after_the_breach_has_lasted() {
        assert_eq!(timeline(".!!!!..", 2, 0), "-ppFfR-");
        assert_eq!(timeline(".!!!!..", 0, 0), "-FfffR-");
        assert_eq!(timeline("!!!!!!", 5, 0), "pppppF");
    }

    #[test]
    fn a_breach_that_stops_in_time_never_was() {
        assert_eq!(timeline(".!!.!!.", 2, 0), "-pp-pp-");
        assert_eq!(timeline(".!!?!!!", 2, 0), "-pp-ppF");
    }

    #[test]
    fn resolves_only_after_it_has_been_healthy_for_long_enough() {
        assert_eq!(timeline("!....", 0, 3), "FfffR");
        assert_eq!(timeline("!..!....", 0, 3), "FffffffR");
    }

    #[test]
    fn flapping_is_one_episode() {
        assert_eq!(timeline("!.!.!.!...", 0, 1), "FfffffffR-");
    }

    #[test]
    fn opens_again_after_it_was_resolved() {
        assert_eq!(timeline("!!.!!.", 1, 0), "pFRpFR");
    }

    #[test]
    fn ten_minutes_without_calls_end_it() {
        assert_eq!(timeline("!???????????", 0, 5), "FfffffffffR-");
        assert_eq!(timeline("!?????????!?", 0, 5), "Ffffffffffff");
        assert_eq!(timeline("!?????????.?????????", 0, 5), "Ffffffffffffffffffff");
    }

    #[test]
    fn minutes_without_calls_do_not_count_as_healthy() {
        assert_eq!(timeline("!.??.??.", 0, 2), "FffffffR");
    }

    #[test]
    fn a_rule_that_cannot_look_changes_nothing() {
        assert_eq!(timeline(".xx!x!x!x.x.", 2, 1), "---ppppFfffR");
        assert_eq!(timeline(&format!("!{}.", "x".repeat(20)), 0, 0), format!("F{}R", "f".repeat(20)));
    }

    #[test]
    fn every_state_has_its_word() {
        let rule = rule(1, 2);
        assert_eq!(words(&rule, "x?.!!..!...."), "un.pFrrfrrR.");
        assert_eq!(words(&rule, "!!?.?..."), "pFnrnrR.");
        assert_eq!(words(&rule, "xxxx.!xxxx"), "uuee.pppee");
        assert_eq!(words(&rule, "!!xxxx"), "pFffff");
    }

    #[test]
    fn a_rule_that_is_broken_for_three_minutes_is_news_and_mended_by_one_look() {
        let broken = |seen: &str| {
            let mut state = State::default();
            let look = |(minute, seen): (usize, char)| {
                let now = std::mem::take(&mut state);
                state = step(&rule(0, 0), now, observation(seen, minute), minute as i64 * MINUTE_MS).0;
                if state.is_broken() { 'b' } else { '-' }
            };
            seen.chars().enumerate().map(look).collect::<String>()
        };
        assert_eq!(broken("xx.xxxx.xx"), "-----bb---");
        assert_eq!(broken("!xxx?"), "---b-");
    }

    #[test]
    fn a_minute_without_data_is_what_the_rule_says() {
        let with = |no_data: NoData| Rule { no_data, ..rule(1, 1) };
        for (no_data, seen, expected) in [
            // Nothing, but enough of it ends an alert.
            (NoData::Show, ".?!?!!.?", ".npnpFrn"),
            (NoData::Show, "!!??????????", "pFnnnnnnnnnR"),
            // What it was before, for as long as it lasts.
            (NoData::Last, ".?!?!??.??.", "..ppFffrrrR"),
            (NoData::Last, "!!???????????????", "pFfffffffffffffff"),
            // A zero, which is healthy here.
            (NoData::Zero, "!!??!!??", "pFrRpFrR"),
            // An alert of its own, which any call ends.
            (NoData::Notify(3), ".??.???", ".nn.nnF"),
            (NoData::Notify(3), "????!!..", "nnFfrR.."),
            (NoData::Notify(3), "!!??.!!", "pFnnrff"),
            (NoData::Notify(12), "!!??????????????????????", "pFnnnnnnnnnRnnnnnnnnnnnF"),
        ] {
            assert_eq!(words(&with(no_data), seen), expected, "{no_data:?}: {seen}");
        }
    }

    #[test]
    fn an_alert_for_want_of_data_says_for_how_long_and_how_it_ended() {
        let rule = Rule { no_data: NoData::Notify(3), ..rule(1, 0) };
        let Change::Fired(fired, how) = last_change(&rule, ".???") else { panic!("not fired") };
        assert_eq!((fired.value, how.absent), (3.0, true));
        let Change::Resolved(resolved) = last_change(&rule, ".?????!") else { panic!("not resolved") };
        assert_eq!((resolved.reason, resolved.worst), (Reason::DataAgain, 5.0));
        let day = "?".repeat(24 * 60 + 3);
        let Change::Resolved(resolved) = last_change(&rule, &day) else { panic!("not resolved") };
        assert_eq!(resolved.reason, Reason::StillSilent);
    }

    #[test]
    fn a_warning_that_becomes_worse_is_the_same_episode() {
        assert_eq!(timeline("ww!!w!..", 1, 1), "pFWffffR");
        assert_eq!(timeline("!!ww", 1, 1), "pFff");
        let Change::Worsened(fired, how) = last_change(&rule(0, 0), "ww!") else { panic!("not worse") };
        assert_eq!((fired.opened_ms, fired.value, how.level), (0, 2.0, Level::Critical));
    }

    #[test]
    fn what_flaps_is_held_open_until_it_is_calm() {
        let all = |seen: &str| timeline(seen, 0, 0);
        // The fifth change of sides within the hour is the last one.
        assert_eq!(all("!.!.!.!.!.!."), "FRFRFfffffff");
        // It is let go when an hour has no more than four changes in it, that at minute 5 among them.
        let calm = ".".repeat(70);
        let told = all(&format!("!.!.!{calm}"));
        assert_eq!(told, format!("FRFRF{}R{}", "f".repeat(56), "-".repeat(13)));
        // What goes on flapping stays open, however slowly the first changes are forgotten.
        let slow = format!("!.!.!{}", ".!".repeat(60));
        assert!(all(&slow).ends_with(&"f".repeat(100)), "{}", all(&slow));
        // Four in an hour are nothing out of the ordinary.
        let hourly = format!("!.!.{}", ".".repeat(60)).repeat(3);
        assert!(!all(&hourly).contains('f'));
    }

    #[test]
    fn flapping_is_said_once_when_it_begins() {
        let flapping = |seen: &str| {
            let changes = play(&rule(0, 0), seen).into_iter().filter_map(|(_, change)| change);
            let of = |change| match change {
                Change::Fired(_, how) => Some(how.flapping),
                _ => None,
            };
            changes.filter_map(of).collect::<Vec<_>>()
        };
        assert_eq!(flapping("!.!.!.!.!.!.!."), [false, false, true]);
    }

    #[test]
    fn the_reason_is_what_happened() {
        let reason = |seen: &str| match last_change(&rule(0, 1), seen) {
            Change::Resolved(resolved) => resolved.reason,
            change => panic!("{change:?}"),
        };
        assert_eq!(reason("!.."), Reason::Recovered);
        assert_eq!(reason("!.??????????"), Reason::NoCalls);
    }

    #[test]
    fn a_silence_stays_open_until_calls_are_back_or_a_day_has_passed() {
        let silence = shipped("no-calls").unwrap();
        let hour = "!".repeat(60);
        assert_eq!(stands(&silence, &(hour.clone() + "...........")), format!("F{}R", "f".repeat(69)));
        let day_after = hour.repeat(24) + "!";
        assert_eq!(stands(&silence, &day_after), format!("F{}R", "f".repeat(24 * 60 - 1)));
        let Change::Resolved(resolved) = last_change(&silence, &day_after) else { panic!("still open") };
        assert_eq!(resolved.reason, Reason::StillSilent);
    }

    #[test]
    fn a_change_says_since_when_and_how_bad() {
        let rule = rule(2, 1);
        assert_eq!(
            last_change(&rule, ".!!!"),
            Change::Fired(
                Fired { since_ms: MINUTE_MS, opened_ms: 3 * MINUTE_MS, value: 3.0, count: 100 },
                How { baseline: None, level: Level::Critical, absent: false, flapping: false }
            )
        );
        assert_eq!(
            last_change(&rule, ".!!!!!.."),
            Change::Resolved(Resolved {
                since_ms: MINUTE_MS,
                opened_ms: 3 * MINUTE_MS,
                resolved_ms: 7 * MINUTE_MS,
                value: Some(0.0),
                worst: 5.0,
                reason: Reason::Recovered,
            })
        );
    }

    #[test]
    fn a_minute_seen_twice_counts_once() {
        let rule = rule(2, 2);
        let mut state = State::default();
        for (minute, seen) in ".!!!!....".chars().enumerate() {
            let minute_ms = minute as i64 * MINUTE_MS;
            let (next, _) = step(&rule, state, observation(seen, minute), minute_ms);
            for again in [minute_ms, minute_ms - MINUTE_MS] {
                for other in ['.', '!', '?'] {
                    assert_eq!(step(&rule, next.clone(), observation(other, 0), again), (next.clone(), None));
                }
            }
            state = next;
        }
    }

    #[test]
    fn a_state_survives_being_stored() {
        let rule = rule(1, 1);
        let mut words = Vec::new();
        let mut state = State::default();
        for (minute, seen) in ".!w!?...xx".chars().enumerate() {
            let stored = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), state);
            state = step(&rule, state, observation(seen, minute), minute as i64 * MINUTE_MS).0;
            words.push(state.word());
        }
        let firing = ["firing", "firing", "no_data", "recovering"];
        assert_eq!(words, [&["ok", "pending"][..], &firing, &["ok"; 4]].concat());
        // What happened lately is remembered for an hour; then there is nothing more to remember.
        assert!(!state.is_inactive() && !state.is_firing());
        let (state, _) = step(&rule, state, observation('.', 0), 90 * MINUTE_MS);
        assert!(state.is_inactive());
    }

    #[test]
    fn the_stored_form_stays_readable() {
        for json in [
            r#"{"minute_ms":null,"phase":"unknown"}"#,
            r#"{"minute_ms":0,"phase":"ok","turns":[0],"broken":2}"#,
            r#"{"minute_ms":0,"phase":{"no_data":{"since_ms":0,"quiet":2}}}"#,
            r#"{"minute_ms":60000,"phase":{"pending":{"since_ms":0,"breached":2}}}"#,
            r#"{"minute_ms":60000,"phase":{"firing":{"since_ms":0,"opened_ms":60000,"worst":0.5,"healthy":0,"quiet":1}}}"#,
        ] {
            let state: State = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&state).unwrap(), json);
        }
        let state: State = serde_json::from_str(r#"{"minute_ms":null,"phase":"inactive"}"#).unwrap();
        assert_eq!(state, State::default());
    }

    #[test]
    fn a_fingerprint_depends_on_what_the_labels_are_and_not_on_their_order() {
        let hash = |labels: &[(&str, &str)]| fingerprint("error-share", labels);
        assert_eq!(
            hash(&[("tenant_id", "tn_1"), ("route", "/v1")]),
            hash(&[("route", "/v1"), ("tenant_id", "tn_1")])
        );
        assert_eq!(hash(&[]).len(), 20);
        let different = [
            hash(&[]),
            hash(&[("a", "b")]),
            hash(&[("b", "a")]),
            hash(&[("a", "")]),
            hash(&[("", "a")]),
            hash(&[("ab", "")]),
            hash(&[("a", "b"), ("c", "d")]),
            hash(&[("a", "bc"), ("", "d")]),
            fingerprint("error", &[("-share", "")]),
        ];
        let distinct: std::collections::BTreeSet<_> = different.iter().collect();
        assert_eq!(distinct.len(), different.len());
    }

    #[test]
    fn a_fingerprint_never_changes() {
        let print = fingerprint("error-share", &[("route", "/v1/chat/completions"), ("tenant_id", "tn_1")]);
        assert_eq!(episode_id(&print, 1_767_225_600_000), "ep_3c8474294de36c161bc5_1767225600000");
    }

    //  s all is well   e errors   w slow   l lost   _ no calls; a digit repeats what follows it
    #[test]
    fn the_shipped_rules_see_what_they_are_for() {
        for (rule, minutes, expected) in [
            // The window fills, the breach lasts five minutes, the window clears, five more minutes pass.
            ("error-share", "2s 8e 11s", "2- 5p F 11f R -"),
            ("error-share", "2s 1e 9s", "2- 5p 5-"),
            ("error-share", "8e 20_", "5p F 15f R 6-"),
            ("slow-response", "2s 12w 11s", "2- 10p F 10f R -"),
            ("slow-response", "30s", "30-"),
            ("no-calls", "60s 9_ 5s", "74-"),
            ("no-calls", "60s 10_ 11s", "69- F 10f R"),
            // One stray call ends nothing, nor does it matter that the busy hour is long gone.
            ("no-calls", "60s 99_ s 30_ 12s", "69- F 130f R -"),
            ("no-calls", "20s 60_", "80-"),
            ("records-lost", "2_ l 12_", "2- F 9f R 2-"),
            ("records-lost", "2_ l 4_ l 12_", "2- F 14f R 2-"),
        ] {
            assert_eq!(
                watch(&shipped(rule).unwrap(), &unfold(minutes)),
                unfold(expected),
                "{rule}: {minutes}"
            );
        }
    }

    fn watch(rule: &Rule, minutes: &str) -> String {
        let minute = |letter| {
            let busy = Minute { calls: 100, wait_count: 100, wait_sum_ms: 20_000, ..Minute::default() };
            match letter {
                'e' => Minute { errors: 10, ..busy },
                'l' => Minute { lost: 1, ..Minute::default() },
                's' => busy,
                'w' => Minute { wait_sum_ms: 400_000, ..busy },
                _ => Minute::default(),
            }
        };
        let rows: Vec<_> = (0..).map(|at| at * MINUTE_MS).zip(minutes.chars().map(minute)).collect();
        let mut state = State::default();
        let mut stands = String::new();
        for (minute_ms, _) in &rows {
            let history = series(rows.iter().copied(), *minute_ms, rule.history_minutes());
            let (next, change) =
                step(rule, state.clone(), observe(rule, &history, state.is_firing()), *minute_ms);
            stands.push(letter(&next, change.as_ref()));
            state = next;
        }
        stands
    }

    /// `3a b` is `aaab`.
    fn unfold(text: &str) -> String {
        let part = |part: &str| {
            let letter = part.trim_start_matches(|c: char| c.is_ascii_digit());
            letter.repeat(part[..part.len() - letter.len()].parse().unwrap_or(1))
        };
        text.split(' ').map(part).collect()
    }

    fn timeline(seen: &str, for_minutes: i64, keep_firing_minutes: i64) -> String {
        stands(&rule(for_minutes, keep_firing_minutes), seen)
    }

    fn stands(rule: &Rule, seen: &str) -> String {
        play(rule, seen).into_iter().map(|(state, change)| letter(&state, change.as_ref())).collect()
    }

    fn letter(state: &State, change: Option<&Change>) -> char {
        match change {
            Some(Change::Fired(..)) => 'F',
            Some(Change::Worsened(..)) => 'W',
            Some(Change::Resolved(_)) => 'R',
            None if state.is_firing() => 'f',
            None if state.word() == "pending" => 'p',
            None => '-',
        }
    }

    fn words(rule: &Rule, seen: &str) -> String {
        let word = |(state, change): (State, Option<Change>)| match (state.word(), change) {
            ("ok", None) => '.',
            (word, None) => word.chars().next().unwrap(),
            (_, change) => letter(&state, change.as_ref()),
        };
        play(rule, seen).into_iter().map(word).collect()
    }

    fn last_change(rule: &Rule, seen: &str) -> Change {
        play(rule, seen).into_iter().filter_map(|(_, change)| change).next_back().unwrap()
    }

    fn play(rule: &Rule, seen: &str) -> Vec<(State, Option<Change>)> {
        let mut state = State::default();
        let mut played = Vec::new();
        for (minute, seen) in seen.chars().enumerate() {
            let (next, change) = step(rule, state, observation(seen, minute), minute as i64 * MINUTE_MS);
            played.push((next.clone(), change));
            state = next;
        }
        played
    }

    /// A breach is as bad as it is late.
    fn observation(seen: char, minute: usize) -> Observation {
        match seen {
            '!' | 'w' => {
                let level = if seen == 'w' { Level::Warning } else { Level::Critical };
                Observation::Breached { value: minute as f64, count: 100, baseline: None, level }
            }
            '.' => Observation::Healthy { value: 0.0, count: 100, baseline: None },
            'x' => Observation::Broken { message: "the rule cannot look".to_owned() },
            _ => Observation::NoData { count: 0 },
        }
    }

    fn rule(for_minutes: i64, keep_firing_minutes: i64) -> Rule {
        Rule { for_minutes, keep_firing_minutes, ..shipped("error-share").unwrap() }
    }
}
