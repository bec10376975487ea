//! Unified events, as the Responses answer a caller expects: whole, or as a stream.
//!
//! Both are made by the same steps, so that a stream's last event holds the very answer that would have
//! come whole. Another provider's signatures and encrypted thought go into `encrypted_content`, see
//! [`Kept`].

use serde::Serialize;
use serde_json::Value;

use super::Kept;
use crate::{
    UpstreamError, Usage,
    chat::{Citation, Event, FinishReason},
    dialect::{add_name, chat_completions, some},
    front::{ErrorBody, Head, Writer},
};

/// A whole answer. The error is the one among the events, or that they have no end.
pub(super) fn whole(head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
    let mut stream = Stream { is_whole: true, ..Stream::new(head) };
    let mut out = Vec::new();
    for event in events {
        if let Event::Error(error) = event {
            return Err(error.clone());
        }
        stream.event(event, &mut out);
    }
    let Some(reason) = stream.finish else { return Err(UpstreamError::truncated()) };
    json(&mut out, stream.response(ending(reason).0, None));
    Ok(out)
}

/// Writes one streamed answer as server-sent events.
#[derive(Debug)]
pub(super) struct Stream {
    id: String,
    created: i64,
    model: String,
    /// No event is written, the items are only gathered.
    is_whole: bool,
    /// Events so far.
    sequence: u64,
    begun: bool,
    over: bool,
    finish: Option<FinishReason>,
    /// The provider's own word for it.
    native: String,
    /// What of the provider's answer is not in this one.
    lost: String,
    items: Vec<Item>,
    /// The message or the thought that goes on.
    open: Option<usize>,
    /// How many characters of text the last part of a message has.
    said: usize,
    /// Where each tool call is among the items.
    calls: Vec<usize>,
    usage: Option<Usage>,
}

