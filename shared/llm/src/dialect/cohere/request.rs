//! A unified request, as Cohere wants it.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use super::url;
use crate::{
    Error, Target,
    chat::{self, Detail, Part, ResponseFormat, Role, TOOL_FAILED},
    dialect::{
        Encoded, Serves, drop_call_signatures, drop_extra, drop_hints, drop_service, plain_text, post,
        refuse_one_call,
    },
};

pub(super) fn encode(request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
    let mut dropped = Vec::new();
    drop_extra(&request.extra, &mut dropped)?;
    drop_call_signatures(request, &mut dropped);
    drop_hints(request, false, false, &mut dropped);
    drop_service(request, Serves { details: true, ..Serves::default() }, &mut dropped);
    unsaid(request, &mut dropped);
    refuse_one_call(request, &mut dropped)?;
    if request.stop.len() > MAX_STOPS {
        let message = format!("Cohere stops at {MAX_STOPS} texts at most, not {}.", request.stop.len());
        return Err(Error::unsupported("stop", message));
    }
    if request.logprobs.is_some() {
        let message = "Cohere does not tell the probabilities of single tokens. Leave `logprobs` out, or choose \
                       another model.";
        return Err(Error::unsupported("logprobs", message));
    }
    let thinks = !NEVER_THINK.iter().any(|prefix| target.model.starts_with(prefix));
    let (tools, tool_choice) = tools(request)?;
    let strict_tools = strict(request, &tools, &mut dropped);
    let body = Body {
        model: target.model,
        messages: messages(request, thinks, &mut dropped)?,
        response_format: format(request, !tools.is_empty(), &mut dropped)?,
        tools: tools.into_iter().map(Tool::from).collect(),
        strict_tools,
        tool_choice,
        max_tokens: request.max_output_tokens,
        temperature: within("temperature", request.temperature, (0.0, 1.0), &mut dropped),
        p: within("top_p", request.top_p, (0.01, 0.99), &mut dropped),
        k: request.top_k.map(|k| k.min(MAX_K)),
        frequency_penalty: penalty("frequency_penalty", request.frequency_penalty, &mut dropped),
        presence_penalty: penalty("presence_penalty", request.presence_penalty, &mut dropped),
        seed: request.seed,
        stop_sequences: &request.stop,
        thinking: thinking(request, thinks, &mut dropped),
        stream: request.stream,
    };
    let body = serde_json::to_vec(&body).expect("strings and numbers into memory cannot fail");
    Ok(Encoded::new(post(url(target), target, body)?, dropped))
}

/// Lists what Cohere has no words for and what it cuts.
fn unsaid(request: &chat::Request, dropped: &mut Vec<String>) {
    let unsaid = [
        ("include_reasoning", request.thoughts == Some(false)),
        ("top_k", request.top_k.is_some_and(|k| k > MAX_K)),
        ("user", request.end_user().is_some()),
    ];
    dropped.extend(unsaid.into_iter().filter(|(_, set)| *set).map(|(name, _)| name.to_owned()));
}

/// The nearest value there is; reported where it is another.
fn within(
    name: &str,
    value: Option<f64>,
    (least, most): (f64, f64),
    dropped: &mut Vec<String>,
) -> Option<f64> {
    let value = value?;
    let nearest = value.clamp(least, most);
    if nearest != value {
        dropped.push(name.to_owned());
    }
    Some(nearest)
}

/// A reward for repetition cannot be said, and a penalty ends at 1.
fn penalty(name: &str, value: Option<f64>, dropped: &mut Vec<String>) -> Option<f64> {
    within(name, value, (0.0, 1.0), dropped).filter(|value| *value > 0.0)
}

/// The conversation, instructions first.
fn messages<'a>(
    request: &'a chat::Request,
    thinks: bool,
    dropped: &mut Vec<String>,
) -> Result<Vec<Message<'a>>, Error> {
    let mut system = Vec::new();
    let mut messages = Vec::with_capacity(request.messages.len());
    for (at, message) in request.messages.iter().enumerate() {
        match message.role {
            Role::Assistant => messages.extend(assistant(at, &message.parts, thinks, dropped)),
            Role::Developer | Role::System => {
                for (index, part) in message.parts.iter().enumerate() {
                    system.extend(said(part, || format!("messages[{at}].content[{index}]"))?);
                }
            }
            Role::Tool => results(at, &message.parts, &mut messages)?,
            Role::User => {
                // Other protocols put the results of tools into the user's turn.
                results(at, &message.parts, &mut messages)?;
                let mut content = Vec::new();
                for (index, part) in message.parts.iter().enumerate() {
                    content.extend(said(part, || format!("messages[{at}].content[{index}]"))?);
                }
                if !content.is_empty() {
                    messages.push(Message::User { content: Content::from(content) });
                }
            }
        }
    }
    if messages.is_empty() && !system.is_empty() {
        // A conversation of instructions alone, which OpenAI answers.
        messages.push(Message::User { content: Content::from(std::mem::take(&mut system)) });
    }
    if messages.is_empty() {
        return Err(Error::unsupported("messages", "Cohere needs at least one message that is not empty."));
    }
    if !system.is_empty() {
        messages.insert(0, Message::System { content: Content::from(system) });
    }
    Ok(messages)
}

