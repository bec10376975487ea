//! The Wasm for each host, and its size.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::process::{self, done, seconds};
use crate::{Outcome, args, gzip, setup, tools, wasm};

pub(crate) fn run(words: &[String]) -> Outcome {
    let mut hosts = Vec::new();
    for word in args::Args::new(words).rest()? {
        hosts.push(args::one_of("host", &word, &HOSTS)?);
    }
    println!("Set-up");
    setup::all()?;
    println!("Build");
    for host in if hosts.is_empty() { HOSTS.to_vec() } else { hosts } {
        if host == "workers" { workers()? } else { spin()? }
    }
    Ok(())
}

/// Where the Worker's files go; named in wrangler.toml.
pub(crate) fn worker_folder() -> PathBuf {
    tools::root().join("build")
}

/// The two modules: features of `hypergate-functions`.
pub(crate) const MODULES: [&str; 2] = ["calls", "watch"];

/// How a module is compiled: a profile of the workspace.
fn profile(module: &str) -> &'static str {
    if module == "calls" { "release" } else { "watch" }
}

/// Where the compiler puts a module.
fn made(target: &str, module: &str) -> PathBuf {
    tools::root().join("target").join(target).join(profile(module)).join("functions.wasm")
}

/// The Worker: two modules behind one door.
pub(crate) fn workers() -> Outcome {
    for module in MODULES {
        worker_module(module)?;
    }
    let (door, place) = (tools::root().join("functions/src/host/entry.js"), worker_folder().join("index.js"));
    fs::copy(&door, &place).map_err(|error| format!("{}: {error}", place.display()))?;
    let modules = MODULES.map(worker_files);
    let all: Vec<&Path> = modules.iter().flatten().chain([&place]).map(PathBuf::as_path).collect();
    gzip::check("Worker, all that is uploaded", &all, &gzip::WORKER)
}

/// What a module of the Worker is made of: its Wasm, and the JavaScript that binds it.
fn worker_files(module: &str) -> [PathBuf; 2] {
    ["index_bg.wasm", "index.js"].map(|file| worker_folder().join(module).join(file))
}

/// One module of the Worker: compiled, bound to JavaScript, optimised and bundled.
fn worker_module(module: &str) -> Outcome {
    let advice = "`cargo xtask build workers` repeats only this.";
    let mut compile = tools::cargo();
    compile
        .current_dir(tools::root().join("functions"))
        .args(["build", "--lib", "--target", WORKERS, "--profile", profile(module)])
        .args(["--no-default-features", "--features", module])
        // As worker-build below does it, which then finds the work done.
        .env("WASM_BINDGEN_USE_JS_SYS", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", wasm::flags(&FOR_BINDGEN)?);
    let what = format!("Worker ({module})");
    let compiled = process::run(&what, &mut compile, advice)?;

    let [wasm, index] = worker_files(module);
    let stamp = worker_folder().join(module).join(".made-from");
    let made_from = version_of(&made(WORKERS, module))?;
    // wrangler asks for a build whenever it starts, and the steps after the compiler know no "unchanged".
    let fresh = index.is_file() && wasm.is_file() && fs::read_to_string(&stamp).is_ok_and(|s| s == made_from);
    let bundled = if fresh { None } else { Some(bundle(module, advice)?) };
    wasm::strip(&wasm)?;
    fs::write(&stamp, made_from).map_err(|error| format!("{}: {error}", stamp.display()))?;

    let took = bundled.map_or(String::new(), |took| format!(", bundled in {}", seconds(took)));
    done(&what, &format!("{} (compiled in {}{took})", process::relative(&index), seconds(compiled)));
    gzip::check(&what, &[&wasm, &index], &gzip::MODULE)
}

fn bundle(module: &str, advice: &str) -> Outcome<std::time::Duration> {
    let missing = "A tool of the build is missing: run `cargo xtask setup`.";
    let bindgen = tools::rust_tool("wasm-bindgen", &tools::locked("wasm-bindgen")?).ok_or(missing)?;
    let worker_build = tools::rust_tool("worker-build", &tools::locked("worker")?).ok_or(missing)?;
    let mut build = tools::command(worker_build);
    build
        // wasm-opt makes less code of it, but such that compresses worse: link-time optimisation has done its work.
        .args(["--profile", profile(module), "--no-opt"])
        .args(["--out-dir", &format!("../build/{module}"), "functions"])
        .args(["--no-default-features", "--features", module])
        // A caller that hangs up before the answer must not take the call's record with it.
        .env("RUN_TO_COMPLETION", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", wasm::flags(&FOR_BINDGEN)?)
        // Without these it would download each.
        .env("ESBUILD_BIN", tools::esbuild())
        .env("WASM_BINDGEN_BIN", bindgen);
    process::run(&format!("Worker ({module}), bundle"), &mut build, advice)
}

/// The modules of the Spin components: what the compiler makes, as it is.
pub(crate) fn spin() -> Outcome {
    for module in MODULES {
        let what = format!("Spin ({module})");
        let mut compile = tools::cargo();
        compile
            .args(["build", "-p", "hypergate-functions", "--lib", "--target", SPIN])
            .args(["--profile", profile(module)])
            .args(["--no-default-features", "--features", module])
            .env("CARGO_ENCODED_RUSTFLAGS", wasm::flags(&[])?);
        let took = process::run(&what, &mut compile, "`cargo xtask build spin` repeats only this.")?;
        let made = spin_module(module);
        done(&what, &format!("{} (compiled in {})", process::relative(&made), seconds(took)));
        gzip::check(&what, &[&made], &gzip::MODULE)?;
    }
    Ok(())
}

/// A module for Spin; named in spin.toml.
pub(crate) fn spin_module(module: &str) -> PathBuf {
    made(SPIN, module)
}

/// Tells one output of the compiler from the next.
fn version_of(file: &Path) -> Outcome<String> {
    let describe = |error: std::io::Error| format!("{}: {error}", file.display());
    let meta = file.metadata().map_err(describe)?;
    let modified = meta.modified().map_err(describe)?;
    let nanos = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Ok(format!("{} bytes, {nanos}\n", meta.len()))
}

const WORKERS: &str = "wasm32-unknown-unknown";
const SPIN: &str = "wasm32-wasip2";

const HOSTS: [&str; 2] = ["workers", "spin"];

/// wasm-bindgen goes by both sections, which the linker would strip.
const FOR_BINDGEN: [&str; 2] =
    ["-Clink-arg=--keep-section=target_features", "-Clink-arg=--keep-section=name"];
