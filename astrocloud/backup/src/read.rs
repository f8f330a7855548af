//! Reading a backup, and putting back what it holds.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use common::blob::ObjectStore;
use common::secret::Secret;
use futures::TryStreamExt as _;
use object_store::{ObjectStoreExt as _, WriteMultipart};

use crate::error::BackupError;
use crate::files;
use crate::manifest::{Entry, FORMAT, Manifest};
use crate::secrets::{self, Secrets};

/// Names in a backup's folder.
pub(crate) const MANIFEST: &str = "backup.json";
pub(crate) const SECRETS: &str = "secrets.sealed";
pub(crate) const DATABASE: &str = "database.sqlite";
pub(crate) const FOLDERS: &str = "folders";
pub(crate) const OBJECTS: &str = "objects";

/// Bytes that are put at once, and pieces of one object that are on their way.
const CHUNK: usize = 1 << 20;
const IN_FLIGHT: usize = 4;

/// A backup whose every byte was found to be what was written.
pub struct Backup {
    folder: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
    /// Its secrets.
    pub secrets: Secrets,
}

impl Backup {
    /// Opens a backup and checks all that it holds.
    ///
    /// # Errors
    /// When there is none, the passphrase is another one, or anything was changed since it was written.
    pub fn open(folder: &Path, passphrase: &Secret) -> Result<Self, BackupError> {
        let none = |_| BackupError::NoBackup(folder.to_owned());
        let text = std::fs::read(folder.join(MANIFEST)).map_err(none)?;
        let known: Format = serde_json::from_slice(&text).map_err(|_| BackupError::NoBackup(folder.to_owned()))?;
        if known.format > FORMAT {
            return Err(BackupError::Format(known.format));
        }
        let sealed = std::fs::read_to_string(folder.join(SECRETS)).map_err(BackupError::io(&folder.join(SECRETS)))?;
        let secrets = secrets::open(&sealed, &text, passphrase)?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| BackupError::NoBackup(folder.to_owned()))?;
        let backup = Self { folder: folder.to_owned(), manifest, secrets };
        for entry in &backup.manifest.files {
            same(entry, &backup.path("", &entry.name)?)?;
        }
        if backup.manifest.objects.included {
            for entry in &backup.manifest.objects.each {
                same(entry, &backup.path(OBJECTS, &entry.name)?)?;
            }
        }
        Ok(backup)
    }

    /// The database: a SQLite file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.join(DATABASE)
    }

    /// Copies the database to a place where nothing is.
    ///
    /// # Errors
    /// When it can't be written there.
    pub fn put_database(&self, to: &Path) -> Result<(), BackupError> {
        files::copy(DATABASE.to_owned(), &self.database(), Some(to)).map(drop)
    }

    /// Puts the files of a folder below `to`.
    ///
    /// # Errors
    /// When a file is there already or can't be written.
    pub fn put_folder(&self, name: &str, to: &Path) -> Result<(), BackupError> {
        let prefix = format!("{FOLDERS}/{name}/");
        for entry in &self.manifest.files {
            if let Some(within) = entry.name.strip_prefix(&prefix) {
                files::copy(entry.name.clone(), &self.path("", &entry.name)?, Some(&to.join(within)))?;
            }
        }
        Ok(())
    }

    /// Puts the objects into a store, those that are there with the same bytes excepted. When the backup only names them,
    /// makes sure that the store has each.
    ///
    /// # Errors
    /// When the store fails, an object of the same name is another one, or one is missing that the backup only names.
    pub async fn put_objects(&self, store: &ObjectStore) -> Result<(), BackupError> {
        let objects = &self.manifest.objects;
        let mut missing = BTreeSet::new();
        for entry in &objects.each {
            let key = object_store::path::Path::from(entry.name.as_str());
            match digest(store, &key).await? {
                Some(found) if found == entry.blake3 => {}
                // Never written over: it is somebody else's.
                Some(_) => return Err(BackupError::Damaged(format!("the object {}", entry.name))),
                None if objects.included => put(store, &key, &self.path(OBJECTS, &entry.name)?).await?,
                None => {
                    missing.insert(entry.name.as_str());
                }
            }
        }
        match missing.first() {
            None => Ok(()),
            Some(example) => Err(BackupError::Objects {
                missing: missing.len(),
                all: objects.each.len(),
                example: (*example).to_owned(),
            }),
        }
    }

    /// The path of something in the backup, which is never outside it.
    fn path(&self, below: &str, name: &str) -> Result<PathBuf, BackupError> {
        if Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            Ok(self.folder.join(below).join(name))
        } else {
            Err(BackupError::Damaged(name.to_owned()))
        }
    }
}

/// The part of a manifest that every format has.
#[derive(serde::Deserialize)]
struct Format {
    format: u32,
}

fn same(entry: &Entry, path: &Path) -> Result<(), BackupError> {
    match files::copy(entry.name.clone(), path, None) {
        Ok(found) if found == *entry => Ok(()),
        Ok(_) => Err(BackupError::Damaged(entry.name.clone())),
        Err(BackupError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(BackupError::Damaged(entry.name.clone()))
        }
        Err(e) => Err(e),
    }
}

async fn digest(store: &ObjectStore, key: &object_store::path::Path) -> Result<Option<String>, BackupError> {
    let got = match store.get(key).await {
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        other => other?,
    };
    let mut hasher = blake3::Hasher::new();
    let mut chunks = got.into_stream();
    while let Some(chunk) = chunks.try_next().await? {
        hasher.update(&chunk);
    }
    Ok(Some(hasher.finalize().to_hex().to_string()))
}

async fn put(store: &ObjectStore, key: &object_store::path::Path, from: &Path) -> Result<(), BackupError> {
    let mut file = std::fs::File::open(from).map_err(BackupError::io(from))?;
    let mut upload = WriteMultipart::new(store.put_multipart(key).await?);
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = file.read(&mut buffer).map_err(BackupError::io(from))?;
        if length == 0 {
            break;
        }
        upload.wait_for_capacity(IN_FLIGHT).await?;
        upload.write(&buffer[..length]);
    }
    upload.finish().await?;
    Ok(())
}
