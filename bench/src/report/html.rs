//! The report as one page that needs no other file, for light and dark screens.

use std::fmt::Write as _;

use super::markdown::{conditions, latency, lost, not_measured, spread_text};
use super::{Outcome, Report, chart, number};
use crate::peers::Peer;
use crate::stats::Spread;

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub fn render(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>The edge and its peers</title>\n<style>\n{STYLE}</style>\n<main>\n<h1>The edge and its peers</h1>\n\
         <p>{}</p>\n",
        escaped(&conditions(report))
    );
    page.push_str(&summary(report));
    for missing in &report.missing {
        let (name, install) = (escaped(&missing.name), escaped(&missing.install));
        let _ = writeln!(page, "<p class=\"missing\">{name} was missing: <code>{install}</code></p>");
    }
    page.push_str(
        "<h2>Ratios</h2>\n<p>The edge's cost divided by the peer's in the same round; left of 1 the edge is \
                   better. Mark: median; line: least to greatest round; tick: the aim; grey: without an aim, for comparison.</p>\n<figure>",
    );
    page.push_str(&chart::ratios(&report.scenarios));
    page.push_str("</figure>\n");
    for outcome in &report.scenarios {
        page.push_str(&section(outcome));
    }
    page.push_str("<h2>Versions</h2>\n<ul>\n");
    for version in &report.versions {
        let _ = writeln!(page, "<li>{}: {}</li>", escaped(&version.name), escaped(&version.version));
    }
    page.push_str("</ul>\n</main>\n</html>\n");
    page
}

fn summary(report: &Report) -> String {
    let verdicts = report.scenarios.iter().flat_map(|o| &o.ratios).filter_map(|ratio| ratio.met);
    let (met, missed): (Vec<bool>, Vec<bool>) = verdicts.partition(|met| *met);
    let without = report.scenarios.iter().filter(|outcome| not_measured(outcome).is_some()).count();
    format!(
        "<p class=\"summary\"><b>{}</b> aims met, <b>{}</b> not met, <b>{without}</b> scenarios not measured.</p>\n",
        met.len(),
        missed.len()
    )
}

fn section(outcome: &Outcome) -> String {
    let (id, title) = (escaped(&outcome.id), escaped(&outcome.title));
    let mut text = format!("<section id=\"{id}\">\n<h2>{title}</h2>\n");
    if let Some(why) = not_measured(outcome) {
        let _ = writeln!(text, "<p class=\"missing\">Not measured: {}</p>", escaped(&why));
    }
    if !outcome.servers.is_empty() {
        let _ = write!(text, "<p>{}; less is better.</p>\n<figure>{}</figure>\n", outcome.unit, chart::bars(outcome));
        text.push_str(&table(outcome));
    }
    for server in &outcome.servers {
        for why in &server.invalid {
            let _ = writeln!(text, "<p class=\"missing\">{}: {}</p>", server.peer.name(), escaped(why));
        }
    }
    text.push_str("</section>\n");
    text
}

fn table(outcome: &Outcome) -> String {
    let mut text = format!(
        "<div class=\"wide\"><table>\n<tr><th>Server<th>{}<th>Edge ÷ this<th>Aim<th>Per second\
         <th>p50 / p99 / p99.9 ms, saturated<th>p50 / p99 / p99.9 ms, fixed rate<th>Lost</tr>\n",
        outcome.unit
    );
    for server in &outcome.servers {
        let ratio = outcome.ratios.iter().find(|ratio| ratio.peer == server.peer);
        let (class, aim) = match ratio.and_then(|ratio| ratio.met) {
            Some(true) => ("met", format!("≤ {}, met", number(outcome.aim))),
            Some(false) => ("missed", format!("≤ {}, not met", number(outcome.aim))),
            None => ("", String::new()),
        };
        let open = server
            .open_loop
            .map_or_else(String::new, |o| format!("{} at {} per s", latency(o.latency), number(o.rate as f64)));
        let ratio = match server.peer {
            Peer::Edge => String::new(),
            _ => ratio.map_or_else(String::new, |ratio| spread_text(ratio.spread)),
        };
        let _ = writeln!(
            text,
            "<tr><th>{}<td>{}<td>{ratio}<td class=\"{class}\">{aim}<td>{}<td>{}<td>{open}<td>{}</tr>",
            server.peer.name(),
            spread_text(server.spread()),
            Spread::of(&server.throughput).map_or_else(String::new, |s| number(s.median)),
            server.saturated_median().map(latency).unwrap_or_default(),
            lost(server)
        );
    }
    text.push_str("</table></div>\n");
    text
}

/// Text without a meaning for HTML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_no_other_file_and_shows_no_foreign_markup() {
        let page = render(&crate::report::tests::sample());
        for outside in ["http://", "https://", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("3 requests failed &lt;here&gt;"));
        assert!(page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn the_page_counts_what_was_met() {
        let page = render(&crate::report::tests::sample());
        assert!(page.contains("<b>1</b> aims met, <b>1</b> not met, <b>1</b> scenarios not measured"), "{page}");
    }
}
