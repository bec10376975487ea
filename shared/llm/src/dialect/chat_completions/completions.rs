//! OpenAI's older completions (`/v1/completions`), for callers only: a prompt in, its continuation out.
//!
//! A provider that has them gets the caller's own bytes, and its streams are those of Chat Completions but for the
//! place of the text. Any other gets the prompt as one message of a chat; what a chat cannot do (several prompts,
//! tokens, an echo, a suffix, a choice of the best) is refused.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{error, forward, request, usage};
use crate::{
    Error, Target, UpstreamError, Usage,
    chat::{Event, FinishReason, Request},
    dialect::{Encoded, post},
    fields,
    front::{ErrorBody, Front, Head, Peek, Writer},
    provider::Api,
    relay::{Relay, Summary},
};

/// OpenAI's completions API.
#[derive(Debug)]
pub struct Completions;

impl Front for Completions {
    fn api(&self) -> Api {
        Api::Completions
    }

    fn operation(&self) -> &'static str {
        "text_completion"
    }

    fn peek<'a>(&self, _path: &'a str, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        let (peek, prompt) = forward::peek_for(body, "prompt")?;
        let Some(prompt) = prompt.map(serde_json::value::RawValue::get).filter(|prompt| *prompt != "null")
        else {
            return Err(Error::invalid("prompt", "`prompt` is required."));
        };
        // A list of texts, or of lists of tokens, is as many prompts; a list of tokens is one.
        let many = prompt.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['"', '[']));
        let prompts = match many {
            true => {
                serde_json::from_str::<Vec<serde::de::IgnoredAny>>(prompt).map_or(1, |prompts| prompts.len())
            }
            false => 1,
        };
        Ok(Peek { choices: peek.choices.saturating_mul(prompts as u64), ..peek })
    }

    fn parse(&self, _peek: &Peek<'_>, body: &[u8]) -> Result<Request, Error> {
        let mut body = fields::body(body)?;
        let cannot = |field: &str, why: &str| Err(Error::unsupported(field, why));
        let prompt = match body.take("prompt") {
            Some(Value::String(prompt)) => prompt,
            Some(Value::Array(mut prompts)) if prompts.len() == 1 && prompts[0].is_string() => {
                prompts.remove(0).as_str().map(str::to_owned).unwrap_or_default()
            }
            _ => return cannot("prompt", "This model chats: `prompt` must be one text."),
        };
        if body.boolean("echo")? == Some(true) {
            return cannot("echo", "This model chats, and cannot repeat the prompt. Leave out `echo`.");
        }
        if body.text("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
            return cannot("suffix", "This model chats, and cannot fill in. Leave out `suffix`.");
        }
        if body.count("best_of")?.is_some_and(|count| count > 1) {
            return cannot("best_of", "This model gives one answer. Leave out `best_of`.");
        }
        let message = json!([{ "role": "user", "content": prompt }]);
        body.map.insert("messages".to_owned(), message);
        request::parse(Value::Object(body.map).to_string().as_bytes())
    }

    fn forward(
        &self,
        body: &[u8],
        peek: &Peek<'_>,
        headers: &HeaderMap,
        target: &Target<'_>,
    ) -> Result<Encoded, Error> {
        forward::refuse_own_fallbacks(body, target)?;
        let body = forward::rewritten(body, peek, target)?;
        let request = post(format!("{}/completions", target.base_url), target, body)?;
        Ok(Encoded::forwarded(request, headers, target))
    }

    fn summary(&self, body: &[u8]) -> Result<Summary, UpstreamError> {
        forward::summary(body)
    }

    fn forwarder(&self, peek: &Peek<'_>, request_id: &str) -> Box<dyn Relay> {
        Box::new(forward::Forward::new(peek, request_id))
    }

    fn whole(&self, head: &Head<'_>, events: &[Event]) -> Result<Vec<u8>, UpstreamError> {
        let (mut text, mut end, mut used) = (String::new(), None, None);
        for event in events {
            match event {
                Event::Error(error) => return Err(error.clone()),
                Event::Finish { reason, .. } => end = Some(*reason),
                Event::Refusal(words) | Event::Text(words) => text.push_str(words),
                Event::Usage(tokens) => used = Some(usage::write(tokens)),
                _ => {}
            }
        }
        let end = end.ok_or_else(UpstreamError::truncated)?;
        let mut answer = answer(head, &json!([choice(&text, Some(end))]));
        answer["usage"] = json!(used);
        Ok(answer.to_string().into_bytes())
    }

    fn writer(&self, head: &Head<'_>, peek: &Peek<'_>) -> Box<dyn Writer> {
        Box::new(Stream {
            answer: answer(head, &json!([])),
            include_usage: peek.include_usage,
            usage: None,
            is_finished: false,
            has_failed: false,
        })
    }

    fn error(&self, _status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        error::body(error)
    }
}

fn answer(head: &Head<'_>, choices: &Value) -> Value {
    json!({
        "id": head.id, "object": "text_completion", "created": head.created, "model": head.model, "choices": choices,
    })
}

fn choice(text: &str, end: Option<FinishReason>) -> Value {
    json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": end.map(FinishReason::as_str) })
}

struct Stream {
    /// What every chunk repeats.
    answer: Value,
    include_usage: bool,
    usage: Option<Usage>,
    is_finished: bool,
    has_failed: bool,
}

impl Stream {
    fn chunk(&mut self, choices: Value, usage: Option<Value>, out: &mut Vec<u8>) {
        self.answer["choices"] = choices;
        if let Some(usage) = usage {
            self.answer["usage"] = usage;
        }
        out.extend_from_slice(format!("data: {}\n\n", self.answer).as_bytes());
    }
}

impl Writer for Stream {
    fn events(&mut self, events: &[Event], out: &mut Vec<u8>) {
        for event in events {
            match event {
                Event::Finish { reason, .. } => {
                    self.is_finished = true;
                    self.chunk(json!([choice("", Some(*reason))]), None, out);
                }
                Event::Refusal(text) | Event::Text(text) => {
                    self.chunk(json!([choice(text, None)]), None, out)
                }
                Event::Usage(usage) => self.usage = Some(*usage),
                _ => {}
            }
        }
    }

    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        self.has_failed = true;
        error::event(error, out);
    }

    fn done(&mut self, out: &mut Vec<u8>) {
        if self.has_failed {
            return;
        }
        if let Some(used) = self.usage.filter(|_| self.include_usage) {
            self.chunk(json!([]), Some(json!(usage::write(&used))), out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn is_finished(&self) -> bool {
        self.is_finished
    }
}
