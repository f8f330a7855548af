//! What is to be unpacked where: every entry judged, before anything is written.

use std::collections::{BTreeSet, HashMap};

use unicode_normalization::UnicodeNormalization as _;
use zip::read::ZipFileEntry;
use zip::{CompressionMethod, System, ZipArchive};

use super::path::{self, Place};
use super::{ArchiveError, shown};
use crate::Limits;

/// The part of a Unix mode that tells the kind, and the kinds.
const KIND: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// A tree that can be written.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Every folder, also those that are only part of a file's path. A folder sorts before what it contains.
    pub(super) folders: BTreeSet<String>,
    pub(super) files: Vec<File>,
    pub(super) links: Vec<Link>,
    /// What has a name already, by what is left of names where case and Unicode form do not count.
    taken: HashMap<String, Taken>,
}

/// A file to write.
#[derive(Debug)]
pub(super) struct File {
    /// Its index in the archive.
    pub(super) index: usize,
    pub(super) path: String,
    pub(super) executable: bool,
}

/// A link to make.
#[derive(Debug)]
pub(super) struct Link {
    /// Its index in the archive.
    pub(super) index: usize,
    pub(super) path: String,
}

#[derive(Debug)]
struct Taken {
    path: String,
    folder: bool,
}

impl Plan {
    /// Judges all entries. Their sizes are still only claims here: refusing by them is quick, and what is really
    /// written is counted again.
    pub(super) fn of<R: std::io::Read + std::io::Seek>(
        archive: &ZipArchive<R>,
        limits: &Limits,
    ) -> Result<Self, ArchiveError> {
        let mut plan = Self::default();
        let mut bytes = 0_u64;
        for index in 0..archive.len() {
            let entry = archive.by_index_data(index).map_err(|error| super::unreadable("its directory", error))?;
            bytes = bytes.saturating_add(plan.add(index, &entry, limits)?);
            if bytes > limits.bytes {
                return Err(ArchiveError::TooLarge { limit: limits.bytes });
            }
            let entries = plan.folders.len() + plan.files.len() + plan.links.len();
            if entries as u64 > limits.entries {
                return Err(ArchiveError::TooManyFiles { listed: None, limit: limits.entries });
            }
        }
        if plan.files.is_empty() {
            return Err(ArchiveError::Empty);
        }
        Ok(plan)
    }

    /// Adds an entry, and says how many bytes it claims to have.
    fn add(&mut self, index: usize, entry: &ZipFileEntry<'_>, limits: &Limits) -> Result<u64, ArchiveError> {
        // UTF-8 where it is, flagged or not, since many tools forget the flag; else the format's old code page.
        let name = entry.name().map_err(|error| super::unreadable("its directory", error))?;
        let windows = !matches!(entry.system(), System::Unix | System::OsDarwin);
        let placed = path::place(&name, windows);
        let placed = placed.map_err(|why| ArchiveError::UnsafeName { name: shown(&name), why })?;
        let Some(Place { path, folder }) = placed.filter(|place| !path::is_litter(&place.path)) else {
            return Ok(0);
        };
        let mode = entry.unix_mode().unwrap_or_default();
        if folder || mode & KIND == FOLDER {
            self.folder(&path)?;
            return Ok(0);
        }
        if !matches!(mode & KIND, 0 | FILE | LINK) {
            return Err(ArchiveError::Special { name: shown(&name) });
        }
        if entry.encrypted() {
            return Err(ArchiveError::Encrypted { name: shown(&name) });
        }
        if let Some(method) = unsupported(entry.compression()) {
            return Err(ArchiveError::Method { name: shown(&name), method });
        }
        if entry.size() > limits.file_bytes {
            return Err(ArchiveError::FileTooLarge { name: shown(&name), limit: limits.file_bytes });
        }
        self.take(&path, false)?;
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent)?;
        }
        if mode & KIND == LINK {
            self.links.push(Link { index, path });
        } else {
            self.files.push(File { index, path, executable: mode & 0o111 != 0 });
        }
        Ok(entry.size())
    }

    /// Adds a folder and those that it lies in.
    fn folder(&mut self, path: &str) -> Result<(), ArchiveError> {
        let mut path = path;
        while !self.folders.contains(path) {
            self.take(path, true)?;
            self.folders.insert(path.to_owned());
            match path.rsplit_once('/') {
                Some((parent, _)) => path = parent,
                None => break,
            }
        }
        Ok(())
    }

    /// Takes a name. Folders may differ in case or Unicode form only: nothing is lost where they become one.
    fn take(&mut self, path: &str, folder: bool) -> Result<(), ArchiveError> {
        let key = key(path);
        if let Some(other) = self.taken.get(&key) {
            if folder && other.folder {
                return Ok(());
            }
            if other.path == path {
                let how = if folder == other.folder { "twice" } else { "as a folder and as something else" };
                return Err(ArchiveError::Twice { name: shown(path), how });
            }
            let what = if other.path.nfc().eq(path.nfc()) { "Unicode form" } else { "case" };
            return Err(ArchiveError::Collision { first: shown(&other.path), second: shown(path), what });
        }
        self.taken.insert(key, Taken { path: path.to_owned(), folder });
        Ok(())
    }
}

/// What is left of a path where case and Unicode form do not count.
fn key(path: &str) -> String {
    if path.is_ascii() { path.to_ascii_lowercase() } else { path.nfc().flat_map(char::to_lowercase).nfc().collect() }
}

/// The name of a method that is not supported.
fn unsupported(method: CompressionMethod) -> Option<&'static str> {
    Some(match method {
        CompressionMethod::Stored | CompressionMethod::Deflated => return None,
        CompressionMethod::DEFLATE64 => "Deflate64",
        CompressionMethod::BZIP2 => "bzip2",
        CompressionMethod::LZMA => "LZMA",
        CompressionMethod::ZSTD => "Zstandard",
        CompressionMethod::XZ => "XZ",
        CompressionMethod::PPMD => "PPMd",
        _ => "an unusual method",
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn collide(paths: &[&str]) -> Option<String> {
        let mut plan = Plan::default();
        paths.iter().find_map(|path| {
            let file = plan.take(path, false);
            let parent = path.rsplit_once('/').map(|(parent, _)| plan.folder(parent));
            file.and(parent.unwrap_or(Ok(()))).err().map(|error| error.to_string())
        })
    }

    #[test]
    fn names_that_would_be_one_elsewhere_collide() {
        assert!(collide(&["a/Logo.png", "a/logo.PNG"]).unwrap().contains("case"));
        assert!(collide(&["caf\u{e9}.txt", "cafe\u{301}.txt"]).unwrap().contains("Unicode"));
        assert!(collide(&["\u{c9}", "e\u{301}"]).is_some());
        assert!(collide(&["src/App.js", "Src/app.js"]).unwrap().contains("`src/App.js` and `Src/app.js`"));
        assert!(collide(&["a", "a/b"]).unwrap().contains("as a folder and"));
        assert!(collide(&["a/b", "A"]).is_some());
    }

    #[test]
    fn names_that_stay_apart_do_not() {
        assert_eq!(collide(&["a/x", "A/y", "b", "c/a", "c/b", "d-c/a"]), None);
    }

    #[test]
    fn every_folder_of_a_path_is_planned_before_what_it_contains() {
        let mut plan = Plan::default();
        for folder in ["a/b/c", "a-b", "a"] {
            plan.folder(folder).unwrap();
        }
        assert_eq!(plan.folders.iter().collect::<Vec<_>>(), ["a", "a-b", "a/b", "a/b/c"]);
    }
}
