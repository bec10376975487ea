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
        let answers = [Protocol::Chat, Protocol::Messages].map(whole);
        for stream in listener.incoming().flatten() {
            let answers = answers.clone();
            // A connection that ends is a caller that is done.
            thread::spawn(move || serve(stream, &answers));
        }
    });
    Ok(address)
}

/// What a caller speaks.
#[derive(Clone, Copy)]
enum Protocol {
    /// OpenAI's Chat Completions.
    Chat,
    /// Anthropic's Messages.
    Messages,
}

/// Answers one call after the other until the caller closes.
fn serve(stream: TcpStream, answers: &[Vec<u8>; 2]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(stream);
    let mut body = Vec::with_capacity(2048);
    loop {
        body.clear();
        connection.read_head()?;
        connection.read_body(|bytes| body.extend_from_slice(bytes))?;
        let protocol = match connection.first_line.split(' ').nth(1) {
            Some("/v1/messages") => Protocol::Messages,
            _ => Protocol::Chat,
        };
        let spaceless: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        if contains(&spaceless, br#""stream":true"#) {
            let with_usage = contains(&spaceless, br#""include_usage":true"#);
            send_stream(&mut connection, protocol, with_usage)?;
        } else {
            connection.stream.write_all(&answers[protocol as usize])?;
        }
    }
}

/// The head and the first chunk at once, the others at their times.
fn send_stream(connection: &mut Connection, protocol: Protocol, with_usage: bool) -> std::io::Result<()> {
    let mut out = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n{HEADERS}transfer-encoding: \
         chunked\r\n\r\n"
    );
    for event in protocol.beginning() {
        push_chunk(&mut out, &event);
    }
    let began = Instant::now();
    for at in 0..CHUNKS {
        if at > 0 {
            let due = began + GAP * u32::try_from(at).unwrap_or(u32::MAX);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        push_chunk(&mut out, &protocol.text(&format!("sent at {:0STAMP_DIGITS$} ", now_us())));
        connection.stream.write_all(out.as_bytes())?;
        out.clear();
    }
    for event in protocol.ending(with_usage) {
        push_chunk(&mut out, &event);
    }
    out.push_str("0\r\n\r\n");
    connection.stream.write_all(out.as_bytes())
}

/// The events of a stream, by what it speaks.
impl Protocol {
    fn beginning(self) -> Vec<String> {
        match self {
            Self::Chat => Vec::new(),
            Self::Messages => vec![
                named(
                    "message_start",
                    r#","message":{"id":"msg_bench","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":42,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}"#,
                ),
                named("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#),
            ],
        }
    }

    fn text(self, text: &str) -> String {
        match self {
            Self::Chat => chat_event(
                &format!(r#"[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]"#),
                "",
            ),
            Self::Messages => named(
                "content_block_delta",
                &format!(r#","index":0,"delta":{{"type":"text_delta","text":"{text}"}}"#),
            ),
        }
    }

    fn ending(self, with_usage: bool) -> Vec<String> {
        match self {
            Self::Chat => {
                let mut events = vec![chat_event(r#"[{"index":0,"delta":{},"finish_reason":"stop"}]"#, "")];
                if with_usage {
                    events.push(chat_event("[]", &format!(r#","usage":{USAGE}"#)));
                }
                events.push("data: [DONE]\n\n".to_owned());
                events
            }
            Self::Messages => vec![
                named("content_block_stop", r#","index":0"#),
                named(
                    "message_delta",
                    r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":90}"#,
                ),
                named("message_stop", ""),
            ],
        }
    }
}

/// An event of Anthropic's.
fn named(name: &str, more: &str) -> String {
    format!("event: {name}\ndata: {{\"type\":\"{name}\"{more}}}\n\n")
}

fn chat_event(choices: &str, more: &str) -> String {
    format!(
        r#"data: {{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1767225600,"model":"gpt-4o-mini","service_tier":"default","system_fingerprint":"fp_bench","choices":{choices}{more}}}"#
    ) + "\n\n"
}

fn push_chunk(out: &mut String, text: &str) {
    out.push_str(&format!("{:x}\r\n{text}\r\n", text.len()));
}

/// A whole answer of under a kilobyte, with its head.
fn whole(protocol: Protocol) -> Vec<u8> {
    let content = "The quick brown fox jumps over the lazy dog. ".repeat(9);
    let content = content.trim_end();
    let body = match protocol {
        Protocol::Chat => format!(
            r#"{{"id":"chatcmpl-bench","object":"chat.completion","created":1767225600,"model":"gpt-4o-mini","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{USAGE},"service_tier":"default","system_fingerprint":"fp_bench"}}"#,
            content
        ),
        Protocol::Messages => format!(
            r#"{{"id":"msg_bench","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[{{"type":"text","text":"{content}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":42,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":90}}}}"#
        ),
    };
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
