//! An app's tree, divided into its layers: what an install left, which rarely changes, and the rest.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::super::RegistryError;

/// Folders that an install fills.
const MODULES: &str = "node_modules";
/// Folder of `node_modules` in which tools keep what they computed: it changes with the code.
const CACHE: &str = ".cache";
/// What Yarn 2 and later fills in place of `node_modules`, below `.yarn`.
const YARN: &str = ".yarn";
const YARN_PARTS: [&str; 2] = ["cache", "unplugged"];
/// Begins the name of what deletes a file of a lower layer
/// (<https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts>).
const WHITEOUT: &[u8] = b".wh.";
/// Names of files and folders that hold logins, besides `.env…`.
const SECRETS: [&str; 7] = [".npmrc", ".netrc", ".git-credentials", ".git", ".ssh", ".aws", ".azure"];

/// A layer's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// What an install left.
    Dependencies,
    /// Everything else.
    App,
}

impl Part {
    /// The word in the layer's annotation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dependencies => "dependencies",
            Self::App => "app",
        }
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
    Link,
}

/// One file, folder or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the tree's root.
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

/// A tree, read and divided.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) root: PathBuf,
    dependencies: Vec<Entry>,
    app: Vec<Entry>,
    /// What was left out because it holds secrets, sorted.
    pub left_out: Vec<String>,
}

impl Tree {
    /// Reads what lies below `root`, without following links.
    ///
    /// # Errors
    /// When something can't be read, or can't be in an image.
    pub fn read(root: &Path) -> Result<Self, RegistryError> {
        let mut tree = Self { root: root.to_owned(), dependencies: Vec::new(), app: Vec::new(), left_out: Vec::new() };
        let mut led = HashSet::new();
        let mut entries = walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter();
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(std::io::Error::from)?;
            let path = entry.path().strip_prefix(root).map_err(std::io::Error::other)?.to_owned();
            let part = part(&path);
            if part == Part::App && is_secret(entry.file_name()) {
                tree.left_out.push(path.display().to_string());
                if entry.file_type().is_dir() {
                    entries.skip_current_dir();
                }
                continue;
            }
            if entry.file_name().as_bytes().starts_with(WHITEOUT) {
                let why = "names that begin with `.wh.` delete files in images; rename it, or let the build delete it";
                return Err(RegistryError::Unpackable { path: path.display().to_string(), why });
            }
            let kind = match entry.file_type() {
                kind if kind.is_dir() => Kind::Folder,
                kind if kind.is_file() => Kind::File,
                kind if kind.is_symlink() => Kind::Link,
                // Sockets and pipes mean nothing to another process.
                _ => continue,
            };
            match part {
                Part::Dependencies => {
                    tree.lead_to(&path, &mut led);
                    tree.dependencies.push(Entry { path, kind });
                }
                Part::App => tree.app.push(Entry { path, kind }),
            }
        }
        Ok(tree)
    }

    /// The parts that are not empty, the lowest layer first.
    pub fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        [Part::Dependencies, Part::App].into_iter().filter(|part| !self.entries(*part).is_empty())
    }

    pub(super) fn entries(&self, part: Part) -> &[Entry] {
        match part {
            Part::Dependencies => &self.dependencies,
            Part::App => &self.app,
        }
    }

    /// Names the folders above a dependency before it, once: a layer stands on its own.
    fn lead_to(&mut self, path: &Path, led: &mut HashSet<PathBuf>) {
        let new = |above: &&Path| !above.as_os_str().is_empty() && part(above) == Part::App && !led.contains(*above);
        let above: Vec<PathBuf> = path.ancestors().skip(1).filter(new).map(Path::to_owned).collect();
        for folder in above.into_iter().rev() {
            led.insert(folder.clone());
            self.dependencies.push(Entry { path: folder, kind: Kind::Folder });
        }
    }
}

fn part(path: &Path) -> Part {
    let names: Vec<&OsStr> = path
        .components()
        .filter_map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
        .collect();
    let below = |at: usize| names.get(at + 1);
    let installed = names.iter().enumerate().any(|(at, name)| {
        *name == MODULES || (*name == YARN && below(at).is_some_and(|next| YARN_PARTS.iter().any(|part| part == next)))
    });
    let computed = names.windows(2).any(|two| two[0] == MODULES && two[1] == CACHE);
    if installed && !computed { Part::Dependencies } else { Part::App }
}

fn is_secret(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".env") || SECRETS.iter().any(|secret| *secret == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn paths(tree: &Tree, part: Part) -> Vec<String> {
        tree.entries(part).iter().map(|entry| entry.path.display().to_string()).collect()
    }

    #[test]
    fn an_install_and_the_code_are_layers_of_their_own() {
        let root = tempfile::tempdir().unwrap();
        for file in [
            "app/node_modules/a/index.js",
            "app/node_modules/.cache/x",
            "app/packages/b/node_modules/c/index.js",
            "app/packages/b/index.js",
            "app/.yarn/cache/d.zip",
            "app/.git/config",
            "app/.env.production",
            "app/node_modules/a/.env",
        ] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let tree = Tree::read(root.path()).unwrap();
        assert_eq!(
            paths(&tree, Part::Dependencies),
            [
                "app",
                "app/.yarn",
                "app/.yarn/cache",
                "app/.yarn/cache/d.zip",
                "app/node_modules",
                "app/node_modules/a",
                "app/node_modules/a/.env",
                "app/node_modules/a/index.js",
                "app/packages",
                "app/packages/b",
                "app/packages/b/node_modules",
                "app/packages/b/node_modules/c",
                "app/packages/b/node_modules/c/index.js",
            ]
        );
        assert_eq!(
            paths(&tree, Part::App),
            [
                "app",
                "app/.yarn",
                "app/node_modules/.cache",
                "app/node_modules/.cache/x",
                "app/packages",
                "app/packages/b",
                "app/packages/b/index.js",
            ]
        );
        assert_eq!(tree.left_out, ["app/.env.production", "app/.git"]);
    }
}
