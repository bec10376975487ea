//! A caller's Converse request, read into the unified one.
//!
//! Strict, because a field misread in silence is a wrong answer paid for (see [`crate::fields`]).

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::DOCUMENT_FORMATS;
use crate::{
    Error,
    chat::{
        CacheTtl, Effort, Extra, File, Media, Message, Part, Reasoning, Request, ResponseFormat, Role, Tool,
        ToolCall, ToolChoice, ToolResult,
    },
    dialect::{labels, messages::front::request::option, service_tier, with_call_signatures},
    fields::{self, Object, leave},
    front::Peek,
    peek,
};

/// Fields without a place, under their paths.
type Rest = Vec<(String, Value)>;

/// The model and the wish for a stream are in the path; the body is only checked to be one.
pub(super) fn peek<'a>(path: &'a str, body: &[u8]) -> Result<Peek<'a>, Error> {
    const RULE: &str = "The path must be /model/{modelId}/converse or /model/{modelId}/converse-stream.";
    let path = path.split('?').next().unwrap_or(path);
    let call = path.split_once("/model/").and_then(|(_, call)| call.rsplit_once('/'));
    let (model, stream) = match call {
        Some((model, "converse")) => (model, false),
        Some((model, "converse-stream")) => (model, true),
        _ => return Err(Error::invalid("modelId", RULE)),
    };
    let model = peek::decoded(model).filter(|model| !model.is_empty());
    let model = model.ok_or_else(|| Error::invalid("modelId", RULE))?;
    let wrong = |message: String| Error::Invalid { message, param: None };
    serde_json::from_slice::<AnyObject>(body)
        .map_err(|error| wrong(format!("The body is not valid JSON: {error}.")))?;
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong("The body must be a JSON object.".to_owned()));
    }
    Ok(Peek { model, stream, include_usage: true, choices: 1, ..Peek::default() })
}

#[derive(Deserialize)]
struct AnyObject {}

/// Reads a caller's body.
pub(super) fn parse(peek: &Peek<'_>, body: &[u8]) -> Result<Request, Error> {
    let mut body = fields::body(body)?;
    let mut rest = Rest::new();
    let mut request = Request {
        model: peek.model.clone().into_owned(),
        stream: peek.stream,
        include_usage: true,
        ..Request::default()
    };
    system(&mut body, &mut request)?;
    messages(&mut body, &mut request, &mut rest)?;
    inference(&mut body, &mut request, &mut rest)?;
    tools(&mut body, &mut request, &mut rest)?;
    // The model's own fields first: Converse's field for effort goes before theirs.
    additional(&mut body, &mut request, &mut rest)?;
    output(&mut body, &mut request, &mut rest)?;
    request.labels = labels(&mut body, "requestMetadata");
    if let Some(mut tier) = body.object("serviceTier")? {
        request.service_tier = service_tier(&mut tier, "type");
        leave(tier, &mut rest);
    }
    // The one that is told unasked.
    if body
        .map
        .get("additionalModelResponseFieldPaths")
        .is_some_and(|paths| *paths == json!(["/stop_sequence"]))
    {
        body.map.remove("additionalModelResponseFieldPaths");
    }
    let top = body.map.into_iter().filter(|(_, value)| !value.is_null());
    let extra = top.chain(rest).map(|(name, value)| {
        let instead = REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, instead)| *instead);
        Extra { name, value, instead }
    });
    request.extra = extra.collect();
    Ok(request)
}

fn system(body: &mut Object<'_>, request: &mut Request) -> Result<(), Error> {
    let here = body.at;
    let at = here.field("system");
    let mut parts = Vec::new();
    for (index, value) in body.list("system", MAX_PARTS)?.unwrap_or_default().into_iter().enumerate() {
        let mut block = Object::from(value, at.index(index))?;
        match kind(&block, "`text` or `cachePoint`")?.as_str() {
            "text" => parts.push(Part::Text(block.required_string("text")?)),
            "cachePoint" => parts.push(cache_point(&mut block)?),
            other => return Err(unknown_block(&block, other)),
        }
    }
    if !parts.is_empty() {
        request.messages.push(Message { role: Role::System, parts });
    }
    Ok(())
}

