//! Byte ranges (RFC 9110 section 14).

use std::ops::Range;

use http::HeaderValue;

/// A part of a file: the first byte and the one after the last.
pub(crate) type Part = Range<u64>;

/// Ranges that one request may ask for. Readers of documents and archives ask for a handful at once; of more, which
/// are an attempt to have much work done for little (RFC 9110 section 17.15), none is sent but the whole file.
const MAX_RANGES: usize = 16;
/// Bytes between two ranges that are sent rather than beginning another part, whose head is about as long
/// (RFC 9110 section 15.3.7.2).
const MAX_GAP: u64 = 80;

/// What a `Range` field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The whole file: the field is malformed, of another unit, or has too many ranges, or the file is empty.
    Whole,
    /// One part, not empty.
    Part(Part),
    /// Several parts that neither overlap nor touch, in the order in which they were asked for.
    Parts(Vec<Part>),
    /// Nothing that the file has: 416.
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
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut first = None;
    let mut more = Vec::new();
    // A list may have empty members (RFC 9110 section 5.6.1.2).
    let specs = set.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty());
    let mut count = 0;
    for spec in specs {
        count += 1;
        if count > MAX_RANGES {
            return None;
        }
        match (one(spec, size)?, &first) {
            (None, _) => {}
            (Some(part), None) => first = Some(part),
            (Some(part), Some(_)) => more.push(part),
        }
    }
    let Some(first) = first else { return (count > 0).then_some(Asked::Unsatisfiable) };
    if more.is_empty() {
        return Some(Asked::Part(first));
    }
    let mut parts = vec![first];
    for part in more {
        add(&mut parts, part);
    }
    Some(match <[Part; 1]>::try_from(parts) {
        Ok([part]) => Asked::Part(part),
        Err(parts) => Asked::Parts(parts),
    })
}

/// One range of a set: `Some(None)` is one that the file does not have, `None` is none at all.
fn one(spec: &[u8], size: u64) -> Option<Option<Part>> {
    let dash = spec.iter().position(|b| *b == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let length = number(last)?;
        return Some((length > 0).then(|| size.saturating_sub(length)..size));
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
    Some((first < size).then_some(first..end))
}

/// Adds a part, as one with those that it overlaps or nearly touches: at the place of the first of them.
fn add(parts: &mut Vec<Part>, mut part: Part) {
    let near =
        |a: &Part, b: &Part| a.start <= b.end.saturating_add(MAX_GAP) && b.start <= a.end.saturating_add(MAX_GAP);
    let mut at = parts.len();
    while let Some(other) = parts.iter().position(|p| near(p, &part)) {
        let other_part = parts.remove(other);
        part = part.start.min(other_part.start)..part.end.max(other_part.end);
        at = at.min(other);
    }
    parts.insert(at.min(parts.len()), part);
}

/// A number of digits only; one that is too large is as large as can be.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0'))))
}

/// `Content-Range` of a part.
pub(crate) fn satisfied(part: &Part, size: u64) -> HeaderValue {
    content_range(&format!("bytes {}-{}/{size}", part.start, part.end - 1))
}

/// `Content-Range` of an answer that says that the file has no such part.
pub(crate) fn unsatisfied(size: u64) -> HeaderValue {
    content_range(&format!("bytes */{size}"))
}

fn content_range(text: &str) -> HeaderValue {
    // Letters, digits and punctuation always are a header's value.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("bytes */*"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
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
            ("bytes=0-1,3-4", 10, Part(0..5)),
            ("bytes=0-1,,20-30", 10, Part(0..2)),
            ("bytes=20-30,-0", 10, Unsatisfiable),
            ("bytes=,", 10, Whole),
            ("bytes=0-1,x", 10, Whole),
            ("bytes=0-1,5-4", 10, Whole),
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
    fn several_ranges_keep_their_order_and_are_one_where_they_meet() {
        let parts = |value: &str| match asked(value.as_bytes(), 10_000) {
            Asked::Parts(parts) => parts,
            Asked::Part(part) => vec![part],
            other => panic!("{value}: {other:?}"),
        };
        assert_eq!(parts("bytes=0-9,500-509"), [0..10, 500..510]);
        assert_eq!(parts("bytes=500-509, 0-9, -1"), [500..510, 0..10, 9999..10_000]);
        assert_eq!(parts("bytes=500-509,0-9,505-600"), [500..601, 0..10]);
        assert_eq!(parts("bytes=0-9,500-509,10-480"), [Range { start: 0, end: 510 }]);
        assert_eq!(parts("bytes=0-9,91-100"), [0..10, 91..101]);
        assert_eq!(parts("bytes=0-9,90-100"), [Range { start: 0, end: 101 }]);
        assert_eq!(parts("bytes=0-,0-,0-"), [Range { start: 0, end: 10_000 }]);
        let many = |count: usize| format!("bytes={}", vec!["0-0"; count].join(","));
        assert_eq!(asked(many(MAX_RANGES).as_bytes(), 10_000), Asked::Part(0..1));
        assert_eq!(asked(many(MAX_RANGES + 1).as_bytes(), 10_000), Asked::Whole);
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
