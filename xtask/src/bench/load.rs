//! Callers: so many connections, each with one call after the other, for a bounded time.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::mock::{CHUNKS, GAP, MARKER, STAMP, STAMP_DIGITS};
use super::wire::{Connection, contains, find, now_us};

/// Who is called, and with which bytes.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    /// The processes that do the work, where they are others than this.
    processes: Vec<u64>,
    /// Calls of an everyday size.
    short: Requests,
    /// Calls of 4 kB: a conversation.
    long: Requests,
}

/// The same call twice, with its head.
#[derive(Clone)]
struct Requests {
    whole: Vec<u8>,
    streamed: Vec<u8>,
}

impl Target {
    pub(super) fn new(name: &'static str, address: SocketAddr, model: &str, headers: &str) -> Self {
        let request = |messages: &str, stream: bool| {
            let body = format!(
                r#"{{"model":"{model}","messages":[{messages}],"temperature":0.2,"max_tokens":256,"stream":{stream}}}"#
            );
            let length = body.len();
            format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
                 accept: application/json\r\nuser-agent: bench\r\n{headers}content-length: {length}\r\n\r\n{body}"
            )
            .into_bytes()
        };
        let requests =
            |messages: &str| Requests { whole: request(messages, false), streamed: request(messages, true) };
        let turn = format!(
            r#"{{"role":"user","content":"{ASKED}"}},{{"role":"assistant","content":"{ANSWERED}"}},"#
        );
        let short = format!(
            r#"{{"role":"system","content":"You are terse."}},{{"role":"user","content":"{ASKED}"}}"#
        );
        let long = format!(
            r#"{{"role":"system","content":"You are terse."}},{}{{"role":"user","content":"{ASKED}"}}"#,
            turn.repeat(TURNS)
        );
        Self { name, address, processes: Vec::new(), short: requests(&short), long: requests(&long) }
    }

    pub(super) fn run_by(mut self, processes: Vec<u64>) -> Self {
        self.processes = processes;
        self
    }

    /// The processor time that the target has used since it started, in seconds; only Linux tells.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        let ticks = self.processes.iter().map(|process| ticks(*process)).sum::<Option<u64>>()?;
        (!self.processes.is_empty()).then_some(ticks as f64 / TICKS_PER_SECOND)
    }
}

fn ticks(process: u64) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name, in parentheses, that may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// What the callers of one slot saw. Times are microseconds.
#[derive(Default)]
pub(super) struct Seen {
    /// Calls made, in and out of the measured time: as many records there must be.
    pub(super) calls: u64,
    /// Calls that were answered wrongly or not at all.
    pub(super) failures: u64,
    /// Why the first of them failed.
    pub(super) failure: Option<String>,
    /// Of plain calls: until the answer was whole. Of streamed ones: until the first chunk.
    pub(super) latencies: Vec<u64>,
    /// From a chunk's sending by the mock to its arrival.
    pub(super) delays: Vec<u64>,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failures += other.failures;
        self.failure = self.failure.take().or(other.failure);
        self.latencies.extend(other.latencies);
        self.delays.extend(other.delays);
    }

    fn fail(&mut self, error: &impl ToString) {
        self.failures += 1;
        self.failure.get_or_insert_with(|| error.to_string());
    }
}

/// How a slot is filled.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) stream: bool,
    /// Calls of 4 kB.
    pub(super) long: bool,
    pub(super) connections: usize,
    /// Load that is not measured, so that what follows the calls (the journal's consumer) has begun.
    pub(super) before: Duration,
    pub(super) measured: Duration,
}

/// Loads the target.
pub(super) fn run(target: &Target, slot: Slot) -> Seen {
    let began = Instant::now();
    let mut seen = Seen::default();
    thread::scope(|scope| {
        let callers: Vec<_> = (0..slot.connections)
            .map(|caller| scope.spawn(move || call_repeatedly(target, slot, caller, began)))
            .collect();
        for caller in callers {
            seen.add(caller.join().expect("a caller does not panic"));
        }
    });
    seen
}

