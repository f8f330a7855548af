//! Certificates of domains: wanted while visitors get a domain, and how they stand.

use std::time::Duration;

use acme::challenge::Method;
use acme::entry::Track;
use common::deployment::Failure;
use common::domain::{CertificateTrack, DomainName, Hostname};

use super::{DomainError, Domains};
use crate::store::domains::DomainRow;

/// Time between two looks at whether what is wanted is what is served.
const KEEP_UP: Duration = Duration::from_secs(60);
/// Domains that are set right in one go.
const AT_ONCE: u32 = 100;

impl Domains {
    /// Sets right what a process left that died between a domain's state and the wish for its certificate.
    pub(super) async fn keep_certified(&self) {
        if self.0.issuing.authorities().is_empty() {
            return std::future::pending().await;
        }
        loop {
            if let Err(error) = self.certify_all().await {
                let retry_in_s = KEEP_UP.as_secs();
                tracing::error!(%error, retry_in_s, "whether certificates are asked for can't be looked at");
            }
            tokio::time::sleep(KEEP_UP).await;
        }
    }

    async fn certify_all(&self) -> Result<(), DomainError> {
        for row in self.0.store.uncertified_domains(AT_ONCE).await? {
            self.certify(&row, &row.hostname).await?;
        }
        Ok(())
    }

    /// Wants the certificate of a domain that visitors get, and no longer that of one that they don't.
    pub(super) async fn certify(&self, row: &DomainRow, hostname: &Hostname) -> Result<(), DomainError> {
        let (issuing, name) = (&self.0.issuing, row.name.as_str());
        if issuing.authorities().is_empty() || row.name.is_local() {
            return Ok(());
        }
        let is_wanted = issuing.track(name).await?.is_some();
        match (hostname.is_served(), is_wanted) {
            (true, false) => issuing.want(name, methods(&row.name)).await?,
            // Another account's domain of the same name may be the one that visitors get.
            (false, true) if self.0.store.served_domain(&row.name).await?.is_none() => issuing.retire(name).await?,
            _ => {}
        }
        Ok(())
    }

    /// How it stands with a domain's certificate.
    pub(super) async fn certificate(&self, row: &DomainRow) -> Result<CertificateTrack, DomainError> {
        if !row.hostname.is_served() {
            return Ok(match row.hostname.waiting() {
                Some(waiting) => {
                    CertificateTrack::WaitingForDns { cause: waiting.cause.clone(), next_check: waiting.next_check }
                }
                None => {
                    let cause = Failure::new("not_served", "No certificate is wanted while the domain is not served.");
                    CertificateTrack::None { cause }
                }
            });
        }
        let issuing = &self.0.issuing;
        if issuing.authorities().is_empty() || row.name.is_local() {
            return Ok(match self.0.hub.certifies() {
                true => CertificateTrack::Active { renew_at: None },
                false => {
                    let cause = Failure::new(
                        "no_authority",
                        "This installation has no certificate authority: ask the operator to name one (`acme.authorities`).",
                    );
                    CertificateTrack::None { cause }
                }
            });
        }
        let wanted = issuing.track(row.name.as_str()).await?;
        Ok(wanted.map_or_else(
            || CertificateTrack::None { cause: Failure::new("not_begun", "The certificate is wanted, and not begun.") },
            shown,
        ))
    }
}

/// How control of a name can be proven. Only records prove a wildcard.
pub(super) fn methods(name: &DomainName) -> Vec<Method> {
    let all = [Method::Http01, Method::TlsAlpn01, Method::Dns01];
    all.into_iter().filter(|method| !name.is_wildcard() || method.proves_wildcards()).collect()
}

/// The engine's track as people see it.
fn shown(track: Track) -> CertificateTrack {
    let cause = |code: &str, reason: acme::failure::Failure| {
        let mut text = reason.to_string();
        if let Some(first) = text.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Failure::new(code, text)
    };
    match track {
        // What is being revoked is not asked for here: it is wanted no longer.
        Track::None | Track::Revoking { .. } => {
            CertificateTrack::None { cause: Failure::new("not_begun", "The certificate is wanted, and not begun.") }
        }
        Track::WaitingForDns { reason, next } => {
            CertificateTrack::WaitingForDns { cause: cause("name_not_found", reason), next_check: next }
        }
        Track::Issuing { authority, since } => CertificateTrack::Issuing { authority, since },
        Track::Active { renew_at } => CertificateTrack::Active { renew_at: Some(renew_at) },
        Track::Renewing { authority, since } => CertificateTrack::Renewing { authority, since },
        Track::CaaBlocked { reason, next } => {
            CertificateTrack::CaaBlocked { cause: cause("caa_forbids", reason), next_check: next }
        }
        Track::RateLimited { reason, next } => {
            CertificateTrack::RateLimited { cause: cause("authority_limit", reason), next_check: next }
        }
        Track::Failing { reason, next } => {
            CertificateTrack::Failing { cause: cause("issuing_failed", reason), next_check: next }
        }
    }
}
