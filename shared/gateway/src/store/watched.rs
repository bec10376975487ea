//! What alert rules look at. Rules that need the same things are served by one statement, and a series is
//! one row however far back it goes.

use hypercare::{
    measure::{Column, Timing},
    time::DAY_MS,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::rollups::Grain;
use crate::ports::{Database, PortError, Statement, read_all, rows};

/// Ranges of buckets, each from one to another.
pub type Spans = Vec<(i64, i64)>;

/// What to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Counts: in buckets of this grain, from this one to that one.
    pub counts: Vec<(Grain, i64, i64)>,
    /// Of these columns.
    pub columns: Vec<Column>,
    /// The same counts by provider.
    pub providers: Vec<(Grain, i64, i64)>,
    /// The parts of the calls of each of these hours.
    pub parts: Vec<i64>,
    /// Errors, in the hours from this one to that one, of those that were met since a third.
    pub faults: Option<(i64, i64, i64)>,
    /// What providers answered for the first time in these hours, from one to another.
    pub news: Option<(i64, i64)>,
    /// In which minutes there were calls at all, from this one to that one.
    pub activity: Option<(i64, i64)>,
    /// Records lost, from this minute to that one.
    pub losses: Option<(i64, i64)>,
    /// Histograms of this timing, each over the buckets of this grain from this one to that one.
    pub histograms: Vec<(Timing, Grain, Spans)>,
    /// Which models were called, in the hours from this one to that one.
    pub models: Option<(i64, i64)>,
    /// What was refused by network, each from one moment to before another.
    pub denied: Spans,
    /// Where keys are called from, by kind, of those called from somewhere since this moment that they were not called
    /// from before, and known at that one.
    pub sources: Option<(Vec<&'static str>, i64, i64)>,
    /// How often keys were called: in these hours, on these days, of those called at least so often in these hours.
    pub keys: Option<(Vec<i64>, Vec<i64>, i64)>,
    /// How large the database was from this day on.
    pub sizes: Option<i64>,
}

/// What there was.
#[derive(Debug, Default)]
pub struct Found {
    /// For each of the counts wanted.
    pub counts: Vec<Vec<Counts>>,
    /// When there were calls.
    pub activity: Vec<Activity>,
    /// Records lost, minute by minute.
    pub losses: Vec<LossMinute>,
    /// For each timing and grain wanted.
    pub histograms: Vec<Vec<Span>>,
    /// Models that were called.
    pub models: Vec<Model>,
    /// What was refused.
    pub denied: Vec<Denied>,
    /// Where keys are called from.
    pub sources: Vec<KeySources>,
    /// How often keys were called.
    pub keys: Vec<KeyUse>,
    /// How large the database was.
    pub sizes: Vec<Size>,
    /// For each of the counts by provider.
    pub providers: Vec<Vec<Counts>>,
    /// Parts of the calls.
    pub parts: Vec<Part>,
    /// Errors.
    pub faults: Vec<Fault>,
    /// What was seen for the first time.
    pub news: Vec<News>,
}

/// One part of a tenant's calls: all to one model, of one key, from one region.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Part {
    /// What the side it belongs to goes by.
    pub side: String,
    /// Whose calls.
    pub tenant_id: String,
    /// What they have in common, `model=openai/gpt-5`; empty: all of them.
    pub part: String,
    /// All of them.
    pub calls: i64,
    /// By how they ended.
    pub aborted: i64,
    /// By how they ended.
    pub client_errors: i64,
    /// By how they ended.
    pub errors: i64,
    /// By how they ended.
    pub rate_limited: i64,
}

impl Part {
    /// Those that ended like this.
    pub fn ended(&self, column: Column) -> i64 {
        match column.name() {
            "aborted" => self.aborted,
            "client_errors" => self.client_errors,
            "rate_limited" => self.rate_limited,
            _ => self.errors,
        }
    }
}

/// One error, hour by hour.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Fault {
    /// The error.
    pub fault: String,
    /// JSON list: hours since the epoch, and how many calls ended so.
    pub hours: String,
}

/// What a provider answered for the first time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct News {
    /// The provider, the model, and what it is.
    pub news: String,
    /// The hour.
    pub first_ms: i64,
    /// How many calls there were of it.
    pub calls: i64,
    /// What was known before, in a few words.
    pub known: String,
}

