//! One call of a model, top to bottom: authenticate, peek, plan, try targets, answer, record.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hypercare::time::parse_http_date;
use llm::{
    ErrorClass, Provider, UpstreamError,
    chat::{self, Event},
    demo,
    dialect::{Encoded, chat_completions::ChatCompletions, messages::Invoke},
    front::{ErrorBody, Front, Head, Peek},
    provider::{Api, Auth, Betas, Hosting},
    relay::{Ending, Relay, Summary},
    translate::{self, Translate},
};

use crate::{
    Error, Host, auth, credential,
    live::Live,
    payload::Capture,
    plan::{self, Choice},
    ports::{Body, FetchError, Fetched},
    record::{Attempt, Draft, Opening, Record},
    trace,
};

/// Why a request's body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It broke off.
    Broken,
    /// It is larger than `MAX_BODY_BYTES`.
    TooLarge,
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

/// A call by a caller who speaks what `front` does. `route` is the path's template.
pub async fn call<H: Host>(
    host: &H,
    incoming: &Incoming,
    front: &'static dyn Front,
    route: &'static str,
) -> Reply<H::Stream> {
    let headers = incoming.headers();
    let started_ms = host.now_ms();
    let config = host.config();
    let mut draft = Draft::begin(Opening {
        id: host.memory().new_id("call_", started_ms, host),
        route,
        trace_id: trace::incoming_id(headers).unwrap_or_else(|| trace::new_id(host)),
        started_ms,
        region: host.region(),
        release: &config.release,
    });
    match serve(host, incoming, front, &mut draft).await {
        Ok(Served::Stream { head, opening, rest, relay }) => {
            draft.sent(host.now_ms(), &opening);
            let live = Live::new(relay, draft);
            let idle_ms = config.stream_limits.idle_ms;
            Reply::Stream(Box::new(Streaming { head, opening, rest, live, idle_ms }))
        }
        Ok(Served::Whole { response, summary }) => {
            let record =
                draft.finish_whole(host.now_ms(), response.status().as_u16(), None, summary, response.body());
            Reply::Whole { response, record: Some(Box::new(record)) }
        }
        Err(refusal) => refuse(host, front, draft, refusal),
    }
}

/// An answer, before it is known what becomes of it.
enum Served<S> {
    Whole { response: Response<Bytes>, summary: Summary },
    Stream { head: Response<()>, opening: Bytes, rest: S, relay: Box<dyn Relay> },
}

/// A failure, with what of the upstream's headers goes on to the caller.
struct Refusal {
    error: Error,
    headers: HeaderMap,
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self { error: error.into(), headers: HeaderMap::new() }
    }
}

async fn serve<H: Host>(
    host: &H,
    incoming: &Incoming,
    front: &'static dyn Front,
    draft: &mut Draft,
) -> Result<Served<H::Stream>, Refusal> {
    let config = host.config();
    let headers = incoming.headers();
    let caller = auth::authenticate(host, incoming, draft.started_ms()).await?;
    draft.caller(&caller.tenant_id, &caller.key_id);
    let body = incoming.body().as_ref().map_err(|error| match error {
        BodyError::Broken => Error::BodyBroken,
        BodyError::TooLarge => Error::BodyTooLarge { limit: config.max_body_bytes },
    })?;
    draft.capture(Capture::begin(caller.payload_mode, caller.payload_cap_bytes, headers, body));
    let path = incoming.uri().path_and_query().map_or("", |path| path.as_str());
    let peek = front.peek(path, body).map_err(Error::from)?;
    let end_user = peek.user.as_deref().zip(config.secrets.as_ref());
    let end_user_hash = end_user.map(|(user, secrets)| secrets.end_user_hash(&caller.tenant_id, user));
    draft.request(&peek.model, peek.stream, end_user_hash);
    let choices = plan::plan(&peek.model, &caller)?;
    let mut ask = Ask { front, headers, body, peek: &peek, unified: None };
    try_in_order(host, &mut ask, &choices, draft).await
}

