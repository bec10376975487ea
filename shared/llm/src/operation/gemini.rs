//! What Gemini's generateContent makes beside text: pictures and speech, in base64 inside the answer.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::json as wire;
use crate::{Error, ErrorClass, Target, UpstreamError, Usage, sigv4};

/// A request for an answer in one modality.
pub(super) fn request(
    prompt: &str,
    modality: &str,
    config: (&str, Value),
    target: &Target<'_>,
) -> Result<Request<Bytes>, Error> {
    let mut generation = json!({ "responseModalities": [modality] });
    if !config.1.is_null() {
        generation[config.0] = config.1;
    }
    let contents = json!([{ "role": "user", "parts": [{ "text": prompt }] }]);
    let body = json!({ "contents": contents, "generationConfig": generation });
    let path = format!("/v1beta/models/{}:generateContent", sigv4::encode(target.model));
    wire::send(&body, target, &path)
}

/// What an answer holds: its parts, as pairs of media type and base64, and what was used.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) parts: Vec<(String, String)>,
    pub(super) usage: Option<Usage>,
}

/// Reads an answer. One without anything in it was withheld.
pub(super) fn made(body: &[u8]) -> Result<Made, UpstreamError> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| UpstreamError::garbled("it is not JSON"))?;
    let candidate = &answer["candidates"][0];
    let parts = candidate["content"]["parts"].as_array().into_iter().flatten();
    let parts: Vec<(String, String)> = parts
        .filter_map(|part| {
            let data = &part["inlineData"];
            Some((data["mimeType"].as_str()?.to_owned(), data["data"].as_str()?.to_owned()))
        })
        .collect();
    if parts.is_empty() {
        let why = answer["promptFeedback"]["blockReason"].as_str().or(candidate["finishReason"].as_str());
        return Err(match why {
            Some(why) if why != "STOP" => {
                UpstreamError::new(ErrorClass::Content, format!("the provider made nothing: {why}"))
            }
            _ => UpstreamError::garbled("there is nothing in it"),
        });
    }
    Ok(Made { parts, usage: usage(&answer["usageMetadata"]) })
}

fn usage(usage: &Value) -> Option<Usage> {
    let count = |name: &str| usage[name].as_u64();
    let of = |modality: &str| {
        let details = usage["candidatesTokensDetails"].as_array().into_iter().flatten();
        details
            .filter(|detail| detail["modality"] == modality)
            .filter_map(|detail| detail["tokenCount"].as_u64())
            .fold(0, u64::saturating_add)
    };
    let thoughts = count("thoughtsTokenCount").unwrap_or(0);
    Some(Usage {
        input_tokens: count("promptTokenCount")?,
        output_tokens: count("candidatesTokenCount").unwrap_or(0).saturating_add(thoughts),
        reasoning_output_tokens: thoughts,
        image_output_tokens: of("IMAGE"),
        audio_output_tokens: of("AUDIO"),
        ..Usage::default()
    })
}
