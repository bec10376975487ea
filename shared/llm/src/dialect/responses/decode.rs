//! A Responses answer, whole or streamed, as unified events.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::SIGNATURE_PREFIX;
use crate::{
    ErrorClass, UpstreamError, Usage,
    chat::{Citation, Event, FinishReason},
    dialect::{OnEvent, Unsaid, chat_completions, count},
    sse,
    usage::ServiceTier,
};

/// A whole answer is read as a stream in which every item comes at once.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, UpstreamError> {
    let (events, is_whole) = read(body)?;
    if is_whole { Ok(events) } else { Err(UpstreamError::truncated()) }
}

/// The events of an answer, and whether it is whole. One that is made in the background is not yet.
pub(super) fn read(body: &[u8]) -> Result<(Vec<Event>, bool), UpstreamError> {
    let answer: Response<'_> = serde_json::from_slice(body).map_err(|_| {
        UpstreamError::garbled(if body.trim_ascii().is_empty() {
            "it was empty"
        } else {
            "it is not a response"
        })
    })?;
    let Some(output) = &answer.output else {
        return Err(match answer.error {
            Some(error) => failure(error),
            None => UpstreamError::garbled("it has no `output`"),
        });
    };
    let mut reader = Reader::default();
    let mut events = Vec::with_capacity(output.len() + 3);
    reader.start(&answer, &mut events);
    for (at, item) in (0..).zip(output) {
        reader.item_done(at, item, &mut events)?;
    }
    reader.end(answer, &mut events)?;
    Ok((events, reader.whole))
}

/// Reads one streamed answer.
#[derive(Default)]
pub(super) struct Reader {
    begun: bool,
    /// In the order of `at`.
    items: Vec<Item>,
    /// How many tool calls there were.
    calls: u32,
    /// Searches that the provider made.
    searches: u64,
    file_searches: u64,
    unsaid: Unsaid,
    whole: bool,
}

/// What is known of an item.
struct Item {
    /// Its index among the items.
    at: u32,
    /// Whether some of what it says has come.
    said: bool,
    /// Its index among the calls, where it is one.
    call: Option<u32>,
}

impl OnEvent for Reader {
    fn event(&mut self, event: sse::Event<'_>, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        // What something on the way appends after the end is not ours to judge.
        if self.whole || event.data.trim_ascii() == b"[DONE]" {
            return Ok(());
        }
        let step: Step<'_> = parse(&event.data)?;
        match &*step.kind {
            "response.output_text.delta" => self.said(&step, Event::Text, events)?,
            "response.refusal.delta" => self.said(&step, Event::Refusal, events)?,
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.said(&step, Event::Reasoning, events)?;
            }
            // Another paragraph of what was thought.
            "response.reasoning_summary_part.added" if step.summary_index > 0 => {
                events.push(Event::Reasoning("\n\n".to_owned()));
            }
            "response.function_call_arguments.delta" => {
                self.arguments(step.output_index, step.text()?, events)?;
            }
            "response.output_text.annotation.added" => {
                let annotation = step.annotation.and_then(|raw| serde_json::from_str(raw.get()).ok());
                events.extend(annotation.and_then(citation).map(Event::Citation));
            }
            "response.output_item.added" => {
                if let Some(item) = step.item {
                    self.item_added(step.output_index, item, events)?;
                }
            }
            "response.output_item.done" => {
                if let Some(item) = step.item {
                    self.item_done(step.output_index, item, events)?;
                }
            }
            "response.completed" | "response.created" | "response.failed" | "response.incomplete" => {
                let raw = step.response.ok_or_else(odd)?;
                let response: Response<'_> = parse(raw.get().as_bytes())?;
                self.start(&response, events);
                if &*step.kind != "response.created" {
                    self.end(response, events)?;
                }
            }
            "error" => {
                let flat =
                    std::str::from_utf8(&event.data).ok().and_then(|data| serde_json::from_str(data).ok());
                return Err(step.error.or(flat).map_or_else(odd, failure));
            }
            // Tools that run at the provider, and what the API adds one day.
            _ => {}
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.whole
    }
}

