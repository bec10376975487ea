//! How many tokens a request would have, without an answer: by the provider's own count, never by a guess.
//!
//! | asked by callers of | at | and of providers that speak it |
//! |---|---|---|
//! | Messages | `/v1/messages/count_tokens` | `…/count_tokens`, without what belongs to the answer |
//! | generateContent | `/v1beta/models/{model}:countTokens` | `:countTokens`, the request within `generateContentRequest` |
//! | Converse | `/model/{model}/count-tokens` | `…/count-tokens`, the request within `input.converse` |
//! | Responses | `/v1/responses/input_tokens` | `…/responses/input_tokens`, without what belongs to the answer |
//!
//! Each is the protocol's own request of chat but for that, so both sides are made of chat's.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use serde_json::{Map, Value, json};

use super::{Answered, Ask, Delivery, Operation, Outgoing, Whole, chat::name_labels};
use crate::{
    Error, Provider, Target, UpstreamError,
    dialect::{
        Encoded, bend, converse::Converse, generate_content::GenerateContent, messages::Messages,
        responses::Responses,
    },
    fields,
    front::{ErrorBody, Front, Peek},
    peek::{self, decoded},
    provider::{Api, Betas, Hosting, Offer},
    relay::Summary,
};

/// Counting, by callers of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountTokens {
    /// Amazon's CountTokens.
    Converse,
    /// Google's countTokens.
    GenerateContent,
    /// Anthropic's count_tokens.
    Messages,
    /// OpenAI's input_tokens.
    Responses,
}

impl Operation for CountTokens {
    fn name(&self) -> &'static str {
        "count_tokens"
    }

    fn is_offered(&self, provider: &Provider) -> bool {
        api(provider).is_some()
    }

    fn peek<'a>(&self, path: &'a str, _headers: &'a HeaderMap, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        let in_path = |from: &str, to: &str| {
            let path = path.split('?').next().unwrap_or_default();
            let model =
                decoded(path).and_then(|path| Some(path.split_once(from)?.1.strip_suffix(to)?.to_owned()));
            let model = model.filter(|model| !model.is_empty());
            let model = model.ok_or_else(|| Error::invalid("model", "The path must name a model."))?;
            Ok(Peek { model: Cow::Owned(model), choices: 1, ..Peek::default() })
        };
        match self {
            Self::Converse => in_path("/model/", "/count-tokens"),
            Self::GenerateContent => {
                // However little is asked for: a body that can be read in two ways is refused.
                wrapped(body)?;
                in_path("/models/", ":countTokens")
            }
            Self::Messages | Self::Responses => {
                // Nothing is streamed, whatever a body taken over from chat says.
                Ok(Peek { stream: false, ..self.front().peek(path, body)? })
            }
        }
    }

    fn request(&self, ask: &Ask<'_>, target: &Target<'_>) -> Result<Outgoing, Error> {
        let api = api(target.provider).ok_or_else(|| {
            Error::unsupported("model", format!("`{}` does not count tokens.", target.provider.name))
        })?;
        let front = self.front();
        if api != front.api() {
            let unified = front.parse(ask.peek, &self.as_chat(ask.body)?)?;
            let mut encoded = bend::encode(api.dialect(), &unified, target)?;
            name_labels(front, &unified, &mut encoded.dropped);
            let request = as_count(api, encoded.request, target.model)?;
            let mut dropped = encoded.dropped;
            dropped.extend(Betas::None.sort(ask.headers).1);
            return Ok(Outgoing { dropped, ..Outgoing::new(request, Delivery::Whole) });
        }
        let Encoded { mut request, dropped, .. } = front.forward(ask.body, ask.peek, ask.headers, target)?;
        match self {
            // It holds the model's name once more.
            Self::GenerateContent if wrapped(ask.body)?.is_some() => {
                *request.body_mut() = self.as_chat(ask.body)?;
                request = as_count(api, request, target.model)?;
            }
            Self::Responses => request = as_count(api, request, target.model)?,
            _ => *request.uri_mut() = address(api, request.uri())?,
        }
        Ok(Outgoing { dropped, ..Outgoing::new(request, Delivery::Whole) })
    }

    fn sorts_betas(&self) -> bool {
        true
    }

    fn failure(&self, ask: &Ask<'_>, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
        ask.api.dialect().error(status, headers, body)
    }

    fn answer(
        &self,
        _ask: &Ask<'_>,
        provider: &Provider,
        first: Whole,
        _more: Vec<Whole>,
    ) -> Result<Answered, UpstreamError> {
        let api = api(provider).unwrap_or(provider.api);
        let count = serde_json::from_slice::<Value>(&first.body)
            .ok()
            .and_then(|body| body[count_field(api)].as_u64());
        let count = count.ok_or_else(|| UpstreamError::garbled("it has no count of tokens"))?;
        if api == self.front().api() {
            return Ok(Answered::json(first.body, Summary::default()));
        }
        let mut body = json!({ count_field(self.front().api()): count });
        if *self == Self::Responses {
            body["object"] = "response.input_tokens".into();
        }
        Ok(Answered::json(body.to_string(), Summary::default()))
    }

    fn headers(&self, status: StatusCode, request_id: &HeaderValue, headers: &mut HeaderMap) {
        self.front().headers(status, request_id, headers);
    }

    fn error(&self, status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        self.front().error(status, error)
    }
}

