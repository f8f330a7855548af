//! The request line (RFC 9112 section 3).

use crate::refusal::{self, Refusal};
use crate::scan::{self, Span};

/// A request's method, as far as it matters where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// Any other; [`crate::Head::method_name`] has its name.
    Other,
}

/// A request's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// What a request is for (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path, with its query.
    Origin,
    /// A whole URL.
    Absolute {
        /// Host, and port when there is one.
        authority: Span,
    },
    /// The `*` of `OPTIONS`.
    Asterisk,
}

pub(crate) struct Line {
    pub(crate) method: Method,
    pub(crate) name: Span,
    pub(crate) target: Target,
    pub(crate) address: Span,
    pub(crate) version: Version,
}

/// Reads a line without its end. It has no control characters but tabs.
pub(crate) fn read(head: &[u8], start: usize, end: usize) -> Result<Line, Refusal> {
    let line = &head[start..end];
    let name_len = line.iter().position(|b| !scan::is_token(*b)).unwrap_or(line.len());
    match line.get(name_len) {
        Some(b' ') if name_len > 0 => {}
        Some(_) if name_len > 0 && !line.contains(&b' ') => return Err(refusal::REQUEST_LINE),
        Some(_) => return Err(refusal::METHOD),
        None => return Err(refusal::REQUEST_LINE),
    }
    let rest = &line[name_len + 1..];
    // No space is in a target, so the first one ends it.
    let Some(address_len) = rest.iter().position(|b| matches!(b, b' ' | b'\t')) else {
        return Err(refusal::REQUEST_LINE);
    };
    let (address, version) = (&rest[..address_len], &rest[address_len + 1..]);
    if address.is_empty() || rest[address_len] != b' ' {
        return Err(refusal::REQUEST_LINE);
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(refusal::VERSION);
        }
        _ => return Err(refusal::REQUEST_LINE),
    };
    let at = start + name_len + 1;
    let method = match &line[..name_len] {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"CONNECT" => return Err(refusal::CONNECT),
        _ => Method::Other,
    };
    Ok(Line {
        target: target(address, at, &line[..name_len])?,
        method,
        name: Span::new(start, start + name_len),
        address: Span::new(at, at + address_len),
        version,
    })
}

fn target(address: &[u8], at: usize, method: &[u8]) -> Result<Target, Refusal> {
    // A fragment is never sent (RFC 9110 section 4.2.5), and servers differ in what they make of it.
    if address.contains(&b'#') {
        return Err(refusal::TARGET);
    }
    if address[0] == b'/' {
        return Ok(Target::Origin);
    }
    if address == b"*" && method == b"OPTIONS" {
        return Ok(Target::Asterisk);
    }
    let is_scheme = |s: &[u8]| address.get(..s.len()).is_some_and(|start| start.eq_ignore_ascii_case(s));
    let scheme = if is_scheme(b"http://") {
        b"http://".len()
    } else if is_scheme(b"https://") {
        b"https://".len()
    } else {
        return Err(refusal::TARGET);
    };
    let rest = &address[scheme..];
    let len = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    if !is_host(&rest[..len]) {
        return Err(refusal::TARGET);
    }
    Ok(Target::Absolute { authority: Span::new(at + scheme, at + scheme + len) })
}

/// Whether this is the name or the address of a host, and maybe a port (RFC 9110 section 7.2). Of the characters
/// that RFC 3986 allows in names, only those are taken that names of sites have.
pub(crate) fn is_host(text: &[u8]) -> bool {
    let end = match text {
        [b'[', address @ ..] => {
            let Some(end) = address.iter().position(|b| *b == b']') else { return false };
            let is_address = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
            if end == 0 || !address[..end].iter().all(is_address) {
                return false;
            }
            end + 2
        }
        _ => {
            let end = text.iter().position(|b| *b == b':').unwrap_or(text.len());
            let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            if end == 0 || !text[..end].iter().all(is_name) {
                return false;
            }
            end
        }
    };
    match &text[end..] {
        [] => true,
        [b':', port @ ..] => is_port(port),
        _ => false,
    }
}

/// Whether this is what may follow the colon behind a host: a port, or nothing (RFC 3986 section 3.2.3).
#[must_use]
pub fn is_port(text: &[u8]) -> bool {
    let digit = |value: u32, b: &u8| b.is_ascii_digit().then(|| value * 10 + u32::from(b - b'0'));
    text.len() <= 5 && text.iter().try_fold(0, digit).is_some_and(|port| port <= u32::from(u16::MAX))
}
