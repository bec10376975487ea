//! Embeddings, for callers of OpenAI's `/v1/embeddings`.
//!
//! Compatible providers get the caller's own bytes. The others differ in that
//!
//! - texts come one by one (Titan) or some dozens at once (Gemini, Cohere), so a list may take several requests;
//! - what a text is for is a field (`input_type` here, with Cohere's words or Voyage's) that Cohere requires;
//! - vectors are lists of numbers: those that OpenAI's clients ask for in base64 are packed here;
//! - lists of tokens mean nothing to them;
//! - usage is in other places: in a header (Bedrock), or nowhere (Gemini's older models).

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{HeaderMap, Request};
use serde_json::{Value, json, value::RawValue};

use super::{Answered, Ask, Delivery, Operation, Outgoing, Whole, json as wire};
use crate::{
    Error, Provider, Target, UpstreamError, Usage,
    fields::{self, Object},
    front::Peek,
    peek,
    provider::Offer,
    relay::Summary,
    sigv4,
};

/// What a provider speaks for embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddingsApi {
    /// Amazon's InvokeModel, for Titan's models and Cohere's.
    Bedrock,
    /// Cohere's, version 2.
    Cohere,
    /// OpenAI's, without base64.
    Floats,
    /// Google's batchEmbedContents.
    Gemini,
    /// Jina's.
    Jina,
    /// Mistral's: OpenAI's under stricter names, without base64.
    Mistral,
    /// Ollama's own.
    Ollama,
    /// OpenAI's.
    OpenAi,
    /// Voyage's.
    Voyage,
}

/// `POST /v1/embeddings`.
pub struct Embeddings;

