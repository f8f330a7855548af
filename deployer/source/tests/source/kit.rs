//! What the tests share: a fetcher with a store of its own, a place to fetch into, and what was said meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::blob::{self, ObjectStore};
use common::bus::file::FileBus;
use common::bus::{Bus, Topic};
use common::id::{DeploymentId, UploadId};
use common::source::{Source, upload_key};
use logs::{Log, Mask};
use sandbox::{Level, Options, Sandbox};
use source::{FetchError, Fetched, Fetcher, Limits};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The sandbox of this host, found once.
pub async fn sandbox() -> Sandbox {
    static FOUND: OnceCell<Sandbox> = OnceCell::const_new();
    FOUND.get_or_init(|| Sandbox::detect(helper(), Options::default())).await.clone()
}

/// A sandbox for every level that this host offers.
pub async fn sandboxes() -> Vec<Sandbox> {
    let mut found = Vec::new();
    for level in Level::ALL {
        let forbid = Level::ALL.into_iter().filter(|other| *other != level).collect();
        let sandbox = Sandbox::detect(helper(), Options { forbid, ..Options::default() }).await;
        if sandbox.level() == level {
            found.push(sandbox);
        }
    }
    found
}

fn helper() -> PathBuf {
    env!("CARGO_BIN_EXE_source-helper").into()
}

/// A place to fetch into, and the one who fetches.
pub struct Place {
    pub limits: Limits,
    /// Where git runs, if not in the best sandbox there is.
    pub sandbox: Option<Sandbox>,
    folder: TempDir,
    store: ObjectStore,
    bus: Bus,
    topic: Topic,
    log: Log,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(folder.path().join("work/source")).unwrap();
        let bus: Bus = Arc::new(FileBus::new(folder.path().join("bus")).unwrap());
        let topic = Topic::build(DeploymentId::new());
        let log = Log::start(bus.clone(), topic.clone(), Mask::default(), None);
        let store = Arc::new(object_store::memory::InMemory::new());
        Self { limits: Limits::default(), sandbox: None, folder, store, bus, topic, log }
    }

    /// The folder to fetch into.
    pub fn target(&self) -> PathBuf {
        self.work().join("source")
    }

    /// The folder that it lies in, where temporary files go.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Everything below the place, outside of the folder to fetch into and of the log.
    pub fn beside(&self) -> Vec<PathBuf> {
        let list = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        let mut found = list(self.folder.path());
        found.extend(list(&self.work()));
        found.retain(|path| ![self.work(), self.target(), self.folder.path().join("bus")].contains(path));
        found
    }

    pub async fn fetch(&self, source: &Source, branch: Option<&str>) -> Result<Fetched, FetchError> {
        let sandbox = match &self.sandbox {
            Some(sandbox) => sandbox.clone(),
            None => sandbox().await,
        };
        let fetcher = Fetcher::new(self.store.clone(), sandbox, self.limits);
        fetcher.fetch(source, branch, &self.target(), &self.log).await
    }

    /// Uploads an archive, and gives the source that it is.
    pub async fn upload(&self, archive: Vec<u8>) -> Source {
        let upload = UploadId::new();
        blob::put(&self.store, &upload_key(&upload), archive.into()).await.unwrap();
        Source::Upload { upload, label: None }
    }

    /// Uploads an archive and unpacks it.
    pub async fn unpack(&self, archive: Vec<u8>) -> Result<Fetched, FetchError> {
        let source = self.upload(archive).await;
        self.fetch(&source, None).await
    }

    /// Unpacks an archive that must be refused: gives the code and the sentence. What is refused leaves nothing beside.
    pub async fn refused(&self, archive: Vec<u8>) -> (&'static str, String) {
        let error = self.unpack(archive).await.unwrap_err();
        assert_eq!(self.beside(), [""; 0].map(PathBuf::from));
        assert!(!error.is_transient());
        (error.code(), error.to_string())
    }

    /// The tree that was fetched: what each path has. Folders are not listed, links show where they lead.
    pub fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        collect(&self.target(), &self.target(), &mut tree);
        tree
    }

    /// The permissions of a file.
    pub fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.target().join(path)).unwrap().permissions().mode() & 0o777
    }

    /// What the log says.
    pub async fn said(&self) -> String {
        self.log.flush().await;
        let records = self.bus.read(&self.topic, 0).await.unwrap().records;
        records.iter().map(|record| format!("{}\n", record.text)).collect()
    }
}

fn collect(root: &Path, folder: &Path, tree: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.is_symlink() {
            tree.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
        } else if path.is_dir() {
            collect(root, &path, tree);
        } else {
            tree.insert(name, String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned());
        }
    }
}

/// A tree to compare with.
pub fn tree(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

pub fn stored() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Stored)
}

pub fn deflated() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).compression_level(Some(6))
}

/// A ZIP that a good tool makes.
pub fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    made(|zip| {
        for (name, text) in files {
            zip.start_file(*name, deflated()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
    })
}

/// A ZIP that a good tool makes of anything.
pub fn made(fill: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    fill(&mut zip);
    zip.finish().unwrap().into_inner()
}

/// Where `bytes` occurs in `all`.
pub fn positions(all: &[u8], bytes: &[u8]) -> Vec<usize> {
    (0..=all.len() - bytes.len()).filter(|at| all[*at..].starts_with(bytes)).collect()
}

/// Writes `bytes` over `all` at a distance behind each occurrence of `mark`.
pub fn patch(all: &mut [u8], mark: &[u8], distance: usize, bytes: &[u8]) {
    for at in positions(all, mark) {
        all[at + distance..at + distance + bytes.len()].copy_from_slice(bytes);
    }
}

/// How a local header, an entry of the directory, and the record at the end begin.
pub const LOCAL: &[u8] = b"PK\x03\x04";
pub const ENTRY: &[u8] = b"PK\x01\x02";
pub const END: &[u8] = b"PK\x05\x06";
