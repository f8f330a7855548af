//! Cache directives: `Cache-Control` (RFC 9111 section 5.2) and `CDN-Cache-Control` (RFC 9213).

use http::{HeaderMap, HeaderName, HeaderValue, header};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// The targeted field that caches like this one obey before `Cache-Control` (RFC 9213 section 3.1).
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// What a message says of its caching. Where a directive is repeated, the first one counts (RFC 9111 section 4.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    /// Fields named by `no-cache="…"` and `private="…"`: they are not kept.
    pub(crate) fields: Vec<HeaderName>,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) only_if_cached: bool,
    /// Seconds; what is no number counts as zero.
    pub(crate) max_age: Option<u64>,
    pub(crate) s_maxage: Option<u64>,
    pub(crate) stale_while_revalidate: Option<u64>,
    pub(crate) stale_if_error: Option<u64>,
    pub(crate) min_fresh: Option<u64>,
    /// Without a value, any staleness will do.
    pub(crate) max_stale: Option<u64>,
}

impl Directives {
    /// Those of `Cache-Control`.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut this = Self::default();
        for value in headers.get_all(header::CACHE_CONTROL) {
            for (name, argument) in List(value.as_bytes()) {
                this.set(name, argument.as_deref());
            }
        }
        this
    }

    /// Those of `CDN-Cache-Control`, when there are any and the field is a structured field that makes sense: then
    /// neither `Cache-Control` nor `Expires` count (RFC 9213 section 2.2).
    pub(crate) fn targeted(headers: &HeaderMap) -> Option<Self> {
        let lines: Vec<&[u8]> = headers.get_all(CDN_CACHE_CONTROL).iter().map(HeaderValue::as_bytes).collect();
        if lines.is_empty() {
            return None;
        }
        let dictionary: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
        if dictionary.is_empty() {
            return None;
        }
        let mut this = Self::default();
        for (name, entry) in &dictionary {
            let ListEntry::Item(item) = entry else { continue };
            let name = name.as_str();
            match &item.bare_item {
                BareItem::Boolean(true) => this.set(name.as_bytes(), None),
                BareItem::Boolean(false) => {}
                BareItem::Integer(n) => {
                    let seconds = u64::try_from(i64::from(*n)).unwrap_or(0).to_string();
                    this.set(name.as_bytes(), Some(seconds.as_bytes()));
                }
                // A number of seconds written as something else is an error of the whole field.
                _ if takes_seconds(name.as_bytes()) => return None,
                BareItem::String(s) => this.set(name.as_bytes(), Some(s.as_str().as_bytes())),
                _ => {}
            }
        }
        Some(this)
    }

    fn set(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let first = |slot: &mut Option<u64>| {
            slot.get_or_insert(argument.map_or(0, seconds));
        };
        if is("max-age") {
            first(&mut self.max_age);
        } else if is("s-maxage") {
            first(&mut self.s_maxage);
        } else if is("stale-while-revalidate") {
            first(&mut self.stale_while_revalidate);
        } else if is("stale-if-error") {
            first(&mut self.stale_if_error);
        } else if is("min-fresh") {
            first(&mut self.min_fresh);
        } else if is("max-stale") {
            self.max_stale.get_or_insert(argument.map_or(u64::MAX, seconds));
        } else if is("no-cache") {
            self.limit(argument, |this| this.no_cache = true);
        } else if is("private") {
            self.limit(argument, |this| this.private = true);
        } else if is("no-store") {
            self.no_store = true;
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        }
    }

    /// Takes the fields that a qualified directive names, or the whole answer.
    fn limit(&mut self, argument: Option<&[u8]>, whole: impl FnOnce(&mut Self)) {
        let Some(names) = argument.filter(|a| !a.trim_ascii().is_empty()) else { return whole(self) };
        for name in names.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|n| !n.is_empty()) {
            match HeaderName::from_bytes(name) {
                Ok(name) => self.fields.push(name),
                // What can't be read limits as much as it can.
                Err(_) => return whole(self),
            }
        }
    }
}

fn takes_seconds(name: &[u8]) -> bool {
    [&b"max-age"[..], b"s-maxage", b"stale-while-revalidate", b"stale-if-error"].contains(&name)
}

/// A number of seconds; one that is too large is as large as can be, what is none is zero.
fn seconds(argument: &[u8]) -> u64 {
    delta(argument).unwrap_or(0)
}

