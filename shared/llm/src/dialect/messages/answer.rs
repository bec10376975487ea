//! A Messages answer, whole or streamed, as unified events.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::ErrorBody;
use crate::{
    UpstreamError, Usage,
    chat::{Citation, Event, FinishReason},
    dialect::{OnEvent, Unsaid, count},
    sse,
    usage::ServiceTier,
};

/// A whole answer is read as a stream in which every block comes at once.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, UpstreamError> {
    let answer: Message<'_> = serde_json::from_slice(body).map_err(|_| {
        UpstreamError::garbled(if body.trim_ascii().is_empty() {
            "it was empty"
        } else {
            "it is not a message"
        })
    })?;
    if let Some(error) = &answer.error {
        // Some proxies answer 200 to everything.
        return Err(error.classified(None));
    }
    let Some(content) = &answer.content else {
        return Err(UpstreamError::garbled("it has no `content`"));
    };
    let mut reader = Reader::default();
    let mut events = Vec::with_capacity(content.len() + 3);
    events.push(answer.start());
    for (index, block) in (0..).zip(content) {
        reader.open(index, block, &mut events)?;
        reader.close(&mut events);
    }
    let stop =
        Stop { reason: answer.stop_reason, sequence: answer.stop_sequence, details: answer.stop_details };
    reader.stop(stop, answer.usage, &mut events);
    reader.end(&mut events);
    Ok(events)
}

/// Reads one streamed answer.
#[derive(Default)]
pub(super) struct Reader {
    counted: Counted,
    /// The tool call that is open.
    call: Option<Call>,
    /// How many tool calls there were.
    calls: u32,
    /// Kept until the end, so that a stream cut right before it does not look finished.
    finish: Option<Event>,
    /// The stop sequence that matched.
    stop: Option<String>,
    /// How many characters of text there were, all in all and before this block.
    said: u64,
    block_began_at: u64,
    /// Sources of the open block: what it says rests on them as a whole.
    citations: Vec<Citation>,
    unsaid: Unsaid,
    whole: bool,
}

struct Call {
    /// The block's index among all blocks.
    block: u32,
    /// Its index among the calls.
    index: u32,
    /// The arguments where no piece of them follows.
    input: Option<String>,
}

