//! From a method and a path to the function that answers.

use bytes::Bytes;
use gateway::{
    Error, Host,
    call::{self, Incoming, Reply},
};
use http::{HeaderValue, Response, header};
use serde::Serialize;
use serde_json::{Value, json};

#[cfg(feature = "calls")]
use crate::calls;
#[cfg(feature = "watch")]
use crate::watch;

/// Every route, as the OpenAPI document lists them.
pub const ROUTES: &[(&str, &str)] = &[
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("POST", "/internal/alerts"),
    ("POST", "/internal/alerts/alertmanager"),
    ("POST", "/internal/tick"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/images/generations"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v1/moderations"),
    ("POST", "/v1/rerank"),
    ("POST", "/v2/rerank"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/responses/input_tokens"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/audio/translations"),
    ("POST", "/v1/images/edits"),
    ("POST", "/v1/images/variations"),
    ("GET", "/v1/batches"),
    ("POST", "/v1/batches"),
    ("GET", "/v1/batches/{batch}"),
    ("POST", "/v1/batches/{batch}/cancel"),
    ("GET", "/v1/files"),
    ("POST", "/v1/files"),
    ("GET", "/v1/files/{file}"),
    ("DELETE", "/v1/files/{file}"),
    ("GET", "/v1/files/{file}/content"),
    ("GET", "/v1/realtime"),
    ("POST", "/v2/chat"),
    ("POST", "/model/{model}/converse"),
    ("POST", "/model/{model}/converse-stream"),
    ("POST", "/model/{model}/count-tokens"),
    ("POST", "/v1beta/models/{model}:countTokens"),
    ("POST", "/v1/models/{model}:countTokens"),
    ("POST", "/v1beta/models/{model}:generateContent"),
    ("POST", "/v1beta/models/{model}:streamGenerateContent"),
    ("POST", "/v1/models/{model}:generateContent"),
    ("POST", "/v1/models/{model}:streamGenerateContent"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
    ("GET", "/v1beta/models"),
    ("GET", "/v1beta/models/{model}"),
    ("GET", "/admin/v1/alerts"),
    ("GET", "/admin/v1/baselines"),
    ("GET", "/admin/v1/baselines/{baseline}"),
    ("PUT", "/admin/v1/baselines/{baseline}"),
    ("DELETE", "/admin/v1/baselines/{baseline}"),
    ("GET", "/admin/v1/baselines/{baseline}/comparison"),
    ("GET", "/admin/v1/blocks"),
    ("POST", "/admin/v1/blocks"),
    ("DELETE", "/admin/v1/blocks/{block}"),
    ("GET", "/admin/v1/changes"),
    ("POST", "/admin/v1/changes"),
    ("GET", "/admin/v1/episodes/{episode}"),
    ("POST", "/admin/v1/episodes/{episode}/{action}"),
    ("GET", "/admin/v1/escalations"),
    ("POST", "/admin/v1/escalations"),
    ("DELETE", "/admin/v1/escalations/{escalation}"),
    ("PUT", "/admin/v1/receivers/{receiver}/habits"),
    ("GET", "/admin/v1/silences"),
    ("POST", "/admin/v1/silences"),
    ("DELETE", "/admin/v1/silences/{silence}"),
    ("GET", "/admin/v1/calls"),
    ("GET", "/admin/v1/calls/{call}"),
    ("DELETE", "/admin/v1/keys/{key}"),
    ("GET", "/admin/v1/metrics"),
    ("GET", "/admin/v1/outlets"),
    ("GET", "/admin/v1/prices"),
    ("GET", "/admin/v1/prices/{model}"),
    ("PUT", "/admin/v1/prices/{model}"),
    ("DELETE", "/admin/v1/prices/{model}"),
    ("GET", "/admin/v1/prometheus/api/v1/label/{label}/values"),
    ("GET", "/admin/v1/prometheus/api/v1/labels"),
    ("POST", "/admin/v1/prometheus/api/v1/labels"),
    ("GET", "/admin/v1/prometheus/api/v1/metadata"),
    ("GET", "/admin/v1/prometheus/api/v1/query"),
    ("POST", "/admin/v1/prometheus/api/v1/query"),
    ("GET", "/admin/v1/prometheus/api/v1/query_range"),
    ("POST", "/admin/v1/prometheus/api/v1/query_range"),
    ("GET", "/admin/v1/prometheus/api/v1/series"),
    ("POST", "/admin/v1/prometheus/api/v1/series"),
    ("GET", "/admin/v1/prometheus/api/v1/status/buildinfo"),
    ("GET", "/admin/v1/receivers"),
    ("POST", "/admin/v1/receivers"),
    ("PATCH", "/admin/v1/receivers/{receiver}"),
    ("DELETE", "/admin/v1/receivers/{receiver}"),
    ("GET", "/admin/v1/receivers/{receiver}/deliveries"),
    ("POST", "/admin/v1/receivers/{receiver}/deliveries/{delivery}/redeliver"),
    ("GET", "/admin/v1/receivers/{receiver}/reports"),
    ("PUT", "/admin/v1/receivers/{receiver}/reports/{cadence}"),
    ("DELETE", "/admin/v1/receivers/{receiver}/reports/{cadence}"),
    ("POST", "/admin/v1/receivers/{receiver}/reports/{cadence}/send"),
    ("POST", "/admin/v1/receivers/{receiver}/test"),
    ("GET", "/admin/v1/reports/{cadence}"),
    ("GET", "/admin/v1/rules"),
    ("POST", "/admin/v1/rules"),
    ("POST", "/admin/v1/rules/preview"),
    ("GET", "/admin/v1/rules/quality"),
    ("PUT", "/admin/v1/rules/{rule}"),
    ("DELETE", "/admin/v1/rules/{rule}"),
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
    ("GET", "/admin/v1/tenants/{tenant}/prices"),
    ("GET", "/admin/v1/tenants/{tenant}/prices/{model}"),
    ("PUT", "/admin/v1/tenants/{tenant}/prices/{model}"),
    ("DELETE", "/admin/v1/tenants/{tenant}/prices/{model}"),
];

/// Answers a request.
pub async fn handle<H: Host>(incoming: &Incoming, host: &H) -> Reply<H::Stream> {
    // Calls come first: everything else can wait.
    #[cfg(feature = "calls")]
    if let Some(answer) = calls::answer(incoming, host).await {
        return answer.unwrap_or_else(|error| refuse(&error, incoming, host));
    }
    #[cfg(feature = "watch")]
    let answer = watch::answer(incoming, host).await;
    #[cfg(not(feature = "watch"))]
    let answer = Err(no_route(incoming.method().as_str(), incoming.uri().path()));
    answer.map_or_else(|error| refuse(&error, incoming, host), Reply::unrecorded)
}

fn refuse<H: Host>(error: &Error, incoming: &Incoming, host: &H) -> Reply<H::Stream> {
    if let Some(cause) = error.cause() {
        host.log(&format!("{} {}: {cause}", incoming.method(), incoming.uri().path()));
    }
    #[cfg(feature = "calls")]
    let response = call::error_in(calls::clients_of(incoming.uri().path()).0, error, None);
    #[cfg(not(feature = "calls"))]
    let response = call::error_response(error, None);
    Reply::unrecorded(response)
}

/// The path as everybody else has it: before the version, Groq's clients put `/openai`, and Azure's.
pub(crate) fn plain(path: &str) -> &str {
    path.strip_prefix("/openai").filter(|rest| rest.starts_with("/v1")).unwrap_or(path)
}

/// 405 where another method would do, else 404.
pub(crate) fn no_route(method: &str, path: &str) -> Error {
    let path = plain(path);
    #[cfg(feature = "calls")]
    let advice = calls::clients_of(path).1;
    #[cfg(not(feature = "calls"))]
    let advice = "";
    let matches = |template: &str| {
        let (mut parts, mut wanted) = (path.split('/'), template.split('/'));
        loop {
            match (parts.next(), wanted.next()) {
                (None, None) => return true,
                (Some(part), Some(wanted)) if part == wanted => {}
                (Some(part), Some(wanted)) => {
                    match wanted.strip_prefix('{').and_then(|w| w.split_once('}')) {
                        Some((_, rest)) if part.len() > rest.len() && part.ends_with(rest) => {}
                        _ => return false,
                    }
                }
                _ => return false,
            }
        }
    };
    match ROUTES.iter().find(|(_, template)| matches(template)) {
        Some((allowed, _)) => Error::MethodNotAllowed { method: method.to_owned(), allowed },
        None => Error::NotFound(format!("route {path}. {advice}openapi.json lists the routes")),
    }
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
#[cfg(feature = "watch")]
pub(crate) fn body<'a, H: Host>(incoming: &'a Incoming, host: &H) -> Result<&'a Bytes, Error> {
    incoming.body().as_ref().map_err(|error| error.refusal(host.config().max_body_bytes))
}

/// A list, as every list route answers.
pub(crate) fn list_of(data: impl Serialize) -> Value {
    json!({ "object": "list", "data": data })
}
