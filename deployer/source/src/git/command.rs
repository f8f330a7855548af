//! Running git in the sandbox.

use std::path::{Path, PathBuf};
use std::time::Instant;

use sandbox::{Exit, LimitHit, Mount, NOT_FOUND, Network, Running, SET_UP_FAILED, Sandbox, Spec};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::address::Address;
use super::error::GitError;
use super::trouble::{Trouble, gist};
use crate::{FetchError, Limits};

/// The folder that git works in and its home, as it sees it.
const WORK: &str = "/fetch";
/// The checkout in it.
pub(super) const TREE: &str = "tree";
/// The certificate authorities, as git sees them.
const AUTHORITIES: &str = "/fetch-authorities.pem";
/// Where programs are looked up inside.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Bytes of memory for git: several times what unpacking a repository at our limits takes.
const MEMORY: u64 = 2 << 30;
/// Processes and threads of git at one time: it starts a handful, and threads by the number of processors.
const PROCESSES: u32 = 256;
/// Open files of git.
const OPEN_FILES: u64 = 1024;
/// Bytes of each of its outputs that are kept: room for the names of ten thousand branches.
const OUTPUT: u64 = 1 << 20;
/// A connection that brings less than this many bytes a second, for this many seconds, is given up.
const SLOW: (&str, &str) = ("1000", "60");

/// Settings for every call. They are set by the environment, which submodules' git inherits.
const SETTINGS: [(&str, &str); 14] = [
    ("protocol.allow", "never"),
    ("protocol.http.allow", "always"),
    ("protocol.https.allow", "always"),
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.autocrlf", "false"),
    ("credential.helper", ""),
    ("safe.directory", "*"),
    ("init.defaultBranch", "main"),
    ("advice.detachedHead", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("http.lowSpeedLimit", SLOW.0),
    ("http.lowSpeedTime", SLOW.1),
];

/// Variables of ours that tell the way to the network.
const PROXIES: [&str; 7] =
    ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// What git has to know of this host to reach others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    authorities: Option<PathBuf>,
    proxies: Vec<(String, String)>,
}

impl Host {
    /// Reads this process's environment.
    pub(crate) fn from_env() -> Self {
        let set = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let authorities = set("GIT_SSL_CAINFO").or_else(|| set("SSL_CERT_FILE")).filter(|path| {
            let there = path.is_file();
            if !there {
                tracing::warn!(path = %path.display(), "the certificate authorities set for git are not there");
            }
            there
        });
        let proxies = PROXIES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        Self { authorities, proxies: proxies.collect() }
    }
}

/// One repository being fetched.
pub(super) struct Git<'a> {
    pub(super) address: &'a Address,
    sandbox: &'a Sandbox,
    host: &'a Host,
    limits: Limits,
    work: &'a Path,
    deadline: Instant,
}

/// Why a call failed.
pub(super) enum Failure {
    /// Git ended with a complaint: what it means, and its gist, masked.
    Said(Trouble, String),
    /// It did not come to that.
    Ended(FetchError),
}

impl<T: Into<FetchError>> From<T> for Failure {
    fn from(error: T) -> Self {
        Self::Ended(error.into())
    }
}

impl<'a> Git<'a> {
    /// Git in the folder `work`, with all of the time that a fetch may take before it.
    pub(super) fn new(
        sandbox: &'a Sandbox,
        host: &'a Host,
        limits: Limits,
        address: &'a Address,
        work: &'a Path,
    ) -> Self {
        Self { address, sandbox, host, limits, work, deadline: Instant::now() + limits.wall }
    }

    /// Runs `git` with `args`, and gives what it printed.
    pub(super) async fn run(&self, args: &[&str]) -> Result<String, Failure> {
        self.call(&["git"], args).await
    }

    /// The same in the checkout.
    pub(super) async fn in_tree(&self, args: &[&str]) -> Result<String, Failure> {
        self.call(&["git", "-C", TREE], args).await
    }

    /// Runs a shell script with `args`.
    pub(super) async fn sh(&self, script: &str, args: &[&str]) -> Result<String, Failure> {
        self.call(&["sh", "-c", script, "sh"], args).await
    }

