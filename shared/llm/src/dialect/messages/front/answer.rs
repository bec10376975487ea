//! Unified events, as the message a caller expects: whole, or as a stream.
//!
//! Both are made by [`Blocks`], which puts the events into blocks, one after the other.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Serialize, Serializer};

use super::{call_id, write_error};
use crate::{
    ServiceTier, UpstreamError, Usage,
    chat::{Citation, Event, FinishReason},
    dialect::{
        CALL_SIGNATURE, add_name,
        arguments::{self, Progress},
        some,
    },
    front::{ErrorBody, Head, Writer},
};

/// A whole answer. The error is the one among the events, or that they have no end.
pub(super) fn whole(head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
    let mut blocks = Blocks::default();
    let mut content = Content::default();
    let (mut end, mut stop_text) = (None, None);
    let mut usage = Usage::default();
    for event in events {
        match event {
            Event::Error(error) => return Err(error.clone()),
            Event::Finish { reason, native } => end = end.or(Some((*reason, native.as_str()))),
            Event::StopText(text) => stop_text = Some(text.as_str()),
            Event::Usage(tokens) => usage = *tokens,
            other => blocks.take(other, &mut content),
        }
    }
    let Some((reason, native)) = end else { return Err(UpstreamError::truncated()) };
    blocks.settle(&mut content);
    let id = message_id(head.id);
    let told = stop_reason(reason, native, &blocks, stop_text);
    let message = Message {
        content: &content.0,
        stop_reason: Some(told),
        native_finish_reason: FinishReason::own_word(native, told),
        stop_sequence: stop_text,
        ..Message::new(&id, head.model, &usage)
    };
    Ok(serde_json::to_vec(&message).expect("strings and numbers into memory cannot fail"))
}

/// Writes one streamed answer as server-sent events.
#[derive(Debug)]
pub(super) struct Stream {
    blocks: Blocks,
    sent: Sent,
    finish: Option<(FinishReason, String)>,
    stop_text: Option<String>,
    /// What of the provider's answer is not in this one.
    lost: String,
    over: bool,
}

/// What the caller has of the stream.
#[derive(Debug)]
struct Sent {
    id: String,
    model: String,
    begun: bool,
    /// How many blocks have begun.
    blocks: usize,
    usage: Usage,
}

impl Stream {
    /// A fresh stream.
    pub(super) fn new(head: &Head<'_>) -> Self {
        let sent = Sent {
            id: message_id(head.id),
            model: head.model.to_owned(),
            begun: false,
            blocks: 0,
            usage: Usage::default(),
        };
        Self {
            blocks: Blocks::default(),
            sent,
            finish: None,
            stop_text: None,
            lost: String::new(),
            over: false,
        }
    }
}

impl Writer for Stream {
    /// `message_start` waits for the first content: an answer that fails right after its start can still
    /// be asked for elsewhere.
    fn events(&mut self, events: &[Event], out: &mut Vec<u8>) {
        for event in events {
            if self.over {
                return;
            }
            if let Event::Error(error) = event {
                return self.fail(&ErrorBody::upstream(error, None), out);
            }
            let mut frames = Frames { sent: &mut self.sent, out };
            match event {
                Event::Finish { reason, native } => {
                    self.blocks.settle(&mut frames);
                    self.finish.get_or_insert_with(|| (*reason, native.clone()));
                }
                Event::StopText(text) => self.stop_text = Some(text.clone()),
                Event::Unsaid { name, .. } => add_name(&mut self.lost, name),
                Event::Usage(usage) => self.sent.usage = *usage,
                other => self.blocks.take(other, &mut frames),
            }
        }
    }

    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        if !self.over {
            self.over = true;
            out.extend_from_slice(b"event: error\ndata: ");
            write_error(error, out);
            out.extend_from_slice(b"\n\n");
        }
    }

    /// Why it ended comes last, with the usage, which some providers send after everything else.
    fn done(&mut self, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        let Some((reason, native)) = self.finish.take() else {
            return self.fail(&ErrorBody::upstream(&UpstreamError::truncated(), None), out);
        };
        self.over = true;
        let mut frames = Frames { sent: &mut self.sent, out };
        self.blocks.settle(&mut frames);
        frames.begin();
        let stop_text = self.stop_text.as_deref();
        let stop_reason = stop_reason(reason, &native, &self.blocks, stop_text);
        let native_finish_reason = FinishReason::own_word(&native, stop_reason);
        let hypergate_dropped = some(&self.lost);
        let stop = Stop { stop_reason, stop_sequence: stop_text, native_finish_reason, hypergate_dropped };
        let usage = WireUsage::from(&frames.sent.usage);
        frames.send(&Frame::MessageDelta { delta: stop, usage });
        frames.send(&Frame::MessageStop {});
    }

    fn is_finished(&self) -> bool {
        self.over || self.finish.is_some()
    }
}

