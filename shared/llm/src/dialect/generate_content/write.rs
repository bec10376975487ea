//! Unified events, as the Gemini answer a caller expects: whole, or as a stream.
//!
//! A chunk of a stream has the shape of a whole answer. Tool calls come with the last one: their arguments
//! arrive in pieces, and Gemini has no half a call. So do usage and sources. A call whose arguments are no JSON
//! object is told as Gemini tells its own: `MALFORMED_FUNCTION_CALL`, without the call.
//!
//! A signature of another provider travels as a thought's, marked, in base64 as clients expect it
//! ([`foreign`]); `parse` takes the mark off again.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::{SIGNATURE_PREFIX, answer};
use crate::{
    ServiceTier, UpstreamError, Usage,
    chat::{Citation, Event, FinishReason},
    dialect::{add_name, arguments, some},
    front::{ErrorBody, Framing, Head, Writer},
};

/// A whole answer. The error is the one among the events, or that they have no end.
pub(super) fn whole(head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
    let mut parts = Vec::new();
    let mut rest = Rest::default();
    for event in events {
        if let Event::Error(error) = event {
            return Err(error.clone());
        }
        rest.take(event, &mut parts);
    }
    if rest.finish.is_none() {
        return Err(UpstreamError::truncated());
    }
    Ok(rest.last(parts, head.id, head.model))
}

/// Writes one streamed answer.
#[derive(Debug)]
pub(super) struct Stream {
    id: String,
    model: String,
    framer: Framer,
    rest: Rest,
    is_over: bool,
}

impl Stream {
    pub(super) fn new(head: &Head<'_>, framing: Framing) -> Self {
        Self {
            id: head.id.to_owned(),
            model: head.model.to_owned(),
            framer: Framer { framing, begun: false },
            rest: Rest::default(),
            is_over: false,
        }
    }
}

impl Writer for Stream {
    /// What comes at once goes into one chunk.
    fn events(&mut self, events: &[Event], out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        let mut parts = Vec::new();
        let mut failure = None;
        for event in events {
            if let Event::Error(error) = event {
                failure = Some(error);
                break;
            }
            self.rest.take(event, &mut parts);
        }
        if !parts.is_empty() {
            let chunk = Answer {
                candidates: [Candidate { content: Content::of(&parts), ..Candidate::default() }],
                usage_metadata: None,
                model_version: &self.model,
                response_id: &self.id,
            };
            self.framer.put(&bytes(&chunk), out);
        }
        if let Some(error) = failure {
            self.fail(&ErrorBody::upstream(error, None), out);
        }
    }

    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        if !self.is_over {
            self.is_over = true;
            self.framer.fail(error, out);
        }
    }

    fn done(&mut self, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        if self.rest.finish.is_some() {
            let last = self.rest.last(Vec::new(), &self.id, &self.model);
            self.framer.put(&last, out);
        }
        self.framer.close(out);
    }

    fn is_finished(&self) -> bool {
        self.rest.finish.is_some()
    }
}

/// Sets chunks one after the other.
#[derive(Debug)]
pub(super) struct Framer {
    framing: Framing,
    begun: bool,
}

impl Framer {
    pub(super) fn list() -> Self {
        Self { framing: Framing::List, begun: false }
    }

    pub(super) fn put(&mut self, json: &[u8], out: &mut Vec<u8>) {
        let (before, after): (&[u8], &[u8]) = match (self.framing, self.begun) {
            (Framing::Events, _) => (b"data: ", b"\r\n\r\n"),
            (Framing::List, false) => (b"[", b""),
            (Framing::List, true) => (b",\r\n", b""),
        };
        self.begun = true;
        out.extend_from_slice(before);
        out.extend_from_slice(json);
        out.extend_from_slice(after);
    }

    pub(super) fn fail(&mut self, body: &ErrorBody<'_>, out: &mut Vec<u8>) {
        self.put(&error(body.status, body), out);
        self.close(out);
    }

