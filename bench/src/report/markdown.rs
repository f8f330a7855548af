//! The report as Markdown, for a terminal and a review.

use std::fmt::Write as _;

use super::{Outcome, Ratio, Report, Tested, milliseconds, number};
use crate::load::Latency;
use crate::peers::Peer;
use crate::stats::Spread;

/// The whole report.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let _ = write!(text, "# The edge and its peers\n\n{}\n\n", conditions(report));
    for missing in &report.missing {
        let _ = writeln!(text, "- **{} was missing**: `{}`", missing.name, missing.install);
    }
    if !report.missing.is_empty() {
        text.push('\n');
    }
    text.push_str("The ratio is the edge's divided by the peer's in the same round, as median (least to greatest).\n");
    text.push_str("Below 1 the edge is better.\n\n");
    text.push_str("| scenario | peer | ratio | aim | |\n|---|---|---|---|---|\n");
    for outcome in &report.scenarios {
        for ratio in &outcome.ratios {
            let aim = if ratio.aimed { format!("≤ {}", number(outcome.aim)) } else { String::new() };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {aim} | {} |",
                outcome.title,
                ratio.peer.name(),
                spread_text(ratio.spread),
                verdict(ratio)
            );
        }
        if let Some(why) = not_measured(outcome) {
            let _ = writeln!(text, "| {} | | not measured: {} | | |", outcome.title, cell(&why));
        }
    }
    for outcome in &report.scenarios {
        let _ = write!(text, "\n## {}\n\n{}", outcome.title, servers(outcome));
    }
    text.push_str("\n## Versions\n\n");
    for version in &report.versions {
        let _ = writeln!(text, "- {}: {}", version.name, version.version);
    }
    text
}

/// One scenario for the terminal.
pub fn outcome_lines(outcome: &Outcome) -> String {
    let mut text = String::new();
    for server in &outcome.servers {
        let ratio = outcome.ratios.iter().find(|ratio| ratio.peer == server.peer);
        let ratio = ratio.map_or_else(String::new, |r| format!("  ratio {} {}", spread_text(r.spread), verdict(r)));
        let _ = writeln!(text, "  {:<8} {} {}{ratio}", server.peer.name(), spread_text(server.spread()), outcome.unit);
        for why in &server.invalid {
            let _ = writeln!(text, "           not valid: {why}");
        }
    }
    if let Some(why) = &outcome.error {
        let _ = writeln!(text, "  not measured: {why}");
    }
    text
}

/// On what and how it was measured.
pub fn conditions(report: &Report) -> String {
    let machine = &report.machine;
    format!(
        "{}: {}, {} cores, {} MB, Linux {}, load {} at the start; {} rounds of {} s, every server with one thread.",
        report.when,
        machine.cpu,
        machine.cores,
        machine.memory_mb,
        machine.kernel,
        number(machine.load_at_start),
        report.settings.rounds,
        report.settings.seconds
    )
}

/// A median with its spread.
pub fn spread_text(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "none valid".to_owned(),
        |s| format!("{} ({} to {})", number(s.median), number(s.min), number(s.max)),
    )
}

/// Whether the aim was reached.
pub const fn verdict(ratio: &Ratio) -> &'static str {
    match ratio.met {
        Some(true) => "met",
        Some(false) => "**not met**",
        None => "",
    }
}

/// Why a scenario has no ratio at all.
pub fn not_measured(outcome: &Outcome) -> Option<String> {
    if outcome.error.is_some() || outcome.ratios.iter().any(|ratio| ratio.spread.is_some()) {
        return outcome.error.clone();
    }
    let edge = outcome.server(Peer::Edge);
    Some(edge.and_then(|edge| edge.invalid.first().cloned()).unwrap_or_else(|| "no peer took part".into()))
}

fn servers(outcome: &Outcome) -> String {
    let mut text = format!(
        "| server | {} | per second | p50 / p99 / p99.9 ms, saturated | p50 / p99 / p99.9 ms, fixed rate | lost |\n\
         |---|---|---|---|---|---|\n",
        outcome.unit
    );
    for server in &outcome.servers {
        let open = server
            .open_loop
            .map_or_else(String::new, |o| format!("{} at {} per s", latency(o.latency), number(o.rate as f64)));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {open} | {} |",
            server.peer.name(),
            spread_text(server.spread()),
            Spread::of(&server.throughput).map_or_else(String::new, |s| number(s.median)),
            server.saturated_median().map(latency).unwrap_or_default(),
            lost(server)
        );
    }
    for server in &outcome.servers {
        for why in &server.invalid {
            let _ = writeln!(text, "\n{}, not valid: {}", server.peer.name(), cell(why));
        }
    }
    text
}

/// Percentiles in milliseconds.
pub fn latency(latency: Latency) -> String {
    [latency.p50_us, latency.p99_us, latency.p999_us].map(milliseconds).join(" / ")
}

/// Requests lost over all rounds, where they are counted.
pub fn lost(server: &Tested) -> String {
    if server.lost.is_empty() { String::new() } else { server.lost.iter().sum::<u64>().to_string() }
}

/// Text within a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_was_met_and_what_was_not() {
        let text = render(&crate::report::tests::sample());
        assert!(text.contains("| Static 1 KB, HTTP/1.1 | nginx | 0.55 (0.50 to 0.75) | ≤ 0.70 | met |"), "{text}");
        assert!(text.contains("| HAProxy | 0.92 (0.83 to 1.00) | ≤ 0.70 | **not met** |"), "{text}");
        assert!(text.contains("| floor | 1.10 (1.00 to 1.20) |  |  |"), "{text}");
    }

    #[test]
    fn what_is_missing_or_was_not_valid_is_not_passed_over() {
        let text = render(&crate::report::tests::sample());
        assert!(text.contains("**oha was missing**: `cargo install oha`"), "{text}");
        assert!(text.contains("not measured: wrk is missing"), "{text}");
        assert!(text.contains("Caddy, not valid: round 2: 3 requests failed"), "{text}");
    }
}
