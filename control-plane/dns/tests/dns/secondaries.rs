//! Zones handed to real secondaries, signed ones too.

use std::{net::SocketAddr, path::Path, process::Command, sync::Arc, time::Duration};

use ::testkit::{
    keeper::{Keeper, Stop},
    nsd,
    ports::free,
};
use dns::{
    key::ZoneKey,
    secondary::{notify, serial},
    tsig::Key,
};

use crate::testkit::{ZONE, delv, run, serve, serve_with, settings, zone};

const KEY: &str =
    "key \"shared\" {\n algorithm hmac-sha256;\n secret \"c2hhcmVkIHNlY3JldCBvZiB0d28gc2VydmVycw==\";\n};\n";

/// A free address.
fn address() -> SocketAddr {
    let [port] = free();
    ([127, 0, 0, 1], port).into()
}

/// NSD as a secondary, which proves itself by a key, or not.
fn start_nsd(primary: SocketAddr, keyed: bool) -> (Keeper, SocketAddr) {
    let address = address();
    let key = if keyed { "shared" } else { "NOKEY" };
    let zones = |folder: &Path| {
        format!(
            "key:\n name: shared\n algorithm: hmac-sha256\n secret: \"c2hhcmVkIHNlY3JldCBvZiB0d28gc2VydmVycw==\"\n\
             zone:\n name: example.com\n zonefile: \"{}\"\n allow-notify: 127.0.0.1 {key}\n \
             request-xfr: AXFR 127.0.0.1@{} {key}\n",
            folder.join("zone").display(),
            primary.port()
        )
    };
    (nsd::start(address, zones), address)
}

/// BIND as a secondary with a key.
fn start_bind(primary: SocketAddr) -> (Keeper, SocketAddr) {
    let address = address();
    let folder = tempfile::tempdir().unwrap().keep();
    let path = folder.display();
    let text = format!(
        "{KEY}options {{ directory \"{path}\"; listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; \
         pid-file \"{path}/pid\"; session-keyfile \"{path}/session\"; recursion no; dnssec-validation no; \
         allow-notify {{ 127.0.0.1; }}; }};\ncontrols {{ }};\n\
         zone \"example.com\" {{ type secondary; file \"zone\"; masterfile-format text; \
         primaries {{ 127.0.0.1 port {} key \"shared\"; }}; }};\n",
        address.port(),
        primary.port()
    );
    let file = folder.join("named.conf");
    std::fs::write(&file, text).unwrap();
    let mut named = Command::new("named");
    named.arg("-f").arg("-c").arg(&file);
    (Keeper::start(folder, &named, Stop::Term), address)
}

