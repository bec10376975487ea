-- Calls counted by minute, hour and day. A bucket is recomputed as a whole from the level below and
-- overwritten, so running it again changes nothing.

CREATE TABLE rollups (
    grain                    TEXT NOT NULL CHECK (grain IN ('minute', 'hour', 'day')),
    -- Start of the bucket.
    bucket_ms                INTEGER NOT NULL,
    tenant_id                TEXT NOT NULL,
    route                    TEXT NOT NULL,
    provider_name            TEXT NOT NULL,
    model                    TEXT NOT NULL,
    outcome                  TEXT NOT NULL,
    calls                    INTEGER NOT NULL,
    streams                  INTEGER NOT NULL,
    -- Streams that ended well without saying their tokens.
    without_usage            INTEGER NOT NULL,
    duration_sum_ms          INTEGER NOT NULL,
    wait_count               INTEGER NOT NULL,
    wait_sum_ms              INTEGER NOT NULL,
    overhead_sum_ms          INTEGER NOT NULL,
    -- JSON object, histogram bucket → count.
    duration_histogram       TEXT NOT NULL,
    wait_histogram           TEXT NOT NULL,
    input_tokens             INTEGER NOT NULL,
    cache_read_input_tokens  INTEGER NOT NULL,
    cache_write_input_tokens INTEGER NOT NULL,
    output_tokens            INTEGER NOT NULL,
    reasoning_output_tokens  INTEGER NOT NULL,
    -- Of the calls whose price is known; the others are counted beside it.
    cost_microusd            INTEGER NOT NULL,
    without_cost             INTEGER NOT NULL,
    PRIMARY KEY (grain, bucket_ms, tenant_id, route, provider_name, model, outcome)
) STRICT, WITHOUT ROWID;

-- Buckets that changed since they were last computed.
CREATE TABLE dirty_buckets (
    grain     TEXT NOT NULL CHECK (grain IN ('minute', 'hour', 'day')),
    bucket_ms INTEGER NOT NULL,
    PRIMARY KEY (grain, bucket_ms)
) STRICT, WITHOUT ROWID;

-- Scheduled work, claimed by compare-and-set so that two ticks at once do it once.
CREATE TABLE schedule (
    name        TEXT PRIMARY KEY,
    -- The minute of the newest tick that claimed the work.
    claimed_ms  INTEGER NOT NULL,
    -- The minute of the newest tick that finished it.
    finished_ms INTEGER
) STRICT;

INSERT INTO schedule (name, claimed_ms) VALUES ('tick', 0);