    /// Events need no goodbye.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        if self.framing == Framing::List {
            out.extend_from_slice(if self.begun { b"]" } else { b"[]" });
        }
    }
}

/// What the last chunk says.
#[derive(Debug, Default)]
struct Rest {
    calls: Vec<Call>,
    citations: Vec<Citation>,
    logprobs: Vec<Value>,
    usage: Option<Usage>,
    finish: Option<(FinishReason, String)>,
    /// What of the provider's answer is not in this one.
    lost: String,
    refused: bool,
}

#[derive(Debug)]
struct Call {
    id: String,
    name: String,
    arguments: String,
    signature: Option<String>,
}

impl Rest {
    /// Adds to the parts what is said at once, and keeps the rest.
    fn take(&mut self, event: &Event, parts: &mut Vec<Said>) {
        match event {
            Event::Citation(citation) => self.citations.push(citation.clone()),
            Event::Finish { reason, native } if self.finish.is_none() => {
                self.finish = Some((*reason, native.clone()));
            }
            // Gemini does not say which stop text it was.
            Event::Error(_) | Event::Finish { .. } | Event::Start { .. } | Event::StopText(_) => {}
            Event::Unsaid { name, .. } => add_name(&mut self.lost, name),
            Event::Logprobs(tokens) => self.logprobs.extend_from_slice(tokens),
            Event::Reasoning(text) => say(parts, true, text),
            Event::ReasoningRedacted(data) => {
                let signature = Some(foreign(REDACTED_MARK, data));
                parts.push(Said { text: String::new(), thought: true, signature });
            }
            Event::ReasoningSignature(signature) => sign(parts, signature),
            Event::Refusal(text) => {
                self.refused = true;
                say(parts, false, text);
            }
            Event::Text(text) => say(parts, false, text),
            Event::ToolArguments { index, text } => {
                if let Some(call) = self.calls.get_mut(*index as usize) {
                    call.arguments.push_str(text);
                }
            }
            Event::ToolCall { id, name, signature, .. } => self.calls.push(Call {
                id: id.clone(),
                name: name.clone(),
                arguments: String::new(),
                signature: signature.clone(),
            }),
            Event::Usage(usage) => self.usage = Some(*usage),
        }
    }

    /// A whole answer, or the last chunk of one.
    fn last(&self, said: Vec<Said>, id: &str, model: &str) -> Vec<u8> {
        let mut finish_reason = self.finish_reason();
        let mut finish_message = None;
        let mut content = Content::of(&said);
        for call in &self.calls {
            match arguments(&call.arguments) {
                Some(args) => content.parts.push(Part {
                    function_call: Some(FunctionCall { id: &call.id, name: &call.name, args }),
                    thought_signature: call.signature.as_deref(),
                    ..Part::default()
                }),
                // Cut within the call; the reason says so.
                None if finish_reason == "MAX_TOKENS" => {}
                None => {
                    finish_reason = "MALFORMED_FUNCTION_CALL";
                    finish_message = Some(format!(
                        "The arguments of the call of `{}` are not a JSON object: {}",
                        call.name, call.arguments
                    ));
                }
            }
        }
        if content.parts.is_empty() {
            content.parts.push(Part { text: Some(""), ..Part::default() });
        }
        // In words, as Google has it.
        let native = self.finish.as_ref().map_or("", |(_, native)| native);
        let own = FinishReason::own_word(native, finish_reason);
        let lost = some(&self.lost).map(|names| format!("Left out of the provider's answer: {names}."));
        let own = own.map(|word| format!("The provider's own reason is `{word}`."));
        let said: Vec<String> = [finish_message.or(own), lost].into_iter().flatten().collect();
        let finish_message = (!said.is_empty()).then(|| said.join(" "));
        let candidate = Candidate {
            content,
            finish_reason: Some(finish_reason),
            finish_message,
            index: 0,
            grounding_metadata: grounding(&self.citations),
            logprobs_result: (!self.logprobs.is_empty()).then(|| logprobs(&self.logprobs)),
        };
        bytes(&Answer {
            candidates: [candidate],
            usage_metadata: self.usage.as_ref().map(UsageMetadata::from),
            model_version: model,
            response_id: id,
        })
    }

