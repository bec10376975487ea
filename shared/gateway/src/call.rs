//! One call of a model, top to bottom: authenticate, peek, plan, try targets, answer, record.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use futures::future::try_join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hypercare::time::parse_http_date;
use llm::{
    ErrorClass, Provider, Target, UpstreamError, capability, demo,
    dialect::{bend::Bent, chat_completions::ChatCompletions},
    front::{ErrorBody, Peek},
    kept::{self, References},
    operation::{Ask, Chat, Delivery, Operation, Outgoing, Whole, realtime},
    provider::{Api, Auth},
    relay::{Ending, Relay, Summary},
};

use crate::{
    Error, Host,
    auth::{self, Caller},
    credential, form,
    guard::Guard,
    live::Live,
    objects::PROVIDER,
    origin,
    payload::Capture,
    plan::{self, Choice},
    ports::{Body, FetchError, Fetched, ForwardError, Limits},
    record::{Attempt, Draft, Opening, Record},
    store::objects,
    tags, trace,
};

/// Why a request's body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It broke off.
    Broken,
    /// Nothing more of it came.
    Silent,
    /// It is larger than `MAX_BODY_BYTES`.
    TooLarge,
    /// It is made of files, and still to be received: [`crate::ports::Receive`].
    Unread,
}

impl BodyError {
    /// As a caller is told, where the body was to be whole.
    pub fn refusal(self, limit: usize) -> Error {
        match self {
            Self::Broken => Error::BodyBroken,
            Self::Silent => Error::BodySilent,
            Self::TooLarge => Error::BodyTooLarge { limit },
            Self::Unread => Error::NoForm,
        }
    }
}

/// A request as a host hands it in: read to its end, or not.
pub type Incoming = Request<Result<Bytes, BodyError>>;

/// What a host is to do.
pub enum Reply<S> {
    /// Send this whole, then journal the record.
    Whole {
        /// The answer.
        response: Response<Bytes>,
        /// What happened; only calls of models are recorded.
        record: Option<Box<Record>>,
    },
    /// Send the head and the opening, then pump the rest.
    Stream(Box<Streaming<S>>),
}

impl<S> Reply<S> {
    /// An answer that is not a call's.
    pub fn unrecorded(response: Response<Bytes>) -> Self {
        Self::Whole { response, record: None }
    }
}

/// A streamed answer that has begun.
pub struct Streaming<S> {
    /// Status and headers.
    pub head: Response<()>,
    /// The first bytes; may be empty while the provider has only said that it begins.
    pub opening: Bytes,
    /// What the upstream has yet to say.
    pub rest: S,
    /// Takes it on.
    pub live: Live,
    /// The longest silence allowed between two chunks.
    pub idle_ms: i64,
}

/// A call by a caller who asks for `operation`. `route` is the path's template.
pub async fn call<H: Host>(
    host: &H,
    incoming: &Incoming,
    operation: &'static dyn Operation,
    route: &'static str,
) -> Reply<H::Stream> {
    let mut draft = begin(host, incoming.headers(), operation.name(), route);
    match serve(host, incoming, operation, &mut draft).await {
        Ok(Served::Stream { head, opening, rest, relay, guard }) => {
            draft.streams(head.status().as_u16());
            draft.sent(host.now_ms(), &opening);
            let live = Live::new(relay, draft, guard);
            let idle_ms = host.config().stream_limits.idle_ms;
            Reply::Stream(Box::new(Streaming { head, opening, rest, live, idle_ms }))
        }
        Ok(Served::Whole { response, summary }) => {
            let record =
                draft.finish_whole(host.now_ms(), response.status().as_u16(), None, summary, response.body());
            Reply::Whole { response, record: Some(Box::new(record)) }
        }
        Err(refusal) => refuse(host, operation, draft, refusal),
    }
}

