//! Writes the `bindgen!` call for Spin's interfaces: their text is in the published `spin-sdk` crate, whose
//! directory only cargo knows.

use std::path::{Path, PathBuf};
use std::{env, fs, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let interfaces = spin_sdk_directory().join("wit/deps/spin@2.0.0");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let wit = out.join("wit");
    fs::create_dir_all(&wit).expect("OUT_DIR can be written");
    fs::write(wit.join("world.wit"), WORLD).expect("OUT_DIR can be written");
    for name in ["key-value.wit", "sqlite.wit", "variables.wit"] {
        let from = interfaces.join(name);
        println!("cargo::rerun-if-changed={}", from.display());
        fs::copy(&from, wit.join(name)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
    let bindings = BINDINGS.replace("{wit}", &format!("{wit:?}"));
    fs::write(out.join("bindings.rs"), bindings).expect("OUT_DIR can be written");
}

/// Where cargo keeps the sources of `spin-sdk`. Asked without the network first, so that a build that may
/// not use it still works; a fresh clone has to download the crate, as it would to build the functions.
fn spin_sdk_directory() -> PathBuf {
    let metadata = metadata(&["--offline"])
        .or_else(|offline| metadata(&[]).map_err(|online| format!("{offline}\n{online}")))
        .unwrap_or_else(|error| panic!("cargo metadata does not find spin-sdk:\n{error}"));
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("metadata lists packages");
    let package = packages.iter().find(|package| package["name"] == "spin-sdk");
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let manifest = manifest.expect("spin-sdk is a dependency of this package");
    Path::new(manifest).parent().expect("a manifest is in a directory").to_owned()
}

/// What cargo knows about the packages, or what it said instead. Only those a Spin component is built from:
/// without the filter, it would want every crate for every platform to be downloaded.
fn metadata(more: &[&str]) -> Result<String, String> {
    let cargo = env::var_os("CARGO").expect("cargo sets CARGO");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform=wasm32-wasip2"])
        .args(more)
        .output()
        .expect("cargo can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Only these: the world Spin itself has wants databases and models that no function of ours asks for.
const WORLD: &str = "
package fermyon:spin@2.0.0;
world imports {
    import key-value;
    import sqlite;
    import variables;
}
";

const BINDINGS: &str = r#"
wasmtime::component::bindgen!({
    path: {wit},
    world: "fermyon:spin/imports",
    imports: { default: async | trappable },
    with: {
        "fermyon:spin/key-value.store": crate::guest::Store,
        "fermyon:spin/sqlite.connection": crate::guest::Connection,
    },
});
"#;
