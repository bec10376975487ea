//! Reports: read from the rollups, written once, and told to everybody whose clock says so.

use std::collections::BTreeMap;

use hypercare::{
    hours::Zone,
    notice::Notice,
    report::{Alerts, Cadence, Numbers, Part, Report, Timetable},
    time::HOUR_MS,
};
use serde_json::{Value, json};

use crate::{
    Error, Host,
    deliver::{self, TestResult},
    metrics::histogram_of,
    ports::{Database, PortError},
    store::{
        identity, receivers,
        reports::{self, Scheduled, Sums, Written},
        rollups::{self, Grain, Merged, Selection},
    },
};

/// Writes the report that has waited longest, for everybody who gets the same; returns for how many. It takes
/// [`STATEMENTS`] at most.
pub async fn send_due<H: Host>(host: &H, now_ms: i64) -> Result<usize, Error> {
    let due = reports::due(host, now_ms).await?;
    let planned = |report: &Scheduled| {
        let timetable = timetable(report)?;
        let period = timetable.period(now_ms);
        Some((timetable, period, report.tenant_id.clone()))
    };
    // What an earlier release wrote and this one cannot read holds up nobody.
    let Some((first, period, tenant_id)) = due.iter().find_map(planned) else { return Ok(0) };
    let waited_ms = now_ms - due.first().map_or(now_ms, |report| report.next_ms);
    if waited_ms < MOST_WAIT_MS && reports::is_uncounted(host, period[1], period[2]).await? {
        return Ok(0);
    }
    let report = read(host, &tenant_id, &first, period).await?;
    let notice = json!(report.notice()).to_string();
    let key = format!("rep_{}_{}_{}", first.cadence.word(), period[1], period[2]);
    let same: Vec<Written<'_>> = due
        .iter()
        .filter_map(|report| {
            let (timetable, its_period, its_tenant) = planned(report)?;
            let is_same = (timetable.cadence, its_period, &its_tenant) == (first.cadence, period, &tenant_id);
            is_same.then(|| Written {
                receiver_id: &report.receiver_id,
                cadence: timetable.cadence.word(),
                key: &key,
                due_ms: report.next_ms,
                next_ms: timetable.next_ms(now_ms),
            })
        })
        .collect();
    Ok(reports::write(host, &same, &notice, now_ms).await?)
}

/// What [`send_due`] takes.
pub const STATEMENTS: usize = 9;

/// The report of the newest period that is over, whoever gets it.
pub async fn preview<H: Host>(
    host: &H,
    tenant_id: &str,
    timetable: &Timetable,
    now_ms: i64,
) -> Result<Report, Error> {
    if !tenant_id.is_empty() && identity::tenant(host, tenant_id).await?.is_none() {
        return Err(Error::NotFound(format!("tenant {tenant_id}")));
    }
    rollups::count_coarse(host, now_ms).await?;
    read(host, tenant_id, timetable, timetable.period(now_ms)).await
}

/// A report, as the admin API shows it.
pub fn shown(report: &Report) -> Value {
    let Notice { title, summary, facts, .. } = report.notice();
    let facts: Vec<Value> =
        facts.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let [before_ms, from_ms, to_ms] = report.period;
    json!({
        "cadence": report.cadence.word(), "before_ms": before_ms, "from_ms": from_ms, "to_ms": to_ms, "title": title,
        "summary": summary, "facts": facts, "now": report.now, "before": report.before,
    })
}

/// Sends a receiver the report of the newest period that is over, at once.
pub async fn send<H: Host>(
    host: &H,
    receiver_id: &str,
    cadence: Cadence,
    now_ms: i64,
) -> Result<TestResult, Error> {
    let unknown = || Error::NotFound(format!("receiver {receiver_id}"));
    let receiver = receivers::find(host, receiver_id).await?.ok_or_else(unknown)?;
    let set = reports::of_receiver(host, receiver_id).await?;
    let set = set.into_iter().find(|report| report.cadence == cadence.word());
    let timetable = set.as_ref().and_then(timetable).unwrap_or_else(|| Timetable {
        cadence,
        hour: 0,
        weekday: 0,
        zone: Zone::parse("UTC").expect("everybody knows UTC"),
    });
    let own = set.map(|report| report.tenant_id).filter(|tenant_id| !tenant_id.is_empty());
    let tenant_id = own.or_else(|| receiver.tenant_id.clone()).unwrap_or_default();
    let report = preview(host, &tenant_id, &timetable, now_ms).await?;
    deliver::send_once(host, &receiver, &report.notice(), now_ms).await
}

