//! How long a thousand names take. Not part of the usual run: `cargo test -p acme --release -- --ignored thousand`.

use std::time::Instant;

use acme::challenge::Method;
use acme::entry::Track;

use crate::testkit::{Edges, Engine, Options, Pebble};

const NAMES: usize = 1000;

#[tokio::test]
#[ignore = "takes a minute or more; its result is a figure"]
async fn a_thousand_names_get_their_certificates_in_one_run() {
    let pebble = Pebble::start(Options::default()).await;
    let edges = Edges::of(&pebble).await;
    let engine = Engine::new(&edges.port(), vec![(pebble.authority("pebble"), None)]);
    let methods = [Method::Http01, Method::TlsAlpn01, Method::Dns01];
    for i in 0..NAMES {
        engine.want(&[&format!("n{i}.example{}.com", i % 100)], &[methods[i % 3]]).await;
    }
    let begin = Instant::now();
    engine.manager.work().await.unwrap();
    let mut active = 0;
    let mut others = Vec::new();
    for i in 0..NAMES {
        let entry = engine.entry(&format!("n{i}.example{}.com", i % 100)).await;
        match entry.track {
            Track::Active { .. } => active += 1,
            other => others.push(other),
        }
    }
    println!("{active} of {NAMES} names in {:.1} s; others: {others:?}", begin.elapsed().as_secs_f64());
    assert_eq!(active, NAMES);
    assert_eq!(edges.count(), 0);
}
