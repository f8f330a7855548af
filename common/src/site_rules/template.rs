//! Texts with `:placeholders` that are filled with what a pattern caught.

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

use super::pattern::name_end;

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Vec<Piece>);

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Stands as it is.
    Text(String),
    /// What a placeholder of this name caught.
    Name(String),
}

impl Text {
    /// Reads a text. Only names that `is_known` are placeholders; all else stands as it is.
    #[must_use]
    pub fn parse(text: &str, is_known: impl Fn(&str) -> bool) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(':') {
            let behind = &rest[at + 1..];
            let name = &behind[..name_end(behind)];
            if name.is_empty() || !is_known(name) {
                literal.push_str(&rest[..=at]);
                rest = behind;
                continue;
            }
            literal.push_str(&rest[..at]);
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Name(name.to_owned()));
            rest = &behind[name.len()..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Self(pieces)
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Whether nothing is to be filled in.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.0.iter().all(|p| matches!(p, Piece::Text(_)))
    }
}

/// Where a redirect leads: a path, or a whole URL, with placeholders behind its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Scheme and host, `https://example.com`; none for another path of the same host.
    origin: Option<String>,
    path: Text,
    /// Behind `?`.
    query: Option<Text>,
    /// With its `#`, or empty.
    fragment: String,
}

/// Why a text is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Neither a path nor a URL.
    #[error("the target begins neither with a slash nor with http:// or https://")]
    Neither,
    /// The host is missing, or is filled in, or has what no host has.
    #[error("the target's host is not a plain host name, with a port at most")]
    Host,
    /// It has a space, a control character or a backslash.
    #[error("the target has a character that must be percent-encoded")]
    Character,
}

impl Template {
    /// Reads a target. Only names that `is_known` are placeholders.
    ///
    /// # Errors
    /// When the text is no target.
    pub fn parse(text: &str, is_known: impl Fn(&str) -> bool) -> Result<Self, TemplateError> {
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(TemplateError::Character);
        }
        let (origin, rest) = split_origin(text)?;
        let (rest, fragment) = rest.find('#').map_or((rest, ""), |at| rest.split_at(at));
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(Text::parse(query, &is_known))),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self {
            origin: origin.map(str::to_owned),
            path: Text::parse(path, &is_known),
            query,
            fragment: fragment.to_owned(),
        })
    }

    /// Scheme and host; `None` for another path of the same host.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// The path, when nothing is filled in.
    #[must_use]
    pub fn fixed_path(&self) -> Option<&str> {
        match self.path.pieces() {
            [Piece::Text(path)] => Some(path),
            _ => None,
        }
    }

    /// The path with decoded values filled in, and itself decoded: the name of a file.
    pub fn fill_path<'a>(&self, mut value: impl FnMut(&str) -> &'a str) -> String {
        let mut path = String::new();
        for piece in self.path.pieces() {
            match piece {
                Piece::Text(text) => path.push_str(&percent_decode_str(text).decode_utf8_lossy()),
                Piece::Name(name) => path.push_str(value(name)),
            }
        }
        path
    }

    /// The whole target with decoded values filled in and percent-encoded, as it stands in `Location`. `query` is
    /// what stands behind `?` unless the target says so itself. Never leads to another host than the one that the
    /// target names.
    pub fn fill<'a>(&self, mut value: impl FnMut(&str) -> &'a str, query: Option<&str>) -> String {
        let mut to = self.origin.clone().unwrap_or_default();
        let start = to.len();
        for piece in self.path.pieces() {
            match piece {
                Piece::Text(text) => encode(&mut to, text, |b| b.is_ascii_graphic()),
                Piece::Name(name) => encode(&mut to, value(name), is_path_byte),
            }
        }
        // What begins with two slashes is another host, and with what a visitor chose it would be theirs.
        let slashes = to[start..].bytes().take_while(|b| *b == b'/').count();
        if slashes > 1 {
            to.replace_range(start..start + slashes - 1, "");
        }
        match (&self.query, query) {
            (Some(own), _) => {
                to.push('?');
                for piece in own.pieces() {
                    match piece {
                        Piece::Text(text) => encode(&mut to, text, |b| b.is_ascii_graphic()),
                        Piece::Name(name) => encode(&mut to, value(name), is_unreserved),
                    }
                }
            }
            (None, Some(query)) => {
                to.push('?');
                encode(&mut to, query, |b| b.is_ascii_graphic() && b != b'#');
            }
            (None, None) => {}
        }
        encode(&mut to, &self.fragment, |b| b.is_ascii_graphic());
        to
    }
}

