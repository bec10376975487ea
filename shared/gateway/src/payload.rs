//! The content of a call, for tenants that keep it. By default nothing is kept.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whether a tenant keeps content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As it was sent; what is not text as a `data:` URL.
    Full,
    /// Nothing is kept.
    #[default]
    None,
    /// Every text is replaced by its length; roles, names of tools and parameters stay.
    Redacted,
}

impl Mode {
    /// As the database spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::None => "none",
            Self::Redacted => "redacted",
        }
    }
}

/// What was said, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// Never [`Mode::None`].
    pub mode: Mode,
    /// JSON object, name to value; values that give access are replaced.
    pub request_headers: String,
    /// The caller's body.
    pub request: String,
    /// What the caller got.
    pub response: String,
    /// Whether something was cut off at the tenant's cap.
    pub truncated: bool,
}

/// Collects a call's content while it passes. Holds nothing where nothing is kept.
#[derive(Debug)]
pub struct Capture {
    mode: Mode,
    cap: usize,
    headers: String,
    request: Vec<u8>,
    response: Vec<u8>,
    truncated: bool,
}

impl Capture {
    /// Begins with the request. `None` where the tenant keeps nothing.
    pub fn begin(mode: Mode, cap: usize, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        if mode == Mode::None {
            return None;
        }
        let mut capture = Self {
            mode,
            cap,
            headers: safe_headers(headers),
            request: Vec::new(),
            response: Vec::new(),
            truncated: false,
        };
        if mode == Mode::Redacted {
            // Masking needs the whole text: it is cut afterwards, so that a cut never uncovers anything.
            capture.request = mask_json(body);
            capture.truncated |= capture.request.len() > cap;
            capture.request.truncate(cap);
        } else {
            capture.truncated |= body.len() > cap;
            capture.request = body[..body.len().min(cap)].to_vec();
        }
        Some(capture)
    }

    /// Takes what the caller is sent.
    pub fn response(&mut self, bytes: &[u8]) {
        // Masked text is shorter than what it masks, so more may be needed; a bound all the same.
        let bound = if self.mode == Mode::Redacted { self.cap.saturating_mul(4) } else { self.cap };
        let room = bound.saturating_sub(self.response.len());
        self.truncated |= bytes.len() > room;
        self.response.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// What is kept.
    pub fn finish(mut self) -> Payload {
        if self.mode == Mode::Redacted {
            self.response = mask(&self.response);
        }
        let Self { mode, cap, headers, request, response, mut truncated } = self;
        let request = text(request, cap, &mut truncated);
        let response = text(response, cap, &mut truncated);
        Payload { mode, request_headers: headers, request, response, truncated }
    }
}

/// Bytes as text of at most `cap`. Amazon's frames and sound are none: they become a `data:` URL.
fn text(mut bytes: Vec<u8>, cap: usize, truncated: &mut bool) -> String {
    // A cut may have gone through the last letter.
    let is_text = std::str::from_utf8(&bytes).is_ok_and(|text| !text.contains('\0'))
        || std::str::from_utf8(&bytes).is_err_and(|error| error.error_len().is_none());
    let room = if is_text { cap } else { cap.saturating_sub(BINARY.len()) / 4 * 3 };
    *truncated |= bytes.len() > room;
    bytes.truncate(room);
    match is_text {
        true => String::from_utf8_lossy(&bytes).into_owned(),
        false => format!("{BINARY}{}", STANDARD.encode(bytes)),
    }
}

/// What is kept of something that is not text begins so.
const BINARY: &str = "data:application/octet-stream;base64,";

/// A body or a stream of events, masked.
fn mask(bytes: &[u8]) -> Vec<u8> {
    if bytes.trim_ascii_start().first() == Some(&b'{') {
        return mask_json(bytes);
    }
    let mut masked = Vec::with_capacity(bytes.len() / 2);
    for line in bytes.split(|&byte| byte == b'\n') {
        match line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) {
            Some(b"[DONE]") => masked.extend_from_slice(b"data: [DONE]"),
            Some(data) => {
                masked.extend_from_slice(b"data: ");
                masked.extend(mask_json(data));
            }
            None if line.trim_ascii().is_empty() => {}
            // A comment, or a piece of something: not known to be harmless.
            None => masked.extend_from_slice(length(line.len()).as_bytes()),
        }
        masked.push(b'\n');
    }
    masked
}

