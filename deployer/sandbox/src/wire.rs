//! What the platform and the helper's stages say to each other over the control socket.

use std::io::{self, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Level, Mount};

/// The longest plan that a stage reads, in bytes: the kernel allows a program about 2 MiB of arguments and
/// environment, and JSON at worst multiplies that by six.
const PLAN_BYTES: u32 = 16 << 20;

/// The longest report line that the platform reads, in bytes. Ours have a few dozen.
pub(crate) const REPORT_BYTES: usize = 256;

/// Platform to helper: end the command in an orderly way.
pub(crate) const TERMINATE: u8 = b'T';

/// Platform to helper: the network is ready, go on.
pub(crate) const GO: u8 = b'G';

/// Platform to helper: there is no network; why not follows, to the end of the line.
pub(crate) const NO_NETWORK: char = 'N';

/// Everything that the stages need to know. Read by `outer`, and again by `init`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub level: Level,
    pub argv: Vec<String>,
    pub cwd: PathBuf,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub rlimits: Rlimits,
    /// The unprivileged user and group to become; only when the platform runs as root.
    pub run_as: Option<(u32, u32)>,
    /// The `cgroup.procs` files to join.
    pub cgroups: Vec<PathBuf>,
    /// An empty directory of the host, to mount on in a private mount namespace.
    pub staging: PathBuf,
    /// The private directory that stands in for `/tmp` at levels that cannot remap.
    pub private_tmp: Option<PathBuf>,
    /// Bytes that `/tmp` holds at most, and `/dev/shm` too.
    pub tmp_bytes: u64,
    /// Whether to make a network namespace and wait for [`GO`].
    pub own_network: bool,
    /// The contents of `/etc/resolv.conf` inside.
    pub resolv_conf: String,
}

/// The limits that the kernel keeps for each process or user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rlimits {
    /// Nothing where a control group keeps this limit.
    pub processes: Option<u64>,
    pub file_size: u64,
    pub open_files: u64,
    /// The nice value of setpriority(2).
    pub nice: i32,
}

impl Plan {
    /// The plan as it goes over the socket: its length in four bytes, then JSON.
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        encode(self)
    }

    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        decode(from)
    }
}

/// What `init` hands to `command`, which becomes the untrusted program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Last {
    pub argv: Vec<String>,
    pub cwd: PathBuf,
    pub env: Vec<(String, String)>,
    pub rlimits: Rlimits,
    pub landlock: Landlock,
}

/// What landlock is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Landlock {
    Nothing,
    /// Add to namespaces what they do not cover, such as the abstract sockets of a shared network. Left out where the
    /// kernel cannot.
    Scope,
    /// Also allow no path but these. Left out where the kernel cannot.
    Paths(Paths),
    /// The same, and without it the command must not start.
    PathsOrNothing(Paths),
}

/// The paths that a command may use.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Paths {
    pub read: Vec<PathBuf>,
    pub write: Vec<PathBuf>,
}

impl Last {
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        encode(self)
    }

    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        decode(from)
    }
}

fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, value)?;
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "the command and its environment are too long");
    let length = u32::try_from(bytes.len() - 4).ok().filter(|length| *length <= PLAN_BYTES).ok_or_else(too_long)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

fn decode<T: for<'a> Deserialize<'a>>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > PLAN_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the plan is too long"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    from.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// What the helper tells the platform: one line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The network namespace is there and waits to be connected.
    NetworkMade,
    /// The command was started.
    Started,
    /// The command ended with this code, and `left` processes and threads of it were still there.
    Code { code: i32, left: u32 },
    /// A signal ended the command.
    Signal { signal: i32, left: u32 },
}

impl Report {
    pub(crate) fn line(self) -> String {
        match self {
            Self::NetworkMade => "network\n".into(),
            Self::Started => "started\n".into(),
            Self::Code { code, left } => format!("code {code} {left}\n"),
            Self::Signal { signal, left } => format!("signal {signal} {left}\n"),
        }
    }

    /// The report in `line`, or nothing if it is none.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let kind = words.next()?;
        let mut number = || words.next().and_then(|word| word.parse::<i32>().ok());
        match kind {
            "network" => Some(Self::NetworkMade),
            "started" => Some(Self::Started),
            "code" => Some(Self::Code { code: number()?, left: u32::try_from(number()?).ok()? }),
            "signal" => Some(Self::Signal { signal: number()?, left: u32::try_from(number()?).ok()? }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_is_read_as_it_was_written_and_nonsense_is_none() {
        for report in [
            Report::NetworkMade,
            Report::Started,
            Report::Code { code: -1, left: 3 },
            Report::Signal { signal: 9, left: 0 },
        ] {
            assert_eq!(Report::parse(&report.line()), Some(report));
        }
        for nonsense in ["", "code", "code x 1", "signal 9", "code 1 -4"] {
            assert_eq!(Report::parse(nonsense), None, "{nonsense}");
        }
    }
}
