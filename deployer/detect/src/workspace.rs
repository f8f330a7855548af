//! Monorepos: where the workspace's root is, who its members are, and which of them an app needs built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::evidence::relaxed_json;
use crate::manifest::Manifest;
use crate::refusal::Refusal;
use crate::tree::{Tree, inside, show};

/// Most workspace members read; the largest public monorepos have about a thousand.
const MAX_MEMBERS: usize = 2_000;
/// Most bytes of members' package.json read in all: a hundred times those of the largest monorepos.
const MAX_MEMBER_BYTES: usize = 16 * 1024 * 1024;
/// How deep `**` in a workspace glob looks.
const MAX_GLOB_DEPTH: usize = 6;
/// Most globs read from a workspace definition.
const MAX_GLOBS: usize = 100;
/// Most folders visited while members are searched.
const MAX_VISITED: usize = 20_000;
/// How deep the conditions of `exports` are followed; real ones have three levels.
const MAX_EXPORTS_DEPTH: usize = 6;
/// Most entries of `exports` looked at.
const MAX_ENTRIES: usize = 1_000;

/// The workspace that an app belongs to.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Relative to the source.
    pub(crate) root: PathBuf,
    globs: Vec<String>,
}

/// Finds the nearest folder at or above `app_dir` whose workspace definition includes the app.
pub(crate) fn find(tree: &Tree, app_dir: &Path) -> Result<Option<Workspace>, Refusal> {
    for root in app_dir.ancestors() {
        let globs = globs(tree, root)?;
        let rel = app_dir.strip_prefix(root).unwrap_or(app_dir);
        if !globs.is_empty() && (rel.as_os_str().is_empty() || includes(&globs, &show(rel))) {
            return Ok(Some(Workspace { root: root.to_owned(), globs }));
        }
    }
    Ok(None)
}

/// The globs that a folder's package.json, pnpm-workspace.yaml or lerna.json defines.
fn globs(tree: &Tree, root: &Path) -> Result<Vec<String>, Refusal> {
    let mut globs = Vec::new();
    if let Some(text) = tree.hint(&root.join("pnpm-workspace.yaml")) {
        globs = yaml_packages(&text);
    }
    if globs.is_empty()
        && let Some(manifest) = Manifest::read(tree, root)?
    {
        globs = manifest.workspace_globs();
    }
    if globs.is_empty()
        && let Some(text) = tree.hint(&root.join("lerna.json"))
        && let Ok(value) = relaxed_json(&text)
        && let Some(list) = value.get("packages").and_then(Value::as_array)
    {
        globs = list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    globs.truncate(MAX_GLOBS);
    Ok(globs)
}

/// The list under `packages:` of pnpm-workspace.yaml, one a line or in brackets.
fn yaml_packages(text: &str) -> Vec<String> {
    let clean = |word: &str| word.trim().trim_matches(['"', '\'']).to_owned();
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let line = line.split(" #").next().unwrap_or(line);
        let body = line.trim();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix("packages:") {
            inside = true;
            let list = rest.trim().trim_start_matches('[').trim_end_matches(']');
            found.extend(list.split(',').map(clean).filter(|glob| !glob.is_empty()));
        } else if let (true, Some(item)) = (inside, body.strip_prefix('-')) {
            found.push(clean(item));
        } else if !line.starts_with(' ') {
            inside = false;
        }
    }
    found
}

fn includes(globs: &[String], path: &str) -> bool {
    let hit = |glob: &str| {
        let glob = glob.trim_start_matches("./").trim_end_matches('/');
        let glob: Vec<&str> = glob.split('/').collect();
        let path: Vec<&str> = path.split('/').collect();
        matches(&glob, &path)
    };
    globs.iter().any(|glob| !glob.starts_with('!') && hit(glob))
        && !globs.iter().filter_map(|glob| glob.strip_prefix('!')).any(hit)
}

fn matches(glob: &[&str], path: &[&str]) -> bool {
    // Row by row over the path, so that many `**` cost no more than glob × path.
    let mut row = vec![false; glob.len() + 1];
    row[0] = true;
    for at in 0..glob.len() {
        row[at + 1] = row[at] && glob[at] == "**";
    }
    for part in path {
        let mut next = vec![false; glob.len() + 1];
        for at in 0..glob.len() {
            next[at + 1] = if glob[at] == "**" { row[at + 1] || next[at] } else { row[at] && word(glob[at], part) };
        }
        row = next;
    }
    row.last().copied().unwrap_or(false)
}

