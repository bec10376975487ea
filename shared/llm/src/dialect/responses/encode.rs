//! A unified request, as Responses wants it.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use super::SIGNATURE_PREFIX;
use crate::{
    Error, Target,
    chat::{
        self, CacheTtl, Detail, Effort, Media, Message, OPENAIS, ResponseFormat, Role, TOOL_FAILED, VERBOSITY,
    },
    dialect::{
        Encoded, Serves, drop_call_signatures, drop_extra, drop_hints, drop_service, labels_within, post,
    },
};

pub(super) fn encode(request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
    let mut dropped = Vec::new();
    drop_extra(&request.extra, &mut dropped)?;
    drop_call_signatures(request, &mut dropped);
    if !request.stop.is_empty() {
        let message = "`stop` has no place in the Responses API. Leave it out and cut the answer yourself, or \
                       choose a model of a provider that speaks another API.";
        return Err(Error::unsupported("stop", message));
    }
    let model = Model::named(target.model);
    let marks = model.marks_cache && request.tools.iter().all(|tool| tool.cache.is_none());
    drop_hints(request, marks, false, &mut dropped);
    let mut input = Vec::new();
    for (at, message) in request.messages.iter().enumerate() {
        match message.role {
            Role::Assistant => answer(at, message, &mut input, &mut dropped)?,
            Role::Developer => input.push(said("developer", message, &model)),
            Role::System => input.push(said("system", message, &model)),
            Role::Tool => results(message, &model, &mut input),
            Role::User => input.push(said("user", message, &model)),
        }
    }
    let effort = request.effort().map(Effort::as_str);
    // Models that do not think refuse to be asked for it.
    let thinks = model.thinks
        || effort.is_some_and(|effort| effort != "none")
        || input.iter().any(|item| matches!(item, Item::Reasoning { .. }));
    // Only where it is asked for: an organisation must be verified to see it.
    let summary = (thinks && request.thoughts == Some(true)).then_some("auto");
    let has_tools = !request.tools.is_empty();
    let openai = |name| request.openais.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    let text = TextSetting { format: format(&request.response_format), verbosity: openai(VERBOSITY) };
    let fits = |name: &str, value: &str| name.chars().count() <= 64 && value.chars().count() <= 512;
    let metadata = labels_within(request, 16, fits);
    let has =
        Serves { details: true, labels: metadata.is_some(), openais: OPENAIS, safety: true, tier: true };
    drop_service(request, has, &mut dropped);
    let body = Body {
        model: target.model,
        input,
        tools: request.tools.iter().map(tool).collect(),
        tool_choice: request.tool_choice.as_ref().filter(|_| has_tools).map(tool_choice),
        parallel_tool_calls: request.parallel_tool_calls.filter(|_| has_tools),
        text: text.is_some().then_some(text),
        max_output_tokens: request.max_output_tokens,
        temperature: request.temperature,
        top_p: request.top_p,
        reasoning: (effort.is_some() || summary.is_some()).then_some(ReasoningSetting { effort, summary }),
        include: match (thinks, request.logprobs.is_some()) {
            (true, true) => &["reasoning.encrypted_content", LOGPROBS],
            (true, false) => &["reasoning.encrypted_content"],
            (false, true) => &[LOGPROBS],
            (false, false) => &[],
        },
        top_logprobs: request.logprobs.filter(|others| *others > 0),
        user: request.user.as_deref(),
        safety_identifier: request.safety_identifier.as_deref(),
        service_tier: request.service_tier.map(|tier| tier.word("default")),
        metadata,
        prompt_cache_key: openai("prompt_cache_key"),
        prompt_cache_options: openai("prompt_cache_options"),
        prompt_cache_retention: openai("prompt_cache_retention"),
        store: false,
        stream: request.stream,
    };
    let is_set = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    let unknown = [
        ("frequency_penalty", is_set(request.frequency_penalty)),
        ("presence_penalty", is_set(request.presence_penalty)),
        ("seed", request.seed.is_some()),
        ("top_k", request.top_k.is_some()),
    ];
    dropped.extend(unknown.into_iter().filter(|(_, set)| *set).map(|(name, _)| name.to_owned()));
    let body = serde_json::to_vec(&body).expect("strings and numbers into memory cannot fail");
    let request = post(format!("{}/responses", target.base_url), target, body)?;
    Ok(Encoded::new(request, dropped))
}

