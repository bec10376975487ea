//! A stream of Google's on its way to a caller who did not ask for server-sent events: one JSON list, whose
//! elements are the very bytes of each event.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::{answer::Reader, write::Framer};
use crate::{
    UpstreamError,
    chat::Event,
    dialect::OnEvent,
    front::ErrorBody,
    relay::{Ending, Passed, Relay, Summary},
    sse::{self, Splitter},
    translate,
};

/// Makes the list, and reads the answer in passing.
pub(super) struct Relist {
    splitter: Splitter,
    reader: Reader,
    list: Framer,
    summary: Summary,
    request_id: String,
    /// Kept to spare an allocation an event.
    events: Vec<Event>,
}

impl Relist {
    pub(super) fn new(request_id: &str) -> Self {
        Self {
            splitter: Splitter::default(),
            reader: Reader::observing(),
            list: Framer::list(),
            summary: Summary::default(),
            request_id: request_id.to_owned(),
            events: Vec::new(),
        }
    }

    fn element(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        // After a failure the list is closed.
        if self.summary.error.is_some() {
            return;
        }
        let Some(event) = sse::parse(raw) else { return };
        let data = event.data.trim_ascii();
        let event = sse::Event { name: event.name, data: Cow::Borrowed(data) };
        let was_whole = self.reader.is_whole();
        let read = self.reader.event(event, &mut self.events);
        self.note();
        match read {
            Ok(()) => self.list.put(data, out),
            // Google's own way to tell the failure.
            Err(error) if serde_json::from_slice::<IgnoredAny>(data).is_ok() => {
                self.list.put(data, out);
                self.list.close(out);
                self.summary.error = Some(error);
            }
            // Nothing of the answer can be missing.
            Err(_) if was_whole => {}
            Err(error) => self.fail(error, out),
        }
    }

    fn note(&mut self) {
        let new = translate::summary(&self.events);
        self.events.clear();
        let old = std::mem::take(&mut self.summary);
        self.summary = Summary {
            response_model: old.response_model.or(new.response_model),
            usage: new.usage.or(old.usage),
            finish_reason: new.finish_reason.or(old.finish_reason),
            native_finish_reason: new.native_finish_reason.or(old.native_finish_reason),
            error: new.error.or(old.error),
        };
    }

    fn fail(&mut self, error: UpstreamError, out: &mut Vec<u8>) {
        self.list.fail(&ErrorBody::upstream(&error, Some(&self.request_id)), out);
        self.summary.error = Some(error);
    }
}

impl Relay for Relist {
    fn chunk(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Passed {
        if self.summary.error.is_some() {
            return Passed::Instead;
        }
        if self.splitter.held().len().saturating_add(bytes.len()) > MAX_EVENT_BYTES {
            self.fail(UpstreamError::garbled("one event is larger than 16 MiB"), out);
            return Passed::Instead;
        }
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.feed(bytes, |raw| self.element(raw, out));
        self.splitter = splitter;
        Passed::Instead
    }

    fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        if self.summary.error.is_some() {
            return;
        }
        if ending == Ending::Closed {
            // The last event may lack its blank line.
            let splitter = std::mem::take(&mut self.splitter);
            self.element(splitter.held(), out);
            if self.summary.error.is_some() {
                return;
            }
        }
        match ending {
            _ if self.reader.is_whole() => self.list.close(out),
            Ending::Closed => self.fail(UpstreamError::truncated(), out),
            Ending::Failed(error) => self.fail(error, out),
        }
    }

    fn summary(&self) -> &Summary {
        &self.summary
    }

    fn is_over(&self) -> bool {
        self.summary.error.is_some()
    }
}

/// No provider sends one nearly as large; without a bound a broken one could fill the memory.
const MAX_EVENT_BYTES: usize = 16 << 20;
