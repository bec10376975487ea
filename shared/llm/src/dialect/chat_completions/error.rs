//! The OpenAI error object, both ways: ours for callers, and a compatible provider's for us.
//!
//! Providers that speak Chat Completions agree on the way to success only. Their errors come as
//! OpenAI's object, as a bare string, as a list, with FastAPI's `detail`, or as a web page. What each says is in
//! `tests/errors.rs`.

use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::{ErrorClass, UpstreamError, dialect::retry_after_ms, front::ErrorBody};

/// The body of an error answer.
pub fn body(error: &ErrorBody<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(error.message.len() + 160);
    write(error, &mut out);
    out
}

/// An error inside a stream. Nothing may follow it, not even `[DONE]`: clients take that for success.
pub fn event(error: &ErrorBody<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    write(error, out);
    out.extend_from_slice(b"\n\n");
}

fn write(error: &ErrorBody<'_>, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Wrapped<'a> {
        error: Wire<'a>,
    }
    #[derive(Serialize)]
    struct Wire<'a> {
        message: &'a str,
        #[serde(rename = "type")]
        kind: &'a str,
        param: Option<&'a str>,
        code: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    }
    let error = Wire {
        message: &error.message,
        kind: kind(error.status),
        param: error.param,
        code: error.code,
        request_id: error.request_id,
    };
    serde_json::to_writer(out, &Wrapped { error }).expect("strings into memory cannot fail");
}

/// OpenAI's `type` for a status of ours.
pub fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    }
}

/// A compatible provider's non-2xx answer.
pub fn upstream(status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
    let said = serde_json::from_slice(body).map(|body| said(&body)).unwrap_or_default();
    let class = classify(status, &said);
    UpstreamError {
        class,
        status: Some(status),
        message: if said.message.is_empty() { unsaid(status, body) } else { cut(&said.message) },
        code: said.code.or(said.kind),
        param: said.param,
        retry_after_ms: retry_after_ms(headers),
    }
}

/// What an error body says, whatever its shape.
#[derive(Debug, Default)]
struct Said {
    message: String,
    kind: Option<String>,
    code: Option<String>,
    param: Option<String>,
}

fn said(body: &Value) -> Said {
    // Google's compatible endpoint wraps its error in a list.
    let body = body.get(0).unwrap_or(body);
    let error = match (&body["error"], &body["errors"]) {
        (error @ Value::Object(_), _) => error,
        // Cloudflare's envelope.
        (_, Value::Array(errors)) if !errors.is_empty() => &errors[0],
        _ => body,
    };
    let text = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let mut said = Said {
        message: String::new(),
        kind: text(&error["type"]),
        code: text(&error["code"]),
        param: text(&error["param"]),
    };
    // `message` may itself be an object with a `detail` (Mistral).
    let places =
        // DeepInfra has it in `detail.error`.
        [&error["message"], &body["error"], &body["detail"], &body["detail"]["error"], &error["message"]["detail"], &body["message"]];
    for place in places {
        match place {
            Value::String(message) => said.message.clone_from(message),
            Value::Array(details) => said.detail(details),
            _ => {}
        }
        if !said.message.is_empty() {
            break;
        }
    }
    said
}

impl Said {
    /// FastAPI's list of what is wrong: `{"loc": ["body", "messages", 0], "msg": "Field required"}`.
    fn detail(&mut self, details: &[Value]) {
        for detail in details {
            let path = path(&detail["loc"]);
            if !self.message.is_empty() {
                self.message.push_str("; ");
            }
            if !path.is_empty() {
                self.message.push_str(&path);
                self.message.push_str(": ");
            }
            self.message.push_str(detail["msg"].as_str().unwrap_or("is wrong"));
            if self.param.is_none() && !path.is_empty() {
                self.param = Some(path);
            }
        }
    }
}

