//! The log and event bus port: numbered records per topic, with history and live tail.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::Stream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::LogKind;
use crate::id::DeploymentId;
use crate::time::Timestamp;

pub mod file;
pub mod shared;

/// Most records that one read returns.
pub const MAX_READ: usize = 1000;

/// The port.
pub type Bus = Arc<dyn LogBus>;

/// One of a deployment's logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Which log of it.
    pub kind: LogKind,
}

impl Topic {
    /// A deployment's build log.
    #[must_use]
    pub const fn build(deployment: DeploymentId) -> Self {
        Self { deployment, kind: LogKind::Build }
    }

    /// A deployment's runtime log.
    #[must_use]
    pub const fn runtime(deployment: DeploymentId) -> Self {
        Self { deployment, kind: LogKind::Runtime }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.deployment, self.kind.name())
    }
}

/// Who said a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StreamName {
    /// The command's standard output.
    Stdout,
    /// The command's standard error.
    Stderr,
    /// The platform.
    System,
}

/// A line to append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it was said.
    pub time: Timestamp,
    /// Who said it.
    pub stream: StreamName,
    /// Text without line end.
    pub text: String,
}

/// A numbered line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// Counts from 1 without gaps, per deployment and log.
    pub seq: u64,
    /// When it was said.
    pub time: Timestamp,
    /// Who said it.
    pub stream: StreamName,
    /// Text without line end.
    pub text: String,
}

/// What a read found.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Records in order, at most [`MAX_READ`].
    pub records: Vec<Record>,
    /// Whether no record will follow these.
    pub finished: bool,
}

