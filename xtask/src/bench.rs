//! What a call costs through Hypergate, beside what it costs without and through another gateway.
//!
//! All targets are loaded in one run, in short slots by turns: on a machine that does other things only
//! the ratios within a run mean anything.

mod load;
mod mock;
mod report;
mod targets;
mod wire;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::load::{Seen, Slot};
use self::report::{Records, Report, Series};
use self::targets::{GATEWAY, OTHER_BUILD, Stored, TRANSLATED, Targets};
use crate::process::{self, seconds};
use crate::{Outcome, args, build, gzip, setup, tools};

pub(crate) fn run(words: &[String]) -> Outcome {
    if words.first().is_some_and(|word| word == "tick") {
        return tick(&words[1..]);
    }
    let options = Options::read(words)?;
    if cfg!(debug_assertions) {
        return in_release(words, options.build);
    }
    let began = Instant::now();
    let mut targets = Targets::start(mock::start()?, options.other_build.as_deref(), options.rival)?;
    let mut report = measure(&mut targets, &options)?;
    drop(targets);
    if options.wasm {
        report.wasm = wasm()?;
    }
    let tables = report.tables();
    println!("\n{tables}\nTook {}.", seconds(began.elapsed()));
    if let Some(path) = &options.json {
        let text = format!("{:#}\n", report.json());
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if options.markdown {
        write_page(&tables)?;
    }
    match report.records.iter().find(|records| records.stored.calls != records.made) {
        Some(records) => Err(format!("{}: not every call is on record, or one is twice.", records.name)),
        None => Ok(()),
    }
}

/// What a tick costs on SQLite, behind as many records as are asked for.
fn tick(words: &[String]) -> Outcome {
    let mut args = args::Args::new(words);
    let records = args.value("--records")?.unwrap_or("0".to_owned());
    if records.parse::<u32>().is_err() || !args.rest()?.is_empty() {
        return Err("`cargo xtask bench tick` takes `--records` with a number, and nothing else.".to_owned());
    }
    let folder = tools::root().join("target/bench");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut measure = tools::cargo();
    measure
        .args(["run", "--release", "-p", "hypergate-tests", "--example", "tick", "--", &records])
        .arg(folder)
        // Nobody ships this program.
        .envs([("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")]);
    let status = measure.status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(String::new()) }
}

struct Options {
    rounds: usize,
    connections: usize,
    kinds: Vec<Kind>,
    json: Option<PathBuf>,
    markdown: bool,
    build: bool,
    rival: bool,
    wasm: bool,
    other_build: Option<PathBuf>,
}

impl Options {
    fn read(words: &[String]) -> Outcome<Self> {
        let mut args = args::Args::new(words);
        let number = |name: &str, text: Option<String>, default: usize, most: usize| match text {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| (1..=most).contains(number))
                .ok_or(format!("{name} wants a number from 1 to {most}.")),
        };
        let only = args.value("--only")?;
        let only = only.map(|word| args::one_of("kind of call", &word, &["plain", "stream", "translated"]));
        let only = only.transpose()?;
        let options = Self {
            rounds: number("--rounds", args.value("--rounds")?, 5, 20)?,
            connections: number("--connections", args.value("--connections")?, 16, 64)?,
            kinds: match only {
                Some("plain") => vec![Kind::Plain, Kind::Single],
                Some("stream") => vec![Kind::Streamed],
                Some(_) => vec![Kind::Long, Kind::LongStreamed],
                None => vec![Kind::Plain, Kind::Single, Kind::Streamed, Kind::Long, Kind::LongStreamed],
            },
            json: args.value("--json")?.map(PathBuf::from),
            markdown: args.flag("--markdown"),
            build: !args.flag("--no-build"),
            rival: !args.flag("--no-rival"),
            wasm: only.is_none(),
            other_build: args
                .value("--beside")?
                .map(std::path::absolute)
                .transpose()
                .map_err(|e| e.to_string())?,
        };
        match args.rest()?.first() {
            Some(word) => Err(format!("What is `{word}`? `cargo xtask bench --help` lists the options.")),
            None => Ok(options),
        }
    }
}

