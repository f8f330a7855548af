//! What a caller asks for.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One command to run in the sandbox.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program and its arguments. A program without a slash is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The working directory, as seen inside (see [`Sandbox::place`](crate::Sandbox::place)).
    pub cwd: PathBuf,
    /// The whole environment: nothing is inherited. Where `/tmp` cannot be private (levels landlock and none),
    /// `TMPDIR`, `TMP` and `TEMP` are replaced by a private directory, and `ASTROCLOUD_SANDBOX` is added, by which
    /// the processes are found.
    pub env: Vec<(String, String)>,
    /// What of the host is visible inside, besides the system's programs and libraries.
    pub mounts: Vec<Mount>,
    /// Where the command is ended.
    pub limits: Limits,
    /// What of the network it reaches.
    pub network: Network,
}

/// A file or folder of the host, visible inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The path on the host. It must exist.
    pub source: PathBuf,
    /// The path inside, absolute and without `..`. Ignored at levels that cannot remap.
    pub target: PathBuf,
    /// Whether the command may change it. When the platform runs as root, spawning gives a writable mount's
    /// files to the unprivileged user.
    pub writable: bool,
}

/// Where a command is ended. Each limit is for the whole sandbox unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time from start to end; none for services.
    pub wall: Option<Duration>,
    /// Memory in bytes, of all processes together.
    pub memory: u64,
    /// Processes and threads at one time.
    pub processes: u32,
    /// Bytes of any one file.
    pub file_size: u64,
    /// Bytes on disk over all writable mounts, counted by walking them from time to time.
    pub disk: Option<u64>,
    /// Open files of any one process.
    pub open_files: u64,
}

/// What of the network a command reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Only outwards: a loopback of its own, no way to the host's. Where the host cannot do this, the host's
    /// network is shared and [`Sandbox::findings`](crate::Sandbox::findings) says so.
    Outbound,
    /// The host's network, loopback included: what a server behind the edge needs.
    Host,
}
