//! Deleting what has a name, once a person meant it.

use serde_json::json;

use super::input;
use crate::exit;
use crate::output::{self, Format};

/// What is to be deleted.
pub struct Removal<'a> {
    /// What it is.
    pub kind: &'a str,
    /// Its name, which a person types to confirm.
    pub name: &'a str,
    /// What goes along with it.
    pub with: &'a str,
    /// Whether nobody is asked.
    pub yes: bool,
}

/// Deletes it.
///
/// # Errors
/// When nobody can be asked, or it can't be deleted.
pub async fn carry_out(
    Removal { kind, name, with, yes }: Removal<'_>,
    format: Format,
    delete: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<u8> {
    if !yes && !input::confirmed(kind, name, with).await? {
        output::say("Nothing was deleted");
        return Ok(exit::FAILED);
    }
    delete().await?;
    if format.json {
        output::json(&json!({ kind: name, "removed": true }))?;
    }
    output::say(&format!("Deleted {name}"));
    Ok(exit::DONE)
}
