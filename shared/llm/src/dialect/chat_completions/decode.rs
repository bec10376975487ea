//! A Chat Completions answer, whole or streamed, as unified events.
//!
//! Compatible providers agree on the outline only, so nothing is taken for granted that an answer can
//! do without: what has an unknown shape is passed over, and an answer that has an end is whole.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, value::RawValue};

use super::{DETAIL_PREFIX, call_id, error, forward::inner_error, usage};
use crate::{
    ErrorClass, UpstreamError, Usage,
    chat::{Citation, Event, FinishReason},
    dialect::{Decoder, MAX_CALLS, OnEvent, SseDecoder, Unsaid},
    sse,
};

/// A whole answer is read as a stream of one chunk.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, UpstreamError> {
    let chunk: Chunk<'_> = serde_json::from_slice(body).map_err(|_| {
        UpstreamError::garbled(if body.trim_ascii().is_empty() { "it was empty" } else { "it is not JSON" })
    })?;
    chunk.failure(body)?;
    if !chunk.choices.iter().flatten().flatten().any(|choice| choice.message.is_some()) {
        return Err(UpstreamError::garbled("it has no `choices` with a message"));
    }
    let mut events = Vec::new();
    let mut reader = Reader { is_whole_answer: true, ..Reader::default() };
    reader.chunk(chunk, &mut events)?;
    reader.close(&mut events)?;
    Ok(events)
}

/// Reads one streamed answer. An answer that says why it finished is whole without `[DONE]`.
pub(super) struct Stream(SseDecoder<Reader>);

impl Default for Stream {
    fn default() -> Self {
        Self(SseDecoder::new(Reader::default()))
    }
}

impl Decoder for Stream {
    fn feed(&mut self, chunk: &[u8], events: &mut Vec<Event>) {
        self.0.feed(chunk, events);
    }

    fn finish(&mut self, events: &mut Vec<Event>) {
        self.0.finish(events);
        if self.0.failed || !self.0.inner.is_whole() {
            return;
        }
        if let Err(error) = self.0.inner.close(events) {
            events.push(Event::Error(error));
        }
    }
}

#[derive(Default)]
pub(super) struct Reader {
    is_whole_answer: bool,
    begun: bool,
    /// Ours, of the answer; part of the ids we make.
    id: String,
    thought: Thought,
    calls: Vec<Call>,
    /// How many calls have been told of.
    told: u32,
    sources: Vec<Citation>,
    unsaid: Unsaid,
    usage: Option<Usage>,
    /// The provider's word for the end. Kept back until the usage has come, which may be a chunk later.
    end: Option<String>,
    /// The word of whom the provider asked itself (OpenRouter).
    native: Option<String>,
    closed: bool,
}

/// A call whose pieces come in.
struct Call {
    /// As the provider gives them.
    wire_index: Option<u64>,
    wire_id: String,
    /// Ours, once the name is known.
    told: Option<(u32, String)>,
    /// Arguments that came before the name.
    early: String,
    signature: Option<String>,
}

impl OnEvent for Reader {
    fn event(&mut self, event: sse::Event<'_>, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        // What something on the way appends after the end is not ours to judge.
        if self.closed {
            return Ok(());
        }
        let data = event.data.trim_ascii();
        if data == b"[DONE]" {
            return if self.begun { self.close(events) } else { Err(UpstreamError::truncated()) };
        }
        if event.name == b"error" {
            return Err(without_status(data));
        }
        match serde_json::from_slice::<Chunk<'_>>(data) {
            Ok(chunk) => {
                chunk.failure(data)?;
                self.chunk(chunk, events)
            }
            // Some do not put a blank line between events (DeepInfra, SambaNova).
            Err(_) if data.contains(&b'\n') => {
                let mut lines =
                    data.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
                lines.try_for_each(|line| self.event(sse::Event { data: line.into(), ..event }, events))
            }
            Err(_) if self.is_whole() => Ok(()),
            Err(_) => Err(UpstreamError::garbled("a chunk of the stream is not JSON")),
        }
    }

    fn is_whole(&self) -> bool {
        self.closed || self.end.is_some()
    }
}

impl Reader {
    fn chunk(&mut self, chunk: Chunk<'_>, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let choices = chunk.choices.unwrap_or_default();
        let choice = choices.into_iter().flatten().find(|choice| choice.index.unwrap_or(0) == 0);
        // Some open the stream with a chunk that has neither id nor model.
        if choice.is_some() && !self.begun {
            self.begun = true;
            self.id = text(chunk.id).unwrap_or_default();
            let id = Some(self.id.clone()).filter(|id| !id.is_empty());
            events.push(Event::Start { id, model: text(chunk.model) });
        }
        if self.sources.is_empty() {
            self.sources = sources(chunk.search_results, chunk.citations);
        }
        let mut usage = usage::read(chunk.usage, chunk.x_groq, chunk.service_tier);
        if let Some(choice) = choice {
            usage = usage.or_else(|| usage::read(choice.usage, None, chunk.service_tier));
            let part = if self.is_whole_answer { choice.message } else { choice.delta };
            if let Some(part) = part {
                self.part(part, events)?;
            }
            let logprobs = choice.logprobs.map(|raw| list::<Value>(Some(raw))).unwrap_or_default();
            if !logprobs.is_empty() {
                events.push(Event::Logprobs(logprobs));
            }
            push(events, text(choice.stop_reason), Event::StopText);
            self.end = text(choice.finish_reason).or(self.end.take());
            self.native = text(choice.native_finish_reason).or(self.native.take());
        }
        if let Some(usage) = usage {
            if self.usage != Some(usage) {
                self.usage = Some(usage);
                events.push(Event::Usage(usage));
            }
            if self.end.is_some() {
                self.close(events)?;
            }
        }
        Ok(())
    }

