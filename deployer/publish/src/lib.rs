//! Publishes a static site: its files become content-addressed blobs with precompressed variants, and one
//! manifest lists them.
//!
//! In: a folder that an untrusted build wrote and no longer writes, and the deployment before it. Out: blobs
//! that the store did not have yet, then, last and once, the deployment's manifest; and what the developer
//! should be told. A byte from outside the folder must never be published, nor a file lost without a word,
//! nor a manifest be there before everything it lists. A publish that is dropped half-way leaves no
//! manifest; the blobs it stored stay for a while, and the next one finds them. What is being deleted meanwhile, because no
//! manifest names it, is looked after by an intent (`common/garbage`).
//!
//! # What is published
//! Every regular file, under its path in NFC. A link inside the folder is followed, to a file or a folder,
//! and stands for what it points to; one that leaves the folder (an absolute one always does: the build
//! ran elsewhere), points to nothing, to a folder around itself or to something left out is refused. These are left out:
//! - names that begin with a dot, except `.well-known`: what tools and editors leave behind, and secrets
//!   (`.env`). The developer is told, unless nobody would want it published (`.git`, `.DS_Store` …);
//! - `node_modules` beside a `package.json`, which is an installation. One elsewhere is a bundler's output;
//! - `_headers` and `_redirects` at the top, which are rules for the edge and become part of the manifest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::blob::ObjectStore;
use common::id::DeploymentId;
use common::manifest::{File, Manifest, is_fingerprinted};
use common::time::Timestamp;
use garbage::Intent;

mod blobs;
mod blocking;
mod compress;
mod digest;
mod error;
mod known;
mod left_out;
mod media;
mod rules;
mod seal;
mod tree;
mod walk;
mod warnings;

pub use error::PublishError;

use blobs::{Blobs, Content};
use digest::Digest;
use tree::Tree;
use walk::Entry;

/// How large a site may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files that are published, and as many folders.
    pub files: usize,
    /// Bytes of all files together, before compression.
    pub bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
}

impl Default for Limits {
    /// 50,000 files, 2 GiB in all, 512 MiB in one: several times the largest documentation sites and
    /// galleries, and a manifest that still fits into a few megabytes.
    fn default() -> Self {
        Self { files: 50_000, bytes: 2 << 30, file_bytes: 512 << 20 }
    }
}

/// What is to be published.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The built site. Nothing writes to it any more.
    pub folder: &'a Path,
    /// Whether the framework routes on the client. Counts only with an `/index.html` and without a
    /// `/404.html`, which says that the site knows its missing pages.
    pub single_page: bool,
    /// The deployment whose manifest is written.
    pub deployment: &'a DeploymentId,
    /// The project's deployment before, whose blobs need not be looked for.
    pub previous: Option<&'a DeploymentId>,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Files in the manifest.
    pub files: usize,
    /// Their bytes, before compression.
    pub bytes: u64,
    /// Contents that the store did not have; files with equal content count once.
    pub new_files: usize,
    /// Their bytes, before compression.
    pub new_bytes: u64,
    /// Sentences for the developer, none of which kept the site from being published.
    pub warnings: Vec<String>,
}

/// Stores the site's new contents and then its manifest.
///
/// # Errors
/// When the folder holds what can't be published safely, exceeds a limit, or the store failed. No manifest
/// is written then.
pub async fn publish(store: &ObjectStore, site: Site<'_>, limits: &Limits) -> Result<Published, PublishError> {
    // Stops work on other threads when this future ends, however it ends.
    let stop = blocking::Stop::new();
    let (tree, listing, rules) = list(site.folder, *limits, &stop).await?;
    let entries: Arc<Vec<Entry>> = Arc::new(listing.files.into_values().collect());
    let digests = digest::all(&tree, &entries, &stop).await?;

    // Before anything is looked for in the store: what is there from now on stays.
    let hashes = digests.iter().map(|digest| digest.hash.clone()).collect();
    let intent = Intent::declare(store, site.deployment, hashes, Timestamp::now).await?;
    let known = known::read(store, site.previous).await;
    let types: Vec<String> = entries.iter().zip(&digests).map(|(e, d)| media::content_type(&e.path, d)).collect();
    let mut variants = known;
    let new = unknown_contents(&entries, &digests, &types, |hash| variants.contains_key(hash));
    let (mut new_files, mut new_bytes) = (0, 0);
    for kept in Blobs::new(store.clone(), tree).keep_all(new).await? {
        if kept.stored {
            new_files += 1;
            new_bytes += kept.size;
        }
        variants.insert(kept.hash, kept.variants);
    }

    let mut files = BTreeMap::new();
    for ((entry, digest), content_type) in entries.iter().zip(digests).zip(types) {
        let variants = variants.get(&digest.hash).cloned().unwrap_or_default();
        let fingerprinted = is_fingerprinted(&entry.path);
        files.insert(
            entry.path.clone(),
            File { hash: digest.hash, size: entry.size, content_type, variants, fingerprinted },
        );
    }
    let single_page = site.single_page && files.contains_key("/index.html") && !files.contains_key("/404.html");
    let manifest = Manifest {
        single_page,
        redirects: rules.redirects,
        headers: rules.headers,
        logins: rules.logins,
        ..Manifest::of(files)
    };
    let published = Published {
        files: manifest.files.len(),
        bytes: manifest.files.values().map(|f| f.size).sum(),
        new_files,
        new_bytes,
        warnings: [listing.warnings, rules.warnings].concat(),
    };
    seal::write(store, site.deployment, manifest).await?;
    intent.end().await;
    tracing::info!(
        deployment = %site.deployment,
        files = published.files,
        bytes = published.bytes,
        new_files,
        new_bytes,
        "published"
    );
    Ok(published)
}

/// Opens the folder, lists what it publishes, and reads its rules.
async fn list(
    folder: &Path,
    limits: Limits,
    stop: &blocking::Stop,
) -> Result<(Arc<Tree>, walk::Listing, rules::Rules), PublishError> {
    let (folder, flag) = (folder.to_owned(), stop.flag());
    blocking::run(move || {
        let tree = Tree::open(&folder)?;
        let listing = walk::list(&tree, &limits, &flag)?;
        let rules = rules::read(&tree, &listing.files);
        Ok((Arc::new(tree), listing, rules))
    })
    .await
}

/// One of each content that is not known; compressed if any file with it is of a kind worth compressing.
fn unknown_contents(
    entries: &[Entry],
    digests: &[Digest],
    types: &[String],
    is_known: impl Fn(&str) -> bool,
) -> Vec<Content> {
    let mut contents: BTreeMap<&str, Content> = BTreeMap::new();
    for ((entry, digest), content_type) in entries.iter().zip(digests).zip(types) {
        if is_known(&digest.hash) {
            continue;
        }
        let content = contents.entry(&digest.hash).or_insert_with(|| Content {
            hash: digest.hash.clone(),
            size: entry.size,
            path: entry.path.clone(),
            source: entry.source.clone(),
            compressible: false,
        });
        content.compressible |= digest.text || media::is_compressible(content_type);
    }
    contents.into_values().collect()
}
