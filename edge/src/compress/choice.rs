//! Whether an answer is compressed, and how.

use common::manifest::Encoding;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::content_length;

/// Shortest answer that is compressed, in bytes: what fits into one packet anyway arrives no sooner.
const MIN_SIZE: u64 = 1024;
/// What the visitor and the app say that matters for compression.
pub(crate) struct Facts<'a, A, C> {
    pub(crate) method: &'a Method,
    /// Whether the visitor has credentials.
    pub(crate) authorizes: bool,
    /// The visitor's values of `Accept-Encoding`.
    pub(crate) accept_encoding: A,
    pub(crate) status: StatusCode,
    pub(crate) length: Option<u64>,
    pub(crate) sets_cookie: bool,
    /// Whether the answer's form is settled: it is coded, a part, or followed by trailer fields that may tell of it.
    pub(crate) keeps_form: bool,
    /// The answer's values of `Cache-Control`.
    pub(crate) cache_control: C,
    pub(crate) content_type: Option<&'a [u8]>,
    /// Whether an answer of unknown length certainly tells its end with its last piece.
    pub(crate) ends_clearly: bool,
}

/// What a request, and the fields of an answer, say.
pub(crate) fn facts<'a, A: Iterator<Item = &'a [u8]>>(
    method: &'a Method,
    authorizes: bool,
    accept_encoding: A,
    status: StatusCode,
    response: &'a HeaderMap,
    ends_clearly: bool,
) -> Facts<'a, A, impl Iterator<Item = &'a [u8]>> {
    Facts {
        method,
        authorizes,
        accept_encoding,
        status,
        length: content_length(response),
        sets_cookie: response.contains_key(header::SET_COOKIE),
        keeps_form: response.contains_key(header::CONTENT_ENCODING)
            || response.contains_key(header::CONTENT_RANGE)
            || response.contains_key(header::TRAILER),
        cache_control: response.get_all(header::CACHE_CONTROL).iter().map(HeaderValue::as_bytes),
        content_type: response.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes),
        ends_clearly,
    }
}

/// Whether an answer may be compressed for some visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It stays as it is for everybody.
    Never,
    /// It depends on `Accept-Encoding`, and this visitor gets it so.
    For(Option<Encoding>),
}

/// How an answer is sent.
pub(crate) fn choose<'a>(facts: Facts<'a, impl Iterator<Item = &'a [u8]>, impl Iterator<Item = &'a [u8]>>) -> Choice {
    let Facts { status, length, mut cache_control, .. } = facts;
    let is_whole = status.is_success() && !matches!(status.as_u16(), 204..=206) || status.is_client_error();
    let is_private = facts.sets_cookie || facts.authorizes;
    let keeps_form = facts.keeps_form || cache_control.any(is_for_one_or_as_it_is);
    let is_long = length.is_none_or(|l| l >= MIN_SIZE);
    let is_text = facts.content_type.is_some_and(is_text);
    if !is_whole || is_private || keeps_form || !is_long || !is_text || (length.is_none() && !facts.ends_clearly) {
        return Choice::Never;
    }
    // An answer to HEAD has the fields of the one to GET, as far as they are known.
    Choice::For(if *facts.method == Method::HEAD { None } else { preferred(facts.accept_encoding) })
}

/// Whether a value of `Cache-Control` says that the answer is made for one visitor, or is not to be changed.
fn is_for_one_or_as_it_is(cache_control: &[u8]) -> bool {
    cache_control.split(|b| *b == b',').any(|directive| {
        let name = directive.split(|b| *b == b'=').next().unwrap_or_default();
        let name = name.trim_ascii();
        name.eq_ignore_ascii_case(b"private") || name.eq_ignore_ascii_case(b"no-transform")
    })
}

/// Longest name of a type that is looked at, in bytes.
const MAX_TYPE: usize = 128;

fn is_text(content_type: &[u8]) -> bool {
    let essence = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let mut lower = [0; MAX_TYPE];
    let Some(lower) = lower.get_mut(..essence.len()) else { return false };
    lower.copy_from_slice(essence);
    lower.make_ascii_lowercase();
    match &*lower {
        b"text/event-stream" => false,
        b"application/json"
        | b"application/javascript"
        | b"application/x-javascript"
        | b"application/xml"
        | b"application/wasm"
        | b"application/manifest+json"
        | b"application/graphql"
        | b"application/x-ndjson"
        | b"image/bmp"
        | b"image/svg+xml"
        | b"font/ttf"
        | b"font/otf" => true,
        other => other.starts_with(b"text/") || other.ends_with(b"+json") || other.ends_with(b"+xml"),
    }
}

