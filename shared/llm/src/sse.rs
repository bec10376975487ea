//! Server-sent events, incrementally: bytes cut anywhere in, whole events out.
//!
//! Accepts `\n`, `\r\n` and `\r`, comments, several `data:` lines to an event, and a last event
//! without its blank line, as the WHATWG HTML standard's event stream section tells.

use std::borrow::Cow;

use memchr::memchr2;

/// Cuts a byte stream into raw events, each with the blank line that ends it.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The beginning of an event whose end has not come.
    held: Vec<u8>,
    /// Where in `held` the unread part begins.
    position: usize,
    /// Where in `held` the current line begins.
    line: usize,
}

impl Splitter {
    /// Takes a chunk and gives each event that is now whole. What is left over is kept.
    pub fn feed(&mut self, chunk: &[u8], mut event: impl FnMut(&[u8])) {
        if self.held.is_empty() {
            // The usual case: the chunk starts an event. Nothing is copied but the incomplete rest.
            let used = self.scan(chunk, &mut event);
            self.held.extend_from_slice(&chunk[used..]);
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(chunk);
            let used = self.scan(&held, &mut event);
            held.drain(..used);
            self.held = held;
        }
    }

    /// Bytes of an event that is not whole yet.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Calls `event` for each whole event in `data`; returns how many bytes they took.
    fn scan(&mut self, data: &[u8], event: &mut impl FnMut(&[u8])) -> usize {
        let mut start = 0;
        while let Some(found) = memchr2(b'\n', b'\r', &data[self.position..]) {
            let at = self.position + found;
            let mut next = at + 1;
            if data[at] == b'\r' {
                match data.get(next) {
                    Some(b'\n') => next += 1,
                    Some(_) => {}
                    // The other half of a \r\n may be on its way.
                    None => break,
                }
            }
            if at == self.line {
                event(&data[start..next]);
                start = next;
            }
            self.line = next;
            self.position = next;
        }
        // A `\r` left at the end is looked at again; anything else is not.
        self.position = if data.last() == Some(&b'\r') { data.len() - 1 } else { data.len() } - start;
        self.line -= start;
        start
    }
}

impl crate::translate::Frames for Splitter {
    fn feed(&mut self, chunk: &[u8], frame: &mut dyn FnMut(&[u8])) {
        Splitter::feed(self, chunk, frame);
    }

    fn held(&self) -> &[u8] {
        &self.held
    }
}

/// One event, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event:` field, empty where there is none.
    pub name: &'a [u8],
    /// The `data:` lines, joined by `\n`.
    pub data: Cow<'a, [u8]>,
}

/// Reads a raw event; `None` where it carries no data (a comment, a keep-alive, a blank line).
pub fn parse(raw: &[u8]) -> Option<Event<'_>> {
    let mut name: &[u8] = b"";
    let mut data: Option<Cow<'_, [u8]>> = None;
    // A stream may open with a byte order mark.
    let mut rest = raw.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(raw);
    while !rest.is_empty() {
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        rest = tail.strip_prefix(b"\r\n").or_else(|| tail.get(1..)).unwrap_or_default();
        if let Some(value) = field(line, b"data") {
            data = Some(match data {
                None => Cow::Borrowed(value),
                Some(before) => {
                    let mut joined = before.into_owned();
                    joined.push(b'\n');
                    joined.extend_from_slice(value);
                    Cow::Owned(joined)
                }
            });
        } else if let Some(value) = field(line, b"event") {
            name = value;
        }
    }
    data.map(|data| Event { name, data })
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?;
    if value.is_empty() {
        return Some(value);
    }
    let value = value.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        let mut push = |raw: &[u8]| {
            if let Some(event) = parse(raw) {
                found.push((text(event.name), text(&event.data)));
            }
        };
        for piece in pieces {
            splitter.feed(piece, &mut push);
        }
        push(splitter.held());
        found
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect()
    }

    #[test]
    fn every_cut_gives_the_same_events() {
        type Expected = &'static [(&'static str, &'static str)];
        let streams: [(&[u8], Expected); 7] = [
            (b"data: a\n\ndata: b\n\n", &[("", "a"), ("", "b")]),
            (b"event: x\r\ndata: a\r\n\r\nevent: y\r\ndata: b\r\n\r\n", &[("x", "a"), ("y", "b")]),
            (b"data: a\r\rdata: b\r\r", &[("", "a"), ("", "b")]),
            (b": OPENROUTER PROCESSING\n\n: keep-alive\ndata:a\n\n", &[("", "a")]),
            (b"data: a\ndata: b\n\ndata\n\n", &[("", "a\nb"), ("", "")]),
            (b"\xEF\xBB\xBFdata: \xC3\xA9\nid: 7\nretry: 10\n\n", &[("", "é")]),
            (
                b"\n\n\ndata: first\n\ndata: last without blank line",
                &[("", "first"), ("", "last without blank line")],
            ),
        ];
        for (stream, expected) in streams {
            assert_eq!(events(&[stream]), pairs(expected));
            for cut in 0..=stream.len() {
                for again in cut..=stream.len() {
                    let pieces = [&stream[..cut], &stream[cut..again], &stream[again..]];
                    assert_eq!(events(&pieces), pairs(expected), "cut at {cut} and {again}");
                }
            }
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(events(&bytes), pairs(expected), "byte by byte");
        }
    }
}
