//! Names that people choose. A project's name is a DNS label, because it is the first label of the project's host;
//! a variable's name is one that every shell takes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longest project name: a label has at most 63 octets (RFC 1035 section 2.3.4), and a deployment's
/// own host appends `-` and ten characters.
pub const MAX_NAME_CHARS: usize = 52;

/// A project's name: lower-case letters, digits and inner hyphens, 1 to 52 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$")]
pub struct ProjectName(String);

/// A text that can't be a project's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{given}` can't be a project name: use 1 to {MAX_NAME_CHARS} lower-case letters, digits and hyphens, \
     with a letter or digit at both ends{}", suggestion.as_ref().map(|s| format!(", for example `{s}`")).unwrap_or_default()
)]
pub struct InvalidName {
    given: String,
    suggestion: Option<String>,
}

impl ProjectName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest valid name to a folder's or repository's name, if any character of it can stay.
    #[must_use]
    pub fn nearest(text: &str) -> Option<Self> {
        let mut name = String::new();
        for c in text.chars().flat_map(char::to_lowercase) {
            if c.is_ascii_alphanumeric() {
                name.push(c);
            } else if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
            if name.len() == MAX_NAME_CHARS {
                break;
            }
        }
        let name = name.trim_end_matches('-').to_owned();
        (!name.is_empty()).then_some(Self(name))
    }
}

impl FromStr for ProjectName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let label = !text.is_empty()
            && text.len() <= MAX_NAME_CHARS
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        // `xn--` announces an encoded international name (RFC 5890 section 2.3.1).
        if label && !text.starts_with("xn--") {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                given: text.chars().take(80).collect(),
                suggestion: Self::nearest(text).filter(|n| n.0 != text).map(|n| n.0),
            })
        }
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ProjectName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<ProjectName> for String {
    fn from(name: ProjectName) -> String {
        name.0
    }
}

/// Longest name of an environment variable, characters.
const MAX_VARIABLE_CHARS: usize = 256;
/// Environment variables that the platform sets.
const RESERVED_VARIABLES: [&str; 3] = ["PORT", "HOME", "PATH"];

/// A text that can't be the name of a project's environment variable.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidVariable {
    /// Shells would not take it.
    #[error("`{0}` can't be a variable's name: use letters, digits and underscores, not a digit at first")]
    Malformed(String),
    /// The platform sets it.
    #[error("`{0}` is set by AstroCloud and can't be changed")]
    Reserved(String),
}

/// Checks the name of an environment variable.
///
/// # Errors
/// When it can't be one.
pub fn check_variable(name: &str) -> Result<(), InvalidVariable> {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let well_formed = first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !well_formed || name.len() > MAX_VARIABLE_CHARS {
        return Err(InvalidVariable::Malformed(name.chars().take(64).collect()));
    }
    if RESERVED_VARIABLES.contains(&name) {
        return Err(InvalidVariable::Reserved(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_name_becomes_the_nearest_valid_name() {
        assert_eq!(ProjectName::nearest("vCard-personal-portfolio").unwrap().as_str(), "vcard-personal-portfolio");
        assert_eq!(ProjectName::nearest("  My_App (2)! ").unwrap().as_str(), "my-app-2");
        assert_eq!(ProjectName::nearest("***"), None);
    }

    #[test]
    fn a_wrong_name_is_refused_with_a_right_one() {
        let message = "My App".parse::<ProjectName>().unwrap_err().to_string();
        assert!(message.contains("`my-app`"), "{message}");
        for wrong in ["", "-a", "a-", "xn--abc", "a.b", &"a".repeat(53)] {
            assert!(wrong.parse::<ProjectName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_variable_is_named_as_shells_take_it_and_not_like_one_of_the_platform() {
        for right in ["A", "_x", "VITE_API_URL", "a1"] {
            check_variable(right).unwrap();
        }
        for wrong in ["", "1A", "A-B", "A B", "Ä", "PORT", &"A".repeat(257)] {
            assert!(check_variable(wrong).is_err(), "{wrong}");
        }
    }
}
