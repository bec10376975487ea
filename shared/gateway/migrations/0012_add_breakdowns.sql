-- What else is counted of calls, and what else they are told apart by.

ALTER TABLE calls ADD COLUMN prompt_version TEXT;

-- JSON object, at most four: what the caller says a call is for.
ALTER TABLE calls ADD COLUMN tags TEXT;

-- Spent waiting for upstreams and between tries of them; null where none was asked.
ALTER TABLE calls ADD COLUMN upstream_ms INTEGER;

-- Of the attempts, so that counting need not read them: how many there were, how many a provider refused because
-- there were too many, and whether they went to more than one target.
ALTER TABLE calls ADD COLUMN tries INTEGER;
ALTER TABLE calls ADD COLUMN tries_limited INTEGER;
ALTER TABLE calls ADD COLUMN fell_back INTEGER;

-- Histogram buckets, as those of duration_ms and wait_ms. A rate is hundredths of an output token a second, of
-- streams after their first chunk.
ALTER TABLE calls ADD COLUMN first_chunk_bucket INTEGER;
ALTER TABLE calls ADD COLUMN upstream_bucket INTEGER;
ALTER TABLE calls ADD COLUMN overhead_bucket INTEGER;
ALTER TABLE calls ADD COLUMN rate_bucket INTEGER;

ALTER TABLE rollups ADD COLUMN first_chunk_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN first_chunk_sum_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN upstream_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN upstream_sum_ms INTEGER NOT NULL DEFAULT 0;
-- Of the calls that have a rate.
ALTER TABLE rollups ADD COLUMN rated_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN rated_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN cache_write_1h_input_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN audio_input_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN image_input_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN audio_output_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN image_output_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN cache_hits INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN cache_misses INTEGER NOT NULL DEFAULT 0;
-- Calls refused here because there were too many, and tries refused by providers for that.
ALTER TABLE rollups ADD COLUMN limited_here INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN limited_tries INTEGER NOT NULL DEFAULT 0;
-- Tries after the first, and calls whose tries went to more than one target.
ALTER TABLE rollups ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN fallbacks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups ADD COLUMN first_chunk_histogram TEXT NOT NULL DEFAULT '{}';
ALTER TABLE rollups ADD COLUMN upstream_histogram TEXT NOT NULL DEFAULT '{}';
ALTER TABLE rollups ADD COLUMN overhead_histogram TEXT NOT NULL DEFAULT '{}';
ALTER TABLE rollups ADD COLUMN rate_histogram TEXT NOT NULL DEFAULT '{}';

-- The same counts by one thing more at a time: a row for each key, release, region, prompt version, error and tag of a
-- tenant. All of them at once would be a row for each of their combinations. A call is in as many rows of a bucket as
-- it has of these.
CREATE TABLE breakdowns (
    grain                       TEXT NOT NULL CHECK (grain IN ('minute', 'hour', 'day')),
    bucket_ms                   INTEGER NOT NULL,
    -- `key_id`, `release`, `region`, `prompt_version`, `error_type`, or `tag.` and its name.
    dimension                   TEXT NOT NULL,
    tenant_id                   TEXT NOT NULL,
    -- The smallest of too many are counted together as `other`.
    label                       TEXT NOT NULL,
    errors                      INTEGER NOT NULL,
    client_errors               INTEGER NOT NULL,
    rate_limited                INTEGER NOT NULL,
    aborted                     INTEGER NOT NULL,
    calls                       INTEGER NOT NULL,
    streams                     INTEGER NOT NULL,
    without_usage               INTEGER NOT NULL,
    duration_sum_ms             INTEGER NOT NULL,
    wait_count                  INTEGER NOT NULL,
    wait_sum_ms                 INTEGER NOT NULL,
    overhead_sum_ms             INTEGER NOT NULL,
    first_chunk_count           INTEGER NOT NULL,
    first_chunk_sum_ms          INTEGER NOT NULL,
    upstream_count              INTEGER NOT NULL,
    upstream_sum_ms             INTEGER NOT NULL,
    rated_tokens                INTEGER NOT NULL,
    rated_ms                    INTEGER NOT NULL,
    input_tokens                INTEGER NOT NULL,
    cache_read_input_tokens     INTEGER NOT NULL,
    cache_write_input_tokens    INTEGER NOT NULL,
    cache_write_1h_input_tokens INTEGER NOT NULL,
    audio_input_tokens          INTEGER NOT NULL,
    image_input_tokens          INTEGER NOT NULL,
    output_tokens               INTEGER NOT NULL,
    reasoning_output_tokens     INTEGER NOT NULL,
    audio_output_tokens         INTEGER NOT NULL,
    image_output_tokens         INTEGER NOT NULL,
    cost_microusd               INTEGER NOT NULL,
    without_cost                INTEGER NOT NULL,
    cache_hits                  INTEGER NOT NULL,
    cache_misses                INTEGER NOT NULL,
    limited_here                INTEGER NOT NULL,
    limited_tries               INTEGER NOT NULL,
    retries                     INTEGER NOT NULL,
    fallbacks                   INTEGER NOT NULL,
    duration_histogram          TEXT NOT NULL,
    wait_histogram              TEXT NOT NULL,
    first_chunk_histogram       TEXT NOT NULL,
    upstream_histogram          TEXT NOT NULL,
    overhead_histogram          TEXT NOT NULL,
    rate_histogram              TEXT NOT NULL,
    PRIMARY KEY (grain, bucket_ms, dimension, tenant_id, label)
) STRICT, WITHOUT ROWID;

-- What a later time is compared with: a named copy of metrics, which stays when the rollups are gone.
CREATE TABLE baselines (
    name       TEXT PRIMARY KEY,
    note       TEXT NOT NULL,
    from_ms    INTEGER NOT NULL,
    to_ms      INTEGER NOT NULL,
    -- JSON list of the dimensions it tells apart, and JSON object of what it was taken from only.
    by         TEXT NOT NULL,
    only_of    TEXT NOT NULL,
    -- JSON list of merged rollups, a series each.
    series     TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Those that are open are counted for every scrape.
CREATE INDEX episodes_open ON episodes (rule_id, severity) WHERE resolved_ms IS NULL;