fn call_repeatedly(target: &Target, slot: Slot, caller: usize, began: Instant) -> Seen {
    let mut seen = Seen::default();
    if slot.stream {
        // Streams that all begin at once would wait for each other.
        let length = GAP * u32::try_from(CHUNKS).unwrap_or(u32::MAX);
        thread::sleep(length.mul_f64(caller as f64 / slot.connections as f64));
    }
    let mut connection: Option<Connection> = None;
    let mut expected_length = None;
    while began.elapsed() < slot.before + slot.measured {
        let measured = began.elapsed() >= slot.before;
        if connection.is_none() {
            match TcpStream::connect(target.address).and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(stream)
            }) {
                Ok(stream) => connection = Some(Connection::new(stream)),
                Err(error) => {
                    seen.fail(&error);
                    return seen;
                }
            }
        }
        let Some(open) = &mut connection else { return seen };
        seen.calls += 1;
        let requests = if slot.long { &target.long } else { &target.short };
        let result = if slot.stream {
            call_streamed(target, &requests.streamed, open)
        } else {
            call(target, &requests.whole, open, &mut expected_length)
        };
        match result {
            Ok(answer) if measured => {
                seen.latencies.push(answer.latency);
                seen.delays.extend(answer.delays);
            }
            Ok(_) => {}
            Err(error) => {
                seen.fail(&error);
                if seen.failures >= MAX_FAILURES {
                    return seen;
                }
                connection = None;
            }
        }
    }
    seen
}

struct Answer {
    latency: u64,
    delays: Vec<u64>,
}

/// A plain call. Its first answer is looked at; the others must be as long.
fn call(
    target: &Target,
    request: &[u8],
    connection: &mut Connection,
    length: &mut Option<usize>,
) -> io::Result<Answer> {
    let sent = now_us();
    connection.stream.write_all(request)?;
    let status = connection.read_head()?;
    let mut body = Vec::with_capacity(2048);
    connection.read_body(|bytes| body.extend_from_slice(bytes))?;
    let latency = now_us() - sent;
    if status != 200
        || (length.is_none() && !contains(&body, MARKER))
        || length.is_some_and(|l| l != body.len())
    {
        return Err(unexpected(target, status, &body));
    }
    *length = Some(body.len());
    Ok(Answer { latency, delays: Vec::new() })
}

/// A streamed call. Every chunk the mock sent must come.
fn call_streamed(target: &Target, request: &[u8], connection: &mut Connection) -> io::Result<Answer> {
    let sent = now_us();
    connection.stream.write_all(request)?;
    let status = connection.read_head()?;
    let mut body = Vec::with_capacity(16 << 10);
    let mut read = 0;
    let mut first = None;
    let mut delays = Vec::with_capacity(CHUNKS);
    connection.read_body(|bytes| {
        let arrived = now_us();
        first.get_or_insert(arrived);
        body.extend_from_slice(bytes);
        while let Some((time, end)) = stamp(&body[read..]) {
            delays.push(arrived.saturating_sub(time));
            read += end;
        }
    })?;
    if status != 200 || delays.len() != CHUNKS || !contains(&body[read..], b"[DONE]") {
        return Err(unexpected(target, status, &body));
    }
    Ok(Answer { latency: first.unwrap_or(sent) - sent, delays })
}

/// The first time in the text, and where it ends.
fn stamp(text: &[u8]) -> Option<(u64, usize)> {
    let start = find(text, STAMP)? + STAMP.len();
    let digits = text.get(start..start + STAMP_DIGITS)?;
    let time = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((time, start + STAMP_DIGITS))
}

fn unexpected(target: &Target, status: u16, body: &[u8]) -> io::Error {
    let shown = String::from_utf8_lossy(&body[..body.len().min(300)]);
    io::Error::other(format!("{} answered {status}: {shown}", target.name))
}

const ASKED: &str = "Write a sentence that has every letter of the alphabet in it, nine times over, and nothing else: no greeting, no remark, no list.";
const ANSWERED: &str = r#"Sphinx of black quartz, judge my vow.\nThe five boxing wizards jump \"quickly\", and pack my box with five dozen liquor jugs; how vexingly quick daft zebras jump. A mad boxer shot a quick, gloved jab to the jaw of his dizzy opponent, while jackdaws love my big sphinx of quartz."#;

/// Earlier turns of a long call.
const TURNS: usize = 7;

/// Of the numbers in /proc, on every Linux there is.
const TICKS_PER_SECOND: f64 = 100.0;

/// No answer takes as long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A caller that failed so often gives up.
const MAX_FAILURES: u64 = 3;
