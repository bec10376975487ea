//! A tenant's own prices: what it pays where that is not the list price, and what its own models cost.

use llm::price::Price;
use serde::{Deserialize, Serialize};

/// What some models cost from some time on: a row of JSON, for it travels with each caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct Override {
    /// `provider/model`, or the beginning of such names with a `*` behind.
    pub model: String,
    /// Unix milliseconds.
    pub from_ms: i64,
    /// In the notation of [`llm::price`].
    pub prices: String,
    /// What a record names as its prices: `tenant:2026-11-24`, or `global:…` where they are every tenant's.
    pub version: String,
}

type Row = (String, i64, String, String);

impl From<Row> for Override {
    fn from((model, from_ms, prices, version): Row) -> Self {
        Self { model, from_ms, prices, version }
    }
}

impl From<Override> for Row {
    fn from(row: Override) -> Self {
        (row.model, row.from_ms, row.prices, row.version)
    }
}

/// The price of a model by these, and their version. A tenant's own go before everybody's, whole names before patterns,
/// longer patterns before shorter ones, later prices before earlier ones.
pub fn find<'a>(
    overrides: &'a [Override],
    provider: &str,
    model: &str,
    at_ms: i64,
) -> Option<(Price<'a>, &'a str)> {
    let fits = |pattern: &str| {
        let Some((of, name)) = pattern.split_once('/') else { return false };
        let of_provider = of == provider;
        of_provider
            && match name.strip_suffix('*') {
                Some(prefix) => model.starts_with(prefix),
                None => model == name,
            }
    };
    let holds = overrides.iter().filter(|row| row.from_ms <= at_ms && fits(&row.model));
    let best = holds.max_by_key(|row| {
        let is_whole = !row.model.ends_with('*');
        (row.version.starts_with(OWN), is_whole, row.model.len(), row.from_ms)
    })?;
    Some((Price::read(best.prices.as_bytes(), at_ms)?, &best.version))
}

/// How the version of a tenant's own prices begins.
const OWN: &str = "tenant:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_price_holds() {
        let row = |model: &str, from_ms, prices: &str, version: &str| Override {
            model: model.to_owned(),
            from_ms,
            prices: prices.to_owned(),
            version: version.to_owned(),
        };
        let rows = [
            row("openai/gpt-5", 0, "i1", "tenant:a"),
            row("openai/gpt-5", 1_000, "i2", "tenant:b"),
            row("openai/gpt-*", 2_000, "i3", "tenant:c"),
            row("openai/*", 0, "i4", "tenant:d"),
            row("openai/gpt-5", 3_000, "i5", "global:e"),
            row("vllm/*", 0, "i0 o0", "global:f"),
        ];
        for (provider, model, at_ms, expected) in [
            ("openai", "gpt-5", 0, "tenant:a 1000000"),
            ("openai", "gpt-5", 999, "tenant:a 1000000"),
            ("openai", "gpt-5", 4_000, "tenant:b 2000000"),
            ("openai", "gpt-5-mini", 1_999, "tenant:d 4000000"),
            ("openai", "gpt-5-mini", 2_000, "tenant:c 3000000"),
            ("openai", "o3", 0, "tenant:d 4000000"),
            ("vllm", "meta-llama/llama-3", 0, "global:f 0"),
            ("azure", "gpt-5", 4_000, "-"),
        ] {
            let found = find(&rows, provider, model, at_ms);
            let shown =
                found.map(|(price, version)| format!("{version} {}", price.rate(b'i').expect("input")));
            assert_eq!(shown.as_deref().unwrap_or("-"), expected, "{provider}/{model} at {at_ms}");
        }
    }
}