/// When a report comes; none if this release cannot read it.
fn timetable(report: &Scheduled) -> Option<Timetable> {
    Some(Timetable {
        cadence: Cadence::parse(&report.cadence)?,
        hour: report.hour,
        weekday: report.weekday.unwrap_or_default(),
        zone: Zone::parse(&report.zone)?,
    })
}

/// Sets a report.
pub async fn put(db: &impl Database, mut report: Scheduled, now_ms: i64) -> Result<Scheduled, Error> {
    let timetable = timetable(&report).ok_or_else(|| PortError::new("report", "its fields were checked"))?;
    report.next_ms = timetable.next_ms(now_ms);
    match reports::put(db, &report, now_ms).await? {
        true => Ok(report),
        false => Err(Error::NotFound(format!(
            "receiver {} that hears of tenant {}",
            report.receiver_id,
            if report.tenant_id.is_empty() { "any" } else { &report.tenant_id }
        ))),
    }
}

async fn read(
    db: &impl Database,
    tenant_id: &str,
    timetable: &Timetable,
    period: [i64; 3],
) -> Result<Report, Error> {
    let [before_ms, from_ms, to_ms] = period;
    let cadence = timetable.cadence;
    let (found_slots, found_parts, alerts) = reports::parts(db, tenant_id, period, cadence.slot_ms()).await?;
    let count = (to_ms - from_ms + cadence.slot_ms() - 1) / cadence.slot_ms();
    let mut slots = vec![Numbers::default(); usize::try_from(count).unwrap_or_default()];
    for found in &found_slots {
        // With the hour that a week has more, the last day is longer.
        let at = usize::try_from(found.slot).unwrap_or_default().min(slots.len().saturating_sub(1));
        if let Some(slot) = slots.get_mut(at) {
            add(slot, found);
        }
    }
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    for found in &found_parts {
        let to = match found.provider_name.as_str() {
            "" => None,
            provider => Some(format!("{provider}/{}", found.model)),
        };
        let whose =
            (tenant_id.is_empty() && !found.tenant_name.is_empty()).then(|| found.tenant_name.clone());
        for name in to.into_iter().chain(whose) {
            let part = parts.entry(name.clone()).or_insert_with(|| Part {
                name,
                now: Numbers::default(),
                before: Numbers::default(),
            });
            add(if found.is_now != 0 { &mut part.now } else { &mut part.before }, found);
        }
    }
    let whose = alerts.tenant_name.filter(|_| !tenant_id.is_empty());
    let unexpected = |error| PortError::new("database", format!("unexpected alerts: {error}"));
    Ok(Report {
        cadence,
        whose,
        period,
        zone: timetable.zone.clone(),
        now: whole(db, tenant_id, from_ms, to_ms).await?,
        before: whole(db, tenant_id, before_ms, from_ms).await?,
        slots,
        parts: parts.into_values().collect(),
        alerts: Alerts {
            fired: alerts.fired,
            over: alerts.over,
            open: alerts.open,
            summaries: serde_json::from_str(&alerts.summaries).map_err(unexpected)?,
        },
    })
}

/// All calls of a time.
async fn whole(db: &impl Database, tenant_id: &str, from_ms: i64, to_ms: i64) -> Result<Numbers, Error> {
    let only = [("tenant_id", tenant_id)];
    let selection = Selection {
        grain: Grain::Hour,
        from_ms,
        to_ms,
        whole: true,
        dimension: None,
        by: &[],
        only: if tenant_id.is_empty() { &[] } else { &only },
        limit: 1,
    };
    let found = rollups::merged(db, &selection).await?.into_iter().next();
    let merged = found.unwrap_or_else(|| Merged::nothing(from_ms));
    Ok(Numbers {
        calls: merged.int("calls"),
        errors: merged.int("errors"),
        cost_microusd: merged.int("cost_microusd"),
        without_cost: merged.int("without_cost"),
        p95_ms: histogram_of(&merged, "wait_histogram")?.quantile(0.95),
    })
}

fn add(numbers: &mut Numbers, found: &Sums) {
    numbers.calls += found.calls;
    numbers.errors += found.errors;
    numbers.cost_microusd += found.cost_microusd;
    numbers.without_cost += found.without_cost;
}

/// A report waits for its hours to be counted, but not for ever.
const MOST_WAIT_MS: i64 = 2 * HOUR_MS;
