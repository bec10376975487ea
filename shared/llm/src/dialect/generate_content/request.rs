//! The unified request, as Gemini wants it.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::SIGNATURE_PREFIX;
use crate::{
    Error, Target,
    chat::{self, Effort, ResponseFormat, Role, ToolChoice},
    dialect::{
        Encoded, Serves, arguments, drop_extra, drop_hints, drop_service, labels_within, parts, post,
        refuse_one_call,
    },
    kept,
    provider::Hosting,
};

pub(super) fn encode(request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
    let generation = Generation::of(target.model);
    // In whatever field the caller's protocol has addresses, one may be of a file that another tenant keeps.
    let is_kept = |part: &chat::Part| match part {
        chat::Part::File(chat::File { media: chat::Media::Url(url), .. })
        | chat::Part::Image(chat::Image { media: chat::Media::Url(url), .. }) => kept::is_googles(url),
        _ => false,
    };
    if parts(request).any(is_kept) {
        return Err(kept::kept_here("messages", "Send the content itself."));
    }
    let mut dropped = Vec::new();
    drop_extra(&request.extra, &mut dropped)?;
    drop_hints(request, false, false, &mut dropped);
    if request.end_user().is_some() {
        dropped.push("user".to_owned());
    }
    refuse_one_call(request, &mut dropped)?;
    // A forced call follows its schema anyway; others are not promised to.
    if !matches!(request.tool_choice, Some(ToolChoice::Function(_) | ToolChoice::Required)) {
        let strict = request.tools.iter().enumerate().filter(|(_, tool)| tool.strict == Some(true));
        dropped.extend(strict.map(|(index, _)| format!("tools[{index}].function.strict")));
    }
    if request.stop.len() > MAX_STOPS {
        return Err(Error::unsupported("stop", format!("Gemini takes at most {MAX_STOPS} stop texts.")));
    }
    if request.effort().is_some() && generation == Generation::Thoughtless {
        dropped.push("reasoning_effort".to_owned());
    }

    let (mut instructions, mut contents) = turns(request, generation, &mut dropped)?;
    if contents.is_empty() {
        // A conversation of instructions alone, which OpenAI answers.
        contents.push(Content { role: Some("user"), parts: std::mem::take(&mut instructions) });
    }
    if contents.iter().all(|content| content.parts.is_empty()) {
        return Err(Error::unsupported("messages", "Gemini needs at least one message that is not empty."));
    }
    let is_vertex = target.provider.hosting == Hosting::Vertex;
    let labels = labels_within(request, MAX_LABELS, is_label).filter(|_| is_vertex);
    drop_service(
        request,
        Serves { labels: labels.is_some(), tier: !is_vertex, ..Serves::default() },
        &mut dropped,
    );
    let body = Body {
        contents,
        system_instruction: (!instructions.is_empty()).then_some(Content { role: None, parts: instructions }),
        tools: tools(&request.tools),
        tool_config: request.tool_choice.as_ref().filter(|_| !request.tools.is_empty()).map(tool_config),
        generation_config: generation_config(request, request.top_k, target.model, generation),
        service_tier: request.service_tier.filter(|_| !is_vertex).map(|tier| tier.word("standard")),
        labels,
    };
    let body = serde_json::to_vec(&body).expect("strings and numbers into memory cannot fail");

    Ok(Encoded::new(post(url(target, request.stream), target, body)?, dropped))
}

/// Where a request goes.
pub(super) fn url(target: &Target<'_>, stream: bool) -> String {
    let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    let models = match target.provider.hosting {
        Hosting::Vertex => "publishers/google/models",
        Hosting::Bedrock | Hosting::Own => "v1beta/models",
    };
    format!("{}/{models}/{}:{method}", target.base_url, escape(target.model))
}

