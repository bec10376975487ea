//! Calls that carry files: sound to be written down or translated, pictures to be changed. Callers and providers
//! speak OpenAI's API, so a form is passed on, byte for byte but for the model's name.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Answered, Ask, Delivery, Operation, Outgoing, Streamed, Whole, events, json as wire};
use crate::{
    Error, ErrorClass, Provider, Target, UpstreamError, Usage,
    dialect::{chat_completions::ChatCompletions, post},
    front::{ErrorBody, Front, Peek},
    multipart::Scanner,
    peek,
    provider::{Api, Offer},
    relay::Summary,
};

/// A kind of call with a form.
pub struct Form {
    name: &'static str,
    /// Below a provider's address.
    path: &'static str,
    offer: Offer,
    /// The types of the last event of a stream.
    last: &'static [&'static str],
}

/// `/v1/audio/transcriptions`: sound, written down.
pub const TRANSCRIPTION: Form = Form {
    name: "transcription",
    path: "/audio/transcriptions",
    offer: Offer::Transcriptions,
    // OpenAI's and Mistral's.
    last: &["transcript.text.done", "transcription.done"],
};

/// `/v1/audio/translations`: sound, written down in English.
pub const TRANSLATION: Form =
    Form { name: "translation", path: "/audio/translations", offer: Offer::Translations, last: &[] };

/// `/v1/images/edits`: pictures, changed.
pub const IMAGE_EDIT: Form = Form {
    name: "image_edit",
    path: "/images/edits",
    offer: Offer::ImageEdits,
    last: &["image_edit.completed"],
};

/// `/v1/images/variations`: pictures like a picture.
pub const IMAGE_VARIATION: Form =
    Form { name: "image_variation", path: "/images/variations", offer: Offer::ImageVariations, last: &[] };

/// Fireworks listens at other addresses than it chats at.
pub const FIREWORKS_LISTENS: [&str; 2] =
    ["https://audio-prod.api.fireworks.ai/v1", "https://audio-turbo.api.fireworks.ai/v1"];

impl Operation for Form {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_offered(&self, provider: &Provider) -> bool {
        provider.offers.contains(&self.offer)
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

    fn failure(&self, _ask: &Ask<'_>, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
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
        let content_type = content_type.unwrap_or(json);
        Ok(Answered { content_type, ..Answered::json(first.body, summary) })
    }

    fn relay(&self, ask: &Ask<'_>, _provider: &Provider, _headers: &HeaderMap) -> Streamed {
        let pictures = self.offer == Offer::ImageEdits;
        let used = if pictures { |usage, images| Usage { images, ..usage } } else { |usage, _| usage };
        events::relay(self.last, used, ask.id)
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
    let [text, pictures, used, _] = wire::members(body, ["text", "data", "usage", "error"])?;
    // Whisper says how long the sound was and calls it nothing of usage.
    let [duration, model] = peek::fields(body, ["duration", "model"], 0).unwrap_or_default();
    if text.or(pictures).is_none() {
        return Err(UpstreamError::garbled("it has neither `text` nor `data`"));
    }
    let mut used = used.and_then(wire::tokens);
    if let (None, Some(audio_ms)) =
        (&used, duration.and_then(|duration| wire::milliseconds(&wire::value(duration))))
    {
        used = Some(Usage { audio_ms, ..Usage::default() });
    }
    if let Some(pictures) = pictures {
        let images = wire::list(pictures)?.len() as u64;
        used = Some(Usage { images, ..used.unwrap_or_default() });
    }
    let response_model = model.and_then(|model| wire::value(model).as_str().map(str::to_owned));
    Ok(Summary { response_model, usage: used, ..Summary::default() })
}
