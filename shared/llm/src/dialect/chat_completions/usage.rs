//! What a compatible provider counts, in any of the places where one puts it.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::Usage;

/// The usage in a whole answer or a chunk: from `usage`, or from Groq's own `x_groq.usage`.
pub(super) fn read(usage: Option<&RawValue>, x_groq: Option<&RawValue>) -> Option<Usage> {
    let usage = usage.and_then(|raw| serde_json::from_str::<WireUsage>(raw.get()).ok());
    let groq = || serde_json::from_str::<XGroq>(x_groq?.get()).ok()?.usage;
    usage.or_else(groq).and_then(WireUsage::canonical)
}

impl WireUsage {
    /// Cached tokens are inside `prompt_tokens` and reasoning tokens inside `completion_tokens`, except
    /// where a provider's own total shows that it counts reasoning apart (xAI).
    fn canonical(self) -> Option<Usage> {
        let (input, output) = (self.prompt_tokens, self.completion_tokens);
        // Neither known: nothing is.
        input.or(output)?;
        let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
        let prompt = self.prompt_tokens_details.unwrap_or_default();
        let completion = self.completion_tokens_details.unwrap_or_default();
        let reasoning = completion.reasoning_tokens.unwrap_or(0);
        let cached = prompt.cached_tokens.or(self.prompt_cache_hit_tokens).or(self.cached_tokens);
        let all = input.saturating_add(output).saturating_add(reasoning);
        let apart = reasoning > 0 && self.total_tokens == Some(all);
        Some(Usage {
            input_tokens: input,
            cache_read_input_tokens: cached.unwrap_or(0),
            cache_write_5m_input_tokens: prompt.cache_write_tokens.unwrap_or(0),
            output_tokens: if apart { output.saturating_add(reasoning) } else { output },
            reasoning_output_tokens: reasoning,
            audio_input_tokens: prompt.audio_tokens.unwrap_or(0),
            audio_output_tokens: completion.audio_tokens.unwrap_or(0),
            ..Usage::default()
        })
    }
}

// --- wire ---

#[derive(Deserialize)]
struct XGroq {
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default, deserialize_with = "count")]
    prompt_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    completion_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    /// DeepSeek's name for what was read from its cache.
    #[serde(default, deserialize_with = "count")]
    prompt_cache_hit_tokens: Option<u64>,
    /// Where some servers of open models say the same.
    #[serde(default, deserialize_with = "count")]
    cached_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct PromptDetails {
    #[serde(default, deserialize_with = "count")]
    cached_tokens: Option<u64>,
    /// OpenRouter's name.
    #[serde(default, deserialize_with = "count")]
    cache_write_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    audio_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct CompletionDetails {
    #[serde(default, deserialize_with = "count")]
    reasoning_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    audio_tokens: Option<u64>,
}

/// A number of tokens; anything else is not known.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(<&RawValue>::deserialize(deserializer)?.get().parse().ok())
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
        ];
        for (json, expected) in cases {
            let raw: &RawValue = serde_json::from_str(json).expect("JSON");
            assert_eq!(read(Some(raw), None), Some(expected), "{json}");
            let groq = format!(r#"{{"id":"req_1","usage":{json}}}"#);
            let groq: &RawValue = serde_json::from_str(&groq).expect("JSON");
            assert_eq!(read(None, Some(groq)), Some(expected), "{json}");
        }
        for json in ["{}", "[]", "5", r#"{"total_tokens":3}"#] {
            let raw: &RawValue = serde_json::from_str(json).expect("JSON");
            assert_eq!(read(Some(raw), None), None, "{json}");
        }
    }
}
