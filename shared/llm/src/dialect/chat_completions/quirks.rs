//! In what compatible providers differ from OpenAI, and OpenAI's models from one another.
//!
//! Sent is what a provider documents. What it does not is left out, because some refuse fields they do
//! not know. Whose word a row rests on stands at the row: a provider's reference of its API, its official client, or,
//! where those are silent, what its API was seen to answer.

use crate::{
    Target,
    chat::{Effort, OPENAIS, VERBOSITY},
    dialect::responses::encode::Model,
    usage::ServiceTier,
};

/// How one provider wants one model asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quirks {
    /// The role of instructions from the developer.
    pub(super) developer: &'static str,
    /// Whether instructions must come before the conversation.
    pub(super) system_first: bool,
    /// Whether one side's messages in a row must be one message.
    pub(super) alternates: bool,
    /// Whether an answer that the caller began must be marked as one.
    pub(super) prefix: bool,
    /// `max_tokens`, or what it is called now.
    pub(super) max_tokens: &'static str,
    /// The name of the seed, where there is one.
    pub(super) seed: Option<&'static str>,
    /// Whether the model takes temperature and its like.
    pub(super) sampling: bool,
    pub(super) penalties: bool,
    pub(super) top_k: bool,
    pub(super) user: bool,
    /// Whether a tool may bind its arguments to the schema.
    pub(super) strict_tools: bool,
    /// The word for "call some tool".
    pub(super) required: &'static str,
    /// Whether that can be said at all.
    pub(super) requires: bool,
    /// Whether calls can be asked for one at a time (`parallel_tool_calls: false`).
    pub(super) one_call: bool,
    pub(super) files: Files,
    /// How many stop texts there may be.
    pub(super) max_stops: usize,
    /// The bound of an answer where the caller sets none and the provider's own would cut most answers.
    pub(super) default_max_tokens: Option<u64>,
    /// Whether there are tools at all.
    pub(super) tools: bool,
    /// How parts are marked for the prompt cache.
    pub(super) cache_marks: Marks,
    pub(super) replay: Replay,
    pub(super) thinking: Thinking,
    pub(super) call_ids: CallIds,
    /// Whether the answer can be bound to a JSON schema. Else a forced tool takes its place.
    pub(super) schemas: Schemas,
    /// Whether thought is shown, and can be hidden with `include_reasoning`.
    pub(super) shows: Shows,
    /// Whether the model tells the probabilities of its tokens.
    pub(super) logprobs: bool,
    /// The prices that can be asked for, and what they are called.
    pub(super) tiers: &'static [(ServiceTier, &'static str)],
    /// Which fields of OpenAI's own it knows.
    pub(super) openais: &'static [&'static str],
    /// Whether the end user has a second name.
    pub(super) safety: bool,
    /// Whether a request is filed under labels. OpenAI files only what it is to store.
    pub(super) labels: bool,
}

/// How documents are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    No,
    ByContent,
    ByContentOrAddress,
}

/// Whether thought is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    Always,
    /// Unless `include_reasoning` is false.
    IfIncluded,
    Never,
}

/// Whether an answer can be bound to a JSON schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schemas {
    /// Neither streamed nor beside tools (Groq).
    Alone,
    No,
    Yes,
}

/// How text is marked as worth keeping in the prompt cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    /// With `cache_control`.
    Anthropics,
    No,
    /// With `prompt_cache_breakpoint`.
    OpenAis,
}

/// How earlier thought is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replay {
    No,
    /// As text in `reasoning_content`.
    Content,
    /// The same, and present beside every tool call, with these words if there was no thought.
    ContentBesideCalls {
        none: &'static str,
    },
    /// As signed or encrypted blocks, in `reasoning_details`; Claude's go to Claude only.
    Details {
        claude: bool,
    },
    /// As a part of the content (Mistral).
    Parts,
    /// As text in `reasoning`.
    Reasoning,
    /// As text in `reasoning_details` (MiniMax).
    Texts,
}

/// How a model is told how much to think.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Thinking {
    /// Not at all.
    No,
    /// `thinking.type` and `reasoning_effort`, of which the highest is `max` (DeepSeek).
    DeepSeek,
    /// `reasoning_effort`, one of these. `none` may be missing; the ends stand for what is beyond them.
    Efforts(&'static [Effort]),
    /// OpenRouter's `reasoning`, which takes a budget too.
    OpenRouter,
    /// Not at all; it is in the text, unless `reasoning_split` asks for it apart (MiniMax).
    Split,
    /// `thinking.type` alone (Zhipu).
    OnOff,
    /// `reasoning_effort` is `none` or `default`; without `reasoning_format` the thought would be in the
    /// text (Qwen at Groq).
    OnOrOff,
}

