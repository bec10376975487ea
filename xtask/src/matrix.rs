//! Makes docs/matrix.md of what the tests noted in target/matrix, or says that it is not what they found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::process::done;
use crate::{Outcome, args, tools};

pub(crate) fn run(words: &[String]) -> Outcome {
    let mut args = args::Args::new(words);
    let write = args.flag("--write");
    args.rest()?;
    let page = page()?;
    let path = tools::root().join("docs/matrix.md");
    if write {
        fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()))?;
        done("docs/matrix.md", "written");
        return Ok(());
    }
    check()
}

/// Whether the page says what the tests found.
pub(crate) fn check() -> Outcome {
    let written = fs::read_to_string(tools::root().join("docs/matrix.md")).unwrap_or_default();
    if page()? == written {
        return Ok(());
    }
    Err("docs/matrix.md is not what the tests found. `cargo xtask matrix --write`, then read the diff."
        .to_owned())
}

/// Where the tests note what they found.
pub(crate) fn folder() -> PathBuf {
    tools::root().join("target/matrix")
}

fn page() -> Outcome<String> {
    let mut page = INTRODUCTION.to_owned();
    let found = lines("pairs")?;
    pairs(&found, &mut page);
    reasons(&found, &mut page);
    clients(&[lines("sdk-node")?, lines("sdk-python")?].concat(), &mut page);
    Ok(page)
}

fn lines(name: &str) -> Outcome<Vec<Value>> {
    let path = folder().join(format!("{name}.jsonl"));
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}. `cargo xtask test` writes it.", path.display()))?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{name}: {error}"))).collect()
}

/// A table for each caller: features, and the providers' protocols.
fn pairs(lines: &[Value], page: &mut String) {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let mut found = BTreeMap::new();
    for line in lines.iter().filter(|line| line["found"].is_string()) {
        let how = text(line, "how");
        let key = (text(line, "caller"), how == "asked", text(line, "feature"), text(line, "provider"), how);
        found.insert(key, text(line, "found"));
    }
    for (caller, name) in PROTOCOLS {
        page.push_str(&format!("\n## Callers of {name}\n"));
        for asked in [true, false] {
            let of_caller = found.keys().filter(|key| key.0 == caller && key.1 == asked);
            let features: BTreeSet<&String> = of_caller.map(|key| &key.2).collect();
            let title = if asked { "the request has" } else { "the answer has (whole, streamed)" };
            page.push_str(&format!("\n| {title} |"));
            PROTOCOLS.iter().for_each(|(_, name)| page.push_str(&format!(" {name} |")));
            page.push_str(&format!("\n|---|{}\n", "---|".repeat(PROTOCOLS.len())));
            for feature in features {
                page.push_str(&format!("| {feature} |"));
                for (provider, _) in PROTOCOLS {
                    let hows: &[&str] = if asked { &["asked"] } else { &["whole", "streamed"] };
                    let cells = hows.iter().map(|how| {
                        let key = (
                            caller.to_owned(),
                            asked,
                            feature.clone(),
                            provider.to_owned(),
                            (*how).to_owned(),
                        );
                        match found.get(&key).map(String::as_str) {
                            Some("carried") => "✓",
                            Some("dropped") => "dropped",
                            Some("refused") => "400",
                            Some(_) => "~",
                            None => "–",
                        }
                    });
                    page.push_str(&format!(" {} |", cells.collect::<Vec<_>>().join(" ")));
                }
                page.push('\n');
            }
        }
    }
}

/// How that is told which is told in other words, and why some is never said.
fn reasons(lines: &[Value], page: &mut String) {
    let names = |line: &Value, name: &str| {
        let list = line[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let spelled = |name: &Value| {
            let known = PROTOCOLS.iter().find(|(known, _)| *name == *known);
            known.map_or_else(String::new, |(_, name)| (*name).to_owned())
        };
        list.iter().map(spelled).collect::<Vec<_>>().join(", ")
    };
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    page.push_str(
        "\n## In other words\n\nWhat does not read the same with every model, and how it is told instead.\n\n",
    );
    page.push_str("| | callers of | providers of | is told |\n|---|---|---|---|\n");
    for line in lines.iter().filter(|line| line["callers"].is_array()) {
        let sides = [names(line, "callers"), names(line, "providers")];
        let [callers, providers] = sides.map(|side| if side.is_empty() { "any".to_owned() } else { side });
        let (feature, reason) = (text(line, "feature"), text(line, "reason"));
        page.push_str(&format!("| {feature} | {callers} | {providers} | {reason} |\n"));
    }
    page.push_str("\n## Never said\n\nWhat no answer of a provider says (– above).\n\n");
    page.push_str("| | providers of | why |\n|---|---|---|\n");
    for line in lines.iter().filter(|line| line["unsaid"].is_array()) {
        let (feature, reason) = (text(line, "feature"), text(line, "reason"));
        page.push_str(&format!("| {feature} | {} | {reason} |\n", names(line, "unsaid")));
    }
}

/// Official clients, and the situations each was seen in with a model of every protocol.
fn clients(lines: &[Value], page: &mut String) {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let mut seen: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for line in lines {
        let situations = seen.entry(text(line, "client")).or_default();
        situations.entry(text(line, "situation")).or_default().insert(text(line, "model"));
    }
    page.push_str("\n## Official clients\n\n");
    page.push_str(
        "On Cloudflare's runtime, each with a model of every protocol: OpenAI's Chat Completions and Responses, \
         Anthropic's Messages, Gemini's generateContent, Bedrock's Converse, Cohere's chat.\n\n| client |",
    );
    SITUATIONS.iter().for_each(|situation| page.push_str(&format!(" {situation} |")));
    page.push_str(&format!("\n|---|{}\n", "---|".repeat(SITUATIONS.len())));
    for (client, situations) in seen {
        page.push_str(&format!("| {client} |"));
        for situation in SITUATIONS {
            let models = situations.get(situation).map_or(0, BTreeSet::len);
            page.push_str(if models == MODELS { " ✓ |" } else { " – |" });
        }
        page.push('\n');
    }
}

const MODELS: usize = 6;

const SITUATIONS: [&str; 6] =
    ["plain", "streamed", "tool loop", "structured output", "upstream error", "cut in mid-stream"];

const PROTOCOLS: [(&str, &str); 6] = [
    ("chat_completions", "Chat Completions"),
    ("responses", "Responses"),
    ("messages", "Messages"),
    ("generate_content", "generateContent"),
    ("converse", "Converse"),
    ("cohere", "Cohere"),
];

const INTRODUCTION: &str = "\
# What gets through

Made by `cargo xtask matrix --write` of what the tests found; a test fails when it is not what they find. Rows are
what a caller may ask for or be told, columns are what the provider speaks.

- ✓ reads the same at the other end: a test saw it, with some model that can at least
- ~ is told in other words: \"In other words\" says in which
- dropped: left out, and named in `x-hypergate-dropped`
- 400: refused before anybody is asked
- – no provider of this protocol says it: \"Never said\" says why

A request is sent both whole and streamed; its cell is ✓ where both arrive.
";
