//! What edges count of visitors' requests, on its way into the database.

use std::time::Duration;

use common::time::Timestamp;
use common::usage::Usage;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// How long counts are kept: three months, so that a month can be compared with the one before.
pub const RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Length of the span that is counted together.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Reports that wait for the database. Edges send one each ten seconds, so this is minutes of many edges.
const WAITING: usize = 1024;

/// When the hour of a time began.
#[must_use]
pub fn hour(time: Timestamp) -> Timestamp {
    let span = i64::try_from(HOUR.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().div_euclid(span) * span)
}

/// Takes reports of edges. Cheap to clone.
#[derive(Clone)]
pub struct Counts(mpsc::Sender<(Timestamp, Vec<Usage>)>);

impl Counts {
    /// Takes reports, and the task that stores them until `stop`, those that wait included.
    pub fn start(store: Store, stop: CancellationToken) -> (Self, impl Future<Output = ()>) {
        let (sender, reports) = mpsc::channel(WAITING);
        (Self(sender), keep(store, reports, stop))
    }

    /// Takes what an edge counted.
    pub fn report(&self, projects: Vec<Usage>) {
        if !projects.is_empty() && self.0.try_send((hour(Timestamp::now()), projects)).is_err() {
            tracing::error!("usage of projects is lost: the database takes too long");
        }
    }
}

async fn keep(store: Store, mut reports: mpsc::Receiver<(Timestamp, Vec<Usage>)>, stop: CancellationToken) {
    loop {
        let report = tokio::select! {
            report = reports.recv() => report,
            () = stop.cancelled() => {
                reports.close();
                reports.recv().await
            }
        };
        let Some((hour, projects)) = report else { return };
        if let Err(e) = store.add_usage(hour, &projects).await {
            tracing::error!(error = %e, projects = projects.len(), "usage of projects is lost");
        }
    }
}
