//! Calls that carry files: sound to be written down or translated, pictures to be changed. Callers and providers
//! speak OpenAI's API, so a form is passed on, byte for byte but for the model's name.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use memchr::memmem;
use serde::de::IgnoredAny;
use serde_json::{Value, value::RawValue};

use super::{Answered, Ask, Delivery, Operation, Outgoing, Streamed, Whole};
use crate::{
    Error, ErrorClass, Provider, Target, UpstreamError, Usage,
    dialect::{
        chat_completions::{ChatCompletions, error, forward::inner_error},
        post,
    },
    front::{ErrorBody, Front, Peek},
    multipart::Scanner,
    peek,
    provider::Api,
    relay::{Ending, Passed, Relay, Summary},
    sse,
};

/// A kind of call with a form.
pub struct Form {
    name: &'static str,
    /// Below a provider's address.
    path: &'static str,
    providers: &'static [&'static str],
}

/// `/v1/audio/transcriptions`: sound, written down.
pub const TRANSCRIPTION: Form =
    Form { name: "transcription", path: "/audio/transcriptions", providers: LISTENERS };

/// `/v1/audio/translations`: sound, written down in English.
pub const TRANSLATION: Form = Form {
    name: "translation",
    path: "/audio/translations",
    providers: &["azure", "deepinfra", "fireworks", "groq", "openai", "together", "vllm"],
};

/// `/v1/images/edits`: pictures, changed.
pub const IMAGE_EDIT: Form =
    Form { name: "image_edit", path: "/images/edits", providers: &["azure", "deepinfra", "openai", "vllm"] };

/// `/v1/images/variations`: pictures like a picture.
pub const IMAGE_VARIATION: Form =
    Form { name: "image_variation", path: "/images/variations", providers: &["deepinfra", "openai"] };

const LISTENERS: &[&str] =
    &["azure", "deepinfra", "fireworks", "groq", "mistral", "openai", "sambanova", "together", "vllm"];

/// Fireworks listens at other addresses than it chats at.
pub const FIREWORKS_LISTENS: [&str; 2] =
    ["https://audio-prod.api.fireworks.ai/v1", "https://audio-turbo.api.fireworks.ai/v1"];

impl Operation for Form {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_offered(&self, provider: &Provider) -> bool {
        self.providers.contains(&provider.name)
    }

