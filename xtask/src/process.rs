//! Running other programs: quietly, with a log, and with a sign of life.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Outcome, tools};

/// Prints a finished line of set-up.
pub(crate) fn done(what: &str, detail: &str) {
    println!("  ✓ {what:<22} {detail}");
}

/// Runs to the end with the output in a log, showing the time that passes. A failure shows the log's
/// end and says where the rest is; `advice` says what to do.
pub(crate) fn run(what: &str, command: &mut Command, advice: &str) -> Outcome<Duration> {
    let log = log_path(what)?;
    let started = Instant::now();
    let result = logged(what, command, &log);
    let took = started.elapsed();
    if matches!(&result, Ok(status) if status.success()) {
        return Ok(took);
    }
    let reason = match result {
        Ok(status) => format!("{}\n\n`{}` ended with {status}.", indent(&tail(&log, 40)), line(command)),
        Err(error) => error,
    };
    let took = seconds(took);
    Err(format!("✗ {what} failed after {took}:\n\n{reason}\nThe whole log: {}\n{advice}", relative(&log)))
}

/// Runs to the end with the output in the given log, showing the time that passes.
fn logged(what: &str, command: &mut Command, log: &Path) -> Outcome<ExitStatus> {
    let mut child = start(command, log)?;
    let started = Instant::now();
    let terminal = std::io::stdout().is_terminal();
    let mut shown = Duration::ZERO;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            if terminal {
                print!("\r\x1b[K");
            }
            let _ = std::io::stdout().flush();
            return Ok(status);
        }
        sleep(Duration::from_millis(50));
        let elapsed = started.elapsed();
        if terminal && elapsed.as_secs() != shown.as_secs() {
            shown = elapsed;
            let last = tail(log, 1);
            print!("\r\x1b[K  … {what:<22} {:>5}  {}", seconds(elapsed), cut(last.trim(), 70));
            let _ = std::io::stdout().flush();
        } else if !terminal && elapsed - shown >= Duration::from_secs(60) {
            shown = elapsed;
            println!("  … {what} ({})", seconds(elapsed));
        }
    }
}

/// Starts a program whose output goes to the log. It reads nothing, so that it can ask nothing.
pub(crate) fn start(command: &mut Command, log: &Path) -> Outcome<Child> {
    let describe = |error: std::io::Error| format!("{}: {error}", relative(log));
    let out = File::create(log).map_err(describe)?;
    let err = out.try_clone().map_err(describe)?;
    command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|error| format!("`{}` could not be started: {error}.", line(command)))
}

/// What the program prints, when it ends well.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Where the log of a step goes.
pub(crate) fn log_path(what: &str) -> Outcome<PathBuf> {
    let folder = tools::root().join("target/xtask");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder.join(format!("{}.log", what.replace([' ', '/'], "-"))))
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

pub(crate) fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// A path as one would type it from the project's root.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(tools::root()).unwrap_or(path).display().to_string()
}

/// A duration for people: tenths of a second while they matter.
pub(crate) fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0..=9 => format!("{:.1} s", duration.as_secs_f64()),
        10..=119 => format!("{} s", duration.as_secs()),
        whole => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let mut words = vec![relative(Path::new(command.get_program()))];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

fn cut(text: &str, columns: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(columns).collect()
}
