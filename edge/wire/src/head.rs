//! The head of a request (RFC 9112 sections 2 to 6).

use crate::fields::{self, Fields, Seen};
use crate::line::{self, Line, Method, Target, Version};
use crate::refusal::{self, Refusal};
use crate::scan::{self, LineEnd, Span};

/// How large a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line in bytes, its end included.
    pub line: usize,
    /// Largest head in bytes, from its request line to its empty line.
    pub head: usize,
    /// Most header fields.
    pub fields: usize,
    /// Most bytes of all chunk extensions of a body together. Nothing uses them, so this only bounds the waste.
    pub chunk_extensions: usize,
    /// Most bytes of a body's trailer fields.
    pub trailers: usize,
}

impl Default for Limits {
    /// Browsers stay far below: what they send in a head are cookies, of which servers in use take 8 KiB each.
    fn default() -> Self {
        Self { line: 8 << 10, head: 32 << 10, fields: 100, chunk_extensions: 4 << 10, trailers: 8 << 10 }
    }
}

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a head.
    Partial,
    /// A head, and maybe more.
    Complete(Head),
    /// No head, whatever may follow.
    Refused(Refusal),
}

/// Where a request's body ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk and the trailer fields.
    Chunked,
}

/// What a head says that decides how its request is handled. It refers to the bytes that were parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes that it takes, an empty line before it included.
    pub len: usize,
    /// The method.
    pub method: Method,
    /// The method's name.
    pub method_name: Span,
    /// The target's form.
    pub target: Target,
    /// The target as it was sent.
    pub address: Span,
    /// The version.
    pub version: Version,
    /// `Host`; only HTTP/1.0 may lack it.
    pub host: Option<Span>,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the visitor lets the connection be used again (RFC 9112 section 9.3).
    pub keeps_alive: bool,
    /// Whether it asks for another protocol (RFC 9110 section 7.8).
    pub upgrades: bool,
    /// Whether the body is held back until it is asked for (RFC 9110 section 10.1.1), or something else is expected.
    pub expects: bool,
    /// `Accept-Encoding`, when there is one.
    pub accept_encoding: Option<Span>,
    /// `If-None-Match`, when there is one.
    pub if_none_match: Option<Span>,
    /// Whether it asks for a range, under another condition than [`Head::if_none_match`], with credentials, or has one
    /// of the two fields above more than once.
    pub is_unusual: bool,
    /// `Accept`, when there is one.
    pub accept: Option<Span>,
    /// `Connection`, when there is one.
    pub connection: Option<Span>,
    /// `TE`, when there is one.
    pub te: Option<Span>,
    /// `traceparent` (W3C Trace Context), when there is one.
    pub traceparent: Option<Span>,
    /// `User-Agent`, when there is one.
    pub user_agent: Option<Span>,
    /// Whether it says something to caches (`Cache-Control`).
    pub steers_caches: bool,
    /// Whether there are credentials (`Authorization`).
    pub authorizes: bool,
    /// Whether there are several of one of the fields above, of which only the last is told.
    pub is_repeated: bool,
    fields: Span,
}

impl Head {
    /// All fields, in order; `head` is what was parsed.
    #[must_use]
    pub fn fields<'a>(&self, head: &'a [u8]) -> Fields<'a> {
        Fields::new(self.fields.of(head))
    }
}

/// Reads the head of a request. The result is the same wherever the bytes are cut: more bytes never change a result
/// other than [`Parsed::Partial`].
#[must_use]
pub fn parse(bytes: &[u8], limits: &Limits) -> Parsed {
    match read(bytes, limits) {
        Ok(Some(head)) => Parsed::Complete(head),
        Ok(None) => Parsed::Partial,
        Err(refusal) => Parsed::Refused(refusal),
    }
}

fn read(bytes: &[u8], limits: &Limits) -> Result<Option<Head>, Refusal> {
    // One empty line is let pass, because old clients end bodies with one (RFC 9112 section 2.2).
    let start: usize = match bytes {
        [b'\r', b'\n', ..] => 2,
        [b'\r'] | [] => return Ok(None),
        _ => 0,
    };
    let head_end = start.saturating_add(limits.head);
    let line_limit = start.saturating_add(limits.line.min(limits.head));
    let Some(end) = line_within(bytes, start, line_limit, refusal::LINE_TOO_LONG)? else { return Ok(None) };
    let line = line::read(bytes, start, end)?;

    let first = end + 2;
    let mut at = first;
    let mut seen = Seen::default();
    let mut count = 0;
    loop {
        let Some(end) = line_within(bytes, at, head_end, refusal::HEAD_TOO_LARGE)? else { return Ok(None) };
        if end == at {
            return finish(bytes, &line, &seen, first, end).map(Some);
        }
        count += 1;
        if count > limits.fields {
            return Err(refusal::TOO_MANY_FIELDS);
        }
        let (name, value) = fields::split(bytes, at, end)?;
        seen.note(bytes, name, value)?;
        at = end + 2;
    }
}

/// The end of the line from `at`; `None` when it has not come yet. Nothing from `limit` on is looked at.
fn line_within(bytes: &[u8], at: usize, limit: usize, too_long: Refusal) -> Result<Option<usize>, Refusal> {
    let window = &bytes[..bytes.len().min(limit)];
    match scan::line_end(window, at.min(window.len())) {
        LineEnd::At(end) => Ok(Some(end)),
        LineEnd::Open if bytes.len() >= limit => Err(too_long),
        LineEnd::Open => Ok(None),
        LineEnd::Control => Err(refusal::CONTROL),
        LineEnd::Bare => Err(refusal::LINE_END),
    }
}

fn finish(bytes: &[u8], line: &Line, seen: &Seen, first: usize, end: usize) -> Result<Head, Refusal> {
    match seen.host {
        None if line.version == Version::Http11 => return Err(refusal::HOST_MISSING),
        Some(host) if !line::is_host(host.of(bytes)) => return Err(refusal::HOST),
        Some(host) => {
            if let Target::Absolute { authority } = line.target
                && !authority.of(bytes).eq_ignore_ascii_case(host.of(bytes))
            {
                return Err(refusal::AUTHORITY);
            }
        }
        None => {}
    }
    let framing = match (seen.length, seen.is_chunked) {
        (None, false) => Framing::None,
        (Some(0), false) => Framing::None,
        (Some(length), false) => Framing::Length(length),
        (None, true) if line.version == Version::Http11 => Framing::Chunked,
        // Both, or chunks in HTTP/1.0, which knows none (RFC 9112 section 6.1).
        _ => return Err(refusal::FRAMING),
    };
    let keeps_alive = match line.version {
        Version::Http11 => !seen.closes,
        Version::Http10 => seen.keeps_alive && !seen.closes,
    };
    Ok(Head {
        len: end + 2,
        method: line.method,
        method_name: line.name,
        target: line.target,
        address: line.address,
        version: line.version,
        host: seen.host,
        framing,
        keeps_alive,
        upgrades: seen.upgrades && seen.connection_upgrades,
        expects: seen.expects,
        accept_encoding: seen.accept_encoding,
        if_none_match: seen.if_none_match,
        is_unusual: seen.is_unusual,
        accept: seen.accept,
        connection: seen.connection,
        te: seen.te,
        traceparent: seen.traceparent,
        user_agent: seen.user_agent,
        steers_caches: seen.steers_caches,
        authorizes: seen.authorizes,
        is_repeated: seen.is_repeated,
        fields: Span::new(first, end),
    })
}
