//! What is to be deployed: a folder, a ZIP archive, or a git repository.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use common::name::ProjectName;
use url::Url;

use crate::exit::Usage;

/// How ZIP archives begin: the first entry, or the end of an empty one.
const ZIP_SIGNATURES: [&[u8; 4]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

/// A source that exists, as far as this machine can tell.
#[derive(Debug, PartialEq, Eq)]
pub enum Given {
    /// A folder, to be packed.
    Folder(PathBuf),
    /// A ZIP archive.
    Zip(PathBuf),
    /// A git repository over HTTP(S).
    Git(Url),
}

impl Given {
    /// Finds out what `text` names.
    pub fn find(text: &str) -> Result<Self, Usage> {
        if text.contains("://") {
            return repository(text);
        }
        let path = PathBuf::from(text);
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => Ok(Self::Folder(path)),
            Ok(meta) if meta.is_file() => archive(path),
            Ok(_) => Err(Usage::new(format!("`{text}` is neither a folder nor a file"))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && text.starts_with("git@") => Err(Usage::new(format!(
                "`{text}` is an SSH address: repositories are fetched over https, like https://{}",
                text.trim_start_matches("git@").replacen(':', "/", 1)
            ))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Usage::new(format!(
                "there is no folder or file `{text}`; a repository is named with its whole address, like https://host/repo.git"
            ))),
            Err(e) => Err(Usage::new(format!("`{text}` can't be read: {e}"))),
        }
    }

    /// What people call it.
    pub fn label(&self) -> Option<String> {
        let name = match self {
            Self::Folder(path) => path.canonicalize().ok()?.file_name()?.to_string_lossy().into_owned(),
            Self::Zip(path) => path.file_name()?.to_string_lossy().into_owned(),
            Self::Git(url) => url.path_segments()?.rfind(|s| !s.is_empty())?.to_owned(),
        };
        Some(name)
    }

    /// The project's name when none was given.
    pub fn project(&self) -> Result<ProjectName, Usage> {
        let label = self.label();
        let stem = label.as_deref().map(|label| match self {
            Self::Folder(_) => label,
            Self::Zip(_) => Path::new(label).file_stem().and_then(|s| s.to_str()).unwrap_or(label),
            Self::Git(_) => label.trim_end_matches(".git"),
        });
        let nearest = stem.and_then(ProjectName::nearest);
        nearest
            .ok_or_else(|| Usage::new("no project name can be made of this source's name: choose one with --project"))
    }
}

fn repository(text: &str) -> Result<Given, Usage> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Given::Git(url)),
        Ok(url) => {
            let scheme = url.scheme();
            Err(Usage::new(format!("repositories are fetched over http or https, not {scheme}: use the https address")))
        }
        Err(e) => Err(Usage::new(format!("`{text}` is no URL: {e}"))),
    }
}

fn archive(path: PathBuf) -> Result<Given, Usage> {
    let mut signature = [0; 4];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut signature));
    match read {
        Ok(()) if ZIP_SIGNATURES.contains(&&signature) => Ok(Given::Zip(path)),
        Err(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => {
            Err(Usage::new(format!("{} can't be read: {e}", path.display())))
        }
        _ => Err(Usage::new(format!("{} is no ZIP archive: give a folder, a .zip file or a git URL", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_source_is_a_folder_an_archive_or_a_repository() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("My App")).unwrap();
        std::fs::write(at("site v2.zip"), b"PK\x03\x04...").unwrap();
        std::fs::write(at("fake.zip"), b"PK").unwrap();
        let find = |name: &str| Given::find(at(name).to_str().unwrap());
        assert_eq!(find("My App").unwrap().project().unwrap().as_str(), "my-app");
        assert_eq!(find("site v2.zip").unwrap().project().unwrap().as_str(), "site-v2");
        let repository = Given::find("https://host/owner/React-Weather.git/").unwrap();
        assert_eq!(repository.project().unwrap().as_str(), "react-weather");
        assert!(find("fake.zip").unwrap_err().to_string().contains("no ZIP archive"));
        assert!(find("missing").unwrap_err().to_string().contains("there is no folder"));
    }

    #[test]
    fn addresses_that_cannot_be_fetched_are_refused_with_one_that_can() {
        let refusal = |text: &str| Given::find(text).unwrap_err().to_string();
        assert!(refusal("git@host.example:me/app.git").contains("https://host.example/me/app.git"));
        assert!(refusal("ssh://git@host/app.git").contains("not ssh"));
        assert!(refusal("file:///srv/app.git").contains("not file"));
    }
}
