//! From a method and a path to the function that answers.

use bytes::Bytes;
use gateway::{
    Error, Host, auth,
    call::{self, BodyError, Incoming, Reply},
    prometheus, store, tick,
};
use http::{HeaderValue, Method, Response, header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{admin, models};

/// Every route, as the OpenAPI document lists them.
pub const ROUTES: &[(&str, &str)] = &[
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("POST", "/internal/tick"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
    ("GET", "/admin/v1/alerts"),
    ("GET", "/admin/v1/calls"),
    ("GET", "/admin/v1/calls/{call}"),
    ("DELETE", "/admin/v1/keys/{key}"),
    ("GET", "/admin/v1/metrics"),
    ("GET", "/admin/v1/receivers"),
    ("POST", "/admin/v1/receivers"),
    ("DELETE", "/admin/v1/receivers/{receiver}"),
    ("POST", "/admin/v1/receivers/{receiver}/test"),
    ("GET", "/admin/v1/rules"),
    ("PUT", "/admin/v1/rules/{rule}"),
    ("GET", "/admin/v1/tenants"),
    ("POST", "/admin/v1/tenants"),
    ("GET", "/admin/v1/tenants/{tenant}"),
    ("PATCH", "/admin/v1/tenants/{tenant}"),
    ("DELETE", "/admin/v1/tenants/{tenant}"),
    ("GET", "/admin/v1/tenants/{tenant}/aliases"),
    ("PUT", "/admin/v1/tenants/{tenant}/aliases/{alias}"),
    ("DELETE", "/admin/v1/tenants/{tenant}/aliases/{alias}"),
    ("GET", "/admin/v1/tenants/{tenant}/keys"),
    ("POST", "/admin/v1/tenants/{tenant}/keys"),
];

/// Answers a request.
pub async fn handle<H: Host>(incoming: &Incoming, host: &H) -> Reply<H::Stream> {
    // The call comes first: everything else can wait.
    if incoming.method() == Method::POST && incoming.uri().path() == "/v1/chat/completions" {
        return call::chat_completions(host, incoming).await;
    }
    let answer = answer(incoming, host).await;
    Reply::unrecorded(answer.unwrap_or_else(|error| {
        if let Some(cause) = error.cause() {
            host.log(&format!("{} {}: {cause}", incoming.method(), incoming.uri().path()));
        }
        call::error_response(&error, None)
    }))
}

async fn answer<H: Host>(incoming: &Incoming, host: &H) -> Result<Response<Bytes>, Error> {
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
        ("POST", "/internal/tick") => {
            auth::require_token(incoming.headers(), host.config().tick_token.as_deref(), "TICK_TOKEN")?;
            Ok(json_response(200, &tick::tick(host, host.now_ms()).await?))
        }
        ("GET", "/v1/models") => models::list(incoming, host).await,
        ("GET", path) if path.starts_with("/v1/models/") => {
            models::find(&path["/v1/models/".len()..], incoming, host).await
        }
        (method, path) => Err(no_route(method, path)),
    }
}

/// 405 where another method would do, else 404.
pub(crate) fn no_route(method: &str, path: &str) -> Error {
    let matches = |template: &str| {
        let (mut parts, mut wanted) = (path.split('/'), template.split('/'));
        loop {
            match (parts.next(), wanted.next()) {
                (None, None) => return true,
                (Some(part), Some(wanted))
                    if part == wanted || (wanted.starts_with('{') && !part.is_empty()) => {}
                _ => return false,
            }
        }
    };
    match ROUTES.iter().find(|(_, template)| matches(template)) {
        Some((allowed, _)) => Error::MethodNotAllowed { method: method.to_owned(), allowed },
        None => Error::NotFound(format!("route {path}")),
    }
}

async fn healthz<H: Host>(host: &H) -> Result<Response<Bytes>, Error> {
    let release = &host.config().release;
    Ok(match store::schedule::last_tick_ms(host).await {
        Ok(last_tick_ms) => {
            json_response(200, &json!({ "status": "ok", "release": release, "last_tick_ms": last_tick_ms }))
        }
        Err(error) => {
            host.log(&format!("healthz: {error}"));
            let what = "the database cannot be read; are the migrations applied?";
            json_response(503, &json!({ "status": "unavailable", "release": release, "reason": what }))
        }
    })
}

/// A body in JSON.
pub(crate) fn json_response(status: u16, body: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(body).expect("what is answered is JSON");
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a route answers with a status");
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The body of a request, or why there is none.
pub(crate) fn body<'a, H: Host>(incoming: &'a Incoming, host: &H) -> Result<&'a Bytes, Error> {
    incoming.body().as_ref().map_err(|error| match error {
        BodyError::Broken => Error::BodyBroken,
        BodyError::TooLarge => Error::BodyTooLarge { limit: host.config().max_body_bytes },
    })
}

/// A list, as every list route answers.
pub(crate) fn list_of(data: impl Serialize) -> Value {
    json!({ "object": "list", "data": data })
}
