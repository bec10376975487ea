//! What callers speak: the other side of [`crate::dialect`].
//!
//! A front reads a caller's request and writes the answer it expects. Between a front and a dialect of
//! the same protocol the caller's bytes are passed on; between any other two they meet in
//! [`crate::chat`].

use std::{borrow::Cow, ops::Range};

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{
    Error, ErrorClass, Target, UpstreamError,
    chat::{Event, Request},
    dialect::Encoded,
    provider::Api,
    relay::{Relay, Summary},
};

/// A caller's protocol.
pub trait Front: Sync {
    /// The protocol; a provider that speaks it gets the caller's own bytes.
    fn api(&self) -> Api;

    /// The OpenTelemetry `gen_ai.operation.name` of what its callers ask for.
    fn operation(&self) -> &'static str {
        "chat"
    }

    /// Reads what the gateway needs of a request. `path` is the request's path with its query.
    fn peek<'a>(&self, path: &'a str, body: &'a [u8]) -> Result<Peek<'a>, Error>;

    /// Reads the whole request.
    fn parse(&self, peek: &Peek<'_>, body: &[u8]) -> Result<Request, Error>;

    /// The request for a target that speaks the same protocol: the caller's body, with the model's name
    /// in the target's words. Of `headers` those go along that are the protocol's own.
    fn forward(
        &self,
        body: &[u8],
        peek: &Peek<'_>,
        headers: &HeaderMap,
        target: &Target<'_>,
    ) -> Result<Encoded, Error>;

    /// What a whole 2xx answer in this protocol says about itself, or why it is none.
    fn summary(&self, body: &[u8]) -> Result<Summary, UpstreamError>;

    /// Passes on a stream that comes in this protocol.
    fn forwarder(&self, peek: &Peek<'_>, request_id: &str) -> Box<dyn Relay>;

    /// A whole answer. The error is the one among the events, or that they have no end.
    fn whole(&self, head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError>;

    /// Writes one streamed answer.
    fn writer(&self, head: &Head<'_>, peek: &Peek<'_>) -> Box<dyn Writer>;

    /// The media type of a streamed answer.
    fn stream_type(&self, _peek: &Peek<'_>) -> &'static str {
        "text/event-stream; charset=utf-8"
    }

    /// The headers by which clients of this protocol know an answer, beside `x-request-id`: what it is called there,
    /// and, of an error, what kind it is.
    fn headers(&self, _status: StatusCode, _request_id: &HeaderValue, _headers: &mut HeaderMap) {}

    /// What a request is filed under is called so.
    fn labels(&self) -> &'static str {
        "metadata"
    }

    /// The body of an answer that is an error.
    fn error(&self, status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8>;
}

/// Writes one streamed answer, event by event.
pub trait Writer {
    /// Appends what these events mean to the caller. They are up to, and without, a failure.
    fn events(&mut self, events: &[Event], out: &mut Vec<u8>);

    /// Ends the stream with an error. What came before stands; nothing comes after.
    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>);

    /// Ends the stream well, unless it has failed.
    fn done(&mut self, out: &mut Vec<u8>);

    /// Whether the caller has the whole answer.
    fn is_finished(&self) -> bool;
}

/// What the gateway needs to know of a request, read without building it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Peek<'a> {
    /// The model the caller asks for.
    pub model: Cow<'a, str>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the caller wants a stream to end with its usage.
    pub include_usage: bool,
    /// The caller's name for its end user.
    pub user: Option<Cow<'a, str>>,
    /// How many answers are asked for at once.
    pub choices: u64,
    /// How a stream is to be cut into chunks.
    pub framing: Framing,
    /// Where the model's name stands in the body, quotes included; nowhere where it is in the path.
    pub model_at: Option<Range<usize>>,
    /// The edit that asks for usage at the end of a stream.
    pub usage_wish: Option<Splice>,
}

/// How a stream is cut into chunks, where a protocol leaves the caller a choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// As the protocol does, server-sent events in most.
    #[default]
    Events,
    /// One JSON list, its elements written as they come.
    List,
}

/// A piece of a body to be replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct Splice {
    /// Where.
    pub at: Range<usize>,
    /// By what.
    pub text: &'static str,
}

impl Peek<'_> {
    /// The caller's body with the target's model in place of the caller's and, if `ask_usage`, with the
    /// wish for usage at the end of a stream.
    pub fn rewrite(&self, body: &[u8], model: &str, ask_usage: bool) -> Vec<u8> {
        let name = serde_json::to_string(model).expect("a string is JSON");
        let mut edits = [(0..0, ""), (0..0, "")];
        if let Some(at) = &self.model_at {
            edits[0] = (at.clone(), name.as_str());
        }
        if let Some(wish) = self.usage_wish.as_ref().filter(|_| ask_usage && self.stream) {
            edits[1] = (wish.at.clone(), wish.text);
        }
        edits.sort_by_key(|(at, _)| at.start);
        let mut rewritten = Vec::with_capacity(body.len() + name.len() + 48);
        let mut copied = 0;
        for (at, text) in edits {
            rewritten.extend_from_slice(&body[copied..at.start]);
            rewritten.extend_from_slice(text.as_bytes());
            copied = at.end;
        }
        rewritten.extend_from_slice(&body[copied..]);
        rewritten
    }
}

/// What every answer begins with.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Our id of the answer.
    pub id: &'a str,
    /// Unix seconds.
    pub created: i64,
    /// The model, as the caller is to see it.
    pub model: &'a str,
}

/// What a caller is told of a failure, whatever it speaks.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorBody<'a> {
    /// A sentence for a person.
    pub message: Cow<'a, str>,
    /// The status that goes, or would have gone, with it.
    pub status: StatusCode,
    /// The request field to blame.
    pub param: Option<&'a str>,
    /// A stable name for a program.
    pub code: Option<&'a str>,
    /// The call's id, for whoever is asked about it.
    pub request_id: Option<&'a str>,
}

impl<'a> ErrorBody<'a> {
    /// A provider's failure: its own sentence, then what the caller can do.
    pub fn upstream(error: &'a UpstreamError, request_id: Option<&'a str>) -> Self {
        let message = match error.class {
            // Providers quote parts of the key they refuse, and it is not the caller's key.
            ErrorClass::Auth => Cow::Borrowed(error.class.advice()),
            _ => Cow::Owned(sentences(&error.message, error.class.advice())),
        };
        // Where the caller is to correct something, the provider's name for it says more than ours.
        let code = match error.class {
            ErrorClass::Invalid => error.code.as_deref().unwrap_or(error.class.code()),
            _ => error.class.code(),
        };
        Self {
            message,
            status: error.class.status(),
            param: error.param.as_deref(),
            code: Some(code),
            request_id,
        }
    }
}

fn sentences(first: &str, second: &str) -> String {
    let first = first.trim_end();
    let stop = if first.ends_with(['.', '!', '?', '…', '。']) { "" } else { "." };
    format!("{first}{stop} {second}")
}