/// What is asked, read as far as was needed.
struct Ask<'a> {
    front: &'static dyn Front,
    headers: &'a HeaderMap,
    body: &'a Bytes,
    peek: &'a Peek<'a>,
    /// Built only if a target speaks another protocol.
    unified: Option<chat::Request>,
}

impl Ask<'_> {
    fn unified(&mut self) -> Result<&chat::Request, Error> {
        match &mut self.unified {
            Some(unified) => Ok(unified),
            slot => Ok(slot.insert(self.front.parse(self.peek, self.body)?)),
        }
    }
}

/// Tries the targets until one begins to answer. Nothing has gone out to the caller yet, so any of them
/// may still take the call. The last one is tried twice, no earlier than it asks for.
async fn try_in_order<H: Host>(
    host: &H,
    ask: &mut Ask<'_>,
    choices: &[Choice<'_>],
    draft: &mut Draft,
) -> Result<Served<H::Stream>, Refusal> {
    let (last, earlier) = choices.split_last().expect("a plan has a target");
    let mut missing = Vec::new();
    let mut failed = None;
    for choice in earlier {
        match try_target(host, ask, choice, draft).await {
            Err(Refusal { error: Error::ProviderUnconfigured { setting, .. }, .. }) => missing.push(setting),
            Err(refusal) if may_fall_back(&refusal.error) => failed = Some(refusal),
            done => return done,
        }
    }
    let refusal = match try_target(host, ask, last, draft).await {
        Err(Refusal { error: Error::ProviderUnconfigured { setting, .. }, .. }) if !earlier.is_empty() => {
            missing.push(setting);
            // What a target that is set up said is more to the point.
            return Err(failed.unwrap_or_else(|| Error::ProvidersUnconfigured { settings: missing }.into()));
        }
        Err(refusal) => refusal,
        served => return served,
    };
    let Some(wait_ms) = retry_wait_ms(&refusal.error, host.config().max_retry_wait_ms) else {
        return Err(refusal);
    };
    host.sleep(wait_ms).await;
    draft.waited(wait_ms);
    try_target(host, ask, last, draft).await
}

/// Whether the next target may do better.
fn may_fall_back(error: &Error) -> bool {
    match error {
        Error::Upstream { error, .. } => error.class.may_fall_back(),
        Error::ProviderUnconfigured { .. } | Error::Request(llm::Error::Unsupported { .. }) => true,
        _ => false,
    }
}

/// How long to wait before the same target is tried again; `None` if it should not be.
fn retry_wait_ms(error: &Error, longest_ms: i64) -> Option<i64> {
    let Error::Upstream { error, .. } = error else { return None };
    let wait_ms = error.retry_after_ms.unwrap_or(RETRY_PAUSE_MS);
    (error.class.may_retry() && wait_ms <= longest_ms).then_some(wait_ms)
}

async fn try_target<H: Host>(
    host: &H,
    ask: &mut Ask<'_>,
    choice: &Choice<'_>,
    draft: &mut Draft,
) -> Result<Served<H::Stream>, Refusal> {
    let began_ms = host.now_ms();
    let result = send(host, ask, choice, draft).await;
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
    let (mut served, head_ms) = result?;
    draft.first_byte(head_ms);
    let headers = match &mut served {
        Served::Whole { response, .. } => response.headers_mut(),
        Served::Stream { head, .. } => head.headers_mut(),
    };
    headers.insert(PROVIDER, HeaderValue::from_static(choice.provider.name));
    headers.insert(ATTEMPTS, HeaderValue::from(draft.attempts()));
    stamp(headers, draft);
    Ok(served)
}

/// Sends the call to one target. Returns its answer once it has begun well, with when its head came.
async fn send<H: Host>(
    host: &H,
    ask: &mut Ask<'_>,
    choice: &Choice<'_>,
    draft: &Draft,
) -> Result<(Served<H::Stream>, i64), Refusal> {
    let provider = choice.provider;
    let front = ask.front;
    let api = credential::api_for(host, choice, front.api());
    let dialect = api.dialect();
    // Both ends speak the same: bytes are passed on.
    let is_same = api.speaks() == front.api();
    let stream = ask.peek.stream;
    let fail = |error: UpstreamError| Error::Upstream { provider: provider.name, error };
    let (fetched, dropped) = match provider.api {
        Api::Demo => (demo(host, ask, choice, draft)?, Vec::new()),
        _ => {
            let (request, dropped) = upstream_request(host, ask, choice, draft).await?;
            let config = host.config();
            let limits = if stream { config.stream_limits } else { config.answer_limits };
            let fetched = host.fetch(request, limits).await.map_err(|error| match error {
                FetchError::HungUp => Error::HungUp,
                FetchError::Timeout => {
                    let waited = limits.first_byte_ms;
                    fail(UpstreamError::new(ErrorClass::Timeout, format!("no answer within {waited} ms.")))
                }
                FetchError::TooLarge => fail(UpstreamError::garbled("it is too large")),
                FetchError::Unreachable(reason) => {
                    host.log(&format!("{}: {} unreachable: {reason}", draft.id(), provider.name));
                    fail(UpstreamError::new(ErrorClass::Network, unreachable(provider)))
                }
            })?;
            (fetched, dropped)
        }
    };
    let headers = passed_on(fetched.head.headers());
    let refuse = |error: UpstreamError| Refusal { error: fail(error), headers: headers.clone() };
    let status = fetched.head.status();
    let head = Head { id: draft.id(), created: draft.started_ms() / 1000, model: &ask.peek.model };
    if !status.is_success() {
        let body = match fetched.body {
            Body::Whole(body) => body,
            Body::Stream { first, .. } => first,
        };
        let mut error = dialect.error(status.as_u16(), fetched.head.headers(), &body);
        // A wait told as a date needs a clock, which a dialect has not.
        error.retry_after_ms = error.retry_after_ms.or_else(|| {
            let date = fetched.head.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
            Some((parse_http_date(date)? - fetched.head_ms).max(0))
        });
        return Err(refuse(error));
    }
    let mut served = match fetched.body {
        Body::Whole(_) if stream => return Err(refuse(UpstreamError::garbled("it is no event stream"))),
        Body::Stream { .. } if !stream => {
            return Err(refuse(UpstreamError::garbled("it is a stream nobody asked for")));
        }
        Body::Whole(body) => {
            let (body, summary) = if is_same {
                let summary = front.summary(&body).map_err(refuse)?;
                (body, summary)
            } else {
                let events = dialect.decode(&body).map_err(refuse)?;
                let summary = translate::summary(&events);
                let head = Head { model: served_model(&events).unwrap_or(head.model), ..head };
                (Bytes::from(front.whole(&head, &events).map_err(refuse)?), summary)
            };
            let mut response = Response::new(body);
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Served::Whole { response, summary }
        }
        Body::Stream { first, rest } => {
            let mut relay = if is_same {
                front.forwarder(ask.peek, draft.id())
            } else {
                let writer = front.writer(&head, ask.peek);
                Box::new(Translate::new(dialect.decoder(), writer, draft.id()))
            };
            if api == Api::Messages && provider.hosting == Hosting::Bedrock {
                relay = Box::new(Invoke::new(relay));
            }
            let opening = open_stream(relay.as_mut(), first).map_err(refuse)?;
            let mut head = Response::new(());
            head.headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static(front.stream_type(ask.peek)));
            head.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            Served::Stream { head, opening, rest, relay }
        }
    };
    let answer_headers = match &mut served {
        Served::Whole { response, .. } => response.headers_mut(),
        Served::Stream { head, .. } => head.headers_mut(),
    };
    answer_headers.extend(headers);
    if let (false, Ok(names)) = (dropped.is_empty(), HeaderValue::from_str(&dropped.join(","))) {
        answer_headers.insert(DROPPED, names);
    }
    Ok((served, fetched.head_ms))
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

/// The model the provider says it used, for the answer.
fn served_model(events: &[Event]) -> Option<&str> {
    events.iter().find_map(|event| match event {
        Event::Start { model, .. } => model.as_deref(),
        _ => None,
    })
}

/// Why there is no answer at all. Where the operator runs the provider too, it is told what says where.
fn unreachable(provider: &Provider) -> String {
    match provider.auth {
        Auth::Optional => {
            let setting = setting_name(provider.name, "BASE_URL");
            format!("the provider could not be reached. {setting} must say where it is.")
        }
        Auth::Bearer | Auth::Header(_) => "the provider could not be reached.".to_owned(),
    }
}

async fn upstream_request<H: Host>(
    host: &H,
    ask: &mut Ask<'_>,
    choice: &Choice<'_>,
    draft: &Draft,
) -> Result<(Request<Bytes>, Vec<String>), Error> {
    let provider = choice.provider;
    let access = credential::access(host, choice).await?;
    let target = access.target(choice);
    let api = credential::api_for(host, choice, ask.front.api());
    let Encoded { mut request, dropped } = if api.speaks() == ask.front.api() {
        ask.front.forward(ask.body, ask.peek, ask.headers, &target)?
    } else {
        let betas = Betas::None.sort(ask.headers).1;
        let mut encoded = api.dialect().encode(ask.unified()?, &target).map_err(|error| match error {
            llm::Error::Upstream(error) => Error::Upstream { provider: provider.name, error },
            error => Error::Request(error),
        })?;
        encoded.dropped.extend(betas);
        encoded
    };
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    if let Ok(parent) = HeaderValue::from_str(&trace::parent(draft.trace_id(), host)) {
        headers.insert(trace::TRACEPARENT, parent);
    }
    access.seal(&mut request, host.now_ms())?;
    Ok((request, dropped))
}

fn demo<H: Host>(
    host: &H,
    ask: &mut Ask<'_>,
    choice: &Choice<'_>,
    draft: &Draft,
) -> Result<Fetched<H::Stream>, Error> {
    let model = ask.peek.model.clone();
    let head = Head { id: draft.id(), created: draft.started_ms() / 1000, model: &model };
    let head_ms = host.now_ms();
    Ok(match demo::answer(choice.model, ask.unified()?, &head)? {
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
    })
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
            // Anthropic's name for it.
            "request-id" => Some(X_REQUEST_ID),
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
fn stamp(headers: &mut HeaderMap, draft: &Draft) {
    let Ok(id) = HeaderValue::from_str(draft.id()) else { return };
    if !headers.contains_key(X_REQUEST_ID) {
        headers.insert(X_REQUEST_ID, id.clone());
    }
    headers.insert(CALL_ID, id);
}

fn refuse<S, H: Host>(host: &H, front: &dyn Front, draft: Draft, refusal: Refusal) -> Reply<S> {
    let Refusal { error, mut headers } = refusal;
    if let Some(cause) = error.cause() {
        host.log(&format!("{}: {}: {cause}", draft.id(), error.code()));
    }
    // The wait may be told in the body only; callers look for it in the header.
    if let Error::Upstream { error: UpstreamError { retry_after_ms: Some(wait_ms), .. }, .. } = &error {
        headers.entry(header::RETRY_AFTER).or_insert_with(|| HeaderValue::from((wait_ms + 999) / 1000));
    }
    let mut response = error_in(front, &error, Some(draft.id()));
    response.headers_mut().extend(headers);
    stamp(response.headers_mut(), &draft);
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
    error_in(&ChatCompletions, error, request_id)
}

/// A refusal in the caller's protocol.
fn error_in(front: &dyn Front, error: &Error, request_id: Option<&str>) -> Response<Bytes> {
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
    let mut response = Response::new(Bytes::from(front.error(status, &body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Error::MethodNotAllowed { allowed, .. } = error {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CALL_ID: HeaderName = HeaderName::from_static("x-hypergate-call-id");
const PROVIDER: HeaderName = HeaderName::from_static("x-hypergate-provider");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-hypergate-attempts");
const DROPPED: HeaderName = HeaderName::from_static("x-hypergate-dropped");
const USER_AGENT: &str = concat!("hypergate/", env!("CARGO_PKG_VERSION"));

/// Between two tries of the same target, where it names no time itself.
const RETRY_PAUSE_MS: i64 = 250;

/// Between two words of the demo model.
const DEMO_GAP_MS: i64 = 40;
