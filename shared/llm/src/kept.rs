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
        let References { files, models: others, clouds, in_texts } = references(body)?;
        let [input] = peek::fields(body, ["input"], 0)?;
        refuse_bare_items(input)?;
        if has_bare_thought(input)? {
            let instead = "Send `reasoning` items with their `encrypted_content`, which `include` asks for, or leave them out.";
            return Err(kept_here("input", instead));
        }
        // No provider that makes batches reads any.
        if let Some(cloud) = clouds.first() {
            return Err(cloud.refusal("Lines of a batch must bring what they are about."));
        }
        // Who owns them would have to be asked for each line.
        if let Some(file) = files.first().or(in_texts.first()) {
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
    /// will not answer. Where a tool asks one that the body does not name, what those are called that it may ask:
    /// `gpt-image-*`.
    pub models: Vec<String>,
    /// What is in a cloud, and would be read there with the identity of whoever owns the credential.
    pub clouds: Vec<Cloud>,
    /// Kept files, in the midst of a text; for providers that look for them there.
    pub in_texts: Vec<String>,
}

/// Something in a cloud: a file in a bucket, a store to be searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloud {
    /// The field that names it.
    field: String,
    /// Its name, as it was written.
    name: String,
}

impl Cloud {
    fn new(field: &str, name: &Value) -> Self {
        // What has no name is opened by none.
        Self { field: field.to_owned(), name: name.as_str().unwrap_or_default().to_owned() }
    }

    /// Whether one of these is its name, or that of a place it is in. A name that two readers could take for two
    /// places is in none.
    pub fn is_within(&self, places: &[String]) -> bool {
        let name = &self.name;
        let is_plain = |letter: char| !letter.is_control() && !matches!(letter, '%' | '\\' | '?' | '#');
        let path = name.split_once("://").map_or(name.as_str(), |(_, path)| path);
        let is_part = |part: &str| !matches!(part, "" | "." | "..");
        name.chars().all(is_plain)
            && path.split('/').all(is_part)
            && places.iter().any(|place| {
                let rest = name.strip_prefix(place.trim_end_matches('/'));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }

    /// Why it is not read.
    pub fn refusal(&self, instead: &str) -> Error {
        let Self { field, name } = self;
        let message = format!(
            "`{field}` refers to `{name}`, which would be read with the gateway's own identity in that cloud. {instead}"
        );
        Error::unsupported(field, message)
    }
}

/// Refuses what is in a cloud and not within one of these places.
pub fn check_clouds(clouds: &[Cloud], places: &[String]) -> Result<(), Error> {
    match clouds.iter().find(|cloud| !cloud.is_within(places)) {
        Some(cloud) => Err(cloud.refusal(
            "Send the content itself or a public address, or have the gateway's operator name it in CLOUD_FILES.",
        )),
        None => Ok(()),
    }
}

/// Whether something can be a place in a cloud: `gs://bucket/…`, `s3://bucket/…`, `projects/…`, `https://…`.
pub fn is_place(place: &str) -> bool {
    let begins = ["gs://", "s3://", "projects/", "https://"].iter().find_map(|head| place.strip_prefix(head));
    begins.is_some_and(|rest| !rest.trim_matches('/').is_empty())
        && Cloud { field: String::new(), name: place.trim_end_matches('/').to_owned() }
            .is_within(&[place.to_owned()])
}

/// What a call's body refers to. Most bodies refer to nothing, and are only searched. What a provider keeps beside files
/// cannot be told apart by tenant, so a body that refers to that is refused.
///
/// A name counts in any spelling that some server takes for it: letters as escapes, Google's two manners of writing it,
/// capitals.
pub fn references(body: &[u8]) -> Result<References, Error> {
    // One pass, which files and pictures in base64 do not slow down: they have neither of the two.
    if !memchr::memchr2_iter(b'"', b'\\', body).any(|at| is_sign(&body[at..]))
        && memchr::memmem::find(body, IN_TEXT.as_bytes()).is_none()
    {
        return Ok(References::default());
    }
    // Strictly, for what is passed over here a provider may still read: a second field of a name above all.
    let mut fields = fields::body(body)?.map;
    let Kept { files, has_items, clouds } = kept_in(&fields)?;
    if has_items {
        return Err(kept_here("input", "Send the item itself."));
    }
    let mut found = References { files, clouds, ..References::default() };
    fields.values().for_each(|value| in_texts(value, &mut found.in_texts));
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
    /// What is in a cloud.
    pub(crate) clouds: Vec<Cloud>,
}

/// Ids of files in texts.
fn in_texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let ids = text.split(IN_TEXT).skip(1);
            let id = |rest: &str| {
                let is_id = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
                rest.chars().take_while(|letter| is_id(*letter)).collect()
            };
            found.extend(ids.map(id));
        }
        Value::Array(items) => items.iter().for_each(|item| in_texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| in_texts(value, found)),
        _ => {}
    }
}