impl Stream {
    /// A fresh stream.
    pub(super) fn new(head: &Head<'_>) -> Self {
        // Ids of items are made of the answer's, without the mark of what it is the id of.
        let id = head.id.split_once('_').map_or(head.id, |(_, id)| id);
        Self {
            id: id.to_owned(),
            created: head.created,
            model: head.model.to_owned(),
            is_whole: false,
            sequence: 0,
            begun: false,
            over: false,
            finish: None,
            native: String::new(),
            lost: String::new(),
            items: Vec::new(),
            open: None,
            said: 0,
            calls: Vec::new(),
            usage: None,
        }
    }

    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.finish.is_some() && !matches!(event, Event::Usage(_)) {
            return;
        }
        match event {
            Event::Citation(citation) => self.cite(citation, out),
            Event::Error(error) => self.fail(&ErrorBody::upstream(error, None), out),
            Event::Finish { reason, native } => {
                self.native.clone_from(native);
                self.end(*reason, out);
            }
            Event::Logprobs(tokens) => self.logprobs(tokens, out),
            Event::Reasoning(text) if text.is_empty() => {}
            Event::Reasoning(text) => self.think(text, out),
            Event::ReasoningRedacted(data) => {
                if self.thought().is_some() {
                    self.close(out);
                }
                self.keep(Kept::Redacted(data), out);
            }
            Event::ReasoningSignature(signature) => self.keep(Kept::Signature(signature), out),
            Event::Refusal(text) | Event::Text(text) if text.is_empty() => {}
            Event::Refusal(text) => self.say(text, true, out),
            Event::Start { .. } | Event::StopText(_) => {}
            Event::Unsaid { name, .. } => add_name(&mut self.lost, name),
            Event::Text(text) => self.say(text, false, out),
            Event::ToolArguments { text, .. } if text.is_empty() => {}
            Event::ToolArguments { index, text } => self.arguments(*index as usize, text, out),
            Event::ToolCall { id, name, signature, .. } => self.call(id, name, signature.as_deref(), out),
            Event::Usage(usage) => self.usage = Some(*usage),
        }
    }

    // --- thought ---

    /// The thought that goes on.
    fn thought(&self) -> Option<usize> {
        self.open.filter(|at| matches!(self.items.get(*at), Some(Item::Reasoning { .. })))
    }

    fn think(&mut self, text: &str, out: &mut Vec<u8>) {
        let at = match self.thought() {
            Some(at) => at,
            None => {
                self.close(out);
                let at = self.add(Item::reasoning(self.item_id("rs")), out);
                self.open = Some(at);
                let part = Part::Summary(Summary::new(""));
                self.tell(
                    "response.reasoning_summary_part.added",
                    at,
                    Fields { part: Some(part), ..SUMMARY },
                    out,
                );
                at
            }
        };
        if let Some(Item::Reasoning { summary, .. }) = self.items.get_mut(at) {
            match summary.first_mut() {
                Some(Summary { text: before, .. }) => before.push_str(text),
                None => summary.push(Summary::new(text.to_owned())),
            }
        }
        self.tell("response.reasoning_summary_text.delta", at, Fields { delta: Some(text), ..SUMMARY }, out);
    }

    /// Ends the thought at hand with what is kept of it; one of its own where there is none.
    fn keep(&mut self, kept: Kept<'_>, out: &mut Vec<u8>) {
        let (at, is_own) = match self.thought() {
            Some(at) => (at, false),
            None => (self.add(Item::reasoning(self.item_id("rs")), out), true),
        };
        if let Some(Item::Reasoning { encrypted_content, .. }) = self.items.get_mut(at) {
            *encrypted_content = Some(kept.mark());
        }
        if is_own {
            // A message that goes on beside it still does.
            self.done_item(at, "completed", out);
        } else {
            self.close(out);
        }
    }

    // --- text ---

    fn say(&mut self, text: &str, refuses: bool, out: &mut Vec<u8>) {
        let at = self.part(refuses, out);
        self.said += text.chars().count();
        let Some((place, content)) = self.content(at) else { return };
        let (name, fields) = match content {
            Content::OutputText { text: before, .. } => {
                before.push_str(text);
                ("response.output_text.delta", Fields { logprobs: Some(&[]), ..Fields::default() })
            }
            Content::Refusal { refusal } => {
                refusal.push_str(text);
                ("response.refusal.delta", Fields::default())
            }
        };
        self.tell(name, at, Fields { content_index: Some(place), delta: Some(text), ..fields }, out);
    }

    fn logprobs(&mut self, tokens: &[Value], out: &mut Vec<u8>) {
        let at = self.part(false, out);
        let Some((place, Content::OutputText { logprobs, .. })) = self.content(at) else { return };
        logprobs.extend_from_slice(tokens);
        let fields = Fields {
            content_index: Some(place),
            delta: Some(""),
            logprobs: Some(tokens),
            ..Fields::default()
        };
        self.tell("response.output_text.delta", at, fields, out);
    }

    /// The open message, its last part of the kind asked for.
    fn part(&mut self, refuses: bool, out: &mut Vec<u8>) -> usize {
        let open = self.open.filter(|at| matches!(self.items.get(*at), Some(Item::Message { .. })));
        let at = match open {
            Some(at) => at,
            None => {
                self.close(out);
                let at = self.add(Item::message(self.item_id("msg")), out);
                self.open = Some(at);
                at
            }
        };
        let fits = self.content(at).map(|(_, content)| matches!(content, Content::Refusal { .. }) == refuses);
        if fits == Some(true) {
            return at;
        }
        if fits == Some(false) {
            self.done_part(at, out);
        }
        let content = if refuses {
            Content::Refusal { refusal: String::new() }
        } else {
            Content::OutputText { text: String::new(), annotations: Vec::new(), logprobs: Vec::new() }
        };
        if let Some(Item::Message { content: parts, .. }) = self.items.get_mut(at) {
            let fields = Fields { content_index: Some(parts.len()), ..Fields::default() };
            let part = content.clone();
            parts.push(content);
            self.said = 0;
            let fields = Fields { part: Some(Part::Content(&part)), ..fields };
            self.tell("response.content_part.added", at, fields, out);
        }
        at
    }

    /// The last part of a message, and its position.
    fn content(&mut self, at: usize) -> Option<(usize, &mut Content)> {
        match self.items.get_mut(at)? {
            Item::Message { content, .. } => {
                let last = content.len().checked_sub(1)?;
                Some((last, content.get_mut(last)?))
            }
            _ => None,
        }
    }

    /// A source, cited where the text stands now.
    fn cite(&mut self, citation: &Citation, out: &mut Vec<u8>) {
        let at = self.part(false, out);
        let said = self.said;
        let Some((place, Content::OutputText { annotations, .. })) = self.content(at) else { return };
        let annotation = Annotation::new(citation, said);
        let fields = Fields {
            content_index: Some(place),
            annotation_index: Some(annotations.len()),
            annotation: Some(&annotation),
            ..Fields::default()
        };
        annotations.push(annotation.clone());
        self.tell("response.output_text.annotation.added", at, fields, out);
    }

    // --- calls ---

    fn call(&mut self, call_id: &str, name: &str, signature: Option<&str>, out: &mut Vec<u8>) {
        if let Some(signature) = signature {
            if self.thought().is_none() {
                self.close(out);
            }
            self.keep(Kept::Call(signature), out);
        }
        self.close(out);
        let id = self.item_id("fc");
        let at = self.add(
            Item::FunctionCall {
                id,
                call_id: call_id.to_owned(),
                name: name.to_owned(),
                arguments: String::new(),
                status: "in_progress",
            },
            out,
        );
        self.calls.push(at);
    }

    fn arguments(&mut self, index: usize, text: &str, out: &mut Vec<u8>) {
        let Some(&at) = self.calls.get(index) else { return };
        if let Some(Item::FunctionCall { arguments, .. }) = self.items.get_mut(at) {
            arguments.push_str(text);
        }
        let fields = Fields { delta: Some(text), ..Fields::default() };
        self.tell("response.function_call_arguments.delta", at, fields, out);
    }

    // --- items ---

    fn item_id(&self, kind: &str) -> String {
        format!("{kind}_{}_{}", self.id, self.items.len())
    }

    /// Begins an item.
    fn add(&mut self, item: Item, out: &mut Vec<u8>) -> usize {
        self.begin(out);
        let at = self.items.len();
        self.write("response.output_item.added", item_fields(at, &item), out);
        self.items.push(item);
        at
    }

    /// Ends the message or the thought that goes on.
    fn close(&mut self, out: &mut Vec<u8>) {
        self.close_as("completed", out);
    }

    fn close_as(&mut self, status: &'static str, out: &mut Vec<u8>) {
        let Some(at) = self.open.take() else { return };
        match self.items.get_mut(at) {
            Some(Item::Message { .. }) => self.done_part(at, out),
            Some(Item::Reasoning { summary, encrypted_content, .. }) => {
                encrypted_content.get_or_insert_with(|| Kept::Plain.mark());
                let text = summary.first().map(|summary| summary.text.clone()).unwrap_or_default();
                let fields = Fields { text: Some(&text), ..SUMMARY };
                self.tell("response.reasoning_summary_text.done", at, fields, out);
                let fields = Fields { part: Some(Part::Summary(Summary::new(text.as_str()))), ..SUMMARY };
                self.tell("response.reasoning_summary_part.done", at, fields, out);
            }
            _ => {}
        }
        self.done_item(at, status, out);
    }

    /// Ends the last part of a message.
    fn done_part(&mut self, at: usize, out: &mut Vec<u8>) {
        if self.is_whole {
            return;
        }
        let Some((place, content)) = self.content(at).map(|(place, content)| (place, content.clone())) else {
            return;
        };
        let fields = Fields { content_index: Some(place), ..Fields::default() };
        match &content {
            Content::OutputText { text, logprobs, .. } => {
                let fields = Fields { text: Some(text), logprobs: Some(logprobs), ..fields };
                self.tell("response.output_text.done", at, fields, out);
            }
            Content::Refusal { refusal } => {
                let fields = Fields { refusal: Some(refusal), ..fields };
                self.tell("response.refusal.done", at, fields, out);
            }
        }
        let fields = Fields { part: Some(Part::Content(&content)), ..fields };
        self.tell("response.content_part.done", at, fields, out);
    }

    fn done_call(&mut self, index: usize, status: &'static str, out: &mut Vec<u8>) {
        let Some(&at) = self.calls.get(index) else { return };
        let Some(Item::FunctionCall { arguments, name, .. }) = self.items.get(at) else { return };
        if arguments.trim_ascii().is_empty() && status == "completed" {
            self.arguments(index, "{}", out);
            return self.done_call(index, status, out);
        }
        let (arguments, name) = (arguments.clone(), name.clone());
        let fields = Fields { arguments: Some(&arguments), name: Some(&name), ..Fields::default() };
        self.tell("response.function_call_arguments.done", at, fields, out);
        self.done_item(at, status, out);
    }

    fn done_item(&mut self, at: usize, status: &'static str, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(at) else { return };
        match item {
            Item::FunctionCall { status: now, .. } | Item::Message { status: now, .. } => *now = status,
            Item::Reasoning { .. } => {}
        }
        if !self.is_whole {
            let item = item.clone();
            self.write("response.output_item.done", item_fields(at, &item), out);
        }
    }

    /// Ends all that is open. The answer itself ends with [`Writer::done`], when its usage is known.
    fn end(&mut self, reason: FinishReason, out: &mut Vec<u8>) {
        self.begin(out);
        let (status, _) = ending(reason);
        // Where the answer was cut, only what came last is not whole.
        let cut_call = self.calls.len().checked_sub(1).filter(|_| self.open.is_none());
        self.close_as(status, out);
        for index in 0..self.calls.len() {
            self.done_call(index, if Some(index) == cut_call { status } else { "completed" }, out);
        }
        self.finish = Some(reason);
    }

    // --- events ---

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.begun || self.is_whole {
            return;
        }
        self.begun = true;
        for name in ["response.created", "response.in_progress"] {
            self.write_response(name, "in_progress", None, out);
        }
    }

    fn write_response(
        &mut self,
        name: &'static str,
        status: &'static str,
        error: Option<Failure<'_>>,
        out: &mut Vec<u8>,
    ) {
        let event = Frame {
            kind: name,
            sequence_number: self.sequence,
            fields: Whole { response: self.response(status, error) },
        };
        write_event(name, &event, out);
        self.sequence += 1;
    }

    /// An event about an item.
    fn tell(&mut self, name: &'static str, at: usize, fields: Fields<'_>, out: &mut Vec<u8>) {
        if self.is_whole {
            return;
        }
        let Some(id) = self.items.get(at).map(|item| item.id().to_owned()) else { return };
        self.write(name, Fields { item_id: Some(&id), output_index: Some(at), ..fields }, out);
    }

    fn write(&mut self, name: &'static str, fields: Fields<'_>, out: &mut Vec<u8>) {
        if self.is_whole {
            return;
        }
        write_event(name, &Frame { kind: name, sequence_number: self.sequence, fields }, out);
        self.sequence += 1;
    }

    fn response<'a>(&'a self, status: &'a str, error: Option<Failure<'a>>) -> Response<'a> {
        let reason = self.finish.and_then(|reason| ending(reason).1).filter(|_| status == "incomplete");
        let is_over = status == "completed" || status == "incomplete";
        Response {
            id: ResponseId(&self.id),
            object: "response",
            created_at: self.created,
            status,
            background: false,
            error,
            incomplete_details: reason.map(|reason| IncompleteDetails { reason }),
            native_finish_reason: FinishReason::own_word(&self.native, reason.unwrap_or_default())
                .filter(|_| is_over),
            hypergate_dropped: some(&self.lost).filter(|_| is_over),
            instructions: (),
            max_output_tokens: (),
            metadata: Empty {},
            model: &self.model,
            output: if status == "in_progress" { &[] } else { &self.items },
            parallel_tool_calls: true,
            previous_response_id: (),
            reasoning: ReasoningSetting { effort: (), summary: () },
            service_tier: self.usage.filter(|_| is_over).and_then(|usage| usage.tier.told()),
            store: false,
            temperature: (),
            text: TextSetting { format: Typed { kind: "text" } },
            tool_choice: "auto",
            tools: [],
            top_p: (),
            truncation: "disabled",
            usage: self.usage.as_ref().filter(|_| is_over).map(WireUsage::from),
        }
    }
}

