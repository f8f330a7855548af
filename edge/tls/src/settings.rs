//! What every handshake has in common: versions, cipher suites, groups, tickets.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite};

use crate::certificates::Stapled;
use crate::tickets::Tickets;

/// Key exchange groups, the preferred one first. The hybrid keeps what is recorded today closed to quantum
/// computers (draft-ietf-tls-ecdhe-mlkem); the others are for visitors without it.
const GROUPS: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

/// Cipher suites. All have forward secrecy and authenticate what they encrypt; of those a visitor's own order
/// decides, because it knows whether its machine computes AES or ChaCha20 faster.
const SUITES: [SupportedCipherSuite; 9] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Session tickets sent after a full TLS 1.3 handshake: browsers open a second connection soon, and are not to
/// use a ticket twice (RFC 8446 appendix C.4).
const TICKETS_AT_ONCE: usize = 2;

/// ALPN of HTTP/2 (RFC 9113 section 3.1).
pub(crate) const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// What every handshake has in common. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Settings {
    provider: Arc<CryptoProvider>,
    tickets: Arc<Tickets>,
}

impl Settings {
    /// Settings whose session tickets are sealed by `tickets`.
    #[must_use]
    pub fn new(tickets: Arc<Tickets>) -> Self {
        let provider = CryptoProvider {
            cipher_suites: SUITES.to_vec(),
            kx_groups: GROUPS.to_vec(),
            ..aws_lc_rs::default_provider()
        };
        Self { provider: Arc::new(provider), tickets }
    }

    pub(crate) fn provider(&self) -> &CryptoProvider {
        &self.provider
    }

    /// How visitors of a certificate are spoken to.
    pub(crate) fn for_visitors(&self, certificate: Stapled) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = self.config(Arc::new(certificate))?;
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        config.ticketer = Arc::<Tickets>::clone(&self.tickets);
        config.send_tls13_tickets = TICKETS_AT_ONCE;
        Ok(Arc::new(config))
    }

    /// How a certificate authority that looks for a proof is spoken to (RFC 8737 section 3).
    pub(crate) fn for_challenge(&self, certificate: CertifiedKey) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = self.config(Arc::new(SingleCertAndKey::from(certificate)))?;
        config.alpn_protocols = vec![crate::challenge::ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn config(&self, certificate: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        // A request in early data can be sent again by anyone who saw it (RFC 8446 section 8).
        config.max_early_data_size = 0;
        // Tickets alone: what edges remember by themselves is of no use to the others.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }
}
