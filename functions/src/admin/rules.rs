//! When somebody is told.

use bytes::Bytes;
use gateway::{Error, Host, call::Incoming, rules};
use http::Response;
use hypercare::{
    rule::{Override, Rule},
    time::{DAY_MS, MINUTE_MS},
};
use serde_json::{Value, json};

use super::fields::{Fields, Query, wrong};
use crate::route::{body, json_response, list_of};

type Answer = Result<Response<Bytes>, Error>;

pub(super) async fn list_rules<H: Host>(host: &H) -> Answer {
    Ok(json_response(200, &list_of(rules::list(host).await?)))
}

pub(super) async fn create_rule<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    Ok(json_response(201, &rules::create(host, body(incoming, host)?).await?))
}

pub(super) async fn put_rule<H: Host>(id: &str, incoming: &Incoming, host: &H) -> Answer {
    Ok(json_response(200, &rules::put(host, id, body(incoming, host)?, host.now_ms()).await?))
}

pub(super) async fn delete_rule<H: Host>(id: &str, host: &H) -> Answer {
    rules::delete(host, id, host.now_ms()).await?;
    Ok(json_response(200, &json!({ "id": id, "deleted": true })))
}

/// A rule that exists, with other settings if some are given, or one that does not exist yet.
pub(super) async fn preview_rule<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let rule_id = fields.text("rule", 100)?;
    let settings = fields.object("settings")?.map(Value::Object);
    let definition = fields.object("definition")?.map(Value::Object);
    // The newest minute has not had time to be complete.
    let to_ms = fields.time("to")?.unwrap_or_else(|| host.now_ms() - 2 * MINUTE_MS);
    let from_ms = fields.time("from")?.unwrap_or(to_ms - DAY_MS);
    fields.finish()?;
    let rule = match (rule_id, definition) {
        (Some(id), None) => {
            let views = rules::list(host).await?;
            let found = views.into_iter().find(|view| view.rule.id == id);
            let rule = found.ok_or_else(|| Error::NotFound(format!("rule {id}")))?.rule;
            match settings {
                Some(settings) => rule.with(&Override::parse(settings.to_string().as_bytes())?)?,
                None => rule,
            }
        }
        (None, Some(definition)) if settings.is_none() => {
            Rule::parse("preview", definition.to_string().as_bytes())?
        }
        _ => {
            let message = "Either `rule`, with or without `settings`, or `definition` is required.";
            return Err(wrong("rule", message));
        }
    };
    Ok(json_response(200, &rules::preview(host, &rule, from_ms, to_ms).await?))
}

pub(super) async fn list_quality<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    let mut query = Query::parse(incoming.uri().query());
    let days = query.integer("days", 1..=365)?.unwrap_or(30);
    query.finish()?;
    Ok(json_response(200, &list_of(rules::quality(host, host.now_ms() - days * DAY_MS).await?)))
}
