//! `astrocloud policy`.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use common::api::EdgePolicy;
use common::name::ProjectName;
use serde_json::Value;

use super::input;
use super::project::ProjectArg;
use crate::client::Client;
use crate::exit::{self, Usage};
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud policy show --project shop > policy.toml
  astrocloud policy set policy.toml --project shop
  astrocloud policy edit --project shop

A policy says how visitors are treated: HTTPS, logins, timeouts of the app, caching, limits, addresses and rules.";
const SHOW_EXAMPLES: &str = "\
Examples:
  astrocloud policy show --project shop
  astrocloud policy show --project shop --json | jq .limits";
const SET_EXAMPLES: &str = "\
Examples:
  astrocloud policy set policy.toml --project shop
  echo '{\"https\": {\"redirect\": true}}' | astrocloud policy set - --merge --project shop
  echo '{\"limits\": null}' | astrocloud policy set - --merge --project shop

A file is JSON or TOML. A user without `password` keeps the one that was set. It counts when the command returns.";
const EDIT_EXAMPLES: &str = "\
Examples:
  EDITOR=nano astrocloud policy edit --project shop";

/// Editor when neither VISUAL nor EDITOR names one.
const EDITOR: &str = "vi";

/// What to do with a policy.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Policy {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show how a project's visitors are treated, defaults included
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        #[command(flatten)]
        project: ProjectArg,
        #[command(flatten)]
        format: Format,
    },
    /// Set how a project's visitors are treated
    #[command(after_help = SET_EXAMPLES)]
    Set {
        /// JSON or TOML; - reads standard input
        file: PathBuf,
        /// Change what the file says, and leave the rest; null in JSON takes back
        #[arg(long)]
        merge: bool,
        #[command(flatten)]
        project: ProjectArg,
        #[command(flatten)]
        format: Format,
    },
    /// Change how a project's visitors are treated in an editor
    #[command(after_help = EDIT_EXAMPLES)]
    Edit {
        #[command(flatten)]
        project: ProjectArg,
        #[command(flatten)]
        format: Format,
    },
}

/// Does it.
pub async fn run(policy: Policy, client: &Client) -> anyhow::Result<u8> {
    match policy.action {
        Action::Show { project, format } => {
            let project = project.name(client).await?;
            show(&client.policy(&project).await?, format)?;
        }
        Action::Set { file, merge, project, format } => {
            let (text, name) = input::text(&file)?;
            let document = document(&text, &name)?;
            let project = project.name(client).await?;
            let set = client.set_policy(&project, &document, merge).await?;
            done(&project, &set, format)?;
        }
        Action::Edit { project, format } => {
            let project = project.name(client).await?;
            return edit(&project, format, client).await;
        }
    }
    Ok(exit::DONE)
}

fn show(policy: &EdgePolicy, format: Format) -> anyhow::Result<()> {
    if format.json {
        return output::json(policy);
    }
    Ok(output::line(toml::to_string(policy)?.trim_end())?)
}

fn done(project: &ProjectName, policy: &EdgePolicy, format: Format) -> anyhow::Result<()> {
    if format.json {
        output::json(policy)?;
    }
    output::say(&format!("Visitors of {project} meet it from now on"));
    Ok(())
}

/// A policy as it stands in a file. The platform knows what may be in it.
fn document(text: &str, name: &str) -> Result<Value, Usage> {
    let wrong = |e: &dyn std::fmt::Display| Usage::new(format!("{name} is wrong: {e}"));
    if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|e| wrong(&e))
    } else {
        toml::from_str(text).map_err(|e| wrong(&e))
    }
}

async fn edit(project: &ProjectName, format: Format, client: &Client) -> anyhow::Result<u8> {
    let before = toml::to_string(&client.policy(project).await?)?;
    let mut file = tempfile::Builder::new().prefix(&format!("policy-of-{project}-")).suffix(".toml").tempfile()?;
    file.write_all(before.as_bytes())?;
    let path = file.into_temp_path();
    let editor = ["VISUAL", "EDITOR"].iter().filter_map(|name| std::env::var(name).ok()).find(|name| !name.is_empty());
    let editor = editor.unwrap_or_else(|| EDITOR.to_owned());
    // An editor's variable may hold arguments, so a shell reads it; the path is an argument of its own.
    let status = tokio::process::Command::new("/bin/sh")
        .args(["-c", &format!("{editor} \"$1\""), "editor"])
        .arg(&path)
        .status()
        .await
        .with_context(|| format!("the editor `{editor}` can't be started"))?;
    if !status.success() {
        anyhow::bail!("the editor `{editor}` failed: nothing was changed");
    }
    let after = std::fs::read_to_string(&path)?;
    if after == before {
        output::say("Nothing was changed");
        return Ok(exit::DONE);
    }
    let set =
        async { Ok::<_, anyhow::Error>(client.set_policy(project, &document(&after, "the text")?, false).await?) };
    match set.await {
        Ok(set) => done(project, &set, format)?,
        Err(e) => {
            let kept = path.keep()?;
            output::say(&format!("Nothing was changed; the text is kept in {}", kept.display()));
            return Err(e);
        }
    }
    Ok(exit::DONE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_is_written_as_json_or_toml() {
        let wanted = json!({ "https": { "redirect": true }, "rules": [{ "name": "a", "then": "log" }] });
        assert_eq!(document(&wanted.to_string(), "x").unwrap(), wanted);
        let toml = "[https]\nredirect = true\n[[rules]]\nname = \"a\"\nthen = \"log\"\n";
        assert_eq!(document(toml, "x").unwrap(), wanted);
        assert!(document("{", "x.json").unwrap_err().to_string().contains("x.json"));
        assert!(document("a = ", "x.toml").unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn what_is_shown_can_be_set_again() {
        let policy: EdgePolicy = serde_json::from_value(json!({
            "https": { "hsts": { "max_age_s": 60 } },
            "protection": [{ "path": "/", "users": [{ "user": "ada", "password_set": true }] }],
            "access": { "deny": ["10.0.0.0/8"] },
            "rules": [
                { "name": "a", "if": { "paths": ["/x*"] }, "then": { "rate_limit": { "requests": 1, "per_s": 1, "by": { "header": "a" } } } },
                { "name": "b", "then": { "redirect": { "to": "/", "status": 301 } } },
                { "name": "c", "then": "log" },
            ],
        }))
        .unwrap();
        let shown = toml::to_string(&policy).unwrap();
        let again: EdgePolicy = serde_json::from_value(document(&shown, "x").unwrap()).unwrap();
        assert_eq!(again, policy, "{shown}");
    }
}
