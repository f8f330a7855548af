//! What an app answers to a fetch, or why it does not.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use http::response::Parts;

/// What an app answered.
pub struct Fetched {
    /// The final head.
    pub head: Parts,
    /// The body as it comes.
    pub body: BoxStream<'static, Result<Bytes, FetchError>>,
}

/// Why there is no answer of the app, or none that is whole. Cheap to clone: everybody who waits is told.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct FetchError {
    /// What a visitor may know.
    pub kind: Unanswered,
    /// What an operator wants to know.
    pub detail: Arc<str>,
}

impl FetchError {
    /// An error.
    #[must_use]
    pub fn new(kind: Unanswered, detail: &impl fmt::Display) -> Self {
        Self { kind, detail: detail.to_string().into() }
    }
}

/// Why an app gave no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// No instance of it runs.
    Unavailable,
    /// It could not be reached, or broke off.
    Broken,
    /// It took too long.
    TimedOut,
}
