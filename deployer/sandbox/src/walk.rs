//! Walks a folder that untrusted commands write to, without ever following a link.
//!
//! Every step goes through the open parent folder, so that swapping a folder for a link while we walk leads nowhere.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Folders within folders, at most. Real trees stay under 60; each level holds one open file while we walk.
const DEPTH: u32 = 200;

/// Entries of one walk, at most: ten times the largest `node_modules` seen, and some seconds of walking.
const ENTRIES: u64 = 5_000_000;

/// Why a walk gave up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Deeper than [`DEPTH`] or more than [`ENTRIES`].
    TooLarge,
    /// The root itself cannot be read.
    Io(Errno),
}

/// One file, link or folder; folders come before what they contain.
pub(crate) struct Entry<'a> {
    /// The open folder that it is in.
    pub parent: BorrowedFd<'a>,
    pub name: &'a CStr,
    pub stat: Stat,
}

/// Visits `root` and everything below it. What vanishes meanwhile is left out.
pub(crate) fn walk(root: &Path, visit: &mut dyn FnMut(&Entry<'_>)) -> Result<(), Stop> {
    let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("/"));
    let name = root.file_name().unwrap_or(std::ffi::OsStr::new("."));
    let name = std::ffi::CString::new(name.as_encoded_bytes()).map_err(|_| Stop::Io(Errno::INVAL))?;
    let parent = rustix::fs::openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Stop::Io)?;
    let stat = rustix::fs::statat(&parent, &*name, AtFlags::SYMLINK_NOFOLLOW).map_err(Stop::Io)?;
    visit(&Entry { parent: parent.as_fd(), name: &name, stat });
    if !is_dir(&stat) {
        return Ok(());
    }
    let root = open(parent.as_fd(), &name).map_err(Stop::Io)?;
    below(root, visit, DEPTH, &mut 0)
}

fn below(folder: OwnedFd, visit: &mut dyn FnMut(&Entry<'_>), depth: u32, seen: &mut u64) -> Result<(), Stop> {
    if depth == 0 {
        return Err(Stop::TooLarge);
    }
    let Ok(mut entries) = Dir::read_from(&folder) else { return Ok(()) };
    while let Some(Ok(entry)) = entries.read() {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        *seen += 1;
        if *seen > ENTRIES {
            return Err(Stop::TooLarge);
        }
        let Ok(stat) = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        visit(&Entry { parent: folder.as_fd(), name, stat });
        if is_dir(&stat)
            && let Ok(inner) = open(folder.as_fd(), name)
        {
            below(inner, visit, depth - 1, seen)?;
        }
    }
    Ok(())
}

/// Opens a folder for listing. A command could hide what it wrote in a folder without the right to list it: as it
/// belongs to the same user, we take that right back.
fn open(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let list = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, list, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let held = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let held = rustix::fs::openat(parent, name, held, Mode::empty())?;
            let mode = rustix::fs::fstat(&held)?.st_mode;
            // Through the open file, not the name: the name may be a link by now.
            let path = format!("/proc/self/fd/{}", held.as_raw_fd());
            rustix::fs::chmod(path, Mode::from_raw_mode(mode) | Mode::RWXU)?;
            rustix::fs::openat(parent, name, list, Mode::empty())
        }
        other => other,
    }
}

/// Whether these are a folder's properties.
pub(crate) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether these are a regular file's properties.
pub(crate) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    fn names(root: &Path) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        walk(root, &mut |entry| {
            names.insert(entry.name.to_string_lossy().into_owned());
        })
        .unwrap();
        names
    }

    #[test]
    fn links_are_seen_but_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("folder")).unwrap();
        std::fs::write(root.path().join("folder/file"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("folder/link")).unwrap();
        let seen = names(&root.path().join("folder"));
        assert_eq!(seen, ["file", "folder", "link"].map(String::from).into());
    }

    #[test]
    fn a_tree_of_endless_depth_is_given_up() {
        let root = tempfile::tempdir().unwrap();
        let deep = std::iter::repeat_n("d", DEPTH as usize + 2).collect::<Vec<_>>().join("/");
        std::fs::create_dir_all(root.path().join(deep)).unwrap();
        assert_eq!(walk(root.path(), &mut |_| ()), Err(Stop::TooLarge));
    }
}
