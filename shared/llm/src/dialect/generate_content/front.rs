//! The callers' side: addresses, and the way of bytes between two ends that both speak this protocol.
//!
//! `POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`, under `/v1` too. The model may
//! hold slashes and colons, plain or percent-encoded. A stream is server-sent events with `?alt=sse`, and one
//! JSON list without. Google is always asked for events: for a caller who wants a list the very bytes of each
//! event become an element of it (see [`super::array`]).

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::value::RawValue;

use super::{GenerateContent, answer, array, parse, request::url, write};
use crate::{
    Error, Target, UpstreamError,
    chat::{Event, Request},
    dialect::{Encoded, SseDecoder, post},
    front::{ErrorBody, Framing, Front, Head, Peek, Writer},
    peek,
    provider::Api,
    relay::{Relay, Summary},
    sse::Splitter,
    translate::{self, Observe},
};

impl Front for GenerateContent {
    fn api(&self) -> Api {
        Api::GenerateContent
    }

    fn peek<'a>(&self, path: &'a str, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        let address = address(path)?;
        Ok(Peek {
            model: address.model,
            stream: address.framing.is_some(),
            include_usage: true,
            user: None,
            choices: choices(body)?,
            framing: address.framing.unwrap_or_default(),
            model_at: None,
            usage_wish: None,
        })
    }

    fn parse(&self, peek: &Peek<'_>, body: &[u8]) -> Result<Request, Error> {
        let request = parse::parse(body)?;
        Ok(Request {
            model: peek.model.clone().into_owned(),
            stream: peek.stream,
            include_usage: peek.include_usage,
            ..request
        })
    }

    fn forward(
        &self,
        body: &[u8],
        peek: &Peek<'_>,
        headers: &HeaderMap,
        target: &Target<'_>,
    ) -> Result<Encoded, Error> {
        let request = post(url(target, peek.stream), target, Bytes::copy_from_slice(body))?;
        Ok(Encoded::forwarded(request, headers, target))
    }

    fn summary(&self, body: &[u8]) -> Result<Summary, UpstreamError> {
        answer::observed(body).map(|events| translate::summary(&events))
    }

    fn forwarder(&self, peek: &Peek<'_>, request_id: &str) -> Box<dyn Relay> {
        if peek.framing == Framing::List {
            return Box::new(array::Relist::new(request_id));
        }
        let decoder = Box::new(SseDecoder::new(answer::Reader::observing()));
        let head = Head { id: request_id, created: 0, model: &peek.model };
        let writer = Box::new(write::Stream::new(&head, Framing::Events));
        Box::new(Observe::new(Splitter::default(), decoder, writer, request_id))
    }

    fn whole(&self, head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
        write::whole(head, events)
    }

    fn writer(&self, head: &Head<'_>, peek: &Peek<'_>) -> Box<dyn Writer> {
        Box::new(write::Stream::new(head, peek.framing))
    }

    fn stream_type(&self, peek: &Peek<'_>) -> &'static str {
        match peek.framing {
            Framing::Events => "text/event-stream; charset=utf-8",
            Framing::List => "application/json",
        }
    }

    fn labels(&self) -> &'static str {
        "labels"
    }

    fn error(&self, status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        write::error(status, error)
    }
}

/// What the address says.
#[derive(Debug, PartialEq)]
struct Address<'a> {
    model: Cow<'a, str>,
    /// Absent for a whole answer.
    framing: Option<Framing>,
}

fn address(path: &str) -> Result<Address<'_>, Error> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let rest = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"));
    let rest = rest.ok_or_else(|| Error::invalid("model", PATHS))?;
    let rest = peek::decoded(rest).ok_or_else(|| {
        Error::invalid("model", "The model in the address must be UTF-8, percent-encoded where needed.")
    })?;
    // A model's own name may hold a colon (`ollama/llama3:8b`).
    let (model, method) = match rest {
        Cow::Borrowed(rest) => {
            rest.rsplit_once(':').map(|(model, method)| (Cow::Borrowed(model), Cow::Borrowed(method)))
        }
        Cow::Owned(rest) => rest
            .rsplit_once(':')
            .map(|(model, method)| (Cow::Owned(model.to_owned()), Cow::Owned(method.to_owned()))),
    }
    .ok_or_else(|| Error::invalid("model", PATHS))?;
    let framing = match &*method {
        "generateContent" => None,
        "streamGenerateContent" => Some(alt(query)?),
        _ => {
            let message = format!("The method `{}` is not supported. {PATHS}", shown(&method));
            return Err(Error::invalid("model", message));
        }
    };
    if model.is_empty() {
        return Err(Error::invalid("model", format!("The address names no model. {PATHS}")));
    }
    Ok(Address { model, framing })
}

