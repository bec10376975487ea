//! The gateway behind its routes, on the memory host, with a tenant and a key.

use bytes::Bytes;
use functions::{BodyError, Incoming, handle};
use gateway::journal;
use http::{HeaderMap, HeaderName, Request};
use serde_json::{Value, json};

use crate::{Answered, MemoryHost, block_on};

/// A gateway to call.
pub struct Gateway {
    /// Its host.
    pub host: MemoryHost,
    /// A tenant.
    pub tenant_id: String,
    /// A key of the tenant, good for everything.
    pub key: String,
}

/// Where the OpenAI of the tests lives.
pub const OPENAI: &str = "https://api.openai.com/v1/chat/completions";

/// Where the Anthropic of the tests lives.
pub const ANTHROPIC: &str = "https://api.anthropic.com/v1/messages";

impl Default for Gateway {
    fn default() -> Self {
        Self::with(&[])
    }
}

impl Gateway {
    /// A gateway with these settings beside the usual ones.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let keys = [("OPENAI_API_KEY", "sk-openai"), ("ANTHROPIC_API_KEY", "sk-anthropic")];
        let settings: Vec<_> = keys.into_iter().chain(settings.iter().copied()).collect();
        let mut gateway =
            Self { host: MemoryHost::with(&settings), tenant_id: String::new(), key: String::new() };
        let tenant = gateway.admin("POST", "tenants", &json!({ "name": "acme" })).json();
        gateway.tenant_id = tenant["id"].as_str().unwrap().to_owned();
        gateway.key = gateway.new_key(&json!({ "name": "laptop" }));
        gateway
    }

    /// Another key of the tenant.
    pub fn new_key(&self, settings: &Value) -> String {
        let made = self.admin("POST", &format!("tenants/{}/keys", self.tenant_id), settings).json();
        made["key"].as_str().unwrap_or_else(|| panic!("no key: {made}")).to_owned()
    }

    /// A request to the admin API; `path` is what follows `/admin/v1/`.
    pub fn admin(&self, method: &str, path: &str, body: &Value) -> Answered {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.request(method, &format!("/admin/v1/{path}"), &[("authorization", "Bearer admin-token")], body)
    }

    /// A chat call with the tenant's key.
    pub fn chat(&self, body: &Value) -> Answered {
        self.chat_with(&self.key, &[], body.to_string())
    }

    /// A chat call with any key, headers and bytes.
    pub fn chat_with(&self, key: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answered {
        let bearer = format!("Bearer {key}");
        let headers: Vec<_> =
            [("authorization", bearer.as_str())].into_iter().chain(headers.iter().copied()).collect();
        self.request("POST", "/v1/chat/completions", &headers, body)
    }

    /// Any request.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answered {
        self.incoming(method, path, headers, Ok(body.into()))
    }

    /// A form with the tenant's key, of which the host has read nothing yet.
    pub fn upload(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        pieces: impl IntoIterator<Item = Result<Bytes, BodyError>>,
    ) -> Answered {
        self.host.will_receive(pieces);
        let bearer = format!("Bearer {}", self.key);
        let usual =
            [("authorization", bearer.as_str()), ("content-type", "multipart/form-data; boundary=XyZ")];
        let headers: Vec<_> = usual.into_iter().chain(headers.iter().copied()).collect();
        self.incoming("POST", path, &headers, Err(BodyError::Unread))
    }

    /// A request as a host hands it in. What there is to record is journalled at once.
    pub fn incoming(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Result<Bytes, BodyError>,
    ) -> Answered {
        let mut incoming: Incoming = Request::new(body);
        *incoming.method_mut() = method.parse().unwrap();
        *incoming.uri_mut() = path.parse().unwrap();
        let parsed =
            headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        *incoming.headers_mut() = parsed.collect::<HeaderMap>();
        let answered = block_on(async { self.host.finish(handle(&incoming, &self.host).await).await });
        if let Some(record) = &answered.record {
            block_on(journal::write(&self.host, std::slice::from_ref(record))).unwrap();
        }
        answered
    }
}
