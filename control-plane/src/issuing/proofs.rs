//! Proofs of control, shown by every edge and name server before an authority is told to look.
//!
//! Edges may hang on any control plane. So proofs go into the database, from which each control plane tells its edges,
//! and whoever placed the order waits until every edge shows them that was up to date within the last half minute. An
//! edge that is away is waited for so long, because visitors and authorities may still reach it; then it counts as gone.

use std::sync::Arc;
use std::time::Duration;

use acme::challenge::{Answer, ChallengeError, Challenges};
use async_trait::async_trait;
use common::certificate::Challenge;
use common::secret::KeyRing;
use common::time::Timestamp;
use tokio::sync::{Notify, watch};

use super::TxtRecords;
use crate::store::Store;
use crate::store::challenges::Shown;

/// Longest wait for the edges: longer than one that is away is waited for, shorter than what the engine allows a step.
const SHOWING: Duration = Duration::from_secs(50);
/// Characters of a challenge's id: 128 bits in hexadecimal.
const ID_CHARS: usize = 32;

/// The port's adapter for this installation.
pub(super) struct Proofs {
    store: Store,
    keys: KeyRing,
    records: Vec<Arc<dyn TxtRecords>>,
    /// Told of each change.
    changed: Arc<Notify>,
    shown: watch::Receiver<Shown>,
}

impl Proofs {
    pub(super) fn new(
        store: Store,
        keys: KeyRing,
        records: Vec<Arc<dyn TxtRecords>>,
        changed: Arc<Notify>,
        shown: watch::Receiver<Shown>,
    ) -> Self {
        Self { store, keys, records, changed, shown }
    }

    /// Has edges show challenges, and returns when all do.
    async fn show(&self, challenges: &[(String, Challenge)]) -> Result<(), ChallengeError> {
        if challenges.is_empty() {
            return Ok(());
        }
        let added = self.store.add_challenges(&self.keys, challenges, Timestamp::now()).await;
        let change = added.map_err(|e| ChallengeError(e.to_string()))?;
        self.changed.notify_one();
        let mut shown = self.shown.clone();
        let all = shown.wait_for(|shown| shown.edges > 0 && shown.change >= change);
        match tokio::time::timeout(SHOWING, all).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ChallengeError("the control plane stops".to_owned())),
            Err(_) => Err(ChallengeError(match self.shown.borrow().edges {
                0 => {
                    "no edge is connected to the control plane, so none shows the proof of control: look at the edges' \
                      logs"
                        .to_owned()
                }
                edges => format!(
                    "one of {edges} edges did not show the proof of control within {} s: look at the edges' logs",
                    SHOWING.as_secs()
                ),
            })),
        }
    }

    /// Whether a record can be set.
    pub(super) async fn serves(&self, record: &str) -> bool {
        self.server_of(record).await.is_ok()
    }

    /// Who sets a record.
    async fn server_of(&self, record: &str) -> Result<&dyn TxtRecords, ChallengeError> {
        for server in &self.records {
            if server.serves(record).await {
                return Ok(&**server);
            }
        }
        let remedies: Vec<String> = self.records.iter().filter_map(|server| server.remedy(record)).collect();
        Err(ChallengeError(format!(
            "the record {record} can't be set: its zone is neither served here nor held by a provider that is set{}",
            remedies.iter().map(|remedy| format!("; {remedy}")).collect::<String>()
        )))
    }
}

/// The same answer has the same id in every process.
fn id_of(answer: &Answer) -> Result<String, ChallengeError> {
    let text = serde_json::to_vec(answer).map_err(|e| ChallengeError(e.to_string()))?;
    let mut id = blake3::hash(&text).to_hex().to_string();
    id.truncate(ID_CHARS);
    Ok(id)
}

#[async_trait]
impl Challenges for Proofs {
    async fn publish(&self, answers: &[Answer]) -> Result<(), ChallengeError> {
        let mut challenges = Vec::new();
        for answer in answers {
            if let Some(challenge) = answer.for_edges().map_err(|e| ChallengeError(e.to_string()))? {
                challenges.push((id_of(answer)?, challenge));
            }
        }
        let records = answers.iter().filter_map(Answer::for_name_servers);
        let set = records.map(|(record, value)| async move { self.server_of(record).await?.set(record, value).await });
        tokio::try_join!(self.show(&challenges), futures::future::try_join_all(set))?;
        Ok(())
    }

    async fn withdraw(&self, answers: &[Answer]) -> Result<(), ChallengeError> {
        let ids: Vec<String> =
            answers.iter().filter(|answer| answer.for_name_servers().is_none()).map(id_of).collect::<Result<_, _>>()?;
        let withdrawn = async {
            if !ids.is_empty() {
                self.store.remove_challenges(&ids).await.map_err(|e| ChallengeError(e.to_string()))?;
                self.changed.notify_one();
            }
            Ok(())
        };
        let records = answers.iter().filter_map(Answer::for_name_servers);
        let removed =
            records.map(|(record, value)| async move { self.server_of(record).await?.remove(record, value).await });
        // Each is tried, also when another fails.
        let (withdrawn, removed) = tokio::join!(withdrawn, futures::future::join_all(removed));
        withdrawn?;
        removed.into_iter().collect()
    }
}
