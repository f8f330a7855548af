//! Certificates as edges get them: those of ACME authorities, which [`crate::issuing`] keeps good, and for every other
//! host the development authority's, issued when an edge first asks.
//!
//! Issued ones are kept, sealed, so that an id has the same contents for every edge and on every control plane.

use std::sync::Arc;

use acme::development::{Authority, AuthorityError};
use common::certificate::Certificate;
use common::secret::KeyRing;
use common::time::Timestamp;

use crate::store::{Store, StoreError};

/// Why a certificate can't be had.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It can't be issued.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Certificates of this installation's hosts. Cheap to clone.
#[derive(Clone)]
pub struct Certificates {
    store: Store,
    keys: KeyRing,
    authority: Option<Arc<Authority>>,
}

impl Certificates {
    /// Certificates that `authority` issues; none without one.
    pub fn new(store: Store, keys: KeyRing, authority: Option<Arc<Authority>>) -> Self {
        Self { store, keys, authority }
    }

    /// Id of the development authority's certificate that a host should have at a time.
    pub fn id(&self, host: &str, now: Timestamp) -> Option<String> {
        self.authority.as_ref().map(|authority| authority.id(host, now))
    }

    /// The authority's own certificate, PEM.
    pub fn authority_pem(&self) -> Option<&str> {
        self.authority.as_ref().map(|authority| authority.certificate_pem())
    }

    /// The certificate of an ACME authority that has this id, also one that is replaced already.
    pub async fn issued(&self, id: &str) -> Result<Option<Certificate>, CertificateError> {
        Ok(self.store.issued_certificate(&self.keys, id).await?)
    }

    /// The development authority's certificate of a host that has this id; it is issued when there is none yet.
    pub async fn contents(
        &self,
        id: &str,
        host: &str,
        now: Timestamp,
    ) -> Result<Option<Certificate>, CertificateError> {
        if let Some(kept) = self.store.certificate(&self.keys, id).await? {
            return Ok(Some(kept));
        }
        let Some(authority) = &self.authority else { return Ok(None) };
        // A renewal that is due, but not yet told to the edges, has another id.
        let issued = Certificate { id: id.to_owned(), ..authority.issue(host, now)? };
        self.store.add_certificate(&self.keys, host, &issued).await?;
        tracing::info!(host, id, not_after = %issued.not_after, "issued a certificate");
        // What another control plane stored at the same time counts.
        Ok(self.store.certificate(&self.keys, id).await?)
    }
}
