//! What a site says of its own addresses, made ready for requests.

use common::manifest::Manifest;
use http::HeaderMap;

mod headers;
mod index;
mod logins;
mod matcher;
mod redirects;
mod scope;
mod visitors;

use headers::Headers;
use logins::Logins;
pub(super) use redirects::Found;
use redirects::Redirects;

/// A rule that can't be carried out. Whoever published it has judged it by the same measures, so it never is one
/// of a site's author.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rule for `{path}` can't be carried out: {why}")]
pub(crate) struct Unusable {
    path: String,
    why: String,
}

impl Unusable {
    fn new(path: &str, why: impl ToString) -> Self {
        Self { path: path.to_owned(), why: why.to_string() }
    }
}

/// All rules of a site.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) redirects: Redirects,
    pub(super) headers: Headers,
    pub(super) logins: Logins,
}

impl Rules {
    /// Takes the rules out of a manifest.
    pub(super) fn take(manifest: &mut Manifest) -> Result<Self, Unusable> {
        Ok(Self {
            redirects: Redirects::new(std::mem::take(&mut manifest.redirects))?,
            headers: Headers::new(std::mem::take(&mut manifest.headers))?,
            logins: Logins::new(std::mem::take(&mut manifest.logins))?,
        })
    }

    /// Memory that they take, in bytes, roughly.
    pub(super) const fn memory(&self) -> usize {
        self.redirects.memory() + self.headers.memory() + self.logins.memory()
    }
}

/// What of a request rules look at.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// Decoded path.
    pub(crate) path: &'a str,
    /// Query as it was sent.
    pub(crate) query: Option<&'a [u8]>,
    /// Host in lower case.
    pub(crate) host: &'a str,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
    /// Fields.
    pub(crate) headers: &'a HeaderMap,
    /// The visitor's country, ISO 3166-1 alpha-2, when it is known.
    pub(crate) country: Option<&'a str>,
}

impl Ask<'_> {
    /// Whether this, as it stands in `Location`, is the address that was asked for.
    fn is_at(&self, to: &str) -> bool {
        let to = to.split_once('#').map_or(to, |(to, _)| to);
        let (to, query) = to.split_once('?').map_or((to, None), |(to, query)| (to, Some(query.as_bytes())));
        let path = if to.starts_with('/') {
            to
        } else {
            let scheme = if self.secure { "https://" } else { "http://" };
            let Some(path) = to.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(self.host)) else {
                return false;
            };
            path
        };
        query == self.query && super::path::decode(path.as_bytes()).is_ok_and(|path| path == self.path)
    }
}

/// What of a request, beside method, path and query, an answer was chosen by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depends {
    /// Host and scheme.
    pub(crate) origin: bool,
    /// `Accept-Language`.
    pub(crate) language: bool,
    /// `Cookie`.
    pub(crate) cookie: bool,
    /// The visitor's address.
    pub(crate) country: bool,
    /// Which deployments were live before.
    pub(crate) earlier: bool,
}

impl Depends {
    /// Whether nothing else counted.
    pub(crate) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::LazyLock;

    use super::*;
    use common::site_rules::{Redirect, Source, Visitors};

    static NO_FIELDS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

    /// A plain request for `http://site.example`.
    pub(super) fn ask(path: &str) -> Ask<'_> {
        Ask { path, query: None, host: "site.example", secure: false, headers: &NO_FIELDS, country: None }
    }

    /// A redirect for everybody.
    pub(super) fn redirect(from: &str, to: Option<&str>, status: u16) -> Redirect {
        Redirect {
            from: Source { path: from.into(), ..Source::default() },
            query: Vec::new(),
            to: to.map(str::to_owned),
            status,
            force: false,
            visitors: Visitors::default(),
        }
    }

    #[test]
    fn an_address_is_recognised_however_it_is_written() {
        for (path, to, is_there) in [
            ("/a", "/a", true),
            ("/a", "/a#y", true),
            ("/a", "/a?x", false),
            ("/a b", "/a%20b", true),
            ("/a", "/a/", false),
            ("/a", "http://site.example/a", true),
            ("/a", "https://site.example/a", false),
            ("/a", "http://site.example:8080/a", false),
            ("/a", "http://other.example/a", false),
        ] {
            assert_eq!(ask(path).is_at(to), is_there, "{path} {to}");
        }
    }
}