/// A record begins. `route` is the path's template.
pub(crate) fn begin<H: Host>(host: &H, headers: &HeaderMap, operation: &str, route: &str) -> Draft {
    let started_ms = host.now_ms();
    let (trace_id, parent_span_id) = trace::incoming(headers).unzip();
    let mut draft = Draft::begin(Opening {
        id: host.memory().new_id("call_", started_ms, host),
        operation,
        route,
        trace_id: trace_id.unwrap_or_else(|| trace::new_id(host)),
        parent_span_id,
        started_ms,
        region: host.region(),
        release: &host.config().release,
    });
    draft.tagged(tags::read(headers));
    draft.comes_from(host.country(), origin::source(host, headers));
    draft
}

/// An answer, before it is known what becomes of it.
#[expect(clippy::large_enum_variant, reason = "there is one to a call, and it does not move far")]
enum Served<S> {
    Whole { response: Response<Bytes>, summary: Summary },
    Stream { head: Response<()>, opening: Bytes, rest: S, relay: Box<dyn Relay>, guard: Option<Guard> },
}

/// A failure, with what of the upstream's headers goes on to the caller.
pub(crate) struct Refusal {
    error: Error,
    headers: Box<HeaderMap>,
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self { error: error.into(), headers: Box::default() }
    }
}

async fn serve<H: Host>(
    host: &H,
    incoming: &Incoming,
    operation: &'static dyn Operation,
    draft: &mut Draft,
) -> Result<Served<H::Stream>, Refusal> {
    let config = host.config();
    let headers = incoming.headers();
    let path = incoming.uri().path_and_query().map_or("", |path| path.as_str());
    let caller = match auth::authenticate(host, incoming, draft.started_ms()).await {
        Ok(caller) => caller,
        Err(error) => {
            if error.status() == StatusCode::UNAUTHORIZED {
                draft.tried(auth::tried(host, incoming));
            }
            // What a stranger asked for, where it takes little to see.
            if let Ok(body) = incoming.body().as_ref()
                && operation.form().is_none()
                && body.len() <= MAX_STRANGERS_BYTES
                && let Ok(peek) = operation.peek(path, headers, body)
            {
                draft.request(&peek.model, peek.stream, None);
            }
            return Err(error.into());
        }
    };
    draft.caller(&caller.tenant_id, &caller.key_id);
    draft.prices(caller.clone());
    if operation.is_socket() && !H::HAS_SOCKETS {
        return Err(Error::NoSockets.into());
    }
    let form;
    let (body, rest) = match operation.form() {
        None => (incoming.body().as_ref().map_err(|error| error.refusal(config.max_body_bytes))?, None),
        Some(wanted) => {
            form = form::receive(host, incoming, wanted, wanted[0]).await?;
            let held = form.held.len();
            (&form.held, form.rest.as_ref().map(|rest| Rest { rest, length: form.length, held }))
        }
    };
    // A form's files are no text to keep.
    let kept = if operation.form().is_some() { &Bytes::new() } else { body };
    draft.capture(Capture::begin(caller.payload_mode, caller.payload_cap_bytes, headers, kept));
    let peek = operation.peek(path, headers, body).map_err(Error::from)?;
    let end_user = peek.user.as_deref().zip(config.secrets.as_ref());
    let end_user_hash = end_user.map(|(user, secrets)| secrets.end_user_hash(&caller.tenant_id, user));
    draft.request(&peek.model, peek.stream, end_user_hash);
    let References { files, models, clouds, in_texts } =
        if operation.form().is_some() { References::default() } else { kept::references(body)? };
    kept::check_clouds(&clouds, &config.cloud_files)?;
    if !files.is_empty()
        && let Some(id) = objects::foreign(host, &caller.tenant_id, &files).await.map_err(Error::from)?
    {
        return Err(Error::NotFound(format!("file `{id}`")).into());
    }
    let call = Call { operation, headers, body, peek, rest, caller: &caller };
    let choices = plan::able(plan::plan(&call.peek.model, &caller)?, operation)?;
    for choice in &choices {
        plan::check_named(&models, choice, &caller)?;
        if let Some(file) = in_texts.first().filter(|_| choice.provider.files_in_texts) {
            return Err(Error::NotFound(format!("file `{file}`")).into());
        }
    }
    try_in_order(host, &call, &choices, draft).await
}

