//! `multipart/form-data`, read as it comes and never kept: where its parts are, and what its small fields say.
//!
//! Strict on purpose. Servers differ in what they make of a loose form, and the model we read must be the one
//! they read: a form that could be understood in two ways is refused.

use std::ops::Range;

use crate::{Error, kept::kept_here, peek};

/// Reads a form, cut anywhere into chunks.
#[derive(Debug)]
pub struct Scanner {
    /// Two dashes and the boundary.
    marker: Vec<u8>,
    /// How far the search for the marker may move on, by the byte under its end.
    moves: Box<[u8; 256]>,
    wanted: &'static [&'static str],
    state: State,
    /// What could not be understood without what follows: shorter than a marker, or than a part's head.
    rest: Vec<u8>,
    /// Where `rest` begins in the body.
    at: usize,
    parts: usize,
    part: Part,
    fields: Vec<Field>,
}

/// A small field, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// One of those wanted.
    pub name: &'static str,
    /// Its text.
    pub value: String,
    /// Where the text stands in the body.
    pub at: Range<usize>,
}

/// What is made of each piece of a form: the content of the part with this name, or what stands around parts.
pub type Sink<'a> = &'a mut dyn FnMut(Option<&str>, &[u8]) -> Result<(), Error>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first marker.
    Start,
    /// Right behind a marker.
    Marked,
    /// In the headers of a part.
    Head,
    /// In its content.
    Content,
    /// Behind the last marker.
    End,
}

/// The part being read.
#[derive(Debug, Default)]
struct Part {
    name: String,
    /// One of those wanted, and where its text begins.
    wanted: Option<(&'static str, usize)>,
    value: Vec<u8>,
}

impl Scanner {
    /// A scanner of the form this content type announces. The fields `wanted` are collected, and may occur once.
    pub fn new(content_type: &str, wanted: &'static [&'static str]) -> Result<Self, Error> {
        let marker = [b"--", boundary(content_type)?.as_bytes()].concat();
        let mut moves = Box::new([marker.len() as u8; 256]);
        for (at, byte) in marker[..marker.len() - 1].iter().enumerate() {
            moves[usize::from(*byte)] = (marker.len() - 1 - at) as u8;
        }
        Ok(Self {
            marker,
            moves,
            wanted,
            state: State::Start,
            rest: Vec::new(),
            at: 0,
            parts: 0,
            part: Part::default(),
            fields: Vec::new(),
        })
    }

    /// The wanted fields found so far.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field with this name, if it has come.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Reads on. The sink gets every byte once and in order, though some not before later ones are here.
    pub fn feed(&mut self, chunk: &[u8], sink: Sink<'_>) -> Result<(), Error> {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(chunk);
        let mut read = 0;
        loop {
            let understood = self.step(&bytes[read..], sink)?;
            if understood == 0 {
                break;
            }
            read += understood;
            self.at += understood;
        }
        bytes.drain(..read);
        self.rest = bytes;
        Ok(())
    }

    /// The form has ended; or has it?
    pub fn finish(&self) -> Result<(), Error> {
        match self.state {
            State::End => Ok(()),
            State::Start if self.rest.is_empty() => Err(malformed("it is empty")),
            _ => Err(malformed("it ends before its last boundary")),
        }
    }

