//! Chat Completions in and out: the caller's bytes go on, and the provider's come back.
//!
//! Nothing is re-serialised, so fields unknown here survive. Of the request only what the gateway must
//! know is read ([`peek`]) and only the model's name, and the wish for usage, are spliced in
//! ([`Peek::rewrite`]). Of the answer, usage and the finish reason are read in passing.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{decode, error, usage};
use crate::{
    Error, Target, UpstreamError,
    chat::FinishReason,
    dialect::post,
    front::{ErrorBody, Framing, Peek, Splice},
    peek,
    provider::StreamUsage,
    relay::{Ending, Passed, Relay, Summary},
    sse,
};

/// Reads what the gateway needs from a Chat Completions body.
pub fn peek(body: &[u8]) -> Result<Peek<'_>, Error> {
    let (peek, messages) = peek_for(body, "messages")?;
    if !messages.is_some_and(|messages| messages.get().starts_with('[')) {
        return Err(Error::invalid("messages", "`messages` is required and must be a list."));
    }
    Ok(peek)
}

/// Reads the same of a body whose contents are in another field, and gives that field.
pub(super) fn peek_for<'a>(
    body: &'a [u8],
    contents: &'static str,
) -> Result<(Peek<'a>, Option<&'a RawValue>), Error> {
    let names = [contents, "model", "stream", "stream_options", "n", "user"];
    let [contents, model, stream, stream_options, choices, user] = peek::fields(body, names, 4)?;
    let (model, model_at) = peek::model(model, body)?;
    let stream = peek::stream(stream)?;
    let user = match user {
        Some(user) if user.get() != "null" => Some(peek::text(user, "user")?),
        _ => None,
    };
    let (include_usage, usage_wish) = match stream_options {
        None => {
            let open = body.iter().position(|byte| *byte == b'{').unwrap_or_default();
            (false, Splice { at: open + 1..open + 1, text: r#""stream_options":{"include_usage":true},"# })
        }
        Some(options) => usage_wish(options, body)?,
    };
    // Whether it is a number at all is the provider's to say.
    let choices = choices.and_then(|count| count.get().parse().ok()).unwrap_or(1).max(1);
    let (framing, model_at, usage_wish) = (Framing::Events, Some(model_at), Some(usage_wish));
    let peek = Peek { model, stream, include_usage, user, choices, framing, model_at, usage_wish };
    Ok((peek, contents))
}

fn usage_wish(options: &RawValue, body: &[u8]) -> Result<(bool, Splice), Error> {
    let at = peek::place(options, body);
    if options.get() == "null" {
        return Ok((false, Splice { at, text: r#"{"include_usage":true}"# }));
    }
    // A derived struct would take a list for an object.
    let object = options.get().starts_with('{').then(|| serde_json::from_str(options.get()).ok()).flatten();
    let Some(parsed): Option<RawStreamOptions<'_>> = object else {
        return Err(Error::invalid("stream_options", "`stream_options` must be an object."));
    };
    match parsed.include_usage {
        Some(wish) => match wish.get() {
            "true" => Ok((true, Splice { at: at.start..at.start, text: "" })),
            "false" | "null" => Ok((false, Splice { at: peek::place(wish, body), text: "true" })),
            _ => {
                Err(Error::invalid("stream_options.include_usage", "`include_usage` must be true or false."))
            }
        },
        None => {
            let empty = options.get()[1..].trim_start().starts_with('}');
            let text = if empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
            Ok((false, Splice { at: at.start + 1..at.start + 1, text }))
        }
    }
}

/// The request for `target`: the caller's body, with the model's name in the target's words.
pub fn request(body: &[u8], peek: &Peek<'_>, target: &Target<'_>) -> Result<http::Request<Bytes>, Error> {
    refuse_own_fallbacks(body, target)?;
    let url = format!("{}/chat/completions", target.base_url);
    post(url, target, rewritten(body, peek, target)?)
}

/// The caller's body, with the target's model and the target's way to be asked for usage.
pub(super) fn rewritten(body: &[u8], peek: &Peek<'_>, target: &Target<'_>) -> Result<Vec<u8>, Error> {
    let usage = target.provider.stream_usage;
    let mut body = peek.rewrite(body, target.model, usage == StreamUsage::Asked);
    if usage == StreamUsage::Refused {
        let [options] = peek::fields(&body, ["stream_options"], 1)?;
        if let Some(options) = options {
            let member = peek::with_comma(peek::member(options, &body), &body);
            body.drain(member);
        }
    }
    Ok(body)
}

/// OpenRouter goes on to the models of a list, which nobody here has looked at: the key may not use them.
pub(super) fn refuse_own_fallbacks(body: &[u8], target: &Target<'_>) -> Result<(), Error> {
    if target.provider.name != "openrouter" {
        return Ok(());
    }
    match peek::fields(body, ["models"], 1)? {
        [Some(models)] if models.get() != "null" => {
            let message =
                "`models` would choose models that were not checked. Use an alias with several targets.";
            Err(Error::unsupported("models", message.to_owned()))
        }
        _ => Ok(()),
    }
}

/// What a whole 2xx answer says about itself, or why it is none.
pub fn summary(body: &[u8]) -> Result<Summary, UpstreamError> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| {
        UpstreamError::garbled(if body.trim_ascii().is_empty() { "it was empty" } else { "it is not JSON" })
    })?;
    if let Some(raw) = answer.error.filter(|raw| raw.get() != "null") {
        return Err(inner_error(raw));
    }
    if !answer.has_choices() {
        return Err(UpstreamError::garbled("it has no `choices`"));
    }
    let mut summary = Summary::default();
    answer.tell(&mut summary);
    Ok(summary)
}

/// An error object that came with a 2xx.
pub(crate) fn inner_error(raw: &RawValue) -> UpstreamError {
    let body = format!(r#"{{"error":{}}}"#, raw.get());
    // 502 stands for "the provider failed" where the body says nothing better.
    let mut error = error::upstream(502, &http::HeaderMap::new(), body.as_bytes());
    error.status = None;
    error
}

/// Passes a stream on, event by event, and reads what the record needs on the way.
#[derive(Debug)]
pub struct Forward {
    splitter: sse::Splitter,
    watch: Watch,
    request_id: String,
    /// Whether the caller was told of a failure in the provider's place.
    is_over: bool,
}

/// What was seen of a stream.
#[derive(Debug)]
struct Watch {
    /// The caller did not ask for usage, so the chunk that only carries it is kept back.
    strip_usage: bool,
    /// How many answers have yet to say why they finished.
    unfinished: u64,
    summary: Summary,
    begun: bool,
    done: bool,
}

impl Forward {
    /// A fresh relay for the answer to this request.
    pub fn new(peek: &Peek<'_>, request_id: &str) -> Self {
        let watch = Watch {
            strip_usage: !peek.include_usage,
            unfinished: peek.choices,
            summary: Summary::default(),
            begun: false,
            done: false,
        };
        Self { splitter: sse::Splitter::default(), watch, request_id: request_id.to_owned(), is_over: false }
    }

    fn fail(&mut self, failure: UpstreamError, out: &mut Vec<u8>) {
        error::event(&ErrorBody::upstream(&failure, Some(&self.request_id)), out);
        self.watch.summary.error = Some(failure);
        self.is_over = true;
    }
}

impl Relay for Forward {
    fn chunk(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Passed {
        if self.is_over {
            return Passed::Instead;
        }
        if self.splitter.held().len() + bytes.len() > MAX_EVENT_BYTES {
            self.fail(UpstreamError::garbled("one event is larger than 16 MiB"), out);
            return Passed::Instead;
        }
        // Bytes are copied only once something must differ from what came in.
        let mut copying = !self.splitter.held().is_empty();
        let mut passed = 0;
        let watch = &mut self.watch;
        self.splitter.feed(bytes, |raw| {
            let keep = watch.event(raw);
            if !keep && !copying {
                out.extend_from_slice(&bytes[..passed]);
                copying = true;
            }
            if keep {
                passed += raw.len();
                if copying {
                    out.extend_from_slice(raw);
                }
            }
        });
        if copying {
            return Passed::Instead;
        }
        if passed == bytes.len() {
            return Passed::AsIs;
        }
        out.extend_from_slice(&bytes[..passed]);
        Passed::Instead
    }

    fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        if self.watch.summary.error.is_some() {
            return;
        }
        match ending {
            // A slow goodbye after the end of the answer harms nobody.
            Ending::Failed(_) if self.watch.is_whole() => {}
            Ending::Failed(failure) => self.fail(failure, out),
            Ending::Closed => {
                // The last event may lack its blank line.
                let held = self.splitter.held();
                if !held.is_empty()
                    && sse::parse(held).is_some()
                    && self.watch.is_readable(held)
                    && self.watch.event(held)
                {
                    out.extend_from_slice(held);
                    out.extend_from_slice(b"\n\n");
                }
                if !self.watch.is_whole() && self.watch.summary.error.is_none() {
                    self.fail(UpstreamError::truncated(), out);
                }
            }
        }
    }

    fn summary(&self) -> &Summary {
        &self.watch.summary
    }

    fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Watch {
    /// Reads an event; says whether the caller is to have it.
    fn event(&mut self, raw: &[u8]) -> bool {
        // Most events carry a few letters of text and nothing we need. A quote inside JSON text is
        // escaped, so these needles match field names only.
        let telling = !self.begun
            || has_value(raw, b"\"usage\"", b'{')
            || has_value(raw, b"\"finish_reason\"", b'"')
            || memmem::find(raw, b"\"error\"").is_some()
            || memmem::find(raw, b"[DONE]").is_some();
        if !telling {
            return true;
        }
        let Some(event) = sse::parse(raw) else { return true };
        if event.data.trim_ascii() == b"[DONE]" {
            self.done = true;
            return true;
        }
        self.begun = true;
        let Ok(answer) = serde_json::from_slice::<Answer<'_>>(&event.data) else {
            // Some do not put a blank line between events.
            if event.data.contains(&b'\n') {
                for line in
                    event.data.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
                {
                    self.event(&[b"data: ", line, b"\n\n"].concat());
                }
                return true;
            }
            if self.summary.error.is_none() && !self.is_whole() {
                self.summary.error = Some(UpstreamError::garbled("a chunk of the stream is not JSON"));
            }
            return true;
        };
        if let Some(raw) = answer.error.filter(|raw| raw.get() != "null") {
            self.summary.error = Some(inner_error(raw));
            return true;
        }
        let usage_only = answer.is_usage_only();
        self.unfinished = self.unfinished.saturating_sub(answer.tell(&mut self.summary));
        !(usage_only && self.strip_usage)
    }

    /// Whether nothing of the answer can be missing.
    fn is_whole(&self) -> bool {
        self.done || self.unfinished == 0
    }

    /// Whether a last event that was never closed is whole all the same.
    fn is_readable(&self, raw: &[u8]) -> bool {
        sse::parse(raw).is_some_and(|event| {
            event.data.trim_ascii() == b"[DONE]" || serde_json::from_slice::<Answer<'_>>(&event.data).is_ok()
        })
    }
}

/// Whether the field is there with a value that begins with `first`.
fn has_value(raw: &[u8], name: &[u8], first: u8) -> bool {
    memmem::find_iter(raw, name).any(|at| {
        let rest = raw[at + name.len()..].trim_ascii_start();
        rest.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().first() == Some(&first))
    })
}

// --- wire ---

#[derive(Deserialize)]
struct RawStreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    include_usage: Option<&'a RawValue>,
}

/// Keeps a `null` apart from an absent field: both have to be edited differently.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// A whole answer or a chunk of a stream. What is only counted is read as it can be: an odd number must
/// not make a good answer a bad one.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    /// Groq's own place for the usage of a stream.
    #[serde(borrow)]
    x_groq: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
    /// OpenRouter's, where the model's own provider has another word.
    #[serde(borrow)]
    native_finish_reason: Option<&'a RawValue>,
    /// Moonshot's place for the usage of a stream, beside the usual one if it is asked for.
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

impl Answer<'_> {
    fn has_choices(&self) -> bool {
        self.choices.is_some_and(|choices| choices.get().starts_with('['))
    }

    /// A chunk that carries usage and nothing else.
    fn is_usage_only(&self) -> bool {
        let is_empty = |list: &RawValue| list.get()[1..].trim_ascii_start().starts_with(']');
        self.usage.is_some() && self.has_choices() && self.choices.is_some_and(is_empty)
    }

    /// Returns how many answers say why they finished.
    fn tell(self, summary: &mut Summary) -> u64 {
        let model =
            self.model.and_then(|raw| peek::text(raw, "model").ok()).filter(|model| !model.is_empty());
        if let (None, Some(model)) = (&summary.response_model, model) {
            summary.response_model = Some(model.into_owned());
        }
        let choices =
            self.choices.and_then(|raw| serde_json::from_str::<Vec<Option<Choice<'_>>>>(raw.get()).ok());
        let choices: Vec<Choice<'_>> = choices.into_iter().flatten().flatten().collect();
        let inner = || choices.iter().find_map(|choice| usage::read(choice.usage, None, self.service_tier));
        if let Some(usage) = usage::read(self.usage, self.x_groq, self.service_tier).or_else(inner) {
            summary.usage = Some(usage);
        }
        // xAI sends an empty one beside tool calls.
        let mut reasons = choices.into_iter().filter_map(|choice| {
            let reason = choice.finish_reason.filter(|reason| !reason.is_empty())?;
            Some((reason, choice.native_finish_reason))
        });
        let Some((first, native)) = reasons.next() else { return 0 };
        let native = native.and_then(|native| peek::text(native, "").ok()).unwrap_or(first.clone());
        summary.native_finish_reason = Some(native.into_owned());
        // What ends an answer badly has no word of OpenAI's.
        let known = decode::finish_reason(&first).map(FinishReason::as_str);
        summary.finish_reason = Some(known.map_or_else(|_| first.into_owned(), str::to_owned));
        1 + reasons.count() as u64
    }
}

/// No provider sends one nearly as large; without a bound a broken one could fill the memory.
const MAX_EVENT_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peeks_at_what_the_gateway_needs() {
        let body = br#" {"messages":[{"role":"user","content":"{\"model\":\"x\"}"}],"model":"openai\/gpt-5","stream":true,"user":"u1"}"#;
        let peek = peek(body).expect("valid");
        assert_eq!((&*peek.model, peek.stream, peek.include_usage), ("openai/gpt-5", true, false));
        assert_eq!(peek.user.as_deref(), Some("u1"));
    }

    /// Mistral answers 422 to it, and sends usage all the same.
    #[test]
    fn a_wish_for_usage_does_not_go_where_it_is_refused() {
        let rest = r#""messages":[{"role":"user","content":"\"stream_options\":{}"}]"#;
        let cases = [
            (
                r#"{"model":"a","stream":true,"stream_options":{"include_usage":true}}"#,
                r#"{"model":"b","stream":true}"#,
            ),
            (r#"{"stream_options" : {"include_usage":true} , "model":"a"}"#, r#"{ "model":"b"}"#),
            (r#"{"model":"a" ,"stream_options":null }"#, r#"{"model":"b"  }"#),
            (r#"{"model":"a", "stream\u005foptions":{}, "stream":true}"#, r#"{"model":"b",  "stream":true}"#),
            (r#"{"model":"a","stream":true}"#, r#"{"model":"b","stream":true}"#),
        ];
        for (body, expected) in cases {
            let whole = |text: &str| text.replacen('{', &format!("{{{rest},"), 1);
            let body = whole(body);
            let peek = peek(body.as_bytes()).expect("valid");
            let provider = crate::provider::find("mistral").expect("a row");
            let target = Target { provider, model: "b", base_url: "https://x.test", credential: None };
            let sent = request(body.as_bytes(), &peek, &target).expect("sayable");
            assert_eq!(String::from_utf8_lossy(sent.body()), whole(expected), "{body}");
        }
    }

    #[test]
    fn openrouter_goes_on_to_no_model_that_was_not_checked() {
        let body = br#"{"model":"openrouter/a","models":["b"],"messages":[]}"#;
        let peek = peek(body).expect("valid");
        let to = |provider| {
            let provider = crate::provider::find(provider).expect("a row");
            let target =
                Target { provider, model: "a", base_url: "https://upstream.example", credential: None };
            request(body, &peek, &target)
        };
        assert!(matches!(to("openrouter"), Err(Error::Unsupported { param, .. }) if param == "models"));
        assert!(to("openai").is_ok());
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let cases = [
            ("", None),
            ("[]", None),
            (r#"{"model":"a/b""#, None),
            (r#"{"model":"a/b","messages":[]} x"#, None),
            (r#"{"messages":[]}"#, Some("model")),
            (r#"{"model":null,"messages":[]}"#, Some("model")),
            (r#"{"model":7,"messages":[]}"#, Some("model")),
            (r#"{"model":"a/b"}"#, Some("messages")),
            (r#"{"model":"a/b","messages":"hello"}"#, Some("messages")),
            (r#"{"model":"a/b","messages":[],"stream":"yes"}"#, Some("stream")),
            (r#"{"model":"a/b","messages":[],"user":5}"#, Some("user")),
            (r#"{"model":"a/b","messages":[],"stream_options":[]}"#, Some("stream_options")),
            (
                r#"{"model":"a/b","messages":[],"stream_options":{"include_usage":1}}"#,
                Some("stream_options.include_usage"),
            ),
            (r#"{"model":"a/b","messages":[],"model":"c/d"}"#, Some("model")),
            (r#"{"model":"a/b","messages":[],"mod\u0065l":"c/d"}"#, Some("model")),
            (r#"{"model":"a/b","messages":[],"MODEL":"c/d"}"#, Some("model")),
            (r#"{"model":"a/b","messages":[],"Stream":true}"#, Some("stream")),
        ];
        for (body, expected) in cases {
            let Err(Error::Invalid { param, message }) = peek(body.as_bytes()) else {
                panic!("{body} was accepted")
            };
            assert_eq!(param.as_deref(), expected, "{body}: {message}");
        }
    }

    #[test]
    fn changes_the_model_and_asks_for_usage_and_nothing_else() {
        let cases = [
            (
                r#"{"model": "fast", "messages": [], "x": {"y": [1.50]}}"#,
                r#"{"model": "gpt-5", "messages": [], "x": {"y": [1.50]}}"#,
            ),
            (
                r#"{"stream":true,"model":"fast","messages":[]}"#,
                r#"{"stream_options":{"include_usage":true},"stream":true,"model":"gpt-5","messages":[]}"#,
            ),
            (
                r#"{"stream":true,"stream_options":null,"model":"fast","messages":[]}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true},"model":"gpt-5","messages":[]}"#,
            ),
            (
                r#"{"stream":true,"stream_options":{ },"model":"fast","messages":[]}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true },"model":"gpt-5","messages":[]}"#,
            ),
            (
                r#"{"stream":true,"model":"fast","messages":[],"stream_options":{"include_obfuscation":false}}"#,
                r#"{"stream":true,"model":"gpt-5","messages":[],"stream_options":{"include_usage":true,"include_obfuscation":false}}"#,
            ),
            (
                r#"{"stream":true,"model":"fast","messages":[],"stream_options":{"include_usage":false}}"#,
                r#"{"stream":true,"model":"gpt-5","messages":[],"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream":true,"model":"fast","messages":[],"stream_options":{"include_usage":true}}"#,
                r#"{"stream":true,"model":"gpt-5","messages":[],"stream_options":{"include_usage":true}}"#,
            ),
        ];
        for (body, expected) in cases {
            let rewritten = peek(body.as_bytes()).expect("valid").rewrite(body.as_bytes(), "gpt-5", true);
            assert_eq!(String::from_utf8_lossy(&rewritten), expected);
        }
    }
}
