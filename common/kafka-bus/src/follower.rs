//! From Kafka into the local copy: everything, in each control plane, so that whoever asks one for a live log has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::api::LogKind;
use common::bus::Topic;
use common::time::Timestamp;
use futures::FutureExt as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::archive::Archive;
use crate::archiver::Due;
use crate::connect::{Broker, KINDS, said};
use crate::local::{Begin, Local, Received};
use crate::message::Message;
use crate::news::News;
use crate::state::LogState;
use crate::status::{Context, RECONNECT, Status};

/// Most messages taken at once.
const BATCH: usize = 500;
/// Most bytes of them: what one change of the local copy holds in memory.
const BATCH_BYTES: usize = 8 << 20;
/// How often the local copy is written through to the disk. A crash costs reading so much of Kafka again.
const DURABLE_EVERY: Duration = Duration::from_secs(1);
/// For a broker to tell where a partition begins and ends.
const WATERMARKS: Duration = Duration::from_secs(10);
/// First pause after something failed; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether the full local copy has room again.
const ROOM_EVERY: Duration = Duration::from_millis(500);

/// Reads Kafka.
pub(crate) struct Follower {
    pub broker: Broker,
    pub local: Arc<Local>,
    pub archive: Arc<Archive>,
    pub due: Arc<Due>,
    pub news: Arc<News>,
    pub status: Arc<Status>,
    /// Most bytes of lines in the local copy.
    pub bound: u64,
    /// Whether everything was read that was there when reading began.
    pub caught_up: watch::Sender<bool>,
}

/// What was there when reading began: by kind and partition, the offset of the next message.
type Ends = HashMap<(LogKind, u32), u64>;
/// Messages that were read before and are read again first: by kind and partition, offset and hash. Another one in that
/// place tells that the partition was made anew.
type Checks = HashMap<(LogKind, u32), (u64, u64)>;

