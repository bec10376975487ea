//! A caller's Messages body, read into the unified request.
//!
//! Strict, because a field misread in silence is a wrong answer paid for (see [`crate::fields`]). Fields
//! that no other protocol has are kept in [`Request::extra`], nested ones under their path.

mod block;
pub(in crate::dialect) mod option;

use serde_json::Value;

use self::block::{cache_control, content};
use crate::{
    Error,
    chat::{Extra, Message, Part, Request, Role},
    dialect::{service_tier, turns::Calls, with_call_signatures},
    fields::{self, Object, leave},
};

/// Reads a caller's body.
pub(super) fn parse(body: &[u8]) -> Result<Request, Error> {
    let mut body = fields::body(body)?;
    let mut extra = Vec::new();
    let model = body.required_text("model", "`provider/model` or an alias")?;
    let mut messages = system(&mut body, &mut extra)?;
    messages.extend(conversation(&mut body, &mut extra)?);
    // Marks the last thing there is.
    if let (Some(ttl), Some(last)) = (cache_control(&mut body, &mut extra)?, messages.last_mut())
        && !matches!(last.parts.last(), Some(Part::CachePoint(_)))
    {
        last.parts.push(Part::CachePoint(ttl));
    }
    let (tools, hosted) = option::tools(&mut body, &mut extra)?;
    let (tool_choice, parallel_tool_calls) = option::tool_choice(&mut body, &tools, &hosted, &mut extra)?;
    let (response_format, effort) = option::output(&mut body, &mut extra)?;
    let (reasoning_effort, reasoning_budget, thoughts) = option::thinking(&mut body, effort, &mut extra)?;
    let max_tokens = body.count("max_tokens")?;
    let request = Request {
        model,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls,
        response_format,
        max_output_tokens: Some(
            max_tokens.ok_or_else(|| body.at.field("max_tokens").required("a whole number of at least 1"))?,
        ),
        temperature: body.number("temperature", 0.0, 1.0)?,
        top_p: body.number("top_p", 0.0, 1.0)?,
        top_k: option::top_k(&mut body)?,
        stop: option::stop(&mut body)?,
        reasoning_effort,
        reasoning_budget,
        thoughts,
        stream: body.boolean("stream")?.unwrap_or(false),
        include_usage: true,
        user: option::user(&mut body, &mut extra)?,
        service_tier: service_tier(&mut body, "service_tier"),
        ..Request::default()
    };
    let says_nothing = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let rest = body.map.into_iter().filter(|(_, value)| !says_nothing(value));
    let extra = rest.chain(extra).map(|(name, value)| {
        let instead = REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, instead)| *instead);
        Extra { name, value, instead }
    });
    Ok(Request { extra: hosted.into_iter().chain(extra).collect(), ..request })
}

