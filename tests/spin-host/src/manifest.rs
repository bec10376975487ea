//! `spin.toml`, version 2, as far as our application uses it. A field that is not known here is an error: to
//! ignore it would be to behave unlike Spin.

use crate::hosts::AllowedHost;
use crate::routes::Routes;
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, de::IgnoredAny};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What there is to serve: components, and the routes that lead to them.
pub(crate) struct Application {
    pub(crate) components: BTreeMap<String, Component>,
    pub(crate) routes: Routes,
}

/// One component and all it may touch, templates filled in.
pub(crate) struct Component {
    /// The Wasm file, relative to the manifest.
    pub(crate) source: String,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) variables: HashMap<String, String>,
    pub(crate) allowed_hosts: Vec<AllowedHost>,
    pub(crate) key_value_stores: HashSet<String>,
    pub(crate) sqlite_databases: HashSet<String>,
}

/// Reads a manifest. `environment` is asked for `SPIN_VARIABLE_<NAME>`.
pub(crate) fn read(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Application> {
    let file: File = toml::from_str(text)?;
    ensure!(file.spin_manifest_version == 2, "only manifests of version 2 are known here");

    let mut variables = HashMap::new();
    for (name, variable) in file.variables {
        ensure!(
            variable.required != variable.default.is_some(),
            "variable {name} must be required or have a default"
        );
        let value = environment(&format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase()))
            .or(variable.default)
            .with_context(|| {
                format!("variable {name} is required: set SPIN_VARIABLE_{}", name.to_ascii_uppercase())
            })?;
        variables.insert(name, value);
    }

    let components = file
        .component
        .into_iter()
        .map(|(id, table)| {
            let component = table.resolve(&variables).with_context(|| format!("component {id}"))?;
            Ok((id, component))
        })
        .collect::<Result<BTreeMap<_, _>>>()?;

    let mut routes = Routes::default();
    for trigger in file.trigger.http {
        ensure!(components.contains_key(&trigger.component), "no component {}", trigger.component);
        match trigger.route {
            RouteTable::Pattern(pattern) => routes.add(pattern, trigger.component)?,
            RouteTable::Private { private } => {
                ensure!(private, "a route is a pattern or {{ private = true }}")
            }
        }
    }
    Ok(Application { components, routes })
}

impl ComponentTable {
    fn resolve(self, variables: &HashMap<String, String>) -> Result<Component> {
        let resolve = |template: &String| resolve(template, variables);
        Ok(Component {
            source: self.source,
            environment: self.environment,
            variables: self
                .variables
                .iter()
                .map(|(name, template)| Ok((name.clone(), resolve(template)?)))
                .collect::<Result<_>>()?,
            allowed_hosts: self
                .allowed_outbound_hosts
                .iter()
                .map(|entry| AllowedHost::parse(&resolve(entry)?))
                .collect::<Result<_>>()?,
            key_value_stores: self.key_value_stores,
            sqlite_databases: self.sqlite_databases,
        })
    }
}

