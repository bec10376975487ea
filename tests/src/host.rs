//! The whole `Host`, made of memory.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use bytes::Bytes;
use gateway::{
    Host,
    call::{BodyError, Reply},
    config::Config,
    memory::Memory,
    ports::{
        Body, Clock, Database, Fetch, FetchError, Fetched, ForwardError, KeyValue, Limits, Passage,
        PortError, Random, Receive, Rows, Settings, Signer, Statement,
    },
    record::Record,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use llm::{UpstreamError, relay::Ending};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};

use crate::{Life, MemoryDatabase};

/// A host made of memory.
pub struct MemoryHost {
    /// The database.
    pub db: MemoryDatabase,
    /// The key-value cache.
    pub kv: MemoryKeyValue,
    /// What every request goes to.
    pub upstream: Upstream,
    clock: Rc<Cell<i64>>,
    unread: RefCell<VecDeque<Result<Bytes, BodyError>>>,
    waits: RefCell<Vec<i64>>,
    random: Cell<u64>,
    settings: HashMap<String, String>,
    config: Rc<Config>,
    memory: Memory,
    logs: RefCell<Vec<String>>,
    country: RefCell<Option<String>>,
}

/// Settings a deployment has, for tests that need no others.
pub const SETTINGS: &[(&str, &str)] = &[
    ("HYPERGATE_SECRET", "a secret of this deployment, long enough"),
    ("ADMIN_TOKEN", "admin-token"),
    ("ALERTS_TOKEN", "alerts-token"),
    ("TICK_TOKEN", "tick-token"),
    ("RELEASE", "test"),
];

/// When the clock of a new host stands: 2026-01-01T00:00:00Z.
pub const NEW_YEAR_MS: i64 = 1_767_225_600_000;

impl Default for MemoryHost {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryHost {
    /// A host with [`SETTINGS`].
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// A host with [`SETTINGS`] and these; an empty value takes one away.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        Self::on(MemoryDatabase::new(), settings)
    }

    /// A host on this database, with [`SETTINGS`] and these.
    pub fn on(db: MemoryDatabase, settings: &[(&str, &str)]) -> Self {
        let mut all: HashMap<String, String> = HashMap::new();
        for (name, value) in SETTINGS.iter().chain(settings) {
            all.insert((*name).to_owned(), (*value).to_owned());
        }
        all.retain(|_, value| !value.is_empty());
        let config = Config::read(|name| all.get(name).cloned()).unwrap();
        let clock = Rc::new(Cell::new(NEW_YEAR_MS));
        let life = db.life.clone();
        Self {
            db,
            kv: MemoryKeyValue {
                clock: clock.clone(),
                entries: RefCell::default(),
                failing: Cell::new(false),
            },
            upstream: Upstream {
                life,
                clock: clock.clone(),
                script: RefCell::default(),
                sent: RefCell::default(),
                listener: RefCell::default(),
            },
            clock,
            unread: RefCell::default(),
            waits: RefCell::default(),
            random: Cell::new(0x5EED),
            settings: all,
            config: Rc::new(config),
            memory: Memory::default(),
            logs: RefCell::default(),
            country: RefCell::default(),
        }
    }

    /// Another gateway in the same world, on the same database. What only the one before it knew is forgotten.
    pub fn reborn(self, db: MemoryDatabase) -> Self {
        let mut upstream = self.upstream;
        upstream.life = db.life.clone();
        Self { db, upstream, memory: Memory::default(), ..self }
    }

    /// Sets the clock.
    pub fn set_now(&self, now_ms: i64) {
        self.clock.set(now_ms);
    }

    /// Requests come from this country from now on.
    pub fn set_country(&self, country: Option<&str>) {
        *self.country.borrow_mut() = country.map(str::to_owned);
    }

    /// Lets time go by.
    pub fn advance(&self, ms: i64) {
        self.clock.set(self.clock.get() + ms);
    }

    /// How long the gateway slept, each time.
    pub fn waits(&self) -> Vec<i64> {
        self.waits.borrow().clone()
    }

    /// What the caller of the next request has yet to send, piece by piece.
    pub fn will_receive(&self, pieces: impl IntoIterator<Item = Result<Bytes, BodyError>>) {
        *self.unread.borrow_mut() = pieces.into_iter().collect();
    }

