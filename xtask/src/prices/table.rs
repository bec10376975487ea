//! The table while it is made.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{genai, list, litellm, rates::usd, text};
use crate::families::{self, FAMILIES, REGIONS};

/// The table: by provider, in the order its rules are tried.
#[derive(Default)]
pub(super) struct Table {
    providers: BTreeMap<String, Vec<Model>>,
    /// Where to look next for a model that a provider does not list itself.
    fallbacks: BTreeMap<String, Vec<String>>,
    /// Models only LiteLLM knows: provider and id, then the prices.
    extras: BTreeMap<(String, String), String>,
    /// Ids that patterns would find too, but which are the names of models: provider and id.
    named: BTreeSet<(String, String)>,
    left_out: Vec<String>,
}

/// One model: what it answers to, and its prices as they are written in the table.
#[derive(Default)]
struct Model {
    id: String,
    globs: Vec<String>,
    /// What it does not answer to, though one of `globs` fits.
    exceptions: Vec<String>,
    /// Empty for a model that is known to be unpriced: it ends the search.
    prices: String,
    /// What LiteLLM adds to them.
    additions: Option<Additions>,
}

/// Prices of a model that genai-prices does not know, though it knows the model.
struct Additions {
    id: String,
    service_tiers: String,
    search: Option<u64>,
}

