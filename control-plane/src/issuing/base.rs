//! The wildcard certificate of the platform's own base domain: one for all projects' addresses.

use std::time::Duration;

use acme::challenge::Method;

use super::Issuing;

/// Time between two looks at whether the base domain's zone is served here.
const EVERY: Duration = Duration::from_secs(15);

/// The wildcard that covers projects' addresses.
pub fn wildcard(base_domain: &str) -> String {
    format!("*.{base_domain}")
}

/// Wants it as soon as its proof can be given, and comes back then. A name that no public authority knows has none.
pub(super) async fn want(issuing: &Issuing, base_domain: &str) {
    if base_domain.split('.').next_back() == Some("localhost") {
        return;
    }
    let record = format!("_acme-challenge.{base_domain}");
    let mut looks = tokio::time::interval(EVERY);
    loop {
        looks.tick().await;
        if !issuing.0.proofs.serves(&record).await {
            continue;
        }
        match issuing.want(&wildcard(base_domain), vec![Method::Dns01]).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "the base domain's certificate can't be asked for yet"),
        }
    }
}
