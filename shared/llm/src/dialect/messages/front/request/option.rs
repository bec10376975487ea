//! Everything beside the conversation: tools, thinking, sampling, the form of the answer.

use serde_json::Value;

use super::{MAX_PARTS, block::cache_control};
use crate::{
    Error,
    chat::{Effort, Extra, ResponseFormat, Tool, ToolChoice},
    fields::{Object, leave},
};

/// The tools the caller runs, and those that Anthropic runs or knows by name.
pub(super) fn tools(
    body: &mut Object<'_>,
    extra: &mut Vec<(String, Value)>,
) -> Result<(Vec<Tool>, Vec<Extra>), Error> {
    let here = body.at;
    let at = here.field("tools");
    let (mut tools, mut hosted) = (Vec::new(), Vec::new());
    for (index, value) in body.list("tools", MAX_TOOLS)?.unwrap_or_default().into_iter().enumerate() {
        let mut object = Object::from(value, at.index(index))?;
        if object.text("type")?.is_some_and(|kind| kind != "custom") {
            let name = object.at.to_string();
            hosted.push(Extra { name, value: Value::Object(object.map), instead: Some(HOSTED) });
            continue;
        }
        tools.push(Tool {
            name: object.required_text("name", "the tool's name")?,
            description: object.text("description")?,
            parameters: Some(
                object
                    .schema("input_schema")?
                    .ok_or_else(|| object.at.field("input_schema").required("a JSON Schema"))?,
            ),
            strict: object.boolean("strict")?,
            cache: cache_control(&mut object, extra)?,
        });
        leave(object, extra);
    }
    Ok((tools, hosted))
}

/// The choice, and whether several calls may come at once.
pub(in crate::dialect) fn tool_choice(
    body: &mut Object<'_>,
    tools: &[Tool],
    hosted: &[Extra],
    extra: &mut Vec<(String, Value)>,
) -> Result<(Option<ToolChoice>, Option<bool>), Error> {
    let Some(mut object) = body.object("tool_choice")? else { return Ok((None, None)) };
    let choice = match object.required_text("type", CHOICES)?.as_str() {
        "any" if tools.is_empty() && hosted.is_empty() => {
            return Err(object.at.wrong("needs `tools` to choose from"));
        }
        "any" => ToolChoice::Required,
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "tool" => {
            let name = object.required_text("name", "the tool's name")?;
            let is_hosted =
                hosted.iter().any(|tool| tool.value.get("name").is_some_and(|known| *known == name));
            if !is_hosted && !tools.iter().any(|tool| tool.name == name) {
                return Err(object.at.field("name").wrong("must be the name of one of the `tools`"));
            }
            ToolChoice::Function(name)
        }
        _ => return Err(object.at.field("type").wrong(&format!("must be {CHOICES}"))),
    };
    let parallel = object.boolean("disable_parallel_tool_use")?.map(|disabled| !disabled);
    leave(object, extra);
    Ok((Some(choice), parallel))
}

/// The form of the answer, and how much effort it is worth.
pub(super) fn output(
    body: &mut Object<'_>,
    extra: &mut Vec<(String, Value)>,
) -> Result<(ResponseFormat, Option<Effort>), Error> {
    let older = match body.object("output_format")? {
        Some(format) => Some(json_schema(format, extra)?),
        None => None,
    };
    let Some(mut config) = body.object("output_config")? else {
        return Ok((older.unwrap_or_default(), None));
    };
    let newer = match config.object("format")? {
        Some(format) => Some(json_schema(format, extra)?),
        None => None,
    };
    let effort = match config.text("effort")?.as_deref() {
        None => None,
        Some("low") => Some(Effort::Low),
        Some("medium") => Some(Effort::Medium),
        Some("high") => Some(Effort::High),
        Some("max" | "xhigh") => Some(Effort::XHigh),
        Some(_) => {
            let at = config.at.field("effort");
            return Err(at.wrong("must be `low`, `medium`, `high`, `xhigh` or `max`"));
        }
    };
    leave(config, extra);
    match (older, newer) {
        (Some(_), Some(_)) => Err(body
            .at
            .field("output_format")
            .wrong("is the older name of `output_config.format`. Send only one")),
        (older, newer) => Ok((newer.or(older).unwrap_or_default(), effort)),
    }
}

