//! Streams of OpenAI's typed events beside chat: pictures, sound. Passed on event by event; the last one tells what
//! was used.

use http::HeaderValue;

use super::{Streamed, json as wire};
use crate::{
    UpstreamError, Usage,
    dialect::chat_completions::{self, forward::inner_error},
    front::ErrorBody,
    peek,
    relay::{Ending, Passed, Relay, Summary},
    sse,
};

/// Passes on a stream that is whole after an event of a type in `last`. `used` completes what that event counts; it is
/// told how many of them came.
pub(super) fn relay(
    last: &'static [&'static str],
    used: fn(Usage, u64) -> Usage,
    request_id: &str,
) -> Streamed {
    let watch = Watch { last, used, summary: Summary::default(), finished: 0, is_whole: false };
    Streamed {
        content_type: HeaderValue::from_static("text/event-stream; charset=utf-8"),
        relay: Box::new(Events {
            splitter: sse::Splitter::default(),
            watch,
            request_id: request_id.to_owned(),
            is_over: false,
        }),
    }
}

struct Events {
    splitter: sse::Splitter,
    watch: Watch,
    request_id: String,
    /// Whether the caller was told of a failure in the provider's place.
    is_over: bool,
}

/// What was seen of a stream.
struct Watch {
    last: &'static [&'static str],
    used: fn(Usage, u64) -> Usage,
    summary: Summary,
    /// How many events of the last type came.
    finished: u64,
    is_whole: bool,
}

impl Relay for Events {
    fn chunk(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Passed {
        if self.is_over {
            return Passed::Instead;
        }
        let was_held = !self.splitter.held().is_empty();
        if self.splitter.held().len() + bytes.len() > MAX_EVENT_BYTES {
            self.fail(UpstreamError::garbled("one event is larger than 32 MiB"), out);
            return Passed::Instead;
        }
        let watch = &mut self.watch;
        self.splitter.feed(bytes, |raw| {
            out.extend_from_slice(raw);
            watch.event(raw);
        });
        if was_held || out.len() != bytes.len() {
            return Passed::Instead;
        }
        out.clear();
        Passed::AsIs
    }

    fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        if self.watch.summary.error.is_some() {
            return;
        }
        match ending {
            Ending::Failed(_) if self.watch.is_whole => {}
            Ending::Failed(error) => self.fail(error, out),
            Ending::Closed => {
                // The last event may lack its blank line.
                if sse::parse(self.splitter.held()).is_some() {
                    self.watch.event(self.splitter.held());
                    out.extend_from_slice(self.splitter.held());
                    out.extend_from_slice(b"\n\n");
                }
                if !self.watch.is_whole && self.watch.summary.error.is_none() {
                    self.fail(UpstreamError::truncated(), out);
                }
            }
        }
    }

    fn summary(&self) -> &Summary {
        &self.watch.summary
    }

    // What follows an error of the provider's own is passed on to its end.
    fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Events {
    fn fail(&mut self, error: UpstreamError, out: &mut Vec<u8>) {
        chat_completions::error::event(&ErrorBody::upstream(&error, Some(&self.request_id)), out);
        self.watch.summary.error = Some(error);
        self.is_over = true;
    }
}

impl Watch {
    fn event(&mut self, raw: &[u8]) {
        let Some(event) = sse::parse(raw) else { return };
        if event.data.trim_ascii() == b"[DONE]" {
            self.is_whole = true;
            return;
        }
        let found = peek::fields(&event.data, ["type", "usage", "error"], 0);
        let Ok([kind, usage, error]) = found else {
            if !self.is_whole {
                self.summary.error = Some(UpstreamError::garbled("an event of the stream is no JSON object"));
            }
            return;
        };
        if let Some(error) = error.filter(|error| !wire::is_null(error)) {
            self.summary.error = Some(inner_error(error));
        }
        if kind.is_some_and(|kind| self.last.contains(&kind.get().trim_matches('"'))) {
            self.is_whole = true;
            self.finished += 1;
            let usage = usage.and_then(wire::tokens);
            self.summary.usage = usage.map(|usage| (self.used)(usage, self.finished));
        }
    }
}

/// A picture is one event.
const MAX_EVENT_BYTES: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorClass;

    const STREAM: &str = "event: p\ndata: {\"type\":\"part\"}\n\n: still there\n\ndata: {\"type\":\"last\",\"usage\":{\"input_tokens\":2,\"output_tokens\":3}}\n\n";

    fn pass(chunks: &[&str], ending: Ending) -> (String, Summary) {
        let mut relay = relay(&["last"], |usage, _| usage, "req_1").relay;
        let mut all = Vec::new();
        for chunk in chunks {
            let mut out = Vec::new();
            match relay.chunk(chunk.as_bytes(), &mut out) {
                Passed::AsIs => all.extend_from_slice(chunk.as_bytes()),
                Passed::Instead => all.extend(out),
            }
        }
        relay.end(ending, &mut all);
        (String::from_utf8(all).expect("UTF-8"), relay.summary().clone())
    }

    #[test]
    fn every_cut_gives_the_same_bytes_and_the_same_usage() {
        let usage = Usage { input_tokens: 2, output_tokens: 3, ..Usage::default() };
        for cut in 0..=STREAM.len() {
            let (head, tail) = STREAM.split_at(cut);
            let (passed, summary) = pass(&[head, tail], Ending::Closed);
            assert_eq!((passed.as_str(), summary.usage, summary.error), (STREAM, Some(usage), None), "{cut}");
        }
        let unclosed = STREAM.trim_end();
        assert_eq!(pass(&[unclosed], Ending::Closed).0, STREAM);
    }

    #[test]
    fn what_follows_an_error_of_the_providers_own_is_passed_on() {
        let failure = "data: {\"error\":{\"message\":\"Ouch.\"}}\n\n";
        let mut relay = relay(&["last"], |usage, _| usage, "req_1").relay;
        for chunk in [failure, STREAM, "data: [DONE]\n\n"] {
            let mut out = Vec::new();
            assert_eq!(relay.chunk(chunk.as_bytes(), &mut out), Passed::AsIs, "{chunk}");
            assert!(!relay.is_over(), "{chunk}");
        }
        let mut out = Vec::new();
        relay.end(Ending::Closed, &mut out);
        assert_eq!(out, b"");
        assert_eq!(relay.summary().error.as_ref().map(|error| error.class), Some(ErrorClass::Server));
    }

    #[test]
    fn only_the_last_event_ends_it_well() {
        let cut = || Ending::Failed(UpstreamError::new(ErrorClass::Timeout, "Silence."));
        let part = "data: {\"type\":\"part\"}\n\n";
        for (chunks, ending, class) in [
            (&[STREAM][..], cut(), None),
            (&[part], Ending::Closed, Some(ErrorClass::Truncated)),
            (&[part], cut(), Some(ErrorClass::Timeout)),
            (&[part, "data: <html>\n\n", part], Ending::Closed, Some(ErrorClass::Garbled)),
            (
                &["data: {\"error\":{\"message\":\"Ouch.\"}}\n\n", STREAM],
                Ending::Closed,
                Some(ErrorClass::Server),
            ),
        ] {
            let (passed, summary) = pass(chunks, ending);
            assert_eq!(summary.error.map(|error| error.class), class, "{chunks:?}");
            assert_eq!(
                passed.contains("\"request_id\":\"req_1\""),
                matches!(class, Some(ErrorClass::Timeout | ErrorClass::Truncated))
            );
        }
    }
}
