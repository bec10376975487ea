//! The record of one call: who, what, which targets were tried, timings, tokens, cost, outcome.

use std::{collections::BTreeMap, rc::Rc};

use hypercare::detect::{Pace, errors::template, wait_ms};
use llm::{ServiceTier, UpstreamError, Usage, relay::Summary};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    auth::Caller,
    payload::{Capture, Payload},
    price,
    tags::Tags,
};

/// One call: each field is a column. Words are OpenTelemetry's; unknown is `None`, never zero.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// Made by the gateway, unique; storing a record twice stores it once.
    pub id: String,
    /// Empty where the caller was not known.
    pub tenant_id: String,
    /// Empty where the caller was not known.
    pub key_id: String,
    /// Keyed hash of the caller's name for its end user.
    pub end_user_hash: Option<String>,
    /// What was done: `chat`, `embeddings`, ….
    pub operation: String,
    /// The path called.
    pub route: String,
    /// The model as the caller named it; empty where the request could not be read.
    pub request_model: String,
    /// The model that served, as the provider names it.
    pub response_model: Option<String>,
    /// The provider that answered, or the last one tried; OpenTelemetry's name.
    pub provider_name: String,
    /// The model asked of that provider.
    pub target_model: String,
    /// Every try, in order.
    pub attempts: Vec<Attempt>,
    /// HTTP status the caller saw; 499 where it did not wait for one.
    pub status: u16,
    /// The status in one word.
    pub outcome: Outcome,
    /// Stable code of what went wrong.
    pub error_type: Option<String>,
    /// What the provider said went wrong, without what differs from call to call.
    pub error_template: Option<String>,
    /// Unix milliseconds.
    pub started_ms: i64,
    /// From when the request was read until its last byte was handed over to be sent.
    pub duration_ms: i64,
    /// From the start to the head of the upstream's answer.
    pub upstream_first_byte_ms: Option<i64>,
    /// From the start to the first bytes of a streamed answer's content going out.
    pub time_to_first_chunk_ms: Option<i64>,
    /// What of the duration was not spent waiting for upstreams.
    pub overhead_ms: i64,
    /// What the caller waited for the answer to begin, where that means something.
    pub wait_ms: Option<i64>,
    /// Spent waiting for upstreams and between tries of them; none where none was asked.
    pub upstream_ms: Option<i64>,
    /// All input tokens, cached ones included.
    pub input_tokens: Option<u64>,
    /// Input tokens read from the provider's cache.
    pub cache_read_input_tokens: Option<u64>,
    /// Input tokens written to the provider's cache.
    pub cache_write_input_tokens: Option<u64>,
    /// All output tokens, reasoning included.
    pub output_tokens: Option<u64>,
    /// Output tokens spent on thinking.
    pub reasoning_output_tokens: Option<u64>,
    /// What of the tokens written to the cache is kept for an hour.
    pub cache_write_1h_input_tokens: Option<u64>,
    /// Input tokens of sound.
    pub audio_input_tokens: Option<u64>,
    /// Input tokens of pictures.
    pub image_input_tokens: Option<u64>,
    /// Output tokens of sound.
    pub audio_output_tokens: Option<u64>,
    /// Output tokens of pictures.
    pub image_output_tokens: Option<u64>,
    /// Pictures made.
    pub images: Option<u64>,
    /// Searches of the web.
    pub searches: Option<u64>,
    /// Searches of files.
    pub file_searches: Option<u64>,
    /// What a reranker bills.
    pub search_units: Option<u64>,
    /// Milliseconds of sound that was written down.
    pub audio_ms: Option<u64>,
    /// Characters that were spoken.
    pub characters: Option<u64>,
    /// `batch`, `flex` or `priority`.
    pub service_tier: Option<String>,
    /// The tokens were counted here, not told by the provider.
    pub usage_estimated: bool,
    /// Millionths of a US dollar, by the prices named next.
    pub cost_microusd: Option<i64>,
    /// The date of the price table; `provider` where the provider told the cost; `tenant:` or `global:` and the day
    /// the prices were set where they are the deployment's own.
    pub price_version: String,
    /// In OpenAI's words.
    pub finish_reason: Option<String>,
    /// The same in the provider's own word.
    pub native_finish_reason: Option<String>,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// `none`: there is no cache yet that a call could hit.
    pub cache_status: String,
    /// Data centre, where the host knows it.
    pub region: Option<String>,
    /// Where the call came from: a country's two letters, where the host knows it.
    pub country: Option<String>,
    /// Keyed hash of the caller's network.
    pub source: Option<String>,
    /// Of a call refused for its key: the beginning of the key's hash.
    pub tried: Option<String>,
    /// What was deployed.
    pub release: String,
    /// W3C trace id.
    pub trace_id: String,
    /// The span of the caller's that this is part of, where it said so.
    pub parent_span_id: Option<String>,
    /// The version of its prompt, as the caller says.
    pub prompt_version: Option<String>,
    /// What the caller says the call is for.
    pub tags: Option<BTreeMap<String, String>>,
    /// The content, where the tenant keeps it. A row of its own.
    #[serde(skip)]
    pub payload: Option<Payload>,
}

