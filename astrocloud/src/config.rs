//! Which platform the command line talks to, and with which token: the environment, else a file that
//! `astrocloud login` or `astrocloud up` wrote.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use common::secret::Secret;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::exit::Usage;

/// Names the platform's API.
pub const API_VARIABLE: &str = "ASTROCLOUD_API";
/// Holds the token.
pub const TOKEN_VARIABLE: &str = "ASTROCLOUD_TOKEN";
/// Where `astrocloud up` has its API when nothing else is said.
pub const DEFAULT_API: &str = "http://127.0.0.1:8081/";

/// A platform's API and the token it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Address of the API.
    pub api: Url,
    /// Its token.
    pub token: Secret,
}

/// Where the file is: below `$XDG_CONFIG_HOME`, else `~/.config`. `None` when neither is known.
pub fn path() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(base.join("astrocloud/config.toml"))
}

/// Reads the file; `None` when there is none.
///
/// # Errors
/// When it can't be read or is not as `login` writes it.
pub fn read(path: &Path) -> anyhow::Result<Option<Login>> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text)
            .map(Some)
            .with_context(|| format!("{} can't be understood; `astrocloud login` writes it anew", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("{} can't be read", path.display())),
    }
}

/// Writes the file, for its owner's eyes only; it is whole at any time.
///
/// # Errors
/// When it can't be written.
pub fn write(path: &Path, login: &Login) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        // Temporary files have mode 0600, and renaming keeps it.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(toml::to_string(login)?.as_bytes())?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("{} can't be written", path.display()))
}

/// The login that counts now.
///
/// # Errors
/// When there is none, or it is wrong.
pub fn login() -> anyhow::Result<Login> {
    let (api, token) = (variable(API_VARIABLE), variable(TOKEN_VARIABLE));
    // A script that says everything does not depend on what lies in its home.
    let file = if api.is_some() && token.is_some() { None } else { read_default()? };
    choose(api, token, file)
}

fn read_default() -> anyhow::Result<Option<Login>> {
    path().map_or(Ok(None), |path| read(&path))
}

/// The address of the API that counts now, also when there is no token yet.
///
/// # Errors
/// When it is wrong.
pub fn api() -> anyhow::Result<Url> {
    if let Some(api) = variable(API_VARIABLE) {
        return api_url(&api);
    }
    read_default()?.map_or_else(|| api_url(DEFAULT_API), |login| Ok(login.api))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// An address of an API, as people write it.
///
/// # Errors
/// When it is no http or https URL.
pub fn api_url(text: &str) -> anyhow::Result<Url> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(Usage::new(format!("`{text}` is no address of an API: it looks like {DEFAULT_API}")).into()),
    }
}

/// The environment wins. The file's token is never shown to another API than the file's.
fn choose(api: Option<String>, token: Option<String>, file: Option<Login>) -> anyhow::Result<Login> {
    let api = api.map(|text| api_url(&text)).transpose()?;
    let token = token.map(Secret::new);
    match (api, token, file) {
        (Some(api), Some(token), _) => Ok(Login { api, token }),
        (None, Some(token), Some(file)) => Ok(Login { api: file.api, token }),
        (None, Some(token), None) => Ok(Login { api: api_url(DEFAULT_API)?, token }),
        (None, None, Some(file)) => Ok(file),
        (Some(api), None, Some(file)) if same_origin(&api, &file.api) => Ok(file),
        (Some(api), None, _) => {
            anyhow::bail!("there is no token for {api}: set {TOKEN_VARIABLE}, or run `astrocloud login --api {api}`")
        }
        (None, None, None) => {
            anyhow::bail!(
                "you are not logged in: run `astrocloud up` to start a platform on this machine, or `astrocloud login`"
            )
        }
    }
}

/// Whether two addresses are of one API.
pub fn same_origin(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
}

/// Whether an address is on this machine's loopback.
pub fn is_local(api: &Url) -> bool {
    match api.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn login(api: &str, token: &str) -> Login {
        Login { api: Url::parse(api).unwrap(), token: Secret::new(token) }
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file = || Some(login("http://127.0.0.1:1/", "file"));
        let some = |text: &str| Some(text.to_owned());
        let chosen = |api, token, file| choose(api, token, file).unwrap();
        assert_eq!(chosen(some("http://a:2"), some("t"), file()), login("http://a:2/", "t"));
        assert_eq!(chosen(None, some("t"), file()), login("http://127.0.0.1:1/", "t"));
        assert_eq!(chosen(None, some("t"), None), login(DEFAULT_API, "t"));
        assert_eq!(chosen(None, None, file()), login("http://127.0.0.1:1/", "file"));
        assert_eq!(chosen(some("http://127.0.0.1:1"), None, file()), login("http://127.0.0.1:1/", "file"));
    }

    #[test]
    fn a_token_is_not_shown_to_another_api() {
        let file = Some(login("http://127.0.0.1:1/", "file"));
        let error = choose(Some("http://127.0.0.1:2/".to_owned()), None, file).unwrap_err().to_string();
        assert!(error.contains(TOKEN_VARIABLE) && error.contains("login --api http://127.0.0.1:2/"), "{error}");
        assert!(choose(None, None, None).unwrap_err().to_string().contains("astrocloud up"));
    }

    #[test]
    fn a_wrong_address_is_a_mistake_in_the_arguments() {
        for wrong in ["", "127.0.0.1:8081", "ftp://host/", "http://"] {
            assert!(api_url(wrong).unwrap_err().is::<Usage>(), "{wrong}");
        }
    }

    #[test]
    fn the_file_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("astrocloud/config.toml");
        assert_eq!(read(&path).unwrap(), None);
        for token in ["one", "two"] {
            write(&path, &login("http://127.0.0.1:1/", token)).unwrap();
            assert_eq!(read(&path).unwrap(), Some(login("http://127.0.0.1:1/", token)));
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(&path, "api = 3").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("astrocloud login"));
    }
}
