-- Errors that are the same one, hour by hour, and what answers of providers are like.

-- What the provider said, without what differs from call to call; null where it said nothing.
ALTER TABLE calls ADD COLUMN error_template TEXT;

CREATE INDEX calls_with_error ON calls (started_ms) WHERE error_type IS NOT NULL;

-- The most frequent of each hour. An hour is counted as a whole, so counting it again changes nothing.
CREATE TABLE faults (
    -- Provider, status, error, and what it said.
    fault   TEXT NOT NULL,
    hour_ms INTEGER NOT NULL,
    calls   INTEGER NOT NULL,
    PRIMARY KEY (fault, hour_ms)
) STRICT, WITHOUT ROWID;

CREATE INDEX faults_by_hour ON faults (hour_ms);

-- What was seen in answers of a provider.
CREATE TABLE traits (
    provider_name TEXT NOT NULL,
    -- The model asked for; empty where it does not matter.
    model         TEXT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('error', 'finish_reason', 'served_model')),
    value         TEXT NOT NULL,
    -- The first hour and the last.
    first_ms      INTEGER NOT NULL,
    last_ms       INTEGER NOT NULL,
    -- Of the calls looked at in the last.
    calls         INTEGER NOT NULL,
    PRIMARY KEY (provider_name, model, kind, value)
) STRICT, WITHOUT ROWID;

CREATE INDEX traits_by_first ON traits (first_ms);
CREATE INDEX traits_by_last ON traits (last_ms);
