//! Every test of the project, as steps that run in order and report at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{self, seconds};
use crate::{Outcome, args, build, matrix, setup, tools};

pub(crate) fn run(words: &[String]) -> Outcome {
    let mut args = args::Args::new(words);
    let list = args.flag("--list");
    let mut groups = Vec::new();
    while let Some(group) = args.value("--only")? {
        groups.push(args::one_of("group", &group, &GROUPS)?);
    }
    let steps = choose(&groups, &args.rest()?)?;
    if list {
        for step in steps {
            println!("{:<16} {:<8} {}", step.name, step.group, step.about);
        }
        return Ok(());
    }

    println!("Set-up");
    setup::all()?;
    println!("Tests");
    let mut finished: Vec<(&Step, End, Duration)> = Vec::new();
    for step in steps {
        let started = Instant::now();
        let end = step.run(&finished);
        let took = started.elapsed();
        println!("  {} {:<22} {}", end.mark(), step.name, seconds(took));
        if let End::Failed(text) | End::Skipped(text) = &end {
            println!("{}", process::indent(text));
        }
        finished.push((step, end, took));
    }
    summarise(&finished)
}

struct Step {
    name: &'static str,
    group: &'static str,
    about: &'static str,
    /// Steps whose result this one reads. They run first, also when only this one was asked for.
    needs: &'static [&'static str],
    work: fn(&str) -> Result<(), End>,
}

enum End {
    Failed(String),
    Passed,
    Skipped(String),
}

impl End {
    fn mark(&self) -> char {
        match self {
            Self::Failed(_) => '✗',
            Self::Passed => '✓',
            Self::Skipped(_) => '–',
        }
    }
}

/// An error fails the step, with its words.
impl From<String> for End {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

impl Step {
    fn run(&self, finished: &[(&Self, End, Duration)]) -> End {
        let passed =
            |name: &str| finished.iter().any(|(s, end, _)| s.name == name && matches!(end, End::Passed));
        if let Some(need) = self.needs.iter().find(|need| !passed(need)) {
            return End::Skipped(format!("because {need} did not pass"));
        }
        (self.work)(self.name).err().unwrap_or(End::Passed)
    }
}

/// The steps asked for and those they need, in the order of the table.
fn choose(groups: &[&str], filters: &[String]) -> Outcome<Vec<&'static Step>> {
    for filter in filters {
        if !STEPS.iter().any(|step| step.name.contains(filter.as_str())) {
            let hint = args::hint(filter, STEPS.iter().map(|step| step.name));
            return Err(format!(
                "There is no step like `{filter}`.{hint} `cargo xtask test --list` shows them."
            ));
        }
    }
    let wanted = |step: &Step| {
        // Minutes each, with kills at random: run when they are asked for.
        let is_asked_for = !step.name.starts_with("simulation") || !filters.is_empty();
        is_asked_for
            && (groups.is_empty() || groups.contains(&step.group))
            && (filters.is_empty() || filters.iter().any(|filter| step.name.contains(filter.as_str())))
    };
    let needed: Vec<&str> =
        STEPS.iter().filter(|step| wanted(step)).flat_map(|step| step.needs).copied().collect();
    Ok(STEPS.iter().filter(|step| wanted(step) || needed.contains(&step.name)).collect())
}

/// A table, and the line that counts, which is the last.
fn summarise(finished: &[(&Step, End, Duration)]) -> Outcome {
    println!("\nSummary");
    for (step, end, took) in finished {
        println!("  {} {:<22} {:>12}", end.mark(), step.name, seconds(*took));
    }
    let total: Duration = finished.iter().map(|(_, _, took)| *took).sum();
    println!("    {:<22} {:>12}\n", "total", seconds(total));
    let count = |mark| finished.iter().filter(|(_, end, _)| end.mark() == mark).count();
    let (passed, failed, skipped) = (count('✓'), count('✗'), count('–'));
    let skipped = if skipped == 0 { String::new() } else { format!(", {skipped} skipped") };
    println!("{passed} passed, {failed} failed{skipped}");
    if failed > 0 { Err(String::new()) } else { Ok(()) }
}

