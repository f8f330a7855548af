//! Certificates in a folder, sealed with the installation's master key. Every call waits for the disk.
//!
//! `ID.certificate` is a certificate, `ID.renews` the ids that may be shown as long as it is not here, one a line.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::certificate::Certificate;
use common::secret::{MasterKey, Secret};

use crate::file::{self, PART};

/// How a certificate's file ends.
const CERTIFICATE: &str = "certificate";
/// How a list of what an id renews ends.
const RENEWS: &str = "renews";
/// Age at which a file that is not whole is nobody's any more: writing takes milliseconds.
const ABANDONED: Duration = Duration::from_secs(60 * 60);
/// Longest id: with its ending it is a file's name.
const MAX_ID: usize = 128;
/// Most ids that one renews: those of as many names that had a certificate each and now share one.
const MAX_RENEWED: usize = 100;

/// Whether an id can be a file's name: letters, digits, `-` and `_`.
pub(super) fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The folder. Cheap to clone.
#[derive(Clone)]
pub(super) struct Disk {
    folder: Arc<PathBuf>,
    master: MasterKey,
}

impl Disk {
    pub(super) fn open(folder: PathBuf, master: MasterKey) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder: Arc::new(folder), master })
    }

    fn path(&self, id: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{id}.{ending}"))
    }

    fn read_file(&self, id: &str, ending: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.path(id, ending)) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn write_file(&self, id: &str, ending: &str, text: &str) -> io::Result<()> {
        file::write(&self.path(id, ending), text.as_bytes())
    }

    /// What is kept of an id. A file that can't be opened counts as none, and the log says so.
    pub(super) fn read(&self, id: &str) -> io::Result<Option<Certificate>> {
        let Some(sealed) = self.read_file(id, CERTIFICATE)? else { return Ok(None) };
        let opened = self.master.open(&sealed).map_err(|e| e.to_string());
        let read = opened.and_then(|text| serde_json::from_str(text.reveal()).map_err(|e| e.to_string()));
        Ok(read
            .inspect_err(|reason| {
                tracing::error!(id, reason, "a certificate on disk can't be read, and is fetched again")
            })
            .ok())
    }

    pub(super) fn write(&self, certificate: &Certificate) -> io::Result<()> {
        let text = serde_json::to_string(certificate)?;
        self.write_file(&certificate.id, CERTIFICATE, &self.master.seal(&Secret::new(text)))?;
        self.remove(&certificate.id, RENEWS)
    }

    fn has(&self, id: &str) -> io::Result<bool> {
        self.path(id, CERTIFICATE).try_exists()
    }

    fn remove(&self, id: &str, ending: &str) -> io::Result<()> {
        match fs::remove_file(self.path(id, ending)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Which ids may be shown for one that is not here.
    pub(super) fn renewed_by(&self, id: &str) -> io::Result<Vec<Arc<str>>> {
        let text = self.read_file(id, RENEWS)?.unwrap_or_default();
        Ok(text.lines().filter(|line| is_id(line)).map(Arc::from).collect())
    }

    /// Writes down that `new` has taken the place of `old`. Returns whether there is anything to show meanwhile, and
    /// `new` is not here.
    pub(super) fn note_renewal(&self, old: &str, new: &str) -> io::Result<bool> {
        if !is_id(old) || !is_id(new) || self.has(new)? {
            return Ok(false);
        }
        // One that never was loaded leaves those that it renewed.
        let earlier = if self.has(old)? { vec![Arc::from(old)] } else { self.renewed_by(old)? };
        if earlier.is_empty() {
            return Ok(false);
        }
        let mut all = self.renewed_by(new)?;
        all.extend(earlier);
        all.sort_unstable();
        all.dedup();
        all.truncate(MAX_RENEWED);
        self.write_file(new, RENEWS, &all.join("\n"))?;
        Ok(true)
    }

    /// Removes all but what these ids need, and returns the ids of which a certificate was removed.
    pub(super) fn sweep(&self, used: &HashSet<Arc<str>>) -> io::Result<Vec<String>> {
        let mut files: HashMap<String, Vec<&'static str>> = HashMap::new();
        for entry in fs::read_dir(&*self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((id, ending)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
            if let Some(ending) = [CERTIFICATE, RENEWS].into_iter().find(|known| *known == ending) {
                files.entry(id.to_owned()).or_default().push(ending);
            } else if ending == PART && entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > ABANDONED) {
                fs::remove_file(entry.path())?;
            }
        }
        let mut needed: HashSet<Arc<str>> = HashSet::new();
        for (id, endings) in &files {
            if used.contains(&**id) && !endings.contains(&CERTIFICATE) {
                needed.extend(self.renewed_by(id)?);
            }
        }
        let mut removed = Vec::new();
        for (id, endings) in files {
            let is_used = used.contains(&*id);
            for ending in &endings {
                let is_needed = match *ending {
                    CERTIFICATE => is_used || needed.contains(&*id),
                    _ => is_used && !endings.contains(&CERTIFICATE),
                };
                if !is_needed {
                    self.remove(&id, ending)?;
                }
            }
            if endings.contains(&CERTIFICATE) && !is_used && !needed.contains(&*id) {
                removed.push(id);
            }
        }
        Ok(removed)
    }
}
