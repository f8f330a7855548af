//! Becoming the program that connects a sandbox's network, as the unprivileged user.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::{Doing, Problem, outer};
use crate::network::Connect;
use crate::view::PROGRAMS;

/// The device that makes a network's interfaces.
const TUNNEL: &str = "/dev/net/tun";

/// Whether everybody may use a device, in its mode.
const FOR_ALL: u32 = 0o006;

/// Connects the network of a process. As root, becomes that process's user before: the program reads what the untrusted
/// command sends. Returns only if something fails.
pub(super) fn run(plan: &str) -> Result<ExitCode, Problem> {
    let Connect { connector, pid, run_as } = serde_json::from_str(plan).doing(|| "read the plan".into())?;
    if let Some((uid, gid)) = run_as {
        open_tunnel()?;
        outer::become_user(uid, gid)?;
    }
    let mut program = Command::new(connector.program());
    program.env_clear().env("PATH", PROGRAMS).args(connector.arguments(pid));
    Err(Problem(format!("cannot run {}: {}", connector.program(), program.exec())))
}

/// Where only root may use the device, puts another in its place that everybody may, seen by this process only.
fn open_tunnel() -> Result<(), Problem> {
    let what = || format!("use {TUNNEL}");
    let found = fs::metadata(TUNNEL).doing(what)?;
    if found.mode() & FOR_ALL == FOR_ALL || !found.file_type().is_char_device() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS).doing(what)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).doing(what)?;
    let folder = Path::new(TUNNEL).parent().unwrap_or(Path::new("/"));
    mount("tmpfs", folder, "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, c"mode=755,size=4k").doing(what)?;
    rustix::fs::mknodat(CWD, TUNNEL, FileType::CharacterDevice, Mode::from_raw_mode(0o600), found.rdev())
        .doing(what)?;
    // Apart, because the process's mask cuts the mode of what it makes.
    rustix::fs::chmod(TUNNEL, Mode::from_raw_mode(0o600 | FOR_ALL)).doing(what)
}
