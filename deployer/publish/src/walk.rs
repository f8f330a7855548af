//! Lists what a folder publishes: safe paths, links resolved, within the limits.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization as _;

use crate::blocking::Flag;
use crate::error::shown;
use crate::tree::{LinkFault, Node, Tree};
use crate::warnings::Warnings;
use crate::{Limits, PublishError, left_out};

/// Bytes of a published path: an address of this length still passes every browser and proxy when
/// each byte is percent-encoded.
const MAX_PATH: usize = 1024;
/// Folders in folders. Real sites stay below 20; it bounds the walk's stack and a chain of links.
const MAX_DEPTH: usize = 64;

/// A file that is published.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where visitors find it: begins with `/`, in NFC.
    pub path: String,
    /// Where its content lies, relative to the folder and without a link on the way.
    pub source: PathBuf,
    /// Bytes it had when it was listed.
    pub size: u64,
}

/// What a folder publishes.
#[derive(Debug)]
pub struct Listing {
    /// By their paths.
    pub files: BTreeMap<String, Entry>,
    /// Sentences for the developer.
    pub warnings: Vec<String>,
}

/// Lists the folder.
pub fn list(tree: &Tree, limits: &Limits, stop: &Flag) -> Result<Listing, PublishError> {
    let mut walk =
        Walk { tree, limits, stop, files: BTreeMap::new(), folders: 0, bytes: 0, warnings: Warnings::default() };
    walk.folder(Path::new(""), "", &mut Vec::new())?;
    // A site may do nothing but redirect.
    if walk.files.is_empty() && !walk.warnings.has_redirects() {
        return Err(PublishError::EmptySite { left_out: walk.warnings.inset() });
    }
    let warnings = walk.warnings.sentences(&walk.files);
    Ok(Listing { files: walk.files, warnings })
}

struct Walk<'a> {
    tree: &'a Tree,
    limits: &'a Limits,
    stop: &'a Flag,
    files: BTreeMap<String, Entry>,
    folders: usize,
    bytes: u64,
    warnings: Warnings,
}

impl Walk<'_> {
    /// Lists the folder that lies at `source` and is published below `path`. `around` holds where the
    /// folders around it lie: a link to one of these would lead round for ever.
    fn folder(&mut self, source: &Path, path: &str, around: &mut Vec<PathBuf>) -> Result<(), PublishError> {
        self.stop.check()?;
        if around.len() >= MAX_DEPTH {
            return Err(PublishError::unsafe_path(
                path,
                format!("it lies more than {MAX_DEPTH} folders deep; flatten it"),
            ));
        }
        self.folders += 1;
        if self.folders > self.limits.files {
            return Err(self.too_many());
        }
        around.push(source.to_owned());
        let at_top = path.is_empty();
        let unreadable = |e| PublishError::unreadable(if at_top { "/" } else { path }, e);
        let beside_package = match self.tree.node(&source.join("package.json")) {
            Ok(_) => true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(unreadable(e)),
        };
        let warnings = &mut self.warnings;
        let names = self.tree.names(source, self.limits.files, |name| {
            let reason = left_out::reason(name, at_top, beside_package);
            if let Some(reason) = reason {
                warnings.left_out(reason, &format!("{path}/{}", name.to_string_lossy()));
            }
            reason.is_some()
        });
        for name in names.map_err(unreadable)?.ok_or_else(|| self.too_many())? {
            let path = self.join(path, &name)?;
            self.entry(source.join(&name), path, around)?;
        }
        around.pop();
        Ok(())
    }

    fn entry(&mut self, mut source: PathBuf, path: String, around: &mut Vec<PathBuf>) -> Result<(), PublishError> {
        let mut node = self.tree.node(&source).map_err(|e| PublishError::unreadable(&path, e))?;
        if node == Node::Link {
            (source, node) = self.follow(&source, &path, around)?;
        }
        match node {
            Node::File { size } => self.file(source, path, size),
            Node::Folder => self.folder(&source, &path, around),
            Node::Link | Node::Special => Err(PublishError::unsafe_path(
                &path,
                "it is a pipe, a socket or a device, not a file; remove it, or have the build leave it elsewhere",
            )),
        }
    }

    /// What the link at `link` stands for. The folders around it include those that lie around other
    /// links on the way here, so no chain of links leads round.
    fn follow(&self, link: &Path, path: &str, around: &[PathBuf]) -> Result<(PathBuf, Node), PublishError> {
        let fault = |fault: LinkFault| PublishError::unsafe_link(path, fault.to_string());
        let target = self.tree.resolve(link).map_err(fault)?;
        if left_out::hides(&target) {
            let target = shown(&target.to_string_lossy());
            let problem =
                format!("points to {target}, which is not published; remove it, or link to a file without a dot name");
            return Err(PublishError::unsafe_link(path, problem));
        }
        let node = self.tree.node(&target).map_err(|e| fault(e.into()))?;
        if node == Node::Folder && around.iter().any(|folder| folder.starts_with(&target)) {
            return Err(PublishError::unsafe_link(path, "points to a folder that it lies in; remove it"));
        }
        Ok((target, node))
    }

    fn file(&mut self, source: PathBuf, path: String, size: u64) -> Result<(), PublishError> {
        if size > self.limits.file_bytes {
            return Err(PublishError::FileTooLarge { path: shown(&path), size, limit: self.limits.file_bytes });
        }
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes {
            return Err(PublishError::SiteTooLarge { limit: self.limits.bytes });
        }
        if let Some(other) = self.files.get(&path) {
            let escaped = |source: &Path| source.to_string_lossy().escape_default().take(MAX_PATH).collect();
            return Err(PublishError::NameCollision {
                path: shown(&path),
                first: escaped(&other.source),
                second: escaped(&source),
            });
        }
        if self.files.len() == self.limits.files {
            return Err(self.too_many());
        }
        self.files.insert(path.clone(), Entry { path, source, size });
        Ok(())
    }

    /// The path of `name` in the folder published at `parent`.
    fn join(&self, parent: &str, name: &OsStr) -> Result<String, PublishError> {
        let refuse = |problem: &str| {
            Err(PublishError::unsafe_path(
                &format!("{parent}/{}", name.to_string_lossy()),
                format!("{problem}; rename it"),
            ))
        };
        let Some(text) = name.to_str() else { return refuse("its name is not UTF-8") };
        if text.chars().any(char::is_control) {
            return refuse("its name has a control character");
        }
        let path = format!("{parent}/{}", text.nfc());
        if path.len() > MAX_PATH {
            return refuse(&format!("its path is longer than {MAX_PATH} bytes"));
        }
        Ok(path)
    }

    const fn too_many(&self) -> PublishError {
        PublishError::TooManyFiles { limit: self.limits.files }
    }
}
