//! A body in chunks (RFC 9112 section 7.1).

use crate::body::Part;
use crate::head::Limits;
use crate::refusal::{self, Refusal};
use crate::scan;

/// Most digits of a chunk's size: as many as 64 bits have.
const SIZE_DIGITS: u8 = 16;
/// Longest name among [`FORBIDDEN`], in bytes.
const NAME: usize = 19;
/// Fields that change how a message is read, or who sent it, and so never come after it (RFC 9110 section 6.5.1).
const FORBIDDEN: [&[u8]; 26] = [
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"keep-alive",
    b"max-forwards",
    b"pragma",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// Follows a body in chunks.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    state: State,
    /// Bytes of extensions that may still come.
    extensions: usize,
    /// Bytes of trailer fields that may still come.
    trailers: usize,
}

#[derive(Clone, Debug)]
enum State {
    /// Within the digits of a size.
    Size {
        size: u64,
        digits: u8,
    },
    /// Within the extensions after a size.
    Extensions {
        size: u64,
    },
    /// After the CR of a size's line.
    SizeEnd {
        size: u64,
    },
    /// Within a chunk's bytes.
    Data {
        left: u64,
    },
    /// After a chunk's last byte.
    DataCr,
    /// After the CR after a chunk.
    DataLf,
    /// At the beginning of a line after the last chunk.
    TrailerStart,
    /// Within a trailer field's name.
    TrailerName(Name),
    /// Within its value.
    TrailerValue,
    /// After the CR of its line.
    TrailerLf,
    /// After the CR of the body's last line.
    LastLf,
    Done,
}

impl Chunks {
    pub(crate) const fn new(limits: &Limits) -> Self {
        Self {
            state: State::Size { size: 0, digits: 0 },
            extensions: limits.chunk_extensions,
            trailers: limits.trailers,
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() {
            if let State::Data { left } = &mut self.state {
                let count = usize::try_from(*left).map_or(bytes.len() - at, |l| l.min(bytes.len() - at));
                *left -= count as u64;
                at += count;
                if *left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            if self.is_done() {
                break;
            }
            self.step(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    /// The longest run of the next bytes that are of one kind, and its length.
    pub(crate) fn part(&mut self, bytes: &[u8]) -> Result<(Part, usize), Refusal> {
        let part = self.kind();
        if let State::Data { left } = self.state {
            let count = usize::try_from(left).map_or(bytes.len(), |l| l.min(bytes.len()));
            return self.follow(&bytes[..count]).map(|count| (part, count));
        }
        let mut at = 0;
        while at < bytes.len() && !self.is_done() && self.kind() == part {
            self.step(bytes[at])?;
            at += 1;
        }
        Ok((part, at))
    }

    pub(crate) const fn kind(&self) -> Part {
        match self.state {
            State::Data { .. } => Part::Data,
            State::TrailerStart
            | State::TrailerName(_)
            | State::TrailerValue
            | State::TrailerLf
            | State::LastLf
            | State::Done => Part::Trailers,
            _ => Part::Framing,
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), Refusal> {
        let next = match &mut self.state {
            State::Size { size, digits } => match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) if *digits < SIZE_DIGITS => {
                    State::Size { size: *size << 4 | u64::from(digit), digits: *digits + 1 }
                }
                // Beyond, numbers with a sign overflow, in whoever comes after.
                _ if *digits == 0 || i64::try_from(*size).is_err() => return Err(refusal::CHUNK),
                (None, b'\r') => State::SizeEnd { size: *size },
                (None, b';') => State::Extensions { size: *size },
                _ => return Err(refusal::CHUNK),
            },
            State::Extensions { size } => {
                self.extensions = self.extensions.checked_sub(1).ok_or(refusal::CHUNK_EXTENSIONS)?;
                match byte {
                    b'\r' => State::SizeEnd { size: *size },
                    b'\t' => State::Extensions { size: *size },
                    _ if scan::is_control(byte) => return Err(refusal::CHUNK),
                    _ => State::Extensions { size: *size },
                }
            }
            State::SizeEnd { size } if byte == b'\n' => match *size {
                0 => State::TrailerStart,
                left => State::Data { left },
            },
            State::DataCr if byte == b'\r' => State::DataLf,
            State::DataLf if byte == b'\n' => State::Size { size: 0, digits: 0 },
            State::SizeEnd { .. } | State::DataCr | State::DataLf => return Err(refusal::CHUNK),
            State::TrailerStart if byte == b'\r' => State::LastLf,
            State::LastLf if byte == b'\n' => State::Done,
            _ => {
                self.trailers = self.trailers.checked_sub(1).ok_or(refusal::TRAILERS_TOO_LARGE)?;
                trailer(&mut self.state, byte)?
            }
        };
        self.state = next;
        Ok(())
    }
}

fn trailer(state: &mut State, byte: u8) -> Result<State, Refusal> {
    Ok(match state {
        State::TrailerStart if scan::is_token(byte) => State::TrailerName(Name::default().with(byte)),
        State::TrailerName(name) if scan::is_token(byte) => State::TrailerName(name.with(byte)),
        State::TrailerName(name) if byte == b':' && !name.is_forbidden() => State::TrailerValue,
        State::TrailerValue if byte == b'\r' => State::TrailerLf,
        State::TrailerValue if byte == b'\t' || !scan::is_control(byte) => State::TrailerValue,
        State::TrailerLf if byte == b'\n' => State::TrailerStart,
        _ => return Err(refusal::TRAILER),
    })
}

/// The beginning of a name, in lower case, and its length.
#[derive(Clone, Copy, Debug, Default)]
struct Name {
    bytes: [u8; NAME],
    len: usize,
}

impl Name {
    fn with(mut self, byte: u8) -> Self {
        if let Some(place) = self.bytes.get_mut(self.len) {
            // As in heads, `_` is no way around.
            *place = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        }
        Self { len: self.len + 1, ..self }
    }

    fn is_forbidden(&self) -> bool {
        self.bytes.starts_with(b"x-forwarded") || self.bytes.get(..self.len).is_some_and(|n| FORBIDDEN.contains(&n))
    }
}

/// Whether a field may come after the body that it belongs to (RFC 9110 section 6.5.1).
#[must_use]
pub fn may_be_trailer(name: &[u8]) -> bool {
    !name.iter().fold(Name::default(), |name, byte| name.with(*byte)).is_forbidden()
}
