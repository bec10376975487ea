//! Who the providers are: one row each. What they speak is in [`crate::dialect`].

use crate::{
    dialect::{
        Dialect, chat_completions::ChatCompletions, cohere::Cohere, converse::Converse,
        generate_content::GenerateContent, messages::Messages, responses::Responses,
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
    /// What it speaks.
    pub api: Api,
    /// What it speaks besides; used for callers who speak that.
    pub also: Option<Api>,
    /// Whether a stream must be asked to end with its usage (`stream_options.include_usage`). A
    /// provider that always sends it, or that refuses fields it does not know, is not asked.
    pub ask_usage: bool,
    /// What it does beside chat.
    pub offers: &'static [Offer],
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
    /// Pictures.
    Images(ImagesApi),
    /// Whether something is harmful.
    Moderations(ModerationsApi),
    /// Which documents answer a query.
    Rerank(RerankApi),
    /// Words said aloud.
    Speech(SpeechApi),
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
    /// What to speak with it for a caller who speaks `callers`: the same, if it can.
    pub fn api_for(&self, callers: Api) -> Api {
        let completes = callers == Api::Completions && self.offers.contains(&Completions);
        if completes || self.also == Some(callers) { callers } else { self.api }
    }
}

/// Where one attempt goes: a provider, with what the deployment adds to its row.
#[derive(Debug, Clone, Copy)]
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

use Offer::{Completions, CountTokens, Embeddings, Images, Moderations, Rerank, Speech};

/// Every provider, by name.
pub const PROVIDERS: &[Provider] = &[
    Provider {
        name: "anthropic",
        telemetry_name: "anthropic",
        base_url: "https://api.anthropic.com",
        auth: Auth::Header("x-api-key"),
        api: Api::Messages,
        also: None,
        ask_usage: false,
        offers: &[],
    },
    // Each resource has its own: AZURE_BASE_URL is https://<resource>.openai.azure.com/openai/v1; a model is the
    // name of a deployment.
    Provider {
        auth: Auth::Header("api-key"),
        also: Some(Api::Responses),
        offers: &[Completions, Embeddings(EmbeddingsApi::OpenAi), Images(ImagesApi::OpenAi)],
        ..chat("azure", "azure.ai.openai", "")
    },
    // A key for Bedrock; in another region than this, BEDROCK_BASE_URL.
    Provider {
        name: "bedrock",
        telemetry_name: "aws.bedrock",
        base_url: "https://bedrock-runtime.us-east-1.amazonaws.com",
        auth: Auth::Bearer,
        api: Api::Converse,
        also: None,
        ask_usage: false,
        offers: &[Embeddings(EmbeddingsApi::Bedrock), Rerank(RerankApi::Bedrock)],
    },
    Provider { offers: &[Completions], ..chat("cerebras", "cerebras", "https://api.cerebras.ai/v1") },
    Provider {
        name: "cohere",
        telemetry_name: "cohere",
        base_url: "https://api.cohere.com",
        auth: Auth::Bearer,
        api: Api::Cohere,
        also: None,
        ask_usage: false,
        offers: &[Embeddings(EmbeddingsApi::Cohere), Rerank(RerankApi::Cohere)],
    },
    Provider {
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
            Images(ImagesApi::Whole),
            Speech(SpeechApi::OpenAi),
        ],
        ..chat("deepinfra", "deepinfra", "https://api.deepinfra.com/v1/openai")
    },
    chat("deepseek", "deepseek", "https://api.deepseek.com/v1"),
    Provider {
        name: "demo",
        telemetry_name: "hypergate.demo",
        base_url: "",
        auth: Auth::Optional,
        api: Api::Demo,
        also: None,
        ask_usage: true,
        offers: &[],
    },
    Provider {
        offers: &[Completions, Embeddings(EmbeddingsApi::Floats)],
        ..chat("fireworks", "fireworks", "https://api.fireworks.ai/inference/v1")
    },
    Provider {
        name: "gemini",
        telemetry_name: "gcp.gemini",
        base_url: "https://generativelanguage.googleapis.com",
        auth: Auth::Header("x-goog-api-key"),
        api: Api::GenerateContent,
        also: None,
        ask_usage: false,
        offers: &[Embeddings(EmbeddingsApi::Gemini), Images(ImagesApi::Gemini), Speech(SpeechApi::Gemini)],
    },
    Provider {
        offers: &[Embeddings(EmbeddingsApi::OpenAi)],
        ..chat("github", "github.models", "https://models.github.ai/inference")
    },
    Provider {
        offers: &[Speech(SpeechApi::OpenAi)],
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
        offers: &[Completions, Embeddings(EmbeddingsApi::OpenAi)],
        ..chat("llama-cpp", "llama_cpp", "http://localhost:8080/v1")
    },
    Provider {
        auth: Auth::Optional,
        offers: &[Completions, Embeddings(EmbeddingsApi::Floats)],
        ..chat("lm-studio", "lm_studio", "http://localhost:1234/v1")
    },
    chat("minimax", "minimax", "https://api.minimax.io/v1"),
    // Sends usage with its last chunk unasked, and answers 422 to fields it does not know.
    Provider {
        ask_usage: false,
        offers: &[Embeddings(EmbeddingsApi::Mistral), Moderations(ModerationsApi::Mistral)],
        ..chat("mistral", "mistral_ai", "https://api.mistral.ai/v1")
    },
    chat("moonshot", "moonshot_ai", "https://api.moonshot.ai/v1"),
    Provider {
        offers: &[Completions, Embeddings(EmbeddingsApi::Floats), Images(ImagesApi::Whole)],
        ..chat("nebius", "nebius", "https://api.tokenfactory.nebius.com/v1")
    },
    Provider {
        offers: &[Embeddings(EmbeddingsApi::OpenAi)],
        ..chat("nvidia", "nvidia.nim", "https://integrate.api.nvidia.com/v1")
    },
    Provider {
        auth: Auth::Optional,
        offers: &[Completions, Embeddings(EmbeddingsApi::Ollama)],
        ..chat("ollama", "ollama", "http://localhost:11434/v1")
    },
    Provider {
        also: Some(Api::Responses),
        offers: &[
            Completions,
            CountTokens,
            Embeddings(EmbeddingsApi::OpenAi),
            Images(ImagesApi::OpenAi),
            Moderations(ModerationsApi::OpenAi),
            Speech(SpeechApi::OpenAi),
        ],
        ..chat("openai", "openai", "https://api.openai.com/v1")
    },
    Provider {
        offers: &[Completions, Embeddings(EmbeddingsApi::OpenAi)],
        ..chat("openrouter", "openrouter", "https://openrouter.ai/api/v1")
    },
    // Sends usage with every chunk.
    Provider { ask_usage: false, ..chat("perplexity", "perplexity", "https://api.perplexity.ai") },
    Provider {
        offers: &[Embeddings(EmbeddingsApi::Floats)],
        ..chat("sambanova", "sambanova", "https://api.sambanova.ai/v1")
    },
    Provider {
        offers: &[
            Completions,
            Embeddings(EmbeddingsApi::Floats),
            Images(ImagesApi::Whole),
            Rerank(RerankApi::Jina),
            Speech(SpeechApi::OpenAi),
        ],
        ..chat("together", "together_ai", "https://api.together.xyz/v1")
    },
    Provider {
        auth: Auth::Optional,
        offers: &[Completions, Embeddings(EmbeddingsApi::OpenAi), Rerank(RerankApi::Jina)],
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
    Provider { offers: &[Images(ImagesApi::Whole)], ..chat("xai", "x_ai", "https://api.x.ai/v1") },
    Provider {
        offers: &[Embeddings(EmbeddingsApi::Floats), Images(ImagesApi::Whole)],
        ..chat("zhipu", "zhipu_ai", "https://api.z.ai/api/paas/v4")
    },
];

const fn chat(name: &'static str, telemetry_name: &'static str, base_url: &'static str) -> Provider {
    Provider {
        name,
        telemetry_name,
        base_url,
        auth: Auth::Bearer,
        api: Api::ChatCompletions,
        also: None,
        ask_usage: true,
        offers: &[],
    }
}

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
    fn a_model_name_may_contain_slashes() {
        let (provider, model) = split("openrouter/meta-llama/llama-3").expect("known provider");
        assert_eq!((provider.name, model), ("openrouter", "meta-llama/llama-3"));
        for unknown in ["gpt-5", "nobody/gpt-5", "openai/", "/gpt-5", ""] {
            assert!(split(unknown).is_none(), "{unknown}");
        }
    }
}
