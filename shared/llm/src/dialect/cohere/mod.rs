//! Cohere's chat, version 2, on both sides. It differs from Chat Completions in that
//!
//! - a plan stands beside tool calls (`tool_plan`), and thought is a part of the content; both are
//!   reasoning here;
//! - `tool_choice` knows `REQUIRED` and `NONE` only: one tool is forced by sending no other;
//! - strictness is one switch for all tools (`strict_tools`), and a JSON schema is a mode of
//!   `json_object`, which excludes tools;
//! - instructions must come first, so a later system message joins the first;
//! - sampling is named `p` and `k`, and its bounds are narrower;
//! - usage has what the model read and wrote (`tokens`), and the part that is charged
//!   (`billed_units`), which leaves out Cohere's own template. Ours is what is charged;
//! - a stream is whole after `message-end`, which may also say that the answer failed.
//!
//! Callers get signatures of thought and calls as `signature`, and encrypted thought as `redacted`, beside
//! Cohere's own fields, so that a conversation sent back loses nothing.

mod answer;
mod parse;
mod request;
mod write;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{Decoder, Dialect, Encoded, SseDecoder, bend::ToolNames, chat_completions, post, retry_after_ms};
use crate::{
    Error, ErrorClass, Target, UpstreamError,
    chat::{Event, Request, ToolChoice},
    front::{ErrorBody, Front, Head, Peek, Writer},
    provider::Api,
    relay::{Relay, Summary},
    sse,
    translate::{self, Observe},
};

/// Cohere's chat API, version 2.
#[derive(Debug)]
pub struct Cohere;

impl Dialect for Cohere {
    fn encode(&self, request: &Request, target: &Target<'_>) -> Result<Encoded, Error> {
        request::encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<Event>, UpstreamError> {
        answer::decode(body)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(SseDecoder::new(answer::Reader::default()))
    }

    fn tool_names(&self, _target: &Target<'_>) -> ToolNames {
        NAMES
    }

    /// JSON mode and tools exclude each other.
    fn lacks_schema(&self, request: &Request, _target: &Target<'_>) -> bool {
        !request.tools.is_empty() && request.tool_choice != Some(ToolChoice::None)
    }

    fn error(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
        upstream(status, headers, body)
    }
}

impl Front for Cohere {
    fn api(&self) -> Api {
        Api::Cohere
    }

    fn peek<'a>(&self, _path: &'a str, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        // What must be known has the same names in both protocols. Cohere's streams always end with
        // usage, and it knows neither users nor several answers.
        let peek = chat_completions::forward::peek(body)?;
        Ok(Peek { include_usage: true, user: None, choices: 1, usage_wish: None, ..peek })
    }

    fn parse(&self, _peek: &Peek<'_>, body: &[u8]) -> Result<Request, Error> {
        parse::parse(body)
    }

    fn forward(
        &self,
        body: &[u8],
        peek: &Peek<'_>,
        headers: &HeaderMap,
        target: &Target<'_>,
    ) -> Result<Encoded, Error> {
        let mut request = post(url(target), target, peek.rewrite(body, target.model, false))?;
        if let Some(client) = headers.get(CLIENT_NAME) {
            request.headers_mut().insert(CLIENT_NAME, client.clone());
        }
        Ok(Encoded::forwarded(request, headers, target))
    }

    fn summary(&self, body: &[u8]) -> Result<Summary, UpstreamError> {
        answer::decode(body).map(|events| translate::summary(&events))
    }

    fn forwarder(&self, peek: &Peek<'_>, request_id: &str) -> Box<dyn Relay> {
        // The head is not used: the writer only has to end a stream that failed.
        let head = Head { id: request_id, created: 0, model: &peek.model };
        let writer = Box::new(write::Stream::new(&head));
        Box::new(Observe::new(sse::Splitter::default(), self.decoder(), writer, request_id))
    }

    fn whole(&self, head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
        write::whole(head, events)
    }

    fn writer(&self, head: &Head<'_>, _peek: &Peek<'_>) -> Box<dyn Writer> {
        Box::new(write::Stream::new(head))
    }

    fn error(&self, _status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        write::error(error)
    }
}

fn url(target: &Target<'_>) -> String {
    format!("{}/v2/chat", target.base_url)
}

