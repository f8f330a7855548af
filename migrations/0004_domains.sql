-- Who owns the project.
ALTER TABLE projects ADD COLUMN account TEXT NOT NULL DEFAULT 'owner';

-- Hosts of developers' own. Several accounts may attach a name; the one that shows whose it is is served.
CREATE TABLE domains (
    -- As the DNS has it, `*.` in front for a wildcard.
    name TEXT NOT NULL,
    account TEXT NOT NULL,
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    -- The name without its first label: a wildcard's is the name that it stands below.
    parent TEXT NOT NULL,
    -- What visitors meet, JSON.
    settings TEXT NOT NULL,
    -- Where it is, JSON.
    hostname TEXT NOT NULL,
    -- 1 while visitors get the project under this name.
    served BIGINT NOT NULL DEFAULT 0,
    -- When the DNS is looked at again; nothing when never.
    next_check BIGINT,
    -- Who looks at it now, and until when nobody else does.
    lease_holder TEXT,
    lease_until BIGINT,
    -- Grows with every change of `hostname`.
    version BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (name, account)
);

CREATE UNIQUE INDEX domains_served ON domains (name) WHERE served = 1;
CREATE INDEX domains_by_project ON domains (project, name);
CREATE INDEX domains_by_parent ON domains (parent);
CREATE INDEX domains_by_check ON domains (next_check);
