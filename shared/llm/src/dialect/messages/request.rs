//! A unified request, as Messages wants it.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    front::call_id,
    hosted,
    model::{self, Model, Off},
    schema,
};
use crate::{
    Error, Target,
    chat::{self, CacheTtl, Effort, Media, Message, Part, ResponseFormat, Role},
    dialect::{
        Encoded, Serves, arguments, drop_call_signatures, drop_extra, drop_service, is_claudes, turns,
    },
    provider::Hosting,
    usage::ServiceTier,
};

pub(super) fn encode(request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
    let model = Model::named(target.model);
    let mut dropped = Vec::new();
    drop_extra(&request.extra, &mut dropped)?;
    drop_call_signatures(request, &mut dropped);
    let stop_sequences = stop_sequences(request)?;
    let mut conversation = conversation(request, &mut dropped)?;
    let mut tools = tools(request, &mut dropped);
    conversation.limit_cache_points(&mut tools);
    let tool_choice = tool_choice(request, target, &model)?;
    let format = format(request, &mut dropped)?;

    let max_tokens = request.max_output_tokens.unwrap_or(model.max_tokens);
    let forced = matches!(tool_choice, Some(ToolChoice::Any { .. } | ToolChoice::Tool { .. }));
    let lost = model.thinking == model::Thinking::Budget && conversation.lost_its_thought();
    let (thinking, effort) = thinking(request, &model, max_tokens, forced, lost, &mut dropped);
    let thinks = matches!(thinking, Some(Thinking::Adaptive { .. } | Thinking::Enabled { .. }));
    let sampling = model.sampling(request, thinks, &mut dropped);

    if request.logprobs.is_some() {
        let message =
            "Claude gives no probabilities of tokens. Leave `logprobs` out, or choose another model.";
        return Err(Error::unsupported("logprobs", message));
    }
    // The clouds have prices of their own.
    let has_tiers = target.provider.hosting == Hosting::Own;
    let is_standard = request.service_tier == Some(ServiceTier::Standard);
    let service_tier = (is_standard && has_tiers).then_some("standard_only");
    drop_service(request, Serves::default(), &mut dropped);
    let body = Body {
        model: target.model,
        max_tokens,
        system: conversation.system,
        messages: conversation.turns,
        tools,
        tool_choice,
        thinking,
        output_config: (effort.is_some() || format.is_some()).then_some(OutputConfig { effort, format }),
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        stop_sequences,
        metadata: request.end_user().map(|user_id| Metadata { user_id }),
        service_tier,
        stream: request.stream,
    };
    let is_set = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    let unknown = [
        ("frequency_penalty", is_set(request.frequency_penalty)),
        ("presence_penalty", is_set(request.presence_penalty)),
        ("seed", request.seed.is_some()),
    ];
    dropped.extend(unknown.into_iter().filter(|(_, set)| *set).map(|(name, _)| name.to_owned()));
    let body = serde_json::to_vec(&body).expect("strings and numbers into memory cannot fail");
    let encoded = hosted::request(body, request.stream, &HeaderMap::new(), target)?;
    dropped.extend(encoded.dropped);
    Ok(Encoded { dropped, ..encoded })
}

fn stop_sequences(request: &chat::Request) -> Result<&[String], Error> {
    // Left out, the answer would run on past where the caller wants it to end.
    if request.stop.iter().any(|text| text.trim().is_empty()) {
        let message =
            "Claude cannot stop at white space alone. Use a stop sequence with a visible character.";
        return Err(Error::unsupported("stop", message));
    }
    Ok(&request.stop)
}

/// The system prompt and the turns.
#[derive(Default)]
struct Conversation<'a> {
    system: Vec<Block<'a>>,
    turns: Vec<Turn<'a>>,
}

fn conversation<'a>(
    request: &'a chat::Request,
    dropped: &mut Vec<String>,
) -> Result<Conversation<'a>, Error> {
    let mut conversation = Conversation::default();
    for (at, message) in request.messages.iter().enumerate() {
        match message.role {
            Role::Assistant => {
                let blocks = assistant(at, message, dropped)?;
                turns::say(&mut conversation.turns, "assistant", blocks);
            }
            Role::Developer | Role::System => conversation.system.extend(blocks(&message.parts)),
            Role::Tool => conversation.results(message),
            Role::User => turns::say(&mut conversation.turns, "user", blocks(&message.parts)),
        }
    }
    for turn in &mut conversation.turns {
        turn.settle();
    }
    if conversation.turns.is_empty() {
        let message = "Claude needs at least one message that is not a system message and not empty.";
        return Err(Error::invalid("messages", message));
    }
    Ok(conversation)
}

