//! What a zone must keep so that it works, and what makes one wonder.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::rr::{Name, RData, RecordType};
use thiserror::Error;

use crate::{
    name,
    record::{self, DS, Record},
};

/// Records of a zone at most: a memory bound of a few megabytes; far above what hosted sites use.
pub const RECORDS_MAX: usize = 10_000;
/// Records of one name and type at most, so that a set with its signature fits a message.
pub const SET_MAX: usize = 200;
/// Bytes of one record's data at most, for the same reason.
pub const DATA_MAX: usize = 4096;
/// Seconds to live at least: none at all would send every visitor here.
pub const TTL_MIN: u32 = 1;
/// Seconds to live at most, a week: a mistake must not last longer (BIND's own default bound).
pub const TTL_MAX: u32 = 604_800;

/// What breaks a zone, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// No SOA at the apex.
    #[error("the zone has no SOA record: add one at {apex}")]
    NoSoa {
        /// The zone's name.
        apex: String,
    },
    /// A second SOA, or one below the apex.
    #[error("{owner} has an SOA record too many: keep exactly one, at the zone's own name")]
    ExtraSoa {
        /// Where it stands.
        owner: String,
    },
    /// No NS at the apex.
    #[error("the zone has no NS record at {apex}: add the name servers that hold it")]
    NoNs {
        /// The zone's name.
        apex: String,
    },
    /// An owner outside the zone.
    #[error("{owner} does not lie within {apex}: put it into its own zone")]
    Outside {
        /// The record's name.
        owner: String,
        /// The zone's name.
        apex: String,
    },
    /// CNAME beside anything else (RFC 1034 3.6.2).
    #[error("{owner} has a CNAME beside other records: delete the CNAME or the others{}", if *.apex { ", or use ALIAS, which may stand at the zone's own name" } else { "" })]
    CnameBesideOthers {
        /// The name.
        owner: String,
        /// Whether it is the zone's own name.
        apex: bool,
    },
    /// Two CNAME or ALIAS records at one name.
    #[error("{owner} has more than one {kind}: keep one")]
    Several {
        /// The name.
        owner: String,
        /// The type.
        kind: String,
    },
    /// ALIAS beside A or AAAA.
    #[error("{owner} has an ALIAS beside A or AAAA records: keep either")]
    AliasBesideAddresses {
        /// The name.
        owner: String,
    },
    /// Outside [`TTL_MIN`] to [`TTL_MAX`].
    #[error("{owner} {kind} lives for {ttl} seconds: choose between 1 and 604800 (a week)")]
    Ttl {
        /// The name.
        owner: String,
        /// The type.
        kind: String,
        /// What was given.
        ttl: u32,
    },
    /// Records of one set that live for different times (RFC 2181 5.2).
    #[error("the {kind} records of {owner} live for different times: give all of them the same")]
    MixedTtl {
        /// The name.
        owner: String,
        /// The type.
        kind: String,
    },
    /// The same record twice.
    #[error("{owner} {kind} {data} is there twice: delete one")]
    Duplicate {
        /// The name.
        owner: String,
        /// The type.
        kind: String,
        /// The data.
        data: String,
    },
    /// Data below or beside a delegation.
    #[error(
        "{owner} {kind} is hidden: {cut} is delegated to other name servers by its NS records. Put it there, or delete the delegation"
    )]
    Hidden {
        /// The record's name.
        owner: String,
        /// The type.
        kind: String,
        /// The delegated name.
        cut: String,
    },
    /// A name server below its own delegation without addresses.
    #[error(
        "name server {target} lies within {cut}, which it serves, and has no address here: add an A or AAAA record for it"
    )]
    NoGlue {
        /// The name server.
        target: String,
        /// The delegated name.
        cut: String,
    },
    /// NS to a CNAME (RFC 2181 10.3).
    #[error("name server {target} is a CNAME, which resolvers refuse: give it A or AAAA records")]
    NsIsCname {
        /// The name server.
        target: String,
    },
    /// DS without a delegation.
    #[error("{owner} has a DS record, but no NS records beside it: add the name servers, or delete it")]
    DsWithoutNs {
        /// The name.
        owner: String,
    },
    /// NS or DS at a wildcard (RFC 4592 4.2).
    #[error("{owner} delegates a wildcard, which is not defined: name each delegated zone")]
    WildcardNs {
        /// The name.
        owner: String,
    },
    /// Above [`SET_MAX`], [`DATA_MAX`] or [`RECORDS_MAX`].
    #[error("{owner} has more than fits: at most 10000 records in a zone, 200 of one name and type, 4096 bytes each")]
    TooLarge {
        /// The name.
        owner: String,
    },
}

