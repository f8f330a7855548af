//! What deployers report: the control plane's side of the ledger port.

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
        Self::Failed(e.to_string())
    }
}

fn unreadable(e: SecretError) -> LedgerError {
    LedgerError::Failed(e.to_string())
}

impl Lifecycle {
    /// The row, when it is still this deployer's to work on.
    async fn worked_on(&self, id: &DeploymentId) -> Result<DeploymentRow, LedgerError> {
        match self.row(id).await {
            Ok(row) if !row.state.is_final() => Ok(row),
            Ok(_) | Err(LifecycleError::NoSuchDeployment(_)) => Err(LedgerError::NotYours(id.clone())),
            Err(e) => Err(LedgerError::Failed(e.to_string())),
        }
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
        let Some(image) = row.image else { return Ok(None) };
        let env = self.0.store.env(&self.0.key, &row.project).await?;
        let app = App {
            deployment: row.id,
            project_name: row.project_name,
            image,
            health_path: row.settings.health_path,
            env,
        };
        Ok(Some(Wanted { app, once: row.activation_wanted && !row.live }))
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
        self.0.store.set_isolation(id, isolation).await?;
        if self.step(&row, Event::Claimed).await?.is_none() {
            return Ok(None);
        }
        let env = self.0.store.env(&self.0.key, &row.project).await?;
        let ready = self.0.store.ready_deployments(Some(&row.project)).await?;
        Ok(Some(Work {
            deployment: row.id,
            project: row.project,
            project_name: row.project_name,
            source: match row.source_login {
                Some(sealed) => row.source.with_login(&self.0.key.open(&sealed).map_err(unreadable)?),
                None => row.source,
            },
            settings: row.settings,
            env,
            previous: ready.into_iter().find(|r| r.kind == Some(Kind::Static)).map(|r| r.id),
        }))
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
        if let Output::App { image, endpoint } = output {
            self.0.store.set_image(id, &image).await?;
            self.0.store.set_revision(id, &RevisionStatus::Running { endpoint, restarts: 0 }).await?;
        }
        let row = self.report(id, Event::Succeeded).await?;
        let live = self.activate(&row, true).await?;
        let last = if live {
            format!("Live at {}", self.site_url(row.project_name.as_str()))
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
            Err(e) => Err(LedgerError::Failed(e.to_string())),
        }
    }

    async fn wanted_apps(&self) -> Result<Vec<Wanted>, LedgerError> {
        let mut apps = Vec::new();
        for row in self.0.store.wanted_apps().await? {
            apps.extend(self.wanted(row).await?);
        }
        Ok(apps)
    }

    async fn revision(&self, id: &DeploymentId, status: RevisionStatus) -> Result<(), LedgerError> {
        let row = match self.row(id).await {
            Ok(row) => row,
            // Its project was deleted while it ran.
            Err(LifecycleError::NoSuchDeployment(_)) => return Err(LedgerError::NotYours(id.clone())),
            Err(e) => return Err(LedgerError::Failed(e.to_string())),
        };
        self.0.store.set_revision(id, &status).await?;
        let runs = status.endpoint().is_some();
        if runs && row.state == State::Ready && row.activation_wanted {
            self.activate(&row, false).await?;
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
