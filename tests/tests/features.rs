//! What of a request and of an answer gets through each pair of protocols: the rows of docs/matrix.md.
//!
//! A request is written in the caller's protocol, read, written for the provider and read again there; an answer the
//! other way round. What reads the same at the end was carried. Each finding is a line in `target/matrix/pairs.jsonl`,
//! of which `cargo xtask matrix` makes the page.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::{collections::BTreeMap, fs, path::Path};

use llm::{
    Error,
    chat::{Event, FinishReason, Media, Part, Request, ResponseFormat, Role, ToolChoice},
    dialect::Encoded,
    translate::Translate,
};
use serde_json::{Value, json};
use wire::{HEAD, PROTOCOLS, Protocol, decode, peek, pumped, recorded, recorded::Kind};

/// Features by name, with what each says.
type Features = BTreeMap<&'static str, String>;
/// How well a feature came through, by feature, caller, provider, and `asked`, `whole` or `streamed`.
type Findings = BTreeMap<(&'static str, &'static str, &'static str, &'static str), Found>;

/// From worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// It reads otherwise at the other end.
    Otherwise,
    /// Left out, and named in `x-hypergate-dropped`.
    Dropped,
    /// Refused, before anybody is asked.
    Refused,
    /// It reads the same.
    Carried,
}

