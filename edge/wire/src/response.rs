//! The head of an app's answer (RFC 9112 section 4), read as strictly as a request's: an app that a stranger made is
//! a stranger too.

use crate::fields::{self, Fields};
use crate::head::{Framing, Limits};
use crate::scan::{self, LineEnd, Span};

/// Registered transfer codings (RFC 9112 section 7) that change what the body is, besides `chunked`.
const CODINGS: [&[u8]; 5] = [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"];

/// Why bytes are no answer. The connection can't be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// What bytes of an app are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParsedResponse {
    /// The beginning of a head.
    Partial,
    /// A head, and maybe more.
    Complete(Response),
    /// No head, whatever may follow.
    Malformed(Malformed),
}

/// Where an answer's body ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// As a request's does.
    Like(Framing),
    /// With the connection.
    Close,
}

/// What the head of an answer says. It refers to the bytes that were parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Bytes that it takes.
    pub len: usize,
    /// The status, from 100 to 599.
    pub status: u16,
    /// What the status line says after the status; may be empty.
    pub reason: Span,
    /// Where the body ends, when it has one: answers to HEAD have none whatever this says.
    pub framing: ResponseFraming,
    /// Whether the app lets the connection be used again.
    pub keeps_alive: bool,
    /// Whether there is a `Content-Length`.
    pub has_length: bool,
    /// Whether there is a `Date`.
    pub has_date: bool,
    /// Whether there is a `Set-Cookie`.
    pub sets_cookie: bool,
    /// Whether the body's form is settled: by `Content-Encoding`, `Content-Range` or `Trailer`.
    pub keeps_form: bool,
    /// `Cache-Control`, when there is one.
    pub cache_control: Option<Span>,
    /// `Connection`, when there is one.
    pub connection: Option<Span>,
    /// `Content-Type`, when there is one.
    pub content_type: Option<Span>,
    /// `Vary`, when there is one.
    pub vary: Option<Span>,
    /// Whether there are several of one of the four above, of which only the last is told.
    pub is_repeated: bool,
    fields: Span,
}

impl Response {
    /// All fields, in order; `head` is what was parsed.
    #[must_use]
    pub fn fields<'a>(&self, head: &'a [u8]) -> Fields<'a> {
        Fields::new(self.fields.of(head))
    }
}

/// Reads the head of an answer.
#[must_use]
pub fn parse_response(bytes: &[u8], limits: &Limits) -> ParsedResponse {
    match read(bytes, limits) {
        Ok(Some(response)) => ParsedResponse::Complete(response),
        Ok(None) => ParsedResponse::Partial,
        Err(malformed) => ParsedResponse::Malformed(malformed),
    }
}

#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // Each is a field of its own that was there or not.
struct Seen {
    length: Option<u64>,
    is_chunked: bool,
    /// Whether it has a transfer coding that nobody registered: the body ends with the connection (RFC 9112 section 6.3).
    is_unknown: bool,
    keeps_alive: bool,
    closes: bool,
    has_date: bool,
    sets_cookie: bool,
    keeps_form: bool,
    cache_control: Option<Span>,
    connection: Option<Span>,
    content_type: Option<Span>,
    vary: Option<Span>,
    is_repeated: bool,
}

