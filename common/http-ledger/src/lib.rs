//! The ledger port over HTTP: a deployer's side, for control planes that run elsewhere.
//!
//! In: addresses of one or more control planes of one installation, and the deployers' token. A call goes to the control
//! plane that answered last, and to the next one when that is away. It must never send a token or a variable where others
//! can read it: over plain HTTP only this machine is spoken to.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::deployment::Failure;
use common::id::{DeployerId, DeploymentId};
use common::ledger::call::{Call, DEPLOYER_HEADER, PATH};
use common::ledger::{Claim, Facts, Ledger, LedgerError, Output, Wanted, Work};
use common::problem::Problem;
use common::revision::RevisionStatus;
use common::secret::Secret;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::{Host, Url};

/// Longest time to connect, TLS included: a control plane is near, or unreachable.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for one answer: longer than edges are waited for when a deployment becomes live, and than a question for
/// changes waits.
const ANSWER: Duration = Duration::from_secs(60);
/// How long a report of a build is made again: control planes that are away for ten minutes cost no build.
const REPORTED_FOR: Duration = Duration::from_secs(15 * 60);
/// How long anything else is tried: whoever asks asks again by himself.
const ASKED_FOR: Duration = Duration::from_secs(10);
/// Pause before the second try; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// Longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Why control planes can't be spoken to at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is none.
    #[error("no control plane is set: give its address, like https://control.example.com")]
    None,
    /// An address is none.
    #[error("`{0}` is no control plane's address: it looks like https://control.example.com or http://127.0.0.1:8081")]
    Address(Url),
    /// Others could read what is sent.
    #[error(
        "`{0}` can't be a deployer's control plane: variables of apps would cross the network in the clear; use https, \
         or an address of this machine"
    )]
    Plain(Url),
    /// The token has characters that no header takes.
    #[error("the deployers' token is no token: copy it again")]
    Token,
    /// The file of certificates can't be used.
    #[error("the control planes' CA file {path} can't be used: {reason}")]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The HTTP client can't be made.
    #[error("control planes can't be asked: {0}")]
    Client(#[from] reqwest::Error),
}

/// The ledger of one deployer.
pub struct HttpLedger {
    client: Client,
    /// Where calls go, of each control plane.
    addresses: Vec<Url>,
    /// Which of them answered last.
    current: AtomicUsize,
    /// The change of wanted apps that was told last.
    seen: AtomicI64,
}

/// How a try ended that did not end well.
enum Miss {
    /// It may end better later, or elsewhere.
    Transient(String),
    /// It will not.
    Final(LedgerError),
}

