//! What of a request and of an answer gets through each pair of protocols: the rows of docs/matrix.md.
//!
//! A request is written in the caller's protocol, read, written for the provider and read again there, whole and
//! streamed; an answer the other way round. What reads the same at the end was carried, with some model of that
//! protocol at least. What is told otherwise with any model must be in [`OTHERWISE`], with its reason, and what no
//! answer of a provider says, in [`UNSAID`]. Each finding is a line in `target/matrix/pairs.jsonl`, of which
//! `cargo xtask matrix` makes the page.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use llm::{
    Error, ServiceTier, Target,
    chat::{
        CacheTtl, Event, File, FinishReason, Image, Media, Message, Part, Reasoning, Request, ResponseFormat,
        Role, ToolCall, ToolChoice,
    },
    dialect::{Encoded, bend},
    provider,
    translate::Translate,
};
use serde_json::{Value, json};
use wire::{HEAD, PROTOCOLS, PROVIDERS_ONLY, Protocol, decode, peek, pumped, recorded, recorded::Kind};

/// Features by name, with what each says.
type Features = BTreeMap<&'static str, String>;
/// How well a feature came through, by feature, caller, provider, and `asked`, `whole` or `streamed`.
type Findings = BTreeMap<(&'static str, &'static str, &'static str, &'static str), Found>;

/// From worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// It reads otherwise at the other end.
    Otherwise,
    /// Refused, before anybody is asked; perhaps for something else that was asked for.
    Refused,
    /// Left out, and named in `x-hypergate-dropped`.
    Dropped,
    /// It reads the same.
    Carried,
}

/// Models by protocol, of which each can what others cannot.
const MODELS: [(&str, &[&str]); 6] = [
    (
        "chat_completions",
        &["openai/gpt-4.1-mini", "openai/gpt-5.6", "openrouter/anthropic/claude-sonnet-4.6"],
    ),
    ("cohere", &["cohere/command-a-vision-07-2025", "cohere/command-a-reasoning-08-2025"]),
    ("converse", &["bedrock/anthropic.claude-sonnet-4-6", "bedrock/amazon.nova-pro-v1:0"]),
    (
        "generate_content",
        &["gemini/gemini-2.5-flash", "gemini/gemini-3-flash-preview", "vertex/gemini-2.5-flash"],
    ),
    ("messages", &["anthropic/claude-sonnet-4-6", "anthropic/claude-haiku-4-5"]),
    ("responses", &["openai/gpt-4.1-mini", "openai/gpt-5.6"]),
];