    /// How much of it nobody has asked for.
    pub fn unread(&self) -> usize {
        self.unread.borrow().iter().flatten().map(Bytes::len).sum()
    }

    /// What was logged.
    pub fn logs(&self) -> Vec<String> {
        self.logs.borrow().clone()
    }

    /// Reads a reply to its end, as a host would: a stream is pumped until it ends as its script says.
    pub async fn finish(&self, reply: Reply<Stream>) -> Answered {
        let streaming = match reply {
            Reply::Whole { response, record } => {
                let (head, body) = response.into_parts();
                let chunks = vec![body];
                return Answered {
                    status: head.status,
                    headers: head.headers,
                    chunks,
                    broken_off: false,
                    record: record.map(|record| *record),
                };
            }
            Reply::Stream(streaming) => *streaming,
        };
        let (head, ()) = streaming.head.into_parts();
        let mut live = streaming.live;
        let mut chunks = vec![streaming.opening];
        for part in streaming.rest.parts {
            self.advance(part.after_ms);
            let instead = live.chunk(self.now_ms(), &part.bytes);
            chunks.push(instead.map_or(part.bytes, Bytes::from));
        }
        let (tail, record) = match streaming.rest.end {
            End::CallerLeaves => (Some(Vec::new()), live.hang_up(self.now_ms())),
            End::Closed => live.end(self.now_ms(), Ending::Closed),
            End::Failed(error) => live.end(self.now_ms(), Ending::Failed(error)),
        };
        let broken_off = tail.is_none();
        chunks.extend(tail.map(Bytes::from));
        chunks.retain(|chunk| !chunk.is_empty());
        Answered { status: head.status, headers: head.headers, chunks, broken_off, record: Some(record) }
    }
}

/// A reply, read to its end.
#[derive(Debug)]
pub struct Answered {
    /// The status the caller saw.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// What was sent, in the pieces it was sent in.
    pub chunks: Vec<Bytes>,
    /// Whether the connection was broken off, to say that the answer is not whole.
    pub broken_off: bool,
    /// What there is to journal.
    pub record: Option<Record>,
}

impl Answered {
    /// The body in one piece.
    pub fn body(&self) -> Bytes {
        self.chunks.concat().into()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body().to_vec()).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body()).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

impl Clock for MemoryHost {
    fn now_ms(&self) -> i64 {
        self.clock.get()
    }

    async fn sleep(&self, ms: i64) {
        self.waits.borrow_mut().push(ms);
        self.advance(ms);
    }
}

impl Random for MemoryHost {
    /// Always the same bytes in the same order: SplitMix64.
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let state = self.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
            self.random.set(state);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            *byte = (mixed >> 32) as u8;
        }
    }
}

impl Settings for MemoryHost {
    fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name).cloned()
    }
}

impl Database for MemoryHost {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, PortError> {
        self.db.batch(statements).await
    }

    fn statements(&self) -> usize {
        self.db.statements()
    }
}

impl KeyValue for MemoryHost {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        self.kv.get(key).await
    }

    async fn put(&self, key: &str, value: Bytes, expires_ms: i64) -> Result<(), PortError> {
        self.kv.put(key, value, expires_ms).await
    }

    async fn delete(&self, key: &str) -> Result<(), PortError> {
        self.kv.delete(key).await
    }
}

impl Signer for MemoryHost {
    async fn sign_rs256(&self, pkcs8: &[u8], message: &[u8]) -> Result<Vec<u8>, PortError> {
        let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|error| PortError::new("signer", error))?;
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|error| PortError::new("signer", error))?;
        Ok(signature)
    }
}

impl Fetch for MemoryHost {
    const HAS_SOCKETS: bool = true;
    type Stream = Stream;

    async fn fetch(&self, request: Request<Bytes>, limits: Limits) -> Result<Fetched<Stream>, FetchError> {
        self.upstream.life.goes_on();
        self.upstream.life.lived().await;
        let answer = self.upstream.answer(request, limits);
        self.upstream.life.goes_on();
        self.upstream.life.lived().await;
        answer
    }