/// A non-2xx answer: `{"id": …, "message": …}`, the kind of failure in the status and the words.
fn upstream(status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
    let error = chat_completions::error::upstream(status, headers, body);
    let says = |phrases: &[&str]| {
        let message = error.message.to_ascii_lowercase();
        phrases.iter().any(|phrase| message.contains(phrase))
    };
    let class = match status {
        // A limit on what may be asked for is not the conversation's length.
        400 if says(&["max tokens must be less"]) => ErrorClass::Invalid,
        400 | 422 if says(&["too many tokens"]) => ErrorClass::ContextLength,
        // The trial key's monthly allowance; waiting a moment does not help.
        429 if says(&["calls / month", "calls per month", "billing"]) => ErrorClass::Quota,
        // Names of Cohere's own: an invalid token of the key, a request given up, one not built yet.
        498 => ErrorClass::Auth,
        499 => ErrorClass::Server,
        501 => ErrorClass::Invalid,
        _ => error.class,
    };
    UpstreamError { class, retry_after_ms: retry_after_ms(headers), ..error }
}

/// A failure that came with a 2xx: the body of an error, without its status.
#[derive(Deserialize)]
struct Failure {
    message: String,
}

impl Failure {
    fn classified(&self) -> UpstreamError {
        let body = serde_json::json!({ "message": self.message }).to_string();
        // 500 stands for "the provider failed" where the words say nothing better.
        UpstreamError { status: None, ..upstream(500, &HeaderMap::new(), body.as_bytes()) }
    }
}

/// What Cohere says of names of tools in its first version, and nothing else in its second.
const NAMES: ToolNames = ToolNames { longest: 64, besides: "", any_first: false };

