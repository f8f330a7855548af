//! Unpacking a ZIP that a stranger made.
//!
//! In this order: [`directory`] checks how the archive ends and how much it lists, before memory is spent on it;
//! [`plan`] judges every entry, its name with [`path`], and finds what would be lost; only then is anything written.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use tokio_util::sync::CancellationToken;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::Limits;
use crate::tree::Tally;

mod directory;
mod error;
mod path;
mod plan;

pub use error::ArchiveError;
pub(crate) use error::shown;

use plan::Plan;

/// Bytes that are unpacked at once.
const CHUNK: usize = 64 << 10;

/// Unpacks `file` into `into`, an empty folder that nobody else writes to. Blocking; ends soon after `canceled`.
pub(crate) fn unpack(
    file: File,
    into: &Path,
    limits: &Limits,
    canceled: &CancellationToken,
) -> Result<Tally, ArchiveError> {
    let mut file = BufReader::new(file);
    let listed = directory::check(&mut file, limits.entries)?;
    let mut archive = ZipArchive::new(file).map_err(|error| unreadable("its directory", error))?;
    // The reader keeps one entry for each name; a second name in a field of its own can hide a double.
    if archive.len() as u64 != listed {
        return Err(ArchiveError::Damaged { what: "its directory".into(), why: "it lists a name twice".into() });
    }
    let plan = Plan::of(&archive, limits)?;
    if archive.has_overlapping_entries().map_err(|error| unreadable("its directory", error))? {
        let why = "two of its entries are made of the same bytes, as in a ZIP bomb".into();
        return Err(ArchiveError::Damaged { what: "its directory".into(), why });
    }
    let mut unpacking = Unpacking { archive, into, limits, canceled, tally: Tally::default() };
    for folder in &plan.folders {
        fs::create_dir(into.join(folder))?;
    }
    for file in &plan.files {
        unpacking.file(file)?;
    }
    // Last, so that nothing is ever written through a link.
    for link in &plan.links {
        unpacking.link(link)?;
    }
    Ok(unpacking.tally)
}

struct Unpacking<'a> {
    archive: ZipArchive<BufReader<File>>,
    into: &'a Path,
    limits: &'a Limits,
    canceled: &'a CancellationToken,
    tally: Tally,
}

impl Unpacking<'_> {
    fn file(&mut self, file: &plan::File) -> Result<(), ArchiveError> {
        let name = &file.path;
        let mut entry = self.archive.by_index(file.index).map_err(|error| unreadable(shown(name), error))?;
        let mode = if file.executable { 0o755 } else { 0o644 };
        let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(self.into.join(name))?;
        out.set_permissions(fs::Permissions::from_mode(mode))?;
        let mut buffer = vec![0; CHUNK];
        let mut bytes = 0;
        loop {
            if self.canceled.is_cancelled() {
                return Err(ArchiveError::Canceled);
            }
            let n = entry.read(&mut buffer).map_err(|error| unreadable(shown(name), error.into()))?;
            if n == 0 {
                break;
            }
            // What is really there counts, not what the archive says.
            bytes += n as u64;
            self.tally.bytes += n as u64;
            if bytes > self.limits.file_bytes {
                return Err(ArchiveError::FileTooLarge { name: shown(name), limit: self.limits.file_bytes });
            }
            if self.tally.bytes > self.limits.bytes {
                return Err(ArchiveError::TooLarge { limit: self.limits.bytes });
            }
            out.write_all(&buffer[..n])?;
        }
        self.tally.files += 1;
        Ok(())
    }

    fn link(&mut self, link: &plan::Link) -> Result<(), ArchiveError> {
        let name = &link.path;
        let entry = self.archive.by_index(link.index).map_err(|error| unreadable(shown(name), error))?;
        let mut target = Vec::new();
        entry
            .take(path::TARGET_BYTES + 1)
            .read_to_end(&mut target)
            .map_err(|error| unreadable(shown(name), error.into()))?;
        let target = path::target(name, &target).map_err(|why| ArchiveError::UnsafeLink {
            name: shown(name),
            target: shown(&String::from_utf8_lossy(&target)),
            why,
        })?;
        symlink(target, self.into.join(name))?;
        self.tally.files += 1;
        Ok(())
    }
}

/// Tells what is wrong with the archive, at `what`, from what is wrong with this host.
fn unreadable(what: impl Into<String>, error: ZipError) -> ArchiveError {
    let why = match error {
        ZipError::Io(error) if error.raw_os_error().is_some() => return error.into(),
        ZipError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "it ends too early".into(),
        ZipError::Io(error) => error.to_string(),
        ZipError::InvalidArchive(why) => why.into_owned(),
        ZipError::UnsupportedArchive(why) => why.into(),
        error => error.to_string(),
    };
    ArchiveError::Damaged { what: what.into(), why }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn unpacking_ends_when_it_is_canceled() {
        let mut zip = zip::ZipWriter::new(tempfile::tempfile().unwrap());
        zip.start_file("a", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"1").unwrap();
        let mut file = zip.finish().unwrap();
        file.rewind().unwrap();
        let into = tempfile::tempdir().unwrap();
        let canceled = CancellationToken::new();
        canceled.cancel();
        let ended = unpack(file, into.path(), &Limits::default(), &canceled);
        assert!(matches!(ended, Err(ArchiveError::Canceled)));
        assert_eq!(fs::read(into.path().join("a")).unwrap(), b"");
    }
}
