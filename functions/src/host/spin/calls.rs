//! How the answer to a call goes out, and its record to the database.

use std::pin::pin;

use futures::{
    StreamExt,
    future::{Either, select},
};
use gateway::{Host, journal, ports::Clock, record::Record};
use llm::{ErrorClass, UpstreamError, relay::Ending};
use spin_sdk::{
    http::{OutgoingResponse, ResponseOutparam},
    wit::wasi::http0_2_0::types::OutgoingBody,
};

use super::{Spin, Upstream, fields, send_whole, sleep, write};
use crate::{Reply, Streaming};

/// Sends an answer, then keeps its record.
pub(super) async fn answer(host: &Spin, reply: Reply<Upstream>, out: ResponseOutparam) {
    let record = match reply {
        Reply::Whole { response, record } => {
            send_whole(response, out).await;
            record.map(|record| *record)
        }
        Reply::Stream(streaming) => Some(send_stream(host, *streaming, out).await),
    };
    if let Some(record) = record {
        journal(host, record).await;
    }
}

/// Pumps a stream until one of the three parties ends it, and returns the record.
async fn send_stream(host: &Spin, streaming: Streaming<Upstream>, out: ResponseOutparam) -> Record {
    let Streaming { head, opening, mut rest, mut live, idle_ms } = streaming;
    let response = OutgoingResponse::new(fields(head.headers()));
    response.set_status_code(head.status().as_u16()).expect("the gateway answers with a status");
    let body = response.body().expect("a response has one body");
    out.set(response);
    let stream = body.write().expect("a body is written once");

    let mut heard_ms = host.now_ms();
    let ending = if write(&stream, &opening).await.is_err() {
        None
    } else {
        loop {
            let (chunk, pause) = (pin!(rest.next()), pin!(sleep(HANG_UP_CHECK_MS)));
            let next = select(chunk, pause).await;
            let now_ms = host.now_ms();
            match next {
                Either::Left((Some(Ok(chunk)), _)) => {
                    let instead = live.chunk(now_ms, &chunk);
                    if write(&stream, instead.as_ref().unwrap_or(&chunk)).await.is_err() {
                        break None;
                    }
                    if live.is_over() {
                        break Some(Ending::Closed);
                    }
                    // A slow caller is not the upstream's fault.
                    heard_ms = host.now_ms();
                }
                Either::Left((Some(Err(error)), _)) => break Some(Ending::Failed(error)),
                Either::Left((None, _)) => break Some(Ending::Closed),
                Either::Right(_) => {
                    // Nobody wakes us when the caller goes: we have to look.
                    if stream.check_write().is_err() {
                        break None;
                    }
                    if now_ms - heard_ms >= idle_ms {
                        let message = format!("the provider said nothing for {idle_ms} ms");
                        break Some(Ending::Failed(UpstreamError::new(ErrorClass::Timeout, message)));
                    }
                }
            }
        }
    };
    // Cancels an upstream that is still talking.
    drop(rest);
    let (tail, record) = match ending {
        None => (Some(Vec::new()), live.hang_up(host.now_ms())),
        Some(ending) => live.end(host.now_ms(), ending),
    };
    // The record says how the upstream ended; a caller that leaves now has missed little.
    if let Some(tail) = &tail {
        let _ = write(&stream, tail).await;
    }
    drop(stream);
    // A body that is dropped unfinished breaks the connection off.
    if tail.is_some() {
        let _ = OutgoingBody::finish(body, None);
    }
    record
}

/// Stores the record. The caller has its answer; a database that is busy gets a second chance.
async fn journal(host: &Spin, record: Record) {
    let records = [record];
    for pause_ms in [0, 500, 2_000] {
        host.sleep(pause_ms).await;
        match journal::write(host, &records).await {
            Ok(()) => return,
            Err(error) => host.log(&format!("{}: not recorded yet: {error}", records[0].id)),
        }
    }
    host.log(&format!("{}: record lost", records[0].id));
    if let Err(error) = journal::report_lost(host, &records[0].id, 1).await {
        host.log(&format!("{}: the loss is not even noted: {error}", records[0].id));
    }
}

/// How soon a caller's hang-up is noticed while the upstream is silent.
const HANG_UP_CHECK_MS: i64 = 250;
