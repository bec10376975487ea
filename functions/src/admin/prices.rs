//! Prices of one's own, a tenant's or everybody's.

use bytes::Bytes;
use gateway::{
    Error, Host, auth,
    call::Incoming,
    store::{
        identity,
        prices::{self as store, Prices},
    },
};
use http::Response;
use llm::{price, provider};
use serde_json::{Map, Value, json};

use super::{
    fields::{Fields, decode, wrong},
    identity::{known_providers, no_tenant},
};
use crate::route::{body, json_response, list_of};

type Answer = Result<Response<Bytes>, Error>;

/// Every price, or those of one model. Without a tenant: everybody's.
pub(super) async fn list_prices<H: Host>(tenant_id: &str, model: Option<&str>, host: &H) -> Answer {
    check(tenant_id, host).await?;
    let model = model.map(decode);
    let mut found = store::list(host, tenant_id).await?;
    if let Some(model) = &model {
        found.retain(|prices| prices.model == *model);
        if found.is_empty() {
            return Err(Error::NotFound(format!("price of {model}")));
        }
    }
    Ok(json_response(200, &list_of(found.iter().map(shown).collect::<Vec<_>>())))
}

pub(super) async fn put_prices<H: Host>(
    tenant_id: &str,
    model: &str,
    incoming: &Incoming,
    host: &H,
) -> Answer {
    check(tenant_id, host).await?;
    let model = decode(model);
    let prefix = model.strip_suffix('*').unwrap_or(&model);
    let (of, rest) = prefix.split_once('/').unwrap_or((prefix, ""));
    let is_whole = !rest.is_empty() || model.ends_with("/*");
    if !is_whole || model.len() > 200 || prefix.contains('*') || provider::find(of).is_none() {
        let message = format!("`{model}` is not `provider/model` or `provider/*`. {}", known_providers());
        return Err(wrong("model", message));
    }
    let prices = parse(model, body(incoming, host)?, host.now_ms())?;
    let known = store::list(host, tenant_id).await?;
    let is_new = !known.iter().any(|one| (&one.model, one.from_ms) == (&prices.model, prices.from_ms));
    if is_new && known.len() >= MAX_PRICES {
        return Err(wrong("model", format!("There may be {MAX_PRICES} prices; delete some that are over.")));
    }
    store::put(host, tenant_id, &prices).await?;
    forget(tenant_id, host).await?;
    Ok(json_response(200, &shown(&prices)))
}

pub(super) async fn delete_prices<H: Host>(tenant_id: &str, model: &str, host: &H) -> Answer {
    let model = decode(model);
    if !store::delete(host, tenant_id, &model).await? {
        return Err(Error::NotFound(format!("price of {model}")));
    }
    forget(tenant_id, host).await?;
    Ok(json_response(200, &json!({ "model": model, "deleted": true })))
}

fn shown(prices: &Prices) -> Value {
    let mut shown = prices.settings.clone();
    shown["model"] = json!(prices.model);
    shown["from_ms"] = json!(prices.from_ms);
    shown["updated_ms"] = json!(prices.updated_ms);
    shown
}

