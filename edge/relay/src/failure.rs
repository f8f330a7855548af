//! Why an exchange with an app failed.

use std::io;

use wire::Malformed;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The app accepts no connection.
    #[error("it accepts no connection: {0}")]
    Connect(io::Error),
    /// The app closed a connection that had been kept before anything of its answer came: most likely before it saw
    /// the request.
    #[error("it closed a connection that had been kept")]
    Stale,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// The app ended its answer in the middle.
    #[error("it ended in the middle of its answer")]
    Short,
    /// The app was silent for too long.
    #[error("it was silent for too long")]
    Silent,
    /// What the app sent is no answer.
    #[error("its answer is malformed: {0}")]
    Malformed(#[from] Malformed),
}

impl Failure {
    /// Whether an idempotent request may be asked again on a new connection without a doubt.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        matches!(self, Self::Stale)
    }

    /// Whether it is the app's slowness.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Silent => true,
            Self::Connect(e) => e.kind() == io::ErrorKind::TimedOut,
            _ => false,
        }
    }
}
