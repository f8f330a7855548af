//! A zone as a value: checked when it is made, never changed, swapped when it is edited.

use std::{collections::HashMap, sync::Arc};

use hickory_proto::rr::{Name, RData, RecordType};

use crate::{
    key::ZoneKey,
    name,
    record::{self, Record},
    validate::{self, Problem, Warning},
};

/// The records of one name and type, ready for the wire and for signing.
#[derive(Debug)]
pub struct RecordSet {
    /// The type's number.
    pub kind: u16,
    /// Seconds that others may keep it.
    pub ttl: u32,
    /// Data in canonical form and order (RFC 4034 6).
    pub data: Vec<Box<[u8]>>,
}

/// A name of the zone. One without records is there because of what lies below it (RFC 8020).
#[derive(Debug, Default)]
pub struct Node {
    sets: Vec<RecordSet>,
    /// What an ALIAS points at, on the wire.
    alias: Option<Box<[u8]>>,
}

impl Node {
    /// The records of a type.
    pub fn set(&self, kind: u16) -> Option<&RecordSet> {
        self.sets.iter().find(|set| set.kind == kind)
    }

    /// All there is at the name, in order of type.
    pub fn sets(&self) -> &[RecordSet] {
        &self.sets
    }

    /// What an ALIAS points at, on the wire, in lower case.
    pub fn alias(&self) -> Option<&[u8]> {
        self.alias.as_deref()
    }
}

/// A zone without faults.
#[derive(Debug)]
pub struct Zone {
    origin: Name,
    apex: Box<[u8]>,
    records: Vec<Record>,
    nodes: HashMap<Box<[u8]>, Node, foldhash::fast::RandomState>,
    warnings: Vec<Warning>,
    serial: u32,
    key: Option<Arc<ZoneKey>>,
}

impl Zone {
    /// Makes a zone of its records, in any order; signed when there is a key.
    ///
    /// # Errors
    /// All that would break it.
    pub fn new(origin: Name, mut records: Vec<Record>, key: Option<Arc<ZoneKey>>) -> Result<Self, Vec<Problem>> {
        let origin = origin.to_lowercase();
        for record in &mut records {
            record.owner = record.owner.to_lowercase();
        }
        // The SOA first, as transfers begin with it; the rest in canonical order.
        records.sort_by(|one, other| {
            let place = |record: &Record| record.data.record_type() != RecordType::SOA;
            place(one)
                .cmp(&place(other))
                .then_with(|| one.owner.cmp(&other.owner))
                .then_with(|| u16::from(one.data.record_type()).cmp(&u16::from(other.data.record_type())))
                .then_with(|| record::text(&one.data).cmp(&record::text(&other.data)))
        });
        let (warnings, serial) = validate::check(&origin, &records)?;
        let apex = name::wire(&origin);
        let mut nodes: HashMap<Box<[u8]>, Node, foldhash::fast::RandomState> = HashMap::default();
        for record in &records {
            let owner = name::wire(&record.owner);
            // Every name between the owner and the apex exists, though nothing stands there.
            let mut rest: &[u8] = &owner;
            while rest.len() > apex.len() {
                rest = parent(rest);
                if nodes.contains_key(rest) {
                    break;
                }
                nodes.insert(rest.into(), Node::default());
            }
            let node = nodes.entry(owner).or_default();
            if let RData::ANAME(target) = &record.data {
                node.alias = Some(name::wire(&target.0));
            }
            let data =
                record::wire(&record.data).map_err(|_| vec![Problem::TooLarge { owner: name::text(&record.owner) }])?;
            insert(node, record.data.record_type().into(), record.ttl, data);
        }
        if let (Some(key), Some(node)) = (&key, nodes.get_mut(&apex)) {
            for (kind, data) in key.records(&apex) {
                insert(node, kind, crate::key::KEY_TTL, data);
            }
        }
        for node in nodes.values_mut() {
            node.sets.sort_by_key(|set| set.kind);
            for set in &mut node.sets {
                set.data.sort();
            }
        }
        Ok(Self { origin, apex, records, nodes, warnings, serial, key })
    }

    /// The zone's name.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// The zone's name on the wire, in lower case.
    pub fn apex(&self) -> &[u8] {
        &self.apex
    }

    /// All records as they were given, SOA first; what signing adds is not among them.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The name `owner`, given on the wire in lower case.
    pub fn node(&self, owner: &[u8]) -> Option<&Node> {
        self.nodes.get(owner)
    }

    /// All names with what stands at them, in canonical order (RFC 4034 6.1).
    pub fn names(&self) -> Vec<(&[u8], &Node)> {
        let mut names: Vec<(&[u8], &Node)> = self.nodes.iter().map(|(owner, node)| (&**owner, node)).collect();
        names.sort_by_cached_key(|(owner, _)| canonical(owner));
        names
    }

    /// What works, but probably not as meant.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The serial of its SOA.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Seconds that a denial may be kept (RFC 2308 5).
    pub fn negative_ttl(&self) -> u32 {
        let soa = self.records.first().map(|record| (record.ttl, &record.data));
        match soa {
            Some((ttl, RData::SOA(soa))) => ttl.min(soa.minimum),
            _ => 0,
        }
    }

    /// The key that signs it.
    pub fn key(&self) -> Option<&Arc<ZoneKey>> {
        self.key.as_ref()
    }

    /// What the zone's ALIAS records point at, on the wire.
    pub fn aliases(&self) -> impl Iterator<Item = &[u8]> {
        self.nodes.values().filter_map(Node::alias)
    }
}

fn insert(node: &mut Node, kind: u16, ttl: u32, data: Box<[u8]>) {
    match node.sets.iter_mut().find(|set| set.kind == kind) {
        Some(set) => set.data.push(data),
        None => node.sets.push(RecordSet { kind, ttl, data: vec![data] }),
    }
}

/// The name above one that is not the root, both on the wire.
pub fn parent(name: &[u8]) -> &[u8] {
    let label = usize::from(name.first().copied().unwrap_or(0));
    name.get(label + 1..).unwrap_or(&[0])
}

/// Labels of a name on the wire, the root's not counted.
pub fn labels(mut name: &[u8]) -> u8 {
    let mut count = 0;
    while name.len() > 1 {
        name = parent(name);
        count += 1;
    }
    count
}

/// Whether the name lies in the zone of this apex.
pub fn within(name: &[u8], apex: &[u8]) -> bool {
    let mut rest = name;
    while rest.len() > apex.len() {
        rest = parent(rest);
    }
    rest == apex
}

/// The labels of a name on the wire from the last one on: names sorted by it are in canonical order.
fn canonical(mut name: &[u8]) -> Vec<Box<[u8]>> {
    let mut labels = Vec::new();
    while name.len() > 1 {
        let rest = parent(name);
        labels.push(name[1..name.len() - rest.len()].into());
        name = rest;
    }
    labels.reverse();
    labels
}
