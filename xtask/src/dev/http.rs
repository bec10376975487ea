//! HTTP/1.1 over loopback: one call, one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Outcome;

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

pub(super) fn get(port: u16, path: &str, token: Option<&str>) -> Outcome<Answer> {
    call("GET", port, path, token, "")
}

pub(super) fn post(port: u16, path: &str, token: Option<&str>, body: &str) -> Outcome<Answer> {
    call("POST", port, path, token, body)
}

pub(super) fn call(method: &str, port: u16, path: &str, token: Option<&str>, body: &str) -> Outcome<Answer> {
    exchange(method, port, path, token, body).map_err(|error| format!("{method} {path}: {error}"))
}

fn exchange(method: &str, port: u16, path: &str, token: Option<&str>, body: &str) -> std::io::Result<Answer> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let authorization = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\
         {authorization}{kind}content-length: {length}\r\n\r\n{body}"
    )?;
    let message = Message::read(&mut BufReader::new(stream))?;
    let status = message.first_line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Ok(Answer { status, body: message.body })
}

/// A request or an answer, as it came.
pub(super) struct Message {
    pub(super) first_line: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Message {
    pub(super) fn read(reader: &mut impl BufRead) -> std::io::Result<Self> {
        let first_line = read_line(reader)?;
        let mut headers = Vec::new();
        loop {
            let line = read_line(reader)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut message = Self { first_line, headers, body: String::new() };
        let mut bytes = Vec::new();
        if message.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            read_chunks(reader, &mut bytes)?;
        } else if let Some(length) = message.header("content-length") {
            let length = length.parse().map_err(std::io::Error::other)?;
            reader.take(length).read_to_end(&mut bytes)?;
        } else if message.first_line.starts_with("HTTP/") {
            reader.read_to_end(&mut bytes)?;
        }
        message.body = String::from_utf8_lossy(&bytes).into_owned();
        Ok(message)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn read_chunks(reader: &mut impl BufRead, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        let line = read_line(reader)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(std::io::Error::other)?;
        if size == 0 {
            return Ok(());
        }
        reader.take(size).read_to_end(bytes)?;
        read_line(reader)?;
    }
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_where_the_headers_say() {
        let cases = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more", "hello"),
            ("HTTP/1.1 200 OK\r\n\r\nhello to the end", "hello to the end"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n there\r\n0\r\n\r\n",
                "hello there",
            ),
            ("POST /slack HTTP/1.1\r\nhost: a\r\n\r\nnot a body", ""),
        ];
        for (text, expected) in cases {
            let message = Message::read(&mut text.as_bytes()).expect("it is HTTP");
            assert_eq!(message.body, expected, "{text}");
        }
    }
}
