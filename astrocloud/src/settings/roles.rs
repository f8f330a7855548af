//! What the roles of a platform in several processes need to know of one another.

use std::net::IpAddr;
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Maybe;

/// How long a deployer that ends waits until its apps run elsewhere: the start of an app, and some more.
const LEAVE: Duration = Duration::from_secs(90);

/// A control plane that runs alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ControlPlane {
    pub public_url: Maybe<Url>,
}

/// A deployer that runs alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Deployer {
    pub control_planes: Vec<Url>,
    pub control_plane_ca: Maybe<String>,
    pub token_file: Maybe<String>,
    pub advertise: Maybe<IpAddr>,
    #[serde(with = "span")]
    pub leave: Duration,
}

impl Default for ControlPlane {
    fn default() -> Self {
        Self { public_url: Maybe(None) }
    }
}

impl Default for Deployer {
    fn default() -> Self {
        Self {
            control_planes: Vec::new(),
            control_plane_ca: Maybe(None),
            token_file: Maybe(None),
            advertise: Maybe(None),
            leave: LEAVE,
        }
    }
}
