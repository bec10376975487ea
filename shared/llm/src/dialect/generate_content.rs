//! Google's Gemini API: `generateContent` and `streamGenerateContent`.
//!
//! It differs from Chat Completions in that
//!
//! - the model is part of the address, and so is the wish for a stream (`text`, `streamed`);
//! - instructions stand apart from the conversation, which knows the roles `user` and `model` only;
//!   turns of one role in a row are merged (`system-later`, `merged-turns`);
//! - a tool's result is a user's part, comes first in its turn, needs the function's name and must be a
//!   JSON object (`parallel-tool-calls`, `tool-result-after-text`, `gemini-thought-signatures`);
//! - a call says `STOP`, not that it waits for results, may have no id and no arguments (`tool-call`,
//!   `tool-call-same-id-twice`, `empty-arguments`);
//! - a thought signature on a part must come back with that part, or newer models refuse the turn
//!   (`thoughts`, `gemini-thought-signatures`, `gemini-foreign-history`);
//! - reasoning is a budget of tokens up to Gemini 2.5 and a level from Gemini 3 on (`reasoning-effort`);
//! - thought tokens are not in `candidatesTokenCount`, cached tokens are in `promptTokenCount`
//!   (`thoughts`, `cached-tokens`, `tool-use-tokens`);
//! - a prompt the filter stopped is a 200 without candidates. It becomes an error, as OpenAI's is
//!   (`prompt-blocked`);
//! - failures of the model itself are finish reasons of a 200. They become errors: told as an end, a
//!   caller could not tell them from success (`malformed-function-call`, `missing-thought-signature`);
//! - the wait after a 429 is in the body (`error-429`);
//! - events end in `\r\n`, and a stream is whole once a chunk had a finish reason (`text`).
//!
//! Callers speak it too: `front` is their side, `parse` reads their body, `schema` their types, `write` writes
//! the answer, and `array` gives a stream in the form of one JSON list.

mod answer;
mod array;
mod failure;
mod front;
mod parse;
mod request;
mod schema;
mod write;

use http::HeaderMap;

use super::{Decoder, Dialect, Encoded, SseDecoder, bend::ToolNames};
use crate::{Error, Target, UpstreamError, chat};

/// The dialect.
#[derive(Debug)]
pub struct GenerateContent;

impl Dialect for GenerateContent {
    fn encode(&self, request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
        request::encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<chat::Event>, UpstreamError> {
        answer::whole(body)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(SseDecoder::new(answer::Reader::default()))
    }

    fn tool_names(&self, _target: &Target<'_>) -> ToolNames {
        ToolNames { longest: 128, besides: "-.:", any_first: false }
    }

    fn lacks_schema(&self, request: &chat::Request, target: &Target<'_>) -> bool {
        request::lacks_schema(request, target)
    }

    fn error(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
        failure::answer(status, headers, body)
    }
}

/// Marks a signature of a text part as Gemini's, where it travels among the signatures of others. A
/// signature is only good for its maker: the others' are not sent to Gemini, nor Gemini's to others.
pub(crate) const SIGNATURE_PREFIX: &str = "google:";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        dialect::chat_completions::{answer, request},
        front::Head,
        provider,
    };

    /// The model's parts in the request of a client that sent the answer back.
    fn sent_back(model: &str, parts: &Value) -> Value {
        let said = json!({ "candidates": [{ "content": { "parts": parts }, "finishReason": "STOP" }], "responseId": "r" });
        let events = GenerateContent.decode(said.to_string().as_bytes()).expect("whole");
        let head = Head { id: "1", created: 0, model: "m" };
        let answer = answer::whole(&head, &events).expect("whole");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let messages = json!([{ "role": "user", "content": "Hi" }, answer["choices"][0]["message"]]);
        let body = json!({ "model": "m", "messages": messages }).to_string();
        let request = request::parse(body.as_bytes()).expect("valid");
        let provider = provider::find("gemini").expect("listed");
        let target = Target { provider, model, base_url: "https://example.com", credential: None };
        let encoded = GenerateContent.encode(&request, &target).expect("said before");
        let body: Value = serde_json::from_slice(encoded.request.body()).expect("JSON");
        body["contents"][1]["parts"].clone()
    }

    #[test]
    fn an_answer_sent_back_is_geminis_own_again_but_for_its_thoughts() {
        let call = |id: &str, city: &str| json!({ "id": id, "name": "weather", "args": { "city": city } });
        let thought = json!({ "text": "Hm.", "thought": true });
        let text = json!({ "text": "Three.", "thoughtSignature": "c2ln" });
        let first = json!({ "functionCall": call("a", "Paris"), "thoughtSignature": "c2ln" });
        let second = json!({ "functionCall": call("b", "Rome") });
        for model in ["gemini-2.5-flash", "gemini-3-flash-preview"] {
            assert_eq!(sent_back(model, &json!([thought, text])), json!([text]));
            assert_eq!(sent_back(model, &json!([thought, first, second])), json!([first, second]));
            assert_eq!(sent_back(model, &json!([text, first])), json!([text, first]));
        }
        let empty = json!({ "text": "", "thoughtSignature": "c2ln" });
        assert_eq!(
            sent_back("gemini-3-flash-preview", &json!([thought, { "text": "Three." }, empty])),
            json!([text])
        );
        assert_eq!(sent_back("gemini-3-flash-preview", &json!([thought, empty])), json!([empty]));
    }

    #[test]
    fn a_call_of_another_model_passes_where_a_signature_is_required() {
        let call = json!({ "functionCall": { "id": "call_1", "name": "now", "args": {} } });
        assert_eq!(sent_back("gemini-2.5-flash", &json!([call])), json!([call]));
        let mut passing = call.clone();
        passing["thoughtSignature"] = json!("skip_thought_signature_validator");
        assert_eq!(sent_back("gemini-3-flash-preview", &json!([call])), json!([passing]));
    }
}
