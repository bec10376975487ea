-- Who may call: tenants, their keys, their names for models.

CREATE TABLE tenants (
    id                TEXT PRIMARY KEY,
    name              TEXT NOT NULL UNIQUE,
    -- Whether calls keep their content: not at all, with every text masked, or as it was.
    payload_mode      TEXT NOT NULL DEFAULT 'none' CHECK (payload_mode IN ('none', 'redacted', 'full')),
    payload_cap_bytes INTEGER NOT NULL DEFAULT 16384,
    created_ms        INTEGER NOT NULL,
    -- Set once; the keys of a disabled tenant open nothing.
    disabled_ms       INTEGER
) STRICT;

CREATE TABLE api_keys (
    -- HMAC-SHA-256 of the key, in hex: a key can be checked, not read.
    hash       TEXT PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    name       TEXT NOT NULL,
    -- The key's last four characters, to tell keys apart in a list.
    hint       TEXT NOT NULL,
    -- JSON list of model names and patterns (`openai/*`); null allows all.
    models     TEXT,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    revoked_ms INTEGER
) STRICT;

CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, created_ms);

CREATE TABLE aliases (
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    name       TEXT NOT NULL,
    -- JSON list of `provider/model`, tried in order.
    targets    TEXT NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;