/// One try of one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// As in `provider/model`.
    pub provider: String,
    /// The model asked for.
    pub model: String,
    /// The upstream's status; none where it gave no answer.
    pub status: Option<u16>,
    /// Stable code of what went wrong.
    pub error_type: Option<String>,
    /// Until the answer was there (a stream: its first chunk), or the failure.
    pub duration_ms: i64,
}

/// How a call ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The caller hung up.
    Aborted,
    /// The request was refused, and rightly.
    ClientError,
    /// The gateway or a provider failed, or a stream broke off.
    Error,
    /// A whole answer.
    Ok,
    /// Too many requests, or no quota left.
    RateLimited,
}

impl Outcome {
    /// Each of them, as it is written.
    pub const WORDS: [&str; 5] = ["aborted", "client_error", "error", "ok", "rate_limited"];

    /// The outcome of an answer with this status, sent whole.
    pub fn of_status(status: u16) -> Self {
        match status {
            ..400 => Self::Ok,
            429 => Self::RateLimited,
            CLIENT_CLOSED_REQUEST => Self::Aborted,
            400..500 => Self::ClientError,
            _ => Self::Error,
        }
    }
}

/// Nginx's status for a caller that hung up; no answer carries it.
pub const CLIENT_CLOSED_REQUEST: u16 = 499;

/// A record in the making. Holds what is known so far of a call under way.
#[derive(Debug)]
pub struct Draft {
    record: Record,
    /// Milliseconds spent waiting for upstreams, and between retries.
    upstream_ms: i64,
    /// The provider by its own name, for prices.
    provider: &'static str,
    /// The provider that was last turned to.
    asked: Option<&'static str>,
    capture: Option<Capture>,
    /// Who may have prices of its own.
    caller: Option<Rc<Caller>>,
}

/// What is known of a call when it begins.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The new id.
    pub id: String,
    /// What is to be done.
    pub operation: &'a str,
    /// The path called.
    pub route: &'a str,
    /// W3C trace id.
    pub trace_id: String,
    /// The span of the caller's that this is part of, where it said so.
    pub parent_span_id: Option<String>,
    /// Unix milliseconds.
    pub started_ms: i64,
    /// Where this runs.
    pub region: Option<String>,
    /// What is deployed.
    pub release: &'a str,
}

impl Record {
    /// How fast a stream's answer was written once it had begun, in hundredths of a token a second; none where that
    /// is not known. The stream must have ended well, as a cut one tells its tokens seldom.
    pub fn rate(&self) -> Option<i64> {
        let tokens = i64::try_from(self.output_tokens?).ok().filter(|tokens| *tokens > 0)?;
        let writing_ms = self.duration_ms - self.time_to_first_chunk_ms?;
        let is_whole = self.outcome == Outcome::Ok && writing_ms > 0;
        is_whole.then(|| (tokens * 100_000 + writing_ms / 2) / writing_ms)
    }
}

