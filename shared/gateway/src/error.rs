//! Every refusal, once: its status, its stable code, and a sentence that says what to do.

use std::rc::Rc;

use http::StatusCode;
use hypercare::{FieldError, time::rfc3339};
use llm::UpstreamError;

use crate::{auth::Caller, ports::PortError};

/// Why a request was refused or failed. `Display` is for the caller; the cause is for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request is larger than allowed.
    #[error(
        "The request is larger than {limit} bytes. Send less, or have the gateway's operator raise MAX_BODY_BYTES."
    )]
    BodyTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The form is larger than allowed.
    #[error(
        "The form is larger than {limit} bytes. Send less, or have the gateway's operator raise MAX_UPLOAD_BYTES."
    )]
    UploadTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The request broke off.
    #[error("The request's body broke off. Send it again.")]
    BodyBroken,
    /// The rest of the request did not come.
    #[error("Nothing more of the request's body came for too long. Send it again.")]
    BodySilent,
    /// Who calls is refused for a while.
    #[error(
        "{} until {}. Ask the gateway's operator.",
        if *.is_network { "Calls from this network are blocked" } else { "This API key is blocked" },
        rfc3339(*.until_ms)
    )]
    Blocked {
        /// Who it is.
        caller: Rc<Caller>,
        /// Whether that is for the network, not the key.
        is_network: bool,
        /// Until when, unix milliseconds.
        until_ms: i64,
    },
    /// A field of an admin request is wrong.
    #[error("{message}")]
    Field {
        /// The field.
        param: String,
        /// What is wrong with it.
        message: String,
    },
    /// What is there is not in a state for this.
    #[error("{0}")]
    Conflict(String),
    /// The caller hung up; nobody reads this.
    #[error("The caller hung up.")]
    HungUp,
    /// The key's time is over.
    #[error("This API key has expired. Ask the gateway's operator for a new one.")]
    KeyExpired,
    /// There is no usable key in the request.
    #[error("The API key is missing or unknown. Send a gateway key as `{place}hg_…`.")]
    Unauthenticated {
        /// Where clients of the caller's protocol put it.
        place: &'static str,
    },
    /// The admin or tick token is missing or wrong.
    #[error("The bearer token is missing or wrong. This route needs the {token} of this deployment.")]
    WrongToken {
        /// The setting that holds the right one.
        token: &'static str,
    },
    /// The setting is needed for what was asked.
    #[error("This deployment has no {0}. Set it as a secret and try again.")]
    Unconfigured(&'static str),
    /// A setting cannot be read.
    #[error("This deployment is misconfigured: {0}.")]
    Misconfigured(String),
    /// The method is not one of the route's.
    #[error("This path does not take {method}. It takes {allowed}.")]
    MethodNotAllowed {
        /// What was sent.
        method: String,
        /// What would do.
        allowed: &'static str,
    },
    /// The key may not use this model.
    #[error("This API key may not use the model `{0}`. GET /v1/models lists the models it may use.")]
    ModelNotAllowed(String),
    /// A form where JSON is wanted.
    #[error("This route takes JSON. Send the body as `application/json`, not as a form.")]
    NoForm,
    /// The host has no sockets.
    #[error(
        "This deployment runs where there are no WebSockets. Use one on Cloudflare Workers for realtime."
    )]
    NoSockets,
    /// Nothing goes by this name.
    #[error(
        "There is no model `{0}`. Name it as `provider/model` (`openai/gpt-5.4-mini`) or by an alias; GET /v1/models lists the known ones."
    )]
    ModelUnknown(String),
    /// There is no such thing.
    #[error("There is no {0}.")]
    NotFound(String),
    /// The provider has no credential or address here.
    #[error("The provider `{provider}` is not set up here. The gateway's operator must set {setting}.")]
    ProviderUnconfigured {
        /// The provider.
        provider: &'static str,
        /// The missing setting.
        setting: String,
    },
    /// No provider of an alias has a credential or address here.
    #[error("No provider of this model is set up here. The gateway's operator must set one of {}.", .settings.join("; "))]
    ProvidersUnconfigured {
        /// What is missing for each.
        settings: Vec<String>,
    },
    /// The request cannot be read, or not be translated.
    #[error(transparent)]
    Request(#[from] llm::Error),
    /// Every target failed; this is the last one's failure.
    #[error("{provider}: {error} {}", error.class.advice())]
    Upstream {
        /// The provider.
        provider: &'static str,
        /// What it said.
        error: UpstreamError,
    },
    /// Who calls cannot be found out, so nobody is let in.
    #[error("The gateway cannot check API keys at the moment. Send the request again in a few seconds.")]
    IdentityUnavailable(#[source] PortError),
    /// A part of the gateway failed.
    #[error(
        "The gateway failed. Send the request again; if it keeps failing, tell its operator the request id."
    )]
    Port(#[from] PortError),
}

