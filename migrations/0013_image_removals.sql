-- Images that no deployment needs any more, until they are deleted from the registry.
CREATE TABLE image_removals (
    reference TEXT NOT NULL PRIMARY KEY,
    -- When it was found to be unneeded.
    since BIGINT NOT NULL,
    -- When it is tried next; while it is being deleted, when that is given up.
    due_at BIGINT NOT NULL,
    -- 1 while a control plane deletes it: no deployment may come to need it then.
    deleting BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    -- Why the last attempt failed.
    failure TEXT
);
