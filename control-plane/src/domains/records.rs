//! The records that a domain needs.

use std::net::IpAddr;

use common::domain::{DomainName, Expected, Record, RecordKind};

/// The label of the text that shows whose a name is.
const LABEL: &str = "_astrocloud";
/// What the text begins with.
const TEXT: &str = "astrocloud-verification=";
/// Characters of its hash: 128 bits in hexadecimal, so that no two accounts' or names' texts meet.
const HASH_CHARS: usize = 32;

/// Knows what this installation's records are.
pub struct Records {
    base_domain: String,
    addresses: Vec<IpAddr>,
}

impl Records {
    pub(super) fn new(base_domain: &str, addresses: &[IpAddr]) -> Self {
        Self { base_domain: base_domain.to_owned(), addresses: addresses.to_vec() }
    }

    /// The records of a domain of a project.
    pub(super) fn of(&self, name: &DomainName, project: &str, account: &str, prove_required: bool) -> Expected {
        if name.is_local() {
            return Expected::default();
        }
        let record = |kind, value| Record { name: name.as_str().to_owned(), kind, value };
        let point = if name.is_apex() {
            let of = |address: &IpAddr| match address {
                IpAddr::V4(_) => record(RecordKind::A, address.to_string()),
                IpAddr::V6(_) => record(RecordKind::Aaaa, address.to_string()),
            };
            self.addresses.iter().map(of).collect()
        } else {
            vec![record(RecordKind::Cname, format!("{project}.{}", self.base_domain))]
        };
        let value = self.text(name, account);
        let prove = Some(Record { name: proof_name(name), kind: RecordKind::Txt, value });
        Expected { point, prove, prove_required }
    }

    /// The text that shows that a name is an account's. It need not be secret: nobody but the name's owner can set it
    /// there, and it counts for no other account, name or installation.
    pub(super) fn text(&self, name: &DomainName, account: &str) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("astrocloud 2026-11 ownership of a domain");
        for part in [self.base_domain.as_str(), account, name.as_str()] {
            hasher.update(part.as_bytes());
            hasher.update(&[0]);
        }
        let hash = hasher.finalize().to_hex();
        format!("{TEXT}{}", &hash[..HASH_CHARS])
    }

    /// The label of the project whose own address a name is.
    pub(super) fn project_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let label = name.strip_suffix(&self.base_domain)?.strip_suffix('.')?;
        (!label.contains('.')).then_some(label)
    }

    /// Whether an address is an edge's.
    pub(super) fn is_edge(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }
}

/// Where the text of a name stands.
pub fn proof_name(name: &DomainName) -> String {
    format!("{LABEL}.{}", name.base())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn records() -> Records {
        Records::new("apps.example.net", &["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()])
    }

    fn lines(name: &str, account: &str) -> Vec<String> {
        let expected = records().of(&name.parse().unwrap(), "shop", account, false);
        let all = expected.point.into_iter().chain(expected.prove);
        all.map(|record| format!("{} {} {}", record.name, record.kind.as_str(), record.value)).collect()
    }

    #[test]
    fn a_registered_name_needs_the_edges_addresses_and_others_a_cname() {
        let apex = lines("example.com", "a");
        assert_eq!(apex[..2], ["example.com A 192.0.2.1", "example.com AAAA 2001:db8::1"]);
        assert!(apex[2].starts_with("_astrocloud.example.com TXT astrocloud-verification="), "{apex:?}");
        assert_eq!(lines("www.example.com", "a")[0], "www.example.com CNAME shop.apps.example.net");
        let wildcard = lines("*.example.com", "a");
        assert_eq!(wildcard[0], "*.example.com CNAME shop.apps.example.net");
        assert!(wildcard[1].starts_with("_astrocloud.example.com TXT "));
        assert!(lines("www.shop.localhost", "a").is_empty());
    }

    #[test]
    fn the_text_is_another_for_each_account_name_and_installation() {
        let text =
            |base: &str, name: &str, account: &str| Records::new(base, &[]).text(&name.parse().unwrap(), account);
        let mut all = vec![
            text("a.example", "example.com", "a"),
            text("a.example", "example.com", "b"),
            text("a.example", "*.example.com", "a"),
            text("b.example", "example.com", "a"),
        ];
        assert_eq!(text("a.example", "example.com", "a"), all[0], "it is the same each time");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn a_projects_own_address_is_known_by_its_label() {
        for (name, expected) in [
            ("shop.apps.example.net", Some("shop")),
            ("a.shop.apps.example.net", None),
            ("apps.example.net", None),
            ("shopapps.example.net", None),
        ] {
            assert_eq!(records().project_of(name), expected, "{name}");
        }
    }
}