/// What works, but probably not as meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Warning {
    /// RFC 2181 10.3.
    #[error("mail of {owner} goes to {target}, which is a CNAME: some senders refuse that, give it A or AAAA records")]
    MxIsCname {
        /// The mail domain.
        owner: String,
        /// The mail host.
        target: String,
    },
    /// A target within the zone that is not there.
    #[error("{owner} {kind} points at {target}, which has no records in this zone: add them, or correct it")]
    Dangling {
        /// The name.
        owner: String,
        /// The type.
        kind: String,
        /// Where it points.
        target: String,
    },
}

type Kinds = BTreeMap<RecordType, Vec<usize>>;

/// Checks a zone whose names are in lower case; gives its warnings and its serial.
pub(crate) fn check(origin: &Name, records: &[Record]) -> Result<(Vec<Warning>, u32), Vec<Problem>> {
    let apex = name::text(origin);
    let mut problems = Vec::new();
    if records.len() > RECORDS_MAX {
        return Err(vec![Problem::TooLarge { owner: apex }]);
    }
    let mut names: BTreeMap<&Name, Kinds> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (index, record) in records.iter().enumerate() {
        let (owner, kind) = (name::text(&record.owner), record.data.record_type());
        let data = record::text(&record.data);
        if !origin.zone_of(&record.owner) {
            problems.push(Problem::Outside { owner, apex: apex.clone() });
            continue;
        }
        if !(TTL_MIN..=TTL_MAX).contains(&record.ttl) {
            problems.push(Problem::Ttl { owner: owner.clone(), kind: record::mnemonic(kind), ttl: record.ttl });
        }
        let wire = record::wire(&record.data).unwrap_or_default();
        if wire.is_empty() || wire.len() > DATA_MAX {
            problems.push(Problem::TooLarge { owner: owner.clone() });
        }
        if !seen.insert((&record.owner, u16::from(kind), wire)) {
            problems.push(Problem::Duplicate { owner, kind: record::mnemonic(kind), data });
        }
        names.entry(&record.owner).or_default().entry(kind).or_default().push(index);
    }
    let soa = names.get(origin).and_then(|kinds| kinds.get(&RecordType::SOA));
    let serial = match soa.and_then(|soa| soa.first()).map(|index| &records[*index].data) {
        Some(RData::SOA(soa)) => soa.serial,
        _ => {
            problems.push(Problem::NoSoa { apex: apex.clone() });
            0
        }
    };
    if names.get(origin).is_none_or(|kinds| !kinds.contains_key(&RecordType::NS)) {
        problems.push(Problem::NoNs { apex });
    }
    for (owner, kinds) in &names {
        each_name(origin, owner, kinds, &names, records, &mut problems);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok((warnings(origin, records, &names), serial))
}

fn each_name(
    origin: &Name,
    owner: &Name,
    kinds: &Kinds,
    names: &BTreeMap<&Name, Kinds>,
    records: &[Record],
    problems: &mut Vec<Problem>,
) {
    let text = name::text(owner);
    let at_apex = owner == origin;
    let has = |kind| kinds.contains_key(&kind);
    for (kind, indexes) in kinds {
        let mnemonic = record::mnemonic(*kind);
        if indexes.len() > SET_MAX {
            problems.push(Problem::TooLarge { owner: text.clone() });
        }
        if indexes.iter().any(|index| records[*index].ttl != records[indexes[0]].ttl) {
            problems.push(Problem::MixedTtl { owner: text.clone(), kind: mnemonic.clone() });
        }
        if matches!(*kind, RecordType::CNAME | RecordType::ANAME) && indexes.len() > 1 {
            problems.push(Problem::Several { owner: text.clone(), kind: mnemonic });
        }
        if *kind == RecordType::SOA && (!at_apex || indexes.len() > 1) {
            problems.push(Problem::ExtraSoa { owner: text.clone() });
        }
    }
    if has(RecordType::CNAME) && kinds.len() > 1 {
        problems.push(Problem::CnameBesideOthers { owner: text.clone(), apex: at_apex });
    }
    if has(RecordType::ANAME) && (has(RecordType::A) || has(RecordType::AAAA)) {
        problems.push(Problem::AliasBesideAddresses { owner: text.clone() });
    }
    if has(DS) && (!has(RecordType::NS) || at_apex) {
        problems.push(Problem::DsWithoutNs { owner: text.clone() });
    }
    if owner.is_wildcard() && (has(RecordType::NS) || has(DS)) {
        problems.push(Problem::WildcardNs { owner: text.clone() });
    }
    for index in kinds.get(&RecordType::NS).into_iter().flatten() {
        let RData::NS(target) = &records[*index].data else { continue };
        let target = target.0.to_lowercase();
        let there = names.get(&target);
        if there.is_some_and(|kinds| kinds.contains_key(&RecordType::CNAME)) {
            problems.push(Problem::NsIsCname { target: name::text(&target) });
        } else if owner.zone_of(&target) && there.is_none_or(|kinds| !addressed(kinds)) {
            problems.push(Problem::NoGlue { target: name::text(&target), cut: text.clone() });
        }
    }
    // The delegation above or at this name, unless the name is the apex.
    let cut = (origin.iter().count() + 1..=owner.iter().count())
        .map(|labels| owner.trim_to(labels))
        .find(|cut| names.get(cut).is_some_and(|kinds| kinds.contains_key(&RecordType::NS)));
    let Some(cut) = cut.filter(|_| !at_apex) else { return };
    for kind in kinds.keys() {
        let allowed = match *kind {
            RecordType::A | RecordType::AAAA => true,
            RecordType::NS | DS => cut == *owner,
            _ => false,
        };
        if !allowed {
            problems.push(Problem::Hidden {
                owner: text.clone(),
                kind: record::mnemonic(*kind),
                cut: name::text(&cut),
            });
        }
    }
}

fn addressed(kinds: &Kinds) -> bool {
    [RecordType::A, RecordType::AAAA, RecordType::ANAME].iter().any(|kind| kinds.contains_key(kind))
}

fn warnings(origin: &Name, records: &[Record], names: &BTreeMap<&Name, Kinds>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for record in records {
        let target = match &record.data {
            RData::MX(mx) => &mx.exchange,
            RData::CNAME(target) => &target.0,
            RData::SRV(srv) => &srv.target,
            RData::NS(target) => &target.0,
            _ => continue,
        };
        let target = target.to_lowercase();
        // Outside the zone nothing is known; the root says that there is no such service.
        if target.is_root() || !origin.zone_of(&target) {
            continue;
        }
        let there = names.get(&target);
        let owner = name::text(&record.owner);
        if there.is_some_and(|kinds| kinds.contains_key(&RecordType::CNAME)) {
            if matches!(record.data, RData::MX(_)) {
                warnings.push(Warning::MxIsCname { owner, target: name::text(&target) });
            }
            continue;
        }
        let covered = there.is_some()
            || (origin.iter().count()..target.iter().count()).any(|labels| {
                target.trim_to(labels).prepend_label("*").is_ok_and(|wildcard| names.contains_key(&wildcard))
            });
        if !covered {
            warnings.push(Warning::Dangling {
                owner,
                kind: record::mnemonic(record.data.record_type()),
                target: name::text(&target),
            });
        }
    }
    warnings
}
