-- Alerts with all their states, and what happens between an alert and those who are told of it: silences,
-- groups, acknowledgements, escalations, and the changes that came before.

CREATE TABLE alerts_widened (
    -- Hash of the rule's id and its labels.
    fingerprint  TEXT PRIMARY KEY,
    rule_id      TEXT NOT NULL,
    tenant_id    TEXT NOT NULL,
    route        TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('unknown', 'ok', 'pending', 'firing', 'recovering', 'no_data', 'error')),
    -- The state machine's own memory, JSON.
    memory       TEXT NOT NULL
) STRICT;

INSERT INTO alerts_widened SELECT fingerprint, rule_id, tenant_id, route, state, memory FROM alerts;

DROP TABLE alerts;

ALTER TABLE alerts_widened RENAME TO alerts;

-- `gateway`, or who else sent it.
ALTER TABLE episodes ADD COLUMN source TEXT NOT NULL DEFAULT 'gateway';

-- JSON object: what silences, groups and escalations go by.
ALTER TABLE episodes ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';

-- The notice that says it fired, JSON; null for an episode of an earlier release.
ALTER TABLE episodes ADD COLUMN notice TEXT;

-- The one that says it resolved, and in it, as `combined`, the one that says both.
ALTER TABLE episodes ADD COLUMN end_notice TEXT;

-- 1: it is held open because it changed sides too often.
ALTER TABLE episodes ADD COLUMN flapping INTEGER NOT NULL DEFAULT 0;

-- Since when those concerned are being told. Null: not yet, because it is new or muted.
ALTER TABLE episodes ADD COLUMN told_ms INTEGER;

-- Why nobody is told, now: `silenced by …`, `inhibited by …`, `snoozed`.
ALTER TABLE episodes ADD COLUMN muted TEXT;

ALTER TABLE episodes ADD COLUMN snoozed_ms INTEGER;

ALTER TABLE episodes ADD COLUMN acknowledged_ms INTEGER;

ALTER TABLE episodes ADD COLUMN acknowledged_by TEXT;

-- How many steps of its escalation are done.
ALTER TABLE episodes ADD COLUMN escalated INTEGER NOT NULL DEFAULT 0;

-- When others last said that their alert fires.
ALTER TABLE episodes ADD COLUMN seen_ms INTEGER;

UPDATE episodes SET told_ms = opened_ms;

-- Those that somebody may still have to be told of.
CREATE INDEX episodes_live ON episodes (opened_ms) WHERE resolved_ms IS NULL OR told_ms IS NULL;

-- What happened to an episode beside its notices, for the record.
CREATE TABLE episode_events (
    -- Made of the episode, the kind and the moment, so that the same event is one row.
    id         TEXT PRIMARY KEY,
    episode_id TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    -- Who did it; null for the gateway.
    actor      TEXT,
    -- One sentence.
    detail     TEXT NOT NULL
) STRICT;

CREATE INDEX episode_events_by_episode ON episode_events (episode_id, at_ms);

CREATE INDEX episode_events_by_time ON episode_events (at_ms);

-- Alerts that nobody is to be told of, for a while.
CREATE TABLE silences (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('maintenance', 'silence')),
    -- JSON list of `label=value`; all must hold.
    matchers   TEXT NOT NULL,
    starts_ms  INTEGER NOT NULL,
    ends_ms    INTEGER NOT NULL,
    -- Maintenance may come back: after a day or a week.
    every_ms   INTEGER,
    author     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    -- Set when it was ended before its time.
    ended_ms   INTEGER
) STRICT;

-- One notice about several episodes. Where the outbox says `episode_id`, it may name a group instead.
CREATE TABLE notice_groups (
    id          TEXT PRIMARY KEY,
    receiver_id TEXT NOT NULL,
    opened_ms   INTEGER NOT NULL,
    -- When the last of its episodes was resolved.
    resolved_ms INTEGER
) STRICT;

CREATE INDEX notice_groups_open ON notice_groups (id) WHERE resolved_ms IS NULL;

CREATE INDEX notice_groups_by_time ON notice_groups (opened_ms);

CREATE TABLE notice_group_members (
    episode_id TEXT NOT NULL,
    group_id   TEXT NOT NULL,
    PRIMARY KEY (episode_id, group_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX notice_group_members_by_group ON notice_group_members (group_id);

-- What a receiver is told later: with its digest, or after its quiet hours.
CREATE TABLE held_notices (
    episode_id  TEXT NOT NULL,
    receiver_id TEXT NOT NULL,
    due_ms      INTEGER NOT NULL,
    PRIMARY KEY (episode_id, receiver_id)
) STRICT, WITHOUT ROWID;

-- When and how a receiver wants to hear; without a row: at once, one notice a rule.
CREATE TABLE receiver_habits (
    receiver_id    TEXT PRIMARY KEY,
    -- JSON list of labels: alerts that agree in them come in one notice.
    group_by       TEXT NOT NULL,
    -- Tickets come together, this often, on the boundaries of the clock. Null: at once.
    digest_minutes INTEGER,
    -- Tickets wait from the one minute of the day to the other. Null: never.
    quiet_from     INTEGER,
    quiet_to       INTEGER,
    -- `Europe/Berlin`, `+02:00`.
    zone           TEXT NOT NULL,
    updated_ms     INTEGER NOT NULL
) STRICT;

-- Who is told after whom, as long as nobody acknowledges.
CREATE TABLE escalations (
    id                   TEXT PRIMARY KEY,
    name                 TEXT NOT NULL,
    -- Which alerts: a rule, or all; a severity, or both.
    rule                 TEXT,
    severity             TEXT CHECK (severity IN ('page', 'ticket')),
    -- JSON list of {wait_minutes, receivers}.
    steps                TEXT NOT NULL,
    -- How often all of it is repeated, and after how long.
    repeats              INTEGER NOT NULL,
    repeat_after_minutes INTEGER NOT NULL,
    created_ms           INTEGER NOT NULL
) STRICT;

-- What somebody changed: here, or elsewhere and told us.
CREATE TABLE changes (
    id        TEXT PRIMARY KEY,
    at_ms     INTEGER NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('campaign', 'configuration', 'flag', 'other', 'provider', 'release')),
    title     TEXT NOT NULL,
    -- Whom it concerns; empty: everybody.
    tenant_id TEXT NOT NULL,
    provider  TEXT NOT NULL,
    model     TEXT NOT NULL,
    actor     TEXT,
    url       TEXT
) STRICT;

CREATE INDEX changes_by_time ON changes (at_ms);

-- Raised whenever episodes open or close, and by whoever attended to them: of two at once, one counts.
INSERT INTO schedule (name, claimed_ms) VALUES ('attend', 0);
