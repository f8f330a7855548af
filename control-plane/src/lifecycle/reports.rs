//! What deployers report: the control plane's side of the ledger port.

use std::time::Duration;

use async_trait::async_trait;
use common::deployment::{Event, Failure, Kind, State};
use common::id::DeploymentId;
use common::ledger::{App, Facts, Ledger, LedgerError, Output, Wanted, Work};
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

impl Lifecycle {
    /// The row, when it is still this deployer's to work on.
    async fn worked_on(&self, id: &DeploymentId) -> Result<DeploymentRow, LedgerError> {
        let row = self.row(id).await?;
        if row.state.is_final() { Err(LedgerError::NotYours(id.clone())) } else { Ok(row) }
    }

    /// Applies an event that the deployer reports.
    async fn report(&self, id: &DeploymentId, event: Event) -> Result<DeploymentRow, LedgerError> {
        let row = self.worked_on(id).await?;
        match self.step(&row, event).await? {
            Some(state) => Ok(DeploymentRow { state, ..row }),
            None => Err(LedgerError::NotYours(id.clone())),
        }
    }

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
    async fn work(&self, row: &DeploymentRow) -> Result<Work, StoreError> {
        let unreadable = |e: SecretError| StoreError::Unreadable { what: "repository login", detail: e.to_string() };
        let source = match &row.source_login {
            Some(sealed) => row.source.clone().with_login(&self.0.keys.open(sealed).map_err(unreadable)?),
            None => row.source.clone(),
        };
        let ready = self.0.store.ready_deployments(Some(&row.project)).await?;
        Ok(Work {
            deployment: row.id.clone(),
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
impl Ledger for Lifecycle {
    async fn claim(&self, id: &DeploymentId, isolation: &str) -> Result<Option<Work>, LedgerError> {
        let mut row = match self.worked_on(id).await {
            Ok(row) => row,
            Err(LedgerError::NotYours(_)) => return Ok(None),
            Err(e) => return Err(e),
        };
        if row.state != State::Queued {
            // Its lease ran out: the deployer that had it is lost.
            self.requeue(&row).await?;
            row = match self.worked_on(id).await {
                Ok(row) => row,
                Err(LedgerError::NotYours(_)) => return Ok(None),
                Err(e) => return Err(e),
            };
        }
        // Before the claim: what is claimed and not worked on would stay so for ever.
        let work = match self.work(&row).await {
            Err(e @ StoreError::Unreadable { .. }) => {
                tracing::error!(deployment = %id, error = %e, "a deployment can't be built");
                self.failed(id, Failure::new("unreadable", format!("It can't be built: {e}."))).await?;
                return Ok(None);
            }
            other => other?,
        };
        self.0.store.set_isolation(id, isolation).await?;
        Ok(self.step(&row, Event::Claimed).await?.map(|_| work))
    }

    async fn facts(&self, id: &DeploymentId, facts: Facts) -> Result<(), LedgerError> {
        let row = self.worked_on(id).await?;
        self.0.store.set_facts(&row, facts).await?;
        self.changed(id);
        Ok(())
    }

    async fn built(&self, id: &DeploymentId) -> Result<(), LedgerError> {
        self.report(id, Event::Built).await.map(drop)
    }

    async fn started(&self, id: &DeploymentId, image: &str) -> Result<(), LedgerError> {
        self.0.store.set_image(id, image).await?;
        self.report(id, Event::Started).await.map(drop)
    }

    async fn succeeded(&self, id: &DeploymentId, output: Output) -> Result<bool, LedgerError> {
        if let Output::App { image, endpoints } = output {
            self.0.store.set_image(id, &image).await?;
            self.0.store.set_revision(id, &RevisionStatus::Running { endpoints, restarts: 0 }).await?;
        }
        let row = self.worked_on(id).await?;
        let not_yours = || LedgerError::NotYours(id.clone());
        let ready = row.state.on(Event::Succeeded).map_err(|_| not_yours())?;
        let live = self.0.store.succeed(&row, &ready).await?.ok_or_else(not_yours)?;
        self.flipped(&row).await?;
        let last = if live {
            let late = self.row(id).await?.late_edges.and_then(|late| self.0.hub.still_late(&late));
            let late = late.map(|late| format!(". {late}")).unwrap_or_default();
            format!("Live at {}{late}", self.site_url(row.project_name.as_str()))
        } else {
            format!("Ready at {}. A newer deployment is live already.", self.site_url(&row.label))
        };
        self.end_log(id, &last).await;
        Ok(live)
    }

    async fn failed(&self, id: &DeploymentId, why: Failure) -> Result<(), LedgerError> {
        self.report(id, Event::Failed(why.clone())).await?;
        self.end_log(id, &format!("Failed: {}", why.message)).await;
        Ok(())
    }

    async fn wanted_app(&self, id: &DeploymentId) -> Result<Option<Wanted>, LedgerError> {
        let asked_for = |row: &DeploymentRow| row.wanted_until.is_some_and(|until| until > Timestamp::now());
        match self.row(id).await {
            Ok(row) if row.state == State::Ready && (row.live || row.activation_wanted || asked_for(&row)) => {
                Ok(self.wanted(row).await?)
            }
            Ok(_) | Err(LifecycleError::NoSuchDeployment(_)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    async fn wanted_apps(&self) -> Result<Vec<DeploymentId>, LedgerError> {
        Ok(self.0.store.wanted_apps().await?)
    }

    async fn revision(&self, id: &DeploymentId, status: RevisionStatus) -> Result<(), LedgerError> {
        // Not there: its project was deleted while it ran.
        let row = self.row(id).await?;
        self.0.store.set_revision(id, &status).await?;
        let runs = status.endpoints().is_some();
        if runs && row.state == State::Ready && row.activation_wanted {
            self.activate(&row).await?;
        } else {
            self.0.hub.refresh(&row.project).await?;
            self.changed(id);
        }
        Ok(())
    }

    async fn start_failed(&self, id: &DeploymentId, why: Failure) -> Result<(), LedgerError> {
        tracing::warn!(deployment = %id, reason = %why.message, "an app did not start");
        self.0.store.fail_activation(id, &why.message).await?;
        self.changed(id);
        Ok(())
    }

    async fn apps_changed(&self) {
        self.0.apps_changed.notified().await;
    }
}
