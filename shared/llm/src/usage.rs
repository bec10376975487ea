//! What a call used: the one record every provider's own counts are turned into.

/// Tokens by kind. `input_tokens` and `output_tokens` are totals and every other count is a part of one of them, so
/// nothing is added up twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// All input, what was read from and written to a cache included.
    pub input_tokens: u64,
    /// Input found in the provider's prompt cache.
    pub cache_read_input_tokens: u64,
    /// Input written to a cache for five minutes, or for a time the provider does not name.
    pub cache_write_5m_input_tokens: u64,
    /// Input written to a cache for an hour.
    pub cache_write_1h_input_tokens: u64,
    /// Input that was sound.
    pub audio_input_tokens: u64,
    /// All output, reasoning included.
    pub output_tokens: u64,
    /// Output spent on reasoning, whether or not the caller saw it.
    pub reasoning_output_tokens: u64,
    /// Output that is sound.
    pub audio_output_tokens: u64,
    /// Whether these are our own guess: the provider sent no usage, or the stream was cut before it.
    pub estimated: bool,
}
