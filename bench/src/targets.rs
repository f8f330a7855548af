//! `bench targets`: the tables of `scale` and `faults` as one, for people and for machines.

use std::path::PathBuf;

use anyhow::ensure;

use crate::checks::{self, Checks};

/// The commands whose tables are read, in order.
const TABLES: [&str; 2] = ["scale", "faults"];

/// Where the tables are.
#[derive(clap::Args)]
pub struct Args {
    /// The folder that `scale` and `faults` wrote into; `targets.json` and `targets.md` are written there too.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// Writes one table, and fails when a target in it is not met.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let tables = TABLES.map(|name| checks::read(&args.out, name));
    let all = Checks::joined(tables.into_iter().collect::<anyhow::Result<_>>()?);
    all.write(&args.out, "targets")?;
    print!("{}", all.markdown());
    let unmet = all.unmet();
    ensure!(unmet == 0, "{unmet} of {} targets are not met", all.checks.len());
    Ok(())
}
