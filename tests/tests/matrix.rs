//! Every caller's protocol with every provider's: what goes through is what both can say.
//!
//! An answer of a provider, written down in `fixtures/upstream`, is written for each kind of caller, and then
//! read by that protocol's own reader. A request is read from each kind of caller, encoded for each kind
//! of provider, and read again there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::{collections::BTreeSet, fs};

use http::{HeaderMap, StatusCode};
use llm::{
    Error,
    chat::{Event, FinishReason, Image, Media, Part, Request, Role},
    dialect::Dialect,
    front::ErrorBody,
    translate::Translate,
};
use serde_json::{Value, json};
use wire::{
    HEAD, PROTOCOLS, Protocol, decode, hold::has_broken_arguments, peek, pumped, recorded, recorded::Kind,
};

/// What any caller can be told.
#[derive(Debug, Default, PartialEq)]
struct Told {
    text: String,
    thought: String,
    calls: Vec<(String, Value)>,
    finish: Option<FinishReason>,
    tokens: Option<[u64; 3]>,
    failed: bool,
}

fn told(events: &[Event]) -> Told {
    let mut told = Told::default();
    let mut arguments: Vec<String> = Vec::new();
    for event in events {
        match event {
            Event::Error(_) => told.failed = true,
            Event::Finish { reason, .. } => told.finish = Some(*reason),
            Event::Reasoning(text) => told.thought.push_str(text),
            // A refusal is text to those who have no word for it.
            Event::Refusal(text) | Event::Text(text) => told.text.push_str(text),
            Event::ToolArguments { index, text } => arguments[*index as usize].push_str(text),
            Event::ToolCall { name, .. } => {
                told.calls.push((name.clone(), Value::Null));
                arguments.push(String::new());
            }
            Event::Usage(usage) => {
                told.tokens = Some([usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens]);
            }
            _ => {}
        }
    }
    for (call, text) in told.calls.iter_mut().zip(arguments) {
        let text = if text.trim().is_empty() { "{}" } else { &text };
        // Where arguments must be an object, those that are none are kept in one, or as text.
        call.1 = match serde_json::from_str(text) {
            Ok(Value::Object(arguments)) => Value::Object(arguments),
            Ok(Value::String(text)) => json!({ "arguments": text }),
            _ => json!({ "arguments": text }),
        };
    }
    if !told.calls.is_empty() && told.finish == Some(FinishReason::Stop) {
        told.finish = Some(FinishReason::ToolCalls);
    }
    // After a failure nothing is promised but that it shows.
    if told.failed { Told { failed: true, ..Told::default() } } else { told }
}

/// What is left of it for callers of a protocol that cannot say all of it.
fn as_told_in(protocol: &Protocol, events: &[Event]) -> Told {
    let told = told(events);
    let refused = !told.failed && events.iter().any(|event| matches!(event, Event::Refusal(_)));
    match protocol.name {
        // Nothing but an error stands for a withheld answer.
        "cohere" if told.finish == Some(FinishReason::ContentFilter) => {
            Told { failed: true, ..Told::default() }
        }
        // Its arguments are objects; what is none cannot be told.
        "generate_content" if has_broken_arguments(events) => Told { failed: true, ..Told::default() },
        // They have no words for a refusal but the reason of the end.
        "generate_content" | "messages" if refused && told.finish == Some(FinishReason::Stop) => {
            Told { finish: Some(FinishReason::ContentFilter), ..told }
        }
        // Its usage is numbers, whether or not they are known.
        "messages" if told.tokens.is_none() && told.finish.is_some() => Told { tokens: Some([0; 3]), ..told },
        _ => told,
    }
}

#[test]
fn a_whole_answer_reads_the_same_in_every_protocol() {
    let mut cells = BTreeSet::new();
    for answer in recorded().iter().filter(|answer| answer.kind == Kind::Whole) {
        let Ok(events) = answer.protocol.dialect.decode(&answer.body) else { continue };
        let path = answer.path.display();
        // As written down, and then from every kind of provider that could have said it.
        for from in &PROTOCOLS {
            let Some(events) = whole_through(from, &events, &path.to_string()) else { continue };
            for to in &PROTOCOLS {
                whole_through(to, &events, &format!("{path}, from {} to {}", from.name, to.name));
                cells.insert((from.name, to.name));
            }
        }
    }
    assert_eq!(cells.len(), PROTOCOLS.len() * PROTOCOLS.len(), "{cells:?}");
}

/// Writes an answer for a caller and reads it as that protocol's clients do. `None` where it is an error.
fn whole_through(to: &Protocol, events: &[Event], case: &str) -> Option<Vec<Event>> {
    let expected = as_told_in(to, events);
    let Ok(answer) = to.front.whole(&HEAD, events) else {
        assert!(expected.failed || expected.finish.is_none(), "{case}");
        return None;
    };
    let again = match to.dialect.decode(&answer) {
        Err(_) if expected.failed => return None,
        again => again.unwrap_or_else(|error| panic!("{case}: {}: {error}", to.name)),
    };
    assert_eq!(told(&again), expected, "{case}: {}: {}", to.name, String::from_utf8_lossy(&answer));
    // Passing it on to a caller who speaks the same tells the record as much.
    let tokens = to.front.summary(&answer).unwrap().usage.map(|usage| usage.output_tokens);
    assert_eq!(tokens, expected.tokens.map(|tokens| tokens[1]), "{case}: {}", to.name);
    (!expected.failed).then_some(again)
}