/// Our id of the answer, as Anthropic's look.
fn message_id(id: &str) -> String {
    format!("msg_{}", id.strip_prefix("chatcmpl-").unwrap_or(id))
}

/// Why it ended, in Anthropic's words; a provider's own where it is one of them.
fn stop_reason<'a>(
    reason: FinishReason,
    native: &'a str,
    blocks: &Blocks,
    stop_text: Option<&str>,
) -> &'a str {
    let called = blocks.called;
    match (reason.after_calls(called), native) {
        (FinishReason::Stop, _) if blocks.refused => "refusal",
        (FinishReason::Stop, _) if stop_text.is_some() => "stop_sequence",
        (_, word) if STOP_REASONS.contains(&word) => word,
        (FinishReason::ContentFilter, _) => "refusal",
        (FinishReason::Length, _) => "max_tokens",
        // Without a call there is nothing to wait for.
        (FinishReason::ToolCalls, _) if called => "tool_use",
        (FinishReason::Stop | FinishReason::ToolCalls, _) => "end_turn",
    }
}

/// Anthropic's words that a caller is to see unchanged. `end_turn` is not among them: other providers say
/// it beside tool calls. Nor is `tool_use`: a tool that stood in for a schema is no call to its caller.
const STOP_REASONS: [&str; 5] =
    ["max_tokens", "model_context_window_exceeded", "pause_turn", "refusal", "stop_sequence"];