impl Draft {
    /// A call begins.
    pub fn begin(opening: Opening<'_>) -> Self {
        let record = Record {
            id: opening.id,
            tenant_id: String::new(),
            key_id: String::new(),
            end_user_hash: None,
            operation: opening.operation.to_owned(),
            route: opening.route.to_owned(),
            request_model: String::new(),
            response_model: None,
            provider_name: String::new(),
            target_model: String::new(),
            attempts: Vec::new(),
            status: 0,
            outcome: Outcome::Error,
            error_type: None,
            error_template: None,
            started_ms: opening.started_ms,
            duration_ms: 0,
            upstream_first_byte_ms: None,
            time_to_first_chunk_ms: None,
            overhead_ms: 0,
            wait_ms: None,
            upstream_ms: None,
            input_tokens: None,
            cache_read_input_tokens: None,
            cache_write_input_tokens: None,
            output_tokens: None,
            reasoning_output_tokens: None,
            cache_write_1h_input_tokens: None,
            audio_input_tokens: None,
            image_input_tokens: None,
            audio_output_tokens: None,
            image_output_tokens: None,
            images: None,
            searches: None,
            file_searches: None,
            search_units: None,
            audio_ms: None,
            characters: None,
            service_tier: None,
            usage_estimated: false,
            cost_microusd: None,
            price_version: llm::price::VERSION.to_owned(),
            finish_reason: None,
            native_finish_reason: None,
            stream: false,
            cache_status: "none".to_owned(),
            region: opening.region,
            country: None,
            source: None,
            tried: None,
            release: opening.release.to_owned(),
            trace_id: opening.trace_id,
            parent_span_id: opening.parent_span_id,
            prompt_version: None,
            tags: None,
            payload: None,
        };
        Self { record, upstream_ms: 0, provider: "", asked: None, capture: None, caller: None }
    }

    /// Under an id of its own: what may be found out more than once is recorded once.
    pub fn with_id(mut self, id: String) -> Self {
        self.record.id = id;
        self
    }

    /// The call's id.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// The call's trace.
    pub fn trace_id(&self) -> &str {
        &self.record.trace_id
    }

    /// When the call began.
    pub fn started_ms(&self) -> i64 {
        self.record.started_ms
    }

    /// How many targets were tried.
    pub fn attempts(&self) -> usize {
        self.record.attempts.len()
    }

    /// Who calls.
    pub fn caller(&mut self, tenant_id: &str, key_id: &str) {
        self.record.tenant_id = tenant_id.to_owned();
        self.record.key_id = key_id.to_owned();
    }

    /// Where the call comes from.
    pub fn comes_from(&mut self, country: Option<String>, source: Option<String>) {
        self.record.country = country;
        self.record.source = source;
    }

    /// The key it is refused for.
    pub fn tried(&mut self, hash: Option<String>) {
        self.record.tried = hash;
    }

    /// What the caller says the call is for.
    pub fn tagged(&mut self, tags: Tags) {
        self.record.prompt_version = tags.prompt_version;
        self.record.tags = (!tags.tags.is_empty()).then_some(tags.tags);
    }

    /// Whose prices hold before the list prices.
    pub fn prices(&mut self, caller: Rc<Caller>) {
        self.caller = Some(caller);
    }

    /// What is asked for.
    pub fn request(&mut self, model: &str, stream: bool, end_user_hash: Option<String>) {
        self.record.request_model = short(model);
        self.record.stream = stream;
        self.record.end_user_hash = end_user_hash;
    }

    /// The answer begins with this status, and is a stream.
    pub fn streams(&mut self, status: u16) {
        self.record.stream = true;
        self.record.status = status;
    }

    /// What of the content is kept.
    pub fn capture(&mut self, capture: Option<Capture>) {
        self.capture = capture;
    }

    /// A target was tried.
    pub fn attempt(&mut self, provider: &'static llm::Provider, attempt: Attempt) {
        self.upstream_ms += attempt.duration_ms;
        self.provider = provider.name;
        self.record.provider_name = provider.telemetry_name.to_owned();
        self.record.target_model = short(&attempt.model);
        self.record.attempts.push(Attempt { model: self.record.target_model.clone(), ..attempt });
    }

