-- Where records go besides the database, and how far each of these has come.

-- The span of the caller's that the call is part of, where it said so.
ALTER TABLE calls ADD COLUMN parent_span_id TEXT;

-- Calls in the order in which they were stored, while somebody waits for them. A call that is stored late began before
-- others that are gone already, so its own time would not do. No number comes twice, whatever is deleted.
CREATE TABLE stored_calls (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    call_id TEXT NOT NULL
) STRICT;

CREATE TABLE outlets (
    -- `lines`, `metrics` or `traces`.
    name            TEXT PRIMARY KEY,
    -- Everything up to this number was accepted, or given up.
    mark            INTEGER NOT NULL,
    -- Sums so far, of those that send sums. JSON.
    state           TEXT NOT NULL,
    -- The newest tick that found it configured. Long after that it is forgotten.
    wanted_ms       INTEGER NOT NULL,
    -- The tick that sends, and until when no other may.
    lease           TEXT NOT NULL,
    leased_until_ms INTEGER NOT NULL,
    -- In a row; and not before when to try again.
    failures        INTEGER NOT NULL,
    next_ms         INTEGER NOT NULL,
    -- How many go at once: fewer after a refusal, to find what is refused.
    batch           INTEGER NOT NULL,
    -- Since it was first configured.
    sent            INTEGER NOT NULL,
    refused         INTEGER NOT NULL,
    accepted_ms     INTEGER,
    last_result     TEXT
) STRICT, WITHOUT ROWID;

-- A call that comes again is not stored again, and not noted again.
CREATE TRIGGER calls_in_order AFTER INSERT ON calls WHEN EXISTS (SELECT 1 FROM outlets)
BEGIN INSERT INTO stored_calls (call_id) VALUES (new.id); END;
