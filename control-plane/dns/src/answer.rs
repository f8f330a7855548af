//! What is answered: RFC 1034 4.3.2 with wildcards by RFC 4592, negative answers by RFC 2308, no recursion.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use crate::{
    alias::Aliases,
    key::{self, NSEC, NXNAME, RRSIG, Signatures},
    query::{Query, Unreadable},
    reply::{Code, Reply, Section, bare},
    tsig::{Exchange, Fault, Key},
    zone::{Node, RecordSet, Zone, parent, within},
};

const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const AAAA: u16 = 28;
const DS: u16 = 43;
pub(crate) const IXFR: u16 = 251;
pub(crate) const AXFR: u16 = 252;
const ANY: u16 = 255;
const ANAME: u16 = 65_305;
/// CNAME records followed within a zone at most; longer chains are mistakes or loops.
const CHAIN_MAX: usize = 8;

type Table = HashMap<Box<[u8]>, Arc<Zone>, foldhash::fast::RandomState>;

/// The zones that are served, and all that answering needs.
#[derive(Debug, Default)]
pub struct Answers {
    zones: ArcSwap<Table>,
    pub(crate) signatures: Signatures,
    /// Addresses behind ALIAS records.
    pub aliases: Aliases,
    keys: Vec<Arc<Key>>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing may be sent.
    Silent,
    /// An answer lies in the buffer.
    Reply,
    /// A transfer is asked for, which only a stream can carry.
    Transfer,
}

impl Answers {
    /// No zones yet; questions that are signed with one of the keys get signed answers.
    pub fn new(keys: Vec<Arc<Key>>) -> Self {
        Self { keys, ..Self::default() }
    }

    /// Verifies a question, when it is signed.
    pub(crate) fn exchange(&self, message: &[u8], query: &Query<'_>, now: u64) -> Result<Option<Exchange>, Fault> {
        query.tsig.map(|at| Exchange::begin(&self.keys, message, at, now)).transpose()
    }

    /// Serves a zone from now on, in place of the one of its name. Queries see the old one or the new one whole.
    pub fn publish(&self, zone: Arc<Zone>) {
        self.zones.rcu(|table| {
            let mut table = Table::clone(table);
            table.insert(zone.apex().into(), Arc::clone(&zone));
            table
        });
    }

    /// Serves the zone of this name, on the wire in lower case, no longer.
    pub fn withdraw(&self, apex: &[u8]) {
        self.zones.rcu(|table| {
            let mut table = Table::clone(table);
            table.remove(apex);
            table
        });
    }

    /// The zone of exactly this name, on the wire in lower case.
    pub fn zone(&self, apex: &[u8]) -> Option<Arc<Zone>> {
        self.zones.load().get(apex).cloned()
    }

    /// All zones that are served.
    pub fn zones(&self) -> Vec<Arc<Zone>> {
        self.zones.load().values().cloned().collect()
    }

    /// Writes the answer to a message behind what is in `out`, at `now` in seconds since 1970.
    pub fn answer(&self, message: &[u8], datagram: bool, now: u64, out: &mut Vec<u8>) -> Outcome {
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(Unreadable::Silent) => return Outcome::Silent,
            Err(Unreadable::Format(id, flags)) => {
                bare(out, id, flags, Code::FormErr);
                return Outcome::Reply;
            }
        };
        if query.operation() != 0 {
            bare(out, query.id, query.flags, Code::NotImp);
            return Outcome::Reply;
        }
        let mut lower = [0; 255];
        let name = &mut lower[..query.name().len()];
        name.copy_from_slice(query.name());
        // Lengths of labels lie below the letters, so the whole can be lowered at once.
        name.make_ascii_lowercase();
        let name = &*name;
        if query.tsig.is_none() {
            return self.reply(&query, name, datagram, now, 0, out);
        }
        let mut exchange = match self.exchange(message, &query, now) {
            Ok(exchange) => exchange,
            Err(fault) => {
                fault.reply(out, &query, now);
                return Outcome::Reply;
            }
        };
        let start = out.len();
        let room = exchange.as_ref().map_or(0, |exchange| exchange.key.record_length());
        let outcome = self.reply(&query, name, datagram, now, room, out);
        if let (Outcome::Reply, Some(exchange)) = (outcome, &mut exchange) {
            exchange.sign(out, start, now);
        }
        outcome
    }

    /// Answers a query for `name`, with so much room behind the answer.
    fn reply(
        &self,
        query: &Query<'_>,
        name: &[u8],
        datagram: bool,
        now: u64,
        room: usize,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let start = out.len();
        let mut reply = Reply::new(out, query, name, datagram);
        reply.reserve(room);
        let refuse = |reply: Reply<'_>, code| {
            reply.finish(query, code, false);
            Outcome::Reply
        };
        if query.edns.is_some_and(|edns| edns.version > 0) {
            return refuse(reply, Code::BadVers);
        }
        if query.class != 1 {
            return refuse(reply, Code::Refused);
        }
        let table = self.zones.load();
        // The DS records of a zone are its parent's.
        let from = if query.kind == DS && name.len() > 1 && table.contains_key(name) {
            find(&table, parent(name)).or_else(|| find(&table, name))
        } else {
            find(&table, name)
        };
        let Some(zone) = from else { return refuse(reply, Code::Refused) };
        match query.kind {
            AXFR | IXFR if !datagram => {
                out.truncate(start);
                return Outcome::Transfer;
            }
            AXFR => return refuse(reply, Code::Refused),
            // One message with our SOA tells a secondary to come over TCP (RFC 1995 2).
            IXFR if name != zone.apex() => return refuse(reply, Code::Refused),
            _ => {}
        }
        let kind = if query.kind == IXFR { SOA } else { query.kind };
        let dnssec = query.edns.is_some_and(|edns| edns.dnssec) && zone.key().is_some();
        let mut walk = Walk { answers: self, zone, dnssec, compact: query.edns.is_some_and(|edns| edns.compact), now };
        let (code, authoritative) = walk.run(&mut reply, name, kind);
        reply.finish(query, code, authoritative);
        Outcome::Reply
    }
}

