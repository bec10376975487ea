//! The price table: that it says what an independent calculator says, and that it can be searched as it lies.

use llm::price::{self, Price, Rates};
use llm::usage::Usage;
use serde_json::Value;

const IDS: &str = include_str!("../data/ids.txt");
const PATTERNS: &str = include_str!("../data/patterns.txt");
/// 23 November 2026, noon.
const NOW_MS: i64 = 1_795_435_200_000;

#[test]
fn costs_what_genai_prices_says_it_costs() {
    let oracle: Value = serde_json::from_str(include_str!("prices_oracle.json")).unwrap();
    let cases = oracle.as_array().unwrap();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for case in cases {
        let tokens = |kind: &str| case["usage"][kind].as_u64().unwrap();
        let usage = Usage {
            input_tokens: tokens("input"),
            cache_read_input_tokens: tokens("read"),
            cache_write_5m_input_tokens: tokens("write"),
            cache_write_1h_input_tokens: tokens("write1h"),
            audio_input_tokens: tokens("audio"),
            output_tokens: tokens("output"),
            reasoning_output_tokens: tokens("reasoning"),
            audio_output_tokens: tokens("speech"),
            ..Usage::default()
        };
        let (provider, model) = (case["provider"].as_str().unwrap(), case["model"].as_str().unwrap());
        let price = price::find(provider, model, case["at_ms"].as_i64().unwrap());
        assert_eq!(price.and_then(|price| price.cost_microusd(&usage)), case["microusd"].as_i64(), "{case}");
    }
}

#[test]
fn an_unknown_model_or_provider_has_no_price() {
    for (provider, model) in [
        ("openai", "gpt-9-imaginary"),
        ("openai", ""),
        ("openai", "gpt"),
        ("openai", "gpt-4o i0"),
        ("openai", "gpt-4o-2024-11-20x"),
        ("openai", "ft:gpt-4o-20240806x"),
        ("openai", "gpt-4o-20241320"),
        ("openai", "*"),
        ("", "gpt-4o"),
        ("open", "ai gpt-4o"),
        ("nobody", "gpt-4o"),
        ("zzz", "gpt-4o"),
        ("ollama", "llama3.1"),
        ("vllm", "meta-llama/Llama-3.3-70B-Instruct"),
        // Known, but not sold by the token, or in pictures that usage does not tell from text.
        ("openai", "whisper-1"),
        ("azure", "whisper-1"),
        ("gemini", "gemini-2.5-flash-image"),
        ("mistral", "mistral-ocr-latest"),
    ] {
        assert_eq!(price::find(provider, model, NOW_MS), None, "{provider} {model}");
    }
    let long = "claude-3-opus".repeat(20);
    assert_eq!(price::find("anthropic", &long, NOW_MS), None);
}

#[test]
fn a_model_is_found_under_each_of_its_names() {
    for (provider, model, same_provider, same_model) in [
        ("openai", "gpt-4o", "OpenAI", " GPT-4o "),
        ("openai", "gpt-4o-2024-11-20", "openai", "gpt-4o-20241120"),
        ("anthropic", "claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5-20250929"),
        ("anthropic", "claude-opus-5", "anthropic", "claude-opus-5-20260601"),
        ("gemini", "gemini-2.5-pro", "gcp.gemini", "gemini-2.5-pro-preview-06-05"),
        ("gemini", "gemini-2.5-pro", "vertex", "gemini-2.5-pro"),
        ("gemini", "gemini-2.5-pro", "gcp.vertex_ai", "gemini-2.5-pro"),
        ("bedrock", "us.anthropic.claude-sonnet-4-6", "aws.bedrock", "eu.anthropic.claude-sonnet-4-6-v1:0"),
        ("xai", "grok-4", "x_ai", "grok-4"),
        ("mistral", "mistral-large-latest", "mistral_ai", "mistral-large-latest"),
        ("together", "deepseek-ai/DeepSeek-V3.1", "together_ai", "deepseek-ai/deepseek-v3.1"),
        ("workers-ai", "@cf/openai/gpt-oss-20b", "cloudflare.workers_ai", "@cf/openai/gpt-oss-20b"),
        ("openai", "gpt-4o", "azure", "gpt-4o"),
        ("openai", "gpt-5", "azure.ai.openai", "gpt-5"),
    ] {
        let price = price::find(provider, model, NOW_MS);
        assert!(price.is_some(), "{provider} {model}");
        assert_eq!(price::find(same_provider, same_model, NOW_MS), price, "{same_provider} {same_model}");
    }
}

