//! Backups on a real file system and a real object store.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use backup::{Backup, BackupError, Secrets, Writer};
use bytes::Bytes;
use common::blob::{self, ObjectStore};
use common::secret::Secret;
use tempfile::TempDir;
use url::Url;

const PASSPHRASE: &str = "a horse that reads";

fn secrets() -> Secrets {
    Secrets {
        master_keys: vec![Secret::new("key")],
        api_token: Secret::new("ast_token"),
        settings: Secret::new("base_domain = \"apps.example\"\n"),
    }
}

fn store(folder: &Path) -> ObjectStore {
    blob::open(&Url::from_directory_path(folder).unwrap()).unwrap()
}

/// A folder with a backup in `backup` and the store that it is of in `store`.
async fn made(with_bytes: bool) -> TempDir {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    std::fs::create_dir_all(at("images/blobs")).unwrap();
    std::fs::write(at("images/blobs/one"), "layer").unwrap();
    std::fs::write(at("images/.tmpAbc"), "half").unwrap();
    let objects = store(&at("store"));
    blob::put(&objects, "blobs/a b", Bytes::from_static(b"page")).await.unwrap();
    blob::put(&objects, "manifests/dpl", Bytes::new()).await.unwrap();
    let mut writer = Writer::begin(&at("backup"), "1.2.3").unwrap();
    std::fs::write(writer.database(), "rows").unwrap();
    writer.add_folder("images", &at("images")).unwrap();
    writer.add_folder("ca", &at("nowhere")).unwrap();
    writer.add_objects(&objects, with_bytes).await.unwrap();
    assert!(!at("backup").exists(), "it is whole or not there");
    writer.finish(&secrets(), &Secret::new(PASSPHRASE)).unwrap();
    work
}

fn open(work: &TempDir) -> Result<Backup, BackupError> {
    Backup::open(&work.path().join("backup"), &Secret::new(PASSPHRASE))
}

#[tokio::test]
async fn what_is_restored_is_what_was_backed_up() {
    let work = made(true).await;
    let backup = open(&work).unwrap();
    assert_eq!(backup.secrets, secrets());
    let data = work.path().join("restored");
    backup.put_database(&data.join("db/astrocloud.db")).unwrap();
    backup.put_folder("images", &data.join("images")).unwrap();
    let read = |name: &str| std::fs::read_to_string(data.join(name)).unwrap();
    assert_eq!((read("db/astrocloud.db"), read("images/blobs/one")), ("rows".to_owned(), "layer".to_owned()));
    assert!(!data.join("images/.tmpAbc").exists());
    let objects = store(&data.join("objects"));
    backup.put_objects(&objects).await.unwrap();
    assert_eq!(blob::get(&objects, "blobs/a b").await.unwrap(), "page");
    assert_eq!(blob::get(&objects, "manifests/dpl").await.unwrap(), "");
    // A second time finds all of it in its place.
    backup.put_objects(&objects).await.unwrap();
    blob::put(&objects, "blobs/a b", Bytes::from_static(b"other")).await.unwrap();
    assert!(matches!(backup.put_objects(&objects).await, Err(BackupError::Damaged(_))));
}

#[tokio::test]
async fn a_backup_without_bytes_needs_a_store_that_has_them() {
    let work = made(false).await;
    let backup = open(&work).unwrap();
    assert!(!work.path().join("backup/objects").exists());
    backup.put_objects(&store(&work.path().join("store"))).await.unwrap();
    let empty = store(&work.path().join("empty"));
    let refused = backup.put_objects(&empty).await.unwrap_err().to_string();
    assert!(refused.starts_with("2 of 2 objects") && refused.contains("--with-objects"), "{refused}");
}

#[tokio::test]
async fn nothing_is_restored_of_a_backup_that_was_changed() {
    for (file, bytes) in [
        ("database.sqlite", "rowz"),
        ("folders/images/blobs/one", ""),
        ("objects/blobs/a b", "pagE"),
        ("secrets.sealed", "nonsense"),
    ] {
        let work = made(true).await;
        std::fs::write(work.path().join("backup").join(file), bytes).unwrap();
        let refused = open(&work).err().unwrap();
        assert!(matches!(refused, BackupError::Damaged(_) | BackupError::Passphrase), "{file}: {refused}");
    }
    let work = made(true).await;
    let manifest = work.path().join("backup/backup.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("folders/images", "../../images")).unwrap();
    assert!(matches!(open(&work), Err(BackupError::Manifest)));
    std::fs::write(&manifest, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    assert!(matches!(open(&work), Err(BackupError::Format(2))));
    std::fs::remove_file(&manifest).unwrap();
    assert!(matches!(open(&work), Err(BackupError::NoBackup(_))));
}

#[tokio::test]
async fn keys_open_with_the_passphrase_alone_and_nothing_is_written_over() {
    let work = made(true).await;
    let place = work.path().join("backup");
    assert!(matches!(Backup::open(&place, &Secret::new("another passphrase")), Err(BackupError::Passphrase)));
    let sealed = std::fs::read_to_string(place.join("secrets.sealed")).unwrap();
    assert!(!sealed.contains("ast_token"));
    assert!(matches!(Writer::begin(&place, "1"), Err(BackupError::Exists(_))));
    let writer = Writer::begin(&work.path().join("second"), "1").unwrap();
    std::fs::write(writer.database(), "rows").unwrap();
    let short = writer.finish(&secrets(), &Secret::new("short")).unwrap_err();
    assert!(matches!(short, BackupError::ShortPassphrase(_)));
    let left: Vec<_> = std::fs::read_dir(work.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".backup")), "{left:?}");
}
