//! Golden files: what goes out for a caller's request, and what a provider's answer becomes.
//!
//! `fixtures/requests/<case>.json` is a caller's body. Its model names a provider where the case is about one
//! (`anthropic/claude-opus-5-5`); otherwise it is encoded for every provider below.
//! `fixtures/upstream/<dialect>/<case>` is an answer: `.stream` as raw bytes, `.json` whole,
//! `error-<status>…` with that status. `fixtures/callers/<protocol>.json` is one rich request in each caller's words,
//! which goes to every provider's protocol; and some answers of each provider go to every caller. Accept changes with `INSTA_UPDATE=always cargo test`, then read the diff.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::{fs, path::Path};

use llm::{
    Error, Target,
    chat::{Event, Request},
    dialect::{
        Dialect,
        chat_completions::{answer, error, request},
        messages::Messages,
    },
    front::{ErrorBody, Head},
    provider::{self, Api},
    translate::Translate,
};
use serde_json::{Value, json};
use wire::{
    PROTOCOLS, Protocol, decode, peek, pumped, recorded,
    recorded::{Kind, Recorded, boundaries},
};

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
    for Recorded { path, protocol, kind, body, .. } in recorded() {
        let dialect = protocol.dialect;
        let text = match kind {
            Kind::Error(status, headers) => failure(&dialect.error(status, &headers, &body)),
            Kind::Stream => streamed(dialect, &body),
            Kind::Whole => whole(dialect, &body),
        };
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_golden(&format!("upstream/{}", protocol.name), name, &text);
    }
}

/// A provider of each protocol, with a model that can what the callers' requests ask for.
const PROVIDERS: [(&str, &str); 7] = [
    ("chat_completions", "openai/gpt-4.1-mini"),
    ("cohere", "cohere/command-a-vision-07-2025"),
    ("converse", "bedrock/anthropic.claude-sonnet-4-6"),
    ("generate_content", "gemini/gemini-2.5-flash"),
    ("messages", "anthropic/claude-sonnet-4-6"),
    ("ollama", "ollama-native/qwen3"),
    ("responses", "openai/gpt-5-pro"),
];

#[test]
fn each_callers_request_goes_to_every_provider_as_written_down() {
    for caller in &PROTOCOLS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/callers");
        let rich = fs::read(folder.join(format!("{}.json", caller.name))).unwrap();
        let mut cases = vec![("a rich request", rich)];
        // What only some say: two results, thought of before, a forced tool.
        cases.extend(written(caller));
        for (to, model) in PROVIDERS {
            let (provider, model) = provider::split(model).unwrap();
            let text: String = cases
                .iter()
                .map(|(case, body)| {
                    let request = caller.front.peek(caller.path, body);
                    let request = request.and_then(|peek| caller.front.parse(&peek, body));
                    let sent = match request.and_then(|request| sent(&request, provider.name, model)) {
                        Ok(text) => text,
                        Err(error) => refusal(&error),
                    };
                    format!("== {case}\n{sent}\n")
                })
                .collect();
            assert_golden("pairs", &format!("{}.to.{to}", caller.name), &text);
        }
    }
}

/// Requests that callers of each protocol can make, written in it.
fn written(caller: &Protocol) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    const CASES: [(&str, &str); 4] = [
        ("calls and their results", "parallel-tool-calls"),
        ("thought, sent back", "reasoning-replay"),
        ("a forced tool", "tool-choice-function"),
        ("structured output", "structured-output-bounds"),
    ];
    CASES.into_iter().filter_map(|(title, case)| {
        let path = format!("{}/fixtures/requests/{case}.json", env!("CARGO_MANIFEST_DIR"));
        let mut body: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        body["model"] = json!("chat");
        let request = request::parse(body.to_string().as_bytes()).unwrap();
        let encoded = caller.dialect.encode(&request, &caller.target()).ok()?;
        Some((title, encoded.request.into_body().to_vec()))
    })
}

