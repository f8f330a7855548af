//! Fetching a repository: the host's git, run inside the sandbox, into a folder of its own that is then moved into
//! place whole.
//!
//! [`address`] takes the credentials out of the URL, [`wanted`] checks what is asked for, [`command`] runs git, and
//! [`trouble`] makes sense of what it says when it fails.

use std::path::Path;

use logs::Log;
use url::Url;

use crate::work::{Scratch, blocking};
use crate::{FetchError, Fetched, Fetcher, tree};

mod address;
mod command;
mod error;
mod trouble;
mod wanted;

pub(crate) use command::Host;
pub use error::GitError;

use address::Address;
use command::{Failure, Git, TREE};
use trouble::Trouble;
use wanted::{Commit, check_branch};

/// Branches that are named when the wanted one does not exist, at most.
const SUGGESTIONS: usize = 10;

impl Fetcher {
    pub(crate) async fn git(
        &self,
        url: &Url,
        branch: Option<&str>,
        commit: Option<&str>,
        into: &Path,
        log: &Log,
    ) -> Result<Fetched, FetchError> {
        let address = Address::new(url)?;
        branch.map(check_branch).transpose()?;
        let commit = commit.map(Commit::new).transpose()?;
        log.say(format!("Fetching {address}.")).await;
        let scratch = Scratch::beside(into).await?;
        let git = Git::new(&self.sandbox, &self.host, self.limits, &address, scratch.path());
        let (commit, what) = match &commit {
            None => git.newest(branch).await?,
            Some(commit) => git.exact(commit, branch).await?,
        };
        let checkout = scratch.path().join(TREE);
        if checkout.join(".gitmodules").is_file() {
            git.submodules().await?;
        }
        let (limits, into) = (self.limits, into.to_owned());
        blocking(move |canceled| {
            tree::settle(&checkout, &limits, canceled)?;
            std::fs::rename(&checkout, &into).map_err(FetchError::from)
        })
        .await?;
        log.say(format!("Fetched {what}.")).await;
        Ok(Fetched { commit: Some(commit) })
    }
}

/// A commit in full, and what was fetched in words.
type Found = (String, String);

impl Git<'_> {
    /// Fetches the newest commit of `branch`, or of the default branch.
    async fn newest(&self, branch: Option<&str>) -> Result<Found, FetchError> {
        let mut args = vec!["clone", "-q", "--depth=1", "--single-branch", "--no-tags"];
        args.extend(branch.map(|branch| ["--branch", branch]).iter().flatten());
        args.extend(["--", self.address.url(), TREE]);
        match self.run(&args).await {
            Ok(_) => {}
            Err(Failure::Said(Trouble::NoSuchRef, _)) => return Err(self.no_branch(branch).await?.into()),
            Err(failure) => return Err(self.error(failure)),
        }
        let Ok(head) = self.in_tree(&["rev-parse", "HEAD", "--abbrev-ref", "HEAD"]).await else {
            // Nothing to stand on: no commit at all, or a default branch that does not exist.
            return Err(self.no_branch(branch).await?.into());
        };
        let mut lines = head.lines();
        let commit = lines.next().unwrap_or_default().to_owned();
        let branch = branch.or(lines.next()).unwrap_or("HEAD");
        let what = format!("branch {branch} at {}", short(&commit));
        Ok((commit, what))
    }

    /// Fetches one commit: by itself where the server allows that, else with the history of the branch that it is on.
    async fn exact(&self, commit: &Commit<'_>, branch: Option<&str>) -> Result<Found, FetchError> {
        let make = r#"git init -q --object-format="$3" -- "$1" && git -C "$1" remote add -- origin "$2""#;
        self.sh(make, &[TREE, self.address.url(), commit.format()]).await.map_err(|failure| self.error(failure))?;
        let alone = match commit {
            Commit::Full(id) => match self.in_tree(&["fetch", "-q", "--depth=1", "--no-tags", "origin", id]).await {
                Ok(_) => true,
                Err(Failure::Said(Trouble::NoSuchRef, _)) => false,
                Err(failure) => return Err(self.error(failure)),
            },
            Commit::Short(_) => false,
        };
        if !alone {
            let history = match branch {
                Some(branch) => format!("+refs/heads/{branch}:refs/remotes/origin/{branch}"),
                None => "+HEAD:refs/remotes/origin/HEAD".into(),
            };
            match self.in_tree(&["fetch", "-q", "--no-tags", "origin", &history]).await {
                Ok(_) => {}
                Err(Failure::Said(Trouble::NoSuchRef, _)) => return Err(self.no_branch(branch).await?.into()),
                Err(failure) => return Err(self.error(failure)),
            }
        }
        let asked = format!("{}^{{commit}}", commit.id());
        let found = match self.in_tree(&["rev-parse", "-q", "--verify", "--end-of-options", &asked]).await {
            Ok(found) => found.trim().to_owned(),
            Err(Failure::Said(..)) => {
                let (commit, branch) = (commit.id().to_owned(), branch.map(str::to_owned));
                return Err(GitError::NoSuchCommit { address: self.address.to_string(), commit, branch }.into());
            }
            Err(failure) => return Err(self.error(failure)),
        };
        self.in_tree(&["checkout", "-q", "--detach", &found]).await.map_err(|failure| self.error(failure))?;
        let what = format!("commit {}", short(&found));
        Ok((found, what))
    }

    /// Fetches what the repository takes from other ones.
    async fn submodules(&self) -> Result<(), FetchError> {
        let done = self.in_tree(&["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"]).await;
        done.map(drop).map_err(|failure| match failure {
            Failure::Said(trouble, said) => {
                GitError::Submodule { address: self.address.to_string(), said, transient: trouble.is_transient() }
                    .into()
            }
            failure => self.error(failure),
        })
    }

    /// Why a branch, or the default branch, can't be had: asks which ones there are.
    async fn no_branch(&self, branch: Option<&str>) -> Result<GitError, FetchError> {
        let listed = self.run(&["ls-remote", "--heads", "--", self.address.url()]).await;
        let listed = listed.map_err(|failure| self.error(failure))?;
        let names = listed.lines().filter_map(|line| line.split_once("\trefs/heads/").map(|(_, name)| name));
        let branches: Vec<_> = names.take(SUGGESTIONS).map(str::to_owned).collect();
        let address = self.address.to_string();
        Ok(match branch {
            _ if branches.is_empty() => GitError::Empty { address },
            Some(branch) => GitError::NoSuchBranch { address, branch: branch.to_owned(), branches },
            None => GitError::NoDefaultBranch { address, branches },
        })
    }
}

/// A commit as people write it.
fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}
