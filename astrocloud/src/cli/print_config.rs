//! `astrocloud config`.

use std::path::PathBuf;

use clap::Args;

use crate::exit;
use crate::output::{self, Format};
use crate::settings::{self, Settings};

const EXAMPLES: &str = "\
Examples:
  astrocloud config > astrocloud.toml            the defaults, to be changed and given to `up --config`
  astrocloud config --config astrocloud.toml     what counts with this file and the environment";

/// With which file.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PrintConfig {
    /// Settings file to take into account
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

/// Prints the settings.
pub fn run(print: &PrintConfig) -> anyhow::Result<u8> {
    let loaded = Settings::load(print.config.as_deref(), std::env::vars())?;
    for warning in &loaded.warnings {
        output::warning(warning);
    }
    if print.format.json {
        output::json(&loaded.settings)?;
    } else {
        output::line(settings::print(&loaded.settings)?.trim_end())?;
    }
    Ok(exit::DONE)
}
