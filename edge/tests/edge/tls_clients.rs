//! TLS as `openssl` and `curl` see it, which know nothing of this project.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use base64::Engine as _;
use common::certificate::TicketKey;
use common::route::Change;
use common::secret::Secret;
use common::time::Timestamp;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::testkit::{World, file, soon, start_edge};
use crate::tls::{Authority, certify};

/// Alerts as `openssl` tells them (RFC 8446 section 6.2).
const UNRECOGNIZED_NAME: &str = "SSL alert number 112\n";
const NO_APPLICATION_PROTOCOL: &str = "SSL alert number 120\n";
/// `handshake_failure` and `protocol_version`: which one depends on what else an old hello lacks.
const ALERTS_TO_OLD: [&str; 2] = ["SSL alert number 40\n", "SSL alert number 70\n"];

/// An edge with two sites, and the file of the authority that vouches for them.
async fn world() -> (World, PathBuf) {
    let world = World::start().await;
    let authority = Authority::new();
    for host in ["blog", "shop"] {
        let name = format!("{host}.localhost");
        certify(&world.control_plane, authority.issue(host, &[&name]), &[&name]).await;
        world.site(host, vec![file("/index.html", format!("page of {host}"))], false).await;
    }
    let ca = world.folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    (world, ca)
}

/// What a program prints that is told this on its standard input, both its outputs in one.
async fn run(program: &str, args: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{program} is needed: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    // A program that was refused reads nothing.
    let _ = stdin.write_all(input.as_bytes()).await;
    let _ = stdin.shutdown().await;
    let Output { stdout, stderr, .. } = soon(child.wait_with_output()).await.unwrap();
    String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()
}

/// One request over a connection of `openssl s_client`.
async fn openssl(edge: SocketAddr, ca: &Path, more: &[&str]) -> String {
    let (edge, ca) = (edge.to_string(), ca.to_str().unwrap());
    // What is so old is off in the program, too, unless it is told otherwise.
    let mut args = vec!["s_client", "-connect", &edge, "-CAfile", ca, "-ign_eof", "-cipher", "DEFAULT@SECLEVEL=0"];
    args.extend(more);
    run("openssl", &args, "GET / HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n").await
}

async fn curl(edge: SocketAddr, ca: &Path, more: &[&str], urls: &[&str]) -> String {
    let port = edge.port();
    let ca = ca.to_str().unwrap();
    let mut args =
        vec!["--silent", "--show-error", "--cacert", ca, "--write-out", "%{http_code} over %{http_version};"];
    let found: Vec<String> = ["blog", "shop", "none"].map(|host| format!("{host}.localhost:{port}:127.0.0.1")).into();
    found.iter().for_each(|found| args.extend(["--resolve", found.as_str()]));
    args.extend(more);
    let urls: Vec<String> = urls.iter().map(|host| format!("https://{host}.localhost:{port}/")).collect();
    args.extend(urls.iter().map(String::as_str));
    run("curl", &args, "").await
}

#[tokio::test]
async fn only_the_two_versions_that_are_safe_are_spoken() {
    let (world, ca) = world().await;
    let edge = world.edge.https_addr().unwrap();
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = openssl(edge, &ca, &["-servername", "blog.localhost", flag]).await;
        assert!(said.contains(&format!("New, {version}, Cipher is")), "{said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        assert!(said.contains("page of blog"), "{said}");
        assert!(said.contains("Secure Renegotiation IS") && said.contains("Compression: NONE"), "{said}");
    }
    for flag in ["-tls1", "-tls1_1"] {
        let said = openssl(edge, &ca, &["-servername", "blog.localhost", flag]).await;
        assert!(ALERTS_TO_OLD.iter().any(|alert| said.contains(alert)), "{said}");
        assert!(!said.contains("BEGIN CERTIFICATE"), "{said}");
    }
}