    /// What the provider said went wrong.
    pub fn failed(&mut self, error: &UpstreamError) {
        self.record.error_template = Some(short(&template(&error.message))).filter(|said| !said.is_empty());
    }

    /// The target that was tried was turned to, whatever became of it.
    pub fn asked(&mut self, provider: &'static llm::Provider) {
        self.asked = Some(provider.name);
    }

    /// The provider that was last turned to; none where the call was refused before.
    pub fn provider_asked(&self) -> Option<&'static str> {
        self.asked
    }

    /// Time went by on purpose, before a retry.
    pub fn waited(&mut self, ms: i64) {
        self.upstream_ms += ms;
    }

    /// The head of the answer that counts arrived.
    pub fn first_byte(&mut self, head_ms: i64) {
        self.record.upstream_first_byte_ms = Some(head_ms - self.record.started_ms);
    }

    /// Bytes of a stream go out to the caller.
    pub fn sent(&mut self, now_ms: i64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.record.time_to_first_chunk_ms.is_none() {
            self.record.time_to_first_chunk_ms = Some(now_ms - self.record.started_ms);
        }
        if let Some(capture) = &mut self.capture {
            capture.response(bytes);
        }
    }

    /// A whole answer goes out.
    pub fn finish_whole(
        mut self,
        now_ms: i64,
        status: u16,
        error_type: Option<&str>,
        summary: Summary,
        body: &[u8],
    ) -> Record {
        if let Some(capture) = &mut self.capture {
            capture.response(body);
        }
        self.record.error_type = error_type.map(str::to_owned);
        self.finish(now_ms, status, Outcome::of_status(status), summary)
    }

    /// A stream ended, well or not. The caller saw its status either way.
    pub fn finish_stream(mut self, now_ms: i64, summary: Summary) -> Record {
        if let Some(error) = &summary.error {
            self.failed(error);
        }
        let failure = summary.error.as_ref().map(|error| error.class);
        self.record.error_type = failure.map(|class| class.code().to_owned());
        let outcome = match failure {
            None => Outcome::Ok,
            Some(class) => match Outcome::of_status(class.status().as_u16()) {
                Outcome::Ok | Outcome::Aborted => Outcome::Error,
                outcome => outcome,
            },
        };
        let status = if self.record.status == 0 { 200 } else { self.record.status };
        self.finish(now_ms, status, outcome, summary)
    }

    /// The caller did not wait.
    pub fn finish_hung_up(mut self, now_ms: i64, summary: Summary) -> Record {
        self.record.error_type = Some(Error::HungUp.code().to_owned());
        self.finish(now_ms, CLIENT_CLOSED_REQUEST, Outcome::Aborted, summary)
    }

    fn finish(mut self, now_ms: i64, status: u16, outcome: Outcome, summary: Summary) -> Record {
        let mut record = self.record;
        record.status = status;
        record.outcome = outcome;
        record.duration_ms = now_ms - record.started_ms;
        // While a stream runs the gateway waits for the upstream; what it adds shows before that.
        let until_answer = record.time_to_first_chunk_ms.unwrap_or(record.duration_ms);
        record.overhead_ms = (until_answer - self.upstream_ms).max(0);
        record.upstream_ms = (!record.attempts.is_empty()).then_some(self.upstream_ms);
        let pace = match (record.provider_name.is_empty(), record.stream) {
            // Refused before any model was asked.
            (true, _) => Pace::Quick,
            (false, true) => Pace::Streamed,
            (false, false) => Pace::Whole,
        };
        record.wait_ms = wait_ms(pace, record.time_to_first_chunk_ms, record.duration_ms);
        record.finish_reason = summary.finish_reason.map(|reason| short(&reason));
        record.native_finish_reason = summary.native_finish_reason.map(|reason| short(&reason));
        if let Some(usage) = summary.usage.map(plausible) {
            let pieces = [usage.images, usage.search_units, usage.audio_ms, usage.characters]
                .iter()
                .any(|&count| count > 0);
            // What is sold by the piece is often not counted in tokens.
            if !pieces || usage.input_tokens + usage.output_tokens > 0 {
                record.input_tokens = Some(usage.input_tokens);
                record.cache_read_input_tokens = Some(usage.cache_read_input_tokens);
                record.cache_write_input_tokens =
                    Some(usage.cache_write_5m_input_tokens + usage.cache_write_1h_input_tokens);
                record.output_tokens = Some(usage.output_tokens);
                record.reasoning_output_tokens = Some(usage.reasoning_output_tokens);
            }
            // Of these, none is not told from unsaid.
            let said = |count: u64| (count > 0).then_some(count);
            record.cache_write_1h_input_tokens = said(usage.cache_write_1h_input_tokens);
            record.audio_input_tokens = said(usage.audio_input_tokens);
            record.image_input_tokens = said(usage.image_input_tokens);
            record.audio_output_tokens = said(usage.audio_output_tokens);
            record.image_output_tokens = said(usage.image_output_tokens);
            record.images = said(usage.images);
            record.searches = said(usage.searches);
            record.file_searches = said(usage.file_searches);
            record.search_units = said(usage.search_units);
            record.audio_ms = said(usage.audio_ms);
            record.characters = said(usage.characters);
            record.service_tier = match usage.tier {
                ServiceTier::Batch => Some("batch".to_owned()),
                ServiceTier::Flex => Some("flex".to_owned()),
                ServiceTier::Priority => Some("priority".to_owned()),
                ServiceTier::Standard => None,
            };
            // The demo counts words, and its wire form has no place to say so.
            record.usage_estimated = usage.estimated || self.provider == "demo";
            let served = summary.response_model.as_deref();
            let (cost, version) = cost(&usage, self.caller.as_deref(), self.provider, served, &record);
            record.cost_microusd = cost;
            record.price_version = version;
        }
        record.response_model = summary.response_model.map(|model| short(&model));
        record.payload = self.capture.take().map(Capture::finish);
        record
    }
}

