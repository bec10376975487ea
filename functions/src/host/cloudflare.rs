//! Cloudflare Workers: D1, KV, a queue, cron. The runtime is reached through `cloudflare.js`, one call
//! per IO step.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use bytes::Bytes;
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
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use serde_json::Value;
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use worker::{Context, Env, event};
#[cfg(feature = "watch")]
use worker::{MessageBatch, ScheduleContext, ScheduledEvent};

#[cfg(not(feature = "calls"))]
use crate::Reply;
use crate::handle;
#[cfg(feature = "watch")]
use crate::{consume, tick};

#[cfg(feature = "calls")]
mod calls;
#[cfg(feature = "calls")]
use calls::answer;

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<web_sys::Response> {
    let host = Rc::new(Cloudflare::new(env, Some(context), request.signal().into()));
    let config = match config(&host) {
        Ok(config) => config,
        Err(message) => return Ok(misconfigured(message)),
    };
    // An error here would tear down the instance, and every other call in it.
    let packed = read_request(&request, config.max_body_bytes as f64).await;
    let incoming =
        match packed.map_err(|_| gateway::Error::BodyBroken).and_then(|packed| incoming(packed, &host)) {
            Ok(incoming) => incoming,
            Err(error) => return Ok(respond_with(call::error_response(&error, None))),
        };
    let reply = handle(&incoming, &*host).await;
    Ok(answer(host, reply))
}

/// What does not call a model answers whole, and leaves no record.
#[cfg(not(feature = "calls"))]
fn answer(_: Rc<Cloudflare>, reply: Reply<Reader>) -> web_sys::Response {
    match reply {
        Reply::Whole { response, .. } => respond_with(response),
        Reply::Stream(_) => unreachable!("only calls are streamed"),
    }
}

#[cfg(feature = "watch")]
#[event(queue)]
async fn queue(batch: MessageBatch<String>, env: Env, _context: Context) -> worker::Result<()> {
    let host = Cloudflare::new(env, None, JsValue::UNDEFINED);
    let stored = match batch.messages() {
        Ok(messages) => {
            let messages: Vec<String> = messages.iter().map(|message| message.body().clone()).collect();
            consume(&messages, &host).await.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    // The whole batch is to come again. An error returned would say so too, and tear down the instance.
    if let Err(error) = stored {
        host.log(&format!("journal: the batch will come again: {error}"));
        batch.retry_all();
    }
    Ok(())
}

#[cfg(feature = "watch")]
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    let host = Cloudflare::new(env, None, JsValue::UNDEFINED);
    if let Err(message) = config(&host) {
        host.log(&message);
    } else if let Err(error) = tick(host.now_ms(), &host).await {
        host.log(&format!("tick: {error} {:?}", error.cause()));
    }
}

/// One request's view of the runtime.
struct Cloudflare {
    env: Env,
    /// Absent where nothing outlives the event.
    #[cfg_attr(
        not(feature = "calls"),
        expect(dead_code, reason = "only a call's record outlives its answer")
    )]
    context: Option<Context>,
    /// Tells that the caller hung up.
    signal: JsValue,
    /// Data centre and country, as far as they are known.
    place: OnceCell<(String, String)>,
    /// What reads the body, where it is not read yet.
    unread: RefCell<Option<JsValue>>,
    statements: Cell<usize>,
    memory: Rc<Memory>,
}

thread_local! {
    // An isolate lives through many requests; what it learns about its deployment stays true.
    static CONFIG: OnceCell<Rc<Config>> = const { OnceCell::new() };
    static SETTINGS: RefCell<HashMap<String, Option<String>>> = RefCell::default();
    static MEMORY: Rc<Memory> = Rc::default();
}

impl Cloudflare {
    fn new(env: Env, context: Option<Context>, signal: JsValue) -> Self {
        Self {
            env,
            context,
            signal,
            place: OnceCell::new(),
            unread: RefCell::default(),
            statements: Cell::new(0),
            memory: MEMORY.with(Rc::clone),
        }
    }
}

/// Reads the settings once an isolate, so that a wrong one is told instead of a request served.
fn config(host: &Cloudflare) -> Result<Rc<Config>, String> {
    if let Some(config) = CONFIG.with(|config| config.get().cloned()) {
        return Ok(config);
    }
    let lookup = |name: &str| match (name, host.setting(name)) {
        ("RELEASE", None) => version_id(&host.env),
        (_, value) => value,
    };
    let config = Rc::new(Config::read(lookup)?);
    Ok(CONFIG.with(|cell| cell.get_or_init(|| config).clone()))
}

fn misconfigured(message: String) -> web_sys::Response {
    worker::console_error!("{message}");
    respond_with(call::error_response(&gateway::Error::Misconfigured(message), None))
}