impl OnEvent for Reader {
    fn event(&mut self, event: sse::Event<'_>, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        // What something on the way appends after the end is not ours to judge.
        if self.whole {
            return Ok(());
        }
        let name = match event.name {
            // Names may be lost on the way; the data repeats them.
            b"" => Cow::Owned(parse::<Typed<'_>>(&event.data)?.kind.into_owned().into_bytes()),
            name => Cow::Borrowed(name),
        };
        match &*name {
            b"content_block_delta" => self.delta(&event.data, events)?,
            b"content_block_start" => {
                let start: BlockStart<'_> = parse(&event.data)?;
                self.open(start.index, start.content_block, events)?;
            }
            b"content_block_stop" => self.close(events),
            b"error" => return Err(parse::<Failure<'_>>(&event.data)?.error.classified(None)),
            b"message_delta" => {
                let delta: MessageDelta<'_> = parse(&event.data)?;
                self.stop(delta.delta, delta.usage, events);
            }
            b"message_start" => {
                let start: MessageStart<'_> = parse(&event.data)?;
                events.push(start.message.start());
                self.count(start.message.usage, events);
            }
            b"message_stop" => self.end(events),
            // `ping`, and what the API adds one day.
            _ => {}
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.whole
    }
}

impl Reader {
    /// A block began, and in a whole answer ended as well.
    fn open(&mut self, block: u32, raw: &RawValue, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let raw = raw.get().as_bytes();
        match &*parse::<Typed<'_>>(raw)?.kind {
            "redacted_thinking" => events.push(Event::ReasoningRedacted(parse::<Redacted>(raw)?.data)),
            "thinking" => {
                let Thought { thinking, signature } = parse(raw)?;
                push_text(events, thinking, Event::Reasoning);
                push_text(events, signature, Event::ReasoningSignature);
            }
            "tool_use" => {
                let ToolUse { id, name, input } = parse(raw)?;
                let index = self.calls;
                self.calls += 1;
                events.push(Event::ToolCall { index, id, name, signature: None });
                let input = input.map_or("{}", RawValue::get).to_owned();
                self.call = Some(Call { block, index, input: Some(input) });
            }
            "text" => {
                let said: Said<'_> = parse(raw)?;
                self.block_began_at = self.said;
                self.text(said.text, events);
                self.citations.extend(said.citations.into_iter().flatten().filter_map(citation));
            }
            // Tools run by Anthropic and their results, and what the API adds one day.
            kind => self.unsaid.tell("content", kind, events),
        }
        Ok(())
    }

    fn delta(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let BlockDelta { index: block, delta } = parse(data)?;
        match &*delta.kind {
            "input_json_delta" => {
                // Calls of tools run by Anthropic have input too.
                if let Some(call) =
                    self.call.as_mut().filter(|call| call.block == block && !delta.partial_json.is_empty())
                {
                    call.input = None;
                    events.push(Event::ToolArguments {
                        index: call.index,
                        text: delta.partial_json.into_owned(),
                    });
                }
            }
            "signature_delta" => push_text(events, delta.signature.into_owned(), Event::ReasoningSignature),
            "thinking_delta" => push_text(events, delta.thinking.into_owned(), Event::Reasoning),
            "text_delta" => self.text(delta.text.into_owned(), events),
            "citations_delta" => self.citations.extend(delta.citation.and_then(citation)),
            // What the API adds one day.
            _ => {}
        }
        Ok(())
    }

    /// The open block ended.
    fn close(&mut self, events: &mut Vec<Event>) {
        if let Some(Call { index, input: Some(text), .. }) = self.call.take() {
            events.push(Event::ToolArguments { index, text });
        }
        let span = Some((self.block_began_at, self.said));
        let cited = self.citations.drain(..).map(|citation| Event::Citation(Citation { span, ..citation }));
        events.extend(cited);
    }

    fn text(&mut self, text: String, events: &mut Vec<Event>) {
        self.said += text.chars().count() as u64;
        push_text(events, text, Event::Text);
    }

    fn stop(&mut self, stop: Stop<'_>, usage: Option<Value>, events: &mut Vec<Event>) {
        self.count(usage, events);
        let Some(native) = stop.reason else { return };
        let reason = finish_reason(&native.0);
        if let (FinishReason::ContentFilter, Some(Details { explanation: Some(text) })) =
            (reason, stop.details)
        {
            events.push(Event::Refusal(text.0.into_owned()));
        }
        self.stop = stop.sequence.map(|text| text.0.into_owned());
        self.finish = Some(Event::Finish { reason, native: native.0.into_owned() });
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        let without_reason = || Event::Finish { reason: FinishReason::Stop, native: String::new() };
        events.extend(self.stop.take().map(Event::StopText));
        events.push(self.finish.take().unwrap_or_else(without_reason));
        self.whole = true;
    }

    fn count(&mut self, usage: Option<Value>, events: &mut Vec<Event>) {
        if let Some(usage) = usage {
            self.counted.add(&usage);
            events.push(Event::Usage(self.counted.usage()));
        }
    }
}

fn finish_reason(native: &str) -> FinishReason {
    match native {
        "compaction" | "max_tokens" | "model_context_window_exceeded" | "pause_turn" => FinishReason::Length,
        "refusal" => FinishReason::ContentFilter,
        "tool_use" => FinishReason::ToolCalls,
        // `end_turn`, `stop_sequence`, and what the API adds one day.
        _ => FinishReason::Stop,
    }
}

/// A source in any of the forms it has: a place in a document, a result of a search.
fn citation(raw: &RawValue) -> Option<Citation> {
    let fields: Value = serde_json::from_str(raw.get()).ok()?;
    let text = |name: &str| fields[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    Some(Citation {
        url: text("url").or(text("source")),
        title: text("title").or(text("document_title")),
        quote: text("cited_text"),
        span: None,
    })
}

fn push_text(events: &mut Vec<Event>, text: String, event: fn(String) -> Event) {
    if !text.is_empty() {
        events.push(event(text));
    }
}

/// Tokens so far. Every count in a stream is a total up to then, and some are left out of the later
/// ones, so the largest holds.
#[derive(Default)]
struct Counted {
    uncached: u64,
    cache_read: u64,
    cache_written: u64,
    cache_written_1h: u64,
    output: u64,
    thinking: u64,
    searches: u64,
    tier: ServiceTier,
}

impl Counted {
    fn add(&mut self, wire: &Value) {
        let larger = |total: &mut u64, path: &str| *total = count(wire, path).unwrap_or(0).max(*total);
        larger(&mut self.uncached, "/input_tokens");
        larger(&mut self.cache_read, "/cache_read_input_tokens");
        larger(&mut self.cache_written, "/cache_creation_input_tokens");
        larger(&mut self.cache_written_1h, "/cache_creation/ephemeral_1h_input_tokens");
        larger(&mut self.output, "/output_tokens");
        larger(&mut self.thinking, "/output_tokens_details/thinking_tokens");
        larger(&mut self.searches, "/server_tool_use/web_search_requests");
        if let Some(tier) = wire["service_tier"].as_str() {
            self.tier = ServiceTier::named(tier);
        }
    }

    /// `input_tokens` on the wire is what no cache had a part in; ours is all of it.
    fn usage(&self) -> Usage {
        Usage {
            input_tokens: self.uncached.saturating_add(self.cache_read).saturating_add(self.cache_written),
            cache_read_input_tokens: self.cache_read,
            cache_write_5m_input_tokens: self.cache_written.saturating_sub(self.cache_written_1h),
            cache_write_1h_input_tokens: self.cache_written_1h,
            output_tokens: self.output,
            reasoning_output_tokens: self.thinking,
            searches: self.searches,
            tier: self.tier,
            ..Usage::default()
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, UpstreamError> {
    serde_json::from_slice(data)
        .map_err(|_| UpstreamError::garbled("an event in it is not what its name says"))
}

/// A string that may be null. Unlike `Option<Cow<str>>` it is borrowed.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(borrow)]
    error: ErrorBody<'a>,
}

#[derive(Deserialize)]
struct MessageStart<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow)]
    stop_sequence: Option<Text<'a>>,
    #[serde(borrow)]
    stop_details: Option<Details<'a>>,
    usage: Option<Value>,
    #[serde(borrow)]
    error: Option<ErrorBody<'a>>,
}

impl Message<'_> {
    fn start(&self) -> Event {
        let owned = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.0.clone().into_owned());
        Event::Start { id: owned(&self.id), model: owned(&self.model) }
    }
}

#[derive(Deserialize)]
struct BlockStart<'a> {
    index: u32,
    #[serde(borrow)]
    content_block: &'a RawValue,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(default)]
    text: String,
    #[serde(borrow)]
    citations: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Thought {
    #[serde(default)]
    thinking: String,
    #[serde(default)]
    signature: String,
}

#[derive(Deserialize)]
struct Redacted {
    data: String,
}

#[derive(Deserialize)]
struct ToolUse<'a> {
    id: String,
    name: String,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct BlockDelta<'a> {
    index: u32,
    #[serde(borrow)]
    delta: Delta<'a>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    partial_json: Cow<'a, str>,
    #[serde(borrow, default)]
    signature: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    thinking: Cow<'a, str>,
    #[serde(borrow)]
    citation: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageDelta<'a> {
    #[serde(borrow)]
    delta: Stop<'a>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Stop<'a> {
    #[serde(borrow, rename = "stop_reason")]
    reason: Option<Text<'a>>,
    #[serde(borrow, rename = "stop_sequence")]
    sequence: Option<Text<'a>>,
    #[serde(borrow, rename = "stop_details")]
    details: Option<Details<'a>>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    explanation: Option<Text<'a>>,
}
