//! What is said in one protocol reads the same in the next: requests, answers, and conversations that go on.
//!
//! Requests and answers are generated, always the same ones. A request is written for each kind of provider and read
//! as that protocol's callers are read: every field is there again, or it was named as dropped, or the request was
//! refused by its name. What each protocol may drop or refuse is [`LOSSES`]; nothing may be lost that is not in it, and
//! nothing may be in it that never is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use llm::{
    Error, ServiceTier, Target, Usage,
    chat::{
        CacheTtl, Citation, Detail, Effort, Event, File, FinishReason, Image, Media, Message, Part, Request,
        ResponseFormat, Role, Tool, ToolCall, ToolChoice, ToolResult,
    },
    dialect::{
        Dialect, chat_completions::ChatCompletions, cohere::Cohere, converse::Converse,
        generate_content::GenerateContent, messages::Messages, responses::Responses,
    },
    front::{Front, Head, Peek},
    provider::{self, Api},
};
use serde_json::{Value, json};

/// A protocol from both sides, with a provider and a model of it that can do most.
struct Protocol {
    name: &'static str,
    front: &'static dyn Front,
    dialect: &'static dyn Dialect,
    path: &'static str,
    target: (&'static str, &'static str),
}

const PROTOCOLS: [Protocol; 6] = [
    Protocol {
        name: "chat_completions",
        front: &ChatCompletions,
        dialect: &ChatCompletions,
        path: "/v1/chat/completions",
        target: ("openrouter", "anthropic/claude-sonnet-4.6"),
    },
    Protocol {
        name: "cohere",
        front: &Cohere,
        dialect: &Cohere,
        path: "/v2/chat",
        target: ("cohere", "command-a-reasoning-08-2025"),
    },
    Protocol {
        name: "converse",
        front: &Converse,
        dialect: &Converse,
        path: "/model/chat/converse",
        target: ("bedrock", "anthropic.claude-sonnet-4-6"),
    },
    Protocol {
        name: "generate_content",
        front: &GenerateContent,
        dialect: &GenerateContent,
        path: "/v1beta/models/chat:generateContent",
        target: ("gemini", "gemini-2.5-pro"),
    },
    Protocol {
        name: "messages",
        front: &Messages,
        dialect: &Messages,
        path: "/v1/messages",
        target: ("anthropic", "claude-sonnet-4-6"),
    },
    Protocol {
        name: "responses",
        front: &Responses,
        dialect: &Responses,
        path: "/v1/responses",
        target: ("openai", "gpt-5.6"),
    },
];

/// What a protocol, or the model asked in it, cannot say: dropped by name, or refused by name.
const LOSSES: [(&str, &[&str], &[&str]); 6] = [
    ("chat_completions", &["cache_control", "citations", "prompt_cache_key", "safety_identifier"], &[]),
    (
        "cohere",
        &[
            "cache_control",
            "include_reasoning",
            "metadata",
            "parallel_tool_calls",
            "prompt_cache_key",
            "safety_identifier",
            "service_tier",
            "strict",
            "user",
            "verbosity",
        ],
        &["logprobs", "messages", "parallel_tool_calls", "response_format"],
    ),
    (
        "converse",
        &[
            "frequency_penalty",
            "image_url",
            "metadata",
            "presence_penalty",
            "prompt_cache_key",
            "reasoning_effort",
            "safety_identifier",
            "seed",
            "temperature",
            "top_k",
            "top_p",
            "user",
            "verbosity",
        ],
        &["logprobs", "messages"],
    ),
    (
        "generate_content",
        &[
            "cache_control",
            "citations",
            "image_url",
            "metadata",
            "parallel_tool_calls",
            "prompt_cache_key",
            "safety_identifier",
            "strict",
            "user",
            "verbosity",
        ],
        &["parallel_tool_calls"],
    ),
    (
        "messages",
        &[
            "frequency_penalty",
            "image_url",
            "metadata",
            "presence_penalty",
            "prompt_cache_key",
            "reasoning_effort",
            "safety_identifier",
            "seed",
            "service_tier",
            "temperature",
            "top_k",
            "top_p",
            "verbosity",
        ],
        &["logprobs"],
    ),
    (
        "responses",
        &["cache_control", "citations", "frequency_penalty", "presence_penalty", "seed", "top_k"],
        &["stop"],
    ),
];

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.roll(times) == 0
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.once_in(3).then(|| value(self))
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len() as u64) as usize].clone()
    }

    fn word(&mut self) -> String {
        self.pick(&["Hello", "né \"quoted\"", "{\"a\": 1}", "line\nbreak", "\u{1f642}", " spaced "])
            .to_owned()
    }
}

fn request(dice: &mut Dice) -> Request {
    let mut tools: Vec<Tool> = Vec::new();
    for at in 0..dice.roll(3) {
        tools.push(Tool {
            name: format!("tool_{at}"),
            description: dice.maybe(Dice::word),
            parameters: Some(json!({ "type": "object", "properties": { "a": { "type": "string" } }, "additionalProperties": false })),
            strict: dice.once_in(4).then_some(true),
            cache: dice.once_in(6).then_some(CacheTtl::Short),
        });
    }
    let tool_choice = match dice.roll(6) {
        _ if tools.is_empty() => None,
        0 => Some(ToolChoice::Auto),
        1 => Some(ToolChoice::Required),
        2 => Some(ToolChoice::Function("tool_0".to_owned())),
        3 => Some(ToolChoice::None),
        _ => None,
    };
    let thinks = dice.once_in(3);
    let mut messages = messages(dice);
    // Claude takes four marks.
    let mut marks = tools.iter().filter(|tool| tool.cache.is_some()).count();
    for message in &mut messages {
        message.parts.retain(|part| {
            marks += usize::from(matches!(part, Part::CachePoint(_)));
            marks <= 4 || !matches!(part, Part::CachePoint(_))
        });
    }
    Request {
        model: "chat".to_owned(),
        messages,
        parallel_tool_calls: (!tools.is_empty() && dice.once_in(4)).then_some(false),
        response_format: match dice.roll(8) {
            0 => ResponseFormat::JsonObject,
            1 | 2 => ResponseFormat::JsonSchema {
                name: "answer".to_owned(),
                description: None,
                schema: json!({ "type": "object", "properties": {}, "additionalProperties": false }),
                strict: Some(true),
            },
            _ => ResponseFormat::Text,
        },
        tools,
        tool_choice,
        max_output_tokens: Some(50_000),
        temperature: dice.maybe(|dice| dice.roll(10) as f64 / 10.0),
        top_p: dice.maybe(|dice| (dice.roll(8) + 1) as f64 / 10.0),
        frequency_penalty: dice.maybe(|_| 0.5),
        presence_penalty: dice.maybe(|_| 0.25),
        seed: dice.maybe(|dice| dice.roll(1_000) as i64),
        stop: if dice.once_in(3) { vec!["END".to_owned(), "\nUser:".to_owned()] } else { Vec::new() },
        reasoning_effort: thinks.then(|| dice.pick(&[Effort::Low, Effort::Medium, Effort::High])),
        reasoning_budget: None,
        thoughts: thinks.then(|| dice.once_in(2)),
        top_k: dice.maybe(|dice| dice.roll(100) + 1),
        logprobs: dice.once_in(8).then(|| dice.roll(4)),
        stream: dice.once_in(2),
        include_usage: true,
        user: dice.maybe(|_| "u1".to_owned()),
        safety_identifier: dice.once_in(4).then(|| "u2".to_owned()),
        service_tier: dice
            .maybe(|dice| dice.pick(&[ServiceTier::Flex, ServiceTier::Priority, ServiceTier::Standard])),
        labels: if dice.once_in(4) {
            vec![("team".to_owned(), dice.pick(&["a-1", "A: 1", "\u{e9}"]).to_owned())]
        } else {
            Vec::new()
        },
        openais: if dice.once_in(4) {
            vec![("prompt_cache_key", json!("k")), ("verbosity", json!("low"))]
        } else {
            Vec::new()
        },
        extra: Vec::new(),
    }
}

