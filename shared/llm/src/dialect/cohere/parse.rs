//! A caller's body, read into the unified request. Strict; see [`crate::fields`].

use serde_json::Value;

use crate::{
    Error,
    chat::{
        Effort, Extra, Image, Media, Message, Part, Reasoning, Request, ResponseFormat, Role, Tool, ToolCall,
        ToolChoice, ToolResult,
    },
    dialect::{detail, turns::Calls},
    fields::{self, At, Object, leave},
};

type Rest = Vec<(String, Value)>;

/// Reads a caller's body.
pub(super) fn parse(body: &[u8]) -> Result<Request, Error> {
    let mut body = fields::body(body)?;
    let mut extra = Rest::new();
    let model = body.required_text("model", "`provider/model` or an alias")?;
    let messages = messages(&mut body, &mut extra)?;
    let tools = tools(&mut body, &mut extra)?;
    let (reasoning_effort, reasoning_budget) = thinking(&mut body, &mut extra)?;
    let request = Request {
        model,
        messages,
        tool_choice: tool_choice(&mut body, &tools)?,
        tools,
        response_format: response_format(&mut body, &mut extra)?,
        max_output_tokens: body.count("max_tokens")?,
        temperature: body.number("temperature", 0.0, 2.0)?,
        top_p: body.number("p", 0.0, 1.0)?.filter(|p| *p > 0.0),
        top_k: top_k(&mut body)?,
        frequency_penalty: body.number("frequency_penalty", 0.0, 1.0)?,
        presence_penalty: body.number("presence_penalty", 0.0, 1.0)?,
        seed: body.integer("seed")?,
        stop: stop(&mut body)?,
        reasoning_effort,
        reasoning_budget,
        stream: body.boolean("stream")?.unwrap_or(false),
        include_usage: true,
        ..Request::default()
    };
    let rest = body.map.into_iter().filter(|(name, value)| !says_nothing(name, value));
    let extra = rest.chain(extra).map(|(name, value)| {
        let is_harmless = name == "safety_mode" && value != "STRICT";
        let refused = REFUSED.iter().find(|(refused, _)| *refused == name && !is_harmless);
        Extra { name, value, instead: refused.map(|(_, instead)| *instead) }
    });
    Ok(Request { extra: extra.collect(), ..request })
}

/// Whether the field says what is so without it.
fn says_nothing(name: &str, value: &Value) -> bool {
    match name {
        _ if value.is_null() => true,
        "documents" => value.as_array().is_some_and(Vec::is_empty),
        "logprobs" | "raw_prompting" | "return_prompt" => value == &Value::Bool(false),
        "safety_mode" => value == "CONTEXTUAL",
        _ => false,
    }
}

