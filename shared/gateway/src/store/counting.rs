//! How calls are counted, as SQL: from calls to rows of counts, from finer rows to coarser ones, and from any rows to
//! what somebody asks for.
//!
//! The same sums and histograms are kept in two families of rows. Each is bounded: of what a tenant's calls can be told
//! apart by, the [`MOST_VALUES`] largest of a bucket have rows, and the rest is counted as [`OTHER`]. Which those are
//! follows from the calls alone, so counting again gives the same rows.

use serde_json::{Map, Value, json};

use super::rollups::Grain;

/// Rows that tell calls apart by the same things.
#[derive(Debug)]
pub struct Family {
    /// Where they are.
    pub table: &'static str,
    /// The columns that tell a bucket's rows apart.
    keys: &'static [&'static str],
    /// Within what of a bucket there is a bound.
    within: &'static [&'static str],
    /// What is bounded, together.
    bounded: &'static [&'static str],
}

/// Calls by tenant, route, provider, model and outcome.
pub const ROLLUPS: Family = Family {
    table: "rollups",
    keys: &["tenant_id", "route", "provider_name", "model", "outcome"],
    within: &["tenant_id"],
    bounded: &["provider_name", "model"],
};

/// Calls by one thing more at a time.
pub const BREAKDOWNS: Family = Family {
    table: "breakdowns",
    keys: &["dimension", "tenant_id", "label"],
    within: &["dimension", "tenant_id"],
    bounded: &["label"],
};

/// How many values a tenant has in a bucket: of provider and model together, and of each other dimension.
pub const MOST_VALUES: usize = 100;

/// What the rest is called.
pub const OTHER: &str = "other";

impl Family {
    /// Statements that count buckets of this grain from their calls. Of an hour these make minutes first, so that the
    /// hour is what it would be if its minutes had been kept. ?1 is the list of buckets.
    pub fn count_calls(&self, grain: Grain) -> [String; 2] {
        let minutes = self.counted(&self.calls(grain, true));
        if grain == Grain::Minute {
            return [self.clear(grain, &self.calls(grain, false)), self.overwrite(grain, &minutes)];
        }
        let source = format!(
            "SELECT bucket_ms - bucket_ms % {width_ms} AS bucket_ms, {columns} FROM ({minutes})",
            width_ms = grain.width_ms(),
            columns = self.columns(),
        );
        [self.clear(grain, &source), self.overwrite(grain, &self.merged(&source, &self.all_keys(), true))]
    }

    /// Statements that count buckets of this grain from those of the next finer one. ?1 is the list of buckets.
    pub fn count_finer(&self, grain: Grain, finer: Grain) -> [String; 2] {
        let source = format!(
            "SELECT bucket.value AS bucket_ms, {columns} FROM json_each(?1) AS bucket CROSS JOIN {table}
             ON grain = '{finer}' AND {table}.bucket_ms >= bucket.value
             AND {table}.bucket_ms < bucket.value + {width_ms}",
            columns = self.columns(),
            table = self.table,
            finer = finer.word(),
            width_ms = grain.width_ms(),
        );
        [self.clear(grain, &source), self.overwrite(grain, &self.merged(&source, &self.all_keys(), true))]
    }

    /// A query that merges rows of this family. The columns `keys` tell the results apart.
    pub fn merge(&self, source: &str, keys: &str) -> String {
        self.merged(source, keys, false)
    }

    /// Every column of a row beside its grain and bucket.
    pub fn columns(&self) -> String {
        [self.keys.join(", "), self.counts()].join(", ")
    }

    fn all_keys(&self) -> String {
        format!("bucket_ms, {}", self.keys.join(", "))
    }

