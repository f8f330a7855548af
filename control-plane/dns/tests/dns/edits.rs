//! Edits, their undoing, and templates.

use std::sync::Arc;

use dns::{
    edit::{Change, EditError, History},
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
    let first = Arc::new(zone(ZONE, None));
    let mut history = History::new(Arc::clone(&first), Vec::new());
    history.edit(vec![Change::Add(record("new 60 IN A 192.0.2.3"))]).unwrap();
    assert_eq!(history.zone().serial(), 8);
    history
        .edit(vec![Change::Remove(record("new 60 IN A 192.0.2.3")), Change::Add(record("new 60 IN CNAME www"))])
        .unwrap();
    assert_eq!(history.zone().serial(), 9);
    history.undo().unwrap();
    assert!(lines(history.zone()).contains(&"new.example.com. 60 IN A 192.0.2.3".to_owned()));
    history.undo().unwrap();
    assert_eq!(history.zone().serial(), 11);
    assert_eq!(lines(history.zone()), lines(&first));
    assert_eq!(history.undo(), Err(EditError::Nothing));
}

#[test]
fn an_edit_that_would_break_the_zone_changes_nothing() {
    let mut history = History::new(Arc::new(zone(ZONE, None)), Vec::new());
    let broken =
        history.edit(vec![Change::Add(record("fine 60 IN A 192.0.2.3")), Change::Add(record("www 60 IN A 192.0.2.3"))]);
    assert!(matches!(broken, Err(EditError::Broken(_))));
    let missing = history.edit(vec![Change::Remove(record("gone 60 IN A 192.0.2.3"))]);
    assert!(matches!(missing, Err(EditError::Missing(text)) if text == "gone.example.com. A 192.0.2.3"));
    assert_eq!(history.zone().serial(), 7);
    assert_eq!(history.edits().count(), 0);
}

#[test]
fn the_serial_goes_round_at_its_end() {
    let mut history = History::new(Arc::new(zone(BARE, None)), Vec::new());
    history.edit(vec![Change::Add(record("a 60 IN A 192.0.2.3"))]).unwrap();
    assert_eq!(history.zone().serial(), 0);
}

#[test]
fn templates_make_working_zones() {
    for (template, host) in [
        (Template::GoogleWorkspace, "example.com. 3600 IN MX 1 smtp.google.com."),
        (Template::Microsoft365, "example.com. 3600 IN MX 0 example-com.mail.protection.outlook.com."),
    ] {
        let mut history = History::new(Arc::new(zone(BARE, None)), Vec::new());
        history.edit(template.changes(&origin()).unwrap()).unwrap();
        assert!(lines(history.zone()).contains(&host.to_owned()), "{:?}", lines(history.zone()));
    }
}