/// What a model takes, as far as its name tells.
pub(in crate::dialect) struct Model {
    thinks: bool,
    /// Whether the end of what is to be cached can be marked.
    pub(in crate::dialect) marks_cache: bool,
}

impl Model {
    pub(in crate::dialect) fn named(name: &str) -> Self {
        let name = name.rsplit('/').next().unwrap_or(name);
        let version = name.strip_prefix("gpt-").map(|rest| rest.split(['-', ':']).next().unwrap_or(rest));
        let version = version.and_then(|version| {
            let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        });
        let is_o = name.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let chats = name.contains("-chat");
        Self {
            thinks: !chats && (is_o || version >= Some((5, 0)) || name.starts_with("codex")),
            marks_cache: version >= Some((5, 6)),
        }
    }
}

fn said<'a>(role: &'static str, message: &'a Message, model: &Model) -> Item<'a> {
    Item::Message { role, content: parts(&message.parts, model) }
}

fn parts<'a>(parts: &'a [chat::Part], model: &Model) -> Vec<Part<'a>> {
    let mut content: Vec<Part<'a>> = Vec::with_capacity(parts.len());
    for part in parts {
        let kind = match part {
            chat::Part::CachePoint(ttl) => {
                if let Some(last) = content.last_mut().filter(|_| model.marks_cache) {
                    last.prompt_cache_breakpoint = Some(Breakpoint::of(*ttl));
                }
                continue;
            }
            chat::Part::File(file) => {
                let (file_data, file_url) = match &file.media {
                    Media::Data { .. } => (Some(file.media.url()), None),
                    Media::Url(_) => (None, Some(file.media.url())),
                };
                // The API wants a name with the bytes.
                let filename = file.name.as_deref().or(file_data.as_ref().map(|_| "file.pdf"));
                Kind::File { filename, file_data, file_url }
            }
            chat::Part::Image(image) => {
                let detail = image.detail.map_or("auto", Detail::as_str);
                Kind::Image { image_url: image.media.url(), detail }
            }
            chat::Part::Refusal(text) | chat::Part::Text(text) => Kind::Text { text },
            chat::Part::Reasoning(_) | chat::Part::ToolCall(_) | chat::Part::ToolResult(_) => continue,
        };
        content.push(Part { kind, prompt_cache_breakpoint: None });
    }
    content
}

/// The model's turn: an item for each thought and call, and one for what it said between them.
fn answer<'a>(
    at: usize,
    message: &'a Message,
    input: &mut Vec<Item<'a>>,
    dropped: &mut Vec<String>,
) -> Result<(), Error> {
    let mut content = Vec::new();
    for part in &message.parts {
        match part {
            chat::Part::CachePoint(_) | chat::Part::ToolResult(_) => {}
            chat::Part::File(_) | chat::Part::Image(_) => {
                let param = format!("messages[{at}].content");
                let message = format!("`{param}` of the assistant can hold text only for this model.");
                return Err(Error::unsupported(param, message));
            }
            chat::Part::Reasoning(thought) => {
                flush(&mut content, input);
                match own(thought) {
                    Some(item) => input.push(item),
                    None => dropped.push(format!("messages[{at}].reasoning_content")),
                }
            }
            chat::Part::Refusal(refusal) => content.push(Said::Refusal { refusal }),
            chat::Part::Text(text) => content.push(Said::OutputText { text }),
            chat::Part::ToolCall(call) => {
                flush(&mut content, input);
                let is_empty = call.arguments.trim_ascii().is_empty();
                input.push(Item::FunctionCall {
                    call_id: call_id(&call.id),
                    name: &call.name,
                    arguments: if is_empty { "{}" } else { &call.arguments },
                });
            }
        }
    }
    flush(&mut content, input);
    Ok(())
}

fn flush<'a>(content: &mut Vec<Said<'a>>, input: &mut Vec<Item<'a>>) {
    if !content.is_empty() {
        input.push(Item::Answer { role: "assistant", content: std::mem::take(content) });
    }
}

/// Thought of a provider of this API. A conversation may have begun elsewhere: what cannot be shown to be
/// its own is refused.
fn own(thought: &chat::Reasoning) -> Option<Item<'_>> {
    let (id, encrypted_content) =
        thought.signature.as_deref()?.strip_prefix(SIGNATURE_PREFIX)?.split_once(':')?;
    let text = Some(&*thought.text).filter(|text| !text.is_empty());
    let summary = text.map(|text| Summary { kind: "summary_text", text }).into_iter().collect();
    Some(Item::Reasoning { id: Some(id).filter(|id| !id.is_empty()), summary, encrypted_content })
}

