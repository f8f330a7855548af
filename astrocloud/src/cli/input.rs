//! What people hand in: files, standard input, and a name typed to confirm.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use anyhow::Context as _;

use crate::exit::Usage;

/// A file's text, and what it is called; `-` is standard input.
///
/// # Errors
/// When it can't be read.
pub fn text(file: &Path) -> anyhow::Result<(String, String)> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input can't be read")?;
        return Ok((text, "standard input".to_owned()));
    }
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| Usage::new(format!("{name} can't be read: {e}")))?;
    Ok((text, name))
}

/// Whether a person types the name of the thing that is to be deleted, `with` what goes along.
///
/// # Errors
/// When nobody can be asked.
pub async fn confirmed(kind: &str, name: &str, with: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Usage::new(format!("this deletes the {kind} with {with}: add --yes if that is meant")).into());
    }
    let question = format!("This deletes {name} with {with}. Type its name to go on: ");
    let answer = tokio::task::spawn_blocking(move || {
        let terminal = console::Term::stderr();
        terminal.write_str(&question)?;
        terminal.read_line()
    });
    Ok(answer.await??.trim() == name)
}
