//! Part of a kept answer (RFC 9110 section 14).

use std::ops::Range;

use http::{HeaderMap, HeaderValue, header};

use crate::directives::delta;

/// What a request asks for of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: it asks for no part, for several, or what it says is no range (RFC 9110 section 14.2 lets both
    /// be ignored).
    Whole,
    /// These bytes.
    Bytes(Range<u64>),
    /// Bytes that it does not have.
    Unsatisfiable,
}

/// What a request asks for of an answer with `length` bytes.
pub(crate) fn asked(request: &HeaderMap, answer: &HeaderMap, length: u64) -> Part {
    let mut ranges = request.get_all(header::RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Part::Whole };
    if length == 0 || !condition_holds(request, answer) {
        return Part::Whole;
    }
    let value = range.as_bytes();
    let Some(spec) =
        value.get(..6).filter(|unit| unit.eq_ignore_ascii_case(b"bytes=")).map(|_| value[6..].trim_ascii())
    else {
        return Part::Whole;
    };
    let Some(dash) = spec.iter().position(|b| *b == b'-') else { return Part::Whole };
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    match (first, delta(first), delta(last)) {
        (b"", _, Some(0)) => Part::Unsatisfiable,
        (b"", _, Some(suffix)) => Part::Bytes(length.saturating_sub(suffix)..length),
        (_, Some(first), _) if first >= length && (last.is_empty() || delta(last).is_some()) => Part::Unsatisfiable,
        (_, Some(first), None) if last.is_empty() => Part::Bytes(first..length),
        (_, Some(first), Some(last)) if first <= last => Part::Bytes(first..length.min(last.saturating_add(1))),
        _ => Part::Whole,
    }
}

/// Whether `If-Range` lets a part be sent: it is the answer's own strong tag or its exact date (RFC 9110
/// section 13.1.5).
fn condition_holds(request: &HeaderMap, answer: &HeaderMap) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else { return true };
    let same = |name| answer.get(name).is_some_and(|v| v == condition);
    !condition.as_bytes().starts_with(b"W/") && (same(header::ETAG) || same(header::LAST_MODIFIED))
}

/// `Content-Range` of a part, or of an answer that there is none.
pub(crate) fn content_range(part: Option<&Range<u64>>, length: u64) -> HeaderValue {
    let text = match part {
        Some(part) => format!("bytes {}-{}/{length}", part.start, part.end - 1),
        None => format!("bytes */{length}"),
    };
    // Letters, digits and punctuation always are a header's value.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("bytes */*"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (range, length, expected) in [
            ("bytes=0-1", 11, Part::Bytes(0..2)),
            ("Bytes=0-1", 11, Part::Bytes(0..2)),
            ("bytes=1-", 11, Part::Bytes(1..11)),
            ("bytes=-1", 11, Part::Bytes(10..11)),
            ("bytes=-99", 11, Part::Bytes(0..11)),
            ("bytes=5-99999999999999999999", 11, Part::Bytes(5..11)),
            ("bytes=11-", 11, Part::Unsatisfiable),
            ("bytes=11-12", 11, Part::Unsatisfiable),
            ("bytes=-0", 11, Part::Unsatisfiable),
            ("bytes=0-0", 0, Part::Whole),
            ("bytes=2-1", 11, Part::Whole),
            ("bytes=0-1,3-4", 11, Part::Whole),
            ("bytes=12-x", 11, Part::Whole),
            ("bytes=-", 11, Part::Whole),
            ("bytes=", 11, Part::Whole),
            ("items=0-1", 11, Part::Whole),
            ("é", 11, Part::Whole),
        ] {
            let request = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_bytes(range.as_bytes()).unwrap())]);
            assert_eq!(asked(&request, &HeaderMap::new(), length), expected, "{range}");
        }
    }

    #[test]
    fn if_range_must_name_exactly_what_is_kept() {
        let day = "Sun, 06 Nov 1994 08:49:37 GMT";
        let answer = HeaderMap::from_iter([
            (header::ETAG, "\"a\"".parse().unwrap()),
            (header::LAST_MODIFIED, day.parse().unwrap()),
        ]);
        for (condition, holds) in [("\"a\"", true), (day, true), ("\"b\"", false), ("W/\"a\"", false)] {
            let request = HeaderMap::from_iter([
                (header::RANGE, HeaderValue::from_static("bytes=0-1")),
                (header::IF_RANGE, condition.parse().unwrap()),
            ]);
            let expected = if holds { Part::Bytes(0..2) } else { Part::Whole };
            assert_eq!(asked(&request, &answer, 5), expected, "{condition}");
        }
    }
}
