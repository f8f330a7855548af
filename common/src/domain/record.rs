//! DNS records, as domains need them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A type of records that domains need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordKind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name.
    Cname,
    /// A text.
    Txt,
}

impl RecordKind {
    /// As zone files write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Txt => "TXT",
        }
    }
}

/// A DNS record, seen or to be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// Its name, without the root's dot.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// Its value: an address, a name without the root's dot, or a text without quotes.
    pub value: String,
}

/// The records that are to be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Expected {
    /// These lead visitors here, all of them together. They also show whose the name is, where `prove` is not required.
    pub point: Vec<Record>,
    /// This one shows whose the name is, before or without those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prove: Option<Record>,
    /// Whether that one has to be set in any case, because another account holds the name or one around it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prove_required: bool,
}
