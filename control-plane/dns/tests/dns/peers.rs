//! Zones handed to a real secondary, and kdig beside dig.

use std::{
    net::{SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use dns::transfer::notify;

use crate::testkit::{ZONE, origin, run, serve, zone};

struct Nsd(Child);

impl Drop for Nsd {
    fn drop(&mut self) {
        // NSD's children end with it only when it is asked to end.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn secondary(folder: &std::path::Path, primary: SocketAddr) -> (Nsd, SocketAddr) {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let path = folder.display();
    let text = format!(
        "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{path}\"\n \
         xfrdfile: \"{path}/xfrd\"\n zonelistfile: \"{path}/list\"\n pidfile: \"{path}/pid\"\n database: \"\"\n \
         xfrdir: \"{path}\"\n cookie-secret-file: \"{path}/cookie\"\n server-count: 1\n\
         remote-control:\n control-enable: no\n\
         zone:\n name: example.com\n zonefile: \"{path}/zone\"\n allow-notify: 127.0.0.1 NOKEY\n \
         request-xfr: AXFR 127.0.0.1@{} NOKEY\n",
        primary.port()
    );
    let file = folder.join("nsd.conf");
    std::fs::write(&file, text).unwrap();
    let child = Command::new("nsd").arg("-d").arg("-c").arg(&file).stderr(Stdio::null()).spawn().unwrap();
    (Nsd(child), SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Asks until the answer has the part; each question itself is what is waited for.
async fn until(address: SocketAddr, words: &str, part: &str) {
    let mut answer = String::new();
    for _ in 0..100 {
        answer = run("dig", &format!("@127.0.0.1 -p {} +tries=1 +time=1 +norecurse {words}", address.port())).await;
        if answer.contains(part) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never \"{part}\" in\n{answer}");
}

#[tokio::test]
async fn a_secondary_takes_the_zone_and_its_changes_and_answers_the_same() {
    let running = serve(zone(ZONE, None)).await;
    let folder = tempfile::tempdir().unwrap();
    let (_nsd, address) = secondary(folder.path(), running.address());
    until(address, "example.com SOA", " 7 3600").await;
    for words in [
        "example.com MX",
        "a.wild.example.com A",
        "chain.example.com A",
        "x.sub.example.com A",
        "no.example.com A",
        "in.empty.example.com A",
        "example.com TXT",
        "example.com HTTPS",
        "_sip._tcp.example.com SRV",
    ] {
        let ours = records(&running.dig(words).await);
        let theirs = run("dig", &format!("@127.0.0.1 -p {} +norecurse {words}", address.port())).await;
        assert_eq!(ours, records(&theirs), "{words}");
    }
    let edited = Arc::new(zone(&ZONE.replace("hostmaster 7", "hostmaster 8"), None));
    running.answers.publish(Arc::clone(&edited));
    notify(&edited, address).await.unwrap();
    until(address, "example.com SOA", " 8 3600").await;
}

/// The status, and the records of the answer and authority sections, sorted. NSD adds its NS records to answers and
/// we do not, which is allowed either way; so authority counts only without an answer.
fn records(answer: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut section = "";
    let empty = !answer.contains(";; ANSWER SECTION:");
    for line in answer.lines() {
        if let Some(status) = line.split("status: ").nth(1) {
            lines.push(status.split(',').next().unwrap().to_owned());
        }
        if line.starts_with(";;") {
            section = line;
        } else if !line.is_empty()
            && !line.starts_with(';')
            && (section.contains("ANSWER SECTION") || empty && section.contains("AUTHORITY SECTION"))
        {
            lines.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    lines.sort();
    lines
}

#[tokio::test]
async fn transfers_are_refused_to_those_who_are_not_allowed_and_for_signed_zones() {
    let running = serve(zone(ZONE, None)).await;
    let whole = running.dig("example.com AXFR").await;
    assert!(whole.contains("XFR size: 23 records"), "{whole}");
    let current = running.dig("+tcp example.com IXFR=7").await;
    assert!(current.contains("XFR size: 1 records"), "{current}");
    let answers = Arc::new(dns::answer::Answers::default());
    answers.publish(Arc::new(zone(ZONE, None)));
    let settings =
        dns::server::Settings { listen: vec!["127.0.0.1:0".parse().unwrap()], rate: 0, burst: 0, transfer: Vec::new() };
    let server = dns::server::Server::start(&settings, answers).await.unwrap();
    let port = server.addresses()[0].port();
    let refused = run("dig", &format!("@127.0.0.1 -p {port} example.com AXFR")).await;
    assert!(refused.contains("Transfer failed"), "{refused}");
    let key = dns::key::ZoneKey::open(&dns::key::ZoneKey::generate().unwrap()).unwrap();
    running.answers.publish(Arc::new(zone(ZONE, Some(Arc::new(key)))));
    assert!(running.dig("example.com AXFR").await.contains("Transfer failed"));
}

#[tokio::test]
async fn kdig_reads_the_same() {
    let running = serve(zone(ZONE, None)).await;
    let port = running.address().port();
    let answer = run("kdig", &format!("@127.0.0.1 -p {port} +norec {} HTTPS", origin())).await;
    assert!(answer.contains("alpn=h2,h3") && answer.contains("NOERROR"), "{answer}");
}
