//! Gemini's answer, as events. A chunk of a stream has the shape of a whole answer.

use std::{borrow::Cow, collections::BTreeSet};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json, value::RawValue};

use super::{SIGNATURE_PREFIX, failure};
use crate::{
    ErrorClass, ServiceTier, UpstreamError, Usage,
    chat::{Citation, Event, FinishReason},
    dialect::{MAX_CALLS, OnEvent, Unsaid, count},
    sse,
};

/// A whole 2xx answer.
pub(super) fn whole(body: &[u8]) -> Result<Vec<Event>, UpstreamError> {
    read(body, Reader::default())
}

/// What can be told of a whole 2xx answer that is passed on as it is.
pub(super) fn observed(body: &[u8]) -> Result<Vec<Event>, UpstreamError> {
    read(body, Reader::observing())
}

fn read(body: &[u8], mut reader: Reader) -> Result<Vec<Event>, UpstreamError> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| {
        UpstreamError::garbled(if body.trim_ascii().is_empty() { "it was empty" } else { "it is not JSON" })
    })?;
    if answer.candidates.is_empty() && answer.prompt_feedback.is_none() && answer.error.is_none() {
        return Err(UpstreamError::garbled("it has no `candidates`"));
    }
    let mut events = Vec::new();
    reader.answer(answer, &mut events)?;
    if !reader.finished {
        return Err(UpstreamError::truncated());
    }
    Ok(events)
}

/// What was read of an answer so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    started: bool,
    finished: bool,
    response_id: String,
    call_ids: Vec<String>,
    /// What was said so far: sources count its bytes.
    text: Text,
    usage: Option<Usage>,
    unsaid: Unsaid,
    /// Newer models are billed by the search, others by the prompt that led to some.
    bills_searches: bool,
    /// The caller gets the bytes, so a part that no event can tell is no failure.
    observes: bool,
}

impl OnEvent for Reader {
    fn event(&mut self, event: sse::Event<'_>, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let answer = serde_json::from_slice(&event.data)
            .map_err(|_| UpstreamError::garbled("a chunk of the stream is not JSON"))?;
        self.answer(answer, events)
    }

    fn is_whole(&self) -> bool {
        self.finished
    }
}

impl Reader {
    /// For an answer that is passed on as it is.
    pub(super) fn observing() -> Self {
        Self { observes: true, ..Self::default() }
    }