fn messages(body: &mut Object<'_>, request: &mut Request, rest: &mut Rest) -> Result<(), Error> {
    let here = body.at;
    let at = here.field("messages");
    let list = body.list("messages", MAX_MESSAGES)?;
    let list = list.ok_or_else(|| at.required("a list of messages, oldest first"))?;
    if list.is_empty() {
        return Err(at.wrong("must hold at least one message"));
    }
    let mut calls = HashSet::new();
    for (index, value) in list.into_iter().enumerate() {
        const ROLES: &str = "`user`, `assistant` or `system`";
        let mut object = Object::from(value, at.index(index))?;
        let role = match object.required_text("role", ROLES)?.as_str() {
            "assistant" => Role::Assistant,
            "system" => Role::System,
            "user" => Role::User,
            _ => return Err(object.at.field("role").wrong(&format!("must be {ROLES}"))),
        };
        let here = object.at;
        let at = here.field("content");
        let content = object.list("content", MAX_PARTS)?;
        let content = content.ok_or_else(|| at.required("a list of content blocks"))?;
        if content.is_empty() {
            return Err(at.wrong("must hold at least one content block"));
        }
        let mut parts = Vec::with_capacity(content.len());
        for (index, value) in content.into_iter().enumerate() {
            let mut block = Object::from(value, at.index(index))?;
            parts.push(part(&mut block, role, &mut calls, rest)?);
        }
        push_turn(role, with_call_signatures(parts), &mut request.messages);
        leave(object, rest);
    }
    Ok(())
}

/// Tool results are messages of their own. A cache point stays with what it stands behind.
fn push_turn(role: Role, parts: Vec<Part>, messages: &mut Vec<Message>) {
    let mut begun = false;
    for part in parts {
        let role = match &part {
            Part::ToolResult(_) => {
                begun = false;
                Role::Tool
            }
            _ => role,
        };
        match messages.last_mut() {
            Some(last) if begun && (last.role == role || matches!(part, Part::CachePoint(_))) => {
                last.parts.push(part);
            }
            _ => messages.push(Message { role, parts: vec![part] }),
        }
        begun = true;
    }
}

fn part(
    block: &mut Object<'_>,
    role: Role,
    calls: &mut HashSet<String>,
    rest: &mut Rest,
) -> Result<Part, Error> {
    const KINDS: &str =
        "`text`, `image`, `document`, `toolUse`, `toolResult`, `reasoningContent` or `cachePoint`";
    let kind = kind(block, KINDS)?;
    let misplaced =
        |who: &str| block.at.cannot(&format!("is a `{kind}`, which only {who} messages can hold"));
    match (kind.as_str(), role) {
        ("text", _) => Ok(Part::Text(block.required_string("text")?)),
        ("cachePoint", _) => cache_point(block),
        ("image", Role::User) => image(block, rest),
        ("document", Role::User) => document(block, rest),
        ("toolResult", Role::User) => tool_result(block, calls, rest),
        ("image" | "document" | "toolResult", _) => Err(misplaced("`user`")),
        ("citationsContent", Role::Assistant) => cited(block, rest),
        ("reasoningContent", Role::Assistant) => reasoning(block, rest),
        ("toolUse", Role::Assistant) => {
            let call = tool_use(block, rest)?;
            calls.insert(call.id.clone());
            Ok(Part::ToolCall(call))
        }
        ("citationsContent" | "reasoningContent" | "toolUse", _) => Err(misplaced("`assistant`")),
        (other, _) => Err(unknown_block(block, other)),
    }
}

/// The one field of a block, which says what it is.
fn kind(block: &Object<'_>, kinds: &str) -> Result<String, Error> {
    let mut names = block.map.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name);
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name.clone()),
        _ => Err(block.at.wrong(&format!("must hold exactly one of {kinds}"))),
    }
}