const GROUPS: [&str; 4] = ["native", "workers", "spin", "sdk"];

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        group: "native",
        about: "the code is formatted",
        needs: &[],
        work: |step| cargo(step, &["fmt", "--all", "--check"]),
    },
    Step {
        name: "clippy",
        group: "native",
        about: "no warnings on this machine's target",
        needs: &[],
        work: |step| cargo(step, &with(&["clippy", "--all-targets"], &["--", "-D", "warnings"])),
    },
    Step {
        name: "test",
        group: "native",
        about: "every Rust test, with the host made of memory",
        needs: &[],
        work: |step| cargo(step, &with(&["test"], &[])),
    },
    Step {
        name: "doc",
        group: "native",
        about: "the documentation builds without a broken link",
        needs: &[],
        work: |step| {
            let mut doc = tools::cargo();
            doc.args(with(&["doc", "--no-deps"], &[])).env("RUSTDOCFLAGS", "-D warnings");
            finish(step, doc)
        },
    },
    Step {
        name: "deny",
        group: "native",
        about: "licences, sources and duplicates of what we depend on",
        needs: &[],
        work: deny,
    },
    Step {
        name: "prices",
        group: "native",
        about: "the prices' test vectors are what an independent calculator says",
        needs: &[],
        work: |step| {
            let mut oracle = tools::command(tools::node()?);
            oracle.arg("shared/llm/tests/prices_oracle.mjs");
            finish(step, oracle)
        },
    },
    Step {
        name: "clippy-workers",
        group: "workers",
        about: "no warnings on the Workers target",
        needs: &[],
        work: |step| clippy_for(step, "wasm32-unknown-unknown"),
    },
    Step {
        name: "build-workers",
        group: "workers",
        about: "the Worker builds and its modules are small enough",
        needs: &[],
        work: |_| Ok(build::workers()?),
    },
    Step {
        name: "host-workers",
        group: "workers",
        about: "the Worker answers on Cloudflare's runtime",
        needs: &["build-workers"],
        work: |step| {
            let scripts = ["pump", "clock", "place", "workers"];
            node_test(step, &scripts.map(|name| format!("tests/hosts/{name}.mjs")))
        },
    },
    Step {
        name: "simulation-workers",
        group: "workers",
        about: "three hours on Cloudflare's runtime, with kills: the receivers hear what they should",
        needs: &["build-workers"],
        work: |step| node_test(step, &["tests/hosts/simulation-workers.mjs"]),
    },
    Step {
        name: "deploy",
        group: "workers",
        about: "what wrangler.toml uploads starts, and makes the tables",
        needs: &["build-workers"],
        work: |step| node_test(step, &["tests/hosts/deploy.mjs"]),
    },
    Step {
        name: "dev-workers",
        group: "workers",
        about: "`cargo xtask dev`: what it prints works, and the alert arrives",
        needs: &["build-workers"],
        work: |step| node_test(step, &["tests/hosts/dev_workers.mjs"]),
    },
    Step {
        name: "clippy-spin",
        group: "spin",
        about: "no warnings on the Spin target",
        needs: &[],
        work: |step| clippy_for(step, "wasm32-wasip2"),
    },
    Step {
        name: "build-spin",
        group: "spin",
        about: "the components build and their modules are small enough",
        needs: &[],
        work: |_| Ok(build::spin()?),
    },
    Step {
        name: "spin-host",
        group: "spin",
        about: "the test host for Spin builds and passes its own tests",
        needs: &[],
        work: spin_host_step,
    },
    Step {
        name: "host-spin",
        group: "spin",
        about: "the component answers on Spin",
        needs: &["build-spin", "spin-host"],
        work: |step| node_test(step, &["tests/hosts/spin.mjs"]),
    },
    Step {
        name: "simulation-spin",
        group: "spin",
        about: "the same three hours on Spin",
        needs: &["build-spin", "spin-host"],
        work: |step| node_test(step, &["tests/hosts/simulation-spin.mjs"]),
    },
    Step {
        name: "dev-spin",
        group: "spin",
        about: "`cargo xtask dev --host spin`, likewise",
        needs: &["build-spin", "spin-host"],
        work: |step| node_test(step, &["tests/hosts/dev_spin.mjs"]),
    },
    Step {
        name: "oracles",
        group: "sdk",
        about: "what goes out is what the makers of the protocols publish",
        needs: &[],
        work: oracles,
    },
    Step {
        name: "collectors",
        group: "sdk",
        about: "Prometheus and a collector take what goes out",
        needs: &[],
        work: collectors,
    },
    Step {
        name: "sdk-node",
        group: "sdk",
        about: "the official JavaScript SDK against the gateway",
        needs: &["build-workers"],
        work: |step| {
            forget("sdk-node");
            node_test(step, &files("tests/sdk", "mjs")?)
        },
    },
    Step {
        name: "sdk-python",
        group: "sdk",
        about: "the official Python SDK against the gateway",
        needs: &["build-workers"],
        work: sdk_python,
    },
    Step {
        name: "matrix",
        group: "sdk",
        about: "docs/matrix.md says what the tests found",
        needs: &["test", "sdk-node", "sdk-python"],
        work: |_| Ok(matrix::check()?),
    },
];