/// The framing the query asks for.
fn alt(query: &str) -> Result<Framing, Error> {
    let mut framing = Framing::List;
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        if !matches!(name, "alt" | "$alt" | "%24alt") {
            continue;
        }
        framing = match value {
            "sse" => Framing::Events,
            "json" => Framing::List,
            _ => return Err(Error::invalid("alt", "`alt` must be `sse` or `json`.")),
        };
    }
    Ok(framing)
}

/// The beginning of what a caller wrote, for a message.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// How many answers are asked for. Makes sure that the body can be a request at all, and names no model.
fn choices(body: &[u8]) -> Result<u64, Error> {
    const NAMES: [&str; 4] = ["contents", "model", "generationConfig", "generation_config"];
    let [contents, model, config, spelled] = peek::fields(body, NAMES, 4)?;
    if peek::is_set(model) {
        let message = "`model` is named in the address. Leave it out of the body.";
        return Err(Error::invalid("model", message));
    }
    if !contents.is_some_and(|contents| contents.get().starts_with(['[', '{'])) {
        return Err(Error::invalid("contents", "`contents` is required and must be a list."));
    }
    let Some(config) = either("generationConfig", config, spelled)? else { return Ok(1) };
    if !config.get().starts_with('{') {
        return Err(Error::invalid("generationConfig", "`generationConfig` must be an object."));
    }
    let [count, spelled] = peek::fields(config.get().as_bytes(), ["candidateCount", "candidate_count"], 2)?;
    let count = either("candidateCount", count, spelled)?;
    // Whether it is a number at all is the provider's to say.
    let count = count.and_then(|count| count.get().trim_matches('"').parse().ok());
    Ok(count.unwrap_or(1).max(1))
}

/// A field in one of its two spellings.
fn either<'a>(
    name: &str,
    camel: Option<&'a RawValue>,
    snake: Option<&'a RawValue>,
) -> Result<Option<&'a RawValue>, Error> {
    if camel.is_some() && snake.is_some() {
        return Err(Error::invalid(name, format!("`{name}` occurs twice, in two spellings.")));
    }
    Ok(camel.or(snake).filter(|value| value.get() != "null"))
}