    fn sums(&self) -> Vec<&'static str> {
        let outcomes = if self.tells_outcomes() { &OUTCOMES[..] } else { &[] };
        outcomes.iter().chain(&SUMS).map(|(column, _)| *column).collect()
    }

    fn counts(&self) -> String {
        self.sums().into_iter().chain(HISTOGRAMS.map(|(column, _)| column)).collect::<Vec<_>>().join(", ")
    }

    /// Whether how calls ended is told by columns, not by a key.
    fn tells_outcomes(&self) -> bool {
        !self.keys.contains(&"outcome")
    }

    /// The calls of these buckets, each as often as it has rows, with its minute; `counts` with what is counted.
    fn calls(&self, grain: Grain, counts: bool) -> String {
        let width_ms = grain.width_ms();
        let counted = |(column, of_call): &(&str, &str)| format!(", {of_call} AS {column}");
        let mut of_call: String = "1 AS calls".to_owned();
        let mut names = "calls".to_owned();
        if counts {
            let sums = SUMS[1..].iter().map(counted);
            let outcomes =
                OUTCOMES.iter().map(|(column, outcome)| format!(", outcome = '{outcome}' AS {column}"));
            let buckets = HISTOGRAMS.iter().map(|(_, bucket)| format!(", {bucket}"));
            of_call.extend(sums.chain(outcomes).chain(buckets));
            let columns = SUMS[1..].iter().chain(&OUTCOMES).map(|(column, _)| *column);
            names.extend(columns.chain(HISTOGRAMS.map(|(_, bucket)| bucket)).map(|name| format!(", {name}")));
        }
        let calls = |keys: &str| {
            format!(
                "SELECT started_ms - started_ms % 60000 AS bucket_ms, tenant_id, {keys}, {of_call}
                 FROM json_each(?1) AS bucket CROSS JOIN calls
                 ON calls.started_ms >= bucket.value AND calls.started_ms < bucket.value + {width_ms}"
            )
        };
        if !self.tells_outcomes() {
            // A model no provider has been seen to know is any text a caller made up.
            return calls(
                "route, provider_name, CASE WHEN outcome IN ('ok', 'error', 'rate_limited')
                 OR response_model IS NOT NULL THEN target_model ELSE '' END AS model, outcome",
            );
        }
        // As an object: a compound of queries has five parts at most on D1.
        let named =
            DIMENSIONS.iter().map(|dimension| format!("'{dimension}', {dimension}")).collect::<Vec<_>>();
        format!(
            "WITH base AS MATERIALIZED ({base})
             SELECT bucket_ms, named.key AS dimension, tenant_id, named.value AS label, {names}
             FROM base CROSS JOIN json_each(base.named) AS named WHERE named.value <> ''
             UNION ALL
             SELECT bucket_ms, 'tag.' || tag.key, tenant_id, tag.value, {names}
             FROM base CROSS JOIN json_each(base.tags) AS tag",
            base = calls(&format!("json_object({}) AS named, tags", named.join(", "))),
        )
    }

    /// Rows from calls.
    fn counted(&self, calls: &str) -> String {
        let columns: Vec<&str> =
            self.sums().into_iter().chain(HISTOGRAMS.map(|(_, bucket)| bucket)).collect();
        let keys = self.all_keys();
        let bars = |(_, bucket): &(&str, &str)| {
            format!(
                "SELECT {keys}, {bucket} AS bar, count(*) AS n FROM source
                 WHERE {bucket} IS NOT NULL GROUP BY {keys}, bar ORDER BY {keys}, bar"
            )
        };
        self.grouped(&self.folded(calls, &columns.join(", ")), &keys, "", bars)
    }

    /// Rows from rows; `bounded` if they are to be stored.
    fn merged(&self, source: &str, keys: &str, bounded: bool) -> String {
        let bars = |(column, _): &(&str, &str)| {
            format!(
                "SELECT {keys}, CAST(bars.key AS INTEGER) AS bar, sum(bars.value) AS n
                 FROM source CROSS JOIN json_each(source.{column}) AS bars
                 GROUP BY {keys}, bar ORDER BY {keys}, bar"
            )
        };
        if bounded {
            return self.grouped(&self.folded(source, &self.counts()), keys, "", bars);
        }
        let outcomes: String = if self.tells_outcomes() {
            String::new()
        } else {
            let sum = |(column, outcome): &(&str, &str)| {
                format!(", sum(CASE outcome WHEN '{outcome}' THEN calls ELSE 0 END) AS {column}")
            };
            OUTCOMES.iter().map(sum).collect()
        };
        self.grouped(&format!("source AS MATERIALIZED ({source})"), keys, &outcomes, bars)
    }

    /// The table `source`, in which what is over the bound has become the rest.
    fn folded(&self, rows: &str, columns: &str) -> String {
        let part = format!("bucket_ms, {}", self.within.join(", "));
        let label = self.bounded.join(", ");
        let same: Vec<String> = std::iter::once(&"bucket_ms")
            .chain(self.within)
            .chain(self.bounded)
            .map(|column| format!("kept.{column} = unbounded.{column}"))
            .collect();
        let keys = self.keys.iter().map(|key| match self.bounded.contains(key) {
            true => format!("CASE WHEN kept.place IS NULL THEN '{OTHER}' ELSE unbounded.{key} END AS {key}"),
            false => format!("unbounded.{key}"),
        });
        format!(
            "unbounded AS MATERIALIZED ({rows}),
             ranked AS (SELECT {part}, {label},
                               row_number() OVER (PARTITION BY {part} ORDER BY sum(calls) DESC, {label}) AS place
                        FROM unbounded WHERE {first} <> '{OTHER}' GROUP BY {part}, {label}),
             kept AS MATERIALIZED (SELECT * FROM ranked WHERE place <= {MOST_VALUES}),
             source AS MATERIALIZED (SELECT unbounded.bucket_ms, {keys}, {columns}
                                     FROM unbounded LEFT JOIN kept ON {same})",
            first = self.bounded[0],
            keys = keys.collect::<Vec<_>>().join(", "),
            same = same.join(" AND "),
        )
    }

    /// Sums and histograms of `source`; `bars` counts the bars of one histogram.
    fn grouped(&self, with: &str, keys: &str, more: &str, bars: impl Fn(&(&str, &str)) -> String) -> String {
        let sums: Vec<String> =
            self.sums().into_iter().map(|column| format!("sum({column}) AS {column}")).collect();
        let mut sql = format!(
            "WITH {with}, sums AS (SELECT {keys}, {}{more} FROM source GROUP BY {keys})",
            sums.join(", ")
        );
        let (mut columns, mut joins) = (String::new(), String::new());
        for histogram in &HISTOGRAMS {
            let (column, bucket) = histogram;
            // Ordered, so that counting again gives the same bytes.
            sql += &format!(
                ", {bucket}s AS (SELECT {keys}, json_group_object(bar, n) AS {column} FROM ({}) GROUP BY {keys})",
                bars(histogram)
            );
            columns += &format!(", coalesce({column}, '{{}}') AS {column}");
            joins += &format!(" LEFT JOIN {bucket}s USING ({keys})");
        }
        format!("{sql} SELECT sums.*{columns} FROM sums{joins}")
    }

    /// Removes what of these buckets could be over the bound: which rows it has may have changed, and all of them are
    /// about to be written.
    fn clear(&self, grain: Grain, source: &str) -> String {
        let part = format!("bucket_ms, {}", self.within.join(", "));
        format!(
            "DELETE FROM {table} WHERE grain = '{grain}' AND bucket_ms IN (SELECT value FROM json_each(?1))
             AND ({part}) IN (SELECT {part} FROM ({source}) GROUP BY {part}
                              HAVING count(DISTINCT {label}) > {MOST_VALUES})",
            table = self.table,
            grain = grain.word(),
            label = self.bounded.join(" || '/' || "),
        )
    }

    /// Writes rows over those of their grain.
    fn overwrite(&self, grain: Grain, rows: &str) -> String {
        let (table, keys, counts) = (self.table, self.all_keys(), self.counts());
        let columns = |of: &str| counts.split(", ").map(|column| format!("{of}{column}")).collect::<Vec<_>>();
        let set = counts.split(", ").map(|column| format!("{column} = excluded.{column}"));
        format!(
            "INSERT INTO {table} (grain, {keys}, {counts})
             SELECT '{grain}', {keys}, {counts} FROM ({rows}) WHERE true
             ON CONFLICT (grain, {keys}) DO UPDATE SET {set} WHERE ({old}) <> ({new})",
            grain = grain.word(),
            set = set.collect::<Vec<_>>().join(", "),
            old = columns(&format!("{table}.")).join(", "),
            new = columns("excluded.").join(", "),
        )
    }
}

