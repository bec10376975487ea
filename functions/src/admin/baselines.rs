//! Baselines: kept, listed, compared with.

use bytes::Bytes;
use gateway::{
    Error, Host,
    baseline::{self, New},
    call::Incoming,
    metrics::Series,
};
use http::Response;
use serde_json::{Value, json};

use super::{
    fields::{Fields, Query, wrong},
    watch::dimension,
};
use crate::route::{body, json_response, list_of};

type Answer = Result<Response<Bytes>, Error>;

pub(super) async fn put_baseline<H: Host>(name: &str, incoming: &Incoming, host: &H) -> Answer {
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let required = |field: &'static str| move || wrong(field, format!("`{field}` is required."));
    let words = fields.texts("by")?.unwrap_or_default();
    let by = words.iter().map(|word| dimension("by", word)).collect::<Result<_, _>>()?;
    let mut only = Vec::new();
    for (word, value) in fields.object("only")?.unwrap_or_default() {
        let Value::String(value) = value else { return Err(wrong("only", "`only` must hold texts.")) };
        only.push((dimension("only", &word)?, value));
    }
    let told = match fields.value("series") {
        None => None,
        Some(Value::Array(rows)) => Some(rows),
        Some(_) => return Err(wrong("series", "`series` must be the list that another deployment shows.")),
    };
    let new = New {
        name: name.to_owned(),
        note: fields.text("note", 500)?.unwrap_or_default(),
        from_ms: fields.time("from")?.ok_or_else(required("from"))?,
        to_ms: fields.time("to")?.ok_or_else(required("to"))?,
        series: Series { by, only },
        told,
    };
    fields.finish()?;
    Ok(json_response(200, &baseline::put(host, new, host.now_ms()).await?))
}

pub(super) async fn list_baselines<H: Host>(host: &H) -> Answer {
    Ok(json_response(200, &list_of(baseline::list(host).await?)))
}

pub(super) async fn find_baseline<H: Host>(name: &str, host: &H) -> Answer {
    Ok(json_response(200, &baseline::find(host, name).await?))
}

pub(super) async fn delete_baseline<H: Host>(name: &str, host: &H) -> Answer {
    baseline::delete(host, name).await?;
    Ok(json_response(200, &json!({ "name": name, "deleted": true })))
}

pub(super) async fn compare_baseline<H: Host>(name: &str, incoming: &Incoming, host: &H) -> Answer {
    let mut query = Query::parse(incoming.uri().query());
    let (from_ms, to_ms) = (query.time("from")?, query.time("to")?);
    query.finish()?;
    Ok(json_response(200, &baseline::compare(host, name, from_ms, to_ms, host.now_ms()).await?))
}