    /// The provider's own word, where it is Gemini's too and means the same.
    fn finish_reason(&self) -> &'static str {
        let Some((reason, native)) = &self.finish else { return "OTHER" };
        let reason = match reason {
            FinishReason::ToolCalls => FinishReason::Stop,
            FinishReason::Stop if self.refused => FinishReason::ContentFilter,
            other => *other,
        };
        let own = WORDS.iter().find(|word| *word == native);
        if let Some(own) = own.filter(|word| answer::finish_reason(word, false) == reason) {
            return own;
        }
        match reason {
            FinishReason::ContentFilter => "SAFETY",
            FinishReason::Length => "MAX_TOKENS",
            FinishReason::Stop | FinishReason::ToolCalls => "STOP",
        }
    }
}

/// A piece of text or thought.
#[derive(Debug)]
struct Said {
    text: String,
    thought: bool,
    signature: Option<String>,
}

/// Appends to the last piece, where it is of the same kind and not signed.
fn say(parts: &mut Vec<Said>, thought: bool, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(last) if last.thought == thought && last.signature.is_none() => last.text.push_str(text),
        _ => parts.push(Said { text: text.to_owned(), thought, signature: None }),
    }
}

/// Gemini's own signature stands on text, another's on the thought it is of.
fn sign(parts: &mut Vec<Said>, signature: &str) {
    let (thought, signature) = match signature.strip_prefix(SIGNATURE_PREFIX) {
        Some(own) => (false, own.to_owned()),
        None => (true, foreign(SIGNED_MARK, signature)),
    };
    match parts.last_mut() {
        Some(last) if last.thought == thought && last.signature.is_none() => last.signature = Some(signature),
        _ => parts.push(Said { text: String::new(), thought, signature: Some(signature) }),
    }
}

/// Another provider's signature or encrypted thought, in the form of Gemini's: some clients read base64.
pub(super) fn foreign(mark: &str, signature: &str) -> String {
    STANDARD.encode(format!("{mark}{signature}"))
}

/// Before another provider's signature of a readable thought.
pub(super) const SIGNED_MARK: &str = "signed:";
/// Before another provider's encrypted thought.
pub(super) const REDACTED_MARK: &str = "redacted:";

/// Arguments, which must be an object. On one line, as an event's data must be.
fn arguments(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(answer::compact(arguments::object(text)?.get())).ok()
}

fn grounding(citations: &[Citation]) -> Option<GroundingMetadata<'_>> {
    if citations.is_empty() {
        return None;
    }
    let web = |citation: &'_ Citation| -> bool { citation.url.is_some() || citation.title.is_some() };
    let mut metadata = GroundingMetadata { grounding_chunks: Vec::new(), grounding_supports: Vec::new() };
    for citation in citations {
        let mut grounding_chunk_indices = Vec::new();
        if web(citation) {
            let web = Web { uri: citation.url.as_deref(), title: citation.title.as_deref() };
            grounding_chunk_indices.push(metadata.grounding_chunks.len());
            metadata.grounding_chunks.push(GroundingChunk { web });
        }
        let support = citation
            .quote
            .as_deref()
            .map(|text| GroundingSupport { segment: Segment { text }, grounding_chunk_indices });
        metadata.grounding_supports.extend(support);
    }
    Some(metadata)
}

