//! Reading a stranger's folder without leaving it, without blocking and without reading too much.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use crate::refusal::Refusal;

/// Largest package.json or configuration file read, in bytes: a thousand times a usual one.
pub(crate) const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;
/// Largest lock file read, in bytes: monorepos of thousands of packages stay below 20 MiB, and as a tree of
/// JSON values a text takes some sixteen times its size.
pub(crate) const MAX_LOCK_BYTES: u64 = 24 * 1024 * 1024;
/// Most entries of one folder looked at: a folder of a source tree rarely has hundreds.
pub(crate) const MAX_DIR_ENTRIES: usize = 5_000;
/// Most folders named in a message, so that it stays readable.
const MAX_NAMED: usize = 12;
/// Folders that never are an app or an output.
const IGNORED_DIRS: &[&str] = &["node_modules", "__MACOSX"];

/// The source folder.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
}

/// What reading a file came to.
pub(crate) enum Content {
    Missing,
    Text(String),
    TooLarge,
}

impl Tree {
    pub(crate) fn open(source: &Path) -> Result<Self, Refusal> {
        let root = fs::canonicalize(source).map_err(Refusal::SourceUnreadable)?;
        fs::read_dir(&root).map_err(Refusal::SourceUnreadable)?;
        Ok(Self { root })
    }

    /// The real path of `rel`; `Ok(None)` when nothing is there, an error when it lies elsewhere.
    pub(crate) fn real(&self, rel: &Path) -> Result<Option<PathBuf>, Refusal> {
        match fs::canonicalize(self.root.join(rel)) {
            Ok(real) if real.starts_with(&self.root) => Ok(Some(real)),
            Ok(_) => Err(Refusal::FileOutside { path: show(rel) }),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(Refusal::FileUnreadable { path: show(rel), error }),
        }
    }

    pub(crate) fn is_file(&self, rel: &Path) -> bool {
        matches!(self.real(rel), Ok(Some(real)) if real.is_file())
    }

    pub(crate) fn is_dir(&self, rel: &Path) -> bool {
        matches!(self.real(rel), Ok(Some(real)) if real.is_dir())
    }

    /// Opens a regular file.
    fn open_file(&self, rel: &Path) -> Result<Option<fs::File>, Refusal> {
        let Some(real) = self.real(rel)? else { return Ok(None) };
        let unreadable = |error| Refusal::FileUnreadable { path: show(rel), error };
        // Checked before opening: opening a named pipe would wait for ever.
        if !fs::metadata(&real).map_err(unreadable)?.is_file() {
            return if real.is_dir() { Ok(None) } else { Err(Refusal::FileOutside { path: show(rel) }) };
        }
        fs::File::open(&real).map(Some).map_err(unreadable)
    }

    /// Reads a regular file, at most one byte more than `limit`.
    fn bytes(&self, rel: &Path, limit: u64) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(file) = self.open_file(rel)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Refusal::FileUnreadable { path: show(rel), error })?;
        Ok(Some(bytes))
    }

    /// A file that must be right when it exists.
    pub(crate) fn strict(&self, rel: &Path) -> Result<Option<String>, Refusal> {
        let Some(bytes) = self.bytes(rel, MAX_CONFIG_BYTES)? else { return Ok(None) };
        if bytes.len() as u64 > MAX_CONFIG_BYTES {
            return Err(Refusal::FileTooLarge { path: show(rel), limit_kib: MAX_CONFIG_BYTES / 1024 });
        }
        let text = String::from_utf8(bytes).map_err(|_| Refusal::NotText { path: show(rel) })?;
        Ok(Some(without_bom(text)))
    }

    /// A file that only gives evidence: unreadable or oversized ones count as missing.
    pub(crate) fn hint(&self, rel: &Path) -> Option<String> {
        match self.lenient(rel, MAX_CONFIG_BYTES) {
            Content::Text(text) => Some(text),
            Content::Missing | Content::TooLarge => None,
        }
    }

    pub(crate) fn lenient(&self, rel: &Path, limit: u64) -> Content {
        match self.bytes(rel, limit) {
            Ok(Some(bytes)) if bytes.len() as u64 > limit => Content::TooLarge,
            Ok(Some(bytes)) => Content::Text(without_bom(String::from_utf8_lossy(&bytes).into_owned())),
            Ok(None) | Err(_) => Content::Missing,
        }
    }

    /// The first of `names` in `dir` that is a readable file, with its text.
    pub(crate) fn first_hint(&self, dir: &Path, names: &[&str]) -> Option<(String, String)> {
        names.iter().find_map(|name| self.hint(&dir.join(name)).map(|text| ((*name).to_owned(), text)))
    }

    /// Hashes a file's bytes; a file that is missing or cannot be read hashes as nothing.
    pub(crate) fn hash_into(&self, rel: &Path, hasher: &mut blake3::Hasher) {
        let mut content = blake3::Hasher::new();
        if let Ok(Some(file)) = self.open_file(rel)
            && content.update_reader(file).is_ok()
        {
            let path = show(rel);
            hasher.update(&(path.len() as u64).to_le_bytes());
            hasher.update(path.as_bytes());
            hasher.update(content.finalize().as_bytes());
        }
    }

    /// Names of the visible folders of `rel`, sorted.
    pub(crate) fn folders(&self, rel: &Path) -> Vec<String> {
        match self.real(rel) {
            Ok(Some(real)) => visible_folders(&real),
            _ => Vec::new(),
        }
    }
}

pub(crate) fn visible_folders(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .take(MAX_DIR_ENTRIES)
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && !IGNORED_DIRS.contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

/// A clause that tells which folders exist in `dir`.
pub(crate) fn tell_folders(names: &[String]) -> String {
    match names {
        [] => "it has no folders".to_owned(),
        _ if names.len() > MAX_NAMED => {
            format!("its folders are {} and {} more", names[..MAX_NAMED].join(", "), names.len() - MAX_NAMED)
        }
        _ => format!("its folders are {}", names.join(", ")),
    }
}

/// The same for an absolute path, after a build.
pub(crate) fn tell_folders_of(dir: &Path) -> String {
    tell_folders(&visible_folders(dir))
}

fn absent(error: &io::Error) -> bool {
    // A file name inside a file ("package.json/x") says NotADirectory.
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn without_bom(text: String) -> String {
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

/// A relative path as a person writes it.
pub(crate) fn show(rel: &Path) -> String {
    let text = rel.to_string_lossy().replace('\\', "/");
    if text.is_empty() { ".".to_owned() } else { text }
}

/// A relative path without `.` and `..`, or `None` when it is absolute or climbs out.
pub(crate) fn inside(path: &str) -> Option<PathBuf> {
    normal(Path::new(path.trim()))
}

/// Joins and folds `..` away; `None` when the result would leave the source.
pub(crate) fn normal(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}