impl CountTokens {
    /// Whether this provider counts for this model, for all that is known: Amazon does for Claude only.
    pub fn counts(provider: &Provider, model: &str) -> bool {
        match api(provider) {
            Some(Api::Converse) => model.contains("claude"),
            api => api.is_some(),
        }
    }

    fn front(self) -> &'static dyn Front {
        match self {
            Self::Converse => &Converse,
            Self::GenerateContent => &GenerateContent,
            Self::Messages => &Messages,
            Self::Responses => &Responses,
        }
    }

    /// The body as a request of chat.
    fn as_chat(self, body: &Bytes) -> Result<Bytes, Error> {
        if self == Self::GenerateContent {
            return Ok(wrapped(body)?.map_or_else(|| body.clone(), |inner| inner.to_string().into()));
        }
        let mut whole: Map<String, Value> = serde_json::from_slice(body).map_err(peek::malformed)?;
        match self {
            Self::Converse => {
                let mut input = whole.remove("input").unwrap_or_default();
                let inner = input.get_mut("converse").map(Value::take).unwrap_or_default();
                if !inner.is_object() {
                    let message =
                        "`input.converse` is required to count for this model: what Converse would be sent.";
                    return Err(Error::unsupported("input.converse", message));
                }
                Ok(inner.to_string().into())
            }
            Self::Messages => {
                // Chat cannot do without it, and it does not count.
                whole.entry("max_tokens").or_insert_with(|| NO_LIMIT.into());
                Ok(Value::Object(whole).to_string().into())
            }
            Self::GenerateContent | Self::Responses => Ok(body.clone()),
        }
    }
}

/// The request within a body of Google's, without the model that it names; nothing where the body itself is the request.
/// Google takes the field's name in two spellings, and we must see what it sees.
fn wrapped(body: &[u8]) -> Result<Option<Value>, Error> {
    const NAME: &str = "generateContentRequest";
    let mut found = None;
    for (name, value) in fields::body(body)?.map {
        if peek::folds(&name, "model") && !value.is_null() {
            return Err(Error::invalid(
                "model",
                "`model` is named in the address. Leave it out of the body.",
            ));
        }
        if peek::folds(&name, "generatecontentrequest") && found.replace(value).is_some() {
            return Err(Error::invalid(NAME, format!("`{NAME}` occurs twice, in two spellings.")));
        }
    }
    match found {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(mut inner)) => {
            inner.retain(|name, _| !peek::folds(name, "model"));
            Ok(Some(Value::Object(inner)))
        }
        Some(_) => Err(Error::invalid(NAME, format!("`{NAME}` must be an object."))),
    }
}

/// What the provider counts in, if it counts.
fn api(provider: &Provider) -> Option<Api> {
    match provider.api {
        // Vertex AI counts at other addresses, and otherwise.
        _ if provider.hosting == Hosting::Vertex => None,
        api @ (Api::Converse | Api::GenerateContent | Api::Messages) => Some(api),
        _ => provider.offers.contains(&Offer::CountTokens).then_some(Api::Responses),
    }
}

/// A request of chat, made to count.
fn as_count(api: Api, request: Request<Bytes>, model: &str) -> Result<Request<Bytes>, Error> {
    let (mut head, body) = request.into_parts();
    let mut body: Map<String, Value> = serde_json::from_slice(&body).map_err(peek::malformed)?;
    let kept: &[&str] = match api {
        Api::Converse => &["additionalModelRequestFields", "messages", "system", "toolConfig"],
        Api::Messages => {
            &["messages", "model", "output_config", "system", "thinking", "tool_choice", "tools"]
        }
        Api::Responses => &[
            "input",
            "instructions",
            "model",
            "parallel_tool_calls",
            "reasoning",
            "text",
            "tool_choice",
            "tools",
            "truncation",
        ],
        _ => &[],
    };
    body.retain(|field, _| kept.is_empty() || kept.contains(&field.as_str()));
    let body = match api {
        Api::Converse => json!({ "input": { "converse": body } }),
        Api::GenerateContent => {
            body.insert("model".to_owned(), format!("models/{model}").into());
            json!({ "generateContentRequest": body })
        }
        _ => Value::Object(body),
    };
    head.uri = address(api, &head.uri)?;
    head.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    Ok(Request::from_parts(head, body.to_string().into()))
}

/// Where is counted what would be sent to this address.
fn address(api: Api, chat: &Uri) -> Result<Uri, Error> {
    let chat = chat.to_string();
    let url = match api {
        Api::Converse => chat.trim_end_matches("converse").to_owned() + "count-tokens",
        Api::GenerateContent => chat.trim_end_matches("generateContent").to_owned() + "countTokens",
        Api::Messages => chat + "/count_tokens",
        _ => chat + "/input_tokens",
    };
    url.parse().map_err(|_| Error::invalid("model", "the model's name cannot be part of an address"))
}

fn count_field(api: Api) -> &'static str {
    match api {
        Api::Converse => "inputTokens",
        Api::GenerateContent => "totalTokens",
        _ => "input_tokens",
    }
}

/// Above any budget of thought, which has to be below it.
const NO_LIMIT: u64 = 1_000_000;
