//! Who hears of alerts.

use bytes::Bytes;
use gateway::{Error, Host, call::Incoming, deliver, receiver};
use http::Response;
use hypercare::notify::ReceiverKind;
use serde_json::json;

use super::fields::{Fields, wrong};
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
    let kind = fields.text("kind", 20)?.as_deref().and_then(ReceiverKind::parse);
    let kind = kind.ok_or_else(|| wrong("kind", "`kind` is required: `slack` or `webhook`."))?;
    let url = fields.text("url", 2_000)?.ok_or_else(|| wrong("url", "`url` is required."))?;
    let secret = fields.text("secret", 200)?;
    let tenant_id = fields.text("tenant_id", 100)?;
    fields.finish()?;
    let new = receiver::New { tenant_id, name, kind, url, secret };
    Ok(json_response(201, &receiver::create(host, &new, host.now_ms()).await?))
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
