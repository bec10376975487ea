//! Installs what the build and the tests need, and leaves alone what is there.

use std::fs;
use std::process::Command;

use crate::process::{self, done, seconds};
use crate::{Outcome, args, tools};

pub(crate) fn run(words: &[String]) -> Outcome {
    args::Args::new(words).rest()?;
    println!("Set-up");
    all()?;
    println!("\nReady. `cargo xtask dev` shows it working, `cargo xtask test` tests it.");
    Ok(())
}

/// Every step; quick when there is nothing to do.
pub(crate) fn all() -> Outcome {
    check_rust()?;
    add_targets()?;
    install_npm_packages()?;
    check_node()?;
    // Reads the lock file, which must name the same version as the library: they share a format.
    install_rust_tool("wasm-bindgen", "wasm-bindgen-cli", &tools::locked("wasm-bindgen")?)?;
    install_rust_tool("worker-build", "worker-build", &tools::locked("worker")?)
}

fn check_rust() -> Outcome {
    let printed = process::output(tools::command("rustc").arg("--version"))
        .ok_or("`rustc` does not run. Install Rust with rustup: https://rustup.rs")?;
    let version = tools::parse_version(&printed).ok_or_else(|| format!("What is `{printed}`?"))?;
    if version < RUST_MIN {
        let (have, want) = (tools::dotted(version), tools::dotted(RUST_MIN));
        return Err(format!("Rust {have} is too old, {want} is needed: run `rustup update stable`."));
    }
    for component in ["clippy", "rustfmt"] {
        let tool = if component == "clippy" { "clippy" } else { "fmt" };
        if process::output(tools::cargo().args([tool, "--version"])).is_none() {
            let mut add = tools::command("rustup");
            add.args(["component", "add", component]);
            process::run(component, &mut add, "Install it the way Rust was installed here.")?;
        }
    }
    done("Rust", &tools::dotted(version));
    Ok(())
}

fn add_targets() -> Outcome {
    let missing: Vec<&str> = TARGETS.into_iter().filter(|target| !has_target(target)).collect();
    if !missing.is_empty() {
        let names = missing.join(" ");
        if tools::on_path("rustup").is_none() {
            return Err(format!(
                "This Rust lacks the standard library for {names}, and there is no rustup to add it. Install \
                 rustup (https://rustup.rs), or the packages of your distribution that hold it."
            ));
        }
        process::run(
            "Wasm targets",
            tools::command("rustup").args(["target", "add"]).args(&missing),
            &format!("Check the network, then run `rustup target add {names}`."),
        )?;
    }
    done("Wasm targets", &TARGETS.join(", "));
    Ok(())
}

fn has_target(target: &str) -> bool {
    let printed =
        process::output(tools::command("rustc").args(["--print", "target-libdir", "--target", target]));
    printed.is_some_and(|folder| fs::exists(folder).unwrap_or(false))
}

/// Installs from the lock file, unless exactly that lock file was installed last time.
fn install_npm_packages() -> Outcome {
    let root = tools::root();
    let lock = fs::read(root.join("package-lock.json")).map_err(|e| format!("package-lock.json: {e}"))?;
    let stamp = root.join("node_modules/.installed-package-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        done("npm packages", "as in package-lock.json");
        return Ok(());
    }
    if process::output(npm().arg("--version")).is_none() {
        return Err("`npm` does not run. Install Node 18 or newer with npm: https://nodejs.org".to_owned());
    }
    let advice = "Check the network and `npm ping`, then run `cargo xtask setup` again.";
    let mut install = npm();
    // Not `npm ci`: it refuses a lock file that lacks the optional packages of other machines, and npm
    // writes such a file when a registry does not have them. With `--no-save` the lock file is obeyed too.
    install.args(["install", "--no-save", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"]);
    // No package here needs its install script: each binary is a package of its own.
    install.arg("--ignore-scripts");
    let took = process::run("npm packages", &mut install, advice)?;
    fs::write(&stamp, lock).map_err(|error| format!("{}: {error}", stamp.display()))?;
    done("npm packages", &seconds(took));
    Ok(())
}

fn npm() -> Command {
    tools::command(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

fn check_node() -> Outcome {
    let path = tools::node()?;
    let version = process::output(Command::new(path).arg("--version")).unwrap_or_default();
    let origin = if path.starts_with(tools::root()) { ", from npm: the system's is too old" } else { "" };
    done("Node", &format!("{version}{origin}"));
    Ok(())
}

/// Compiles a tool from the registry, into the build folder: nothing outside the project changes.
pub(crate) fn install_rust_tool(name: &str, package: &str, version: &str) -> Outcome {
    if tools::rust_tool(name, version).is_some() {
        done(name, version);
        return Ok(());
    }
    let mut install = tools::cargo();
    install
        .args(["install", "--locked", "--force", "--root", "target/tools", package, "--version", version])
        // A folder that stays: an interrupted installation goes on, and the tools share what they share.
        .args(["--bin", name, "--target-dir", "target/tools/build"])
        // These run for seconds; compiling them for speed would cost minutes.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    let advice =
        format!("Check the network, then run `cargo xtask setup` again, or install {package} {version}.");
    let took = process::run(name, &mut install, &advice)?;
    done(name, &format!("{version}, compiled in {}", seconds(took)));
    Ok(())
}

/// What the functions compile to: Cloudflare's runtime, and Spin's.
const TARGETS: [&str; 2] = ["wasm32-unknown-unknown", "wasm32-wasip2"];

/// As in Cargo.toml, whose own check would come too late to say what to do.
const RUST_MIN: (u32, u32, u32) = (1, 91, 0);
