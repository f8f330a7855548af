//! Reads every file once: what its content is called, and whether it is text.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::try_join_all;

use crate::PublishError;
use crate::blocking::{self, Flag, Stop};
use crate::tree::Tree;
use crate::walk::Entry;

/// Bytes read at once: large enough for BLAKE3's widest vectors, small enough for the processor's cache.
const CHUNK: usize = 128 << 10;

/// What a file's content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// BLAKE3, 64 hex digits.
    pub hash: String,
    /// Whether it is UTF-8 without a NUL.
    pub text: bool,
    /// Whether it begins as a JSON object or array does.
    pub json: bool,
}

/// Digests of all `entries`, in their order, on all cores.
pub async fn all(tree: &Arc<Tree>, entries: &Arc<Vec<Entry>>, stop: &Stop) -> Result<Vec<Digest>, PublishError> {
    let next = Arc::new(AtomicUsize::new(0));
    let workers = (0..blocking::cores().min(entries.len())).map(|_| {
        let (tree, entries, next, stop) = (tree.clone(), entries.clone(), next.clone(), stop.flag());
        blocking::run(move || {
            let mut buffer = vec![0; CHUNK];
            let mut digests = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(entry) = entries.get(index) else { return Ok(digests) };
                digests.push((index, one(&tree, entry, &mut buffer, &stop)?));
            }
        })
    });
    let mut digests: Vec<(usize, Digest)> = try_join_all(workers).await?.into_iter().flatten().collect();
    digests.sort_unstable_by_key(|(index, _)| *index);
    Ok(digests.into_iter().map(|(_, digest)| digest).collect())
}

fn one(tree: &Tree, entry: &Entry, buffer: &mut [u8], stop: &Flag) -> Result<Digest, PublishError> {
    let unreadable = |e| PublishError::unreadable(&entry.path, e);
    let mut file = tree.file(&entry.source).map_err(unreadable)?;
    let (mut hasher, mut text, mut size) = (blake3::Hasher::new(), Text::default(), 0);
    loop {
        let read = match file.read(buffer) {
            Ok(0) => break,
            Ok(read) => &buffer[..read],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(unreadable(e)),
        };
        stop.check()?;
        size += read.len() as u64;
        // What was listed was counted against the limits; more was not.
        if size > entry.size {
            break;
        }
        hasher.update(read);
        text.push(read);
    }
    if size != entry.size {
        return Err(PublishError::changed(&entry.path));
    }
    Ok(Digest { hash: hasher.finalize().to_hex().to_string(), text: text.is_valid(), json: text.begins_as_json() })
}

/// Looks at content that comes in pieces, which may split a character.
#[derive(Default)]
struct Text {
    invalid: bool,
    /// The begun character at the end of the last piece, at most three bytes.
    pending: Vec<u8>,
    first: Option<u8>,
}

impl Text {
    fn push(&mut self, mut piece: &[u8]) {
        if self.first.is_none() {
            self.first = piece.iter().copied().find(|b| !b.is_ascii_whitespace());
        }
        while let ([next, rest @ ..], false, false) = (piece, self.pending.is_empty(), self.invalid) {
            self.pending.push(*next);
            piece = rest;
            match std::str::from_utf8(&self.pending) {
                Ok(_) => self.pending.clear(),
                Err(e) => self.invalid = e.error_len().is_some(),
            }
        }
        if self.invalid || piece.contains(&0) {
            self.invalid = true;
        } else if let Err(e) = std::str::from_utf8(piece) {
            self.invalid = e.error_len().is_some();
            self.pending = piece[e.valid_up_to()..].iter().copied().take(4).collect();
        }
    }

    const fn is_valid(&self) -> bool {
        !self.invalid && self.pending.is_empty()
    }

    const fn begins_as_json(&self) -> bool {
        matches!(self.first, Some(b'{' | b'['))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_text(pieces: &[&[u8]]) -> bool {
        let mut text = Text::default();
        pieces.iter().for_each(|p| text.push(p));
        text.is_valid()
    }

    #[test]
    fn text_is_recognised_however_it_is_cut() {
        let sample = "aé€😀z".as_bytes();
        for cut in 0..=sample.len() {
            for again in cut..=sample.len() {
                assert!(is_text(&[&sample[..cut], &sample[cut..again], &sample[again..]]), "{cut} {again}");
            }
        }
        assert!(is_text(&[]));
    }

    #[test]
    fn latin_1_and_binary_are_no_text() {
        assert!(!is_text(&[b"caf\xe9"]));
        assert!(!is_text(&[b"caf\xe9 au lait"]));
        assert!(!is_text(&[b"caf\xe9", b" au lait"]));
        assert!(!is_text(&[b"a\0b"]));
        assert!(!is_text(&[b"\xe2\x82", b"\0"]));
        assert!(!is_text(&[b"\xff\xfeh\0i\0"]));
    }
}
