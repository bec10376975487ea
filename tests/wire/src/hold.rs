//! What must hold for any bytes at all. Each function panics where it does not.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use llm::{
    Error, Target, UpstreamError,
    chat::{Event, FinishReason},
    eventstream,
    front::{ErrorBody, Peek},
    multipart::Scanner,
    relay::Summary,
    sse,
    translate::{Translate, untellable},
};
use serde_json::Value;

use crate::{HEAD, PROTOCOLS, PROVIDERS_ONLY, Protocol, Spoken, beside, decode, peek, pumped};

/// The name of a target, and what it looks at.
pub type Look = (&'static str, fn(&[u8]));

/// Every target there is, by name.
pub const TARGETS: &[Look] = &[
    ("answer_chat_completions", |data| answer(&PROTOCOLS[0], data)),
    ("answer_cohere", |data| answer(&PROTOCOLS[1], data)),
    ("answer_converse", |data| answer(&PROTOCOLS[2], data)),
    ("answer_converse_frames", |data| answer(&PROTOCOLS[2], &framed(data))),
    ("answer_generate_content", |data| answer(&PROTOCOLS[3], data)),
    ("answer_invoke", |data| provided(PROVIDERS_ONLY[0], data)),
    ("answer_invoke_frames", |data| provided(PROVIDERS_ONLY[0], &packed(data))),
    ("answer_messages", |data| answer(&PROTOCOLS[4], data)),
    ("answer_ollama", |data| provided(PROVIDERS_ONLY[1], data)),
    ("answer_responses", |data| answer(&PROTOCOLS[5], data)),
    ("batch", beside::batch),
    ("beside_embeddings", beside::embeddings),
    ("beside_images", beside::images),
    ("beside_moderations", beside::moderations),
    ("beside_rerank", beside::rerank),
    ("beside_speech", beside::speech),
    ("count_tokens", beside::count_tokens),
    ("events", beside::events),
    ("eventstream", events_of_amazon),
    ("multipart", form),
    ("realtime", beside::realtime),
    ("request_chat_completions", |data| request(&PROTOCOLS[0], data)),
    ("request_cohere", |data| request(&PROTOCOLS[1], data)),
    ("request_converse", |data| request(&PROTOCOLS[2], data)),
    ("request_generate_content", |data| request(&PROTOCOLS[3], data)),
    ("request_messages", |data| request(&PROTOCOLS[4], data)),
    ("request_responses", |data| request(&PROTOCOLS[5], data)),
    ("sse", events_of_servers),
];

/// Looks at bytes as the target of this name does.
pub fn run(target: &str, data: &[u8]) {
    TARGETS.iter().find(|(name, _)| *name == target).unwrap().1(data);
}

/// Bytes as an answer of a provider: whole, refused and streamed.
pub fn answer(from: &Protocol, data: &[u8]) {
    provided(from.spoken(), data);
    let _ = from.front.summary(data);
    for include_usage in [true, false] {
        let peek = Peek { include_usage, ..peek() };
        let passed = |chunks: &mut dyn Iterator<Item = &[u8]>| -> (Vec<u8>, Summary) {
            let mut relay = from.front.forwarder(&peek, "call_1");
            let sent = pumped(&mut *relay, chunks);
            (sent, relay.summary().clone())
        };
        let uncut = passed(&mut [data].into_iter());
        for mut chunks in cuttings(data) {
            assert_eq!(passed(&mut *chunks), uncut, "it depends on where the stream is cut");
        }
    }
}

/// The same, whether or not callers speak it too.
fn provided(from: Spoken, data: &[u8]) {
    if let Ok(events) = from.dialect.decode(data) {
        sound(from.name, &events);
        assert!(!failed(&events), "a whole answer that failed is an error: {events:?}");
        for to in &PROTOCOLS {
            if let Ok(answer) = to.front.whole(&HEAD, &events) {
                assert!(json(&answer).is_some(), "{}: {}", to.name, String::from_utf8_lossy(&answer));
                let _ = to.dialect.decode(&answer);
            }
        }
    }
    for status in [400, 429, 500] {
        refused(&from.dialect.error(status, &HeaderMap::new(), data));
    }
    streamed(from, data);
}

/// An error of a provider can be told to every caller.
pub(crate) fn refused(error: &UpstreamError) {
    assert!(!error.message.trim().is_empty(), "{error:?}");
    let body = ErrorBody::upstream(error, Some("call_1"));
    for to in &PROTOCOLS {
        let told = to.front.error(body.status, &body);
        assert!(json(&told).is_some(), "{}: {}", to.name, String::from_utf8_lossy(&told));
    }
}

fn streamed(from: Spoken, data: &[u8]) {
    let events = decode(from.dialect, [data]);
    sound(from.name, &events);
    for chunks in cuttings(data) {
        assert_eq!(decode(from.dialect, chunks), events, "it depends on where the stream is cut");
    }
    let filtered =
        events.iter().any(|event| matches!(event, Event::Finish { reason: FinishReason::ContentFilter, .. }));
    let broken = has_broken_arguments(&events);
    for to in &PROTOCOLS {
        let mut relay = Translate::new(from.dialect.decoder(), to.front.writer(&HEAD, &peek()), "call_1");
        let sent = pumped(&mut relay, [data]);
        let told = decode(to.dialect, [&sent[..]]);
        sound(to.name, &told);
        // Cohere has no other word for an answer that was withheld, nor Gemini for broken arguments.
        let has_no_word = match to.name {
            "cohere" => filtered,
            "generate_content" => broken,
            _ => false,
        };
        if !has_no_word {
            let sent = String::from_utf8_lossy(&sent);
            let has_failed = failed(&events) || untellable(&events).is_some();
            assert_eq!(failed(&told), has_failed, "to {}: {events:?}\n{sent}", to.name);
        }
    }
}

/// Whether only one provider speaks it, whose calls all have ids of their own.
fn makes_own_ids(protocol: &str) -> bool {
    !matches!(protocol, "chat_completions" | "generate_content")
}

/// What [`Event`] promises of the events of one answer.
fn sound(from: &str, events: &[Event]) {
    let mut ids = BTreeSet::new();
    let (mut calls, mut ends) = (0, 0);
    for event in events {
        assert_eq!(ends, 0, "after the failure came more: {events:?}");
        match event {
            Event::Error(_) => ends += 1,
            Event::ToolArguments { index, .. } => assert!(*index < calls, "{events:?}"),
            Event::ToolCall { index, id, .. } => {
                assert_eq!(*index, calls, "{events:?}");
                // Those who made these protocols never call two calls the same; those who follow others do.
                let known = !ids.insert(id);
                assert!(!known || makes_own_ids(from), "two calls are called {id}: {events:?}");
                calls += 1;
            }
            _ => {}
        }
    }
    let finished = events.iter().filter(|event| matches!(event, Event::Finish { .. })).count();
    assert!(finished <= 1 && finished + ends >= 1, "an answer ends once: {events:?}");
}

/// Whether a call in it has arguments that are no JSON object.
pub fn has_broken_arguments(events: &[Event]) -> bool {
    let mut calls: Vec<String> = Vec::new();
    for event in events {
        match event {
            Event::ToolArguments { index, text } => calls[*index as usize].push_str(text),
            Event::ToolCall { .. } => calls.push(String::new()),
            _ => {}
        }
    }
    let is_object = |text: &String| json(text.as_bytes()).is_some_and(|arguments| arguments.is_object());
    calls.iter().any(|text| !text.trim().is_empty() && !is_object(text))
}

fn failed(events: &[Event]) -> bool {
    matches!(events.last(), Some(Event::Error(_)))
}

/// Bytes as a request of a caller: peeked at, read, passed on and translated.
pub fn request(from: &Protocol, data: &[u8]) {
    let Ok(peek) = from.front.peek(from.path, data) else { return };
    let target = from.target();
    if let (Ok(forwarded), Some(said)) =
        (from.front.forward(data, &peek, &HeaderMap::new(), &target), json(data))
    {
        let sent = json(forwarded.request.body()).expect("what was JSON is JSON");
        let mut expected = said;
        if let Some(model) = expected.get_mut("model").filter(|_| peek.model_at.is_some()) {
            *model = target.model.into();
        }
        if let Some(wish) = sent.get("stream_options").filter(|_| peek.usage_wish.is_some()) {
            expected["stream_options"] = wish.clone();
        }
        cut(&mut expected, &forwarded.dropped);
        assert_eq!(sent, expected, "only what is named, the model's name and the wish for usage may change");
    }
    let request = match from.front.parse(&peek, data) {
        Ok(request) => request,
        Err(error) => return told(&error),
    };
    for to in &PROTOCOLS {
        match to.dialect.encode(&request, &to.target()) {
            Ok(encoded) => readable(to, encoded.request.body(), &to.target()),
            Err(error) => told(&error),
        }
    }
}

/// Takes out what was named as left out: blocks of messages, items and their ids. A message of blocks that are all named
/// goes whole.
fn cut(body: &mut Value, named: &[String]) {
    for name in named.iter().rev() {
        let steps: Vec<&str> = name.split(['.', '[', ']']).filter(|step| !step.is_empty()).collect();
        let (last, path) = steps.split_last().unwrap();
        let pointer: String = path.iter().flat_map(|step| ["/", step]).collect();
        match body.pointer_mut(&pointer).unwrap_or_else(|| panic!("{name} is not in the request")) {
            Value::Array(list) => drop(list.remove(last.parse().unwrap())),
            Value::Object(object) => drop(object.remove(*last).unwrap()),
            other => panic!("{name} is in {other}"),
        }
        let (list, at) = (body.pointer("/messages"), steps.get(1).and_then(|at| at.parse::<usize>().ok()));
        let is_empty = |at: &usize| list.is_some_and(|list| list[*at]["content"] == Value::Array(Vec::new()));
        if let Some(at) = at.filter(|_| steps[0] == "messages").filter(is_empty) {
            body["messages"].as_array_mut().unwrap().remove(at);
        }
    }
}

/// What goes to a provider is JSON that names its model.
fn readable(to: &Protocol, body: &Bytes, target: &Target<'_>) {
    let text = String::from_utf8_lossy(body);
    assert!(json(body).is_some_and(|body| body.is_object()), "{}: {text}", to.name);
    let peek = to.front.peek(to.path, body).unwrap_or_else(|error| panic!("{}: {error}: {text}", to.name));
    assert!(peek.model_at.is_none() || peek.model == target.model, "{}: {text}", to.name);
}

/// A refusal says something.
pub(crate) fn told(error: &Error) {
    assert!(!error.to_string().trim().is_empty(), "{error:?}");
    let body = ErrorBody {
        message: error.to_string().into(),
        status: StatusCode::BAD_REQUEST,
        param: Some("x"),
        code: None,
        request_id: None,
    };
    for to in &PROTOCOLS {
        assert!(json(&to.front.error(body.status, &body)).is_some(), "{}", to.name);
    }
}

/// Bytes as server-sent events: nothing is lost between them.
pub fn events_of_servers(data: &[u8]) {
    let split = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut splitter = sse::Splitter::default();
        let mut events = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk, |raw| events.push(raw.to_vec()));
        }
        events.push(splitter.held().to_vec());
        events
    };
    let uncut = split(&mut [data].into_iter());
    assert_eq!(uncut.concat(), data);
    for event in &uncut {
        let _ = sse::parse(event);
    }
    for mut chunks in cuttings(data) {
        // Whether a line ends with `\r` or `\r\n` is known only when the next byte has come.
        assert_eq!(split(&mut *chunks), uncut);
    }
}

