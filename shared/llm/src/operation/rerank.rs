//! Reranking: which of some documents answer a query best. For callers of `/v1/rerank`, as Jina, Together and vLLM
//! have it, and of Cohere's `/v2/rerank`.
//!
//! Providers differ in the name of the wish for the best few (`top_n`, Voyage's `top_k`), of the list in the answer
//! (`results`, Voyage's `data`), in whether they can send documents back, and in what they count: tokens or Cohere's
//! search units.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Map, Value, json};

use super::{Answered, Ask, Delivery, Operation, Outgoing, Whole, json as wire};
use crate::{
    Error, Provider, Target, UpstreamError, Usage,
    dialect::{chat_completions, cohere},
    fields::{self, At},
    front::{ErrorBody, Front as _, Peek},
    provider::Offer,
    relay::Summary,
    sigv4,
};

/// What a provider speaks for reranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RerankApi {
    /// Amazon's InvokeModel, for Cohere's models and Amazon's own.
    Bedrock,
    /// Cohere's, version 2.
    Cohere,
    /// Jina's, which Together and vLLM speak too.
    Jina,
    /// Voyage's.
    Voyage,
}

/// Reranking by callers of one of two protocols.
pub enum Rerank {
    /// `POST /v2/rerank`.
    Cohere,
    /// `POST /v1/rerank`.
    Jina,
}

impl Operation for Rerank {
    fn name(&self) -> &'static str {
        "rerank"
    }

    fn is_offered(&self, provider: &Provider) -> bool {
        api(provider).is_some()
    }

    fn peek<'a>(&self, _path: &'a str, _headers: &'a HeaderMap, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        let peek = wire::peek(body, "documents")?;
        if peek.stream {
            return Err(Error::invalid("stream", "A ranking cannot be streamed."));
        }
        Ok(peek)
    }

    fn request(&self, ask: &Ask<'_>, target: &Target<'_>) -> Result<Outgoing, Error> {
        let api = api(target.provider).expect("the plan holds providers that rerank");
        if self.is_forwarded(api) {
            return Ok(Outgoing::new(wire::forward(ask, target, api.path())?, Delivery::Whole));
        }
        let wish = Wish::parse(ask.body)?;
        let request = api.encode(&wish, target)?;
        let mut dropped = wish.dropped;
        // Long documents are cut there by themselves.
        if wish.max_tokens_per_doc.is_some() && api != RerankApi::Cohere {
            dropped.push("max_tokens_per_doc".to_owned());
        }
        Ok(Outgoing { dropped, ..Outgoing::new(request, Delivery::Whole) })
    }

    fn answer(
        &self,
        ask: &Ask<'_>,
        provider: &Provider,
        first: Whole,
        _more: Vec<Whole>,
    ) -> Result<Answered, UpstreamError> {
        let api = api(provider).expect("the plan holds providers that rerank");
        let answer: Value =
            serde_json::from_slice(&first.body).map_err(|_| UpstreamError::garbled("it is not JSON"))?;
        let list = if api == RerankApi::Voyage { "data" } else { "results" };
        let Some(ranked) = answer[list].as_array() else {
            return Err(UpstreamError::garbled(&format!("it has no `{list}`")));
        };
        let usage = api.usage(&answer);
        let response_model = answer["model"].as_str().map(str::to_owned);
        let summary = Summary { usage, response_model, ..Summary::default() };
        if self.is_forwarded(api) {
            return Ok(Answered::json(first.body, summary));
        }
        let wish = Wish::parse(ask.body).map_err(|_| UpstreamError::garbled("its request is gone"))?;
        let results: Vec<Value> = ranked.iter().filter_map(|entry| wish.result(entry)).collect();
        if results.len() != ranked.len() {
            return Err(UpstreamError::garbled("it ranks documents nobody sent"));
        }
        let mut body = json!({ "id": ask.id, "results": results });
        match self {
            Self::Cohere => {
                let mut meta = json!({ "api_version": { "version": "2" } });
                if let Some(usage) = usage {
                    let (name, count) = match usage.search_units {
                        0 => ("input_tokens", usage.input_tokens),
                        units => ("search_units", units),
                    };
                    meta["billed_units"] = json!({ name: count });
                }
                body["meta"] = meta;
            }
            Self::Jina => {
                body["model"] = json!(ask.peek.model);
                body["usage"] = usage.map_or(Value::Null, |usage| match usage.search_units {
                    0 => json!({ "prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens }),
                    units => json!({ "search_units": units }),
                });
            }
        }
        Ok(Answered::json(body.to_string(), summary))
    }

    fn error(&self, status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        match self {
            Self::Cohere => cohere::Cohere.error(status, error),
            Self::Jina => chat_completions::error::body(error),
        }
    }
}

impl Rerank {
    fn is_forwarded(&self, api: RerankApi) -> bool {
        matches!((self, api), (Self::Cohere, RerankApi::Cohere) | (Self::Jina, RerankApi::Jina))
    }
}

fn api(provider: &Provider) -> Option<RerankApi> {
    provider.offered(|offer| if let Offer::Rerank(api) = offer { Some(api) } else { None })
}

/// What is to be ranked.
struct Wish {
    query: String,
    documents: Vec<String>,
    top_n: Option<u64>,
    max_tokens_per_doc: Option<u64>,
    return_documents: bool,
    dropped: Vec<String>,
}

impl Wish {
    fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut body = fields::body(body)?;
        body.take("model");
        body.take("stream");
        let query = body.required_string("query")?;
        let at = At::Root;
        let list = at.field("documents");
        let entries =
            body.list("documents", MAX_DOCUMENTS)?.ok_or_else(|| list.required("a list of texts"))?;
        let document = |(index, entry): (usize, Value)| match entry {
            Value::String(text) => Ok(text),
            Value::Object(mut fields) => match fields.remove("text") {
                Some(Value::String(text)) => Ok(text),
                _ => Err(list.index(index).cannot("has no `text`, and texts are all this model ranks")),
            },
            other => Err(list.index(index).wrong_type("a text", &other)),
        };
        let documents = entries.into_iter().enumerate().map(document).collect::<Result<_, _>>()?;
        // Voyage's name for it.
        let top_n = body.count("top_n")?.or(body.count("top_k")?);
        let max_tokens_per_doc = body.count("max_tokens_per_doc")?;
        let return_documents = body.boolean("return_documents")?.unwrap_or(false);
        let dropped =
            body.map.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).collect();
        Ok(Self { query, documents, top_n, max_tokens_per_doc, return_documents, dropped })
    }

    /// An entry of the provider's answer, for the caller; the document comes from the caller's own list.
    fn result(&self, entry: &Value) -> Option<Value> {
        let index = entry["index"].as_u64()?;
        let text = self.documents.get(usize::try_from(index).ok()?)?;
        let mut result = json!({ "index": index, "relevance_score": entry["relevance_score"].as_f64()? });
        if self.return_documents {
            result["document"] = json!({ "text": text });
        }
        Some(result)
    }
}

