//! Precompressed variants.
//!
//! A variant must be a function of the content alone: two deployments that store the same content at once
//! each write the size they got into their manifests, and the later upload stands. So a level may depend
//! on the content's size, never on the site or on how busy the machine is.

use std::io::{self, Write as _};

use brotli::enc::{BrotliEncoderParams, StandardAlloc};
use bytes::Bytes;
use common::manifest::Encoding;

use crate::PublishError;

/// A variant and its bytes.
pub type Compressed = (Encoding, Bytes);

/// Smallest content that is compressed, bytes. Below, the two header lines that a compressed answer
/// needs eat what it saves, and either form is one packet.
pub const SMALLEST: u64 = 256;
/// Largest content that is compressed, bytes: at about 15 MB/s and core, a second's work. Larger ones are
/// nearly always media and archives, which don't shrink, and ask for ranges.
pub const LARGEST: u64 = 16 << 20;
/// A variant is kept when it saves at least this part of the content (5 %); less is not worth its place in
/// the edges' memory.
const USEFUL_PART: usize = 20;

/// Content from which a slower search pays, bytes.
const LARGE: u64 = 512 << 10;
/// Brotli's quality, for small and for large content. Measured on one core: a 10 KB style sheet takes 0.3 ms
/// at 6 (29.2 %), 3.3 ms at 9 (29.0 %), 11 ms at 11 (27.4 %), where a hundred such files would use up the
/// second that a whole deployment may take. A 3 MB bundle takes 81 ms at 6 (15.7 %), 175 ms at 9 (12.7 %); one
/// of 0.7 MB already takes 790 ms at 11.
const BROTLI: (i32, i32) = (6, 9);
/// Zstandard's level, likewise: the same files take 0.2 ms at 9 (31.1 %) and 84 ms at 12 (14.8 %). Every level
/// up to 19 keeps the window within the 8 MiB that browsers accept (RFC 9659).
const ZSTD: (i32, i32) = (9, 12);
/// gzip's level: 0.15 ms (31.6 %) and 78 ms (21.0 %) with zlib-ng, so the best is fast enough for all.
const GZIP: u32 = 9;
/// What large content is compressed to side by side: brotli takes as long as the other two.
pub const APART: [&[Encoding]; 2] = [&[Encoding::Br], &[Encoding::Zstd, Encoding::Gzip]];
/// Brotli's smallest window, log2 of bytes: at quality 6 this encoder is five to twelve times slower with
/// windows below 18.
const BROTLI_SMALLEST_WINDOW: u32 = 18;
/// Brotli's largest window, log2 of bytes: the largest that every decoder takes.
const BROTLI_LARGEST_WINDOW: u32 = 22;
/// Bytes that brotli takes and gives at once. With its usual 4 KiB it works twice as long on
/// a file of 10 KB.
const BROTLI_BUFFER: usize = 64 << 10;

/// Whether content of this size may have variants.
pub fn fits(size: u64) -> bool {
    (SMALLEST..=LARGEST).contains(&size)
}

/// Whether compressing content of this size is worth several cores.
pub const fn takes_long(size: u64) -> bool {
    size >= LARGE
}

/// Those of the variants that save enough.
pub fn variants(encodings: &[Encoding], content: &[u8]) -> Result<Vec<Compressed>, PublishError> {
    let mut variants = Vec::with_capacity(encodings.len());
    for encoding in encodings {
        let compressed = match encoding {
            Encoding::Br => brotli(content),
            Encoding::Zstd => zstd::bulk::compress(content, level(ZSTD, content)),
            Encoding::Gzip => gzip(content),
        };
        let compressed = compressed
            .map_err(|e| PublishError::Internal(format!("compressing with {} failed: {e}", encoding.token())))?;
        if compressed.len() + content.len() / USEFUL_PART < content.len() {
            variants.push((*encoding, compressed.into()));
        }
    }
    Ok(variants)
}

const fn level((small, large): (i32, i32), content: &[u8]) -> i32 {
    if takes_long(content.len() as u64) { large } else { small }
}

fn brotli(content: &[u8]) -> io::Result<Vec<u8>> {
    let parameters = BrotliEncoderParams {
        quality: level(BROTLI, content),
        lgwin: window(content.len()),
        size_hint: content.len(),
        ..BrotliEncoderParams::default()
    };
    let mut compressed = Vec::with_capacity(content.len() / 2);
    let (mut input, mut output) = (vec![0; BROTLI_BUFFER], vec![0; BROTLI_BUFFER]);
    brotli::BrotliCompressCustomAlloc(
        &mut &*content,
        &mut compressed,
        &mut input,
        &mut output,
        &parameters,
        StandardAlloc::default(),
    )?;
    Ok(compressed)
}

/// A window as large as the content. A larger one takes memory and saves nothing.
fn window(len: usize) -> i32 {
    let needed = usize::BITS - len.leading_zeros();
    needed.clamp(BROTLI_SMALLEST_WINDOW, BROTLI_LARGEST_WINDOW).cast_signed()
}

fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let compressed = Vec::with_capacity(content.len() / 2);
    let mut encoder = flate2::write::GzEncoder::new(compressed, flate2::Compression::new(GZIP));
    encoder.write_all(content)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_does_not_shrink_has_no_variant() {
        // BLAKE3's output stream is as good as random.
        let mut noise = vec![0; 4096];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(variants(&Encoding::ALL, &noise).unwrap(), []);
    }

    #[test]
    fn the_same_content_gives_the_same_variants() {
        for times in [40, 40_000] {
            let content = "the same words again and again, ".repeat(times);
            let first = variants(&Encoding::ALL, content.as_bytes()).unwrap();
            assert_eq!(first.len(), 3);
            assert_eq!(variants(&Encoding::ALL, content.as_bytes()).unwrap(), first);
        }
    }
}