fn mask_json(bytes: &[u8]) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else {
        return length(bytes.len()).into_bytes();
    };
    mask_value(&mut value, "", "");
    serde_json::to_vec(&value).expect("a value is JSON")
}

/// Masks a value that stands under `field` in an object that stands under `parent`.
fn mask_value(value: &mut Value, parent: &str, field: &str) {
    match value {
        // Free for the caller to fill, names and all.
        Value::Object(_) | Value::Array(_) if is_free(parent, field, value) => {
            *value = Value::from(length(value.to_string().len()))
        }
        Value::String(text) if !is_kept(parent, field) => *text = length(text.len()),
        // Long enough to be a card or an account.
        Value::Number(number) if number.to_string().len() > 9 && field != "created" => {
            *value = Value::from("[number]")
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask_value(item, parent, field)),
        Value::Object(fields) => {
            let masked = std::mem::take(fields).into_iter().map(|(name, mut value)| {
                mask_value(&mut value, field, &name);
                (name, value)
            });
            *fields = masked.collect();
        }
        _ => {}
    }
}

/// Whether all of it is somebody's own words, names and numbers too: what tools are called with and what they say, in
/// protocols that write it as JSON.
fn is_free(parent: &str, field: &str, value: &Value) -> bool {
    match field {
        "args" | "arguments" | "metadata" => true,
        "input" | "json" => value.is_object(),
        "response" => matches!(parent, "functionResponse" | "function_response"),
        _ => false,
    }
}

/// Whether a text is a name or a choice, not content.
fn is_kept(parent: &str, field: &str) -> bool {
    KEPT.contains(&field) || (field == "name" && matches!(parent, "function" | "json_schema"))
}

fn length(bytes: usize) -> String {
    format!("[{bytes} bytes]")
}

fn safe_headers(headers: &HeaderMap) -> String {
    let fields = headers.iter().take(MAX_HEADERS).map(|(name, value)| {
        let text = value.to_str().ok().filter(|text| text.len() <= MAX_HEADER_BYTES);
        let shown = text.filter(|_| is_harmless(name.as_str())).unwrap_or("[redacted]");
        (name.as_str().to_owned(), Value::from(shown))
    });
    Value::Object(fields.collect()).to_string()
}

/// Headers whose values are kept. All others may open a door or name a person, and a new one is not known yet.
fn is_harmless(name: &str) -> bool {
    name.starts_with("x-stainless-")
        || matches!(name, "accept" | "content-length" | "content-type" | "traceparent" | "user-agent")
}

/// A header longer than this says nothing one would look for.
const MAX_HEADER_BYTES: usize = 400;

const MAX_HEADERS: usize = 60;