#[test]
fn a_stream_reads_the_same_in_every_protocol() {
    let mut cells = BTreeSet::new();
    for answer in recorded().iter().filter(|answer| answer.kind == Kind::Stream) {
        let path = answer.path.display();
        for from in &PROTOCOLS {
            let sent = stream_through(answer.protocol.dialect, &answer.body, from, &path.to_string());
            for to in &PROTOCOLS {
                stream_through(
                    from.dialect,
                    &sent,
                    to,
                    &format!("{path}, from {} to {}", from.name, to.name),
                );
                cells.insert((from.name, to.name));
            }
        }
    }
    assert_eq!(cells.len(), PROTOCOLS.len() * PROTOCOLS.len(), "{cells:?}");
}

/// Translates a stream; what the caller gets is read as that protocol's clients do.
fn stream_through(from: &dyn Dialect, stream: &[u8], to: &Protocol, case: &str) -> Vec<u8> {
    let expected = as_told_in(to, &decode(from, [stream]));
    let peek = peek();
    let mut relay = Translate::new(from.decoder(), to.front.writer(&HEAD, &peek), "call_1");
    let sent = pumped(&mut relay, stream.chunks(7));
    let again = decode(to.dialect, [&sent[..]]);
    assert_eq!(told(&again), expected, "{case}: {}: {}", to.name, String::from_utf8_lossy(&sent));
    // Passing the same on to a caller who speaks it changes nothing and sees as much.
    let mut forwarder = to.front.forwarder(&peek, "call_1");
    let passed = pumped(&mut *forwarder, sent.chunks(7));
    assert_eq!(String::from_utf8_lossy(&passed), String::from_utf8_lossy(&sent), "{case}: {}", to.name);
    let summary = forwarder.summary();
    assert_eq!(summary.error.is_some(), expected.failed, "{case}: {}", to.name);
    if !expected.failed {
        assert_eq!(summary.finish_reason.is_some(), expected.finish.is_some(), "{case}: {}", to.name);
        let tokens = summary.usage.map(|usage| usage.output_tokens);
        assert_eq!(tokens, expected.tokens.map(|tokens| tokens[1]), "{case}: {}", to.name);
    }
    sent
}

#[test]
fn a_stream_that_is_cut_is_an_error_in_every_protocol() {
    for answer in recorded().iter().filter(|answer| answer.case == "text" && answer.kind == Kind::Stream) {
        let (from, stream) = (answer.protocol, &answer.body);
        for to in &PROTOCOLS {
            let peek = peek();
            let writer = to.front.writer(&HEAD, &peek);
            let mut relay = Translate::new(from.dialect.decoder(), writer, "call_1");
            let sent = pumped(&mut relay, [&stream[..stream.len() / 2]]);
            assert!(told(&decode(to.dialect, [&sent[..]])).failed, "{} to {}", from.name, to.name);
            // And so is one that comes in the caller's own protocol.
            let writer = to.front.writer(&HEAD, &peek);
            let whole = pumped(&mut Translate::new(from.dialect.decoder(), writer, "call_1"), [&stream[..]]);
            let mut forwarder = to.front.forwarder(&peek, "call_1");
            let passed = pumped(&mut *forwarder, [&whole[..whole.len() / 2]]);
            let said = String::from_utf8_lossy(&passed);
            assert!(told(&decode(to.dialect, [&passed[..]])).failed, "{}: {said}", to.name);
            assert!(forwarder.summary().error.is_some(), "{}", to.name);
        }
    }
}

#[test]
fn a_request_asks_the_same_in_every_protocol() {
    for from in &PROTOCOLS {
        let path = format!("{}/fixtures/callers/{}.json", env!("CARGO_MANIFEST_DIR"), from.name);
        let body = fs::read(path).unwrap();
        let peek = from.front.peek(from.path, &body).unwrap();
        let request = from.front.parse(&peek, &body).unwrap();
        // The only protocol that cannot say where to stop.
        let stop = if from.name == "responses" { &[][..] } else { &["END"] };
        assert_eq!(asked(&request), asked_everywhere(stop), "{}", from.name);
        for to in &PROTOCOLS {
            let (mut request, mut stop) = (request.clone(), stop);
            if to.name == "responses" && !stop.is_empty() {
                let refused = to.dialect.encode(&request, &to.target());
                assert!(matches!(refused, Err(Error::Unsupported { param, .. }) if param == "stop"));
                stop = &[];
                request.stop.clear();
            }
            let encoded = to.dialect.encode(&request, &to.target()).unwrap();
            let body = encoded.request.body();
            let peek = to.front.peek(to.path, body).unwrap();
            let again = to.front.parse(&peek, body).unwrap();
            let case = format!("{} to {}: {}", from.name, to.name, String::from_utf8_lossy(body));
            assert_eq!(asked(&again), asked_everywhere(stop), "{case}");
            assert_eq!(encoded.dropped, Vec::<String>::new(), "{case}");
        }
    }
}