/// What DashScope has before the id of a file.
const IN_TEXT: &str = "fileid://";

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
    for mut model in unnamed(fields, is_root) {
        then(&mut model)?;
    }
    let is_call = is_call(fields);
    // A tool that OpenRouter runs has its settings where a function has its schema.
    let is_run =
        fields.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("openrouter:"));
    for (name, value) in fields {
        let is = |plain: &&str| peek::folds(name, plain);
        match value {
            Value::String(text) if !is_root && OTHERS.iter().any(is) => then(text)?,
            Value::Object(fields) if is_run && name == "parameters" => each_model(fields, false, then)?,
            _ if is_free(name, is_root, is_call) || is_root && name == "tool_choice" => {}
            // The whole of what is to be counted.
            Value::Object(fields) if peek::folds(name, "generatecontentrequest") => {
                each_model(fields, true, then)?;
            }
            value => each_model_in(value, then)?,
        }
    }
    Ok(())
}

/// What a field is called that names a model: everybody's, that of Vertex's rankers, and Groq's two.
const OTHERS: [&str; 4] = ["answeringmodel", "model", "modelname", "reasoningmodel"];

/// What those models are called that may be asked without being named.
fn unnamed(fields: &Map<String, Value>, is_root: bool) -> Vec<String> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let kind = text("type").unwrap_or_default();
    let mut found = Vec::new();
    // OpenAI chooses one of its own.
    if kind == "image_generation" && text("model").is_none() {
        found.push("gpt-image-*".to_owned());
    }
    if let Some(tool) = kind.strip_prefix("openrouter:") {
        let named = fields.get("parameters").is_some_and(|settings| settings["model"].is_string());
        if !named && !ASK_NOBODY.contains(&tool) {
            found.push(kind.to_owned());
        }
    }
    if is_root {
        found.extend(text("preset").map(|preset| format!("@preset/{preset}")));
        let plugins = fields.get("plugins").and_then(Value::as_array).into_iter().flatten();
        let ids = plugins.map(|plugin| plugin["id"].as_str().unwrap_or_default());
        found.extend(ids.filter(|id| !ASK_NOBODY.contains(id)).map(|id| format!("@plugin/{id}")));
    }
    found
}

/// What OpenRouter runs without asking another model.
const ASK_NOBODY: [&str; 7] =
    ["context-compression", "datetime", "file-parser", "response-healing", "web", "web_fetch", "web_search"];

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
        // Below the blank nothing is seen, and some do not see it either.
        [b'\\', rest @ ..] => matches!(rest, [b'u', b'0', b'0', b'0' | b'1' | b'4'..=b'7', ..]),
        [_, rest @ ..] => {
            let folded = || rest.iter().filter(|byte| **byte != b'_').map(u8::to_ascii_lowercase);
            let first = folded().next();
            let mut signs = SIGNS.iter().map(|sign| sign.bytes()).filter(|sign| sign.clone().next() == first);
            signs.any(|mut sign| folded().zip(&mut sign).all(|(is, should)| is == should) && sign.len() == 0)
                || has_odd_scheme(rest)
        }
        [] => false,
    }
}

