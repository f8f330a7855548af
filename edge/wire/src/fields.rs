//! Header fields (RFC 9112 section 5), and what those say that matter here.

use crate::refusal::{self, Refusal};
use crate::scan::{self, Span};

/// Name and value of the field whose line is from `at` to `end`. The value is without the white space around it.
pub(crate) fn split(bytes: &[u8], at: usize, end: usize) -> Result<(Span, Span), Refusal> {
    let line = &bytes[at..end];
    if matches!(line[0], b' ' | b'\t') {
        return Err(refusal::FOLDED);
    }
    let name = line.iter().position(|b| !scan::is_token(*b)).unwrap_or(line.len());
    if name == 0 || line.get(name) != Some(&b':') {
        return Err(refusal::FIELD_NAME);
    }
    let mut from = name + 1;
    let mut to = line.len();
    while from < to && is_space(line[from]) {
        from += 1;
    }
    while to > from && is_space(line[to - 1]) {
        to -= 1;
    }
    Ok((Span::new(at, at + name), Span::new(at + from, at + to)))
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The fields of a head that was accepted.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// The fields of a body's trailers; `bytes` are all its [`crate::Part::Trailers`].
    #[must_use]
    pub const fn of_trailers(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Fields<'a> {
    /// Name, as it was sent, and value, without white space around it.
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // In a head that was accepted, a line feed only ends lines.
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        let colon = line.iter().position(|b| *b == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    }
}

/// What the fields so far said.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // Each is a field of its own that was there or not.
pub(crate) struct Seen {
    pub(crate) host: Option<Span>,
    pub(crate) length: Option<u64>,
    pub(crate) is_chunked: bool,
    pub(crate) keeps_alive: bool,
    pub(crate) closes: bool,
    pub(crate) upgrades: bool,
    pub(crate) connection_upgrades: bool,
    pub(crate) expects: bool,
    pub(crate) accept_encoding: Option<Span>,
    pub(crate) if_none_match: Option<Span>,
    pub(crate) is_unusual: bool,
    pub(crate) accept: Option<Span>,
    pub(crate) connection: Option<Span>,
    pub(crate) te: Option<Span>,
    pub(crate) traceparent: Option<Span>,
    pub(crate) user_agent: Option<Span>,
    pub(crate) steers_caches: bool,
    pub(crate) authorizes: bool,
    pub(crate) is_repeated: bool,
}

impl Seen {
    pub(crate) fn note(&mut self, bytes: &[u8], name: Span, value: Span) -> Result<(), Refusal> {
        let text = name.of(bytes);
        let is = |known: &[u8]| text.eq_ignore_ascii_case(known);
        // The length rules most out, and costs nothing.
        match text.len() {
            4 if is(b"host") && self.host.replace(value).is_some() => return Err(refusal::HOST_REPEATED),
            2 if is(b"te") => self.is_repeated |= self.te.replace(value).is_some(),
            5 if is(b"range") => self.is_unusual = true,
            6 if is(b"expect") => self.expects = true,
            6 if is(b"accept") => self.is_repeated |= self.accept.replace(value).is_some(),
            7 if is(b"upgrade") => self.upgrades = true,
            8 if is(b"if-match") || is(b"if-range") => self.is_unusual = true,
            10 if is(b"connection") => {
                self.options(value.of(bytes));
                self.is_repeated |= self.connection.replace(value).is_some();
            }
            10 if is(b"user-agent") => self.is_repeated |= self.user_agent.replace(value).is_some(),
            11 if is(b"traceparent") => self.is_repeated |= self.traceparent.replace(value).is_some(),
            13 if is(b"if-none-match") => {
                let is_second = self.if_none_match.replace(value).is_some();
                self.is_unusual |= is_second;
                self.is_repeated |= is_second;
            }
            13 if is(b"cache-control") => self.steers_caches = true,
            13 if is(b"authorization") => {
                self.is_repeated |= self.authorizes;
                (self.is_unusual, self.authorizes) = (true, true);
            }
            14 if is(b"content-length") => {
                let length = length(value.of(bytes))?;
                if self.length.replace(length).is_some() {
                    return Err(refusal::FRAMING);
                }
            }
            15 if is(b"accept-encoding") => {
                let is_second = self.accept_encoding.replace(value).is_some();
                self.is_unusual |= is_second;
                self.is_repeated |= is_second;
            }
            17 if is(b"transfer-encoding") => {
                let value = value.of(bytes);
                if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(if is_coded(value) { refusal::CODING } else { refusal::FRAMING });
                }
                self.is_chunked = true;
            }
            17 if is(b"if-modified-since") => self.is_unusual = true,
            19 if is(b"if-unmodified-since") => self.is_unusual = true,
            // Some programs take `_` for `-`, and so would see what nobody before them saw.
            14 | 17 if is_disguised(text) => return Err(refusal::FRAMING),
            _ => {}
        }
        Ok(())
    }

    fn options(&mut self, value: &[u8]) {
        for option in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.connection_upgrades |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }
}

/// Whether a body ends clearly, but is coded in a way that is not understood (RFC 9112 section 6.1): chunks come last,
/// once, after other codings. Where they don't, nobody knows where the body ends (RFC 9112 section 6.3).
fn is_coded(value: &[u8]) -> bool {
    let mut codings = value.rsplit(|b| *b == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let is_other =
        |coding: &[u8]| !coding.is_empty() && coding.iter().all(|b| scan::is_token(*b)) && !is_chunked(coding);
    codings.next().is_some_and(is_chunked) && codings.all(is_other) && value.contains(&b',')
}

/// Whether a name differs from one that frames a body in nothing but case and the form of its hyphen.
fn is_disguised(name: &[u8]) -> bool {
    let is = |known: &[u8]| {
        name.len() == known.len()
            && name.iter().zip(known).all(|(a, b)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-'))
    };
    is(b"content-length") || is(b"transfer-encoding")
}

/// A length in decimal digits and nothing else (RFC 9110 section 8.6).
pub(crate) fn length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() {
        return Err(refusal::FRAMING);
    }
    let mut length: u64 = 0;
    for digit in value {
        if !digit.is_ascii_digit() {
            return Err(refusal::FRAMING);
        }
        let next = length.checked_mul(10).and_then(|l| l.checked_add(u64::from(digit - b'0')));
        // Beyond, numbers with a sign overflow, in whoever comes after.
        length = next.filter(|l| i64::try_from(*l).is_ok()).ok_or(refusal::FRAMING)?;
    }
    Ok(length)
}
