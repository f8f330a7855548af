//! The data folder: one platform at a time has it, and nobody else on the machine can read its secrets.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::secret::{KeyRing, MasterKey, Secret};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::settings::Database;

/// What the edges' token is derived for.
const FEED_PURPOSE: &str = "astrocloud 2026-11 route feed token";
/// Holds the master key, 32 bytes in base64url, in place of the folder's file: so it may come from a key vault. What the
/// file's key sealed is sealed anew at the start, and the file may go then.
const KEY_VARIABLE: &str = "ASTROCLOUD_MASTER_KEY";
/// Holds master keys from before, with commas, for the start at which they are replaced.
const OLD_KEYS_VARIABLE: &str = "ASTROCLOUD_OLD_MASTER_KEYS";
/// File of the edges' token, for edges that run alone.
const EDGE_TOKEN: &str = "edge-token";
/// Characters of a path that stay as they are in a database's URL.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// An open data folder. It is locked until this is dropped or the process ends, however it ends.
pub struct State {
    folder: PathBuf,
    keys: KeyRing,
    api_token: Secret,
    _lock: File,
}

impl State {
    /// Takes the folder, which is made when there is none.
    ///
    /// # Errors
    /// When another platform has it, or it can't be used.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("the data folder {} can't be used", folder.display());
        make_private(folder).with_context(cannot)?;
        let folder = folder.canonicalize().with_context(cannot)?;
        let lock = lock(&folder)?;
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let keys = keys(&folder.join("master.key"), variable(KEY_VARIABLE), variable(OLD_KEYS_VARIABLE))?;
        let api_token = token(&folder.join("api-token"))?;
        let state = Self { folder, keys, api_token, _lock: lock };
        put_secret(&state.folder.join(EDGE_TOKEN), &state.feed_token()).with_context(cannot)?;
        Ok(state)
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The keys with which secrets are encrypted at rest.
    pub const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// The API's token, the same after every start.
    pub const fn api_token(&self) -> &Secret {
        &self.api_token
    }

    /// What edges show to get the route feed.
    pub fn feed_token(&self) -> Secret {
        Secret::new(format!("feed_{}", URL_SAFE_NO_PAD.encode(self.keys.newest().derive(FEED_PURPOSE))))
    }

    /// Address of the database that counts.
    pub fn database_url(&self, database: &Database) -> anyhow::Result<String> {
        match &database.url.0 {
            Some(url) => Ok(url.reveal().to_owned()),
            None => self.own_database_url(),
        }
    }

    /// Address of the database that is a file of the folder.
    pub fn own_database_url(&self) -> anyhow::Result<String> {
        let path = self.private("db")?.join("astrocloud.db");
        let path = path.to_str().context("the data folder's path is not UTF-8: choose another with --data-dir")?;
        Ok(format!("sqlite://{}?mode=rwc", utf8_percent_encode(path, PATH)))
    }

    /// Address of the object store.
    pub fn objects_url(&self) -> anyhow::Result<Url> {
        let folder = self.private("objects")?;
        Url::from_directory_path(&folder).map_err(|()| anyhow::anyhow!("{} is no absolute path", folder.display()))
    }

    /// A folder of one part, that nobody else can look into.
    pub fn private(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(name);
        make_private(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
        Ok(folder)
    }

    /// The folder in which builds and apps work. When they run as another user (`passable`), that user can pass
    /// through to it, but not look; what lies beside stays private.
    pub fn work(&self, passable: bool) -> anyhow::Result<PathBuf> {
        let folder = self.private("deployer")?;
        let mode = if passable { 0o711 } else { 0o700 };
        for path in [&self.folder, &folder] {
            std::fs::set_permissions(path, Permissions::from_mode(mode))
                .with_context(|| format!("the permissions of {} can't be set", path.display()))?;
        }
        Ok(folder)
    }
}

/// Makes a folder that nobody else can look into, unless it is there.
///
/// # Errors
/// When it can't be made.
pub fn make_private(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let cannot = || format!("{} can't be opened", path.display());
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            file.read_to_string(&mut owner).with_context(cannot)?;
            anyhow::bail!(
                "the data folder {} is in use by another platform (process {}): stop that one, or choose another folder \
                 with --data-dir",
                folder.display(),
                owner.trim()
            );
        }
        Err(TryLockError::Error(e)) => return Err(e).with_context(cannot),
    }
    let mut write = || {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write().with_context(cannot)?;
    Ok(file)
}