fn json_schema(mut format: Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<ResponseFormat, Error> {
    if format.required_text("type", "`json_schema`")? != "json_schema" {
        return Err(format.at.field("type").wrong("must be `json_schema`"));
    }
    let schema =
        format.schema("schema")?.ok_or_else(|| format.at.field("schema").required("a JSON Schema"))?;
    leave(format, extra);
    // Others want a name. It always binds here.
    Ok(ResponseFormat::JsonSchema {
        name: "answer".to_owned(),
        description: None,
        schema,
        strict: Some(true),
    })
}

/// How much to think, as an effort and, where the caller says it, in tokens; and whether to show it.
type Wish = (Option<Effort>, Option<u64>, Option<bool>);

/// What the caller says of thought.
pub(super) fn thinking(
    body: &mut Object<'_>,
    effort: Option<Effort>,
    extra: &mut Vec<(String, Value)>,
) -> Result<Wish, Error> {
    let Some(mut object) = body.object("thinking")? else { return Ok((effort, None, None)) };
    let thinking = match object.required_text("type", THINKING)?.as_str() {
        // High is what Claude does where nothing is said.
        "adaptive" => (effort.or(Some(Effort::High)), None),
        "between_tools" => (Some(Effort::Minimal), None),
        "disabled" => (Some(Effort::None), Some(0)),
        "enabled" => {
            let budget = object.count("budget_tokens")?;
            let budget =
                budget.ok_or_else(|| object.at.field("budget_tokens").required("a number of tokens"))?;
            (effort.or(Some(Effort::of_budget(budget))), Some(budget))
        }
        _ => return Err(object.at.field("type").wrong(&format!("must be {THINKING}"))),
    };
    let thoughts = match object.text("display")?.as_deref() {
        None => None,
        Some("omitted") => Some(false),
        Some("summarized") => Some(true),
        Some(_) => return Err(object.at.field("display").wrong("must be `summarized` or `omitted`")),
    };
    leave(object, extra);
    Ok((thinking.0, thinking.1, thoughts))
}

pub(super) fn top_k(body: &mut Object<'_>) -> Result<Option<u64>, Error> {
    let Some(value) = body.take("top_k") else { return Ok(None) };
    match value.as_u64() {
        // No limit.
        Some(0) => Ok(None),
        Some(count) => Ok(Some(count)),
        None => Err(body.at.field("top_k").wrong_type("a whole number of at least 0", &value)),
    }
}

pub(super) fn stop(body: &mut Object<'_>) -> Result<Vec<String>, Error> {
    let here = body.at;
    let at = here.field("stop_sequences");
    let mut texts = Vec::new();
    for (index, value) in body.list("stop_sequences", MAX_PARTS)?.unwrap_or_default().into_iter().enumerate()
    {
        match value {
            Value::String(text) if text.is_empty() => return Err(at.index(index).wrong("must not be empty")),
            Value::String(text) => texts.push(text),
            other => return Err(at.index(index).wrong_type("a string", &other)),
        }
    }
    Ok(texts)
}

/// The caller's name for its end user.
pub(super) fn user(body: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<Option<String>, Error> {
    let Some(mut metadata) = body.object("metadata")? else { return Ok(None) };
    let user = metadata.text("user_id")?;
    leave(metadata, extra);
    Ok(user)
}

const MAX_TOOLS: usize = 1_000;
const CHOICES: &str = "`auto`, `any`, `tool` or `none`";
const THINKING: &str = "`adaptive`, `enabled` or `disabled`";
const HOSTED: &str = "Give it as a tool of your own, with an `input_schema`, or choose a model of a provider that speaks Messages.";
