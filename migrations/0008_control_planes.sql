-- Control planes that work on this database.
CREATE TABLE control_planes (
    id TEXT NOT NULL PRIMARY KEY,
    seen_at BIGINT NOT NULL,
    -- How many edges hang on it.
    edges BIGINT NOT NULL,
    -- Number of the change of routes up to which its edges have applied everything, or are behind.
    told BIGINT NOT NULL,
    -- Those that are behind, JSON.
    behind TEXT NOT NULL
);

-- On which of them an edge hangs, or did last.
ALTER TABLE known_edges ADD COLUMN control_plane TEXT;

-- The last change of each project's routes. Changes of routes and purges are numbered together.
CREATE TABLE route_changes (
    project TEXT NOT NULL PRIMARY KEY,
    change BIGINT NOT NULL
);

CREATE INDEX route_changes_by_change ON route_changes (change);

-- What edges are to forget.
CREATE TABLE purges (
    change BIGINT NOT NULL PRIMARY KEY,
    -- JSON.
    purge TEXT NOT NULL,
    made_at BIGINT NOT NULL
);

-- Number of its last change, by which control planes tell their clients.
ALTER TABLE deployments ADD COLUMN change BIGINT NOT NULL DEFAULT 0;
CREATE INDEX deployments_by_change ON deployments (change);

-- Numbers of the last changes: of routes and purges, of deployments, and of which apps are wanted.
INSERT INTO counters (name, value) VALUES ('routes', 0), ('deployments', 0), ('apps', 0);
