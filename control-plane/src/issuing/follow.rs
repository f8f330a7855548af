//! Tells this control plane's edges what any control plane changed of certificates and challenges, and knows how far all
//! edges are.

use std::sync::Arc;
use std::time::Duration;

use common::secret::KeyRing;
use common::time::Timestamp;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;

use crate::feed::Hub;
use crate::store::challenges::{Changes, Shown};
use crate::store::{Store, StoreError};

/// Time between two looks at what other control planes changed: news reach every edge well within a second.
const EVERY: Duration = Duration::from_millis(250);
/// Wait after the database failed.
const RETRY: Duration = Duration::from_secs(2);
/// Time between two notes of which edges are up to date.
const NOTE: Duration = Duration::from_secs(5);
/// How long an edge that is away is waited for: it comes back within seconds when it is the network or the control plane
/// that failed.
const AWAY: Duration = Duration::from_secs(30);

/// Follows the database. What it asks each time is cheap: two counters, and a row for each edge.
pub(super) struct Follower {
    store: Store,
    keys: KeyRing,
    hub: Hub,
    changed: Arc<Notify>,
    shown: watch::Sender<Shown>,
    told: Mutex<Told>,
}

/// What the edges of this control plane were told.
#[derive(Default)]
struct Told {
    names: i64,
    /// None before the first.
    challenges: Option<i64>,
    noted: Option<Instant>,
}

impl Follower {
    /// A follower that has told everything that is there now.
    pub(super) async fn start(store: Store, keys: KeyRing, hub: Hub, changed: Arc<Notify>) -> Result<Self, StoreError> {
        let follower =
            Self { store, keys, hub, changed, shown: watch::channel(Shown::default()).0, told: Mutex::default() };
        follower.look().await?;
        Ok(follower)
    }

    /// How far all edges are that an authority may ask.
    pub(super) fn shown(&self) -> watch::Receiver<Shown> {
        self.shown.subscribe()
    }

    /// Follows for ever.
    pub(super) async fn run(&self) {
        let mut is_away = false;
        loop {
            let woken = self.changed.notified();
            let wait = match self.look().await {
                Ok(()) => {
                    is_away = false;
                    EVERY
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(%error, "edges hear no news of certificates until the database is back");
                    }
                    RETRY
                }
            };
            let _ = tokio::time::timeout(wait, woken).await;
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        let mut told = self.told.lock().await;
        // Read before what it is the number of, so that nothing is taken for told that is not.
        let Changes { names, challenges } = self.store.changes().await?;
        if names != told.names {
            let news = self.store.changed_names(told.names).await?;
            let last = news.last().map(|news| news.change);
            self.hub
                .issue(news.into_iter().map(|news| (news.name, news.certificate)).collect(), Timestamp::now())
                .await;
            told.names = last.unwrap_or(names);
        }
        if Some(challenges) != told.challenges {
            self.hub.set_challenges(challenges, self.store.challenges(&self.keys).await?).await;
            told.challenges = Some(challenges);
        }
        let now = Timestamp::now();
        if told.noted.is_none_or(|at| at.elapsed() >= NOTE) {
            self.hub.note_edges().await?;
            told.noted = Some(Instant::now());
        }
        let shown = self.store.shown(now.before(AWAY)).await?;
        self.shown.send_if_modified(|before| std::mem::replace(before, shown) != shown);
        Ok(())
    }
}