/// What ids of tool calls may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallIds {
    Any,
    /// OpenAI refuses longer ones.
    UpTo40,
    /// Exactly nine letters and digits (Mistral).
    Nine,
}

impl Quirks {
    pub(super) fn of(target: &Target<'_>) -> Self {
        let model = target.model.to_ascii_lowercase();
        let common = Self {
            developer: "system",
            system_first: false,
            prefix: false,
            alternates: false,
            max_tokens: "max_tokens",
            seed: Some("seed"),
            sampling: true,
            penalties: true,
            top_k: false,
            user: false,
            strict_tools: true,
            required: "required",
            requires: true,
            one_call: true,
            files: Files::No,
            max_stops: usize::MAX,
            default_max_tokens: None,
            tools: true,
            cache_marks: Marks::No,
            replay: Replay::No,
            thinking: Thinking::Efforts(LOW_TO_HIGH),
            call_ids: CallIds::Any,
            schemas: Schemas::Yes,
            shows: Shows::Always,
            logprobs: false,
            tiers: &[],
            openais: &[],
            safety: false,
            labels: false,
        };
        match target.provider.name {
            // Its reference lists no penalties, and four texts to stop at.
            "cerebras" => Self { penalties: false, user: true, max_stops: 4, ..common },
            "deepseek" => Self {
                seed: None,
                strict_tools: false,
                replay: Replay::ContentBesideCalls { none: "" },
                thinking: Thinking::DeepSeek,
                schemas: Schemas::No,
                logprobs: true,
                ..common
            },
            "fireworks" => Self {
                top_k: true,
                user: true,
                replay: Replay::Content,
                thinking: Thinking::Efforts(NONE_TO_HIGH),
                ..common
            },
            // Its official client says of both penalties that none of its models takes them.
            "groq" => Self {
                penalties: false,
                user: true,
                max_stops: 4,
                tiers: &[(ServiceTier::Standard, "on_demand"), (ServiceTier::Flex, "flex")],
                thinking: groq(&model),
                shows: Shows::IfIncluded,
                schemas: if ["gpt-oss", "kimi-k2", "llama-4"].iter().any(|newer| model.contains(newer)) {
                    Schemas::Alone
                } else {
                    Schemas::No
                },
                ..common
            },
            // Its guide to tools: thought comes apart if that is asked for, and goes back as it came. It says that
            // penalties mean nothing to it.
            "minimax" => {
                Self { penalties: false, replay: Replay::Texts, thinking: Thinking::Split, ..common }
            }
            // The fields are those of its official client.
            "mistral" => Self {
                system_first: true,
                prefix: true,
                seed: Some("random_seed"),
                top_k: true,
                logprobs: true,
                required: "any",
                replay: if mistral(&model) == Thinking::No && !model.starts_with("magistral") {
                    Replay::No
                } else {
                    Replay::Parts
                },
                thinking: mistral(&model),
                call_ids: CallIds::Nine,
                ..common
            },
            "moonshot" => Self::moonshot(&model, common),
            "ollama" => Self { thinking: Thinking::Efforts(NONE_TO_HIGH), ..common },
            // A deployment is mostly named for its model.
            "azure" | "openai" => {
                Self { tiers: OPENAI_TIERS, openais: OPENAIS, safety: true, ..Self::openai(&model, common) }
            }
            "github" if model.starts_with("openai/") => Self::openai(&model["openai/".len()..], common),
            "openrouter" => Self {
                top_k: true,
                user: true,
                files: Files::ByContentOrAddress,
                cache_marks: Marks::Anthropics,
                replay: Replay::Details { claude: model.starts_with("anthropic/") },
                thinking: Thinking::OpenRouter,
                logprobs: true,
                tiers: OPENAI_TIERS,
                openais: &[VERBOSITY],
                labels: true,
                ..common
            },
            "perplexity" => Self { system_first: true, alternates: true, seed: None, tools: false, ..common },
            // What its reference lists.
            "sambanova" => Self { penalties: false, seed: None, top_k: true, ..common },
            "together" => Self { top_k: true, ..common },
            "llama-cpp" => Self { top_k: true, logprobs: true, ..common },
            "vllm" => Self { top_k: true, user: true, replay: Replay::Reasoning, logprobs: true, ..common },
            // Its own is 256.
            "workers-ai" => Self { default_max_tokens: Some(2_048), ..common },
            // Its reference: models that think refuse penalties, and texts to stop at.
            "xai" => {
                let is_idle = ["grok-2", "grok-3"].iter().any(|idle| model.starts_with(idle))
                    || model.contains("non-reasoning");
                let thinks = !is_idle || model.starts_with("grok-3-mini");
                Self {
                    penalties: !thinks,
                    user: true,
                    strict_tools: false,
                    max_stops: if thinks { 0 } else { usize::MAX },
                    thinking: xai(&model),
                    ..common
                }
            }
            // Its reference lists neither penalties nor a seed, and one text to stop at.
            "zhipu" => Self {
                penalties: false,
                seed: None,
                max_stops: 1,
                one_call: false,
                schemas: Schemas::No,
                thinking: Thinking::OnOff,
                ..common
            },
            _ => common,
        }
    }