    /// Understands the next piece; returns how long it is, nothing where more is needed.
    fn step(&mut self, bytes: &[u8], sink: Sink<'_>) -> Result<usize, Error> {
        match self.state {
            State::Start => {
                let known = bytes.len().min(self.marker.len());
                if bytes[..known] != self.marker[..known] {
                    return Err(malformed("it does not begin with the boundary its content type names"));
                }
                if known < self.marker.len() {
                    return Ok(0);
                }
                self.state = State::Marked;
                sink(None, &bytes[..known])?;
                Ok(known)
            }
            State::Marked => {
                let Some(next) = bytes.get(..2) else { return Ok(0) };
                self.state = match next {
                    b"--" => State::End,
                    b"\r\n" => State::Head,
                    _ => {
                        return Err(malformed(
                            "a boundary is followed by neither a line's end nor two dashes",
                        ));
                    }
                };
                sink(None, next)?;
                Ok(2)
            }
            State::Head => {
                let Some(length) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                    return if bytes.len() > MAX_HEAD_BYTES { Err(long_head()) } else { Ok(0) };
                };
                if length > MAX_HEAD_BYTES {
                    return Err(long_head());
                }
                let length = length + 4;
                self.begin(&bytes[..length - 4], self.at + length)?;
                self.state = State::Content;
                sink(None, &bytes[..length])?;
                Ok(length)
            }
            State::Content => {
                let Some(marked) = self.find_marker(bytes) else {
                    // The marker may have begun, and the line's end before it.
                    let sure = bytes.len().saturating_sub(self.marker.len() + 1);
                    self.content(&bytes[..sure], sink)?;
                    return Ok(sure);
                };
                let Some(content) = bytes[..marked].strip_suffix(b"\r\n") else {
                    return Err(malformed("its boundary occurs inside a part"));
                };
                self.content(content, sink)?;
                self.end()?;
                let length = marked + self.marker.len();
                self.state = State::Marked;
                sink(None, &bytes[content.len()..length])?;
                Ok(length)
            }
            State::End => {
                if !bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                    return Err(malformed("something follows its last boundary"));
                }
                sink(None, bytes)?;
                Ok(bytes.len())
            }
        }
    }

    /// A part begins: its head was read, its content stands at `at`.
    fn begin(&mut self, head: &[u8], at: usize) -> Result<(), Error> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(malformed(&format!("it has more than {MAX_PARTS} parts")));
        }
        let (name, is_file) = part(head)?;
        // Mistral takes a file that it keeps in place of one that is sent.
        if peek::folds(name.trim(), "fileid") {
            return Err(kept_here("file_id", "Send the file itself."));
        }
        let wanted = self.wanted.iter().find(|wanted| name.trim().eq_ignore_ascii_case(wanted));
        if let Some(wanted) = wanted {
            if *wanted != name || self.field(wanted).is_some() {
                let message = format!("`{wanted}` occurs twice, or in another spelling.");
                return Err(Error::invalid(*wanted, message));
            }
            if is_file {
                return Err(Error::invalid(*wanted, format!("`{wanted}` must be a text, not a file.")));
            }
        }
        self.part = Part { name, wanted: wanted.map(|wanted| (*wanted, at)), value: Vec::new() };
        Ok(())
    }

    fn content(&mut self, bytes: &[u8], sink: Sink<'_>) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some((wanted, _)) = self.part.wanted {
            if self.part.value.len() + bytes.len() > MAX_FIELD_BYTES {
                let message = format!("`{wanted}` is longer than {MAX_FIELD_BYTES} bytes.");
                return Err(Error::invalid(wanted, message));
            }
            self.part.value.extend_from_slice(bytes);
        }
        sink(Some(&self.part.name), bytes)
    }

    fn end(&mut self) -> Result<(), Error> {
        let Part { wanted: Some((name, at)), value, .. } = std::mem::take(&mut self.part) else {
            return Ok(());
        };
        let at = at..at + value.len();
        let text = String::from_utf8(value).ok().filter(|text| !text.contains(char::is_control));
        let value = text.ok_or_else(|| Error::invalid(name, format!("`{name}` must be a line of text.")))?;
        self.fields.push(Field { name, value, at });
        Ok(())
    }

    /// Where the marker is next. Horspool's search: of most bytes of a file it looks at one in some thirty.
    fn find_marker(&self, bytes: &[u8]) -> Option<usize> {
        let last = self.marker.len() - 1;
        let mut at = 0;
        while let Some(byte) = bytes.get(at + last) {
            if bytes[at..=at + last] == *self.marker {
                return Some(at);
            }
            at += usize::from(self.moves[usize::from(*byte)]);
        }
        None
    }
}

