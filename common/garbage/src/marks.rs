//! Since when something is named by nothing.

use std::collections::BTreeMap;

use common::blob::{self, ObjectStore};
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{GarbageError, Settings};

/// Where they are kept.
const KEY: &str = "gc/marks.json";
/// Marks at most, which bounds memory and the object's size (20 MB); the rest is marked by later passes.
const MOST: usize = 250_000;

/// Since when something is named by nothing, by name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Marks {
    since: BTreeMap<String, Timestamp>,
}

impl Marks {
    pub async fn read(store: &ObjectStore) -> Result<Self, GarbageError> {
        match blob::get(store, KEY).await {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| GarbageError::Unreadable { key: KEY.to_owned(), detail: e.to_string() }),
            Err(e) if e.is_not_found() => Ok(Self::default()),
            Err(e) => Err(e.into()),
        }
    }

    pub async fn write(&self, store: &ObjectStore) -> Result<(), GarbageError> {
        let json = serde_json::to_vec(self)
            .map_err(|e| GarbageError::Unreadable { key: KEY.to_owned(), detail: e.to_string() })?;
        Ok(blob::put(store, KEY, json.into()).await?)
    }

    /// Marks something that nothing names, here as in `before`; says when it is due. Nothing when there is no room.
    pub fn mark(&mut self, name: &str, before: &Self, settings: &Settings) -> Option<Timestamp> {
        let since = match before.since.get(name) {
            Some(since) => *since,
            None if self.since.len() >= MOST => return None,
            None => (settings.now)(),
        };
        self.since.insert(name.to_owned(), since);
        Some(since.after(settings.grace))
    }

    pub fn remove(&mut self, name: &str) {
        self.since.remove(name);
    }
}
