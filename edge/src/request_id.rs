//! The id of a request, for the app, the visitor and the access log.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use ulid::{ULID_LEN, Ulid};

/// Characters that tell the time; the others are random.
const TIME_LEN: usize = 10;

/// An id like no other: a ULID as text, which sorts by time. Those that a thread makes within one millisecond are
/// counted up from a random one, as ULIDs may be, because that costs a tenth of another random one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId([u8; ULID_LEN]);

thread_local! {
    /// The last one, and its millisecond.
    static LAST: Cell<(u128, RequestId)> = const { Cell::new((0, RequestId([b'Z'; ULID_LEN]))) };
}

impl RequestId {
    /// A new one.
    pub(crate) fn generate() -> Self {
        Self::at(SystemTime::now())
    }

    /// A new one for a request that came at `now`.
    pub(crate) fn at(now: SystemTime) -> Self {
        let millisecond = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let (of, last) = LAST.get();
        let next = if of == millisecond { last.next() } else { None };
        let id = next.unwrap_or_else(|| {
            let mut text = [0; ULID_LEN];
            Ulid::from_datetime(now).array_to_str(&mut text);
            Self(text)
        });
        LAST.set((millisecond, id));
        id
    }

    /// The next one of the same millisecond, unless this is the last.
    fn next(mut self) -> Option<Self> {
        for character in self.0[TIME_LEN..].iter_mut().rev() {
            *character = match *character {
                b'9' => b'A',
                // Letters that look like digits or other letters are left out (Crockford's base 32).
                b'H' | b'K' | b'N' | b'T' => *character + 2,
                b'Z' => b'0',
                other => other + 1,
            };
            if *character != b'0' {
                return Some(self);
            }
        }
        None
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text; letters and digits always are.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// As a header's value.
    pub(crate) fn field(&self) -> HeaderValue {
        // Letters and digits always are one.
        HeaderValue::from_bytes(&self.0).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn value(id: &RequestId) -> u128 {
        Ulid::from_string(id.as_str()).unwrap().0
    }

    #[test]
    fn ids_of_one_thread_go_up_and_tell_their_time() {
        let at = UNIX_EPOCH + Duration::from_millis(1_764_000_000_123);
        let mut last = value(&RequestId::at(at));
        for _ in 0..2000 {
            let next = value(&RequestId::at(at));
            assert_eq!(next, last + 1);
            last = next;
        }
        let later = RequestId::at(at + Duration::from_millis(1));
        assert!(value(&later) > last && later.field() == later.as_str());
        assert_eq!(Ulid(value(&later)).timestamp_ms(), 1_764_000_000_124);
    }

    #[test]
    fn threads_count_from_different_numbers() {
        let at = UNIX_EPOCH + Duration::from_secs(1_764_000_000);
        let of_another = std::thread::spawn(move || RequestId::at(at)).join().unwrap();
        assert!(value(&RequestId::at(at)).abs_diff(value(&of_another)) > 1 << 40);
    }

    #[test]
    fn the_last_id_of_a_millisecond_has_none_after_it() {
        assert!(RequestId([b'Z'; ULID_LEN]).next().is_none());
    }
}