/// Whether a request with this content type carries a form.
pub fn is_form(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("multipart/form-data"))
}

/// The boundary a content type announces.
fn boundary(content_type: &str) -> Result<String, Error> {
    let wrong = |what: &str| Error::Invalid {
        message: format!("The content type must be `multipart/form-data` with a boundary: {what}."),
        param: None,
    };
    if !is_form(content_type) {
        return Err(wrong("it is another"));
    }
    let mut found = None;
    for (name, value) in parameters(content_type).ok_or_else(|| wrong("it cannot be read"))? {
        if name.eq_ignore_ascii_case("boundary") && found.replace(value).is_some() {
            return Err(wrong("it has two"));
        }
    }
    let boundary = found.ok_or_else(|| wrong("it has none"))?;
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    if !(1..=MAX_BOUNDARY_BYTES).contains(&boundary.len()) || !boundary.bytes().all(may) {
        return Err(wrong("the boundary has 1 to 70 letters, digits or `'()+_,-./:=?`"));
    }
    Ok(boundary.to_owned())
}

/// A part's name, and whether it is a file.
fn part(head: &[u8]) -> Result<(String, bool), Error> {
    let head = std::str::from_utf8(head).map_err(|_| malformed("a part's headers are no text"))?;
    let mut found = None;
    for line in head.split("\r\n") {
        let unreadable = || malformed("a part's header cannot be read");
        let (name, value) = line.split_once(':').ok_or_else(unreadable)?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_token) || value.contains(['\r', '\n', '\0']) {
            return Err(unreadable());
        }
        if name.eq_ignore_ascii_case("content-disposition") {
            if found.replace(value).is_some() {
                return Err(malformed("a part has two `content-disposition` headers"));
            }
        } else if name.eq_ignore_ascii_case("content-transfer-encoding")
            && !["7bit", "8bit", "binary"].iter().any(|plain| value.trim().eq_ignore_ascii_case(plain))
        {
            return Err(malformed("a part is encoded; send it as it is"));
        }
    }
    let nameless = || malformed("a part's `content-disposition` is not `form-data` with a name");
    let disposition = found.ok_or_else(nameless)?;
    let kind = disposition.split(';').next().unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(nameless());
    }
    let (mut part_name, mut is_file) = (None, false);
    for (name, value) in parameters(disposition).ok_or_else(nameless)? {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "name" if value.contains('\\') || part_name.replace(value).is_some() => return Err(nameless()),
            // Understood by some servers and passed over by others.
            "name*" => return Err(nameless()),
            "filename" | "filename*" => is_file = true,
            _ => {}
        }
    }
    Ok((part_name.ok_or_else(nameless)?.to_owned(), is_file))
}

/// What follows the first semicolon of a header: names and values, unquoted. Nothing where it can be read in
/// more than one way.
fn parameters(header: &str) -> Option<Vec<(&str, &str)>> {
    let mut found = Vec::new();
    let mut rest = header.split_once(';').map_or("", |(_, rest)| rest).trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        if name.is_empty() || name.contains(['"', ';', ' ', '\t']) {
            return None;
        }
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"')?;
                // To some an escaped quote, to others the end.
                if value.ends_with('\\') {
                    return None;
                }
                (value, after.trim_start())
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (value, after) = after.split_at(end);
                let value = value.trim_end();
                if value.is_empty() || value.contains(['"', ' ', '\t']) {
                    return None;
                }
                (value, after)
            }
        };
        found.push((name, value));
        rest = match after.strip_prefix(';') {
            Some(rest) => rest.trim_start(),
            None if after.is_empty() => "",
            None => return None,
        };
    }
    Some(found)
}

fn malformed(what: &str) -> Error {
    Error::Invalid { message: format!("The form cannot be read: {what}."), param: None }
}