/// Reads prices and writes them in the table's notation.
fn parse(model: String, body: &[u8], now_ms: i64) -> Result<Prices, Error> {
    let mut fields = Fields::parse(body)?;
    let from_ms = fields.time("from")?.unwrap_or_default();
    let base = rates(&mut fields, "microusd_per_million")?.ok_or_else(|| {
        wrong("microusd_per_million", format!("`microusd_per_million` is required: {UNIT}."))
    })?;
    let start = fields.integer("long_context_above_tokens", 1..=1_000_000_000)?;
    let beyond = rates(&mut fields, "long_context_microusd_per_million")?;
    let tiers = numbers(&mut fields, "service_tier_percent", &TIERS, 1..=1_000)?.unwrap_or_default();
    fields.finish()?;
    if start.is_some() != beyond.is_some() {
        let message = "`long_context_above_tokens` and `long_context_microusd_per_million` go together.";
        return Err(wrong("long_context_above_tokens", message));
    }
    let beyond = beyond.unwrap_or_default();
    if let Some((name, _)) = beyond.iter().find(|(name, _)| !base.contains_key(name.as_str())) {
        let field = format!("long_context_microusd_per_million.{name}");
        return Err(wrong(&field, format!("`{field}` needs the price of a short context, too.")));
    }

    let mut words: Vec<String> = Vec::new();
    for (name, letter) in price::KINDS {
        let Some(rate) = base.get(*name).and_then(Value::as_i64) else { continue };
        let long = beyond.get(*name).and_then(Value::as_i64);
        words.push(format!(
            "{letter}{}{}",
            usd(rate),
            long.map(|rate| format!("/{}", usd(rate))).unwrap_or_default()
        ));
    }
    words.extend(start.map(|start| format!(">{start}")));
    for (name, letter) in TIERS {
        let percent = tiers.get(name).and_then(Value::as_i64);
        words.extend(percent.map(|percent| format!("%{letter}{}", usd(percent * 10_000))));
    }
    let mut settings = json!({ "microusd_per_million": base });
    if let Some(start) = start {
        settings["long_context_above_tokens"] = json!(start);
        settings["long_context_microusd_per_million"] = json!(beyond);
    }
    if !tiers.is_empty() {
        settings["service_tier_percent"] = json!(tiers);
    }
    Ok(Prices { model, from_ms, prices: words.join(" "), settings, updated_ms: now_ms })
}

fn rates(fields: &mut Fields, field: &str) -> Result<Option<Map<String, Value>>, Error> {
    numbers(fields, field, price::KINDS, 0..=MAX_RATE)
}

/// An object of whole numbers by known names.
fn numbers(
    fields: &mut Fields,
    field: &str,
    names: &[(&str, char)],
    range: std::ops::RangeInclusive<i64>,
) -> Result<Option<Map<String, Value>>, Error> {
    let Some(numbers) = fields.object(field)? else { return Ok(None) };
    if numbers.is_empty() {
        return Err(wrong(field, format!("`{field}` is empty.")));
    }
    for (name, number) in &numbers {
        let at = format!("{field}.{name}");
        if !names.iter().any(|(known, _)| known == name) {
            let known: Vec<&str> = names.iter().map(|(known, _)| *known).collect();
            return Err(wrong(&at, format!("`{at}` is not known; there are {}.", known.join(", "))));
        }
        if !number.as_i64().is_some_and(|number| range.contains(&number)) {
            let message = format!("`{at}` must be a whole number from {} to {}.", range.start(), range.end());
            return Err(wrong(&at, message));
        }
    }
    Ok(Some(numbers))
}

fn usd(micro: i64) -> String {
    let written = format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000);
    written.trim_end_matches('0').trim_end_matches('.').to_owned()
}

async fn check<H: Host>(tenant_id: &str, host: &H) -> Result<(), Error> {
    if !tenant_id.is_empty() {
        identity::tenant(host, tenant_id).await?.ok_or_else(|| no_tenant(tenant_id))?;
    }
    Ok(())
}

/// What concerns everybody is seen elsewhere when what is known of a key has expired.
async fn forget<H: Host>(tenant_id: &str, host: &H) -> Result<(), Error> {
    auth::forget(host, &identity::key_hashes(host, tenant_id).await?).await;
    Ok(())
}

const TIERS: [(&str, char); 3] = [("batch", 'b'), ("flex", 'f'), ("priority", 'p')];

const UNIT: &str = "millionths of a USD per million tokens, requests, pictures and so on";

/// They travel with each caller.
const MAX_PRICES: usize = 100;

/// A million USD for one.
const MAX_RATE: i64 = 1_000_000_000_000_000_000;
