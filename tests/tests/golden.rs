//! Golden files: what goes out for a caller's request, and what a provider's answer becomes.
//!
//! `fixtures/requests/<case>.json` is a caller's body. Its model names a provider where the case is about one
//! (`anthropic/claude-opus-5-5`); otherwise it is encoded for every provider below.
//! `fixtures/upstream/<dialect>/<case>` is an answer: `.stream` as raw bytes, `.json` whole,
//! `error-<status>…` with that status. Accept changes with `INSTA_UPDATE=always cargo test`, then read the diff.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::{fs, path::Path};

use http::HeaderMap;
use llm::{
    Error, Target,
    chat::Event,
    dialect::{
        Decoder, Dialect,
        chat_completions::{answer, error, request},
        generate_content::GenerateContent,
        messages::Messages,
    },
    front::{ErrorBody, Head},
    provider,
    relay::{Ending, Relay},
    translate::Translate,
};
use serde_json::{Value, json};

#[test]
fn requests_go_out_as_written_down() {
    insta::glob!("../fixtures", "requests/*.json", |path| {
        let body = fs::read(path).unwrap();
        let case = stem(path);
        for (provider, model) in targets(&body) {
            let text = match encode(&body, provider, &model) {
                Ok(text) => text,
                Err(error) => refusal(&error),
            };
            assert_golden("requests", &format!("{case}.{provider}"), &text);
        }
    });
}

#[test]
fn answers_come_back_as_written_down() {
    insta::glob!("../fixtures", "upstream/*/*", |path| {
        let bytes = fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let dialect = dialect(path);
        let text =
            match (name.strip_prefix("error-").map(|rest| &rest[..3]), name.rsplit_once('.').unwrap().1) {
                (_, "stream") => streamed(dialect, &bytes),
                (Some(status), _) if status.parse::<u16>().is_ok() => {
                    failed(dialect, status.parse().unwrap(), &bytes)
                }
                _ => whole(dialect, &bytes),
            };
        assert_golden(&format!("upstream/{}", folder(path)), name, &text);
    });
}

#[test]
fn every_cut_of_a_stream_gives_the_same_events() {
    insta::glob!("../fixtures", "upstream/*/*.stream", |path| {
        let (dialect, stream) = (dialect(path), fs::read(path).unwrap());
        let uncut = decode(dialect, [&stream[..]]);
        for cut in 0..=stream.len() {
            assert_eq!(decode(dialect, [&stream[..cut], &stream[cut..]]), uncut, "cut at {cut}");
        }
        assert_eq!(decode(dialect, stream.chunks(1)), uncut, "byte by byte");
    });
}

#[test]
fn a_stream_without_its_end_ends_in_an_error() {
    insta::glob!("../fixtures", "upstream/*/*.stream", |path| {
        let (dialect, stream) = (dialect(path), fs::read(path).unwrap());
        let uncut = decode(dialect, [&stream[..]]);
        for end in boundaries(&stream) {
            let events = decode(dialect, [&stream[..end]]);
            // The answer may be over a little before the bytes are: a comment, a `[DONE]`.
            if events == uncut {
                continue;
            }
            let (last, before) = events.split_last().unwrap();
            assert!(matches!(last, Event::Error(_)), "cut at {end}: {last:?}");
            assert!(uncut.starts_with(before), "cut at {end}: {before:?}");
            assert!(
                !before.iter().any(|event| matches!(event, Event::Finish { .. })),
                "cut at {end}: {before:?}"
            );
        }
    });
}

#[test]
fn a_whole_answer_says_what_its_stream_says() {
    let mut pairs = 0;
    insta::glob!("../fixtures", "upstream/messages/*.stream", |path| {
        let Ok(body) = fs::read(path.with_extension("json")) else { return };
        let dialect = dialect(path);
        let stream = decode(dialect, [&fs::read(path).unwrap()[..]]);
        assert_eq!(joined(&dialect.decode(&body).unwrap()), joined(&stream));
        pairs += 1;
    });
    assert!(pairs > 0, "no case is there as both");
}

