//! The work of a minute: count the calls, look at them, decide who must know, tell them; then chores.
//!
//! Whoever calls [`tick`] may call it twice, late, or not at all. The first of a minute claims it; and as
//! every step goes by what is marked, stored and due rather than by what a tick before has done, a tick
//! that dies in the middle leaves its work to the next.
//!
//! The free plan of Cloudflare runs fifty statements and fifty requests for a tick. So what need not be done every
//! minute is a chore: those that are due are done in the order in which they were begun last, each if its
//! worst case fits in what is left. One that fails or dies is due again a minute later, behind the others; and for one
//! that waits for long, deliveries leave room.

use futures::future::LocalBoxFuture;
use hypercare::time::MINUTE_MS;
use serde::Serialize;

use crate::{
    Error, Host, attend, deliver, heartbeat, notes, outlet, report,
    store::{
        self, alerts, faults,
        retention::{self, delete_calls, delete_turn},
        rollups::{self, count_coarse},
        schedule::{self, Begun, CLOCK_ERROR_MS},
    },
    watch::{self, Counted},
};

/// Work that need not be done every minute. What it does is done for good or done again: it may be cut off anywhere.
struct Chore<H> {
    /// What it goes by, where it is noted and told.
    name: &'static str,
    /// It is due in every minute that leaves `at` when divided by this.
    every: i64,
    /// See above.
    at: i64,
    /// How many statements it runs at most.
    statements: usize,
    /// How many requests it makes at most.
    requests: usize,
    /// Does it; returns how many things it did.
    run: for<'a> fn(&'a H, i64) -> LocalBoxFuture<'a, Result<usize, Error>>,
}

/// The rota.
fn chores<H: Host>() -> Vec<Chore<H>> {
    /// Without requests.
    fn chore<H>(
        name: &'static str,
        (every, at): (i64, i64),
        statements: usize,
        run: for<'a> fn(&'a H, i64) -> LocalBoxFuture<'a, Result<usize, Error>>,
    ) -> Chore<H> {
        Chore { name, every, at, statements, requests: 0, run }
    }
    /// One part of what is too old.
    macro_rules! turn {
        ($turn:literal) => {
            chore(
                concat!("retention-", $turn),
                (retention::TURNS as i64, $turn),
                retention::MOST_STATEMENTS,
                |host, now_ms| Box::pin(async move { Ok(delete_turn(host, $turn, now_ms).await?) }),
            )
        };
    }
    // Of those that have waited equally long the first comes first.
    vec![
        Chore {
            requests: outlet::MOST_REQUESTS,
            ..chore(OUTLETS, (1, 0), outlet::MOST_STATEMENTS, |host, _| Box::pin(outlet::send_waiting(host)))
        },
        chore("expiry", (1, 0), alerts::EXPIRE_STATEMENTS, |host, now_ms| {
            Box::pin(async move { Ok(alerts::expire(host, now_ms).await?) })
        }),
        chore("reports", (1, 0), report::STATEMENTS, |host, now_ms| Box::pin(report::send_due(host, now_ms))),
        chore("retention-calls", (1, 0), retention::MOST_STATEMENTS, |host, now_ms| {
            Box::pin(async move { Ok(delete_calls(host, now_ms).await?) })
        }),
        // In a minute when the last calls of the hour before had time to arrive.
        chore(HOURS, (60, 5), rollups::COARSE_STATEMENTS, |host, now_ms| {
            Box::pin(async move { Ok(count_coarse(host, now_ms).await?) })
        }),
        turn!(0),
        turn!(1),
        turn!(2),
        turn!(3),
        turn!(4),
        // A minute after the hours: the errors of the last one, and the answers of providers.
        chore("faults", (60, 6), faults::STATEMENTS, |host, now_ms| {
            Box::pin(async move { Ok(faults::count(host, now_ms).await.map(|()| 0)?) })
        }),
        // The tick after looks at what there is new.
        chore("sources", (5, 2), notes::SOURCES_STATEMENTS, |host, now_ms| {
            Box::pin(notes::sources(host, now_ms))
        }),
        chore("size", (60, 34), notes::SIZE_STATEMENTS, |host, now_ms| Box::pin(notes::size(host, now_ms))),
    ]
}

