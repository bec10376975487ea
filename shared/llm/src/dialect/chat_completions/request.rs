//! A caller's Chat Completions body, read into the unified request.
//!
//! Strict, because a field misread in silence is a wrong answer paid for. Fields
//! that no other protocol has are kept in [`Request::extra`], nested ones under their path.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::DETAIL_PREFIX;
use crate::{
    Error,
    chat::{
        CacheTtl, Effort, Extra, File, Image, Media, Message, OPENAIS, Part, Reasoning, Request,
        ResponseFormat, Role, Tool, ToolCall, ToolChoice, ToolResult,
    },
    dialect::{detail, labels, openais, service_tier, turns::Calls},
    fields::{self, At, Object, leave},
};

/// Reads a caller's body.
pub fn parse(body: &[u8]) -> Result<Request, Error> {
    let mut body = fields::body(body)?;
    let mut extra = Vec::new();
    let model = body.required_text("model", "`provider/model` or an alias")?;
    let messages = messages(&mut body, &mut extra)?;
    let tools = tools(&mut body, &mut extra)?;
    let (tools, tool_choice) = tool_choice(&mut body, tools)?;
    let old_limit = body.count("max_tokens")?;
    let request = Request {
        model,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls: body.boolean("parallel_tool_calls")?,
        response_format: response_format(&mut body)?,
        max_output_tokens: body.count("max_completion_tokens")?.or(old_limit),
        temperature: body.number("temperature", 0.0, 2.0)?,
        top_p: body.number("top_p", 0.0, 1.0)?,
        frequency_penalty: body.number("frequency_penalty", -2.0, 2.0)?,
        presence_penalty: body.number("presence_penalty", -2.0, 2.0)?,
        seed: body.integer("seed")?,
        stop: stop(&mut body)?,
        logprobs: logprobs(&mut body)?,
        stream: body.boolean("stream")?.unwrap_or(false),
        include_usage: match body.object("stream_options")? {
            Some(mut options) => {
                let include_usage = options.boolean("include_usage")?.unwrap_or(false);
                leave(options, &mut extra);
                include_usage
            }
            None => false,
        },
        user: body.text("user")?,
        safety_identifier: body.text("safety_identifier")?,
        service_tier: service_tier(&mut body, "service_tier"),
        labels: labels(&mut body, "metadata"),
        openais: openais(&mut body, OPENAIS),
        ..Request::default()
    };
    let request = thinking(&mut body, request, &mut extra)?;
    if let Some(n) = body.count("n")?.filter(|n| *n > 1) {
        extra.push(("n".to_owned(), Value::from(n)));
    }
    let says_nothing = |name: &str, value: &Value| match name {
        "logit_bias" => value.as_object().is_some_and(Map::is_empty),
        "modalities" => value.as_array().is_some_and(|list| list.len() == 1 && list[0] == "text"),
        _ => value.is_null(),
    };
    // Not OpenAI's, but many compatible servers'.
    let top_k = body.map.get("top_k").and_then(Value::as_u64);
    if top_k.is_some() {
        body.map.remove("top_k");
    }
    let rest = body.map.into_iter().filter(|(name, value)| !says_nothing(name, value));
    let extra = rest.chain(extra).map(|(name, value)| {
        let instead = REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, instead)| *instead);
        Extra { name, value, instead }
    });
    Ok(Request { top_k, extra: extra.collect(), ..request })
}

