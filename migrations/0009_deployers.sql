-- Deployers that build and run apps.
CREATE TABLE deployers (
    -- Another one for each process.
    id TEXT NOT NULL PRIMARY KEY,
    seen_at BIGINT NOT NULL,
    -- 1 once it is about to end: its apps are started elsewhere.
    leaving BIGINT NOT NULL DEFAULT 0
);

-- The deployer that is to run an app, and the one whose word its revision is.
ALTER TABLE deployments ADD COLUMN placed_on TEXT;
ALTER TABLE deployments ADD COLUMN runs_on TEXT;
CREATE INDEX deployments_by_runner ON deployments (runs_on);
