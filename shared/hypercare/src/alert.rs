//! Where an alert stands, minute by minute.
//!
//! ```text
//! inactive ─ breached ─▶ pending ─ lasted `for` ─▶ firing ─ healthy for `keep_firing`, or quiet ─▶ inactive
//!     ▲                     │                         │ ▲
//!     └─ healthy or quiet ──┘                         └─┴─ breached again
//! ```
//!
//! Durations are counted in evaluated minutes. A minute that was missed is evaluated later, in order, so
//! what happens when depends on the calls and never on when somebody looked.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::detect::Observation;
use crate::rule::{Measure, Rule};

/// Where the alert of one rule and series stands. Stored as JSON; an inactive one need not be stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The last minute evaluated.
    minute_ms: Option<i64>,
    phase: Phase,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    #[default]
    Inactive,
    Pending {
        since_ms: i64,
        breached: i64,
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
}

impl State {
    /// The state as a word: `inactive`, `pending` or `firing`.
    pub fn word(&self) -> &'static str {
        match self.phase {
            Phase::Inactive => "inactive",
            Phase::Pending { .. } => "pending",
            Phase::Firing(_) => "firing",
        }
    }

    /// Whether there is nothing to remember.
    pub fn is_inactive(&self) -> bool {
        self.phase == Phase::Inactive
    }

    /// Whether an episode is open.
    pub fn is_firing(&self) -> bool {
        self.opened_ms().is_some()
    }

    /// When the open episode was opened.
    pub fn opened_ms(&self) -> Option<i64> {
        match &self.phase {
            Phase::Firing(firing) => Some(firing.opened_ms),
            Phase::Inactive | Phase::Pending { .. } => None,
        }
    }
}

/// An alert changed sides.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An episode was opened.
    Fired(Fired),
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
    /// The measure at that minute.
    pub value: f64,
    /// The calls it was taken from.
    pub count: i64,
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
    /// The highest measure since the episode was opened.
    pub worst: f64,
    /// Why it was closed.
    pub reason: Reason,
}

/// Why an episode was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
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
    let (phase, change) = match (state.phase, seen) {
        (phase, Observation::Broken { .. }) => (phase, None),
        (Phase::Inactive, Observation::Breached { value, count, .. }) => {
            breached(rule, minute_ms, 1, value, count, minute_ms)
        }
        (Phase::Pending { since_ms, breached: before }, Observation::Breached { value, count, .. }) => {
            breached(rule, since_ms, before + 1, value, count, minute_ms)
        }
        (Phase::Inactive | Phase::Pending { .. }, _) => (Phase::Inactive, None),
        (Phase::Firing(firing), seen) => still(rule, firing, seen, minute_ms),
    };
    (State { minute_ms: Some(minute_ms), phase }, change)
}

fn breached(
    rule: &Rule,
    since_ms: i64,
    minutes: i64,
    value: f64,
    count: i64,
    minute_ms: i64,
) -> (Phase, Option<Change>) {
    if minutes <= rule.for_minutes {
        return (Phase::Pending { since_ms, breached: minutes }, None);
    }
    let firing = Firing { since_ms, opened_ms: minute_ms, worst: value, healthy: 0, quiet: 0 };
    let fired = Fired { since_ms, opened_ms: minute_ms, value, count };
    (Phase::Firing(firing), Some(Change::Fired(fired)))
}

fn still(rule: &Rule, firing: Firing, seen: Observation, minute_ms: i64) -> (Phase, Option<Change>) {
    let Firing { since_ms, opened_ms, worst, healthy, quiet } = firing;
    let (next, value) = match seen {
        Observation::Breached { value, .. } => {
            (Firing { worst: rule.side.worse(worst, value), healthy: 0, quiet: 0, ..firing }, Some(value))
        }
        Observation::Healthy { value, .. } => {
            (Firing { healthy: healthy + 1, quiet: 0, ..firing }, Some(value))
        }
        Observation::NoData { .. } => (Firing { quiet: quiet + 1, ..firing }, None),
        Observation::Broken { .. } => (firing.clone(), None),
    };
    let reason = if next.healthy > rule.keep_firing_minutes {
        Reason::Recovered
    } else if next.quiet >= QUIET_MINUTES {
        Reason::NoCalls
    } else if rule.measure == Measure::Silence && minute_ms - opened_ms >= SILENCE_MS {
        Reason::StillSilent
    } else {
        return (Phase::Firing(next), None);
    };
    let resolved = Resolved { since_ms, opened_ms, resolved_ms: minute_ms, value, worst: next.worst, reason };
    (Phase::Inactive, Some(Change::Resolved(resolved)))
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

    //  seen:    . healthy   ! breached  ? no data  x broken
    //  stands:  - inactive  p pending   F fired    f firing   R resolved

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
            Change::Fired(Fired { since_ms: MINUTE_MS, opened_ms: 3 * MINUTE_MS, value: 3.0, count: 100 })
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
        for (minute, seen) in ".!!?...".chars().enumerate() {
            let stored = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), state);
            state = step(&rule, state, observation(seen, minute), minute as i64 * MINUTE_MS).0;
            words.push(state.word());
            assert_eq!(state.is_firing(), state.word() == "firing");
            assert_eq!(state.is_inactive(), state.word() == "inactive");
        }
        assert_eq!(words, ["inactive", "pending", "firing", "firing", "firing", "inactive", "inactive"]);
    }

    #[test]
    fn the_stored_form_stays_readable() {
        for json in [
            r#"{"minute_ms":null,"phase":"inactive"}"#,
            r#"{"minute_ms":60000,"phase":{"pending":{"since_ms":0,"breached":2}}}"#,
            r#"{"minute_ms":60000,"phase":{"firing":{"since_ms":0,"opened_ms":60000,"worst":0.5,"healthy":0,"quiet":1}}}"#,
        ] {
            let state: State = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&state).unwrap(), json);
        }
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
            stands.push(letter(next.word(), change.as_ref()));
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
        play(rule, seen).into_iter().map(|(word, change)| letter(word, change.as_ref())).collect()
    }

    fn letter(word: &str, change: Option<&Change>) -> char {
        match (word, change) {
            (_, Some(Change::Fired(_))) => 'F',
            (_, Some(Change::Resolved(_))) => 'R',
            ("pending", None) => 'p',
            ("firing", None) => 'f',
            _ => '-',
        }
    }

    fn last_change(rule: &Rule, seen: &str) -> Change {
        play(rule, seen).into_iter().filter_map(|(_, change)| change).next_back().unwrap()
    }

    fn play(rule: &Rule, seen: &str) -> Vec<(&'static str, Option<Change>)> {
        let mut state = State::default();
        let mut played = Vec::new();
        for (minute, seen) in seen.chars().enumerate() {
            let seen = observation(seen, minute);
            let (next, change) = step(rule, state, seen, minute as i64 * MINUTE_MS);
            played.push((next.word(), change));
            state = next;
        }
        played
    }

    /// A breach is as bad as it is late.
    fn observation(seen: char, minute: usize) -> Observation {
        match seen {
            '!' => {
                let level = Level::Critical;
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
