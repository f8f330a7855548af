//! Conditional requests (RFC 9110 section 13). Files have strong entity tags and no dates.

use http::{HeaderMap, header};

/// What the conditions of a request decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The answer is the file.
    Holds,
    /// The visitor has the file: 304.
    NotModified,
    /// The visitor expects another file: 412.
    Failed,
}

/// Evaluates `If-Match` and `If-None-Match` against the tag of the form that would be sent.
pub(crate) fn evaluate(headers: &HeaderMap, tag: &[u8]) -> Condition {
    let lists = |name| headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
    if headers.contains_key(header::IF_MATCH)
        && !lists(header::IF_MATCH).any(|list| matches(list, |weak, given| !weak && given == tag))
    {
        return Condition::Failed;
    }
    if lists(header::IF_NONE_MATCH).any(|list| names(list, tag)) {
        return Condition::NotModified;
    }
    Condition::Holds
}

/// Whether the value of an `If-None-Match` names this tag: then the visitor has the file.
pub(crate) fn names(list: &[u8], tag: &[u8]) -> bool {
    matches(list, |_, given| given == tag)
}

/// Whether `If-Range` lets a range be sent: without one, or when it is the file's own strong tag.
pub(crate) fn range_holds(headers: &HeaderMap, tag: &[u8]) -> bool {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => value.as_bytes().trim_ascii() == tag,
        (Some(_), Some(_)) => false,
    }
}

/// Whether a list of entity tags is `*` or has one that `fits`. What is no tag ends the list.
fn matches(list: &[u8], fits: impl Fn(bool, &[u8]) -> bool) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        let weak = rest.starts_with(b"W/");
        if weak {
            rest = &rest[2..];
        }
        let [b'"', after @ ..] = rest else { return false };
        let Some(end) = after.iter().position(|b| *b == b'"') else { return false };
        let (given, after) = rest.split_at(end + 2);
        if fits(weak, given) {
            return true;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderName;

    const TAG: &str = "\"abc-br\"";

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.clone(), v.parse().unwrap())).collect()
    }

    #[test]
    fn if_none_match_compares_weakly() {
        for (value, decides) in [
            ("\"abc-br\"", Condition::NotModified),
            ("W/\"abc-br\"", Condition::NotModified),
            ("\"x\", W/\"y\" ,\"abc-br\"", Condition::NotModified),
            ("\"a,b\",\"abc-br\"", Condition::NotModified),
            ("*", Condition::NotModified),
            (" * ", Condition::NotModified),
            ("\"abc\"", Condition::Holds),
            ("abc-br", Condition::Holds),
            ("\"abc-br", Condition::Holds),
            ("", Condition::Holds),
            ("w/\"abc-br\"", Condition::Holds),
            ("junk, \"abc-br\"", Condition::Holds),
        ] {
            let headers = headers(&[(header::IF_NONE_MATCH, value)]);
            assert_eq!(evaluate(&headers, TAG.as_bytes()), decides, "{value}");
        }
    }

    #[test]
    fn if_match_compares_strongly_and_goes_first() {
        for (value, decides) in [
            ("\"abc-br\"", Condition::Holds),
            ("*", Condition::Holds),
            ("\"x\", \"abc-br\"", Condition::Holds),
            ("W/\"abc-br\"", Condition::Failed),
            ("\"abc\"", Condition::Failed),
            ("", Condition::Failed),
        ] {
            let headers = headers(&[(header::IF_MATCH, value)]);
            assert_eq!(evaluate(&headers, TAG.as_bytes()), decides, "{value}");
        }
        let both = headers(&[(header::IF_MATCH, "\"x\""), (header::IF_NONE_MATCH, TAG)]);
        assert_eq!(evaluate(&both, TAG.as_bytes()), Condition::Failed);
    }

    #[test]
    fn if_range_needs_the_same_strong_tag() {
        for (value, holds) in
            [(TAG, true), ("W/\"abc-br\"", false), ("\"x\"", false), ("Sun, 06 Nov 1994 08:49:37 GMT", false)]
        {
            assert_eq!(range_holds(&headers(&[(header::IF_RANGE, value)]), TAG.as_bytes()), holds, "{value}");
        }
        assert!(range_holds(&HeaderMap::new(), TAG.as_bytes()));
    }
}
