//! Amazon Bedrock's Converse, on both sides. It differs from Chat Completions in that
//!
//! - the model is part of the address, and so is the wish for a stream;
//! - a stream is not server-sent events but Amazon's own binary one (see [`crate::eventstream`]); an
//!   exception may come in it after a 200;
//! - instructions stand apart from the conversation, and turns alternate: messages of one side in a row
//!   are one turn;
//! - a tool's result is something the user says, and comes before anything else in that turn;
//! - a history with calls is refused where no tools are given: for Claude the tools that were called stand in;
//! - no tool choice forbids tools or several calls at once: Claude is told in Anthropic's own words. For others tools
//!   that are forbidden are left out, and earlier calls of them are told as text;
//! - names of tools have at most 64 letters, digits, `_` and `-`; ids of calls also `.` and `:`;
//! - images and documents come as bytes with a format, documents with a name of few letters, each
//!   another, and beside text;
//! - text must not be blank;
//! - what Converse has no field for goes to the model's maker in `additionalModelRequestFields`;
//! - thought comes in signed blocks, which must be sent back unchanged and first;
//! - `inputTokens` leaves out what a cache read or wrote;
//! - usage comes after the end of a streamed answer.

mod answer;
pub(super) mod failure;
mod parse;
mod request;
mod write;

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

use super::{Decoder, Dialect, Encoded, is_claudes, post};
use crate::{
    Error, Target, UpstreamError,
    chat::{self, Event},
    eventstream::Splitter,
    front::{ErrorBody, Front, Head, Peek, Writer},
    peek,
    provider::{Api, Betas, is_claude},
    relay::{Relay, Summary},
    sigv4,
    translate::{self, Observe},
};

/// Amazon Bedrock's Converse API.
#[derive(Debug)]
pub struct Converse;

impl Dialect for Converse {
    fn encode(&self, request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
        request::encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<Event>, UpstreamError> {
        answer::decode(body)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(answer::Stream::default())
    }

    fn lacks_json(&self) -> bool {
        true
    }

    fn lacks_schema(&self, _request: &chat::Request, target: &Target<'_>) -> bool {
        request::lacks_schema(target)
    }

    fn error(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
        failure::answer(status, headers, body)
    }
}

impl Front for Converse {
    fn api(&self) -> Api {
        Api::Converse
    }

    fn peek<'a>(&self, path: &'a str, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        parse::peek(path, body)
    }

    fn parse(&self, peek: &Peek<'_>, body: &[u8]) -> Result<chat::Request, Error> {
        parse::parse(peek, body)
    }

    fn forward(
        &self,
        body: &[u8],
        peek: &Peek<'_>,
        headers: &HeaderMap,
        target: &Target<'_>,
    ) -> Result<Encoded, Error> {
        let cut = without_foreign_thought(body, target.model);
        let (body, mut dropped) = cut.unwrap_or_else(|| (body.to_vec(), Vec::new()));
        let request = post(url(target, peek.stream), target, body)?;
        // Converse has betas in the body; in a header they would say nothing.
        dropped.extend(Betas::None.sort(headers).1);
        Ok(Encoded::new(request, dropped))
    }

    fn summary(&self, body: &[u8]) -> Result<Summary, UpstreamError> {
        answer::decode(body).map(|events| translate::summary(&events))
    }

    fn forwarder(&self, _peek: &Peek<'_>, request_id: &str) -> Box<dyn Relay> {
        let writer = Box::new(write::Stream::default());
        Box::new(Observe::new(Splitter::default(), self.decoder(), writer, request_id))
    }

    fn whole(&self, _head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
        write::whole(events)
    }

    fn writer(&self, _head: &Head<'_>, _peek: &Peek<'_>) -> Box<dyn Writer> {
        Box::new(write::Stream::default())
    }

    fn stream_type(&self, peek: &Peek<'_>) -> &'static str {
        if peek.stream { "application/vnd.amazon.eventstream" } else { "application/json" }
    }

    /// Amazon's own clients choose the exception they raise by the second one.
    fn headers(&self, status: StatusCode, request_id: &HeaderValue, headers: &mut HeaderMap) {
        headers.insert("x-amzn-requestid", request_id.clone());
        if !status.is_success() {
            headers.insert("x-amzn-errortype", HeaderValue::from_static(failure::name(status)));
        }
    }

    fn labels(&self) -> &'static str {
        "requestMetadata"
    }

    fn error(&self, status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        failure::body(status, error)
    }
}

/// The body without thought that another provider signed, and for Claude without any that is not signed: Bedrock
/// refuses it. And where that stood. `None` where there is none.
fn without_foreign_thought(body: &[u8], model: &str) -> Option<peek::Cut> {
    memchr::memmem::find(body, b"\"reasoningContent\"")?;
    peek::without_blocks(body, &|block| {
        let block: Value = match serde_json::from_str(block.get()) {
            Ok(block) => block,
            Err(_) => return false,
        };
        match block.pointer("/reasoningContent/reasoningText") {
            Some(thought) => match thought["signature"].as_str() {
                Some(signature) => !is_claudes(signature),
                None => is_claude(model),
            },
            None => false,
        }
    })
}

/// Where a request goes. A model may be an ARN, with colons and slashes.
fn url(target: &Target<'_>, stream: bool) -> String {
    let call = if stream { "converse-stream" } else { "converse" };
    format!("{}/model/{}/{call}", target.base_url, sigv4::encode(target.model))
}

/// Converse's names of documents' types.
const DOCUMENT_FORMATS: [(&str, &str); 9] = [
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("html", "text/html"),
    ("md", "text/markdown"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
];

#[cfg(test)]
mod tests;
