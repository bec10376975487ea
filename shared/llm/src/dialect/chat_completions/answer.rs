//! Unified events, as the Chat Completions answer a caller expects: whole, or as a stream.
//!
//! What OpenAI has no field for goes where other compatible APIs put it, so that a client which sends
//! the assistant's message back loses nothing: thought as `reasoning_content`, signed or encrypted
//! blocks of it in `reasoning_details`, Gemini's signature of a tool call as `extra_content` on the
//! call, the provider's own word for the end as `native_finish_reason`, the stop text that matched as
//! `stop_reason`.

use serde::Serialize;
use serde_json::Value;

use super::{error, usage};
use crate::{
    UpstreamError, Usage,
    chat::{Citation, Event, FinishReason},
    dialect::{add_name, some},
    front::{ErrorBody, Head, Writer},
};

/// A whole answer. The error is the one among the events, or that they have no end.
pub fn whole(head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
    let mut message = Message { role: "assistant", ..Message::default() };
    let mut thought = Thought::default();
    let mut end = None;
    let mut used = None;
    let (mut logprobs, mut stop) = (Vec::new(), None);
    for event in events {
        match event {
            Event::Citation(citation) => {
                let said = message.content.as_ref().map_or(0, |text| text.chars().count());
                message.annotations.push(Annotation::new(citation, said as u64));
            }
            Event::Error(error) => return Err(error.clone()),
            Event::Finish { reason, native } => end = Some((*reason, native.as_str())),
            Event::Logprobs(tokens) => logprobs.extend(tokens),
            Event::Reasoning(text) => {
                message.reasoning_content.get_or_insert_default().push_str(text);
                thought.text.push_str(text);
            }
            Event::ReasoningRedacted(data) => message.reasoning_details.extend(thought.redact(data)),
            Event::ReasoningSignature(signature) => message.reasoning_details.push(thought.sign(signature)),
            Event::Refusal(text) => message.refusal.get_or_insert_default().push_str(text),
            Event::Start { .. } | Event::Unsaid { .. } => {}
            Event::StopText(text) => stop = Some(text.as_str()),
            Event::Text(text) => message.content.get_or_insert_default().push_str(text),
            Event::ToolArguments { index, text } => {
                if let Some(call) = message.tool_calls.get_mut(*index as usize) {
                    call.function.arguments.push_str(text);
                }
            }
            Event::ToolCall { id, name, signature, .. } => {
                message.tool_calls.push(Call {
                    index: None,
                    id,
                    kind: "function",
                    function: Function { name, arguments: String::new() },
                    extra_content: signature.as_deref().map(ExtraContent::signature),
                });
            }
            Event::Usage(tokens) => used = Some(tokens),
        }
    }
    let Some((reason, native)) = end else { return Err(UpstreamError::truncated()) };

    let has_details = !message.reasoning_details.is_empty();
    message.reasoning_details.extend(thought.rest().filter(|_| has_details));
    for call in &mut message.tool_calls {
        if call.function.arguments.trim_ascii().is_empty() {
            call.function.arguments = "{}".to_owned();
        }
    }
    // Null says that there is no text by intent; an answer cut short has an empty one.
    if message.content.is_none() && message.tool_calls.is_empty() && message.refusal.is_none() {
        message.content = Some(String::new());
    }
    let answer = Answer {
        id: head.id,
        object: "chat.completion",
        created: head.created,
        model: head.model,
        choices: [Choice {
            index: 0,
            finish_reason: reason.after_calls(!message.tool_calls.is_empty()).as_str(),
            native_finish_reason: native,
            stop_reason: stop,
            message,
            logprobs: (!logprobs.is_empty()).then_some(Logprobs { content: logprobs, refusal: () }),
        }],
        service_tier: used.and_then(|used| used.tier.told()),
        usage: used.map(usage::write),
    };
    Ok(serde_json::to_vec(&answer).expect("strings and numbers into memory cannot fail"))
}

