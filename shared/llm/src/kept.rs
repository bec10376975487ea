//! What providers keep for their customers: files, and batches of calls to be made from them. Callers and
//! providers speak OpenAI's API.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use serde_json::{Map, Value, value::RawValue};

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
    let [file, blob] = peek::fields(body, ["input_file_id", "input_blob"], 2)?;
    // Azure's storage, which nobody here has looked through.
    if peek::is_set(blob) {
        return Err(kept_here("input_blob", "Upload the file and send its id as `input_file_id`."));
    }
    let Some(file) = file.filter(|file| file.get() != "null") else {
        return Err(Error::invalid("input_file_id", "`input_file_id` is required."));
    };
    peek::text(file, "input_file_id")
}

/// Fields of Responses that refer to earlier answers.
const KEPT: [&str; 3] = ["background", "conversation", "previous_response_id"];

/// A line of a batch's file.
#[derive(Debug, PartialEq)]
pub struct Line<'a> {
    /// The model it asks for.
    pub model: Cow<'a, str>,
    /// Where that name stands, quotes included.
    pub model_at: Range<usize>,
    /// The models it names besides; see [`References::models`].
    pub others: Vec<String>,
}

/// Reads a line of a batch's file.
pub fn line(line: &[u8], number: usize) -> Result<Line<'_>, Error> {
    let read = || {
        let [body] = peek::fields(line, ["body"], 1)?;
        let body = body.ok_or_else(|| Error::invalid("file", "It has no `body`."))?;
        let body = body.get().as_bytes();
        for (name, value) in KEPT.into_iter().zip(peek::fields(body, KEPT, KEPT.len())?) {
            if peek::is_set(value) {
                return Err(kept_here(name, "Send the whole conversation."));
            }
        }
        let References { files, models: others } = references(body)?;
        let [input] = peek::fields(body, ["input"], 0)?;
        refuse_bare_items(input)?;
        // Who owns them would have to be asked for each line.
        if let Some(file) = files.first() {
            let message =
                format!("It refers to the file `{file}`. Lines of a batch must bring what they are about.");
            return Err(Error::unsupported("file", message));
        }
        let [model] = peek::fields(body, ["model"], 1)?;
        let model = model.ok_or_else(|| Error::invalid("file", "Its `body` has no `model`."))?;
        Ok(Line { model: peek::text(model, "model")?, model_at: peek::place(model, line), others })
    };
    read().map_err(|error: Error| Error::invalid("file", format!("Line {number}: {error}")))
}

/// What a body refers to beside the model it asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Kept files.
    pub files: Vec<String>,
    /// Models by the provider's own names: of a tool that asks another one, or of what is to be asked if the first
    /// will not answer.
    pub models: Vec<String>,
}

/// What a call's body refers to. Most bodies refer to nothing, and are only searched. What a provider keeps beside files
/// cannot be told apart by tenant, so a body that refers to that is refused.
///
/// A name counts in any spelling that some server takes for it: letters as escapes, Google's two manners of writing it,
/// capitals.
pub fn references(body: &[u8]) -> Result<References, Error> {
    // One pass, which files and pictures in base64 do not slow down: they have neither of the two.
    if !memchr::memchr2_iter(b'"', b'\\', body).any(|at| is_sign(&body[at..])) {
        return Ok(References::default());
    }
    // Strictly, for what is passed over here a provider may still read: a second field of a name above all.
    let mut fields = fields::body(body)?.map;
    let Kept { files, has_items } = kept_in(&fields)?;
    if has_items {
        return Err(kept_here("input", "Send the item itself."));
    }
    let mut found = References { files, models: Vec::new() };
    each_model(&mut fields, true, &mut |model| {
        found.models.push(model.clone());
        Ok(())
    })?;
    Ok(found)
}

/// What a body or a message refers to of what is kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Files.
    pub(crate) files: Vec<String>,
    /// Whether it refers to items of a conversation.
    pub(crate) has_items: bool,
}

