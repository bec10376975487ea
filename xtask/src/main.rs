//! The project's own commands, so that a newcomer needs to know only `cargo`.

mod args;
mod bench;
mod build;
mod capabilities;
mod dev;
mod families;
mod fuzz;
mod gzip;
mod matrix;
mod prices;
mod process;
mod setup;
mod suite;
mod tools;
mod wasm;

use std::process::ExitCode;

/// What a command returns: nothing, or words that say what to do next.
type Outcome<T = ()> = Result<T, String>;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    let rest: Vec<String> = words.collect();
    if matches!(name.as_str(), "" | "-h" | "--help" | "help") {
        return help(rest.first().map(String::as_str));
    }
    let Some(command) = find(&name) else {
        eprintln!("There is no command `{name}`.{}", args::hint(&name, COMMANDS.iter().map(|c| c.name)));
        eprintln!("`cargo xtask --help` lists them.");
        return ExitCode::from(2);
    };
    if rest.iter().any(|word| word == "-h" || word == "--help") {
        return help(Some(&name));
    }
    match (command.run)(&rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) if message.is_empty() => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("\n{message}");
            ExitCode::FAILURE
        }
    }
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

fn help(name: Option<&str>) -> ExitCode {
    if let Some(command) = name.and_then(find) {
        println!("cargo xtask {}\n\n{}", command.usage, command.help);
        return ExitCode::SUCCESS;
    }
    println!("{INTRODUCTION}");
    COMMANDS.iter().for_each(|command| println!("{}", line(command)));
    println!("\n`cargo xtask <command> --help` tells more about one.");
    ExitCode::SUCCESS
}

/// A command in the list of them: what they do begins in one column.
fn line(command: &Command) -> String {
    let width = COMMANDS.iter().map(|command| command.name.len()).max().unwrap_or_default();
    format!("  {:<width$}  {}", command.name, command.summary)
}

struct Command {
    name: &'static str,
    summary: &'static str,
    usage: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Outcome,
}

const INTRODUCTION: &str = "\
Hypergate's commands. Each does its own set-up first, so start with either:

  cargo xtask dev     see it work: prints a curl line that answers
  cargo xtask test    test everything

All of them:
";