    fn answer(&mut self, answer: Answer<'_>, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        if let Some(error) = answer.error {
            let error: Value = serde_json::from_str(error.get()).unwrap_or_default();
            return Err(failure::object(&error, 500));
        }
        if !self.started {
            self.started = true;
            self.response_id = answer.response_id.into_owned();
            let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            events.push(Event::Start { id: known(&self.response_id), model: known(&answer.model_version) });
            self.bills_searches =
                !["gemini-1", "gemini-2"].iter().any(|older| answer.model_version.starts_with(older));
        }
        // Each chunk counts all tokens so far, so the last one counts.
        let value =
            |raw: Option<&RawValue>| raw.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        if let Some(usage) = value(answer.usage_metadata) {
            let searches = self.usage.map_or(0, |usage| usage.searches);
            let usage = Usage { searches, ..canonical(&usage) };
            self.usage = Some(usage);
            events.push(Event::Usage(usage));
        }
        if let Some(native) = answer.prompt_feedback.and_then(|feedback| feedback.block_reason) {
            if !self.observes {
                return Err(blocked(&native));
            }
            // Who speaks Gemini reads it there.
            self.finished = true;
            events.push(Event::Finish { reason: FinishReason::ContentFilter, native });
            return Ok(());
        }
        let Some(candidate) = answer.candidates.into_iter().next() else { return Ok(()) };
        let parts = candidate.content.unwrap_or_default().parts;
        if self.finished {
            // Usage may follow an end, and the end again; words would be lost.
            let lost = || UpstreamError::garbled("more of the answer came after its end");
            return if parts.iter().all(Part::is_empty) { Ok(()) } else { Err(lost()) };
        }
        for part in parts {
            self.part(part, events)?;
        }
        events.extend(value(candidate.logprobs_result).and_then(logprobs));
        if let Some(metadata) = value(candidate.citation_metadata) {
            self.recited(&metadata, events);
        }
        if let Some(metadata) = value(candidate.grounding_metadata) {
            self.grounded(&metadata, events);
        }
        let Some(native) = candidate.finish_reason else { return Ok(()) };
        self.finished = true;
        if let Some(error) = failed(&native, candidate.finish_message) {
            return Err(error);
        }
        events.push(Event::Finish { reason: finish_reason(&native, !self.call_ids.is_empty()), native });
        Ok(())
    }

    fn part(&mut self, part: Part<'_>, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        if let Some(call) = part.function_call {
            if self.call_ids.len() == MAX_CALLS {
                return Err(UpstreamError::garbled("it has more tool calls than a model makes"));
            }
            let index = self.call_ids.len() as u32;
            let id = self.call_id(call.id);
            events.push(Event::ToolCall { index, id, name: call.name, signature: part.thought_signature });
            events.extend(call.args.map(|args| Event::ToolArguments { index, text: compact(args.get()) }));
            return Ok(());
        }
        if let Some(inline) = part.inline_data.filter(|_| !self.observes) {
            return Err(UpstreamError::new(
                ErrorClass::Invalid,
                format!("the model answered with {}, which a chat answer cannot carry", inline.mime_type),
            ));
        }
        let rest = [
            ("codeExecutionResult", part.code_execution_result),
            ("executableCode", part.executable_code),
            ("fileData", part.file_data),
        ];
        for (kind, _) in rest.into_iter().filter(|(_, there)| there.is_some()) {
            self.unsaid.tell("content.parts", kind, events);
        }
        match part.text {
            Some(text) if text.is_empty() => {}
            Some(text) if part.thought => events.push(Event::Reasoning(text)),
            Some(text) => {
                self.text.push(&text);
                events.push(Event::Text(text));
            }
            None => {}
        }
        // May come on an empty text at the end of a stream.
        let signature = part.thought_signature.map(|signature| format!("{SIGNATURE_PREFIX}{signature}"));
        events.extend(signature.map(Event::ReasoningSignature));
        Ok(())
    }

    /// Where text was taken from, word for word.
    fn recited(&self, metadata: &Value, events: &mut Vec<Event>) {
        // Gemini's name and Vertex's.
        let sources = metadata["citationSources"].as_array().or(metadata["citations"].as_array());
        for source in sources.into_iter().flatten() {
            let (url, title) = (text(&source["uri"]), text(&source["title"]));
            if url.is_some() || title.is_some() {
                let span = self.span(source);
                events.push(Event::Citation(Citation { url, title, quote: None, span }));
            }
        }
    }

    /// What a search found, and what of the text rests on it.
    fn grounded(&mut self, metadata: &Value, events: &mut Vec<Event>) {
        let list = |name: &str| metadata[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let chunk = |at: usize| {
            let chunk = list("groundingChunks").get(at)?.as_object()?;
            // `web`, `retrievedContext` or `maps`.
            let source = chunk.values().find(|source| source.is_object())?;
            Some(Citation { url: text(&source["uri"]), title: text(&source["title"]), ..Citation::default() })
        };
        let mut named = BTreeSet::new();
        for support in list("groundingSupports") {
            let (quote, span) = (text(&support["segment"]["text"]), self.span(&support["segment"]));
            let chunks = support["groundingChunkIndices"].as_array().into_iter().flatten();
            for at in chunks.filter_map(|at| usize::try_from(at.as_u64()?).ok()) {
                named.insert(at);
                let citation = chunk(at).map(|found| Citation { quote: quote.clone(), span, ..found });
                events.extend(citation.map(Event::Citation));
            }
        }
        let unnamed = (0..list("groundingChunks").len()).filter(|at| !named.contains(at));
        events.extend(unnamed.filter_map(chunk).map(Event::Citation));
        let queries = list("webSearchQueries").len() as u64;
        if let Some(usage) = self.usage.as_mut().filter(|_| queries > 0) {
            usage.searches = if self.bills_searches { queries } else { 1 };
            events.push(Event::Usage(*usage));
        }
    }

    /// A piece of the text, of which the API counts the bytes.
    fn span(&self, segment: &Value) -> Option<(u64, u64)> {
        let at = |name: &str| self.text.chars(usize::try_from(segment[name].as_u64()?).ok()?);
        // Zero is left out.
        at("endIndex").map(|end| (at("startIndex").unwrap_or(0), end))
    }

    /// The call's id. Older models give none; one is made of the answer's id then, so that it is
    /// unique in a conversation of many answers too.
    fn call_id(&mut self, given: Option<String>) -> String {
        let given = given.filter(|id| !id.is_empty() && !self.call_ids.contains(id));
        let id = given.unwrap_or_else(|| {
            let answer =
                self.response_id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
            let answer: String = answer.take(24).collect();
            format!("call_{answer}_{}", self.call_ids.len())
        });
        self.call_ids.push(id.clone());
        id
    }
}

