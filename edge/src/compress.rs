//! Compression of what apps send uncompressed, on its way to the visitor.
//!
//! Only text that is long enough to gain from it, and never where the length of the compressed answer could tell a
//! secret (BREACH, CVE-2013-3587): answers that set cookies, that are made for one visitor, or that a visitor
//! authorised. Streams of events stay as they are; other answers of unknown length are flushed piece by piece, so
//! that a visitor sees each as soon as the app sends it.

use std::io::{self, Write as _};

use bytes::Bytes;
use common::manifest::Encoding;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};

mod choice;

pub(crate) use choice::{Choice, Facts, choose, facts};

/// Compression levels: the quick ones, because every visitor waits for it anew. Beyond them, the time doubles for a
/// few per cent.
const GZIP: u32 = 5;
const BROTLI: u32 = 4;
const ZSTD: i32 = 3;
/// Brotli's window is two to this power, in bytes: 256 KiB for each answer under way.
const BROTLI_WINDOW: u32 = 18;
/// The field on which a compressed answer depends.
pub(crate) const VARY: HeaderValue = HeaderValue::from_static("Accept-Encoding");
/// Brotli's input buffer in bytes.
const BROTLI_BUFFER: usize = 4096;

/// Changes the fields of an answer that will be compressed. Its length becomes unknown.
pub(crate) fn rewrite(headers: &mut HeaderMap, encoding: Encoding) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.token()));
    for name in [header::CONTENT_LENGTH, header::ACCEPT_RANGES] {
        headers.remove(name);
    }
    for name in ["content-md5", "content-digest", "digest"] {
        headers.remove(name);
    }
    // Two forms of different bytes can't share a strong validator (RFC 9110 section 8.8.1).
    let weak = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    if let Some(weak) = weak.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok()) {
        headers.insert(header::ETAG, weak);
    }
}

/// Says that an answer depends on `Accept-Encoding`.
pub(crate) fn vary(headers: &mut HeaderMap) {
    if !headers.get_all(header::VARY).iter().any(|value| names_coding(value.as_bytes())) {
        headers.append(header::VARY, VARY);
    }
}

/// Whether a value of `Vary` says so already.
pub(crate) fn names_coding(vary: &[u8]) -> bool {
    let mut names = vary.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    names.any(|n| n == b"*" || n.eq_ignore_ascii_case(b"accept-encoding"))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// An answer on its way through a compressor.
pub(crate) struct Compressor {
    encoder: Option<Encoder>,
    /// Bytes of the uncompressed answer that are still to come, when its length is known.
    left: Option<u64>,
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    /// For an answer with these fields, which must be the app's own.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn new(encoding: Encoding, response: &HeaderMap) -> io::Result<Self> {
        let out = Vec::new();
        let encoder = match encoding {
            Encoding::Gzip => Encoder::Gzip(GzEncoder::new(out, flate2::Compression::new(GZIP))),
            Encoding::Br => {
                Encoder::Brotli(Box::new(brotli::CompressorWriter::new(out, BROTLI_BUFFER, BROTLI, BROTLI_WINDOW)))
            }
            Encoding::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(out, ZSTD)?),
        };
        Ok(Self { encoder: Some(encoder), left: content_length(response) })
    }

    /// Compresses a piece. What comes out may be empty, unless it is the last.
    ///
    /// # Errors
    /// When the compressor fails; the answer can only be broken off then.
    pub(crate) fn push(&mut self, piece: &[u8], is_last: bool) -> io::Result<Bytes> {
        let Some(encoder) = &mut self.encoder else { return Ok(Bytes::new()) };
        encoder.write_all(piece)?;
        let is_last = match &mut self.left {
            Some(left) => {
                *left = left.saturating_sub(piece.len() as u64);
                is_last || *left == 0
            }
            None => is_last,
        };
        if !is_last {
            // An answer whose length is known was written at once; of others, each piece may be waited for.
            if self.left.is_none() {
                encoder.flush()?;
            }
            return Ok(Bytes::from(encoder.take()));
        }
        let Some(encoder) = self.encoder.take() else { return Ok(Bytes::new()) };
        encoder.finish().map(Bytes::from)
    }
}

impl Encoder {
    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(e) => e.write_all(piece),
            Self::Brotli(e) => e.write_all(piece),
            Self::Zstd(e) => e.write_all(piece),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(e) => e.flush(),
            Self::Brotli(e) => e.flush(),
            Self::Zstd(e) => e.flush(),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Gzip(e) => e.get_mut(),
            Self::Brotli(e) => e.get_mut(),
            Self::Zstd(e) => e.get_mut(),
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(e) => e.finish(),
            Self::Brotli(e) => Ok(e.into_inner()),
            Self::Zstd(e) => e.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read as _;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_fields_tell_of_the_compressed_form() {
        let mut fields = headers(&[("etag", "\"v1\""), ("content-length", "9"), ("accept-ranges", "bytes")]);
        rewrite(&mut fields, Encoding::Br);
        vary(&mut fields);
        vary(&mut fields);
        assert_eq!(fields, headers(&[("etag", "W/\"v1\""), ("content-encoding", "br"), ("vary", "Accept-Encoding")]));
        let mut any = headers(&[("vary", "*")]);
        vary(&mut any);
        assert_eq!(any, headers(&[("vary", "*")]));
    }

    fn expand(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        // What is not ended yet is an error after what could be read.
        let _ = match encoding {
            Encoding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut text),
            Encoding::Br => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut text),
            Encoding::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut text),
        };
        text
    }

    #[test]
    fn each_piece_of_unknown_length_can_be_read_at_once_and_the_whole_in_the_end() {
        for encoding in Encoding::ALL {
            let mut compressor = Compressor::new(encoding, &HeaderMap::new()).unwrap();
            let mut sent = Vec::new();
            for n in 1..=3 {
                sent.extend(compressor.push(b"piece ", false).unwrap());
                assert_eq!(expand(encoding, &sent), b"piece ".repeat(n), "{encoding:?}");
            }
            sent.extend(compressor.push(b"", true).unwrap());
            assert_eq!(expand(encoding, &sent), b"piece piece piece ");
        }
    }

    #[test]
    fn an_answer_of_known_length_ends_with_its_last_byte() {
        for encoding in Encoding::ALL {
            let mut compressor = Compressor::new(encoding, &headers(&[("content-length", "20000")])).unwrap();
            let mut sent = compressor.push(&[b'a'; 15_000], false).unwrap().to_vec();
            sent.extend(compressor.push(&[b'a'; 5_000], false).unwrap());
            assert!(sent.len() < 200);
            assert_eq!(expand(encoding, &sent), [b'a'; 20_000], "{encoding:?}");
            assert!(compressor.push(b"", true).unwrap().is_empty());
        }
    }
}
