-- What calls used beside tokens, and prices of one's own.

-- Null where the provider does not name the kind.
ALTER TABLE calls ADD COLUMN cache_write_1h_input_tokens INTEGER;
ALTER TABLE calls ADD COLUMN audio_input_tokens INTEGER;
ALTER TABLE calls ADD COLUMN image_input_tokens INTEGER;
ALTER TABLE calls ADD COLUMN audio_output_tokens INTEGER;
ALTER TABLE calls ADD COLUMN image_output_tokens INTEGER;
ALTER TABLE calls ADD COLUMN images INTEGER;
ALTER TABLE calls ADD COLUMN searches INTEGER;
ALTER TABLE calls ADD COLUMN file_searches INTEGER;
ALTER TABLE calls ADD COLUMN search_units INTEGER;
ALTER TABLE calls ADD COLUMN audio_ms INTEGER;
ALTER TABLE calls ADD COLUMN characters INTEGER;
-- Null for the standard one.
ALTER TABLE calls ADD COLUMN service_tier TEXT;

-- What models cost a tenant, in place of the providers' list prices.
CREATE TABLE prices (
    -- Empty for every tenant.
    tenant_id  TEXT NOT NULL,
    -- `provider/model`, or the beginning of such names with a `*` behind.
    model      TEXT NOT NULL,
    -- From when on; of several the latest that has begun holds.
    from_ms    INTEGER NOT NULL,
    -- As the price table of the gateway writes prices.
    prices     TEXT NOT NULL,
    -- JSON object, as it was set.
    settings   TEXT NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, model, from_ms)
) STRICT, WITHOUT ROWID;
