//! Logs in the object store: history that does not depend on how long Kafka keeps messages.
//!
//! A log is there in pieces `logs/<deployment>/<kind>/<first>-<last>.zst`, each one a head and records, as JSON lines in
//! zstd. The head tells what the log was at its end, so that a control plane which never read the partition goes on
//! counting from there. Each control plane archives; since all cut at the same places, one finds what another stored.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::api::LogKind;
use common::blob::{self, BlobError, ObjectStore};
use common::bus::{MAX_READ, Record, Topic};
use common::time::Timestamp;
use futures::TryStreamExt as _;
use moka::future::Cache;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::state::{Cut, LogState, SEGMENT};

/// Folder of all logs.
const FOLDER: &str = "logs";
/// Level of zstd: logs shrink to about a tenth with it, at some 100 MB a second.
const LEVEL: i32 = 6;
/// Largest piece when unpacked, bytes: a segment's text, a message beyond it, and what JSON adds to short lines.
const MAX_PIECE: u64 = 32 * SEGMENT;
/// Pieces that are kept unpacked, for who reads page by page.
const KEPT: u64 = 4;

/// The archive.
pub(crate) struct Archive {
    store: ObjectStore,
    pieces: Cache<String, Arc<Piece>>,
}

/// What a log was at the end of a piece.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Head {
    /// Which cluster's, and what its topics' names begin with: offsets mean nothing elsewhere.
    stream: String,
    partition: u32,
    #[serde(flatten)]
    cut: Cut,
}

struct Piece {
    head: Head,
    records: Vec<Record>,
}

/// Where a piece is, as its name tells.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    key: String,
    first: u64,
    last: u64,
    stored: Timestamp,
}

/// What the archive has of a log.
#[derive(Default)]
pub(crate) struct Found {
    /// Up to [`MAX_READ`] records.
    pub records: Vec<Record>,
    /// Whether no record follows these, as far as the archive knows.
    pub finished: bool,
}

impl Archive {
    pub fn new(store: ObjectStore) -> Self {
        Self { store, pieces: Cache::new(KEPT) }
    }

    /// Stores a piece of a log of `stream`, unless it is there.
    pub async fn put(
        &self,
        topic: &Topic,
        stream: &str,
        partition: u32,
        cut: &Cut,
        records: Vec<Record>,
    ) -> Result<(), BlobError> {
        let head = Head { stream: stream.to_owned(), partition, cut: cut.clone() };
        self.store_piece(topic, head, records).await
    }

    async fn store_piece(&self, topic: &Topic, head: Head, records: Vec<Record>) -> Result<(), BlobError> {
        let cut = &head.cut;
        // An end without a line is a piece too: it comes after the last one, and tells of the end.
        let first = records.first().map_or(cut.next, |record| record.seq);
        let key = key(topic, first, cut.next - 1);
        if blob::size(&self.store, &key).await?.is_some() {
            return Ok(());
        }
        let packed = tokio::task::spawn_blocking(move || pack(&head, &records)).await.map_err(broken)?;
        blob::put(&self.store, &key, Bytes::from(packed.map_err(broken)?)).await
    }

    /// What a log was when it was archived last; nothing when it never was.
    pub async fn base(&self, topic: &Topic, stream: &str) -> Result<Option<LogState>, BlobError> {
        let Some(last) = self.places(topic).await?.pop() else { return Ok(None) };
        let head = &self.piece(&last.key).await?.head;
        let offset = if head.stream == stream { head.cut.offset } else { 0 };
        Ok(Some(LogState::after(head.partition, &Cut { offset, ..head.cut.clone() })))
    }

    /// Records after `after`.
    pub async fn read(&self, topic: &Topic, after: u64) -> Result<Found, BlobError> {
        let places = self.places(topic).await?;
        let mut found = Found::default();
        let mut at = after;
        for place in places.iter().filter(|place| place.last > after) {
            let piece = self.piece(&place.key).await?;
            found.records.extend(piece.records.iter().filter(|record| record.seq > at).cloned());
            at = place.last;
            if found.records.len() >= MAX_READ {
                found.records.truncate(MAX_READ);
                at = found.records.last().map_or(at, |record| record.seq);
                break;
            }
        }
        if let Some(last) = places.last().filter(|last| at >= last.last) {
            found.finished = self.piece(&last.key).await?.head.cut.finished_at.is_some();
        }
        Ok(found)
    }

