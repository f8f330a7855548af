//! What the tests share: authorities, edges that answer them, and an engine on top.

use std::sync::Arc;
use std::time::Duration;

use acme::authority::Authority;
use acme::challenge::{Challenges, Method};
use acme::client::Client;
use acme::clock::{Clock, Manual};
use acme::entry::{Current, Entry, Track};
use acme::limits::Limits;
use acme::manager::{Line, Manager};
use acme::store::Store;
use acme::store::memory::Memory;
use common::secret::{KeyRing, MasterKey};
use common::time::Timestamp;

pub mod edges;
pub mod pebble;
pub mod small;

pub use edges::Edges;
pub use pebble::{Options, Pebble};
pub use small::Small;

/// Long enough on a busy machine; a test that needs it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn keys() -> KeyRing {
    master_key().into()
}

/// The master key of this run.
pub fn master_key() -> MasterKey {
    static KEY: std::sync::OnceLock<MasterKey> = std::sync::OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        MasterKey::load_or_create(&folder.path().join("master.key")).unwrap()
    };
    KEY.get_or_init(make).clone()
}

/// An engine with what belongs to it.
pub struct Engine {
    pub manager: Manager,
    pub store: Arc<dyn Store>,
    pub clock: Arc<Manual>,
}

/// An engine with authorities in order, each with the one to rehearse with.
pub fn engine(
    store: Arc<dyn Store>,
    challenges: &Arc<dyn Challenges>,
    authorities: Vec<(Authority, Option<Authority>)>,
) -> Engine {
    engine_with(keys(), store, challenges, authorities)
}

/// The same, with these master keys.
pub fn engine_with(
    keys: KeyRing,
    store: Arc<dyn Store>,
    challenges: &Arc<dyn Challenges>,
    authorities: Vec<(Authority, Option<Authority>)>,
) -> Engine {
    let clock = Arc::new(Manual::new(Timestamp::now()));
    let manager = manager(keys, store.clone(), challenges, authorities, clock.clone());
    Engine { manager, store, clock }
}

/// A manager by a clock.
pub fn manager(
    keys: KeyRing,
    store: Arc<dyn Store>,
    challenges: &Arc<dyn Challenges>,
    authorities: Vec<(Authority, Option<Authority>)>,
    clock: Arc<dyn Clock>,
) -> Manager {
    let client = |authority: Authority| -> Arc<Client> {
        Arc::new(Client::new(authority, store.clone(), challenges.clone(), keys.clone(), clock.clone()).unwrap())
    };
    let line = |(authority, rehearsal): (Authority, Option<Authority>)| Line {
        authority: authority.id.clone(),
        limits: Limits::clone(&authority.limits),
        issuer: client(authority),
        rehearsal: rehearsal.map(|authority| client(authority) as _),
    };
    let lines = authorities.into_iter().map(line).collect();
    Manager::new(store.clone(), keys.clone(), clock.clone(), lines)
}

impl Engine {
    pub fn new(challenges: &Arc<dyn Challenges>, authorities: Vec<(Authority, Option<Authority>)>) -> Self {
        engine(Arc::new(Memory::default()), challenges, authorities)
    }

    pub async fn want(&self, names: &[&str], methods: &[Method]) {
        self.manager.want(names.iter().map(|n| (*n).to_owned()).collect(), methods.to_vec()).await.unwrap();
    }

    /// Works until nothing is left to be done now; authorities that say "wait" are waited for, by moving the clock.
    pub async fn settle(&self) {
        let settled = async {
            while let Some(next) = self.manager.work().await.unwrap() {
                if next.since(self.clock.now()) > Duration::from_secs(30) {
                    break;
                }
                self.clock.set(next);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("the engine comes to rest");
    }

    pub async fn entry(&self, name: &str) -> Entry {
        self.store.entry(name).await.unwrap().unwrap()
    }

    /// The certificate that a name has, once the engine came to rest.
    pub async fn issued(&self, name: &str) -> Current {
        self.settle().await;
        let entry = self.entry(name).await;
        assert!(matches!(entry.track, Track::Active { .. }), "{:?}", entry.track);
        assert_eq!(entry.order, None);
        entry.current.unwrap()
    }
}
