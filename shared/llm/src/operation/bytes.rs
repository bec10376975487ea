//! Answers that are passed on as they come and never read: sound, files.

use http::{HeaderMap, HeaderValue, header};

use super::Streamed;
use crate::{
    UpstreamError,
    relay::{Ending, Passed, Relay, Summary},
};

/// Passes bytes on under the media type they come with. `summary` is what is known of the answer before it comes.
pub(super) fn relay(headers: &HeaderMap, summary: Summary) -> Streamed {
    let content_type = headers.get(header::CONTENT_TYPE).cloned();
    Streamed {
        content_type: content_type.unwrap_or(HeaderValue::from_static("application/octet-stream")),
        relay: Box::new(Untouched { summary, has_begun: false }),
    }
}

/// Bytes have no place for an error: an answer that is cut ends with the connection broken off.
struct Untouched {
    summary: Summary,
    has_begun: bool,
}

impl Relay for Untouched {
    fn chunk(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> Passed {
        self.has_begun |= !bytes.is_empty();
        Passed::AsIs
    }

    fn end(&mut self, ending: Ending, _out: &mut Vec<u8>) {
        self.summary.error = match ending {
            Ending::Failed(error) => Some(error),
            Ending::Closed if !self.has_begun => Some(UpstreamError::garbled("it was empty")),
            Ending::Closed => None,
        };
    }

    fn summary(&self) -> &Summary {
        &self.summary
    }

    fn must_break_off(&self) -> bool {
        self.summary.error.is_some()
    }
}
