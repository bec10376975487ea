//! Receivers of notices, as the admin API makes and shows them. An address goes in and does not come out
//! again, but for its host name.

use hypercare::{
    FieldError,
    notify::{Address, ReceiverKind},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    Error, Host,
    ports::{Random, Statement},
    resolve::{self, Place},
    secret::Secrets,
    store::{
        outbox::DROP_OF_RECEIVERS,
        receivers::{self, Stored},
    },
};

/// A receiver to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct New {
    /// Whose alerts it hears of; none: everybody's, and those of the gateway itself.
    pub tenant_id: Option<String>,
    /// What to call it.
    pub name: String,
    /// What it speaks.
    pub kind: ReceiverKind,
    /// Where it is; none: where all of its kind are.
    pub url: Option<String>,
    /// What opens it or signs what it is sent; made here if a kind that signs comes without.
    pub secret: Option<String>,
    /// What else its kind wants to know.
    pub settings: Map<String, Value>,
    /// How many requests a minute it bears; none: as its kind does.
    pub per_minute: Option<i64>,
}

/// What is to be different about a receiver.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// What to call it.
    pub name: Option<String>,
    /// Where it is.
    pub url: Option<String>,
    /// What opens it or signs what it is sent.
    pub secret: Option<String>,
    /// What else its kind wants to know, in place of what was.
    pub settings: Option<Map<String, Value>>,
    /// How many requests a minute it bears.
    pub per_minute: Option<i64>,
    /// Whether it is to hear again, or nothing.
    pub enabled: Option<bool>,
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
    /// What it speaks.
    pub kind: String,
    /// The host name of its address; none if that cannot be opened any more.
    pub host: Option<String>,
    /// What else its kind wants to know.
    pub settings: Value,
    /// How many requests a minute it bears.
    pub per_minute: i64,
    /// Deliveries in a row that failed for good.
    pub failures: i64,
    /// Unix milliseconds; it is left alone until then.
    pub wait_until_ms: Option<i64>,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Whether it hears anything.
    pub enabled: bool,
    /// Unix milliseconds; it hears nothing since.
    pub disabled_ms: Option<i64>,
    /// Why.
    pub disabled_reason: Option<String>,
}

/// A receiver that was just made.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Created {
    /// The receiver.
    #[serde(flatten)]
    pub receiver: Receiver,
    /// What its notices are signed with, shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl std::fmt::Debug for Created {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Created").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

/// Makes a receiver.
pub async fn create<H: Host>(host: &H, new: &New, now_ms: i64) -> Result<Created, Error> {
    let config = host.config();
    let secrets = config.secrets.as_ref().ok_or(Error::Unconfigured("HYPERGATE_SECRET"))?;
    let name = checked_name(&new.name)?;
    let (url, secret) = (new.url.as_deref(), new.secret.as_deref());
    let address =
        Address::check(new.kind, url, secret, new.settings.clone(), &config.allowed_receivers, random(host))?;
    check_place(host, &address.url).await?;
    let mut stored = Stored {
        id: host.memory().new_id("rcv_", now_ms, host),
        tenant_id: new.tenant_id.clone(),
        name,
        kind: new.kind.word().to_owned(),
        sealed_url: String::new(),
        sealed_secret: None,
        settings: String::new(),
        per_minute: new.per_minute.unwrap_or(new.kind.per_minute()),
        failures: 0,
        wait_until_ms: None,
        created_ms: now_ms,
        disabled_ms: None,
        disabled_reason: None,
    };
    seal(host, secrets, &address, &mut stored);
    if !receivers::put(host, &stored).await? {
        return Err(field("tenant_id", "must be the id of a tenant"));
    }
    // Others know theirs.
    let secret = address.secret.filter(|_| new.kind == ReceiverKind::Webhook);
    Ok(Created { receiver: shown(stored, Some(secrets)), secret })
}