#[test]
fn models_only_litellm_knows_are_priced() {
    for (provider, model, input, output) in [
        ("deepinfra", "openai/gpt-oss-120b-Ultra", 200_000, 950_000),
        ("deepinfra", "deepseek-ai/DeepSeek-V4-Pro-0813", 1_300_000, 2_600_000),
        ("sambanova", "DeepSeek-R1", 5_000_000, 7_000_000),
        ("fireworks", "accounts/fireworks/models/qwq-32b", 900_000, 900_000),
        ("together", "Qwen/Qwen2.5-72B-Instruct", 1_200_000, 1_200_000),
        ("vertex", "deepseek-ai/deepseek-v3.2-maas", 560_000, 1_680_000),
        ("anthropic", "claude-haiku-5-5", 100_000, 500_000),
        ("openai", "ft:gpt-4.1-mini-2025-04-14:acme::abc", 800_000, 3_200_000),
    ] {
        let rates = price::find(provider, model, NOW_MS).map(|price| (price.rates.input, price.rates.output));
        assert_eq!(rates, Some((Some(input), Some(output))), "{provider} {model}");
    }
}

#[test]
fn a_price_holds_for_its_hours() {
    // . off-peak  ! peak, at every half hour of a day, in UTC
    for (model, off_peak, day, hours) in [
        ("deepseek-chat", 135_000, 20_270, ".!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!..............."),
        ("deepseek-v4-flash", 220_000, 20_700, "..!!!!!!....!!!!!!!!............................"),
    ] {
        let at = |half_hour: i64| day * 86_400_000 + half_hour * 1_800_000;
        let input = |ms| price::find("deepseek", model, ms).unwrap().rates.input.unwrap();
        let seen: String =
            (0..48).map(|half_hour| if input(at(half_hour)) == off_peak { '.' } else { '!' }).collect();
        assert_eq!(seen, hours, "{model}");
        let last: String = (0..48)
            .map(|half_hour| if input(at(half_hour + 1) - 1) == off_peak { '.' } else { '!' })
            .collect();
        assert_eq!(last, hours, "{model}, at the last millisecond of each half hour");
    }
}

#[test]
fn every_kind_of_token_costs_its_own_rate_or_its_totals() {
    let all = Rates {
        input: Some(1_000_000),
        cache_read: Some(100_000_000),
        cache_write_5m: Some(10_000_000_000),
        cache_write_1h: Some(1_000_000_000_000),
        audio_input: Some(100_000_000_000_000),
        output: Some(1_000_000),
        reasoning: Some(100_000_000),
        audio_output: Some(10_000_000_000),
    };
    let usage = Usage {
        input_tokens: 15,
        cache_read_input_tokens: 2,
        cache_write_5m_input_tokens: 3,
        cache_write_1h_input_tokens: 4,
        audio_input_tokens: 5,
        output_tokens: 60,
        reasoning_output_tokens: 20,
        audio_output_tokens: 30,
        ..Usage::default()
    };
    let plain = Rates { input: all.input, output: all.output, ..Rates::default() };
    let input_only = Usage { output_tokens: 0, reasoning_output_tokens: 0, audio_output_tokens: 0, ..usage };
    // Two decimal digits a kind, so that each can be read off the sum.
    for (rates, usage, cost) in [
        (all, input_only, Some(504_030_201)),
        (all, usage, Some(504_030_201 + 302_010)),
        (Rates { cache_write_1h: None, ..all }, input_only, Some(500_070_201)),
        (Rates { cache_write_5m: None, cache_write_1h: None, ..all }, input_only, Some(500_000_208)),
        (Rates { audio_input: None, ..all }, input_only, Some(4_030_206)),
        (Rates { reasoning: None, ..all }, Usage { output_tokens: 60, ..usage }, Some(504_030_201 + 300_030)),
        (plain, usage, Some(75)),
        (Rates { input: None, ..plain }, usage, None),
        (Rates { output: None, ..plain }, usage, None),
        (Rates { output: None, ..plain }, input_only, Some(15)),
        (Rates::default(), Usage::default(), Some(0)),
    ] {
        let price = Price { rates, ..Price::default() };
        assert_eq!(price.cost_microusd(&usage), cost, "{rates:?}");
    }
}