#[test]
fn every_pair_carries_what_both_can_say() {
    let mut findings = Findings::new();
    requests(&mut findings);
    answers(&mut findings);
    for caller in &PROTOCOLS {
        for provider in &PROTOCOLS {
            for (feature, how) in [
                ("system and developer messages", "asked"),
                ("tools", "asked"),
                ("tool calls and results", "asked"),
                ("structured output", "asked"),
                ("text", "whole"),
                ("text", "streamed"),
                ("parallel tool calls", "whole"),
                ("parallel tool calls", "streamed"),
                ("usage", "whole"),
                ("usage", "streamed"),
                ("a failure", "whole"),
                ("a failure", "streamed"),
            ] {
                let found = findings.get(&(feature, caller.name, provider.name, how));
                let case = format!("{feature} {how}, {} to {}", caller.name, provider.name);
                assert_eq!(found, Some(&Found::Carried), "{case}");
            }
        }
    }
    let lines = findings.iter().map(|((feature, caller, provider, how), found)| {
        let found = format!("{found:?}").to_lowercase();
        json!({ "feature": feature, "caller": caller, "provider": provider, "how": how, "found": found })
            .to_string()
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/matrix");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("pairs.jsonl"), lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
}

fn note(
    findings: &mut Findings,
    key: (&'static str, &'static str, &'static str, &'static str),
    found: Found,
) {
    let best = findings.entry(key).or_insert(found);
    *best = found.max(*best);
}

fn requests(findings: &mut Findings) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/requests");
    let chat = Protocol::named("chat_completions");
    for file in fs::read_dir(folder).unwrap() {
        let body = fs::read(file.unwrap().path()).unwrap();
        let Ok(original) = parse(chat, &body) else { continue };
        for caller in &PROTOCOLS {
            // As this caller would write it.
            let Ok(written) = encode(caller, &original) else { continue };
            let Ok(said) = parse(caller, written.request.body()) else { continue };
            for provider in &PROTOCOLS {
                let sent = encode(provider, &said);
                let read =
                    sent.as_ref().ok().map(|sent| parse(provider, sent.request.body()).map(|it| asked(&it)));
                for (feature, words) in asked(&said) {
                    let found = match (&sent, &read) {
                        (Err(_), _) => Found::Refused,
                        (_, Some(Ok(read))) if read.get(feature) == Some(&words) => Found::Carried,
                        (Ok(sent), _) if !sent.dropped.is_empty() => Found::Dropped,
                        _ => Found::Otherwise,
                    };
                    note(findings, (feature, caller.name, provider.name, "asked"), found);
                }
            }
        }
    }
}

fn parse(protocol: &Protocol, body: &[u8]) -> Result<Request, Error> {
    protocol.front.parse(&protocol.front.peek(protocol.path, body)?, body)
}

fn encode(protocol: &Protocol, request: &Request) -> Result<Encoded, Error> {
    protocol.dialect.encode(request, &protocol.target())
}

/// What a request asks for.
fn asked(request: &Request) -> Features {
    let mut features = Features::new();
    let mut say = |feature: &'static str, words: Option<String>| {
        if let Some(words) = words.filter(|words| !words.is_empty()) {
            features.entry(feature).or_default().push_str(&words);
        }
    };
    let debug = |value: Option<&dyn std::fmt::Debug>| value.map(|value| format!("{value:?}"));
    for message in &request.messages {
        let calls = message.parts.iter().filter(|part| matches!(part, Part::ToolCall(_))).count();
        for part in &message.parts {
            match part {
                Part::CachePoint(ttl) => say("prompt cache markers", Some(format!("{ttl:?}"))),
                Part::File(file) => say("files", Some(format!("{:?}", file.media))),
                Part::Image(Media::Url(url)) => say("images by address", Some(url.clone())),
                Part::Image(image) => say("images", Some(format!("{image:?}"))),
                Part::Reasoning(thought) if thought.redacted.is_some() => {
                    say("encrypted reasoning, sent back", thought.redacted.clone());
                }
                Part::Reasoning(thought) if thought.signature.is_some() => {
                    say("signed reasoning, sent back", Some(format!("{thought:?}")));
                }
                Part::Text(text) if matches!(message.role, Role::System | Role::Developer) => {
                    say("system and developer messages", Some(text.clone()));
                }
                Part::Text(text) => say("text", Some(text.clone())),
                Part::ToolCall(call) => {
                    let words = format!("{} {}", call.name, compact(&call.arguments));
                    if calls > 1 {
                        say("parallel tool calls, sent back", Some(words.clone()));
                    }
                    say("tool calls and results", Some(words));
                    say("thought signatures of calls, sent back", call.signature.clone());
                }
                Part::ToolResult(result) => {
                    for part in &result.parts {
                        match part {
                            Part::Text(text) => say("tool calls and results", Some(text.clone())),
                            other => say("images in tool results", Some(format!("{other:?}"))),
                        }
                    }
                }
                _ => {}
            }
        }
    }
    for tool in &request.tools {
        say("tools", Some(format!("{} {:?}", tool.name, tool.description)));
        say("strict tools", tool.strict.filter(|strict| *strict).map(|_| tool.name.clone()));
    }
    match &request.tool_choice {
        Some(ToolChoice::Function(name)) => say("one forced tool", Some(name.clone())),
        Some(ToolChoice::None) => say("forbidden tools", Some("none".to_owned())),
        Some(ToolChoice::Required) => say("some forced tool", Some("required".to_owned())),
        Some(ToolChoice::Auto) | None => {}
    }
    say(
        "one tool call at a time",
        request.parallel_tool_calls.filter(|many| !many).map(|_| "one".to_owned()),
    );
    match &request.response_format {
        ResponseFormat::JsonObject => say("JSON without a schema", Some("object".to_owned())),
        ResponseFormat::JsonSchema { schema, .. } => {
            say("structured output", Some(schema["properties"].to_string()));
        }
        ResponseFormat::Text => {}
    }
    let number = |value: Option<&f64>| value.map(ToString::to_string);
    say("a limit of tokens", request.max_output_tokens.map(|limit| limit.to_string()));
    say("temperature", number(request.temperature.as_ref()));
    say("top_p", number(request.top_p.as_ref()));
    say("top_k", debug(request.top_k.as_ref().map(|it| it as _)));
    say("penalties", number(request.frequency_penalty.as_ref()));
    say("penalties", number(request.presence_penalty.as_ref()));
    say("seed", debug(request.seed.as_ref().map(|it| it as _)));
    say("stop", Some(request.stop.join("|")));
    let thinks = request.reasoning_effort.is_some() || request.reasoning_budget.is_some();
    let effort = (request.reasoning_effort, request.reasoning_budget);
    say("reasoning effort", thinks.then(|| format!("{effort:?}")));
    say("the end user", request.user.clone());
    features
}

