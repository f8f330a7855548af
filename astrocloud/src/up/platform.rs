//! The parts of the platform, started in the order in which they need one another and ended in the reverse.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use acme::development::{Authority, AuthorityError};
use anyhow::Context as _;
use common::id::DeployerId;
use common::time::Timestamp;
use control_plane::ControlPlane;
use deployer::Deployer;
use edge::{Edge, Sockets};
use sandbox::Sandbox;
use url::{Host, Url};

use super::state::State;
use super::work;
use crate::backends;
use crate::exit::Usage;
use crate::plane;
use crate::process::reachable;
use crate::settings::Settings;

/// Longest wait for the edge to get its first routes, from this very process.
const FIRST_ROUTES: Duration = Duration::from_secs(10);

// The shutdown, which is to take less than 10 s in all.
/// For visitors' requests to end; apps still run.
const EDGE_DRAIN: Duration = Duration::from_secs(4);
/// For apps to end; builds are given up and begin anew at the next start.
const DEPLOYER_DRAIN: Duration = Duration::from_secs(3);
/// For calls of the API to end.
const CONTROL_PLANE_DRAIN: Duration = Duration::from_millis(1500);

/// The program itself, which becomes the sandbox's helper. Through this link it stays the same program also
/// when a newer one was put in its place while it runs.
pub const SELF: &str = "/proc/self/exe";

/// A running platform.
pub struct Platform {
    edge: Edge,
    deployer: Deployer,
    plane: ControlPlane,
    sandbox: Sandbox,
    authority: Option<Arc<Authority>>,
    http_url: Url,
    https_url: Url,
}

impl Platform {
    /// Starts every part; returns when all answer.
    ///
    /// # Errors
    /// When a part can't start.
    pub async fn start(settings: &Settings, state: &State) -> anyhow::Result<Self> {
        // Addresses come first: that one is taken is the likeliest mistake, and sites' URLs need the ports.
        let api = control_plane::listen(settings.listen.api).await?;
        let visitors =
            edge::listen(settings.listen.http).context("sites have no address; choose another one with --http")?;
        let secure_visitors = edge::listen(settings.listen.https)
            .context("sites have no address with https; choose another one with --https")?;
        let http_url = reachable("http", visitors.addr)?;
        let https_url = reachable("https", secure_visitors.addr)?;
        let keys = state.keys();
        let authority = match Authority::load_or_create(&state.private("ca")?, keys, Timestamp::now()) {
            Ok(authority) => Some(Arc::new(authority)),
            // Sites go on over plain HTTP: what a lost key takes along is only what it sealed.
            Err(e @ AuthorityError::Sealed(_)) => {
                tracing::error!(error = %e, "sites have no certificates: nobody reaches them over HTTPS");
                None
            }
            Err(e) => return Err(e.into()),
        };
        let sandbox = Sandbox::detect(PathBuf::from(SELF), sandbox_options(settings)).await;

        let backends::Objects { store, uploads } = backends::objects(settings, state)?;
        let bus = backends::bus(settings, state, backends::Side::Reads)?;
        let queue = backends::queue(settings)?;
        let registry = backends::registry(settings, state)?;

        let https_port = Some(secure_visitors.addr.port());
        let plane = plane::Plane {
            api: api.addr,
            visitors: visitors.addr,
            secure_visitors: secure_visitors.addr,
            authority: authority.clone(),
            isolation: sandbox.level().slug().to_owned(),
            deployer_token: None,
        };
        let config = plane::config(settings, state, plane)?;
        let ports = control_plane::Ports {
            store: store.clone(),
            uploads,
            bus: bus.clone(),
            queue: queue.clone(),
            registry: registry.clone(),
        };
        let plane = ControlPlane::start(api, config, ports).await?;

        let folder = state.private("edge")?;
        let edge_config = settings.edge(plane.api_url().clone(), state.feed_token(), folder, https_port);
        let sockets = Sockets { http: vec![visitors], https: vec![secure_visitors] };
        let edge = Edge::start(sockets, edge_config, store.clone())?;

        let deployer_config = settings.deployer(work::folder(state, &sandbox).await?);
        let id = DeployerId::new();
        let ledger = plane.ledger(id.clone());
        let runtime = backends::runtime(settings, &bus, &ledger, id.as_str()).await?;
        let ports = deployer::Ports { store, bus, queue, registry, ledger, sandbox: sandbox.clone(), runtime };
        let deployer = Deployer::start(deployer_config, ports).await?;

        tokio::time::timeout(FIRST_ROUTES, edge.connected())
            .await
            .context("the edge did not get its routes from the control plane")?;
        Ok(Self { edge, deployer, plane, sandbox, authority, http_url, https_url })
    }

    /// Where visitors reach the edge.
    pub const fn http_url(&self) -> &Url {
        &self.http_url
    }

    /// Where visitors reach the edge over TLS.
    pub const fn https_url(&self) -> &Url {
        &self.https_url
    }

    /// File of the development CA's certificate, which makes every site's trusted; nothing when its key is lost.
    pub fn ca_certificate(&self) -> Option<&Path> {
        self.authority.as_ref().map(|authority| authority.path())
    }

    /// Where the DNS server answers, over UDP and TCP; nowhere when it is off.
    pub fn dns(&self) -> &[SocketAddr] {
        self.plane.dns()
    }

    /// Where the API is.
    pub const fn api_url(&self) -> &Url {
        self.plane.api_url()
    }

    /// How builds and apps are shut in.
    pub const fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// A link that logs a browser in, once.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn login_link(&self) -> anyhow::Result<Url> {
        Ok(self.plane.login_link().await?)
    }

    /// Ends every part: visitors first, then apps, then those who report and are reported to.
    pub async fn drain(self) {
        self.edge.drain(EDGE_DRAIN).await;
        self.deployer.drain(DEPLOYER_DRAIN).await;
        self.plane.drain(CONTROL_PLANE_DRAIN).await;
    }
}

/// How builds and apps are shut in.
pub fn sandbox_options(settings: &Settings) -> sandbox::Options {
    sandbox::Options { forbid: settings.sandbox.forbid.clone(), ..sandbox::Options::default() }
}

/// Refuses what can't be the end of host names.
///
/// # Errors
/// When the domain is no domain.
pub fn check_base_domain(domain: &str) -> Result<(), Usage> {
    let host = Url::parse(&format!("http://{domain}/")).ok().and_then(|url| match url.host() {
        Some(Host::Domain(host)) => Some(host.to_owned()),
        _ => None,
    });
    let labels = domain.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !label.starts_with('-')
    });
    match host {
        Some(host) if host == domain && labels => Ok(()),
        _ => Err(Usage::new(format!(
            "`{domain}` can't be the base domain: write it in lower case and without a port, like `apps.example.com`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_base_domain_is_a_domain_alone() {
        for right in ["localhost", "apps.example.com", "a-b.example"] {
            check_base_domain(right).unwrap();
        }
        for wrong in ["", "Apps.example", "example.com:80", "127.0.0.1", "a b", "-x.example", ".example", "x.example."]
        {
            assert!(check_base_domain(wrong).is_err(), "{wrong}");
        }
    }
}
