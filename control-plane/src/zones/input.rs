//! Records as people write them, made into changes of a zone.

use common::zone::{ZoneChange, ZoneRecord, ZoneRecordSet, ZoneRecords, ZoneTemplate};
use dns::edit::Change;
use dns::record::{self, Record};
use dns::template::Template;
use dns::zone::Zone;
use dns::{Name, RData, RecordType, master, name};

/// Steps of one edit at most: as many as a zone has records.
const STEPS_MAX: usize = dns::validate::RECORDS_MAX;

/// Characters of an edit's note at most: a sentence or two.
const NOTE_MAX: usize = 500;

/// What is wrong with what was written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// One step of an edit.
    #[error("change {step}: {message}")]
    Step {
        /// Which, from 1.
        step: usize,
        /// What is wrong.
        message: String,
    },
    /// Too many.
    #[error("an edit has at most {STEPS_MAX} changes: make several")]
    TooMany,
    /// A note that is none.
    #[error("a note has at most {NOTE_MAX} characters, and no control characters: shorten it")]
    Note,
    /// A master file.
    #[error("{0}")]
    Master(#[from] master::MasterError),
}

/// Refuses a note that can't be shown in a line.
pub(super) fn check_note(note: &str) -> Result<(), InputError> {
    match note.chars().count() <= NOTE_MAX && !note.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(InputError::Note),
    }
}

/// The changes that the steps come to, one after another; none when the zone is so already.
pub(super) fn changes(zone: &Zone, steps: &[ZoneChange], ttl: u32) -> Result<Vec<Change>, InputError> {
    if steps.len() > STEPS_MAX {
        return Err(InputError::TooMany);
    }
    let mut records = zone.records().to_vec();
    for (index, step) in steps.iter().enumerate() {
        let done = match step {
            ZoneChange::Add(record) => add(&mut records, record, zone.origin(), ttl),
            ZoneChange::Remove(which) => remove(&mut records, which, zone.origin()),
            ZoneChange::Replace(set) => replace(&mut records, set, zone.origin(), ttl),
            ZoneChange::Template(template) => use_template(&mut records, *template, zone.origin()),
        };
        done.map_err(|message| InputError::Step { step: index + 1, message })?;
    }
    Ok(difference(zone.records(), records))
}

fn add(records: &mut Vec<Record>, given: &ZoneRecord, origin: &Name, ttl: u32) -> Result<(), String> {
    let owner = owner(&given.name, origin)?;
    let kind = kind(&given.kind)?;
    let ttl = given.ttl.unwrap_or_else(|| present_ttl(records, &owner, kind).unwrap_or(ttl));
    let data = data(kind, &given.data, origin)?;
    records.push(Record { owner, ttl, data });
    Ok(())
}

fn remove(records: &mut Vec<Record>, which: &ZoneRecords, origin: &Name) -> Result<(), String> {
    let owner = owner(&which.name, origin)?;
    let wanted = which.kind.as_deref().map(kind).transpose()?;
    let text = match (wanted, &which.data) {
        (Some(kind), Some(text)) => Some(data(kind, text, origin)?),
        (None, Some(_)) => return Err("say the type of the record whose data you give".to_owned()),
        (_, None) => None,
    };
    let before = records.len();
    records.retain(|there| {
        let meant = there.owner == owner
            && wanted.map_or(there.data.record_type() != RecordType::SOA, |kind| there.data.record_type() == kind)
            && text.as_ref().is_none_or(|data| *data == there.data);
        !meant
    });
    if records.len() == before {
        let of = which.kind.as_deref().unwrap_or("any type").to_ascii_uppercase();
        let data = which.data.as_deref().map(|data| format!(" with {data}")).unwrap_or_default();
        return Err(format!("`{}` has no record of {of}{data}: look at the zone as it is now", which.name));
    }
    Ok(())
}

fn replace(records: &mut Vec<Record>, set: &ZoneRecordSet, origin: &Name, ttl: u32) -> Result<(), String> {
    let owner = owner(&set.name, origin)?;
    let kind = kind(&set.kind)?;
    let ttl = set.ttl.unwrap_or_else(|| present_ttl(records, &owner, kind).unwrap_or(ttl));
    if set.data.is_empty() {
        return Err("say at least one record's data, or remove the records".to_owned());
    }
    records.retain(|there| there.owner != owner || there.data.record_type() != kind);
    for text in &set.data {
        records.push(Record { owner: owner.clone(), ttl, data: data(kind, text, origin)? });
    }
    Ok(())
}

