//! Files with secrets, written whole or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use common::secret::random_bytes;

/// How a file ends that is not whole yet.
pub(crate) const PART: &str = "part";

/// Writes a file that only its owner can read. Several may do so at once, as two edges do while one takes over from the
/// other: each writes a file of its own before it puts it in its place.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_added_extension(format!("{:016x}.{PART}", u64::from_be_bytes(random_bytes())));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&part, path)).inspect_err(|_| {
        // The failure that is told is the one that led here.
        let _ = fs::remove_file(&part);
    })
}
