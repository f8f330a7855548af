//! Whether a path fits a pattern, and what its placeholders catch.

use std::borrow::Cow;

use common::site_rules::pattern::{Pattern, SPLAT, Segment};

/// What placeholders caught, by their names.
#[derive(Debug, Default)]
pub(super) struct Caught<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl<'a> Caught<'a> {
    /// What the placeholder of this name caught; empty for an unknown one.
    pub(super) fn value(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }

    pub(super) fn add(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        self.0.push((name, value.into()));
    }
}

/// Matches a decoded path, whose slash at the end means nothing but to what `*` catches.
pub(super) fn matched<'a>(pattern: &'a Pattern, path: &'a str) -> Option<Caught<'a>> {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let mut caught = Caught::default();
    let mut rest = trimmed;
    for segment in &pattern.head {
        let text = rest.strip_prefix('/')?;
        let (text, behind) = text.split_at(text.find('/').unwrap_or(text.len()));
        fit(segment, text, &mut caught)?;
        rest = behind;
    }
    let Some(splat) = &pattern.splat else { return rest.is_empty().then_some(caught) };
    for segment in splat.tail.iter().rev() {
        let at = rest.rfind('/')?;
        fit(segment, &rest[at + 1..], &mut caught)?;
        rest = &rest[..at];
    }
    let Some(text) = rest.strip_prefix('/') else {
        // `/a/*` is also `/a`.
        let nothing = splat.before.is_empty() && splat.after.is_empty() && splat.tail.is_empty();
        caught.add(SPLAT, "");
        return nothing.then_some(caught);
    };
    let text = text.strip_prefix(splat.before.as_str())?;
    if splat.tail.is_empty() && splat.after.is_empty() {
        caught.add(SPLAT, &path[trimmed.len() - text.len()..]);
    } else {
        caught.add(SPLAT, text.strip_suffix(splat.after.as_str())?);
    }
    Some(caught)
}

/// Matches one segment. Of several ways, the one in which earlier placeholders catch more.
fn fit<'a>(segment: &'a Segment, text: &'a str, caught: &mut Caught<'a>) -> Option<()> {
    let (before, names) = match segment {
        Segment::Text(exact) => return (exact == text).then_some(()),
        Segment::Named { before, names } => (before, names),
    };
    let mut text = text.strip_prefix(before.as_str())?;
    let mut names = names.iter().rev();
    let (last, after) = names.next()?;
    let mut name: &'a str = last;
    text = text.strip_suffix(after.as_str())?;
    for (earlier, between) in names {
        // The later one catches a character at least.
        let last = text.char_indices().next_back()?.0;
        let at = text[..last].rfind(between.as_str())?;
        caught.add(name, &text[at + between.len()..]);
        text = &text[..at];
        name = earlier;
    }
    if text.is_empty() {
        return None;
    }
    caught.add(name, text);
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(pattern: &str, path: &str) -> Option<String> {
        let pattern = Pattern::parse(pattern).unwrap();
        let caught = matched(&pattern, path)?;
        let mut all: Vec<String> = caught.0.iter().map(|(n, v)| format!("{n}={v}")).collect();
        all.sort();
        Some(all.join(" "))
    }

    #[test]
    fn paths_fit_patterns_as_their_documentation_says() {
        for (pattern, path, caught) in [
            ("/", "/", Some("")),
            ("/", "/a", None),
            ("/a", "/a", Some("")),
            ("/a", "/a/", Some("")),
            ("/a/", "/a", Some("")),
            ("/a", "/A", None),
            ("/a", "/a/b", None),
            ("/a%20b", "/a b", Some("")),
            ("/*", "/", Some("splat=")),
            ("/*", "/a/b", Some("splat=a/b")),
            ("/*", "/a/b/", Some("splat=a/b/")),
            ("/*", "//a", Some("splat=/a")),
            ("/a/*", "/a", Some("splat=")),
            ("/a/*", "/a/", Some("splat=")),
            ("/a/*", "/ab", None),
            ("/a/*", "/a/b/c", Some("splat=b/c")),
            ("/*.js", "/x/app.js", Some("splat=x/app")),
            ("/*.js", "/.js", Some("splat=")),
            ("/*.js", "/app.css", None),
            ("/img-*.png", "/img-1.png", Some("splat=1")),
            ("/img-*.png", "/img.png", None),
            ("/a*a", "/a", None),
            ("/a/*/b", "/a/x/y/b", Some("splat=x/y")),
            ("/a/*/b", "/a/x/b/", Some("splat=x")),
            ("/a/*/b", "/a/b", None),
            ("/:x", "/a", Some("x=a")),
            ("/:x", "/", None),
            ("/:x", "/a/b", None),
            ("/news/:y/:m", "/news/2026/11/", Some("m=11 y=2026")),
            ("/:a-:b", "/x-y-z", Some("a=x-y b=z")),
            ("/:a-:b", "/x-", None),
            ("/:a-:b", "/-x", None),
            ("/:a-:b", "/a--b", Some("a=a- b=b")),
            ("/v:major.html", "/v12.html", Some("major=12")),
            ("/v:major.html", "/v.html", None),
            ("/:lang/*/:page", "/en/a/b/c", Some("lang=en page=c splat=a/b")),
            ("/:x", "/äö", Some("x=äö")),
            ("/:a.:b", "/ä.ö", Some("a=ä b=ö")),
        ] {
            assert_eq!(told(pattern, path).as_deref(), caught, "{pattern} {path}");
        }
    }
}
