//! An address as text, without an allocation and without formatting where there is no need: every request of an app
//! carries its visitor's.

use std::io::Write as _;
use std::net::IpAddr;

/// Characters of the longest address (RFC 5952 section 4.3): eight groups of four digits, and colons between.
const LONGEST: usize = 39;

/// An address as text.
pub(super) struct Text {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Text {
    pub(super) fn of(address: IpAddr) -> Self {
        let mut text = Self { bytes: [0; LONGEST], len: 0 };
        match address {
            IpAddr::V4(address) => {
                for (place, number) in address.octets().into_iter().enumerate() {
                    if place > 0 {
                        text.push(b'.');
                    }
                    if number >= 100 {
                        text.push(b'0' + number / 100);
                    }
                    if number >= 10 {
                        text.push(b'0' + number / 10 % 10);
                    }
                    text.push(b'0' + number % 10);
                }
            }
            IpAddr::V6(address) => {
                let mut rest = text.bytes.as_mut_slice();
                // It has room for every one.
                let _ = write!(rest, "{address}");
                text.len = LONGEST - rest.len();
            }
        }
        text
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn addresses_are_written_as_everywhere(v4: [u8; 4], v6: [u16; 8]) {
            for address in [IpAddr::from(v4), IpAddr::from(v6)] {
                let text = Text::of(address);
                prop_assert_eq!(text.as_bytes(), address.to_string().into_bytes());
            }
        }
    }

    #[test]
    fn the_longest_addresses_fit() {
        for text in ["255.255.255.255", "0.0.0.0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            let address: IpAddr = text.parse().unwrap_or(IpAddr::from([1, 1, 1, 1]));
            assert_eq!(Text::of(address).as_bytes(), text.as_bytes());
        }
    }
}
