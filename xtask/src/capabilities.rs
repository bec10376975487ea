//! Makes the table of what models can do, from LiteLLM's; see `llm::capability` for its notation. What a model is not
//! listed for is unknown, not impossible: only what the source denies is denied. The same input gives the same file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fmt, fs};

use serde_json::Value;

use crate::{
    Outcome, args,
    families::{self, Family, REGIONS},
};

/// Writes `capabilities.txt`, and prints what is in it.
pub(crate) fn run(words: &[String]) -> Outcome {
    let mut args = args::Args::new(words);
    let path = args.value("--litellm")?.ok_or("--litellm FILE is needed: LiteLLM's table.")?;
    if let Some(word) = args.rest()?.first() {
        return Err(format!("`{word}` is not understood; `cargo xtask capabilities --help` tells what is."));
    }
    let source = fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    let source: Value = serde_json::from_slice(&source).map_err(|error| format!("{path}: {error}"))?;
    let table = table(&source)?;
    let text: String =
        table.iter().map(|((provider, id), facts)| format!("{provider} {id} {facts}\n")).collect();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("shared/llm/data/capabilities.txt");
    fs::write(&target, &text).map_err(|error| format!("{}: {error}", target.display()))?;
    let providers: BTreeSet<&String> = table.keys().map(|(provider, _)| provider).collect();
    println!("{} models of {} providers, {} bytes", table.len(), providers.len(), text.len());
    Ok(())
}

/// Facts by provider and id. Where two entries are one model to us, what they differ in is not known.
fn table(source: &Value) -> Outcome<BTreeMap<(String, String), Facts>> {
    let entries = source.as_object().ok_or("the LiteLLM file is not an object")?;
    let mut all: BTreeMap<(String, String), Facts> = BTreeMap::new();
    for (key, entry) in entries {
        let row = families::find(key, entry).filter(|row| !UNLISTED.contains(&row.provider));
        let Some(Family { prefix, provider, .. }) = row else { continue };
        let id = key[prefix.len()..].to_lowercase();
        // What is before the slash is a region or a size of pictures; and names have no spaces.
        if id.contains(' ') || id.contains('/') && matches!(*provider, "bedrock" | "openai") {
            continue;
        }
        let id = match id.split_once('.') {
            Some((region, rest)) if *provider == "bedrock" && REGIONS.contains(&region) => rest.to_owned(),
            _ => id,
        };
        if let Some(mut facts) = Facts::of(entry) {
            // These make their pictures and speech by the route that chats.
            if *provider == "gemini" && id.starts_with("gemini-") && matches!(facts.kind, 'i' | 's') {
                facts.kind = 'c';
            }
            let agreed = all.entry(((*provider).to_owned(), id)).or_insert_with(|| facts.clone());
            agreed.keep(&facts);
        }
    }
    Ok(all)
}

/// What is known of a model.
#[derive(Clone)]
struct Facts {
    kind: char,
    letters: Vec<char>,
    context: Option<u64>,
    output: Option<u64>,
    retires: Option<String>,
}

impl Facts {
    /// Nothing where it is not known what kind of model it is.
    fn of(entry: &Value) -> Option<Self> {
        let mode = entry["mode"].as_str()?;
        let kind = MODES.iter().find(|(name, _)| *name == mode)?.1;
        let letters = FEATURES.iter().filter_map(|(letter, flag, modality)| {
            // A list of modalities is whole: what is not in it cannot be.
            let listed = modality.and_then(|(list, modality)| {
                let list = entry[list].as_array()?;
                Some(list.iter().any(|known| *known == modality))
            });
            let has = entry[flag].as_bool().or(listed)?;
            Some(if has { *letter } else { letter.to_ascii_uppercase() })
        });
        let tokens = |name: &str| entry[name].as_u64().filter(|tokens| *tokens > 0);
        Some(Self {
            kind,
            letters: letters.collect(),
            context: tokens("max_input_tokens"),
            // Only models that write have an output to bound.
            output: tokens("max_output_tokens").filter(|_| matches!(kind, 'c' | 'r')),
            retires: entry["deprecation_date"].as_str().filter(|date| is_date(date)).map(str::to_owned),
        })
    }

    /// Forgets what the other does not say as well.
    fn keep(&mut self, other: &Self) {
        self.letters.retain(|letter| other.letters.contains(letter));
        self.context = self.context.filter(|_| self.context == other.context);
        self.output = self.output.filter(|_| self.output == other.output);
        self.retires.take_if(|day| other.retires.as_ref() != Some(day));
    }
}

impl fmt::Display for Facts {
    /// `ctjv128000/16384@2026-10-23`
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}{}", self.kind, self.letters.iter().collect::<String>())?;
        if let Some(context) = self.context {
            write!(to, "{context}")?;
        }
        if let Some(output) = self.output {
            write!(to, "/{output}")?;
        }
        match &self.retires {
            Some(day) => write!(to, "@{day}"),
            None => Ok(()),
        }
    }
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes
            .iter()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { *byte == b'-' } else { byte.is_ascii_digit() })
}

const MODES: &[(&str, char)] = &[
    ("audio_speech", 's'),
    ("audio_transcription", 'a'),
    ("chat", 'c'),
    ("completion", 'p'),
    ("embedding", 'e'),
    ("image_edit", 'i'),
    ("image_generation", 'i'),
    ("moderation", 'm'),
    ("realtime", 'l'),
    ("rerank", 'k'),
    ("responses", 'r'),
    ("video_generation", 'v'),
];

type Modality = Option<(&'static str, &'static str)>;

/// The letter, LiteLLM's flag, and where it is listed among modalities.
const FEATURES: &[(char, &str, Modality)] = &[
    ('t', "supports_function_calling", None),
    ('j', "supports_response_schema", None),
    ('v', "supports_vision", Some(("supported_modalities", "image"))),
    ('f', "supports_pdf_input", None),
    ('a', "supports_audio_input", Some(("supported_modalities", "audio"))),
    ('m', "supports_video_input", Some(("supported_modalities", "video"))),
    ('s', "supports_audio_output", Some(("supported_output_modalities", "audio"))),
    ('p', "supports_image_output", Some(("supported_output_modalities", "image"))),
    ('r', "supports_reasoning", None),
];

/// Whose models are not listed: a deployment on Azure may be called anything, and the same name may be less elsewhere.
const UNLISTED: &[&str] = &["azure", "bedrock-mantle", "vertex"];
