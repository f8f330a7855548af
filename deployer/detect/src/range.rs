//! npm's version ranges, as half-open intervals.
//!
//! Read here rather than by the `node-semver` crate, which panics on `~*` and reads `<=22` as
//! `<=22.0.0`; both occur in real `engines` fields.

use std::fmt;

use crate::version::Version;

/// Longest range read, in bytes; real ones stay below a hundred.
const MAX_RANGE_BYTES: usize = 512;
/// Most alternatives (`||`) of a range.
const MAX_ALTERNATIVES: usize = 32;
/// Largest version component read, so that adding one never overflows.
const MAX_COMPONENT: u64 = 9_007_199_254_740_991;

/// A union of intervals; empty when nothing satisfies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range(Vec<Interval>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    low: Version,
    /// Excluded; `None` is without end.
    high: Option<Version>,
}

impl Interval {
    const ANY: Self = Self { low: Version::new(0, 0, 0), high: None };

    fn contains(self, version: Version) -> bool {
        version >= self.low && self.high.is_none_or(|high| version < high)
    }

    fn intersect(self, other: Self) -> Option<Self> {
        let low = self.low.max(other.low);
        let high = match (self.high, other.high) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        high.is_none_or(|high| low < high).then_some(Self { low, high })
    }
}

impl Range {
    /// Reads a range; `None` when it is not one (a tag, a URL, an alias).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_RANGE_BYTES {
            return None;
        }
        let parts: Vec<&str> = text.split("||").collect();
        if parts.len() > MAX_ALTERNATIVES {
            return None;
        }
        let mut intervals = Vec::new();
        for part in parts {
            intervals.extend(alternative(part.trim())?);
        }
        Some(Self(intervals))
    }

    /// All versions of one major.
    pub(crate) fn major(major: u64) -> Self {
        Self(vec![Interval { low: Version::new(major, 0, 0), high: Some(Version::new(major + 1, 0, 0)) }])
    }

    pub(crate) fn any() -> Self {
        Self(vec![Interval::ANY])
    }

    /// The union of whole majors.
    pub(crate) fn majors(majors: &[u64]) -> Self {
        Self(majors.iter().flat_map(|major| Self::major(*major).0).collect())
    }

    /// Does this version satisfy the range?
    #[must_use]
    pub fn contains(&self, version: Version) -> bool {
        self.0.iter().any(|interval| interval.contains(version))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn intersect(&self, other: &Self) -> Self {
        let mut both: Vec<Interval> = Vec::new();
        for a in &self.0 {
            for b in &other.0 {
                if let Some(common) = a.intersect(*b)
                    && !both.contains(&common)
                    && both.len() < MAX_ALTERNATIVES
                {
                    both.push(common);
                }
            }
        }
        Self(both)
    }

    /// The range without its upper end: what it names as newest is only what its author had tried.
    pub(crate) fn open_above(mut self) -> Self {
        if let Some(last) = self.0.iter_mut().max_by_key(|interval| interval.low) {
            last.high = None;
        }
        self
    }

    /// The lowest version that satisfies the range.
    pub(crate) fn lowest(&self) -> Option<Version> {
        self.0.iter().map(|interval| interval.low).min()
    }
}

/// The first version of a text such as `v1.2.3-beta.1`, or of the lowest end of a range.
pub(crate) fn lowest_of(text: &str) -> Option<Version> {
    Range::parse(text)?.lowest()
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, interval) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" || ")?;
            }
            let low = interval.low;
            match interval.high {
                Some(high) if low == Version::new(low.major, 0, 0) && high == Version::new(low.major + 1, 0, 0) => {
                    write!(f, "{}", low.major)?;
                }
                Some(high) if high == Version::new(low.major, low.minor, low.patch + 1) => write!(f, "{low}")?,
                Some(high) => write!(f, ">={low} <{high}")?,
                None => write!(f, ">={low}")?,
            }
        }
        Ok(())
    }
}

/// One side of `||`. `Some(None)` is a valid range that nothing satisfies.
fn alternative(text: &str) -> Option<Option<Interval>> {
    if text.is_empty() {
        return Some(Some(Interval::ANY));
    }
    if let Some((from, to)) = text.split_once(" - ") {
        let low = Partial::parse(from.trim())?.floor();
        let high = Partial::parse(to.trim())?.above();
        return Some(Interval { low, high: None }.intersect(Interval { high, ..Interval::ANY }));
    }
    let mut whole = Some(Interval::ANY);
    let mut words = text.split_whitespace().flat_map(|word| word.split(',')).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let split = word.find(|c: char| !"<>=~^".contains(c)).unwrap_or(word.len());
        let (operator, rest) = word.split_at(split);
        // ">= 18" is one comparator in two words.
        let version = if rest.is_empty() { words.next()? } else { rest };
        let one = comparator(operator, &Partial::parse(version)?)?;
        whole = whole.and_then(|whole| one.and_then(|one| whole.intersect(one)));
    }
    Some(whole)
}

