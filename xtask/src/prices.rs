//! Makes the price table of `llm` from two published ones: genai-prices, whose prices are dated and tiered and whose
//! rules say which ids a model answers to, and LiteLLM's, for the models the first does not know.
//!
//! `cargo xtask prices --genai FILE --litellm FILE [--date YYYY-MM-DD]`. The same input gives the same files, and a
//! table that did not change keeps its date. After a run, bring the versions and hashes in `data/NOTICE.md` up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Writes `ids.txt`, `patterns.txt` and `version.txt`, and prints what is in them and what was left out.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let option = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let (Some(genai), Some(litellm)) = (option("--genai"), option("--litellm")) else {
        return Err("usage: cargo xtask prices --genai FILE --litellm FILE [--date YYYY-MM-DD]".to_owned());
    };

    let mut table = Table::default();
    table.add_genai(&read_json(genai)?)?;
    table.add_litellm(&read_json(litellm)?)?;
    let (ids, patterns) = (table.ids(), table.patterns());

    let directory = data_directory();
    let unchanged = |name: &str, text: &str| {
        fs::read_to_string(directory.join(name)).is_ok_and(|committed| committed == text)
    };
    if unchanged("ids.txt", &ids) && unchanged("patterns.txt", &patterns) {
        println!("the table did not change");
    } else {
        write(&directory.join("ids.txt"), &ids)?;
        write(&directory.join("patterns.txt"), &patterns)?;
        let version = option("--date").cloned().unwrap_or_else(today);
        write(&directory.join("version.txt"), &format!("{version}\n"))?;
    }
    table.report();
    Ok(())
}

/// The table while it is made: by provider, in the order its rules are tried.
#[derive(Default)]
struct Table {
    providers: BTreeMap<String, Vec<Model>>,
    /// Where to look next for a model that a provider does not list itself.
    fallbacks: BTreeMap<String, Vec<String>>,
    /// Models only LiteLLM knows: provider and id, then the prices.
    extras: BTreeMap<(String, String), String>,
    /// Ids that patterns would find too, listed because a whole name is found faster: provider and id.
    known: BTreeSet<(String, String)>,
    left_out: Vec<String>,
}

/// One model: what it answers to, and its prices as they are written in the table.
#[derive(Default)]
struct Model {
    globs: Vec<String>,
    /// What it does not answer to, though one of `globs` fits.
    exceptions: Vec<String>,
    /// Empty for a model that is known to be unpriced: it ends the search.
    prices: String,
}

impl Table {
    fn add_genai(&mut self, providers: &Value) -> Result<(), String> {
        for provider in list(providers)? {
            let source_name = text(provider, "id")?;
            if SKIPPED_PROVIDERS.contains(&source_name) {
                continue;
            }
            let name = our_name(source_name);
            if let Some(fallbacks) = provider.get("fallback_model_providers") {
                let fallbacks = list(fallbacks)?.iter().filter_map(Value::as_str).map(our_name);
                self.fallbacks.insert(name.to_owned(), fallbacks.map(str::to_owned).collect());
            }
            let mut models = Vec::new();
            for model in list(&provider["models"])? {
                let id = text(model, "id")?;
                let prices =
                    genai_prices(id, &model["prices"]).map_err(|error| format!("{name} {id}: {error}"))?;
                if prices.is_empty() {
                    self.left_out.push(format!("{name} {id}"));
                }
                let mut entry = Model { prices, ..Model::default() };
                entry.add_rule(&model["match"]).map_err(|error| format!("{name} {id}: {error}"))?;
                self.known.extend(
                    entry
                        .globs
                        .iter()
                        .filter(|glob| !is_pattern(glob))
                        .map(|id| (name.to_owned(), id.clone())),
                );
                self.known.insert((name.to_owned(), id.to_lowercase()));
                models.push(entry);
            }
            self.providers.insert(name.to_owned(), models);
        }
        Ok(())
    }

