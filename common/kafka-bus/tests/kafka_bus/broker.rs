//! On a broker that is a process of its own, with processes that write beside the test.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::bus::{Topic, conformance};
use common::id::DeploymentId;
use testkit::tansu::Tansu;

use crate::kit::{Machine, assert_counted, lines, records, whole};

/// Tells a process that writes where, in which folder, for which deployment, and which numbers.
const ORDER: &str = "KAFKA_BUS_TEST_WRITER";

#[tokio::test]
async fn the_bus_conforms_on_a_broker() {
    let (broker, store) = (Tansu::start(), tempfile::tempdir().unwrap());
    let machine = Machine::new(store.path());
    conformance(&machine.bus(&broker.address()).await).await.unwrap();
}

/// No test by itself: what [`writer`] starts. It writes until it is killed, unless it is told where to end.
#[tokio::test]
#[ignore = "a process of other tests"]
async fn a_process_that_writes() {
    let order = std::env::var(ORDER).expect("it is started by another test");
    let words: Vec<&str> = order.split(' ').collect();
    let [broker, folder, deployment, first, last] = words[..] else { panic!("{order}") };
    let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
    let settings = crate::kit::settings(broker, std::path::Path::new(folder), crate::kit::SPOOL);
    let bus = kafka_bus::KafkaBus::open(settings, None).unwrap();
    let topic = Topic::build(deployment.parse().unwrap());
    use common::bus::LogBus as _;
    for n in first..=last {
        bus.append(&topic, lines(n..=n)).await.unwrap();
    }
    bus.flush(&topic).await.unwrap();
}

/// A deployer of its own process, which writes these numbers.
fn writer(broker: &Tansu, machine: &Machine, topic: &Topic, numbers: std::ops::RangeInclusive<u64>) -> Child {
    let folder = machine.folder.path().display();
    let order = format!("{} {folder} {} {} {}", broker.address(), topic.deployment, numbers.start(), numbers.end());
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "broker::a_process_that_writes", "--ignored"])
        .env(ORDER, order)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_killed_deployers_lines_are_kept_and_another_goes_on_with_the_numbers() {
    let (broker, store) = (Tansu::start(), tempfile::tempdir().unwrap());
    let (plane, other_plane) = (Machine::new(store.path()), Machine::new(store.path()));
    let (bus, other) = (plane.bus(&broker.address()).await, other_plane.bus(&broker.address()).await);
    let topic = Topic::build(DeploymentId::new());
    let deployer = Machine::new(store.path());
    let mut process = writer(&broker, &deployer, &topic, 1..=u64::MAX);
    records(&bus, &topic, 200).await;
    process.kill().unwrap();
    process.wait().unwrap();
    // What is on its disk goes on when it is started again, before anything new.
    assert!(writer(&broker, &deployer, &topic, 0..=0).wait().unwrap().success());
    bus.finish(&topic).await.unwrap();
    let seen = whole(&bus, &topic).await;
    let (last, before) = seen.split_last().unwrap();
    assert_eq!(last.text, "0");
    assert_counted(before, before.len() as u64);
    assert_eq!(whole(&other, &topic).await, seen);
    bus.reopen(&topic).await.unwrap();
    let second = Machine::new(store.path());
    let (from, to) = (seen.len() as u64 + 1, seen.len() as u64 + 500);
    assert!(writer(&broker, &second, &topic, from..=to).wait().unwrap().success());
    bus.finish(&topic).await.unwrap();
    while bus.read(&topic, to - 1).await.unwrap().records.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let whole = whole(&bus, &topic).await;
    assert!(whole.iter().map(|r| r.seq).eq(1..=to));
    assert!(whole[seen.len()..].iter().all(|r| r.text == r.seq.to_string()));
}

#[tokio::test]
async fn a_halted_broker_delays_lines_and_a_new_one_gets_them() {
    let (broker, store) = (Tansu::start(), tempfile::tempdir().unwrap());
    let machine = Machine::new(store.path());
    let bus = machine.bus(&broker.address()).await;
    let topic = Topic::build(DeploymentId::new());
    bus.append(&topic, lines(1..=100)).await.unwrap();
    bus.wait(&topic, 99).await.unwrap();
    broker.pause();
    bus.append(&topic, lines(101..=200)).await.unwrap();
    bus.flush(&topic).await.unwrap_err();
    assert_eq!(bus.read(&topic, 0).await.unwrap().records.len(), 100);
    broker.resume();
    bus.wait(&topic, 199).await.unwrap();
    // One that lost everything: what was read is here, and numbers go on.
    broker.kill();
    bus.append(&topic, lines(201..=300)).await.unwrap();
    broker.begin();
    bus.finish(&topic).await.unwrap();
    assert_counted(&whole(&bus, &topic).await, 300);
}
