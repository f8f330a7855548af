//! What wakes deployers.

use redis_queue::Address;
use serde::{Deserialize, Serialize};

use super::Maybe;

/// What wakes deployers; a queue within the process when the address is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Queue {
    pub url: Maybe<Address>,
    pub name: String,
    pub account_jobs: u32,
}

impl Default for Queue {
    fn default() -> Self {
        let own = redis_queue::Settings::default();
        Self { url: Maybe(None), name: own.name, account_jobs: own.account_jobs }
    }
}

impl Queue {
    /// The settings as the queue on Redis takes them.
    pub fn on_redis(&self) -> redis_queue::Settings {
        redis_queue::Settings { name: self.name.clone(), account_jobs: self.account_jobs }
    }
}
