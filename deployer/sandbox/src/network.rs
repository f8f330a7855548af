//! Connecting a sandbox's private network to the outside with slirp4netns.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::helper::VERB;
use crate::{spawn, view};

/// How long the connection may take. It takes about 20 ms.
const DEADLINE: Duration = Duration::from_secs(5);

/// Bytes of the program's complaints that are read.
const COMPLAINT: u64 = 4096;

/// Where the connecting program answers questions for names, inside, and passes them to the host's servers.
const NAME_SERVER: &str = "10.0.2.3";

/// A program that can connect a private network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Connector {
    Slirp4netns,
}

/// What the helper needs to know to become the connecting program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Connect {
    pub connector: Connector,
    /// A process in the network.
    pub pid: u32,
    /// The user and group that own the network; only when the platform runs as root.
    pub run_as: Option<(u32, u32)>,
}

/// A connection; ends when dropped, and when the platform dies.
#[derive(Debug)]
pub(crate) struct Connection {
    _child: Child,
    /// The program ends when this closes.
    _lifeline: StdUnixStream,
}

impl Connector {
    /// All that are known, the best first.
    pub(crate) fn all() -> [Self; 1] {
        [Self::Slirp4netns]
    }

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Slirp4netns => "slirp4netns",
        }
    }

    /// Whether the program is on this host.
    pub(crate) fn installed(self) -> bool {
        std::env::split_paths(view::PROGRAMS).any(|folder| folder.join(self.program()).is_file())
    }

    /// Its stdin takes the word that it is ready, its stdout is its lifeline: so nothing else needs to be inherited.
    pub(crate) fn arguments(self, pid: u32) -> Vec<String> {
        match self {
            Self::Slirp4netns => {
                let options = ["--configure", "--mtu=65520", "--disable-host-loopback"];
                let protection = ["--enable-seccomp", "--ready-fd=0", "--exit-fd=1"];
                let all = options.into_iter().chain(protection).map(String::from);
                all.chain([pid.to_string(), "tap0".to_owned()]).collect()
            }
        }
    }

    /// The contents of `/etc/resolv.conf` inside.
    pub(crate) fn resolv_conf(self) -> String {
        view::resolv_conf_with(NAME_SERVER)
    }
}

impl Connect {
    /// Connects, and returns when it is done. The error is for people.
    pub(crate) async fn run(&self, helper: &Path) -> io::Result<Connection> {
        let (ready, theirs) = StdUnixStream::pair()?;
        let (lifeline, their_lifeline) = StdUnixStream::pair()?;
        ready.set_nonblocking(true)?;
        let mut ready = UnixStream::from_std(ready)?;
        let mut command = Command::new(helper);
        command.args([VERB, "connect", &serde_json::to_string(self)?]).env_clear().current_dir("/");
        command.kill_on_drop(true).process_group(0);
        command.stdin(OwnedFd::from(theirs)).stdout(OwnedFd::from(their_lifeline)).stderr(Stdio::piped());
        let mut child = spawn::start(command)?;
        let complaints = child.stderr.take();
        let mut word = [0];
        match timeout(DEADLINE, ready.read_exact(&mut word)).await {
            Ok(Ok(_)) => {
                tokio::spawn(drain(complaints));
                Ok(Connection { _child: child, _lifeline: lifeline })
            }
            Ok(Err(_)) => {
                let said = timeout(DEADLINE, read(complaints)).await.unwrap_or_default();
                let reason = said.lines().find(|line| !line.starts_with("WARNING")).unwrap_or("it gave up");
                Err(io::Error::other(reason.trim_start_matches("sandbox: ").to_owned()))
            }
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it did not get ready")),
        }
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let _ = from.take(COMPLAINT).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Keeps a talkative program from being blocked, or ended by a broken pipe.
async fn drain(from: Option<impl AsyncRead + Unpin>) {
    if let Some(mut from) = from {
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
}