/// What a tick did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The minute.
    pub minute_ms: i64,
    /// Whether this tick had it.
    pub did: Did,
    /// Minutes, hours and days counted.
    pub rolled_up: usize,
    /// Hours and days that changed too late to be counted again.
    pub rolled_up_too_late: usize,
    /// Minutes looked at.
    pub evaluated_minutes: usize,
    /// Minutes nobody looked at in time.
    pub skipped_minutes: usize,
    /// Episodes that opened.
    pub fired: usize,
    /// Episodes that closed.
    pub resolved: usize,
    /// Notices delivered.
    pub delivered: usize,
    /// Attempts that did not deliver.
    pub undelivered: usize,
    /// Records that collectors accepted, once for each.
    pub sent_out: usize,
    /// Rows that were too old.
    pub deleted: usize,
    /// Chores that were done.
    pub chores: Vec<&'static str>,
    /// Steps that failed. The log says why; the next tick does what they have left.
    pub failed_steps: Vec<&'static str>,
}

/// Whether a tick did the minute's work, or found it taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Did {
    /// Another tick has it.
    Nothing,
    /// The work.
    Work,
}

/// Does the work that is due. An error means that not even the minute could be claimed.
pub async fn tick<H: Host>(host: &H, now_ms: i64) -> Result<Report, Error> {
    let minute_ms = hypercare::time::minute_of(now_ms);
    let before = host.statements();
    let left = || (MOST_STATEMENTS + before).saturating_sub(host.statements());
    let mut report = Report {
        minute_ms,
        did: Did::Nothing,
        rolled_up: 0,
        rolled_up_too_late: 0,
        evaluated_minutes: 0,
        skipped_minutes: 0,
        fired: 0,
        resolved: 0,
        delivered: 0,
        undelivered: 0,
        sent_out: 0,
        deleted: 0,
        chores: Vec::new(),
        failed_steps: Vec::new(),
    };
    let Some(begun) = schedule::claim(host, minute_ms).await? else { return Ok(report) };
    report.did = Did::Work;
    let rota = chores();
    let mut due = due(&rota, &begun, minute_ms);
    if host.config().outlets.is_empty() {
        due.retain(|due| due.chore.name != OUTLETS);
    }
    let hours_wait = due.iter().any(|due| due.chore.name == HOURS && due.begun_ms.is_some());

    // A step that fails does not stop the others: a rule that cannot be evaluated must not hold up a notice.
    let mut failed = |step: &'static str, error: Error| {
        let cause = error.cause().map_or_else(|| error.to_string(), ToString::to_string);
        host.log(&format!("tick {minute_ms}: {step} failed: {cause}"));
        report.failed_steps.push(step);
    };
    let mut rolled_up = RolledUp::default();
    if let Err(error) = roll_up(host, now_ms, &mut rolled_up).await {
        failed("rollups", error);
    }
    report.rolled_up = rolled_up.buckets;
    report.rolled_up_too_late = rolled_up.too_late;
    // Minutes that are not counted look like minutes without calls.
    match watch::evaluate(host, now_ms, Counted { minutes: rolled_up.newest, hours: !hours_wait }).await {
        Ok(evaluation) => {
            report.evaluated_minutes = evaluation.minutes;
            report.skipped_minutes = evaluation.skipped;
            report.fired = evaluation.fired;
            report.resolved = evaluation.resolved;
        }
        Err(error) => failed("evaluation", error),
    }
    let has_ends = match attend::attend(host, now_ms).await {
        Ok(has_ends) => has_ends,
        Err(error) => {
            failed("attention", error);
            true
        }
    };
    if has_ends && let Err(error) = store::outbox::combine(host, now_ms).await {
        failed("outbox", error.into());
    }
    let mut requests = MOST_REQUESTS - HEARTBEAT;
    match deliver::deliver_due(host, left().saturating_sub(FINISH + reserved(&due, minute_ms))).await {
        Ok(deliveries) => {
            report.delivered = deliveries.delivered;
            report.undelivered = deliveries.undelivered;
            requests = requests.saturating_sub(deliveries.requests);
        }
        Err(error) => failed("deliveries", error),
    }
    for due in due {
        if left() < due.chore.cost() + FINISH || requests < due.chore.requests {
            continue;
        }
        match due.work(host, minute_ms, now_ms).await {
            Ok(None) => {}
            Ok(Some(done)) => {
                requests -= due.chore.requests;
                report.chores.push(due.chore.name);
                match due.chore.name.split('-').next() {
                    Some(HOURS) => report.rolled_up += done,
                    Some(OUTLETS) => report.sent_out += done,
                    Some("retention") => report.deleted += done,
                    _ => {}
                }
            }
            Err(error) => {
                requests -= due.chore.requests;
                failed(due.chore.name, error);
            }
        }
    }
    // Whoever watches the watch sees a failing step as a tick that does not finish.
    let is_all_done = report.failed_steps.is_empty();
    match schedule::finish(host, &report.chores, is_all_done, minute_ms).await {
        Ok(()) if is_all_done => heartbeat::beat(host).await,
        Ok(()) => {}
        Err(error) => {
            host.log(&format!("tick {minute_ms}: not noted as finished: {error}"));
            report.failed_steps.push("finish");
        }
    }
    Ok(report)
}

