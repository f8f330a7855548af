//! The installation's secrets, in the data folder of `up` or of a control plane.

use std::ops::Deref;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::secret::{KeyRing, MasterKey, Secret};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::folder::DataFolder;
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
/// File of the control plane's name.
const NAME: &str = "control-plane-name";
/// What the deployers' token is derived for.
const DEPLOYER_PURPOSE: &str = "astrocloud 2026-11 deployer token";
/// File of the deployers' token.
const DEPLOYER_TOKEN: &str = "deployer-token";
/// File of the API's token.
const API_TOKEN: &str = "api-token";
/// File of the master key.
const KEY_FILE: &str = "master.key";
/// Characters of a path that stay as they are in a database's URL.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// What `up` and control planes keep: a data folder with the installation's secrets.
pub struct State {
    folder: DataFolder,
    keys: KeyRing,
    api_token: Secret,
}

impl Deref for State {
    type Target = DataFolder;

    fn deref(&self) -> &DataFolder {
        &self.folder
    }
}

impl State {
    /// Takes the folder, which is made when there is none. What roles share lies in `shared`, or in the folder too.
    ///
    /// # Errors
    /// When another process has it, or it can't be used.
    pub fn open(path: &Path, shared: Option<&Path>) -> anyhow::Result<Self> {
        let folder = DataFolder::open(path, shared)?;
        let keys = keys(&folder.path().join(KEY_FILE), variable(KEY_VARIABLE), variable(OLD_KEYS_VARIABLE))?;
        let api_token = folder.random(API_TOKEN, "ast_")?;
        let state = Self { folder, keys, api_token };
        state.tell(EDGE_TOKEN, &state.feed_token())?;
        Ok(state)
    }

    /// Looks into the folder of a platform, which may run.
    ///
    /// # Errors
    /// When no platform ever had it, or it can't be read.
    pub fn look(path: &Path, shared: Option<&Path>) -> anyhow::Result<Self> {
        anyhow::ensure!(
            path.join(API_TOKEN).is_file() && Self::has_key(path),
            "no platform has used the data folder {}: name another one with --data-dir",
            path.display()
        );
        let folder = DataFolder::look(path, shared)?;
        let keys = keys(&folder.path().join(KEY_FILE), variable(KEY_VARIABLE), variable(OLD_KEYS_VARIABLE))?;
        let api_token = folder.random(API_TOKEN, "ast_")?;
        Ok(Self { folder, keys, api_token })
    }

    /// The texts of the master keys: the one that seals, then those that only open.
    pub fn master_keys(&self) -> anyhow::Result<Vec<Secret>> {
        let file = self.path().join(KEY_FILE);
        let mut texts: Vec<String> = variable(KEY_VARIABLE).into_iter().collect();
        if file.exists() {
            texts.push(std::fs::read_to_string(&file).with_context(|| format!("{} can't be read", file.display()))?);
        }
        let older = variable(OLD_KEYS_VARIABLE).unwrap_or_default();
        texts.extend(older.split(',').map(str::to_owned));
        Ok(texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).map(Secret::new).collect())
    }

    /// Whether a folder's master key is there to be had: one that is made would open nothing that another control plane
    /// sealed.
    pub fn has_key(path: &Path) -> bool {
        std::env::var(KEY_VARIABLE).is_ok_and(|text| !text.is_empty()) || path.join(KEY_FILE).exists()
    }

    /// The keys with which secrets are encrypted at rest.
    pub const fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// The API's token, the same after every start.
    pub const fn api_token(&self) -> &Secret {
        &self.api_token
    }

    /// What the control plane with this folder is called among others, the same after every start.
    pub fn name(&self) -> anyhow::Result<String> {
        Ok(self.random(NAME, "control-plane-")?.reveal().to_owned())
    }

    /// What edges show to get the route feed.
    pub fn feed_token(&self) -> Secret {
        Secret::new(format!("feed_{}", URL_SAFE_NO_PAD.encode(self.keys.newest().derive(FEED_PURPOSE))))
    }

    /// What deployers show that run elsewhere; it is told in a file.
    pub fn deployer_token(&self) -> anyhow::Result<Secret> {
        let token = URL_SAFE_NO_PAD.encode(self.keys.newest().derive(DEPLOYER_PURPOSE));
        let token = Secret::new(format!("deployer_{token}"));
        self.tell(DEPLOYER_TOKEN, &token)?;
        Ok(token)
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
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_data_folder_keeps_its_secrets_and_has_one_owner() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("deep/data dir");
        let state = State::open(&folder, None).unwrap();
        let (token, feed) = (state.api_token().clone(), state.feed_token());
        assert_eq!(mode(&folder), 0o700);
        for secret in ["master.key", "api-token", "edge-token", "lock"] {
            assert_eq!(mode(&folder.join(secret)), 0o600, "{secret}");
        }
        assert_eq!(std::fs::read_to_string(folder.join("edge-token")).unwrap().trim(), feed.reveal());
        let refusal = State::open(&folder, None).err().unwrap().to_string();
        assert!(refusal.contains(&std::process::id().to_string()) && refusal.contains("--data-dir"), "{refusal}");
        drop(state);
        let again = State::open(&folder, None).unwrap();
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
        let state = State::open(&parent.path().join("a b?c%d"), None).unwrap();
        assert!(state.own_database_url().unwrap().contains("a%20b%3Fc%25d/db/astrocloud.db?mode=rwc"));
        assert_eq!(state.objects_url().unwrap().to_file_path().unwrap(), state.path().join("objects"));
    }

    #[test]
    fn only_what_builds_need_can_be_passed_through() {
        let parent = tempfile::tempdir().unwrap();
        let state = State::open(&parent.path().join("data"), None).unwrap();
        state.objects_url().unwrap();
        let work = state.work(true).unwrap();
        assert_eq!((mode(state.path()), mode(&work)), (0o711, 0o711));
        assert_eq!(mode(&state.path().join("objects")), 0o700);
        state.work(false).unwrap();
        assert_eq!((mode(state.path()), mode(&work)), (0o700, 0o700));
    }
}