    /// Deletes a log.
    pub async fn remove(&self, topic: &Topic) -> Result<(), BlobError> {
        for place in self.places(topic).await? {
            blob::delete(&self.store, &place.key).await?;
        }
        Ok(())
    }

    /// Deletes pieces that are older than their kind is kept. The newest piece of a log becomes an empty one, which
    /// still tells how far it counted and whether it was finished.
    pub async fn expire(&self, now: Timestamp, keep: impl Fn(LogKind) -> Duration) -> Result<usize, BlobError> {
        let mut expired = 0;
        let mut before: Option<(Topic, Place)> = None;
        let listed = self.store.list(Some(&Path::from(FOLDER)));
        let mut listed = pin!(listed.map_err(BlobError::from).try_filter_map(async |meta| Ok(place(&meta))));
        // Pieces of a log follow one another, but not in every store in order.
        let mut pieces: Vec<(Topic, Place)> = Vec::new();
        loop {
            let next = listed.try_next().await?;
            let is_other = |topic: &Topic| before.as_ref().is_some_and(|(other, _)| other != topic);
            if next.as_ref().is_none_or(|(topic, _)| is_other(topic)) && !pieces.is_empty() {
                expired += self.expire_log(std::mem::take(&mut pieces), now, &keep).await?;
            }
            let Some(next) = next else { return Ok(expired) };
            before = Some(next.clone());
            pieces.push(next);
        }
    }

    async fn expire_log(
        &self,
        mut pieces: Vec<(Topic, Place)>,
        now: Timestamp,
        keep: &impl Fn(LogKind) -> Duration,
    ) -> Result<usize, BlobError> {
        pieces.sort_by_key(|(_, place)| (place.last, place.first));
        let newest = pieces.len() - 1;
        let mut expired = 0;
        for (index, (topic, place)) in pieces.into_iter().enumerate() {
            let is_empty = place.first > place.last;
            if now.since(place.stored) < keep(topic.kind) || (index == newest && is_empty) {
                continue;
            }
            if index == newest {
                let head = self.piece(&place.key).await?.head.clone();
                self.store_piece(&topic, head, Vec::new()).await?;
            }
            blob::delete(&self.store, &place.key).await?;
            expired += 1;
        }
        Ok(expired)
    }

    /// A log's pieces, oldest first.
    async fn places(&self, topic: &Topic) -> Result<Vec<Place>, BlobError> {
        let folder = Path::from(format!("{FOLDER}/{topic}"));
        let listed = self.store.list(Some(&folder)).map_err(BlobError::from);
        let mut places: Vec<Place> =
            listed.try_filter_map(async |meta| Ok(place(&meta).map(|(_, place)| place))).try_collect().await?;
        places.sort_by_key(|place| (place.last, place.first));
        Ok(places)
    }

    async fn piece(&self, key: &str) -> Result<Arc<Piece>, BlobError> {
        let load = async {
            let packed = blob::get(&self.store, key).await?;
            let piece = tokio::task::spawn_blocking(move || unpack(&packed)).await.map_err(broken)?;
            Ok::<_, BlobError>(Arc::new(piece.map_err(broken)?))
        };
        if let Some(piece) = self.pieces.get(key).await {
            return Ok(piece);
        }
        let piece = load.await?;
        self.pieces.insert(key.to_owned(), piece.clone()).await;
        Ok(piece)
    }
}

