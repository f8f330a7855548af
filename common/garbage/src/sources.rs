//! Archives that are the source of no deployment.

use std::time::Duration;

use common::blob::ObjectStore;
use common::id::UploadId;
use common::time::Timestamp;
use futures::TryStreamExt as _;
use object_store::path::Path;

use crate::{GarbageError, Records, Report, Settings};

/// Where they lie.
const FOLDERS: [&str; 2] = ["sources", "uploads"];
/// An archive is deployed within some hours of its upload or never for the first time, so one that is older than this and
/// the source of nothing stays so.
const NEW: Duration = Duration::from_secs(24 * 60 * 60);

/// Deletes them, or only reports them.
pub async fn collect(
    store: &ObjectStore,
    records: &dyn Records,
    settings: &Settings,
    report: &mut Report,
) -> Result<(), GarbageError> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let mut listed = store.list(Some(&Path::from(folder)));
        while let Some(meta) = listed.try_next().await? {
            let name = meta.location.filename().and_then(|name| name.strip_suffix(".zip"));
            if let Some(upload) = name.and_then(|name| name.parse::<UploadId>().ok()) {
                found.push((upload, meta));
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let named = records.sources().await?;
    let now = (settings.now)();
    for (upload, meta) in found {
        let due = Timestamp::from_millis(meta.last_modified.timestamp_millis()).after(settings.grace.max(NEW));
        if named.contains(&upload) {
            continue;
        }
        if due > now {
            report.wait(meta.size, due);
            continue;
        }
        if !report.dry_run {
            common::blob::delete(store, meta.location.as_ref()).await?;
        }
        report.delete(meta.location.as_ref(), meta.size);
    }
    Ok(())
}
