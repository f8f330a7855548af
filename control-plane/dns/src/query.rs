//! Queries read strictly: one question, no compression in it, at most one OPT; anything else is a format error.

use crate::tsig;

/// Bytes of a message's head (RFC 1035 4.1.1).
pub(crate) const HEAD: usize = 12;
/// The OPT pseudo record (RFC 6891).
const OPT: u16 = 41;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The message's number.
    pub id: u16,
    /// The second word of the head, as it came.
    pub flags: u16,
    /// The question as it came, name, type and class; empty when there is none to repeat.
    pub question: &'a [u8],
    /// Type asked for.
    pub kind: u16,
    /// Class asked in.
    pub class: u16,
    /// What EDNS says, when it is spoken.
    pub edns: Option<Edns>,
    /// The serial of the SOA that an IXFR query carries.
    pub serial: Option<u32>,
    /// Where its TSIG record begins (RFC 8945).
    pub tsig: Option<usize>,
}

/// The OPT record of a query (RFC 6891 6.1.3); its options are skipped, as those unknown must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// Bytes that the asker's side takes in one datagram.
    pub size: u16,
    /// Only 0 is known.
    pub version: u8,
    /// DNSSEC records are wanted (RFC 3225).
    pub dnssec: bool,
    /// Compact answers are understood: a denied name may be answered with NXDOMAIN (RFC 9824 5).
    pub compact: bool,
}

/// A message that is no well-formed query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// Nothing may be answered: no head, or an answer itself.
    Silent,
    /// FORMERR for this number and flags.
    Format(u16, u16),
}

impl<'a> Query<'a> {
    /// The name as it came, on the wire.
    pub fn name(&self) -> &'a [u8] {
        self.question.get(..self.question.len().saturating_sub(4)).unwrap_or(&[])
    }

    /// The operation (RFC 1035 4.1.1): 0 for a query, 4 for NOTIFY.
    pub fn operation(&self) -> u16 {
        self.flags >> 11 & 15
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is no query, or not a well-formed one.
    pub fn read(message: &'a [u8]) -> Result<Self, Unreadable> {
        let word = |at| word(message, at).ok_or(Unreadable::Silent);
        let (id, flags) = (word(0)?, word(2)?);
        let (questions, answers, authorities, additionals) = (word(4)?, word(6)?, word(8)?, word(10)?);
        if flags & 0x8000 != 0 {
            return Err(Unreadable::Silent);
        }
        let wrong = Unreadable::Format(id, flags);
        let mut query = Self { id, flags, question: &[], kind: 0, class: 0, edns: None, serial: None, tsig: None };
        if query.operation() != 0 {
            // Answered by NOTIMP without being read further.
            return Ok(query);
        }
        if questions != 1 || answers != 0 || authorities > 1 || additionals > 2 {
            return Err(wrong);
        }
        query.read_rest(message, authorities, additionals).ok_or(wrong)?;
        Ok(query)
    }

    fn read_rest(&mut self, message: &'a [u8], authorities: u16, additionals: u16) -> Option<()> {
        let mut at = HEAD;
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1 + length;
            if length > crate::name::LABEL_MAX || at - HEAD > crate::name::NAME_MAX {
                return None;
            }
            if length == 0 {
                break;
            }
        }
        self.question = message.get(HEAD..at + 4)?;
        self.kind = word(message, at)?;
        self.class = word(message, at + 2)?;
        at += 4;
        for index in 0..authorities + additionals {
            let root = message.get(at) == Some(&0);
            let begin = at;
            at = skip_name(message, at)?;
            let kind = word(message, at)?;
            let length = usize::from(word(message, at + 8)?);
            let data = message.get(at + 10..at + 10 + length)?;
            if kind == OPT {
                if !root || self.edns.is_some() || index < authorities {
                    return None;
                }
                let flags = word(message, at + 6)?;
                self.edns = Some(Edns {
                    size: word(message, at + 2)?,
                    version: message[at + 5],
                    dnssec: flags & 0x8000 != 0,
                    compact: flags & 0x4000 != 0,
                });
            } else if kind == tsig::TSIG {
                // The last record of all, or the message is none (RFC 8945 5.1).
                if index < authorities || index + 1 != authorities + additionals {
                    return None;
                }
                self.tsig = Some(begin);
            } else if kind == 6 && index < authorities {
                let serial = data.len().checked_sub(20)?;
                self.serial = Some(u32::from_be_bytes(data.get(serial..serial + 4)?.try_into().ok()?));
            }
            at += 10 + length;
        }
        Some(())
    }
}

pub(crate) fn word(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}
