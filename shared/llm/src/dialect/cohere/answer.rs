//! A chat answer, whole or streamed, as unified events.

use serde_json::Value;

use super::Failure;
use crate::{
    ErrorClass, UpstreamError, Usage,
    chat::{Citation, Event, FinishReason},
    dialect::{MAX_CALLS, OnEvent, Unsaid, text},
    sse,
};

/// A whole answer is read in the order its stream would have come.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, UpstreamError> {
    let garbled = |what: &str| UpstreamError::garbled(what);
    if body.trim_ascii().is_empty() {
        return Err(garbled("it was empty"));
    }
    // Some proxies answer 200 to everything.
    if let Ok(failure) = serde_json::from_slice::<Failure>(body) {
        return Err(failure.classified());
    }
    let answer: Value = serde_json::from_slice(body).map_err(|_| garbled("it is not a chat answer"))?;
    let message = &answer["message"];
    if !message.is_object() {
        return Err(garbled(if answer.is_object() {
            "it has no `message`"
        } else {
            "it is not a chat answer"
        }));
    }
    let id = text(&answer, "/id");
    let mut reader = Reader { id: id.clone().unwrap_or_default(), ..Reader::default() };
    let mut events = vec![Event::Start { id, model: None }];
    reader.message(None, message, true, &mut events)?;
    if !answer["finish_reason"].is_string() {
        return Err(UpstreamError::truncated());
    }
    reader.end(&answer, &mut events)?;
    Ok(events)
}

/// Reads one streamed answer.
#[derive(Default)]
pub(super) struct Reader {
    /// The `index` of each call on the wire, where it has one.
    calls: Vec<Option<u64>>,
    /// The answer's own.
    id: String,
    has_nameless_call: bool,
    unsaid: Unsaid,
    whole: bool,
}

impl OnEvent for Reader {
    fn event(&mut self, event: sse::Event<'_>, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        // What comes after the end, `[DONE]` above all, is not ours to judge.
        if self.whole || event.data.trim_ascii() == b"[DONE]" {
            return Ok(());
        }
        let garbled = |_| UpstreamError::garbled("an event in it is not what its name says");
        let step: Value = serde_json::from_slice(&event.data).map_err(garbled)?;
        if !step.is_object() {
            return Err(UpstreamError::garbled("an event in it is not what its name says"));
        }
        let kind = step["type"].as_str().or(std::str::from_utf8(event.name).ok()).unwrap_or_default();
        let failed = || Failure { message: text(&step, "/message").unwrap_or_default() }.classified();
        match kind {
            "message-end" => self.end(&step["delta"], events)?,
            "citation-start" | "content-delta" | "content-start" | "message-start" | "tool-call-delta"
            | "tool-call-start" | "tool-plan-delta" => {
                if kind == "message-start" {
                    let id = text(&step, "/id");
                    self.id = id.clone().unwrap_or_default();
                    events.push(Event::Start { id, model: None });
                }
                let begins = kind == "tool-call-start";
                self.message(step["index"].as_u64(), &step["delta"]["message"], begins, events)?;
            }
            "error" => return Err(failed()),
            // An error body in place of an event.
            "" if step["message"].is_string() => return Err(failed()),
            // The ends of blocks, `debug`, and what the API adds one day.
            _ => {}
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.whole
    }
}

impl Reader {
    /// A message, or what is added to it. Deltas carry one thing where a whole message has a list.
    fn message(
        &mut self,
        wire: Option<u64>,
        message: &Value,
        begins: bool,
        events: &mut Vec<Event>,
    ) -> Result<(), UpstreamError> {
        events.extend(text(message, "/tool_plan").map(Event::Reasoning));
        events.extend(text(message, "/content").map(Event::Text));
        for item in several(&message["content"]) {
            if let Some(kind) = item["type"].as_str().filter(|kind| !["text", "thinking"].contains(kind)) {
                self.unsaid.tell("message.content", kind, events);
            }
            events.extend(text(item, "/thinking").map(Event::Reasoning));
            events.extend(text(item, "/text").map(Event::Text));
        }
        for call in several(&message["tool_calls"]) {
            if begins {
                self.call(wire, call, events)?;
            } else {
                self.arguments(wire, call, events);
            }
        }
        several(&message["citations"]).iter().for_each(|cited| cite(cited, events));
        Ok(())
    }

