//! Reports that come by the clock.

use bytes::Bytes;
use gateway::{
    Error, Host,
    call::Incoming,
    report,
    store::{
        receivers,
        reports::{self, Scheduled},
    },
};
use http::Response;
use hypercare::{
    hours::Zone,
    report::{Cadence, Timetable},
};
use serde_json::{Value, json};

use super::fields::{Fields, Query, wrong};
use crate::route::{body, json_response, list_of};

type Answer = Result<Response<Bytes>, Error>;

pub(super) async fn list_reports<H: Host>(receiver: &str, host: &H) -> Answer {
    if receivers::find(host, receiver).await?.is_none() {
        return Err(Error::NotFound(format!("receiver {receiver}")));
    }
    let found = reports::of_receiver(host, receiver).await?;
    Ok(json_response(200, &list_of(found.iter().map(shown).collect::<Vec<_>>())))
}

pub(super) async fn put_report<H: Host>(
    receiver: &str,
    cadence: &str,
    incoming: &Incoming,
    host: &H,
) -> Answer {
    let cadence = known(cadence)?;
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let hour = fields.integer("hour", 0..=23)?.unwrap_or(8);
    let weekday = fields.text("weekday", 10)?;
    let weekday = match (cadence, weekday.as_deref()) {
        (Cadence::Daily, None) => None,
        (Cadence::Daily, Some(_)) => return Err(wrong("weekday", "`weekday` is for weekly reports.")),
        (Cadence::Weekly, None) => Some(0),
        (Cadence::Weekly, Some(name)) => {
            let at = WEEKDAYS.iter().position(|weekday| *weekday == name);
            Some(at.ok_or_else(|| {
                wrong("weekday", format!("`weekday` must be one of {}.", WEEKDAYS.join(", ")))
            })? as i64)
        }
    };
    let zone = fields.text("zone", 50)?.unwrap_or_else(|| "UTC".to_owned());
    zone_of(&zone)?;
    let tenant_id = fields.text("tenant_id", 100)?.unwrap_or_default();
    fields.finish()?;
    let report = Scheduled {
        receiver_id: receiver.to_owned(),
        cadence: cadence.word().to_owned(),
        tenant_id,
        hour,
        weekday,
        zone,
        next_ms: 0,
    };
    Ok(json_response(200, &shown(&report::put(host, report, host.now_ms()).await?)))
}

pub(super) async fn delete_report<H: Host>(receiver: &str, cadence: &str, host: &H) -> Answer {
    if !reports::delete(host, receiver, known(cadence)?.word()).await? {
        return Err(Error::NotFound(format!("{cadence} report to receiver {receiver}")));
    }
    Ok(json_response(200, &json!({ "receiver_id": receiver, "cadence": cadence, "deleted": true })))
}

pub(super) async fn send_report<H: Host>(receiver: &str, cadence: &str, host: &H) -> Answer {
    Ok(json_response(200, &report::send(host, receiver, known(cadence)?, host.now_ms()).await?))
}

pub(super) async fn preview_report<H: Host>(cadence: &str, incoming: &Incoming, host: &H) -> Answer {
    let cadence = known(cadence)?;
    let mut query = Query::parse(incoming.uri().query());
    let tenant_id = query.text("tenant").unwrap_or_default();
    let zone = zone_of(&query.text("zone").unwrap_or_else(|| "UTC".to_owned()))?;
    let at_ms = query.time("at")?.unwrap_or_else(|| host.now_ms());
    query.finish()?;
    let timetable = Timetable { cadence, hour: 0, weekday: 0, zone };
    Ok(json_response(200, &report::shown(&report::preview(host, &tenant_id, &timetable, at_ms).await?)))
}

fn known(cadence: &str) -> Result<Cadence, Error> {
    Cadence::parse(cadence)
        .ok_or_else(|| Error::NotFound(format!("{cadence} report; there are daily and weekly ones")))
}

fn zone_of(text: &str) -> Result<Zone, Error> {
    let message = "`zone` must be `UTC`, an offset like `+05:30`, or a place like `Europe/Berlin`.";
    Zone::parse(text).ok_or_else(|| wrong("zone", message))
}

fn shown(report: &Scheduled) -> Value {
    let weekday = report.weekday.and_then(|weekday| WEEKDAYS.get(usize::try_from(weekday).ok()?));
    let Scheduled { receiver_id, cadence, tenant_id, hour, zone, next_ms, .. } = report;
    let tenant_id = (!tenant_id.is_empty()).then_some(tenant_id);
    json!({
        "receiver_id": receiver_id, "cadence": cadence, "tenant_id": tenant_id, "hour": hour, "weekday": weekday,
        "zone": zone, "next_ms": next_ms,
    })
}

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
