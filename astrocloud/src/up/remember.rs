//! Logs the command line in to the platform that was just started, unless it is logged in to one elsewhere.

use std::path::{Path, PathBuf};

use common::secret::Secret;
use url::Url;

use crate::config::{self, Login};
use crate::exit;

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Remembered {
    /// The command line talks to this platform now.
    Done,
    /// It does now; before, it talked to this other one on this machine.
    Instead(Url),
    /// It goes on talking to this one, which is elsewhere.
    Kept(Url),
    /// It could not be done, for this reason.
    Failed(String),
}

/// Writes the command line's configuration file.
pub fn remember(api: &Url, token: &Secret) -> Remembered {
    match config::path() {
        Some(path) => remember_in(&path, api, token),
        None => Remembered::Failed("neither XDG_CONFIG_HOME nor HOME is set".to_owned()),
    }
}

fn remember_in(path: &PathBuf, api: &Url, token: &Secret) -> Remembered {
    let wanted = Login { api: api.clone(), token: token.clone() };
    let before = match config::read(path) {
        Ok(before) => before,
        Err(e) => return Remembered::Failed(exit::sentence(&e)),
    };
    let done = match before {
        Some(before) if before == wanted => return Remembered::Done,
        Some(before) if config::same_origin(&before.api, api) => Remembered::Done,
        Some(before) if config::is_local(&before.api) => Remembered::Instead(before.api),
        Some(before) => return Remembered::Kept(before.api),
        None => Remembered::Done,
    };
    match config::write(Path::new(path), &wanted) {
        Ok(()) => done,
        Err(e) => Remembered::Failed(exit::sentence(&e)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_login_elsewhere_is_kept_and_a_local_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let url = |text: &str| Url::parse(text).unwrap();
        let token = Secret::new("t");
        let (first, second) = (url("http://127.0.0.1:1/"), url("http://127.0.0.1:2/"));
        assert_eq!(remember_in(&path, &first, &token), Remembered::Done);
        assert_eq!(remember_in(&path, &first, &token), Remembered::Done);
        assert_eq!(remember_in(&path, &second, &token), Remembered::Instead(first));
        assert_eq!(config::read(&path).unwrap().unwrap().api, second);

        let elsewhere = Login { api: url("https://api.example.com/"), token: Secret::new("theirs") };
        config::write(&path, &elsewhere).unwrap();
        assert_eq!(remember_in(&path, &second, &token), Remembered::Kept(elsewhere.api.clone()));
        assert_eq!(config::read(&path).unwrap().unwrap(), elsewhere);
    }
}
