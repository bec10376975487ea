//! Words said aloud, for callers of OpenAI's `/v1/audio/speech`. Sound is passed on as it comes.
//!
//! Gemini's speech comes whole, as bare samples in base64: a caller gets them as `pcm`, or in a `wav` file. Formats
//! that need an encoder are refused, and so is what has no place in its request.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json, value::RawValue};

use super::{
    Answered, Ask, Delivery, Operation, Outgoing, Streamed, Whole, bytes, events, gemini, json as wire,
};
use crate::{
    Error, Provider, Target, UpstreamError, Usage, fields, front::Peek, peek, provider::Offer, relay::Summary,
};

/// What a provider speaks for speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeechApi {
    /// Google's generateContent, with Gemini's TTS models.
    Gemini,
    /// OpenAI's.
    OpenAi,
}

/// `POST /v1/audio/speech`.
pub struct Speech;

impl Operation for Speech {
    fn name(&self) -> &'static str {
        "speech"
    }

    fn is_offered(&self, provider: &Provider) -> bool {
        api(provider).is_some()
    }

    fn peek<'a>(&self, _path: &'a str, _headers: &'a HeaderMap, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        // Sound needs no wish to come bit by bit.
        wire::peek(body, "input").map(|peek| Peek { stream: true, ..peek })
    }

    fn request(&self, ask: &Ask<'_>, target: &Target<'_>) -> Result<Outgoing, Error> {
        if api(target.provider) == Some(SpeechApi::Gemini) {
            return encode(ask.body, target);
        }
        Ok(Outgoing::new(wire::forward(ask, target, "/audio/speech")?, Delivery::AsItComes))
    }

    fn answer(
        &self,
        ask: &Ask<'_>,
        _provider: &Provider,
        first: Whole,
        _more: Vec<Whole>,
    ) -> Result<Answered, UpstreamError> {
        let gemini::Made { parts, usage } = gemini::made(&first.body)?;
        let (media_type, data) = &parts[0];
        let samples = BASE64.decode(data).map_err(|_| UpstreamError::garbled("its sound is no base64"))?;
        let summary = Summary { usage, ..Summary::default() };
        let [format, _] = texts(ask.body, ["response_format", "input"]);
        let (content_type, body) = match format.as_deref() {
            Some("pcm") => ("audio/pcm", samples),
            _ => ("audio/wav", wav(rate(media_type)?, &samples)),
        };
        let content_type = HeaderValue::from_static(content_type);
        Ok(Answered { content_type, ..Answered::json(body, summary) })
    }

    fn relay(&self, ask: &Ask<'_>, _provider: &Provider, headers: &HeaderMap) -> Streamed {
        let media_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        if media_type.starts_with(b"text/event-stream") {
            return events::relay(&["speech.audio.done"], |usage, _| usage, ask.id);
        }
        let [_, input] = texts(ask.body, ["response_format", "input"]);
        let usage = input.map(|input| Usage { characters: input.chars().count() as u64, ..Usage::default() });
        bytes::relay(headers, Summary { usage, ..Summary::default() })
    }
}

fn api(provider: &Provider) -> Option<SpeechApi> {
    provider.offered(|offer| if let Offer::Speech(api) = offer { Some(api) } else { None })
}

/// Two texts of the caller's body, as far as they are texts.
fn texts(body: &[u8], names: [&'static str; 2]) -> [Option<String>; 2] {
    let found: [Option<&RawValue>; 2] = peek::fields(body, names, 0).unwrap_or_default();
    found.map(|raw| peek::text(raw?, "").ok().map(std::borrow::Cow::into_owned))
}

fn encode(body: &[u8], target: &Target<'_>) -> Result<Outgoing, Error> {
    let cannot = |field: &str, why: &str| Err(Error::unsupported(field, why));
    let mut body = fields::body(body)?;
    body.take("model");
    let input = body.required_text("input", "what is to be said")?;
    let voice = body.required_text("voice", "one of the provider's voices")?;
    if !matches!(body.text("response_format")?.as_deref(), Some("wav" | "pcm")) {
        return cannot("response_format", "This model speaks `wav` and `pcm` only. Ask for one of them.");
    }
    if body.text("stream_format")?.is_some_and(|format| format != "audio") {
        return cannot("stream_format", "This model's sound comes whole. Leave out `stream_format`.");
    }
    if body.take("instructions").is_some() {
        return cannot("instructions", "This model takes directions in the text. Put them into `input`.");
    }
    if body.take("speed").is_some_and(|speed| speed.as_f64() != Some(1.0)) {
        return cannot("speed", "This model has no `speed`. Ask for it in `input`.");
    }
    let dropped = body.map.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).collect();
    let config: Value = json!({ "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": voice } } });
    let request = gemini::request(&input, "AUDIO", ("speechConfig", config), target)?;
    Ok(Outgoing { dropped, ..Outgoing::new(request, Delivery::Whole) })
}

/// Samples a second, of `audio/L16;codec=pcm;rate=24000`.
fn rate(media_type: &str) -> Result<u32, UpstreamError> {
    let rate = media_type.split(';').find_map(|part| part.trim().strip_prefix("rate=")?.parse().ok());
    rate.filter(|_| media_type.to_ascii_lowercase().starts_with("audio/l16"))
        .ok_or_else(|| UpstreamError::garbled("its sound is not the samples this model promises"))
}

/// A file of one channel of 16-bit samples, little end first.
fn wav(rate: u32, samples: &[u8]) -> Vec<u8> {
    let size = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(samples.len() + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&size.saturating_add(36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&rate.saturating_mul(2).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&size.to_le_bytes());
    file.extend_from_slice(samples);
    file
}
