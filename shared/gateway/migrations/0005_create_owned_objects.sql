-- Who made what providers keep. Tenants share the provider's account, so an id opens nothing unless it is here.

CREATE TABLE owned_objects (
    -- The provider's own id.
    id         TEXT NOT NULL,
    -- As in `provider/model`.
    provider   TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('batch', 'file')),
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    -- The key it was made with.
    key_id     TEXT NOT NULL,
    -- As the provider last described it.
    object     TEXT NOT NULL,
    -- JSON list of the models the lines of a batch's file ask for, as their caller named them.
    models     TEXT,
    created_ms INTEGER NOT NULL,
    -- When a batch was first seen with its usage, which is recorded then.
    settled_ms INTEGER,
    PRIMARY KEY (id, provider)
) STRICT;

CREATE INDEX owned_objects_by_tenant ON owned_objects (tenant_id, kind, created_ms);