/// What is asked, and how it is done.
struct Call<'a> {
    operation: &'static dyn Operation,
    headers: &'a HeaderMap,
    body: &'a Bytes,
    peek: Peek<'a>,
    rest: Option<Rest<'a>>,
    caller: &'a Rc<Caller>,
}

/// What the caller has yet to send of a form.
#[derive(Clone, Copy)]
pub(crate) struct Rest<'a> {
    /// What it goes through.
    pub(crate) rest: &'a Rc<RefCell<form::Rest>>,
    /// How long all of the form is, where that is known.
    pub(crate) length: Option<usize>,
    /// How much of it has come.
    pub(crate) held: usize,
}

impl Call<'_> {
    fn ask<'a>(&'a self, draft: &'a Draft, api: Api) -> Ask<'a> {
        let Self { headers, body, peek, .. } = self;
        Ask { id: draft.id(), created: draft.started_ms() / 1000, headers, body, peek, api, bent: None }
    }
}

/// Tries the targets until one begins to answer. Nothing has gone out to the caller yet, so any of them
/// may still take the call. The last one is tried twice, no earlier than it asks for. A body that is still coming
/// goes to the first that is asked at all.
async fn try_in_order<H: Host>(
    host: &H,
    call: &Call<'_>,
    choices: &[Choice<'_>],
    draft: &mut Draft,
) -> Result<Served<H::Stream>, Refusal> {
    let (last, earlier) = choices.split_last().expect("a plan has a target");
    let is_asked_once = |error: &Error| call.rest.is_some() && matches!(error, Error::Upstream { .. });
    let mut missing = Vec::new();
    let mut failed = None;
    for choice in earlier {
        match try_target(host, call, choice, draft).await {
            Err(Refusal { error: Error::ProviderUnconfigured { setting, .. }, .. }) => missing.push(setting),
            Err(refusal) if may_fall_back(&refusal.error) && !is_asked_once(&refusal.error) => {
                failed = Some(refusal);
            }
            done => return done,
        }
    }
    let refusal = match try_target(host, call, last, draft).await {
        Err(Refusal { error: Error::ProviderUnconfigured { setting, .. }, .. }) if !earlier.is_empty() => {
            missing.push(setting);
            // What a target that is set up said is more to the point.
            return Err(failed.unwrap_or_else(|| Error::ProvidersUnconfigured { settings: missing }.into()));
        }
        Err(refusal) => refusal,
        served => return served,
    };
    let Some(wait_ms) = retry_wait_ms(&refusal.error, host.config().max_retry_wait_ms)
        .filter(|_| !is_asked_once(&refusal.error))
    else {
        return Err(refusal);
    };
    host.sleep(wait_ms).await;
    draft.waited(wait_ms);
    try_target(host, call, last, draft).await
}

/// Whether the next target may do better.
fn may_fall_back(error: &Error) -> bool {
    match error {
        Error::Upstream { error, .. } => error.class.may_fall_back(),
        Error::ProviderUnconfigured { .. } | Error::Request(llm::Error::Unsupported { .. }) => true,
        _ => false,
    }
}

/// Whether the failure came after the provider had been turned to.
fn was_asked(error: &Error) -> bool {
    matches!(error, Error::HungUp | Error::Upstream { .. })
}

/// How long to wait before the same target is tried again; `None` if it should not be.
fn retry_wait_ms(error: &Error, longest_ms: i64) -> Option<i64> {
    let Error::Upstream { error, .. } = error else { return None };
    let wait_ms = error.retry_after_ms.unwrap_or(RETRY_PAUSE_MS);
    (error.class.may_retry() && wait_ms <= longest_ms).then_some(wait_ms)
}

async fn try_target<H: Host>(
    host: &H,
    call: &Call<'_>,
    choice: &Choice<'_>,
    draft: &mut Draft,
) -> Result<Served<H::Stream>, Refusal> {
    let began_ms = host.now_ms();
    let result = send(host, call, choice, draft).await;
    let (status, error_type) = match &result {
        Ok((Served::Whole { response, .. }, _)) => (Some(response.status().as_u16()), None),
        Ok((Served::Stream { head, .. }, _)) => (Some(head.status().as_u16()), None),
        Err(refusal) => {
            let status = match &refusal.error {
                Error::Upstream { error, .. } => error.status,
                _ => None,
            };
            (status, Some(refusal.error.code().to_owned()))
        }
    };
    let duration_ms = host.now_ms() - began_ms;
    let attempt = Attempt {
        provider: choice.provider.name.to_owned(),
        model: choice.model.to_owned(),
        status,
        error_type,
        duration_ms,
    };
    draft.attempt(choice.provider, attempt);
    if result.as_ref().err().is_none_or(|refusal| was_asked(&refusal.error)) {
        draft.asked(choice.provider);
    }
    let retires = capability::find(choice.provider.name, choice.model).retires_soon(began_ms);
    let retires = retires.map(HeaderValue::from_static);
    let (mut served, head_ms) = result.map_err(|mut refusal| {
        refusal.headers.extend(retires.clone().map(|day| (RETIRES, day)));
        refusal
    })?;
    draft.first_byte(head_ms);
    let headers = match &mut served {
        Served::Whole { response, .. } => response.headers_mut(),
        Served::Stream { head, .. } => head.headers_mut(),
    };
    headers.extend(retires.map(|day| (RETIRES, day)));
    stamp(headers, draft, call.operation, StatusCode::OK);
    Ok(served)
}

/// Sends the call to one target. Returns its answer once it has begun well, with when its head came.
async fn send<H: Host>(
    host: &H,
    call: &Call<'_>,
    choice: &Choice<'_>,
    draft: &Draft,
) -> Result<(Served<H::Stream>, i64), Refusal> {
    let provider = choice.provider;
    let api = credential::api_for(host, choice, call.operation.callers_api());
    // Said first: no credential would help.
    let base_url = credential::base_url(host, choice.provider);
    let Choice { provider: row, model } = *choice;
    let target = Target { provider: row, model, base_url: &base_url, credential: None };
    capability::check_kind(&target, call.operation.name()).map_err(Error::from)?;
    let ask = call.ask(draft, api);
    let Sent { mut fetched, more, delivery, mut dropped, bent } = match provider.api {
        Api::Demo => demo(host, call, &ask, choice)?,
        _ => {
            let outgoing = outgoing(host, call, &ask, choice, draft).await?;
            fetch_all(host, call, &ask, provider, outgoing).await?
        }
    };
    let ask = Ask { bent: Some(&bent), ..ask };
    let head_ms = fetched.head_ms;
    let headers = passed_on(fetched.head.headers());
    let refuse = |error| Refusal { headers: Box::new(headers.clone()), ..failed(provider, error) };
    let mut served = match (delivery, fetched.body) {
        (Delivery::Whole | Delivery::AsAnswered, Body::Whole(body)) => {
            let first = Whole { headers: std::mem::take(fetched.head.headers_mut()), body };
            let answer = call.operation.answer(&ask, provider, first, more).map_err(refuse)?;
            dropped.extend(answer.dropped);
            let mut response = Response::new(answer.body);
            response.headers_mut().insert(header::CONTENT_TYPE, answer.content_type);
            Served::Whole { response, summary: answer.summary }
        }
        (Delivery::Whole, Body::Stream { .. }) => {
            return Err(refuse(UpstreamError::garbled("it is a stream nobody asked for")));
        }
        (_, Body::Whole(_)) => return Err(refuse(UpstreamError::garbled("it is no event stream"))),
        (Delivery::Socket, Body::Stream { first, rest }) => {
            let relay = call.operation.relay(&ask, provider, fetched.head.headers()).relay;
            let mut head = Response::new(());
            *head.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            if let Some(subprotocol) = realtime::subprotocol(call.headers) {
                head.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
            }
            let guard = Some(Guard::new(call.caller.clone(), choice, ask.id));
            Served::Stream { head, opening: first, rest, relay, guard }
        }
        (_, Body::Stream { first, rest }) => {
            let mut streamed = call.operation.relay(&ask, provider, fetched.head.headers());
            let opening = open_stream(streamed.relay.as_mut(), first).map_err(refuse)?;
            let mut head = Response::new(());
            head.headers_mut().insert(header::CONTENT_TYPE, streamed.content_type);
            head.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            Served::Stream { head, opening, rest, relay: streamed.relay, guard: None }
        }
    };
    let answer_headers = match &mut served {
        Served::Whole { response, .. } => response.headers_mut(),
        Served::Stream { head, .. } => head.headers_mut(),
    };
    answer_headers.extend(headers);
    if !dropped.is_empty() {
        answer_headers.insert(DROPPED, named(&dropped));
    }
    Ok((served, head_ms))
}

/// Names of the caller's as a header: it may have written anything, as much as it likes, and must be told all the same.
fn named(names: &[String]) -> HeaderValue {
    let mut list = String::new();
    for name in names {
        if list.len() > MAX_DROPPED_BYTES {
            list.push_str(",...");
            break;
        }
        list.push_str(if list.is_empty() { "" } else { "," });
        let is_plain = |letter: char| letter == ' ' || letter.is_ascii_graphic() && letter != ',';
        let shown = |letter: char| if is_plain(letter) { letter } else { '?' };
        list.extend(name.chars().take(MAX_NAME_CHARS).map(shown));
    }
    HeaderValue::from_str(&list).expect("letters that can be seen make a header")
}

/// What was sent, and what came back.
struct Sent<S> {
    fetched: Fetched<S>,
    more: Vec<Whole>,
    delivery: Delivery,
    dropped: Vec<String>,
    bent: Bent,
}

/// Sends the request, then, some at once, those that complete it. All of them succeed, or the call fails.
async fn fetch_all<H: Host>(
    host: &H,
    call: &Call<'_>,
    ask: &Ask<'_>,
    provider: &'static Provider,
    outgoing: Outgoing,
) -> Result<Sent<H::Stream>, Refusal> {
    let Outgoing { request, more: requests, delivery, dropped, bent } = outgoing;
    let config = host.config();
    let limits = if delivery.is_streamed() { config.stream_limits } else { config.answer_limits };
    let limits = Limits { any_stream: delivery == Delivery::AsItComes, ..limits };
    let fetched = fetch(host, call, ask, provider, request, limits).await?;
    let mut more = Vec::with_capacity(requests.len());
    let mut requests = requests.into_iter();
    // Together they are held as one answer would be, also while they come.
    let mut left = match &fetched.body {
        Body::Whole(body) => limits.max_bytes.saturating_sub(body.len()),
        Body::Stream { .. } => 0,
    };
    while !requests.as_slice().is_empty() {
        let group: Vec<Request<Bytes>> = requests.by_ref().take(AT_ONCE).collect();
        let limits = Limits { max_bytes: left / group.len(), ..limits };
        let group = group.into_iter().map(|request| fetch(host, call, ask, provider, request, limits));
        for fetched in try_join_all(group).await? {
            let Body::Whole(body) = fetched.body else {
                return Err(failed(provider, UpstreamError::garbled("it is a stream nobody asked for")));
            };
            left = left.saturating_sub(body.len());
            more.push(Whole { headers: fetched.head.into_parts().0.headers, body });
        }
    }
    Ok(Sent { fetched, more, delivery, dropped, bent })
}

/// Sends one request. Returns its answer if it is a 2xx.
async fn fetch<H: Host>(
    host: &H,
    call: &Call<'_>,
    ask: &Ask<'_>,
    provider: &'static Provider,
    request: Request<Bytes>,
    limits: Limits,
) -> Result<Fetched<H::Stream>, Refusal> {
    let fetched = exchange(host, provider, request, call.rest, limits, ask.id).await?;
    well(call, ask, provider, fetched)
}

/// One request and its answer, whatever its status; behind the request's body goes the rest of the caller's.
/// `id` is for the log.
pub(crate) async fn exchange<H: Host>(
    host: &H,
    provider: &'static Provider,
    mut request: Request<Bytes>,
    rest: Option<Rest<'_>>,
    limits: Limits,
    id: &str,
) -> Result<Fetched<H::Stream>, Error> {
    let fail = |error| Error::Upstream { provider: provider.name, error };
    // Host and port, for whoever runs the provider too.
    let place = request.uri().authority().filter(|_| provider.auth == Auth::Optional);
    let place = place.map(|place| place.as_str().rsplit('@').next().unwrap_or_default().to_owned());
    let fetched = match rest {
        None if request.headers().contains_key(header::UPGRADE) => host.connect(request, limits).await,
        None => host.fetch(request, limits).await,
        Some(Rest { rest, length, held }) => {
            if let Some(length) = length {
                let length = length + request.body().len() - held;
                request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            match host.forward(request, rest.clone(), limits).await {
                Err(ForwardError::Body(error)) => return Err(form::unreceived(error)),
                Err(ForwardError::Refused) => return Err(rest.borrow_mut().take_error()),
                Err(ForwardError::Fetch(error)) => Err(error),
                Ok(fetched) => Ok(fetched),
            }
        }
    };
    fetched.map_err(|error| match error {
        FetchError::HungUp => Error::HungUp,
        FetchError::Timeout => {
            let waited = limits.first_byte_ms;
            fail(UpstreamError::new(ErrorClass::Timeout, format!("no answer within {waited} ms.")))
        }
        FetchError::TooLarge => fail(UpstreamError::garbled("it is too large")),
        FetchError::Unreachable(reason) => {
            host.log(&format!("{id}: {} unreachable: {reason}", provider.name));
            fail(UpstreamError::new(ErrorClass::Network, unreachable(provider, place.as_deref())))
        }
    })
}

/// The answer, unless its status says that it is none.
fn well<S>(
    call: &Call<'_>,
    ask: &Ask<'_>,
    provider: &'static Provider,
    fetched: Fetched<S>,
) -> Result<Fetched<S>, Refusal> {
    let status = fetched.head.status();
    if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(fetched);
    }
    let headers = fetched.head.headers();
    let body = match fetched.body {
        Body::Whole(body) => body,
        Body::Stream { first, .. } => first,
    };
    let mut error = call.operation.failure(ask, status.as_u16(), headers, &body);
    // A wait told as a date needs a clock, which an operation has not.
    error.retry_after_ms = error.retry_after_ms.or_else(|| {
        let date = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
        Some((parse_http_date(date)? - fetched.head_ms).max(0))
    });
    Err(Refusal { headers: Box::new(passed_on(headers)), ..failed(provider, error) })
}

/// The provider's failure, before anything of its answer's headers is known.
fn failed(provider: &'static Provider, error: UpstreamError) -> Refusal {
    Refusal::from(Error::Upstream { provider: provider.name, error })
}

/// Reads the first chunk. A stream that fails this early has not been answered yet, so it fails like
/// any other answer and the next target may take the call.
fn open_stream(relay: &mut dyn Relay, first: Bytes) -> Result<Bytes, UpstreamError> {
    let mut out = Vec::new();
    if first.is_empty() {
        // No bytes at all: the stream ended at once.
        relay.end(Ending::Closed, &mut out);
    }
    let passed = relay.chunk(&first, &mut out);
    match &relay.summary().error {
        Some(error) => Err(error.clone()),
        None if passed == llm::relay::Passed::AsIs => Ok(first),
        None => Ok(Bytes::from(out)),
    }
}

/// Why there is no answer at all. Where the operator runs the provider too, it is told what says where.
fn unreachable(provider: &Provider, place: Option<&str>) -> String {
    match place {
        Some(place) => {
            let setting = setting_name(provider.name, "BASE_URL");
            format!("the provider could not be reached at `{place}`. {setting} must say where it is.")
        }
        None => "the provider could not be reached.".to_owned(),
    }
}

/// What goes to the target, with our name, the trace and what proves who asks.
async fn outgoing<H: Host>(
    host: &H,
    call: &Call<'_>,
    ask: &Ask<'_>,
    choice: &Choice<'_>,
    draft: &Draft,
) -> Result<Outgoing, Error> {
    let provider = choice.provider;
    let access = credential::access(host, choice).await?;
    let target = access.target(choice);
    let mut outgoing = call.operation.request(ask, &target).map_err(|error| match error {
        llm::Error::Upstream(error) => Error::Upstream { provider: provider.name, error },
        error => Error::Request(error),
    })?;
    if !call.operation.sorts_betas() {
        outgoing.sort_betas(call.headers, provider);
    }
    let parent = HeaderValue::from_str(&trace::parent(draft.trace_id(), draft.id(), draft.attempts())).ok();
    for request in std::iter::once(&mut outgoing.request).chain(&mut outgoing.more) {
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(parent) = &parent {
            headers.insert(trace::TRACEPARENT, parent.clone());
        }
        access.seal(request, host.now_ms())?;
    }
    Ok(outgoing)
}

fn demo<H: Host>(
    host: &H,
    call: &Call<'_>,
    ask: &Ask<'_>,
    choice: &Choice<'_>,
) -> Result<Sent<H::Stream>, Refusal> {
    let head_ms = host.now_ms();
    let demo::Reply { answer, dropped } = call.operation.demo(ask, choice.model).map_err(Error::from)?;
    let fetched = match answer {
        demo::Answer::Whole { status, body } => {
            let mut head = Response::new(());
            *head.status_mut() = StatusCode::from_u16(status).expect("the demo answers with a status");
            Fetched { head, body: Body::Whole(Bytes::from(body)), head_ms }
        }
        demo::Answer::Stream(mut chunks) => {
            let first = Bytes::from(chunks.remove(0));
            let rest = host.script(chunks, DEMO_GAP_MS);
            Fetched { head: Response::new(()), body: Body::Stream { first, rest }, head_ms }
        }
    };
    let fetched = well(call, ask, choice.provider, fetched)?;
    let delivery = Delivery::of(call.peek.stream);
    Ok(Sent { fetched, more: Vec::new(), delivery, dropped, bent: Bent::default() })
}

/// `WORKERS_AI_API_KEY` for (`workers-ai`, `API_KEY`).
pub fn setting_name(provider: &str, suffix: &str) -> String {
    format!("{}_{suffix}", provider.to_ascii_uppercase().replace('-', "_"))
}

/// The headers of an upstream's answer that mean something to the caller.
fn passed_on(upstream: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in upstream {
        let known = match name.as_str() {
            // Anthropic's name for it, and Amazon's.
            "request-id" | "x-amzn-requestid" => Some(X_REQUEST_ID),
            "retry-after" | "retry-after-ms" | "x-request-id" | "openai-processing-ms" => Some(name.clone()),
            other if other.starts_with("x-ratelimit-") || other.starts_with("anthropic-ratelimit-") => {
                Some(name.clone())
            }
            _ => None,
        };
        if let Some(name) = known {
            headers.insert(name, value.clone());
        }
    }
    headers
}

/// Our own headers, on every answer of a call.
pub(crate) fn stamp(headers: &mut HeaderMap, draft: &Draft, operation: &dyn Operation, status: StatusCode) {
    let Ok(id) = HeaderValue::from_str(draft.id()) else { return };
    let request_id = headers.entry(X_REQUEST_ID).or_insert_with(|| id.clone()).clone();
    headers.insert(CALL_ID, id);
    if let Some(provider) = draft.provider_asked() {
        headers.insert(PROVIDER, HeaderValue::from_static(provider));
        headers.insert(ATTEMPTS, HeaderValue::from(draft.attempts()));
    }
    operation.headers(status, &request_id, headers);
}

/// The answer to a call that failed, and its record.
pub(crate) fn refuse<S, H: Host>(
    host: &H,
    operation: &dyn Operation,
    mut draft: Draft,
    refusal: Refusal,
) -> Reply<S> {
    let Refusal { error, mut headers } = refusal;
    if let Error::Upstream { error, .. } = &error {
        draft.failed(error);
    }
    if let Some(cause) = error.cause() {
        host.log(&format!("{}: {}: {cause}", draft.id(), error.code()));
    }
    if let Error::Blocked { caller, .. } = &error {
        draft.caller(&caller.tenant_id, &caller.key_id);
    }
    // The wait may be told in the body only; callers look for it in the header.
    if let Error::Upstream { error: UpstreamError { retry_after_ms: Some(wait_ms), .. }, .. } = &error {
        headers.entry(header::RETRY_AFTER).or_insert_with(|| HeaderValue::from((wait_ms + 999) / 1000));
    }
    let mut response = error_in(operation, &error, Some(draft.id()));
    response.headers_mut().extend(*headers);
    let status = response.status();
    stamp(response.headers_mut(), &draft, operation, status);
    let now_ms = host.now_ms();
    let record = match error {
        Error::HungUp => draft.finish_hung_up(now_ms, Summary::default()),
        _ => {
            let status = response.status().as_u16();
            draft.finish_whole(now_ms, status, Some(error.code()), Summary::default(), response.body())
        }
    };
    let recorded = !record.tenant_id.is_empty() || host.memory().may_record_stranger(now_ms);
    Reply::Whole { response, record: recorded.then(|| Box::new(record)) }
}

/// A refusal in OpenAI's error shape, for whoever's protocol is not known.
pub fn error_response(error: &Error, request_id: Option<&str>) -> Response<Bytes> {
    error_in(&OPENAI, error, request_id)
}

/// A refusal in the caller's protocol.
pub fn error_in(operation: &dyn Operation, error: &Error, request_id: Option<&str>) -> Response<Bytes> {
    let status = error.status();
    let body = match error {
        Error::Upstream { error, provider } => {
            let body = ErrorBody::upstream(error, request_id);
            ErrorBody { message: format!("{provider}: {}", body.message).into(), ..body }
        }
        _ => ErrorBody {
            message: error.to_string().into(),
            status,
            param: error.param(),
            code: Some(error.code()),
            request_id,
        },
    };
    let mut response = Response::new(Bytes::from(operation.error(status, &body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Error::MethodNotAllowed { allowed, .. } = error {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

/// OpenAI's shape of an error.
pub(crate) const OPENAI: Chat = Chat(&ChatCompletions);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CALL_ID: HeaderName = HeaderName::from_static("x-hypergate-call-id");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-hypergate-attempts");
const DROPPED: HeaderName = HeaderName::from_static("x-hypergate-dropped");
const RETIRES: HeaderName = HeaderName::from_static("x-hypergate-model-retires");
/// Some servers take no more than 8 KiB of headers.
const MAX_DROPPED_BYTES: usize = 2_000;
const MAX_NAME_CHARS: usize = 100;
/// A body from somebody unknown that is longer is not looked at.
const MAX_STRANGERS_BYTES: usize = 64 << 10;
const USER_AGENT: &str = concat!("hypergate/", env!("CARGO_PKG_VERSION"));

/// Between two tries of the same target, where it names no time itself.
const RETRY_PAUSE_MS: i64 = 250;

/// How many requests of one call are under way together. Workers has six connections for all of it.
const AT_ONCE: usize = 5;

/// Between two words of the demo model.
const DEMO_GAP_MS: i64 = 40;
