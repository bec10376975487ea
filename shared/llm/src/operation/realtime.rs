//! `/v1/realtime`: a conversation over a socket. Callers and providers speak OpenAI's API; messages go both ways as
//! they come, and those that count tokens are read in passing.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{Answered, Ask, Delivery, Operation, Outgoing, Streamed, Whole, json as wire};
use crate::{
    Error, Provider, Target, UpstreamError, Usage,
    dialect::{Encoded, chat_completions::ChatCompletions, post},
    front::{ErrorBody, Front, Peek},
    peek,
    provider::{Api, Offer},
    relay::{Ending, Passed, Relay, Summary},
};

/// A conversation.
pub struct Realtime;

/// Only messages with one of these words in them are worth reading.
pub const TELLING: [&str; 2] = ["\"usage\"", "\"session.created\""];

/// In front of a key among the subprotocols a browser offers: it can set no header.
pub const KEY_PROTOCOL: &str = "openai-insecure-api-key.";

impl Operation for Realtime {
    fn name(&self) -> &'static str {
        "realtime"
    }

    fn is_offered(&self, provider: &Provider) -> bool {
        provider.offers.contains(&Offer::Realtime)
    }

    fn is_socket(&self) -> bool {
        true
    }

    fn peek<'a>(&self, path: &'a str, headers: &'a HeaderMap, _body: &'a [u8]) -> Result<Peek<'a>, Error> {
        let is_upgrade = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
        if !headers.get(header::UPGRADE).is_some_and(is_upgrade) {
            let message = "This route is a WebSocket. Connect with a client for those.".to_owned();
            return Err(Error::Invalid { message, param: None });
        }
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let mut model = None;
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "model" if model.is_none() => model = peek::decoded(value).filter(|model| !model.is_empty()),
                // Anything else, a call to join above all, may be another tenant's.
                _ => return Err(Error::invalid(name, format!("`{name}` is not taken, or not twice."))),
            }
        }
        let model =
            model.ok_or_else(|| Error::invalid("model", "`model` is required: `?model=provider/model`."))?;
        Ok(Peek { model, stream: true, ..Peek::default() })
    }

    fn request(&self, ask: &Ask<'_>, target: &Target<'_>) -> Result<Outgoing, Error> {
        let model: String = target.model.bytes().map(query_byte).collect();
        let url = format!("{}/realtime?model={model}", target.base_url);
        let mut request = post(url, target, Bytes::new())?;
        *request.method_mut() = Method::GET;
        let headers = request.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        Ok(Outgoing::translated(Encoded::forwarded(request, ask.headers, target), Delivery::Socket))
    }

    fn failure(&self, _ask: &Ask<'_>, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
        Api::ChatCompletions.dialect().error(status, headers, body)
    }

    fn answer(
        &self,
        _ask: &Ask<'_>,
        _provider: &Provider,
        _first: Whole,
        _more: Vec<Whole>,
    ) -> Result<Answered, UpstreamError> {
        Err(UpstreamError::garbled("it is no socket"))
    }

    fn relay(&self, _ask: &Ask<'_>, _provider: &Provider, _headers: &HeaderMap) -> Streamed {
        let content_type = HeaderValue::from_static("application/json");
        Streamed { content_type, relay: Box::<Session>::default() }
    }

    fn error(&self, status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        ChatCompletions.error(status, error)
    }
}

/// The subprotocol a caller's socket gets: the one of those offered that is no credential and no version.
pub fn subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    offered.split(',').any(|name| name.trim() == "realtime").then(|| HeaderValue::from_static("realtime"))
}

/// A key among the subprotocols.
pub fn key(headers: &HeaderMap) -> Option<&str> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    offered.split(',').find_map(|name| name.trim().strip_prefix(KEY_PROTOCOL))
}

/// What is seen of a session. Each chunk is a provider's message.
#[derive(Debug, Default)]
struct Session(Summary);

