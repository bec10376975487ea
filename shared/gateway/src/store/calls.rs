//! Calls: written once each, in batches, and read by the admin API.

use hypercare::{histogram, time::minute_of};
use serde::{Deserialize, Serialize};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use crate::{
    payload::Payload,
    ports::{Database, PortError, Statement, row, rows},
    record::{Attempt, Record},
};

/// A record on its way: the rows it becomes, as JSON that nobody reads again before the database does. So a
/// message of an earlier release is stored by a later one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// The call's id.
    pub id: String,
    /// Unix milliseconds.
    pub started_ms: i64,
    call: Box<RawValue>,
    payload: Option<Box<RawValue>>,
}

impl Entry {
    /// Of a record.
    pub fn of(record: &Record) -> Self {
        /// The record's columns, and those made of them.
        #[derive(Serialize)]
        struct CallRow<'a> {
            #[serde(flatten)]
            record: &'a Record,
            tries: usize,
            tries_limited: usize,
            fell_back: bool,
            duration_bucket: u16,
            wait_bucket: Option<u16>,
            first_chunk_bucket: Option<u16>,
            upstream_bucket: Option<u16>,
            overhead_bucket: u16,
            rate_bucket: Option<u16>,
        }
        /// A payload's columns.
        #[derive(Serialize)]
        struct PayloadRow<'a> {
            call_id: &'a str,
            tenant_id: &'a str,
            started_ms: i64,
            #[serde(flatten)]
            payload: &'a Payload,
        }
        let tries = &record.attempts;
        let target = |attempt: &Attempt| (attempt.provider.clone(), attempt.model.clone());
        let call = CallRow {
            record,
            tries: tries.len(),
            tries_limited: tries.iter().filter(|attempt| attempt.status == Some(429)).count(),
            fell_back: tries.windows(2).any(|pair| target(&pair[0]) != target(&pair[1])),
            duration_bucket: histogram::bucket(record.duration_ms),
            wait_bucket: record.wait_ms.map(histogram::bucket),
            first_chunk_bucket: record.time_to_first_chunk_ms.map(histogram::bucket),
            upstream_bucket: record.upstream_ms.map(histogram::bucket),
            overhead_bucket: histogram::bucket(record.overhead_ms),
            rate_bucket: record.rate().map(histogram::bucket),
        };
        let payload = record.payload.as_ref().map(|payload| PayloadRow {
            call_id: &record.id,
            tenant_id: &record.tenant_id,
            started_ms: record.started_ms,
            payload,
        });
        let raw = "a row is JSON";
        Self {
            id: record.id.clone(),
            started_ms: record.started_ms,
            call: to_raw_value(&call).expect(raw),
            payload: payload.map(|row| to_raw_value(&row).expect(raw)),
        }
    }

    /// How long it is, about.
    pub fn bytes(&self) -> usize {
        let payload = self.payload.as_ref().map_or(0, |payload| payload.get().len());
        self.call.get().len() + payload + ENTRY_FRAME
    }
}

/// Stores records. One that is stored already stays as it is, so a batch may come again.
pub async fn insert(db: &impl Database, entries: &[Entry]) -> Result<(), PortError> {
    let mut rest = entries;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|entry| {
            bytes += entry.bytes();
            bytes <= MAX_PARAMETER_BYTES
        });
        let (batch, others) = rest.split_at(fits.count().max(1));
        rest = others;
        let calls = batch.iter().map(|entry| entry.call.get());
        let payloads = batch.iter().filter_map(|entry| entry.payload.as_deref().map(RawValue::get));
        let mut minutes: Vec<i64> = batch.iter().map(|entry| minute_of(entry.started_ms)).collect();
        minutes.sort_unstable();
        minutes.dedup();
        let mut statements = vec![
            Statement::new(INSERT_CALLS, [json!(list_of(calls))]),
            Statement::new(MARK_DIRTY, [json!(json!(minutes).to_string())]),
        ];
        if batch.iter().any(|entry| entry.payload.is_some()) {
            statements.push(Statement::new(INSERT_PAYLOADS, [json!(list_of(payloads))]));
        }
        db.batch(statements).await?;
    }
    Ok(())
}