/// Bytes as Amazon's frames, and as the payload of one.
pub fn events_of_amazon(data: &[u8]) {
    let split = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut splitter = eventstream::Splitter::default();
        let mut frames = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk, |raw, _| frames.push(raw.to_vec()));
        }
        frames.push(splitter.held().to_vec());
        (frames, splitter.broken())
    };
    let uncut = split(&mut [data].into_iter());
    assert_eq!(uncut.0.concat(), data);
    for mut chunks in cuttings(data) {
        assert_eq!(split(&mut *chunks), uncut);
    }
    let mut frame = Vec::new();
    eventstream::write(&[(":event-type", "x")], data, &mut frame);
    let mut splitter = eventstream::Splitter::default();
    splitter.feed(&frame, |raw, message| {
        assert_eq!((raw, message.payload, message.text(":event-type")), (&frame[..], data, Some("x")));
    });
    assert!(splitter.held().is_empty());
}

/// Bytes as a form: every byte of it comes out once and in order, and it says the same however it is cut.
pub fn form(data: &[u8]) {
    let read = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut scanner = Scanner::new(FORM_TYPE, &["model", "stream"]).unwrap();
        let mut passed = Vec::new();
        let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
        for chunk in chunks {
            let fed = scanner.feed(chunk, &mut |part, bytes| {
                passed.extend_from_slice(bytes);
                match (part, parts.last_mut()) {
                    (Some(name), Some((last, content))) if last == name => content.extend_from_slice(bytes),
                    (Some(name), _) => parts.push((name.to_owned(), bytes.to_vec())),
                    (None, Some((last, _))) if last.is_empty() => {}
                    (None, _) => parts.push((String::new(), Vec::new())),
                }
                Ok(())
            });
            // Of several things that are wrong, the first that is seen is told.
            fed.map_err(drop)?;
        }
        scanner.finish().map_err(drop)?;
        assert_eq!(passed, data);
        for field in scanner.fields() {
            assert_eq!(data.get(field.at.clone()), Some(field.value.as_bytes()), "{}", field.name);
        }
        Ok::<_, ()>((parts, scanner.fields().to_vec()))
    };
    let uncut = read(&mut [data].into_iter());
    for mut chunks in cuttings(data) {
        assert_eq!(read(&mut *chunks), uncut, "it depends on where the form is cut");
    }
}

