//! The branch and the commit that are asked for: checked before they become arguments of git.

use super::GitError;

/// Hexadecimal digits of a commit's id in full: SHA-1 and SHA-256.
const FULL: [usize; 2] = [40, 64];
/// Fewest digits of an abbreviated id, as in git itself.
const SHORTEST: usize = 4;
/// Bytes of a branch's name, at most: it becomes a file's name in the repository.
const BRANCH: usize = 255;

/// A commit's id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Commit<'a> {
    /// In full.
    Full(&'a str),
    /// Abbreviated: only the repository knows which one it is.
    Short(&'a str),
}

impl<'a> Commit<'a> {
    /// Takes `id` if it can be a commit's.
    pub(super) fn new(id: &'a str) -> Result<Self, GitError> {
        let hex = id.bytes().all(|byte| byte.is_ascii_hexdigit());
        match id.len() {
            length if hex && FULL.contains(&length) => Ok(Self::Full(id)),
            length if hex && (SHORTEST..FULL[1]).contains(&length) => Ok(Self::Short(id)),
            _ => Err(GitError::NotACommit { commit: crate::archive::shown(id) }),
        }
    }

    /// The hash that the repository's ids are made with. Where an abbreviated one does not tell, it is the usual one.
    pub(super) fn format(&self) -> &'static str {
        if self.id().len() > FULL[0] { "sha256" } else { "sha1" }
    }

    /// The id as it was given.
    pub(super) fn id(&self) -> &'a str {
        match self {
            Self::Full(id) | Self::Short(id) => id,
        }
    }
}

/// Refuses what can't be a branch's name: it would be an option, a pattern or several things at once to git.
pub(super) fn check_branch(name: &str) -> Result<(), GitError> {
    let wrong = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let parts = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    let refused = name.len() > BRANCH
        || name.starts_with('-')
        || name.ends_with('.')
        || name == "@"
        || name.contains("..")
        || name.contains("@{")
        || name.contains(wrong)
        || name.split('/').any(parts);
    if refused { Err(GitError::NotABranch { branch: crate::archive::shown(name) }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_git_would_take_for_something_else_is_no_branch() {
        for name in ["main", "feature/login-2", "v1.0", "größe", "a@b", "dependabot/npm_and_yarn/x-1.2.3"] {
            assert!(check_branch(name).is_ok(), "{name}");
        }
        let long = "x".repeat(256);
        for name in
            ["", "-u", "--upload-pack=x", "a:b", "+a b", "a..b", "a*", "/a", "a/", "a//b", "a.lock", ".a", "@", &long]
        {
            assert!(check_branch(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_commit_is_hexadecimal() {
        let full = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(Commit::new(full).unwrap(), Commit::Full(full));
        assert_eq!(Commit::new("1a2b3c4").unwrap(), Commit::Short("1a2b3c4"));
        for id in ["", "abc", "main", "--all", "HEAD~1", &"a".repeat(65)] {
            assert!(Commit::new(id).is_err(), "{id:?}");
        }
    }
}
