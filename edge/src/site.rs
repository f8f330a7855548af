//! A static deployment's files, as requests look them up.

use std::collections::HashMap;
use std::fmt;

use common::manifest::{self, Encoding, Manifest, Variant};
use http::HeaderValue;

mod answer;
mod conditional;
mod file;
mod multipart;
mod negotiate;
mod path;
mod range;
mod resolve;
mod rules;
mod serve;

pub(crate) use answer::{Answer, Body, Facts, answer, login};
pub(crate) use conditional::names as names_tag;
pub(crate) use negotiate::Accepted;
pub(crate) use path::spellings;
pub(crate) use serve::{Visitor, facts, serve};

use rules::Rules;

/// Bytes of a BLAKE3 hash.
const HASH: usize = 32;
/// Bytes of the hash that an entity tag shows: 128 bits do not collide by chance.
const TAG_HASH: usize = 16;
/// Longest entity tag: two quotes, the hash in hexadecimal, a hyphen and the longest encoding's name.
const TAG: usize = 2 + 2 * TAG_HASH + 1 + 4;

/// Why a manifest can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("its form is version {0}, and this edge reads another")]
    Version(u32),
    #[error("the hash of `{0}` is not 64 hexadecimal digits")]
    Hash(String),
    #[error("the content type of `{0}` can't stand in a header")]
    ContentType(String),
    #[error(transparent)]
    Rule(#[from] rules::Unusable),
}

/// A static deployment.
#[derive(Debug)]
pub(crate) struct Site {
    files: HashMap<Box<str>, Asset>,
    single_page: bool,
    rules: Rules,
    memory: usize,
}

/// One file of a deployment.
#[derive(Debug)]
pub(crate) struct Asset {
    hash: [u8; HASH],
    size: u64,
    content_type: HeaderValue,
    variants: Box<[Variant]>,
    fingerprinted: bool,
}

/// A content in one encoding: what the store keeps under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Form {
    hash: [u8; HASH],
    encoding: Option<Encoding>,
}

impl Site {
    pub(crate) fn new(mut manifest: Manifest) -> Result<Self, Unusable> {
        if manifest.version != manifest::VERSION {
            return Err(Unusable::Version(manifest.version));
        }
        let rules = Rules::take(&mut manifest)?;
        let mut files = HashMap::with_capacity(manifest.files.len());
        // Few content types for many files: each is kept once.
        let mut types: HashMap<String, HeaderValue> = HashMap::new();
        let mut memory = size_of::<Self>() + rules.memory();
        for (path, file) in manifest.files {
            let Some(hash) = from_hex(&file.hash) else { return Err(Unusable::Hash(path)) };
            let content_type = match types.get(&file.content_type) {
                Some(known) => known.clone(),
                None => {
                    let Ok(new) = HeaderValue::from_str(&file.content_type) else {
                        return Err(Unusable::ContentType(path));
                    };
                    types.insert(file.content_type, new.clone());
                    new
                }
            };
            memory += path.len() + size_of::<(Box<str>, Asset)>() + size_of_val(&*file.variants);
            let asset = Asset {
                hash,
                size: file.size,
                content_type,
                variants: file.variants.into(),
                fingerprinted: file.fingerprinted,
            };
            files.insert(path.into(), asset);
        }
        Ok(Self { files, single_page: manifest.single_page, rules, memory })
    }

    fn file(&self, path: &str) -> Option<&Asset> {
        self.files.get(path)
    }

    /// Memory that it takes, in bytes, roughly.
    pub(crate) const fn memory(&self) -> usize {
        self.memory
    }
}

impl Asset {
    const fn form(&self, encoding: Option<Encoding>) -> Form {
        Form { hash: self.hash, encoding }
    }

    fn size_of(&self, encoding: Option<Encoding>) -> u64 {
        let variant = encoding.and_then(|e| self.variants.iter().find(|v| v.encoding == e));
        variant.map_or(self.size, |v| v.size)
    }
}

impl Form {
    /// Its key in the store.
    pub(crate) fn key(&self) -> String {
        manifest::blob_key(&self.hex(), self.encoding)
    }