    fn call(
        &mut self,
        wire: Option<u64>,
        call: &Value,
        events: &mut Vec<Event>,
    ) -> Result<(), UpstreamError> {
        if self.calls.len() == MAX_CALLS {
            return Err(UpstreamError::garbled("it has more tool calls than a model makes"));
        }
        let index = self.calls.len() as u32;
        self.calls.push(wire);
        // Another answer of the conversation has calls too.
        let id = text(call, "/id").unwrap_or_else(|| format!("call_{}_{index}", self.id));
        let name = text(call, "/function/name").unwrap_or_default();
        self.has_nameless_call |= name.is_empty();
        events.push(Event::ToolCall { index, id, name, signature: None });
        events.extend(text(call, "/function/arguments").map(|text| Event::ToolArguments { index, text }));
        Ok(())
    }

    /// Adds to the call with this index, or to the last where it has none.
    fn arguments(&self, wire: Option<u64>, call: &Value, events: &mut Vec<Event>) {
        let Some(last) = self.calls.len().checked_sub(1) else { return };
        let named = wire.and_then(|_| self.calls.iter().rposition(|call| *call == wire));
        let index = named.unwrap_or(last) as u32;
        events.extend(text(call, "/function/arguments").map(|text| Event::ToolArguments { index, text }));
    }

    fn end(&mut self, end: &Value, events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        events.extend(canonical(&end["usage"]).map(Event::Usage));
        let native = text(end, "/finish_reason").unwrap_or_default();
        let failure = match native.as_str() {
            "TIMEOUT" => Some((ErrorClass::Timeout, "the provider gave up before the answer was whole")),
            "ERROR" => Some((ErrorClass::Server, "the provider failed before the answer was whole")),
            "USER_CANCEL" => Some((ErrorClass::Truncated, "the answer was cancelled at the provider")),
            _ if end["error"].is_string() => Some((ErrorClass::Server, "the provider failed")),
            _ => None,
        };
        if let Some((class, message)) = failure {
            let said = text(end, "/error").map(|message| Failure { message });
            let error = match said.map(|failure| failure.classified()) {
                Some(error) if class == ErrorClass::Server => error,
                Some(error) => UpstreamError { class, ..error },
                None => UpstreamError::new(class, message),
            };
            return Err(UpstreamError { code: Some(native).filter(|native| !native.is_empty()), ..error });
        }
        if self.has_nameless_call {
            return Err(UpstreamError::garbled("a tool call in it has no name"));
        }
        let reason = match native.as_str() {
            "ERROR_LIMIT" | "MAX_TOKENS" => FinishReason::Length,
            "ERROR_TOXIC" => FinishReason::ContentFilter,
            "TOOL_CALL" => FinishReason::ToolCalls,
            // `COMPLETE`, `STOP_SEQUENCE`, and what the API adds one day.
            _ => FinishReason::Stop,
        };
        events.push(Event::Finish { reason, native });
        self.whole = true;
        Ok(())
    }
}

/// What is charged, or where that is not said, what the model read and wrote. Cached tokens are of the latter, so they
/// may be more than the former. Counts come as floating point numbers.
fn canonical(usage: &Value) -> Option<Usage> {
    let count = |path: &str| usage.pointer(path).and_then(Value::as_f64).map(|number| number as u64);
    let input = count("/billed_units/input_tokens").or(count("/tokens/input_tokens"));
    let output = count("/billed_units/output_tokens").or(count("/tokens/output_tokens"));
    input.or(output)?;
    let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
    Some(Usage {
        input_tokens: input,
        cache_read_input_tokens: count("/cached_tokens").unwrap_or(0).min(input),
        image_input_tokens: count("/billed_units/image_tokens").unwrap_or(0).min(input),
        output_tokens: output,
        search_units: count("/billed_units/search_units").unwrap_or(0),
        ..Usage::default()
    })
}

/// One citation a source: what is cited is the same, where it comes from is not.
fn cite(cited: &Value, events: &mut Vec<Event>) {
    let none = [Value::Null];
    let sources = cited["sources"].as_array().filter(|sources| !sources.is_empty());
    for source in sources.map_or(&none[..], Vec::as_slice) {
        let data = source.get("document").or(source.get("tool_output")).unwrap_or(&Value::Null);
        events.push(Event::Citation(Citation {
            url: text(data, "/url"),
            title: text(data, "/title").or(text(source, "/id")),
            quote: text(cited, "/text"),
            span: cited["start"].as_u64().zip(cited["end"].as_u64()),
        }));
    }
}

/// The entries of a list, or the one that stands in its place.
fn several(value: &Value) -> &[Value] {
    match value {
        Value::Array(list) => list,
        Value::Object(_) => std::slice::from_ref(value),
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::SseDecoder;

    const STREAM: &str = concat!(
        "event: message-start\ndata: {\"id\":\"m1\",\"type\":\"message-start\",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[],\"tool_plan\":\"\",\"tool_calls\":[],\"citations\":[]}}}\n\n",
        "event: tool-plan-delta\ndata: {\"type\":\"tool-plan-delta\",\"delta\":{\"message\":{\"tool_plan\":\"I look.\"}}}\n\n",
        "event: content-start\ndata: {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"type\":\"thinking\",\"thinking\":\"\"}}}}\n\n",
        "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"thinking\":\"Hm\"}}}}\n\n",
        "event: content-end\ndata: {\"type\":\"content-end\",\"index\":0}\n\n",
        "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":1,\"delta\":{\"message\":{\"content\":{\"text\":\"Grüße\"}}}}\n\n",
        "event: tool-call-start\ndata: {\"type\":\"tool-call-start\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"id\":\"f_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}}}}\n\n",
        "event: tool-call-delta\ndata: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":\"{}\"}}}}}\n\n",
        "event: tool-call-end\ndata: {\"type\":\"tool-call-end\",\"index\":0}\n\n",
        "event: tool-call-start\ndata: {\"type\":\"tool-call-start\",\"index\":1,\"delta\":{\"message\":{\"tool_calls\":{\"id\":\"g_2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}}}}\n\n",
        "event: tool-call-delta\ndata: {\"type\":\"tool-call-delta\",\"index\":1,\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":\"{\\\"a\\\":1}\"}}}}}\n\n",
        "event: citation-start\ndata: {\"type\":\"citation-start\",\"index\":0,\"delta\":{\"message\":{\"citations\":{\"start\":0,\"end\":2,\"text\":\"Gr\",\"sources\":[{\"type\":\"document\",\"id\":\"d1\",\"document\":{\"url\":\"https://x\",\"title\":\"X\"}},{\"type\":\"tool\",\"id\":\"f_1:0\",\"tool_output\":{}}]}}}}\n\n",
        "event: citation-end\ndata: {\"type\":\"citation-end\",\"index\":0}\n\n",
        "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"TOOL_CALL\",\"usage\":{\"billed_units\":{\"input_tokens\":50.0,\"output_tokens\":26},\"tokens\":{\"input_tokens\":793,\"output_tokens\":61},\"cached_tokens\":16}}}\n\n",
    );

    const WHOLE: &str = r#"{"id":"m1","message":{"role":"assistant","tool_plan":"I look.",
        "content":[{"type":"thinking","thinking":"Hm"},{"type":"text","text":"Grüße"}],
        "tool_calls":[{"id":"f_1","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"g_2","type":"function","function":{"name":"g","arguments":"{\"a\":1}"}}],
        "citations":[{"start":0,"end":2,"text":"Gr","sources":[{"type":"document","id":"d1","document":{"url":"https://x","title":"X"}},{"type":"tool","id":"f_1:0","tool_output":{}}]}]},
        "finish_reason":"TOOL_CALL","usage":{"billed_units":{"input_tokens":50,"output_tokens":26},"tokens":{"input_tokens":793,"output_tokens":61},"cached_tokens":16}}"#;

