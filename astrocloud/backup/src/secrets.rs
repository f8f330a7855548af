//! What only who knows the passphrase may read.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::secret::{MasterKey, Secret, random_bytes};
use serde::{Deserialize, Serialize};

use crate::error::BackupError;

/// Memory (KiB), passes and lanes of Argon2id: RFC 9106's second recommended choice.
const COST: (u32, u32, u32) = (64 << 10, 3, 4);
/// Bytes of a salt (RFC 9106 section 3.1).
const SALT: usize = 16;
/// Characters of a passphrase at least: whoever has the file may try for years.
const SHORTEST: usize = 12;

/// The secrets of an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Master keys, base64url: the one that seals, then those that only open.
    pub master_keys: Vec<Secret>,
    /// The API's token.
    pub api_token: Secret,
    /// The settings that counted, as a settings file: they may hold passwords.
    pub settings: Secret,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    secrets: Secrets,
    /// BLAKE3 of the manifest.
    manifest: String,
}

/// Seals the secrets and the manifest's digest: the salt and the ciphertext, with a dot between.
pub(crate) fn seal(secrets: &Secrets, manifest: &[u8], passphrase: &Secret) -> Result<String, BackupError> {
    if passphrase.reveal().chars().count() < SHORTEST {
        return Err(BackupError::ShortPassphrase(SHORTEST));
    }
    let salt = random_bytes::<SALT>();
    let sealed = Sealed { secrets: secrets.clone(), manifest: blake3::hash(manifest).to_hex().to_string() };
    let plain = serde_json::to_string(&sealed).map_err(|e| BackupError::Seal(e.to_string()))?;
    let body = key(passphrase, &salt)?.seal(&Secret::new(plain));
    Ok(format!("{}.{body}", URL_SAFE_NO_PAD.encode(salt)))
}

/// Opens what [`seal`] made, and makes sure that the manifest is the one that was sealed with it.
pub(crate) fn open(sealed: &str, manifest: &[u8], passphrase: &Secret) -> Result<Secrets, BackupError> {
    let (salt, body) = sealed.trim().split_once('.').ok_or(BackupError::Passphrase)?;
    let salt = URL_SAFE_NO_PAD.decode(salt).map_err(|_| BackupError::Passphrase)?;
    let plain = key(passphrase, &salt)?.open(body).map_err(|_| BackupError::Passphrase)?;
    let opened: Sealed = serde_json::from_str(plain.reveal()).map_err(|_| BackupError::Passphrase)?;
    if opened.manifest != blake3::hash(manifest).to_hex().as_str() {
        return Err(BackupError::Manifest);
    }
    Ok(opened.secrets)
}

fn key(passphrase: &Secret, salt: &[u8]) -> Result<MasterKey, BackupError> {
    let failed = |e: &dyn std::fmt::Display| BackupError::Seal(e.to_string());
    let (memory, passes, lanes) = COST;
    let mut bytes = [0; 32];
    let params = Params::new(memory, passes, lanes, Some(bytes.len())).map_err(|e| failed(&e))?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.reveal().as_bytes(), salt, &mut bytes)
        .map_err(|e| failed(&e))?;
    MasterKey::from_text(&URL_SAFE_NO_PAD.encode(bytes)).map_err(|e| failed(&e))
}