/// Whether a text begins as an address that is not of the web. Many who read addresses pass over blanks and breaks in
/// them.
fn has_odd_scheme(text: &[u8]) -> bool {
    let mut scheme = [0; 16];
    let mut length = 0;
    let mut letters = text.iter().copied();
    while let Some(letter) = letters.next() {
        match letter {
            b' ' => {}
            b'\\' if letters.next().is_some_and(|escape| b"bfnrt".contains(&escape)) => {}
            b':' => {
                let mut rest = letters.filter(|letter| *letter != b' ');
                return matches!(rest.next(), Some(b'/' | b'\\')) && !is_webs(&scheme[..length]);
            }
            letter if is_of_scheme(letter) && length < scheme.len() => {
                scheme[length] = letter.to_ascii_lowercase();
                length += 1;
            }
            _ => return false,
        }
    }
    false
}

fn is_of_scheme(letter: u8) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, b'+' | b'-' | b'.' | b'%')
}

fn is_webs(scheme: &[u8]) -> bool {
    [&b"data"[..], b"http", b"https", b"ws", b"wss"].contains(&scheme)
}

/// The scheme of an address that is not of the web.
fn odd_scheme(address: &str) -> Option<String> {
    let letters = address.chars().filter(|letter| !letter.is_control() && !letter.is_whitespace());
    let head: String = letters.take(64).collect();
    let head = head.to_ascii_lowercase().replace("%3a", ":").replace("%2f", "/");
    let (scheme, rest) = head.split_once(':')?;
    let is_one = !scheme.is_empty() && scheme.bytes().all(is_of_scheme) && rest.starts_with('/');
    (is_one && !is_webs(scheme.as_bytes())).then(|| scheme.to_owned())
}

/// Whether what is called so is an address.
fn is_address(name: &str) -> bool {
    let end = name.len().checked_sub(3).and_then(|at| name.get(at..));
    end.is_some_and(|end| end.eq_ignore_ascii_case("uri") || end.eq_ignore_ascii_case("url"))
}