impl HttpLedger {
    /// A ledger of `deployer`. With `ca`, a file in PEM, certificates are checked with that alone.
    ///
    /// # Errors
    /// When an address, the token or the file can't be used.
    pub fn new(
        control_planes: &[Url],
        token: &Secret,
        ca: Option<&Path>,
        deployer: &DeployerId,
    ) -> Result<Self, SetupError> {
        let addresses = control_planes.iter().map(address).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(SetupError::None);
        }
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| SetupError::Token);
        let mut bearer = value(&format!("Bearer {}", token.reveal()))?;
        bearer.set_sensitive(true);
        let headers = [(AUTHORIZATION, bearer), (HeaderName::from_static(DEPLOYER_HEADER), value(deployer.as_str())?)];
        let mut client = Client::builder()
            .default_headers(HeaderMap::from_iter(headers))
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // The token is for control planes alone.
            .redirect(Policy::none())
            .no_proxy();
        if let Some(path) = ca {
            client = client.tls_certs_only(certificates(path)?);
        }
        Ok(Self { client: client.build()?, addresses, current: AtomicUsize::new(0), seen: AtomicI64::new(0) })
    }

    /// Makes a call, again and again for so long. What is asked twice is answered the same way: the port says so.
    async fn call<T: DeserializeOwned>(&self, call: &Call, patience: Duration) -> Result<T, LedgerError> {
        let until = Instant::now() + patience;
        let mut pause = RETRY_FIRST;
        loop {
            let mut problem = String::new();
            // Each control plane once, before there is a pause.
            for _ in &self.addresses {
                let current = self.current.load(Ordering::Acquire);
                match self.try_at(&self.addresses[current % self.addresses.len()], call).await {
                    Ok(answer) => return Ok(answer),
                    Err(Miss::Final(error)) => return Err(error),
                    Err(Miss::Transient(why)) => problem = why,
                }
                let next = (current + 1) % self.addresses.len();
                // Others may have moved on already.
                let _ = self.current.compare_exchange(current, next, Ordering::AcqRel, Ordering::Relaxed);
            }
            let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
            if Instant::now() + jittered > until {
                return Err(LedgerError::Failed(problem));
            }
            tracing::debug!(error = problem, retry_in_ms = jittered.as_millis(), "no control plane takes a call");
            tokio::time::sleep(jittered).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    async fn try_at<T: DeserializeOwned>(&self, address: &Url, call: &Call) -> Result<T, Miss> {
        let transient = |e: reqwest::Error| Miss::Transient(root_cause(&e));
        let answer = self.client.post(address.clone()).json(call).send().await.map_err(transient)?;
        let status = answer.status();
        if status.is_success() {
            return answer.json().await.map_err(transient);
        }
        let problem = answer.json::<Problem>().await.unwrap_or_else(|_| {
            Problem::new(
                status.as_u16(),
                "no_control_plane",
                format!("what answers at {address} is no control plane: {status}"),
            )
        });
        match call.error(problem) {
            // Another control plane may be of a newer version, or have a better day.
            LedgerError::Failed(detail) if status.is_server_error() || status == StatusCode::NOT_FOUND => {
                Err(Miss::Transient(detail))
            }
            error => Err(Miss::Final(error)),
        }
    }

    async fn report<T: DeserializeOwned>(&self, call: Call) -> Result<T, LedgerError> {
        self.call(&call, REPORTED_FOR).await
    }

    async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T, LedgerError> {
        self.call(&call, ASKED_FOR).await
    }
}

/// Where a control plane takes calls.
fn address(api: &Url) -> Result<Url, SetupError> {
    let is_here = match api.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => return Err(SetupError::Address(api.clone())),
    };
    match api.scheme() {
        "https" => {}
        "http" if is_here => {}
        "http" => return Err(SetupError::Plain(api.clone())),
        _ => return Err(SetupError::Address(api.clone())),
    }
    let mut address = api.clone();
    address.set_query(None);
    address.set_fragment(None);
    address.set_path(&format!("{}/{PATH}", api.path().trim_end_matches('/')));
    Ok(address)
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Result<Vec<Certificate>, SetupError> {
    let failed = |reason: String| SetupError::Ca { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| failed(root_cause(&e)))?;
    if certificates.is_empty() {
        return Err(failed("it holds no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}

/// The innermost reason: the outer ones only repeat the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[async_trait]
impl Ledger for HttpLedger {
    async fn claim(&self, claim: &Claim, isolation: &str) -> Result<Option<Work>, LedgerError> {
        self.ask(Call::Claim { claim: claim.clone(), isolation: isolation.to_owned() }).await
    }

    async fn keep(&self, claims: &[Claim]) -> Result<Vec<Claim>, LedgerError> {
        self.ask(Call::Keep { claims: claims.to_vec() }).await
    }

    async fn leave(&self) -> Result<bool, LedgerError> {
        self.ask(Call::Leave).await
    }

    async fn give_back(&self, claim: &Claim) -> Result<(), LedgerError> {
        self.ask(Call::GiveBack { claim: claim.clone() }).await
    }

    async fn facts(&self, claim: &Claim, facts: Facts) -> Result<(), LedgerError> {
        self.report(Call::Facts { claim: claim.clone(), facts }).await
    }

    async fn built(&self, claim: &Claim) -> Result<(), LedgerError> {
        self.report(Call::Built { claim: claim.clone() }).await
    }

    async fn started(&self, claim: &Claim, image: &str) -> Result<(), LedgerError> {
        self.report(Call::Started { claim: claim.clone(), image: image.to_owned() }).await
    }

    async fn succeeded(&self, claim: &Claim, output: Output) -> Result<bool, LedgerError> {
        self.report(Call::Succeeded { claim: claim.clone(), output }).await
    }

    async fn failed(&self, claim: &Claim, why: Failure) -> Result<(), LedgerError> {
        self.report(Call::Failed { claim: claim.clone(), why }).await
    }

    async fn wanted_app(&self, deployment: &DeploymentId) -> Result<Option<Wanted>, LedgerError> {
        self.ask(Call::WantedApp { deployment: deployment.clone() }).await
    }

    async fn wanted_apps(&self) -> Result<Vec<DeploymentId>, LedgerError> {
        self.ask(Call::WantedApps).await
    }

    async fn revision(&self, deployment: &DeploymentId, status: RevisionStatus) -> Result<(), LedgerError> {
        self.ask(Call::Revision { deployment: deployment.clone(), status }).await
    }

    async fn start_failed(&self, deployment: &DeploymentId, why: Failure) -> Result<(), LedgerError> {
        self.ask(Call::StartFailed { deployment: deployment.clone(), why }).await
    }

    async fn apps_changed(&self) {
        let mut pause = RETRY_FIRST;
        loop {
            let seen = self.seen.load(Ordering::Acquire);
            match self.ask::<i64>(Call::AppsChanged { seen }).await {
                Ok(change) if change != seen => {
                    self.seen.store(change, Ordering::Release);
                    return;
                }
                Ok(_) => pause = RETRY_FIRST,
                Err(error) => {
                    tracing::debug!(%error, "changes of wanted apps are not heard");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ledger(addresses: &[&str]) -> Result<HttpLedger, SetupError> {
        let addresses: Vec<Url> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        HttpLedger::new(&addresses, &Secret::new("dpl_token"), None, &DeployerId::new())
    }

    #[test]
    fn variables_leave_this_machine_over_tls_only() {
        for good in ["https://control.example", "http://127.0.0.1:8081", "http://[::1]:8081/", "http://localhost:1/x"] {
            let address = ledger(&[good]).unwrap().addresses[0].to_string();
            assert!(address.ends_with("/internal/v1/ledger"), "{address}");
        }
        for (bad, hint) in [("http://10.0.0.5:8081", "https"), ("ftp://x/", "no control plane's address")] {
            assert!(ledger(&[bad]).err().unwrap().to_string().contains(hint));
        }
        assert!(matches!(ledger(&[]), Err(SetupError::None)));
    }
}
