//! What a call used: the one record every provider's own counts are turned into.

/// Counts by kind; zero where a provider does not name the kind. `input_tokens` and `output_tokens` are totals and every
/// other count of tokens is a part of one of them, so nothing is added up twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// All input, what was read from and written to a cache included, of every modality.
    pub input_tokens: u64,
    /// Input found in the provider's prompt cache.
    pub cache_read_input_tokens: u64,
    /// Input written to a cache for five minutes, or for a time the provider does not name.
    pub cache_write_5m_input_tokens: u64,
    /// Input written to a cache for an hour.
    pub cache_write_1h_input_tokens: u64,
    /// Input that was sound, cached or not.
    pub audio_input_tokens: u64,
    /// Input that was pictures, cached or not.
    pub image_input_tokens: u64,
    /// Input that was film.
    pub video_input_tokens: u64,
    /// Sound found in the cache: a part of `cache_read_input_tokens` and of `audio_input_tokens`.
    pub cache_read_audio_input_tokens: u64,
    /// Pictures found in the cache: a part of `cache_read_input_tokens` and of `image_input_tokens`.
    pub cache_read_image_input_tokens: u64,
    /// All output, reasoning included, of every modality.
    pub output_tokens: u64,
    /// Output spent on reasoning, whether or not the caller saw it.
    pub reasoning_output_tokens: u64,
    /// Output that is sound.
    pub audio_output_tokens: u64,
    /// Output that is pictures. Where a picture model counts its output without details, all of it.
    pub image_output_tokens: u64,
    /// Output that is film.
    pub video_output_tokens: u64,
    /// Pictures made; those a request sent in are not counted.
    pub images: u64,
    /// Searches of the web the provider made for this call, as it bills them: Claude's `web_search_requests`, OpenAI's
    /// finished `web_search_call` items, Gemini's `webSearchQueries` (one for all of an answer where the model is billed
    /// by the prompt).
    pub searches: u64,
    /// Searches of files kept at the provider: OpenAI's finished `file_search_call` items.
    pub file_searches: u64,
    /// What a reranker bills: Cohere's `search_units`; elsewhere 1 a request, if it is not billed by tokens.
    pub search_units: u64,
    /// Length of the sound that was transcribed, or made where the provider says it, in milliseconds.
    pub audio_ms: u64,
    /// Characters (Unicode scalar values) of the text that was spoken.
    pub characters: u64,
    /// What the provider says the call cost, in millionths of a USD: OpenRouter's `usage.cost`, xAI's
    /// `cost_in_usd_ticks`, Perplexity's `cost.total_cost`. A record believes it before any table.
    pub provider_cost_microusd: Option<i64>,
    /// At which of its prices the provider served the call.
    pub tier: ServiceTier,
    /// Whether nobody's tokenizer counted these: the built-in demo's words. Where a provider sent no usage, or the stream
    /// was cut before it, nothing is guessed: the record's counts are null.
    pub estimated: bool,
}

impl Usage {
    /// The tokens and the time of two, together.
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        for (sum, more) in [
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.cache_read_input_tokens, other.cache_read_input_tokens),
            (&mut self.cache_write_5m_input_tokens, other.cache_write_5m_input_tokens),
            (&mut self.cache_write_1h_input_tokens, other.cache_write_1h_input_tokens),
            (&mut self.audio_input_tokens, other.audio_input_tokens),
            (&mut self.image_input_tokens, other.image_input_tokens),
            (&mut self.video_input_tokens, other.video_input_tokens),
            (&mut self.cache_read_audio_input_tokens, other.cache_read_audio_input_tokens),
            (&mut self.cache_read_image_input_tokens, other.cache_read_image_input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.reasoning_output_tokens, other.reasoning_output_tokens),
            (&mut self.audio_output_tokens, other.audio_output_tokens),
            (&mut self.image_output_tokens, other.image_output_tokens),
            (&mut self.video_output_tokens, other.video_output_tokens),
            (&mut self.audio_ms, other.audio_ms),
        ] {
            *sum = sum.saturating_add(more);
        }
        self
    }
}

/// What a provider charges differently for a better or a later answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServiceTier {
    /// Through a batches API: hours later.
    Batch,
    /// When there is room.
    Flex,
    /// Before others.
    Priority,
    /// As always; also where the provider does not say.
    #[default]
    Standard,
}

impl ServiceTier {
    /// As requests name it, with a provider's own word for the standard one.
    pub(crate) fn word(self, standard: &'static str) -> &'static str {
        match self {
            Self::Batch | Self::Standard => standard,
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }

    /// As an answer that was written here names it. As standard counts what a provider does not name, so that is not said.
    pub(crate) fn told(self) -> Option<&'static str> {
        matches!(self, Self::Flex | Self::Priority).then(|| self.word(""))
    }

    /// As answers name it in `service_tier` and the like, read without regard to case; what is not known is standard.
    pub fn named(name: &str) -> Self {
        let names = [("batch", Self::Batch), ("flex", Self::Flex), ("priority", Self::Priority)];
        names
            .into_iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known))
            .map_or(Self::Standard, |(_, tier)| tier)
    }
}
