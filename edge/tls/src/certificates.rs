//! Certificates by id: loaded when the first visitor needs them, kept on disk, bounded in memory.
//!
//! An id never changes its contents, so what is loaded once is good. A renewed certificate has another id; until
//! that one is loaded, visitors are shown the one before it. On disk that is written down beside the
//! new id, so it also holds after a restart.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::certificate::Certificate;
use common::secret::MasterKey;
use moka::future::Cache;
use tokio::sync::Semaphore;

use crate::settings::Settings;

mod disk;
mod shown;
mod staple;

use disk::Disk;
pub use shown::{Shown, Unusable};
pub(crate) use staple::Stapled;

/// For how long a failure is remembered, so that a busy name whose certificate is missing costs little; and how
/// long a renewed certificate that can't be loaded is left alone. Short, because visitors are turned away meanwhile.
const RETRY: Duration = Duration::from_secs(5);
/// Most failures that are remembered; each is some hundred bytes.
const MAX_FAILED: u64 = 10_000;
/// Certificates that are fetched at once: enough to fill the time of a slow source, few enough not to burden it.
const MAX_FETCHING: usize = 64;
/// Longest time in which a certificate is fetched. Below what visitors wait for a handshake.
const FETCH: Duration = Duration::from_secs(8);

/// Where certificates come from that are not on disk.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Gets the certificate of an id.
    ///
    /// # Errors
    /// When there is none, or it can't be got now.
    async fn fetch(&self, id: &str) -> Result<Certificate, SourceError>;
}

/// Why a source gave no certificate.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The id is unknown.
    #[error("the control plane knows no such certificate")]
    Unknown,
    /// It may be had later.
    #[error("it can't be fetched: {0}")]
    Failed(String),
}

/// Why a certificate can't be shown.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The id can't be a file's name.
    #[error("`{0}` is no certificate's id")]
    Id(String),
    /// It can't be got.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It took too long.
    #[error("it did not arrive within {} s", FETCH.as_secs())]
    TooSlow,
    /// It is of another id.
    #[error("a certificate with the id `{0}` came in its place")]
    Other(String),
    /// Its contents can't be used.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The disk failed in a way that a fetch does not mend.
    #[error("the folder of certificates can't be used: {0}")]
    Disk(#[from] io::Error),
    /// It is being fetched; the one before it is shown meanwhile.
    #[error("it is not here yet")]
    NotYet,
}

/// Certificates by id.
pub struct Certificates {
    shared: Arc<Shared>,
}

