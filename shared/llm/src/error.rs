//! What can go wrong on the wire, classified once for every provider.

use http::StatusCode;

/// A failure of reading a request, of translating it, or of the provider's answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's body is not what its protocol says.
    #[error("{message}")]
    Invalid {
        /// What is wrong and what would be right.
        message: String,
        /// The field, as a path (`messages[2].content`), where one is to blame.
        param: Option<String>,
    },
    /// The body is fine, but this provider's API cannot say it.
    #[error("{message}")]
    Unsupported {
        /// What cannot be done, where, and what to do instead.
        message: String,
        /// The field that asks for it.
        param: String,
    },
    /// The provider answered with an error, or with something that is no answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl Error {
    /// A body that breaks its protocol at `param`.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), param: Some(param.into()) }
    }

    /// A wish at `param` that the provider's API has no words for.
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Unsupported { message: message.into(), param: param.into() }
    }
}

/// A provider's failure. The message is the provider's own sentence, for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UpstreamError {
    /// What kind of failure: decides the caller's status, and whether to try elsewhere.
    pub class: ErrorClass,
    /// The provider's HTTP status; absent where there was no answer.
    pub status: Option<u16>,
    /// The provider's sentence, or ours where it gave none.
    pub message: String,
    /// The provider's own code or type (`context_length_exceeded`, `overloaded_error`).
    pub code: Option<String>,
    /// The request field the provider blames.
    pub param: Option<String>,
    /// How long the provider asks us to wait.
    pub retry_after_ms: Option<i64>,
}

impl UpstreamError {
    /// A failure without an HTTP answer to blame.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, status: None, message: message.into(), code: None, param: None, retry_after_ms: None }
    }

    /// The answer was a 2xx, but not of the shape the API promises.
    pub fn garbled(what: &str) -> Self {
        Self::new(ErrorClass::Garbled, format!("the provider's answer could not be read: {what}"))
    }

    /// The answer stopped before its end.
    pub fn truncated() -> Self {
        Self::new(ErrorClass::Truncated, "the provider's answer broke off before its end")
    }
}

/// Kinds of upstream failure. One list for all providers; retries, statuses and alerts go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The provider refused our credential: our configuration, not the caller's.
    Auth,
    /// A content filter refused the request.
    Content,
    /// The conversation is longer than the model's context.
    ContextLength,
    /// A 2xx that is not an answer: HTML, an empty body, broken JSON.
    Garbled,
    /// The provider says the request is wrong.
    Invalid,
    /// The provider could not be reached.
    Network,
    /// The provider does not know the model.
    NotFound,
    /// The provider has too much to do.
    Overloaded,
    /// The account has no credit or quota left.
    Quota,
    /// Too many requests or tokens in a short time.
    Rate,
    /// The provider failed.
    Server,
    /// The provider stayed silent too long.
    Timeout,
    /// The answer broke off.
    Truncated,
}

impl ErrorClass {
    /// The stable name used for callers, records and rollups.
    pub fn code(self) -> &'static str {
        match self {
            Self::Auth => "upstream_auth",
            Self::Content => "content_filter",
            Self::ContextLength => "context_length_exceeded",
            Self::Garbled => "upstream_garbled",
            Self::Invalid => "invalid_request",
            Self::Network => "upstream_unreachable",
            Self::NotFound => "model_not_found",
            Self::Overloaded => "upstream_overloaded",
            Self::Quota => "insufficient_quota",
            Self::Rate => "rate_limit_exceeded",
            Self::Server => "upstream_error",
            Self::Timeout => "upstream_timeout",
            Self::Truncated => "upstream_truncated",
        }
    }

    /// The status the caller sees. A provider's 401 is a 502: the caller's key was fine.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Content | Self::ContextLength | Self::Invalid => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Quota | Self::Rate => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Auth | Self::Garbled | Self::Network | Self::Server | Self::Truncated => {
                StatusCode::BAD_GATEWAY
            }
        }
    }

    /// Whether the same request may succeed at another target.
    pub fn may_fall_back(self) -> bool {
        !matches!(self, Self::Content | Self::ContextLength | Self::Invalid)
    }

    /// Whether the same request may succeed at the same target a moment later.
    pub fn may_retry(self) -> bool {
        matches!(self, Self::Network | Self::Overloaded | Self::Rate | Self::Server | Self::Garbled)
    }

    /// What the caller can do about it; follows the provider's sentence.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Auth => {
                "The gateway's credential for this provider was refused; ask the gateway's operator to check it."
            }
            Self::Content => "Change the content and send it again.",
            Self::ContextLength => "Shorten the conversation or choose a model with a larger context.",
            Self::Garbled | Self::Server | Self::Truncated => {
                "Send the request again; if it keeps failing, choose another model."
            }
            Self::Invalid => "Correct the request and send it again.",
            Self::Network => "Send the request again; if it keeps failing, the provider may be down.",
            Self::NotFound => "Check the model name; GET /v1/models lists what this key may use.",
            Self::Overloaded => "Wait a moment and send the request again, or choose another model.",
            Self::Quota => {
                "The gateway's account with this provider is out of quota; ask the gateway's operator."
            }
            Self::Rate => "Wait as long as the retry-after header says, then send the request again.",
            Self::Timeout => {
                "Send the request again, streamed if it was not: a stream shows signs of life earlier."
            }
        }
    }

    /// The class of an HTTP status that says nothing more in its body.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Auth,
            402 => Self::Quota,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            413 => Self::ContextLength,
            429 => Self::Rate,
            400..500 => Self::Invalid,
            503 | 529 => Self::Overloaded,
            _ => Self::Server,
        }
    }
}