/// What anyone may say. Empty texts are refused by the API.
fn said(part: &Part, path: impl Fn() -> String) -> Result<Option<Item<'_>>, Error> {
    Ok(match part {
        Part::Image(image) => {
            let detail = image.detail.map(Detail::as_str);
            Some(Item::ImageUrl { image_url: ImageUrl { url: image.media.url(), detail } })
        }
        Part::Refusal(text) | Part::Text(text) => {
            (!text.is_empty()).then_some(Item::Text { text: text.into() })
        }
        Part::File(file) => {
            let path = path();
            let Some(text) = plain_text(file, &path)? else {
                let message =
                    format!("`{path}` is a file, and Cohere reads text and images only. Send its text.");
                return Err(Error::unsupported(path, message));
            };
            Some(Item::Text { text: text.into() })
        }
        Part::CachePoint(_) | Part::Reasoning(_) | Part::ToolCall(_) | Part::ToolResult(_) => None,
    })
}

/// An earlier answer. Beside tool calls, what models without thought say before them is their plan.
fn assistant<'a>(
    at: usize,
    parts: &'a [Part],
    thinks: bool,
    dropped: &mut Vec<String>,
) -> Option<Message<'a>> {
    let calls_tools = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    let mut content = Vec::new();
    let mut plan: Vec<&str> = Vec::new();
    let mut tool_calls = Vec::new();
    let mut lost = false;
    for part in parts {
        match part {
            Part::Reasoning(thought) => {
                match thought.text.as_str() {
                    // Encrypted by another provider.
                    "" => lost = true,
                    thinking if thinks => content.push(Item::Thinking { thinking }),
                    text if calls_tools => plan.push(text),
                    _ => lost = true,
                }
            }
            Part::Refusal(text) | Part::Text(text) if text.is_empty() => {}
            Part::Refusal(text) | Part::Text(text) if calls_tools && !thinks => plan.push(text),
            Part::Refusal(text) | Part::Text(text) => content.push(Item::Text { text: text.into() }),
            Part::ToolCall(call) => tool_calls.push(ToolCall {
                id: &call.id,
                kind: "function",
                function: Call {
                    name: &call.name,
                    arguments: if call.arguments.trim().is_empty() { "{}" } else { &call.arguments },
                },
            }),
            Part::CachePoint(_) | Part::File(_) | Part::Image(_) | Part::ToolResult(_) => {}
        }
    }
    if lost {
        dropped.push(format!("messages[{at}].reasoning_content"));
    }
    if content.is_empty() && tool_calls.is_empty() {
        return None;
    }
    Some(Message::Assistant {
        content: (!content.is_empty()).then(|| Content::from(content)),
        tool_plan: (!plan.is_empty()).then(|| plan.join("\n")),
        tool_calls,
    })
}

fn results<'a>(at: usize, parts: &'a [Part], messages: &mut Vec<Message<'a>>) -> Result<(), Error> {
    for part in parts {
        let Part::ToolResult(result) = part else { continue };
        let mut content = Vec::new();
        content.extend(result.is_error.then_some(Item::Text { text: TOOL_FAILED.into() }));
        for (index, part) in result.parts.iter().enumerate() {
            let path = || format!("messages[{at}].content[{index}]");
            match said(part, path)? {
                Some(Item::ImageUrl { .. }) => {
                    let path = path();
                    let message = format!(
                        "`{path}` is an image in a tool's result, where Cohere reads text only. Send it in a `user` \
                         message."
                    );
                    return Err(Error::unsupported(path, message));
                }
                other => content.extend(other),
            }
        }
        messages.push(Message::Tool { tool_call_id: &result.call_id, content: Content::from(content) });
    }
    Ok(())
}

