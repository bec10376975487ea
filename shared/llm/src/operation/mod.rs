//! What a caller can ask for: one [`Operation`] each, whatever is spoken at either end.
//!
//! The gateway does with every operation the same: it peeks, plans, sends, waits, answers and records. What the
//! bytes mean on the way is the operation's to say.

mod bytes;
mod chat;
mod count_tokens;
mod embeddings;
mod events;
pub mod forms;
mod gemini;
mod images;
pub(crate) mod json;
mod moderations;
mod names;
pub mod realtime;
mod rerank;
mod speech;

use ::bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};

pub use chat::Chat;
pub use count_tokens::CountTokens;
pub use embeddings::{Embeddings, EmbeddingsApi};
pub use images::{Images, ImagesApi};
pub use moderations::{Moderations, ModerationsApi};
pub use rerank::{Rerank, RerankApi};
pub use speech::{Speech, SpeechApi};

use crate::{
    Error, Provider, Target, UpstreamError, demo,
    dialect::{Encoded, bend::Bent, chat_completions},
    front::{ErrorBody, Head, Peek},
    provider::{self, Api, Betas},
    relay::{Relay, Summary},
};

/// One kind of call, by callers of one protocol.
pub trait Operation: Sync {
    /// The OpenTelemetry `gen_ai.operation.name`.
    fn name(&self) -> &'static str;

    /// Whether the provider can do it. One that cannot is left out of the plan.
    fn is_offered(&self, provider: &Provider) -> bool;

    /// Where the body is a form: its fields that must be known before it goes on, the model's first.
    fn form(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// What callers chat in, where it is chat: a provider may speak that too.
    fn callers_api(&self) -> Option<Api> {
        None
    }

    /// Whether it is a conversation over a socket.
    fn is_socket(&self) -> bool {
        false
    }

    /// Reads what the gateway needs of a request. `path` is the request's path with its query. Of a form the
    /// body may be the beginning only.
    fn peek<'a>(&self, path: &'a str, headers: &'a HeaderMap, body: &'a [u8]) -> Result<Peek<'a>, Error>;

    /// The request as the target wants it: the caller's own bytes where it speaks the caller's protocol, a
    /// translation where not. Of the caller's headers those go along that are the protocol's own.
    fn request(&self, ask: &Ask<'_>, target: &Target<'_>) -> Result<Outgoing, Error>;

    /// Whether [`Operation::request`] sees to the betas that the caller asks for.
    fn sorts_betas(&self) -> bool {
        false
    }

    /// A non-2xx answer, as our error. Most providers fail in one way at all they do.
    fn failure(&self, ask: &Ask<'_>, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
        ask.api.dialect().error(status, headers, body)
    }

    /// A whole 2xx answer as the caller wants it, or why it is none. `more` are the answers to
    /// [`Outgoing::more`], in order.
    fn answer(
        &self,
        ask: &Ask<'_>,
        provider: &Provider,
        first: Whole,
        more: Vec<Whole>,
    ) -> Result<Answered, UpstreamError>;

    /// What a streamed 2xx answer with these headers goes through. Asked for only if [`Operation::request`]
    /// said that the answer comes as a stream.
    fn relay(&self, _ask: &Ask<'_>, _provider: &Provider, headers: &HeaderMap) -> Streamed {
        bytes::relay(headers, Summary::default())
    }

    /// The body of an answer that is an error: OpenAI's, unless the caller speaks something else.
    fn error(&self, _status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        chat_completions::error::body(error)
    }

    /// The headers by which the protocol's clients know an answer, beside `x-request-id`.
    fn headers(&self, _status: StatusCode, _request_id: &HeaderValue, _headers: &mut HeaderMap) {}

    /// The answer of a built-in model.
    fn demo(&self, _ask: &Ask<'_>, _model: &str) -> Result<demo::Reply, Error> {
        Err(Error::unsupported("model", "The demo models only chat."))
    }
}