impl Writer for Stream {
    /// The first events wait for the first content: an answer that fails right after its start can still
    /// be asked for elsewhere.
    fn events(&mut self, events: &[Event], out: &mut Vec<u8>) {
        for event in events {
            if self.over {
                return;
            }
            self.event(event, out);
        }
    }

    /// Some clients raise what an `error` event says, others go by `response.failed`; OpenAI sends both.
    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        self.over = true;
        error_event(error, self.sequence, out);
        self.sequence += 1;
        // Our own name for it stands in the event before: here, only OpenAI's may.
        let code = match error.status.as_u16() {
            429 => "rate_limit_exceeded",
            400..500 => "invalid_prompt",
            _ => "server_error",
        };
        let failure = Failure { code, message: &error.message };
        self.write_response("response.failed", "failed", Some(failure), out);
    }

    fn done(&mut self, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        if self.finish.is_none() {
            self.end(FinishReason::Stop, out);
        }
        self.over = true;
        let status = self.finish.map_or("completed", |reason| ending(reason).0);
        let name = if status == "incomplete" { "response.incomplete" } else { "response.completed" };
        self.write_response(name, status, None, out);
    }

    fn is_finished(&self) -> bool {
        self.finish.is_some() || self.over
    }
}

/// The `error` event. Its fields stand twice, as the documentation has them and as the API sends them:
/// OpenAI's own libraries raise only what stands in `error`.
pub(super) fn error_event(error: &ErrorBody<'_>, sequence_number: u64, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Failed<'a> {
        code: Option<&'a str>,
        message: &'a str,
        param: Option<&'a str>,
        error: Detail<'a>,
    }
    #[derive(Serialize)]
    struct Detail<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        code: Option<&'a str>,
        message: &'a str,
        param: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    }
    let (code, message, param) = (error.code, &*error.message, error.param);
    let kind = chat_completions::error::kind(error.status);
    let detail = Detail { kind, code, message, param, request_id: error.request_id };
    let fields = Failed { code, message, param, error: detail };
    write_event("error", &Frame { kind: "error", sequence_number, fields }, out);
}

