CREATE TABLE projects (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL,
    live_deployment TEXT,
    created_at BIGINT NOT NULL
);

CREATE TABLE deployments (
    id TEXT NOT NULL PRIMARY KEY,
    -- The label of its own host, `<project>-<short>`.
    label TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    failure_code TEXT,
    failure_message TEXT,
    -- How often a deployer took it.
    attempts BIGINT NOT NULL DEFAULT 0,
    source TEXT NOT NULL,
    -- Login of its repository, encrypted with the installation's master key.
    source_login TEXT,
    -- What was given for this deployment alone; the project's settings count for the rest.
    settings TEXT NOT NULL,
    kind TEXT,
    framework TEXT,
    isolation TEXT,
    image TEXT,
    -- What its app does now, JSON.
    revision TEXT,
    -- 1 while a rollback to it waits for its app to start.
    activation_wanted BIGINT NOT NULL DEFAULT 0,
    -- Why the last such start did not work.
    activation_failure TEXT,
    -- Until when its app runs although it is not live, because visitors asked for it.
    wanted_until BIGINT,
    -- When it last became live, and when it last stopped being so.
    live_since BIGINT,
    live_until BIGINT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT
);

CREATE INDEX deployments_by_project ON deployments (project, id);
CREATE INDEX deployments_by_state ON deployments (state);

CREATE TABLE env_variables (
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- Encrypted with the installation's master key.
    sealed TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (project, name)
);

CREATE TABLE tokens (
    -- SHA-256 of the token; the token itself is not kept.
    hash TEXT NOT NULL PRIMARY KEY,
    -- `api`, `login` (works once) or `session`.
    kind TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);

CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO counters (name, value) VALUES ('route_version', 0);
