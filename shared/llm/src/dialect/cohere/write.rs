//! Unified events, as the answer a caller of Cohere's expects: whole, or as a stream.
//!
//! Calls come one after the other on this wire, and clients put pieces of arguments with the call that
//! began last. So the first is streamed, and those that begin beside it wait until the answer ends.

use std::borrow::Cow;

use serde::Serialize;

use crate::{
    UpstreamError, Usage,
    chat::{Citation, Event, FinishReason},
    dialect::{add_name, some},
    front::{ErrorBody, Head, Writer},
};

/// A whole answer. The error is the one among the events, or that they have no end.
pub(super) fn whole(head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
    let mut content: Vec<Block<'_>> = Vec::new();
    let mut calls: Vec<Call<'_>> = Vec::new();
    let mut citations = Vec::new();
    let (mut end, mut stopped) = (None, false);
    let mut usage = None;
    for event in events {
        match event {
            Event::Citation(citation) => citations.push(Cited::from(citation)),
            Event::Error(error) => return Err(error.clone()),
            Event::Finish { reason, native } => end = Some((*reason, native.as_str())),
            Event::Reasoning(text) if text.is_empty() => {}
            Event::Reasoning(text) => think(&mut content, text, None),
            Event::ReasoningRedacted(data) => content.push(Block::redacted(data)),
            Event::ReasoningSignature(signature) => think(&mut content, "", Some(signature)),
            Event::Logprobs(_) | Event::Start { .. } | Event::Unsaid { .. } => {}
            Event::StopText(_) => stopped = true,
            Event::Refusal(text) | Event::Text(text) if text.is_empty() => {}
            Event::Refusal(text) | Event::Text(text) => match content.last_mut() {
                Some(Block::Text { text: so_far }) => so_far.push_str(text),
                _ => content.push(Block::Text { text: text.clone() }),
            },
            Event::ToolArguments { index, text } => {
                if let Some(call) = calls.get_mut(*index as usize) {
                    call.function.arguments.to_mut().push_str(text);
                }
            }
            Event::ToolCall { id, name, signature, .. } => calls.push(Call::new(id, name, signature)),
            Event::Usage(tokens) => usage = Some(WireUsage::from(tokens)),
        }
    }
    let Some((reason, native)) = end else { return Err(UpstreamError::truncated()) };
    for call in &mut calls {
        if call.function.arguments.trim().is_empty() {
            call.function.arguments = Cow::Borrowed("{}");
        }
    }
    let finish_reason = finish_word(reason.after_calls(!calls.is_empty()), native, stopped);
    // An answer cut short has an empty text.
    if content.is_empty() && calls.is_empty() {
        content.push(Block::Text { text: String::new() });
    }
    let message = Message { role: "assistant", tool_calls: calls, content, citations };
    let native_finish_reason = FinishReason::own_word(native, finish_reason);
    Ok(bytes(&Answer { id: head.id, finish_reason, native_finish_reason, message, usage }))
}

/// Adds to the block of thought that is open, a new one where there is none. A signature closes it.
fn think<'a>(content: &mut Vec<Block<'a>>, text: &str, sign: Option<&'a str>) {
    match content.last_mut() {
        Some(Block::Thinking { thinking, signature, redacted: None }) if signature.is_none() => {
            thinking.push_str(text);
            *signature = sign;
        }
        _ => content.push(Block::Thinking { thinking: text.to_owned(), signature: sign, redacted: None }),
    }
}

/// The body of an answer that is an error.
pub(super) fn error(error: &ErrorBody<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Wire<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        message: &'a str,
    }
    bytes(&Wire { id: error.request_id, message: &error.message })
}

/// Why it ended, in Cohere's words.
fn finish_word(reason: FinishReason, native: &str, stopped: bool) -> &'static str {
    match reason {
        FinishReason::ContentFilter => "ERROR",
        FinishReason::Length => "MAX_TOKENS",
        FinishReason::Stop if stopped || native.eq_ignore_ascii_case("stop_sequence") => "STOP_SEQUENCE",
        FinishReason::Stop => "COMPLETE",
        FinishReason::ToolCalls => "TOOL_CALL",
    }
}