impl<'a> Conversation<'a> {
    /// Adds tool results to the user's turn, before what else is in it.
    fn results(&mut self, message: &'a Message) {
        let results = turns::results(&mut self.turns);
        for part in &message.parts {
            let result = match part {
                Part::CachePoint(ttl) => {
                    mark(results, *ttl);
                    continue;
                }
                Part::ToolResult(result) => result,
                _ => continue,
            };
            let content = blocks(&result.parts);
            let is_error = result.is_error;
            let said = Said::ToolResult { tool_use_id: call_id::outward(&result.call_id), content, is_error };
            results.push(said.into());
        }
    }

    /// Of more cache points than Claude takes the last ones stay: they cover what comes before them, the tools
    /// first of all.
    fn limit_cache_points(&mut self, tools: &mut [Tool<'_>]) {
        let content = self.turns.iter_mut().flat_map(|turn| &mut turn.content);
        let mut points: Vec<_> = tools.iter_mut().map(|tool| &mut tool.cache_control).collect();
        for block in self.system.iter_mut().chain(content) {
            if let Said::ToolResult { content, .. } = &mut block.said {
                points.extend(content.iter_mut().map(|block| &mut block.cache_control));
            }
            points.push(&mut block.cache_control);
        }
        points.retain(|point| point.is_some());
        let surplus = points.len().saturating_sub(MAX_CACHE_POINTS);
        points.into_iter().take(surplus).for_each(|point| *point = None);
    }

    /// Whether a tool loop goes on whose call came without its thought. Models that think to a budget
    /// refuse to think on.
    fn lost_its_thought(&self) -> bool {
        let [.., call, results] = self.turns.as_slice() else { return false };
        results.has_results && !call.content.first().is_some_and(Block::is_thought)
    }
}

fn assistant<'a>(
    at: usize,
    message: &'a Message,
    dropped: &mut Vec<String>,
) -> Result<Vec<Block<'a>>, Error> {
    let mut thoughts = Vec::new();
    let mut blocks = Vec::new();
    let mut calls = 0;
    for part in &message.parts {
        match part {
            Part::Reasoning(reasoning) => {
                // A conversation may have begun elsewhere: Claude refuses a signature that is not its own.
                let own = reasoning.signature.as_ref().filter(|signature| is_claudes(signature));
                if let Some(signature) = own {
                    thoughts.push(Said::Thinking { thinking: &reasoning.text, signature }.into());
                }
                if let Some(data) = &reasoning.redacted {
                    thoughts.push(Said::RedactedThinking { data }.into());
                }
                // Without a signature it is not Claude's, or cannot be shown to be.
                if own.is_none() && reasoning.redacted.is_none() {
                    dropped.push(format!("messages[{at}].reasoning_content"));
                }
            }
            Part::ToolCall(call) => {
                let input = arguments::object(&call.arguments).ok_or_else(|| {
                    let param = format!("messages[{at}].tool_calls[{calls}].function.arguments");
                    let message =
                        format!("`{param}` must be the text of a JSON object, as the model gave it.");
                    Error::invalid(param, message)
                })?;
                blocks.push(Said::ToolUse { id: call_id::outward(&call.id), name: &call.name, input }.into());
                calls += 1;
            }
            Part::CachePoint(ttl) => mark(&mut blocks, *ttl),
            other => blocks.extend(said(other)),
        }
    }
    thoughts.append(&mut blocks);
    Ok(thoughts)
}

/// What anyone may say.
fn blocks(parts: &[Part]) -> Vec<Block<'_>> {
    let mut blocks = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Part::CachePoint(ttl) => mark(&mut blocks, *ttl),
            other => blocks.extend(said(other)),
        }
    }
    blocks
}