impl Operation for Embeddings {
    fn name(&self) -> &'static str {
        "embeddings"
    }

    fn is_offered(&self, provider: &Provider) -> bool {
        api(provider).is_some()
    }

    fn peek<'a>(&self, _path: &'a str, _headers: &'a HeaderMap, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        let peek = wire::peek(body, "input")?;
        if peek.stream {
            return Err(Error::invalid("stream", "Embeddings cannot be streamed."));
        }
        Ok(peek)
    }

    fn request(&self, ask: &Ask<'_>, target: &Target<'_>) -> Result<Outgoing, Error> {
        let api = api(target.provider).expect("the plan holds providers that embed");
        if api.is_forwarded() {
            let mut request = wire::forward(ask, target, "/embeddings")?;
            if api == EmbeddingsApi::Floats {
                ask_for_floats(request.body_mut())?;
            }
            return Ok(Outgoing::new(request, Delivery::Whole));
        }
        let embed = Embed::parse(ask.body)?;
        let (at_once, count) = (at_once(api, target.model), embed.texts.len());
        if count.div_ceil(at_once) > MAX_REQUESTS {
            let most = MAX_REQUESTS * at_once;
            let message = format!("`input` may hold at most {most} texts for this model, not {count}.");
            return Err(Error::unsupported("input", message));
        }
        let mut dropped = embed.dropped.clone();
        if embed.purpose.is_some() && api.is_aimless(target.model) {
            dropped.push("input_type".to_owned());
        }
        let encode = |texts| api.encode(&embed, texts, target);
        let mut requests = embed.texts.chunks(at_once).map(encode).collect::<Result<Vec<_>, _>>()?;
        let first = requests.remove(0);
        Ok(Outgoing { more: requests, dropped, ..Outgoing::new(first, Delivery::Whole) })
    }

    fn answer(
        &self,
        ask: &Ask<'_>,
        provider: &Provider,
        first: Whole,
        more: Vec<Whole>,
    ) -> Result<Answered, UpstreamError> {
        let api = api(provider).expect("the plan holds providers that embed");
        let is_base64 = encoding_format(ask.body)?.is_some_and(|format| format.get() == BASE64_FORMAT);
        if api.is_forwarded() {
            let summary = wire::summary(&first.body, "data")?;
            // Some servers do not know base64 and answer with numbers all the same.
            let has_numbers =
                || api.decode(&first).is_ok_and(|(vectors, _)| vectors.first().is_some_and(is_list));
            if !is_base64 || !has_numbers() {
                return Ok(Answered::json(first.body, summary));
            }
        }
        let mut data = String::new();
        let mut index = 0;
        let mut usage = Some(Usage::default());
        for whole in std::iter::once(&first).chain(&more) {
            let (vectors, used) = api.decode(whole)?;
            for vector in vectors {
                let comma = if index == 0 { "" } else { "," };
                data.push_str(&format!(r#"{comma}{{"object":"embedding","index":{index},"embedding":"#));
                match is_base64 {
                    true => data.push_str(&packed(vector)?),
                    false => data.push_str(vector.get()),
                }
                data.push('}');
                index += 1;
            }
            usage = usage
                .zip(used)
                .map(|(all, tokens)| Usage { input_tokens: all.input_tokens.saturating_add(tokens), ..all });
        }
        let counted = usage.map(|usage| usage.input_tokens);
        let counted = counted.map(|tokens| json!({ "prompt_tokens": tokens, "total_tokens": tokens }));
        let (model, counted) = (json!(ask.peek.model), json!(counted));
        let body = format!(r#"{{"object":"list","data":[{data}],"model":{model},"usage":{counted}}}"#);
        Ok(Answered::json(body, Summary { usage, ..Summary::default() }))
    }
}

/// How the caller wants the vectors written, if it says so.
fn encoding_format(body: &[u8]) -> Result<Option<&RawValue>, UpstreamError> {
    Ok(wire::members(body, ["encoding_format", "", "", ""])?[0])
}

/// A wish for base64 becomes one for numbers, which are packed when they are here.
fn ask_for_floats(body: &mut Bytes) -> Result<(), Error> {
    let format = encoding_format(body)?.filter(|format| format.get() == BASE64_FORMAT);
    let Some(at) = format.map(|format| peek::place(format, body)) else { return Ok(()) };
    *body = [&body[..at.start], b"\"float\"", &body[at.end..]].concat().into();
    Ok(())
}

fn is_list(vector: &&RawValue) -> bool {
    vector.get().starts_with('[')
}

fn api(provider: &Provider) -> Option<EmbeddingsApi> {
    provider.offered(|offer| if let Offer::Embeddings(api) = offer { Some(api) } else { None })
}

/// What is to be embedded.
struct Embed {
    texts: Vec<String>,
    dimensions: Option<u64>,
    purpose: Option<Purpose>,
    dropped: Vec<String>,
}

/// What the vectors are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Classification,
    Clustering,
    Document,
    Query,
}

impl Embed {
    fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut body = fields::body(body)?;
        body.take("model");
        body.take("stream");
        let texts = match body.take("input") {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(entries)) => entries.into_iter().map(text).collect::<Result<_, _>>()?,
            _ => return Err(Error::invalid("input", "`input` must be a text or a list of texts.")),
        };
        if texts.is_empty() {
            return Err(Error::invalid("input", "`input` must hold at least one text."));
        }
        if !matches!(body.text("encoding_format")?.as_deref(), None | Some("float" | "base64")) {
            return Err(Error::invalid("encoding_format", "`encoding_format` must be `float` or `base64`."));
        }
        let dimensions = body.count("dimensions")?;
        let purpose = purpose(&mut body)?;
        let dropped =
            body.map.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).collect();
        Ok(Self { texts, dimensions, purpose, dropped })
    }
}

fn text(entry: Value) -> Result<String, Error> {
    match entry {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Array(_) => {
            let message =
                "Tokens in `input` are OpenAI's own; this model's provider has others. Send the text.";
            Err(Error::unsupported("input", message))
        }
        _ => Err(Error::invalid("input", "`input` must be a text or a list of texts.")),
    }
}

fn purpose(body: &mut Object<'_>) -> Result<Option<Purpose>, Error> {
    Ok(match body.text("input_type")?.as_deref() {
        None => None,
        Some("classification") => Some(Purpose::Classification),
        Some("clustering") => Some(Purpose::Clustering),
        Some("document" | "search_document" | "passage") => Some(Purpose::Document),
        Some("query" | "search_query") => Some(Purpose::Query),
        Some(_) => {
            let words =
                "`input_type` must be `search_document`, `search_query`, `classification` or `clustering`.";
            return Err(Error::invalid("input_type", words));
        }
    })
}

