//! A caller's Responses body, read into the unified request.
//!
//! Strict, because a field misread in silence is a wrong answer paid for (see [`crate::fields`]). Fields
//! that no other protocol has are kept in [`Request::extra`], nested ones under their path.

use std::collections::HashSet;

use serde_json::Value;

use super::{Kept, encode::LOGPROBS};
use crate::{
    Error,
    chat::{
        CacheTtl, Effort, Extra, File, Image, Media, Message, OPENAIS, Openais, Part, Reasoning, Request,
        ResponseFormat, Role, Tool, ToolCall, ToolChoice, ToolResult, VERBOSITY,
    },
    dialect::{detail, labels, openais, service_tier},
    fields::{self, At, Object, leave},
};

/// What has no place in the unified request, by path.
type Left = Vec<(String, Value)>;

/// Reads a caller's body.
pub(super) fn parse(body: &[u8]) -> Result<Request, Error> {
    let mut body = fields::body(body)?;
    let mut left = Left::new();
    stateless(&mut body)?;
    let model = body.required_text("model", "`provider/model` or an alias")?;
    let messages = messages(&mut body, &mut left)?;
    let mut builtin = Vec::new();
    let tools = tools(&mut body, &mut left, &mut builtin)?;
    let (tools, tool_choice) = tool_choice(&mut body, tools, !builtin.is_empty())?;
    let (reasoning_effort, thoughts) = reasoning(&mut body, &mut left)?;
    let (response_format, verbosity) = text(&mut body, &mut left)?;
    let request = Request {
        model,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls: body.boolean("parallel_tool_calls")?,
        response_format,
        max_output_tokens: body.count("max_output_tokens")?,
        temperature: body.number("temperature", 0.0, 2.0)?,
        top_p: body.number("top_p", 0.0, 1.0)?,
        reasoning_effort,
        thoughts,
        logprobs: logprobs(&mut body, &mut left)?,
        stream: body.boolean("stream")?.unwrap_or(false),
        include_usage: true,
        user: body.text("user")?,
        safety_identifier: body.text("safety_identifier")?,
        service_tier: service_tier(&mut body, "service_tier"),
        labels: labels(&mut body, "metadata"),
        openais: [openais(&mut body, OPENAIS), verbosity].concat(),
        ..Request::default()
    };
    let rest = body.map.into_iter().filter(|(name, value)| !says_nothing(name, value));
    let extra = rest.chain(left).map(|(name, value)| {
        let instead = REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, instead)| *instead);
        Extra { name, value, instead }
    });
    Ok(Request { extra: extra.chain(builtin).collect(), ..request })
}

/// Refuses what only a provider that keeps answers can do.
fn stateless(body: &mut Object<'_>) -> Result<(), Error> {
    for name in ["previous_response_id", "conversation"] {
        if body.take(name).is_some() {
            return Err(body.at.field(name).cannot(
                "needs a provider that keeps earlier answers, and none are kept for this model. Send the earlier \
                 items in `input` instead, `reasoning` items as they came",
            ));
        }
    }
    if body.boolean("background")? == Some(true) {
        return Err(body.at.field("background").cannot(
            "needs a provider that keeps answers to be fetched later, and none are kept for this model. Leave it \
             out and wait for the answer, or use `stream`",
        ));
    }
    Ok(())
}

/// Whether the field only says what holds anyway.
fn says_nothing(name: &str, value: &Value) -> bool {
    match name {
        "background_options" | "stream_options" => true,
        "store" => value == &Value::Bool(false),
        "truncation" => value == "disabled",
        _ => value.is_null(),
    }
}

fn messages(body: &mut Object<'_>, left: &mut Left) -> Result<Vec<Message>, Error> {
    let mut conversation = Conversation::default();
    if let Some(text) = body.text("instructions")? {
        conversation.say(Role::Developer, vec![Part::Text(text)]);
    }
    let here = body.at;
    let at = here.field("input");
    let list = match body.take("input") {
        None => return Err(at.required("a string or a list of items, oldest first")),
        Some(Value::String(text)) => {
            conversation.say(Role::User, vec![Part::Text(text)]);
            return Ok(conversation.messages);
        }
        Some(Value::Array(list)) => at.bounded(list, MAX_ITEMS)?,
        Some(other) => return Err(at.wrong_type("a string or a list of items", &other)),
    };
    if list.is_empty() {
        return Err(at.wrong("must hold at least one item"));
    }
    for (index, value) in list.into_iter().enumerate() {
        let mut item = Object::from(value, at.index(index))?;
        conversation.item(&mut item, left)?;
        // Names and states of items are for who keeps them.
        for name in ["id", "status"] {
            item.map.remove(name);
        }
        leave(item, left);
    }
    Ok(conversation.messages)
}

