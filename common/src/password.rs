//! What passwords are checked against: Argon2id (RFC 9106), written as PHC strings.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

/// Memory that one check takes, in KiB, and passes over it: the least that OWASP's cheat sheet asks for. A check takes
/// some tens of milliseconds, which is long for who guesses, and short for who knows.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// Most that a hash from elsewhere may ask for: else whoever sets a password could have every check take the
/// edge's memory and seconds of its time.
const MAX_MEMORY_KIB: u32 = 64 * 1024;
const MAX_PASSES: u32 = 8;
const MAX_LANES: u32 = 4;
/// Longest password in bytes: longer ones are no longer better, but take longer.
pub const MAX_PASSWORD: usize = 512;

/// Why a password can't be hashed, or a hash can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Nothing, or more than [`MAX_PASSWORD`] bytes.
    #[error("a password has 1 to {MAX_PASSWORD} bytes")]
    Length,
    /// No PHC string of Argon2id.
    #[error("the hash is no PHC string of Argon2id")]
    NotArgon2id,
    /// It asks for more work than is done for a request.
    #[error("the hash asks for more than {MAX_MEMORY_KIB} KiB, {MAX_PASSES} passes and {MAX_LANES} lanes")]
    TooCostly,
    /// The hashing itself failed.
    #[error("the password can't be hashed: {0}")]
    Failed(String),
}

/// Hashes a password with a new salt. Takes tens of milliseconds: not for a thread that others wait for.
///
/// # Errors
/// When the password is empty or too long, or the system has no random bytes.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(PasswordError::Length);
    }
    let failed = |error: &dyn std::fmt::Display| PasswordError::Failed(error.to_string());
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|e| failed(&e))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    Ok(argon2.hash_password(password.as_bytes()).map_err(|e| failed(&e))?.to_string())
}

/// Whether a hash can be checked against.
///
/// # Errors
/// When it can't.
pub fn check(hash: &str) -> Result<(), PasswordError> {
    read(hash).map(|_| ())
}

/// Whether a password is the one that was hashed. Takes tens of milliseconds.
///
/// # Errors
/// When the hash can't be checked against.
pub fn verify(hash: &str, password: &[u8]) -> Result<bool, PasswordError> {
    let hash = read(hash)?;
    Ok(password.len() <= MAX_PASSWORD && Argon2::default().verify_password(password, &hash).is_ok())
}

fn read(hash: &str) -> Result<PasswordHash, PasswordError> {
    let hash = PasswordHash::new(hash).map_err(|_| PasswordError::NotArgon2id)?;
    let params = Params::try_from(&hash).map_err(|_| PasswordError::NotArgon2id)?;
    if hash.algorithm.as_str() != "argon2id" || hash.salt.is_none() || hash.hash.is_none() {
        return Err(PasswordError::NotArgon2id);
    }
    if params.m_cost() > MAX_MEMORY_KIB || params.t_cost() > MAX_PASSES || params.p_cost() > MAX_LANES {
        return Err(PasswordError::TooCostly);
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_and_no_other_is() {
        let hashed = hash("s3cret ä").unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert_eq!(check(&hashed), Ok(()));
        assert_eq!(verify(&hashed, "s3cret ä".as_bytes()), Ok(true));
        for wrong in ["", "s3cret", "s3cret ä ", &"x".repeat(MAX_PASSWORD + 1)] {
            assert_eq!(verify(&hashed, wrong.as_bytes()), Ok(false), "{wrong}");
        }
        assert_ne!(hash("s3cret ä").unwrap(), hashed, "each has a salt of its own");
    }

    #[test]
    fn what_can_not_be_checked_is_refused() {
        assert_eq!(hash(""), Err(PasswordError::Length));
        assert_eq!(hash(&"x".repeat(MAX_PASSWORD + 1)), Err(PasswordError::Length));
        let salted = "$c2FsdHNhbHRzYWx0$YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY";
        for (hash, error) in [
            ("", PasswordError::NotArgon2id),
            ("plain", PasswordError::NotArgon2id),
            ("$2y$10$abcdefghijklmnopqrstuv", PasswordError::NotArgon2id),
            ("$argon2id$v=19$m=19456,t=2,p=1", PasswordError::NotArgon2id),
            (&format!("$argon2i$v=19$m=19456,t=2,p=1{salted}"), PasswordError::NotArgon2id),
            (&format!("$argon2id$v=19$m=4000000,t=2,p=1{salted}"), PasswordError::TooCostly),
            (&format!("$argon2id$v=19$m=19456,t=900,p=1{salted}"), PasswordError::TooCostly),
        ] {
            assert_eq!(check(hash), Err(error), "{hash}");
        }
    }
}
