-- Uploads that were asked for and not deployed yet.
CREATE TABLE pending_uploads (
    id TEXT NOT NULL PRIMARY KEY,
    -- When its URL ends.
    expires_at BIGINT NOT NULL
);

-- This installation's name, by which it knows its object store. One row.
CREATE TABLE object_store_owner (
    one BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL
);

-- What only one control plane does at a time.
CREATE TABLE duties (
    name TEXT NOT NULL PRIMARY KEY,
    -- Who does it, and until when nobody else may.
    holder TEXT NOT NULL,
    held_until BIGINT NOT NULL,
    -- When it was done last.
    done_at BIGINT
);
