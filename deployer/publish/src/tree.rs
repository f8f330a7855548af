//! Reads a folder that a stranger wrote, and nothing outside it: every file is opened from the folder's
//! handle, component by component, without following a link; links are resolved here, not by the system.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::PublishError;

/// Links followed to resolve one; Linux's own bound.
const MAX_LINKS: usize = 40;

/// The folder.
pub struct Tree {
    root: OwnedFd,
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    File { size: u64 },
    Folder,
    Link,
    Special,
}

/// Why a link is not followed. Reads as the end of a sentence that begins with the link.
#[derive(Debug, thiserror::Error)]
pub enum LinkFault {
    #[error("leaves the folder that is published; replace it by a copy of what it points to")]
    Leaves,
    #[error("points to nothing; remove it or restore its target")]
    Dangling,
    #[error("leads back to itself; remove it")]
    Loop,
    #[error("can't be followed ({0}); replace it by a copy of what it points to")]
    Io(#[from] io::Error),
}

impl Tree {
    /// Opens the folder itself, which must not be a link: nothing says how far that one may lead.
    pub fn open(folder: &Path) -> Result<Self, PublishError> {
        let name = folder.to_string_lossy();
        // A slash or a dot at the end would make the system follow the link before it.
        let folder: PathBuf = folder.components().collect();
        match openat(CWD, &folder, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(root) => Ok(Self { root }),
            Err(Errno::NOENT) => Err(PublishError::EmptySite { left_out: ": it does not exist".to_owned() }),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(PublishError::unsafe_path(
                &name,
                "it is no folder, or a link; name a real folder as the output directory",
            )),
            Err(e) => Err(PublishError::unreadable(&name, e.into())),
        }
    }

    /// Names in the folder at `path`, sorted, without those that are left out; none when they are more
    /// than `most`.
    pub fn names(
        &self,
        path: &Path,
        most: usize,
        mut is_left_out: impl FnMut(&OsStr) -> bool,
    ) -> io::Result<Option<Vec<OsString>>> {
        let mut names = Vec::new();
        for entry in Dir::new(self.open_node(path, OFlags::DIRECTORY)?)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." || is_left_out(name) {
                continue;
            }
            if names.len() == most {
                return Ok(None);
            }
            names.push(name.to_owned());
        }
        names.sort_unstable();
        Ok(Some(names))
    }

    /// What stands at `path`, whose parents are folders.
    pub fn node(&self, path: &Path) -> io::Result<Node> {
        let stat = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if !parent.as_os_str().is_empty() => {
                statat(self.open_node(parent, OFlags::DIRECTORY)?, name, AtFlags::SYMLINK_NOFOLLOW)?
            }
            (_, Some(name)) => statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW)?,
            (_, None) => return Ok(Node::Folder),
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Node::File { size: u64::try_from(stat.st_size).unwrap_or(0) },
            FileType::Directory => Node::Folder,
            FileType::Symlink => Node::Link,
            _ => Node::Special,
        })
    }

    /// Opens the regular file at `path`.
    pub fn file(&self, path: &Path) -> io::Result<File> {
        // Not blocking: a pipe put in the file's place would wait for a writer for ever.
        let file = File::from(self.open_node(path, OFlags::NONBLOCK)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file"));
        }
        Ok(file)
    }

    /// Path without links of what the link at `path` stands for.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, LinkFault> {
        let mut resolved = PathBuf::new();
        let mut rest: VecDeque<OsString> = components(path).collect();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                if !resolved.pop() {
                    return Err(LinkFault::Leaves);
                }
                continue;
            }
            resolved.push(&name);
            match self.node(&resolved) {
                Ok(Node::Link) => {}
                Ok(Node::Folder) => continue,
                Ok(_) if rest.is_empty() => continue,
                Ok(_) => return Err(LinkFault::Dangling),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(LinkFault::Dangling),
                Err(e) => return Err(e.into()),
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(LinkFault::Loop);
            }
            let target = self.target(&resolved)?;
            if target.is_absolute() {
                return Err(LinkFault::Leaves);
            }
            resolved.pop();
            for component in components(&target).collect::<Vec<_>>().into_iter().rev() {
                rest.push_front(component);
            }
        }
        Ok(resolved)
    }

    fn target(&self, link: &Path) -> io::Result<PathBuf> {
        let (parent, name) = (link.parent().unwrap_or(Path::new("")), link.file_name().unwrap_or_default());
        let target = readlinkat(self.open_node(parent, OFlags::DIRECTORY)?, name, Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    fn open_node(&self, path: &Path, last: OFlags) -> io::Result<OwnedFd> {
        const STEP: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);
        let mut names = components(path).peekable();
        if names.peek().is_none() {
            return Ok(openat(&self.root, ".", STEP | OFlags::DIRECTORY, Mode::empty())?);
        }
        let mut folder: Option<OwnedFd> = None;
        while let Some(name) = names.next() {
            let flags = STEP | if names.peek().is_some() { OFlags::DIRECTORY | OFlags::PATH } else { last };
            folder = Some(match &folder {
                Some(folder) => openat(folder, &name, flags, Mode::empty())?,
                None => openat(&self.root, &name, flags, Mode::empty())?,
            });
        }
        folder.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Names on a relative path, `..` included. The callers have dealt with absolute ones.
fn components(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    })
}
