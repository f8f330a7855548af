//! Addresses of registries, and what images are called in them.

use std::fmt;
use std::str::FromStr;

use oci_spec::distribution::Reference;
use url::{Host, Url};

/// A registry and where in it the platform's images lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    url: Url,
    host: String,
    prefix: String,
}

/// Why an address is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No URL.
    #[error("`{0}` is no address of a registry: write one like https://shop.azurecr.io/astrocloud")]
    Malformed(String),
    /// Unencrypted.
    #[error("`{0}` is not encrypted: a registry is reached by https://, by http:// on this machine alone")]
    Plain(String),
    /// A login in it.
    #[error("an address of a registry has no login in it: set registry.username and registry.password_file")]
    Login,
    /// A folder that no repository can have.
    #[error(
        "`{0}` can't be where images lie: use lower-case letters, digits and single `.`, `_` or `-` between them, \
         with `/` between folders"
    )]
    Prefix(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(text.to_owned());
        let url = Url::parse(text).map_err(|_| malformed())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Login);
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(AddressError::Plain(text.to_owned())),
            _ => return Err(malformed()),
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(malformed());
        }
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(malformed()),
        };
        let prefix = url.path().trim_matches('/').to_owned();
        if !prefix.is_empty() && !prefix.split('/').all(is_component) {
            return Err(AddressError::Prefix(prefix));
        }
        let mut url = url;
        url.set_path("/");
        Ok(Self { url, host, prefix })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.url, self.prefix)
    }
}

impl Address {
    /// The root of its API.
    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    /// Host and port, as images' references begin.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The repository of this name.
    pub(crate) fn repository(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    /// Repository and digest of a reference to an image here.
    pub(crate) fn parse<'a>(&self, reference: &'a str) -> Option<(&'a str, &'a str)> {
        let (repository, digest) = reference.strip_prefix(&self.host)?.strip_prefix('/')?.split_once('@')?;
        let hex = digest.strip_prefix("sha256:")?;
        let is_digest = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (is_digest && repository.split('/').all(is_component)).then_some((repository, digest))
    }

    /// The root of the API of the registry that an image lies in, which may be this one.
    pub(crate) fn url_of(&self, image: &Reference) -> Result<Url, AddressError> {
        let host = image.resolve_registry();
        if host == self.host {
            return Ok(self.url.clone());
        }
        let malformed = |_| AddressError::Malformed(host.to_owned());
        let url = Url::parse(&format!("https://{host}/")).map_err(malformed)?;
        if is_loopback(&url) { Url::parse(&format!("http://{host}/")).map_err(malformed) } else { Ok(url) }
    }
}

/// Whether an address is this machine's own.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// A part of a repository's name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(|b| is_word(*b)) && bytes.last().is_some_and(|b| is_word(*b));
    let separators = text.split(|c: char| is_word(u8::try_from(c).unwrap_or(b'!')));
    ends && separators.into_iter().all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_encrypted_and_may_have_folders() {
        let address: Address = "https://shop.azurecr.io/astro/apps".parse().unwrap();
        assert_eq!((address.host(), &*address.repository("blog")), ("shop.azurecr.io", "astro/apps/blog"));
        assert_eq!(address.to_string(), "https://shop.azurecr.io/astro/apps");
        let local: Address = "http://127.0.0.1:5000".parse().unwrap();
        assert_eq!((local.host(), &*local.repository("blog")), ("127.0.0.1:5000", "blog"));
    }

    #[test]
    fn what_can_be_no_address_is_told() {
        for (text, said) in [
            ("shop.azurecr.io", "write one like"),
            ("ftp://host/", "write one like"),
            ("https://host/?a=b", "write one like"),
            ("http://10.0.0.1:5000/", "not encrypted"),
            ("https://user:secret@host/", "registry.username"),
            ("https://host/Apps", "can't be where images lie"),
            ("https://host/a..b", "can't be where images lie"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("secret"), "{text}: {error}");
        }
    }

    #[test]
    fn a_reference_belongs_to_its_registry() {
        let address: Address = "https://shop.azurecr.io/astro".parse().unwrap();
        let digest = format!("sha256:{}", "a".repeat(64));
        let reference = format!("shop.azurecr.io/astro/blog@{digest}");
        assert_eq!(address.parse(&reference), Some(("astro/blog", &*digest)));
        for other in [format!("other.io/astro/blog@{digest}"), "blog@sha256:a".to_owned(), format!("blog@{digest}")] {
            assert_eq!(address.parse(&other), None, "{other}");
        }
    }
}
