//! How the answer to a call goes out, and its record to the queue.

use std::{cell::RefCell, rc::Rc};

use gateway::{
    Host,
    journal::{self, Buffer, Next},
    live::Live,
    ports::Clock,
    record::Record,
};
use http::StatusCode;
use llm::{
    ErrorClass, UpstreamError,
    operation::realtime::{NAMING, TELLING},
    relay::Ending,
};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

use super::{Cloudflare, MEMORY, Reader, TIMEOUT, header_lines, respond_with};
use crate::{Reply, Streaming};

thread_local! {
    static JOURNAL: RefCell<Buffer> = RefCell::default();
}

/// Sends an answer. Its record is kept now, or when the stream has ended.
pub(super) fn answer(host: Rc<Cloudflare>, reply: Reply<Reader>) -> web_sys::Response {
    match reply {
        Reply::Whole { response, record } => {
            if let Some(record) = record {
                journal(&host, *record);
            }
            respond_with(response)
        }
        Reply::Stream(streaming) => stream_with(host, *streaming),
    }
}

/// What an operator changed is seen at once in this isolate.
#[expect(unreachable_pub, reason = "JavaScript reaches it")]
#[wasm_bindgen(js_name = forgetCallers)]
pub fn forget_callers() {
    MEMORY.with(|memory| memory.forget_callers());
}

fn stream_with(host: Rc<Cloudflare>, streaming: Streaming<Reader>) -> web_sys::Response {
    let Streaming { head, opening, mut rest, live, idle_ms } = streaming;
    let reader = rest.0.take().expect("a reader is handed over once");
    let context: &JsValue = host.context.as_ref().expect("a fetch event has a context").as_ref();
    let tap = Tap { live: Some(live), idle_ms, host: host.clone() };
    let lines = header_lines(head.headers());
    if head.status() == StatusCode::SWITCHING_PROTOCOLS {
        let (config, words) = (host.config(), TELLING.join("\n"));
        let (idle_ms, longest_ms) = (config.session_idle_ms as f64, config.session_ms as f64);
        return converse(context, &lines, reader, tap, &words, NAMING, idle_ms, longest_ms);
    }
    stream(context, head.status().as_u16(), &lines, &opening, reader, tap, idle_ms as f64, &host.signal)
}

/// What the pump in `cloudflare.js` hands each chunk to.
#[wasm_bindgen]
struct Tap {
    /// Gone once the stream has ended.
    live: Option<Live>,
    idle_ms: i64,
    host: Rc<Cloudflare>,
}

#[expect(unreachable_pub, reason = "JavaScript reaches it")]
#[wasm_bindgen]
impl Tap {
    /// What to send instead of the chunk; nothing where it goes as it is.
    pub fn chunk(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.live.as_mut()?.chunk(js_sys::Date::now() as i64, bytes)
    }

    /// The caller says something on a socket: what to send instead of it; nothing where it goes as it is. Thrown is what
    /// to answer it with.
    pub fn said(&mut self, message: &[u8]) -> Result<Option<String>, JsValue> {
        let Some(live) = &mut self.live else { return Ok(None) };
        live.said(message).map_err(|answer| JsValue::from_str(&answer))
    }

    /// Whether nothing more will be sent, whatever the upstream still says.
    #[wasm_bindgen(js_name = isOver)]
    pub fn is_over(&self) -> bool {
        self.live.as_ref().is_none_or(Live::is_over)
    }

    /// The upstream ended: properly (an empty reason), by silence, or with an error. What is owed; nothing
    /// where the connection is to be broken off.
    pub fn end(&mut self, reason: &str) -> Option<Vec<u8>> {
        let ending = match reason {
            "" => Ending::Closed,
            TIMEOUT => {
                let message = format!("the provider said nothing for {} ms", self.idle_ms);
                Ending::Failed(UpstreamError::new(ErrorClass::Timeout, message))
            }
            _ => Ending::Failed(UpstreamError::truncated()),
        };
        let (tail, record) = self.live.take()?.end(self.host.now_ms(), ending);
        journal(&self.host, record);
        tail
    }

    /// The caller went away.
    #[wasm_bindgen(js_name = hangUp)]
    pub fn hang_up(&mut self) {
        if let Some(live) = self.live.take() {
            journal(&self.host, live.hang_up(self.host.now_ms()));
        }
    }
}

// --- the journal: isolate buffer → queue ---

fn journal(host: &Rc<Cloudflare>, record: Record) {
    let next = JOURNAL.with_borrow_mut(|buffer| buffer.push(record, host.now_ms()));
    let Some(context) = &host.context else { return };
    let wait_ms = match next {
        Next::Nothing => return,
        Next::Flush => 0,
        Next::FlushIn(ms) => ms,
    };
    let host = host.clone();
    context.wait_until(async move {
        if wait_ms > 0 {
            host.sleep(wait_ms).await;
        }
        flush(&host).await;
    });
}

async fn flush(host: &Cloudflare) {
    let (records, lost) = JOURNAL.with_borrow_mut(|buffer| (buffer.take(), buffer.take_lost()));
    let report_id = host.memory.new_id("loss_", host.now_ms(), host);
    let messages = journal::messages(&records, lost, &report_id);
    if messages.is_empty() {
        return;
    }
    let list: js_sys::Array = messages.iter().map(|message| JsValue::from_str(message)).collect();
    if let Err(error) = queue_send(&host.env, list).await {
        host.log(&format!("journal: {} records wait for the next flush: {error:?}", records.len()));
        JOURNAL.with_borrow_mut(|buffer| buffer.put_back(records, lost, host.now_ms()));
    }
}

#[wasm_bindgen(module = "/src/host/cloudflare.js")]
extern "C" {
    fn converse(
        context: &JsValue,
        headers: &str,
        upstream: JsValue,
        tap: Tap,
        words: &str,
        naming: &str,
        idle_ms: f64,
        longest_ms: f64,
    ) -> web_sys::Response;
    fn stream(
        context: &JsValue,
        status: u16,
        headers: &str,
        opening: &[u8],
        reader: JsValue,
        tap: Tap,
        idle_ms: f64,
        signal: &JsValue,
    ) -> web_sys::Response;
    #[wasm_bindgen(js_name = queueSend, catch)]
    async fn queue_send(env: &JsValue, messages: js_sys::Array) -> Result<(), JsValue>;
}
