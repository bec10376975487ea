//! Who the providers are: one row each. What they speak is in [`crate::dialect`].

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    dialect::{
        Dialect, chat_completions::ChatCompletions, cohere::Cohere, converse::Converse,
        generate_content::GenerateContent, messages::Messages, ollama::Ollama, responses::Responses,
    },
    operation::{EmbeddingsApi, ImagesApi, ModerationsApi, RerankApi, SpeechApi},
};

/// A provider, as data.
#[derive(Debug)]
pub struct Provider {
    /// The name in `provider/model`, in settings and in the admin API.
    pub name: &'static str,
    /// The OpenTelemetry `gen_ai.provider.name`, used in records.
    pub telemetry_name: &'static str,
    /// Where its API lives, without a trailing slash. Empty where every account has its own.
    pub base_url: &'static str,
    /// How it wants its credential.
    pub auth: Auth,
    /// What a deployment may have in place of a key.
    pub grant: Option<Grant>,
    /// Whose address the models are at.
    pub hosting: Hosting,
    /// The betas a caller may ask for.
    pub betas: Betas,
    /// What it speaks.
    pub api: Api,
    /// What it speaks besides; used for callers who speak that.
    pub also: Option<Api>,
    /// Whether it takes `fileid://…` in a text for a file that it keeps.
    pub files_in_texts: bool,
    /// How a stream comes to end with its usage.
    pub stream_usage: StreamUsage,
    /// What it does beside chat.
    pub offers: &'static [Offer],
}

/// How a stream of Chat Completions comes to end with its usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamUsage {
    /// It is asked for with `stream_options.include_usage`.
    Asked,
    /// It comes by itself, and a request that asks for it is refused: a caller's wish does not go on.
    Refused,
    /// It comes by itself.
    Unasked,
}

/// Something a provider does beside chat, and what it speaks for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// OpenAI's older completions.
    Completions,
    /// How many tokens a request has, by Responses' input_tokens.
    CountTokens,
    /// Vectors of texts.
    Embeddings(EmbeddingsApi),
    /// Files and batches of calls, kept for a while.
    Files,
    /// Pictures, changed.
    ImageEdits,
    /// Pictures like a picture.
    ImageVariations,
    /// Pictures.
    Images(ImagesApi),
    /// Whether something is harmful.
    Moderations(ModerationsApi),
    /// Conversations over a socket.
    Realtime,
    /// Which documents answer a query.
    Rerank(RerankApi),
    /// Words said aloud.
    Speech(SpeechApi),
    /// Sound, written down.
    Transcriptions,
    /// Sound, written down in English.
    Translations,
}

/// How a credential goes into a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// `authorization: Bearer …`
    Bearer,
    /// The header named, with nothing but the credential.
    Header(&'static str),
    /// None is needed; one that is configured is sent as a bearer token.
    Optional,
}

/// What stands for an account where no key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// An access key, with which each request is signed.
    Aws,
    /// An application of Microsoft Entra, which is given tokens for its secret.
    Entra,
    /// A service account of Google's, which is given tokens for what it signs.
    Google,
}

/// Whose address a model is at. A cloud that serves another maker's models changes the maker's protocol a
/// little: where the model's name stands, and how the version is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosting {
    /// Amazon Bedrock. Claude speaks Messages there too, with callers who do.
    Bedrock,
    /// The provider's own.
    Own,
    /// Google's Vertex AI: Gemini, and Claude in its own protocol.
    Vertex,
}

