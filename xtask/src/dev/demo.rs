//! What a first look needs, made through the admin API: a tenant, a key, receivers, a quick rule.

use serde_json::{Value, json};

use super::http;
use super::settings::Settings;
use crate::Outcome;

/// Makes what is missing; what an earlier run made is used again.
pub(super) fn provide(port: u16, settings: &mut Settings) -> Outcome {
    let admin = Admin { port, token: &settings.admin_token };
    let known = !settings.key.is_empty() && http::get(port, "/v1/models", Some(&settings.key))?.status == 200;
    if !known {
        settings.key = new_key(&admin)?;
    }
    let receivers = admin.list("/admin/v1/receivers")?;
    for (name, kind, path) in RECEIVERS {
        let name = format!("{name} on port {}", port + 1);
        if receivers.iter().any(|receiver| receiver["name"] == name.as_str()) {
            continue;
        }
        let url = format!("http://127.0.0.1:{}{path}", port + 1);
        admin.call("POST", "/admin/v1/receivers", &json!({"name": name, "kind": kind, "url": url}))?;
    }
    let quick = json!({"min_count": 5, "window_minutes": 1, "for_minutes": 0});
    admin.call("PUT", "/admin/v1/rules/error-share", &quick)?;
    Ok(())
}

fn new_key(admin: &Admin<'_>) -> Outcome<String> {
    let tenants = admin.list("/admin/v1/tenants")?;
    let tenant = match tenants.into_iter().find(|tenant| tenant["name"] == "demo") {
        Some(tenant) => tenant,
        None => admin.call("POST", "/admin/v1/tenants", &json!({"name": "demo"}))?,
    };
    let id = tenant["id"].as_str().ok_or("The new tenant has no id.")?;
    let key = admin.call("POST", &format!("/admin/v1/tenants/{id}/keys"), &json!({"name": "dev"}))?;
    Ok(key["key"].as_str().ok_or("The new key was not shown.")?.to_owned())
}

struct Admin<'a> {
    port: u16,
    token: &'a str,
}

impl Admin<'_> {
    fn list(&self, path: &str) -> Outcome<Vec<Value>> {
        let mut answer = self.call("GET", path, &Value::Null)?;
        match answer["data"].take() {
            Value::Array(items) => Ok(items),
            _ => Err(format!("GET {path} answered without `data`.")),
        }
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Outcome<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = http::call(method, self.port, path, Some(self.token), &body)?;
        if !(200..300).contains(&answer.status) {
            return Err(format!("{method} {path} answered {}: {}", answer.status, answer.body.trim()));
        }
        serde_json::from_str(&answer.body).map_err(|error| format!("{method} {path}: {error}"))
    }
}

/// Name, kind, and the path under which the page of `receiver` takes it.
const RECEIVERS: [(&str, &str, &str); 2] =
    [("demo chat", "slack", "/slack"), ("demo webhook", "webhook", "/webhook")];
