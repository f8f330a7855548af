//! Rows as the API shows them.

use common::api;
use common::deployment::{Failure, State};
use url::Url;

use super::Lifecycle;
use crate::store::StoreError;
use crate::store::deployments::{Before, DeploymentRow};
use crate::store::edges::LateEdges;
use crate::store::projects::ProjectRow;

impl Lifecycle {
    /// The URL of a site's host.
    pub(crate) fn site_url(&self, label: &str) -> Url {
        let mut url = self.0.sites_url.clone();
        // Labels are checked names below a checked domain.
        let _ = url.set_host(Some(&format!("{label}.{}", self.0.base_domain)));
        url
    }

    /// Which of the edges that were late are so still.
    pub(super) async fn still_late(&self, late: Option<&LateEdges>) -> Result<Option<String>, StoreError> {
        match late {
            Some(late) => self.0.hub.still_late(late).await,
            None => Ok(None),
        }
    }

    /// A project as the API shows it.
    pub(crate) fn show_project(&self, row: ProjectRow) -> api::Project {
        api::Project {
            url: self.site_url(row.name.as_str()),
            id: row.id,
            name: row.name,
            settings: row.settings,
            live_deployment: row.live_deployment,
            created_at: row.created_at,
        }
    }

    /// Why a build's log stands still, and the build perhaps with it.
    fn logs_wait(&self) -> Option<Failure> {
        self.0.bus.away().map(|away| Failure::new("logs_away", format!("Logs are late: {away}.")))
    }

    /// A deployment as the API shows it.
    pub(crate) async fn show(&self, row: DeploymentRow) -> Result<api::Deployment, StoreError> {
        use api::DeploymentStatus as Status;
        let away = if row.state == State::Queued { self.0.watch.away() } else { None };
        let retry_at = away.as_ref().map(|away| away.retry_at);
        let (status, reason) = match row.state {
            State::Queued if let Some(away) = away => {
                (Status::Queued, Some(Failure::new("queue_away", waits_for_queue(&away))))
            }
            State::Queued => {
                (Status::Queued, Some(Failure::new("waiting", waits_for(self.0.store.before(&row).await?))))
            }
            State::Building => (Status::Building, self.logs_wait()),
            State::Publishing => (Status::Publishing, self.logs_wait()),
            State::Starting => {
                (Status::Starting, Some(Failure::new("health_check", "Waits for the app's health check to pass.")))
            }
            State::Ready if row.live && row.activating_since.is_some() => {
                let waits_for = self.0.hub.waits_for(&row.project).await;
                let waits_for = waits_for.unwrap_or_else(|| "Edges are being told.".to_owned());
                (Status::Activating, Some(Failure::new("edges", waits_for)))
            }
            State::Ready if row.live => {
                let late = self.still_late(row.late_edges.as_ref()).await?;
                (Status::Live, late.map(|late| Failure::new("late_edges", late)))
            }
            State::Ready if row.activation_wanted => {
                (Status::Ready, Some(Failure::new("health_check", "Its app starts; it becomes live when healthy.")))
            }
            State::Ready => match row.activation_failure {
                Some(why) => {
                    (Status::Ready, Some(Failure::new("did_not_start", format!("It was not made live: {why}"))))
                }
                None => (Status::Ready, Some(Failure::new("not_live", "Another deployment is live."))),
            },
            State::Failed(why) => (Status::Failed, Some(why)),
            State::Canceled(why) => (Status::Canceled, Some(why)),
        };
        Ok(api::Deployment {
            status,
            reason,
            url: self.site_url(row.project_name.as_str()),
            deployment_url: self.site_url(&row.label),
            id: row.id,
            project: row.project_name,
            source: row.source,
            kind: row.kind,
            framework: row.framework,
            isolation: row.isolation,
            revision: row.revision,
            superseded_by: row.superseded_by,
            retry_at,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        })
    }
}

/// What a deployment waits for that can't be put on the queue.
fn waits_for_queue(away: &api::QueueAway) -> String {
    format!(
        "Waits for the job queue, which is away since {}: {}. It is tried again at {}.",
        away.since, away.reason, away.retry_at
    )
}

/// What a queued deployment waits for.
fn waits_for(before: Before) -> String {
    match before {
        Before { own: 1, .. } => "Waits for the deployment of this project that is ahead of it.".to_owned(),
        Before { own: n @ 2.., .. } => format!("Waits for the {n} deployments of this project that are ahead of it."),
        Before { queued: 0, .. } => "Waits for a free deployer; it is the next.".to_owned(),
        Before { queued: 1, .. } => "Waits for a free deployer; 1 deployment is ahead of it.".to_owned(),
        Before { queued: n, .. } => format!("Waits for a free deployer; {n} deployments are ahead of it."),
    }
}
