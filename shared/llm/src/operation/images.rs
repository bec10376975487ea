//! Pictures from words, for callers of OpenAI's `/v1/images/generations`.
//!
//! Gemini differs in that
//!
//! - its own models make one picture a request, and Imagen's some;
//! - a size is a ratio of the sides;
//! - pictures come in the answer, never as an address, and not bit by bit;
//! - a picture that was withheld is an answer without one.

use bytes::Bytes;
use http::{HeaderMap, Request};
use serde_json::{Value, json};

use super::{Answered, Ask, Delivery, Operation, Outgoing, Streamed, Whole, events, gemini, json as wire};
use crate::{
    Error, ErrorClass, Provider, Target, UpstreamError, Usage, fields, front::Peek, provider::Offer,
    relay::Summary, sigv4,
};

/// What a provider speaks for pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagesApi {
    /// Google's, for Gemini's models and Imagen's.
    Gemini,
    /// OpenAI's.
    OpenAi,
    /// OpenAI's, but for streams.
    Whole,
}

/// `POST /v1/images/generations`.
pub struct Images;

impl Operation for Images {
    fn name(&self) -> &'static str {
        "image_generation"
    }

    fn is_offered(&self, provider: &Provider) -> bool {
        api(provider).is_some()
    }

    fn peek<'a>(&self, _path: &'a str, _headers: &'a HeaderMap, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        wire::peek(body, "prompt")
    }

    fn request(&self, ask: &Ask<'_>, target: &Target<'_>) -> Result<Outgoing, Error> {
        match api(target.provider) {
            Some(ImagesApi::Gemini) => return Wish::parse(ask.body)?.encode(target),
            Some(ImagesApi::Whole) if ask.peek.stream => {
                return Err(Error::unsupported("stream", COMES_WHOLE));
            }
            _ => {}
        }
        let request = wire::forward(ask, target, "/images/generations")?;
        Ok(Outgoing::new(request, Delivery::of(ask.peek.stream)))
    }

    fn answer(
        &self,
        ask: &Ask<'_>,
        provider: &Provider,
        first: Whole,
        more: Vec<Whole>,
    ) -> Result<Answered, UpstreamError> {
        if api(provider) == Some(ImagesApi::Gemini) {
            return decode(ask, &first, &more);
        }
        let summary = summary(&first.body)?;
        Ok(Answered::json(first.body, summary))
    }

    fn relay(&self, ask: &Ask<'_>, _provider: &Provider, _headers: &HeaderMap) -> Streamed {
        events::relay(&["image_generation.completed"], pictures, ask.id)
    }
}

/// What a whole answer says: tokens where the model counts them, pictures always.
fn summary(body: &[u8]) -> Result<Summary, UpstreamError> {
    let summary = wire::summary(body, "data")?;
    let [data, ..] = wire::members(body, ["data", "", "", "error"])?;
    let count = wire::list(data.ok_or_else(|| UpstreamError::garbled("it has no `data`"))?)?.len();
    let usage = summary.usage.unwrap_or_default();
    Ok(Summary { usage: Some(pictures(usage, count as u64)), ..summary })
}

/// A picture model that does not tell its output apart has made nothing else.
fn pictures(usage: Usage, images: u64) -> Usage {
    let image_output_tokens = match usage.image_output_tokens {
        0 => usage.output_tokens,
        told => told,
    };
    Usage { images, image_output_tokens, ..usage }
}

fn api(provider: &Provider) -> Option<ImagesApi> {
    provider.offered(|offer| if let Offer::Images(api) = offer { Some(api) } else { None })
}

/// What is to be made, as far as Gemini can.
struct Wish {
    prompt: String,
    count: u64,
    ratio: Option<&'static str>,
    dropped: Vec<String>,
}

