//! Moderations, for callers of OpenAI's `/v1/moderations`.
//!
//! Mistral's answer lacks `flagged`, which is whether any category is; the categories keep Mistral's names, since
//! they mean other things than OpenAI's.

use bytes::Bytes;
use http::{HeaderMap, Request};
use serde_json::Value;

use super::{Answered, Ask, Delivery, Operation, Outgoing, Whole, json as wire};
use crate::{
    Error, Provider, Target, UpstreamError, dialect::post, fields, front::Peek, peek, provider::Offer,
};

/// What a provider speaks for moderations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModerationsApi {
    /// Mistral's.
    Mistral,
    /// OpenAI's.
    OpenAi,
}

/// `POST /v1/moderations`.
pub struct Moderations;

impl Operation for Moderations {
    fn name(&self) -> &'static str {
        "moderation"
    }

    fn is_offered(&self, provider: &Provider) -> bool {
        api(provider).is_some()
    }

    fn peek<'a>(&self, _path: &'a str, _headers: &'a HeaderMap, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        let [model, input, _] = peek::fields(body, ["model", "input", ""], 2)?;
        if input.is_none_or(wire::is_null) {
            return Err(Error::invalid("input", "`input` is required."));
        }
        // OpenAI's clients may leave the model out.
        let model_at = model.map(|model| peek::place(model, body));
        let model = match model.filter(|model| !wire::is_null(model)) {
            Some(model) => peek::text(model, "model")?,
            None => DEFAULT_MODEL.into(),
        };
        Ok(Peek { model, model_at, choices: 1, ..Peek::default() })
    }

    fn request(&self, ask: &Ask<'_>, target: &Target<'_>) -> Result<Outgoing, Error> {
        if api(target.provider) == Some(ModerationsApi::Mistral) {
            // Texts are all it reads, under the same name.
            let input = fields::body(ask.body)?.take("input");
            let is_text = match &input {
                Some(Value::Array(entries)) => entries.iter().all(Value::is_string),
                input => input.as_ref().is_some_and(Value::is_string),
            };
            if !is_text {
                let message =
                    "`input` may only be texts for this model. Ask `openai` where there are images.";
                return Err(Error::unsupported("input", message));
            }
        }
        Ok(Outgoing::new(forward(ask, target)?, Delivery::Whole))
    }

    fn answer(
        &self,
        _ask: &Ask<'_>,
        provider: &Provider,
        first: Whole,
        _more: Vec<Whole>,
    ) -> Result<Answered, UpstreamError> {
        let summary = wire::summary(&first.body, "results")?;
        if api(provider) == Some(ModerationsApi::Mistral) {
            return Ok(Answered::json(flagged(&first.body)?, summary));
        }
        Ok(Answered::json(first.body, summary))
    }
}

/// The caller's body with the target's model, where the caller named one and where it did not.
fn forward(ask: &Ask<'_>, target: &Target<'_>) -> Result<Request<Bytes>, Error> {
    if ask.peek.model_at.is_some() {
        return wire::forward(ask, target, "/moderations");
    }
    let rest =
        ask.body.trim_ascii_start().strip_prefix(b"{").expect("a body that was peeked at is an object");
    let model = format!(r#"{{"model":{},"#, Value::from(target.model));
    post(format!("{}/moderations", target.base_url), target, [model.as_bytes(), rest].concat())
}

fn flagged(body: &[u8]) -> Result<Vec<u8>, UpstreamError> {
    let garbled = || UpstreamError::garbled("its results are no list of categories");
    let mut answer: Value = serde_json::from_slice(body).map_err(|_| garbled())?;
    for result in answer["results"].as_array_mut().ok_or_else(garbled)? {
        let categories = result["categories"].as_object().ok_or_else(garbled)?;
        let flagged = categories.values().any(|category| category == true);
        result["flagged"] = flagged.into();
    }
    Ok(answer.to_string().into_bytes())
}

fn api(provider: &Provider) -> Option<ModerationsApi> {
    provider.offered(|offer| if let Offer::Moderations(api) = offer { Some(api) } else { None })
}

/// OpenAI's own default.
const DEFAULT_MODEL: &str = "openai/omni-moderation-latest";