    fn form(&self) -> Option<&'static [&'static str]> {
        Some(&["model"])
    }

    fn peek<'a>(&self, _path: &'a str, headers: &'a HeaderMap, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        let mut scanner = Scanner::new(content_type(headers), &["model"])?;
        // In pieces, for each is copied on the way.
        for piece in body.chunks(1 << 16) {
            scanner.feed(piece, &mut |_, _| Ok(()))?;
        }
        let Some(model) = scanner.field("model") else {
            return Err(Error::invalid("model", "`model` is required: `provider/model` or an alias."));
        };
        Ok(Peek { model: model.value.clone().into(), model_at: Some(model.at.clone()), ..Peek::default() })
    }

    fn request(&self, ask: &Ask<'_>, target: &Target<'_>) -> Result<Outgoing, Error> {
        let base_url = match target.provider {
            Provider { name: "fireworks", base_url, .. } if target.base_url == *base_url => {
                FIREWORKS_LISTENS[usize::from(target.model.ends_with("turbo"))]
            }
            _ => target.base_url,
        };
        let at = ask.peek.model_at.clone().expect("a form is peeked at with its model");
        let body = [&ask.body[..at.start], target.model.as_bytes(), &ask.body[at.end..]].concat();
        let mut request = post(format!("{base_url}{}", self.path), target, body)?;
        let content_type =
            ask.headers.get(header::CONTENT_TYPE).expect("a form was read by its content type");
        request.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
        Ok(Outgoing::new(request, Delivery::AsAnswered))
    }

    fn failure(&self, _provider: &Provider, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
        let mut error = Api::ChatCompletions.dialect().error(status, headers, body);
        // Elsewhere too much is a long conversation; here it is a large file.
        if error.class == ErrorClass::ContextLength {
            error.class = ErrorClass::Invalid;
        }
        error
    }

    fn answer(
        &self,
        _ask: &Ask<'_>,
        _provider: &Provider,
        first: Whole,
        _more: Vec<Whole>,
    ) -> Result<Answered, UpstreamError> {
        let content_type = first.headers.get(header::CONTENT_TYPE).cloned();
        let kind = content_type.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        // Subtitles and plain text come under several names; a web page is none of them.
        let is_text = kind.starts_with("text/") && !kind.starts_with("text/html")
            || kind.starts_with("application/x-subrip");
        let summary = if is_text { Summary::default() } else { summary(&first.body)? };
        let json = HeaderValue::from_static("application/json");
        Ok(Answered { body: first.body, content_type: content_type.unwrap_or(json), summary })
    }

    fn relay(&self, ask: &Ask<'_>, _provider: &Provider, _headers: &HeaderMap) -> Streamed {
        let relay = Watch { request_id: ask.id.to_owned(), ..Watch::default() };
        let content_type = HeaderValue::from_static("text/event-stream; charset=utf-8");
        Streamed { content_type, relay: Box::new(relay) }
    }

    fn error(&self, status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        ChatCompletions.error(status, error)
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What a whole answer in JSON says about itself.
fn summary(body: &[u8]) -> Result<Summary, UpstreamError> {
    let Ok([error, text, data, used, duration, model]) =
        peek::fields(body, ["error", "text", "data", "usage", "duration", "model"], 0)
    else {
        let is_empty = body.trim_ascii().is_empty();
        return Err(UpstreamError::garbled(if is_empty { "it was empty" } else { "it is not JSON" }));
    };
    if let Some(error) = error.filter(|error| error.get() != "null") {
        return Err(inner_error(error));
    }
    let value = |raw: Option<&RawValue>| {
        raw.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok()).unwrap_or_default()
    };
    // Pictures are long, and none of them is looked at.
    let pictures = data.and_then(|data| serde_json::from_str::<Vec<IgnoredAny>>(data.get()).ok());
    if pictures.is_none() && text.is_none() {
        return Err(UpstreamError::garbled("it has neither `text` nor `data`"));
    }
    let mut used = usage(&value(used));
    // Whisper says how long the sound was and calls it nothing of usage.
    if let (None, Some(audio_ms)) = (&used, milliseconds(&value(duration))) {
        used = Some(Usage { audio_ms, ..Usage::default() });
    }
    if let Some(pictures) = pictures {
        used = Some(Usage { images: pictures.len() as u64, ..used.unwrap_or_default() });
    }
    let response_model = value(model).as_str().map(str::to_owned);
    Ok(Summary { response_model, usage: used, ..Summary::default() })
}

/// Usage as OpenAI's APIs beside chat tell it: by tokens or by time; Mistral by both.
pub fn usage(value: &Value) -> Option<Usage> {
    let usage = value.as_object()?;
    let count = |names: &[&str]| names.iter().find_map(|name| usage.get(*name)?.as_u64());
    let detail = |kind: &str, name: &str| {
        let details =
            usage.get(&format!("{kind}_token_details")).or(usage.get(&format!("{kind}_tokens_details")));
        details.and_then(|details| details.get(name)?.as_u64()).unwrap_or_default()
    };
    let audio_ms =
        ["seconds", "prompt_audio_seconds"].iter().find_map(|name| milliseconds(usage.get(*name)?));
    let input = count(&["input_tokens", "prompt_tokens"]);
    let output = count(&["output_tokens", "completion_tokens"]);
    input.or(output).or(audio_ms)?;
    Some(Usage {
        input_tokens: input.unwrap_or_default(),
        cache_read_input_tokens: detail("input", "cached_tokens"),
        audio_input_tokens: detail("input", "audio_tokens"),
        image_input_tokens: detail("input", "image_tokens"),
        output_tokens: output.unwrap_or_default(),
        reasoning_output_tokens: detail("output", "reasoning_tokens"),
        audio_output_tokens: detail("output", "audio_tokens"),
        image_output_tokens: detail("output", "image_tokens"),
        audio_ms: audio_ms.unwrap_or_default(),
        ..Usage::default()
    })
}