fn results<'a>(message: &'a Message, model: &Model, input: &mut Vec<Item<'a>>) {
    for part in &message.parts {
        let chat::Part::ToolResult(result) = part else { continue };
        let output = match result.parts.as_slice() {
            [] if result.is_error => Output::Text(Cow::Borrowed(TOOL_FAILED)),
            [] => Output::Text(Cow::Borrowed("")),
            [chat::Part::Text(text)] if result.is_error => {
                Output::Text(Cow::Owned(format!("{TOOL_FAILED}{text}")))
            }
            [chat::Part::Text(text)] => Output::Text(Cow::Borrowed(text)),
            several => {
                let mut parts = parts(several, model);
                if result.is_error {
                    let kind = Kind::Text { text: TOOL_FAILED };
                    parts.insert(0, Part { kind, prompt_cache_breakpoint: None });
                }
                Output::Parts(parts)
            }
        };
        input.push(Item::FunctionCallOutput { call_id: call_id(&result.call_id), output });
    }
}

/// A call's id, as long as the API takes it; another provider may have used a longer one. Only the call
/// and its result must agree, and both are in the request.
fn call_id(id: &str) -> Cow<'_, str> {
    if id.len() <= MAX_CALL_ID {
        return Cow::Borrowed(id);
    }
    // FNV-1a: ids of one conversation need not be told apart against an attacker.
    let mix = |hash: u128, byte: u8| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013B)
    };
    let hash = id.bytes().fold(0x6C62_272E_07BB_0142_62B8_2175_6295_C58D, mix);
    Cow::Owned(format!("call_{hash:032x}"))
}

fn tool(tool: &chat::Tool) -> Tool<'_> {
    let none = || Cow::Owned(serde_json::json!({ "type": "object", "properties": {} }));
    Tool {
        kind: "function",
        name: &tool.name,
        description: tool.description.as_deref(),
        parameters: tool.parameters.as_ref().map_or_else(none, Cow::Borrowed),
        // Here it holds unless it is denied, elsewhere the other way round.
        strict: tool.strict.unwrap_or(false),
    }
}

fn tool_choice(choice: &chat::ToolChoice) -> ToolChoice<'_> {
    match choice {
        chat::ToolChoice::Auto => ToolChoice::Mode("auto"),
        chat::ToolChoice::Function(name) => ToolChoice::Function { kind: "function", name },
        chat::ToolChoice::None => ToolChoice::Mode("none"),
        chat::ToolChoice::Required => ToolChoice::Mode("required"),
    }
}

fn format(format: &ResponseFormat) -> Option<Format<'_>> {
    match format {
        ResponseFormat::JsonObject => Some(Format::JsonObject),
        ResponseFormat::JsonSchema { name, description, schema, strict } => {
            Some(Format::JsonSchema { name, description: description.as_deref(), schema, strict: *strict })
        }
        ResponseFormat::Text => None,
    }
}

const MAX_CALL_ID: usize = 64;

pub(super) const LOGPROBS: &str = "message.output_text.logprobs";

