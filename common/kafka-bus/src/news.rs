//! Who waits for a log's next record.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::bus::Topic;
use tokio::sync::watch;

/// Logs that somebody waits for.
#[derive(Default)]
pub(crate) struct News {
    waiting: Mutex<HashMap<Topic, watch::Sender<()>>>,
}

impl News {
    /// Hears of the log from now on.
    pub fn hear(&self, topic: &Topic) -> watch::Receiver<()> {
        self.lock().entry(topic.clone()).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Something is new in these logs.
    pub fn tell<'a>(&self, topics: impl IntoIterator<Item = &'a Topic>) {
        let waiting = self.lock();
        for topic in topics {
            if let Some(listeners) = waiting.get(topic) {
                listeners.send_replace(());
            }
        }
    }

    /// Forgets a log that nobody waits for any more.
    pub fn tidy(&self, topic: &Topic) {
        let mut waiting = self.lock();
        if waiting.get(topic).is_some_and(|listeners| listeners.receiver_count() == 0) {
            waiting.remove(topic);
        }
    }

    /// Held for looking up and sending only.
    fn lock(&self) -> MutexGuard<'_, HashMap<Topic, watch::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
