//! Patterns in which `*` stands for any bytes.

use memchr::memmem;

/// A pattern, cut at its stars. Matching takes time in proportion to the text, whatever the pattern.
#[derive(Debug)]
pub(crate) struct Glob {
    /// What the text begins with; all of it when there is no star.
    start: Box<[u8]>,
    /// `None` without a star.
    rest: Option<Rest>,
}

/// What comes after the first star.
#[derive(Debug)]
struct Rest {
    /// What follows in this order.
    middle: Vec<Box<[u8]>>,
    /// What the text ends with.
    end: Box<[u8]>,
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        let mut pieces = pattern.as_bytes().split(|b| *b == b'*').map(Box::from);
        let start = pieces.next().unwrap_or_default();
        let mut middle: Vec<Box<[u8]>> = pieces.collect();
        let rest = middle.pop().map(|end| {
            middle.retain(|piece| !piece.is_empty());
            Rest { middle, end }
        });
        Self { start, rest }
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let Some(Rest { middle, end }) = &self.rest else { return *text == *self.start };
        let Some(text) = text.strip_prefix(&*self.start) else { return false };
        let Some(mut text) = text.strip_suffix(&**end) else { return false };
        for piece in middle {
            // The first place leaves most for what follows.
            let Some(at) = memmem::find(text, piece) else { return false };
            text = &text[at + piece.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_bytes_and_nothing_else_does() {
        for (pattern, text, matches) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/a", "/A", false),
            ("/a*", "/a", true),
            ("/a*", "/a/b/c", true),
            ("*.php", "/x/y.php", true),
            ("*.php", "/x/y.php5", false),
            ("/*/edit", "/a/b/edit", true),
            ("/*/edit", "/edit", false),
            ("/ab*ba", "/aba", false),
            ("*a*b*", "xxbxxaxx", false),
            ("*a*b*", "xxaxxbxx", true),
            ("**", "", true),
            ("", "", true),
            ("", "x", false),
            ("?", "x", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text.as_bytes()), matches, "{pattern} {text}");
        }
    }

    fn slowly(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|at| slowly(rest, &text[at..])),
            Some((byte, rest)) => text.first() == Some(byte) && slowly(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_its_definition_says(pattern in "[ab*]{0,7}", text in "[ab]{0,9}") {
            prop_assert_eq!(Glob::new(&pattern).matches(text.as_bytes()), slowly(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
