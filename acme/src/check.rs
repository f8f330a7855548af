//! Whether an issued certificate may be used: a broken one never takes a good one's place.

use std::time::Duration;

use common::secret::Secret;
use common::time::Timestamp;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::extensions::ParsedExtension;
use x509_parser::parse_x509_certificate;

use instant_acme::CertificateIdentifier;

/// Least life that an issued certificate must have left: less is no use to visitors whose clocks differ.
const LEAST_LEFT: Duration = Duration::from_secs(60 * 60);
/// How far an authority's clock may be ahead of ours.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
/// Most certificates of a chain.
const MAX_CHAIN: usize = 8;
/// Characters of an id: 128 bits in hexadecimal.
const ID_CHARS: usize = 32;

/// Whom an authority's chain must lead to.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The chain must be whole and each certificate signed by the next. Which roots visitors trust is the
    /// authority's business.
    #[default]
    Chain,
    /// It must lead to one of these roots, PEM.
    Roots(String),
}

/// What matters of a good certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// An id that follows from it.
    pub id: String,
    /// From when it is good.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// Its name towards renewal information (RFC 9773 section 4.1); none without an authority key identifier.
    pub renewal_id: Option<String>,
}

/// Checks a chain: names, key, times, signatures and purpose.
///
/// # Errors
/// Says what is wrong.
pub fn check(chain: &str, key: &Secret, names: &[String], trust: &Trust, now: Timestamp) -> Result<Facts, String> {
    let chain = chain_of(chain)?;
    let (leaf, issuers) = chain.split_first().ok_or("it is empty")?;
    let (_, parsed) = parse_x509_certificate(leaf).map_err(|e| format!("it can't be read: {e}"))?;
    let end_entity = EndEntityCert::try_from(leaf).map_err(|e| format!("it can't be read: {e}"))?;

    let key = KeyPair::from_pem(key.reveal()).map_err(|e| format!("its key can't be read: {e}"))?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err("it is for another key".to_owned());
    }
    let mut covered: Vec<String> = end_entity.valid_dns_names().map(str::to_ascii_lowercase).collect();
    covered.sort_unstable();
    let missing: Vec<&String> = names.iter().filter(|name| !covered.contains(name)).collect();
    if !missing.is_empty() || covered.len() != names.len() {
        return Err(format!("it is for {covered:?}, asked for were {names:?}"));
    }
    let time = |time: x509_parser::time::ASN1Time| Timestamp::from_millis(time.timestamp().saturating_mul(1000));
    let (not_before, not_after) = (time(parsed.validity().not_before), time(parsed.validity().not_after));
    if not_before > now.after(CLOCK_SKEW) || not_after < now.after(LEAST_LEFT) {
        return Err(format!("it is good from {not_before} to {not_after}, and it is {now}"));
    }
    lead(&end_entity, issuers, trust, now.max(not_before))?;

    let renewal_id = parsed
        .iter_extensions()
        .any(|e| matches!(e.parsed_extension(), ParsedExtension::AuthorityKeyIdentifier(aki) if aki.key_identifier.is_some()))
        .then(|| CertificateIdentifier::try_from(leaf).map(|id| id.to_string()))
        .transpose()?;
    Ok(Facts { id: id(leaf), not_before, not_after, renewal_id })
}

/// The certificates of a chain.
fn chain_of(chain: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).take(MAX_CHAIN + 1).collect();
    let chain = chain.map_err(|e| format!("it is no PEM: {e}"))?;
    if chain.len() > MAX_CHAIN {
        return Err(format!("its chain has more than {MAX_CHAIN} certificates"));
    }
    Ok(chain)
}

/// Whether the signatures lead from the certificate to whom is trusted.
fn lead(leaf: &EndEntityCert<'_>, issuers: &[CertificateDer<'_>], trust: &Trust, now: Timestamp) -> Result<(), String> {
    let roots = match trust {
        Trust::Roots(pem) => chain_of(pem)?,
        // The rest of the chain must lead to its last.
        Trust::Chain => vec![issuers.last().ok_or("its chain is not whole: there is no issuer in it")?.clone()],
    };
    let anchors: Result<Vec<TrustAnchor<'_>>, _> = roots.iter().map(anchor_from_trusted_cert).collect();
    let anchors = anchors.map_err(|e| format!("the end of its chain can't be read: {e}"))?;
    let since = now.since(Timestamp::from_millis(0));
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        issuers,
        UnixTime::since_unix_epoch(since),
        KeyUsage::server_auth(),
        None,
        None,
    )
    .map_err(|e| format!("its chain does not hold: {e}"))?;
    Ok(())
}

fn id(leaf: &CertificateDer<'_>) -> String {
    let mut id = blake3::hash(leaf).to_hex().to_string();
    id.truncate(ID_CHARS);
    id
}

/// The common name of who signed the last certificate of a chain: what a preferred chain is known by.
pub(crate) fn top_issuer(chain: &str) -> Option<String> {
    let chain = chain_of(chain).ok()?;
    let (_, last) = parse_x509_certificate(chain.last()?).ok()?;
    let name = last.issuer().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

/// The host's own certificate of a chain, DER.
pub(crate) fn leaf(chain: &str) -> Option<CertificateDer<'static>> {
    chain_of(chain).ok()?.into_iter().next()
}

#[cfg(test)]
mod tests;