const COMMANDS: &[Command] = &[
    Command {
        name: "setup",
        summary: "install what the build and the tests need",
        usage: "setup",
        help: "\
Checks Rust, adds the Wasm targets, and installs the JavaScript tools (from package-lock.json) and the
Rust ones (into target/tools). Whatever is there already is left alone, so running it again is quick.
Needs rustup, and Node 18 or newer with npm; a newer Node for wrangler is installed beside the others.",
        run: setup::run,
    },
    Command {
        name: "build",
        summary: "build the Wasm for Workers, Spin or both",
        usage: "build [workers] [spin]",
        help: "\
Builds the functions for release and prints their size. A module of more than 1 MiB compressed is an error, and so is
a Worker of more than 3 MB, the most that Cloudflare's free plan takes.

  workers   build/, what `wrangler deploy` uploads: a door, and behind it the modules `calls` and `watch`
  spin      target/wasm32-wasip2/{release,watch}/functions.wasm, the same two modules; what spin.toml names

With neither word: both. `wrangler` and `spin up --build` run this by themselves: see wrangler.toml and spin.toml.",
        run: build::run,
    },
    Command {
        name: "dev",
        summary: "run the gateway on this machine, with a demo key and a page that shows alerts",
        usage: "dev [--host workers|spin] [--port 8787] [--reset] [--state FOLDER]",
        help: "\
Sets up, builds, creates the database, starts the runtime, and prints a curl line that works. Beside the
gateway runs a page that receives its alerts (on the next port), and a tick once a minute, which on a
deployed gateway the platform's cron sends.

  --host workers   Cloudflare's runtime, through wrangler (the default)
  --host spin      `spin up` when spin is installed, the project's own test host otherwise
  --port 8787      where the gateway listens; the page listens one above
  --reset          forget the database, the keys and the secrets of earlier runs
  --state FOLDER   keep them, and wrangler's variables, in this folder, apart from other runs

A provider's key found in the environment (OPENAI_API_KEY, ...; spin.toml lists them) is passed on, so
that its models answer too. State and logs live in .hypergate/. Ctrl-C ends everything.",
        run: dev::run,
    },
    Command {
        name: "test",
        summary: "test everything, or the steps named",
        usage: "test [step...] [--only native|workers|spin|sdk] [--list]",
        help: "\
Runs every step in order, prints how long each took, and goes on after a failure. The log of each step is
kept in target/xtask/.

  step          only the steps whose name contains one of the words
  --only GROUP  only the steps of a group; may be given more than once
  --list        the steps and their groups",
        run: suite::run,
    },
    Command {
        name: "bench",
        summary: "measure what a call costs, beside a pass-through Worker and another gateway",
        usage: "bench [--only plain|stream|translated] [--rounds 5] [--connections 16] [--json FILE] [--markdown] [...]
       cargo xtask bench tick [--records 10000000]",
        help: "\
Starts a mock provider, a pass-through Worker, Hypergate and the npm package @portkey-ai/gateway on this
machine, loads them by turns for three to four minutes, and prints tables. All of it stays on loopback. It is an
error when a call is not on record afterwards.

  --only KIND      only whole answers (plain), streams (stream), or translation beside forwarding (translated)
  --rounds N       how often each is visited
  --connections N  callers at the same time
  --json FILE      every round's numbers
  --markdown       put the tables into BENCHMARKS.md
  --no-build       measure what is built already
  --no-rival       without @portkey-ai/gateway
  --beside FOLDER  measure another build of the Worker too: a copy of build/

`bench tick` measures the watch instead: what each tick of an hour costs on SQLite with fifty calls a second, and
with so many records behind it. Ten million take 5 GB under target/bench, and some minutes.",
        run: bench::run,
    },
    Command {
        name: "fuzz",
        summary: "throw bytes at every reader, for a bounded time",
        usage: "fuzz [--seconds 60] [target...] [--input FILE]",
        help: "\
Compiles the targets of tests/fuzz with libFuzzer, on the stable compiler, and runs each for some time: every
protocol's answers (whole, refused, streamed in any cuts, written for every caller) and requests (read, passed on,
translated to every provider), and what cuts streams into events. What must hold is in tests/wire/src/hold.rs;
`cargo xtask test` holds it on some thousand inputs. Needs a C++ compiler.

  target       only the targets whose name contains one of the words
  --seconds N  how long each runs
  --input FILE look at one input, found earlier

The corpus grows in target/fuzz/corpus; what fails is put in target/fuzz/found.",
        run: fuzz::run,
    },
    Command {
        name: "matrix",
        summary: "make docs/matrix.md of what the tests found",
        usage: "matrix [--write]",
        help: "\
Compares docs/matrix.md with what `cargo xtask test` noted in target/matrix, or writes it.",
        run: matrix::run,
    },
    Command {
        name: "capabilities",
        summary: "make the table of what models can do again, from a newer published one",
        usage: "capabilities --litellm FILE",
        help: "\
Writes shared/llm/data/capabilities.txt from LiteLLM's table of models. The same file gives the same table.",
        run: capabilities::run,
    },
    Command {
        name: "prices",
        summary: "make the price table again, from the newest published ones",
        usage: "prices [--genai FILE] [--litellm FILE] [--date YYYY-MM-DD]",
        help: "\
Takes the tables of genai-prices (npm) and LiteLLM (PyPI) out of their packages, writes shared/llm/data from them,
and prints what is in the table and what was left out. Needs npm and pip; nothing of the packages is installed or
run. The same tables give the same files, and a table that did not change keeps its date.

  --genai FILE      this table, a JSON file, and no package
  --litellm FILE    likewise
  --date DAY        the date of the table; today's otherwise

Afterwards set the version of @pydantic/genai-prices in package.json to the one in shared/llm/data/NOTICE.md, run
`node shared/llm/tests/prices_oracle.mjs --write`, and look at what changed.",
        run: prices::run,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_do_begins_in_one_column() {
        let column = |command: &Command| line(command).len() - command.summary.len();
        let columns: Vec<usize> = COMMANDS.iter().map(column).collect();
        assert!(columns.iter().all(|column| *column == columns[0]), "{columns:?}");
    }
}