#[derive(Default)]
struct Conversation {
    messages: Vec<Message>,
    calls: HashSet<String>,
    /// Of the call that follows.
    signature: Option<String>,
}

impl Conversation {
    fn say(&mut self, role: Role, parts: Vec<Part>) {
        self.messages.push(Message { role, parts });
    }

    /// Adds to the model's turn: what it said, thought and called in a row is one message.
    fn answer(&mut self, parts: impl IntoIterator<Item = Part>) {
        match self.messages.last_mut() {
            Some(message) if message.role == Role::Assistant => message.parts.extend(parts),
            _ => self.say(Role::Assistant, parts.into_iter().collect()),
        }
    }

    fn item(&mut self, item: &mut Object<'_>, left: &mut Left) -> Result<(), Error> {
        let kind = match item.text("type")? {
            Some(kind) => kind,
            None if item.map.contains_key("role") => "message".to_owned(),
            None => item.required_text("type", ITEMS)?,
        };
        match kind.as_str() {
            "message" => self.message(item, left)?,
            "function_call" => {
                let call = self.call(item)?;
                self.answer([Part::ToolCall(call)]);
            }
            "function_call_output" => {
                let call_id = item.required_text("call_id", "the `call_id` of the call this answers")?;
                if !self.calls.contains(&call_id) {
                    let rule = "must be the `call_id` of an earlier `function_call` item";
                    return Err(item.at.field("call_id").wrong(rule));
                }
                let parts = content(item, "output", Role::Tool, left)?;
                self.say(Role::Tool, vec![Part::ToolResult(ToolResult { call_id, parts, is_error: false })]);
            }
            "reasoning" => {
                if let Some(thought) = self.thought(item, left)? {
                    self.answer([Part::Reasoning(thought)]);
                }
            }
            "item_reference" => {
                return Err(item.at.cannot(
                    "refers to an item that a provider keeps, and none are kept for this model. Send the item itself",
                ));
            }
            kind => {
                return Err(item.at.cannot(&format!(
                    "is of the type `{kind}`, which cannot be translated for this model. Leave it out, or choose a \
                     model of a provider that speaks Responses"
                )));
            }
        }
        Ok(())
    }

    fn message(&mut self, item: &mut Object<'_>, left: &mut Left) -> Result<(), Error> {
        const ROLES: &str = "`user`, `assistant`, `system` or `developer`";
        let role = match item.required_text("role", ROLES)?.as_str() {
            "assistant" => Role::Assistant,
            "developer" => Role::Developer,
            "system" => Role::System,
            "user" => Role::User,
            _ => return Err(item.at.field("role").wrong(&format!("must be {ROLES}"))),
        };
        let parts = content(item, "content", role, left)?;
        match role {
            Role::Assistant => self.answer(parts),
            _ => self.say(role, parts),
        }
        Ok(())
    }

    fn call(&mut self, item: &mut Object<'_>) -> Result<ToolCall, Error> {
        let id = item.required_text("call_id", "the id the model gave the call")?;
        let name = item.required_text("name", "the function's name")?;
        let arguments = item.required_string("arguments")?;
        self.calls.insert(id.clone());
        Ok(ToolCall { id, name, arguments, signature: self.signature.take() })
    }

    /// Thought, with what another provider needs to have it replayed.
    fn thought(&mut self, item: &mut Object<'_>, left: &mut Left) -> Result<Option<Reasoning>, Error> {
        // The full text, where there is one, says all that its summary says.
        let summary = texts(item, "summary", left)?;
        let full = texts(item, "content", left)?;
        let text = if full.is_empty() { summary.join("\n\n") } else { full.join("\n\n") };
        let mut thought = Reasoning { text, ..Reasoning::default() };
        if let Some(content) = item.text("encrypted_content")? {
            match Kept::read(&content) {
                Some(Kept::Call(signature)) => self.signature = Some(signature.to_owned()),
                Some(Kept::Plain) => {}
                Some(Kept::Redacted(data)) => thought.redacted = Some(data.to_owned()),
                Some(Kept::Signature(signature)) => thought.signature = Some(signature.to_owned()),
                // Only the provider that made it can read it, and that one gets the caller's own bytes.
                None => left.push((item.at.field("encrypted_content").to_string(), Value::String(content))),
            }
        }
        Ok((thought != Reasoning::default()).then_some(thought))
    }
}

/// The texts of a list of `{"type": …, "text": …}`.
fn texts(item: &mut Object<'_>, name: &str, left: &mut Left) -> Result<Vec<String>, Error> {
    let here = item.at;
    let at = here.field(name);
    let mut texts = Vec::new();
    for (index, value) in item.list(name, MAX_PARTS)?.unwrap_or_default().into_iter().enumerate() {
        let mut part = Object::from(value, at.index(index))?;
        texts.push(part.required_string("text")?);
        part.map.remove("type");
        leave(part, left);
    }
    Ok(texts)
}