    /// What a chunk adds to the message, or all of it.
    fn part(&mut self, part: Part<'_>, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let details = list::<Detail<'_>>(part.reasoning_details);
        let readable = text(part.reasoning_content).or_else(|| text(part.reasoning));
        self.thought.read(readable, details, events);
        content(part.content, &mut self.unsaid, events);
        for (kind, raw) in [("audio", part.audio), ("images", part.images)] {
            if raw.is_some_and(|raw| raw.get() != "[]") {
                self.unsaid.tell("message", kind, events);
            }
        }
        push(events, text(part.refusal), Event::Refusal);
        for (position, call) in part.tool_calls.into_iter().flatten().flatten().enumerate() {
            self.call(position, call, events)?;
        }
        // The form before tool calls: one call, without an id.
        if let Some(function) = part.function_call {
            let call = WireCall { index: Some(0), function: Some(function), ..WireCall::default() };
            self.call(0, call, events)?;
        }
        for annotation in list::<Annotation<'_>>(part.annotations) {
            if let Some(citation) = annotation.url_citation {
                events.push(Event::Citation(citation.citation()));
            }
        }
        Ok(())
    }

    fn call(
        &mut self,
        position: usize,
        wire: WireCall<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), UpstreamError> {
        let id = text(wire.id).unwrap_or_default();
        let function = wire.function.unwrap_or_default();
        let name = text(function.name).unwrap_or_default();
        let arguments = function.arguments.map(arguments).unwrap_or_default();
        let at = match self.find(position, wire.index, &id, !name.is_empty()) {
            Some(at) => at,
            // Nothing is said of any call.
            None if id.is_empty() && name.is_empty() && arguments.is_empty() => return Ok(()),
            None if self.calls.len() == MAX_CALLS => {
                return Err(UpstreamError::garbled("it has more tool calls than a model makes"));
            }
            None => {
                self.calls.push(Call {
                    wire_index: wire.index,
                    wire_id: String::new(),
                    told: None,
                    early: String::new(),
                    signature: None,
                });
                self.calls.len() - 1
            }
        };
        if self.calls[at].wire_id.is_empty() {
            self.calls[at].wire_id = id;
        }
        let signature = wire.extra_content.and_then(|content| content.google?.thought_signature);
        self.calls[at].signature = signature.or(self.calls[at].signature.take());
        if self.calls[at].told.is_none() && !name.is_empty() {
            self.tell(at, name, events);
        }
        let call = &mut self.calls[at];
        match &call.told {
            None => call.early.push_str(&arguments),
            Some((index, _)) if !arguments.is_empty() => {
                events.push(Event::ToolArguments { index: *index, text: arguments });
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// The call that a piece belongs to; none where it opens one.
    fn find(&self, position: usize, index: Option<u64>, id: &str, named: bool) -> Option<usize> {
        if self.is_whole_answer {
            return None;
        }
        // Some count every call as the first, or give no index; there the id tells calls apart.
        let other = |call: &Call| named && !id.is_empty() && !call.wire_id.is_empty() && call.wire_id != id;
        match index {
            Some(_) => {
                let at = self.calls.iter().rposition(|call| call.wire_index == index)?;
                let same = self.calls.iter().position(|call| call.wire_index == index && call.wire_id == id);
                same.filter(|_| !id.is_empty()).or_else(|| (!other(&self.calls[at])).then_some(at))
            }
            None if !id.is_empty() => self.calls.iter().position(|call| call.wire_id == id),
            // Without index and id, a name opens a call, and a piece without one is the last call's.
            None if named => None,
            None if position > 0 => None,
            None => self.calls.len().checked_sub(1),
        }
    }

    fn tell(&mut self, at: usize, name: String, events: &mut Vec<Event>) {
        let index = self.told;
        self.told += 1;
        let given = &self.calls[at].wire_id;
        let taken =
            |id: &str| self.calls.iter().filter_map(|call| call.told.as_ref()).any(|call| call.1 == id);
        let id = if given.is_empty() || taken(given) {
            format!("call_{}", call_id::made([self.id.as_str(), &index.to_string(), &name]))
        } else {
            given.clone()
        };
        let call = &mut self.calls[at];
        call.told = Some((index, id.clone()));
        events.push(Event::ToolCall { index, id, name, signature: call.signature.take() });
        push(events, Some(std::mem::take(&mut call.early)), |text| Event::ToolArguments { index, text });
    }

    /// The answer is at its end.
    fn close(&mut self, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        if self.closed {
            return Ok(());
        }
        self.closed = true;
        if self.calls.iter().any(|call| call.told.is_none()) {
            return Err(UpstreamError::garbled("a tool call in it has no name"));
        }
        // xAI says nothing, or an empty word, beside tool calls.
        let native = self.end.take().unwrap_or_default();
        let reason = finish_reason(&native)?.after_calls(self.told > 0);
        events.extend(self.sources.drain(..).map(Event::Citation));
        events.push(Event::Finish { reason, native: self.native.take().unwrap_or(native) });
        Ok(())
    }
}

/// In OpenAI's words, or the failure that it tells.
pub(super) fn finish_reason(native: &str) -> Result<FinishReason, UpstreamError> {
    let class = match native {
        "content_filter" | "safety" | "sensitive" => return Ok(FinishReason::ContentFilter),
        "length" | "max_tokens" | "model_length" => return Ok(FinishReason::Length),
        "function_call" | "tool_calls" | "tool_use" => return Ok(FinishReason::ToolCalls),
        "insufficient_system_resource" => ErrorClass::Overloaded,
        "abort" | "error" | "network_error" => ErrorClass::Server,
        // `stop`, `eos`, and what somebody adds one day.
        _ => return Ok(FinishReason::Stop),
    };
    let message = format!("the provider broke the answer off: {native}");
    Err(UpstreamError { code: Some(native.to_owned()), ..UpstreamError::new(class, message) })
}

/// What is known of the model's thought.
#[derive(Default)]
struct Thought {
    /// Text since the last block that came as `reasoning_details`.
    plain: String,
}

impl Thought {
    /// The readable text and the details of one chunk say the same twice, the details more precisely.
    fn read(&mut self, readable: Option<String>, details: Vec<Detail<'_>>, events: &mut Vec<Event>) {
        if !details.iter().any(|detail| detail.readable().is_some())
            && let Some(text) = readable
        {
            self.plain.push_str(&text);
            events.push(Event::Reasoning(text));
        }
        for detail in details {
            // Some send a block again as a whole when it is signed.
            match detail.readable() {
                Some(text) if text == self.plain => {}
                Some(text) => events.push(Event::Reasoning(text.to_owned())),
                None => {}
            }
            if detail.readable().is_some() {
                self.plain.clear();
            }
            let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
            match detail.format.as_deref() {
                // Only Claude's blocks can be sent back without what else a detail says.
                Some(format) if !format.starts_with("anthropic") => {
                    let signed = detail.signature.is_some() || detail.data.is_some();
                    push(events, detail.whole().filter(|_| signed), Event::ReasoningSignature);
                }
                _ => {
                    push(events, owned(detail.signature), Event::ReasoningSignature);
                    push(events, owned(detail.data), Event::ReasoningRedacted);
                }
            }
        }
    }
}

/// Text, null, or a list of parts, of which some are thought (Mistral).
fn content(raw: Option<&RawValue>, unsaid: &mut Unsaid, events: &mut Vec<Event>) {
    let parts = list::<ContentPart<'_>>(raw);
    push(events, text(raw), Event::Text);
    for part in parts {
        if part.text.or(part.refusal).or(part.thinking).is_none()
            && let Some(kind) =
                text(part.kind).filter(|kind| !["refusal", "text", "thinking"].contains(&kind.as_str()))
        {
            unsaid.tell("message.content", &kind, events);
        }
        push(events, text(part.text), Event::Text);
        push(events, text(part.refusal), Event::Refusal);
        push(events, text(part.thinking), Event::Reasoning);
        for thought in list::<ContentPart<'_>>(part.thinking) {
            push(events, text(thought.text), Event::Reasoning);
        }
    }
}

/// Perplexity's sources: with titles, or else as bare addresses.
fn sources(results: Option<&RawValue>, citations: Option<&RawValue>) -> Vec<Citation> {
    let results = list::<UrlCitation<'_>>(results);
    if !results.is_empty() {
        return results.into_iter().map(UrlCitation::citation).collect();
    }
    let url = |raw: &RawValue| text(Some(raw)).map(|url| Citation { url: Some(url), ..Citation::default() });
    list::<&RawValue>(citations).into_iter().filter_map(url).collect()
}

/// Arguments are text; some servers give the object itself.
fn arguments(raw: &RawValue) -> String {
    match raw.get() {
        quoted if quoted.starts_with('"') => text(Some(raw)).unwrap_or_default(),
        object => object.to_owned(),
    }
}

fn push(events: &mut Vec<Event>, text: Option<String>, event: impl FnOnce(String) -> Event) {
    events.extend(text.filter(|text| !text.is_empty()).map(event));
}

/// A string that says something.
fn text(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok().filter(|text: &String| !text.is_empty())
}

/// The entries of a list that can be read.
fn list<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Vec<T> {
    let Some(raw) = raw.filter(|raw| raw.get().starts_with('[')) else { return Vec::new() };
    let entries: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    entries.into_iter().filter_map(|entry| serde_json::from_str(entry.get()).ok()).collect()
}

/// An error that came with a 2xx. 502 stands for "the provider failed" where it says nothing better.
fn without_status(body: &[u8]) -> UpstreamError {
    UpstreamError { status: None, ..error::upstream(502, &http::HeaderMap::new(), body) }
}

// --- wire ---

/// A whole answer, or a chunk of a stream. What can be of another type than promised is kept raw.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Option<Choice<'a>>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    x_groq: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    citations: Option<&'a RawValue>,
    #[serde(borrow)]
    search_results: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl Chunk<'_> {
    /// The failure it tells of, if it does.
    fn failure(&self, body: &[u8]) -> Result<(), UpstreamError> {
        match self.error {
            Some(error) => Err(inner_error(error)),
            // An older form, with the message beside it.
            None if self.choices.is_none() && text(self.object).is_some_and(|object| object == "error") => {
                Err(without_status(body))
            }
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    delta: Option<Part<'a>>,
    #[serde(borrow)]
    message: Option<Part<'a>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    native_finish_reason: Option<&'a RawValue>,
    /// Moonshot's place for the usage of a stream, beside the usual one if it is asked for.
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    /// The stop text that matched, as vLLM tells it.
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "logprobs")]
    logprobs: Option<&'a RawValue>,
}

