//! What certificate authorities call themselves in CAA records: in the meta part of their ACME directories (RFC 8555
//! 9.7.6, `caaIdentities`).

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::json::Json;
use crate::expected::Authority;

/// How long names are kept; authorities hardly ever change them.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The directories that were read.
pub(crate) struct Directories {
    json: Json,
    known: Mutex<HashMap<Url, (Instant, Vec<String>)>>,
}

#[derive(Deserialize)]
struct Directory {
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    caa_identities: Vec<String>,
}

impl Directories {
    pub(crate) fn new(json: Json) -> Self {
        Self { json, known: Mutex::default() }
    }

    /// The same authorities, with the names that their directories give to those that have none.
    pub(crate) async fn complete(&self, authorities: &[Authority]) -> Vec<Authority> {
        let mut all = authorities.to_vec();
        for authority in &mut all {
            if let (true, Some(directory)) = (authority.identities.is_empty(), &authority.directory) {
                authority.identities = self.identities(directory).await;
            }
        }
        all
    }

    /// None when the directory names none or cannot be read: CAA records are not judged then.
    async fn identities(&self, directory: &Url) -> Vec<String> {
        // Operators name a handful of authorities, so one reading at a time does no harm.
        let mut known = self.known.lock().await;
        if let Some((learned, names)) = known.get(directory)
            && learned.elapsed() < KEPT
        {
            return names.clone();
        }
        match self.json.get::<Directory>(directory).await {
            Ok(Directory { meta }) => {
                known.insert(directory.clone(), (Instant::now(), meta.caa_identities.clone()));
                meta.caa_identities
            }
            Err(trouble) => {
                tracing::warn!(%directory, %trouble, "an authority's directory cannot be read, so CAA is not judged");
                Vec::new()
            }
        }
    }
}