/// Fields whose text is a name or a choice. Everything else is masked.
const KEPT: &[&str] = &[
    "code",
    "detail",
    "encoding_format",
    "finish_reason",
    "id",
    "model",
    "native_finish_reason",
    "object",
    "reasoning_effort",
    "request_id",
    "required",
    "role",
    "service_tier",
    "system_fingerprint",
    "tool_call_id",
    "tool_choice",
    "type",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(mode: Mode, cap: usize, request: &str, response: &str) -> Payload {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer hg_secret"),
            ("cookie", "sid=secret"),
            ("x-api-key", "secret"),
            ("x-goog-api-key", "secret"),
            ("x-amz-security-token", "secret"),
            ("cf-access-jwt-assertion", "secret"),
            ("x-forwarded-for", "secret address"),
            ("referer", "https://a.example/?q=secret"),
            ("user-agent", "curl"),
        ] {
            headers.insert(name, value.parse().expect("a value"));
        }
        let mut capture = Capture::begin(mode, cap, &headers, request.as_bytes()).expect("something is kept");
        for chunk in response.as_bytes().chunks(7) {
            capture.response(chunk);
        }
        capture.finish()
    }

    #[test]
    fn nothing_is_kept_by_default() {
        assert!(Capture::begin(Mode::default(), 1_000, &HeaderMap::new(), b"{}").is_none());
    }

    #[test]
    fn headers_that_give_access_are_never_kept() {
        for mode in [Mode::Full, Mode::Redacted] {
            let headers = kept(mode, 1_000, "{}", "{}").request_headers;
            assert!(!headers.contains("secret"), "{headers}");
            assert!(headers.contains(r#""user-agent":"curl""#), "{headers}");
        }
    }

    #[test]
    fn redacted_keeps_the_shape_and_no_words() {
        let request = r#"{"model":"fast","messages":[{"role":"user","content":[{"type":"text","text":"my card is 4111"}]},
            {"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"pay","arguments":"{\"card\":4111}"}}]}],
            "metadata":{"name":{"first":"Ann"},"Ann":4111},"name":"Ann","card":4111111111111111,"temperature":0.5}"#;
        let response =
            "data: {\"choices\":[{\"delta\":{\"content\":\"paid 4111\"}}]}\n\ndata: [DONE]\n\n: 4111\n";
        let payload = kept(Mode::Redacted, 10_000, request, response);
        for text in [&payload.request, &payload.response] {
            assert!(!text.contains("4111") && !text.contains("Ann"), "{text}");
        }
        for shape in ["\"role\":\"user\"", "\"name\":\"pay\"", "\"temperature\":0.5", "[15 bytes]"] {
            assert!(payload.request.contains(shape), "{shape} in {}", payload.request);
        }
        assert!(payload.response.contains("[DONE]"));
        assert!(!payload.truncated);
    }

    #[test]
    fn redacted_keeps_nothing_of_what_tools_are_given_or_say() {
        let request = r#"{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"pay","input":{"Ann":4111,"id":"Ann"}}]}],
            "contents":[{"parts":[{"functionCall":{"args":{"type":"Ann"}}},{"functionResponse":{"response":{"code":"Ann"}}},{"toolResult":{"content":[{"json":{"id":"Ann"}}]}}]}]}"#;
        let payload =
            kept(Mode::Redacted, 10_000, request, r#"{"object":"response","response":{"id":"r1"}}"#);
        assert!(!payload.request.contains("Ann") && !payload.request.contains("4111"), "{}", payload.request);
        assert!(payload.request.contains(r#""id":"c1""#), "{}", payload.request);
        assert!(payload.response.contains(r#"{"id":"r1"}"#), "{}", payload.response);
    }

    #[test]
    fn what_cannot_be_read_is_masked_whole() {
        let payload = kept(Mode::Redacted, 10_000, "my card is 4111", "<html>4111</html>");
        assert_eq!(payload.request, "[15 bytes]");
        assert!(!payload.response.contains("4111"), "{}", payload.response);
    }

    #[test]
    fn what_is_not_text_can_be_read_again_byte_for_byte() {
        let mut frame = Vec::new();
        llm::eventstream::write(
            &[(":event-type", "contentBlockDelta")],
            br#"{"delta":{"text":"Hi"}}"#,
            &mut frame,
        );
        let kept = |cap: usize, body: &[u8]| {
            let mut capture =
                Capture::begin(Mode::Full, cap, &HeaderMap::new(), b"{}").expect("something is kept");
            body.chunks(7).for_each(|chunk| capture.response(chunk));
            capture.finish()
        };
        for body in [&frame[..], b"\xff\xfb\x90", b"a\0b"] {
            let payload = kept(1_000, body);
            let data =
                payload.response.strip_prefix("data:application/octet-stream;base64,").expect("no text");
            assert_eq!(STANDARD.decode(data).expect("base64"), body);
            assert!(!payload.truncated);
        }
        let cut = kept(80, &frame);
        assert!(
            cut.truncated && cut.response.len() <= 80 && cut.response.starts_with("data:"),
            "{}",
            cut.response
        );
        assert_eq!(kept(4, "aaaé".as_bytes()).response, "aaa\u{fffd}");
    }

    #[test]
    fn the_cap_holds_and_is_told() {
        let long = format!(r#"{{"messages":"{}"}}"#, "é".repeat(500));
        let payload = kept(Mode::Full, 100, &long, &long);
        assert!(payload.truncated && payload.request.len() <= 103 && payload.response.len() <= 103);
    }
}