/// JSON texts as a JSON list.
fn list_of<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// Notes that records are known to be lost. The same report counts once.
pub async fn report_loss(
    db: &impl Database,
    id: &str,
    at_ms: i64,
    count: u64,
    reason: &str,
) -> Result<(), PortError> {
    let sql = "INSERT OR IGNORE INTO journal_losses (id, at_ms, count, reason) VALUES (?1, ?2, ?3, ?4)";
    db.batch(vec![Statement::new(sql, [json!(id), json!(at_ms), json!(count), json!(reason)])]).await?;
    Ok(())
}

/// Which calls to list. Newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this tenant's.
    pub tenant_id: Option<String>,
    /// Only this key's.
    pub key_id: Option<String>,
    /// Only with this status.
    pub status: Option<i64>,
    /// Only with this outcome.
    pub outcome: Option<String>,
    /// Only by this provider, by OpenTelemetry's name.
    pub provider_name: Option<String>,
    /// Only for this model, as requested, asked for or served.
    pub model: Option<String>,
    /// Only of this trace.
    pub trace_id: Option<String>,
    /// Only with this version of the prompt.
    pub prompt_version: Option<String>,
    /// Only from this country.
    pub country: Option<String>,
    /// Only from this network.
    pub source: Option<String>,
    /// Only with these tags, by name.
    pub tags: Vec<(String, String)>,
    /// Not before this, unix milliseconds.
    pub from_ms: Option<i64>,
    /// Before this, unix milliseconds.
    pub to_ms: Option<i64>,
    /// Where the last page ended: its last call's `started_ms` and `id`.
    pub after: Option<(i64, String)>,
    /// How many.
    pub limit: i64,
}

/// A call, as the admin API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// The stored columns.
    #[serde(flatten)]
    pub columns: serde_json::Map<String, Value>,
    /// Every try, in order.
    pub attempts: Vec<Attempt>,
}

impl Call {
    /// Where the next page begins.
    pub fn position(&self) -> Option<(i64, &str)> {
        Some((self.columns.get("started_ms")?.as_i64()?, self.columns.get("id")?.as_str()?))
    }
}

/// The calls that match, newest first.
pub async fn list(db: &impl Database, filter: &Filter) -> Result<Vec<Call>, PortError> {
    let mut sql = "SELECT * FROM calls WHERE true".to_owned();
    let mut params = Vec::new();
    let mut also = |condition: &str, values: Vec<Value>| {
        let mut condition = condition.to_owned();
        for value in values {
            params.push(value);
            condition = condition.replacen("{}", &format!("?{}", params.len()), 1);
        }
        sql.push_str(" AND ");
        sql.push_str(&condition);
    };
    let texts = [
        ("tenant_id = {}", &filter.tenant_id),
        ("key_id = {}", &filter.key_id),
        ("outcome = {}", &filter.outcome),
        ("provider_name = {}", &filter.provider_name),
        ("{} IN (request_model, target_model, response_model)", &filter.model),
        ("trace_id = {}", &filter.trace_id),
        ("prompt_version = {}", &filter.prompt_version),
        ("country = {}", &filter.country),
        ("source = {}", &filter.source),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            also(condition, vec![json!(value)]);
        }
    }
    for (condition, value) in [
        ("status = {}", filter.status),
        ("started_ms >= {}", filter.from_ms),
        ("started_ms < {}", filter.to_ms),
    ] {
        if let Some(value) = value {
            also(condition, vec![json!(value)]);
        }
    }
    for (name, value) in &filter.tags {
        also("tags ->> {} = {}", vec![json!(name), json!(value)]);
    }
    if let Some((started_ms, id)) = &filter.after {
        also("(started_ms, id) < ({}, {})", vec![json!(started_ms), json!(id)]);
    }
    sql.push_str(&format!(" ORDER BY started_ms DESC, id DESC LIMIT {}", filter.limit));
    rows::<Value>(db, Statement::new(sql, params)).await?.into_iter().map(shown).collect()
}