fn unknown_block(block: &Object<'_>, kind: &str) -> Error {
    block.at.cannot(&format!(
        "is a `{kind}`, which cannot be translated for this model. Send text, images or documents, or choose a \
         model of Bedrock"
    ))
}

/// The object in the field `name`, which must be there.
fn inner<'a>(object: &'a mut Object<'_>, name: &'a str, what: &str) -> Result<Object<'a>, Error> {
    match object.take(name) {
        Some(value) => Object::from(value, object.at.field(name)),
        None => Err(object.at.field(name).required(what)),
    }
}

fn cache_point(block: &mut Object<'_>) -> Result<Part, Error> {
    let mut point = inner(block, "cachePoint", "an object with `type`")?;
    point.text("type")?;
    match point.text("ttl")?.as_deref() {
        None | Some("5m") => Ok(Part::CachePoint(CacheTtl::Short)),
        Some("1h") => Ok(Part::CachePoint(CacheTtl::Hour)),
        Some(_) => Err(point.at.field("ttl").wrong("must be `5m` or `1h`")),
    }
}

fn image(block: &mut Object<'_>, rest: &mut Rest) -> Result<Part, Error> {
    const FORMATS: &str = "`png`, `jpeg`, `gif` or `webp`";
    let mut image = inner(block, "image", "an object with `format` and `source`")?;
    let format = image.required_text("format", FORMATS)?;
    if !["gif", "jpeg", "png", "webp"].contains(&format.as_str()) {
        return Err(image.at.field("format").wrong(&format!("must be {FORMATS}")));
    }
    let mut source = inner(&mut image, "source", "an object with `bytes`")?;
    let data = bytes(&mut source)?;
    leave(source, rest);
    leave(image, rest);
    Ok(Part::Image(Media::Data { media_type: format!("image/{format}"), data }.into()))
}

fn document(block: &mut Object<'_>, rest: &mut Rest) -> Result<Part, Error> {
    let mut document = inner(block, "document", "an object with `format`, `name` and `source`")?;
    let format = document.text("format")?.unwrap_or_else(|| "txt".to_owned());
    let Some((_, media_type)) = DOCUMENT_FORMATS.iter().find(|(known, _)| *known == format) else {
        let known = DOCUMENT_FORMATS.map(|(format, _)| format).join(", ");
        return Err(document.at.field("format").wrong(&format!("must be one of {known}")));
    };
    let name = Some(document.required_text("name", "the document's name")?);
    let cited = match document.object("citations")? {
        Some(mut citations) => citations.boolean("enabled")?.unwrap_or(false),
        None => false,
    };
    let mut source = inner(&mut document, "source", "an object with `bytes` or `text`")?;
    let (media_type, data) = match source.text("text")? {
        Some(text) => ("text/plain", STANDARD.encode(text)),
        None => (*media_type, bytes(&mut source)?),
    };
    leave(source, rest);
    leave(document, rest);
    Ok(Part::File(File { name, cited, media: Media::Data { media_type: media_type.to_owned(), data } }))
}

/// `bytes` of a source.
fn bytes(source: &mut Object<'_>) -> Result<String, Error> {
    for name in ["content", "s3Location"] {
        if source.take(name).is_some() {
            let why = "cannot be translated for this model. Send the content itself in `bytes`";
            return Err(source.at.field(name).cannot(why));
        }
    }
    let data = source.required_text("bytes", BYTES)?;
    if !is_base64(&data) {
        return Err(source.at.field("bytes").wrong(&format!("must be {BYTES}")));
    }
    Ok(data)
}

/// Standard alphabet, padded, without decoding it.
fn is_base64(data: &str) -> bool {
    let digits = data.trim_end_matches('=');
    let fits = digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
    fits && !digits.is_empty() && data.len().is_multiple_of(4) && data.len() - digits.len() <= 2
}