fn messages(body: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<Vec<Message>, Error> {
    let Some(list) = body.list("messages", MAX_MESSAGES)? else {
        return Err(Error::invalid("messages", "`messages` is required: a list of messages, oldest first."));
    };
    if list.is_empty() {
        return Err(Error::invalid("messages", "`messages` must hold at least one message."));
    }
    let mut calls = Calls::default();
    let mut messages = Vec::with_capacity(list.len());
    let here = body.at;
    let at = here.field("messages");
    for (index, value) in list.into_iter().enumerate() {
        let mut object = Object::from(value, at.index(index))?;
        let message = message(&mut object, extra)?;
        if calls.stray(&message.parts).is_some() {
            let rule = "must be the id of a tool call in an earlier assistant message";
            return Err(object.at.field("tool_call_id").wrong(rule));
        }
        messages.push(message);
        leave(object, extra);
    }
    Ok(messages)
}

fn message(object: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<Message, Error> {
    let here = object.at;
    let at = here.field("role");
    let role = match object
        .required_text("role", "`system`, `developer`, `user`, `assistant` or `tool`")?
        .as_str()
    {
        "assistant" => Role::Assistant,
        "developer" => Role::Developer,
        "system" => Role::System,
        "tool" => Role::Tool,
        "user" => Role::User,
        "function" => return Err(at.cannot("is an old form. Use a `tool` message with a `tool_call_id`")),
        _ => return Err(at.wrong("must be `system`, `developer`, `user`, `assistant` or `tool`")),
    };
    match role {
        Role::Assistant => assistant(object, extra),
        Role::Tool => {
            let call_id = object.required_text("tool_call_id", "the `id` of the tool call this answers")?;
            let parts =
                content(object, role, extra)?.ok_or_else(|| object.at.field("content").required(CONTENT))?;
            // OpenAI's own tool messages have no word for it, but those of some frameworks do.
            let is_error = object.boolean("is_error")?.unwrap_or(false);
            Ok(Message { role, parts: vec![Part::ToolResult(ToolResult { call_id, parts, is_error })] })
        }
        Role::Developer | Role::System | Role::User => {
            let parts =
                content(object, role, extra)?.ok_or_else(|| object.at.field("content").required(CONTENT))?;
            Ok(Message { role, parts })
        }
    }
}

fn assistant(object: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<Message, Error> {
    let mut parts = reasoning(object)?;
    let thoughts = parts.len();
    if let Some(content) = content(object, Role::Assistant, extra)? {
        parts.extend(content);
    } else if let Some(refusal) = object.text("refusal")? {
        parts.push(Part::Refusal(refusal));
    }
    object.map.remove("refusal");
    if object.map.get("function_call").is_some_and(|call| !call.is_null()) {
        return Err(object.at.field("function_call").cannot("is an old form. Use `tool_calls`"));
    }
    let here = object.at;
    let at = here.field("tool_calls");
    for (index, value) in object.list("tool_calls", MAX_PARTS)?.unwrap_or_default().into_iter().enumerate() {
        parts.push(Part::ToolCall(tool_call(value, at.index(index), extra)?));
    }
    if parts.len() == thoughts {
        return Err(object.at.field("content").required("text, or null beside `tool_calls`"));
    }
    // What an answer says beside the message proper, and a client may send back.
    for name in ["annotations", "audio"] {
        if object.map.get(name).is_some_and(|value| value.is_null() || value == &Value::Array(Vec::new())) {
            object.map.remove(name);
        }
    }
    Ok(Message { role: Role::Assistant, parts })
}

/// Thought the caller sends back. `reasoning_details` is the fuller form: where it says something, the
/// readable text beside it is the same thought again.
fn reasoning(object: &mut Object<'_>) -> Result<Vec<Part>, Error> {
    let here = object.at;
    let at = here.field("reasoning_details");
    let mut parts = Vec::new();
    for (index, value) in
        object.list("reasoning_details", MAX_PARTS)?.unwrap_or_default().into_iter().enumerate()
    {
        let mut detail = Object::from(value, at.index(index))?;
        if let Some(format) = detail.text("format")?.filter(|format| !format.starts_with("anthropic")) {
            parts.extend(foreign(&mut detail, format)?.map(Part::Reasoning));
            continue;
        }
        let reasoning = match detail.required_text("type", "such as `reasoning.text`")?.as_str() {
            "reasoning.encrypted" => Reasoning { redacted: detail.text("data")?, ..Reasoning::default() },
            "reasoning.summary" => {
                Reasoning { text: detail.text("summary")?.unwrap_or_default(), ..Reasoning::default() }
            }
            "reasoning.text" => Reasoning {
                text: detail.text("text")?.unwrap_or_default(),
                signature: detail.text("signature")?.filter(|signature| !signature.is_empty()),
                redacted: None,
            },
            // Another provider's; nobody here could replay it.
            _ => continue,
        };
        if reasoning != Reasoning::default() {
            parts.push(Part::Reasoning(reasoning));
        }
    }
    let texts = [object.text("reasoning_content")?, object.text("reasoning")?];
    if parts.is_empty() {
        let text = texts.into_iter().flatten().find(|text| !text.is_empty());
        parts.extend(text.map(|text| Part::Reasoning(Reasoning { text, ..Reasoning::default() })));
    }
    Ok(parts)
}

/// Thought of another maker than Claude's, as OpenRouter tells it: only OpenRouter can take it back.
fn foreign(detail: &mut Object<'_>, format: String) -> Result<Option<Reasoning>, Error> {
    let text = detail.text("text")?.or(detail.text("summary")?).unwrap_or_default();
    let mut fields = Map::from_iter([("format".to_owned(), Value::String(format))]);
    for name in ["id", "data", "signature"] {
        fields.extend(detail.text(name)?.map(|value| (name.to_owned(), Value::String(value))));
    }
    let signed = fields.contains_key("data") || fields.contains_key("signature");
    let signature = signed.then(|| format!("{DETAIL_PREFIX}{}", Value::Object(fields)));
    let reasoning = Reasoning { text, signature, redacted: None };
    Ok((reasoning != Reasoning::default()).then_some(reasoning))
}

/// The parts of `content`; `None` where it is null or absent.
fn content(
    object: &mut Object<'_>,
    role: Role,
    extra: &mut Vec<(String, Value)>,
) -> Result<Option<Vec<Part>>, Error> {
    let here = object.at;
    let at = here.field("content");
    let list = match object.take("content") {
        None => return Ok(None),
        Some(Value::String(text)) => return Ok(Some(vec![Part::Text(text)])),
        Some(Value::Array(list)) => at.bounded(list, MAX_PARTS)?,
        Some(other) => return Err(at.wrong_type("a string or a list of parts", &other)),
    };
    if list.is_empty() {
        return Err(at.wrong("must hold at least one part"));
    }
    let mut parts = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let mut object = Object::from(value, at.index(index))?;
        parts.push(part(&mut object, role, extra)?);
        parts.extend(cache_control(&mut object)?.map(Part::CachePoint));
        leave(object, extra);
    }
    Ok(Some(parts))
}

fn part(object: &mut Object<'_>, role: Role, extra: &mut Vec<(String, Value)>) -> Result<Part, Error> {
    let kind = object.required_text("type", "`text` or `image_url`")?;
    match (kind.as_str(), role) {
        ("text", _) => Ok(Part::Text(object.required_string("text")?)),
        ("refusal", Role::Assistant) => Ok(Part::Refusal(object.required_string("refusal")?)),
        ("image_url", Role::Tool | Role::User) => {
            let here = object.at;
            let at = here.field("image_url");
            let Some(mut image) = object.object("image_url")? else {
                return Err(at.required("an object with a `url`"));
            };
            let url = image.required_text("url", URL)?;
            let media = picture(url, image.at.field("url"))?;
            let detail = detail(&mut image);
            leave(image, extra);
            Ok(Part::Image(Image { detail, media }))
        }
        ("image_url", _) => Err(object.at.cannot("is an image, which only `user` and `tool` messages can hold")),
        ("file", Role::Tool | Role::User) => file(object),
        ("file" | "input_audio" | "video_url", _) => Err(object.at.cannot(&format!(
            "is of the type `{kind}`, which cannot be translated for this model. Send text or images, or choose a \
             model of a provider that speaks Chat Completions"
        ))),
        _ => Err(object.at.field("type").wrong("must be `text` or `image_url`")),
    }
}

/// A document, by content or, as OpenRouter takes it, by address.
fn file(object: &mut Object<'_>) -> Result<Part, Error> {
    const WHAT: &str = "the document as `data:…;base64,…`";
    let here = object.at;
    let at = here.field("file");
    let Some(mut file) = object.object("file")? else {
        return Err(at.required("an object with `file_data`"));
    };
    if file.take("file_id").is_some() {
        let why = "names a file that was uploaded to a provider, which cannot be translated for this model. Use \
                   `file_data`";
        return Err(file.at.field("file_id").cannot(why));
    }
    let name = file.text("filename")?.filter(|name| !name.is_empty());
    let data = file.required_text("file_data", WHAT)?;
    let media = media(data, "", file.at.field("file_data"), &format!("must be {WHAT}"))?;
    Ok(Part::File(File { name, media, cited: false }))
}

/// A mark for the prompt cache: OpenAI's own, or Anthropic's, which OpenRouter takes.
fn cache_control(object: &mut Object<'_>) -> Result<Option<CacheTtl>, Error> {
    if let Some(mut point) = object.object("prompt_cache_breakpoint")? {
        let is_long = point.text("ttl")?.as_deref() == Some("12h");
        return Ok(Some(if is_long { CacheTtl::Hour } else { CacheTtl::Short }));
    }
    let Some(mut control) = object.object("cache_control")? else { return Ok(None) };
    match control.text("ttl")?.as_deref() {
        None | Some("5m") => Ok(Some(CacheTtl::Short)),
        Some("1h") => Ok(Some(CacheTtl::Hour)),
        Some(_) => Err(control.at.field("ttl").wrong("must be `5m` or `1h`")),
    }
}

fn picture(url: String, at: At<'_>) -> Result<Media, Error> {
    media(url, "image/", at, URL_RULE)
}

/// What an address names or a `data:` URL of a type of this `kind` holds.
fn media(url: String, kind: &str, at: At<'_>, rule: &str) -> Result<Media, Error> {
    if url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) && url.len() > 8 {
        return Ok(Media::Url(url));
    }
    let Some((head, data)) = url.strip_prefix("data:").and_then(|rest| rest.split_once(',')) else {
        return Err(at.wrong(rule));
    };
    let Some(media_type) = head.strip_suffix(";base64").filter(|media_type| media_type.starts_with(kind))
    else {
        return Err(at.wrong(rule));
    };
    let digits = data.trim_end_matches('=');
    let is_base64 = digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
    if digits.is_empty() || !is_base64 || data.len() - digits.len() > 2 {
        return Err(at.wrong(if kind.is_empty() {
            "must hold base64 after the comma"
        } else {
            "must hold the image in base64 after the comma"
        }));
    }
    // Parameters (`image/png;name=x`) are of no use to a provider.
    let media_type = match media_type.split(';').next().unwrap_or(media_type).to_ascii_lowercase().as_str() {
        // Often written, never registered, and refused.
        "image/jpg" => "image/jpeg".to_owned(),
        other => other.to_owned(),
    };
    Ok(Media::Data { media_type, data: data.to_owned() })
}

fn tool_call(value: Value, at: At<'_>, extra: &mut Vec<(String, Value)>) -> Result<ToolCall, Error> {
    let mut object = Object::from(value, at)?;
    if object.text("type")?.is_some_and(|kind| kind != "function") {
        return Err(at.cannot("is not a function call, the only kind that can be translated for this model"));
    }
    let id = object.required_text("id", "the id the model gave it")?;
    // The position of a streamed delta; some clients keep it.
    object.map.remove("index");
    let Some(mut function) = object.object("function")? else {
        return Err(at.field("function").required("an object with `name` and `arguments`"));
    };
    let name = function.required_text("name", "the function's name")?;
    let arguments = function.required_string("arguments")?;
    leave(function, extra);
    let signature = match object.object("extra_content")? {
        Some(mut content) => match content.object("google")? {
            Some(mut google) => google.text("thought_signature")?,
            None => None,
        },
        None => None,
    };
    leave(object, extra);
    Ok(ToolCall { id, name, arguments, signature })
}

fn tools(body: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<Vec<Tool>, Error> {
    let here = body.at;
    let at = here.field("tools");
    let mut tools = Vec::new();
    for (index, value) in body.list("tools", MAX_TOOLS)?.unwrap_or_default().into_iter().enumerate() {
        let mut object = Object::from(value, at.index(index))?;
        let kind = object.required_text("type", "`function`")?;
        if kind != "function" {
            return Err(object
                .at
                .field("type")
                .cannot(&format!("is `{kind}`. Only `function` tools can be translated for this model")));
        }
        let Some(mut function) = object.object("function")? else {
            return Err(object.at.field("function").required("an object with a `name`"));
        };
        tools.push(Tool {
            name: function.required_text("name", "the function's name")?,
            description: function.text("description")?,
            parameters: function.schema("parameters")?,
            strict: function.boolean("strict")?,
            cache: None,
        });
        leave(function, extra);
        leave(object, extra);
    }
    Ok(tools)
}

/// The choice, and the tools that are left to choose from.
fn tool_choice(
    body: &mut Object<'_>,
    mut tools: Vec<Tool>,
) -> Result<(Vec<Tool>, Option<ToolChoice>), Error> {
    const RULE: &str =
        "must be `auto`, `none`, `required` or {\"type\":\"function\",\"function\":{\"name\":…}}";
    let here = body.at;
    let at = here.field("tool_choice");
    let known = |tools: &[Tool], name: &str, at: At<'_>| {
        if tools.iter().any(|tool| tool.name == name) {
            Ok(())
        } else {
            Err(at.wrong("must be the name of one of the `tools`"))
        }
    };
    let choice = match body.take("tool_choice") {
        None => return Ok((tools, None)),
        Some(Value::String(word)) => mode(&word).ok_or_else(|| at.wrong(RULE))?,
        Some(Value::Object(map)) => {
            let mut object = Object { map, at };
            match object.required_text("type", "`function`")?.as_str() {
                "function" => {
                    let Some(mut function) = object.object("function")? else {
                        return Err(at.field("function").required("an object with a `name`"));
                    };
                    let name = function.required_text("name", "the function's name")?;
                    known(&tools, &name, function.at.field("name"))?;
                    ToolChoice::Function(name)
                }
                "allowed_tools" => {
                    let Some(mut allowed) = object.object("allowed_tools")? else {
                        return Err(at.field("allowed_tools").required("an object with `mode` and `tools`"));
                    };
                    let word = allowed.required_text("mode", "`auto` or `required`")?;
                    let Some(choice) = mode(&word).filter(|mode| *mode != ToolChoice::None) else {
                        return Err(allowed.at.field("mode").wrong("must be `auto` or `required`"));
                    };
                    let here = allowed.at;
                    let at = here.field("tools");
                    let Some(list) = allowed.list("tools", MAX_TOOLS)? else {
                        return Err(at.required("a list of tools"));
                    };
                    let mut names = HashSet::new();
                    for (index, value) in list.into_iter().enumerate() {
                        let mut tool = Object::from(value, at.index(index))?;
                        let Some(mut function) = tool.object("function")? else {
                            return Err(tool.at.field("function").required("an object with a `name`"));
                        };
                        let name = function.required_text("name", "the function's name")?;
                        known(&tools, &name, function.at.field("name"))?;
                        names.insert(name);
                    }
                    tools.retain(|tool| names.contains(&tool.name));
                    choice
                }
                "custom" => {
                    return Err(at
                        .field("type")
                        .cannot("is `custom`. Only functions can be translated for this model"));
                }
                _ => return Err(at.wrong(RULE)),
            }
        }
        Some(other) => return Err(at.wrong_type("a string or an object", &other)),
    };
    if tools.is_empty() && matches!(choice, ToolChoice::Required) {
        return Err(at.wrong("needs `tools` to choose from"));
    }
    Ok((tools, Some(choice)))
}

fn mode(word: &str) -> Option<ToolChoice> {
    match word {
        "auto" => Some(ToolChoice::Auto),
        "none" => Some(ToolChoice::None),
        "required" => Some(ToolChoice::Required),
        _ => None,
    }
}

fn response_format(body: &mut Object<'_>) -> Result<ResponseFormat, Error> {
    const KINDS: &str = "`text`, `json_object` or `json_schema`";
    let Some(mut format) = body.object("response_format")? else { return Ok(ResponseFormat::Text) };
    match format.required_text("type", KINDS)?.as_str() {
        // As Together and Cohere have it.
        "json_object" => Ok(match format.schema("schema")? {
            Some(schema) => {
                let name = "answer".to_owned();
                ResponseFormat::JsonSchema { name, description: None, schema, strict: None }
            }
            None => ResponseFormat::JsonObject,
        }),
        "json_schema" => {
            let here = format.at;
            let at = here.field("json_schema");
            let Some(mut schema) = format.object("json_schema")? else {
                return Err(at.required("an object with `name` and `schema`"));
            };
            Ok(ResponseFormat::JsonSchema {
                name: schema.required_text("name", "a name for the schema")?,
                description: schema.text("description")?,
                schema: schema
                    .schema("schema")?
                    .ok_or_else(|| at.field("schema").required("a JSON Schema"))?,
                strict: schema.boolean("strict")?,
            })
        }
        "text" => Ok(ResponseFormat::Text),
        _ => Err(format.at.field("type").wrong(&format!("must be {KINDS}"))),
    }
}

fn stop(body: &mut Object<'_>) -> Result<Vec<String>, Error> {
    let here = body.at;
    let at = here.field("stop");
    let list = match body.take("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => vec![Value::String(text)],
        Some(Value::Array(list)) => at.bounded(list, MAX_STOPS)?,
        Some(other) => return Err(at.wrong_type("a string or a list of strings", &other)),
    };
    let mut texts = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        match value {
            Value::String(text) if text.is_empty() => return Err(at.wrong("must not hold an empty text")),
            Value::String(text) => texts.push(text),
            other => return Err(at.index(index).wrong_type("a string", &other)),
        }
    }
    Ok(texts)
}

