//! kdig beside dig.

use crate::testkit::{ZONE, origin, run, serve, zone};

#[tokio::test]
async fn kdig_reads_the_same() {
    let running = serve(zone(ZONE, None)).await;
    let port = running.address().port();
    let answer = run("kdig", &format!("@127.0.0.1 -p {port} +norec {} HTTPS", origin())).await;
    assert!(answer.contains("alpn=h2,h3") && answer.contains("NOERROR"), "{answer}");
}
