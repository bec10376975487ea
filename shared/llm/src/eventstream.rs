//! Amazon's event stream (`application/vnd.amazon.eventstream`), both ways.
//!
//! A message is, all numbers big-endian: total length (4 bytes), length of the headers (4), CRC32 of
//! these eight bytes (4), headers, payload, CRC32 of all before (4). A header is the length of its name
//! (1), the name, a type (1) and a value.

use crate::translate::Frames;

/// Cuts a byte stream into messages and checks them. After a broken one nothing more comes out: where the
/// next begins is not known.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The beginning of a message whose end has not come, or all since a broken one.
    held: Vec<u8>,
    broken: Option<Broken>,
}

impl Splitter {
    /// Takes a chunk and gives each message that is now whole, with its bytes. What is left over is kept.
    pub fn feed(&mut self, chunk: &[u8], mut message: impl FnMut(&[u8], Message<'_>)) {
        if self.broken.is_some() {
            self.held.extend_from_slice(chunk);
        } else if self.held.is_empty() {
            let rest = self.scan(chunk, &mut message);
            self.held.extend_from_slice(rest);
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(chunk);
            let used = held.len() - self.scan(&held, &mut message).len();
            held.drain(..used);
            self.held = held;
        }
    }

    /// Bytes of a message that is not whole yet.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// What is wrong with the stream, where something is.
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// Calls `message` for each whole message in `data`; returns the rest.
    fn scan<'a>(&mut self, data: &'a [u8], message: &mut impl FnMut(&[u8], Message<'_>)) -> &'a [u8] {
        let mut rest = data;
        loop {
            match read(rest) {
                Ok(Some((raw, read, after))) => {
                    message(raw, read);
                    rest = after;
                }
                Ok(None) => return rest,
                Err(broken) => {
                    self.broken = Some(broken);
                    return rest;
                }
            }
        }
    }
}

impl Frames for Splitter {
    fn feed(&mut self, chunk: &[u8], frame: &mut dyn FnMut(&[u8])) {
        Splitter::feed(self, chunk, |raw, _| frame(raw));
    }

    fn held(&self) -> &[u8] {
        &self.held
    }
}

/// A message that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// In their order.
    pub headers: Vec<(&'a str, Value<'a>)>,
    /// What `:content-type` says.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The header of this name, where it is text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.headers.iter().find(|(known, _)| *known == name)?;
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The value of a header.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Types 0 and 1.
    Bool(bool),
    /// Types 2 to 5: 8, 16, 32 and 64 bits, signed.
    Integer(i64),
    /// Type 6.
    Bytes(&'a [u8]),
    /// Type 7.
    Text(&'a str),
    /// Type 8: Unix milliseconds.
    Time(i64),
    /// Type 9.
    Uuid([u8; 16]),
}

/// What can be wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A CRC32 does not match: bytes were changed on the way.
    #[error("the checksum of an event does not match")]
    Checksum,
    /// The headers are not what the format says.
    #[error("the headers of an event cannot be read")]
    Headers,
    /// Lengths that contradict each other or are above the format's limits.
    #[error("the length of an event cannot be right")]
    Length,
}

type Read<'a> = (&'a [u8], Message<'a>, &'a [u8]);

/// The first message of `data`, its bytes before it and the bytes after it; `None` where it is not whole.
fn read(data: &[u8]) -> Result<Option<Read<'_>>, Broken> {
    let Some((prelude, _)) = data.split_at_checked(PRELUDE_BYTES) else { return Ok(None) };
    let mut numbers = Cursor(prelude);
    let lengths = (numbers.u32(), numbers.u32(), numbers.u32());
    let (Some(total), Some(headers), Some(crc)) = lengths else { return Err(Broken::Length) };
    // Before the lengths are believed: a wrong one would make us wait for bytes that never come.
    if prelude.get(..8).map(crc32fast::hash) != Some(crc) {
        return Err(Broken::Checksum);
    }
    let (total, headers) = (total as usize, headers as usize);
    let payload = total.checked_sub(headers).and_then(|rest| rest.checked_sub(AROUND_BYTES));
    if headers > MAX_HEADERS_BYTES || payload.is_none_or(|payload| payload > MAX_PAYLOAD_BYTES) {
        return Err(Broken::Length);
    }
    let Some((raw, after)) = data.split_at_checked(total) else { return Ok(None) };
    let Some((checked, crc)) = raw.split_last_chunk() else { return Err(Broken::Length) };
    if crc32fast::hash(checked) != u32::from_be_bytes(*crc) {
        return Err(Broken::Checksum);
    }
    let inner = checked.get(PRELUDE_BYTES..).and_then(|inner| inner.split_at_checked(headers));
    let Some((headers, payload)) = inner else { return Err(Broken::Length) };
    let headers = read_headers(headers).ok_or(Broken::Headers)?;
    Ok(Some((raw, Message { headers, payload }, after)))
}

