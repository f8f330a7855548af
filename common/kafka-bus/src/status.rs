//! Whether Kafka answers, as people are told.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::bus::Away;
use common::time::Timestamp;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;

/// Longest pause between two tries to connect.
pub(crate) const RECONNECT: Duration = Duration::from_secs(2);

/// The state of one side: what writes, or what reads.
pub(crate) struct Status {
    /// What it is called in our log.
    side: &'static str,
    away: watch::Sender<Option<Away>>,
    /// What librdkafka said last about a connection.
    last: Mutex<Option<String>>,
}

impl Status {
    pub fn new(side: &'static str) -> Self {
        Self { side, away: watch::Sender::new(None), last: Mutex::default() }
    }

    /// Why it can't work, if so; now and as it changes.
    pub fn away(&self) -> watch::Receiver<Option<Away>> {
        self.away.subscribe()
    }

    /// It can't work, and is tried again after `pause`.
    pub fn fails(&self, reason: impl Into<String>, pause: Duration) {
        let (now, reason) = (Timestamp::now(), reason.into());
        let retry_at = now.after(pause);
        self.away.send_if_modified(|away| {
            let since = away.as_ref().map_or(now, |earlier| earlier.since);
            if away.as_ref().is_none_or(|earlier| earlier.reason != reason) {
                tracing::warn!(side = self.side, reason, %since, %retry_at, "Kafka can't be used");
            }
            *away = Some(Away { reason, since, retry_at });
            true
        });
    }

    /// It works.
    pub fn works(&self) {
        self.away.send_if_modified(|away| {
            let Some(earlier) = away.take() else { return false };
            let seconds = Timestamp::now().since(earlier.since).as_secs();
            tracing::info!(side = self.side, after_s = seconds, "Kafka can be used again");
            true
        });
    }

    /// What librdkafka said last about a connection.
    pub fn last(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears what librdkafka says of its connections.
pub(crate) struct Context(pub std::sync::Arc<Status>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // It repeats itself with every try; what matters comes by `error`.
        tracing::debug!(side = self.0.side, level = ?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(side = self.0.side, error = %error, reason, "librdkafka");
        *self.0.lock() = Some(reason.to_owned());
        // What waiting does not mend.
        if matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL)) {
            self.0.fails(format!("Kafka refused the login: {reason}"), RECONNECT);
        }
    }
}

impl ConsumerContext for Context {}
