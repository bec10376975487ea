//! Content: text or a list of blocks.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{super::call_id, MAX_PARTS};
use crate::{
    Error,
    chat::{CacheTtl, File, Media, Part, Reasoning, Role, ToolCall, ToolResult},
    fields::{At, Object, leave},
};

/// The parts of a field; `None` where it is null or absent.
pub(super) fn content(
    object: &mut Object<'_>,
    name: &str,
    role: Role,
    extra: &mut Vec<(String, Value)>,
) -> Result<Option<Vec<Part>>, Error> {
    let here = object.at;
    let at = here.field(name);
    let list = match object.take(name) {
        None => return Ok(None),
        Some(Value::String(text)) => return Ok(Some(vec![Part::Text(text)])),
        Some(Value::Array(list)) => at.bounded(list, MAX_PARTS)?,
        Some(other) => return Err(at.wrong_type(CONTENT, &other)),
    };
    if list.is_empty() && matches!(role, Role::Assistant | Role::User) {
        return Err(at.wrong("must hold at least one block"));
    }
    let mut parts = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let mut object = Object::from(value, at.index(index))?;
        block(&mut object, role, &mut parts, extra)?;
        parts.extend(cache_control(&mut object, extra)?.map(Part::CachePoint));
        leave(object, extra);
    }
    Ok(Some(parts))
}

/// Appends what a block says. `Role::Tool` stands for the inside of a tool's result or of a document.
fn block(
    object: &mut Object<'_>,
    role: Role,
    parts: &mut Vec<Part>,
    extra: &mut Vec<(String, Value)>,
) -> Result<(), Error> {
    let kind = object.required_text("type", "such as `text`")?;
    match (kind.as_str(), role) {
        ("text", _) => parts.push(Part::Text(object.required_string("text")?)),
        ("image", Role::Tool | Role::User) => parts.push(Part::Image(image(object, extra)?.into())),
        ("document", Role::Tool | Role::User) => document(object, parts, extra)?,
        ("redacted_thinking", Role::Assistant) => {
            let redacted = Some(object.required_text("data", "the encrypted thought")?);
            parts.push(Part::Reasoning(Reasoning { redacted, ..Reasoning::default() }));
        }
        ("thinking", Role::Assistant) => {
            let text = object.text("thinking")?.unwrap_or_default();
            let signature = object.text("signature")?.filter(|signature| !signature.is_empty());
            let thought = Reasoning { text, signature, redacted: None };
            if thought != Reasoning::default() {
                parts.push(Part::Reasoning(thought));
            }
        }
        ("tool_use", Role::Assistant) => parts.push(Part::ToolCall(tool_use(object)?)),
        ("tool_result", Role::User) => parts.push(Part::ToolResult(tool_result(object, extra)?)),
        ("image" | "document" | "redacted_thinking" | "thinking" | "tool_use" | "tool_result", _) => {
            let rule = format!("is of the type `{kind}`, which cannot stand here");
            return Err(object.at.wrong(&rule));
        }
        _ => {
            return Err(object.at.cannot(&format!(
                "is of the type `{kind}`, which cannot be translated for this model. Send it as text, or choose a \
                 model of a provider that speaks Messages"
            )));
        }
    }
    Ok(())
}

