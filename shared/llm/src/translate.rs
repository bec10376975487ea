//! A stream from one protocol on its way to a caller who speaks another.

use crate::{
    ErrorClass, UpstreamError,
    chat::{Event, FinishReason},
    dialect::Decoder,
    front::{ErrorBody, Writer},
    relay::{Ending, Passed, Relay, Summary},
};

/// Decodes the provider's stream and writes the caller's.
pub struct Translate {
    decoder: Box<dyn Decoder>,
    writer: Box<dyn Writer>,
    notes: Notes,
    request_id: String,
    /// Kept to spare an allocation a chunk.
    events: Vec<Event>,
    /// Bytes since the last event.
    silent_bytes: usize,
    /// What the events so far take, about: some protocols have to say all of it again at the end.
    taken_bytes: usize,
}

impl Translate {
    /// A fresh relay.
    pub fn new(decoder: Box<dyn Decoder>, writer: Box<dyn Writer>, request_id: &str) -> Self {
        Self {
            decoder,
            writer,
            notes: Notes::default(),
            request_id: request_id.to_owned(),
            events: Vec::new(),
            silent_bytes: 0,
            taken_bytes: 0,
        }
    }

    /// Passes on the events at hand, up to a failure.
    fn pass(&mut self, out: &mut Vec<u8>) {
        let mut events = std::mem::take(&mut self.events);
        if let Some((at, error)) = untellable(&events) {
            events[at] = Event::Error(error);
        }
        let failed = events.iter().position(|event| matches!(event, Event::Error(_)));
        self.writer.events(&events[..failed.unwrap_or(events.len())], out);
        for event in &events {
            self.notes.take(event);
        }
        if let Some(error) = self.notes.summary.error.as_ref() {
            self.writer.fail(&ErrorBody::upstream(error, Some(&self.request_id)), out);
        }
        events.clear();
        self.events = events;
    }

    fn fail(&mut self, error: UpstreamError, out: &mut Vec<u8>) {
        self.events.push(Event::Error(error));
        self.pass(out);
    }
}

impl Relay for Translate {
    fn chunk(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Passed {
        if self.notes.summary.error.is_some() {
            return Passed::Instead;
        }
        self.decoder.feed(bytes, &mut self.events);
        self.silent_bytes = if self.events.is_empty() { self.silent_bytes + bytes.len() } else { 0 };
        self.taken_bytes = self.events.iter().map(size).fold(self.taken_bytes, usize::saturating_add);
        if self.silent_bytes > MAX_SILENT_BYTES {
            self.fail(UpstreamError::garbled("one event is larger than 16 MiB"), out);
        } else if self.taken_bytes > MAX_ANSWER_BYTES {
            self.events.clear();
            self.fail(UpstreamError::garbled("it is larger than 32 MiB"), out);
        } else {
            self.pass(out);
        }
        Passed::Instead
    }

    fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        if self.notes.summary.error.is_some() {
            return;
        }
        match ending {
            Ending::Closed => {
                self.decoder.finish(&mut self.events);
                self.pass(out);
            }
            // The caller has the whole answer; only the goodbye was lost.
            Ending::Failed(_) if self.writer.is_finished() => {}
            Ending::Failed(error) => self.fail(error, out),
        }
        self.writer.done(out);
    }

    fn summary(&self) -> &Summary {
        &self.notes.summary
    }

    fn is_over(&self) -> bool {
        self.notes.summary.error.is_some()
    }
}

/// Where the answer is a picture or sound, which no other protocol's chat can carry, and so an error.
pub fn untellable(events: &[Event]) -> Option<(usize, UpstreamError)> {
    events.iter().enumerate().find_map(|(at, event)| match event {
        Event::Unsaid { name, is_media: true } => {
            let message = format!("the model answered with `{name}`, which cannot be translated. Ask for text alone, or in the provider's own protocol");
            Some((at, UpstreamError::new(ErrorClass::Invalid, message)))
        }
        _ => None,
    })
}

