//! The way of a streamed answer through the gateway, one chunk at a time.
//!
//! A host pumps the provider's bytes through a [`Relay`] and never looks inside: it hands in each
//! chunk, sends on what comes out, and says how the stream ended.

use crate::{UpstreamError, Usage};

/// What a relay learned about an answer; the record is made of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// The model that served, as the provider names it.
    pub response_model: Option<String>,
    /// Tokens; `None` where the provider never said.
    pub usage: Option<Usage>,
    /// In OpenAI's words.
    pub finish_reason: Option<String>,
    /// The same in the provider's own word.
    pub native_finish_reason: Option<String>,
    /// The failure, where the answer did not end well.
    pub error: Option<UpstreamError>,
}

/// What to send on in place of the chunk that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// The very bytes that came in; `out` was not touched.
    AsIs,
    /// What `out` holds now, which may be nothing.
    Instead,
}

/// How the upstream's side of a stream ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The upstream closed the stream properly; whether the answer was whole is for the relay to say.
    Closed,
    /// The stream failed: cut, timed out, too long.
    Failed(UpstreamError),
}

/// Turns the provider's stream into the caller's. Pure; the host does the reading and sending.
pub trait Relay {
    /// Takes the next chunk. Only whole events are passed on, so a caller never sees half of one.
    fn chunk(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Passed;

    /// Ends the stream: appends what is still owed to the caller, an error event if it was not whole.
    /// A caller's hang-up does not come here; there is nobody left to tell.
    fn end(&mut self, ending: Ending, out: &mut Vec<u8>);

    /// What was learned so far.
    fn summary(&self) -> &Summary;

    /// Whether nothing more will be passed on, whatever the upstream still says: it may be given up.
    fn is_over(&self) -> bool {
        false
    }

    /// Whether the caller can only be told by breaking the connection off that the answer is not whole:
    /// sound has no place for an error event. Asked after the end.
    fn must_break_off(&self) -> bool {
        false
    }
}

/// Passes everything on as it comes, and says how it ended: what is not made of events.
#[derive(Debug, Default)]
pub struct Plain {
    /// What is known of the answer.
    pub summary: Summary,
    /// Whether an answer without a byte is none.
    pub needs_bytes: bool,
    has_begun: bool,
}

impl Plain {
    /// Of an answer that is known to have a content.
    pub fn with_content(summary: Summary) -> Self {
        Self { summary, needs_bytes: true, has_begun: false }
    }
}

impl Relay for Plain {
    fn chunk(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> Passed {
        self.has_begun |= !bytes.is_empty();
        Passed::AsIs
    }

    fn end(&mut self, ending: Ending, _out: &mut Vec<u8>) {
        self.summary.error = match ending {
            Ending::Failed(error) => Some(error),
            Ending::Closed if self.needs_bytes && !self.has_begun => {
                Some(UpstreamError::garbled("it was empty"))
            }
            Ending::Closed => None,
        };
    }

    fn summary(&self) -> &Summary {
        &self.summary
    }

    // Bytes have no place for an error.
    fn must_break_off(&self) -> bool {
        self.summary.error.is_some()
    }
}
