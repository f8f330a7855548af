CREATE TABLE zones (
    -- In lower case, as A-labels, without a final dot.
    name TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL DEFAULT 'owner',
    -- The counter `zone_version` when it last changed: name servers follow by it, and a change is made to one version.
    version BIGINT NOT NULL,
    -- All its records, a master file (RFC 1035 section 5) with absolute names.
    records TEXT NOT NULL,
    -- `off`, `on`, or `leaving` while its parent is asked to forget the key.
    dnssec TEXT NOT NULL,
    -- The key that signs it, PKCS#8 in base64, encrypted with the installation's master key.
    sealed_key TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX zones_by_version ON zones (version);

-- Names of zones that were deleted, for the name servers that still have them.
CREATE TABLE zones_removed (
    name TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL
);

CREATE TABLE zone_edits (
    zone TEXT NOT NULL REFERENCES zones (name) ON DELETE CASCADE,
    -- From 1, without gaps.
    number BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    -- Who made it.
    actor TEXT NOT NULL,
    note TEXT NOT NULL,
    -- The zone's serial after it.
    serial BIGINT NOT NULL,
    -- JSON: records that were added and removed, as lines of a master file.
    changes TEXT NOT NULL,
    -- The edit that it takes back, and the one that took it back.
    undoes BIGINT,
    undone_by BIGINT,
    PRIMARY KEY (zone, number)
);

-- Proofs for certificate authorities, served while their order is open; no part of the zone or its history.
CREATE TABLE zone_texts (
    zone TEXT NOT NULL REFERENCES zones (name) ON DELETE CASCADE,
    -- In lower case, without a final dot.
    owner TEXT NOT NULL,
    value TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (zone, owner, value)
);

-- Processes that answer, and the version that each has.
CREATE TABLE name_servers (
    id TEXT NOT NULL PRIMARY KEY,
    -- Where it listens, separated by blanks.
    addresses TEXT NOT NULL,
    version BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);

INSERT INTO counters (name, value) VALUES ('zone_version', 0);