/// How many texts go into one request.
fn at_once(api: EmbeddingsApi, model: &str) -> usize {
    match api {
        EmbeddingsApi::Bedrock if is_titan(model) => 1,
        EmbeddingsApi::Bedrock | EmbeddingsApi::Cohere => 96,
        EmbeddingsApi::Gemini => 100,
        // As many as the provider takes.
        _ => usize::MAX,
    }
}

/// Models may be named with a region before (`eu.cohere.embed-v4:0`), or as an ARN.
fn is_titan(model: &str) -> bool {
    model.contains("titan-embed")
}

impl EmbeddingsApi {
    /// Whether the caller's own bytes go there.
    fn is_forwarded(self) -> bool {
        matches!(self, Self::Floats | Self::OpenAi)
    }

    /// Whether its vectors are the same whatever they are for.
    fn is_aimless(self, model: &str) -> bool {
        matches!(self, Self::Mistral | Self::Ollama) || self == Self::Bedrock && is_titan(model)
    }

    fn encode(self, embed: &Embed, texts: &[String], target: &Target<'_>) -> Result<Request<Bytes>, Error> {
        let (model, dimensions, purpose) = (target.model, embed.dimensions, embed.purpose);
        let word = |words: [Option<&'static str>; 4]| match purpose {
            None => Ok(None),
            Some(purpose) => words[purpose as usize].map(Some).ok_or_else(|| {
                let message = format!("`{}` embeds documents and queries only.", target.provider.name);
                Error::unsupported("input_type", message)
            }),
        };
        let mut body = serde_json::Map::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                body.insert(name.to_owned(), value);
            }
        };
        let invoke = || format!("/model/{}/invoke", sigv4::encode(model));
        let path = match self {
            Self::Bedrock if is_titan(model) => {
                put("inputText", json!(texts[0]));
                put("dimensions", json!(dimensions));
                invoke()
            }
            Self::Bedrock | Self::Cohere => {
                put("texts", json!(texts));
                put("input_type", json!(word(COHERE)?.unwrap_or("search_document")));
                put("embedding_types", json!(["float"]));
                put("output_dimension", json!(dimensions));
                match self {
                    Self::Bedrock => invoke(),
                    _ => {
                        put("model", json!(model));
                        "/v2/embed".to_owned()
                    }
                }
            }
            Self::Gemini => {
                let task = word(GEMINI)?;
                let requests: Vec<Value> = texts
                    .iter()
                    .map(|text| {
                        let content = json!({ "parts": [{ "text": text }] });
                        let mut request = json!({ "model": format!("models/{model}"), "content": content });
                        if let Some(task) = task {
                            request["taskType"] = json!(task);
                        }
                        if let Some(dimensions) = dimensions {
                            request["outputDimensionality"] = json!(dimensions);
                        }
                        request
                    })
                    .collect();
                put("requests", json!(requests));
                format!("/v1beta/models/{}:batchEmbedContents", sigv4::encode(model))
            }
            Self::Jina => {
                put("model", json!(model));
                put("input", json!(texts));
                put("task", json!(word(JINA)?));
                put("dimensions", json!(dimensions));
                "/embeddings".to_owned()
            }
            Self::Ollama => {
                put("model", json!(model));
                put("input", json!(texts));
                put("dimensions", json!(dimensions));
                let base_url = target.base_url.strip_suffix("/v1").unwrap_or(target.base_url);
                return wire::send(&Value::Object(body), &Target { base_url, ..*target }, "/api/embed");
            }
            Self::Mistral => {
                put("model", json!(model));
                put("input", json!(texts));
                put("output_dimension", json!(dimensions));
                "/embeddings".to_owned()
            }
            Self::Floats | Self::OpenAi | Self::Voyage => {
                put("model", json!(model));
                put("input", json!(texts));
                put("input_type", json!(word(VOYAGE)?));
                put("output_dimension", json!(dimensions));
                "/embeddings".to_owned()
            }
        };
        wire::send(&Value::Object(body), target, &path)
    }

    /// The vectors of an answer as they are written, and how many tokens were read.
    fn decode(self, whole: &Whole) -> Result<(Vec<&RawValue>, Option<u64>), UpstreamError> {
        let body = &whole.body;
        let missing = || UpstreamError::garbled("it has no embeddings");
        let number = |raw: Option<&RawValue>| raw?.get().parse::<u64>().ok();
        match self {
            Self::Bedrock | Self::Cohere => {
                let [many, one, meta, _] = wire::members(body, ["embeddings", "embedding", "meta", "error"])?;
                let [_, counted, ..] = wire::members(body, ["", "inputTextTokenCount", "", "error"])?;
                let header = || whole.headers.get(TOKEN_COUNT)?.to_str().ok()?.parse().ok();
                let billed = || wire::value(meta?)["billed_units"]["input_tokens"].as_u64();
                let tokens = number(counted).or_else(header).or_else(billed);
                let vectors = match (one, many) {
                    (Some(vector), _) => vec![vector],
                    // By type where types were asked for, bare from older models.
                    (None, Some(many)) if many.get().starts_with('{') => {
                        let by_type = wire::members(many.get().as_bytes(), ["float", "", "", "error"])?;
                        wire::list(by_type[0].ok_or_else(missing)?)?
                    }
                    (None, Some(many)) => wire::list(many)?,
                    (None, None) => return Err(missing()),
                };
                Ok((vectors, tokens))
            }
            Self::Gemini => {
                let [many, usage, ..] = wire::members(body, ["embeddings", "usageMetadata", "", "error"])?;
                let mut vectors = Vec::new();
                for embedding in wire::list(many.ok_or_else(missing)?)? {
                    let values = wire::members(embedding.get().as_bytes(), ["values", "", "", "error"])?[0];
                    vectors.push(values.ok_or_else(missing)?);
                }
                Ok((vectors, usage.and_then(|usage| wire::value(usage)["promptTokenCount"].as_u64())))
            }
            Self::Ollama => {
                let [many, tokens, ..] =
                    wire::members(body, ["embeddings", "prompt_eval_count", "", "error"])?;
                Ok((wire::list(many.ok_or_else(missing)?)?, number(tokens)))
            }
            Self::Floats | Self::Jina | Self::Mistral | Self::OpenAi | Self::Voyage => {
                let [data, usage, ..] = wire::members(body, ["data", "usage", "", "error"])?;
                let mut vectors = Vec::new();
                for (position, entry) in wire::list(data.ok_or_else(missing)?)?.into_iter().enumerate() {
                    let entry = wire::members(entry.get().as_bytes(), ["embedding", "index", "", "error"])?;
                    let index = number(entry[1]).unwrap_or(position as u64);
                    vectors.push((index, entry[0].ok_or_else(missing)?));
                }
                vectors.sort_by_key(|(index, _)| *index);
                let tokens = usage.and_then(wire::tokens).map(|usage| usage.input_tokens);
                Ok((vectors.into_iter().map(|(_, vector)| vector).collect(), tokens))
            }
        }
    }
}

