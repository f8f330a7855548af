//! Paths with `*` and `:placeholders`.
//!
//! A `:placeholder` (a letter, then letters, digits and underscores) stands for one character or more of one
//! segment, `*` for any characters, slashes too, and none. A slash at the end means nothing: `/a` and `/a/` are the
//! same pattern. Percent-encoded characters are what they encode, and are never `*` or `:`.

use percent_encoding::percent_decode_str;

/// Placeholders of one pattern: no real rule has more than a handful, and each costs a little at each request.
pub const MAX_PLACEHOLDERS: usize = 8;
/// Name by which targets use what `*` stands for.
pub const SPLAT: &str = "splat";

/// A path with `*` and `:placeholders`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Segments before the one with the `*`, or all.
    pub head: Vec<Segment>,
    /// The segment with the `*`, and those behind it.
    pub splat: Option<Splat>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this.
    Text(String),
    /// Texts and placeholders in turns: the text before the first placeholder, then each placeholder with the
    /// text behind it.
    Named {
        /// Text before the first placeholder.
        before: String,
        /// Placeholders' names, each with the text behind it.
        names: Vec<(String, String)>,
    },
}

/// The segment with the `*`, and those behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splat {
    /// Text before the `*` in its segment.
    pub before: String,
    /// Text behind the `*` in its segment.
    pub after: String,
    /// Segments behind that segment.
    pub tail: Vec<Segment>,
}

/// Why a path is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is not absolute.
    #[error("the path does not begin with a slash")]
    NoSlash,
    /// It has a query or a fragment.
    #[error("a path has no `?` and no `#`; parameters stand before the target, as in `/store id=:id /blog/:id`")]
    Query,
    /// It has several `*`.
    #[error("a path may have one `*` only")]
    TwoSplats,
    /// A `*` and a placeholder share a segment.
    #[error("`*` and a placeholder can't stand between the same slashes")]
    SplatBesidePlaceholder,
    /// Two placeholders touch.
    #[error("between two placeholders something else must stand")]
    Touching,
    /// Two placeholders have the same name.
    #[error("two placeholders have the same name")]
    SameName,
    /// More than [`MAX_PLACEHOLDERS`].
    #[error("a path may have {MAX_PLACEHOLDERS} placeholders")]
    TooMany,
    /// It is not UTF-8 when it is decoded, or has a control character.
    #[error("the path can't be decoded as UTF-8 text")]
    NotText,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When the path is none.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let path = text.strip_prefix('/').ok_or(PatternError::NoSlash)?;
        if text.contains(['?', '#']) {
            return Err(PatternError::Query);
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut pattern = Self { head: Vec::new(), splat: None };
        if path.is_empty() {
            return Ok(pattern);
        }
        for segment in path.split('/') {
            let Some((before, after)) = segment.split_once('*') else {
                let segment = Segment::parse(segment)?;
                pattern.splat.as_mut().map_or(&mut pattern.head, |s| &mut s.tail).push(segment);
                continue;
            };
            if pattern.splat.is_some() || after.contains('*') {
                return Err(PatternError::TwoSplats);
            }
            let (Segment::Text(before), Segment::Text(after)) = (Segment::parse(before)?, Segment::parse(after)?)
            else {
                return Err(PatternError::SplatBesidePlaceholder);
            };
            pattern.splat = Some(Splat { before, after, tail: Vec::new() });
        }
        let names: Vec<&str> = pattern.names().collect();
        if names.len() > MAX_PLACEHOLDERS {
            return Err(PatternError::TooMany);
        }
        if names.iter().enumerate().any(|(i, name)| names[..i].contains(name)) {
            return Err(PatternError::SameName);
        }
        Ok(pattern)
    }

    /// Names that targets may use, `splat` among them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let tail = self.splat.iter().flat_map(|s| &s.tail);
        let named = self.head.iter().chain(tail).flat_map(|segment| match segment {
            Segment::Text(_) => &[][..],
            Segment::Named { names, .. } => names,
        });
        named.map(|(name, _)| name.as_str()).chain(self.splat.iter().map(|_| SPLAT))
    }

    /// The only path that fits, decoded and without a slash at its end; `None` when several fit.
    #[must_use]
    pub fn exact(&self) -> Option<String> {
        if self.splat.is_some() {
            return None;
        }
        let mut path = String::new();
        for segment in &self.head {
            let Segment::Text(text) = segment else { return None };
            path.push('/');
            path.push_str(text);
        }
        if path.is_empty() {
            path.push('/');
        }
        Some(path)
    }

    /// Characters that a path must have to fit: of two patterns that fit, the one with more is meant.
    #[must_use]
    pub fn weight(&self) -> usize {
        let of = |segment: &Segment| match segment {
            Segment::Text(text) => text.len() + 1,
            Segment::Named { before, names } => 1 + before.len() + names.iter().map(|(_, t)| t.len()).sum::<usize>(),
        };
        let splat =
            self.splat.as_ref().map_or(0, |s| s.before.len() + s.after.len() + s.tail.iter().map(of).sum::<usize>());
        self.head.iter().map(of).sum::<usize>() + splat
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let mut before = None;
        let mut names: Vec<(String, String)> = Vec::new();
        let mut rest = text;
        let mut literal = String::new();
        while let Some(at) = rest.find(':') {
            let behind = &rest[at + 1..];
            let end = name_end(behind);
            if end == 0 {
                literal.push_str(&rest[..=at]);
                rest = behind;
                continue;
            }
            literal.push_str(&rest[..at]);
            let text = decoded(&std::mem::take(&mut literal))?;
            match names.last_mut() {
                None => before = Some(text),
                Some(_) if text.is_empty() => return Err(PatternError::Touching),
                Some((_, after)) => *after = text,
            }
            names.push((behind[..end].to_owned(), String::new()));
            rest = &behind[end..];
        }
        literal.push_str(rest);
        let last = decoded(&literal)?;
        match (before, names.last_mut()) {
            (Some(before), Some((_, after))) => {
                *after = last;
                Ok(Self::Named { before, names })
            }
            _ => Ok(Self::Text(last)),
        }
    }
}