/// Writes one streamed answer as server-sent events.
#[derive(Debug)]
pub(super) struct Stream {
    id: String,
    begun: bool,
    over: bool,
    /// The kind of the content block that is open.
    block: Option<Kind>,
    /// How many blocks of content there were before the open one.
    blocks: u64,
    calls: Vec<Waiting>,
    citations: u64,
    usage: Option<WireUsage>,
    /// One of the caller's stop texts matched. Which one it was has no place here.
    stopped: bool,
    /// What of the provider's answer is not in this one.
    lost: String,
    /// Why the answer ended; its `message-end` waits for the usage.
    end: Option<(FinishReason, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// Thought that goes on. What is signed is closed.
    Thinking,
}

/// A tool call, and what of its arguments has not been written.
#[derive(Debug)]
struct Waiting {
    id: String,
    name: String,
    signature: Option<String>,
    arguments: String,
    said: bool,
}

impl Stream {
    /// A fresh stream.
    pub(super) fn new(head: &Head<'_>) -> Self {
        Self {
            id: head.id.to_owned(),
            begun: false,
            over: false,
            block: None,
            blocks: 0,
            calls: Vec::new(),
            citations: 0,
            usage: None,
            stopped: false,
            lost: String::new(),
            end: None,
        }
    }

    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Citation(citation) => self.cite(citation, out),
            Event::Error(error) => self.fail(&ErrorBody::upstream(error, None), out),
            Event::Finish { reason, native } => self.finish(*reason, native, out),
            Event::Reasoning(text) if text.is_empty() => {}
            Event::Reasoning(text) => {
                self.open(Kind::Thinking, out);
                self.content("content-delta", Piece { thinking: Some(text), ..Piece::default() }, out);
            }
            Event::ReasoningRedacted(data) => {
                self.close(out);
                self.open(Kind::Thinking, out);
                let piece = Piece { thinking: Some(""), redacted: Some(data), ..Piece::default() };
                self.content("content-delta", piece, out);
                self.close(out);
            }
            Event::ReasoningSignature(signature) => {
                self.open(Kind::Thinking, out);
                let piece = Piece { thinking: Some(""), signature: Some(signature), ..Piece::default() };
                self.content("content-delta", piece, out);
                self.close(out);
            }
            Event::Logprobs(_) | Event::Start { .. } => {}
            Event::StopText(_) => self.stopped = true,
            Event::Unsaid { name, .. } => add_name(&mut self.lost, name),
            Event::Refusal(text) | Event::Text(text) if text.is_empty() => {}
            Event::Refusal(text) | Event::Text(text) => {
                self.open(Kind::Text, out);
                self.content("content-delta", Piece { text: Some(text), ..Piece::default() }, out);
            }
            Event::ToolArguments { text, .. } if text.is_empty() => {}
            Event::ToolArguments { index, text } => self.arguments(*index, text, out),
            Event::ToolCall { id, name, signature, .. } => {
                self.close(out);
                self.calls.push(Waiting {
                    id: id.clone(),
                    name: name.clone(),
                    signature: signature.clone(),
                    arguments: String::new(),
                    said: false,
                });
                if self.calls.len() == 1 {
                    self.call_start(0, out);
                }
            }
            Event::Usage(usage) => self.usage = Some(WireUsage::from(usage)),
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !self.begun {
            self.begun = true;
            let message =
                Start { role: "assistant", content: [], tool_plan: "", tool_calls: [], citations: [] };
            send(out, "message-start", Some(&self.id), None, Some(Delta { message }));
        }
    }

