//! Answers that are passed on as they come and never read: sound, files.

use http::{HeaderMap, HeaderValue, header};

use super::Streamed;
use crate::relay::{Plain, Summary};

/// Passes bytes on under the media type they come with. `summary` is what is known of the answer before it comes.
pub(super) fn relay(headers: &HeaderMap, summary: Summary) -> Streamed {
    let content_type = headers.get(header::CONTENT_TYPE).cloned();
    Streamed {
        content_type: content_type.unwrap_or(HeaderValue::from_static("application/octet-stream")),
        relay: Box::new(Plain::with_content(summary)),
    }
}
