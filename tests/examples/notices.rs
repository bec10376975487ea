//! Writes down what receivers get, for others to judge: `notices <file>`. A line of JSON each: the kind of receiver, the
//! case, and the request.

#![expect(clippy::unwrap_used, reason = "a tool of the tests fails by panicking")]

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
};

use hypercare::{notice::Notice, notify::ReceiverKind};
use serde_json::{Value, json};
use tests::notices::{firing, sent, storm, told};

fn main() {
    let file = std::env::args_os().nth(1).unwrap();
    fs::create_dir_all(Path::new(&file).parent().unwrap()).unwrap();
    let mut out = BufWriter::new(File::create(file).unwrap());
    let mut cases = told();
    let long = "*<é😀 \"\\@".repeat(2_000);
    let facts = vec![(long.clone(), long.clone()); 40];
    let long = Notice { title: long.clone(), summary: long, facts, ..firing() };
    cases.extend([("long", vec![long]), ("storm", storm(50))]);
    for kind in ReceiverKind::all() {
        for (case, notices) in &cases {
            if !notices.iter().all(|notice| kind.hears(notice.kind)) || (notices.len() > 1 && !kind.bundles())
            {
                continue;
            }
            let request = sent(kind, notices);
            let headers: serde_json::Map<String, Value> = request
                .headers()
                .iter()
                .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())))
                .collect();
            let line = json!({
                "kind": kind.word(),
                "case": case,
                "url": request.uri().to_string(),
                "headers": headers,
                "body": String::from_utf8(request.body().to_vec()).unwrap(),
            });
            writeln!(out, "{line}").unwrap();
        }
    }
}
