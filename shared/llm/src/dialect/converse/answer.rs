//! A Converse answer, whole or streamed, as unified events.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure;
use crate::{
    UpstreamError, Usage,
    chat::{self, Event, FinishReason},
    dialect::Decoder,
    eventstream::{Message, Splitter},
    usage::ServiceTier,
};

/// A whole answer.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, UpstreamError> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| {
        UpstreamError::garbled(if body.trim_ascii().is_empty() {
            "it was empty"
        } else {
            "it is not an answer of Converse"
        })
    })?;
    let mut events = vec![Event::Start { id: None, model: None }];
    let mut calls = 0;
    for block in answer.output.message.content {
        block.events(&mut calls, &mut events);
    }
    let tier = ServiceTierName::tier(answer.service_tier);
    events.extend(answer.usage.map(|usage| Event::Usage(Usage { tier, ..usage.canonical() })));
    events.extend(answer.more.and_then(More::stop_text));
    events.push(finish(answer.stop_reason)?);
    Ok(events)
}

/// Reads one streamed answer.
#[derive(Default)]
pub(super) struct Stream {
    splitter: Splitter,
    reader: Reader,
}

impl Decoder for Stream {
    fn feed(&mut self, chunk: &[u8], events: &mut Vec<Event>) {
        let Self { splitter, reader } = self;
        splitter.feed(chunk, |_, message| reader.read(&message, events));
        if let Some(broken) = splitter.broken() {
            reader.fail(UpstreamError::garbled(&broken.to_string()), events);
        }
    }

    fn finish(&mut self, events: &mut Vec<Event>) {
        // Without the usage that comes after it, an end is an end all the same.
        match self.reader.finish.take() {
            Some(finish) if self.splitter.held().is_empty() => events.push(finish),
            _ if self.reader.whole && self.splitter.held().is_empty() => {}
            _ => self.reader.fail(UpstreamError::truncated(), events),
        }
    }
}

#[derive(Default)]
struct Reader {
    /// The tool call that is open.
    call: Option<Call>,
    /// How many tool calls there were.
    calls: u32,
    /// Encrypted thought of the open block; its pieces need not end where its base64 does.
    redacted: Vec<u8>,
    /// Kept until the usage has come.
    finish: Option<Event>,
    whole: bool,
    failed: bool,
}

struct Call {
    /// The block's index among all blocks.
    block: u32,
    /// Its index among the calls.
    index: u32,
    has_arguments: bool,
}

impl Reader {
    fn read(&mut self, message: &Message<'_>, events: &mut Vec<Event>) {
        // After a failure nothing that follows can be trusted; after the end nothing is ours to judge.
        if self.failed || self.whole {
            return;
        }
        if let Err(error) = self.message(message, events) {
            self.fail(error, events);
        }
    }

    fn fail(&mut self, error: UpstreamError, events: &mut Vec<Event>) {
        if !self.failed {
            self.failed = true;
            events.push(Event::Error(error));
        }
    }