/// What a call cost and by which prices: the provider's own word, else the caller's prices, else the table's.
fn cost(
    usage: &Usage,
    caller: Option<&Caller>,
    provider: &str,
    served: Option<&str>,
    record: &Record,
) -> (Option<i64>, String) {
    if let Some(cost) = usage.provider_cost_microusd.filter(|cost| *cost >= 0) {
        return (Some(cost), "provider".to_owned());
    }
    let at_ms = record.started_ms;
    let asked = record.target_model.as_str();
    let own = |model| price::find(&caller?.prices, provider, model, at_ms);
    // What was asked for is what the deployment set a price for; what served is what a list names.
    if let Some((price, version)) = own(asked).or_else(|| own(served?)) {
        return (price.cost_microusd(usage), version.to_owned());
    }
    let listed = |model| llm::price::find(provider, model, at_ms);
    let price = served.and_then(listed).or_else(|| listed(asked));
    (price.and_then(|price| price.cost_microusd(usage)), llm::price::VERSION.to_owned())
}

/// A count no call reaches would be refused by the database, and a sum of such would overflow.
fn plausible(mut usage: Usage) -> Usage {
    for count in [
        &mut usage.input_tokens,
        &mut usage.cache_read_input_tokens,
        &mut usage.cache_write_5m_input_tokens,
        &mut usage.cache_write_1h_input_tokens,
        &mut usage.audio_input_tokens,
        &mut usage.image_input_tokens,
        &mut usage.video_input_tokens,
        &mut usage.cache_read_audio_input_tokens,
        &mut usage.cache_read_image_input_tokens,
        &mut usage.output_tokens,
        &mut usage.reasoning_output_tokens,
        &mut usage.audio_output_tokens,
        &mut usage.image_output_tokens,
        &mut usage.video_output_tokens,
        &mut usage.images,
        &mut usage.searches,
        &mut usage.file_searches,
        &mut usage.search_units,
        &mut usage.audio_ms,
        &mut usage.characters,
    ] {
        *count = (*count).min(MAX_COUNT);
    }
    usage
}

/// Words in a record that come from outside have a bound.
fn short(text: &str) -> String {
    text.chars().take(MAX_WORD_CHARS).collect()
}

