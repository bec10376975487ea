//! Files and batches that a provider keeps. Tenants share its account, so every id is looked up before it is
//! passed on: what a tenant has not made is not there.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use llm::{
    Provider, UpstreamError, kept,
    relay::{Plain, Summary},
};
use serde_json::{Value, json};

use crate::{
    Error, Host,
    auth::{self, Caller},
    call::{self, Incoming, Refusal, Reply, Rest, Streaming},
    credential, form,
    lines::Lines,
    live::Live,
    payload::Capture,
    plan::{self, Choice},
    ports::{Body, Fetched, Limits, PortError},
    record::{Attempt, Draft},
    store::objects::{self, Kind, Owned, Page},
};

/// Answers a request about files or batches; `path` is what follows `/v1/files` or `/v1/batches`. Nothing where
/// there is no such route.
pub async fn answer<H: Host>(
    host: &H,
    incoming: &Incoming,
    kind: Kind,
    path: &str,
) -> Option<Result<Reply<H::Stream>, Error>> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    Some(match (incoming.method().as_str(), kind, parts.as_slice()) {
        ("POST", Kind::File, []) => Ok(recorded(host, incoming, "create_file", "/v1/files").await),
        ("POST", Kind::Batch, []) => Ok(recorded(host, incoming, "create_batch", "/v1/batches").await),
        ("GET", _, []) => list(host, incoming, kind).await.map(Reply::unrecorded),
        ("GET", _, [id]) => describe(host, incoming, kind, id, "").await,
        ("POST", Kind::Batch, [id, "cancel"]) => describe(host, incoming, kind, id, "/cancel").await,
        ("DELETE", Kind::File, [id]) => delete(host, incoming, id).await.map(Reply::unrecorded),
        ("GET", Kind::File, [id, "content"]) => Ok(content(host, incoming, id).await),
        _ => return None,
    })
}

/// Makes something, and records how that went.
async fn recorded<H: Host>(
    host: &H,
    incoming: &Incoming,
    operation: &'static str,
    route: &'static str,
) -> Reply<H::Stream> {
    let mut draft = call::begin(host, incoming.headers(), operation, route);
    let made = match operation {
        "create_file" => create_file(host, incoming, &mut draft).await,
        _ => create_batch(host, incoming, &mut draft).await,
    };
    match made {
        Ok(response) => whole(host, draft, response),
        Err(refusal) => call::refuse(host, &call::OPENAI, draft, refusal),
    }
}

/// The provider's own answer, and the record.
fn whole<S, H: Host>(host: &H, draft: Draft, mut response: Response<Bytes>) -> Reply<S> {
    let status = response.status();
    call::stamp(response.headers_mut(), &draft, &call::OPENAI, status);
    let status = status.as_u16();
    let error_type = (status >= 400).then_some("invalid_request");
    let record = draft.finish_whole(host.now_ms(), status, error_type, Summary::default(), response.body());
    Reply::Whole { response, record: Some(Box::new(record)) }
}

/// Sends a file on as it comes. The lines of one for a batch are rewritten on the way.
async fn create_file<H: Host>(
    host: &H,
    incoming: &Incoming,
    draft: &mut Draft,
) -> Result<Response<Bytes>, Refusal> {
    let headers = incoming.headers();
    let caller = identify(host, incoming, draft, &Bytes::new()).await?;
    let provider = chosen(headers, &caller)?;
    let mut form = form::receive(host, incoming, &["purpose"], "purpose").await?;
    let Some(purpose) = form.field("purpose").map(|purpose| purpose.value.clone()) else {
        return Err(llm::Error::invalid("purpose", "`purpose` is required.").into());
    };
    let content_type = headers.get(header::CONTENT_TYPE).cloned().unwrap_or(HeaderValue::from_static(""));
    let mut rewriting = None;
    if purpose == "batch" {
        let lines = Lines::new(caller.clone(), provider, host.config().max_body_bytes);
        let (rewritten, rest) = form.with_lines(content_type.to_str().unwrap_or_default(), lines)?;
        (form, rewriting) = (rewritten, Some(rest));
    }
    let request =
        request(host, provider, Method::POST, "/files", Some(&content_type), form.held.clone()).await?;
    let rest = form.rest.as_ref().map(|rest| Rest { rest, length: form.length, held: form.held.len() });
    let (response, object) = ask(host, provider, request, rest, draft).await?;
    if let Some(object) = object {
        let models = rewriting.and_then(|rest| rest.borrow().lines().map(Lines::models));
        own(host, Kind::File, provider, &caller, &object, models).await?;
    }
    Ok(response)
}

