//! Which addresses a line is for: a path, or a whole URL with one.

use common::site_rules::Source;
use common::site_rules::pattern::Pattern;
use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization as _;

/// Reads an address; the reason when it is none.
pub fn parse(text: &str) -> Result<(Source, Pattern), String> {
    let (https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (Some(true), rest),
        (None, Some(rest)) => (Some(false), rest),
        (None, None) => (None, text),
    };
    let (host, path) = match https {
        Some(_) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", text),
    };
    let host = host.to_ascii_lowercase();
    if https.is_some() && !is_host(&host) {
        return Err("the address's host is not a plain host name; ports, `*` and placeholders can't stand there".into());
    }
    let path = in_nfc(if https.is_some() && path.is_empty() { "/" } else { path });
    let pattern = Pattern::parse(&path).map_err(|e| e.to_string())?;
    Ok((Source { https, host: https.map(|_| host), path }, pattern))
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

/// The path in the Unicode form in which paths of files and of requests are compared.
fn in_nfc(path: &str) -> String {
    if path.is_ascii() && !path.contains('%') {
        return path.to_owned();
    }
    // Only what is not ASCII is decoded: `%2A` is not `*`, and `%25` not the beginning of something else.
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(start) = rest.find('%') {
        decoded.push_str(&rest[..start]);
        rest = &rest[start..];
        let run = encoded_run(rest);
        match percent_decode_str(&rest[..run]).decode_utf8() {
            Ok(text) if run > 0 => decoded.push_str(&text),
            _ => decoded.push_str(&rest[..run.max(1)]),
        }
        rest = &rest[run.max(1)..];
    }
    decoded.push_str(rest);
    decoded.nfc().collect()
}

/// Bytes of the percent-encoded bytes beyond ASCII at the start of `text`.
fn encoded_run(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_encoded = |at: usize| {
        bytes.get(at) == Some(&b'%')
            && bytes.get(at + 1).is_some_and(|b| matches!(b.to_ascii_lowercase(), b'8' | b'9' | b'a'..=b'f'))
            && bytes.get(at + 2).is_some_and(u8::is_ascii_hexdigit)
    };
    (0..).step_by(3).take_while(|at| is_encoded(*at)).count() * 3
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_a_path_or_a_url() {
        let read = |text: &str| parse(text).map(|(source, _)| (source.https, source.host, source.path));
        assert_eq!(read("/a/*"), Ok((None, None, "/a/*".into())));
        assert_eq!(read("https://Example.com/a"), Ok((Some(true), Some("example.com".into()), "/a".into())));
        assert_eq!(read("http://example.com"), Ok((Some(false), Some("example.com".into()), "/".into())));
        for wrong in ["a", "https:///a", "https://:x.example.com/", "https://a:8080/", "https://*/", "//a/b", "/a?b"] {
            let is_error = read(wrong).is_err();
            assert_eq!(is_error, wrong != "//a/b", "{wrong}");
        }
    }

    #[test]
    fn what_is_not_ascii_is_in_nfc_and_the_rest_as_it_was() {
        for (path, expected) in [
            ("/a%20b%2A", "/a%20b%2A"),
            ("/%C3%A9", "/é"),
            ("/e%CC%81", "/é"),
            ("/e\u{301}", "/é"),
            ("/%ff%2", "/%ff%2"),
            ("/%e4%bd%a0/%25", "/你/%25"),
            ("/100%", "/100%"),
        ] {
            assert_eq!(in_nfc(path), expected, "{path}");
        }
    }
}
