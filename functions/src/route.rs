//! From a method and a path to the function that answers.

use bytes::Bytes;
use gateway::{
    Error, Host, auth,
    call::{self, Incoming, Reply},
    episode, objects, prometheus,
    store::{self, objects::Kind},
    tick,
};
use http::{HeaderValue, Method, Response, header};
use hypercare::inbound;
use llm::{
    dialect::{
        chat_completions::{ChatCompletions, Completions},
        cohere::Cohere,
        converse::Converse,
        generate_content::GenerateContent,
        messages::Messages,
        responses::Responses,
    },
    operation::{
        Chat, CountTokens, Embeddings, Images, Moderations, Operation, Rerank, Speech, forms,
        realtime::Realtime,
    },
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{admin, models};

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
    ("GET", "/admin/v1/prices"),
    ("GET", "/admin/v1/prices/{model}"),
    ("PUT", "/admin/v1/prices/{model}"),
    ("DELETE", "/admin/v1/prices/{model}"),
    ("GET", "/admin/v1/receivers"),
    ("POST", "/admin/v1/receivers"),
    ("PATCH", "/admin/v1/receivers/{receiver}"),
    ("DELETE", "/admin/v1/receivers/{receiver}"),
    ("GET", "/admin/v1/receivers/{receiver}/deliveries"),
    ("POST", "/admin/v1/receivers/{receiver}/deliveries/{delivery}/redeliver"),
    ("POST", "/admin/v1/receivers/{receiver}/test"),
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
    if let Some((operation, route)) =
        operation(incoming.uri().path()).filter(|(operation, _)| incoming.method() == method(*operation))
    {
        return call::call(host, incoming, operation, route).await;
    }
    if incoming.method() == Method::GET
        && let Some(answer) = models::answer(incoming, host).await
    {
        return Reply::unrecorded(answer);
    }
    let kept = match kept(incoming.uri().path()) {
        Some((kind, path)) => objects::answer(host, incoming, kind, path).await,
        None => None,
    };
    let answer = match kept {
        Some(answer) => answer,
        None => answer(incoming, host).await.map(Reply::unrecorded),
    };
    answer.unwrap_or_else(|error| {
        if let Some(cause) = error.cause() {
            host.log(&format!("{} {}: {cause}", incoming.method(), incoming.uri().path()));
        }
        Reply::unrecorded(call::error_response(&error, None))
    })
}

/// A socket is opened with a GET; everything else is sent.
fn method(operation: &dyn Operation) -> Method {
    if operation.is_socket() { Method::GET } else { Method::POST }
}

/// Whether a request to this path calls a model. Such requests do nothing else first.
pub fn is_call(path: &str) -> bool {
    operation(path).is_some()
}

/// What of what providers keep this path is about, and the rest of the path.
fn kept(path: &str) -> Option<(Kind, &str)> {
    let path = path.strip_prefix("/v1/")?;
    let (kind, rest) = match path.strip_prefix("files") {
        Some(rest) => (Kind::File, rest),
        None => (Kind::Batch, path.strip_prefix("batches")?),
    };
    (rest.is_empty() || rest.starts_with('/')).then_some((kind, rest))
}

/// What a caller at this path wants, and the path's template.
fn operation(path: &str) -> Option<(&'static dyn Operation, &'static str)> {
    // Before the version, Groq's clients put this, and Azure's.
    let path = path.strip_prefix("/openai").unwrap_or(path);
    match path {
        "/v1/chat/completions" => Some((&Chat(&ChatCompletions), "/v1/chat/completions")),
        "/v1/completions" => Some((&Chat(&Completions), "/v1/completions")),
        "/v1/embeddings" => Some((&Embeddings, "/v1/embeddings")),
        "/v1/images/generations" => Some((&Images, "/v1/images/generations")),
        "/v1/audio/speech" => Some((&Speech, "/v1/audio/speech")),
        "/v1/moderations" => Some((&Moderations, "/v1/moderations")),
        "/v1/rerank" => Some((&Rerank::Jina, "/v1/rerank")),
        "/v2/rerank" => Some((&Rerank::Cohere, "/v2/rerank")),
        "/v1/messages" => Some((&Chat(&Messages), "/v1/messages")),
        "/v1/messages/count_tokens" => Some((&CountTokens::Messages, "/v1/messages/count_tokens")),
        "/v1/responses" => Some((&Chat(&Responses), "/v1/responses")),
        "/v1/responses/input_tokens" => Some((&CountTokens::Responses, "/v1/responses/input_tokens")),
        "/v1/audio/transcriptions" => Some((&forms::TRANSCRIPTION, "/v1/audio/transcriptions")),
        "/v1/audio/translations" => Some((&forms::TRANSLATION, "/v1/audio/translations")),
        "/v1/images/edits" => Some((&forms::IMAGE_EDIT, "/v1/images/edits")),
        "/v1/images/variations" => Some((&forms::IMAGE_VARIATION, "/v1/images/variations")),
        "/v1/realtime" => Some((&Realtime, "/v1/realtime")),
        "/v2/chat" => Some((&Chat(&Cohere), "/v2/chat")),
        // A model's name may have slashes.
        _ if path.starts_with("/model/") => match path.rsplit_once('/')?.1 {
            "converse" => Some((&Chat(&Converse), "/model/{model}/converse")),
            "converse-stream" => Some((&Chat(&Converse), "/model/{model}/converse-stream")),
            "count-tokens" => Some((&CountTokens::Converse, "/model/{model}/count-tokens")),
            _ => None,
        },
        // Google's newer clients leave out the `beta`.
        _ => match path
            .strip_prefix("/v1beta/")
            .or(path.strip_prefix("/v1/"))?
            .strip_prefix("models/")?
            .rsplit_once(':')?
            .1
        {
            "countTokens" => Some((&CountTokens::GenerateContent, "/v1beta/models/{model}:countTokens")),
            "generateContent" => Some((&Chat(&GenerateContent), "/v1beta/models/{model}:generateContent")),
            "streamGenerateContent" => {
                Some((&Chat(&GenerateContent), "/v1beta/models/{model}:streamGenerateContent"))
            }
            _ => None,
        },
    }
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
        ("POST", "/internal/alerts" | "/internal/alerts/alertmanager") => {
            auth::require_token(incoming.headers(), host.config().alerts_token.as_deref(), "ALERTS_TOKEN")?;
            let (now_ms, body) = (host.now_ms(), body(incoming, host)?);
            let reported = if path.ends_with("/alertmanager") {
                inbound::alertmanager(body, now_ms)?
            } else {
                inbound::generic(body, now_ms)?
            };
            episode::receive(host, &reported, now_ms).await?;
            Ok(json_response(200, &json!({ "received": reported.len() })))
        }
        ("POST", "/internal/tick") => {
            auth::require_token(incoming.headers(), host.config().tick_token.as_deref(), "TICK_TOKEN")?;
            Ok(json_response(200, &tick::tick(host, host.now_ms()).await?))
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
        None => Error::NotFound(format!(
            "route {path}. A client's base URL ends in `/v1`; openapi.json lists the routes"
        )),
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
    incoming.body().as_ref().map_err(|error| error.refusal(host.config().max_body_bytes))
}

/// A list, as every list route answers.
pub(crate) fn list_of(data: impl Serialize) -> Value {
    json!({ "object": "list", "data": data })
}
