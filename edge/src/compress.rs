//! Compression of what apps send uncompressed, on its way to the visitor.
//!
//! Only text that is long enough to gain from it, and never where the length of the compressed answer could tell a
//! secret (BREACH, CVE-2013-3587): answers that set cookies, that are made for one visitor, or that a visitor
//! authorised. Streams of events stay as they are; other answers of unknown length are flushed piece by piece, so
//! that a visitor sees each as soon as the app sends it.

use std::io::{self, Write as _};

use bytes::Bytes;
use common::manifest::Encoding;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// Shortest answer that is compressed, in bytes: what fits into one packet anyway arrives no sooner.
const MIN_SIZE: u64 = 1024;
/// Compression levels: the quick ones, because every visitor waits for it anew. Beyond them, the time doubles for a
/// few per cent.
const GZIP: u32 = 5;
const BROTLI: u32 = 4;
const ZSTD: i32 = 3;
/// Brotli's window is two to this power, in bytes: 256 KiB for each answer under way.
const BROTLI_WINDOW: u32 = 18;
/// Brotli's input buffer in bytes.
const BROTLI_BUFFER: usize = 4096;

/// What the visitor and the app say that matters for compression.
pub(crate) struct Facts<'a> {
    pub(crate) method: &'a Method,
    pub(crate) request: &'a HeaderMap,
    pub(crate) status: StatusCode,
    pub(crate) response: &'a HeaderMap,
    /// Whether an answer of unknown length certainly tells its end with its last piece.
    pub(crate) ends_clearly: bool,
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
pub(crate) fn choose(facts: &Facts<'_>) -> Choice {
    let Facts { method, request, status, response, ends_clearly } = facts;
    let length = content_length(response);
    let is_whole = status.is_success() && !matches!(status.as_u16(), 204..=206) || status.is_client_error();
    let is_private = response.contains_key(header::SET_COOKIE)
        || request.contains_key(header::AUTHORIZATION)
        || has_directive(response, b"private");
    let keeps_form = response.contains_key(header::CONTENT_ENCODING)
        || response.contains_key(header::CONTENT_RANGE)
        || response.contains_key(header::TRAILER)
        || has_directive(response, b"no-transform");
    let is_long = length.is_none_or(|l| l >= MIN_SIZE);
    if !is_whole || is_private || keeps_form || !is_long || !is_text(response) || (length.is_none() && !ends_clearly) {
        return Choice::Never;
    }
    // An answer to HEAD has the fields of the one to GET, as far as they are known.
    Choice::For(if **method == Method::HEAD { None } else { preferred(request) })
}

/// Changes the fields of an answer that will be compressed. Its length becomes unknown.
pub(crate) fn rewrite(headers: &mut HeaderMap, encoding: Encoding) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.token()));
    for name in [header::CONTENT_LENGTH, header::ACCEPT_RANGES] {
        headers.remove(name);
    }
    for name in ["content-md5", "content-digest", "digest"] {
        headers.remove(name);
    }
    // Two forms of different bytes can't share a strong validator (RFC 9110 section 8.8.1).
    let weak = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    if let Some(weak) = weak.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok()) {
        headers.insert(header::ETAG, weak);
    }
}

