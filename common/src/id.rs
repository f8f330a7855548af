//! Prefixed identifiers: `prj_…`, `dpl_…`. The part after the prefix is a ULID in lower case, so ids
//! of one kind sort by the time they were made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A text that is no id of the wanted kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{given}` is no {kind} id: it should look like `{prefix}_` and 26 letters and digits")]
pub struct InvalidId {
    given: String,
    kind: &'static str,
    prefix: &'static str,
}

/// Number of characters of a ULID in Crockford's base 32.
const ULID_CHARS: usize = 26;
/// Characters of an id that stand in host names. All come from the ULID's 80 random bits, so that ids
/// made in one millisecond differ: 10 characters are 50 bits.
const SHORT_CHARS: usize = 10;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String, pattern = $pattern)]
        pub struct $name([u8; concat!($prefix, "_").len() + ULID_CHARS]);

        impl $name {
            /// Characters of an id; all are ASCII.
            pub const LEN: usize = concat!($prefix, "_").len() + ULID_CHARS;

            /// A new id, later than every id made before it on this machine's clock.
            #[must_use]
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                let mut ulid = [0; ULID_CHARS];
                ulid::Ulid::generate().array_to_str(&mut ulid);
                ulid.make_ascii_lowercase();
                let mut bytes = [0; Self::LEN];
                let (prefix, rest) = bytes.split_at_mut(Self::LEN - ULID_CHARS);
                prefix.copy_from_slice(concat!($prefix, "_").as_bytes());
                rest.copy_from_slice(&ulid);
                Self(bytes)
            }

            /// The id as text, prefix included.
            #[must_use]
            pub fn as_str(&self) -> &str {
                // It is ASCII, whichever way it was made.
                str::from_utf8(&self.0).unwrap_or_default()
            }

            /// The id as text in bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
                &self.0
            }

            /// The last ten characters: short enough for a host name, random enough not to be guessed.
            #[must_use]
            pub fn short(&self) -> &str {
                &self.as_str()[Self::LEN - SHORT_CHARS..]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.as_str()).finish()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let rest = text.strip_prefix(concat!($prefix, "_"));
                let well_formed = rest.is_some_and(|r| {
                    r.len() == ULID_CHARS && r.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
                });
                match text.as_bytes().try_into() {
                    Ok(bytes) if well_formed => Ok(Self(bytes)),
                    _ => Err(InvalidId { given: text.chars().take(64).collect(), kind: $kind, prefix: $prefix }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.as_str().to_owned()
            }
        }
    };
}

id!(
    /// A project: a name, its settings, its deployments.
    ProjectId, "prj", "project", "^prj_[0-9a-z]{26}$"
);
id!(
    /// A deployment: one build of one source; immutable once it is ready.
    DeploymentId, "dpl", "deployment", "^dpl_[0-9a-z]{26}$"
);
id!(
    /// A deployer's hold on a deployment that it works on: another one for each time that it takes one.
    ClaimId, "clm", "claim", "^clm_[0-9a-z]{26}$"
);
id!(
    /// A deployer: another one for each process.
    DeployerId, "dpr", "deployer", "^dpr_[0-9a-z]{26}$"
);
id!(
    /// An edge: it keeps its id in its folder.
    EdgeId, "edg", "edge", "^edg_[0-9a-z]{26}$"
);
id!(
    /// A source archive uploaded through a pre-signed URL.
    UploadId, "upl", "upload", "^upl_[0-9a-z]{26}$"
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_reads_back_as_itself_and_keeps_its_kind() {
        let id = DeploymentId::new();
        assert_eq!(id.as_str().parse::<DeploymentId>().unwrap(), id);
        assert!(id.as_str().parse::<ProjectId>().is_err());
        assert_eq!(id.short().len(), SHORT_CHARS);
    }

    #[test]
    fn a_wrong_id_is_refused_with_its_right_form() {
        for wrong in ["", "dpl_", "dpl_../../etc", "dpl_01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
            let message = wrong.parse::<DeploymentId>().unwrap_err().to_string();
            assert!(message.contains("dpl_"), "{message}");
        }
    }
}