fn messages(body: &mut Object<'_>, extra: &mut Rest) -> Result<Vec<Message>, Error> {
    let here = body.at;
    let at = here.field("messages");
    let list = body.list("messages", MAX_MESSAGES)?;
    let list = list.ok_or_else(|| at.required("a list of messages, oldest first"))?;
    if list.is_empty() {
        return Err(at.wrong("must hold at least one message"));
    }
    let mut calls = Calls::default();
    let mut messages = Vec::with_capacity(list.len());
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

fn message(object: &mut Object<'_>, extra: &mut Rest) -> Result<Message, Error> {
    let role = match object.required_text("role", ROLES)?.as_str() {
        "assistant" => return assistant(object, extra),
        "system" => Role::System,
        "tool" => Role::Tool,
        "user" => Role::User,
        _ => return Err(object.at.field("role").wrong(&format!("must be {ROLES}"))),
    };
    let call_id = match role {
        Role::Tool => Some(object.required_text("tool_call_id", "the `id` of the tool call this answers")?),
        _ => None,
    };
    let parts = content(object, role, extra)?;
    let mut parts =
        parts.ok_or_else(|| object.at.field("content").required("a string or a list of parts"))?;
    if let Some(call_id) = call_id {
        parts = vec![Part::ToolResult(ToolResult { call_id, parts, is_error: false })];
    }
    Ok(Message { role, parts })
}

fn assistant(object: &mut Object<'_>, extra: &mut Rest) -> Result<Message, Error> {
    let mut parts = Vec::new();
    if let Some(text) = object.text("tool_plan")?.filter(|text| !text.is_empty()) {
        parts.push(Part::Reasoning(Reasoning { text, ..Reasoning::default() }));
    }
    parts.extend(content(object, Role::Assistant, extra)?.unwrap_or_default());
    let here = object.at;
    let at = here.field("tool_calls");
    let mut called = false;
    for (index, value) in object.list("tool_calls", MAX_PARTS)?.unwrap_or_default().into_iter().enumerate() {
        parts.push(Part::ToolCall(tool_call(value, at.index(index), extra)?));
        called = true;
    }
    if !called && !parts.iter().any(|part| matches!(part, Part::Text(_))) {
        return Err(object.at.field("content").required("text, unless there are `tool_calls`"));
    }
    if object.map.get("citations").is_some_and(|list| list == &Value::Array(Vec::new())) {
        object.map.remove("citations");
    }
    Ok(Message { role: Role::Assistant, parts })
}

/// The parts of `content`; `None` where it is null or absent.
fn content(object: &mut Object<'_>, role: Role, extra: &mut Rest) -> Result<Option<Vec<Part>>, Error> {
    let here = object.at;
    let at = here.field("content");
    let list = match object.take("content") {
        None => return Ok(None),
        Some(Value::String(text)) => return Ok(Some(vec![Part::Text(text)])),
        Some(Value::Array(list)) => at.bounded(list, MAX_PARTS)?,
        Some(other) => return Err(at.wrong_type("a string or a list of parts", &other)),
    };
    // An answer that only calls tools has an empty list.
    if list.is_empty() && role != Role::Assistant {
        return Err(at.wrong("must hold at least one part"));
    }
    let mut parts = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let mut object = Object::from(value, at.index(index))?;
        parts.extend(part(&mut object, role, extra)?);
        leave(object, extra);
    }
    Ok(Some(parts))
}

fn part(object: &mut Object<'_>, role: Role, extra: &mut Rest) -> Result<Option<Part>, Error> {
    let kinds = match role {
        Role::Assistant => "`text` or `thinking`",
        Role::Tool => "`text` or `document`",
        Role::User => "`text` or `image_url`",
        Role::Developer | Role::System => "`text`",
    };
    match (object.required_text("type", kinds)?.as_str(), role) {
        ("text", _) => Ok(Some(Part::Text(object.required_string("text")?))),
        ("thinking", Role::Assistant) => {
            let thought = Reasoning {
                text: object.required_string("thinking")?,
                signature: object.text("signature")?,
                redacted: object.text("redacted")?,
            };
            Ok((thought != Reasoning::default()).then_some(Part::Reasoning(thought)))
        }
        ("document", Role::Tool) => document(object, extra).map(Some),
        ("image_url", Role::User) => image(object, extra).map(Some),
        _ => Err(object.at.field("type").wrong(&format!("must be {kinds}"))),
    }
}

/// A document in a tool's result: fields of text, which elsewhere are text.
fn document(object: &mut Object<'_>, extra: &mut Rest) -> Result<Part, Error> {
    let here = object.at;
    let Some(mut document) = object.object("document")? else {
        return Err(here.field("document").required("an object with `data`"));
    };
    let text = match document.take("data") {
        Some(Value::String(text)) => text,
        Some(data @ Value::Object(_)) => data.to_string(),
        Some(other) => return Err(document.at.field("data").wrong_type("an object", &other)),
        None => return Err(document.at.field("data").required("an object")),
    };
    leave(document, extra);
    Ok(Part::Text(text))
}