/// A kind of load.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Whole answers on many connections: how much fits through.
    Plain,
    /// Whole answers on one connection: how long one takes when nothing is in its way.
    Single,
    /// Streams on many connections.
    Streamed,
    /// Whole answers to calls of 4 kB, forwarded and translated.
    Long,
    /// Streams in answer to calls of 4 kB, forwarded and translated.
    LongStreamed,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Single => "single",
            Self::Streamed => "stream",
            Self::Long => "long",
            Self::LongStreamed => "long-stream",
        }
    }

    /// Whether this load visits the target.
    fn visits(self, target: &str) -> bool {
        match self {
            Self::Plain | Self::Single | Self::Streamed => target != TRANSLATED,
            Self::Long | Self::LongStreamed => [GATEWAY, TRANSLATED].contains(&target),
        }
    }

    fn slot(self, connections: usize) -> Slot {
        let (before, measured) = match self {
            Self::Plain | Self::Long => (1_200, 2_000),
            Self::Single => (100, 700),
            Self::Streamed | Self::LongStreamed => (100, 1_500),
        };
        Slot {
            stream: matches!(self, Self::Streamed | Self::LongStreamed),
            long: matches!(self, Self::Long | Self::LongStreamed),
            connections: if self == Self::Single { 1 } else { connections },
            before: Duration::from_millis(before),
            measured: Duration::from_millis(measured),
        }
    }
}

/// The load generator may not be slower than what it loads, so it has to be optimised.
fn in_release(words: &[String], build: bool) -> Outcome {
    if build {
        println!("Set-up");
        setup::all()?;
        println!("Build");
        build::workers()?;
        build::spin()?;
    }
    let mut compile = tools::cargo();
    compile.args(["build", "--release", "-p", "xtask"]);
    process::run("Load generator", &mut compile, "It is this program, optimised.")?;
    let program = tools::root().join("target/release").join(format!("xtask{}", std::env::consts::EXE_SUFFIX));
    println!("Measurement");
    // Where the words are file names they are the shell's, not the root's.
    let here = std::env::current_dir().map_err(|error| error.to_string())?;
    let mut again = tools::command(program);
    again.current_dir(here).arg("bench").args(words);
    let status = again.stdin(Stdio::null()).status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(String::new()) }
}

/// All rounds. In each, every kind of load visits every target; who is first changes.
fn measure(targets: &mut Targets, options: &Options) -> Outcome<Report> {
    let names: Vec<&'static str> = targets.all.iter().map(|target| target.name).collect();
    let mut records = Vec::new();
    for name in names.iter().filter(|name| [GATEWAY, OTHER_BUILD].contains(name)) {
        records.push(Records { name, made: 0, failures: 0, stored: Stored::default() });
    }
    let loads =
        options.kinds.iter().map(|kind| (*kind, names.iter().map(|_| Series::default()).collect::<Vec<_>>()));
    let mut report = Report {
        rounds: options.rounds,
        connections: options.connections,
        loads: loads.collect(),
        names,
        records,
        wasm: Vec::new(),
    };
    // The first round is for the runtimes' compilers and caches, and is forgotten.
    for round in 0..=options.rounds {
        for load in 0..report.loads.len() {
            for turn in 0..report.names.len() {
                let at = (round + turn) % report.names.len();
                let kind = report.loads[load].0;
                if !kind.visits(report.names[at]) {
                    continue;
                }
                let mut slot = kind.slot(options.connections);
                if round == 0 {
                    slot.before = Duration::ZERO;
                }
                let cpu_before = targets.all[at].cpu_seconds();
                let seen = load::run(&targets.all[at], slot);
                if seen.latencies.is_empty() {
                    let why = seen.failure.unwrap_or_default();
                    return Err(format!("{} answers nothing: {why}", report.names[at]));
                }
                if let Some(failure) = &seen.failure {
                    println!("  ✗ {} of {} calls failed: {failure}", seen.failures, seen.calls);
                }
                settle(targets, &mut report, at, &seen)?;
                if round > 0 {
                    // Taken once the records are stored, so that they are paid for.
                    let cpu = cpu_before.zip(targets.all[at].cpu_seconds()).map(|(from, to)| to - from);
                    let cpu_us = cpu.map(|seconds| seconds * 1e6 / seen.calls as f64);
                    report.loads[load].1[at].cpu_us.extend(cpu_us);
                    report.loads[load].1[at].add(seen, slot.measured.as_secs_f64());
                }
            }
        }
        let what = if round == 0 { "warmed up".to_owned() } else { format!("round {round}") };
        println!("  ✓ {what}");
    }
    Ok(report)
}

