//! A certificate as visitors are shown it.

use std::fmt;
use std::sync::Arc;

use common::certificate::Certificate;
use common::time::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::staple::{self, Stapled};
use crate::settings::Settings;

/// Longest chain, the host's own certificate included: real ones have two to four, and each costs every handshake.
const MAX_CHAIN: usize = 10;
/// Memory of one certificate beside its chain: the key in the form that signs, and the settings of handshakes.
/// Measured with an RSA key of 2048 bits, the largest usual one.
const OVERHEAD: usize = 6 << 10;

/// Why a certificate's contents can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The PEM can't be read.
    #[error("its PEM can't be read: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// There is no certificate in it, or too many.
    #[error("its chain has {0} certificates: it must have 1 to {MAX_CHAIN}")]
    Chain(usize),
    /// The host's own certificate can't be read.
    #[error("its first certificate can't be read: {0}")]
    Certificate(webpki::Error),
    /// The key can't be used, or is another certificate's.
    #[error("its key can't be used: {0}")]
    Key(#[from] rustls::Error),
}

/// A certificate as visitors are shown it: read, checked against its key, with everything that a handshake needs.
pub struct Shown {
    id: Arc<str>,
    certificate: CertificateDer<'static>,
    not_after: Timestamp,
    bytes: u32,
    pub(crate) config: Arc<ServerConfig>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Shown {
    /// Reads and checks a certificate. One that has ended is shown nevertheless, and the log says so: a visitor's own
    /// software tells more about it than a connection that is closed, and lets those through who must.
    pub(crate) fn new(certificate: Certificate, settings: &Settings) -> Result<Self, Unusable> {
        let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let own = match chain.len() {
            1..=MAX_CHAIN => chain[0].clone(),
            count => return Err(Unusable::Chain(count)),
        };
        EndEntityCert::try_from(&own).map_err(Unusable::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.reveal().as_bytes())?;
        let staple = certificate.ocsp.as_deref().and_then(staple::read);
        if certificate.ocsp.is_some() && staple.is_none() {
            tracing::error!(id = certificate.id, "a certificate's OCSP response can't be read, and is not shown");
        }
        let bytes = OVERHEAD
            + chain.iter().map(|c| c.len()).sum::<usize>()
            + staple.as_ref().map_or(0, |staple| staple.response.len());
        // Compares the key with the certificate.
        let certified = CertifiedKey::from_der(chain, key, settings.provider())?;
        if certificate.not_after < Timestamp::now() {
            tracing::warn!(id = certificate.id, not_after = %certificate.not_after, "a certificate has ended");
        }
        Ok(Self {
            id: certificate.id.into(),
            certificate: own,
            not_after: certificate.not_after,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            config: settings.for_visitors(Stapled::new(certified, staple))?,
        })
    }

    /// The certificate's id.
    #[must_use]
    pub const fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// When it ends.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether a visitor who was shown it may ask for this host (RFC 9110 section 4.3.4).
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host) else { return false };
        EndEntityCert::try_from(&self.certificate).is_ok_and(|c| c.verify_is_valid_for_subject_name(&name).is_ok())
    }

    /// About how much memory it takes.
    pub(crate) const fn bytes(&self) -> u32 {
        self.bytes
    }
}