    async fn forward(
        &self,
        request: Request<Bytes>,
        passage: Rc<RefCell<dyn Passage>>,
        limits: Limits,
    ) -> Result<Fetched<Stream>, ForwardError> {
        let (parts, held) = request.into_parts();
        let answer_at = self.upstream.early(&parts.method, &parts.uri);
        let mut body = held.to_vec();
        loop {
            if answer_at.is_some_and(|bytes| body.len() >= bytes) {
                break;
            }
            let Some(chunk) = self.receive().await.map_err(ForwardError::Body)? else {
                let tail = passage.borrow_mut().end().map_err(|_| ForwardError::Refused)?;
                body.extend(tail);
                break;
            };
            let instead = passage.borrow_mut().chunk(&chunk).map_err(|_| ForwardError::Refused)?;
            body.extend(instead.unwrap_or(chunk.to_vec()));
        }
        Ok(self.upstream.answer(Request::from_parts(parts, body.into()), limits)?)
    }

    async fn connect(&self, request: Request<Bytes>, limits: Limits) -> Result<Fetched<Stream>, FetchError> {
        self.upstream.answer(request, limits)
    }

    fn script(&self, chunks: Vec<Vec<u8>>, gap_ms: i64) -> Stream {
        let part = |chunk: Vec<u8>| Part { after_ms: gap_ms, bytes: chunk.into() };
        Stream { parts: chunks.into_iter().map(part).collect(), end: End::Closed }
    }
}

impl Receive for MemoryHost {
    async fn receive(&self) -> Result<Option<Bytes>, BodyError> {
        self.unread.borrow_mut().pop_front().transpose()
    }
}

impl Host for MemoryHost {
    const ADDRESS_HEADER: &'static str = "x-test-address";
    const DATABASE_LIMITS_MB: &'static [i64] = &[500, 10_000];

    fn config(&self) -> Rc<Config> {
        self.config.clone()
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn region(&self) -> Option<String> {
        Some("TST".to_owned())
    }

    fn country(&self) -> Option<String> {
        self.country.borrow().clone()
    }

    fn log(&self, line: &str) {
        self.logs.borrow_mut().push(line.to_owned());
    }
}

/// The key-value cache: a map that honours expiry.
pub struct MemoryKeyValue {
    clock: Rc<Cell<i64>>,
    entries: RefCell<HashMap<String, (Bytes, i64)>>,
    failing: Cell<bool>,
}

impl MemoryKeyValue {
    /// From now on nothing works, or everything does again.
    pub fn fail(&self, failing: bool) {
        self.failing.set(failing);
    }

    /// All that was ever stored, as far as it is text.
    pub fn dump(&self) -> String {
        let entries = self.entries.borrow();
        entries
            .iter()
            .map(|(key, (value, _))| format!("{key} {}\n", String::from_utf8_lossy(value)))
            .collect()
    }

    /// How many entries there are, old ones included.
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Whether nothing was ever stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn works(&self) -> Result<(), PortError> {
        if self.failing.get() { Err(PortError::new("key-value", "a planned failure")) } else { Ok(()) }
    }
}

impl KeyValue for MemoryKeyValue {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, PortError> {
        self.works()?;
        let entries = self.entries.borrow();
        Ok(entries
            .get(key)
            .filter(|(_, expires_ms)| self.clock.get() < *expires_ms)
            .map(|(value, _)| value.clone()))
    }

    async fn put(&self, key: &str, value: Bytes, expires_ms: i64) -> Result<(), PortError> {
        self.works()?;
        let least_ms = self.clock.get() + 60_000;
        assert!(expires_ms >= least_ms, "KV keeps an entry for a minute at least: {key}");
        self.entries.borrow_mut().insert(key.to_owned(), (value, expires_ms));
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), PortError> {
        self.works()?;
        self.entries.borrow_mut().remove(key);
        Ok(())
    }
}

/// What requests go to: a script of expected requests and their answers.
pub struct Upstream {
    life: Rc<Life>,
    listener: RefCell<Option<Listener>>,
    clock: Rc<Cell<i64>>,
    script: RefCell<VecDeque<Scripted>>,
    sent: RefCell<Vec<Sent>>,
}

type Listener = Box<dyn Fn(&Sent) -> Answer>;

struct Scripted {
    method: String,
    url: String,
    answer: Answer,
    /// Stays for the next request as well.
    always: bool,
}

/// A request that went out.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its method.
    pub method: String,
    /// Its URL.
    pub url: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// When, unix milliseconds.
    pub at_ms: i64,
    /// What was answered; none if nothing was.
    pub status: Option<u16>,
}

