//! What models can do, as far as it is known in advance. What is not known is never refused.
//!
//! `data/capabilities.txt` is made by `cargo xtask capabilities` and searched where it lies. It holds a line a model,
//! sorted: the provider, the model, and what is known of it.
//!
//! ```text
//! openai o3-mini ctjVr200000/100000@2026-10-23
//! ```
//!
//! First stands the kind of model (`c` chat, `r` chat by Responses only, `p` older completions, `e` embedding, `i` pictures, `s`
//! speech, `a` transcription, `k` reranker, `m` moderation, `l` realtime, `v` film). Then what it has, in small
//! letters, and what it is known not to have, in capitals: `t` tools, `j` a JSON schema for the answer; in the input `v`
//! pictures, `f` files, `a` sound, `m` film; in the output `s` sound, `p` pictures; `r` reasoning. Then the tokens that
//! fit into it, after `/` those it writes at most, and after `@` the day its provider switches it off.

use std::borrow::Cow;

use crate::{
    Error, Target,
    chat::{Part, Request, ResponseFormat},
    demo, price,
};

/// What is known of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    letters: Cow<'static, str>,
    /// How many tokens fit into it.
    pub context: Option<u64>,
    /// How many tokens it writes at most.
    pub max_output: Option<u64>,
    /// The day its provider switches it off, `2026-10-23`.
    pub retires: Option<&'static str>,
}

/// What is known of a provider's model; nothing of most.
pub fn find(provider: &str, model: &str) -> Facts {
    let model = model.to_ascii_lowercase();
    let model = match model.split_once('.') {
        Some((region, rest)) if provider == "bedrock" && REGIONS.contains(&region) => rest,
        _ => &model,
    };
    line(provider, model).map(Facts::read).unwrap_or_default()
}

/// The models of a provider of which something is known, sorted.
pub fn models(provider: &str) -> impl Iterator<Item = &'static str> {
    let lines = TABLE[lower_bound((provider, ""))..].lines().map(columns);
    lines.take_while(move |(found, ..)| *found == provider).map(|(_, model, _)| model)
}

/// What is certain of a target. Behind an address that is not the provider's may be any model.
fn certain(target: &Target<'_>) -> Facts {
    let row = target.provider;
    if domain(target.base_url) != domain(row.base_url) {
        return Facts::default();
    }
    find(row.name, target.model)
}

/// Refuses a model that is of another kind than what is asked of it. `operation` is OpenTelemetry's name.
pub fn check_kind(target: &Target<'_>, operation: &str) -> Result<(), Error> {
    let facts = certain(target);
    let name = target.provider.name;
    let (wanted, is_wrong) = match (operation, facts.letters.as_bytes().first()) {
        ("chat" | "text_completion", Some(b'e' | b'k' | b'm')) => ("a chat model", true),
        // Gemini makes and hears sound and pictures by the same route as text.
        ("chat" | "text_completion", Some(b'i' | b's' | b'a' | b'l' | b'v')) => {
            ("a chat model", name != "gemini")
        }
        ("embeddings", Some(b'c' | b'r' | b'p' | b'k' | b'm')) => ("an embedding model", true),
        _ => return Ok(()),
    };
    if !is_wrong {
        return Ok(());
    }
    let model = target.model;
    let message = format!(
        "`{name}/{model}` is {}, and this route needs {wanted}. Choose another model; GET /v1/models lists them.",
        facts.kind_in_words()
    );
    Err(Error::unsupported("model", message))
}

/// Whether the body may ask for what the target is known not to have. Looks at the bytes only, so that a body that is
/// passed on is built only in doubt.
pub fn is_doubtful(target: &Target<'_>, body: &[u8]) -> bool {
    let facts = certain(target);
    let words: Vec<&[u8]> = SIGNS
        .iter()
        .filter(|(letter, _)| facts.has(*letter) == Some(false))
        .flat_map(|(_, signs)| signs.iter().map(|sign| sign.as_bytes()))
        .collect();
    let is_asked = || {
        memchr::memchr_iter(b'"', body).any(|at| words.iter().any(|word| body[at + 1..].starts_with(word)))
    };
    facts.is_overfull(body.len() as u64) || !words.is_empty() && is_asked()
}