    fn add_litellm(&mut self, entries: &Value) -> Result<(), String> {
        let entries = entries.as_object().ok_or("the LiteLLM file is not an object")?;
        let keys: BTreeSet<&String> = entries.keys().collect();
        for row in LITELLM_FAMILIES {
            let &(_, prefix, provider) = row;
            for &key in &keys {
                let entry = &entries[key];
                let fits = |(family, prefix, _): &&(&str, &str, _)| {
                    entry["litellm_provider"] == *family && key.starts_with(prefix)
                };
                if LITELLM_FAMILIES.iter().find(fits) != Some(row) || !is_token_priced(entry) {
                    continue;
                }
                let id = &key[prefix.len()..];
                // `us/gpt-4o` and `us-east-1/…` are LiteLLM's own way to say a region.
                if id.contains('/') && matches!(provider, "azure" | "bedrock") {
                    continue;
                }
                let id = id.to_lowercase();
                if self.resolve(provider, &id).is_some() {
                    self.known.insert((provider.to_owned(), id));
                    continue;
                }
                let prices = litellm_prices(entry);
                self.extras.entry((provider.to_owned(), id)).or_insert(prices);
            }
        }
        // A fine-tuned model is named after its base, with the owner's name behind it.
        let tuned: Vec<_> = self.extras.iter().filter(|((_, id), _)| id.starts_with("ft:")).collect();
        let tuned: Vec<_> = tuned
            .into_iter()
            .rev()
            .map(|((provider, id), prices)| (provider.clone(), format!("{id}:*"), prices.clone()))
            .collect();
        for (provider, glob, prices) in tuned {
            self.providers.entry(provider).or_default().push(Model {
                globs: vec![glob],
                prices,
                ..Model::default()
            });
        }
        Ok(())
    }

    /// The prices genai-prices finds for an id, by its own order of search.
    fn resolve(&self, provider: &str, id: &str) -> Option<&str> {
        let own = |provider: &str| {
            let models = self.providers.get(provider)?;
            models.iter().find(|model| fits(&model.globs, id) && !fits(&model.exceptions, id))
        };
        let fallbacks = self.fallbacks.get(provider).into_iter().flatten();
        own(provider)
            .or_else(|| fallbacks.into_iter().find_map(|provider| own(provider)))
            .map(|model| model.prices.as_str())
    }

    /// Every id that is known by its whole name, sorted by provider and id.
    fn ids(&self) -> String {
        let mut lines = BTreeMap::new();
        for (provider, id) in &self.known {
            let prices = self.resolve(provider, id).unwrap_or_default();
            // A model without a price needs a line only where a pattern or a fallback would find one.
            let mut rules = self.providers[provider].iter().flat_map(Model::rules);
            let is_shadow = rules.any(|(globs, _)| fits(&globs, id)) || self.fallbacks.contains_key(provider);
            if !prices.is_empty() || is_shadow {
                lines.insert((provider.clone(), id.clone()), prices.to_owned());
            }
        }
        lines.extend(self.extras.clone());
        lines.iter().map(|((provider, id), prices)| line(provider, id, prices)).collect()
    }

    /// The rules that name more than one id, by provider and in the order they are tried.
    fn patterns(&self) -> String {
        let mut lines: Vec<(&str, String)> = Vec::new();
        for (provider, models) in &self.providers {
            for (globs, prices) in models.iter().flat_map(Model::rules) {
                lines.push((provider, line(provider, &globs.join("|"), prices)));
            }
            for fallback in self.fallbacks.get(provider).into_iter().flatten() {
                lines.push((provider, line(provider, "*", &format!("={fallback}"))));
            }
        }
        for (alias, provider) in ALIASES {
            lines.push((alias, line(alias, "*", &format!("={provider}"))));
        }
        // Stable: within a provider the order is the meaning.
        lines.sort_by_key(|(provider, _)| *provider);
        lines.into_iter().map(|(_, line)| line).collect()
    }

    fn report(&self) {
        let names: BTreeSet<&String> =
            self.providers.keys().chain(self.extras.keys().map(|(provider, _)| provider)).collect();
        let (mut all, mut all_extra) = (0, 0);
        for name in names {
            let models = self.providers.get(name).into_iter().flatten();
            let priced = models.filter(|model| !model.prices.is_empty()).count();
            let extra = self.extras.keys().filter(|(provider, _)| provider == name).count();
            println!("{name:24} {priced:5} + {extra}");
            all += priced;
            all_extra += extra;
        }
        println!("{:24} {all:5} + {all_extra}", "in all");
        println!("without a price per token: {}", self.left_out.join(", "));
    }
}