/// Where blocks go.
trait Sink {
    /// A block begins.
    fn start(&mut self, block: &Start<'_>);
    /// More of the block that began last.
    fn delta(&mut self, delta: &Delta<'_>);
    /// The block that began last is whole.
    fn stop(&mut self);
}

/// Puts events into blocks. A block is whole before the next begins, so what comes for another block while
/// a call still waits for the rest of its arguments is held back.
#[derive(Debug, Default)]
struct Blocks {
    open: Option<Open>,
    /// Whether there was a tool call.
    called: bool,
    /// Whether the model declined in words of its own.
    refused: bool,
    /// What comes after the open call.
    held: Vec<Event>,
    /// Where in it the arguments of each call are.
    held_arguments: BTreeMap<u32, usize>,
    /// Sources named before there was text to name them for.
    citations: Vec<Citation>,
    /// White space that may yet be the beginning of text. A block of nothing else would be refused when
    /// it is sent back.
    blank: String,
}

#[derive(Debug)]
enum Open {
    Call(Call),
    Text,
    Thinking,
}

#[derive(Debug)]
struct Call {
    index: u32,
    arguments: Progress,
}

impl Blocks {
    /// Takes an event that is content.
    fn take(&mut self, event: &Event, sink: &mut impl Sink) {
        if self.must_wait(event) {
            self.hold(event.clone());
        } else {
            self.write(event, sink);
        }
        self.release(sink);
    }

    /// Nothing more comes for what is there: writes all that is held back and ends the last block.
    fn settle(&mut self, sink: &mut impl Sink) {
        while !self.held.is_empty() {
            self.close(sink);
            self.release(sink);
        }
        self.close(sink);
    }

    fn must_wait(&self, event: &Event) -> bool {
        let Some(Open::Call(call)) = &self.open else { return !self.held.is_empty() };
        let is_more = matches!(event, Event::ToolArguments { index, .. } if *index == call.index);
        !is_more && (!call.arguments.is_whole || !self.held.is_empty())
    }

    fn hold(&mut self, event: Event) {
        if let Event::ToolArguments { index, text } = &event {
            let at = *self.held_arguments.entry(*index).or_insert(self.held.len());
            if let Some(Event::ToolArguments { text: before, .. }) = self.held.get_mut(at) {
                before.push_str(text);
                return;
            }
        }
        self.held.push(event);
    }

    /// Writes what is held back, as far as its turn has come.
    fn release(&mut self, sink: &mut impl Sink) {
        while !self.held.is_empty() && !self.is_waiting() {
            self.held_arguments.clear();
            // The first of them is written each time, whatever else must wait again.
            for (at, event) in std::mem::take(&mut self.held).into_iter().enumerate() {
                if at > 0 && self.must_wait(&event) {
                    self.hold(event);
                } else {
                    self.write(&event, sink);
                }
            }
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(&self.open, Some(Open::Call(call)) if !call.arguments.is_whole)
    }

    fn write(&mut self, event: &Event, sink: &mut impl Sink) {
        match event {
            Event::Citation(citation) if matches!(self.open, Some(Open::Text)) => cite(citation, sink),
            Event::Citation(citation) => self.citations.push(citation.clone()),
            Event::Reasoning(text) if !text.is_empty() => {
                self.think(sink);
                sink.delta(&Delta::Thinking { thinking: text });
            }
            Event::ReasoningRedacted(data) => {
                self.begin(&Start::RedactedThinking { data }, None, sink);
                sink.stop();
            }
            Event::ReasoningSignature(signature) => {
                self.think(sink);
                sink.delta(&Delta::Signature { signature });
                self.close(sink);
            }
            Event::Refusal(text) => {
                self.refused = true;
                self.say(text, sink);
            }
            Event::Text(text) => self.say(text, sink),
            Event::ToolArguments { index, text } => {
                if let Some(Open::Call(call)) = self.open.as_mut().filter(|_| !text.is_empty())
                    && call.index == *index
                {
                    call.arguments.read(text);
                    sink.delta(&Delta::InputJson { partial_json: text });
                }
            }
            Event::ToolCall { index, id, name, signature } => {
                if let Some(signature) = signature {
                    self.begin(&Start::Thinking { thinking: "", signature: "" }, Some(Open::Thinking), sink);
                    sink.delta(&Delta::Signature { signature: &format!("{CALL_SIGNATURE}{signature}") });
                }
                self.called = true;
                let call = Call { index: *index, arguments: Progress::default() };
                let start = Start::ToolUse { id: call_id::outward(id), name, input: Empty {} };
                self.begin(&start, Some(Open::Call(call)), sink);
            }
            // No content.
            Event::Error(_)
            | Event::Finish { .. }
            | Event::Logprobs(_)
            | Event::Reasoning(_)
            | Event::Start { .. }
            | Event::StopText(_)
            | Event::Unsaid { .. }
            | Event::Usage(_) => {}
        }
    }

    fn say(&mut self, text: &str, sink: &mut impl Sink) {
        if matches!(self.open, Some(Open::Text)) {
            if !text.is_empty() {
                sink.delta(&Delta::Text { text });
            }
            return;
        }
        self.blank.push_str(text);
        if self.blank.trim().is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.blank);
        self.begin(&Start::Text { text: "" }, Some(Open::Text), sink);
        sink.delta(&Delta::Text { text: &text });
        for citation in std::mem::take(&mut self.citations) {
            cite(&citation, sink);
        }
    }

    fn think(&mut self, sink: &mut impl Sink) {
        if !matches!(self.open, Some(Open::Thinking)) {
            self.begin(&Start::Thinking { thinking: "", signature: "" }, Some(Open::Thinking), sink);
        }
    }

    fn begin(&mut self, start: &Start<'_>, open: Option<Open>, sink: &mut impl Sink) {
        self.close(sink);
        self.blank.clear();
        sink.start(start);
        self.open = open;
    }

    fn close(&mut self, sink: &mut impl Sink) {
        let Some(open) = self.open.take() else { return };
        if matches!(open, Open::Call(call) if call.arguments.is_blank) {
            // A client that parses what it has gathered gets an object.
            sink.delta(&Delta::InputJson { partial_json: "{}" });
        }
        sink.stop();
    }
}

fn cite(citation: &Citation, sink: &mut impl Sink) {
    let citation = WireCitation {
        kind: "web_search_result_location",
        cited_text: citation.quote.clone().unwrap_or_default(),
        encrypted_index: "",
        title: citation.title.clone(),
        url: citation.url.clone().unwrap_or_default(),
    };
    sink.delta(&Delta::Citations { citation });
}

/// The blocks of a whole answer.
#[derive(Default)]
struct Content(Vec<Block>);

impl Sink for Content {
    fn start(&mut self, block: &Start<'_>) {
        self.0.push(match block {
            Start::RedactedThinking { data } => Block::RedactedThinking { data: (*data).to_owned() },
            Start::Text { .. } => Block::Text { text: String::new(), citations: Vec::new() },
            Start::Thinking { .. } => Block::Thinking { thinking: String::new(), signature: String::new() },
            Start::ToolUse { id, name, .. } => Block::ToolUse {
                id: id.clone().into_owned(),
                name: (*name).to_owned(),
                input: Input(String::new()),
            },
        });
    }

    fn delta(&mut self, delta: &Delta<'_>) {
        match (self.0.last_mut(), delta) {
            (Some(Block::Text { citations, .. }), Delta::Citations { citation }) => {
                citations.push(citation.clone());
            }
            (Some(Block::Text { text, .. }), Delta::Text { text: more }) => text.push_str(more),
            (Some(Block::Thinking { thinking, .. }), Delta::Thinking { thinking: more }) => {
                thinking.push_str(more);
            }
            (Some(Block::Thinking { signature, .. }), Delta::Signature { signature: more }) => {
                signature.push_str(more);
            }
            (Some(Block::ToolUse { input, .. }), Delta::InputJson { partial_json }) => {
                input.0.push_str(partial_json);
            }
            // Blocks get the deltas of their own kind only.
            _ => {}
        }
    }

    fn stop(&mut self) {}
}

/// Blocks as server-sent events.
struct Frames<'a> {
    sent: &'a mut Sent,
    out: &'a mut Vec<u8>,
}

impl Frames<'_> {
    fn begin(&mut self) {
        if !self.sent.begun {
            self.sent.begun = true;
            let message = Message::new(&self.sent.id, &self.sent.model, &self.sent.usage);
            send(self.out, &Frame::MessageStart { message });
        }
    }

