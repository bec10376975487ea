//! What each Claude model takes, where that decides how a request is written.
//!
//! Read off the version in the name, so that a model released tomorrow is treated like the newest we
//! know instead of failing on a list. What a model refuses beyond this, the API says itself.

use crate::{Error, chat};

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) struct Model {
    /// `max_tokens` where the caller sets no bound: what the model can give, up to a size that leaves
    /// room for the prompt. An unused rest costs nothing and does not count against rate limits.
    pub(in crate::dialect) max_tokens: u64,
    /// How thinking is asked for.
    pub(in crate::dialect) thinking: Thinking,
    /// How thinking is turned off.
    pub(in crate::dialect) off: Off,
    /// Whether the model may be forced to call a tool.
    pub(in crate::dialect) forced_tools: bool,
    /// Whether `temperature` and its like are refused even without thinking.
    pub(in crate::dialect) fixed_sampling: bool,
    /// Whether an answer can be bound to a JSON schema.
    pub(in crate::dialect) schemas: bool,
    /// The most effort there is, as the API calls it.
    pub(in crate::dialect) highest_effort: &'static str,
    /// Whether Bedrock hands Anthropic's own `tool_choice` on to it.
    pub(in crate::dialect) own_choice: bool,
}

/// How thinking is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) enum Thinking {
    /// The model decides; `output_config.effort` guides it.
    Adaptive,
    /// With a number of tokens.
    Budget,
}

/// How thinking is turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) enum Off {
    /// `thinking: {"type": "between_tools"}`, which is nearly off.
    BetweenTools,
    /// By not asking for it.
    Default,
    /// `thinking: {"type": "disabled"}`.
    Disabled,
    /// Not at all; the least effort comes nearest.
    Never,
}

/// What is sent of the wishes for sampling.
pub(in crate::dialect) struct Sampling {
    pub(in crate::dialect) temperature: Option<f64>,
    pub(in crate::dialect) top_p: Option<f64>,
    pub(in crate::dialect) top_k: Option<u64>,
}

/// Why a model without [`Model::forced_tools`] does not take the request.
pub(in crate::dialect) fn cannot_force_tools(model: &str) -> Error {
    let message = format!(
        "`{model}` always thinks, and thinking excludes forced tools. Use `\"tool_choice\": \"auto\"` and ask \
         for the tool in a message, or use `response_format` for structured output."
    );
    Error::unsupported("tool_choice", message)
}

impl Model {
    /// Sampling, as far as the model has it. A value of 1 is the default everywhere and need not be sent.
    pub(in crate::dialect) fn sampling(
        &self,
        request: &chat::Request,
        thinks: bool,
        dropped: &mut Vec<String>,
    ) -> Sampling {
        let fixed = self.fixed_sampling;
        let mut keep = |name: &str, allowed: bool| {
            if !allowed {
                dropped.push(name.to_owned());
            }
            allowed
        };
        // OpenAI's scale ends at 2 and this one at 1, which is then the nearest.
        let temperature = request.temperature.filter(|value| *value != 1.0);
        let temperature = temperature.filter(|value| keep("temperature", !fixed && !thinks && *value < 1.0));
        let top_p = request.top_p.filter(|value| *value != 1.0);
        // Newer models refuse the two together, and thinking leaves little room for this one.
        let top_p = top_p
            .filter(|value| keep("top_p", !fixed && temperature.is_none() && (!thinks || *value >= 0.95)));
        let top_k = request.top_k.filter(|_| keep("top_k", !fixed && !thinks));
        Sampling { temperature, top_p, top_k }
    }