/// Makes a batch from a file of the tenant's, whose lines this key may ask for.
async fn create_batch<H: Host>(
    host: &H,
    incoming: &Incoming,
    draft: &mut Draft,
) -> Result<Response<Bytes>, Refusal> {
    let body = incoming.body().as_ref().map_err(|error| error.refusal(host.config().max_body_bytes));
    let empty = Bytes::new();
    let caller = identify(host, incoming, draft, body.as_ref().ok().copied().unwrap_or(&empty)).await?;
    let body = body?;
    let file_id = kept::input_file(body).map_err(Error::from)?;
    let file = find(host, Kind::File, &caller, &file_id).await?;
    let Some(models) = &file.models else {
        let message = format!("The file `{}` was not uploaded with the purpose `batch`.", file.id);
        return Err(llm::Error::invalid("input_file_id", message).into());
    };
    // The file may be another key's, which may use other models.
    let models: Vec<String> = serde_json::from_str(models)
        .map_err(|error| Error::from(PortError::new("database", format!("unreadable models: {error}"))))?;
    for model in &models {
        plan::plan(model, &caller)?;
    }
    let provider = kept_at(&file)?;
    if let [model] = models.as_slice() {
        draft.request(model, false, None);
    }
    let json = HeaderValue::from_static("application/json");
    let request = request(host, provider, Method::POST, "/batches", Some(&json), body.clone()).await?;
    let (response, object) = ask(host, provider, request, None, draft).await?;
    if let Some(object) = object {
        own(host, Kind::Batch, provider, &caller, &object, file.models.clone()).await?;
    }
    Ok(response)
}

/// What the tenant has made, as last heard of: nobody else's is asked for.
async fn list<H: Host>(host: &H, incoming: &Incoming, kind: Kind) -> Result<Response<Bytes>, Error> {
    let caller = auth::authenticate(host, incoming, host.now_ms()).await?;
    let query = incoming.uri().query().unwrap_or_default();
    let parameter = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(known, _)| *known == name)
            .map(|found| found.1)
    };
    let limit = match parameter("limit") {
        None => DEFAULT_PAGE,
        Some(text) => text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit)).ok_or_else(|| {
            Error::from(llm::Error::invalid("limit", format!("`limit` must be from 1 to {MAX_PAGE}.")))
        })?,
    };
    let provider = incoming.headers().get(&PROVIDER).and_then(|name| name.to_str().ok());
    let page = Page {
        tenant_id: &caller.tenant_id,
        kind,
        provider,
        purpose: parameter("purpose"),
        after: parameter("after"),
        is_ascending: parameter("order") == Some("asc"),
        // One more tells whether there are more.
        limit: limit + 1,
    };
    let mut rows = objects::list(host, page).await?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let data: Vec<Value> = rows
        .iter()
        .map(|row| serde_json::from_str(row["object"].as_str().unwrap_or_default()).unwrap_or_default())
        .collect();
    let id = |row: Option<&Value>| row.map_or(Value::Null, |row| row["id"].clone());
    Ok(json_response(&json!({
        "object": "list",
        "data": data,
        "first_id": id(rows.first()),
        "last_id": id(rows.last()),
        "has_more": has_more,
    })))
}

