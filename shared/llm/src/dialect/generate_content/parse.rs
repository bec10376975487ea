//! A caller's generateContent body, read into the unified request.
//!
//! Protobuf's JSON: a name may be written `topP` or `top_p`, a whole number as `5`, `5.0` or `"5"`, a list of
//! one as the one. Complaints name fields in camel case, whichever way they were written.
//!
//! Gemini's calls need no ids. They get some here (`call_0`, …), the same ones each time the conversation
//! comes; a result belongs to the call with its id, or else to the first open call of its name in the last turn.

use std::collections::HashSet;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

use super::{
    SIGNATURE_PREFIX,
    request::SKIP_VALIDATION,
    schema::{camel, json_schema},
    write::{REDACTED_MARK, SIGNED_MARK},
};
use crate::{
    Error,
    chat::{
        Effort, Extra, File, Media, Message, Part, Reasoning, Request, ResponseFormat, Role, Tool, ToolCall,
        ToolChoice, ToolResult,
    },
    dialect::{labels, service_tier},
    fields::{self, At, Object, leave},
};

/// Reads a caller's body. Model and stream are in the address.
pub(super) fn parse(body: &[u8]) -> Result<Request, Error> {
    let mut body = fields::body(body)?;
    respell(&mut body)?;
    let mut request = Request::default();
    // One list each: what is harmless in one must not crowd out what is not in another.
    let (mut extra, mut of_tools, mut of_config) = (Vec::new(), Vec::new(), Vec::new());
    request.tools = tools(&mut body, &mut of_tools)?;
    tool_config(&mut body, &mut request, &mut of_config)?;
    generation_config(&mut body, &mut request, &mut of_config)?;
    let system = instructions(&mut body, &mut extra)?;
    let mut turns = Turns::default();
    turns.read(&mut body, &mut extra)?;
    if turns.messages.is_empty() {
        return Err(Error::invalid("contents", "`contents` must hold at least one turn that is not empty."));
    }
    request.messages = system.into_iter().chain(turns.messages).collect();
    request.service_tier = service_tier(&mut body, "serviceTier");
    request.labels = labels(&mut body, "labels");
    let extra = of_tools.into_iter().chain(of_config).chain(extra);
    let rest = body.map.into_iter().filter(|(_, value)| !value.is_null());
    let extra = rest.chain(extra).map(|(name, value)| Extra { instead: instead(&name), name, value });
    request.extra = extra.collect();
    Ok(request)
}

/// What a caller can do without a field that changes the meaning.
fn instead(name: &str) -> Option<&'static str> {
    let is_tool = name.strip_prefix("tools[").and_then(|rest| rest.split_once("].")).is_some_and(
        // A declaration's own fields have a path of their own.
        |(_, field)| !field.contains(['.', '[']),
    );
    if is_tool {
        return Some("Declare a function in its place, or choose a Gemini model.");
    }
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, instead)| *instead)
}

/// Gives the fields their names in camel case.
fn respell(object: &mut Object<'_>) -> Result<(), Error> {
    if !object.map.keys().any(|name| name.contains('_')) {
        return Ok(());
    }
    let mut map = Map::with_capacity(object.map.len());
    for (name, value) in std::mem::take(&mut object.map) {
        let name = camel(&name);
        if map.contains_key(&name) {
            return Err(object.at.field(&name).wrong("occurs twice, in two spellings"));
        }
        map.insert(name, value);
    }
    object.map = map;
    Ok(())
}

fn message<'a>(value: Value, at: At<'a>) -> Result<Object<'a>, Error> {
    let mut object = Object::from(value, at)?;
    respell(&mut object)?;
    Ok(object)
}