fn write_event(name: &str, event: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    json(out, event);
    out.extend_from_slice(b"\n\n");
}

fn json(out: &mut Vec<u8>, value: impl Serialize) {
    serde_json::to_writer(out, &value).expect("strings and numbers into memory cannot fail");
}

fn item_fields(at: usize, item: &Item) -> Fields<'_> {
    Fields { output_index: Some(at), item: Some(item), ..Fields::default() }
}

/// The status of an answer that ended so, and why it is incomplete.
fn ending(reason: FinishReason) -> (&'static str, Option<&'static str>) {
    match reason {
        FinishReason::ContentFilter => ("incomplete", Some("content_filter")),
        FinishReason::Length => ("incomplete", Some("max_output_tokens")),
        FinishReason::Stop | FinishReason::ToolCalls => ("completed", None),
    }
}

// --- wire ---

#[derive(Serialize)]
struct Frame<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
struct Whole<'a> {
    response: Response<'a>,
}

/// What the events have besides their name and number.
#[derive(Default, Serialize)]
struct Fields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotation_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a [Value]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<Part<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotation: Option<&'a Annotation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<&'a Item>,
}

/// Thought has one summary, so that a signature over its text still fits when it is sent back.
const SUMMARY: Fields<'static> = Fields {
    item_id: None,
    output_index: None,
    content_index: None,
    summary_index: Some(0),
    annotation_index: None,
    delta: None,
    text: None,
    refusal: None,
    name: None,
    arguments: None,
    logprobs: None,
    part: None,
    annotation: None,
    item: None,
};