fn comparator(operator: &str, version: &Partial) -> Option<Option<Interval>> {
    let low = version.floor();
    let until = |high| Some(Interval { low, high });
    Some(match operator {
        "" | "=" | "==" => until(version.above()),
        ">=" | "=>" => until(None),
        ">" => version.above().map(|low| Interval { low, high: None }),
        "<" => version.major.and(Interval::ANY.intersect(Interval { high: Some(low), ..Interval::ANY })),
        "<=" | "=<" => Some(Interval { high: version.above(), ..Interval::ANY }),
        "~" | "~>" => match (version.major, version.minor) {
            (Some(a), Some(b)) => until(Some(Version::new(a, b + 1, 0))),
            _ => until(version.above()),
        },
        "^" => match (version.major, version.minor, version.patch) {
            (None, _, _) => Some(Interval::ANY),
            (Some(0), Some(0), Some(c)) => until(Some(Version::new(0, 0, c + 1))),
            (Some(0), Some(b), _) => until(Some(Version::new(0, b + 1, 0))),
            (Some(a), _, _) => until(Some(Version::new(a + 1, 0, 0))),
        },
        _ => return None,
    })
}

/// `1`, `1.2`, `1.x`, `v1.2.3-beta`.
struct Partial {
    major: Option<u64>,
    minor: Option<u64>,
    patch: Option<u64>,
}

impl Partial {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start_matches(['v', 'V', '=']);
        let core = text.split(['-', '+']).next()?;
        let mut parts = [None; 3];
        let mut open = false;
        for (index, word) in core.split('.').enumerate() {
            let slot = parts.get_mut(index)?;
            match word {
                "x" | "X" | "*" => open = true,
                _ => {
                    let number: u64 = word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok())??;
                    if number > MAX_COMPONENT {
                        return None;
                    }
                    if !open {
                        *slot = Some(number);
                    }
                }
            }
        }
        Some(Self { major: parts[0], minor: parts[1], patch: parts[2] })
    }

    fn floor(&self) -> Version {
        Version::new(self.major.unwrap_or(0), self.minor.unwrap_or(0), self.patch.unwrap_or(0))
    }

    /// The first version above everything that the partial covers; `None` for `*`.
    fn above(&self) -> Option<Version> {
        match (self.major, self.minor, self.patch) {
            (None, _, _) => None,
            (Some(a), None, _) => Some(Version::new(a + 1, 0, 0)),
            (Some(a), Some(b), None) => Some(Version::new(a, b + 1, 0)),
            (Some(a), Some(b), Some(c)) => Some(Version::new(a, b, c + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_hold_what_npm_says_they_hold() {
        type Numbers = &'static [(u64, u64, u64)];
        let table: &[(&str, Numbers, Numbers)] = &[
            ("^20.19.0 || >=22.12.0", &[(20, 19, 0), (22, 12, 0), (26, 0, 0)], &[(20, 18, 9), (21, 0, 0), (22, 11, 0)]),
            (">=18 <=22", &[(18, 0, 0), (22, 22, 3)], &[(23, 0, 0), (17, 9, 9)]),
            (">= 20.11", &[(20, 11, 0), (24, 0, 0)], &[(20, 10, 0)]),
            ("18.x", &[(18, 20, 8)], &[(19, 0, 0)]),
            ("18 - 20", &[(18, 0, 0), (20, 99, 0)], &[(21, 0, 0)]),
            ("~1.2.3", &[(1, 2, 9)], &[(1, 3, 0)]),
            ("^0.2.3", &[(0, 2, 9)], &[(0, 3, 0)]),
            ("^0.0.3", &[(0, 0, 3)], &[(0, 0, 4)]),
            (">16", &[(17, 0, 0)], &[(16, 20, 0)]),
            ("<17", &[(16, 20, 0)], &[(17, 0, 0)]),
            ("v22.11.0", &[(22, 11, 0)], &[(22, 11, 1)]),
            ("*", &[(0, 0, 0), (99, 0, 0)], &[]),
            ("~*", &[(0, 0, 0), (99, 0, 0)], &[]),
            ("", &[(12, 0, 0)], &[]),
        ];
        for (text, inside, outside) in table {
            let range = Range::parse(text).unwrap();
            for (a, b, c) in *inside {
                assert!(range.contains(Version::new(*a, *b, *c)), "{text} should hold {a}.{b}.{c}");
            }
            for (a, b, c) in *outside {
                assert!(!range.contains(Version::new(*a, *b, *c)), "{text} should not hold {a}.{b}.{c}");
            }
        }
    }

    #[test]
    fn what_is_no_range_is_not_read_as_one() {
        for text in ["latest", "git+ssh://x", "workspace:*", "1.2.3.4", "99999999999999999999", "lts/*", "> > 3", ">="]
        {
            assert!(Range::parse(text).is_none(), "{text}");
        }
        assert!(Range::parse(&"1||".repeat(200)).is_none());
        assert!(Range::parse("<1 >2").unwrap().is_empty());
    }

    #[test]
    fn a_printed_range_reads_as_the_same_range() {
        for text in ["22", "22.11.0", ">=22.12.0 <23", "^18 || >=20.1"] {
            let range = Range::parse(text).unwrap();
            assert_eq!(Range::parse(&range.to_string()).unwrap(), range, "{text}");
        }
    }
}
