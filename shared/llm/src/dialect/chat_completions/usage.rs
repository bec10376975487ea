//! What a compatible provider counts, in any of the places where one puts it.

use serde_json::{Value, json, value::RawValue};

use crate::{Usage, dialect::count, usage::ServiceTier};

/// The usage in a whole answer or a chunk: from `usage`, or from Groq's own `x_groq.usage`. `tier` is what stands
/// beside it in `service_tier`.
pub(super) fn read(
    usage: Option<&RawValue>,
    x_groq: Option<&RawValue>,
    tier: Option<&RawValue>,
) -> Option<Usage> {
    let value = |raw: Option<&RawValue>| serde_json::from_str::<Value>(raw?.get()).ok();
    let usage =
        value(usage).as_ref().and_then(canonical).or_else(|| canonical(value(x_groq)?.get("usage")?))?;
    let tier = value(tier).and_then(|tier| tier.as_str().map(ServiceTier::named)).unwrap_or_default();
    Some(Usage { tier, ..usage })
}

/// The usage, as a caller is told it: cached tokens inside `prompt_tokens`, reasoning tokens inside
/// `completion_tokens`.
pub(super) fn write(usage: &Usage) -> Value {
    let written = usage.cache_write_5m_input_tokens.saturating_add(usage.cache_write_1h_input_tokens);
    let mut prompt =
        json!({ "cached_tokens": usage.cache_read_input_tokens, "audio_tokens": usage.audio_input_tokens });
    let mut completion = json!({
        "reasoning_tokens": usage.reasoning_output_tokens, "audio_tokens": usage.audio_output_tokens
    });
    // OpenRouter's names; OpenAI has none.
    let more = [
        (&mut prompt, "cache_write_tokens", written),
        (&mut completion, "image_tokens", usage.image_output_tokens),
    ];
    for (details, name, count) in more {
        if count > 0 {
            details[name] = json!(count);
        }
    }
    if usage.image_input_tokens > 0 {
        prompt["image_tokens"] = json!(usage.image_input_tokens);
    }
    let mut wire = json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
        "prompt_tokens_details": prompt,
        "completion_tokens_details": completion,
    });
    if usage.searches > 0 {
        wire["server_tool_use"] = json!({ "web_search_requests": usage.searches });
    }
    if let Some(cost) = usage.provider_cost_microusd {
        wire["cost"] = json!(cost as f64 / 1e6);
    }
    wire
}

/// Cached tokens are inside `prompt_tokens` and reasoning tokens inside `completion_tokens`, except where a
/// provider's own total shows that it counts reasoning apart (xAI). An odd number is as good as none.
fn canonical(usage: &Value) -> Option<Usage> {
    let count = |path: &str| count(usage, path);
    let some = |path: &str| count(path).unwrap_or(0);
    let (input, output) = (count("/prompt_tokens"), count("/completion_tokens"));
    // Neither known: nothing is.
    input.or(output)?;
    let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
    let reasoning = count("/completion_tokens_details/reasoning_tokens")
        // Perplexity's and some others' place for it.
        .or(count("/reasoning_tokens"))
        .unwrap_or(0);
    let cached = count("/prompt_tokens_details/cached_tokens")
        // DeepSeek's name, and where some servers of open models say it.
        .or(count("/prompt_cache_hit_tokens"))
        .or(count("/cached_tokens"));
    let all = input.saturating_add(output).saturating_add(reasoning);
    let apart = reasoning > 0 && count("/total_tokens") == Some(all);
    Some(Usage {
        input_tokens: input,
        cache_read_input_tokens: cached.unwrap_or(0),
        // OpenRouter's name, and LiteLLM's.
        cache_write_5m_input_tokens: count("/prompt_tokens_details/cache_write_tokens")
            .or(count("/prompt_tokens_details/cache_creation_tokens"))
            .unwrap_or(0),
        audio_input_tokens: some("/prompt_tokens_details/audio_tokens"),
        image_input_tokens: some("/prompt_tokens_details/image_tokens"),
        video_input_tokens: some("/prompt_tokens_details/video_tokens"),
        output_tokens: if apart { output.saturating_add(reasoning) } else { output },
        reasoning_output_tokens: reasoning,
        audio_output_tokens: some("/completion_tokens_details/audio_tokens"),
        image_output_tokens: some("/completion_tokens_details/image_tokens"),
        // Perplexity's name, xAI's and OpenRouter's.
        searches: count("/num_search_queries")
            .or(count("/num_sources_used"))
            .or(count("/server_tool_use/web_search_requests"))
            .unwrap_or(0),
        provider_cost_microusd: cost(usage),
        ..Usage::default()
    })
}

