//! Ollama's own protocol, `/api/chat`. It differs from Chat Completions in that
//!
//! - a stream is JSON a line at a time, and asked for unless it is declined;
//! - settings of the model stand in `options`, what is not known there is ignored;
//! - arguments of calls are objects, calls have no ids, and a result names the function;
//! - images are bare base64 beside the text; addresses and documents are not taken;
//! - the form of an answer is `format`: `json`, or a schema;
//! - thinking is on, off or one of three efforts, and comes in a field of its own;
//! - a model that waits for results says `stop`;
//! - a failure in a stream is a line with `error`;
//! - there is no choice of tools: `none` leaves them out, and no other can be promised.

use std::collections::HashMap;

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::{Decoder, Dialect, Encoded, chat_completions, post};
use crate::{
    Error, ErrorClass, Target, UpstreamError, Usage,
    chat::{self, Effort, Event, FinishReason, Image, Media, Part, ResponseFormat, Role, ToolChoice},
    ndjson::Splitter,
};

/// Ollama's chat API.
#[derive(Debug)]
pub struct Ollama;

impl Dialect for Ollama {
    fn encode(&self, request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
        encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<Event>, UpstreamError> {
        let mut reader = Reader::default();
        let mut events = Vec::new();
        reader.line(body.trim_ascii(), &mut events)?;
        if reader.whole { Ok(events) } else { Err(UpstreamError::garbled("it is not `done`")) }
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(Stream::default())
    }

    fn error(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
        chat_completions::error::upstream(status, headers, body)
    }
}

fn encode(request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
    let mut dropped = Vec::new();
    let mut options = Map::new();
    let mut body = json!({ "model": target.model, "messages": messages(request)?, "stream": request.stream });
    for extra in &request.extra {
        match (extra.name.as_str(), &extra.value) {
            // Ollama's own words, from callers who know where they are sent.
            ("options", Value::Object(own)) => options.extend(own.clone()),
            ("keep_alive" | "think", value) => body[&extra.name] = value.clone(),
            _ => super::drop_extra(std::slice::from_ref(extra), &mut dropped)?,
        }
    }
    let mut option = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            options.insert(name.to_owned(), value);
        }
    };
    option("num_predict", request.max_output_tokens.map(Value::from));
    option("temperature", request.temperature.map(Value::from));
    option("top_p", request.top_p.map(Value::from));
    option("top_k", request.top_k.map(Value::from));
    option("frequency_penalty", request.frequency_penalty.map(Value::from));
    option("presence_penalty", request.presence_penalty.map(Value::from));
    option("seed", request.seed.map(Value::from));
    option("stop", (!request.stop.is_empty()).then(|| json!(request.stop)));
    if !options.is_empty() {
        body["options"] = Value::Object(options);
    }
    match &request.tool_choice {
        Some(ToolChoice::Function(_) | ToolChoice::Required) if !request.tools.is_empty() => {
            let message = "Ollama cannot be made to call a tool. Use `\"tool_choice\": \"auto\"`.";
            return Err(Error::unsupported("tool_choice", message));
        }
        Some(ToolChoice::None) => {}
        _ if request.tools.is_empty() => {}
        _ => body["tools"] = request.tools.iter().map(tool).collect(),
    }
    match &request.response_format {
        ResponseFormat::JsonObject => body["format"] = json!("json"),
        ResponseFormat::JsonSchema { schema, .. } => body["format"] = schema.clone(),
        ResponseFormat::Text => {}
    }
    let budget =
        request.reasoning_budget.map(|budget| if budget == 0 { Effort::None } else { Effort::Medium });
    if let Some(effort) = budget.or(request.reasoning_effort) {
        // Only one family has efforts; the others think or do not.
        let efforts = target.model.contains("gpt-oss");
        body["think"] = match effort {
            Effort::None => json!(false),
            Effort::Minimal | Effort::Low if efforts => json!("low"),
            Effort::Medium if efforts => json!("medium"),
            Effort::High | Effort::XHigh if efforts => json!("high"),
            _ => json!(true),
        };
    }
    super::refuse_one_call(request, &mut dropped)?;
    if request.end_user().is_some() {
        dropped.push("user".to_owned());
    }
    super::drop_hints(request, false, false, &mut dropped);
    super::drop_call_signatures(request, &mut dropped);
    super::drop_service(request, super::Serves::default(), &mut dropped);
    // The address may be the one of its Chat Completions.
    let base = target.base_url.strip_suffix("/v1").unwrap_or(target.base_url);
    Ok(Encoded::new(post(format!("{base}/api/chat"), target, body.to_string())?, dropped))
}

