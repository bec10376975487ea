//! What the operations beside chat have in common: bodies in OpenAI's manner, forwarded or read a few fields deep.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, value::RawValue};

use super::Ask;
use crate::{
    Error, Target, UpstreamError, Usage,
    dialect::{chat_completions::forward::inner_error, post},
    front::Peek,
    peek,
    relay::Summary,
};

/// Reads what the gateway needs of a body: the model, the wish for a stream, the end user; and that what is needed
/// beside the model is there at all.
pub(super) fn peek<'a>(body: &'a [u8], needed: &'static str) -> Result<Peek<'a>, Error> {
    let [model, stream, wanted, user] = peek::fields(body, ["model", "stream", needed, "user"], 3)?;
    let (model, model_at) = peek::model(model, body)?;
    if wanted.is_none_or(is_null) {
        return Err(Error::invalid(needed, format!("`{needed}` is required.")));
    }
    let user = user.filter(|user| !is_null(user)).map(|user| peek::text(user, "user")).transpose()?;
    let stream = peek::stream(stream)?;
    Ok(Peek { model, stream, user, choices: 1, model_at: Some(model_at), ..Peek::default() })
}

/// The caller's own body for a target of the same protocol, the model in the target's words.
pub(super) fn forward(ask: &Ask<'_>, target: &Target<'_>, path: &str) -> Result<Request<Bytes>, Error> {
    post(format!("{}{path}", target.base_url), target, ask.peek.rewrite(ask.body, target.model, false))
}

/// A body made here.
pub(super) fn send(body: &Value, target: &Target<'_>, path: &str) -> Result<Request<Bytes>, Error> {
    post(format!("{}{path}", target.base_url), target, body.to_string())
}

/// What a whole answer says about itself, if it holds what is `needed`.
pub(super) fn summary(body: &[u8], needed: &'static str) -> Result<Summary, UpstreamError> {
    let [found, model, usage, _] = members(body, [needed, "model", "usage", "error"])?;
    if found.is_none_or(is_null) {
        return Err(UpstreamError::garbled(&format!("it has no `{needed}`")));
    }
    let model = model.and_then(|model| peek::text(model, "model").ok());
    Ok(Summary {
        response_model: model.map(std::borrow::Cow::into_owned),
        usage: usage.and_then(tokens),
        ..Summary::default()
    })
}

/// Four fields of an object, the last of which says that there is no answer.
pub(super) fn members<'a>(
    body: &'a [u8],
    names: [&'static str; 4],
) -> Result<[Option<&'a RawValue>; 4], UpstreamError> {
    let found = peek::fields(body, names, 0).map_err(|_| {
        UpstreamError::garbled(if body.trim_ascii().is_empty() {
            "it was empty"
        } else {
            "it is no JSON object"
        })
    })?;
    match found[3].filter(|error| !is_null(error)) {
        Some(error) => Err(inner_error(error)),
        None => Ok(found),
    }
}

/// A list's entries, as they are written.
pub(super) fn list(raw: &RawValue) -> Result<Vec<&RawValue>, UpstreamError> {
    serde_json::from_str(raw.get()).map_err(|_| UpstreamError::garbled("a list is missing in it"))
}

/// A small part of an answer; null where it cannot be read.
pub(super) fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// Tokens, by the older names or the newer, or time, where sound is counted by it. Where there is only a total of
/// tokens it is input: nothing is written by a model that embeds or ranks.
pub(super) fn tokens(usage: &RawValue) -> Option<Usage> {
    used(&value(usage))
}

/// The same of what was read already.
pub(crate) fn used(usage: &Value) -> Option<Usage> {
    let count = |names: [&str; 2]| names.into_iter().find_map(|name| usage[name].as_u64());
    let (input, output) =
        (count(["prompt_tokens", "input_tokens"]), count(["completion_tokens", "output_tokens"]));
    let input = input.or_else(|| usage["total_tokens"].as_u64().filter(|_| output.is_none()));
    let audio_ms =
        ["seconds", "prompt_audio_seconds"].into_iter().find_map(|name| milliseconds(&usage[name]));
    input.or(output).or(audio_ms)?;
    // OpenAI writes either.
    let detail = |side: &str, kind: &str| {
        let details = [format!("{side}_tokens_details"), format!("{side}_token_details")];
        details.iter().find_map(|details| usage[details.as_str()][kind].as_u64()).unwrap_or(0)
    };
    Some(Usage {
        input_tokens: input.unwrap_or(0),
        cache_read_input_tokens: detail("input", "cached_tokens"),
        image_input_tokens: detail("input", "image_tokens"),
        audio_input_tokens: detail("input", "audio_tokens"),
        cache_read_audio_input_tokens: usage["input_token_details"]["cached_tokens_details"]["audio_tokens"]
            .as_u64()
            .unwrap_or(0),
        output_tokens: output.unwrap_or(0),
        reasoning_output_tokens: detail("output", "reasoning_tokens"),
        image_output_tokens: detail("output", "image_tokens"),
        audio_output_tokens: detail("output", "audio_tokens"),
        audio_ms: audio_ms.unwrap_or(0),
        ..Usage::default()
    })
}

/// Seconds, which OpenAI has told as a number and as a text.
pub(super) fn milliseconds(value: &Value) -> Option<u64> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    (seconds.is_finite() && seconds >= 0.0).then(|| (seconds * 1000.0).round() as u64)
}

pub(super) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}
