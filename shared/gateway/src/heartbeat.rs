//! A sign of life to somebody else: who watches the watch should not be run by it.

use std::pin::pin;

use bytes::Bytes;
use futures::future::{Either, select};
use http::{Request, header};

use crate::{
    Host,
    ports::{FetchError, Limits},
};

/// Asks for `HEARTBEAT_URL`, where it is set. What becomes of it is the other side's to notice; a failure is a line in
/// the log, without the address, which may be a password.
pub async fn beat<H: Host>(host: &H) {
    let config = host.config();
    let Some(url) = &config.heartbeat_url else { return };
    let request = Request::get(url).header(header::USER_AGENT, "hypergate").body(Bytes::new());
    let Ok(request) = request else { return host.log("heartbeat: HEARTBEAT_URL is no address") };
    let fetch = pin!(host.fetch(request, LIMITS));
    let answered = match select(fetch, pin!(host.sleep(LIMITS.first_byte_ms))).await {
        Either::Left((answered, _)) => answered.map(|fetched| fetched.head.status()),
        Either::Right(_) => Err(FetchError::Timeout),
    };
    match answered {
        Ok(status) if status.is_success() => {}
        Ok(status) => host.log(&format!("heartbeat: HTTP {}", status.as_u16())),
        Err(_) => host.log("heartbeat: no answer"),
    }
}

const LIMITS: Limits = Limits { first_byte_ms: 5_000, idle_ms: 5_000, max_bytes: 65_536, any_stream: false };
