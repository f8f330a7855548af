//! What is found.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the doctor says of one domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// The host name in the form that the DNS has (A-labels); as it was given when it is none.
    #[schema(example = "xn--bcher-kva.example")]
    pub host: String,
    /// The same as people write it, when it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "bücher.example")]
    pub unicode: Option<String>,
    /// How it is on the whole.
    pub health: Health,
    /// What was found, a cause before its consequences. Empty when all is well.
    pub findings: Vec<Finding>,
    /// The zone that the name lies in, as far as it could be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// That zone's name servers.
    pub name_servers: Vec<String>,
    /// Who runs them, and where records are set there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// When it was looked at.
    #[schema(value_type = String, format = DateTime)]
    pub checked_at: Timestamp,
}

/// How a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing stands in the way.
    Healthy,
    /// It works, but not for everybody or not for long.
    Warned,
    /// It does not work.
    Broken,
}

/// One fault, or one thing to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Names the kind of fault, for programs.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// What was seen.
    pub seen: String,
    /// What is expected.
    pub expected: String,
    /// What to do.
    pub fix: String,
    /// The records to set and to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Seconds until it passes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u64>,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Notice,
    /// It works, but not for everybody or not for long.
    Warning,
    /// It does not work.
    Error,
}

/// The kinds of faults. A code is never given another meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The text is no host name.
    NameInvalid,
    /// More labels than are supported.
    NameTooDeep,
    /// The name is a public suffix, below which others register names.
    PublicSuffix,
    /// The name was given in Unicode.
    Idn,
    /// Nobody has registered the domain.
    NotRegistered,
    /// The registrar or the registry holds the domain back.
    RegistrarHold,
    /// The registration ran out.
    RegistrationExpired,
    /// The domain is registered, and its registry names no name servers for it.
    NotDelegated,
    /// A name server does not serve the zone that it is said to serve.
    LameDelegation,
    /// A name server cannot be reached.
    NameServerUnreachable,
    /// Parent and zone name different servers.
    DelegationDiffers,
    /// Name servers say different things.
    NameServersDisagree,
    /// Signatures do not hold.
    DnssecBogus,
    /// There is no such name.
    NoSuchName,
    /// The name has no address and no CNAME.
    NoAddress,
    /// CNAME records lead in a circle, or on and on.
    CnameLoop,
    /// A CNAME stands beside other records.
    CnameBesideOthers,
    /// A CNAME stands at the zone's apex.
    ApexCname,
    /// The CNAME leads elsewhere.
    WrongCname,
    /// An A record leads elsewhere.
    WrongA,
    /// An AAAA record leads elsewhere while the A record is right.
    StaleAaaa,
    /// A CDN stands in front.
    Proxied,
    /// The CDN and the platform send visitors in a circle.
    ProxyRedirectLoop,
    /// The record that proves ownership is missing.
    TxtMissing,
    /// The same, for a wildcard.
    WildcardTxtMissing,
    /// The record that proves ownership has another value.
    TxtWrong,
    /// Resolvers still remember what was there before.
    TtlRunning,
    /// CAA records name other authorities.
    CaaForbids,
    /// CAA records name another account.
    CaaAccount,
    /// CAA records name other validation methods.
    CaaMethods,
    /// CAA records cannot be read, so that no authority will issue.
    CaaUnreadable,
    /// Nothing answers at port 80.
    Port80Closed,
    /// Nothing answers at port 443.
    Port443Closed,
    /// Something else answers at port 443.
    Port443Other,
    /// Another certificate is served.
    CertificateOther,
    /// The DNS could not be asked.
    Unanswered,
}

/// A record to set or to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// What to do with it.
    pub action: Action,
    /// Its full name, without a dot at the end.
    #[schema(example = "shop.example.com")]
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(example = "CNAME")]
    pub kind: String,
    /// Its value.
    #[schema(example = "shop.apps.example.net")]
    pub value: String,
}

/// What to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It should be there.
    Set,
    /// It should not.
    Remove,
}

/// Who runs the name servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    /// Its name.
    #[schema(example = "Cloudflare")]
    pub name: String,
    /// Where records are set there.
    pub hint: String,
}

impl Change {
    /// A record that should be there.
    pub fn set(name: &str, kind: &str, value: impl Into<String>) -> Self {
        Self { action: Action::Set, name: name.to_owned(), kind: kind.to_owned(), value: value.into() }
    }

    /// A record that should not be there.
    pub fn remove(name: &str, kind: &str, value: impl Into<String>) -> Self {
        Self { action: Action::Remove, ..Self::set(name, kind, value) }
    }
}

impl Finding {
    /// A finding whose texts say what was seen, what is expected and what to do.
    pub(crate) fn new(
        code: Code,
        severity: Severity,
        seen: impl Into<String>,
        expected: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (seen, expected, fix) = (seen.into(), expected.into(), fix.into());
        Self { code, severity, seen, expected, fix, changes: Vec::new(), wait: None }
    }

    pub(crate) fn with(mut self, changes: Vec<Change>) -> Self {
        self.changes = changes;
        self
    }
}

impl Report {
    /// Of a name that needs no looking at.
    pub fn healthy(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            unicode: None,
            health: Health::Healthy,
            findings: Vec::new(),
            zone: None,
            name_servers: Vec::new(),
            provider: None,
            checked_at: Timestamp::now(),
        }
    }
}

impl Health {
    /// The worst of the findings.
    pub fn of(findings: &[Finding]) -> Self {
        match findings.iter().map(|finding| finding.severity).max() {
            Some(Severity::Error) => Self::Broken,
            Some(Severity::Warning) => Self::Warned,
            Some(Severity::Notice) | None => Self::Healthy,
        }
    }
}