/// A cargo command on all packages but the Spin test host, whose engine takes minutes to compile.
fn with<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<&'a str> {
    [before, &["--workspace", "--exclude", "hypergate-spin-host"], after].concat()
}

fn clippy_for(step: &str, target: &str) -> Result<(), End> {
    for module in build::MODULES {
        let mut clippy = tools::cargo();
        clippy
            .args(["clippy", "-p", "hypergate-functions", "--target", target])
            .args(["--no-default-features", "--features", module, "--", "-D", "warnings"])
            .env("WASM_BINDGEN_USE_JS_SYS", "1");
        finish(step, clippy)?;
    }
    Ok(())
}

fn cargo(step: &str, words: &[&str]) -> Result<(), End> {
    let mut cargo = tools::cargo();
    cargo.args(words);
    finish(step, cargo)
}

fn finish(step: &str, mut command: Command) -> Result<(), End> {
    process::run(step, &mut command, &format!("`cargo xtask test {step}` repeats only this."))?;
    Ok(())
}

fn deny(step: &str) -> Result<(), End> {
    if tools::rust_tool("cargo-deny", DENY_VERSION).is_none() {
        // Ten minutes of compiling for a question that changes only when Cargo.lock does.
        if !in_ci() {
            let advice =
                "it is not installed; CI runs it. Here: `cargo install --locked cargo-deny --version";
            return Err(End::Skipped(format!("{advice} {DENY_VERSION}`")));
        }
        setup::install_rust_tool("cargo-deny", "cargo-deny", DENY_VERSION)?;
    }
    let path = tools::rust_tool("cargo-deny", DENY_VERSION).ok_or("cargo-deny vanished.".to_owned())?;
    let mut deny = tools::command(path);
    // Not `advisories`: that list is fetched, and would fail a build for news instead of a change.
    deny.args(["check", "bans", "licenses", "sources"]);
    finish(step, deny)
}

fn node_test(step: &str, scripts: &[impl AsRef<str>]) -> Result<(), End> {
    let mut test = tools::command(tools::node()?);
    test.arg("--test").args(scripts.iter().map(AsRef::as_ref));
    surroundings(&mut test)?;
    finish(step, test)
}

/// What the scripts under tests/ read from their environment.
fn surroundings(command: &mut Command) -> Outcome {
    let this = std::env::current_exe().map_err(|error| format!("This program's own path: {error}"))?;
    command
        .env("HYPERGATE_XTASK", this)
        .env("HYPERGATE_SHOWN", matrix::folder())
        .env("HYPERGATE_WORKER_DIR", build::worker_folder())
        .env("HYPERGATE_SPIN_HOST", tools::on_path("spin").unwrap_or_else(spin_host_path))
        .env("NODE", tools::node()?);
    Ok(())
}

fn spin_host_step(step: &str) -> Result<(), End> {
    let package = ["-p", "hypergate-spin-host"];
    cargo(
        "spin-host-clippy",
        &[&["clippy", "--all-targets"], &package[..], &["--", "-D", "warnings"]].concat(),
    )?;
    cargo(step, &[&["test"], &package[..]].concat())?;
    spin_host()?;
    Ok(())
}

