//! Conditional requests: those of visitors, answered from what is kept, and the cache's own, by which it learns
//! whether what it keeps is still right (RFC 9111 section 4.3, RFC 9110 section 13).

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::date;

/// Fields that make a request conditional (RFC 9110 section 13.1), as far as a cache may evaluate them.
const CONDITIONS: [HeaderName; 2] = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
/// Fields that describe the body that is kept, which an answer without a body does not change (RFC 9111
/// section 3.2).
const OF_THE_BODY: [HeaderName; 3] = [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_RANGE];

/// Whether a request has conditions that only the app may evaluate (RFC 9110 section 13.2.1).
pub(crate) fn asks_the_app(request: &HeaderMap) -> bool {
    request.contains_key(header::IF_MATCH) || request.contains_key(header::IF_UNMODIFIED_SINCE)
}

/// Whether the visitor has what would be sent: then the answer is 304 (RFC 9111 section 4.3.2).
pub(crate) fn is_unmodified(request: &HeaderMap, answer: &HeaderMap, now: SystemTime) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let Some(tag) = answer.get(header::ETAG) else {
            return request.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes().trim_ascii() == b"*");
        };
        return request.get_all(header::IF_NONE_MATCH).iter().any(|list| names(list.as_bytes(), tag.as_bytes()));
    }
    let date_of = |headers: &HeaderMap, name| headers.get(name).and_then(|v| date::parse(v.as_bytes(), now));
    let Some(since) = date_of(request, header::IF_MODIFIED_SINCE) else { return false };
    let changed = date_of(answer, header::LAST_MODIFIED).or_else(|| date_of(answer, header::DATE));
    changed.is_some_and(|changed| changed <= since)
}

/// Whether a list of entity tags names this one, by the weak comparison (RFC 9110 section 8.8.3.2).
fn names(list: &[u8], tag: &[u8]) -> bool {
    let wanted = tag.strip_prefix(b"W/").unwrap_or(tag);
    let mut rest = list.trim_ascii();
    if rest == b"*" || rest == tag {
        return true;
    }
    loop {
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        rest = rest.strip_prefix(b"W/").unwrap_or(rest);
        let [b'"', after @ ..] = rest else { return false };
        let Some(end) = after.iter().position(|b| *b == b'"') else { return false };
        let (given, after) = rest.split_at(end + 2);
        if given == wanted {
            return true;
        }
        rest = after;
    }
}

/// Makes a request whose answer can be kept: without the visitor's conditions, and with those that validate what
/// is kept, when there is something. Returns whether it validates.
pub(crate) fn prepare(request: &mut HeaderMap, kept: Option<&HeaderMap>) -> bool {
    for name in CONDITIONS {
        request.remove(name);
    }
    let Some(kept) = kept else { return false };
    let mut validates = false;
    for (of_kept, condition) in
        [(header::ETAG, header::IF_NONE_MATCH), (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE)]
    {
        if let Some(value) = kept.get(of_kept) {
            request.insert(condition, value.clone());
            validates = true;
        }
    }
    validates
}

/// Whether an answer without a body speaks of what is kept: its strong tag, when it has one, is the same
/// (RFC 9111 section 4.3.4).
pub(crate) fn is_of(answer: &HeaderMap, kept: &HeaderMap) -> bool {
    match answer.get(header::ETAG) {
        Some(tag) if !tag.as_bytes().starts_with(b"W/") => kept.get(header::ETAG) == Some(tag),
        _ => true,
    }
}

/// Whether the head that HEAD got belongs to the body that is kept (RFC 9111 section 4.3.5).
pub(crate) fn is_same(head: &HeaderMap, kept: &HeaderMap, length: u64) -> bool {
    let same = |name: HeaderName| head.get(&name).is_none_or(|v| kept.get(&name) == Some(v));
    let same_length = head.get(header::CONTENT_LENGTH).is_none_or(|v| *v == HeaderValue::from(length));
    same(header::ETAG) && same(header::LAST_MODIFIED) && same_length
}

/// Takes over the fields of an answer without a body (RFC 9111 section 3.2).
pub(crate) fn update(kept: &mut HeaderMap, newer: &HeaderMap) {
    for name in newer.keys().filter(|name| !OF_THE_BODY.contains(name)) {
        kept.remove(name);
        for value in newer.get_all(name) {
            kept.append(name.clone(), value.clone());
        }
    }
}