/// The betas a provider takes from callers, in a header whose name is a protocol's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Betas {
    /// All of them, in the header of this name.
    All(&'static str),
    /// None at all.
    None,
    /// Some in the header of this name. What is not in the list would make the provider refuse the call.
    Some(&'static str, &'static [&'static str]),
}

/// Asks for the betas that [`Betas::sort`] let go on.
pub(crate) fn ask_for(taken: Option<&(&'static str, Vec<&str>)>, headers: &mut HeaderMap) {
    if let Some((name, words)) = taken
        && let Ok(words) = HeaderValue::from_str(&words.join(","))
    {
        headers.insert(HeaderName::from_static(name), words);
    }
}

/// The headers in which callers of one protocol or another ask for betas.
pub const BETA_HEADERS: [&str; 2] = ["anthropic-beta", "openai-beta"];

impl Betas {
    /// Of the betas the caller asks for, the header's name and those that go on; then what does not, as
    /// `anthropic-beta:name`.
    pub fn sort(self, headers: &HeaderMap) -> (Option<(&'static str, Vec<&str>)>, Vec<String>) {
        let mut taken = (None, Vec::new());
        let mut dropped = Vec::new();
        for header in BETA_HEADERS {
            let lines = headers.get_all(header).iter().filter_map(|line| line.to_str().ok());
            let words = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|word| is_word(word));
            for word in words.take(MAX_BETAS) {
                if self.takes(header, word) {
                    taken.0 = Some(header);
                    if !taken.1.contains(&word) {
                        taken.1.push(word);
                    }
                } else {
                    let name = format!("{header}:{word}");
                    if !dropped.contains(&name) {
                        dropped.push(name);
                    }
                }
            }
        }
        let (header, words) = taken;
        (header.map(|header| (header, words)), dropped)
    }

    fn takes(self, header: &str, word: &str) -> bool {
        match self {
            Self::All(own) => own == header,
            Self::None => false,
            Self::Some(own, list) => own == header && list.contains(&word),
        }
    }
}

/// What a beta may be called. Anything else is no name of one, and has no place in a header of ours.
fn is_word(word: &str) -> bool {
    let fits = |letter: u8| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, b'-' | b'_' | b'.' | b'=')
    };
    (1..=MAX_WORD).contains(&word.len()) && word.bytes().all(fits)
}

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's Chat Completions.
    ChatCompletions,
    /// Cohere's chat, version 2.
    Cohere,
    /// OpenAI's completions, from before there was chat.
    Completions,
    /// Amazon Bedrock's Converse.
    Converse,
    /// The models built in here; see [`crate::demo`].
    Demo,
    /// Google's Gemini generateContent.
    GenerateContent,
    /// Anthropic's Messages.
    Messages,
    /// Nothing: no model of this provider chats.
    None,
    /// Ollama's own. No caller speaks it here.
    Ollama,
    /// OpenAI's Responses.
    Responses,
}

impl Api {
    /// The translator, for callers who speak something else.
    pub fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Cohere => &Cohere,
            Self::Converse => &Converse,
            Self::GenerateContent => &GenerateContent,
            Self::Messages => &Messages,
            Self::Ollama => &Ollama,
            Self::Responses => &Responses,
            Self::ChatCompletions | Self::Completions | Self::Demo | Self::None => &ChatCompletions,
        }
    }

    /// The protocol on the wire.
    pub fn speaks(self) -> Self {
        match self {
            Self::Demo => Self::ChatCompletions,
            other => other,
        }
    }
}

impl Provider {
    /// What it speaks for something it offers; `read` knows which.
    pub(crate) fn offered<T>(&self, read: fn(Offer) -> Option<T>) -> Option<T> {
        self.offers.iter().find_map(|offer| read(*offer))
    }

    /// The betas a caller may ask of its model. A cloud's own models know none of their guests'.
    pub fn betas_for(&self, model: &str) -> Betas {
        match self.hosting {
            Hosting::Bedrock | Hosting::Vertex if !is_claude(model) => Betas::None,
            _ => self.betas,
        }
    }

    /// What to speak with its model for a caller who speaks `callers`: the same, if it can.
    pub fn api_for(&self, callers: Api, model: &str) -> Api {
        let is_claude = is_claude(model);
        let completes = callers == Api::Completions && self.offers.contains(&Completions);
        match self.hosting {
            Hosting::Bedrock if is_claude && callers == Api::Messages => Api::Messages,
            Hosting::Vertex if is_claude => Api::Messages,
            _ if completes || self.also == Some(callers) => callers,
            _ if self.also == Some(Api::Responses) && only_responds(model) => Api::Responses,
            _ => self.api,
        }
    }
}