/// The coding that the visitor prefers, of those it names (RFC 9110 section 12.5.3). Among equals the one that is
/// quickest for its result. `None` when that is the answer as it is.
fn preferred<'a>(accept_encoding: impl Iterator<Item = &'a [u8]>) -> Option<Encoding> {
    const BY_COST: [Encoding; 3] = [Encoding::Zstd, Encoding::Br, Encoding::Gzip];
    let mut weights = [None; 3];
    let (mut any, mut identity) = (None, None);
    for value in accept_encoding {
        for item in value.split(|b| *b == b',') {
            let mut parts = item.split(|b| *b == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let weight = parts.next().map_or(1000, weight);
            let is = |token: &str| name.eq_ignore_ascii_case(token.as_bytes());
            if name == b"*" {
                any = Some(weight);
            } else if is("identity") {
                identity = Some(weight);
            } else if let Some(at) = BY_COST.iter().position(|e| is(e.token())) {
                weights[at] = Some(weight);
            }
        }
    }
    let mut best = None;
    for (encoding, weight) in BY_COST.into_iter().zip(weights) {
        let weight = weight.or(any).unwrap_or(0);
        if weight > best.map_or(0, |(_, best)| best) {
            best = Some((encoding, weight));
        }
    }
    let (encoding, weight) = best?;
    (weight >= identity.unwrap_or(0)).then_some(encoding)
}

/// A weight in thousandths; what is none counts as zero.
fn weight(parameter: &[u8]) -> u16 {
    let Some((name, value)) = parameter.split_at_checked(2) else { return 0 };
    if !name.eq_ignore_ascii_case(b"q=") {
        return 0;
    }
    let digits = |text: &[u8]| {
        let is_fine = text.len() <= 3 && text.iter().all(u8::is_ascii_digit);
        let padded = text.iter().copied().chain(std::iter::repeat(b'0')).take(3);
        is_fine.then(|| padded.fold(0_u16, |sum, d| sum * 10 + u16::from(d - b'0')))
    };
    match value.trim_ascii() {
        b"1" => 1000,
        [b'1', b'.', rest @ ..] if rest.len() <= 3 && rest.iter().all(|b| *b == b'0') => 1000,
        [b'0', b'.', rest @ ..] => digits(rest).unwrap_or(0),
        _ => 0,
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
    fn the_visitor_chooses_by_weight_and_among_equals_the_quickest_is_taken() {
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", Some(Encoding::Zstd)),
            ("gzip, br", Some(Encoding::Br)),
            ("gzip;q=1.0, br;q=0.9, zstd;q=0.1", Some(Encoding::Gzip)),
            ("br;q=0.5, gzip;q=0.51", Some(Encoding::Gzip)),
            ("GZIP", Some(Encoding::Gzip)),
            ("gzip;q=0", None),
            ("gzip;q=0.000, *;q=0.1", Some(Encoding::Zstd)),
            ("*", Some(Encoding::Zstd)),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some(Encoding::Gzip)),
            ("deflate", None),
            ("gzip;q=2", None),
            ("gzip;level=9", None),
            ("", None),
        ] {
            assert_eq!(preferred([accepted.as_bytes()].into_iter()), expected, "{accepted}");
        }
    }

    #[test]
    fn only_text_that_gains_and_tells_no_secret_is_compressed() {
        let text = ("content-type", "text/html; charset=utf-8");
        let long = ("content-length", "5000");
        let gzip = ("accept-encoding", "gzip");
        let yes = Choice::For(Some(Encoding::Gzip));
        for (what, method, request, status, response, expected) in [
            ("a page", Method::GET, &[gzip][..], 200, &[text, long][..], yes),
            ("a page of unknown length", Method::POST, &[gzip], 200, &[text], yes),
            ("an error", Method::GET, &[gzip], 404, &[text, long], yes),
            ("what a visitor does not take", Method::GET, &[], 200, &[text, long], Choice::For(None)),
            ("HEAD", Method::HEAD, &[gzip], 200, &[text, long], Choice::For(None)),
            ("a short page", Method::GET, &[gzip], 200, &[text, ("content-length", "1023")], Choice::Never),
            ("a picture", Method::GET, &[gzip], 200, &[("content-type", "image/png"), long], Choice::Never),
            ("no type", Method::GET, &[gzip], 200, &[long], Choice::Never),
            ("events", Method::GET, &[gzip], 200, &[("content-type", "text/event-stream")], Choice::Never),
            ("gRPC", Method::POST, &[gzip], 200, &[("content-type", "application/grpc+proto")], Choice::Never),
            ("encoded", Method::GET, &[gzip], 200, &[text, long, ("content-encoding", "br")], Choice::Never),
            ("a part", Method::GET, &[gzip], 206, &[text, long, ("content-range", "bytes 0-1/2")], Choice::Never),
            ("not modified", Method::GET, &[gzip], 304, &[text, long], Choice::Never),
            ("a cookie", Method::GET, &[gzip], 200, &[text, long, ("set-cookie", "a=b")], Choice::Never),
            (
                "private",
                Method::GET,
                &[gzip],
                200,
                &[text, long, ("cache-control", "max-age=1, Private")],
                Choice::Never,
            ),
            (
                "no-transform",
                Method::GET,
                &[gzip],
                200,
                &[text, long, ("cache-control", "no-transform")],
                Choice::Never,
            ),
            ("a login", Method::GET, &[gzip, ("authorization", "Basic x")], 200, &[text, long], Choice::Never),
            ("trailers", Method::GET, &[gzip], 200, &[text, long, ("trailer", "x-sum")], Choice::Never),
        ] {
            let (request, response) = (headers(request), headers(response));
            let status = StatusCode::from_u16(status).unwrap();
            let authorizes = request.contains_key(header::AUTHORIZATION);
            let accepted = request.get_all(header::ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes);
            let facts = facts(&method, authorizes, accepted, status, &response, true);
            assert_eq!(choose(facts), expected, "{what}");
        }
    }
}