/// `*` and `?` within one path segment, and `{a,b}` as a whole segment.
fn word(glob: &str, text: &str) -> bool {
    if let Some(list) = glob.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return list.split(',').any(|item| item == text);
    }
    let glob: Vec<char> = glob.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if g < glob.len() && glob[g] == '*' {
            star = Some((g, t));
            g += 1;
        } else if g < glob.len() && (glob[g] == '?' || glob[g] == text[t]) {
            g += 1;
            t += 1;
        } else if let Some((back, from)) = star {
            star = Some((back, from + 1));
            g = back + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

impl Workspace {
    /// The members' folders (relative to the source) with their package.json, sorted by folder.
    /// Members whose package.json is broken are passed over: only the app's own must be right.
    pub(crate) fn members(&self, tree: &Tree) -> Vec<(PathBuf, Manifest)> {
        let mut members = Vec::new();
        let (mut visited, mut read) = (0, 0);
        let mut open = vec![(PathBuf::new(), 0)];
        while let Some((rel, depth)) = open.pop() {
            for name in tree.folders(&self.root.join(&rel)) {
                visited += 1;
                if visited > MAX_VISITED || members.len() >= MAX_MEMBERS || read > MAX_MEMBER_BYTES {
                    break;
                }
                let rel = rel.join(name);
                let dir = self.root.join(&rel);
                let file = dir.join("package.json");
                if includes(&self.globs, &show(&rel))
                    && let Ok(Some(text)) = tree.strict(&file)
                {
                    read += text.len();
                    members.extend(Manifest::parse(&text, show(&file)).map(|manifest| (dir, manifest)));
                }
                if depth + 1 < MAX_GLOB_DEPTH {
                    open.push((rel, depth + 1));
                }
            }
        }
        members.sort_by(|a, b| a.0.cmp(&b.0));
        members
    }
}

/// Members that `app` depends on, directly or through others, and whose entry files only their `build`
/// script makes, in the order in which they must be built.
pub(crate) fn built_before(tree: &Tree, app: &Manifest, members: &[(PathBuf, Manifest)]) -> Vec<PathBuf> {
    let by_name: BTreeMap<&str, &(PathBuf, Manifest)> =
        members.iter().filter_map(|member| Some((member.1.name.as_deref()?, member))).collect();
    let mut order = Vec::new();
    let mut seen: BTreeSet<&str> = app.name.as_deref().into_iter().collect();
    // A stack of (member, entered before?), so that a long chain of members needs no recursion.
    let needs = |manifest: &Manifest| -> Vec<&str> {
        manifest
            .dependencies
            .keys()
            .filter_map(|name| by_name.get_key_value(name.as_str()).map(|(name, _)| *name))
            .collect()
    };
    let mut open: Vec<(&str, bool)> = needs(app).into_iter().rev().map(|name| (name, false)).collect();
    while let Some((name, done)) = open.pop() {
        let Some((dir, manifest)) = by_name.get(name) else { continue };
        if done {
            if manifest.script("build").is_some() && lacks_entries(tree, dir, manifest) {
                order.push(dir.clone());
            }
        } else if seen.insert(name) {
            open.push((name, true));
            open.extend(needs(manifest).into_iter().rev().map(|name| (name, false)));
        }
    }
    order
}

/// Does package.json name entry files that are not in the source?
fn lacks_entries(tree: &Tree, dir: &Path, manifest: &Manifest) -> bool {
    let mut entries = Vec::new();
    for field in ["main", "module", "browser", "svelte", "exports"] {
        entries.extend(manifest.field(field).map(|value| (value, 0)));
    }
    let mut at = 0;
    while let Some((value, depth)) = entries.get(at).copied() {
        at += 1;
        match value {
            Value::String(path) => {
                // Of `./dist/*.js` only the folder can be looked for.
                let there = match path.split_once('*') {
                    Some((before, _)) => inside(before).is_some_and(|path| tree.is_dir(&dir.join(path))),
                    None => inside(path).is_some_and(|path| is_module(tree, &dir.join(path))),
                };
                if !there {
                    return true;
                }
            }
            Value::Object(object) if depth < MAX_EXPORTS_DEPTH && entries.len() < MAX_ENTRIES => {
                // Declarations are for the editor.
                entries.extend(object.iter().filter(|(key, _)| *key != "types").map(|(_, value)| (value, depth + 1)));
            }
            _ => {}
        }
    }
    false
}

/// Is there a module that Node would find by this path?
fn is_module(tree: &Tree, path: &Path) -> bool {
    let with_ending = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        tree.is_file(Path::new(&name))
    };
    ["", ".js", ".json", "/index.js"].iter().any(|ending| with_ending(ending))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn globs_include_what_the_package_managers_include() {
        let globs = |list: &[&str]| list.iter().map(|glob| (*glob).to_owned()).collect::<Vec<_>>();
        assert!(includes(&globs(&["packages/*", "apps/web"]), "apps/web"));
        assert!(includes(&globs(&["./packages/*/"]), "packages/ui"));
        assert!(!includes(&globs(&["packages/*"]), "packages/ui/deep"));
        assert!(includes(&globs(&["packages/**"]), "packages/ui/deep"));
        assert!(!includes(&globs(&["**", "!**/test/**"]), "packages/test/a"));
        assert!(includes(&globs(&["{apps,packages}/*"]), "apps/x"));
        assert!(includes(&globs(&["web-*"]), "web-shop"));
    }

    #[test]
    fn both_yaml_notations_of_a_package_list_are_read() {
        assert_eq!(yaml_packages("packages:\n  - 'apps/*' # all\n  - \"!x\"\ncatalog:\n  - no"), ["apps/*", "!x"]);
        assert_eq!(yaml_packages("packages: ['a', b]\nonlyBuiltDependencies:\n - c"), ["a", "b"]);
    }
}
