//! `GET /v1/models`: what this key may ask for.

use std::collections::BTreeSet;

use bytes::Bytes;
use gateway::{
    Error, Host,
    auth::{self, Caller},
    call::{Incoming, setting_name},
    plan,
};
use http::Response;
use llm::{
    demo, price,
    provider::{Api, PROVIDERS},
};
use serde_json::{Value, json};

use crate::route::{json_response, list_of};

/// The tenant's aliases, then the known models of every provider that is set up here, as far as the key
/// may use them. A provider may serve models that are not listed.
pub(crate) async fn list<H: Host>(incoming: &Incoming, host: &H) -> Result<Response<Bytes>, Error> {
    let caller = auth::authenticate(host, incoming, host.now_ms()).await?;
    let models: Vec<Value> = names(&caller, host).iter().map(|name| model(name)).collect();
    Ok(json_response(200, &list_of(models)))
}

/// One model, if the key may use it.
pub(crate) async fn find<H: Host>(
    name: &str,
    incoming: &Incoming,
    host: &H,
) -> Result<Response<Bytes>, Error> {
    let caller = auth::authenticate(host, incoming, host.now_ms()).await?;
    // SDKs send the slash of `provider/model` escaped.
    let name = name.replace("%2F", "/").replace("%2f", "/");
    plan::plan(&name, &caller)?;
    Ok(json_response(200, &model(&name)))
}

fn names<H: Host>(caller: &Caller, host: &H) -> Vec<String> {
    let mut names: Vec<String> = caller.aliases.keys().cloned().collect();
    let mut served = BTreeSet::new();
    for provider in PROVIDERS {
        if provider.api == Api::Demo {
            served.extend(demo::MODELS.map(|model| format!("{}/{model}", provider.name)));
        } else if host.setting(&setting_name(provider.name, "API_KEY")).is_some() {
            served.extend(
                price::models(provider.name).iter().map(|model| format!("{}/{model}", provider.name)),
            );
        }
    }
    names.extend(served);
    names.retain(|name| plan::plan(name, caller).is_ok());
    names
}

/// OpenAI's shape. No provider tells when a model was made, and the field is required.
fn model(name: &str) -> Value {
    let owner = name.split_once('/').map_or("hypergate", |(provider, _)| provider);
    json!({ "id": name, "object": "model", "created": 0, "owned_by": owner })
}
