//! JSON documents of images: written one way, named by their digest.

use std::str::FromStr as _;

use oci_spec::image::{Descriptor, MediaType, Sha256Digest};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Bytes and the descriptor that names them.
#[derive(Clone, Debug)]
pub struct Document {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their type, size and digest.
    pub descriptor: Descriptor,
}

impl Document {
    /// Bytes as they are.
    ///
    /// # Errors
    /// Never in practice: a digest that was just made is one.
    pub fn new(kind: MediaType, bytes: Vec<u8>) -> std::io::Result<Self> {
        let descriptor = descriptor(kind, bytes.len() as u64, &sha256(&bytes))?;
        Ok(Self { bytes, descriptor })
    }

    /// A value as JSON, keys sorted: maps of the specification's types have no order of their own.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn json(kind: MediaType, value: &impl Serialize) -> std::io::Result<Self> {
        Self::new(kind, serde_json::to_vec(&sorted(serde_json::to_value(value)?))?)
    }

    /// The digest, `sha256:…`.
    #[must_use]
    pub fn digest(&self) -> String {
        self.descriptor.digest().to_string()
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

pub(super) fn descriptor(kind: MediaType, size: u64, digest: &str) -> std::io::Result<Descriptor> {
    let digest = Sha256Digest::from_str(digest).map_err(std::io::Error::other)?;
    Ok(Descriptor::new(kind, size, digest))
}

/// The SHA-256 of some bytes in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn maps_are_written_in_one_order() {
        let map = |order: &[&str]| order.iter().map(|key| ((*key).to_owned(), 1)).collect::<HashMap<_, _>>();
        let one = Document::json(MediaType::EmptyJSON, &map(&["b", "a", "c"])).unwrap();
        assert_eq!(one.bytes, br#"{"a":1,"b":1,"c":1}"#);
        assert_eq!(one.digest(), Document::json(MediaType::EmptyJSON, &map(&["c", "b", "a"])).unwrap().digest());
    }
}