fn read_headers(bytes: &[u8]) -> Option<Vec<(&str, Value<'_>)>> {
    let mut rest = Cursor(bytes);
    let mut headers = Vec::new();
    while !rest.0.is_empty() {
        let length = rest.u8()?;
        let name = std::str::from_utf8(rest.take(length.into())?).ok().filter(|name| !name.is_empty())?;
        let value = match rest.u8()? {
            0 => Value::Bool(true),
            1 => Value::Bool(false),
            2 => Value::Integer(i8::from_be_bytes(rest.array()?).into()),
            3 => Value::Integer(i16::from_be_bytes(rest.array()?).into()),
            4 => Value::Integer(i32::from_be_bytes(rest.array()?).into()),
            5 => Value::Integer(i64::from_be_bytes(rest.array()?)),
            6 => Value::Bytes(rest.sized()?),
            7 => Value::Text(std::str::from_utf8(rest.sized()?).ok()?),
            8 => Value::Time(i64::from_be_bytes(rest.array()?)),
            9 => Value::Uuid(rest.array()?),
            _ => return None,
        };
        headers.push((name, value));
    }
    Some(headers)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.array().map(u16::from_be_bytes)?;
        self.take(length.into())
    }
}

/// Appends a message with text headers. A header whose name is longer than 255 bytes or whose value is
/// longer than 65,535 is left out, as the format has no room for it.
pub fn write(headers: &[(&str, &str)], payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; PRELUDE_BYTES]);
    for (name, value) in headers {
        let (Ok(name_length), Ok(value_length)) = (u8::try_from(name.len()), u16::try_from(value.len()))
        else {
            continue;
        };
        out.push(name_length);
        out.extend_from_slice(name.as_bytes());
        out.push(TEXT);
        out.extend_from_slice(&value_length.to_be_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    let headers_length = out.len() - start - PRELUDE_BYTES;
    out.extend_from_slice(payload);
    let total = out.len() - start + CRC_BYTES;
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let lengths = [number(total), number(headers_length)].concat();
    let crc = crc32fast::hash(&lengths).to_be_bytes();
    for (place, byte) in out.iter_mut().skip(start).zip(lengths.into_iter().chain(crc)) {
        *place = byte;
    }
    let crc = out.get(start..).map_or(0, crc32fast::hash);
    out.extend_from_slice(&crc.to_be_bytes());
}

const PRELUDE_BYTES: usize = 12;
const CRC_BYTES: usize = 4;
/// What a message has around its headers and its payload.
const AROUND_BYTES: usize = PRELUDE_BYTES + CRC_BYTES;
const MAX_HEADERS_BYTES: usize = 128 << 10;
const MAX_PAYLOAD_BYTES: usize = 16 << 20;
const TEXT: u8 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    /// Amazon's own: an empty message, and one with a header and a payload.
    const EMPTY: &str = "000000100000000005c248eb7d98c8ff";
    const FULL: &str = "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e\
                        7b27666f6f273a27626172277d8d9c08b1";

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    /// A message around any bytes of headers, with right checksums.
    fn framed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut message = ((headers.len() + payload.len() + AROUND_BYTES) as u32).to_be_bytes().to_vec();
        message.extend((headers.len() as u32).to_be_bytes());
        message.extend(crc32fast::hash(&message).to_be_bytes());
        message.extend([headers, payload].concat());
        message.extend(crc32fast::hash(&message).to_be_bytes());
        message
    }

    /// What comes out of the pieces: each message's headers and payload, and what is wrong at the end.
    fn split(pieces: &[&[u8]]) -> (Vec<String>, Option<Broken>) {
        let mut splitter = Splitter::default();
        let mut seen = Vec::new();
        for piece in pieces {
            splitter.feed(piece, |raw, message| {
                assert_eq!(
                    read(raw).map(|read| read.map(|(_, message, _)| message)),
                    Ok(Some(message.clone()))
                );
                seen.push(format!("{:?} {}", message.headers, String::from_utf8_lossy(message.payload)));
            });
        }
        (seen, splitter.broken())
    }

    #[test]
    fn known_messages_are_read_and_written() {
        let mut out = Vec::new();
        write(&[], b"", &mut out);
        write(&[("content-type", "application/json")], b"{'foo':'bar'}", &mut out);
        assert_eq!(out, bytes(&format!("{EMPTY}{FULL}")));
        let full = r#"[("content-type", Text("application/json"))] {'foo':'bar'}"#;
        assert_eq!(split(&[&out]), (vec!["[] ".to_owned(), full.to_owned()], None));
    }

    #[test]
    fn every_cut_gives_the_same_messages() {
        let all = bytes(&format!("{FULL}{EMPTY}{FULL}"));
        let whole = split(&[&all]);
        assert_eq!(whole.0.len(), 3);
        for cut in 0..=all.len() {
            assert_eq!(split(&[&all[..cut], &all[cut..]]), whole, "{cut}");
        }
        let single: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(split(&single), whole);
    }

    #[test]
    fn any_changed_byte_is_noticed_and_nothing_follows() {
        let good = bytes(FULL);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            let (seen, broken) = split(&[&good, &bad, &good]);
            assert_eq!((seen.len(), broken), (1, Some(Broken::Checksum)), "{at}");
        }
        let mut splitter = Splitter::default();
        let mut bad = good.clone();
        bad[30] ^= 1;
        let mut frames = 0;
        for piece in [&good, &bad, &good] {
            Frames::feed(&mut splitter, piece, &mut |_| frames += 1);
        }
        assert_eq!((frames, Frames::held(&splitter)), (1, [bad, good].concat().as_slice()));
    }

    #[test]
    fn impossible_lengths_are_refused_before_their_bytes_come() {
        let cases = [(15, 0), (0, 0), (16, 1), (131_089, 131_073), (16_777_233, 0), (u32::MAX, u32::MAX)];
        for (total, headers) in cases {
            let mut message = [u32::to_be_bytes(total), u32::to_be_bytes(headers)].concat();
            message.extend(crc32fast::hash(&message).to_be_bytes());
            assert_eq!(split(&[&message]), (Vec::new(), Some(Broken::Length)), "{total} {headers}");
        }
    }

    #[test]
    fn every_type_of_header_is_read() {
        let cases: [(&[u8], Value<'_>); 10] = [
            (&[0], Value::Bool(true)),
            (&[1], Value::Bool(false)),
            (&[2, 0xff], Value::Integer(-1)),
            (&[3, 1, 0], Value::Integer(256)),
            (&[4, 0, 0, 160, 12], Value::Integer(40_972)),
            (&[5, 0, 0, 0, 0, 0, 0, 0, 7], Value::Integer(7)),
            (&[6, 0, 2, 1, 2], Value::Bytes(&[1, 2])),
            (&[7, 0, 1, b'x'], Value::Text("x")),
            (&[8, 0, 0, 0, 0, 0, 0, 0, 9], Value::Time(9)),
            (&[9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], {
                Value::Uuid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
            }),
        ];
        for (value, expected) in cases {
            let headers = [&[1, b'n'], value].concat();
            assert_eq!(read_headers(&headers), Some(vec![("n", expected)]));
            // Cut short, it is none.
            let (_, short) = headers.split_last().expect("not empty");
            assert_eq!(split(&[&framed(short, b"")]).1, Some(Broken::Headers));
        }
        for headers in [&[0, 0][..], &[1, b'n', 10], &[1, 0xff, 0], &[1, b'n', 7, 0, 1, 0xff]] {
            assert_eq!(split(&[&framed(headers, b"")]).1, Some(Broken::Headers), "{headers:?}");
        }
    }

    #[test]
    fn a_header_that_does_not_fit_is_left_out() {
        let long = "x".repeat(65_536);
        let mut out = Vec::new();
        write(&[("a", &long), (&long[..256], "b"), ("c", "d")], b"", &mut out);
        assert_eq!(split(&[&out]), (vec![r#"[("c", Text("d"))] "#.to_owned()], None));
    }
}
