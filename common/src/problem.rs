//! Problem details of the REST API (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Media type of the answer.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// Problem types are URIs below this one; the last segment is the stable word.
pub const TYPE_BASE: &str = "https://docs.astrocloud.dev/problems/";

/// What went wrong, for scripts (`type`, `status`) and people (`title`, `detail`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable URI of the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What was wrong in this very request, and what to do.
    pub detail: String,
}

impl Problem {
    /// A problem from its HTTP status, its stable word (`not_found`) and its sentence. The title is
    /// the word in plain writing.
    #[must_use]
    pub fn new(status: u16, word: &str, detail: impl Into<String>) -> Self {
        let mut title = word.replace('_', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self { kind: format!("{TYPE_BASE}{word}"), title, status, detail: detail.into() }
    }

    /// The stable word at the end of the type.
    #[must_use]
    pub fn word(&self) -> &str {
        self.kind.rsplit('/').next().unwrap_or(&self.kind)
    }
}