/// The test host for Spin, compiled.
pub(crate) fn spin_host() -> Outcome<PathBuf> {
    let mut compile = tools::cargo();
    compile.args(["build", "-p", "hypergate-spin-host"]);
    process::run("Spin test host", &mut compile, "Its code is in tests/spin-host.")?;
    Ok(spin_host_path())
}

fn spin_host_path() -> PathBuf {
    tools::root().join("target/debug").join(format!("spin-host{}", std::env::consts::EXE_SUFFIX))
}

/// Forgets what an earlier run noted for docs/matrix.md.
fn forget(name: &str) {
    let _ = fs::create_dir_all(matrix::folder());
    let _ = fs::remove_file(matrix::folder().join(format!("{name}.jsonl")));
}

fn sdk_python(step: &str) -> Result<(), End> {
    forget("sdk-python");
    for script in files("tests/sdk", "py")? {
        python_test(step, &script)?;
    }
    Ok(())
}

fn oracles(step: &str) -> Result<(), End> {
    for (name, package, code) in [
        ("outputs", "hypergate-wire-tests", "Its code is in tests/wire/examples."),
        ("notices", "hypergate-tests", "Its code is in tests/examples."),
    ] {
        let mut written = tools::cargo();
        written.args(["run", "-p", package, "--example", name, "--"]);
        written.arg(format!("target/oracles/{name}.jsonl"));
        process::run(name, &mut written, code)?;
    }
    node_test(step, &files("tests/oracles", "mjs")?)?;
    for script in files("tests/oracles", "py")? {
        python_test(step, &script)?;
    }
    Ok(())
}

fn collectors(step: &str) -> Result<(), End> {
    let python = python()?;
    let mut build = tools::cargo();
    build.args(["build", "-p", "hypergate-tests", "--example", "watched"]);
    process::run("watched", &mut build, "Its code is in tests/examples.")?;
    let mut test = tools::command(&python);
    test.arg("tests/collectors/out.py").env(
        "HYPERGATE_WATCHED",
        tools::root().join(format!("target/debug/examples/watched{}", std::env::consts::EXE_SUFFIX)),
    );
    let (prometheus, rotel) = (prometheus(), rotel(&python));
    let found = [("HYPERGATE_PROMETHEUS", &prometheus), ("HYPERGATE_ROTEL", &rotel)];
    test.envs(found.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?))));
    finish(step, test)?;
    let missing = [(prometheus, "Prometheus (Debian's package)"), (rotel, "Rotel (a wheel for Linux)")];
    let missing: Vec<&str> =
        missing.into_iter().filter(|(path, _)| path.is_none()).map(|(_, name)| name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(End::Skipped(format!("what there is here agrees, but there is no {}", missing.join(" and no "))))
}

/// The folder of Prometheus's programs, if they can be had. The package is unpacked: installed, it would start a server.
fn prometheus() -> Option<PathBuf> {
    if let Some(path) = tools::on_path("prometheus").filter(|_| tools::on_path("promtool").is_some()) {
        return path.parent().map(Path::to_owned);
    }
    let folder = tools::root().join("target/prometheus");
    let programs = folder.join("usr/bin");
    if !programs.join("promtool").is_file() {
        let (apt, dpkg) = (tools::on_path("apt-get")?, tools::on_path("dpkg-deb")?);
        fs::create_dir_all(&folder).ok()?;
        let apt = |words: &[&str]| {
            let mut apt = Command::new(&apt);
            apt.args(words).current_dir(&folder);
            process::run("apt-get", &mut apt, "").is_ok()
        };
        // A list of packages that is old names files that are gone.
        let mut is_there = apt(&["download", "prometheus"]);
        is_there = is_there || (apt(&["update"]) && apt(&["download", "prometheus"]));
        if !is_there {
            return None;
        }
        let mut packages = fs::read_dir(&folder).ok()?.flatten().map(|entry| entry.path());
        let package = packages.find(|path| path.extension().is_some_and(|ending| ending == "deb"))?;
        let mut unpack = Command::new(dpkg);
        unpack.arg("-x").arg(package).arg(&folder);
        process::run("dpkg-deb", &mut unpack, "").ok()?;
    }
    programs.join("promtool").is_file().then_some(programs)
}