/// Text of which pieces are counted in characters, however many and wherever they are.
#[derive(Debug, Default)]
struct Text {
    text: String,
    /// How many characters begin before each [`Text::STEP`] bytes.
    before: Vec<u64>,
}

impl Text {
    const STEP: usize = 4096;

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        while let Some(step) = self.text.as_bytes().chunks_exact(Self::STEP).nth(self.before.len()) {
            let before = self.before.last().copied().unwrap_or_default();
            self.before.push(before + begun(step));
        }
    }

    /// How many characters the first bytes are; `None` where they end within one.
    fn chars(&self, bytes: usize) -> Option<u64> {
        let steps = bytes / Self::STEP;
        let before = steps.checked_sub(1).map_or(Some(0), |last| self.before.get(last).copied())?;
        let rest = self.text.get(..bytes)?.as_bytes().get(steps * Self::STEP..)?;
        Some(before + begun(rest))
    }
}

/// How many characters begin among these bytes of text.
fn begun(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u64
}

/// JSON without the spaces between its tokens. A whole answer comes indented.
pub(super) fn compact(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let mut in_string = false;
    let mut escaped = false;
    for char in json.chars() {
        if in_string || !char.is_ascii_whitespace() {
            compact.push(char);
        }
        in_string ^= char == '"' && !escaped;
        escaped = in_string && char == '\\' && !escaped;
    }
    compact
}

/// Cached tokens are inside the prompt's, thought tokens are outside the candidates', and what tools brought into
/// the prompt is outside too.
fn canonical(usage: &Value) -> Usage {
    let all = |path: &str| count(usage, path).unwrap_or(0);
    let of = |kind: &str, list: &str| {
        let counts = usage[list].as_array().into_iter().flatten();
        counts
            .filter(|counted| counted["modality"] == kind)
            .filter_map(|counted| count(counted, "/tokenCount"))
            .fold(0, u64::saturating_add)
    };
    let (prompt, candidates, cached) =
        ("promptTokensDetails", "candidatesTokensDetails", "cacheTokensDetails");
    let thoughts = all("/thoughtsTokenCount");
    Usage {
        input_tokens: all("/promptTokenCount").saturating_add(all("/toolUsePromptTokenCount")),
        cache_read_input_tokens: all("/cachedContentTokenCount"),
        output_tokens: all("/candidatesTokenCount").saturating_add(thoughts),
        reasoning_output_tokens: thoughts,
        audio_input_tokens: of("AUDIO", prompt),
        image_input_tokens: of("IMAGE", prompt),
        video_input_tokens: of("VIDEO", prompt),
        cache_read_audio_input_tokens: of("AUDIO", cached),
        cache_read_image_input_tokens: of("IMAGE", cached),
        audio_output_tokens: of("AUDIO", candidates),
        image_output_tokens: of("IMAGE", candidates),
        video_output_tokens: of("VIDEO", candidates),
        // Vertex's word.
        tier: usage["trafficType"]
            .as_str()
            .and_then(|kind| kind.strip_prefix("ON_DEMAND_"))
            .map(ServiceTier::named)
            .unwrap_or_default(),
        ..Usage::default()
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Probabilities of tokens, in OpenAI's shape.
fn logprobs(result: Value) -> Option<Event> {
    let token = |candidate: &Value| {
        let token = candidate["token"].as_str().unwrap_or_default();
        json!({ "token": token, "bytes": token.as_bytes(), "logprob": candidate["logProbability"] })
    };
    let chosen = result["chosenCandidates"].as_array().filter(|chosen| !chosen.is_empty())?;
    let tokens = chosen.iter().enumerate().map(|(at, candidate)| {
        let others = result["topCandidates"][at]["candidates"].as_array().into_iter().flatten();
        let mut whole = token(candidate);
        whole["top_logprobs"] = others.map(token).collect();
        whole
    });
    Some(Event::Logprobs(tokens.collect()))
}

fn blocked(reason: &str) -> UpstreamError {
    UpstreamError {
        code: Some(reason.to_owned()),
        ..UpstreamError::new(
            ErrorClass::Content,
            format!("the provider's content filter refused the prompt ({reason})"),
        )
    }
}

/// The model's failures, which Google tells as finish reasons.
fn failed(native: &str, message: Option<String>) -> Option<UpstreamError> {
    let class = match native {
        // What the model wrote is no call; another attempt may go better.
        "MALFORMED_FUNCTION_CALL" | "MALFORMED_RESPONSE" | "TOO_MANY_TOOL_CALLS" | "UNEXPECTED_TOOL_CALL" => {
            ErrorClass::Server
        }
        "MISSING_THOUGHT_SIGNATURE" => ErrorClass::Invalid,
        _ => return None,
    };
    let message = message.unwrap_or_else(|| format!("the model stopped with {native}"));
    Some(UpstreamError { code: Some(native.to_owned()), ..UpstreamError::new(class, message) })
}

/// Most of Google's reasons are kinds of filters, and new ones have been too.
pub(super) fn finish_reason(native: &str, called: bool) -> FinishReason {
    match native {
        "STOP" | "FINISH_REASON_UNSPECIFIED" if called => FinishReason::ToolCalls,
        "STOP" | "FINISH_REASON_UNSPECIFIED" => FinishReason::Stop,
        "CONTINUATION" | "MAX_TOKENS" => FinishReason::Length,
        _ => FinishReason::ContentFilter,
    }
}

// --- wire ---

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow, default)]
    candidates: Vec<Candidate<'a>>,
    prompt_feedback: Option<PromptFeedback>,
    #[serde(borrow)]
    usage_metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model_version: Cow<'a, str>,
    #[serde(borrow, default)]
    response_id: Cow<'a, str>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    finish_reason: Option<String>,
    finish_message: Option<String>,
    #[serde(borrow)]
    citation_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    grounding_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    logprobs_result: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Vec<Part<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    text: Option<String>,
    #[serde(default)]
    thought: bool,
    thought_signature: Option<String>,
    #[serde(borrow)]
    function_call: Option<FunctionCall<'a>>,
    inline_data: Option<InlineData>,
    code_execution_result: Option<IgnoredAny>,
    executable_code: Option<IgnoredAny>,
    file_data: Option<IgnoredAny>,
}

