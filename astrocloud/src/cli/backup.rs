//! `astrocloud backup` and `astrocloud restore`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use backup::{Backup as Opened, Secrets, Writer};
use clap::Args;
use common::secret::Secret;
use control_plane::{copy, snapshot};
use serde_json::json;

use crate::exit::{self, Usage};
use crate::output::{self, Format};
use crate::settings::{self, Settings};
use crate::up::State;
use crate::{backends, up};

/// Holds the passphrase that seals a backup's keys.
const PASSPHRASE_VARIABLE: &str = "ASTROCLOUD_BACKUP_PASSPHRASE";
/// Folder of the development CA, in the data folder.
const CA: &str = "ca";
/// Folders that the embedded adapters keep, which all roles of an installation share.
const SHARED: [&str; 2] = ["images", "logs"];
/// File with the settings that counted, in a restored data folder.
const SETTINGS: &str = "settings.toml";
/// File with master keys that only open, in a restored data folder.
const OLD_KEYS: &str = "old-master-keys";

const BACKUP_EXAMPLES: &str = "\
Examples:
  ASTROCLOUD_BACKUP_PASSPHRASE=… astrocloud backup /backups/monday --data-dir /srv/astrocloud --with-objects
  astrocloud backup /backups/tuesday --config astrocloud.toml --passphrase-file /etc/astrocloud/passphrase

The platform may run meanwhile. The backup is a folder: the database as of one moment, the keys sealed under the
passphrase, settings, images, logs and the development CA. Without --with-objects it only names the object store's
objects, with their digests, and is of use as long as these are kept.";
const RESTORE_EXAMPLES: &str = "\
Examples:
  ASTROCLOUD_BACKUP_PASSPHRASE=… astrocloud restore /backups/monday --data-dir /srv/restored
  ASTROCLOUD_DATABASE_URL=postgres://astro:…@db.example/astro astrocloud restore /backups/monday --data-dir /srv/restored \\
    --passphrase-file /etc/astrocloud/passphrase

Every byte is checked before anything is written. Nothing is written over: the data folder must be new or empty, and a
Postgres must hold nothing yet. Then start with `astrocloud up --data-dir DIR --config DIR/settings.toml`.";

/// What to back up, and where to.
#[derive(Args, Debug)]
#[command(after_help = BACKUP_EXAMPLES)]
pub struct Backup {
    /// Folder to make
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Copy what the object store holds, too
    #[arg(long)]
    with_objects: bool,
    #[command(flatten)]
    which: Which,
}

/// What to restore, and where to.
#[derive(Args, Debug)]
#[command(after_help = RESTORE_EXAMPLES)]
pub struct Restore {
    /// Folder of the backup
    #[arg(value_name = "FROM")]
    from: PathBuf,
    #[command(flatten)]
    which: Which,
}

#[derive(Args, Debug)]
struct Which {
    /// Folder of all state [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings file; a restore takes the backup's settings when it is not given
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File with the passphrase [default: the variable ASTROCLOUD_BACKUP_PASSPHRASE]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

impl Which {
    fn settings(&self, config: Option<&Path>) -> anyhow::Result<Settings> {
        let mut loaded = Settings::load(config, std::env::vars())?;
        for warning in &loaded.warnings {
            output::warning(warning);
        }
        if let Some(folder) = &self.data_dir {
            loaded.settings.data_dir.clone_from(folder);
        }
        Ok(loaded.settings)
    }

