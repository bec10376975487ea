//! A gateway for those who watch it: each scrape finds it a minute later, with the calls of that minute made and counted,
//! until somebody asks for `/freeze`. What it sent to collectors is at `/sent`. For tests/collectors/out.py.

#![expect(clippy::unwrap_used, reason = "it is for tests")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
};

use gateway::{ports::Clock as _, tick::tick};
use serde_json::{Value, json};
use tests::{Answer, Answered, Gateway, block_on};

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let gateway = Gateway::with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("RECORDS_URL", "https://lines.example/in"),
    ]);
    gateway.host.upstream.anything(Answer::text(200, "{}"));
    block_on(tick(&gateway.host, gateway.host.now_ms())).unwrap();
    let mut is_frozen = false;
    for stream in listener.incoming() {
        // Whoever hangs up early does not end it.
        let _ = serve(&gateway, &mut is_frozen, stream.unwrap());
    }
}

/// Six good calls, two of them streams, and four that fail.
fn minute(gateway: &Gateway) {
    for n in 0..10 {
        let model = if n < 6 { "demo/echo" } else { "demo/fail" };
        let messages = json!([{ "role": "user", "content": "Hello, how are \"you\"?\n" }]);
        let body = json!({ "model": model, "stream": n < 2, "messages": messages });
        let trace = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b{n}-01");
        gateway.chat_with(&gateway.key, &[("traceparent", &trace)], body.to_string());
    }
    gateway.host.advance(60_000);
    // Minutes are looked at half a minute after their end.
    block_on(tick(&gateway.host, gateway.host.now_ms() + 30_000)).unwrap();
}

fn serve(gateway: &Gateway, is_frozen: &mut bool, mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let Some((first, headers)) = lines.split_first() else { return Ok(()) };
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: Vec<(&str, &str)> = headers.iter().filter_map(|line| line.split_once(": ")).collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap_or(0))];
    reader.read_exact(&mut body)?;

    let (status, media, body) = if path == "/sent" {
        (200, "application/json".to_owned(), sent(gateway).to_string().into_bytes())
    } else {
        *is_frozen |= path == "/freeze";
        if path == "/metrics" && !*is_frozen {
            minute(gateway);
        }
        let answered: Answered = gateway.request(method, path, &headers, body);
        let media = answered.headers["content-type"].to_str().unwrap_or_default().to_owned();
        (answered.status.as_u16(), media, answered.body().to_vec())
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: {media}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

fn sent(gateway: &Gateway) -> Value {
    let shown = |sent: tests::Sent| json!({ "url": sent.url, "type": sent.header("content-type"), "body": String::from_utf8_lossy(&sent.body) });
    gateway.host.upstream.sent().into_iter().map(shown).collect()
}