/// Whether OpenAI serves a model by Responses alone: those that work for minutes, and those made for its tools.
fn only_responds(model: &str) -> bool {
    let is = |word: &str| model.contains(word);
    let is_pro =
        (is("-pro-") || model.ends_with("-pro")) && (model.starts_with("gpt-") || model.starts_with('o'));
    is_pro || is("codex") || is("computer-use") || is("deep-research")
}

/// Whether a cloud's model is Anthropic's.
pub fn is_claude(model: &str) -> bool {
    model.contains("claude")
}

/// Where one attempt goes: a provider, with what the deployment adds to its row.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The row.
    pub provider: &'static Provider,
    /// The model, as the provider names it.
    pub model: &'a str,
    /// The row's address, or the deployment's own. No trailing slash.
    pub base_url: &'a str,
    /// The provider's key.
    pub credential: Option<&'a str>,
}

/// The provider with this name.
pub fn find(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.name == name)
}

/// Splits `provider/model`. A model's own name may contain slashes.
pub fn split(model: &str) -> Option<(&'static Provider, &str)> {
    let (provider, model) = model.split_once('/')?;
    let provider = find(provider)?;
    (!model.is_empty()).then_some((provider, model))
}

use Offer::{
    Completions, CountTokens, Embeddings, Files, ImageEdits, ImageVariations, Images, Moderations, Realtime,
    Rerank, Speech, Transcriptions, Translations,
};