/// In small letters, without underscores.
const SIGNS: [&str; 26] = [
    "advisor",
    "apikeysecret",
    "audio\"",
    "cachedcontent\"",
    "compoundcustom\"",
    "container",
    "datasources\"",
    "externalapi\"",
    "fallbacks\"",
    "fileid",
    "filesearchstorenames\"",
    "fileuri\"",
    "imagegeneration\"",
    "imagegenerationcall\"",
    "itemreference\"",
    "moderation\"",
    "openrouter:",
    "plugins\"",
    "preset\"",
    "prompt\"",
    "s3location\"",
    "skillid\"",
    "vectorstoreids\"",
    "vertexaisearch\"",
    "vertexragstore\"",
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
            Value::String(address) if is_address(name) => match odd_scheme(address).as_deref() {
                // Moonshot's and DashScope's uploads.
                Some("fileid" | "ms" | "oss") => return Err(kept_here(name, "Send the content itself.")),
                Some(_) => found.clouds.push(Cloud::new(name, value)),
                None => {}
            },
            Value::Null => {}
            _ if is("s3location") => found.clouds.push(Cloud::new(name, &value["uri"])),
            _ if is("apikeysecret") || is("apikeysecretversion") => {
                found.clouds.push(Cloud::new(name, value))
            }
            // Called by Google, as the gateway if the caller wishes.
            Value::Object(service) if is("externalapi") => {
                found.clouds.push(Cloud::new(name, service.get("endpoint").unwrap_or(&Value::Null)));
                collect(value, found)?;
            }
            Value::Object(store) if is("vertexaisearch") || is("vertexragstore") => {
                let known = found.clouds.len();
                stores(store, &mut found.clouds);
                if found.clouds.len() == known {
                    found.clouds.push(Cloud::new(name, &Value::Null));
                }
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

/// What is searched.
fn stores(fields: &Map<String, Value>, found: &mut Vec<Cloud>) {
    const NAMES: [&str; 4] = ["datastore", "engine", "ragcorpora", "ragcorpus"];
    for (name, value) in fields {
        let is_store = NAMES.iter().any(|plain| peek::folds(name, plain));
        match value {
            Value::Array(list) => {
                for item in list {
                    match item {
                        Value::Object(fields) => stores(fields, found),
                        item if is_store => found.push(Cloud::new(name, item)),
                        _ => {}
                    }
                }
            }
            Value::Object(fields) => stores(fields, found),
            Value::Null => {}
            value if is_store => found.push(Cloud::new(name, value)),
            _ => {}
        }
    }
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

/// Whether items have thought of the model that is not with them: OpenAI looks for what it keeps under their ids.
pub(crate) fn has_bare_thought(input: Option<&RawValue>) -> Result<bool, Error> {
    let items = input.and_then(|input| serde_json::from_str::<Vec<&RawValue>>(input.get()).ok());
    for item in items.into_iter().flatten().filter(|item| item.get().starts_with('{')) {
        let [kind, thought] = peek::fields(item.get().as_bytes(), ["type", "encrypted_content"], 0)?;
        let is_thought =
            kind.is_some_and(|kind| peek::text(kind, "type").is_ok_and(|kind| kind == "reasoning"));
        let is_there = |thought: &RawValue| peek::text(thought, "").is_ok_and(|thought| !thought.is_empty());
        if is_thought && !thought.is_some_and(is_there) {
            return Ok(true);
        }
    }
    Ok(false)
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
    fn what_is_in_a_cloud_is_found_in_every_spelling() {
        for (body, expected) in [
            (r#"{"contents":[{"parts":[{"fileData":{"fileUri":"gs://b/o"}}]}]}"#, "gs://b/o"),
            (r#"{"contents":[{"parts":[{"file_data":{"file_uri":"GS:\/\/b/o"}}]}]}"#, "GS://b/o"),
            (r#"{"contents":[{"parts":[{"fileData":{"file\u0055ri":" \tgs://b/o"}}]}]}"#, " \tgs://b/o"),
            (r#"{"contents":[{"parts":[{"fileData":{"fileUri":"gs%3A%2F%2Fb/o"}}]}]}"#, "gs%3A%2F%2Fb/o"),
            (
                r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"gs://b/o"}}]}]}"#,
                "gs://b/o",
            ),
            (
                r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"g\u000as://b/o"}}]}]}"#,
                "g\ns://b/o",
            ),
            (
                r#"{"messages":[{"content":[{"type":"image_url","image_url":"file:///etc/passwd"}]}]}"#,
                "file:///etc/passwd",
            ),
            (
                r#"{"messages":[{"content":[{"document":{"source":{"s3Location":{"uri":"s3://b/o"}}}}]}]}"#,
                "s3://b/o",
            ),
            (
                r#"{"messages":[{"content":[{"document":{"source":{"S3_Location":{"URI":"s3://b/o"}}}}]}]}"#,
                "",
            ),
            (r#"{"tools":[{"retrieval":{"vertexAiSearch":{"datastore":"projects/p/d"}}}]}"#, "projects/p/d"),
            (
                r#"{"tools":[{"retrieval":{"vertex_ai_search":{"engine":"e","dataStoreSpecs":[{"data_store":"d"}]}}}]}"#,
                "d e",
            ),
            (
                r#"{"tools":[{"retrieval":{"vertexRagStore":{"ragResources":[{"ragCorpus":"c"}],"rag_corpora":["d"]}}}]}"#,
                "c d",
            ),
            (r#"{"tools":[{"retrieval":{"vertexRagStore":{}}}]}"#, ""),
            (
                r#"{"tools":[{"retrieval":{"externalApi":{"endpoint":"https://e.com","apiAuth":{"apiKeyConfig":{"apiKeySecretVersion":"projects/p/secrets/s"}}}}}]}"#,
                "https://e.com projects/p/secrets/s",
            ),
        ] {
            let found = references(body.as_bytes()).expect(body).clouds;
            assert!(!found.is_empty(), "{body}");
            let mut names: Vec<&str> = found.iter().map(|cloud| cloud.name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names.join(" "), expected, "{body}");
            assert!(check_clouds(&found, &[]).is_err(), "{body}");
            let line = format!(r#"{{"body":{{"model":"m",{}}}"#, &body[1..]);
            assert!(super::line(line.as_bytes(), 1).is_err(), "{line}");
        }
        for body in [
            r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://e.com/gs://b"}}]}]}"#,
            r#"{"contents":[{"parts":[{"text":"gs://b/o"},{"functionCall":{"args":{"uri":"gs://b/o"}}}]}]}"#,
            r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,aaaa"}}]}]}"#,
            r#"{"tools":[{"type":"mcp","server_url":"https://e.com"}],"text":"Note: /path"}"#,
        ] {
            assert_eq!(references(body.as_bytes()), Ok(References::default()), "{body}");
        }
        // Uploads are nobody's own.
        for body in [
            r#"{"messages":[{"content":[{"type":"video_url","video_url":{"url":"ms://file-1"}}]}]}"#,
            r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"OSS://dashscope/1"}}]}]}"#,
        ] {
            assert!(references(body.as_bytes()).is_err(), "{body}");
        }
        let body = r#"{"messages":[{"role":"system","content":"fileid://file-fe-1,fileid://file-fe-2"}]}"#;
        assert_eq!(references(body.as_bytes()).expect("read").in_texts, ["file-fe-1", "file-fe-2"]);
    }

    #[test]
    fn a_place_in_a_cloud_opens_what_is_in_it_and_nothing_else() {
        let places =
            ["gs://open/public/", "s3://all", "projects/p/locations/l/collections/c"].map(str::to_owned);
        for (name, expected) in [
            ("gs://open/public/a.pdf", true),
            ("gs://open/public/a/b.pdf", true),
            ("s3://all/a", true),
            ("s3://all", true),
            ("projects/p/locations/l/collections/c/dataStores/d", true),
            ("gs://open/publicly/a.pdf", false),
            ("gs://open/a.pdf", false),
            ("gs://open/public/../a.pdf", false),
            ("gs://open/public/./a.pdf", false),
            ("gs://open/public//a.pdf", false),
            ("gs://open/public/%2e%2e/a.pdf", false),
            ("gs://open/public\\..\\a.pdf", false),
            ("gs://open/public/a?b", false),
            ("GS://open/public/a.pdf", false),
            ("gs://Open/public/a.pdf", false),
            (" gs://open/public/a.pdf", false),
            ("s3://all-of-them/a", false),
            ("projects/p/locations/l/collections/c2", false),
            ("", false),
        ] {
            let cloud = Cloud { field: "fileUri".to_owned(), name: name.to_owned() };
            assert_eq!(cloud.is_within(&places), expected, "{name}");
            assert!(!cloud.is_within(&[]), "{name}");
        }
        for place in ["gs://b", "s3://b/p/", "projects/p", "https://e.com/search"] {
            assert!(is_place(place), "{place}");
        }
        for none in ["", "/", "gs://", "gs:///", "b", "gs://b/../c", "gs://b//", "*", "projects/"] {
            assert_eq!(is_place(none), none == "gs://b//", "{none}");
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
                "gpt-image-*",
            ),
            (
                r#"{"model":"m","compound_custom":{"models":{"reasoning_model":"a","answering_model":"b"}}}"#,
                "a b",
            ),
            (
                r#"{"model":"m","preset":"mine","plugins":[{"id":"web"},{"id":"auto-router"}]}"#,
                "@preset/mine @plugin/auto-router",
            ),
            (
                r#"{"model":"m","tools":[{"type":"openrouter:web_search"},{"type":"openrouter:image_generation","parameters":{}}]}"#,
                "openrouter:image_generation",
            ),
            (
                r#"{"model":"m","tools":[{"retrieval":{"vertexRagStore":{"rag_retrieval_config":{"ranking":{"llmRanker":{"modelName":"a"}}}}}}]}"#,
                "a",
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
            r#"[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}]"#,
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
            r#""input":[{"type":"reasoning","id":"rs_1","summary":[]}]"#,
            r#""messages":[{"role":"system","content":"fileid://file-fe-1"}]"#,
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
