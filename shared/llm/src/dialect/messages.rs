//! Anthropic's Messages. It differs from Chat Completions in that
//!
//! - instructions stand apart from the conversation, in `system`; a later system message joins them
//!   there, as Anthropic's own OpenAI endpoint does it (`system`, `developer`, `system-later`);
//! - turns alternate, so messages of one side in a row are one turn (`merged-turns`);
//! - a tool's result is something the user says, and results come before anything else in that turn
//!   (`parallel-tool-calls`, `tool-result-image`);
//! - a call's arguments are a JSON object, not text (`empty-arguments`, `bad-arguments`);
//! - a block of text must say something (`empty-text`), and so must a stop sequence (`stop-blank`);
//! - `max_tokens` is required (`text`), and thinking counts towards it (`reasoning-effort`);
//! - thought comes in signed blocks, which must be sent back unchanged and first (`reasoning-replay`);
//! - thinking excludes forced tools and most sampling, each model in its own way
//!   (`reasoning-and-forced-tool`, `forced-tool-always-thinking`, `sampling-fixed`);
//! - structured output takes a narrower schema (`structured-output-bounds`), and there is no JSON mode
//!   without one (`json-object`);
//! - `input_tokens` leaves out what a cache read or wrote, and what is written for an hour costs more
//!   than for five minutes (`usage-with-cache`); a stream counts its input at the start and its output,
//!   cumulatively, near the end (`usage-grows`);
//! - a stream may fail with an `error` event (`error-overloaded-midway`), and is whole only after
//!   `message_stop` (`cut-off`).
//!
//! Requests carry the API version 2023-06-01: 2026-10-21 takes no sampling parameters at all, and the
//! models that still have them are in use. Nothing else we send or read differs between the two.

mod answer;
pub(super) mod front;
mod hosted;
mod invoke;
pub(super) mod model;
mod request;
pub(super) mod schema;

use std::borrow::Cow;

use http::HeaderMap;
use serde::Deserialize;

pub use invoke::Invoke;

use super::{Decoder, Dialect, Encoded, SseDecoder, chat_completions, converse, retry_after_ms};
use crate::{Error, ErrorClass, Target, UpstreamError, chat};

/// Anthropic's Messages API.
#[derive(Debug)]
pub struct Messages;

impl Dialect for Messages {
    fn encode(&self, request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
        request::encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<chat::Event>, UpstreamError> {
        answer::decode(body)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(SseDecoder::new(answer::Reader::default()))
    }

    fn lacks_json(&self) -> bool {
        true
    }

    fn lacks_schema(&self, _request: &chat::Request, target: &Target<'_>) -> bool {
        !model::Model::named(target.model).schemas
    }

    fn error(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
        // Amazon's own refusals are not in Claude's words.
        if headers.contains_key("x-amzn-errortype") {
            return converse::failure::answer(status, headers, body);
        }
        match serde_json::from_slice::<ErrorAnswer<'_>>(body) {
            Ok(answer) => UpstreamError {
                retry_after_ms: retry_after_ms(headers),
                ..answer.error.classified(Some(status))
            },
            // Not the API, but something on the way to it.
            Err(_) => chat_completions::error::upstream(status, headers, body),
        }
    }
}

#[derive(Deserialize)]
struct ErrorAnswer<'a> {
    #[serde(borrow)]
    error: ErrorBody<'a>,
}

