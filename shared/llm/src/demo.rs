//! Models built in, so that a first answer needs no provider account.
//!
//! `echo` says the last user message again, a word at a time where streamed, up to the bound of tokens or a stop text. What
//! else it is asked for is named as dropped, or refused where the answer would be another. `fail` fails the way a
//! provider does, to see fallbacks, records and alerts at work. Tokens are counted as words and marked as
//! estimated; there is no price for them.

use crate::{
    Error, Usage,
    chat::{Event, FinishReason, Part, Request, ResponseFormat, Role},
    dialect::{Serves, chat_completions::answer, drop_call_signatures, drop_extra, drop_hints, drop_service},
    front::{Head, Writer as _},
};

/// The built-in models' names.
pub const MODELS: [&str; 2] = ["echo", "fail"];

/// What is known of them, as [`crate::capability`] writes it.
pub(crate) const FACTS: &str = "cTJVFAMSPR";

/// What a demo model does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// Fields of the request that it has no use for.
    pub dropped: Vec<String>,
}

/// What a demo model answers, as OpenAI's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A whole answer.
    Whole {
        /// HTTP status.
        status: u16,
        /// JSON.
        body: Vec<u8>,
    },
    /// The chunks of a stream.
    Stream(Vec<Vec<u8>>),
}

/// Answers a request to the demo model named `model`.
pub fn answer(model: &str, request: &Request, head: &Head<'_>) -> Result<Reply, Error> {
    match model {
        "echo" => Ok(Reply { dropped: dropped(request)?, answer: echo(request, head) }),
        _ => Ok(Reply { dropped: Vec::new(), answer: Answer::Whole { status: 500, body: FAILURE.to_vec() } }),
    }
}

/// What a request asks for that changes nothing about an echo.
fn dropped(request: &Request) -> Result<Vec<String>, Error> {
    let mut dropped = Vec::new();
    drop_extra(&request.extra, &mut dropped)?;
    let refuse = |param: &str, what: &str| {
        Err(Error::unsupported(
            param,
            format!("`demo/echo` {what} (`{param}`). Leave it out, or choose another model."),
        ))
    };
    if request.response_format == ResponseFormat::JsonObject {
        return refuse("response_format", "says what it was told, JSON or not");
    }
    if request.logprobs.is_some() {
        return refuse("logprobs", "has no probabilities");
    }
    let asked = [
        ("frequency_penalty", request.frequency_penalty.is_some()),
        ("presence_penalty", request.presence_penalty.is_some()),
        ("reasoning_effort", request.effort().is_some() || request.thoughts.is_some()),
        ("seed", request.seed.is_some()),
        ("temperature", request.temperature.is_some()),
        ("top_k", request.top_k.is_some()),
        ("top_p", request.top_p.is_some()),
        ("user", request.end_user().is_some()),
    ];
    dropped.extend(asked.iter().filter(|(_, is_asked)| *is_asked).map(|(name, _)| (*name).to_owned()));
    drop_hints(request, false, false, &mut dropped);
    drop_call_signatures(request, &mut dropped);
    drop_service(request, Serves::default(), &mut dropped);
    Ok(dropped)
}

fn echo(request: &Request, head: &Head<'_>) -> Answer {
    let mut text = last_words(request);
    let found = request.stop.iter().filter(|stop| !stop.is_empty());
    let stopped = found.filter_map(|stop| Some((text.find(stop.as_str())?, stop.clone()))).min();
    if let Some((at, _)) = &stopped {
        text.truncate(*at);
    }
    let mut words: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
    let most = request.max_output_tokens.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let is_cut = words.len() > most;
    words.truncate(most);
    let asked = request.messages.iter().flat_map(|message| &message.parts).map(|part| match part {
        Part::Text(text) => text.split_whitespace().count(),
        _ => 0,
    });
    let usage = Usage {
        input_tokens: asked.sum::<usize>() as u64,
        output_tokens: words.len() as u64,
        estimated: true,
        ..Usage::default()
    };
    let mut events = vec![Event::Start { id: None, model: None }];
    events.extend(words.iter().map(|word| Event::Text((*word).to_owned())));
    events.push(Event::Usage(usage));
    let reason = if is_cut { FinishReason::Length } else { FinishReason::Stop };
    events.extend(stopped.filter(|_| !is_cut).map(|(_, stop)| Event::StopText(stop)));
    events.push(Event::Finish { reason, native: reason.as_str().to_owned() });
    if !request.stream {
        let body = answer::whole(head, &events).expect("no event of an echo is an error");
        return Answer::Whole { status: 200, body };
    }
    // Usage always comes with the stream; the relay keeps it from callers who did not ask.
    let mut stream = answer::Stream::new(head, true);
    let mut chunks: Vec<Vec<u8>> = events
        .iter()
        .map(|event| {
            let mut chunk = Vec::new();
            stream.events(std::slice::from_ref(event), &mut chunk);
            chunk
        })
        .filter(|chunk| !chunk.is_empty())
        .collect();
    let mut last = Vec::new();
    stream.done(&mut last);
    chunks.push(last);
    Answer::Stream(chunks)
}

fn last_words(request: &Request) -> String {
    let last = request.messages.iter().rev().find(|message| message.role == Role::User);
    let texts = last.into_iter().flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let said = texts.collect::<Vec<_>>().join("\n");
    if said.is_empty() { "(you said nothing)".to_owned() } else { said }
}

const FAILURE: &[u8] = br#"{"error":{"message":"This is the demo model that always fails.","type":"server_error","param":null,"code":"demo_failure"}}"#;
