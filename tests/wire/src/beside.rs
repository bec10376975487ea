//! What must hold for any bytes beside chat: as a caller's body, as a provider's answer, as a stream.

use bytes::Bytes;
use http::HeaderMap;
use llm::{
    Target, kept,
    operation::{
        Ask, CountTokens, Embeddings, Images, Moderations, Operation, Rerank, Speech, Whole, forms, realtime,
    },
    provider::{self, Api},
    relay::Relay,
};

use crate::{
    hold::{cuttings, json, refused, told},
    peek, pumped,
};

/// Vectors, of every provider that makes them in its own way.
pub fn embeddings(data: &[u8]) {
    let models = [
        "bedrock/amazon.titan-embed-text-v2:0",
        "bedrock/cohere.embed-v4:0",
        "cohere/embed-v4.0",
        "gemini/gemini-embedding-001",
        "jina/jina-embeddings-v3",
        "mistral/mistral-embed",
        "ollama-native/all-minilm",
        "openai/text-embedding-3-small",
        "together/m",
        "voyage/voyage-4",
    ];
    for body in
        [r#"{"model":"x","input":"Hi"}"#, r#"{"model":"x","input":["Hi"],"encoding_format":"base64"}"#]
    {
        each(&Embeddings, "/v1/embeddings", &models, body, data);
    }
}

/// Pictures.
pub fn images(data: &[u8]) {
    let models = [
        "gemini/gemini-2.5-flash-image",
        "gemini/imagen-4.0-generate-001",
        "openai/gpt-image-1",
        "together/m",
    ];
    each(&Images, "/v1/images/generations", &models, r#"{"model":"x","prompt":"A cat"}"#, data);
}

/// What is harmful.
pub fn moderations(data: &[u8]) {
    let models = ["mistral/mistral-moderation-latest", "openai/omni-moderation-latest"];
    each(&Moderations, "/v1/moderations", &models, r#"{"model":"x","input":"Hi"}"#, data);
}

/// Rankings, for both kinds of callers.
pub fn rerank(data: &[u8]) {
    let models = [
        "bedrock/amazon.rerank-v1:0",
        "bedrock/cohere.rerank-v3-5:0",
        "cohere/rerank-v3.5",
        "jina/jina-reranker-v2",
        "voyage/rerank-2.5",
    ];
    let body = r#"{"model":"x","query":"?","documents":["a","b"],"return_documents":true}"#;
    for (operation, path) in [(Rerank::Cohere, "/v2/rerank"), (Rerank::Jina, "/v1/rerank")] {
        each(&operation, path, &models, body, data);
    }
}

/// Words said aloud.
pub fn speech(data: &[u8]) {
    let models = ["groq/playai-tts", "openai/gpt-4o-mini-tts"];
    each(&Speech, "/v1/audio/speech", &models, r#"{"model":"x","input":"Hi","voice":"ash"}"#, data);
}

/// Tokens, counted.
pub fn count_tokens(data: &[u8]) {
    let models = [
        "anthropic/claude-sonnet-4-6",
        "bedrock/anthropic.claude-sonnet-4-6",
        "gemini/gemini-2.5-flash",
        "openai/gpt-5",
    ];
    for (operation, path, body) in [
        (CountTokens::Converse, "/model/x/count-tokens", r#"{"input":{"converse":{"messages":[]}}}"#),
        (CountTokens::GenerateContent, "/v1beta/models/x:countTokens", r#"{"contents":[]}"#),
        (CountTokens::Messages, "/v1/messages/count_tokens", r#"{"model":"x","messages":[]}"#),
        (CountTokens::Responses, "/v1/responses/input_tokens", r#"{"model":"x","input":"Hi"}"#),
    ] {
        each(&operation, path, &models, body, data);
    }
}

/// Bytes as what a caller sends and what each provider answers to `body`.
fn each(operation: &dyn Operation, path: &str, models: &[&str], body: &str, data: &[u8]) {
    let headers = HeaderMap::new();
    let (data, body) = (Bytes::copy_from_slice(data), Bytes::copy_from_slice(body.as_bytes()));
    for name in models {
        let (provider, model) = provider::split(name).unwrap();
        assert!(operation.is_offered(provider), "{name}");
        let target = Target { provider, model, base_url: provider.base_url, credential: Some("test-key") };
        let api = provider.api_for(operation.callers_api().unwrap_or(Api::ChatCompletions), model);
        match operation.peek(path, &headers, &data) {
            Err(error) => told(&error),
            Ok(peek) => {
                let ask = Ask {
                    id: "call_1",
                    created: 0,
                    headers: &headers,
                    body: &data,
                    peek: &peek,
                    api,
                    bent: None,
                };
                match operation.request(&ask, &target) {
                    Err(error) => told(&error),
                    Ok(outgoing) => {
                        for request in std::iter::once(&outgoing.request).chain(&outgoing.more) {
                            assert!(
                                // A number out of bounds is passed on as it is.
                                json(&data).is_none() || json(request.body()).is_some(),
                                "{name}: {request:?}"
                            );
                        }
                    }
                }
            }
        }
        let peek = operation.peek(path, &headers, &body).unwrap();
        let ask =
            Ask { id: "call_1", created: 0, headers: &headers, body: &body, peek: &peek, api, bent: None };
        let whole = Whole { headers: HeaderMap::new(), body: data.clone() };
        match operation.answer(&ask, provider, whole, Vec::new()) {
            Ok(answered) if answered.content_type.as_bytes().starts_with(b"application/json") => {
                // What is no JSON is passed on as it is where nothing is read of it.
                assert!(
                    json(&data).is_none() || json(&answered.body).is_some(),
                    "{name}: {}",
                    String::from_utf8_lossy(&answered.body)
                );
            }
            Ok(_) => {}
            Err(error) => refused(&error),
        }
        for status in [400, 429, 500] {
            refused(&operation.failure(&ask, status, &headers, &data));
        }
        relayed(|| operation.relay(&ask, provider, &headers).relay, &data);
    }
}

/// Streams of typed events: pictures, changed ones, sound written down.
pub fn events(data: &[u8]) {
    let (provider, _) = provider::split("openai/m").unwrap();
    let headers = HeaderMap::new();
    let (peek, body) = (peek(), Bytes::new());
    let api = Api::ChatCompletions;
    let ask = Ask { id: "call_1", created: 0, headers: &headers, body: &body, peek: &peek, api, bent: None };
    let mut sse = HeaderMap::new();
    sse.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/event-stream"));
    let operations: [&dyn Operation; 4] = [&Images, &Speech, &forms::IMAGE_EDIT, &forms::TRANSCRIPTION];
    for operation in operations {
        relayed(|| operation.relay(&ask, provider, &sse).relay, data);
    }
}

/// What is sent on, and what is told of it, is the same however the stream is cut.
fn relayed(relay: impl Fn() -> Box<dyn Relay>, data: &[u8]) {
    let passed = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut relay = relay();
        let sent = pumped(&mut *relay, chunks);
        (sent, relay.summary().clone())
    };
    let uncut = passed(&mut [data].into_iter());
    if let Some(error) = &uncut.1.error {
        refused(error);
    }
    for mut chunks in cuttings(data) {
        assert_eq!(passed(&mut *chunks), uncut, "it depends on where the stream is cut");
    }
}

/// Bytes as a message of a conversation over a socket, from either end.
pub fn realtime(data: &[u8]) {
    let renamed = |name: &str| Ok(name.strip_prefix("openai/").map(str::to_owned));
    match realtime::check(data, &mut |name: &str| renamed(name)) {
        Ok(Some(instead)) => {
            let again = realtime::check(instead.as_bytes(), &mut |name| renamed(name));
            assert!(json(instead.as_bytes()).is_some() && again.is_ok(), "{instead}: {again:?}");
        }
        Ok(None) => assert!(json(data).is_some_and(|message| message.is_object())),
        Err(error) => {
            told(&error);
            let body = llm::front::ErrorBody {
                message: error.to_string().into(),
                status: http::StatusCode::BAD_REQUEST,
                param: None,
                code: None,
                request_id: None,
            };
            assert!(json(realtime::refusal(&body, "event_1", data).as_bytes()).is_some());
        }
    }
    let (provider, _) = provider::split("openai/m").unwrap();
    let (headers, peek, body) = (HeaderMap::new(), peek(), Bytes::new());
    let api = Api::ChatCompletions;
    let ask = Ask { id: "call_1", created: 0, headers: &headers, body: &body, peek: &peek, api, bent: None };
    // A message is a chunk.
    let mut relay = realtime::Realtime.relay(&ask, provider, &headers).relay;
    assert_eq!(pumped(&mut *relay, [data, data]), [data, data].concat());
}

/// Bytes as a line of a batch's file, as a wish for a batch, as a batch.
pub fn batch(data: &[u8]) {
    match kept::line(data, 1) {
        Ok(line) => {
            let named: Result<String, _> = serde_json::from_slice(&data[line.model_at.clone()]);
            assert_eq!(named.unwrap(), line.model);
        }
        Err(error) => told(&error),
    }
    if let Err(error) = kept::references(data) {
        told(&error);
    }
    if let Err(error) = kept::input_file(data) {
        told(&error);
    }
    if let Some(object) = json(data) {
        let _ = kept::batch(&object);
    }
    let _ = kept::is_callers(400, data);
    refused(&kept::failure(400, &HeaderMap::new(), data));
}
