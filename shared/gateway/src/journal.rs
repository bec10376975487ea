//! The way of records from the call to the database: collected for a moment, sent in batches, stored
//! once each however often they arrive.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Host,
    payload::Payload,
    ports::{Database, PortError},
    record::Record,
    secret::hex,
    store::{self, calls::Entry},
};

/// Records that wait in an isolate for company. A queue operation for each would cost more than the call.
#[derive(Debug, Default)]
pub struct Buffer {
    records: Vec<Record>,
    lost: u64,
    /// When the flush that will take them is due.
    due_ms: Option<i64>,
    /// Until when a full buffer waits all the same, because sending has just failed.
    resting_until_ms: i64,
}

/// What to do after a record was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send what there is, now.
    Flush,
    /// Wait this long, then send what there is.
    FlushIn(i64),
    /// Another call will send it.
    Nothing,
}

impl Buffer {
    /// Takes a record.
    pub fn push(&mut self, record: Record, now_ms: i64) -> Next {
        self.records.push(record);
        if self.records.len() >= BATCH && now_ms >= self.resting_until_ms {
            return Next::Flush;
        }
        match self.due_ms {
            // A flush that is long overdue was cancelled with the call that promised it.
            Some(due_ms) if now_ms < due_ms + OVERDUE_MS => Next::Nothing,
            _ => {
                self.due_ms = Some(now_ms + WAIT_MS);
                Next::FlushIn(WAIT_MS)
            }
        }
    }

    /// Takes what there is, to be sent.
    pub fn take(&mut self) -> Vec<Record> {
        self.due_ms = None;
        std::mem::take(&mut self.records)
    }

    /// Keeps records that could not be sent, to go with the next ones. There is a limit; what is over it
    /// is lost, counted, and reported as soon as something can be sent.
    pub fn put_back(&mut self, mut records: Vec<Record>, lost: u64, now_ms: i64) {
        self.resting_until_ms = now_ms + WAIT_MS;
        records.append(&mut self.records);
        let over = records.len().saturating_sub(MAX_WAITING);
        records.drain(..over);
        self.lost += lost + over as u64;
        self.records = records;
    }

    /// How many were lost since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

/// Queue messages that carry the records and the report, each small enough for one.
pub fn messages(records: &[Record], mut lost: u64, report_id: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    for record in records {
        let mut entry = Entry::of(record);
        if entry.bytes() > MAX_MESSAGE_BYTES {
            // Escaped, content can be several times as long. The record matters more than what was said.
            entry = Entry::of(&without_content(record));
        }
        if entry.bytes() > MAX_MESSAGE_BYTES {
            // Every field has a bound, so this does not happen; if it did, it would hold up all others.
            lost += 1;
            continue;
        }
        if bytes + entry.bytes() > MAX_MESSAGE_BYTES && !entries.is_empty() {
            messages.push(message(std::mem::take(&mut entries), 0, ""));
            bytes = 0;
        }
        bytes += entry.bytes();
        entries.push(entry);
    }
    if !entries.is_empty() || lost > 0 {
        messages.push(message(entries, lost, report_id));
    }
    messages
}

fn without_content(record: &Record) -> Record {
    let mut record = record.clone();
    record.payload = record.payload.map(|payload| Payload {
        mode: payload.mode,
        request_headers: "{}".to_owned(),
        request: String::new(),
        response: String::new(),
        truncated: true,
    });
    record
}

fn message(entries: Vec<Entry>, lost: u64, report_id: &str) -> String {
    let message = Message { report_id: report_id.to_owned(), lost, entries };
    serde_json::to_string(&message).expect("a message is JSON")
}

#[derive(Serialize, Deserialize)]
struct Message {
    report_id: String,
    lost: u64,
    entries: Vec<Entry>,
}

/// Stores what queue messages carry. An error means that nothing of them may be forgotten: they are to
/// be delivered again.
pub async fn consume<H: Host>(host: &H, messages: &[String]) -> Result<(), PortError> {
    let mut entries = Vec::new();
    let now_ms = host.now_ms();
    for text in messages {
        match serde_json::from_str::<Message>(text) {
            Ok(message) => {
                if message.lost > 0 {
                    let reason = "an isolate's journal was full";
                    store::calls::report_loss(host, &message.report_id, now_ms, message.lost, reason).await?;
                }
                entries.extend(message.entries);
            }
            // Delivering it again would not make it readable.
            Err(error) => {
                host.log(&format!("journal: unreadable message dropped: {error}"));
                let id = hex(&Sha256::digest(text)[..16]);
                store::calls::report_loss(host, &id, now_ms, 1, "an unreadable journal message").await?;
            }
        }
    }
    let Err(error) = store::calls::insert(host, &entries).await else { return Ok(()) };
    // Either the database is away, and all of it comes again; or it refuses one of the records, which must
    // not take the others with it.
    store::schedule::last_tick_ms(host).await?;
    host.log(&format!("journal: a batch of {} is looked through: {error}", entries.len()));
    let mut refused = Vec::new();
    let mut parts = vec![entries.as_slice()];
    while let Some(part) = parts.pop() {
        match (store::calls::insert(host, part).await, part) {
            (Ok(()), _) => {}
            (Err(_), [entry]) => refused.push(entry),
            (Err(_), _) => parts.extend([&part[..part.len() / 2], &part[part.len() / 2..]]),
        }
    }
    // A record is given up only when the database takes others, before and after, and not this one.
    if refused.len() == entries.len() {
        return Err(error);
    }
    for entry in refused {
        let Err(error) = store::calls::insert(host, std::slice::from_ref(entry)).await else { continue };
        store::schedule::last_tick_ms(host).await?;
        host.log(&format!("journal: {} cannot be stored: {error}", entry.id));
        report_lost(host, &entry.id, 1).await?;
    }
    Ok(())
}

/// Stores records.
pub async fn write(db: &impl Database, records: &[Record]) -> Result<(), PortError> {
    let entries: Vec<Entry> = records.iter().map(Entry::of).collect();
    store::calls::insert(db, &entries).await
}

/// Notes that records are lost for good, the first of them by its id.
pub async fn report_lost<H: Host>(host: &H, first_id: &str, count: u64) -> Result<(), PortError> {
    let reason = "the database did not take the record";
    store::calls::report_loss(host, &format!("loss_{first_id}"), host.now_ms(), count, reason).await
}

/// A batch as large as this is not waited for.
const BATCH: usize = 100;

/// How long a record waits for company.
const WAIT_MS: i64 = 1_000;

/// A promised flush later than this will not come.
const OVERDUE_MS: i64 = 4_000;

/// What an isolate keeps while the queue fails; with content kept, some tens of megabytes.
const MAX_WAITING: usize = 1_000;

/// A queue takes messages of 128 kB.
const MAX_MESSAGE_BYTES: usize = 110_000;