/// A request, as far as it was read.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Our id of the call.
    pub id: &'a str,
    /// When it began, unix seconds.
    pub created: i64,
    /// The caller's headers.
    pub headers: &'a HeaderMap,
    /// The caller's body.
    pub body: &'a Bytes,
    /// What was read of it.
    pub peek: &'a Peek<'a>,
    /// What the target chats in with this caller: request and answer go by the same.
    pub api: Api,
    /// What was bent in the request, to be undone in the answer; known once it was sent.
    pub bent: Option<&'a Bent>,
}

impl Ask<'_> {
    /// What an answer begins with.
    pub fn head(&self) -> Head<'_> {
        Head { id: self.id, created: self.created, model: &self.peek.model }
    }
}

/// What goes to a provider.
#[derive(Debug)]
pub struct Outgoing {
    /// Ready to send.
    pub request: Request<Bytes>,
    /// What one request could not say. Sent only if the first is answered whole and well; every one must be.
    pub more: Vec<Request<Bytes>>,
    /// How the answer is to come.
    pub delivery: Delivery,
    /// Fields of the caller's body left out because the answer means the same without them.
    pub dropped: Vec<String>,
    /// What of the answer must be undone.
    pub bent: Bent,
}

impl Outgoing {
    /// One request that says all.
    pub fn new(request: Request<Bytes>, delivery: Delivery) -> Self {
        Self { request, more: Vec::new(), delivery, dropped: Vec::new(), bent: Bent::default() }
    }

    /// Asks for those of the caller's betas that the provider takes, and names the others. Beside chat it is OpenAI's
    /// protocol that may have some.
    pub fn sort_betas(&mut self, headers: &HeaderMap, provider: &Provider) {
        let betas = match provider.betas {
            own @ Betas::All("openai-beta") => own,
            _ => Betas::None,
        };
        let (taken, dropped) = betas.sort(headers);
        self.dropped.extend(dropped);
        for request in std::iter::once(&mut self.request).chain(&mut self.more) {
            provider::ask_for(taken.as_ref(), request.headers_mut());
        }
    }

    /// A translated request.
    pub fn translated(encoded: Encoded, delivery: Delivery) -> Self {
        let Encoded { request, dropped, bent } = encoded;
        Self { dropped, bent, ..Self::new(request, delivery) }
    }
}

/// How a provider's 2xx is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As a stream of events or read to its end: the answer says which.
    AsAnswered,
    /// Bit by bit, whatever its media type: sound, files.
    AsItComes,
    /// As a stream of events.
    Events,
    /// As a socket that is open both ways.
    Socket,
    /// Read to its end.
    Whole,
}

impl Delivery {
    /// For a protocol that streams events only if asked to.
    pub fn of(stream: bool) -> Self {
        if stream { Self::Events } else { Self::Whole }
    }

    /// Whether it is passed on before it is whole.
    pub fn is_streamed(self) -> bool {
        !matches!(self, Self::AsAnswered | Self::Whole)
    }
}

/// A whole 2xx answer of a provider.
#[derive(Debug, Default)]
pub struct Whole {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A whole answer, for the caller.
#[derive(Debug)]
pub struct Answered {
    /// The body.
    pub body: Bytes,
    /// Its media type.
    pub content_type: HeaderValue,
    /// What it says about itself.
    pub summary: Summary,
    /// What of the provider's answer the caller's protocol has no place for.
    pub dropped: Vec<String>,
}

impl Answered {
    /// An answer in JSON.
    pub fn json(body: impl Into<Bytes>, summary: Summary) -> Self {
        let content_type = HeaderValue::from_static("application/json");
        Self { body: body.into(), content_type, summary, dropped: Vec::new() }
    }
}

/// A streamed answer, for the caller.
pub struct Streamed {
    /// Its media type.
    pub content_type: HeaderValue,
    /// What the provider's chunks go through.
    pub relay: Box<dyn Relay>,
}
