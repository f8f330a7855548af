//! How a ZIP ends, and what its directory lists, read before memory is spent on it.
//!
//! The library that reads the entries looks for a directory in several places and believes its claims. What passes
//! here has exactly one place, right before the record at the end, and holds as many entries as that record says.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};

use super::{ArchiveError, shown};

/// Bytes of the record at the end, without the comment that may follow it.
const END: usize = 22;
/// Bytes of the longest comment.
const COMMENT: usize = u16::MAX as usize;
/// Bytes of the record that points to [`END64`], and stands right before [`END`].
const LOCATOR: usize = 20;
/// Bytes of the record that has what is too large for [`END`], in the only form that is written in practice.
const END64: usize = 56;
/// Bytes of an entry in the directory, without its name, fields and comment.
const ENTRY: usize = 46;
/// Bytes of a directory, at most: a thousand for each entry where there are very many, and all of it is kept in memory.
const DIRECTORY: u64 = 64 << 20;

/// Where the directory is.
#[derive(Debug, PartialEq, Eq)]
struct Directory {
    start: u64,
    end: u64,
    entries: u64,
}

/// Refuses an archive whose directory can't be right or lists more than `limit` entries. Says how many it lists.
pub(super) fn check(file: &mut (impl Read + Seek), limit: u64) -> Result<u64, ArchiveError> {
    let directory = find(file, limit)?;
    walk(file, &directory, limit)?;
    Ok(directory.entries)
}

fn find(file: &mut (impl Read + Seek), limit: u64) -> Result<Directory, ArchiveError> {
    let length = file.seek(SeekFrom::End(0))?;
    let tail_start = length.saturating_sub((END64 + LOCATOR + END + COMMENT) as u64);
    file.seek(SeekFrom::Start(tail_start))?;
    let mut tail = Vec::new();
    file.take(length - tail_start).read_to_end(&mut tail)?;

    let first = tail.len().saturating_sub(END + COMMENT);
    let fits = |at: &usize| {
        tail.get(*at..*at + END)
            .is_some_and(|end| end.starts_with(b"PK\x05\x06") && *at + END + usize::from(u16_at(end, 20)) <= tail.len())
    };
    let Some(at) = (first..tail.len()).rev().find(fits) else {
        return Err(no_end(file)?);
    };
    let end = &tail[at..];
    let mut entries = u64::from(u16_at(end, 10));
    let mut size = u64::from(u32_at(end, 12));
    let mut offset = u64::from(u32_at(end, 16));
    let mut directory_end = tail_start + at as u64;
    let may_be_64 = entries == u64::from(u16::MAX) || size == u64::from(u32::MAX) || offset == u64::from(u32::MAX);
    let locator = at.checked_sub(LOCATOR).map(|at| &tail[at..]).filter(|locator| locator.starts_with(b"PK\x06\x07"));
    if let Some(locator) = locator.filter(|_| may_be_64) {
        let end64 = at.checked_sub(LOCATOR + END64).map(|at| &tail[at..]).filter(|end| end.starts_with(b"PK\x06\x06"));
        let end64 = end64.ok_or_else(|| damaged("its last part is not where it should be"))?;
        directory_end -= (LOCATOR + END64) as u64;
        (entries, size, offset) = (u64_at(end64, 32), u64_at(end64, 40), u64_at(end64, 48));
        if entries > limit {
            return Err(ArchiveError::TooManyFiles { listed: Some(entries), limit });
        }
        let whole = u32_at(locator, 4) == 0 && u32_at(locator, 16) <= 1 && u32_at(end64, 16) == 0;
        if !whole || u32_at(end64, 20) != 0 || u64_at(end64, 24) != entries {
            return Err(ArchiveError::Split);
        }
        if u64_at(end64, 4) != (END64 - 12) as u64 || u64_at(locator, 8) != directory_end || entries == 0 {
            return Err(damaged("its last part contradicts itself"));
        }
        // Nothing may stand before such an archive, so its offsets are exact.
        if offset.checked_add(size) != Some(directory_end) {
            return Err(damaged("it is not where it should be"));
        }
    } else if u16_at(end, 4) != 0 || u16_at(end, 6) != 0 || u16_at(end, 8) != u16_at(end, 10) {
        return Err(ArchiveError::Split);
    }
    if entries == 0 {
        return Err(ArchiveError::Empty);
    }
    if entries > limit {
        return Err(ArchiveError::TooManyFiles { listed: Some(entries), limit });
    }
    if size > DIRECTORY {
        return Err(damaged("it is longer than any directory needs to be"));
    }
    // What stands before the archive, such as a program that unpacks it, moves everything by its length.
    let start = directory_end.checked_sub(size).filter(|start| *start >= offset);
    let start = start.ok_or_else(|| damaged("it is not where it should be; a part of the archive is missing"))?;
    Ok(Directory { start, end: directory_end, entries })
}

/// Goes through the whole directory, and finds names that occur twice.
fn walk(file: &mut (impl Read + Seek), directory: &Directory, limit: u64) -> Result<(), ArchiveError> {
    file.seek(SeekFrom::Start(directory.start))?;
    let mut rest = file.take(directory.end - directory.start);
    let mut names = HashSet::new();
    let mut seen = 0;
    while rest.limit() > 0 {
        let mut entry = [0; ENTRY];
        read(&mut rest, &mut entry)?;
        if !entry.starts_with(b"PK\x01\x02") {
            return Err(damaged("an entry of it begins with the wrong bytes"));
        }
        seen += 1;
        if seen > limit {
            return Err(ArchiveError::TooManyFiles { listed: None, limit });
        }
        let mut name = vec![0; usize::from(u16_at(&entry, 28))];
        read(&mut rest, &mut name)?;
        let others = u64::from(u16_at(&entry, 30)) + u64::from(u16_at(&entry, 32));
        if io::copy(&mut (&mut rest).take(others), &mut io::sink())? != others {
            return Err(damaged("it ends too early"));
        }
        // A folder that is named again is no loss.
        if !name.ends_with(b"/")
            && let Some(name) = names.replace(name)
        {
            return Err(ArchiveError::Twice { name: shown(&String::from_utf8_lossy(&name)), how: "twice" });
        }
    }
    if seen != directory.entries {
        return Err(damaged("it does not hold as many entries as the archive says"));
    }
    Ok(())
}

fn read(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), ArchiveError> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
        _ => error.into(),
    })
}

/// Why an archive has no end: judged by how it begins.
fn no_end(file: &mut (impl Read + Seek)) -> Result<ArchiveError, ArchiveError> {
    file.rewind()?;
    let mut head = Vec::new();
    file.take(512).read_to_end(&mut head)?;
    let begins = |with: &[u8]| head.starts_with(with);
    if begins(b"PK\x03\x04") {
        return Ok(ArchiveError::Truncated);
    }
    if begins(b"PK\x07\x08") || begins(b"PK00") {
        return Ok(ArchiveError::Split);
    }
    let format = match () {
        () if begins(b"\x1f\x8b") => Some("a gzip file"),
        () if begins(b"7z\xbc\xaf\x27\x1c") => Some("a 7-Zip archive"),
        () if begins(b"Rar!") => Some("a RAR archive"),
        () if begins(b"\xfd7zXZ") => Some("an xz file"),
        () if begins(b"BZh") => Some("a bzip2 file"),
        () if head.get(257..262) == Some(b"ustar") => Some("a tar archive"),
        () => None,
    };
    Ok(ArchiveError::NotZip { format })
}

fn damaged(why: &str) -> ArchiveError {
    ArchiveError::Damaged { what: "its directory".into(), why: why.into() }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
