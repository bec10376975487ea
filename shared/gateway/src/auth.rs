//! Who calls: from the bearer key to the tenant and what it may do.
//!
//! Looked up in isolate memory, then the key-value cache, then the database. A cache that fails is
//! passed over; a database that fails means 503, never a free call. A revoked key is dropped from the
//! cache at once, and forgotten everywhere else within [`MEMORY_MS`] plus [`CACHE_MS`].

use std::{collections::BTreeMap, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use llm::operation::realtime;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Host, origin, payload,
    price::Override,
    secret::{hex, is_key_shaped, same},
    store,
};

/// Everything a call needs to know of its caller, in one look-up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Caller {
    /// The tenant.
    pub tenant_id: String,
    /// The key.
    pub key_id: String,
    /// Model names and patterns the key may use; `None` is all.
    pub models: Option<Vec<String>>,
    /// Unix milliseconds.
    pub expires_ms: Option<i64>,
    /// The tenant's names for models: targets in order.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Whether content is kept.
    pub payload_mode: payload::Mode,
    /// How much of it.
    pub payload_cap_bytes: usize,
    /// Prices in place of the list prices, the tenant's and everybody's.
    pub prices: Vec<Override>,
    /// Until when the key is refused, unix milliseconds.
    pub blocked_ms: Option<i64>,
    /// The networks from which it is refused, and until when.
    pub blocked_sources: Vec<(String, i64)>,
}

/// The caller of a request to the model routes.
pub async fn authenticate<H: Host, B>(
    host: &H,
    request: &Request<B>,
    now_ms: i64,
) -> Result<Rc<Caller>, Error> {
    let config = host.config();
    let secrets = config.secrets.as_ref().ok_or(Error::Unconfigured("HYPERGATE_SECRET"))?;
    let unknown = || Error::Unauthenticated { place: place(request) };
    let key = credential(request).filter(|key| is_key_shaped(key)).ok_or_else(unknown)?;
    let hash = secrets.key_hash(key);
    let caller = match host.memory().caller(&hash, now_ms) {
        Some(known) => known,
        None if !secrets.made(key) => return Err(unknown()),
        None => {
            let epoch = host.memory().epoch();
            let found = look_up(host, &hex(&hash), now_ms, epoch).await?.map(Rc::new);
            let until_ms = now_ms + if found.is_some() { MEMORY_MS } else { UNKNOWN_MS };
            host.memory().remember(hash, found.clone(), until_ms, epoch);
            found
        }
    };
    let caller = caller.ok_or_else(unknown)?;
    if caller.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
        return Err(Error::KeyExpired);
    }
    if let Some(until_ms) = caller.blocked_ms.filter(|until_ms| now_ms < *until_ms) {
        return Err(Error::Blocked { caller, is_network: false, until_ms });
    }
    if !caller.blocked_sources.is_empty()
        && let Some(source) = origin::source(host, request.headers())
        && let Some((_, until_ms)) =
            caller.blocked_sources.iter().find(|(blocked, until_ms)| *blocked == source && now_ms < *until_ms)
    {
        return Err(Error::Blocked { until_ms: *until_ms, caller: caller.clone(), is_network: true });
    }
    Ok(caller)
}

/// What tells the key of a request that was refused for it from others: the beginning of its hash.
pub(crate) fn tried<H: Host, B>(host: &H, request: &Request<B>) -> Option<String> {
    let config = host.config();
    let hash = config.secrets.as_ref()?.key_hash(credential(request)?);
    Some(hex(&hash[..TRIED_BYTES]))
}

async fn look_up<H: Host>(host: &H, hash: &str, now_ms: i64, epoch: u64) -> Result<Option<Caller>, Error> {
    let key = cache_key(hash);
    match host.get(&key).await {
        Ok(Some(value)) => match serde_json::from_slice(&value) {
            Ok(caller) => return Ok(Some(caller)),
            // Written by another release: read it anew.
            Err(error) => host.log(&format!("identity cache: entry unreadable: {error}")),
        },
        Ok(None) => {}
        Err(error) => host.log(&format!("identity cache: passed over: {error}")),
    }
    let found = store::identity::find_caller(host, hash, now_ms).await.map_err(Error::IdentityUnavailable)?;
    if let Some(caller) = found.as_ref().filter(|_| epoch == host.memory().epoch()) {
        let value = serde_json::to_vec(caller).expect("a caller is JSON");
        if let Err(error) = host.put(&key, Bytes::from(value), now_ms + CACHE_MS).await {
            host.log(&format!("identity cache: not filled: {error}"));
        }
    }
    Ok(found)
}

/// Makes a change to keys, tenants or aliases seen: at once here, soon elsewhere.
pub async fn forget<H: Host>(host: &H, hashes: &[String]) {
    host.memory().forget_callers();
    for hash in hashes {
        if let Err(error) = host.delete(&cache_key(hash)).await {
            host.log(&format!("identity cache: entry will live until it expires: {error}"));
        }
    }
}

/// Refuses a request whose bearer token is not `expected`.
pub fn require_token(
    headers: &HeaderMap,
    expected: Option<&str>,
    setting: &'static str,
) -> Result<(), Error> {
    let expected = expected.ok_or(Error::Unconfigured(setting))?;
    match bearer(headers) {
        Some(token) if same(token, expected) => Ok(()),
        _ => Err(Error::WrongToken { token: setting }),
    }
}

/// The key, wherever the client of one protocol or another puts it.
fn credential<B>(request: &Request<B>) -> Option<&str> {
    let headers = request.headers();
    let header = |name: &str| headers.get(name)?.to_str().ok();
    // Everybody's place, Anthropic's, Google's two, and Azure's.
    let query = || request.uri().query()?.split('&').find_map(|pair| pair.strip_prefix("key="));
    bearer(headers)
        .or_else(|| header("x-api-key"))
        .or_else(|| header("x-goog-api-key"))
        .or_else(|| header("api-key"))
        .or_else(query)
        // A browser's, for a socket.
        .or_else(|| realtime::key(headers))
}

/// What stands before the key where clients of the caller's protocol put it.
fn place<B>(request: &Request<B>) -> &'static str {
    let (headers, path) = (request.headers(), request.uri().path());
    if path.starts_with("/v1beta/")
        || path.starts_with("/v1/models/") && path.contains(':')
        || headers.contains_key("x-goog-api-key")
    {
        "x-goog-api-key: "
    } else if path.starts_with("/v1/messages")
        || headers.contains_key("x-api-key")
        || headers.contains_key("anthropic-version")
    {
        "x-api-key: "
    } else if headers.contains_key("api-key") {
        "api-key: "
    } else {
        "authorization: Bearer "
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cache_key(hash: &str) -> String {
    format!("caller/3/{hash}")
}

/// How long an isolate believes what it knows of a key.
pub const MEMORY_MS: i64 = 30_000;

/// How long an isolate believes that a key is unknown; short, for a key may be made any moment.
pub const UNKNOWN_MS: i64 = 5_000;

const TRIED_BYTES: usize = 6;

/// How long the cache keeps a key.
pub const CACHE_MS: i64 = 60_000;
