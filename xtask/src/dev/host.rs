//! The runtime under the gateway: what it reads, how it starts, how it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use super::settings::{self, Settings};
use crate::process::{self, done};
use crate::{Outcome, args, suite, tools};

#[derive(Clone, Copy)]
pub(super) enum Host {
    Spin,
    Workers,
}

impl Host {
    pub(super) fn named(word: &str) -> Outcome<Self> {
        let known = args::one_of("host", word, &["workers", "spin"])?;
        Ok(if known == "spin" { Self::Spin } else { Self::Workers })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Workers => "workers",
        }
    }

    pub(super) fn start(self, port: u16, settings: &Settings) -> Outcome<Running> {
        match self {
            Self::Spin => start_spin(port, settings),
            Self::Workers => start_workers(port, settings),
        }
    }
}

fn start_workers(port: u16, settings: &Settings) -> Outcome<Running> {
    let place = if settings.is_apart { &settings.folder } else { tools::root() };
    let variables = place.join(".dev.vars");
    write_dev_vars(&variables, settings)?;
    let state = settings.folder.join("state");
    let mut migrate = tools::wrangler()?;
    migrate.args(["d1", "migrations", "apply", "DB", "--local", "--persist-to"]).arg(&state);
    process::run("Database", &mut migrate, "`cargo xtask dev --reset` starts with an empty one.")?;
    done("Database", &process::relative(&state));

    let mut serve = tools::wrangler()?;
    serve
        .args(["dev", "--ip", "127.0.0.1", "--port", &port.to_string()])
        .args(["--show-interactive-dev-session=false", "--persist-to"])
        .arg(&state);
    if settings.is_apart {
        serve.arg("--env-file").arg(&variables);
    }
    Running::start("wrangler dev", serve, settings)
}

/// wrangler's file of local variables. Lines we do not write are the user's, and stay.
fn write_dev_vars(path: &Path, settings: &Settings) -> Outcome {
    let before = fs::read_to_string(path).unwrap_or_default();
    settings::write_private(path, &dev_vars(&before, &settings.variables()))
}

fn dev_vars(before: &str, variables: &[(String, String)]) -> String {
    let ours = |line: &str| {
        let name = line.split('=').next().unwrap_or_default().trim();
        variables.iter().any(|(known, _)| known == name)
    };
    let mut lines: Vec<String> = before.lines().filter(|line| !ours(line)).map(str::to_owned).collect();
    if lines.is_empty() {
        lines.push("# Written by `cargo xtask dev`; lines you add stay.".to_owned());
    }
    lines.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
    lines.join("\n") + "\n"
}

fn start_spin(port: u16, settings: &Settings) -> Outcome<Running> {
    let (runtime, mut serve) = if let Some(spin) = tools::on_path("spin") {
        let mut command = tools::command(spin);
        command.arg("up");
        ("spin up", command)
    } else {
        ("the project's test host, for there is no `spin`", tools::command(suite::spin_host()?))
    };
    serve
        .args(["--from", "spin.toml", "--listen", &format!("127.0.0.1:{port}"), "--state-dir"])
        .arg(settings.folder.join("state"));
    for (name, value) in settings.variables() {
        serve.env(format!("SPIN_VARIABLE_{name}"), value);
    }
    // Spin lets a component reach only the hosts it names; this is where the notices go.
    serve.env("SPIN_VARIABLE_RECEIVER_HOST", format!("http://127.0.0.1:{}", port + 1));
    Running::start(runtime, serve, settings)
}

/// A runtime that ends when this is dropped.
pub(super) struct Running {
    pub(super) runtime: &'static str,
    pub(super) log: PathBuf,
    child: Child,
}

impl Running {
    fn start(runtime: &'static str, mut command: Command, settings: &Settings) -> Outcome<Self> {
        // A group of its own: the terminal's Ctrl-C then reaches only us, and we end it once.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let log = settings.folder.join("runtime.log");
        let child = process::start(&mut command, &log)?;
        Ok(Self { runtime, log, child })
    }

    /// An error when it ended by itself.
    pub(super) fn check(&mut self) -> Outcome {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!(
                "{}\n{} ended by itself with {status}. Its log: {}",
                process::indent(&process::tail(&self.log, 25)),
                self.runtime,
                process::relative(&self.log)
            )),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            // To the whole group, for wrangler has children of its own, which go after it does.
            let group = format!("-{}", self.child.id());
            let signal = |name| {
                let mut kill = Command::new("kill");
                kill.args([name, "--", &group]).stderr(std::process::Stdio::null());
                kill.status().is_ok_and(|status| status.success())
            };
            signal("-TERM");
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_secs(10) {
                // Ours until it is waited for, and as long a member of the group.
                let _ = self.child.try_wait();
                if !signal("-0") {
                    return;
                }
                thread::sleep(Duration::from_millis(50));
            }
            signal("-KILL");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_lines_in_dev_vars_stay() {
        let variables = [("ADMIN_TOKEN".to_owned(), "new".to_owned())];
        let cases = [
            ("", "# Written by `cargo xtask dev`; lines you add stay.\nADMIN_TOKEN=new\n"),
            ("ADMIN_TOKEN=old\nRELEASE=mine\n", "RELEASE=mine\nADMIN_TOKEN=new\n"),
        ];
        for (before, after) in cases {
            assert_eq!(dev_vars(before, &variables), after);
        }
    }
}