#[test]
fn the_callers_own_bytes_go_to_a_provider_that_speaks_the_same() {
    for protocol in &PROTOCOLS {
        let path = format!("{}/fixtures/callers/{}.json", env!("CARGO_MANIFEST_DIR"), protocol.name);
        let body = String::from_utf8(fs::read(path).unwrap()).unwrap();
        // What nobody here has heard of.
        let body = body.replacen('{', r#"{"a_later_field" : {"x":1.50}, "#, 1);
        let peek = protocol.front.peek(protocol.path, body.as_bytes()).unwrap();
        let target = protocol.target();
        let forwarded =
            protocol.front.forward(body.as_bytes(), &peek, &HeaderMap::new(), &target).unwrap().request;
        let expected = body.replace(r#""model": "chat""#, &format!(r#""model": "{}""#, target.model));
        assert_eq!(std::str::from_utf8(forwarded.body()).unwrap(), expected, "{}", protocol.name);
        let own = protocol.dialect.encode(&protocol.front.parse(&peek, body.as_bytes()).unwrap(), &target);
        assert_eq!(*forwarded.uri(), *own.unwrap().request.uri(), "{}", protocol.name);
    }
}

#[test]
fn a_refusal_reads_as_one_in_every_protocol() {
    for protocol in &PROTOCOLS {
        for status in [400, 401, 403, 404, 413, 429, 500, 502, 503, 504] {
            let code = StatusCode::from_u16(status).unwrap();
            let body = ErrorBody {
                message: "This \"is\" why.\n".into(),
                status: code,
                param: Some("model"),
                code: Some("a_code"),
                request_id: Some("call_1"),
            };
            let error = protocol.dialect.error(status, &HeaderMap::new(), &protocol.front.error(code, &body));
            assert!(error.message.starts_with("This \"is\" why."), "{} {status}: {error:?}", protocol.name);
            let [plain, ..] = &PROTOCOLS;
            let plain = plain.dialect.error(status, &HeaderMap::new(), &plain.front.error(code, &body));
            assert_eq!(error.class.status(), plain.class.status(), "{} {status}", protocol.name);
        }
    }
}

/// What the fixtures of all callers ask for.
#[derive(Debug, PartialEq)]
struct Asked {
    said: Vec<(Role, Vec<String>)>,
    tools: Vec<(String, Value)>,
    max_output_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    stop: Vec<String>,
}

fn asked(request: &Request) -> Asked {
    let mut said: Vec<(Role, Vec<String>)> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for message in &request.messages {
        for part in &message.parts {
            let (role, word) = match part {
                Part::Text(text) => (message.role, text.clone()),
                // Cohere's plan for the tool calls.
                Part::Reasoning(reasoning) => (message.role, reasoning.text.clone()),
                Part::Image(Image { media: Media::Data { media_type, data }, .. }) => {
                    (message.role, format!("{media_type} {data}"))
                }
                Part::ToolCall(call) => {
                    names.push(call.id.clone());
                    let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
                    (message.role, format!("call {} {} {arguments}", names.len(), call.name))
                }
                Part::ToolResult(result) => {
                    let number = names.iter().position(|id| *id == result.call_id).unwrap() + 1;
                    let words = result.parts.iter().map(|part| match part {
                        Part::Text(text) => text.as_str(),
                        other => panic!("{other:?}"),
                    });
                    (Role::Tool, format!("result {number} {}", words.collect::<String>()))
                }
                other => panic!("{other:?}"),
            };
            // Two names for one thing, and both kinds of turn may be cut in one place or another.
            let role = if role == Role::Developer { Role::System } else { role };
            match said.last_mut() {
                Some((last, words)) if *last == role => words.push(word),
                _ => said.push((role, vec![word])),
            }
        }
    }
    let tools = request.tools.iter().map(|tool| (tool.name.clone(), tool.parameters.clone().unwrap()));
    Asked {
        said,
        tools: tools.collect(),
        max_output_tokens: request.max_output_tokens,
        temperature: request.temperature,
        top_p: request.top_p,
        stop: request.stop.clone(),
    }
}

fn asked_everywhere(stop: &[&str]) -> Asked {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let parameters = json!({
        "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"]
    });
    Asked {
        said: vec![
            (Role::System, words(&["Be brief."])),
            (Role::User, words(&["What is this?", "image/png aGk="])),
            (
                Role::Assistant,
                words(&[
                    "Let me see.",
                    r#"call 1 weather {"city":"Oslo"}"#,
                    r#"call 2 weather {"city":"Bern"}"#,
                ]),
            ),
            (Role::Tool, words(&["result 1 cold", "result 2 warm"])),
            (Role::User, words(&["And now?"])),
        ],
        tools: vec![("weather".to_owned(), parameters)],
        max_output_tokens: Some(500),
        temperature: Some(0.5),
        top_p: None,
        stop: words(stop),
    }
}
