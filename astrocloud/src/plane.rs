//! A control plane's configuration, from the settings: of the one within `astrocloud up`, and of one that runs alone.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use acme::development::Authority;
use common::secret::Secret;
use control_plane::Config;
use url::Url;

use crate::settings::Settings;
use crate::up::State;

/// What a control plane's surroundings say, and no setting.
pub struct Plane {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where visitors reach edges over HTTP.
    pub visitors: SocketAddr,
    /// Where they do over HTTPS.
    pub secure_visitors: SocketAddr,
    /// Issues the certificates of hosts that have no other.
    pub authority: Option<Arc<Authority>>,
    /// How builds are shut in.
    pub isolation: String,
    /// What deployers show that run elsewhere.
    pub deployer_token: Option<Secret>,
}

/// The configuration.
///
/// # Errors
/// When settings contradict one another, or the data folder can't be used.
pub fn config(settings: &Settings, state: &State, plane: Plane) -> anyhow::Result<Config> {
    let addresses = own_addresses(settings, &[plane.visitors, plane.secure_visitors]);
    let https_port = plane.secure_visitors.port();
    Ok(Config {
        name: state.name()?,
        database_url: state.database_url(&settings.database)?,
        api: plane.api,
        sites_url: sites_url(&settings.base_domain, plane.visitors.port())?,
        base_domain: settings.base_domain.clone(),
        keys: state.keys().clone(),
        api_token: state.api_token().clone(),
        feed_token: state.feed_token(),
        deployer_token: plane.deployer_token,
        deployer_hold: common::ledger::HOLD,
        public_url: settings.control_plane.public_url.0.clone(),
        isolation: plane.isolation,
        max_upload_bytes: settings.sources.upload.0,
        max_pending_uploads: settings.sources.pending_uploads,
        garbage: settings.objects.garbage(),
        authority: plane.authority,
        authorities: settings.acme.issuing()?,
        issuing_lease: settings.acme.lease()?,
        domains: settings.domains(),
        https_redirect: settings.edge.https_redirect,
        keep_images: settings.registry.keep,
        dns: settings.dns(addresses)?,
        lookup: settings.lookup.clone(),
        doctor: settings.doctor.clone(),
        https_port: settings.edge.https_port_of(Some(https_port)).unwrap_or(https_port),
    })
}

/// The addresses that sites are reached at: those that were set, or as far as the edge names them.
fn own_addresses(settings: &Settings, listen: &[SocketAddr]) -> Vec<IpAddr> {
    if !settings.domains.addresses.is_empty() {
        return settings.domains.addresses.clone();
    }
    let named: BTreeSet<IpAddr> = listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect();
    named.into_iter().collect()
}

/// Scheme and port of sites' URLs.
pub fn sites_url(base_domain: &str, port: u16) -> anyhow::Result<Url> {
    Ok(Url::parse(&format!("http://{base_domain}:{port}/"))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sites_have_the_edges_port() {
        assert_eq!(sites_url("localhost", 8080).unwrap().as_str(), "http://localhost:8080/");
        assert_eq!(sites_url("apps.example", 80).unwrap().as_str(), "http://apps.example/");
    }
}
