//! Follows a deployment to its end and tells how it ended.

use std::time::{Duration, Instant};

use common::api::{Deployment, DeploymentStatus, LogKind};
use common::id::DeploymentId;
use common::name::ProjectName;
use serde::Serialize;
use url::Url;

use crate::client::{Client, Follower, News};
use crate::exit;
use crate::output::{self, Format};

/// Longest wait for the deployment's end after its log's end, or the reverse. They come together; this is for
/// a platform that died in between.
const GRACE: Duration = Duration::from_secs(10);
/// Pause between looks at a deployment whose log has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How a deployment ended, for scripts.
#[derive(Debug, Serialize)]
pub struct Summary {
    project: ProjectName,
    deployment: Option<DeploymentId>,
    status: DeploymentStatus,
    url: Option<Url>,
    deployment_url: Option<Url>,
    duration_ms: u64,
    reason: Option<String>,
}

impl Summary {
    /// Of a deployment; the time is the command's.
    pub fn new(deployment: &Deployment, begun: Instant) -> Self {
        Self {
            project: deployment.project.clone(),
            deployment: Some(deployment.id.clone()),
            status: deployment.status,
            url: Some(deployment.url.clone()),
            deployment_url: Some(deployment.deployment_url.clone()),
            duration_ms: millis(begun),
            reason: deployment.reason.as_ref().map(|why| why.message.clone()),
        }
    }

    /// Of a deployment that did not come to be.
    pub fn refused(project: &ProjectName, begun: Instant, reason: &str) -> Self {
        Self {
            project: project.clone(),
            deployment: None,
            status: DeploymentStatus::Failed,
            url: None,
            deployment_url: None,
            duration_ms: millis(begun),
            reason: Some(reason.to_owned()),
        }
    }
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// An error after which the summary has been printed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Told(String);

/// Shows the build log live, then the result. Gives the exit code.
pub async fn to_end(client: &Client, deployment: Deployment, begun: Instant, format: Format) -> anyhow::Result<u8> {
    let id = deployment.id.clone();
    output::say(&format!("Deploying {} as {id}", deployment.project));
    let mut latest = deployment;
    let followed = tokio::select! {
        followed = follow(client, &mut latest) => followed,
        _ = tokio::signal::ctrl_c() => {
            output::say(&format!(
                "\nThe deployment goes on. `astrocloud logs -f {id}` follows it, `astrocloud cancel {id}` stops it."
            ));
            if format.json {
                output::json(&Summary::new(&latest, begun))?;
            }
            return Ok(exit::INTERRUPTED);
        }
    };
    if format.json {
        output::json(&Summary::new(&latest, begun))?;
    }
    if let Err(e) = followed {
        return Err(Told(format!(
            "{}. The deployment may go on: `astrocloud logs -f {id}` follows it",
            exit::sentence(&e)
        ))
        .into());
    }
    let reason = latest.reason.as_ref().map_or("", |why| why.message.as_str());
    match latest.status {
        DeploymentStatus::Live => {
            output::say(&format!("{} after {}", output::good().apply_to("Live"), output::duration(begun.elapsed())));
            if !format.json {
                output::line(latest.url.as_str())?;
            }
            Ok(exit::DONE)
        }
        DeploymentStatus::Ready => {
            output::say(&format!("{}, but not live: {reason}", output::doubtful().apply_to("Ready")));
            if !format.json {
                output::line(latest.deployment_url.as_str())?;
            }
            Ok(exit::DONE)
        }
        status => {
            let (word, reason) = match status {
                DeploymentStatus::Canceled => ("canceled", "Canceled."),
                DeploymentStatus::Failed => ("failed", reason),
                _ => ("not finished", "The log has ended, but the deployment has not."),
            };
            output::error(&format!("deployment {word}: {reason}"));
            tell_what_is_live(client, &latest).await;
            Ok(exit::FAILED)
        }
    }
}

/// Shows records until the log and the deployment have ended. `latest` is the deployment as last heard of.
async fn follow(client: &Client, latest: &mut Deployment) -> anyhow::Result<()> {
    let mut follower = Follower::new(client.clone(), latest.id.clone(), LogKind::Build, 0);
    let mut waits = String::new();
    loop {
        let news = if latest.status.is_final() {
            let Ok(news) = tokio::time::timeout(GRACE, follower.next()).await else { return Ok(()) };
            news?
        } else {
            follower.next().await?
        };
        match news {
            Some(News::Records(records)) => {
                let lines: Vec<_> = records.iter().map(|record| output::record(record, false, true)).collect();
                output::say(&lines.join("\n"));
            }
            Some(News::Deployment(now)) => {
                *latest = *now;
                let reason = latest.reason.as_ref().filter(|_| !latest.status.is_final());
                if let Some(why) = reason.filter(|why| why.message != waits) {
                    waits.clone_from(&why.message);
                    output::say(&output::faint().apply_to(&waits).to_string());
                }
            }
            None => break,
        }
    }
    let ended = Instant::now();
    while !latest.status.is_final() && ended.elapsed() < GRACE {
        tokio::time::sleep(LOOK_AGAIN).await;
        *latest = client.deployment(&latest.id).await?;
    }
    Ok(())
}

/// After a failure people want to know what their visitors get.
async fn tell_what_is_live(client: &Client, failed: &Deployment) {
    match client.project(&failed.project).await.map(|project| project.live_deployment) {
        Ok(Some(live)) => output::say(&format!("{} is still live at {}", live, failed.url)),
        Ok(None) => output::say(&format!("The project {} has no live deployment yet", failed.project)),
        Err(e) => output::warning(&format!("what is live now can't be told: {e}")),
    }
}