/// Asks the provider how something stands. Of a batch, the files it has made become the tenant's, and what it
/// used is recorded: once, for a record is stored once by its id.
async fn describe<H: Host>(
    host: &H,
    incoming: &Incoming,
    kind: Kind,
    id: &str,
    action: &str,
) -> Result<Reply<H::Stream>, Error> {
    let caller = auth::authenticate(host, incoming, host.now_ms()).await?;
    let owned = find(host, kind, &caller, id).await?;
    let provider = kept_at(&owned)?;
    let method = incoming.method().clone();
    let path = format!("/{}/{id}{action}", if kind == Kind::File { "files" } else { "batches" });
    let (response, object) = pass(host, provider, method, &path).await?;
    let Some(object) = object else { return Ok(Reply::unrecorded(response)) };
    let text = object.to_string();
    if kind == Kind::File {
        objects::update(host, &owned, &text, None).await?;
        return Ok(Reply::unrecorded(response));
    }
    let batch = kept::batch(&object);
    for file in objects::unknown(host, provider.name, &batch.files).await? {
        // What is gone by now is no file; what cannot be asked for now is asked for the next time.
        let described = match pass(host, provider, Method::GET, &format!("/files/{file}")).await {
            Ok((_, Some(described))) => described,
            Ok((_, None)) => continue,
            Err(error) => {
                host.log(&format!("{file}: not described yet: {error}"));
                continue;
            }
        };
        let made = Owned {
            id: file,
            object: described.to_string(),
            models: None,
            settled_ms: None,
            created_ms: host.now_ms(),
            ..owned.clone()
        };
        objects::create(host, Kind::File, &[made]).await?;
    }
    let now_ms = host.now_ms();
    let settled_ms = batch.used.as_ref().map(|_| now_ms);
    objects::update(host, &owned, &text, settled_ms).await?;
    // Told again for a while, should the first record be lost on its way.
    let is_new = owned.settled_ms.is_none_or(|settled_ms| now_ms - settled_ms < SETTLING_MS);
    let record = batch.used.filter(|_| is_new).map(|used| {
        let mut draft =
            call::begin(host, incoming.headers(), "batch", "/v1/batches").with_id(format!("batch_{id}"));
        draft.caller(&owned.tenant_id, &owned.key_id);
        draft.prices(caller.clone());
        let served = used.response_model.as_deref().unwrap_or_default();
        let asked = asked(&owned);
        let target = asked.as_deref().map(|asked| plan::targets(asked, &caller));
        let target = target.into_iter().flatten().find(|target| target.provider.name == provider.name);
        // A price is set for what was asked for. Of a batch of several models it is not known what used how much.
        let model = target.map_or(served, |target| target.model).to_owned();
        draft.request(asked.as_deref().unwrap_or(served), false, None);
        draft.attempt(
            provider,
            Attempt {
                provider: provider.name.to_owned(),
                model,
                status: Some(200),
                error_type: None,
                duration_ms: 0,
            },
        );
        Box::new(draft.finish_whole(now_ms, 200, None, used, b""))
    });
    Ok(Reply::Whole { response, record })
}

/// The one model that a batch's lines ask for, as the caller named it.
fn asked(batch: &Owned) -> Option<String> {
    let models: Vec<String> = serde_json::from_str(batch.models.as_deref()?).ok()?;
    <[String; 1]>::try_from(models).ok().map(|[model]| model)
}

async fn delete<H: Host>(host: &H, incoming: &Incoming, id: &str) -> Result<Response<Bytes>, Error> {
    let caller = auth::authenticate(host, incoming, host.now_ms()).await?;
    let owned = find(host, Kind::File, &caller, id).await?;
    let (response, _) = pass(host, kept_at(&owned)?, Method::DELETE, &format!("/files/{id}")).await?;
    // What the provider has forgotten already is no longer here either.
    if response.status().is_success() || response.status() == 404 {
        objects::delete(host, &owned).await?;
    }
    Ok(response)
}

/// A file's content, as it comes, and the record of that.
async fn content<H: Host>(host: &H, incoming: &Incoming, id: &str) -> Reply<H::Stream> {
    let mut draft = call::begin(host, incoming.headers(), "file_content", "/v1/files/{file}/content");
    let fetched = match download(host, incoming, id, &mut draft).await {
        Ok(Content::Comes(fetched)) => fetched,
        Ok(Content::Refused(response)) => return whole(host, draft, response),
        Err(refusal) => return call::refuse(host, &call::OPENAI, draft, refusal),
    };
    let mut head = Response::new(());
    let content_type = fetched.head.headers().get(header::CONTENT_TYPE).cloned();
    let octets = HeaderValue::from_static("application/octet-stream");
    head.headers_mut().insert(header::CONTENT_TYPE, content_type.unwrap_or(octets));
    match fetched.body {
        Body::Stream { first, rest } => {
            call::stamp(head.headers_mut(), &draft, &call::OPENAI, StatusCode::OK);
            draft.sent(host.now_ms(), &first);
            let live = Live::new(Box::<Plain>::default(), draft, None);
            let idle_ms = host.config().stream_limits.idle_ms;
            Reply::Stream(Box::new(Streaming { head, opening: first, rest, live, idle_ms }))
        }
        // There is nothing in it.
        Body::Whole(body) => whole(host, draft, head.map(|()| body)),
    }
}