/// Whether the target is known to have no schemas for its answers, while a tool may stand in for one.
pub(crate) fn lacks_schema(target: &Target<'_>) -> bool {
    let facts = certain(target);
    facts.has(b'j') == Some(false) && facts.has(b't') != Some(false)
}

/// Refuses what the target is known not to have. In a translation a tool may stand in for a schema.
pub fn check(request: &Request, target: &Target<'_>, is_translated: bool) -> Result<(), Error> {
    let facts = certain(target);
    let (name, model) = (target.provider.name, target.model);
    let refuse = |param: String, what: &str, instead: &str| {
        let message = format!("`{name}/{model}` {what} (`{param}`). {instead}");
        Err(Error::unsupported(param, message))
    };
    let lacks = |letter| facts.has(letter) == Some(false);
    if lacks(b't') && !request.tools.is_empty() {
        return refuse(
            "tools".to_owned(),
            "cannot call tools",
            "Leave them out, or choose a model that has tools.",
        );
    }
    if lacks(b'j')
        && !(is_translated && lacks_schema(target))
        && matches!(request.response_format, ResponseFormat::JsonSchema { .. })
    {
        return refuse(
            "response_format".to_owned(),
            "cannot hold its answer to a JSON schema",
            "Ask for JSON in words, or choose a model that follows schemas.",
        );
    }
    for (at, message) in request.messages.iter().enumerate() {
        let param = || format!("messages[{at}]");
        if lacks(b'v') && holds(&message.parts, |part| matches!(part, Part::Image(_))) {
            return refuse(
                param(),
                "cannot see pictures",
                "Leave them out, or choose a model that takes images.",
            );
        }
        if lacks(b'f') && holds(&message.parts, |part| matches!(part, Part::File(_))) {
            return refuse(
                param(),
                "cannot read files",
                "Send their text, or choose a model that takes files.",
            );
        }
    }
    let bytes = request.messages.iter().flat_map(|message| &message.parts).map(text_bytes).sum();
    if let Some(context) = facts.context.filter(|_| facts.is_overfull(bytes)) {
        let what = format!("takes {context} tokens, and the messages are longer");
        return refuse(
            "messages".to_owned(),
            &what,
            "Shorten the conversation, or choose a model with a larger context.",
        );
    }
    Ok(())
}

/// The request with no more output asked for than the target gives, and what was changed. The answer means the same: it
/// could not have been longer.
pub fn bounded<'a>(request: &'a Request, target: &Target<'_>) -> (Cow<'a, Request>, Option<String>) {
    match (request.max_output_tokens, certain(target).max_output) {
        (Some(wanted), Some(most)) if wanted > most => {
            let bounded = Request { max_output_tokens: Some(most), ..request.clone() };
            (Cow::Owned(bounded), Some(format!("max_tokens: beyond {most}")))
        }
        _ => (Cow::Borrowed(request), None),
    }
}

impl Facts {
    fn read(word: &'static str) -> Self {
        let (facts, retires) = match word.split_once('@') {
            Some((facts, day)) => (facts, Some(day)),
            None => (word, None),
        };
        let digits = facts.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(facts.len());
        let (letters, tokens) = facts.split_at(digits);
        let (context, max_output) = tokens.split_once('/').unwrap_or((tokens, ""));
        Self {
            letters: letters.into(),
            context: context.parse().ok(),
            max_output: max_output.parse().ok(),
            retires,
        }
    }

