//! How the edge treats a project's visitors: everything beside where the answers come from.
//!
//! A policy travels with each of its project's routes. What is absent has its default, so that an edge reads
//! the policies of an older control plane, and leaves out what only a newer one knows.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the edge treats a project's visitors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Policy {
    /// Whether visitors are led to HTTPS.
    pub https: HttpsPolicy,
    /// Static sites: one address per page.
    pub trailing_slash: TrailingSlash,
    /// Who may see what.
    pub protection: Vec<Protection>,
    /// How apps are asked.
    pub app: AppPolicy,
    /// Whether answers of apps are kept.
    pub cache: CachePolicy,
    /// Whether text that an app sends uncompressed is compressed on its way.
    pub compression: Compression,
    /// How much is served at once.
    pub limits: Limits,
    /// Who is served at all.
    pub access: Access,
    /// Rules, in order; the first that ends a request ends it.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// Whether nothing differs from the defaults.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether visitors are led to HTTPS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct HttpsPolicy {
    /// Plain HTTP gets a 308 to the same address over HTTPS.
    pub redirect: bool,
    /// What `Strict-Transport-Security` says over HTTPS (RFC 6797); the field is absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
}

/// `Strict-Transport-Security` (RFC 6797 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hsts {
    /// For how long, in seconds.
    pub max_age_s: u32,
    /// Also for every host below.
    #[serde(default)]
    pub include_subdomains: bool,
    /// Asks to be built into browsers (hstspreload.org).
    #[serde(default)]
    pub preload: bool,
}

/// Which spelling of a page's address answers; the others redirect to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrailingSlash {
    /// As the file lies: `about.html` is `/about`, `about/index.html` is `/about/`.
    #[default]
    Auto,
    /// `/about/` for both.
    Always,
    /// `/about` for both.
    Never,
    /// Both spellings answer, nothing redirects.
    Ignore,
}

/// A path below which visitors must log in with HTTP Basic authentication (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Protection {
    /// Path prefix, in whole segments; `/` is everything.
    pub path: String,
    /// Which of the project's addresses it covers.
    #[serde(default)]
    pub on: ProtectedHosts,
    /// Who may pass.
    pub users: Vec<Credential>,
}

/// Which of a project's addresses a protection covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProtectedHosts {
    /// Every address.
    #[default]
    All,
    /// Addresses of single deployments, not the project's own.
    Previews,
}

/// A name and what its password is checked against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Credential {
    /// User name, without a colon.
    pub user: String,
    /// PHC string of the password (Argon2id). The API also takes a plain `password`, and keeps only this.
    pub hash: String,
}

/// How apps are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AppPolicy {
    /// What the app's port speaks.
    pub protocol: AppProtocol,
    /// How long is waited.
    pub timeouts: AppTimeouts,
    /// Looks at every instance from time to time; without it only visitors' requests tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
}

/// What an app's port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, as gRPC servers speak it (RFC 9113 section 3.3).
    H2c,
}

/// How long an app is waited for, in milliseconds; what is absent has the edge's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AppTimeouts {
    /// Until it accepts a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u64>,
    /// Until its answer begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<u64>,
    /// Between two pieces of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between_bytes_ms: Option<u64>,
    /// Until its answer has ended; unbounded when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<u64>,
}

/// How instances are looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthCheck {
    /// Path that must answer with a status from 200 to 399.
    pub path: String,
    /// Milliseconds between two looks at the same instance.
    pub interval_ms: u64,
}

/// Whether answers of apps are kept (RFC 9111, as a shared cache).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CachePolicy {
    /// Answers are kept as their `CDN-Cache-Control` and `Cache-Control` allow.
    pub enabled: bool,
    /// Also answers to requests with `Authorization`, and those with `Set-Cookie`, when their cache control says
    /// explicitly `public` or `s-maxage` (with `Authorization` also `must-revalidate`). Never without this.
    pub explicit_private: bool,
    /// Also answers with `Set-Cookie` that say no more than for how long they are fresh, as RFC 9111 section 7.3
    /// has it: for apps whose cookies are the same for every visitor.
    pub set_cookie: bool,
}