fn broken(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BlobError {
    BlobError::Store(object_store::Error::Generic { store: "archive of logs", source: e.into() })
}

fn key(topic: &Topic, first: u64, last: u64) -> String {
    format!("{FOLDER}/{topic}/{first:020}-{last:020}.zst")
}

fn place(meta: &object_store::ObjectMeta) -> Option<(Topic, Place)> {
    let key = meta.location.to_string();
    let mut parts = key.strip_prefix(FOLDER)?.strip_prefix('/')?.split('/');
    let (deployment, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = crate::connect::KINDS.into_iter().find(|known| known.name() == kind)?;
    let topic = Topic { deployment: deployment.parse().ok()?, kind };
    let (first, last) = name.strip_suffix(".zst")?.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let stored = Timestamp::from_millis(meta.last_modified.timestamp_millis());
    Some((topic, Place { key, first, last, stored }))
}

fn pack(head: &Head, records: &[Record]) -> std::io::Result<Vec<u8>> {
    let mut out = zstd::Encoder::new(Vec::new(), LEVEL)?;
    serde_json::to_writer(&mut out, head)?;
    for record in records {
        out.write_all(b"\n")?;
        serde_json::to_writer(&mut out, record)?;
    }
    out.finish()
}

fn unpack(packed: &[u8]) -> std::io::Result<Piece> {
    let mut lines = BufReader::new(zstd::Decoder::new(packed)?.take(MAX_PIECE)).lines();
    let head = lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)??;
    let head = serde_json::from_str(&head)?;
    let records = lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect::<std::io::Result<_>>()?;
    Ok(Piece { head, records })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use common::bus::StreamName;
    use common::id::DeploymentId;

    use super::*;

    fn archive(folder: &std::path::Path) -> Archive {
        let url = format!("file://{}", folder.display()).parse().unwrap();
        Archive::new(blob::open(&url).unwrap())
    }

    fn records(from: u64, to: u64) -> Vec<Record> {
        let time = Timestamp::from_millis(0);
        (from..=to).map(|seq| Record { seq, time, stream: StreamName::Stdout, text: format!("line {seq}") }).collect()
    }

    fn cut(offset: u64, next: u64, finished: bool) -> Cut {
        Cut { offset, next, finished_at: finished.then_some(Timestamp::from_millis(9)) }
    }

    #[tokio::test]
    async fn a_log_reads_back_from_its_pieces_also_when_they_overlap() {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path());
        let topic = Topic::runtime(DeploymentId::new());
        assert!(archive.base(&topic, "c/p").await.unwrap().is_none());
        archive.put(&topic, "c/p", 3, &cut(7, 1501, false), records(1, 1500)).await.unwrap();
        archive.put(&topic, "c/p", 3, &cut(9, 1601, false), records(1, 1600)).await.unwrap();
        archive.put(&topic, "c/p", 3, &cut(12, 1701, true), records(1501, 1700)).await.unwrap();
        let first = archive.read(&topic, 0).await.unwrap();
        let rest = archive.read(&topic, 1000).await.unwrap();
        assert!(first.records.iter().chain(&rest.records).map(|r| r.seq).eq(1..=1700));
        assert!(!first.finished && rest.finished);
        let base = archive.base(&topic, "c/p").await.unwrap().unwrap();
        assert_eq!((base.partition, base.offset, base.next, base.archived), (3, 12, 1701, 1700));
        assert_eq!(archive.base(&topic, "other/p").await.unwrap().unwrap().offset, 0);
        archive.remove(&topic).await.unwrap();
        assert!(archive.read(&topic, 0).await.unwrap().records.is_empty());
    }

    #[tokio::test]
    async fn what_is_too_old_is_deleted_and_its_log_still_counts_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path());
        let build = Topic::build(DeploymentId::new());
        let runtime = Topic::runtime(DeploymentId::new());
        archive.put(&build, "c/p", 0, &cut(3, 11, false), records(1, 10)).await.unwrap();
        archive.put(&build, "c/p", 0, &cut(5, 21, true), records(11, 20)).await.unwrap();
        archive.put(&runtime, "c/p", 0, &cut(5, 31, false), records(1, 30)).await.unwrap();
        let days = |n: u64| Duration::from_secs(n * 86_400);
        let keep = |kind| days(if kind == LogKind::Build { 90 } else { 7 });
        let expire = async |n: u64| archive.expire(Timestamp::now().after(days(n)), keep).await.unwrap();
        assert_eq!((expire(6).await, expire(8).await, expire(9).await), (0, 1, 0));
        assert_eq!(archive.read(&build, 0).await.unwrap().records.len(), 20);
        assert!(archive.read(&runtime, 0).await.unwrap().records.is_empty());
        assert_eq!(archive.base(&runtime, "c/p").await.unwrap().unwrap().next, 31);
        assert_eq!((expire(91).await, expire(92).await), (2, 0));
        let end = archive.read(&build, 0).await.unwrap();
        assert!(end.records.is_empty() && end.finished);
    }
}