    /// Whether the model has what the letter stands for, where that is known.
    pub fn has(&self, letter: u8) -> Option<bool> {
        let known = self.letters.bytes().skip(1);
        known.filter(|known| known.eq_ignore_ascii_case(&letter)).map(|known| known == letter).next()
    }

    /// What kind of model it is, in the words of LiteLLM's table; `None` where it is not known.
    pub fn kind(&self) -> Option<&'static str> {
        Some(match self.letters.as_bytes().first()? {
            b'a' => "audio_transcription",
            b'e' => "embedding",
            b'i' => "image_generation",
            b'k' => "rerank",
            b'l' => "realtime",
            b'm' => "moderation",
            b'p' => "completion",
            b's' => "audio_speech",
            b'v' => "video_generation",
            b'c' | b'r' => "chat",
            _ => return None,
        })
    }

    /// Whether it may be asked to chat, for all that is known.
    pub fn chats(&self) -> bool {
        matches!(self.kind(), None | Some("chat"))
    }

    /// What can be said of a name for either.
    pub fn common(self, other: &Self) -> Self {
        let mut letters = self.letters.chars();
        let kind = letters.next().filter(|_| self.kind() == other.kind()).unwrap_or(' ');
        let both = letters.filter(|letter| other.letters.chars().skip(1).any(|known| known == *letter));
        Self {
            letters: std::iter::once(kind).chain(both).collect(),
            context: self.context.zip(other.context).map(|(one, two)| one.min(two)),
            max_output: self.max_output.zip(other.max_output).map(|(one, two)| one.min(two)),
            retires: self.retires.filter(|_| self.retires == other.retires),
        }
    }

    fn kind_in_words(&self) -> &'static str {
        match self.kind() {
            Some("audio_speech") => "a model that speaks",
            Some("audio_transcription") => "a model that transcribes",
            Some("completion") => "a model of older completions",
            Some("embedding") => "an embedding model",
            Some("image_generation") => "a model that makes pictures",
            Some("moderation") => "a moderation model",
            Some("realtime") => "a model for live conversation",
            Some("rerank") => "a reranker",
            Some("video_generation") => "a model that makes films",
            _ => "a chat model",
        }
    }

    /// The day the model is switched off, from 90 days before it on.
    pub fn retires_soon(&self, now_ms: i64) -> Option<&'static str> {
        let day = self.retires?;
        let left = price::days_since_1970(day.as_bytes()) - now_ms.div_euclid(DAY_MS);
        (left <= NOTICE_DAYS).then_some(day)
    }

    /// Whether so much text cannot fit, whatever the tokenizer.
    fn is_overfull(&self, bytes: u64) -> bool {
        self.context.is_some_and(|context| bytes > context.saturating_mul(LONGEST_TOKEN_BYTES))
    }
}

/// Whether one of the parts, or of the results among them, is like this.
fn holds(parts: &[Part], is_like: impl Fn(&Part) -> bool + Copy) -> bool {
    parts.iter().any(|part| match part {
        Part::ToolResult(result) => result.parts.iter().any(is_like),
        part => is_like(part),
    })
}

/// How much of a part is certain to become tokens. White space and repetitions may be many in one token.
fn text_bytes(part: &Part) -> u64 {
    match part {
        Part::Text(text) => {
            let mut last = 0;
            let counts =
                |byte: &u8| *byte != std::mem::replace(&mut last, *byte) && !byte.is_ascii_whitespace();
            text.as_bytes().iter().copied().filter(counts).count() as u64
        }
        Part::ToolResult(result) => result.parts.iter().map(text_bytes).sum(),
        _ => 0,
    }
}

/// `openai.com` of `https://eu.api.openai.com/v1`.
fn domain(url: &str) -> &str {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    let start = host.rmatch_indices('.').nth(1).map_or(0, |(dot, _)| dot + 1);
    &host[start..]
}

