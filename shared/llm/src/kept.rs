//! What providers keep for their customers: files, and batches of calls to be made from them. Callers and
//! providers speak OpenAI's API.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use serde_json::Value;

use crate::{
    Error, Provider, ServiceTier, Target, UpstreamError, Usage,
    dialect::post,
    fields,
    operation::json,
    peek,
    provider::{self, Api, Offer},
    relay::Summary,
};

/// The provider with this name, if it keeps files and batches.
pub fn provider(name: &str) -> Option<&'static Provider> {
    provider::find(name).filter(|provider| provider.offers.contains(&Offer::Files))
}

/// The names of those that do.
pub fn providers() -> Vec<&'static str> {
    let keepers = provider::PROVIDERS.iter().filter(|provider| provider.offers.contains(&Offer::Files));
    keepers.map(|provider| provider.name).collect()
}

/// A request about what is kept; `path` begins below the provider's address.
pub fn request(
    method: Method,
    path: &str,
    content_type: Option<&HeaderValue>,
    body: Bytes,
    target: &Target<'_>,
) -> Result<Request<Bytes>, Error> {
    let mut request = post(format!("{}{path}", target.base_url), target, body)?;
    *request.method_mut() = method;
    match content_type {
        Some(content_type) => request.headers_mut().insert(header::CONTENT_TYPE, content_type.clone()),
        None => request.headers_mut().remove(header::CONTENT_TYPE),
    };
    Ok(request)
}

/// A refusal, as our error.
pub fn failure(status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
    Api::ChatCompletions.dialect().error(status, headers, body)
}

/// Whether the caller is to have the provider's refusal as it is: it is about what was asked.
pub fn is_callers(status: u16, body: &[u8]) -> bool {
    matches!(status, 400 | 404 | 409 | 413 | 422)
        && peek::fields(body, ["error"], 0).is_ok_and(|[error]| error.is_some())
}

/// The file a new batch is to be made from.
pub fn input_file(body: &[u8]) -> Result<Cow<'_, str>, Error> {
    let [file] = peek::fields(body, ["input_file_id"], 1)?;
    let Some(file) = file.filter(|file| file.get() != "null") else {
        return Err(Error::invalid("input_file_id", "`input_file_id` is required."));
    };
    peek::text(file, "input_file_id")
}

/// Fields of Responses that refer to earlier answers.
const KEPT: [&str; 3] = ["background", "conversation", "previous_response_id"];

/// The model a line of a batch's file asks for, and where its name stands, quotes included.
pub fn line_model(line: &[u8], number: usize) -> Result<(Cow<'_, str>, Range<usize>), Error> {
    let read = || {
        let [body] = peek::fields(line, ["body"], 1)?;
        let body = body.ok_or_else(|| Error::invalid("file", "It has no `body`."))?;
        let body = body.get().as_bytes();
        for (name, value) in KEPT.into_iter().zip(peek::fields(body, KEPT, KEPT.len())?) {
            if peek::is_set(value) {
                return Err(kept_here(name, "Send the whole conversation."));
            }
        }
        // Who owns them would have to be asked for each line.
        if let Some(file) = files_in(body)?.first() {
            let message =
                format!("It refers to the file `{file}`. Lines of a batch must bring what they are about.");
            return Err(Error::unsupported("file", message));
        }
        let [model] = peek::fields(body, ["model"], 1)?;
        let model = model.ok_or_else(|| Error::invalid("file", "Its `body` has no `model`."))?;
        Ok((peek::text(model, "model")?, peek::place(model, line)))
    };
    read().map_err(|error: Error| Error::invalid("file", format!("Line {number}: {error}")))
}

/// The kept files a call's body refers to. Most bodies refer to none, and are only searched. What else a provider keeps
/// cannot be told apart by tenant, so a body that refers to that is refused.
pub fn files_in(body: &[u8]) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    // One pass, which files and pictures in base64 do not slow down: they have neither of the two.
    if !memchr::memchr2_iter(b'"', b'\\', body).any(|at| is_sign(&body[at..])) {
        return Ok(found);
    }
    // Strictly, for what is passed over here a provider may still read: a second field of a name above all.
    let body = fields::value(body)?;
    if let Value::Object(fields) = &body {
        refuse_container(fields)?;
    }
    collect(&body, &mut found)?;
    Ok(found)
}

