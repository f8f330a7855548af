//! Why an archive is refused.

use std::io;

/// Characters of a name that are shown, at most.
const SHOWN: usize = 200;

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is something else.
    #[error(
        "The upload is not a ZIP archive{}. Pack the project's folder as a ZIP and upload that.",
        looks_like(*.format)
    )]
    NotZip {
        /// What it looks like, if it is known.
        format: Option<&'static str>,
    },
    /// It is one part of several.
    #[error("The archive is one part of several. Make one ZIP that is not split, and upload that.")]
    Split,
    /// It begins as a ZIP and does not end as one.
    #[error(
        "The archive ends too early: it was cut off when it was made or uploaded. Make it again and upload it again."
    )]
    Truncated,
    /// Something in it is wrong.
    #[error("The archive is damaged at {what}: {why}. Make it again and upload it again.")]
    Damaged {
        /// Where: an entry, or a part of the archive.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// It wants a password.
    #[error("{name} in the archive is encrypted. Make the ZIP without a password.")]
    Encrypted {
        /// The entry.
        name: String,
    },
    /// It is packed in a way that few tools unpack.
    #[error(
        "{name} in the archive is compressed with {method}, which is not supported. Make the ZIP with Deflate, \
         the usual method."
    )]
    Method {
        /// The entry.
        name: String,
        /// The method.
        method: &'static str,
    },
    /// It has no file.
    #[error("The archive has no files. Pack the project's folder as a ZIP and upload that.")]
    Empty,
    /// It has more entries than the limit.
    #[error(
        "The archive has {}, and at most {limit} files and folders are allowed. Leave out what the build \
         installs or makes, such as node_modules.",
        entries(*.listed)
    )]
    TooManyFiles {
        /// How many its directory says it has, where it was counted to the end.
        listed: Option<u64>,
        /// The limit.
        limit: u64,
    },
    /// Its files are more bytes than the limit.
    #[error(
        "The archive unpacks to more than {}, the limit. Leave out what the build installs or makes, such as \
         node_modules.",
        logs::size(*.limit)
    )]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// One of its files is more bytes than the limit.
    #[error(
        "{name} in the archive unpacks to more than {}, the limit for one file. Leave it out, or split it.",
        logs::size(*.limit)
    )]
    FileTooLarge {
        /// The entry.
        name: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// An entry's name leads out of the folder, or can't be the name of a file.
    #[error("{name} in the archive is refused: its name {why}. Rename or remove it.")]
    UnsafeName {
        /// The entry.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A link leads out of the folder.
    #[error(
        "The link {name} in the archive is refused: its target {target} {why}. Make it relative and within the \
         archive, or remove it."
    )]
    UnsafeLink {
        /// The entry.
        name: String,
        /// Where it leads.
        target: String,
        /// What is wrong.
        why: &'static str,
    },
    /// An entry is a device, a pipe or a socket.
    #[error("{name} in the archive is refused: it is a device, a pipe or a socket. Remove it.")]
    Special {
        /// The entry.
        name: String,
    },
    /// Two entries have one name.
    #[error("{name} is in the archive {how}: one of them would be lost. Rename or remove one.")]
    Twice {
        /// The name.
        name: String,
        /// As what.
        how: &'static str,
    },
    /// Two entries can't both be kept on every system.
    #[error(
        "{first} and {second} in the archive differ only in the {what} of their names: one of them would be lost \
         on many systems. Rename or remove one."
    )]
    Collision {
        /// The one that comes first.
        first: String,
        /// The other.
        second: String,
        /// In what.
        what: &'static str,
    },
    /// Nobody waits for it any more.
    #[error("Unpacking the archive was canceled.")]
    Canceled,
    /// This host failed.
    #[error("AstroCloud could not unpack the archive: {}. Deploy again; if it stays so, tell the operator.", .0.kind())]
    Io(#[from] io::Error),
}

impl ArchiveError {
    /// A stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotZip { .. } | Self::Split | Self::Damaged { .. } => "archive_invalid",
            Self::Truncated => "archive_truncated",
            Self::Encrypted { .. } => "archive_encrypted",
            Self::Method { .. } => "archive_unsupported",
            Self::Empty => "archive_empty",
            Self::TooManyFiles { .. } => "archive_too_many_files",
            Self::TooLarge { .. } | Self::FileTooLarge { .. } => "archive_too_large",
            Self::UnsafeName { .. } | Self::UnsafeLink { .. } | Self::Special { .. } => "archive_unsafe_path",
            Self::Twice { .. } | Self::Collision { .. } => "archive_name_collision",
            Self::Canceled => "canceled",
            Self::Io(_) => "internal",
        }
    }
}

fn looks_like(format: Option<&'static str>) -> String {
    format.map_or_else(String::new, |format| format!(" but {format}"))
}

fn entries(listed: Option<u64>) -> String {
    listed.map_or_else(|| "too many entries".into(), |listed| format!("{listed} entries"))
}

/// A name for people: in quotes, control characters escaped, shortened.
pub(crate) fn shown(name: &str) -> String {
    let mut text = String::from('`');
    for character in name.chars().take(SHOWN) {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    if name.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text.push('`');
    text
}
