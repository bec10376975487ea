//! A Converse answer, whole or streamed, as unified events.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::failure;
use crate::{
    UpstreamError, Usage,
    chat::{self, Event, FinishReason},
    dialect::{Decoder, Unsaid, count, text},
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
    let (mut calls, mut unsaid) = (0, Unsaid::default());
    for raw in answer.output.message.content {
        let block: Block<'_> = parse(raw.get().as_bytes())?;
        let kind = block.unknown().then(|| serde_json::from_str::<Value>(raw.get()).unwrap_or_default());
        if let Some(kind) = kind.as_ref().and_then(first_name) {
            unsaid.tell("content", kind, &mut events);
        }
        block.events(&mut calls, &mut unsaid, &mut events);
    }
    events.extend(answer.usage.map(|usage| canonical(&usage, answer.service_tier.as_ref())));
    events.extend(answer.more.as_ref().and_then(stop_text));
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
        if self.reader.failed {
            return;
        }
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
    unsaid: Unsaid,
    /// Kept until the usage has come.
    finish: Option<Event>,
    whole: bool,
    failed: bool,
}

struct Call {
    /// The block's index among all blocks.
    block: Option<u64>,
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
            "contentBlockDelta" => self.delta(&parse(message.payload)?, events),
            "contentBlockStart" => self.open(&parse(message.payload)?, events)?,
            "contentBlockStop" => self.close(events),
            "messageStart" => events.push(Event::Start { id: None, model: None }),
            "messageStop" => {
                let stop: Value = parse(message.payload)?;
                events.extend(stop_text(&stop["additionalModelResponseFields"]));
                self.finish = Some(finish(text(&stop, "/stopReason").ok_or_else(odd)?)?);
            }
            "metadata" => {
                let metadata: Value = parse(message.payload)?;
                let usage = metadata.get("usage").filter(|usage| usage.is_object());
                events.extend(usage.map(|usage| canonical(usage, metadata.get("serviceTier"))));
                self.whole = self.finish.is_some();
                events.extend(self.finish.take());
            }
            // What the API adds one day.
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, event: &Value, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let call = &event["start"]["toolUse"];
        // Tools that Bedrock runs itself are not the caller's to answer.
        let kind = if call.is_object() { call["type"].as_str() } else { first_name(&event["start"]) };
        if let Some(kind) = kind {
            self.unsaid.tell("content", kind, events);
        }
        if !call.is_object() || kind.is_some() {
            return Ok(());
        }
        let id = text(call, "/toolUseId").ok_or_else(odd)?;
        let name = text(call, "/name").ok_or_else(odd)?;
        let index = self.calls;
        self.calls += 1;
        self.call = Some(Call { block: count(event, "/contentBlockIndex"), index, has_arguments: false });
        events.push(Event::ToolCall { index, id, name, signature: None });
        Ok(())
    }

    fn delta(&mut self, event: &Value, events: &mut Vec<Event>) {
        const KNOWN: [&str; 4] = ["citation", "reasoningContent", "text", "toolUse"];
        if let Some(kind) = first_name(&event["delta"]).filter(|kind| !KNOWN.contains(kind)) {
            self.unsaid.tell("content", kind, events);
        }
        events.extend(text(event, "/delta/text").map(Event::Text));
        if let (Some(piece), Some(call)) = (text(event, "/delta/toolUse/input"), &mut self.call)
            && call.block == count(event, "/contentBlockIndex")
        {
            call.has_arguments = true;
            events.push(Event::ToolArguments { index: call.index, text: piece });
        }
        let thought = &event["delta"]["reasoningContent"];
        events.extend(text(thought, "/text").map(Event::Reasoning));
        events.extend(text(thought, "/signature").map(Event::ReasoningSignature));
        let redacted = text(thought, "/redactedContent").and_then(|data| STANDARD.decode(data).ok());
        self.redacted.extend(redacted.into_iter().flatten());
        events.extend(event["delta"].get("citation").filter(|citation| citation.is_object()).map(citation));
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

/// `inputTokens` on the wire is what no cache had a part in; ours is all of it.
fn canonical(usage: &Value, tier: Option<&Value>) -> Event {
    let counted = |path: &str| count(usage, path).unwrap_or(0);
    let (read, written) = (counted("/cacheReadInputTokens"), counted("/cacheWriteInputTokens"));
    let details = usage["cacheDetails"].as_array().into_iter().flatten();
    let for_an_hour = details.filter(|written| written["ttl"] == "1h");
    let hour = for_an_hour.filter_map(|written| count(written, "/inputTokens")).fold(0, u64::saturating_add);
    let tier = tier.and_then(|tier| tier["type"].as_str()).map(ServiceTier::named);
    Event::Usage(Usage {
        input_tokens: counted("/inputTokens").saturating_add(read).saturating_add(written),
        cache_read_input_tokens: read,
        cache_write_5m_input_tokens: written.saturating_sub(hour),
        cache_write_1h_input_tokens: hour.min(written),
        output_tokens: counted("/outputTokens"),
        tier: tier.unwrap_or_default(),
        ..Usage::default()
    })
}

/// The stop text that matched, which is asked for beside Converse's own fields.
fn stop_text(more: &Value) -> Option<Event> {
    text(more, "/stop_sequence").map(Event::StopText)
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

fn citation(source: &Value) -> Event {
    let words = source["sourceContent"].as_array().into_iter().flatten();
    let quote: String = words.filter_map(|words| words["text"].as_str()).collect();
    Event::Citation(chat::Citation {
        url: text(source, "/location/web/url"),
        title: text(source, "/title"),
        quote: (!quote.is_empty()).then_some(quote),
        span: None,
    })
}

/// What a piece of content is called: one field of it is there.
fn first_name(piece: &Value) -> Option<&str> {
    piece.as_object()?.keys().next().map(String::as_str)
}

fn odd() -> UpstreamError {
    UpstreamError::garbled("an event in it is not what its name says")
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, UpstreamError> {
    serde_json::from_slice(payload).map_err(|_| odd())
}

// --- wire ---

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    output: Output<'a>,
    stop_reason: String,
    usage: Option<Value>,
    service_tier: Option<Value>,
    #[serde(rename = "additionalModelResponseFields")]
    more: Option<Value>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Said<'a>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    content: Vec<&'a RawValue>,
}

/// One of its fields is there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    text: Option<String>,
    #[serde(borrow)]
    tool_use: Option<ToolUse<'a>>,
    reasoning_content: Option<Value>,
    citations_content: Option<Value>,
}

impl Block<'_> {
    fn unknown(&self) -> bool {
        self.text.is_none()
            && self.tool_use.is_none()
            && self.reasoning_content.is_none()
            && self.citations_content.is_none()
    }

    fn events(self, calls: &mut u32, unsaid: &mut Unsaid, events: &mut Vec<Event>) {
        events.extend(self.text.filter(|text| !text.is_empty()).map(Event::Text));
        if let Some(thought) = &self.reasoning_content {
            events.extend(text(thought, "/reasoningText/text").map(Event::Reasoning));
            events.extend(text(thought, "/reasoningText/signature").map(Event::ReasoningSignature));
            events.extend(text(thought, "/redactedContent").map(Event::ReasoningRedacted));
        }
        if let Some(kind) = self.tool_use.as_ref().and_then(|call| call.kind.as_deref()) {
            unsaid.tell("content", kind, events);
        }
        if let Some(ToolUse { tool_use_id: id, name, input, kind: None }) = self.tool_use {
            let index = *calls;
            *calls += 1;
            events.push(Event::ToolCall { index, id, name, signature: None });
            let raw = input.map_or("{}", RawValue::get);
            // Arguments that were no object come as text.
            let text = serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned());
            events.push(Event::ToolArguments { index, text });
        }
        if let Some(cited) = self.citations_content {
            let list = |name: &str| cited[name].as_array().into_iter().flatten();
            events.extend(list("content").filter_map(|said| text(said, "/text")).map(Event::Text));
            events.extend(list("citations").map(citation));
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