/// Whether what begins with a quotation mark or a backslash may name something that is kept.
fn is_sign(text: &[u8]) -> bool {
    match text {
        // Letters may be written as escapes, which nobody does without a reason.
        [b'\\', rest @ ..] => matches!(rest, [b'u', b'0', b'0', b'2'..=b'7', ..]),
        [_, rest @ ..] => {
            let names: [&[u8]; 4] = [b"file_id", b"item_reference\"", b"container\"", b"audio\""];
            names.iter().any(|name| rest.starts_with(name))
        }
        [] => false,
    }
}

/// What stands in `file_id` and `file_ids`; arguments of tools and schemas may have what they like.
fn collect(value: &Value, found: &mut Vec<String>) -> Result<(), Error> {
    const FREE: [&str; 6] = ["args", "input_schema", "metadata", "parameters", "response", "schema"];
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
            if kind == "item_reference" {
                return Err(kept_here("input", "Send the item itself."));
            }
            if kind == "code_interpreter" {
                refuse_container(fields)?;
            }
            if fields.get("role").is_some_and(|role| role == "assistant") && value["audio"]["id"].is_string()
            {
                return Err(kept_here("messages", "Send the words that were said."));
            }
            let ids =
                fields.get("file_id").into_iter().chain(value["file_ids"].as_array().into_iter().flatten());
            found.extend(ids.filter_map(Value::as_str).map(str::to_owned));
            let is_call = kind == "tool_use" || fields.contains_key("toolUseId");
            let fields = fields
                .iter()
                .filter(|(name, _)| !(FREE.contains(&name.as_str()) || is_call && name.as_str() == "input"));
            fields.map(|(_, field)| field).try_for_each(|field| collect(field, found))
        }
        _ => Ok(()),
    }
}

/// A container is named by its id; a new one is asked for by an object without.
fn refuse_container(fields: &serde_json::Map<String, Value>) -> Result<(), Error> {
    match fields.get("container") {
        Some(container) if container.is_string() || container["id"].is_string() => {
            Err(kept_here("container", "Ask for a new one."))
        }
        _ => Ok(()),
    }
}

fn kept_here(param: &str, instead: &str) -> Error {
    let message = format!("What the provider keeps of earlier calls cannot be referred to here. {instead}");
    Error::unsupported(param, message)
}

/// A batch, as far as the gateway goes by it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Files with answers, made by the provider.
    pub files: Vec<String>,
    /// What it used, once it has ended and where the provider says so.
    pub used: Option<Summary>,
}

