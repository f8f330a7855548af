//! The body of an answer, piece by piece.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::fetched::FetchError;
use crate::fill::Reader;

/// The body of an answer.
#[derive(Debug)]
pub struct Body(Source);

#[derive(Debug)]
enum Source {
    Kept {
        pieces: Arc<[Bytes]>,
        next: usize,
        /// Bytes before the part.
        skip: u64,
        /// Bytes of the part.
        left: u64,
    },
    Growing(Reader),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self(Source::Kept { pieces: Arc::default(), next: 0, skip: 0, left: 0 })
    }

    pub(crate) fn kept(pieces: &Arc<[Bytes]>, part: Range<u64>) -> Self {
        let left = part.end - part.start;
        Self(Source::Kept { pieces: Arc::clone(pieces), next: 0, skip: part.start, left })
    }

    pub(crate) const fn growing(reader: Reader) -> Self {
        Self(Source::Growing(reader))
    }

    /// Whether it is known that nothing follows.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.0, Source::Kept { left: 0, .. })
    }

    /// The next piece; `None` after the last one.
    ///
    /// # Errors
    /// When the app breaks off: what was read is not the whole answer.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        match &mut self.0 {
            Source::Growing(reader) => reader.next().await,
            Source::Kept { pieces, next, skip, left } => {
                while *left > 0
                    && let Some(piece) = pieces.get(*next)
                {
                    *next += 1;
                    let length = piece.len() as u64;
                    if *skip >= length {
                        *skip -= length;
                        continue;
                    }
                    // Both are at most the piece's length.
                    let (start, end) = (*skip as usize, length.min(*skip + *left) as usize);
                    *skip = 0;
                    *left -= (end - start) as u64;
                    return Ok(Some(piece.slice(start..end)));
                }
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_part_is_cut_out_of_its_pieces() {
        let pieces: Arc<[Bytes]> = ["abc", "de", "", "fghij"].map(|text| Bytes::from_static(text.as_bytes())).into();
        let all = "abcdefghij";
        for start in 0..=all.len() {
            for end in start..=all.len() {
                let mut body = Body::kept(&pieces, start as u64..end as u64);
                let mut read = Vec::new();
                while let Some(piece) = body.next().await.unwrap() {
                    read.extend_from_slice(&piece);
                }
                assert_eq!(read, &all.as_bytes()[start..end], "{start}..{end}");
                assert!(body.is_done());
            }
        }
    }
}