fn tool(tool: &chat::Tool) -> Value {
    let parameters = tool.parameters.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    let mut function = json!({ "name": tool.name, "parameters": parameters });
    if let Some(text) = &tool.description {
        function["description"] = json!(text);
    }
    json!({ "type": "function", "function": function })
}

fn messages(request: &chat::Request) -> Result<Vec<Value>, Error> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut all = Vec::new();
    for (at, message) in request.messages.iter().enumerate() {
        let role = match message.role {
            Role::Assistant => "assistant",
            Role::Developer | Role::System => "system",
            Role::Tool | Role::User => "user",
        };
        let mut said = Said::default();
        for part in &message.parts {
            match part {
                Part::ToolCall(call) => {
                    names.insert(&call.id, &call.name);
                    let text = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
                    let arguments =
                        serde_json::from_str(text).ok().filter(Value::is_object).ok_or_else(|| {
                            let param =
                                format!("messages[{at}].tool_calls[{}].function.arguments", said.calls.len());
                            let message = format!("`{param}` must be the text of a JSON object.");
                            Error::invalid(param, message)
                        })?;
                    said.calls.push(json!({ "function": { "name": call.name, "arguments": arguments } }));
                }
                Part::ToolResult(result) => {
                    let mut inner = Said::default();
                    for part in &result.parts {
                        inner.part(at, part)?;
                    }
                    let mut message = inner.message("tool");
                    message["tool_name"] = json!(names.get(result.call_id.as_str()));
                    all.push(message);
                }
                part => said.part(at, part)?,
            }
        }
        if !said.is_empty() {
            all.push(said.message(role));
        }
    }
    if all.is_empty() {
        return Err(Error::invalid("messages", "There must be at least one message that is not empty."));
    }
    Ok(all)
}

#[derive(Default)]
struct Said {
    texts: Vec<String>,
    thought: String,
    images: Vec<String>,
    calls: Vec<Value>,
}

impl Said {
    fn part(&mut self, at: usize, part: &Part) -> Result<(), Error> {
        match part {
            Part::Text(text) | Part::Refusal(text) => self.texts.push(text.clone()),
            Part::Reasoning(reasoning) => self.thought.push_str(&reasoning.text),
            Part::Image(Image { media: Media::Data { data, .. }, .. }) => self.images.push(data.clone()),
            Part::Image(_) | Part::File(_) => {
                let message =
                    "Ollama takes images as data only, and no documents. Send a `data:` address, or text.";
                return Err(Error::unsupported(format!("messages[{at}].content"), message));
            }
            Part::CachePoint(_) | Part::ToolCall(_) | Part::ToolResult(_) => {}
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.images.is_empty() && self.texts.iter().all(String::is_empty)
    }

    fn message(self, role: &str) -> Value {
        let mut message = json!({ "role": role, "content": self.texts.join("\n") });
        if !self.thought.is_empty() {
            message["thinking"] = self.thought.into();
        }
        if !self.images.is_empty() {
            message["images"] = self.images.into();
        }
        if !self.calls.is_empty() {
            message["tool_calls"] = self.calls.into();
        }
        message
    }
}

#[derive(Default)]
struct Stream {
    splitter: Splitter,
    reader: Reader,
    failed: bool,
}

impl Decoder for Stream {
    fn feed(&mut self, chunk: &[u8], events: &mut Vec<Event>) {
        let Self { splitter, reader, failed } = self;
        splitter.feed(chunk, |line| read(reader, failed, line, events));
    }

