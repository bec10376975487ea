//! A unified request, as Messages wants it.

use std::borrow::Cow;

use http::HeaderValue;
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    model::{self, Model, Off},
    schema,
};
use crate::{
    Error, Target,
    chat::{self, Effort, Image, Message, Part, ResponseFormat, Role},
    dialect::{Encoded, chat_completions::request::drop_extra, generate_content::SIGNATURE_PREFIX, post},
};

pub(super) fn encode(request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
    let model = Model::named(target.model);
    let mut dropped = Vec::new();
    drop_extra(&request.extra, &mut dropped)?;
    // A stranger to Chat Completions, but not to Messages.
    let top_k = request.extra.iter().find(|(name, _)| name == "top_k").and_then(|(_, value)| value.as_u64());
    dropped.retain(|name| name != "top_k" || top_k.is_none());
    let stop_sequences = stop_sequences(request)?;
    let conversation = conversation(request, &mut dropped)?;
    let tools = tools(request, &mut dropped);
    let tool_choice = tool_choice(request, target, &model)?;
    let format = format(request, &mut dropped)?;

    let max_tokens = request.max_output_tokens.unwrap_or(model.max_tokens);
    let forced = matches!(tool_choice, Some(ToolChoice::Any { .. } | ToolChoice::Tool { .. }));
    let lost = model.thinking == model::Thinking::Budget && conversation.lost_its_thought();
    let (thinking, effort) = thinking(request, &model, max_tokens, forced, lost, &mut dropped);
    let thinks = matches!(thinking, Some(Thinking::Adaptive { .. } | Thinking::Enabled { .. }));
    let sampling = sampling(request, top_k, model.fixed_sampling, thinks, &mut dropped);

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
        metadata: request.user.as_deref().map(|user_id| Metadata { user_id }),
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
    let mut http = post(format!("{}/v1/messages", target.base_url), target, body)?;
    http.headers_mut().insert("anthropic-version", HeaderValue::from_static(VERSION));
    Ok(Encoded { request: http, dropped })
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
                conversation.turn("assistant", blocks);
            }
            Role::Developer | Role::System => {
                conversation.system.extend(message.parts.iter().filter_map(said))
            }
            Role::Tool => conversation.results(message),
            Role::User => conversation.turn("user", message.parts.iter().filter_map(said).collect()),
        }
    }
    if conversation.turns.is_empty() {
        let message = "Claude needs at least one message that is not a system message and not empty.";
        return Err(Error::invalid("messages", message));
    }
    Ok(conversation)
}

impl<'a> Conversation<'a> {
    /// Adds to the turn of `role`, a new one where the other side spoke last.
    fn turn(&mut self, role: &'static str, blocks: Vec<Block<'a>>) {
        match self.turns.last_mut() {
            // All that was said was empty.
            _ if blocks.is_empty() => {}
            Some(turn) if turn.role == role => turn.content.extend(blocks),
            _ => self.turns.push(Turn { role, content: blocks, results: 0 }),
        }
    }

    /// Adds tool results to the user's turn, before what else is in it.
    fn results(&mut self, message: &'a Message) {
        if self.turns.last().is_none_or(|turn| turn.role != "user") {
            self.turns.push(Turn { role: "user", content: Vec::new(), results: 0 });
        }
        let turn = self.turns.last_mut().expect("a turn was added where there was none");
        for part in &message.parts {
            let Part::ToolResult(result) = part else { continue };
            let content = result.parts.iter().filter_map(said).collect();
            let block = Block::ToolResult { tool_use_id: call_id(&result.call_id), content };
            turn.content.insert(turn.results, block);
            turn.results += 1;
        }
    }

    /// Whether a tool loop goes on whose call came without its thought. Models that think to a budget
    /// refuse to think on.
    fn lost_its_thought(&self) -> bool {
        let [.., call, results] = self.turns.as_slice() else { return false };
        results.results > 0
            && !matches!(call.content.first(), Some(Block::Thinking { .. } | Block::RedactedThinking { .. }))
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
                let own =
                    reasoning.signature.as_ref().filter(|signature| !signature.starts_with(SIGNATURE_PREFIX));
                if let Some(signature) = own {
                    thoughts.push(Block::Thinking { thinking: &reasoning.text, signature });
                }
                if let Some(data) = &reasoning.redacted {
                    thoughts.push(Block::RedactedThinking { data });
                }
                // Without a signature it is not Claude's, or cannot be shown to be.
                if own.is_none() && reasoning.redacted.is_none() {
                    dropped.push(format!("messages[{at}].reasoning_content"));
                }
            }
            Part::ToolCall(call) => {
                let input = input(&call.arguments).ok_or_else(|| {
                    let param = format!("messages[{at}].tool_calls[{calls}].function.arguments");
                    let message =
                        format!("`{param}` must be the text of a JSON object, as the model gave it.");
                    Error::invalid(param, message)
                })?;
                blocks.push(Block::ToolUse { id: call_id(&call.id), name: &call.name, input });
                calls += 1;
            }
            other => blocks.extend(said(other)),
        }
    }
    thoughts.append(&mut blocks);
    Ok(thoughts)
}

/// What anyone may say. Text without a visible character is refused by the API, and says nothing.
fn said(part: &Part) -> Option<Block<'_>> {
    match part {
        Part::Image(image) => Some(Block::Image { source: source(image) }),
        Part::Refusal(text) | Part::Text(text) => (!text.trim().is_empty()).then_some(Block::Text { text }),
        Part::Reasoning(_) | Part::ToolCall(_) | Part::ToolResult(_) => None,
    }
}

