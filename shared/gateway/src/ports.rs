//! What the gateway needs of the world. A host keeps these promises and no others.
//!
//! Futures carry no `Send` bound: an isolate has one thread. `tests/hosts/script.mjs` is the contract; a
//! new host is done when it passes.

use std::{cell::RefCell, future::Future, rc::Rc};

use bytes::Bytes;
use http::{Request, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{call::BodyError, config::Config, memory::Memory};

/// A host could not do what was asked. The text is for the log, never for a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{port}: {message}")]
pub struct PortError {
    /// Which port failed.
    pub port: &'static str,
    /// What the host says.
    pub message: String,
}

impl PortError {
    /// A failure of the port with this name.
    pub fn new(port: &'static str, message: impl ToString) -> Self {
        Self { port, message: message.to_string() }
    }
}

/// Wall time.
pub trait Clock {
    /// Unix milliseconds. May stand still between two awaits (Workers does that), so a duration spans
    /// an await or is zero.
    fn now_ms(&self) -> i64;
    /// Comes back after about this long.
    fn sleep(&self, ms: i64) -> impl Future<Output = ()>;
}

/// Randomness fit for keys.
pub trait Random {
    /// Fills the slice.
    fn fill(&self, bytes: &mut [u8]);
}

/// The deployment's variables and secrets.
pub trait Settings {
    /// The value of a setting named in capitals (`OPENAI_API_KEY`). An empty value counts as absent.
    fn setting(&self, name: &str) -> Option<String>;
}

/// A statement with its parameters (`?1`, `?2`, …). Lists of values go in as one JSON text, for
/// `json_each`: a statement takes a hundred parameters at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// SQLite's SQL.
    pub sql: String,
    /// Null, numbers and texts; no blobs, no booleans.
    pub params: Vec<Value>,
}

impl Statement {
    /// A statement with its parameters.
    pub fn new(sql: impl Into<String>, params: impl Into<Vec<Value>>) -> Self {
        Self { sql: sql.into(), params: params.into() }
    }
}

/// Rows, as JSON objects by column name.
pub type Rows = Vec<Value>;

/// SQLite's SQL, wherever the database is.
pub trait Database {
    /// Runs the statements in order; all of them take effect, or none.
    fn batch(&self, statements: Vec<Statement>) -> impl Future<Output = Result<Vec<Rows>, PortError>>;
    /// How many statements were run so far through this, those that failed included: some hosts bound what an
    /// invocation may run.
    fn statements(&self) -> usize;

    /// How many bytes the database has, free ones within it included. It costs one statement.
    fn size_bytes(&self) -> impl Future<Output = Result<i64, PortError>> {
        async {
            let sql = "SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()";
            let rows = self.batch(vec![Statement::new(sql, [])]).await?;
            let bytes = rows.first().and_then(|rows| rows.first()).and_then(|row| row["bytes"].as_i64());
            bytes.ok_or_else(|| PortError::new("database", "no size"))
        }
    }
}

/// Runs one statement and reads its rows as `T`.
pub async fn rows<T: DeserializeOwned>(
    db: &impl Database,
    statement: Statement,
) -> Result<Vec<T>, PortError> {
    let results = db.batch(vec![statement]).await?;
    results.into_iter().next().unwrap_or_default().into_iter().map(read).collect()
}

/// Runs one statement and reads its first row, if there is one.
pub async fn row<T: DeserializeOwned>(
    db: &impl Database,
    statement: Statement,
) -> Result<Option<T>, PortError> {
    Ok(rows(db, statement).await?.into_iter().next())
}

/// Reads every row as `T`.
pub fn read_all<T: DeserializeOwned>(rows: Rows) -> Result<Vec<T>, PortError> {
    rows.into_iter().map(read).collect()
}

/// Reads a row as `T`.
pub fn read<T: DeserializeOwned>(row: Value) -> Result<T, PortError> {
    serde_json::from_value(row)
        .map_err(|error| PortError::new("database", format!("unexpected row: {error}")))
}

/// An eventually consistent cache. Losing an entry is never an error, and a change may take a minute to
/// be seen everywhere.
pub trait KeyValue {
    /// The value, if it is there and not too old.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, PortError>>;
    /// Stores a value until `expires_ms`, which is at least a minute away.
    fn put(&self, key: &str, value: Bytes, expires_ms: i64) -> impl Future<Output = Result<(), PortError>>;
    /// Forgets a value.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), PortError>>;
}

/// Signatures with keys of others, whose mathematics a host has or brings along.
pub trait Signer {
    /// RSA with SHA-256 and the padding of PKCS #1 v1.5. The key is in PKCS #8's binary form.
    fn sign_rs256(&self, pkcs8: &[u8], message: &[u8]) -> impl Future<Output = Result<Vec<u8>, PortError>>;
}