/// What forms are announced as.
const FORM_TYPE: &str = "multipart/form-data; boundary=XyZ";

/// Frames with the right checksums out of lines: a name, a space, a payload. A name with `!` before it is an
/// exception's. A line without a space is raw bytes.
fn framed(data: &[u8]) -> Vec<u8> {
    framed_as(data, |payload| payload.to_vec())
}

/// The same with each payload packed as InvokeModel does.
fn packed(data: &[u8]) -> Vec<u8> {
    framed_as(data, |payload| format!(r#"{{"bytes":"{}"}}"#, STANDARD.encode(payload)).into_bytes())
}

fn framed_as(data: &[u8], pack: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        let at = line.iter().position(|byte| *byte == b' ');
        let Some((name, payload)) = at.map(|at| (&line[..at], &line[at + 1..])) else {
            bytes.extend_from_slice(line);
            continue;
        };
        let name = String::from_utf8_lossy(name);
        let headers = match name.strip_prefix('!') {
            Some(name) => [(":message-type", "exception"), (":exception-type", name)],
            None => [(":message-type", "event"), (":event-type", &*name)],
        };
        let is_exception = headers[0].1 == "exception";
        let payload = if is_exception { payload.to_vec() } else { pack(payload) };
        eventstream::write(&headers, &payload, &mut bytes);
    }
    bytes
}

pub(crate) type Chunks<'a> = Box<dyn Iterator<Item = &'a [u8]> + 'a>;

/// Some ways to cut bytes into chunks, always the same for the same bytes.
pub(crate) fn cuttings(data: &[u8]) -> Vec<Chunks<'_>> {
    let sum = data.iter().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let at = sum % (data.len() + 1);
    let mut cuttings: Vec<Chunks<'_>> =
        vec![Box::new([&data[..at], &[], &data[at..]].into_iter()), Box::new(data.chunks(1 + sum % 13))];
    if data.len() <= 4096 {
        cuttings.push(Box::new(data.chunks(1)));
    }
    cuttings
}

pub(crate) fn json(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}
