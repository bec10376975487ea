//! As much of HTTP/1.1 as both ends of a measurement need: one message after the other on a connection.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::Instant;

/// Microseconds on the one clock of this process, by which the mock and the callers agree.
pub(super) fn now_us() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(ORIGIN.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    find(text, part).is_some()
}

pub(super) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// A connection with what was read of it and not yet used.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// The first line of the head that was read last.
    pub(super) first_line: String,
    buffer: Vec<u8>,
    framing: Framing,
}

#[derive(Clone, Copy)]
enum Framing {
    Chunked,
    Length(usize),
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            first_line: String::new(),
            buffer: Vec::with_capacity(16 << 10),
            framing: Framing::Length(0),
        }
    }

    /// Reads a message's head and returns the status, which is zero for a request.
    pub(super) fn read_head(&mut self) -> io::Result<u16> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]);
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        self.first_line.clear();
        self.first_line.push_str(first);
        self.framing = Framing::Length(0);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                self.framing = Framing::Length(value.parse().map_err(|_| garbled())?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                self.framing = Framing::Chunked;
            }
        }
        self.buffer.drain(..end);
        Ok(status.unwrap_or(0))
    }

    /// Reads the body of the message whose head was read last, and shows its bytes as they come.
    pub(super) fn read_body(&mut self, mut show: impl FnMut(&[u8])) -> io::Result<()> {
        match self.framing {
            Framing::Length(length) => self.read_exactly(length, &mut show),
            Framing::Chunked => loop {
                let line = self.read_line()?;
                let length = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
                    .map_err(|_| garbled())?;
                self.read_exactly(length, &mut show)?;
                // Ends the chunk; after the last one, which is empty, the message.
                self.read_line()?;
                if length == 0 {
                    return Ok(());
                }
            },
        }
    }

    fn read_exactly(&mut self, length: usize, show: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            if self.buffer.is_empty() {
                self.fill()?;
            }
            let part = left.min(self.buffer.len());
            show(&self.buffer[..part]);
            self.buffer.drain(..part);
            left -= part;
        }
        Ok(())
    }

    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut part = [0; 8 << 10];
        match self.stream.read(&mut part)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            length => {
                self.buffer.extend_from_slice(&part[..length]);
                Ok(())
            }
        }
    }
}

fn garbled() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "this is not HTTP/1.1")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst\
                    HTTP/1.1 429 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3;x=y\r\nond\r\n0\r\n\r\n\
                    POST /third HTTP/1.1\r\n\r\n\
                    HTTP/1.1 204 Gone\r\ncontent-length: 0\r\n\r\n";
        for piece in [1, 7, 1_000] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let mut writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            writer.set_nodelay(true).unwrap();
            let writing = thread::spawn(move || {
                for part in text.as_bytes().chunks(piece) {
                    writer.write_all(part).unwrap();
                }
            });
            let mut connection = Connection::new(listener.accept().unwrap().0);
            let mut messages = Vec::new();
            for _ in 0..4 {
                let status = connection.read_head().unwrap();
                let mut body = Vec::new();
                connection.read_body(|bytes| body.extend_from_slice(bytes)).unwrap();
                messages.push((status, String::from_utf8(body).unwrap()));
            }
            writing.join().unwrap();
            let expected = [(200, "first"), (429, "second"), (0, ""), (204, "")];
            assert_eq!(messages, expected.map(|(status, body)| (status, body.to_owned())), "by {piece}");
        }
    }
}