#[derive(Serialize)]
#[serde(untagged)]
enum Part<'a> {
    Content(&'a Content),
    Summary(Summary<&'a str>),
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item {
    FunctionCall {
        id: String,
        call_id: String,
        name: String,
        arguments: String,
        status: &'static str,
    },
    Message {
        id: String,
        status: &'static str,
        role: &'static str,
        content: Vec<Content>,
    },
    Reasoning {
        id: String,
        summary: Vec<Summary<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<String>,
    },
}

impl Item {
    fn message(id: String) -> Self {
        Self::Message { id, status: "in_progress", role: "assistant", content: Vec::new() }
    }

    fn reasoning(id: String) -> Self {
        Self::Reasoning { id, summary: Vec::new(), encrypted_content: None }
    }

    fn id(&self) -> &str {
        match self {
            Self::FunctionCall { id, .. } | Self::Message { id, .. } | Self::Reasoning { id, .. } => id,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content {
    OutputText { text: String, annotations: Vec<Annotation>, logprobs: Vec<Value> },
    Refusal { refusal: String },
}

#[derive(Debug, Clone, Serialize)]
struct Summary<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: T,
}

impl<T> Summary<T> {
    fn new(text: T) -> Self {
        Self { kind: "summary_text", text }
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename = "url_citation")]
struct Annotation {
    start_index: u64,
    end_index: u64,
    url: String,
    title: String,
}

impl Annotation {
    fn new(citation: &Citation, at: usize) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (start_index, end_index) = citation.span.unwrap_or((at as u64, at as u64));
        Self { start_index, end_index, url: text(&citation.url), title: text(&citation.title) }
    }
}

/// The answer. What the caller's settings were is not known here; these are the defaults.
#[derive(Serialize)]
struct Response<'a> {
    id: ResponseId<'a>,
    object: &'a str,
    created_at: i64,
    status: &'a str,
    background: bool,
    error: Option<Failure<'a>>,
    incomplete_details: Option<IncompleteDetails>,
    /// Not OpenAI's: the provider's own word for the end, where it says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    native_finish_reason: Option<&'a str>,
    /// Not the protocol's: what of the provider's answer is not in this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    hypergate_dropped: Option<&'a str>,
    instructions: (),
    max_output_tokens: (),
    metadata: Empty,
    model: &'a str,
    output: &'a [Item],
    parallel_tool_calls: bool,
    previous_response_id: (),
    reasoning: ReasoningSetting,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    store: bool,
    temperature: (),
    text: TextSetting,
    tool_choice: &'a str,
    tools: [(); 0],
    top_p: (),
    truncation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<WireUsage>,
}

struct ResponseId<'a>(&'a str);

impl Serialize for ResponseId<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("resp_{}", self.0))
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct IncompleteDetails {
    reason: &'static str,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct ReasoningSetting {
    effort: (),
    summary: (),
}

#[derive(Serialize)]
struct TextSetting {
    format: Typed,
}

#[derive(Serialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: &'static str,
}