/// The system prompt, as the message it is elsewhere.
fn system(body: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<Vec<Message>, Error> {
    let parts = content(body, "system", Role::System, extra)?.unwrap_or_default();
    Ok(if parts.is_empty() { Vec::new() } else { vec![Message { role: Role::System, parts }] })
}

fn conversation(body: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<Vec<Message>, Error> {
    let here = body.at;
    let at = here.field("messages");
    let list = body
        .list("messages", MAX_MESSAGES)?
        .ok_or_else(|| at.required("a list of messages, oldest first"))?;
    if list.is_empty() {
        return Err(at.wrong("must hold at least one message"));
    }
    let mut calls = Calls::default();
    let mut messages = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let mut object = Object::from(value, at.index(index))?;
        let (role, parts) = message(&mut object, extra)?;
        if let Some(call_id) = calls.stray(&parts) {
            let rule = format!(
                "holds a `tool_result` for `{}`, which must be the `id` of a `tool_use` in an earlier message",
                super::call_id::outward(call_id)
            );
            return Err(object.at.field("content").wrong(&rule));
        }
        leave(object, extra);
        match role {
            Role::User => turn(parts, &mut messages),
            _ if parts.is_empty() => {}
            role => messages.push(Message { role, parts }),
        }
    }
    Ok(messages)
}

fn message(object: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<(Role, Vec<Part>), Error> {
    let here = object.at;
    let role = match object.required_text("role", "`user` or `assistant`")?.as_str() {
        "assistant" => Role::Assistant,
        // Newer models take instructions in between.
        "system" => Role::System,
        "user" => Role::User,
        _ => return Err(here.field("role").wrong("must be `user` or `assistant`")),
    };
    let at = here.field("content");
    let parts = content(object, "content", role, extra)?.ok_or_else(|| at.required(block::CONTENT))?;
    Ok(match role {
        Role::Assistant => (role, with_call_signatures(parts)),
        role => (role, parts),
    })
}

/// What a user's message says. Results of tools come first, each as a message of its own.
fn turn(parts: Vec<Part>, messages: &mut Vec<Message>) {
    let mut said = Vec::new();
    let mut after_result = false;
    for part in parts {
        match (part, messages.last_mut()) {
            (part @ Part::ToolResult(_), _) => {
                messages.push(Message { role: Role::Tool, parts: vec![part] });
                after_result = true;
            }
            (point @ Part::CachePoint(_), Some(result)) if after_result => result.parts.push(point),
            (part, _) => {
                said.push(part);
                after_result = false;
            }
        }
    }
    if !said.is_empty() {
        messages.push(Message { role: Role::User, parts: said });
    }
}

/// Far above what a model can read, far below what would hurt.
const MAX_MESSAGES: usize = 10_000;
const MAX_PARTS: usize = 10_000;

const MESSAGES_ONLY: &str = "Leave it out, or choose a model of a provider that speaks Messages.";

/// Fields that change what an answer is, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("container", MESSAGES_ONLY),
    ("inference_geo", MESSAGES_ONLY),
    (
        "mcp_servers",
        "Call the servers' tools yourself, or choose a model of a provider that speaks Messages.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::{
            CacheTtl, Effort, File, Media, Reasoning, ResponseFormat, Tool, ToolCall, ToolChoice, ToolResult,
        },
        dialect::drop_extra,
    };

    const USER: &str = r#"{"role":"user","content":"Hi"}"#;

    fn with(fields: &str) -> Result<Request, Error> {
        parse(format!(r#"{{"model":"a/b","max_tokens":9,"messages":[{USER}],{fields}}}"#).as_bytes())
    }

    fn with_messages(messages: &str) -> Result<Request, Error> {
        parse(format!(r#"{{"model":"a/b","max_tokens":9,"messages":[{messages}]}}"#).as_bytes())
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

    fn data(media_type: &str, data: &str) -> Media {
        Media::Data { media_type: media_type.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn a_rich_request_is_read() {
        let body = r#"{
            "model": "openai/gpt-5", "max_tokens": 4096, "stream": true, "service_tier": "auto",
            "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "Look."},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                    {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
                    {"type": "document", "title": "T", "context": "C", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
                    {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}, "cache_control": {"type": "ephemeral"}}
                ]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "Hm", "signature": "sig"},
                    {"type": "redacted_thinking", "data": "xyz"},
                    {"type": "thinking", "thinking": "Unsigned", "signature": ""},
                    {"type": "thinking", "thinking": "", "signature": ""},
                    {"type": "text", "text": "Calling."},
                    {"type": "thinking", "thinking": "", "signature": "google:call:abc"},
                    {"type": "tool_use", "id": "toolu_64_ZnVuY3Rpb25zLmY6MA", "name": "f", "input": {"b": 1, "a": [2]}},
                    {"type": "tool_use", "id": "t2", "name": "f", "input": {}}
                ]},
                {"role": "user", "content": [
                    {"type": "text", "text": "There."},
                    {"type": "tool_result", "tool_use_id": "toolu_64_ZnVuY3Rpb25zLmY6MA", "content": "7", "cache_control": {"type": "ephemeral"}},
                    {"type": "tool_result", "tool_use_id": "t2", "is_error": true, "content": [
                        {"type": "text", "text": "no"}, {"type": "image", "source": {"type": "url", "url": "https://x/z.png"}}]}
                ]}
            ],
            "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": true}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
            "thinking": {"type": "enabled", "budget_tokens": 2048},
            "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}},
            "stop_sequences": ["a", "b"], "temperature": 0.5, "top_p": 0.9, "top_k": 40,
            "metadata": {"user_id": "u1"}
        }"#;
        let reasoning = |text: &str, signature: Option<&str>, redacted: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Part::Reasoning(Reasoning {
                text: text.to_owned(),
                signature: owned(signature),
                redacted: owned(redacted),
            })
        };
        let call = |id: &str, arguments: &str, signature: Option<&str>| {
            Part::ToolCall(ToolCall {
                id: id.to_owned(),
                name: "f".to_owned(),
                arguments: arguments.to_owned(),
                signature: signature.map(str::to_owned),
            })
        };
        let result = |id: &str, parts: Vec<Part>| {
            Part::ToolResult(ToolResult { call_id: id.to_owned(), parts, is_error: false })
        };
        let message = |role: Role, parts: Vec<Part>| Message { role, parts };
        let expected = Request {
            model: "openai/gpt-5".to_owned(),
            messages: vec![
                message(Role::System, vec![text("Be kind."), Part::CachePoint(CacheTtl::Hour)]),
                message(
                    Role::User,
                    vec![
                        text("Look."),
                        Part::Image(data("image/png", "aGk=").into()),
                        Part::Image(Media::Url("https://x/y.png".to_owned()).into()),
                        text("C"),
                        Part::File(File {
                            cited: false,
                            name: Some("T".to_owned()),
                            media: data("text/plain", "aGk="),
                        }),
                        Part::File(File {
                            cited: false,
                            name: None,
                            media: Media::Url("https://x/y.pdf".to_owned()),
                        }),
                        Part::CachePoint(CacheTtl::Short),
                    ],
                ),
                message(
                    Role::Assistant,
                    vec![
                        reasoning("Hm", Some("sig"), None),
                        reasoning("", None, Some("xyz")),
                        reasoning("Unsigned", None, None),
                        text("Calling."),
                        call("functions.f:0", r#"{"b":1,"a":[2]}"#, Some("abc")),
                        call("t2", "{}", None),
                    ],
                ),
                message(
                    Role::Tool,
                    vec![result("functions.f:0", vec![text("7")]), Part::CachePoint(CacheTtl::Short)],
                ),
                message(
                    Role::Tool,
                    vec![Part::ToolResult(ToolResult {
                        call_id: "t2".to_owned(),
                        parts: vec![text("no"), Part::Image(Media::Url("https://x/z.png".to_owned()).into())],
                        is_error: true,
                    })],
                ),
                message(Role::User, vec![text("There.")]),
            ],
            tools: vec![Tool {
                cache: None,
                name: "f".to_owned(),
                description: Some("d".to_owned()),
                parameters: Some(serde_json::json!({"type": "object"})),
                strict: Some(true),
            }],
            tool_choice: Some(ToolChoice::Required),
            parallel_tool_calls: Some(false),
            response_format: ResponseFormat::JsonSchema {
                name: "answer".to_owned(),
                description: None,
                schema: serde_json::json!({"type": "object"}),
                strict: Some(true),
            },
            max_output_tokens: Some(4096),
            temperature: Some(0.5),
            top_p: Some(0.9),
            top_k: Some(40),
            stop: vec!["a".to_owned(), "b".to_owned()],
            reasoning_effort: Some(Effort::XHigh),
            reasoning_budget: Some(2048),
            stream: true,
            include_usage: true,
            user: Some("u1".to_owned()),
            ..Request::default()
        };
        assert_eq!(parse(body.as_bytes()), Ok(expected));
    }

    #[test]
    fn a_wrong_body_is_named_by_its_field() {
        #[rustfmt::skip]
        let cases = [
            ("", "invalid : The body is not valid JSON: EOF while parsing a value at line 1 column 0."),
            ("[]", "invalid : The body must be a JSON object."),
            (r#"{"messages":[]}"#, "invalid model: `model` is required: `provider/model` or an alias."),
            (r#"{"model":"a/b"}"#, "invalid messages: `messages` is required: a list of messages, oldest first."),
            (r#"{"model":"a/b","messages":[]}"#, "invalid messages: `messages` must hold at least one message."),
            (r#"{"model":"a/b","messages":[{"role":"user","content":"Hi"}]}"#, "invalid max_tokens: `max_tokens` is required: a whole number of at least 1."),
            (r#"{"model":"a/b","mod\u0065l":"c/d","messages":[]}"#, "invalid model: `model` occurs twice."),
        ];
        for (body, expected) in cases {
            assert_eq!(complaint(parse(body.as_bytes())), expected, "{body}");
        }
    }

    #[test]
    fn a_wrong_message_is_named_by_its_path() {
        let user = |block: &str| format!(r#"{{"role":"user","content":[{block}]}}"#);
        let image = |source: &str| user(&format!(r#"{{"type":"image","source":{source}}}"#));
        let assistant = |block: &str| format!(r#"{{"role":"assistant","content":[{block}]}}"#);
        #[rustfmt::skip]
        let cases = [
            (r#""Hi""#.to_owned(), "invalid messages[0]: `messages[0]` must be an object, not a string."),
            (r#"{"content":"Hi"}"#.to_owned(), "invalid messages[0].role: `messages[0].role` is required: `user` or `assistant`."),
            (r#"{"role":"tool","content":"Hi"}"#.to_owned(), "invalid messages[0].role: `messages[0].role` must be `user` or `assistant`."),
            (r#"{"role":"user"}"#.to_owned(), "invalid messages[0].content: `messages[0].content` is required: a string or a list of blocks."),
            (r#"{"role":"user","content":5}"#.to_owned(), "invalid messages[0].content: `messages[0].content` must be a string or a list of blocks, not a number."),
            (user(""), "invalid messages[0].content: `messages[0].content` must hold at least one block."),
            (user(r#""Hi""#), "invalid messages[0].content[0]: `messages[0].content[0]` must be an object, not a string."),
            (user(r#"{"text":"Hi"}"#), "invalid messages[0].content[0].type: `messages[0].content[0].type` is required: such as `text`."),
            (user(r#"{"type":"text"}"#), "invalid messages[0].content[0].text: `messages[0].content[0].text` is required: a string."),
            (user(r#"{"type":"text","text":"a","cache_control":{"type":"forever"}}"#), "invalid messages[0].content[0].cache_control.type: `messages[0].content[0].cache_control.type` must be `ephemeral`."),
            (user(r#"{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"2h"}}"#), "invalid messages[0].content[0].cache_control.ttl: `messages[0].content[0].cache_control.ttl` must be `5m` or `1h`."),
            (user(r#"{"type":"thinking","thinking":"Hm"}"#), "invalid messages[0].content[0]: `messages[0].content[0]` is of the type `thinking`, which cannot stand here."),
            (user(r#"{"type":"search_result"}"#), "unsupported messages[0].content[0]: `messages[0].content[0]` is of the type `search_result`, which cannot be translated for this model. Send it as text, or choose a model of a provider that speaks Messages."),
            (user(r#"{"type":"image"}"#), "invalid messages[0].content[0].source: `messages[0].content[0].source` is required: an object with a `type`."),
            (image(r#"{"type":"base64","media_type":"text/html","data":"aaaa"}"#), "invalid messages[0].content[0].source.media_type: `messages[0].content[0].source.media_type` must be that of an image, such as `image/png`."),
            (image(r#"{"type":"base64","media_type":"image/png","data":"a b"}"#), "invalid messages[0].content[0].source.data: `messages[0].content[0].source.data` must be the content in base64."),
            (image(r#"{"type":"url","url":"file:///etc/passwd"}"#), "invalid messages[0].content[0].source.url: `messages[0].content[0].source.url` must be an `https://` address."),
            (image(r#"{"type":"file","file_id":"f1"}"#), "unsupported messages[0].content[0].source: `messages[0].content[0].source` is of the type `file`, which cannot be translated for this model. Send the content in base64 or its `https://` address."),
            (assistant(r#"{"type":"tool_use","name":"f","input":{}}"#), "invalid messages[0].content[0].id: `messages[0].content[0].id` is required: the id the model gave it."),
            (assistant(r#"{"type":"tool_use","id":"t","name":"f","input":"{}"}"#), "invalid messages[0].content[0].input: `messages[0].content[0].input` must be an object, not a string."),
            (assistant(r#"{"type":"tool_result","tool_use_id":"t"}"#), "invalid messages[0].content[0]: `messages[0].content[0]` is of the type `tool_result`, which cannot stand here."),
            (user(r#"{"type":"tool_result","tool_use_id":"t"}"#), "invalid messages[0].content: `messages[0].content` holds a `tool_result` for `t`, which must be the `id` of a `tool_use` in an earlier message."),
            (user(r#"{"type":"tool_result","content":"7"}"#), "invalid messages[0].content[0].tool_use_id: `messages[0].content[0].tool_use_id` is required: the `id` of the `tool_use` it answers."),
        ];
        for (messages, expected) in cases {
            assert_eq!(complaint(with_messages(&messages)), expected, "{messages}");
        }
    }

    #[test]
    fn a_wrong_field_is_named_with_what_would_be_right() {
        let choice =
            |choice: &str| format!(r#""tools":[{{"name":"f","input_schema":{{}}}}],"tool_choice":{choice}"#);
        #[rustfmt::skip]
        let cases = [
            (r#""temperature":1.5"#.to_owned(), "invalid temperature: `temperature` must be between 0 and 1."),
            (r#""top_k":-1"#.to_owned(), "invalid top_k: `top_k` must be a whole number of at least 0, not a number."),
            (r#""stream":"yes""#.to_owned(), "invalid stream: `stream` must be true or false, not a string."),
            (r#""stop_sequences":["a",""]"#.to_owned(), "invalid stop_sequences[1]: `stop_sequences[1]` must not be empty."),
            (r#""stop_sequences":"a""#.to_owned(), "invalid stop_sequences: `stop_sequences` must be a list, not a string."),
            (r#""system":5"#.to_owned(), "invalid system: `system` must be a string or a list of blocks, not a number."),
            (r#""system":[{"type":"image","source":{}}]"#.to_owned(), "invalid system[0]: `system[0]` is of the type `image`, which cannot stand here."),
            (r#""metadata":{"user_id":5}"#.to_owned(), "invalid metadata.user_id: `metadata.user_id` must be a string, not a number."),
            (r#""thinking":{"type":"lots"}"#.to_owned(), "invalid thinking.type: `thinking.type` must be `adaptive`, `enabled` or `disabled`."),
            (r#""thinking":{"type":"enabled"}"#.to_owned(), "invalid thinking.budget_tokens: `thinking.budget_tokens` is required: a number of tokens."),
            (r#""output_config":{"effort":"huge"}"#.to_owned(), "invalid output_config.effort: `output_config.effort` must be `low`, `medium`, `high`, `xhigh` or `max`."),
            (r#""output_config":{"format":{"type":"xml"}}"#.to_owned(), "invalid output_config.format.type: `output_config.format.type` must be `json_schema`."),
            (r#""output_format":{"type":"json_schema"}"#.to_owned(), "invalid output_format.schema: `output_format.schema` is required: a JSON Schema."),
            (r#""tools":[{"name":"f"}]"#.to_owned(), "invalid tools[0].input_schema: `tools[0].input_schema` is required: a JSON Schema."),
            (r#""tool_choice":{"type":"any"}"#.to_owned(), "invalid tool_choice: `tool_choice` needs `tools` to choose from."),
            (choice(r#""any""#), "invalid tool_choice: `tool_choice` must be an object, not a string."),
            (choice(r#"{"type":"all"}"#), "invalid tool_choice.type: `tool_choice.type` must be `auto`, `any`, `tool` or `none`."),
            (choice(r#"{"type":"tool","name":"g"}"#), "invalid tool_choice.name: `tool_choice.name` must be the name of one of the `tools`."),
        ];
        for (fields, expected) in cases {
            assert_eq!(complaint(with(&fields)), expected, "{fields}");
        }
    }

    #[test]
    fn what_no_other_protocol_has_is_kept_under_its_path() {
        let fields = r#""service_tier":"someday","mcp_servers":[],"metadata":{"team":"x"},"thinking":{"type":"adaptive","display":"omitted"},
            "tools":[{"name":"f","input_schema":{},"cache_control":{"type":"ephemeral"},"type":"custom"},{"type":"web_search_20250305","name":"web_search"}]"#;
        let extra = with(fields).expect("valid").extra;
        let names: Vec<&str> = extra.iter().map(|extra| extra.name.as_str()).collect();
        assert_eq!(names, ["tools[1]", "service_tier", "metadata.team"]);
        let mut dropped = Vec::new();
        drop_extra(&extra[1..], &mut dropped).expect("harmless");
        assert_eq!(dropped, names[1..]);

        let refused = |fields: &str| {
            let extra = with(fields).expect("valid").extra;
            complaint(drop_extra(&extra, &mut Vec::new()).map(|()| Request::default()))
        };
        assert_eq!(
            refused(fields),
            "unsupported tools[1]: `tools[1]` cannot be translated for this model. Give it as a tool of your own, with an \
             `input_schema`, or choose a model of a provider that speaks Messages."
        );
        let servers = refused(r#""mcp_servers":[{"url":"https://x"}]"#);
        assert!(servers.starts_with("unsupported mcp_servers: "), "{servers}");
    }

    #[test]
    fn thinking_is_an_effort_and_a_budget() {
        use Effort::{High, Low, Medium, Minimal, None as Off, XHigh};
        let cases = [
            (r#""thinking":null"#, None, None),
            (r#""thinking":{"type":"disabled"}"#, Some(Off), Some(0)),
            (r#""thinking":{"type":"disabled"},"output_config":{"effort":"high"}"#, Some(Off), Some(0)),
            (r#""thinking":{"type":"between_tools"}"#, Some(Minimal), None),
            (r#""thinking":{"type":"adaptive"}"#, Some(High), None),
            (r#""thinking":{"type":"adaptive"},"output_config":{"effort":"medium"}"#, Some(Medium), None),
            (r#""output_config":{"effort":"xhigh"}"#, Some(XHigh), None),
            (r#""thinking":{"type":"enabled","budget_tokens":1024}"#, Some(Low), Some(1024)),
            (r#""thinking":{"type":"enabled","budget_tokens":31999}"#, Some(XHigh), Some(31_999)),
        ];
        for (fields, effort, budget) in cases {
            let request = with(fields).expect("valid");
            assert_eq!((request.reasoning_effort, request.reasoning_budget), (effort, budget), "{fields}");
        }
    }

    #[test]
    fn a_mark_on_the_whole_request_is_one_on_its_end() {
        let request = with(r#""cache_control":{"type":"ephemeral"}"#).expect("valid");
        let last = request.messages.last().expect("a message");
        assert_eq!(last.parts, [text("Hi"), Part::CachePoint(CacheTtl::Short)]);
    }

    #[test]
    fn a_document_of_blocks_is_its_blocks() {
        let document = r#"{"type":"document","title":"T","source":{"type":"content","content":[{"type":"text","text":"a"}]}}"#;
        let request = with_messages(&format!(r#"{{"role":"user","content":[{document}]}}"#)).expect("valid");
        assert_eq!(request.messages[0].parts, [text("T"), text("a")]);
    }

    #[test]
    fn a_deep_body_is_refused_and_does_not_overflow_the_stack() {
        let body = format!(r#"{{"model":"a/b","x":{}"#, "[".repeat(100_000));
        assert!(complaint(parse(body.as_bytes())).contains("recursion limit"));
    }
}