    fn send(&mut self, frame: &Frame<'_>) {
        send(self.out, frame);
    }

    fn index(&self) -> usize {
        self.sent.blocks.saturating_sub(1)
    }
}

impl Sink for Frames<'_> {
    fn start(&mut self, block: &Start<'_>) {
        self.begin();
        self.sent.blocks += 1;
        self.send(&Frame::ContentBlockStart { index: self.index(), content_block: block });
    }

    fn delta(&mut self, delta: &Delta<'_>) {
        self.send(&Frame::ContentBlockDelta { index: self.index(), delta });
    }

    fn stop(&mut self) {
        self.send(&Frame::ContentBlockStop { index: self.index() });
    }
}

fn send(out: &mut Vec<u8>, frame: &Frame<'_>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(frame.name().as_bytes());
    out.extend_from_slice(b"\ndata: ");
    serde_json::to_writer(&mut *out, frame).expect("strings and numbers into memory cannot fail");
    out.extend_from_slice(b"\n\n");
}

// --- wire ---

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Frame<'a> {
    ContentBlockDelta { index: usize, delta: &'a Delta<'a> },
    ContentBlockStart { index: usize, content_block: &'a Start<'a> },
    ContentBlockStop { index: usize },
    MessageDelta { delta: Stop<'a>, usage: WireUsage },
    MessageStart { message: Message<'a> },
    MessageStop {},
}

impl Frame<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStart { .. } => "message_start",
            Self::MessageStop {} => "message_stop",
        }
    }
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: &'a [Block],
    stop_reason: Option<&'a str>,
    /// Which of the caller's stop sequences it was, where the provider says it.
    stop_sequence: Option<&'a str>,
    /// Not Anthropic's: the provider's own word, where it says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    native_finish_reason: Option<&'a str>,
    usage: WireUsage,
}

impl<'a> Message<'a> {
    fn new(id: &'a str, model: &'a str, usage: &Usage) -> Self {
        Self {
            id,
            kind: "message",
            role: "assistant",
            model,
            content: &[],
            stop_reason: None,
            stop_sequence: None,
            native_finish_reason: None,
            usage: WireUsage::from(usage),
        }
    }
}

#[derive(Serialize)]
struct Stop<'a> {
    stop_reason: &'a str,
    stop_sequence: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    native_finish_reason: Option<&'a str>,
    /// Not the protocol's: what of the provider's answer is not in this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    hypergate_dropped: Option<&'a str>,
}

