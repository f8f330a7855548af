-- Edges that follow the route feed, or did a while ago, whichever process runs them.
CREATE TABLE known_edges (
    id TEXT NOT NULL PRIMARY KEY,
    -- When its last connection ended; nothing while it is connected.
    left_at BIGINT
);

-- Since when edges are being told what is live; nothing once they have it or are late.
ALTER TABLE projects ADD COLUMN activating_since BIGINT;
-- Edges that were late when it became live, JSON.
ALTER TABLE projects ADD COLUMN late_edges TEXT;
