//! What was recorded and counted: calls, metrics.

use bytes::Bytes;
use gateway::{
    Error, Host,
    call::Incoming,
    metrics::{self, Dimension, Grain, Series},
    record::Outcome,
    store::{
        calls::{self, Filter},
        outlets, rollups,
    },
};
use http::Response;
use llm::{Provider, provider::PROVIDERS};
use serde_json::{Value, json, to_value};

use super::fields::{Query, wrong};
use crate::route::{ROUTES, json_response, list_of};

type Answer = Result<Response<Bytes>, Error>;

pub(super) async fn query_metrics<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    let mut query = Query::parse(incoming.uri().query());
    let grain = query.text("grain");
    let grain = Grain::parse(grain.as_deref().unwrap_or("minute"))
        .ok_or_else(|| wrong("grain", "`grain` must be `minute`, `hour` or `day`."))?;
    let by = query.text("by").unwrap_or_default();
    let by = by.split(',').filter(|word| !word.is_empty()).map(|word| dimension("by", word));
    let by = by.collect::<Result<_, _>>()?;
    let mut only = Vec::new();
    for word in FILTERS {
        if let Some(value) = filter(&mut query, word)? {
            only.push((dimension(word, word)?, value));
        }
    }
    for (name, value) in query.beginning("tag.") {
        let word = format!("tag.{name}");
        only.push((dimension(&word, &word)?, value));
    }
    let now_ms = host.now_ms();
    // Without a range: the newest hour of minutes, day of hours, month of days.
    let to_ms = query.time("to")?.unwrap_or(now_ms + grain.width_ms());
    let default_buckets = match grain {
        Grain::Minute => 60,
        Grain::Hour => 24,
        Grain::Day => 30,
    };
    let from_ms = query.time("from")?.unwrap_or(to_ms - default_buckets * grain.width_ms());
    let asked = metrics::Query { from_ms, to_ms, grain, series: Series { by, only } };
    query.finish()?;
    if grain != Grain::Minute {
        rollups::count_coarse(host, now_ms).await?;
    }
    Ok(json_response(200, &list_of(metrics::query(host, &asked).await?)))
}

/// What a word of a request's `field` stands for.
pub(super) fn dimension(field: &str, word: &str) -> Result<Dimension, Error> {
    Dimension::parse(word).ok_or_else(|| {
        wrong(field, format!("`{field}` does not take `{word}`, but {}.", metrics::dimension_words()))
    })
}

pub(super) async fn list_calls<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    let mut query = Query::parse(incoming.uri().query());
    let filter = Filter {
        tenant_id: query.text("tenant"),
        key_id: query.text("key"),
        status: query.integer("status", 100..=599)?,
        outcome: filter(&mut query, "outcome")?,
        provider_name: filter(&mut query, "provider")?,
        model: query.text("model"),
        trace_id: query.text("trace"),
        prompt_version: query.text("prompt_version"),
        country: query.text("country"),
        source: query.text("source"),
        tags: query.beginning("tag."),
        from_ms: query.time("from")?,
        to_ms: query.time("to")?,
        after: cursor(&mut query)?,
        limit: limit(&mut query)?,
    };
    query.finish()?;
    let found = calls::list(host, &filter).await?;
    let next =
        found.last().and_then(|last| last.position()).map(|(started_ms, id)| (started_ms, id.to_owned()));
    Ok(json_response(200, &page(found, filter.limit, next)))
}

/// What a parameter takes from, where only some values are any: one that is none would find nothing in silence.
fn filter(query: &mut Query, name: &str) -> Result<Option<String>, Error> {
    let Some(value) = query.text(name) else { return Ok(None) };
    match name {
        "outcome" if !Outcome::WORDS.contains(&value.as_str()) => Err(not_one_of(name, &Outcome::WORDS)),
        "provider" => {
            // By the name in `provider/model`, or by OpenTelemetry's.
            let is_it = |row: &&Provider| row.name == value || row.telemetry_name == value;
            let found = PROVIDERS.iter().find(is_it);
            found.map(|row| Some(row.telemetry_name.to_owned())).ok_or_else(|| {
                let names: Vec<&str> = PROVIDERS.iter().map(|row| row.name).collect();
                not_one_of(name, &names)
            })
        }
        "route" if !ROUTES.iter().any(|(_, path)| *path == value) => {
            Err(wrong(name, "`route` must be a path as openapi.json has it, like `/v1/chat/completions`."))
        }
        _ => Ok(Some(value)),
    }
}

/// A parameter that takes some words only.
pub(super) fn not_one_of(name: &str, words: &[&str]) -> Error {
    wrong(name, format!("`{name}` must be one of `{}`.", words.join("`, `")))
}

pub(super) async fn find_call<H: Host>(id: &str, host: &H) -> Answer {
    let call = calls::find(host, id)
        .await?
        .ok_or_else(|| Error::NotFound(format!("call {id}; a new one takes a few seconds")))?;
    let mut shown = to_value(&call).expect("a call is JSON");
    shown["payload"] = json!(calls::payload(host, id).await?);
    Ok(json_response(200, &shown))
}

pub(super) async fn list_outlets<H: Host>(host: &H) -> Answer {
    Ok(json_response(200, &list_of(outlets::list(host).await?)))
}

/// A page of a list, with where the next one begins if this one is full.
pub(super) fn page<T: serde::Serialize>(data: Vec<T>, limit: i64, next: Option<(i64, String)>) -> Value {
    let is_full = data.len() as i64 == limit;
    let cursor = next.filter(|_| is_full).map(|(ms, id)| format!("{ms}.{id}"));
    let mut page = list_of(data);
    page["next_cursor"] = json!(cursor);
    page
}

pub(super) fn cursor(query: &mut Query) -> Result<Option<(i64, String)>, Error> {
    let Some(text) = query.text("cursor") else { return Ok(None) };
    let parsed = text.split_once('.').and_then(|(ms, id)| Some((ms.parse().ok()?, id.to_owned())));
    parsed.map(Some).ok_or_else(|| wrong("cursor", "`cursor` must be the `next_cursor` of the page before."))
}

pub(super) fn limit(query: &mut Query) -> Result<i64, Error> {
    Ok(query.integer("limit", 1..=500)?.unwrap_or(50))
}

/// What metrics can be taken from only, beside tags.
const FILTERS: [&str; 11] = [
    "country",
    "error",
    "key",
    "model",
    "outcome",
    "prompt_version",
    "provider",
    "region",
    "release",
    "route",
    "tenant",
];