impl Follower {
    /// Follows until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = PAUSE_FIRST;
        loop {
            let began = Instant::now();
            let ended = tokio::select! {
                ended = self.follow() => ended,
                () = stop.cancelled() => return,
            };
            let Err(reason) = ended;
            if began.elapsed() > PAUSE_MAX {
                pause = PAUSE_FIRST;
            }
            self.status.fails(reason, pause);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn follow(&self) -> Result<std::convert::Infallible, String> {
        self.broker.topics(&self.status).await?;
        let consumer: StreamConsumer<Context> =
            self.broker.consumer().create_with_context(Context(self.status.clone())).map_err(|e| e.to_string())?;
        let consumer = Arc::new(consumer);
        let (mut ends, mut checks) = self.assign(&consumer).await?;
        let mut durable = Instant::now();
        let mut pending = false;
        loop {
            self.catches_up(&mut ends)?;
            let is_away = self.status.away().borrow().is_some();
            let first = tokio::select! {
                first = consumer.recv() => first,
                // It may be back though nobody has written anything.
                () = tokio::time::sleep(RECONNECT), if is_away => {
                    if self.watermarks(&consumer, LogKind::Build, 0).await.is_ok() {
                        self.status.works();
                    }
                    continue;
                }
                // Nothing comes, and what came last is not on the disk yet.
                () = tokio::time::sleep_until(durable + DURABLE_EVERY), if pending => {
                    self.take(&consumer, Vec::new(), true).await?;
                    (durable, pending) = (Instant::now(), false);
                    continue;
                }
            };
            let first = match first {
                Ok(first) => first,
                Err(e) => {
                    self.failed(&e)?;
                    continue;
                }
            };
            self.status.works();
            let mut bytes = first.payload_len();
            let mut batch = Vec::new();
            batch.extend(self.is_new(&mut checks, self.received(&first)?)?);
            drop(first);
            let mut failed = None;
            while batch.len() < BATCH
                && bytes < BATCH_BYTES
                && let Some(next) = consumer.recv().now_or_never()
            {
                match next {
                    Ok(next) => {
                        bytes += next.payload_len();
                        batch.extend(self.is_new(&mut checks, self.received(&next)?)?);
                    }
                    Err(e) => {
                        failed = Some(e);
                        break;
                    }
                }
            }
            let write_through = durable.elapsed() >= DURABLE_EVERY;
            self.take(&consumer, batch, write_through).await?;
            if write_through {
                durable = Instant::now();
            }
            pending = !write_through;
            if let Some(e) = failed {
                self.failed(&e)?;
            }
            self.room().await?;
        }
    }

    /// What reading says of an error: most are mended by the library.
    fn failed(&self, error: &KafkaError) -> Result<(), String> {
        match error.rdkafka_error_code() {
            // The place that was to be read next is gone, or never was: begin anew, which looks where partitions begin.
            Some(
                RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => Err(error.to_string()),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed) => {
                Err("Kafka does not allow this user to read the topics: allow Read and Describe".to_owned())
            }
            _ => {
                self.status.fails(said(&self.status, error), RECONNECT);
                Ok(())
            }
        }
    }

    /// Begins where reading ended before; returns where partitions end now.
    async fn assign(&self, consumer: &Arc<StreamConsumer<Context>>) -> Result<(Ends, Checks), String> {
        let stream = self.stream(consumer).await?;
        let known = self.local.stream().map_err(|e| e.to_string())?;
        let is_other = known.is_some_and(|known| known != stream);
        let mut list = TopicPartitionList::new();
        let (mut ends, mut checks) = (Ends::new(), Checks::new());
        for kind in KINDS {
            for partition in 0..self.broker.partitions {
                let (low, high) = self.watermarks(consumer, kind, partition).await?;
                let mut from = if is_other {
                    self.begin_at(kind, partition, low, Begin::Anew)?
                } else {
                    self.begin(kind, partition, low, high)?
                };
                let position = self.local.position(kind, partition).map_err(|e| e.to_string())?;
                if let Some((_, hash)) = position.filter(|_| from > low) {
                    from -= 1;
                    checks.insert((kind, partition), (from, hash));
                }
                ends.insert((kind, partition), high);
                let number = i32::try_from(partition).map_err(|e| e.to_string())?;
                let offset = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
                list.add_partition_offset(&self.broker.topic(kind), number, offset).map_err(|e| e.to_string())?;
            }
        }
        self.local.set_stream(&stream).map_err(|e| e.to_string())?;
        consumer.assign(&list).map_err(|e| e.to_string())?;
        Ok((ends, checks))
    }

    /// What tells offsets of this cluster from those of another one.
    async fn stream(&self, consumer: &Arc<StreamConsumer<Context>>) -> Result<String, String> {
        let consumer = consumer.clone();
        let asked = tokio::task::spawn_blocking(move || consumer.client().fetch_cluster_id(WATERMARKS)).await;
        // Old brokers have no id.
        let cluster = asked.map_err(|e| e.to_string())?.unwrap_or_default();
        Ok(format!("{cluster}/{}", self.broker.address.prefix))
    }

    /// The offsets of a partition's first message and of the next one that it gets.
    async fn watermarks(
        &self,
        consumer: &Arc<StreamConsumer<Context>>,
        kind: LogKind,
        partition: u32,
    ) -> Result<(u64, u64), String> {
        let (consumer, topic) = (consumer.clone(), self.broker.topic(kind));
        let number = i32::try_from(partition).map_err(|e| e.to_string())?;
        let asked = tokio::task::spawn_blocking(move || consumer.fetch_watermarks(&topic, number, WATERMARKS)).await;
        let (low, high) = asked.map_err(|e| e.to_string())?.map_err(|e| said(&self.status, &e))?;
        Ok((u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0)))
    }

    fn begin(&self, kind: LogKind, partition: u32, low: u64, high: u64) -> Result<u64, String> {
        match self.local.position(kind, partition).map_err(|e| e.to_string())?.map(|(at, _)| at) {
            Some(at) if (low..=high).contains(&at) => Ok(at),
            None => self.begin_at(kind, partition, low, Begin::First),
            Some(at) => {
                let kind_name = kind.name();
                tracing::warn!(
                    kind = kind_name,
                    partition,
                    at,
                    low,
                    high,
                    "Kafka has no longer what was to be read next"
                );
                self.begin_at(kind, partition, low, if at < low { Begin::Lost } else { Begin::Anew })
            }
        }
    }

