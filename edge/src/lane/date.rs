//! The `Date` field (RFC 9110 section 6.6.1), written once a second.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use http::HeaderValue;

/// The date at which Unix' clock begins.
const EPOCH: HeaderValue = HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT");
/// `Date: Sun, 06 Nov 1994 08:49:37 GMT` and its line end.
const LEN: usize = 37;

struct Line {
    second: u64,
    text: [u8; LEN],
}

/// The field's value.
pub(crate) fn value() -> HeaderValue {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    VALUE.with_borrow_mut(|(of, value)| {
        if *of != second {
            // A date always is a field's value.
            *value = HeaderValue::try_from(httpdate::fmt_http_date(now)).unwrap_or(EPOCH);
            *of = second;
        }
        value.clone()
    })
}

thread_local! {
    static VALUE: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, EPOCH)) };

    static LINE: RefCell<Line> = const { RefCell::new(Line { second: 0, text: [0; LEN] }) };
}

/// Appends the field's line.
pub(crate) fn append(to: &mut BytesMut) {
    append_at(to, SystemTime::now());
}

/// The same, for an answer that is written at `now`.
pub(super) fn append_at(to: &mut BytesMut, now: SystemTime) {
    // Before 1970, no clock of a server that runs is.
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    LINE.with_borrow_mut(|line| {
        if line.second != second || line.text[0] == 0 {
            line.second = second;
            line.text[..6].copy_from_slice(b"Date: ");
            line.text[6..LEN - 2].copy_from_slice(httpdate::fmt_http_date(now).as_bytes());
            line.text[LEN - 2..].copy_from_slice(b"\r\n");
        }
        to.extend_from_slice(&line.text);
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_date_is_that_of_its_second() {
        let begin = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (after, expected) in [
            (0, &b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"[..]),
            (999, b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            (1000, b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"),
        ] {
            let mut line = BytesMut::new();
            append_at(&mut line, begin + Duration::from_millis(after));
            assert_eq!(line, expected);
        }
    }
}
