//! Unified events, as the Converse answer a caller expects: whole, or as a stream of Amazon's.
//!
//! A stream has one block open at a time, as Bedrock's own has. Calls whose arguments come interleaved
//! wait for each other: the next begins when the arguments before it are whole.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Value, json};

use super::{failure, request::Tier};
use crate::{
    UpstreamError, Usage,
    chat::{self, Event, FinishReason},
    dialect::{
        CALL_SIGNATURE, add_name,
        arguments::{self, Progress},
        some,
    },
    eventstream,
    front::{ErrorBody, Writer},
};

/// A whole answer. The error is the one among the events, or that they have no end.
pub(super) fn whole(events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
    let mut blocks = Vec::new();
    // The block of each call.
    let mut calls = Vec::new();
    let (mut end, mut stop) = (None, None);
    let mut usage = None;
    for event in events {
        match event {
            Event::Citation(citation) => cite(&mut blocks, citation),
            Event::Error(error) => return Err(error.clone()),
            Event::Finish { reason, native } => end = Some((*reason, native.as_str())),
            Event::Reasoning(text) => think(&mut blocks, text, None),
            Event::ReasoningRedacted(data) => {
                blocks.extend(
                    is_base64(data).then_some(Block::ReasoningContent(Thought::RedactedContent(data))),
                );
            }
            Event::ReasoningSignature(signature) => think(&mut blocks, "", Some(signature)),
            Event::Refusal(text) | Event::Text(text) => say(&mut blocks, text),
            Event::Logprobs(_) | Event::Start { .. } | Event::Unsaid { .. } => {}
            Event::StopText(text) => stop = Some(text.as_str()),
            Event::ToolArguments { index, text } => {
                let call = calls.get(*index as usize).and_then(|at: &usize| blocks.get_mut(*at));
                if let Some(Block::ToolUse { input, .. }) = call {
                    input.0.push_str(text);
                }
            }
            Event::ToolCall { id, name, signature, .. } => {
                if let Some(signature) = signature {
                    let signature = Cow::Owned(format!("{CALL_SIGNATURE}{signature}"));
                    let thought = Thought::ReasoningText { text: String::new(), signature: Some(signature) };
                    blocks.push(Block::ReasoningContent(thought));
                }
                calls.push(blocks.len());
                blocks.push(Block::ToolUse { tool_use_id: id, name, input: Input::default() });
            }
            Event::Usage(tokens) => usage = Some(tokens),
        }
    }
    let Some((reason, native)) = end else { return Err(UpstreamError::truncated()) };
    let stop_reason = stop_reason(reason.after_calls(!calls.is_empty()), native, stop.is_some());
    let native_finish_reason = FinishReason::own_word(native, stop_reason);
    let more = More { stop_sequence: stop, native_finish_reason, hypergate_dropped: None };
    let answer = Answer {
        output: Output { message: Message { role: "assistant", content: blocks } },
        stop_reason,
        additional_model_response_fields: more.some(),
        usage: usage.map(WireUsage::from),
        metrics: Metrics::default(),
        service_tier: usage.and_then(Tier::of),
    };
    Ok(serde_json::to_vec(&answer).expect("strings and numbers into memory cannot fail"))
}

fn say(blocks: &mut Vec<Block<'_>>, text: &str) {
    match blocks.last_mut() {
        _ if text.is_empty() => {}
        Some(Block::Text(said)) => said.push_str(text),
        _ => blocks.push(Block::Text(text.to_owned())),
    }
}

/// Adds to the thought at hand; a signature closes it.
fn think<'a>(blocks: &mut Vec<Block<'a>>, more: &str, sign: Option<&'a str>) {
    let sign = sign.map(Cow::Borrowed);
    match blocks.last_mut() {
        _ if more.is_empty() && sign.is_none() => {}
        Some(Block::ReasoningContent(Thought::ReasoningText { text, signature: signature @ None })) => {
            text.push_str(more);
            *signature = sign;
        }
        _ => {
            let thought = Thought::ReasoningText { text: more.to_owned(), signature: sign };
            blocks.push(Block::ReasoningContent(thought));
        }
    }
}

