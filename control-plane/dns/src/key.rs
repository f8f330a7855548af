//! The key of a signed zone, and signatures made as they are asked for.
//!
//! ECDSA P-256 (RFC 6605) with one combined key; denial by RFC 9824: one NSEC and one signature for each negative
//! answer, made for the very name that was asked. NSEC3 white lies need up to three signatures for the same, and
//! neither lets a stranger list the zone.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use quick_cache::sync::Cache;
use thiserror::Error;

use crate::zone::{RecordSet, labels};

/// Type numbers (RFC 4034, RFC 7344, RFC 9824).
pub(crate) const RRSIG: u16 = 46;
pub(crate) const NSEC: u16 = 47;
pub(crate) const DNSKEY: u16 = 48;
pub(crate) const CDS: u16 = 59;
pub(crate) const CDNSKEY: u16 = 60;
/// "This name does not exist" in a bitmap (RFC 9824 3.1).
pub(crate) const NXNAME: u16 = 128;

/// Seconds that others may keep the key's records.
pub const KEY_TTL: u32 = 3600;
/// Seconds of one signing window: all signatures made within it are the same, so that they can be kept.
const WINDOW: u64 = 86_400;
/// Seconds that a signature begins before its window, for clocks that are behind.
const EARLY: u64 = 3600;
/// Seconds that a signature holds from its window's beginning: the longest time to live and a week.
const LASTS: u64 = 14 * 86_400;
/// Signatures kept by a server; about 150 bytes each, so 15 MB at most.
const KEPT: usize = 100_000;
/// Flags zone key and secure entry point: one key for all.
const FLAGS: u16 = 257;
/// The number of ECDSA P-256 with SHA-256 (RFC 6605).
const ALGORITHM: u8 = 13;

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not PKCS#8 of an ECDSA P-256 key: unseal it again or make a new one.
    #[error("the signing key cannot be read: it is no ECDSA P-256 key in PKCS#8")]
    Unreadable,
    /// The system gave no randomness, or the library refused to sign.
    #[error("the signature library failed")]
    Failed,
}

/// A zone's key. The caller seals what [`ZoneKey::generate`] gives, and hands it back opened.
pub struct ZoneKey {
    pair: EcdsaKeyPair,
    dnskey: Box<[u8]>,
    tag: u16,
    identity: [u8; 32],
    random: SystemRandom,
    leaving: bool,
}

impl std::fmt::Debug for ZoneKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ZoneKey").field("tag", &self.tag).finish_non_exhaustive()
    }
}

impl ZoneKey {
    /// A new key as PKCS#8, a secret.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Vec<u8>, KeyError> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map(|document| document.as_ref().to_vec())
            .map_err(|_| KeyError::Failed)
    }

    /// A key from its PKCS#8.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn open(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| KeyError::Unreadable)?;
        let mut dnskey = Vec::from(FLAGS.to_be_bytes());
        dnskey.extend([3, ALGORITHM]);
        // The library's public key begins with 4, "uncompressed", which DNSSEC leaves out (RFC 6605 4).
        dnskey.extend(pair.public_key().as_ref().get(1..).ok_or(KeyError::Unreadable)?);
        // The key tag of RFC 4034, appendix B.
        let sum: u32 = dnskey
            .iter()
            .enumerate()
            .map(|(index, byte)| if index % 2 == 0 { u32::from(*byte) << 8 } else { u32::from(*byte) })
            .sum();
        let tag = (sum + (sum >> 16)) as u16;
        let identity = *blake3::hash(&dnskey).as_bytes();
        Ok(Self { pair, dnskey: dnskey.into(), tag, identity, random: SystemRandom::new(), leaving: false })
    }

    /// The same key, with records that ask the parent to take its DS record away (RFC 8078 4): the way out of DNSSEC.
    #[must_use]
    pub fn leaving(self) -> Self {
        Self { leaving: true, ..self }
    }

    /// The key's number in signatures and DS records.
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// The DS record's data for the parent, as registrars ask for it: tag, algorithm, digest type (SHA-256), digest.
    pub fn ds(&self, apex: &[u8]) -> String {
        let digest: String = self.digest(apex).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        format!("{} {ALGORITHM} 2 {digest}", self.tag)
    }

    /// The DNSKEY record's data, as a trust anchor or a registrar has it.
    pub fn dnskey(&self) -> String {
        format!("{FLAGS} 3 {ALGORITHM} {}", STANDARD.encode(&self.dnskey[4..]))
    }

    fn digest(&self, apex: &[u8]) -> digest::Digest {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(apex);
        context.update(&self.dnskey);
        context.finish()
    }

    /// What signing adds at the apex: DNSKEY, and CDS and CDNSKEY for parents that look (RFC 8078).
    pub(crate) fn records(&self, apex: &[u8]) -> Vec<(u16, Box<[u8]>)> {
        if self.leaving {
            let delete =
                [(CDS, vec![0, 0, 0, 0, 0]), (CDNSKEY, vec![0, 0, 3, 0, 0])].map(|(kind, data)| (kind, data.into()));
            return [(DNSKEY, self.dnskey.clone())].into_iter().chain(delete).collect();
        }
        let mut cds = Vec::from(self.tag.to_be_bytes());
        cds.extend([ALGORITHM, 2]);
        cds.extend(self.digest(apex).as_ref());
        vec![(DNSKEY, self.dnskey.clone()), (CDS, cds.into()), (CDNSKEY, self.dnskey.clone())]
    }
}