/// What reads otherwise at the other end, with some model at least: the feature, for whose callers and with whose
/// providers (all where none is named), and how it is told instead.
const OTHERWISE: &[Otherwise] = &[
    (
        "JSON without a schema",
        &[],
        &["converse", "messages"],
        "by a forced tool that takes any object; what it is called with is the answer's text.",
    ),
    (
        "a withheld answer",
        &["cohere"],
        &[],
        "as an error, the only word Cohere's callers have for it. What was said before is not shown.",
    ),
    (
        "citations",
        &["cohere", "responses"],
        &[],
        "with an empty address or title where the source has none, since both are required.",
    ),
    (
        "encrypted reasoning",
        &["cohere", "converse", "generate_content", "responses"],
        &[],
        "in a field that callers send back as it is, and whole again when it reaches its maker.",
    ),
    (
        "images in tool results",
        &[],
        &["chat_completions"],
        "in a user's message behind the results, since a `tool` message is text.",
    ),
    (
        "images in tool results",
        &[],
        &["generate_content"],
        "beside the result for models before Gemini 3, in it for later ones.",
    ),
    (
        "parallel tool calls, sent back",
        &[],
        &["converse"],
        "as text to models that cannot be told to call nothing, where no tool may be called. Claude is told so in \
         Anthropic's words.",
    ),
    (
        "parallel tool calls, sent back",
        &[],
        &["generate_content"],
        "with arguments that are no JSON object, as a model may write them, inside one.",
    ),
    (
        "probabilities of tokens",
        &["cohere", "converse", "messages"],
        &[],
        "not at all: these callers cannot ask for them.",
    ),
    (
        "reasoning budget",
        &[],
        &[],
        "as the effort it comes nearest to where a model knows efforts only, and within the model's bounds.",
    ),
    (
        "reasoning effort",
        &[],
        &[],
        "as the nearest there is: an effort of the model's, or a number of tokens.",
    ),
    (
        "reasoning, sent back",
        &["cohere"],
        &["cohere"],
        "in one plan with the text beside the calls, for models that do not think.",
    ),
    (
        "refusals",
        &["cohere", "converse", "generate_content", "messages"],
        &[],
        "as text, with the reason of the end that stands for a refusal.",
    ),
    (
        "seed",
        &[],
        &["generate_content"],
        "by its last 32 bits where it has more: the same seed stays the same.",
    ),
    (
        "signed reasoning",
        &["cohere", "generate_content", "responses"],
        &[],
        "in a field that callers send back as it is, and whole again when it reaches its maker.",
    ),
    ("signed reasoning, sent back", &[], &["cohere"], "by its text; the signature is another maker's."),
    (
        "system and developer messages",
        &[],
        &["cohere", "generate_content"],
        "as the user's where there is nothing else, since one message must be.",
    ),
    ("text", &[], &["cohere"], "as the plan (`tool_plan`) beside calls, for models that do not think."),
    (
        "text files",
        &[],
        &["chat_completions", "cohere"],
        "as text under the file's name, which every model reads.",
    ),
    (
        "thought signatures of calls",
        &["cohere", "converse", "messages", "responses"],
        &[],
        "in a field or block before the call that callers send back as it is.",
    ),
    (
        "tool calls",
        &["generate_content", "messages"],
        &[],
        "as an error or inside an object where the model wrote arguments that are no JSON.",
    ),
    (
        "tool calls and results",
        &[],
        &["converse"],
        "as text to models that cannot be told to call nothing, where no tool may be called.",
    ),
    (
        "tool calls and results",
        &[],
        &["generate_content"],
        "with arguments that are no JSON object, as a model may write them, inside one.",
    ),
    (
        "usage of reasoning",
        &["cohere", "converse"],
        &[],
        "within the output; the call's record has it apart.",
    ),
    (
        "usage of the prompt cache, written",
        &["cohere", "generate_content"],
        &[],
        "within the input; the call's record has it apart.",
    ),
    (
        "tools",
        &[],
        &["cohere", "converse", "generate_content", "messages", "responses"],
        "with a schema in the words that the provider takes: bounds that it does not keep stand in descriptions.",
    ),
    (
        "which stop text it was",
        &["cohere", "generate_content", "responses"],
        &[],
        "not at all; that it was one is told where there is a word.",
    ),
];