impl Sent {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A header as text; empty if it was not sent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Upstream {
    /// The next request with this method and URL gets this answer. Requests with different URLs may come
    /// in any order, those with the same in the order of the script.
    pub fn expect(&self, method: &str, url: &str, answer: Answer) {
        self.add(method, url, answer, false);
    }

    /// Every request with this method and URL gets this answer, once nothing else is scripted for it.
    pub fn always(&self, method: &str, url: &str, answer: Answer) {
        self.add(method, url, answer, true);
    }

    /// Every request gets this answer, wherever it goes, once nothing else is scripted for it.
    pub fn anything(&self, answer: Answer) {
        self.add("", "", answer, true);
    }

    /// What nobody scripted is answered by this.
    pub fn listen(&self, listener: impl Fn(&Sent) -> Answer + 'static) {
        self.listener.replace(Some(Box::new(listener)));
    }

    /// Forgets what was scripted for this URL.
    pub fn forget(&self, url: &str) {
        self.script.borrow_mut().retain(|scripted| scripted.url != url);
    }

    /// The requests that went out, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.borrow().clone()
    }

    /// The requests that went out to this URL, in order.
    pub fn sent_to(&self, url: &str) -> Vec<Sent> {
        self.sent.borrow().iter().filter(|sent| sent.url == url).cloned().collect()
    }

    /// Fails the test if something was expected and did not come.
    pub fn assert_done(&self) {
        let script = self.script.borrow();
        let waiting: Vec<_> =
            script.iter().filter(|scripted| !scripted.always).map(|scripted| &scripted.url).collect();
        assert!(waiting.is_empty(), "never asked: {waiting:?}");
    }

    fn add(&self, method: &str, url: &str, answer: Answer, always: bool) {
        let scripted = Scripted { method: method.to_owned(), url: url.to_owned(), answer, always };
        self.script.borrow_mut().push_back(scripted);
    }

    /// After how many bytes of a body that is still coming the next such request is answered.
    fn early(&self, method: &http::Method, uri: &http::Uri) -> Option<usize> {
        let (script, url) = (self.script.borrow(), uri.to_string());
        script.iter().find(|scripted| scripted.method == method.as_str() && scripted.url == url)?.answer.early
    }

    fn answer(&self, request: Request<Bytes>, limits: Limits) -> Result<Fetched<Stream>, FetchError> {
        let sent = Sent {
            method: request.method().to_string(),
            url: request.uri().to_string(),
            headers: request.headers().clone(),
            body: request.body().clone(),
            at_ms: self.clock.get(),
            status: None,
        };
        let answer = self.take(&sent);
        let number = self.sent.borrow().len();
        self.sent.borrow_mut().push(sent);
        if let Some(meanwhile) = answer.meanwhile {
            meanwhile();
        }
        self.clock.set(self.clock.get() + answer.after_ms.min(limits.first_byte_ms));
        if answer.after_ms >= limits.first_byte_ms {
            return Err(FetchError::Timeout);
        }
        let (head, body) = answer.response?;
        self.sent.borrow_mut()[number].status = Some(head.status().as_u16());
        let body = match body {
            ScriptedBody::Whole(bytes) if bytes.len() > limits.max_bytes => return Err(FetchError::TooLarge),
            ScriptedBody::Whole(first) if limits.any_stream && head.status().is_success() => {
                Body::Stream { first, rest: Stream { parts: VecDeque::new(), end: End::Closed } }
            }
            ScriptedBody::Whole(bytes) => Body::Whole(bytes),
            ScriptedBody::Stream(mut stream) => {
                let Some(first) = stream.parts.pop_front() else { panic!("a stream has a first chunk") };
                Body::Stream { first: first.bytes, rest: stream }
            }
        };
        Ok(Fetched { head, body, head_ms: self.clock.get() })
    }

    fn take(&self, sent: &Sent) -> Answer {
        let mut script = self.script.borrow_mut();
        let asked = |scripted: &Scripted| scripted.method == sent.method && scripted.url == sent.url;
        if let Some(at) = script.iter().position(|scripted| asked(scripted) && !scripted.always) {
            return script.remove(at).unwrap().answer;
        }
        let anything = |scripted: &&Scripted| scripted.url.is_empty();
        let found = script.iter().find(|scripted| asked(scripted)).or_else(|| script.iter().find(anything));
        let Some(scripted) = found else {
            if let Some(listener) = &*self.listener.borrow() {
                return listener(sent);
            }
            panic!("nobody scripted {} {}", sent.method, sent.url);
        };
        scripted.answer.again()
    }
}

