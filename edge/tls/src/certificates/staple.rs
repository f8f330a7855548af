//! Stapled OCSP responses (RFC 6960): shown as long as they hold, because visitors break off over one that has ended.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::time::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

const SEQUENCE: u8 = 0x30;
const ENUMERATED: u8 = 0x0A;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const GENERALIZED_TIME: u8 = 0x18;
/// The first optional or chosen field of what it stands in.
const CONTEXT_0: u8 = 0xA0;
/// Bit of a length that says in how many bytes it follows.
const LONG: u8 = 0x80;

/// A response, and until when it holds.
pub(super) struct Staple {
    pub(super) response: Vec<u8>,
    pub(super) until: Timestamp,
}

/// Reads a response in base64. `None` when it can't be read, is no success, or does not say until when it holds.
pub(super) fn read(text: &str) -> Option<Staple> {
    let response = STANDARD.decode(text).ok()?;
    let until = next_update(&response)?;
    Some(Staple { response, until })
}

/// The field `nextUpdate` of the first answer in a response (RFC 6960 section 4.2.1).
fn next_update(response: &[u8]) -> Option<Timestamp> {
    let mut response = Der(Der(response).take(SEQUENCE)?);
    // `successful`
    (response.take(ENUMERATED)? == [0]).then_some(())?;
    let mut bytes = Der(Der(response.take(CONTEXT_0)?).take(SEQUENCE)?);
    bytes.take(OBJECT_IDENTIFIER)?;
    let mut basic = Der(Der(bytes.take(OCTET_STRING)?).take(SEQUENCE)?);
    let mut data = Der(basic.take(SEQUENCE)?);
    // The version is left out when it is the first.
    if data.0.first() == Some(&CONTEXT_0) {
        data.next()?;
    }
    // The responder.
    data.next()?;
    data.take(GENERALIZED_TIME)?;
    let mut answer = Der(Der(data.take(SEQUENCE)?).take(SEQUENCE)?);
    // The certificate.
    answer.take(SEQUENCE)?;
    // Its status.
    answer.next()?;
    answer.take(GENERALIZED_TIME)?;
    let text = std::str::from_utf8(Der(answer.take(CONTEXT_0)?).take(GENERALIZED_TIME)?).ok()?;
    let time = TimeZone::UTC.to_timestamp(DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?).ok()?;
    Some(Timestamp::from_millis(time.as_millisecond()))
}

/// Values in DER, one after the other (X.690 section 10).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk()?;
        let length = if first < LONG {
            usize::from(first)
        } else {
            let (bytes, after) = rest.split_at_checked(usize::from(first - LONG))?;
            rest = after;
            // Three bytes are more than any response has.
            (bytes.len() <= 3).then_some(())?;
            bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }
}

/// Shows a certificate with its response until that ends, and without one afterwards.
#[derive(Debug)]
pub(crate) struct Stapled {
    with: Arc<CertifiedKey>,
    without: Arc<CertifiedKey>,
    until: Timestamp,
}

impl Stapled {
    pub(super) fn new(certificate: CertifiedKey, staple: Option<Staple>) -> Self {
        let without = Arc::new(certificate);
        match staple {
            Some(Staple { response, until }) => {
                let with = CertifiedKey { ocsp: Some(response), ..CertifiedKey::clone(&without) };
                Self { with: Arc::new(with), without, until }
            }
            None => Self { with: Arc::clone(&without), without, until: Timestamp::from_millis(i64::MAX) },
        }
    }

    fn at(&self, now: Timestamp) -> &Arc<CertifiedKey> {
        if now < self.until { &self.with } else { &self.without }
    }
}

impl ResolvesServerCert for Stapled {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.at(Timestamp::now())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::Settings;
    use crate::testkit::{Authority, DAY, ocsp_response, settings};
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    fn certified(settings: &Settings) -> CertifiedKey {
        let certificate = Authority::new().issue("a1", &["a.example"]);
        let chain = vec![CertificateDer::from_pem_slice(certificate.chain_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.reveal().as_bytes()).unwrap();
        CertifiedKey::from_der(chain, key, settings.provider()).unwrap()
    }

    #[test]
    fn a_response_is_shown_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        // Responses count whole seconds.
        let until = Timestamp::from_millis(1_800_000_000_000);
        let staple = read(&ocsp_response(Some(until))).unwrap();
        assert_eq!(staple.until, until);
        let stapled = Stapled::new(certified(&settings(folder.path())), Some(staple));
        assert!(stapled.at(until.before(DAY)).ocsp.is_some());
        assert!(stapled.at(until).ocsp.is_none());
        assert!(stapled.at(until.after(DAY)).ocsp.is_none());
    }

    #[test]
    fn what_says_no_end_or_is_no_success_is_not_shown() {
        let whole = STANDARD.decode(ocsp_response(Some(Timestamp::now()))).unwrap();
        for length in 0..whole.len() {
            assert!(read(&STANDARD.encode(&whole[..length])).is_none(), "{length}");
        }
        let mut refused = whole.clone();
        let status = refused.windows(3).position(|w| w == [ENUMERATED, 1, 0]).unwrap();
        refused[status + 2] = 6;
        assert!(read(&STANDARD.encode(&refused)).is_none());
        assert!(read(&ocsp_response(None)).is_none());
        assert!(read("?").is_none());
        for byte in 0..whole.len() {
            let mut altered = whole.clone();
            altered[byte] ^= 0xFF;
            let _ = read(&STANDARD.encode(&altered));
        }
    }
}