    /// Opens a block of this kind, unless one is open.
    fn open(&mut self, kind: Kind, out: &mut Vec<u8>) {
        if self.block == Some(kind) {
            return;
        }
        self.close(out);
        self.block = Some(kind);
        let piece = match kind {
            Kind::Text => Piece { kind: Some("text"), text: Some(""), ..Piece::default() },
            Kind::Thinking => Piece { kind: Some("thinking"), thinking: Some(""), ..Piece::default() },
        };
        self.content("content-start", piece, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.block.take().is_some() {
            send::<()>(out, "content-end", None, Some(self.blocks), None);
            self.blocks += 1;
        }
    }

    fn content(&mut self, event: &str, content: Piece<'_>, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Message<'a> {
            content: Piece<'a>,
        }
        self.begin(out);
        send(out, event, None, Some(self.blocks), Some(Delta { message: Message { content } }));
    }

    fn cite(&mut self, citation: &Citation, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Message<'a> {
            citations: Cited<'a>,
        }
        self.begin(out);
        let index = Some(self.citations);
        self.citations += 1;
        let message = Message { citations: Cited::from(citation) };
        send(out, "citation-start", None, index, Some(Delta { message }));
        send::<()>(out, "citation-end", None, index, None);
    }

    fn call_start(&mut self, index: usize, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Message<'a> {
            tool_calls: Call<'a>,
        }
        self.begin(out);
        let Some(call) = self.calls.get(index) else { return };
        let message = Message { tool_calls: Call::new(&call.id, &call.name, &call.signature) };
        send(out, "tool-call-start", None, Some(index as u64), Some(Delta { message }));
    }

    fn arguments(&mut self, index: u32, text: &str, out: &mut Vec<u8>) {
        let Some(call) = self.calls.get_mut(index as usize) else { return };
        if index > 0 {
            call.arguments.push_str(text);
            return;
        }
        call.said |= !text.trim().is_empty();
        call_delta(0, text, out);
    }

    fn finish(&mut self, reason: FinishReason, native: &str, out: &mut Vec<u8>) {
        if self.end.is_some() {
            return;
        }
        self.begin(out);
        self.close(out);
        for index in 0..self.calls.len() {
            if index > 0 {
                self.call_start(index, out);
            }
            let Some(call) = self.calls.get(index) else { continue };
            if !call.arguments.trim().is_empty() {
                call_delta(index as u64, &call.arguments, out);
            } else if !call.said {
                call_delta(index as u64, "{}", out);
            }
            send::<()>(out, "tool-call-end", None, Some(index as u64), None);
        }
        self.end = Some((reason.after_calls(!self.calls.is_empty()), native.to_owned()));
    }
}

impl Writer for Stream {
    /// The first event waits for the first content: an answer that fails right after its start can still
    /// be asked for elsewhere.
    fn events(&mut self, events: &[Event], out: &mut Vec<u8>) {
        for event in events {
            if self.over {
                return;
            }
            self.event(event, out);
        }
    }

    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        self.over = true;
        let finish_reason = if error.status.as_u16() == 504 { "TIMEOUT" } else { "ERROR" };
        let end = End {
            error: Some(&error.message),
            finish_reason,
            native_finish_reason: None,
            hypergate_dropped: None,
            usage: self.usage.as_ref(),
        };
        send(out, "message-end", error.request_id, None, Some(end));
    }

    fn done(&mut self, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        self.over = true;
        let Some((reason, native)) = &self.end else { return };
        let error = (*reason == FinishReason::ContentFilter).then_some(FILTERED);
        let finish_reason = finish_word(*reason, native, self.stopped);
        let native_finish_reason = FinishReason::own_word(native, finish_reason);
        let (hypergate_dropped, usage) = (some(&self.lost), self.usage.as_ref());
        let end = End { error, finish_reason, native_finish_reason, hypergate_dropped, usage };
        send(out, "message-end", Some(&self.id), None, Some(end));
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn is_finished(&self) -> bool {
        self.end.is_some() || self.over
    }
}

fn call_delta(index: u64, arguments: &str, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Message<'a> {
        tool_calls: Calls<'a>,
    }
    #[derive(Serialize)]
    struct Calls<'a> {
        function: Arguments<'a>,
    }
    #[derive(Serialize)]
    struct Arguments<'a> {
        arguments: &'a str,
    }
    let message = Message { tool_calls: Calls { function: Arguments { arguments } } };
    send(out, "tool-call-delta", None, Some(index), Some(Delta { message }));
}