/// Reads a batch as the provider describes it.
pub fn batch(object: &Value) -> Batch {
    let files = ["output_file_id", "error_file_id"];
    let files = files.iter().filter_map(|name| object[*name].as_str().map(str::to_owned)).collect();
    let has_ended =
        matches!(object["status"].as_str(), Some("completed" | "expired" | "cancelled" | "failed"));
    // Of batches that have nothing to say of usage OpenAI sends zeros.
    let usage = json::used(&object["usage"])
        .filter(|usage| has_ended && (usage.input_tokens, usage.output_tokens) != (0, 0));
    let used = usage.map(|usage| Summary {
        response_model: object["model"].as_str().map(str::to_owned),
        usage: Some(Usage { tier: ServiceTier::Batch, ..usage }),
        ..Summary::default()
    });
    Batch { files, used }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_tells_its_model_and_where_it_stands() {
        let line = br#"{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{"model": "openai/gpt\u002d5","messages":[]}}"#;
        let (model, at) = line_model(line, 1).expect("a model");
        assert_eq!(model, "openai/gpt-5");
        assert_eq!(&line[at], br#""openai/gpt\u002d5""#);
        for (line, message) in [
            ("", "Line 7: The body must be a JSON object."),
            ("[]", "Line 7: The body must be a JSON object."),
            ("{\"body\":1}", "Line 7: The body must be a JSON object."),
            ("{}", "Line 7: It has no `body`."),
            ("{\"body\":{}}", "Line 7: Its `body` has no `model`."),
            ("{\"body\":{\"model\":1}}", "Line 7: `model` must be a string."),
            (
                "{\"body\":{\"model\":\"a\",\"model\":\"b\"}}",
                "Line 7: `model` occurs twice, or in another spelling.",
            ),
            ("{\"body\":{\"Model\":\"a\"}}", "Line 7: `model` occurs twice, or in another spelling."),
            (
                "{\"body\":{\"model\":\"a\"},\"BODY\":{}}",
                "Line 7: `body` occurs twice, or in another spelling.",
            ),
        ] {
            assert_eq!(line_model(line.as_bytes(), 7).expect_err(line).to_string(), message);
        }
    }

    #[test]
    fn files_are_found_where_a_protocol_has_them_and_nowhere_else() {
        for (body, expected) in [
            (r#"{"messages":[{"content":[{"type":"file","file":{"file_id":"file-1"}}]}]}"#, "file-1"),
            (
                r#"{"input":[{"content":[{"type":"input_file","file_id":"file-1"},{"type":"input_image","file_id":"file-2"}]}]}"#,
                "file-1 file-2",
            ),
            (
                r#"{"tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["file-1","file-2"]}}]}"#,
                "file-1 file-2",
            ),
            (r#"{"content":[{"type":"document","source":{"type":"file","file_id":"file_1"}}]}"#, "file_1"),
            (r#"{"content":[{"type":"file","file":{"\u0066ile_\u0069d":"file-1"}}]}"#, "file-1"),
            (r#"{"content":[{"type":"tool_use","input":{"file_id":"mine"}}]}"#, ""),
            (
                r#"{"tools":[{"type":"function","parameters":{"properties":{"file_id":{"type":"string"}}}}]}"#,
                "",
            ),
            (r#"{"content":"a \"file_id\" in words"}"#, ""),
            (r#"{"tools":[{"type":"image_generation","input_image_mask":{"file_id":"file-1"}}]}"#, "file-1"),
            (r#"{"input":[{"output":{"type":"computer_screenshot","file_id":"file-1"}}]}"#, "file-1"),
            (
                r#"{"container":{"skills":[]},"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}"#,
                "",
            ),
        ] {
            assert_eq!(files_in(body.as_bytes()).expect(body).join(" "), expected, "{body}");
        }
    }

    #[test]
    fn nothing_else_that_is_kept_can_be_referred_to() {
        for body in [
            r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
            r#"{"tools":[{"type":"code_interpreter","container":"cntr_1"}]}"#,
            r#"{"container":"container_1"}"#,
            r#"{"container":{"id":"container_1"}}"#,
            r#"{"messages":[{"role":"assistant","audio":{"id":"audio_1"}}]}"#,
        ] {
            let error = files_in(body.as_bytes()).expect_err(body);
            assert!(matches!(error, Error::Unsupported { .. }), "{body}: {error}");
        }
    }

    #[test]
    fn a_body_that_cannot_be_looked_through_is_refused() {
        let deep = format!(r#"{{"file_id":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        let many = format!(r#"{{"file_id":[{}1]}}"#, "1,".repeat(1_000_000));
        for body in
            [r#"{"a":"\ud800","file_id":"file-1"}"#, r#"{"a":1e999,"file_id":"file-1"}"#, &deep, &many]
        {
            assert!(files_in(body.as_bytes()).is_err(), "{}", &body[..40.min(body.len())]);
        }
    }

    #[test]
    fn a_line_of_a_batch_refers_to_nothing_that_is_kept() {
        for more in [
            r#""previous_response_id":"resp_1""#,
            r#""background":true"#,
            r#""input":[{"file_id":"file-1"}]"#,
        ] {
            let line = format!(r#"{{"body":{{"model":"openai/gpt-5",{more}}}}}"#);
            assert!(line_model(line.as_bytes(), 1).is_err(), "{line}");
        }
    }

    #[test]
    fn a_batch_tells_its_usage_once_it_has_ended() {
        let usage = json!({ "input_tokens": 100, "input_tokens_details": { "cached_tokens": 40 }, "output_tokens": 50,
            "output_tokens_details": { "reasoning_tokens": 30 }, "total_tokens": 150 });
        let object = |status: &str, usage: &Value| {
            batch(
                &json!({ "status": status, "model": "gpt-5-mini", "usage": usage, "output_file_id": "file-out" }),
            )
        };
        let used = object("completed", &usage).used.expect("usage");
        assert_eq!(used.response_model.as_deref(), Some("gpt-5-mini"));
        let expected = Usage {
            input_tokens: 100,
            cache_read_input_tokens: 40,
            output_tokens: 50,
            reasoning_output_tokens: 30,
            tier: ServiceTier::Batch,
            ..Usage::default()
        };
        assert_eq!(used.usage, Some(expected));
        assert_eq!(object("completed", &usage).files, ["file-out"]);
        assert_eq!(object("in_progress", &usage).used, None);
        assert_eq!(object("completed", &Value::Null).used, None);
        assert_eq!(object("completed", &json!({ "input_tokens": 0, "output_tokens": 0 })).used, None);
    }
}
