//! A tree of files that has arrived: how much it is, and whether that is too much.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use tokio_util::sync::CancellationToken;
use walkdir::WalkDir;

use crate::{FetchError, GitError, Limits};

/// How much a source is. For people: `123 files, 4.5 MiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Files and links.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.files == 1 { "file" } else { "files" };
        write!(out, "{} {noun}, {}", self.files, logs::size(self.bytes))
    }
}

/// Makes a checkout a plain tree: takes git's own records out of it, the submodules' too, and checks it against the
/// limits. Blocking.
///
/// Links are kept as they are, also those that lead nowhere or out of the tree: repositories have them, and no later
/// stage follows a link out of the tree.
pub(crate) fn settle(root: &Path, limits: &Limits, canceled: &CancellationToken) -> Result<Tally, FetchError> {
    let (mut tally, mut entries) = (Tally::default(), 0);
    let mut walk = WalkDir::new(root).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        if canceled.is_cancelled() {
            return Err(io::Error::from(io::ErrorKind::Interrupted).into());
        }
        let entry = entry.map_err(io::Error::from)?;
        let folder = entry.file_type().is_dir();
        // No file of a repository can have this name: git refuses it.
        if entry.file_name() == ".git" {
            if folder {
                fs::remove_dir_all(entry.path())?;
                walk.skip_current_dir();
            } else {
                fs::remove_file(entry.path())?;
            }
            continue;
        }
        entries += 1;
        if entries > limits.entries {
            return Err(GitError::TooManyFiles { limit: limits.entries }.into());
        }
        if folder {
            continue;
        }
        let bytes = entry.metadata().map_err(io::Error::from)?.len();
        if bytes > limits.file_bytes {
            let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
            let path = crate::archive::shown(&path.to_string_lossy());
            return Err(GitError::FileTooLarge { path, bytes, limit: limits.file_bytes }.into());
        }
        tally.files += 1;
        tally.bytes += bytes;
        if tally.bytes > limits.bytes {
            return Err(GitError::TooLarge { limit: limits.bytes }.into());
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in [".git/objects", "lib/sub"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join(".git/objects/pack"), vec![0; 4096]).unwrap();
        fs::write(root.path().join("lib/sub/.git"), "gitdir: ../../.git/modules/sub").unwrap();
        fs::write(root.path().join("index.html"), "hello").unwrap();
        fs::write(root.path().join("lib/sub/a.js"), "1").unwrap();
        std::os::unix::fs::symlink("/nowhere", root.path().join("dangling")).unwrap();
        root
    }

    #[test]
    fn gits_own_records_are_taken_out_and_do_not_count() {
        let root = tree();
        let tally = settle(root.path(), &Limits::default(), &CancellationToken::new()).unwrap();
        assert_eq!(tally.files, 3);
        assert!(!root.path().join(".git").exists() && !root.path().join("lib/sub/.git").exists());
        assert!(root.path().join("dangling").is_symlink());
    }

    #[test]
    fn each_limit_is_named() {
        let root = tree();
        let refused = |limits: Limits| settle(root.path(), &limits, &CancellationToken::new()).unwrap_err();
        let entries = refused(Limits { entries: 4, ..Limits::default() });
        assert!(entries.to_string().contains("more than 4 files"), "{entries}");
        let bytes = refused(Limits { bytes: 10, ..Limits::default() });
        assert!(bytes.to_string().contains("10 bytes"), "{bytes}");
        let file = refused(Limits { file_bytes: 4, ..Limits::default() });
        assert_eq!(file.code(), "source_too_large");
    }
}
