//! What a receiver's host name stands for, asked of a resolver over HTTPS where one is set up: a public name
//! may lead inside. It narrows what gets out, and cannot close it: the answer to the host's own question, a
//! moment later, may be another.

use std::net::IpAddr;

use bytes::Bytes;
use futures::future::join;
use http::{Request, Uri, header};
use hypercare::notify::is_public;
use serde_json::Value;

use crate::{
    Host,
    ports::{Body, Limits},
};

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing speaks against it, or nobody is to be asked.
    Public,
    /// At least one of its addresses is not public.
    Private,
    /// The resolver did not say.
    Unknown,
}

/// Looks up the host of a receiver's URL. Addresses are judged where the URL is, and listed hosts by nobody.
pub(crate) async fn place_of<H: Host>(host: &H, url: &str) -> Place {
    let config = host.config();
    let Some(resolver) = &config.receiver_dns else { return Place::Public };
    let Ok(uri) = url.parse::<Uri>() else { return Place::Unknown };
    let name = uri.host().unwrap_or_default();
    if config.allowed_receivers.lists(&uri) || name.starts_with('[') || name.parse::<IpAddr>().is_ok() {
        return Place::Public;
    }
    let (v4, v6) = join(addresses(host, resolver, name, "A"), addresses(host, resolver, name, "AAAA")).await;
    match (v4, v6) {
        (Some(v4), Some(v6)) if v4.iter().chain(&v6).all(|address| is_public(*address)) => Place::Public,
        (Some(_), Some(_)) => Place::Private,
        _ => Place::Unknown,
    }
}

async fn addresses<H: Host>(host: &H, resolver: &str, name: &str, kind: &str) -> Option<Vec<IpAddr>> {
    let request = Request::get(format!("{resolver}?name={name}&type={kind}"))
        .header(header::ACCEPT, "application/dns-json")
        .body(Bytes::new())
        .ok()?;
    let fetched = host.fetch(request, LIMITS).await.ok()?;
    let Body::Whole(body) = &fetched.body else { return None };
    let answer: Value = serde_json::from_slice(body).ok().filter(|_| fetched.head.status().is_success())?;
    let records = answer["Answer"].as_array().map(Vec::as_slice).unwrap_or_default();
    // Between them stand the names an alias goes by.
    Some(records.iter().filter_map(|record| record["data"].as_str()?.parse().ok()).collect())
}

const LIMITS: Limits = Limits { first_byte_ms: 5_000, idle_ms: 5_000, max_bytes: 65_536, any_stream: false };
