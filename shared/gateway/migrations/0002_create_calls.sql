-- What happened: one row a call, written once, after the call's last byte.

CREATE TABLE calls (
    -- Made by the gateway; begins with the time, so that it sorts.
    id                        TEXT PRIMARY KEY,
    -- Empty where the caller was not known.
    tenant_id                 TEXT NOT NULL,
    key_id                    TEXT NOT NULL,
    -- Keyed hash of the caller's name for its end user.
    end_user_hash             TEXT,
    operation                 TEXT NOT NULL,
    route                     TEXT NOT NULL,
    request_model             TEXT NOT NULL,
    response_model            TEXT,
    -- The target that answered, or the last one tried; empty where none was.
    provider_name             TEXT NOT NULL,
    target_model              TEXT NOT NULL,
    -- JSON list: provider, model, status, error_type, duration_ms.
    attempts                  TEXT NOT NULL,
    status                    INTEGER NOT NULL,
    outcome                   TEXT NOT NULL CHECK (outcome IN ('aborted', 'client_error', 'error', 'ok', 'rate_limited')),
    error_type                TEXT,
    started_ms                INTEGER NOT NULL,
    duration_ms               INTEGER NOT NULL,
    upstream_first_byte_ms    INTEGER,
    time_to_first_chunk_ms    INTEGER,
    overhead_ms               INTEGER NOT NULL,
    -- What the caller waited for an answer to begin; null for whole model answers, which last seconds by nature.
    wait_ms                   INTEGER,
    -- Histogram buckets of duration_ms and wait_ms, so that the rollup is one GROUP BY.
    duration_bucket           INTEGER NOT NULL,
    wait_bucket               INTEGER,
    -- Unknown is null, never zero.
    input_tokens              INTEGER,
    cache_read_input_tokens   INTEGER,
    cache_write_input_tokens  INTEGER,
    output_tokens             INTEGER,
    reasoning_output_tokens   INTEGER,
    usage_estimated           INTEGER NOT NULL,
    cost_microusd             INTEGER,
    price_version             TEXT NOT NULL,
    finish_reason             TEXT,
    stream                    INTEGER NOT NULL,
    cache_status              TEXT NOT NULL,
    region                    TEXT,
    release                   TEXT NOT NULL,
    trace_id                  TEXT NOT NULL
) STRICT;

CREATE INDEX calls_by_time ON calls (started_ms, id);

-- The content of calls, for tenants that keep it.
CREATE TABLE call_payloads (
    call_id         TEXT PRIMARY KEY,
    tenant_id       TEXT NOT NULL,
    started_ms      INTEGER NOT NULL,
    mode            TEXT NOT NULL CHECK (mode IN ('redacted', 'full')),
    request_headers TEXT NOT NULL,
    request         TEXT NOT NULL,
    response        TEXT NOT NULL,
    truncated       INTEGER NOT NULL
) STRICT;

CREATE INDEX call_payloads_by_time ON call_payloads (started_ms);

-- Records known to be lost. Each report has an id, so that a repeated one counts once.
CREATE TABLE journal_losses (
    id     TEXT PRIMARY KEY,
    at_ms  INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;

CREATE INDEX journal_losses_by_time ON journal_losses (at_ms);