    fn expected() -> Vec<Event> {
        let text = str::to_owned;
        let call = |index, id: &str, name: &str| Event::ToolCall {
            index,
            id: text(id),
            name: text(name),
            signature: None,
        };
        let cite = |url: Option<&str>, title: &str| {
            Event::Citation(Citation {
                span: Some((0, 2)),
                url: url.map(text),
                title: Some(text(title)),
                quote: Some(text("Gr")),
            })
        };
        vec![
            Event::Start { id: Some(text("m1")), model: None },
            Event::Reasoning(text("I look.")),
            Event::Reasoning(text("Hm")),
            Event::Text(text("Grüße")),
            call(0, "f_1", "f"),
            Event::ToolArguments { index: 0, text: text("{}") },
            call(1, "g_2", "g"),
            Event::ToolArguments { index: 1, text: text("{\"a\":1}") },
            cite(Some("https://x"), "X"),
            cite(None, "f_1:0"),
            Event::Usage(Usage {
                input_tokens: 50,
                cache_read_input_tokens: 16,
                output_tokens: 26,
                ..Usage::default()
            }),
            Event::Finish { reason: FinishReason::ToolCalls, native: text("TOOL_CALL") },
        ]
    }

    fn decoded(pieces: &[&[u8]]) -> Vec<Event> {
        crate::dialect::decoded(&mut SseDecoder::new(Reader::default()), pieces)
    }