/// A collector for OpenTelemetry in a wheel, if there is one for this machine.
fn rotel(python: &Path) -> Option<PathBuf> {
    let mut install = tools::command(python);
    install.args(["-m", "pip", "install", "--disable-pip-version-check", &format!("rotel=={ROTEL_VERSION}")]);
    process::run("rotel", &mut install, "").ok()?;
    let mut find = tools::command(python);
    find.args([
        "-c",
        "import importlib.util as u; print(u.find_spec('rotel').submodule_search_locations[0])",
    ]);
    let path = PathBuf::from(process::output(&mut find)?).join("rotel-agent");
    path.is_file().then_some(path)
}

fn python_test(step: &str, script: &str) -> Result<(), End> {
    let python = python()?;
    let mut test = tools::command(&python);
    test.arg(script).env("PYTHON", &python);
    surroundings(&mut test)?;
    finish(step, test)
}

/// A Python that has what tests/sdk/requirements.txt names, and what that brings along as constraints.txt pins it.
fn python() -> Result<PathBuf, End> {
    let Some(system) = tools::on_path("python3") else {
        let message = "there is no `python3` on the path";
        return Err(if in_ci() { End::Failed(message.to_owned()) } else { End::Skipped(message.to_owned()) });
    };
    let folder = tools::root().join("target/venv");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let mut wanted = Vec::new();
    for file in ["tests/sdk/requirements.txt", "tests/sdk/constraints.txt"] {
        wanted.extend(fs::read(tools::root().join(file)).map_err(|error| format!("{file}: {error}"))?);
    }
    let stamp = folder.join("installed-requirements.txt");
    if !fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        let mut make = tools::command(system);
        make.args(["-m", "venv", "--clear"]).arg(&folder);
        process::run("venv", &mut make, "Debian and Ubuntu: `apt-get install python3-venv`.")?;
        let mut install = tools::command(&python);
        install.args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "-r",
            "tests/sdk/requirements.txt",
            "-c",
            "tests/sdk/constraints.txt",
        ]);
        process::run("pip", &mut install, "Check the network, then run this step again.")?;
        fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    }
    Ok(python)
}

/// The files of a folder with this ending, sorted; none at all is an error.
fn files(folder: &str, ending: &str) -> Outcome<Vec<String>> {
    let entries = fs::read_dir(tools::root().join(folder)).map_err(|error| format!("{folder}: {error}"))?;
    let mut found: Vec<String> = entries
        .flatten()
        .map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy()))
        .filter(|path| path.ends_with(&format!(".{ending}")))
        .collect();
    found.sort();
    if found.is_empty() { Err(format!("{folder} has no .{ending} file.")) } else { Ok(found) }
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

const DENY_VERSION: &str = "0.20.2";
const ROTEL_VERSION: &str = "0.0.1a15";

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(groups: &[&str], filters: &[&str]) -> String {
        let filters: Vec<String> = filters.iter().map(|word| (*word).to_owned()).collect();
        match choose(groups, &filters) {
            Ok(steps) => steps.iter().map(|step| step.name).collect::<Vec<_>>().join(" "),
            Err(message) => message,
        }
    }

    #[test]
    fn a_step_brings_along_what_it_needs() {
        let cases: [(&[&str], &[&str], &str); 4] = [
            (&[], &["fmt"], "fmt"),
            (&[], &["host-spin"], "build-spin spin-host host-spin"),
            (&["sdk"], &[], "test build-workers oracles collectors sdk-node sdk-python matrix"),
            (&["native"], &["clippy"], "clippy"),
        ];
        for (groups, filters, expected) in cases {
            assert_eq!(chosen(groups, filters), expected);
        }
        assert!(chosen(&[], &["fmr"]).contains("Did you mean `fmt`?"));
    }

    #[test]
    fn every_need_is_an_earlier_step() {
        for (at, step) in STEPS.iter().enumerate() {
            assert!(GROUPS.contains(&step.group), "{}", step.name);
            for need in step.needs {
                assert!(
                    STEPS[..at].iter().any(|earlier| earlier.name == *need),
                    "{} needs {need}",
                    step.name
                );
            }
        }
    }
}