fn source(image: &Image) -> Source<'_> {
    match image {
        Image::Data { media_type, data } => Source::Base64 { media_type, data },
        Image::Url(url) => Source::Url { url },
    }
}

/// Arguments, as the JSON they are text of; the bytes stay as the model wrote them.
fn input(arguments: &str) -> Option<&RawValue> {
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    serde_json::from_str(arguments).ok().filter(|input: &&RawValue| input.get().starts_with('{'))
}

/// A call's id in the letters the API takes; another provider may have used others.
fn call_id(id: &str) -> Cow<'_, str> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if id.chars().all(fits) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(id.replace(|letter| !fits(letter), "_"))
}

fn tools<'a>(request: &'a chat::Request, dropped: &mut Vec<String>) -> Vec<Tool<'a>> {
    let tool = |(at, tool): (usize, &'a chat::Tool)| {
        let strict = tool.strict == Some(true);
        let input_schema = input_schema(tool.parameters.as_ref());
        let input_schema = if strict {
            Cow::Owned(narrowed(
                input_schema.into_owned(),
                &format!("tools[{at}].function.parameters"),
                dropped,
            ))
        } else {
            input_schema
        };
        Tool { name: &tool.name, description: tool.description.as_deref(), input_schema, strict }
    };
    request.tools.iter().enumerate().map(tool).collect()
}

/// A tool's schema, which must say that it describes an object.
fn input_schema(parameters: Option<&Value>) -> Cow<'_, Value> {
    match parameters {
        Some(schema) if schema.get("type").is_some() => Cow::Borrowed(schema),
        Some(Value::Object(schema)) => {
            let mut schema = schema.clone();
            schema.insert("type".to_owned(), "object".into());
            Cow::Owned(Value::Object(schema))
        }
        _ => Cow::Owned(serde_json::json!({ "type": "object", "properties": {} })),
    }
}

fn narrowed(mut schema: Value, field: &str, dropped: &mut Vec<String>) -> Value {
    let mut lost = Vec::new();
    schema::narrow(&mut schema, &mut lost);
    dropped.extend(lost.iter().map(|keyword| format!("{field}: {keyword}")));
    schema
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
            let message = format!(
                "`{}` always thinks, and thinking excludes forced tools. Use `\"tool_choice\": \"auto\"` and ask \
                 for the tool in a message, or use `response_format` for structured output.",
                target.model
            );
            return Err(Error::unsupported("tool_choice", message));
        }
        Some(chat::ToolChoice::Required) => Some(ToolChoice::Any { disable_parallel_tool_use }),
        Some(chat::ToolChoice::Function(name)) => Some(ToolChoice::Tool { name, disable_parallel_tool_use }),
    };
    Ok(choice)
}

/// The form of the answer. Models without structured output are retired, so nothing is emulated.
fn format(request: &chat::Request, dropped: &mut Vec<String>) -> Result<Option<Format>, Error> {
    match &request.response_format {
        ResponseFormat::JsonObject => {
            let message =
                "Claude has no JSON mode without a schema. Use `response_format` with `json_schema`.";
            Err(Error::unsupported("response_format", message))
        }
        ResponseFormat::JsonSchema { description, schema, .. } => {
            let mut schema = narrowed(schema.clone(), "response_format.json_schema.schema", dropped);
            if let (Some(text), Value::Object(fields)) = (description, &mut schema) {
                describe_once(fields, text);
            }
            Ok(Some(Format::JsonSchema { schema }))
        }
        ResponseFormat::Text => Ok(None),
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
    let effort = match request.reasoning_effort {
        Some(Effort::None) => return off,
        // A model that thinks unasked must be stopped before it can be forced to call a tool.
        None if forced && model.off == Off::Disabled => return off,
        None => return (None, None),
        Some(effort) => effort,
    };
    let think = match model.thinking {
        _ if forced || lost => None,
        // The text of thought is left out by newer models where it is not asked for.
        model::Thinking::Adaptive => Some(Thinking::Adaptive { display: "summarized" }),
        model::Thinking::Budget => {
            let wished = match effort {
                Effort::None | Effort::Minimal => LEAST_BUDGET,
                Effort::Low => 4_096,
                Effort::Medium => 8_192,
                Effort::High => 16_384,
                Effort::XHigh => 32_768,
            };
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

struct Sampling {
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u64>,
}

/// Sampling, as far as the model has it. A value of 1 is the default everywhere and need not be sent.
fn sampling(
    request: &chat::Request,
    top_k: Option<u64>,
    fixed: bool,
    thinks: bool,
    dropped: &mut Vec<String>,
) -> Sampling {
    let mut keep = |name: &str, allowed: bool| {
        if !allowed {
            dropped.push(name.to_owned());
        }
        allowed
    };
    // OpenAI's scale ends at 2 and this one at 1, which is then the nearest.
    let temperature = request.temperature.filter(|value| *value != 1.0);
    let temperature = temperature.filter(|value| keep("temperature", !fixed && !thinks && *value < 1.0));
    let top_p = request.top_p.filter(|value| *value != 1.0);
    // Newer models refuse the two together, and thinking leaves little room for this one.
    let top_p =
        top_p.filter(|value| keep("top_p", !fixed && temperature.is_none() && (!thinks || *value >= 0.95)));
    let top_k = top_k.filter(|_| keep("top_k", !fixed && !thinks));
    Sampling { temperature, top_p, top_k }
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
    stream: bool,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
    /// How many tool results `content` opens with.
    #[serde(skip)]
    results: usize,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
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
struct Metadata<'a> {
    user_id: &'a str,
}

const VERSION: &str = "2023-06-01";

/// The smallest thinking budget there is.
const LEAST_BUDGET: u64 = 1_024;
