//! The port, over the parts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::blob::ObjectStore;
use common::bus::{Away, Batch, BusError, Line, LogBus, MAX_READ, Topic};
use common::id::DeploymentId;
use common::time::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use ulid::Ulid;

use crate::archive::Archive;
use crate::archiver::{self, Due, Keep};
use crate::connect::{Broker, KINDS};
use crate::follower::Follower;
use crate::local::Local;
use crate::message::{Mark, Message, cut};
use crate::news::News;
use crate::sender;
use crate::spool::{Levels, Spool};
use crate::status::Status;

/// For a control plane that just began to have read what is there; then a log is shown as far as it is known.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Pause before a message that the disk did not take is written again.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// How the bus is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Kafka.
    pub broker: Broker,
    /// Folder of this process's own, for the spool and the copy.
    pub folder: PathBuf,
    /// Most bytes of lines that wait on disk for Kafka.
    pub spool: u64,
}

/// What a process that reads has more.
#[derive(Clone)]
pub struct Reading {
    /// Where logs are archived.
    pub store: ObjectStore,
    /// How long they are kept there.
    pub keep: Keep,
    /// Most bytes of lines that are on disk before they are archived.
    pub copy: u64,
}

/// Why the bus can't be opened. That Kafka does not answer is no reason.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// TLS or SCRAM is asked for.
    #[error(
        "this program was built without TLS for Kafka, which kafkas:// and SCRAM need: install libssl-dev and \
         pkg-config and build it with `make build KAFKA_TLS=1`"
    )]
    NoTls,
    /// There must be one.
    #[error("logs.kafka.partitions is at least 1")]
    NoPartitions,
    /// A folder or a file of it can't be used.
    #[error("the folder {folder} for logs can't be used: {source}")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The copy of logs can't be read.
    #[error(
        "the copy of logs in {folder} can't be used: {source}. It may be deleted: it is made anew from Kafka and the archive"
    )]
    Copy {
        /// Its folder.
        folder: PathBuf,
        /// What is wrong.
        source: Box<redb::Error>,
    },
}

/// The adapter.
pub struct KafkaBus {
    producer: String,
    spool: Arc<Spool>,
    writing: Arc<Status>,
    reader: Option<Reader>,
    _ends: DropGuard,
}

struct Reader {
    local: Arc<Local>,
    archive: Arc<Archive>,
    news: Arc<News>,
    status: Arc<Status>,
    caught_up: watch::Receiver<bool>,
    /// Until then reads wait for what is in Kafka.
    patience: Instant,
}

impl KafkaBus {
    /// Opens the bus; a process without `reading` only writes. Must be called within a Tokio runtime. Kafka is connected
    /// to in the background, for as long as the bus lives.
    ///
    /// # Errors
    /// When a setting can't be meant so, or a folder can't be used.
    pub fn open(settings: Settings, reading: Option<Reading>) -> Result<Self, OpenError> {
        let Settings { broker, folder, spool } = settings;
        if broker.needs_tls_feature() {
            return Err(OpenError::NoTls);
        }
        if broker.partitions == 0 {
            return Err(OpenError::NoPartitions);
        }
        let at = folder.join("spool");
        let spool = Spool::open(&at, spool).map_err(|source| OpenError::Folder { folder: at, source })?;
        let spool = Arc::new(spool);
        let stop = CancellationToken::new();
        let reader = reading.map(|reading| Reader::start(&broker, folder, reading, &stop)).transpose()?;
        let writing = Arc::new(Status::new("writer"));
        tokio::spawn(sender::run(broker, spool.clone(), writing.clone(), stop.clone()));
        Ok(Self { producer: Ulid::generate().to_string(), spool, writing, reader, _ends: stop.drop_guard() })
    }

