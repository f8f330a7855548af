//! Becoming bubblewrap.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::FdFlags;

use super::{Doing, Problem, SELF, VERB};
use crate::view::{HOSTNAME, INSIDE_ID, Item, PROGRAMS, items};
use crate::wire::Plan;

/// Replaces this process by bubblewrap, which starts the `init` stage inside. Returns only if that fails.
///
/// Nothing but paths goes onto its command line, which every user of the host can read: the environment and the
/// command itself reach `init` over the control socket.
pub(super) fn run(plan: &Plan, control: File) -> Result<ExitCode, Problem> {
    drop(control);
    let mut bwrap = Command::new("bwrap");
    bwrap.env_clear().env("PATH", PROGRAMS);
    bwrap.args(["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]);
    bwrap.args(["--die-with-parent", "--new-session", "--as-pid-1", "--clearenv", "--cap-drop", "ALL"]);
    bwrap.args(["--uid", &INSIDE_ID.to_string(), "--gid", &INSIDE_ID.to_string(), "--hostname", HOSTNAME]);

    // Kept open until bubblewrap takes over.
    let mut held: Vec<OwnedFd> = Vec::new();
    for item in items(&plan.resolv_conf) {
        match item {
            Item::Host { source, target } => bwrap.arg("--ro-bind").arg(source).arg(target),
            Item::Link { to, target } => bwrap.arg("--symlink").arg(to).arg(target),
            Item::File { contents, target } => {
                let fd = file_with(&contents).doing(|| format!("make {}", target.display()))?;
                bwrap.args(["--perms", "0644", "--ro-bind-data"]).arg(fd.as_raw_fd().to_string()).arg(target);
                held.push(fd);
                &mut bwrap
            }
        };
    }
    let size = plan.tmp_bytes.to_string();
    bwrap.args(["--proc", "/proc", "--dev", "/dev"]);
    bwrap.args(["--perms", "1777", "--size", &size, "--tmpfs", "/dev/shm"]);
    bwrap.args(["--perms", "1777", "--size", &size, "--tmpfs", "/tmp"]);
    let mut mounts: Vec<_> = plan.mounts.iter().collect();
    mounts.sort_by_key(|mount| mount.target.components().count());
    for mount in mounts {
        let kind = if mount.writable { "--bind" } else { "--ro-bind" };
        bwrap.arg(kind).arg(&mount.source).arg(&mount.target);
    }
    // Both are file systems in memory that a command could fill.
    bwrap.args(["--remount-ro", "/dev", "--remount-ro", "/"]);

    // By its open file, not by its path: the platform's executable need not be visible inside, nor readable to
    // the unprivileged user.
    let helper = rustix::fs::open(SELF, OFlags::RDONLY, Mode::empty()).doing(|| "open the helper".into())?;
    bwrap.args(["--chdir", "/", "--"]);
    bwrap.arg(Path::new("/proc/self/fd").join(helper.as_raw_fd().to_string())).args([VERB, "init"]);
    for fd in held.iter().map(AsFd::as_fd).chain([helper.as_fd()]) {
        rustix::io::fcntl_setfd(fd, FdFlags::empty()).doing(|| "pass a file on to bubblewrap".into())?;
    }
    Err(Problem(format!("cannot run bubblewrap: {}", bwrap.exec())))
}

fn file_with(contents: &[u8]) -> std::io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create("sandbox", MemfdFlags::CLOEXEC)?);
    file.write_all(contents)?;
    file.rewind()?;
    Ok(file.into())
}