/// The parts of `content`, or of a call's `output`.
fn content(item: &mut Object<'_>, name: &str, role: Role, left: &mut Left) -> Result<Vec<Part>, Error> {
    let here = item.at;
    let at = here.field(name);
    let list = match item.take(name) {
        None => return Err(at.required("a string or a list of parts")),
        Some(Value::String(text)) => return Ok(vec![Part::Text(text)]),
        Some(Value::Array(list)) => at.bounded(list, MAX_PARTS)?,
        Some(other) => return Err(at.wrong_type("a string or a list of parts", &other)),
    };
    let mut parts = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let mut object = Object::from(value, at.index(index))?;
        parts.push(part(&mut object, role)?);
        parts.extend(cache_point(&mut object)?);
        // Empty in most answers that are sent back.
        for name in ["annotations", "logprobs"] {
            if object.map.get(name).is_some_and(|value| value.as_array().is_some_and(Vec::is_empty)) {
                object.map.remove(name);
            }
        }
        leave(object, left);
    }
    Ok(parts)
}

fn part(object: &mut Object<'_>, role: Role) -> Result<Part, Error> {
    const KINDS: &str =
        "`input_text`, `input_image`, `input_file`, or `output_text` or `refusal` of the model";
    let kind = object.required_text("type", KINDS)?;
    match (kind.as_str(), role) {
        ("input_text" | "output_text", _) => Ok(Part::Text(object.required_string("text")?)),
        ("refusal", Role::Assistant) => Ok(Part::Refusal(object.required_string("refusal")?)),
        ("input_image", Role::Tool | Role::User) => image(object),
        ("input_file", Role::Tool | Role::User) => file(object),
        ("input_image" | "input_file", _) => Err(object
            .at
            .cannot("is an image or a file, which only `user` messages and the outputs of calls can hold")),
        ("input_audio", _) => Err(object.at.cannot("is sound, which cannot be translated for this model")),
        _ => Err(object.at.field("type").wrong(&format!("must be {KINDS}"))),
    }
}

fn image(object: &mut Object<'_>) -> Result<Part, Error> {
    uploaded(object, "image_url")?;
    let url = object.required_text("image_url", "an `https://` address or a `data:` URL")?;
    let here = object.at;
    let at = here.field("image_url");
    let detail = detail(object);
    const RULE: &str = "must be an `https://` address or `data:image/…;base64,…`";
    if is_https(&url) {
        return Ok(Part::Image(Image { detail, media: Media::Url(url) }));
    }
    match data_url(&url) {
        Some((media_type, data)) if media_type.starts_with("image/") => {
            Ok(Part::Image(Image { detail, media: base64(media_type, data, at)? }))
        }
        _ => Err(at.wrong(RULE)),
    }
}

fn file(object: &mut Object<'_>) -> Result<Part, Error> {
    uploaded(object, "file_data` or `file_url")?;
    let name = object.text("filename")?.filter(|name| !name.is_empty());
    if object.map.get("detail").is_some_and(|detail| detail == "auto") {
        object.map.remove("detail");
    }
    let here = object.at;
    if let Some(url) = object.text("file_url")? {
        if !is_https(&url) {
            return Err(here.field("file_url").wrong("must be an `https://` address"));
        }
        return Ok(Part::File(File { name, cited: false, media: Media::Url(url) }));
    }
    let at = here.field("file_data");
    let data = object.required_text("file_data", "the file as `data:…;base64,…`, or `file_url`")?;
    let is_pdf = name.as_ref().is_some_and(|name| name.to_ascii_lowercase().ends_with(".pdf"));
    let media = match data_url(&data) {
        Some((media_type, data)) => base64(media_type, data, at)?,
        None if is_pdf => base64("application/pdf", &data, at)?,
        None => return Err(at.wrong("must be `data:…;base64,…`, with the file's media type")),
    };
    Ok(Part::File(File { name, cited: false, media }))
}

/// Refuses a file that only the provider it was uploaded to knows.
fn uploaded(object: &mut Object<'_>, instead: &str) -> Result<(), Error> {
    match object.text("file_id")? {
        None => Ok(()),
        Some(_) => Err(object.at.field("file_id").cannot(&format!(
            "names a file that was uploaded to a provider, which cannot be translated for this model. Use \
             `{instead}`"
        ))),
    }
}

fn is_https(url: &str) -> bool {
    url.len() > 8 && url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// The media type and the base64 of a `data:` URL.
fn data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    head.strip_suffix(";base64").map(|media_type| (media_type, data))
}

