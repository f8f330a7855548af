//! Transaction signatures (RFC 8945): a message is from one who shares a key with us, and nobody changed it.

use std::sync::Arc;

use aws_lc_rs::hmac;

use crate::{
    query::{Query, skip_name, word},
    reply::{self, Code},
};

mod key;

pub use key::{Algorithm, Key, KeyFileError};

/// The TSIG record's type.
pub(crate) const TSIG: u16 = 250;
/// The class of a TSIG record.
const ANY: u16 = 255;
/// Seconds that clocks may differ by (RFC 8945 10 recommends five minutes).
const FUDGE: u16 = 300;
/// Error codes within a TSIG record (RFC 8945 3).
const BADSIG: u16 = 16;
const BADKEY: u16 = 17;
const BADTIME: u16 = 18;
const BADTRUNC: u16 = 22;

/// Time and fudge as they are digested and sent.
fn timers(time: u64) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..6].copy_from_slice(&time.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&FUDGE.to_be_bytes());
    bytes
}

fn append(
    message: &mut Vec<u8>,
    start: usize,
    (name, algorithm): (&[u8], &[u8]),
    mac: &[u8],
    time: u64,
    error: u16,
    other: &[u8],
) {
    let id = [message[start], message[start + 1]];
    message.extend(name);
    message.extend(TSIG.to_be_bytes());
    message.extend(ANY.to_be_bytes());
    message.extend([0; 4]);
    message.extend(((algorithm.len() + 16 + mac.len() + other.len()) as u16).to_be_bytes());
    message.extend(algorithm);
    message.extend(timers(time));
    message.extend((mac.len() as u16).to_be_bytes());
    message.extend(mac);
    message.extend(id);
    message.extend(error.to_be_bytes());
    message.extend((other.len() as u16).to_be_bytes());
    message.extend(other);
    let count = u16::from_be_bytes([message[start + 10], message[start + 11]]).wrapping_add(1);
    message[start + 10..start + 12].copy_from_slice(&count.to_be_bytes());
}

/// A TSIG record as it came.
struct Record<'a> {
    name: &'a [u8],
    algorithm: &'a [u8],
    time: u64,
    fudge: u16,
    mac: &'a [u8],
    original: [u8; 2],
    error: u16,
    other: &'a [u8],
}

fn record(message: &[u8], at: usize) -> Option<Record<'_>> {
    let end = skip_name(message, at)?;
    let length = usize::from(word(message, end + 8)?);
    let data = message.get(end + 10..end + 10 + length)?;
    if word(message, end + 2)? != ANY || end + 10 + length != message.len() {
        return None;
    }
    let algorithm = skip_name(data, 0)?;
    let mut time = [0; 8];
    time[2..].copy_from_slice(data.get(algorithm..algorithm + 6)?);
    let size = usize::from(word(data, algorithm + 8)?);
    let after = algorithm + 10 + size;
    let other = usize::from(word(data, after + 4)?);
    Some(Record {
        name: message.get(at..end)?,
        algorithm: data.get(..algorithm)?,
        time: u64::from_be_bytes(time),
        fudge: word(data, algorithm + 6)?,
        mac: data.get(algorithm + 10..after)?,
        original: data.get(after..after + 2)?.try_into().ok()?,
        error: word(data, after + 2)?,
        other: data.get(after + 6..after + 6 + other).filter(|_| after + 6 + other == data.len())?,
    })
}

/// A signed exchange: signs the answers to a question that was verified.
pub(crate) struct Exchange {
    pub(crate) key: Arc<Key>,
    mac: Vec<u8>,
    first: bool,
}

/// Why a question is not answered as it would be (RFC 8945 5.2).
pub(crate) enum Fault {
    Format,
    /// Error, the key when it is known, its name and algorithm as they came, the question's digest and time.
    Wrong {
        error: u16,
        key: Option<Arc<Key>>,
        name: Vec<u8>,
        algorithm: Vec<u8>,
        mac: Vec<u8>,
        time: u64,
    },
}