impl Relay for Session {
    fn chunk(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> Passed {
        let Ok([kind, response, usage, session]) =
            peek::fields(bytes, ["type", "response", "usage", "session"], 0)
        else {
            return Passed::AsIs;
        };
        let used = match kind.map_or("", |kind| kind.get()) {
            "\"session.created\"" => {
                let model =
                    session.and_then(|session| wire::value(session)["model"].as_str().map(str::to_owned));
                self.0.response_model = model.or(self.0.response_model.take());
                None
            }
            "\"response.done\"" => response.and_then(|response| wire::used(&wire::value(response)["usage"])),
            "\"conversation.item.input_audio_transcription.completed\"" => usage.and_then(wire::tokens),
            _ => None,
        };
        if let Some(used) = used {
            let sum = self.0.usage.get_or_insert_default();
            *sum = added(*sum, used);
        }
        Passed::AsIs
    }

    fn end(&mut self, ending: Ending, _out: &mut Vec<u8>) {
        if let Ending::Failed(error) = ending {
            self.0.error = Some(error);
        }
    }

    fn summary(&self) -> &Summary {
        &self.0
    }
}

fn added(one: Usage, other: Usage) -> Usage {
    Usage {
        input_tokens: one.input_tokens + other.input_tokens,
        cache_read_input_tokens: one.cache_read_input_tokens + other.cache_read_input_tokens,
        audio_input_tokens: one.audio_input_tokens + other.audio_input_tokens,
        image_input_tokens: one.image_input_tokens + other.image_input_tokens,
        cache_read_audio_input_tokens: one.cache_read_audio_input_tokens
            + other.cache_read_audio_input_tokens,
        output_tokens: one.output_tokens + other.output_tokens,
        audio_output_tokens: one.audio_output_tokens + other.audio_output_tokens,
        audio_ms: one.audio_ms + other.audio_ms,
        ..one
    }
}

/// A byte of a name, as a query has it.
fn query_byte(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_session_adds_up_what_its_messages_count() {
        let mut session = Session::default();
        let usage = json!({ "total_tokens": 30, "input_tokens": 20, "output_tokens": 10,
            "input_token_details": { "text_tokens": 5, "audio_tokens": 15, "cached_tokens": 8,
                "cached_tokens_details": { "text_tokens": 2, "audio_tokens": 6 } },
            "output_token_details": { "text_tokens": 3, "audio_tokens": 7 } });
        let heard = json!({ "type": "tokens", "input_tokens": 4, "output_tokens": 2, "total_tokens": 6,
            "input_token_details": { "text_tokens": 0, "audio_tokens": 4 } });
        for message in [
            json!({ "type": "session.created", "session": { "model": "gpt-realtime-2025-08-28" } }),
            json!({ "type": "response.done", "response": { "id": "resp_1", "status": "completed", "usage": usage } }),
            json!({ "type": "response.done", "response": { "id": "resp_2", "status": "cancelled", "usage": null } }),
            json!({ "type": "response.done", "response": { "id": "resp_3", "usage": usage } }),
            json!({ "type": "conversation.item.input_audio_transcription.completed", "usage": heard }),
            json!({ "type": "response.created", "usage": usage }),
            json!(["no object"]),
        ] {
            assert_eq!(session.chunk(message.to_string().as_bytes(), &mut Vec::new()), Passed::AsIs);
        }
        let summary = session.summary();
        assert_eq!(summary.response_model.as_deref(), Some("gpt-realtime-2025-08-28"));
        let expected = Usage {
            input_tokens: 44,
            cache_read_input_tokens: 16,
            audio_input_tokens: 34,
            cache_read_audio_input_tokens: 12,
            output_tokens: 22,
            audio_output_tokens: 14,
            ..Usage::default()
        };
        assert_eq!(summary.usage, Some(expected));
    }

    #[test]
    fn only_a_model_is_taken_from_the_address() {
        let mut headers = HeaderMap::new();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let peek = |query: &'static str, headers: &'static HeaderMap| match Realtime.peek(query, headers, b"")
        {
            Ok(peek) => peek.model.into_owned(),
            Err(error) => error.to_string(),
        };
        let headers: &'static HeaderMap = Box::leak(Box::new(headers));
        assert_eq!(peek("/v1/realtime?model=openai%2Fgpt-realtime", headers), "openai/gpt-realtime");
        assert_eq!(peek("/v1/realtime?model=openai/gpt-realtime", headers), "openai/gpt-realtime");
        assert!(peek("/v1/realtime", headers).contains("`model` is required"));
        assert!(peek("/v1/realtime?model=a&model=b", headers).contains("`model` is not taken, or not twice"));
        assert!(peek("/v1/realtime?model=a&call_id=rtc_1", headers).contains("`call_id` is not taken"));
        static NONE: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(HeaderMap::new);
        assert!(peek("/v1/realtime?model=a", &NONE).contains("WebSocket"));
    }

    #[test]
    fn a_browser_hands_its_key_in_among_the_subprotocols() {
        let mut headers = HeaderMap::new();
        let offered = "realtime, openai-insecure-api-key.hg_key, openai-beta.realtime-v1";
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offered));
        assert_eq!(key(&headers), Some("hg_key"));
        assert_eq!(subprotocol(&headers), Some(HeaderValue::from_static("realtime")));
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("other"));
        assert_eq!((key(&headers), subprotocol(&headers)), (None, None));
    }
}