fn send<T: Serialize>(out: &mut Vec<u8>, kind: &str, id: Option<&str>, index: Option<u64>, delta: Option<T>) {
    #[derive(Serialize)]
    struct Wire<'a, T> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        index: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        delta: Option<T>,
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let wire = Wire { id, kind, index, delta };
    serde_json::to_writer(&mut *out, &wire).expect("strings and numbers into memory cannot fail");
    out.extend_from_slice(b"\n\n");
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers into memory cannot fail")
}

const FILTERED: &str = "The answer was withheld by a content filter. Change the content and send it again.";

// --- wire ---

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    finish_reason: &'a str,
    /// Not Cohere's: the provider's own word, where it says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    native_finish_reason: Option<&'a str>,
    message: Message<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<WireUsage>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    content: Vec<Block<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    citations: Vec<Cited<'a>>,
}

/// The message a stream begins with; its lists are there and empty.
#[derive(Serialize)]
struct Start<'a> {
    role: &'a str,
    content: [(); 0],
    tool_plan: &'a str,
    tool_calls: [(); 0],
    citations: [(); 0],
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: String,
    },
    Thinking {
        thinking: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        redacted: Option<&'a str>,
    },
}

impl<'a> Block<'a> {
    fn redacted(data: &'a str) -> Self {
        Self::Thinking { thinking: String::new(), signature: None, redacted: Some(data) }
    }
}

/// Part of a block of content.
#[derive(Default, Serialize)]
struct Piece<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<&'a str>,
}

#[derive(Serialize)]
struct Delta<T> {
    message: T,
}

#[derive(Serialize)]
struct End<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    finish_reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    native_finish_reason: Option<&'a str>,
    /// Not the protocol's: what of the provider's answer is not in this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    hypergate_dropped: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<&'a WireUsage>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    function: Function<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
}

impl<'a> Call<'a> {
    fn new(id: &'a str, name: &'a str, signature: &'a Option<String>) -> Self {
        let function = Function { name, arguments: Cow::Borrowed("") };
        Self { id, kind: "function", function, signature: signature.as_deref() }
    }
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: Cow<'a, str>,
}

#[derive(Serialize)]
struct Cited<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    sources: [Source<'a>; 1],
}

#[derive(Serialize)]
struct Source<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    document: Document<'a>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
}

impl<'a> From<&'a Citation> for Cited<'a> {
    fn from(citation: &'a Citation) -> Self {
        let (title, url) = (citation.title.as_deref(), citation.url.as_deref());
        let source = Source { kind: "document", id: url.or(title), document: Document { title, url } };
        let (start, end) = citation.span.unzip();
        Self { start, end, text: citation.quote.as_deref(), sources: [source] }
    }
}

/// Here both are the same: what another provider charges for is all it counts.
#[derive(Debug, Serialize)]
struct WireUsage {
    billed_units: Counts,
    tokens: Counts,
    cached_tokens: u64,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Counts {
    input_tokens: u64,
    output_tokens: u64,
}

impl From<&Usage> for WireUsage {
    fn from(usage: &Usage) -> Self {
        let counts = Counts { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens };
        Self { billed_units: counts, tokens: counts, cached_tokens: usage.cache_read_input_tokens }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ErrorClass,
        dialect::{Dialect, cohere::Cohere},
    };

    const HEAD: Head<'_> = Head { id: "m1", created: 0, model: "fast" };

    fn call(index: u32, name: &str, signature: Option<&str>) -> Event {
        let signature = signature.map(str::to_owned);
        Event::ToolCall { index, id: format!("{name}_1"), name: name.to_owned(), signature }
    }

    fn arguments(index: u32, text: &str) -> Event {
        Event::ToolArguments { index, text: text.to_owned() }
    }