/// Of each provider's answers those that say most.
const TELLING: [(&str, &[&str]); 8] = [
    ("chat_completions", &["reasoning-details", "parallel-tool-calls", "logprobs", "url-citations"]),
    ("cohere", &["citations", "parallel-tool-calls", "logprobs"]),
    ("converse", &["reasoning-before-a-tool-call", "parallel-tool-use", "citations"]),
    ("generate_content", &["thoughts", "parallel-tool-calls", "citations-and-logprobs"]),
    ("invoke", &["thinking", "tool-use"]),
    ("messages", &["redacted-thinking", "parallel-tool-use", "citations", "usage-with-cache"]),
    ("ollama", &["thinking", "tool-calls-without-ids", "length"]),
    ("responses", &["reasoning-encrypted-before-a-tool-call", "refusal", "url-citations", "cached-tokens"]),
];

#[test]
fn each_providers_answers_come_to_every_caller_as_written_down() {
    let all = recorded();
    for (from, cases) in TELLING {
        for caller in &PROTOCOLS {
            let mut text = String::new();
            for case in cases {
                let found: Vec<_> =
                    all.iter().filter(|one| one.protocol.name == from && one.case == *case).collect();
                assert!(!found.is_empty(), "{from}/{case}");
                for answer in found {
                    let dialect = answer.protocol.dialect;
                    let (how, told) = match answer.kind {
                        Kind::Stream => {
                            let writer = caller.front.writer(&HEAD, &peek());
                            let mut relay = Translate::new(dialect.decoder(), writer, "call_1");
                            let sent = pumped(&mut relay, [&answer.body[..]]);
                            ("streamed", shown(caller, &sent))
                        }
                        _ => {
                            let events = dialect.decode(&answer.body);
                            let whole = events.and_then(|events| caller.front.whole(&HEAD, &events));
                            let told =
                                whole.map_or_else(|error| failure(&error), |body| pretty(&body) + "\n");
                            ("whole", told)
                        }
                    };
                    text.push_str(&format!("== {case}, {how}\n{told}\n"));
                }
            }
            assert_golden("pairs", &format!("{from}.back-to.{}", caller.name), &text);
        }
    }
}

/// A stream for people to read: Amazon's frames by their names.
fn shown(caller: &Protocol, stream: &[u8]) -> String {
    if caller.name != "converse" {
        return String::from_utf8(stream.to_vec()).unwrap();
    }
    let mut text = String::new();
    let mut splitter = llm::eventstream::Splitter::default();
    splitter.feed(stream, |_, message| {
        let name = message.text(":event-type").or(message.text(":exception-type")).unwrap();
        text.push_str(&format!("{name} {}\n", String::from_utf8_lossy(message.payload)));
    });
    text
}

fn streams() -> impl Iterator<Item = Recorded> {
    recorded().into_iter().filter(|answer| answer.kind == Kind::Stream)
}

#[test]
fn every_cut_of_a_stream_gives_the_same_events() {
    for Recorded { path, protocol, body, .. } in streams() {
        let (dialect, path) = (protocol.dialect, path.display());
        let uncut = decode(dialect, [&body[..]]);
        for cut in 0..=body.len() {
            assert_eq!(decode(dialect, [&body[..cut], &body[cut..]]), uncut, "{path} cut at {cut}");
        }
        assert_eq!(decode(dialect, body.chunks(1)), uncut, "{path} byte by byte");
    }
}

