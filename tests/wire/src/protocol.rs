//! The protocols, and how their streams are read and passed on in a test.

use llm::{
    Target,
    chat::Event,
    dialect::{
        Dialect, chat_completions::ChatCompletions, cohere::Cohere, converse::Converse,
        generate_content::GenerateContent, messages::Messages, responses::Responses,
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

impl Protocol {
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