/// A model's prices in the table's notation; the segments keep their order, the last that applies holds.
fn genai_prices(id: &str, prices: &Value) -> Result<String, String> {
    let Value::Array(segments) = prices else { return segment(id, prices) };
    let mut written = Vec::new();
    for part in segments {
        let rates = segment(id, &part["prices"])?;
        let constraint = &part["constraint"];
        written.push(match constraint["type"].as_str() {
            None => rates,
            Some("start_date") => format!("@{} {rates}", text(constraint, "start_date")?),
            Some("time_of_date") => format!(
                "~{}-{} {rates}",
                clock(text(constraint, "start_time")?)?,
                clock(text(constraint, "end_time")?)?
            ),
            Some(other) => return Err(format!("unknown constraint {other}")),
        });
    }
    if written.iter().all(|segment| !segment.bytes().any(|byte| byte.is_ascii_lowercase())) {
        return Ok(String::new());
    }
    Ok(written.join(";"))
}

fn segment(id: &str, prices: &Value) -> Result<String, String> {
    let prices = prices.as_object().ok_or("prices are not an object")?;
    if prices.is_empty() && id.ends_with(":free") {
        return Ok("i0 o0".to_owned());
    }
    let mut rates = Rates::default();
    for (name, price) in prices {
        if UNCOUNTED.contains(&name.as_str()) {
            continue;
        }
        // Pictures and films are counted as output tokens, at ten times their price: a sum that cannot tell them
        // apart would be far too low.
        if PICTURES.contains(&name.as_str()) {
            return Ok(String::new());
        }
        let Some(&(_, letter, scale)) = GENAI_RATES.iter().find(|(known, ..)| known == name) else {
            return Err(format!("unknown price {name}"));
        };
        match price {
            Value::Number(_) => rates.set(letter, micro(price, scale), None)?,
            tiered => {
                let [tier] = list(&tiered["tiers"])?.as_slice() else {
                    return Err(format!("{name} has not one tier"));
                };
                let start = tier["start"].as_u64().ok_or("a tier without a start")?;
                rates.set(
                    letter,
                    micro(&tiered["base"], scale),
                    Some((start, micro(&tier["price"], scale))),
                )?;
            }
        }
    }
    Ok(rates.written())
}

fn litellm_prices(entry: &Value) -> String {
    let mut rates = Rates::default();
    for &(name, letter) in LITELLM_RATES {
        // LiteLLM writes zero for what it does not know.
        let Some(base) = entry.get(name).filter(|price| price.as_f64().is_some_and(|price| price > 0.0))
        else {
            continue;
        };
        let long = LITELLM_TIERS.iter().find_map(|thousands| {
            let price = entry.get(format!("{name}_above_{thousands}k_tokens"))?;
            Some((thousands * 1000, micro(price, PER_TOKEN)))
        });
        rates.set(letter, micro(base, PER_TOKEN), long).expect("no LiteLLM model has two tiers");
    }
    // Reasoning at the price of output is what no price of its own says, too, and that follows the tiers.
    let base = |letter| rates.rates.iter().find(|(known, ..)| *known == letter).map(|(_, base, _)| *base);
    if base('t') == base('o') {
        rates.rates.retain(|(letter, ..)| *letter != 't');
    }
    rates.written()
}

fn is_token_priced(entry: &Value) -> bool {
    let is_set = |name: &str| entry[name].as_f64().is_some_and(|price| price > 0.0);
    let counts_tokens =
        ["chat", "completion", "responses", "embedding"].map(Value::from).contains(&entry["mode"]);
    counts_tokens
        && (is_set("input_cost_per_token") || is_set("output_cost_per_token"))
        && !["output_cost_per_image_token", "output_cost_per_video_token", "tiered_pricing"]
            .iter()
            .any(|name| entry.get(name).is_some())
}

/// The rates of one segment, in micro-USD, and those beyond a number of input tokens.
#[derive(Default)]
struct Rates {
    rates: Vec<(char, u64, Option<u64>)>,
    start: Option<u64>,
}