#[test]
fn an_answer_sent_back_by_a_client_is_claudes_own_again() {
    for case in ["redacted-thinking", "thinking", "tool-use", "tool-use-without-input"] {
        let path = format!("{}/fixtures/upstream/messages/{case}.json", env!("CARGO_MANIFEST_DIR"));
        let said: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let events = Messages.decode(said.to_string().as_bytes()).unwrap();
        let answer: Value = serde_json::from_slice(&answer::whole(&HEAD, &events).unwrap()).unwrap();
        let messages = json!([{ "role": "user", "content": "Hello" }, answer["choices"][0]["message"]]);
        let request =
            request::parse(json!({ "model": "chat", "messages": messages }).to_string().as_bytes()).unwrap();
        let encoded = Messages.encode(&request, &target("anthropic", "claude-sonnet-4-6")).unwrap();
        let sent: Value = serde_json::from_slice(encoded.request.body()).unwrap();
        assert_eq!(sent["messages"][1]["content"], said["content"], "{case}");
    }
}

/// Where a request goes: to the provider it names, or to each.
fn targets(body: &[u8]) -> Vec<(&'static str, String)> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match body["model"].as_str().and_then(provider::split) {
        Some((provider, model)) => vec![(provider.name, model.to_owned())],
        None => {
            vec![("anthropic", "claude-sonnet-4-6".to_owned()), ("gemini", "gemini-2.5-flash".to_owned())]
        }
    }
}

fn encode(body: &[u8], provider: &str, model: &str) -> Result<String, Error> {
    let request = request::parse(body)?;
    let target = target(provider, model);
    let encoded = target.provider.api.dialect().encode(&request, &target)?;
    let http = encoded.request;
    let mut headers: Vec<_> =
        http.headers().iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
    headers.sort();
    let dropped = match encoded.dropped.join(", ") {
        dropped if dropped.is_empty() => String::new(),
        dropped => format!("\ndropped: {dropped}\n"),
    };
    let body = pretty(http.body());
    Ok(format!("{} {}\n{}\n{body}\n{dropped}", http.method(), http.uri(), headers.concat()))
}

fn target<'a>(provider: &str, model: &'a str) -> Target<'a> {
    let provider = provider::find(provider).unwrap();
    Target { provider, model, base_url: provider.base_url, credential: Some("test-key") }
}

fn refusal(error: &Error) -> String {
    let (kind, param) = match error {
        Error::Invalid { param, .. } => ("invalid", param.as_deref()),
        Error::Unsupported { param, .. } => ("unsupported", Some(param.as_str())),
        _ => ("other", None),
    };
    format!("{kind}: {}\n{error}\n", param.unwrap_or("the body"))
}

fn whole(dialect: &dyn Dialect, body: &[u8]) -> String {
    match dialect.decode(body) {
        Ok(events) => {
            let answer = match answer::whole(&HEAD, &events) {
                Ok(answer) => pretty(&answer),
                Err(error) => format!("{error:?}"),
            };
            format!("{}\n{answer}\n", lines(&events))
        }
        Err(error) => failure(&error),
    }
}

fn streamed(dialect: &dyn Dialect, stream: &[u8]) -> String {
    let writer = Box::new(answer::Stream::new(&HEAD, true));
    let mut relay = Translate::new(dialect.decoder(), writer, "call_1");
    let mut out = Vec::new();
    relay.chunk(stream, &mut out);
    relay.end(Ending::Closed, &mut out);
    format!("{}\n{}", lines(&decode(dialect, [stream])), String::from_utf8(out).unwrap())
}

fn failed(dialect: &dyn Dialect, status: u16, body: &[u8]) -> String {
    failure(&dialect.error(status, &HeaderMap::new(), body))
}

fn failure(error: &llm::UpstreamError) -> String {
    let body = error::body(&ErrorBody::upstream(error, None));
    format!("{error:?}\n\n{}\n{}\n", error.class.status(), pretty(&body))
}

