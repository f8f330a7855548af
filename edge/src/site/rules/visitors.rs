//! Which visitors a redirect is for.

use common::site_rules::Visitors;
use http::{HeaderMap, header};

use super::{Ask, Depends};

/// Cookie that chooses a language in place of `Accept-Language`.
const LANGUAGE_COOKIE: &str = "nf_lang";
/// Cookie that chooses a country in place of the visitor's address.
const COUNTRY_COOKIE: &str = "nf_country";

/// Whether the visitor is one of these. Notes what that was decided by.
pub(super) fn include(visitors: &Visitors, ask: &Ask<'_>, depends: &mut Depends) -> bool {
    if visitors.is_everyone() {
        return true;
    }
    depends.cookie = true;
    if !visitors.cookies.is_empty() && !visitors.cookies.iter().any(|name| cookie(ask.headers, name).is_some()) {
        return false;
    }
    if !visitors.languages.is_empty() {
        depends.language = true;
        let wanted = cookie(ask.headers, LANGUAGE_COOKIE).or_else(|| most_wanted(ask.headers));
        if !wanted.is_some_and(|wanted| visitors.languages.iter().any(|range| is_in(wanted, range))) {
            return false;
        }
    }
    if !visitors.countries.is_empty() {
        depends.country = true;
        let country = cookie(ask.headers, COUNTRY_COOKIE).or(ask.country);
        if !country.is_some_and(|country| visitors.countries.iter().any(|c| c.eq_ignore_ascii_case(country))) {
            return false;
        }
    }
    true
}

/// The value of a cookie (RFC 6265 section 4.2).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(n, _)| *n == name).map(|(_, value)| value)
}

/// The language with the highest weight, the first of several (RFC 9110 section 12.5.4).
fn most_wanted(headers: &HeaderMap) -> Option<&str> {
    let items =
        headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let mut best: Option<(&str, f32)> = None;
    for item in items {
        let (language, parameter) = item.split_once(';').unwrap_or((item, ""));
        let weight = match parameter.trim().strip_prefix("q=") {
            Some(weight) => weight.trim().parse().unwrap_or(0.0),
            None => 1.0,
        };
        let language = language.trim();
        if !language.is_empty() && language != "*" && weight > best.map_or(0.0, |(_, most)| most) {
            best = Some((language, weight));
        }
    }
    best.map(|(language, _)| language)
}

/// Whether a language is in a range (RFC 4647 section 3.3.1).
fn is_in(language: &str, range: &str) -> bool {
    language.get(..range.len()).is_some_and(|start| start.eq_ignore_ascii_case(range))
        && matches!(language.as_bytes().get(range.len()), None | Some(b'-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(fields: &[(http::HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.clone(), v.parse().unwrap())).collect()
    }

    #[test]
    fn the_language_that_is_wanted_most_decides() {
        for (accept, wanted) in [
            ("de-CH, de;q=0.9, en;q=0.8", Some("de-CH")),
            ("en;q=0.8, fr;q=0.9", Some("fr")),
            ("*, zh;q=0.1", Some("zh")),
            ("en;q=0", None),
            ("", None),
        ] {
            assert_eq!(most_wanted(&headers(&[(header::ACCEPT_LANGUAGE, accept)])), wanted, "{accept}");
        }
        for (language, range, fits) in
            [("de-CH", "de", true), ("de", "de-ch", false), ("deu", "de", false), ("EN-gb", "en-gb", true)]
        {
            assert_eq!(is_in(language, range), fits, "{language} {range}");
        }
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let headers = headers(&[(header::COOKIE, "a=1; nf_lang=fr;bb=2")]);
        assert_eq!(cookie(&headers, "nf_lang"), Some("fr"));
        assert_eq!(cookie(&headers, "bb"), Some("2"));
        assert_eq!(cookie(&headers, "b"), None);
    }
}