fn tool_use(block: &mut Object<'_>, rest: &mut Rest) -> Result<ToolCall, Error> {
    let mut call = inner(block, "toolUse", "an object with `toolUseId`, `name` and `input`")?;
    let id = call.required_text("toolUseId", "the id the model gave it")?;
    let name = call.required_text("name", "the tool's name")?;
    let arguments = match call.take("input") {
        Some(input @ Value::Object(_)) => input.to_string(),
        Some(other) => return Err(call.at.field("input").wrong_type("an object", &other)),
        None => return Err(call.at.field("input").required("an object, which may be empty")),
    };
    if call.text("type")?.is_some() {
        let why =
            "is a call of a tool that Bedrock runs, which cannot be translated for this model. Leave it out";
        return Err(call.at.cannot(why));
    }
    leave(call, rest);
    Ok(ToolCall { id, name, arguments, signature: None })
}

fn tool_result(block: &mut Object<'_>, calls: &HashSet<String>, rest: &mut Rest) -> Result<Part, Error> {
    let mut result = inner(block, "toolResult", "an object with `toolUseId` and `content`")?;
    let call_id = result.required_text("toolUseId", "the `toolUseId` of the call this answers")?;
    if !calls.contains(&call_id) {
        let rule = "must be the `toolUseId` of a call in an earlier assistant message";
        return Err(result.at.field("toolUseId").wrong(rule));
    }
    let here = result.at;
    let at = here.field("content");
    let content =
        result.list("content", MAX_PARTS)?.ok_or_else(|| at.required("a list of content blocks"))?;
    let mut parts = Vec::with_capacity(content.len());
    for (index, value) in content.into_iter().enumerate() {
        let mut block = Object::from(value, at.index(index))?;
        parts.push(match kind(&block, "`text`, `json`, `image` or `document`")?.as_str() {
            "text" => Part::Text(block.required_string("text")?),
            "json" => Part::Text(block.take("json").unwrap_or_default().to_string()),
            "image" => image(&mut block, rest)?,
            "document" => document(&mut block, rest)?,
            other => return Err(unknown_block(&block, other)),
        });
    }
    let is_error = match result.text("status")?.as_deref() {
        None | Some("success") => false,
        Some("error") => true,
        Some(_) => return Err(result.at.field("status").wrong("must be `success` or `error`")),
    };
    leave(result, rest);
    Ok(Part::ToolResult(ToolResult { call_id, parts, is_error }))
}

fn reasoning(block: &mut Object<'_>, rest: &mut Rest) -> Result<Part, Error> {
    let mut content = inner(block, "reasoningContent", "an object with `reasoningText`")?;
    let reasoning = match kind(&content, "`reasoningText` or `redactedContent`")?.as_str() {
        "reasoningText" => {
            let mut thought = inner(&mut content, "reasoningText", "an object with `text`")?;
            let signature = thought.text("signature")?.filter(|signature| !signature.is_empty());
            // A signature that was streamed may come back alone.
            let text = match thought.text("text")? {
                None if signature.is_some() => String::new(),
                Some(text) => text,
                None => return Err(thought.at.field("text").required("a string")),
            };
            leave(thought, rest);
            Reasoning { text, signature, redacted: None }
        }
        "redactedContent" => {
            let redacted = content.required_text("redactedContent", "the bytes as they came, in base64")?;
            Reasoning { redacted: Some(redacted), ..Reasoning::default() }
        }
        _ => return Err(content.at.wrong("must hold `reasoningText` or `redactedContent`")),
    };
    Ok(Part::Reasoning(reasoning))
}

/// An earlier answer with its sources: the words of it.
fn cited(block: &mut Object<'_>, rest: &mut Rest) -> Result<Part, Error> {
    let mut cited = inner(block, "citationsContent", "an object with `content`")?;
    let here = cited.at;
    let at = here.field("content");
    let mut text = String::new();
    for (index, value) in cited.list("content", MAX_PARTS)?.unwrap_or_default().into_iter().enumerate() {
        text.push_str(&Object::from(value, at.index(index))?.required_string("text")?);
    }
    leave(cited, rest);
    Ok(Part::Text(text))
}

