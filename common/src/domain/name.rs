//! The name of a domain, as people write it and as the DNS has it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most labels of a name: public certificate authorities refuse longer ones (Boulder's policy has this limit).
const MAX_LABELS: usize = 10;
/// Longest name in octets: the 253 that a name has at most (RFC 1035 section 2.3.4, without the root's dot), less
/// `_acme-challenge.`, the longest label that is put before it.
const MAX_OCTETS: usize = 253 - "_acme-challenge.".len();
/// Longest part of a wrong text that an error repeats, in characters.
const SHOWN_CHARS: usize = 80;
/// What a wildcard begins with.
const WILDCARD: &str = "*.";
/// The zone whose names are always the machine that asks (RFC 6761 section 6.3).
const LOCAL: &str = "localhost";

/// A domain's name in lower case, as A-labels (UTS 46, RFC 5890 section 2.3.2.1), without the root's dot; `*.` in front
/// stands for every host one label below.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "shop.example.com")]
pub struct DomainName(String);

/// A text that can't be attached as a domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDomain {
    /// It is more than a name.
    #[error(
        "`{0}` is more than a domain's name: leave out the scheme, the port and the path, as in `shop.example.com`"
    )]
    MoreThanName(String),
    /// It is no host name at all.
    #[error(
        "`{0}` can't be a domain: labels are letters, digits and inner hyphens, up to 63 octets each, as in \
         `shop.example.com`; a wildcard is `*.` in front of such a name"
    )]
    Malformed(String),
    /// It has one label.
    #[error("`{0}` is a single label: give the whole name, as in `shop.example.com`")]
    SingleLabel(String),
    /// It is an address.
    #[error("`{0}` is an IP address: a domain is a name, whose A or AAAA record holds the address")]
    Address(String),
    /// Everybody registers below it.
    #[error("`{0}` is a public suffix, below which everybody registers names: attach a name of your own below it")]
    PublicSuffix(String),
    /// It has too many labels, or is too long.
    #[error("`{0}` is too deep: a domain has at most {MAX_LABELS} labels and {MAX_OCTETS} characters in all")]
    TooDeep(String),
    /// It is the platform's own.
    #[error(
        "`{name}` belongs to the platform's own domain `{base}`, whose names are given to projects: attach a name of yours"
    )]
    Platform {
        /// The name.
        name: String,
        /// The platform's base domain.
        base: String,
    },
}

impl DomainName {
    /// The name as the DNS has it, `*.` included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as people read it; the same as [`Self::as_str`] for one of ASCII letters alone.
    #[must_use]
    pub fn unicode(&self) -> String {
        let (readable, well) = Uts46::new().to_unicode(self.base().as_bytes(), AsciiDenyList::STD3, HYPHENS);
        match well {
            Ok(()) => format!("{}{readable}", if self.is_wildcard() { WILDCARD } else { "" }),
            Err(_) => self.0.clone(),
        }
    }

    /// Whether it stands for every host one label below.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(WILDCARD)
    }

    /// The name without `*.`.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.strip_prefix(WILDCARD).unwrap_or(&self.0)
    }

    /// What is left without the first label; a wildcard's first label is `*`.
    #[must_use]
    pub fn parent(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, parent)| parent)
    }

    /// Whether it is the name that was registered, at which a zone begins and no CNAME may stand (RFC 1034 section
    /// 3.6.2).
    #[must_use]
    pub fn is_apex(&self) -> bool {
        !self.is_wildcard() && psl::domain_str(&self.0) == Some(&self.0)
    }

    /// Whether it always is the machine that asks, so that no DNS has to be looked at (RFC 6761 section 6.3).
    #[must_use]
    pub fn is_local(&self) -> bool {
        below(self.base(), LOCAL)
    }

    /// Names above it down from the one that was registered: for `a.b.example.com` these are `b.example.com` and
    /// `example.com`.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        let registered = psl::domain_str(self.base()).unwrap_or(self.base()).len();
        std::iter::successors(Some(self.0.as_str()), |name| name.split_once('.').map(|(_, parent)| parent))
            .skip(1)
            .take_while(move |name| name.len() >= registered)
    }

    /// The other one of a registered name and its `www`: `www.example.com` for `example.com`, and the reverse.
    #[must_use]
    pub fn counterpart(&self) -> Option<Self> {
        if self.is_apex() {
            return Some(Self(format!("www.{}", self.0)));
        }
        let apex = Self(self.0.strip_prefix("www.")?.to_owned());
        apex.is_apex().then_some(apex)
    }

    /// Refuses the platform's own names: its base domain and what is below it. Below `localhost` only the names of
    /// projects are, so that developers try out domains with more labels.
    ///
    /// # Errors
    /// When it is one.
    pub fn outside(self, base: &str) -> Result<Self, InvalidDomain> {
        let name = self.base();
        let is_platforms = match base {
            LOCAL => self.parent() == base || name == base,
            _ => name == base || below(name, base),
        };
        match is_platforms {
            true => Err(InvalidDomain::Platform { name: self.0, base: base.to_owned() }),
            false => Ok(self),
        }
    }
}

/// Third and fourth hyphens are left alone: hosts such as `r3---sn.example.com` exist.
const HYPHENS: Hyphens = Hyphens::CheckFirstLast;

fn below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

impl FromStr for DomainName {
    type Err = InvalidDomain;

