-- Alert rules of a deployment's own, beside the shipped ones.
CREATE TABLE rules (
    id         TEXT PRIMARY KEY,
    -- JSON object, as it was sent.
    definition TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    -- Set when it was deleted: its alerts are closed by the next tick, which needs to know it.
    deleted_ms INTEGER
) STRICT;
