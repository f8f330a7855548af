//! Session tickets that every edge with the same keys opens, and the same edge after a restart (RFC 5077,
//! RFC 8446 section 4.6.1).
//!
//! A ticket is the key's name (16 bytes), a random nonce (24 bytes), and the session's state after the time it
//! was sealed at, encrypted and authenticated with XChaCha20-Poly1305. Its nonce is large enough to be drawn at
//! random by any number of edges with the same key. The cipher's key is BLAKE3's key derivation, under the
//! context [`CONTEXT`], of the 64 bytes that the control plane tells.
//!
//! A ticket opens for [`LIFETIME`], and a key opens for as long after the next one took its place. So a key that
//! is rolled is of no use to whoever finds it later. A ticket may be used more than once: no early data is
//! accepted, so that gives nothing to repeat, and each session agrees on a secret of its own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use common::certificate::TicketKey;
use common::secret::{Secret, random_bytes};
use common::time::Timestamp;
use rustls::server::ProducesTickets;

mod keeper;

pub use keeper::TicketKeeper;

/// What the keys are derived for; another construction has another context.
const CONTEXT: &str = "AstroCloud 2026-11 TLS session tickets XChaCha20-Poly1305";
/// How long a ticket opens. A visitor who is back the same day is quick, and what a stolen key opens is at most
/// a day old; RFC 8446 section 4.6.1 allows seven days.
pub(crate) const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// Most keys that are told at once: a few days' worth, of which each costs a look at a ticket's name.
const MAX_KEYS: usize = 32;
/// Largest ticket that is tried, in bytes; ours have some hundreds.
const MAX_TICKET: usize = 4096;

const NAME_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 64;
const TIME_BYTES: usize = 8;

/// Why keys can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("there is no key")]
    None,
    /// There are too many.
    #[error("there are more than {MAX_KEYS} keys")]
    TooMany,
    /// A name is not 16 bytes in hexadecimal.
    #[error("a key's name is not 32 hexadecimal digits")]
    Name,
    /// A key is not 64 bytes in base64.
    #[error("the key {0} is not 64 bytes in base64")]
    Key(String),
}

struct Key {
    name: [u8; NAME_BYTES],
    cipher: XChaCha20Poly1305,
    since: Timestamp,
}

impl TryFrom<&TicketKey> for Key {
    type Error = KeyError;

    fn try_from(told: &TicketKey) -> Result<Self, KeyError> {
        let name = parse_name(&told.name).ok_or(KeyError::Name)?;
        let bytes = STANDARD.decode(told.key.reveal()).map_err(|_| KeyError::Key(told.name.clone()))?;
        if bytes.len() != KEY_BYTES {
            return Err(KeyError::Key(told.name.clone()));
        }
        let cipher = XChaCha20Poly1305::new(&blake3::derive_key(CONTEXT, &bytes).into());
        Ok(Self { name, cipher, since: told.since })
    }
}

fn parse_name(text: &str) -> Option<[u8; NAME_BYTES]> {
    if text.len() != 2 * NAME_BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// Keys, the newest first. Never empty.
struct Keys(Vec<Key>);

impl Keys {
    fn read(told: &[TicketKey]) -> Result<Self, KeyError> {
        match told.len() {
            0 => return Err(KeyError::None),
            1..=MAX_KEYS => {}
            _ => return Err(KeyError::TooMany),
        }
        let mut keys = told.iter().map(Key::try_from).collect::<Result<Vec<_>, _>>()?;
        keys.sort_by_key(|key| std::cmp::Reverse(key.since));
        Ok(Self(keys))
    }

    /// The newest whose time has come; the oldest when none has, because clocks differ.
    fn sealing(&self, now: Timestamp) -> Option<&Key> {
        self.0.iter().find(|key| key.since <= now).or_else(|| self.0.last())
    }

    fn seal(&self, message: &[u8], now: Timestamp) -> Option<Vec<u8>> {
        let key = self.sealing(now)?;
        let nonce = random_bytes::<NONCE_BYTES>();
        let plain = [&now.as_millis().to_be_bytes(), message].concat();
        let sealed = key.cipher.encrypt(&XNonce::from(nonce), Payload { msg: &plain, aad: &key.name }).ok()?;
        Some([&key.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: Timestamp) -> Option<Vec<u8>> {
        if ticket.len() > MAX_TICKET {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let place = self.0.iter().position(|key| key.name == *name)?;
        let replaced = place.checked_sub(1).and_then(|newer| self.0.get(newer)).map(|newer| newer.since);
        if replaced.is_some_and(|since| now.since(since) > LIFETIME) {
            return None;
        }
        let key = self.0.get(place)?;
        let mut plain = key.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: name }).ok()?;
        let sealed_at = Timestamp::from_millis(i64::from_be_bytes(*plain.first_chunk::<TIME_BYTES>()?));
        if now.since(sealed_at) > LIFETIME {
            return None;
        }
        plain.drain(..TIME_BYTES);
        Some(plain)
    }
}

/// Seals and opens session tickets with keys that are replaced while handshakes go on.
pub struct Tickets(ArcSwap<Keys>);

impl Tickets {
    /// Tickets with these keys.
    ///
    /// # Errors
    /// When there is none, or one that can't be used.
    pub fn new(keys: &[TicketKey]) -> Result<Arc<Self>, KeyError> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(Keys::read(keys)?))))
    }

    /// Uses other keys from now on.
    ///
    /// # Errors
    /// When there is none, or one that can't be used; then all stays as it is.
    pub fn replace(&self, keys: &[TicketKey]) -> Result<(), KeyError> {
        self.0.store(Arc::new(Keys::read(keys)?));
        Ok(())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("keys", &self.0.load().0.len()).finish()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.load().seal(plain, Timestamp::now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.load().open(cipher, Timestamp::now())
    }
}

