//! Processes that end and begin, and control planes that know nothing yet.

use std::time::Duration;

use common::bus::Topic;
use common::id::DeploymentId;

use crate::kit::{Machine, assert_counted, brokers, lines, mock, records, whole};

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn what_a_killed_process_left_goes_on_and_what_it_sent_already_counts_once() {
    let (cluster, store) = (mock(), tempfile::tempdir().unwrap());
    let (deployer, plane) = (Machine::new(store.path()), Machine::new(store.path()));
    let reader = plane.bus(&brokers(&cluster)).await;
    let topic = Topic::build(DeploymentId::new());
    cluster.broker_down(1).unwrap();
    let first = deployer.writer(&brokers(&cluster)).await;
    for n in 0..20 {
        first.append(&topic, lines(n * 5 + 1..=n * 5 + 5)).await.unwrap();
    }
    drop(first);
    // What is on disk when a process is killed: nothing tells that some of it is sent in a moment.
    let (spool, kept) = (deployer.folder.path().join("spool"), tempfile::tempdir().unwrap());
    copy(&spool, kept.path());
    cluster.broker_up(1).unwrap();
    let second = deployer.writer(&brokers(&cluster)).await;
    second.append(&topic, lines(101..=110)).await.unwrap();
    second.flush(&topic).await.unwrap();
    drop(second);
    copy(kept.path(), &spool);
    let third = deployer.writer(&brokers(&cluster)).await;
    third.append(&topic, lines(111..=120)).await.unwrap();
    third.finish(&topic).await.unwrap();
    assert_counted(&whole(&reader, &topic).await, 120);
}

#[tokio::test]
async fn control_planes_give_the_same_numbers_and_one_that_was_away_goes_on() {
    let (cluster, store) = (mock(), tempfile::tempdir().unwrap());
    let machines = [Machine::new(store.path()), Machine::new(store.path()), Machine::new(store.path())];
    let [one, two, three] = &machines;
    let (one, mut two) = (one.bus(&brokers(&cluster)).await, two.bus(&brokers(&cluster)).await);
    let topic = Topic::runtime(DeploymentId::new());
    // Two instances of an app on two machines, at once.
    for _ in 0..50 {
        let (a, b) = tokio::join!(one.append(&topic, lines(1..=3)), two.append(&topic, lines(4..=6)));
        a.and(b).unwrap();
    }
    let seen = records(&one, &topic, 300).await;
    assert_eq!(records(&two, &topic, 300).await, seen);
    drop(two);
    one.append(&topic, lines(7..=8)).await.unwrap();
    two = machines[1].bus(&brokers(&cluster)).await;
    let seen = records(&one, &topic, 302).await;
    assert_eq!(records(&two, &topic, 302).await, seen);
    assert_eq!(records(&three.bus(&brokers(&cluster)).await, &topic, 302).await, seen);
    assert!(seen.iter().map(|r| r.seq).eq(1..=302));
}

#[tokio::test]
async fn history_is_read_from_the_archive_without_kafka() {
    let (cluster, store) = (mock(), tempfile::tempdir().unwrap());
    let plane = Machine::new(store.path());
    let bus = plane.bus(&brokers(&cluster)).await;
    let topic = Topic::build(DeploymentId::new());
    bus.append(&topic, lines(1..=2500)).await.unwrap();
    bus.finish(&topic).await.unwrap();
    archived(&plane, &topic, 1).await;
    drop(bus);
    cluster.broker_down(1).unwrap();
    let fresh = Machine::new(store.path()).bus(&brokers(&cluster)).await;
    assert_counted(&whole(&fresh, &topic).await, 2500);
    // The copy that has nothing of it any more knows that it is finished.
    assert_counted(&whole(&plane.bus(&brokers(&cluster)).await, &topic).await, 2500);
}

#[tokio::test]
async fn a_log_goes_on_counting_where_the_archive_ends_and_what_came_late_is_there() {
    let store = tempfile::tempdir().unwrap();
    let topic = Topic::build(DeploymentId::new());
    let before = mock();
    {
        let plane = Machine::new(store.path());
        let bus = plane.bus(&brokers(&before)).await;
        let late = lines(11..=20);
        bus.append(&topic, lines(1..=10)).await.unwrap();
        bus.finish(&topic).await.unwrap();
        bus.append(&topic, late).await.unwrap();
        archived(&plane, &topic, 2).await;
    }
    // Another cluster and another control plane: all that is left is the archive.
    let cluster = mock();
    let plane = Machine::new(store.path());
    let bus = plane.bus(&brokers(&cluster)).await;
    assert_counted(&whole(&bus, &topic).await, 20);
    bus.reopen(&topic).await.unwrap();
    bus.append(&topic, lines(21..=25)).await.unwrap();
    bus.finish(&topic).await.unwrap();
    // Until then the archive's end is the log's.
    while bus.read(&topic, 24).await.unwrap().records.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_counted(&whole(&bus, &topic).await, 25);
    bus.remove(&topic.deployment).await.unwrap();
    bus.wait(&topic, u64::MAX).await.unwrap();
    while pieces(&plane, &topic).await > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn pieces(machine: &Machine, topic: &Topic) -> usize {
    use futures::StreamExt as _;
    machine.store.list(Some(&object_store::path::Path::from(format!("logs/{topic}")))).count().await
}

/// Waits until a log has so many pieces in the archive.
async fn archived(machine: &Machine, topic: &Topic, count: usize) {
    while pieces(machine, topic).await < count {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