fn image(object: &mut Object<'_>, extra: &mut Rest) -> Result<Part, Error> {
    let here = object.at;
    let Some(mut image) = object.object("image_url")? else {
        return Err(here.field("image_url").required("an object with a `url`"));
    };
    let url = image.required_text("url", "an `https://` address or a `data:` URL")?;
    let media = media(url, image.at.field("url"))?;
    let detail = detail(&mut image);
    leave(image, extra);
    Ok(Part::Image(Image { detail, media }))
}

fn media(url: String, at: At<'_>) -> Result<Media, Error> {
    let rule = || at.wrong("must be an `https://` address or `data:image/…;base64,…`");
    if url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) && url.len() > 8 {
        return Ok(Media::Url(url));
    }
    let (head, data) = url.strip_prefix("data:").and_then(|rest| rest.split_once(',')).ok_or_else(rule)?;
    let media_type = head.strip_suffix(";base64").ok_or_else(rule)?.split(';').next().unwrap_or_default();
    let digits = data.trim_end_matches('=');
    let is_base64 = digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
    if digits.is_empty() || !is_base64 || data.len() - digits.len() > 2 {
        return Err(at.wrong("must hold the image in base64 after the comma"));
    }
    let media_type = match media_type.to_ascii_lowercase() {
        // Often written, never registered, and refused.
        jpg if jpg == "image/jpg" => "image/jpeg".to_owned(),
        image if image.starts_with("image/") => image,
        _ => return Err(rule()),
    };
    Ok(Media::Data { media_type, data: data.to_owned() })
}

fn tool_call(value: Value, at: At<'_>, extra: &mut Rest) -> Result<ToolCall, Error> {
    let mut object = Object::from(value, at)?;
    if object.text("type")?.is_some_and(|kind| kind != "function") {
        return Err(at.field("type").wrong("must be `function`"));
    }
    let id = object.required_text("id", "the id the model gave it")?;
    let Some(mut function) = object.object("function")? else {
        return Err(at.field("function").required("an object with `name` and `arguments`"));
    };
    let name = function.required_text("name", "the function's name")?;
    let arguments = function.text("arguments")?.unwrap_or_default();
    leave(function, extra);
    let signature = object.text("signature")?;
    leave(object, extra);
    Ok(ToolCall { id, name, arguments, signature })
}

fn tools(body: &mut Object<'_>, extra: &mut Rest) -> Result<Vec<Tool>, Error> {
    let strict = body.boolean("strict_tools")?;
    let here = body.at;
    let at = here.field("tools");
    let mut tools = Vec::new();
    for (index, value) in body.list("tools", MAX_TOOLS)?.unwrap_or_default().into_iter().enumerate() {
        let mut object = Object::from(value, at.index(index))?;
        if object.text("type")?.is_some_and(|kind| kind != "function") {
            return Err(object.at.field("type").wrong("must be `function`"));
        }
        let Some(mut function) = object.object("function")? else {
            return Err(object.at.field("function").required("an object with a `name`"));
        };
        tools.push(Tool {
            name: function.required_text("name", "the function's name")?,
            description: function.text("description")?,
            parameters: function.schema("parameters")?,
            strict,
            cache: None,
        });
        leave(function, extra);
        leave(object, extra);
    }
    Ok(tools)
}

fn tool_choice(body: &mut Object<'_>, tools: &[Tool]) -> Result<Option<ToolChoice>, Error> {
    let Some(word) = body.text("tool_choice")? else { return Ok(None) };
    match word.as_str() {
        "NONE" => Ok(Some(ToolChoice::None)),
        "REQUIRED" if tools.is_empty() => {
            Err(body.at.field("tool_choice").wrong("needs `tools` to choose from"))
        }
        "REQUIRED" => Ok(Some(ToolChoice::Required)),
        _ => Err(body.at.field("tool_choice").wrong("must be `REQUIRED` or `NONE`")),
    }
}