/// What a 304 has of the answer's fields (RFC 9110 section 15.4.5): all but those of the body.
pub(crate) fn strip_for_304(headers: &mut HeaderMap) {
    for name in OF_THE_BODY {
        headers.remove(name);
    }
    headers.remove(header::CONTENT_TYPE);
    headers.remove(header::TRANSFER_ENCODING);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const DAY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sat, 05 Nov 1994 08:49:37 GMT";
    const DAY_850: &str = "Sunday, 06-Nov-94 08:49:37 GMT";

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.clone(), HeaderValue::from_bytes(v.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn a_visitor_who_has_it_is_told_so() {
        use header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
        for (request, answer, unmodified) in [
            (&[(IF_NONE_MATCH, "\"a\"")][..], &[(ETAG, "\"a\"")][..], true),
            (&[(IF_NONE_MATCH, "W/\"a\"")], &[(ETAG, "\"a\"")], true),
            (&[(IF_NONE_MATCH, "\"a\"")], &[(ETAG, "W/\"a\"")], true),
            (&[(IF_NONE_MATCH, "\"x\", \"a\" ,\"y\"")], &[(ETAG, "\"a\"")], true),
            (&[(IF_NONE_MATCH, "*")], &[(ETAG, "\"a\"")], true),
            (&[(IF_NONE_MATCH, "*")], &[], true),
            (&[(IF_NONE_MATCH, "\"ü\"")], &[(ETAG, "\"ü\"")], true),
            (&[(IF_NONE_MATCH, "\"b\"")], &[(ETAG, "\"a\"")], false),
            (&[(IF_NONE_MATCH, "a")], &[(ETAG, "\"a\"")], false),
            (&[(IF_NONE_MATCH, "a")], &[(ETAG, "a")], true),
            (&[(IF_NONE_MATCH, "\"a\"")], &[], false),
            (&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, DAY)], &[(ETAG, "\"a\""), (LAST_MODIFIED, DAY)], false),
            (&[(IF_NONE_MATCH, "\"a\""), (IF_MODIFIED_SINCE, BEFORE)], &[(ETAG, "\"a\""), (LAST_MODIFIED, DAY)], true),
            (&[(IF_MODIFIED_SINCE, DAY)], &[(LAST_MODIFIED, DAY)], true),
            (&[(IF_MODIFIED_SINCE, DAY_850)], &[(LAST_MODIFIED, DAY)], true),
            (&[(IF_MODIFIED_SINCE, DAY)], &[(LAST_MODIFIED, BEFORE)], true),
            (&[(IF_MODIFIED_SINCE, BEFORE)], &[(LAST_MODIFIED, DAY)], false),
            (&[(IF_MODIFIED_SINCE, DAY)], &[(DATE, BEFORE)], true),
            (&[(IF_MODIFIED_SINCE, BEFORE)], &[(DATE, DAY)], false),
            (&[(IF_MODIFIED_SINCE, "yesterday")], &[(LAST_MODIFIED, DAY)], false),
            (&[], &[(ETAG, "\"a\""), (LAST_MODIFIED, DAY)], false),
        ] {
            let now = UNIX_EPOCH + Duration::from_secs(1_795_600_000);
            assert_eq!(is_unmodified(&headers(request), &headers(answer), now), unmodified, "{request:?} {answer:?}");
        }
    }

    #[test]
    fn the_caches_conditions_replace_the_visitors() {
        let kept = headers(&[(header::ETAG, "\"a\""), (header::LAST_MODIFIED, DAY)]);
        let mut request = headers(&[(header::IF_NONE_MATCH, "\"b\""), (header::ACCEPT, "*/*")]);
        assert!(prepare(&mut request, Some(&kept)));
        assert_eq!(request[header::IF_NONE_MATCH], "\"a\"");
        assert_eq!(request[header::IF_MODIFIED_SINCE], DAY);
        assert!(!prepare(&mut request, Some(&HeaderMap::new())) && !prepare(&mut request, None));
        assert_eq!(request, headers(&[(header::ACCEPT, "*/*")]));
    }

    #[test]
    fn a_304_changes_fields_but_not_those_of_the_body() {
        let old =
            [(header::CONTENT_LENGTH, "36"), (header::EXPIRES, DAY), (header::ALLOW, "GET"), (header::ETAG, "\"a\"")];
        let mut kept = headers(&old);
        let new = headers(&[(header::CONTENT_LENGTH, "10"), (header::EXPIRES, BEFORE), (header::ETAG, "\"a\"")]);
        assert!(is_of(&new, &kept) && is_of(&HeaderMap::new(), &kept));
        assert!(!is_of(&headers(&[(header::ETAG, "\"b\"")]), &kept));
        update(&mut kept, &new);
        assert_eq!(kept[header::EXPIRES], BEFORE);
        assert_eq!(kept[header::CONTENT_LENGTH], "36");
        assert_eq!(kept[header::ALLOW], "GET");
    }

    #[test]
    fn a_head_is_of_the_body_that_is_kept_or_of_another() {
        let kept = headers(&[(header::ETAG, "\"a\"")]);
        assert!(is_same(&HeaderMap::new(), &kept, 5));
        assert!(is_same(&headers(&[(header::ETAG, "\"a\""), (header::CONTENT_LENGTH, "5")]), &kept, 5));
        assert!(!is_same(&headers(&[(header::CONTENT_LENGTH, "6")]), &kept, 5));
        assert!(!is_same(&headers(&[(header::ETAG, "\"b\"")]), &kept, 5));
        assert!(!is_same(&headers(&[(header::LAST_MODIFIED, DAY)]), &kept, 5));
    }
}