    /// Usage after the end, as Chat Completions has it.
    fn rich() -> Vec<Event> {
        let usage =
            Usage { input_tokens: 9, cache_read_input_tokens: 4, output_tokens: 5, ..Usage::default() };
        let title = Some("X".to_owned());
        vec![
            Event::Start { id: None, model: None },
            Event::Reasoning("H".to_owned()),
            Event::Reasoning("m".to_owned()),
            Event::ReasoningSignature("s".to_owned()),
            Event::ReasoningRedacted("r".to_owned()),
            Event::Text("Hi".to_owned()),
            Event::Citation(Citation { span: None, url: None, title, quote: Some("Hi".to_owned()) }),
            call(0, "f", None),
            call(1, "g", Some("t")),
            arguments(1, "{\"a\":"),
            arguments(0, "{"),
            arguments(1, "1}"),
            arguments(0, "}"),
            call(2, "h", None),
            Event::Finish { reason: FinishReason::Stop, native: "stop".to_owned() },
            Event::Usage(usage),
        ]
    }

    fn streamed(events: &[Event]) -> String {
        let mut stream = Stream::new(&HEAD);
        let mut out = Vec::new();
        for event in events {
            stream.events(std::slice::from_ref(event), &mut out);
        }
        stream.done(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_stream_has_every_event_the_clients_know() {
        #[rustfmt::skip]
        let expected = [
            ("message-start", r#"{"id":"m1","type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}"#),
            ("content-start", r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"thinking","thinking":""}}}}"#),
            ("content-delta", r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"H"}}}}"#),
            ("content-delta", r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"m"}}}}"#),
            ("content-delta", r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"","signature":"s"}}}}"#),
            ("content-end", r#"{"type":"content-end","index":0}"#),
            ("content-start", r#"{"type":"content-start","index":1,"delta":{"message":{"content":{"type":"thinking","thinking":""}}}}"#),
            ("content-delta", r#"{"type":"content-delta","index":1,"delta":{"message":{"content":{"thinking":"","redacted":"r"}}}}"#),
            ("content-end", r#"{"type":"content-end","index":1}"#),
            ("content-start", r#"{"type":"content-start","index":2,"delta":{"message":{"content":{"type":"text","text":""}}}}"#),
            ("content-delta", r#"{"type":"content-delta","index":2,"delta":{"message":{"content":{"text":"Hi"}}}}"#),
            ("citation-start", r#"{"type":"citation-start","index":0,"delta":{"message":{"citations":{"text":"Hi","sources":[{"type":"document","id":"X","document":{"title":"X"}}]}}}}"#),
            ("citation-end", r#"{"type":"citation-end","index":0}"#),
            ("content-end", r#"{"type":"content-end","index":2}"#),
            ("tool-call-start", r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"f_1","type":"function","function":{"name":"f","arguments":""}}}}}"#),
            ("tool-call-delta", r#"{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"{"}}}}}"#),
            ("tool-call-delta", r#"{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"}"}}}}}"#),
            ("tool-call-end", r#"{"type":"tool-call-end","index":0}"#),
            ("tool-call-start", r#"{"type":"tool-call-start","index":1,"delta":{"message":{"tool_calls":{"id":"g_1","type":"function","function":{"name":"g","arguments":""},"signature":"t"}}}}"#),
            ("tool-call-delta", r#"{"type":"tool-call-delta","index":1,"delta":{"message":{"tool_calls":{"function":{"arguments":"{\"a\":1}"}}}}}"#),
            ("tool-call-end", r#"{"type":"tool-call-end","index":1}"#),
            ("tool-call-start", r#"{"type":"tool-call-start","index":2,"delta":{"message":{"tool_calls":{"id":"h_1","type":"function","function":{"name":"h","arguments":""}}}}}"#),
            ("tool-call-delta", r#"{"type":"tool-call-delta","index":2,"delta":{"message":{"tool_calls":{"function":{"arguments":"{}"}}}}}"#),
            ("tool-call-end", r#"{"type":"tool-call-end","index":2}"#),
            ("message-end", r#"{"id":"m1","type":"message-end","delta":{"finish_reason":"TOOL_CALL","usage":{"billed_units":{"input_tokens":9,"output_tokens":5},"tokens":{"input_tokens":9,"output_tokens":5},"cached_tokens":4}}}"#),
        ];
        let expected: String =
            expected.iter().map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).collect();
        assert_eq!(streamed(&rich()), expected + "data: [DONE]\n\n");
    }

    #[test]
    fn a_whole_answer_has_it_all_in_one_message() {
        let whole = whole(&HEAD, &rich()).expect("whole");
        #[rustfmt::skip]
        let expected = concat!(
            r#"{"id":"m1","finish_reason":"TOOL_CALL","message":{"role":"assistant","tool_calls":["#,
            r#"{"id":"f_1","type":"function","function":{"name":"f","arguments":"{}"}},"#,
            r#"{"id":"g_1","type":"function","function":{"name":"g","arguments":"{\"a\":1}"},"signature":"t"},"#,
            r#"{"id":"h_1","type":"function","function":{"name":"h","arguments":"{}"}}],"#,
            r#""content":[{"type":"thinking","thinking":"Hm","signature":"s"},{"type":"thinking","thinking":"","redacted":"r"},{"type":"text","text":"Hi"}],"#,
            r#""citations":[{"text":"Hi","sources":[{"type":"document","id":"X","document":{"title":"X"}}]}]},"#,
            r#""usage":{"billed_units":{"input_tokens":9,"output_tokens":5},"tokens":{"input_tokens":9,"output_tokens":5},"cached_tokens":4}}"#,
        );
        assert_eq!(String::from_utf8_lossy(&whole), expected);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut decoder = Cohere.decoder();
        let mut events = Vec::new();
        decoder.feed(streamed(&rich()).as_bytes(), &mut events);
        decoder.finish(&mut events);
        assert!(events.contains(&arguments(1, "{\"a\":1}")), "{events:?}");
        assert!(matches!(events.last(), Some(Event::Finish { reason: FinishReason::ToolCalls, .. })));
        let whole = whole(&HEAD, &rich()).expect("whole");
        assert!(Cohere.decode(&whole).expect("an answer").contains(&arguments(1, "{\"a\":1}")));
    }

    #[test]
    fn a_failure_is_the_last_thing_said() {
        let error = |class| Event::Error(UpstreamError::new(class, "Oh."));
        for (class, word) in [(ErrorClass::Server, "ERROR"), (ErrorClass::Timeout, "TIMEOUT")] {
            let events = [Event::Text("a".to_owned()), error(class), Event::Text("b".to_owned())];
            let stream = streamed(&events);
            let last = stream.trim_end().rsplit("\n\n").next().expect("an event");
            let expected = format!(
                "event: message-end\ndata: {{\"type\":\"message-end\",\"delta\":{{\"error\":\"Oh. {}\",\"finish_reason\":\"{word}\"}}}}",
                class.advice()
            );
            assert_eq!(last, expected);
            assert!(whole(&HEAD, &events).is_err());
        }
        assert_eq!(whole(&HEAD, &[Event::Text("a".to_owned())]), Err(UpstreamError::truncated()));
        let start = [Event::Start { id: None, model: None }, Event::Text(String::new())];
        assert_eq!(streamed(&start), "");
    }

    #[test]
    fn ends_are_in_coheres_words() {
        let cases = [
            (FinishReason::Stop, "stop", "COMPLETE", ""),
            (FinishReason::Stop, "stop_sequence", "STOP_SEQUENCE", ""),
            (FinishReason::Length, "length", "MAX_TOKENS", ""),
            (FinishReason::ContentFilter, "refusal", "ERROR", r#""native_finish_reason":"refusal","#),
        ];
        for (reason, native, word, own) in cases {
            let events = [Event::Finish { reason, native: native.to_owned() }];
            assert!(streamed(&events).contains(&format!("\"finish_reason\":\"{word}\"")), "{native}");
            let whole = String::from_utf8(whole(&HEAD, &events).expect("whole")).expect("UTF-8");
            let message = r#""message":{"role":"assistant","content":[{"type":"text","text":""}]}}"#;
            assert_eq!(whole, format!(r#"{{"id":"m1","finish_reason":"{word}",{own}{message}"#));
        }
    }
}