/// Counts a slot's calls, and waits until a gateway has put them on record: the work of one target must
/// not fall into the time of the next.
fn settle(targets: &mut Targets, report: &mut Report, at: usize, seen: &Seen) -> Outcome {
    let name = match report.names[at] {
        // The same gateway, so the same database.
        TRANSLATED => GATEWAY,
        name => name,
    };
    let Some(nth) = report.records.iter().position(|records| records.name == name) else {
        sleep(Duration::from_millis(200));
        return Ok(());
    };
    let records = &mut report.records[nth];
    records.made += seen.calls;
    records.failures += seen.failures;
    let began = Instant::now();
    loop {
        sleep(Duration::from_millis(200));
        records.stored = targets.stored()?.get(nth).copied().unwrap_or_default();
        if records.stored.calls >= records.made || began.elapsed() > LONGEST_SETTLING {
            return Ok(());
        }
    }
}

/// Sizes of the Wasm, and how long the Worker's takes to come alive.
fn wasm() -> Outcome<Vec<(String, String)>> {
    let worker = build::worker_folder();
    let mut lines = Vec::new();
    for module in build::MODULES {
        let files =
            [("Worker", worker.join(module).join("index_bg.wasm")), ("Spin", build::spin_module(module))];
        for (what, file) in files {
            if file.is_file() {
                let (raw, compressed) = gzip::sizes(&[&file])?;
                let size = format!("{} KiB ({} KiB raw)", compressed >> 10, raw >> 10);
                lines.push((format!("{what}, module `{module}`, gzip"), size));
            }
        }
    }
    let mut script = tools::script(&tools::root().join("tests/bench/wasm.mjs"))?;
    script.arg(&worker);
    let printed = process::output(&mut script).ok_or("tests/bench/wasm.mjs failed.")?;
    let times: Value = serde_json::from_str(&printed).map_err(|error| error.to_string())?;
    let ms = |name: &str| times[name].as_f64().unwrap_or(f64::NAN);
    lines.push(("Worker, compiled by V8 in Node".to_owned(), format!("{:.1} ms", ms("compile"))));
    lines.push(("Worker, instantiated by V8 in Node".to_owned(), format!("{:.2} ms", ms("instantiate"))));
    let (gateway, calls, bare) = (ms("start_gateway"), ms("start_calls"), ms("start_bare"));
    let start = format!("{gateway:.0} ms (with `calls` alone: {calls:.0} ms; an empty Worker: {bare:.0} ms)");
    lines.push(("Worker, from starting workerd to its first answer".to_owned(), start));
    Ok(lines)
}

/// Puts the tables between the markers of BENCHMARKS.md.
fn write_page(tables: &str) -> Outcome {
    let path = tools::root().join("BENCHMARKS.md");
    let describe = |error: std::io::Error| format!("{}: {error}", process::relative(&path));
    let page = fs::read_to_string(&path).map_err(describe)?;
    let between = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) =
        between.ok_or_else(|| format!("BENCHMARKS.md lacks `{BEGIN}` or, after it, `{END}`."))?;
    fs::write(&path, format!("{before}{BEGIN}\n{tables}{END}{after}")).map_err(describe)?;
    println!("BENCHMARKS.md has these numbers now; its date and its words are yours to check.");
    Ok(())
}

const BEGIN: &str = "<!-- numbers: begin -->";
const END: &str = "<!-- numbers: end -->";

/// The journal waits a second, the queue another.
const LONGEST_SETTLING: Duration = Duration::from_secs(15);
