//! Where a request's body ends, followed as its bytes pass.

use crate::chunked::Chunks;
use crate::head::{Framing, Limits};
use crate::refusal::Refusal;

/// Follows a request's body, so that what comes after it is the next request's.
#[derive(Clone, Debug)]
pub struct BodyGuard {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Length(u64),
    Chunked(Chunks),
    Refused(Refusal),
}

/// What bytes of a body are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sizes and ends of chunks.
    Framing,
    /// What the body is for.
    Data,
    /// Trailer fields, as [`crate::Fields::of_trailers`] reads them once they are together, and the body's last line.
    Trailers,
}

impl BodyGuard {
    /// A body of which nothing has come.
    #[must_use]
    pub const fn new(framing: Framing, limits: &Limits) -> Self {
        let state = match framing {
            Framing::None => State::Length(0),
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunks::new(limits)),
        };
        Self { state }
    }

    /// Whether the body has ended.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        match &self.state {
            State::Length(left) => *left == 0,
            State::Chunked(chunks) => chunks.is_done(),
            State::Refused(_) => false,
        }
    }

    /// Whether the next byte is data.
    #[must_use]
    pub const fn is_in_data(&self) -> bool {
        match &self.state {
            State::Length(left) => *left > 0,
            State::Chunked(chunks) => matches!(chunks.kind(), Part::Data),
            State::Refused(_) => false,
        }
    }

    /// What the next bytes of the body are, and how many of them are that. None are when the body has ended.
    ///
    /// # Errors
    /// As of [`BodyGuard::follow`].
    pub fn part(&mut self, bytes: &[u8]) -> Result<(Part, usize), Refusal> {
        match &mut self.state {
            State::Chunked(chunks) => chunks.part(bytes).inspect_err(|refusal| self.state = State::Refused(*refusal)),
            State::Length(_) | State::Refused(_) => self.follow(bytes).map(|count| (Part::Data, count)),
        }
    }

    /// How many of the next bytes belong to the body: all, unless it ends within them.
    ///
    /// # Errors
    /// When they are no body. All further bytes are refused too, because nobody knows what they belong to.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match &mut self.state {
            State::Length(left) => {
                let count = usize::try_from(*left).map_or(bytes.len(), |l| l.min(bytes.len()));
                *left -= count as u64;
                Ok(count)
            }
            State::Chunked(chunks) => chunks.follow(bytes).inspect_err(|refusal| self.state = State::Refused(*refusal)),
            State::Refused(refusal) => Err(*refusal),
        }
    }
}
