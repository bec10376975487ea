//! The work of a minute: count the calls, look at them, decide who must know, tell them, clear out what is old.
//!
//! Whoever calls [`tick`] may call it twice, late, or not at all. The first of a minute claims it; and as
//! every step goes by what is marked, stored and due rather than by what a tick before has done, a tick
//! that dies in the middle leaves its work to the next.

use serde::Serialize;

use hypercare::time::MINUTE_MS;

use crate::{
    Error, Host, attend, deliver, heartbeat,
    store::{self, rollups::Grain, schedule::Claim},
    watch,
};

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
    /// Rows that were too old.
    pub deleted: usize,
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
        deleted: 0,
        failed_steps: Vec::new(),
    };
    let Some(claim) = store::schedule::claim(host, minute_ms).await? else { return Ok(report) };
    let counts_coarse = counts_coarse(minute_ms, claim);
    report.did = Did::Work;

    // A step that fails does not stop the others: a rule that cannot be evaluated must not hold up a notice.
    let mut failed = |step: &'static str, error: Error| {
        let cause = error.cause().map_or_else(|| error.to_string(), ToString::to_string);
        host.log(&format!("tick {minute_ms}: {step} failed: {cause}"));
        report.failed_steps.push(step);
    };
    let mut rolled_up = RolledUp::default();
    if let Err(error) = roll_up(host, now_ms, counts_coarse, &mut rolled_up).await {
        failed("rollups", error);
    }
    report.rolled_up = rolled_up.buckets;
    report.rolled_up_too_late = rolled_up.too_late;
    // Minutes that are not counted look like minutes without calls.
    match watch::evaluate(host, now_ms, rolled_up.newest).await {
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
    match deliver::deliver_due(host).await {
        Ok(deliveries) => {
            report.delivered = deliveries.delivered;
            report.undelivered = deliveries.undelivered;
        }
        Err(error) => failed("deliveries", error),
    }
    // A tick has few statements; one that counts hours leaves this to the next.
    if !counts_coarse {
        match store::retention::delete_due(host, now_ms).await {
            Ok(deleted) => report.deleted = deleted,
            Err(error) => failed("retention", error.into()),
        }
    }
    // Whoever watches the watch sees a failing step as a tick that does not finish.
    if report.failed_steps.is_empty() {
        match store::schedule::finish(host, minute_ms).await {
            Ok(()) => heartbeat::beat(host).await,
            Err(error) => {
                host.log(&format!("tick {minute_ms}: not noted as finished: {error}"));
                report.failed_steps.push("finish");
            }
        }
    }
    Ok(report)
}

/// Whether it is time to count hours and days: once an hour, or later if nobody did when it was.
fn counts_coarse(minute_ms: i64, claim: Claim) -> bool {
    let hour_ms = Grain::Hour.bucket_of(minute_ms - COARSE_MINUTE * MINUTE_MS);
    let due_ms = hour_ms + COARSE_MINUTE * MINUTE_MS;
    let was_missed = claim.finished_ms.is_some_and(|finished_ms| finished_ms < due_ms)
        && claim.oldest_hour_ms.is_some_and(|oldest_ms| oldest_ms < hour_ms);
    minute_ms == due_ms || was_missed
}

#[derive(Default)]
struct RolledUp {
    /// Whether the newest minutes are counted.
    newest: bool,
    buckets: usize,
    too_late: usize,
}

/// Counts what changed, the newest minutes first, a few at a time: the database bounds a transaction.
async fn roll_up<H: Host>(
    host: &H,
    now_ms: i64,
    counts_coarse: bool,
    done: &mut RolledUp,
) -> Result<(), Error> {
    let dirty = store::rollups::dirty_minutes(host).await?;
    done.newest = dirty.is_empty();
    for minutes in dirty.chunks(MINUTES_AT_ONCE) {
        let counted = store::rollups::count(host, minutes, now_ms).await?;
        done.newest = true;
        done.buckets += counted.buckets;
        done.too_late += counted.too_old;
    }
    if counts_coarse {
        done.buckets += store::rollups::count_coarse(host, now_ms).await?;
    }
    if done.too_late > 0 {
        host.log(&format!("rollups: {} hours and days changed too late to be counted again", done.too_late));
    }
    Ok(())
}

const MINUTES_AT_ONCE: usize = 20;
/// In which minute of an hour the hour before it is counted: once its last calls had time to arrive.
const COARSE_MINUTE: i64 = 5;
