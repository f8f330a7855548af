//! Proofs of control over a name, and the port through which edges and name servers come to show them.

use async_trait::async_trait;
use common::certificate::Challenge;
use common::secret::Secret;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How control over a name is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A file over plain HTTP on port 80 (RFC 8555 section 8.3).
    Http01,
    /// A certificate in a TLS handshake on port 443 (RFC 8737).
    TlsAlpn01,
    /// A TXT record that each order changes (RFC 8555 section 8.4).
    Dns01,
    /// A TXT record that stays and names the account (draft-ietf-acme-dns-persist).
    DnsPersist01,
}

impl Method {
    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
            Self::DnsPersist01 => "dns-persist-01",
        }
    }

    /// Whether it may prove control over a wildcard (RFC 8555 section 7.1.3 leaves this to the authority; the
    /// CA/Browser Forum's Baseline Requirements, section 3.2.2.4, allow records only).
    #[must_use]
    pub const fn proves_wildcards(self) -> bool {
        matches!(self, Self::Dns01 | Self::DnsPersist01)
    }
}

/// What has to be seen at a name when the authority looks. Nothing in it is secret: it is meant to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Answer {
    /// The body at `http://HOST/.well-known/acme-challenge/TOKEN`.
    Http01 {
        /// The host in lower case.
        host: String,
        /// The token.
        token: String,
        /// The body.
        key_authorization: String,
    },
    /// A certificate that carries the digest of the key authorisation, shown for ALPN `acme-tls/1`.
    TlsAlpn01 {
        /// The host in lower case.
        host: String,
        /// What the digest is of.
        key_authorization: String,
    },
    /// A TXT record for as long as the order runs. A wildcard and its base have one record name and two values.
    Dns01 {
        /// The record's name, without a final dot: `_acme-challenge.` and the domain.
        record: String,
        /// Its value.
        value: String,
    },
    /// A TXT record that stays for later orders.
    DnsPersist01 {
        /// The record's name, without a final dot: `_validation-persist.` and the domain.
        record: String,
        /// Its value: the authority's domain and the account (RFC 8659 section 4.2, RFC 8657 section 3).
        value: String,
    },
}

/// Why an answer can't be made.
#[derive(Debug, thiserror::Error)]
#[error("the certificate that proves control of {host} can't be made: {source}")]
pub struct AnswerError {
    host: String,
    source: rcgen::Error,
}

impl Answer {
    /// What edges are told; none when name servers answer. A certificate of RFC 8737 gets a new key each time.
    ///
    /// # Errors
    /// When the host is no name that a certificate can have.
    pub fn for_edges(&self) -> Result<Option<Challenge>, AnswerError> {
        match self {
            Self::Http01 { host, token, key_authorization } => Ok(Some(Challenge::Http01 {
                host: host.clone(),
                token: token.clone(),
                key_authorization: key_authorization.clone(),
            })),
            Self::TlsAlpn01 { host, key_authorization } => {
                let (certificate_pem, key_pem) = proof_certificate(host, key_authorization)
                    .map_err(|source| AnswerError { host: host.clone(), source })?;
                Ok(Some(Challenge::TlsAlpn01 { host: host.clone(), certificate_pem, key_pem }))
            }
            Self::Dns01 { .. } | Self::DnsPersist01 { .. } => Ok(None),
        }
    }

    /// The TXT record that name servers are told, and its value; none when edges answer.
    #[must_use]
    pub fn for_name_servers(&self) -> Option<(&str, &str)> {
        match self {
            Self::Dns01 { record, value } | Self::DnsPersist01 { record, value } => Some((record, value)),
            Self::Http01 { .. } | Self::TlsAlpn01 { .. } => None,
        }
    }

    /// Whether it is of use after its order.
    #[must_use]
    pub const fn stays(&self) -> bool {
        matches!(self, Self::DnsPersist01 { .. })
    }
}

/// The self-signed certificate of RFC 8737 section 3, and its key.
fn proof_certificate(host: &str, key_authorization: &str) -> Result<(String, Secret), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    let digest = Sha256::digest(key_authorization.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    Ok((params.self_signed(&key)?.pem(), Secret::new(key.serialize_pem())))
}

/// Why answers are not shown.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ChallengeError(pub String);

/// The port: who shows answers to the world.
#[async_trait]
pub trait Challenges: Send + Sync {
    /// Shows answers, and returns when *every* edge (or name server) that an authority may ask has them. To publish
    /// what is published already changes nothing: a restarted process does so.
    async fn publish(&self, answers: &[Answer]) -> Result<(), ChallengeError>;
    /// Shows them no longer; ones that are not shown are no error.
    async fn withdraw(&self, answers: &[Answer]) -> Result<(), ChallengeError>;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;
    use x509_parser::parse_x509_certificate;

    use super::*;

    #[test]
    fn a_proof_over_tls_carries_the_digest_in_a_critical_extension_and_the_host_alone() {
        let answer = Answer::TlsAlpn01 { host: "a.example".into(), key_authorization: "token.thumb".into() };
        let Some(Challenge::TlsAlpn01 { certificate_pem, key_pem, .. }) = answer.for_edges().unwrap() else {
            unreachable!("a challenge for edges")
        };
        assert!(KeyPair::from_pem(key_pem.reveal()).is_ok());
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap();
        let (_, certificate) = parse_x509_certificate(&der).unwrap();
        // id-pe-acmeIdentifier (RFC 8737 section 6.1).
        let proof = certificate.extensions().iter().find(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.31").unwrap();
        assert!(proof.critical);
        // An OCTET STRING of 32 bytes.
        assert_eq!(proof.value[..2], [4, 32]);
        assert_eq!(proof.value[2..], Sha256::digest(b"token.thumb")[..]);
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
    }

    #[test]
    fn only_a_persistent_record_stays_after_its_order() {
        let stays = |answer: Answer| (answer.stays(), answer.for_edges().unwrap().is_none());
        let (record, value) = ("r".to_owned(), "v".to_owned());
        assert_eq!(stays(Answer::DnsPersist01 { record: record.clone(), value: value.clone() }), (true, true));
        assert_eq!(stays(Answer::Dns01 { record, value }), (false, true));
    }
}