/// Probabilities of tokens, in Gemini's shape.
fn logprobs(tokens: &[Value]) -> Value {
    let candidate = |token: &Value| json!({ "token": token["token"], "logProbability": token["logprob"] });
    let others = |token: &Value| {
        let others = token["top_logprobs"].as_array().into_iter().flatten();
        json!({ "candidates": others.map(candidate).collect::<Vec<_>>() })
    };
    json!({
        "chosenCandidates": tokens.iter().map(candidate).collect::<Vec<_>>(),
        "topCandidates": tokens.iter().map(others).collect::<Vec<_>>(),
    })
}

/// The body of an answer that is an error. The code and the request's id are in `details`.
pub(super) fn error(status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
    let mut details = Vec::new();
    details.extend(error.code.map(|reason| Detail::ErrorInfo { reason, domain: "hypergate" }));
    details.extend(error.param.map(|field| Detail::BadRequest { field_violations: [Violation { field }] }));
    details.extend(error.request_id.map(|request_id| Detail::RequestInfo { request_id }));
    let error =
        Failure { code: status.as_u16(), message: &error.message, status: status_name(status), details };
    bytes(&Wrapped { error })
}

/// Google's name for a status of ours.
fn status_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        402 | 429 => "RESOURCE_EXHAUSTED",
        400..500 => "INVALID_ARGUMENT",
        503 => "UNAVAILABLE",
        _ => "INTERNAL",
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers into memory cannot fail")
}

/// Gemini's words for an end that is no failure.
const WORDS: &[&str] = &[
    "BLOCKLIST",
    "CONTINUATION",
    "ESCALATION",
    "IMAGE_OTHER",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "IMAGE_SAFETY",
    "LANGUAGE",
    "MAX_TOKENS",
    "NO_IMAGE",
    "OTHER",
    "PROHIBITED_CONTENT",
    "RECITATION",
    "SAFETY",
    "SPII",
    "STOP",
];

// --- wire ---

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    candidates: [Candidate<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_metadata: Option<UsageMetadata>,
    model_version: &'a str,
    response_id: &'a str,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_message: Option<String>,
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    grounding_metadata: Option<GroundingMetadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs_result: Option<Value>,
}

#[derive(Default, Serialize)]
struct Content<'a> {
    parts: Vec<Part<'a>>,
    role: Model,
}

/// The only one who answers.
#[derive(Default, Serialize)]
#[serde(rename_all = "lowercase")]
enum Model {
    #[default]
    Model,
}

impl<'a> Content<'a> {
    fn of(said: &'a [Said]) -> Self {
        let part = |said: &'a Said| Part {
            text: Some(&said.text),
            thought: said.thought,
            thought_signature: said.signature.as_deref(),
            function_call: None,
        };
        Self { parts: said.iter().map(part).collect(), role: Model::Model }
    }
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    id: &'a str,
    name: &'a str,
    args: Box<RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroundingMetadata<'a> {
    grounding_chunks: Vec<GroundingChunk<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    grounding_supports: Vec<GroundingSupport<'a>>,
}

#[derive(Serialize)]
struct GroundingChunk<'a> {
    web: Web<'a>,
}

#[derive(Serialize)]
struct Web<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroundingSupport<'a> {
    segment: Segment<'a>,
    grounding_chunk_indices: Vec<usize>,
}