/// Whether text that an app sends uncompressed is compressed on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Where it helps and does not leak: never for answers that set cookies or that are made for one
    /// visitor (BREACH, CVE-2013-3587).
    #[default]
    Auto,
    /// Never.
    Off,
}

/// How much is served at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Limits {
    /// For the whole project, on each edge.
    pub project: Limit,
    /// For one visitor's address (an IPv6 visitor is its /64).
    pub client: Limit,
}

/// Bounds; what is absent is unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Limit {
    /// Requests per second, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_s: Option<u32>,
    /// Requests beyond the average that may come at once; as many as `requests_per_s` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Requests that are answered at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// Bytes of answers per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
}

/// Who is served at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Access {
    /// Only these addresses, when there are any.
    #[schema(value_type = Vec<String>)]
    pub allow: Vec<IpNet>,
    /// None of these, even when `allow` names them.
    #[schema(value_type = Vec<String>)]
    pub deny: Vec<IpNet>,
}

impl Access {
    /// Whether this address is served.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let names = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        !names(&self.deny) && (self.allow.is_empty() || names(&self.allow))
    }
}

/// What is done with requests that match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rule {
    /// Its name, for the access log; unique within the project.
    pub name: String,
    /// Which requests; every part that is there must match.
    #[serde(rename = "if", default)]
    pub when: Condition,
    /// What is done with them.
    pub then: Action,
}

/// Which requests a rule is for. Each list matches when one of its members does; an empty one always does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Condition {
    /// Decoded paths; `*` stands for any characters, slashes too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Methods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Header fields; here all must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// Addresses of visitors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpNet>,
    /// Countries of visitors, ISO 3166-1 alpha-2; matches nothing on an edge without a GeoIP file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub countries: Vec<String>,
}

/// A header field that a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeaderMatch {
    /// Its name.
    pub name: String,
    /// Its value, `*` stands for any characters; any value when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Matches when the field is not so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// No further rule is looked at.
    Allow,
    /// 403, or another status from 400 to 499.
    Deny {
        /// The status.
        #[serde(default = "forbidden")]
        status: u16,
    },
    /// At most so many of the requests that match; 429 beyond.
    RateLimit {
        /// Requests.
        requests: u32,
        /// Within so many seconds.
        per_s: u32,
        /// What is counted apart.
        #[serde(default)]
        by: CountBy,
    },
    /// Another address.
    Redirect {
        /// Path, or whole URL.
        to: String,
        /// 301, 302, 303, 307 or 308.
        #[serde(default = "found")]
        status: u16,
    },
    /// Named in the access log, and looked at by further rules.
    Log,
}

const fn forbidden() -> u16 {
    403
}

const fn found() -> u16 {
    302
}

/// What a rate limit counts apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CountBy {
    /// Each visitor's address.
    #[default]
    Client,
    /// Each value of a header field.
    Header(String),
    /// All together.
    Project,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_empty_document_is_the_default_policy_and_unknown_parts_are_left_out() {
        let policy: Policy = serde_json::from_str(r#"{"from_a_newer_version": 1}"#).unwrap();
        assert!(policy.is_default());
    }

    #[test]
    fn a_denied_address_is_not_served_even_when_it_is_allowed() {
        let access = Access { allow: vec!["10.0.0.0/8".parse().unwrap()], deny: vec!["10.1.0.0/16".parse().unwrap()] };
        for (address, served) in
            [("10.2.3.4", true), ("10.1.3.4", false), ("11.0.0.1", false), ("::ffff:10.2.3.4", true), ("::1", false)]
        {
            assert_eq!(access.admits(address.parse().unwrap()), served, "{address}");
        }
        assert!(Access::default().admits("::1".parse().unwrap()));
    }

    #[test]
    fn rules_read_as_their_documentation_writes_them() {
        let rule: Rule = serde_json::from_str(
            r#"{"name": "login", "if": {"paths": ["/login*"], "methods": ["POST"]},
                "then": {"rate_limit": {"requests": 5, "per_s": 60}}}"#,
        )
        .unwrap();
        assert_eq!(rule.then, Action::RateLimit { requests: 5, per_s: 60, by: CountBy::Client });
        let rule: Rule = serde_json::from_str(r#"{"name": "all", "then": "allow"}"#).unwrap();
        assert_eq!((rule.when, rule.then), (Condition::default(), Action::Allow));
    }
}
