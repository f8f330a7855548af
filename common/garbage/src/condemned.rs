//! The list of contents that are about to be deleted.

use std::collections::BTreeSet;

use common::blob::{self, ObjectStore};
use common::time::Timestamp;
use object_store::path::Path;
use object_store::{Error, PutMode, PutPayload};
use serde::{Deserialize, Serialize};

use crate::{AFTERWARDS, GarbageError, SWEEP_FOR, Settings};

/// Where it is.
const KEY: &str = "gc/condemned.json";

/// Contents that are about to be deleted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Condemned {
    /// No deletion begins later.
    pub until: Timestamp,
    /// Their hashes.
    pub hashes: BTreeSet<String>,
}

impl Condemned {
    /// The list as it is now.
    pub async fn read(store: &ObjectStore) -> Result<Option<Self>, GarbageError> {
        let bytes = match blob::get(store, KEY).await {
            Ok(bytes) => bytes,
            Err(e) if e.is_not_found() => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| GarbageError::Unreadable { key: KEY.to_owned(), detail: e.to_string() })
    }

    /// When all that it may have caused has happened.
    pub fn over(&self) -> Timestamp {
        self.until.after(AFTERWARDS)
    }

    /// Condemns these, unless others are just being deleted.
    pub async fn write(
        store: &ObjectStore,
        hashes: BTreeSet<String>,
        settings: &Settings,
    ) -> Result<Self, GarbageError> {
        let condemned = Self { until: (settings.now)().after(SWEEP_FOR), hashes };
        let json = serde_json::to_vec(&condemned)
            .map_err(|e| GarbageError::Unreadable { key: KEY.to_owned(), detail: e.to_string() })?;
        match store.put_opts(&Path::from(KEY), PutPayload::from(json), PutMode::Create.into()).await {
            Ok(_) => Ok(condemned),
            Err(Error::AlreadyExists { .. }) => {
                let over = Self::read(store).await?.map_or_else(settings.now, |other| other.over());
                Err(GarbageError::Busy(over))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Takes away the list of a sweeper that died, once nothing of it can happen any more.
    pub async fn clear_old(store: &ObjectStore, settings: &Settings) -> Result<(), GarbageError> {
        match Self::read(store).await? {
            Some(old) if old.over() < (settings.now)() => Self::remove(store).await,
            Some(old) => Err(GarbageError::Busy(old.over())),
            None => Ok(()),
        }
    }

    pub async fn remove(store: &ObjectStore) -> Result<(), GarbageError> {
        Ok(blob::delete(store, KEY).await?)
    }
}