// --- wire ---

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    input: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<TextSetting<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<ReasoningSetting>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    include: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    safety_identifier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_options: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_retention: Option<&'a Value>,
    store: bool,
    stream: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item<'a> {
    #[serde(rename = "message")]
    Answer {
        role: &'static str,
        content: Vec<Said<'a>>,
    },
    FunctionCall {
        call_id: Cow<'a, str>,
        name: &'a str,
        arguments: &'a str,
    },
    FunctionCallOutput {
        call_id: Cow<'a, str>,
        output: Output<'a>,
    },
    Message {
        role: &'static str,
        content: Vec<Part<'a>>,
    },
    Reasoning {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        summary: Vec<Summary<'a>>,
        encrypted_content: &'a str,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said<'a> {
    OutputText { text: &'a str },
    Refusal { refusal: &'a str },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Output<'a> {
    Parts(Vec<Part<'a>>),
    Text(Cow<'a, str>),
}

#[derive(Serialize)]
struct Part<'a> {
    #[serde(flatten)]
    kind: Kind<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_breakpoint: Option<Breakpoint>,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Kind<'a> {
    #[serde(rename = "input_file")]
    File {
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_data: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_url: Option<Cow<'a, str>>,
    },
    #[serde(rename = "input_image")]
    Image { image_url: Cow<'a, str>, detail: &'static str },
    #[serde(rename = "input_text")]
    Text { text: &'a str },
}

#[derive(Serialize)]
pub(in crate::dialect) struct Breakpoint {
    mode: &'static str,
    /// At least; otherwise 30 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

impl Breakpoint {
    pub(in crate::dialect) fn of(ttl: CacheTtl) -> Self {
        Self { mode: "explicit", ttl: (ttl == CacheTtl::Hour).then_some("12h") }
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Cow<'a, Value>,
    strict: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ToolChoice<'a> {
    Function {
        #[serde(rename = "type")]
        kind: &'static str,
        name: &'a str,
    },
    Mode(&'static str),
}

#[derive(Serialize)]
struct TextSetting<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a Value>,
}

impl TextSetting<'_> {
    fn is_some(&self) -> bool {
        self.format.is_some() || self.verbosity.is_some()
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format<'a> {
    JsonObject,
    JsonSchema {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        schema: &'a Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
}

#[derive(Serialize)]
struct ReasoningSetting {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        chat::{CacheTtl, File, Part, Reasoning, Tool, ToolCall, ToolChoice, ToolResult},
        provider::find,
    };

    fn encoded(request: &chat::Request, model: &str) -> Result<(Value, Vec<String>), Error> {
        let target = Target {
            provider: find("openai").expect("known"),
            model,
            base_url: "https://api.openai.com/v1",
            credential: Some("sk-1"),
        };
        let encoded = encode(request, &target)?;
        assert_eq!(encoded.request.uri(), "https://api.openai.com/v1/responses");
        assert_eq!(encoded.request.headers()["authorization"], "Bearer sk-1");
        Ok((serde_json::from_slice(encoded.request.body()).expect("JSON"), encoded.dropped))
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn message(role: Role, parts: Vec<Part>) -> Message {
        Message { role, parts }
    }

    fn call(id: &str, arguments: &str) -> Part {
        Part::ToolCall(ToolCall {
            id: id.to_owned(),
            name: "f".to_owned(),
            arguments: arguments.to_owned(),
            signature: None,
        })
    }

    fn rich() -> chat::Request {
        let image =
            Part::Image(Media::Data { media_type: "image/png".to_owned(), data: "aaaa".to_owned() }.into());
        let file = Part::File(File {
            cited: false,
            name: None,
            media: Media::Data { media_type: "application/pdf".to_owned(), data: "bbbb".to_owned() },
        });
        let thought = |text: &str, signature: Option<&str>| {
            Part::Reasoning(Reasoning {
                text: text.to_owned(),
                signature: signature.map(str::to_owned),
                redacted: None,
            })
        };
        let result = |id: &str, parts| {
            message(
                Role::Tool,
                vec![Part::ToolResult(ToolResult { call_id: id.to_owned(), parts, is_error: false })],
            )
        };
        chat::Request {
            messages: vec![
                message(Role::System, vec![text("Be kind."), Part::CachePoint(CacheTtl::Hour)]),
                message(Role::User, vec![text("Look"), image.clone(), file]),
                message(
                    Role::Assistant,
                    vec![
                        thought("Hm", Some("openai:rs_1:gAAA")),
                        thought("Other", Some("google:x")),
                        text("Let me see."),
                        Part::Refusal("No.".to_owned()),
                        call("c1", "{\"a\":1}"),
                        call(&"x".repeat(65), ""),
                    ],
                ),
                result("c1", vec![text("1")]),
                result(&"x".repeat(65), vec![text("2"), image]),
            ],
            tools: vec![
                Tool {
                    cache: None,
                    name: "f".to_owned(),
                    description: Some("F.".to_owned()),
                    parameters: None,
                    strict: None,
                },
                Tool {
                    cache: None,
                    name: "g".to_owned(),
                    description: None,
                    parameters: Some(json!({"type": "object", "properties": {"z": {}, "a": {}}})),
                    strict: Some(true),
                },
            ],
            tool_choice: Some(ToolChoice::Function("g".to_owned())),
            parallel_tool_calls: Some(true),
            response_format: ResponseFormat::JsonSchema {
                name: "n".to_owned(),
                description: None,
                schema: json!({"type": "object"}),
                strict: Some(true),
            },
            max_output_tokens: Some(9),
            temperature: Some(1.0),
            top_p: Some(0.5),
            frequency_penalty: Some(0.0),
            presence_penalty: Some(1.0),
            seed: Some(1),
            top_k: Some(1),
            reasoning_effort: Some(Effort::Low),
            reasoning_budget: Some(20_000),
            stream: true,
            user: Some("u".to_owned()),
            ..chat::Request::default()
        }
    }

    #[test]
    fn a_rich_request_is_said_in_items() {
        let (body, dropped) = encoded(&rich(), "gpt-5").expect("encodes");
        let long = format!("call_{:032x}", {
            let mix = |hash: u128, byte: u8| {
                (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013B)
            };
            [b'x'; 65].into_iter().fold(0x6C62_272E_07BB_0142_62B8_2175_6295_C58D, mix)
        });
        let image =
            json!({"type": "input_image", "image_url": "data:image/png;base64,aaaa", "detail": "auto"});
        let expected = json!({
            "model": "gpt-5",
            "input": [
                {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be kind."}]},
                {"type": "message", "role": "user", "content": [
                    {"type": "input_text", "text": "Look"}, image,
                    {"type": "input_file", "filename": "file.pdf", "file_data": "data:application/pdf;base64,bbbb"},
                ]},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "gAAA"},
                {"type": "message", "role": "assistant", "content": [
                    {"type": "output_text", "text": "Let me see."}, {"type": "refusal", "refusal": "No."},
                ]},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}"},
                {"type": "function_call", "call_id": long, "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "1"},
                {"type": "function_call_output", "call_id": long, "output": [{"type": "input_text", "text": "2"}, image]},
            ],
            "tools": [
                {"type": "function", "name": "f", "description": "F.", "parameters": {"type": "object", "properties": {}}, "strict": false},
                {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {"z": {}, "a": {}}}, "strict": true},
            ],
            "tool_choice": {"type": "function", "name": "g"},
            "parallel_tool_calls": true,
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true}},
            "max_output_tokens": 9, "temperature": 1.0, "top_p": 0.5,
            "reasoning": {"effort": "high"},
            "include": ["reasoning.encrypted_content"],
            "user": "u", "store": false, "stream": true,
        });
        assert_eq!(body.to_string(), expected.to_string());
        assert_eq!(
            dropped,
            ["cache_control", "messages[2].reasoning_content", "presence_penalty", "seed", "top_k"]
        );
    }

    #[test]
    fn a_plain_request_is_plain() {
        let request = chat::Request {
            messages: vec![message(Role::User, vec![text("Hi"), Part::CachePoint(CacheTtl::Short)])],
            tool_choice: Some(ToolChoice::None),
            parallel_tool_calls: Some(false),
            ..chat::Request::default()
        };
        let body = |model: &str| encoded(&request, model).expect("encodes").0.to_string();
        let plain = r#","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]}],"store":false,"stream":false}"#;
        for model in ["gpt-4o", "gpt-4.1", "gpt-5-chat-latest", "llama-3"] {
            assert_eq!(body(model), format!(r#"{{"model":"{model}"{plain}"#));
        }
        let marked = r#"{"type":"input_text","text":"Hi","prompt_cache_breakpoint":{"mode":"explicit"}}"#;
        for (model, marks) in
            [("o3", false), ("gpt-5.5", false), ("openai/gpt-5.6-mini", true), ("gpt-6", true)]
        {
            let body = body(model);
            assert!(body.contains(r#""include":["reasoning.encrypted_content"]"#), "{body}");
            assert_eq!(body.contains(marked), marks, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let image = Part::Image(Media::Url("https://x/y.png".to_owned()).into());
        let stop = chat::Request { stop: vec!["x".to_owned()], ..chat::Request::default() };
        let drawn = chat::Request {
            messages: vec![message(Role::Assistant, vec![image])],
            ..chat::Request::default()
        };
        for (request, field) in [(stop, "stop"), (drawn, "messages[0].content")] {
            let Err(Error::Unsupported { param, message }) = encoded(&request, "gpt-5") else {
                panic!("{field} was accepted")
            };
            assert_eq!(param, field, "{message}");
        }
    }
}
