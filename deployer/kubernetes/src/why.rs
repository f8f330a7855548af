//! Why an app did not start, as its developer is told: with the last lines that it said, and with what the node saw.

use std::time::Duration;

use common::ledger::App;
use common::registry::RegistryError;
use common::runtime::StartError;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams, LogParams};
use logs::Mask;

use crate::cluster::{Cluster, ClusterError, ask};
use crate::judge::Fault;
use crate::lines;
use crate::names::{CONTAINER, PORT};

/// Last lines that are told.
const LINES: i64 = 20;
/// Characters of a line that are told.
const CHARS: usize = 300;
/// What a node says of an app that does not listen.
const REFUSED: &str = "connection refused";

/// Who asks the cluster why.
pub(crate) struct Why<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) namespace: &'a str,
    pub(crate) app: &'a App,
}

impl Why<'_> {
    /// A fault as an error.
    pub(crate) async fn broken(&self, fault: Fault) -> StartError {
        match fault {
            Fault::ImageMissing { .. } => RegistryError::NotFound(self.app.image.clone()).into(),
            Fault::Image { pod, detail } => {
                // Later words of the node say only that it waits.
                let told = self.event(&pod, |event| text(&event.message).contains("pull image")).await;
                let detail = told.filter(|told| told.len() > detail.len()).unwrap_or(detail);
                if detail.contains("not found") {
                    return RegistryError::NotFound(self.app.image.clone()).into();
                }
                StartError::ImagePull(detail)
            }
            Fault::Refused(detail) => StartError::Cluster(detail),
            Fault::Quota(detail) => StartError::Quota(detail),
            Fault::Ended { pod, how, restarted } => {
                StartError::Exited { how, last_lines: self.last_lines(&pod, restarted).await }
            }
        }
    }

    /// Why an app that runs is not healthy.
    pub(crate) async fn unhealthy(&self, pods: &[std::sync::Arc<Pod>], within: Duration) -> StartError {
        let mut seen = None;
        for pod in pods {
            let name = pod.metadata.name.clone().unwrap_or_default();
            seen = self.event(&name, |event| event.reason.as_deref() == Some("Unhealthy")).await;
            if seen.is_some() {
                break;
            }
        }
        let seen = seen.unwrap_or_default();
        match &self.app.health_path {
            Some(path) if !seen.contains(REFUSED) => {
                StartError::Unhealthy { path: path.clone(), last: last_try(&seen), within }
            }
            _ => StartError::NeverListened { port: PORT, within, hint: None },
        }
    }

    /// The newest event of a pod that is of this kind.
    async fn event(&self, pod: &str, is: impl Fn(&Event) -> bool) -> Option<String> {
        let api: Api<Event> = Api::namespaced(self.cluster.client(), self.namespace);
        let of_pod = ListParams::default().fields(&format!("involvedObject.kind=Pod,involvedObject.name={pod}"));
        match ask("events of a pod", api.list(&of_pod)).await {
            Ok(events) => {
                // Times are in whole seconds: of two in one, the one that tells of an answer says more.
                let newest = |event: &&Event| {
                    let time = event.last_timestamp.as_ref().map(|time| time.0);
                    (time, !text(&event.message).contains(REFUSED))
                };
                events.items.iter().filter(|event| is(event)).max_by_key(newest).and_then(|event| event.message.clone())
            }
            Err(e) => {
                tracing::warn!(pod, error = %e, "what the node saw can't be read");
                None
            }
        }
    }

    /// What the container that ended said last. Its node may have started the next one by now, so it is looked for as the
    /// one before first; `restarted` says that it is that one.
    async fn last_lines(&self, pod: &str, restarted: bool) -> Vec<String> {
        let before = self.tail(pod, true).await;
        match before {
            Ok(lines) if restarted || !lines.is_empty() => return lines,
            Err(e) if restarted => return vec![untold(&e)],
            _ => {}
        }
        self.tail(pod, false).await.unwrap_or_else(|e| vec![untold(&e)])
    }

    async fn tail(&self, pod: &str, previous: bool) -> Result<Vec<String>, ClusterError> {
        let api: Api<Pod> = Api::namespaced(self.cluster.client(), self.namespace);
        let params = LogParams {
            container: Some(CONTAINER.to_owned()),
            previous,
            tail_lines: Some(LINES),
            timestamps: true,
            ..LogParams::default()
        };
        let mask = Mask::new(self.app.env.values());
        let told = |line: &str| {
            let text = lines::parse(line).map_or(line, |(_, text)| text);
            mask.apply(text).chars().take(CHARS).collect()
        };
        let log = ask("the log of a pod", api.logs(pod, &params)).await?;
        Ok(log.lines().map(told).collect())
    }
}

fn untold(error: &ClusterError) -> String {
    format!("(The node does not tell its log: {error}.)")
}

/// How a node's try of a health check ended, out of its words.
fn last_try(seen: &str) -> String {
    match seen.rsplit_once("statuscode: ") {
        Some((_, status)) => format!("was answered with status {status} where the cluster wants one from 200 to 399"),
        None if seen.contains("deadline exceeded") || seen.contains("Timeout") => "was not answered in time".to_owned(),
        None if seen.is_empty() => "was not answered well".to_owned(),
        None => format!("ended so: {seen}"),
    }
}

fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_health_check_is_told_in_words() {
        let told = last_try("Startup probe failed: HTTP probe failed with statuscode: 503");
        assert!(told.starts_with("was answered with status 503"), "{told}");
        let late = "Readiness probe failed: Get \"http://10.1.0.4:8080/\": context deadline exceeded";
        assert_eq!(last_try(late), "was not answered in time");
    }
}