/// Every provider, by name. Addresses and what is offered are what its reference said in November 2026. Offered is what
/// all of a kind of its models do: where only some continue a prompt (`dashscope`, `xai`), a chat does it for all.
pub const PROVIDERS: &[Provider] = &[
    Provider {
        auth: Auth::Header("x-api-key"),
        betas: Betas::All("anthropic-beta"),
        ..own("anthropic", "anthropic", "https://api.anthropic.com", Api::Messages)
    },
    // Each resource has its own address; a model is the name of a deployment.
    Provider {
        auth: Auth::Header("api-key"),
        grant: Some(Grant::Entra),
        also: Some(Api::Responses),
        offers: &[
            Completions,
            Embeddings(EmbeddingsApi::OpenAi),
            Files,
            ImageEdits,
            Images(ImagesApi::OpenAi),
            Realtime,
            Speech(SpeechApi::OpenAi),
            Transcriptions,
            Translations,
        ],
        ..chat("azure", "azure.ai.openai", "")
    },
    Provider {
        grant: Some(Grant::Aws),
        hosting: Hosting::Bedrock,
        betas: Betas::Some("anthropic-beta", BEDROCK_BETAS),
        offers: &[Embeddings(EmbeddingsApi::Bedrock), Rerank(RerankApi::Bedrock)],
        ..own("bedrock", "aws.bedrock", "https://bedrock-runtime.us-east-1.amazonaws.com", Api::Converse)
    },
    Provider { offers: &[Completions], ..chat("cerebras", "cerebras", "https://api.cerebras.ai/v1") },
    Provider {
        offers: &[Embeddings(EmbeddingsApi::Cohere), Rerank(RerankApi::Cohere)],
        ..own("cohere", "cohere", "https://api.cohere.com", Api::Cohere)
    },
    Provider {
        files_in_texts: true,
        offers: &[Embeddings(EmbeddingsApi::Floats)],
        ..chat(
            "dashscope",
            "alibaba_cloud.dashscope",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        )
    },
    Provider {
        offers: &[
            Completions,
            Embeddings(EmbeddingsApi::Floats),
            ImageEdits,
            ImageVariations,
            Images(ImagesApi::Whole),
            Speech(SpeechApi::OpenAi),
            Transcriptions,
            Translations,
        ],
        ..chat("deepinfra", "deepinfra", "https://api.deepinfra.com/v1/openai")
    },
    chat("deepseek", "deepseek", "https://api.deepseek.com/v1"),
    Provider { auth: Auth::Optional, api: Api::Demo, ..chat("demo", "hypergate.demo", "") },
    Provider {
        offers: &[Completions, Embeddings(EmbeddingsApi::Floats), Transcriptions, Translations],
        ..chat("fireworks", "fireworks", "https://api.fireworks.ai/inference/v1")
    },
    Provider {
        auth: Auth::Header("x-goog-api-key"),
        offers: &[Embeddings(EmbeddingsApi::Gemini), Images(ImagesApi::Gemini), Speech(SpeechApi::Gemini)],
        ..own("gemini", "gcp.gemini", "https://generativelanguage.googleapis.com", Api::GenerateContent)
    },
    Provider {
        offers: &[Embeddings(EmbeddingsApi::OpenAi)],
        ..chat("github", "github.models", "https://models.github.ai/inference")
    },
    Provider {
        offers: &[Files, Speech(SpeechApi::OpenAi), Transcriptions, Translations],
        ..chat("groq", "groq", "https://api.groq.com/openai/v1")
    },
    chat("huggingface", "hugging_face", "https://router.huggingface.co/v1"),
    Provider { offers: &[Completions], ..chat("hyperbolic", "hyperbolic", "https://api.hyperbolic.xyz/v1") },
    Provider {
        api: Api::None,
        offers: &[Embeddings(EmbeddingsApi::Jina), Rerank(RerankApi::Jina)],
        ..chat("jina", "jina_ai", "https://api.jina.ai/v1")
    },
    Provider {
        auth: Auth::Optional,
        offers: &[Completions, Embeddings(EmbeddingsApi::OpenAi), Rerank(RerankApi::Jina)],
        ..chat("llama-cpp", "llama_cpp", "http://localhost:8080/v1")
    },
    Provider {
        auth: Auth::Optional,
        offers: &[Completions, Embeddings(EmbeddingsApi::Floats)],
        ..chat("lm-studio", "lm_studio", "http://localhost:1234/v1")
    },
    chat("minimax", "minimax", "https://api.minimax.io/v1"),
    // Its official clients know no `stream_options`; sent, it is a 422: `extra_forbidden`, at
    // `body.stream_options.include_usage`. Usage comes with the last chunk. Its own completions are for filling in
    // (`/v1/fim/completions`).
    Provider {
        stream_usage: StreamUsage::Refused,
        offers: &[Embeddings(EmbeddingsApi::Mistral), Moderations(ModerationsApi::Mistral), Transcriptions],
        ..chat("mistral", "mistral_ai", "https://api.mistral.ai/v1")
    },
    chat("moonshot", "moonshot_ai", "https://api.moonshot.ai/v1"),
    Provider {
        offers: &[Completions, Embeddings(EmbeddingsApi::Floats), Images(ImagesApi::Whole)],
        ..chat("nebius", "nebius", "https://api.tokenfactory.nebius.com/v1")
    },
    Provider { offers: &[Completions], ..chat("novita", "novita", "https://api.novita.ai/openai/v1") },
    Provider {
        offers: &[Embeddings(EmbeddingsApi::OpenAi)],
        ..chat("nvidia", "nvidia.nim", "https://integrate.api.nvidia.com/v1")
    },
    // Callers who speak Chat Completions get Ollama's own version of that; others its own protocol, in which
    // nothing of a model's thought is lost.
    Provider {
        auth: Auth::Optional,
        api: Api::Ollama,
        also: Some(Api::ChatCompletions),
        offers: &[Completions, Embeddings(EmbeddingsApi::Ollama)],
        ..chat("ollama", "ollama", "http://localhost:11434/v1")
    },
    // The same for callers of Chat Completions who want what only its own protocol has: `options`, `keep_alive`.
    Provider {
        auth: Auth::Optional,
        offers: &[Embeddings(EmbeddingsApi::Ollama)],
        ..own("ollama-native", "ollama", "http://localhost:11434", Api::Ollama)
    },
    Provider {
        also: Some(Api::Responses),
        betas: Betas::All("openai-beta"),
        offers: &[
            Completions,
            CountTokens,
            Embeddings(EmbeddingsApi::OpenAi),
            Files,
            ImageEdits,
            ImageVariations,
            Images(ImagesApi::OpenAi),
            Moderations(ModerationsApi::OpenAi),
            Realtime,
            Speech(SpeechApi::OpenAi),
            Transcriptions,
            Translations,
        ],
        ..chat("openai", "openai", "https://api.openai.com/v1")
    },
    Provider {
        offers: &[Completions, Embeddings(EmbeddingsApi::OpenAi)],
        ..chat("openrouter", "openrouter", "https://openrouter.ai/api/v1")
    },
    // Sends usage with every chunk; its official clients know no `stream_options`. Its embeddings are packed as
    // integers or bits only, which OpenAI's callers cannot read.
    Provider {
        stream_usage: StreamUsage::Unasked,
        ..chat("perplexity", "perplexity", "https://api.perplexity.ai")
    },
    Provider {
        offers: &[Embeddings(EmbeddingsApi::Floats), Transcriptions],
        ..chat("sambanova", "sambanova", "https://api.sambanova.ai/v1")
    },
    Provider {
        offers: &[
            Completions,
            Embeddings(EmbeddingsApi::Floats),
            Images(ImagesApi::Whole),
            Rerank(RerankApi::Jina),
            Speech(SpeechApi::OpenAi),
            Transcriptions,
            Translations,
        ],
        ..chat("together", "together_ai", "https://api.together.ai/v1")
    },
    // The address is the one of all regions; another region's follows from it.
    Provider {
        auth: Auth::Header("x-goog-api-key"),
        grant: Some(Grant::Google),
        hosting: Hosting::Vertex,
        betas: Betas::Some("anthropic-beta", VERTEX_BETAS),
        ..own("vertex", "gcp.vertex_ai", "https://aiplatform.googleapis.com", Api::GenerateContent)
    },
    Provider {
        auth: Auth::Optional,
        offers: &[
            Completions,
            Embeddings(EmbeddingsApi::OpenAi),
            Rerank(RerankApi::Jina),
            Transcriptions,
            Translations,
        ],
        ..chat("vllm", "vllm", "http://localhost:8000/v1")
    },
    Provider {
        api: Api::None,
        offers: &[Embeddings(EmbeddingsApi::Voyage), Rerank(RerankApi::Voyage)],
        ..chat("voyage", "voyage_ai", "https://api.voyageai.com/v1")
    },
    // The account id is part of the address: WORKERS_AI_BASE_URL is
    // https://api.cloudflare.com/client/v4/accounts/<account id>/ai/v1
    Provider {
        offers: &[Embeddings(EmbeddingsApi::Floats)],
        ..chat("workers-ai", "cloudflare.workers_ai", "")
    },
    Provider { offers: &[Images(ImagesApi::Whole), Realtime], ..chat("xai", "x_ai", "https://api.x.ai/v1") },
    Provider {
        offers: &[Embeddings(EmbeddingsApi::Floats), Images(ImagesApi::Whole)],
        ..chat("zhipu", "zhipu_ai", "https://api.z.ai/api/paas/v4")
    },
];

