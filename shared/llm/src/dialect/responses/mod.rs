//! OpenAI's Responses, both as what callers speak and as what a provider speaks. It differs from Chat
//! Completions in that
//!
//! - a conversation is a list of items: calls, their outputs and thought stand beside the messages, not
//!   in them, and a call is known by its `call_id`, not by its item's `id`;
//! - a function tool is flat, and `strict` holds unless it is denied;
//! - thought comes back as `reasoning` items whose `encrypted_content` must be sent back unchanged;
//! - a provider may keep answers to be referred to. Nothing is kept here, so a translated conversation
//!   is sent whole each time, and a provider is told `"store": false`;
//! - a stream is a sequence of named and numbered events. It is whole after `response.completed` or
//!   `response.incomplete`, and there is no `[DONE]`.

mod answer;
mod decode;
pub(super) mod encode;
mod forward;
mod request;

use http::{HeaderMap, StatusCode};

use super::{Decoder, Dialect, Encoded, SseDecoder, chat_completions};
use crate::{
    Error, Target, UpstreamError,
    chat::{Event, Request},
    front::{ErrorBody, Front, Head, Peek, Writer},
    provider::Api,
    relay::{Relay, Summary},
};

/// OpenAI's Responses API.
#[derive(Debug)]
pub struct Responses;

impl Front for Responses {
    fn api(&self) -> Api {
        Api::Responses
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
        let (request, mut dropped) = forward::request(body, peek, target)?;
        let mut encoded = Encoded::forwarded(request, headers, target);
        dropped.append(&mut encoded.dropped);
        Ok(Encoded { dropped, ..encoded })
    }

    fn summary(&self, body: &[u8]) -> Result<Summary, UpstreamError> {
        forward::summary(body)
    }

    fn forwarder(&self, _peek: &Peek<'_>, request_id: &str) -> Box<dyn Relay> {
        forward::forwarder(request_id)
    }

    fn whole(&self, head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
        answer::whole(head, events)
    }

    fn writer(&self, head: &Head<'_>, _peek: &Peek<'_>) -> Box<dyn Writer> {
        Box::new(answer::Stream::new(head))
    }

    fn error(&self, _status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        chat_completions::error::body(error)
    }
}

impl Dialect for Responses {
    fn encode(&self, request: &Request, target: &Target<'_>) -> Result<Encoded, Error> {
        encode::encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<Event>, UpstreamError> {
        decode::decode(body)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(SseDecoder::new(decode::Reader::default()))
    }

    fn error(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
        chat_completions::error::upstream(status, headers, body)
    }
}

/// Marks a signature that is `encrypted_content` of a provider of this API; the item's id and a colon
/// stand before the content. Other providers refuse it.
pub(crate) const SIGNATURE_PREFIX: &str = "openai:";

/// What another provider's thought needs to be replayed, as the `encrypted_content` of an item of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept<'a> {
    /// The signature of the call that follows.
    Call(&'a str),
    /// Nothing. The mark alone says that the item is not the provider's.
    Plain,
    /// Encrypted thought.
    Redacted(&'a str),
    /// The signature over the item's text.
    Signature(&'a str),
}

impl<'a> Kept<'a> {
    fn mark(self) -> String {
        let (kind, data) = match self {
            Self::Call(data) => ("call", data),
            Self::Plain => ("plain", ""),
            Self::Redacted(data) => ("redacted", data),
            Self::Signature(data) => ("signature", data),
        };
        format!("{MARK}{kind}:{data}")
    }

    /// `None` where it is not of our making.
    fn read(content: &'a str) -> Option<Self> {
        let (kind, data) = content.strip_prefix(MARK)?.split_once(':')?;
        match kind {
            "call" => Some(Self::Call(data)),
            "plain" => Some(Self::Plain),
            "redacted" => Some(Self::Redacted(data)),
            "signature" => Some(Self::Signature(data)),
            _ => None,
        }
    }
}

const MARK: &str = "hypergate:";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{FinishReason, Part, Reasoning, ToolCall};

    #[test]
    fn kept_thought_says_again_what_it_was() {
        for kept in [
            Kept::Call("a:b"),
            Kept::Plain,
            Kept::Redacted("x="),
            Kept::Signature("google:y"),
            Kept::Call(""),
        ] {
            assert_eq!(Kept::read(&kept.mark()), Some(kept));
        }
        for foreign in ["", "gAAAAB", "hypergate:", "hypergate:new:x"] {
            assert_eq!(Kept::read(foreign), None);
        }
    }

    #[test]
    fn an_answer_that_is_sent_back_loses_nothing() {
        let call = ToolCall {
            id: "c1".to_owned(),
            name: "f".to_owned(),
            arguments: "{}".to_owned(),
            signature: Some("g1".to_owned()),
        };
        let thought = |text: &str, signature: Option<&str>, redacted: Option<&str>| {
            Part::Reasoning(Reasoning {
                text: text.to_owned(),
                signature: signature.map(str::to_owned),
                redacted: redacted.map(str::to_owned),
            })
        };
        let events = [
            Event::Reasoning("a\n\nb".to_owned()),
            Event::ReasoningSignature("s:1".to_owned()),
            Event::ReasoningRedacted("d".to_owned()),
            Event::Reasoning("unsigned".to_owned()),
            Event::Text("Hi".to_owned()),
            Event::ReasoningSignature("google:x".to_owned()),
            Event::Reasoning("more".to_owned()),
            Event::ToolCall {
                index: 0,
                id: call.id.clone(),
                name: call.name.clone(),
                signature: call.signature.clone(),
            },
            Event::ToolArguments { index: 0, text: call.arguments.clone() },
            Event::Finish { reason: FinishReason::ToolCalls, native: String::new() },
        ];
        let head = Head { id: "resp_1", created: 0, model: "m" };
        let whole = Responses.whole(&head, &events).expect("whole");
        let whole: serde_json::Value = serde_json::from_slice(&whole).expect("JSON");
        let body = serde_json::json!({ "model": "m", "input": whole["output"] }).to_string();
        let request = Responses.parse(&Peek::default(), body.as_bytes()).expect("valid");
        let parts = vec![
            thought("a\n\nb", Some("s:1"), None),
            thought("", None, Some("d")),
            thought("unsigned", None, None),
            Part::Text("Hi".to_owned()),
            thought("", Some("google:x"), None),
            thought("more", None, None),
            Part::ToolCall(call),
        ];
        assert_eq!((request.messages.len(), &request.messages[0].parts), (1, &parts));
        assert_eq!(request.extra, []);
    }
}
