//! `astrocloud deploy`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use common::api::{Deployment, NewDeployment, SetEnv};
use common::deployment::Kind;
use common::name::ProjectName;
use common::project::Settings;
use common::secret::Secret;
use common::source::Source;

use super::source::Given;
use super::watch::{self, Summary};
use super::{client, env};
use crate::archive;
use crate::client::Client;
use crate::exit::{self, Usage};
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud deploy                                     this folder
  astrocloud deploy site.zip --project shop             an archive
  astrocloud deploy https://host/repo.git --branch main a repository
  astrocloud deploy . --type node --start-command 'node server.js' --env API_KEY=…
  URL=$(astrocloud deploy . --project shop)             stdout is the address alone

What is not given is as in the project's settings, else detected; a flag counts for this deployment alone. An empty
install or build command skips that step. Exit code 0: live. 1: the build or start failed. 2: wrong arguments.";

/// What to deploy, and how.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Deploy {
    /// A folder, a ZIP archive, or the http(s) address of a git repository
    #[arg(default_value = ".")]
    source: String,
    /// Name of the project, made when there is none; by default like the folder, archive or repository
    #[arg(long, short, value_name = "NAME")]
    project: Option<ProjectName>,
    /// What it is: files to serve, or a Node.js server
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(["static", "node"])
        .map(|word| if word == "node" { Kind::Node } else { Kind::Static }))]
    kind: Option<Kind>,
    /// Folder of the app inside the source
    #[arg(long, value_name = "DIR", value_parser = root_dir)]
    root_dir: Option<String>,
    /// Shell command that installs dependencies
    #[arg(long, value_name = "COMMAND")]
    install_command: Option<String>,
    /// Shell command that builds
    #[arg(long, value_name = "COMMAND")]
    build_command: Option<String>,
    /// Shell command that starts the server, which listens at $PORT
    #[arg(long, value_name = "COMMAND")]
    start_command: Option<String>,
    /// Folder with the built site, relative to the root folder
    #[arg(long, value_name = "DIR")]
    output_dir: Option<String>,
    /// Branch of the repository; its default branch when absent
    #[arg(long)]
    branch: Option<String>,
    /// Path that must answer before a server gets traffic
    #[arg(long, value_name = "PATH", value_parser = health_path)]
    health_path: Option<String>,
    /// Environment variable of build and app, kept for later deployments; can be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = env::variable)]
    variables: Vec<(String, Secret)>,
    #[command(flatten)]
    format: Format,
}

fn health_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err(format!("a path begins with a slash: /{text}")) }
}

fn root_dir(text: &str) -> Result<String, String> {
    let inside = Path::new(text).components().all(|part| matches!(part, Component::CurDir | Component::Normal(_)));
    if inside { Ok(text.to_owned()) } else { Err("it is a folder inside the source, such as apps/web".to_owned()) }
}

/// Deploys and follows the deployment to its end.
pub async fn run(mut deploy: Deploy) -> anyhow::Result<u8> {
    let begun = Instant::now();
    let variables = env::checked(std::mem::take(&mut deploy.variables))?;
    let given = Given::find(&deploy.source)?;
    if deploy.branch.is_some() && !matches!(given, Given::Git(_)) {
        return Err(Usage::new("--branch is for git repositories: a folder or an archive is deployed as it is").into());
    }
    let project = match &deploy.project {
        Some(name) => name.clone(),
        None => given.project()?,
    };
    let format = deploy.format;
    let outcome = async {
        let client = client()?;
        let deployment = ask(deploy, variables, given, &project, &client).await?;
        watch::to_end(&client, deployment, begun, format).await
    };
    let outcome = outcome.await;
    if let Err(e) = &outcome
        && format.json
        && !e.is::<Usage>()
        && !e.is::<watch::Told>()
    {
        output::json(&Summary::refused(&project, begun, &exit::sentence(e)))?;
    }
    outcome
}