/// The tools to send, and the word for how to choose among them.
fn tools(request: &chat::Request) -> Result<(Vec<&chat::Tool>, Option<&'static str>), Error> {
    let only = match &request.tool_choice {
        Some(chat::ToolChoice::Function(name)) => Some(name),
        _ => None,
    };
    let tools: Vec<_> =
        request.tools.iter().filter(|tool| only.is_none_or(|name| *name == tool.name)).collect();
    let choice = match &request.tool_choice {
        None | Some(chat::ToolChoice::Auto) => None,
        Some(chat::ToolChoice::None) => Some("NONE").filter(|_| !tools.is_empty()),
        Some(chat::ToolChoice::Function(_) | chat::ToolChoice::Required) if tools.is_empty() => {
            return Err(Error::invalid("tool_choice", "`tool_choice` must be one of the `tools`."));
        }
        Some(chat::ToolChoice::Function(_) | chat::ToolChoice::Required) => Some("REQUIRED"),
    };
    // Tools and JSON mode exclude each other; those that must not be called need not be sent.
    if choice == Some("NONE") && request.response_format != ResponseFormat::Text {
        return Ok((Vec::new(), None));
    }
    Ok((tools, choice))
}

/// A tool's schema, which is required.
fn parameters(schema: Option<&Value>) -> Cow<'_, Value> {
    match schema {
        Some(schema) => Cow::Borrowed(schema),
        None => Cow::Owned(serde_json::json!({ "type": "object", "properties": {} })),
    }
}

/// The switch is for all tools at once, so one that is not strict leaves it off for all.
fn strict(request: &chat::Request, sent: &[&chat::Tool], dropped: &mut Vec<String>) -> bool {
    let is_strict = |tool: &chat::Tool| tool.strict == Some(true);
    if sent.iter().all(|tool| is_strict(tool)) {
        return !sent.is_empty();
    }
    let strict = request.tools.iter().enumerate().filter(|(_, tool)| is_strict(tool));
    dropped.extend(strict.map(|(index, _)| format!("tools[{index}].function.strict")));
    false
}

fn format<'a>(
    request: &'a chat::Request,
    has_tools: bool,
    dropped: &mut Vec<String>,
) -> Result<Option<Format<'a>>, Error> {
    if request.response_format == ResponseFormat::Text {
        return Ok(None);
    }
    if has_tools {
        let message = "Cohere has no JSON mode beside `tools`. Leave out one of the two, or let a tool take the answer.";
        return Err(Error::unsupported("response_format", message));
    }
    let json_schema = match &request.response_format {
        ResponseFormat::JsonSchema { description, schema, .. } => {
            if description.is_some() {
                dropped.push("response_format.json_schema.description".to_owned());
            }
            Some(schema)
        }
        ResponseFormat::JsonObject | ResponseFormat::Text => None,
    };
    Ok(Some(Format { kind: "json_object", json_schema }))
}

/// Whether and how much to think. Models that cannot are not told.
fn thinking(request: &chat::Request, thinks: bool, dropped: &mut Vec<String>) -> Option<Thinking> {
    let budget = match request.budget()? {
        0 => return thinks.then_some(Thinking { kind: "disabled", token_budget: None }),
        budget => budget.min(MAX_BUDGET),
    };
    if !thinks {
        dropped.push("reasoning_effort".to_owned());
        return None;
    }
    // The answer needs room too.
    let room = request.max_output_tokens.map_or(u64::MAX, |most| (most / 4 * 3).max(1));
    Some(Thinking { kind: "enabled", token_budget: Some(budget.min(room)) })
}

/// Families without thought, which refuse to be asked for it.
const NEVER_THINK: [&str; 6] =
    ["c4ai-", "command-a-03-2025", "command-a-translate", "command-a-vision", "command-light", "command-r"];

/// Leaves room for an answer beside the thought.
const MAX_BUDGET: u64 = 31_000;
const MAX_K: u64 = 500;
const MAX_STOPS: usize = 5;

// --- wire ---

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict_tools: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    stream: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Message<'a> {
    Assistant {
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<Content<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tool_plan: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<ToolCall<'a>>,
    },
    System {
        content: Content<'a>,
    },
    Tool {
        tool_call_id: &'a str,
        content: Content<'a>,
    },
    User {
        content: Content<'a>,
    },
}

/// Text alone is a string, as everywhere.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Items(Vec<Item<'a>>),
    Text(Cow<'a, str>),
}

