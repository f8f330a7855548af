//! Settings of custom domains.

use std::net::IpAddr;
use std::time::Duration;

use control_plane::DomainsConfig;
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use serde::{Deserialize, Serialize};

use super::Settings;

/// How custom domains are verified and served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Domains {
    pub addresses: Vec<IpAddr>,
    #[serde(with = "span")]
    pub notice: Duration,
}

/// What a project may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Limits {
    pub domains_per_project: u32,
}

impl Default for Domains {
    fn default() -> Self {
        let config = DomainsConfig::default();
        Self { addresses: config.addresses, notice: config.notice }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { domains_per_project: DomainsConfig::default().per_project }
    }
}

impl Settings {
    /// What the control plane is to know of custom domains.
    pub fn domains(&self) -> DomainsConfig {
        DomainsConfig {
            addresses: self.domains.addresses.clone(),
            notice: self.domains.notice,
            per_project: self.limits.domains_per_project,
        }
    }
}