/// How many bytes an event takes where it is kept, about.
fn size(event: &Event) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    EVENT_BYTES
        + match event {
            Event::Citation(cited) => length(&cited.url) + length(&cited.title) + length(&cited.quote),
            Event::Logprobs(tokens) => tokens.len() * LOGPROBS_BYTES,
            Event::Reasoning(text)
            | Event::ReasoningRedacted(text)
            | Event::ReasoningSignature(text)
            | Event::Refusal(text)
            | Event::StopText(text)
            | Event::Text(text)
            | Event::ToolArguments { text, .. }
            | Event::Unsaid { name: text, .. } => text.len(),
            Event::ToolCall { id, name, signature, .. } => id.len() + name.len() + length(signature),
            Event::Error(_) | Event::Finish { .. } | Event::Start { .. } | Event::Usage(_) => 0,
        }
}

/// Passes a stream on in the protocol it comes in, frame by frame, and reads it in passing.
pub struct Observe<F> {
    frames: F,
    decoder: Box<dyn Decoder>,
    /// Only for what has to be said in the provider's place.
    writer: Box<dyn Writer>,
    notes: Notes,
    request_id: String,
    events: Vec<Event>,
    /// Whether the caller was told of a failure in the provider's place.
    is_over: bool,
}

/// Cuts a byte stream into what must stay together.
pub trait Frames {
    /// Takes a chunk and gives each frame that is now whole. What is left over is kept.
    fn feed(&mut self, chunk: &[u8], frame: &mut dyn FnMut(&[u8]));
    /// Bytes of a frame that is not whole yet.
    fn held(&self) -> &[u8];
}

impl<F: Frames> Observe<F> {
    /// A fresh relay.
    pub fn new(frames: F, decoder: Box<dyn Decoder>, writer: Box<dyn Writer>, request_id: &str) -> Self {
        let (notes, request_id) = (Notes::default(), request_id.to_owned());
        Self { frames, decoder, writer, notes, request_id, events: Vec::new(), is_over: false }
    }

    fn note(&mut self) {
        for event in self.events.drain(..) {
            self.notes.take(&event);
        }
    }

    fn fail(&mut self, error: UpstreamError, out: &mut Vec<u8>) {
        self.writer.fail(&ErrorBody::upstream(&error, Some(&self.request_id)), out);
        self.notes.summary.error = Some(error);
        self.is_over = true;
    }

    fn is_finished(&self) -> bool {
        self.notes.summary.finish_reason.is_some()
    }
}

impl<F: Frames> Relay for Observe<F> {
    fn chunk(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Passed {
        if self.is_over {
            return Passed::Instead;
        }
        if self.frames.held().len() + bytes.len() > MAX_SILENT_BYTES {
            self.fail(UpstreamError::garbled("one event is larger than 16 MiB"), out);
            return Passed::Instead;
        }
        let was_held = !self.frames.held().is_empty();
        let (decoder, events) = (&mut self.decoder, &mut self.events);
        self.frames.feed(bytes, &mut |frame| {
            out.extend_from_slice(frame);
            decoder.feed(frame, events);
        });
        self.note();
        if was_held || out.len() != bytes.len() {
            return Passed::Instead;
        }
        out.clear();
        Passed::AsIs
    }

    fn end(&mut self, ending: Ending, out: &mut Vec<u8>) {
        if self.notes.summary.error.is_some() {
            return;
        }
        match ending {
            Ending::Failed(_) if self.is_finished() => {}
            Ending::Failed(error) => self.fail(error, out),
            Ending::Closed => {
                self.decoder.feed(self.frames.held(), &mut self.events);
                self.decoder.finish(&mut self.events);
                self.note();
                match self.notes.summary.error.take() {
                    // The last event may lack its blank line.
                    None if !self.frames.held().is_empty() => {
                        out.extend_from_slice(self.frames.held());
                        out.extend_from_slice(b"\n\n");
                    }
                    None => {}
                    Some(error) => self.fail(error, out),
                }
            }
        }
    }

    fn summary(&self) -> &Summary {
        &self.notes.summary
    }

    fn is_over(&self) -> bool {
        self.is_over
    }
}

/// What the events of a whole answer say about it.
pub fn summary(events: &[Event]) -> Summary {
    let mut notes = Notes::default();
    for event in events {
        notes.take(event);
    }
    notes.summary
}

#[derive(Default)]
struct Notes {
    summary: Summary,
    called: bool,
}

impl Notes {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Error(error) => self.summary.error = Some(error.clone()),
            Event::Finish { reason, native } => self.finish(*reason, native),
            Event::Start { model: Some(model), .. } => self.summary.response_model = Some(model.clone()),
            Event::ToolCall { .. } => self.called = true,
            Event::Usage(usage) => self.summary.usage = Some(*usage),
            _ => {}
        }
    }

    fn finish(&mut self, reason: FinishReason, native: &str) {
        self.summary.finish_reason = Some(reason.after_calls(self.called).as_str().to_owned());
        self.summary.native_finish_reason = (!native.is_empty()).then(|| native.to_owned());
    }
}

