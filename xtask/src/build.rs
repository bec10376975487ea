//! The Wasm for each host, and its size.

use std::fs;
use std::path::PathBuf;
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

/// The Worker: compiled, bound to JavaScript, optimised and bundled.
pub(crate) fn workers() -> Outcome {
    let advice = "`cargo xtask build workers` repeats only this.";
    let mut compile = tools::cargo();
    compile
        .current_dir(tools::root().join("functions"))
        .args(["build", "--lib", "--release", "--target", "wasm32-unknown-unknown"])
        // As worker-build below does it, which then finds the work done.
        .env("WASM_BINDGEN_USE_JS_SYS", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", wasm::flags(&FOR_BINDGEN)?);
    let compiled = process::run("Worker", &mut compile, advice)?;

    let index = worker_folder().join("index.js");
    let module = worker_folder().join("index_bg.wasm");
    let stamp = worker_folder().join(".made-from");
    let made_from = version_of(&tools::root().join("target/wasm32-unknown-unknown/release/functions.wasm"))?;
    // wrangler asks for a build whenever it starts, and the steps after the compiler know no "unchanged".
    let fresh =
        index.is_file() && module.is_file() && fs::read_to_string(&stamp).is_ok_and(|s| s == made_from);
    let bundled = if fresh { None } else { Some(bundle(advice)?) };
    wasm::strip(&module)?;
    fs::write(&stamp, made_from).map_err(|error| format!("{}: {error}", stamp.display()))?;

    let took = bundled.map_or(String::new(), |took| format!(", bundled in {}", seconds(took)));
    done("Worker", &format!("{} (compiled in {}{took})", process::relative(&index), seconds(compiled)));
    gzip::check("Worker", &[&module, &index])
}

fn bundle(advice: &str) -> Outcome<std::time::Duration> {
    let missing = "A tool of the build is missing: run `cargo xtask setup`.";
    let bindgen = tools::rust_tool("wasm-bindgen", &tools::locked("wasm-bindgen")?).ok_or(missing)?;
    let worker_build = tools::rust_tool("worker-build", &tools::locked("worker")?).ok_or(missing)?;
    let mut build = tools::command(worker_build);
    build
        // wasm-opt makes less code of it, but such that compresses worse: link-time optimisation has done its work.
        .args(["--release", "--no-opt", "--out-dir", "../build", "functions"])
        // A caller that hangs up before the answer must not take the call's record with it.
        .env("RUN_TO_COMPLETION", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", wasm::flags(&FOR_BINDGEN)?)
        // Without these it would download each.
        .env("ESBUILD_BIN", tools::esbuild())
        .env("WASM_BINDGEN_BIN", bindgen);
    process::run("Worker bundle", &mut build, advice)
}

/// The Spin component: what the compiler makes, as it is.
pub(crate) fn spin() -> Outcome {
    let mut compile = tools::cargo();
    compile.args(["build", "-p", "hypergate-functions", "--lib", "--release", "--target", "wasm32-wasip2"]);
    compile.env("CARGO_ENCODED_RUSTFLAGS", wasm::flags(&[])?);
    let took = process::run("Spin component", &mut compile, "`cargo xtask build spin` repeats only this.")?;
    let component = tools::root().join("target/wasm32-wasip2/release/functions.wasm");
    done("Spin component", &format!("{} (compiled in {})", process::relative(&component), seconds(took)));
    gzip::check("Spin", &[&component])
}

/// Tells one output of the compiler from the next.
fn version_of(file: &std::path::Path) -> Outcome<String> {
    let describe = |error: std::io::Error| format!("{}: {error}", file.display());
    let meta = file.metadata().map_err(describe)?;
    let modified = meta.modified().map_err(describe)?;
    let nanos = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Ok(format!("{} bytes, {nanos}\n", meta.len()))
}

const HOSTS: [&str; 2] = ["workers", "spin"];

/// wasm-bindgen goes by both sections, which the linker would strip.
const FOR_BINDGEN: [&str; 2] =
    ["-Clink-arg=--keep-section=target_features", "-Clink-arg=--keep-section=name"];
