//! A project folder as a ZIP archive in a temporary file, without what git would leave out.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ignore::{DirEntry, WalkBuilder};
use indicatif::ProgressBar;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Files with the rules of what is not uploaded, like `.gitignore` and before it.
const OWN_RULES: &str = ".astrocloudignore";
/// Never uploaded, wherever they lie: history, and what an install makes anew.
const LEFT_OUT: [&str; 2] = [".git", "node_modules"];
/// The fastest: the archive is unpacked once, and upload and disk are faster than a stronger level.
const DEFLATE_LEVEL: i64 = 1;
/// Extensions whose files are compressed already.
const COMPRESSED: [&str; 16] = [
    "avif", "br", "gif", "gz", "jpeg", "jpg", "mp3", "mp4", "ogg", "png", "webm", "webp", "woff", "woff2", "zip", "zst",
];
/// From this size on an entry needs the large format.
const LARGE: u64 = u32::MAX as u64;

/// A finished archive, at its beginning. Its file has no name and is gone when it is dropped.
#[derive(Debug)]
pub struct Archive {
    /// The ZIP.
    pub file: File,
    /// Its size, bytes.
    pub bytes: u64,
    /// Files and links in it.
    pub files: usize,
    /// Pipes, sockets and devices that were left out.
    pub left_out: Vec<PathBuf>,
}

/// Why a folder can't be made an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Nothing to upload.
    #[error("`{folder}` holds no file to upload{}", if *rules { ": what is there is left out by .gitignore or .astrocloudignore; \
        a line like `!dist/**` in .astrocloudignore takes it back in" } else { "" })]
    Empty {
        /// The folder.
        folder: PathBuf,
        /// Whether there is something that rules left out.
        rules: bool,
    },
    /// A file can't be read.
    #[error("{path} can't be read: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder can't be walked, or a rule file is wrong.
    #[error("the folder can't be read: {0}")]
    Walk(#[from] ignore::Error),
    /// Archives and the web have Unicode names.
    #[error("{0:?} has a name that is not UTF-8: rename it, or leave it out with .astrocloudignore")]
    NotUnicode(PathBuf),
    /// The archive can't be written.
    #[error("the archive can't be written to the temporary folder: {0}")]
    Write(#[from] zip::result::ZipError),
    /// The temporary file can't be made.
    #[error("no temporary file can be made: {0}")]
    Temporary(#[from] io::Error),
}

/// Packs a folder. `progress` counts files. The same folder gives the same bytes.
///
/// # Errors
/// When nothing is to be packed, or something can't be read or written.
pub fn pack(folder: &Path, progress: &ProgressBar) -> Result<Archive, ArchiveError> {
    let mut zip = ZipWriter::new(BufWriter::new(tempfile::tempfile()?));
    let mut files = 0;
    let mut left_out = Vec::new();
    for entry in walk(folder) {
        let entry = entry?;
        if let Some(error) = entry.error() {
            return Err(error.clone().into());
        }
        let Some(kind) = entry.file_type().filter(|kind| !kind.is_dir()) else { continue };
        let path = entry.path();
        let name = name_in(folder, path)?;
        if kind.is_symlink() {
            let target = std::fs::read_link(path).map_err(|e| unreadable(path, e))?;
            let target = target.to_str().ok_or_else(|| ArchiveError::NotUnicode(target.clone()))?;
            zip.add_symlink(name, target, SimpleFileOptions::default())?;
        } else if kind.is_file() {
            add_file(&mut zip, path, name)?;
        } else {
            left_out.push(path.to_owned());
            continue;
        }
        files += 1;
        progress.inc(1);
    }
    if files == 0 {
        let rules = std::fs::read_dir(folder).map_err(|e| unreadable(folder, e))?.next().is_some();
        return Err(ArchiveError::Empty { folder: folder.to_owned(), rules });
    }
    let mut file = zip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    let bytes = file.stream_position()?;
    file.rewind()?;
    Ok(Archive { file, bytes, files, left_out })
}

/// Walks a folder in the order of names. Rules count also outside a repository; those of parent folders count
/// inside one only, because elsewhere they are somebody else's.
fn walk(folder: &Path) -> ignore::Walk {
    WalkBuilder::new(folder)
        .hidden(false)
        .ignore(false)
        .git_global(false)
        .require_git(false)
        .parents(in_repository(folder))
        .add_custom_ignore_filename(OWN_RULES)
        .follow_links(false)
        .sort_by_file_name(Ord::cmp)
        .filter_entry(|entry: &DirEntry| !LEFT_OUT.iter().any(|name| entry.file_name() == *name))
        .build()
}

fn in_repository(folder: &Path) -> bool {
    let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    absolute.ancestors().any(|parent| parent.join(".git").exists())
}

fn name_in<'a>(folder: &Path, path: &'a Path) -> Result<&'a str, ArchiveError> {
    let inside = path.strip_prefix(folder).unwrap_or(path);
    inside.to_str().ok_or_else(|| ArchiveError::NotUnicode(path.to_owned()))
}

