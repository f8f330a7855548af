//! How strongly this host can shut a command in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds of sandbox, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// bubblewrap: namespaces of its own and a file system of its own, made by a program that others have reviewed.
    Bubblewrap,
    /// The same view made by our own launcher, with landlock on top where the kernel has it.
    Namespaces,
    /// No namespaces: the kernel's landlock refuses the files, and processes are watched.
    Landlock,
    /// Only limits and watching: the command can read what its user can read.
    None,
}

impl Level {
    /// All levels, strongest first.
    pub const ALL: [Self; 4] = [Self::Bubblewrap, Self::Namespaces, Self::Landlock, Self::None];

    /// The level's stable name for records and scripts: `bubblewrap`, `namespaces`, `landlock` or `none`.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::Bubblewrap => "bubblewrap",
            Self::Namespaces => "namespaces",
            Self::Landlock => "landlock",
            Self::None => "none",
        }
    }

    /// Whether mounts can have another path inside than outside.
    pub(crate) fn remaps(self) -> bool {
        matches!(self, Self::Bubblewrap | Self::Namespaces)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Bubblewrap => "bubblewrap: commands see only their own files and processes",
            Self::Namespaces => "kernel namespaces: commands see only their own files and processes",
            Self::Landlock => "landlock: commands cannot open the host's files, but share its process list",
            Self::None => "no sandbox: commands run with limits only and can read what their user can read",
        })
    }
}
