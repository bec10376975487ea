//! The unified chat request, and the events an answer is made of.
//!
//! Both are wide enough for every protocol spoken here, so that a caller's protocol and a provider's
//! meet in the middle. Order is kept: messages in the caller's order, parts in the message's order.

use std::borrow::Cow;

use serde_json::Value;

use crate::{UpstreamError, Usage, usage::ServiceTier};

/// What a caller asks of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// The model as the caller named it; the target's own name is in [`crate::Target`].
    pub model: String,
    /// The conversation, system and developer messages included, in order.
    pub messages: Vec<Message>,
    /// Functions the model may call.
    pub tools: Vec<Tool>,
    /// Which of them it must, may or must not call; the provider's default where absent.
    pub tool_choice: Option<ToolChoice>,
    /// Whether several calls may come in one answer.
    pub parallel_tool_calls: Option<bool>,
    /// The form the text of the answer must have.
    pub response_format: ResponseFormat,
    /// Upper bound of tokens in the answer, reasoning included.
    pub max_output_tokens: Option<u64>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// Penalty by how often a token occurred.
    pub frequency_penalty: Option<f64>,
    /// Penalty for tokens that occurred at all.
    pub presence_penalty: Option<f64>,
    /// Wish for a repeatable answer.
    pub seed: Option<i64>,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// How much to think before answering.
    pub reasoning_effort: Option<Effort>,
    /// The same as a number of tokens; 0 is not at all. Goes before the effort where both are there.
    pub reasoning_budget: Option<u64>,
    /// Whether the answer is to show what the model thinks; the provider's default where absent.
    pub thoughts: Option<bool>,
    /// Sampling among this many most likely tokens.
    pub top_k: Option<u64>,
    /// Whether tokens come with their probabilities, each beside this many it could have been.
    pub logprobs: Option<u64>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether a streamed answer is to end with its usage.
    pub include_usage: bool,
    /// The caller's name for its end user.
    pub user: Option<String>,
    /// The name that `safety_identifier` gives the end user.
    pub safety_identifier: Option<String>,
    /// At which of its prices the provider is to serve; the one it takes unasked where absent.
    pub service_tier: Option<ServiceTier>,
    /// What the caller files the request under, for whoever reads the provider's logs and bills. No model sees it.
    pub labels: Vec<(String, String)>,
    /// What OpenAI's two protocols have and no other, by its name in Chat Completions.
    pub openais: Openais,
    /// Fields that no other protocol has. A dialect drops the harmless ones and says so, and refuses
    /// those that change what the answer means.
    pub extra: Vec<Extra>,
}

impl Request {
    /// The end user, where there is one name for it.
    pub(crate) fn end_user(&self) -> Option<&str> {
        self.user.as_deref().or(self.safety_identifier.as_deref())
    }

    /// How much to think, as an effort, in whichever way the caller said it.
    pub fn effort(&self) -> Option<Effort> {
        self.reasoning_budget.map(Effort::of_budget).or(self.reasoning_effort)
    }

    /// The same as a number of tokens.
    pub(crate) fn budget(&self) -> Option<u64> {
        self.reasoning_budget.or(self.reasoning_effort.map(Effort::budget))
    }

    /// Whether the model has to call a tool.
    pub(crate) fn forces_a_tool(&self) -> bool {
        matches!(self.tool_choice, Some(ToolChoice::Function(_) | ToolChoice::Required))
    }
}

/// Fields of OpenAI's own, by name.
pub type Openais = Vec<(&'static str, Value)>;

/// Fields that Chat Completions and Responses share and nobody else has.
pub(crate) const OPENAIS: &[&str] =
    &["prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", VERBOSITY];

/// How long the text is to be. Responses has it in `text`.
pub(crate) const VERBOSITY: &str = "verbosity";

/// A field of the caller's protocol that has no place in [`Request`].
#[derive(Debug, Clone, PartialEq)]
pub struct Extra {
    /// Where it stands, as a path (`messages[2].name`).
    pub name: String,
    /// What it says.
    pub value: Value,
    /// Where the answer would mean something else without it: what the caller can do instead.
    pub instead: Option<&'static str>,
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
}

/// Who speaks in a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The model's earlier answer.
    Assistant,
    /// Instructions above the user's; the newer name of `System`.
    Developer,
    /// Instructions above the user's.
    System,
    /// The result of a tool call.
    Tool,
    /// The person or program that asks.
    User,
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// All up to here is worth keeping in the provider's prompt cache. Stands behind what it marks.
    CachePoint(CacheTtl),
    /// A document.
    File(File),
    /// A picture.
    Image(Image),
    /// What the model thought before this answer; replayed so that a tool loop can go on.
    Reasoning(Reasoning),
    /// The model declined, in these words.
    Refusal(String),
    /// Words.
    Text(String),
    /// The model called a function.
    ToolCall(ToolCall),
    /// What the function gave back.
    ToolResult(ToolResult),
}