fn base64(media_type: &str, data: &str, at: At<'_>) -> Result<Media, Error> {
    let digits = data.trim_end_matches('=');
    let is_base64 = digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
    if digits.is_empty() || !is_base64 || data.len() - digits.len() > 2 {
        return Err(at.wrong("must hold base64 after the comma"));
    }
    // Parameters (`image/png;name=x`) are of no use to a provider.
    let media_type = match media_type.split(';').next().unwrap_or(media_type).to_ascii_lowercase().as_str() {
        "" => return Err(at.wrong("must name the media type before `;base64`")),
        // Often written, never registered, and refused.
        "image/jpg" => "image/jpeg".to_owned(),
        other => other.to_owned(),
    };
    Ok(Media::Data { media_type, data: data.to_owned() })
}

fn cache_point(object: &mut Object<'_>) -> Result<Option<Part>, Error> {
    let Some(mut point) = object.object("prompt_cache_breakpoint")? else { return Ok(None) };
    let ttl = match point.text("ttl")?.as_deref() {
        Some("12h") => CacheTtl::Hour,
        _ => CacheTtl::Short,
    };
    Ok(Some(Part::CachePoint(ttl)))
}

fn tools(body: &mut Object<'_>, left: &mut Left, builtin: &mut Vec<Extra>) -> Result<Vec<Tool>, Error> {
    let here = body.at;
    let at = here.field("tools");
    let mut tools = Vec::new();
    for (index, value) in body.list("tools", MAX_TOOLS)?.unwrap_or_default().into_iter().enumerate() {
        let mut tool = Object::from(value, at.index(index))?;
        let kind = tool.required_text("type", "`function`")?;
        if kind != "function" {
            tool.map.insert("type".to_owned(), Value::String(kind));
            let name = tool.at.to_string();
            builtin.push(Extra { name, value: Value::Object(tool.map), instead: Some(BUILT_IN) });
            continue;
        }
        tools.push(Tool {
            name: tool.required_text("name", "the function's name")?,
            description: tool.text("description")?,
            parameters: tool.schema("parameters")?,
            strict: tool.boolean("strict")?,
            cache: None,
        });
        leave(tool, left);
    }
    Ok(tools)
}

/// The choice, and the tools that are left to choose from.
fn tool_choice(
    body: &mut Object<'_>,
    mut tools: Vec<Tool>,
    has_builtin: bool,
) -> Result<(Vec<Tool>, Option<ToolChoice>), Error> {
    const RULE: &str = "must be `auto`, `none`, `required` or {\"type\":\"function\",\"name\":…}";
    let here = body.at;
    let at = here.field("tool_choice");
    let choice = match body.take("tool_choice") {
        None => return Ok((tools, None)),
        Some(Value::String(word)) => mode(&word).ok_or_else(|| at.wrong(RULE))?,
        Some(Value::Object(map)) => {
            let mut object = Object { map, at };
            match object.required_text("type", "`function`")?.as_str() {
                "function" => ToolChoice::Function(known_name(&mut object, &tools)?),
                "allowed_tools" => {
                    let word = object.required_text("mode", "`auto` or `required`")?;
                    let Some(choice) = mode(&word).filter(|mode| *mode != ToolChoice::None) else {
                        return Err(at.field("mode").wrong("must be `auto` or `required`"));
                    };
                    let names = allowed(&mut object, &tools)?;
                    tools.retain(|tool| names.contains(&tool.name));
                    choice
                }
                kind => {
                    let why = format!("is `{kind}`. Only functions can be translated for this model");
                    return Err(at.field("type").cannot(&why));
                }
            }
        }
        Some(other) => return Err(at.wrong_type("a string or an object", &other)),
    };
    if tools.is_empty() && !has_builtin && choice == ToolChoice::Required {
        return Err(at.wrong("needs `tools` to choose from"));
    }
    Ok((tools, Some(choice)))
}

fn allowed(object: &mut Object<'_>, tools: &[Tool]) -> Result<HashSet<String>, Error> {
    let here = object.at;
    let at = here.field("tools");
    let list = object.list("tools", MAX_TOOLS)?.ok_or_else(|| at.required("a list of tools"))?;
    let name = |(index, value)| known_name(&mut Object::from(value, at.index(index))?, tools);
    list.into_iter().enumerate().map(name).collect()
}

fn known_name(object: &mut Object<'_>, tools: &[Tool]) -> Result<String, Error> {
    let name = object.required_text("name", "the function's name")?;
    if !tools.iter().any(|tool| tool.name == name) {
        return Err(object.at.field("name").wrong("must be the name of one of the `tools`"));
    }
    Ok(name)
}

