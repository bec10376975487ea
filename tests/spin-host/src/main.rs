//! `spin-host` stands in for `spin up` where the `spin` command is missing: it serves the same components by
//! the same `spin.toml`. It is for development and tests; what our functions do not use is refused, not guessed.

mod guest;
mod hosts;
mod manifest;
mod routes;
mod serve;
mod store;

use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;

/// What to serve, and where.
struct Options {
    from: PathBuf,
    listen: String,
    state_dir: Option<PathBuf>,
    clock: Option<PathBuf>,
}

fn main() -> Result<()> {
    let Some(options) = options(std::env::args().skip(1))? else {
        print!("{HELP}");
        return Ok(());
    };
    let from = if options.from.is_dir() { options.from.join("spin.toml") } else { options.from };
    let from = from.canonicalize().with_context(|| format!("cannot find {}", from.display()))?;
    let directory = from.parent().expect("a file is in a directory").to_owned();
    let text = std::fs::read_to_string(&from).with_context(|| format!("cannot read {}", from.display()))?;
    let application = manifest::read(&text, |name| std::env::var(name).ok())
        .with_context(|| format!("cannot use {}", from.display()))?;

    let state_dir = options.state_dir.unwrap_or_else(|| directory.join(".spin"));
    std::fs::create_dir_all(&state_dir).with_context(|| format!("cannot create {}", state_dir.display()))?;
    let state_dir = state_dir.canonicalize()?;

    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        tokio::select! {
            result = serve(application, directory, state_dir, options.clock, &options.listen) => result,
            result = stopped() => result,
        }
    })?;
    // A guest may be in the middle of a long call; nobody waits for it.
    runtime.shutdown_background();
    Ok(())
}

async fn serve(
    application: manifest::Application,
    directory: PathBuf,
    state_dir: PathBuf,
    clock: Option<PathBuf>,
    address: &str,
) -> Result<()> {
    // Compiling takes seconds, in which a signal to stop is still heard.
    let server =
        tokio::task::spawn_blocking(move || serve::Server::new(application, &directory, &state_dir, clock))
            .await??;
    server.listen(address).await
}

/// The options, or nothing when the help is wanted.
fn options(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options {
        from: PathBuf::from("spin.toml"),
        listen: "127.0.0.1:3000".to_owned(),
        state_dir: None,
        clock: None,
    };
    while let Some(argument) = arguments.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let mut value =
            || value.clone().or_else(|| arguments.next()).with_context(|| format!("{name} needs a value"));
        match name {
            "--clock" => options.clock = Some(value()?.into()),
            "--from" | "-f" => options.from = value()?.into(),
            "--help" | "-h" => return Ok(None),
            "--listen" => options.listen = value()?,
            "--state-dir" => options.state_dir = Some(value()?.into()),
            _ => bail!("unknown argument {argument}; see --help"),
        }
    }
    Ok(Some(options))
}

/// Returns at the first signal to stop.
async fn stopped() -> Result<()> {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = interrupt => result?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    interrupt.await?;
    Ok(())
}

const HELP: &str = "\
Serves a Spin application, as `spin up` does.

Usage: spin-host [--from spin.toml] [--listen 127.0.0.1:3000] [--state-dir DIR] [--clock FILE]

  --from FILE        the manifest, or the directory it is in  [spin.toml]
  --listen ADDRESS   where to listen; port 0 takes a free one  [127.0.0.1:3000]
  --clock FILE       what time it is for the components: Unix milliseconds, read whenever one asks
  --state-dir DIR    databases, key-value store, compiled code  [.spin beside the manifest]

Application variables are read from SPIN_VARIABLE_<NAME>.
";