struct Shared {
    loaded: Cache<Arc<str>, Arc<Shown>>,
    failed: Cache<Arc<str>, Arc<LoadError>>,
    /// Ids that are not here yet, with those before them that are.
    renewing: Cache<Arc<str>, Arc<[Arc<str>]>>,
    /// Ids that are fetched without a visitor who waits.
    fetching: Mutex<HashSet<Arc<str>>>,
    room: Semaphore,
    disk: Disk,
    source: Arc<dyn Source>,
    settings: Settings,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("loaded", &self.shared.loaded.entry_count()).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Certificates of a folder, which is made when there is none, and of a source; at most `memory` bytes
    /// of them are held.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn open(
        folder: PathBuf,
        master: MasterKey,
        source: Arc<dyn Source>,
        settings: Settings,
        memory: u64,
    ) -> io::Result<Self> {
        let shared = Shared {
            loaded: Cache::builder().max_capacity(memory).weigher(|_, shown: &Arc<Shown>| shown.bytes()).build(),
            failed: Cache::builder().max_capacity(MAX_FAILED).time_to_live(RETRY).build(),
            renewing: Cache::builder().max_capacity(MAX_FAILED).time_to_live(RETRY).build(),
            fetching: Mutex::default(),
            room: Semaphore::new(MAX_FETCHING),
            disk: Disk::open(folder, master)?,
            source,
            settings,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The certificate of an id, or as long as it is not here, one that it renews and that covers `host`. `renews` is
    /// what the host's name had before, unless [`Certificates::renew`] was told.
    ///
    /// # Errors
    /// When there is neither.
    pub async fn get(
        &self,
        id: &Arc<str>,
        renews: Option<&Arc<str>>,
        host: &str,
    ) -> Result<Arc<Shown>, Arc<LoadError>> {
        let shared = &self.shared;
        if let Some(shown) = shared.loaded.get(&**id).await {
            return Ok(shown);
        }
        if let Some(shown) = shared.before(id, host).await {
            return Ok(shown);
        }
        if let Some(error) = shared.failed.get(&**id).await {
            return Err(error);
        }
        match shared.load(id, renews).await {
            // Nothing is there when what it renews covers other hosts only.
            Err(error) if matches!(*error, LoadError::NotYet) => shared.before(id, host).await.ok_or(error),
            done => done,
        }
    }

    /// Notes that `new` has taken the place of `old`, and loads it when `old` is in use, so that the first visitor
    /// does not wait for it. Returns when that is done, or has failed.
    pub async fn renew(&self, old: &Arc<str>, new: &Arc<str>) {
        let (before, after) = (Arc::clone(old), Arc::clone(new));
        let noted = self.shared.on_disk(move |disk| disk.note_renewal(&before, &after)).await;
        match noted {
            Ok(false) => {}
            Ok(true) => {
                if let Err(error) = Shared::fetch_alone(&self.shared, new).await {
                    tracing::warn!(id = %new, %error, "a renewed certificate can't be loaded, the old one is shown");
                }
            }
            Err(error) => tracing::error!(id = %new, %error, "a certificate's renewal can't be noted"),
        }
    }

    /// Removes from disk and memory what no name uses any more: all but the ids in `used`, and those that they renew
    /// and which are still shown for them.
    pub async fn sweep(&self, used: HashSet<Arc<str>>) {
        match self.shared.on_disk(move |disk| disk.sweep(&used)).await {
            Ok(removed) => {
                for id in removed {
                    self.shared.loaded.invalidate(&*id).await;
                    tracing::info!(id, "a certificate that no name uses is removed");
                }
            }
            Err(error) => tracing::error!(%error, "unused certificates can't be removed"),
        }
    }
}

impl Shared {
    /// What is shown while an id is not here.
    async fn before(&self, id: &Arc<str>, host: &str) -> Option<Arc<Shown>> {
        for earlier in &*self.renewing.get(&**id).await? {
            match self.load_from_disk(earlier).await {
                Ok(Some(shown)) if shown.covers(host) => return Some(shown),
                Ok(_) => {}
                Err(error) => tracing::error!(id = %earlier, %error, "an earlier certificate can't be shown"),
            }
        }
        None
    }

    async fn load_from_disk(&self, id: &Arc<str>) -> Result<Option<Arc<Shown>>, LoadError> {
        if let Some(shown) = self.loaded.get(&**id).await {
            return Ok(Some(shown));
        }
        let Some(shown) = self.read(id).await? else { return Ok(None) };
        self.loaded.insert(Arc::clone(id), Arc::clone(&shown)).await;
        Ok(Some(shown))
    }

    /// From disk; else from the source, unless an earlier one can be shown meanwhile. One load an id at a time.
    async fn load(self: &Arc<Self>, id: &Arc<str>, renews: Option<&Arc<str>>) -> Result<Arc<Shown>, Arc<LoadError>> {
        let (this, key, renews) = (Arc::clone(self), Arc::clone(id), renews.cloned());
        let load = async move {
            // In a task of its own, so that it ends also when the visitor does not wait for it.
            let task = tokio::spawn(async move {
                let loaded = this.load_once(&key, renews).await;
                this.note_failure(&key, loaded).await
            });
            task.await.unwrap_or_else(|e| Err(Arc::new(LoadError::Disk(io::Error::other(e)))))
        };
        self.loaded.try_get_with(Arc::clone(id), load).await.map_err(|error| Arc::clone(&*error))
    }

    async fn load_once(self: &Arc<Self>, id: &Arc<str>, renews: Option<Arc<str>>) -> Result<Arc<Shown>, LoadError> {
        if !disk::is_id(id) {
            return Err(LoadError::Id((**id).to_owned()));
        }
        if let Some(shown) = self.read(id).await? {
            return Ok(shown);
        }
        let key = Arc::clone(id);
        let earlier = self.on_disk(move |disk| {
            if let Some(renews) = renews {
                disk.note_renewal(&renews, &key)?;
            }
            disk.renewed_by(&key)
        });
        let earlier = earlier.await?;
        if earlier.is_empty() {
            return self.fetch(id).await;
        }
        self.renewing.insert(Arc::clone(id), earlier.into()).await;
        let (this, key) = (Arc::clone(self), Arc::clone(id));
        tokio::spawn(async move {
            if let Err(error) = Self::fetch_alone(&this, &key).await {
                tracing::warn!(id = %key, %error, "a renewed certificate can't be loaded, the old one is shown");
            }
        });
        Err(LoadError::NotYet)
    }

    /// Remembers why an id can't be loaded, and says so once.
    async fn note_failure(
        &self,
        id: &Arc<str>,
        loaded: Result<Arc<Shown>, LoadError>,
    ) -> Result<Arc<Shown>, Arc<LoadError>> {
        let error = match loaded {
            Ok(shown) => return Ok(shown),
            Err(error) => Arc::new(error),
        };
        if !matches!(*error, LoadError::NotYet) {
            tracing::error!(%id, %error, "a certificate can't be loaded");
            self.failed.insert(Arc::clone(id), Arc::clone(&error)).await;
        }
        Err(error)
    }

    /// What is on disk. A file that can't be used is no error: the source has the certificate too.
    async fn read(&self, id: &Arc<str>) -> io::Result<Option<Arc<Shown>>> {
        let (key, settings) = (Arc::clone(id), self.settings.clone());
        self.on_disk(move |disk| {
            let read = disk.read(&key)?;
            Ok(read.and_then(|certificate| match Shown::new(certificate, &settings) {
                Ok(shown) => Some(Arc::new(shown)),
                Err(error) => {
                    tracing::error!(id = %key, %error, "a certificate on disk can't be used, and is fetched again");
                    None
                }
            }))
        })
        .await
    }

    /// Gets a certificate from the source and keeps it, if it can be used.
    async fn fetch(&self, id: &Arc<str>) -> Result<Arc<Shown>, LoadError> {
        let fetch = async {
            // Never closed. Taken for the source alone, so that a slow one holds up nothing that is on disk.
            let _place = self.room.acquire().await.map_err(|e| SourceError::Failed(e.to_string()))?;
            self.source.fetch(id).await
        };
        let certificate = tokio::time::timeout(FETCH, fetch).await.map_err(|_| LoadError::TooSlow)??;
        if *certificate.id != **id {
            return Err(LoadError::Other(certificate.id));
        }
        let settings = self.settings.clone();
        let kept = self.on_disk(move |disk| {
            let shown = Shown::new(certificate.clone(), &settings);
            if shown.is_ok()
                && let Err(error) = disk.write(&certificate)
            {
                tracing::error!(id = %certificate.id, %error, "a certificate can't be written to disk");
            }
            Ok(shown)
        });
        let shown = Arc::new(kept.await??);
        tracing::info!(%id, not_after = %shown.not_after(), "a certificate is loaded");
        Ok(shown)
    }

    /// Fetches an id although an earlier one can be shown. A second call for the same id waits for nothing, and
    /// is told that it is not here yet.
    async fn fetch_alone(self: &Arc<Self>, id: &Arc<str>) -> Result<Arc<Shown>, Arc<LoadError>> {
        if let Some(shown) = self.loaded.get(&**id).await {
            return Ok(shown);
        }
        if !self.fetching().insert(Arc::clone(id)) {
            return Err(Arc::new(LoadError::NotYet));
        }
        let (this, key) = (Arc::clone(self), Arc::clone(id));
        let task = tokio::spawn(async move {
            let fetched = this.fetch(&key).await;
            if let Ok(shown) = &fetched {
                this.loaded.insert(Arc::clone(&key), Arc::clone(shown)).await;
                this.failed.invalidate(&*key).await;
            }
            this.fetching().remove(&key);
            fetched.map_err(Arc::new)
        });
        task.await.unwrap_or_else(|e| Err(Arc::new(LoadError::Disk(io::Error::other(e)))))
    }

    fn fetching(&self) -> std::sync::MutexGuard<'_, HashSet<Arc<str>>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what waits for the disk, elsewhere.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let disk = self.disk.clone();
        tokio::task::spawn_blocking(move || work(&disk)).await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests;