/// The probabilities of the text's tokens. Older servers have lists of another shape here.
fn logprobs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    #[derive(Deserialize)]
    struct Logprobs<'a> {
        #[serde(borrow)]
        content: Option<&'a RawValue>,
    }
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str::<Logprobs<'_>>(raw.get()).ok().and_then(|logprobs| logprobs.content))
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_details: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<Vec<Option<WireCall<'a>>>>,
    #[serde(borrow)]
    function_call: Option<WireFunction<'a>>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
    #[serde(borrow)]
    images: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ContentPart<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct WireCall<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    function: Option<WireFunction<'a>>,
    extra_content: Option<ExtraContent>,
}

#[derive(Default, Deserialize)]
struct WireFunction<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ExtraContent {
    google: Option<Google>,
}

#[derive(Deserialize)]
struct Google {
    thought_signature: Option<String>,
}

#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(borrow)]
    format: Option<Cow<'a, str>>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    summary: Option<Cow<'a, str>>,
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

impl Detail<'_> {
    /// What must go back besides the readable text, as a signature of OpenRouter's.
    fn whole(&self) -> Option<String> {
        let fields = [
            ("format", &self.format),
            ("id", &self.id),
            ("data", &self.data),
            ("signature", &self.signature),
        ];
        let fields =
            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_deref()?.into())));
        Some(format!("{DETAIL_PREFIX}{}", Value::Object(fields.collect())))
    }

    fn readable(&self) -> Option<&str> {
        self.text.as_deref().or(self.summary.as_deref()).filter(|text| !text.is_empty())
    }
}

