//! Names as people write them (escapes of RFC 1035 5.1, Unicode by UTS 46) and as the wire has them.

use hickory_proto::{rr::Name, serialize::binary::BinDecodable};
use thiserror::Error;

/// Bytes of a name on the wire at most (RFC 1035 3.1).
pub const NAME_MAX: usize = 255;
/// Bytes of a label at most (RFC 1035 3.1).
pub const LABEL_MAX: usize = 63;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Two dots in a row, or a dot at the beginning.
    #[error("\"{0}\" has an empty part between two dots: take one dot away")]
    EmptyLabel(String),
    /// A label above [`LABEL_MAX`].
    #[error("a part of \"{0}\" is longer than 63 bytes: shorten it")]
    LabelTooLong(String),
    /// The whole above [`NAME_MAX`].
    #[error("\"{0}\" is longer than 255 bytes: shorten it")]
    TooLong(String),
    /// A backslash that escapes nothing.
    #[error("\"{0}\" has a backslash that escapes nothing: write \\. or \\DDD with a number up to 255")]
    Escape(String),
    /// Unicode that UTS 46 forbids.
    #[error("\"{0}\" has characters that no domain name may have (UTS 46)")]
    Unicode(String),
}

/// Reads a name; one without a dot at its end is relative to `origin`, and `@` is the origin itself.
///
/// # Errors
/// When the text is no name.
pub fn parse(text: &str, origin: &Name) -> Result<Name, NameError> {
    if text == "@" {
        return Ok(origin.clone());
    }
    if text == "." {
        return Ok(Name::root());
    }
    let (labels, absolute) = labels(text)?;
    let mut name = Name::root();
    let parts: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
    if !parts.is_empty() {
        name = Name::from_labels(parts).map_err(|_| NameError::TooLong(text.to_owned()))?;
    }
    if absolute {
        return Ok(name);
    }
    name.append_domain(origin).map_err(|_| NameError::TooLong(text.to_owned()))
}

fn labels(text: &str) -> Result<(Vec<Vec<u8>>, bool), NameError> {
    let mut labels = Vec::new();
    let mut label: Vec<u8> = Vec::new();
    let mut open = true;
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        open = true;
        match byte {
            b'.' => {
                labels.push(finish(std::mem::take(&mut label), text)?);
                open = false;
            }
            b'\\' => label.push(escaped(&mut rest).ok_or_else(|| NameError::Escape(text.to_owned()))?),
            other => label.push(other),
        }
    }
    if open {
        labels.push(finish(label, text)?);
    }
    Ok((labels, !open))
}

/// The byte that stands behind a backslash: a character of its own, or three decimal digits.
pub(crate) fn escaped(rest: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = rest.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut value = u32::from(first - b'0');
    for _ in 0..2 {
        let digit = rest.next().filter(u8::is_ascii_digit)?;
        value = value * 10 + u32::from(digit - b'0');
    }
    u8::try_from(value).ok()
}

fn finish(label: Vec<u8>, text: &str) -> Result<Vec<u8>, NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel(text.to_owned()));
    }
    let label = match std::str::from_utf8(&label) {
        Ok(unicode) if !unicode.is_ascii() => idna::domain_to_ascii(unicode)
            .ok()
            .filter(|ascii| !ascii.contains('.') && !ascii.is_empty())
            .ok_or_else(|| NameError::Unicode(text.to_owned()))?
            .into_bytes(),
        Ok(_) => label,
        Err(_) => label,
    };
    if label.len() > LABEL_MAX {
        return Err(NameError::LabelTooLong(text.to_owned()));
    }
    Ok(label)
}

/// The name as the wire has it, in lower case and without compression.
pub fn wire(name: &Name) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(name.len() + 1);
    for label in name.iter() {
        // A label of a `Name` is at most 63 bytes.
        bytes.push(label.len() as u8);
        bytes.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    bytes.push(0);
    bytes.into_boxed_slice()
}

/// A name that is on the wire without compression.
pub fn from_wire(wire: &[u8]) -> Option<Name> {
    Name::from_bytes(wire).ok()
}

/// The name in master-file form, with its last dot and all that is special escaped.
pub fn text(name: &Name) -> String {
    let mut text = String::new();
    for label in name.iter() {
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b';' | b'@' | b'$' | b'(' | b')' => {
                    text.push('\\');
                    text.push(char::from(byte));
                }
                0x21..=0x7e => text.push(char::from(byte)),
                other => text.push_str(&format!("\\{other:03}")),
            }
        }
        text.push('.');
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

/// The name as it is written within a zone: `@` for its own, and without the zone's name at the end.
pub fn relative(name: &Name, origin: &Name) -> String {
    if name == origin {
        return "@".to_owned();
    }
    if !origin.zone_of(name) {
        return text(name);
    }
    let count = name.iter().count() - origin.iter().count();
    let labels: Vec<&[u8]> = name.iter().take(count).collect();
    // Labels of a name are labels of a shorter one.
    let whole = Name::from_labels(labels).map(|name| text(&name)).unwrap_or_default();
    whole.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn origin() -> Name {
        Name::from_ascii("example.com.").unwrap()
    }

    #[test]
    fn names_are_relative_unless_they_end_with_a_dot() {
        assert_eq!(text(&parse("www", &origin()).unwrap()), "www.example.com.");
        assert_eq!(text(&parse("www.", &origin()).unwrap()), "www.");
        assert_eq!(text(&parse("@", &origin()).unwrap()), "example.com.");
    }

    #[test]
    fn names_are_written_without_the_zones_own() {
        for short in ["@", "www", "a.b", "a\\.b", "*"] {
            assert_eq!(relative(&parse(short, &origin()).unwrap(), &origin()), short);
        }
        assert_eq!(relative(&parse("example.net.", &origin()).unwrap(), &origin()), "example.net.");
    }

    #[test]
    fn unicode_becomes_punycode_and_escapes_are_read_and_written() {
        assert_eq!(text(&parse("Bücher", &origin()).unwrap()), "xn--bcher-kva.example.com.");
        assert_eq!(text(&parse("a\\.b\\032c", &origin()).unwrap()), "a\\.b\\032c.example.com.");
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_reason() {
        assert!(matches!(parse("a..b", &origin()), Err(NameError::EmptyLabel(_))));
        assert!(matches!(parse(".", &Name::root()), Ok(name) if name.is_root()));
        assert!(matches!(parse(&"a".repeat(64), &origin()), Err(NameError::LabelTooLong(_))));
        assert!(matches!(parse(&"abcdefgh.".repeat(30), &origin()), Err(NameError::TooLong(_))));
        assert!(matches!(parse("a\\999", &origin()), Err(NameError::Escape(_))));
    }
}
