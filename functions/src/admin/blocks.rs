//! Who is refused for a while.

use bytes::Bytes;
use gateway::{
    Error, Host,
    blocks::{self, Filter, Subject},
    call::Incoming,
};
use http::Response;
use serde_json::{Value, json, to_value};

use super::{
    fields::{Fields, Query, wrong},
    watch::{cursor, limit, page},
};
use crate::route::{body, json_response};

type Answer = Result<Response<Bytes>, Error>;

pub(super) async fn list_blocks<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    let now_ms = host.now_ms();
    let mut query = Query::parse(incoming.uri().query());
    let in_force = match query.text("state").as_deref() {
        None | Some("all") => None,
        Some("in_force") => Some(now_ms),
        Some(_) => return Err(wrong("state", "`state` must be `in_force` or `all`.")),
    };
    let filter = Filter {
        tenant_id: query.text("tenant"),
        in_force_ms: in_force,
        after: cursor(&mut query)?,
        limit: limit(&mut query)?,
    };
    query.finish()?;
    let found = blocks::list(host, &filter).await?;
    let next = found.last().map(|block| (block.created_ms, block.id.clone()));
    let data: Vec<Value> = found.iter().map(|block| shown(block, now_ms)).collect();
    Ok(json_response(200, &page(data, filter.limit, next)))
}

pub(super) async fn create_block<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let subject = match (fields.text("key", 100)?, fields.text("source", 12)?, fields.text("address", 50)?) {
        (Some(key), None, None) => Subject::Key(key),
        (None, Some(source), None) => Subject::Source(source),
        (None, None, Some(address)) => Subject::Address(address),
        _ => return Err(wrong("key", "One of `key`, `source` and `address` is required.")),
    };
    let tenant_id = fields.text("tenant", 100)?;
    let minutes = fields.integer("minutes", 1..=MOST_MINUTES)?;
    let minutes = minutes.ok_or_else(|| wrong("minutes", "`minutes` is required."))?;
    let by = fields.name("by")?;
    let reason = fields.name("reason")?;
    fields.finish()?;
    if tenant_id.is_some() && matches!(subject, Subject::Key(_)) {
        return Err(wrong("tenant", "`tenant` goes with a network; a key has its own."));
    }
    let block = blocks::create(host, &subject, tenant_id, minutes, reason, by).await?;
    Ok(json_response(201, &shown(&block, host.now_ms())))
}

pub(super) async fn lift_block<H: Host>(id: &str, incoming: &Incoming, host: &H) -> Answer {
    let mut query = Query::parse(incoming.uri().query());
    let by = query.text("by").unwrap_or_else(|| "an administrator".to_owned());
    query.finish()?;
    Ok(json_response(200, &shown(&blocks::lift(host, id, &by).await?, host.now_ms())))
}

fn shown(block: &blocks::Block, now_ms: i64) -> Value {
    let mut shown = to_value(block).expect("a block is JSON");
    shown["state"] = json!(match block.lifted_ms {
        Some(_) => "lifted",
        None if block.until_ms <= now_ms => "expired",
        None => "in_force",
    });
    if block.tenant_id.is_empty() {
        shown["tenant_id"] = Value::Null;
    }
    shown
}

/// A week, as with a rule's.
const MOST_MINUTES: i64 = 7 * 24 * 60;