// --- requests and answers ---

/// What was read of a request, as the gateway wants it.
fn incoming(parts: JsValue, host: &Cloudflare) -> Result<Incoming, gateway::Error> {
    let parts: js_sys::Array = parts.unchecked_into();
    let head = parts.get(0).as_string().unwrap_or_default();
    let body = bytes(parts.get(1));
    let unreadable = || gateway::Error::BodyBroken;
    let mut lines = head.splitn(5, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (state, method, path, place) = (line(), line(), line(), line());
    let (region, country) = place.split_once(' ').unwrap_or((place, ""));
    // Set once a request, before anything asks.
    let _ = host.place.set((region.to_owned(), country.to_owned()));
    let body = match state {
        "ok" => Ok(body),
        "unread" => {
            host.unread.replace(Some(parts.get(2)));
            Err(BodyError::Unread)
        }
        "large" => Err(BodyError::TooLarge),
        _ => Err(BodyError::Broken),
    };
    let mut request = Request::new(body);
    *request.method_mut() = method.parse().map_err(|_| unreadable())?;
    *request.uri_mut() = path.parse().map_err(|_| unreadable())?;
    *request.headers_mut() = headers(line());
    Ok(request)
}

/// Bytes of a typed array, copied into our memory.
fn bytes(array: JsValue) -> Bytes {
    Bytes::from(array.unchecked_into::<js_sys::Uint8Array>().to_vec())
}

fn headers(lines: &str) -> HeaderMap {
    let pairs = lines.split('\n').filter_map(|line| line.split_once(':'));
    let parsed = pairs.filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    });
    parsed.collect()
}

fn header_lines(headers: &HeaderMap) -> String {
    let mut lines = String::with_capacity(headers.len() * 48);
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(name.as_str());
        lines.push(':');
        lines.push_str(value);
    }
    lines
}

fn respond_with(response: Response<Bytes>) -> web_sys::Response {
    respond(response.status().as_u16(), &header_lines(response.headers()), response.body())
}

// --- ports ---

impl Clock for Cloudflare {
    fn now_ms(&self) -> i64 {
        js_sys::Date::now() as i64
    }

    async fn sleep(&self, ms: i64) {
        // A timer does not fail.
        let _ = sleep(ms as f64).await;
    }
}

impl Random for Cloudflare {
    fn fill(&self, bytes: &mut [u8]) {
        random_bytes(bytes.len() as u32).copy_to(bytes);
    }
}

impl Settings for Cloudflare {
    fn setting(&self, name: &str) -> Option<String> {
        if let Some(known) = SETTINGS.with_borrow(|settings| settings.get(name).cloned()) {
            return known;
        }
        let value = setting(&self.env, name).filter(|value| !value.is_empty());
        SETTINGS.with_borrow_mut(|settings| settings.insert(name.to_owned(), value.clone()));
        value
    }
}

impl Database for Cloudflare {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, PortError> {
        // Not as one JSON text: a batch of records is one already, and would be escaped and read once more.
        self.statements.set(self.statements.get() + statements.len());
        let list: js_sys::Array = statements.iter().map(statement_parts).collect();
        let rows = database_batch(&self.env, list).await.map_err(|error| port_error("database", &error))?;
        let rows = rows.as_string().unwrap_or_default();
        serde_json::from_str(&rows).map_err(|error| PortError::new("database", error))
    }

    async fn size_bytes(&self) -> Result<i64, PortError> {
        self.statements.set(self.statements.get() + 1);
        let bytes = database_size(&self.env).await.map_err(|error| port_error("database", &error))?;
        bytes.as_f64().map(|bytes| bytes as i64).ok_or_else(|| PortError::new("database", "no size"))
    }

    fn statements(&self) -> usize {
        self.statements.get()
    }
}

/// The SQL, then the parameters.
fn statement_parts(statement: &Statement) -> js_sys::Array {
    let params = statement.params.iter().map(|param| match param {
        Value::Number(number) => number.as_f64().map_or(JsValue::NULL, JsValue::from_f64),
        Value::String(text) => JsValue::from_str(text),
        // Nothing else is a parameter.
        _ => JsValue::NULL,
    });
    std::iter::once(JsValue::from_str(&statement.sql)).chain(params).collect()
}

impl KeyValue for Cloudflare {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        let value = key_value_get(&self.env, key).await.map_err(|error| port_error("key-value", &error))?;
        let bytes = value.dyn_into::<js_sys::Uint8Array>().ok();
        Ok(bytes.map(|bytes| Bytes::from(bytes.to_vec())))
    }

    async fn put(&self, key: &str, value: Bytes, expires_ms: i64) -> Result<(), PortError> {
        let put = key_value_put(&self.env, key, &value, expires_ms as f64).await;
        put.map_err(|error| port_error("key-value", &error))
    }

    async fn delete(&self, key: &str) -> Result<(), PortError> {
        key_value_delete(&self.env, key).await.map_err(|error| port_error("key-value", &error))
    }
}