/// Whether a schema and tools exclude each other, as they do before Gemini 3.
pub(super) fn lacks_schema(request: &chat::Request, target: &Target<'_>) -> bool {
    let may_call = !request.tools.is_empty() && request.tool_choice != Some(ToolChoice::None);
    may_call && Generation::of(target.model) != Generation::Level
}

/// The instructions, and the conversation in turns of alternating roles.
fn turns<'a>(
    request: &'a chat::Request,
    generation: Generation,
    dropped: &mut Vec<String>,
) -> Result<(Vec<Part<'a>>, Vec<Content<'a>>), Error> {
    let mut instructions = Vec::new();
    let mut contents: Vec<Content<'_>> = Vec::new();
    let mut names: HashMap<&str, &str> = HashMap::new();
    for (index, message) in request.messages.iter().enumerate() {
        let (role, parts) = match message.role {
            Role::Developer | Role::System => {
                instructions.extend(message.parts.iter().filter_map(plain));
                continue;
            }
            Role::Assistant => {
                for part in &message.parts {
                    if let chat::Part::ToolCall(call) = part {
                        names.insert(&call.id, &call.name);
                    }
                }
                if loses_thought(message) {
                    dropped.push(format!("messages[{index}].reasoning_content"));
                }
                ("model", answer(message, generation))
            }
            Role::Tool | Role::User => {
                let mut parts = Vec::new();
                for part in &message.parts {
                    match part {
                        chat::Part::ToolResult(result) => {
                            let Some(name) = names.get(result.call_id.as_str()) else {
                                return Err(Error::invalid(
                                    format!("messages[{index}].tool_call_id"),
                                    "No earlier message calls a tool with this id.",
                                ));
                            };
                            let shown = result
                                .parts
                                .iter()
                                .filter(|part| matches!(part, chat::Part::File(_) | chat::Part::Image(_)));
                            // Earlier models find it beside the result.
                            let (inside, beside): (Vec<_>, Vec<_>) =
                                shown.filter_map(plain).partition(|part| {
                                    generation == Generation::Level && part.inline_data.is_some()
                                });
                            parts.push(response(result, name, inside));
                            parts.extend(beside);
                        }
                        other => parts.extend(plain(other)),
                    }
                }
                ("user", parts)
            }
        };
        match contents.last_mut() {
            _ if parts.is_empty() => {}
            Some(last) if last.role == Some(role) => last.parts.extend(parts),
            _ => contents.push(Content { role: Some(role), parts }),
        }
    }
    // What was called for must come before anything else is said.
    for content in &mut contents {
        content.parts.sort_by_key(|part| part.function_response.is_none() && content.role == Some("user"));
    }
    Ok((instructions, contents))
}

/// A part that means the same in every role. Empty texts are refused by the API.
fn plain(part: &chat::Part) -> Option<Part<'_>> {
    match part {
        chat::Part::Refusal(text) | chat::Part::Text(text) => {
            (!text.is_empty()).then(|| Part { text: Some(text), ..Part::default() })
        }
        chat::Part::Image(image) => Some(shown(&image.media, media_type)),
        chat::Part::File(file) => Some(shown(&file.media, |_| None)),
        chat::Part::CachePoint(_)
        | chat::Part::Reasoning(_)
        | chat::Part::ToolCall(_)
        | chat::Part::ToolResult(_) => None,
    }
}

