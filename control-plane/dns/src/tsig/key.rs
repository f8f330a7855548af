//! Keys that are shared with secondaries, and what is digested with them.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use hickory_proto::rr::Name;
use thiserror::Error;

use super::{ANY, append, timers};
use crate::name::{self, NameError};

/// Bytes of a shared secret at least: half of the shorter digest; RFC 8945 5 wants no less than the algorithm's strength.
const SECRET_MIN: usize = 16;
/// Keys in a file at most.
const KEYS_MAX: usize = 1000;

/// How messages are digested. MD5 and SHA-1 are not offered (RFC 8945 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Sha256,
    /// HMAC with SHA-512.
    Sha512,
}

impl Algorithm {
    /// Its name on the wire.
    pub(super) const fn wire(self) -> &'static [u8] {
        match self {
            Self::Sha256 => b"\x0bhmac-sha256\0",
            Self::Sha512 => b"\x0bhmac-sha512\0",
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.trim_end_matches('.').to_ascii_lowercase().as_str() {
            "hmac-sha256" => Some(Self::Sha256),
            "hmac-sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// A key that is shared with a secondary.
pub struct Key {
    pub(super) name: Box<[u8]>,
    pub(super) algorithm: Algorithm,
    pub(super) hmac: hmac::Key,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What is wrong in a file of keys.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyFileError {
    /// A key's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Not the form of `tsig-keygen`.
    #[error("this is no file of keys near \"{0}\": make one with `tsig-keygen NAME`")]
    Form(String),
    /// An algorithm that is not offered.
    #[error("key {name}: {algorithm} is not offered: use hmac-sha256 or hmac-sha512")]
    Algorithm {
        /// The key.
        name: String,
        /// What was written.
        algorithm: String,
    },
    /// No base64, or less than [`SECRET_MIN`].
    #[error("key {0}: its secret is no base64 of at least 16 bytes: make the key anew with `tsig-keygen`")]
    Secret(String),
    /// Above [`KEYS_MAX`].
    #[error("there are more than 1000 keys: secondaries of one operator can share one")]
    Many,
}

impl Key {
    /// A key of this name and secret.
    ///
    /// # Errors
    /// When the secret is shorter than 16 bytes.
    pub fn new(name: &Name, algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyFileError> {
        if secret.len() < SECRET_MIN {
            return Err(KeyFileError::Secret(name::text(name)));
        }
        let kind = match algorithm {
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        };
        Ok(Self { name: name::wire(name), algorithm, hmac: hmac::Key::new(kind, secret) })
    }

    /// The keys of a file in the form that BIND's `tsig-keygen` writes:
    /// `key "name" { algorithm hmac-sha256; secret "base64"; };`, any number of them.
    ///
    /// # Errors
    /// What is wrong in it.
    pub fn read(text: &str) -> Result<Vec<Arc<Self>>, KeyFileError> {
        let lines = text.lines().map(|line| line.split_once('#').map_or(line, |(before, _)| before));
        let plain: String = lines.flat_map(|line| [line, "\n"]).collect::<String>().replace(['"', ';', '{', '}'], " ");
        let mut words = plain.split_whitespace();
        let mut keys = Vec::new();
        while let Some(first) = words.next() {
            let mut next = || words.next().unwrap_or_default();
            let (key, algorithm_word, algorithm, secret_word, secret) = (next(), next(), next(), next(), next());
            if (first, algorithm_word, secret_word) != ("key", "algorithm", "secret") {
                return Err(KeyFileError::Form(first.to_owned()));
            }
            let kind = Algorithm::read(algorithm)
                .ok_or_else(|| KeyFileError::Algorithm { name: key.to_owned(), algorithm: algorithm.to_owned() })?;
            let secret = STANDARD.decode(secret).map_err(|_| KeyFileError::Secret(key.to_owned()))?;
            keys.push(Arc::new(Self::new(&name::parse(key, &Name::root())?, kind, &secret)?));
            if keys.len() > KEYS_MAX {
                return Err(KeyFileError::Many);
            }
        }
        Ok(keys)
    }

    /// The key's name as people write it, for settings that name one.
    pub fn is_called(&self, name: &Name) -> bool {
        *self.name == *name::wire(name)
    }

    /// Bytes of a whole TSIG record of this key, with room for the other side's time.
    pub(crate) fn record_length(&self) -> usize {
        let mac = self.hmac.algorithm().digest_algorithm().output_len();
        self.name.len() + 10 + self.algorithm.wire().len() + 16 + mac + 6
    }

    /// Signs a question of ours, such as a notice, and appends the record.
    pub(crate) fn sign_question(&self, message: &mut Vec<u8>, now: u64) {
        let variables = self.variables(now, 0, &[]);
        let mac = self.mac(&[message, &variables]);
        self.append(message, 0, mac.as_ref(), now, 0, &[]);
    }

    pub(super) fn mac(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.hmac);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }

    /// What is digested beside the message (RFC 8945 4.3.3).
    pub(super) fn variables(&self, time: u64, error: u16, other: &[u8]) -> Vec<u8> {
        let mut bytes = self.name.to_vec();
        bytes.extend(ANY.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.algorithm.wire());
        bytes.extend(timers(time));
        bytes.extend(error.to_be_bytes());
        bytes.extend((other.len() as u16).to_be_bytes());
        bytes.extend(other);
        bytes
    }

    /// Puts a TSIG record behind the message that begins at `start`.
    pub(super) fn append(&self, message: &mut Vec<u8>, start: usize, mac: &[u8], time: u64, error: u16, other: &[u8]) {
        append(message, start, (&self.name, self.algorithm.wire()), mac, time, error, other);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tsig::tests::FILE;

    #[test]
    fn a_file_of_keys_is_read_as_it_is_made_and_refused_with_what_to_do() {
        let keys = Key::read(FILE).unwrap();
        assert_eq!(keys.len(), 1);
        assert!(keys[0].is_called(&Name::from_ascii("Secondary.").unwrap()));
        assert!(Key::read("").unwrap().is_empty());
        for (from, to, part) in [
            ("sha256", "md5", "hmac-sha512"),
            ("aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ=", "aGVs", "base64"),
            ("algorithm", "algo", "tsig-keygen"),
        ] {
            let error = Key::read(&FILE.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