    fn finish(&mut self, events: &mut Vec<Event>) {
        let Self { splitter, reader, failed } = self;
        // Half a line is no line, and no garbled one either.
        if serde_json::from_slice::<serde::de::IgnoredAny>(splitter.held()).is_ok() {
            read(reader, failed, splitter.held(), events);
        }
        if !*failed && !reader.whole {
            events.push(Event::Error(UpstreamError::truncated()));
        }
    }
}

fn read(reader: &mut Reader, failed: &mut bool, line: &[u8], events: &mut Vec<Event>) {
    if *failed || line.is_empty() {
        return;
    }
    if let Err(error) = reader.line(line, events) {
        *failed = true;
        events.push(Event::Error(error));
    }
}

/// Reads an answer, a line at a time. A whole one is a single line.
#[derive(Default)]
struct Reader {
    begun: bool,
    calls: u32,
    whole: bool,
}

impl Reader {
    fn line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), UpstreamError> {
        let answer: Value =
            serde_json::from_slice(line).map_err(|_| UpstreamError::garbled("it is not JSON"))?;
        if let Some(message) = answer["error"].as_str() {
            return Err(UpstreamError::new(ErrorClass::Server, chat_completions::error::cut(message)));
        }
        let Some(message) = answer["message"].as_object() else {
            return Err(UpstreamError::garbled("it has no `message`"));
        };
        if self.whole {
            return Ok(());
        }
        if !self.begun {
            self.begun = true;
            events.push(Event::Start { id: None, model: answer["model"].as_str().map(str::to_owned) });
        }
        let text = |name: &str| {
            message.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        events.extend(text("thinking").map(Event::Reasoning));
        events.extend(text("content").map(Event::Text));
        for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            let function = &call["function"];
            let index = self.calls;
            self.calls += 1;
            let id = call["id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
            let name = function["name"].as_str().unwrap_or_default().to_owned();
            // Other turns of a conversation have calls too.
            let moment = answer["created_at"].as_str().unwrap_or_default();
            let moment: String = moment.chars().filter(char::is_ascii_digit).collect();
            let id = id.unwrap_or_else(|| format!("call_{moment}{index}"));
            events.push(Event::ToolCall { index, id, name, signature: None });
            let arguments = &function["arguments"];
            let text = if arguments.is_null() { "{}".to_owned() } else { arguments.to_string() };
            events.push(Event::ToolArguments { index, text });
        }
        if answer["done"] == true {
            let count = |name: &str| answer[name].as_u64();
            if let (input, Some(output)) = (count("prompt_eval_count"), count("eval_count")) {
                // A prompt that is all cached is not evaluated, and not counted.
                let input_tokens = input.unwrap_or(0);
                events.push(Event::Usage(Usage { input_tokens, output_tokens: output, ..Usage::default() }));
            }
            let native = answer["done_reason"].as_str().unwrap_or_default();
            let reason = match native {
                "length" => FinishReason::Length,
                _ => FinishReason::Stop.after_calls(self.calls > 0),
            };
            events.push(Event::Finish { reason, native: native.to_owned() });
            self.whole = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dialect::chat_completions::request, provider};

    fn sent(provider: &str, model: &str, body: Value) -> Result<(String, Value, Vec<String>), Error> {
        let provider = provider::find(provider).expect("listed");
        let target = Target { provider, model, base_url: provider.base_url, credential: None };
        let request = request::parse(body.to_string().as_bytes()).expect("valid");
        let encoded = Ollama.encode(&request, &target)?;
        let body = serde_json::from_slice(encoded.request.body()).expect("JSON");
        Ok((encoded.request.uri().to_string(), body, encoded.dropped))
    }

    #[test]
    fn a_request_is_said_in_ollamas_words() {
        let body = json!({
            "model": "chat", "temperature": 0.5, "max_tokens": 9, "seed": 7, "stop": ["END"], "user": "ann",
            "options": { "num_ctx": 8192 }, "keep_alive": "10m", "reasoning_effort": "low",
            "tools": [{ "type": "function", "function": { "name": "weather", "parameters": { "type": "object" } } }],
            "messages": [
                { "role": "developer", "content": "Be brief." },
                { "role": "user", "content": [{ "type": "text", "text": "What?" },
                    { "type": "image_url", "image_url": { "url": "data:image/png;base64,aGk=" } }] },
                { "role": "assistant", "content": null, "tool_calls": [{ "id": "c1", "type": "function",
                    "function": { "name": "weather", "arguments": "{\"city\":\"Oslo\"}" } }] },
                { "role": "tool", "tool_call_id": "c1", "content": "cold" }
            ]
        });
        let expected = json!({
            "model": "qwen3", "stream": false, "keep_alive": "10m", "think": true,
            "options": { "num_ctx": 8192, "num_predict": 9, "temperature": 0.5, "seed": 7, "stop": ["END"] },
            "tools": [{ "type": "function", "function": { "name": "weather", "parameters": { "type": "object" } } }],
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": "What?", "images": ["aGk="] },
                { "role": "assistant", "content": "", "tool_calls": [
                    { "function": { "name": "weather", "arguments": { "city": "Oslo" } } }] },
                { "role": "tool", "content": "cold", "tool_name": "weather" }
            ]
        });
        for provider in ["ollama", "ollama-native"] {
            let (url, body, dropped) = sent(provider, "qwen3", body.clone()).expect("a request");
            assert_eq!((url.as_str(), dropped), ("http://localhost:11434/api/chat", vec!["user".to_owned()]));
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn formats_efforts_and_what_cannot_be_said() {
        let with = |model: &str, name: &str, value: Value| {
            let mut body = json!({ "model": "chat", "messages": [{ "role": "user", "content": "Hi" }] });
            body[name] = value;
            sent("ollama", model, body)
        };
        let schema =
            json!({ "type": "json_schema", "json_schema": { "name": "a", "schema": { "type": "object" } } });
        let cases = [
            ("qwen3", "response_format", json!({ "type": "json_object" }), "format", json!("json")),
            ("qwen3", "response_format", schema, "format", json!({ "type": "object" })),
            ("qwen3", "reasoning_effort", json!("none"), "think", json!(false)),
            ("gpt-oss:20b", "reasoning_effort", json!("high"), "think", json!("high")),
        ];
        for (model, name, value, field, expected) in cases {
            let (_, body, _) = with(model, name, value).expect("a request");
            assert_eq!(body[field], expected, "{model} {name}");
        }
        let picture = json!([{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": "https://x/y.png" } }] }]);
        assert!(matches!(with("qwen3", "messages", picture), Err(Error::Unsupported { .. })));
    }

    const STREAM: &str = concat!(
        "{\"model\":\"qwen3\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"Hm\"},\"done\":false}\n",
        "{\"model\":\"qwen3\",\"message\":{\"role\":\"assistant\",\"content\":\"Grüße\"},\"done\":false}\n",
        "{\"model\":\"qwen3\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"b\":1,\"a\":2}}}]},\"created_at\":\"2026-01-01T00:00:07.5Z\",\"done\":false}\n",
        "{\"model\":\"qwen3\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":26,\"eval_count\":9,\"eval_duration\":4799921000}\n",
    );

    fn decoded(pieces: &[&[u8]]) -> Vec<Event> {
        crate::dialect::decoded(&mut *Ollama.decoder(), pieces)
    }

    #[test]
    fn every_cut_of_a_stream_gives_the_same_events() {
        let expected = vec![
            Event::Start { id: None, model: Some("qwen3".to_owned()) },
            Event::Reasoning("Hm".to_owned()),
            Event::Text("Grüße".to_owned()),
            Event::ToolCall {
                index: 0,
                id: "call_2026010100000750".to_owned(),
                name: "f".to_owned(),
                signature: None,
            },
            Event::ToolArguments { index: 0, text: "{\"b\":1,\"a\":2}".to_owned() },
            Event::Usage(Usage { input_tokens: 26, output_tokens: 9, ..Usage::default() }),
            Event::Finish { reason: FinishReason::ToolCalls, native: "stop".to_owned() },
        ];
        let stream = STREAM.as_bytes();
        for cut in 0..=stream.len() {
            assert_eq!(decoded(&[&stream[..cut], &stream[cut..]]), expected, "cut at {cut}");
            let events = decoded(&[&stream[..cut]]);
            if cut < stream.len() - 1 {
                assert_eq!(events.last(), Some(&Event::Error(UpstreamError::truncated())), "cut at {cut}");
            }
        }
    }

    #[test]
    fn failures_are_failures() {
        let [first, ..] = STREAM.split_inclusive('\n').collect::<Vec<_>>()[..] else { panic!("lines") };
        let failing =
            format!("{first}{{\"error\":\"an error was encountered while running the model\"}}\n{STREAM}");
        let events = decoded(&[failing.as_bytes()]);
        assert!(matches!(events.last(), Some(Event::Error(error)) if error.message.starts_with("an error")));
        for body in ["", "[]", "{}", "<html>", "{\"message\":{\"content\":\"Hi\"},\"done\":false}"] {
            assert_eq!(
                Ollama.decode(body.as_bytes()).map_err(|error| error.class),
                Err(ErrorClass::Garbled),
                "{body}"
            );
        }
        let error = Ollama.error(404, &HeaderMap::new(), br#"{"error":"model 'x' not found"}"#);
        assert_eq!((error.class, &*error.message), (ErrorClass::NotFound, "model 'x' not found"));
    }
}
