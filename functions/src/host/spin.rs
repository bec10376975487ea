//! Spin: SQLite, key-value, variables, outbound HTTP. WASI 0.2, so that the same modules run on Spin 3.x
//! and 4.x and on SpinKube. Every request has an instance of its own: nothing is
//! remembered between them, and what must happen after the answer happens before the instance ends.

#![expect(unsafe_code, reason = "the component's export is generated, and unsafe by nature")]

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures::{
    StreamExt,
    future::{Either, select},
    stream::{self, LocalBoxStream},
};
#[cfg(feature = "watch")]
use gateway::store::migrations;
use gateway::{
    Host,
    call::{self, BodyError, Incoming},
    config::Config,
    memory::Memory,
    ports::{
        Body, Clock, Database, Fetch, FetchError, Fetched, ForwardError, KeyValue, Limits, Passage,
        PortError, Random, Receive, Rows, Settings, Signer, Statement,
    },
};
use http::{HeaderMap, HeaderValue, Request, Response};
use llm::UpstreamError;
use serde_json::Value;
use spin_executor::{CancelOnDropToken, push_waker_and_get_token};
use spin_sdk::{
    http::{
        Fields, IncomingRequest, IncomingResponse, Method, OutgoingRequest, OutgoingResponse,
        ResponseOutparam, Scheme,
    },
    http_component, key_value, sqlite, variables,
    wit::wasi::{
        clocks0_2_0::monotonic_clock,
        http0_2_0::{
            outgoing_handler,
            types::{OutgoingBody, RequestOptions},
        },
        random0_2_0::random,
    },
};

use wasi::io::streams::{OutputStream, StreamError};

use super::{rs256, seam};
#[cfg(not(feature = "calls"))]
use crate::Reply;
use crate::handle;

#[cfg(feature = "calls")]
mod calls;
#[cfg(feature = "calls")]
use calls::answer;

#[http_component]
async fn serve(request: IncomingRequest, out: ResponseOutparam) {
    let host = match Spin::new() {
        Ok(host) => host,
        Err(message) => {
            eprintln!("{message}");
            let response = call::error_response(&gateway::Error::Misconfigured(message), None);
            send_whole(response, out).await;
            return;
        }
    };
    let incoming = match incoming(request, &host).await {
        Ok(incoming) => incoming,
        Err(error) => return send_whole(call::error_response(&error, None), out).await,
    };
    // There is no deploy step that could: what is no call brings the tables up to date.
    #[cfg(feature = "watch")]
    if let Err(error) = migrations::apply(&host, host.now_ms()).await {
        host.log(&format!("migrations: {error}"));
    }
    let reply = handle(&incoming, &host).await;
    answer(&host, reply, out).await;
}

/// What does not call a model answers whole, and leaves no record.
#[cfg(not(feature = "calls"))]
async fn answer(_: &Spin, reply: Reply<Upstream>, out: ResponseOutparam) {
    match reply {
        Reply::Whole { response, .. } => send_whole(response, out).await,
        Reply::Stream(_) => unreachable!("only calls are streamed"),
    }
}

/// One request's view of the runtime.
struct Spin {
    config: Rc<Config>,
    memory: Memory,
    database: OnceCell<sqlite::Connection>,
    statements: Cell<usize>,
    /// The body, where it is not read yet.
    unread: RefCell<Option<Unread>>,
}

/// What a caller has yet to send. An error is that it broke off.
type Unread = LocalBoxStream<'static, Result<Vec<u8>, BodyError>>;

impl Spin {
    fn new() -> Result<Self, String> {
        let config = Rc::new(Config::read(variable)?);
        Ok(Self {
            config,
            memory: Memory::default(),
            database: OnceCell::new(),
            statements: Cell::new(0),
            unread: RefCell::default(),
        })
    }

    fn database(&self) -> Result<&sqlite::Connection, PortError> {
        if self.database.get().is_none() {
            let opened =
                sqlite::Connection::open_default().map_err(|error| PortError::new("database", error))?;
            // One thread: nobody can have set it meanwhile.
            let _ = self.database.set(opened);
        }
        Ok(self.database.get().expect("it was opened above"))
    }
}

// --- requests and answers ---

