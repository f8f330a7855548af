//! Files that are copied and hashed in one pass.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use crate::error::BackupError;
use crate::manifest::Entry;

/// Bytes that are read at once.
const CHUNK: usize = 128 << 10;

/// Copies a file to a place where nothing is, and tells what was copied. With no place, it only reads.
pub(crate) fn copy(name: String, from: &Path, to: Option<&Path>) -> Result<Entry, BackupError> {
    let mut source = File::open(from).map_err(BackupError::io(from))?;
    let mut target = to.map(|to| create(to).map(|file| (file, to))).transpose()?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let length = source.read(&mut buffer).map_err(BackupError::io(from))?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        size += length as u64;
        if let Some((file, to)) = &mut target {
            file.write_all(&buffer[..length]).map_err(BackupError::io(to))?;
        }
    }
    if let Some((file, to)) = target {
        file.sync_all().map_err(BackupError::io(to))?;
    }
    Ok(Entry { name, size, blake3: hasher.finalize().to_hex().to_string() })
}

/// Makes a file where none is, and the folders above it.
pub(crate) fn create(path: &Path) -> Result<File, BackupError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(BackupError::io(parent))?;
    }
    File::create_new(path).map_err(BackupError::io(path))
}