/// Cached tokens are inside `input_tokens`, reasoning tokens inside `output_tokens`.
#[derive(Serialize)]
struct WireUsage {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl From<&Usage> for WireUsage {
    fn from(usage: &Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            input_tokens_details: InputDetails {
                cached_tokens: usage.cache_read_input_tokens,
                cache_write_tokens: usage
                    .cache_write_5m_input_tokens
                    .saturating_add(usage.cache_write_1h_input_tokens),
            },
            output_tokens: usage.output_tokens,
            output_tokens_details: OutputDetails { reasoning_tokens: usage.reasoning_output_tokens },
            total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorClass;

    const HEAD: Head<'_> = Head { id: "req_1", created: 1_700_000_000, model: "fast" };

    fn rich() -> Vec<Event> {
        let call = |index: u32, signature: Option<&str>| Event::ToolCall {
            index,
            id: format!("call_{index}"),
            name: "f".to_owned(),
            signature: signature.map(str::to_owned),
        };
        let arguments = |index: u32, text: &str| Event::ToolArguments { index, text: text.to_owned() };
        vec![
            Event::Start { id: Some("x".to_owned()), model: None },
            Event::Reasoning("H".to_owned()),
            Event::Reasoning("m".to_owned()),
            Event::ReasoningSignature("s1".to_owned()),
            Event::ReasoningRedacted("d1".to_owned()),
            Event::Text("Hi \"".to_owned()),
            Event::Text("é".to_owned()),
            Event::Citation(Citation { url: Some("https://x".to_owned()), ..Citation::default() }),
            Event::Refusal("No.".to_owned()),
            call(0, Some("g1")),
            call(1, None),
            arguments(1, "{\"a\":"),
            arguments(0, ""),
            arguments(1, "1}"),
            Event::Usage(Usage {
                input_tokens: 7,
                cache_read_input_tokens: 2,
                cache_write_5m_input_tokens: 1,
                output_tokens: 5,
                reasoning_output_tokens: 3,
                ..Usage::default()
            }),
            Event::Finish { reason: FinishReason::Stop, native: "end_turn".to_owned() },
        ]
    }

    fn streamed(events: &[Event]) -> String {
        let mut stream = Stream::new(&HEAD);
        let mut out = Vec::new();
        stream.events(events, &mut out);
        stream.done(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    /// What the caller sees, without what is the same in every event. Order, numbers and names are checked
    /// on the way.
    fn short(sse: &str) -> Vec<String> {
        let open = r#"{"id":"resp_1","object":"response","created_at":1700000000,"status":"#;
        let events = sse.split_terminator("\n\n").enumerate().map(|(number, event)| {
            let (name, data) = event
                .strip_prefix("event: ")
                .and_then(|event| event.split_once("\ndata: "))
                .unwrap_or_else(|| panic!("{event}"));
            let common = format!(r#"{{"type":"{name}","sequence_number":{number},"#);
            let rest = data.strip_prefix(&common).unwrap_or_else(|| panic!("{data}"));
            format!("{} {}", name.strip_prefix("response.").unwrap_or(name), rest.replace(open, "… "))
        });
        events.collect()
    }

    const IN_PROGRESS: &str = concat!(
        r#""response":… "in_progress","background":false,"error":null,"incomplete_details":null,"instructions":null,"#,
        r#""max_output_tokens":null,"metadata":{},"model":"fast","output":[],"parallel_tool_calls":true,"#,
        r#""previous_response_id":null,"reasoning":{"effort":null,"summary":null},"store":false,"temperature":null,"#,
        r#""text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,"truncation":"disabled"}}"#
    );

    const WHOLE: &str = concat!(
        r#"{"id":"resp_1","object":"response","created_at":1700000000,"status":"completed","background":false,"#,
        r#""error":null,"incomplete_details":null,"instructions":null,"max_output_tokens":null,"metadata":{},"#,
        r#""model":"fast","output":["#,
        r#"{"type":"reasoning","id":"rs_1_0","summary":[{"type":"summary_text","text":"Hm"}],"encrypted_content":"hypergate:signature:s1"},"#,
        r#"{"type":"reasoning","id":"rs_1_1","summary":[],"encrypted_content":"hypergate:redacted:d1"},"#,
        r#"{"type":"message","id":"msg_1_2","status":"completed","role":"assistant","content":["#,
        r#"{"type":"output_text","text":"Hi \"é","annotations":[{"type":"url_citation","start_index":5,"end_index":5,"url":"https://x","title":""}],"logprobs":[]},"#,
        r#"{"type":"refusal","refusal":"No."}]},"#,
        r#"{"type":"reasoning","id":"rs_1_3","summary":[],"encrypted_content":"hypergate:call:g1"},"#,
        r#"{"type":"function_call","id":"fc_1_4","call_id":"call_0","name":"f","arguments":"{}","status":"completed"},"#,
        r#"{"type":"function_call","id":"fc_1_5","call_id":"call_1","name":"f","arguments":"{\"a\":1}","status":"completed"}],"#,
        r#""parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"store":false,"#,
        r#""temperature":null,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,"#,
        r#""truncation":"disabled","usage":{"input_tokens":7,"input_tokens_details":{"cached_tokens":2,"cache_write_tokens":1},"#,
        r#""output_tokens":5,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":12}}"#
    );

    #[test]
    fn a_whole_answer_has_all_that_was_said() {
        assert_eq!(String::from_utf8_lossy(&whole(&HEAD, &rich()).expect("whole")), WHOLE);
        assert_eq!(whole(&HEAD, &rich()[..5]), Err(UpstreamError::truncated()));
        let busy = UpstreamError::new(ErrorClass::Overloaded, "Busy.");
        assert_eq!(whole(&HEAD, &[Event::Error(busy.clone())]), Err(busy));
    }

    #[test]
    fn a_stream_says_each_step_and_ends_with_the_whole() {
        let end =
            WHOLE.replace(r#"{"id":"resp_1","object":"response","created_at":1700000000,"status":"#, "… ");
        let text = r#""item_id":"msg_1_2","output_index":2,"content_index":0"#;
        let refusal = r#""item_id":"msg_1_2","output_index":2,"content_index":1"#;
        let thought = r#""item_id":"rs_1_0","output_index":0,"summary_index":0"#;
        let source = r#"{"type":"url_citation","start_index":5,"end_index":5,"url":"https://x","title":""}"#;
        let said =
            format!(r#"{{"type":"output_text","text":"Hi \"é","annotations":[{source}],"logprobs":[]}}"#);
        let call = |at: u32, id: u32, arguments: &str, status: &str| {
            format!(
                r#""output_index":{at},"item":{{"type":"function_call","id":"fc_1_{at}","call_id":"call_{id}","name":"f","arguments":"{arguments}","status":"{status}"}}}}"#
            )
        };
        let expected = [
            format!("created {IN_PROGRESS}"),
            format!("in_progress {IN_PROGRESS}"),
            r#"output_item.added "output_index":0,"item":{"type":"reasoning","id":"rs_1_0","summary":[]}}"#.to_owned(),
            format!(r#"reasoning_summary_part.added {thought},"part":{{"type":"summary_text","text":""}}}}"#),
            format!(r#"reasoning_summary_text.delta {thought},"delta":"H"}}"#),
            format!(r#"reasoning_summary_text.delta {thought},"delta":"m"}}"#),
            format!(r#"reasoning_summary_text.done {thought},"text":"Hm"}}"#),
            format!(r#"reasoning_summary_part.done {thought},"part":{{"type":"summary_text","text":"Hm"}}}}"#),
            r#"output_item.done "output_index":0,"item":{"type":"reasoning","id":"rs_1_0","summary":[{"type":"summary_text","text":"Hm"}],"encrypted_content":"hypergate:signature:s1"}}"#.to_owned(),
            r#"output_item.added "output_index":1,"item":{"type":"reasoning","id":"rs_1_1","summary":[]}}"#.to_owned(),
            r#"output_item.done "output_index":1,"item":{"type":"reasoning","id":"rs_1_1","summary":[],"encrypted_content":"hypergate:redacted:d1"}}"#.to_owned(),
            r#"output_item.added "output_index":2,"item":{"type":"message","id":"msg_1_2","status":"in_progress","role":"assistant","content":[]}}"#.to_owned(),
            format!(r#"content_part.added {text},"part":{{"type":"output_text","text":"","annotations":[],"logprobs":[]}}}}"#),
            format!(r#"output_text.delta {text},"delta":"Hi \"","logprobs":[]}}"#),
            format!(r#"output_text.delta {text},"delta":"é","logprobs":[]}}"#),
            format!(r#"output_text.annotation.added {text},"annotation_index":0,"annotation":{source}}}"#),
            format!(r#"output_text.done {text},"text":"Hi \"é","logprobs":[]}}"#),
            format!(r#"content_part.done {text},"part":{said}}}"#),
            format!(r#"content_part.added {refusal},"part":{{"type":"refusal","refusal":""}}}}"#),
            format!(r#"refusal.delta {refusal},"delta":"No."}}"#),
            format!(r#"refusal.done {refusal},"refusal":"No."}}"#),
            format!(r#"content_part.done {refusal},"part":{{"type":"refusal","refusal":"No."}}}}"#),
            format!(
                r#"output_item.done "output_index":2,"item":{{"type":"message","id":"msg_1_2","status":"completed","role":"assistant","content":[{said},{{"type":"refusal","refusal":"No."}}]}}}}"#
            ),
            r#"output_item.added "output_index":3,"item":{"type":"reasoning","id":"rs_1_3","summary":[]}}"#.to_owned(),
            r#"output_item.done "output_index":3,"item":{"type":"reasoning","id":"rs_1_3","summary":[],"encrypted_content":"hypergate:call:g1"}}"#.to_owned(),
            format!("output_item.added {}", call(4, 0, "", "in_progress")),
            format!("output_item.added {}", call(5, 1, "", "in_progress")),
            r#"function_call_arguments.delta "item_id":"fc_1_5","output_index":5,"delta":"{\"a\":"}"#.to_owned(),
            r#"function_call_arguments.delta "item_id":"fc_1_5","output_index":5,"delta":"1}"}"#.to_owned(),
            r#"function_call_arguments.delta "item_id":"fc_1_4","output_index":4,"delta":"{}"}"#.to_owned(),
            r#"function_call_arguments.done "item_id":"fc_1_4","output_index":4,"name":"f","arguments":"{}"}"#.to_owned(),
            format!("output_item.done {}", call(4, 0, "{}", "completed")),
            r#"function_call_arguments.done "item_id":"fc_1_5","output_index":5,"name":"f","arguments":"{\"a\":1}"}"#.to_owned(),
            format!("output_item.done {}", call(5, 1, r#"{\"a\":1}"#, "completed")),
            format!(r#"completed "response":{end}}}"#),
        ];
        assert_eq!(short(&streamed(&rich())), expected);
        // How the events come makes no difference.
        let mut stream = Stream::new(&HEAD);
        let mut out = Vec::new();
        for event in rich() {
            assert!(!stream.is_finished());
            stream.events(&[event], &mut out);
        }
        assert!(stream.is_finished());
        stream.done(&mut out);
        stream.done(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), streamed(&rich()));
    }

    #[test]
    fn an_answer_that_was_cut_is_incomplete() {
        let text = || Event::Text("Hi".to_owned());
        let call = || Event::ToolCall { index: 0, id: "c".to_owned(), name: "f".to_owned(), signature: None };
        let part = || Event::ToolArguments { index: 0, text: "{\"a".to_owned() };
        let finish = |reason| Event::Finish { reason, native: String::new() };
        let cases = [
            (vec![text(), finish(FinishReason::Length)], "max_output_tokens", vec!["incomplete"]),
            (
                vec![text(), call(), part(), finish(FinishReason::Length)],
                "max_output_tokens",
                vec!["completed", "incomplete"],
            ),
            (vec![finish(FinishReason::ContentFilter)], "content_filter", vec![]),
        ];
        for (events, reason, statuses) in cases {
            let stream = streamed(&events);
            let last = stream.rsplit_once("data: ").expect("an event").1;
            let last: Value = serde_json::from_str(last).expect("JSON");
            assert_eq!(last["type"], "response.incomplete");
            assert_eq!(last["response"]["status"], "incomplete");
            assert_eq!(last["response"]["incomplete_details"]["reason"], reason);
            let items = last["response"]["output"].as_array().expect("a list");
            assert_eq!(items.iter().map(|item| &item["status"]).collect::<Vec<_>>(), statuses);
        }
    }

    #[test]
    fn a_failure_is_said_twice_and_last() {
        let mut stream = Stream::new(&HEAD);
        let mut out = Vec::new();
        let busy = UpstreamError::new(ErrorClass::Overloaded, "Busy.");
        stream.fail(&ErrorBody::upstream(&busy, Some("req_1")), &mut out);
        stream.events(&[Event::Text("late".to_owned())], &mut out);
        stream.done(&mut out);
        let message = "Busy. Wait a moment and send the request again, or choose another model.";
        let error = format!(
            r#"error "code":"upstream_overloaded","message":"{message}","param":null,"error":{{"type":"api_error","code":"upstream_overloaded","message":"{message}","param":null,"request_id":"req_1"}}}}"#
        );
        let failed = IN_PROGRESS.replace("in_progress", "failed").replace(
            r#""error":null"#,
            &format!(r#""error":{{"code":"server_error","message":"{message}"}}"#),
        );
        let out = String::from_utf8(out).expect("UTF-8");
        assert_eq!(short(&out), [error, format!("failed {failed}")]);
    }

    #[test]
    fn a_start_alone_sends_nothing() {
        let mut out = Vec::new();
        let nothing = [Event::Start { id: None, model: None }, Event::Text(String::new())];
        Stream::new(&HEAD).events(&nothing, &mut out);
        assert_eq!(out, b"");
    }

    #[test]
    fn thought_without_a_signature_is_marked_as_no_providers_own() {
        let events = [
            Event::Reasoning("Hm".to_owned()),
            Event::Finish { reason: FinishReason::Stop, native: String::new() },
        ];
        let whole = String::from_utf8(whole(&HEAD, &events).expect("whole")).expect("UTF-8");
        assert!(whole.contains(r#""encrypted_content":"hypergate:plain:""#), "{whole}");
    }
}
