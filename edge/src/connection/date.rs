//! The date of an app's answer (RFC 9110 section 6.6.1), which is not the edge's to change: Pingora writes the
//! present one into every head over HTTP/1. So the app's own travels beside it in [`answer::APP_DATE`], and is put
//! in its place here.

use bytes::BytesMut;
use memchr::memmem;

use crate::answer;

/// `Sun, 06 Nov 1994 08:49:37 GMT` has so many characters.
const LENGTH: usize = 29;
/// How the field is spelled that Pingora writes, with and without an app's spelling of names to go by.
const FIELDS: [&[u8]; 2] = [b"\r\nDate: ", b"\r\ndate: "];

/// Gives a head the app's own date, if it carries one.
pub(super) fn restore(head: &mut BytesMut) {
    let Some(carrier) = memmem::find(head, answer::APP_DATE.as_bytes()) else { return };
    let value = carrier + answer::APP_DATE.len() + b": ".len();
    let end = value + LENGTH;
    let is_line = head[..carrier].ends_with(b"\r\n") && head.get(end..).is_some_and(|rest| rest.starts_with(b"\r\n"));
    let date = FIELDS.iter().find_map(|field| memmem::find(head, field).map(|at| at + field.len()));
    if let Some(date) = date.filter(|date| is_line && head.len() >= date + LENGTH) {
        head.copy_within(value..end, date);
        let next = end + b"\r\n".len();
        head.copy_within(next.., carrier);
        head.truncate(head.len() - (next - carrier));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apps_date_takes_the_place_of_the_present_one() {
        let (then, now) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Wed, 25 Nov 2026 06:30:00 GMT");
        for (head, restored) in [
            (
                format!("HTTP/1.1 200 OK\r\nx-astrocloud-date: {then}\r\nA: b\r\nDate: {now}\r\n\r\n"),
                format!("HTTP/1.1 200 OK\r\nA: b\r\nDate: {then}\r\n\r\n"),
            ),
            (
                format!("HTTP/1.1 200 OK\r\ndate: {now}\r\na: b\r\nx-astrocloud-date: {then}\r\n\r\n"),
                format!("HTTP/1.1 200 OK\r\ndate: {then}\r\na: b\r\n\r\n"),
            ),
            (format!("HTTP/1.1 200 OK\r\nDate: {now}\r\n\r\n"), format!("HTTP/1.1 200 OK\r\nDate: {now}\r\n\r\n")),
        ] {
            let mut bytes = BytesMut::from(head.as_str());
            restore(&mut bytes);
            assert_eq!(bytes, restored);
        }
    }

    #[test]
    fn what_is_no_such_field_stays_as_it_is() {
        for head in [
            "HTTP/1.1 200 OK\r\nx-astrocloud-date: short\r\nDate: x\r\n\r\n",
            "x-astrocloud-date",
            "x-astrocloud-date: ",
        ] {
            let mut bytes = BytesMut::from(head);
            restore(&mut bytes);
            assert_eq!(bytes, head);
        }
    }
}
