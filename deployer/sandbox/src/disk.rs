//! How much a sandbox has written, found by walking.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::walk::{Stop, is_file, walk};

/// Bytes of one block in a file's `st_blocks`, whatever the file system's own block size.
const BLOCK: u64 = 512;

/// Files with several names that are remembered so as to count each once, at most: 16 bytes each.
const SHARED_FILES: usize = 1_000_000;

/// What a walk over the writable folders found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes on disk. The largest number if the tree is too large to count.
    pub bytes: u64,
    /// The length in bytes of the longest file.
    pub longest: u64,
}

/// Walks `roots`. Blocking: run it where blocking is allowed.
pub(crate) fn usage(roots: &[PathBuf]) -> Usage {
    let mut usage = Usage::default();
    let mut shared = HashSet::new();
    for root in roots {
        let walked = walk(root, &mut |entry| {
            let stat = &entry.stat;
            if is_file(stat) {
                let several = stat.st_nlink > 1 && shared.len() < SHARED_FILES;
                if several && !shared.insert((stat.st_dev, stat.st_ino)) {
                    return;
                }
                usage.longest = usage.longest.max(u64::try_from(stat.st_size).unwrap_or_default());
            }
            usage.bytes += u64::try_from(stat.st_blocks).unwrap_or_default() * BLOCK;
        });
        if walked == Err(Stop::TooLarge) {
            usage.bytes = u64::MAX;
            return usage;
        }
    }
    usage
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once_and_holes_do_not_count() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a"), vec![1; 1 << 20]).unwrap();
        std::fs::hard_link(root.path().join("a"), root.path().join("b")).unwrap();
        std::fs::File::create(root.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
        let usage = usage(&[root.path().into()]);
        assert!(usage.bytes >= 1 << 20 && usage.bytes < 2 << 20, "{usage:?}");
        assert_eq!(usage.longest, 1 << 30);
    }
}