/// How long a provider's prompt cache is to keep something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheTtl {
    /// Five minutes, or what the provider does by itself.
    #[default]
    Short,
    /// An hour.
    Hour,
}

/// A document, a PDF most often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, where the caller gives one.
    pub name: Option<String>,
    /// Whether the answer is to say what it took from it.
    pub cited: bool,
    /// What is in it.
    pub media: Media,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// How closely the model is to look at it; as the provider finds right where absent.
    pub detail: Option<Detail>,
    /// What is in it.
    pub media: Media,
}

impl From<Media> for Image {
    fn from(media: Media) -> Self {
        Self { detail: None, media }
    }
}

/// How closely a model looks at a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Closely, for many tokens.
    High,
    /// At a small copy, for few tokens.
    Low,
}

impl Detail {
    /// As OpenAI spells it, and Cohere.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Low => "low",
        }
    }
}

/// A picture or a document, by address or by content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// The bytes, in base64, with their media type (`image/png`).
    Data {
        /// Media type.
        media_type: String,
        /// Base64, standard alphabet, padded.
        data: String,
    },
    /// An `https:` address the provider fetches.
    Url(String),
}

impl Media {
    /// Its address, or a `data:` URL of what is in it.
    pub(crate) fn url(&self) -> Cow<'_, str> {
        match self {
            Self::Data { media_type, data } => Cow::Owned(format!("data:{media_type};base64,{data}")),
            Self::Url(url) => Cow::Borrowed(url),
        }
    }
}

/// A block of thought. At least one of the three is present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// Readable thought, or a summary of it.
    pub text: String,
    /// The provider's signature over the text; must go back unchanged.
    pub signature: Option<String>,
    /// Thought the provider sent encrypted; must go back unchanged.
    pub redacted: Option<String>,
}

/// A call of a function by the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// Ties the result to the call.
    pub id: String,
    /// The function.
    pub name: String,
    /// JSON text, as the model wrote it; may be invalid JSON. Empty means `{}`.
    pub arguments: String,
    /// Gemini's thought signature for this call; must go back unchanged.
    pub signature: Option<String>,
}

/// What a called function gave back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolResult {
    /// The [`ToolCall::id`] this answers.
    pub call_id: String,
    /// Text and images.
    pub parts: Vec<Part>,
    /// Whether the function failed. Where a protocol has no word for it, a sentence before the parts says so.
    pub is_error: bool,
}

/// Stands before what a failed function gave back, where nothing else can say that it failed.
pub(crate) const TOOL_FAILED: &str = "The tool failed. ";

/// A function the model may call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// JSON Schema of its arguments; absent means no arguments.
    pub parameters: Option<Value>,
    /// Whether arguments must follow the schema to the letter.
    pub strict: Option<bool>,
    /// The tools up to this one are worth keeping in the provider's prompt cache.
    pub cache: Option<CacheTtl>,
}

/// Which tool must be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// This one.
    Function(String),
    /// None.
    None,
    /// At least one.
    Required,
}

/// The form of the answer's text.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum ResponseFormat {
    /// Some JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema {
        /// The caller's name for the schema.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// The JSON Schema.
        schema: Value,
        /// Whether it binds to the letter.
        strict: Option<bool>,
    },
    /// Free text.
    #[default]
    Text,
}

/// How much a model thinks before it answers, in OpenAI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Not at all.
    None,
    /// Hardly.
    Minimal,
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// As much as it can.
    XHigh,
}

impl Effort {
    /// As OpenAI spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
        }
    }

    /// About as many tokens of thought. One table for all protocols, Google's for its own OpenAI-compatible
    /// endpoint ("Gemini API: OpenAI compatibility"); the last is the most a Gemini 2.5 takes.
    pub(crate) fn budget(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal | Self::Low => 1_024,
            Self::Medium => 8_192,
            Self::High => 24_576,
            Self::XHigh => 32_768,
        }
    }

    /// The effort whose number of tokens this comes nearest to. `Minimal` has none of its own.
    pub(crate) fn of_budget(tokens: u64) -> Self {
        match tokens {
            0 => Self::None,
            1..=4_608 => Self::Low,
            4_609..=16_384 => Self::Medium,
            16_385..=28_672 => Self::High,
            _ => Self::XHigh,
        }
    }

    /// The effort spelled like this; `max` is what some providers call the highest.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" | "max" => Self::XHigh,
            _ => return None,
        })
    }
}

