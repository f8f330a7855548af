//! What this deployer works on, and tells the control plane again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ledger::{Claim, DynLedger, KEEP_EVERY};
use tokio_util::sync::CancellationToken;

/// The claims of this deployer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Claims(Arc<Inner>);

struct Inner {
    ledger: DynLedger,
    held: Mutex<HashMap<Claim, CancellationToken>>,
}

/// A claim that is kept up until this is dropped.
pub(crate) struct Held {
    claims: Claims,
    claim: Claim,
    lost: CancellationToken,
}

impl Claims {
    pub(crate) fn new(ledger: DynLedger) -> Self {
        Self(Arc::new(Inner { ledger, held: Mutex::default() }))
    }

    /// Keeps up a claim that was made.
    pub(crate) fn hold(&self, claim: &Claim) -> Held {
        let lost = CancellationToken::new();
        self.lock().insert(claim.clone(), lost.clone());
        Held { claims: self.clone(), claim: claim.clone(), lost }
    }

    /// Says what is held, until `stop`. Also when that is nothing: so it is known that this deployer is there.
    pub(crate) async fn keep_up(self, stop: CancellationToken) {
        loop {
            self.say().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(KEEP_EVERY) => {}
            }
        }
    }

    /// Says what is held, and stops what is not any more.
    async fn say(&self) {
        let claims: Vec<Claim> = self.lock().keys().cloned().collect();
        match self.0.ledger.keep(&claims).await {
            Ok(lost) => {
                let held = self.lock();
                lost.iter().filter_map(|claim| held.get(claim)).for_each(CancellationToken::cancel);
            }
            Err(e) => tracing::warn!(error = %e, retry_in_s = KEEP_EVERY.as_secs(), "the control plane does not hear"),
        }
    }

    /// Whether the control plane says that a claim is lost. When it can't be asked, it is not known to be.
    pub(crate) async fn is_lost(&self, claim: &Claim) -> bool {
        self.0.ledger.keep(std::slice::from_ref(claim)).await.is_ok_and(|lost| !lost.is_empty())
    }

    /// Held for map operations only.
    fn lock(&self) -> MutexGuard<'_, HashMap<Claim, CancellationToken>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Returns once the control plane says that it is another deployer's, or nobody's, by now.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.claims.lock().remove(&self.claim);
    }
}