fn answers(findings: &mut Findings) {
    for answer in recorded() {
        let provider = answer.protocol;
        for caller in &PROTOCOLS {
            let (how, told, read) = match &answer.kind {
                Kind::Error(..) => continue,
                Kind::Stream => {
                    let writer = caller.front.writer(&HEAD, &peek());
                    let mut relay = Translate::new(provider.dialect.decoder(), writer, "call_1");
                    let sent = pumped(&mut relay, [&answer.body[..]]);
                    let told = decode(provider.dialect, [&answer.body[..]]);
                    ("streamed", told, decode(caller.dialect, [&sent[..]]))
                }
                Kind::Whole => {
                    let told = provider
                        .dialect
                        .decode(&answer.body)
                        .unwrap_or_else(|error| vec![Event::Error(error)]);
                    let read = caller.front.whole(&HEAD, &told).and_then(|body| caller.dialect.decode(&body));
                    ("whole", told, read.unwrap_or_else(|error| vec![Event::Error(error)]))
                }
            };
            let read = said(&read);
            for (feature, words) in said(&told) {
                let carried = read.get(feature) == Some(&words);
                let found = if carried { Found::Carried } else { Found::Otherwise };
                note(findings, (feature, caller.name, provider.name, how), found);
            }
        }
    }
}

/// What an answer says.
fn said(events: &[Event]) -> Features {
    let mut features = Features::new();
    if matches!(events.last(), Some(Event::Error(_))) {
        return Features::from([("a failure", "failed".to_owned())]);
    }
    let mut calls: Vec<(String, String)> = Vec::new();
    for event in events {
        let (feature, words) = match event {
            Event::Citation(citation) => ("citations", format!("{:?} {:?}", citation.url, citation.title)),
            Event::Finish { reason: FinishReason::ContentFilter, .. } => {
                ("a withheld answer", "filter".to_owned())
            }
            Event::Finish { reason: FinishReason::Length, .. } => {
                ("an answer cut at its limit", "length".to_owned())
            }
            Event::Reasoning(text) => ("reasoning", text.clone()),
            Event::ReasoningRedacted(data) => ("encrypted reasoning", data.clone()),
            Event::ReasoningSignature(signature) => ("signed reasoning", signature.clone()),
            Event::Refusal(text) => ("refusals", text.clone()),
            Event::Text(text) => ("text", text.clone()),
            Event::ToolArguments { index, text } => {
                calls[*index as usize].1.push_str(text);
                continue;
            }
            Event::ToolCall { name, signature, .. } => {
                calls.push((name.clone(), String::new()));
                let Some(signature) = signature else { continue };
                ("thought signatures of calls", signature.clone())
            }
            _ => continue,
        };
        features.entry(feature).or_default().push_str(&words);
    }
    let calls: Vec<String> =
        calls.into_iter().map(|(name, arguments)| format!("{name} {}", compact(&arguments))).collect();
    match calls.len() {
        0 => {}
        1 => drop(features.insert("tool calls", calls.concat())),
        _ => drop(features.insert("parallel tool calls", calls.concat())),
    }
    let usage = events.iter().rev().find_map(|event| match event {
        Event::Usage(usage) => Some(usage),
        _ => None,
    });
    if let Some(usage) = usage {
        features.insert("usage", format!("{} {}", usage.input_tokens, usage.output_tokens));
        let mut count = |feature, tokens: u64| {
            if tokens > 0 {
                features.insert(feature, tokens.to_string());
            }
        };
        count("usage of the prompt cache", usage.cache_read_input_tokens);
        count("usage of reasoning", usage.reasoning_output_tokens);
    }
    features
}

/// JSON without its blanks; nothing is `{}`.
fn compact(text: &str) -> String {
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |value| value.to_string())
}