/// Fills `{{ name }}` in.
fn resolve(template: &str, variables: &HashMap<String, String>) -> Result<String> {
    let mut resolved = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").context("a template has {{ without }}")?;
        let name = name.trim();
        resolved.push_str(before);
        resolved.push_str(variables.get(name).with_context(|| format!("no variable {name}"))?);
        rest = after;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    spin_manifest_version: u32,
    #[serde(rename = "application")]
    _application: IgnoredAny,
    #[serde(default)]
    variables: BTreeMap<String, VariableTable>,
    trigger: TriggerTable,
    component: BTreeMap<String, ComponentTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariableTable {
    default: Option<String>,
    #[serde(default)]
    required: bool,
    #[serde(default, rename = "secret")]
    _secret: IgnoredAny,
    #[serde(default, rename = "description")]
    _description: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TriggerTable {
    http: Vec<HttpTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpTable {
    route: RouteTable,
    component: String,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RouteTable {
    Pattern(String),
    Private { private: bool },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ComponentTable {
    source: String,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    #[serde(default)]
    allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    key_value_stores: HashSet<String>,
    #[serde(default)]
    sqlite_databases: HashSet<String>,
    #[serde(default, rename = "description")]
    _description: IgnoredAny,
    #[serde(default, rename = "build")]
    _build: IgnoredAny,
    #[serde(default, rename = "tool")]
    _tool: IgnoredAny,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        spin_manifest_version = 2
        [application]
        name = "test"
        [variables]
        token = { required = true, secret = true }
        upstream = { default = "http://127.0.0.1:4010" }
        empty = { default = "" }
        [[trigger.http]]
        route = "/..."
        component = "gateway"
        [[trigger.http]]
        route = "/admin/..."
        component = "admin"
        [[trigger.http]]
        route = { private = true }
        component = "inner"
        [component.gateway]
        source = "a.wasm"
        allowed_outbound_hosts = ["https://*.example.com", "{{ upstream }}"]
        key_value_stores = ["default"]
        sqlite_databases = ["default"]
        variables = { token = "{{ token }}", greeting = "<{{upstream}}|{{ empty }}>" }
        build = { command = "cargo build" }
        [component.admin]
        source = "a.wasm"
        [component.inner]
        source = "b.wasm"
    "#;

    fn token(name: &str) -> Option<String> {
        (name == "SPIN_VARIABLE_TOKEN").then(|| "s3cret".to_owned())
    }

    fn error(text: &str) -> String {
        read(text, token).err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn templates_take_the_environment_before_the_default() {
        let variables = |environment: fn(&str) -> Option<String>| {
            read(MANIFEST, environment).unwrap().components.remove("gateway").unwrap().variables
        };
        let by_default = variables(token);
        assert_eq!(by_default["token"], "s3cret");
        assert_eq!(by_default["greeting"], "<http://127.0.0.1:4010|>");
        assert_eq!(by_default.get("upstream"), None, "an application's variable is not its components'");

        let set = variables(|name| match name {
            "SPIN_VARIABLE_UPSTREAM" => Some("https://elsewhere".to_owned()),
            _ => token(name),
        });
        assert_eq!(set["greeting"], "<https://elsewhere|>");
    }

    #[test]
    fn a_component_has_only_what_its_own_table_grants() {
        let application = read(MANIFEST, token).unwrap();
        let (gateway, admin) = (&application.components["gateway"], &application.components["admin"]);
        let local = "http://127.0.0.1:4010/v1".parse().unwrap();
        assert!(gateway.allowed_hosts.iter().any(|host| host.allows(&local)));
        assert!(gateway.sqlite_databases.contains("default"));
        assert!(admin.allowed_hosts.is_empty());
        assert!(admin.sqlite_databases.is_empty() && admin.key_value_stores.is_empty());
    }

    #[test]
    fn a_manifest_that_says_less_or_more_than_it_should_is_refused() {
        for (from, to, why) in [
            ("required = true, ", "", "variable token must be required or have a default"),
            ("default = \"\"", "default = \"\", required = true", "variable empty must be required"),
            ("{{ token }}", "{{ nothing }}", "component gateway: no variable nothing"),
            ("{{ token }}", "{{ token", "{{ without }}"),
            ("component = \"admin\"", "component = \"none\"", "no component none"),
            ("private = true", "private = false", "{ private = true }"),
            ("\"/admin/...\"", "\"/...\"", "route /... is there twice"),
            ("manifest_version = 2", "manifest_version = 1", "version 2"),
            ("source = \"b.wasm\"", "source = \"b.wasm\"\nfiles = [\"x\"]", "unknown field `files`"),
        ] {
            assert!(MANIFEST.contains(from), "{from}");
            let error = error(&MANIFEST.replace(from, to));
            assert!(error.contains(why), "{from} -> {to}: {error}");
        }
    }

    #[test]
    fn a_required_variable_must_be_set_and_its_value_is_never_told() {
        let error = read(MANIFEST, |_| None).err().unwrap().to_string();
        assert_eq!(error, "variable token is required: set SPIN_VARIABLE_TOKEN");
    }

    #[test]
    fn a_private_component_has_no_route() {
        let text = MANIFEST.replace("\"/...\"", "\"/only\"");
        let application = read(&text, token).unwrap();
        assert!(application.routes.find("/inner").is_none());
        assert_eq!(application.routes.find("/only").unwrap().component, "gateway");
        assert_eq!(application.routes.find("/admin/x").unwrap().component, "admin");
    }
}
