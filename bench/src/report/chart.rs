//! Charts as SVG within a page: they take the page's colours and need no script.

use std::fmt::Write as _;

use super::{Outcome, html, number};
use crate::peers::Peer;
use crate::stats::Spread;

/// Width of a chart in the units of its view box.
const WIDTH: f64 = 720.0;
/// Width of the names at the left.
const NAMES: f64 = 190.0;
/// Room at the right for figures.
const FIGURES: f64 = 150.0;
/// Height of a row.
const ROW: f64 = 24.0;
/// Height of the axis.
const AXIS: f64 = 28.0;
/// Ratios at the ends of the axis: beyond, a mark stands at the end.
const ENDS: (f64, f64) = (0.01, 10.0);
/// Ratios that the axis names.
const TICKS: [f64; 7] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// All ratios on one logarithmic axis: a mark for the median, a line for the spread, a tick for the aim.
pub fn ratios(outcomes: &[Outcome]) -> String {
    let rows: Vec<_> = outcomes
        .iter()
        .flat_map(|o| o.ratios.iter().filter_map(move |r| Some((o, r, r.spread?))))
        .filter(|(_, ratio, _)| ratio.peer != Peer::Floor)
        .collect();
    let height = AXIS + ROW * rows.len() as f64 + 8.0;
    let mut svg = open(height, "Ratios of the edge to its peers");
    for tick in TICKS {
        let x = place(tick);
        let class = if (tick - 1.0).abs() < f64::EPSILON { "one" } else { "grid" };
        let _ = write!(
            svg,
            r#"<line class="{class}" x1="{x:.1}" y1="{AXIS}" x2="{x:.1}" y2="{height:.1}"/><text class="tick" x="{x:.1}" y="18">{tick}</text>"#
        );
    }
    for (at, (outcome, ratio, spread)) in rows.into_iter().enumerate() {
        let y = AXIS + ROW * (at as f64 + 0.5);
        let met = match ratio.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "beside",
        };
        let (tick, aimed) =
            if ratio.aimed { ("aim", format!(" (aim {})", number(outcome.aim))) } else { ("none", String::new()) };
        let (aim, least, middle, most) =
            (place(outcome.aim), place(spread.min), place(spread.median), place(spread.max));
        let _ = write!(
            svg,
            r#"<text class="name" x="0" y="{text_y:.1}">{id} : {peer}</text><line class="{tick}" x1="{aim:.1}" y1="{top:.1}" x2="{aim:.1}" y2="{bottom:.1}"/><line class="spread {met}" x1="{least:.1}" y1="{y:.1}" x2="{most:.1}" y2="{y:.1}"/><circle class="{met}" cx="{middle:.1}" cy="{y:.1}" r="4.5"><title>{title}</title></circle><text class="figure" x="{WIDTH}" y="{text_y:.1}">{median}{aimed}</text>"#,
            id = html::escaped(&outcome.id),
            peer = ratio.peer.name(),
            text_y = y + 4.0,
            top = y - 8.0,
            bottom = y + 8.0,
            title = html::escaped(&super::markdown::spread_text(Some(spread))),
            median = number(spread.median),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// One scenario's headline: a bar for each server, with its spread.
pub fn bars(outcome: &Outcome) -> String {
    let rows: Vec<_> = outcome.servers.iter().filter_map(|s| Some((s.peer, s.spread()?))).collect();
    let most = rows.iter().map(|(_, spread)| spread.max).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let height = ROW * rows.len() as f64 + 4.0;
    let scale = (WIDTH - NAMES - FIGURES) / most;
    let mut svg = open(height, &outcome.title);
    for (at, (peer, Spread { median, min, max })) in rows.into_iter().enumerate() {
        let y = ROW * (at as f64 + 0.5);
        let class = match peer {
            Peer::Edge => "edge",
            Peer::Floor => "floor",
            _ => "peer",
        };
        let _ = write!(
            svg,
            r#"<text class="name" x="0" y="{text_y:.1}">{name}</text><rect class="{class}" x="{NAMES}" y="{top:.1}" width="{width:.1}" height="14" rx="2"/><line class="range" x1="{x1:.1}" y1="{y:.1}" x2="{x2:.1}" y2="{y:.1}"/><text class="figure" x="{WIDTH}" y="{text_y:.1}">{figure}</text>"#,
            name = peer.name(),
            text_y = y + 4.0,
            top = y - 7.0,
            width = median * scale,
            x1 = NAMES + min * scale,
            x2 = NAMES + max * scale,
            figure = number(median),
        );
    }
    svg.push_str("</svg>");
    svg
}

fn open(height: f64, title: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{}">"#, html::escaped(title))
}

/// Where a ratio stands on the logarithmic axis.
fn place(ratio: f64) -> f64 {
    let (least, most) = ENDS;
    let share = (ratio.clamp(least, most) / least).ln() / (most / least).ln();
    NAMES + share * (WIDTH - NAMES - FIGURES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_quotients_are_equally_far_apart() {
        let step = place(0.1) - place(0.01);
        assert!((place(1.0) - place(0.1) - step).abs() < 1e-9);
        assert!((place(99.0) - place(10.0)).abs() < 1e-9, "what is beyond the axis stands at its end");
    }

    #[test]
    fn every_peer_has_a_row_and_the_floor_only_a_bar() {
        let report = crate::report::tests::sample();
        let svg = ratios(&report.scenarios);
        assert_eq!(svg.matches("<circle").count(), 3, "nginx, HAProxy, Caddy");
        assert_eq!(svg.matches("circle class=\"met\"").count(), 1, "nginx; Caddy stands beside");
        assert_eq!(bars(&report.scenarios[0]).matches("<rect").count(), 5);
        assert_eq!(bars(&report.scenarios[1]), "", "nothing was measured");
    }
}