impl Rates {
    fn set(&mut self, letter: char, base: u64, long: Option<(u64, u64)>) -> Result<(), String> {
        if let Some((start, _)) = long {
            if self.start.is_some_and(|known| known != start) {
                return Err("two tiers start at different places".to_owned());
            }
            self.start = Some(start);
        }
        self.rates.push((letter, base, long.map(|(_, price)| price)));
        Ok(())
    }

    /// `i3/6 o15/22.5 r0.3/0.6 >200000`: USD per million tokens, before and beyond the tier.
    fn written(mut self) -> String {
        if !self.rates.iter().any(|(letter, ..)| "ioab".contains(*letter)) {
            return String::new();
        }
        self.rates.sort_by_key(|(letter, ..)| ORDER.find(*letter));
        let mut words: Vec<String> = self
            .rates
            .into_iter()
            .map(|(letter, base, long)| match long {
                Some(long) if long != base => format!("{letter}{}/{}", usd(base), usd(long)),
                _ => format!("{letter}{}", usd(base)),
            })
            .collect();
        if words.iter().any(|word| word.contains('/')) {
            words.extend(self.start.map(|start| format!(">{start}")));
        }
        words.join(" ")
    }
}

impl Model {
    /// Rewrites a rule as globs: `*` is any run of characters, `#` is a digit.
    fn add_rule(&mut self, rule: &Value) -> Result<(), String> {
        let (kind, operand) = rule.as_object().and_then(|rule| rule.iter().next()).ok_or("an empty rule")?;
        let cannot = || format!("a rule this program cannot rewrite: {rule}");
        let glob = match (kind.as_str(), operand) {
            ("or", Value::Array(rules)) => return rules.iter().try_for_each(|rule| self.add_rule(rule)),
            ("and", Value::Array(rules)) => {
                let [first, second] = rules.as_slice() else { return Err(cannot()) };
                if second["regex"] != NOT_SPEECH {
                    return Err(cannot());
                }
                let prefix = text(first, "starts_with")?;
                self.exceptions.extend([format!("{prefix}*-tts"), format!("{prefix}*-tts-*")]);
                format!("{prefix}*")
            }
            ("regex", Value::String(regex)) => glob_of_regex(regex).ok_or_else(cannot)?,
            (kind, Value::String(id)) => {
                let id = id.to_lowercase();
                if id.contains(['*', '#', '|', ' ', ';']) || !id.is_ascii() {
                    return Err(cannot());
                }
                match kind {
                    "equals" => id,
                    "starts_with" => format!("{id}*"),
                    "ends_with" => format!("*{id}"),
                    "contains" => format!("*{id}*"),
                    _ => return Err(cannot()),
                }
            }
            _ => return Err(cannot()),
        };
        // Two that differ in case only are one here.
        if !self.globs.contains(&glob) {
            self.globs.push(glob);
        }
        Ok(())
    }

    /// Its lines among the patterns. Exceptions come first, as a model without a price.
    fn rules(&self) -> impl Iterator<Item = (Vec<String>, &str)> {
        let patterns: Vec<_> = self.globs.iter().filter(|glob| is_pattern(glob)).cloned().collect();
        [(self.exceptions.clone(), ""), (patterns, self.prices.as_str())]
            .into_iter()
            .filter(|(globs, _)| !globs.is_empty())
    }
}

/// `^gpt-6-sol-\d{4}-\d{2}$` is `gpt-6-sol-####-##`. Only literals and digits can be rewritten.
fn glob_of_regex(regex: &str) -> Option<String> {
    let mut rest = regex.strip_prefix('^')?;
    let mut glob = String::new();
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '$' if rest.is_empty() => return Some(glob),
            '\\' => {
                let escaped = rest.chars().next()?;
                rest = &rest[escaped.len_utf8()..];
                if escaped != 'd' {
                    glob.push(escaped);
                } else if let Some((count, after)) =
                    rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
                {
                    glob.push_str(&"#".repeat(count.parse().ok()?));
                    rest = after;
                } else {
                    glob.push('#');
                }
            }
            'a'..='z' | '0'..='9' | '-' | '/' | '=' | ':' => glob.push(next),
            _ => return None,
        }
    }
    Some(glob + "*")
}

fn is_pattern(glob: &str) -> bool {
    glob.contains(['*', '#'])
}

fn fits(globs: &[String], id: &str) -> bool {
    globs.iter().any(|glob| matches(glob.as_bytes(), id.as_bytes()))
}

