//! OpenAI Chat Completions: what most callers speak, and most providers too.
//!
//! Where both do, [`forward`] passes the caller's bytes on. Else, on the callers' side, [`request`] reads
//! the caller's body and [`answer`] writes the answer; on the providers' side, `encode` writes the body and
//! `decode` reads the answer. [`error`] is the error object both ways.

pub mod answer;
mod call_id;
mod completions;
mod decode;
mod dialect;
mod encode;
pub mod error;
pub mod forward;
mod quirks;
pub mod request;
mod usage;

pub use completions::Completions;

use http::{HeaderMap, StatusCode};

use crate::{
    Error, Target, UpstreamError,
    chat::{Event, Request},
    dialect::Encoded,
    front::{ErrorBody, Front, Head, Peek, Writer},
    provider::Api,
    relay::{Relay, Summary},
};

/// Marks a signature that is what OpenRouter sends of another maker's thought than Claude's: the fields of a
/// `reasoning_details` entry, as JSON.
const DETAIL_PREFIX: &str = "openrouter:";

/// OpenAI's Chat Completions API.
#[derive(Debug)]
pub struct ChatCompletions;

impl Front for ChatCompletions {
    fn api(&self) -> Api {
        Api::ChatCompletions
    }

    fn peek<'a>(&self, _path: &'a str, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        forward::peek(body)
    }

    fn parse(&self, _peek: &Peek<'_>, body: &[u8]) -> Result<Request, Error> {
        request::parse(body)
    }

    fn forward(
        &self,
        body: &[u8],
        peek: &Peek<'_>,
        headers: &HeaderMap,
        target: &Target<'_>,
    ) -> Result<Encoded, Error> {
        Ok(Encoded::forwarded(forward::request(body, peek, target)?, headers, target))
    }

    fn summary(&self, body: &[u8]) -> Result<Summary, UpstreamError> {
        forward::summary(body)
    }

    fn forwarder(&self, peek: &Peek<'_>, request_id: &str) -> Box<dyn Relay> {
        Box::new(forward::Forward::new(peek, request_id))
    }

    fn whole(&self, head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
        answer::whole(head, events)
    }

    fn writer(&self, head: &Head<'_>, peek: &Peek<'_>) -> Box<dyn Writer> {
        Box::new(answer::Stream::new(head, peek.include_usage))
    }

    fn error(&self, _status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        error::body(error)
    }
}