fn read(bytes: &[u8], limits: &Limits) -> Result<Option<Response>, Malformed> {
    let Some(end) = line(bytes, 0, limits)? else { return Ok(None) };
    let (is_11, status, reason) = status_line(bytes, end)?;
    let first = end + 2;
    let mut at = first;
    let mut seen = Seen::default();
    let mut count = 0;
    let end = loop {
        let Some(end) = line(bytes, at, limits)? else { return Ok(None) };
        if end == at {
            break end;
        }
        count += 1;
        if count > limits.fields {
            return Err(Malformed("it has too many header fields"));
        }
        let (name, value) = fields::split(bytes, at, end).map_err(|_| Malformed("a header field is malformed"))?;
        seen.note(bytes, name, value)?;
        at = end + 2;
    };
    if seen.is_unknown && (seen.length.is_some() || matches!(status, 100..=199 | 204 | 304)) {
        return Err(Malformed("it has a transfer coding where there can be none"));
    }
    let framing = match (status, seen.length, seen.is_chunked) {
        (100..=199 | 204 | 304, _, false) => ResponseFraming::Like(Framing::None),
        (_, Some(_), true) => return Err(Malformed("it has a length and chunks")),
        (_, Some(0), false) => ResponseFraming::Like(Framing::None),
        (_, Some(length), false) => ResponseFraming::Like(Framing::Length(length)),
        // Chunks where there can be none, or before HTTP/1.1 (RFC 9112 section 6.1).
        (100..=199 | 204 | 304, _, true) => return Err(Malformed("it has chunks where there is no body")),
        (_, None, true) if !is_11 => return Err(Malformed("it has chunks in HTTP/1.0")),
        (_, None, true) => ResponseFraming::Like(Framing::Chunked),
        (_, None, false) => ResponseFraming::Close,
    };
    Ok(Some(Response {
        len: end + 2,
        status,
        reason,
        framing,
        keeps_alive: !seen.closes && (is_11 || seen.keeps_alive),
        has_length: seen.length.is_some(),
        has_date: seen.has_date,
        sets_cookie: seen.sets_cookie,
        keeps_form: seen.keeps_form,
        cache_control: seen.cache_control,
        connection: seen.connection,
        content_type: seen.content_type,
        vary: seen.vary,
        is_repeated: seen.is_repeated,
        fields: Span::new(first, end),
    }))
}

/// The end of the line from `at`; `None` when it has not come yet.
fn line(bytes: &[u8], at: usize, limits: &Limits) -> Result<Option<usize>, Malformed> {
    let window = &bytes[..bytes.len().min(limits.head)];
    match scan::line_end(window, at.min(window.len())) {
        LineEnd::At(end) => Ok(Some(end)),
        LineEnd::Open if bytes.len() >= limits.head => Err(Malformed("its head is too large")),
        LineEnd::Open => Ok(None),
        LineEnd::Control => Err(Malformed("its head has a control character")),
        LineEnd::Bare => Err(Malformed("the lines of its head do not all end with CR LF")),
    }
}

fn status_line(bytes: &[u8], end: usize) -> Result<(bool, u16, Span), Malformed> {
    const WRONG: Malformed = Malformed("it does not begin with HTTP/1.1 and a status");
    let line = &bytes[..end];
    let is_11 = match line.get(..9) {
        Some(b"HTTP/1.1 ") => true,
        Some(b"HTTP/1.0 ") => false,
        _ => return Err(WRONG),
    };
    let (Some(digits @ [b'1'..=b'5', _, _]), None | Some(b' ')) = (line.get(9..12), line.get(12)) else {
        return Err(WRONG);
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(WRONG);
    }
    let status = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    Ok((is_11, status, Span::new(end.min(13), end)))
}