fn long_head() -> Error {
    malformed(&format!("the headers of a part are longer than {MAX_HEAD_BYTES} bytes"))
}

/// RFC 2046.
const MAX_BOUNDARY_BYTES: usize = 70;

const MAX_FIELD_BYTES: usize = 1024;

const MAX_HEAD_BYTES: usize = 4096;

const MAX_PARTS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=XyZ";

    /// As browsers, undici and httpx write it.
    const FORM: &str = "--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;b.mp3\"\r\n\
        Content-Type: audio/mpeg\r\n\r\n\r\n--XyY-\r\n-binary\0\r\n\r\n--XyZ\r\n\
        content-disposition: form-data; name=\"model\"\r\n\r\nopenai/whisper-1\r\n--XyZ\r\n\
        Content-Disposition: form-data; name=stream\r\n\r\n\r\n--XyZ--\r\n";

    /// What a form with these bytes says, in pieces of this size; every byte must come out once.
    fn read(content_type: &str, form: &[u8], size: usize) -> Result<String, String> {
        let mut scanner =
            Scanner::new(content_type, &["model", "stream"]).map_err(|error| error.to_string())?;
        let (mut all, mut said) = (Vec::new(), Vec::<(String, Vec<u8>)>::new());
        let mut read = || {
            for chunk in form.chunks(size) {
                scanner.feed(chunk, &mut |part, bytes| {
                    all.extend_from_slice(bytes);
                    match (part, said.last_mut()) {
                        (Some(name), Some((last, text))) if last == name => text.extend_from_slice(bytes),
                        (Some(name), _) => said.push((name.to_owned(), bytes.to_vec())),
                        (None, _) => said.push((String::new(), Vec::new())),
                    }
                    Ok(())
                })?;
            }
            scanner.finish()
        };
        read().map_err(|error| error.to_string())?;
        assert_eq!(all, form, "every byte comes out once, in order");
        let mut lines = Vec::new();
        for (name, text) in said.iter().filter(|(name, _)| !name.is_empty()) {
            lines.push(format!("{name}: {}", String::from_utf8_lossy(text).escape_debug()));
        }
        for Field { name, value, at } in scanner.fields() {
            assert_eq!(&form[at.clone()], value.as_bytes());
            lines.push(format!("{name}={value}"));
        }
        Ok(lines.join(" | "))
    }

    #[test]
    fn however_a_form_is_cut_it_says_the_same() {
        let expected = "file: \\r\\n--XyY-\\r\\n-binary\\0\\r\\n | model: openai/whisper-1 | model=openai/whisper-1 | stream=";
        for size in 1..=FORM.len() {
            assert_eq!(read(TYPE, FORM.as_bytes(), size).as_deref(), Ok(expected), "in pieces of {size}");
        }
        for quoted in
            ["multipart/form-data; boundary=\"XyZ\"", "Multipart/Form-Data;charset=utf-8;BOUNDARY=XyZ"]
        {
            assert_eq!(read(quoted, FORM.as_bytes(), 7).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_form_that_could_be_read_in_two_ways_is_refused() {
        let part = |head: &str, content: &str| format!("--XyZ\r\n{head}\r\n\r\n{content}\r\n--XyZ--\r\n");
        let field = |name: &str, content: &str| {
            part(&format!("Content-Disposition: form-data; name={name}"), content)
        };
        let twice = field("\"model\"", "a").replace("--XyZ--", "--XyZ") + &field("\"model\"", "b")[7..];
        let many: String = (0..300).map(|_| field("x", "").replace("--XyZ--\r\n", "")).collect();
        let long = "m".repeat(2000);
        let cases = [
            (String::new(), "it is empty"),
            ("Preamble\r\n--XyZ".to_owned(), "does not begin with the boundary"),
            ("--XyZ".to_owned(), "ends before its last boundary"),
            ("--XyZ \r\n".to_owned(), "followed by neither"),
            (field("model", "a").replace("--XyZ--", "--XyZ-"), "followed by neither"),
            (field("model", "a").replace("--\r\n", ""), "ends before its last boundary"),
            (field("model", "a") + "--XyZ", "something follows"),
            // Some servers go by the line feed alone.
            (
                field("file", "a\n--XyZ\nContent-Disposition: form-data; name=model\n\nb"),
                "occurs inside a part",
            ),
            (field("file", "a--XyZ"), "occurs inside a part"),
            (format!("--XyZ\r\n\r\n\r\n{}", &field("a", "b")), "a part's header cannot be read"),
            (part("Content-Disposition: form-data; name=\"a\"\r\n folded", "b"), "header cannot be read"),
            (
                part("Content-Disposition: form-data; name=\"a\"\nname=\"model\"", "b"),
                "header cannot be read",
            ),
            (part("Content-Type: text/plain", "b"), "not `form-data` with a name"),
            (part("Content-Disposition: attachment; name=\"model\"", "b"), "not `form-data` with a name"),
            (part("Content-Disposition: form-data", "b"), "not `form-data` with a name"),
            (field("\"mo\\del\"", "b"), "not `form-data` with a name"),
            (field("\"a\"; name=\"model\"", "b"), "not `form-data` with a name"),
            (field("\"a\"; name*=utf-8''model", "b"), "not `form-data` with a name"),
            (field("\"a\"; filename=\"x\\\"; name=\"model\"", "b"), "not `form-data` with a name"),
            (field("\"a\" b", "c"), "not `form-data` with a name"),
            (
                part("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b", "c"),
                "two `content-disposition`",
            ),
            (
                part("Content-Disposition: form-data; name=model\r\nContent-Transfer-Encoding: base64", "c"),
                "encoded",
            ),
            (twice, "`model` occurs twice"),
            (field("Model", "a"), "`model` occurs twice, or in another spelling"),
            (field("\" model\"", "a"), "`model` occurs twice, or in another spelling"),
            (field("model; filename=a", "a"), "`model` must be a text"),
            (field("model", "a\r\nb"), "`model` must be a line"),
            (field("model", &long), "`model` is longer than 1024"),
            (field(&"x".repeat(5000), "a"), "longer than 4096"),
            (format!("--XyZ\r\n{}", "x".repeat(5000)), "longer than 4096"),
            (many, "more than 256 parts"),
        ];
        for (form, expected) in cases {
            for size in [1, 3, 64, 100_000] {
                let error = read(TYPE, form.as_bytes(), size).expect_err(&form);
                assert!(error.contains(expected), "{expected}: {error} in {form:.300}");
            }
        }
        for content_type in [
            "application/json",
            "multipart/mixed; boundary=XyZ",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"a b\"",
            "multipart/form-data; boundary=XyZ; boundary=Other",
            &format!("multipart/form-data; boundary={}", "x".repeat(71)),
        ] {
            let error = read(content_type, FORM.as_bytes(), 64).expect_err(content_type);
            assert!(error.contains("`multipart/form-data` with a boundary"), "{error}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic_and_cuts_change_nothing() {
        let pieces: [&[u8]; 10] = [
            b"--XyZ",
            b"\r\n",
            b"--",
            b"XyZ",
            b"\r",
            b"\n",
            b"Content-Disposition: form-data; name=\"model\"",
            b"\r\n\r\n",
            b"\0\xFF",
            b"a",
        ];
        let mut state = 7_u64;
        for _ in 0..20_000 {
            let mut form = Vec::new();
            for _ in 0..12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                form.extend_from_slice(pieces[(state >> 33) as usize % pieces.len()]);
            }
            let whole = read(TYPE, &form, form.len());
            for size in [1, 5] {
                assert_eq!(read(TYPE, &form, size), whole, "{}", form.escape_ascii());
            }
        }
    }
}
