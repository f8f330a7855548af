//! A broker that is away, refuses or is slow.

use std::time::Duration;

use common::bus::{Bus, BusError, Topic, conformance};
use common::id::DeploymentId;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::kit::{Machine, assert_counted, brokers, line, lines, mock, records, whole};

#[tokio::test]
async fn the_bus_conforms_on_a_cluster_in_this_process() {
    let (cluster, store) = (mock(), tempfile::tempdir().unwrap());
    let machine = Machine::new(store.path());
    conformance(&machine.bus(&brokers(&cluster)).await).await.unwrap();
}

/// Returns why lines wait, once that is known.
async fn away(bus: &Bus, topic: &Topic) -> String {
    let Err(BusError::Away(away)) = bus.flush(topic).await else { panic!("the broker takes lines") };
    away.reason
}

#[tokio::test]
async fn lines_wait_on_disk_while_the_broker_is_away_and_arrive_in_order() {
    let (cluster, store) = (mock(), tempfile::tempdir().unwrap());
    let machine = Machine::new(store.path());
    let bus = machine.bus(&brokers(&cluster)).await;
    let topic = Topic::build(DeploymentId::new());
    bus.append(&topic, lines(1..=10)).await.unwrap();
    bus.flush(&topic).await.unwrap();
    cluster.broker_down(1).unwrap();
    for n in 1..=50 {
        bus.append(&topic, lines(n * 10 + 1..=n * 10 + 10)).await.unwrap();
    }
    let why = away(&bus, &topic).await;
    assert!(why.contains("builds and apps go on"), "{why}");
    cluster.broker_up(1).unwrap();
    bus.finish(&topic).await.unwrap();
    assert_counted(&whole(&bus, &topic).await, 510);
    bus.flush(&topic).await.unwrap();
    while bus.away().is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_logs_waits_when_there_is_no_room_and_is_told_why() {
    let (cluster, store) = (mock(), tempfile::tempdir().unwrap());
    let machine = Machine::new(store.path());
    let bus = machine.bus_with(&brokers(&cluster), 1 << 20).await;
    let topic = Topic::build(DeploymentId::new());
    cluster.broker_down(1).unwrap();
    let chatty = tokio::spawn({
        let (bus, topic) = (bus.clone(), topic.clone());
        async move {
            for n in 0..400 {
                // About 2.6 MB in all.
                bus.append(&topic, lines(n * 100 + 1..=n * 100 + 100)).await.unwrap();
            }
        }
    });
    let told = loop {
        match bus.away().map(|away| away.reason) {
            Some(reason) if reason.contains("no more") => break reason,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    assert!(told.contains("1 MiB of log lines wait") && !chatty.is_finished(), "{told}");
    cluster.broker_up(1).unwrap();
    chatty.await.unwrap();
    bus.finish(&topic).await.unwrap();
    assert_counted(&whole(&bus, &topic).await, 40_000);
}

#[tokio::test]
async fn what_a_broker_refuses_is_sent_again_and_nothing_twice() {
    let (cluster, store) = (mock(), tempfile::tempdir().unwrap());
    let machine = Machine::new(store.path());
    let bus = machine.bus(&brokers(&cluster)).await;
    let topics: Vec<Topic> = (0..6).map(|_| Topic::build(DeploymentId::new())).collect();
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ],
    );
    for n in 0..40 {
        for topic in &topics {
            bus.append(topic, lines(n * 5 + 1..=n * 5 + 5)).await.unwrap();
        }
    }
    for topic in &topics {
        bus.finish(topic).await.unwrap();
        assert_counted(&whole(&bus, topic).await, 200);
    }
}

#[tokio::test]
async fn a_slow_broker_delays_lines_and_loses_none() {
    let (cluster, store) = (mock(), tempfile::tempdir().unwrap());
    let machine = Machine::new(store.path());
    let bus = machine.bus(&brokers(&cluster)).await;
    cluster.broker_round_trip_time(1, Duration::from_millis(200)).unwrap();
    let topic = Topic::runtime(DeploymentId::new());
    for n in 1..=300 {
        bus.append(&topic, vec![line(n)]).await.unwrap();
    }
    assert_counted(&records(&bus, &topic, 300).await, 300);
}

#[tokio::test]
async fn a_topic_with_too_few_partitions_is_told_of_with_what_to_set() {
    let (store, cluster) = (tempfile::tempdir().unwrap(), rdkafka::mocking::MockCluster::new(1).unwrap());
    cluster.create_topic("p.build", 1, 1).unwrap();
    cluster.create_topic("p.runtime", 1, 1).unwrap();
    let machine = Machine::new(store.path());
    let bus = machine.writer(&brokers(&cluster)).await;
    let topic = Topic::build(DeploymentId::new());
    bus.append(&topic, vec![line(1)]).await.unwrap();
    let why = away(&bus, &topic).await;
    assert!(why.contains("logs.kafka.partitions") && why.contains("set that to 1"), "{why}");
}
