//! Chat Completions on the providers' side, for callers who speak something else.

use http::HeaderMap;

use super::{ChatCompletions, decode, encode, error};
use crate::{
    Error, Target, UpstreamError, chat,
    dialect::{Decoder, Dialect, Encoded},
};

impl Dialect for ChatCompletions {
    fn encode(&self, request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
        encode::encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<chat::Event>, UpstreamError> {
        decode::decode(body)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(decode::Stream::default())
    }

    fn lacks_schema(&self, request: &chat::Request, target: &Target<'_>) -> bool {
        encode::lacks_schema(request, target)
    }

    fn error(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
        error::upstream(status, headers, body)
    }
}