    /// Kimi, newer than K2's first versions, thinks: it takes no other temperature than its own (`invalid temperature:
    /// only 1 is allowed for this model`), nor any other field of sampling, and wants its thought beside every call
    /// (`reasoning_content is missing in assistant tool call message`; a blank will do). No model of Moonshot's can be
    /// made to call some tool, as its guide for those who come from OpenAI says.
    fn moonshot(model: &str, common: Self) -> Self {
        let common = Self { requires: false, strict_tools: false, thinking: Thinking::No, ..common };
        const OLDER: [&str; 4] = ["kimi-k2-0", "kimi-k2-turbo", "kimi-latest", "moonshot-v1"];
        if OLDER.iter().any(|older| model.starts_with(older)) {
            return common;
        }
        Self {
            sampling: false,
            penalties: false,
            replay: Replay::ContentBesideCalls { none: " " },
            thinking: match model {
                _ if model.starts_with("kimi-k2.5") || model.starts_with("kimi-k2.6") => Thinking::OnOff,
                _ if model.starts_with("kimi-k2") => Thinking::No,
                _ => Thinking::Efforts(&[Effort::Low, Effort::High]),
            },
            ..common
        }
    }

    fn openai(model: &str, common: Self) -> Self {
        let efforts = openai_efforts(model);
        Self {
            developer: "developer",
            max_tokens: "max_completion_tokens",
            sampling: efforts.is_empty(),
            penalties: efforts.is_empty(),
            user: true,
            files: Files::ByContent,
            max_stops: 4,
            thinking: if efforts.is_empty() { Thinking::No } else { Thinking::Efforts(efforts) },
            call_ids: CallIds::UpTo40,
            logprobs: efforts.is_empty(),
            shows: Shows::Never,
            cache_marks: if Model::named(model).marks_cache { Marks::OpenAis } else { Marks::No },
            ..common
        }
    }
}

/// The efforts of one of OpenAI's own models; none where it does not reason.
fn openai_efforts(model: &str) -> &'static [Effort] {
    // A tuned model says what it was made of: `ft:gpt-4.1-mini:…`.
    let model = model.strip_prefix("ft:").unwrap_or(model);
    let digit = |text: &str| text.starts_with(|letter: char| letter.is_ascii_digit());
    if model.strip_prefix('o').is_some_and(digit) {
        return LOW_TO_HIGH;
    }
    let Some(version) = model.strip_prefix("gpt-") else { return &[] };
    match version {
        _ if version.contains("chat") || version.starts_with(['3', '4']) => &[],
        _ if version.starts_with("5.1") => NONE_TO_HIGH,
        _ if version.starts_with("5.") => NONE_TO_XHIGH,
        _ if version == "5" || version.starts_with("5-") => MINIMAL_TO_HIGH,
        _ if version.starts_with("oss") => LOW_TO_HIGH,
        // Newer than known.
        _ if digit(version) => NONE_TO_XHIGH,
        _ => &[],
    }
}

fn mistral(model: &str) -> Thinking {
    match model {
        _ if model.starts_with("mistral-large-4") => Thinking::Efforts(LOW_TO_HIGH),
        _ if [
            "mistral-medium-3-5",
            "mistral-medium-latest",
            "mistral-small-2603",
            "mistral-small-latest",
        ]
        .contains(&model) =>
        {
            Thinking::Efforts(&[Effort::None, Effort::High])
        }
        _ => Thinking::No,
    }
}

fn groq(model: &str) -> Thinking {
    match model {
        _ if model.contains("gpt-oss") => Thinking::Efforts(LOW_TO_HIGH),
        _ if model.contains("qwen3") => Thinking::OnOrOff,
        _ => Thinking::No,
    }
}