/// A feature, callers, providers, and how it is told instead.
type Otherwise = (&'static str, &'static [&'static str], &'static [&'static str], &'static str);
/// What read otherwise: the feature, the caller, the provider, with one case of it.
type Cases = BTreeMap<(&'static str, &'static str, &'static str), String>;

/// What no answer of a provider says, and why.
const UNSAID: &[(&str, &[&str], &str)] = &[
    (
        "encrypted reasoning",
        &["cohere", "generate_content", "responses"],
        "Only Claude sends some. What Responses encrypts goes with a summary, as its signature does.",
    ),
    ("probabilities of tokens", &["cohere", "converse", "messages"], "They tell none a token."),
    ("the provider's own reason of the end", &["responses"], "Its own are those that every protocol has."),
    (
        "refusals",
        &["cohere", "converse", "generate_content"],
        "They refuse in the text, or end for a filter.",
    ),
    ("signed reasoning", &["cohere"], "It signs nothing."),
    (
        "structured output, made by a forced tool",
        &["responses"],
        "Every model there can be bound to a schema.",
    ),
    (
        "thought signatures of calls",
        &["cohere", "converse", "messages", "responses"],
        "Only Gemini signs calls, also where it speaks Chat Completions.",
    ),
    ("usage of reasoning", &["cohere", "converse"], "They do not count it apart."),
    (
        "usage of the prompt cache, written",
        &["cohere", "generate_content"],
        "They keep prompts by themselves, at no price of its own.",
    ),
    ("which stop text it was", &["cohere", "generate_content", "responses"], "They do not tell."),
];

#[test]
fn every_pair_carries_what_both_can_say() {
    let mut findings = Findings::new();
    let mut otherwise = Cases::new();
    requests(&mut findings, &mut otherwise);
    answers(&mut findings, &mut otherwise);
    structured_by_a_tool(&mut findings);
    for caller in &PROTOCOLS {
        for provider in &PROTOCOLS {
            for (feature, how) in [
                ("system and developer messages", "asked"),
                ("tools", "asked"),
                ("forbidden tools", "asked"),
                ("one forced tool", "asked"),
                ("tool calls and results", "asked"),
                ("structured output", "asked"),
                ("reasoning effort", "asked"),
                ("text", "whole"),
                ("text", "streamed"),
                ("parallel tool calls", "whole"),
                ("parallel tool calls", "streamed"),
                ("usage", "whole"),
                ("usage", "streamed"),
                ("a failure", "whole"),
                ("a failure", "streamed"),
            ] {
                // What its callers cannot ask for.
                let unasked = [("forbidden tools", "converse"), ("one forced tool", "cohere")]
                    .contains(&(feature, caller.name));
                let found = findings.get(&(feature, caller.name, provider.name, how));
                let case = format!("{feature} {how}, {} to {}", caller.name, provider.name);
                assert!(unasked || found == Some(&Found::Carried), "{case}: {found:?}");
            }
        }
    }
    // Nothing is told in other words without a reason, and no reason is idle.
    let reason = |(feature, caller, provider): &(&str, &str, &str)| {
        let among = |list: &[&str], name: &str| list.is_empty() || list.contains(&name);
        let is = |(known, callers, providers, _): &Otherwise| {
            known == feature && among(callers, caller) && among(providers, provider)
        };
        OTHERWISE.iter().position(is)
    };
    let unexplained: Vec<_> = otherwise.iter().filter(|(case, _)| reason(case).is_none()).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    let used: BTreeSet<usize> = otherwise.keys().filter_map(reason).collect();
    let idle: Vec<_> = (0..OTHERWISE.len()).filter(|at| !used.contains(at)).map(|at| OTHERWISE[at]).collect();
    assert!(idle.is_empty(), "{idle:#?}");
    let (unsaid, declared) = (unsaid(&findings), declared_unsaid());
    let differ: Vec<_> = unsaid.symmetric_difference(&declared).collect();
    assert!(differ.is_empty(), "{differ:?}");
    write_down(&findings);
}

/// Which answers say nothing of a feature, whole or streamed.
fn unsaid(findings: &Findings) -> BTreeSet<(&'static str, &'static str, &'static str)> {
    let said: BTreeSet<_> =
        findings.keys().filter(|key| key.3 != "asked").map(|key| (key.0, key.2, key.3)).collect();
    let features: BTreeSet<&'static str> = said.iter().map(|key| key.0).collect();
    let mut unsaid = BTreeSet::new();
    for feature in features {
        for protocol in &PROTOCOLS {
            for how in ["streamed", "whole"] {
                if !said.contains(&(feature, protocol.name, how)) {
                    unsaid.insert((feature, protocol.name, how));
                }
            }
        }
    }
    unsaid
}

fn declared_unsaid() -> BTreeSet<(&'static str, &'static str, &'static str)> {
    let one = |(feature, protocols, _): &(&'static str, &'static [&'static str], _)| {
        protocols
            .iter()
            .flat_map(|name| [(*feature, *name, "streamed"), (*feature, *name, "whole")])
            .collect::<Vec<_>>()
    };
    UNSAID.iter().flat_map(one).collect()
}

fn write_down(findings: &Findings) {
    let mut lines: Vec<Value> = findings
        .iter()
        .map(|((feature, caller, provider, how), found)| {
            let found = format!("{found:?}").to_lowercase();
            json!({ "feature": feature, "caller": caller, "provider": provider, "how": how, "found": found })
        })
        .collect();
    for (feature, callers, providers, reason) in OTHERWISE {
        lines.push(
            json!({ "feature": feature, "callers": callers, "providers": providers, "reason": reason }),
        );
    }
    for (feature, protocols, reason) in UNSAID {
        lines.push(json!({ "feature": feature, "unsaid": protocols, "reason": reason }));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/matrix");
    fs::create_dir_all(&folder).unwrap();
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    fs::write(folder.join("pairs.jsonl"), lines.join("\n") + "\n").unwrap();
}

fn note(
    findings: &mut Findings,
    key: (&'static str, &'static str, &'static str, &'static str),
    found: Found,
) {
    // What no caller speaks has no column on the page, but its answers must read the same.
    if PROVIDERS_ONLY.iter().any(|spoken| spoken.name == key.2) {
        return;
    }
    let best = findings.entry(key).or_insert(found);
    *best = found.max(*best);
}

fn targets(protocol: &Protocol) -> impl Iterator<Item = Target<'static>> {
    let models = MODELS.iter().find(|(name, _)| *name == protocol.name).unwrap().1;
    models.iter().map(|model| {
        let (provider, model) = provider::split(model).unwrap();
        Target { provider, model, base_url: "https://x.test", credential: Some("test-key") }
    })
}

/// What callers are known to ask for, in any protocol, and some that no recorded request says.
fn originals() -> Vec<Request> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut originals = Vec::new();
    for file in fs::read_dir(folder.join("requests")).unwrap() {
        let body = fs::read(file.unwrap().path()).unwrap();
        originals.extend(parse(Protocol::named("chat_completions"), &body));
    }
    for protocol in &PROTOCOLS {
        let body = fs::read(folder.join(format!("callers/{}.json", protocol.name))).unwrap();
        originals.extend(parse(protocol, &body));
    }
    let tool = |name: &str, cache| llm::chat::Tool { name: name.to_owned(), cache, ..Default::default() };
    let asks = |parts| vec![Message { role: Role::User, parts }];
    let text = || Part::Text("What does it say?".to_owned());
    let media = Media::Data { media_type: "application/pdf".to_owned(), data: "aGk=".to_owned() };
    let cited = Part::File(File { name: Some("report".to_owned()), cited: true, media });
    originals.push(Request { messages: asks(vec![text(), cited]), ..Request::default() });
    let redacted = Reasoning { redacted: Some("UkVEQUNURUQ=".to_owned()), ..Reasoning::default() };
    let thought = vec![Part::Reasoning(redacted), Part::Text("Four.".to_owned())];
    let turns =
        [asks(vec![text()]), vec![Message { role: Role::Assistant, parts: thought }], asks(vec![text()])];
    originals.push(Request { messages: turns.concat(), ..Request::default() });
    originals.push(Request {
        messages: asks(vec![text()]),
        tools: vec![tool("look", None), tool("find", Some(CacheTtl::Hour))],
        max_output_tokens: Some(9_000),
        ..Request::default()
    });
    originals
}

fn requests(findings: &mut Findings, otherwise: &mut Cases) {
    let originals = originals();
    for original in &originals {
        for caller in &PROTOCOLS {
            for writer in targets(caller) {
                // As this caller would write it.
                let Ok(written) = caller.dialect.encode(original, &writer) else { continue };
                let Ok(said) = parse(caller, written.request.body()) else { continue };
                for provider in &PROTOCOLS {
                    for target in targets(provider) {
                        let one =
                            asked_through(&Request { stream: false, ..said.clone() }, provider, &target);
                        let other =
                            asked_through(&Request { stream: true, ..said.clone() }, provider, &target);
                        for (feature, found) in one {
                            let found = found.min(other[feature]);
                            note(findings, (feature, caller.name, provider.name, "asked"), found);
                            if found == Found::Otherwise {
                                otherwise
                                    .entry((feature, caller.name, provider.name))
                                    .or_insert_with(|| format!("{}: {said:?}", target.model));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What of a request reads the same to a provider.
fn asked_through(said: &Request, provider: &Protocol, target: &Target<'_>) -> BTreeMap<&'static str, Found> {
    let sent = provider.dialect.encode(said, target);
    let read = sent.as_ref().ok().map(|sent| parse(provider, sent.request.body()).unwrap());
    let read_features = read.as_ref().map(asked).unwrap_or_default();
    let dropped = |feature: &str, sent: &Encoded| {
        let names = dropped_as(feature);
        sent.dropped.iter().any(|dropped| names.iter().any(|name| dropped.contains(name)))
    };
    let request = said;
    let found = |feature: &'static str, words: &String| match (&sent, &read) {
        (Ok(_), Some(read)) if carries(feature, words, &read_features, request, read) => Found::Carried,
        (Ok(sent), _) if dropped(feature, sent) => Found::Dropped,
        (Ok(_), _) => Found::Otherwise,
        (Err(_), _) => Found::Refused,
    };
    let said = asked(said);
    let rows = said.iter().filter(|(feature, _)| **feature != "calls, sent back");
    rows.map(|(feature, words)| (*feature, found(feature, words))).collect()
}

fn carries(feature: &str, words: &str, read_features: &Features, said: &Request, read: &Request) -> bool {
    let same = read_features.get(feature).is_some_and(|read| read == words);
    let forbids = said.tool_choice == Some(ToolChoice::None);
    same || match feature {
        // Without tools none can be called.
        "forbidden tools" => read.tools.is_empty(),
        // Of one tool that one has to be called.
        "one forced tool" => match (&said.tool_choice, read.tools.as_slice(), &read.tool_choice) {
            (Some(ToolChoice::Function(name)), [only], Some(ToolChoice::Required)) => *name == only.name,
            _ => false,
        },
        // Those that cannot be called need not be told of.
        "tools" => forbids || matches!(said.tool_choice, Some(ToolChoice::Function(_))),
        "one tool call at a time" | "strict tools" => forbids,
        // Whoever is not asked to think does not, or cannot be stopped by another word.
        "reasoning effort" => words == "None" && read.effort().is_none(),
        // Where it may be cut in other places, or stand among more of it.
        "system and developer messages" => {
            told(said, is_instruction).all(|text| tells(read, is_instruction, &text))
        }
        "text" => told(said, is_text).all(|text| tells(read, is_text, &text)),
        "tool calls and results" | "parallel tool calls, sent back" => {
            let results = told(said, is_result).all(|text| tells(read, is_result, &text));
            results && read_features.get("calls, sent back") == asked(said).get("calls, sent back")
        }
        _ => false,
    }
}

fn is_instruction(role: Role, part: &Part) -> bool {
    matches!((role, part), (Role::Developer | Role::System, Part::Text(_)))
}

fn is_text(role: Role, part: &Part) -> bool {
    !is_instruction(role, part) && matches!(part, Part::Text(_) | Part::Refusal(_))
}

fn is_result(_: Role, part: &Part) -> bool {
    matches!(part, Part::ToolResult(_))
}

/// The texts of parts of one kind, without blanks, and JSON in one spelling.
fn told(request: &Request, is: fn(Role, &Part) -> bool) -> impl Iterator<Item = String> {
    let parts =
        request.messages.iter().flat_map(|message| message.parts.iter().map(|part| (message.role, part)));
    let parts = parts.filter(move |(role, part)| is(*role, part)).flat_map(|(_, part)| match part {
        Part::ToolResult(result) => result.parts.as_slice(),
        part => std::slice::from_ref(part),
    });
    parts.filter_map(|part| match part {
        Part::Text(text) | Part::Refusal(text) => {
            let text = serde_json::from_str::<Value>(text).map_or(text.clone(), |json| json.to_string());
            Some(text.split_whitespace().collect())
        }
        _ => None,
    })
}

fn tells(request: &Request, is: fn(Role, &Part) -> bool, text: &str) -> bool {
    told(request, is).collect::<String>().contains(text)
}

/// Under which names a feature is dropped.
fn dropped_as(feature: &str) -> &'static [&'static str] {
    match feature {
        "cited files" => &["citations"],
        "detail of images" => &["detail"],
        "encrypted reasoning, sent back" | "signed reasoning, sent back" | "reasoning, sent back" => {
            &["reasoning_content"]
        }
        "labels" => &["labels", "metadata", "requestMetadata"],
        "length of the text" => &["verbosity"],
        "one tool call at a time" => &["parallel_tool_calls"],
        "penalties" => &["frequency_penalty", "presence_penalty"],
        "prompt cache key" => &["prompt_cache_key"],
        "prompt cache markers" | "prompt cache markers on tools" => &["cache_control"],
        "reasoning budget" | "reasoning effort" => &["reasoning_effort", "reasoning_budget"],
        "seed" => &["seed"],
        "service tier" => &["service_tier"],
        "strict tools" => &["strict"],
        "structured output" => &["schema"],
        "temperature" => &["temperature"],
        "the end user" => &["user"],
        "thought signatures of calls, sent back" => &["extra_content"],
        "top_k" => &["top_k"],
        "top_p" => &["top_p"],
        _ => &[],
    }
}

fn parse(protocol: &Protocol, body: &[u8]) -> Result<Request, Error> {
    protocol.front.parse(&protocol.front.peek(protocol.path, body)?, body)
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
                Part::File(File { media: Media::Url(url), .. }) => say("files by address", Some(url.clone())),
                Part::File(File { media: Media::Data { media_type, data }, cited, .. }) => {
                    let is_text = media_type.starts_with("text/");
                    say(if is_text { "text files" } else { "files" }, Some(format!("{media_type} {data}")));
                    say("cited files", cited.then(|| "cited".to_owned()));
                }
                Part::Image(Image { detail, media }) => {
                    match media {
                        Media::Url(url) => say("images by address", Some(url.clone())),
                        data => say("images", Some(format!("{data:?}"))),
                    }
                    say("detail of images", detail.map(|detail| format!("{detail:?}")));
                }
                Part::Reasoning(thought) if thought.redacted.is_some() => {
                    say("encrypted reasoning, sent back", thought.redacted.clone());
                }
                Part::Reasoning(thought) if thought.signature.is_some() => {
                    say("signed reasoning, sent back", Some(format!("{thought:?}")));
                }
                Part::Reasoning(thought) => say("reasoning, sent back", Some(thought.text.clone())),
                Part::Text(text) if matches!(message.role, Role::System | Role::Developer) => {
                    say("system and developer messages", Some(text.clone()));
                }
                Part::Text(text) | Part::Refusal(text) => say("text", Some(text.clone())),
                Part::ToolCall(ToolCall { name, arguments, signature, .. }) => {
                    let words = format!("{name} {}", compact(arguments));
                    if calls > 1 {
                        say("parallel tool calls, sent back", Some(words.clone()));
                    }
                    say("calls, sent back", Some(words.clone()));
                    say("tool calls and results", Some(words));
                    say("thought signatures of calls, sent back", signature.clone());
                }
                Part::ToolResult(result) => {
                    for part in &result.parts {
                        match part {
                            Part::CachePoint(ttl) => say("prompt cache markers", Some(format!("{ttl:?}"))),
                            Part::Text(text) => say("tool calls and results", Some(text.clone())),
                            other => say("images in tool results", Some(format!("{other:?}"))),
                        }
                    }
                }
            }
        }
    }
    for tool in &request.tools {
        // An object without properties is spelled in two ways.
        let mut schema = tool.parameters.clone().unwrap_or_else(|| json!({ "type": "object" }));
        if schema["properties"].is_null() {
            schema["properties"] = json!({});
        }
        say("tools", Some(format!("{} {:?} {schema}", tool.name, tool.description)));
        say("strict tools", tool.strict.filter(|strict| *strict).map(|_| tool.name.clone()));
        say("prompt cache markers on tools", tool.cache.map(|ttl| format!("{} {ttl:?}", tool.name)));
    }
    match &request.tool_choice {
        Some(ToolChoice::Function(name)) => say("one forced tool", Some(name.clone())),
        Some(ToolChoice::None) if !request.tools.is_empty() => {
            say("forbidden tools", Some("none".to_owned()))
        }
        Some(ToolChoice::Required) => say("some forced tool", Some("required".to_owned())),
        Some(ToolChoice::Auto | ToolChoice::None) | None => {}
    }
    let one_call = request.parallel_tool_calls == Some(false) && !request.tools.is_empty();
    say("one tool call at a time", one_call.then(|| "one".to_owned()));
    match &request.response_format {
        ResponseFormat::JsonObject => say("JSON without a schema", Some("object".to_owned())),
        ResponseFormat::JsonSchema { schema, .. } => {
            say("structured output", Some(schema["properties"].to_string()));
        }
        ResponseFormat::Text => {}
    }
    let number = |value: Option<f64>, default: f64| {
        value.filter(|value| *value != default).map(|value| value.to_string())
    };
    say("a limit of tokens", request.max_output_tokens.map(|limit| limit.to_string()));
    say("temperature", number(request.temperature, 1.0));
    say("top_p", number(request.top_p, 1.0));
    say("top_k", debug(request.top_k.as_ref().map(|it| it as _)));
    say("penalties", number(request.frequency_penalty, 0.0));
    say("penalties", number(request.presence_penalty, 0.0));
    say("seed", debug(request.seed.as_ref().map(|it| it as _)));
    say("stop", Some(request.stop.join("|")));
    say("probabilities of tokens", request.logprobs.map(|others| others.to_string()));
    say("reasoning effort", request.effort().map(|effort| format!("{effort:?}")));
    let budget = request.reasoning_budget.filter(|budget| *budget > 0);
    say("reasoning budget", budget.map(|budget| budget.to_string()));
    say("the end user", request.user.clone().or(request.safety_identifier.clone()));
    let tier = request.service_tier.filter(|tier| *tier != ServiceTier::Standard);
    say("service tier", tier.map(|tier| format!("{tier:?}")));
    say("labels", (!request.labels.is_empty()).then(|| format!("{:?}", request.labels)));
    for (name, value) in &request.openais {
        let feature = if *name == "verbosity" { "length of the text" } else { "prompt cache key" };
        say(feature, Some(value.to_string()));
    }
    features
}

fn answers(findings: &mut Findings, otherwise: &mut Cases) {
    for answer in recorded() {
        let provider = answer.protocol;
        for caller in &PROTOCOLS {
            let (how, told, read, sent) = match &answer.kind {
                Kind::Error(..) => continue,
                Kind::Stream => {
                    let writer = caller.front.writer(&HEAD, &peek());
                    let mut relay = Translate::new(provider.dialect.decoder(), writer, "call_1");
                    let sent = pumped(&mut relay, [&answer.body[..]]);
                    let told = decode(provider.dialect, [&answer.body[..]]);
                    ("streamed", told, decode(caller.dialect, [&sent[..]]), sent)
                }
                Kind::Whole => {
                    let told = provider
                        .dialect
                        .decode(&answer.body)
                        .unwrap_or_else(|error| vec![Event::Error(error)]);
                    let sent = caller.front.whole(&HEAD, &told);
                    let read =
                        sent.as_ref().map_err(Clone::clone).and_then(|body| caller.dialect.decode(body));
                    let read = read.unwrap_or_else(|error| vec![Event::Error(error)]);
                    ("whole", told, read, sent.unwrap_or_default())
                }
            };
            let native = native(&told);
            let (read, mut told) = (said(&read), said(&told));
            // Of an answer that became an error, only why it did.
            if read.contains_key("a failure") && !told.contains_key("a failure") {
                let why =
                    if told.contains_key("a withheld answer") { "a withheld answer" } else { "tool calls" };
                told.retain(|feature, _| *feature == why);
                assert_eq!(told.len(), 1, "{}", answer.path.display());
            }
            if let Some(native) = native.filter(|_| !read.contains_key("a failure")) {
                let key = ("the provider's own reason of the end", caller.name, provider.name, how);
                let sent = String::from_utf8_lossy(&sent).to_ascii_lowercase();
                let is_told = sent.contains(&native.to_ascii_lowercase());
                assert!(is_told, "{} to {}: {native}", answer.path.display(), caller.name);
                note(findings, key, Found::Carried);
            }
            for (feature, words) in told {
                // A refusal may be told behind it.
                let begins = |read: &String| feature == "text" && read.starts_with(&words);
                let carried = read.get(feature).is_some_and(|read| *read == words || begins(read));
                let found = if carried { Found::Carried } else { Found::Otherwise };
                note(findings, (feature, caller.name, provider.name, how), found);
                if !carried {
                    otherwise.entry((feature, caller.name, provider.name)).or_insert_with(|| {
                        format!("{}: {words} became {:?}", answer.case, read.get(feature))
                    });
                }
            }
        }
    }
}

/// The provider's own word for the end, where it is none that each protocol has one for.
fn native(events: &[Event]) -> Option<String> {
    const PLAIN: [&str; 12] = [
        "complete",
        "completed",
        "content_filter",
        "end_turn",
        "function_call",
        "length",
        "max_output_tokens",
        "max_tokens",
        "stop",
        "tool_call",
        "tool_calls",
        "tool_use",
    ];
    events.iter().find_map(|event| match event {
        Event::Finish { native, .. } => {
            let is_plain = native.is_empty() || PLAIN.iter().any(|word| native.eq_ignore_ascii_case(word));
            (!is_plain).then(|| native.clone())
        }
        _ => None,
    })
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
            Event::Logprobs(tokens) => {
                let token = |token: &Value| {
                    format!(
                        "{} {} {}",
                        token["token"],
                        token["logprob"],
                        token["top_logprobs"].as_array().map_or(0, Vec::len)
                    )
                };
                ("probabilities of tokens", tokens.iter().map(token).collect())
            }
            Event::Reasoning(text) => ("reasoning", text.clone()),
            Event::ReasoningRedacted(data) => ("encrypted reasoning", data.clone()),
            Event::ReasoningSignature(signature) => ("signed reasoning", signature.clone()),
            Event::Refusal(text) => ("refusals", text.clone()),
            Event::StopText(text) => ("which stop text it was", text.clone()),
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
        count(
            "usage of the prompt cache, written",
            usage.cache_write_5m_input_tokens + usage.cache_write_1h_input_tokens,
        );
        count("usage of reasoning", usage.reasoning_output_tokens);
    }
    features
}

/// Where a model cannot be bound to a schema a forced tool takes its place, and the answer is text again.
fn structured_by_a_tool(findings: &mut Findings) {
    const MODELS: [(&str, &str, bool); 5] = [
        ("chat_completions", "deepseek/deepseek-chat", false),
        ("cohere", "cohere/command-a-03-2025", true),
        ("converse", "bedrock/amazon.nova-pro-v1:0", false),
        ("generate_content", "gemini/gemini-2.5-flash", true),
        ("messages", "anthropic/claude-3-5-haiku-20241022", false),
    ];
    let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" } }, "required": ["a"],
        "additionalProperties": false });
    for caller in &PROTOCOLS {
        for (provider, model, beside_tools) in MODELS {
            let provider = Protocol::named(provider);
            let (row, model) = provider::split(model).unwrap();
            let target = Target { provider: row, model, base_url: "https://x.test", credential: None };
            let look = llm::chat::Tool { name: "look".to_owned(), ..Default::default() };
            let original = Request {
                messages: vec![Message { role: Role::User, parts: vec![Part::Text("Count.".to_owned())] }],
                tools: if beside_tools && caller.name != "cohere" { vec![look.clone()] } else { Vec::new() },
                response_format: ResponseFormat::JsonSchema {
                    name: "count".to_owned(),
                    description: None,
                    schema: schema.clone(),
                    strict: Some(true),
                },
                max_output_tokens: Some(900),
                ..Request::default()
            };
            let writer = targets(caller).last().unwrap();
            let written = caller.dialect.encode(&original, &writer).unwrap();
            let mut said = parse(caller, written.request.body()).unwrap();
            if beside_tools {
                said.tools = vec![look];
            }
            let encoded = bend::encode(provider.dialect, &said, &target).unwrap();
            let read = parse(provider, encoded.request.body()).unwrap();
            let case = format!("{} to {}", caller.name, provider.name);
            assert_eq!(read.response_format, ResponseFormat::Text, "{case}");
            let tool = read.tools.last().unwrap();
            assert_eq!(tool.parameters.as_ref().unwrap()["properties"], schema["properties"], "{case}");
            assert!(
                matches!(read.tool_choice, Some(ToolChoice::Function(_) | ToolChoice::Required)),
                "{case}"
            );
            // The model calls it.
            let (index, id, name) = (0, "c1".to_owned(), tool.name.clone());
            let events = [
                Event::Start { id: None, model: None },
                Event::ToolCall { index, id, name, signature: None },
                Event::ToolArguments { index, text: r#"{"a":1}"#.to_owned() },
                Event::Finish { reason: FinishReason::ToolCalls, native: "tool_calls".to_owned() },
            ];
            let mut told = provider.dialect.decode(&provider.front.whole(&HEAD, &events).unwrap()).unwrap();
            encoded.bent.clone().undo(&mut told);
            let whole = caller.dialect.decode(&caller.front.whole(&HEAD, &told).unwrap()).unwrap();
            let mut stream = Vec::new();
            let mut writer = provider.front.writer(&HEAD, &peek());
            writer.events(&events, &mut stream);
            writer.done(&mut stream);
            let decoder = encoded.bent.clone().decoder(provider.dialect.decoder());
            let mut relay = Translate::new(decoder, caller.front.writer(&HEAD, &peek()), "call_1");
            let streamed = decode(caller.dialect, [&pumped(&mut relay, stream.chunks(7))[..]]);
            for (how, read) in [("whole", whole), ("streamed", streamed)] {
                let read = said_in_json(&read);
                assert_eq!(read, Some((json!({ "a": 1 }), FinishReason::Stop)), "{case} {how}");
                note(
                    findings,
                    ("structured output, made by a forced tool", caller.name, provider.name, how),
                    Found::Carried,
                );
            }
        }
    }
}

/// The answer's text as JSON, where nothing is called, and how it ended.
fn said_in_json(events: &[Event]) -> Option<(Value, FinishReason)> {
    let features = said(events);
    let calls = features.contains_key("tool calls") || features.contains_key("parallel tool calls");
    let end = events.iter().find_map(|event| match event {
        Event::Finish { reason, .. } => Some(*reason),
        _ => None,
    });
    let text = features.get("text").filter(|_| !calls)?;
    Some((serde_json::from_str(text).ok()?, end?))
}

/// JSON without its blanks; nothing is `{}`.
fn compact(text: &str) -> String {
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |value| value.to_string())
}