/// As `llm::price` matches them.
fn matches(glob: &[u8], id: &[u8]) -> bool {
    match glob.split_first() {
        None => id.is_empty(),
        Some((b'*', rest)) => rest.is_empty() || (0..=id.len()).any(|at| matches(rest, &id[at..])),
        Some((expected, rest)) => id.split_first().is_some_and(|(byte, id)| {
            (byte == expected || *expected == b'#' && byte.is_ascii_digit()) && matches(rest, id)
        }),
    }
}

fn line(provider: &str, id: &str, prices: &str) -> String {
    if prices.is_empty() { format!("{provider} {id}\n") } else { format!("{provider} {id} {prices}\n") }
}

fn micro(price: &Value, scale: f64) -> u64 {
    (price.as_f64().unwrap_or_default() * scale).round() as u64
}

fn usd(micro: u64) -> String {
    let written = format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000);
    written.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `16:30:00Z` is `16:30`.
fn clock(time: &str) -> Result<&str, String> {
    time.strip_suffix(":00Z").ok_or_else(|| format!("a time that is not a whole UTC minute: {time}"))
}

fn our_name(source: &str) -> &str {
    GENAI_NAMES.iter().find(|(name, _)| *name == source).map_or(source, |(_, ours)| ours)
}

fn list(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| "expected a list".to_owned())
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    value[name].as_str().ok_or_else(|| format!("no text in `{name}`"))
}

fn read_json(path: &str) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn data_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("shared").join("llm/data")
}

/// Today's date in UTC. Howard Hinnant's `civil_from_days`.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

const PER_MILLION: f64 = 1e6;
const PER_TOKEN: f64 = 1e12;
const PER_THOUSAND_CALLS: f64 = 1e3;

/// How rates are written, in the order they are written.
const ORDER: &str = "iorwhtabq";

/// genai-prices' names, our letters, and what makes micro-USD (per million tokens, or per call) of them.
const GENAI_RATES: &[(&str, char, f64)] = &[
    ("input_mtok", 'i', PER_MILLION),
    ("output_mtok", 'o', PER_MILLION),
    ("cache_read_mtok", 'r', PER_MILLION),
    ("cache_write_mtok", 'w', PER_MILLION),
    ("cache_write_1h_mtok", 'h', PER_MILLION),
    ("output_reasoning_mtok", 't', PER_MILLION),
    ("input_audio_mtok", 'a', PER_MILLION),
    ("output_audio_mtok", 'b', PER_MILLION),
    ("requests_kcount", 'q', PER_THOUSAND_CALLS),
];

/// Prices of things a usage record does not count.
const UNCOUNTED: &[&str] = &[
    "audio_hours",
    "cache_audio_read_mtok",
    "cache_image_read_mtok",
    "input_annotated_document_kpages",
    "input_audio_hours",
    "input_document_kpages",
    "input_image_mtok",
    "input_text_messages_kcount",
    "input_video_mtok",
    "output_citation_mtok",
    "storage_searches_kcount",
    "web_searches_kcount",
];

const PICTURES: &[&str] = &["output_image_mtok", "output_video_mtok"];

const LITELLM_RATES: &[(&str, char)] = &[
    ("input_cost_per_token", 'i'),
    ("output_cost_per_token", 'o'),
    ("cache_read_input_token_cost", 'r'),
    ("cache_creation_input_token_cost", 'w'),
    ("cache_creation_input_token_cost_above_1hr", 'h'),
    ("output_cost_per_reasoning_token", 't'),
    ("input_cost_per_audio_token", 'a'),
    ("output_cost_per_audio_token", 'b'),
];

/// Where LiteLLM's longer contexts begin, in thousands of tokens.
const LITELLM_TIERS: &[u64] = &[32, 100, 128, 200, 256, 272, 512];

const NOT_SPEECH: &str = "^(?!.*-[tT][tT][sS](?:$|-))";

/// Where genai-prices and the gateway call a provider differently.
const GENAI_NAMES: &[(&str, &str)] = &[
    ("aws", "bedrock"),
    ("cloudflare", "workers-ai"),
    ("google", "gemini"),
    ("moonshotai", "moonshot"),
    ("voyageai", "voyage"),
    ("x-ai", "xai"),
];