    /// Puts messages onto the spool, in order, when there is room.
    async fn put(&self, topic: &Topic, contents: Vec<(Vec<Line>, Option<Mark>)>) -> Result<(), BusError> {
        self.room(topic).await?;
        let mut messages: Vec<Message> = contents
            .into_iter()
            .map(|(lines, mark)| Message {
                producer: self.producer.clone(),
                n: 0,
                deployment: topic.deployment.clone(),
                kind: topic.kind,
                time: Timestamp::now(),
                lines,
                mark,
            })
            .collect();
        loop {
            let spool = self.spool.clone();
            let put = tokio::task::spawn_blocking(move || {
                let put = spool.put(messages.len(), |index, n| {
                    // There are as many as were said.
                    let Some(message) = messages.get_mut(index) else { return Ok(Vec::new()) };
                    message.n = n;
                    Ok::<_, std::io::Error>(serde_json::to_vec(message)?)
                });
                (put, messages)
            });
            let (put, back) = put.await.map_err(|e| storage(topic, e))?;
            messages = back;
            let Err(e) = put else { return Ok(()) };
            // A full disk is waited for: lines are never dropped for it.
            self.writing.fails(format!("log lines can't be written to this machine's disk: {e}"), DISK_PAUSE);
            tokio::time::sleep(DISK_PAUSE).await;
        }
    }

    async fn room(&self, topic: &Topic) -> Result<(), BusError> {
        if self.spool.has_room() {
            return Ok(());
        }
        if self.writing.away().borrow().is_none() {
            self.writing.fails("Kafka takes lines more slowly than they are said", Duration::ZERO);
        }
        tracing::warn!(%topic, reason = self.away().map(|away| away.reason), "who logs waits for room");
        let bound = self.spool.bound();
        let free = |levels: &Levels| levels.waiting() < bound;
        self.spool.levels().wait_for(free).await.map(|_| ()).map_err(|e| storage(topic, e))
    }

    fn reader(&self, topic: &Topic) -> Result<&Reader, BusError> {
        self.reader.as_ref().ok_or_else(|| storage(topic, "this process only writes logs"))
    }
}