/// A vector as OpenAI packs it: 32-bit floats, little end first, in base64, as a JSON string.
fn packed(vector: &RawValue) -> Result<String, UpstreamError> {
    let numbers: Vec<f32> = serde_json::from_str(vector.get())
        .map_err(|_| UpstreamError::garbled("a vector is no list of numbers"))?;
    let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
    Ok(format!("\"{}\"", BASE64.encode(bytes)))
}

// In the order of `Purpose`.
const COHERE: [Option<&str>; 4] =
    [Some("classification"), Some("clustering"), Some("search_document"), Some("search_query")];
const GEMINI: [Option<&str>; 4] =
    [Some("CLASSIFICATION"), Some("CLUSTERING"), Some("RETRIEVAL_DOCUMENT"), Some("RETRIEVAL_QUERY")];
const JINA: [Option<&str>; 4] =
    [Some("classification"), Some("separation"), Some("retrieval.passage"), Some("retrieval.query")];
const VOYAGE: [Option<&str>; 4] = [None, None, Some("document"), Some("query")];

const BASE64_FORMAT: &str = "\"base64\"";

const TOKEN_COUNT: &str = "x-amzn-bedrock-input-token-count";

/// A free Workers plan has fifty requests for all of a call.
const MAX_REQUESTS: usize = 40;
