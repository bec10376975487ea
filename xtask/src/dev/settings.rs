//! What a local gateway keeps from run to run: its secrets, and what was made through its API.
//! One folder a host, for each host has its own database.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::host::Host;
use crate::{Outcome, tools};

pub(super) struct Settings {
    pub(super) folder: PathBuf,
    /// Whether this run leaves alone what others use: the folder was named for it.
    pub(super) is_apart: bool,
    pub(super) secret: String,
    pub(super) admin_token: String,
    pub(super) tick_token: String,
    /// The gateway key of the demo tenant; empty until there is one.
    pub(super) key: String,
}

impl Settings {
    /// Those of the last run in this folder, or new ones.
    pub(super) fn load(host: Host, state: Option<&str>) -> Outcome<Self> {
        let folder = match state {
            Some(word) => std::path::absolute(word).map_err(|error| format!("{word}: {error}"))?,
            None => folder(host),
        };
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let kept: Value = fs::read(folder.join(FILE))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let text = |name: &str| kept[name].as_str().map(str::to_owned);
        Ok(Self {
            secret: text("secret").unwrap_or_else(random),
            admin_token: text("admin_token").unwrap_or_else(random),
            tick_token: text("tick_token").unwrap_or_else(random),
            key: text("key").unwrap_or_default(),
            is_apart: state.is_some(),
            folder,
        })
    }

    pub(super) fn save(&self) -> Outcome {
        let kept = json!({
            "secret": self.secret,
            "admin_token": self.admin_token,
            "tick_token": self.tick_token,
            "key": self.key,
        });
        write_private(&self.folder.join(FILE), &format!("{kept:#}\n"))
    }

    /// The gateway's configuration: the secrets above, and the providers' keys of this shell.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let mut variables = vec![
            ("HYPERGATE_SECRET".to_owned(), self.secret.clone()),
            ("ADMIN_TOKEN".to_owned(), self.admin_token.clone()),
            ("TICK_TOKEN".to_owned(), self.tick_token.clone()),
            ("ALLOW_LOCAL_RECEIVERS".to_owned(), "true".to_owned()),
        ];
        let manifest = fs::read_to_string(tools::root().join("spin.toml")).unwrap_or_default();
        for name in provider_variables(&manifest) {
            if let Ok(value) = std::env::var(&name)
                && !value.is_empty()
            {
                variables.push((name, value));
            }
        }
        variables
    }
}

/// Removes everything of the earlier runs on this host.
pub(super) fn forget(host: Host) -> Outcome {
    match fs::remove_dir_all(folder(host)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", folder(host).display()))
        }
        _ => Ok(()),
    }
}

/// Writes a file that only its owner can read.
pub(super) fn write_private(path: &Path, text: &str) -> Outcome {
    let describe = |error: std::io::Error| format!("{}: {error}", path.display());
    fs::write(path, text).map_err(describe)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(describe)?;
    }
    Ok(())
}

/// The names of the settings that reach a provider. spin.toml has to declare each, so it has the list.
fn provider_variables(manifest: &str) -> Vec<String> {
    let section = manifest.split_once("[variables]").map_or("", |(_, after)| after);
    section
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().to_ascii_uppercase())
        .filter(|name| name.ends_with("_API_KEY") || name.ends_with("_BASE_URL"))
        .collect()
}

fn folder(host: Host) -> PathBuf {
    tools::root().join(".hypergate").join(host.name())
}

/// 256 bits in hexadecimal. Each state is keyed by the system's random numbers; good for a secret
/// that guards a demo on this machine.
fn random() -> String {
    (0..4).map(|part: u8| format!("{:016x}", RandomState::new().hash_one(part))).collect()
}

const FILE: &str = "dev.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_lists_the_providers_settings() {
        let manifest = "name = \"x\"\n[variables]\nopenai_api_key = { default = \"\", secret = true }\n\
                        # a comment\ntick_token = { required = true }\nopenai_base_url = { default = \"\" }\n\
                        [component.functions]\nother_api_key = \"no\"\n";
        assert_eq!(provider_variables(manifest), ["OPENAI_API_KEY", "OPENAI_BASE_URL"]);
    }

    #[test]
    fn secrets_are_long_and_differ() {
        assert_eq!(random().len(), 64);
        assert_ne!(random(), random());
    }
}
