//! The records that a custom domain needs, as one edit of the zone held here.

use std::collections::BTreeMap;

use common::domain::{Expected, Record, RecordKind};
use common::zone::{ZoneChange, ZoneOffer, ZoneRecord, ZoneRecordSet, ZoneRecords};
use dns::zone::Zone;
use dns::{Name, RecordType, name};

use super::row::{key_of, read, whole};
use super::texts::is_own;
use super::{ZoneError, Zones, input};

impl Zones {
    /// The edit that gives a domain its records; none when they lie in no zone held here. It has no changes when they
    /// stand there already.
    ///
    /// # Errors
    /// When the database failed or a name is none.
    pub async fn offer(&self, expected: &Expected) -> Result<Option<ZoneOffer>, ZoneError> {
        let wanted: Vec<&Record> = expected.point.iter().chain(&expected.prove).collect();
        let Some(first) = wanted.first() else { return Ok(None) };
        let owner = whole(&first.name)?;
        let Some(holder) = self.around(&owner).await? else { return Ok(None) };
        let zone = read(&self.row(&holder).await?)?;
        if !is_own(&zone, &owner) && !is_cname(&zone, &owner) {
            return Ok(None);
        }
        let changes = changes(&zone, expected)?;
        // What is so already is no change.
        let needed = !input::changes(&zone, &changes, self.0.config.ttl)?.is_empty();
        Ok(Some(ZoneOffer { zone: key_of(zone.origin()), changes: if needed { changes } else { Vec::new() } }))
    }
}

fn is_cname(zone: &Zone, owner: &Name) -> bool {
    has(zone, owner, RecordType::CNAME)
}

fn has(zone: &Zone, owner: &Name, kind: RecordType) -> bool {
    zone.node(&name::wire(owner)).is_some_and(|node| node.set(kind.into()).is_some())
}

/// Steps that put the records where they belong, in place of those that lead elsewhere.
fn changes(zone: &Zone, expected: &Expected) -> Result<Vec<ZoneChange>, ZoneError> {
    let mut changes = Vec::new();
    let mut sets: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for record in &expected.point {
        sets.entry((&record.name, record.kind.as_str())).or_default().push(record.value.clone());
    }
    let remove = |name: &str, kind: &str| {
        ZoneChange::Remove(ZoneRecords { name: format!("{name}."), kind: Some(kind.to_owned()), data: None })
    };
    for record in &expected.point {
        let owner = whole(&record.name)?;
        // A CNAME stands alone, addresses stand beside no CNAME, and one family's old address is no better than none.
        let others: &[(RecordType, &str)] = match record.kind {
            RecordKind::Cname => &[
                (RecordType::A, "A"),
                (RecordType::AAAA, "AAAA"),
                (RecordType::ANAME, "ALIAS"),
                (RecordType::HTTPS, "HTTPS"),
            ],
            RecordKind::A | RecordKind::Aaaa => &[
                (RecordType::CNAME, "CNAME"),
                (RecordType::ANAME, "ALIAS"),
                (RecordType::A, "A"),
                (RecordType::AAAA, "AAAA"),
            ],
            RecordKind::Txt => &[],
        };
        for (kind, word) in others {
            let step = remove(&record.name, word);
            if has(zone, &owner, *kind)
                && !sets.contains_key(&(record.name.as_str(), *word))
                && !changes.contains(&step)
            {
                changes.push(step);
            }
        }
    }
    changes.extend(sets.into_iter().map(|((name, kind), data)| {
        ZoneChange::Replace(ZoneRecordSet { name: format!("{name}."), kind: kind.to_owned(), ttl: None, data })
    }));
    if let Some(prove) = expected.prove.as_ref().filter(|_| expected.prove_required) {
        let stands = zone.records().iter().any(|there| {
            name::text(&there.owner).trim_end_matches('.') == prove.name
                && dns::record::text(&there.data) == dns::record::quoted(prove.value.as_bytes())
        });
        if !stands {
            let record = ZoneRecord {
                name: format!("{}.", prove.name),
                kind: prove.kind.as_str().to_owned(),
                ttl: None,
                data: prove.value.clone(),
            };
            changes.push(ZoneChange::Add(record));
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use dns::master;

    use super::*;

    const ZONE: &str = "@ 60 SOA ns h 1 1 1 1 1\n@ 60 NS ns.example.net.\n@ 60 A 192.0.2.1\n@ 60 AAAA 2001:db8::9\n\
                        @ 60 MX 10 mail.example.net.\nwww 60 A 192.0.2.1\n";

    fn record(name: &str, kind: RecordKind, value: &str) -> Record {
        Record { name: name.to_owned(), kind, value: value.to_owned() }
    }

    fn after(expected: &Expected) -> Vec<String> {
        let origin = whole("example.com").unwrap();
        let zone = Zone::new(origin.clone(), master::read(ZONE, &origin).unwrap(), None).unwrap();
        let steps = changes(&zone, expected).unwrap();
        let edited = dns::edit::apply(&zone, &input::changes(&zone, &steps, 300).unwrap()).unwrap();
        let lines = edited.records().iter().map(master::line);
        lines.filter(|line| !line.contains(" SOA ") && !line.contains(" NS ")).collect()
    }

    #[test]
    fn addresses_take_the_place_of_others_and_mail_stays() {
        let point = vec![record("example.com", RecordKind::A, "203.0.113.5")];
        let lines = after(&Expected { point, ..Expected::default() });
        assert!(lines.contains(&"example.com. 60 IN A 203.0.113.5".to_owned()), "{lines:?}");
        assert!(lines.contains(&"example.com. 60 IN MX 10 mail.example.net.".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("AAAA")), "{lines:?}");
    }

    #[test]
    fn a_cname_takes_the_place_of_addresses_and_the_text_stands_when_it_is_needed() {
        let point = vec![record("www.example.com", RecordKind::Cname, "shop.apps.example.net")];
        let prove = Some(record("_astrocloud.www.example.com", RecordKind::Txt, "astrocloud-verification=1"));
        let mut expected = Expected { point, prove, prove_required: false };
        let lines = after(&expected);
        assert!(lines.contains(&"www.example.com. 300 IN CNAME shop.apps.example.net.".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("www") && line.contains(" A ") || line.contains("TXT")));
        expected.prove_required = true;
        assert!(after(&expected).iter().any(|line| line.contains("TXT \"astrocloud-verification=1\"")));
    }
}
