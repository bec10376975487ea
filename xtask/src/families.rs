//! LiteLLM's families of models, and whose they are here. One list, for prices and for what models can do.

use serde_json::Value;

/// The row that an entry of LiteLLM's table belongs to: the first that fits.
pub(crate) fn find(key: &str, entry: &Value) -> Option<&'static Family> {
    FAMILIES
        .iter()
        .find(|family| entry["litellm_provider"] == family.litellm && key.starts_with(family.prefix))
}

/// A row: LiteLLM's provider, what its keys begin with, and the gateway's provider. Of `bedrock-mantle` the gateway
/// knows no more than prices.
#[derive(Debug, PartialEq)]
pub(crate) struct Family {
    litellm: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) provider: &'static str,
}

const fn family(litellm: &'static str, prefix: &'static str, provider: &'static str) -> Family {
    Family { litellm, prefix, provider }
}

/// Where an inference profile of Bedrock keeps to: what its name begins with. The model is the same.
pub(crate) const REGIONS: &[&str] = &["apac", "au", "ca", "eu", "global", "in", "jp", "us", "us-gov"];

/// In the order they are tried.
pub(crate) const FAMILIES: &[Family] = &[
    family("anthropic", "", "anthropic"),
    family("azure", "azure/", "azure"),
    family("azure_ai", "azure_ai/", "azure"),
    family("azure_text", "azure/", "azure"),
    family("bedrock", "", "bedrock"),
    family("bedrock_converse", "", "bedrock"),
    family("bedrock_mantle", "bedrock_mantle/", "bedrock-mantle"),
    family("cerebras", "cerebras/", "cerebras"),
    family("cloudflare", "cloudflare/", "workers-ai"),
    family("cohere", "cohere/", "cohere"),
    family("cohere", "", "cohere"),
    family("cohere_chat", "", "cohere"),
    family("dashscope", "dashscope/", "dashscope"),
    family("deepinfra", "deepinfra/", "deepinfra"),
    family("deepseek", "deepseek/", "deepseek"),
    family("deepseek", "", "deepseek"),
    family("fireworks_ai", "fireworks_ai/", "fireworks"),
    family("fireworks_ai-embedding-models", "fireworks_ai/", "fireworks"),
    family("gemini", "gemini/", "gemini"),
    family("gemini", "", "gemini"),
    family("groq", "groq/", "groq"),
    family("hyperbolic", "hyperbolic/", "hyperbolic"),
    family("jina_ai", "", "jina"),
    family("minimax", "minimax/", "minimax"),
    family("mistral", "mistral/", "mistral"),
    family("moonshot", "moonshot/", "moonshot"),
    family("nebius", "nebius/", "nebius"),
    family("novita", "novita/", "novita"),
    family("nvidia_nim", "nvidia_nim/", "nvidia"),
    family("openai", "", "openai"),
    family("perplexity", "perplexity/", "perplexity"),
    family("sambanova", "sambanova/", "sambanova"),
    family("text-completion-openai", "", "openai"),
    family("together_ai", "together_ai/", "together"),
    family("vertex_ai", "vertex_ai/", "vertex"),
    family("vertex_ai-ai21_models", "vertex_ai/", "vertex"),
    family("vertex_ai-anthropic_models", "vertex_ai/", "vertex"),
    family("vertex_ai-deepseek_models", "vertex_ai/", "vertex"),
    family("vertex_ai-embedding-models", "vertex_ai/", "vertex"),
    family("vertex_ai-embedding-models", "", "vertex"),
    family("vertex_ai-language-models", "vertex_ai/", "vertex"),
    family("vertex_ai-language-models", "", "vertex"),
    family("vertex_ai-llama_models", "vertex_ai/", "vertex"),
    family("vertex_ai-minimax_models", "vertex_ai/", "vertex"),
    family("vertex_ai-mistral_models", "vertex_ai/", "vertex"),
    family("vertex_ai-moonshot_models", "vertex_ai/", "vertex"),
    family("vertex_ai-openai_models", "vertex_ai/", "vertex"),
    family("vertex_ai-qwen_models", "vertex_ai/", "vertex"),
    family("vertex_ai-zai_models", "vertex_ai/", "vertex"),
    family("voyage", "voyage/", "voyage"),
    family("xai", "xai/", "xai"),
    family("zai", "zai/", "zhipu"),
];