impl Table {
    pub(super) fn add_genai(&mut self, providers: &Value) -> Result<(), String> {
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
                    genai::prices(id, &model["prices"]).map_err(|error| format!("{name} {id}: {error}"))?;
                if prices.is_empty() {
                    self.left_out.push(format!("{name} {id}"));
                }
                let mut entry = Model { id: short(name, &id.to_lowercase()), prices, ..Model::default() };
                entry.add_rule(name, &model["match"]).map_err(|error| format!("{name} {id}: {error}"))?;
                let whole = entry.globs.iter().filter(|glob| !is_pattern(glob)).chain([&entry.id]);
                self.named.extend(whole.map(|id| (name.to_owned(), id.clone())));
                models.push(entry);
            }
            self.providers.insert(name.to_owned(), models);
        }
        Ok(())
    }

    /// `date` is today: what was retired more than three months ago is not taken.
    pub(super) fn add_litellm(&mut self, entries: &Value, date: &str) -> Result<(), String> {
        let limit = three_months_before(date)?;
        let entries = entries.as_object().ok_or("the LiteLLM file is not an object")?;
        let keys: BTreeSet<&String> = entries.keys().collect();
        for row in FAMILIES {
            let provider = priced_as(row.provider);
            for &key in &keys {
                let entry = &entries[key];
                if families::find(key, entry) != Some(row) {
                    continue;
                }
                let id = &key[row.prefix.len()..];
                // `us/gpt-4o`, `us-east-1/…` and `hd/1024-x-1024/…` are LiteLLM's own way to say a region and a size.
                if id.contains("-x-") || id.contains('/') && matches!(provider, "azure" | "bedrock") {
                    continue;
                }
                let id = short(provider, &id.to_lowercase());
                let is_better = BETTER_IN_LITELLM.contains(&(provider, id.as_str()));
                if !is_better && let Some(model) = self.own_model(provider, &id) {
                    model.add(&id, entry);
                    continue;
                }
                let is_retired = entry["deprecation_date"].as_str().is_some_and(|date| date < limit.as_str());
                if !is_retired && (is_better || self.resolve(provider, &id).is_none()) {
                    let prices = litellm::prices(entry).map_err(|error| format!("{key}: {error}"))?;
                    if !prices.is_empty() {
                        self.extras.entry((provider.to_owned(), id)).or_insert(prices);
                    }
                }
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

    fn own_model(&mut self, provider: &str, id: &str) -> Option<&mut Model> {
        let models = self.providers.get_mut(provider)?;
        models.iter_mut().find(|model| model.answers_to(id))
    }

    /// The prices genai-prices finds for an id, by its own order of search.
    fn resolve(&self, provider: &str, id: &str) -> Option<String> {
        let own = |provider: &str| self.providers.get(provider)?.iter().find(|model| model.answers_to(id));
        let fallbacks = self.fallbacks.get(provider).into_iter().flatten();
        own(provider).or_else(|| fallbacks.into_iter().find_map(|provider| own(provider))).map(Model::written)
    }

    /// By provider: first the ids that are known by their whole name, sorted; then the rules that name more than one,
    /// in the order they are tried.
    pub(super) fn text(&self) -> String {
        let mut ids: BTreeMap<(String, String), String> = self.extras.clone();
        for (provider, id) in &self.named {
            // OpenRouter's names have a vendor; without one they are the source's own shorthand.
            if provider == "openrouter" && !id.contains('/') {
                continue;
            }
            let prices = self.resolve(provider, id).unwrap_or_default();
            // A model without a price needs a line only where a pattern or a fallback would find one.
            let mut rules = self.providers[provider].iter().flat_map(Model::rules);
            let is_shadow = rules.any(|(globs, _)| fits(&globs, id)) || self.fallbacks.contains_key(provider);
            if !prices.is_empty() || is_shadow {
                ids.insert((provider.clone(), id.clone()), prices);
            }
        }

        let mut lines: BTreeMap<String, String> = BTreeMap::new();
        let mut add = |provider: &str, name: &str, prices: &str| {
            let lines = lines.entry(provider.to_owned()).or_default();
            lines.push_str(format!("{provider} {name} {prices}").trim_end());
            lines.push('\n');
        };
        for ((provider, id), prices) in &ids {
            add(provider, id, prices);
        }
        for (provider, models) in &self.providers {
            for (globs, prices) in models.iter().flat_map(Model::rules) {
                add(provider, &globs.join("|"), &prices);
            }
        }
        for &(provider, glob, next) in PREFIXES {
            add(provider, glob, &format!("<{next}"));
        }
        let regions: Vec<String> = regions_at_one_price().map(|region| format!("{region}.*")).collect();
        add("bedrock", &regions.join("|"), "<bedrock");
        for name in self.providers.keys().filter_map(|name| name.strip_prefix("huggingface_")) {
            add("huggingface", &format!("*:{name}"), &format!("<huggingface_{name}"));
        }
        for (provider, fallbacks) in &self.fallbacks {
            for fallback in fallbacks {
                add(provider, "*", &format!("={fallback}"));
            }
        }
        for (alias, provider) in ALIASES {
            add(alias, "*", &format!("={provider}"));
        }
        lines.into_values().collect()
    }

    pub(super) fn report(&self) {
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
        println!("without a price for what is counted: {}", self.left_out.join(", "));
    }
}

impl Model {
    /// Rewrites a rule as globs: `*` is any run of characters, `#` is a digit.
    fn add_rule(&mut self, provider: &str, rule: &Value) -> Result<(), String> {
        let (kind, operand) = rule.as_object().and_then(|rule| rule.iter().next()).ok_or("an empty rule")?;
        let cannot = || format!("a rule this program cannot rewrite: {rule}");
        let glob = match (kind.as_str(), operand) {
            ("or", Value::Array(rules)) => {
                return rules.iter().try_for_each(|rule| self.add_rule(provider, rule));
            }
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
        let glob = short(provider, &glob);
        // Two that differ in case only are one here.
        if !self.globs.contains(&glob) {
            self.globs.push(glob);
        }
        Ok(())
    }

    /// Its lines among the patterns. Exceptions come first, as a model without a price.
    fn rules(&self) -> impl Iterator<Item = (Vec<String>, String)> {
        let is_regional = |glob: &&String| {
            let bare = glob.strip_prefix('*').and_then(region_less);
            bare.is_none_or(|bare| !self.globs.iter().any(|glob| glob == bare))
        };
        let patterns = self.globs.iter().filter(|glob| is_pattern(glob)).filter(is_regional);
        let patterns: Vec<_> = patterns.cloned().collect();
        [(self.exceptions.clone(), String::new()), (patterns, self.written())]
            .into_iter()
            .filter(|(globs, _)| !globs.is_empty())
    }

    fn answers_to(&self, id: &str) -> bool {
        fits(&self.globs, id) && !fits(&self.exceptions, id)
    }

    /// Takes what LiteLLM says under one of its names, best the name itself.
    fn add(&mut self, id: &str, entry: &Value) {
        if self.additions.as_ref().is_some_and(|known| known.id == self.id || id != self.id) {
            return;
        }
        let service_tiers = litellm::service_tiers(entry);
        self.additions = Some(Additions { id: id.to_owned(), service_tiers, search: litellm::search(entry) });
    }

    /// The prices, with those that hold at every time behind them.
    fn written(&self) -> String {
        let Some(additions) = self.additions.as_ref().filter(|_| !self.prices.is_empty()) else {
            return self.prices.clone();
        };
        let knows_search = self.prices.split([' ', ';']).any(|word| word.starts_with('s'));
        let search = additions.search.filter(|_| !knows_search).map(|fee| format!("s{}", usd(fee)));
        let words: Vec<&str> = search
            .as_deref()
            .into_iter()
            .chain([additions.service_tiers.as_str()])
            .filter(|word| !word.is_empty())
            .collect();
        match (words.as_slice(), self.prices.contains(';')) {
            ([], _) => self.prices.clone(),
            (words, false) => format!("{} {}", self.prices, words.join(" ")),
            (words, true) => format!("{};+ {}", self.prices, words.join(" ")),
        }
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

pub(super) fn is_pattern(glob: &str) -> bool {
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

fn our_name(source: &str) -> &str {
    GENAI_NAMES.iter().find(|(name, _)| *name == source).map_or(source, |(_, ours)| ours)
}

/// What is behind the region in the name of a Bedrock inference profile.
fn region_less(id: &str) -> Option<&str> {
    let (region, id) = id.split_once('.')?;
    regions_at_one_price().any(|known| known == region).then_some(id)
}

/// Of `2026-11-23`: `2026-08-23`, to be compared as text.
fn three_months_before(date: &str) -> Result<String, String> {
    let wrong = || format!("`{date}` is not a date like 2026-11-23");
    let parts: Vec<u32> = date.split('-').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let [year, month, day] = parts[..] else { return Err(wrong()) };
    let months = (year * 12 + month).checked_sub(4).ok_or_else(wrong)?;
    Ok(format!("{:04}-{:02}-{day:02}", months / 12, months % 12 + 1))
}

/// An id without what the provider puts before all of them.
fn short(provider: &str, id: &str) -> String {
    let mut prefixes = PREFIXES.iter().filter(|(of, ..)| *of == provider);
    let rest = prefixes.find_map(|(_, glob, _)| id.strip_prefix(glob.trim_end_matches('*')));
    rest.unwrap_or(id).to_owned()
}

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

/// Subscriptions, and resellers the gateway has no row for.
const SKIPPED_PROVIDERS: &[&str] = &[
    "arcee",
    "avian",
    "baseten",
    "cursor",
    "doubleword",
    "github-copilot",
    "modal",
    "ovhcloud",
    "quicksilverpro",
    "typesafe",
];

/// The regions whose profiles cost what the model costs; `global` has prices of its own.
fn regions_at_one_price() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().copied().filter(|region| *region != "global")
}

/// The name under which the table of prices has a provider.
fn priced_as(provider: &'static str) -> &'static str {
    match provider {
        "bedrock-mantle" => "bedrock",
        "vertex" => "gemini",
        "zhipu" => "zai",
        own => own,
    }
}

/// Where a pattern of genai-prices takes two generations for one.
const BETTER_IN_LITELLM: &[(&str, &str)] = &[("bedrock", "amazon.titan-embed-text-v2:0")];

/// What a provider may put before a model's name: in the table they are left out.
const PREFIXES: &[(&str, &str, &str)] = &[
    ("bedrock", "arn:*/*", "bedrock"),
    ("fireworks", "accounts/fireworks/models/*", "fireworks"),
    ("gemini", "models/*", "gemini"),
    ("gemini", "publishers/google/models/*", "gemini"),
];

/// Other names of a provider: those of OpenTelemetry, and the ones people write.
const ALIASES: &[(&str, &str)] = &[
    ("alibaba_cloud.dashscope", "dashscope"),
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
    ("zhipu", "zai"),
    ("zhipu", "zhipuai"),
    ("zhipu_ai", "zhipu"),
];
