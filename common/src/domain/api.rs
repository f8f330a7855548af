//! Bodies of the REST API's domains.

use serde::{Deserialize, Deserializer, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::{CertificateTrack, DomainName, Expected, Hostname};
use crate::name::ProjectName;
use crate::policy::Hsts;
use crate::time::Timestamp;

/// A domain.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Domain {
    /// Its name as the DNS has it.
    pub name: DomainName,
    /// Its name as people read it.
    pub unicode: String,
    /// The project that it shows.
    pub project: ProjectName,
    /// Where visitors reach it; a wildcard has no address of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub url: Option<Url>,
    /// Whether the DNS leads here, and why not.
    pub hostname: Hostname,
    /// How it stands with its certificate.
    pub certificate: CertificateTrack,
    /// The records that it needs.
    pub records: Expected,
    /// What its visitors meet.
    #[serde(flatten)]
    pub settings: DomainSettings,
    /// When it was attached.
    pub created_at: Timestamp,
}

impl Domain {
    /// Whether visitors get it over HTTPS.
    #[must_use]
    pub const fn works(&self) -> bool {
        matches!(self.hostname, Hostname::Active { .. }) && self.certificate.is_good()
    }
}

/// What visitors of a domain meet. What is absent is as the project's policy says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DomainSettings {
    /// They are led to another domain of the project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<DomainRedirect>,
    /// Whether plain HTTP is led to HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https_redirect: Option<bool>,
    /// What `Strict-Transport-Security` says over HTTPS (RFC 6797).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
}

/// Leads visitors to the same path and query of another domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DomainRedirect {
    /// The other domain.
    pub to: DomainName,
    /// The answer's status.
    #[serde(default)]
    pub status: RedirectStatus,
}

/// Status of a permanent redirect (RFC 9110 section 15.4): 301, after which browsers may turn a POST into a GET, or 308,
/// after which method and body stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "u16", into = "u16")]
#[schema(value_type = u16, example = 308)]
pub struct RedirectStatus(u16);

impl Default for RedirectStatus {
    fn default() -> Self {
        Self(308)
    }
}

impl From<RedirectStatus> for u16 {
    fn from(status: RedirectStatus) -> Self {
        status.0
    }
}

/// A status that is none of a permanent redirect.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a redirect's status is 301 or 308, not {0}")]
pub struct InvalidStatus(u16);

impl TryFrom<u16> for RedirectStatus {
    type Error = InvalidStatus;

    fn try_from(status: u16) -> Result<Self, InvalidStatus> {
        match status {
            301 | 308 => Ok(Self(status)),
            other => Err(InvalidStatus(other)),
        }
    }
}

/// A domain to attach.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDomain {
    /// Its name, in Unicode or as the DNS has it; `*.` in front for every host one label below.
    pub name: DomainName,
    /// Attaches `www.` of a registered name too, or the registered name of a `www.`; that one leads to this one.
    #[serde(default)]
    pub pair: bool,
    /// Leads its visitors to another domain of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<DomainRedirect>,
    /// Whether plain HTTP is led to HTTPS, when not as the project's policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https_redirect: Option<bool>,
    /// What `Strict-Transport-Security` says, when not as the project's policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
}

/// Domains that were attached or moved together.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Domains {
    /// The domains, the one that was named first.
    pub items: Vec<Domain>,
}

/// What to change of a domain: what is given replaces, `null` takes back.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DomainChange {
    /// Leads its visitors to another domain of the project.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DomainRedirect>)]
    pub redirect: Option<Option<DomainRedirect>>,
    /// Whether plain HTTP is led to HTTPS.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<bool>)]
    pub https_redirect: Option<Option<bool>>,
    /// What `Strict-Transport-Security` says over HTTPS.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Hsts>)]
    pub hsts: Option<Option<Hsts>>,
}

/// Tells `null` from what is absent.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl DomainSettings {
    /// These settings with what `change` gives.
    #[must_use]
    pub fn changed(self, change: DomainChange) -> Self {
        Self {
            redirect: change.redirect.unwrap_or(self.redirect),
            https_redirect: change.https_redirect.unwrap_or(self.https_redirect),
            hsts: change.hsts.unwrap_or(self.hsts),
        }
    }
}

/// Where to move a domain.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The project that it is to show.
    pub project: ProjectName,
}

/// Why a domain is stopped.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// The reason, which its owner is told.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_change_replaces_what_it_gives_and_takes_back_what_is_null() {
        let before = DomainSettings {
            redirect: Some(DomainRedirect {
                to: "www.example.com".parse().unwrap(),
                status: RedirectStatus::default(),
            }),
            https_redirect: Some(true),
            hsts: None,
        };
        let change = |json: &str| before.clone().changed(serde_json::from_str(json).unwrap());
        assert_eq!(change("{}"), before);
        let changed = change(r#"{"redirect": null, "hsts": {"max_age_s": 60}}"#);
        assert_eq!((changed.redirect, changed.https_redirect), (None, Some(true)));
        assert_eq!(changed.hsts.map(|hsts| hsts.max_age_s), Some(60));
        let error = serde_json::from_str::<DomainChange>(r#"{"redirect": {"to": "a.example.com", "status": 302}}"#);
        assert!(error.unwrap_err().to_string().contains("301 or 308"));
    }
}