/// The model's earlier answer. Its thoughts stay out; their signature goes back on the text it came
/// with, and each call's on the call.
fn answer(message: &chat::Message, generation: Generation) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut text_signature = None;
    let mut last_text = None;
    let mut called = false;
    for part in &message.parts {
        match part {
            chat::Part::Reasoning(reasoning) => {
                let ours = reasoning
                    .signature
                    .as_deref()
                    .and_then(|signature| signature.strip_prefix(SIGNATURE_PREFIX));
                text_signature = ours.or(text_signature);
            }
            chat::Part::ToolCall(call) => {
                let signature = match call.signature.as_deref() {
                    None if generation == Generation::Level && !called => Some(SKIP_VALIDATION),
                    signature => signature,
                };
                called = true;
                parts.push(Part {
                    function_call: Some(FunctionCall {
                        id: &call.id,
                        name: &call.name,
                        args: arguments(&call.arguments),
                    }),
                    thought_signature: signature,
                    ..Part::default()
                });
            }
            other => {
                if let Some(part) = plain(other) {
                    last_text = Some(parts.len());
                    parts.push(part);
                }
            }
        }
    }
    match last_text {
        Some(index) => parts[index].thought_signature = text_signature,
        None if text_signature.is_some() && !called => {
            parts.push(Part { text: Some(""), thought_signature: text_signature, ..Part::default() });
        }
        None => {}
    }
    parts
}

/// A picture or a document. Of what is at an address, its type where that can be told.
fn shown(media: &chat::Media, media_type: impl Fn(&str) -> Option<&'static str>) -> Part<'_> {
    match media {
        chat::Media::Data { media_type, data } => {
            Part { inline_data: Some(InlineData { mime_type: media_type, data }), ..Part::default() }
        }
        chat::Media::Url(url) => {
            let file = FileData { mime_type: media_type(url), file_uri: url };
            Part { file_data: Some(file), ..Part::default() }
        }
    }
}

/// Whether there is thought that is not Gemini's, which has no place for it. Its own is kept in its signature.
fn loses_thought(message: &chat::Message) -> bool {
    let own = |signature: &str| signature.starts_with(SIGNATURE_PREFIX);
    let is_own = message.parts.iter().any(|part| match part {
        chat::Part::Reasoning(thought) => thought.signature.as_deref().is_some_and(own),
        chat::Part::ToolCall(call) => call.signature.is_some(),
        _ => false,
    });
    message.parts.iter().any(|part| match part {
        chat::Part::Reasoning(thought) => {
            thought.redacted.is_some() || !thought.signature.as_deref().map_or(is_own, own)
        }
        _ => false,
    })
}

/// Arguments must be an object. What the model once wrote otherwise is sent back as it was, wrapped.
fn arguments(text: &str) -> Json<'_> {
    arguments::object(text).map_or(Json::Arguments { arguments: text }, Json::Object)
}

fn response<'a>(result: &'a chat::ToolResult, name: &'a str, parts: Vec<Part<'a>>) -> Part<'a> {
    let texts = || {
        result.parts.iter().filter_map(|part| match part {
            chat::Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
    };
    let response = match (texts().next(), texts().nth(1)) {
        _ if result.is_error => Json::Error { error: texts().collect::<Vec<_>>().join("\n") },
        (Some(text), None) if !text.trim_ascii().is_empty() => {
            arguments::object(text).map_or_else(|| Json::Result { result: text.to_owned() }, Json::Object)
        }
        _ => Json::Result { result: texts().collect::<Vec<_>>().join("\n") },
    };
    let response = FunctionResponse { id: &result.call_id, name, response, parts };
    Part { function_response: Some(response), ..Part::default() }
}

/// What the address says of an image's type; the API looks by itself where it says nothing.
fn media_type(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let (_, extension) = path.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "jpeg" | "jpg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        _ => return None,
    })
}

fn tools(tools: &[chat::Tool]) -> Option<[Tools<'_>; 1]> {
    let function_declarations: Vec<_> = tools
        .iter()
        .map(|tool| Declaration {
            name: &tool.name,
            description: tool.description.as_deref(),
            // A schema that says nothing is refused: it must be one of an object.
            parameters_json_schema: tool
                .parameters
                .as_ref()
                .filter(|schema| *schema != &serde_json::json!({})),
        })
        .collect();
    (!function_declarations.is_empty()).then_some([Tools { function_declarations }])
}

