//! What providers and callers speak: one module a protocol.

pub(crate) mod arguments;
pub mod bend;
pub mod chat_completions;
pub mod cohere;
pub mod converse;
pub mod generate_content;
pub mod messages;
pub mod ollama;
pub mod responses;
pub(crate) mod turns;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};
use serde_json::Value;

use crate::{
    Error, ErrorClass, Target, UpstreamError, chat,
    fields::Object,
    provider::{self, Auth},
    sse,
    usage::ServiceTier,
};

/// A provider's protocol. Makes an HTTP request from a unified one, and unified events of the answer.
pub trait Dialect: Sync {
    /// The unified request, as this API wants it.
    fn encode(&self, request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error>;
    /// A whole 2xx answer, as the events a stream would have given.
    fn decode(&self, body: &[u8]) -> Result<Vec<chat::Event>, UpstreamError>;
    /// A fresh decoder for one streamed answer.
    fn decoder(&self) -> Box<dyn Decoder>;
    /// What names of tools this target takes; see [`bend`].
    fn tool_names(&self, _target: &Target<'_>) -> bend::ToolNames {
        bend::OPENAI_NAMES
    }
    /// Whether this target cannot bind the answer to the schema this request wants; see [`bend`].
    fn lacks_schema(&self, _request: &chat::Request, _target: &Target<'_>) -> bool {
        false
    }
    /// Whether an answer cannot be told to be a JSON object without a schema; see [`bend`].
    fn lacks_json(&self) -> bool {
        false
    }
    /// A non-2xx answer, as our error.
    fn error(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError;
}

/// A translated request.
#[derive(Debug)]
pub struct Encoded {
    /// Ready to send.
    pub request: Request<Bytes>,
    /// Fields of the caller's body left out because the answer means the same without them.
    pub dropped: Vec<String>,
    /// What of the answer must be undone.
    pub bent: bend::Bent,
}

impl Encoded {
    /// A request of which nothing has to be undone.
    pub fn new(request: Request<Bytes>, dropped: Vec<String>) -> Self {
        Self { request, dropped, bent: bend::Bent::default() }
    }

    /// A request made of the caller's own bytes: with the betas the provider takes, and the others named.
    pub(crate) fn forwarded(request: Request<Bytes>, headers: &HeaderMap, target: &Target<'_>) -> Self {
        let (taken, dropped) = target.provider.betas_for(target.model).sort(headers);
        let mut encoded = Self::new(request, dropped);
        provider::ask_for(taken.as_ref(), encoded.request.headers_mut());
        encoded
    }
}

/// Reads one streamed answer. Chunks may be cut anywhere.
pub trait Decoder {
    /// Takes the next chunk; appends what became clear to `events`. A failure inside the stream is an
    /// [`chat::Event::Error`].
    fn feed(&mut self, chunk: &[u8], events: &mut Vec<chat::Event>);
    /// The stream was closed properly. Says so with an error event if the answer was not whole.
    fn finish(&mut self, events: &mut Vec<chat::Event>);
}

/// What is read of a stream that comes in these pieces and is closed.
#[cfg(test)]
pub(crate) fn decoded(decoder: &mut dyn Decoder, pieces: &[&[u8]]) -> Vec<chat::Event> {
    let mut events = Vec::new();
    for piece in pieces {
        decoder.feed(piece, &mut events);
    }
    decoder.finish(&mut events);
    events
}

/// The part of a decoder that differs between protocols that stream server-sent events.
pub(crate) trait OnEvent {
    /// Reads one event.
    fn event(&mut self, event: sse::Event<'_>, events: &mut Vec<chat::Event>) -> Result<(), UpstreamError>;
    /// Whether the answer has come to its end.
    fn is_whole(&self) -> bool;
}

/// A [`Decoder`] over server-sent events.
pub(crate) struct SseDecoder<T> {
    splitter: sse::Splitter,
    failed: bool,
    inner: T,
}

impl<T: OnEvent> SseDecoder<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { splitter: sse::Splitter::default(), failed: false, inner }
    }

    fn read(inner: &mut T, failed: &mut bool, raw: &[u8], events: &mut Vec<chat::Event>) {
        // After a failure nothing that follows can be trusted.
        if *failed {
            return;
        }
        let Some(event) = sse::parse(raw) else { return };
        if let Err(error) = inner.event(event, events) {
            *failed = true;
            events.push(chat::Event::Error(error));
        }
    }
}

impl<T: OnEvent> Decoder for SseDecoder<T> {
    fn feed(&mut self, chunk: &[u8], events: &mut Vec<chat::Event>) {
        let Self { splitter, failed, inner } = self;
        splitter.feed(chunk, |raw| Self::read(inner, failed, raw, events));
    }

