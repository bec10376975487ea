//! Tenants, API keys and aliases.

use bytes::Bytes;
use gateway::{
    Error, Host, auth,
    call::Incoming,
    payload::Mode,
    plan,
    secret::hex,
    store::identity::{self as store, Alias, ApiKey, Tenant},
};
use http::Response;
use llm::provider::{self, PROVIDERS};
use serde_json::{json, to_value};

use super::fields::{Fields, decode, wrong};
use crate::route::{body, json_response, list_of};

type Answer = Result<Response<Bytes>, Error>;

pub(super) async fn list_tenants<H: Host>(host: &H) -> Answer {
    Ok(json_response(200, &list_of(store::tenants(host).await?)))
}

pub(super) async fn create_tenant<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let name = fields.name("name")?;
    let (mode, cap_bytes) = payload_settings(&mut fields)?;
    fields.finish()?;
    let now_ms = host.now_ms();
    let tenant = Tenant {
        id: host.memory().new_id("tn_", now_ms, host),
        name,
        payload_mode: mode.unwrap_or_default(),
        payload_cap_bytes: cap_bytes.unwrap_or(DEFAULT_CAP_BYTES),
        created_ms: now_ms,
        disabled_ms: None,
    };
    if !store::create_tenant(host, &tenant).await? {
        return Err(wrong("name", "There is a tenant of this `name` already."));
    }
    Ok(json_response(201, &tenant))
}

pub(super) async fn find_tenant<H: Host>(id: &str, host: &H) -> Answer {
    let tenant = store::tenant(host, id).await?.ok_or_else(|| no_tenant(id))?;
    Ok(json_response(200, &tenant))
}

pub(super) async fn update_tenant<H: Host>(id: &str, incoming: &Incoming, host: &H) -> Answer {
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let (mode, cap_bytes) = payload_settings(&mut fields)?;
    fields.finish()?;
    let tenant = store::set_payload(host, id, mode, cap_bytes).await?.ok_or_else(|| no_tenant(id))?;
    forget_tenant(id, host).await?;
    Ok(json_response(200, &tenant))
}

pub(super) async fn disable_tenant<H: Host>(id: &str, host: &H) -> Answer {
    let tenant = store::disable_tenant(host, id, host.now_ms()).await?.ok_or_else(|| no_tenant(id))?;
    forget_tenant(id, host).await?;
    Ok(json_response(200, &tenant))
}

fn payload_settings(fields: &mut Fields) -> Result<(Option<Mode>, Option<i64>), Error> {
    let mode = match fields.text("payload_mode", 20)?.as_deref() {
        None => None,
        Some("none") => Some(Mode::None),
        Some("redacted") => Some(Mode::Redacted),
        Some("full") => Some(Mode::Full),
        Some(_) => return Err(wrong("payload_mode", "`payload_mode` must be `none`, `redacted` or `full`.")),
    };
    Ok((mode, fields.integer("payload_cap_bytes", 0..=MAX_CAP_BYTES)?))
}

pub(super) async fn list_keys<H: Host>(tenant_id: &str, host: &H) -> Answer {
    store::tenant(host, tenant_id).await?.ok_or_else(|| no_tenant(tenant_id))?;
    Ok(json_response(200, &list_of(store::keys(host, tenant_id).await?)))
}

