-- Reports that come by the clock, alerts of others that end when nobody repeats them, and releases that were seen.

-- Who gets which report, and when.
CREATE TABLE reports (
    receiver_id TEXT NOT NULL,
    cadence     TEXT NOT NULL CHECK (cadence IN ('daily', 'weekly')),
    -- Whose calls; empty: of all whom the receiver hears of.
    tenant_id   TEXT NOT NULL,
    -- The hour of the day by its clock.
    hour        INTEGER NOT NULL,
    -- 0 is Monday; null for a daily one.
    weekday     INTEGER,
    -- `Europe/Berlin`, `+02:00`.
    zone        TEXT NOT NULL,
    -- When the next one is due.
    next_ms     INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL,
    PRIMARY KEY (receiver_id, cadence)
) STRICT, WITHOUT ROWID;

CREATE INDEX reports_due ON reports (next_ms);

-- When an alert of somebody else ends unless it is repeated. Null: the gateway's own.
ALTER TABLE episodes ADD COLUMN expires_ms INTEGER;

UPDATE episodes SET expires_ms = coalesce(seen_ms, opened_ms) + 43200000 WHERE source <> 'gateway' AND resolved_ms IS NULL;

-- Releases of the gateway whose calls were counted.
CREATE TABLE releases (
    name     TEXT PRIMARY KEY,
    first_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO releases (name, first_ms)
SELECT label, min(bucket_ms) FROM breakdowns WHERE dimension = 'release' AND label <> 'other' GROUP BY label;