fn messages(dice: &mut Dice) -> Vec<Message> {
    let message = |role, parts| Message { role, parts };
    let mut messages = Vec::new();
    if dice.once_in(2) {
        let mut parts = vec![Part::Text(dice.word())];
        parts.extend(dice.once_in(3).then_some(Part::CachePoint(CacheTtl::Short)));
        messages.push(message(Role::System, parts));
    }
    for turn in 0..=dice.roll(3) {
        messages.push(message(Role::User, asked(dice)));
        let calls: Vec<ToolCall> = (0..dice.roll(3))
            .map(|at| ToolCall {
                id: format!("call_{turn}_{at}"),
                name: format!("tool_{at}"),
                arguments: dice
                    .pick(&["{}", r#"{"a":1,"b":[true,null,2.5]}"#, r#"{"z":"né","a":{"b":""}}"#])
                    .to_owned(),
                signature: None,
            })
            .collect();
        let mut parts = Vec::new();
        if calls.is_empty() || dice.once_in(2) {
            parts.push(Part::Text(dice.word()));
        }
        parts.extend(calls.iter().cloned().map(Part::ToolCall));
        messages.push(message(Role::Assistant, parts));
        for call in calls {
            let result = ToolResult {
                call_id: call.id,
                parts: vec![Part::Text(dice.word())],
                is_error: dice.once_in(4),
            };
            messages.push(message(Role::Tool, vec![Part::ToolResult(result)]));
        }
    }
    messages.push(message(Role::User, asked(dice)));
    messages
}

fn asked(dice: &mut Dice) -> Vec<Part> {
    let data = |media_type: &str| Media::Data { media_type: media_type.to_owned(), data: "aGk=".to_owned() };
    let mut parts = vec![Part::Text(dice.word())];
    if dice.once_in(4) {
        let detail = dice.maybe(|dice| dice.pick(&[Detail::High, Detail::Low]));
        parts.push(Part::Image(Image { detail, media: data("image/png") }));
    }
    if dice.once_in(8) {
        parts.push(Part::Image(Media::Url("https://example.com/a.png".to_owned()).into()));
    }
    if dice.once_in(6) {
        let (name, cited) = (Some("report".to_owned()), dice.once_in(2));
        parts.push(Part::File(File { name, cited, media: data("application/pdf") }));
    }
    if dice.once_in(6) {
        // Marks only text: not everything can carry a mark everywhere.
        parts.insert(1, Part::CachePoint(dice.pick(&[CacheTtl::Short, CacheTtl::Hour])));
    }
    parts
}

/// The conversation, as far as every protocol tells it apart: who said what, in which order.
fn told(request: &Request, lost: &BTreeSet<String>) -> Vec<String> {
    let mut told: Vec<(Role, String)> = Vec::new();
    let mut ids: Vec<&str> = Vec::new();
    for message in &request.messages {
        for part in &message.parts {
            let role = if message.role == Role::Developer { Role::System } else { message.role };
            let (role, word) = match part {
                Part::CachePoint(_) if lost.contains("cache_control") => continue,
                Part::CachePoint(ttl) => (role, format!("mark {ttl:?}")),
                Part::File(file) => {
                    let cited = file.cited && !lost.contains("citations");
                    (role, format!("file {cited} {:?}", file.media))
                }
                Part::Image(Image { detail, media }) => {
                    let detail = detail.filter(|_| !lost.contains("image_url"));
                    (role, format!("image {detail:?} {media:?}"))
                }
                Part::Reasoning(thought) => (role, format!("thought {}", thought.text)),
                Part::Refusal(text) | Part::Text(text) => (role, text.clone()),
                Part::ToolCall(call) => {
                    ids.push(&call.id);
                    let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
                    (role, format!("call {} {} {arguments}", ids.len(), call.name))
                }
                Part::ToolResult(result) => {
                    let number = ids.iter().position(|id| *id == result.call_id).unwrap() + 1;
                    let texts: Vec<&str> = result
                        .parts
                        .iter()
                        .map(|part| match part {
                            Part::Text(text) => text.as_str(),
                            other => panic!("{other:?}"),
                        })
                        .collect();
                    let text = texts.concat();
                    // Where there is no word for it, words say it.
                    let (failed, text) = match text.strip_prefix("The tool failed. ") {
                        Some(rest) => (true, rest.trim_start_matches('\n')),
                        None => (result.is_error, text.as_str()),
                    };
                    // What is JSON may be sent as such.
                    let text =
                        serde_json::from_str::<Value>(text).map_or(text.to_owned(), |json| json.to_string());
                    (Role::Tool, format!("result {number} {failed} {text}"))
                }
            };
            told.push((role, word));
        }
    }
    // Instructions may stand apart.
    told.sort_by_key(|(role, _)| *role != Role::System);
    told.into_iter().map(|(role, word)| format!("{role:?}: {word}")).collect()
}

#[test]
fn a_generated_request_reads_the_same_again_or_says_what_it_lost() {
    for (protocol, (name, may_drop, may_refuse)) in PROTOCOLS.iter().zip(LOSSES) {
        assert_eq!(protocol.name, name);
        let mut dice = Dice(7);
        let (mut all_dropped, mut all_refused) = (BTreeSet::new(), BTreeSet::new());
        for round in 0..400 {
            let mut request = request(&mut dice);
            let case = format!("{name} {round}");
            // A tool stands in for it, before the dialect sees it.
            if protocol.dialect.lacks_json() && request.response_format == ResponseFormat::JsonObject {
                request.response_format = ResponseFormat::Text;
            }
            let encoded = loop {
                match protocol.dialect.encode(&request, &target(protocol)) {
                    Ok(encoded) => break encoded,
                    Err(Error::Unsupported { param, .. }) => {
                        let field = param.split(['.', '[']).next().unwrap().to_owned();
                        without(&mut request, &field, &case);
                        all_refused.insert(field);
                    }
                    Err(error) => panic!("{case}: {error} {request:?}"),
                }
            };
            let lost: BTreeSet<String> = encoded.dropped.iter().map(|path| short(path)).collect();
            let body = encoded.request.body();
            let path = encoded.request.uri().path().replace("/api/v1/chat", "/v1/chat");
            let peek = protocol
                .front
                .peek(
                    if protocol.path.contains("chat:") || protocol.path.contains("/converse") {
                        &path
                    } else {
                        protocol.path
                    },
                    body,
                )
                .unwrap();
            let again = protocol.front.parse(&peek, body).unwrap_or_else(|error| panic!("{case}: {error}"));
            compare(&request, &again, &lost, &case, &String::from_utf8_lossy(body));
            all_dropped.extend(lost);
        }
        let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
        assert_eq!(all_dropped, owned(may_drop), "{name} drops");
        assert_eq!(all_refused, owned(may_refuse), "{name} refuses");
    }
}

/// The name a path ends in, or begins with.
fn short(path: &str) -> String {
    let last = path.rsplit('.').next().unwrap();
    match last {
        "strict" | "reasoning_effort" => last.to_owned(),
        "reasoning_budget" => "reasoning".to_owned(),
        _ => path.split(['.', '[']).next().unwrap().to_owned(),
    }
}

/// The request without a field the provider refuses.
fn without(request: &mut Request, field: &str, case: &str) {
    match field {
        "logprobs" => request.logprobs = None,
        "messages" => {
            for message in &mut request.messages {
                message.parts.retain(|part| {
                    !matches!(part, Part::File(_) | Part::Image(Image { media: Media::Url(_), .. }))
                });
            }
        }
        "parallel_tool_calls" => request.parallel_tool_calls = None,
        "response_format" => request.response_format = ResponseFormat::Text,
        "stop" => request.stop.clear(),
        other => panic!("{case}: {other} is refused"),
    }
}

fn compare(request: &Request, again: &Request, lost: &BTreeSet<String>, case: &str, body: &str) {
    let is_lost = |name: &str| lost.contains(name);
    assert_eq!(told(request, lost), told(again, lost), "{case}: {body}");
    macro_rules! same {
        ($($field:ident),*) => {
            $(if !is_lost(stringify!($field)) {
                assert_eq!(request.$field, again.$field, "{case}: {}: {lost:?}: {body}", stringify!($field));
            })*
        };
    }
    same!(
        temperature,
        top_p,
        top_k,
        frequency_penalty,
        presence_penalty,
        seed,
        stop,
        logprobs,
        max_output_tokens
    );
    // Where there is one name for the end user, either stands in it.
    let end_user = |request: &Request| request.user.clone().or(request.safety_identifier.clone());
    if !is_lost("user") {
        assert_eq!(end_user(request), end_user(again), "{case}: {body}");
    }
    let two_names = |request: &Request| {
        (request.user.clone(), request.safety_identifier.clone().filter(|_| request.user.is_some()))
    };
    if !is_lost("user") && !is_lost("safety_identifier") && request.user.is_some() {
        assert_eq!(two_names(request), two_names(again), "{case}: {body}");
    }
    let tier = |request: &Request| request.service_tier.filter(|tier| *tier != ServiceTier::Standard);
    if !is_lost("service_tier") {
        assert_eq!(tier(request), tier(again), "{case}: {body}");
    }
    if !is_lost("metadata") {
        assert_eq!(request.labels, again.labels, "{case}: {body}");
    }
    let openais: Vec<_> = request.openais.iter().filter(|(name, _)| !is_lost(name)).cloned().collect();
    assert_eq!(openais, again.openais, "{case}: {body}");
    assert_eq!(request.stream, again.stream, "{case}");
    // Gemini's forced calls follow their schema anyway.
    let forced = matches!(request.tool_choice, Some(ToolChoice::Function(_) | ToolChoice::Required));
    let lax = is_lost("strict") || (forced && case.starts_with("generate_content"));
    let tools = |request: &Request| -> Vec<Tool> {
        let kept = |tool: &Tool| Tool {
            strict: tool.strict.filter(|strict| *strict && !lax),
            cache: tool.cache.filter(|_| !is_lost("cache_control")),
            ..tool.clone()
        };
        request.tools.iter().map(kept).collect()
    };
    let only = match (&request.tool_choice, &again.tool_choice) {
        // The one tool that must be called is sent alone.
        (Some(ToolChoice::Function(name)), Some(ToolChoice::Required)) => Some(name.clone()),
        _ => None,
    };
    let called = request
        .messages
        .iter()
        .flat_map(|message| &message.parts)
        .any(|part| matches!(part, Part::ToolCall(_)));
    let mut expected = tools(request);
    expected.retain(|tool| only.as_ref().is_none_or(|only| *only == tool.name));
    if request.tool_choice == Some(ToolChoice::None) && again.tools.is_empty() {
        expected.clear();
    }
    // Bedrock wants the tools of the past where there are none.
    if !(expected.is_empty() && called) {
        assert_eq!(expected, tools(again), "{case}: {body}");
        if only.is_none() && !is_lost("tool_choice") && !expected.is_empty() {
            let plain =
                |choice: &Option<ToolChoice>| choice.clone().filter(|choice| *choice != ToolChoice::Auto);
            assert_eq!(plain(&request.tool_choice), plain(&again.tool_choice), "{case}: {body}");
        }
    }
    if !is_lost("parallel_tool_calls")
        && !expected.is_empty()
        && request.tool_choice != Some(ToolChoice::None)
    {
        assert_eq!(request.parallel_tool_calls, again.parallel_tool_calls, "{case}: {body}");
    }
    if request.reasoning_effort.is_some() && !is_lost("reasoning_effort") {
        let effort = |request: &Request| match request.reasoning_budget {
            None => request.reasoning_effort,
            Some(..=1_024) => Some(Effort::Low),
            Some(..=8_192) => Some(Effort::Medium),
            Some(_) => Some(Effort::High),
        };
        assert_eq!(effort(request), effort(again), "{case}: {body}");
    }
    // Not to be shown is what is so unasked in some.
    assert!(
        is_lost("include_reasoning") || again.thoughts.is_none_or(|shown| request.thoughts == Some(shown)),
        "{case}: {body}"
    );
    match (&request.response_format, &again.response_format) {
        (ResponseFormat::JsonSchema { schema, .. }, ResponseFormat::JsonSchema { schema: other, .. }) => {
            assert_eq!(schema, other, "{case}: {body}");
        }
        (one, other) => assert_eq!(one, other, "{case}: {body}"),
    }
}

fn target(protocol: &Protocol) -> Target<'static> {
    let provider = provider::find(protocol.target.0).unwrap();
    Target { provider, model: protocol.target.1, base_url: provider.base_url, credential: Some("test-key") }
}

/// What of an answer a protocol has no words for.
const ANSWER_LOSSES: [(&str, &[&str]); 6] = [
    ("chat_completions", &["hours"]),
    ("cohere", &["kinds", "logprobs", "refusal", "searches", "signatures", "stop text", "writes"]),
    ("converse", &["kinds", "logprobs", "refusal", "searches", "spans"]),
    ("generate_content", &["refusal", "searches", "spans", "stop text", "writes"]),
    ("messages", &["kinds", "logprobs", "refusal", "spans"]),
    ("responses", &["hours", "kinds", "quotes", "searches", "stop text"]),
];

/// An answer: thought, text with its sources, calls, an end.
fn answer(dice: &mut Dice) -> Vec<Event> {
    let mut events = vec![Event::Start { id: Some("a1".to_owned()), model: Some("m1".to_owned()) }];
    for _ in 0..dice.roll(3) {
        if dice.once_in(4) {
            events.push(Event::ReasoningRedacted("ZGF0YQ==".to_owned()));
        } else {
            events.extend([Event::Reasoning("I th".to_owned()), Event::Reasoning(dice.word())]);
            events.push(Event::ReasoningSignature(
                dice.pick(&["c2ln", "openai:rs_1:gAAA", "openrouter:{}"]).to_owned(),
            ));
        }
    }
    if dice.once_in(2) {
        for _ in 0..=dice.roll(3) {
            events.push(Event::Text(dice.word()));
        }
        if dice.once_in(3) {
            events.push(Event::Logprobs(vec![json!({ "token": "a", "bytes": [97], "logprob": -0.5,
                "top_logprobs": [{ "token": "b", "bytes": [98], "logprob": -1.5 }] })]));
        }
        if dice.once_in(3) {
            events.push(Event::Citation(Citation {
                url: Some("https://example.com/a".to_owned()),
                title: Some("A".to_owned()),
                quote: dice.maybe(|_| "words".to_owned()),
                span: Some((0, 2)),
            }));
        }
    }
    let refuses = events.len() > 1 && dice.once_in(6);
    if refuses {
        events.push(Event::Refusal("I won't.".to_owned()));
    }
    let calls = if refuses { 0 } else { dice.roll(3) as u32 };
    for index in 0..calls {
        let (id, name) = (format!("call_{index}"), format!("tool_{index}"));
        events.push(Event::ToolCall { index, id, name, signature: dice.maybe(|_| "Z2Vt".to_owned()) });
        for text in dice.pick(&[&["{}"][..], &[r#"{"a""#, r#":1,"b":""#, r#"é"}"#], &[]]) {
            events.push(Event::ToolArguments { index, text: (*text).to_owned() });
        }
    }
    let (reason, native) = match dice.roll(4) {
        _ if calls > 0 => (FinishReason::ToolCalls, "tool_calls"),
        // Gemini takes a refusal for a filter's.
        _ if refuses => (FinishReason::Length, "length"),
        0 => (FinishReason::Length, "length"),
        1 => {
            events.push(Event::StopText("END".to_owned()));
            (FinishReason::Stop, "stop")
        }
        _ => (FinishReason::Stop, "stop"),
    };
    events.push(Event::Usage(Usage {
        input_tokens: 900,
        cache_read_input_tokens: dice.roll(300),
        cache_write_5m_input_tokens: dice.roll(200),
        cache_write_1h_input_tokens: dice.roll(100),
        image_input_tokens: dice.roll(50),
        output_tokens: 400,
        reasoning_output_tokens: dice.roll(100),
        searches: dice.roll(3),
        ..Usage::default()
    }));
    events.push(Event::Finish { reason, native: native.to_owned() });
    events
}

/// An answer's events, pieces put together and without what this protocol has no words for.
fn said(events: &[Event], losses: &[&str]) -> Vec<String> {
    let lost = |name: &str| losses.contains(&name);
    let mut text = String::new();
    let mut said: Vec<String> = Vec::new();
    let mut refusal = String::new();
    let mut thought = String::new();
    let mut calls: Vec<(String, String)> = Vec::new();
    let mut call_signature = None;
    let mut rest = Vec::new();
    let close = |thought: &mut String, said: &mut Vec<String>, signature: &str| {
        said.push(format!("thought {} signed {signature}", std::mem::take(thought)));
    };
    for event in events {
        match event {
            Event::Citation(citation) => {
                let quote = citation.quote.clone().filter(|_| !lost("quotes"));
                let span = citation.span.filter(|_| !lost("spans"));
                rest.push(format!("source {:?} {:?} {quote:?} {span:?}", citation.url, citation.title));
            }
            Event::Error(error) => panic!("{error}"),
            Event::Finish { reason, .. } => rest.push(format!("end {reason:?}")),
            Event::Logprobs(_) if lost("logprobs") => {}
            Event::Logprobs(tokens) => {
                let token = |token: &Value| format!("{} {}", token["token"], token["logprob"]);
                let tokens =
                    tokens.iter().map(|one| format!("{} or {}", token(one), token(&one["top_logprobs"][0])));
                rest.extend(tokens);
            }
            Event::Reasoning(more) => thought.push_str(more),
            // Callers get them beside Cohere's own fields, which Cohere itself never sends.
            Event::ReasoningRedacted(_) | Event::ReasoningSignature(_) if lost("signatures") => {}
            Event::ReasoningRedacted(data) => said.push(format!("redacted {data}")),
            Event::ReasoningSignature(signature) => match carried(signature) {
                Carried::Call(signature) => call_signature = Some(signature),
                Carried::Redacted(data) => said.push(format!("redacted {data}")),
                Carried::Signature(signature) => close(&mut thought, &mut said, &signature),
            },
            Event::Refusal(more) if lost("refusal") => text.push_str(more),
            Event::Refusal(more) => refusal.push_str(more),
            Event::Start { .. } | Event::Unsaid { .. } => {}
            Event::StopText(_) if lost("stop text") => {}
            Event::StopText(stop) => rest.push(format!("stopped at {stop}")),
            Event::Text(more) => text.push_str(more),
            Event::ToolArguments { index, text } => calls[*index as usize].1.push_str(text),
            Event::ToolCall { id, name, signature, .. } => {
                let signature = signature.clone().or(call_signature.take()).filter(|_| !lost("signatures"));
                calls.push((format!("call {id} {name} {signature:?}"), String::new()));
            }
            Event::Usage(usage) => {
                let mut counts = format!(
                    "{} {} {}",
                    usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens
                );
                if !lost("writes") {
                    let hours = if lost("hours") { 0 } else { usage.cache_write_1h_input_tokens };
                    let writes = usage.cache_write_5m_input_tokens + usage.cache_write_1h_input_tokens;
                    counts = format!("{counts} {writes} {hours}");
                }
                if !lost("searches") {
                    counts = format!("{counts} {}", usage.searches);
                }
                if !lost("kinds") {
                    counts = format!("{counts} {}", usage.image_input_tokens);
                }
                rest.retain(|line| !line.starts_with("usage"));
                rest.push(format!("usage {counts}"));
            }
        }
    }
    if !thought.is_empty() {
        close(&mut thought, &mut said, "");
    }
    for (call, arguments) in calls {
        let arguments = if arguments.trim().is_empty() { "{}" } else { &arguments };
        said.push(format!("{call} {}", serde_json::from_str::<Value>(arguments).unwrap()));
    }
    rest.sort();
    said.extend(rest);
    said.extend([format!("text {text}"), format!("refusal {refusal}")]);
    said
}

/// What a signature stands for that an answer carries in a place of its protocol's own.
enum Carried {
    Call(String),
    Redacted(String),
    Signature(String),
}

fn carried(signature: &str) -> Carried {
    let owned = str::to_owned;
    // Messages and Converse.
    if let Some(call) = signature.strip_prefix("google:call:") {
        return Carried::Call(owned(call));
    }
    // Responses.
    if let Some((_, kept)) = signature.split_once(":hypergate:") {
        let (kind, data) = kept.split_once(':').unwrap();
        return match kind {
            "call" => Carried::Call(owned(data)),
            "redacted" => Carried::Redacted(owned(data)),
            _ => Carried::Signature(owned(data)),
        };
    }
    // Gemini, in base64.
    let data = signature.strip_prefix("google:").and_then(|data| STANDARD.decode(data).ok());
    let data = data.and_then(|data| String::from_utf8(data).ok()).unwrap_or_default();
    if let Some(data) = data.strip_prefix("redacted:") {
        return Carried::Redacted(owned(data));
    }
    Carried::Signature(owned(data.strip_prefix("signed:").unwrap_or(signature)))
}

#[test]
fn a_generated_answer_reads_the_same_again_whole_and_streamed_and_cut_anywhere() {
    for (protocol, (name, losses)) in PROTOCOLS.iter().zip(ANSWER_LOSSES) {
        assert_eq!(protocol.name, name);
        let mut dice = Dice(11);
        let mut unproven: BTreeSet<&str> = losses.iter().copied().collect();
        for round in 0..120 {
            let events = answer(&mut dice);
            let expected = said(&events, losses);
            let case = format!("{name} {round}: {events:?}");
            let whole = protocol.front.whole(&HEAD, &events).unwrap();
            let again = protocol.dialect.decode(&whole).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(said(&again, losses), expected, "{case}: {}", String::from_utf8_lossy(&whole));
            unproven.retain(|loss| {
                let others: Vec<&str> = losses.iter().copied().filter(|other| other != loss).collect();
                said(&again, &others) == said(&events, &others)
            });

            let peek = Peek { stream: true, include_usage: true, choices: 1, ..Peek::default() };
            let mut writer = protocol.front.writer(&HEAD, &peek);
            let mut stream = Vec::new();
            for event in &events {
                writer.events(std::slice::from_ref(event), &mut stream);
            }
            writer.done(&mut stream);
            let decoded = |pieces: &[&[u8]]| {
                let mut decoder = protocol.dialect.decoder();
                let mut events = Vec::new();
                for piece in pieces {
                    decoder.feed(piece, &mut events);
                }
                decoder.finish(&mut events);
                events
            };
            let streamed = decoded(&[&stream]);
            assert_eq!(said(&streamed, losses), expected, "{case}: {}", String::from_utf8_lossy(&stream));
            // All cuts of some, some cuts of all.
            let step = if round == 0 { 1 } else { 499 };
            for cut in (0..=stream.len()).step_by(step) {
                assert_eq!(decoded(&[&stream[..cut], &stream[cut..]]), streamed, "{case}: cut at {cut}");
            }
        }
        assert_eq!(unproven, BTreeSet::new(), "{name} can say these");
    }
}

const HEAD: Head<'static> = Head { id: "call_1", created: 1_750_000_000, model: "chat" };

/// A provider's answer that thought and calls a tool, and what of its thought must come back to it.
struct Loop {
    provider: &'static str,
    model: &'static str,
    dialect: &'static dyn Dialect,
    answer: fn() -> Value,
    comes_back: &'static [&'static str],
}

const LOOPS: [Loop; 10] = [
    Loop {
        provider: "anthropic",
        model: "claude-sonnet-4-6",
        dialect: &Messages,
        answer: || {
            json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [
            { "type": "thinking", "thinking": "Hm", "signature": "U0lH" },
            { "type": "redacted_thinking", "data": "UkVE" },
            { "type": "tool_use", "id": "toolu_1", "name": "weather", "input": { "city": "Oslo" } }],
            "stop_reason": "tool_use", "usage": { "input_tokens": 1, "output_tokens": 1 } })
        },
        comes_back: &[
            r#"{"type":"thinking","thinking":"Hm","signature":"U0lH"},{"type":"redacted_thinking","data":"UkVE"}"#,
        ],
    },
    Loop {
        provider: "bedrock",
        model: "anthropic.claude-sonnet-4-6",
        dialect: &Converse,
        answer: || {
            json!({ "output": { "message": { "role": "assistant", "content": [
            { "reasoningContent": { "reasoningText": { "text": "Hm", "signature": "U0lH" } } },
            { "reasoningContent": { "redactedContent": "UkVE" } },
            { "toolUse": { "toolUseId": "tooluse_1", "name": "weather", "input": { "city": "Oslo" } } }] } },
            "stopReason": "tool_use" })
        },
        comes_back: &[
            r#"{"reasoningContent":{"reasoningText":{"text":"Hm","signature":"U0lH"}}}"#,
            r#"{"redactedContent":"UkVE"}"#,
        ],
    },
    Loop {
        provider: "cohere",
        model: "command-a-reasoning-08-2025",
        dialect: &Cohere,
        answer: || {
            json!({ "id": "a1", "finish_reason": "TOOL_CALL", "message": { "role": "assistant",
            "content": [{ "type": "thinking", "thinking": "Hm" }],
            "tool_calls": [{ "id": "weather_1", "type": "function",
                "function": { "name": "weather", "arguments": "{\"city\":\"Oslo\"}" } }] } })
        },
        comes_back: &[r#"{"type":"thinking","thinking":"Hm"}"#],
    },
    Loop {
        provider: "deepseek",
        model: "deepseek-chat",
        dialect: &ChatCompletions,
        answer: || chat_answer(json!({ "reasoning_content": "Hm" })),
        comes_back: &[r#""reasoning_content":"Hm""#],
    },
    Loop {
        provider: "gemini",
        model: "gemini-3-flash-preview",
        dialect: &GenerateContent,
        answer: || {
            json!({ "candidates": [{ "content": { "role": "model", "parts": [
            { "text": "Hm", "thought": true },
            { "functionCall": { "name": "weather", "args": { "city": "Oslo" } }, "thoughtSignature": "U0lH" }] },
            "finishReason": "STOP" }], "responseId": "r1" })
        },
        comes_back: &[r#""thoughtSignature":"U0lH""#],
    },
    Loop {
        provider: "mistral",
        model: "magistral-medium-latest",
        dialect: &ChatCompletions,
        answer: || {
            chat_answer(json!({ "content": [
            { "type": "thinking", "thinking": [{ "type": "text", "text": "Hm" }] }] }))
        },
        comes_back: &[r#"{"type":"thinking","thinking":[{"type":"text","text":"Hm"}],"closed":true}"#],
    },
    Loop {
        provider: "openai",
        model: "gpt-5",
        dialect: &Responses,
        answer: || {
            json!({ "id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": [
            { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "Hm" }], "encrypted_content": "U0lH" },
            { "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": "{\"city\":\"Oslo\"}" }] })
        },
        comes_back: &[
            r#"{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Hm"}],"encrypted_content":"U0lH"}"#,
        ],
    },
    Loop {
        provider: "openrouter",
        model: "anthropic/claude-sonnet-4.6",
        dialect: &ChatCompletions,
        answer: || {
            chat_answer(json!({ "reasoning": "Hm", "reasoning_details": [
            { "type": "reasoning.text", "text": "Hm", "signature": "U0lH", "format": "anthropic-claude-v1", "index": 0 }] }))
        },
        comes_back: &[r#""text":"Hm","signature":"U0lH","format":"anthropic-claude-v1""#],
    },
    Loop {
        provider: "openrouter",
        model: "openai/gpt-5",
        dialect: &ChatCompletions,
        answer: || {
            chat_answer(json!({ "reasoning": "Hm", "reasoning_details": [
            { "type": "reasoning.summary", "summary": "Hm", "format": "openai-responses-v1", "index": 0 },
            { "type": "reasoning.encrypted", "data": "U0lH", "id": "rs_1", "format": "openai-responses-v1", "index": 0 }] }))
        },
        comes_back: &[
            r#"{"type":"reasoning.summary","summary":"Hm","format":"openai-responses-v1","index":0}"#,
            r#"{"type":"reasoning.encrypted","format":"openai-responses-v1","id":"rs_1","data":"U0lH","index":1}"#,
        ],
    },
    Loop {
        provider: "vllm",
        model: "qwen3",
        dialect: &ChatCompletions,
        answer: || chat_answer(json!({ "reasoning": "Hm" })),
        comes_back: &[r#""reasoning":"Hm""#],
    },
];

fn chat_answer(more: Value) -> Value {
    let mut message = json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": "call_abcd", "type": "function",
        "function": { "name": "weather", "arguments": "{\"city\":\"Oslo\"}" } }] });
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "id": "a1", "object": "chat.completion", "model": "m",
        "choices": [{ "index": 0, "message": message, "finish_reason": "tool_calls" }] })
}

