//! Certificates on their way to the edges.
//!
//! The route feed names which certificate is for which host; an edge fetches its contents by id when the first
//! visitor needs it (`GET /internal/v1/certificates/{id}`), and keeps them. An id never changes its contents: a
//! renewed certificate has another.

use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::time::Timestamp;

/// Which certificate a name has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRef {
    /// A host in lower case, or `*.` and a domain for every host one label below it (RFC 6125 section 6.4.3).
    pub name: String,
    /// The certificate's id: letters, digits, `-` and `_`.
    pub id: String,
}

/// A certificate with its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// Its id.
    pub id: String,
    /// The chain, the host's own certificate first, PEM.
    pub chain_pem: String,
    /// The private key, PKCS #8 in PEM.
    pub key_pem: Secret,
    /// When it ends.
    pub not_after: Timestamp,
    /// A stapled OCSP response (RFC 6960), DER in standard base64, where the authority gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<String>,
}

/// A proof of control that a certificate authority asks the edges for (RFC 8555 section 8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Challenge {
    /// Answered at `http://HOST/.well-known/acme-challenge/TOKEN` (RFC 8555 section 8.3).
    Http01 {
        /// The host in lower case.
        host: String,
        /// The token.
        token: String,
        /// The answer's body.
        key_authorization: String,
    },
    /// Answered by a handshake with ALPN `acme-tls/1` (RFC 8737).
    TlsAlpn01 {
        /// The host in lower case.
        host: String,
        /// The certificate to show, PEM.
        certificate_pem: String,
        /// Its private key, PKCS #8 in PEM.
        key_pem: Secret,
    },
}

/// A key that seals session tickets, the same on every edge (RFC 5077 section 5.5, RFC 8446 section 4.6.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    /// Stands in front of each ticket, so that its key is found: 32 hexadecimal digits.
    pub name: String,
    /// 64 bytes in standard base64.
    pub key: Secret,
    /// New tickets are sealed with the newest key whose time has come; older ones only open.
    pub since: Timestamp,
}