/// Says that an answer depends on `Accept-Encoding`.
pub(crate) fn vary(headers: &mut HeaderMap) {
    let names = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
        names.any(|n| n == b"*" || n.eq_ignore_ascii_case(b"accept-encoding"))
    };
    if !headers.get_all(header::VARY).iter().any(names) {
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn has_directive(headers: &HeaderMap, wanted: &[u8]) -> bool {
    let has = |value: &HeaderValue| {
        value.as_bytes().split(|b| *b == b',').any(|directive| {
            let name = directive.split(|b| *b == b'=').next().unwrap_or_default();
            name.trim_ascii().eq_ignore_ascii_case(wanted)
        })
    };
    headers.get_all(header::CACHE_CONTROL).iter().any(has)
}

fn is_text(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return false };
    let essence = value.as_bytes().split(|b| *b == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    match &*essence {
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
fn preferred(headers: &HeaderMap) -> Option<Encoding> {
    const BY_COST: [Encoding; 3] = [Encoding::Zstd, Encoding::Br, Encoding::Gzip];
    let mut weights = [None; 3];
    let (mut any, mut identity) = (None, None);
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        for item in value.as_bytes().split(|b| *b == b',') {
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

/// An answer on its way through a compressor.
pub(crate) struct Compressor {
    encoder: Option<Encoder>,
    /// Bytes of the uncompressed answer that are still to come, when its length is known.
    left: Option<u64>,
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    /// For an answer with these fields, which must be the app's own.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn new(encoding: Encoding, response: &HeaderMap) -> io::Result<Self> {
        let out = Vec::new();
        let encoder = match encoding {
            Encoding::Gzip => Encoder::Gzip(GzEncoder::new(out, flate2::Compression::new(GZIP))),
            Encoding::Br => {
                Encoder::Brotli(Box::new(brotli::CompressorWriter::new(out, BROTLI_BUFFER, BROTLI, BROTLI_WINDOW)))
            }
            Encoding::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(out, ZSTD)?),
        };
        Ok(Self { encoder: Some(encoder), left: content_length(response) })
    }

    /// Compresses a piece. What comes out may be empty, unless it is the last.
    ///
    /// # Errors
    /// When the compressor fails; the answer can only be broken off then.
    pub(crate) fn push(&mut self, piece: &[u8], is_last: bool) -> io::Result<Bytes> {
        let Some(encoder) = &mut self.encoder else { return Ok(Bytes::new()) };
        encoder.write_all(piece)?;
        let is_last = match &mut self.left {
            Some(left) => {
                *left = left.saturating_sub(piece.len() as u64);
                is_last || *left == 0
            }
            None => is_last,
        };
        if !is_last {
            // An answer whose length is known was written at once; of others, each piece may be waited for.
            if self.left.is_none() {
                encoder.flush()?;
            }
            return Ok(Bytes::from(encoder.take()));
        }
        let Some(encoder) = self.encoder.take() else { return Ok(Bytes::new()) };
        encoder.finish().map(Bytes::from)
    }
}

impl Encoder {
    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(e) => e.write_all(piece),
            Self::Brotli(e) => e.write_all(piece),
            Self::Zstd(e) => e.write_all(piece),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(e) => e.flush(),
            Self::Brotli(e) => e.flush(),
            Self::Zstd(e) => e.flush(),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Gzip(e) => e.get_mut(),
            Self::Brotli(e) => e.get_mut(),
            Self::Zstd(e) => e.get_mut(),
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(e) => e.finish(),
            Self::Brotli(e) => Ok(e.into_inner()),
            Self::Zstd(e) => e.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read as _;

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
            assert_eq!(preferred(&headers(&[("accept-encoding", accepted)])), expected, "{accepted}");
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
            let (request, response, method) = (&request, &response, &method);
            let facts = Facts { method, request, status, response, ends_clearly: true };
            assert_eq!(choose(&facts), expected, "{what}");
        }
    }

    #[test]
    fn the_fields_tell_of_the_compressed_form() {
        let mut fields = headers(&[("etag", "\"v1\""), ("content-length", "9"), ("accept-ranges", "bytes")]);
        rewrite(&mut fields, Encoding::Br);
        vary(&mut fields);
        vary(&mut fields);
        assert_eq!(fields, headers(&[("etag", "W/\"v1\""), ("content-encoding", "br"), ("vary", "Accept-Encoding")]));
        let mut any = headers(&[("vary", "*")]);
        vary(&mut any);
        assert_eq!(any, headers(&[("vary", "*")]));
    }

    fn expand(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        // What is not ended yet is an error after what could be read.
        let _ = match encoding {
            Encoding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut text),
            Encoding::Br => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut text),
            Encoding::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut text),
        };
        text
    }

    #[test]
    fn each_piece_of_unknown_length_can_be_read_at_once_and_the_whole_in_the_end() {
        for encoding in Encoding::ALL {
            let mut compressor = Compressor::new(encoding, &HeaderMap::new()).unwrap();
            let mut sent = Vec::new();
            for n in 1..=3 {
                sent.extend(compressor.push(b"piece ", false).unwrap());
                assert_eq!(expand(encoding, &sent), b"piece ".repeat(n), "{encoding:?}");
            }
            sent.extend(compressor.push(b"", true).unwrap());
            assert_eq!(expand(encoding, &sent), b"piece piece piece ");
        }
    }

    #[test]
    fn an_answer_of_known_length_ends_with_its_last_byte() {
        for encoding in Encoding::ALL {
            let mut compressor = Compressor::new(encoding, &headers(&[("content-length", "20000")])).unwrap();
            let mut sent = compressor.push(&[b'a'; 15_000], false).unwrap().to_vec();
            sent.extend(compressor.push(&[b'a'; 5_000], false).unwrap());
            assert!(sent.len() < 200);
            assert_eq!(expand(encoding, &sent), [b'a'; 20_000], "{encoding:?}");
            assert!(compressor.push(b"", true).unwrap().is_empty());
        }
    }
}
