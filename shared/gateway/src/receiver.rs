//! Receivers of notices, as the admin API makes and shows them. An address goes in and does not come out
//! again, but for its host name.

use hypercare::{
    FieldError,
    notify::{ReceiverKind, check_url, webhook},
};
use serde::Serialize;

use crate::{
    Error, Host,
    ports::Random,
    secret::Secrets,
    store::receivers::{self, Stored},
};

/// A receiver to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// Whose alerts it hears of; none: everybody's, and those of the gateway itself.
    pub tenant_id: Option<String>,
    /// What to call it.
    pub name: String,
    /// What it speaks.
    pub kind: ReceiverKind,
    /// Where it is.
    pub url: String,
    /// What signs notices to it; made here if a kind that needs one comes without.
    pub secret: Option<String>,
}

/// A receiver, as the admin API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receiver {
    /// `rcv_…`
    pub id: String,
    /// Whose alerts it hears of; none: everybody's, and those of the gateway itself.
    pub tenant_id: Option<String>,
    /// What it is called.
    pub name: String,
    /// `slack` or `webhook`.
    pub kind: String,
    /// The host name of its address; none if that cannot be opened any more.
    pub host: Option<String>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds; it hears nothing since.
    pub disabled_ms: Option<i64>,
}

/// A receiver that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Created {
    /// The receiver.
    #[serde(flatten)]
    pub receiver: Receiver,
    /// What its notices are signed with, shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Makes a receiver.
pub async fn create<H: Host>(host: &H, new: &New, now_ms: i64) -> Result<Created, Error> {
    let config = host.config();
    let secrets = config.secrets.as_ref().ok_or(Error::Unconfigured("HYPERGATE_SECRET"))?;
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS {
        return Err(field("name", format!("must have 1 to {MAX_NAME_CHARS} characters")));
    }
    check_url(&new.url, config.allow_local_receivers)?;
    let secret = match (new.kind, &new.secret) {
        (ReceiverKind::Slack, None) => None,
        (ReceiverKind::Slack, Some(_)) => {
            return Err(field("secret", "does not apply to a receiver of kind slack"));
        }
        (ReceiverKind::Webhook, Some(secret)) => Some(webhook::Secret::parse(secret)?.expose()),
        (ReceiverKind::Webhook, None) => Some(webhook::Secret::from_random(random(host)).expose()),
    };
    let id = host.memory().new_id("rcv_", now_ms, host);
    let stored = Stored {
        sealed_url: secrets.seal(&new.url, &url_context(&id), random(host)),
        sealed_secret: secret.as_ref().map(|secret| secrets.seal(secret, &secret_context(&id), random(host))),
        tenant_id: new.tenant_id.clone(),
        name: name.to_owned(),
        kind: new.kind.word().to_owned(),
        created_ms: now_ms,
        disabled_ms: None,
        id,
    };
    if !receivers::create(host, &stored).await? {
        return Err(field("tenant_id", "must be the id of a tenant"));
    }
    Ok(Created { receiver: shown(stored, Some(secrets)), secret })
}

/// Every receiver, the oldest first.
pub async fn list<H: Host>(host: &H) -> Result<Vec<Receiver>, Error> {
    let config = host.config();
    let stored = receivers::all(host).await?;
    Ok(stored.into_iter().map(|stored| shown(stored, config.secrets.as_ref())).collect())
}

/// Removes a receiver and what is on its way to it. `false` if there was none.
pub async fn delete<H: Host>(host: &H, id: &str) -> Result<bool, Error> {
    Ok(receivers::delete(host, id).await?)
}

/// What a receiver's address is sealed for.
pub(crate) fn url_context(id: &str) -> String {
    format!("receiver/{id}/url")
}

/// What a receiver's secret is sealed for.
pub(crate) fn secret_context(id: &str) -> String {
    format!("receiver/{id}/secret")
}

fn shown(stored: Stored, secrets: Option<&Secrets>) -> Receiver {
    let url = secrets.and_then(|secrets| secrets.open(&stored.sealed_url, &url_context(&stored.id)));
    let host = url.and_then(|url| url.parse::<http::Uri>().ok()?.host().map(str::to_owned));
    let Stored { id, tenant_id, name, kind, created_ms, disabled_ms, .. } = stored;
    Receiver { id, tenant_id, name, kind, host, created_ms, disabled_ms }
}

fn random<const N: usize>(random: &impl Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

fn field(field: &'static str, message: impl Into<String>) -> Error {
    FieldError { field, message: message.into() }.into()
}

const MAX_NAME_CHARS: usize = 100;