/// Why the bus failed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The log can't be read or written.
    #[error("the log of {topic} can't be read or written: {source}")]
    Storage {
        /// Whose log.
        topic: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Appending to a finished log, where that is known.
    #[error("the log of {topic} is finished: nothing can be added")]
    Finished {
        /// Whose log.
        topic: String,
    },
    /// The server behind the bus is away; what was appended is kept and goes there later.
    #[error(transparent)]
    Away(#[from] Away),
}

/// The server behind the bus takes nothing now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (since {since}; the next try is at {retry_at})")]
pub struct Away {
    /// What is wrong, and what becomes of the lines meanwhile.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again.
    pub retry_at: Timestamp,
}

/// The port's operations. Several processes may have a bus on the same server: what one appends, all read, under the
/// same numbers. Lines of one process keep their order.
#[async_trait]
pub trait LogBus: Send + Sync {
    /// Takes lines in order. They are safe from the end of this process, and are read soon: [`Self::wait`] tells when.
    /// A bus that has no room for them lets the caller wait, so that who says much is slowed down.
    async fn append(&self, topic: &Topic, lines: Vec<Line>) -> Result<(), BusError>;
    /// Says that no line will follow; what is said later belongs to no log. Doing it twice is no error.
    async fn finish(&self, topic: &Topic) -> Result<(), BusError>;
    /// Takes back [`Self::finish`], for a build that begins anew after its deployer was lost.
    async fn reopen(&self, topic: &Topic) -> Result<(), BusError>;
    /// Returns once everybody can read what this process appended to the topic; with [`BusError::Away`] when that has
    /// to wait for a server.
    async fn flush(&self, topic: &Topic) -> Result<(), BusError>;
    /// Why lines of this process wait, if they do.
    fn away(&self) -> Option<Away> {
        None
    }
    /// Up to [`MAX_READ`] records after number `after`.
    async fn read(&self, topic: &Topic, after: u64) -> Result<Batch, BusError>;
    /// Returns once the topic has a record after `after`, or is finished.
    async fn wait(&self, topic: &Topic, after: u64) -> Result<(), BusError>;
    /// Deletes a deployment's logs.
    async fn remove(&self, deployment: &DeploymentId) -> Result<(), BusError>;
}

/// History after `after`, then live records, none twice and none missing, until the log is finished.
pub fn follow(bus: Bus, topic: Topic, after: u64) -> impl Stream<Item = Result<Vec<Record>, BusError>> + Send {
    async_stream::try_stream! {
        let mut after = after;
        loop {
            let batch = bus.read(&topic, after).await?;
            match batch.records.last() {
                Some(last) => {
                    after = last.seq;
                    yield batch.records;
                }
                None if batch.finished => break,
                None => bus.wait(&topic, after).await?,
            }
        }
    }
}

/// What every adapter must do; called by each adapter's tests.
///
/// # Errors
/// Names the first expectation that did not hold.
pub async fn conformance(bus: &Bus) -> Result<(), String> {
    use futures::TryStreamExt as _;
    let text = |e: BusError| e.to_string();
    let ensure = |held: bool, what: &str| if held { Ok(()) } else { Err(what.to_owned()) };
    let line = |n: u64| Line { time: Timestamp::now(), stream: StreamName::Stdout, text: format!("line {n} ü\t\"") };
    let topic = Topic::build(DeploymentId::new());

    ensure(bus.read(&topic, 0).await.map_err(text)?.records.is_empty(), "an unknown topic is empty")?;
    let late = tokio::spawn(follow(bus.clone(), topic.clone(), 0).try_collect::<Vec<Vec<Record>>>());
    for n in 0..25_u64 {
        let lines = (0..100).map(|i| line(n * 100 + i + 1)).collect();
        bus.append(&topic, lines).await.map_err(text)?;
    }
    bus.flush(&topic).await.map_err(text)?;
    bus.wait(&topic, 2499).await.map_err(text)?;
    let page = bus.read(&topic, 1234).await.map_err(text)?;
    ensure(page.records.first().is_some_and(|r| r.seq == 1235), "a read begins after the given number")?;
    ensure(page.records.len() == MAX_READ, "a read is bounded")?;
    ensure(!page.finished, "a log is not finished before that is said")?;
    let rest = tokio::spawn(follow(bus.clone(), topic.clone(), 2000).try_collect::<Vec<Vec<Record>>>());
    bus.append(&topic, vec![line(2501)]).await.map_err(text)?;
    bus.finish(&topic).await.map_err(text)?;
    bus.finish(&topic).await.map_err(text)?;
    for (task, first) in [(late, 1), (rest, 2001)] {
        let records: Vec<Record> =
            task.await.map_err(|e| e.to_string())?.map_err(text)?.into_iter().flatten().collect();
        ensure(records.iter().map(|r| r.seq).eq(first..=2501), "a follower gets each record once, in order")?;
        ensure(records.iter().all(|r| r.text == line(r.seq).text), "texts come back as they were")?;
    }
    bus.wait(&topic, 2501).await.map_err(text)?;
    let end = bus.read(&topic, u64::MAX).await.map_err(text)?;
    ensure(end.finished && end.records.is_empty(), "whether a log is finished can be asked without its records")?;
    let after_the_end = Line { time: Timestamp::now().after(Duration::from_secs(60)), ..line(0) };
    // A bus that does not know of the end takes the line, and nobody reads it.
    let refused = bus.append(&topic, vec![after_the_end]).await;
    ensure(matches!(refused, Ok(()) | Err(BusError::Finished { .. })), "only the end can be a reason to refuse")?;
    bus.reopen(&topic).await.map_err(text)?;
    bus.append(&topic, vec![line(2502)]).await.map_err(text)?;
    wait_for(bus, &topic, 2501).await.map_err(text)?;
    let again = bus.read(&topic, 2500).await.map_err(text)?;
    ensure(!again.finished, "a reopened log is not finished")?;
    let texts: Vec<String> = again.records.into_iter().map(|r| r.text).collect();
    ensure(texts == [line(2501).text, line(2502).text], "a reopened log goes on, without what was said after its end")?;
    let other = Topic::runtime(topic.deployment.clone());
    bus.append(&other, vec![line(1)]).await.map_err(text)?;
    bus.wait(&other, 0).await.map_err(text)?;
    let records = bus.read(&other, 0).await.map_err(text)?.records;
    ensure(records.iter().map(|r| r.seq).eq([1]), "each log counts for itself")?;
    bus.remove(&topic.deployment).await.map_err(text)?;
    // A log whose number can't be reached ends only by its removal.
    bus.wait(&other, u64::MAX).await.map_err(text)?;
    bus.wait(&topic, u64::MAX).await.map_err(text)?;
    ensure(bus.read(&topic, 0).await.map_err(text)?.records.is_empty(), "a removed log is empty")
}

/// Waits for a record after `after` of a log that was finished before, however late its reopening is heard of.
async fn wait_for(bus: &Bus, topic: &Topic, after: u64) -> Result<(), BusError> {
    loop {
        bus.wait(topic, after).await?;
        if !bus.read(topic, after).await?.records.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
