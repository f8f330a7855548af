//! Which addresses a stranger's zone may send us to.

use std::{net::IpAddr, sync::LazyLock};

use ipnet::IpNet;

/// Networks that are not of the public Internet: the IANA registries of special-purpose addresses (RFC 6890), and
/// multicast. Addresses that carry an IPv4 address within (RFC 6052, RFC 3056) are judged by that address too.
const SPECIAL: [&str; 26] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

static NETWORKS: LazyLock<Vec<IpNet>> =
    LazyLock::new(|| SPECIAL.iter().filter_map(|network| network.parse().ok()).collect());

/// Whether an address is of the public Internet, so that a connection to it cannot reach the operator's own networks.
pub fn is_public(address: IpAddr) -> bool {
    let address = address.to_canonical();
    if let IpAddr::V6(v6) = address {
        let segments = v6.segments();
        let embedded = match segments {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some([high, low]),
            [0, 0, 0, 0, 0, 0, high, low] => Some([high, low]),
            _ => None,
        };
        if let Some([high, low]) = embedded {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            return is_public(IpAddr::from([a, b, c, d]));
        }
    }
    !NETWORKS.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_network_of_the_list_is_read() {
        assert_eq!(NETWORKS.len(), SPECIAL.len());
    }

    #[test]
    fn inner_addresses_are_told_from_public_ones_in_every_spelling() {
        for inner in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "100.64.0.1",
            "::1",
            "::",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "fd00::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(inner.parse().unwrap()), "{inner}");
        }
        for public in ["198.41.0.4", "2606:4700::1", "64:ff9b::c629:4", "2801:1b8:10::b"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
