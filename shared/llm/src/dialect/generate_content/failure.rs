//! Google's error object, as our error.

use http::HeaderMap;
use serde_json::Value;

use crate::{
    ErrorClass, UpstreamError,
    dialect::{
        chat_completions::{self, error::cut},
        retry_after_ms, wait_ms,
    },
};

/// A non-2xx answer: `{"error": {…}}`, sometimes in a list.
pub(super) fn answer(status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = said.get(0).unwrap_or(&said);
    if !said["error"].is_object() {
        // Not the API, but something on the way to it.
        return chat_completions::error::upstream(status, headers, body);
    }
    let mut error = object(&said["error"], status);
    error.status = Some(status);
    error.retry_after_ms = error.retry_after_ms.or_else(|| retry_after_ms(headers));
    error
}

/// The error object. Inside a stream its own code stands for the status.
pub(super) fn object(error: &Value, status: u16) -> UpstreamError {
    let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(status);
    let message = error["message"].as_str().unwrap_or_default().trim();
    let name = error["status"].as_str();
    let message = match message {
        "" => format!("the provider answered {status} without a message"),
        message => cut(message),
    };
    UpstreamError {
        code: name.map(str::to_owned),
        retry_after_ms: details(error).find_map(|detail| duration_ms(detail["retryDelay"].as_str()?)),
        ..UpstreamError::new(classify(name.unwrap_or_default(), status, &message, error), message)
    }
}

fn classify(name: &str, status: u16, message: &str, error: &Value) -> ErrorClass {
    match name {
        // A wrong key is called an invalid argument.
        "PERMISSION_DENIED" if has_reason(error, "BILLING_DISABLED") => ErrorClass::Quota,
        "FAILED_PRECONDITION" | "PERMISSION_DENIED" | "UNAUTHENTICATED" => ErrorClass::Auth,
        "INVALID_ARGUMENT" if message.contains("API key") || has_reason(error, "API_KEY_") => {
            ErrorClass::Auth
        }
        "INVALID_ARGUMENT" if message.contains("token count") && message.contains("exceeds") => {
            ErrorClass::ContextLength
        }
        "INVALID_ARGUMENT" | "OUT_OF_RANGE" => ErrorClass::Invalid,
        "NOT_FOUND" => ErrorClass::NotFound,
        // A quota of the day, or the month's money, will not be back in a moment.
        "RESOURCE_EXHAUSTED" if is_daily(error) || message.contains("spending cap") => ErrorClass::Quota,
        "RESOURCE_EXHAUSTED" => ErrorClass::Rate,
        "DEADLINE_EXCEEDED" => ErrorClass::Timeout,
        "UNAVAILABLE" => ErrorClass::Overloaded,
        // It was not us who cancelled.
        "ABORTED" | "CANCELLED" | "DATA_LOSS" | "INTERNAL" | "UNKNOWN" => ErrorClass::Server,
        _ => ErrorClass::of_status(status),
    }
}

fn has_reason(error: &Value, prefix: &str) -> bool {
    details(error).any(|detail| detail["reason"].as_str().is_some_and(|reason| reason.starts_with(prefix)))
}

fn is_daily(error: &Value) -> bool {
    let violations = details(error).flat_map(|detail| detail["violations"].as_array().into_iter().flatten());
    violations.filter_map(|violation| violation["quotaId"].as_str()).any(|id| id.contains("PerDay"))
}

fn details(error: &Value) -> impl Iterator<Item = &Value> {
    error["details"].as_array().into_iter().flatten()
}

/// A protobuf duration in JSON: `34.074s`.
fn duration_ms(duration: &str) -> Option<i64> {
    wait_ms(duration.strip_suffix('s')?.parse::<f64>().ok()? * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_the_status_name_and_its_details() {
        use ErrorClass::*;
        #[rustfmt::skip]
        let cases: &[(u16, &str, ErrorClass, Option<i64>)] = &[
            (400, r#"{"error":{"code":400,"message":"Invalid JSON payload received.","status":"INVALID_ARGUMENT"}}"#, Invalid, None),
            (400, r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#, Auth, None),
            (400, r#"{"error":{"code":400,"message":"The key is unknown.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#, Auth, None),
            (400, r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#, ContextLength, None),
            (400, r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#, Auth, None),
            (403, r#"{"error":{"code":403,"message":"Permission denied.","status":"PERMISSION_DENIED"}}"#, Auth, None),
            (404, r#"{"error":{"code":404,"message":"models/x is not found.","status":"NOT_FOUND"}}"#, NotFound, None),
            (429, r#"{"error":{"code":429,"message":"Quota.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.0741s"}]}}"#, Rate, Some(34_075)),
            (429, r#"{"error":{"code":429,"message":"Quota.","status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}}"#, Quota, None),
            (503, r#"[{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}]"#, Overloaded, None),
            (500, r#"{"error":{"code":500,"message":"An internal error has occurred.","status":"INTERNAL"}}"#, Server, None),
            (504, r#"{"error":{"code":504,"message":"Deadline.","status":"DEADLINE_EXCEEDED"}}"#, Timeout, None),
            (502, "<html>Bad gateway</html>", Server, None),
            (503, "", Overloaded, None),
            (429, "{}", Rate, None),
        ];
        for (status, body, class, wait) in cases {
            let error = answer(*status, &HeaderMap::new(), body.as_bytes());
            assert_eq!(
                (error.class, error.retry_after_ms, error.status),
                (*class, *wait, Some(*status)),
                "{body}"
            );
            assert!(!error.message.is_empty() && !error.message.contains('<'), "{}", error.message);
        }
    }
}
