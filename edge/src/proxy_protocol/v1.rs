//! Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Said, Wrong};

/// How the line begins.
pub(super) const BEGINS: &[u8] = b"PROXY ";
/// Longest line in bytes, its end included (section 2.1).
pub(super) const MAX: usize = 107;

/// Reads a line with its end.
pub(super) fn parse(line: &[u8]) -> Result<Said, Wrong> {
    let line = line.strip_suffix(b"\r\n").ok_or(Wrong::Malformed)?;
    let text = std::str::from_utf8(line).map_err(|_| Wrong::Malformed)?;
    let mut words = text.split(' ');
    if words.next() != Some("PROXY") {
        return Err(Wrong::Absent);
    }
    let family = words.next().ok_or(Wrong::Malformed)?;
    if family == "UNKNOWN" {
        // Whatever follows says nothing.
        return Ok(Said::Proxy);
    }
    let mut word = || words.next().ok_or(Wrong::Malformed);
    let (source, destination, source_port, destination_port) = (word()?, word()?, word()?, word()?);
    if words.next().is_some() {
        return Err(Wrong::Malformed);
    }
    let source: IpAddr = match family {
        "TCP4" => both::<Ipv4Addr>(source, destination)?.into(),
        "TCP6" => both::<Ipv6Addr>(source, destination)?.into(),
        _ => return Err(Wrong::Family),
    };
    port(destination_port)?;
    Ok(Said::Visitor(SocketAddr::new(source, port(source_port)?)))
}

fn both<A: FromStr>(source: &str, destination: &str) -> Result<A, Wrong> {
    destination.parse::<A>().map_err(|_| Wrong::Malformed)?;
    source.parse().map_err(|_| Wrong::Malformed)
}

fn port(text: &str) -> Result<u16, Wrong> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_number { text.parse().map_err(|_| Wrong::Malformed) } else { Err(Wrong::Malformed) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_says_the_visitors_address() {
        for (line, visitor) in [
            ("PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n", "203.0.113.7:56324"),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n", "[2001:db8::7]:1"),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(Said::Visitor(visitor.parse().unwrap())), "{line}");
        }
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n"] {
            assert_eq!(parse(line.as_bytes()), Ok(Said::Proxy), "{line}");
        }
    }

    #[test]
    fn lines_that_differ_from_the_form_are_refused() {
        for line in [
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443",
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443 1\r\n",
            "PROXY TCP4  203.0.113.7 10.0.0.1 56324 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 056324 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 +56324 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n",
            "PROXY TCP4 203.0.113.7 10.0.0.1 56324 \r\n",
            "PROXY TCP4 203.0.113 10.0.0.1 56324 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n",
            "PROXY TCP6 203.0.113.7 10.0.0.1 56324 443\r\n",
            "PROXY UDP4 203.0.113.7 10.0.0.1 56324 443\r\n",
            "PROXY\r\n",
            "proxy TCP4 203.0.113.7 10.0.0.1 56324 443\r\n",
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn every_address_is_read_back(source: SocketAddr, destination: SocketAddr) {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let line = format!(
                "PROXY {family} {} {} {} {}\r\n",
                source.ip(), destination.ip(), source.port(), destination.port()
            );
            let read = parse(line.as_bytes());
            if source.is_ipv4() == destination.is_ipv4() {
                prop_assert!(line.len() <= MAX);
                prop_assert_eq!(read, Ok(Said::Visitor(SocketAddr::new(source.ip(), source.port()))));
            } else {
                prop_assert_eq!(read, Err(Wrong::Malformed));
            }
        }

        #[test]
        fn no_bytes_break_it(bytes: Vec<u8>) {
            let _ = parse(&bytes);
            let _ = parse(&[b"PROXY TCP4 ", &bytes[..], b"\r\n"].concat());
        }
    }
}