/// The master keys: `given` seals when it is there, else the one of the file, which is made when there is none. All others
/// only open what they sealed, until it is sealed anew.
fn keys(file: &Path, given: Option<String>, older: Option<String>) -> anyhow::Result<KeyRing> {
    let parse = |name: &str, text: &str| MasterKey::from_text(text.trim()).with_context(|| format!("{name} is wrong"));
    let mut others = Vec::new();
    for text in older.as_deref().unwrap_or_default().split(',').filter(|text| !text.trim().is_empty()) {
        others.push(parse(OLD_KEYS_VARIABLE, text)?);
    }
    let Some(given) = given else { return Ok(KeyRing::new(MasterKey::load_or_create(file)?, others)) };
    if file.exists() {
        others.push(MasterKey::load_or_create(file)?);
    }
    Ok(KeyRing::new(parse(KEY_VARIABLE, &given)?, others))
}

/// Reads the token, or makes it when there is none.
fn token(path: &Path) -> anyhow::Result<Secret> {
    let cannot = || format!("{} can't be used", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => {
            anyhow::bail!("{} is empty: delete it, and a new token is made", path.display())
        }
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let token = Secret::random("ast_");
            put_secret(path, &token).with_context(cannot)?;
            Ok(token)
        }
        Err(e) => Err(e).with_context(cannot),
    }
}

/// Writes a secret for the owner only: whole or not there, whenever the process dies.
fn put_secret(path: &Path, secret: &Secret) -> std::io::Result<()> {
    // Temporary files have mode 0600, and renaming keeps it.
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(path))?;
    writeln!(file, "{}", secret.reveal())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_data_folder_keeps_its_secrets_and_has_one_owner() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("deep/data dir");
        let state = State::open(&folder).unwrap();
        let (token, feed) = (state.api_token().clone(), state.feed_token());
        assert_eq!(mode(&folder), 0o700);
        for secret in ["master.key", "api-token", "edge-token", "lock"] {
            assert_eq!(mode(&folder.join(secret)), 0o600, "{secret}");
        }
        assert_eq!(std::fs::read_to_string(folder.join("edge-token")).unwrap().trim(), feed.reveal());
        let refusal = State::open(&folder).err().unwrap().to_string();
        assert!(refusal.contains(&std::process::id().to_string()) && refusal.contains("--data-dir"), "{refusal}");
        drop(state);
        let again = State::open(&folder).unwrap();
        assert_eq!(*again.api_token(), token);
        assert_eq!(again.feed_token(), feed);
    }

    #[test]
    fn a_master_key_from_the_environment_takes_the_place_of_the_files_which_still_opens() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        let first = keys(&file, None, None).unwrap();
        let sealed = first.seal(&Secret::new("hunter2"));
        let other = MasterKey::load_or_create(&folder.path().join("other")).unwrap();
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let rotated = keys(&file, Some(text("other")), None).unwrap();
        assert!(rotated.is_rotated() && rotated.open(&sealed).is_ok());
        let again = rotated.reseal(&sealed).unwrap().unwrap();
        assert_eq!(other.open(&again).unwrap().reveal(), "hunter2");
        let old = text("master.key");
        std::fs::remove_file(&file).unwrap();
        assert!(keys(&file, Some(text("other")), Some(old)).unwrap().open(&sealed).is_ok());
        assert!(!file.exists() && !keys(&file, Some(text("other")), None).unwrap().is_rotated());
        let wrong = format!("{:#}", keys(&file, Some("short".to_owned()), None).err().unwrap());
        assert!(wrong.contains(KEY_VARIABLE) && wrong.contains("32 bytes"), "{wrong}");
    }

    #[test]
    fn addresses_stand_for_the_same_folder_whatever_its_name() {
        let parent = tempfile::tempdir().unwrap();
        let state = State::open(&parent.path().join("a b?c%d")).unwrap();
        assert!(state.own_database_url().unwrap().contains("a%20b%3Fc%25d/db/astrocloud.db?mode=rwc"));
        assert_eq!(state.objects_url().unwrap().to_file_path().unwrap(), state.path().join("objects"));
    }

    #[test]
    fn only_what_builds_need_can_be_passed_through() {
        let parent = tempfile::tempdir().unwrap();
        let state = State::open(&parent.path().join("data")).unwrap();
        state.objects_url().unwrap();
        let work = state.work(true).unwrap();
        assert_eq!((mode(state.path()), mode(&work)), (0o711, 0o711));
        assert_eq!(mode(&state.path().join("objects")), 0o700);
        state.work(false).unwrap();
        assert_eq!((mode(state.path()), mode(&work)), (0o700, 0o700));
    }
}
