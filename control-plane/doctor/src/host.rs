//! The name as a person typed it.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use lookup::Name;

use crate::report::{Code, Finding, Severity};

/// Labels of a host name at most. Deeper names are legal in the DNS; nobody has needed one on a platform.
pub const LABELS_MAX: usize = 8;

/// A host name that can be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// In the DNS's form (A-labels), lower case, without a dot at the end and without `*.`.
    pub base: String,
    /// Whether all names one level below it are meant.
    pub wildcard: bool,
    /// As people write it, when that differs.
    pub unicode: Option<String>,
    /// The domain that somebody registered.
    pub registrable: String,
}

impl Host {
    /// Reads a name, leniently: an address out of a browser will do.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<(Self, Vec<Finding>), Finding> {
        let bare = bare(text);
        let (wildcard, bare) = match bare.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, bare),
        };
        let base = ascii(bare).ok_or_else(|| invalid(text))?;
        let unicode = Uts46::new().to_unicode(base.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow).0.into_owned();
        let unicode = Some(unicode).filter(|unicode| *unicode != base);
        let labels = base.split('.').count() + usize::from(wildcard);
        if labels > LABELS_MAX {
            return Err(Finding::new(
                Code::NameTooDeep,
                Severity::Error,
                format!("{text} has {labels} labels"),
                format!("at most {LABELS_MAX}"),
                "Choose a shorter name, nearer to your domain.",
            ));
        }
        let Some(registrable) = psl::domain_str(&base).map(str::to_owned) else { return Err(public_suffix(&base)) };
        let host = Self { base, wildcard, unicode, registrable };
        let mut findings = Vec::new();
        if !bare.is_ascii() {
            findings.push(Finding::new(
                Code::Idn,
                Severity::Notice,
                format!("the name was given as {bare}"),
                format!("in the DNS it is {}", host.base),
                format!("Write {} where your DNS provider does not take {bare}.", host.base),
            ));
        }
        Ok((host, findings))
    }

    /// The name that records stand at: `*.` and all.
    pub fn name(&self) -> String {
        if self.wildcard { format!("*.{}", self.base) } else { self.base.clone() }
    }

    /// The same for the DNS. `None` cannot happen to a name that was read.
    pub(crate) fn dns(&self) -> Option<Name> {
        Name::from_ascii(format!("{}.", self.name())).ok()
    }

    /// A name to visit: any below a wildcard.
    pub(crate) fn visited(&self) -> String {
        if self.wildcard { format!("astrocloud-check.{}", self.base) } else { self.base.clone() }
    }
}

/// The host out of what may be a whole address.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.split(['/', '?', '#']).next().unwrap_or_default();
    let text = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.contains(':') => host,
        _ => text,
    };
    text.strip_suffix('.').unwrap_or(text)
}

/// UTS 46, not transitional, with the letters that host names may have (STD 3) and lengths that the DNS holds.
fn ascii(bare: &str) -> Option<String> {
    let name =
        Uts46::new().to_ascii(bare.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify).ok()?;
    let number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    (!number && name.contains('.') || psl::suffix_str(&name) == Some(&name)).then(|| name.into_owned())
}

fn invalid(text: &str) -> Finding {
    Finding::new(
        Code::NameInvalid,
        Severity::Error,
        format!("\"{text}\" is no host name"),
        "letters, digits and hyphens, in labels of at most 63 with dots between, and no IP address",
        "Write the name that visitors type, such as shop.example.com.",
    )
}

fn public_suffix(base: &str) -> Finding {
    Finding::new(
        Code::PublicSuffix,
        Severity::Error,
        format!("{base} is a public suffix: others register their domains below it"),
        "a domain that somebody registered, or a name below one",
        format!("Use a name below it that is yours, such as shop.{base}."),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn code(text: &str) -> Code {
        Host::read(text).unwrap_err().code
    }

    #[test]
    fn names_are_read_as_people_give_them() {
        for (text, name) in [
            ("Shop.Example.COM", "shop.example.com"),
            ("https://shop.example.com/path?q#f", "shop.example.com"),
            (" shop.example.com.:8443 ", "shop.example.com"),
            ("*.shop.example.com", "*.shop.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("faß.example", "xn--fa-hia.example"),
        ] {
            assert_eq!(Host::read(text).unwrap().0.name(), name, "{text}");
        }
        let (host, findings) = Host::read("bücher.example").unwrap();
        assert_eq!((host.unicode.as_deref(), findings[0].code), (Some("bücher.example"), Code::Idn));
        let (host, findings) = Host::read("xn--bcher-kva.example").unwrap();
        assert_eq!((host.unicode.as_deref(), findings.len()), (Some("bücher.example"), 0));
        assert_eq!(Host::read("a.b.shop.co.uk").unwrap().0.registrable, "shop.co.uk");
    }

    #[test]
    fn what_cannot_be_a_custom_domain_is_refused_with_the_reason() {
        for text in [
            "",
            "192.0.2.1",
            "[2001:db8::1]",
            "2001:db8::1",
            "sh op.example.com",
            "-a.example.com",
            "a..b.com",
            "localhost_",
        ] {
            assert_eq!(code(text), Code::NameInvalid, "{text}");
        }
        assert_eq!(code("co.uk"), Code::PublicSuffix);
        assert_eq!(code("com"), Code::PublicSuffix);
        assert_eq!(code("*.github.io"), Code::PublicSuffix);
        assert_eq!(code("a.b.c.d.e.f.g.example.com"), Code::NameTooDeep);
        assert_eq!(code(&format!("{}.com", "a".repeat(64))), Code::NameInvalid);
    }
}