/// The calls of one tenant to one route.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Counts {
    /// Whose calls.
    pub tenant_id: String,
    /// Which route.
    pub route: String,
    /// JSON list: how many buckets after the first one wanted, and the count of each column.
    pub buckets: String,
}

/// When one tenant called one route.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Activity {
    /// Whose calls.
    pub tenant_id: String,
    /// Which route.
    pub route: String,
    /// JSON list: how many minutes after the first one wanted.
    pub minutes: String,
}

/// Records lost in one minute.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LossMinute {
    /// The minute.
    pub minute_ms: i64,
    /// How many.
    pub lost: i64,
}

/// The histogram of one tenant's calls to one route over some minutes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Span {
    /// Which of the spans wanted.
    pub span: i64,
    /// Whose calls.
    pub tenant_id: String,
    /// Which route.
    pub route: String,
    /// JSON.
    pub histogram: String,
}

/// A model that one tenant called over one route.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Model {
    /// Whose calls.
    pub tenant_id: String,
    /// Which route.
    pub route: String,
    /// Whose model.
    pub provider_name: String,
    /// Which model.
    pub model: String,
    /// How many calls.
    pub calls: i64,
}

/// What was refused of one network's calls with keys of one tenant, or of nobody.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Denied {
    /// Which of the spans wanted.
    pub span: i64,
    /// Whose calls.
    pub tenant_id: String,
    /// From where.
    pub source: String,
    /// How many.
    pub calls: i64,
    /// How many different things they tried.
    pub targets: i64,
    /// What they tried most.
    pub target: String,
    /// How often.
    pub most: i64,
    /// The country of one of them.
    pub country: Option<String>,
}

/// Where one key is called from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KeySources {
    /// Whose key.
    pub tenant_id: String,
    /// Which key.
    pub key_id: String,
    /// `country` or `network`.
    pub kind: String,
    /// JSON list: name, when first, how many calls.
    pub sources: String,
}

/// How often one key was called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KeyUse {
    /// Whose key.
    pub tenant_id: String,
    /// Which key.
    pub key_id: String,
    /// JSON list: whether it is an hour, the bucket, how many calls.
    pub buckets: String,
}

/// How large the database was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Size {
    /// The day.
    pub day_ms: i64,
    /// When it ended, or now.
    pub bytes: i64,
}

