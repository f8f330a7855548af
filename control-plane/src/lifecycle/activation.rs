//! Which deployment is live, and which apps run because somebody waits for them.

use std::time::Duration;

use common::deployment::{Kind, State};
use common::id::DeploymentId;
use common::revision::RevisionStatus;
use common::time::Timestamp;

use super::{Lifecycle, LifecycleError};
use crate::store::StoreError;
use crate::store::deployments::DeploymentRow;
use crate::store::edges::Activating;
use crate::store::projects::ProjectRow;

/// How long a rollback waits for the app to start: its health check's time and some more.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long an app that is not live runs after a visitor asked for it: as long as somebody looks at a preview and some
/// more. Edges ask again while there are visitors.
const ON_REQUEST: Duration = Duration::from_secs(10 * 60);

impl Lifecycle {
    /// Makes a deployment live (the one before when `None`); returns when visitors get it.
    pub(crate) async fn rollback(
        &self,
        project: &ProjectRow,
        to: Option<DeploymentId>,
    ) -> Result<DeploymentRow, LifecycleError> {
        let row = match to {
            Some(id) => self.row(&id).await.and_then(|row| {
                if row.project == project.id { Ok(row) } else { Err(LifecycleError::NoSuchDeployment(id)) }
            })?,
            None => match &project.live_deployment {
                Some(live) => {
                    self.0.store.live_before(&project.id, live).await?.ok_or(LifecycleError::NothingBefore)?
                }
                None => return Err(LifecycleError::NothingBefore),
            },
        };
        if row.state != State::Ready {
            return Err(LifecycleError::NotReady { id: row.id, state: row.state.as_str() });
        }
        if row.kind == Some(Kind::Node) && row.image.is_none() {
            return Err(LifecycleError::NoImage(row.id));
        }
        if row.kind == Some(Kind::Node) && !row.runs() && !row.live {
            self.start_and_activate(&row).await?;
        } else {
            self.activate(&row).await?;
        }
        self.row(&row.id).await
    }

    /// Flips the project's pointer and waits until the edges have it.
    pub(super) async fn activate(&self, row: &DeploymentRow) -> Result<(), StoreError> {
        self.0.store.activate(&row.project, &row.id).await?;
        self.flipped(row).await
    }

    /// The project's pointer was flipped: returns when the edges have it, or are late.
    pub(super) async fn flipped(&self, row: &DeploymentRow) -> Result<(), StoreError> {
        self.changed(&row.id);
        match self.0.store.activating(&row.project).await? {
            Some(flip) => self.settle(flip).await?,
            // Something else is live, and stays so; edges still learn this deployment's own address.
            None => drop(self.0.hub.refresh(&row.project).await?),
        }
        // Not before: an app that was live is still asked until then.
        self.apps_changed().await;
        Ok(())
    }

    /// Returns when the edges have what is live in a project, or are late.
    async fn settle(&self, flip: Activating) -> Result<(), StoreError> {
        let this = self.clone();
        // On its own: whoever asked may be gone before the edges have it.
        let settling = tokio::spawn(async move {
            let late = this.0.hub.refresh(&flip.project).await?;
            let late = Some(&late).filter(|late| !late.edges.is_empty());
            this.0.store.settle(&flip, late).await?;
            this.changed(&flip.deployment);
            this.apps_changed().await;
            tracing::info!(deployment = %flip.deployment, late = late.map_or(0, |late| late.edges.len()), "live");
            Ok(())
        });
        match settling.await {
            Ok(settled) => settled,
            Err(error) => {
                // The sweep takes it up.
                tracing::error!(%error, "it is not known whether the edges have what is live");
                Ok(())
            }
        }
    }

    /// Takes up what is live and not at the edges yet, when nobody waits for it any more: a crash came between, or the
    /// database failed.
    pub(super) async fn settle_all(&self, begun_before: Timestamp) -> Result<(), StoreError> {
        for flip in self.0.store.all_activating(begun_before).await? {
            let this = self.clone();
            tokio::spawn(async move {
                if let Err(error) = this.settle(flip).await {
                    tracing::error!(%error, "edges can't be told what is live");
                }
            });
        }
        Ok(())
    }

    /// Wants an app to run, and waits until it is live or did not start.
    async fn start_and_activate(&self, row: &DeploymentRow) -> Result<(), LifecycleError> {
        let mut changes = self.changes();
        self.0.store.want_activation(&row.id).await?;
        self.apps_changed().await;
        let outcome = tokio::time::timeout(START_TIMEOUT, async {
            loop {
                let now = self.row(&row.id).await?;
                if now.live && now.activating_since.is_none() {
                    return Ok(());
                }
                if !now.live && !now.activation_wanted {
                    let reason = now.activation_failure.unwrap_or_else(|| "the start was given up".to_owned());
                    return Err(LifecycleError::DidNotStart { id: row.id.clone(), reason });
                }
                if !now.live && now.runs() {
                    // It was running for visitors when the wish was written.
                    self.activate(&now).await?;
                    return Ok(());
                }
                // Lagging behind is answered by reading the row again.
                let _ = changes.recv().await;
            }
        });
        match outcome.await {
            Ok(outcome) => outcome,
            // The edges have it any moment.
            Err(_) if self.row(&row.id).await?.live => Ok(()),
            Err(_) => {
                let reason = format!("it did not start within {} s", START_TIMEOUT.as_secs());
                self.0.store.fail_activation(&row.id, &reason).await?;
                self.apps_changed().await;
                Err(LifecycleError::DidNotStart { id: row.id.clone(), reason })
            }
        }
    }

    /// A visitor asked for a deployment whose app runs only on request.
    pub(crate) async fn wake(&self, id: &DeploymentId) -> Result<(), LifecycleError> {
        let row = self.row(id).await?;
        if row.state != State::Ready || row.kind != Some(Kind::Node) {
            return Ok(());
        }
        self.0.store.want_until(id, Timestamp::now().after(ON_REQUEST)).await?;
        if matches!(row.revision, None | Some(RevisionStatus::Stopped)) {
            self.apps_changed().await;
        }
        Ok(())
    }
}