async fn incoming(request: IncomingRequest, host: &Spin) -> Result<Incoming, gateway::Error> {
    let max_bytes = host.config.max_body_bytes;
    let unreadable = || gateway::Error::BodyBroken;
    let method = method_name(&request.method()).parse().map_err(|_| unreadable())?;
    let uri =
        request.path_with_query().unwrap_or_else(|| "/".to_owned()).parse().map_err(|_| unreadable())?;
    let headers = seam::headers(request.headers().entries());
    let announced =
        headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let is_form = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..FORM.len()))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(FORM));
    let body = match announced {
        _ if is_form => {
            let chunks = request.into_body_stream().map(|chunk| chunk.map_err(|_| BodyError::Broken));
            host.unread.replace(Some(chunks.boxed_local()));
            Err(BodyError::Unread)
        }
        Some(bytes) if bytes > max_bytes as u64 => Err(BodyError::TooLarge),
        _ => {
            let idle_ms = host.config.stream_limits.idle_ms;
            collect(request.into_body_stream(), max_bytes, idle_ms).await.map_err(|error| match error {
                CollectError::Broken => BodyError::Broken,
                CollectError::Silent => BodyError::Silent,
                CollectError::TooLarge => BodyError::TooLarge,
            })
        }
    };
    let mut incoming = Request::new(body);
    *incoming.method_mut() = method;
    *incoming.uri_mut() = uri;
    *incoming.headers_mut() = headers;
    Ok(incoming)
}

enum CollectError {
    Broken,
    Silent,
    TooLarge,
}

async fn collect<E>(
    chunks: impl futures::Stream<Item = Result<Vec<u8>, E>>,
    max_bytes: usize,
    idle_ms: i64,
) -> Result<Bytes, CollectError> {
    let mut chunks = pin!(chunks);
    let mut all = Vec::new();
    while let Some(chunk) = within(idle_ms, chunks.next()).await.ok_or(CollectError::Silent)? {
        let chunk = chunk.map_err(|_| CollectError::Broken)?;
        if all.len() + chunk.len() > max_bytes {
            return Err(CollectError::TooLarge);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(Bytes::from(all))
}

fn fields(headers: &HeaderMap) -> Fields {
    let fields = Fields::new();
    for (name, value) in headers {
        // A header WASI keeps to itself (`connection`, `host`, …) is none of ours.
        let _ = fields.append(name.as_str(), value.as_bytes());
    }
    fields
}

async fn send_whole(mut response: Response<Bytes>, out: ResponseOutparam) {
    // Without a length, a caller that keeps its connection open waits 40 ms for the end.
    let length = HeaderValue::from(response.body().len());
    response.headers_mut().insert(http::header::CONTENT_LENGTH, length);
    let head = OutgoingResponse::new(fields(response.headers()));
    head.set_status_code(response.status().as_u16()).expect("the gateway answers with a status");
    // A caller that is gone needs no answer.
    let _ = out.set_with_body(head, response.into_body().to_vec()).await;
}

/// Writes and flushes. An error means that the caller is gone.
async fn write(stream: &OutputStream, mut bytes: &[u8]) -> Result<(), StreamError> {
    while !bytes.is_empty() {
        let room = ready(stream).await?;
        let (now, later) = bytes.split_at(bytes.len().min(room as usize));
        stream.write(now)?;
        bytes = later;
    }
    stream.flush()?;
    ready(stream).await.map(drop)
}

/// Waits until some bytes may be written.
async fn ready(stream: &OutputStream) -> Result<u64, StreamError> {
    let mut registered = None;
    poll_fn(|context| match stream.check_write() {
        Ok(0) => {
            registered = Some(CancelOnDropToken::from(push_waker_and_get_token(
                stream.subscribe(),
                context.waker().clone(),
            )));
            Poll::Pending
        }
        result => {
            registered.take();
            Poll::Ready(result)
        }
    })
    .await
}

// --- ports ---

impl Clock for Spin {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    async fn sleep(&self, ms: i64) {
        sleep(ms).await;
    }
}

async fn sleep(ms: i64) {
    let deadline = monotonic_clock::now() + u64::try_from(ms).unwrap_or(0) * NANOSECONDS_PER_MS;
    let mut registered = None;
    poll_fn(|context| {
        if monotonic_clock::now() >= deadline {
            registered.take();
            return Poll::Ready(());
        }
        let alarm = monotonic_clock::subscribe_instant(deadline);
        registered = Some(CancelOnDropToken::from(push_waker_and_get_token(alarm, context.waker().clone())));
        Poll::Pending
    })
    .await;
}

impl Random for Spin {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&random::get_random_bytes(bytes.len() as u64));
    }
}

impl Settings for Spin {
    fn setting(&self, name: &str) -> Option<String> {
        variable(name)
    }
}

/// Spin's variables are in small letters. An optional one is declared with an empty default.
fn variable(name: &str) -> Option<String> {
    variables::get(&name.to_ascii_lowercase()).ok().filter(|value| !value.is_empty())
}

