//! Claude's events in Amazon's binary stream, which is what `invoke-with-response-stream` answers: a message's
//! payload holds one event, in base64.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{
    UpstreamError,
    dialect::converse::failure,
    eventstream::{Message, Splitter},
    relay::{Ending, Passed, Relay, Summary},
};

/// Unpacks the events, and hands them on as the server-sent ones they are elsewhere.
pub struct Invoke {
    splitter: Splitter,
    inner: Box<dyn Relay>,
    failed: bool,
}

impl Invoke {
    /// Before a relay of server-sent events.
    pub fn new(inner: Box<dyn Relay>) -> Self {
        Self { splitter: Splitter::default(), inner, failed: false }
    }
}

impl Relay for Invoke {
    fn chunk(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Passed {
        if self.failed {
            return Passed::Instead;
        }
        let mut events = Vec::new();
        let mut failure = None;
        self.splitter.feed(bytes, |_, message| {
            if failure.is_none() {
                failure = unpack(&message, &mut events).err();
            }
        });
        if self.inner.chunk(&events, out) == Passed::AsIs {
            out.extend_from_slice(&events);
        }
        let broken = self.splitter.broken().map(|broken| UpstreamError::garbled(&broken.to_string()));
        if let Some(failure) = failure.or(broken) {
            self.failed = true;
            self.inner.end(Ending::Failed(failure), out);
        }
        Passed::Instead
    }

    fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        if !self.failed {
            self.inner.end(ending, out);
        }
    }

    fn summary(&self) -> &Summary {
        self.inner.summary()
    }

    fn is_over(&self) -> bool {
        self.failed || self.inner.is_over()
    }
}

fn unpack(message: &Message<'_>, events: &mut Vec<u8>) -> Result<(), UpstreamError> {
    let header = |name: &str| message.text(name).unwrap_or_default();
    match header(":message-type") {
        "error" => return Err(failure::exception(header(":error-code"), header(":error-message"), None)),
        "exception" => return Err(failure::in_stream(header(":exception-type"), message.payload)),
        _ if header(":event-type") != "chunk" => return Ok(()),
        _ => {}
    }
    let garbled = || UpstreamError::garbled("an event in it cannot be unpacked");
    let packed: Packed<'_> = serde_json::from_slice(message.payload).map_err(|_| garbled())?;
    let mut event = STANDARD.decode(&*packed.bytes).map_err(|_| garbled())?;
    // A line break would end the event's data.
    event.iter_mut().filter(|letter| matches!(letter, b'\n' | b'\r')).for_each(|letter| *letter = b' ');
    let Typed { kind } = serde_json::from_slice(&event).map_err(|_| garbled())?;
    for piece in [b"event: ".as_slice(), kind.as_bytes(), b"\ndata: ", &event, b"\n\n"] {
        events.extend_from_slice(piece);
    }
    Ok(())
}

// --- wire ---

#[derive(Deserialize)]
struct Packed<'a> {
    #[serde(borrow)]
    bytes: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorClass, dialect::messages::Messages, eventstream, front::Front, front::Peek};

    const EVENTS: [(&str, &str); 4] = [
        (
            "message_start",
            r#"{"type":"message_start","message":{"id":"msg_1","model":"claude-x","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}"#,
        ),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hé"},"later":1.50}"#,
        ),
        (
            "message_delta",
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#,
        ),
        (
            "message_stop",
            r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3}}"#,
        ),
    ];

    fn packed(events: &[(&str, &str)]) -> Vec<u8> {
        let mut stream = Vec::new();
        for (_, event) in events {
            let payload = format!(r#"{{"bytes":"{}","p":"abcd"}}"#, STANDARD.encode(event));
            let headers =
                [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
            eventstream::write(&headers, payload.as_bytes(), &mut stream);
        }
        stream
    }

    fn relayed(pieces: &[&[u8]]) -> (String, Summary) {
        let peek = Peek { model: "chat".into(), stream: true, choices: 1, ..Peek::default() };
        let mut relay = Invoke::new(Messages.forwarder(&peek, "call_1"));
        let mut out = Vec::new();
        for piece in pieces {
            assert_eq!(relay.chunk(piece, &mut out), Passed::Instead);
        }
        relay.end(Ending::Closed, &mut out);
        (String::from_utf8(out).expect("UTF-8"), relay.summary().clone())
    }

    #[test]
    fn every_cut_gives_claudes_own_events() {
        let expected: String =
            EVENTS.iter().map(|(kind, event)| format!("event: {kind}\ndata: {event}\n\n")).collect();
        let stream = packed(&EVENTS);
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            let (seen, summary) = relayed(&[first, second]);
            assert_eq!(seen, expected, "cut at {cut}");
            assert_eq!(summary.usage.map(|usage| (usage.input_tokens, usage.output_tokens)), Some((3, 9)));
            assert_eq!((summary.finish_reason.as_deref(), summary.error), (Some("stop"), None));
        }
    }

    #[test]
    fn what_ends_early_or_badly_is_an_error() {
        let mut throttled = packed(&EVENTS[..2]);
        let headers = [(":message-type", "exception"), (":exception-type", "throttlingException")];
        eventstream::write(&headers, br#"{"message":"Slow."}"#, &mut throttled);
        let mut changed = packed(&EVENTS);
        let last = changed.len() - 1;
        changed[last] ^= 1;
        let cases = [
            (packed(&EVENTS[..2]), ErrorClass::Truncated),
            (throttled, ErrorClass::Rate),
            (changed, ErrorClass::Garbled),
        ];
        for (stream, class) in cases {
            let (seen, summary) = relayed(&[&stream]);
            assert!(seen.contains("event: error"), "{seen}");
            assert_eq!(summary.error.map(|error| error.class), Some(class));
        }
    }
}