pub(super) async fn create_key<H: Host>(tenant_id: &str, incoming: &Incoming, host: &H) -> Answer {
    let config = host.config();
    let secrets = config.secrets.as_ref().ok_or(Error::Unconfigured("HYPERGATE_SECRET"))?;
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let name = fields.name("name")?;
    let expires_ms = fields.time("expires_at")?;
    let models = fields.texts("models")?;
    fields.finish()?;
    if let Some(models) = &models {
        let aliases = store::aliases(host, tenant_id).await?;
        let matches_nothing = |pattern: &String| {
            let of_provider = pattern.split_once('/').map(|(name, _)| provider::find(name).is_some());
            let begins = pattern.strip_suffix('*');
            let is_alias = |alias: &Alias| match begins {
                Some(prefix) => alias.name.starts_with(prefix),
                None => alias.name == *pattern,
            };
            let begins_provider =
                || begins.is_some_and(|prefix| PROVIDERS.iter().any(|row| row.name.starts_with(prefix)));
            !of_provider.unwrap_or_else(|| begins_provider() || aliases.iter().any(is_alias))
        };
        if let Some(at) = models.iter().position(matches_nothing) {
            let param = format!("models[{at}]");
            let message = format!(
                "`{param}` is neither `provider/model`, `provider/*` nor an alias of this tenant; make an alias first. {}",
                known_providers()
            );
            return Err(wrong(&param, message));
        }
    }
    let now_ms = host.now_ms();
    if expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
        return Err(wrong("expires_at", "`expires_at` must be in the future."));
    }
    let mut random = [0; 32];
    host.fill(&mut random);
    let key = secrets.new_key(random);
    let stored = ApiKey {
        id: host.memory().new_id("key_", now_ms, host),
        tenant_id: tenant_id.to_owned(),
        name,
        hint: key[key.len() - 4..].to_owned(),
        models,
        created_ms: now_ms,
        expires_ms,
        revoked_ms: None,
    };
    if !store::create_key(host, &hex(&secrets.key_hash(&key)), &stored).await? {
        return Err(no_tenant(tenant_id));
    }
    // The only time the key is seen.
    let mut shown = to_value(&stored).expect("a key is JSON");
    shown["key"] = json!(key);
    Ok(json_response(201, &shown))
}

pub(super) async fn revoke_key<H: Host>(id: &str, host: &H) -> Answer {
    let found = store::revoke_key(host, id, host.now_ms()).await?;
    let (hash, key) = found.ok_or_else(|| Error::NotFound(format!("key {id}")))?;
    auth::forget(host, &[hash]).await;
    Ok(json_response(200, &key))
}

pub(super) async fn list_aliases<H: Host>(tenant_id: &str, host: &H) -> Answer {
    store::tenant(host, tenant_id).await?.ok_or_else(|| no_tenant(tenant_id))?;
    Ok(json_response(200, &list_of(store::aliases(host, tenant_id).await?)))
}

pub(super) async fn put_alias<H: Host>(tenant_id: &str, name: &str, incoming: &Incoming, host: &H) -> Answer {
    let name = decode(name);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    if !(1..=100).contains(&name.len()) || !name.bytes().all(is_plain) {
        // A slash would make it look like `provider/model`.
        return Err(wrong("name", "An alias has 1 to 100 letters, digits, `-`, `_`, `.` or `:`."));
    }
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let targets = fields.texts("targets")?.unwrap_or_default();
    fields.finish()?;
    if !(1..=MAX_TARGETS).contains(&targets.len()) {
        return Err(wrong(
            "targets",
            format!("`targets` is required: 1 to {MAX_TARGETS} models, tried in order."),
        ));
    }
    if let Some(at) = targets.iter().position(|target| plan::choice(target).is_none()) {
        let message = format!("`targets[{at}]` must be `provider/model`. {}", known_providers());
        return Err(wrong(&format!("targets[{at}]"), message));
    }
    let alias = Alias { name, targets, updated_ms: host.now_ms() };
    if !store::put_alias(host, tenant_id, &alias).await? {
        return Err(no_tenant(tenant_id));
    }
    forget_tenant(tenant_id, host).await?;
    Ok(json_response(200, &alias))
}

pub(super) async fn delete_alias<H: Host>(tenant_id: &str, name: &str, host: &H) -> Answer {
    let name = decode(name);
    if !store::delete_alias(host, tenant_id, &name).await? {
        return Err(Error::NotFound(format!("alias {name}")));
    }
    forget_tenant(tenant_id, host).await?;
    Ok(json_response(200, &json!({ "name": name, "deleted": true })))
}

async fn forget_tenant<H: Host>(tenant_id: &str, host: &H) -> Result<(), Error> {
    auth::forget(host, &store::key_hashes(host, tenant_id).await?).await;
    Ok(())
}

pub(super) fn known_providers() -> String {
    let known: Vec<&str> = PROVIDERS.iter().map(|provider| provider.name).collect();
    format!("The providers are {}.", known.join(", "))
}

pub(super) fn no_tenant(id: &str) -> Error {
    Error::NotFound(format!("tenant {id}, or it is disabled"))
}

const DEFAULT_CAP_BYTES: i64 = 16_384;

/// A record travels in a queue message of at most 128 kB, headers and both bodies included.
const MAX_CAP_BYTES: i64 = 32_768;

const MAX_TARGETS: usize = 10;