/// Digits only (RFC 9111 section 1.2.2); one that is too large is as large as can be.
pub(crate) fn delta(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| digits.iter().fold(0_u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0'))))
}

/// Iterates over the directives of one field line, commas within quotes kept.
struct List<'a>(&'a [u8]);

impl<'a> Iterator for List<'a> {
    type Item = (&'a [u8], Option<Vec<u8>>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.0;
            if rest.is_empty() {
                return None;
            }
            let mut quoted = false;
            let mut escaped = false;
            let end = rest
                .iter()
                .position(|b| {
                    if escaped {
                        escaped = false;
                    } else if quoted && *b == b'\\' {
                        escaped = true;
                    } else if *b == b'"' {
                        quoted = !quoted;
                    }
                    *b == b',' && !quoted
                })
                .unwrap_or(rest.len());
            self.0 = rest.get(end + 1..).unwrap_or_default();
            let directive = rest[..end].trim_ascii();
            if directive.is_empty() {
                continue;
            }
            return Some(match directive.iter().position(|b| *b == b'=') {
                None => (directive, None),
                Some(at) => (&directive[..at], Some(unquoted(&directive[at + 1..]))),
            });
        }
    }
}

/// An argument without its quotes, and without the backslashes within them (RFC 9110 section 5.6.4).
fn unquoted(argument: &[u8]) -> Vec<u8> {
    let inner = argument.strip_prefix(b"\"").and_then(|a| a.strip_suffix(b"\""));
    let Some(inner) = inner else { return argument.to_vec() };
    let mut escaped = false;
    let keeps = |b: &&u8| {
        escaped = !escaped && **b == b'\\';
        !escaped
    };
    inner.iter().filter(keeps).copied().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(name: HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), line.parse().unwrap());
        }
        headers
    }

    #[test]
    fn directives_are_read_as_they_are_written() {
        for (lines, max_age) in [
            (&["max-age=60"][..], Some(60)),
            (&["MaX-aGe=60"], Some(60)),
            (&["foobar, max-age=60"], Some(60)),
            (&["max-age=003600"], Some(3600)),
            (&["max-age=\"3600\""], Some(3600)),
            (&["max-age=99999999999999999999999"], Some(u64::MAX)),
            (&["max-age=1800, max-age=1"], Some(1800)),
            (&["max-age=1800", "max-age=1"], Some(1800)),
            (&["max-age=-1"], Some(0)),
            (&["max-age='60'"], Some(0)),
            (&["max-age=60.5"], Some(0)),
            (&["max-age= 60"], Some(0)),
            (&["max-age"], Some(0)),
            (&["max-age =60"], None),
            (&["x=\"max-age=60\", max-age=1"], Some(1)),
            (&["x=\"\\\", max-age=60\", max-age=1"], Some(1)),
            (&["x=\"max-age=60"], None),
            (&["", ",,"], None),
        ] {
            assert_eq!(Directives::of(&of(header::CACHE_CONTROL, lines)).max_age, max_age, "{lines:?}");
        }
    }

    #[test]
    fn qualified_directives_name_fields_and_unqualified_ones_mean_all() {
        let read = |line: &str| Directives::of(&of(header::CACHE_CONTROL, &[line]));
        let both = read("no-cache=\"A, b\", private=c");
        assert_eq!((both.no_cache, both.private), (false, false));
        assert_eq!(both.fields, ["a", "b", "c"]);
        assert!(read("No-CaChE").no_cache && read("private").private && read("no-cache=\"\"").no_cache);
        assert!(read("no-cache=\"not a name\"").no_cache);
    }

    #[test]
    fn a_targeted_field_counts_only_when_it_is_a_structured_field() {
        let read = |line: &str| Directives::targeted(&of(CDN_CACHE_CONTROL, &[line]));
        assert_eq!(read("max-age=60, foo, bar=(1 2);x").unwrap().max_age, Some(60));
        assert_eq!(read("max-age=1, max-age=60").unwrap().max_age, Some(60), "the last one of a dictionary counts");
        assert_eq!(read("max-age=-60").unwrap().max_age, Some(0));
        assert!(read("no-store").unwrap().no_store && read("private").unwrap().private);
        assert!(!read("no-store=?0").unwrap().no_store);
        for wrong in ["max-age=\"60\"", "max-age=60.0", "max-age=60, &&&", "MaX-aGe=60", "max-age =60", "", "max-age"] {
            let found = read(wrong);
            assert!(found.is_none() || found.clone().unwrap().max_age == Some(0), "{wrong}: {found:?}");
        }
        assert!(Directives::targeted(&HeaderMap::new()).is_none());
    }
}