    fn finish(&mut self, events: &mut Vec<chat::Event>) {
        let Self { splitter, failed, inner } = self;
        let had_failed = *failed;
        Self::read(inner, failed, splitter.held(), events);
        match events.last_mut() {
            // Half an event cannot be read.
            Some(chat::Event::Error(error)) if !had_failed && error.class == ErrorClass::Garbled => {
                *error = UpstreamError::truncated();
            }
            _ if !*failed && !inner.is_whole() => {
                events.push(chat::Event::Error(UpstreamError::truncated()));
            }
            _ => {}
        }
    }
}

/// How many tool calls an answer may have where each is compared with all others: far more than any model makes.
pub(crate) const MAX_CALLS: usize = 1_000;

/// A JSON POST to `url` with the target's credential.
pub(crate) fn post(
    url: String,
    target: &Target<'_>,
    body: impl Into<Bytes>,
) -> Result<Request<Bytes>, Error> {
    let mut request = Request::post(url)
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .body(body.into())
        .map_err(|_| Error::invalid("model", "the model's name cannot be part of an address"))?;
    let Some(credential) = target.credential else { return Ok(request) };
    let (name, value) = match target.provider.auth {
        Auth::Header(name) => (http::HeaderName::from_static(name), HeaderValue::from_str(credential)),
        Auth::Bearer | Auth::Optional => {
            (header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {credential}")))
        }
    };
    let mut value = value.map_err(|_| {
        // A line break at the end of a pasted secret; sent on it would be a header injection.
        UpstreamError::new(ErrorClass::Auth, "the configured credential cannot be sent as a header")
    })?;
    value.set_sensitive(true);
    request.headers_mut().insert(name, value);
    Ok(request)
}

/// What a translation does with [`chat::Request::extra`]: refuses what changes the answer's meaning, lists
/// the rest as dropped.
pub(crate) fn drop_extra(extra: &[chat::Extra], dropped: &mut Vec<String>) -> Result<(), Error> {
    for chat::Extra { name, instead, .. } in extra {
        if let Some(instead) = instead {
            let message = format!("`{name}` cannot be translated for this model. {instead}");
            return Err(Error::unsupported(name, message));
        }
        dropped.push(name.clone());
    }
    Ok(())
}

/// Refuses one call at a time where a model may call as many as it likes. Where no tool may be called at all, the wish
/// is but named.
pub(crate) fn refuse_one_call(request: &chat::Request, dropped: &mut Vec<String>) -> Result<(), Error> {
    const NAME: &str = "parallel_tool_calls";
    if request.parallel_tool_calls != Some(false) || request.tools.is_empty() {
        return Ok(());
    }
    // One that must be called is called, mostly once: so SDKs ask for an object.
    let is_plain = match &request.tool_choice {
        Some(chat::ToolChoice::None | chat::ToolChoice::Function(_)) => true,
        Some(chat::ToolChoice::Required) => request.tools.len() == 1,
        _ => false,
    };
    if is_plain {
        dropped.push(NAME.to_owned());
        return Ok(());
    }
    let message = "`parallel_tool_calls` cannot be false with this model: it decides by itself how many tools it calls \
                   at once. Leave the field out and answer each call, or choose another model.";
    Err(Error::unsupported(NAME, message))
}

/// What of an answer no event can tell.
#[derive(Debug, Default)]
pub(crate) struct Unsaid(Vec<String>);

impl Unsaid {
    /// Names a kind of content the first time it comes.
    pub(crate) fn tell(&mut self, place: &str, kind: &str, events: &mut Vec<chat::Event>) {
        let kind: String =
            kind.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_').take(40).collect();
        let name = format!("{place}.{kind}");
        if self.0.len() < MAX_KINDS && !self.0.contains(&name) {
            let is_media = ["audio", "image", "video"].iter().any(|media| kind.contains(media));
            self.0.push(name.clone());
            events.push(chat::Event::Unsaid { name, is_media });
        }
    }
}

/// More kinds of content than any protocol has.
const MAX_KINDS: usize = 32;

/// Adds a name to those of what the caller is not given, as a header has them.
pub(crate) fn add_name(names: &mut String, name: &str) {
    if !names.is_empty() {
        names.push(',');
    }
    names.push_str(name);
}

/// A text, where it says something.
pub(crate) fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A whole number at this path of a usage; `None` where there is none, or something else.
pub(crate) fn count(usage: &Value, path: &str) -> Option<u64> {
    usage.pointer(path).and_then(Value::as_u64)
}

/// A text at this path of an answer, where it says something.
pub(crate) fn text(value: &Value, path: &str) -> Option<String> {
    value.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Names the hints that a target has no words for: marks for a prompt cache, the wish to be told sources.
pub(crate) fn drop_hints(request: &chat::Request, caches: bool, cites: bool, dropped: &mut Vec<String>) {
    let is_marked = || {
        parts(request).any(|part| matches!(part, chat::Part::CachePoint(_)))
            || request.tools.iter().any(|tool| tool.cache.is_some())
    };
    if !caches && is_marked() {
        dropped.push("cache_control".to_owned());
    }
    if !cites && parts(request).any(|part| matches!(part, chat::Part::File(file) if file.cited)) {
        dropped.push("citations".to_owned());
    }
}

/// All that is said and shown, in results of tools too.
fn parts(request: &chat::Request) -> impl Iterator<Item = &chat::Part> {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    parts.flat_map(|part| match part {
        chat::Part::ToolResult(result) => result.parts.as_slice(),
        other => std::slice::from_ref(other),
    })
}

fn is_detailed(part: &chat::Part) -> bool {
    matches!(part, chat::Part::Image(chat::Image { detail: Some(_), .. }))
}

/// How closely a picture is to be looked at. What is not known is left.
pub(crate) fn detail(object: &mut Object<'_>) -> Option<chat::Detail> {
    let detail = match object.map.get("detail")?.as_str()? {
        // As without the field.
        "auto" => None,
        "high" => Some(chat::Detail::High),
        "low" => Some(chat::Detail::Low),
        _ => return None,
    };
    object.map.remove("detail");
    detail
}

/// What a target has words for, of how a request is to be served and filed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Serves {
    /// How closely pictures are looked at.
    pub(crate) details: bool,
    /// Filed under these labels.
    pub(crate) labels: bool,
    /// The fields of OpenAI's that it knows.
    pub(crate) openais: &'static [&'static str],
    /// The end user by `safety_identifier`, too.
    pub(crate) safety: bool,
    /// At this price.
    pub(crate) tier: bool,
}

/// What a request is filed under, as most call it; a [`crate::front::Front`] may have another name.
pub(crate) const LABELS: &str = "metadata";

/// Names what a target has no words for of how a request is to be served and filed.
pub(crate) fn drop_service(request: &chat::Request, has: Serves, dropped: &mut Vec<String>) {
    let unknown = request.openais.iter().map(|(name, _)| *name).filter(|name| !has.openais.contains(name));
    let two_names = request.safety_identifier.is_some()
        && request.user.is_some()
        && request.user != request.safety_identifier;
    // Whoever has one price serves at the standard one.
    let tier = request.service_tier.is_some_and(|tier| tier != ServiceTier::Standard);
    let rest = [
        ("image_url.detail", !has.details && parts(request).any(is_detailed)),
        (LABELS, !request.labels.is_empty() && !has.labels),
        ("safety_identifier", two_names && !has.safety),
        ("service_tier", tier && !has.tier),
    ];
    let rest = rest.into_iter().filter(|(_, lost)| *lost).map(|(name, _)| name);
    dropped.extend(unknown.chain(rest).map(str::to_owned));
}

/// Names Gemini's signatures of calls, which only Gemini takes back.
pub(crate) fn drop_call_signatures(request: &chat::Request, dropped: &mut Vec<String>) {
    for (at, message) in request.messages.iter().enumerate() {
        let calls = message.parts.iter().filter_map(|part| match part {
            chat::Part::ToolCall(call) => Some(call),
            _ => None,
        });
        let signed = calls.enumerate().filter(|(_, call)| call.signature.is_some());
        dropped.extend(signed.map(|(call, _)| format!("messages[{at}].tool_calls[{call}].extra_content")));
    }
}

/// The price a caller wishes, in the words of OpenAI, Anthropic, Google, Amazon and Groq. What is not known is left.
pub(crate) fn service_tier(object: &mut Object<'_>, name: &str) -> Option<ServiceTier> {
    let word = object.map.get(name)?.as_str()?.to_ascii_lowercase();
    let tier = match word.as_str() {
        // As without the field.
        "auto" | "unspecified" => None,
        "default" | "on_demand" | "standard" | "standard_only" => Some(ServiceTier::Standard),
        "flex" => Some(ServiceTier::Flex),
        "fast" | "priority" => Some(ServiceTier::Priority),
        _ => return None,
    };
    object.map.remove(name);
    tier
}

/// What a request is filed under: a map of texts. Anything else is left.
pub(crate) fn labels(object: &mut Object<'_>, name: &str) -> Vec<(String, String)> {
    match object.map.remove(name) {
        Some(Value::Object(map)) if map.values().all(Value::is_string) => {
            let text = |value| if let Value::String(text) = value { text } else { String::new() };
            map.into_iter().map(|(name, value)| (name, text(value))).collect()
        }
        Some(other) => {
            object.map.insert(name.to_owned(), other);
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// The labels as an object, if there are any and the target takes them all: in number, and each name and value.
pub(crate) fn labels_within(
    request: &chat::Request,
    most: usize,
    fits: impl Fn(&str, &str) -> bool,
) -> Option<Value> {
    let labels = &request.labels;
    let all_fit = labels.len() <= most && labels.iter().all(|(name, value)| fits(name, value));
    let object = || labels.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    (!labels.is_empty() && all_fit).then(|| Value::Object(object()))
}

/// What a document says, where it is text: it can be read by everybody. Its name comes first.
pub(crate) fn plain_text(file: &chat::File, field: &str) -> Result<Option<String>, Error> {
    let data = match &file.media {
        chat::Media::Data { media_type, data }
            if media_type.starts_with("text/") || media_type == "application/json" =>
        {
            data
        }
        _ => return Ok(None),
    };
    let text = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| {
        let message = format!("`{field}` must hold UTF-8 text in base64, as its media type says.");
        Error::invalid(field, message)
    })?;
    Ok(Some(file.name.as_deref().map(|name| format!("{name}:\n\n{text}")).unwrap_or(text)))
}

/// Those of these fields of OpenAI's own that say something.
pub(crate) fn openais(object: &mut Object<'_>, names: &[&'static str]) -> chat::Openais {
    let say = |name: &&'static str| Some((*name, object.take(name)?));
    let said = names.iter().filter_map(say);
    // The length that is so anyway.
    said.filter(|(name, value)| *name != chat::VERBOSITY || value != "medium").collect()
}

/// What the signature of an empty block of thought begins with where it is that of the tool call behind it. Begins
/// itself like every signature of Gemini's, so that Claude never gets to see it.
pub(crate) const CALL_SIGNATURE: &str = "google:call:";

/// Puts each signature that travelled in a block of its own back on its call.
pub(crate) fn with_call_signatures(parts: Vec<chat::Part>) -> Vec<chat::Part> {
    let mut carried = None;
    let mut whole = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            chat::Part::Reasoning(chat::Reasoning { signature: Some(signature), .. })
                if signature.starts_with(CALL_SIGNATURE) =>
            {
                carried = signature.strip_prefix(CALL_SIGNATURE).map(str::to_owned);
            }
            chat::Part::ToolCall(mut call) => {
                call.signature = carried.take();
                whole.push(chat::Part::ToolCall(call));
            }
            other => whole.push(other),
        }
    }
    whole
}

/// Whether a signature over thought is Claude's own. Claude refuses any other; those that other providers'
/// dialects make begin with a name and a colon, which base64 has not.
pub(crate) fn is_claudes(signature: &str) -> bool {
    !signature.contains(':')
}

/// The wait a provider asks for in its headers: `retry-after-ms`, or `retry-after` in seconds.
pub(crate) fn retry_after_ms(headers: &HeaderMap) -> Option<i64> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let ms = number("retry-after-ms").or_else(|| Some(number("retry-after")? * 1000.0))?;
    wait_ms(ms)
}

/// A wait that can be reckoned with. One of more than a year is none to be believed.
pub(crate) fn wait_ms(ms: f64) -> Option<i64> {
    const YEAR_MS: f64 = 365.0 * 86_400_000.0;
    (0.0..=YEAR_MS).contains(&ms).then(|| ms.ceil() as i64)
}