/// A template's records in place of those that would contradict them: other mail hosts, another SPF, a name that it
/// needs for itself.
fn use_template(records: &mut Vec<Record>, template: ZoneTemplate, origin: &Name) -> Result<(), String> {
    let template = match template {
        ZoneTemplate::GoogleWorkspace => Template::GoogleWorkspace,
        ZoneTemplate::Microsoft365 => Template::Microsoft365,
    };
    let changes = template.changes(origin).map_err(|e| e.to_string())?;
    let added: Vec<Record> = changes
        .into_iter()
        .filter_map(|change| match change {
            Change::Add(record) => Some(record),
            Change::Remove(_) => None,
        })
        .collect();
    for new in &added {
        records.retain(|there| there.owner != new.owner || !contradicts(&there.data, &new.data));
    }
    for mut new in added {
        // Records of one set live for one time.
        new.ttl = present_ttl(records, &new.owner, new.data.record_type()).unwrap_or(new.ttl);
        if !records.contains(&new) {
            records.push(new);
        }
    }
    Ok(())
}

fn contradicts(there: &RData, new: &RData) -> bool {
    match (there, new) {
        (RData::MX(_), RData::MX(_)) => true,
        // A name has one SPF record (RFC 7208 section 3.2).
        (RData::TXT(there), RData::TXT(_)) => there.txt_data.concat().starts_with(b"v=spf1"),
        (_, RData::CNAME(_)) => true,
        _ => false,
    }
}

fn present_ttl(records: &[Record], owner: &Name, kind: RecordType) -> Option<u32> {
    records.iter().find(|there| there.owner == *owner && there.data.record_type() == kind).map(|there| there.ttl)
}

/// A record's name: within the zone, or whole. What ends with the zone's name is whole, with or without a final dot.
pub(super) fn owner(text: &str, origin: &Name) -> Result<Name, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a record needs a name: `@` is the zone's own".to_owned());
    }
    let whole = name::parse(text, &Name::root()).map_err(|e| e.to_string())?.to_lowercase();
    if text != "@" && (text.ends_with('.') || origin.zone_of(&whole)) {
        return Ok(whole);
    }
    Ok(name::parse(text, origin).map_err(|e| e.to_string())?.to_lowercase())
}

fn kind(text: &str) -> Result<RecordType, String> {
    record::kind(text.trim()).map_err(|e| e.to_string())
}

/// A record's data. Names in it are whole, as people write them; text may go without quotes.
fn data(kind: RecordType, text: &str, origin: &Name) -> Result<RData, String> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err("a record's data has no line breaks or other control characters: write it in one line".to_owned());
    }
    if kind == RecordType::TXT && !text.starts_with('"') {
        return Ok(record::txt(&[text.as_bytes().to_vec()]));
    }
    if has_comment(text) {
        return Err(format!("`{text}`: a semicolon begins a comment there: put the text into quotes"));
    }
    let own = name::text(origin);
    let fields: Vec<&str> = text.split(' ').map(|field| if field == "@" { own.as_str() } else { field }).collect();
    let line = format!(". 1 IN {} {}", record::mnemonic(kind), fields.join(" "));
    let mut records = master::read(&line, &Name::root()).map_err(|e| e.fault.to_string())?;
    records.pop().map(|record| record.data).ok_or_else(|| "say the record's data".to_owned())
}

/// Whether a semicolon stands outside quotes.
fn has_comment(text: &str) -> bool {
    let mut quoted = false;
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' => drop(rest.next()),
            '"' => quoted = !quoted,
            ';' if !quoted => return true,
            _ => {}
        }
    }
    false
}

/// What has to change so that the zone has these records.
fn difference(before: &[Record], mut after: Vec<Record>) -> Vec<Change> {
    let mut changes = Vec::new();
    for record in before {
        match after.iter().position(|there| there == record) {
            Some(place) => drop(after.swap_remove(place)),
            None => changes.push(Change::Remove(record.clone())),
        }
    }
    changes.extend(after.into_iter().map(Change::Add));
    changes
}

