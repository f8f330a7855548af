//! Proofs of control by TLS-ALPN-01 (RFC 8737).

use std::sync::Arc;

use common::certificate::Challenge;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

use crate::settings::Settings;

/// ALPN with which certificate authorities ask (RFC 8737 section 6.2).
pub(crate) const ALPN: &[u8] = b"acme-tls/1";

/// Why a proof can't be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChallengeError {
    #[error("its PEM can't be read: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Whether a certificate authority asks: it offers this protocol and no other.
pub(crate) fn is_asked(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut protocols| protocols.next() == Some(ALPN) && protocols.next().is_none())
}

/// The proof for a host in lower case, when one is asked for now.
pub(crate) fn find<'a>(challenges: &'a [Challenge], host: &str) -> Option<(&'a str, &'a str)> {
    challenges.iter().find_map(|challenge| match challenge {
        Challenge::TlsAlpn01 { host: of, certificate_pem, key_pem } if of == host => {
            Some((certificate_pem.as_str(), key_pem.reveal()))
        }
        _ => None,
    })
}

/// How a proof is shown.
pub(crate) fn config(settings: &Settings, (chain, key): (&str, &str)) -> Result<Arc<ServerConfig>, ChallengeError> {
    let certificate = CertificateDer::from_pem_slice(chain.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let key = settings.provider().key_provider.load_private_key(key)?;
    // Not compared with the key: the proof lies in an extension that is critical (RFC 8737 section 3), and which
    // a check of ordinary certificates therefore refuses.
    Ok(settings.for_challenge(CertifiedKey::new(vec![certificate], key))?)
}