/// What comes of the wish for a file's content.
enum Content<S> {
    Comes(Fetched<S>),
    /// The provider's own refusal.
    Refused(Response<Bytes>),
}

async fn download<H: Host>(
    host: &H,
    incoming: &Incoming,
    id: &str,
    draft: &mut Draft,
) -> Result<Content<H::Stream>, Refusal> {
    // Content that is kept is that of calls, not of files.
    let caller = auth::authenticate(host, incoming, draft.started_ms()).await?;
    draft.caller(&caller.tenant_id, &caller.key_id);
    let owned = find(host, Kind::File, &caller, id).await?;
    let provider = kept_at(&owned)?;
    let path = format!("/files/{id}/content");
    let request = request(host, provider, Method::GET, &path, None, Bytes::new()).await?;
    let limits = Limits { any_stream: true, ..host.config().stream_limits };
    let began_ms = host.now_ms();
    let fetched = call::exchange(host, provider, request, None, limits, draft.id()).await;
    let head = fetched.as_ref().ok().map(|fetched| (fetched.head_ms, fetched.head.status()));
    let content = fetched.and_then(|fetched| match fetched.head.status().is_success() {
        true => Ok(Content::Comes(fetched)),
        false => passed(provider, fetched).map(|(response, _)| Content::Refused(response)),
    });
    let (status, error_type) =
        (head.map(|(_, status)| status.as_u16()), content.as_ref().err().map(Error::code));
    draft.attempt(provider, attempt(provider, status, error_type, host.now_ms() - began_ms));
    draft.asked(provider);
    if let Some((head_ms, _)) = head {
        draft.first_byte(head_ms);
    }
    Ok(content?)
}

/// Who calls, in the record too.
async fn identify<H: Host>(
    host: &H,
    incoming: &Incoming,
    draft: &mut Draft,
    body: &Bytes,
) -> Result<Rc<Caller>, Error> {
    let caller = auth::authenticate(host, incoming, draft.started_ms()).await?;
    draft.caller(&caller.tenant_id, &caller.key_id);
    draft.capture(Capture::begin(caller.payload_mode, caller.payload_cap_bytes, incoming.headers(), body));
    Ok(caller)
}

/// The provider a new file goes to.
fn chosen(headers: &HeaderMap, caller: &Caller) -> Result<&'static Provider, Error> {
    let name = headers.get(&PROVIDER).map_or(Ok(DEFAULT_PROVIDER), |name| name.to_str()).unwrap_or_default();
    let Some(provider) = kept::provider(name) else {
        let message = format!("`{PROVIDER}` must be one of {}.", kept::providers().join(", "));
        return Err(llm::Error::Invalid { message, param: None }.into());
    };
    if !plan::may_use(provider, caller) {
        return Err(Error::ModelNotAllowed(format!("{}/*", provider.name)));
    }
    Ok(provider)
}

async fn find<H: Host>(host: &H, kind: Kind, caller: &Caller, id: &str) -> Result<Owned, Error> {
    let found = objects::find(host, kind, &caller.tenant_id, id).await?;
    found.ok_or_else(|| Error::NotFound(format!("{} with this id", kind.as_str())))
}

fn kept_at(owned: &Owned) -> Result<&'static Provider, Error> {
    kept::provider(&owned.provider)
        .ok_or_else(|| Error::NotFound(format!("provider `{}` any more", owned.provider)))
}

