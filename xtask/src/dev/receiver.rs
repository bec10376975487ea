//! Someone to alert: takes notices as a chat or a webhook would, and shows them on a page.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::http::Message;
use crate::Outcome;

/// Listens on loopback until the process ends.
pub(super) fn start(port: u16) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| format!("Port {port}: {error}"))?;
    let inbox = Arc::new(Mutex::new(Inbox::default()));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || serve(stream, &inbox));
        }
    });
    Ok(())
}

#[derive(Default)]
struct Inbox {
    notices: Vec<Value>,
    /// So many posts are answered 500 before one is taken.
    failures_left: u32,
}

fn serve(stream: TcpStream, inbox: &Mutex<Inbox>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let Ok(request) = Message::read(&mut BufReader::new(&stream)) else { return };
    let inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
    let reply = answer(&request, inbox);
    let _ = write!(
        &stream,
        "HTTP/1.1 {}\r\ncontent-type: {}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         connection: close\r\n\r\n{}",
        reply.status,
        reply.kind,
        reply.body.len(),
        reply.body
    );
}

struct Reply {
    status: &'static str,
    kind: &'static str,
    body: String,
}

fn answer(request: &Message, mut inbox: MutexGuard<'_, Inbox>) -> Reply {
    let mut words = request.first_line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match (method, path) {
        ("GET", "/") => Reply { status: "200 OK", kind: "text/html; charset=utf-8", body: PAGE.to_owned() },
        ("GET", "/notices") => json_reply(&inbox),
        ("POST", "/fail") => {
            inbox.failures_left = query.strip_prefix("next=").and_then(|n| n.parse().ok()).unwrap_or(3);
            json_reply(&inbox)
        }
        ("POST", "/slack" | "/webhook") => {
            let refused = inbox.failures_left > 0;
            inbox.failures_left = inbox.failures_left.saturating_sub(1);
            let status = match (refused, path) {
                (true, _) => "500 Internal Server Error",
                (false, "/slack") => "200 OK",
                (false, _) => "204 No Content",
            };
            inbox.notices.push(notice(path, status, request));
            let body = if status == "200 OK" { "ok".to_owned() } else { String::new() };
            Reply { status, kind: "text/plain", body }
        }
        _ => Reply { status: "404 Not Found", kind: "text/plain", body: "not found\n".to_owned() },
    }
}

/// A post as the page shows it, with the headers by which a webhook is verified.
fn notice(path: &str, status: &str, request: &Message) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let headers: serde_json::Map<String, Value> = request
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("webhook-") || name == "idempotency-key")
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    json!({
        "received_ms": now.as_millis() as u64,
        "to": path.trim_start_matches('/'),
        "answered": &status[..3],
        "headers": headers,
        "body": serde_json::from_str(&request.body).unwrap_or_else(|_| json!(request.body)),
    })
}

fn json_reply(inbox: &Inbox) -> Reply {
    let body = json!({"failures_left": inbox.failures_left, "notices": inbox.notices}).to_string();
    Reply { status: "200 OK", kind: "application/json", body }
}

const PAGE: &str = include_str!("receiver.html");

#[cfg(test)]
mod tests {
    use super::*;

    fn send(inbox: &Mutex<Inbox>, text: &str) -> String {
        let request = Message::read(&mut text.replace('\n', "\r\n").as_bytes()).expect("it is HTTP");
        let reply = answer(&request, inbox.lock().expect("nobody panicked"));
        format!("{} {}", &reply.status[..3], reply.body)
    }

    #[test]
    fn a_notice_is_kept_and_a_failure_is_played_on_demand() {
        let inbox = Mutex::default();
        let post = "POST /slack HTTP/1.1\ncontent-length: 12\n\n{\"text\":\"a\"}";
        assert_eq!(send(&inbox, post), "200 ok");
        assert_eq!(send(&inbox, "POST /webhook HTTP/1.1\nwebhook-id: 7\ncontent-length: 2\n\n{}"), "204 ");
        assert_eq!(send(&inbox, "POST /nowhere HTTP/1.1\n\n"), "404 not found\n");
        assert!(send(&inbox, "POST /fail?next=2 HTTP/1.1\n\n").starts_with("200 {\"failures_left\":2"));
        assert_eq!([(); 3].map(|()| send(&inbox, post)), ["500 ", "500 ", "200 ok"]);

        let kept = &inbox.lock().expect("nobody panicked").notices;
        let answered: Vec<&str> = kept.iter().filter_map(|notice| notice["answered"].as_str()).collect();
        assert_eq!(answered, ["200", "204", "500", "500", "200"]);
        assert_eq!((&kept[0]["body"]["text"], &kept[1]["headers"]["webhook-id"]), (&json!("a"), &json!("7")));
    }
}
