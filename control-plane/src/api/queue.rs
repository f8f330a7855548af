//! The job queue: how it stands, and what was given up.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use common::api::{Deployment, Page, QueueStatus};
use common::id::DeploymentId;
use common::problem::Problem;

use super::State;
use super::error::{ApiError, Path, Query};
use super::projects::Paging;

/// Media type of Prometheus' text format, version 0.0.4.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How the job queue stands.
#[utoipa::path(get, path = "/queue", tag = "queue", responses((status = 200, body = QueueStatus)))]
pub(super) async fn read(Extract(state): Extract<State>) -> Result<Json<QueueStatus>, ApiError> {
    Ok(Json(state.0.lifecycle.queue_status().await?))
}

/// How the job queue stands, for Prometheus.
#[utoipa::path(get, path = "/queue/metrics", tag = "queue",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(Extract(state): Extract<State>) -> Result<impl IntoResponse, ApiError> {
    Ok(([(CONTENT_TYPE, METRICS)], render(&state.0.lifecycle.queue_status().await?)))
}

/// Lists deployments that were given up because their deployer was lost again and again, newest first.
#[utoipa::path(get, path = "/queue/dead", tag = "queue", params(Paging),
    responses((status = 200, body = Page<Deployment>)))]
pub(super) async fn dead(
    Extract(state): Extract<State>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Deployment>>, ApiError> {
    let limit = paging.limit()?;
    let before: Option<DeploymentId> = match &paging.cursor {
        Some(text) => Some(text.parse().map_err(|_| ApiError::invalid(format!("`{text}` is no cursor of this list")))?),
        None => None,
    };
    let rows = state.0.store.dead_deployments(before.as_ref(), limit + 1).await?;
    let (rows, next_cursor) = Paging::page(rows, limit, |row| row.id.to_string());
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(state.0.lifecycle.show(row).await?);
    }
    Ok(Json(Page { items, next_cursor }))
}

/// Asks again for a deployment that was given up; it is no longer listed as such.
#[utoipa::path(post, path = "/queue/dead/{deployment}/replay", tag = "queue", params(("deployment" = String, Path)),
    responses((status = 202, body = Deployment), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn replay(
    Extract(state): Extract<State>,
    Path(deployment): Path<String>,
) -> Result<(StatusCode, Json<Deployment>), ApiError> {
    let dead = state.0.lifecycle.row(&deployment.parse()?).await?;
    let project = state.project(dead.project.as_str()).await?;
    let row = state.0.lifecycle.replay(&project, dead).await?;
    Ok((StatusCode::ACCEPTED, Json(state.0.lifecycle.show(row).await?)))
}

/// The status in Prometheus' text format.
fn render(status: &QueueStatus) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, values: &[(&str, f64)]| {
        // Writing to a text never fails.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in values {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    gauge(
        "astrocloud_queue_up",
        "Whether the job queue answers.",
        &[("", if status.away.is_none() { 1.0 } else { 0.0 })],
    );
    if let Some(jobs) = &status.jobs {
        let states = [
            ("{state=\"waiting\"}", jobs.waiting as f64),
            ("{state=\"leased\"}", jobs.leased as f64),
            ("{state=\"delayed\"}", jobs.delayed as f64),
        ];
        gauge("astrocloud_queue_jobs", "Jobs on the queue; delayed ones are counted by project.", &states);
        let oldest = jobs.oldest_ms as f64 / 1e3;
        gauge("astrocloud_queue_oldest_job_seconds", "Age of the oldest job.", &[("", oldest)]);
    }
    gauge(
        "astrocloud_queue_dead_jobs",
        "Deployments that were given up and not asked for again.",
        &[("", status.dead as f64)],
    );
    text
}

#[cfg(test)]
mod tests {
    use common::api::{QueueAway, QueueJobs};
    use common::time::Timestamp;

    use super::*;

    #[test]
    fn a_queue_that_is_away_has_no_depth() {
        let jobs = QueueJobs { waiting: 3, leased: 1, delayed: 0, oldest_ms: 1500 };
        let ready = render(&QueueStatus { jobs: Some(jobs), away: None, dead: 2 });
        for line in [
            "astrocloud_queue_up 1",
            "astrocloud_queue_jobs{state=\"waiting\"} 3",
            "astrocloud_queue_oldest_job_seconds 1.5",
            "astrocloud_queue_dead_jobs 2",
        ] {
            assert!(ready.lines().any(|l| l == line), "{ready}");
        }
        let (since, retry_at) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
        let away = Some(QueueAway { reason: "refused".to_owned(), since, retry_at });
        let text = render(&QueueStatus { jobs: None, away, dead: 0 });
        assert!(text.contains("astrocloud_queue_up 0") && !text.contains("queue_jobs{"), "{text}");
    }
}