fn inference(body: &mut Object<'_>, request: &mut Request, rest: &mut Rest) -> Result<(), Error> {
    let Some(mut config) = body.object("inferenceConfig")? else { return Ok(()) };
    request.max_output_tokens = config.count("maxTokens")?;
    request.temperature = config.number("temperature", 0.0, 1.0)?;
    request.top_p = config.number("topP", 0.0, 1.0)?;
    let here = config.at;
    let at = here.field("stopSequences");
    let list = config.list("stopSequences", MAX_STOPS)?.unwrap_or_default();
    for (index, value) in list.into_iter().enumerate() {
        match value {
            Value::String(text) if !text.is_empty() => request.stop.push(text),
            Value::String(_) => return Err(at.index(index).wrong("must not be empty")),
            other => return Err(at.index(index).wrong_type("a string", &other)),
        }
    }
    leave(config, rest);
    Ok(())
}

fn tools(body: &mut Object<'_>, request: &mut Request, rest: &mut Rest) -> Result<(), Error> {
    let Some(mut config) = body.object("toolConfig")? else { return Ok(()) };
    let here = config.at;
    let at = here.field("tools");
    let list = config.list("tools", MAX_TOOLS)?.ok_or_else(|| at.required("a list of tools"))?;
    for (index, value) in list.into_iter().enumerate() {
        let mut object = Object::from(value, at.index(index))?;
        match kind(&object, "`toolSpec` or `cachePoint`")?.as_str() {
            "toolSpec" => request.tools.push(tool(&mut object, rest)?),
            "cachePoint" => {
                let Part::CachePoint(ttl) = cache_point(&mut object)? else { continue };
                if let Some(tool) = request.tools.last_mut() {
                    tool.cache = Some(ttl);
                }
            }
            other => {
                let why = format!("is a `{other}`. Only `toolSpec` can be translated for this model");
                return Err(object.at.cannot(&why));
            }
        }
    }
    request.tool_choice = tool_choice(&mut config, &request.tools)?;
    leave(config, rest);
    Ok(())
}

fn tool(object: &mut Object<'_>, rest: &mut Rest) -> Result<Tool, Error> {
    let mut spec = inner(object, "toolSpec", "an object with `name` and `inputSchema`")?;
    let name = spec.required_text("name", "the tool's name")?;
    let (description, strict) = (spec.text("description")?, spec.boolean("strict")?);
    let mut schema = inner(&mut spec, "inputSchema", "an object with `json`")?;
    let parameters =
        schema.schema("json")?.ok_or_else(|| schema.at.field("json").required("a JSON Schema"))?;
    leave(schema, rest);
    leave(spec, rest);
    Ok(Tool { name, description, parameters: Some(parameters), strict, cache: None })
}

fn tool_choice(config: &mut Object<'_>, tools: &[Tool]) -> Result<Option<ToolChoice>, Error> {
    const RULE: &str = "`auto`, `any` or `tool`";
    let Some(mut choice) = config.object("toolChoice")? else { return Ok(None) };
    match kind(&choice, RULE)?.as_str() {
        "auto" => Ok(Some(ToolChoice::Auto)),
        "any" => Ok(Some(ToolChoice::Required)),
        "tool" => {
            let mut tool = inner(&mut choice, "tool", "an object with `name`")?;
            let name = tool.required_text("name", "the tool's name")?;
            if !tools.iter().any(|tool| tool.name == name) {
                return Err(tool.at.field("name").wrong("must be the name of one of the `tools`"));
            }
            Ok(Some(ToolChoice::Function(name)))
        }
        _ => Err(choice.at.wrong(&format!("must be {RULE}"))),
    }
}

