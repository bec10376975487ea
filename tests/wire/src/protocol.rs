//! The protocols, and how their streams are read and passed on in a test.

use http::HeaderMap;
use llm::{
    Error, Target, UpstreamError,
    chat::{Event, Request},
    dialect::{
        Decoder, Dialect, Encoded,
        chat_completions::ChatCompletions,
        cohere::Cohere,
        converse::Converse,
        generate_content::GenerateContent,
        messages::{Invoke, Messages},
        ollama::Ollama,
        responses::Responses,
    },
    front::{Front, Head, Peek},
    provider,
    relay::{Ending, Passed, Relay},
};

/// A protocol from both sides.
pub struct Protocol {
    /// Its module, and its folder among the fixtures.
    pub name: &'static str,
    /// The callers' side.
    pub front: &'static dyn Front,
    /// The providers' side.
    pub dialect: &'static dyn Dialect,
    /// Where a caller sends a request for the model `chat`.
    pub path: &'static str,
    /// A provider that speaks it, and a model of it.
    pub provider: (&'static str, &'static str),
}

/// All of them, by name.
pub const PROTOCOLS: [Protocol; 6] = [
    Protocol {
        name: "chat_completions",
        front: &ChatCompletions,
        dialect: &ChatCompletions,
        path: "/v1/chat/completions",
        provider: ("openai", "gpt-4.1-mini"),
    },
    Protocol {
        name: "cohere",
        front: &Cohere,
        dialect: &Cohere,
        path: "/v2/chat",
        provider: ("cohere", "command-a-vision-07-2025"),
    },
    Protocol {
        name: "converse",
        front: &Converse,
        dialect: &Converse,
        path: "/model/chat/converse",
        provider: ("bedrock", "anthropic.claude-sonnet-4-6"),
    },
    Protocol {
        name: "generate_content",
        front: &GenerateContent,
        dialect: &GenerateContent,
        path: "/v1beta/models/chat:generateContent",
        provider: ("gemini", "gemini-2.5-flash"),
    },
    Protocol {
        name: "messages",
        front: &Messages,
        dialect: &Messages,
        path: "/v1/messages",
        provider: ("anthropic", "claude-sonnet-4-6"),
    },
    Protocol {
        name: "responses",
        front: &Responses,
        dialect: &Responses,
        path: "/v1/responses",
        provider: ("openai", "gpt-4.1-mini"),
    },
];

/// What providers speak, by the names of the folders of their recorded answers.
#[derive(Clone, Copy)]
pub struct Spoken {
    /// Its folder among the fixtures.
    pub name: &'static str,
    /// How it is read.
    pub dialect: &'static dyn Dialect,
}

/// What providers speak and no caller does: Messages in Amazon's frames, and Ollama's own.
pub const PROVIDERS_ONLY: [Spoken; 2] =
    [Spoken { name: "invoke", dialect: &Invoked }, Spoken { name: "ollama", dialect: &Ollama }];

impl Spoken {
    /// The one with this name.
    pub fn named(name: &str) -> Self {
        let spoken = PROTOCOLS.map(|protocol| protocol.spoken());
        *spoken.iter().chain(&PROVIDERS_ONLY).find(|spoken| spoken.name == name).unwrap()
    }
}

/// Claude on Bedrock, as callers of Messages reach it: its events, unpacked and read. What is advised in a failure is
/// advised again by who reads it on.
struct Invoked;

impl Dialect for Invoked {
    fn encode(&self, request: &Request, target: &Target<'_>) -> Result<Encoded, Error> {
        Messages.encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<Vec<Event>, UpstreamError> {
        Messages.decode(body)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        let unpacking = Invoke::new(Messages.forwarder(&peek(), "call_1"));
        Box::new(Unpacked { unpacking, inner: Messages.decoder() })
    }

    fn error(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> UpstreamError {
        Dialect::error(&Messages, status, headers, body)
    }
}

struct Unpacked {
    unpacking: Invoke,
    inner: Box<dyn Decoder>,
}

impl Decoder for Unpacked {
    fn feed(&mut self, chunk: &[u8], events: &mut Vec<Event>) {
        let mut out = Vec::new();
        self.unpacking.chunk(chunk, &mut out);
        self.inner.feed(&out, events);
    }

    fn finish(&mut self, events: &mut Vec<Event>) {
        let mut out = Vec::new();
        self.unpacking.end(Ending::Closed, &mut out);
        self.inner.feed(&out, events);
        self.inner.finish(events);
    }
}

impl Protocol {
    /// What its providers speak.
    pub const fn spoken(&self) -> Spoken {
        Spoken { name: self.name, dialect: self.dialect }
    }

    /// The one with this name.
    pub fn named(name: &str) -> &'static Self {
        const ALL: &[Protocol] = &PROTOCOLS;
        ALL.iter().find(|protocol| protocol.name == name).unwrap()
    }

    /// Where its provider is reached.
    pub fn target(&self) -> Target<'static> {
        let (provider, model) = self.provider;
        let provider = provider::find(provider).unwrap();
        Target { provider, model, base_url: provider.base_url, credential: Some("test-key") }
    }
}

/// What every answer begins with.
pub const HEAD: Head<'static> = Head { id: "call_1", created: 1_750_000_000, model: "chat" };

/// Of a request for a stream that comes as server-sent events.
pub fn peek() -> Peek<'static> {
    Peek { model: "chat".into(), stream: true, include_usage: true, choices: 1, ..Peek::default() }
}

/// What a dialect makes of a stream that comes in these chunks and is closed.
pub fn decode<'a>(dialect: &dyn Dialect, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder = dialect.decoder();
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk, &mut events);
    }
    decoder.finish(&mut events);
    events
}

/// What a relay sends on of a stream that comes in these chunks and is closed.
pub fn pumped<'a>(relay: &mut dyn Relay, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut sent = Vec::new();
    let mut out = Vec::new();
    for chunk in chunks {
        match relay.chunk(chunk, &mut out) {
            Passed::AsIs => sent.extend_from_slice(chunk),
            Passed::Instead => sent.append(&mut out),
        }
        out.clear();
    }
    relay.end(Ending::Closed, &mut sent);
    sent
}