/// Ties a source to the text before it.
fn cite(blocks: &mut Vec<Block<'_>>, source: &chat::Citation) {
    let citation = citation(source);
    match blocks.last_mut() {
        Some(Block::CitationsContent { citations, .. }) => citations.push(citation),
        Some(block @ Block::Text(_)) => {
            let Block::Text(text) = std::mem::replace(block, Block::Text(String::new())) else { return };
            *block =
                Block::CitationsContent { content: vec![json!({ "text": text })], citations: vec![citation] };
        }
        _ => blocks.push(Block::CitationsContent { content: Vec::new(), citations: vec![citation] }),
    }
}

fn citation(source: &chat::Citation) -> Value {
    let mut citation = serde_json::Map::new();
    let mut add = |name: &str, value: Option<Value>| {
        citation.extend(value.map(|value| (name.to_owned(), value)));
    };
    add("title", source.title.as_deref().map(Value::from));
    add("sourceContent", source.quote.as_ref().map(|quote| json!([{ "text": quote }])));
    add("location", source.url.as_ref().map(|url| json!({ "web": { "url": url } })));
    Value::Object(citation)
}

/// The provider's own word where it is one of Converse's.
fn stop_reason(reason: FinishReason, native: &str, stopped: bool) -> &str {
    match (reason, native) {
        (FinishReason::ContentFilter, "content_filtered" | "guardrail_intervened") => native,
        (FinishReason::ContentFilter, _) => "content_filtered",
        (FinishReason::Length, "model_context_window_exceeded") => native,
        (FinishReason::Length, _) => "max_tokens",
        (FinishReason::Stop, _) if stopped => "stop_sequence",
        (FinishReason::Stop, "stop_sequence") => native,
        (FinishReason::Stop, _) => "end_turn",
        (FinishReason::ToolCalls, _) => "tool_use",
    }
}

fn is_base64(data: &str) -> bool {
    !data.is_empty() && STANDARD.decode(data).is_ok()
}

