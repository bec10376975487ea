-- Why answers ended, in the providers' own words, and how many calls there are of callers who are not known.

-- Null where the provider gave no word.
ALTER TABLE calls ADD COLUMN native_finish_reason TEXT;

-- Of such calls a bounded number is recorded.
CREATE INDEX calls_of_strangers ON calls (started_ms) WHERE tenant_id = '';
