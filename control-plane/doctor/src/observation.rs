//! What was seen of a domain, before anybody judges it.

use std::net::IpAddr;

use jiff::Timestamp;
use lookup::{Found, LookupError, Name, RData, RecordType, Remembered, Server, ServerFault, Trust};

/// What the name's own servers say, with CNAME records followed.
pub type Answer = Result<Found, LookupError>;
/// What each of the zone's servers says.
pub type Each = Result<Vec<(Server, Result<Found, ServerFault>)>, LookupError>;

/// All that was looked at.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When.
    pub at: Timestamp,
    /// The name's own CNAME record, not followed.
    pub cname: Answer,
    /// Its IPv4 addresses.
    pub a: Answer,
    /// Its IPv6 addresses.
    pub aaaa: Answer,
    /// Types of the records that stand beside a CNAME.
    pub beside: Vec<RecordType>,
    /// The addresses as each name server gives them.
    pub each: Each,
    /// The zone's SOA as each name server gives it.
    pub soa: Each,
    /// What stands where each of the expected proofs should.
    pub proofs: Vec<Answer>,
    /// The CAA records that count.
    pub caa: Result<Caa, LookupError>,
    /// Whether the signatures of the addresses hold.
    pub trust: Result<Trust, LookupError>,
    /// What resolvers say of the addresses, by the resolver's address.
    pub remembered: Vec<(String, Result<Remembered, ServerFault>)>,
    /// What the registry says; asked for when the DNS gives reason to.
    pub registration: Option<Registration>,
    /// What answers at the addresses.
    pub visits: Vec<Visit>,
}

/// The CAA records that count for a name: its own, or those of the nearest name above that has some (RFC 8659 3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caa {
    /// Where they stand; `None` when there are none at all.
    pub at: Option<Name>,
    /// Flags, tag and value of each.
    pub records: Vec<CaaRecord>,
}

/// One CAA record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaaRecord {
    /// Whether an authority that does not know the tag must not issue.
    pub critical: bool,
    /// Its tag, in lower case.
    pub tag: String,
    /// Its value.
    pub value: String,
}

/// What a registry says of a domain (RFC 9083).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registration {
    /// It is registered.
    Registered {
        /// Its status values (RFC 8056), in lower case.
        status: Vec<String>,
        /// When it runs out.
        expires: Option<Timestamp>,
        /// Who sold it.
        registrar: Option<String>,
    },
    /// It is not.
    NotRegistered,
    /// The registry could not be asked, because of this.
    Unknown(String),
}

/// What answers at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The address.
    pub address: IpAddr,
    /// Over HTTP.
    pub plain: Result<Head, Unreached>,
    /// Over HTTPS.
    pub secure: Result<Secure, Unreached>,
}

/// The head of an HTTP response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its status.
    pub status: u16,
    /// Its fields, names in lower case.
    pub fields: Vec<(String, String)>,
}

/// What came over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secure {
    /// The certificate that was served.
    pub certificate: Certificate,
    /// What came through it; the reason when no HTTP came.
    pub head: Result<Head, String>,
}

/// A certificate that was served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER form, lower-case hexadecimal.
    pub fingerprint: String,
    /// The host names in it.
    pub names: Vec<String>,
    /// Who issued it.
    pub issuer: String,
    /// When it ends.
    pub ends: Option<Timestamp>,
    /// Why browsers refuse it for the name, if they do.
    pub refused: Option<String>,
}

/// Why there was no conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// The address refused the connection.
    Refused,
    /// Nothing came in time.
    Timeout,
    /// The network said no.
    Network(String),
    /// Something answered that does not speak the protocol.
    Protocol(String),
}

impl Head {
    /// The value of a field, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Observation {
    /// The target of the name's own CNAME.
    pub fn target(&self) -> Option<String> {
        let found = self.cname.as_ref().ok()?;
        found.records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) => Some(text(&target.0)),
            _ => None,
        })
    }

    /// The addresses that the name leads to, IPv4 and IPv6.
    pub fn addresses(&self) -> Vec<IpAddr> {
        [&self.a, &self.aaaa].into_iter().flatten().flat_map(addresses).collect()
    }

    /// The zone that the name itself lies in, whatever it leads to.
    pub fn zone(&self) -> Option<&Name> {
        self.cname.as_ref().ok().map(|found| &found.zone)
    }

    /// The names of the zone's servers.
    pub fn name_servers(&self) -> Vec<String> {
        let mut names: Vec<String> = self.each.iter().flatten().map(|(server, _)| text(&server.name)).collect();
        names.dedup();
        names
    }
}

/// The addresses among the records.
pub fn addresses(found: &Found) -> Vec<IpAddr> {
    found.records.iter().filter_map(|record| record.data.ip_addr()).collect()
}

/// A name without a dot at the end, as people write it.
pub fn text(name: &Name) -> String {
    let text = name.to_ascii();
    match text.strip_suffix('.') {
        Some("") | None => text,
        Some(bare) => bare.to_owned(),
    }
}
