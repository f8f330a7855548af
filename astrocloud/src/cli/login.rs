//! `astrocloud login`.

use std::io::{IsTerminal as _, Read as _};

use anyhow::Context as _;
use clap::Args;
use common::secret::Secret;
use serde_json::json;
use url::Url;

use crate::client::Client;
use crate::config;
use crate::exit::{self, Usage};
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud login                                                    asks for the token
  astrocloud login --api https://api.example.com/ --token-stdin < token

`astrocloud up` logs in by itself. ASTROCLOUD_API and ASTROCLOUD_TOKEN win over what is remembered here.";
/// Longest token read from stdin, bytes.
const MAX_TOKEN: u64 = 4096;

/// Where, and with what.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Login {
    /// Address of the platform's API; by default the one that is used now
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// Read the token from stdin instead of asking for it
    #[arg(long)]
    token_stdin: bool,
    #[command(flatten)]
    format: Format,
}

/// Tries the token and remembers it.
pub async fn run(login: Login) -> anyhow::Result<u8> {
    let api: Url = match &login.api {
        Some(text) => config::api_url(text)?,
        None => config::api()?,
    };
    let path =
        config::path().context("neither XDG_CONFIG_HOME nor HOME is set: there is no place to remember a login")?;
    let token = if login.token_stdin { read_stdin()? } else { ask(&api).await? };
    if token.is_empty() {
        return Err(Usage::new("the token is empty").into());
    }
    let wanted = config::Login { api: api.clone(), token: Secret::new(token) };
    let system = Client::new(wanted.clone())?.system().await.map_err(|e| match e.word() {
        Some("unauthorized") => anyhow::anyhow!("{api} does not take this token"),
        _ => e.into(),
    })?;
    config::write(&path, &wanted)?;
    if login.format.json {
        output::json(&json!({ "api": api, "version": system.version, "config": path }))?;
    }
    output::say(&format!("Logged in to {api} (AstroCloud {}); remembered in {}", system.version, path.display()));
    Ok(exit::DONE)
}

fn read_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().take(MAX_TOKEN).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

async fn ask(api: &Url) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Usage::new("there is no terminal to ask for the token: give it on stdin with --token-stdin").into());
    }
    let question = format!("Token for {api}: ");
    let answer = tokio::task::spawn_blocking(move || {
        let terminal = console::Term::stderr();
        terminal.write_str(&question)?;
        terminal.read_secure_line()
    });
    Ok(answer.await??.trim().to_owned())
}
