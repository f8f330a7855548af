//! Looking through bytes, several at a time.

/// Where something is within a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Positions are below the limits of a head, which are far below four gigabytes.
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes there; `head` is what was parsed.
    #[must_use]
    pub fn of(self, head: &[u8]) -> &[u8] {
        head.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Number of bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// The first control character (below 0x20, or 0x7f) at or after `from`.
pub(crate) fn control(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(word) = bytes.get(at..at + 8) {
        // The slice has eight bytes, so this always is a word.
        let Ok(word) = <[u8; 8]>::try_from(word) else { break };
        let word = u64::from_le_bytes(word);
        // A byte's highest bit gets set when it is below 0x20, or is 0x7f; bytes from 0x80 on never count. A borrow
        // only reaches bytes after one that counts, and the first one is what is asked for.
        let below = word.wrapping_sub(ONES * 0x20) & !word;
        let delete = (word ^ (ONES * 0x7f)).wrapping_sub(ONES) & !(word ^ (ONES * 0x7f));
        let found = (below | delete) & HIGHS;
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    bytes.get(at..)?.iter().position(|b| is_control(*b)).map(|i| at + i)
}

pub(crate) const fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// The end of the line that begins at `from`.
pub(crate) enum LineEnd {
    /// It ends before this position, where CR LF is.
    At(usize),
    /// It has not ended yet.
    Open,
    /// It has what no line has.
    Control,
    /// A CR or LF without the other.
    Bare,
}

/// Looks for the end of a line. Horizontal tabs are left to the caller.
pub(crate) fn line_end(bytes: &[u8], from: usize) -> LineEnd {
    let mut at = from;
    while let Some(found) = control(bytes, at) {
        match bytes[found] {
            b'\t' => at = found + 1,
            b'\r' => {
                return match bytes.get(found + 1) {
                    Some(b'\n') => LineEnd::At(found),
                    Some(_) => LineEnd::Bare,
                    None => LineEnd::Open,
                };
            }
            b'\n' => return LineEnd::Bare,
            _ => return LineEnd::Control,
        }
    }
    LineEnd::Open
}

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2).
pub(crate) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

static TOKEN: [bool; 256] = token_table();

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_control_character_is_found_wherever_it_is() {
        for byte in 0..=255_u8 {
            for at in 0..20 {
                for filler in [b' ', b'a', 0x7e, 0x80, 0xff] {
                    let mut bytes = [filler; 20];
                    bytes[at] = byte;
                    let expected = is_control(byte).then_some(at);
                    assert_eq!(control(&bytes, 0), expected, "{byte} at {at} among {filler}");
                    // What follows never hides it.
                    if at < 19 {
                        bytes[at + 1] = b'\n';
                        assert_eq!(control(&bytes, 0), expected.or(Some(at + 1)), "{byte} at {at} among {filler}");
                    }
                }
            }
        }
    }
}