fn output(body: &mut Object<'_>, request: &mut Request, rest: &mut Rest) -> Result<(), Error> {
    let Some(mut config) = body.object("outputConfig")? else { return Ok(()) };
    if let Some(effort) = effort(&mut config, "effort")? {
        request.reasoning_effort = Some(effort);
    }
    if let Some(mut format) = config.object("textFormat")? {
        if format.required_text("type", "`json_schema`")? != "json_schema" {
            return Err(format.at.field("type").wrong("must be `json_schema`"));
        }
        let mut structure = inner(&mut format, "structure", "an object with `jsonSchema`")?;
        let mut definition = inner(&mut structure, "jsonSchema", "an object with `schema`")?;
        let rule = "must be a JSON Schema object, as text";
        let text = definition.required_text("schema", "a JSON Schema, as text")?;
        let schema: Value =
            serde_json::from_str(&text).map_err(|_| definition.at.field("schema").wrong(rule))?;
        if !schema.is_object() {
            return Err(definition.at.field("schema").wrong(rule));
        }
        request.response_format = ResponseFormat::JsonSchema {
            name: definition.text("name")?.unwrap_or_else(|| "answer".to_owned()),
            description: definition.text("description")?,
            schema,
            strict: Some(true),
        };
        leave(definition, rest);
        leave(structure, rest);
        leave(format, rest);
    }
    leave(config, rest);
    Ok(())
}

fn effort(object: &mut Object<'_>, name: &str) -> Result<Option<Effort>, Error> {
    Ok(Some(match object.text(name)?.as_deref() {
        None => return Ok(None),
        Some("minimal") => Effort::Minimal,
        Some("low") => Effort::Low,
        Some("medium") => Effort::Medium,
        Some("high") => Effort::High,
        Some("xhigh" | "max") => Effort::XHigh,
        Some(_) => {
            return Err(object.at.field(name).wrong("must be `low`, `medium`, `high`, `xhigh` or `max`"));
        }
    }))
}

/// What models take beside Converse's own fields, where it is something others have too.
fn additional(body: &mut Object<'_>, request: &mut Request, rest: &mut Rest) -> Result<(), Error> {
    let Some(mut more) = body.object("additionalModelRequestFields")? else { return Ok(()) };
    for name in ["top_k", "k"] {
        if let Some(top_k) = more.count(name)? {
            request.top_k = Some(top_k);
        }
    }
    if let Some(mut config) = more.object("inferenceConfig")? {
        request.top_k = config.count("topK")?.or(request.top_k);
        leave(config, rest);
    }
    for name in ["reasoning_config", "thinking"] {
        if let Some(mut config) = more.object(name)? {
            thinking(&mut config, request)?;
            leave(config, rest);
        }
    }
    if let Some(mut config) = more.object("output_config")? {
        request.reasoning_effort = effort(&mut config, "effort")?.or(request.reasoning_effort);
        leave(config, rest);
    }
    request.reasoning_effort = effort(&mut more, "reasoning_effort")?.or(request.reasoning_effort);
    // Anthropic's own word on tools says more than Converse's.
    let (choice, parallel) = option::tool_choice(&mut more, &request.tools, &[], rest)?;
    request.tool_choice = choice.or(request.tool_choice.take());
    request.parallel_tool_calls = parallel;
    leave(more, rest);
    Ok(())
}

fn thinking(config: &mut Object<'_>, request: &mut Request) -> Result<(), Error> {
    const TYPES: &str = "`enabled`, `adaptive` or `disabled`";
    match config.required_text("type", TYPES)?.as_str() {
        // As much as Claude thinks unless it is told otherwise.
        "adaptive" => request.reasoning_effort = Some(Effort::High),
        "between_tools" | "disabled" => request.reasoning_budget = Some(0),
        "enabled" => {
            let budget = config.count("budget_tokens")?;
            let what = "how many tokens of thought there may be";
            request.reasoning_budget =
                Some(budget.ok_or_else(|| config.at.field("budget_tokens").required(what))?);
        }
        _ => return Err(config.at.field("type").wrong(&format!("must be {TYPES}"))),
    }
    Ok(())
}

/// Without these the answer would mean something else.
const REFUSED: &[(&str, &str)] = &[
    (
        "guardrailConfig",
        "Bedrock's guardrails run at Bedrock only: leave it out, or choose a model of Bedrock.",
    ),
    ("promptVariables", "Prompts are kept at Bedrock only: send the messages themselves."),
];

const BYTES: &str = "the content in base64";

const MAX_MESSAGES: usize = 10_000;
const MAX_PARTS: usize = 1_000;
const MAX_STOPS: usize = 2_500;
const MAX_TOOLS: usize = 1_000;