fn tool_config(choice: &ToolChoice) -> ToolConfig<'_> {
    let (mode, allowed_function_names) = match choice {
        ToolChoice::Auto => ("AUTO", None),
        ToolChoice::Function(name) => ("ANY", Some([name.as_str()])),
        ToolChoice::None => ("NONE", None),
        ToolChoice::Required => ("ANY", None),
    };
    ToolConfig { function_calling_config: FunctionCallingConfig { mode, allowed_function_names } }
}

fn generation_config<'a>(
    request: &'a chat::Request,
    top_k: Option<u64>,
    model: &str,
    generation: Generation,
) -> Option<GenerationConfig<'a>> {
    let (response_mime_type, response_json_schema) = match &request.response_format {
        ResponseFormat::JsonObject => (Some("application/json"), None),
        ResponseFormat::JsonSchema { schema, .. } => (Some("application/json"), Some(schema)),
        ResponseFormat::Text => (None, None),
    };
    let config = GenerationConfig {
        temperature: request.temperature,
        top_p: request.top_p,
        top_k,
        max_output_tokens: request.max_output_tokens,
        frequency_penalty: request.frequency_penalty,
        presence_penalty: request.presence_penalty,
        // Gemini's seeds have 32 bits. The same seed still gives the same seed.
        seed: request.seed.map(|seed| seed as i32),
        stop_sequences: &request.stop,
        response_mime_type,
        response_json_schema,
        thinking_config: thinking(request, model, generation),
        response_logprobs: request.logprobs.map(|_| true),
        logprobs: request.logprobs.filter(|others| *others > 0),
    };
    (config != GenerationConfig::default()).then_some(config)
}

/// What a model makes of a wish for reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generation {
    /// It has no settings for thought: Gemini up to 2.0, Gemma.
    Thoughtless,
    /// Gemini 2.5: a number of tokens.
    Budget,
    /// Gemini 3 and later: a level.
    Level,
}

impl Generation {
    fn of(model: &str) -> Self {
        let model = bare(model);
        if model.starts_with("gemini-2.5") {
            Self::Budget
        } else if ["gemini-1", "gemini-2.0", "gemma", "learnlm"].iter().any(|old| model.starts_with(old)) {
            Self::Thoughtless
        } else {
            Self::Level
        }
    }
}

/// A model that cannot stop thinking is asked to think as little as it can.
fn thinking(request: &chat::Request, model: &str, generation: Generation) -> Option<ThinkingConfig> {
    let model = bare(model);
    let is_pro = model.contains("pro");
    let config = |thinking_budget, thinking_level, thinks| {
        let include_thoughts = request.thoughts.unwrap_or(thinks);
        Some(ThinkingConfig { thinking_budget, thinking_level, include_thoughts })
    };
    let effort = match (generation, request.effort()) {
        (Generation::Thoughtless, _) => return None,
        (_, None) if request.thoughts == Some(true) => return config(None, None, true),
        (_, effort) => effort?,
    };
    if generation == Generation::Budget {
        let budget = match request.budget()? {
            budget if is_pro => budget.clamp(128, 32_768),
            0 => 0,
            budget if model.contains("lite") => budget.clamp(512, 24_576),
            budget => budget.min(24_576),
        };
        return config(Some(budget), None, effort != Effort::None);
    }
    let level = match effort {
        Effort::None | Effort::Minimal if is_pro => "low",
        Effort::None | Effort::Minimal => "minimal",
        Effort::Low => "low",
        // The first of its generation knew two levels.
        Effort::Medium if model.starts_with("gemini-3-pro") => "high",
        Effort::Medium => "medium",
        Effort::High | Effort::XHigh => "high",
    };
    config(None, Some(level), effort != Effort::None)
}

/// Letters are small ones, and one of them comes first.
fn is_label(name: &str, value: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_-".contains(letter);
    let is_label = |text: &str| text.len() <= 63 && text.chars().all(fits);
    name.starts_with(|letter: char| letter.is_ascii_lowercase()) && is_label(name) && is_label(value)
}

