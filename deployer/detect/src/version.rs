//! A version as three numbers.

use std::fmt;
use std::str::FromStr;

/// Major, minor, patch. Pre-release and build tags are left out: for choosing a Node and for judging
/// majors they do not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
    /// The third number.
    pub patch: u64,
}

/// Text that is not a version.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a version; a version has three numbers, such as \"22.11.0\"")]
pub struct NotAVersion(String);

impl Version {
    /// A version from its numbers.
    #[must_use]
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self { major, minor, patch }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    /// Reads `22.11.0` and `v22.11.0`, as `node --version` prints it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = || {
            let core = text.trim().trim_start_matches('v').split(['-', '+']).next()?;
            let mut parts = core.split('.').map(|part| part.parse().ok());
            let version = Self::new(parts.next()??, parts.next()??, parts.next()??);
            parts.next().is_none().then_some(version)
        };
        numbers().ok_or_else(|| NotAVersion(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_node_prints_is_read_and_printed() {
        let version: Version = "v22.11.0\n".parse().unwrap();
        assert_eq!(version, Version::new(22, 11, 0));
        assert_eq!(version.to_string(), "22.11.0");
        assert_eq!("23.0.0-nightly1".parse::<Version>().unwrap(), Version::new(23, 0, 0));
        for text in ["", "22", "22.1", "1.2.3.4", "a.b.c"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
