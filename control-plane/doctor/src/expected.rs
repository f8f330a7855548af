//! What the platform expects of a domain.

use std::net::IpAddr;

use lookup::Name;
use url::Url;

/// What a domain that works would show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Names that a CNAME may lead to, the one to set first; without a dot at the end.
    pub targets: Vec<String>,
    /// The public addresses of the edges, for names that cannot have a CNAME.
    pub addresses: Vec<IpAddr>,
    /// Records that prove something, beside the one that leads here.
    pub proofs: Vec<Proof>,
    /// The certificate authorities that may be asked, the first one first.
    pub authorities: Vec<Authority>,
    /// How the edges are told from other servers; `None` to look at ports and certificates alone.
    pub edge: Option<EdgeSigns>,
    /// SHA-256 of the certificates that the edges have for the name, as lower-case hexadecimal of the DER form. `None`
    /// while there is no certificate yet.
    pub certificates: Option<Vec<String>>,
}

/// A record that must be there with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Where it stands: `_astrocloud.shop.example.com`.
    pub name: Name,
    /// `TXT` or `CNAME`.
    pub kind: ProofKind,
    /// Its value.
    pub value: String,
    /// What it is for, in words that follow "it": `proves that the domain is yours`.
    pub purpose: String,
}

/// The type of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofKind {
    /// A text, one of several perhaps.
    Txt,
    /// A name that hands a name over: `_acme-challenge`.
    Cname,
}

/// A certificate authority as CAA records see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// What people call it.
    pub name: String,
    /// Its issuer domain names (RFC 8659 4.2): `letsencrypt.org`. Without any they are read out of its directory.
    pub identities: Vec<String>,
    /// Its ACME directory, which may name its issuer domain names (RFC 8555 9.7.6).
    pub directory: Option<Url>,
    /// The addresses of our accounts there (RFC 8657 3). Without any, accounts are not judged.
    pub accounts: Vec<String>,
    /// The validation methods that we use (RFC 8657 4): `http-01`, `tls-alpn-01`, `dns-01`.
    pub methods: Vec<String>,
}

/// What only our edges send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeSigns {
    /// The value of the field `Server`.
    pub server: String,
    /// A field that passes through CDNs, in lower case.
    pub header: String,
}