/// How many labels a request may have.
const MAX_LABELS: usize = 64;

/// Google lists its models as `models/…`; either form is understood.
fn bare(model: &str) -> &str {
    model.strip_prefix("models/").unwrap_or(model)
}

/// The model as one segment of a path: no character of it can change the address.
fn escape(model: &str) -> String {
    let mut escaped = String::with_capacity(model.len());
    for byte in bare(model).bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte))
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

// --- wire ---

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[Tools<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation_config: Option<GenerationConfig<'a>>,
    /// Not on Vertex AI, which reads it in headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    /// On Vertex AI only, which bills by them.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Value>,
}

#[derive(Serialize)]
struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<Part<'a>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<InlineData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<FileData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<FunctionResponse<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InlineData<'a> {
    mime_type: &'a str,
    data: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'static str>,
    file_uri: &'a str,
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    id: &'a str,
    name: &'a str,
    args: Json<'a>,
}

#[derive(Serialize)]
struct FunctionResponse<'a> {
    id: &'a str,
    name: &'a str,
    response: Json<'a>,
    /// Pictures and documents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part<'a>>,
}

/// A JSON object: the caller's own, or one around the caller's text.
#[derive(Serialize)]
#[serde(untagged)]
enum Json<'a> {
    Arguments {
        arguments: &'a str,
    },
    /// Google's name for what a failed function gave back.
    Error {
        error: String,
    },
    Object(&'a RawValue),
    Result {
        result: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    /// Takes JSON Schema as it is; the older `parameters` takes a subset and refuses the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    function_calling_config: FunctionCallingConfig<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FunctionCallingConfig<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_function_names: Option<[&'a str; 1]>,
}

#[derive(Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u64>,
}

#[derive(PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'static str>,
    include_thoughts: bool,
}

const MAX_STOPS: usize = 5;

