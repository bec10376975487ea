//! Keys and networks that are refused for a while, by a rule that says so or by hand. `auth` finds them where it finds
//! the caller; here they are made and lifted.

use hypercare::{FieldError, time::MINUTE_MS};

use crate::{
    Error, Host, auth, origin,
    store::{blocks as store, identity},
};

pub use store::{Block, Filter, list};

/// Somebody to refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A network, by one of its addresses.
    Address(String),
    /// A key, by its id.
    Key(String),
    /// A network, as calls have it.
    Source(String),
}

/// Refuses somebody from now on. `tenant_id` says for whose calls a network is refused; none: for everybody's.
pub async fn create<H: Host>(
    host: &H,
    subject: &Subject,
    tenant_id: Option<String>,
    minutes: i64,
    reason: String,
    actor: String,
) -> Result<Block, Error> {
    let now_ms = host.now_ms();
    let (kind, subject, tenant_id) = match subject {
        Subject::Key(id) => {
            let owner = identity::key_owner(host, id).await?;
            ("key", id.clone(), owner.ok_or_else(|| Error::NotFound(format!("key {id}")))?)
        }
        Subject::Source(source) => ("source", source.clone(), tenant_id.unwrap_or_default()),
        Subject::Address(address) => {
            let config = host.config();
            let secrets = config.secrets.as_ref().ok_or(Error::Unconfigured("HYPERGATE_SECRET"))?;
            let source = origin::of_address(secrets, address).ok_or_else(|| FieldError {
                field: "address",
                message: "must be an IP address".to_owned(),
            })?;
            ("source", source, tenant_id.unwrap_or_default())
        }
    };
    let block = Block {
        id: host.memory().new_id("blk_", now_ms, host),
        kind: kind.to_owned(),
        tenant_id,
        subject,
        reason,
        rule_id: None,
        episode_id: None,
        actor: Some(actor),
        created_ms: now_ms,
        until_ms: now_ms + minutes * MINUTE_MS,
        lifted_ms: None,
        lifted_by: None,
    };
    store::create(host, &block).await?;
    make_seen(host, std::slice::from_ref(&block)).await;
    Ok(block)
}

/// Lifts a block before its time.
pub async fn lift<H: Host>(host: &H, id: &str, by: &str) -> Result<Block, Error> {
    let lifted = store::lift(host, id, by, host.now_ms()).await?;
    let block = lifted.ok_or_else(|| Error::NotFound(format!("block {id} in force")))?;
    make_seen(host, std::slice::from_ref(&block)).await;
    Ok(block)
}

/// Has what is known of the keys concerned read anew. What fails is seen when that expires: what concerns a network
/// concerns all keys, which are too many to be told.
pub(crate) async fn make_seen<H: Host>(host: &H, blocks: &[Block]) {
    let keys = blocks.iter().filter(|block| block.kind == "key").take(MOST_TOLD);
    let keys: Vec<&str> = keys.map(|block| block.subject.as_str()).collect();
    let hashes = if keys.is_empty() { Ok(Vec::new()) } else { identity::hashes_of(host, &keys).await };
    let hashes = hashes.unwrap_or_else(|error| {
        host.log(&format!("blocks: seen once what is known of the keys expires: {error}"));
        Vec::new()
    });
    auth::forget(host, &hashes).await;
}

/// Each is a request to the cache, of which a tick has few.
const MOST_TOLD: usize = 5;
