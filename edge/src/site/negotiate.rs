//! Which form of a file is sent (RFC 9110 section 12.5.3), and who is shown a page.

use common::manifest::{Encoding, Variant};
use http::{HeaderMap, HeaderValue, header};

use super::path;
use crate::page;

/// Which encodings a visitor accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    br: bool,
    zstd: bool,
    gzip: bool,
    pub(crate) identity: bool,
}

impl Accepted {
    /// Reads `Accept-Encoding`. Without one, only the file as it is; a weight decides whether an encoding is
    /// acceptable at all, and among those the smallest form wins.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self::of_values(headers.get_all(header::ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes))
    }

    /// The same of the field's values.
    pub(crate) fn of_values<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut explicit = [None; 4];
        let mut any = None;
        for value in values {
            for item in value.split(|b| *b == b',') {
                let mut parts = item.split(|b| *b == b';').map(<[u8]>::trim_ascii);
                let name = parts.next().unwrap_or_default();
                let wanted = parts.all(is_wanted);
                let index = match name {
                    n if n.eq_ignore_ascii_case(b"br") => 0,
                    n if n.eq_ignore_ascii_case(b"zstd") => 1,
                    n if n.eq_ignore_ascii_case(b"gzip") || n.eq_ignore_ascii_case(b"x-gzip") => 2,
                    n if n.eq_ignore_ascii_case(b"identity") => 3,
                    b"*" => {
                        any = Some(wanted);
                        continue;
                    }
                    _ => continue,
                };
                explicit[index] = Some(wanted);
            }
        }
        let [br, zstd, gzip, identity] = explicit;
        let coded = |e: Option<bool>| e.or(any).unwrap_or(false);
        Self { br: coded(br), zstd: coded(zstd), gzip: coded(gzip), identity: identity.or(any).unwrap_or(true) }
    }

    /// A number below 16 that differs when this does.
    pub(crate) const fn class(self) -> u8 {
        self.br as u8 | (self.zstd as u8) << 1 | (self.gzip as u8) << 2 | (self.identity as u8) << 3
    }

    const fn takes(self, encoding: Encoding) -> bool {
        match encoding {
            Encoding::Br => self.br,
            Encoding::Zstd => self.zstd,
            Encoding::Gzip => self.gzip,
        }
    }

    /// The smallest acceptable form of a file of `size` bytes: `Some(None)` is the file as it is, `None` says
    /// that no form is acceptable.
    pub(crate) fn smallest(self, size: u64, variants: &[Variant]) -> Option<Option<Encoding>> {
        let rank = |e: Encoding| Encoding::ALL.iter().position(|a| *a == e);
        let best = variants.iter().filter(|v| self.takes(v.encoding)).min_by_key(|v| (v.size, rank(v.encoding)));
        match best {
            Some(variant) if !self.identity || variant.size < size => Some(Some(variant.encoding)),
            _ => self.identity.then_some(None),
        }
    }
}

/// Whether a parameter leaves an item acceptable: a weight of zero, or one that is no weight, does not.
fn is_wanted(parameter: &[u8]) -> bool {
    let Some((name, value)) = parameter.split_at_checked(2) else { return false };
    if !name.eq_ignore_ascii_case(b"q=") {
        return false;
    }
    match value.trim_ascii() {
        [b'1'] => true,
        [b'1', b'.', zeros @ ..] => zeros.iter().all(|b| *b == b'0'),
        [b'0', b'.', digits @ ..] => digits.iter().all(u8::is_ascii_digit) && digits.iter().any(|b| *b != b'0'),
        _ => false,
    }
}

/// Whether a person goes to this address, or a script or a page fetches it: only the former is shown the
/// page of an app that routes in the browser.
pub(crate) fn is_navigation(headers: &HeaderMap) -> bool {
    match fetch_metadata(headers) {
        Some(navigates) => navigates,
        None => accepts_html(headers),
    }
}

/// Whether what is missing may be told with an HTML page: never in place of a script, a style or an image.
pub(crate) fn takes_page(headers: &HeaderMap, path: &str) -> bool {
    match fetch_metadata(headers) {
        Some(navigates) => navigates,
        None => page::asks_for_html(headers) || (accepts_html(headers) && !path::has_extension(path)),
    }
}