/// Where the placeholder's name at the start of `text` ends: 0 when there is none.
pub(super) fn name_end(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn decoded(text: &str) -> Result<String, PatternError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| PatternError::NotText)?;
    if text.contains(char::is_control) { Err(PatternError::NotText) } else { Ok(text.into_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_without_stars_and_placeholders_is_exact() {
        for (text, exact) in [
            ("/", "/"),
            ("/a", "/a"),
            ("/a/b/", "/a/b"),
            ("/a%20b", "/a b"),
            ("/%2A", "/*"),
            ("/a:", "/a:"),
            ("/a:1", "/a:1"),
            ("/ä", "/ä"),
        ] {
            assert_eq!(Pattern::parse(text).unwrap().exact().as_deref(), Some(exact), "{text}");
        }
        assert_eq!(Pattern::parse("/a/*").unwrap().exact(), None);
        assert_eq!(Pattern::parse("/:a").unwrap().exact(), None);
    }

    #[test]
    fn names_are_what_targets_may_use() {
        let names = |text: &str| Pattern::parse(text).unwrap().names().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names("/news/:year/:month-:day/*"), ["year", "month", "day", "splat"]);
        assert_eq!(names("/*/by/:name_1"), ["name_1", "splat"]);
        assert_eq!(names("/plain"), [""; 0]);
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_reason() {
        for (text, error) in [
            ("a", PatternError::NoSlash),
            ("", PatternError::NoSlash),
            ("/a?b", PatternError::Query),
            ("/a#b", PatternError::Query),
            ("/*/*", PatternError::TwoSplats),
            ("/**", PatternError::TwoSplats),
            ("/:a*", PatternError::SplatBesidePlaceholder),
            ("/*:a", PatternError::SplatBesidePlaceholder),
            ("/:a:b", PatternError::Touching),
            ("/:a/:a", PatternError::SameName),
            ("/:splat/*", PatternError::SameName),
            ("/:a/:b/:c/:d/:e/:f/:g/:h/:i", PatternError::TooMany),
            ("/%ff", PatternError::NotText),
            ("/%00", PatternError::NotText),
        ] {
            assert_eq!(Pattern::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn the_longer_pattern_weighs_more() {
        let weight = |text: &str| Pattern::parse(text).unwrap().weight();
        assert!(weight("/*") < weight("/a/*"));
        assert!(weight("/a/:b") < weight("/a/b"));
        assert!(weight("/a/*") < weight("/a/*.js"));
    }
}