impl Reader {
    fn start(&mut self, response: &Response<'_>, events: &mut Vec<Event>) {
        if self.begun {
            return;
        }
        self.begun = true;
        let owned = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.0.clone().into_owned());
        events.push(Event::Start { id: owned(&response.id), model: owned(&response.model) });
    }

    fn item(&mut self, at: u32) -> Result<&mut Item, UpstreamError> {
        let index = match self.items.binary_search_by_key(&at, |item| item.at) {
            Ok(index) => index,
            Err(_) if self.items.len() == MAX_ITEMS => {
                return Err(UpstreamError::garbled("it has more items than a model makes"));
            }
            Err(index) => {
                self.items.insert(index, Item { at, said: false, call: None });
                index
            }
        };
        Ok(&mut self.items[index])
    }

    fn said(
        &mut self,
        step: &Step<'_>,
        event: fn(String) -> Event,
        events: &mut Vec<Event>,
    ) -> Result<(), UpstreamError> {
        let text = step.text()?;
        if !text.is_empty() {
            self.item(step.output_index)?.said = true;
            events.push(event(text.into_owned()));
        }
        push_logprobs(events, step.logprobs);
        Ok(())
    }

    fn arguments(
        &mut self,
        at: u32,
        text: Cow<'_, str>,
        events: &mut Vec<Event>,
    ) -> Result<(), UpstreamError> {
        let item = self.item(at)?;
        if let Some(index) = item.call.filter(|_| !text.is_empty()) {
            item.said = true;
            events.push(Event::ToolArguments { index, text: text.into_owned() });
        }
        Ok(())
    }

    fn item_added(&mut self, at: u32, raw: &RawValue, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let raw = raw.get().as_bytes();
        if parse::<Typed<'_>>(raw)?.kind == "function_call" {
            self.call(at, &parse(raw)?, events)?;
        }
        Ok(())
    }

    fn call(
        &mut self,
        at: u32,
        call: &FunctionCall<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), UpstreamError> {
        let index = self.calls;
        let item = self.item(at)?;
        if item.call.is_none() {
            item.call = Some(index);
            self.calls += 1;
            let (id, name) = (call.call_id.clone().into_owned(), call.name.clone().into_owned());
            events.push(Event::ToolCall { index, id, name, signature: None });
        }
        Ok(())
    }

    /// An item is whole. What of it has not come in pieces comes now.
    fn item_done(&mut self, at: u32, raw: &RawValue, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let raw = raw.get().as_bytes();
        let said = self.item(at)?.said;
        match &*parse::<Typed<'_>>(raw)?.kind {
            "function_call" => {
                let call: FunctionCall<'_> = parse(raw)?;
                self.call(at, &call, events)?;
                if !said {
                    self.arguments(at, call.arguments.unwrap_or_default().0, events)?;
                }
            }
            "message" if !said => {
                for part in parse::<Message<'_>>(raw)?.content.unwrap_or_default() {
                    part.tell(events);
                }
            }
            "reasoning" => {
                let thought: Thought<'_> = parse(raw)?;
                if !said {
                    let summary = thought.summary.filter(|summary| !summary.is_empty());
                    let texts = summary.or(thought.content).unwrap_or_default();
                    let texts: Vec<&str> = texts.iter().map(|part| &*part.text).collect();
                    push_text(events, texts.join("\n\n").into(), Event::Reasoning);
                }
                if let Some(content) = thought.encrypted_content.filter(|content| !content.0.is_empty()) {
                    let id = thought.id.unwrap_or_default();
                    let signature = format!("{SIGNATURE_PREFIX}{}:{}", id.0, content.0);
                    events.push(Event::ReasoningSignature(signature));
                }
            }
            "file_search_call" => self.file_searches += 1,
            "web_search_call" => self.searches += 1,
            "message" => {}
            // Other tools that run at the provider, and what the API adds one day.
            kind => self.unsaid.tell("output", kind, events),
        }
        Ok(())
    }

    fn end(&mut self, response: Response<'_>, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let status = response.status.unwrap_or(Text(Cow::Borrowed("completed"))).0;
        match &*status {
            "failed" | "cancelled" => {
                let unsaid =
                    || UpstreamError::new(ErrorClass::Server, format!("the provider's answer is {status}"));
                return Err(response.error.map_or_else(unsaid, failure));
            }
            "in_progress" | "queued" => return Ok(()),
            _ => {}
        }
        let usage = response.usage.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        let tier = response.service_tier.map(|tier| ServiceTier::named(&tier.0)).unwrap_or_default();
        let (searches, file_searches) = (self.searches, self.file_searches);
        events.extend(
            usage.map(|usage| Event::Usage(Usage { tier, searches, file_searches, ..canonical(&usage) })),
        );
        let incomplete =
            response.incomplete_details.and_then(|details| details.reason).map(|reason| reason.0);
        let (reason, native) = match (&*status, incomplete) {
            ("incomplete", Some(native)) if native == "content_filter" => {
                (FinishReason::ContentFilter, native)
            }
            // Whatever the limit was, there would have been more.
            ("incomplete", native) => (FinishReason::Length, native.unwrap_or(status)),
            _ => (FinishReason::Stop.after_calls(self.calls > 0), status),
        };
        events.push(Event::Finish { reason, native: native.into_owned() });
        self.whole = true;
        Ok(())
    }
}

