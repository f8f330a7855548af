-- The hold of a deployer on a deployment: what it says of it counts as long as this is its claim.
ALTER TABLE deployments ADD COLUMN claim TEXT;
-- Whose claim it is.
ALTER TABLE deployments ADD COLUMN deployer TEXT;
-- Until when nobody else may take it.
ALTER TABLE deployments ADD COLUMN claimed_until BIGINT;
