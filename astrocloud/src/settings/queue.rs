//! What wakes deployers.

use anyhow::Context as _;
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
    pub ca_file: Maybe<String>,
}

impl Default for Queue {
    fn default() -> Self {
        let own = redis_queue::Settings::default();
        Self { url: Maybe(None), name: own.name, account_jobs: own.account_jobs, ca_file: Maybe(None) }
    }
}

impl Queue {
    /// The settings as the queue on Redis takes them.
    ///
    /// # Errors
    /// When the file of the authority can't be read.
    pub fn on_redis(&self) -> anyhow::Result<redis_queue::Settings> {
        let read = |file: &String| {
            std::fs::read_to_string(file).with_context(|| format!("queue.ca_file: {file} can't be read"))
        };
        let ca = self.ca_file.0.as_ref().map(read).transpose()?;
        Ok(redis_queue::Settings { name: self.name.clone(), account_jobs: self.account_jobs, ca })
    }
}