/// Text without a visible character is refused by the API, and says nothing.
fn said(part: &Part) -> Option<Block<'_>> {
    let said = match part {
        Part::File(file) => Said::Document {
            source: document(&file.media),
            title: file.name.as_deref(),
            citations: file.cited.then_some(Citations { enabled: true }),
        },
        Part::Image(image) => Said::Image { source: source(&image.media) },
        Part::Refusal(text) | Part::Text(text) if !text.trim().is_empty() => Said::Text { text },
        Part::CachePoint(_)
        | Part::Reasoning(_)
        | Part::Refusal(_)
        | Part::Text(_)
        | Part::ToolCall(_)
        | Part::ToolResult(_) => return None,
    };
    Some(said.into())
}

/// Marks the last block for the prompt cache. Where none has been said there is nothing to keep.
fn mark(blocks: &mut [Block<'_>], ttl: CacheTtl) {
    if let Some(block) = blocks.last_mut() {
        block.cache_control = Some(cache_control(ttl));
    }
}

fn cache_control(ttl: CacheTtl) -> CacheControl {
    CacheControl::Ephemeral { ttl: (ttl == CacheTtl::Hour).then_some("1h") }
}

fn source(image: &Media) -> Source<'_> {
    match image {
        Media::Data { media_type, data } => Source::Base64 { media_type, data },
        Media::Url(url) => Source::Url { url },
    }
}

/// A document that is text is sent as such; base64 is for PDF only.
fn document(media: &Media) -> Source<'_> {
    let text = match media {
        Media::Data { media_type, data } if media_type.starts_with("text/") => STANDARD.decode(data).ok(),
        _ => None,
    };
    match text.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(data) => Source::Text { media_type: "text/plain", data },
        None => source(media),
    }
}

fn tools<'a>(request: &'a chat::Request, dropped: &mut Vec<String>) -> Vec<Tool<'a>> {
    let tool = |(at, tool): (usize, &'a chat::Tool)| {
        let strict = tool.strict == Some(true);
        let input_schema = schema::input_schema(tool.parameters.as_ref());
        let input_schema = if strict {
            Cow::Owned(schema::narrowed(
                input_schema.into_owned(),
                &format!("tools[{at}].function.parameters"),
                dropped,
            ))
        } else {
            input_schema
        };
        Tool {
            name: &tool.name,
            description: tool.description.as_deref(),
            input_schema,
            strict,
            cache_control: tool.cache.map(cache_control),
        }
    };
    request.tools.iter().enumerate().map(tool).collect()
}

fn tool_choice<'a>(
    request: &'a chat::Request,
    target: &Target<'_>,
    model: &Model,
) -> Result<Option<ToolChoice<'a>>, Error> {
    let disable_parallel_tool_use = request.parallel_tool_calls == Some(false);
    let choice = match &request.tool_choice {
        None | Some(chat::ToolChoice::Auto) if !disable_parallel_tool_use || request.tools.is_empty() => None,
        None | Some(chat::ToolChoice::Auto) => Some(ToolChoice::Auto { disable_parallel_tool_use }),
        Some(chat::ToolChoice::None) => (!request.tools.is_empty()).then_some(ToolChoice::None),
        Some(_) if !model.forced_tools => {
            return Err(model::cannot_force_tools(target.model));
        }
        Some(chat::ToolChoice::Required) => Some(ToolChoice::Any { disable_parallel_tool_use }),
        Some(chat::ToolChoice::Function(name)) => Some(ToolChoice::Tool { name, disable_parallel_tool_use }),
    };
    Ok(choice)
}

/// The form of the answer.
fn format(request: &chat::Request, dropped: &mut Vec<String>) -> Result<Option<Format>, Error> {
    match &request.response_format {
        ResponseFormat::JsonSchema { description, schema, .. } => {
            let mut schema = schema::narrowed(schema.clone(), "response_format.json_schema.schema", dropped);
            if let (Some(text), Value::Object(fields)) = (description, &mut schema) {
                describe_once(fields, text);
            }
            Ok(Some(Format::JsonSchema { schema }))
        }
        // A tool stands in for JSON without a schema.
        ResponseFormat::JsonObject | ResponseFormat::Text => Ok(None),
    }
}

fn describe_once(schema: &mut Map<String, Value>, text: &str) {
    if !schema.contains_key("description") {
        schema::describe(schema, text);
    }
}

