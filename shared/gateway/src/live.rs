//! A streamed call on its way: the host pumps, this passes on, and at the end there is a record.

use llm::relay::{Ending, Passed, Relay};

use crate::{
    guard::Guard,
    record::{Draft, Record},
};

/// One streamed answer. The host calls [`Live::chunk`] for each chunk, then [`Live::end`] or
/// [`Live::hang_up`] once, and journals the record it gets.
pub struct Live {
    relay: Box<dyn Relay>,
    draft: Draft,
    /// Of a socket, on which callers go on talking.
    guard: Option<Guard>,
}

impl Live {
    pub(crate) fn new(relay: Box<dyn Relay>, draft: Draft, guard: Option<Guard>) -> Self {
        Self { relay, draft, guard }
    }

    /// The caller says something on a socket. `None` means that it goes on as it is; otherwise what to send instead, or,
    /// as an error, what to answer it with in the provider's place.
    pub fn said(&mut self, message: &[u8]) -> Result<Option<String>, String> {
        self.guard.as_mut().map_or(Ok(None), |guard| guard.check(message))
    }

    /// Passes a chunk on. `None` means the very bytes that came in; otherwise what to send instead, which
    /// may be nothing.
    pub fn chunk(&mut self, now_ms: i64, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let passed = self.relay.chunk(bytes, &mut out);
        let sent = if passed == Passed::AsIs { bytes } else { &out };
        self.draft.sent(now_ms, sent);
        (passed == Passed::Instead).then_some(out)
    }

    /// Whether nothing more will be passed on: the host may end the stream, and give the upstream up.
    pub fn is_over(&self) -> bool {
        self.relay.is_over()
    }

    /// The upstream's stream ended: what is still to be sent, and the record. With nothing to send (`None`)
    /// the connection is to be broken off: the answer is not whole, and there is no other way to say so.
    pub fn end(mut self, now_ms: i64, ending: Ending) -> (Option<Vec<u8>>, Record) {
        let mut out = Vec::new();
        self.relay.end(ending, &mut out);
        self.draft.sent(now_ms, &out);
        let summary = self.relay.summary().clone();
        let tail = (!self.relay.must_break_off()).then_some(out);
        (tail, self.draft.finish_stream(now_ms, summary))
    }

    /// The caller went away before the end. The host drops the upstream, which cancels it.
    pub fn hang_up(self, now_ms: i64) -> Record {
        let summary = self.relay.summary().clone();
        // Callers that have the whole answer need not wait for the goodbye.
        match (&summary.finish_reason, &summary.error) {
            (Some(_), None) => self.draft.finish_stream(now_ms, summary),
            _ => self.draft.finish_hung_up(now_ms, summary),
        }
    }
}