/// The next request of a caller who got this answer, ran the tool, and sends all of it back.
fn next_request(front: &str, answer: &Value) -> Value {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let function = json!({ "name": "weather", "parameters": schema });
    let tools = json!([{ "type": "function", "function": function }]);
    let asks = json!({ "role": "user", "content": "Weather?" });
    match front {
        "chat_completions" | "cohere" => {
            let message = answer.pointer("/choices/0/message").unwrap_or(&answer["message"]);
            let result =
                json!({ "role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "cold" });
            json!({ "model": "chat", "messages": [asks, message, result], "tools": tools })
        }
        "converse" => {
            let message = &answer["output"]["message"];
            let blocks = message["content"].as_array().unwrap();
            let call = blocks.iter().find_map(|block| block.get("toolUse")).unwrap();
            let result =
                json!({ "toolResult": { "toolUseId": call["toolUseId"], "content": [{ "text": "cold" }] } });
            json!({ "messages": [{ "role": "user", "content": [{ "text": "Weather?" }] }, message,
                    { "role": "user", "content": [result] }],
                "toolConfig": { "tools": [{ "toolSpec": { "name": "weather", "inputSchema": { "json": schema } } }] } })
        }
        "generate_content" => {
            let content = &answer["candidates"][0]["content"];
            let parts = content["parts"].as_array().unwrap();
            let call = parts.iter().find_map(|part| part.get("functionCall")).unwrap();
            let result = json!({ "functionResponse": { "id": call["id"], "name": "weather", "response": { "result": "cold" } } });
            json!({ "contents": [{ "role": "user", "parts": [{ "text": "Weather?" }] }, content,
                    { "role": "user", "parts": [result] }], "tools": [{ "functionDeclarations": [function] }] })
        }
        "messages" => {
            let content = &answer["content"];
            let call = content.as_array().unwrap().iter().find(|block| block["type"] == "tool_use").unwrap();
            let result = json!({ "type": "tool_result", "tool_use_id": call["id"], "content": "cold" });
            json!({ "model": "chat", "max_tokens": 9_000, "messages": [asks, { "role": "assistant", "content": content },
                    { "role": "user", "content": [result] }], "tools": [{ "name": "weather", "input_schema": schema }] })
        }
        "responses" => {
            let mut input = vec![asks];
            input.extend(answer["output"].as_array().unwrap().iter().cloned());
            let call = input.iter().find(|item| item["type"] == "function_call").unwrap();
            let result =
                json!({ "type": "function_call_output", "call_id": call["call_id"], "output": "cold" });
            input.push(result);
            json!({ "model": "chat", "input": input, "tools": [{ "type": "function", "name": "weather", "parameters": schema }] })
        }
        other => panic!("{other}"),
    }
}

/// Signed, encrypted and plain thought, and signatures of calls: all that a provider wants back with the results.
#[test]
fn a_tool_loop_with_thought_goes_on_for_every_caller_with_every_provider() {
    let mut cells = 0;
    for Loop { provider: name, model, dialect, answer, comes_back } in LOOPS {
        let provider = provider::find(name).unwrap();
        let target = Target { provider, model, base_url: "https://x.test", credential: None };
        let events = dialect.decode(answer().to_string().as_bytes()).unwrap();
        for protocol in &PROTOCOLS {
            let case = format!("{} with {name}/{model}", protocol.name);
            let told: Value = serde_json::from_slice(&protocol.front.whole(&HEAD, &events).unwrap()).unwrap();
            let body = next_request(protocol.name, &told).to_string();
            let peek = protocol.front.peek(protocol.path, body.as_bytes()).unwrap();
            let request = protocol
                .front
                .parse(&peek, body.as_bytes())
                .unwrap_or_else(|error| panic!("{case}: {error}: {body}"));
            let encoded = dialect.encode(&request, &target).unwrap_or_else(|error| panic!("{case}: {error}"));
            let sent = String::from_utf8_lossy(encoded.request.body()).into_owned();
            for piece in comes_back {
                assert!(sent.contains(piece), "{case}: {piece} not in {sent}\n{body}");
            }
            let lost: Vec<&String> =
                encoded.dropped.iter().filter(|name| name.contains("reasoning")).collect();
            assert_eq!(lost, Vec::<&String>::new(), "{case}: {body}");
            // The result belongs to the call still.
            assert!(sent.contains("cold"), "{case}: {sent}");
            cells += 1;
        }
    }
    assert_eq!(cells, LOOPS.len() * PROTOCOLS.len());
}

/// Ids of calls that some provider or framework really makes, or may.
fn awkward_ids() -> Vec<String> {
    let ids = [
        "call_1",
        "functions.get:0",
        "functions.get_0",
        "functions_get_0",
        "a b",
        "\u{e9}",
        "abcDEF123",
        "toolu_64_YQ",
        "x|y",
    ];
    let mut ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    ids.extend(["long-".repeat(30), "long-".repeat(30) + "2"]);
    ids
}

#[test]
fn ids_of_calls_stay_apart_and_tied_to_their_results_in_the_letters_each_provider_takes() {
    let within = |longest: usize, besides: &'static str| {
        move |id: &str| {
            let fits = |letter: char| letter.is_ascii_alphanumeric() || besides.contains(letter);
            (1..=longest).contains(&id.len()) && id.chars().all(fits)
        }
    };
    let nine = within(9, "");
    let rules: [(&str, &str, &dyn Dialect, Rule<'_>); 7] = [
        ("anthropic", "claude-sonnet-4-6", &Messages, &within(usize::MAX, "_-")),
        ("bedrock", "anthropic.claude-sonnet-4-6", &Converse, &within(64, "_.:-")),
        ("mistral", "mistral-large-latest", &ChatCompletions, &move |id: &str| id.len() == 9 && nine(id)),
        ("openai", "gpt-4.1", &ChatCompletions, &|id: &str| id.chars().count() <= 40),
        ("openai", "gpt-5", &Responses, &|id: &str| id.chars().count() <= 64),
        ("gemini", "gemini-2.5-flash", &GenerateContent, &|_: &str| true),
        ("cohere", "command-a-03-2025", &Cohere, &|id: &str| !id.is_empty()),
    ];
    let call = |id: &String| ToolCall {
        id: id.clone(),
        name: "f".to_owned(),
        arguments: "{}".to_owned(),
        signature: None,
    };
    let ids = awkward_ids();
    let message = |role, parts| Message { role, parts };
    let result = |id: &String| Part::ToolResult(ToolResult { call_id: id.clone(), ..ToolResult::default() });
    let request = Request {
        messages: vec![
            message(Role::User, vec![Part::Text("Hi".to_owned())]),
            message(Role::Assistant, ids.iter().map(|id| Part::ToolCall(call(id))).collect()),
            message(Role::Tool, ids.iter().map(result).collect()),
        ],
        tools: vec![Tool { name: "f".to_owned(), ..Tool::default() }],
        ..Request::default()
    };
    for (name, model, dialect, is_legal) in rules {
        let target = Target {
            provider: provider::find(name).unwrap(),
            model,
            base_url: "https://x.test",
            credential: None,
        };
        let encoded = dialect.encode(&request, &target).unwrap();
        let body: Value = serde_json::from_slice(encoded.request.body()).unwrap();
        let (mut calls, mut results) = (Vec::new(), Vec::new());
        collect_ids(&body, &mut calls, &mut results);
        assert_eq!(calls, results, "{name}: {body}");
        assert_eq!(calls.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{name}: {calls:?}");
        for id in &calls {
            assert!(is_legal(id), "{name}: {id}");
        }
    }
}

/// Whether a provider takes an id.
type Rule<'a> = &'a dyn Fn(&str) -> bool;

/// Ids of calls and of results, wherever a protocol has them.
fn collect_ids(value: &Value, calls: &mut Vec<String>, results: &mut Vec<String>) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match value {
        Value::Array(list) => list.iter().for_each(|item| collect_ids(item, calls, results)),
        Value::Object(map) => {
            let kind = map.get("type").and_then(Value::as_str).unwrap_or_default();
            match (kind, map.get("id"), map.get("call_id")) {
                ("tool_use" | "function", Some(id), _) | ("function_call", _, Some(id)) => {
                    calls.push(text(id))
                }
                ("function_call_output", _, Some(id)) => results.push(text(id)),
                _ => {}
            }
            calls.extend(map.get("toolUse").map(|call| text(&call["toolUseId"])));
            calls.extend(map.get("functionCall").map(|call| text(&call["id"])));
            results.extend(map.get("toolResult").map(|result| text(&result["toolUseId"])));
            results.extend(map.get("functionResponse").map(|result| text(&result["id"])));
            results.extend(map.get("tool_use_id").or(map.get("tool_call_id")).map(text));
            map.values().for_each(|item| collect_ids(item, calls, results));
        }
        _ => {}
    }
}

/// A caller sends a call's id back as it got it, and the provider gets back what it gave.
#[test]
fn ids_of_calls_come_back_as_the_provider_gave_them() {
    for protocol in &PROTOCOLS {
        for id in awkward_ids() {
            let name = "weather".to_owned();
            let events = [
                Event::ToolCall { index: 0, id: id.clone(), name, signature: None },
                Event::Finish { reason: FinishReason::ToolCalls, native: String::new() },
            ];
            let answer: Value =
                serde_json::from_slice(&protocol.front.whole(&HEAD, &events).unwrap()).unwrap();
            let body = next_request(protocol.name, &answer).to_string();
            let peek = protocol.front.peek(protocol.path, body.as_bytes()).unwrap();
            let request = protocol.front.parse(&peek, body.as_bytes()).unwrap();
            let back =
                request.messages.iter().flat_map(|message| &message.parts).find_map(|part| match part {
                    Part::ToolResult(result) => Some(result.call_id.clone()),
                    _ => None,
                });
            assert_eq!(back, Some(id), "{}: {body}", protocol.name);
        }
    }
}

/// Names that one protocol's callers may use and another's provider refuses; some differ in what is refused alone, in
/// what is behind the longest that is taken, or are what another one becomes.
#[test]
fn names_of_tools_are_unique_and_legal_for_every_target_and_the_callers_own_again() {
    let long = "long_".repeat(40);
    let names = [
        "mcp.server/tool",
        "mcp.server:tool",
        "mcp server tool",
        "mcp_server_tool",
        "9lives",
        "-x",
        "fine-name",
        "gr\u{fc}n",
        "gr\u{f6}n",
        "\u{5929}\u{6c14}",
        "\u{5de5}\u{5177}",
        &long,
        &format!("{long}s"),
    ];
    // A model, the longest name, what may be in it besides letters and digits, and whether any of it may come first.
    let targets = [
        ("anthropic/claude-sonnet-4-6", 128, "_-", true),
        ("bedrock/amazon.nova-pro-v1:0", 64, "_-", true),
        ("bedrock/anthropic.claude-sonnet-4-6", 64, "_-", true),
        ("cohere/command-a-03-2025", 64, "_", false),
        ("gemini/gemini-2.5-flash", 128, "_-.:", false),
        ("mistral/mistral-large-latest", 64, "_-", true),
        ("ollama-native/llama3", 64, "_-", true),
        ("openai/gpt-4.1", 64, "_-", true),
        ("openai/gpt-5-pro", 64, "_-", true),
        ("vertex/claude-sonnet-4-6", 128, "_-", true),
        ("vertex/gemini-2.5-flash", 128, "_-.:", false),
    ];
    for (model, longest, besides, any_first) in targets {
        let (provider, name) = provider::split(model).unwrap();
        let target = Target { provider, model: name, base_url: "https://x.test", credential: None };
        let dialect = provider.api_for(Api::Completions, name).dialect();
        let sent_as = |names: &[&str]| {
            let call =
                |name: &str| ToolCall { id: "c".to_owned(), name: name.to_owned(), ..ToolCall::default() };
            let result = ToolResult { call_id: "c".to_owned(), ..ToolResult::default() };
            let message = |role, part| Message { role, parts: vec![part] };
            let request = Request {
                messages: vec![
                    message(Role::User, Part::Text("Hi".to_owned())),
                    // Called before, by its own name.
                    message(Role::Assistant, Part::ToolCall(call(names[0]))),
                    message(Role::Tool, Part::ToolResult(result)),
                ],
                tools: names
                    .iter()
                    .map(|name| Tool { name: (*name).to_owned(), ..Tool::default() })
                    .collect(),
                max_output_tokens: Some(9),
                ..Request::default()
            };
            let mut encoded = llm::dialect::bend::encode(dialect, &request, &target).unwrap();
            let body: Value = serde_json::from_slice(encoded.request.body()).unwrap();
            let mut sent = Vec::new();
            collect_names(&body, &mut sent);
            let mut events: Vec<Event> = (0..)
                .zip(&sent)
                .map(|(index, name)| {
                    let (id, name) = (index.to_string(), name.clone());
                    Event::ToolCall { index, id, name, signature: None }
                })
                .collect();
            encoded.bent.undo(&mut events);
            let back = events.into_iter().filter_map(|event| match event {
                Event::ToolCall { name, .. } => Some(name),
                _ => None,
            });
            (sent, back.collect::<Vec<String>>())
        };
        let (sent, back) = sent_as(&names);
        let made = sent.iter().find(|name| !names.contains(&name.as_str())).unwrap().clone();
        let (again, back_again) = sent_as(&[&names[..], &[made.as_str()]].concat());
        for (sent, back, count) in [(sent, back, names.len()), (again, back_again, names.len() + 1)] {
            for name in &sent {
                let fits = |letter: char| letter.is_ascii_alphanumeric() || besides.contains(letter);
                let begins = |letter: char| any_first || letter.is_ascii_alphabetic() || letter == '_';
                assert!(name.len() <= longest && name.chars().all(fits), "{model}: {name}");
                assert!(name.starts_with(begins), "{model}: {name}");
            }
            // The earlier call has the name of its tool.
            assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), count, "{model}: {sent:?}");
            assert_eq!(sent.len(), count + 1, "{model}: {sent:?}");
            let own: BTreeSet<&str> = names.into_iter().chain([made.as_str()]).collect();
            assert!(back.iter().all(|name| own.contains(name.as_str())), "{model}: {back:?}");
            assert_eq!(back.iter().collect::<BTreeSet<_>>().len(), count, "{model}: {back:?}");
        }
    }
}

/// Names of tools and of calls, wherever a protocol has them.
fn collect_names(value: &Value, names: &mut Vec<String>) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match value {
        Value::Array(list) => list.iter().for_each(|item| collect_names(item, names)),
        Value::Object(map) => {
            let kind = map.get("type").and_then(Value::as_str).unwrap_or_default();
            let is_tool = ["function", "toolSpec", "toolUse", "functionCall"];
            for name in is_tool.iter().filter_map(|kind| map.get(*kind)?.get("name")) {
                names.push(text(name));
            }
            let stands_here =
                ["function", "function_call", "tool_use"].contains(&kind) && !map.contains_key("function");
            if stands_here || map.contains_key("input_schema") {
                names.push(text(&map["name"]));
            }
            for tool in map.get("functionDeclarations").and_then(Value::as_array).into_iter().flatten() {
                names.push(text(&tool["name"]));
            }
            map.values().for_each(|item| collect_names(item, names));
        }
        _ => {}
    }
}
