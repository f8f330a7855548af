//! pnpm-lock.yaml, format versions 5 to 9.
//!
//! pnpm writes one narrow form of YAML (two spaces a level, one key a line), which a line scanner reads
//! without building a tree of a file that may have a million lines.

use std::collections::{BTreeMap, HashMap};

use super::{Facts, unquote};
use crate::manifest::Manifest;

pub(super) fn parse(text: &str, importer: &str, app: &Manifest) -> Option<Facts> {
    let importer = if importer.is_empty() { "." } else { importer };
    let mut facts = Facts::default();
    let mut specifiers = BTreeMap::new();
    let mut engines: HashMap<String, String> = HashMap::new();
    // The keys that lead to the present line, by level.
    let mut path: Vec<&str> = Vec::new();
    let mut seen = false;
    for line in text.lines() {
        let body = line.trim_start();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let indent = line.len() - body.len();
        if body == "---" {
            path.clear();
            continue;
        }
        let level = indent / 2;
        let Some((key, value)) = entry(body) else { continue };
        path.truncate(level);
        if path.len() < level {
            continue;
        }
        path.push(key);
        match path.as_slice() {
            ["lockfileVersion"] => {
                seen = true;
                facts.format = Some(unquote(value).to_owned());
            }
            ["importers", at, rest @ ..] if *at == importer => importer_line(rest, value, &mut specifiers, &mut facts),
            ["packages", package, "engines"] => {
                if let Some(range) = flow_value(value, "node") {
                    engines.insert(package_key(package), range.to_owned());
                }
            }
            ["packages", package, "engines", "node"] => {
                engines.insert(package_key(package), unquote(value).to_owned());
            }
            rest if importer == "." => importer_line(rest, value, &mut specifiers, &mut facts),
            _ => {}
        }
    }
    if !seen {
        return None;
    }
    for name in app.dependencies.keys() {
        let Some(version) = facts.versions.get(name) else { continue };
        let engine = engines.get(&format!("{name}@{version}")).or_else(|| engines.get(&format!("{name}/{version}")));
        facts.engines.extend(engine.map(|range| (name.clone(), range.clone())));
    }
    facts.specifiers = Some(specifiers);
    Some(facts)
}

fn importer_line(path: &[&str], value: &str, specifiers: &mut BTreeMap<String, String>, facts: &mut Facts) {
    let is_group = |group: &str| matches!(group, "dependencies" | "devDependencies" | "optionalDependencies");
    match path {
        // Formats 5: specifiers apart, versions as plain values.
        ["specifiers", name] => {
            specifiers.insert((*name).to_owned(), unquote(value).to_owned());
        }
        [group, name] if is_group(group) && !value.is_empty() => {
            facts.versions.insert((*name).to_owned(), bare_version(unquote(value)).to_owned());
        }
        [group, name, "specifier"] if is_group(group) => {
            specifiers.insert((*name).to_owned(), unquote(value).to_owned());
        }
        [group, name, "version"] if is_group(group) => {
            facts.versions.insert((*name).to_owned(), bare_version(unquote(value)).to_owned());
        }
        _ => {}
    }
}

/// `key: value` of one line; keys with a colon inside are quoted or end at `: `.
fn entry(body: &str) -> Option<(&str, &str)> {
    if let Some(quote) = body.chars().next().filter(|c| *c == '\'' || *c == '"') {
        let inner = body.get(1..)?;
        let end = inner.find(quote)?;
        return Some((inner.get(..end)?, inner.get(end + 1..)?.strip_prefix(':')?.trim()));
    }
    match body.split_once(": ") {
        Some((key, value)) => Some((key, value.trim())),
        None => Some((body.trim_end().strip_suffix(':')?, "")),
    }
}

/// The value of a key in `{node: '>=18', npm: '>=9'}`.
fn flow_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    inner.split(',').find_map(|pair| {
        let (name, value) = pair.split_once(':')?;
        (unquote(name) == key).then(|| unquote(value))
    })
}

/// `18.2.0(react@18)` and `18.2.0_react@18` are version 18.2.0.
fn bare_version(version: &str) -> &str {
    version.split(['(', '_']).next().unwrap_or(version)
}

/// `/@scope/name@1.0.0(peer)`, `/@scope/name/1.0.0_peer` and `@scope/name@1.0.0` without the peers.
fn package_key(key: &str) -> String {
    let key = key.strip_prefix('/').unwrap_or(key);
    let key = key.split('(').next().unwrap_or(key);
    match key.rfind('/').map(|slash| key.split_at(slash)) {
        Some((name, version)) if version[1..].starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{name}{}", bare_version(version))
        }
        _ => key.to_owned(),
    }
}
