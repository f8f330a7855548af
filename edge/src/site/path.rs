//! From a request's target to a path as manifests write it.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// Why a path is refused, in a sentence for the visitor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadPath(pub(crate) &'static str);

/// Decodes percent-encoding once, brings to NFC, and refuses what no file can be called.
pub(crate) fn decode(raw: &[u8]) -> Result<Cow<'_, str>, BadPath> {
    if !raw.starts_with(b"/") {
        return Err(BadPath("The address has no path."));
    }
    let path = match raw.contains(&b'%') {
        false => Cow::Borrowed(std::str::from_utf8(raw).map_err(|_| NOT_UTF8)?),
        true => Cow::Owned(String::from_utf8(percent_decoded(raw)?).map_err(|_| NOT_UTF8)?),
    };
    if path.bytes().any(|b| b.is_ascii_control() || b == b'\\') {
        return Err(BadPath("The address contains a control character or a backslash."));
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(BadPath("The address contains a dot segment."));
    }
    if path.is_ascii() || is_nfc_quick(path.chars()) == IsNormalized::Yes {
        return Ok(path);
    }
    Ok(Cow::Owned(path.nfc().collect()))
}

const NOT_UTF8: BadPath = BadPath("The address is not in UTF-8.");

fn percent_decoded(raw: &[u8]) -> Result<Vec<u8>, BadPath> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(BadPath("The address contains a percent sign without two hexadecimal digits."));
        };
        // Two hexadecimal digits are at most 255.
        decoded.push((high << 4 | low) as u8);
    }
    Ok(decoded)
}

/// Whether a path's last segment has a file's extension.
pub(crate) fn has_extension(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').is_some_and(|(stem, extension)| !stem.is_empty() && !extension.is_empty())
}

/// A decoded path, and the other paths at which a static site may show the same page: with and without a file's
/// extension, and with and without an index's name.
pub(crate) fn spellings(path: &str) -> Vec<String> {
    let stem = path.strip_suffix('/').unwrap_or(path);
    let clean = stem.strip_suffix(".html").unwrap_or(stem);
    let clean = clean.strip_suffix("/index").unwrap_or(clean);
    let mut all = vec![path.to_owned()];
    for other in [format!("{clean}/"), format!("{clean}.html"), format!("{clean}/index.html")] {
        if !all.contains(&other) {
            all.push(other);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_decoded_once_and_brought_to_nfc() {
        for (raw, path) in [
            ("/", "/"),
            ("/a/b.css", "/a/b.css"),
            ("/a%20b", "/a b"),
            ("/%E4%BD%A0.html", "/你.html"),
            ("/%2541", "/%41"),
            ("/a%2Fb", "/a/b"),
            ("/a%CC%88", "/ä"),
            ("/ä", "/ä"),
            ("/a+b", "/a+b"),
            ("/..a/.well-known/...", "/..a/.well-known/..."),
        ] {
            assert_eq!(decode(raw.as_bytes()).unwrap(), path, "{raw}");
        }
    }

    #[test]
    fn what_no_file_can_be_called_is_refused() {
        let bad: [&[u8]; 17] = [
            b"",
            b"*",
            b"a",
            b"/%",
            b"/%4",
            b"/%zz",
            b"/%+1",
            b"/%ff",
            b"/\xff",
            b"/%00",
            b"/a%0d%0ab",
            b"/a\\b",
            b"/%5c..%5cetc",
            b"/../etc/passwd",
            b"/a/./b",
            b"/%2e%2e/etc",
            b"/a%2f..%2fb",
        ];
        for raw in bad {
            assert!(decode(raw).is_err(), "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn every_byte_comes_back_from_its_encoding_or_is_refused() {
        for byte in 0..=u8::MAX {
            let raw = format!("/x%{byte:02x}");
            match decode(raw.as_bytes()) {
                Ok(path) => assert_eq!(path.as_bytes(), [b'/', b'x', byte]),
                Err(_) => assert!(!(0x20..0x7f).contains(&byte) || byte == b'\\', "{byte}"),
            }
        }
    }

    #[test]
    fn a_page_has_several_spellings() {
        for path in ["/a", "/a/", "/a.html", "/a/index", "/a/index.html"] {
            let all = spellings(path);
            for spelling in [path, "/a/", "/a.html", "/a/index.html"] {
                assert!(all.iter().any(|s| s == spelling), "{path}: {all:?}");
            }
        }
        assert!(spellings("/").iter().any(|s| s == "/index.html"));
        assert!(spellings("/index.html").iter().any(|s| s == "/"));
    }

    #[test]
    fn only_the_last_segment_can_have_an_extension() {
        for (path, has) in [
            ("/app.js", true),
            ("/v1.2/about", false),
            ("/user/john.doe", true),
            ("/.well-known", false),
            ("/a.", false),
            ("/a.b/", false),
            ("/", false),
        ] {
            assert_eq!(has_extension(path), has, "{path}");
        }
    }
}