/// How much to think: a budget for older models, an effort for newer ones.
fn thinking(
    request: &chat::Request,
    model: &Model,
    max_tokens: u64,
    forced: bool,
    lost: bool,
    dropped: &mut Vec<String>,
) -> (Option<Thinking>, Option<&'static str>) {
    let off = match model.off {
        Off::BetweenTools => (Some(Thinking::BetweenTools), None),
        Off::Default => (None, None),
        Off::Disabled => (Some(Thinking::Disabled), None),
        Off::Never => (None, Some("low")),
    };
    let effort = match request.effort() {
        Some(Effort::None) => return off,
        // A model that thinks unasked must be stopped before it can be forced to call a tool.
        None if forced && model.off == Off::Disabled => return off,
        None => return (None, None),
        Some(effort) => effort,
    };
    let think = match model.thinking {
        _ if forced || lost => None,
        // The text of thought is left out by newer models where it is not asked for.
        model::Thinking::Adaptive => Some(Thinking::Adaptive {
            display: if request.thoughts == Some(false) { "omitted" } else { "summarized" },
        }),
        model::Thinking::Budget => {
            let wished = request.budget().unwrap_or_default().max(LEAST_BUDGET);
            // The answer needs room too.
            let budget_tokens = wished.min(max_tokens / 4 * 3);
            (budget_tokens >= LEAST_BUDGET).then_some(Thinking::Enabled { budget_tokens })
        }
    };
    let Some(think) = think else {
        dropped.push("reasoning_effort".to_owned());
        return if forced && model.off == Off::Disabled { off } else { (None, None) };
    };
    let effort = match effort {
        _ if model.thinking == model::Thinking::Budget => return (Some(think), None),
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => model.highest_effort,
    };
    (Some(think), Some(effort))
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    stream: bool,
}

type Turn<'a> = turns::Turn<Block<'a>>;

#[derive(Serialize)]
struct Block<'a> {
    #[serde(flatten)]
    said: Said<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

impl<'a> From<Said<'a>> for Block<'a> {
    fn from(said: Said<'a>) -> Self {
        Self { said, cache_control: None }
    }
}