    fn passphrase(&self) -> anyhow::Result<Secret> {
        let text = match &self.passphrase_file {
            Some(file) => std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?,
            None => std::env::var(PASSPHRASE_VARIABLE).map_err(|_| {
                Usage::new(format!(
                    "give the passphrase of the backup's keys: --passphrase-file or {PASSPHRASE_VARIABLE}"
                ))
            })?,
        };
        Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
    }
}

/// Writes a backup.
pub fn back_up(backup: &Backup) -> anyhow::Result<u8> {
    runtime()?.block_on(async {
        let passphrase = backup.which.passphrase()?;
        let settings = backup.which.settings(backup.which.config.as_deref())?;
        let state = State::look(&settings.data_dir, shared(&settings))?;
        let secrets = Secrets {
            master_keys: state.master_keys()?,
            api_token: state.api_token().clone(),
            settings: Secret::new(settings::print(&settings)?),
        };
        let mut writer = Writer::begin(&backup.out, env!("CARGO_PKG_VERSION"))?;
        // Before everything that its rows name.
        let tables = snapshot::snapshot(&state.database_url(&settings.database)?, &writer.database()).await?;
        writer.add_folder(CA, &state.private(CA)?)?;
        for name in SHARED {
            writer.add_folder(name, &state.shared(name)?)?;
        }
        writer.add_objects(&backends::objects(&settings, &state)?.store, backup.with_objects).await?;
        let made = writer.finish(&secrets, &passphrase)?;
        let rows: u64 = tables.iter().map(|table| table.rows).sum();
        let (files, objects) = (made.files.len(), made.objects.each.len());
        if backup.which.format.json {
            output::json(&json!({
                "backup": backup.out, "rows": rows, "files": files, "objects": objects,
                "objects_included": made.objects.included, "made_at": made.made_at,
            }))?;
        } else {
            let with = if made.objects.included { "with" } else { "without" };
            output::say(&format!(
                "Backed up {rows} rows, {files} files and {objects} objects, {with} their bytes, to {}",
                backup.out.display()
            ));
        }
        Ok(exit::DONE)
    })
}

/// Restores one.
pub fn restore(restore: &Restore) -> anyhow::Result<u8> {
    runtime()?.block_on(async {
        let passphrase = restore.which.passphrase()?;
        let backup = Opened::open(&restore.from, &passphrase)?;
        let work = tempfile::tempdir()?;
        let kept = work.path().join(SETTINGS);
        std::fs::write(&kept, backup.secrets.settings.reveal())?;
        let settings = restore.which.settings(Some(restore.which.config.as_deref().unwrap_or(&kept)))?;
        let place = std::path::absolute(&settings.data_dir)?;
        check_new(&place)?;
        let parent = place.parent().context("the data folder can't be the root")?;
        up::make_private(parent).with_context(|| format!("{} can't be made", parent.display()))?;
        let data = tempfile::Builder::new().prefix(".restore-").tempdir_in(parent)?;
        put_secrets(data.path(), &backup.secrets)?;
        let state = State::open(data.path(), shared(&settings))?;
        backup.put_folder(CA, &state.private(CA)?)?;
        for name in SHARED {
            backup.put_folder(name, &state.shared(name)?)?;
        }
        backup.put_objects(&backends::objects(&settings, &state)?.store).await?;
        put_database(&backup, &state, &settings).await?;
        drop(state);
        let data = data.keep();
        std::fs::rename(&data, &place)
            .with_context(|| format!("{} is restored, and can't be moved to {}", data.display(), place.display()))?;
        if restore.which.format.json {
            output::json(&json!({ "data_dir": place, "made_at": backup.manifest.made_at }))?;
        } else {
            output::say(&format!("Restored what was there at {} to {}", backup.manifest.made_at, place.display()));
        }
        if backup.secrets.master_keys.len() > 1 {
            let file = place.join(OLD_KEYS);
            output::warning(&format!(
                "some secrets may be under older master keys: set ASTROCLOUD_OLD_MASTER_KEYS to what {} holds for the first \
                 start, and delete the file",
                file.display()
            ));
        }
        Ok(exit::DONE)
    })
}

/// Where roles share what the embedded adapters keep.
fn shared(settings: &Settings) -> Option<&Path> {
    settings.shared_dir.0.as_deref().map(Path::new)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Refuses a place where something is.
fn check_new(place: &Path) -> anyhow::Result<()> {
    match std::fs::read_dir(place) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e).with_context(|| format!("{} can't be looked into", place.display())),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => anyhow::bail!(
                "the data folder {} holds something: a restore writes over nothing. Choose a new one with --data-dir",
                place.display()
            ),
        },
    }
}

fn put_secrets(data: &Path, secrets: &Secrets) -> anyhow::Result<()> {
    let (newest, older) = secrets.master_keys.split_first().context("the backup has no master key")?;
    up::put_secret(&data.join("master.key"), newest)?;
    up::put_secret(&data.join("api-token"), &secrets.api_token)?;
    up::put_secret(&data.join(SETTINGS), &secrets.settings)?;
    if !older.is_empty() {
        let older: Vec<&str> = older.iter().map(Secret::reveal).collect();
        up::put_secret(&data.join(OLD_KEYS), &Secret::new(older.join(",")))?;
    }
    Ok(())
}

async fn put_database(backup: &Opened, state: &State, settings: &Settings) -> anyhow::Result<()> {
    let own = state.path().join("db").join("astrocloud.db");
    backup.put_database(&own)?;
    if let Some(target) = &settings.database.url.0 {
        copy::copy(&state.own_database_url()?, target.reveal()).await?;
        std::fs::remove_dir_all(state.path().join("db"))?;
    }
    Ok(())
}
