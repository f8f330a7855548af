//! Connecting a sandbox's private network to the outside with slirp4netns.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::{spawn, view};

/// How long the connection may take. It takes about 20 ms.
const DEADLINE: Duration = Duration::from_secs(5);

/// Where the connecting program answers questions for names, inside, and passes them to the host's servers.
const NAME_SERVER: &str = "10.0.2.3";

/// A program that can connect a private network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connector {
    Slirp4netns,
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

    /// The contents of `/etc/resolv.conf` inside.
    pub(crate) fn resolv_conf(self) -> String {
        view::resolv_conf_with(NAME_SERVER)
    }

    /// Connects the network namespace of process `pid`, and returns when it is connected. Runs as the unprivileged
    /// user, like the namespace.
    pub(crate) async fn connect(self, pid: u32, run_as: Option<(u32, u32)>) -> io::Result<Connection> {
        let (ready, theirs) = StdUnixStream::pair()?;
        let (lifeline, their_lifeline) = StdUnixStream::pair()?;
        ready.set_nonblocking(true)?;
        let mut ready = UnixStream::from_std(ready)?;
        let mut command = Command::new(self.program());
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin");
        command.current_dir("/").kill_on_drop(true).process_group(0);
        if let Some((uid, gid)) = run_as {
            command.uid(uid).gid(gid);
        }
        // Its stdin takes the word that it is ready, its stdout is its lifeline: so nothing needs to be inherited.
        command.args(["--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=0", "--exit-fd=1"]);
        command.arg(pid.to_string()).arg("tap0");
        command.stdin(OwnedFd::from(theirs)).stdout(OwnedFd::from(their_lifeline)).stderr(Stdio::null());
        let child = spawn::start(command)?;
        let mut word = [0];
        let waited = tokio::time::timeout(DEADLINE, ready.read_exact(&mut word)).await;
        match waited {
            Ok(Ok(_)) => Ok(Connection { _child: child, _lifeline: lifeline }),
            Ok(Err(_)) => Err(io::Error::other(format!("{} gave up", self.program()))),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} did not get ready", self.program()))),
        }
    }
}