impl Wish {
    fn parse(body: &[u8]) -> Result<Self, Error> {
        let cannot = |field: &str, why: &str| Err(Error::unsupported(field, why));
        let mut body = fields::body(body)?;
        body.take("model");
        let prompt = body.required_text("prompt", "what the picture is to show")?;
        if body.boolean("stream")? == Some(true) {
            return cannot("stream", COMES_WHOLE);
        }
        body.take("partial_images");
        if body.text("response_format")?.is_some_and(|format| format != "b64_json") {
            return cannot("response_format", "This model's pictures have no address. Ask for `b64_json`.");
        }
        if body.text("output_format")?.is_some_and(|format| format != "png") {
            return cannot("output_format", "This model's pictures are PNG. Ask for `png`.");
        }
        if body.text("background")?.is_some_and(|background| background == "transparent") {
            return cannot("background", "This model cannot leave the background out. Ask for `auto`.");
        }
        let count = body.count("n")?.unwrap_or(1);
        if count > MAX_IMAGES {
            return cannot("n", "`n` may be at most 10.");
        }
        let ratio = match body.text("size")?.as_deref() {
            None | Some("auto") => None,
            Some(size) => match ratio(size) {
                Some(ratio) => Some(ratio),
                None => {
                    let ratios = RATIOS.map(|(ratio, ..)| ratio).join(", ");
                    let message = format!(
                        "`size` is a width and a height (`1024x1024`) in one of the ratios {ratios}."
                    );
                    return cannot("size", &message);
                }
            },
        };
        let dropped =
            body.map.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).collect();
        Ok(Self { prompt, count, ratio, dropped })
    }

    fn encode(self, target: &Target<'_>) -> Result<Outgoing, Error> {
        let Self { prompt, count, ratio, dropped } = self;
        let outgoing = if target.model.starts_with("imagen") {
            Outgoing::new(predict(&prompt, count, ratio, target)?, Delivery::Whole)
        } else {
            let config = ratio.map_or(Value::Null, |ratio| json!({ "aspectRatio": ratio }));
            let one = || gemini::request(&prompt, "IMAGE", ("imageConfig", config.clone()), target);
            let more = (1..count).map(|_| one()).collect::<Result<_, _>>()?;
            Outgoing { more, ..Outgoing::new(one()?, Delivery::Whole) }
        };
        Ok(Outgoing { dropped, ..outgoing })
    }
}

fn predict(
    prompt: &str,
    count: u64,
    ratio: Option<&str>,
    target: &Target<'_>,
) -> Result<Request<Bytes>, Error> {
    let mut parameters = json!({ "sampleCount": count });
    if let Some(ratio) = ratio {
        parameters["aspectRatio"] = json!(ratio);
    }
    let body = json!({ "instances": [{ "prompt": prompt }], "parameters": parameters });
    wire::send(&body, target, &format!("/v1beta/models/{}:predict", sigv4::encode(target.model)))
}

fn decode(ask: &Ask<'_>, first: &Whole, more: &[Whole]) -> Result<Answered, UpstreamError> {
    let (mut data, mut usage) = (Vec::new(), Some(Usage::default()));
    for whole in std::iter::once(first).chain(more) {
        let made = match wire::members(&whole.body, ["predictions", "", "", "error"])?[0] {
            Some(predictions) => predicted(&wire::value(predictions))?,
            None => gemini::made(&whole.body)?,
        };
        data.extend(made.parts.into_iter().map(|(_, picture)| json!({ "b64_json": picture })));
        usage = usage.zip(made.usage).map(|(all, one)| all.plus(&one));
    }
    let images = data.len() as u64;
    let mut body = json!({ "created": ask.created, "data": data });
    // Imagen counts nothing but pictures.
    if let Some(Usage { input_tokens, output_tokens, .. }) = usage.filter(|usage| usage.input_tokens > 0) {
        body["usage"] = json!({
            "input_tokens": input_tokens, "output_tokens": output_tokens,
            "total_tokens": input_tokens.saturating_add(output_tokens),
        });
    }
    let usage = usage.map(|usage| Usage { images, ..usage });
    Ok(Answered::json(body.to_string(), Summary { usage, ..Summary::default() }))
}

fn predicted(predictions: &Value) -> Result<gemini::Made, UpstreamError> {
    let mut parts = Vec::new();
    for prediction in predictions.as_array().into_iter().flatten() {
        if let Some(picture) = prediction["bytesBase64Encoded"].as_str() {
            parts.push((String::new(), picture.to_owned()));
        } else if let Some(why) = prediction["raiFilteredReason"].as_str() {
            return Err(UpstreamError::new(ErrorClass::Content, why));
        }
    }
    if parts.is_empty() {
        return Err(UpstreamError::new(ErrorClass::Content, "the provider made nothing and did not say why"));
    }
    Ok(gemini::Made { parts, usage: Some(Usage::default()) })
}

/// The ratio of a size in pixels, where Google has it.
fn ratio(size: &str) -> Option<&'static str> {
    let (width, height) = size.split_once('x')?;
    let (width, height): (u32, u32) = (width.parse().ok()?, height.parse().ok()?);
    let found = RATIOS
        .iter()
        .find(|(_, wide, high)| width > 0 && u64::from(width) * high == u64::from(height) * wide);
    found.map(|(ratio, ..)| *ratio)
}

const RATIOS: [(&str, u64, u64); 10] = [
    ("1:1", 1, 1),
    ("2:3", 2, 3),
    ("3:2", 3, 2),
    ("3:4", 3, 4),
    ("4:3", 4, 3),
    ("4:5", 4, 5),
    ("5:4", 5, 4),
    ("9:16", 9, 16),
    ("16:9", 16, 9),
    ("21:9", 21, 9),
];

const COMES_WHOLE: &str = "This model's pictures come whole. Leave out `stream`.";

const MAX_IMAGES: u64 = 10;