/// Writes one streamed answer as server-sent events.
#[derive(Debug)]
pub struct Stream {
    /// All that chunks have in common, up to `choices`.
    open: Vec<u8>,
    include_usage: bool,
    state: State,
    /// For each tool call, whether it has arguments.
    calls: Vec<bool>,
    thought: Thought,
    /// How many entries `reasoning_details` has.
    details: usize,
    /// How many characters of text were sent.
    said: u64,
    stop: Option<String>,
    /// What of the provider's answer is not in this one.
    lost: String,
    usage: Option<Usage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Fresh,
    Begun,
    Finished,
    Over,
}

impl Stream {
    /// A fresh stream. With `include_usage` it ends with a chunk of usage.
    pub fn new(head: &Head<'_>, include_usage: bool) -> Self {
        #[derive(Serialize)]
        struct Open<'a> {
            id: &'a str,
            object: &'a str,
            created: i64,
            model: &'a str,
        }
        let open =
            Open { id: head.id, object: "chat.completion.chunk", created: head.created, model: head.model };
        let mut bytes = b"data: ".to_vec();
        serde_json::to_writer(&mut bytes, &open).expect("strings and numbers into memory cannot fail");
        bytes.pop();
        bytes.push(b',');
        Self {
            open: bytes,
            include_usage,
            state: State::Fresh,
            calls: Vec::new(),
            thought: Thought::default(),
            details: 0,
            said: 0,
            stop: None,
            lost: String::new(),
            usage: None,
        }
    }

    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Citation(citation) => {
                let annotation = Annotation::new(citation, self.said);
                self.delta(out, |out| member(out, "\"annotations\":", [annotation]));
            }
            Event::Error(error) => self.fail(&ErrorBody::upstream(error, None), out),
            Event::Finish { reason, native } => self.finish(*reason, native, out),
            Event::Logprobs(tokens) => {
                self.chunk(out, tokens, |out| out.extend_from_slice(b"\"content\":\"\""))
            }
            Event::Reasoning(text) if text.is_empty() => {}
            Event::Reasoning(text) => {
                self.thought.text.push_str(text);
                self.delta(out, |out| member(out, "\"reasoning_content\":", text));
            }
            Event::ReasoningRedacted(data) => {
                for detail in self.thought.redact(data) {
                    self.detail(&detail, out);
                }
            }
            Event::ReasoningSignature(signature) => {
                let detail = self.thought.sign(signature);
                self.detail(&detail, out);
            }
            Event::Refusal(text) => self.delta(out, |out| member(out, "\"refusal\":", text)),
            Event::Start { .. } => {}
            Event::StopText(text) => self.stop = Some(text.clone()),
            Event::Text(text) if text.is_empty() => {}
            Event::Text(text) => {
                self.said += text.chars().count() as u64;
                self.delta(out, |out| member(out, "\"content\":", text));
            }
            Event::ToolArguments { text, .. } if text.is_empty() => {}
            Event::ToolArguments { index, text } => self.arguments(*index, text, out),
            Event::ToolCall { index, id, name, signature } => {
                self.calls.push(false);
                let call = Call {
                    index: Some(*index),
                    id,
                    kind: "function",
                    function: Function { name, arguments: String::new() },
                    extra_content: signature.as_deref().map(ExtraContent::signature),
                };
                self.delta(out, |out| member(out, "\"tool_calls\":", [call]));
            }
            Event::Unsaid { name, .. } => add_name(&mut self.lost, name),
            Event::Usage(usage) => self.usage = Some(*usage),
        }
    }

    fn arguments(&mut self, index: u32, text: &str, out: &mut Vec<u8>) {
        if let Some(has_arguments) = self.calls.get_mut(index as usize) {
            *has_arguments |= !text.trim_ascii().is_empty();
        }
        self.delta(out, |out| {
            out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
            json(out, index);
            out.extend_from_slice(b",\"function\":{\"arguments\":");
            json(out, text);
            out.extend_from_slice(b"}}]");
        });
    }

    /// A block of `reasoning_details`, always whole. Its index is its own, so that clients which merge
    /// deltas by index and those which just append end up with the same list.
    fn detail(&mut self, detail: &Detail, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Indexed<'a> {
            index: usize,
            #[serde(flatten)]
            detail: &'a Detail,
        }
        let indexed = Indexed { index: self.details, detail };
        self.delta(out, |out| member(out, "\"reasoning_details\":", [indexed]));
        self.details += 1;
    }

    fn finish(&mut self, reason: FinishReason, native: &str, out: &mut Vec<u8>) {
        if self.state == State::Finished {
            return;
        }
        if let Some(rest) = self.thought.rest().filter(|_| self.details > 0) {
            self.detail(&rest, out);
        }
        for index in 0..self.calls.len() {
            if !self.calls[index] {
                self.arguments(index as u32, "{}", out);
            }
        }
        self.begin(out);
        self.open(out);
        out.extend_from_slice(b"\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":");
        json(out, reason.after_calls(!self.calls.is_empty()).as_str());
        out.extend_from_slice(b",\"native_finish_reason\":");
        json(out, native);
        if let Some(stop) = &self.stop {
            out.extend_from_slice(b",\"stop_reason\":");
            json(out, stop);
        }
        if let Some(lost) = some(&self.lost) {
            out.extend_from_slice(b",\"hypergate_dropped\":");
            json(out, lost);
        }
        out.extend_from_slice(b"}]");
        self.close(out);
        self.state = State::Finished;
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Fresh {
            self.state = State::Begun;
            self.delta(out, |out| out.extend_from_slice(b"\"role\":\"assistant\",\"content\":\"\""));
        }
    }

    fn delta(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        self.chunk(out, &[], write);
    }

    fn chunk(&mut self, out: &mut Vec<u8>, logprobs: &[Value], write: impl FnOnce(&mut Vec<u8>)) {
        self.begin(out);
        self.open(out);
        out.extend_from_slice(b"\"choices\":[{\"index\":0,\"delta\":{");
        write(out);
        out.push(b'}');
        if !logprobs.is_empty() {
            out.extend_from_slice(b",\"logprobs\":{\"content\":");
            json(out, logprobs);
            out.extend_from_slice(b",\"refusal\":null}");
        }
        out.extend_from_slice(b",\"finish_reason\":null}]");
        self.close(out);
    }

    fn open(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.open);
    }

    fn close(&self, out: &mut Vec<u8>) {
        // OpenAI promises the field on every chunk of a stream that ends with it.
        let end: &[u8] = if self.include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" };
        out.extend_from_slice(end);
    }
}