/// A record as people read it.
pub(super) fn shown(record: &Record, origin: &Name) -> ZoneRecord {
    let kind = match record.data.record_type() {
        RecordType::ANAME => "ALIAS".to_owned(),
        other => record::mnemonic(other),
    };
    ZoneRecord {
        name: name::relative(&record.owner, origin),
        kind,
        ttl: Some(record.ttl),
        data: record::text(&record.data),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BEFORE: &str = "@ 60 SOA ns h 1 1 1 1 1\n@ 60 NS ns.example.net.\n@ 60 MX 10 old\n@ 60 TXT \"v=spf1 a -all\"\n\
                          @ 60 TXT \"other\"\nold 60 A 192.0.2.1\n";

    fn origin() -> Name {
        Name::from_ascii("example.com.").unwrap()
    }

    fn made(steps: &[ZoneChange]) -> Result<Vec<String>, InputError> {
        let zone = Zone::new(origin(), master::read(BEFORE, &origin()).unwrap(), None).unwrap();
        let line = |change: &Change| match change {
            Change::Add(record) => format!("+{}", master::line(record)),
            Change::Remove(record) => format!("-{}", master::line(record)),
        };
        Ok(changes(&zone, steps, 300)?.iter().map(line).collect())
    }

    fn record(name: &str, kind: &str, data: &str) -> ZoneChange {
        ZoneChange::Add(ZoneRecord { name: name.into(), kind: kind.into(), ttl: None, data: data.into() })
    }

    #[test]
    fn records_are_written_as_people_write_them() {
        for (step, line) in [
            (record("www", "a", "192.0.2.7"), "+www.example.com. 300 IN A 192.0.2.7"),
            (
                record("www.example.com", "CNAME", "shop.example.net"),
                "+www.example.com. 300 IN CNAME shop.example.net.",
            ),
            (record("www.Example.com.", "CNAME", "@"), "+www.example.com. 300 IN CNAME example.com."),
            (record("bücher", "A", "192.0.2.7"), "+xn--bcher-kva.example.com. 300 IN A 192.0.2.7"),
            (record("@", "TXT", "a b; c"), "+example.com. 60 IN TXT \"a b; c\""),
            (record("k", "TXT", "\"a\" \"b\""), "+k.example.com. 300 IN TXT \"a\" \"b\""),
            (record("@", "ALIAS", "lb.example.net"), "+example.com. 300 IN ANAME lb.example.net."),
        ] {
            assert_eq!(made(&[step]).unwrap(), [line]);
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_step() {
        for (step, part) in [
            (record("", "A", "192.0.2.7"), "`@`"),
            (record("www", "AA", "192.0.2.7"), "cannot be held"),
            (record("www", "A", "192.0.2"), "such as 192.0.2.1"),
            (record("www", "A", "192.0.2.1\nx 1 IN A 192.0.2.2"), "line breaks"),
            (record("www", "CAA", "0 issue ca.example; x=y"), "quotes"),
            (record("www", "TXT", "\"open"), "never closed"),
            (
                ZoneChange::Remove(ZoneRecords { name: "gone".into(), kind: Some("a".into()), data: None }),
                "no record of A",
            ),
        ] {
            let error = made(&[record("fine", "A", "192.0.2.7"), step]).unwrap_err().to_string();
            assert!(error.starts_with("change 2: ") && error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_is_so_already_is_no_change_and_steps_follow_one_another() {
        let set = |data: &[&str]| {
            let data = data.iter().map(|text| (*text).to_owned()).collect();
            ZoneChange::Replace(ZoneRecordSet { name: "old".into(), kind: "A".into(), ttl: None, data })
        };
        assert_eq!(made(&[set(&["192.0.2.1"])]).unwrap(), [""; 0]);
        let gone = ZoneChange::Remove(ZoneRecords { name: "new".into(), kind: None, data: None });
        assert_eq!(made(&[record("new", "A", "192.0.2.7"), gone]).unwrap(), [""; 0]);
        assert_eq!(made(&[set(&["192.0.2.2"])]).unwrap().len(), 2);
    }

    #[test]
    fn a_template_takes_the_place_of_what_would_contradict_it() {
        let lines = made(&[ZoneChange::Template(ZoneTemplate::GoogleWorkspace)]).unwrap();
        assert!(lines.contains(&"-example.com. 60 IN MX 10 old.example.com.".to_owned()), "{lines:?}");
        assert!(lines.contains(&"-example.com. 60 IN TXT \"v=spf1 a -all\"".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("\"other\"")), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("+example.com. 60 IN TXT \"v=spf1")), "{lines:?}");
    }
}
