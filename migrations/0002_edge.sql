-- How the edge treats a project's visitors: what was said of it, JSON; the installation's defaults count for the rest.
ALTER TABLE projects ADD COLUMN policy TEXT NOT NULL DEFAULT '{}';

CREATE TABLE certificates (
    id TEXT NOT NULL PRIMARY KEY,
    -- The host that it is for.
    name TEXT NOT NULL,
    -- The chain, the host's own certificate first, PEM.
    chain TEXT NOT NULL,
    -- Its private key, encrypted with the installation's master key.
    sealed_key TEXT NOT NULL,
    not_after BIGINT NOT NULL
);

CREATE INDEX certificates_by_end ON certificates (not_after);

CREATE TABLE ticket_keys (
    -- Number of the span of time in which it seals.
    slot BIGINT NOT NULL PRIMARY KEY,
    -- What edges get, JSON, encrypted with the installation's master key.
    sealed TEXT NOT NULL
);

CREATE TABLE usage_hours (
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    -- When the hour begins.
    hour BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    cache_hits BIGINT NOT NULL,
    cache_misses BIGINT NOT NULL,
    -- Requests by the first digit of their status.
    status_1 BIGINT NOT NULL,
    status_2 BIGINT NOT NULL,
    status_3 BIGINT NOT NULL,
    status_4 BIGINT NOT NULL,
    status_5 BIGINT NOT NULL,
    -- Requests by their time; the bounds are those of the wire type.
    latency_0 BIGINT NOT NULL,
    latency_1 BIGINT NOT NULL,
    latency_2 BIGINT NOT NULL,
    latency_3 BIGINT NOT NULL,
    latency_4 BIGINT NOT NULL,
    latency_5 BIGINT NOT NULL,
    latency_6 BIGINT NOT NULL,
    latency_7 BIGINT NOT NULL,
    latency_8 BIGINT NOT NULL,
    latency_9 BIGINT NOT NULL,
    latency_10 BIGINT NOT NULL,
    latency_11 BIGINT NOT NULL,
    PRIMARY KEY (project, hour)
);

CREATE INDEX usage_by_hour ON usage_hours (hour);