impl Signer for Spin {
    async fn sign_rs256(&self, pkcs8: &[u8], message: &[u8]) -> Result<Vec<u8>, PortError> {
        rs256::sign(pkcs8, message).ok_or_else(|| PortError::new("signer", "the key is no RSA key"))
    }
}

impl Database for Spin {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, PortError> {
        let database = self.database()?;
        self.statements.set(self.statements.get() + statements.len());
        seam::batch(&statements, |statement| execute(database, statement)).map_err(|(error, undone)| {
            if let Some(rollback) = undone {
                self.log(&format!("database: no rollback: {rollback}"));
            }
            error
        })
    }

    fn statements(&self) -> usize {
        self.statements.get()
    }
}

fn execute(database: &sqlite::Connection, statement: &Statement) -> Result<Rows, PortError> {
    let params: Vec<sqlite::Value> = statement.params.iter().map(parameter).collect();
    let result =
        database.execute(&statement.sql, &params).map_err(|error| PortError::new("database", error))?;
    let row = |row: sqlite::RowResult| {
        result
            .columns
            .iter()
            .cloned()
            .zip(row.values.into_iter().map(column))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    Ok(result.rows.into_iter().map(row).collect())
}

fn parameter(value: &Value) -> sqlite::Value {
    match value {
        Value::Null => sqlite::Value::Null,
        Value::Bool(value) => sqlite::Value::Integer(i64::from(*value)),
        Value::Number(number) => match number.as_i64() {
            Some(number) => sqlite::Value::Integer(number),
            None => number.as_f64().map_or(sqlite::Value::Null, sqlite::Value::Real),
        },
        Value::String(text) => sqlite::Value::Text(text.clone()),
        list => sqlite::Value::Text(list.to_string()),
    }
}

fn column(value: sqlite::Value) -> Value {
    match value {
        sqlite::Value::Integer(number) => number.into(),
        sqlite::Value::Real(number) => number.into(),
        sqlite::Value::Text(text) => text.into(),
        // No table has a column of bytes.
        sqlite::Value::Blob(_) | sqlite::Value::Null => Value::Null,
    }
}

impl KeyValue for Spin {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        let value = store()?.get(key).map_err(key_value_error)?;
        // Spin's entries do not expire by themselves: each begins with its time.
        let Some((expires_ms, value)) = value.as_deref().and_then(|value| value.split_first_chunk()) else {
            return Ok(None);
        };
        Ok((self.now_ms() < i64::from_be_bytes(*expires_ms)).then(|| Bytes::copy_from_slice(value)))
    }

    async fn put(&self, key: &str, value: Bytes, expires_ms: i64) -> Result<(), PortError> {
        let timed = [&expires_ms.to_be_bytes(), &*value].concat();
        store()?.set(key, &timed).map_err(key_value_error)
    }

    async fn delete(&self, key: &str) -> Result<(), PortError> {
        store()?.delete(key).map_err(key_value_error)
    }
}

fn store() -> Result<key_value::Store, PortError> {
    key_value::Store::open_default().map_err(key_value_error)
}

fn key_value_error(error: key_value::Error) -> PortError {
    PortError::new("key-value", error)
}

/// What an upstream has yet to say. Dropping it cancels the request.
type Upstream = LocalBoxStream<'static, Result<Vec<u8>, UpstreamError>>;

impl Fetch for Spin {
    const HAS_SOCKETS: bool = false;
    type Stream = Upstream;

    async fn fetch(&self, request: Request<Bytes>, limits: Limits) -> Result<Fetched<Upstream>, FetchError> {
        // The runtime's own limits are coarser and differ between versions; this one is ours.
        within(limits.first_byte_ms, self.answer(request, limits)).await.unwrap_or(Err(FetchError::Timeout))
    }

    async fn connect(
        &self,
        _request: Request<Bytes>,
        _limits: Limits,
    ) -> Result<Fetched<Upstream>, FetchError> {
        Err(FetchError::Unreachable("WASI 0.2 has no sockets of this kind".to_owned()))
    }

