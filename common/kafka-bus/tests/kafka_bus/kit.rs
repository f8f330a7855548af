//! Buses of a test, on a cluster within its process or on a broker beside it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::bus::{Bus, Line, Record, StreamName, Topic, follow};
use common::time::Timestamp;
use futures::StreamExt as _;
use kafka_bus::{Broker, Compression, KafkaBus, Keep, OpenError, Reading, Settings};
use rdkafka::ClientContext;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tempfile::TempDir;

/// Partitions of the tests' topics: more than one, few to ask for.
pub const PARTITIONS: u32 = 3;
/// Room for lines that wait, where it does not matter.
pub const SPOOL: u64 = 64 << 20;

/// A cluster in this process.
pub type Mock = MockCluster<'static, DefaultProducerContext>;

/// One with the topics of `p`.
pub fn mock() -> Mock {
    let cluster = MockCluster::new(1).unwrap();
    for kind in ["build", "runtime"] {
        cluster.create_topic(&format!("p.{kind}"), PARTITIONS as i32, 1).unwrap();
    }
    cluster
}

/// Where a cluster's logs are.
pub fn brokers<C: ClientContext>(cluster: &MockCluster<'_, C>) -> String {
    cluster.bootstrap_servers()
}

/// What a machine has: a folder of its own, and an object store that all share.
pub struct Machine {
    pub folder: TempDir,
    pub store: common::blob::ObjectStore,
}

impl Machine {
    pub fn new(store: &Path) -> Self {
        let url = url::Url::from_directory_path(store).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), store: common::blob::open(&url).unwrap() }
    }

    /// A bus that reads and writes.
    pub async fn bus(&self, brokers: &str) -> Bus {
        self.bus_with(brokers, SPOOL).await
    }

    pub async fn bus_with(&self, brokers: &str, spool: u64) -> Bus {
        self.open(brokers, spool, true).await
    }

    /// A bus that only writes.
    pub async fn writer(&self, brokers: &str) -> Bus {
        self.open(brokers, SPOOL, false).await
    }

    /// Waits for the bus that had the folder before, whose tasks end after it.
    async fn open(&self, brokers: &str, spool: u64, reads: bool) -> Bus {
        loop {
            let reading = reads.then(|| reading(&self.store));
            match KafkaBus::open(settings(brokers, self.folder.path(), spool), reading) {
                Ok(bus) => return Arc::new(bus),
                Err(OpenError::Folder { .. } | OpenError::Copy { .. }) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(e) => panic!("{e}"),
            }
        }
    }
}

pub fn reading(store: &common::blob::ObjectStore) -> Reading {
    let day = Duration::from_secs(86_400);
    let keep = Keep { build: 90 * day, runtime: 7 * day, spread: Duration::ZERO };
    Reading { store: store.clone(), keep, copy: 64 << 20 }
}

pub fn settings(brokers: &str, folder: &Path, spool: u64) -> Settings {
    let broker = Broker {
        address: format!("kafka://{brokers}/p").parse().unwrap(),
        partitions: PARTITIONS,
        replication: Some(1),
        retention: Duration::from_secs(3600),
        compression: Compression::Zstd,
        login: None,
        ca_file: None,
    };
    Settings { broker, folder: folder.to_owned(), spool }
}

pub fn line(text: impl ToString) -> Line {
    Line { time: Timestamp::now(), stream: StreamName::Stdout, text: text.to_string() }
}

/// Lines that say these numbers.
pub fn lines(numbers: std::ops::RangeInclusive<u64>) -> Vec<Line> {
    numbers.map(line).collect()
}

/// The first `count` records, as they come.
pub async fn records(bus: &Bus, topic: &Topic, count: usize) -> Vec<Record> {
    let mut batches = Box::pin(follow(bus.clone(), topic.clone(), 0));
    let mut records = Vec::new();
    while records.len() < count {
        records.extend(batches.next().await.expect("the log ended early").unwrap());
    }
    records
}

/// All records of a log that ends.
pub async fn whole(bus: &Bus, topic: &Topic) -> Vec<Record> {
    let batches: Vec<_> = follow(bus.clone(), topic.clone(), 0).collect().await;
    batches.into_iter().flat_map(Result::unwrap).collect()
}

/// That records say their own numbers, from 1 on.
pub fn assert_counted(records: &[Record], count: u64) {
    assert!(records.iter().map(|r| r.seq).eq(1..=count), "{} records", records.len());
    assert!(records.iter().all(|r| r.text == r.seq.to_string()));
}