fn image(object: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<Media, Error> {
    let mut source = source(object)?;
    let media = match source.required_text("type", "`base64` or `url`")?.as_str() {
        "base64" => {
            let media_type = source.required_text("media_type", "such as `image/png`")?;
            if !media_type.starts_with("image/") {
                return Err(source
                    .at
                    .field("media_type")
                    .wrong("must be that of an image, such as `image/png`"));
            }
            Media::Data { media_type, data: base64(&mut source)? }
        }
        "url" => Media::Url(url(&mut source)?),
        other => return Err(unknown_source(&source, other)),
    };
    leave(source, extra);
    Ok(media)
}

fn document(
    object: &mut Object<'_>,
    parts: &mut Vec<Part>,
    extra: &mut Vec<(String, Value)>,
) -> Result<(), Error> {
    let name = object.text("title")?.filter(|title| !title.is_empty());
    let cited = match object.object("citations")? {
        Some(mut citations) => citations.boolean("enabled")?.unwrap_or(false),
        None => false,
    };
    // Told to the model, but not part of what it may cite.
    parts.extend(object.text("context")?.filter(|text| !text.is_empty()).map(Part::Text));
    let mut source = source(object)?;
    let kind = source.required_text("type", "`base64`, `text`, `content` or `url`")?;
    let media = match kind.as_str() {
        "base64" => {
            let media_type = source.required_text("media_type", "such as `application/pdf`")?;
            Media::Data { media_type, data: base64(&mut source)? }
        }
        "content" => {
            let inside = content(&mut source, "content", Role::Tool, extra)?;
            let inside = inside.ok_or_else(|| source.at.field("content").required(CONTENT))?;
            parts.extend(name.map(Part::Text));
            parts.extend(inside);
            leave(source, extra);
            return Ok(());
        }
        "text" => {
            let media_type = source.text("media_type")?.unwrap_or_else(|| "text/plain".to_owned());
            Media::Data { media_type, data: STANDARD.encode(source.required_string("data")?) }
        }
        "url" => Media::Url(url(&mut source)?),
        other => return Err(unknown_source(&source, other)),
    };
    parts.push(Part::File(File { name, cited, media }));
    leave(source, extra);
    Ok(())
}

fn source<'a>(object: &'a mut Object<'_>) -> Result<Object<'a>, Error> {
    let value = object.take("source");
    let at = object.at.field("source");
    Object::from(value.ok_or_else(|| at.required("an object with a `type`"))?, at)
}

fn unknown_source(source: &Object<'_>, kind: &str) -> Error {
    source.at.cannot(&format!(
        "is of the type `{kind}`, which cannot be translated for this model. Send the content in base64 or its \
         `https://` address"
    ))
}

fn base64(source: &mut Object<'_>) -> Result<String, Error> {
    let data = source.required_text("data", "the content in base64")?;
    let digits = data.trim_end_matches('=');
    let is_base64 = digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
    if digits.is_empty() || !is_base64 || data.len() - digits.len() > 2 {
        return Err(source.at.field("data").wrong("must be the content in base64"));
    }
    Ok(data)
}

fn url(source: &mut Object<'_>) -> Result<String, Error> {
    let url = source.required_text("url", "an `https://` address")?;
    let is_https = url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    if !is_https || url.len() == 8 {
        return Err(source.at.field("url").wrong("must be an `https://` address"));
    }
    Ok(url)
}

fn tool_use(object: &mut Object<'_>) -> Result<ToolCall, Error> {
    let id = call_id::inward(object.required_text("id", "the id the model gave it")?);
    let name = object.required_text("name", "the tool's name")?;
    let arguments = match object.take("input") {
        Some(input @ Value::Object(_)) => input.to_string(),
        Some(other) => return Err(object.at.field("input").wrong_type("an object", &other)),
        None => "{}".to_owned(),
    };
    Ok(ToolCall { id, name, arguments, signature: None })
}

fn tool_result(object: &mut Object<'_>, extra: &mut Vec<(String, Value)>) -> Result<ToolResult, Error> {
    let call_id =
        call_id::inward(object.required_text("tool_use_id", "the `id` of the `tool_use` it answers")?);
    let parts = content(object, "content", Role::Tool, extra)?.unwrap_or_default();
    let is_error = object.boolean("is_error")?.unwrap_or(false);
    Ok(ToolResult { call_id, parts, is_error })
}

/// How long what ends here is to be kept in the prompt cache, where it is.
pub(super) fn cache_control(
    object: &mut Object<'_>,
    extra: &mut Vec<(String, Value)>,
) -> Result<Option<CacheTtl>, Error> {
    let Some(mut control) = object.object("cache_control")? else { return Ok(None) };
    if control.required_text("type", "`ephemeral`")? != "ephemeral" {
        return Err(control.at.field("type").wrong("must be `ephemeral`"));
    }
    let ttl = match control.text("ttl")?.as_deref() {
        None | Some("5m") => CacheTtl::Short,
        Some("1h") => CacheTtl::Hour,
        Some(_) => return Err(At::field(&control.at, "ttl").wrong("must be `5m` or `1h`")),
    };
    leave(control, extra);
    Ok(Some(ttl))
}

pub(super) const CONTENT: &str = "a string or a list of blocks";
