//! yarn.lock, of Yarn 1 and of Yarn 2 and later.

use std::collections::{HashMap, HashSet};

use super::{Facts, is_local, unquote};
use crate::manifest::Manifest;

pub(super) fn parse(text: &str, app: &Manifest) -> Option<Facts> {
    let mut facts =
        Facts { berry: text.contains("\n__metadata:") || text.starts_with("__metadata:"), ..Facts::default() };
    if !facts.berry && !text.contains("yarn lockfile v1") && !text.trim().is_empty() && !text.contains("\n  resolved ")
    {
        return None;
    }
    if text.contains("\n<<<<<<<") {
        return None;
    }
    let wanted: HashSet<&str> = app.dependencies.keys().map(String::as_str).collect();
    // Name and specifier to version, for the direct dependencies only.
    let mut locked: HashMap<(String, String), String> = HashMap::new();
    let mut heads: Vec<(String, String)> = Vec::new();
    let mut in_metadata = false;
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if !line.starts_with(' ') {
            let head = line.trim_end().trim_end_matches(':');
            in_metadata = head == "__metadata";
            heads = head
                .split(", ")
                .flat_map(|part| unquote(part).split(", "))
                .filter_map(|part| descriptor(part.trim_matches('"')))
                .filter(|(name, _)| wanted.contains(name.as_str()))
                .collect();
            continue;
        }
        let Some(version) = line.strip_prefix("  version ").or_else(|| line.strip_prefix("  version: ")) else {
            continue;
        };
        if in_metadata {
            facts.format = Some(unquote(version).to_owned());
        } else {
            for head in heads.drain(..) {
                locked.insert(head, unquote(version).to_owned());
            }
        }
    }
    // Resolutions rewrite what the lock file asks for, so their packages cannot be compared.
    let rewritten = app.field("resolutions").and_then(|value| value.as_object());
    for (name, asked) in &app.dependencies {
        let bare = asked.strip_prefix("npm:").unwrap_or(asked);
        match locked.get(&(name.clone(), bare.to_owned())) {
            Some(version) => {
                facts.versions.insert(name.clone(), version.clone());
            }
            None => {
                let excused = is_local(asked)
                    || asked.contains(':')
                    || rewritten.is_some_and(|map| map.keys().any(|key| key.rsplit("**/").next() == Some(name)));
                if !excused {
                    facts.missing.push(name.clone());
                }
            }
        }
    }
    Some(facts)
}

/// `@scope/name@npm:^1.0.0` as name and specifier, the `npm:` left away.
fn descriptor(text: &str) -> Option<(String, String)> {
    let at = text.get(1..)?.find('@')? + 1;
    let (name, spec) = text.split_at(at);
    let spec = spec.get(1..)?;
    Some((name.to_owned(), spec.strip_prefix("npm:").unwrap_or(spec).to_owned()))
}
