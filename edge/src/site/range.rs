//! Byte ranges (RFC 9110 section 14). Of several ranges none is sent: the answer is the whole file, which
//! the standard allows, and which spares clients multipart bodies that hardly any of them reads.

use std::ops::Range;

/// What a `Range` field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The whole file: the field is malformed, of another unit, or has several ranges, or the file is empty.
    Whole,
    /// One part, not empty.
    Part(Range<u64>),
    /// A part that the file does not have: 416.
    Unsatisfiable,
}

/// Reads a `Range` field for a file of `size` bytes.
pub(crate) fn asked(value: &[u8], size: u64) -> Asked {
    if size == 0 {
        // No range of an empty file can be satisfied, but a client that asks for all its bytes should get them:
        // some read every file by ranges, and take 416 for a failure.
        return Asked::Whole;
    }
    parse(value, size).unwrap_or(Asked::Whole)
}

fn parse(value: &[u8], size: u64) -> Option<Asked> {
    let (unit, set) = value.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") || set.contains(&b',') {
        return None;
    }
    let set = set.trim_ascii();
    let dash = set.iter().position(|b| *b == b'-')?;
    let (first, last) = (&set[..dash], &set[dash + 1..]);
    if first.is_empty() {
        let length = number(last)?;
        return Some(match length {
            0 => Asked::Unsatisfiable,
            _ => Asked::Part(size.saturating_sub(length)..size),
        });
    }
    let first = number(first)?;
    let end = if last.is_empty() {
        size
    } else {
        let last = number(last)?;
        if last < first {
            return None;
        }
        size.min(last.saturating_add(1))
    };
    Some(if first < size { Asked::Part(first..end) } else { Asked::Unsatisfiable })
}

/// A number of digits only; one that is too large is as large as can be.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        use Asked::{Part, Unsatisfiable, Whole};
        for (value, size, expected) in [
            ("bytes=0-0", 10, Part(0..1)),
            ("bytes=0-9", 10, Part(0..10)),
            ("bytes=0-99", 10, Part(0..10)),
            ("bytes=5-", 10, Part(5..10)),
            ("bytes=-3", 10, Part(7..10)),
            ("bytes=-30", 10, Part(0..10)),
            ("Bytes=1-2", 10, Part(1..3)),
            ("bytes= 1-2 ", 10, Part(1..3)),
            ("bytes=9-18446744073709551615", 10, Part(9..10)),
            ("bytes=0-99999999999999999999999", 10, Part(0..10)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=0-", 0, Whole),
            ("bytes=5-", 0, Whole),
            ("bytes=-0", 0, Whole),
            ("bytes=-1", 0, Whole),
            ("bytes=0-1,3-4", 10, Whole),
            ("bytes=2-1", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes=1--2", 10, Whole),
            ("items=0-1", 10, Whole),
            ("", 10, Whole),
        ] {
            assert_eq!(asked(value.as_bytes(), size), expected, "{value} of {size}");
        }
    }

    #[test]
    fn a_part_is_never_empty_nor_beyond_the_file() {
        for size in 0..6 {
            for first in ["", "0", "1", "4", "5", "6"] {
                for last in ["", "0", "1", "4", "5", "6"] {
                    if let Asked::Part(part) = asked(format!("bytes={first}-{last}").as_bytes(), size) {
                        assert!(part.start < part.end && part.end <= size, "{first}-{last} of {size}");
                    }
                }
            }
        }
    }
}