    /// A failure that means nothing in particular to who called.
    pub(super) fn error(&self, failure: Failure) -> FetchError {
        let address = self.address.to_string();
        match failure {
            Failure::Ended(error) => error,
            Failure::Said(Trouble::Unreachable(why), _) => GitError::Unreachable { address, why }.into(),
            Failure::Said(Trouble::Tls, said) => GitError::Tls { address, said }.into(),
            Failure::Said(Trouble::NotFound, _) => {
                GitError::NotFound { address, login: self.address.has_login() }.into()
            }
            Failure::Said(Trouble::NotARepository, _) => GitError::NotARepository { address }.into(),
            Failure::Said(Trouble::NoSuchRef | Trouble::Other, said) => GitError::Failed { address, said }.into(),
        }
    }

    async fn call(&self, program: &[&str], args: &[&str]) -> Result<String, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut running = self.sandbox.spawn(Spec {
            argv: program.iter().chain(args).map(|arg| (*arg).to_owned()).collect(),
            cwd: self.inside(),
            env: self.env(),
            mounts: self.mounts(),
            limits: sandbox::Limits {
                wall: Some(left),
                memory: MEMORY,
                processes: PROCESSES,
                file_size: self.limits.bytes,
                // What was fetched, and the same once more unpacked.
                disk: Some(self.limits.bytes.saturating_mul(2)),
                open_files: OPEN_FILES,
            },
            network: Network::Host,
        })?;
        let (printed, said, exit) = finish(&mut running).await;
        match exit {
            Exit::Code(0) => Ok(printed),
            Exit::Code(NOT_FOUND) => Err(GitError::NoGit.into()),
            Exit::Limit(LimitHit::WallTime(_)) => {
                let (address, limit) = (self.address.to_string(), self.limits.wall);
                Err(GitError::Timeout { address, limit }.into())
            }
            Exit::Limit(LimitHit::Disk(_) | LimitHit::FileSize(_)) => {
                Err(GitError::TooLarge { limit: self.limits.bytes }.into())
            }
            Exit::Code(SET_UP_FAILED) | Exit::Killed => Err(std::io::Error::other(self.address.masked(&said)).into()),
            Exit::Code(_) => {
                let folder = format!("{}/{TREE}/", self.inside().display());
                Err(Failure::Said(Trouble::of(&said), self.address.masked(&gist(&said, &folder))))
            }
            Exit::Signal(_) | Exit::Limit(_) => Err(Failure::Said(Trouble::Other, exit.to_string())),
        }
    }

    fn inside(&self) -> PathBuf {
        self.sandbox.place(self.work, Path::new(WORK))
    }

    fn mounts(&self) -> Vec<Mount> {
        let mount = |source: &Path, target: &str, writable| Mount {
            source: source.to_owned(),
            target: self.sandbox.place(source, Path::new(target)),
            writable,
        };
        let authorities = self.host.authorities.iter().map(|file| mount(file, AUTHORITIES, false));
        [mount(self.work, WORK, true)].into_iter().chain(authorities).collect()
    }

    fn env(&self) -> Vec<(String, String)> {
        let fixed = [
            ("PATH", PATH),
            ("LC_ALL", "C"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_LFS_SKIP_SMUDGE", "1"),
        ];
        let mut env: Vec<_> = fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        env.push(("HOME".into(), self.inside().to_string_lossy().into_owned()));
        if let Some(file) = &self.host.authorities {
            let inside = self.sandbox.place(file, Path::new(AUTHORITIES));
            env.push(("GIT_SSL_CAINFO".into(), inside.to_string_lossy().into_owned()));
        }
        env.extend(self.host.proxies.iter().cloned());
        env.extend(self.address.env());
        let fixed = SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let settings: Vec<_> = fixed.chain(self.address.settings()).collect();
        env.push(("GIT_CONFIG_COUNT".into(), settings.len().to_string()));
        for (index, (key, value)) in settings.into_iter().enumerate() {
            env.push((format!("GIT_CONFIG_KEY_{index}"), key));
            env.push((format!("GIT_CONFIG_VALUE_{index}"), value));
        }
        env
    }
}

/// Waits for the end of a command, and gives its stdout and stderr.
async fn finish(running: &mut Running) -> (String, String, Exit) {
    let (stdout, stderr) = (running.stdout.take(), running.stderr.take());
    tokio::join!(text(stdout), text(stderr), running.wait())
}

/// The beginning of what a pipe brings. The rest is read and thrown away, so that nobody waits for room in the pipe.
async fn text(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    let read = async {
        let Some(mut pipe) = pipe else { return Ok(()) };
        (&mut pipe).take(OUTPUT).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await.map(drop)
    };
    if let Err(error) = read.await {
        tracing::debug!(%error, "git's output can't be read further");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
