//! `bench compare`: what a change of the code did, between two reports.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::peers::Peer;
use crate::report::{self, Report, markdown::spread_text, number};
use crate::stats::Spread;

/// Which reports.
#[derive(clap::Args)]
pub struct Args {
    /// The `report.json` from before.
    before: PathBuf,
    /// The `report.json` from after.
    after: PathBuf,
}

/// Prints what differs.
pub fn run(args: &Args) -> anyhow::Result<()> {
    print!("{}", text(&report::read(&args.before)?, &report::read(&args.after)?));
    Ok(())
}

fn text(before: &Report, after: &Report) -> String {
    let mut text = String::new();
    if before.machine.cpu != after.machine.cpu || before.machine.cores != after.machine.cores {
        text.push_str("The machines differ: only ratios to peers can be compared.\n");
    }
    let (mut better, mut worse, mut same) = (0, 0, 0);
    for now in &after.scenarios {
        let Some(then) = before.scenarios.iter().find(|outcome| outcome.id == now.id) else {
            let _ = writeln!(text, "{}: only after", now.id);
            continue;
        };
        for ratio in now.ratios.iter().filter(|ratio| ratio.peer != Peer::Floor) {
            let old = then.ratios.iter().find(|old| old.peer == ratio.peer).and_then(|old| old.spread);
            let label = format!("{} : {}", now.id, ratio.peer.name());
            match (old, ratio.spread) {
                (Some(old), Some(new)) => match judge(old, new) {
                    Some(change) => {
                        if change < 0.0 {
                            better += 1
                        } else {
                            worse += 1
                        }
                        let word = if change < 0.0 { "better" } else { "WORSE" };
                        let size = number(change.abs() * 100.0);
                        let (old, new) = (spread_text(Some(old)), spread_text(Some(new)));
                        let _ = writeln!(text, "{label:<32} {word} by {size} %: {old} -> {new}");
                    }
                    None => same += 1,
                },
                (old, new) => {
                    let _ = writeln!(text, "{label:<32} {} -> {}", spread_text(old), spread_text(new));
                }
            }
        }
    }
    for gone in before.scenarios.iter().filter(|then| after.scenarios.iter().all(|now| now.id != then.id)) {
        let _ = writeln!(text, "{}: only before", gone.id);
    }
    let _ = writeln!(text, "{better} better, {worse} worse, {same} within the spread");
    text
}

/// The change of the median as a share, when it is more than noise.
fn judge(old: Spread, new: Spread) -> Option<f64> {
    old.is_apart_from(&new).then(|| new.median / old.median - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn a_report_does_not_differ_from_itself() {
        assert_eq!(text(&sample(), &sample()), "0 better, 0 worse, 3 within the spread\n");
    }

    #[test]
    fn what_lies_beyond_the_spread_is_told() {
        let (before, mut after) = (sample(), sample());
        after.scenarios[0].ratios[1].spread = Some(Spread { median: 0.4, min: 0.39, max: 0.41 });
        after.scenarios.remove(1);
        let text = text(&before, &after);
        assert!(text.contains("static-1k : nginx"), "{text}");
        assert!(text.contains("better by 27.3 %: 0.55 (0.50 to 0.75) -> 0.40 (0.39 to 0.41)"), "{text}");
        assert!(text.contains("static-10k: only before"), "{text}");
        assert!(text.ends_with("1 better, 0 worse, 2 within the spread\n"), "{text}");
    }
}
