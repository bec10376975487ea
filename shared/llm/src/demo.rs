//! Models built in, so that a first answer needs no provider account.
//!
//! `echo` says the last user message again, a word at a time where streamed. `fail` fails the way a
//! provider does, to see fallbacks, records and alerts at work. Tokens are counted as words and marked
//! as estimated; there is no price for them.

use crate::{
    Error, Usage,
    chat::{Event, FinishReason, Part, Request, Role},
    dialect::chat_completions::answer,
    front::{Head, Writer as _},
};

/// The built-in models' names.
pub const MODELS: [&str; 2] = ["echo", "fail"];

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
pub fn answer(model: &str, request: &Request, head: &Head<'_>) -> Result<Answer, Error> {
    match model {
        "echo" => Ok(echo(request, head)),
        "fail" => Ok(Answer::Whole { status: 500, body: FAILURE.to_vec() }),
        _ => Err(Error::invalid("model", "The demo models are `demo/echo` and `demo/fail`.")),
    }
}

fn echo(request: &Request, head: &Head<'_>) -> Answer {
    let text = last_words(request);
    let words: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
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
    events.push(Event::Finish { reason: FinishReason::Stop, native: "stop".to_owned() });
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