impl Signer for Cloudflare {
    async fn sign_rs256(&self, pkcs8: &[u8], message: &[u8]) -> Result<Vec<u8>, PortError> {
        let signed = sign_rs256(pkcs8, message).await.map_err(|error| port_error("signer", &error))?;
        Ok(signed.unchecked_into::<js_sys::Uint8Array>().to_vec())
    }
}

/// A reader of what an upstream has yet to say, real or scripted. Cancelled when dropped, unless it was
/// handed over to the pump.
struct Reader(Option<JsValue>);

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(reader) = self.0.take() {
            cancel(&reader);
        }
    }
}

impl Fetch for Cloudflare {
    const HAS_SOCKETS: bool = true;
    type Stream = Reader;

    async fn fetch(&self, request: Request<Bytes>, limits: Limits) -> Result<Fetched<Reader>, FetchError> {
        let url = request.uri().to_string();
        let lines = header_lines(request.headers());
        let answer = fetch_upstream(
            request.method().as_str(),
            &url,
            &lines,
            request.body(),
            limits.first_byte_ms as f64,
            limits.max_bytes as f64,
            limits.any_stream,
            &self.signal,
        );
        fetched(answer.await.map_err(|error| fetch_error(&error))?)
    }

    async fn connect(&self, request: Request<Bytes>, limits: Limits) -> Result<Fetched<Reader>, FetchError> {
        // The runtime opens a socket where a request asks for one.
        self.fetch(request, limits).await
    }

    async fn forward(
        &self,
        request: Request<Bytes>,
        passage: Rc<RefCell<dyn Passage>>,
        limits: Limits,
    ) -> Result<Fetched<Reader>, ForwardError> {
        let reader = self.unread.take().ok_or(ForwardError::Body(BodyError::Broken))?;
        let url = request.uri().to_string();
        let lines = header_lines(request.headers());
        let answer = forward_upstream(
            request.method().as_str(),
            &url,
            &lines,
            request.body(),
            reader,
            Way { passage },
            limits.idle_ms as f64,
            limits.first_byte_ms as f64,
            limits.max_bytes as f64,
            limits.any_stream,
            &self.signal,
        );
        let answer = answer.await.map_err(|error| match error.as_string().as_deref() {
            Some(BROKEN) => ForwardError::Body(BodyError::Broken),
            Some(REFUSED) => ForwardError::Refused,
            Some(SILENT) => ForwardError::Body(BodyError::Silent),
            _ => fetch_error(&error).into(),
        })?;
        Ok(fetched(answer)?)
    }

    fn script(&self, chunks: Vec<Vec<u8>>, gap_ms: i64) -> Reader {
        let chunks: js_sys::Array =
            chunks.iter().map(|chunk| js_sys::Uint8Array::from(chunk.as_slice())).collect();
        Reader(Some(scripted(chunks, gap_ms as f64)))
    }
}

fn fetch_error(error: &JsValue) -> FetchError {
    match error.as_string().as_deref() {
        Some(HUNG_UP) => FetchError::HungUp,
        Some(TIMEOUT) => FetchError::Timeout,
        Some(TOO_LARGE) => FetchError::TooLarge,
        other => FetchError::Unreachable(other.unwrap_or("unknown").to_owned()),
    }
}

/// An upstream's answer, as `cloudflare.js` hands it over.
fn fetched(answer: JsValue) -> Result<Fetched<Reader>, FetchError> {
    let answer: js_sys::Array = answer.unchecked_into();
    let head = answer.get(0).as_string().unwrap_or_default();
    let (body, reader) = (bytes(answer.get(1)), answer.get(2));
    let garbled = || FetchError::Unreachable("the head of the answer could not be read".to_owned());
    let mut lines = head.splitn(3, '\n');
    let mut number = || lines.next().and_then(|text| text.parse::<i64>().ok()).ok_or_else(garbled);
    let (status, head_ms) = (number()?, number()?);
    let mut head = Response::new(());
    *head.status_mut() =
        u16::try_from(status).ok().and_then(|status| status.try_into().ok()).ok_or_else(garbled)?;
    *head.headers_mut() = headers(lines.next().unwrap_or_default());
    let body = if reader.is_undefined() {
        Body::Whole(body)
    } else {
        Body::Stream { first: body, rest: Reader(Some(reader)) }
    };
    Ok(Fetched { head, body, head_ms })
}

/// What `forwardUpstream` hands each chunk of a caller's to.
#[wasm_bindgen]
struct Way {
    passage: Rc<RefCell<dyn Passage>>,
}