/// Changes a receiver. One that hears again begins without the failures it had.
pub async fn update<H: Host>(host: &H, id: &str, change: Change, now_ms: i64) -> Result<Receiver, Error> {
    let config = host.config();
    let secrets = config.secrets.as_ref().ok_or(Error::Unconfigured("HYPERGATE_SECRET"))?;
    let unknown = || Error::NotFound(format!("receiver {id}"));
    let mut stored = receivers::find(host, id).await?.ok_or_else(unknown)?;
    let kind = ReceiverKind::parse(&stored.kind).ok_or_else(unknown)?;
    if let Some(name) = &change.name {
        stored.name = checked_name(name)?;
    }
    if change.url.is_some() || change.secret.is_some() || change.settings.is_some() {
        let url = change.url.or_else(|| secrets.open(&stored.sealed_url, &url_context(id)));
        let opened = || secrets.open(stored.sealed_secret.as_deref()?, &secret_context(id));
        let secret = change.secret.or_else(opened);
        let settings = change.settings.unwrap_or_else(|| settings_of(&stored));
        let (url, secret) = (url.as_deref(), secret.as_deref());
        let address = Address::check(kind, url, secret, settings, &config.allowed_receivers, random(host))?;
        check_place(host, &address.url).await?;
        seal(host, secrets, &address, &mut stored);
    }
    stored.per_minute = change.per_minute.unwrap_or(stored.per_minute);
    match change.enabled {
        Some(false) if stored.disabled_ms.is_none() => {
            stored.disabled_ms = Some(now_ms);
            stored.disabled_reason = Some("by hand".to_owned());
        }
        Some(true) => {
            (stored.disabled_ms, stored.disabled_reason) = (None, None);
            (stored.failures, stored.wait_until_ms) = (0, None);
        }
        _ => {}
    }
    receivers::put(host, &stored).await?;
    if change.enabled == Some(false) {
        let ids = json!(json!([id]).to_string());
        let drop = Statement::new(DROP_OF_RECEIVERS, [ids, json!("the receiver was switched off")]);
        host.batch(vec![drop]).await?;
    }
    Ok(shown(stored, Some(secrets)))
}

async fn check_place<H: Host>(host: &H, url: &str) -> Result<(), Error> {
    match resolve::place_of(host, url).await {
        Place::Public => Ok(()),
        Place::Private => Err(field("url", NOT_PUBLIC)),
        Place::Unknown => Err(field("url", "has a host name that cannot be looked up now")),
    }
}

fn checked_name(name: &str) -> Result<String, Error> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS {
        return Err(field("name", format!("must have 1 to {MAX_NAME_CHARS} characters")));
    }
    Ok(name.to_owned())
}

fn seal<H: Host>(host: &H, secrets: &Secrets, address: &Address, stored: &mut Stored) {
    stored.sealed_url = secrets.seal(&address.url, &url_context(&stored.id), random(host));
    let secret = address.secret.as_ref();
    stored.sealed_secret =
        secret.map(|secret| secrets.seal(secret, &secret_context(&stored.id), random(host)));
    stored.settings = address.settings.to_string();
}

fn settings_of(stored: &Stored) -> Map<String, Value> {
    serde_json::from_str(&stored.settings).unwrap_or_default()
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
    let settings = Value::Object(settings_of(&stored));
    Receiver {
        id: stored.id,
        tenant_id: stored.tenant_id,
        name: stored.name,
        kind: stored.kind,
        host,
        settings,
        per_minute: stored.per_minute,
        failures: stored.failures,
        wait_until_ms: stored.wait_until_ms,
        created_ms: stored.created_ms,
        enabled: stored.disabled_ms.is_none(),
        disabled_ms: stored.disabled_ms,
        disabled_reason: stored.disabled_reason,
    }
}

fn random<const N: usize>(random: &impl Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

fn field(field: &'static str, message: impl Into<String>) -> Error {
    FieldError { field, message: message.into() }.into()
}

const NOT_PUBLIC: &str =
    "must stand for public addresses, or be a host that the setting ALLOW_LOCAL_RECEIVERS names";

const MAX_NAME_CHARS: usize = 100;
