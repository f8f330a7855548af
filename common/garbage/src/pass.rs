//! One pass: what is unreferenced is marked, what was so for long enough is deleted.

use std::collections::BTreeMap;

use common::blob::{self, ObjectStore};
use common::manifest::manifest_key;
use common::time::Timestamp;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{Error, PutMode, PutPayload};

use crate::condemned::Condemned;
use crate::manifests::{Manifests, Names};
use crate::marks::Marks;
use crate::{GarbageError, Records, Report, Settings, intent, sources};

/// Whose the store is.
const OWNER: &str = "gc/installation";
/// Where contents lie: `blobs/<two digits>/<hash>`, with variants beside them.
const FOLDER: &str = "blobs";
/// Contents that are condemned at one time: so many are deleted well within the time that a list is good for.
const BATCH: usize = 2_000;
/// Contents that are deleted between two looks at the clock, each with up to four objects.
const AT_ONCE: usize = 64;

/// A content that nothing names, and the objects that it has.
#[derive(Debug, Default)]
struct Content {
    /// The blob itself before its variants.
    objects: Vec<Path>,
    bytes: u64,
    newest: i64,
}

/// What a pass knows so far.
struct Pass<'a> {
    store: &'a ObjectStore,
    records: &'a dyn Records,
    settings: &'a Settings,
    names: Names,
    manifests: Manifests,
    /// Of the passes before, and of this one.
    before: Marks,
    marks: Marks,
    report: Report,
}

/// Removes what is due, or, in a dry run, changes nothing and says what would be removed.
///
/// # Errors
/// When the store or the database failed, or the store is not this installation's. What was deleted before is due anyway.
pub async fn collect(
    store: &ObjectStore,
    records: &dyn Records,
    settings: &Settings,
    dry_run: bool,
) -> Result<Report, GarbageError> {
    own(store, records, dry_run).await?;
    if !dry_run {
        Condemned::clear_old(store, settings).await?;
    }
    let mut pass = Pass {
        store,
        records,
        settings,
        names: Names::default(),
        manifests: Manifests::default(),
        before: Marks::read(store).await?,
        marks: Marks::default(),
        report: Report { dry_run, ..Report::default() },
    };
    // In this order: who is done with its intent has left a manifest.
    pass.intents(!dry_run).await?;
    pass.manifests.read_new(store, &mut pass.names).await?;
    let due = pass.unreferenced().await?;
    pass.orphans().await?;
    sources::collect(store, records, settings, &mut pass.report).await?;
    pass.report.named = pass.names.len() as u64;
    if dry_run {
        for (hash, content) in &due {
            pass.report.delete(hash, content.bytes);
        }
        return Ok(pass.report);
    }
    // Marks first: a pass that is cut off must not make everything wait anew.
    pass.marks.write(store).await?;
    let mut due = due.into_iter().peekable();
    while due.peek().is_some() {
        pass.sweep(due.by_ref().take(BATCH).collect()).await?;
    }
    pass.marks.write(store).await?;
    Ok(pass.report)
}

/// Sees to it that the store is this installation's.
async fn own(store: &ObjectStore, records: &dyn Records, dry_run: bool) -> Result<(), GarbageError> {
    let own = records.installation().await?;
    let mut owner = owner(store).await?;
    if owner.is_none() && !dry_run {
        let payload = PutPayload::from(own.clone().into_bytes());
        owner = match store.put_opts(&Path::from(OWNER), payload, PutMode::Create.into()).await {
            Ok(_) => None,
            // Somebody was faster: another control plane, or another installation.
            Err(Error::AlreadyExists { .. }) => self::owner(store).await?,
            Err(e) => return Err(e.into()),
        };
    }
    match owner {
        Some(owner) if owner != own => Err(GarbageError::Foreign { owner, key: OWNER }),
        _ => Ok(()),
    }
}