fn canonical(usage: &Value) -> Usage {
    let count = |path: &str| count(usage, path).unwrap_or(0);
    Usage {
        input_tokens: count("/input_tokens"),
        cache_read_input_tokens: count("/input_tokens_details/cached_tokens"),
        cache_write_5m_input_tokens: count("/input_tokens_details/cache_write_tokens"),
        output_tokens: count("/output_tokens"),
        reasoning_output_tokens: count("/output_tokens_details/reasoning_tokens"),
        ..Usage::default()
    }
}

/// An error object that came with a 2xx.
fn failure(raw: &RawValue) -> UpstreamError {
    let body = format!(r#"{{"error":{}}}"#, raw.get());
    // 502 stands for "the provider failed" where the body says nothing better.
    let mut error = chat_completions::error::upstream(502, &HeaderMap::new(), body.as_bytes());
    error.status = None;
    if error.class == ErrorClass::Server {
        error.class = match error.code.as_deref().unwrap_or_default() {
            "bio_policy"
            | "image_content_policy_violation"
            | "invalid_prompt"
            | "misalignment_policy_violation" => ErrorClass::Content,
            code if code.contains("image") => ErrorClass::Invalid,
            _ => ErrorClass::Server,
        };
    }
    error
}

fn citation(annotation: Annotation<'_>) -> Option<Citation> {
    let owned = |text: Option<Text<'_>>| text.map(|text| text.0.into_owned());
    (annotation.kind == "url_citation").then(|| Citation {
        url: owned(annotation.url),
        title: owned(annotation.title),
        quote: None,
        span: annotation.start_index.zip(annotation.end_index),
    })
}

fn push_logprobs(events: &mut Vec<Event>, raw: Option<&RawValue>) {
    let tokens: Vec<Value> = raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    if !tokens.is_empty() {
        events.push(Event::Logprobs(tokens));
    }
}

fn push_text(events: &mut Vec<Event>, text: Cow<'_, str>, event: fn(String) -> Event) {
    if !text.is_empty() {
        events.push(event(text.into_owned()));
    }
}

fn parse<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Result<T, UpstreamError> {
    serde_json::from_slice(data).map_err(|_| odd())
}

fn odd() -> UpstreamError {
    UpstreamError::garbled("an event in it is not what its name says")
}

/// Far more than any answer holds: what is known of each is kept.
const MAX_ITEMS: usize = 10_000;

// --- wire ---

/// A string that may be null. Unlike `Option<Cow<str>>` it is borrowed.
#[derive(Default, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An event of a stream.
#[derive(Deserialize)]
struct Step<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    output_index: u32,
    #[serde(default)]
    summary_index: u32,
    /// Text in all events that are read.
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    annotation: Option<&'a RawValue>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl<'a> Step<'a> {
    fn text(&self) -> Result<Cow<'a, str>, UpstreamError> {
        let Some(raw) = self.delta else { return Ok(Cow::Borrowed("")) };
        parse::<Text<'a>>(raw.get().as_bytes()).map(|text| text.0)
    }
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
    #[serde(borrow)]
    output: Option<Vec<&'a RawValue>>,
    /// An odd number must not make a good answer a bad one.
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<Text<'a>>,
    #[serde(borrow)]
    incomplete_details: Option<IncompleteDetails<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct IncompleteDetails<'a> {
    #[serde(borrow)]
    reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct FunctionCall<'a> {
    #[serde(borrow)]
    call_id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Vec<Content<'a>>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    annotations: Option<Vec<Annotation<'a>>>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
}