/// What `Sec-Fetch-Mode` and `Sec-Fetch-Dest` say; `None` when the client sends neither.
fn fetch_metadata(headers: &HeaderMap) -> Option<bool> {
    let mode = headers.get("sec-fetch-mode").map(HeaderValue::as_bytes);
    let destination = headers.get("sec-fetch-dest").map(HeaderValue::as_bytes);
    if mode.is_none() && destination.is_none() {
        return None;
    }
    let navigates = mode.is_none_or(|m| m == b"navigate");
    Some(navigates && destination.is_none_or(|d| matches!(d, b"document" | b"iframe" | b"frame")))
}

fn accepts_html(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::ACCEPT)
        || [&b"text/html"[..], b"text/*", b"*/*"].iter().any(|range| page::accepts(headers, range))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderName;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap())).collect()
    }

    fn form(accept: Option<&str>) -> Option<Option<Encoding>> {
        let variants = [(Encoding::Br, 40), (Encoding::Zstd, 45), (Encoding::Gzip, 50)];
        let variants = variants.map(|(encoding, size)| Variant { encoding, size });
        let headers = accept.map_or_else(HeaderMap::new, |a| headers(&[("accept-encoding", a)]));
        Accepted::of(&headers).smallest(100, &variants)
    }

    #[test]
    fn the_smallest_acceptable_form_is_chosen() {
        use Encoding::{Br, Gzip, Zstd};
        for (accept, expected) in [
            (None, Some(None)),
            (Some(""), Some(None)),
            (Some("gzip, deflate, br, zstd"), Some(Some(Br))),
            (Some("gzip, deflate"), Some(Some(Gzip))),
            (Some("X-GZIP"), Some(Some(Gzip))),
            (Some("gzip;q=1.0, zstd;q=0.5"), Some(Some(Zstd))),
            (Some("br;q=0, zstd ; q=0.001, gzip"), Some(Some(Zstd))),
            (Some("br;q=0.000"), Some(None)),
            (Some("*"), Some(Some(Br))),
            (Some("*;q=0"), None),
            (Some("*;q=0, gzip"), Some(Some(Gzip))),
            (Some("*, br;q=0"), Some(Some(Zstd))),
            (Some("identity;q=0"), None),
            (Some("identity;q=0, gzip"), Some(Some(Gzip))),
            (Some("identity, *;q=0"), Some(None)),
            (Some("deflate"), Some(None)),
            (Some("br;q=2, gzip;q=nan"), Some(None)),
            (Some("br;level=11"), Some(None)),
        ] {
            assert_eq!(form(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn fields_that_come_twice_are_one_list() {
        let twice = headers(&[("accept-encoding", "gzip;q=0"), ("accept-encoding", "zstd")]);
        assert_eq!(Accepted::of(&twice), Accepted { br: false, zstd: true, gzip: false, identity: true });
    }

    #[test]
    fn a_variant_that_is_not_smaller_is_sent_only_when_the_file_itself_is_not_acceptable() {
        let variants = [Variant { encoding: Encoding::Gzip, size: 100 }];
        let choose = |accept| Accepted::of(&headers(&[("accept-encoding", accept)])).smallest(100, &variants);
        assert_eq!(choose("gzip"), Some(None));
        assert_eq!(choose("gzip, identity;q=0"), Some(Some(Encoding::Gzip)));
    }

    #[test]
    fn only_people_navigate() {
        const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        const ANY: (&str, &str) = ("accept", "*/*");
        for (fields, navigates, page_for_script) in [
            (&[][..], true, false),
            (&[ANY], true, false),
            (&[BROWSER], true, true),
            (&[("accept", "application/json")], false, false),
            (&[("accept", "image/avif,image/webp")], false, false),
            (&[BROWSER, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], true, true),
            (&[BROWSER, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], true, true),
            (&[ANY, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script")], false, false),
            (&[ANY, ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")], false, false),
            (&[BROWSER, ("sec-fetch-dest", "image")], false, false),
            (&[BROWSER, ("sec-fetch-mode", "navigate")], true, true),
        ] {
            let headers = headers(fields);
            assert_eq!(is_navigation(&headers), navigates, "{fields:?}");
            assert_eq!(takes_page(&headers, "/missing.js"), page_for_script, "{fields:?}");
        }
        assert!(takes_page(&headers(&[ANY]), "/missing"));
    }
}