impl RerankApi {
    fn path(self) -> &'static str {
        match self {
            Self::Cohere => "/v2/rerank",
            _ => "/rerank",
        }
    }

    fn encode(self, wish: &Wish, target: &Target<'_>) -> Result<Request<Bytes>, Error> {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                body.insert(name.to_owned(), value);
            }
        };
        put("query", json!(wish.query));
        put("documents", json!(wish.documents));
        put(if self == Self::Voyage { "top_k" } else { "top_n" }, json!(wish.top_n));
        match self {
            Self::Bedrock => {
                // Cohere's models ask for it, Amazon's do not know it.
                if target.model.contains("cohere.") {
                    put("api_version", json!(2));
                }
                let path = format!("/model/{}/invoke", sigv4::encode(target.model));
                return wire::send(&Value::Object(body), target, &path);
            }
            Self::Cohere => put("max_tokens_per_doc", json!(wish.max_tokens_per_doc)),
            // Its default is to send them back, and ours are at hand.
            Self::Jina => put("return_documents", json!(false)),
            Self::Voyage => {}
        }
        put("model", json!(target.model));
        wire::send(&Value::Object(body), target, self.path())
    }

    fn usage(self, answer: &Value) -> Option<Usage> {
        let units = |search_units| Usage { search_units, ..Usage::default() };
        match self {
            // Not told; a query is one.
            Self::Bedrock => Some(units(1)),
            Self::Cohere => {
                answer["meta"]["billed_units"]["search_units"].as_f64().map(|count| units(count as u64))
            }
            Self::Jina | Self::Voyage => {
                let usage = &answer["usage"];
                let input_tokens = usage["total_tokens"].as_u64().or(usage["prompt_tokens"].as_u64())?;
                Some(Usage { input_tokens, ..Usage::default() })
            }
        }
    }
}

/// No provider takes more.
const MAX_DOCUMENTS: usize = 10_000;