/// The caller's name for its project.
const CLIENT_NAME: &str = "x-client-name";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        provider::{Auth, Betas, Hosting, Provider, StreamUsage},
        relay::{Ending, Passed},
    };

    static PROVIDER: Provider = Provider {
        name: "cohere",
        telemetry_name: "cohere",
        base_url: "https://api.cohere.com",
        auth: Auth::Bearer,
        grant: None,
        hosting: Hosting::Own,
        betas: Betas::None,
        api: Api::Cohere,
        also: None,
        files_in_texts: false,
        stream_usage: StreamUsage::Unasked,
        offers: &[],
    };

    const BODY: &[u8] = br#"{"k": 1.50, "stream":true, "model" : "fast","messages":[]}"#;

    #[test]
    fn a_request_goes_on_with_nothing_but_the_model_changed() {
        let peek = Cohere.peek("/v2/chat", BODY).expect("valid");
        assert_eq!((&*peek.model, peek.stream, peek.include_usage, peek.choices), ("fast", true, true, 1));
        let target = Target {
            provider: &PROVIDER,
            model: "command-a-03-2025",
            base_url: PROVIDER.base_url,
            credential: Some("k"),
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-client-name", http::HeaderValue::from_static("app"));
        headers.insert("authorization", http::HeaderValue::from_static("Bearer the caller's own"));
        let request = Cohere.forward(BODY, &peek, &headers, &target).expect("sent").request;
        assert_eq!(request.uri(), "https://api.cohere.com/v2/chat");
        assert_eq!(request.headers()["x-client-name"], "app");
        assert_eq!(request.headers()["authorization"], "Bearer k");
        let expected = r#"{"k": 1.50, "stream":true, "model" : "command-a-03-2025","messages":[]}"#;
        assert_eq!(String::from_utf8_lossy(request.body()), expected);
    }

    #[test]
    fn a_wrong_body_is_named_by_its_field() {
        let cases = [
            ("[]", None),
            (r#"{"messages":[]}"#, Some("model")),
            (r#"{"model":7,"messages":[]}"#, Some("model")),
            (r#"{"model":"a/b"}"#, Some("messages")),
            (r#"{"model":"a/b","messages":[],"stream":"yes"}"#, Some("stream")),
            (r#"{"model":"a/b","messages":[],"Model":"c/d"}"#, Some("model")),
        ];
        for (body, expected) in cases {
            let Err(Error::Invalid { param, .. }) = Cohere.peek("/v2/chat", body.as_bytes()) else {
                panic!("{body} was accepted")
            };
            assert_eq!(param.as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn a_stream_passes_and_is_read_in_passing() {
        let stream = concat!(
            "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"Hi\"}}}}\n\n",
            "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"tokens\":{\"input_tokens\":3,\"output_tokens\":2}}}}\n\n",
            "data: [DONE]\n\n",
        );
        let peek = Cohere.peek("/v2/chat", BODY).expect("valid");
        let mut relay = Cohere.forwarder(&peek, "req_1");
        let mut out = Vec::new();
        assert_eq!(relay.chunk(stream.as_bytes(), &mut out), Passed::AsIs);
        relay.end(Ending::Closed, &mut out);
        assert_eq!(out, b"");
        let summary = relay.summary();
        assert_eq!(summary.finish_reason.as_deref(), Some("stop"));
        assert_eq!(summary.usage.map(|usage| (usage.input_tokens, usage.output_tokens)), Some((3, 2)));

        let mut relay = Cohere.forwarder(&peek, "req_1");
        relay.chunk(&stream.as_bytes()[..20], &mut out);
        out.clear();
        relay.end(Ending::Closed, &mut out);
        let end = String::from_utf8_lossy(&out);
        assert!(
            end.starts_with(
                "event: message-end\ndata: {\"id\":\"req_1\",\"type\":\"message-end\",\"delta\":{\"error\":"
            ),
            "{end}"
        );
        assert_eq!(relay.summary().error.as_ref().map(|error| error.class), Some(ErrorClass::Truncated));
    }

    #[test]
    fn a_whole_answer_says_what_it_cost() {
        let body = br#"{"id":"1","message":{"role":"assistant","content":[{"type":"text","text":"Hi"}]},"finish_reason":"MAX_TOKENS","usage":{"tokens":{"input_tokens":3,"output_tokens":2}}}"#;
        let summary = Cohere.summary(body).expect("an answer");
        assert_eq!(summary.finish_reason.as_deref(), Some("length"));
        assert_eq!(summary.usage.map(|usage| usage.input_tokens), Some(3));
        assert!(Cohere.summary(b"<html>").is_err());
    }

    #[test]
    fn failures_are_classified_by_status_and_words() {
        use ErrorClass::{Auth, ContextLength, Invalid, NotFound, Overloaded, Quota, Rate, Server, Timeout};
        #[rustfmt::skip]
        let cases = [
            (400, "invalid request: message must be at least 1 token long", Invalid),
            (400, "too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs.", ContextLength),
            (400, "too many tokens: max tokens must be less than or equal to 4096, the maximum output for this model - received 8192.", Invalid),
            (401, "invalid api token", Auth),
            (402, "Please add or update your payment method", Quota),
            (403, "forbidden", Auth),
            (404, "model 'x' not found", NotFound),
            (422, "unknown field", Invalid),
            (429, "You are using a Trial key, which is limited to 40 API calls / minute.", Rate),
            (429, "You are using a Trial key, which is limited to 1000 API calls / month.", Quota),
            (498, "invalid token", Auth),
            (499, "request cancelled", Server),
            (500, "internal server error", Server),
            (501, "not implemented", Invalid),
            (503, "busy", Overloaded),
            (504, "late", Timeout),
        ];
        for (status, message, class) in cases {
            let body = format!(r#"{{"id":"1","message":"{message}"}}"#);
            let error = Dialect::error(&Cohere, status, &HeaderMap::new(), body.as_bytes());
            assert_eq!((error.class, error.status, &*error.message), (class, Some(status), message));
        }
    }

    #[test]
    fn an_error_has_coheres_shape() {
        let mut error = ErrorBody {
            message: "No.".into(),
            status: StatusCode::BAD_REQUEST,
            param: Some("model"),
            code: None,
            request_id: Some("req_1"),
        };
        let body = |error: &ErrorBody<'_>| String::from_utf8(Front::error(&Cohere, error.status, error));
        assert_eq!(body(&error).as_deref(), Ok(r#"{"id":"req_1","message":"No."}"#));
        error.request_id = None;
        assert_eq!(body(&error).as_deref(), Ok(r#"{"message":"No."}"#));
    }
}