    fn from_str(text: &str) -> Result<Self, InvalidDomain> {
        let shown = || text.chars().take(SHOWN_CHARS).collect::<String>();
        let given = text.trim();
        let bare = given.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(given);
        if bare.parse::<IpAddr>().is_ok() {
            return Err(InvalidDomain::Address(shown()));
        }
        if given.contains(['/', ':', '@', '?', '#']) {
            return Err(InvalidDomain::MoreThanName(shown()));
        }
        let (prefix, rest) = match given.strip_prefix(WILDCARD) {
            Some(rest) => (WILDCARD, rest),
            None => ("", given),
        };
        let rest = rest.strip_suffix(['.', '。']).unwrap_or(rest);
        let ascii = Uts46::new().to_ascii(rest.as_bytes(), AsciiDenyList::STD3, HYPHENS, DnsLength::Ignore);
        let name = ascii.map_err(|_| InvalidDomain::Malformed(shown()))?;
        let labels = || name.split('.');
        if name.len() > MAX_OCTETS || labels().count() > MAX_LABELS {
            return Err(InvalidDomain::TooDeep(shown()));
        }
        if labels().any(|label| label.is_empty() || label.len() > 63) {
            return Err(InvalidDomain::Malformed(shown()));
        }
        if labels().count() == 1 {
            return Err(InvalidDomain::SingleLabel(shown()));
        }
        if labels().next_back().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
            // No top-level domain is a number (RFC 3696 section 2): this is a mistyped address.
            return Err(InvalidDomain::Address(shown()));
        }
        if psl::domain_str(&name).is_none() {
            return Err(InvalidDomain::PublicSuffix(shown()));
        }
        Ok(Self(format!("{prefix}{name}")))
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for DomainName {
    type Error = InvalidDomain;

    fn try_from(text: String) -> Result<Self, InvalidDomain> {
        text.parse()
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_kept_as_the_dns_has_it_and_shown_as_people_read_it() {
        for (given, ascii, unicode) in [
            ("Shop.Example.COM.", "shop.example.com", "shop.example.com"),
            (" bücher.example ", "xn--bcher-kva.example", "bücher.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", "bücher.example"),
            ("*.Straße.example.de", "*.xn--strae-oqa.example.de", "*.straße.example.de"),
            ("例え。example。com", "xn--r8jz45g.example.com", "例え.example.com"),
        ] {
            let name = name(given);
            assert_eq!((name.as_str(), name.unicode().as_str()), (ascii, unicode), "{given}");
            assert_eq!(name.as_str().parse::<DomainName>().unwrap(), name);
        }
    }

    #[test]
    fn a_text_that_is_no_domain_is_refused_with_what_is_wrong_with_it() {
        let deep = "a.".repeat(9) + "example.com";
        let long = format!("{0}.{0}.{0}.{0}.com", "a".repeat(60));
        for (given, hint) in [
            ("https://shop.example.com/", "leave out the scheme"),
            ("shop.example.com:8080", "leave out the scheme"),
            ("192.0.2.1", "IP address"),
            ("[2001:db8::1]", "IP address"),
            ("300.0.2.1", "IP address"),
            ("co.uk", "public suffix"),
            ("*.co.uk", "public suffix"),
            ("github.io", "public suffix"),
            ("shop", "single label"),
            ("", "can't be a domain"),
            ("a..example.com", "can't be a domain"),
            ("-a.example.com", "can't be a domain"),
            ("_dmarc.example.com", "can't be a domain"),
            ("a b.example.com", "can't be a domain"),
            ("*.*.example.com", "can't be a domain"),
            ("shop.*.example.com", "can't be a domain"),
            ("*shop.example.com", "can't be a domain"),
            (&format!("{}.example.com", "a".repeat(64)), "can't be a domain"),
            (&deep, "too deep"),
            (&long, "too deep"),
        ] {
            let error = given.parse::<DomainName>().unwrap_err().to_string();
            assert!(error.contains(hint), "{given}: {error}");
        }
    }

    #[test]
    fn the_platforms_own_names_are_refused() {
        for (base, given, is_free) in [
            ("apps.example.com", "apps.example.com", false),
            ("apps.example.com", "shop.apps.example.com", false),
            ("apps.example.com", "*.apps.example.com", false),
            ("apps.example.com", "a.shop.apps.example.com", false),
            ("apps.example.com", "example.com", true),
            ("apps.example.com", "myapps.example.com", true),
            ("localhost", "shop.localhost", false),
            ("localhost", "*.localhost", false),
            ("localhost", "www.shop.localhost", true),
            ("localhost", "*.shop.localhost", true),
        ] {
            // `*.localhost` is refused before, as a suffix.
            let taken = given.parse::<DomainName>().and_then(|name| name.outside(base));
            assert_eq!(taken.is_ok(), is_free, "{given} beside {base}");
        }
    }

    #[test]
    fn a_name_knows_where_it_stands_in_the_tree() {
        let shop = name("a.shop.example.co.uk");
        assert_eq!(shop.ancestors().collect::<Vec<_>>(), ["shop.example.co.uk", "example.co.uk"]);
        assert_eq!(name("*.shop.example.com").ancestors().collect::<Vec<_>>(), ["shop.example.com", "example.com"]);
        assert_eq!(name("example.com").ancestors().count(), 0);
        assert!(name("example.co.uk").is_apex() && !shop.is_apex() && !name("*.example.com").is_apex());
        assert_eq!(name("example.com").counterpart(), Some(name("www.example.com")));
        assert_eq!(name("www.example.com").counterpart(), Some(name("example.com")));
        assert_eq!((name("shop.example.com").counterpart(), name("www.shop.example.com").counterpart()), (None, None));
        assert!(name("www.shop.localhost").is_local() && !name("localhost.example").is_local());
    }
}
