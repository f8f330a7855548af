//! Edits, their undoing, and templates.

use dns::{
    edit::{Change, EditError, apply, inverse},
    master,
    record::Record,
    template::Template,
    zone::Zone,
};

use crate::testkit::{ZONE, origin, zone};

const BARE: &str = "$TTL 60\n@ IN SOA ns1 host 4294967295 1 1 1 1\n@ IN NS ns1\nns1 IN A 192.0.2.1\n";

fn record(text: &str) -> Record {
    master::read(text, &origin()).unwrap().remove(0)
}

fn lines(zone: &Zone) -> Vec<String> {
    master::write(zone, true).lines().filter(|line| !line.contains(" SOA ")).map(str::to_owned).collect()
}

#[test]
fn every_edit_and_every_undoing_raises_the_serial() {
    let first = zone(ZONE, None);
    let added = vec![Change::Add(record("new 60 IN A 192.0.2.3"))];
    let replaced = vec![Change::Remove(record("new 60 IN A 192.0.2.3")), Change::Add(record("new 60 IN CNAME www"))];
    let second = apply(&first, &added).unwrap();
    let third = apply(&second, &replaced).unwrap();
    assert_eq!((second.serial(), third.serial()), (8, 9));
    let fourth = apply(&third, &inverse(&replaced)).unwrap();
    assert!(lines(&fourth).contains(&"new.example.com. 60 IN A 192.0.2.3".to_owned()));
    let fifth = apply(&fourth, &inverse(&added)).unwrap();
    assert_eq!(fifth.serial(), 11);
    assert_eq!(lines(&fifth), lines(&first));
}

#[test]
fn an_edit_that_would_break_the_zone_is_refused_as_a_whole() {
    let first = zone(ZONE, None);
    let broken =
        apply(&first, &[Change::Add(record("fine 60 IN A 192.0.2.3")), Change::Add(record("www 60 IN A 192.0.2.3"))]);
    assert!(matches!(broken, Err(EditError::Broken(_))));
    let missing = apply(&first, &[Change::Remove(record("gone 60 IN A 192.0.2.3"))]);
    assert!(matches!(missing, Err(EditError::Missing(text)) if text == "gone.example.com. A 192.0.2.3"));
}

#[test]
fn the_serial_goes_round_at_its_end() {
    let next = apply(&zone(BARE, None), &[Change::Add(record("a 60 IN A 192.0.2.3"))]).unwrap();
    assert_eq!(next.serial(), 0);
}

#[test]
fn templates_make_working_zones() {
    for (template, host) in [
        (Template::GoogleWorkspace, "example.com. 3600 IN MX 1 smtp.google.com."),
        (Template::Microsoft365, "example.com. 3600 IN MX 0 example-com.mail.protection.outlook.com."),
    ] {
        let made = apply(&zone(BARE, None), &template.changes(&origin()).unwrap()).unwrap();
        assert!(lines(&made).contains(&host.to_owned()), "{:?}", lines(&made));
    }
}
