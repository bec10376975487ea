//! W3C trace context: the caller's trace goes on to the provider.

use http::{HeaderMap, HeaderName};

use crate::{Host, secret::hex};

/// The header, in and out.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace id of the caller's `traceparent`, if it is one.
pub fn incoming_id(headers: &HeaderMap) -> Option<String> {
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
    is_valid.then(|| trace_id.to_owned())
}

/// A new trace id, for a caller without one.
pub fn new_id<H: Host>(host: &H) -> String {
    let memory = host.memory();
    let halves = [memory.unique(host).to_be_bytes(), memory.unique(host).to_be_bytes()];
    hex(halves.as_flattened())
}

/// A `traceparent` for a request made on behalf of a trace.
pub fn parent<H: Host>(trace_id: &str, host: &H) -> String {
    format!("00-{trace_id}-{}-01", hex(&host.memory().unique(host).max(1).to_be_bytes()))
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
            assert_eq!(incoming_id(&headers).as_deref(), valid.then_some(trace), "{value}");
        }
    }
}