impl Writer for Stream {
    /// The first chunk, with the role, waits for the first content: an answer that fails right after its
    /// start can still be asked for elsewhere.
    fn events(&mut self, events: &[Event], out: &mut Vec<u8>) {
        for event in events {
            if self.state == State::Over {
                return;
            }
            self.event(event, out);
        }
    }

    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        if self.state < State::Over {
            error::event(error, out);
            self.state = State::Over;
        }
    }

    /// Usage if it was asked for and is known, and the mark of the end.
    fn done(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Over {
            return;
        }
        self.state = State::Over;
        if let Some(usage) = self.usage.as_ref().filter(|_| self.include_usage) {
            self.open(out);
            out.extend_from_slice(b"\"choices\":[],");
            member(out, "\"usage\":", usage::write(usage));
            if let Some(tier) = usage.tier.told() {
                member(out, ",\"service_tier\":", tier);
            }
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn is_finished(&self) -> bool {
        self.state >= State::Finished
    }
}

/// `name`, quoted and with its colon, and the value.
fn member(out: &mut Vec<u8>, name: &str, value: impl Serialize) {
    out.extend_from_slice(name.as_bytes());
    json(out, value);
}

fn json(out: &mut Vec<u8>, value: impl Serialize) {
    serde_json::to_writer(out, &value).expect("strings and numbers into memory cannot fail");
}

/// The block of thought that is being written.
#[derive(Debug, Default)]
struct Thought {
    text: String,
}

impl Thought {
    /// A signature of OpenRouter's goes on as any other, so that it comes back the same.
    fn sign(&mut self, signature: &str) -> Detail {
        Detail::Text { text: std::mem::take(&mut self.text), signature: Some(signature.to_owned()) }
    }

    fn redact(&mut self, data: &str) -> impl Iterator<Item = Detail> + use<> {
        self.rest().into_iter().chain([Detail::Encrypted { data: data.to_owned() }])
    }

    /// A block that came without a signature. Alone it needs no detail, `reasoning_content` has it;
    /// beside other details it does, because a client that sends details back sends only them.
    fn rest(&mut self) -> Option<Detail> {
        let text = std::mem::take(&mut self.text);
        (!text.is_empty()).then_some(Detail::Text { text, signature: None })
    }
}

// --- wire ---

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    object: &'a str,
    created: i64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Message<'a>,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: &'a str,
    native_finish_reason: &'a str,
    /// The stop text that matched, where vLLM tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Logprobs<'a> {
    content: Vec<&'a Value>,
    refusal: (),
}

