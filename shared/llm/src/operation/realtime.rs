//! `/v1/realtime`: a conversation over a socket. Callers and providers speak OpenAI's API; messages go both ways as
//! they come. Those of the provider that count tokens are read in passing, those of the caller that may name a model
//! before they go on: a session can be given another model to write down what is said.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::{Answered, Ask, Delivery, Operation, Outgoing, Streamed, Whole, json as wire};
use crate::{
    Error, Provider, Target, UpstreamError,
    dialect::{
        chat_completions::{self, ChatCompletions},
        post,
    },
    fields,
    front::{ErrorBody, Front, Peek},
    kept::{self, Kept},
    peek,
    provider::{Api, Offer},
    relay::{Ending, Passed, Plain, Relay, Summary},
    sigv4,
};

/// A conversation.
pub struct Realtime;

/// Of a provider's messages only those with one of these words in them are worth reading.
pub const TELLING: [&str; 2] = ["\"usage\"", "\"session.created\""];

/// Of a caller's those that have this in them, a regular expression whatever the case, and all that are not text. In
/// sound there is none of it.
pub const NAMING: &str = r#""model"|"prompt"|"voice"|"file_?ids?"|"container|"vector_?store|\\u00[4-7]"#;

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

    fn request(&self, _ask: &Ask<'_>, target: &Target<'_>) -> Result<Outgoing, Error> {
        let model: String = target.model.bytes().map(query_byte).collect();
        // Azure's older address has the deployment in the query, unlike its others.
        let deployment = format!("/deployments/{}", sigv4::encode(target.model));
        let url = match target.base_url.strip_suffix(&deployment) {
            Some(account) => format!("{account}/realtime?deployment={model}"),
            None => format!("{}/realtime?model={model}", target.base_url),
        };
        let mut request = post(url, target, Bytes::new())?;
        *request.method_mut() = Method::GET;
        let headers = request.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        Ok(Outgoing::new(request, Delivery::Socket))
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

/// Reads a caller's message, whose models go through `named`: it says what the provider calls one, where that is
/// something else. Returns what to send instead, if anything. A message may not refer to what is kept, as a body may not.
pub fn check(
    message: &[u8],
    named: &mut dyn FnMut(&str) -> Result<Option<String>, Error>,
) -> Result<Option<String>, Error> {
    let mut message = fields::body(message)?.map;
    // Items are the session's own.
    let Kept { files, clouds, .. } = kept::kept_in(&message)?;
    if let Some(cloud) = clouds.first() {
        return Err(cloud.refusal("Send the content itself."));
    }
    if let Some(file) = files.first() {
        let why = format!("The file `{file}` cannot be referred to here. Send its content.");
        return Err(Error::unsupported("file_id", why));
    }
    let mut has_changed = false;
    kept::each_model(&mut message, true, &mut |model| {
        if let Some(name) = named(model)? {
            *model = name;
            has_changed = true;
        }
        Ok(())
    })?;
    Ok(has_changed.then(|| Value::Object(message).to_string()))
}

/// The event that answers a message which did not go on.
pub fn refusal(error: &ErrorBody<'_>, event_id: &str, message: &[u8]) -> String {
    let mut event: Value = serde_json::from_slice(&chat_completions::error::body(error)).unwrap_or_default();
    let [about] = peek::fields(message, ["event_id"], 0).unwrap_or_default();
    event["type"] = "error".into();
    event["event_id"] = event_id.into();
    event["error"]["event_id"] = about.map(wire::value).unwrap_or_default();
    event.to_string()
}

/// What is seen of a session. Each chunk is a provider's message.
#[derive(Debug, Default)]
struct Session(Plain);

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
                let known = &mut self.0.summary.response_model;
                *known = model.or(known.take());
                None
            }
            "\"response.done\"" => response.and_then(|response| wire::used(&wire::value(response)["usage"])),
            "\"conversation.item.input_audio_transcription.completed\"" => usage.and_then(wire::tokens),
            _ => None,
        };
        if let Some(used) = used {
            let sum = self.0.summary.usage.get_or_insert_default();
            *sum = sum.plus(&used);
        }
        Passed::AsIs
    }

    fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        self.0.end(ending, out);
    }

    fn summary(&self) -> &Summary {
        self.0.summary()
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
    use crate::Usage;

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
    fn every_model_that_a_message_names_is_looked_at() {
        let naming = |message: &str| {
            let mut names = Vec::new();
            let checked = check(message.as_bytes(), &mut |name| {
                names.push(name.to_owned());
                Ok(name.strip_prefix("openai/").map(str::to_owned))
            });
            (names.join(" "), checked)
        };
        for (message, names, instead) in [
            (
                r#"{"type":"session.update","session":{"type":"realtime","audio":{"input":{"transcription":{"model":"whisper-1"}}}}}"#,
                "whisper-1",
                None,
            ),
            (
                r#"{"type":"session.update","session":{"model":"a","input_audio_transcription":{"m\u006fdel":"b"}}}"#,
                "a b",
                None,
            ),
            (
                r#"{"session":{"input_audio_transcription":{"model":"openai/whisper-1"}},"type":"transcription_session.update"}"#,
                "openai/whisper-1",
                Some(
                    r#"{"session":{"input_audio_transcription":{"model":"whisper-1"}},"type":"transcription_session.update"}"#,
                ),
            ),
            (
                r#"{"type":"session.update","session":{"tools":[{"type":"function","parameters":{"properties":{"model":{"type":"string"}}}}]}}"#,
                "",
                None,
            ),
            (
                r#"{"type":"response.create","response":{"model":"x","metadata":{"model":"mine"},"input":[{"type":"item_reference","id":"item_1"}]}}"#,
                "x",
                None,
            ),
        ] {
            let expected = (names.to_owned(), Ok(instead.map(str::to_owned)));
            assert_eq!(naming(message), expected, "{message}");
        }
        for message in [
            r#"{"type":"session.update","session":{"prompt":{"id":"pmpt_1"}}}"#,
            r#"{"type":"response.create","response":{"prompt":{"id":"pmpt_1"}}}"#,
            r#"{"type":"session.update","session":{"audio":{"output":{"voice":{"id":"voice_1"}}}}}"#,
            r#"{"type":"conversation.item.create","item":{"content":[{"type":"input_image","file_id":"file-1"}]}}"#,
            r#"{"type":"conversation.item.create","item":{"content":[{"type":"input_image","image_url":"gs://b/o"}]}}"#,
            r#"{"type":"session.update","session":{"model":"a","model":"b"}}"#,
            r#"{"type":"session.update","session":{"model":"a"}"#,
            "\u{feff}{}",
            "[]",
        ] {
            assert!(naming(message).1.is_err(), "{message}");
        }
    }

    #[test]
    fn a_refused_message_is_answered_with_an_event() {
        let error = ErrorBody {
            message: "No.".into(),
            status: StatusCode::FORBIDDEN,
            param: Some("model"),
            code: Some("model_not_allowed"),
            request_id: None,
        };
        let event: Value =
            serde_json::from_str(&refusal(&error, "event_1", br#"{"event_id":"mine"}"#)).expect("JSON");
        assert_eq!((&event["type"], &event["event_id"]), (&json!("error"), &json!("event_1")));
        assert_eq!(event["error"]["code"], "model_not_allowed");
        assert_eq!(
            (&event["error"]["message"], &event["error"]["event_id"]),
            (&json!("No."), &json!("mine"))
        );
        let event: Value = serde_json::from_str(&refusal(&error, "event_2", b"{")).expect("JSON");
        assert_eq!(event["error"]["event_id"], Value::Null);
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
