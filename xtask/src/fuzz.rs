//! Runs the fuzz targets under libFuzzer, each for a bounded time. The stable compiler is enough: what needs a
//! nightly one is a sanitizer, and there is no unsafe code here to sanitize.

use std::fs;
use std::path::PathBuf;

use crate::process::{self, done};
use crate::{Outcome, args, tools};

pub(crate) fn run(words: &[String]) -> Outcome {
    let mut args = args::Args::new(words);
    let seconds = args.value("--seconds")?.unwrap_or_else(|| "60".to_owned());
    let seconds: u64 = seconds.parse().map_err(|_| format!("`{seconds}` is no number of seconds."))?;
    let input = args.value("--input")?;
    let targets = choose(&args.rest()?)?;
    println!("Fuzz");
    let folder = build()?;
    let work = tools::root().join("target/fuzz");
    if let Some(input) = input {
        let [target] = &targets[..] else { return Err("--input wants one target.".to_owned()) };
        let mut once = tools::command(folder.join(target));
        once.arg(std::env::current_dir().map_err(|error| error.to_string())?.join(input));
        process::run(target, &mut once, "That is what the input does.")?;
        done(target, "nothing is wrong with this input");
        return Ok(());
    }
    let mut seeds = tools::cargo();
    seeds.args(["run", "-p", "hypergate-wire-tests", "--example", "seeds", "--"]).arg(work.join("corpus"));
    process::run("seeds", &mut seeds, "Its code is in tests/wire/examples.")?;
    for target in &targets {
        let found = work.join("found").join(target);
        fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
        let mut fuzz = tools::command(folder.join(target));
        fuzz.arg(work.join("corpus").join(target))
            .arg(format!("-artifact_prefix={}/", found.display()))
            .arg(format!("-max_total_time={seconds}"))
            .args(["-max_len=12000", "-timeout=10", "-rss_limit_mb=1500"]);
        let advice = format!(
            "The input is in {}. `cargo xtask fuzz {target} --input <file>` looks at it again; mended, it belongs \
             under tests/fixtures/hostile/{target}.",
            found.display()
        );
        process::run(target, &mut fuzz, &advice)?;
        done(target, &format!("{seconds} s"));
    }
    Ok(())
}

/// The targets whose name contains one of the words; all where there is no word.
fn choose(words: &[String]) -> Outcome<Vec<String>> {
    let folder = tools::root().join("tests/fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let names = entries.flatten().map(|entry| entry.path()).filter_map(|path| {
        let name = path.file_stem()?.to_str()?;
        Some(name.to_owned())
    });
    let mut all: Vec<String> = names.collect();
    all.sort();
    for word in words {
        if !all.iter().any(|name| name.contains(word.as_str())) {
            let hint = args::hint(word, all.iter().map(String::as_str));
            return Err(format!("There is no target like `{word}`.{hint} There are: {}.", all.join(", ")));
        }
    }
    all.retain(|name| words.is_empty() || words.iter().any(|word| name.contains(word.as_str())));
    Ok(all)
}

/// Compiles the targets with libFuzzer's instruments, as cargo-fuzz does; returns where they are.
fn build() -> Outcome<PathBuf> {
    let printed = process::output(tools::command("rustc").arg("-vV")).unwrap_or_default();
    let host = printed.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("`rustc -vV` does not say what machine this is.")?;
    let mut build = tools::cargo();
    build
        .args(["build", "--release", "--manifest-path", "tests/fuzz/Cargo.toml", "--target", host])
        // A target of its own, so that build scripts are compiled without.
        .args(["--target-dir", "target/fuzz"])
        .env("RUSTFLAGS", INSTRUMENTS.join(" "));
    process::run("fuzz-build", &mut build, "libFuzzer needs a C++ compiler: `apt-get install g++`.")?;
    Ok(tools::root().join("target/fuzz").join(host).join("release"))
}

const INSTRUMENTS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];
