//! Writes down what callers and providers are sent, for others to judge: `outputs <file>`. A line of JSON each:
//! whole answers, refusals and streams of every protocol for each recorded answer, and each recorded request as every
//! provider gets it.

#![expect(clippy::unwrap_used, reason = "a tool of the tests fails by panicking")]

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
};

use llm::{UpstreamError, front::ErrorBody, translate::Translate};
use serde_json::{Value, json};
use wire::{HEAD, PROTOCOLS, Protocol, peek, pumped, recorded, recorded::Kind};

fn main() {
    let file = std::env::args_os().nth(1).unwrap();
    fs::create_dir_all(Path::new(&file).parent().unwrap()).unwrap();
    let mut out = BufWriter::new(File::create(file).unwrap());
    let mut say = |protocol: &Protocol, kind: &str, case: &str, body: Value| {
        let line = json!({ "protocol": protocol.name, "kind": kind, "case": case, "body": body });
        writeln!(out, "{line}").unwrap();
    };
    for answer in recorded() {
        let (from, case) = (answer.protocol, format!("{}/{}", answer.protocol.name, answer.case));
        for to in &PROTOCOLS {
            let refused = |error: &UpstreamError| {
                let body = ErrorBody::upstream(error, Some("call_1"));
                read(&to.front.error(body.status, &body))
            };
            match &answer.kind {
                Kind::Error(status, headers) => {
                    say(to, "error", &case, refused(&from.dialect.error(*status, headers, &answer.body)));
                }
                Kind::Stream => {
                    let writer = to.front.writer(&HEAD, &peek());
                    let mut relay = Translate::new(from.dialect.decoder(), writer, "call_1");
                    let sent = pumped(&mut relay, answer.body.chunks(64));
                    let text = match to.name {
                        "converse" => sent.iter().map(|byte| format!("{byte:02x}")).collect(),
                        _ => String::from_utf8(sent).unwrap(),
                    };
                    say(to, "stream", &case, text.into());
                }
                Kind::Whole => {
                    let events = from.dialect.decode(&answer.body);
                    match events.and_then(|events| to.front.whole(&HEAD, &events)) {
                        Ok(body) => say(to, "whole", &case, read(&body)),
                        Err(error) => say(to, "error", &case, refused(&error)),
                    }
                }
            }
        }
    }
    for (from, case, body) in requests() {
        let Ok(peek) = from.front.peek(from.path, &body) else { continue };
        let Ok(request) = from.front.parse(&peek, &body) else { continue };
        for to in &PROTOCOLS {
            // What cannot be said is refused before anybody is asked.
            if let Ok(encoded) = to.dialect.encode(&request, &to.target()) {
                say(to, "request", &case, read(encoded.request.body()));
            }
        }
    }
}

fn requests() -> Vec<(&'static Protocol, String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fixtures");
    let mut requests = Vec::new();
    for folder in ["callers", "requests"] {
        for file in fs::read_dir(root.join(folder)).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let from = Protocol::named(if folder == "callers" { &name } else { "chat_completions" });
            requests.push((from, format!("{folder}/{name}"), fs::read(path).unwrap()));
        }
    }
    requests.sort_by(|one, other| one.1.cmp(&other.1));
    requests
}

fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}
