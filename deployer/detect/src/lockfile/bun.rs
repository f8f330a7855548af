//! bun.lock, Bun's text format: JSON with trailing commas.

use serde_json::Value;

use super::Facts;
use crate::evidence::relaxed_json;
use crate::manifest::{Manifest, strings};

pub(super) fn parse(text: &str, importer: &str, app: &Manifest) -> Option<Facts> {
    let file = relaxed_json(text).ok()?;
    let mut facts = Facts {
        format: file.get("lockfileVersion").and_then(Value::as_u64).map(|version| version.to_string()),
        ..Facts::default()
    };
    let mut specifiers = std::collections::BTreeMap::new();
    if let Some(entry) = file.get("workspaces")?.get(importer) {
        for field in ["dependencies", "devDependencies", "optionalDependencies"] {
            specifiers.extend(strings(entry.get(field)));
        }
    }
    for name in app.dependencies.keys() {
        let first = file.get("packages").and_then(|packages| packages.get(name)).and_then(|entry| entry.get(0));
        let version = first.and_then(Value::as_str).and_then(|id| id.rsplit_once('@')).map(|(_, version)| version);
        facts.versions.extend(version.map(|version| (name.clone(), version.to_owned())));
    }
    facts.specifiers = Some(specifiers);
    Some(facts)
}
