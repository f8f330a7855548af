//! Secrets: kept out of logs by type, encrypted at rest with XChaCha20-Poly1305.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

/// Bytes of the master key.
const KEY_BYTES: usize = 32;
/// Bytes of a nonce of XChaCha20-Poly1305; random ones of this size do not collide.
const NONCE_BYTES: usize = 24;

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one who uses it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// A new random secret of 32 bytes in base64url, after `prefix`.
    #[must_use]
    pub fn random(prefix: &str) -> Self {
        Self(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random_bytes::<KEY_BYTES>())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A text as it stands in a URL's user information or query.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Random bytes from the operating system.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    rand::random()
}

/// Why a secret can't be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key file can't be read or written.
    #[error("can't use the key file {path}: {source}")]
    KeyFile {
        /// Its path.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key is not 32 bytes in base64url.
    #[error("the master key is not 32 bytes in base64url: restore the key that this installation began with")]
    BadKey,
    /// The stored text was not made with this key.
    #[error(
        "a stored secret can't be decrypted with this installation's master key: restore the key file that it began with"
    )]
    WrongKey,
}

/// The key with which secrets are encrypted at rest.
#[derive(Clone)]
pub struct MasterKey([u8; KEY_BYTES]);

impl MasterKey {
    /// Reads the key file, or makes it (mode 0600) when there is none.
    ///
    /// # Errors
    /// When the file can't be read or written, or holds no key.
    pub fn load_or_create(path: &Path) -> Result<Self, SecretError> {
        let io = |source| SecretError::KeyFile { path: path.display().to_string(), source };
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_text(text.trim()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let text = URL_SAFE_NO_PAD.encode(random_bytes::<KEY_BYTES>());
                // Whole or not at all: half a key would keep the platform from starting for ever.
                let part = path.with_extension("part");
                let mut options = std::fs::OpenOptions::new();
                let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(io)?;
                file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
                std::fs::rename(&part, path).map_err(io)?;
                Self::from_text(&text)
            }
            Err(e) => Err(io(e)),
        }
    }

    /// The key from its base64url form.
    ///
    /// # Errors
    /// When the text is not 32 bytes in base64url.
    pub fn from_text(text: &str) -> Result<Self, SecretError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| SecretError::BadKey)?;
        bytes.try_into().map(Self).map_err(|_| SecretError::BadKey)
    }

    /// Another key for one purpose, which tells nothing of this one.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; KEY_BYTES] {
        blake3::derive_key(purpose, &self.0)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }

    /// Encrypts; the result is base64url of nonce and ciphertext.
    #[must_use]
    pub fn seal(&self, secret: &Secret) -> String {
        let nonce = random_bytes::<NONCE_BYTES>();
        // Encryption into a fresh vector fails only for plaintexts beyond 256 GiB.
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), secret.0.as_bytes()).unwrap_or_default();
        URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    /// Decrypts what [`Self::seal`] made.
    ///
    /// # Errors
    /// When the text was altered or made with another key.
    pub fn open(&self, sealed: &str) -> Result<Secret, SecretError> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| SecretError::WrongKey)?;
        let (nonce, body) = bytes.split_at_checked(NONCE_BYTES).ok_or(SecretError::WrongKey)?;
        let nonce = <[u8; NONCE_BYTES]>::try_from(nonce).map_err(|_| SecretError::WrongKey)?;
        let plain = self.cipher().decrypt(&XNonce::from(nonce), body).map_err(|_| SecretError::WrongKey)?;
        String::from_utf8(plain).map(Secret).map_err(|_| SecretError::WrongKey)
    }
}

/// The master key and those before it: what an older one sealed is still read, and sealed anew with the newest.
#[derive(Clone)]
pub struct KeyRing {
    newest: MasterKey,
    older: Vec<MasterKey>,
}

impl KeyRing {
    /// Seals with `newest`, opens what it or an `older` key sealed.
    #[must_use]
    pub fn new(newest: MasterKey, older: Vec<MasterKey>) -> Self {
        Self { newest, older }
    }

    /// The newest key, from which others are derived.
    #[must_use]
    pub const fn newest(&self) -> &MasterKey {
        &self.newest
    }

    /// Whether there are older keys.
    #[must_use]
    pub const fn is_rotated(&self) -> bool {
        !self.older.is_empty()
    }

    /// Encrypts with the newest key.
    #[must_use]
    pub fn seal(&self, secret: &Secret) -> String {
        self.newest.seal(secret)
    }

    /// Decrypts what any of the keys sealed.
    ///
    /// # Errors
    /// When the text was altered or made with another key.
    pub fn open(&self, sealed: &str) -> Result<Secret, SecretError> {
        let newest = self.newest.open(sealed);
        self.older.iter().fold(newest, |opened, key| opened.or_else(|_| key.open(sealed)))
    }

    /// The same secret under the newest key; none when it is already.
    ///
    /// # Errors
    /// When none of the keys opens it.
    pub fn reseal(&self, sealed: &str) -> Result<Option<String>, SecretError> {
        if self.newest.open(sealed).is_ok() {
            return Ok(None);
        }
        Ok(Some(self.seal(&self.open(sealed)?)))
    }
}

impl From<MasterKey> for KeyRing {
    fn from(key: MasterKey) -> Self {
        Self::new(key, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_new_master_key_reads_and_reseals_what_the_one_before_sealed() {
        let key = || MasterKey(random_bytes());
        let (old, new) = (key(), key());
        let sealed = old.seal(&Secret::new("hunter2"));
        let ring = KeyRing::new(new.clone(), vec![key(), old.clone()]);
        assert_eq!(ring.open(&sealed).unwrap().reveal(), "hunter2");
        let again = ring.reseal(&sealed).unwrap().unwrap();
        assert_eq!(new.open(&again).unwrap().reveal(), "hunter2");
        assert!(old.open(&again).is_err());
        assert_eq!(ring.reseal(&again).unwrap(), None);
        assert!(KeyRing::from(new).reseal(&sealed).is_err());
    }

    #[test]
    fn a_sealed_secret_opens_with_its_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let key = MasterKey::load_or_create(&path).unwrap();
        let sealed = key.seal(&Secret::new("hunter2"));
        assert!(!sealed.contains("hunter2"));
        assert_eq!(MasterKey::load_or_create(&path).unwrap().open(&sealed).unwrap().reveal(), "hunter2");
        let other = MasterKey::load_or_create(&folder.path().join("other.key")).unwrap();
        assert!(other.open(&sealed).is_err());
        assert!(key.open("AAAA").is_err());
    }

    #[test]
    fn a_key_that_was_half_written_when_the_platform_died_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        std::fs::write(path.with_extension("part"), "AAAA").unwrap();
        let sealed = MasterKey::load_or_create(&path).unwrap().seal(&Secret::new("hunter2"));
        assert!(MasterKey::load_or_create(&path).unwrap().open(&sealed).is_ok());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }
}
