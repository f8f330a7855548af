//! Secrets out of log lines.

use std::borrow::Cow;

use common::secret::Secret;

/// What stands in a secret's place.
const MASK: &str = "***";
/// Shortest text that is masked, bytes: values such as `1`, `on` and `yes` are in every line of a log and
/// secret in none.
const SHORTEST: usize = 4;
/// Values that are switches, not secrets.
const SWITCHES: [&str; 4] = ["true", "false", "none", "null"];

/// Replaces secrets by `***`.
#[derive(Clone, Default)]
pub struct Mask {
    /// Longest first, so that a secret that holds another one vanishes whole.
    texts: Vec<String>,
}

impl Mask {
    /// Masks these values, each line of one that has several, and their forms in URLs and in JSON.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for secret in secrets {
            for text in std::iter::once(secret.reveal()).chain(secret.reveal().lines()).map(str::trim) {
                if text.len() < SHORTEST || SWITCHES.contains(&text.to_ascii_lowercase().as_str()) {
                    continue;
                }
                texts.push(text.to_owned());
                texts.push(common::secret::percent_encoded(text));
                texts.push(text.replace('\\', "\\\\").replace('"', "\\\""));
            }
        }
        texts.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        texts.dedup();
        Self { texts }
    }

    /// The text with every secret replaced.
    #[must_use]
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.texts {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), MASK));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_vanishes_wherever_and_however_it_is_written() {
        let secrets = ["p@ss/word", "p@ss/word-long", "line one\nline two", "say \"hi\"", "true", "1"].map(Secret::new);
        let mask = Mask::new(&secrets);
        assert_eq!(mask.apply("a p@ss/word b p@ss/word-long"), "a *** b ***");
        assert_eq!(mask.apply("https://x:p%40ss%2Fword@h/"), "https://x:***@h/");
        assert_eq!(mask.apply("> line two <"), "> *** <");
        assert_eq!(mask.apply(r#"{"a":"say \"hi\""}"#), r#"{"a":"***"}"#);
        assert_eq!(mask.apply("true, 1 of 1"), "true, 1 of 1");
        assert!(matches!(mask.apply("nothing"), Cow::Borrowed(_)));
    }
}