/// Writes one streamed answer.
#[derive(Debug, Default)]
pub(super) struct Stream {
    state: State,
    open: Open,
    /// Index of the open block, or of the next.
    block: u32,
    calls: Vec<Call>,
    /// How many calls have begun on the wire.
    begun: usize,
    /// The stop text that matched.
    stop: Option<String>,
    /// What of the provider's answer is not in this one.
    lost: String,
    usage: Option<Usage>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    #[default]
    Fresh,
    Begun,
    Finished,
    Over,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Open {
    /// The last call that has begun.
    Call,
    #[default]
    Nothing,
    Text,
    Thought,
}

#[derive(Debug)]
struct Call {
    id: String,
    name: String,
    signature: Option<String>,
    /// The arguments so far.
    text: String,
    progress: Progress,
    /// How many bytes of them were sent.
    sent: usize,
}

impl Stream {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Citation(source) => {
                self.switch(Open::Text, out);
                self.delta("citation", citation(source), out);
            }
            Event::Error(error) => self.fail(&ErrorBody::upstream(error, None), out),
            Event::Finish { reason, native } => self.finish(*reason, native, out),
            Event::Reasoning(text) => self.thought("text", text, out),
            Event::ReasoningRedacted(data) if !is_base64(data) => {}
            Event::ReasoningRedacted(data) => {
                self.switch(Open::Nothing, out);
                self.thought("redactedContent", data, out);
                self.switch(Open::Nothing, out);
            }
            Event::ReasoningSignature(signature) => {
                self.thought("signature", signature, out);
                self.switch(Open::Nothing, out);
            }
            Event::Refusal(text) | Event::Text(text) => {
                if !text.is_empty() {
                    self.switch(Open::Text, out);
                    self.delta("text", text, out);
                }
            }
            Event::Logprobs(_) | Event::Start { .. } => {}
            Event::StopText(text) => self.stop = Some(text.clone()),
            Event::Unsaid { name, .. } => add_name(&mut self.lost, name),
            Event::ToolArguments { index, text } => {
                if let Some(call) = self.calls.get_mut(*index as usize) {
                    call.text.push_str(text);
                    call.progress.read(text);
                }
                self.pump(false, out);
            }
            Event::ToolCall { id, name, signature, .. } => {
                let (id, name, signature) = (id.clone(), name.clone(), signature.clone());
                let (text, progress) = (String::new(), Progress::default());
                self.calls.push(Call { id, name, signature, text, progress, sent: 0 });
                self.pump(false, out);
            }
            Event::Usage(usage) => self.usage = Some(*usage),
        }
    }

    fn thought(&mut self, kind: &str, text: &str, out: &mut Vec<u8>) {
        if !text.is_empty() {
            self.switch(Open::Thought, out);
            self.delta("reasoningContent", json!({ kind: text }), out);
        }
    }

    /// Sends what there is of the calls, one call after the other; with `all`, to the end of each.
    fn pump(&mut self, all: bool, out: &mut Vec<u8>) {
        loop {
            if self.open == Open::Call {
                self.send_arguments(out);
            }
            let more = self.begun < self.calls.len();
            let current = self.calls.get(self.begun.wrapping_sub(1)).filter(|_| self.open == Open::Call);
            match current {
                Some(call) if !(all || more && call.progress.is_whole) => return,
                Some(_) => self.close(out),
                None if !more => return,
                None => self.begin_call(out),
            }
        }
    }

    fn begin_call(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        self.begin(out);
        if let Some(signature) = self.calls.get(self.begun).and_then(|call| call.signature.clone()) {
            let thought = json!({ "signature": format!("{CALL_SIGNATURE}{signature}") });
            self.delta("reasoningContent", thought, out);
            self.open = Open::Thought;
            self.close(out);
        }
        if let Some(call) = self.calls.get(self.begun) {
            let start = json!({ "toolUse": { "toolUseId": call.id, "name": call.name } });
            frame("contentBlockStart", json!({ "contentBlockIndex": self.block, "start": start }), out);
        }
        self.begun += 1;
        self.open = Open::Call;
    }

    fn send_arguments(&mut self, out: &mut Vec<u8>) {
        let Some(call) = self.calls.get_mut(self.begun.wrapping_sub(1)) else { return };
        let text = call.text.get(call.sent..).unwrap_or_default().to_owned();
        call.sent = call.text.len();
        if !text.is_empty() {
            self.delta("toolUse", json!({ "input": text }), out);
        }
    }

    /// Makes a block of this kind the open one. Calls that wait come first.
    fn switch(&mut self, kind: Open, out: &mut Vec<u8>) {
        self.pump(true, out);
        if self.open != kind {
            self.close(out);
            self.open = kind;
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open == Open::Nothing {
            return;
        }
        let last = self.calls.get(self.begun.wrapping_sub(1)).filter(|_| self.open == Open::Call);
        if last.is_some_and(|call| call.progress.is_blank) {
            self.delta("toolUse", json!({ "input": "{}" }), out);
        }
        frame("contentBlockStop", json!({ "contentBlockIndex": self.block }), out);
        self.block += 1;
        self.open = Open::Nothing;
    }

    fn delta(&mut self, kind: &str, value: impl Serialize, out: &mut Vec<u8>) {
        self.begin(out);
        frame("contentBlockDelta", json!({ "contentBlockIndex": self.block, "delta": { kind: value } }), out);
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Fresh {
            self.state = State::Begun;
            frame("messageStart", json!({ "role": "assistant" }), out);
        }
    }

    fn finish(&mut self, reason: FinishReason, native: &str, out: &mut Vec<u8>) {
        if self.state >= State::Finished {
            return;
        }
        self.switch(Open::Nothing, out);
        self.begin(out);
        let reason = stop_reason(reason.after_calls(!self.calls.is_empty()), native, self.stop.is_some());
        let mut stop = json!({ "stopReason": reason });
        let native_finish_reason = FinishReason::own_word(native, reason);
        let (stop_sequence, hypergate_dropped) = (self.stop.as_deref(), some(&self.lost));
        if let Some(more) = (More { stop_sequence, native_finish_reason, hypergate_dropped }).some() {
            stop["additionalModelResponseFields"] = json!(more);
        }
        frame("messageStop", stop, out);
        self.state = State::Finished;
    }
}