const fn chat(name: &'static str, telemetry_name: &'static str, base_url: &'static str) -> Provider {
    Provider { stream_usage: StreamUsage::Asked, ..own(name, telemetry_name, base_url, Api::ChatCompletions) }
}

/// A provider with a protocol of its own, and otherwise as most are.
const fn own(name: &'static str, telemetry_name: &'static str, base_url: &'static str, api: Api) -> Provider {
    Provider {
        name,
        telemetry_name,
        base_url,
        auth: Auth::Bearer,
        grant: None,
        hosting: Hosting::Own,
        betas: Betas::None,
        api,
        also: None,
        files_in_texts: false,
        stream_usage: StreamUsage::Unasked,
        offers: &[],
    }
}

/// What Claude takes on Bedrock. A beta not listed there is refused with the whole call.
const BEDROCK_BETAS: &[&str] = &[
    "compact-2026-01-12",
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "dangerous-tool-use-2026-09-03",
    "effort-2025-11-24",
    "fine-grained-tool-streaming-2025-05-14",
    "mid-conversation-output-config-2026-07-01",
    "mid-conversation-tool-changes-2026-07-01",
    "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18",
    "tool-search-tool-2025-10-19",
];

/// What Claude takes on Vertex AI.
const VERTEX_BETAS: &[&str] = &[
    "compact-2026-01-12",
    "compact-2026-09-04",
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "dangerous-tool-use-2026-09-03",
    "interleaved-thinking-2025-05-14",
    "per-turn-control-2026-07-01",
    "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18",
    "tool-search-tool-2025-10-19",
    "web-search-2025-03-05",
];

