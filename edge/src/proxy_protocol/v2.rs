//! Version 2: binary.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Said, Wrong};

/// How a header begins.
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before the addresses: signature, version and command, family, length.
pub(super) const HEAD: usize = 16;
/// Longest part after these that is read, in bytes. Balancers send addresses and a few fields, some hundred bytes;
/// a visitor's TLS certificate, the largest field there is, fits too.
const MAX_REST: usize = 4096;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// Bytes of the addresses and ports of [`TCP4`].
const TCP4_BYTES: usize = 12;
/// Bytes of the addresses and ports of [`TCP6`].
const TCP6_BYTES: usize = 36;

/// Field with a CRC-32C of the whole header, computed as if it were zero (section 2.2.3).
const CRC32C: u8 = 0x03;
/// Bytes of a field's type and length.
const FIELD_HEAD: usize = 3;

/// Length of what follows the head, which ends with these bytes.
pub(super) fn length([_, _, high, low]: [u8; HEAD - SIGNATURE.len()]) -> Result<usize, Wrong> {
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_REST { Err(Wrong::TooLong) } else { Ok(length) }
}

/// Reads a whole header.
pub(super) fn parse(header: &[u8]) -> Result<Said, Wrong> {
    let rest = header.strip_prefix(&SIGNATURE).ok_or(Wrong::Absent)?;
    let (&[command, family, _, _], rest) = rest.split_first_chunk().ok_or(Wrong::Malformed)?;
    let (said, addresses) = match (command, family) {
        // What follows a connection of its own is to be ignored, whatever it is (section 2.2).
        (LOCAL, _) => return Ok(Said::Proxy),
        (PROXY, UNSPECIFIED) => (Said::Proxy, 0),
        (PROXY, TCP4) => {
            let (source, after) = rest.split_first_chunk::<4>().ok_or(Wrong::Malformed)?;
            (visitor(Ipv4Addr::from(*source), after.get(4..6))?, TCP4_BYTES)
        }
        (PROXY, TCP6) => {
            let (source, after) = rest.split_first_chunk::<16>().ok_or(Wrong::Malformed)?;
            (visitor(Ipv6Addr::from(*source), after.get(16..18))?, TCP6_BYTES)
        }
        (PROXY, _) => return Err(Wrong::Family),
        _ => return Err(Wrong::Malformed),
    };
    if rest.len() < addresses {
        return Err(Wrong::Malformed);
    }
    fields(header, HEAD + addresses)?;
    Ok(said)
}

fn visitor(ip: impl Into<std::net::IpAddr>, port: Option<&[u8]>) -> Result<Said, Wrong> {
    let Some(&[high, low]) = port else { return Err(Wrong::Malformed) };
    Ok(Said::Visitor(SocketAddr::new(ip.into(), u16::from_be_bytes([high, low]))))
}

/// Passes over the fields, and checks the checksum when there is one.
fn fields(header: &[u8], mut at: usize) -> Result<(), Wrong> {
    while let Some(field) = header.get(at..).filter(|rest| !rest.is_empty()) {
        let (&[kind, high, low], value) = field.split_first_chunk::<FIELD_HEAD>().ok_or(Wrong::Malformed)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = value.get(..length).ok_or(Wrong::Malformed)?;
        at += FIELD_HEAD;
        if kind == CRC32C {
            let told = value.try_into().map(u32::from_be_bytes).map_err(|_| Wrong::Malformed)?;
            let (before, after) = (header.get(..at).unwrap_or_default(), header.get(at + length..).unwrap_or_default());
            if crc32c(before.iter().chain(&[0; 4]).chain(after)) != told {
                return Err(Wrong::Checksum);
            }
        }
        at += length;
    }
    Ok(())
}

/// CRC-32C (RFC 9260 appendix A), bit by bit: it is for some hundred bytes of a connection at most.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    /// The polynomial, reflected.
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
    !bytes.fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const FOUR: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0xDC, 0x04, 1, 187];

    #[test]
    fn a_header_says_the_visitors_address() {
        assert_eq!(parse(&header(PROXY, TCP4, &FOUR)), Ok(Said::Visitor("203.0.113.7:56324".parse().unwrap())));
        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 1, 0x0D, 0xB8]);
        six[15] = 7;
        six[33] = 9;
        assert_eq!(parse(&header(PROXY, TCP6, &six)), Ok(Said::Visitor("[2001:db8::7]:9".parse().unwrap())));
        for (command, family, rest) in
            [(LOCAL, UNSPECIFIED, &[][..]), (LOCAL, 0x77, &[1, 2, 3]), (PROXY, UNSPECIFIED, &[])]
        {
            assert_eq!(parse(&header(command, family, rest)), Ok(Said::Proxy));
        }
    }

    #[test]
    fn what_is_not_tcp_over_ip_or_not_whole_is_refused() {
        for (command, family, rest, wrong) in [
            (PROXY, 0x12, &FOUR[..], Wrong::Family),
            (PROXY, 0x31, &[0; 216], Wrong::Family),
            (PROXY, TCP4, &FOUR[..11], Wrong::Malformed),
            (PROXY, TCP6, &FOUR, Wrong::Malformed),
            (PROXY, UNSPECIFIED, &[1], Wrong::Malformed),
            (0x22, TCP4, &FOUR, Wrong::Malformed),
            (0x11, TCP4, &FOUR, Wrong::Malformed),
        ] {
            assert_eq!(parse(&header(command, family, rest)), Err(wrong), "{command:x} {family:x}");
        }
        assert_eq!(length([0, 0, 0xFF, 0xFF]), Err(Wrong::TooLong));
    }

    #[test]
    fn fields_are_passed_over_and_a_checksum_must_be_right() {
        let fields = |checksum: [u8; 4]| {
            [&FOUR[..], &[0x01, 0, 2, b'h', b'2'], &[CRC32C, 0, 4], &checksum, &[0x04, 0, 0]].concat()
        };
        let right = crc32c(header(PROXY, TCP4, &fields([0; 4])).iter()).to_be_bytes();
        assert!(parse(&header(PROXY, TCP4, &fields(right))).is_ok());
        assert_eq!(parse(&header(PROXY, TCP4, &fields([0; 4]))), Err(Wrong::Checksum));
        for end in [13, 15, 16, 20] {
            assert_eq!(parse(&header(PROXY, TCP4, &fields(right)[..end])), Err(Wrong::Malformed), "{end}");
        }
        // The check value of the algorithm's catalogue entry.
        assert_eq!(crc32c(b"123456789".iter()), 0xE306_9283);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(command: u8, family: u8, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let whole = header(command, family, &rest);
            let _ = parse(&whole);
            for command in [LOCAL, PROXY] {
                for family in [TCP4, TCP6] {
                    let _ = parse(&header(command, family, &rest));
                }
            }
            let _ = parse(&whole[..whole.len() / 2]);
        }
    }
}