/// A block as it begins.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Start<'a> {
    RedactedThinking { data: &'a str },
    Text { text: &'a str },
    Thinking { thinking: &'a str, signature: &'a str },
    ToolUse { id: Cow<'a, str>, name: &'a str, input: Empty },
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Delta<'a> {
    #[serde(rename = "citations_delta")]
    Citations { citation: WireCitation },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
}

/// A whole block.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    RedactedThinking {
        data: String,
    },
    Text {
        text: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        citations: Vec<WireCitation>,
    },
    Thinking {
        thinking: String,
        signature: String,
    },
    ToolUse {
        id: String,
        name: String,
        input: Input,
    },
}

/// Arguments as the object they are the text of. Those that are none come as the text they are.
struct Input(String);

impl Serialize for Input {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wrapped<'a> {
            arguments: &'a str,
        }
        match arguments::object(&self.0) {
            Some(input) => input.serialize(serializer),
            None => Wrapped { arguments: &self.0 }.serialize(serializer),
        }
    }
}

/// The one form of a source that has an address.
#[derive(Debug, Clone, Serialize)]
struct WireCitation {
    #[serde(rename = "type")]
    kind: &'static str,
    cited_text: String,
    encrypted_index: &'static str,
    title: Option<String>,
    url: String,
}

/// `input_tokens` leaves out what a cache read or wrote.
#[derive(Serialize)]
struct WireUsage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation: CacheCreation,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_tool_use: Option<ServerTools>,
    /// Anthropic has no word for `flex`.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

#[derive(Serialize)]
struct ServerTools {
    web_search_requests: u64,
    /// Always there in Anthropic's own answers; no other provider counts such a thing.
    web_fetch_requests: u64,
}

#[derive(Serialize)]
struct CacheCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    thinking_tokens: u64,
}

