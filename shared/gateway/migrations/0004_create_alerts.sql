-- Who is told of what.

-- What a deployment changed about a shipped rule.
CREATE TABLE rule_overrides (
    rule_id    TEXT PRIMARY KEY,
    -- JSON object of the changed settings.
    settings   TEXT NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

-- Where each alert rule stands. One row a rule and series; the scheduled function rewrites it at
-- every tick, so a lost tick costs a minute, not a page.
CREATE TABLE alerts (
    -- Hash of the rule's id and its labels.
    fingerprint  TEXT PRIMARY KEY,
    rule_id      TEXT NOT NULL,
    tenant_id    TEXT NOT NULL,
    route        TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('pending', 'firing')),
    -- The state machine's own memory, JSON.
    memory       TEXT NOT NULL
) STRICT;

-- The newest minute each rule was evaluated for; missed minutes are evaluated later, in order.
CREATE TABLE evaluations (
    rule_id   TEXT PRIMARY KEY,
    minute_ms INTEGER NOT NULL
) STRICT;

-- From firing to resolved.
CREATE TABLE episodes (
    id          TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    rule_id     TEXT NOT NULL,
    tenant_id   TEXT NOT NULL,
    route       TEXT NOT NULL,
    severity    TEXT NOT NULL,
    summary     TEXT NOT NULL,
    opened_ms   INTEGER NOT NULL,
    resolved_ms INTEGER
) STRICT;

CREATE INDEX episodes_by_time ON episodes (opened_ms);

CREATE TABLE receivers (
    id            TEXT PRIMARY KEY,
    -- Null hears of every tenant and of the gateway itself.
    tenant_id     TEXT REFERENCES tenants (id),
    name          TEXT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('slack', 'webhook')),
    -- Encrypted: the address of a chat webhook is a password.
    sealed_url    TEXT NOT NULL,
    -- Encrypted signing secret; null where the kind has none.
    sealed_secret TEXT,
    created_ms    INTEGER NOT NULL,
    -- Set when the receiver answered that it is gone, or by hand.
    disabled_ms   INTEGER
) STRICT;

-- Notices on their way. One row an episode, receiver and kind, so that a notice exists once.
CREATE TABLE outbox (
    id           TEXT PRIMARY KEY,
    episode_id   TEXT NOT NULL,
    receiver_id  TEXT NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('combined', 'firing', 'resolved', 'test')),
    -- The notice, JSON.
    notice       TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'dead', 'superseded')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    -- Not before this; moved ahead while an attempt is under way, so that two ticks do not both send.
    next_ms      INTEGER NOT NULL,
    -- What the newest attempt came to, in a few words.
    last_result  TEXT,
    created_ms   INTEGER NOT NULL,
    delivered_ms INTEGER,
    UNIQUE (episode_id, receiver_id, kind)
) STRICT;

CREATE INDEX outbox_due ON outbox (next_ms) WHERE status = 'pending';
