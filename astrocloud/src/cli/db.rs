//! `astrocloud db`: works on the database itself, without a platform.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use control_plane::{copy, schema};
use serde_json::json;

use crate::exit::{self, Usage};
use crate::output::{self, Format};
use crate::settings::Settings;
use crate::up::State;

const EXAMPLES: &str = "\
Examples:
  astrocloud db status
  astrocloud db migrate --config astrocloud.toml
  ASTROCLOUD_DATABASE_URL=postgres://astro:…@db.example/astro astrocloud db copy --data-dir /srv/astrocloud

`copy` moves a stopped installation from the file in its data folder to the Postgres that `database.url` names, which
must hold nothing yet. Every row is read back and compared before anything is kept. Then start with the same setting.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Db {
    /// Show which migrations the database has
    Status(Which),
    /// Bring the database's schema up to date
    Migrate(Which),
    /// Move a stopped installation from its file to Postgres
    Copy(Which),
}

/// With which database.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Which {
    /// Folder of all state [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

impl Which {
    fn settings(&self) -> anyhow::Result<Settings> {
        let mut loaded = Settings::load(self.config.as_deref(), std::env::vars())?;
        for warning in &loaded.warnings {
            output::warning(warning);
        }
        if let Some(folder) = &self.data_dir {
            loaded.settings.data_dir.clone_from(folder);
        }
        Ok(loaded.settings)
    }

    /// The database that counts. A file must be free: a running platform has the folder.
    fn url(&self) -> anyhow::Result<String> {
        let settings = self.settings()?;
        match &settings.database.url.0 {
            Some(url) => Ok(url.reveal().to_owned()),
            None => State::open(&settings.data_dir, None)?.own_database_url(),
        }
    }
}

/// Does it.
pub fn run(db: &Db) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match db {
            Db::Status(which) => status(which).await,
            Db::Migrate(which) => migrate(which).await,
            Db::Copy(which) => move_to_postgres(which).await,
        }
    })
}

async fn status(which: &Which) -> anyhow::Result<u8> {
    let all = schema::status(&which.url()?).await?;
    if which.format.json {
        let each = all.iter().map(
            |m| json!({ "version": m.version, "description": m.description, "applied": m.applied, "known": m.known }),
        );
        output::json(&each.collect::<Vec<_>>())?;
    } else {
        let state = |migration: &schema::Migration| match (migration.applied, migration.known) {
            (true, true) => "applied",
            (true, false) => "applied by a newer version; this one can't use the database",
            (false, _) => "waits for `astrocloud db migrate` or the next start",
        };
        let rows: Vec<_> =
            all.iter().map(|m| [m.version.to_string(), m.description.clone(), state(m).to_owned()]).collect();
        output::table(["MIGRATION", "BRINGS", "STATE"], &rows)?;
    }
    Ok(if all.iter().all(|migration| migration.applied && migration.known) { exit::DONE } else { exit::FAILED })
}

async fn migrate(which: &Which) -> anyhow::Result<u8> {
    let url = which.url()?;
    let waiting = schema::status(&url).await?.iter().filter(|migration| !migration.applied).count();
    schema::migrate(&url).await?;
    if which.format.json {
        output::json(&json!({ "applied": waiting }))?;
    } else {
        output::say(&match waiting {
            0 => "The schema was up to date already".to_owned(),
            1 => "Applied one migration".to_owned(),
            more => format!("Applied {more} migrations"),
        });
    }
    Ok(exit::DONE)
}

async fn move_to_postgres(which: &Which) -> anyhow::Result<u8> {
    let settings = which.settings()?;
    let Some(target) = &settings.database.url.0 else {
        let how = "say where to: set database.url (ASTROCLOUD_DATABASE_URL) to postgres://user:password@host/database";
        return Err(Usage::new(how).into());
    };
    let state = State::open(&settings.data_dir, None).context("only a stopped installation can be moved")?;
    let copied = copy::copy(&state.own_database_url()?, target.reveal()).await?;
    if which.format.json {
        let each = copied.iter().map(|table| json!({ "table": table.table, "rows": table.rows }));
        output::json(&each.collect::<Vec<_>>())?;
    } else {
        let rows: Vec<_> = copied.iter().map(|table| [table.table.clone(), table.rows.to_string()]).collect();
        output::table(["TABLE", "ROWS"], &rows)?;
        output::say("Every row is in the target as it was. The file stays as it is; start with the same database.url.");
    }
    Ok(exit::DONE)
}
