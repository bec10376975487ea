//! The answers of providers in `tests/fixtures/upstream`, as they are on the wire.
//!
//! `<protocol>/<case>.json` is a whole answer, `error-<status>…` one with that status, whose headers may lie
//! beside it in `….headers`, and `.stream` a streamed one. Amazon's streams are binary: there, each line of the file
//! is a frame.
//!
//! ```text
//! {"event": "messageStart", "payload": {…}}      also "exception"; "text" in place of a payload that is no JSON
//! {"error": "InternalFailure", "message": "…"}
//! {…, "cut": 9}                                  only its first bytes
//! {…, "flip": -20}                               with this byte changed, counted from the end where negative
//! {"hex": "…"}, {"raw": "…"}                     these bytes
//! {"chunk": {…}}                                 one of Claude's events, packed as InvokeModel does
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName};
use llm::eventstream;
use serde_json::Value;

use crate::Spoken;

/// An answer of a provider.
pub struct Recorded {
    /// The file's name without its ending: what the case shows.
    pub case: String,
    /// The file.
    pub path: PathBuf,
    /// What the provider speaks.
    pub protocol: Spoken,
    /// How it comes.
    pub kind: Kind,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// How an answer comes.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// With this status, and these headers beside the usual ones.
    Error(u16, HeaderMap),
    /// In pieces.
    Stream,
    /// At once.
    Whole,
}

/// Every recorded answer, by protocol and case.
pub fn recorded() -> Vec<Recorded> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fixtures/upstream");
    let folders = fs::read_dir(root).unwrap().map(|folder| folder.unwrap().path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()));
    let mut paths: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ending| ending != "headers")).collect();
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Recorded {
    let case = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let protocol = Spoken::named(path.parent().unwrap().file_name().unwrap().to_str().unwrap());
    let status = case.strip_prefix("error-").and_then(|rest| rest.get(..3)?.parse().ok());
    let is_stream = path.extension().is_some_and(|ending| ending == "stream");
    let (kind, mut body) = match status {
        _ if is_stream => (Kind::Stream, fs::read(&path).unwrap()),
        Some(status) => {
            (Kind::Error(status, headers(&path.with_extension("headers"))), fs::read(&path).unwrap())
        }
        None => (Kind::Whole, fs::read(&path).unwrap()),
    };
    if is_stream && has_frames(protocol.name) {
        body = frames(std::str::from_utf8(&body).unwrap());
    }
    Recorded { case, path, protocol, kind, body }
}

/// Whether its streams are Amazon's.
pub fn has_frames(protocol: &str) -> bool {
    matches!(protocol, "converse" | "invoke")
}

fn headers(path: &Path) -> HeaderMap {
    let text = fs::read_to_string(path).unwrap_or_default();
    let pairs = text.lines().map(|line| line.split_once(": ").unwrap());
    pairs.map(|(name, value)| (HeaderName::try_from(name).unwrap(), value.parse().unwrap())).collect()
}

/// The binary frames that these lines stand for.
pub fn frames(lines: &str) -> Vec<u8> {
    lines.lines().flat_map(frame).collect()
}

fn frame(line: &str) -> Vec<u8> {
    let line: Value = serde_json::from_str(line).unwrap();
    let text = |name: &str| line[name].as_str();
    let payload = match text("text") {
        Some(text) => text.to_owned(),
        None => line["payload"].to_string(),
    };
    let json = (":content-type", "application/json");
    let mut bytes = Vec::new();
    if let Some(name) = text("event") {
        let headers = [(":event-type", name), json, (":message-type", "event")];
        eventstream::write(&headers, payload.as_bytes(), &mut bytes);
    } else if let Some(name) = text("exception") {
        let headers = [(":exception-type", name), json, (":message-type", "exception")];
        eventstream::write(&headers, payload.as_bytes(), &mut bytes);
    } else if let Some(code) = text("error") {
        let message = text("message").unwrap();
        let headers = [(":error-code", code), (":error-message", message), (":message-type", "error")];
        eventstream::write(&headers, b"", &mut bytes);
    } else if line["chunk"].is_object() {
        let payload = serde_json::json!({ "bytes": STANDARD.encode(line["chunk"].to_string()), "p": "abcd" });
        let headers = [(":event-type", "chunk"), json, (":message-type", "event")];
        eventstream::write(&headers, payload.to_string().as_bytes(), &mut bytes);
    } else if let Some(hex) = text("hex") {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        bytes.extend((0..hex.len()).step_by(2).map(digit));
    } else {
        bytes.extend_from_slice(text("raw").unwrap().as_bytes());
    }
    if let Some(at) = line["flip"].as_i64() {
        let length = i64::try_from(bytes.len()).unwrap();
        bytes[usize::try_from(at.rem_euclid(length)).unwrap()] ^= 1;
    }
    if let Some(cut) = line["cut"].as_u64() {
        bytes.truncate(usize::try_from(cut).unwrap());
    }
    bytes
}

/// Where the events of a stream end, without its own end.
pub fn boundaries(recorded: &Recorded) -> Vec<usize> {
    let stream = &recorded.body;
    let mut ends: Vec<usize> = match recorded.protocol.name {
        name if has_frames(name) => {
            let mut splitter = eventstream::Splitter::default();
            let mut end = 0;
            let mut ends = Vec::new();
            splitter.feed(stream, |raw, _| {
                end += raw.len();
                ends.push(end);
            });
            ends
        }
        "ollama" => (1..stream.len()).filter(|end| stream[..*end].ends_with(b"\n")).collect(),
        _ => {
            let ends = |end: &usize| {
                let read = &stream[..*end];
                read.ends_with(b"\n\n") || read.ends_with(b"\r\n\r\n") || read.ends_with(b"\r\r")
            };
            (1..stream.len()).filter(ends).collect()
        }
    };
    ends.retain(|end| *end < stream.len());
    ends
}
