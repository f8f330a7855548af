//! A running dynamic deployment, as people see it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Timestamp;

/// What a revision does at the moment. Every state but `running` and `stopped` carries why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum RevisionStatus {
    /// Started; its health check has not passed yet.
    Starting,
    /// Answers.
    Running {
        /// Where the edges reach it.
        #[serde(flatten)]
        endpoints: Endpoints,
        /// How often it was restarted since it was deployed.
        restarts: u32,
    },
    /// Ended by itself; it is started again at `retry_at`.
    Restarting {
        /// How it ended.
        reason: String,
        /// When it is started again.
        retry_at: Timestamp,
        /// How often it was restarted since it was deployed.
        restarts: u32,
    },
    /// Not running, because no traffic is meant for it.
    Stopped,
}

impl RevisionStatus {
    /// Where the edges reach it, when it runs.
    #[must_use]
    pub const fn endpoints(&self) -> Option<&Endpoints> {
        match self {
            Self::Running { endpoints, .. } => Some(endpoints),
            _ => None,
        }
    }
}

/// Where an app answers: at one address for each of its instances, and at one at least. On the wire the first has a
/// field of its own, which is all that readers of before apps had several instances know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoints {
    /// Of the first instance.
    #[schema(value_type = String)]
    endpoint: SocketAddr,
    /// Of the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    more_endpoints: Vec<SocketAddr>,
}

impl Endpoints {
    /// All of these, in their order; none when there are none.
    #[must_use]
    pub fn of(addresses: impl IntoIterator<Item = SocketAddr>) -> Option<Self> {
        let mut addresses = addresses.into_iter();
        let endpoint = addresses.next()?;
        Some(Self { endpoint, more_endpoints: addresses.collect() })
    }

    /// Where the first instance answers.
    #[must_use]
    pub const fn first(&self) -> SocketAddr {
        self.endpoint
    }

    /// Where each instance answers.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.endpoint).chain(self.more_endpoints.iter().copied())
    }
}

impl From<SocketAddr> for Endpoints {
    fn from(endpoint: SocketAddr) -> Self {
        Self { endpoint, more_endpoints: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_instance_is_told_as_it_always_was_and_several_keep_their_order() {
        let addresses: Vec<SocketAddr> = ["10.1.0.7:3000", "10.1.0.5:3000"].map(|a| a.parse().unwrap()).into();
        let running = |count| {
            let endpoints = Endpoints::of(addresses.iter().copied().take(count)).unwrap();
            RevisionStatus::Running { endpoints, restarts: 2 }
        };
        let one = r#"{"status":"running","endpoint":"10.1.0.7:3000","restarts":2}"#;
        assert_eq!(serde_json::to_string(&running(1)).unwrap(), one);
        for count in [1, 2] {
            let json = serde_json::to_string(&running(count)).unwrap();
            assert_eq!(serde_json::from_str::<RevisionStatus>(&json).unwrap(), running(count));
        }
        assert!(running(2).endpoints().unwrap().iter().eq(addresses));
        assert_eq!(Endpoints::of([]), None);
    }
}
