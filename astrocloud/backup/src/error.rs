//! Why a backup can't be written, read or used.

use std::path::{Path, PathBuf};

use crate::manifest::FORMAT;

/// Why nothing was written or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is at the place already.
    #[error("{0} is there already: name a place where nothing is")]
    Exists(PathBuf),
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder holds no backup.
    #[error("{0} holds no backup: it has no readable backup.json")]
    NoBackup(PathBuf),
    /// A later version wrote it.
    #[error(
        "the backup has format {0}, and this version reads {FORMAT} and older: restore it with the version that wrote it"
    )]
    Format(u32),
    /// Another passphrase sealed it, or it was changed.
    #[error("the backup's keys can't be opened: the passphrase is another one, or secrets.sealed was changed")]
    Passphrase,
    /// It can be guessed.
    #[error("the passphrase is too short: whoever has the backup can guess it. Take at least {0} characters")]
    ShortPassphrase(usize),
    /// The manifest is not the one that was written.
    #[error("backup.json is not what was written: nothing was restored")]
    Manifest,
    /// A file or object is damaged or missing.
    #[error("{0} is missing or not what was backed up: nothing was restored")]
    Damaged(String),
    /// Objects that the backup only names are not in the store.
    #[error(
        "{missing} of {all} objects are not in the object store, {example} for one. The backup has no bytes of them \
         (--with-objects includes them): name the store that has them in the settings"
    )]
    Objects {
        /// How many.
        missing: usize,
        /// Of how many.
        all: usize,
        /// One of them.
        example: String,
    },
    /// The object store failed.
    #[error("the object store failed: {0}")]
    Store(#[from] object_store::Error),
    /// Argon2 or JSON failed.
    #[error("the backup's keys can't be sealed: {0}")]
    Seal(String),
}

impl BackupError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}