/// `error` of a failed answer, and of an `error` event in a stream.
#[derive(Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl ErrorBody<'_> {
    /// As our error. There is no status where the failure came in a stream.
    fn classified(&self, status: Option<u16>) -> UpstreamError {
        let says = |sentence: &str| self.message.contains(sentence);
        let class = match &*self.kind {
            "api_error" => ErrorClass::Server,
            "authentication_error" | "permission_error" => ErrorClass::Auth,
            "billing_error" => ErrorClass::Quota,
            "not_found_error" => ErrorClass::NotFound,
            "overloaded_error" => ErrorClass::Overloaded,
            // A spent budget is told from a busy minute by its words alone.
            _ if EXHAUSTED.iter().any(|sentence| says(sentence)) => ErrorClass::Quota,
            "rate_limit_error" => ErrorClass::Rate,
            "request_too_large" => ErrorClass::ContextLength,
            "timeout_error" => ErrorClass::Timeout,
            "invalid_request_error" if TOO_LONG.iter().any(|sentence| says(sentence)) => {
                ErrorClass::ContextLength
            }
            "invalid_request_error" if says("content filtering policy") => ErrorClass::Content,
            "invalid_request_error" => ErrorClass::Invalid,
            _ => status.map_or(ErrorClass::Server, ErrorClass::of_status),
        };
        let error = UpstreamError::new(class, chat_completions::error::cut(&self.message));
        UpstreamError { status, code: Some(self.kind.clone().into_owned()), ..error }
    }
}

const TOO_LONG: [&str; 2] = ["prompt is too long", "exceed context limit"];
const EXHAUSTED: [&str; 3] = ["credit balance is too low", "spend limit", "API usage limits"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_classified_by_type_and_by_what_the_message_says() {
        use ErrorClass::{
            Auth, Content, ContextLength, Invalid, NotFound, Overloaded, Quota, Rate, Server, Timeout,
        };
        let cases = [
            (400, "invalid_request_error", "max_tokens: must be greater than 0", Invalid),
            (
                400,
                "invalid_request_error",
                "prompt is too long: 208310 tokens > 200000 maximum",
                ContextLength,
            ),
            (
                400,
                "invalid_request_error",
                "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease one",
                ContextLength,
            ),
            (400, "invalid_request_error", "Your credit balance is too low to access the API.", Quota),
            (400, "invalid_request_error", "You have reached your specified API usage limits.", Quota),
            (400, "invalid_request_error", "Output blocked by content filtering policy", Content),
            (401, "authentication_error", "invalid x-api-key", Auth),
            (402, "billing_error", "Check your payment details.", Quota),
            (403, "permission_error", "Your API key may not use this resource.", Auth),
            (404, "not_found_error", "model: claude-9", NotFound),
            (413, "request_too_large", "Request exceeds the maximum size", ContextLength),
            (429, "rate_limit_error", "This request would exceed your account's rate limit.", Rate),
            (429, "rate_limit_error", "You have reached your monthly spend limit.", Quota),
            (500, "api_error", "Internal server error", Server),
            (504, "timeout_error", "The request timed out", Timeout),
            (529, "overloaded_error", "Overloaded", Overloaded),
            (409, "some_new_error", "A conflict.", Invalid),
            (503, "some_new_error", "Not now.", Overloaded),
        ];
        for (status, kind, message, class) in cases {
            let body = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}}}}"#);
            let error = Messages.error(status, &HeaderMap::new(), body.as_bytes());
            assert_eq!((error.class, &*error.message), (class, message), "{status} {kind}");
            assert_eq!((error.status, error.code.as_deref()), (Some(status), Some(kind)));
        }
    }

    #[test]
    fn what_is_not_the_api_is_read_all_the_same() {
        let cases = [
            ("", "the provider answered 502 without a message"),
            ("<html><h1>502 Bad Gateway</h1></html>", "the provider answered 502 with a web page"),
            ("upstream connect error", "upstream connect error"),
            (r#"{"error":"no"}"#, "no"),
            (r#"{"type":"error","error":{"type":"api_error","message":" "}}"#, "the provider gave no reason"),
        ];
        for (body, message) in cases {
            let error = Messages.error(502, &HeaderMap::new(), body.as_bytes());
            assert_eq!((error.class, &*error.message), (ErrorClass::Server, message));
        }
    }

    #[test]
    fn the_wait_asked_for_is_kept() {
        let headers =
            HeaderMap::from_iter([(http::header::RETRY_AFTER, http::HeaderValue::from_static("13"))]);
        let body = br#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."}}"#;
        assert_eq!(Messages.error(429, &headers, body).retry_after_ms, Some(13_000));
        assert_eq!(Messages.error(502, &headers, b"").retry_after_ms, Some(13_000));
    }
}