const MAX_WORD_CHARS: usize = 200;

const MAX_COUNT: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use llm::provider;

    use super::*;

    fn begun(route: &str, started_ms: i64) -> Draft {
        Draft::begin(Opening {
            operation: "chat",
            id: "call_1".to_owned(),
            route,
            trace_id: String::new(),
            parent_span_id: None,
            started_ms,
            region: None,
            release: "test",
        })
    }

    fn record(model: &str, usage: Usage) -> Record {
        let mut draft = begun("/v1/audio/speech", 1_795_435_200_000);
        let attempt = Attempt {
            provider: "openai".to_owned(),
            model: model.to_owned(),
            status: Some(200),
            error_type: None,
            duration_ms: 5,
        };
        draft.attempt(provider::find("openai").expect("a row"), attempt);
        draft.finish_whole(
            1_795_435_200_005,
            200,
            None,
            Summary { usage: Some(usage), ..Summary::default() },
            b"",
        )
    }

    #[test]
    fn what_the_provider_says_it_cost_goes_before_the_table() {
        let usage = Usage { input_tokens: 1_000, output_tokens: 10, ..Usage::default() };
        for (said, cost, version) in [
            (None, Some(2_080), llm::price::VERSION),
            (Some(7), Some(7), "provider"),
            (Some(0), Some(0), "provider"),
            (Some(-1), Some(2_080), llm::price::VERSION),
        ] {
            let record = record("gpt-4.1", Usage { provider_cost_microusd: said, ..usage });
            assert_eq!((record.cost_microusd, record.price_version.as_str()), (cost, version), "{said:?}");
        }
    }

    #[test]
    fn what_a_provider_said_is_kept_without_what_differs_from_call_to_call() {
        let mut draft = begun("/v1/chat/completions", 0);
        let said = "Rate limit of org-4711 reached for \"secret words\". Retry in 20s.";
        draft.failed(&UpstreamError::new(llm::ErrorClass::Rate, said));
        let record = draft.finish_whole(1, 429, Some("rate_limited"), Summary::default(), b"");
        assert_eq!(
            record.error_template.as_deref(),
            Some("rate limit of <id> reached for <text> retry in <id>")
        );
        let draft = begun("/v1/chat/completions", 0);
        let error = Some(UpstreamError::new(llm::ErrorClass::Overloaded, "Overloaded"));
        let record = draft.finish_stream(1, Summary { error, ..Summary::default() });
        assert_eq!(record.error_template.as_deref(), Some("overloaded"));
    }

    #[test]
    fn what_is_sold_by_the_piece_has_no_tokens_but_what_was_counted() {
        let speech = record("tts-1", Usage { characters: 1_000, ..Usage::default() });
        assert_eq!((speech.characters, speech.cost_microusd), (Some(1_000), Some(15_000)));
        assert_eq!(
            (speech.input_tokens, speech.output_tokens, speech.cache_read_input_tokens),
            (None, None, None)
        );
        let words = record("whisper-1", Usage { audio_ms: 60_000, ..Usage::default() });
        assert_eq!(
            (words.audio_ms, words.cost_microusd, words.input_tokens),
            (Some(60_000), Some(6_000), None)
        );
        let nothing = record("gpt-4.1", Usage::default());
        assert_eq!((nothing.input_tokens, nothing.cost_microusd), (Some(0), Some(0)));
    }

    #[test]
    fn a_service_tier_is_named_and_priced() {
        let usage = Usage { input_tokens: 1_000, searches: 2, ..Usage::default() };
        for (tier, named, cost) in [
            (ServiceTier::Standard, None, Some(22_000)),
            (ServiceTier::Batch, Some("batch"), Some(21_000)),
            (ServiceTier::Flex, Some("flex"), None),
            (ServiceTier::Priority, Some("priority"), Some(23_500)),
        ] {
            let record = record("gpt-4.1", Usage { tier, ..usage });
            assert_eq!((record.service_tier.as_deref(), record.cost_microusd), (named, cost));
            assert_eq!((record.searches, record.images), (Some(2), None));
        }
    }
}