impl Seen {
    fn note(&mut self, bytes: &[u8], name: Span, value: Span) -> Result<(), Malformed> {
        let text = name.of(bytes);
        let is = |known: &[u8]| text.eq_ignore_ascii_case(known);
        // The length rules most out, and costs nothing.
        match text.len() {
            4 if is(b"date") => self.has_date = true,
            4 if is(b"vary") => self.is_repeated |= self.vary.replace(value).is_some(),
            7 if is(b"trailer") => self.keeps_form = true,
            10 if is(b"connection") => {
                for option in value.of(bytes).split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                    self.closes |= option.eq_ignore_ascii_case(b"close");
                    self.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                self.is_repeated |= self.connection.replace(value).is_some();
            }
            10 if is(b"set-cookie") => self.sets_cookie = true,
            12 if is(b"content-type") => self.is_repeated |= self.content_type.replace(value).is_some(),
            13 if is(b"cache-control") => self.is_repeated |= self.cache_control.replace(value).is_some(),
            13 if is(b"content-range") => self.keeps_form = true,
            14 if is(b"content-length") => {
                let length = fields::length(value.of(bytes)).map_err(|_| Malformed("its length is no number"))?;
                if self.length.replace(length).is_some() {
                    return Err(Malformed("it has several lengths"));
                }
            }
            16 if is(b"content-encoding") => self.keeps_form = true,
            17 if is(b"transfer-encoding") => {
                let value = value.of(bytes);
                if self.is_chunked || self.is_unknown || value.is_empty() || value.contains(&b',') {
                    return Err(Malformed("it has several transfer codings"));
                }
                self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
                self.is_unknown = !self.is_chunked;
                if CODINGS.iter().any(|coding| value.eq_ignore_ascii_case(coding)) {
                    return Err(Malformed("it is compressed by a transfer coding, which is not undone here"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn parsed(text: &str) -> Response {
        match parse_response(text.as_bytes(), &Limits::default()) {
            ParsedResponse::Complete(response) => response,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_head_says_where_its_body_ends() {
        use ResponseFraming::{Close, Like};
        for (head, framing, keeps_alive) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Like(Framing::Length(5)), true),
            ("HTTP/1.1 200\r\ncontent-length: 0\r\nConnection: close\r\n\r\n", Like(Framing::None), false),
            ("HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\n\r\n", Like(Framing::Chunked), true),
            ("HTTP/1.1 200 OK\r\n\r\n", Close, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: of-my-own\r\n\r\n", Close, true),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", Like(Framing::Length(1)), false),
            (
                "HTTP/1.0 200 OK\r\nConnection: x, Keep-Alive\r\nContent-Length: 1\r\n\r\n",
                Like(Framing::Length(1)),
                true,
            ),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Like(Framing::None), true),
            ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", Like(Framing::None), true),
        ] {
            let response = parsed(head);
            assert_eq!((response.framing, response.keeps_alive), (framing, keeps_alive), "{head}");
            assert_eq!(response.len, head.len());
        }
    }

    #[test]
    fn the_parts_of_a_head_are_where_they_are() {
        let head = b"HTTP/1.1 404 Not Found\r\nA: 1\r\nb:2 \r\n\r\nbody";
        let ParsedResponse::Complete(response) = parse_response(head, &Limits::default()) else { panic!() };
        assert_eq!((response.status, response.reason.of(head)), (404, &b"Not Found"[..]));
        let fields: Vec<_> = response.fields(head).collect();
        assert_eq!(fields, [(&b"A"[..], &b"1"[..]), (b"b", b"2")]);
        assert_eq!(&head[response.len..], b"body");
        let bare = b"HTTP/1.1 200\r\n\r\n";
        let ParsedResponse::Complete(response) = parse_response(bare, &Limits::default()) else { panic!() };
        assert_eq!(response.reason.of(bare), b"");
    }

    #[test]
    fn what_decides_how_an_answer_is_passed_on_is_told() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nDATE: x\r\nset-cookie: a\r\nSet-Cookie: b\r\nVary: a\r\n\
            Content-Type: text/plain\r\nCache-Control: no-store\r\nConnection: x\r\n\r\n";
        let response = parsed(head);
        assert!(response.has_length && response.has_date && response.sets_cookie);
        assert!(!response.keeps_form && !response.is_repeated);
        let told = [response.vary, response.content_type, response.cache_control, response.connection];
        assert_eq!(told.map(|span| span.unwrap().of(head.as_bytes())), [b"a", &b"text/plain"[..], b"no-store", b"x"]);
        for name in ["Content-Encoding", "Content-Range", "Trailer"] {
            assert!(parsed(&format!("HTTP/1.1 200 OK\r\n{name}: x\r\n\r\n")).keeps_form, "{name}");
        }
        for name in ["Vary", "Content-Type", "Cache-Control", "Connection"] {
            assert!(parsed(&format!("HTTP/1.1 200 OK\r\n{name}: x\r\n{name}: x\r\n\r\n")).is_repeated, "{name}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_answer() {
        for head in [
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 600 Odd\r\n\r\n",
            "HTTP/1.1 2000\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/1.1 200 OK\nA: b\n\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: GZip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: odd\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: odd\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: odd\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: odd\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let parsed = parse_response(head.as_bytes(), &Limits::default());
            assert!(matches!(parsed, ParsedResponse::Malformed(_)), "{head}: {parsed:?}");
        }
        let endless = [b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'x'; 64 << 10]].concat();
        assert!(matches!(parse_response(&endless, &Limits::default()), ParsedResponse::Malformed(_)));
    }

    #[test]
    fn a_head_that_is_cut_anywhere_is_waited_for() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(parse_response(&head[..end], &Limits::default()), ParsedResponse::Partial, "{end}");
        }
    }
}