    /// The model of this name.
    pub(in crate::dialect) fn named(name: &str) -> Self {
        let version = version(name).unwrap_or(NEWEST);
        let is = |family: &str| name.contains(family);
        let off = match version {
            _ if version < (5, 0) => Off::Default,
            _ if version < (5, 5) && (is("opus") || is("sonnet")) => Off::Disabled,
            _ if is("haiku") => Off::Disabled,
            _ if is("sonnet") => Off::BetweenTools,
            _ => Off::Never,
        };
        let forced_tools = match version {
            _ if is("fable") || is("mythos") => version < (5, 1),
            _ if is("opus") || is("sonnet") => version < (5, 5),
            _ => true,
        };
        Self {
            max_tokens: match version {
                _ if version < (3, 5) => 4_096,
                _ if version < (3, 7) => 8_192,
                _ if version < (4, 6) => 32_000,
                _ => 64_000,
            },
            thinking: if version < (4, 6) { Thinking::Budget } else { Thinking::Adaptive },
            off,
            forced_tools,
            fixed_sampling: version >= (4, 7),
            schemas: version >= (4, 5) || (version == (4, 1) && is("opus")),
            highest_effort: if version >= (4, 7) { "xhigh" } else { "max" },
            own_choice: version >= (4, 5),
        }
    }
}

/// The first two numbers in a name, dates left out: `claude-3-5-haiku-20241022`, `claude-opus-4-8`.
fn version(name: &str) -> Option<(u32, u32)> {
    let mut words = name.split(|letter: char| !letter.is_ascii_alphanumeric()).map(|word| match word.len() {
        1 | 2 => word.parse().ok(),
        _ => None,
    });
    let major = words.find_map(|word| word)?;
    Some((major, words.next().flatten().unwrap_or(0)))
}

/// Stands in where a name has no version, as in `claude-mythos-preview`.
const NEWEST: (u32, u32) = (5, 5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_ways_are_read_off_its_name() {
        use Off::{BetweenTools, Default, Disabled, Never};
        use Thinking::{Adaptive, Budget};
        // name, version, default max_tokens, thinking, how it is turned off, may be forced, fixed sampling
        let cases = [
            ("claude-3-haiku-20240307", Some((3, 0)), 4_096, Budget, Default, true, false),
            ("claude-3-5-haiku-20241022", Some((3, 5)), 8_192, Budget, Default, true, false),
            ("claude-3-7-sonnet-latest", Some((3, 7)), 32_000, Budget, Default, true, false),
            ("claude-sonnet-4-20250514", Some((4, 0)), 32_000, Budget, Default, true, false),
            ("claude-sonnet-4-5@20250929", Some((4, 5)), 32_000, Budget, Default, true, false),
            ("claude-haiku-4-5", Some((4, 5)), 32_000, Budget, Default, true, false),
            ("claude-opus-4-5-20251101", Some((4, 5)), 32_000, Budget, Default, true, false),
            ("anthropic.claude-opus-4-6-v1", Some((4, 6)), 64_000, Adaptive, Default, true, false),
            ("claude-sonnet-4.6", Some((4, 6)), 64_000, Adaptive, Default, true, false),
            ("claude-opus-4-8", Some((4, 8)), 64_000, Adaptive, Default, true, true),
            ("claude-opus-5", Some((5, 0)), 64_000, Adaptive, Disabled, true, true),
            ("claude-sonnet-5", Some((5, 0)), 64_000, Adaptive, Disabled, true, true),
            ("claude-fable-5", Some((5, 0)), 64_000, Adaptive, Never, true, true),
            ("claude-fable-5-1", Some((5, 1)), 64_000, Adaptive, Never, false, true),
            ("claude-opus-5-5", Some((5, 5)), 64_000, Adaptive, Never, false, true),
            ("claude-sonnet-5-5", Some((5, 5)), 64_000, Adaptive, BetweenTools, false, true),
            ("claude-haiku-5-5", Some((5, 5)), 64_000, Adaptive, Disabled, true, true),
            ("claude-mythos-preview", None, 64_000, Adaptive, Never, false, true),
            ("claude-opus-12", Some((12, 0)), 64_000, Adaptive, Never, false, true),
        ];
        for (name, number, max_tokens, thinking, off, forced_tools, fixed_sampling) in cases {
            assert_eq!(version(name), number, "{name}");
            let highest_effort = if fixed_sampling { "xhigh" } else { "max" };
            let schemas = number.is_none_or(|number| number >= (4, 5));
            let expected = Model {
                max_tokens,
                thinking,
                off,
                forced_tools,
                fixed_sampling,
                schemas,
                highest_effort,
                own_choice: schemas,
            };
            assert_eq!(Model::named(name), expected, "{name}");
        }
        assert!(Model::named("claude-opus-4-1-20250805").schemas);
    }
}
