//! Reading LiteLLM's table. It writes zero for what it does not know.

use serde_json::Value;

use super::{
    list,
    rates::{Rates, usd},
};

/// An entry's prices in the table's notation; empty where it is not sold by anything a usage record counts.
pub(super) fn prices(entry: &Value) -> Result<String, String> {
    let mode = entry["mode"].as_str().unwrap_or_default();
    if !MODES.contains(&mode) || entry.get("off_peak_pricing").is_some() {
        return Ok(String::new());
    }
    // Moderation is free where it is listed at all.
    if mode == "moderation" {
        return Ok("i0 o0".to_owned());
    }
    let mut rates = Rates::default();
    if let Some(tiers) = entry.get("tiered_pricing") {
        tiered(&mut rates, list(tiers)?)?;
    } else {
        for &(name, letter) in TOKENS {
            let Some(base) = price(entry, name) else { continue };
            let beyond: Vec<(u64, u64)> = STARTS
                .iter()
                .filter_map(|thousands| {
                    let price = price(entry, &format!("{name}_above_{thousands}k_tokens"))?;
                    Some((thousands * 1000, price))
                })
                .collect();
            rates.set(letter, base, &beyond)?;
        }
    }
    // Reasoning at the price of output is what no price of its own says, too, and that follows the tiers.
    if rates.base('t') == rates.base('o') {
        rates.rates.retain(|(letter, _)| *letter != 't');
    }
    let makes_pictures = matches!(mode, "image_generation" | "image_edit");
    let by_piece = match mode {
        "audio_speech" => [("input_cost_per_character", 'x'), ("input_cost_per_second", 'm')].as_slice(),
        "audio_transcription" | "realtime" => {
            &[("input_cost_per_second", 'm'), ("output_cost_per_second", 'm')]
        }
        "rerank" => &[("input_cost_per_query", 'u')],
        _ if makes_pictures => &[("output_cost_per_image", 'n'), ("input_cost_per_image", 'n')],
        _ => &[],
    };
    // A picture is sold whole or by its tokens, and a few are listed by what a token of them is not.
    if makes_pictures && rates.base('g').is_none() {
        rates = Rates::default();
    }
    if rates.rates.is_empty()
        && let Some((rate, letter)) =
            by_piece.iter().find_map(|(name, letter)| Some((price(entry, name)?, *letter)))
    {
        rates.set(letter, rate, &[])?;
    }
    if let Some(fee) = price(entry, "input_cost_per_request") {
        rates.set('q', fee, &[])?;
    }
    if let Some(fee) = search(entry) {
        rates.set('s', fee, &[])?;
    }
    let written = rates.written();
    Ok(match service_tiers(entry) {
        tiers if written.is_empty() || tiers.is_empty() => written,
        tiers => format!("{written} {tiers}"),
    })
}

/// What each service tier costs, as a factor and the rates that do not follow it: `%b0.5 r0.13 %p2`.
pub(super) fn service_tiers(entry: &Value) -> String {
    let mut words = Vec::new();
    for (suffix, letter) in [("batches", 'b'), ("flex", 'f'), ("priority", 'p')] {
        let at_tier: Vec<(char, u64, u64)> = TOKENS
            .iter()
            .filter_map(|(name, letter)| {
                Some((*letter, price(entry, name)?, price(entry, &format!("{name}_{suffix}"))?))
            })
            .collect();
        let Some((_, base, first)) = at_tier.first() else { continue };
        let factor = (*first as f64 / *base as f64 * 1e3).round() / 1e3;
        words.push(format!("%{letter}{}", usd((factor * 1e6) as u64)));
        words.extend(at_tier.iter().filter_map(|(letter, base, rate)| {
            let expected = *base as f64 * factor;
            // Within a hundredth it is the same factor, rounded in another place.
            let follows = (expected - *rate as f64).abs() <= 0.01 * expected;
            (!follows).then(|| format!("{letter}{}", usd(*rate)))
        }));
    }
    words.join(" ")
}

/// The price of a search, where it does not depend on how much of the pages is read.
pub(super) fn search(entry: &Value) -> Option<u64> {
    let prices = entry.get("search_context_cost_per_query")?.as_object()?;
    let mut prices = prices.values().filter_map(Value::as_f64);
    let first = prices.next().filter(|first| *first > 0.0)?;
    prices.all(|price| price == first).then(|| micro(first))
}

fn tiered(rates: &mut Rates, tiers: &[Value]) -> Result<(), String> {
    let (first, rest) = tiers.split_first().ok_or("no tiers")?;
    for &(name, letter) in TOKENS {
        let Some(base) = price(first, name) else { continue };
        let beyond: Option<Vec<(u64, u64)>> =
            rest.iter().map(|tier| Some((tier["range"][0].as_f64()? as u64, price(tier, name)?))).collect();
        rates.set(letter, base, &beyond.ok_or_else(|| format!("{name} is not in every tier"))?)?;
    }
    Ok(())
}

fn price(entry: &Value, name: &str) -> Option<u64> {
    entry[name].as_f64().filter(|price| *price > 0.0).map(micro)
}

/// USD for one as micro-USD for a million.
fn micro(usd: f64) -> u64 {
    (usd * 1e12).round() as u64
}

/// What may be called through the gateway.
const MODES: &[&str] = &[
    "audio_speech",
    "audio_transcription",
    "chat",
    "completion",
    "embedding",
    "image_edit",
    "image_generation",
    "moderation",
    "realtime",
    "rerank",
    "responses",
];

const TOKENS: &[(&str, char)] = &[
    ("input_cost_per_token", 'i'),
    ("output_cost_per_token", 'o'),
    ("cache_read_input_token_cost", 'r'),
    ("cache_creation_input_token_cost", 'w'),
    ("cache_creation_input_token_cost_above_1hr", 'h'),
    ("output_cost_per_reasoning_token", 't'),
    ("input_cost_per_audio_token", 'a'),
    ("output_cost_per_audio_token", 'b'),
    ("input_cost_per_image_token", 'p'),
    ("output_cost_per_image_token", 'g'),
    ("input_cost_per_video_token", 'v'),
    ("output_cost_per_video_token", 'f'),
    ("cache_read_input_audio_token_cost", 'c'),
    ("cache_read_input_image_token_cost", 'd'),
];

/// Where longer contexts begin, in thousands of tokens.
const STARTS: &[u64] = &[32, 100, 128, 200, 256, 272, 512];