/// No provider sends an event nearly as large; without a bound a broken one could fill the memory.
const MAX_SILENT_BYTES: usize = 16 << 20;

/// Of what is translated of a stream, as of an answer that comes whole; many times what a model says at once.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// What an event takes beside its text.
const EVENT_BYTES: usize = 32;

/// What a token's probabilities take at the least.
const LOGPROBS_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dialect::chat_completions::answer, front::Head};

    /// Each byte is an event: `t`ext, `s`top, `!` failure, anything else is none. Whole after a stop.
    #[derive(Default)]
    struct Script {
        whole: bool,
    }

    impl Decoder for Script {
        fn feed(&mut self, chunk: &[u8], events: &mut Vec<Event>) {
            for byte in chunk {
                match byte {
                    b't' => events.push(Event::Text("t".to_owned())),
                    b's' => {
                        self.whole = true;
                        events.push(Event::Finish { reason: FinishReason::Stop, native: "end".to_owned() });
                    }
                    b'!' => events.push(Event::Error(UpstreamError::new(ErrorClass::Server, "Ouch."))),
                    _ => {}
                }
            }
        }

        fn finish(&mut self, events: &mut Vec<Event>) {
            if !self.whole {
                events.push(Event::Error(UpstreamError::truncated()));
            }
        }
    }

    /// What the caller sees: `r`ole, `t`ext, `f`inish, `!` error, `.` done; and the record's error.
    fn seen(chunks: &[&str], ending: Ending) -> (String, Option<ErrorClass>) {
        let head = Head { id: "1", created: 0, model: "m" };
        let writer = Box::new(answer::Stream::new(&head, false));
        let mut relay = Translate::new(Box::new(Script::default()), writer, "req_1");
        let mut out = Vec::new();
        for chunk in chunks {
            assert_eq!(relay.chunk(chunk.as_bytes(), &mut out), Passed::Instead);
        }
        relay.end(ending, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        let signs = text.split_terminator("\n\n").map(|event| match event {
            "data: [DONE]" => '.',
            role if role.contains("\"role\"") => 'r',
            text if text.contains("\"content\"") => 't',
            finish if finish.contains("\"finish_reason\":\"stop\"") => 'f',
            error if error.contains("\"request_id\":\"req_1\"") => '!',
            other => panic!("unexpected: {other}"),
        });
        (signs.collect(), relay.summary().error.as_ref().map(|error| error.class))
    }

    #[test]
    fn only_a_whole_answer_ends_cleanly() {
        let cut = || Ending::Failed(UpstreamError::new(ErrorClass::Timeout, "Silence."));
        let cases = [
            (&["tt", "ts"][..], Ending::Closed, "rtttf.", None),
            (&["t", "", "-", "s"], Ending::Closed, "rtf.", None),
            (&["s"], Ending::Closed, "rf.", None),
            (&["t"], Ending::Closed, "rt!", Some(ErrorClass::Truncated)),
            (&[], Ending::Closed, "!", Some(ErrorClass::Truncated)),
            (&["t!t", "ts"], Ending::Closed, "rt!", Some(ErrorClass::Server)),
            (&["!"], cut(), "!", Some(ErrorClass::Server)),
            (&["t"], cut(), "rt!", Some(ErrorClass::Timeout)),
            (&["ts"], cut(), "rtf.", None),
        ];
        for (chunks, ending, expected, class) in cases {
            assert_eq!(seen(chunks, ending), (expected.to_owned(), class), "{chunks:?}");
        }
    }
}
