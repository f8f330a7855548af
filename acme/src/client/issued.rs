//! The last step of an order: the request for the certificate, and what the authority issues for it.

use common::secret::Secret;
use common::time::Timestamp;
use instant_acme::{Account, OrderStatus};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::asking::{Asking, again};
use super::trouble::{self, failure};
use super::{Client, internal, lost};
use crate::check::{check, top_issuer};
use crate::failure::Failure;
use crate::issuer::{Advance, Wanted};
use crate::store::SealedCertificate;
use crate::transport::{Seen, seeing};

/// Most chains for one certificate that are looked at.
const MAX_ALTERNATES: usize = 4;

impl Client {
    /// Sends the request, waits for the certificate and takes it.
    pub(super) async fn finish(&self, url: &str, sealed_key: &str, wanted: Wanted<'_>) -> Result<Advance, Failure> {
        let key = self.keys.open(sealed_key).map_err(|e| internal(&e))?;
        let mut wait = Asking::new();
        loop {
            let (mut remote, rest) = self.remote(url).await?;
            match remote.state().status {
                OrderStatus::Ready => {
                    let csr = request(wanted.names, &key)?;
                    // What this led to is read with the next look; a refused nonce too.
                    let (sent, seen) = seeing(remote.finalize_csr(&csr)).await;
                    match sent {
                        Err(error) if !trouble::is_nonce(&error) => {
                            return Err(failure(error, seen.as_ref(), self.clock.now()));
                        }
                        _ => {}
                    }
                }
                OrderStatus::Processing => {}
                OrderStatus::Valid => {
                    let url = remote.state().certificate.clone().ok_or_else(|| lost("it has no certificate"))?;
                    return self.download(&url, &key, sealed_key, wanted).await;
                }
                OrderStatus::Invalid => return Err(self.why(url).await),
                OrderStatus::Pending => return Err(lost("its proofs no longer count")),
            }
            if let Some(rest) = wait.next(rest).await {
                return Ok(Advance::Wait(rest));
            }
        }
    }

    async fn download(
        &self,
        url: &str,
        key: &Secret,
        sealed_key: &str,
        wanted: Wanted<'_>,
    ) -> Result<Advance, Failure> {
        let account = self.account().await?;
        let seen = raw(&account, url).await?;
        let mut chain = text(&seen)?;
        if let Some(preferred) = &self.authority.preferred_chain
            && top_issuer(&chain).as_ref() != Some(preferred)
        {
            let mut found = None;
            for url in seen.alternates.iter().take(MAX_ALTERNATES) {
                let other = text(&raw(&account, url).await?)?;
                if top_issuer(&other).as_ref() == Some(preferred) {
                    found = Some(other);
                    break;
                }
            }
            match found {
                Some(other) => chain = other,
                // A certificate with another chain is better than none.
                None => tracing::warn!(authority = self.authority.id, preferred, "the preferred chain is not offered"),
            }
        }
        let now = self.clock.now();
        let facts = check(&chain, key, wanted.names, &self.authority.trust, now)
            .map_err(|detail| Failure::BadCertificate { detail })?;
        let certificate = SealedCertificate {
            id: facts.id.clone(),
            name: wanted.names.first().cloned().unwrap_or_default(),
            chain_pem: chain,
            sealed_key: sealed_key.to_owned(),
            not_after: facts.not_after,
        };
        Ok(Advance::Done { certificate, facts })
    }
}

/// What an authority has at an address, as it is. `instant-acme` signs such a request (RFC 8555 section 6.3) only on
/// its way to an order; that what comes is none, is no matter.
pub(super) async fn raw(account: &Account, url: &str) -> Result<Seen, Failure> {
    let (result, seen) = again(|| account.order(url.to_owned())).await;
    match (seen, result) {
        (Some(seen), _) if seen.status.is_success() => Ok(seen),
        (seen, Err(error)) => Err(failure(error, seen.as_ref(), Timestamp::now())),
        (_, Ok(_)) => Err(lost("what it has can't be read")),
    }
}

fn text(seen: &Seen) -> Result<String, Failure> {
    String::from_utf8(seen.body.to_vec())
        .map_err(|_| Failure::BadCertificate { detail: "it is no PEM: not even text".into() })
}

/// The request for a certificate, DER (RFC 2986).
fn request(names: &[String], key: &Secret) -> Result<Vec<u8>, Failure> {
    let key = KeyPair::from_pem(key.reveal()).map_err(|e| internal(&e))?;
    let mut params = CertificateParams::new(names).map_err(|e| internal(&e))?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key).map_err(|e| internal(&e))?.der().to_vec())
}
