//! Where a Redis can be: behind a login, behind TLS, in a cluster, below sentinels.

use common::queue::{QueueError, conformance};
use redis_queue::Settings;
use testkit::certificates::Authority;
use testkit::redis::{Cluster, Redis, Watched};

use crate::{LONG, at, job};

#[tokio::test]
async fn a_user_who_may_touch_nothing_but_the_queues_keys_is_enough() {
    let [port] = testkit::ports::free();
    let port = port.to_string();
    let server = Redis::start_with(&["--port", &port]);
    let rules: Vec<&str> = ["acl", "setuser", "queue"].into_iter().chain(RULES.split(' ')).collect();
    for command in [rules.as_slice(), &["acl", "setuser", "default", "off"]] {
        assert_eq!(server.ask(command).trim(), "OK");
    }
    let queue = at(&format!("redis://queue:p%40ss@127.0.0.1:{port}"), Settings::default());
    conformance(&queue).await.unwrap();
    let other = at(&format!("redis://queue:wrong@127.0.0.1:{port}"), Settings::default());
    let refused = other.stats().await.unwrap_err().to_string();
    assert!(refused.contains("authentication failed"), "{refused}");
    let elsewhere = Settings { name: "elsewhere".to_owned(), ..Settings::default() };
    let forbidden = at(&format!("redis://queue:p%40ss@127.0.0.1:{port}"), elsewhere).stats().await.unwrap_err();
    assert!(forbidden.to_string().contains("permission"), "{forbidden}");
    drop(server);
}

/// What the operators' page says that the queue needs.
const RULES: &str = "on >p@ss ~{astrocloud}:queue* resetchannels -@all +@read +@write +@scripting +@connection +time";

#[tokio::test]
async fn over_tls_the_server_must_prove_itself_to_the_authority_of_the_settings() {
    let authority = Authority::new();
    let (_server, port) = Redis::start_with_tls(&authority, "127.0.0.1");
    let url = format!("rediss://127.0.0.1:{port}");
    let trusting = |pem: &str| Settings { ca: Some(pem.to_owned()), ..Settings::default() };
    conformance(&at(&url, trusting(authority.pem()))).await.unwrap();
    for settings in [Settings::default(), trusting(Authority::new().pem())] {
        let refused = at(&url, settings).stats().await.unwrap_err().to_string();
        assert!(refused.contains("certificate"), "{refused}");
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let (_server, port) = Redis::start_with_tls(&authority, "redis.example");
    let settings = Settings { ca: Some(authority.pem().to_owned()), ..Settings::default() };
    let refused = at(&format!("rediss://127.0.0.1:{port}"), settings).stats().await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
}

#[tokio::test]
async fn a_cluster_is_a_queue_like_any_other() {
    let cluster = Cluster::start();
    conformance(&at(&cluster.url(), Settings::default())).await.unwrap();
    // All of a queue's keys are on one node, and those of different queues may be on different ones.
    let named = |name: &str| Settings { name: name.to_owned(), ..Settings::default() };
    for name in ["a", "b", "c", "d"] {
        let queue = at(&cluster.url(), named(name));
        queue.enqueue(job("x", name)).await.unwrap();
        assert_eq!(queue.lease(LONG).await.unwrap().job.group, name);
    }
}

#[tokio::test]
async fn when_the_primary_dies_the_queue_goes_on_with_the_one_that_sentinels_name() {
    let watched = Watched::start("geheim");
    let queue = at(&watched.url("geheim"), Settings::default());
    let first = job("a", "shop");
    queue.enqueue(first.clone()).await.unwrap();
    let lease = queue.lease(LONG).await.unwrap();
    // What the replica has not got yet would be lost, which the sweep is for.
    watched.first.until(&["--no-auth-warning", "-a", "geheim", "wait", "1", "0"], "1");
    watched.first.kill();
    let next = job("a", "blog");
    while let Err(e) = queue.enqueue(next.clone()).await {
        assert!(matches!(e, QueueError::Away(_)), "{e}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(queue.lease(LONG).await.unwrap().job, next);
    queue.complete(&lease).await.unwrap();
}