/// Why nobody keeps watch, where the newest tick that did all its work is long ago.
pub fn lateness(last_tick_ms: Option<i64>, now_ms: i64) -> Option<String> {
    let Some(last_tick_ms) = last_tick_ms else {
        return Some("no tick has done all its work yet: is there a schedule?".to_owned());
    };
    let late_ms = now_ms - last_tick_ms;
    (late_ms > LATE_MS)
        .then(|| format!("the last tick that did all its work was {} minutes ago", late_ms / MINUTE_MS))
}

impl<H> Chore<H> {
    /// How many statements it takes at most, with that which begins it.
    fn cost(&self) -> usize {
        1 + self.statements
    }
}

/// A chore whose time has come.
struct Due<'a, H> {
    chore: &'a Chore<H>,
    /// The minute in which it was begun last.
    begun_ms: Option<i64>,
}

impl<H: Host> Due<'_, H> {
    /// Does it, unless somebody else has begun it since.
    async fn work(&self, host: &H, minute_ms: i64, now_ms: i64) -> Result<Option<usize>, Error> {
        let Self { chore, begun_ms } = self;
        if !schedule::begin(host, chore.name, *begun_ms, minute_ms).await? {
            return Ok(None);
        }
        (chore.run)(host, now_ms).await.map(Some)
    }
}

/// The chores whose time has come, that which was begun first before the others.
fn due<'a, H>(rota: &'a [Chore<H>], begun: &[Begun], minute_ms: i64) -> Vec<Due<'a, H>> {
    let mut due: Vec<Due<'_, H>> = rota
        .iter()
        .filter_map(|chore| {
            let begun = begun.iter().find(|begun| begun.name == chore.name);
            let begun_ms = begun.map(|begun| begun.claimed_ms);
            let slot = |ms: i64| (ms.div_euclid(MINUTE_MS) - chore.at).div_euclid(chore.every);
            let is_due = begun.is_none_or(|begun| {
                let is_ahead = begun.claimed_ms > minute_ms + CLOCK_ERROR_MS;
                let failed = begun.finished_ms < Some(begun.claimed_ms) && begun.claimed_ms < minute_ms;
                is_ahead || failed || slot(begun.claimed_ms) < slot(minute_ms)
            });
            is_due.then_some(Due { chore, begun_ms })
        })
        .collect();
    due.sort_by_key(|due| due.begun_ms);
    due
}

/// How many statements are kept for a chore that waits for long.
fn reserved<H>(due: &[Due<'_, H>], minute_ms: i64) -> usize {
    let waits = |due: &&Due<'_, H>| {
        due.begun_ms.is_some_and(|begun_ms| minute_ms - begun_ms >= due.chore.every * MINUTE_MS + PATIENCE_MS)
    };
    due.iter().find(waits).map_or(0, |due| due.chore.cost())
}