impl<'a> From<Vec<Item<'a>>> for Content<'a> {
    fn from(mut items: Vec<Item<'a>>) -> Self {
        match items.as_mut_slice() {
            [] => Self::Text(Cow::Borrowed("")),
            [Item::Text { text }] => Self::Text(std::mem::take(text)),
            _ => Self::Items(items),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item<'a> {
    ImageUrl { image_url: ImageUrl<'a> },
    Text { text: Cow<'a, str> },
    Thinking { thinking: &'a str },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Call<'a>,
}

#[derive(Serialize)]
struct Call<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

impl<'a> From<&'a chat::Tool> for Tool<'a> {
    fn from(tool: &'a chat::Tool) -> Self {
        let function = Function {
            name: &tool.name,
            description: tool.description.as_deref(),
            parameters: parameters(tool.parameters.as_ref()),
        };
        Self { kind: "function", function }
    }
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Cow<'a, Value>,
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<&'a Value>,
}

#[derive(Serialize)]
struct Thinking {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_budget: Option<u64>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        dialect::{Dialect, chat_completions, cohere::Cohere},
        provider::{Api, Auth, Betas, Hosting, Provider, StreamUsage},
    };

    static PROVIDER: Provider = Provider {
        name: "cohere",
        telemetry_name: "cohere",
        base_url: "https://api.cohere.com",
        auth: Auth::Bearer,
        grant: None,
        hosting: Hosting::Own,
        betas: Betas::None,
        api: Api::Cohere,
        also: None,
        files_in_texts: false,
        stream_usage: StreamUsage::Unasked,
        offers: &[],
    };

    const THINKER: &str = "command-a-reasoning-08-2025";
    const PLANNER: &str = "command-r7b-12-2024";

    /// What a Chat Completions body becomes: the body sent without model and stream, and what was dropped.
    fn sent(model: &str, mut fields: Value) -> Result<(Value, Vec<String>), Error> {
        let object = fields.as_object_mut().expect("an object");
        object.insert("model".to_owned(), "cohere/x".into());
        object.entry("messages").or_insert_with(|| json!([{"role": "user", "content": "Hi"}]));
        let request = chat_completions::request::parse(fields.to_string().as_bytes())?;
        let target =
            Target { provider: &PROVIDER, model, base_url: "https://api.cohere.com", credential: Some("k") };
        let Encoded { request, dropped, .. } = Cohere.encode(&request, &target)?;
        assert_eq!(request.uri(), "https://api.cohere.com/v2/chat");
        assert_eq!(request.headers()["authorization"], "Bearer k");
        let mut body: Value = serde_json::from_slice(request.body()).expect("JSON");
        let object = body.as_object_mut().expect("an object");
        assert_eq!(object.remove("model"), Some(model.into()));
        Ok((body, dropped))
    }

    #[test]
    fn a_rich_request_keeps_all_it_can() {
        let messages = json!([
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            ]},
            {"role": "assistant", "content": "Let me see.", "reasoning_content": "Hm", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"a\":1}"}},
                {"id": "c2", "type": "function", "function": {"name": "now", "arguments": ""}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "A cat"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]},
            {"role": "developer", "content": "Be brief."},
        ]);
        let look = json!({"name": "look", "description": "Looks.", "parameters": {"type": "object"}});
        let body = json!({
            "messages": messages, "stream": true, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "seed": 7,
            "max_tokens": 4000, "stop": ["END"], "frequency_penalty": 0.5, "presence_penalty": 0,
            "reasoning_effort": "low", "tool_choice": "required",
            "tools": [{"type": "function", "function": look}, {"type": "function", "function": {"name": "now"}}],
        });
        let calls = json!([
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"a\":1}"}},
            {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        ]);
        let mut expected = json!({
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be brief."}]},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}},
                    {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                ]},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Let me see."}], "tool_calls": calls},
                {"role": "tool", "tool_call_id": "c1", "content": "A cat"},
                {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]},
            ],
            "tools": [
                {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}},
                {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
            ],
            "tool_choice": "REQUIRED", "max_tokens": 4000, "temperature": 0.5, "p": 0.9, "k": 40,
            "frequency_penalty": 0.5, "seed": 7, "stop_sequences": ["END"],
            "thinking": {"type": "enabled", "token_budget": 1024}, "stream": true,
        });
        assert_eq!(sent(THINKER, body.clone()), Ok((expected.clone(), vec![])));

        // A model without thought has a plan instead.
        expected["messages"][2] =
            json!({"role": "assistant", "tool_plan": "Hm\nLet me see.", "tool_calls": calls});
        expected.as_object_mut().expect("an object").remove("thinking");
        assert_eq!(sent(PLANNER, body), Ok((expected, vec!["reasoning_effort".to_owned()])));
    }

    #[test]
    fn what_cohere_says_otherwise_is_translated_or_reported() {
        let function = |name: &str, strict: bool| json!({"type": "function", "function": {"name": name, "parameters": {}, "strict": strict}});
        let plain = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {}}});
        let (f, g) = (function("f", true), function("g", true));
        let schema = json!({"name": "n", "schema": {"type": "object"}});
        let format = json!({"type": "json_schema", "json_schema": schema});
        let cases = [
            (
                json!({"tools": [f, g]}),
                json!({"tools": [plain("f"), plain("g")], "strict_tools": true}),
                vec![],
            ),
            (
                json!({"tools": [f, function("g", false)]}),
                json!({"tools": [plain("f"), plain("g")]}),
                vec!["tools[0].function.strict"],
            ),
            (
                json!({"tools": [f, g], "tool_choice": {"type": "function", "function": {"name": "g"}}}),
                json!({"tools": [plain("g")], "strict_tools": true, "tool_choice": "REQUIRED"}),
                vec![],
            ),
            (
                json!({"tools": [plain("f")], "tool_choice": "none", "parallel_tool_calls": false}),
                json!({"tools": [plain("f")], "tool_choice": "NONE"}),
                vec!["parallel_tool_calls"],
            ),
            (json!({"tools": [plain("f")], "tool_choice": "auto"}), json!({"tools": [plain("f")]}), vec![]),
            (
                json!({"tools": [f], "tool_choice": "none", "response_format": format}),
                json!({"response_format": {"type": "json_object", "json_schema": {"type": "object"}}}),
                vec![],
            ),
            (
                json!({"response_format": {"type": "json_object"}}),
                json!({"response_format": {"type": "json_object"}}),
                vec![],
            ),
            (
                json!({"temperature": 1.5, "top_p": 1, "top_k": 900, "user": "u"}),
                json!({"temperature": 1.0, "p": 0.99, "k": 500}),
                vec!["top_k", "user", "temperature", "top_p"],
            ),
            (json!({"top_p": 0}), json!({"p": 0.01}), vec!["top_p"]),
            (
                json!({"frequency_penalty": 1.5, "presence_penalty": -1}),
                json!({"frequency_penalty": 1.0}),
                vec!["frequency_penalty", "presence_penalty"],
            ),
            (json!({"reasoning_effort": "none"}), json!({"thinking": {"type": "disabled"}}), vec![]),
            (
                json!({"reasoning_effort": "xhigh"}),
                json!({"thinking": {"type": "enabled", "token_budget": 31_000}}),
                vec![],
            ),
        ];
        for (fields, mut expected, dropped) in cases {
            expected["messages"] = json!([{"role": "user", "content": "Hi"}]);
            expected["stream"] = false.into();
            let dropped = dropped.into_iter().map(str::to_owned).collect();
            assert_eq!(sent(THINKER, fields.clone()), Ok((expected, dropped)), "{fields}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let tool = json!([{"type": "function", "function": {"name": "f"}}]);
        let call = json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
        let image = json!([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]);
        let cases = [
            (json!({"tools": tool, "response_format": {"type": "json_object"}}), "response_format"),
            (json!({"n": 2}), "n"),
            (json!({"messages": [{"role": "user", "content": ""}]}), "messages"),
            (
                json!({"messages": [call, {"role": "tool", "tool_call_id": "c", "content": image}]}),
                "messages[1].content[0]",
            ),
        ];
        for (fields, expected) in cases {
            let Err(Error::Unsupported { param, .. }) = sent(THINKER, fields.clone()) else {
                panic!("{fields} was not refused")
            };
            assert_eq!(param, expected, "{fields}");
        }
        let target = Target { provider: &PROVIDER, model: THINKER, base_url: "https://x", credential: None };
        let file =
            chat::File { cited: false, name: None, media: chat::Media::Url("https://x/y.pdf".to_owned()) };
        let message = chat::Message { role: Role::User, parts: vec![Part::File(file)] };
        let request = chat::Request { messages: vec![message], ..chat::Request::default() };
        assert!(matches!(Cohere.encode(&request, &target), Err(Error::Unsupported { .. })));
        let stop = vec!["x".to_owned(); 6];
        let request = chat::Request { stop, ..chat::Request::default() };
        assert!(matches!(Cohere.encode(&request, &target), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn instructions_alone_are_said_by_the_user() {
        let (body, _) =
            sent(THINKER, json!({"messages": [{"role": "system", "content": "Hi"}]})).expect("sent");
        assert_eq!(body["messages"], json!([{"role": "user", "content": "Hi"}]));
    }
}