#[derive(Default, Serialize)]
struct Message<'a> {
    role: &'a str,
    content: Option<String>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<Detail>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Annotation<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "url_citation")]
struct Annotation<'a> {
    url_citation: UrlCitation<'a>,
}

#[derive(Serialize)]
struct UrlCitation<'a> {
    start_index: u64,
    end_index: u64,
    url: &'a str,
    title: &'a str,
    /// The cited words, as OpenRouter gives them.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

impl<'a> Annotation<'a> {
    /// `said` is how much text there is so far, which it is about where nothing else is known.
    fn new(citation: &'a Citation, said: u64) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        let (start_index, end_index) = citation.span.unwrap_or((said, said));
        Self {
            url_citation: UrlCitation {
                start_index,
                end_index,
                url: text(&citation.url),
                title: text(&citation.title),
                content: citation.quote.as_deref(),
            },
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Detail {
    #[serde(rename = "reasoning.encrypted")]
    Encrypted { data: String },
    #[serde(rename = "reasoning.text")]
    Text {
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
}

#[derive(Serialize)]
struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    function: Function<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<ExtraContent<'a>>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: String,
}

#[derive(Serialize)]
struct ExtraContent<'a> {
    google: Google<'a>,
}

#[derive(Serialize)]
struct Google<'a> {
    thought_signature: &'a str,
}

impl<'a> ExtraContent<'a> {
    fn signature(thought_signature: &'a str) -> Self {
        Self { google: Google { thought_signature } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorClass;

    const HEAD: Head<'_> = Head { id: "chatcmpl-1", created: 1_700_000_000, model: "fast" };

    fn streamed(events: &[Event], include_usage: bool) -> String {
        let mut stream = Stream::new(&HEAD, include_usage);
        let mut out = Vec::new();
        stream.events(events, &mut out);
        stream.done(&mut out);
        // What is the same in every chunk is left out here.
        let open = String::from_utf8(stream.open).expect("UTF-8");
        String::from_utf8(out).expect("UTF-8").replace(&open, "… ").replace("\"choices\":", "")
    }

    fn text(text: &str) -> Event {
        Event::Text(text.to_owned())
    }

    fn call(index: u32, name: &str) -> Event {
        Event::ToolCall { index, id: format!("call_{index}"), name: name.to_owned(), signature: None }
    }

    fn arguments(index: u32, text: &str) -> Event {
        Event::ToolArguments { index, text: text.to_owned() }
    }

    fn stop() -> Event {
        Event::Finish { reason: FinishReason::Stop, native: "STOP".to_owned() }
    }

    #[test]
    fn a_stream_is_role_content_finish_usage_done() {
        let usage =
            Usage { input_tokens: 3, output_tokens: 2, cache_write_5m_input_tokens: 1, ..Usage::default() };
        let events =
            [Event::Start { id: None, model: None }, text("Hi \"you\""), Event::Usage(usage), stop()];
        assert_eq!(
            streamed(&events, true),
            concat!(
                "… [{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n",
                "… [{\"index\":0,\"delta\":{\"content\":\"Hi \\\"you\\\"\"},\"finish_reason\":null}],\"usage\":null}\n\n",
                "… [{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\",\"native_finish_reason\":\"STOP\"}],\"usage\":null}\n\n",
                "… [],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5,",
                "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0,\"cache_write_tokens\":1},",
                "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}}}\n\n",
                "data: [DONE]\n\n",
            )
        );
    }

    #[test]
    fn tool_calls_have_their_index_and_arguments_even_if_empty() {
        let events = [call(0, "now"), call(1, "add"), arguments(1, "{\"a\":"), arguments(1, "1}"), stop()];
        assert_eq!(
            streamed(&events, false),
            concat!(
                "… [{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
                "… [{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_0\",\"type\":\"function\",\"function\":{\"name\":\"now\",\"arguments\":\"\"}}]},\"finish_reason\":null}]}\n\n",
                "… [{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"add\",\"arguments\":\"\"}}]},\"finish_reason\":null}]}\n\n",
                "… [{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"{\\\"a\\\":\"}}]},\"finish_reason\":null}]}\n\n",
                "… [{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"1}\"}}]},\"finish_reason\":null}]}\n\n",
                "… [{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]},\"finish_reason\":null}]}\n\n",
                "… [{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\",\"native_finish_reason\":\"STOP\"}]}\n\n",
                "data: [DONE]\n\n",
            )
        );
        let whole = whole(&HEAD, &events).expect("whole");
        assert_eq!(
            String::from_utf8_lossy(&whole),
            concat!(
                r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"fast","choices":[{"index":0,"#,
                r#""message":{"role":"assistant","content":null,"refusal":null,"tool_calls":["#,
                r#"{"id":"call_0","type":"function","function":{"name":"now","arguments":"{}"}},"#,
                r#"{"id":"call_1","type":"function","function":{"name":"add","arguments":"{\"a\":1}"}}]},"#,
                r#""logprobs":null,"finish_reason":"tool_calls","native_finish_reason":"STOP"}]}"#,
            )
        );
    }

    #[test]
    fn thought_is_readable_and_its_signed_blocks_are_whole() {
        let events = [
            Event::Reasoning("a".to_owned()),
            Event::Reasoning("b".to_owned()),
            Event::ReasoningSignature("s1".to_owned()),
            Event::ReasoningRedacted("xyz".to_owned()),
            Event::Reasoning("c".to_owned()),
            text("d"),
            stop(),
        ];
        let details = [
            r#""type":"reasoning.text","text":"ab","signature":"s1"}"#,
            r#""type":"reasoning.encrypted","data":"xyz"}"#,
            r#""type":"reasoning.text","text":"c"}"#,
        ];
        let whole = String::from_utf8(whole(&HEAD, &events).expect("whole")).expect("UTF-8");
        let list = details.map(|detail| format!("{{{detail}")).join(",");
        assert!(
            whole.contains(&format!(r#""reasoning_content":"abc","reasoning_details":[{list}]"#)),
            "{whole}"
        );
        let stream = streamed(&events, false);
        for (index, detail) in details.iter().enumerate() {
            assert!(
                stream.contains(&format!(r#""reasoning_details":[{{"index":{index},{detail}]"#)),
                "{stream}"
            );
        }
    }

    #[test]
    fn a_failure_is_the_last_thing_said() {
        let events =
            [text("a"), Event::Error(UpstreamError::new(ErrorClass::Overloaded, "Busy.")), text("b"), stop()];
        let stream = streamed(&events, true);
        assert!(
            stream.ends_with(
                "data: {\"error\":{\"message\":\"Busy. Wait a moment and send the request again, or choose another model.\",\"type\":\"api_error\",\"param\":null,\"code\":\"upstream_overloaded\"}}\n\n"
            ),
            "{stream}"
        );
        assert!(whole(&HEAD, &events).is_err());
    }

    #[test]
    fn events_without_an_end_are_no_answer() {
        assert_eq!(whole(&HEAD, &[text("a")]), Err(UpstreamError::truncated()));
    }

    #[test]
    fn a_start_alone_sends_nothing() {
        let mut out = Vec::new();
        Stream::new(&HEAD, true).events(&[Event::Start { id: None, model: None }, text("")], &mut out);
        assert_eq!(out, b"");
    }
}