impl Block<'_> {
    fn is_thought(&self) -> bool {
        matches!(self.said, Said::Thinking { .. } | Said::RedactedThinking { .. })
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum CacheControl {
    Ephemeral {
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl: Option<&'static str>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said<'a> {
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        citations: Option<Citations>,
    },
    Image {
        source: Source<'a>,
    },
    RedactedThinking {
        data: &'a str,
    },
    Text {
        text: &'a str,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: &'a RawValue,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Text { media_type: &'a str, data: String },
    Url { url: &'a str },
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: Cow<'a, Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToolChoice<'a> {
    Any {
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
    Auto {
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
    None,
    Tool {
        name: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Thinking {
    Adaptive { display: &'static str },
    BetweenTools,
    Disabled,
    Enabled { budget_tokens: u64 },
}

#[derive(Serialize)]
struct OutputConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format {
    JsonSchema { schema: Value },
}

#[derive(Serialize)]
struct Citations {
    enabled: bool,
}

#[derive(Serialize)]
struct Metadata<'a> {
    user_id: &'a str,
}

/// The smallest thinking budget there is.
const LEAST_BUDGET: u64 = 1_024;

/// How many cache points one request may have.
const MAX_CACHE_POINTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::{File, ToolCall, ToolResult},
        provider,
    };

    const POINT: Part = Part::CachePoint(CacheTtl::Short);

    fn encoded(request: &chat::Request, model: &str) -> Value {
        let provider = provider::find("anthropic").expect("known");
        let target = Target { provider, model, base_url: "https://api.example", credential: None };
        let encoded = encode(request, &target).expect("a request");
        serde_json::from_slice(encoded.request.body()).expect("JSON")
    }

    fn message(role: Role, parts: Vec<Part>) -> Message {
        Message { role, parts }
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    #[test]
    fn a_cache_point_marks_the_block_before_it() {
        let call =
            Part::ToolCall(ToolCall { id: "t".to_owned(), name: "f".to_owned(), ..ToolCall::default() });
        let result = Part::ToolResult(ToolResult {
            call_id: "t".to_owned(),
            parts: vec![text("7"), POINT],
            is_error: false,
        });
        let request = chat::Request {
            messages: vec![
                message(
                    Role::System,
                    vec![POINT, text("a"), POINT, text(" "), Part::CachePoint(CacheTtl::Hour)],
                ),
                message(Role::User, vec![text("b")]),
                message(Role::Assistant, vec![call, POINT]),
                message(Role::Tool, vec![result]),
            ],
            ..chat::Request::default()
        };
        let body = encoded(&request, "claude-haiku-4-5");
        assert_eq!(
            body["system"].to_string(),
            r#"[{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}}]"#
        );
        assert_eq!(
            body["messages"].to_string(),
            concat!(
                r#"[{"role":"user","content":[{"type":"text","text":"b"}]},"#,
                r#"{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{},"cache_control":{"type":"ephemeral"}}]},"#,
                r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"7","cache_control":{"type":"ephemeral"}}]}]}]"#,
            )
        );
    }

    #[test]
    fn of_too_many_cache_points_the_last_stay() {
        let result = |id: &str| {
            Part::ToolResult(ToolResult {
                call_id: id.to_owned(),
                parts: vec![text(id), POINT],
                is_error: false,
            })
        };
        let request = chat::Request {
            messages: vec![
                message(Role::System, vec![text("0"), POINT]),
                message(Role::User, vec![text("1"), POINT]),
                message(Role::Tool, vec![result("2"), POINT]),
                message(Role::Tool, vec![result("3"), POINT]),
            ],
            ..chat::Request::default()
        };
        let body = encoded(&request, "claude-haiku-4-5");
        let content = &body["messages"][0]["content"];
        let marked = |block: &Value| block.get("cache_control").is_some();
        let blocks =
            [&content[0], &content[0]["content"][0], &content[1], &content[1]["content"][0], &content[2]];
        assert_eq!(blocks.map(marked), [true, false, true, true, true]);
        assert!(!marked(&body["system"][0]));
    }

    #[test]
    fn a_file_is_a_document() {
        let file = |name: Option<&str>, media: Media| {
            Part::File(File { cited: false, name: name.map(str::to_owned), media })
        };
        let data = |media_type: &str, data: &str| Media::Data {
            media_type: media_type.to_owned(),
            data: data.to_owned(),
        };
        let request = chat::Request {
            messages: vec![message(
                Role::User,
                vec![
                    file(Some("a.pdf"), data("application/pdf", "JVBE")),
                    file(None, data("text/markdown", "aGk=")),
                    file(None, Media::Url("https://x/y.pdf".to_owned())),
                    POINT,
                ],
            )],
            ..chat::Request::default()
        };
        assert_eq!(
            encoded(&request, "claude-haiku-4-5")["messages"][0]["content"].to_string(),
            concat!(
                r#"[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBE"},"title":"a.pdf"},"#,
                r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"hi"}},"#,
                r#"{"type":"document","source":{"type":"url","url":"https://x/y.pdf"},"cache_control":{"type":"ephemeral"}}]"#,
            )
        );
    }

    #[test]
    fn a_budget_goes_before_an_effort() {
        let thinking = |model: &str, budget: u64| {
            let request = chat::Request {
                messages: vec![message(Role::User, vec![text("a")])],
                reasoning_effort: Some(Effort::XHigh),
                reasoning_budget: Some(budget),
                ..chat::Request::default()
            };
            let body = encoded(&request, model);
            format!("{} {}", body["thinking"], body["output_config"])
        };
        let adaptive = r#"{"type":"adaptive","display":"summarized"}"#;
        let cases = [
            ("claude-haiku-4-5", 0, "null null".to_owned()),
            ("claude-haiku-4-5", 1, r#"{"type":"enabled","budget_tokens":1024} null"#.to_owned()),
            ("claude-haiku-4-5", 5000, r#"{"type":"enabled","budget_tokens":5000} null"#.to_owned()),
            ("claude-opus-4-8", 5000, format!(r#"{adaptive} {{"effort":"medium"}}"#)),
        ];
        for (model, budget, expected) in cases {
            assert_eq!(thinking(model, budget), expected, "{model} {budget}");
        }
    }
}
