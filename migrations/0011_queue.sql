-- The deployment that was asked for later from the same branch, and made this one unneeded while it waited.
ALTER TABLE deployments ADD COLUMN superseded_by TEXT;
-- When a dead letter was asked for again: it counts as dead no longer.
ALTER TABLE deployments ADD COLUMN replayed_at BIGINT;
