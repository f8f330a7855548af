//! The development authority: a root certificate of this installation's own, for HTTPS without a public name.
//!
//! It is made once for each data folder. Its certificate lies open (`ca.pem`, to be trusted by browsers and tools),
//! its key sealed. A host's certificate has the host's exact name, because OpenSSL and curl refuse wildcards right
//! below `localhost`. Nothing is kept for a host: which certificate it should have now follows from its name and the
//! time, on every control plane alike.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::certificate::Certificate;
use common::secret::{KeyRing, Secret, SecretError, random_bytes};
use common::time::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use x509_parser::parse_x509_certificate;

/// The open certificate's file within the folder.
const CERTIFICATE_FILE: &str = "ca.pem";
/// The file within the folder that holds it sealed, certificate and key.
pub const SEALED_FILE: &str = "ca.sealed";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the root is good: as long as a development machine lives, and no browser limits a root.
const ROOT_LIFETIME: Duration = Duration::from_secs(3650 * DAY.as_secs());
/// How long a host's certificate is good: what public authorities gave, so that renewal is met in development too.
const LIFETIME: Duration = Duration::from_secs(90 * DAY.as_secs());
/// After which part of its life a certificate is replaced: two thirds, so that a month is left to mend what fails.
const RENEWAL: Duration = Duration::from_secs(60 * DAY.as_secs());
/// How much earlier than its time a certificate is good already, for clocks that are behind.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);
/// Bytes of a serial number: RFC 5280 section 4.1.2.2 allows 20, and its first bit must be 0.
const SERIAL_BYTES: usize = 16;
/// Characters of an id: 128 bits in hexadecimal, so that no two hosts' ids meet.
const ID_CHARS: usize = 32;
/// Characters of a text that tells authorities of one machine apart.
const SHORT_ID_CHARS: usize = 8;
/// Longest common name of a subject (RFC 5280, `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;

/// Recognises the certificate of such an authority: a short text that is another one for each.
///
/// # Errors
/// Says why it is none: nobody should trust it then.
pub fn recognise(pem: &str, now: Timestamp) -> Result<String, String> {
    let wrong = |why: &str| format!("this is not the certificate of a development authority: {why}");
    let mut all = CertificateDer::pem_slice_iter(pem.as_bytes());
    let der = all.next().ok_or_else(|| wrong("there is no certificate in it"))?.map_err(|e| wrong(&e.to_string()))?;
    if all.next().is_some() {
        return Err(wrong("there is more than one in it"));
    }
    let (_, certificate) = parse_x509_certificate(&der).map_err(|e| wrong(&e.to_string()))?;
    if !certificate.is_ca() || certificate.subject() != certificate.issuer() {
        return Err(wrong("it is none of a root"));
    }
    if certificate.validity().not_after.timestamp().saturating_mul(1000) <= now.as_millis() {
        return Err(wrong("it has ended"));
    }
    let mut id = blake3::hash(&der).to_hex().to_string();
    id.truncate(SHORT_ID_CHARS);
    Ok(id)
}