/// Subscriptions and resellers no gateway calls by an API key of its own.
const SKIPPED_PROVIDERS: &[&str] = &["cursor", "github-copilot"];

/// Other names of a provider: those of OpenTelemetry, and the ones people write.
const ALIASES: &[(&str, &str)] = &[
    ("amazon-bedrock", "bedrock"),
    ("aws", "bedrock"),
    ("aws.bedrock", "bedrock"),
    ("azure-openai", "azure"),
    ("azure.ai.inference", "azure"),
    ("azure.ai.openai", "azure"),
    ("azure_ai", "azure"),
    ("azure_openai", "azure"),
    ("cloudflare", "workers-ai"),
    ("cloudflare.workers_ai", "workers-ai"),
    ("fireworks-ai", "fireworks"),
    ("fireworks_ai", "fireworks"),
    ("gcp.gemini", "gemini"),
    ("gcp.gen_ai", "gemini"),
    ("gcp.vertex_ai", "gemini"),
    ("google", "gemini"),
    ("mistral_ai", "mistral"),
    ("moonshot_ai", "moonshot"),
    ("moonshotai", "moonshot"),
    ("together-ai", "together"),
    ("together_ai", "together"),
    ("vertex", "gemini"),
    ("vertex-ai", "gemini"),
    ("vertex_ai", "gemini"),
    ("voyageai", "voyage"),
    ("workers_ai", "workers-ai"),
    ("x-ai", "xai"),
    ("x_ai", "xai"),
];

/// LiteLLM's provider and key prefix, and the gateway's provider. The first row that fits a key is taken.
const LITELLM_FAMILIES: &[(&str, &str, &str)] = &[
    ("anthropic", "", "anthropic"),
    ("azure", "azure/", "azure"),
    ("azure_ai", "azure_ai/", "azure"),
    ("azure_text", "azure/", "azure"),
    ("bedrock", "", "bedrock"),
    ("bedrock_converse", "", "bedrock"),
    ("bedrock_mantle", "bedrock_mantle/", "bedrock"),
    ("cerebras", "cerebras/", "cerebras"),
    ("cloudflare", "cloudflare/", "workers-ai"),
    ("cohere", "cohere/", "cohere"),
    ("cohere", "", "cohere"),
    ("cohere_chat", "", "cohere"),
    ("deepinfra", "deepinfra/", "deepinfra"),
    ("deepseek", "deepseek/", "deepseek"),
    ("deepseek", "", "deepseek"),
    ("fireworks_ai", "fireworks_ai/", "fireworks"),
    ("fireworks_ai-embedding-models", "fireworks_ai/", "fireworks"),
    ("gemini", "gemini/", "gemini"),
    ("gemini", "", "gemini"),
    ("groq", "groq/", "groq"),
    ("mistral", "mistral/", "mistral"),
    ("openai", "", "openai"),
    ("perplexity", "perplexity/", "perplexity"),
    ("sambanova", "sambanova/", "sambanova"),
    ("text-completion-openai", "", "openai"),
    ("together_ai", "together_ai/", "together"),
    ("vertex_ai", "vertex_ai/", "gemini"),
    ("vertex_ai-ai21_models", "vertex_ai/", "gemini"),
    ("vertex_ai-anthropic_models", "vertex_ai/", "gemini"),
    ("vertex_ai-deepseek_models", "vertex_ai/", "gemini"),
    ("vertex_ai-embedding-models", "vertex_ai/", "gemini"),
    ("vertex_ai-embedding-models", "", "gemini"),
    ("vertex_ai-language-models", "vertex_ai/", "gemini"),
    ("vertex_ai-language-models", "", "gemini"),
    ("vertex_ai-llama_models", "vertex_ai/", "gemini"),
    ("vertex_ai-minimax_models", "vertex_ai/", "gemini"),
    ("vertex_ai-mistral_models", "vertex_ai/", "gemini"),
    ("vertex_ai-moonshot_models", "vertex_ai/", "gemini"),
    ("vertex_ai-openai_models", "vertex_ai/", "gemini"),
    ("vertex_ai-qwen_models", "vertex_ai/", "gemini"),
    ("vertex_ai-zai_models", "vertex_ai/", "gemini"),
    ("xai", "xai/", "xai"),
];