fn decode<'a>(dialect: &dyn Dialect, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder: Box<dyn Decoder> = dialect.decoder();
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk, &mut events);
    }
    decoder.finish(&mut events);
    events
}

fn lines(events: &[Event]) -> String {
    events.iter().map(|event| format!("{}\n", line(event))).collect()
}

/// Of counts, only those that are there.
fn line(event: &Event) -> String {
    let line = format!("{event:?}");
    let Some(counts) = line.strip_prefix("Usage(Usage { ").and_then(|rest| rest.strip_suffix(" })")) else {
        return line;
    };
    let says =
        |count: &&str| ![": 0", ": None", ": Standard", ": false"].iter().any(|end| count.ends_with(end));
    let counts: Vec<&str> = counts.split(", ").filter(says).collect();
    format!("Usage({})", counts.join(", "))
}

/// The ends of a stream's events, but the last.
fn boundaries(stream: &[u8]) -> Vec<usize> {
    let ends = |end: &usize| {
        let read = &stream[..*end];
        read.ends_with(b"\n\n") || read.ends_with(b"\r\n\r\n")
    };
    let mut ends: Vec<_> = (1..=stream.len()).filter(ends).collect();
    ends.pop();
    ends
}

/// Events with the pieces of a text put together, and only the last word on usage, at the end.
fn joined(events: &[Event]) -> Vec<Event> {
    let mut joined: Vec<Event> = Vec::new();
    let mut usage = None;
    for event in events {
        match (joined.last_mut(), event) {
            (_, Event::Usage(_)) => usage = Some(event.clone()),
            (Some(Event::Text(before)), Event::Text(text))
            | (Some(Event::Reasoning(before)), Event::Reasoning(text))
            | (Some(Event::ToolArguments { text: before, .. }), Event::ToolArguments { text, .. }) => {
                before.push_str(text);
            }
            _ => joined.push(event.clone()),
        }
    }
    for event in &mut joined {
        // The same JSON may be spelled in two ways.
        if let Event::ToolArguments { text, .. } = event {
            *text = serde_json::from_str::<Value>(text).unwrap().to_string();
        }
    }
    joined.extend(usage);
    joined
}

fn dialect(path: &Path) -> &'static dyn Dialect {
    match folder(path) {
        "generate_content" => &GenerateContent,
        "messages" => &Messages,
        other => panic!("no dialect is called {other}"),
    }
}

fn folder(path: &Path) -> &str {
    path.parent().unwrap().file_name().unwrap().to_str().unwrap()
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

fn assert_golden(folder: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("../snapshots/{folder}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.remove_snapshot_suffix();
    settings.remove_input_file();
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// JSON, indented. The order of keys and the spelling of numbers stay what they are.
fn pretty(json: &[u8]) -> String {
    let json = std::str::from_utf8(json).unwrap();
    let mut out = String::new();
    let mut depth = 0;
    let mut in_text = false;
    let mut escaped = false;
    let mut letters = json.chars().peekable();
    while let Some(letter) = letters.next() {
        let structural = !in_text;
        if letter == '"' && !escaped {
            in_text = !in_text;
        }
        escaped = in_text && letter == '\\' && !escaped;
        let line = |out: &mut String, depth: usize| {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        };
        match letter {
            '{' | '[' if structural => {
                out.push(letter);
                if matches!(letters.peek(), Some('}' | ']')) {
                    out.extend(letters.next());
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' if structural => {
                depth -= 1;
                line(&mut out, depth);
                out.push(letter);
            }
            ',' if structural => {
                out.push(letter);
                line(&mut out, depth);
            }
            ':' if structural => out.push_str(": "),
            letter if structural && letter.is_whitespace() => {}
            letter => out.push(letter),
        }
    }
    out
}

const HEAD: Head<'static> = Head { id: "chatcmpl-1", created: 1_750_000_000, model: "chat" };