/// A length of time, in milliseconds. OpenAI has told it as a number and as a text.
fn milliseconds(value: &Value) -> Option<u64> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    (seconds.is_finite() && seconds >= 0.0).then(|| (seconds * 1000.0).round() as u64)
}

/// Passes a stream of events on and reads how it ends.
#[derive(Default)]
struct Watch {
    splitter: sse::Splitter,
    summary: Summary,
    is_whole: bool,
    request_id: String,
}

impl Watch {
    /// Reads an event. Those with a picture are long; only the last one tells anything.
    fn note(&mut self, raw: &[u8]) {
        let tells = |needle: &[u8]| memmem::find(raw, needle).is_some();
        if !(tells(b".done\"") || tells(b".completed\"") || tells(b"\"error\"") || tells(b"[DONE]")) {
            return;
        }
        let Some(event) = sse::parse(raw) else { return };
        if event.data.trim_ascii() == b"[DONE]" {
            self.is_whole = true;
            return;
        }
        let Ok([kind, used, error]) = peek::fields(&event.data, ["type", "usage", "error"], 0) else {
            self.summary.error = Some(UpstreamError::garbled("a chunk of the stream is not JSON"));
            return;
        };
        if let Some(error) = error.filter(|error| error.get() != "null") {
            self.summary.error = Some(inner_error(error));
            return;
        }
        let kind = kind.map_or("", |kind| kind.get());
        if !kind.ends_with(".done\"") && !kind.ends_with(".completed\"") {
            return;
        }
        self.is_whole = true;
        let told = used.and_then(|used| usage(&serde_json::from_str(used.get()).ok()?));
        let before = self.summary.usage.take();
        let images = before.map_or(0, |usage| usage.images) + u64::from(kind.ends_with(".completed\""));
        if let Some(told) = told.or(before).or((images > 0).then(Usage::default)) {
            self.summary.usage = Some(Usage { images, ..told });
        }
    }

    fn fail(&mut self, failure: UpstreamError, out: &mut Vec<u8>) {
        error::event(&ErrorBody::upstream(&failure, Some(&self.request_id)), out);
        self.summary.error = Some(failure);
    }
}

impl Relay for Watch {
    fn chunk(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Passed {
        if self.summary.error.is_some() {
            return Passed::Instead;
        }
        if self.splitter.held().len() + bytes.len() > MAX_EVENT_BYTES {
            self.fail(UpstreamError::garbled("one event is larger than 16 MiB"), out);
            return Passed::Instead;
        }
        let is_fresh = self.splitter.held().is_empty();
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.feed(bytes, |raw| {
            if self.summary.error.is_none() {
                self.note(raw);
                out.extend_from_slice(raw);
            }
        });
        self.splitter = splitter;
        if is_fresh && out.len() == bytes.len() {
            out.clear();
            return Passed::AsIs;
        }
        Passed::Instead
    }

    fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        if self.summary.error.is_some() {
            return;
        }
        // The last event may lack its blank line.
        let held = self.splitter.held().to_vec();
        if ending == Ending::Closed && !held.is_empty() {
            self.note(&held);
            if self.is_whole && self.summary.error.is_none() {
                out.extend_from_slice(&held);
                out.extend_from_slice(b"\n\n");
            }
        }
        match ending {
            _ if self.is_whole => {}
            Ending::Closed => self.fail(UpstreamError::truncated(), out),
            Ending::Failed(failure) => self.fail(failure, out),
        }
    }

    fn summary(&self) -> &Summary {
        &self.summary
    }
}

const MAX_EVENT_BYTES: usize = 16 << 20;