/// Packs, uploads and asks for the deployment.
async fn ask(
    deploy: Deploy,
    variables: BTreeMap<String, Secret>,
    given: Given,
    project: &ProjectName,
    client: &Client,
) -> anyhow::Result<Deployment> {
    let label = given.label();
    let archive = match &given {
        Given::Folder(folder) => Some(pack(folder.clone()).await?),
        Given::Zip(path) => {
            let file = std::fs::File::open(path).with_context(|| format!("{} can't be read", path.display()))?;
            let bytes = file.metadata()?.len();
            Some((file, bytes))
        }
        Given::Git(_) => None,
    };
    let mut remembered = client.ensure_project(project).await?.settings;
    if archive.is_some() {
        remembered.branch = None;
    }
    if !variables.is_empty() {
        client.set_env(project, &SetEnv { variables }).await?;
    }
    let source = match (given, archive) {
        (Given::Git(url), _) => Source::Git { url, branch: deploy.branch.clone(), commit: None },
        (_, Some((file, bytes))) => upload(client, file, bytes, label).await?,
        (_, None) => anyhow::bail!("there is nothing to upload"),
    };
    let settings = Settings {
        kind: deploy.kind,
        root_dir: deploy.root_dir,
        install_command: deploy.install_command,
        build_command: deploy.build_command,
        start_command: deploy.start_command,
        output_dir: deploy.output_dir,
        branch: deploy.branch,
        health_path: deploy.health_path,
    };
    tell_remembered(&remembered, &settings);
    Ok(client.deploy(project, &NewDeployment { source, settings }).await?)
}

/// Says which settings count though they were not given now: nobody looks for them otherwise when a build goes wrong.
fn tell_remembered(remembered: &Settings, given: &Settings) {
    let kind = |settings: &Settings| settings.kind.map(|kind| kind.as_str().to_owned());
    let flags = [
        ("--type", kind(remembered), kind(given)),
        ("--root-dir", remembered.root_dir.clone(), given.root_dir.clone()),
        ("--install-command", remembered.install_command.clone(), given.install_command.clone()),
        ("--build-command", remembered.build_command.clone(), given.build_command.clone()),
        ("--start-command", remembered.start_command.clone(), given.start_command.clone()),
        ("--output-dir", remembered.output_dir.clone(), given.output_dir.clone()),
        ("--branch", remembered.branch.clone(), given.branch.clone()),
        ("--health-path", remembered.health_path.clone(), given.health_path.clone()),
    ];
    let told: Vec<String> = flags
        .into_iter()
        .filter_map(|(flag, remembered, given)| match (remembered, given) {
            (Some(value), None) => Some(format!("{flag} '{value}'")),
            _ => None,
        })
        .collect();
    if !told.is_empty() {
        output::say(&format!("With the project's settings: {}", told.join(" ")));
    }
}

async fn pack(folder: PathBuf) -> anyhow::Result<(std::fs::File, u64)> {
    let progress = output::progress("Packing", None);
    let bar = progress.clone();
    let archive = tokio::task::spawn_blocking(move || archive::pack(&folder, &bar)).await?;
    progress.finish_and_clear();
    let archive = match archive {
        Ok(archive) => archive,
        Err(e @ archive::ArchiveError::Empty { .. }) => return Err(Usage::new(e.to_string()).into()),
        Err(e) => return Err(e.into()),
    };
    for path in archive.left_out {
        output::warning(&format!("{} is neither a file, a folder nor a link, and is left out", path.display()));
    }
    let files = if archive.files == 1 { "file" } else { "files" };
    output::say(&format!("Packed {} {files}, {}", archive.files, output::size(archive.bytes)));
    Ok((archive.file, archive.bytes))
}

async fn upload(client: &Client, file: std::fs::File, bytes: u64, label: Option<String>) -> anyhow::Result<Source> {
    let upload = client.upload().await?;
    if bytes > upload.max_bytes {
        anyhow::bail!(
            "the archive is {}, more than the {} that the platform takes: leave out what is not source, with .astrocloudignore",
            output::size(bytes),
            output::size(upload.max_bytes)
        );
    }
    let progress = output::progress("Uploading", Some(bytes));
    let put = client.put(&upload, file, bytes, progress.clone()).await;
    progress.finish_and_clear();
    put?;
    Ok(Source::Upload { upload: upload.id, label })
}
