//! The price table: that it says what an independent calculator says, and that it can be searched as it lies.

use llm::price::{self, Price};
use llm::{ServiceTier, Usage};
use serde_json::Value;

const TABLE: &str = include_str!("../data/prices.txt");
/// 23 November 2026, noon.
const NOW_MS: i64 = 1_795_435_200_000;

#[test]
fn costs_what_genai_prices_says_it_costs() {
    let cases: Value = serde_json::from_str(include_str!("prices_oracle.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 110, "{} cases", cases.len());
    for case in cases {
        let (provider, model) = (case["provider"].as_str().unwrap(), case["model"].as_str().unwrap());
        let price = price::find(provider, model, case["at_ms"].as_i64().unwrap());
        let cost = price.and_then(|price| price.cost_microusd(&usage(&case["usage"])));
        assert_eq!(cost, case["microusd"].as_i64(), "{case}");
    }
}

#[test]
fn costs_what_litellms_flat_prices_make_of_it() {
    let cases: Value = serde_json::from_str(include_str!("prices_litellm.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for case in cases {
        let (provider, model) = (case["provider"].as_str().unwrap(), case["model"].as_str().unwrap());
        let tier = ServiceTier::named(case["tier"].as_str().unwrap().trim_end_matches("es"));
        let usage = Usage { tier, ..usage(&case["usage"]) };
        let cost = price::find(provider, model, NOW_MS).and_then(|price| price.cost_microusd(&usage));
        assert_eq!(cost, case["microusd"].as_i64(), "{case}");
    }
}

/// Of the words the vectors are written in.
fn usage(counts: &Value) -> Usage {
    let mut usage = Usage::default();
    for (kind, count) in counts.as_object().expect("counts") {
        let milliseconds = count.as_f64().expect("a number") * 1e3;
        let place = match kind.as_str() {
            "input" => &mut usage.input_tokens,
            "read" => &mut usage.cache_read_input_tokens,
            "write" => &mut usage.cache_write_5m_input_tokens,
            "write1h" => &mut usage.cache_write_1h_input_tokens,
            "audio" => &mut usage.audio_input_tokens,
            "image" => &mut usage.image_input_tokens,
            "video" => &mut usage.video_input_tokens,
            "readaudio" => &mut usage.cache_read_audio_input_tokens,
            "readimage" => &mut usage.cache_read_image_input_tokens,
            "output" => &mut usage.output_tokens,
            "reasoning" => &mut usage.reasoning_output_tokens,
            "speech" => &mut usage.audio_output_tokens,
            "picture" => &mut usage.image_output_tokens,
            "film" => &mut usage.video_output_tokens,
            "websearch" | "searches" => &mut usage.searches,
            "filesearch" => &mut usage.file_searches,
            "units" => &mut usage.search_units,
            "images" => &mut usage.images,
            "characters" => &mut usage.characters,
            "seconds" => {
                usage.audio_ms = milliseconds.round() as u64;
                continue;
            }
            other => panic!("{other} is not counted"),
        };
        *place = count.as_u64().expect("a whole number");
    }
    usage
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
        ("huggingface", "deepseek-ai/DeepSeek-R1"),
        // Known, but sold by what is not counted.
        ("mistral", "mistral-ocr-latest"),
        ("openai", "dall-e-3"),
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
        ("together", "Qwen/Qwen2.5-72B-Instruct", "together_ai", "qwen/qwen2.5-72b-instruct"),
        ("workers-ai", "@cf/openai/gpt-oss-20b", "cloudflare.workers_ai", "@cf/openai/gpt-oss-20b"),
        ("openai", "gpt-4o", "azure", "gpt-4o"),
        ("openai", "gpt-5", "azure.ai.openai", "gpt-5"),
        ("bedrock", "anthropic.claude-opus-4-8-v1:0", "bedrock", "eu.anthropic.claude-opus-4-8-v1:0"),
        (
            "bedrock",
            "anthropic.claude-opus-4-8",
            "bedrock",
            "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-4-8",
        ),
        ("fireworks", "gpt-oss-120b", "fireworks", "accounts/fireworks/models/gpt-oss-120b"),
        ("gemini", "gemini-2.5-pro", "gemini", "models/gemini-2.5-pro"),
        ("gemini", "gemini-2.5-pro", "vertex", "publishers/google/models/gemini-2.5-pro"),
        (
            "huggingface_novita",
            "baidu/ernie-4.5-300b-a47b-base-pt-fast",
            "huggingface",
            "baidu/ERNIE-4.5-300b-a47b-base-pt-fast:novita",
        ),
        ("zai", "glm-5", "zhipu", "glm-5"),
    ] {
        let price = price::find(provider, model, NOW_MS);
        assert!(price.is_some(), "{provider} {model}");
        assert_eq!(price::find(same_provider, same_model, NOW_MS), price, "{same_provider} {same_model}");
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
        let input = |ms| price::find("deepseek", model, ms).unwrap().rate(b'i').unwrap();
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
fn a_price_holds_from_its_day() {
    for model in ["gemini-3.6-flash", "gemini-3.7-flash", "gemini-3.8-flash"] {
        let rate = |letter, ms| price::find("gemini", model, ms).unwrap().rate(letter).unwrap();
        for (letter, this_year, next_year) in [(b'i', 750_000, 1_500_000), (b'o', 3_750_000, 7_500_000)] {
            assert_eq!(
                [rate(letter, NEW_YEAR_MS - 1), rate(letter, NEW_YEAR_MS)],
                [this_year, next_year],
                "{model}"
            );
        }
    }
}

#[test]
fn every_kind_costs_its_own_rate_or_its_totals() {
    let used = Usage {
        input_tokens: 45,
        cache_read_input_tokens: 10,
        cache_write_5m_input_tokens: 3,
        cache_write_1h_input_tokens: 4,
        audio_input_tokens: 11,
        image_input_tokens: 9,
        video_input_tokens: 7,
        cache_read_audio_input_tokens: 5,
        cache_read_image_input_tokens: 2,
        ..Usage::default()
    };
    let made = Usage {
        output_tokens: 95,
        reasoning_output_tokens: 10,
        audio_output_tokens: 20,
        image_output_tokens: 30,
        video_output_tokens: 25,
        ..Usage::default()
    };
    let both = Usage { tier: ServiceTier::Standard, output_tokens: 95, reasoning_output_tokens: 10, ..used };
    let pieces = |name: &str, count| match name {
        "images" => Usage { images: count, ..Usage::default() },
        "characters" => Usage { characters: count, ..Usage::default() },
        "audio_ms" => Usage { audio_ms: count, ..Usage::default() },
        "searches" => Usage { searches: count, ..both },
        "file_searches" => Usage { file_searches: count, ..both },
        _ => Usage { search_units: count, ..Usage::default() },
    };
    // Two decimal digits a kind, so that each can be read off the sum.
    for (prices, usage, cost) in [
        ("i1 r100 w10000 h1000000 a100000000 p10000000000 v1000000000000", used, Some(7_07_06_04_03_10_08)),
        ("i1 r100 c10000 d1000000 a100000000 p10000000000", used, Some(7_06_02_05_03_22)),
        ("i1 r100 w10000", used, Some(7_10_28)),
        ("i1", used, Some(45)),
        ("i1 a100", used, Some(11_34)),
        ("r1", used, None),
        ("i1", made, None),
        ("o1 t100 b10000 g1000000 f100000000", made, Some(25_30_20_10_10)),
        ("o1 t100", made, Some(10_85)),
        ("o1", made, Some(95)),
        ("g1", made, None),
        ("i1 o1", both, Some(140)),
        ("i1 o1 q7", both, Some(147)),
        ("i1 o1 s1000 k100", pieces("searches", 3), Some(3_140)),
        ("i1 o1 s1000 k100", pieces("file_searches", 3), Some(440)),
        ("i1 o1", pieces("searches", 1), None),
        ("i1 o1", pieces("file_searches", 1), None),
        ("n40000", pieces("images", 3), Some(120_000)),
        ("x15", pieces("characters", 4_096), Some(61_440)),
        ("m100", pieces("audio_ms", 61_500), Some(6_150)),
        ("u2000", pieces("search_units", 2), Some(4_000)),
        ("n40000", pieces("characters", 2), None),
        ("i1 o1", pieces("images", 1), None),
        // A picture is not charged by its tokens as well; what is sold by the token is not by the piece.
        ("n40000", Usage { images: 1, ..both }, Some(40_000)),
        ("i1 o1", Usage { images: 1, audio_ms: 5, characters: 8, ..both }, Some(140)),
        ("i1 o1", Usage::default(), Some(0)),
        ("q5000", Usage::default(), Some(5_000)),
    ] {
        let price = Price::read(prices.as_bytes(), NOW_MS).unwrap();
        assert_eq!(price.cost_microusd(&usage), cost, "{prices} {usage:?}");
    }
}

#[test]
fn a_tier_costs_its_factor_or_what_is_said_of_it() {
    let usage =
        Usage { input_tokens: 1_000, cache_read_input_tokens: 400, output_tokens: 100, ..Usage::default() };
    let cost = |prices: &str, tier, searches| {
        let usage = Usage { tier, searches, ..usage };
        Price::read(prices.as_bytes(), NOW_MS).unwrap().cost_microusd(&usage)
    };
    let prices = "i2 o10 r0.5 s1000 %b0.5 r0.26 %p1.75";
    for (tier, searches, expected) in [
        (ServiceTier::Standard, 0, Some(2_400)),
        (ServiceTier::Batch, 0, Some(600 + 104 + 500)),
        (ServiceTier::Priority, 0, Some(4_200)),
        // Only tokens are cheaper.
        (ServiceTier::Batch, 2, Some(600 + 104 + 500 + 2_000)),
        (ServiceTier::Flex, 0, None),
    ] {
        assert_eq!(cost(prices, tier, searches), expected, "{tier:?}");
    }
    assert_eq!(
        cost("i1;@2026-01-01 i2 o10 r0.5;+ %f0.5", ServiceTier::Flex, 0),
        Some(1_200),
        "at every time"
    );
    for (named, tier) in [
        ("batch", ServiceTier::Batch),
        ("FLEX", ServiceTier::Flex),
        ("priority", ServiceTier::Priority),
        ("default", ServiceTier::Standard),
        ("on_demand", ServiceTier::Standard),
        ("", ServiceTier::Standard),
    ] {
        assert_eq!(ServiceTier::named(named), tier, "{named}");
    }
}

#[test]
fn a_long_input_costs_more_by_steps() {
    let price = Price::read(b"i1/2/4 o10/10/30 r0.1 >100/200", NOW_MS).unwrap();
    for (input_tokens, expected) in
        [(100, 1_000 + 100), (101, 1_000 + 202), (200, 1_000 + 400), (201, 3_000 + 804)]
    {
        let usage = Usage { input_tokens, output_tokens: 100, ..Usage::default() };
        assert_eq!(price.cost_microusd(&usage), Some(expected), "{input_tokens}");
    }
}

#[test]
fn parts_that_exceed_their_total_are_cut_off() {
    let usage = Usage { input_tokens: 10, cache_read_input_tokens: 99, ..Usage::default() };
    assert_eq!(Price::read(b"i5 r1", NOW_MS).unwrap().cost_microusd(&usage), Some(10));
}

#[test]
fn a_cost_is_rounded_half_up_and_never_wraps() {
    let cost = |prices: &str, tokens| {
        let usage = Usage { input_tokens: tokens, ..Usage::default() };
        Price::read(prices.as_bytes(), NOW_MS).unwrap().cost_microusd(&usage)
    };
    assert_eq!(cost("i0.499999", 1), Some(0));
    assert_eq!(cost("i0.5", 1), Some(1));
    assert_eq!(cost("i0.5", 3), Some(2));
    assert_eq!(cost("i1", i64::MAX as u64), Some(i64::MAX));
    assert_eq!(cost("i1", i64::MAX as u64 + 1), None);
    assert_eq!(cost("i18446744073709", u64::MAX), None);
}

#[test]
fn ids_are_sorted_and_unique_and_lie_before_the_patterns_of_their_provider() {
    let keys: Vec<(&str, bool, &str)> = TABLE
        .lines()
        .map(|line| columns(line).0)
        .map(|(provider, id)| (provider, is_pattern(id), id))
        .collect();
    for pair in keys.windows(2) {
        assert!(pair[0].0 <= pair[1].0, "{pair:?}");
        assert!(pair[0].0 < pair[1].0 || pair[1].1 || pair[0] < pair[1], "{pair:?}");
    }
}

#[test]
fn every_id_is_found_and_listed() {
    let mut priced = std::collections::BTreeMap::<&str, Vec<&str>>::new();
    for line in TABLE.lines() {
        let ((provider, id), prices) = columns(line);
        if is_pattern(id) {
            continue;
        }
        let expected = Price::read(prices.as_bytes(), NOW_MS);
        assert_eq!(price::find(provider, id, NOW_MS), expected, "{line}");
        if !prices.is_empty() {
            priced.entry(provider).or_default().push(id);
        }
    }
    for (provider, ids) in priced {
        assert_eq!(price::models(provider), ids, "{provider}");
    }
    assert!(price::models("nobody").is_empty() && price::models("").is_empty());
}

#[test]
fn patterns_point_at_providers_that_are_there() {
    for (line, ((_, globs), prices)) in TABLE.lines().map(|line| (line, columns(line))) {
        if !is_pattern(globs) {
            continue;
        }
        assert!(!globs.contains("**") && !globs.contains("*#"), "a star stands before a letter: {line}");
        if let Some(next) = prices.strip_prefix(['=', '<']) {
            assert!(TABLE.lines().any(|line| columns(line).0.0 == next), "{line}");
            assert!(prices.starts_with('=') || globs.split('|').all(|glob| glob.contains('*')), "{line}");
        }
    }
}

#[test]
fn every_line_is_written_as_it_is_read() {
    for line in TABLE.lines() {
        let ((provider, id), prices) = columns(line);
        assert!(!provider.is_empty() && !id.is_empty(), "{line}");
        assert_eq!(line, line.to_ascii_lowercase());
        if prices.is_empty() || prices.starts_with(['=', '<']) {
            continue;
        }
        for (at, segment) in prices.split(';').enumerate() {
            let words: Vec<&str> = segment.split(' ').collect();
            let is_conditional = words[0].starts_with(['@', '~', '+']);
            assert_eq!(is_conditional, at > 0, "only the first segment always holds: {line}");
            assert!(words[0] != "+" || prices.ends_with(segment), "what always holds is last: {line}");
            let steps = words
                .iter()
                .find_map(|word| word.strip_prefix('>'))
                .map_or(0, |starts| starts.split('/').count());
            for word in &words[usize::from(is_conditional)..] {
                let numbers = match word.strip_prefix('%') {
                    Some(tier) => tier.strip_prefix(['b', 'f', 'p']).expect(line),
                    None => word.strip_prefix(|kind| "iorwhtapvcdbgfmxnusekq>".contains(kind)).expect(line),
                };
                assert!([1, steps, steps + 1].contains(&numbers.split('/').count()), "{word} in {line}");
                for decimal in numbers.split('/') {
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

    // Models by their names, not counting patterns, of what is sold how.
    let priced = TABLE.lines().map(columns).filter(|((_, id), prices)| !is_pattern(id) && !prices.is_empty());
    let with = |letters: &str| {
        let sold_by = |prices: &str| {
            prices.split([' ', ';', '/']).any(|word| word.starts_with(|kind| letters.contains(kind)))
        };
        priced.clone().filter(|(_, prices)| sold_by(prices)).count()
    };
    let embeds = priced.clone().filter(|((_, id), _)| id.contains("embed")).count();
    let reranks = priced.clone().filter(|((_, id), _)| id.contains("rerank")).count();
    for (kind, count, least) in [
        ("models", priced.clone().count(), 2_800),
        ("by output tokens", with("o"), 2_500),
        ("with a cache", with("r"), 950),
        ("in batches or other tiers", with("%"), 300),
        ("with dates or hours", priced.clone().filter(|(_, prices)| prices.contains(['@', '~'])).count(), 25),
        ("with long contexts", with(">"), 130),
        ("sound by the token", with("ab"), 60),
        ("sound by its length", with("m"), 25),
        ("speech by characters", with("x"), 20),
        ("pictures by the token", with("pg"), 30),
        ("pictures by the piece", with("n"), 30),
        ("searches of the web", with("s"), 200),
        ("rerankers", reranks, 15),
        ("embeddings", embeds, 50),
    ] {
        assert!(count >= least, "{count} {kind}");
    }
}

#[test]
fn a_look_up_takes_microseconds() {
    let models = ["gpt-4.1", "z-ai/glm-5.3-flash", "nobody/unheard-of", "openai/gpt-5"];
    let started = std::time::Instant::now();
    for _ in 0..250 {
        for model in models {
            std::hint::black_box(price::find("openrouter", std::hint::black_box(model), NOW_MS));
        }
    }
    // Not optimised, on a busy machine: a bound against another order of growth, not a measurement.
    assert!(
        started.elapsed() / 1_000 < std::time::Duration::from_micros(500),
        "{:?}",
        started.elapsed() / 1_000
    );
}

fn columns(line: &str) -> ((&str, &str), &str) {
    let (provider, rest) = line.split_once(' ').expect("a line has a provider and an id");
    let (id, prices) = rest.split_once(' ').unwrap_or((rest, ""));
    ((provider, id), prices)
}

fn is_pattern(id: &str) -> bool {
    id.contains(['*', '#'])
}

/// Of 2027.
const NEW_YEAR_MS: i64 = 1_798_761_600_000;
