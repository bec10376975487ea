//! The upstream of a measurement: answers the same bytes to every call, at once, or a stream whose
//! chunks say when they were sent. A mock that does more would be what is measured: aimock answers three
//! thousand calls a second, little more than the Worker that calls it.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::wire::{Connection, contains, now_us};
use crate::Outcome;

/// Chunks with text in one stream.
pub(super) const CHUNKS: usize = 50;

/// Between two chunks.
pub(super) const GAP: Duration = Duration::from_millis(10);

/// Precedes the time in a chunk.
pub(super) const STAMP: &[u8] = b"sent at ";

/// Digits of the time: microseconds.
pub(super) const STAMP_DIGITS: usize = 16;

/// What tells a true answer from an error that looks like one.
pub(super) const MARKER: &[u8] = b"The quick brown fox";

/// Listens on loopback until the process ends.
pub(super) fn start() -> Outcome<SocketAddr> {
    let describe = |error: std::io::Error| format!("The mock cannot listen: {error}");
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(describe)?;
    let address = listener.local_addr().map_err(describe)?;
    thread::spawn(move || {
        let answer = whole();
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            // A connection that ends is a caller that is done.
            thread::spawn(move || serve(stream, &answer));
        }
    });
    Ok(address)
}

/// Answers one call after the other until the caller closes.
fn serve(stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(stream);
    let mut body = Vec::with_capacity(2048);
    loop {
        body.clear();
        connection.read_head()?;
        connection.read_body(|bytes| body.extend_from_slice(bytes))?;
        let spaceless: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        if contains(&spaceless, br#""stream":true"#) {
            send_stream(&mut connection, contains(&spaceless, br#""include_usage":true"#))?;
        } else {
            connection.stream.write_all(answer)?;
        }
    }
}

/// The head and the first chunk at once, the others at their times.
fn send_stream(connection: &mut Connection, with_usage: bool) -> std::io::Result<()> {
    let mut out = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n{HEADERS}transfer-encoding: \
         chunked\r\n\r\n"
    );
    let began = Instant::now();
    for at in 0..CHUNKS {
        if at > 0 {
            let due = began + GAP * u32::try_from(at).unwrap_or(u32::MAX);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let delta = format!(r#"{{"content":"sent at {:0STAMP_DIGITS$} "}}"#, now_us());
        push_chunk(&mut out, &event(&format!(r#"[{{"index":0,"delta":{delta},"finish_reason":null}}]"#), ""));
        connection.stream.write_all(out.as_bytes())?;
        out.clear();
    }
    push_chunk(&mut out, &event(r#"[{"index":0,"delta":{},"finish_reason":"stop"}]"#, ""));
    if with_usage {
        push_chunk(&mut out, &event("[]", &format!(r#","usage":{USAGE}"#)));
    }
    push_chunk(&mut out, "data: [DONE]\n\n");
    out.push_str("0\r\n\r\n");
    connection.stream.write_all(out.as_bytes())
}

fn event(choices: &str, more: &str) -> String {
    format!(
        r#"data: {{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1767225600,"model":"gpt-4o-mini","service_tier":"default","system_fingerprint":"fp_bench","choices":{choices}{more}}}"#
    ) + "\n\n"
}

fn push_chunk(out: &mut String, text: &str) {
    out.push_str(&format!("{:x}\r\n{text}\r\n", text.len()));
}

/// A whole answer of about 900 bytes, with its head.
fn whole() -> Vec<u8> {
    let content = "The quick brown fox jumps over the lazy dog. ".repeat(9);
    let body = format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion","created":1767225600,"model":"gpt-4o-mini","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{USAGE},"service_tier":"default","system_fingerprint":"fp_bench"}}"#,
        content.trim_end()
    );
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{HEADERS}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

const USAGE: &str = r#"{"prompt_tokens":42,"completion_tokens":90,"total_tokens":132,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}}"#;

/// As many as a provider sends: each costs whoever passes it on.
const HEADERS: &str = "\
date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
openai-processing-ms: 1\r\n\
openai-version: 2020-10-01\r\n\
x-ratelimit-limit-requests: 10000\r\n\
x-ratelimit-limit-tokens: 1000000\r\n\
x-ratelimit-remaining-requests: 9999\r\n\
x-ratelimit-remaining-tokens: 999900\r\n\
x-request-id: req_bench\r\n";
