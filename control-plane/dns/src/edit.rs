//! Edits: lists of changes that make a new zone of an old one, and can be undone.

use hickory_proto::rr::RData;
use thiserror::Error;

use crate::{
    name,
    record::{self, Record},
    validate::Problem,
    zone::Zone,
};

/// One change of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A record that was not there.
    Add(Record),
    /// A record that was there.
    Remove(Record),
}

impl Change {
    fn inverse(&self) -> Self {
        match self {
            Self::Add(record) => Self::Remove(record.clone()),
            Self::Remove(record) => Self::Add(record.clone()),
        }
    }
}

/// The changes that take an edit back. The serial goes on all the same: secondaries must see this too.
pub fn inverse(changes: &[Change]) -> Vec<Change> {
    changes.iter().rev().map(Change::inverse).collect()
}

/// Why an edit was not made; the zone is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditError {
    /// A record that is not there cannot be removed.
    #[error("{0} is not there any more: look at the zone as it is now")]
    Missing(String),
    /// The zone would be broken.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Broken(Vec<Problem>),
}

/// Makes the zone that the changes lead to, with the next serial. The SOA's own serial in a change is not looked at.
///
/// # Errors
/// When a record to be removed is missing, or the zone would be broken.
pub fn apply(zone: &Zone, changes: &[Change]) -> Result<Zone, EditError> {
    let mut records = zone.records().to_vec();
    for change in changes {
        match change {
            Change::Add(record) => records.push(record.clone()),
            Change::Remove(record) => {
                let place = records.iter().position(|there| same(there, record)).ok_or_else(|| {
                    let kind = record::mnemonic(record.data.record_type());
                    let data = record::text(&record.data);
                    EditError::Missing(format!("{} {kind} {data}", name::text(&record.owner)))
                })?;
                records.swap_remove(place);
            }
        }
    }
    // Serial number arithmetic (RFC 1982): one more is always newer, also past the end.
    let serial = zone.serial().wrapping_add(1);
    for record in &mut records {
        if let RData::SOA(soa) = &mut record.data {
            soa.serial = serial;
        }
    }
    Zone::new(zone.origin().clone(), records, zone.key().cloned()).map_err(EditError::Broken)
}

fn same(one: &Record, other: &Record) -> bool {
    let data = match (&one.data, &other.data) {
        (RData::SOA(one), RData::SOA(other)) => {
            let mut one = one.clone();
            one.serial = other.serial;
            one == *other
        }
        (one, other) => one == other,
    };
    one.owner == other.owner && one.ttl == other.ttl && data
}