#[test]
fn parts_that_exceed_their_total_are_cut_off() {
    let rates = Rates { input: Some(5_000_000), cache_read: Some(1_000_000), ..Rates::default() };
    let usage = Usage { input_tokens: 10, cache_read_input_tokens: 99, ..Usage::default() };
    assert_eq!(Price { rates, ..Price::default() }.cost_microusd(&usage), Some(10));
}

#[test]
fn a_cost_is_rounded_half_up_and_never_wraps() {
    let cost = |rate, tokens| {
        let price = Price { rates: Rates { input: Some(rate), ..Rates::default() }, ..Price::default() };
        price.cost_microusd(&Usage { input_tokens: tokens, ..Usage::default() })
    };
    assert_eq!(cost(499_999, 1), Some(0));
    assert_eq!(cost(500_000, 1), Some(1));
    assert_eq!(cost(500_000, 3), Some(2));
    assert_eq!(cost(1_000_000, i64::MAX as u64), Some(i64::MAX));
    assert_eq!(cost(1_000_000, i64::MAX as u64 + 1), None);
    assert_eq!(cost(u64::MAX, u64::MAX), None);
}

#[test]
fn ids_are_sorted_and_unique() {
    let keys: Vec<(&str, &str)> = IDS.lines().map(|line| columns(line).0).collect();
    for pair in keys.windows(2) {
        assert!(pair[0] < pair[1], "{pair:?}");
    }
}

#[test]
fn every_id_is_found_where_it_lies() {
    for line in IDS.lines() {
        let ((provider, id), prices) = columns(line);
        assert_eq!(price::find(provider, id, NOW_MS).is_some(), !prices.is_empty(), "{line}");
    }
}

#[test]
fn patterns_lie_by_provider_and_point_at_providers_that_are_there() {
    let providers: Vec<&str> = PATTERNS.lines().map(|line| columns(line).0.0).collect();
    assert!(providers.is_sorted());
    for line in PATTERNS.lines() {
        let ((_, globs), prices) = columns(line);
        assert!(globs.split('|').all(|glob| glob.contains(['*', '#'])), "{line}");
        assert!(!globs.contains("**") && !globs.contains("*#"), "a star stands before a letter: {line}");
        if let Some(next) = prices.strip_prefix('=') {
            assert!(IDS.lines().any(|line| columns(line).0.0 == next), "{line}");
        }
    }
}

#[test]
fn every_line_is_written_as_it_is_read() {
    for line in IDS.lines().chain(PATTERNS.lines()) {
        let ((provider, id), prices) = columns(line);
        assert!(!provider.is_empty() && !id.is_empty(), "{line}");
        assert_eq!(line, line.to_ascii_lowercase());
        if prices.is_empty() || prices.starts_with('=') {
            continue;
        }
        for (at, segment) in prices.split(';').enumerate() {
            let words: Vec<&str> = segment.split(' ').collect();
            let is_conditional = words[0].starts_with(['@', '~']);
            assert_eq!(is_conditional, at > 0, "only the first segment always holds: {line}");
            assert_eq!(segment.contains('/'), segment.contains('>'), "a tier and its start: {line}");
            for word in &words[usize::from(is_conditional)..] {
                let (kind, rates) = word.split_at(1);
                assert!("iorwhtabq>".contains(kind), "{line}");
                for decimal in rates.split('/') {
                    let (units, fraction) = decimal.split_once('.').unwrap_or((decimal, "0"));
                    assert!(units.parse::<u64>().is_ok() && fraction.parse::<u64>().is_ok(), "{line}");
                    assert!(fraction.len() <= 6, "{line}");
                }
            }
        }
    }
}

#[test]
fn the_table_says_when_it_was_made_and_how_much_it_knows() {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = price::VERSION.split('-').collect();
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [4, 2, 2]);
    assert!(parts.into_iter().all(digits));
    assert!(price::count() >= 1_500, "{}", price::count());
}

fn columns(line: &str) -> ((&str, &str), &str) {
    let (provider, rest) = line.split_once(' ').expect("a line has a provider and an id");
    let (id, prices) = rest.split_once(' ').unwrap_or((rest, ""));
    ((provider, id), prices)
}