    /// The content's hash in hexadecimal.
    fn hex(&self) -> String {
        let mut hex = [0; 2 * HASH];
        to_hex(&self.hash, &mut hex);
        String::from_utf8_lossy(&hex).into_owned()
    }

    /// Its strong entity tag.
    pub(crate) fn tag(&self) -> Tag {
        let mut tag = Tag { bytes: [b'"'; TAG], len: 2 + 2 * TAG_HASH };
        to_hex(&self.hash[..TAG_HASH], &mut tag.bytes[1..=2 * TAG_HASH]);
        if let Some(encoding) = self.encoding {
            let name = encoding.token().as_bytes();
            let at = 1 + 2 * TAG_HASH;
            tag.bytes[at] = b'-';
            tag.bytes[at + 1..=at + name.len()].copy_from_slice(name);
            tag.len += 1 + name.len();
        }
        tag
    }
}

/// An entity tag, quotes included.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    bytes: [u8; TAG],
    len: usize,
}

impl Tag {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn value(&self) -> HeaderValue {
        // Quotes, hexadecimal digits and letters always are a header's value.
        HeaderValue::from_bytes(self.as_bytes()).unwrap_or(HeaderValue::from_static("\"\""))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

fn to_hex(bytes: &[u8], to: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(to.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

fn from_hex(text: &str) -> Option<[u8; HASH]> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes = text.as_bytes();
    if bytes.len() != 2 * HASH {
        return None;
    }
    let mut hash = [0; HASH];
    for (byte, pair) in hash.iter_mut().zip(bytes.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::manifest::File;

    /// A site of these paths, whose files are one byte long.
    pub(super) fn site(paths: &[&str]) -> Site {
        let file = |path: &str| File {
            hash: format!("{:064x}", path.len()),
            size: 1,
            content_type: "text/html; charset=utf-8".to_owned(),
            variants: Vec::new(),
            fingerprinted: false,
        };
        let files = paths.iter().map(|p| ((*p).to_owned(), file(p))).collect();
        Site::new(Manifest::of(files)).unwrap()
    }

    impl Form {
        /// A content that is not compressed.
        pub(crate) const fn of(hash: u8) -> Self {
            Self { hash: [hash; HASH], encoding: None }
        }
    }

    #[test]
    fn keys_and_tags_come_from_the_hash_and_the_encoding() {
        let hash = "00ff".repeat(16);
        let form = |encoding| Form { hash: from_hex(&hash).unwrap(), encoding };
        assert_eq!(form(None).key(), manifest::blob_key(&hash, None));
        assert_eq!(form(Some(Encoding::Zstd)).key(), manifest::blob_key(&hash, Some(Encoding::Zstd)));
        assert_eq!(form(None).tag().value(), format!("\"{}\"", &hash[..32]));
        for encoding in Encoding::ALL {
            let expected = format!("\"{}-{}\"", &hash[..32], encoding.token());
            assert_eq!(form(Some(encoding)).tag().value(), expected);
        }
    }

    #[test]
    fn a_manifest_that_can_not_be_served_is_refused_with_the_reason() {
        let with = |version, hash: &str, content_type: &str| {
            let file = File {
                hash: hash.to_owned(),
                size: 0,
                content_type: content_type.to_owned(),
                variants: Vec::new(),
                fingerprinted: false,
            };
            let files = [("/a".to_owned(), file)].into();
            Site::new(Manifest { version, ..Manifest::of(files) }).err()
        };
        let hash = "a".repeat(64);
        assert_eq!(with(1, &hash, "text/plain"), None);
        assert_eq!(with(2, &hash, "text/plain"), Some(Unusable::Version(2)));
        assert_eq!(with(1, "../../etc", "text/plain"), Some(Unusable::Hash("/a".into())));
        assert_eq!(with(1, &"g".repeat(64), "text/plain"), Some(Unusable::Hash("/a".into())));
        assert_eq!(with(1, &hash, "a\r\nb"), Some(Unusable::ContentType("/a".into())));
    }
}