/// Looks through a body or a message. What can be no tenant's own is refused.
pub(crate) fn kept_in(body: &Map<String, Value>) -> Result<Kept, Error> {
    let mut found = Kept::default();
    refuse_container(body)?;
    object(body, true, &mut found)?;
    Ok(found)
}

/// Hands on each name of a model within; not the body's own.
pub(crate) fn each_model(
    fields: &mut Map<String, Value>,
    is_root: bool,
    then: &mut dyn FnMut(&mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    let is_call = is_call(fields);
    // A tool that OpenRouter runs has its settings where a function has its schema.
    let is_run =
        fields.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("openrouter:"));
    for (name, value) in fields {
        match value {
            Value::String(text) if !is_root && peek::folds(name, "model") => then(text)?,
            Value::Object(fields) if is_run && name == "parameters" => each_model(fields, false, then)?,
            _ if is_free(name, is_root, is_call) => {}
            // The whole of what is to be counted.
            Value::Object(fields) if peek::folds(name, "generatecontentrequest") => {
                each_model(fields, true, then)?;
            }
            value => each_model_in(value, then)?,
        }
    }
    Ok(())
}

fn each_model_in(
    value: &mut Value,
    then: &mut dyn FnMut(&mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| each_model_in(item, then)),
        Value::Object(fields) => each_model(fields, false, then),
        _ => Ok(()),
    }
}

/// Whether what begins with a quotation mark or a backslash may name something that is kept, or another model.
fn is_sign(text: &[u8]) -> bool {
    match text {
        // Letters may be written as escapes, which nobody does without a reason. Many do it with `<`, `>`, `&` and `'`.
        [b'\\', rest @ ..] => matches!(rest, [b'u', b'0', b'0', b'4'..=b'7', ..]),
        [_, rest @ ..] => SIGNS.iter().any(|sign| {
            let mut folded = rest.iter().filter(|byte| **byte != b'_').map(u8::to_ascii_lowercase);
            sign.bytes().all(|byte| folded.next() == Some(byte))
        }),
        [] => false,
    }
}

/// In small letters, without underscores.
const SIGNS: [&str; 18] = [
    "advisor",
    "audio\"",
    "cachedcontent\"",
    "container",
    "datasources\"",
    "fallbacks\"",
    "fileid",
    "filesearchstorenames\"",
    "fileuri\"",
    "imagegeneration\"",
    "imagegenerationcall\"",
    "itemreference\"",
    "moderation\"",
    "openrouter:",
    "prompt\"",
    "skillid\"",
    "vectorstoreids\"",
    "voice\"",
];

/// Arguments of tools and schemas may have what they like.
fn is_free(name: &str, is_root: bool, is_call: bool) -> bool {
    const FREE: [&str; 7] = ["args", "input_schema", "json", "metadata", "parameters", "response", "schema"];
    match name {
        "input" => is_call && !is_root,
        "metadata" => true,
        name => !is_root && FREE.contains(&name),
    }
}

fn is_call(fields: &Map<String, Value>) -> bool {
    fields.get("type").is_some_and(|kind| kind == "tool_use") || fields.contains_key("toolUseId")
}

fn collect(value: &Value, found: &mut Kept) -> Result<(), Error> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| collect(item, found)),
        Value::Object(fields) => object(fields, false, found),
        _ => Ok(()),
    }
}

