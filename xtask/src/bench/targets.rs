//! What is measured: the mock itself, a pass-through Worker, Hypergate, and another gateway.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::load::Target;
use crate::process::{self, done};
use crate::{Outcome, build, tools};

pub(super) const MOCK: &str = "the mock, called directly";
pub(super) const BARE: &str = "pass-through Worker";
/// A JavaScript Worker that does no more than to read what it passes on.
const READER: &str = "a Worker that reads";
pub(super) const GATEWAY: &str = "Hypergate";
/// The same gateway, asked in Chat Completions for a model whose provider speaks Messages.
pub(super) const TRANSLATED: &str = "Hypergate, translating";
pub(super) const OTHER_BUILD: &str = "Hypergate, other build";
pub(super) const RIVAL: &str = "@portkey-ai/gateway 1.15.2";

/// Everything that was started; ends with it.
pub(super) struct Targets {
    pub(super) all: Vec<Target>,
    workers: Workers,
    /// Held until the end.
    _rival: Option<Ended>,
}

/// Records in the database of one gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) calls: u64,
    /// Of them, calls that went well.
    pub(super) ok: u64,
    /// Calls the gateway itself says it lost the records of.
    pub(super) reported_lost: u64,
}

impl Targets {
    pub(super) fn start(mock: SocketAddr, other_build: Option<&Path>, rival: bool) -> Outcome<Self> {
        let mut builds = vec![build::worker_folder()];
        builds.extend(other_build.map(Path::to_owned));
        let (workers, ready) = Workers::start(mock, &builds)?;
        let address = |value: &Value| {
            let parsed = value["address"].as_str().and_then(|text| text.parse::<SocketAddr>().ok());
            parsed.ok_or_else(|| format!("This is no address: {value}"))
        };
        let pids = |value: &Value| {
            value["pids"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect::<Vec<_>>()
        };
        let plain_key = "authorization: Bearer sk-bench\r\n";
        let mut all = vec![Target::new(MOCK, mock, "gpt-4o-mini", plain_key)];
        let plain = ready["plain"].as_array().into_iter().flatten();
        for (name, worker) in [BARE, READER].into_iter().zip(plain) {
            all.push(Target::new(name, address(worker)?, "gpt-4o-mini", plain_key).run_by(pids(worker)));
        }
        let gateways = ready["gateways"].as_array().into_iter().flatten();
        for (name, gateway) in [GATEWAY, OTHER_BUILD].into_iter().zip(gateways) {
            let key = gateway["key"].as_str().unwrap_or_default();
            let headers = format!("authorization: Bearer {key}\r\n");
            let target = Target::new(name, address(gateway)?, "openai/gpt-4o-mini", &headers);
            all.push(target.run_by(pids(gateway)));
            if name == GATEWAY {
                let target =
                    Target::new(TRANSLATED, address(gateway)?, "anthropic/claude-haiku-4-5", &headers);
                all.push(target.run_by(pids(gateway)));
            }
        }
        let mut held = None;
        if rival {
            let (running, address) = start_rival()?;
            let headers = format!(
                "{plain_key}x-portkey-provider: openai\r\nx-portkey-custom-host: http://{mock}/v1\r\n"
            );
            let target = Target::new(RIVAL, address, "gpt-4o-mini", &headers);
            all.push(target.run_by(vec![running.0.id().into()]));
            held = Some(running);
        }
        Ok(Self { all, workers, _rival: held })
    }

    /// What the gateways have stored, in the order in which they are in the list.
    pub(super) fn stored(&mut self) -> Outcome<Vec<Stored>> {
        let answer = self.workers.ask()?;
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let stored = answer.as_array().into_iter().flatten().map(|one| Stored {
            calls: number(&one["calls"]),
            ok: number(&one["ok"]),
            reported_lost: number(&one["reported_lost"]),
        });
        Ok(stored.collect())
    }
}

/// The script that runs the Workers. It ends, with them, when its input is closed.
struct Workers {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Workers {
    fn start(mock: SocketAddr, builds: &[PathBuf]) -> Outcome<(Self, Value)> {
        let folder = tools::root().join("tests/bench");
        let plan = json!({
            "upstream": format!("http://{mock}"),
            "scripts": [folder.join("pass_through.js"), folder.join("reader.js")],
            "builds": builds,
            "migrations": tools::root().join("shared/gateway/migrations"),
        });
        let log = process::log_path("bench Workers")?;
        let file = std::fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut command = tools::script(&folder.join("workers.mjs"))?;
        command.arg(plan.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        // D1 is simulated in the thread that serves calls, where each wait for a disk would hold them up.
        if Path::new(IN_MEMORY).is_dir() {
            command.env("TMPDIR", IN_MEMORY);
        }
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut workers = Self { child, input, output };
        let ready = workers.line().map_err(|error| {
            let told = process::indent(&process::tail(&log, 20));
            format!("{told}\nThe Workers did not start: {error}")
        })?;
        done("Workers", "workerd, one process each");
        Ok((workers, ready))
    }

    fn ask(&mut self) -> Outcome<Value> {
        let input = self.input.as_mut().expect("it is open until the end");
        input.write_all(b"\n").map_err(|error| error.to_string())?;
        self.line()
    }

    fn line(&mut self) -> Outcome<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|_| format!("it said `{}`", line.trim()))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        drop(self.input.take());
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that is ended when this is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Installs the other gateway where only a measurement looks for it, and starts it.
fn start_rival() -> Outcome<(Ended, SocketAddr)> {
    let folder = tools::root().join("tests/bench");
    let script = folder.join("node_modules/@portkey-ai/gateway/build/start-server.js");
    if !script.is_file() {
        let mut install = tools::command(if cfg!(windows) { "npm.cmd" } else { "npm" });
        install.current_dir(&folder).args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]);
        process::run("bench packages", &mut install, "`--no-rival` measures without them.")?;
    }
    // It has to be told a port, and takes no zero.
    let port = TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| error.to_string())?
        .port();
    let mut command: Command = tools::script(&script)?;
    command.arg(format!("--port={port}")).arg("--headless").env("NODE_ENV", "production");
    let log = process::log_path("bench rival")?;
    let rival = Ended(process::start(&mut command, &log)?);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        if began.elapsed() > Duration::from_secs(20) {
            let told = process::indent(&process::tail(&log, 20));
            return Err(format!("{told}\n{RIVAL} did not start. `--no-rival` measures without it."));
        }
        sleep(Duration::from_millis(100));
    }
    done(RIVAL, "Node, one process");
    Ok((rival, address))
}

/// Linux's file system without a disk.
const IN_MEMORY: &str = "/dev/shm";