#[derive(Serialize)]
struct Segment<'a> {
    text: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageMetadata {
    prompt_token_count: u64,
    candidates_token_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    thoughts_token_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cached_content_token_count: u64,
    total_token_count: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prompt_tokens_details: Vec<ModalityCount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates_tokens_details: Vec<ModalityCount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic_type: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModalityCount {
    modality: &'static str,
    token_count: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl From<&Usage> for UsageMetadata {
    /// Cached tokens are inside the prompt's, thought tokens outside the candidates'.
    fn from(usage: &Usage) -> Self {
        let candidates = usage.output_tokens.saturating_sub(usage.reasoning_output_tokens);
        let details = |kinds: [(&'static str, u64); 3], all: u64| {
            let other = kinds.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
            let text = all.saturating_sub(other);
            let kinds =
                [("TEXT", text)].into_iter().chain(kinds).filter(|(_, count)| other > 0 && *count > 0);
            kinds.map(|(modality, token_count)| ModalityCount { modality, token_count }).collect()
        };
        let prompt = [
            ("AUDIO", usage.audio_input_tokens),
            ("IMAGE", usage.image_input_tokens),
            ("VIDEO", usage.video_input_tokens),
        ];
        let answer = [
            ("AUDIO", usage.audio_output_tokens),
            ("IMAGE", usage.image_output_tokens),
            ("VIDEO", usage.video_output_tokens),
        ];
        Self {
            prompt_token_count: usage.input_tokens,
            candidates_token_count: candidates,
            thoughts_token_count: usage.reasoning_output_tokens,
            cached_content_token_count: usage.cache_read_input_tokens,
            total_token_count: usage.input_tokens.saturating_add(usage.output_tokens),
            prompt_tokens_details: details(prompt, usage.input_tokens),
            candidates_tokens_details: details(answer, candidates),
            traffic_type: match usage.tier {
                ServiceTier::Flex => Some("ON_DEMAND_FLEX"),
                ServiceTier::Priority => Some("ON_DEMAND_PRIORITY"),
                // As standard counts what a provider does not name, so that is not said.
                ServiceTier::Batch | ServiceTier::Standard => None,
            },
        }
    }
}

#[derive(Serialize)]
struct Wrapped<'a> {
    error: Failure<'a>,
}

#[derive(Serialize)]
struct Failure<'a> {
    code: u16,
    message: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "@type")]
