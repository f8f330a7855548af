//! A zone whole, as secondaries get it: with ALIAS answered, and a signed one with all signatures and a chain of NSEC
//! records (RFC 4034 4, RFC 4035 2), because a secondary has no key to make them as they are asked for.

use std::sync::Arc;

use crate::{
    answer::Answers,
    key::{self, KeyError, NSEC, RRSIG},
    zone::{RecordSet, Zone, within},
};

const A: u16 = 1;
const NS: u16 = 2;
const SOA: u16 = 6;
const AAAA: u16 = 28;
const DS: u16 = 43;
const ANAME: u16 = 65_305;

/// A record ready for the wire.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) owner: Arc<[u8]>,
    pub(crate) kind: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Arc<[u8]>,
}

/// All records of a zone, SOA first, at `now` in seconds since 1970. An ALIAS is what is known of its target now.
///
/// # Errors
/// When the library refuses to sign.
pub(crate) fn lines(answers: &Answers, zone: &Zone, now: u64) -> Result<Vec<Line>, KeyError> {
    let mut writer = Writer { answers, zone, now, lines: Vec::new() };
    let negative = zone.negative_ttl();
    let mut cut: Option<&[u8]> = None;
    // Names with something of this zone's own, for the chain.
    let mut chain: Vec<(&[u8], Vec<u16>)> = Vec::new();
    for (owner, node) in zone.names() {
        let below = cut.is_some_and(|cut| within(owner, cut));
        let sets = writer.sets(node);
        let delegates = !below && owner != zone.apex() && node.set(NS).is_some();
        if delegates {
            cut = Some(owner);
        }
        for set in node.sets().iter().filter(|set| set.kind != ANAME).chain(&sets) {
            // What others answer for is not this zone's to sign (RFC 4035 2.2).
            let own = !below && (!delegates || set.kind == DS);
            writer.set(owner, set, own)?;
        }
        let mut kinds: Vec<u16> = node.sets().iter().chain(&sets).map(|set| set.kind).collect();
        kinds.retain(|kind| *kind != ANAME && !(delegates && matches!(*kind, A | AAAA)));
        // Names where nothing stands have no place in the chain (RFC 4035 2.3).
        if !below && !kinds.is_empty() {
            kinds.extend([RRSIG, NSEC]);
            chain.push((owner, kinds));
        }
    }
    if zone.key().is_some() {
        for (index, (owner, kinds)) in chain.iter().enumerate() {
            let (next, _) = chain[(index + 1) % chain.len()];
            let data = [next, &key::bitmap(kinds)].concat();
            writer.set(owner, &RecordSet { kind: NSEC, ttl: negative, data: vec![data.into()] }, true)?;
        }
    }
    let mut lines = writer.lines;
    lines.sort_by_key(|line| line.kind != SOA);
    Ok(lines)
}

struct Writer<'a> {
    answers: &'a Answers,
    zone: &'a Zone,
    now: u64,
    lines: Vec<Line>,
}

impl Writer<'_> {
    /// The addresses that stand for an ALIAS.
    fn sets(&self, node: &crate::zone::Node) -> Vec<RecordSet> {
        let Some(target) = node.alias() else { return Vec::new() };
        let ttl = node.set(ANAME).map_or(0, |set| set.ttl);
        let known = |kind| self.answers.aliases.addresses(target, kind, ttl, self.now);
        [A, AAAA].into_iter().filter_map(known).filter(|set| !set.data.is_empty()).collect()
    }

    fn set(&mut self, owner: &[u8], set: &RecordSet, own: bool) -> Result<(), KeyError> {
        let owner: Arc<[u8]> = owner.into();
        let line = |kind, data: Arc<[u8]>| Line { owner: Arc::clone(&owner), kind, ttl: set.ttl, data };
        self.lines.extend(set.data.iter().map(|data| line(set.kind, Arc::from(&**data))));
        if let Some(key) = self.zone.key().filter(|_| own) {
            let signature = self.answers.signatures.sign(key, self.zone.apex(), &owner, set, self.now)?;
            self.lines.push(line(RRSIG, signature));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::{key::ZoneKey, master, name};

    #[test]
    fn a_chain_names_what_stands_there_and_signs_what_is_the_zones_own() {
        let origin = hickory_proto::rr::Name::from_ascii("example.").unwrap();
        let text = "$TTL 60\n@ SOA ns h 1 1 1 1 30\n@ NS ns\nns A 192.0.2.1\na.b A 192.0.2.2\nsub NS ns.sub\nns.sub A 192.0.2.3\n";
        let key = Arc::new(ZoneKey::open(&ZoneKey::generate().unwrap()).unwrap());
        let zone = Zone::new(origin.clone(), master::read(text, &origin).unwrap(), Some(key)).unwrap();
        let lines = lines(&Answers::default(), &zone, 1_700_000_000).unwrap();
        assert_eq!(lines[0].kind, SOA);
        let at = |owner: &str, kind| {
            let owner = name::wire(&name::parse(owner, &origin).unwrap());
            lines.iter().filter(|line| *line.owner == *owner && line.kind == kind).count()
        };
        // The name between has no NSEC, glue no signature, the delegation one for its NSEC alone.
        assert_eq!((at("a.b", NSEC), at("b", NSEC), at("ns.sub", NSEC)), (1, 0, 0));
        assert_eq!((at("ns.sub", RRSIG), at("sub", RRSIG), at("a.b", RRSIG)), (0, 1, 2));
    }
}
