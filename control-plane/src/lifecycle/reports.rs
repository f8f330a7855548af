//! What deployers report: the control plane's side of the ledger port.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::deployment::{Event, Failure, Kind, State};
use common::id::{DeployerId, DeploymentId};
use common::ledger::{App, Claim, Facts, Ledger, LedgerError, Output, Wanted, Work};
use common::revision::RevisionStatus;
use common::secret::SecretError;
use common::time::Timestamp;

use super::{Lifecycle, LifecycleError};
use crate::store::StoreError;
use crate::store::deployments::DeploymentRow;

impl From<StoreError> for LedgerError {
    fn from(e: StoreError) -> Self {
        if e.is_disk_full() { Self::DiskFull } else { Self::Failed(e.to_string()) }
    }
}

impl From<LifecycleError> for LedgerError {
    fn from(e: LifecycleError) -> Self {
        match e {
            LifecycleError::NoSuchDeployment(id) => Self::NotYours(id),
            LifecycleError::Store(e) => e.into(),
            e => Self::Failed(e.to_string()),
        }
    }
}

/// How long an app whose variables can't be read is not tried again: somebody has to restore the key.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(60);

/// The ledger of one deployer.
pub struct Reports {
    lifecycle: Lifecycle,
    deployer: DeployerId,
    /// The change of wanted apps that it was told last.
    seen: AtomicI64,
}

impl Reports {
    pub(crate) const fn new(lifecycle: Lifecycle, deployer: DeployerId) -> Self {
        Self { lifecycle, deployer, seen: AtomicI64::new(0) }
    }

    /// Waits for another change of wanted apps than the one that was `seen`; gives its number.
    pub(crate) async fn apps_change(&self, seen: i64) -> i64 {
        let mut changes = self.lifecycle.0.apps_changed.subscribe();
        // The sender lives as long as this.
        changes.wait_for(|change| *change != seen).await.map_or(seen, |change| *change)
    }

    /// Whether another deployer is to run an app, and this one does not.
    fn is_anothers(&self, row: &DeploymentRow) -> bool {
        row.placed_on.as_ref().is_some_and(|on| *on != self.deployer) && row.runs_on.as_ref() != Some(&self.deployer)
    }

    /// The row, when this claim is its deployer's hold on it.
    async fn held(&self, claim: &Claim) -> Result<DeploymentRow, LedgerError> {
        let row = self.lifecycle.row(&claim.deployment).await?;
        if row.claim.as_ref() == Some(&claim.id) { Ok(row) } else { Err(not_yours(claim)) }
    }

    /// The row, when this claim is its deployer's hold on it and it has not ended.
    async fn worked_on(&self, claim: &Claim) -> Result<DeploymentRow, LedgerError> {
        let row = self.held(claim).await?;
        if row.state.is_final() { Err(not_yours(claim)) } else { Ok(row) }
    }

    /// Applies an event that the deployer reports, unless it has been applied already.
    async fn report(&self, claim: &Claim, event: Event) -> Result<(), LedgerError> {
        loop {
            let row = self.held(claim).await?;
            if row.state.is_after(&event) {
                return Ok(());
            }
            if row.state.on(event.clone()).is_err() {
                return Err(not_yours(claim));
            }
            if self.lifecycle.step(&row, event.clone()).await?.is_some() {
                return Ok(());
            }
            // It is in another state by now, or another's.
        }
    }
}

fn not_yours(claim: &Claim) -> LedgerError {
    LedgerError::NotYours(claim.deployment.clone())
}

impl Lifecycle {
    /// The app of a row that is wanted.
    async fn wanted(&self, row: DeploymentRow) -> Result<Option<Wanted>, StoreError> {
        let Some(image) = row.image.clone() else { return Ok(None) };
        let env = match self.0.store.env(&self.0.keys, &row.project).await {
            Err(e @ StoreError::Unreadable { .. }) => {
                self.cannot_start(&row, &e).await?;
                return Err(e);
            }
            other => other?,
        };
        let app = App {
            deployment: row.id,
            account: row.account,
            project_name: row.project_name,
            image,
            health_path: row.settings.health_path,
            env,
        };
        Ok(Some(Wanted { app, once: row.activation_wanted && !row.live }))
    }

    /// Shows why an app can't even be tried.
    async fn cannot_start(&self, row: &DeploymentRow, why: &StoreError) -> Result<(), StoreError> {
        let reason = why.to_string();
        if row.activation_wanted && !row.live {
            self.0.store.fail_activation(&row.id, &reason).await?;
        } else {
            let retry_at = Timestamp::now().after(UNREADABLE_PAUSE);
            self.0.store.set_revision(&row.id, &RevisionStatus::Restarting { reason, retry_at, restarts: 0 }).await?;
        }
        self.changed(&row.id);
        Ok(())
    }

    /// What a deployer needs to build a row.
    pub(super) async fn work(&self, row: &DeploymentRow, claim: &Claim) -> Result<Work, StoreError> {
        let unreadable = |e: SecretError| StoreError::Unreadable { what: "repository login", detail: e.to_string() };
        let source = match &row.source_login {
            Some(sealed) => row.source.clone().with_login(&self.0.keys.open(sealed).map_err(unreadable)?),
            None => row.source.clone(),
        };
        let ready = self.0.store.ready_deployments(Some(&row.project)).await?;
        Ok(Work {
            claim: claim.clone(),
            project: row.project.clone(),
            account: row.account.clone(),
            project_name: row.project_name.clone(),
            source,
            settings: row.settings.clone(),
            env: self.0.store.env(&self.0.keys, &row.project).await?,
            previous: ready.into_iter().find(|r| r.kind == Some(Kind::Static)).map(|r| r.id),
        })
    }
}