#[expect(unreachable_pub, reason = "JavaScript reaches it")]
#[wasm_bindgen]
impl Way {
    /// What to send instead of the chunk; nothing where it goes as it is.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, JsValue> {
        self.passage.borrow_mut().chunk(bytes).map_err(|_| JsValue::from_str(REFUSED))
    }

    /// What is still to be sent.
    pub fn end(&mut self) -> Result<Vec<u8>, JsValue> {
        self.passage.borrow_mut().end().map_err(|_| JsValue::from_str(REFUSED))
    }
}

impl Receive for Cloudflare {
    async fn receive(&self) -> Result<Option<Bytes>, BodyError> {
        let reader = self.unread.borrow().clone().ok_or(BodyError::Broken)?;
        let idle_ms = self.config().stream_limits.idle_ms;
        let chunk =
            receive(&reader, idle_ms as f64).await.map_err(|error| match error.as_string().as_deref() {
                Some(SILENT) => BodyError::Silent,
                _ => BodyError::Broken,
            })?;
        Ok((!chunk.is_undefined()).then(|| bytes(chunk)))
    }
}

impl Host for Cloudflare {
    const ADDRESS_HEADER: &'static str = "cf-connecting-ip";
    /// On the free plan, and on the paid one.
    const DATABASE_LIMITS_MB: &'static [i64] = &[500, 10_000];

    fn config(&self) -> Rc<Config> {
        config(self).expect("every event begins by reading the settings")
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn region(&self) -> Option<String> {
        self.place.get().map(|(region, _)| region.clone()).filter(|region| !region.is_empty())
    }

    fn country(&self) -> Option<String> {
        self.place.get().map(|(_, country)| country.clone()).filter(|country| !country.is_empty())
    }

    fn log(&self, line: &str) {
        worker::console_log!("{line}");
    }
}

fn port_error(port: &'static str, error: &JsValue) -> PortError {
    let error = error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    PortError::new(port, error.as_deref().unwrap_or("unknown error"))
}

// The words `cloudflare.js` rejects with.
const BROKEN: &str = "broken";
const HUNG_UP: &str = "hung up";
const REFUSED: &str = "refused";
const SILENT: &str = "silent";
const TIMEOUT: &str = "timeout";
const TOO_LARGE: &str = "too large";

#[wasm_bindgen(module = "/src/host/cloudflare.js")]
extern "C" {
    #[wasm_bindgen(js_name = readRequest, catch)]
    async fn read_request(request: &JsValue, max_bytes: f64) -> Result<JsValue, JsValue>;
    fn respond(status: u16, headers: &str, body: &[u8]) -> web_sys::Response;
    #[wasm_bindgen(js_name = fetchUpstream, catch)]
    async fn fetch_upstream(
        method: &str,
        url: &str,
        headers: &str,
        body: &[u8],
        first_byte_ms: f64,
        max_bytes: f64,
        any_stream: bool,
        signal: &JsValue,
    ) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = forwardUpstream, catch)]
    async fn forward_upstream(
        method: &str,
        url: &str,
        headers: &str,
        held: &[u8],
        reader: JsValue,
        passage: Way,
        idle_ms: f64,
        first_byte_ms: f64,
        max_bytes: f64,
        any_stream: bool,
        signal: &JsValue,
    ) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch)]
    async fn receive(reader: &JsValue, idle_ms: f64) -> Result<JsValue, JsValue>;
    fn cancel(reader: &JsValue);
    fn scripted(chunks: js_sys::Array, gap_ms: f64) -> JsValue;
    #[wasm_bindgen(catch)]
    async fn sleep(ms: f64) -> Result<(), JsValue>;
    #[wasm_bindgen(js_name = randomBytes)]
    fn random_bytes(count: u32) -> js_sys::Uint8Array;
    #[wasm_bindgen(js_name = signRs256, catch)]
    async fn sign_rs256(pkcs8: &[u8], message: &[u8]) -> Result<JsValue, JsValue>;
    fn setting(env: &JsValue, name: &str) -> Option<String>;
    #[wasm_bindgen(js_name = versionId)]
    fn version_id(env: &JsValue) -> Option<String>;
    #[wasm_bindgen(js_name = databaseBatch, catch)]
    async fn database_batch(env: &JsValue, statements: js_sys::Array) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = databaseSize, catch)]
    async fn database_size(env: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = keyValueGet, catch)]
    async fn key_value_get(env: &JsValue, key: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = keyValuePut, catch)]
    async fn key_value_put(env: &JsValue, key: &str, value: &[u8], expires_ms: f64) -> Result<(), JsValue>;
    #[wasm_bindgen(js_name = keyValueDelete, catch)]
    async fn key_value_delete(env: &JsValue, key: &str) -> Result<(), JsValue>;
}
