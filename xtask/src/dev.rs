//! The gateway on this machine: set up, built, running, with a demo key and someone to alert.

mod demo;
mod host;
mod http;
mod receiver;
mod settings;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::process::{self, done, seconds};
use crate::{Outcome, args, build, setup};
use host::Host;
use settings::Settings;

pub(crate) fn run(words: &[String]) -> Outcome {
    let mut args = args::Args::new(words);
    let host = match args.value("--host")? {
        Some(word) => Host::named(&word)?,
        None => Host::Workers,
    };
    let port: u16 = match args.value("--port")? {
        Some(word) => word.parse().ok().filter(|port| *port < u16::MAX).ok_or("--port wants a number.")?,
        None => 8787,
    };
    let reset = args.flag("--reset");
    let state = args.value("--state")?;
    if reset && state.is_some() {
        return Err("--reset empties the usual folder. Delete the one of --state yourself.".to_owned());
    }
    if let Some(word) = args.rest()?.first() {
        return Err(format!("`dev` takes options only, not `{word}`."));
    }
    for port in [port, port + 1] {
        check_free(port)?;
    }

    println!("Set-up");
    setup::all()?;
    println!("Build");
    match host {
        Host::Workers => build::workers()?,
        Host::Spin => build::spin()?,
    }
    println!("Start");
    if reset {
        settings::forget(host)?;
    }
    let mut settings = Settings::load(host, state.as_deref())?;
    let stop = stop_on_signal()?;
    let mut gateway = host.start(port, &settings)?;
    wait_until_healthy(port, &mut gateway, &stop)?;
    done("Gateway", &format!("http://127.0.0.1:{port}, on {}", gateway.runtime));
    receiver::start(port + 1)?;
    done("Alerts", &format!("http://127.0.0.1:{}", port + 1));
    demo::provide(port, &mut settings)?;
    settings.save()?;
    done("Demo", "a tenant, a key and two receivers");

    print!("{}", guide(port, &settings, &gateway));
    let ticker = Ticker { host, port, token: settings.tick_token.clone() };
    thread::spawn(move || ticker.run());
    while !stop.load(Ordering::Relaxed) {
        gateway.check()?;
        thread::sleep(Duration::from_millis(200));
    }
    println!("\nEnding. `cargo xtask dev` goes on where this stopped.");
    Ok(())
}

fn check_free(port: u16) -> Outcome {
    TcpListener::bind(("127.0.0.1", port)).map(drop).map_err(|error| {
        format!(
            "Port {port} cannot be used ({error}). End what listens there, or pass --port; two are taken."
        )
    })
}

/// Becomes true on Ctrl-C and on the polite ways to end a process.
fn stop_on_signal() -> Outcome<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(|error| error.to_string())?;
    }
    #[cfg(unix)]
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&stop))
        .map_err(|error| error.to_string())?;
    Ok(stop)
}

fn wait_until_healthy(port: u16, gateway: &mut host::Running, stop: &AtomicBool) -> Outcome {
    let started = Instant::now();
    loop {
        gateway.check()?;
        if stop.load(Ordering::Relaxed) {
            return Err("Ended before the gateway was up.".to_owned());
        }
        if http::get(port, "/healthz", None).is_ok_and(|answer| answer.status == 200) {
            return Ok(());
        }
        if started.elapsed() > START_LIMIT {
            return Err(format!(
                "{}\nThe gateway did not answer /healthz within {}. Its log: {}",
                process::indent(&process::tail(&gateway.log, 20)),
                seconds(START_LIMIT),
                process::relative(&gateway.log)
            ));
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Stands in for the platform's cron, which no local runtime fires.
struct Ticker {
    host: Host,
    port: u16,
    token: String,
}

impl Ticker {
    fn run(&self) {
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let past = (now.as_millis() as u64 + 60_000 - TICK_AT_MS) % 60_000;
            thread::sleep(Duration::from_millis(60_000 - past));
            let answer = match self.host {
                Host::Workers => http::get(self.port, "/cdn-cgi/handler/scheduled?cron=*+*+*+*+*", None),
                Host::Spin => http::post(self.port, "/internal/tick", Some(&self.token), ""),
            };
            match answer {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => println!("  The tick answered {}: {}", answer.status, answer.body.trim()),
                Err(error) => println!("  The tick failed: {error}"),
            }
        }
    }
}

fn guide(port: u16, settings: &Settings, gateway: &host::Running) -> String {
    let (key, admin) = (&settings.key, &settings.admin_token);
    let base = format!("http://127.0.0.1:{port}");
    let alerts = port + 1;
    let log = process::relative(&gateway.log);
    format!(
        r#"
A first answer, streamed:

  curl -N {base}/v1/chat/completions \
    -H 'authorization: Bearer {key}' -H 'content-type: application/json' \
    -d '{{"model":"demo/echo","stream":true,"messages":[{{"role":"user","content":"Hello from the edge"}}]}}'

Make calls fail, and an alert arrives at http://127.0.0.1:{alerts} within two minutes:

  for i in $(seq 10); do curl -s -o /dev/null -w '%{{http_code}} ' {base}/v1/chat/completions \
    -H 'authorization: Bearer {key}' -H 'content-type: application/json' \
    -d '{{"model":"demo/fail","messages":[{{"role":"user","content":"Hello"}}]}}'; done; echo

(For the demo the rule error-share wants one minute with 5 calls; by default it is more patient. The notice that it
is over comes after good minutes with calls, or ten without any.)

What was counted, by the minute:

  curl -s '{base}/admin/v1/metrics?grain=minute&by=model,outcome' -H 'authorization: Bearer {admin}'

A tick runs each minute. The runtime's log: {log}. Ctrl-C ends everything.
"#
    )
}

/// Generous: the first start of a runtime on a busy machine compiles the module.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Milliseconds after the full minute. The rules look at minutes that ended half a minute ago.
const TICK_AT_MS: u64 = 32_000;