/// Google's word for a call whose signature there never was, because another model made it. Without
/// either, Gemini 3 refuses the conversation; only the first call of a turn needs one.
pub(super) const SKIP_VALIDATION: &str = "skip_thought_signature_validator";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effort_becomes_what_the_model_understands() {
        let of = |model: &str, effort: Effort| {
            let request = chat::Request { reasoning_effort: Some(effort), ..chat::Request::default() };
            let config = thinking(&request, model, Generation::of(model));
            config.map(|config| serde_json::to_string(&config).expect("JSON"))
        };
        let cases = [
            ("gemini-2.0-flash", Effort::High, None),
            ("gemma-3-27b-it", Effort::Low, None),
            ("gemini-2.5-flash", Effort::None, Some(r#"{"thinkingBudget":0,"includeThoughts":false}"#)),
            ("gemini-2.5-pro", Effort::None, Some(r#"{"thinkingBudget":128,"includeThoughts":false}"#)),
            (
                "models/gemini-2.5-flash",
                Effort::Low,
                Some(r#"{"thinkingBudget":1024,"includeThoughts":true}"#),
            ),
            ("gemini-2.5-flash", Effort::XHigh, Some(r#"{"thinkingBudget":24576,"includeThoughts":true}"#)),
            (
                "gemini-3-flash-preview",
                Effort::None,
                Some(r#"{"thinkingLevel":"minimal","includeThoughts":false}"#),
            ),
            (
                "gemini-3-pro-preview",
                Effort::Minimal,
                Some(r#"{"thinkingLevel":"low","includeThoughts":true}"#),
            ),
            (
                "gemini-3-pro-preview",
                Effort::Medium,
                Some(r#"{"thinkingLevel":"high","includeThoughts":true}"#),
            ),
            (
                "gemini-3.1-pro-preview",
                Effort::Medium,
                Some(r#"{"thinkingLevel":"medium","includeThoughts":true}"#),
            ),
            ("gemini-flash-latest", Effort::High, Some(r#"{"thinkingLevel":"high","includeThoughts":true}"#)),
        ];
        for (model, effort, expected) in cases {
            assert_eq!(of(model, effort).as_deref(), expected, "{model} {effort:?}");
        }
    }

    #[test]
    fn what_a_tool_gave_back_stands_beside_its_result_and_a_failure_is_one() {
        let result = |parts, is_error| chat::ToolResult { call_id: "c".to_owned(), parts, is_error };
        let text = || chat::Part::Text("no".to_owned());
        let pdf = || {
            let media =
                chat::Media::Data { media_type: "application/pdf".to_owned(), data: "aGk=".to_owned() };
            chat::Part::File(chat::File { name: None, cited: false, media })
        };
        let call = chat::ToolCall { id: "c".to_owned(), name: "f".to_owned(), ..chat::ToolCall::default() };
        let sent_to = |generation, result: chat::ToolResult| {
            let message = |role, part| chat::Message { role, parts: vec![part] };
            let request = chat::Request {
                messages: vec![
                    message(Role::Assistant, chat::Part::ToolCall(call.clone())),
                    message(Role::Tool, chat::Part::ToolResult(result)),
                ],
                ..chat::Request::default()
            };
            let (_, contents) = turns(&request, generation, &mut Vec::new()).expect("a conversation");
            serde_json::to_string(&contents[1].parts).expect("JSON")
        };
        let sent = |result| sent_to(Generation::Budget, result);
        assert_eq!(
            sent_to(Generation::Level, result(vec![text(), pdf()], false)),
            r#"[{"functionResponse":{"id":"c","name":"f","response":{"result":"no"},"parts":[{"inlineData":{"mimeType":"application/pdf","data":"aGk="}}]}}]"#
        );
        assert_eq!(
            sent(result(vec![text(), pdf()], false)),
            r#"[{"functionResponse":{"id":"c","name":"f","response":{"result":"no"}}},{"inlineData":{"mimeType":"application/pdf","data":"aGk="}}]"#
        );
        assert_eq!(
            sent(result(vec![text()], true)),
            r#"[{"functionResponse":{"id":"c","name":"f","response":{"error":"no"}}}]"#
        );
    }

    #[test]
    fn an_address_of_what_google_keeps_is_refused_in_every_protocol() {
        let provider = crate::provider::find("gemini").expect("a row");
        let target = Target { provider, model: "gemini-2.5-pro", base_url: "https://x", credential: None };
        let sent = |part| {
            let messages = vec![chat::Message { role: Role::User, parts: vec![part] }];
            encode(&chat::Request { messages, ..chat::Request::default() }, &target)
        };
        let media = |url: &str| chat::Media::Url(url.to_owned());
        let file = |url| chat::Part::File(chat::File { name: None, cited: false, media: media(url) });
        let result = |part| {
            let result = chat::ToolResult { call_id: "c".to_owned(), parts: vec![part], is_error: false };
            chat::Part::ToolResult(result)
        };
        let theirs = "https://generativelanguage.googleapis.com/v1beta/files/1";
        for part in [file(theirs), chat::Part::Image(media(theirs).into()), result(file(theirs))] {
            assert!(matches!(sent(part), Err(Error::Unsupported { .. })));
        }
        assert!(sent(file("https://example.com/a.pdf")).is_ok());
    }

    #[test]
    fn no_model_name_can_change_the_address() {
        let cases = [
            ("gemini-2.5-flash", "gemini-2.5-flash"),
            ("models/gemini-2.5-flash", "gemini-2.5-flash"),
            ("../../v1/x?key=1#", "..%2F..%2Fv1%2Fx%3Fkey%3D1%23"),
            ("a b:c\r\nä%", "a%20b%3Ac%0D%0A%C3%A4%25"),
        ];
        for (model, expected) in cases {
            assert_eq!(escape(model), expected);
        }
    }
}