/// A new random key.
fn random_key(since: Timestamp) -> TicketKey {
    let name = u128::from_be_bytes(random_bytes());
    let key = Secret::new(STANDARD.encode(random_bytes::<KEY_BYTES>()));
    TicketKey { name: format!("{name:032x}"), key, since }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn keys(since: &[Timestamp]) -> Vec<TicketKey> {
        since.iter().map(|since| random_key(*since)).collect()
    }

    #[test]
    fn a_ticket_opens_wherever_its_key_is_known_and_nowhere_else() {
        let now = Timestamp::now();
        let told = keys(&[now, now.before(HOUR)]);
        let (here, there) = (Keys::read(&told).unwrap(), Keys::read(&told).unwrap());
        let ticket = here.seal(b"state", now).unwrap();
        assert_eq!(there.open(&ticket, now).unwrap(), b"state");
        assert_eq!(Keys::read(&keys(&[now])).unwrap().open(&ticket, now), None);
        for byte in 0..ticket.len() {
            let mut altered = ticket.clone();
            altered[byte] ^= 1;
            assert_eq!(there.open(&altered, now), None, "byte {byte}");
            assert_eq!(there.open(&ticket[..byte], now), None);
        }
    }

    #[test]
    fn the_newest_key_whose_time_has_come_seals() {
        let now = Timestamp::now();
        let told = keys(&[now.before(HOUR), now.after(HOUR), now.before(HOUR * 5)]);
        let all = Keys::read(&told).unwrap();
        let opens_with = |ticket: &[u8], key: &TicketKey| {
            Keys::read(std::slice::from_ref(key)).unwrap().open(ticket, now.after(HOUR)).is_some()
        };
        assert!(opens_with(&all.seal(b"x", now).unwrap(), &told[0]));
        assert!(opens_with(&all.seal(b"x", now.after(HOUR)).unwrap(), &told[1]));
        let early = Keys::read(&told[1..2]).unwrap().seal(b"x", now).unwrap();
        assert!(all.open(&early, now).is_some(), "an edge whose clock is ahead");
    }

    #[test]
    fn tickets_and_replaced_keys_end() {
        let start = Timestamp::now();
        let told = keys(&[start]);
        let ticket = Keys::read(&told).unwrap().seal(b"x", start.after(HOUR)).unwrap();
        let alone = Keys::read(&told).unwrap();
        assert!(alone.open(&ticket, start.after(HOUR * 13)).is_some());
        assert!(alone.open(&ticket, start.after(HOUR * 14)).is_none(), "older than its lifetime");

        let rolled = Keys::read(&[told, keys(&[start.after(HOUR / 2)])].concat()).unwrap();
        assert!(rolled.open(&ticket, start.after(HOUR * 12)).is_some());
        assert!(rolled.open(&ticket, start.after(HOUR * 12 + HOUR * 3 / 4)).is_none(), "its key was replaced long ago");
    }

    #[test]
    fn keys_that_can_not_be_used_change_nothing() {
        let now = Timestamp::now();
        let tickets = Tickets::new(&keys(&[now])).unwrap();
        let ticket = tickets.encrypt(b"x").unwrap();
        let good = random_key(now);
        let short = TicketKey { key: Secret::new("AAAA"), ..good.clone() };
        assert_eq!(tickets.replace(std::slice::from_ref(&short)), Err(KeyError::Key(short.name)));
        for name in ["", "+1234567890123456789012345678901", "xx345678901234567890123456789012"] {
            assert_eq!(tickets.replace(&[TicketKey { name: name.to_owned(), ..good.clone() }]), Err(KeyError::Name));
        }
        assert_eq!(tickets.replace(&[]), Err(KeyError::None));
        assert_eq!(tickets.replace(&vec![good; MAX_KEYS + 1]), Err(KeyError::TooMany));
        assert_eq!(tickets.decrypt(&ticket).unwrap(), b"x");
        assert!(!format!("{tickets:?}").contains("cipher"));
    }
}