    async fn forward(
        &self,
        request: Request<Bytes>,
        passage: Rc<RefCell<dyn Passage>>,
        limits: Limits,
    ) -> Result<Fetched<Upstream>, ForwardError> {
        let mut unread = self.unread.take().ok_or(ForwardError::Body(BodyError::Broken))?;
        let (body, answer) = open(&request, limits)?;
        let mut answer = pin!(answer);
        let sending = pin!(async {
            let sent = send_on(&body, request.body(), &mut unread, &passage, limits.idle_ms).await;
            sent.map(|()| {
                let _ = OutgoingBody::finish(body, None);
            })
        });
        let response = match select(sending, answer.as_mut()).await {
            Either::Left((Ok(()), _)) => {
                within(limits.first_byte_ms, answer).await.unwrap_or(Err(FetchError::Timeout))?
            }
            Either::Left((Err(error), _)) => return Err(error),
            Either::Right((response, sending)) => {
                let response = response?;
                // An error is not made another by what comes too late; a good answer needs all of it.
                if (200..300).contains(&response.status()) {
                    sending.await?;
                }
                response
            }
        };
        let read = within(limits.first_byte_ms, self.read(response, limits)).await;
        Ok(read.unwrap_or(Err(FetchError::Timeout))?)
    }

    fn script(&self, chunks: Vec<Vec<u8>>, gap_ms: i64) -> Upstream {
        let later = move |chunk| async move {
            sleep(gap_ms).await;
            Ok(chunk)
        };
        stream::iter(chunks).then(later).boxed_local()
    }
}

impl Spin {
    async fn answer(&self, request: Request<Bytes>, limits: Limits) -> Result<Fetched<Upstream>, FetchError> {
        self.read(send(request, limits).await?, limits).await
    }

    async fn read(
        &self,
        response: IncomingResponse,
        limits: Limits,
    ) -> Result<Fetched<Upstream>, FetchError> {
        let head_ms = self.now_ms();
        let mut head = Response::new(());
        *head.status_mut() = response
            .status()
            .try_into()
            .map_err(|_| FetchError::Unreachable("the answer has no valid status".to_owned()))?;
        *head.headers_mut() = seam::headers(response.headers().entries());
        let media_type =
            head.headers().get(http::header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let is_stream = limits.any_stream || seam::is_stream(media_type);
        let chunks = response.take_body_stream();
        if !(is_stream && head.status().is_success()) {
            let body =
                collect(chunks, limits.max_bytes, limits.first_byte_ms).await.map_err(
                    |error| match error {
                        CollectError::Broken => FetchError::Unreachable("the answer broke off".to_owned()),
                        CollectError::Silent => FetchError::Timeout,
                        CollectError::TooLarge => FetchError::TooLarge,
                    },
                )?;
            return Ok(Fetched { head, body: Body::Whole(body), head_ms });
        }
        let mut rest = chunks.map(|chunk| chunk.map_err(|_| UpstreamError::truncated())).boxed_local();
        let first = match rest.next().await {
            Some(Ok(chunk)) => Bytes::from(chunk),
            Some(Err(error)) => return Err(FetchError::Unreachable(error.to_string())),
            None => Bytes::new(),
        };
        Ok(Fetched { head, body: Body::Stream { first, rest }, head_ms })
    }
}

impl Receive for Spin {
    async fn receive(&self) -> Result<Option<Bytes>, BodyError> {
        let mut unread = self.unread.take().ok_or(BodyError::Broken)?;
        let chunk = receive(&mut unread, self.config.stream_limits.idle_ms).await;
        self.unread.replace(Some(unread));
        chunk
    }
}

async fn receive(unread: &mut Unread, idle_ms: i64) -> Result<Option<Bytes>, BodyError> {
    match within(idle_ms, unread.next()).await {
        None => Err(BodyError::Silent),
        Some(chunk) => Ok(chunk.transpose()?.map(Bytes::from)),
    }
}

/// Sends the beginning, then what the caller sends, as it comes.
async fn send_on(
    body: &OutgoingBody,
    beginning: &[u8],
    unread: &mut Unread,
    passage: &RefCell<dyn Passage>,
    idle_ms: i64,
) -> Result<(), ForwardError> {
    let stream =
        body.write().map_err(|()| FetchError::Unreachable("the request cannot be written".to_owned()))?;
    let write = async |bytes: &[u8]| match within(idle_ms, write(&stream, bytes)).await {
        None => Err(ForwardError::Fetch(FetchError::Timeout)),
        // That the upstream takes no more is told better by its answer.
        Some(Err(_)) => Ok(false),
        Some(Ok(())) => Ok(true),
    };
    if !write(beginning).await? {
        return Ok(());
    }
    loop {
        let chunk = receive(unread, idle_ms).await.map_err(ForwardError::Body)?;
        let Some(chunk) = chunk else {
            let tail = passage.borrow_mut().end().map_err(|_| ForwardError::Refused)?;
            return write(&tail).await.map(drop);
        };
        let instead = passage.borrow_mut().chunk(&chunk).map_err(|_| ForwardError::Refused)?;
        if !write(instead.as_deref().unwrap_or(&chunk)).await? {
            return Ok(());
        }
    }
}

/// What the future comes to, unless that takes longer.
async fn within<T>(ms: i64, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), pin!(sleep(ms))).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