/// Every count that a merged row has, of no calls.
pub fn nothing() -> Map<String, Value> {
    let sums = SUMS.iter().chain(&OUTCOMES).map(|(column, _)| ((*column).to_owned(), json!(0)));
    sums.chain(HISTOGRAMS.iter().map(|(column, _)| ((*column).to_owned(), json!("{}")))).collect()
}

/// What is added up, and what of it a call is. Calls come first.
const SUMS: [(&str, &str); 32] = [
    ("calls", "1"),
    ("streams", "stream"),
    (
        "without_usage",
        "stream = 1 AND outcome = 'ok' AND provider_name NOT IN ('', 'hypergate.demo')
         AND (output_tokens IS NULL OR usage_estimated = 1)",
    ),
    ("duration_sum_ms", "duration_ms"),
    ("wait_count", "wait_ms IS NOT NULL"),
    ("wait_sum_ms", "coalesce(wait_ms, 0)"),
    ("overhead_sum_ms", "overhead_ms"),
    ("first_chunk_count", "time_to_first_chunk_ms IS NOT NULL"),
    ("first_chunk_sum_ms", "coalesce(time_to_first_chunk_ms, 0)"),
    ("upstream_count", "upstream_ms IS NOT NULL"),
    ("upstream_sum_ms", "coalesce(upstream_ms, 0)"),
    ("rated_tokens", "CASE WHEN rate_bucket IS NULL THEN 0 ELSE output_tokens END"),
    ("rated_ms", "CASE WHEN rate_bucket IS NULL THEN 0 ELSE duration_ms - time_to_first_chunk_ms END"),
    ("input_tokens", "coalesce(input_tokens, 0)"),
    ("cache_read_input_tokens", "coalesce(cache_read_input_tokens, 0)"),
    ("cache_write_input_tokens", "coalesce(cache_write_input_tokens, 0)"),
    ("cache_write_1h_input_tokens", "coalesce(cache_write_1h_input_tokens, 0)"),
    ("audio_input_tokens", "coalesce(audio_input_tokens, 0)"),
    ("image_input_tokens", "coalesce(image_input_tokens, 0)"),
    ("output_tokens", "coalesce(output_tokens, 0)"),
    ("reasoning_output_tokens", "coalesce(reasoning_output_tokens, 0)"),
    ("audio_output_tokens", "coalesce(audio_output_tokens, 0)"),
    ("image_output_tokens", "coalesce(image_output_tokens, 0)"),
    ("cost_microusd", "coalesce(cost_microusd, 0)"),
    // A provider answered, at least the beginning of something that is paid for.
    (
        "without_cost",
        "cost_microusd IS NULL AND provider_name NOT IN ('', 'hypergate.demo')
         AND operation NOT IN ('count_tokens', 'create_batch', 'create_file', 'file_content')
         AND (outcome = 'ok' OR time_to_first_chunk_ms IS NOT NULL)",
    ),
    ("cache_hits", "cache_status IN ('hit', 'stale')"),
    ("cache_misses", "cache_status = 'miss'"),
    // No target was asked.
    ("limited_here", "outcome = 'rate_limited' AND provider_name = ''"),
    ("limited_tries", "coalesce(tries_limited, 0)"),
    ("retries", "max(coalesce(tries, 0) - 1, 0)"),
    ("fallbacks", "coalesce(fell_back, 0)"),
    ("denied", "status IN (401, 403) AND provider_name = ''"),
];

/// How calls ended, beside well.
const OUTCOMES: [(&str, &str); 4] = [
    ("errors", "error"),
    ("client_errors", "client_error"),
    ("rate_limited", "rate_limited"),
    ("aborted", "aborted"),
];

/// Histograms, JSON objects from bucket to count, and which bucket a call falls in.
const HISTOGRAMS: [(&str, &str); 6] = [
    ("duration_histogram", "duration_bucket"),
    ("wait_histogram", "wait_bucket"),
    ("first_chunk_histogram", "first_chunk_bucket"),
    ("upstream_histogram", "upstream_bucket"),
    ("overhead_histogram", "overhead_bucket"),
    ("rate_histogram", "rate_bucket"),
];

/// What breakdowns tell apart beside tags, as columns of calls.
const DIMENSIONS: [&str; 6] = ["country", "error_type", "key_id", "prompt_version", "region", "release"];
