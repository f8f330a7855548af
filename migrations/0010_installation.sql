-- What all control planes of the installation have in common.
CREATE TABLE installation (
    name TEXT NOT NULL PRIMARY KEY,
    -- Encrypted with the installation's master key.
    sealed TEXT NOT NULL
);
