//! Which requests an answer fits, by the fields that its `Vary` names (RFC 9111 section 4.1).

use std::cmp::Reverse;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Most fields of one `Vary` that count; an answer that names more is not kept.
const MAX_FIELDS: usize = 32;

/// The fields that an answer was chosen by, with the values that its request had, normalised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    fields: Box<[(HeaderName, Option<Vec<u8>>)]>,
    /// `Content-Language` in lower case, where `Accept-Language` chose.
    language: Option<Vec<u8>>,
}

impl Selection {
    /// That of an answer to a request.
    pub(crate) fn of(answer: &HeaderMap, request: &HeaderMap) -> Self {
        let mut fields: Vec<(HeaderName, Option<Vec<u8>>)> = Vec::new();
        for name in names(answer).filter_map(|name| HeaderName::from_bytes(name).ok()) {
            if !fields.iter().any(|(known, _)| *known == name) {
                let value = normal(&name, &values_of(request, &name));
                fields.push((name, value));
            }
        }
        let by_language = fields.iter().any(|(name, _)| *name == header::ACCEPT_LANGUAGE);
        let language = answer.get(header::CONTENT_LANGUAGE).filter(|_| by_language);
        Self { fields: fields.into(), language: language.map(|l| l.as_bytes().trim_ascii().to_ascii_lowercase()) }
    }

    /// Whether a request has the same values, as far as they mean the same.
    pub(crate) fn fits(&self, request: &HeaderMap) -> bool {
        self.fits_values(|name| values_of(request, name))
    }

    /// The same of a request of which `values` gives the values of a field.
    pub(crate) fn fits_values<'v>(&self, values: impl Fn(&HeaderName) -> Vec<&'v [u8]>) -> bool {
        self.fields.iter().all(|(name, value)| {
            let asked = normal(name, &values(name));
            let prefers_language = || {
                let favourite = asked.as_deref().and_then(favourite);
                *name == header::ACCEPT_LANGUAGE && favourite.is_some() && favourite == self.language.as_deref()
            };
            asked == *value || prefers_language()
        })
    }

    /// Bytes that it takes.
    pub(crate) fn weight(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, Vec::len)).sum()
    }
}

fn names(answer: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = answer.get_all(header::VARY).iter().map(HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|b| *b == b',')).map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}

/// Whether an answer fits no other request: its `Vary` is `*`, names what is no field, or too many.
pub(crate) fn is_any(answer: &HeaderMap) -> bool {
    let mut count = 0;
    names(answer).any(|name| {
        count += 1;
        name == b"*" || count > MAX_FIELDS || HeaderName::from_bytes(name).is_err()
    })
}

fn values_of<'a>(request: &'a HeaderMap, name: &HeaderName) -> Vec<&'a [u8]> {
    request.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

/// A field's values as one, with white space around commas taken away. Of fields that list preferences, whose
/// order and case mean nothing, both too.
fn normal(name: &HeaderName, values: &[&[u8]]) -> Option<Vec<u8>> {
    values.first()?;
    let mut items: Vec<Vec<u8>> = values.iter().flat_map(|value| split(value)).collect();
    if *name == header::ACCEPT_LANGUAGE || *name == header::ACCEPT_ENCODING {
        for item in &mut items {
            item.make_ascii_lowercase();
            item.retain(|b| *b != b' ' && *b != b'\t');
        }
        items.sort_unstable();
    }
    Some(items.join(&b','))
}

/// The parts between commas outside of quotes.
fn split(value: &[u8]) -> Vec<Vec<u8>> {
    let mut quoted = false;
    let mut escaped = false;
    let parts = value.split(|b| {
        if escaped {
            escaped = false;
        } else if quoted && *b == b'\\' {
            escaped = true;
        } else if *b == b'"' {
            quoted = !quoted;
        }
        *b == b',' && !quoted
    });
    parts.map(|part| part.trim_ascii().to_vec()).collect()
}

