-- Where calls come from and what was refused of them; who is refused for a while; how large the database is.

-- Two letters, where the host knows it.
ALTER TABLE calls ADD COLUMN country TEXT;

-- Keyed hash of the caller's network, the first 24 bits of an address of IPv4 and 48 of IPv6. No address is stored.
ALTER TABLE calls ADD COLUMN source TEXT;

-- Of a call that was refused for its key: the beginning of the key's hash. It tells keys apart, nothing more.
ALTER TABLE calls ADD COLUMN tried TEXT;

CREATE INDEX calls_denied ON calls (started_ms) WHERE status IN (401, 403);

-- Refused for their key, or for what it may do.
ALTER TABLE rollups ADD COLUMN denied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE breakdowns ADD COLUMN denied INTEGER NOT NULL DEFAULT 0;

-- From where each key was called.
CREATE TABLE key_sources (
    tenant_id TEXT NOT NULL,
    key_id    TEXT NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('country', 'network')),
    source    TEXT NOT NULL,
    first_ms  INTEGER NOT NULL,
    last_ms   INTEGER NOT NULL,
    calls     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, key_id, kind, source)
) STRICT, WITHOUT ROWID;

CREATE INDEX key_sources_by_first ON key_sources (first_ms);

CREATE INDEX key_sources_by_last ON key_sources (last_ms);

-- Calls that began before this are in `key_sources`.
INSERT INTO schedule (name, claimed_ms) VALUES ('sources-until', 0);

-- How large the database was when the day ended, or now.
CREATE TABLE database_sizes (
    day_ms INTEGER PRIMARY KEY,
    bytes  INTEGER NOT NULL
) STRICT;

-- Keys and networks that are refused until a moment. Kept afterwards, to say who refused whom, and why.
CREATE TABLE blocks (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('key', 'source')),
    -- Whose key, or for whose calls; empty: for everybody's.
    tenant_id  TEXT NOT NULL,
    -- The key's id, or the network as calls have it.
    subject    TEXT NOT NULL,
    reason     TEXT NOT NULL,
    -- The rule that did it and the episode it did it in, or who did it by hand.
    rule_id    TEXT,
    episode_id TEXT,
    actor      TEXT,
    created_ms INTEGER NOT NULL,
    until_ms   INTEGER NOT NULL,
    lifted_ms  INTEGER,
    lifted_by  TEXT
) STRICT;

CREATE INDEX blocks_in_force ON blocks (kind, until_ms) WHERE lifted_ms IS NULL;

CREATE INDEX blocks_by_time ON blocks (created_ms);