/// The zone that the name lies in, the deepest of those held.
fn find<'a>(table: &'a Table, name: &[u8]) -> Option<&'a Zone> {
    let mut rest = name;
    loop {
        if let Some(zone) = table.get(rest) {
            return Some(zone);
        }
        if rest.len() <= 1 {
            return None;
        }
        rest = parent(rest);
    }
}

/// Where a name is found in its zone.
enum Place<'a> {
    /// There, or made by a wildcard.
    Here(&'a Node),
    /// Below or at a delegation, whose name this is.
    Delegated(&'a [u8], &'a Node),
    /// Nowhere.
    Nowhere,
}

struct Walk<'a> {
    answers: &'a Answers,
    zone: &'a Zone,
    dnssec: bool,
    compact: bool,
    now: u64,
}

impl<'z> Walk<'z> {
    fn run(&mut self, reply: &mut Reply<'_>, question: &[u8], kind: u16) -> (Code, bool) {
        let mut target: Box<[u8]>;
        let mut name = question;
        for step in 0..=CHAIN_MAX {
            let node = match place(self.zone, name, kind) {
                Place::Here(node) => node,
                Place::Delegated(cut, node) => {
                    self.referral(reply, cut, node);
                    return (Code::NoError, step > 0);
                }
                Place::Nowhere => return (self.negative(reply, name, None), true),
            };
            if let Some(set) = node.set(CNAME).filter(|_| kind != CNAME && kind != ANY && kind != NSEC) {
                self.put(reply, Section::Answer, name, set);
                let next = set.data.first().map_or(&[][..], |data| data);
                if !within(next, self.zone.apex()) {
                    return (Code::NoError, true);
                }
                target = next.into();
                name = &target;
                continue;
            }
            return (self.at(reply, name, node, kind), true);
        }
        // A loop, or a chain too long: what was found so far is told.
        (Code::NoError, true)
    }

    /// Answers at a name that is there and no CNAME.
    fn at(&mut self, reply: &mut Reply<'_>, name: &[u8], node: &Node, kind: u16) -> Code {
        if kind == NSEC && self.dnssec {
            let set = self.denial(name, Some(node));
            self.put(reply, Section::Answer, name, &set);
            return Code::NoError;
        }
        if let (Some(target), A | AAAA) = (node.alias(), kind) {
            let ttl = node.set(ANAME).map_or(0, |set| set.ttl);
            return match self.answers.aliases.addresses(target, kind, ttl, self.now) {
                Some(set) if !set.data.is_empty() => {
                    self.put(reply, Section::Answer, name, &set);
                    Code::NoError
                }
                Some(_) => self.negative(reply, name, Some(node)),
                // Neither an answer nor a denial is known; a resolver asks again or another server.
                None => Code::ServFail,
            };
        }
        let set = match kind {
            // One set instead of all (RFC 8482 4.1): nothing to amplify.
            ANY => node.sets().iter().find(|set| set.kind != ANAME),
            _ => node.set(kind).filter(|_| kind != ANAME),
        };
        let Some(set) = set else { return self.negative(reply, name, Some(node)) };
        self.put(reply, Section::Answer, name, set);
        if matches!(set.kind, NS | 15 | 33) && !reply.full() {
            for data in &set.data {
                let target = match set.kind {
                    15 => data.get(2..),
                    33 => data.get(6..),
                    _ => Some(&**data),
                };
                self.addresses(reply, target.unwrap_or(&[]));
            }
            // Addresses beside an answer only spare a query.
            reply.forgive();
        }
        Code::NoError
    }

