//! Answers put on the wire: bounded in size, owners compressed against the question.

use crate::{
    query::{HEAD, Query},
    zone::parent,
};

/// Bytes of an answer in one datagram at most: passes every path unfragmented (DNS flag day 2020).
pub const DATAGRAM_MAX: u16 = 1232;
/// Bytes of a datagram without EDNS at most (RFC 1035 4.2.1).
const PLAIN_MAX: u16 = 512;
/// Bytes of an OPT record without options.
const OPT_LENGTH: usize = 11;

/// Response codes (RFC 1035 4.1.1, RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// There is an answer, or the name has no record of that type.
    NoError = 0,
    /// The query could not be read.
    FormErr = 1,
    /// The answer cannot be made now.
    ServFail = 2,
    /// There is no such name.
    NxDomain = 3,
    /// The operation is none of ours.
    NotImp = 4,
    /// The zone is not held here, or may not be transferred.
    Refused = 5,
    /// The signature is not good, or its key not known (RFC 8945).
    NotAuth = 9,
    /// An EDNS version above 0.
    BadVers = 16,
}

/// The part of a message that a record goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

/// An answer being written.
pub(crate) struct Reply<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    name: &'a [u8],
    limit: usize,
    counts: [u16; 3],
    full: bool,
    edns: bool,
    dnssec: bool,
    question: usize,
}

impl<'a> Reply<'a> {
    /// Begins an answer behind what is in `out`; `name` is the question's name in lower case.
    pub(crate) fn new(out: &'a mut Vec<u8>, query: &Query<'_>, name: &'a [u8], datagram: bool) -> Self {
        let start = out.len();
        out.extend(query.id.to_be_bytes());
        out.extend([0; HEAD - 2]);
        out.extend(query.question);
        let question = out.len();
        let size = query.edns.map_or(PLAIN_MAX, |edns| edns.size.clamp(PLAIN_MAX, DATAGRAM_MAX));
        let limit = if datagram { size } else { u16::MAX };
        let edns = query.edns.is_some();
        let dnssec = query.edns.is_some_and(|edns| edns.dnssec);
        let limit = usize::from(limit) - if edns { OPT_LENGTH } else { 0 };
        Self { out, start, name, limit, counts: [0; 3], full: false, edns, dnssec, question }
    }

    /// Puts a record in, unless it does not fit. Sections are filled in their order.
    pub(crate) fn record(&mut self, section: Section, owner: &[u8], kind: u16, ttl: u32, data: &[u8]) {
        if self.full {
            return;
        }
        let before = self.out.len();
        self.owner(owner);
        self.out.extend(kind.to_be_bytes());
        self.out.extend([0, 1]);
        self.out.extend(ttl.to_be_bytes());
        self.out.extend((data.len() as u16).to_be_bytes());
        self.out.extend(data);
        if self.out.len() - self.start > self.limit {
            self.out.truncate(before);
            self.full = true;
            return;
        }
        self.counts[section as usize] += 1;
    }

    /// Keeps room for what is put behind the answer.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.limit = self.limit.saturating_sub(bytes);
    }

    /// Whether something did not fit.
    pub(crate) fn full(&self) -> bool {
        self.full
    }

    /// Forgets that something did not fit: what was left out is not needed.
    pub(crate) fn forgive(&mut self) {
        self.full = false;
    }

    fn owner(&mut self, owner: &[u8]) {
        let mut rest = owner;
        while rest.len() > 1 {
            if let Some(at) = suffix(self.name, rest) {
                self.out.extend((0xc000 | (HEAD + at) as u16).to_be_bytes());
                return;
            }
            let next = parent(rest);
            self.out.extend(&rest[..rest.len() - next.len()]);
            rest = next;
        }
        self.out.push(0);
    }

    /// Writes the head, and OPT when it was there in the query. What did not fit empties the answer and asks the other
    /// side to come again over TCP: half a set would be taken for a whole one.
    pub(crate) fn finish(mut self, query: &Query<'_>, code: Code, authoritative: bool) {
        if self.full {
            self.out.truncate(self.question);
            self.counts = [0; 3];
        }
        if self.edns {
            self.counts[2] += 1;
            self.out.extend([0, 0, 41]);
            self.out.extend(DATAGRAM_MAX.to_be_bytes());
            let high = (code as u16 >> 4) as u8;
            self.out.extend([high, 0, if self.dnssec { 0x80 } else { 0 }, 0, 0, 0]);
        }
        let mut flags = 0x8000 | query.flags & 0x7900 | code as u16 & 15;
        if authoritative {
            flags |= 0x0400;
        }
        if self.full {
            flags |= 0x0200;
        }
        let questions = u16::from(self.question > self.start + HEAD);
        let words = [flags, questions, self.counts[0], self.counts[1], self.counts[2]];
        for (index, word) in words.into_iter().enumerate() {
            let at = self.start + 2 + 2 * index;
            self.out[at..at + 2].copy_from_slice(&word.to_be_bytes());
        }
    }
}

/// Where `name` ends with `rest`, at a label's beginning.
fn suffix(name: &[u8], rest: &[u8]) -> Option<usize> {
    let at = name.len().checked_sub(rest.len())?;
    if name[at..] != *rest {
        return None;
    }
    let mut begin = 0;
    while begin < at {
        begin += 1 + usize::from(name[begin]);
    }
    (begin == at).then_some(at)
}

/// An answer that is only its head: the number and flags of the query with a code.
pub(crate) fn bare(out: &mut Vec<u8>, id: u16, flags: u16, code: Code) {
    out.extend(id.to_be_bytes());
    out.extend((0x8000 | flags & 0x7900 | code as u16).to_be_bytes());
    out.extend([0; 8]);
}

/// An answer without records to a query that was read.
pub(crate) fn refusal(out: &mut Vec<u8>, query: &Query<'_>, code: Code) {
    Reply::new(out, query, &[], false).finish(query, code, false);
}

/// An answer that only asks to come over TCP.
pub(crate) fn truncated(out: &mut Vec<u8>, query: &Query<'_>) {
    let mut reply = Reply::new(out, query, &[], true);
    reply.full = true;
    reply.finish(query, Code::NoError, false);
}
