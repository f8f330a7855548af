//! Master files in and out, and zones that are refused.

use dns::{
    Name, master,
    validate::{Problem, Warning},
    zone::Zone,
};

use crate::testkit::{ZONE, origin, run, zone};

fn problems(lines: &str) -> Vec<Problem> {
    Zone::new(origin(), master::read(&(ZONE.to_owned() + lines), &origin()).unwrap(), None).unwrap_err()
}

#[test]
fn what_is_written_is_read_back_as_the_same_zone() {
    let first = zone(ZONE, None);
    let text = master::write(&first, true);
    let second = Zone::new(origin(), master::read(&text, &origin()).unwrap(), None).unwrap();
    assert_eq!(first.records(), second.records());
}

#[tokio::test]
async fn what_is_written_passes_named_checkzone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zone");
    std::fs::write(&file, master::write(&zone(ZONE, None), false)).unwrap();
    let verdict = run("named-checkzone", &format!("-i local example.com {}", file.display())).await;
    assert!(verdict.contains("loaded serial 7") && verdict.contains("OK"), "{verdict}");
}

#[test]
fn broken_zones_are_refused_with_what_to_do() {
    assert!(matches!(problems("www IN A 192.0.2.1\n")[..], [Problem::CnameBesideOthers { apex: false, .. }]));
    assert!(matches!(
        problems("@ IN CNAME www.example.net.\n")[..],
        [Problem::CnameBesideOthers { apex: true, .. }, ..]
    ));
    assert!(problems("@ IN CNAME www.example.net.\n")[0].to_string().contains("use ALIAS"));
    assert!(matches!(problems("@ IN ALIAS www.example.net.\n")[..], [Problem::AliasBesideAddresses { .. }]));
    assert!(matches!(problems("www IN CNAME other\n")[..], [Problem::MixedTtl { .. }, Problem::Several { .. }]));
    assert!(matches!(problems("ns1 IN A 192.0.2.1\n")[..], [Problem::Duplicate { .. }]));
    assert!(matches!(problems("ns1 60 IN A 192.0.2.2\n")[..], [Problem::MixedTtl { .. }]));
    assert!(matches!(problems("long 700000 IN A 192.0.2.2\n")[..], [Problem::Ttl { .. }]));
    assert!(matches!(problems("a.sub IN TXT \"hidden\"\n")[..], [Problem::Hidden { .. }]));
    assert!(matches!(problems("other IN NS ns.other\n")[..], [Problem::NoGlue { .. }]));
    assert!(matches!(problems("other IN NS www\n")[..], [Problem::NsIsCname { .. }]));
    assert!(matches!(problems("other IN DS 1 13 2 00\n")[..], [Problem::DsWithoutNs { .. }]));
    assert!(matches!(problems("example.org. IN A 192.0.2.2\n")[..], [Problem::Outside { .. }]));
    assert!(matches!(problems("*.w IN NS ns1\n")[..], [Problem::WildcardNs { .. }]));
    let none = Zone::new(origin(), Vec::new(), None).unwrap_err();
    assert!(matches!(none[..], [Problem::NoSoa { .. }, Problem::NoNs { .. }]));
}

#[test]
fn doubtful_zones_are_warned_of() {
    let doubtful = ZONE.to_owned() + "shop IN MX 10 www\nblog IN CNAME nowhere\n";
    let zone = zone(&doubtful, None);
    assert!(
        matches!(zone.warnings()[..], [Warning::Dangling { .. }, Warning::MxIsCname { .. }]),
        "{:?}",
        zone.warnings()
    );
}

#[test]
fn master_files_that_are_wrong_say_where() {
    for (text, part) in [
        ("$TTL 60\n@ IN A 192.0.2\n", "line 2: \"192.0.2\" is no A record"),
        ("@ IN A 192.0.2.1\n", "no time to live"),
        ("$INCLUDE /etc/passwd\n", "$INCLUDE is not understood"),
        ("$TTL 60\n@ TXT \"open\n", "never closed"),
        ("$TTL 60\n@ IN SOA a b ( 1 2 3 4 5\n", "never closed"),
        ("$TTL 60\n@ IN NAPTR 1\n", "cannot be held"),
        ("  60 IN A 192.0.2.1\n", "no name above"),
        ("@ 60 CH TXT x\n", "class CH"),
        ("$TTL 60\n@ \"\"\n", "cannot be held"),
    ] {
        let error = master::read(text, &Name::root()).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}