fn object(fields: &Map<String, Value>, is_root: bool, found: &mut Kept) -> Result<(), Error> {
    match fields.get("type").and_then(Value::as_str) {
        Some("item_reference") => found.has_items = true,
        // Without the picture, OpenAI takes the one that it keeps.
        Some("image_generation_call") if !fields.get("result").is_some_and(Value::is_string) => {
            found.has_items = true;
        }
        Some("code_interpreter") => refuse_container(fields)?,
        Some("container_reference") => return Err(kept_here("container", "Ask for a new one.")),
        // What OpenAI itself wrote is for everybody.
        Some("custom" | "skill_reference") if is_skill(fields) => {
            return Err(kept_here("skills", "Send what it says."));
        }
        _ => {}
    }
    let is_heard = |audio: &Value| audio["id"].is_string();
    if fields.get("role").is_some_and(|role| role == "assistant") && fields.get("audio").is_some_and(is_heard)
    {
        return Err(kept_here("messages", "Send the words that were said."));
    }
    let is_call = is_call(fields);
    for (name, value) in fields.iter().filter(|(name, _)| !is_free(name, is_root, is_call)) {
        let is = |plain: &str| peek::folds(name, plain);
        let is_some = value.as_array().is_some_and(|list| !list.is_empty()) || value.is_string();
        match value {
            Value::String(id) if is("fileid") => found.files.push(id.clone()),
            Value::Array(ids) if is("fileids") => {
                found.files.extend(ids.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            Value::String(uri) if is("fileuri") && is_googles(uri) => {
                return Err(kept_here("fileUri", "Send the content as `inlineData`."));
            }
            _ if is_some && is("cachedcontent") => {
                return Err(kept_here("cachedContent", "Send the content itself."));
            }
            // Azure searches it as itself, whoever asks.
            _ if is_some && is("datasources") => {
                return Err(kept_here("data_sources", "Send what is to be searched, or a tool of your own."));
            }
            _ if is_some && (is("vectorstoreids") || is("filesearchstorenames")) => {
                return Err(kept_here("tools", "Send what is to be searched, or a tool of your own."));
            }
            Value::Object(voice) if is("voice") && voice.get("id").is_some_and(Value::is_string) => {
                return Err(kept_here("voice", "Choose one of those that everybody has."));
            }
            Value::Object(prompt) if is("prompt") && prompt.get("id").is_some_and(Value::is_string) => {
                return Err(kept_here("prompt", "Send its text."));
            }
            value => collect(value, found)?,
        }
    }
    Ok(())
}

fn is_skill(fields: &Map<String, Value>) -> bool {
    let id = fields.get("skill_id").and_then(Value::as_str);
    id.is_some_and(|id| !id.starts_with("openai-"))
}

/// Refuses items of a conversation that have an id and neither a type nor a role: OpenAI takes them for references to
/// kept ones.
pub(crate) fn refuse_bare_items(input: Option<&RawValue>) -> Result<(), Error> {
    let items = input.and_then(|input| serde_json::from_str::<Vec<&RawValue>>(input.get()).ok());
    for item in items.into_iter().flatten().filter(|item| item.get().starts_with('{')) {
        let [id, kind, role] = peek::fields(item.get().as_bytes(), ["id", "type", "role"], 0)?;
        if peek::is_set(id) && !peek::is_set(kind) && !peek::is_set(role) {
            return Err(kept_here("input", "Send the item itself."));
        }
    }
    Ok(())
}

/// Whether an address is of a file that Google keeps, and not of one that anybody can fetch.
pub(crate) fn is_googles(uri: &str) -> bool {
    let uri = peek::decoded(uri).unwrap_or(Cow::Borrowed(uri)).to_ascii_lowercase();
    uri.contains("generativelanguage") || uri.trim_start_matches('/').starts_with("files/")
}

/// A container is named by its id; a new one is asked for by an object without.
fn refuse_container(fields: &Map<String, Value>) -> Result<(), Error> {
    match fields.get("container") {
        Some(container) if container.is_string() || container["id"].is_string() => {
            Err(kept_here("container", "Ask for a new one."))
        }
        _ => Ok(()),
    }
}

pub(crate) fn kept_here(param: &str, instead: &str) -> Error {
    let message = format!("What the provider keeps for its customers cannot be referred to here. {instead}");
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
    use crate::front::Front as _;

    #[test]
    fn a_line_tells_its_model_and_where_it_stands() {
        let line = br#"{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{"model": "openai/gpt\u002d5","messages":[]}}"#;
        let read = super::line(line, 1).expect("a model");
        assert_eq!(read.model, "openai/gpt-5");
        assert_eq!(&line[read.model_at], br#""openai/gpt\u002d5""#);
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
            assert_eq!(super::line(line.as_bytes(), 7).expect_err(line).to_string(), message);
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
            (r#"{"type":"tool_use","toolUseId":"1","input":[{"content":[{"file_id":"file-1"}]}]}"#, "file-1"),
            (
                r#"{"tools":[{"type":"function","parameters":{"properties":{"file_id":{"type":"string"}}}}]}"#,
                "",
            ),
            (r#"{"content":"a \"file_id\" in words"}"#, ""),
            (r#"{"content":[{"type":"file","fileId":"file-1"},{"File_ID":"file-2"}]}"#, "file-1 file-2"),
            (r#"{"content":[{"toolResult":{"toolUseId":"1","content":[{"json":{"file_id":"mine"}}]}}]}"#, ""),
            (r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://e.com/a.pdf"}}]}]}"#, ""),
            (r#"{"tools":[{"type":"image_generation","input_image_mask":{"file_id":"file-1"}}]}"#, "file-1"),
            (r#"{"input":[{"output":{"type":"computer_screenshot","file_id":"file-1"}}]}"#, "file-1"),
            (
                r#"{"input":[{"type":"image_generation_call","id":"ig_1","result":"aaaa"}],"audio":{"voice":"alloy"}}"#,
                "",
            ),
            (
                r#"{"container":{"skills":[]},"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}"#,
                "",
            ),
        ] {
            assert_eq!(references(body.as_bytes()).expect(body).files.join(" "), expected, "{body}");
        }
    }

    #[test]
    fn nothing_else_that_is_kept_can_be_referred_to() {
        for body in [
            r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
            r#"{"input":[{"type":"image_generation_call","id":"ig_1"}]}"#,
            r#"{"input":"Hi","voice":{"id":"voice_1"}}"#,
            r#"{"audio":{"format":"wav","voice":{"id":"voice_1"}}}"#,
            r#"{"tools":[{"type":"code_interpreter","container":"cntr_1"}]}"#,
            r#"{"container":"container_1"}"#,
            r#"{"container":{"id":"container_1"}}"#,
            r#"{"messages":[{"role":"assistant","audio":{"id":"audio_1"}}]}"#,
            r#"{"tools":[{"type":"shell","environment":{"type":"container_reference","container_id":"cntr_1"}}]}"#,
            r#"{"tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]}"#,
            r#"{"tools":[{"fileSearch":{"file_search_store_names":["fileSearchStores/1"]}}]}"#,
            r#"{"container":{"skills":[{"type":"custom","skill_id":"skill_1","version":"latest"}]}}"#,
            r#"{"tools":[{"type":"shell","environment":{"type":"container_auto","skills":[{"type":"skill_reference","skill_id":"skill_1"}]}}]}"#,
            r#"{"data_sources":[{"type":"azure_search","parameters":{"index_name":"theirs","authentication":{"type":"system_assigned_managed_identity"}}}]}"#,
            r#"{"prompt":{"id":"pmpt_1"}}"#,
            r#"{"cachedContent":"cachedContents/1"}"#,
            r#"{"cached_content":"cachedContents/1"}"#,
            r#"{"c\u0061chedContent":"cachedContents/1"}"#,
            r#"{"CachedContent":"cachedContents/1"}"#,
            r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/1"}}]}]}"#,
            r#"{"contents":[{"parts":[{"file_data":{"file_uri":"HTTPS:\/\/GenerativeLanguage.googleapis.com/v1beta/files/1"}}]}]}"#,
            r#"{"contents":[{"parts":[{"file_data":{"file_ur\u0069":"https://%67enerativelanguage.googleapis.com/v1beta/files/1"}}]}]}"#,
            r#"{"contents":{"parts":{"fileData":{"fileUri":"files/1"}}}}"#,
        ] {
            let error = references(body.as_bytes()).expect_err(body);
            assert!(matches!(error, Error::Unsupported { .. }), "{body}: {error}");
        }
    }

    #[test]
    fn models_beside_the_one_asked_for_are_found() {
        for (body, expected) in [
            (
                r#"{"model":"m","tools":[{"type":"image_generation","model":"gpt-image-2","svg":{"model":"gpt-5"}}]}"#,
                "gpt-image-2 gpt-5",
            ),
            (
                r#"{"model":"m","tools":[{"type":"advisor_20260301","name":"advisor","model":"claude-opus-5"}]}"#,
                "claude-opus-5",
            ),
            (
                r#"{"model":"m","tools":[{"type":"openrouter:image_generation","parameters":{"model":"a/b"}}]}"#,
                "a/b",
            ),
            (r#"{"model":"m","fallbacks":[{"model":"a"},{"m\u006fdel":"b","max_tokens":1}]}"#, "a b"),
            (r#"{"model":"m","moderation":{"model":"omni-moderation-latest"}}"#, "omni-moderation-latest"),
            (r#"{"model":"m","moderation":"low","metadata":{"model":"x"}}"#, ""),
            (
                r#"{"model":"m","tools":[{"type":"image_generation"},{"type":"function","parameters":{"default":{"model":"x"}}}]}"#,
                "",
            ),
            (r#"{"generate_content_request":{"model":"models/m","cachedContent":null}}"#, ""),
            (r#"{"model":"m","messages":[{"role":"user","content":"which \"model\"?"}]}"#, ""),
        ] {
            assert_eq!(references(body.as_bytes()).expect(body).models.join(" "), expected, "{body}");
        }
    }

    #[test]
    fn an_item_of_no_type_and_nobodys_is_a_reference() {
        let is_refused = |input: &str| {
            let body = format!(r#"{{"model":"openai/gpt-5","input":{input}}}"#);
            let peeked = crate::dialect::responses::Responses.peek("/v1/responses", body.as_bytes());
            let line = format!(r#"{{"body":{body}}}"#);
            assert_eq!(peeked.is_err(), super::line(line.as_bytes(), 1).is_err(), "{input}");
            peeked.is_err()
        };
        for input in [
            r#"[{"id":"msg_1"}]"#,
            r#"[{"role":"user","content":"Hi"},{"type":null,"id":"msg_1"}]"#,
            r#"[{"\u0069d":"msg_1","role":null}]"#,
        ] {
            assert!(is_refused(input), "{input}");
        }
        for input in [
            r#""Hi""#,
            r#"["a",[1,2]]"#,
            r#"[{"role":"assistant","id":"msg_1","content":"Hi"}]"#,
            r#"[{"type":"reasoning","id":"rs_1","summary":[]}]"#,
        ] {
            assert!(!is_refused(input), "{input}");
        }
    }

    #[test]
    fn what_is_written_for_a_page_is_not_looked_through() {
        // Would be refused if it were.
        let body = r#"{"messages":[{"content":"\u003cb\u003e \u0026 \u0027 \ud800"}]}"#;
        assert_eq!(references(body.as_bytes()), Ok(References::default()));
    }

    #[test]
    fn a_batch_is_made_from_nothing_but_a_file() {
        assert_eq!(input_file(br#"{"input_file_id":"file-1"}"#).expect("a file"), "file-1");
        for body in [
            r#"{}"#,
            r#"{"input_file_id":"file-1","input_file_id":"file-2"}"#,
            r#"{"input_file_id":"file-1","Input_File_Id":"file-2"}"#,
            r#"{"input_file_id":"file-1","input_blob":"https://e.blob.core.windows.net/a.jsonl"}"#,
        ] {
            assert!(input_file(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_body_that_cannot_be_looked_through_is_refused() {
        let deep = format!(r#"{{"file_id":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        let many = format!(r#"{{"file_id":[{}1]}}"#, "1,".repeat(1_000_000));
        for body in [
            r#"{"a":"\ud800","file_id":"file-1"}"#,
            r#"{"a":1e999,"file_id":"file-1"}"#,
            r#"{"file":{"file_id":"file-theirs","file_id":"file-mine"}}"#,
            &deep,
            &many,
        ] {
            assert!(references(body.as_bytes()).is_err(), "{}", &body[..40.min(body.len())]);
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
            assert!(super::line(line.as_bytes(), 1).is_err(), "{line}");
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