fn line(provider: &str, model: &str) -> Option<&'static str> {
    if provider == "demo" {
        return demo::MODELS.contains(&model).then_some(demo::FACTS);
    }
    let (found, id, facts) = columns(TABLE[lower_bound((provider, model))..].lines().next()?);
    ((found, id) == (provider, model)).then_some(facts)
}

/// Where the first line begins that is not below what is looked for.
fn lower_bound(wanted: (&str, &str)) -> usize {
    let (mut low, mut high) = (0, TABLE.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = memchr::memrchr(b'\n', &TABLE.as_bytes()[low..middle]).map_or(low, |at| low + at + 1);
        let Some(line) = TABLE[start..].lines().next() else { break };
        let (provider, model, _) = columns(line);
        if (provider, model) < wanted {
            low = start + line.len() + 1;
        } else {
            high = start;
        }
    }
    low
}

fn columns(line: &'static str) -> (&'static str, &'static str, &'static str) {
    let (provider, rest) = line.split_once(' ').unwrap_or_default();
    let (model, facts) = rest.split_once(' ').unwrap_or_default();
    (provider, model, facts)
}

static TABLE: &str = include_str!("../data/capabilities.txt");

/// What in a body hints at a wish for something, behind a quotation mark, in any protocol.
const SIGNS: &[(u8, &[&str])] = &[
    (b't', &["tool"]),
    (b'j', &["json_schema", "response"]),
    (b'v', &["image", "input_image", "inline", "fileData", "file_data"]),
    (b'f', &["file", "input_file", "document", "inline"]),
];

/// What Bedrock's cross-region profiles begin with; the model is the same.
const REGIONS: &[&str] = &["apac", "au", "ca", "eu", "global", "in", "jp", "us", "us-gov"];

/// Longer than any token of the tokenizers that are published, white space and repetitions apart.
const LONGEST_TOKEN_BYTES: u64 = 64;

/// How long before a model's end its callers are told.
const NOTICE_DAYS: i64 = 90;