/// How much to think and whether to show it: OpenAI's `reasoning_effort`, and OpenRouter's `reasoning`, which says
/// more.
fn thinking(
    body: &mut Object<'_>,
    mut request: Request,
    extra: &mut Vec<(String, Value)>,
) -> Result<Request, Error> {
    let rule = "must be `none`, `minimal`, `low`, `medium`, `high` or `xhigh`";
    let named = |word: String, at: At<'_>| Effort::named(&word).ok_or_else(|| at.wrong(rule));
    if let Some(word) = body.text("reasoning_effort")? {
        request.reasoning_effort = Some(named(word, body.at.field("reasoning_effort"))?);
    }
    if let Some(mut reasoning) = body.object("reasoning")? {
        if let Some(word) = reasoning.text("effort")? {
            request.reasoning_effort = Some(named(word, reasoning.at.field("effort"))?);
        }
        request.reasoning_budget = reasoning.count("max_tokens")?;
        if reasoning.boolean("enabled")? == Some(false) {
            request.reasoning_effort = Some(Effort::None);
        }
        request.thoughts = reasoning.boolean("exclude")?.map(|exclude| !exclude);
        leave(reasoning, extra);
    }
    request.thoughts = body.boolean("include_reasoning")?.or(request.thoughts);
    Ok(request)
}

