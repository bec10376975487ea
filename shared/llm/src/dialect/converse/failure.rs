//! Amazon's exceptions: as our error, and ours as one of them.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    ErrorClass, UpstreamError,
    dialect::{
        chat_completions::{self, error::cut},
        retry_after_ms,
    },
    front::ErrorBody,
};

/// A non-2xx answer. The exception's name is in a header, or in the body.
pub(in crate::dialect) fn answer(status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
    let said = serde_json::from_slice::<Said<'_>>(body).unwrap_or_default();
    let name = headers.get("x-amzn-errortype").and_then(|name| name.to_str().ok());
    let error = match (name.or(said.kind.as_deref()), said.message()) {
        (Some(name), message) => exception(name, message, Some(status)),
        // Not the API, but something on the way to it.
        (None, "") => return chat_completions::error::upstream(status, headers, body),
        (None, message) => UpstreamError::new(ErrorClass::of_status(status), cut(message)),
    };
    UpstreamError { status: Some(status), retry_after_ms: retry_after_ms(headers), ..error }
}

/// An exception inside a stream, by its name and its payload.
pub(in crate::dialect) fn in_stream(name: &str, payload: &[u8]) -> UpstreamError {
    let said = serde_json::from_slice::<Said<'_>>(payload).unwrap_or_default();
    exception(name, said.message(), None)
}

/// An exception by its name, which may have a namespace before it and an address behind it.
pub(in crate::dialect) fn exception(name: &str, message: &str, status: Option<u16>) -> UpstreamError {
    let name = name.split(':').next().unwrap_or(name);
    let name = name.rsplit('#').next().unwrap_or(name);
    let class = classify(name, message, status);
    let message = match message.trim() {
        "" => format!("the provider answered {name} without a message"),
        message => cut(message),
    };
    UpstreamError { code: Some(name.to_owned()), ..UpstreamError::new(class, message) }
}

fn classify(name: &str, message: &str, status: Option<u16>) -> ErrorClass {
    let message = message.to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    // In a stream the names begin with a small letter.
    match &*name.to_ascii_lowercase() {
        "accessdeniedexception"
        | "expiredtokenexception"
        | "incompletesignatureexception"
        | "invalidclienttokenidexception"
        | "invalidsignatureexception"
        | "missingauthenticationtokenexception"
        | "unrecognizedclientexception" => ErrorClass::Auth,
        "internalserverexception" | "modelerrorexception" | "modelstreamerrorexception" => ErrorClass::Server,
        "modelnotreadyexception" | "serviceunavailableexception" => ErrorClass::Overloaded,
        "modeltimeoutexception" => ErrorClass::Timeout,
        "resourcenotfoundexception" => ErrorClass::NotFound,
        "servicequotaexceededexception" => ErrorClass::Quota,
        // A quota of the day will not be back in a moment.
        "throttlingexception" if says(&["per day"]) => ErrorClass::Quota,
        "throttlingexception" => ErrorClass::Rate,
        "validationexception" if says(TOO_LONG) => ErrorClass::ContextLength,
        "validationexception" if says(&["model identifier is invalid"]) => ErrorClass::NotFound,
        "validationexception" if says(&["content filter"]) => ErrorClass::Content,
        // The provider's own failure in a caller's clothes.
        "validationexception" if says(&["internalserverexception"]) => ErrorClass::Server,
        "validationexception" => ErrorClass::Invalid,
        _ => status.map_or(ErrorClass::Server, ErrorClass::of_status),
    }
}

/// The body of an error answer.
pub(super) fn body(status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Wire<'a> {
        message: &'a str,
        #[serde(rename = "__type")]
        kind: &'a str,
    }
    let wire = Wire { message: &error.message, kind: name(status) };
    serde_json::to_vec(&wire).expect("strings into memory cannot fail")
}

/// The exception that goes with a status of ours.
pub(super) fn name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 | 504 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        400..500 => "ValidationException",
        503 => "ServiceUnavailableException",
        _ => "InternalServerException",
    }
}

/// The same inside a stream, which knows fewer.
pub(super) fn name_in_stream(status: StatusCode) -> &'static str {
    match status.as_u16() {
        424 => "modelStreamErrorException",
        429 => "throttlingException",
        400..500 => "validationException",
        503 => "serviceUnavailableException",
        _ => "internalServerException",
    }
}

const TOO_LONG: &[&str] = &[
    "context length",
    "context limit",
    "context window",
    "input is too long",
    "prompt is too long",
    "too many input tokens",
    "too many tokens",
];

// --- wire ---

#[derive(Default, Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    /// Older parts of Amazon spell it so, some both ways at once.
    #[serde(borrow, default, rename = "Message")]
    old_message: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "__type")]
    kind: Option<Cow<'a, str>>,
}

impl Said<'_> {
    fn message(&self) -> &str {
        self.message.as_deref().or(self.old_message.as_deref()).unwrap_or_default()
    }
}