/// One call.
pub async fn find(db: &impl Database, id: &str) -> Result<Option<Call>, PortError> {
    let found = row::<Value>(db, Statement::new("SELECT * FROM calls WHERE id = ?1", [json!(id)])).await?;
    found.map(shown).transpose()
}

/// What is kept of a call's content.
pub async fn payload(db: &impl Database, id: &str) -> Result<Option<Value>, PortError> {
    let sql =
        "SELECT mode, request_headers, request, response, truncated FROM call_payloads WHERE call_id = ?1";
    let found = row::<Value>(db, Statement::new(sql, [json!(id)])).await?;
    Ok(found.map(|mut payload| {
        as_bool(&mut payload, "truncated");
        payload
    }))
}

/// A row, as the admin API shows it.
pub(super) fn shown(mut row: Value) -> Result<Call, PortError> {
    #[derive(Deserialize)]
    struct Texts {
        attempts: String,
        tags: Option<String>,
    }
    let unreadable =
        |error: serde_json::Error| PortError::new("database", format!("unexpected call: {error}"));
    let Texts { attempts, tags } = Texts::deserialize(&row).map_err(unreadable)?;
    let attempts = serde_json::from_str(&attempts).map_err(unreadable)?;
    row["tags"] = tags.map_or(Ok(Value::Null), |tags| serde_json::from_str(&tags)).map_err(unreadable)?;
    as_bool(&mut row, "stream");
    as_bool(&mut row, "usage_estimated");
    let Value::Object(mut columns) = row else {
        return Err(PortError::new("database", "a call is no object"));
    };
    // What is not known is an empty text in the table, so that it can be counted by.
    for name in ["tenant_id", "key_id", "request_model", "provider_name", "target_model"] {
        if columns.get(name).is_some_and(|value| value == "") {
            columns.insert(name.to_owned(), Value::Null);
        }
    }
    for internal in INTERNAL {
        columns.remove(internal);
    }
    Ok(Call { columns, attempts })
}

/// SQLite has no booleans.
fn as_bool(row: &mut Value, column: &str) {
    row[column] = Value::Bool(row[column] == json!(1));
}

/// What of a row is for counting, or is told otherwise.
const INTERNAL: [&str; 10] = [
    "attempts",
    "duration_bucket",
    "fell_back",
    "first_chunk_bucket",
    "overhead_bucket",
    "rate_bucket",
    "tries",
    "tries_limited",
    "upstream_bucket",
    "wait_bucket",
];

/// D1 takes a parameter of 2 MB; older texts say 1 MB.
const MAX_PARAMETER_BYTES: usize = 500_000;

/// What an entry's JSON has besides its rows.
const ENTRY_FRAME: usize = 120;