/// Reads what is wanted, all of one moment.
pub async fn read(db: &impl Database, wanted: &Wanted) -> Result<Found, PortError> {
    let mut statements = Vec::new();
    for (grain, from_ms, to_ms) in &wanted.counts {
        statements.push(Statement::new(
            counts(*grain, &wanted.columns, ("tenant_id", "route", "true")),
            [json!(from_ms), json!(to_ms)],
        ));
    }
    for (grain, from_ms, to_ms) in &wanted.providers {
        let by = ("''", "provider_name", "provider_name <> ''");
        statements.push(Statement::new(counts(*grain, &wanted.columns, by), [json!(from_ms), json!(to_ms)]));
    }
    if !wanted.parts.is_empty() {
        let hours =
            wanted.parts.iter().map(|hour_ms| (hour_ms.to_string(), String::new(), *hour_ms, *hour_ms));
        statements.push(parts(Grain::Hour, hours));
    }
    if let Some((from_ms, to_ms, since_ms)) = wanted.faults {
        statements.push(Statement::new(FAULTS, [json!(from_ms), json!(to_ms), json!(since_ms)]));
    }
    if let Some((from_ms, to_ms)) = wanted.news {
        statements.push(Statement::new(NEWS, [json!(from_ms), json!(to_ms), json!(KNOWN_MS)]));
    }
    if let Some((from_ms, to_ms)) = wanted.activity {
        statements.push(Statement::new(ACTIVITY, [json!(from_ms), json!(to_ms)]));
    }
    if let Some((from_ms, to_ms)) = wanted.losses {
        statements.push(Statement::new(LOSSES, [json!(from_ms), json!(to_ms)]));
    }
    for (timing, grain, spans) in &wanted.histograms {
        statements.push(Statement::new(histograms(*timing, *grain), [json!(json!(spans).to_string())]));
    }
    if let Some((from_ms, to_ms)) = wanted.models {
        statements.push(Statement::new(MODELS, [json!(from_ms), json!(to_ms)]));
    }
    let list = |list: Value| json!(list.to_string());
    if !wanted.denied.is_empty() {
        let most = MOST_NETWORKS * wanted.denied.len();
        statements.push(Statement::new(DENIED, [list(json!(wanted.denied)), json!(most)]));
    }
    if let Some((kinds, since_ms, known_ms)) = &wanted.sources {
        statements.push(Statement::new(SOURCES, [list(json!(kinds)), json!(since_ms), json!(known_ms)]));
    }
    if let Some((hours, days, least)) = &wanted.keys {
        statements.push(Statement::new(KEYS, [list(json!(hours)), list(json!(days)), json!(least)]));
    }
    if let Some(from_ms) = wanted.sizes {
        statements.push(Statement::new(SIZES, [json!(from_ms)]));
    }
    if statements.is_empty() {
        return Ok(Found::default());
    }
    let mut results = db.batch(statements).await?.into_iter();
    let mut next =
        || results.next().ok_or_else(|| PortError::new("database", "a statement without a result"));
    let mut found = Found::default();
    for _ in &wanted.counts {
        found.counts.push(read_all(next()?)?);
    }
    for _ in &wanted.providers {
        found.providers.push(read_all(next()?)?);
    }
    if !wanted.parts.is_empty() {
        found.parts = read_all(next()?)?;
    }
    if wanted.faults.is_some() {
        found.faults = read_all(next()?)?;
    }
    if wanted.news.is_some() {
        found.news = read_all(next()?)?;
    }
    if wanted.activity.is_some() {
        found.activity = read_all(next()?)?;
    }
    if wanted.losses.is_some() {
        found.losses = read_all(next()?)?;
    }
    for _ in &wanted.histograms {
        found.histograms.push(read_all(next()?)?);
    }
    if wanted.models.is_some() {
        found.models = read_all(next()?)?;
    }
    if !wanted.denied.is_empty() {
        found.denied = read_all(next()?)?;
    }
    if wanted.sources.is_some() {
        found.sources = read_all(next()?)?;
    }
    if wanted.keys.is_some() {
        found.keys = read_all(next()?)?;
    }
    if wanted.sizes.is_some() {
        found.sizes = read_all(next()?)?;
    }
    Ok(found)
}

/// The parts of the calls of some times, each told apart by a name: of one tenant, or of every one of them.
pub async fn parts_of(
    db: &impl Database,
    times: impl Iterator<Item = (String, String, i64, i64)>,
) -> Result<Vec<Part>, PortError> {
    rows(db, parts(Grain::Minute, times)).await
}

fn parts(grain: Grain, times: impl Iterator<Item = (String, String, i64, i64)>) -> Statement {
    let times: Vec<_> = times.collect();
    let grain = grain.word();
    let side = |table: &str| {
        format!(
            "FROM json_each(?1) AS side CROSS JOIN {table} ON grain = '{grain}'
             AND bucket_ms BETWEEN side.value ->> 2 AND side.value ->> 3
             AND (side.value ->> 1 = '' OR tenant_id = side.value ->> 1) AND tenant_id <> ''"
        )
    };
    let ends = ["aborted", "client_error", "error", "rate_limited"];
    let ends = ends.map(|word| format!("CASE outcome WHEN '{word}' THEN calls ELSE 0 END"));
    let (rollups, breakdowns) = (side("rollups"), side("breakdowns"));
    Statement::new(
        format!(
            "WITH counted AS MATERIALIZED (
                 SELECT side.value ->> 0 AS side, tenant_id, provider_name, model, calls, {} AS aborted,
                        {} AS client_errors, {} AS errors, {} AS rate_limited {rollups})
             SELECT side, tenant_id, part, sum(calls) AS calls, sum(aborted) AS aborted,
                    sum(client_errors) AS client_errors, sum(errors) AS errors, sum(rate_limited) AS rate_limited
             FROM (
                 SELECT side, tenant_id, '' AS part, calls, aborted, client_errors, errors, rate_limited FROM counted
                 UNION ALL
                 SELECT side, tenant_id, 'provider=' || provider_name, calls, aborted, client_errors, errors,
                        rate_limited
                 FROM counted WHERE provider_name NOT IN ('', 'other')
                 UNION ALL
                 SELECT side, tenant_id, 'model=' || provider_name || '/' || model, calls, aborted, client_errors,
                        errors, rate_limited
                 FROM counted WHERE model NOT IN ('', 'other')
                 UNION ALL
                 SELECT side.value ->> 0, tenant_id, iif(dimension = 'key_id', 'key', dimension) || '=' || label,
                        calls, aborted, client_errors, errors, rate_limited
                 {breakdowns} AND dimension <> 'error_type' AND label <> 'other')
             GROUP BY side, tenant_id, part",
            ends[0], ends[1], ends[2], ends[3]
        ),
        [json!(json!(times).to_string())],
    )
}