#[derive(Default)]
struct RolledUp {
    /// Whether the newest minutes are counted.
    newest: bool,
    buckets: usize,
    too_late: usize,
}

/// Counts what changed, the newest minutes first, a few at a time: the database bounds a transaction.
async fn roll_up<H: Host>(host: &H, now_ms: i64, done: &mut RolledUp) -> Result<(), Error> {
    let dirty = rollups::dirty_minutes(host).await?;
    done.newest = dirty.is_empty();
    for minutes in dirty.chunks(MINUTES_AT_ONCE) {
        let counted = rollups::count(host, minutes, now_ms).await?;
        done.newest = true;
        done.buckets += counted.buckets;
        done.too_late += counted.too_old;
    }
    if done.too_late > 0 {
        host.log(&format!("rollups: {} hours and days changed too late to be counted again", done.too_late));
    }
    Ok(())
}

/// The chore that counts hours and days.
const HOURS: &str = "hours";
/// A schedule may leave out a minute or two.
const LATE_MS: i64 = 5 * MINUTE_MS;
const OUTLETS: &str = "outlets";
const MINUTES_AT_ONCE: usize = 20;
/// What an invocation on Cloudflare's free plan may run,
const MOST_STATEMENTS: usize = 50;
/// and ask for.
const MOST_REQUESTS: usize = 50;
/// What noting the end takes.
const FINISH: usize = 1;
/// What the sign of life takes.
const HEARTBEAT: usize = 1;
/// How long a chore waits until deliveries leave room for it.
const PATIENCE_MS: i64 = 10 * MINUTE_MS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chores_are_due_in_the_order_in_which_they_were_begun() {
        // The rota: a 0 1, b 60 5. Each case: minute, when each was begun and done, what is due, what is kept for them.
        type Case = (i64, &'static [(&'static str, i64, Option<i64>)], &'static [&'static str], usize);
        let cases: [Case; 8] = [
            (1_000, &[], &["a", "b"], 0),
            (1_000, &[("a", 1_000, Some(1_000)), ("b", 965, Some(965))], &[], 0),
            (1_000, &[("a", 999, Some(999)), ("b", 965, Some(965))], &["a"], 0),
            // It fails, or was cut off.
            (1_000, &[("a", 999, Some(999)), ("b", 998, Some(905))], &["b", "a"], 0),
            (1_000, &[("a", 1_000, None), ("b", 1_000, None)], &[], 0),
            // Its hour has come; it waits for a minute, for long.
            (1_025, &[("a", 1_024, Some(1_024)), ("b", 965, Some(965))], &["b", "a"], 0),
            (1_035, &[("a", 1_034, Some(1_034)), ("b", 965, Some(965))], &["b", "a"], 10),
            // A clock went wrong.
            (1_000, &[("a", 9_000, Some(9_000)), ("b", 965, Some(965))], &["a"], 0),
        ];
        for (minute, begun, expected, kept) in cases {
            let nothing = |_: &(), _| -> LocalBoxFuture<'_, _> { Box::pin(async { Ok(0) }) };
            let rota = [("a", 1, 0, 3), ("b", 60, 5, 9)].map(|(name, every, at, statements)| Chore {
                name,
                every,
                at,
                statements,
                requests: 0,
                run: nothing,
            });
            let begun: Vec<Begun> = begun
                .iter()
                .map(|(name, claimed, finished)| Begun {
                    name: (*name).to_owned(),
                    claimed_ms: claimed * MINUTE_MS,
                    finished_ms: finished.map(|minute| minute * MINUTE_MS),
                })
                .collect();
            let due = due(&rota, &begun, minute * MINUTE_MS);
            assert_eq!(
                due.iter().map(|due| due.chore.name).collect::<Vec<_>>(),
                expected,
                "{minute} {begun:?}"
            );
            assert_eq!(reserved(&due, minute * MINUTE_MS), kept, "{minute} {begun:?}");
        }
    }
}