/// Why the authority can't do its work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its files can't be read or written.
    #[error("the development certificate authority's file {path} can't be used: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its key can't be opened with this installation's master key.
    #[error("the development certificate authority's key: {0}")]
    Sealed(#[from] SecretError),
    /// Its sealed file holds something else.
    #[error("the development certificate authority's file can't be understood: {0}")]
    Form(#[from] serde_json::Error),
    /// A certificate can't be made.
    #[error("a certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// What the sealed file holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    certificate_pem: String,
    key_pem: Secret,
    not_after: Timestamp,
}

/// The development authority.
pub struct Authority {
    path: PathBuf,
    certificate_pem: String,
    /// What its certificates' ids are derived from: others than those of an authority before.
    fingerprint: blake3::Hash,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The authority of a folder, made when there is none. One that is near its end is replaced, and one that an older
    /// master key sealed is sealed with the newest.
    ///
    /// # Errors
    /// When its files can't be used, or were sealed with another key.
    pub fn load_or_create(folder: &Path, keys: &KeyRing, now: Timestamp) -> Result<Self, AuthorityError> {
        let sealed = folder.join(SEALED_FILE);
        let failed = |source| AuthorityError::File { path: sealed.clone(), source };
        let kept = match std::fs::read_to_string(&sealed) {
            Ok(text) => {
                let opened = keys.open(text.trim())?;
                if let Some(anew) = keys.reseal(text.trim())? {
                    write(folder, SEALED_FILE, &anew, None)?;
                }
                Some(serde_json::from_str::<Kept>(opened.reveal())?)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(failed(e)),
        };
        let kept = match kept {
            Some(kept) if kept.not_after > now.after(LIFETIME) => kept,
            old => {
                if old.is_some() {
                    tracing::warn!("the development certificate authority is near its end: a new one is to be trusted");
                }
                let made = make(now)?;
                let text = Secret::new(serde_json::to_string(&made)?);
                // Temporary files have mode 0600.
                write(folder, SEALED_FILE, &keys.seal(&text), None)?;
                made
            }
        };
        write(folder, CERTIFICATE_FILE, &kept.certificate_pem, Some(0o644))?;
        let key_pair = KeyPair::from_pem(kept.key_pem.reveal())?;
        let issuer = Issuer::new(root(&key_pair), key_pair);
        let fingerprint = blake3::hash(kept.certificate_pem.as_bytes());
        Ok(Self { path: folder.join(CERTIFICATE_FILE), certificate_pem: kept.certificate_pem, fingerprint, issuer })
    }

    /// Where its certificate lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Id of the certificate that a host should have at a time: the same until the next renewal.
    #[must_use]
    pub fn id(&self, host: &str, now: Timestamp) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("astrocloud 2026-11 id of a development certificate");
        hasher.update(self.fingerprint.as_bytes());
        hasher.update(&begin(host, now).as_millis().to_le_bytes());
        hasher.update(host.as_bytes());
        let mut id = hasher.finalize().to_hex().to_string();
        id.truncate(ID_CHARS);
        id
    }

    /// Issues the certificate that a host should have at a time, with a key of its own.
    ///
    /// # Errors
    /// When the name is no host's.
    pub fn issue(&self, host: &str, now: Timestamp) -> Result<Certificate, AuthorityError> {
        let begin = begin(host, now);
        let not_after = begin.after(LIFETIME);
        let key_pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        if host.len() <= MAX_COMMON_NAME {
            params.distinguished_name.push(DnType::CommonName, host);
        }
        params.serial_number = Some(serial());
        is_good(&mut params, begin.before(CLOCK_SKEW), not_after);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key_pair, &self.issuer)?;
        Ok(Certificate {
            id: self.id(host, now),
            chain_pem: certificate.pem(),
            key_pem: Secret::new(key_pair.serialize_pem()),
            not_after,
            ocsp: None,
        })
    }
}