/// Models that think to a fixed measure refuse the field.
fn xai(model: &str) -> Thinking {
    const FIXED: [&str; 6] = ["grok-2", "grok-3", "grok-4-", "grok-4.20", "grok-build", "grok-code"];
    match model {
        _ if model.starts_with("grok-3-mini") => Thinking::Efforts(&[Effort::Low, Effort::High]),
        _ if model == "grok-4" || FIXED.iter().any(|fixed| model.starts_with(fixed)) => Thinking::No,
        _ if model.starts_with("grok-4.3") => Thinking::Efforts(NONE_TO_HIGH),
        _ => Thinking::Efforts(LOW_TO_HIGH),
    }
}

const OPENAI_TIERS: &[(ServiceTier, &str)] =
    &[(ServiceTier::Standard, "default"), (ServiceTier::Flex, "flex"), (ServiceTier::Priority, "priority")];

const LOW_TO_HIGH: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High];
const MINIMAL_TO_HIGH: &[Effort] = &[Effort::Minimal, Effort::Low, Effort::Medium, Effort::High];
const NONE_TO_HIGH: &[Effort] = &[Effort::None, Effort::Low, Effort::Medium, Effort::High];
const NONE_TO_XHIGH: &[Effort] = &[Effort::None, Effort::Low, Effort::Medium, Effort::High, Effort::XHigh];

/// The nearest effort there is: the next one up, or else the highest. Not thinking at all is not the
/// same as thinking a little, so that has no next one.
pub(super) fn nearest(wanted: Effort, efforts: &[Effort]) -> Option<Effort> {
    if wanted == Effort::None {
        return efforts.iter().copied().find(|effort| *effort == Effort::None);
    }
    efforts.iter().copied().find(|effort| *effort >= wanted).or(efforts.last().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::find;

    #[test]
    fn a_models_efforts_are_read_off_its_name() {
        let cases = [
            ("o3", LOW_TO_HIGH),
            ("o4-mini", LOW_TO_HIGH),
            ("gpt-4.1", &[]),
            ("ft:gpt-4o-mini:acme::x", &[]),
            ("gpt-3.5-turbo", &[]),
            ("chatgpt-4o-latest", &[]),
            ("gpt-5", MINIMAL_TO_HIGH),
            ("gpt-5-mini-2025-08-07", MINIMAL_TO_HIGH),
            ("gpt-5-chat-latest", &[]),
            ("gpt-5.1", NONE_TO_HIGH),
            ("gpt-5.2-pro", NONE_TO_XHIGH),
            ("gpt-6", NONE_TO_XHIGH),
            ("my-own", &[]),
        ];
        for (model, efforts) in cases {
            assert_eq!(openai_efforts(model), efforts, "{model}");
        }
        assert_eq!(xai("grok-4-fast-reasoning"), Thinking::No);
        assert_eq!(xai("grok-4.3"), Thinking::Efforts(NONE_TO_HIGH));
        assert_eq!(groq("qwen/qwen3-32b"), Thinking::OnOrOff);
        assert_eq!(groq("llama-3.3-70b-versatile"), Thinking::No);
    }

    #[test]
    fn a_model_that_does_not_think_is_not_told_apart_by_its_age() {
        let of = |provider: &str, model: &str| {
            let provider = find(provider).expect("listed");
            Quirks::of(&Target { provider, model, base_url: "", credential: None })
        };
        for (model, thinks) in [
            ("grok-4-fast-non-reasoning", false),
            ("grok-4-1-fast-non-reasoning", false),
            ("grok-4-fast-reasoning", true),
        ] {
            assert_eq!(of("xai", model).penalties, !thinks, "{model}");
            assert_eq!(of("xai", model).max_stops == 0, thinks, "{model}");
            assert_eq!(of("xai", model).thinking, Thinking::No, "{model}");
        }
        for (model, thinks) in [("kimi-latest", false), ("moonshot-v1-8k", false), ("kimi-k2.5", true)] {
            assert_eq!(of("moonshot", model).sampling, !thinks, "{model}");
        }
    }

    #[test]
    fn an_effort_becomes_the_nearest_there_is() {
        let cases = [
            (Effort::None, NONE_TO_HIGH, Some(Effort::None)),
            (Effort::None, LOW_TO_HIGH, None),
            (Effort::Minimal, NONE_TO_HIGH, Some(Effort::Low)),
            (Effort::Minimal, MINIMAL_TO_HIGH, Some(Effort::Minimal)),
            (Effort::XHigh, LOW_TO_HIGH, Some(Effort::High)),
            (Effort::Medium, &[Effort::Low, Effort::High], Some(Effort::High)),
        ];
        for (wanted, efforts, expected) in cases {
            assert_eq!(nearest(wanted, efforts), expected, "{wanted:?} of {efforts:?}");
        }
    }
}