/// An upstream's answer, as scripted.
pub struct Answer {
    after_ms: i64,
    early: Option<usize>,
    response: Result<(Response<()>, ScriptedBody), FetchError>,
    meanwhile: Option<Box<dyn FnOnce()>>,
}

#[derive(Clone)]
enum ScriptedBody {
    Stream(Stream),
    Whole(Bytes),
}

/// What a scripted upstream has yet to say, and how it ends.
#[derive(Debug, Clone)]
pub struct Stream {
    parts: VecDeque<Part>,
    end: End,
}

#[derive(Debug, Clone)]
struct Part {
    after_ms: i64,
    bytes: Bytes,
}

#[derive(Debug, Clone)]
enum End {
    CallerLeaves,
    Closed,
    Failed(UpstreamError),
}

impl Answer {
    /// A whole answer.
    pub fn whole(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self::new(status, content_type, ScriptedBody::Whole(body.into()))
    }

    /// A whole answer in JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::whole(status, "application/json", body.to_string())
    }

    /// A whole answer in plain text.
    pub fn text(status: u16, body: &str) -> Self {
        Self::whole(status, "text/plain", body.to_owned())
    }

    /// A streamed answer that is closed properly.
    pub fn stream<B: Into<Bytes>>(chunks: impl IntoIterator<Item = B>) -> Self {
        let parts = chunks.into_iter().map(|bytes| Part { after_ms: 0, bytes: bytes.into() }).collect();
        Self::new(200, "text/event-stream", ScriptedBody::Stream(Stream { parts, end: End::Closed }))
    }

    /// No answer.
    pub fn error(error: FetchError) -> Self {
        Self { after_ms: 0, early: None, response: Err(error), meanwhile: None }
    }

    /// The connection cannot be made. What the host says of it must not get anywhere.
    pub fn unreachable() -> Self {
        Self::error(FetchError::Unreachable("dns error of the secret host".to_owned()))
    }

    /// With this status.
    pub fn status(mut self, status: u16) -> Self {
        if let Ok((head, _)) = &mut self.response {
            *head.status_mut() = StatusCode::from_u16(status).unwrap();
        }
        self
    }

    /// With this header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok((head, _)) = &mut self.response {
            head.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        self
    }

    /// Its head comes after this long.
    pub fn after(mut self, ms: i64) -> Self {
        self.after_ms = ms;
        self
    }

    /// It comes when so many bytes of the body have.
    pub fn early(mut self, bytes: usize) -> Self {
        self.early = Some(bytes);
        self
    }

    /// Every chunk but the first comes this long after the one before.
    pub fn gaps(mut self, ms: i64) -> Self {
        self.each_stream(|stream| stream.parts.iter_mut().for_each(|part| part.after_ms = ms));
        self
    }

    /// The stream does not end but break.
    pub fn breaks(mut self, error: UpstreamError) -> Self {
        self.each_stream(|stream| stream.end = End::Failed(error.clone()));
        self
    }

    /// The caller leaves after the last chunk.
    pub fn left_by_caller(mut self) -> Self {
        self.each_stream(|stream| stream.end = End::CallerLeaves);
        self
    }

    /// Something else happens between the request and the answer.
    pub fn meanwhile(mut self, meanwhile: impl FnOnce() + 'static) -> Self {
        self.meanwhile = Some(Box::new(meanwhile));
        self
    }

    fn new(status: u16, content_type: &str, body: ScriptedBody) -> Self {
        let head =
            Response::builder().status(status).header(header::CONTENT_TYPE, content_type).body(()).unwrap();
        Self { after_ms: 0, early: None, response: Ok((head, body)), meanwhile: None }
    }

    fn each_stream(&mut self, change: impl FnOnce(&mut Stream)) {
        if let Ok((_, ScriptedBody::Stream(stream))) = &mut self.response {
            change(stream);
        }
    }

    fn again(&self) -> Self {
        let response = self.response.as_ref().map(|(head, body)| {
            let mut copy = Response::new(());
            *copy.status_mut() = head.status();
            *copy.headers_mut() = head.headers().clone();
            (copy, body.clone())
        });
        Self {
            after_ms: self.after_ms,
            early: self.early,
            response: response.map_err(Clone::clone),
            meanwhile: None,
        }
    }
}