/// Whether probabilities are wanted, and of how many tokens that could have been.
fn logprobs(body: &mut Object<'_>) -> Result<Option<u64>, Error> {
    let wanted = body.boolean("logprobs")?.unwrap_or(false);
    let others = body.integer("top_logprobs")?.unwrap_or(0);
    match u64::try_from(others) {
        Ok(0) => Ok(wanted.then_some(0)),
        Ok(_) if !wanted => Err(body.at.field("top_logprobs").wrong("needs `logprobs` to be true")),
        Ok(others) if others <= MAX_LOGPROBS => Ok(Some(others)),
        _ => Err(body.at.field("top_logprobs").wrong("must be between 0 and 20")),
    }
}

/// Far above what a model can read, far below what would hurt.
/// OpenAI's limit.
const MAX_LOGPROBS: u64 = 20;
const MAX_MESSAGES: usize = 10_000;
const MAX_PARTS: usize = 1_000;
/// OpenAI's limit.
const MAX_STOPS: usize = 4;
const MAX_TOOLS: usize = 1_000;

const CONTENT: &str = "a string or a list of parts";
const URL: &str = "an `https://` address or a `data:` URL";
const URL_RULE: &str = "must be an `https://` address or `data:image/…;base64,…`";

/// Fields that change what an answer is, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("audio", "Ask for text, or choose a model of a provider that speaks Chat Completions."),
    ("function_call", "Use `tool_choice`."),
    ("functions", "Use `tools`."),
    ("logit_bias", "Leave it out, or choose a model of a provider that speaks Chat Completions."),
    ("modalities", "Ask for text only."),
    ("n", "Send the request several times."),
    ("web_search_options", "Leave it out, or choose a model of a provider that speaks Chat Completions."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::drop_extra;

    const USER: &str = r#"{"role":"user","content":"Hi"}"#;

    fn with(fields: &str) -> Result<Request, Error> {
        parse(format!(r#"{{"model":"a/b","messages":[{USER}],{fields}}}"#).as_bytes())
    }

    fn with_messages(messages: &str) -> Result<Request, Error> {
        parse(format!(r#"{{"model":"a/b","messages":[{messages}]}}"#).as_bytes())
    }

    /// What is wrong: `invalid` or `unsupported`, the parameter, the message.
    fn complaint(result: Result<Request, Error>) -> String {
        match result {
            Ok(request) => format!("accepted: {request:?}"),
            Err(Error::Invalid { param, message }) => {
                format!("invalid {}: {message}", param.unwrap_or_default())
            }
            Err(Error::Unsupported { param, message }) => format!("unsupported {param}: {message}"),
            Err(Error::Upstream(error)) => format!("upstream: {error}"),
        }
    }

    #[test]
    fn a_wrong_body_is_named_by_its_field() {
        #[rustfmt::skip]
        let cases = [
            ("", "invalid : The body is not valid JSON: EOF while parsing a value at line 1 column 0."),
            ("[]", "invalid : The body must be a JSON object."),
            (r#"{"model":"a/b","messages":[]} x"#, "invalid : The body is not valid JSON: trailing characters at line 1 column 31."),
            (r#"{"messages":[]}"#, "invalid model: `model` is required: `provider/model` or an alias."),
            (r#"{"model":"","messages":[]}"#, "invalid model: `model` is required: `provider/model` or an alias."),
            (r#"{"model":7,"messages":[]}"#, "invalid model: `model` must be a string, not a number."),
            (r#"{"model":"a/b"}"#, "invalid messages: `messages` is required: a list of messages, oldest first."),
            (r#"{"model":"a/b","messages":null}"#, "invalid messages: `messages` is required: a list of messages, oldest first."),
            (r#"{"model":"a/b","messages":[]}"#, "invalid messages: `messages` must hold at least one message."),
            (r#"{"model":"a/b","messages":{}}"#, "invalid messages: `messages` must be a list, not an object."),
            (r#"{"model":"a/b","messages":["Hi"]}"#, "invalid messages[0]: `messages[0]` must be an object, not a string."),
            (r#"{"model":"a/b","mod\u0065l":"c/d","messages":[]}"#, "invalid model: `model` occurs twice."),
            (r#"{"model":"a/b","messages":[{"role":"user","content":"Hi","role":"system"}]}"#, "invalid role: `role` occurs twice."),
        ];
        for (body, expected) in cases {
            assert_eq!(complaint(parse(body.as_bytes())), expected, "{body}");
        }
    }

    #[test]
    fn a_wrong_message_is_named_by_its_path() {
        let call = r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;
        let orphan = format!(r#"{call},{{"role":"tool","tool_call_id":"c2","content":"1"}}"#);
        #[rustfmt::skip]
        let cases = [
            (r#"{"content":"Hi"}"#, "invalid messages[0].role: `messages[0].role` is required: `system`, `developer`, `user`, `assistant` or `tool`."),
            (r#"{"role":"bot","content":"Hi"}"#, "invalid messages[0].role: `messages[0].role` must be `system`, `developer`, `user`, `assistant` or `tool`."),
            (r#"{"role":"function","name":"f","content":"Hi"}"#, "unsupported messages[0].role: `messages[0].role` is an old form. Use a `tool` message with a `tool_call_id`."),
            (r#"{"role":"user"}"#, "invalid messages[0].content: `messages[0].content` is required: a string or a list of parts."),
            (r#"{"role":"user","content":5}"#, "invalid messages[0].content: `messages[0].content` must be a string or a list of parts, not a number."),
            (r#"{"role":"user","content":[]}"#, "invalid messages[0].content: `messages[0].content` must hold at least one part."),
            (r#"{"role":"user","content":["Hi"]}"#, "invalid messages[0].content[0]: `messages[0].content[0]` must be an object, not a string."),
            (r#"{"role":"user","content":[{"text":"Hi"}]}"#, "invalid messages[0].content[0].type: `messages[0].content[0].type` is required: `text` or `image_url`."),
            (r#"{"role":"user","content":[{"type":"text"}]}"#, "invalid messages[0].content[0].text: `messages[0].content[0].text` is required: a string."),
            (r#"{"role":"user","content":[{"type":"smell"}]}"#, "invalid messages[0].content[0].type: `messages[0].content[0].type` must be `text` or `image_url`."),
            (r#"{"role":"user","content":[{"type":"image_url","image_url":"https://x/y.png"}]}"#, "invalid messages[0].content[0].image_url: `messages[0].content[0].image_url` must be an object, not a string."),
            (r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}"#, "invalid messages[0].content[0].image_url.url: `messages[0].content[0].image_url.url` must be an `https://` address or `data:image/…;base64,…`."),
            (r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,a b"}}]}"#, "invalid messages[0].content[0].image_url.url: `messages[0].content[0].image_url.url` must hold the image in base64 after the comma."),
            (r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:text/html;base64,aaaa"}}]}"#, "invalid messages[0].content[0].image_url.url: `messages[0].content[0].image_url.url` must be an `https://` address or `data:image/…;base64,…`."),
            (r#"{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}"#, "unsupported messages[0].content[0]: `messages[0].content[0]` is an image, which only `user` and `tool` messages can hold."),
            (r#"{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"input_audio","input_audio":{"data":"aaaa","format":"wav"}}]}"#, "unsupported messages[0].content[1]: `messages[0].content[1]` is of the type `input_audio`, which cannot be translated for this model. Send text or images, or choose a model of a provider that speaks Chat Completions."),
            (r#"{"role":"assistant","content":null}"#, "invalid messages[0].content: `messages[0].content` is required: text, or null beside `tool_calls`."),
            (r#"{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":"{}"}}]}"#, "invalid messages[0].tool_calls[0].id: `messages[0].tool_calls[0].id` is required: the id the model gave it."),
            (r#"{"role":"assistant","tool_calls":[{"id":"c1","function":{"name":"f","arguments":{}}}]}"#, "invalid messages[0].tool_calls[0].function.arguments: `messages[0].tool_calls[0].function.arguments` must be a string, not an object."),
            (r#"{"role":"tool","content":"1"}"#, "invalid messages[0].tool_call_id: `messages[0].tool_call_id` is required: the `id` of the tool call this answers."),
            (orphan.as_str(), "invalid messages[1].tool_call_id: `messages[1].tool_call_id` must be the id of a tool call in an earlier assistant message."),
        ];
        for (messages, expected) in cases {
            assert_eq!(complaint(with_messages(messages)), expected, "{messages}");
        }
    }

    #[test]
    fn a_wrong_field_is_named_with_what_would_be_right() {
        let tools = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
        let choice = |choice: &str| format!(r#"{tools},"tool_choice":{choice}"#);
        #[rustfmt::skip]
        let cases = [
            (r#""temperature":"hot""#.to_owned(), "invalid temperature: `temperature` must be a number, not a string."),
            (r#""temperature":3"#.to_owned(), "invalid temperature: `temperature` must be between 0 and 2."),
            (r#""max_tokens":0"#.to_owned(), "invalid max_tokens: `max_tokens` must be at least 1."),
            (r#""max_tokens":1.5"#.to_owned(), "invalid max_tokens: `max_tokens` must be a whole number of at least 1, not a fraction."),
            (r#""seed":"x""#.to_owned(), "invalid seed: `seed` must be a whole number of at most 64 bits, not a string."),
            (r#""stream":"yes""#.to_owned(), "invalid stream: `stream` must be true or false, not a string."),
            (r#""stream_options":{"include_usage":1}"#.to_owned(), "invalid stream_options.include_usage: `stream_options.include_usage` must be true or false, not a number."),
            (r#""stop":["a","b","c","d","e"]"#.to_owned(), "invalid stop: `stop` must not hold more than 4 entries, not 5."),
            (r#""stop":["a",1]"#.to_owned(), "invalid stop[1]: `stop[1]` must be a string, not a number."),
            (r#""reasoning_effort":"huge""#.to_owned(), "invalid reasoning_effort: `reasoning_effort` must be `none`, `minimal`, `low`, `medium`, `high` or `xhigh`."),
            (r#""response_format":{"type":"xml"}"#.to_owned(), "invalid response_format.type: `response_format.type` must be `text`, `json_object` or `json_schema`."),
            (r#""response_format":{"type":"json_schema","json_schema":{"name":"x"}}"#.to_owned(), "invalid response_format.json_schema.schema: `response_format.json_schema.schema` is required: a JSON Schema."),
            (r#""tools":[{"type":"web_search"}]"#.to_owned(), "unsupported tools[0].type: `tools[0].type` is `web_search`. Only `function` tools can be translated for this model."),
            (r#""tools":[{"type":"function","function":{"name":"f","parameters":[]}}]"#.to_owned(), "invalid tools[0].function.parameters: `tools[0].function.parameters` must be a JSON Schema object, not a list."),
            (r#""tool_choice":"required""#.to_owned(), "invalid tool_choice: `tool_choice` needs `tools` to choose from."),
            (choice(r#""any""#), "invalid tool_choice: `tool_choice` must be `auto`, `none`, `required` or {\"type\":\"function\",\"function\":{\"name\":…}}."),
            (choice(r#"{"type":"function","function":{"name":"g"}}"#), "invalid tool_choice.function.name: `tool_choice.function.name` must be the name of one of the `tools`."),
            (choice(r#"{"type":"custom","custom":{"name":"f"}}"#), "unsupported tool_choice.type: `tool_choice.type` is `custom`. Only functions can be translated for this model."),
            (choice(r#"{"type":"allowed_tools","allowed_tools":{"mode":"none","tools":[]}}"#), "invalid tool_choice.allowed_tools.mode: `tool_choice.allowed_tools.mode` must be `auto` or `required`."),
        ];
        for (fields, expected) in cases {
            assert_eq!(complaint(with(&fields)), expected, "{fields}");
        }
    }

    #[test]
    fn what_no_other_protocol_has_is_kept_under_its_path() {
        let messages = r#"{"role":"user","name":"Ada","content":[{"type":"text","text":"Hi","cache_control":{"type":"ephemeral"}}]}"#;
        let body = format!(
            r#"{{"zeta":1,"n":2,"model":"a/b","messages":[{messages}],"store":true,"logprobs":false,"logit_bias":{{}},"modalities":["text"],"metadata":null}}"#
        );
        let extra = parse(body.as_bytes()).expect("valid").extra;
        let names: Vec<&str> = extra.iter().map(|extra| extra.name.as_str()).collect();
        assert_eq!(names, ["zeta", "store", "messages[0].name", "n"]);

        let mut dropped = Vec::new();
        let refused = drop_extra(&extra, &mut dropped).map(|()| Request::default());
        assert_eq!(
            complaint(refused),
            "unsupported n: `n` cannot be translated for this model. Send the request several times."
        );
        drop_extra(&extra[..3], &mut dropped).expect("harmless");
        assert_eq!(dropped[3..], names[..3]);
    }

    #[test]
    fn the_newer_name_of_a_field_wins() {
        let request =
            with(r#""max_tokens":1,"max_completion_tokens":2,"safety_identifier":"new","user":null"#)
                .expect("valid");
        assert_eq!((request.max_output_tokens, request.user.as_deref()), (Some(2), None));
        assert_eq!(request.end_user(), Some("new"));
        assert_eq!(request.extra, []);
    }

    #[test]
    fn thought_sent_back_is_not_doubled() {
        let thought = |message: &str| with_messages(message).expect("valid").messages.remove(0).parts;
        let readable = Reasoning { text: "Hm".to_owned(), ..Reasoning::default() };
        let text = Part::Text("Hi".to_owned());
        assert_eq!(
            thought(r#"{"role":"assistant","content":"Hi","reasoning_content":"Hm","reasoning_details":[]}"#),
            [Part::Reasoning(readable.clone()), text.clone()]
        );
        let details = r#"{"type":"reasoning.text","text":"Hm","signature":"s","index":0},{"type":"reasoning.encrypted","data":"d"},{"type":"else"}"#;
        assert_eq!(
            thought(&format!(
                r#"{{"role":"assistant","content":"Hi","reasoning_content":"Hm","reasoning_details":[{details}]}}"#
            )),
            [
                Part::Reasoning(Reasoning { signature: Some("s".to_owned()), ..readable }),
                Part::Reasoning(Reasoning { redacted: Some("d".to_owned()), ..Reasoning::default() }),
                text
            ]
        );
    }

    #[test]
    fn thought_of_other_makers_goes_back_to_no_one_but_openrouter() {
        let details = r#"[{"type":"reasoning.summary","summary":"Hm","format":"openai-responses-v1","index":0},
            {"type":"reasoning.encrypted","data":"x","id":"rs_1","format":"openai-responses-v1","index":0},
            {"type":"reasoning.encrypted","data":"y","format":"anthropic-claude-v1","index":1}]"#;
        let message =
            format!(r#"{USER},{{"role":"assistant","content":"Hi","reasoning_details":{details}}}"#);
        let request = with_messages(&message).expect("valid");
        let signature = r#"openrouter:{"format":"openai-responses-v1","id":"rs_1","data":"x"}"#.to_owned();
        let thoughts = [
            Reasoning { text: "Hm".to_owned(), ..Reasoning::default() },
            Reasoning { signature: Some(signature), ..Reasoning::default() },
            Reasoning { redacted: Some("y".to_owned()), ..Reasoning::default() },
        ];
        assert_eq!(request.messages[1].parts[..3], thoughts.map(Part::Reasoning));
    }

    #[test]
    fn how_to_think_is_said_in_openais_way_or_openrouters() {
        use Effort::{High, None as Off};
        let cases = [
            (r#""reasoning_effort":"high""#, Some(High), None, None),
            (r#""reasoning":{"effort":"high","exclude":true}"#, Some(High), None, Some(false)),
            (r#""reasoning":{"max_tokens":2000}"#, None, Some(2_000), None),
            (r#""reasoning":{"enabled":false}"#, Some(Off), None, None),
            (r#""include_reasoning":false"#, None, None, Some(false)),
        ];
        for (fields, effort, budget, thoughts) in cases {
            let request = with(fields).expect("valid");
            let said = (request.reasoning_effort, request.reasoning_budget, request.thoughts);
            assert_eq!(said, (effort, budget, thoughts), "{fields}");
            assert!(request.extra.is_empty(), "{fields}");
        }
    }

    #[test]
    fn probabilities_are_wanted_with_so_many_others() {
        assert_eq!(with(r#""logprobs":true"#).expect("valid").logprobs, Some(0));
        assert_eq!(with(r#""logprobs":true,"top_logprobs":3"#).expect("valid").logprobs, Some(3));
        assert_eq!(with(r#""logprobs":false,"top_logprobs":0"#).expect("valid").logprobs, None);
        assert_eq!(
            complaint(with(r#""top_logprobs":3"#)),
            "invalid top_logprobs: `top_logprobs` needs `logprobs` to be true."
        );
    }

    #[test]
    fn allowed_tools_are_the_tools_that_are_left() {
        let tools = r#""tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]"#;
        let allowed = r#"{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"g"}}]}}"#;
        let request = with(&format!(r#"{tools},"tool_choice":{allowed}"#)).expect("valid");
        assert_eq!(request.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["g"]);
        assert_eq!(request.tool_choice, Some(ToolChoice::Required));
    }

    #[test]
    fn a_deep_body_is_refused_and_does_not_overflow_the_stack() {
        let body = format!(r#"{{"model":"a/b","x":{}"#, "[".repeat(100_000));
        assert!(complaint(parse(body.as_bytes())).contains("recursion limit"));
    }
}
