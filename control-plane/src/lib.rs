//! The control plane: the REST and WebSocket API, the life of projects and deployments, and the route
//! feed that tells every edge what to serve.
//!
//! In: requests of people and scripts, reports of deployers (through [`common::ledger::Ledger`]). Out:
//! rows, jobs on the queue, routes to the edges. It must never be on the way of a visitor's request:
//! edges serve with it stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acme::development::Authority;
use common::blob::{DirectUploads, ObjectStore};
use common::bus::Bus;
use common::id::DeployerId;
use common::ledger::DynLedger;
use common::queue::Queue;
use common::registry::Registry;
use common::secret::{KeyRing, Secret};
use common::time::Timestamp;
use doctor::Doctor;
use lookup::Lookup;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

pub mod api;
mod auth;
mod certificates;
pub mod development;
mod domains;
mod feed;
mod housekeeping;
mod images;
mod issuing;
mod lifecycle;
mod objects;
mod policies;
mod store;
mod ticket_keys;
mod txt_records;
mod uploads;
mod usage;
mod zones;

pub use api::openapi;
pub use domains::DomainsConfig;
pub use issuing::{Issuing, IssuingAuthority, IssuingError, TxtRecords};
use lifecycle::{Lifecycle, Reports};
pub use objects::GarbageConfig;
pub use store::{StoreError, copy, schema, snapshot};
pub use zones::{DnsConfig, InputError, Secondary, ZoneError, Zones, ZonesStartError};

use certificates::Certificates;
use domains::{Domains, Examiners};
use feed::Hub;
use images::Images;
use objects::Garbage;
use policies::Policies;
use store::Store;
use store::reseal::Resealed;
use store::tokens::TokenKind;
use uploads::Uploads;
use usage::Counts;

/// Where a URL without a port leads.
const DEFAULT_HTTP_PORT: u16 = 80;

/// What the control plane needs to know.
#[derive(Clone)]
pub struct Config {
    /// Which control plane of the installation this is, also after a restart.
    pub name: String,
    /// `sqlite://…`, or `postgres://…`.
    pub database_url: String,
    /// Where the API listens; port 0 takes a free one.
    pub api: SocketAddr,
    /// Project `p` is at `p.<base domain>`.
    pub base_domain: String,
    /// Where visitors reach the edge: scheme and port of sites' URLs.
    pub sites_url: Url,
    /// Encrypt secrets at rest.
    pub keys: KeyRing,
    /// The installation's API token.
    pub api_token: Secret,
    /// What edges show to get the route feed.
    pub feed_token: Secret,
    /// What deployers show that run elsewhere; without one, the only deployer is in this process.
    pub deployer_token: Option<Secret>,
    /// How long a deployer that says nothing is believed to work on what it holds: [`common::ledger::HOLD`], but for tests.
    pub deployer_hold: Duration,
    /// Isolation of builds and apps, as the deployer found it.
    pub isolation: String,
    /// Where the API is for people and scripts, when a proxy stands before it.
    pub public_url: Option<Url>,
    /// Largest source archive accepted, bytes.
    pub max_upload_bytes: u64,
    /// Uploads that may wait to be deployed.
    pub max_pending_uploads: u32,
    /// When the object store's garbage is removed.
    pub garbage: GarbageConfig,
    /// Issues the certificates of hosts that have no other; without one, these have none.
    pub authority: Option<Arc<Authority>>,
    /// Asked for certificates of names that are wanted, in this order.
    pub authorities: Vec<IssuingAuthority>,
    /// So long a certificate's order rests whose control plane died; then another goes on with it.
    pub issuing_lease: Duration,
    /// What is to be known of custom domains.
    pub domains: DomainsConfig,
    /// Whether plain HTTP is led to HTTPS on the sites of projects that do not say otherwise.
    pub https_redirect: bool,
    /// Ready deployments of each project whose images are kept, besides those that run.
    pub keep_images: u32,
    /// The DNS server.
    pub dns: DnsConfig,
    /// How the DNS of others is asked.
    pub lookup: lookup::Settings,
    /// How custom domains are examined.
    pub doctor: doctor::Settings,
    /// Where visitors reach the edges over HTTPS.
    pub https_port: u16,
}

