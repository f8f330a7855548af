-- Wanted certificates: their state is JSON, except for what is searched by, which counts.
CREATE TABLE acme_entries (
    name TEXT NOT NULL PRIMARY KEY,
    entry TEXT NOT NULL,
    -- When it is looked at again.
    next_at BIGINT NOT NULL,
    -- Who works on it, and until when.
    lease_holder TEXT,
    lease_until BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX acme_entries_by_time ON acme_entries (next_at);
CREATE INDEX acme_entries_by_lease ON acme_entries (lease_until);

CREATE TABLE acme_accounts (
    -- The authority's id.
    authority TEXT NOT NULL PRIMARY KEY,
    -- Encrypted with the installation's master key.
    sealed TEXT NOT NULL
);

CREATE TABLE acme_buckets (
    bucket TEXT NOT NULL PRIMARY KEY,
    full_at BIGINT NOT NULL
);

-- Which certificate of an authority each name has: what edges are told.
CREATE TABLE certificate_names (
    name TEXT NOT NULL PRIMARY KEY,
    -- The wanted certificate that it belongs to.
    entry TEXT NOT NULL,
    -- None once it has none any more.
    certificate TEXT,
    -- Number of its last change, and when that was.
    change BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE INDEX certificate_names_by_change ON certificate_names (change);
CREATE INDEX certificate_names_by_entry ON certificate_names (entry);

-- Proofs of control that edges show.
CREATE TABLE challenges (
    -- Follows from what is shown.
    id TEXT NOT NULL PRIMARY KEY,
    -- What edges are told, JSON, encrypted with the installation's master key.
    sealed TEXT NOT NULL,
    added_at BIGINT NOT NULL
);

-- Edges that an authority may ask.
CREATE TABLE edges (
    -- Another one for each process.
    id TEXT NOT NULL PRIMARY KEY,
    -- When it was up to date last.
    seen_at BIGINT NOT NULL,
    -- Number of the change of challenges up to which it shows them.
    challenges BIGINT NOT NULL
);

-- Numbers of the last changes.
INSERT INTO counters (name, value) VALUES ('certificate_names', 0), ('challenges', 0);

-- `development` for certificates of the installation's own authority, else `acme`.
ALTER TABLE certificates ADD COLUMN origin TEXT NOT NULL DEFAULT 'development';