    fn begin_at(&self, kind: LogKind, partition: u32, offset: u64, begin: Begin) -> Result<u64, String> {
        self.local.begin(kind, partition, offset, begin).map_err(|e| e.to_string())?;
        Ok(offset)
    }

    fn received(&self, message: &BorrowedMessage<'_>) -> Result<Received, String> {
        let kind = KINDS.into_iter().find(|kind| self.broker.topic(*kind) == message.topic());
        let (Some(kind), Ok(partition), Ok(offset)) =
            (kind, u32::try_from(message.partition()), u64::try_from(message.offset()))
        else {
            return Err(format!("Kafka gave a message of {}, which was not asked for", message.topic()));
        };
        let bytes = message.payload().unwrap_or_default();
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(bytes).as_bytes();
        let hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let read = serde_json::from_slice::<Message>(bytes);
        let message = match read {
            Ok(read) if read.kind == kind => Some(read),
            Ok(_) => None,
            Err(e) => {
                tracing::error!(topic = message.topic(), partition, offset, error = %e, "a message can't be understood");
                None
            }
        };
        Ok(Received { kind, partition, offset, hash, message })
    }

    /// What was read, unless it is only there to be compared.
    fn is_new(&self, checks: &mut Checks, received: Received) -> Result<Option<Received>, String> {
        let Received { kind, partition, offset, hash, .. } = received;
        match checks.remove(&(kind, partition)) {
            None => Ok(Some(received)),
            Some(before) if before == (offset, hash) => Ok(None),
            Some(_) => {
                self.begin_at(kind, partition, 0, Begin::Anew)?;
                Err(format!("Kafka's topic {} was made anew", self.broker.topic(kind)))
            }
        }
    }

    async fn take(
        &self,
        consumer: &Arc<StreamConsumer<Context>>,
        batch: Vec<Received>,
        durable: bool,
    ) -> Result<(), String> {
        let mut bases: HashMap<Topic, LogState> = HashMap::new();
        let stream = self.local.stream().map_err(|e| e.to_string())?.unwrap_or_default();
        for topic in self.local.unknown(&batch).map_err(|e| e.to_string())? {
            let base = self.archive.base(&topic, &stream).await;
            let Some(mut base) = base.map_err(|e| format!("the archive of logs can't be read: {e}"))? else { continue };
            // An offset that is not reached yet is of an earlier partition, before the topic was made anew.
            if base.offset > self.watermarks(consumer, topic.kind, base.partition).await?.1 {
                base.offset = 0;
            }
            bases.insert(topic, base);
        }
        let local = self.local.clone();
        let work = move || local.apply(batch, bases, Timestamp::now(), durable);
        let changed = tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())?;
        let changed = changed.map_err(|e| format!("this machine's copy of logs can't be written: {e}"))?;
        self.news.tell(&changed.topics);
        self.due.add(changed.due);
        Ok(())
    }

    /// Waits while the local copy is full: Kafka keeps what is not read.
    async fn room(&self) -> Result<(), String> {
        while self.local.bytes().map_err(|e| e.to_string())? > self.bound {
            let reason = "This machine's copy of logs is full, because they can't be archived";
            self.status.fails(reason, ROOM_EVERY);
            self.due.again();
            tokio::time::sleep(ROOM_EVERY).await;
        }
        Ok(())
    }

    /// Notes when all was read that was there in the beginning.
    fn catches_up(&self, ends: &mut Ends) -> Result<(), String> {
        if ends.is_empty() {
            return Ok(());
        }
        let mut left = Ends::new();
        for ((kind, partition), end) in ends.drain() {
            if self.local.position(kind, partition).map_err(|e| e.to_string())?.is_none_or(|(at, _)| at < end) {
                left.insert((kind, partition), end);
            }
        }
        *ends = left;
        if ends.is_empty() {
            self.caught_up.send_replace(true);
        }
        Ok(())
    }
}
