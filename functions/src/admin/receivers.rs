//! Who hears of alerts.

use bytes::Bytes;
use gateway::{
    Error, Host,
    call::Incoming,
    deliver, receiver,
    store::{
        outbox::{self, DeliveryFilter},
        receivers,
    },
};
use http::Response;
use hypercare::notify::ReceiverKind;
use serde_json::json;

use super::fields::{Fields, Query, wrong};
use super::watch::{cursor, limit, not_one_of, page};
use crate::route::{body, json_response, list_of};

pub(super) async fn list_receivers<H: Host>(host: &H) -> Result<Response<Bytes>, Error> {
    Ok(json_response(200, &list_of(receiver::list(host).await?)))
}

pub(super) async fn create_receiver<H: Host>(
    incoming: &Incoming,
    host: &H,
) -> Result<Response<Bytes>, Error> {
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let name = fields.name("name")?;
    let known = || ReceiverKind::all().map(ReceiverKind::word).collect::<Vec<_>>();
    let kind = match fields.text("kind", 100)? {
        Some(word) => ReceiverKind::parse(&word).ok_or_else(|| not_one_of("kind", &known()))?,
        None => return Err(wrong("kind", format!("`kind` is required: one of `{}`.", known().join("`, `")))),
    };
    let new = receiver::New {
        tenant_id: fields.text("tenant_id", 100)?,
        name,
        kind,
        url: fields.text("url", 2_048)?,
        secret: fields.text("secret", 500)?,
        settings: fields.object("settings")?.unwrap_or_default(),
        per_minute: fields.integer("per_minute", PER_MINUTE)?,
    };
    fields.finish()?;
    Ok(json_response(201, &receiver::create(host, &new, host.now_ms()).await?))
}

pub(super) async fn update_receiver<H: Host>(
    id: &str,
    incoming: &Incoming,
    host: &H,
) -> Result<Response<Bytes>, Error> {
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let change = receiver::Change {
        name: fields.text("name", 100)?,
        url: fields.text("url", 2_048)?,
        secret: fields.text("secret", 500)?,
        settings: fields.object("settings")?,
        per_minute: fields.integer("per_minute", PER_MINUTE)?,
        enabled: fields.boolean("enabled")?,
    };
    fields.finish()?;
    Ok(json_response(200, &receiver::update(host, id, change, host.now_ms()).await?))
}

pub(super) async fn delete_receiver<H: Host>(id: &str, host: &H) -> Result<Response<Bytes>, Error> {
    if !receiver::delete(host, id).await? {
        return Err(Error::NotFound(format!("receiver {id}")));
    }
    Ok(json_response(200, &json!({ "id": id, "deleted": true })))
}

pub(super) async fn test_receiver<H: Host>(id: &str, host: &H) -> Result<Response<Bytes>, Error> {
    Ok(json_response(200, &deliver::test(host, id, host.now_ms()).await?))
}

pub(super) async fn list_deliveries<H: Host>(
    id: &str,
    incoming: &Incoming,
    host: &H,
) -> Result<Response<Bytes>, Error> {
    let mut query = Query::parse(incoming.uri().query());
    let status = query.text("status");
    if status.as_ref().is_some_and(|status| !STATUSES.contains(&status.as_str())) {
        return Err(not_one_of("status", &STATUSES));
    }
    let (after, limit) = (cursor(&mut query)?, limit(&mut query)?);
    query.finish()?;
    if receivers::find(host, id).await?.is_none() {
        return Err(Error::NotFound(format!("receiver {id}")));
    }
    let filter = DeliveryFilter { receiver_id: id.to_owned(), status, after, limit };
    let found = outbox::deliveries(host, &filter).await?;
    let next =
        found.last().and_then(|last| Some((last["created_ms"].as_i64()?, last["id"].as_str()?.to_owned())));
    Ok(json_response(200, &page(found, limit, next)))
}

pub(super) async fn redeliver<H: Host>(
    receiver: &str,
    delivery: &str,
    host: &H,
) -> Result<Response<Bytes>, Error> {
    Ok(json_response(200, &deliver::redeliver(host, receiver, delivery, host.now_ms()).await?))
}

const PER_MINUTE: std::ops::RangeInclusive<i64> = 1..=600;
const STATUSES: [&str; 4] = ["pending", "delivered", "dead", "superseded"];