#[derive(Deserialize)]
struct Annotation<'a> {
    #[serde(borrow)]
    url_citation: Option<UrlCitation<'a>>,
}

#[derive(Deserialize)]
struct UrlCitation<'a> {
    #[serde(borrow)]
    url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    title: Option<Cow<'a, str>>,
    /// The cited words, as OpenRouter gives them.
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    start_index: Option<u64>,
    end_index: Option<u64>,
}

impl UrlCitation<'_> {
    fn citation(self) -> Citation {
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned).filter(|text| !text.is_empty());
        Citation {
            url: owned(self.url),
            title: owned(self.title),
            quote: owned(self.content),
            span: self.start_index.zip(self.end_index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a stream that comes in one piece.
    fn streamed(stream: &str) -> Vec<Event> {
        cut(stream.as_bytes(), &[])
    }

    /// The events of a stream that is cut at these places.
    fn cut(stream: &[u8], places: &[usize]) -> Vec<Event> {
        let mut decoder = Stream::default();
        let mut events = Vec::new();
        let mut from = 0;
        for &to in places.iter().chain([&stream.len()]) {
            decoder.feed(&stream[from..to], &mut events);
            from = to;
        }
        decoder.finish(&mut events);
        events
    }

    /// A stream of these choices, each in a chunk, and `[DONE]`.
    fn of_choices(choices: &[&str]) -> String {
        let chunk =
            |choice: &&str| format!("data: {{\"id\":\"a1\",\"choices\":[{{\"index\":0,{choice}}}]}}\n\n");
        choices.iter().map(chunk).chain(["data: [DONE]\n\n".to_owned()]).collect()
    }

    fn of_deltas(deltas: &[&str]) -> Vec<Event> {
        let choices: Vec<String> = deltas.iter().map(|delta| format!("\"delta\":{{{delta}}}")).collect();
        let mut choices: Vec<&str> = choices.iter().map(String::as_str).collect();
        choices.push(r#""delta":{},"finish_reason":"stop""#);
        let mut events = streamed(&of_choices(&choices));
        assert!(matches!(events.remove(0), Event::Start { .. }));
        assert!(matches!(events.pop(), Some(Event::Finish { .. })), "{events:?}");
        events
    }

    fn start() -> Event {
        Event::Start { id: Some("a1".to_owned()), model: Some("m1".to_owned()) }
    }

    fn text(text: &str) -> Event {
        Event::Text(text.to_owned())
    }

    fn thinks(text: &str) -> Event {
        Event::Reasoning(text.to_owned())
    }

    fn call(index: u32, id: &str, name: &str) -> Event {
        Event::ToolCall { index, id: id.to_owned(), name: name.to_owned(), signature: None }
    }

    fn arguments(index: u32, text: &str) -> Event {
        Event::ToolArguments { index, text: text.to_owned() }
    }

    fn finish(reason: FinishReason, native: &str) -> Event {
        Event::Finish { reason, native: native.to_owned() }
    }

    fn class(events: &[Event]) -> Option<ErrorClass> {
        let failures: Vec<_> = events
            .iter()
            .filter_map(|event| if let Event::Error(error) = event { Some(error.class) } else { None })
            .collect();
        assert!(failures.len() < 2, "{failures:?}");
        failures.first().copied()
    }

    const RICH: &str = concat!(
        ": keep-alive\n\n",
        "data: {\"id\":\"\",\"model\":\"\",\"choices\":[],\"prompt_filter_results\":[]}\n\n",
        "data: {\"id\":\"a1\",\"model\":\"m1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n",
        "data: {\"id\":\"a1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":null,\"reasoning_content\":\"Hm\"}}]}\n\n",
        "data: {\"id\":\"a1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Grüß\"},\"finish_reason\":\"\"}]}\r\n\r\n",
        "data: {\"id\":\"a1\",\"choices\":[{\"index\":1,\"delta\":{\"content\":\"another answer\"},\"finish_reason\":\"length\"}]}\n\n",
        "data: {\"id\":\"a1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c0\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n",
        "data: {\"id\":\"a1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"c1\",\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"a\\\"\"}}]}}]}\n\n",
        "data: {\"id\":\"a1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}},{\"index\":1,\"function\":{\"arguments\":\":1}\"}}]}}]}\n\n",
        "data: {\"id\":\"a1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
        "data: {\"id\":\"a1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":5},\"completion_tokens_details\":{\"reasoning_tokens\":3}}}\n\n",
        "data: [DONE]\n\n",
    );

    fn rich() -> Vec<Event> {
        let usage = Usage {
            input_tokens: 9,
            cache_read_input_tokens: 5,
            output_tokens: 4,
            reasoning_output_tokens: 3,
            ..Usage::default()
        };
        vec![
            start(),
            thinks("Hm"),
            text("Grüß"),
            call(0, "c0", "f"),
            call(1, "c1", "g"),
            arguments(1, "{\"a\""),
            arguments(0, "{}"),
            arguments(1, ":1}"),
            Event::Usage(usage),
            finish(FinishReason::ToolCalls, "tool_calls"),
        ]
    }

    #[test]
    fn a_stream_is_the_same_wherever_it_is_cut() {
        let stream = RICH.as_bytes();
        assert_eq!(streamed(RICH), rich());
        for place in 0..stream.len() {
            assert_eq!(cut(stream, &[place]), rich(), "cut at {place}");
        }
        assert_eq!(cut(stream, &(0..stream.len()).collect::<Vec<_>>()), rich());
    }

    #[test]
    fn a_stream_that_breaks_off_is_no_answer() {
        let end = RICH.find("\"finish_reason\":\"tool_calls\"").expect("an end");
        let finished = end + RICH[end..].find('\n').expect("a line");
        for place in (0..RICH.len()).filter(|place| RICH.is_char_boundary(*place)) {
            let events = streamed(&RICH[..place]);
            let whole = place >= finished;
            // Half a chunk of usage is no harm to an answer that has its end.
            assert_eq!(class(&events).is_none(), whole, "broken off at {place}: {events:?}");
            assert_eq!(matches!(events.last(), Some(Event::Finish { .. })), whole);
        }
    }

    #[test]
    fn a_whole_answer_gives_the_same_events() {
        let body = concat!(
            r#"{"id":"a1","object":"chat.completion","model":"m1","choices":[{"index":0,"message":{"role":"assistant","content":"Grüß","#,
            r#""reasoning_content":"Hm","refusal":null,"annotations":[],"tool_calls":[{"id":"c0","type":"function","function":{"name":"f","arguments":"{}"}},"#,
            r#"{"id":"c1","type":"function","function":{"name":"g","arguments":{"a":1}}}]},"logprobs":null,"finish_reason":"stop"}],"#,
            r#""usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_cache_hit_tokens":5,"completion_tokens_details":{"reasoning_tokens":3}}}"#
        );
        let expected = vec![
            start(),
            thinks("Hm"),
            text("Grüß"),
            call(0, "c0", "f"),
            arguments(0, "{}"),
            call(1, "c1", "g"),
            arguments(1, r#"{"a":1}"#),
            rich()[8].clone(),
            finish(FinishReason::ToolCalls, "stop"),
        ];
        assert_eq!(decode(body.as_bytes()), Ok(expected));
    }

    #[test]
    fn calls_are_told_apart_however_they_are_counted() {
        let made = |index: &str, name| format!("call_{}", call_id::made(["a1", index, name]));
        let (first, second) = (made("0", "f"), made("1", "g"));
        #[rustfmt::skip]
        let cases: [(&str, &[&str], Vec<Event>); 9] = [
            ("id and name repeated", &[
                r#""tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{"}}]"#,
                r#""tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"}"}}]"#,
            ], vec![call(0, "c", "f"), arguments(0, "{"), arguments(0, "}")]),
            ("all at once, without index", &[
                r#""tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}},{"id":"d","function":{"name":"g","arguments":"{}"}}]"#,
            ], vec![call(0, "c", "f"), arguments(0, "{}"), call(1, "d", "g"), arguments(1, "{}")]),
            ("without index, in pieces", &[
                r#""tool_calls":[{"id":"c","function":{"name":"f"}}]"#,
                r#""tool_calls":[{"function":{"arguments":"{}"}}]"#,
                r#""tool_calls":[{"id":"d","function":{"name":"g"}}]"#,
                r#""tool_calls":[{"id":"c","function":{"arguments":" "}}]"#,
            ], vec![call(0, "c", "f"), arguments(0, "{}"), call(1, "d", "g"), arguments(0, " ")]),
            ("without id", &[
                r#""tool_calls":[{"index":0,"function":{"name":"f","arguments":""}},{"index":1,"id":null,"function":{"name":"g"}}]"#,
                r#""tool_calls":[{"index":0,"function":{"arguments":"{}"}}]"#,
            ], vec![call(0, &first, "f"), call(1, &second, "g"), arguments(0, "{}")]),
            ("without index and id", &[
                r#""tool_calls":[{"function":{"name":"f","arguments":"{}"}},{"function":{"name":"g","arguments":"{}"}}]"#,
            ], vec![call(0, &first, "f"), arguments(0, "{}"), call(1, &second, "g"), arguments(1, "{}")]),
            ("every call is the first", &[
                r#""tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]"#,
                r#""tool_calls":[{"index":0,"id":"d","function":{"name":"g","arguments":"{"}}]"#,
                r#""tool_calls":[{"index":0,"function":{"arguments":"}"}}]"#,
            ], vec![call(0, "c", "f"), arguments(0, "{}"), call(1, "d", "g"), arguments(1, "{"), arguments(1, "}")]),
            ("the same id twice", &[
                r#""tool_calls":[{"index":0,"id":"c","function":{"name":"f"}}]"#,
                r#""tool_calls":[{"index":1,"id":"c","function":{"name":"g"}}]"#,
            ], vec![call(0, "c", "f"), call(1, &second, "g")]),
            ("the name comes late, the indexes have a gap", &[
                r#""tool_calls":[{"index":3,"id":"c","function":{"arguments":"{"}}]"#,
                r#""tool_calls":[{"index":3,"function":{"name":"f","arguments":"}"}}]"#,
            ], vec![call(0, "c", "f"), arguments(0, "{"), arguments(0, "}")]),
            ("the old form", &[
                r#""function_call":{"name":"f","arguments":""}"#,
                r#""function_call":{"arguments":"{}"}"#,
            ], vec![call(0, &first, "f"), arguments(0, "{}")]),
        ];
        for (case, deltas, expected) in cases {
            assert_eq!(of_deltas(deltas), expected, "{case}");
        }
        let nameless =
            of_choices(&[r#""delta":{"tool_calls":[{"index":0,"id":"c"}]},"finish_reason":"tool_calls""#]);
        assert_eq!(class(&streamed(&nameless)), Some(ErrorClass::Garbled));
        let calls = |count: usize| {
            let call = r#"{"function":{"name":"f"}}"#;
            let calls = vec![call; count].join(",");
            of_choices(&[&format!(r#""delta":{{"tool_calls":[{calls}]}},"finish_reason":"tool_calls""#)])
        };
        assert_eq!(class(&streamed(&calls(MAX_CALLS))), None);
        assert_eq!(class(&streamed(&calls(MAX_CALLS + 1))), Some(ErrorClass::Garbled));
    }

    #[test]
    fn thought_is_found_in_every_place_and_never_doubled() {
        let signed = |text: &str| Event::ReasoningSignature(text.to_owned());
        #[rustfmt::skip]
        let cases: [(&[&str], Vec<Event>); 7] = [
            (&[r#""reasoning":"a""#, r#""reasoning_content":"b","reasoning":"b""#], vec![thinks("a"), thinks("b")]),
            (&[r#""reasoning":"a","reasoning_details":[{"type":"reasoning.text","text":"a","format":"anthropic-claude-v1","index":0}]"#,
               r#""reasoning":null,"reasoning_details":[{"type":"reasoning.text","text":"","signature":"s","index":0}]"#,
               r#""reasoning_details":[{"type":"reasoning.encrypted","data":"xyz"},{"type":"reasoning.encrypted","data":"rs","format":"openai-responses-v1"}]"#],
               vec![thinks("a"), signed("s"), Event::ReasoningRedacted("xyz".to_owned()), signed(r#"openrouter:{"format":"openai-responses-v1","data":"rs"}"#)]),
            // Read out first, and again as a whole with its signature.
            (&[r#""reasoning_content":"a""#, r#""reasoning_content":"b""#, r#""reasoning_details":[{"type":"reasoning.text","text":"ab","signature":"s","index":0}]"#,
               r#""reasoning_content":"c""#, r#""reasoning_details":[{"type":"reasoning.text","text":"c","index":1}]"#],
               vec![thinks("a"), thinks("b"), signed("s"), thinks("c")]),
            (&[r#""reasoning_content":"a","reasoning_details":[{"type":"reasoning.text","id":"reasoning-text-1","format":"MiniMax-response-v1","index":0,"text":"a"}]"#,
               r#""reasoning_details":[{"type":"reasoning.text","format":"MiniMax-response-v1","index":0,"text":"and"}]"#], vec![thinks("a"), thinks("and")]),
            (&[r#""reasoning":"a","reasoning_details":[{"type":"reasoning.summary","summary":"a","format":"openai-responses-v1"}]"#], vec![thinks("a")]),
            (&[r#""reasoning":{"odd":1},"reasoning_details":[7,{"type":"else"}]"#, r#""reasoning_content":"""#], vec![]),
            // Mistral
            (&[r#""content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]},{"type":"text","text":"b"}]"#], vec![thinks("a"), text("b")]),
        ];
        for (deltas, expected) in cases {
            assert_eq!(of_deltas(deltas), expected, "{deltas:?}");
        }
    }

    #[test]
    fn the_end_has_a_reason() {
        use FinishReason::{ContentFilter, Length, Stop, ToolCalls};
        let cases = [
            ("stop", Stop),
            ("eos", Stop),
            ("length", Length),
            ("model_length", Length),
            ("tool_calls", ToolCalls),
            ("function_call", ToolCalls),
            ("content_filter", ContentFilter),
            ("sensitive", ContentFilter),
            ("new_word", Stop),
        ];
        for (native, reason) in cases {
            let events = streamed(&of_choices(&[&format!(r#""delta":{{}},"finish_reason":"{native}""#)]));
            assert_eq!(events.last(), Some(&finish(reason, native)));
        }
        let unsaid = r#""delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"""#;
        assert_eq!(streamed(&of_choices(&[unsaid])).last(), Some(&finish(ToolCalls, "")));
        assert_eq!(streamed(&of_choices(&[r#""delta":{"content":"a"}"#])).last(), Some(&finish(Stop, "")));
        for (native, expected) in [
            ("error", ErrorClass::Server),
            ("network_error", ErrorClass::Server),
            ("insufficient_system_resource", ErrorClass::Overloaded),
        ] {
            let events = streamed(&of_choices(&[&format!(r#""delta":{{}},"finish_reason":"{native}""#)]));
            assert_eq!(class(&events), Some(expected), "{native}");
            assert!(matches!(events.last(), Some(Event::Error(_))), "{events:?}");
        }
    }

    #[test]
    fn usage_is_found_wherever_it_stands() {
        let chunk = |fields: &str| {
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a\"}},\"finish_reason\":{fields}}}\n\n"
            )
        };
        let tokens =
            |output| Event::Usage(Usage { input_tokens: 2, output_tokens: output, ..Usage::default() });
        let usage = |output: u64| format!(r#"{{"prompt_tokens":2,"completion_tokens":{output}}}"#);
        let begin = Event::Start { id: None, model: None };
        let end = || finish(FinishReason::Stop, "stop");
        // With every chunk, without `[DONE]`.
        let every = chunk(&format!(r#"null}}],"usage":{}"#, usage(1)))
            + &chunk(&format!(r#""stop"}}],"usage":{}"#, usage(3)));
        assert_eq!(streamed(&every), [begin.clone(), text("a"), tokens(1), text("a"), tokens(3), end()]);
        let groq = chunk(&format!(r#""stop"}}],"x_groq":{{"id":"r","usage":{}}}"#, usage(3)));
        assert_eq!(streamed(&groq), [begin.clone(), text("a"), tokens(3), end()]);
        let last =
            chunk(r#""stop"}],"usage":null"#) + &format!("data: {{\"choices\":[],\"usage\":{}}}", usage(3));
        assert_eq!(streamed(&last), [begin.clone(), text("a"), tokens(3), end()]);
        assert_eq!(streamed(&chunk(r#""stop"}],"usage":"odd""#)), [begin, text("a"), end()]);
    }

    #[test]
    fn a_refusal_and_sources_are_told() {
        let source = |url: &str, title: Option<&str>, quote: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Event::Citation(Citation {
                // Only those that say where are told where.
                span: quote.map(|_| (0, 1)),
                url: Some(url.to_owned()),
                title: owned(title),
                quote: owned(quote),
            })
        };
        assert_eq!(
            of_deltas(&[
                r#""refusal":"No""#,
                r#""annotations":[{"type":"url_citation","url_citation":{"url":"https://x","title":"X","content":"q","start_index":0,"end_index":1}},{"type":"file"}]"#
            ]),
            [Event::Refusal("No".to_owned()), source("https://x", Some("X"), Some("q"))]
        );
        let answer = |fields: &str| {
            let body =
                format!(r#"{{"choices":[{{"message":{{"content":"a"}},"finish_reason":"stop"}}],{fields}}}"#);
            decode(body.as_bytes()).expect("an answer")[2..].to_vec()
        };
        let end = finish(FinishReason::Stop, "stop");
        assert_eq!(
            answer(
                r#""citations":["https://x"],"search_results":[{"title":"X","url":"https://x","date":null}]"#
            ),
            [source("https://x", Some("X"), None), end.clone()]
        );
        assert_eq!(answer(r#""citations":["https://x"]"#), [source("https://x", None, None), end]);
    }

    #[test]
    fn the_word_of_whom_the_provider_asked_the_stop_text_and_probabilities_are_told() {
        let token = r#"{"token":"a","bytes":[97],"logprob":-0.5,"top_logprobs":[]}"#;
        let body = format!(
            r#"{{"choices":[{{"message":{{"content":"a"}},"finish_reason":"stop","native_finish_reason":"end_turn","stop_reason":"END","logprobs":{{"content":[{token}],"refusal":null}}}}]}}"#
        );
        let token = serde_json::from_str(token).expect("JSON");
        let told = [Event::Logprobs(vec![token]), Event::StopText("END".to_owned())];
        let events = decode(body.as_bytes()).expect("an answer");
        assert_eq!(events[2..4], told);
        assert_eq!(events[4], finish(FinishReason::Stop, "end_turn"));
        // A list of another shape is none, and a number is no text (vLLM).
        let odd = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop","stop_reason":128009,"logprobs":{"tokens":["a"]}}]}"#;
        assert_eq!(decode(odd.as_bytes()).expect("an answer")[2..], [finish(FinishReason::Stop, "stop")]);
    }

    #[test]
    fn a_failure_in_a_good_answer_is_a_failure() {
        let begun = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        let cases = [
            (
                "data: {\"error\":{\"code\":429,\"message\":\"Slow down.\"},\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n",
                ErrorClass::Rate,
            ),
            ("data: {\"error\":\"Broken\"}\n\n", ErrorClass::Server),
            (
                "event: error\ndata: {\"message\":\"Too long\",\"code\":\"context_length_exceeded\"}\n\n",
                ErrorClass::ContextLength,
            ),
            (
                "data: {\"object\":\"error\",\"message\":\"No such model\",\"code\":404}\n\n",
                ErrorClass::NotFound,
            ),
            ("data: <html>\n\n", ErrorClass::Garbled),
            ("", ErrorClass::Truncated),
        ];
        for (event, expected) in cases {
            for stream in [format!("{begun}{event}data: [DONE]\n\n"), event.to_owned()] {
                if event.is_empty() && !stream.is_empty() {
                    continue;
                }
                let events = streamed(&stream);
                assert_eq!(class(&events), Some(expected), "{stream}");
                assert!(matches!(events.last(), Some(Event::Error(error)) if error.status.is_none()));
            }
            if let Some(body) = event.trim_end().strip_prefix("data: ") {
                assert_eq!(decode(body.as_bytes()).map_err(|error| error.class), Err(expected), "{body}");
            }
        }
        for body in [
            "",
            "{}",
            "[]",
            r#"{"choices":[]}"#,
            r#"{"choices":[{"message":null}]}"#,
            r#"{"choices":[{"message":7}]}"#,
        ] {
            assert_eq!(
                decode(body.as_bytes()).map_err(|error| error.class),
                Err(ErrorClass::Garbled),
                "{body}"
            );
        }
        assert_eq!(class(&streamed("data: [DONE]\n\n")), Some(ErrorClass::Truncated));
    }

    #[test]
    fn our_own_answers_are_read_without_loss() {
        use crate::{
            dialect::chat_completions::answer,
            front::{Head, Writer},
        };
        let events = [
            Event::Start { id: Some("1".to_owned()), model: Some("m".to_owned()) },
            thinks("a"),
            Event::ReasoningSignature("s".to_owned()),
            Event::ReasoningRedacted("x".to_owned()),
            text("b"),
            Event::ToolCall {
                index: 0,
                id: "c".to_owned(),
                name: "f".to_owned(),
                signature: Some("g".to_owned()),
            },
            arguments(0, "{}"),
            Event::Usage(Usage {
                input_tokens: 3,
                cache_write_5m_input_tokens: 1,
                output_tokens: 2,
                ..Usage::default()
            }),
            finish(FinishReason::ToolCalls, "tool_calls"),
        ];
        let head = Head { id: "1", created: 0, model: "m" };
        assert_eq!(decode(&answer::whole(&head, &events).expect("whole")), Ok(events.to_vec()));
        let mut stream = answer::Stream::new(&head, true);
        let mut out = Vec::new();
        stream.events(&events, &mut out);
        stream.done(&mut out);
        assert_eq!(cut(&out, &[]), events);
    }
}