fn nested<'o, 'a>(object: &'o mut Object<'a>, name: &'a str) -> Result<Option<Object<'o>>, Error> {
    let mut found = object.object(name)?;
    if let Some(found) = &mut found {
        respell(found)?;
    }
    Ok(found)
}

/// A list. One object alone is a list of one.
fn several(object: &mut Object<'_>, name: &str, most: usize) -> Result<Vec<Value>, Error> {
    match object.take(name) {
        None => Ok(Vec::new()),
        Some(one @ Value::Object(_)) => Ok(vec![one]),
        Some(Value::Array(list)) => object.at.field(name).bounded(list, most),
        Some(other) => Err(object.at.field(name).wrong_type("a list", &other)),
    }
}

/// A whole number in any of protobuf's spellings.
fn whole(object: &mut Object<'_>, name: &str) -> Result<Option<i64>, Error> {
    let Some(value) = object.take(name) else { return Ok(None) };
    let number = match &value {
        Value::String(text) => text.parse().ok(),
        // Exact up to 2^53, and nothing here is larger.
        Value::Number(number) => number.as_i64().or_else(|| {
            let number = number.as_f64()?;
            (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
        }),
        _ => None,
    };
    number.map(Some).ok_or_else(|| object.at.field(name).wrong_type("a whole number", &value))
}

fn count(object: &mut Object<'_>, name: &str) -> Result<Option<u64>, Error> {
    match whole(object, name)? {
        None => Ok(None),
        Some(count) if count < 1 => Err(object.at.field(name).wrong("must be at least 1")),
        Some(count) => Ok(Some(count.unsigned_abs())),
    }
}

/// The system message.
fn instructions(body: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<Option<Message>, Error> {
    if let Some(Value::String(_)) = body.map.get("systemInstruction") {
        let text = body.text("systemInstruction")?;
        let parts = text.map(Part::Text).into_iter().collect();
        return Ok(Some(Message { role: Role::System, parts }));
    }
    let Some(mut content) = nested(body, "systemInstruction")? else { return Ok(None) };
    // Any role means the same here.
    content.text("role")?;
    let mut parts = Vec::new();
    let list = several(&mut content, "parts", MAX_PARTS)?;
    let here = content.at;
    let at = here.field("parts");
    for (index, value) in list.into_iter().enumerate() {
        let mut part = message(value, at.index(index))?;
        let Some(text) = part.text("text")? else {
            return Err(part.at.field("text").required("instructions are text"));
        };
        parts.push(Part::Text(text));
        leave(part, extra);
    }
    leave(content, extra);
    Ok((!parts.is_empty()).then_some(Message { role: Role::System, parts }))
}

/// The conversation so far.
#[derive(Default)]
struct Turns {
    messages: Vec<Message>,
    /// Calls of the last turn that have no result yet.
    open: Vec<Open>,
    ids: HashSet<String>,
    calls: usize,
}

struct Open {
    /// As the caller wrote it.
    given: Option<String>,
    id: String,
    name: String,
}

impl Turns {
    fn read(&mut self, body: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<(), Error> {
        let list = several(body, "contents", MAX_CONTENTS)?;
        let here = body.at;
        let at = here.field("contents");
        if list.is_empty() {
            return Err(at.required("the conversation, oldest turn first"));
        }
        for (index, value) in list.into_iter().enumerate() {
            let mut content = message(value, at.index(index))?;
            let role = content.text("role")?.unwrap_or_default();
            match role.as_str() {
                "model" => self.model(&mut content, extra)?,
                // The last two are old names of a turn of results.
                "" | "user" | "function" | "tool" => self.user(&mut content, extra)?,
                _ => {
                    return Err(content
                        .at
                        .field("role")
                        .wrong("must be `user` or `model`; instructions go into `systemInstruction`"));
                }
            }
            leave(content, extra);
        }
        Ok(())
    }

    fn model(&mut self, content: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<(), Error> {
        if self.messages.last().is_none_or(|last| last.role != Role::Assistant) {
            self.open.clear();
            self.messages.push(Message { role: Role::Assistant, parts: Vec::new() });
        }
        let list = several(content, "parts", MAX_PARTS)?;
        let here = content.at;
        let at = here.field("parts");
        for (index, value) in list.into_iter().enumerate() {
            let mut part = message(value, at.index(index))?;
            self.model_part(&mut part, extra)?;
            leave(part, extra);
        }
        // An answer may have had no parts at all, and is sent back that way.
        self.messages.pop_if(|last| last.role == Role::Assistant && last.parts.is_empty());
        Ok(())
    }

    fn model_part(&mut self, part: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<(), Error> {
        let thought = part.boolean("thought")?.unwrap_or(false);
        let signature = part.text("thoughtSignature")?.filter(|signature| !signature.is_empty());
        let kind = kind(part, signature.is_some())?;
        if kind == "functionCall" {
            let call = self.call(part, signature, extra)?;
            self.say(Part::ToolCall(call));
            return Ok(());
        }
        let said = match kind {
            "functionResponse" => {
                return Err(part.at.field(kind).wrong("can stand in a turn of the `user` only"));
            }
            "text" => part.text("text")?.unwrap_or_default(),
            _ => {
                let media = media(part, kind, extra)?;
                self.say(media);
                String::new()
            }
        };
        if thought {
            self.think(said, signature);
            return Ok(());
        }
        if !said.is_empty() {
            self.say(Part::Text(said));
        }
        if let Some(signature) = signature {
            self.sign(&signature);
        }
        Ok(())
    }

    /// Adds to the model's turn. Text that was streamed comes back in as many pieces.
    fn say(&mut self, part: Part) {
        let Some(last) = self.messages.last_mut() else { return };
        match (last.parts.last_mut(), part) {
            (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
            (_, part) => last.parts.push(part),
        }
    }

    fn think(&mut self, text: String, signature: Option<String>) {
        let open = match self.messages.last_mut().and_then(|last| last.parts.last_mut()) {
            Some(Part::Reasoning(open)) if open.signature.is_none() && open.redacted.is_none() => Some(open),
            _ => None,
        };
        let signed = signature.map(|signature| seal(&signature)).unwrap_or_default();
        match open {
            Some(open) if signed.redacted.is_none() => {
                open.text.push_str(&text);
                open.signature = signed.signature;
            }
            _ => {
                let reasoning = Reasoning { text, ..signed };
                if reasoning != Reasoning::default() {
                    self.say(Part::Reasoning(reasoning));
                }
            }
        }
    }

    /// The signature of a text is kept with the thought before it.
    fn sign(&mut self, signature: &str) {
        let signed = seal(signature);
        let open = self.messages.last_mut().and_then(|last| {
            last.parts.iter_mut().rev().find_map(|part| match part {
                Part::Reasoning(reasoning) => Some(reasoning),
                _ => None,
            })
        });
        match open {
            Some(open) if open.signature.is_none() && open.redacted.is_none() => {
                (open.signature, open.redacted) = (signed.signature, signed.redacted);
            }
            _ => self.say(Part::Reasoning(signed)),
        }
    }

    fn call(
        &mut self,
        part: &mut Object<'_>,
        signature: Option<String>,
        extra: &mut Vec<(String, Value)>,
    ) -> Result<ToolCall, Error> {
        let here = part.at;
        let Some(mut call) = nested(part, "functionCall")? else {
            return Err(here.field("functionCall").required("an object with a `name`"));
        };
        let name = call.required_text("name", "the function's name")?;
        let given = call.text("id")?.filter(|id| !id.is_empty());
        let arguments = match call.take("args") {
            None => "{}".to_owned(),
            Some(args @ Value::Object(_)) => args.to_string(),
            Some(other) => return Err(call.at.field("args").wrong_type("an object", &other)),
        };
        leave(call, extra);
        let id = self.call_id(given.as_deref());
        self.open.push(Open { given, id: id.clone(), name: name.clone() });
        let signature = signature.filter(|signature| signature != SKIP_VALIDATION);
        Ok(ToolCall { id, name, arguments, signature })
    }

    /// The caller's id, or one that depends on the conversation up to here only.
    fn call_id(&mut self, given: Option<&str>) -> String {
        let mut id = given.map(str::to_owned).unwrap_or_else(|| format!("call_{}", self.calls));
        let mut again = 0;
        while !self.ids.insert(id.clone()) {
            again += 1;
            id = format!("call_{}_{again}", self.calls);
        }
        self.calls += 1;
        id
    }

    fn user(&mut self, content: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<(), Error> {
        let list = several(content, "parts", MAX_PARTS)?;
        let here = content.at;
        let at = here.field("parts");
        if list.is_empty() {
            return Err(at.required("at least one part"));
        }
        let mut said = Vec::new();
        for (index, value) in list.into_iter().enumerate() {
            let mut part = message(value, at.index(index))?;
            // Of no meaning on what is not the model's.
            part.map.remove("thoughtSignature");
            if part.boolean("thought")? == Some(true) {
                return Err(part.at.field("thought").wrong("can stand in a turn of the `model` only"));
            }
            match kind(&part, false)? {
                "functionCall" => {
                    let rule = "can stand in a turn of the `model` only";
                    return Err(part.at.field("functionCall").wrong(rule));
                }
                // What was called for comes before anything else is said.
                "functionResponse" => {
                    let result = self.result(&mut part, extra)?;
                    self.messages.push(Message { role: Role::Tool, parts: vec![Part::ToolResult(result)] });
                }
                "text" => said.push(Part::Text(part.text("text")?.unwrap_or_default())),
                kind => said.push(media(&mut part, kind, extra)?),
            }
            leave(part, extra);
        }
        if !said.is_empty() {
            self.messages.push(Message { role: Role::User, parts: said });
        }
        Ok(())
    }

    fn result(
        &mut self,
        part: &mut Object<'_>,
        extra: &mut Vec<(String, Value)>,
    ) -> Result<ToolResult, Error> {
        let here = part.at;
        let Some(mut response) = nested(part, "functionResponse")? else {
            return Err(here.field("functionResponse").required("an object with a `name`"));
        };
        let name = response.required_text("name", "the function's name")?;
        let given = response.text("id")?.filter(|id| !id.is_empty());
        let by_id =
            given.as_ref().and_then(|id| self.open.iter().position(|open| open.given.as_ref() == Some(id)));
        // An id that is on one side only says nothing.
        let by_name = || {
            let fits = |open: &Open| open.name == name && (given.is_none() || open.given.is_none());
            self.open.iter().position(fits)
        };
        let Some(index) = by_id.or_else(by_name) else {
            let field = if given.is_some() { "id" } else { "name" };
            let rule = "must be that of a call in the last turn of the `model` that has no result yet";
            return Err(response.at.field(field).wrong(rule));
        };
        let call_id = self.open.remove(index).id;
        let mut parts = Vec::new();
        let mut is_error = false;
        match response.take("response") {
            None => {}
            Some(Value::Object(map)) => {
                is_error = map.len() == 1 && map.contains_key("error");
                parts.push(Part::Text(output(map)));
            }
            Some(other) => return Err(response.at.field("response").wrong_type("an object", &other)),
        }
        let list = several(&mut response, "parts", MAX_PARTS)?;
        let here = response.at;
        let at = here.field("parts");
        for (index, value) in list.into_iter().enumerate() {
            let mut part = message(value, at.index(index))?;
            let kind = kind(&part, false)?;
            if !matches!(kind, "inlineData" | "fileData") {
                return Err(part.at.field(kind).wrong("cannot be part of a result"));
            }
            parts.push(media(&mut part, kind, extra)?);
            leave(part, extra);
        }
        leave(response, extra);
        Ok(ToolResult { call_id, parts, is_error })
    }
}

/// What a function gave back. One text under the usual name is that text; all else stays JSON.
fn output(map: Map<String, Value>) -> String {
    let mut fields = map.iter();
    match (fields.next(), fields.next()) {
        (Some((name, Value::String(text))), None) if OUTPUT.contains(&name.as_str()) => text.clone(),
        _ => Value::Object(map).to_string(),
    }
}

/// A signature of ours or another's; see [`super::write::foreign`].
fn seal(signature: &str) -> Reasoning {
    let plain: String = signature.trim_end_matches('=').replace('-', "+").replace('_', "/");
    let plain = BASE64.decode(plain).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(signature) = plain.as_deref().and_then(|plain| plain.strip_prefix(SIGNED_MARK)) {
        return Reasoning { signature: Some(signature.to_owned()), ..Reasoning::default() };
    }
    if let Some(data) = plain.as_deref().and_then(|plain| plain.strip_prefix(REDACTED_MARK)) {
        return Reasoning { redacted: Some(data.to_owned()), ..Reasoning::default() };
    }
    Reasoning { signature: Some(format!("{SIGNATURE_PREFIX}{signature}")), ..Reasoning::default() }
}

/// Which of the kinds of part it is.
fn kind(part: &Object<'_>, signed: bool) -> Result<&'static str, Error> {
    let is_there = |kind: &&&str| part.map.get(**kind).is_some_and(|value| !value.is_null());
    let mut kinds = KINDS.iter().filter(is_there);
    match (kinds.next(), kinds.next()) {
        (Some(kind), None) => Ok(kind),
        (Some(_), Some(second)) => {
            Err(part.at.field(second).wrong("cannot stand beside another kind of content in one part"))
        }
        // A signature may come alone.
        (None, _) if signed => Ok("text"),
        (None, _) => Err(part
            .at
            .required("one of `text`, `inlineData`, `fileData`, `functionCall`, `functionResponse`")),
    }
}

/// A picture or a document.
fn media(part: &mut Object<'_>, kind: &'static str, extra: &mut Vec<(String, Value)>) -> Result<Part, Error> {
    let here = part.at;
    let at = here.field(kind);
    if !matches!(kind, "inlineData" | "fileData") {
        let why = "is of a kind that only Gemini knows and cannot be translated for this model. Leave it out, or \
                   choose a Gemini model";
        return Err(at.cannot(why));
    }
    let Some(mut blob) = nested(part, kind)? else { return Err(at.required("an object")) };
    let media_type = match blob.text("mimeType")?.unwrap_or_default().to_ascii_lowercase().as_str() {
        // Often written, never registered, and refused.
        "image/jpg" => "image/jpeg".to_owned(),
        other => other.to_owned(),
    };
    let name = blob.text("displayName")?;
    if media_type.starts_with("audio/") || media_type.starts_with("video/") {
        let why = "is sound or film, which cannot be translated for this model. Send text or images, or choose a \
                   Gemini model";
        return Err(blob.at.field("mimeType").cannot(why));
    }
    let is_image = media_type.starts_with("image/");
    let media = if kind == "fileData" {
        let uri = blob.required_text("fileUri", "an `https://` address")?;
        address(uri, blob.at.field("fileUri"))?
    } else {
        if media_type.is_empty() {
            return Err(blob.at.field("mimeType").required("such as `image/png`"));
        }
        let data = blob.required_text("data", "the content in base64")?;
        let data = base64(&data).ok_or_else(|| blob.at.field("data").wrong("must be base64"))?;
        Media::Data { media_type, data }
    };
    leave(blob, extra);
    Ok(if is_image { Part::Image(media.into()) } else { Part::File(File { name, cited: false, media }) })
}

fn address(uri: String, at: At<'_>) -> Result<Media, Error> {
    let lower: String = uri.chars().take(64).collect::<String>().to_ascii_lowercase();
    if lower.starts_with("gs://") || lower.starts_with("https://generativelanguage.googleapis.com/") {
        let why = "names a file kept at Google, which no other provider can read. Send the content as \
                   `inlineData`, or choose a Gemini model";
        return Err(at.cannot(why));
    }
    if !lower.starts_with("https://") || uri.len() <= 8 {
        return Err(at.wrong("must be an `https://` address"));
    }
    Ok(Media::Url(uri))
}

/// Base64 in the standard alphabet, padded; `None` where it is none. Protobuf takes either alphabet.
fn base64(text: &str) -> Option<String> {
    let digits = text.trim_end_matches('=');
    let mut data = digits.replace('-', "+").replace('_', "/");
    let is_base64 = data.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
    if data.is_empty() || !is_base64 || text.len() - digits.len() > 2 || data.len() % 4 == 1 {
        return None;
    }
    while !data.len().is_multiple_of(4) {
        data.push('=');
    }
    Some(data)
}

fn tools(body: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<Vec<Tool>, Error> {
    let list = several(body, "tools", MAX_TOOLS)?;
    let here = body.at;
    let at = here.field("tools");
    let mut tools = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        let mut object = message(value, at.index(index))?;
        let list = several(&mut object, "functionDeclarations", MAX_TOOLS)?;
        let here = object.at;
        let at = here.field("functionDeclarations");
        for (index, value) in list.into_iter().enumerate() {
            let mut declaration = message(value, at.index(index))?;
            tools.push(tool(&mut declaration)?);
            leave(declaration, extra);
        }
        // A tool of Google's own; an empty object is its usual form.
        leave(object, extra);
    }
    Ok(tools)
}

fn tool(declaration: &mut Object<'_>) -> Result<Tool, Error> {
    let name = declaration.required_text("name", "the function's name")?;
    let own = declaration.schema("parameters")?.map(json_schema);
    let parameters = match (own, declaration.schema("parametersJsonSchema")?) {
        (Some(_), Some(_)) => {
            let at = declaration.at.field("parametersJsonSchema");
            return Err(at.wrong("cannot stand beside `parameters`"));
        }
        (own, schema) => own.or(schema),
    };
    Ok(Tool { name, description: declaration.text("description")?, parameters, strict: None, cache: None })
}

fn tool_config(
    body: &mut Object<'_>,
    request: &mut Request,
    extra: &mut Vec<(String, Value)>,
) -> Result<(), Error> {
    let Some(mut outer) = nested(body, "toolConfig")? else { return Ok(()) };
    if let Some(mut config) = nested(&mut outer, "functionCallingConfig")? {
        let allowed = allowed(&mut config, &request.tools)?;
        let here = config.at;
        let at = here.field("mode");
        let mode = config.text("mode")?.unwrap_or_default().to_ascii_uppercase();
        let choice = match (mode.as_str(), allowed.as_slice()) {
            ("" | "MODE_UNSPECIFIED", _) => None,
            ("AUTO", _) => Some(ToolChoice::Auto),
            ("NONE", _) => Some(ToolChoice::None),
            ("VALIDATED", _) => {
                // That calls follow their schema is promised by nobody else in these words.
                extra.push((at.to_string(), Value::from("VALIDATED")));
                Some(ToolChoice::Auto)
            }
            ("ANY", _) if request.tools.is_empty() => {
                return Err(at.wrong("needs `tools` with functions to choose from"));
            }
            ("ANY", [name]) => Some(ToolChoice::Function(name.clone())),
            ("ANY", _) => Some(ToolChoice::Required),
            _ => return Err(at.wrong("must be `AUTO`, `ANY`, `NONE` or `VALIDATED`")),
        };
        if allowed.len() > 1 || (!allowed.is_empty() && choice == Some(ToolChoice::Auto)) {
            request.tools.retain(|tool| allowed.contains(&tool.name));
        }
        request.tool_choice = choice;
        leave(config, extra);
    }
    leave(outer, extra);
    Ok(())
}

fn allowed(config: &mut Object<'_>, tools: &[Tool]) -> Result<Vec<String>, Error> {
    let list = config.list("allowedFunctionNames", MAX_TOOLS)?.unwrap_or_default();
    let here = config.at;
    let at = here.field("allowedFunctionNames");
    let mut allowed = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        match value {
            Value::String(name) if tools.iter().any(|tool| tool.name == name) => allowed.push(name),
            Value::String(_) => return Err(at.index(index).wrong("must be the name of one of the `tools`")),
            other => return Err(at.index(index).wrong_type("a string", &other)),
        }
    }
    Ok(allowed)
}

fn generation_config(
    body: &mut Object<'_>,
    request: &mut Request,
    extra: &mut Vec<(String, Value)>,
) -> Result<(), Error> {
    let Some(mut config) = nested(body, "generationConfig")? else { return Ok(()) };
    request.temperature = config.number("temperature", 0.0, 2.0)?;
    request.top_p = config.number("topP", 0.0, 1.0)?;
    request.top_k = count(&mut config, "topK")?;
    request.max_output_tokens = count(&mut config, "maxOutputTokens")?;
    request.presence_penalty = config.number("presencePenalty", -2.0, 2.0)?;
    request.frequency_penalty = config.number("frequencyPenalty", -2.0, 2.0)?;
    request.seed = whole(&mut config, "seed")?;
    request.stop = stop(&mut config)?;
    request.response_format = response_format(&mut config, extra)?;
    thinking(&mut config, request, extra)?;
    if let Some(candidates) = count(&mut config, "candidateCount")?.filter(|count| *count > 1) {
        extra.push(("generationConfig.candidateCount".to_owned(), Value::from(candidates)));
    }
    let others = count(&mut config, "logprobs")?;
    if config.boolean("responseLogprobs")? == Some(true) {
        request.logprobs = Some(others.unwrap_or(0));
    } else if others.is_some() {
        return Err(config.at.field("logprobs").wrong("needs `responseLogprobs` to be true"));
    }
    let modalities = config.list("responseModalities", MAX_STOPS)?.unwrap_or_default();
    let is_text = |word: &Value| word.as_str().is_some_and(|word| word.eq_ignore_ascii_case("text"));
    if !modalities.iter().all(is_text) {
        extra.push(("generationConfig.responseModalities".to_owned(), Value::Array(modalities)));
    }
    leave(config, extra);
    Ok(())
}

fn stop(config: &mut Object<'_>) -> Result<Vec<String>, Error> {
    let list = match config.take("stopSequences") {
        Some(Value::Array(list)) => config.at.field("stopSequences").bounded(list, MAX_STOPS)?,
        None => return Ok(Vec::new()),
        Some(other) => return Err(config.at.field("stopSequences").wrong_type("a list of strings", &other)),
    };
    let here = config.at;
    let at = here.field("stopSequences");
    let text = |(index, value)| match value {
        Value::String(text) if text.is_empty() => Err(at.index(index).wrong("must not be empty")),
        Value::String(text) => Ok(text),
        other => Err(at.index(index).wrong_type("a string", &other)),
    };
    list.into_iter().enumerate().map(text).collect()
}

fn response_format(
    config: &mut Object<'_>,
    extra: &mut Vec<(String, Value)>,
) -> Result<ResponseFormat, Error> {
    let kind = config.text("responseMimeType")?;
    let mut schema = config.schema("responseSchema")?.map(json_schema);
    for name in ["responseJsonSchema", "_responseJsonSchema"] {
        if let Some(given) = config.schema(name)? {
            if schema.is_some() {
                return Err(config.at.field(name).wrong("cannot stand beside another schema"));
            }
            schema = Some(given);
        }
    }
    match (kind.as_deref(), schema) {
        (Some("application/json") | None, Some(schema)) => Ok(ResponseFormat::JsonSchema {
            name: "response".to_owned(),
            description: None,
            schema,
            strict: None,
        }),
        (Some("application/json"), None) => Ok(ResponseFormat::JsonObject),
        (Some("text/plain" | "") | None, None) => Ok(ResponseFormat::Text),
        (Some(word @ "text/x.enum"), _) => {
            extra.push(("generationConfig.responseMimeType".to_owned(), Value::from(word)));
            Ok(ResponseFormat::Text)
        }
        (Some(_), Some(_)) => {
            Err(config.at.field("responseMimeType").wrong("must be `application/json` beside a schema"))
        }
        (Some(_), None) => Err(config
            .at
            .field("responseMimeType")
            .wrong("must be `text/plain`, `application/json` or `text/x.enum`")),
    }
}

fn thinking(
    config: &mut Object<'_>,
    request: &mut Request,
    extra: &mut Vec<(String, Value)>,
) -> Result<(), Error> {
    let Some(mut thinking) = nested(config, "thinkingConfig")? else { return Ok(()) };
    let here = thinking.at;
    request.reasoning_budget = match whole(&mut thinking, "thinkingBudget")? {
        // The model decides, as it does unasked.
        None | Some(-1) => None,
        Some(budget) => Some(u64::try_from(budget).map_err(|_| {
            here.field("thinkingBudget")
                .wrong("must be a number of tokens, 0 for none, or -1 to let the model decide")
        })?),
    };
    let level = thinking.text("thinkingLevel")?.unwrap_or_default().to_ascii_uppercase();
    request.reasoning_effort = match level.as_str() {
        "" | "THINKING_LEVEL_UNSPECIFIED" => None,
        "MINIMAL" => Some(Effort::Minimal),
        "LOW" => Some(Effort::Low),
        "MEDIUM" => Some(Effort::Medium),
        "HIGH" => Some(Effort::High),
        _ => {
            let rule = "must be `MINIMAL`, `LOW`, `MEDIUM` or `HIGH`";
            return Err(here.field("thinkingLevel").wrong(rule));
        }
    };
    if request.reasoning_budget.is_some() && request.reasoning_effort.is_some() {
        return Err(here.field("thinkingLevel").wrong("cannot stand beside `thinkingBudget`"));
    }
    request.thoughts = thinking.boolean("includeThoughts")?;
    leave(thinking, extra);
    Ok(())
}

/// Usual names of what a function gave back; the first is that of a failure.
const OUTPUT: [&str; 3] = ["error", "output", "result"];

/// The fields of which a part has one, newer kinds included.
const KINDS: [&str; 9] = [
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
];

/// Fields that change what an answer is, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("cachedContent", "Send the content itself, or choose a Gemini model."),
    ("generationConfig.candidateCount", "Send the request several times."),
    ("generationConfig.imageConfig", "Ask for text, or choose a Gemini model."),
    ("generationConfig.responseFormat", "Use `responseMimeType` and `responseJsonSchema`."),
    (
        "generationConfig.responseMimeType",
        "Use `application/json` with the choices as an `enum` in a schema.",
    ),
    ("generationConfig.responseModalities", "Ask for text only."),
    ("generationConfig.speechConfig", "Ask for text, or choose a Gemini model."),
];

/// Far above what a model can read, far below what would hurt.
const MAX_CONTENTS: usize = 10_000;
const MAX_PARTS: usize = 4_000;
/// Google's limit.
const MAX_STOPS: usize = 5;
const MAX_TOOLS: usize = 1_000;

/// Padding may be left out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(fields: Value) -> Result<Request, Error> {
        let mut body = json!({ "contents": [{ "parts": [{ "text": "Hi" }] }] });
        let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) else { panic!("objects") };
        body.extend(fields);
        parse(json!(body).to_string().as_bytes())
    }

    fn with_contents(contents: Value) -> Result<Vec<Message>, Error> {
        with(json!({ "contents": contents })).map(|request| request.messages)
    }

    fn said(role: Role, parts: Vec<Part>) -> Message {
        Message { role, parts }
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn thought(text: &str, signature: Option<&str>) -> Part {
        let signature = signature.map(str::to_owned);
        Part::Reasoning(Reasoning { text: text.to_owned(), signature, redacted: None })
    }

    fn call(id: &str, name: &str, arguments: &str, signature: Option<&str>) -> Part {
        Part::ToolCall(ToolCall {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            signature: signature.map(str::to_owned),
        })
    }

    fn result(call_id: &str, parts: Vec<Part>) -> Message {
        let result = ToolResult { call_id: call_id.to_owned(), parts, is_error: false };
        said(Role::Tool, vec![Part::ToolResult(result)])
    }

    fn rich() -> Value {
        json!({
            "systemInstruction": { "role": "system", "parts": [{ "text": "Be brief." }] },
            "contents": [
                { "role": "user", "parts": [
                    { "text": "Weather?" },
                    { "inlineData": { "mimeType": "image/png", "data": "_-8" } },
                    { "fileData": { "mimeType": "application/pdf", "fileUri": "https://e.com/a.pdf", "displayName": "a" } },
                ] },
                { "role": "model", "parts": [
                    { "text": "Hm.", "thought": true },
                    { "text": "Let me " },
                    { "text": "look.", "thoughtSignature": "c2ln" },
                    { "functionCall": { "name": "weather", "args": { "city": "Paris", "n": 1.5 } }, "thoughtSignature": "Y2FsbA==" },
                    { "functionCall": { "id": "b", "name": "weather", "args": { "city": "Rome" } } },
                ] },
                { "parts": [
                    { "text": "Well?" },
                    { "functionResponse": { "id": "b", "name": "weather", "response": { "output": "rain" } } },
                    { "functionResponse": { "name": "weather", "response": { "sky": "clear", "t": 20 } } },
                ] },
            ],
            "tools": [{ "functionDeclarations": [
                { "name": "weather", "description": "Looks.", "parameters": { "type": "OBJECT", "properties": { "city": { "type": "STRING" } } } },
                { "name": "now", "parametersJsonSchema": { "type": "object" } },
            ] }],
            "toolConfig": { "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["weather"] } },
            "generationConfig": {
                "temperature": 0.5, "topP": 0.9, "topK": 40, "maxOutputTokens": 100, "stopSequences": ["END"], "seed": 7,
                "presencePenalty": 0.1, "frequencyPenalty": 0.2, "candidateCount": 1, "responseMimeType": "application/json",
                "responseSchema": { "type": "OBJECT", "properties": { "a": { "type": "INTEGER" } } },
                "thinkingConfig": { "thinkingBudget": 512 }, "responseModalities": ["TEXT"], "responseLogprobs": false,
            },
        })
    }

    #[test]
    fn a_rich_request_keeps_all_it_says() {
        let request = parse(rich().to_string().as_bytes()).expect("valid");
        let png = Media::Data { media_type: "image/png".to_owned(), data: "/+8=".to_owned() };
        let pdf = File {
            cited: false,
            name: Some("a".to_owned()),
            media: Media::Url("https://e.com/a.pdf".to_owned()),
        };
        let tool = |name: &str, description: Option<&str>, parameters| Tool {
            cache: None,
            name: name.to_owned(),
            description: description.map(str::to_owned),
            parameters: Some(parameters),
            strict: None,
        };
        let expected = Request {
            messages: vec![
                said(Role::System, vec![text("Be brief.")]),
                said(Role::User, vec![text("Weather?"), Part::Image(png.into()), Part::File(pdf)]),
                said(
                    Role::Assistant,
                    vec![
                        thought("Hm.", Some("google:c2ln")),
                        text("Let me look."),
                        call("call_0", "weather", r#"{"city":"Paris","n":1.5}"#, Some("Y2FsbA==")),
                        call("b", "weather", r#"{"city":"Rome"}"#, None),
                    ],
                ),
                result("b", vec![text("rain")]),
                result("call_0", vec![text(r#"{"sky":"clear","t":20}"#)]),
                said(Role::User, vec![text("Well?")]),
            ],
            tools: vec![
                tool(
                    "weather",
                    Some("Looks."),
                    json!({ "type": "object", "properties": { "city": { "type": "string" } } }),
                ),
                tool("now", None, json!({ "type": "object" })),
            ],
            tool_choice: Some(ToolChoice::Function("weather".to_owned())),
            response_format: ResponseFormat::JsonSchema {
                name: "response".to_owned(),
                description: None,
                schema: json!({ "type": "object", "properties": { "a": { "type": "integer" } } }),
                strict: None,
            },
            max_output_tokens: Some(100),
            temperature: Some(0.5),
            top_p: Some(0.9),
            top_k: Some(40),
            frequency_penalty: Some(0.2),
            presence_penalty: Some(0.1),
            seed: Some(7),
            stop: vec!["END".to_owned()],
            reasoning_budget: Some(512),
            ..Request::default()
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn protobufs_other_spellings_mean_the_same() {
        let camel = json!({
            "systemInstruction": { "parts": [{ "text": "S" }] },
            "contents": [
                { "role": "user", "parts": [{ "inlineData": { "mimeType": "image/png", "data": "AAAA" } }] },
                { "role": "model", "parts": [{ "functionCall": { "name": "f", "args": { "a_b": 1 } }, "thoughtSignature": "cw" }] },
                { "role": "user", "parts": [{ "functionResponse": { "name": "f", "response": { "x_y": 2 } } }] },
            ],
            "tools": [{ "functionDeclarations": [{ "name": "f" }] }],
            "toolConfig": { "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["f"] } },
            "generationConfig": { "topP": 0.5, "topK": 40, "maxOutputTokens": 9, "thinkingConfig": { "thinkingLevel": "LOW" } },
        });
        let snake = json!({
            "system_instruction": { "parts": { "text": "S" } },
            "contents": [
                { "role": "user", "parts": { "inline_data": { "mime_type": "image/png", "data": "AAAA" } } },
                { "role": "model", "parts": [{ "function_call": { "name": "f", "args": { "a_b": 1 } }, "thought_signature": "cw" }] },
                { "role": "function", "parts": [{ "function_response": { "name": "f", "response": { "x_y": 2 } } }] },
            ],
            "tools": { "function_declarations": { "name": "f" } },
            "tool_config": { "function_calling_config": { "mode": "any", "allowed_function_names": ["f"] } },
            "generation_config": { "top_p": 0.5, "top_k": 40.0, "max_output_tokens": "9", "thinking_config": { "thinking_level": "low" } },
        });
        let read = |body: &Value| parse(body.to_string().as_bytes()).expect("valid");
        assert_eq!(read(&camel), read(&snake));
        assert_eq!(read(&camel).messages.len(), 4);
    }

    #[test]
    fn results_find_their_calls() {
        let contents = |calls: Value, results: Value| {
            let part = |kind: &str, values: &Value| -> Vec<Value> {
                values.as_array().into_iter().flatten().map(|value| json!({ kind: value })).collect()
            };
            json!([
                { "role": "model", "parts": part("functionCall", &calls) },
                { "role": "user", "parts": part("functionResponse", &results) },
            ])
        };
        let f = json!({ "name": "f" });
        let g = json!({ "name": "g" });
        let f1 = json!({ "name": "f", "id": "1" });
        let f2 = json!({ "name": "f", "id": "2" });
        let cases = [
            (json!([f, g]), json!([g, f]), vec!["call_1", "call_0"]),
            (json!([f, f]), json!([f, f]), vec!["call_0", "call_1"]),
            (json!([f1, f2]), json!([f2, f1]), vec!["2", "1"]),
            (json!([f1, f2]), json!([f, f]), vec!["1", "2"]),
            (json!([f, f]), json!([f1, f2]), vec!["call_0", "call_1"]),
            // The same id twice is made two.
            (json!([f1, f1]), json!([f1, f1]), vec!["1", "call_1_1"]),
        ];
        for (calls, results, expected) in cases {
            let messages = with_contents(contents(calls, results)).expect("valid");
            let ids: Vec<_> = messages
                .iter()
                .filter_map(|message| match message.parts.as_slice() {
                    [Part::ToolResult(result)] => Some(result.call_id.as_str()),
                    _ => None,
                })
                .collect();
            assert_eq!(ids, expected);
        }
        for (calls, results) in
            [(json!([f]), json!([g])), (json!([f1]), json!([f2])), (json!([f]), json!([f, f]))]
        {
            assert!(with_contents(contents(calls, results)).is_err());
        }
    }

    #[test]
    fn thoughts_of_others_come_back_as_they_were() {
        use super::super::write::foreign;
        let url_safe = foreign(SIGNED_MARK, "s~~?>").replace('+', "-").replace('/', "_");
        let model = |parts: Value| {
            let messages = with_contents(json!([{ "role": "model", "parts": parts }])).expect("valid");
            messages.into_iter().next().expect("one").parts
        };
        assert_eq!(
            model(json!([{ "text": "H", "thought": true }, { "text": "m.", "thought": true },
                { "text": "", "thought": true, "thoughtSignature": url_safe.trim_end_matches('=') }])),
            [thought("Hm.", Some("s~~?>"))]
        );
        assert_eq!(
            model(json!([{ "thought": true, "thoughtSignature": foreign(REDACTED_MARK, "xyz") }])),
            [Part::Reasoning(Reasoning { redacted: Some("xyz".to_owned()), ..Reasoning::default() })]
        );
        assert_eq!(model(json!([{ "thoughtSignature": "c2ln" }])), [thought("", Some("google:c2ln"))]);
        assert_eq!(
            model(json!([{ "functionCall": { "name": "f" }, "thoughtSignature": SKIP_VALIDATION }])),
            [call("call_0", "f", "{}", None)]
        );
    }

    #[test]
    fn tool_modes() {
        let tools = json!([{ "functionDeclarations": [{ "name": "f" }, { "name": "g" }, { "name": "h" }] }]);
        let cases = [
            (json!({ "mode": "AUTO" }), Some(ToolChoice::Auto), 3),
            (json!({ "mode": "NONE" }), Some(ToolChoice::None), 3),
            (json!({ "mode": "ANY" }), Some(ToolChoice::Required), 3),
            (
                json!({ "mode": "ANY", "allowedFunctionNames": ["g"] }),
                Some(ToolChoice::Function("g".to_owned())),
                3,
            ),
            (json!({ "mode": "ANY", "allowedFunctionNames": ["g", "f"] }), Some(ToolChoice::Required), 2),
            (json!({ "mode": "VALIDATED", "allowedFunctionNames": ["g"] }), Some(ToolChoice::Auto), 1),
            (json!({}), None, 3),
        ];
        for (config, choice, left) in cases {
            let body = json!({ "tools": tools, "toolConfig": { "functionCallingConfig": config } });
            let request = with(body).expect("valid");
            assert_eq!((request.tool_choice, request.tools.len()), (choice, left), "{config}");
        }
    }

    #[test]
    fn what_has_no_place_is_kept_and_judged() {
        let cases = [
            (json!({ "safetySettings": [] }), "safetySettings", false),
            (json!({ "labels": { "a": 1 } }), "labels", false),
            (json!({ "serviceTier": "deferred" }), "serviceTier", false),
            (json!({ "cached_content": "cachedContents/1" }), "cachedContent", true),
            (json!({ "tools": [{ "googleSearch": {} }] }), "tools[0].googleSearch", true),
            (json!({ "tools": [{ "code_execution": {} }] }), "tools[0].codeExecution", true),
            (
                json!({ "tools": [{ "functionDeclarations": [{ "name": "f", "behavior": "BLOCKING" }] }] }),
                "tools[0].functionDeclarations[0].behavior",
                false,
            ),
            (json!({ "generationConfig": { "candidateCount": 2 } }), "generationConfig.candidateCount", true),
            (
                json!({ "generationConfig": { "responseModalities": ["TEXT", "IMAGE"] } }),
                "generationConfig.responseModalities",
                true,
            ),
            (
                json!({ "generationConfig": { "responseMimeType": "text/x.enum" } }),
                "generationConfig.responseMimeType",
                true,
            ),
            (
                json!({ "generationConfig": { "mediaResolution": "LOW" } }),
                "generationConfig.mediaResolution",
                false,
            ),
            (
                json!({ "contents": [{ "parts": [{ "text": "x", "mediaResolution": {} }] }] }),
                "contents[0].parts[0].mediaResolution",
                false,
            ),
        ];
        for (fields, name, refused) in cases {
            let extra = with(fields).expect("valid").extra;
            let judged: Vec<_> =
                extra.iter().map(|extra| (extra.name.as_str(), extra.instead.is_some())).collect();
            assert_eq!(judged, [(name, refused)]);
        }
    }

    #[test]
    fn wrong_requests_are_named_by_their_field() {
        let user = |part: Value| json!({ "contents": [{ "role": "user", "parts": [part] }] });
        let config = |config: Value| json!({ "generationConfig": config });
        let cases = [
            (json!({ "contents": [] }), "contents"),
            (json!({ "contents": "Hi" }), "contents"),
            (json!({ "contents": ["Hi"] }), "contents[0]"),
            (json!({ "contents": [{ "role": "model" }] }), "contents"),
            (json!({ "contents": [{ "role": "system", "parts": [{ "text": "x" }] }] }), "contents[0].role"),
            (json!({ "contents": [{ "parts": [] }] }), "contents[0].parts"),
            (user(json!({})), "contents[0].parts[0]"),
            (user(json!({ "text": 1 })), "contents[0].parts[0].text"),
            (user(json!({ "text": "x", "inlineData": {} })), "contents[0].parts[0].inlineData"),
            (user(json!({ "inlineData": { "data": "AAAA" } })), "contents[0].parts[0].inlineData.mimeType"),
            (
                user(json!({ "inlineData": { "mimeType": "image/png", "data": "A" } })),
                "contents[0].parts[0].inlineData.data",
            ),
            (
                user(json!({ "inlineData": { "mimeType": "audio/wav", "data": "AAAA" } })),
                "contents[0].parts[0].inlineData.mimeType",
            ),
            (user(json!({ "fileData": { "fileUri": "gs://b/o" } })), "contents[0].parts[0].fileData.fileUri"),
            (
                user(json!({ "fileData": { "fileUri": "file:///etc/passwd" } })),
                "contents[0].parts[0].fileData.fileUri",
            ),
            (user(json!({ "executableCode": {} })), "contents[0].parts[0].executableCode"),
            (user(json!({ "functionCall": { "name": "f" } })), "contents[0].parts[0].functionCall"),
            (
                user(json!({ "functionResponse": { "name": "f" } })),
                "contents[0].parts[0].functionResponse.name",
            ),
            (
                json!({ "contents": [{ "role": "model", "parts": [{ "functionCall": { "name": "f", "args": "{}" } }] }] }),
                "contents[0].parts[0].functionCall.args",
            ),
            (
                json!({ "systemInstruction": { "parts": [{ "inlineData": {} }] } }),
                "systemInstruction.parts[0].text",
            ),
            (json!({ "tools": [{ "functionDeclarations": [{}] }] }), "tools[0].functionDeclarations[0].name"),
            (
                json!({ "tools": [{ "functionDeclarations": [{ "name": "f", "parameters": {}, "parametersJsonSchema": {} }] }] }),
                "tools[0].functionDeclarations[0].parametersJsonSchema",
            ),
            (
                json!({ "toolConfig": { "functionCallingConfig": { "mode": "ANY" } } }),
                "toolConfig.functionCallingConfig.mode",
            ),
            (
                json!({ "toolConfig": { "functionCallingConfig": { "allowedFunctionNames": ["f"] } } }),
                "toolConfig.functionCallingConfig.allowedFunctionNames[0]",
            ),
            (config(json!([])), "generationConfig"),
            (config(json!({ "temperature": 3 })), "generationConfig.temperature"),
            (config(json!({ "topP": 1, "top_p": 1 })), "generationConfig.topP"),
            (config(json!({ "maxOutputTokens": 1.5 })), "generationConfig.maxOutputTokens"),
            (config(json!({ "stopSequences": ["a", ""] })), "generationConfig.stopSequences[1]"),
            (config(json!({ "responseMimeType": "text/html" })), "generationConfig.responseMimeType"),
            (
                config(json!({ "responseMimeType": "text/plain", "responseSchema": {} })),
                "generationConfig.responseMimeType",
            ),
            (
                config(json!({ "responseSchema": {}, "responseJsonSchema": {} })),
                "generationConfig.responseJsonSchema",
            ),
            (
                config(json!({ "thinkingConfig": { "thinkingBudget": -2 } })),
                "generationConfig.thinkingConfig.thinkingBudget",
            ),
            (
                config(json!({ "thinkingConfig": { "thinkingLevel": "max" } })),
                "generationConfig.thinkingConfig.thinkingLevel",
            ),
        ];
        for (fields, expected) in cases {
            let param = match with(fields.clone()) {
                Err(Error::Invalid { param: Some(param), .. } | Error::Unsupported { param, .. }) => param,
                other => panic!("{fields}: {other:?}"),
            };
            assert_eq!(param, expected, "{fields}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let body = rich().to_string().into_bytes();
        for at in 0..body.len() {
            for byte in [b'"', b'{', b'[', b'0', b'_', 0xFF] {
                let mut broken = body.clone();
                broken[at] = byte;
                let _ = parse(&broken);
            }
            assert!(parse(&body[..at]).is_err());
        }
        let deep = format!(r#"{{"contents":{}"#, "[".repeat(100_000));
        assert!(parse(deep.as_bytes()).is_err());
    }
}