impl From<&Usage> for WireUsage {
    fn from(usage: &Usage) -> Self {
        let written = usage.cache_write_5m_input_tokens.saturating_add(usage.cache_write_1h_input_tokens);
        let thinking_tokens = usage.reasoning_output_tokens;
        Self {
            input_tokens: usage
                .input_tokens
                .saturating_sub(usage.cache_read_input_tokens)
                .saturating_sub(written),
            cache_creation_input_tokens: written,
            cache_read_input_tokens: usage.cache_read_input_tokens,
            cache_creation: CacheCreation {
                ephemeral_5m_input_tokens: usage.cache_write_5m_input_tokens,
                ephemeral_1h_input_tokens: usage.cache_write_1h_input_tokens,
            },
            output_tokens: usage.output_tokens,
            output_tokens_details: (thinking_tokens > 0).then_some(OutputDetails { thinking_tokens }),
            server_tool_use: (usage.searches > 0)
                .then_some(ServerTools { web_search_requests: usage.searches, web_fetch_requests: 0 }),
            service_tier: usage.tier.told().filter(|_| usage.tier == ServiceTier::Priority),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorClass;

    const HEAD: Head<'_> = Head { id: "chatcmpl-1", created: 1_700_000_000, model: "fast" };

    /// The stream, fed in groups of `size`, without what is the same at every beginning.
    fn streamed(events: &[Event], size: usize) -> String {
        let mut stream = Stream::new(&HEAD);
        let mut out = Vec::new();
        events.chunks(size).for_each(|events| stream.events(events, &mut out));
        stream.done(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    /// The content of the whole answer, and of its stream, each block in one line.
    fn contents(events: &[Event]) -> (String, Vec<String>) {
        let whole = whole(&HEAD, events).expect("whole");
        let whole: serde_json::Value = serde_json::from_slice(&whole).expect("JSON");
        let mut lines = Vec::new();
        for event in streamed(events, 1).split_terminator("\n\n") {
            let (name, data) = event.split_once("\ndata: ").expect("data");
            let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(Some(name), data["type"].as_str().map(|kind| format!("event: {kind}")).as_deref());
            match name {
                "event: content_block_start" => {
                    assert_eq!(data["index"], lines.len());
                    lines.push(data["content_block"]["type"].to_string());
                }
                "event: content_block_delta" => {
                    assert_eq!(data["index"], lines.len() - 1);
                    let line = lines.last_mut().expect("an open block");
                    assert!(!line.ends_with('.'), "the block is closed");
                    line.push(' ');
                    let delta = data["delta"].as_object().expect("an object");
                    line.push_str(&delta.values().nth(1).expect("a value").to_string());
                }
                "event: content_block_stop" => lines.last_mut().expect("an open block").push('.'),
                _ => {}
            }
        }
        assert!(lines.iter().all(|line| line.ends_with('.')), "{lines:?}");
        (whole["content"].to_string(), lines)
    }

    fn text(text: &str) -> Event {
        Event::Text(text.to_owned())
    }

    fn thought(text: &str) -> Event {
        Event::Reasoning(text.to_owned())
    }

    fn call(index: u32) -> Event {
        let name = format!("f{index}");
        Event::ToolCall { index, id: format!("call_{index}"), name, signature: None }
    }

    fn arguments(index: u32, text: &str) -> Event {
        Event::ToolArguments { index, text: text.to_owned() }
    }

    fn finish(reason: FinishReason, native: &str) -> Event {
        Event::Finish { reason, native: native.to_owned() }
    }

    fn rich() -> Vec<Event> {
        vec![
            Event::Start { id: Some("x".to_owned()), model: Some("gpt".to_owned()) },
            thought("Let me "),
            thought("see."),
            Event::ReasoningSignature("sig".to_owned()),
            Event::ReasoningRedacted("xyz".to_owned()),
            text("It's "),
            text("\"7\"."),
            call(0),
            arguments(0, "{\"a\":"),
            arguments(0, "[1]}"),
            call(1),
            arguments(1, "{}"),
            finish(FinishReason::Stop, "stop"),
            Event::Usage(Usage {
                input_tokens: 100,
                cache_read_input_tokens: 60,
                cache_write_5m_input_tokens: 8,
                cache_write_1h_input_tokens: 2,
                output_tokens: 20,
                reasoning_output_tokens: 5,
                ..Usage::default()
            }),
        ]
    }

    const USAGE: &str = concat!(
        r#"{"input_tokens":30,"cache_creation_input_tokens":10,"cache_read_input_tokens":60,"#,
        r#""cache_creation":{"ephemeral_5m_input_tokens":8,"ephemeral_1h_input_tokens":2},"#,
        r#""output_tokens":20,"output_tokens_details":{"thinking_tokens":5}}"#,
    );

    #[test]
    fn a_whole_answer_is_a_message() {
        let whole = whole(&HEAD, &rich()).expect("whole");
        assert_eq!(
            String::from_utf8_lossy(&whole),
            [
                r#"{"id":"msg_1","type":"message","role":"assistant","model":"fast","content":["#,
                r#"{"type":"thinking","thinking":"Let me see.","signature":"sig"},"#,
                r#"{"type":"redacted_thinking","data":"xyz"},"#,
                r#"{"type":"text","text":"It's \"7\"."},"#,
                r#"{"type":"tool_use","id":"call_0","name":"f0","input":{"a":[1]}},"#,
                r#"{"type":"tool_use","id":"call_1","name":"f1","input":{}}],"#,
                r#""stop_reason":"tool_use","stop_sequence":null,"usage":"#,
                USAGE,
                "}",
            ]
            .concat()
        );
    }

    #[test]
    fn a_stream_is_a_message_block_by_block() {
        let data = [
            concat!(
                r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"fast","content":[],"#,
                r#""stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"#,
                r#""cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":0}}}"#,
            ),
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me "}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"see."}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"xyz"}}"#,
            r#"{"type":"content_block_stop","index":1}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"It's "}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"\"7\"."}}"#,
            r#"{"type":"content_block_stop","index":2}"#,
            r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"call_0","name":"f0","input":{}}}"#,
            r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
            r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"[1]}"}}"#,
            r#"{"type":"content_block_stop","index":3}"#,
            r#"{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"call_1","name":"f1","input":{}}}"#,
            r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
            r#"{"type":"content_block_stop","index":4}"#,
            &format!(
                r#"{{"type":"message_delta","delta":{{"stop_reason":"tool_use","stop_sequence":null}},"usage":{USAGE}}}"#
            ),
            r#"{"type":"message_stop"}"#,
        ];
        let expected: String = data
            .iter()
            .map(|data| {
                let name = data.split('"').nth(3).expect("a type");
                format!("event: {name}\ndata: {data}\n\n")
            })
            .collect();
        for size in 1..=rich().len() {
            assert_eq!(streamed(&rich(), size), expected, "{size} at a time");
        }
    }

