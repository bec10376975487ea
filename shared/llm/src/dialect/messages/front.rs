//! Messages on the callers' side.
//!
//! [`forward`] passes the caller's bytes on to a provider that speaks Messages too. Else [`request`] reads
//! the caller's body and [`answer`] writes the answer. What Messages has no field for travels in blocks
//! that clients send back as they are:
//!
//! - thought without a signature, another provider's, is a `thinking` block with an empty one;
//! - Gemini's signature of a tool call is that of an empty `thinking` block before the call
//!   ([`crate::dialect::CALL_SIGNATURE`]);
//! - a call's id that Messages would refuse is written in letters it takes ([`call_id`]).

mod answer;
pub(super) mod call_id;
mod forward;
pub(in crate::dialect) mod request;

use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::Messages;
use crate::{
    Error, Target, UpstreamError,
    chat::{Event, Request},
    dialect::{Dialect, Encoded},
    front::{ErrorBody, Front, Head, Peek, Writer},
    provider::Api,
    relay::{Relay, Summary},
    sse, translate,
};

impl Front for Messages {
    fn api(&self) -> Api {
        Api::Messages
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
        forward::request(body, peek, headers, target)
    }

    fn summary(&self, body: &[u8]) -> Result<Summary, UpstreamError> {
        self.decode(body).map(|events| translate::summary(&events))
    }

    fn forwarder(&self, peek: &Peek<'_>, request_id: &str) -> Box<dyn Relay> {
        // Only an error is ever written in the provider's place, and that has no head.
        let writer = self.writer(&Head { id: "", created: 0, model: "" }, peek);
        Box::new(translate::Observe::new(sse::Splitter::default(), self.decoder(), writer, request_id))
    }

    fn whole(&self, head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
        answer::whole(head, events)
    }

    fn writer(&self, head: &Head<'_>, _peek: &Peek<'_>) -> Box<dyn Writer> {
        Box::new(answer::Stream::new(head))
    }

    fn headers(&self, _status: StatusCode, request_id: &HeaderValue, headers: &mut HeaderMap) {
        headers.insert("request-id", request_id.clone());
    }

    fn error(&self, _status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(error.message.len() + 128);
        write_error(error, &mut out);
        out
    }
}

/// The error object, the same in a stream.
fn write_error(error: &ErrorBody<'_>, out: &mut Vec<u8>) {
    let body = WireError {
        kind: "error",
        error: WireErrorBody { kind: kind(error.status), message: &error.message },
        request_id: error.request_id,
    };
    serde_json::to_writer(out, &body).expect("strings into memory cannot fail");
}

/// Anthropic's `type` for a status of ours.
fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

// --- wire ---

#[derive(Serialize)]
struct WireError<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    error: WireErrorBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct WireErrorBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::{
        ErrorClass,
        dialect::{CALL_SIGNATURE, generate_content::SIGNATURE_PREFIX},
        relay::{Ending, Passed},
    };

    #[test]
    fn an_error_has_the_type_of_its_status() {
        let cases = [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (402, "billing_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (405, "invalid_request_error"),
            (413, "request_too_large"),
            (422, "invalid_request_error"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (502, "api_error"),
            (503, "overloaded_error"),
            (504, "timeout_error"),
            (529, "overloaded_error"),
        ];
        for (status, kind) in cases {
            let status = StatusCode::from_u16(status).expect("a status");
            let error = ErrorBody {
                message: Cow::Borrowed("Say \"please\"."),
                status,
                param: Some("model"),
                code: Some("rude"),
                request_id: Some("req_1"),
            };
            assert_eq!(
                String::from_utf8_lossy(&Front::error(&Messages, status, &error)),
                format!(
                    r#"{{"type":"error","error":{{"type":"{kind}","message":"Say \"please\"."}},"request_id":"req_1"}}"#
                )
            );
        }
    }

    #[test]
    fn a_signature_of_a_call_is_never_taken_for_claudes() {
        assert!(CALL_SIGNATURE.starts_with(SIGNATURE_PREFIX));
    }

    const STREAM: &str = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",",
        "\"model\":\"claude-x\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\":4,\"output_tokens\":1}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hé\"}}\n\n",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );

    #[test]
    fn a_stream_is_passed_on_as_it_is_and_read_in_passing() {
        for cut in 0..=STREAM.len() {
            let (first, second) = STREAM.as_bytes().split_at(cut);
            let mut relay = Messages.forwarder(&Peek::default(), "req_1");
            let mut seen = Vec::new();
            for chunk in [first, second] {
                let mut out = Vec::new();
                match relay.chunk(chunk, &mut out) {
                    Passed::AsIs => seen.extend_from_slice(chunk),
                    Passed::Instead => seen.append(&mut out),
                }
            }
            relay.end(Ending::Closed, &mut seen);
            assert_eq!(String::from_utf8_lossy(&seen), STREAM, "cut at {cut}");
            let summary = relay.summary();
            let usage = summary.usage.expect("usage");
            assert_eq!((usage.input_tokens, usage.output_tokens), (7, 9));
            assert_eq!(summary.finish_reason.as_deref(), Some("stop"));
            assert_eq!(summary.response_model.as_deref(), Some("claude-x"));
            assert_eq!(summary.error, None);
        }
    }

    #[test]
    fn a_stream_without_its_end_ends_in_an_error() {
        let events: Vec<&str> = STREAM.split_inclusive("\n\n").collect();
        for whole in 0..events.len() {
            let begun = events[..whole].concat();
            let mut relay = Messages.forwarder(&Peek::default(), "req_1");
            let mut out = Vec::new();
            relay.chunk(begun.as_bytes(), &mut out);
            out.clear();
            relay.end(Ending::Closed, &mut out);
            assert_eq!(
                String::from_utf8_lossy(&out),
                concat!(
                    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"the provider's answer broke off ",
                    "before its end. Send the request again; if it keeps failing, choose another model.\"},\"request_id\":\"req_1\"}\n\n",
                ),
                "after {whole} events"
            );
            let error = relay.summary().error.as_ref().map(|error| error.class);
            assert_eq!(error, Some(ErrorClass::Truncated));
        }
    }

    #[test]
    fn a_whole_answer_is_summed_up() {
        let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"Hi"}],
            "stop_reason":"max_tokens","usage":{"input_tokens":1,"cache_creation_input_tokens":2,"output_tokens":3}}"#;
        let summary = Messages.summary(body.as_bytes()).expect("an answer");
        assert_eq!(summary.usage.map(|usage| (usage.input_tokens, usage.output_tokens)), Some((3, 3)));
        assert_eq!(summary.finish_reason.as_deref(), Some("length"));
        for garbage in
            ["", "<html>", "{}", r#"{"type":"error","error":{"type":"api_error","message":"No."}}"#]
        {
            assert!(Messages.summary(garbage.as_bytes()).is_err(), "{garbage}");
        }
    }
}