impl Part<'_> {
    fn is_empty(&self) -> bool {
        self.text.as_deref().unwrap_or_default().is_empty()
            && self.function_call.is_none()
            && self.inline_data.is_none()
    }
}

#[derive(Deserialize)]
struct FunctionCall<'a> {
    id: Option<String>,
    name: String,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InlineData {
    #[serde(default)]
    mime_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    block_reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_lose_the_spaces_between_tokens_only() {
        let cases = [
            ("{}", "{}"),
            ("{\n  \"a b\": [1, 2.50],\n  \"c\": \" d \"\n}", r#"{"a b":[1,2.50],"c":" d "}"#),
            (r#"{"q": "say \" hi \\", "e": " \\\" "}"#, r#"{"q":"say \" hi \\","e":" \\\" "}"#),
        ];
        for (json, expected) in cases {
            assert_eq!(compact(json), expected);
        }
    }

    #[test]
    fn a_call_has_an_id_of_its_own() {
        let mut reader = Reader { response_id: "a.b/c-1_".to_owned(), ..Reader::default() };
        let given = [None, Some("x"), Some("x"), Some("")];
        let ids = given.map(|id| reader.call_id(id.map(str::to_owned)));
        assert_eq!(ids, ["call_abc-1__0", "x", "call_abc-1__2", "call_abc-1__3"]);
    }

    #[test]
    fn finish_reasons_are_openai_s() {
        use FinishReason::{ContentFilter, Length, Stop, ToolCalls};
        let cases = [
            ("STOP", false, Stop),
            ("STOP", true, ToolCalls),
            ("MAX_TOKENS", true, Length),
            ("CONTINUATION", false, Length),
            ("SAFETY", false, ContentFilter),
            ("RECITATION", false, ContentFilter),
            ("LANGUAGE", false, ContentFilter),
            ("OTHER", false, ContentFilter),
            ("BLOCKLIST", false, ContentFilter),
            ("PROHIBITED_CONTENT", false, ContentFilter),
            ("SPII", false, ContentFilter),
            ("IMAGE_SAFETY", false, ContentFilter),
            ("NO_IMAGE", false, ContentFilter),
            ("ESCALATION", false, ContentFilter),
        ];
        for (native, called, expected) in cases {
            assert_eq!(finish_reason(native, called), expected, "{native}");
            assert_eq!(failed(native, None), None, "{native}");
        }
        for native in
            ["MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "TOO_MANY_TOOL_CALLS", "UNEXPECTED_TOOL_CALL"]
        {
            assert_eq!(failed(native, None).map(|error| error.class), Some(ErrorClass::Server), "{native}");
        }
    }
}