/// D1 takes every number for a REAL, so a difference of two would be one as well.
fn counts(grain: Grain, columns: &[Column], (tenant, route, which): (&str, &str, &str)) -> String {
    let (word, width_ms) = (grain.word(), grain.width_ms());
    let sums: Vec<String> = columns.iter().map(|column| sum(*column)).collect();
    let sums = sums.join(", ");
    format!(
        "SELECT tenant_id, route, json_group_array(json(counted)) AS buckets FROM (
             SELECT {tenant} AS tenant_id, {route} AS route,
                    json_array(CAST(bucket_ms - ?1 AS INTEGER) / {width_ms}, {sums}) AS counted
             FROM rollups WHERE grain = '{word}' AND bucket_ms BETWEEN ?1 AND ?2 AND {which}
             GROUP BY {tenant}, {route}, bucket_ms)
         GROUP BY tenant_id, route"
    )
}

fn sum(column: Column) -> String {
    let of = |outcome: &str| format!("sum(CASE outcome WHEN '{outcome}' THEN calls ELSE 0 END)");
    match column.name() {
        "aborted" => of("aborted"),
        "client_errors" => of("client_error"),
        "errors" => of("error"),
        // Counted elsewhere.
        "lost" => "0".to_owned(),
        "rate_limited" => of("rate_limited"),
        name => format!("sum({name})"),
    }
}

fn histograms(timing: Timing, grain: Grain) -> String {
    let grain = grain.word();
    let column = match timing {
        Timing::Duration => "duration_histogram",
        Timing::Wait => "wait_histogram",
    };
    format!(
        "SELECT span, tenant_id, route, json_group_object(bar, n) AS histogram FROM (
             SELECT spans.key AS span, tenant_id, route, CAST(bars.key AS INTEGER) AS bar, sum(bars.value) AS n
             FROM json_each(?1) AS spans
                  CROSS JOIN rollups ON grain = '{grain}'
                       AND bucket_ms BETWEEN spans.value ->> 0 AND spans.value ->> 1
                  CROSS JOIN json_each(rollups.{column}) AS bars
             GROUP BY span, tenant_id, route, bar)
         GROUP BY span, tenant_id, route"
    )
}

/// Of an error whatever was counted: how long it is known matters as well.
const FAULTS: &str = "
    SELECT fault, json_group_array(json_array(CAST(hour_ms AS INTEGER) / 3600000, calls)) AS hours
    FROM (SELECT DISTINCT fault AS met FROM faults WHERE hour_ms BETWEEN ?3 AND ?2)
         CROSS JOIN faults ON fault = met AND hour_ms BETWEEN ?1 AND ?2
    GROUP BY fault";

/// A model that answers for the first time is no news of its provider. One that has a new word for each call is none
/// at all.
const NEWS: &str = "
    SELECT n.provider_name
           || CASE n.kind WHEN 'served_model' THEN ' ' || n.model || ' served as ' || n.value
                          WHEN 'finish_reason' THEN ' ' || n.model || ' ends with ' || n.value
                          ELSE ' fails with ' || n.value END AS news,
           n.first_ms, n.calls, group_concat(k.value, ', ') AS known
    FROM traits AS n INDEXED BY traits_by_first
         JOIN traits AS k ON k.provider_name = n.provider_name AND k.model = n.model AND k.kind = n.kind
              AND k.first_ms < n.first_ms
    WHERE n.first_ms BETWEEN ?1 AND ?2
    GROUP BY n.provider_name, n.model, n.kind, n.value
    HAVING min(k.first_ms) <= n.first_ms - ?3 AND count(*) <= 30";

