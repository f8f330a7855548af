//! What a backup holds.

use common::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The format that this version writes.
pub const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format's number.
    pub format: u32,
    /// Version of the platform that wrote it.
    pub version: String,
    /// When the database's snapshot was taken.
    pub made_at: Timestamp,
    /// Files of the backup, by their path in it.
    pub files: Vec<Entry>,
    /// The object store's objects.
    pub objects: Objects,
}

/// The object store's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    /// Whether their bytes are in the backup.
    pub included: bool,
    /// Each, by its key.
    pub each: Vec<Entry>,
}

/// A file or an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Path or key.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the bytes, hexadecimal.
    pub blake3: String,
}
