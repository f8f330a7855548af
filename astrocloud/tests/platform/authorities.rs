//! Certificates of an ACME authority, from the wish to the visitor: a real control plane, real edges, and Pebble.

use std::time::Instant;

use acme::challenge::Method;
use common::api::CertificateState;

use crate::node::pebble::{Options, Pebble};
use crate::node::{Installation, seen};
use crate::support::until;

#[tokio::test]
async fn a_wanted_host_is_served_with_a_trusted_certificate_which_is_replaced_without_a_gap() {
    let pebble = Pebble::start(Options::default()).await;
    let node = Installation::new().node(pebble.http, pebble.tls, &[&pebble]).await;
    let roots = [pebble.root(0).await];
    for (host, method) in [("http.example.com", Method::Http01), ("tls.example.com", Method::TlsAlpn01)] {
        node.want(host, &[method]).await;
        node.served(host, pebble.tls, &roots).await;
        let shown = node.certificate(host).await;
        assert_eq!((shown.state, shown.authority.as_deref()), (CertificateState::Active, Some("pebble-0")));
        assert!(shown.not_after > shown.next && shown.serial.is_some(), "{shown:?}");
    }
    // Nothing fails while it is replaced, and then the other one is shown.
    let host = "http.example.com";
    let first = seen(host, pebble.tls, &roots).await.unwrap();
    let serial = node.certificate(host).await.serial.unwrap();
    node.plane.issuing().replace(host).await.unwrap();
    until("another certificate is shown", || async {
        let now = seen(host, pebble.tls, &roots).await.expect("the host is served all the time");
        (now != first).then_some(())
    })
    .await;
    until("the first one is revoked", || async { (pebble.status_of(&serial).await == "Revoked").then_some(()) }).await;

    node.plane.issuing().forget(host).await.unwrap();
    until("it is served no longer", || async { seen(host, pebble.tls, &roots).await.is_none().then_some(()) }).await;
    node.end().await;
}

#[tokio::test]
async fn another_authority_issues_while_the_first_is_away() {
    let mut first = Pebble::start(Options::default()).await;
    let second = Pebble::beside(&first, Options::default()).await;
    let node = Installation::new().node(first.http, first.tls, &[&first, &second]).await;
    let roots = [first.root(0).await, second.root(0).await];
    node.want("a.example.com", &[Method::Http01]).await;
    node.served("a.example.com", first.tls, &roots).await;
    first.stop();
    node.want("b.example.com", &[Method::Http01]).await;
    node.served("b.example.com", first.tls, &roots).await;
    let shown = node.certificate("b.example.com").await;
    assert_eq!(shown.authority.as_deref(), Some("pebble-1"));
    let [passed] = &shown.passed_over[..] else { panic!("{shown:?}") };
    assert!(passed.authority == "pebble-0" && passed.cause.contains("does not answer"), "{passed:?}");
    node.end().await;
}

#[tokio::test]
async fn two_control_planes_place_one_order_a_host_and_all_edges_serve_it() {
    let pebble = Pebble::start(Options::default()).await;
    let installation = Installation::new();
    let first = installation.node(pebble.http, pebble.tls, &[&pebble]).await;
    let second = installation.node(0, 0, &[&pebble]).await;
    let other = second.https;
    let roots = [pebble.root(0).await];
    let hosts: Vec<_> = (0..6).map(|i| format!("n{i}.example.com")).collect();
    for (i, host) in hosts.iter().enumerate() {
        [&first, &second][i % 2].want(host, &[Method::Http01]).await;
    }
    for host in &hosts {
        let here = first.served(host, pebble.tls, &roots).await;
        assert_eq!(second.served(host, other, &roots).await, here);
    }
    assert_eq!(pebble.logged("Added order"), hosts.len());
    // One control plane ends; its edge is gone, and nobody waits for it.
    second.end().await;
    first.want("later.example.com", &[Method::TlsAlpn01]).await;
    first.served("later.example.com", pebble.tls, &roots).await;
    first.end().await;
}

/// Prints the times from the wish to the first trusted visit.
#[tokio::test]
async fn fifty_hosts_that_are_wanted_at_once_are_all_served() {
    let pebble = Pebble::start(Options::default()).await;
    let node = Installation::new().node(pebble.http, pebble.tls, &[&pebble]).await;
    let roots = [pebble.root(0).await];
    let begun = Instant::now();
    let served = (0..50).map(|i| {
        let (node, roots, tls) = (&node, &roots, pebble.tls);
        let method = if i % 2 == 0 { Method::Http01 } else { Method::TlsAlpn01 };
        async move {
            let host = format!("host{i}.example.com");
            let begun = Instant::now();
            node.want(&host, &[method]).await;
            node.served(&host, tls, roots).await;
            begun.elapsed()
        }
    });
    let mut times = futures::future::join_all(served).await;
    let all = begun.elapsed();
    times.sort();
    println!("from the wish to trusted HTTPS: p50 {:?}, p95 {:?}, all 50 {all:?}", times[24], times[47]);
    node.end().await;
}