/// Notes whose the provider's new object is.
async fn own<H: Host>(
    host: &H,
    kind: Kind,
    provider: &Provider,
    caller: &Caller,
    object: &Value,
    models: Option<String>,
) -> Result<(), Error> {
    let Some(id) = object["id"].as_str() else {
        let error = UpstreamError::garbled("what was made has no `id`");
        return Err(Error::Upstream { provider: provider.name, error });
    };
    let owned = Owned {
        id: id.to_owned(),
        provider: provider.name.to_owned(),
        tenant_id: caller.tenant_id.clone(),
        key_id: caller.key_id.clone(),
        object: object.to_string(),
        models,
        created_ms: host.now_ms(),
        settled_ms: None,
    };
    let created = objects::create(host, kind, &[owned]).await;
    if created.is_err() {
        host.log(&format!("{}: the {} `{id}` is nobody's", provider.name, kind.as_str()));
    }
    Ok(created?)
}

/// A request about what the provider keeps, ready to send.
async fn request<H: Host>(
    host: &H,
    provider: &'static Provider,
    method: Method,
    path: &str,
    content_type: Option<&HeaderValue>,
    body: Bytes,
) -> Result<Request<Bytes>, Error> {
    let account = Choice { provider, model: "" };
    let access = credential::access(host, &account).await?;
    let mut request = kept::request(method, path, content_type, body, &access.target(&account))?;
    access.seal(&mut request, host.now_ms())?;
    Ok(request)
}

/// Asks the provider for something without a body.
async fn pass<H: Host>(
    host: &H,
    provider: &'static Provider,
    method: Method,
    path: &str,
) -> Result<(Response<Bytes>, Option<Value>), Error> {
    let request = request(host, provider, method, path, None, Bytes::new()).await?;
    let fetched = call::exchange(host, provider, request, None, host.config().answer_limits, path).await?;
    passed(provider, fetched)
}

/// Sends what makes something, on record.
async fn ask<H: Host>(
    host: &H,
    provider: &'static Provider,
    request: Request<Bytes>,
    rest: Option<Rest<'_>>,
    draft: &mut Draft,
) -> Result<(Response<Bytes>, Option<Value>), Error> {
    let began_ms = host.now_ms();
    let limits = host.config().answer_limits;
    let fetched = call::exchange(host, provider, request, rest, limits, draft.id()).await;
    let head_ms = fetched.as_ref().ok().map(|fetched| fetched.head_ms);
    let answer = fetched.and_then(|fetched| passed(provider, fetched));
    let (status, error_type) = match &answer {
        Ok((response, _)) => (Some(response.status().as_u16()), None),
        Err(error) => (error.upstream_status(), Some(error.code())),
    };
    draft.attempt(provider, attempt(provider, status, error_type, host.now_ms() - began_ms));
    draft.asked(provider);
    if let Some(head_ms) = head_ms {
        draft.first_byte(head_ms);
    }
    answer
}

fn attempt(provider: &Provider, status: Option<u16>, error_type: Option<&str>, duration_ms: i64) -> Attempt {
    Attempt {
        provider: provider.name.to_owned(),
        model: String::new(),
        status,
        error_type: error_type.map(str::to_owned),
        duration_ms,
    }
}

/// The provider's answer, as it is, with what it describes; a refusal only where it is about what was asked.
fn passed<S>(
    provider: &'static Provider,
    fetched: Fetched<S>,
) -> Result<(Response<Bytes>, Option<Value>), Error> {
    let fail = |error| Error::Upstream { provider: provider.name, error };
    let (status, headers) = (fetched.head.status(), fetched.head.headers());
    let Body::Whole(body) = fetched.body else {
        return Err(fail(UpstreamError::garbled("it is a stream nobody asked for")));
    };
    let object = if status.is_success() {
        let object: Option<Value> = serde_json::from_slice(&body).ok().filter(Value::is_object);
        Some(object.ok_or_else(|| fail(UpstreamError::garbled("it is not JSON")))?)
    } else if kept::is_callers(status.as_u16(), &body) {
        None
    } else {
        return Err(fail(kept::failure(status.as_u16(), headers, &body)));
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(PROVIDER, HeaderValue::from_static(provider.name));
    Ok((response, object))
}

fn json_response(body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Names the provider: of a new file in a request, of whoever answered in an answer.
pub const PROVIDER: HeaderName = HeaderName::from_static("x-hypergate-provider");

const DEFAULT_PROVIDER: &str = "openai";

const DEFAULT_PAGE: usize = 20;

const MAX_PAGE: usize = 100;

const SETTLING_MS: i64 = 600_000;