/// The outside systems that the control plane uses.
#[derive(Clone)]
pub struct Ports {
    /// Uploaded archives, and what is published.
    pub store: ObjectStore,
    /// Lets archives go straight to that store, where it can.
    pub uploads: Option<Arc<dyn DirectUploads>>,
    /// Logs.
    pub bus: Bus,
    /// Wakes deployers.
    pub queue: Queue,
    /// Apps' images, to delete those that are not needed.
    pub registry: Registry,
}

/// Why the control plane can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The API's address can't be had.
    #[error("the API can't listen at {addr}: {source}; choose another address with --api")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Certificates can't be asked for.
    #[error(transparent)]
    Issuing(#[from] issuing::StartError),
    /// Domains can't be examined.
    #[error(transparent)]
    Doctor(#[from] doctor::SetupError),
    /// The DNS server can't start.
    #[error(transparent)]
    Dns(#[from] ZonesStartError),
    /// Azure DNS can't be used.
    #[error(transparent)]
    Azure(#[from] azure_dns::AzureError),
}

/// A bound API, not yet serving: its address is known before sites' URLs are.
pub struct Listening {
    listener: TcpListener,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// Takes the API's address.
///
/// # Errors
/// When it can't be had.
pub async fn listen(addr: SocketAddr) -> Result<Listening, StartError> {
    let bound = async {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok(Listening { listener, addr })
    };
    bound.await.map_err(|source| StartError::Listen { addr, source })
}

/// Who examines custom domains, at the ports that visitors come to. The development authority is trusted as browsers do
/// that were told to.
fn examiner(lookup: Lookup, certificates: &Certificates, config: &Config) -> Result<Doctor, doctor::SetupError> {
    let http = config.sites_url.port_or_known_default().unwrap_or(DEFAULT_HTTP_PORT);
    let ports = doctor::Ports { http, https: config.https_port };
    let own = certificates.authority_pem().and_then(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok());
    Doctor::new(lookup, config.doctor.clone(), ports, own.into_iter().collect())
}

/// A running control plane.
pub struct ControlPlane {
    store: Store,
    lifecycle: Lifecycle,
    issuing: Issuing,
    api_url: Url,
    zones: Zones,
    name_server: Option<dns::server::Server>,
    stop: CancellationToken,
    tasks: tokio_util::task::TaskTracker,
}

impl ControlPlane {
    /// Opens the database, recovers what a crash left, and serves the API.
    ///
    /// # Errors
    /// When the database can't be used.
    pub async fn start(listening: Listening, config: Config, ports: Ports) -> Result<Self, StartError> {
        let store = Store::open(&config.database_url).await?;
        store.add_token(&config.api_token, TokenKind::Api, None).await?;
        store.forget_expired_tokens().await?;
        let api_url = config.public_url.clone().unwrap_or_else(|| api_url(listening.addr));
        let policies = Policies::new(config.https_redirect);
        let certificates = Certificates::new(store.clone(), config.keys.clone(), config.authority.clone());
        let keys = match ticket_keys::rotate(&store, &config.keys, Timestamp::now()).await {
            Ok(keys) => keys,
            Err(error @ StoreError::Unreadable { .. }) => {
                // Only resumption across edges is lost: each makes keys of its own.
                tracing::error!(%error, "edges are told no ticket keys");
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        let domain = config.base_domain.clone();
        let changed = Arc::new(Notify::new());
        let heard = Arc::clone(&changed);
        let hub =
            Hub::load(config.name.clone(), store.clone(), domain, policies.clone(), certificates.clone(), keys, heard)
                .await?;
        let lookup = Lookup::new(config.lookup.clone());
        let (zones, name_server) =
            Zones::start(store.clone(), config.keys.clone(), config.dns.clone(), lookup.clone()).await?;
        let (authorities, records) = (config.authorities.clone(), txt_records::all(&zones, &lookup, &config.dns)?);
        let lease = config.issuing_lease;
        let issuing =
            Issuing::new(store.clone(), config.keys.clone(), authorities, lease, records, hub.clone(), changed).await?;
        let lifecycle = Lifecycle::new(store.clone(), hub.clone(), &config, ports.clone());
        lifecycle.recover().await?;
        let doctor = examiner(lookup.clone(), &certificates, &config)?;
        let (known, base, sites) = (config.domains.clone(), &config.base_domain, &config.sites_url);
        let examiners = Examiners { lookup, doctor };
        let domains = Domains::new(store.clone(), hub.clone(), issuing.clone(), examiners, known, base, sites);
        if config.keys.is_rotated() {
            let Resealed { anew: sealed_anew, closed } = store.reseal(&config.keys).await?;
            match closed {
                0 => tracing::info!(sealed_anew, "the older master keys are needed no longer"),
                _ => tracing::error!(
                    sealed_anew,
                    closed,
                    "some secrets open with none of the master keys: keep the older ones, and add those that are missing"
                ),
            }
        }
        let stop = CancellationToken::new();
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(zones.clone().follow(stop.clone()));
        tasks.spawn(zones.clone().follow_aliases(config.base_domain.clone(), stop.clone()));
        tasks.spawn(lifecycle.clone().sweep(stop.clone()));
        tasks.spawn(lifecycle.clone().follow(stop.clone()));
        tasks.spawn(hub.clone().say_what_arrived(stop.clone()));
        let images = Images::new(store.clone(), ports.registry.clone(), config.keep_images);
        tasks.spawn(images.run(stop.clone()));
        let garbage = Garbage::new(store.clone(), ports.store.clone(), config.garbage);
        tasks.spawn(garbage.clone().run(stop.clone()));
        let uploads = Uploads::new(store.clone(), &ports, &config);
        tasks.spawn(housekeeping::run(
            store.clone(),
            hub.clone(),
            zones.clone(),
            uploads.clone(),
            config.keys.clone(),
            stop.clone(),
        ));
        tasks.spawn(issuing.clone().run(config.base_domain.clone(), stop.clone()));
        tasks.spawn(domains.clone().run(stop.clone()));
        let (counts, keep_counts) = Counts::start(store.clone(), stop.clone());
        tasks.spawn(keep_counts);
        let state = api::State::new(api::Inner {
            store: store.clone(),
            lifecycle: lifecycle.clone(),
            domains,
            hub,
            issuing: issuing.clone(),
            policies,
            certificates,
            counts,
            uploads,
            garbage,
            zones: zones.clone(),
            config,
            ports,
            api_url: api_url.clone(),
            stop: stop.clone(),
        });
        let server =
            axum::serve(listening.listener, api::router(state)).with_graceful_shutdown(stop.clone().cancelled_owned());
        tasks.spawn(async move {
            if let Err(e) = server.await {
                tracing::error!(error = %e, "the API stopped serving");
            }
        });
        Ok(Self { store, lifecycle, issuing, api_url, zones, name_server, stop, tasks })
    }

    /// Where the API is.
    #[must_use]
    pub const fn api_url(&self) -> &Url {
        &self.api_url
    }

    /// Where the DNS server of this process answers, over UDP and TCP.
    #[must_use]
    pub fn dns(&self) -> &[SocketAddr] {
        self.zones.addresses()
    }

    /// The DNS zones.
    #[must_use]
    pub const fn zones(&self) -> &Zones {
        &self.zones
    }

    /// The port through which a deployer in this process reports.
    #[must_use]
    pub fn ledger(&self, deployer: DeployerId) -> DynLedger {
        Arc::new(Reports::new(self.lifecycle.clone(), deployer))
    }

    /// The certificates that are wanted from authorities.
    #[must_use]
    pub const fn issuing(&self) -> &Issuing {
        &self.issuing
    }

    /// A link that logs a browser in, once, within 15 minutes.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn login_link(&self) -> Result<Url, StoreError> {
        Ok(api::login_links::make(&self.store, &self.api_url).await?.url)
    }

    /// Stops taking requests, lets those in flight end within `deadline`, and closes the database.
    pub async fn drain(self, deadline: Duration) {
        self.stop.cancel();
        self.tasks.close();
        let answered = async {
            if let Some(server) = self.name_server {
                server.stop().await;
            }
        };
        if tokio::time::timeout(deadline, async { tokio::join!(self.tasks.wait(), answered) }).await.is_err() {
            tracing::warn!("requests to the API or questions to the DNS server were cut off by the shutdown");
        }
        self.store.close().await;
    }
}

/// A URL a person on this machine can open, also when the API listens on every address.
fn api_url(addr: SocketAddr) -> Url {
    let host = if addr.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], addr.port())) } else { addr };
    let mut url = Url::parse("http://localhost/").unwrap_or_else(|_| unreachable!("a constant URL"));
    // Both are checked parts of a socket address.
    let _ = url.set_ip_host(host.ip());
    let _ = url.set_port(Some(host.port()));
    url
}