/// What the provider says it costs: in dollars (OpenRouter, Perplexity), or in ten thousand millionths of one
/// (xAI).
fn cost(usage: &Value) -> Option<i64> {
    let number = |path: &str| usage.pointer(path).and_then(Value::as_f64);
    let dollars = number("/cost").or(number("/cost/total_cost"));
    let micro =
        dollars.map(|dollars| dollars * 1e6).or(number("/cost_in_usd_ticks").map(|ticks| ticks / 1e4))?;
    (0.0..1e12).contains(&micro).then(|| micro.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_and_name_is_read() {
        let none = Usage::default();
        let both = Usage { input_tokens: 9, output_tokens: 4, ..none };
        #[rustfmt::skip]
        let cases = [
            (r#"{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}"#, both),
            (r#"{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":null,"total_tokens":13.5}"#, both),
            (r#"{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":5,"audio_tokens":1,"cache_write_tokens":2},"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":1}}"#,
                Usage { cache_read_input_tokens: 5, audio_input_tokens: 1, cache_write_5m_input_tokens: 2, reasoning_output_tokens: 3, audio_output_tokens: 1, ..both }),
            // DeepSeek
            (r#"{"prompt_tokens":9,"completion_tokens":4,"prompt_cache_hit_tokens":7,"prompt_cache_miss_tokens":2}"#, Usage { cache_read_input_tokens: 7, ..both }),
            (r#"{"prompt_tokens":9,"completion_tokens":4,"cached_tokens":7}"#, Usage { cache_read_input_tokens: 7, ..both }),
            // xAI counts reasoning apart, as its total shows.
            (r#"{"prompt_tokens":9,"completion_tokens":4,"total_tokens":16,"completion_tokens_details":{"reasoning_tokens":3}}"#, Usage { output_tokens: 7, reasoning_output_tokens: 3, ..both }),
            (r#"{"prompt_tokens":9,"completion_tokens":4,"num_sources_used":3,"cost_in_usd_ticks":37756000}"#, Usage { searches: 3, provider_cost_microusd: Some(3_776), ..both }),
            (r#"{"prompt_tokens":9,"completion_tokens":4,"cost":0.00014,"server_tool_use":{"web_search_requests":2}}"#, Usage { searches: 2, provider_cost_microusd: Some(140), ..both }),
            (r#"{"prompt_tokens":9,"completion_tokens":4,"reasoning_tokens":2,"num_search_queries":5,"cost":{"total_cost":0.006}}"#, Usage { reasoning_output_tokens: 2, searches: 5, provider_cost_microusd: Some(6_000), ..both }),
            (r#"{"prompt_tokens":9,"completion_tokens":4,"cost":-1}"#, both),
        ];
        for (json, expected) in cases {
            let raw: &RawValue = serde_json::from_str(json).expect("JSON");
            assert_eq!(read(Some(raw), None, None), Some(expected), "{json}");
            let groq = format!(r#"{{"id":"req_1","usage":{json}}}"#);
            let groq: &RawValue = serde_json::from_str(&groq).expect("JSON");
            assert_eq!(read(None, Some(groq), None), Some(expected), "{json}");
        }
        for json in ["{}", "[]", "5", r#"{"total_tokens":3}"#] {
            let raw: &RawValue = serde_json::from_str(json).expect("JSON");
            assert_eq!(read(Some(raw), None, None), None, "{json}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let usage = Usage {
            input_tokens: 90,
            cache_read_input_tokens: 50,
            cache_write_5m_input_tokens: 7,
            audio_input_tokens: 3,
            image_input_tokens: 4,
            output_tokens: 40,
            reasoning_output_tokens: 20,
            audio_output_tokens: 5,
            image_output_tokens: 6,
            searches: 2,
            provider_cost_microusd: Some(1_234),
            ..Usage::default()
        };
        let raw = serde_json::value::to_raw_value(&write(&usage)).expect("JSON");
        assert_eq!(read(Some(&raw), None, None), Some(usage));
        let tier: &RawValue = serde_json::from_str("\"flex\"").expect("JSON");
        assert_eq!(read(Some(&raw), None, Some(tier)), Some(Usage { tier: ServiceTier::Flex, ..usage }));
    }
}