    fn message(&mut self, message: &Message<'_>, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let header = |name: &str| message.text(name).unwrap_or_default();
        match header(":message-type") {
            "error" => return Err(failure::exception(header(":error-code"), header(":error-message"), None)),
            "exception" => return Err(failure::in_stream(header(":exception-type"), message.payload)),
            _ => {}
        }
        match header(":event-type") {
            "contentBlockDelta" => self.delta(parse(message.payload)?, events),
            "contentBlockStart" => self.open(parse(message.payload)?, events),
            "contentBlockStop" => self.close(events),
            "messageStart" => events.push(Event::Start { id: None, model: None }),
            "messageStop" => {
                let stop: MessageStop = parse(message.payload)?;
                events.extend(stop.more.and_then(More::stop_text));
                self.finish = Some(finish(stop.stop_reason)?);
            }
            "metadata" => {
                let Metadata { usage, service_tier } = parse(message.payload)?;
                let tier = ServiceTierName::tier(service_tier);
                events.extend(usage.map(|usage| Event::Usage(Usage { tier, ..usage.canonical() })));
                self.whole = self.finish.is_some();
                events.extend(self.finish.take());
            }
            // What the API adds one day.
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, BlockStart { start, block }: BlockStart, events: &mut Vec<Event>) {
        // Tools that Bedrock runs itself are not the caller's to answer.
        let Some(call) = start.tool_use.filter(|call| call.kind.is_none()) else { return };
        let index = self.calls;
        self.calls += 1;
        self.call = Some(Call { block, index, has_arguments: false });
        events.push(Event::ToolCall { index, id: call.tool_use_id, name: call.name, signature: None });
    }

    fn delta(&mut self, BlockDelta { delta, block }: BlockDelta, events: &mut Vec<Event>) {
        push_text(events, delta.text, Event::Text);
        if let (Some(piece), Some(call)) = (delta.tool_use, &mut self.call)
            && call.block == block
            && !piece.input.is_empty()
        {
            call.has_arguments = true;
            events.push(Event::ToolArguments { index: call.index, text: piece.input });
        }
        if let Some(thought) = delta.reasoning_content {
            push_text(events, thought.text, Event::Reasoning);
            push_text(events, thought.signature, Event::ReasoningSignature);
            let redacted = thought.redacted_content.and_then(|data| STANDARD.decode(data).ok());
            self.redacted.extend(redacted.into_iter().flatten());
        }
        events.extend(delta.citation.map(Citation::event));
    }

    /// The open block ended.
    fn close(&mut self, events: &mut Vec<Event>) {
        if let Some(Call { index, has_arguments: false, .. }) = self.call.take() {
            events.push(Event::ToolArguments { index, text: "{}".to_owned() });
        }
        if !self.redacted.is_empty() {
            events.push(Event::ReasoningRedacted(STANDARD.encode(&self.redacted)));
            self.redacted.clear();
        }
    }
}

/// A failure of the model itself is told as an end. It becomes an error: a caller could not tell it from
/// success.
fn finish(native: String) -> Result<Event, UpstreamError> {
    let reason = match native.as_str() {
        "content_filtered" | "guardrail_intervened" => FinishReason::ContentFilter,
        "malformed_model_output" | "malformed_tool_use" => {
            let message = "the model gave an answer that Bedrock could not read";
            let error = UpstreamError::new(crate::ErrorClass::Server, message);
            return Err(UpstreamError { code: Some(native), ..error });
        }
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        // `end_turn`, `stop_sequence`, and what the API adds one day.
        _ => FinishReason::Stop,
    };
    Ok(Event::Finish { reason, native })
}

fn push_text(events: &mut Vec<Event>, text: Option<String>, event: fn(String) -> Event) {
    events.extend(text.filter(|text| !text.is_empty()).map(event));
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, UpstreamError> {
    serde_json::from_slice(payload)
        .map_err(|_| UpstreamError::garbled("an event in it is not what its name says"))
}

// --- wire ---

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    output: Output<'a>,
    stop_reason: String,
    usage: Option<WireUsage>,
    service_tier: Option<ServiceTierName>,
    #[serde(rename = "additionalModelResponseFields")]
    more: Option<More>,
}

/// What was asked for beside Converse's own fields.
#[derive(Deserialize)]
struct More {
    stop_sequence: Option<String>,
}

impl More {
    fn stop_text(self) -> Option<Event> {
        self.stop_sequence.filter(|text| !text.is_empty()).map(Event::StopText)
    }
}

#[derive(Deserialize)]
struct ServiceTierName {
    #[serde(rename = "type")]
    name: String,
}

impl ServiceTierName {
    fn tier(tier: Option<Self>) -> ServiceTier {
        tier.map(|tier| ServiceTier::named(&tier.name)).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Said<'a>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    content: Vec<Block<'a>>,
}

/// One of its fields is there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    text: Option<String>,
    #[serde(borrow)]
    tool_use: Option<ToolUse<'a>>,
    reasoning_content: Option<Thought>,
    citations_content: Option<Cited>,
}

impl Block<'_> {
    fn events(self, calls: &mut u32, events: &mut Vec<Event>) {
        push_text(events, self.text, Event::Text);
        if let Some(thought) = self.reasoning_content {
            let signed = thought.reasoning_text.unwrap_or_default();
            push_text(events, signed.text, Event::Reasoning);
            push_text(events, signed.signature, Event::ReasoningSignature);
            push_text(events, thought.redacted_content, Event::ReasoningRedacted);
        }
        if let Some(ToolUse { tool_use_id: id, name, input, kind: None }) = self.tool_use {
            let index = *calls;
            *calls += 1;
            events.push(Event::ToolCall { index, id, name, signature: None });
            let text = input.map_or("{}", RawValue::get).to_owned();
            events.push(Event::ToolArguments { index, text });
        }
        if let Some(cited) = self.citations_content {
            cited.content.into_iter().for_each(|said| push_text(events, said.text, Event::Text));
            events.extend(cited.citations.into_iter().map(Citation::event));
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolUse<'a> {
    tool_use_id: String,
    name: String,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    /// `server_tool_use` where Bedrock runs the tool itself.
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thought {
    reasoning_text: Option<Signed>,
    redacted_content: Option<String>,
}

#[derive(Default, Deserialize)]
struct Signed {
    text: Option<String>,
    signature: Option<String>,
}

#[derive(Deserialize)]
struct Cited {
    #[serde(default)]
    content: Vec<Words>,
    #[serde(default)]
    citations: Vec<Citation>,
}

#[derive(Deserialize)]
struct Words {
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Citation {
    title: Option<String>,
    #[serde(default)]
    source_content: Vec<Words>,
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Location {
    web: Option<Web>,
}

#[derive(Deserialize)]
struct Web {
    url: Option<String>,
}

impl Citation {
    fn event(self) -> Event {
        let quote: String = self.source_content.into_iter().filter_map(|words| words.text).collect();
        Event::Citation(chat::Citation {
            url: self.location.and_then(|location| location.web?.url),
            title: self.title,
            quote: (!quote.is_empty()).then_some(quote),
            span: None,
        })
    }
}

#[derive(Deserialize)]
struct BlockStart {
    start: Start,
    #[serde(rename = "contentBlockIndex")]
    block: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    tool_use: Option<CallStart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallStart {
    tool_use_id: String,
    name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct BlockDelta {
    delta: Delta,
    #[serde(rename = "contentBlockIndex")]
    block: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delta {
    text: Option<String>,
    tool_use: Option<Piece>,
    reasoning_content: Option<ThoughtPiece>,
    citation: Option<Citation>,
}

#[derive(Deserialize)]
struct Piece {
    input: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ThoughtPiece {
    text: Option<String>,
    signature: Option<String>,
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop {
    stop_reason: String,
    #[serde(rename = "additionalModelResponseFields")]
    more: Option<More>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    usage: Option<WireUsage>,
    service_tier: Option<ServiceTierName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_write_input_tokens: Option<u64>,
    cache_details: Option<Vec<Written>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    ttl: Option<String>,
    input_tokens: Option<u64>,
}

impl WireUsage {
    /// `inputTokens` on the wire is what no cache had a part in; ours is all of it.
    fn canonical(self) -> Usage {
        let read = self.cache_read_input_tokens.unwrap_or(0);
        let written = self.cache_write_input_tokens.unwrap_or(0);
        let for_an_hour = self.cache_details.into_iter().flatten();
        let for_an_hour = for_an_hour.filter(|written| written.ttl.as_deref() == Some("1h"));
        let hour = for_an_hour.filter_map(|written| written.input_tokens).fold(0, u64::saturating_add);
        Usage {
            input_tokens: self.input_tokens.unwrap_or(0).saturating_add(read).saturating_add(written),
            cache_read_input_tokens: read,
            cache_write_5m_input_tokens: written.saturating_sub(hour),
            cache_write_1h_input_tokens: hour.min(written),
            output_tokens: self.output_tokens.unwrap_or(0),
            ..Usage::default()
        }
    }
}