/// Signatures that were made, kept by what they sign: an edit makes none of them wrong.
#[derive(Debug)]
pub struct Signatures(Cache<[u8; 32], Arc<[u8]>>);

impl Default for Signatures {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl Signatures {
    /// The RRSIG data for a set at `owner` in the zone `apex`, at `now` in seconds since 1970.
    ///
    /// # Errors
    /// When the library refuses to sign.
    pub fn sign(
        &self,
        key: &ZoneKey,
        apex: &[u8],
        owner: &[u8],
        set: &RecordSet,
        now: u64,
    ) -> Result<Arc<[u8]>, KeyError> {
        let window = now / WINDOW * WINDOW;
        let mut signed = Vec::with_capacity(512);
        signed.extend(set.kind.to_be_bytes());
        // Names that a wildcard answers are signed as names of their own, as RFC 9824 allows: all labels count.
        let count = if owner.starts_with(b"\x01*") { labels(owner) - 1 } else { labels(owner) };
        signed.extend([ALGORITHM, count]);
        signed.extend(set.ttl.to_be_bytes());
        // Serial number arithmetic: the times wrap in 2106, as they should (RFC 4034 3.1.5).
        signed.extend(((window + LASTS) as u32).to_be_bytes());
        signed.extend(((window.saturating_sub(EARLY)) as u32).to_be_bytes());
        signed.extend(key.tag.to_be_bytes());
        signed.extend(apex);
        let head = signed.len();
        for data in &set.data {
            signed.extend(owner);
            signed.extend(set.kind.to_be_bytes());
            signed.extend(1u16.to_be_bytes());
            signed.extend(set.ttl.to_be_bytes());
            signed.extend((data.len() as u16).to_be_bytes());
            signed.extend(data.as_ref());
        }
        let identity = *blake3::keyed_hash(&key.identity, &signed).as_bytes();
        if let Some(kept) = self.0.get(&identity) {
            return Ok(kept);
        }
        let signature = key.pair.sign(&key.random, &signed).map_err(|_| KeyError::Failed)?;
        let mut data = signed[..head].to_vec();
        data.extend(signature.as_ref());
        let data: Arc<[u8]> = data.into();
        self.0.insert(identity, Arc::clone(&data));
        Ok(data)
    }
}

/// The NSEC set that denies what is not in `kinds` at `owner`, and nothing beyond that name (RFC 9824 3).
pub(crate) fn denial(owner: &[u8], kinds: &[u16], ttl: u32) -> RecordSet {
    let mut data = Vec::with_capacity(owner.len() + 24);
    // The name that follows directly: a label of one zero byte before it. When that does not fit, the name with
    // its first label's last byte raised.
    if owner.len() + 2 <= crate::name::NAME_MAX {
        data.extend([1, 0]);
        data.extend(owner);
    } else {
        data.extend(owner);
        let last = usize::from(owner[0]);
        data[last] = data[last].wrapping_add(1);
    }
    data.extend(bitmap(kinds));
    RecordSet { kind: NSEC, ttl, data: vec![data.into()] }
}

/// The types at a name as NSEC has them (RFC 4034 4.1.2), in any order.
pub(crate) fn bitmap(kinds: &[u16]) -> Vec<u8> {
    let mut windows: BTreeMap<u8, [u8; 32]> = BTreeMap::new();
    for kind in kinds {
        let [window, low] = kind.to_be_bytes();
        windows.entry(window).or_insert([0; 32])[usize::from(low / 8)] |= 0x80 >> (low % 8);
    }
    let mut bytes = Vec::new();
    for (window, bits) in windows {
        let length = bits.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.extend([window, length as u8]);
        bytes.extend(&bits[..length]);
    }
    bytes
}