    #[test]
    fn what_comes_in_pieces_and_mixed_is_put_in_order() {
        let stop = || finish(FinishReason::ToolCalls, "tool_calls");
        let cases = [
            // Two calls at once.
            (
                vec![
                    call(0),
                    call(1),
                    arguments(0, "{\"a\":\"}"),
                    arguments(1, "{\"b\""),
                    arguments(0, "\"}"),
                    arguments(1, ":2}"),
                    stop(),
                ],
                r#"[{"type":"tool_use","id":"call_0","name":"f0","input":{"a":"}"}},{"type":"tool_use","id":"call_1","name":"f1","input":{"b":2}}]"#,
                vec![r#""tool_use" "{\"a\":\"}" "\"}"."#, r#""tool_use" "{\"b\"" ":2}"."#],
            ),
            // Three, and the last is whole first.
            (
                vec![
                    call(0),
                    call(1),
                    call(2),
                    arguments(2, "{\"c\":3}"),
                    arguments(1, "{\"b\":"),
                    arguments(0, "{}"),
                    arguments(1, "2}"),
                    stop(),
                ],
                r#"[{"type":"tool_use","id":"call_0","name":"f0","input":{}},{"type":"tool_use","id":"call_1","name":"f1","input":{"b":2}},{"type":"tool_use","id":"call_2","name":"f2","input":{"c":3}}]"#,
                vec![r#""tool_use" "{}"."#, r#""tool_use" "{\"b\":" "2}"."#, r#""tool_use" "{\"c\":3}"."#],
            ),
            // Calls without arguments, and words in between.
            (
                vec![call(0), text("Hm"), call(1), stop()],
                r#"[{"type":"tool_use","id":"call_0","name":"f0","input":{}},{"type":"text","text":"Hm"},{"type":"tool_use","id":"call_1","name":"f1","input":{}}]"#,
                vec![r#""tool_use" "{}"."#, r#""text" "Hm"."#, r#""tool_use" "{}"."#],
            ),
            // Arguments that are no object.
            (
                vec![call(0), arguments(0, "{\"a\":"), finish(FinishReason::Length, "length")],
                r#"[{"type":"tool_use","id":"call_0","name":"f0","input":{"arguments":"{\"a\":"}}]"#,
                vec![r#""tool_use" "{\"a\":"."#],
            ),
            // Arguments of nobody's.
            (
                vec![arguments(3, "{}"), text("a"), arguments(0, "{}"), stop()],
                r#"[{"type":"text","text":"a"}]"#,
                vec![r#""text" "a"."#],
            ),
            // White space is no text, but part of one.
            (
                vec![
                    text(""),
                    text("\n"),
                    thought("a"),
                    text(" \n"),
                    text("b"),
                    text("\n"),
                    thought(""),
                    text(""),
                    text("c"),
                    thought("d"),
                    text("\n"),
                    stop(),
                ],
                r#"[{"type":"thinking","thinking":"a","signature":""},{"type":"text","text":" \nb\nc"},{"type":"thinking","thinking":"d","signature":""}]"#,
                vec![r#""thinking" "a"."#, r#""text" " \nb" "\n" "c"."#, r#""thinking" "d"."#],
            ),
            // A refusal is said.
            (
                vec![
                    Event::Refusal("No".to_owned()),
                    Event::Refusal(".".to_owned()),
                    finish(FinishReason::Stop, "stop"),
                ],
                r#"[{"type":"text","text":"No."}]"#,
                vec![r#""text" "No" "."."#],
            ),
            (vec![stop()], "[]", vec![]),
        ];
        for (events, whole, stream) in cases {
            assert_eq!(
                contents(&events),
                (whole.to_owned(), stream.iter().map(ToString::to_string).collect())
            );
        }
    }

    #[test]
    fn signatures_and_odd_ids_of_calls_travel_in_what_messages_has() {
        let call = Event::ToolCall {
            index: 0,
            id: "functions.f:0".to_owned(),
            name: "f".to_owned(),
            signature: Some("abc".to_owned()),
        };
        let events = [call, arguments(0, "{}"), finish(FinishReason::Stop, "STOP")];
        assert_eq!(
            contents(&events).0,
            concat!(
                r#"[{"type":"thinking","thinking":"","signature":"google:call:abc"},"#,
                r#"{"type":"tool_use","id":"toolu_64_ZnVuY3Rpb25zLmY6MA","name":"f","input":{}}]"#,
            )
        );
    }

    #[test]
    fn sources_are_on_the_text_they_are_named_for() {
        let source = |title: &str| {
            let quote = (title == "B").then(|| "q".to_owned());
            let url = Some("https://x".to_owned());
            Event::Citation(Citation { span: None, url, title: Some(title.to_owned()), quote })
        };
        let events = [source("A"), text("a"), text("b"), source("B"), finish(FinishReason::Stop, "stop")];
        let citation = |title: &str, quote: &str| {
            format!(
                r#"{{"type":"web_search_result_location","cited_text":"{quote}","encrypted_index":"","title":"{title}","url":"https://x"}}"#
            )
        };
        let (a, b) = (citation("A", ""), citation("B", "q"));
        assert_eq!(
            contents(&events),
            (
                format!(r#"[{{"type":"text","text":"ab","citations":[{a},{b}]}}]"#),
                vec![format!(r#""text" "a" {a} "b" {b}."#)]
            )
        );
    }

    #[test]
    fn an_end_is_in_anthropics_words() {
        use FinishReason::{ContentFilter, Length, Stop, ToolCalls};
        let cases = [
            (Stop, "end_turn", false, "end_turn"),
            (Stop, "stop_sequence", false, "stop_sequence"),
            (Length, "max_tokens", false, "max_tokens"),
            (Length, "pause_turn", false, "pause_turn"),
            (Length, "model_context_window_exceeded", false, "model_context_window_exceeded"),
            (ContentFilter, "refusal", false, "refusal"),
            (ToolCalls, "tool_use", true, "tool_use"),
            (Stop, "stop", false, "end_turn"),
            (Stop, "STOP", true, "tool_use"),
            (Stop, "end_turn", true, "tool_use"),
            (ToolCalls, "tool_calls", true, "tool_use"),
            (ToolCalls, "tool_calls", false, "end_turn"),
            (Length, "length", true, "max_tokens"),
            (Length, "compaction", false, "max_tokens"),
            (ContentFilter, "SAFETY", false, "refusal"),
            (Stop, "", false, "end_turn"),
        ];
        for (reason, native, called, expected) in cases {
            let blocks = Blocks { called, ..Blocks::default() };
            assert_eq!(stop_reason(reason, native, &blocks, None), expected, "{native}");
        }
        let refused = Blocks { refused: true, ..Blocks::default() };
        assert_eq!(stop_reason(Stop, "stop", &refused, None), "refusal");
        assert_eq!(stop_reason(Stop, "stop", &Blocks::default(), Some("END")), "stop_sequence");
    }

    #[test]
    fn a_failure_is_the_last_thing_said() {
        let error = UpstreamError::new(ErrorClass::Overloaded, "Busy.");
        let events = [text("a"), Event::Error(error.clone()), text("b"), finish(FinishReason::Stop, "stop")];
        let stream = streamed(&events, 4);
        assert!(
            stream.ends_with(concat!(
                "\"text\":\"a\"}}\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",",
                "\"message\":\"Busy. Wait a moment and send the request again, or choose another model.\"}}\n\n",
            )),
            "{stream}"
        );
        assert_eq!(whole(&HEAD, &events), Err(error));
    }

    #[test]
    fn events_without_an_end_are_no_answer() {
        assert_eq!(whole(&HEAD, &[text("a")]), Err(UpstreamError::truncated()));
        assert!(streamed(&[text("a")], 1).contains("event: error\n"));
        assert!(!streamed(&[text("a")], 1).contains("message_stop"));
    }

    #[test]
    fn a_start_alone_sends_nothing() {
        let mut out = Vec::new();
        let mut stream = Stream::new(&HEAD);
        let events = [Event::Start { id: None, model: None }, text(""), Event::Usage(Usage::default())];
        stream.events(&events, &mut out);
        assert_eq!((out.as_slice(), stream.is_finished()), (&b""[..], false));
        stream.events(&[finish(FinishReason::Stop, "stop")], &mut out);
        assert!(stream.is_finished());
    }
}
