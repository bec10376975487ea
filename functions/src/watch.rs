//! What nobody's call waits for: the admin API, the tick, alerts of others, metrics, health.

use bytes::Bytes;
use gateway::{Error, Host, auth, call::Incoming, episode, prometheus, store, tick};
use http::{HeaderValue, Response, header};
use hypercare::{FieldError, inbound};
use serde_json::json;

use crate::{
    admin,
    route::{body, json_response, no_route},
};

/// Answers a request.
pub(crate) async fn answer<H: Host>(incoming: &Incoming, host: &H) -> Result<Response<Bytes>, Error> {
    let path = incoming.uri().path();
    if let Some(path) = path.strip_prefix("/admin/v1/") {
        auth::require_token(incoming.headers(), host.config().admin_token.as_deref(), "ADMIN_TOKEN")?;
        return admin::answer(path, incoming, host).await;
    }
    match (incoming.method().as_str(), path) {
        // Some probes ask for the head only.
        ("GET" | "HEAD", "/healthz") => healthz(host).await,
        ("GET", "/metrics") => {
            auth::require_token(incoming.headers(), host.config().admin_token.as_deref(), "ADMIN_TOKEN")?;
            let mut response = Response::new(Bytes::from(prometheus::render(host, host.now_ms()).await?));
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static(prometheus::CONTENT_TYPE));
            Ok(response)
        }
        ("POST", "/internal/alerts" | "/internal/alerts/alertmanager") => {
            auth::require_token(incoming.headers(), host.config().alerts_token.as_deref(), "ALERTS_TOKEN")?;
            let (now_ms, body) = (host.now_ms(), body(incoming, host)?);
            let reported = if path.ends_with("/alertmanager") {
                inbound::alertmanager(body, now_ms)?
            } else {
                inbound::generic(body, now_ms)?
            };
            let given = incoming.uri().query().and_then(|query| query.strip_prefix("resolve_minutes="));
            let minutes =
                match given.map(|given| given.parse::<i64>().ok().filter(|it| (1..=43_200).contains(it))) {
                    None => inbound::RESOLVE_MINUTES,
                    Some(Some(minutes)) => minutes,
                    Some(None) => {
                        let message = "must be 1 to 43200".to_owned();
                        return Err(FieldError { field: "resolve_minutes", message }.into());
                    }
                };
            episode::receive(host, &reported, minutes, now_ms).await?;
            Ok(json_response(200, &json!({ "received": reported.len() })))
        }
        ("POST", "/internal/tick") => {
            auth::require_token(incoming.headers(), host.config().tick_token.as_deref(), "TICK_TOKEN")?;
            Ok(json_response(200, &tick::tick(host, host.now_ms()).await?))
        }
        (method, path) => Err(no_route(method, path)),
    }
}

async fn healthz<H: Host>(host: &H) -> Result<Response<Bytes>, Error> {
    let release = &host.config().release;
    Ok(match store::schedule::last_tick_ms(host).await {
        Ok(last_tick_ms) => {
            let mut health = json!({ "status": "ok", "release": release, "last_tick_ms": last_tick_ms });
            // Calls are answered all the same, so this is no reason to take the gateway out of service.
            if let Some(reason) = tick::lateness(last_tick_ms, host.now_ms()) {
                health["status"] = json!("degraded");
                health["reason"] = json!(reason);
            }
            json_response(200, &health)
        }
        Err(error) => {
            host.log(&format!("healthz: {error}"));
            let what = "the database cannot be read; are the migrations applied?";
            json_response(503, &json!({ "status": "unavailable", "release": release, "reason": what }))
        }
    })
}
