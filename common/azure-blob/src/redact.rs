//! Texts without signatures.

/// What stands in place of a secret.
const HIDDEN: &str = "…";
/// Names of query parameters that let whoever has them in: a SAS's signature.
const SECRET: &str = "sig=";

/// A text in which the signature of every URL is hidden, for errors and logs.
#[must_use]
pub fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = find(rest) {
        let (before, from) = rest.split_at(at + SECRET.len());
        shown.push_str(before);
        shown.push_str(HIDDEN);
        let end = from.find(|c: char| matches!(c, '&' | '"' | '\'' | '<' | '>' | ')') || c.is_whitespace());
        rest = &from[end.unwrap_or(from.len())..];
    }
    shown.push_str(rest);
    shown
}

/// Where a parameter of that name begins: not within another's name.
fn find(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    lower.match_indices(SECRET).map(|(at, _)| at).find(|at| {
        at.checked_sub(1).and_then(|before| text.as_bytes().get(before)).is_none_or(|b| !b.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_hidden_wherever_they_stand() {
        for (text, shown) in [
            ("GET https://a/b?se=1&sig=ab%2Fc&sp=r failed", "GET https://a/b?se=1&sig=…&sp=r failed"),
            ("(https://a/b?SIG=abc)", "(https://a/b?SIG=…)"),
            ("sig=a sig=b", "sig=… sig=…"),
            ("design=blue", "design=blue"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }
}
