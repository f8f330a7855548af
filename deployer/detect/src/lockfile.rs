//! Lock files: which are there, what they lock, and how well they agree with package.json.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::manifest::Manifest;
use crate::plan::Tool;
use crate::range::{Range, lowest_of};
use crate::tree::{Content, MAX_LOCK_BYTES, Tree};
use crate::version::Version;

mod bun;
mod npm;
mod pnpm;
mod yarn;

/// Lock files by name, the deliberate choices before npm's, which arises by accident most easily.
const NAMES: [(&str, Format); 6] = [
    ("pnpm-lock.yaml", Format::Pnpm),
    ("bun.lock", Format::Bun),
    ("bun.lockb", Format::BunBinary),
    ("yarn.lock", Format::Yarn),
    ("npm-shrinkwrap.json", Format::Npm),
    ("package-lock.json", Format::Npm),
];

/// Names of all lock files known.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Pnpm,
    Bun,
    BunBinary,
    Yarn,
    Npm,
}

/// What a parser found out about the direct dependencies of one folder.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The file's own format version, as written.
    pub(crate) format: Option<String>,
    /// Yarn 2 or later.
    pub(crate) berry: bool,
    /// Specifiers as the lock file repeats them; `None` where the format does not.
    pub(crate) specifiers: Option<BTreeMap<String, String>>,
    /// Direct dependencies whose specifier the lock file does not have, in formats that list
    /// descriptors instead of specifiers.
    pub(crate) missing: Vec<String>,
    /// Installed version of each direct dependency found.
    pub(crate) versions: BTreeMap<String, String>,
    /// `engines.node` of each direct dependency found.
    pub(crate) engines: BTreeMap<String, String>,
    /// Packages of other platforms that the lock file lacks though their siblings are there.
    pub(crate) missing_platform: Option<String>,
}

/// A lock file in the install folder.
#[derive(Debug, Clone)]
pub(crate) struct Lock {
    pub(crate) name: &'static str,
    pub(crate) tool: Tool,
    /// `None` when the file is binary, broken or too large.
    pub(crate) facts: Option<Facts>,
    /// Where it disagrees with package.json, one clause each.
    pub(crate) quarrels: Vec<String>,
    /// True when it can be judged at all.
    pub(crate) judged: bool,
}

impl Lock {
    /// The installed version of a direct dependency.
    pub(crate) fn version(&self, package: &str) -> Option<Version> {
        lowest_of(self.facts.as_ref()?.versions.get(package)?)
    }
}

/// Finds and reads the lock files of `install_dir`, as they concern `app`.
pub(crate) fn find(tree: &Tree, install_dir: &Path, app_dir: &Path, app: &Manifest) -> Vec<Lock> {
    let importer = app_dir.strip_prefix(install_dir).map(|rel| rel.to_string_lossy().into_owned()).unwrap_or_default();
    NAMES.iter().filter_map(|(name, format)| read(tree, install_dir, name, *format, &importer, app)).collect()
}

fn read(tree: &Tree, dir: &Path, name: &'static str, format: Format, importer: &str, app: &Manifest) -> Option<Lock> {
    let path = dir.join(name);
    if !tree.is_file(&path) {
        return None;
    }
    let text = match (format, tree.lenient(&path, MAX_LOCK_BYTES)) {
        (Format::BunBinary, _) => None,
        (_, Content::Text(text)) => Some(text),
        (_, Content::TooLarge | Content::Missing) => None,
    };
    let facts = text.as_deref().and_then(|text| match format {
        Format::Npm => npm::parse(text, importer, app),
        Format::Pnpm => pnpm::parse(text, importer, app),
        Format::Yarn => yarn::parse(text, app),
        Format::Bun => bun::parse(text, importer, app),
        Format::BunBinary => None,
    });
    let tool = match format {
        Format::Pnpm => Tool::Pnpm,
        Format::Bun | Format::BunBinary => Tool::Bun,
        Format::Npm => Tool::Npm,
        Format::Yarn if facts.as_ref().is_some_and(|facts| facts.berry) => Tool::YarnBerry,
        Format::Yarn => Tool::YarnClassic,
    };
    let (judged, quarrels) = match (&facts, format) {
        (Some(facts), _) => (true, quarrels(facts, app)),
        (None, Format::BunBinary) => (false, Vec::new()),
        (None, _) => (true, vec!["it cannot be read".to_owned(); app.dependencies.len().max(1)]),
    };
    Some(Lock { name, tool, facts, quarrels, judged })
}

/// Compares what the lock file repeats with what package.json says.
fn quarrels(facts: &Facts, app: &Manifest) -> Vec<String> {
    let mut found: Vec<String> =
        facts.missing.iter().map(|name| format!("it does not have {name} as package.json asks")).collect();
    let Some(locked) = &facts.specifiers else { return found };
    let names: BTreeSet<&String> = app.dependencies.keys().chain(locked.keys()).collect();
    for name in names {
        match (app.dependencies.get(name), locked.get(name)) {
            (Some(_), None) => found.push(format!("it does not have {name}")),
            (None, Some(_)) => found.push(format!("it still has {name}")),
            (Some(asked), Some(has)) if !same_specifier(asked, has) => {
                found.push(format!("it has {name} {has} where package.json asks for {asked}"));
            }
            _ => {}
        }
    }
    found
}

fn same_specifier(asked: &str, locked: &str) -> bool {
    let (asked, locked) = (asked.trim(), locked.trim());
    // `catalog:` entries are resolved in some lock files and repeated in others.
    asked == locked || asked.starts_with("catalog:")
}

/// Does an installed version satisfy a specifier? Tags, URLs and aliases are believed.
fn satisfied(specifier: &str, version: &str) -> bool {
    match (Range::parse(specifier), lowest_of(version)) {
        (Some(range), Some(version)) => range.contains(version),
        _ => true,
    }
}

/// Specifiers that no registry descriptor stands for.
fn is_local(specifier: &str) -> bool {
    ["workspace:", "file:", "link:", "portal:", "catalog:", "."].iter().any(|start| specifier.starts_with(start))
}

/// The value of a YAML scalar without its quotes.
fn unquote(text: &str) -> &str {
    let text = text.trim();
    ['\'', '"'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(text)
}