/// Scheme with host, and what is behind it.
fn split_origin(text: &str) -> Result<(Option<&str>, &str), TemplateError> {
    if text.starts_with('/') {
        return if text.starts_with("//") { Err(TemplateError::Host) } else { Ok((None, text)) };
    }
    let scheme = ["https://", "http://"].into_iter().find(|s| text.starts_with(s)).ok_or(TemplateError::Neither)?;
    let end = text[scheme.len()..].find(['/', '?', '#']).map_or(text.len(), |at| scheme.len() + at);
    let (origin, rest) = text.split_at(end);
    let (host, port) =
        origin[scheme.len()..].split_once(':').map_or((&origin[scheme.len()..], None), |(h, p)| (h, Some(p)));
    let is_host =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if !is_host || port.is_some_and(|p| p.is_empty() || !p.bytes().all(|b| b.is_ascii_digit())) {
        return Err(TemplateError::Host);
    }
    Ok((Some(origin), rest))
}

fn encode(to: &mut String, text: &str, stays: impl Fn(u8) -> bool) {
    for byte in text.bytes() {
        if stays(byte) {
            to.push(char::from(byte));
        } else {
            // Writing to a text never fails.
            let _ = write!(to, "%{byte:02X}");
        }
    }
}

/// RFC 3986 section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What stands in a path as it is (RFC 3986 section 3.3).
const fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn value(name: &str) -> &'static str {
        match name {
            "splat" => "a/b c",
            "id" => "5&x=1",
            "evil" => "/evil.example/",
            _ => "?#%",
        }
    }

    fn filled(text: &str, query: Option<&str>) -> String {
        let template = Template::parse(text, |name| matches!(name, "splat" | "id" | "evil" | "odd")).unwrap();
        template.fill(value, query)
    }

    #[test]
    fn values_are_encoded_where_they_stand() {
        for (text, to) in [
            ("/x/:splat", "/x/a/b%20c"),
            ("/x/:odd", "/x/%3F%23%25"),
            ("/x?id=:id", "/x?id=5%26x%3D1"),
            ("/x/:id?a#:id", "/x/5&x=1?a#:id"),
            ("/x/:unknown", "/x/:unknown"),
            ("/%20ä", "/%20%C3%A4"),
            ("https://example.com", "https://example.com/"),
            ("https://example.com:8080/:splat", "https://example.com:8080/a/b%20c"),
            ("http://example.com?q=:splat", "http://example.com/?q=a%2Fb%20c"),
        ] {
            assert_eq!(filled(text, None), to, "{text}");
        }
    }

    #[test]
    fn the_visitors_query_is_passed_on_unless_the_target_has_one() {
        assert_eq!(filled("/x", Some("a=b&c")), "/x?a=b&c");
        assert_eq!(filled("/x#y", Some("a")), "/x?a#y");
        assert_eq!(filled("/x?z", Some("a")), "/x?z");
        assert_eq!(filled("/x", Some("a#b")), "/x?a%23b");
    }

    #[test]
    fn what_a_visitor_chose_never_leads_to_another_host() {
        assert_eq!(filled("/:evil", None), "/evil.example/");
        assert_eq!(filled("https://example.com/:evil", None), "https://example.com/evil.example/");
        for text in [
            "https://example.com:splat",
            "https://:splat/",
            "https://:id.example.com/",
            "https://a@b/",
            "https:///x",
            "//evil.example/",
        ] {
            assert_eq!(Template::parse(text, |_| true), Err(TemplateError::Host), "{text}");
        }
        for text in ["", "x", "javascript:alert(1)", "ftp://example.com/"] {
            assert_eq!(Template::parse(text, |_| true), Err(TemplateError::Neither), "{text}");
        }
        assert_eq!(Template::parse("/\\evil.example", |_| true), Err(TemplateError::Character));
    }
}
