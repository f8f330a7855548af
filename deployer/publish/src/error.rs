//! Why a site is not published, and what its developer can do about it.

use common::blob::BlobError;

/// Characters of a name that a message shows; a name may be as long as its path.
const SHOWN: usize = 200;

/// A site that is not published. Every message says what was wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A path that no manifest can hold, or that is no file.
    #[error("{path} can't be published: {problem}")]
    UnsafePath {
        /// As the developer would recognise it.
        path: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A link that is not followed.
    #[error("the link {path} {problem}")]
    UnsafeLink {
        /// Where the link stands.
        path: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// Two files whose names are the same text in different Unicode forms.
    #[error(
        "two files have the same name {path} in different Unicode forms, \"{first}\" and \"{second}\", which no address can tell apart; rename one of them"
    )]
    NameCollision {
        /// The name both have in NFC.
        path: String,
        /// One, escaped.
        first: String,
        /// The other, escaped.
        second: String,
    },
    /// More files or folders than allowed.
    #[error(
        "the site has more than {limit} files or folders; publish only what visitors need, or have the limit raised"
    )]
    TooManyFiles {
        /// Files allowed.
        limit: usize,
    },
    /// More bytes in all than allowed.
    #[error("the site is larger than {} together; publish only what visitors need, or have the limit raised", bytes(*limit))]
    SiteTooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// A file larger than allowed.
    #[error("{path} has {}, more than the {} a file may have; make it smaller or host it elsewhere", bytes(*size), bytes(*limit))]
    FileTooLarge {
        /// Which.
        path: String,
        /// Its bytes.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Nothing to publish.
    #[error(
        "the folder to publish has no files{left_out}; check that the build writes its result there, or name another output directory"
    )]
    EmptySite {
        /// What was left out, as an inset of the sentence; empty when nothing was.
        left_out: String,
    },
    /// A file or folder that exists but can't be read.
    #[error("{path} can't be read ({error}); make sure that the build leaves it readable")]
    Unreadable {
        /// Which.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file that was different the second time it was read.
    #[error(
        "{path} changed while it was published; make sure that the build leaves no process behind, and deploy again"
    )]
    SiteChanged {
        /// Which.
        path: String,
    },
    /// The store failed.
    #[error("the site's files can't be stored ({0}); deploy again, and if that fails too, tell the operator")]
    StoreFailed(#[source] BlobError),
    /// The platform's own fault.
    #[error(
        "the site can't be published because of a fault of the platform ({0}); deploy again, and if that fails too, tell the operator"
    )]
    Internal(String),
}

impl PublishError {
    /// The stable word for scripts.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnsafePath { .. } => "unsafe_path",
            Self::UnsafeLink { .. } => "unsafe_link",
            Self::NameCollision { .. } => "name_collision",
            Self::TooManyFiles { .. } => "too_many_files",
            Self::SiteTooLarge { .. } => "site_too_large",
            Self::FileTooLarge { .. } => "file_too_large",
            Self::EmptySite { .. } => "empty_site",
            Self::Unreadable { .. } => "unreadable_file",
            Self::SiteChanged { .. } => "site_changed",
            Self::StoreFailed(_) => "store_failed",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether the same publish may succeed later, without a change to the site or the configuration.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        use object_store::Error;
        match self {
            Self::StoreFailed(BlobError::Store(error)) => !matches!(
                error,
                Error::InvalidPath { .. }
                    | Error::NotSupported { .. }
                    | Error::NotImplemented { .. }
                    | Error::PermissionDenied { .. }
                    | Error::Unauthenticated { .. }
                    | Error::UnknownConfigurationKey { .. }
            ),
            _ => false,
        }
    }

    pub(crate) fn unsafe_path(path: &str, problem: impl Into<String>) -> Self {
        Self::UnsafePath { path: shown(path), problem: problem.into() }
    }

    pub(crate) fn unsafe_link(path: &str, problem: impl Into<String>) -> Self {
        Self::UnsafeLink { path: shown(path), problem: problem.into() }
    }

    pub(crate) fn unreadable(path: &str, error: std::io::Error) -> Self {
        Self::Unreadable { path: shown(path), error }
    }

    pub(crate) fn changed(path: &str) -> Self {
        Self::SiteChanged { path: shown(path) }
    }
}

impl From<BlobError> for PublishError {
    fn from(error: BlobError) -> Self {
        Self::StoreFailed(error)
    }
}

impl From<garbage::GarbageError> for PublishError {
    fn from(error: garbage::GarbageError) -> Self {
        match error {
            garbage::GarbageError::Store(error) => Self::StoreFailed(error),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<object_store::Error> for PublishError {
    fn from(error: object_store::Error) -> Self {
        Self::StoreFailed(BlobError::Store(error))
    }
}

/// A name as it may stand in a message: one line, no escape sequences of a terminal, bounded.
pub(crate) fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(SHOWN).flat_map(escape_unprintable).collect();
    if name.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text
}

fn escape_unprintable(c: char) -> impl Iterator<Item = char> {
    let quote = matches!(c, '"' | '\'' | '\\');
    let escaped = (!quote).then(|| c.escape_debug());
    escaped.into_iter().flatten().chain(quote.then_some(c))
}

/// Bytes in the largest unit that keeps them whole enough to recognise.
fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) if count.is_multiple_of(*size) => format!("{} {unit}", count / size),
        #[allow(clippy::cast_precision_loss)]
        Some((unit, size)) => format!("{:.1} {unit}", count as f64 / *size as f64),
        None => format!("{count} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_a_stranger_stays_on_one_line_and_short() {
        assert_eq!(shown("/a \"b\" é.html"), "/a \"b\" é.html");
        assert_eq!(shown("/a\n\u{1b}[31m"), "/a\\n\\u{1b}[31m");
        assert_eq!(shown(&"x".repeat(300)).chars().count(), SHOWN + 1);
    }

    #[test]
    fn sizes_are_told_in_units_that_people_read() {
        assert_eq!(
            [bytes(12), bytes(2 << 30), bytes(512 << 20), bytes(1536)],
            ["12 bytes", "2 GiB", "512 MiB", "1.5 KiB"]
        );
    }
}