#[tokio::test]
async fn the_protocol_above_is_agreed_on_within_the_handshake() {
    let (world, ca) = world().await;
    let edge = world.edge.https_addr().unwrap();
    for (offered, agreed) in [
        ("h2,http/1.1", "ALPN protocol: h2"),
        ("http/1.1,h2", "ALPN protocol: h2"),
        ("http/1.1", "ALPN protocol: http/1.1"),
        ("spdy/3", NO_APPLICATION_PROTOCOL),
    ] {
        // HTTP/1.1 over a connection of HTTP/2 ends it, which is as good here.
        let said = openssl(edge, &ca, &["-servername", "blog.localhost", "-alpn", offered]).await;
        assert!(said.contains(agreed), "{offered}: {said}");
    }
    let said = openssl(edge, &ca, &["-servername", "blog.localhost"]).await;
    assert!(said.contains("No ALPN negotiated") && said.contains("page of blog"), "{said}");
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1"), ("--no-alpn", "1.1")] {
        let said = curl(edge, &ca, &[flag], &["blog"]).await;
        assert_eq!(said, format!("page of blog200 over {version};"), "{flag}");
    }
}

#[tokio::test]
async fn who_names_no_host_or_an_unknown_one_gets_an_alert() {
    let (world, ca) = world().await;
    let edge = world.edge.https_addr().unwrap();
    for name in [&["-noservername"][..], &["-servername", "none.localhost"]] {
        for version in ["-tls1_2", "-tls1_3"] {
            let said = openssl(edge, &ca, &[name, &[version]].concat()).await;
            assert!(said.contains(UNRECOGNIZED_NAME), "{name:?}: {said}");
            assert!(!said.contains("BEGIN CERTIFICATE"), "{name:?}: {said}");
        }
    }
    let said = curl(edge, &ca, &[], &["none"]).await;
    assert!(said.contains("unrecognized name") && said.contains("000 over 0"), "{said}");
}

#[tokio::test]
async fn another_host_on_the_connection_is_sent_to_one_of_its_own() {
    let (world, ca) = world().await;
    let edge = world.edge.https_addr().unwrap();
    for flag in ["--http2", "--http1.1"] {
        let said = curl(edge, &ca, &[flag, "--header", "Host: shop.localhost"], &["blog"]).await;
        assert!(said.contains("421 over "), "{said}");
        // Which a client then opens by itself when it is asked for that host.
        let said = curl(edge, &ca, &[flag], &["blog", "shop"]).await;
        let version = flag.trim_start_matches("--http");
        assert_eq!(said, format!("page of blog200 over {version};page of shop200 over {version};"));
    }
}

#[tokio::test]
async fn a_session_is_resumed_at_another_edge() {
    let (world, ca) = world().await;
    let mut config = world.config();
    config.folder = world.folder.path().join("other");
    config.key_file = config.folder.join("edge.key");
    let other = start_edge(config, &world.store);
    other.connected().await;
    let key = TicketKey {
        name: format!("{:032x}", 7),
        key: Secret::new(base64::engine::general_purpose::STANDARD.encode([7; 64])),
        since: Timestamp::now().before(std::time::Duration::from_secs(60)),
    };
    let change = Change { ticket_keys: Some(vec![key]), ..Change::default() };
    let version = world.control_plane.change_all(change);
    soon(world.control_plane.applied(version)).await;
    let session = world.folder.path().join("session.pem");
    let session = session.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        // Keys come into use a moment after they are applied.
        let resumed = async {
            loop {
                let out = ["-servername", "blog.localhost", version, "-sess_out", session];
                let first = openssl(world.edge.https_addr().unwrap(), &ca, &out).await;
                assert!(first.contains("New, TLSv1."), "{first}");
                let again = ["-servername", "blog.localhost", version, "-sess_in", session];
                let second = openssl(other.https_addr().unwrap(), &ca, &again).await;
                if second.contains("Reused, TLSv1.") && second.contains("page of blog") {
                    return;
                }
            }
        };
        soon(resumed).await;
    }
}
