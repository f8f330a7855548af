//! `astrocloud gc`.

use clap::Args;
use common::api::GarbageRequest;
use garbage::Report;

use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud gc --dry-run
  astrocloud gc

The control plane does this by itself (objects.garbage_every). What nothing names waits first (objects.garbage_grace).";

/// Whether to look only.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Gc {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: Format,
}

/// Has it done.
pub async fn run(gc: Gc, client: &Client) -> anyhow::Result<u8> {
    let report = client.collect_garbage(&GarbageRequest { dry_run: gc.dry_run }).await?;
    if gc.format.json {
        output::json(&report)?;
    } else {
        for line in lines(&report) {
            output::line(&line)?;
        }
    }
    Ok(exit::DONE)
}

fn lines(report: &Report) -> Vec<String> {
    let verb = if report.dry_run { "Would remove" } else { "Removed" };
    let mut lines = vec![
        format!("{} contents are named by {} manifests or by deployments under way", report.named, report.manifests),
        format!("{verb} {} objects ({})", report.deleted, output::size(report.deleted_bytes)),
    ];
    lines.extend(report.examples.iter().map(|name| format!("  {name}")));
    if report.examples.len() < usize::try_from(report.deleted).unwrap_or(usize::MAX) {
        lines.push("  …".to_owned());
    }
    if report.spared > 0 {
        lines.push(format!("{} more are needed again", report.spared));
    }
    if let Some(due) = report.next_due {
        let bytes = output::size(report.waiting_bytes);
        lines.push(format!("{} more ({bytes}) wait; the first of them until {due}", report.waiting));
    }
    lines
}