fn mode(word: &str) -> Option<ToolChoice> {
    match word {
        "auto" => Some(ToolChoice::Auto),
        "none" => Some(ToolChoice::None),
        "required" => Some(ToolChoice::Required),
        _ => None,
    }
}

/// The form of the text, and its length.
fn text(body: &mut Object<'_>, left: &mut Left) -> Result<(ResponseFormat, Openais), Error> {
    const KINDS: &str = "`text`, `json_object` or `json_schema`";
    let Some(mut text) = body.object("text")? else { return Ok((ResponseFormat::Text, Vec::new())) };
    let verbosity = openais(&mut text, &[VERBOSITY]);
    let read = match text.object("format")? {
        None => ResponseFormat::Text,
        Some(mut format) => {
            let read = match format.required_text("type", KINDS)?.as_str() {
                "json_object" => ResponseFormat::JsonObject,
                "json_schema" => ResponseFormat::JsonSchema {
                    name: format.required_text("name", "a name for the schema")?,
                    description: format.text("description")?,
                    schema: format
                        .schema("schema")?
                        .ok_or_else(|| format.at.field("schema").required("a JSON Schema"))?,
                    strict: format.boolean("strict")?,
                },
                "text" => ResponseFormat::Text,
                _ => return Err(format.at.field("type").wrong(&format!("must be {KINDS}"))),
            };
            leave(format, left);
            read
        }
    };
    leave(text, left);
    Ok((read, verbosity))
}

/// How much to think, and whether to show it: a summary that is asked for is.
fn reasoning(body: &mut Object<'_>, left: &mut Left) -> Result<(Option<Effort>, Option<bool>), Error> {
    let Some(mut reasoning) = body.object("reasoning")? else { return Ok((None, None)) };
    let effort = match reasoning.text("effort")? {
        None => None,
        Some(word) => Some(Effort::named(&word).ok_or_else(|| {
            let rule = "must be `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`";
            reasoning.at.field("effort").wrong(rule)
        })?),
    };
    let mut thoughts = None;
    for name in ["generate_summary", "summary"] {
        thoughts = match reasoning.map.get(name).and_then(Value::as_str) {
            None => thoughts,
            // How long it is is up to whoever writes it.
            Some(length) => {
                if length == "auto" {
                    reasoning.map.remove(name);
                }
                Some(true)
            }
        };
    }
    leave(reasoning, left);
    Ok((effort, thoughts))
}

/// What is to be in the answer besides: probabilities of tokens. Thought that can be sent back always is.
fn logprobs(body: &mut Object<'_>, left: &mut Left) -> Result<Option<u64>, Error> {
    let mut wanted = None;
    let here = body.at;
    let at = here.field("include");
    for (index, value) in body.list("include", MAX_PARTS)?.unwrap_or_default().into_iter().enumerate() {
        match value.as_str() {
            None => return Err(at.index(index).wrong_type("a string", &value)),
            Some("reasoning.encrypted_content") => {}
            Some(LOGPROBS) => wanted = Some(0),
            Some(_) => left.push((at.index(index).to_string(), value)),
        }
    }
    match body.integer("top_logprobs")?.map(u64::try_from) {
        None | Some(Ok(0)) => Ok(wanted),
        Some(Ok(others)) if others <= 20 => Ok(Some(others)),
        Some(_) => Err(body.at.field("top_logprobs").wrong("must be between 0 and 20")),
    }
}

/// Far above what a model can read, far below what would hurt.
const MAX_ITEMS: usize = 10_000;
const MAX_PARTS: usize = 1_000;
const MAX_TOOLS: usize = 1_000;

const ITEMS: &str = "`message`, `function_call`, `function_call_output` or `reasoning`";

const BUILT_IN: &str = "Only `function` tools can. Declare a function and run it yourself, or choose a model of a \
                        provider that speaks Responses.";