/// Between ends that speak the same, what goes out and what is on record do not depend on where a stream is cut.
#[test]
fn every_cut_of_a_stream_passes_on_the_same_bytes() {
    for Recorded { path, protocol, body, .. } in streams() {
        let Some(caller) = PROTOCOLS.iter().find(|caller| caller.name == protocol.name) else { continue };
        let passed = |chunks: &[&[u8]]| {
            let mut relay = caller.front.forwarder(&peek(), "call_1");
            let sent = pumped(&mut *relay, chunks.iter().copied());
            (sent, relay.summary().clone())
        };
        let uncut = passed(&[&body]);
        for cut in 0..=body.len() {
            assert_eq!(passed(&[&body[..cut], &body[cut..]]), uncut, "{} cut at {cut}", path.display());
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(passed(&bytes), uncut, "{} byte by byte", path.display());
    }
}

#[test]
fn a_stream_without_its_end_ends_in_an_error() {
    for answer in streams() {
        let (dialect, path) = (answer.protocol.dialect, answer.path.display());
        let uncut = decode(dialect, [&answer.body[..]]);
        for end in boundaries(&answer) {
            let events = decode(dialect, [&answer.body[..end]]);
            // The answer may be over a little before the bytes are: a comment, a `[DONE]`, the usage.
            if without_usage(&events) == without_usage(&uncut) {
                continue;
            }
            // Or fail behind its end, where only the usage was still to come.
            if answer.case == "exception-between-end-and-usage" && !failed(&events) {
                continue;
            }
            let (last, before) = events.split_last().unwrap();
            assert!(failed(&events), "{path} cut at {end}: {last:?}");
            assert!(uncut.starts_with(before), "{path} cut at {end}: {before:?}");
            let finished = before.iter().any(|event| matches!(event, Event::Finish { .. }));
            assert!(!finished, "{path} cut at {end}: {before:?}");
        }
    }
}

fn failed(events: &[Event]) -> bool {
    matches!(events.last(), Some(Event::Error(_)))
}

fn without_usage(events: &[Event]) -> Vec<&Event> {
    events.iter().filter(|event| !matches!(event, Event::Usage(_))).collect()
}

#[test]
fn a_whole_answer_says_what_its_stream_says() {
    let mut pairs = 0;
    // In Gemini's folder the same name may stand for two answers.
    for answer in streams().filter(|answer| answer.protocol.name != "generate_content") {
        let Ok(body) = fs::read(answer.path.with_extension("json")) else { continue };
        let dialect = answer.protocol.dialect;
        let stream = decode(dialect, [&answer.body[..]]);
        match dialect.decode(&body) {
            Ok(whole) => assert_eq!(joined(&whole), joined(&stream), "{}", answer.path.display()),
            Err(_) => assert!(failed(&stream), "{}", answer.path.display()),
        }
        pairs += 1;
    }
    assert!(pairs > 30, "few cases are there as both: {pairs}");
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
    sent(&request::parse(body)?, provider, model)
}

fn sent(request: &Request, provider: &str, model: &str) -> Result<String, Error> {
    let target = target(provider, model);
    let encoded = llm::dialect::bend::encode(
        target.provider.api_for(Api::ChatCompletions, model).dialect(),
        request,
        &target,
    )?;
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
    let out = pumped(&mut Translate::new(dialect.decoder(), writer, "call_1"), [stream]);
    format!("{}\n{}", lines(&decode(dialect, [stream])), String::from_utf8(out).unwrap())
}

fn failure(error: &llm::UpstreamError) -> String {
    let body = error::body(&ErrorBody::upstream(error, None));
    format!("{error:?}\n\n{}\n{}\n", error.class.status(), pretty(&body))
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

/// Events with the pieces of a text put together, and only the last word on usage, at the end.
fn joined(events: &[Event]) -> Vec<Event> {
    let mut joined: Vec<Event> = Vec::new();
    let mut usage = None;
    for event in events {
        match (joined.last_mut(), event) {
            (_, Event::Start { .. }) => {}
            (_, Event::Usage(_)) => usage = Some(event.clone()),
            (Some(Event::Text(before)), Event::Text(text))
            | (Some(Event::Reasoning(before)), Event::Reasoning(text))
            | (Some(Event::Refusal(before)), Event::Refusal(text))
            | (Some(Event::ToolArguments { text: before, .. }), Event::ToolArguments { text, .. }) => {
                before.push_str(text);
            }
            _ => joined.push(event.clone()),
        }
    }
    for event in &mut joined {
        // The same JSON may be spelled in two ways.
        if let Event::ToolArguments { text, .. } = event {
            *text = serde_json::from_str::<Value>(text).map_or(text.clone(), |value| value.to_string());
        }
    }
    joined.extend(usage);
    joined
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