enum Detail<'a> {
    #[serde(rename = "type.googleapis.com/google.rpc.ErrorInfo")]
    ErrorInfo { reason: &'a str, domain: &'a str },
    #[serde(rename = "type.googleapis.com/google.rpc.BadRequest", rename_all = "camelCase")]
    BadRequest { field_violations: [Violation<'a>; 1] },
    #[serde(rename = "type.googleapis.com/google.rpc.RequestInfo", rename_all = "camelCase")]
    RequestInfo { request_id: &'a str },
}

#[derive(Serialize)]
struct Violation<'a> {
    field: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorClass;

    const HEAD: Head<'_> = Head { id: "r1", created: 0, model: "a/b" };

    fn finish(reason: FinishReason, native: &str) -> Event {
        Event::Finish { reason, native: native.to_owned() }
    }

    fn call(index: u32, id: &str, signature: Option<&str>) -> Event {
        let (id, signature) = (id.to_owned(), signature.map(str::to_owned));
        Event::ToolCall { index, id, name: "weather".to_owned(), signature }
    }

    fn arguments(index: u32, text: &str) -> Event {
        Event::ToolArguments { index, text: text.to_owned() }
    }

    fn rich() -> Vec<Event> {
        vec![
            Event::Start { id: None, model: None },
            Event::Reasoning("H".to_owned()),
            Event::Reasoning("m.".to_owned()),
            Event::ReasoningSignature("sig".to_owned()),
            Event::Text("Let ".to_owned()),
            Event::Text("me.".to_owned()),
            call(0, "t1", Some("Z3M=")),
            arguments(0, "{\"city\":\n"),
            call(1, "t2", None),
            arguments(1, ""),
            arguments(0, " \"Pa\\nris\"}"),
            finish(FinishReason::ToolCalls, "tool_use"),
            Event::Usage(Usage {
                input_tokens: 10,
                cache_read_input_tokens: 4,
                output_tokens: 9,
                reasoning_output_tokens: 5,
                ..Usage::default()
            }),
        ]
    }

    const CALLS: &str = r#"{"functionCall":{"id":"t1","name":"weather","args":{"city":"Pa\nris"}},"thoughtSignature":"Z3M="},{"functionCall":{"id":"t2","name":"weather","args":{}}}"#;
    const END: &str = r#""role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":4,"thoughtsTokenCount":5,"cachedContentTokenCount":4,"totalTokenCount":19},"modelVersion":"a/b","responseId":"r1"}"#;

    fn written(framing: Framing, batches: &[&[Event]]) -> String {
        let mut stream = Stream::new(&HEAD, framing);
        let mut out = Vec::new();
        for events in batches {
            stream.events(events, &mut out);
        }
        stream.done(&mut out);
        stream.done(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn answered(events: &[Event]) -> Value {
        let answer = whole(&HEAD, events).expect("whole");
        serde_json::from_slice(&answer).expect("JSON")
    }

    #[test]
    fn a_whole_answer() {
        let answer = whole(&HEAD, &rich()).expect("whole");
        let said =
            r#"{"text":"Hm.","thought":true,"thoughtSignature":"c2lnbmVkOnNpZw=="},{"text":"Let me."}"#;
        let expected = format!(r#"{{"candidates":[{{"content":{{"parts":[{said},{CALLS}],{END}"#);
        assert_eq!(String::from_utf8_lossy(&answer), expected);
        let cut = whole(&HEAD, &[Event::Text("x".to_owned())]);
        assert_eq!(cut.map_err(|error| error.class), Err(ErrorClass::Truncated));
    }

    #[test]
    fn a_stream_as_events_and_as_a_list() {
        let events = rich();
        let batches: Vec<&[Event]> = events.chunks(1).collect();
        let chunk = |part: &str| {
            format!(
                r#"{{"candidates":[{{"content":{{"parts":[{part}],"role":"model"}},"index":0}}],"modelVersion":"a/b","responseId":"r1"}}"#
            )
        };
        let chunks = [
            chunk(r#"{"text":"H","thought":true}"#),
            chunk(r#"{"text":"m.","thought":true}"#),
            chunk(r#"{"text":"","thought":true,"thoughtSignature":"c2lnbmVkOnNpZw=="}"#),
            chunk(r#"{"text":"Let "}"#),
            chunk(r#"{"text":"me."}"#),
            format!(r#"{{"candidates":[{{"content":{{"parts":[{CALLS}],{END}"#),
        ];
        let events: String = chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect();
        assert_eq!(written(Framing::Events, &batches), events);
        let list = written(Framing::List, &batches);
        assert_eq!(list, format!("[{}]", chunks.join(",\r\n")));
        assert!(serde_json::from_str::<Value>(&list).is_ok());
    }

    #[test]
    fn a_stream_that_fails() {
        let error = ErrorBody {
            message: "Ouch.".into(),
            status: StatusCode::BAD_GATEWAY,
            param: None,
            code: Some("upstream_error"),
            request_id: None,
        };
        let failure = r#"{"error":{"code":502,"message":"Ouch.","status":"INTERNAL","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"upstream_error","domain":"hypergate"}]}}"#;
        let cases =
            [(Framing::Events, format!("data: {failure}\r\n\r\n")), (Framing::List, format!("[{failure}]"))];
        for (framing, expected) in cases {
            let mut stream = Stream::new(&HEAD, framing);
            let mut out = Vec::new();
            // A call that was not told whole is not told at all.
            stream.events(&[call(0, "t1", None), arguments(0, "{")], &mut out);
            stream.fail(&error, &mut out);
            stream.fail(&error, &mut out);
            stream.events(&rich(), &mut out);
            stream.done(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        let mut out = Vec::new();
        let mut stream = Stream::new(&HEAD, Framing::List);
        stream.events(&[Event::Text("x".to_owned())], &mut out);
        stream.fail(&error, &mut out);
        let list: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!((list.as_array().map(Vec::len), &list[1]["error"]["code"]), (Some(2), &502.into()));
    }

    #[test]
    fn ends_are_told_in_geminis_words() {
        use FinishReason::{ContentFilter, Length, Stop, ToolCalls};
        let cases = [
            (Stop, "end_turn", "STOP"),
            (Stop, "STOP", "STOP"),
            (ToolCalls, "tool_calls", "STOP"),
            (Length, "max_tokens", "MAX_TOKENS"),
            (ContentFilter, "refusal", "SAFETY"),
            (ContentFilter, "RECITATION", "RECITATION"),
            (Length, "STOP", "MAX_TOKENS"),
        ];
        for (reason, native, expected) in cases {
            let answer = answered(&[finish(reason, native)]);
            assert_eq!(answer["candidates"][0]["finishReason"], expected, "{native}");
            assert_eq!(answer["candidates"][0]["content"]["parts"][0]["text"], "");
        }
        let refused = answered(&[Event::Refusal("No.".to_owned()), finish(Stop, "stop")]);
        assert_eq!(refused["candidates"][0]["finishReason"], "SAFETY");
        assert_eq!(refused["candidates"][0]["content"]["parts"][0]["text"], "No.");
    }

    #[test]
    fn a_call_without_readable_arguments_is_no_call() {
        for (reason, expected) in
            [(FinishReason::ToolCalls, "MALFORMED_FUNCTION_CALL"), (FinishReason::Length, "MAX_TOKENS")]
        {
            let answer =
                answered(&[call(0, "t1", None), arguments(0, "{\"city\":\"Pa"), finish(reason, "x")]);
            let candidate = &answer["candidates"][0];
            assert_eq!(candidate["finishReason"], expected);
            assert_eq!(candidate["content"]["parts"].to_string(), r#"[{"text":""}]"#);
        }
    }

    #[test]
    fn sources_and_geminis_own_signature() {
        let citation = Citation {
            span: None,
            url: Some("https://e.com".to_owned()),
            title: Some("E".to_owned()),
            quote: Some("q".to_owned()),
        };
        let answer = answered(&[
            Event::Text("Hi".to_owned()),
            Event::ReasoningSignature("google:c2ln".to_owned()),
            Event::ReasoningRedacted("xyz".to_owned()),
            Event::Citation(citation),
            finish(FinishReason::Stop, "stop"),
        ]);
        let candidate = &answer["candidates"][0];
        assert_eq!(
            candidate["content"]["parts"].to_string(),
            r#"[{"text":"Hi","thoughtSignature":"c2ln"},{"text":"","thought":true,"thoughtSignature":"cmVkYWN0ZWQ6eHl6"}]"#
        );
        assert_eq!(
            candidate["groundingMetadata"].to_string(),
            r#"{"groundingChunks":[{"web":{"uri":"https://e.com","title":"E"}}],"groundingSupports":[{"segment":{"text":"q"},"groundingChunkIndices":[0]}]}"#
        );
    }

    #[test]
    fn an_error_is_googles_object() {
        let body = ErrorBody {
            message: "Bad.".into(),
            status: StatusCode::BAD_REQUEST,
            param: Some("contents[0]"),
            code: Some("invalid_request"),
            request_id: Some("req_1"),
        };
        assert_eq!(
            String::from_utf8_lossy(&error(StatusCode::BAD_REQUEST, &body)),
            r#"{"error":{"code":400,"message":"Bad.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"invalid_request","domain":"hypergate"},{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"contents[0]"}]},{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"req_1"}]}}"#
        );
        let names = [
            (401, "UNAUTHENTICATED"),
            (402, "RESOURCE_EXHAUSTED"),
            (403, "PERMISSION_DENIED"),
            (404, "NOT_FOUND"),
            (413, "INVALID_ARGUMENT"),
            (429, "RESOURCE_EXHAUSTED"),
            (502, "INTERNAL"),
            (503, "UNAVAILABLE"),
            (504, "DEADLINE_EXCEEDED"),
        ];
        for (status, name) in names {
            assert_eq!(status_name(StatusCode::from_u16(status).expect("valid")), name);
        }
    }
}
