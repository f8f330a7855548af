//! What the project itself says about Node: pin files, volta, `engines.node`.

use std::path::Path;

use super::{Asking, Demand};
use crate::plan::Notes;
use crate::range::Range;
use crate::refusal::Refusal;
use crate::tree::{Tree, show};

/// Names of the long-term support lines.
const CODENAMES: [(&str, u64); 11] = [
    ("argon", 4),
    ("boron", 6),
    ("carbon", 8),
    ("dubnium", 10),
    ("erbium", 12),
    ("fermium", 14),
    ("gallium", 16),
    ("hydrogen", 18),
    ("iron", 20),
    ("jod", 22),
    ("krypton", 24),
];
/// What the project says: a pin file or volta, and `engines.node`.
pub(super) fn explicit(asking: &Asking<'_>, notes: &mut Notes) -> Result<Option<Demand>, Refusal> {
    let manifests = || std::iter::once(asking.app).chain(asking.root);
    let mut pin = pin_file(asking.tree, asking.app_dir)?;
    if pin.is_none() {
        for manifest in manifests() {
            if let Some(text) = manifest.text_in("volta", "node") {
                pin = Some(demand(format!("volta.node in {}", manifest.path), text)?);
                break;
            }
        }
    }
    let mut engines = None;
    for manifest in manifests() {
        if let Some(text) = manifest.text_in("engines", "node") {
            engines = Some(demand(format!("engines.node in {}", manifest.path), text)?);
            break;
        }
    }
    Ok(match (pin, engines) {
        (Some(pin), Some(engines)) => {
            let both = pin.range.intersect(&engines.range);
            if both.is_empty() {
                notes.warn(format!(
                    "{} asks for Node {:?} and {} for {:?}, which contradict each other: {} is ignored. Make them agree.",
                    pin.origin, pin.text, engines.origin, engines.text, pin.origin
                ));
                Some(engines)
            } else {
                Some(Demand { range: both, ..pin })
            }
        }
        (pin, engines) => pin.or(engines),
    })
}

/// The nearest .nvmrc, .node-version or .tool-versions at or above the app.
fn pin_file(tree: &Tree, app_dir: &Path) -> Result<Option<Demand>, Refusal> {
    for dir in app_dir.ancestors() {
        for name in [".nvmrc", ".node-version", ".tool-versions"] {
            let path = dir.join(name);
            let Some(text) = tree.hint(&path) else { continue };
            let mut lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            let wish = if name == ".tool-versions" {
                lines.find_map(|line| line.strip_prefix("nodejs ").or_else(|| line.strip_prefix("node ")))
            } else {
                lines.find(|line| !line.is_empty())
            };
            if let Some(wish) = wish {
                return demand(show(&path), wish.trim()).map(Some);
            }
        }
    }
    Ok(None)
}

fn demand(origin: String, text: &str) -> Result<Demand, Refusal> {
    let Some(range) = understand(text) else {
        return Err(Refusal::BadNodeVersion { origin, value: text.chars().take(100).collect() });
    };
    Ok(Demand { origin, text: text.to_owned(), range })
}

/// Ranges, and nvm's aliases.
fn understand(text: &str) -> Option<Range> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_prefix("node@").unwrap_or(&lower);
    match lower {
        "node" | "latest" | "current" | "stable" | "system" | "default" => return Some(Range::any()),
        // Lines that are old by now are no answer to "the LTS".
        "lts/*" | "lts" | "--lts" | "lts/-1" => return Some(Range::majors(&[22, 24, 20])),
        _ => {}
    }
    if let Some(name) = lower.strip_prefix("lts/").or_else(|| lower.strip_prefix("lts-")) {
        return CODENAMES.iter().find(|(codename, _)| *codename == name).map(|(_, major)| Range::major(*major));
    }
    if let Some((_, major)) = CODENAMES.iter().find(|(codename, _)| *codename == lower) {
        return Some(Range::major(*major));
    }
    Range::parse(lower.strip_prefix("node ").unwrap_or(lower))
}