/// For how long a provider's answers must be known before something about them can be new.
const KNOWN_MS: i64 = 7 * DAY_MS;

/// Nobody misses calls without a key, nor those of a tenant that was shut out.
const ACTIVITY: &str = "
    SELECT tenant_id, route, json_group_array(CAST(bucket_ms - ?1 AS INTEGER) / 60000) AS minutes
    FROM (SELECT DISTINCT tenant_id, route, bucket_ms FROM rollups
          WHERE grain = 'minute' AND bucket_ms BETWEEN ?1 AND ?2)
    WHERE tenant_id IN (SELECT id FROM tenants WHERE disabled_ms IS NULL)
    GROUP BY tenant_id, route";

const LOSSES: &str = "
    SELECT at_ms - at_ms % 60000 AS minute_ms, sum(count) AS lost FROM journal_losses
    WHERE at_ms >= ?1 AND at_ms < ?2 + 60000 GROUP BY minute_ms";

/// What a provider refused is another matter, and so is who is refused anyway. The condition on the status is the
/// index's. Of several columns beside one maximum SQLite takes those of its row.
const DENIED: &str = "
    SELECT span, tenant_id, source, sum(n) AS calls, count(*) AS targets, max(n) AS most, target, country FROM (
        SELECT spans.key AS span, tenant_id, coalesce(source, 'unknown') AS source,
               CASE WHEN key_id = '' THEN 'key ' || coalesce(tried, '') ELSE key_id || ' for ' || request_model END AS target,
               country, count(*) AS n
        FROM json_each(?1) AS spans
             CROSS JOIN calls ON status IN (401, 403)
                  AND started_ms >= spans.value ->> 0 AND started_ms < spans.value ->> 1
        WHERE provider_name = '' AND error_type IS NOT 'blocked'
        GROUP BY span, tenant_id, coalesce(source, 'unknown'), target)
    GROUP BY span, tenant_id, source ORDER BY calls DESC LIMIT ?2";

const SOURCES: &str = "
    SELECT tenant_id, key_id, kind, json_group_array(json_array(source, first_ms, calls)) AS sources
    FROM (SELECT DISTINCT tenant_id, key_id, kind FROM key_sources
          WHERE first_ms > ?2 AND kind IN (SELECT value FROM json_each(?1)) LIMIT 500) AS fresh
         CROSS JOIN key_sources USING (tenant_id, key_id, kind)
    GROUP BY tenant_id, key_id, kind HAVING min(first_ms) <= ?3";

const KEYS: &str = "
    SELECT tenant_id, key_id, json_group_array(json_array(is_hour, bucket_ms, calls)) AS buckets FROM (
        SELECT tenant_id, label AS key_id, 1 AS is_hour, bucket_ms, calls
        FROM json_each(?1) AS bucket
             CROSS JOIN breakdowns ON grain = 'hour' AND bucket_ms = bucket.value AND dimension = 'key_id'
        UNION ALL
        SELECT tenant_id, label, 0, bucket_ms, calls
        FROM json_each(?2) AS bucket
             CROSS JOIN breakdowns ON grain = 'day' AND bucket_ms = bucket.value AND dimension = 'key_id')
    WHERE key_id <> 'other'
    GROUP BY tenant_id, key_id HAVING sum(is_hour * calls) >= ?3";

const SIZES: &str = "SELECT day_ms, bytes FROM database_sizes WHERE day_ms >= ?1 ORDER BY day_ms";

/// How many networks are looked at, those first of which most was refused.
const MOST_NETWORKS: usize = 100;

const MODELS: &str = "
    SELECT tenant_id, route, provider_name, model, sum(calls) AS calls FROM rollups
    WHERE grain = 'hour' AND bucket_ms BETWEEN ?1 AND ?2 AND model <> ''
    GROUP BY tenant_id, route, provider_name, model";