// Materialised, each row is made into text once; otherwise once for every column. Anybody can make calls without a key,
// so of these there is a bound; a host without memory has no other. What is stored counts in the minutes before and
// after, since records may come late, and what comes with the same statement in the order of its time, `moment`: the
// millisecond with the place in the list behind it, so that no two are the same.
const INSERT_CALLS: &str = "
    WITH listed AS MATERIALIZED (
        SELECT value, value ->> 'tenant_id' <> '' AS is_known, value ->> 'started_ms' AS ms,
               (value ->> 'started_ms') * 100000 + key AS moment
        FROM json_each(?1)),
    item AS MATERIALIZED (
        SELECT value, is_known, ms, count(*) OVER (
            PARTITION BY is_known ORDER BY moment RANGE BETWEEN 5999999999 PRECEDING AND CURRENT ROW) AS in_a_minute
        FROM listed)
    INSERT INTO calls
    (id, tenant_id, key_id, end_user_hash, operation, route, request_model, response_model,
     provider_name, target_model, attempts, status, outcome, error_type, started_ms, duration_ms,
     upstream_first_byte_ms, time_to_first_chunk_ms, overhead_ms, wait_ms, duration_bucket, wait_bucket,
     input_tokens, cache_read_input_tokens, cache_write_input_tokens, output_tokens,
     reasoning_output_tokens, usage_estimated, cost_microusd, price_version, finish_reason, stream,
     cache_status, region, release, trace_id, cache_write_1h_input_tokens, audio_input_tokens,
     image_input_tokens, audio_output_tokens, image_output_tokens, images, searches, file_searches, search_units,
     audio_ms, characters, service_tier, native_finish_reason, prompt_version, tags, upstream_ms, tries,
     tries_limited, fell_back, first_chunk_bucket, upstream_bucket, overhead_bucket, rate_bucket, country, source,
     tried, error_template, parent_span_id)
    SELECT value ->> 'id', value ->> 'tenant_id', value ->> 'key_id', value ->> 'end_user_hash',
           value ->> 'operation', value ->> 'route', value ->> 'request_model', value ->> 'response_model',
           value ->> 'provider_name', value ->> 'target_model', value ->> 'attempts', value ->> 'status',
           value ->> 'outcome', value ->> 'error_type', value ->> 'started_ms', value ->> 'duration_ms',
           value ->> 'upstream_first_byte_ms', value ->> 'time_to_first_chunk_ms', value ->> 'overhead_ms',
           value ->> 'wait_ms', value ->> 'duration_bucket', value ->> 'wait_bucket', value ->> 'input_tokens',
           value ->> 'cache_read_input_tokens', value ->> 'cache_write_input_tokens', value ->> 'output_tokens',
           value ->> 'reasoning_output_tokens', value ->> 'usage_estimated', value ->> 'cost_microusd',
           value ->> 'price_version', value ->> 'finish_reason', value ->> 'stream', value ->> 'cache_status',
           value ->> 'region', value ->> 'release', value ->> 'trace_id',
           value ->> 'cache_write_1h_input_tokens', value ->> 'audio_input_tokens', value ->> 'image_input_tokens',
           value ->> 'audio_output_tokens', value ->> 'image_output_tokens', value ->> 'images',
           value ->> 'searches', value ->> 'file_searches', value ->> 'search_units', value ->> 'audio_ms',
           value ->> 'characters', value ->> 'service_tier', value ->> 'native_finish_reason',
           value ->> 'prompt_version', value ->> 'tags', value ->> 'upstream_ms', value ->> 'tries',
           value ->> 'tries_limited', value ->> 'fell_back', value ->> 'first_chunk_bucket',
           value ->> 'upstream_bucket', value ->> 'overhead_bucket', value ->> 'rate_bucket', value ->> 'country',
           value ->> 'source', value ->> 'tried', value ->> 'error_template', value ->> 'parent_span_id'
    FROM item
    WHERE is_known OR in_a_minute <= 600 AND in_a_minute + (SELECT count(*) FROM (
        SELECT 1 FROM calls
        WHERE tenant_id = '' AND started_ms > ms - 60000 AND started_ms < ms + 60000
        LIMIT 600)) <= 600
    ON CONFLICT (id) DO NOTHING";

const INSERT_PAYLOADS: &str = "
    WITH item AS MATERIALIZED (SELECT value FROM json_each(?1))
    INSERT INTO call_payloads
    (call_id, tenant_id, started_ms, mode, request_headers, request, response, truncated)
    SELECT value ->> 'call_id', value ->> 'tenant_id', value ->> 'started_ms', value ->> 'mode',
           value ->> 'request_headers', value ->> 'request', value ->> 'response', value ->> 'truncated'
    FROM item WHERE true
    ON CONFLICT (call_id) DO NOTHING";

/// Their minutes must be counted again.
const MARK_DIRTY: &str =
    "INSERT OR IGNORE INTO dirty_buckets (grain, bucket_ms) SELECT 'minute', value FROM json_each(?1)";