/// Sends a request; comes back with the head of the answer.
async fn send(request: Request<Bytes>, limits: Limits) -> Result<IncomingResponse, FetchError> {
    let (body, answer) = open(&request, limits)?;
    let mut answer = pin!(answer);
    let sending = pin!(async {
        if let Ok(stream) = body.write() {
            // An error here is told better by the answer.
            let _ = write(&stream, request.body()).await;
        }
        let _ = OutgoingBody::finish(body, None);
    });
    match select(sending, answer.as_mut()).await {
        Either::Left(_) => answer.await,
        // One that refuses may come before all is sent, and nobody takes the rest then.
        Either::Right((Ok(response), sending)) if (200..300).contains(&response.status()) => {
            sending.await;
            Ok(response)
        }
        Either::Right((response, _)) => response,
    }
}

/// Begins a request: what to write its body to, and what the head of its answer will be.
fn open(
    request: &Request<Bytes>,
    limits: Limits,
) -> Result<(OutgoingBody, impl Future<Output = Result<IncomingResponse, FetchError>> + use<>), FetchError> {
    let unreachable = |what: &str| FetchError::Unreachable(what.to_owned());
    let uri = request.uri();
    let scheme = if uri.scheme_str() == Some("http") { Scheme::Http } else { Scheme::Https };
    let outgoing = OutgoingRequest::new(fields(request.headers()));
    let set = outgoing
        .set_method(&method(request.method()))
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(uri.authority().map(|authority| authority.as_str())))
        .and_then(|()| outgoing.set_path_with_query(uri.path_and_query().map(|path| path.as_str())));
    set.map_err(|()| unreachable("the address cannot be asked"))?;
    let options = RequestOptions::new();
    let connect_ns = u64::try_from(limits.first_byte_ms.min(CONNECT_MS)).unwrap_or(0) * NANOSECONDS_PER_MS;
    // Later than our own limits, which know that it was a timeout; the runtime's look like a broken answer.
    let silent_ms = limits.idle_ms.max(limits.first_byte_ms) + SLACK_MS;
    let idle_ns = u64::try_from(silent_ms).unwrap_or(0) * NANOSECONDS_PER_MS;
    // A runtime that knows no limits leaves it to ours.
    let _ = options.set_connect_timeout(Some(connect_ns));
    let _ = options.set_first_byte_timeout(Some(idle_ns));
    let _ = options.set_between_bytes_timeout(Some(idle_ns));

    let body = outgoing.body().map_err(|()| unreachable("the request has no body"))?;
    let answer =
        outgoing_handler::handle(outgoing, Some(options)).map_err(|code| unreachable(&code.to_string()))?;
    let head = async move {
        let answer = answer;
        // Dropped first: WASI does not let go of what something still waits for.
        let mut registered = None;
        poll_fn(|context| match answer.get() {
            Some(result) => {
                registered.take();
                let result = result.expect("an answer is taken once");
                Poll::Ready(result.map_err(|code| FetchError::Unreachable(code.to_string())))
            }
            None => {
                let waker = context.waker().clone();
                let token = push_waker_and_get_token(answer.subscribe(), waker);
                registered = Some(CancelOnDropToken::from(token));
                Poll::Pending
            }
        })
        .await
    };
    Ok((body, head))
}

fn method(method: &http::Method) -> Method {
    match *method {
        http::Method::GET => Method::Get,
        http::Method::POST => Method::Post,
        _ => Method::Other(method.to_string()),
    }
}

fn method_name(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}

impl Host for Spin {
    const ADDRESS_HEADER: &'static str = "spin-client-addr";
    /// As large as the disk.
    const DATABASE_LIMITS_MB: &'static [i64] = &[];

    fn config(&self) -> Rc<Config> {
        self.config.clone()
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn region(&self) -> Option<String> {
        None
    }

    fn country(&self) -> Option<String> {
        None
    }

    fn log(&self, line: &str) {
        eprintln!("{line}");
    }
}

const NANOSECONDS_PER_MS: u64 = 1_000_000;

const CONNECT_MS: i64 = 10_000;

/// How long after our own limits the runtime's may strike.
const SLACK_MS: i64 = 5_000;

/// What the media type of a form begins with.
const FORM: &[u8] = b"multipart/";
