-- Receivers of every kind, and each attempt on record. A table's checks can only be changed by making it anew.

CREATE TABLE new_receivers (
    id              TEXT PRIMARY KEY,
    -- Null hears of every tenant and of the gateway itself.
    tenant_id       TEXT REFERENCES tenants (id),
    name            TEXT NOT NULL,
    kind            TEXT NOT NULL,
    -- Encrypted: the address of a chat webhook is a password.
    sealed_url      TEXT NOT NULL,
    -- Encrypted: what opens it, or signs what is sent; null where the kind has none.
    sealed_secret   TEXT,
    -- JSON object: what else its kind wants to know.
    settings        TEXT NOT NULL DEFAULT '{}',
    -- How many requests a minute it bears.
    per_minute      INTEGER NOT NULL DEFAULT 20,
    -- Deliveries in a row that failed for good.
    failures        INTEGER NOT NULL DEFAULT 0,
    -- Left alone until then, then asked with one request; null if the newest attempt was well.
    wait_until_ms   INTEGER,
    created_ms      INTEGER NOT NULL,
    -- Set when the receiver answered that it is gone, when it failed too often, or by hand.
    disabled_ms     INTEGER,
    disabled_reason TEXT
) STRICT;

INSERT INTO new_receivers (id, tenant_id, name, kind, sealed_url, sealed_secret, per_minute, created_ms, disabled_ms)
SELECT id, tenant_id, name, kind, sealed_url, sealed_secret, iif(kind = 'webhook', 120, 20), created_ms, disabled_ms
FROM receivers;

DROP TABLE receivers;

ALTER TABLE new_receivers RENAME TO receivers;

-- Notices on their way. One row an episode, receiver and kind, so that a notice exists once.
CREATE TABLE new_outbox (
    id           TEXT PRIMARY KEY,
    episode_id   TEXT NOT NULL,
    receiver_id  TEXT NOT NULL,
    -- As the notice's.
    kind         TEXT NOT NULL,
    -- The notice, JSON.
    notice       TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'dead', 'superseded')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    -- How many attempts there were when the ladder of waits was begun anew.
    ladder_from  INTEGER NOT NULL DEFAULT 0,
    -- Not before this; moved ahead while an attempt is under way, so that two ticks do not both send.
    next_ms      INTEGER NOT NULL,
    -- What the newest attempt came to, in a few words.
    last_result  TEXT,
    created_ms   INTEGER NOT NULL,
    delivered_ms INTEGER,
    UNIQUE (episode_id, receiver_id, kind)
) STRICT;

INSERT INTO new_outbox (id, episode_id, receiver_id, kind, notice, status, attempts, next_ms, last_result, created_ms, delivered_ms)
SELECT id, episode_id, receiver_id, kind, notice, status, attempts, next_ms, last_result, created_ms, delivered_ms
FROM outbox;

DROP TABLE outbox;

ALTER TABLE new_outbox RENAME TO outbox;

CREATE INDEX outbox_due ON outbox (next_ms) WHERE status = 'pending';

CREATE INDEX outbox_by_receiver ON outbox (receiver_id, created_ms);

-- What each attempt came to.
CREATE TABLE attempts (
    -- The row of the outbox.
    delivery_id TEXT NOT NULL,
    number      INTEGER NOT NULL,
    receiver_id TEXT NOT NULL,
    at_ms       INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    -- HTTP; null without an answer.
    status      INTEGER,
    -- In a few words.
    result      TEXT NOT NULL,
    -- Its place among the notices that went in one request, which counts by its first.
    place       INTEGER NOT NULL,
    PRIMARY KEY (delivery_id, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_by_time ON attempts (at_ms, receiver_id);