impl Content<'_> {
    fn tell(self, events: &mut Vec<Event>) {
        push_text(events, self.text.unwrap_or_default().0, Event::Text);
        push_logprobs(events, self.logprobs);
        push_text(events, self.refusal.unwrap_or_default().0, Event::Refusal);
        let annotations = self.annotations.unwrap_or_default();
        events.extend(annotations.into_iter().filter_map(citation).map(Event::Citation));
    }
}

#[derive(Deserialize)]
struct Annotation<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    url: Option<Text<'a>>,
    #[serde(borrow)]
    title: Option<Text<'a>>,
    start_index: Option<u64>,
    end_index: Option<u64>,
}

#[derive(Deserialize)]
struct Thought<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    summary: Option<Vec<ThoughtText<'a>>>,
    #[serde(borrow)]
    content: Option<Vec<ThoughtText<'a>>>,
    #[serde(borrow)]
    encrypted_content: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct ThoughtText<'a> {
    #[serde(borrow, default)]
    text: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dialect::{SseDecoder, responses::answer::Stream},
        front::{Head, Writer as _},
    };

    fn read_all(pieces: &[&[u8]]) -> Vec<Event> {
        crate::dialect::decoded(&mut SseDecoder::new(Reader::default()), pieces)
    }

    fn sse(events: &[&str]) -> String {
        events.iter().map(|event| format!("event: x\ndata: {event}\n\n")).collect()
    }

    const OUTPUT: &str = r#"[
        {"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"Hm"},{"type":"summary_text","text":"ok"}],"content":null,"encrypted_content":"gAAA"},
        {"id":"ws_1","type":"web_search_call","status":"completed","action":{}},
        {"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello é","annotations":[{"type":"url_citation","url":"https://x","title":"X","start_index":0,"end_index":5}]},{"type":"refusal","refusal":"No."}]},
        {"id":"fc_1","type":"function_call","call_id":"call_1","name":"f","arguments":"{\"a\":1}","status":"completed"},
        {"id":"fc_2","type":"function_call","call_id":"call_2","name":"g","arguments":"{}","status":"completed"}]"#;
    const USAGE: &str = r#"{"input_tokens":5,"input_tokens_details":{"cached_tokens":2,"cache_write_tokens":1},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":14}"#;

    fn last(output: &str) -> String {
        format!(
            r#"{{"id":"resp_1","object":"response","model":"gpt-5-1","status":"completed","error":null,"incomplete_details":null,"output":{output},"usage":{USAGE}}}"#
        )
        .replace('\n', " ")
    }

    fn expected() -> Vec<Event> {
        let call = |index: u32, name: &str| Event::ToolCall {
            index,
            id: format!("call_{}", index + 1),
            name: name.to_owned(),
            signature: None,
        };
        vec![
            Event::Start { id: Some("resp_1".to_owned()), model: Some("gpt-5-1".to_owned()) },
            Event::Reasoning("Hm\n\nok".to_owned()),
            Event::ReasoningSignature("openai:rs_1:gAAA".to_owned()),
            Event::Text("Hello é".to_owned()),
            Event::Citation(Citation {
                span: Some((0, 5)),
                url: Some("https://x".to_owned()),
                title: Some("X".to_owned()),
                quote: None,
            }),
            Event::Refusal("No.".to_owned()),
            call(0, "f"),
            Event::ToolArguments { index: 0, text: "{\"a\":1}".to_owned() },
            call(1, "g"),
            Event::ToolArguments { index: 1, text: "{}".to_owned() },
            Event::Usage(Usage {
                input_tokens: 5,
                cache_read_input_tokens: 2,
                cache_write_5m_input_tokens: 1,
                output_tokens: 9,
                reasoning_output_tokens: 4,
                searches: 1,
                ..Usage::default()
            }),
            Event::Finish { reason: FinishReason::ToolCalls, native: "completed".to_owned() },
        ]
    }

    /// Pieces of one thing in a row, as one.
    fn merged(events: Vec<Event>) -> Vec<Event> {
        let mut merged: Vec<Event> = Vec::new();
        for event in events {
            match (merged.last_mut(), &event) {
                (Some(Event::Text(before)), Event::Text(text))
                | (Some(Event::Refusal(before)), Event::Refusal(text))
                | (Some(Event::Reasoning(before)), Event::Reasoning(text)) => before.push_str(text),
                (
                    Some(Event::ToolArguments { index: same, text: before }),
                    Event::ToolArguments { index, text },
                ) if same == index => before.push_str(text),
                _ => merged.push(event),
            }
        }
        merged
    }

    fn stream() -> String {
        let end =
            format!(r#"{{"type":"response.completed","sequence_number":30,"response":{}}}"#, last("[]"));
        sse(&[
            r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","model":"gpt-5-1","status":"in_progress","output":[]}}"#,
            r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}}"#,
            r#"{"type":"response.reasoning_summary_part.added","item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}"#,
            r#"{"type":"response.reasoning_summary_text.delta","item_id":"rs_1","output_index":0,"summary_index":0,"delta":"Hm"}"#,
            r#"{"type":"response.reasoning_summary_part.added","item_id":"rs_1","output_index":0,"summary_index":1,"part":{"type":"summary_text","text":""}}"#,
            r#"{"type":"response.reasoning_summary_text.delta","item_id":"rs_1","output_index":0,"summary_index":1,"delta":"ok"}"#,
            r#"{"type":"response.output_item.done","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"Hm"}],"encrypted_content":"gAAA"}}"#,
            r#"{"type":"response.output_item.added","output_index":1,"item":{"id":"ws_1","type":"web_search_call"}}"#,
            r#"{"type":"response.output_item.done","output_index":1,"item":{"id":"ws_1","type":"web_search_call","status":"completed"}}"#,
            r#"{"type":"response.web_search_call.searching","output_index":1,"delta":{"new":1}}"#,
            r#"{"type":"response.output_item.added","output_index":2,"item":{"id":"msg_1","type":"message","content":[]}}"#,
            r#"{"type":"response.output_text.delta","item_id":"msg_1","output_index":2,"content_index":0,"delta":"Hello ","logprobs":[],"obfuscation":"x"}"#,
            r#"{"type":"response.output_text.delta","item_id":"msg_1","output_index":2,"content_index":0,"delta":"é"}"#,
            r#"{"type":"response.output_text.annotation.added","output_index":2,"annotation":{"type":"url_citation","url":"https://x","title":"X","start_index":0,"end_index":5}}"#,
            r#"{"type":"response.output_text.done","output_index":2,"text":"Hello é"}"#,
            r#"{"type":"response.refusal.delta","output_index":2,"content_index":1,"delta":"No."}"#,
            r#"{"type":"response.output_item.done","output_index":2,"item":{"id":"msg_1","type":"message","content":[{"type":"output_text","text":"Hello é"}]}}"#,
            r#"{"type":"response.output_item.added","output_index":3,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":""}}"#,
            r#"{"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":3,"delta":"{\"a\""}"#,
            r#"{"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":3,"delta":":1}"}"#,
            r#"{"type":"response.output_item.done","output_index":3,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":"{\"a\":1}"}}"#,
            // A server that does not stream calls.
            r#"{"type":"response.output_item.done","output_index":4,"item":{"type":"function_call","id":"fc_2","call_id":"call_2","name":"g","arguments":"{}"}}"#,
            &end,
        ])
    }

    #[test]
    fn a_whole_answer_gives_the_events_of_its_stream() {
        assert_eq!(decode(last(OUTPUT).as_bytes()), Ok(expected()));
        assert_eq!(merged(read_all(&[stream().as_bytes()])), expected());
    }

    #[test]
    fn every_cut_gives_the_same_events_and_a_missing_end_is_an_error() {
        let stream = stream();
        let bytes = stream.as_bytes();
        let all = read_all(&[bytes]);
        // Without the blank line at its end the last event is whole all the same.
        let end = bytes.len() - 2;
        for cut in 0..=bytes.len() {
            assert_eq!(read_all(&[&bytes[..cut], &bytes[cut..]]), all, "cut at {cut}");
            if cut < end {
                let part = read_all(&[&bytes[..cut]]);
                assert!(matches!(part.last(), Some(Event::Error(_))), "ended at {cut}: {part:?}");
                assert!(!part.iter().any(|event| matches!(event, Event::Finish { .. })), "ended at {cut}");
            }
        }
        assert_eq!(read_all(&bytes.chunks(1).collect::<Vec<_>>()), all);
    }

    #[test]
    fn the_end_and_its_reason_are_told() {
        let end = |status: &str, details: &str| {
            sse(&[&format!(
                r#"{{"type":"response.{status}","response":{{"status":"{status}","incomplete_details":{details},"output":[]}}}}"#
            )])
        };
        for (stream, reason, word) in [
            (end("completed", "null"), FinishReason::Stop, "completed"),
            (
                end("incomplete", r#"{"reason":"max_output_tokens"}"#),
                FinishReason::Length,
                "max_output_tokens",
            ),
            (
                end("incomplete", r#"{"reason":"content_filter"}"#),
                FinishReason::ContentFilter,
                "content_filter",
            ),
            (end("incomplete", "null"), FinishReason::Length, "incomplete"),
        ] {
            let finish = Event::Finish { reason, native: word.to_owned() };
            assert_eq!(read_all(&[stream.as_bytes(), b"data: [DONE]\n\n"])[1..], [finish], "{stream}");
        }
    }

    #[test]
    fn failures_in_a_stream_are_told_apart() {
        for (event, class, message) in [
            (
                r#"{"type":"error","sequence_number":1,"error":{"type":"x","code":"rate_limit_exceeded","message":"Slow."}}"#,
                ErrorClass::Rate,
                "Slow.",
            ),
            (
                r#"{"type":"error","code":"server_error","message":"Ouch.","param":null}"#,
                ErrorClass::Server,
                "Ouch.",
            ),
            (
                r#"{"type":"response.failed","response":{"status":"failed","output":[],"error":{"code":"invalid_prompt","message":"No."}}}"#,
                ErrorClass::Content,
                "No.",
            ),
            (
                r#"{"type":"response.failed","response":{"status":"failed","output":[],"error":{"code":"invalid_image_url","message":"Bad."}}}"#,
                ErrorClass::Invalid,
                "Bad.",
            ),
            (
                r#"{"type":"response.failed","response":{"status":"failed","error":null}}"#,
                ErrorClass::Server,
                "the provider's answer is failed",
            ),
            (
                r#"{"type":"response.output_text.delta","delta":7}"#,
                ErrorClass::Garbled,
                "the provider's answer could not be read: an event in it is not what its name says",
            ),
            (
                "nonsense",
                ErrorClass::Garbled,
                "the provider's answer could not be read: an event in it is not what its name says",
            ),
        ] {
            let events =
                read_all(&[sse(&[event, r#"{"type":"response.completed","response":{}}"#]).as_bytes()]);
            let Some(Event::Error(error)) = events.last() else { panic!("{event}: {events:?}") };
            assert_eq!((error.class, &*error.message), (class, message), "{event}");
        }
    }

    #[test]
    fn what_is_written_here_is_read_again() {
        let head = Head { id: "resp_1", created: 0, model: "gpt-5-1" };
        let events = [
            Event::Text("Hello".to_owned()),
            Event::ToolCall { index: 0, id: "c1".to_owned(), name: "f".to_owned(), signature: None },
            Event::ToolCall { index: 1, id: "c2".to_owned(), name: "g".to_owned(), signature: None },
            Event::ToolArguments { index: 1, text: "{\"b\":".to_owned() },
            Event::ToolArguments { index: 0, text: "{}".to_owned() },
            Event::ToolArguments { index: 1, text: "1}".to_owned() },
            Event::Finish { reason: FinishReason::ToolCalls, native: "completed".to_owned() },
        ];
        let mut writer = Stream::new(&head);
        let mut out = Vec::new();
        writer.events(&events, &mut out);
        writer.done(&mut out);
        assert_eq!(read_all(&[&out])[1..], events);
    }
}
