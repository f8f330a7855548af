//! Signatures, judged by delv with a trust anchor of ours.

use std::sync::Arc;

use dns::key::ZoneKey;

use crate::testkit::{ZONE, delv, run, serve, zone};

#[tokio::test]
async fn a_validator_trusts_answers_denials_wildcards_and_chains() {
    let key = Arc::new(ZoneKey::open(&ZoneKey::generate().unwrap()).unwrap());
    let running = serve(zone(ZONE, Some(Arc::clone(&key)))).await;
    let folder = tempfile::tempdir().unwrap();
    for words in [
        "example.com A",
        "example.com SOA",
        "example.com MX",
        "example.com HTTPS",
        "example.com DNSKEY",
        "example.com CDS",
        "example.com CDNSKEY",
        "a.wild.example.com A",
        "chain.example.com A",
        "_sip._tcp.example.com SRV",
    ] {
        let answer = delv(running.address(), folder.path(), &key, words).await;
        assert!(answer.contains("; fully validated"), "{words}: {answer}");
    }
    for words in ["nothing.example.com A", "mail.example.com CAA", "in.empty.example.com A", "a.wild.example.com TXT"] {
        let answer = delv(running.address(), folder.path(), &key, words).await;
        assert!(answer.contains("negative response, fully validated"), "{words}: {answer}");
    }
    let stranger = ZoneKey::open(&ZoneKey::generate().unwrap()).unwrap();
    let answer = delv(running.address(), folder.path(), &stranger, "example.com A").await;
    assert!(!answer.contains("fully validated"), "{answer}");
}

#[tokio::test]
async fn denials_name_one_name_and_are_nxdomain_for_those_who_understand() {
    let key = Arc::new(ZoneKey::open(&ZoneKey::generate().unwrap()).unwrap());
    let running = serve(zone(ZONE, Some(key))).await;
    let answer = running.dig("+dnssec nothing.example.com A").await;
    assert!(answer.contains("status: NOERROR"), "{answer}");
    assert!(answer.contains("\\000.nothing.example.com. RRSIG NSEC TYPE128"), "{answer}");
    let plain = running.dig("nothing.example.com A").await;
    assert!(plain.contains("status: NXDOMAIN") && !plain.contains("NSEC"), "{plain}");
    // The flag "compact answers" is younger than the dig that is at hand: DO and CO in a query by hand.
    let query = b"\x12\x34\0\0\0\x01\0\0\0\0\0\x01\x02no\x07example\x03com\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\xc0\0\0\0";
    let mut out = Vec::new();
    running.answers.answer(query, true, 1_700_000_000, &mut out);
    assert_eq!(out[3] & 15, 3);
    let referral = running.dig("+dnssec x.sub.example.com A").await;
    assert!(referral.contains("NS RRSIG NSEC") && !referral.contains("TYPE128"), "{referral}");
}

#[tokio::test]
async fn a_zone_on_its_way_out_of_dnssec_asks_its_parent_to_forget_the_key() {
    let key = ZoneKey::open(&ZoneKey::generate().unwrap()).unwrap().leaving();
    let running = serve(zone(ZONE, Some(Arc::new(key)))).await;
    assert!(running.dig("+short example.com CDS").await.contains("0 0 0 00"));
    assert!(running.dig("+short example.com CDNSKEY").await.contains("0 3 0 AA=="));
    assert!(running.dig("+short example.com DNSKEY").await.contains("257 3 13"));
}

#[tokio::test]
async fn the_ds_record_shown_is_the_one_that_others_compute() {
    let key = ZoneKey::open(&ZoneKey::generate().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, format!("example.com. 3600 IN DNSKEY {}\n", key.dnskey())).unwrap();
    let theirs = run("dnssec-dsfromkey", &format!("-2 -f {} example.com", file.display())).await;
    let apex = b"\x07example\x03com\0";
    assert!(theirs.contains(&key.ds(apex)), "{theirs} {}", key.ds(apex));
}