impl From<FieldError> for Error {
    fn from(error: FieldError) -> Self {
        Self::Field { param: error.field.to_owned(), message: error.to_string() }
    }
}

impl Error {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BodyBroken | Self::Field { .. } | Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::BodySilent => StatusCode::REQUEST_TIMEOUT,
            Self::NoForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoSockets => StatusCode::NOT_IMPLEMENTED,
            Self::BodyTooLarge { .. } | Self::UploadTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HungUp => {
                StatusCode::from_u16(crate::record::CLIENT_CLOSED_REQUEST).expect("499 is a status")
            }
            Self::KeyExpired | Self::Unauthenticated { .. } | Self::WrongToken { .. } => {
                StatusCode::UNAUTHORIZED
            }
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Blocked { .. } | Self::ModelNotAllowed(_) => StatusCode::FORBIDDEN,
            // To the caller a provider that is not set up is one there is not.
            Self::ModelUnknown(_)
            | Self::NotFound(_)
            | Self::ProviderUnconfigured { .. }
            | Self::ProvidersUnconfigured { .. } => StatusCode::NOT_FOUND,
            Self::Upstream { error, .. } => error.class.status(),
            Self::IdentityUnavailable(_) | Self::Unconfigured(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured(_) | Self::Port(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The status the provider answered with, if it did.
    pub fn upstream_status(&self) -> Option<u16> {
        match self {
            Self::Upstream { error, .. } => error.status,
            _ => None,
        }
    }

    /// The stable name used for callers, records and rollups.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BodyBroken => "body_broken",
            Self::BodySilent => "body_timeout",
            Self::BodyTooLarge { .. } | Self::UploadTooLarge { .. } => "body_too_large",
            Self::Blocked { .. } => "blocked",
            Self::Conflict(_) => "conflict",
            Self::Field { .. } => "invalid_field",
            Self::HungUp => "caller_hung_up",
            Self::IdentityUnavailable(_) => "identity_unavailable",
            Self::KeyExpired => "expired_api_key",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::Misconfigured(_) => "misconfigured",
            Self::ModelNotAllowed(_) => "model_not_allowed",
            Self::ModelUnknown(_) => "model_not_found",
            Self::NoForm => "unsupported_media_type",
            Self::NoSockets => "websockets_unavailable",
            Self::NotFound(_) => "not_found",
            Self::Port(_) => "internal_error",
            Self::ProviderUnconfigured { .. } | Self::ProvidersUnconfigured { .. } => {
                "provider_not_configured"
            }
            Self::Request(llm::Error::Unsupported { .. }) => "unsupported_by_provider",
            Self::Request(_) => "invalid_request",
            Self::Unauthenticated { .. } => "invalid_api_key",
            Self::Unconfigured(_) => "not_configured",
            Self::Upstream { error, .. } => error.class.code(),
            Self::WrongToken { .. } => "invalid_token",
        }
    }

    /// The field to blame.
    pub fn param(&self) -> Option<&str> {
        match self {
            // The body as a whole has no name.
            Self::Field { param, .. } if param.is_empty() => None,
            Self::Field { param, .. } | Self::Request(llm::Error::Unsupported { param, .. }) => Some(param),
            Self::Request(llm::Error::Invalid { param, .. }) => param.as_deref(),
            Self::ModelNotAllowed(_) | Self::ModelUnknown(_) => Some("model"),
            Self::Upstream { error, .. } => error.param.as_deref(),
            _ => None,
        }
    }

    /// What is behind it, for the log. The caller must not see this.
    pub fn cause(&self) -> Option<&PortError> {
        match self {
            Self::IdentityUnavailable(cause) | Self::Port(cause) => Some(cause),
            _ => None,
        }
    }
}