fn response_format(body: &mut Object<'_>, extra: &mut Rest) -> Result<ResponseFormat, Error> {
    const KINDS: &str = "`text` or `json_object`";
    let Some(mut format) = body.object("response_format")? else { return Ok(ResponseFormat::Text) };
    let kind = format.required_text("type", KINDS)?;
    // The second is the name it had first.
    let schema = match format.schema("json_schema")? {
        Some(schema) => Some(schema),
        None => format.schema("schema")?,
    };
    let format_of = match (kind.as_str(), schema) {
        ("json_object", None) => ResponseFormat::JsonObject,
        ("json_object", Some(schema)) => {
            ResponseFormat::JsonSchema { name: "answer".to_owned(), description: None, schema, strict: None }
        }
        ("text", None) => ResponseFormat::Text,
        ("text", Some(_)) => {
            return Err(format.at.field("json_schema").wrong("goes with the type `json_object` only"));
        }
        _ => return Err(format.at.field("type").wrong(&format!("must be {KINDS}"))),
    };
    leave(format, extra);
    Ok(format_of)
}

/// Effort and budget. Thinking that is only switched on is as much as the model finds right.
fn thinking(body: &mut Object<'_>, extra: &mut Rest) -> Result<(Option<Effort>, Option<u64>), Error> {
    const KINDS: &str = "`enabled` or `disabled`";
    let Some(mut thinking) = body.object("thinking")? else { return Ok((None, None)) };
    let budget = thinking.count("token_budget")?;
    let found = match (thinking.required_text("type", KINDS)?.as_str(), budget) {
        ("disabled", _) => (None, Some(0)),
        ("enabled", None) => (Some(Effort::Medium), None),
        ("enabled", budget) => (None, budget),
        _ => return Err(thinking.at.field("type").wrong(&format!("must be {KINDS}"))),
    };
    leave(thinking, extra);
    Ok(found)
}

fn top_k(body: &mut Object<'_>) -> Result<Option<u64>, Error> {
    let Some(k) = body.integer("k")? else { return Ok(None) };
    match u64::try_from(k) {
        // Switched off.
        Ok(0) => Ok(None),
        Ok(k) if k <= 500 => Ok(Some(k)),
        _ => Err(body.at.field("k").wrong("must be between 0 and 500")),
    }
}

fn stop(body: &mut Object<'_>) -> Result<Vec<String>, Error> {
    let here = body.at;
    let at = here.field("stop_sequences");
    let list = body.list("stop_sequences", MAX_STOPS)?.unwrap_or_default();
    let text = |(index, value)| match value {
        Value::String(text) if text.is_empty() => Err(at.index(index).wrong("must not be empty")),
        Value::String(text) => Ok(text),
        other => Err(at.index(index).wrong_type("a string", &other)),
    };
    list.into_iter().enumerate().map(text).collect()
}

const ROLES: &str = "`system`, `user`, `assistant` or `tool`";

/// Fields that change what an answer is, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("documents", "Put the documents into a message, or choose a model of Cohere."),
    ("logprobs", "Leave it out, or choose a model of Cohere."),
    ("raw_prompting", "Leave it out, or choose a model of Cohere."),
    ("return_prompt", "Leave it out, or choose a model of Cohere."),
    ("safety_mode", "Say in a system message what the answer must avoid, or choose a model of Cohere."),
];

