//! Values in configuration files that are programs: found by their look, never run.

use serde_json::Value;

/// Longest expression looked through for a value, in bytes.
const MAX_EXPRESSION_BYTES: usize = 400;

/// The text without comments; strings stay whole.
pub(crate) fn without_comments(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut quote: Option<char> = None;
    while let Some(c) = chars.next() {
        if let Some(end) = quote {
            clean.push(c);
            match c {
                '\\' => clean.extend(chars.next()),
                '\n' if end != '`' => quote = None,
                _ if c == end => quote = None,
                _ => {}
            }
            continue;
        }
        match (c, chars.peek()) {
            ('/', Some('/')) => while chars.next_if(|c| *c != '\n').is_some() {},
            ('/', Some('*')) => {
                chars.next();
                let mut last = ' ';
                for inner in chars.by_ref() {
                    if last == '*' && inner == '/' {
                        break;
                    }
                    last = inner;
                }
                clean.push(' ');
            }
            ('"' | '\'' | '`', _) => {
                quote = Some(c);
                clean.push(c);
            }
            _ => clean.push(c),
        }
    }
    clean
}

/// The text after each `key:` or `key =` (also `"key":`).
fn values<'a>(code: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(key).filter_map(move |(at, _)| {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == '-') {
            return None;
        }
        let mut rest = &code[at + key.len()..];
        if let Some(quote) = before.filter(|c| *c == '"' || *c == '\'') {
            rest = rest.strip_prefix(quote)?;
        }
        let rest = rest.trim_start();
        let value =
            rest.strip_prefix(':').or_else(|| rest.strip_prefix('=').filter(|rest| !rest.starts_with(['=', '>'])))?;
        Some(value.trim_start())
    })
}

/// The string literal that `key` is set to.
pub(crate) fn string_value(code: &str, key: &str) -> Option<String> {
    values(code, key).find_map(literal)
}

/// The path that `key` is set to: a literal, or the last literal of a call such as
/// `path.resolve(__dirname, '../dist')`.
pub(crate) fn path_value(code: &str, key: &str) -> Option<String> {
    values(code, key).find_map(|value| {
        if let Some(text) = literal(value) {
            return Some(text);
        }
        let open = value.find('(')?;
        let callee = value.get(..open)?;
        if callee.is_empty() || !callee.chars().all(|c| c.is_alphanumeric() || "_.$ ".contains(c)) {
            return None;
        }
        let inner = value.get(open + 1..)?;
        let end = inner.find(')').filter(|end| *end <= MAX_EXPRESSION_BYTES)?;
        // The last argument: what stands before it (`__dirname`, `import.meta.url`) is the folder.
        inner.get(..end)?.split(',').filter_map(|part| literal(part.trim())).next_back()
    })
}

/// The string literals of the expression that `key` is set to, up to its first comma: one, or a few to choose from
/// as in `production ? '/repo/' : '/'`.
pub(crate) fn choices(code: &str, key: &str) -> Vec<String> {
    let Some(value) = values(code, key).next() else { return Vec::new() };
    let end = value.char_indices().find(|(at, c)| *c == ',' || *at >= MAX_EXPRESSION_BYTES).map(|(at, _)| at);
    let mut rest = value.get(..end.unwrap_or(value.len())).unwrap_or_default();
    let mut found = Vec::new();
    while let Some(at) = rest.find(['"', '\'', '`']) {
        let Some(text) = literal(&rest[at..]) else { break };
        // Its two quotes are a byte each.
        rest = &rest[at + text.len() + 2..];
        found.push(text);
    }
    found
}

/// Is `key` set to exactly this word (`false`, `true`)?
pub(crate) fn word_value(code: &str, key: &str, word: &str) -> bool {
    values(code, key).any(|value| {
        value.strip_prefix(word).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

/// Is `key` set at all?
pub(crate) fn is_set(code: &str, key: &str) -> bool {
    values(code, key).next().is_some()
}

fn literal(value: &str) -> Option<String> {
    let quote = value.chars().next().filter(|c| "\"'`".contains(*c))?;
    let inner = value.get(1..)?;
    let end = inner.find(quote).filter(|end| *end <= MAX_EXPRESSION_BYTES)?;
    let text = inner.get(..end)?;
    (!text.contains(['\n', '$', '\\'])).then(|| text.to_owned())
}

/// JSON with comments and trailing commas, as angular.json, tsconfig and bun.lock allow.
pub(crate) fn relaxed_json(text: &str) -> Result<Value, serde_json::Error> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) => serde_json::from_str(&without_trailing_commas(&without_comments(text))).map_err(|_| error),
    }
}

fn without_trailing_commas(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut in_string = false;
    let mut escaped = false;
    // Where the last comma stands in `clean`, while only white space has followed it.
    let mut comma: Option<usize> = None;
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            match c {
                '"' => {
                    in_string = true;
                    comma = None;
                }
                ',' => comma = Some(clean.len()),
                '}' | ']' => {
                    if let Some(at) = comma.take() {
                        clean.replace_range(at..=at, " ");
                    }
                }
                c if c.is_whitespace() => {}
                _ => comma = None,
            }
        }
        clean.push(c);
    }
    clean
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_found_and_comments_are_not() {
        let code = without_comments(
            "// output: 'server'\nexport default { output: \"static\", /* outDir: 'x' */ url: 'https://a.b//c', build: { outDir: path.resolve(__dirname, '../dist') }, ssr: false }",
        );
        assert_eq!(string_value(&code, "output").unwrap(), "static");
        assert_eq!(path_value(&code, "outDir").unwrap(), "../dist");
        assert!(word_value(&code, "ssr", "false"));
        assert_eq!(string_value(&code, "url").unwrap(), "https://a.b//c");
        assert!(string_value("myoutput: 'x', outputs: 'y', output === 'z'", "output").is_none());
        assert!(string_value("nextConfig.output = 'export'", "output").is_some());
    }

    #[test]
    fn json_with_comments_and_trailing_commas_is_read() {
        let value = relaxed_json("{ // c\n \"a\": [1, 2, ], \"b\": \", ]\", }").unwrap();
        assert_eq!(value["b"], ", ]");
        assert!(relaxed_json("{ nope").is_err());
    }

    #[test]
    fn torn_text_is_survived() {
        for text in ["'", "/*", "output:", "outDir: f(", "outDir: f('é", "\"a\\", "é: 'ü'"] {
            let code = without_comments(text);
            let _ = (
                string_value(&code, "output"),
                path_value(&code, "outDir"),
                choices(&code, "output"),
                relaxed_json(text).is_ok(),
            );
        }
    }
}