const PATHS: &str = "Supported are POST /v1beta/models/{model}:generateContent and \
                     /v1beta/models/{model}:streamGenerateContent.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ErrorClass, Usage, provider,
        relay::{Ending, Passed},
    };

    const BODY: &[u8] = br#"{"contents":[{"parts":[{"text":"Hi"}]}],"x":1.50}"#;
    const SSE: &str = "/v1beta/models/a/b:streamGenerateContent?alt=sse";
    const LIST: &str = "/v1beta/models/a/b:streamGenerateContent";

    fn peek(path: &str) -> Peek<'_> {
        GenerateContent.peek(path, BODY).expect("valid")
    }

    #[test]
    fn addresses_name_model_and_method() {
        let (events, list) = (Some(Framing::Events), Some(Framing::List));
        let cases = [
            ("/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash", None),
            ("/v1/models/openai/gpt-5:generateContent?key=k", "openai/gpt-5", None),
            ("/v1beta/models/openai%2Fgpt-5:streamGenerateContent?alt=sse", "openai/gpt-5", events),
            ("/v1beta/models/ollama/llama3:8b:streamGenerateContent", "ollama/llama3:8b", list),
            (
                "/v1beta/models/ollama%2fllama3%3A8b%3AstreamGenerateContent?key=k&%24alt=sse",
                "ollama/llama3:8b",
                events,
            ),
            ("/v1beta/models/m:streamGenerateContent?alt=json", "m", list),
        ];
        for (path, model, framing) in cases {
            assert_eq!(address(path), Ok(Address { model: model.into(), framing }), "{path}");
        }
        let wrong = [
            ("/v1beta/models/m:countTokens", "model"),
            ("/v1beta/models/m:embedContent", "model"),
            ("/v1beta/models/m", "model"),
            ("/v1beta/models/:generateContent", "model"),
            ("/v1beta/models/%zz:generateContent", "model"),
            ("/v1beta/models/%f:generateContent", "model"),
            ("/v1beta/models/%FF:generateContent", "model"),
            ("/v1beta/models/m%", "model"),
            ("/v2/models/m:generateContent", "model"),
            ("", "model"),
            ("/v1beta/models/m:streamGenerateContent?alt=proto", "alt"),
        ];
        for (path, field) in wrong {
            let Err(Error::Invalid { param, message }) = address(path) else { panic!("{path} was accepted") };
            assert_eq!(param.as_deref(), Some(field), "{message}");
        }
        let Err(Error::Invalid { message, .. }) = address("/v1beta/models/m:countTokens") else { panic!() };
        assert!(message.contains("`countTokens`") && message.contains(":streamGenerateContent"), "{message}");
    }

    #[test]
    fn a_peek_reads_no_more_than_it_must() {
        let whole = peek("/v1beta/models/a%2Fb:generateContent");
        let expected = Peek { model: "a/b".into(), include_usage: true, choices: 1, ..Peek::default() };
        assert_eq!(whole, expected);
        assert_eq!(GenerateContent.stream_type(&peek(SSE)), "text/event-stream; charset=utf-8");
        assert_eq!(GenerateContent.stream_type(&peek(LIST)), "application/json");
        let cases = [
            (r#"{"contents":[],"generationConfig":{"candidateCount":3}}"#, Ok(3)),
            (r#"{"contents":{},"generation_config":{"candidate_count":"2"}}"#, Ok(2)),
            (r#" {"contents":[],"generationConfig":null}"#, Ok(1)),
            (r#"{"contents":[],"generationConfig":{"candidateCount":"x"}}"#, Ok(1)),
            ("", Err(None)),
            ("[[]]", Err(None)),
            (r#"{"contents":[]"#, Err(None)),
            ("{}", Err(Some("contents"))),
            (r#"{"contents":"Hi"}"#, Err(Some("contents"))),
            (r#"{"contents":[],"contents":[]}"#, Err(Some("contents"))),
            (r#"{"contents":[],"generationConfig":[]}"#, Err(Some("generationConfig"))),
            (
                r#"{"contents":[],"generationConfig":{},"generation_config":{}}"#,
                Err(Some("generationConfig")),
            ),
            (
                r#"{"contents":[],"generationConfig":{},"generation\u0043onfig":{}}"#,
                Err(Some("generationConfig")),
            ),
            (
                r#"{"contents":[],"generationConfig":{"candidateCount":1,"candidate_count":8}}"#,
                Err(Some("candidateCount")),
            ),
            (r#"{"contents":[],"model":null}"#, Ok(1)),
            (r#"{"contents":[],"model":"models/other"}"#, Err(Some("model"))),
            (r#"{"contents":[],"m\u006fdel":"models/other"}"#, Err(Some("model"))),
            (r#"{"contents":[],"Model":"models/other"}"#, Err(Some("model"))),
        ];
        for (body, expected) in cases {
            let read = choices(body.as_bytes()).map_err(|error| match error {
                Error::Invalid { param, .. } => param,
                other => panic!("{other}"),
            });
            assert_eq!(read, expected.map_err(|param| param.map(str::to_owned)), "{body}");
        }
    }

    #[test]
    fn the_callers_bytes_go_on_under_the_targets_name() {
        let provider = provider::find("gemini").expect("listed");
        let target =
            Target { provider, model: "models/x y", base_url: "https://e.com", credential: Some("k") };
        let cases = [
            (SSE, "https://e.com/v1beta/models/x%20y:streamGenerateContent?alt=sse"),
            (LIST, "https://e.com/v1beta/models/x%20y:streamGenerateContent?alt=sse"),
            ("/v1/models/m:generateContent?key=secret", "https://e.com/v1beta/models/x%20y:generateContent"),
        ];
        for (path, url) in cases {
            let request =
                GenerateContent.forward(BODY, &peek(path), &HeaderMap::new(), &target).expect("said").request;
            assert_eq!((request.uri().to_string().as_str(), &request.body()[..]), (url, BODY));
            assert_eq!(request.headers()["x-goog-api-key"], "k");
        }
        let request = GenerateContent.parse(&peek(LIST), BODY).expect("valid");
        assert_eq!((request.model.as_str(), request.stream, request.include_usage), ("a/b", true, true));
    }

    const CHUNKS: [&str; 3] = [
        r#"{"candidates":[{"content":{"parts":[{"text":"Grüß"}],"role":"model"},"index":0,"safetyRatings":[1.50]}],"modelVersion":"g","responseId":"r"}"#,
        r#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}],"role":"model"}}],"modelVersion":"g"}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{}}}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}}"#,
    ];

    fn stream(chunks: &[&str]) -> String {
        chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect()
    }

    fn relayed(path: &str, pieces: &[&[u8]], ending: Ending) -> (String, Summary) {
        let mut relay = GenerateContent.forwarder(&peek(path), "req_1");
        let mut all = Vec::new();
        for piece in pieces {
            let mut out = Vec::new();
            match relay.chunk(piece, &mut out) {
                Passed::AsIs => all.extend_from_slice(piece),
                Passed::Instead => all.append(&mut out),
            }
        }
        relay.end(ending, &mut all);
        (String::from_utf8(all).expect("UTF-8"), relay.summary().clone())
    }

    #[test]
    fn a_stream_is_passed_on_wherever_it_is_cut() {
        let stream = stream(&CHUNKS);
        let summary = Summary {
            response_model: Some("g".to_owned()),
            usage: Some(Usage { input_tokens: 3, output_tokens: 2, ..Usage::default() }),
            finish_reason: Some("tool_calls".to_owned()),
            native_finish_reason: Some("STOP".to_owned()),
            error: None,
        };
        let list = format!("[{}]", CHUNKS.join(",\r\n"));
        let bytes = stream.as_bytes();
        for cut in 0..=bytes.len() {
            let pieces = [&bytes[..cut], &bytes[cut..]];
            for (path, expected) in [(SSE, &stream), (LIST, &list)] {
                let (out, found) = relayed(path, &pieces, Ending::Closed);
                assert_eq!((out.as_str(), &found), (expected.as_str(), &summary), "cut at {cut}");
            }
        }
        let late = Ending::Failed(UpstreamError::new(ErrorClass::Timeout, "Silence."));
        assert_eq!(relayed(LIST, &[bytes], late), (list.clone(), summary.clone()));
        // The last event may lack its blank line.
        assert_eq!(relayed(LIST, &[bytes.trim_ascii_end()], Ending::Closed), (list, summary));
    }

    #[test]
    fn a_stream_without_its_end_ends_in_an_error() {
        let half = stream(&CHUNKS[..1]);
        let failed = || Ending::Failed(UpstreamError::new(ErrorClass::Timeout, "Silence."));
        let cases = [
            (half.clone(), Ending::Closed, ErrorClass::Truncated),
            (String::new(), Ending::Closed, ErrorClass::Truncated),
            (half.clone(), failed(), ErrorClass::Timeout),
            (format!("{half}data: <html>\r\n\r\n"), Ending::Closed, ErrorClass::Garbled),
            (
                format!(
                    "{half}data: {{\"error\":{{\"code\":503,\"message\":\"Busy.\",\"status\":\"UNAVAILABLE\"}}}}\r\n\r\n"
                ),
                Ending::Closed,
                ErrorClass::Overloaded,
            ),
        ];
        for (stream, ending, class) in cases {
            let (list, summary) = relayed(LIST, &[stream.as_bytes()], ending.clone());
            let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
            let last = list.as_array().and_then(|list| list.last()).expect("an element");
            assert!(last["error"]["code"].is_u64(), "{list}");
            assert_eq!(summary.error.map(|error| error.class), Some(class));
            let (events, summary) = relayed(SSE, &[stream.as_bytes()], ending);
            assert_eq!(summary.error.map(|error| error.class), Some(class));
            assert!(events.ends_with("\r\n\r\n"), "{events}");
        }
    }

    #[test]
    fn a_whole_answer_is_summed_up() {
        let summary = GenerateContent.summary(CHUNKS[2].as_bytes()).expect("an answer");
        assert_eq!(summary.finish_reason.as_deref(), Some("tool_calls"));
        let picture =
            CHUNKS[1].replace("\"role\":\"model\"}}]", "\"role\":\"model\"},\"finishReason\":\"STOP\"}]");
        let summary = GenerateContent.summary(picture.as_bytes()).expect("an answer");
        assert_eq!(summary.finish_reason.as_deref(), Some("stop"));
        for body in ["", "<html>", "{}"] {
            let error = GenerateContent.summary(body.as_bytes()).expect_err("no answer");
            assert_eq!(error.class, ErrorClass::Garbled);
        }
    }
}