const MAX_MESSAGES: usize = 10_000;
const MAX_PARTS: usize = 1_000;
const MAX_STOPS: usize = 5;
const MAX_TOOLS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn with(fields: &str) -> Result<Request, Error> {
        parse(
            format!(r#"{{"model":"a/b","messages":[{{"role":"user","content":"Hi"}}],{fields}}}"#).as_bytes(),
        )
    }

    fn with_messages(messages: &str) -> Result<Request, Error> {
        parse(format!(r#"{{"model":"a/b","messages":[{messages}]}}"#).as_bytes())
    }

    fn complaint(result: Result<Request, Error>) -> String {
        match result {
            Err(Error::Invalid { message, param }) => format!("{}: {message}", param.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rich_request_is_read_whole() {
        let body = r#"{"model":"a/b","stream":true,"messages":[
            {"role":"system","content":"Be kind."},
            {"role":"user","content":[{"type":"text","text":"What?"},{"type":"image_url","image_url":{"url":"data:image/JPG;base64,aaaa","detail":"low"}}]},
            {"role":"assistant","tool_plan":"Look.","content":[{"type":"thinking","thinking":"Hm","signature":"s"},{"type":"text","text":"So"}],
             "tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"},"signature":"t"}],"citations":[]},
            {"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"1"},{"type":"document","document":{"id":"d","data":{"x":2}}}]}],
            "tools":[{"type":"function","function":{"name":"f","description":"F","parameters":{"type":"object"}}}],
            "strict_tools":true,"tool_choice":"REQUIRED","response_format":{"type":"json_object","json_schema":{"type":"object"}},
            "temperature":0.3,"p":0.75,"k":10,"max_tokens":9,"stop_sequences":["a","b"],"seed":-1,"frequency_penalty":0.1,
            "presence_penalty":0.2,"thinking":{"type":"enabled","token_budget":50},"citation_options":{"mode":"FAST"},
            "documents":["d"],"safety_mode":"OFF","logprobs":false,"priority":null}"#;
        let text = |text: &str| Part::Text(text.to_owned());
        let thought = |text: &str, signature: Option<&str>| {
            let signature = signature.map(str::to_owned);
            Part::Reasoning(Reasoning { text: text.to_owned(), signature, redacted: None })
        };
        let image = Media::Data { media_type: "image/jpeg".to_owned(), data: "aaaa".to_owned() };
        let call = ToolCall {
            id: "c1".to_owned(),
            name: "f".to_owned(),
            arguments: "{}".to_owned(),
            signature: Some("t".to_owned()),
        };
        let result = ToolResult {
            is_error: false,
            call_id: "c1".to_owned(),
            parts: vec![text("1"), text(r#"{"x":2}"#)],
        };
        let schema = serde_json::json!({"type": "object"});
        let said = |role: Role, parts: Vec<Part>| Message { role, parts };
        let extra = |name: &str, value: Value, instead: Option<&'static str>| Extra {
            name: name.to_owned(),
            value,
            instead,
        };
        let mut found = parse(body.as_bytes()).expect("valid");
        found.extra.sort_by(|left, right| left.name.cmp(&right.name));
        let expected = Request {
            model: "a/b".to_owned(),
            messages: vec![
                said(Role::System, vec![text("Be kind.")]),
                said(
                    Role::User,
                    vec![
                        text("What?"),
                        Part::Image(Image { detail: Some(crate::chat::Detail::Low), media: image }),
                    ],
                ),
                said(
                    Role::Assistant,
                    vec![thought("Look.", None), thought("Hm", Some("s")), text("So"), Part::ToolCall(call)],
                ),
                said(Role::Tool, vec![Part::ToolResult(result)]),
            ],
            tools: vec![Tool {
                cache: None,
                name: "f".to_owned(),
                description: Some("F".to_owned()),
                parameters: Some(schema.clone()),
                strict: Some(true),
            }],
            tool_choice: Some(ToolChoice::Required),
            response_format: ResponseFormat::JsonSchema {
                name: "answer".to_owned(),
                description: None,
                schema,
                strict: None,
            },
            max_output_tokens: Some(9),
            temperature: Some(0.3),
            top_p: Some(0.75),
            frequency_penalty: Some(0.1),
            presence_penalty: Some(0.2),
            seed: Some(-1),
            stop: vec!["a".to_owned(), "b".to_owned()],
            reasoning_budget: Some(50),
            top_k: Some(10),
            stream: true,
            include_usage: true,
            extra: vec![
                extra("citation_options", serde_json::json!({"mode": "FAST"}), None),
                extra("documents", serde_json::json!(["d"]), Some(REFUSED[0].1)),
                extra("messages[3].content[1].document.id", "d".into(), None),
                extra("safety_mode", "OFF".into(), None),
            ],
            ..Request::default()
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn fields_that_switch_something_off() {
        let request =
            with(r#""k":0,"p":0,"thinking":{"type":"disabled"},"tool_choice":"NONE","documents":[]"#)
                .expect("valid");
        assert_eq!((request.top_k, request.top_p, request.reasoning_budget), (None, None, Some(0)));
        assert_eq!((request.tool_choice, request.extra), (Some(ToolChoice::None), vec![]));
        let request = with(r#""thinking":{"type":"enabled"},"safety_mode":"STRICT""#).expect("valid");
        assert_eq!((request.reasoning_effort, request.reasoning_budget), (Some(Effort::Medium), None));
        assert!(request.extra[0].instead.is_some());
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        #[rustfmt::skip]
        let fields = [
            (r#""k":501"#, "k: `k` must be between 0 and 500."),
            (r#""k":-1"#, "k: `k` must be between 0 and 500."),
            (r#""p":2"#, "p: `p` must be between 0 and 1."),
            (r#""frequency_penalty":-1"#, "frequency_penalty: `frequency_penalty` must be between 0 and 1."),
            (r#""stop_sequences":["a",""]"#, "stop_sequences[1]: `stop_sequences[1]` must not be empty."),
            (r#""stop_sequences":["a","b","c","d","e","f"]"#, "stop_sequences: `stop_sequences` must not hold more than 5 entries, not 6."),
            (r#""tool_choice":"REQUIRED""#, "tool_choice: `tool_choice` needs `tools` to choose from."),
            (r#""tool_choice":"auto""#, "tool_choice: `tool_choice` must be `REQUIRED` or `NONE`."),
            (r#""thinking":{"type":"on"}"#, "thinking.type: `thinking.type` must be `enabled` or `disabled`."),
            (r#""thinking":{"type":"enabled","token_budget":0}"#, "thinking.token_budget: `thinking.token_budget` must be at least 1."),
            (r#""response_format":{"type":"text","json_schema":{}}"#, "response_format.json_schema: `response_format.json_schema` goes with the type `json_object` only."),
            (r#""tools":[{"type":"function"}]"#, "tools[0].function: `tools[0].function` is required: an object with a `name`."),
        ];
        for (fields, expected) in fields {
            assert_eq!(complaint(with(fields)), expected, "{fields}");
        }
        #[rustfmt::skip]
        let messages = [
            (r#""Hi""#, "messages[0]: `messages[0]` must be an object, not a string."),
            (r#"{"role":"bot"}"#, "messages[0].role: `messages[0].role` must be `system`, `user`, `assistant` or `tool`."),
            (r#"{"role":"user"}"#, "messages[0].content: `messages[0].content` is required: a string or a list of parts."),
            (r#"{"role":"user","content":[{"type":"thinking"}]}"#, "messages[0].content[0].type: `messages[0].content[0].type` must be `text` or `image_url`."),
            (r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"ftp://x"}}]}"#, "messages[0].content[0].image_url.url: `messages[0].content[0].image_url.url` must be an `https://` address or `data:image/…;base64,…`."),
            (r#"{"role":"assistant","content":[]}"#, "messages[0].content: `messages[0].content` is required: text, unless there are `tool_calls`."),
            (r#"{"role":"tool","tool_call_id":"c","content":"1"}"#, "messages[0].tool_call_id: `messages[0].tool_call_id` must be the id of a tool call in an earlier assistant message."),
        ];
        for (messages, expected) in messages {
            assert_eq!(complaint(with_messages(messages)), expected, "{messages}");
        }
    }
}