/// Fields that change what an answer is, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("moderation", "Leave it out, or choose a model of a provider that speaks Responses."),
    ("prompt", "Send the prompt's text in `instructions` and `input`."),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dialect::drop_extra;

    fn with(fields: &str) -> Result<Request, Error> {
        parse(format!(r#"{{"model":"a/b","input":"Hi",{fields}}}"#).as_bytes())
    }

    fn with_items(items: &str) -> Result<Request, Error> {
        parse(format!(r#"{{"model":"a/b","input":[{items}]}}"#).as_bytes())
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

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn message(role: Role, parts: Vec<Part>) -> Message {
        Message { role, parts }
    }

    #[test]
    fn a_rich_request_is_read_whole() {
        let body = json!({
            "model": "a/b", "instructions": "Be brief.", "stream": true, "user": "u1",
            "input": [
                {"role": "system", "content": "Be kind."},
                {"type": "message", "role": "user", "content": [
                    {"type": "input_text", "text": "Look", "prompt_cache_breakpoint": {"mode": "explicit"}},
                    {"type": "input_image", "image_url": "data:image/jpg;base64,aaaa", "detail": "auto"},
                    {"type": "input_image", "image_url": "https://x/y.png", "detail": "high"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,bbbb"},
                    {"type": "input_file", "file_url": "https://x/y.pdf"},
                ]},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "hypergate:signature:s1"},
                {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "hypergate:redacted:d1", "status": "completed"},
                {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [
                    {"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []},
                    {"type": "refusal", "refusal": "No."},
                ]},
                {"type": "reasoning", "id": "rs_3", "summary": [], "encrypted_content": "hypergate:call:g1"},
                {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}", "status": "completed"},
                {"type": "function_call", "call_id": "call_2", "name": "g", "arguments": ""},
                {"type": "function_call_output", "call_id": "call_2", "output": "2"},
                {"type": "function_call_output", "call_id": "call_1", "output": [
                    {"type": "input_text", "text": "1"}, {"type": "input_image", "image_url": "https://x/z.png"},
                ]},
                {"role": "user", "content": "Go on"},
            ],
            "tools": [{"type": "function", "name": "f", "description": "F.", "parameters": {"type": "object"}, "strict": true}, {"type": "function", "name": "g", "parameters": null, "strict": null}],
            "tool_choice": {"type": "function", "name": "g"}, "parallel_tool_calls": false,
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true, "description": "D."}, "verbosity": "low"},
            "max_output_tokens": 50, "temperature": 0.5, "top_p": 0.9,
            "reasoning": {"effort": "high", "summary": "auto"},
            "include": ["reasoning.encrypted_content"], "store": true, "metadata": {"k": "v"},
            "background": false, "previous_response_id": null, "service_tier": "auto", "truncation": "auto",
            "stream_options": {"include_obfuscation": false},
        });
        let request = parse(body.to_string().as_bytes()).expect("valid");
        let data = |media_type: &str, data: &str| Media::Data {
            media_type: media_type.to_owned(),
            data: data.to_owned(),
        };
        let url = |url: &str| Media::Url(url.to_owned());
        let call = |id: &str, name: &str, arguments: &str, signature: Option<&str>| {
            Part::ToolCall(ToolCall {
                id: id.to_owned(),
                name: name.to_owned(),
                arguments: arguments.to_owned(),
                signature: signature.map(str::to_owned),
            })
        };
        let result =
            |id: &str, parts| Part::ToolResult(ToolResult { call_id: id.to_owned(), parts, is_error: false });
        let thought = Reasoning { text: "Hm".to_owned(), signature: Some("s1".to_owned()), redacted: None };
        let redacted = Reasoning { redacted: Some("d1".to_owned()), ..Reasoning::default() };
        let expected = Request {
            model: "a/b".to_owned(),
            messages: vec![
                message(Role::Developer, vec![text("Be brief.")]),
                message(Role::System, vec![text("Be kind.")]),
                message(
                    Role::User,
                    vec![
                        text("Look"),
                        Part::CachePoint(CacheTtl::Short),
                        Part::Image(data("image/jpeg", "aaaa").into()),
                        Part::Image(Image {
                            detail: Some(crate::chat::Detail::High),
                            media: url("https://x/y.png"),
                        }),
                        Part::File(File {
                            cited: false,
                            name: Some("a.pdf".to_owned()),
                            media: data("application/pdf", "bbbb"),
                        }),
                        Part::File(File { cited: false, name: None, media: url("https://x/y.pdf") }),
                    ],
                ),
                message(
                    Role::Assistant,
                    vec![
                        Part::Reasoning(thought),
                        Part::Reasoning(redacted),
                        text("Let me see."),
                        Part::Refusal("No.".to_owned()),
                        call("call_1", "f", "{\"a\":1}", Some("g1")),
                        call("call_2", "g", "", None),
                    ],
                ),
                message(Role::Tool, vec![result("call_2", vec![text("2")])]),
                message(
                    Role::Tool,
                    vec![result("call_1", vec![text("1"), Part::Image(url("https://x/z.png").into())])],
                ),
                message(Role::User, vec![text("Go on")]),
            ],
            tools: vec![
                Tool {
                    cache: None,
                    name: "f".to_owned(),
                    description: Some("F.".to_owned()),
                    parameters: Some(json!({"type": "object"})),
                    strict: Some(true),
                },
                Tool { cache: None, name: "g".to_owned(), description: None, parameters: None, strict: None },
            ],
            tool_choice: Some(ToolChoice::Function("g".to_owned())),
            parallel_tool_calls: Some(false),
            response_format: ResponseFormat::JsonSchema {
                name: "n".to_owned(),
                description: Some("D.".to_owned()),
                schema: json!({"type": "object"}),
                strict: Some(true),
            },
            max_output_tokens: Some(50),
            temperature: Some(0.5),
            top_p: Some(0.9),
            reasoning_effort: Some(Effort::High),
            thoughts: Some(true),
            stream: true,
            include_usage: true,
            user: Some("u1".to_owned()),
            labels: vec![("k".to_owned(), "v".to_owned())],
            openais: vec![(VERBOSITY, json!("low"))],
            extra: request.extra.clone(),
            ..Request::default()
        };
        assert_eq!(request, expected);
        let mut dropped = Vec::new();
        drop_extra(&request.extra, &mut dropped).expect("harmless");
        assert_eq!(dropped, ["truncation", "store"]);
    }

    #[test]
    fn a_text_is_a_message_and_text_is_the_plain_format() {
        let request = with(r#""text":{"format":{"type":"text"}}"#).expect("valid");
        assert_eq!(request.messages, [message(Role::User, vec![text("Hi")])]);
        assert_eq!((request.response_format, request.extra), (ResponseFormat::Text, vec![]));
        let request = with(r#""text":{"format":{"type":"json_object"}}"#).expect("valid");
        assert_eq!(request.response_format, ResponseFormat::JsonObject);
    }

    #[test]
    fn thought_of_the_provider_itself_keeps_its_words_only() {
        let request = with_items(
            r#"{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}],"content":null,"encrypted_content":"gAAA"},{"role":"assistant","content":"Hi"}"#,
        )
        .expect("valid");
        let thought = Reasoning { text: "a\n\nb".to_owned(), ..Reasoning::default() };
        assert_eq!(request.messages[0].parts, [Part::Reasoning(thought), text("Hi")]);
        assert_eq!(request.extra[0].name, "input[0].encrypted_content");
        assert_eq!(request.extra[0].instead, None);
    }

    #[test]
    fn what_needs_a_memory_or_a_built_in_tool_is_refused() {
        #[rustfmt::skip]
        let cases = [
            (r#""previous_response_id":"resp_1""#, "unsupported previous_response_id: `previous_response_id` needs a provider that keeps earlier answers, and none are kept for this model. Send the earlier items in `input` instead, `reasoning` items as they came."),
            (r#""conversation":{"id":"conv_1"}"#, "unsupported conversation: `conversation` needs a provider that keeps earlier answers, and none are kept for this model. Send the earlier items in `input` instead, `reasoning` items as they came."),
            (r#""background":true"#, "unsupported background: `background` needs a provider that keeps answers to be fetched later, and none are kept for this model. Leave it out and wait for the answer, or use `stream`."),
            (r#""tools":[{"type":"web_search"}],"tool_choice":"required""#, "unsupported tools[0]: `tools[0]` cannot be translated for this model. Only `function` tools can. Declare a function and run it yourself, or choose a model of a provider that speaks Responses."),
            (r#""prompt":{"id":"p"}"#, "unsupported prompt: `prompt` cannot be translated for this model. Send the prompt's text in `instructions` and `input`."),
        ];
        for (fields, expected) in cases {
            let refused = with(fields).and_then(|request| {
                drop_extra(&request.extra, &mut Vec::new())?;
                Ok(request)
            });
            assert_eq!(complaint(refused), expected, "{fields}");
        }
    }

    #[test]
    fn a_wrong_item_is_named_by_its_path() {
        #[rustfmt::skip]
        let cases = [
            ("\"Hi\"", "invalid input[0]: `input[0]` must be an object, not a string."),
            ("{}", "invalid input[0].type: `input[0].type` is required: `message`, `function_call`, `function_call_output` or `reasoning`."),
            (r#"{"type":"message","content":"Hi"}"#, "invalid input[0].role: `input[0].role` is required: `user`, `assistant`, `system` or `developer`."),
            (r#"{"role":"bot","content":"Hi"}"#, "invalid input[0].role: `input[0].role` must be `user`, `assistant`, `system` or `developer`."),
            (r#"{"role":"user"}"#, "invalid input[0].content: `input[0].content` is required: a string or a list of parts."),
            (r#"{"role":"user","content":5}"#, "invalid input[0].content: `input[0].content` must be a string or a list of parts, not a number."),
            (r#"{"role":"user","content":[{"type":"text","text":"Hi"}]}"#, "invalid input[0].content[0].type: `input[0].content[0].type` must be `input_text`, `input_image`, `input_file`, or `output_text` or `refusal` of the model."),
            (r#"{"role":"user","content":[{"type":"input_image","image_url":{"url":"x"}}]}"#, "invalid input[0].content[0].image_url: `input[0].content[0].image_url` must be a string, not an object."),
            (r#"{"role":"user","content":[{"type":"input_image","image_url":"file:///etc/passwd"}]}"#, "invalid input[0].content[0].image_url: `input[0].content[0].image_url` must be an `https://` address or `data:image/…;base64,…`."),
            (r#"{"role":"user","content":[{"type":"input_image","file_id":"file_1"}]}"#, "unsupported input[0].content[0].file_id: `input[0].content[0].file_id` names a file that was uploaded to a provider, which cannot be translated for this model. Use `image_url`."),
            (r#"{"role":"user","content":[{"type":"input_file","file_data":"aaaa"}]}"#, "invalid input[0].content[0].file_data: `input[0].content[0].file_data` must be `data:…;base64,…`, with the file's media type."),
            (r#"{"role":"system","content":[{"type":"input_image","image_url":"https://x/y.png"}]}"#, "unsupported input[0].content[0]: `input[0].content[0]` is an image or a file, which only `user` messages and the outputs of calls can hold."),
            (r#"{"type":"function_call","name":"f","arguments":"{}"}"#, "invalid input[0].call_id: `input[0].call_id` is required: the id the model gave the call."),
            (r#"{"type":"function_call","call_id":"c","name":"f","arguments":{}}"#, "invalid input[0].arguments: `input[0].arguments` must be a string, not an object."),
            (r#"{"type":"function_call_output","call_id":"c","output":"1"}"#, "invalid input[0].call_id: `input[0].call_id` must be the `call_id` of an earlier `function_call` item."),
            (r#"{"type":"reasoning","summary":[{"type":"summary_text"}]}"#, "invalid input[0].summary[0].text: `input[0].summary[0].text` is required: a string."),
            (r#"{"type":"item_reference","id":"msg_1"}"#, "unsupported input[0]: `input[0]` refers to an item that a provider keeps, and none are kept for this model. Send the item itself."),
            (r#"{"type":"web_search_call","id":"ws_1"}"#, "unsupported input[0]: `input[0]` is of the type `web_search_call`, which cannot be translated for this model. Leave it out, or choose a model of a provider that speaks Responses."),
        ];
        for (items, expected) in cases {
            assert_eq!(complaint(with_items(items)), expected, "{items}");
        }
    }

    #[test]
    fn a_wrong_field_is_named_with_what_would_be_right() {
        let tools = r#""tools":[{"type":"function","name":"f"}]"#;
        let choice = |choice: &str| format!(r#"{tools},"tool_choice":{choice}"#);
        #[rustfmt::skip]
        let cases = [
            (r#""temperature":3"#.to_owned(), "invalid temperature: `temperature` must be between 0 and 2."),
            (r#""max_output_tokens":0"#.to_owned(), "invalid max_output_tokens: `max_output_tokens` must be at least 1."),
            (r#""instructions":[]"#.to_owned(), "invalid instructions: `instructions` must be a string, not a list."),
            (r#""reasoning":{"effort":"huge"}"#.to_owned(), "invalid reasoning.effort: `reasoning.effort` must be `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`."),
            (r#""text":{"format":{"type":"xml"}}"#.to_owned(), "invalid text.format.type: `text.format.type` must be `text`, `json_object` or `json_schema`."),
            (r#""text":{"format":{"type":"json_schema","name":"x"}}"#.to_owned(), "invalid text.format.schema: `text.format.schema` is required: a JSON Schema."),
            (r#""tools":[{"type":"function","function":{"name":"f"}}]"#.to_owned(), "invalid tools[0].name: `tools[0].name` is required: the function's name."),
            (r#""tool_choice":"required""#.to_owned(), "invalid tool_choice: `tool_choice` needs `tools` to choose from."),
            (choice(r#""any""#), "invalid tool_choice: `tool_choice` must be `auto`, `none`, `required` or {\"type\":\"function\",\"name\":…}."),
            (choice(r#"{"type":"function","name":"g"}"#), "invalid tool_choice.name: `tool_choice.name` must be the name of one of the `tools`."),
            (choice(r#"{"type":"web_search"}"#), "unsupported tool_choice.type: `tool_choice.type` is `web_search`. Only functions can be translated for this model."),
            (choice(r#"{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"g"}]}"#), "invalid tool_choice.tools[0].name: `tool_choice.tools[0].name` must be the name of one of the `tools`."),
            (r#""include":[1]"#.to_owned(), "invalid include[0]: `include[0]` must be a string, not a number."),
        ];
        for (fields, expected) in cases {
            assert_eq!(complaint(with(&fields)), expected, "{fields}");
        }
        let deep = format!(r#"{{"model":"a/b","input":{}"#, "[".repeat(100_000));
        assert!(complaint(parse(deep.as_bytes())).contains("recursion limit"));
    }
}
