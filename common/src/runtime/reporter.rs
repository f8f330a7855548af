//! What an app does, told to the ledger: in order, and again until it is taken. While the control plane is
//! away, a newer state takes an older one's place.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::id::DeploymentId;
use crate::ledger::{DynLedger, LedgerError};
use crate::revision::RevisionStatus;

/// Pause before a report that was not taken is made again; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest such pause: so much later than the control plane everybody knows.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Time for the control plane to take a report: it waits for the edges, which may be slow.
const TAKING: Duration = Duration::from_secs(10);

/// The reports of one app.
pub struct Reporter {
    next: watch::Sender<Slot>,
    /// Number of the last slot that was dealt with.
    done: watch::Receiver<u64>,
    refused: CancellationToken,
}

/// The newest thing to tell.
#[derive(Clone, Default)]
struct Slot {
    number: u64,
    status: Option<RevisionStatus>,
}

impl Reporter {
    /// Nothing to tell yet.
    #[must_use]
    pub fn start(ledger: DynLedger, deployment: DeploymentId) -> Self {
        let (next, slots) = watch::channel(Slot::default());
        let (tell, done) = watch::channel(0);
        let refused = CancellationToken::new();
        tokio::spawn(tell_all(ledger, deployment, slots, tell, refused.clone()));
        Self { next, done, refused }
    }

    /// Tells this, once what was told before is taken.
    pub fn report(&self, status: RevisionStatus) {
        self.put(Some(status));
    }

    /// Returns once the last report is taken.
    pub async fn delivered(&self) {
        let wanted = self.next.borrow().number;
        let mut done = self.done.clone();
        // When the task is gone, the whole platform goes.
        let _ = done.wait_for(|number| *number >= wanted).await;
    }

    /// Takes back a report that is not taken yet. When this returns, none is on its way.
    pub async fn settle(&self) {
        self.put(None);
        self.delivered().await;
    }

    /// Returns once the ledger has said that it does not want this app.
    pub async fn refused(&self) {
        self.refused.cancelled().await;
    }

    /// Whether the ledger has said so.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused.is_cancelled()
    }

    fn put(&self, status: Option<RevisionStatus>) {
        self.next.send_modify(|slot| *slot = Slot { number: slot.number + 1, status });
    }
}

async fn tell_all(
    ledger: DynLedger,
    deployment: DeploymentId,
    mut slots: watch::Receiver<Slot>,
    done: watch::Sender<u64>,
    refused: CancellationToken,
) {
    let mut pause = RETRY_FIRST;
    while slots.changed().await.is_ok() {
        loop {
            let slot = slots.borrow_and_update().clone();
            let taken = match slot.status {
                Some(status) => timeout(TAKING, ledger.revision(&deployment, status)).await,
                None => Ok(Ok(())),
            };
            let detail = match taken {
                Ok(Ok(())) => None,
                Ok(Err(LedgerError::NotYours(_))) => {
                    refused.cancel();
                    None
                }
                Ok(Err(e @ (LedgerError::Failed(_) | LedgerError::DiskFull | LedgerError::ImageGoing(_)))) => {
                    Some(e.to_string())
                }
                Err(_) => Some(format!("the control plane did not answer within {} s", TAKING.as_secs())),
            };
            let Some(detail) = detail else {
                done.send_replace(slot.number);
                pause = RETRY_FIRST;
                break;
            };
            tracing::warn!(%deployment, error = detail, retry_in_ms = pause.as_millis(), "a report was not taken");
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RETRY_MAX),
                newer = slots.changed() => if newer.is_err() { return },
            }
        }
    }
}