    fn addresses(&self, reply: &mut Reply<'_>, target: &[u8]) {
        let Some(node) = self.zone.node(target) else { return };
        for set in [A, AAAA].into_iter().filter_map(|kind| node.set(kind)) {
            for data in &set.data {
                reply.record(Section::Additional, target, set.kind, set.ttl, data);
            }
        }
    }

    fn referral(&self, reply: &mut Reply<'_>, cut: &[u8], node: &Node) {
        let Some(servers) = node.set(NS) else { return };
        for data in &servers.data {
            reply.record(Section::Authority, cut, NS, servers.ttl, data);
        }
        if self.dnssec {
            match node.set(DS) {
                Some(set) => self.put(reply, Section::Authority, cut, set),
                None => {
                    let set = self.denial(cut, Some(node));
                    self.put(reply, Section::Authority, cut, &set);
                }
            }
        }
        // Glue that does not fit is asked for over TCP (RFC 9471): without it the servers cannot be reached.
        for data in &servers.data {
            self.addresses(reply, data);
        }
    }

    /// NODATA at a node, NXDOMAIN without one.
    fn negative(&self, reply: &mut Reply<'_>, name: &[u8], node: Option<&Node>) -> Code {
        let apex = self.zone.apex();
        if let Some(soa) = self.zone.node(apex).and_then(|node| node.set(SOA)) {
            // The SOA lives as long as the denial may be kept (RFC 2308 3).
            let data = soa.data.clone();
            let set = RecordSet { kind: SOA, ttl: self.zone.negative_ttl(), data };
            self.put(reply, Section::Authority, apex, &set);
        }
        if self.dnssec {
            let set = self.denial(name, node);
            self.put(reply, Section::Authority, name, &set);
            if node.is_none() && !self.compact {
                return Code::NoError;
            }
        }
        if node.is_none() { Code::NxDomain } else { Code::NoError }
    }

    fn denial(&self, name: &[u8], node: Option<&Node>) -> RecordSet {
        let mut kinds = vec![RRSIG, NSEC];
        match node {
            None => kinds.push(NXNAME),
            Some(node) => {
                kinds.extend(node.sets().iter().map(|set| set.kind).filter(|kind| *kind != ANAME));
                // At a delegation only its own types are this zone's to name.
                if node.set(NS).is_some() && name != self.zone.apex() {
                    kinds.retain(|kind| !matches!(*kind, A | AAAA));
                }
                if let Some(target) = node.alias() {
                    let there = |kind: &u16| {
                        self.answers
                            .aliases
                            .addresses(target, *kind, 1, self.now)
                            .is_some_and(|set| !set.data.is_empty())
                    };
                    kinds.extend([A, AAAA].into_iter().filter(there));
                }
            }
        }
        key::denial(name, &kinds, self.zone.negative_ttl())
    }

    /// Puts a set in, with its signature when that is wanted.
    fn put(&self, reply: &mut Reply<'_>, section: Section, owner: &[u8], set: &RecordSet) {
        for data in &set.data {
            reply.record(section, owner, set.kind, set.ttl, data);
        }
        let Some(key) = self.zone.key().filter(|_| self.dnssec) else { return };
        match self.answers.signatures.sign(key, self.zone.apex(), owner, set, self.now) {
            Ok(signature) => reply.record(section, owner, RRSIG, set.ttl, &signature),
            Err(error) => tracing::error!(%error, "a record set goes out unsigned"),
        }
    }
}

/// Goes down from the apex, so that a delegation hides what lies below it.
fn place<'a>(zone: &'a Zone, name: &'a [u8], kind: u16) -> Place<'a> {
    // Beginnings of the labels below the apex, the deepest first; a name has at most 127.
    let mut begins = [0u8; 128];
    let mut count = 0;
    let mut at = 0;
    while name.len() - at > zone.apex().len() {
        begins[count] = at as u8;
        count += 1;
        at += 1 + usize::from(name[at]);
    }
    let mut encloser = zone.apex();
    let mut found = zone.node(encloser);
    for begin in begins[..count].iter().rev() {
        let suffix = &name[usize::from(*begin)..];
        let Some(node) = zone.node(suffix) else {
            // The wildcard of the closest name that exists (RFC 4592 3.3.1).
            let mut wildcard = [0; 255];
            let length = encloser.len() + 2;
            if length > wildcard.len() {
                return Place::Nowhere;
            }
            wildcard[..2].copy_from_slice(b"\x01*");
            wildcard[2..length].copy_from_slice(encloser);
            return zone.node(&wildcard[..length]).map_or(Place::Nowhere, Place::Here);
        };
        if node.set(NS).is_some() && !(suffix == name && kind == DS) {
            return Place::Delegated(suffix, node);
        }
        encloser = suffix;
        found = Some(node);
    }
    found.map_or(Place::Nowhere, Place::Here)
}