/// The language that a normalised `Accept-Language` puts above all others, when there is one.
fn favourite(value: &[u8]) -> Option<&[u8]> {
    let weighed = |item: &'_ [u8]| -> Option<u32> {
        let weight = item.split(|b| *b == b';').skip(1).find_map(|p| p.strip_prefix(b"q="));
        let Some(weight) = weight else { return Some(1000) };
        let weight: f32 = std::str::from_utf8(weight).ok()?.parse().ok()?;
        (0.0..=1.0).contains(&weight).then_some((weight * 1000.0) as u32)
    };
    let mut items: Vec<(u32, &[u8])> = Vec::new();
    for item in value.split(|b| *b == b',') {
        items.push((weighed(item)?, item.split(|b| *b == b';').next()?));
    }
    items.sort_by_key(|(weight, _)| Reverse(*weight));
    match items.as_slice() {
        [(weight, _), (second, _), ..] if weight == second => None,
        [(weight, language), ..] if *weight > 0 => Some(language),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn an_answer_fits_requests_that_mean_the_same() {
        for (vary, stored, asked, fits) in [
            ("foo", &[("foo", "1")][..], &[("foo", "1")][..], true),
            ("Foo", &[("foo", "1"), ("bar", "2")], &[("foo", "1"), ("bar", "3")], true),
            ("foo", &[("foo", "1")], &[("foo", "2")], false),
            ("foo", &[("foo", "1")], &[], false),
            ("foo", &[], &[("foo", "1")], false),
            ("foo", &[], &[("foo", "")], false),
            ("foo, bar", &[("foo", "1")], &[("foo", "1")], true),
            ("foo, bar", &[("foo", "1"), ("bar", "2")], &[("bar", "2"), ("foo", "1")], true),
            ("foo, bar", &[("foo", "1"), ("bar", "2")], &[("foo", "1")], false),
            ("foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], true),
            ("foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")], true),
            ("foo", &[("foo", "1, 2")], &[("foo", "2, 1")], false),
            ("foo", &[("foo", "a")], &[("foo", "A")], false),
            ("foo", &[("foo", "\"1,2\"")], &[("foo", "\"1, 2\"")], false),
            ("accept-language", &[("accept-language", "en, de")], &[("accept-language", "De,en ")], true),
            ("accept-language", &[("accept-language", "en, de")], &[("accept-language", "de;q=0.5, en")], false),
            ("accept-encoding", &[("accept-encoding", "gzip, br")], &[("accept-encoding", "br,gzip")], true),
        ] {
            let answer = headers(&[("vary", vary)]);
            let selection = Selection::of(&answer, &headers(stored));
            assert_eq!(selection.fits(&headers(asked)), fits, "{vary}: {stored:?} {asked:?}");
        }
    }

    #[test]
    fn an_answer_in_the_language_that_is_wanted_most_fits() {
        let answer = headers(&[("vary", "accept-language"), ("content-language", "de")]);
        let selection = Selection::of(&answer, &headers(&[("accept-language", "en, de")]));
        for (asked, fits) in [
            ("fr;q=0.5, de;q=1.0", true),
            ("de", true),
            ("DE, en;q=0.9", true),
            ("fr, de", false),
            ("fr;q=0.9, de;q=0.8", false),
            ("de;q=0", false),
            ("de;q=x", false),
            ("de-AT", false),
        ] {
            assert_eq!(selection.fits(&headers(&[("accept-language", asked)])), fits, "{asked}");
        }
    }

    #[test]
    fn an_answer_with_a_star_fits_nothing() {
        for lines in [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["*, foo"], &["foo, *"], &["a b"]] {
            let fields: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            assert!(is_any(&headers(&fields)), "{lines:?}");
        }
        assert!(!is_any(&headers(&[("vary", "foo, bar")])) && !is_any(&HeaderMap::new()));
    }
}
