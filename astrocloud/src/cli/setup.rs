//! `astrocloud setup`: makes ready once what the platform needs outside.

use std::path::PathBuf;

use azure_blob::Made;
use clap::Args;
use serde_json::json;
use url::{Origin, Url};

use crate::backends;
use crate::exit::{self, Usage};
use crate::output::{self, Format};
use crate::process::reachable;
use crate::settings::{Settings, StoreUrl};

const EXAMPLES: &str = "\
Examples:
  astrocloud setup --config astrocloud.toml --origin https://cloud.example.com
  ASTROCLOUD_OBJECTS_URL=azure://acme1/sites ASTROCLOUD_OBJECTS_IDENTITY=key AZURE_STORAGE_KEY=… astrocloud setup

Makes the container of objects.url, lets pages of the dashboards upload to it (CORS), and checks what this identity may
do. It changes only what is not so yet, so it can be run again at any time.";

/// What is set up.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Setup {
    /// Where browsers have the dashboards from, like https://cloud.example.com [default: where the API listens]
    #[arg(long, value_name = "URL")]
    origin: Vec<Url>,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

/// Does it.
pub fn run(setup: &Setup) -> anyhow::Result<u8> {
    let loaded = Settings::load(setup.config.as_deref(), std::env::vars())?;
    for warning in &loaded.warnings {
        output::warning(warning);
    }
    let settings = loaded.settings;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut steps = Steps { as_json: setup.format.json, done: Vec::new() };
    let Some(StoreUrl::Azure(address)) = &settings.objects.url.0 else {
        steps.tell("none", "Sites, uploads and sources are kept in a folder: there is nothing to set up.")?;
        return steps.end();
    };
    let blob = backends::azure(&settings, address)?;
    runtime.block_on(async {
        let container = blob.address();
        let made = blob.make_container().await?;
        steps.tell(
            "container",
            &match made {
                Made::Now => format!("The container {container} was made."),
                Made::Already => format!("The container {container} is there."),
            },
        )?;
        blob.check().await?;
        steps.tell("access", "This identity may write, read, copy, list and delete there.")?;
        if blob.uploads().is_none() {
            let why = "With a SAS, uploads go through the control plane: only keys and identities can sign URLs.";
            steps.tell("uploads", why)?;
            return steps.end();
        }
        blob.check_upload().await?;
        steps.tell("uploads", "Uploads can go straight to it.")?;
        let origins = origins(setup, &settings)?;
        let told = origins.join(" and ");
        let allowed = blob.allow_origins(&origins).await?;
        steps.tell(
            "origins",
            &match allowed {
                Made::Now => format!("Pages of {told} may upload from now on (CORS)."),
                Made::Already => format!("Pages of {told} may upload (CORS)."),
            },
        )?;
        steps.end()
    })
}

/// What was done so far: a person reads each step when it is done, a program all of them.
struct Steps {
    as_json: bool,
    done: Vec<serde_json::Value>,
}

impl Steps {
    fn tell(&mut self, step: &str, what: &str) -> std::io::Result<()> {
        if self.as_json {
            self.done.push(json!({ "step": step, "what": what }));
            return Ok(());
        }
        output::line(what)
    }

    fn end(self) -> anyhow::Result<u8> {
        if self.as_json {
            output::json(&json!({ "steps": self.done }))?;
        }
        Ok(exit::DONE)
    }
}

/// Origins as browsers tell them (RFC 6454 section 6.1).
fn origins(setup: &Setup, settings: &Settings) -> anyhow::Result<Vec<String>> {
    let given = match setup.origin.is_empty() {
        true => vec![reachable("http", settings.listen.api)?],
        false => setup.origin.clone(),
    };
    given
        .into_iter()
        .map(|url| match url.origin() {
            origin @ Origin::Tuple(..) => Ok(origin.ascii_serialization()),
            Origin::Opaque(_) => {
                Err(Usage::new(format!("`{url}` is no origin: write one like https://cloud.example.com")).into())
            }
        })
        .collect()
}