/// When the certificate that a host should have now began. Hosts differ, so that not all are renewed at once.
fn begin(host: &str, now: Timestamp) -> Timestamp {
    let span = i64::try_from(RENEWAL.as_millis()).unwrap_or(i64::MAX);
    let hash = blake3::hash(host.as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    let own = i64::from(u32::from_le_bytes(*first)) % span;
    let passed = (now.as_millis() - own).rem_euclid(span);
    now.before(Duration::from_millis(u64::try_from(passed).unwrap_or(0)))
}

/// A new root.
fn make(now: Timestamp) -> Result<Kept, AuthorityError> {
    let key_pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let not_after = now.after(ROOT_LIFETIME);
    let mut params = root(&key_pair);
    params.serial_number = Some(serial());
    is_good(&mut params, now.before(CLOCK_SKEW), not_after);
    let certificate_pem = params.self_signed(&key_pair)?.pem();
    Ok(Kept { certificate_pem, key_pem: Secret::new(key_pair.serialize_pem()), not_after })
}

/// What every certificate of a root and its children have in common; it follows from the key alone, so that the root
/// need not be parsed.
fn root(key_pair: &KeyPair) -> CertificateParams {
    let hash = blake3::hash(key_pair.public_key_raw()).to_hex();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // Trusted roots are listed by name: those of several installations are told apart.
    params.distinguished_name.push(DnType::CommonName, format!("AstroCloud development CA {}", &hash[..8]));
    params.distinguished_name.push(DnType::OrganizationName, "AstroCloud");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn serial() -> SerialNumber {
    let mut bytes = random_bytes::<SERIAL_BYTES>();
    // Positive, and never shorter.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// Sets from when until when a certificate is good, in whole seconds.
fn is_good(params: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let epoch = Timestamp::from_millis(0);
    let seconds = |time: Timestamp| Duration::from_secs(time.since(epoch).as_secs());
    params.not_before = date_time_ymd(1970, 1, 1) + seconds(from);
    params.not_after = date_time_ymd(1970, 1, 1) + seconds(until);
}

/// The file is whole or not there, whenever the process dies.
fn write(folder: &Path, name: &str, text: &str, mode: Option<u32>) -> Result<(), AuthorityError> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join(name);
    let put = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        if let Some(mode) = mode {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        }
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    put().map_err(|source| AuthorityError::File { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
    use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

    use common::secret::MasterKey;

    use super::*;

    fn at(days: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000).after(DAY * u32::try_from(days).unwrap())
    }

    fn authority(folder: &Path, now: Timestamp) -> Authority {
        let key = MasterKey::load_or_create(&folder.join("master.key")).unwrap();
        Authority::load_or_create(folder, &key.into(), now).unwrap()
    }

    fn is_trusted(root: &str, chain: &str, host: &str, now: Timestamp) -> bool {
        let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
        let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
        let anchors = [anchor_from_trusted_cert(&root).unwrap()];
        let leaf = EndEntityCert::try_from(&leaf).unwrap();
        let time = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.as_millis()).unwrap()));
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let usage = KeyUsage::server_auth();
        leaf.verify_for_usage(algorithms, &anchors, &[], time, usage, None, None).is_ok()
            && leaf.verify_is_valid_for_subject_name(&ServerName::try_from(host).unwrap()).is_ok()
    }

    #[test]
    fn a_host_gets_a_certificate_that_the_root_vouches_for_until_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path(), at(0));
        let root = std::fs::read_to_string(authority.path()).unwrap();
        assert_eq!(root, authority.certificate_pem());
        let issued = authority.issue("shop.localhost", at(0)).unwrap();
        assert_eq!(issued.id, authority.id("shop.localhost", at(0)));
        assert!(is_trusted(&root, &issued.chain_pem, "shop.localhost", at(0)));
        assert!(!is_trusted(&root, &issued.chain_pem, "blog.localhost", at(0)));
        assert!(!is_trusted(&root, &issued.chain_pem, "shop.localhost", issued.not_after.after(DAY)));
        assert!(KeyPair::from_pem(issued.key_pem.reveal()).is_ok());
        let long = format!("{}.localhost", "a".repeat(63));
        assert!(is_trusted(&root, &authority.issue(&long, at(0)).unwrap().chain_pem, &long, at(0)));
    }

    #[test]
    fn the_authority_is_the_same_after_a_restart_and_its_key_is_not_readable() {
        let folder = tempfile::tempdir().unwrap();
        let first = authority(folder.path(), at(0));
        std::fs::remove_file(first.path()).unwrap();
        let again = authority(folder.path(), at(1));
        assert_eq!(first.certificate_pem(), again.certificate_pem());
        assert_eq!(first.id("a.localhost", at(0)), again.id("a.localhost", at(0)));
        let issued = again.issue("a.localhost", at(1)).unwrap();
        assert!(is_trusted(first.certificate_pem(), &issued.chain_pem, "a.localhost", at(1)));
        let sealed = std::fs::read_to_string(folder.path().join(SEALED_FILE)).unwrap();
        assert!(!sealed.contains("PRIVATE"));
        std::fs::remove_file(folder.path().join("master.key")).unwrap();
        let other = MasterKey::load_or_create(&folder.path().join("master.key")).unwrap();
        assert!(matches!(
            Authority::load_or_create(folder.path(), &other.into(), at(1)),
            Err(AuthorityError::Sealed(SecretError::WrongKey))
        ));
    }

    #[test]
    fn a_certificate_is_renewed_once_within_two_thirds_of_its_life_and_hosts_at_their_own_times() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path(), at(0));
        let renewals = |host: &str| -> Vec<u64> {
            (1..=120).filter(|day| authority.id(host, at(*day)) != authority.id(host, at(day - 1))).collect()
        };
        let (a, b) = (renewals("a.localhost"), renewals("b.localhost"));
        assert_eq!((a.len(), a[1] - a[0]), (2, 60), "{a:?}");
        assert_ne!(a, b);
        for day in 0..120 {
            let left = authority.issue("a.localhost", at(day)).unwrap().not_after.since(at(day));
            assert!(left >= LIFETIME - RENEWAL, "{left:?} on day {day}");
        }
    }

    #[test]
    fn a_root_that_would_end_before_its_certificates_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let first = authority(folder.path(), at(0));
        let years = authority(folder.path(), at(3600));
        assert_ne!(first.certificate_pem(), years.certificate_pem());
        assert_ne!(first.id("a.localhost", at(3600)), years.id("a.localhost", at(3600)));
    }
}
