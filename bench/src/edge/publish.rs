//! Folders as static deployments in the object store.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use common::blob::{self, ObjectStore};
use common::certificate::Certificate;
use common::id::DeploymentId;
use common::manifest::{self, File, Manifest};
use common::secret::Secret;
use common::time::Timestamp;

/// How long a certificate made here is said to last.
const CERTIFICATE_LASTS: Duration = Duration::from_secs(7 * 24 * 3600);

/// Publishes a folder, without precompressed variants: load generators ask for none.
pub async fn folder(store: &ObjectStore, folder: &Path) -> anyhow::Result<DeploymentId> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| format!("{} can't be read", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(folder)?.to_str().context("a file's name is not UTF-8")?;
            files.insert(format!("/{relative}"), file(store, &path).await?);
        }
    }
    let deployment = DeploymentId::new();
    let manifest = serde_json::to_vec(&Manifest::of(files))?;
    blob::put(store, &manifest::manifest_key(&deployment), manifest.into()).await?;
    Ok(deployment)
}

async fn file(store: &ObjectStore, path: &Path) -> anyhow::Result<File> {
    let bytes = std::fs::read(path)?;
    let listed = File {
        hash: blake3::hash(&bytes).to_hex().to_string(),
        size: bytes.len() as u64,
        content_type: content_type(path).to_owned(),
        variants: Vec::new(),
        fingerprinted: false,
    };
    blob::put(store, &manifest::blob_key(&listed.hash, None), bytes.into()).await?;
    Ok(listed)
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

/// A certificate with an id of its contents.
pub fn certificate(chain_pem: String, key_pem: Secret) -> Certificate {
    let id = blake3::hash(chain_pem.as_bytes()).to_hex().to_string();
    Certificate { id, chain_pem, key_pem, not_after: Timestamp::now().after(CERTIFICATE_LASTS), ocsp: None }
}
