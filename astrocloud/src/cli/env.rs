//! `astrocloud env`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use common::api::SetEnv;
use common::name::check_variable;
use common::secret::Secret;
use serde_json::json;

use super::project::ProjectArg;
use crate::client::Client;
use crate::exit::{self, Usage};
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud env set API_KEY=… --project shop
  astrocloud env ls --project shop
  astrocloud env unset API_KEY --project shop";
const SET_EXAMPLES: &str = "\
Examples:
  astrocloud env set API_KEY=… LEVEL=debug --project shop

Deployments from now on get them; `astrocloud redeploy` makes one. Values are masked in logs and never shown again.";
const UNSET_EXAMPLES: &str = "\
Examples:
  astrocloud env unset API_KEY --project shop";
const LS_EXAMPLES: &str = "\
Examples:
  astrocloud env ls --project shop
  astrocloud env ls --json | jq -r '.[].name'";

/// What to do with variables.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Env {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Set variables, all or none
    #[command(after_help = SET_EXAMPLES)]
    Set {
        /// Names and values
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = variable)]
        variables: Vec<(String, Secret)>,
        #[command(flatten)]
        project: ProjectArg,
        #[command(flatten)]
        format: Format,
    },
    /// Remove variables
    #[command(after_help = UNSET_EXAMPLES)]
    Unset {
        /// Names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        project: ProjectArg,
        #[command(flatten)]
        format: Format,
    },
    /// List the names of variables
    #[command(after_help = LS_EXAMPLES)]
    Ls {
        #[command(flatten)]
        project: ProjectArg,
        #[command(flatten)]
        format: Format,
    },
}

/// Parses `NAME=VALUE`. The value is kept out of messages.
pub fn variable(text: &str) -> Result<(String, Secret), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), Secret::new(value))),
        _ => Err("a variable is written as NAME=VALUE".to_owned()),
    }
}

/// Variables by name. A wrong name is a mistake in the arguments, which the argument parser would tell together
/// with the value.
pub fn checked(variables: Vec<(String, Secret)>) -> Result<BTreeMap<String, Secret>, Usage> {
    for (name, _) in &variables {
        check_variable(name).map_err(|e| Usage::new(e.to_string()))?;
    }
    Ok(variables.into_iter().collect())
}

/// Does it.
pub async fn run(env: Env, client: &Client) -> anyhow::Result<u8> {
    match env.action {
        Action::Set { variables, project, format } => {
            let variables = checked(variables)?;
            let project = project.name(client).await?;
            let names: Vec<String> = variables.keys().cloned().collect();
            client.set_env(&project, &SetEnv { variables }).await?;
            if format.json {
                output::json(&json!({ "project": project, "set": names }))?;
            }
            output::say(&format!("Set {} for deployments from now on", names.join(", ")));
        }
        Action::Unset { names, project, format } => {
            let project = project.name(client).await?;
            for name in &names {
                client.unset_env(&project, name).await?;
            }
            if format.json {
                output::json(&json!({ "project": project, "unset": names }))?;
            }
            output::say(&format!("Removed {}", names.join(", ")));
        }
        Action::Ls { project, format } => {
            let project = project.name(client).await?;
            let variables = client.env(&project).await?;
            if format.json {
                output::json(&variables)?;
            } else if variables.is_empty() {
                output::say(&format!("The project {project} has no variables"));
            } else {
                let rows: Vec<_> = variables.into_iter().map(|v| [v.name, output::ago(v.updated_at)]).collect();
                output::table(["NAME", "SET"], &rows)?;
            }
        }
    }
    Ok(exit::DONE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_value_may_hold_anything_and_is_not_shown() {
        let (name, value) = variable("URL=postgres://u:p@h/db?a=b").unwrap();
        assert_eq!((name.as_str(), value.reveal()), ("URL", "postgres://u:p@h/db?a=b"));
        assert_eq!(variable("EMPTY=").unwrap().1.reveal(), "");
        for wrong in ["NAME", "=value", ""] {
            assert!(!variable(wrong).unwrap_err().contains("value\""), "{wrong}");
        }
        let refusal = checked(vec![variable("A-B=hunter2").unwrap()]).unwrap_err().to_string();
        assert!(refusal.contains("`A-B`") && !refusal.contains("hunter2"), "{refusal}");
    }
}