#[async_trait]
impl Ledger for Reports {
    async fn claim(&self, claim: &Claim, isolation: &str) -> Result<Option<Work>, LedgerError> {
        Ok(self.lifecycle.claim(claim, &self.deployer, isolation).await?)
    }

    async fn keep(&self, claims: &[Claim]) -> Result<Vec<Claim>, LedgerError> {
        self.lifecycle.deployer_seen(&self.deployer).await?;
        Ok(self.lifecycle.keep(claims).await?)
    }

    async fn leave(&self) -> Result<bool, LedgerError> {
        Ok(self.lifecycle.deployer_leaves(&self.deployer).await?)
    }

    async fn give_back(&self, claim: &Claim) -> Result<(), LedgerError> {
        Ok(self.lifecycle.give_back(claim).await?)
    }

    async fn facts(&self, claim: &Claim, facts: Facts) -> Result<(), LedgerError> {
        let row = self.worked_on(claim).await?;
        self.lifecycle.0.store.set_facts(&row, facts).await?;
        self.lifecycle.changed(&row.id);
        Ok(())
    }

    async fn built(&self, claim: &Claim) -> Result<(), LedgerError> {
        self.report(claim, Event::Built).await
    }

    async fn started(&self, claim: &Claim, image: &str) -> Result<(), LedgerError> {
        let row = self.worked_on(claim).await?;
        // From now on it is not deleted.
        if !self.lifecycle.0.store.set_image(&row, image, Timestamp::now()).await? {
            return Err(LedgerError::ImageGoing(image.to_owned()));
        }
        self.report(claim, Event::Started).await
    }

    async fn succeeded(&self, claim: &Claim, output: Output) -> Result<bool, LedgerError> {
        let lifecycle = &self.lifecycle;
        let row = self.held(claim).await?;
        let live = if row.state.is_after(&Event::Succeeded) {
            row.live
        } else {
            let app = match output {
                Output::App { image, endpoints } => Some((image, RevisionStatus::Running { endpoints, restarts: 0 })),
                Output::Static => None,
            };
            let app = app.as_ref().map(|(image, revision)| (image.as_str(), revision, &self.deployer));
            let ready = row.state.on(Event::Succeeded).map_err(|_| not_yours(claim))?;
            lifecycle.0.store.succeed(&row, &ready, app).await?.ok_or_else(|| not_yours(claim))?
        };
        lifecycle.flipped(&row).await?;
        let last = if live {
            let late = lifecycle.still_late(lifecycle.row(&row.id).await?.late_edges.as_ref()).await?;
            let late = late.map(|late| format!(". {late}")).unwrap_or_default();
            format!("Live at {}{late}", lifecycle.site_url(row.project_name.as_str()))
        } else {
            format!("Ready at {}. A newer deployment is live already.", lifecycle.site_url(&row.label))
        };
        lifecycle.end_log(&row.id, &last).await;
        Ok(live)
    }

    async fn failed(&self, claim: &Claim, why: Failure) -> Result<(), LedgerError> {
        let last = format!("Failed: {}", why.message);
        self.report(claim, Event::Failed(why)).await?;
        self.lifecycle.end_log(&claim.deployment, &last).await;
        Ok(())
    }

    async fn wanted_app(&self, id: &DeploymentId) -> Result<Option<Wanted>, LedgerError> {
        let asked_for = |row: &DeploymentRow| row.wanted_until.is_some_and(|until| until > Timestamp::now());
        match self.lifecycle.row(id).await {
            Ok(row) if row.state == State::Ready && (row.live || row.activation_wanted || asked_for(&row)) => {
                Ok(self.lifecycle.wanted(row).await?)
            }
            Ok(_) | Err(LifecycleError::NoSuchDeployment(_)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    async fn wanted_apps(&self) -> Result<Vec<DeploymentId>, LedgerError> {
        // Who asks is there.
        self.lifecycle.deployer_seen(&self.deployer).await?;
        self.lifecycle.place().await?;
        Ok(self.lifecycle.0.store.wanted_apps(&self.deployer, Timestamp::now()).await?)
    }

    async fn revision(&self, id: &DeploymentId, status: RevisionStatus) -> Result<(), LedgerError> {
        let lifecycle = &self.lifecycle;
        // Not there: its project was deleted while it ran.
        let row = lifecycle.row(id).await?;
        if !lifecycle.0.store.set_revision_of(id, &status, &self.deployer).await? {
            // One that does not run here yet runs elsewhere until it does.
            let is_to_run_here = row.placed_on.as_ref() == Some(&self.deployer);
            return if is_to_run_here { Ok(()) } else { Err(LedgerError::NotYours(id.clone())) };
        }
        let runs = status.endpoints().is_some();
        if runs && row.state == State::Ready && row.activation_wanted {
            lifecycle.activate(&row).await?;
        } else {
            lifecycle.0.hub.refresh(&row.project).await?;
            lifecycle.changed(id);
            if runs && row.runs_on.as_ref().is_some_and(|before| *before != self.deployer) {
                // The one that it ran on may stop it now.
                lifecycle.apps_changed().await;
            }
        }
        Ok(())
    }

    async fn start_failed(&self, id: &DeploymentId, why: Failure) -> Result<(), LedgerError> {
        if self.is_anothers(&self.lifecycle.row(id).await?) {
            return Err(LedgerError::NotYours(id.clone()));
        }
        tracing::warn!(deployment = %id, reason = %why.message, "an app did not start");
        self.lifecycle.0.store.fail_activation(id, &why.message).await?;
        self.lifecycle.changed(id);
        Ok(())
    }

    async fn apps_changed(&self) {
        let change = self.apps_change(self.seen.load(Ordering::Acquire)).await;
        self.seen.store(change, Ordering::Release);
    }
}