fn unreadable(path: &Path, source: io::Error) -> ArchiveError {
    ArchiveError::Read { path: path.to_owned(), source }
}

fn add_file(zip: &mut ZipWriter<BufWriter<File>>, path: &Path, name: &str) -> Result<(), ArchiveError> {
    let mut file = File::open(path).map_err(|e| unreadable(path, e))?;
    let meta = file.metadata().map_err(|e| unreadable(path, e))?;
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let method = if COMPRESSED.iter().any(|known| known.eq_ignore_ascii_case(extension)) {
        CompressionMethod::Stored
    } else {
        CompressionMethod::Deflated
    };
    let options = SimpleFileOptions::default()
        .compression_method(method)
        .compression_level((method == CompressionMethod::Deflated).then_some(DEFLATE_LEVEL))
        .unix_permissions(if meta.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 })
        .large_file(meta.len() >= LARGE);
    zip.start_file(name, options)?;
    io::copy(&mut file, zip).map_err(|e| unreadable(path, e))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::Read as _;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    /// Mode and content by name.
    fn contents(archive: Archive) -> BTreeMap<String, (u32, String)> {
        let mut zip = zip::ZipArchive::new(archive.file).unwrap();
        let entry = |i| {
            let mut file = zip.by_index(i).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            (file.name().unwrap().into_owned(), (file.unix_mode().unwrap(), text))
        };
        (0..archive.files).map(entry).collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        contents(pack(folder, &ProgressBar::hidden()).unwrap()).into_keys().collect()
    }

    #[test]
    fn rules_count_also_outside_a_repository() {
        let folder = folder(&[
            (".gitignore", "*.log\n/secret\n"),
            ("web/.gitignore", "dist\n"),
            (".env.example", "A=1"),
            ("index.html", "hi"),
            ("debug.log", ""),
            ("secret/key", ""),
            ("web/app.js", ""),
            ("web/dist/app.js", ""),
            (".git/config", ""),
            ("web/node_modules/left-pad/index.js", ""),
        ]);
        let expected = [".env.example", ".gitignore", "index.html", "web/.gitignore", "web/app.js"];
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn own_rules_come_before_those_of_git() {
        let folder = folder(&[
            (".gitignore", "dist\n"),
            (".astrocloudignore", "!dist\n/docs\n"),
            ("dist/index.html", ""),
            ("docs/notes.md", ""),
        ]);
        assert_eq!(names(folder.path()), [".astrocloudignore", ".gitignore", "dist/index.html"]);
    }

    #[test]
    fn rules_above_count_inside_a_repository_only() {
        let outer = folder(&[(".gitignore", "*.tmp\n"), ("app/index.html", ""), ("app/a.tmp", "")]);
        let app = outer.path().join("app");
        assert_eq!(names(&app), ["a.tmp", "index.html"]);
        fs::create_dir(outer.path().join(".git")).unwrap();
        assert_eq!(names(&app), ["index.html"]);
    }

    #[test]
    fn links_and_executable_files_stay_what_they_are() {
        let folder = folder(&[("run.sh", "#!/bin/sh"), ("data.txt", "x")]);
        fs::set_permissions(folder.path().join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink("data.txt", folder.path().join("link")).unwrap();
        std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let archive = pack(folder.path(), &ProgressBar::hidden()).unwrap();
        assert_eq!(archive.left_out, [folder.path().join("socket")]);
        let contents = contents(archive);
        assert_eq!(contents["run.sh"], (0o100_755, "#!/bin/sh".to_owned()));
        assert_eq!(contents["data.txt"].0, 0o100_644);
        assert_eq!(contents["link"].0 & 0o170_000, 0o120_000);
        assert_eq!(contents["link"].1, "data.txt");
    }

    #[test]
    fn the_same_folder_gives_the_same_archive() {
        let folder = folder(&[("b.txt", "b"), ("a/c.txt", "c"), ("x.png", "x")]);
        let bytes = || {
            let mut bytes = Vec::new();
            pack(folder.path(), &ProgressBar::hidden()).unwrap().file.read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(bytes(), bytes());
    }

    #[test]
    fn a_folder_without_files_is_refused_and_says_why() {
        let refusal = |folder: &Path| pack(folder, &ProgressBar::hidden()).unwrap_err().to_string();
        let empty = folder(&[]);
        assert!(refusal(empty.path()).ends_with("holds no file to upload"));
        let ignored = folder(&[("dist/index.html", ""), ("dist/.gitignore", "*\n")]);
        assert!(refusal(&ignored.path().join("dist")).contains(".astrocloudignore"));
    }
}