impl Exchange {
    /// Verifies the question whose TSIG record begins at `at`.
    pub(crate) fn begin(keys: &[Arc<Key>], message: &[u8], at: usize, now: u64) -> Result<Self, Fault> {
        let record = record(message, at).ok_or(Fault::Format)?;
        let mut name = record.name.to_vec();
        name.make_ascii_lowercase();
        let mut algorithm = record.algorithm.to_vec();
        algorithm.make_ascii_lowercase();
        let key = keys.iter().find(|key| *key.name == *name && key.algorithm.wire() == algorithm);
        let wrong = |error| Fault::Wrong {
            error,
            key: key.cloned(),
            name: name.clone(),
            algorithm: algorithm.clone(),
            mac: record.mac.to_vec(),
            time: record.time,
        };
        let Some(key) = key else { return Err(wrong(BADKEY)) };
        let full = key.hmac.algorithm().digest_algorithm().output_len();
        if record.mac.len() > full || record.mac.len() < full / 2 {
            return Err(Fault::Format);
        }
        let mut head = message.get(..crate::query::HEAD).ok_or(Fault::Format)?.to_vec();
        head[..2].copy_from_slice(&record.original);
        let additionals = word(message, 10).and_then(|count| count.checked_sub(1)).ok_or(Fault::Format)?;
        head[10..].copy_from_slice(&additionals.to_be_bytes());
        let body = message.get(crate::query::HEAD..at).ok_or(Fault::Format)?;
        let mut variables = key.variables(record.time, record.error, record.other);
        // The other side's own fudge is digested.
        let fudge = key.name.len() + 6 + key.algorithm.wire().len() + 6;
        variables[fudge..fudge + 2].copy_from_slice(&record.fudge.to_be_bytes());
        let signed = [&head, body, &variables].concat();
        if record.mac.len() < full {
            // Shortened digests are allowed to be refused (RFC 8945 5.2.2.1), once they are right.
            let right = key.mac(&[&signed]);
            let same =
                aws_lc_rs::constant_time::verify_slices_are_equal(&right.as_ref()[..record.mac.len()], record.mac);
            return Err(wrong(if same.is_ok() { BADTRUNC } else { BADSIG }));
        }
        if hmac::verify(&key.hmac, &signed, record.mac).is_err() {
            return Err(wrong(BADSIG));
        }
        if now.abs_diff(record.time) > u64::from(record.fudge) {
            return Err(wrong(BADTIME));
        }
        Ok(Self { key: Arc::clone(key), mac: record.mac.to_vec(), first: true })
    }

    /// Signs the next message of the answer, which begins at `start`, and appends the record.
    pub(crate) fn sign(&mut self, message: &mut Vec<u8>, start: usize, now: u64) {
        let length = (self.mac.len() as u16).to_be_bytes();
        // Later messages of a transfer are digested with the time alone (RFC 8945 5.3.1).
        let rest = if self.first { self.key.variables(now, 0, &[]) } else { timers(now).to_vec() };
        let mac = self.key.mac(&[&length, &self.mac, &message[start..], &rest]);
        self.first = false;
        self.mac = mac.as_ref().to_vec();
        self.key.append(message, start, &self.mac, now, 0, &[]);
    }
}

impl Fault {
    /// Writes the answer that says what is wrong.
    pub(crate) fn reply(&self, out: &mut Vec<u8>, query: &Query<'_>, now: u64) {
        let start = out.len();
        let Self::Wrong { error, key, name, algorithm, mac, time } = self else {
            reply::bare(out, query.id, query.flags, Code::FormErr);
            return;
        };
        reply::refusal(out, query, Code::NotAuth);
        match (*error, key) {
            // Signed, and with our time, so that the other side can see how wrong its clock is (RFC 8945 5.2.3).
            (BADTIME, Some(key)) => {
                let other = &now.to_be_bytes()[2..];
                let length = (mac.len() as u16).to_be_bytes();
                let variables = key.variables(*time, BADTIME, other);
                let mac = key.mac(&[&length, mac, &out[start..], &variables]);
                key.append(out, start, mac.as_ref(), *time, BADTIME, other);
            }
            (error, _) => append(out, start, (name, algorithm), &[], now, error, &[]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    pub const FILE: &str = "# made by tsig-keygen\nkey \"secondary\" {\n\talgorithm hmac-sha256;\n\tsecret \"aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ=\";\n};\n";

    #[test]
    fn a_question_is_good_with_its_key_unchanged_and_in_time_only() {
        let keys = Key::read(FILE).unwrap();
        let plain = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\xfc\0\x01".to_vec();
        let mut message = plain.clone();
        keys[0].sign_question(&mut message, 1_000_000);
        let verdict = |message: &[u8], keys: &[Arc<Key>], now| match Exchange::begin(keys, message, plain.len(), now) {
            Ok(_) => 0,
            Err(Fault::Format) => 1,
            Err(Fault::Wrong { error, .. }) => error,
        };
        assert_eq!(verdict(&message, &keys, 1_000_300), 0);
        assert_eq!(verdict(&message, &keys, 1_000_301), BADTIME);
        assert_eq!(verdict(&message, &[], 1_000_000), BADKEY);
        for at in [2, 14, plain.len() - 1, message.len() - 20] {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert_ne!(verdict(&changed, &keys, 1_000_000), 0, "byte {at}");
        }
        for length in plain.len()..message.len() {
            assert_eq!(verdict(&message[..length], &keys, 1_000_000), 1);
        }
    }
}