    #[test]
    fn whole_and_streamed_and_cut_anywhere_it_is_the_same() {
        assert_eq!(decode(WHOLE.as_bytes()), Ok(expected()));
        let done = format!("{STREAM}data: [DONE]\n\n");
        for cut in 0..=done.len() {
            let (first, second) = done.as_bytes().split_at(cut);
            assert_eq!(decoded(&[first, second]), expected(), "cut at {cut}");
        }
        // Names may be lost on the way, and so may types.
        let nameless: String = STREAM
            .lines()
            .filter(|line| !line.starts_with("event"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(decoded(&[nameless.as_bytes()]), expected());
    }

    #[test]
    fn a_stream_without_its_end_is_a_failure() {
        let events: Vec<&str> = STREAM.split_inclusive("\n\n").collect();
        for count in 0..events.len() {
            for end in ["", "data: [DONE]\n\n"] {
                let stream = events[..count].concat() + end;
                let found = decoded(&[stream.as_bytes()]);
                assert_eq!(found.last(), Some(&Event::Error(UpstreamError::truncated())), "{count}");
                assert!(!found.iter().any(|event| matches!(event, Event::Finish { .. })));
            }
        }
    }

    #[test]
    fn finish_reasons_are_translated_and_failures_are_failures() {
        use FinishReason::{ContentFilter, Length, Stop, ToolCalls};
        let ends = [
            ("COMPLETE", Stop),
            ("STOP_SEQUENCE", Stop),
            ("MAX_TOKENS", Length),
            ("ERROR_LIMIT", Length),
            ("ERROR_TOXIC", ContentFilter),
            ("TOOL_CALL", ToolCalls),
            ("SOMETHING_NEW", Stop),
        ];
        for (native, reason) in ends {
            let body = format!(r#"{{"message":{{"content":"Hi"}},"finish_reason":"{native}"}}"#);
            let events = decode(body.as_bytes()).expect("an answer");
            assert_eq!(events.last(), Some(&Event::Finish { reason, native: native.to_owned() }));
        }
        let failures = [
            (
                r#"{"finish_reason":"ERROR"}"#,
                ErrorClass::Server,
                "the provider failed before the answer was whole",
            ),
            (r#"{"finish_reason":"ERROR","error":"Oh."}"#, ErrorClass::Server, "Oh."),
            (r#"{"finish_reason":"TIMEOUT","error":"Slow."}"#, ErrorClass::Timeout, "Slow."),
            (r#"{"error":"Oh."}"#, ErrorClass::Server, "Oh."),
        ];
        for (delta, class, message) in failures {
            let stream = format!("data: {{\"type\":\"message-end\",\"delta\":{delta}}}\n\n");
            let found = decoded(&[stream.as_bytes()]);
            let [Event::Error(error)] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((error.class, &*error.message), (class, message), "{delta}");
        }
        let whole = br#"{"message":{"content":[]},"finish_reason":"ERROR"}"#;
        assert_eq!(decode(whole).map_err(|error| error.class), Err(ErrorClass::Server));
    }

    #[test]
    fn what_is_no_answer_is_a_failure() {
        let bodies = ["", " ", "<html>", "[]", "{}", r#"{"finish_reason":"COMPLETE"}"#];
        for body in bodies {
            assert_eq!(
                decode(body.as_bytes()).map_err(|error| error.class),
                Err(ErrorClass::Garbled),
                "{body}"
            );
        }
        let error = decode(br#"{"id":"1","message":"Ouch."}"#).expect_err("an error");
        assert_eq!((error.class, error.status, &*error.message), (ErrorClass::Server, None, "Ouch."));
        for event in ["data: {\"message\":\"Ouch.\"}\n\n", "event: error\ndata: {\"message\":\"Ouch.\"}\n\n"]
        {
            let found = decoded(&[event.as_bytes()]);
            assert!(matches!(&found[..], [Event::Error(error)] if error.message == "Ouch."), "{found:?}");
        }
        assert!(matches!(&decoded(&[b"data: <html>\n\n"])[..], [Event::Error(_)]));
    }

    #[test]
    fn usage_is_what_is_charged_or_else_what_was_read() {
        let cases = [
            (r#"{"tokens":{"input_tokens":9,"output_tokens":2},"cached_tokens":4}"#, Some((9, 4, 2))),
            (
                r#"{"billed_units":{"input_tokens":3},"tokens":{"input_tokens":9,"output_tokens":2},"cached_tokens":4}"#,
                Some((3, 3, 2)),
            ),
            (r#"{"billed_units":{"search_units":1},"tokens":{"input_tokens":"9"}}"#, None),
            (r#"{}"#, None),
            (r#"7"#, None),
        ];
        for (usage, expected) in cases {
            let body =
                format!(r#"{{"message":{{"content":"Hi"}},"finish_reason":"COMPLETE","usage":{usage}}}"#);
            let found =
                decode(body.as_bytes()).expect("an answer").into_iter().find_map(|event| match event {
                    Event::Usage(usage) => {
                        Some((usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens))
                    }
                    _ => None,
                });
            assert_eq!(found, expected, "{usage}");
        }
    }
}