/// Whose the store is, if it is anybody's yet.
async fn owner(store: &ObjectStore) -> Result<Option<String>, GarbageError> {
    match blob::get(store, OWNER).await {
        Ok(owner) => Ok(Some(String::from_utf8_lossy(&owner).into_owned())),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

impl Pass<'_> {
    /// Adds what publishers are about to name, and, to `tidy`, removes the intents of deployments that have ended.
    async fn intents(&mut self, tidy: bool) -> Result<(), GarbageError> {
        let all = intent::all(self.store).await?;
        let deployments: Vec<_> = all.iter().map(|(deployment, ..)| deployment.clone()).collect();
        let under_way = self.records.under_way(&deployments).await?;
        for (deployment, path, hashes) in all {
            if under_way.contains(&deployment) {
                hashes.iter().for_each(|hash| self.names.add(hash));
            } else if tidy {
                blob::delete(self.store, path.as_ref()).await?;
            }
        }
        Ok(())
    }

    /// Marks contents that nothing names; returns those that are due.
    async fn unreferenced(&mut self) -> Result<BTreeMap<String, Content>, GarbageError> {
        let mut due = BTreeMap::new();
        for shard in 0..=u8::MAX {
            let contents = self.contents(shard).await?;
            let now = (self.settings.now)();
            for (hash, content) in contents {
                let Some(at) = self.marks.mark(&hash, &self.before, self.settings) else { continue };
                let at = at.max(Timestamp::from_millis(content.newest).after(self.settings.grace));
                if at <= now {
                    due.insert(hash, content);
                } else {
                    self.report.wait(content.bytes, at);
                }
            }
        }
        Ok(due)
    }

    /// The contents of a folder that nothing names.
    async fn contents(&self, shard: u8) -> Result<BTreeMap<String, Content>, GarbageError> {
        let mut contents: BTreeMap<String, Content> = BTreeMap::new();
        let mut listed = self.store.list(Some(&Path::from(format!("{FOLDER}/{shard:02x}"))));
        while let Some(meta) = listed.try_next().await? {
            let Some(name) = meta.location.filename() else { continue };
            let hash = name.split('.').next().unwrap_or_default();
            // What is no content of ours is left alone.
            if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) || self.names.has(hash) {
                continue;
            }
            let content = contents.entry(hash.to_owned()).or_default();
            content.bytes += meta.size;
            content.newest = content.newest.max(meta.last_modified.timestamp_millis());
            let at = if name == hash { 0 } else { content.objects.len() };
            content.objects.insert(at, meta.location);
        }
        Ok(contents)
    }

    /// Deletes manifests of deployments that no row keeps. What they name is unreferenced from the next pass on.
    async fn orphans(&mut self) -> Result<(), GarbageError> {
        let all: Vec<_> = self.manifests.read.keys().cloned().collect();
        let kept = self.records.kept(&all).await?;
        self.report.manifests = kept.len() as u64;
        let now = (self.settings.now)();
        for (deployment, bytes) in self.manifests.read.iter().filter(|(deployment, _)| !kept.contains(deployment)) {
            let key = manifest_key(deployment);
            let Some(due) = self.marks.mark(&key, &self.before, self.settings) else { continue };
            if due > now {
                self.report.wait(*bytes, due);
                continue;
            }
            if !self.report.dry_run {
                blob::delete(self.store, &key).await?;
                self.marks.remove(&key);
            }
            self.report.delete(&key, *bytes);
        }
        Ok(())
    }

    /// Condemns a batch, spares what is needed by now, and deletes the rest. An error leaves the list, because what was
    /// asked for may still happen.
    async fn sweep(&mut self, batch: BTreeMap<String, Content>) -> Result<(), GarbageError> {
        let condemned = Condemned::write(self.store, batch.keys().cloned().collect(), self.settings).await?;
        self.intents(false).await?;
        self.manifests.read_new(self.store, &mut self.names).await?;
        let mut garbage = Vec::with_capacity(batch.len());
        for (hash, content) in batch {
            if self.names.has(&hash) {
                self.report.spared += 1;
                self.marks.remove(&hash);
            } else {
                garbage.push((hash, content));
            }
        }
        for part in garbage.chunks(AT_ONCE) {
            if (self.settings.now)() > condemned.until {
                // What is left is due in the next pass too.
                break;
            }
            // All blobs before all variants: one that exists has all its variants.
            let of = |which: fn(&(usize, &Path)) -> bool| {
                let all = part.iter().flat_map(|(_, content)| content.objects.iter().enumerate());
                all.filter(which).map(|(_, path)| path.clone()).collect::<Vec<_>>()
            };
            self.delete(of(|(at, _)| *at == 0)).await?;
            self.delete(of(|(at, _)| *at > 0)).await?;
            for (hash, content) in part {
                self.marks.remove(hash);
                self.report.delete(hash, content.bytes);
            }
        }
        Condemned::remove(self.store).await
    }

    async fn delete(&self, paths: Vec<Path>) -> Result<(), GarbageError> {
        let mut deleted = self.store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}