fn storage(topic: &Topic, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BusError {
    BusError::Storage { topic: topic.to_string(), source: std::io::Error::other(e) }
}

#[async_trait]
impl LogBus for KafkaBus {
    async fn append(&self, topic: &Topic, lines: Vec<Line>) -> Result<(), BusError> {
        let messages = cut(lines).into_iter().map(|lines| (lines, None)).collect::<Vec<_>>();
        if messages.is_empty() { Ok(()) } else { self.put(topic, messages).await }
    }

    async fn finish(&self, topic: &Topic) -> Result<(), BusError> {
        self.put(topic, vec![(Vec::new(), Some(Mark::Finish))]).await
    }

    async fn reopen(&self, topic: &Topic) -> Result<(), BusError> {
        self.put(topic, vec![(Vec::new(), Some(Mark::Reopen))]).await
    }

    async fn flush(&self, topic: &Topic) -> Result<(), BusError> {
        let mut levels = self.spool.levels();
        let written = levels.borrow().written;
        let mut away = self.writing.away();
        tokio::select! {
            biased;
            reached = levels.wait_for(|levels| levels.delivered >= written) => {
                reached.map(|_| ()).map_err(|e| storage(topic, e))
            }
            _ = away.wait_for(Option::is_some) => match self.away() {
                Some(away) => Err(away.into()),
                None => Ok(()),
            },
        }
    }

    fn away(&self) -> Option<Away> {
        let levels = *self.spool.levels().borrow();
        let writing = self.writing.away().borrow().clone().filter(|_| levels.waiting() > 0);
        let Some(away) = writing else {
            let away = self.reader.as_ref()?.status.away().borrow().clone()?;
            return Some(Away { reason: format!("{}; live logs stand still", away.reason), ..away });
        };
        let (bound, mib) = (self.spool.bound(), |bytes: u64| bytes.div_ceil(1 << 20));
        let meanwhile = if levels.waiting() >= bound {
            format!("{} MiB of log lines wait on disk, and there is room for no more: who logs waits too", mib(bound))
        } else {
            format!("log lines wait on disk, {} of {} MiB; builds and apps go on", mib(levels.waiting()), mib(bound))
        };
        Some(Away { reason: format!("{}; {meanwhile}", away.reason), ..away })
    }

    async fn read(&self, topic: &Topic, after: u64) -> Result<Batch, BusError> {
        let reader = self.reader(topic)?;
        reader.catches_up().await;
        reader.read(topic, after).await
    }

    async fn wait(&self, topic: &Topic, after: u64) -> Result<(), BusError> {
        let reader = self.reader(topic)?;
        let mut news = reader.news.hear(topic);
        let waited = loop {
            match reader.has_news(topic, after).await {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(e) => break Err(e),
            }
            // The sender lives as long as somebody hears it.
            let _ = news.changed().await;
        };
        drop(news);
        reader.news.tidy(topic);
        waited
    }

    async fn remove(&self, deployment: &DeploymentId) -> Result<(), BusError> {
        for kind in KINDS {
            let topic = Topic { deployment: deployment.clone(), kind };
            self.put(&topic, vec![(Vec::new(), Some(Mark::Remove))]).await?;
        }
        Ok(())
    }
}

impl Reader {
    fn start(broker: &Broker, folder: PathBuf, reading: Reading, stop: &CancellationToken) -> Result<Self, OpenError> {
        let folder = folder.join("copy").join(&broker.address.prefix);
        let local = Local::open(&folder).map_err(|e| OpenError::Copy { folder, source: Box::new(e) })?;
        let local = Arc::new(local);
        let archive = Arc::new(Archive::new(reading.store));
        let (due, news) = (Arc::new(Due::default()), Arc::new(News::default()));
        let status = Arc::new(Status::new("reader"));
        let follower = Follower {
            broker: broker.clone(),
            local: local.clone(),
            archive: archive.clone(),
            due: due.clone(),
            news: news.clone(),
            status: status.clone(),
            bound: reading.copy,
            caught_up: watch::Sender::new(false),
        };
        let caught_up = follower.caught_up.subscribe();
        tokio::spawn(follower.run(stop.clone()));
        // Before it is full: then reading would stand still.
        let full = reading.copy / 2;
        tokio::spawn(archiver::run(local.clone(), archive.clone(), due, reading.keep, full, stop.clone()));
        Ok(Self { local, archive, news, status, caught_up, patience: Instant::now() + CATCH_UP })
    }

    /// Waits until what is in Kafka is here, unless that can't be expected: then a log is shown as far as it is known.
    async fn catches_up(&self) {
        let (mut caught_up, mut away) = (self.caught_up.clone(), self.status.away());
        tokio::select! {
            _ = caught_up.wait_for(|done| *done) => {}
            _ = away.wait_for(Option::is_some) => {}
            () = tokio::time::sleep_until(self.patience) => {}
        }
    }

    async fn read(&self, topic: &Topic, after: u64) -> Result<Batch, BusError> {
        let (local, name) = (self.local.clone(), topic.clone());
        let read = tokio::task::spawn_blocking(move || local.read(&name, after)).await;
        let here = read.map_err(|e| storage(topic, e))?.map_err(|e| storage(topic, e))?;
        let Some((state, mut records)) = here else {
            let found = self.archive.read(topic, after).await.map_err(|e| storage(topic, e))?;
            return Ok(Batch { records: found.records, finished: found.finished });
        };
        if state.removed {
            return Ok(Batch { records: Vec::new(), finished: true });
        }
        if after < state.archived {
            let found = self.archive.read(topic, after).await.map_err(|e| storage(topic, e))?;
            // It has none when they are not kept any more: then the log begins with what is here.
            match found.records.last().map(|record| record.seq) {
                Some(last) if last < state.archived => records = found.records,
                _ => records.splice(..0, found.records).for_each(drop),
            }
            records.truncate(MAX_READ);
        }
        let last = records.last().map_or(after.max(state.archived), |record| record.seq);
        Ok(Batch { records, finished: state.is_over(last) })
    }

    /// Whether a read would find something, or the end.
    async fn has_news(&self, topic: &Topic, after: u64) -> Result<bool, BusError> {
        match self.local.state(topic).map_err(|e| storage(topic, e))? {
            Some(state) if state.removed => Ok(true),
            Some(state) if after >= state.archived => Ok(after < state.next - 1 || state.is_over(after)),
            _ => {
                let batch = self.read(topic, after).await?;
                Ok(batch.finished || !batch.records.is_empty())
            }
        }
    }
}