const DAY_MS: i64 = 86_400_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        dialect::chat_completions::ChatCompletions,
        front::Front,
        operation::{Chat, Operation},
        provider,
    };

    fn target(name: &'static str) -> Target<'static> {
        let (provider, model) = provider::split(name).expect("a known provider");
        Target { provider, model, base_url: provider.base_url, credential: None }
    }

    fn request(body: &str) -> Request {
        let peek = ChatCompletions.peek("", body.as_bytes()).expect("a readable request");
        ChatCompletions.parse(&peek, body.as_bytes()).expect("a readable request")
    }

    fn body(fields: serde_json::Value) -> String {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] });
        body.as_object_mut().expect("an object").extend(fields.as_object().cloned().unwrap_or_default());
        body.to_string()
    }

    /// The field a refusal blames; empty where nothing is refused. Its sentence names the field and the model.
    fn refusal(name: &'static str, body: &str) -> String {
        match check(&request(body), &target(name), false) {
            Ok(()) => String::new(),
            Err(Error::Unsupported { message, param }) => {
                assert!(message.contains(name) && message.contains(&format!("`{param}`")), "{message}");
                assert!(message.contains(" or choose a model "), "{message}");
                assert!(is_doubtful(&target(name), body.as_bytes()), "{name} would be passed on: {body}");
                param
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_a_model_is_known_not_to_have_is_refused_and_nothing_else() {
        let tools = body(json!({ "tools": [{ "type": "function", "function": { "name": "f" } }] }));
        let schema = json!({ "type": "json_schema", "json_schema": { "name": "s", "schema": {} } });
        let schema = body(json!({ "response_format": schema }));
        let image = json!({ "type": "image_url", "image_url": { "url": "https://example.com/a.png" } });
        let image = body(json!({ "messages": [{ "role": "user", "content": [image] }] }));
        let plain = body(json!({}));
        let words = "word and ".repeat(2_000_000 / 9);
        let long = body(json!({ "messages": [{ "role": "user", "content": words }] }));
        let blank = body(json!({ "messages": [{ "role": "user", "content": " ".repeat(2_000_000) }] }));
        for (name, body, blamed) in [
            ("openai/gpt-5-mini", &tools, ""),
            ("deepseek/deepseek-reasoner", &tools, "tools"),
            ("openai/o3-deep-research", &tools, "tools"),
            ("openai/a-model-of-tomorrow", &tools, ""),
            ("openai/gpt-5-mini", &schema, ""),
            ("openai/gpt-5.4-pro", &schema, "response_format"),
            ("openai/gpt-4o", &image, ""),
            ("openai/o3-mini", &image, "messages[0]"),
            // Not said of it either way.
            ("openai/gpt-3.5-turbo", &image, ""),
            ("openai/gpt-3.5-turbo", &plain, ""),
            ("openai/gpt-3.5-turbo", &long, "messages"),
            ("openai/gpt-3.5-turbo", &blank, ""),
            ("openai/gpt-4o", &long, ""),
        ] {
            assert_eq!(refusal(name, body), blamed, "{name}");
        }
    }

    #[test]
    fn in_a_translation_a_tool_stands_in_for_a_schema_where_there_are_tools() {
        let schema = json!({ "type": "json_schema", "json_schema": { "name": "s", "schema": {} } });
        let request = request(&body(json!({ "response_format": schema })));
        for (name, is_emulated) in [("openai/gpt-5.4-pro", true), ("openai/o3-deep-research", false)] {
            let target = target(name);
            assert_eq!(
                (lacks_schema(&target), check(&request, &target, true).is_ok()),
                (is_emulated, is_emulated)
            );
        }
        assert!(!lacks_schema(&target("openai/gpt-4o")));
    }

    #[test]
    fn only_models_with_a_known_lack_are_looked_at_before_they_are_passed_on() {
        let tools = body(json!({ "tools": [] }));
        assert!(!is_doubtful(&target("openai/gpt-5-mini"), tools.as_bytes()));
        assert!(is_doubtful(&target("openai/o3-deep-research"), tools.as_bytes()));
        assert!(!is_doubtful(&target("openai/o3-deep-research"), body(json!({})).as_bytes()));
    }

    #[test]
    fn behind_another_address_may_be_any_model() {
        let tools = body(json!({ "tools": [{ "type": "function", "function": { "name": "f" } }] }));
        for (base_url, is_refused) in [
            ("https://api.openai.com/v1", true),
            ("https://eu.api.openai.com/v1", true),
            ("http://localhost:8000/v1", false),
            ("https://openai.com.example.net/v1", false),
        ] {
            let target = Target { base_url, ..target("openai/o3-deep-research") };
            assert_eq!(check(&request(&tools), &target, true).is_err(), is_refused, "{base_url}");
        }
    }

    #[test]
    fn a_model_of_another_kind_is_refused() {
        for (name, operation, is_refused) in [
            ("openai/text-embedding-3-small", "chat", true),
            ("openai/text-embedding-3-small", "embeddings", false),
            ("openai/gpt-4o", "embeddings", true),
            ("openai/gpt-4o", "chat", false),
            ("openai/gpt-image-1", "chat", true),
            // Pictures come by Gemini's chat.
            ("gemini/gemini-2.5-flash-image", "chat", false),
            ("gemini/gemini-embedding-001", "chat", true),
            ("openai/gpt-3.5-turbo-instruct", "text_completion", false),
            ("openai/whatever", "embeddings", false),
        ] {
            let refused = check_kind(&target(name), operation);
            assert_eq!(refused.is_err(), is_refused, "{name} for {operation}");
            if let Err(error) = refused {
                let message = error.to_string();
                assert!(message.contains(name) && message.contains("Choose another model"), "{message}");
            }
        }
        assert_eq!(Chat(&ChatCompletions).name(), "chat");
    }

    #[test]
    fn no_more_output_is_asked_for_than_the_model_gives() {
        let wish = |tokens: u64| request(&body(json!({ "max_completion_tokens": tokens })));
        for (name, wanted, sent, said) in [
            ("openai/gpt-4o", 16_384, 16_384, None),
            ("openai/gpt-4o", 64_000, 16_384, Some("max_tokens: beyond 16384")),
            ("openai/a-model-of-tomorrow", 64_000, 64_000, None),
        ] {
            let request = wish(wanted);
            let (bounded, changed) = bounded(&request, &target(name));
            assert_eq!((bounded.max_output_tokens, changed.as_deref()), (Some(sent), said), "{name}");
        }
    }

    #[test]
    fn callers_are_told_of_an_end_from_ninety_days_before_it() {
        // 2026-10-23 is day 20,749.
        for (day, told) in [(20_658, None), (20_659, Some("2026-10-23")), (20_800, Some("2026-10-23"))] {
            assert_eq!(find("openai", "o3-mini").retires_soon(day * DAY_MS), told, "{day}");
        }
        assert_eq!(find("openai", "gpt-4o").retires_soon(i64::MAX), None);
    }

    #[test]
    fn well_known_models_are_known_as_their_makers_describe_them() {
        for (provider, model, kind, has, context, output) in [
            ("openai", "gpt-4o", "chat", "tjvf", 128_000, Some(16_384)),
            ("openai", "gpt-5-mini", "chat", "tjvfAMSPr", 272_000, Some(128_000)),
            ("openai", "O3-Mini", "chat", "tjVr", 200_000, Some(100_000)),
            ("openai", "text-embedding-3-small", "embedding", "", 8_191, None),
            ("anthropic", "claude-haiku-4-5", "chat", "tjvfr", 200_000, Some(64_000)),
            (
                "bedrock",
                "eu.anthropic.claude-haiku-4-5-20251001-v1:0",
                "chat",
                "tjvfr",
                200_000,
                Some(64_000),
            ),
            ("bedrock", "in.moonshotai.kimi-k3", "chat", "tjvAr", 1_000_000, Some(131_072)),
            ("gemini", "gemini-2.5-flash", "chat", "tjvfamSPr", 1_048_576, Some(65_536)),
            ("gemini", "gemini-embedding-001", "embedding", "", 2_048, None),
        ] {
            let facts = find(provider, model);
            assert_eq!(facts.kind(), Some(kind), "{model}");
            assert_eq!(facts.letters.get(1..), Some(has), "{model}");
            assert_eq!((facts.context, facts.max_output), (Some(context), output), "{model}");
        }
    }

    #[test]
    fn of_an_alias_is_said_what_all_its_targets_share() {
        let both = find("openai", "gpt-4o").common(&find("openai", "o3-mini"));
        assert_eq!(
            (both.kind(), both.has(b't'), both.has(b'v'), both.has(b'r')),
            (Some("chat"), Some(true), None, None)
        );
        assert_eq!((both.context, both.max_output, both.retires), (Some(128_000), Some(16_384), None));
        let neither = find("openai", "gpt-4o").common(&find("openai", "text-embedding-3-small"));
        assert_eq!((neither.kind(), neither.has(b't')), (None, None));
    }

    #[test]
    fn every_line_is_found_by_its_name_and_says_something() {
        let mut last = ("", "");
        for (provider, model, facts) in TABLE.lines().map(columns) {
            assert!(last < (provider, model), "{provider} {model} is out of order");
            assert_eq!(line(provider, model), Some(facts));
            assert!(provider::find(provider).is_some() || provider == "voyage", "{provider}");
            last = (provider, model);
        }
        for (provider, model) in [("openai", ""), ("", ""), ("zz", "zz"), ("openai", "gpt")] {
            assert_eq!(line(provider, model), None, "{provider}/{model}");
        }
        assert_eq!(models("groq").count(), TABLE.lines().filter(|line| line.starts_with("groq ")).count());
    }
}