/// How long an upstream may take, how much it may say, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until the head of the answer and the first chunk of a stream are there.
    pub first_byte_ms: i64,
    /// Between two chunks.
    pub idle_ms: i64,
    /// Of a whole answer.
    pub max_bytes: usize,
    /// Whether a 2xx of any media type is handed over as it comes, and not only a stream of events.
    pub any_stream: bool,
}

/// An upstream's answer.
#[derive(Debug)]
pub struct Fetched<S> {
    /// Its head.
    pub head: Response<()>,
    /// Its body.
    pub body: Body<S>,
    /// When the head arrived, unix milliseconds.
    pub head_ms: i64,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body<S> {
    /// A 2xx that comes bit by bit: a stream of events, or whatever [`Limits::any_stream`] allowed. Its first
    /// chunk has come, the host can pump the rest.
    Stream {
        /// The first bytes.
        first: Bytes,
        /// What only the host can read.
        rest: S,
    },
    /// Anything else.
    Whole(Bytes),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// The caller hung up meanwhile, so the request was given up.
    HungUp,
    /// No silence as long as this was allowed.
    Timeout,
    /// The answer is larger than allowed.
    TooLarge,
    /// No connection, or one that broke. The text is for the log.
    Unreachable(String),
}

/// Why there is no answer to a request that was forwarded while it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardError {
    /// The caller did not send the rest of its body.
    Body(BodyError),
    /// The upstream gave none.
    Fetch(FetchError),
    /// The [`Passage`] did not let the rest of the caller's body through.
    Refused,
}

impl From<FetchError> for ForwardError {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

/// What a caller sends goes through this on its way to the provider. Pure; the host does the reading and sending.
pub trait Passage {
    /// Lets a piece through. `None` means the very bytes that came in; otherwise what to send instead, which may
    /// be nothing.
    fn chunk(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Refused>;
    /// The caller has sent all: what is still to be sent on.
    fn end(&mut self) -> Result<Vec<u8>, Refused>;
}

/// The request is to be given up. The passage knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// The body of the request being served, where the host has not read it ([`BodyError::Unread`]).
pub trait Receive {
    /// The next piece; nothing at the end. A caller that is silent for longer than the limit of a stream is
    /// not waited for.
    fn receive(&self) -> impl Future<Output = Result<Option<Bytes>, BodyError>>;
}

/// One request, one answer. Redirects are not followed.
pub trait Fetch {
    /// Whether sockets can be opened here.
    const HAS_SOCKETS: bool;
    /// The unread rest of a streamed answer, or an open socket. Dropping it cancels the upstream.
    type Stream;
    /// Sends the request.
    fn fetch(
        &self,
        request: Request<Bytes>,
        limits: Limits,
    ) -> impl Future<Output = Result<Fetched<Self::Stream>, FetchError>>;
    /// Sends the request, and behind its body what the caller has yet to send, as it comes. Its `content-length`
    /// is that of all of it; without one the length is not known. An answer that is an error may come earlier
    /// and ends the sending. The time to the first byte begins when all is sent.
    fn forward(
        &self,
        request: Request<Bytes>,
        passage: Rc<RefCell<dyn Passage>>,
        limits: Limits,
    ) -> impl Future<Output = Result<Fetched<Self::Stream>, ForwardError>>;
    /// Opens a socket. The answer is a 101 with an empty stream, which the host can relay, or whole if it is
    /// another; where there are no sockets nobody asks.
    fn connect(
        &self,
        request: Request<Bytes>,
        limits: Limits,
    ) -> impl Future<Output = Result<Fetched<Self::Stream>, FetchError>>;
    /// A stream made here, a chunk every `gap_ms`: for the built-in models.
    fn script(&self, chunks: Vec<Vec<u8>>, gap_ms: i64) -> Self::Stream;
}

/// All of it, for one request.
pub trait Host: Clock + Random + Settings + Database + KeyValue + Fetch + Receive + Signer {
    /// The header in which the host, last in it, says the address a request comes from.
    const ADDRESS_HEADER: &'static str;
    /// How large, in MB, the database can become on one plan or another, the smallest first; nothing where only the
    /// disk is a limit.
    const DATABASE_LIMITS_MB: &'static [i64];
    /// The settings, read once.
    fn config(&self) -> Rc<Config>;
    /// What this isolate remembers. On a host that keeps nothing between requests it is always empty.
    fn memory(&self) -> &Memory;
    /// Where this runs: a data centre's code, where the host knows it.
    fn region(&self) -> Option<String>;
    /// The country a request comes from, in two letters, where the host knows it.
    fn country(&self) -> Option<String>;
    /// A line for the operator.
    fn log(&self, line: &str);
}
