//! Proofs for certificate authorities in zones held here.

use std::net::SocketAddr;
use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::Platform;
use crate::zones::{add, create, dig, edited, short};

#[tokio::test]
async fn a_proof_is_served_by_all_until_it_is_taken_away_and_is_no_part_of_the_zone() {
    let platform = Platform::start().await;
    create(&platform, json!({ "name": "example.com" })).await;
    edited(&platform, json!([add("www", "CNAME", "@"), add("sub", "NS", "ns.example.net")])).await;
    let record = "_acme-challenge.shop.example.com";
    let zones = platform.plane.zones();
    assert!(zones.serves_proof(record).await && zones.serves_proof("_acme-challenge.example.com").await);
    for elsewhere in ["_acme-challenge.example.net", "www.example.com", "_acme-challenge.x.sub.example.com"] {
        assert!(!zones.serves_proof(elsewhere).await, "{elsewhere}");
        assert!(zones.set_proof(elsewhere, "x").await.unwrap_err().contains(elsewhere));
    }
    let other = platform.second().await;
    zones.set_proof(record, "one").await.unwrap();
    zones.set_proof(record, "two").await.unwrap();
    zones.set_proof(record, "two").await.unwrap();
    for answering in [&platform, &other] {
        assert_eq!(short(answering, &format!("{record} TXT")).await.lines().count(), 2);
    }
    other.end().await;
    let records = platform.get("/zones/example.com/records?type=TXT").await.body;
    assert_eq!(records["items"], json!([]));
    let platform = platform.restart().await;
    let zones = platform.plane.zones();
    assert_eq!(short(&platform, &format!("{record} TXT")).await.lines().count(), 2);
    // What people set comes first.
    edited(&platform, json!([add("_acme-challenge.shop", "CNAME", "elsewhere.example.net")])).await;
    assert_eq!(short(&platform, &format!("{record} CNAME")).await, "elsewhere.example.net.");
    edited(&platform, json!([{ "remove": { "name": "_acme-challenge.shop", "type": "CNAME" } }])).await;
    zones.remove_proof(record, "one").await.unwrap();
    assert_eq!(short(&platform, &format!("{record} TXT")).await, "\"two\"");
    zones.remove_proof(record, "two").await.unwrap();
    zones.remove_proof(record, "two").await.unwrap();
    assert_eq!(short(&platform, &format!("{record} TXT")).await, "");
    assert_eq!(platform.get("/zones/example.com/edits").await.body["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn proofs_of_names_elsewhere_stand_here_once_a_cname_leads_to_them() {
    let world = Platform::start().await;
    create(&world, json!({ "name": "example.net" })).await;
    let root = world.plane.dns()[0];
    let platform = Platform::try_start(|config| {
        config.lookup.roots = vec![lookup::settings::ServerAddress(root)];
        config.dns.challenges = Some("proofs.example.com".parse().unwrap());
    });
    let platform = platform.await.unwrap();
    create(&platform, json!({ "name": "example.com" })).await;
    let proofs = platform.plane.issuing().proofs();
    let proof =
        |record: &str| [acme::challenge::Answer::Dns01 { record: record.to_owned(), value: "proof".to_owned() }];
    let elsewhere = proof("_acme-challenge.shop.example.net");
    let refusal = proofs.publish(&elsewhere).await.unwrap_err().to_string();
    let told = refusal.split("CNAME record _acme-challenge.shop.example.net to ").nth(1).unwrap();
    let target = told.split_whitespace().next().unwrap().to_owned();
    assert!(target.ends_with(".proofs.example.com"), "{refusal}");
    let cname = json!([add("_acme-challenge.shop", "CNAME", &target)]);
    let set = world.call(Method::PATCH, "/zones/example.net/records", Some(json!({ "changes": cname }))).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    proofs.publish(&elsewhere).await.unwrap();
    assert_eq!(short(&platform, &format!("{target} TXT")).await, "\"proof\"");
    proofs.withdraw(&elsewhere).await.unwrap();
    assert_eq!(short(&platform, &format!("{target} TXT")).await, "");
    // A zone held here needs no such step, for a wildcard either.
    let here = proof("_acme-challenge.example.com");
    proofs.publish(&here).await.unwrap();
    assert_eq!(short(&platform, "_acme-challenge.example.com TXT").await, "\"proof\"");
    proofs.withdraw(&here).await.unwrap();
}

/// NSD as a secondary of example.com with a key, on a free port; ended when it is dropped.
struct Nsd {
    process: std::process::Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

const SHARED: &str = "c2hhcmVkIHNlY3JldCBvZiB0d28gc2VydmVycw==";

impl Nsd {
    fn start(primary: SocketAddr, own: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let text = format!(
            "server:\n ip-address: {}@{}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{path}\"\n \
             xfrdfile: \"{path}/xfrd\"\n zonelistfile: \"{path}/list\"\n pidfile: \"{path}/pid\"\n database: \"\"\n \
             xfrdir: \"{path}\"\n cookie-secret-file: \"{path}/cookie\"\n server-count: 1\n\
             remote-control:\n control-enable: no\n\
             key:\n name: shared\n algorithm: hmac-sha256\n secret: \"{SHARED}\"\n\
             zone:\n name: example.com\n zonefile: \"{path}/zone\"\n allow-notify: 127.0.0.1 shared\n \
             request-xfr: AXFR {}@{} shared\n",
            own.ip(),
            own.port(),
            primary.ip(),
            primary.port()
        );
        let file = folder.path().join("nsd.conf");
        std::fs::write(&file, text).unwrap();
        let process =
            Command::new("nsd").arg("-d").arg("-c").arg(&file).stderr(std::process::Stdio::null()).spawn().unwrap();
        Self { process, address: own, _folder: folder }
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        // Its children end with it only when it is asked to end.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_proof_is_told_to_an_authority_only_once_secondaries_answer_with_it() {
    let own = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let platform = Platform::try_start(|config| {
        let file = format!("key \"shared\" {{ algorithm hmac-sha256; secret \"{SHARED}\"; }};");
        config.dns.keys = dns::tsig::Key::read(&file).unwrap();
        config.dns.secondaries = vec![format!("{own} shared").parse().unwrap()];
    });
    let platform = platform.await.unwrap();
    create(&platform, json!({ "name": "example.com", "dnssec": true })).await;
    let nsd = Nsd::start(platform.plane.dns()[0], own);
    let record = "_acme-challenge.example.com";
    platform.plane.zones().set_proof(record, "proof").await.unwrap();
    assert_eq!(dig(nsd.address, &format!("+short {record} TXT")).await.trim(), "\"proof\"");
    assert!(dig(nsd.address, "+dnssec example.com SOA").await.contains("RRSIG"));
}
