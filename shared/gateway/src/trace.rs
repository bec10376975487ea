//! W3C trace context: the caller's trace goes on to the provider. The spans of a call have ids that follow from its own,
//! so that what the provider is told is what is sent to a collector later, however often.

use http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use crate::{Host, secret::hex};

/// The header, in and out.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace of the caller's `traceparent`, and the span in it, if it is one.
pub fn incoming(headers: &HeaderMap) -> Option<(String, String)> {
    let mut fields = headers.get(TRACEPARENT)?.to_str().ok()?.split('-');
    let (version, trace_id, parent_id, flags) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_hex = |text: &str, length: usize| {
        text.len() == length
            && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let is_set = |text: &str| text.bytes().any(|byte| byte != b'0');
    let is_valid = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace_id, 32)
        && is_set(trace_id)
        && is_hex(parent_id, 16)
        && is_set(parent_id)
        && is_hex(flags, 2)
        // Only later versions may say more.
        && (version != "00" || fields.next().is_none());
    is_valid.then(|| (trace_id.to_owned(), parent_id.to_owned()))
}

/// A new trace id, for a caller without one.
pub fn new_id<H: Host>(host: &H) -> String {
    let memory = host.memory();
    let halves = [memory.unique(host).to_be_bytes(), memory.unique(host).to_be_bytes()];
    hex(halves.as_flattened())
}

/// A `traceparent` for a call's try with this number.
pub fn parent(trace_id: &str, call_id: &str, attempt: usize) -> String {
    format!("00-{trace_id}-{}-01", span_id(call_id, Some(attempt)))
}

/// The span of a call, or of one of its tries.
pub fn span_id(call_id: &str, attempt: Option<usize>) -> String {
    let mut digest = Sha256::new_with_prefix(call_id);
    if let Some(attempt) = attempt {
        digest.update(format!("/{attempt}"));
    }
    hex(&digest.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_trace_only_from_a_valid_header() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let span = "00f067aa0ba902b7";
        let cases = [
            (format!("00-{trace}-{span}-01"), true),
            (format!("01-{trace}-{span}-01-more"), true),
            (format!("00-{trace}-{span}-01-more"), false),
            (format!("ff-{trace}-{span}-01"), false),
            (format!("00-{}-{span}-01", "0".repeat(32)), false),
            (format!("00-{trace}-{}-01", "0".repeat(16)), false),
            (format!("00-{}-{span}-01", trace.to_uppercase()), false),
            (format!("00-{trace}-{span}"), false),
            (String::new(), false),
        ];
        for (value, valid) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, value.parse().expect("a header value"));
            let expected = valid.then(|| (trace.to_owned(), span.to_owned()));
            assert_eq!(incoming(&headers), expected, "{value}");
        }
    }

    #[test]
    fn spans_follow_from_the_call() {
        let spans = [None, Some(0), Some(1)].map(|attempt| span_id("call_1", attempt));
        assert_eq!(spans, ["74196fe72e4cdc13", "bf24aa39d47d8830", "69f530784576a8a4"]);
        assert_eq!(parent("t", "call_1", 1), format!("00-t-{}-01", spans[2]));
    }
}