fn key() -> Arc<ZoneKey> {
    Arc::new(ZoneKey::open(&ZoneKey::generate().unwrap()).unwrap())
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
    let (_nsd, address) = start_nsd(running.address(), false);
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
    notify(&edited, address, None).await.unwrap();
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
async fn secondaries_with_the_key_take_a_signed_zone_and_serve_what_validators_trust() {
    let zone_key = key();
    let shared = Key::read(KEY).unwrap();
    let running = serve_with(zone(ZONE, Some(Arc::clone(&zone_key))), settings(), shared.clone()).await;
    let anchors = tempfile::tempdir().unwrap();
    let (_nsd, nsd) = start_nsd(running.address(), true);
    let (_bind, bind) = start_bind(running.address());
    for address in [nsd, bind] {
        until(address, "example.com SOA", " 7 3600").await;
        assert_eq!(serial(b"\x07example\x03com\0", address).await.unwrap(), Some(7));
        for words in ["example.com MX", "a.wild.example.com A", "chain.example.com A"] {
            let answer = delv(address, anchors.path(), &zone_key, words).await;
            assert!(answer.contains("; fully validated"), "{words}: {answer}");
        }
        for words in ["no.example.com A", "mail.example.com CAA", "in.empty.example.com A"] {
            let answer = delv(address, anchors.path(), &zone_key, words).await;
            assert!(answer.contains("negative response, fully validated"), "{words}: {answer}");
        }
    }
    let edited = Arc::new(zone(&ZONE.replace("hostmaster 7", "hostmaster 8"), Some(zone_key)));
    running.answers.publish(Arc::clone(&edited));
    for address in [nsd, bind] {
        notify(&edited, address, Some(&shared[0])).await.unwrap();
        until(address, "example.com SOA", " 8 3600").await;
    }
}

#[tokio::test]
async fn a_signed_zone_is_whole_when_it_is_transferred() {
    let running = serve(zone(ZONE, Some(key()))).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zone");
    std::fs::write(&file, running.dig("+nocomments +nocmd +nostats +onesoa example.com AXFR").await).unwrap();
    let verdict = run("dnssec-verify", &format!("-z -o example.com {}", file.display())).await;
    assert!(verdict.contains("Zone fully signed"), "{verdict}");
}

#[tokio::test]
async fn transfers_are_for_listed_addresses_and_for_those_with_a_key() {
    let running = serve(zone(ZONE, None)).await;
    let whole = running.dig("example.com AXFR").await;
    assert!(whole.contains("XFR size: 23 records"), "{whole}");
    let current = running.dig("+tcp example.com IXFR=7").await;
    assert!(current.contains("XFR size: 1 records"), "{current}");

    let closed = serve_with(zone(ZONE, None), settings(), Key::read(KEY).unwrap()).await;
    assert!(closed.dig("example.com AXFR").await.contains("Transfer failed"));
    let right = "-y hmac-sha256:shared:c2hhcmVkIHNlY3JldCBvZiB0d28gc2VydmVycw==";
    let signed = closed.dig(&format!("{right} example.com AXFR")).await;
    assert!(signed.contains("XFR size: 23 records") && signed.contains("hmac-sha256."), "{signed}");
    for (wrong, said) in [
        ("-y hmac-sha256:shared:YW5vdGhlciBzZWNyZXQgb2YgdHdvIHNlcnZlcnM=", "BADSIG"),
        ("-y hmac-sha256:unknown:c2hhcmVkIHNlY3JldCBvZiB0d28gc2VydmVycw==", "BADKEY"),
        ("-y hmac-sha512:shared:c2hhcmVkIHNlY3JldCBvZiB0d28gc2VydmVycw==", "BADKEY"),
    ] {
        let refused = closed.dig(&format!("{wrong} example.com AXFR")).await;
        assert!(!refused.contains("XFR size"), "{refused}");
        let answer = closed.dig(&format!("{wrong} example.com SOA")).await;
        assert!(answer.contains("status: NOTAUTH") && answer.contains(said), "{answer}");
    }
    // Over a datagram the signature fits and is good: dig says so when it is not.
    let answer = closed.dig(&format!("{right} +notcp example.com TXT")).await;
    assert!(answer.contains("NOERROR") && !answer.contains("verify failure"), "{answer}");
}

#[tokio::test]
async fn an_alias_is_transferred_as_the_addresses_that_are_known() {
    let text = ZONE.replace("        IN A   192.0.2.80\n", "        IN ALIAS www.example.net.\n");
    let running = serve(zone(&text, None)).await;
    assert!(!running.dig("example.com AXFR").await.contains("192.0.2.7"));
    let found = dns::alias::Found { addresses: vec!["192.0.2.7".parse().unwrap()], ttl: 60 };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    running.answers.aliases.learned(b"\x03www\x07example\x03net\0", Some(found), now);
    let whole = running.dig("example.com AXFR").await;
    assert!(whole.contains("192.0.2.7") && !whole.contains("TYPE65305"), "{whole}");
}

#[tokio::test]
async fn a_server_that_is_stopped_frees_its_address() {
    let running = serve(zone(ZONE, None)).await;
    let address = running.address();
    let again = dns::server::Settings { listen: vec![address], ..settings() };
    let refusal = dns::server::Server::start(&again, Arc::clone(&running.answers)).await.unwrap_err();
    assert!(refusal.to_string().contains(&address.to_string()), "{refusal}");
    let idle = tokio::net::TcpStream::connect(address).await.unwrap();
    running.server.stop().await;
    drop(idle);
    dns::server::Server::start(&again, running.answers).await.unwrap();
}
