//! A body without its framing.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use wire::{BodyGuard, Fields, Framing, Limits, Part, Refusal};

/// Reads a body out of the bytes that carry it.
#[derive(Debug)]
pub struct Unframed {
    guard: BodyGuard,
    /// Trailer fields as they came.
    trailers: BytesMut,
}

impl Unframed {
    /// A body of which nothing has come.
    #[must_use]
    pub fn new(framing: Framing, limits: &Limits) -> Self {
        Self { guard: BodyGuard::new(framing, limits), trailers: BytesMut::new() }
    }

    /// Whether it has ended.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.guard.is_done()
    }

    /// Takes the next piece out of what came; `None` when there is none in it. What follows the body stays.
    ///
    /// # Errors
    /// When this is no body.
    pub fn take(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, Refusal> {
        let mut piece = None;
        // Behind a piece only its framing is taken, so that the body's end is known with its last piece.
        while !(input.is_empty() || self.guard.is_done() || piece.is_some() && self.guard.is_in_data()) {
            let (part, count) = self.guard.part(input)?;
            match part {
                Part::Framing => input.advance(count),
                Part::Trailers => self.trailers.extend_from_slice(&input.split_to(count)),
                Part::Data => piece = Some(input.split_to(count).freeze()),
            }
        }
        Ok(piece)
    }

    /// The trailer fields (RFC 9110 section 6.5), once it has ended.
    #[must_use]
    pub fn trailers(&self) -> Option<HeaderMap> {
        let mut fields = HeaderMap::new();
        for (name, value) in Fields::of_trailers(&self.trailers) {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                fields.append(name, value);
            }
        }
        (!fields.is_empty()).then_some(fields)
    }
}