fn path(steps: &Value) -> String {
    let mut path = String::new();
    for step in steps.as_array().into_iter().flatten() {
        match step {
            Value::String(name) if path.is_empty() && name == "body" => {}
            Value::String(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            index => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// Names say most, then sentences, then the status.
fn classify(status: u16, said: &Said) -> ErrorClass {
    let names = [said.code.as_deref(), said.kind.as_deref()];
    if let Some(class) = names.into_iter().flatten().find_map(class_of_name) {
        return class;
    }
    // OpenRouter gives the status as the code, also inside a stream, where there is no other.
    let code =
        said.code.as_deref().and_then(|code| code.parse().ok()).filter(|code| (400..600).contains(code));
    let status = code.unwrap_or(status);
    let message = said.message.to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    match status {
        400 | 413 | 422 | 500 if says(TOO_LONG) => ErrorClass::ContextLength,
        400 | 403 | 422 if says(FILTERED) => ErrorClass::Content,
        // What is spent for the day will not be back in a moment. What lasts a minute may be told with advice to pay.
        429 if says(&["per day", "per-day", "modelbyday"]) => ErrorClass::Quota,
        429 if says(&["rate limit"]) => ErrorClass::Rate,
        403 | 412 | 429 if says(NO_CREDIT) => ErrorClass::Quota,
        // xAI's answer to a key it does not know.
        400 if says(&["incorrect api key"]) => ErrorClass::Auth,
        400 if says(UNKNOWN_MODEL) => ErrorClass::NotFound,
        // Groq's answer where its flexible tier is full.
        498 => ErrorClass::Overloaded,
        429 if says(&["overloaded", "capacity temporarily", "model busy"]) => ErrorClass::Overloaded,
        500.. if said.kind.as_deref() == Some("invalid_request_error") => ErrorClass::Invalid,
        _ => ErrorClass::of_status(status),
    }
}

fn class_of_name(name: &str) -> Option<ErrorClass> {
    Some(match name {
        "account_deactivated" | "authentication_error" | "invalid_api_key" | "organization_restricted" => {
            ErrorClass::Auth
        }
        "ResponsibleAIPolicyViolation"
        | "content_filter"
        | "content_policy_violation"
        | "data_inspection_failed"
        | "moderation_blocked" => ErrorClass::Content,
        "context_length_exceeded" | "exceed_context_size_error" => ErrorClass::ContextLength,
        "invalid_model"
        | "model_decommissioned"
        | "model_not_available"
        | "model_not_found"
        | "unknown_model" => ErrorClass::NotFound,
        "capacity_exceeded"
        | "engine_overloaded"
        | "engine_overloaded_error"
        | "overloaded"
        | "overloaded_error"
        | "queue_exceeded"
        | "server_overloaded" => ErrorClass::Overloaded,
        "Arrearage"
        | "billing_hard_limit_reached"
        | "billing_not_active"
        | "blocked_api_access"
        | "exceeded_current_quota_error"
        | "insufficient_balance"
        | "insufficient_quota" => ErrorClass::Quota,
        "rate_limit_error" | "rate_limit_exceeded" | "too_many_requests" => ErrorClass::Rate,
        // What the model wrote was no call, or not of the schema: another try may do.
        "json_validate_failed" | "tool_use_failed" => ErrorClass::Server,
        _ => return None,
    })
}

/// A sentence where the provider gave none. A web page is not passed on.
fn unsaid(status: u16, body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap_or_default().trim();
    if text.is_empty() {
        return format!("the provider answered {status} without a message");
    }
    if text.starts_with('<') {
        return format!("the provider answered {status} with a web page");
    }
    if text.starts_with(['{', '[']) {
        return format!("the provider answered {status} without a readable message");
    }
    cut(text)
}

/// At most [`MAX_MESSAGE_CHARS`] characters of a message.
pub(crate) fn cut(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None if message.trim().is_empty() => "the provider gave no reason".to_owned(),
        None => message.to_owned(),
    }
}

/// Some providers repeat the whole request in what they say about it.
const MAX_MESSAGE_CHARS: usize = 2_000;

const TOO_LONG: &[&str] = &[
    "available context size",
    "context length",
    "context window",
    "context_length",
    "exceeds max length",
    "input is too long",
    "max_new_tokens` must be",
    "maximum context",
    "maximum prompt length",
    "model token limit",
    "prompt is too long",
    "prompt too long",
    "range of input length",
    "reduce the length",
];

const FILTERED: &[&str] = &[
    "content exists risk",
    "content filter",
    "content management policy",
    "content policy",
    "flagged",
    "moderation",
    "new_sensitive",
    "unsafe or sensitive content",
    "usage guidelines",
];

const NO_CREDIT: &[&str] = &[
    "account balance",
    "available balance",
    "balance is ",
    "balance not enough",
    "balance too low",
    "billing",
    "credit balance",
    "credits",
    "current quota",
    "daily free allocation",
    "free tier of the model has been exhausted",
    "insufficient balance",
    "not enough balance",
    "spending limit",
];

const UNKNOWN_MODEL: &[&str] =
    &["is not a valid model id", "model not exist", "no such model", "unknown model"];

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> (ErrorClass, String, Option<String>, Option<String>) {
        let error = upstream(status, &HeaderMap::new(), body.as_bytes());
        assert_eq!(error.status, Some(status));
        (error.class, error.message, error.code, error.param)
    }

    #[test]
    fn every_shape_is_read_and_classified() {
        use ErrorClass::*;
        #[rustfmt::skip]
        let cases = [
            // OpenAI
            (401, r#"{"error":{"message":"Incorrect API key provided: sk-ab***yz.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#, Auth, "Incorrect API key provided: sk-ab***yz.", Some("invalid_api_key"), None),
            (429, r#"{"error":{"message":"You exceeded your current quota.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#, Quota, "You exceeded your current quota.", Some("insufficient_quota"), None),
            (429, r#"{"error":{"message":"Rate limit reached for gpt-5.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#, Rate, "Rate limit reached for gpt-5.", Some("rate_limit_exceeded"), None),
            (400, r#"{"error":{"message":"Too many tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#, ContextLength, "Too many tokens.", Some("context_length_exceeded"), Some("messages")),
            (404, r#"{"error":{"message":"No such model.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#, NotFound, "No such model.", Some("model_not_found"), None),
            (400, r#"{"error":{"message":"Unsupported value.","type":"invalid_request_error","param":"temperature","code":"unsupported_value"}}"#, Invalid, "Unsupported value.", Some("unsupported_value"), Some("temperature")),
            (503, r#"{"error":{"message":"The engine is overloaded.","type":"server_error","param":null,"code":null}}"#, Overloaded, "The engine is overloaded.", Some("server_error"), None),
            // Azure
            (400, r#"{"error":{"message":"The response was filtered.","type":null,"param":"prompt","code":"content_filter","status":400}}"#, Content, "The response was filtered.", Some("content_filter"), Some("prompt")),
            // vLLM, then its older shape
            (400, r#"{"error":{"message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","param":null,"code":400}}"#, ContextLength, "This model's maximum context length is 4096 tokens.", Some("400"), None),
            (404, r#"{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404}"#, NotFound, "The model `x` does not exist.", Some("404"), None),
            // xAI: the error is a string beside a sentence as the code
            (400, r#"{"code":"Client specified an invalid argument","error":"Invalid role."}"#, Invalid, "Invalid role.", Some("Client specified an invalid argument"), None),
            // Mistral
            (422, r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","messages",0,"foo"],"msg":"Extra inputs are not permitted"}]},"type":"invalid_request_error","param":null,"code":null}"#, Invalid, "messages[0].foo: Extra inputs are not permitted", Some("invalid_request_error"), Some("messages[0].foo")),
            (422, r#"{"detail":[{"loc":["body","model"],"msg":"Field required"},{"loc":["body","messages"],"msg":"Field required"}]}"#, Invalid, "model: Field required; messages: Field required", None, Some("model")),
            (401, r#"{"detail":"Unauthorized"}"#, Auth, "Unauthorized", None, None),
            // OpenRouter and DeepSeek: no money
            (402, r#"{"error":{"code":402,"message":"Insufficient credits."}}"#, Quota, "Insufficient credits.", Some("402"), None),
            (402, r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#, Quota, "Insufficient Balance", Some("invalid_request_error"), None),
            (403, r#"{"error":{"code":403,"message":"Your input was flagged.","metadata":{"reasons":["violence"]}}}"#, Content, "Your input was flagged.", Some("403"), None),
            // What stands before the provider, and an account.
            (403, r#"{"error":"The load balancer refused this."}"#, Auth, "The load balancer refused this.", None, None),
            (429, r#"{"message":"Load balancer: too many connections"}"#, Rate, "Load balancer: too many connections", None, None),
            (403, r#"{"message":"Your account balance is 0."}"#, Quota, "Your account balance is 0.", None, None),
            // Inside a stream: the caller of this function knows no status and says 502.
            (502, r#"{"error":{"code":429,"message":"Slow down."}}"#, Rate, "Slow down.", Some("429"), None),
            (502, r#"{"error":{"message":"Bad tool.","type":"invalid_request_error"}}"#, Invalid, "Bad tool.", Some("invalid_request_error"), None),
            // Cloudflare, Google
            (400, r#"{"success":false,"errors":[{"message":"AiError: bad input","code":5006}],"result":{}}"#, Invalid, "AiError: bad input", Some("5006"), None),
            (400, r#"[{"error":{"code":400,"message":"Bad.","status":"INVALID_ARGUMENT"}}]"#, Invalid, "Bad.", Some("400"), None),
            // No JSON
            (502, "<html><body>Bad gateway</body></html>", Server, "the provider answered 502 with a web page", None, None),
            (500, "", Server, "the provider answered 500 without a message", None, None),
            (429, "{}", Rate, "the provider answered 429 without a readable message", None, None),
            (503, "upstream connect error\n", Overloaded, "upstream connect error", None, None),
            (529, "\u{0}", Overloaded, "\u{0}", None, None),
        ];
        for (status, body, class, message, code, param) in cases {
            let expected = (class, message.to_owned(), code.map(str::to_owned), param.map(str::to_owned));
            assert_eq!(said(status, body), expected, "{body}");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = "ü".repeat(3_000);
        let (_, message, ..) = said(400, &format!(r#"{{"error":{{"message":"{long}"}}}}"#));
        assert_eq!(message, format!("{}…", "ü".repeat(2_000)));
    }

    #[test]
    fn the_wait_is_kept() {
        let headers =
            HeaderMap::from_iter([(http::header::RETRY_AFTER, http::HeaderValue::from_static("2.5"))]);
        assert_eq!(upstream(429, &headers, b"").retry_after_ms, Some(2_500));
    }

    #[test]
    fn callers_get_the_sentence_and_advice_but_no_part_of_our_key() {
        let invalid = upstream(
            400,
            &HeaderMap::new(),
            br#"{"error":{"message":"Bad seed","param":"seed","code":"bad_seed"}}"#,
        );
        assert_eq!(
            String::from_utf8_lossy(&body(&ErrorBody::upstream(&invalid, Some("req_1")))),
            r#"{"error":{"message":"Bad seed. Correct the request and send it again.","type":"invalid_request_error","param":"seed","code":"bad_seed","request_id":"req_1"}}"#
        );
        let auth = upstream(
            401,
            &HeaderMap::new(),
            br#"{"error":{"message":"Incorrect API key provided: sk-ab***yz.","code":"invalid_api_key"}}"#,
        );
        let body = ErrorBody::upstream(&auth, None);
        assert!(!body.message.contains("sk-"), "{}", body.message);
        assert_eq!((kind(body.status), body.code), ("api_error", Some("upstream_auth")));
    }
}
