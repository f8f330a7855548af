//! Why a repository can't be fetched.

use std::time::Duration;

/// Why a repository can't be fetched. No text in it has credentials.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The address is not one that is fetched from.
    #[error("{why}. Correct the repository's address.")]
    Address {
        /// What is wrong, without the address: it may hold credentials in an unexpected place.
        why: &'static str,
    },
    /// The name of the branch can't be one.
    #[error("{branch} can't be the name of a branch. Correct it.")]
    NotABranch {
        /// As it was given.
        branch: String,
    },
    /// The id of the commit can't be one.
    #[error("{commit} can't be the id of a commit. Give its hexadecimal digits, best all 40.")]
    NotACommit {
        /// As it was given.
        commit: String,
    },
    /// The host has no git.
    #[error("This host of AstroCloud can't fetch repositories: git is not installed on it. Tell the operator.")]
    NoGit,
    /// The repository's host can't be reached, or is in trouble.
    #[error("{address} can't be reached: {why}. Check the address, and whether its host is up.")]
    Unreachable {
        /// The repository.
        address: String,
        /// What happened.
        why: String,
    },
    /// The repository's host can't prove who it is.
    #[error("{address} can't be trusted: {said}. Its host needs a certificate from a public authority.")]
    Tls {
        /// The repository.
        address: String,
        /// What git said.
        said: String,
    },
    /// There is nothing, or nothing for us.
    #[error("The repository {address} is private or does not exist. Check its address{}.", hint(*.login))]
    NotFound {
        /// The repository.
        address: String,
        /// Whether credentials were given.
        login: bool,
    },
    /// Something answers, but not as git.
    #[error("{address} is not a git repository. Give the address that `git clone` takes.")]
    NotARepository {
        /// The address.
        address: String,
    },
    /// There is no commit in it.
    #[error("The repository {address} is empty. Push a commit to it.")]
    Empty {
        /// The repository.
        address: String,
    },
    /// It has no such branch.
    #[error("The repository {address} has no branch {branch}. It has {}.", list(.branches))]
    NoSuchBranch {
        /// The repository.
        address: String,
        /// The branch.
        branch: String,
        /// Some that it has.
        branches: Vec<String>,
    },
    /// No branch was asked for, and none is the default.
    #[error(
        "The default branch of the repository {address} does not exist. Choose a branch; it has {}.",
        list(.branches)
    )]
    NoDefaultBranch {
        /// The repository.
        address: String,
        /// Some that it has.
        branches: Vec<String>,
    },
    /// It has no such commit, or only outside of the branch's history.
    #[error("The repository {address} has no commit {commit}{}. Push it, or choose another.", on(.branch.as_deref()))]
    NoSuchCommit {
        /// The repository.
        address: String,
        /// The commit.
        commit: String,
        /// The branch that was looked through.
        branch: Option<String>,
    },
    /// Another repository that it contains can't be fetched.
    #[error(
        "A submodule of {address} can't be fetched: {said}. Submodules must have https:// or http:// addresses \
         that anybody, or the same credentials on the same host, can read."
    )]
    Submodule {
        /// The repository.
        address: String,
        /// What git said.
        said: String,
        /// Whether it may work later.
        transient: bool,
    },
    /// It took too long.
    #[error(
        "The repository {address} was not fetched within {} s. Deploy again; if it is large, make it smaller.",
        .limit.as_secs()
    )]
    Timeout {
        /// The repository.
        address: String,
        /// The limit.
        limit: Duration,
    },
    /// Its files are more bytes than the limit.
    #[error("The repository is larger than {}, the limit. Keep large files elsewhere.", logs::size(*.limit))]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// One of its files is more bytes than the limit.
    #[error(
        "{path} in the repository has {}, and one file may have {} at most. Keep it elsewhere.",
        logs::size(*.bytes), logs::size(*.limit)
    )]
    FileTooLarge {
        /// The file.
        path: String,
        /// How large it is.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// It has more files than the limit.
    #[error(
        "The repository has more than {limit} files and folders, the limit. Keep what the build installs or \
         makes out of it."
    )]
    TooManyFiles {
        /// The limit.
        limit: u64,
    },
    /// Something that is not known here.
    #[error("git could not fetch {address}: {said}.")]
    Failed {
        /// The repository.
        address: String,
        /// What git said.
        said: String,
    },
}

impl GitError {
    /// A stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "git_address_invalid",
            Self::NoGit => "git_missing",
            Self::Unreachable { .. } => "git_unreachable",
            Self::Tls { .. } => "git_tls",
            Self::NotFound { .. } | Self::NotARepository { .. } => "git_not_found",
            Self::Empty { .. } => "git_empty",
            Self::NotABranch { .. } | Self::NoSuchBranch { .. } | Self::NoDefaultBranch { .. } => {
                "git_branch_not_found"
            }
            Self::NotACommit { .. } | Self::NoSuchCommit { .. } => "git_commit_not_found",
            Self::Submodule { .. } => "git_submodule",
            Self::Timeout { .. } => "git_timeout",
            Self::TooLarge { .. } | Self::FileTooLarge { .. } | Self::TooManyFiles { .. } => "source_too_large",
            Self::Failed { .. } => "git_failed",
        }
    }

    /// Whether it may work a little later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Submodule { transient: true, .. })
    }
}

fn hint(login: bool) -> &'static str {
    if login { ", and that its user name and token are right and may read it" } else { "" }
}

fn on(branch: Option<&str>) -> String {
    branch.map_or_else(String::new, |branch| format!(" on branch {branch}"))
}

fn list(branches: &[String]) -> String {
    branches.join(", ")
}
