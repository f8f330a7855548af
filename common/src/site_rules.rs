//! What a site says of its own addresses: redirects, rewrites, fields of answers, and who may see what.
//!
//! A site says so in the files `_redirects` and `_headers`. They are read when it is published; a manifest
//! carries what is honoured in the form below, and the edges carry it out. How addresses are matched and targets
//! are written is in [`pattern`] and [`template`], so that whoever publishes judges a line as the edges will.

use serde::{Deserialize, Serialize};

use crate::policy::Credential;

use pattern::Pattern;

pub mod pattern;
pub mod template;

/// Which addresses a rule is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// Only requests over HTTPS, or only those over plain HTTP; either when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<bool>,
    /// Only this host, in lower case; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Path with `*` and `:placeholders`, as [`pattern::Pattern`] reads it.
    pub path: String,
}

impl Source {
    /// Whether the path has a placeholder of this name.
    #[must_use]
    pub fn catches(&self, name: &str) -> bool {
        Pattern::parse(&self.path).is_ok_and(|pattern| pattern.names().any(|n| n == name))
    }
}

/// Sends requests for some addresses elsewhere, or answers them with another file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// Which addresses.
    #[serde(flatten)]
    pub from: Source,
    /// Parameters that the query must have; others may be there too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<Parameter>,
    /// Where to, as [`template::Template`] reads it. Absent with an error's status: then the nearest page for
    /// what is missing is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// 301, 302, 303, 307 or 308 redirect. With 200 and with errors, the file at `to` is the answer.
    pub status: u16,
    /// Also where the site has a file at the address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Of whom.
    #[serde(default, skip_serializing_if = "Visitors::is_everyone")]
    pub visitors: Visitors,
}

impl Redirect {
    /// Whether the visitor is told to go elsewhere, rather than shown another file.
    #[must_use]
    pub const fn moves(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }

    /// Whether the target may use a placeholder of this name.
    #[must_use]
    pub fn catches(&self, name: &str) -> bool {
        self.query.iter().any(|p| matches!(&p.value, Expected::Named(n) if n == name)) || self.from.catches(name)
    }
}

/// A parameter that a query must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its decoded name.
    pub name: String,
    /// What it must be.
    pub value: Expected,
}

/// What a parameter of a query must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// There, with any value or none.
    Present,
    /// Exactly this, decoded.
    Is(String),
    /// Not empty; the target may use it by this name.
    Named(String),
}

/// Which visitors a redirect is for; of each list that is not empty, one must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Visitors {
    /// Language ranges in lower case (RFC 4647 section 2.1), compared with the language that they want most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Countries, ISO 3166-1 alpha-2 in upper case. None fits on an edge without a GeoIP file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub countries: Vec<String>,
    /// Names of cookies, of which one must be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cookies: Vec<String>,
}

impl Visitors {
    /// Whether no list has a member.
    #[must_use]
    pub const fn is_everyone(&self) -> bool {
        self.languages.is_empty() && self.countries.is_empty() && self.cookies.is_empty()
    }
}

/// Changes the fields of answers at some addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderRule {
    /// Which addresses.
    #[serde(flatten)]
    pub on: Source,
    /// Names, in lower case, of fields that are taken away, before any is added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Fields that are added: a name in lower case, and a value, as [`template::Text`] reads it. A name stands
    /// once, but for `set-cookie`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<(String, String)>,
}

/// Addresses for which visitors must log in with HTTP Basic authentication (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Which addresses.
    #[serde(flatten)]
    pub on: Source,
    /// Who may pass.
    pub users: Vec<Credential>,
}

/// Fields that hold one value: of several rules, the last one's counts. The values of all others are joined to a list.
#[must_use]
pub fn holds_one_value(name: &str) -> bool {
    const ONE: [&str; 20] = [
        "access-control-allow-credentials",
        "access-control-allow-origin",
        "access-control-max-age",
        "cache-control",
        "cdn-cache-control",
        "content-disposition",
        "content-location",
        "content-type",
        "cross-origin-embedder-policy",
        "cross-origin-opener-policy",
        "cross-origin-resource-policy",
        "expires",
        "last-modified",
        "origin-agent-cluster",
        "referrer-policy",
        "refresh",
        "strict-transport-security",
        "x-content-type-options",
        "x-frame-options",
        "x-xss-protection",
    ];
    ONE.binary_search(&name).is_ok()
}

/// Fields that only the edge writes: they say how the answer is framed, who serves it, or what it is conditional on.
#[must_use]
pub fn is_edges_own(name: &str) -> bool {
    const OWN: [&str; 26] = [
        "accept-ranges",
        "age",
        "allow",
        "alt-svc",
        "cache-status",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "date",
        "etag",
        "host",
        "keep-alive",
        "location",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-connection",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "www-authenticate",
        crate::signs::DEPLOYMENT,
        "x-request-id",
    ];
    OWN.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_not_said_is_not_written_and_comes_back() {
        let redirect = Redirect {
            from: Source { path: "/a".into(), ..Source::default() },
            query: Vec::new(),
            to: Some("/b".into()),
            status: 301,
            force: false,
            visitors: Visitors::default(),
        };
        let json = serde_json::to_string(&redirect).unwrap();
        assert_eq!(json, r#"{"path":"/a","to":"/b","status":301}"#);
        assert_eq!(serde_json::from_str::<Redirect>(&json).unwrap(), redirect);
    }

    #[test]
    fn names_are_found_in_the_lists_that_they_are_in() {
        for name in ["access-control-allow-credentials", "cache-control", "x-frame-options", "x-xss-protection"] {
            assert!(holds_one_value(name) && !is_edges_own(name), "{name}");
        }
        for name in ["accept-ranges", "content-length", "date", "server", "x-request-id"] {
            assert!(is_edges_own(name), "{name}");
        }
        for name in ["link", "vary", "content-security-policy", "x-robots-tag", "set-cookie"] {
            assert!(!holds_one_value(name) && !is_edges_own(name), "{name}");
        }
    }
}
