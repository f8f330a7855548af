#![allow(clippy::unwrap_used)]

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, date_time_ymd,
};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 1 June 2026.
fn now() -> Timestamp {
    Timestamp::from_millis(1_780_272_000_000)
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

struct Made {
    leaf: String,
    root: String,
    key: Secret,
}

fn made(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Made {
    let (issuer, root) = authority("Root");
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = date_time_ymd(2026, 5, 31);
    params.not_after = date_time_ymd(2026, 7, 15);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    change(&mut params);
    Made { leaf: params.signed_by(&key, &issuer).unwrap().pem(), root, key: Secret::new(key.serialize_pem()) }
}

fn judge(made: &Made, names: &[&str]) -> Result<Facts, String> {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    check(&format!("{}{}", made.leaf, made.root), &made.key, &names, &Trust::Chain, now())
}

#[test]
fn a_good_certificate_is_taken_with_its_times_and_its_name_for_renewal() {
    let good = made(&["a.example", "*.a.example"], |_| {});
    let facts = judge(&good, &["*.a.example", "a.example"]).unwrap();
    assert_eq!(facts.not_after.since(facts.not_before), DAY * 45);
    assert_eq!(facts.renewal_id.unwrap().matches('.').count(), 1);
    assert_eq!(facts.id.len(), ID_CHARS);
    assert_eq!(top_issuer(&format!("{}{}", good.leaf, good.root)).as_deref(), Some("Root"));
}

#[test]
fn a_certificate_for_other_names_or_too_many_is_not_taken() {
    let other = made(&["a.example"], |_| {});
    assert!(judge(&other, &["b.example"]).unwrap_err().contains("it is for"));
    assert!(judge(&other, &["a.example", "b.example"]).unwrap_err().contains("it is for"));
    let more = made(&["a.example", "evil.example"], |_| {});
    assert!(judge(&more, &["a.example"]).unwrap_err().contains("it is for"));
}

#[test]
fn a_certificate_for_another_key_is_not_taken() {
    let mut wrong = made(&["a.example"], |_| {});
    wrong.key = Secret::new(KeyPair::generate().unwrap().serialize_pem());
    assert!(judge(&wrong, &["a.example"]).unwrap_err().contains("another key"));
}

#[test]
fn a_certificate_that_ended_or_has_not_begun_is_not_taken() {
    let ended = made(&["a.example"], |p| p.not_after = date_time_ymd(2026, 5, 31));
    assert!(judge(&ended, &["a.example"]).unwrap_err().contains("good from"));
    let early = made(&["a.example"], |p| p.not_before = date_time_ymd(2026, 6, 2));
    assert!(judge(&early, &["a.example"]).unwrap_err().contains("good from"));
}

#[test]
fn a_certificate_with_a_broken_chain_or_another_purpose_is_not_taken() {
    let good = made(&["a.example"], |_| {});
    let (_, stranger) = authority("Root");
    let names = ["a.example".to_owned()];
    let judged = |chain: &str, trust: &Trust| check(chain, &good.key, &names, trust, now());
    assert!(judged(&format!("{}{stranger}", good.leaf), &Trust::Chain).unwrap_err().contains("does not hold"));
    assert!(judged(&good.leaf, &Trust::Chain).unwrap_err().contains("not whole"));
    assert!(judged(&good.leaf, &Trust::Roots(stranger)).unwrap_err().contains("does not hold"));
    assert!(judged(&good.leaf, &Trust::Roots(good.root.clone())).is_ok());
    assert!(judged("", &Trust::Chain).is_err());
    let client = made(&["a.example"], |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    assert!(judge(&client, &["a.example"]).unwrap_err().contains("does not hold"));
}