/// More than there are of any use at once.
const MAX_BETAS: usize = 20;

/// Longer than any beta's name.
const MAX_WORD: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_reachable_by_name() {
        assert!(PROVIDERS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for provider in PROVIDERS {
            assert_eq!(find(provider.name).map(|found| found.telemetry_name), Some(provider.telemetry_name));
            assert!(!provider.base_url.ends_with('/'), "{}", provider.name);
        }
    }

    #[test]
    fn a_provider_is_spoken_to_in_the_callers_protocol_where_it_can() {
        use Api::{ChatCompletions, Converse, GenerateContent, Messages, Ollama, Responses};
        let cases = [
            ("openai", "gpt-5", ChatCompletions, ChatCompletions),
            ("openai", "gpt-5", Responses, Responses),
            ("openai", "gpt-5", Messages, ChatCompletions),
            ("openai", "gpt-5-codex", Messages, Responses),
            ("openai", "gpt-5.2-pro-2025-12-11", ChatCompletions, Responses),
            ("openai", "o3-pro", GenerateContent, Responses),
            ("openai", "gpt-5-professor", ChatCompletions, ChatCompletions),
            ("openrouter", "openai/gpt-5-pro", ChatCompletions, ChatCompletions),
            ("ollama", "llama3", ChatCompletions, ChatCompletions),
            ("ollama", "llama3", Messages, Ollama),
            ("ollama-native", "llama3", ChatCompletions, Ollama),
            ("bedrock", "anthropic.claude-sonnet-4-6", Messages, Messages),
            ("bedrock", "anthropic.claude-sonnet-4-6", ChatCompletions, Converse),
            ("bedrock", "us.amazon.nova-pro-v1:0", Messages, Converse),
            ("vertex", "claude-sonnet-4-6", ChatCompletions, Messages),
            ("vertex", "claude-sonnet-4-6", GenerateContent, Messages),
            ("vertex", "gemini-2.5-flash", Messages, GenerateContent),
        ];
        for (name, model, callers, expected) in cases {
            let provider = find(name).expect("listed");
            assert_eq!(provider.api_for(callers, model), expected, "{name} {model} {callers:?}");
        }
    }

    #[test]
    fn betas_a_provider_does_not_take_are_named() {
        let headers: HeaderMap = [
            ("anthropic-beta", "context-1m-2025-08-07, files-api-2025-04-14"),
            ("anthropic-beta", "context-1m-2025-08-07,bad word,"),
            ("openai-beta", "assistants=v2"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
        let cases = [
            ("anthropic", "context-1m-2025-08-07 files-api-2025-04-14", "openai-beta:assistants=v2"),
            (
                "bedrock",
                "context-1m-2025-08-07",
                "anthropic-beta:files-api-2025-04-14 openai-beta:assistants=v2",
            ),
            (
                "vertex",
                "context-1m-2025-08-07",
                "anthropic-beta:files-api-2025-04-14 openai-beta:assistants=v2",
            ),
            (
                "openai",
                "assistants=v2",
                "anthropic-beta:context-1m-2025-08-07 anthropic-beta:files-api-2025-04-14",
            ),
            (
                "groq",
                "",
                "anthropic-beta:context-1m-2025-08-07 anthropic-beta:files-api-2025-04-14 openai-beta:assistants=v2",
            ),
        ];
        for (name, taken, dropped) in cases {
            let (sent, left) = find(name).expect("listed").betas.sort(&headers);
            let sent = sent.map_or(String::new(), |(_, words)| words.join(" "));
            assert_eq!((sent.as_str(), left.join(" ").as_str()), (taken, dropped), "{name}");
        }
    }

    /// What a reference of the provider's API lists, and no more: what is not here is asked of a chat (older
    /// completions) or refused.
    #[test]
    fn beside_chat_a_provider_does_what_its_reference_lists() {
        #[rustfmt::skip]
        let cases = [
            ("anthropic", ""),
            ("azure", "Completions Embeddings(OpenAi) Files ImageEdits Images(OpenAi) Realtime Speech(OpenAi) Transcriptions Translations"),
            ("bedrock", "Embeddings(Bedrock) Rerank(Bedrock)"),
            ("cerebras", "Completions"),
            ("cohere", "Embeddings(Cohere) Rerank(Cohere)"),
            ("dashscope", "Embeddings(Floats)"),
            ("deepinfra", "Completions Embeddings(Floats) ImageEdits ImageVariations Images(Whole) Speech(OpenAi) Transcriptions Translations"),
            ("deepseek", ""),
            ("demo", ""),
            ("fireworks", "Completions Embeddings(Floats) Transcriptions Translations"),
            ("gemini", "Embeddings(Gemini) Images(Gemini) Speech(Gemini)"),
            ("github", "Embeddings(OpenAi)"),
            ("groq", "Files Speech(OpenAi) Transcriptions Translations"),
            ("huggingface", ""),
            ("hyperbolic", "Completions"),
            ("jina", "Embeddings(Jina) Rerank(Jina)"),
            ("llama-cpp", "Completions Embeddings(OpenAi) Rerank(Jina)"),
            ("lm-studio", "Completions Embeddings(Floats)"),
            ("minimax", ""),
            ("mistral", "Embeddings(Mistral) Moderations(Mistral) Transcriptions"),
            ("moonshot", ""),
            ("nebius", "Completions Embeddings(Floats) Images(Whole)"),
            ("novita", "Completions"),
            ("nvidia", "Embeddings(OpenAi)"),
            ("ollama", "Completions Embeddings(Ollama)"),
            ("ollama-native", "Embeddings(Ollama)"),
            ("openai", "Completions CountTokens Embeddings(OpenAi) Files ImageEdits ImageVariations Images(OpenAi) Moderations(OpenAi) Realtime Speech(OpenAi) Transcriptions Translations"),
            ("openrouter", "Completions Embeddings(OpenAi)"),
            ("perplexity", ""),
            ("sambanova", "Embeddings(Floats) Transcriptions"),
            ("together", "Completions Embeddings(Floats) Images(Whole) Rerank(Jina) Speech(OpenAi) Transcriptions Translations"),
            ("vertex", ""),
            ("vllm", "Completions Embeddings(OpenAi) Rerank(Jina) Transcriptions Translations"),
            ("voyage", "Embeddings(Voyage) Rerank(Voyage)"),
            ("workers-ai", "Embeddings(Floats)"),
            ("xai", "Images(Whole) Realtime"),
            ("zhipu", "Embeddings(Floats) Images(Whole)"),
        ];
        assert_eq!(cases.len(), PROVIDERS.len());
        for (provider, (name, offers)) in PROVIDERS.iter().zip(cases) {
            let said: Vec<String> = provider.offers.iter().map(|offer| format!("{offer:?}")).collect();
            assert_eq!((provider.name, said.join(" ").as_str()), (name, offers));
        }
    }

    /// A signature is over a body that is there; forms and files are sent on while they come.
    #[test]
    fn a_provider_that_wants_signatures_takes_no_forms() {
        let forms = [Files, ImageEdits, ImageVariations, Transcriptions, Translations];
        for provider in PROVIDERS.iter().filter(|provider| provider.grant == Some(Grant::Aws)) {
            assert!(!provider.offers.iter().any(|offer| forms.contains(offer)), "{}", provider.name);
        }
    }

    #[test]
    fn a_model_name_may_contain_slashes() {
        let (provider, model) = split("openrouter/meta-llama/llama-3").expect("known provider");
        assert_eq!((provider.name, model), ("openrouter", "meta-llama/llama-3"));
        for unknown in ["gpt-5", "nobody/gpt-5", "openai/", "/gpt-5", ""] {
            assert!(split(unknown).is_none(), "{unknown}");
        }
    }
}