/// A step of an answer. A whole answer decodes to the same events its stream would have given.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Where something of the text so far comes from.
    Citation(Citation),
    /// The answer failed after it had begun.
    Error(UpstreamError),
    /// The answer ended by itself. At most once.
    Finish {
        /// Why, in OpenAI's words.
        reason: FinishReason,
        /// Why, in the provider's own word.
        native: String,
    },
    /// Probabilities of the latest text's tokens, each as OpenAI writes it: `token`, `bytes`, `logprob` and
    /// `top_logprobs`, a list of the same.
    Logprobs(Vec<Value>),
    /// Readable thought, appended.
    Reasoning(String),
    /// A whole block of encrypted thought.
    ReasoningRedacted(String),
    /// The signature that closes the current block of thought.
    ReasoningSignature(String),
    /// A refusal in words, appended.
    Refusal(String),
    /// The provider began to answer.
    Start {
        /// The provider's id of the answer.
        id: Option<String>,
        /// The model that serves, as the provider names it.
        model: Option<String>,
    },
    /// Which of the caller's stop texts ended the answer. Comes before the end.
    StopText(String),
    /// Text, appended.
    Text(String),
    /// Argument text of the call with this index, appended.
    ToolArguments {
        /// As in [`Event::ToolCall`].
        index: u32,
        /// Part of the JSON text.
        text: String,
    },
    /// A tool call began. Indexes count up from 0 within the answer.
    ToolCall {
        /// Position among the answer's calls.
        index: u32,
        /// Unique within the answer.
        id: String,
        /// The function's name.
        name: String,
        /// See [`ToolCall::signature`].
        signature: Option<String>,
    },
    /// Something came that no other event tells. Each kind once.
    Unsaid {
        /// Where it stands in the provider's answer, and its kind there: `content.server_tool_use`.
        name: String,
        /// Whether it is a picture, sound or film, and with that what was asked for.
        is_media: bool,
    },
    /// Tokens so far; a later one replaces an earlier one.
    Usage(Usage),
}

/// A source the answer names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Citation {
    /// Its address, where it has one.
    pub url: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// The words of it that are cited.
    pub quote: Option<String>,
    /// Where in the answer's text, counted in characters, stands what it is cited for. Text so far is meant
    /// where absent.
    pub span: Option<(u64, u64)>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// Withheld by a filter, or refused.
    ContentFilter,
    /// The token limit was reached.
    Length,
    /// The model was done.
    Stop,
    /// The model waits for tool results.
    ToolCalls,
}

impl FinishReason {
    /// A provider's own word for the end, where it says more than the one a caller is told.
    pub(crate) fn own_word<'a>(native: &'a str, told: &str) -> Option<&'a str> {
        let is = |word: &&str| native.eq_ignore_ascii_case(word);
        let says_no_more = native.is_empty() || is(&told) || PLAIN_ENDS.iter().any(is);
        (!says_no_more).then_some(native)
    }

    /// Some providers say `stop` when the model waits for tool results.
    pub(crate) fn after_calls(self, called: bool) -> Self {
        match self {
            Self::Stop if called => Self::ToolCalls,
            other => other,
        }
    }

    /// As OpenAI spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ContentFilter => "content_filter",
            Self::Length => "length",
            Self::Stop => "stop",
            Self::ToolCalls => "tool_calls",
        }
    }
}

/// Words of providers for the end that every protocol has one for.
const PLAIN_ENDS: &[&str] = &[
    "complete",
    "completed",
    "content_filter",
    "end_turn",
    "function_call",
    "length",
    "max_output_tokens",
    "max_tokens",
    "stop",
    "tool_call",
    "tool_calls",
    "tool_use",
];

#[cfg(test)]
mod tests {
    use super::*;
    use Effort::{High, Low, Medium, XHigh};

    #[test]
    fn a_providers_own_word_is_kept_where_it_says_more() {
        let cases = [
            ("RECITATION", "SAFETY", Some("RECITATION")),
            ("SAFETY", "SAFETY", None),
            ("STOP", "end_turn", None),
            ("", "end_turn", None),
            ("model_context_window_exceeded", "MAX_TOKENS", Some("model_context_window_exceeded")),
        ];
        for (native, told, expected) in cases {
            assert_eq!(FinishReason::own_word(native, told), expected, "{native}");
        }
    }

    #[test]
    fn an_effort_is_the_same_again_after_it_was_a_budget() {
        for effort in [Effort::None, Low, Medium, High, XHigh] {
            assert_eq!(Effort::of_budget(effort.budget()), effort);
        }
        assert_eq!(Effort::of_budget(Effort::Minimal.budget()), Low);
        let common = [1, 1_024, 4_000, 10_000, 16_000, 31_999, 100_000].map(Effort::of_budget);
        assert_eq!(common, [Low, Low, Low, Medium, Medium, XHigh, XHigh]);
    }
}