impl Writer for Stream {
    /// The first message waits for the first content: an answer that fails right after its start can
    /// still be asked for elsewhere.
    fn events(&mut self, events: &[Event], out: &mut Vec<u8>) {
        for event in events {
            if self.state == State::Over {
                return;
            }
            self.event(event, out);
        }
    }

    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        if self.state == State::Over {
            return;
        }
        self.state = State::Over;
        let headers = [
            (":exception-type", failure::name_in_stream(error.status)),
            (":content-type", "application/json"),
            (":message-type", "exception"),
        ];
        eventstream::write(&headers, json!({ "message": error.message }).to_string().as_bytes(), out);
    }

    /// What was used comes last.
    fn done(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Over {
            return;
        }
        self.state = State::Over;
        if let Some(usage) = &self.usage {
            let metadata = Metadata {
                usage: WireUsage::from(usage),
                metrics: Metrics::default(),
                service_tier: Tier::of(usage),
            };
            frame("metadata", metadata, out);
        }
    }

    fn is_finished(&self) -> bool {
        self.state >= State::Finished
    }
}

fn frame(kind: &str, payload: impl Serialize, out: &mut Vec<u8>) {
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    let payload = serde_json::to_vec(&payload).expect("strings and numbers into memory cannot fail");
    eventstream::write(&headers, &payload, out);
}

// --- wire ---

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    output: Output<'a>,
    stop_reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_model_response_fields: Option<More<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<WireUsage>,
    metrics: Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<Tier>,
}

impl Tier {
    fn of(usage: &Usage) -> Option<Self> {
        usage.tier.told().map(|kind| Self { kind })
    }
}

/// What Converse has no field for.
#[derive(Serialize)]
struct More<'a> {
    /// Claude's own field; in Converse, what a caller asks for by `additionalModelResponseFieldPaths`.
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_sequence: Option<&'a str>,
    /// The provider's own word for the end, where it says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    native_finish_reason: Option<&'a str>,
    /// What of the provider's answer is not in this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    hypergate_dropped: Option<&'a str>,
}

impl More<'_> {
    /// Itself, unless it says nothing.
    fn some(self) -> Option<Self> {
        let said = [self.stop_sequence, self.native_finish_reason, self.hypergate_dropped];
        said.iter().any(Option::is_some).then_some(self)
    }
}

#[derive(Serialize)]
struct Output<'a> {
    message: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Block<'a> {
    CitationsContent { content: Vec<Value>, citations: Vec<Value> },
    ReasoningContent(Thought<'a>),
    Text(String),
    ToolUse { tool_use_id: &'a str, name: &'a str, input: Input },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Thought<'a> {
    ReasoningText {
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<Cow<'a, str>>,
    },
    RedactedContent(&'a str),
}

/// The arguments of a call, as text; JSON on the wire.
#[derive(Default)]
struct Input(String);

impl Serialize for Input {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match arguments::json(&self.0) {
            Some(input) => input.serialize(serializer),
            // What the model wrote is no JSON; a caller must at least see it.
            None => serializer.serialize_str(&self.0),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    usage: WireUsage,
    metrics: Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<Tier>,
}

/// Required, but not measured here.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    latency_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireUsage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
    cache_read_input_tokens: u64,
    cache_write_input_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cache_details: Vec<Written>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    ttl: &'static str,
    input_tokens: u64,
}

impl From<&Usage> for WireUsage {
    /// `inputTokens` on the wire leaves out what a cache had a part in.
    fn from(usage: &Usage) -> Self {
        let (hour, short) = (usage.cache_write_1h_input_tokens, usage.cache_write_5m_input_tokens);
        let written = hour.saturating_add(short);
        let cached = usage.cache_read_input_tokens.saturating_add(written);
        let details = [Written { ttl: "1h", input_tokens: hour }, Written { ttl: "5m", input_tokens: short }];
        Self {
            input_tokens: usage.input_tokens.saturating_sub(cached),
            output_tokens: usage.output_tokens,
            total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            cache_read_input_tokens: usage.cache_read_input_tokens,
            cache_write_input_tokens: written,
            cache_details: details
                .into_iter()
                .filter(|written| hour > 0 && written.input_tokens > 0)
                .collect(),
        }
    }
}
